/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What the files of sync share. */
#ifndef GATE25_SYNC_PRIV_H
#define GATE25_SYNC_PRIV_H

#include "clock.h"
#include "mem.h"
#include "near.h"
#include "nodes.h"
#include "sync.h"
#include "table.h"

/*
 * A hash or trie in the kernel with what it holds kept beside it, so that an
 * update that changes nothing costs no system call and stale entries are found.
 */
struct mirror {
	int fd;
	uint32_t key_size, value_size;
	struct gate_table entries;     /* key -> struct mirror_entry */
	uint64_t failed;	       /* updates the kernel refused */
	const struct gate_maps *ports; /* of the mirror of `ports` alone */
	struct gate_near *near;	       /* where some of it is near at hand, or NULL */
	bool (*near_entry)(const void *key, const void *value, struct gate_near_entry *out);
};

struct mirror_entry {
	bool touched; /* by this daemon */
	unsigned char value[] __attribute__((aligned(8)));
};

int gate_mirror_open(struct mirror *m, int fd, uint32_t key_size, uint32_t value_size);
void gate_mirror_close(struct mirror *m);
const void *gate_mirror_get(const struct mirror *m, const void *key);
int gate_mirror_put(struct mirror *m, const void *key, const void *value);
void gate_mirror_del(struct mirror *m, const void *key);
/* The entry stays in the kernel, and is not kept in mind any more. */
void gate_mirror_forget(struct mirror *m, const void *key);
void gate_mirror_sweep(struct mirror *m);
/* Enters near at hand what is not there yet. */
void gate_mirror_bring_near(struct mirror *m);

/* Keys of one slot or scope that are in a mirror. */
struct key_list {
	struct gate_sync_address *list; /* only addr and len count */
	unsigned n;
};

/* What a slot has in `macs` and `ips`, and whose bucket sets lie behind the fixed ones. */
struct slot_state {
	struct key_list macs, ips;
	uint32_t *block;  /* base that owns the n-th block of bucket sets, 0 = free */
	unsigned nblocks; /* power of two; 0 = no region */
};

/* Blocks of the slot that were left; n 0: some of a run that is still in use. */
struct resting_blocks {
	uint32_t slot, first, n;
	uint32_t copy, *was; /* where its sets were copied to, and their `active` then; or NULL */
	uint64_t since;
};

struct gate_sync {
	struct gate_maps *m;
	const struct gate_config *c;
	int64_t unix_minus_mono_ns;
	struct gate_nodes nodes;
	struct gate_pool budgets;
	struct mirror ports, mac_owner, ip_owner, macs, ips, exempt;
	struct gate_near near;		/* of mac_owner and macs */
	struct slot_state **slot;	/* [max_vms], NULL = nothing there */
	struct gate_table exempt_lists; /* scope -> struct key_list */
	uint32_t any_macs, any_ips;	/* number of entries for GATE_SLOT_ANY */
	uint8_t *block_used;		/* [max_overrides] blocks of `scopes` bucket sets */
	struct resting_blocks *resting;
	unsigned nresting;
	uint64_t quiet_ns; /* no program is at work that began before */
};

static inline void sync_store(uint64_t *word, uint64_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

struct gate_mac_key gate_sync_mac_key(uint32_t slot, const uint8_t mac[6]);
struct gate_ip_key gate_sync_ip_key(uint32_t slot, const uint8_t addr[16], uint8_t len);
/* Sorts; equal keys come together. */
void gate_sync_sort(struct gate_sync_address *list, unsigned n);
int gate_sync_compare(const struct gate_sync_address *a, const struct gate_sync_address *b);
void gate_sync_conf_flag(struct gate_sync *s, uint64_t flag, bool on);

int gate_sync_tables_open(struct gate_sync *s);
void gate_sync_tables_close(struct gate_sync *s);
/* Reads the slots' lists and blocks from the mirrors. */
void gate_sync_adopt_addresses(struct gate_sync *s);
void gate_sync_addresses_close(struct gate_sync *s);

#endif
