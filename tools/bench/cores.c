// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Two cores on one VM at the same time: a bucket of one word, the same under a spin
 * lock, and the whole decision on new flows with all its counters.
 *
 * cores --config FILE [--rounds N] [--repeat N]
 *
 * One JSON object: samples in ns for each run on the first core; a run of the buckets'
 * programs takes "takes" tokens.
 */
#include "lib/rival.h"

#include <stdio.h>
#include <stdlib.h>

#define IFINDEX 1

struct contender {
	const char *name;
	int prog, jump; /* jump -1 = the program is run without the generator */
	double *samples;
};

static void measure(struct bench_progs *ref, struct contender *c, unsigned round, unsigned repeat,
		    const uint8_t *frame, int len)
{
	struct bench_rival rival = {
		.prog = c->prog, .frame = frame, .len = len, .ifindex = IFINDEX
	};

	if (c->jump >= 0)
		bench_progs_jump(ref, c->jump);
	bench_rival_start(&rival);
	c->samples[round] = bench_rival_sample(&rival, c->prog, frame, len, repeat);
	bench_rival_stop(&rival);
}

int main(int argc, char **argv)
{
	unsigned rounds = bench_option(argc, argv, "--rounds", 50);
	unsigned repeat = bench_option(argc, argv, "--repeat", 20000);
	uint8_t frame[BENCH_FRAME_MAX];
	struct bench_progs ref;
	struct bench_gate g;
	int len;

	bench_check_kernel();
	if (bench_cpus() < 2)
		bench_die("one CPU only: nothing can be measured on two");
	bench_pin(0);
	bench_progs_open(&ref);
	bench_gate_open(&g, bench_option_text(argc, argv, "--config", "gate25.conf"), 1, IFINDEX);
	bench_gate_single(&g, IFINDEX);
	bench_gate_policy(&g, "limit");
	len = bench_frame(BENCH_SYN, 0, frame);
	bench_gen_set(&ref, BENCH_ALL_CPUS, 0, 1, true, frame);

	struct contender all[] = {
		{ .name = "empty", .prog = ref.empty, .jump = -1 },
		{ .name = "word", .prog = ref.bucket_word, .jump = -1 },
		{ .name = "locked", .prog = ref.bucket_locked, .jump = -1 },
		{ .name = "generator", .prog = ref.gen_tc, .jump = ref.empty },
		{ .name = "decision", .prog = ref.gen_tc, .jump = g.bpf->from_vm },
	};
	const unsigned n = sizeof(all) / sizeof(all[0]);

	for (unsigned i = 0; i < n; i++)
		if (!(all[i].samples = calloc(rounds, sizeof(double))))
			bench_die("out of memory");
	for (unsigned round = 0; round < rounds; round++)
		for (unsigned i = 0; i < n; i++)
			measure(&ref, &all[i], round, repeat, frame, len);
	for (unsigned i = 0; i < n; i++) {
		putchar(i ? ',' : '{');
		bench_print_samples(all[i].name, all[i].samples, rounds);
		free(all[i].samples);
	}
	printf(",\"takes\":%d}\n", BENCH_TAKES);
	bench_gate_close(&g);
	return 0;
}
