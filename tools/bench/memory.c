// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * What the maps take in the kernel, by its own account (memlock in fdinfo), when every
 * VM is there: each on a port of its own, with one registered MAC.
 *
 * memory --config FILE
 *
 * One JSON object: max_vms, possible CPUs, bytes of each map.
 */
#include "lib/bench.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <string.h>

#include "gate25.skel.h"

static unsigned long long memlock(int fd)
{
	unsigned long long bytes = 0;
	char path[64], line[256];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	if (!f)
		bench_die("cannot read %s: %m", path);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "memlock: %llu", &bytes) == 1)
			found = true;
	fclose(f);
	if (!found)
		bench_die("this kernel does not tell memlock of a map");
	return bytes;
}

static void register_all(const struct gate_maps *m)
{
	const struct gate_address own = { .flags = GATE_ADDR_REGISTERED };

	for (uint32_t slot = 1; slot < m->conf->max_vms; slot++) {
		struct gate_port port = { .slot = slot, .flags = GATE_PORT_VM };
		struct gate_mac_key mac = { .slot = slot, .mac = { 2 } };
		uint32_t ifindex = slot + 1;

		memcpy(mac.mac + 2, &slot, 4);
		if (bpf_map_update_elem(m->ports, &ifindex, &port, 0) ||
		    bpf_map_update_elem(m->macs, &mac, &own, 0))
			bench_die("cannot register VM %u: %m", slot);
	}
}

int main(int argc, char **argv)
{
	const struct bpf_map *map;
	unsigned n = 0;
	struct bench_gate g;

	bench_gate_open(&g, bench_option_text(argc, argv, "--config", "gate25.conf"), 1, 1);
	register_all(g.m);
	printf("{\"max_vms\":%u,\"cpus\":%d,\"maps\":{", g.m->conf->max_vms, g.m->ncpus);
	bpf_object__for_each_map(map, g.bpf->skel->obj)
	{
		printf("%s\"%s\":%llu", n++ ? "," : "", bpf_map__name(map),
		       memlock(bpf_map__fd(map)));
	}
	printf("}}\n");
	bench_gate_close(&g);
	return 0;
}
