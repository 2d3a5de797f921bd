// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "rival.h"

#include <string.h>

#define RIVAL_REPEAT 2000
#define TRIES	     1000

static void *run(void *arg)
{
	struct bench_rival *r = arg;

	bench_pin(1);
	while (!__atomic_load_n(&r->stop, __ATOMIC_RELAXED)) {
		bench_run(r->prog, r->frame, r->len, r->ifindex, RIVAL_REPEAT, NULL);
		__atomic_fetch_add(&r->runs, RIVAL_REPEAT, __ATOMIC_RELAXED);
	}
	return NULL;
}

void bench_rival_start(struct bench_rival *r)
{
	int err;

	r->runs = 0;
	r->stop = false;
	err = pthread_create(&r->thread, NULL, run, r);
	if (err)
		bench_die("cannot start a second thread: %s", strerror(err));
	while (!bench_rival_runs(r))
		;
}

void bench_rival_stop(struct bench_rival *r)
{
	__atomic_store_n(&r->stop, true, __ATOMIC_RELAXED);
	pthread_join(r->thread, NULL);
}

uint64_t bench_rival_runs(const struct bench_rival *r)
{
	return __atomic_load_n(&r->runs, __ATOMIC_RELAXED);
}

double bench_rival_sample(const struct bench_rival *r, int prog, const uint8_t *frame, int len,
			  unsigned repeat)
{
	for (int i = 0; i < TRIES; i++) {
		uint64_t before = bench_rival_runs(r);
		double ns = bench_run(prog, frame, len, r->ifindex, repeat, NULL);

		if (bench_rival_runs(r) - before >= repeat / 2)
			return ns;
	}
	bench_die("the second CPU is too busy with something else");
}
