/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What a generator of frames is told; shared by its program and user space. */
#ifndef GATE25_BENCH_GEN_H
#define GATE25_BENCH_GEN_H

#include <linux/types.h>

#define BENCH_FRAME	  54 /* Ethernet, IPv4, TCP */
#define BENCH_TAKES	  16 /* tokens that a bucket's program takes in one run */
#define BENCH_LINK_HEADER 18 /* Ethernet with a tag */
#define BENCH_GENS	  64 /* one for each CPU, by its number; a power of two */

/* VM number v sends from 02:00:vv:vv:vv:vv and 10.v.v.v. */
struct bench_gen {
	__u32 first;  /* number of the first VM */
	__u32 vms;    /* sources that take turns */
	__u32 stride; /* from one to the next, less than `vms` and prime to it */
	__u32 vm;     /* the next one, counted from the first */
	__u32 seq;    /* frames made so far */
	__u32 flows;  /* each frame is a new 5-tuple */
	__u32 sum;    /* of the IP header without addresses and checksum */
	__u32 pad[9];
};

#endif
