// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * A tap written to by a host process at full rate, as a hypervisor without vhost
 * does: port 443, with the gate's hooks and without, in turn.
 *
 * tap --config FILE --name DEV --out DEV [--size N] [--rounds N] [--frames N]
 *
 * One JSON object: samples in ns of CPU for each frame written: without any hook,
 * with an empty program in the place of from_vm, with from_vm, and with all three
 * hooks of the default set-up; the least share of frames that came out.
 */
#include "lib/bench.h"
#include "lib/link.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum setup { SETUP_NONE, SETUP_EMPTY, SETUP_ONE, SETUP_ALL, SETUP_MAX };
static const char *const setup_name[] = { "none", "empty", "from_vm", "all" };
_Static_assert(sizeof(setup_name) / sizeof(setup_name[0]) == SETUP_MAX, "set-up names");

struct tap {
	const char *name, *out;
	unsigned index, out_index, frames;
	int fd, link[3];
	struct bench_progs ref;
	struct bench_gate g;
	uint8_t frame[BENCH_FRAME_MAX];
	int len;
	double least; /* share that came out */
};

static void set_up(struct tap *t, enum setup setup)
{
	for (int i = 0; i < 3; i++)
		bench_link_drop(&t->link[i]);
	if (setup != SETUP_NONE)
		t->link[0] = bench_link(setup == SETUP_EMPTY ? t->ref.empty : t->g.bpf->from_vm,
					t->index, BENCH_INGRESS);
	if (setup != SETUP_ALL)
		return;
	t->link[1] = bench_link(t->g.bpf->to_vm, t->index, BENCH_EGRESS);
	t->link[2] = bench_link(t->g.bpf->uplink_out, t->out_index, BENCH_EGRESS);
}

static double sample(struct tap *t)
{
	uint32_t before = bench_frames_taken(t->out);
	uint64_t begin = bench_cpu_now();
	double share;

	for (unsigned i = 0; i < t->frames; i++)
		if (write(t->fd, t->frame, t->len) != t->len)
			bench_die("cannot write to the tap: %m");
	begin = bench_cpu_now() - begin;
	share = (double)(bench_frames_taken(t->out) - before) / t->frames;
	if (share < t->least)
		t->least = share;
	return (double)begin / t->frames;
}

int main(int argc, char **argv)
{
	struct tap t = { .name = bench_option_text(argc, argv, "--name", "tap0"),
			 .out = bench_option_text(argc, argv, "--out", "uplink"),
			 .frames = bench_option(argc, argv, "--frames", 20000),
			 .link = { -1, -1, -1 },
			 .least = 1 };
	unsigned rounds = bench_option(argc, argv, "--rounds", 100);
	double *samples[SETUP_MAX];

	bench_check_kernel();
	bench_pin(0);
	t.fd = bench_tap(t.name);
	t.index = if_nametoindex(t.name);
	t.out_index = if_nametoindex(t.out);
	if (!t.index || !t.out_index)
		bench_die("no interface %s or %s here", t.name, t.out);
	bench_progs_open(&t.ref);
	bench_gate_open(&t.g, bench_option_text(argc, argv, "--config", "gate25.conf"), 1, t.index);
	bench_gate_single(&t.g, t.index);
	t.len = bench_frame(BENCH_OTHER, (int)bench_option(argc, argv, "--size", 60), t.frame);
	for (int s = 0; s < SETUP_MAX; s++)
		if (!(samples[s] = calloc(rounds, sizeof(double))))
			bench_die("out of memory");
	for (unsigned i = 0; i < rounds; i++)
		for (int s = 0; s < SETUP_MAX; s++) {
			set_up(&t, s);
			samples[s][i] = sample(&t);
		}
	printf("{\"size\":%d,\"delivered\":%.6f", t.len, t.least);
	for (int s = 0; s < SETUP_MAX; s++) {
		putchar(',');
		bench_print_samples(setup_name[s], samples[s], rounds);
		free(samples[s]);
	}
	printf("}\n");
	set_up(&t, SETUP_NONE);
	bench_gate_close(&t.g);
	return 0;
}
