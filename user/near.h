/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * MACs near at hand: what of the hashes `mac_owner` and `macs` the programs find in one
 * cache line. A place that is given free rests before it is used again, so that a program
 * never reads half of one MAC and half of another; a MAC for which there is no room is
 * found in its hash.
 */
#ifndef GATE25_NEAR_H
#define GATE25_NEAR_H

#include "maps.h"

#include <stdbool.h>

struct gate_near {
	struct gate_near_set *sets;
	uint32_t max_vms;
	uint32_t *freed_s; /* by place: second in which it was given free, 0 = not by us */
};

/** gate_near_open() - works on the maps' array, which stays the caller's */
void gate_near_open(struct gate_near *n, const struct gate_maps *m);
void gate_near_close(struct gate_near *n);

/* What a hash says of one MAC, as far as it is kept near. */
struct gate_near_entry {
	uint64_t kind; /* GATE_NEAR_OWNER or GATE_NEAR_VM */
	uint32_t scope;
	uint32_t value; /* 0 = only the hash may tell */
	const uint8_t *mac;
};

/** gate_near_put() - once the hash has it; nothing happens where there is no room */
void gate_near_put(struct gate_near *n, const struct gate_near_entry *e);
/** gate_near_del() - before the hash loses or changes it; e->value does not count */
void gate_near_del(struct gate_near *n, const struct gate_near_entry *e);
/**
 * gate_near_keep() - what an earlier daemon has left: takes out what is not so any more.
 * @still: does a hash say this?
 */
void gate_near_keep(struct gate_near *n, bool (*still)(void *, const struct gate_near_entry *),
		    void *arg);

#endif
