/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* A second CPU that runs a program without end while the first one is measured. */
#ifndef GATE25_BENCH_RIVAL_H
#define GATE25_BENCH_RIVAL_H

#include "bench.h"

#include <pthread.h>

struct bench_rival {
	int prog;
	const uint8_t *frame;
	int len;
	unsigned ifindex;
	uint64_t runs; /* atomic */
	bool stop;     /* atomic */
	pthread_t thread;
};

/* Starts it on the second CPU; what `r` is filled with before stays as it is. */
void bench_rival_start(struct bench_rival *r);
void bench_rival_stop(struct bench_rival *r);
uint64_t bench_rival_runs(const struct bench_rival *r);
/*
 * One sample of `prog` on this CPU, ns a run, during which the rival made at least
 * half as many runs: else the two were not at it at the same time, and it is taken again.
 */
double bench_rival_sample(const struct bench_rival *r, int prog, const uint8_t *frame, int len,
			  unsigned repeat);

#endif
