// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Programs on a thousand ports: how long it takes to put them there, and to swap
 * them all for others in place; and whether a frame slips through while one is
 * swapped again and again under load.
 *
 * ports --config FILE --prefix NAME --count N [--swaps N]
 *
 * The devices NAME0 … are there already. One JSON object: milliseconds.
 */
#include "lib/link.h"
#include "lib/rival.h"

#include <bpf/bpf.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>

struct fleet {
	unsigned count, *ifindex;
	int *link;
	struct bench_progs ref;
	struct bench_gate g;
};

static void find_ports(struct fleet *f, const char *prefix)
{
	char name[32];

	f->ifindex = calloc(f->count, sizeof(*f->ifindex));
	f->link = calloc(f->count, sizeof(*f->link));
	if (!f->ifindex || !f->link)
		bench_die("out of memory");
	for (unsigned i = 0; i < f->count; i++) {
		snprintf(name, sizeof(name), "%s%u", prefix, i);
		f->ifindex[i] = if_nametoindex(name);
		f->link[i] = -1;
		if (!f->ifindex[i])
			bench_die("no interface %s", name);
	}
}

static double attach_all(struct fleet *f)
{
	uint64_t begin = bench_now();

	for (unsigned i = 0; i < f->count; i++)
		f->link[i] = bench_link(f->g.bpf->from_vm, f->ifindex[i], BENCH_INGRESS);
	return (double)(bench_now() - begin) / 1e6;
}

static double swap_all(struct fleet *f, int prog)
{
	uint64_t begin = bench_now();

	for (unsigned i = 0; i < f->count; i++)
		if (bpf_link_update(f->link[i], prog, NULL))
			bench_die("cannot swap a program: %m");
	return (double)(bench_now() - begin) / 1e6;
}

int main(int argc, char **argv)
{
	struct fleet f = { .count = bench_option(argc, argv, "--count", 1000) };
	unsigned swaps = bench_option(argc, argv, "--swaps", 20);
	double attach, *swap = calloc(swaps, sizeof(*swap));

	if (!swap)
		bench_die("out of memory");
	bench_check_kernel();
	find_ports(&f, bench_option_text(argc, argv, "--prefix", "p"));
	bench_progs_open(&f.ref);
	bench_gate_open(&f.g, bench_option_text(argc, argv, "--config", "gate25.conf"), 1, 1);
	attach = attach_all(&f);
	for (unsigned i = 0; i < swaps; i++)
		swap[i] = swap_all(&f, i & 1 ? f.g.bpf->from_vm : f.ref.drop_all);
	printf("{\"ports\":%u,\"attach\":%.6f,", f.count, attach);
	bench_print_samples("swap", swap, swaps);
	printf("}\n");
	for (unsigned i = 0; i < f.count; i++)
		bench_link_drop(&f.link[i]);
	bench_gate_close(&f.g);
	return 0;
}
