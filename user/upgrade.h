/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * From the maps of other sizes, or of another version, to new ones, without a moment
 * of empty policy.
 *
 * Theory of operation
 *
 *   The old programs run on the old maps (the *source*) until each link is swapped.
 *   So: the new maps are filled with what only the daemon writes (gate_upgrade_begin),
 *   they are pinned in one step, what the programs write is brought over
 *   (gate_upgrade_carry), the programs are swapped one by one, and what the old ones
 *   have written in between is brought over too (gate_upgrade_finish). Nothing of the
 *   source is changed before the new maps are pinned: an upgrade that fails leaves the
 *   old version in force.
 *
 *   Counters are *moved*: taken from the source by an exchange with zero and added to
 *   the target. What a source holds is therefore always what is still to be brought
 *   over, after a crash at any point too, and it does not matter which version goes on
 *   from there: the older one takes the newer's maps for its source in the same way.
 *
 *   Policy (heads, nodes) and tables (macs, ips, …) are the daemon's alone and
 *   do not change in between; they are laid out anew for the new handle bases
 *   and bucket ids. Flows keep their place only where the number of flow sets
 *   is the same; else the VMs get the grace of an attachment, in which running
 *   flows are adopted free of charge.
 *
 *   Elements are read field by field where the source's layout (layout.h) is not ours.
 */
#ifndef GATE25_UPGRADE_H
#define GATE25_UPGRADE_H

#include "bpf_maps.h"

struct gate_upgrade;

/**
 * gate_upgrade_open() - open the maps of an earlier daemon as a source.
 * @out: set on success.
 * @dir: where they are pinned.
 * Return: 0, -ENOENT when there are none, -EPROTO when they cannot be understood.
 */
int gate_upgrade_open(struct gate_upgrade **out, const char *dir);
void gate_upgrade_close(struct gate_upgrade *u);

/* Where it is pinned. */
const char *gate_upgrade_dir(const struct gate_upgrade *u);
/* Sizes, revision, the seeds of the flow hash and other words that new maps must keep. */
const struct gate_conf *gate_upgrade_conf(const struct gate_upgrade *u);

/**
 * gate_upgrade_begin() - fill new, unused maps; the source is only read.
 * @to: the new maps; its conf holds the new sizes.
 * @grace_s: grace for VMs whose flows cannot be kept.
 * Return: 0 or -errno; -ENOSPC when policy does not fit into the new sizes.
 */
int gate_upgrade_begin(struct gate_upgrade *u, struct gate_maps *to, uint32_t grace_s);

/* Brings over what the old programs have written so far. Again and again is harmless. */
void gate_upgrade_carry(struct gate_upgrade *u, struct gate_maps *to);
/* Of one VM alone, what its next frame is judged by: its own buckets, flows, destinations. */
void gate_upgrade_carry_vm(struct gate_upgrade *u, struct gate_maps *to, uint32_t slot);

/* The same once the old programs have stopped: what cannot be taken while they run, too. */
void gate_upgrade_finish(struct gate_upgrade *u, struct gate_maps *to);

/**
 * gate_upgrade_call_off() - grace in the source, for flows that began in the new maps.
 *
 * To be called before the old programs are back. Does nothing where the source knows no grace.
 */
void gate_upgrade_call_off(struct gate_upgrade *u, uint32_t grace_s);

#endif
