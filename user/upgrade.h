/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * From maps of other sizes to new ones, without a moment of empty policy.
 *
 * Theory of operation
 *
 *   The old programs run on the old maps until each link is swapped. So: the
 *   new maps are filled first (gate_upgrade_begin), the pin directories change
 *   places (`maps-old` is what remains to be done), the programs are swapped one
 *   by one, and then what the old ones have written in between is brought over
 *   (gate_upgrade_finish).
 *
 *   Counters are *moved*: taken from the old map by an exchange with zero and
 *   added to the new one. What an old map holds is therefore always what is
 *   still to be brought over, after a crash at any point too.
 *
 *   Policy (heads, nodes) and tables (macs, ips, …) are the daemon's alone and
 *   do not change in between; they are laid out anew for the new handle bases
 *   and bucket ids. Flows keep their place only where the number of flow sets
 *   is the same; else the VMs get the grace of an attachment, in which running
 *   flows are adopted free of charge.
 */
#ifndef GATE25_UPGRADE_H
#define GATE25_UPGRADE_H

#include "bpf_maps.h"

struct gate_upgrade;

/**
 * gate_upgrade_open() - open the maps of an earlier daemon as a source.
 * @out: set on success.
 * @dir: where they are pinned.
 * Return: 0, -ENOENT when there are none, -EPROTO when some lack or differ.
 */
int gate_upgrade_open(struct gate_upgrade **out, const char *dir);
void gate_upgrade_close(struct gate_upgrade *u);

/* The maps it was opened with. */
struct gate_maps *gate_upgrade_maps(struct gate_upgrade *u);
/* The seeds of the flow hash and other words that new maps must keep. */
const struct gate_conf *gate_upgrade_conf(const struct gate_upgrade *u);

/**
 * gate_upgrade_begin() - fill new, unused maps.
 * @to: the new maps; its conf holds the new sizes.
 * @grace_s: grace for VMs whose flows cannot be kept.
 * Return: 0 or -errno; -ENOSPC when policy does not fit into the new sizes.
 */
int gate_upgrade_begin(struct gate_upgrade *u, struct gate_maps *to, uint32_t grace_s);

/* Brings over what the old programs have written since. Again and again is harmless. */
void gate_upgrade_finish(struct gate_upgrade *u, struct gate_maps *to);

#endif
