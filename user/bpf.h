/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Loads the programs, makes or adopts the pinned maps, swaps programs in place.
 * Pin layout below [bpf] pin: see pins.h.
 */
#ifndef GATE25_BPF_H
#define GATE25_BPF_H

#include "config.h"
#include "maps.h"

struct gate25_bpf;
struct early_bpf;
struct gate_upgrade;

#define GATE_NBEFORE 3 /* from_vm, to_vm, uplink_out */

struct gate_bpf {
	struct gate_maps maps;
	int from_vm, to_vm, uplink_out; /* program fds */
	int early_drop;			/* -1 = not wanted, or this kernel cannot */
	uint8_t tag[4][8];		/* kernel's program tags, same order */
	uint32_t id[4];			/* kernel's program ids, same order */
	bool adopted;			/* maps (or their content) were there already */
	bool tcx;			/* the hook this kernel and configuration use, else tc */
	bool stamped;	       /* from_vm leaves its stamp on the frames it passes (tc only) */
	uint32_t dry_run_mark; /* of a TEST_RUN frame that spends nothing */
	char pin[256];

	/* bpf.c's own */
	int lock;
	struct gate25_bpf *skel;
	struct early_bpf *early;
	struct gate_upgrade **source; /* what to copy again once the programs are swapped */
	unsigned nsources;
	int before[GATE_NBEFORE]; /* programs that run on the first source, -1 = unknown */
};

/**
 * gate_bpf_open() - open or create everything.
 * @out: set on success.
 * @c: configuration; sizes, ports, stamp and pin directory are read.
 * @err: one sentence on failure: no BPF file system, another daemon, no
 *       capability, kernel too old, no memory.
 *
 * Adopts pinned maps of the same ABI and sizes. Of other sizes, or of another
 * version's ABI: makes new ones beside them and copies (upgrade.h). Until they are
 * pinned nothing of the old is touched. New programs are loaded on the maps; what
 * is attached stays attached until gate_attach_put() replaces it in place.
 * Return: 0 or -errno.
 */
int gate_bpf_open(struct gate_bpf **out, const struct gate_config *c, struct gate_error *err);

/* Are there maps of before, which programs may still be running on? */
bool gate_bpf_upgrades(const struct gate_bpf *b);

/**
 * gate_bpf_carry() - bring over what the old programs have written so far.
 * @slot: of one VM alone, GATE_SLOT_ANY = of all.
 *
 * Done for a VM just before its programs are swapped, and just after: a bucket that
 * it emptied a moment ago is as empty for the new ones.
 */
void gate_bpf_carry(struct gate_bpf *b, uint32_t slot);

/**
 * gate_bpf_settle() - finish an upgrade once every program is swapped.
 *
 * Copies again what the old programs have written since, and removes the old
 * maps. Does nothing where there was no upgrade.
 */
void gate_bpf_settle(struct gate_bpf *b);

/* Can what is swapped be swapped back? */
bool gate_bpf_can_roll_back(const struct gate_bpf *b);

/* Before they are: what began in the new maps goes on free of charge in those of before. */
void gate_bpf_call_off(struct gate_bpf *b, uint32_t grace_s);

/**
 * gate_bpf_roll_back() - give up an upgrade, once the old programs are back.
 *
 * The maps of before take their place again. What the new programs have counted
 * stays pinned beside them until the next start, of whichever version, takes it up.
 * Return: 0 or -errno.
 */
int gate_bpf_roll_back(struct gate_bpf *b);

void gate_bpf_close(struct gate_bpf *b);			 /* pins stay */
int gate_bpf_unpin_all(const char *pin, struct gate_error *err); /* for detach */

#endif
