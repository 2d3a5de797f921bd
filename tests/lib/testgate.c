// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "testgate.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "gate25.skel.h"

#define VMS	  64
#define TENANTS	  16
#define OVERRIDES 16
#define BUDGETS	  16
#define FLOW_SETS 16
#define DEST_SETS 4
#define NODES	  256

static int quiet(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, fmt, ap) : 0;
}

static void size(struct bpf_map *map, uint32_t n)
{
	if (bpf_map__set_max_entries(map, n))
		abort();
}

static void *map_memory(struct bpf_map *map)
{
	size_t bytes = (size_t)((bpf_map__value_size(map) + 7) & ~7U) * bpf_map__max_entries(map);
	void *p;

	bytes = (bytes + 4095) & ~4095UL;
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);
	if (p == MAP_FAILED) {
		fprintf(stderr, "testgate: cannot map %s\n", bpf_map__name(map));
		abort();
	}
	return p;
}

static void set_sizes(struct testgate *t)
{
	uint32_t scopes = t->m.scopes;

	t->m.nheads = (2 + VMS + TENANTS + OVERRIDES) * scopes;
	t->m.nnodes = NODES;
	t->m.nbuckets = VMS * (scopes + 1) + OVERRIDES * scopes;
	t->m.nbudgets = BUDGETS;
	size(t->skel->maps.vms, VMS);
	size(t->skel->maps.names, VMS);
	size(t->skel->maps.heads, t->m.nheads);
	size(t->skel->maps.nodes, NODES);
	size(t->skel->maps.buckets, t->m.nbuckets);
	size(t->skel->maps.budgets, BUDGETS);
	size(t->skel->maps.shadow_heads, t->m.nheads);
	size(t->skel->maps.shadow, VMS);
	size(t->skel->maps.counters, VMS);
	size(t->skel->maps.port_counters, VMS * 4);
	size(t->skel->maps.flows, VMS * FLOW_SETS);
	size(t->skel->maps.dests, VMS * DEST_SETS);
	size(t->skel->maps.near_macs, gate_near_sets(VMS));
	size(t->skel->maps.ports, VMS);
	size(t->skel->maps.mac_owner, VMS);
	size(t->skel->maps.ip_owner, VMS);
	size(t->skel->maps.macs, VMS);
	size(t->skel->maps.ips, VMS);
	size(t->skel->maps.exempt, VMS);
}

static void map_all(struct testgate *t)
{
	t->m.conf = map_memory(t->skel->maps.conf);
	t->m.global = map_memory(t->skel->maps.global);
	t->m.vms = map_memory(t->skel->maps.vms);
	t->m.heads = map_memory(t->skel->maps.heads);
	t->m.nodes = map_memory(t->skel->maps.nodes);
	t->m.buckets = map_memory(t->skel->maps.buckets);
	t->m.budgets = map_memory(t->skel->maps.budgets);
	t->m.shadow_heads = map_memory(t->skel->maps.shadow_heads);
	t->m.shadow = map_memory(t->skel->maps.shadow);
	t->m.counters = map_memory(t->skel->maps.counters);
	t->m.port_counters = map_memory(t->skel->maps.port_counters);
	t->m.flows = map_memory(t->skel->maps.flows);
	t->m.dests = map_memory(t->skel->maps.dests);
	t->m.near_macs = map_memory(t->skel->maps.near_macs);
	t->m.ports = bpf_map__fd(t->skel->maps.ports);
	t->m.mac_owner = bpf_map__fd(t->skel->maps.mac_owner);
	t->m.ip_owner = bpf_map__fd(t->skel->maps.ip_owner);
	t->m.macs = bpf_map__fd(t->skel->maps.macs);
	t->m.ips = bpf_map__fd(t->skel->maps.ips);
	t->m.exempt = bpf_map__fd(t->skel->maps.exempt);
	t->m.reasons = bpf_map__fd(t->skel->maps.reasons);
	t->m.untold = bpf_map__fd(t->skel->maps.untold);
	t->m.events = bpf_map__fd(t->skel->maps.events);
}

void testgate_open(struct testgate *t, unsigned nports)
{
	static const uint16_t port[GATE_MAX_PORTS] = { 25, 465, 587, 25 };
	struct gate_params *p;

	memset(t, 0, sizeof(*t));
	libbpf_set_print(quiet);
	t->skel = gate25_bpf__open();
	if (!t->skel)
		abort();
	t->m.scopes = gate_scopes(nports);
	t->m.ncpus = libbpf_num_possible_cpus();
	p = (struct gate_params *)&t->skel->rodata->params;
	p->nports = nports;
	for (unsigned i = 0; i < GATE_MAX_PORTS; i++)
		p->ports[i] = i < nports ? port[i] : 25;
	p->scopes = t->m.scopes;
	p->max_vms = VMS;
	p->max_tenants = TENANTS;
	p->flow_sets = FLOW_SETS;
	p->dest_sets = DEST_SETS;
	p->dry_run_mark = TEST_DRY_MARK;
	for (unsigned i = 0; i < 10; i++)
		p->seed[i] = 0x9e3779b9 * (i + 1);
	set_sizes(t);
	if (gate25_bpf__load(t->skel)) {
		fprintf(stderr, "testgate: the programs do not load\n");
		abort();
	}
	map_all(t);
	t->m.conf->max_vms = VMS;
	t->m.conf->max_tenants = TENANTS;
	t->m.conf->max_overrides = OVERRIDES;
	t->m.conf->flow_sets = FLOW_SETS;
	t->m.conf->dest_sets = DEST_SETS;
	t->m.conf->nports = nports;
	testgate_reset(t);
}

void testgate_close(struct testgate *t)
{
	gate25_bpf__destroy(t->skel);
}

static void empty_map(int fd, size_t key_size)
{
	uint8_t key[64];

	(void)key_size;
	while (bpf_map_get_next_key(fd, NULL, key) == 0)
		bpf_map_delete_elem(fd, key);
}

void testgate_reset(struct testgate *t)
{
	struct gate_port port = { .slot = TEST_SLOT, .flags = GATE_PORT_VM };
	uint32_t ifindex = TEST_IFINDEX, n = 2 * GATE_R_MAX;
	uint64_t *zero = calloc(t->m.ncpus, sizeof(*zero));

	memset(t->m.vms, 0, VMS * sizeof(*t->m.vms));
	memset(t->m.heads, 0, t->m.nheads * sizeof(*t->m.heads));
	memset(t->m.buckets, 0, t->m.nbuckets * sizeof(*t->m.buckets));
	memset(t->m.budgets, 0, BUDGETS * sizeof(*t->m.budgets));
	memset(t->m.shadow_heads, 0, t->m.nheads * sizeof(*t->m.shadow_heads));
	memset(t->m.shadow, 0, VMS * sizeof(*t->m.shadow));
	memset(t->m.counters, 0, VMS * sizeof(*t->m.counters));
	memset(t->m.port_counters, 0, VMS * 4 * sizeof(*t->m.port_counters));
	memset(t->m.flows, 0, VMS * FLOW_SETS * sizeof(*t->m.flows));
	memset(t->m.dests, 0, VMS * DEST_SETS * sizeof(*t->m.dests));
	memset(t->m.near_macs, 0, gate_near_sets(VMS) * sizeof(*t->m.near_macs));
	empty_map(t->m.ports, 4);
	empty_map(t->m.mac_owner, sizeof(struct gate_mac_owner_key));
	empty_map(t->m.ip_owner, sizeof(struct gate_ip_key));
	empty_map(t->m.macs, sizeof(struct gate_mac_key));
	empty_map(t->m.ips, sizeof(struct gate_ip_key));
	empty_map(t->m.exempt, sizeof(struct gate_exempt_key));
	for (uint32_t i = 0; i < n; i++)
		bpf_map_update_elem(t->m.reasons, &i, zero, 0);
	for (uint32_t i = 0; i < GATE_UNTOLD_MAX; i++)
		bpf_map_update_elem(t->m.untold, &i, zero, 0);
	free(zero);
	t->next_node = 1;
	t->m.conf->flags = GATE_CONF_ENFORCE | GATE_CONF_BACKSTOP;
	t->m.vms[TEST_SLOT].flags = GATE_VM_USED | GATE_VM_REGISTERED | GATE_VM_TO_VM;
	t->m.vms[TEST_SLOT2].flags = GATE_VM_USED | GATE_VM_REGISTERED | GATE_VM_TO_VM;
	t->m.vms[0].flags = GATE_VM_USED;
	bpf_map_update_elem(t->m.ports, &ifindex, &port, 0);
	gate_maps_ports_changed(&t->m);
}

void testgate_policy(struct testgate *t, uint32_t base, uint32_t scope,
		     const struct gate_node *node)
{
	uint32_t handle = base * t->m.scopes + scope;

	if (!node) {
		t->m.heads[handle] = 0;
		return;
	}
	if (t->next_node >= NODES)
		abort();
	t->m.nodes[t->next_node] = *node;
	t->m.heads[handle] = t->next_node++;
}

struct gate_node testgate_limit(uint32_t per_s, uint32_t burst)
{
	uint64_t interval = 1000000000ULL / per_s;
	struct gate_node n = { .state = GATE_LIMIT, .nrates = 1 };

	n.rates[0].interval_ns = interval;
	n.rates[0].tolerance_ns = (burst - 1) * interval;
	return n;
}

int testgate_run(struct testgate *t, enum test_prog prog, const uint8_t *frame, int len,
		 uint32_t ingress)
{
	struct __sk_buff ctx = { .ifindex = TEST_IFINDEX,
				 .ingress_ifindex = ingress,
				 .mark = t->mark,
				 .priority = t->priority };
	struct bpf_program *const progs[] = { t->skel->progs.g25_from_vm, t->skel->progs.g25_to_vm,
					      t->skel->progs.g25_uplink_out };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = len,
		    .data_out = t->out, .data_size_out = sizeof(t->out), .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx), .repeat = 1);
	int r = bpf_prog_test_run_opts(bpf_program__fd(progs[prog]), &opts);

	if (r) {
		fprintf(stderr, "testgate: TEST_RUN of %d bytes: %s\n", len, strerror(-r));
		abort();
	}
	t->out_len = opts.data_size_out;
	return (int)opts.retval;
}

int testgate_send(struct testgate *t, enum test_prog prog, const char *words,
		  const struct frame_spec *spec)
{
	uint8_t frame[FRAME_MAX];
	int len = frame_build(words, spec, frame);

	return testgate_run(t, prog, frame, len, prog == TEST_UPLINK_OUT ? TEST_IFINDEX : 0);
}

uint64_t testgate_reason(struct testgate *t, enum gate_reason r, bool would)
{
	uint64_t *value = calloc(t->m.ncpus, sizeof(*value)), sum = 0;
	uint32_t i = r + (would ? GATE_R_MAX : 0);

	if (bpf_map_lookup_elem(t->m.reasons, &i, value))
		abort();
	for (int c = 0; c < t->m.ncpus; c++)
		sum += value[c];
	free(value);
	return sum;
}

uint64_t testgate_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}
