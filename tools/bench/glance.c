// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * What the shipped programs add to a frame that is not theirs, over an empty
 * program: BPF_PROG_TEST_RUN, the two in turn.
 *
 * glance --config FILE [--rounds N] [--repeat N] [--ifindex N]
 *
 * One JSON object a line: program, shape, samples of both in ns.
 */
#include "lib/bench.h"

#include <bpf/libbpf.h>
#include <stdio.h>
#include <stdlib.h>

struct plan {
	unsigned rounds, repeat, ifindex;
	double *own, *floor; /* rounds each */
};

static void compare(const struct plan *p, const char *name, int prog, int empty,
		    enum bench_shape shape, const char *shape_name)
{
	uint8_t frame[BENCH_FRAME_MAX];
	int len = bench_frame(shape, 0, frame), action;

	for (unsigned i = 0; i < p->rounds; i++) {
		p->floor[i] = bench_run(empty, frame, len, p->ifindex, p->repeat, NULL);
		p->own[i] = bench_run(prog, frame, len, p->ifindex, p->repeat, &action);
		if (action != -1)
			bench_die("%s refused a frame that is not its own (%s)", name, shape_name);
	}
	printf("{\"program\":\"%s\",\"shape\":\"%s\",", name, shape_name);
	bench_print_samples("own", p->own, p->rounds);
	printf(",");
	bench_print_samples("empty", p->floor, p->rounds);
	printf("}\n");
}

int main(int argc, char **argv)
{
	static const char *const shapes[] = { "other", "other6", "tagged", "udp" };
	struct plan p = {
		.rounds = bench_option(argc, argv, "--rounds", 300),
		.repeat = bench_option(argc, argv, "--repeat", 20000),
		.ifindex = bench_option(argc, argv, "--ifindex", 1),
	};
	struct bench_progs ref;
	struct bench_gate g;

	bench_check_kernel();
	bench_pin(0);
	bench_progs_open(&ref);
	bench_gate_open(&g, bench_option_text(argc, argv, "--config", "gate25.conf"), 1, p.ifindex);
	p.own = calloc(p.rounds, sizeof(*p.own));
	p.floor = calloc(p.rounds, sizeof(*p.floor));
	if (!p.own || !p.floor)
		bench_die("out of memory");
	for (unsigned i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		enum bench_shape shape = bench_shape_named(shapes[i]);

		compare(&p, "from_vm", g.bpf->from_vm, ref.empty, shape, shapes[i]);
		compare(&p, "to_vm", g.bpf->to_vm, ref.empty, shape, shapes[i]);
		compare(&p, "uplink_out", g.bpf->uplink_out, ref.empty, shape, shapes[i]);
	}
	bench_gate_close(&g);
	free(p.own);
	free(p.floor);
	return 0;
}
