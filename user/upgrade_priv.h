/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What the files of the upgrade share: the source, a pinned set of any layout. */
#ifndef GATE25_UPGRADE_PRIV_H
#define GATE25_UPGRADE_PRIV_H

#include "layout.h"
#include "pins.h"
#include "upgrade.h"

/* One map of the source. What it lacks has no entries. */
struct source_map {
	int fd;
	char *base;    /* of an array's memory */
	size_t mapped; /* its bytes */
	uint32_t entries, key_size, value_size;
	size_t stride; /* from one element of an array to the next */
	bool same;     /* its elements are laid out as ours */
	struct gate_plan key, value;
};

struct gate_upgrade {
	char dir[GATE_PIN_PATH];
	struct source_map map[GATE_NMAPS];
	struct gate_layout_field *layout;
	size_t nfields;
	struct gate_conf conf; /* as it was when opened, in our layout */
	struct gate_sizes old;
	struct gate_sizes new; /* set from the target's conf before each step */
	int ncpus;
};

/* An element of an array in our layout: in place where that is the source's too, else in `buf`.
 * Beyond the end it is all zero. */
const void *gate_source_at(const struct gate_upgrade *u, enum gate_map map, uint32_t i, void *buf);

/* Where the source itself has a word that is at `offset` of our element; NULL = nowhere. */
uint64_t *gate_source_word(const struct gate_upgrade *u, enum gate_map map, uint32_t i,
			   size_t offset);

/* The smaller number of elements of a kind: what both have. */
static inline uint32_t gate_common(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* Bucket set id of the source in the target; see upgrade.c. */
uint32_t gate_upgrade_bucket_id(const struct gate_upgrade *u, uint32_t id);

/* Is the slot's VM in the target the one that it was in the source? See upgrade.c. */
bool gate_upgrade_same_vm(const struct gate_upgrade *u, const struct gate_maps *to, uint32_t slot);

/* upgrade_flows.c: flows and destinations of these VMs go on where they were. */
void gate_upgrade_flows(const struct gate_upgrade *u, struct gate_maps *to, uint32_t slot,
			uint32_t nslots);

/* upgrade_counters.c: counters are taken out of the source. */
void gate_upgrade_counters(const struct gate_upgrade *u, struct gate_maps *to);
void gate_upgrade_cpu_words(const struct gate_upgrade *u, struct gate_maps *to);

#endif
