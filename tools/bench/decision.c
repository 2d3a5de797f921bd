// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * What from_vm takes for a frame that is its own, over an empty program: the
 * generator makes a frame, then hands on to the one or the other (TEST_RUN). No
 * bridge, no skb made or freed: the decision alone.
 *
 * decision --config FILE [--vms N] [--rounds N] [--repeat N] [--single 1] [--case NAME]
 *
 * One JSON object a line: case, samples of both in ns.
 */
#include "lib/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IFINDEX 1

struct plan {
	unsigned rounds, repeat, vms;
	double *own, *floor; /* rounds each */
	struct bench_progs ref;
	struct bench_gate gate;
};

static const struct decision_case {
	const char *name, *policy, *shape;
	bool flows; /* each frame a new one */
	int action;
} cases[] = {
	{ "other", "limit", "other", false, -1 },    { "known", "limit", "data", false, -1 },
	{ "new_limited", "limit", "syn", true, -1 }, { "new_allowed", "allow", "syn", true, -1 },
	{ "refused", "block", "syn", true, 2 },
};

static double sample(struct plan *p, int prog, const uint8_t *frame, int len, int *action)
{
	bench_progs_jump(&p->ref, prog);
	return bench_run(p->ref.gen_tc, frame, len, IFINDEX, p->repeat, action);
}

static void run_case(struct plan *p, const struct decision_case *c)
{
	enum bench_shape shape = bench_shape_named(c->shape);
	uint8_t frame[BENCH_FRAME_MAX];
	int len, action;

	bench_gate_policy(&p->gate, c->policy);
	len = bench_frame(BENCH_SYN, 0, frame);
	bench_gen_set(&p->ref, BENCH_ALL_CPUS, 0, p->vms, c->flows, frame);
	bench_progs_jump(&p->ref, p->gate.bpf->from_vm);
	bench_run(p->ref.gen_tc, frame, len, IFINDEX, p->vms, NULL); /* opens the known flows */
	len = bench_frame(shape, 0, frame);
	for (unsigned i = 0; i < p->rounds; i++) {
		p->floor[i] = sample(p, p->ref.empty, frame, len, NULL);
		p->own[i] = sample(p, p->gate.bpf->from_vm, frame, len, &action);
		if (action != c->action)
			bench_die("%s: the verdict was %d", c->name, action);
	}
	printf("{\"case\":\"%s\",\"vms\":%u,", c->name, p->vms);
	bench_print_samples("own", p->own, p->rounds);
	printf(",");
	bench_print_samples("empty", p->floor, p->rounds);
	printf("}\n");
}

int main(int argc, char **argv)
{
	struct plan p = {
		.rounds = bench_option(argc, argv, "--rounds", 100),
		.repeat = bench_option(argc, argv, "--repeat", 10000),
		.vms = bench_option(argc, argv, "--vms", 10),
	};
	const char *only = bench_option_text(argc, argv, "--case", NULL);

	bench_check_kernel();
	bench_pin(0);
	bench_progs_open(&p.ref);
	bench_gate_open(&p.gate, bench_option_text(argc, argv, "--config", "gate25.conf"), p.vms,
			IFINDEX);
	if (bench_option_text(argc, argv, "--single", NULL))
		bench_gate_single(&p.gate, IFINDEX);
	p.own = calloc(p.rounds, sizeof(*p.own));
	p.floor = calloc(p.rounds, sizeof(*p.floor));
	if (!p.own || !p.floor)
		bench_die("out of memory");
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (!only || !strcmp(only, cases[i].name))
			run_case(&p, &cases[i]);
	bench_gate_close(&p.gate);
	free(p.own);
	free(p.floor);
	return 0;
}
