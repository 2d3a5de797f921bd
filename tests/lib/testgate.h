/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The real programs in the running kernel, without a device: maps of a few VMs,
 * policies written straight into them, frames run by BPF_PROG_TEST_RUN.
 */
#ifndef GATE25_TESTS_TESTGATE_H
#define GATE25_TESTS_TESTGATE_H

#include "frames.h"
#include "maps.h"
#include <stdbool.h>

struct gate25_bpf;

#define TEST_SLOT     1
#define TEST_SLOT2    2
#define TEST_DRY_MARK 0x1badcafe
#define TEST_IFINDEX  1 /* lo: TEST_RUN wants a device that exists */

struct testgate {
	struct gate25_bpf *skel;
	struct gate_maps m;
	uint32_t next_node;
	uint8_t out[FRAME_MAX]; /* the frame after the run */
	uint32_t out_len;
	uint32_t mark, priority; /* of the frames to come */
};

enum test_prog { TEST_FROM_VM, TEST_TO_VM, TEST_UPLINK_OUT };

#define ACT_UNSPEC   (-1)
#define ACT_SHOT     2
#define ACT_REDIRECT 7

/* nports 1 or 3 (25, 465, 587). Aborts with a sentence when the programs do not load. */
void testgate_open(struct testgate *t, unsigned nports);
void testgate_close(struct testgate *t);
/* Forgets flows, buckets, counters, policies; slot 1 is a registered VM on TEST_IFINDEX. */
void testgate_reset(struct testgate *t);

/* Sets a subject's own policy; base as in maps.h, scope 0 = all ports. NULL = none. */
void testgate_policy(struct testgate *t, uint32_t base, uint32_t scope,
		     const struct gate_node *node);
/* A node with one rate. */
struct gate_node testgate_limit(uint32_t per_s, uint32_t burst);

/* Runs a frame; returns the action. ingress: skb->ingress_ifindex. */
int testgate_run(struct testgate *t, enum test_prog prog, const uint8_t *frame, int len,
		 uint32_t ingress);
/* Builds and runs. */
int testgate_send(struct testgate *t, enum test_prog prog, const char *words,
		  const struct frame_spec *spec);

uint64_t testgate_reason(struct testgate *t, enum gate_reason r, bool would);
uint64_t testgate_now(void); /* CLOCK_MONOTONIC ns */

#endif
