// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * One VM opens flows as fast as a core can, while the other core carries the known
 * flows of its neighbours: what they lose (nothing), what they pay.
 *
 * attack --config FILE [--victims N] [--rounds N] [--repeat N]
 *
 * One JSON object: samples in ns for each victim's frame with the second core running
 * an empty program ("calm") and the attack; flows of the attacker; flows that victims lost.
 */
#include "lib/rival.h"

#include <stdio.h>
#include <stdlib.h>

#define IFINDEX 1

struct scene {
	struct bench_progs ref;
	struct bench_gate g;
	uint32_t victims;
	unsigned repeat, cpu;
	uint8_t data[BENCH_FRAME_MAX], syn[BENCH_FRAME_MAX];
	int len;
};

static uint64_t victims_admitted(const struct scene *s)
{
	uint64_t sum = 0;

	for (uint32_t slot = 2; slot <= s->victims + 1; slot++)
		sum += s->g.m->counters[slot].flows_admitted;
	return sum;
}

static double sample(struct scene *s, int prog)
{
	struct bench_rival rival = {
		.prog = prog, .frame = s->syn, .len = s->len, .ifindex = IFINDEX
	};
	double ns;

	bench_rival_start(&rival);
	ns = bench_rival_sample(&rival, s->ref.gen_tc, s->data, s->len, s->repeat);
	bench_rival_stop(&rival);
	return ns;
}

/* VM 0 attacks, the others have one flow each, which begins here. */
static void set_scene(struct scene *s, const char *config)
{
	bench_progs_open(&s->ref);
	bench_gate_open(&s->g, config, s->victims + 1, IFINDEX);
	bench_gate_policy(&s->g, "limit");
	s->len = bench_frame(BENCH_SYN, 0, s->syn);
	bench_frame(BENCH_DATA, 0, s->data);
	bench_gen_set(&s->ref, BENCH_ALL_CPUS, 0, 1, true, s->syn);
	bench_gen_set(&s->ref, s->cpu, 1, s->victims, false, s->syn);
	bench_progs_jump(&s->ref, s->g.bpf->from_vm);
	bench_run(s->ref.gen_tc, s->syn, s->len, IFINDEX, s->victims, NULL);
	if (victims_admitted(s) != s->victims)
		bench_die("only %lu of %u flows began", (unsigned long)victims_admitted(s),
			  s->victims);
}

int main(int argc, char **argv)
{
	struct scene s = { .victims = bench_option(argc, argv, "--victims", 1000),
			   .repeat = bench_option(argc, argv, "--repeat", 20000) };
	unsigned rounds = bench_option(argc, argv, "--rounds", 50);
	double *calm = calloc(rounds, sizeof(*calm)), *attacked = calloc(rounds, sizeof(*calm));

	if (!calm || !attacked)
		bench_die("out of memory");
	bench_check_kernel();
	if (bench_cpus() < 2)
		bench_die("one CPU only: no attack at the same time");
	s.cpu = bench_pin(0);
	set_scene(&s, bench_option_text(argc, argv, "--config", "gate25.conf"));
	for (unsigned i = 0; i < rounds; i++) {
		calm[i] = sample(&s, s.ref.empty);
		attacked[i] = sample(&s, s.ref.gen_tc);
	}
	putchar('{');
	bench_print_samples("calm", calm, rounds);
	putchar(',');
	bench_print_samples("attacked", attacked, rounds);
	printf(",\"attack_flows\":%llu,\"lost\":%llu}\n",
	       (unsigned long long)s.g.m->counters[1].flows_admitted,
	       (unsigned long long)victims_admitted(&s) - s.victims);
	bench_gate_close(&s.g);
	free(calm);
	free(attacked);
	return 0;
}
