// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Makes all VMs of a running gate count: something in each counter of each used
 * slot, as traffic would leave it.
 *
 * fill --maps DIR        DIR as …/abiN/maps
 *
 * One JSON object: the number of VMs.
 */
#include "bpf_maps.h"
#include "lib/bench.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	const char *dir = bench_option_text(argc, argv, "--maps", NULL);
	struct gate_maps m;
	struct gate_sizes sizes;
	unsigned used = 0;
	int err;

	if (!dir)
		bench_die("fill wants --maps DIR");
	gate_maps_init(&m);
	err = gate_maps_open(dir, &m, &sizes);
	if (err)
		bench_die("cannot open the maps in %s: %s", dir, strerror(-err));
	for (uint32_t slot = 1; slot < sizes.max_vms; slot++) {
		uint64_t *counter = (uint64_t *)&m.counters[slot];

		if (!(m.vms[slot].flags & GATE_VM_USED))
			continue;
		for (size_t i = 0; i < sizeof(*m.counters) / sizeof(*counter); i++)
			counter[i] = 1000 * slot + i;
		m.counters[slot].last_reply = 250;
		used++;
	}
	printf("{\"vms\":%u}\n", used);
	gate_maps_close(&m, &sizes);
	return 0;
}
