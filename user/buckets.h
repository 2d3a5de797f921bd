/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What is left in a bucket, read from its theoretical arrival time (GCRA, ITU-T
 * I.371). Reads the maps' memory, changes nothing.
 */
#ifndef GATE25_BUCKETS_H
#define GATE25_BUCKETS_H

#include "json.h"

struct gate_bucket_left {
	uint64_t left_tenths; /* tokens, in tenths, rounded down */
	uint64_t next_ms;     /* until a whole token is there, rounded up; 0 = now */
};

/* `burst` of the policy, 0 = none; now and tat: CLOCK_MONOTONIC ns. */
void gate_bucket_left(const struct gate_rate_spec *r, uint32_t burst, uint64_t tat, uint64_t now,
		      struct gate_bucket_left *out);

/* Elements of the array "buckets": the rates and destinations of a policy in force. */
void gate_buckets_policy(struct gate_buf *b, const struct gate_effective *eff, uint16_t port,
			 const struct gate_bucket_set *set, uint64_t now);
/* The same for the budget of the VM's tenant. */
void gate_buckets_budget(struct gate_buf *b, struct gate_engine *e, const struct gate_maps *m,
			 uint32_t slot, uint64_t now);

#endif
