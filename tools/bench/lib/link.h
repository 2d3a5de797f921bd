/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Programs on devices, and frames that devices have taken. */
#ifndef GATE25_BENCH_LINK_H
#define GATE25_BENCH_LINK_H

#include "bench.h"

/* bpf_attach_type of tcx, and of XDP */
enum bench_side { BENCH_INGRESS = 46, BENCH_EGRESS = 47, BENCH_XDP = 37 };

/* A link; dies with a sentence where there is no tcx. */
int bench_link(int prog, unsigned ifindex, enum bench_side side);
/* Takes it off, if there is one; *link becomes -1. */
void bench_link_drop(int *link);
/* A process's end of a tap; dies with a sentence. */
int bench_tap(const char *name);
/*
 * Frames that a sink was handed so far: dummy counts them as sent, ifb as received.
 * 32 bits, differences survive a wrap.
 */
uint32_t bench_frames_taken(const char *device);

#endif
