// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "fakemaps.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TENANTS	  64
#define OVERRIDES 64
#define BUDGETS	  16
#define FLOW_SETS 4
#define DEST_SETS 1

static int make_map(enum bpf_map_type type, uint32_t key, uint32_t value, uint32_t max)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts);
	int fd;

	if (type == BPF_MAP_TYPE_LPM_TRIE)
		opts.map_flags = BPF_F_NO_PREALLOC;
	fd = bpf_map_create(type, "fake", key, value, max, &opts);
	if (fd < 0) {
		perror("bpf_map_create (root?)");
		exit(77);
	}
	return fd;
}

static void make_tables(struct gate_maps *m, uint32_t max_vms)
{
	uint32_t n = 8 * max_vms + 256;

	m->ports = make_map(BPF_MAP_TYPE_HASH, 4, sizeof(struct gate_port), n);
	m->mac_owner = make_map(BPF_MAP_TYPE_HASH, sizeof(struct gate_mac_owner_key), 4, n);
	m->ip_owner = make_map(BPF_MAP_TYPE_LPM_TRIE, sizeof(struct gate_ip_key), 4, n);
	m->macs = make_map(BPF_MAP_TYPE_HASH, sizeof(struct gate_mac_key),
			   sizeof(struct gate_address), n);
	m->ips = make_map(BPF_MAP_TYPE_LPM_TRIE, sizeof(struct gate_ip_key),
			  sizeof(struct gate_address), n);
	m->exempt = make_map(BPF_MAP_TYPE_LPM_TRIE, sizeof(struct gate_exempt_key), 4, n);
	m->reasons = m->untold = m->events = -1;
}

static void make_arrays(struct fake_gate *g)
{
	struct gate_maps *m = &g->m;
	uint32_t vms = g->conf.max_vms;

	m->nheads = (2 + vms + g->conf.max_tenants + g->conf.max_overrides) * m->scopes;
	m->nnodes = m->nheads + 16;
	m->nbuckets = vms * (m->scopes + 1) + g->conf.max_overrides * m->scopes;
	m->nbudgets = g->conf.max_budgets;
	m->vms = calloc(vms, sizeof(*m->vms));
	m->names = calloc(vms, sizeof(*m->names));
	m->heads = calloc(m->nheads, sizeof(*m->heads));
	m->nodes = calloc(m->nnodes, sizeof(*m->nodes));
	m->buckets = calloc(m->nbuckets, sizeof(*m->buckets));
	m->budgets = calloc(m->nbudgets, sizeof(*m->budgets));
	m->shadow_heads = calloc(m->nheads, sizeof(*m->shadow_heads));
	m->shadow = calloc(g->conf.max_vms, sizeof(*m->shadow));
	m->counters = calloc(vms, sizeof(*m->counters));
	m->port_counters = calloc((size_t)vms * g->conf.nports, sizeof(*m->port_counters));
	m->flows = calloc((size_t)vms * g->conf.flow_sets, sizeof(*m->flows));
	m->dests = calloc((size_t)vms * g->conf.dest_sets, sizeof(*m->dests));
	m->near_macs = calloc(gate_near_sets(vms), sizeof(*m->near_macs));
}

static void make_maps(struct fake_gate *g)
{
	g->m = (struct gate_maps){ .conf = &g->conf, .global = &g->global, .ncpus = 1 };
	g->m.scopes = gate_scopes(g->conf.nports);
	g->conf.flags = g->conf.revision = 0;
	make_tables(&g->m, g->conf.max_vms);
	make_arrays(g);
}

static void free_maps(struct fake_gate *g)
{
	const int fds[] = { g->m.ports, g->m.mac_owner, g->m.ip_owner,
			    g->m.macs,	g->m.ips,	g->m.exempt };

	for (unsigned i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		close(fds[i]);
	free(g->m.vms);
	free(g->m.names);
	free(g->m.heads);
	free(g->m.nodes);
	free(g->m.buckets);
	free(g->m.budgets);
	free(g->m.shadow_heads);
	free(g->m.shadow);
	free(g->m.counters);
	free(g->m.port_counters);
	free(g->m.flows);
	free(g->m.dests);
	free(g->m.near_macs);
}

void fake_gate_make(struct fake_gate *g, uint32_t max_vms, const uint16_t *ports)
{
	struct gate_policy_spec *p = &g->c.policy;

	memset(g, 0, sizeof(*g));
	g->conf = (struct gate_conf){
		.abi = GATE_ABI,
		.max_vms = max_vms,
		.max_tenants = TENANTS,
		.max_overrides = OVERRIDES > max_vms ? OVERRIDES : max_vms,
		.max_budgets = BUDGETS,
		.flow_sets = FLOW_SETS,
		.dest_sets = DEST_SETS,
	};
	for (; ports[g->conf.nports]; g->conf.nports++)
		g->conf.ports[g->conf.nports] = g->c.ports[g->conf.nports] = ports[g->conf.nports];
	g->c.nports = g->conf.nports;
	make_maps(g);
	strcpy(g->dir, "/tmp/gate25-unit-XXXXXX");
	if (!mkdtemp(g->dir))
		abort();
	snprintf(g->store, sizeof(g->store), "%s/gate25.db", g->dir);
	g->c.store_path = g->store;
	g->c.enforce = g->c.backstop = true;
	g->c.binding = GATE_BINDING_LEARN;
	g->c.grace_s = GATE_GRACE_S;
	g->c.refuse[GATE_BLOCK] = GATE_REFUSE_RESET;
	p->state = GATE_LIMIT;
	p->refuse = GATE_REFUSE_UNSET;
	p->limits.rates[0] = (struct gate_rate_spec){ .count = 5, .per_s = 1 };
	p->limits.rates[1] = (struct gate_rate_spec){ .count = 200, .per_s = 3600 };
	p->limits.nrates = 2;
	p->limits.burst = 10;
	p->limits.concurrent = 6;
	p->limits.destinations = (struct gate_rate_spec){ .count = 100, .per_s = 3600 };
}

void fake_gate_reboot(struct fake_gate *g)
{
	free_maps(g);
	make_maps(g);
}

void fake_gate_free(struct fake_gate *g)
{
	DIR *d = opendir(g->dir);
	struct dirent *at;

	while (d && (at = readdir(d))) {
		char path[400];

		snprintf(path, sizeof(path), "%s/%s", g->dir, at->d_name);
		unlink(path);
	}
	if (d)
		closedir(d);
	rmdir(g->dir);
	free_maps(g);
}

const struct gate_node *fake_gate_node(const struct fake_gate *g, uint32_t base, unsigned scope)
{
	uint64_t head = g->m.heads[base * g->m.scopes + scope];

	return head ? &g->m.nodes[head] : NULL;
}

bool fake_gate_mac(const struct fake_gate *g, uint32_t slot, const char *mac,
		   struct gate_address *out)
{
	struct gate_mac_key key = { .slot = slot };

	if (gate_parse_mac(mac, key.mac))
		abort();
	return bpf_map_lookup_elem(g->m.macs, &key, out) == 0;
}

bool fake_gate_ip(const struct fake_gate *g, uint32_t slot, const char *address,
		  struct gate_address *out)
{
	struct gate_ip_key key = { .prefixlen = 32 + 128, .slot = slot };
	struct gate_prefix p;

	if (gate_parse_prefix(address, &p))
		abort();
	memcpy(key.addr, p.addr, 16);
	return bpf_map_lookup_elem(g->m.ips, &key, out) == 0;
}

bool fake_gate_exempt(const struct fake_gate *g, uint32_t scope, const char *address)
{
	struct gate_exempt_key key = { .prefixlen = 32 + 128, .scope = scope };
	struct gate_prefix p;
	uint32_t value;

	if (gate_parse_prefix(address, &p))
		abort();
	memcpy(key.addr, p.addr, 16);
	return bpf_map_lookup_elem(g->m.exempt, &key, &value) == 0;
}

bool fake_gate_port(const struct fake_gate *g, uint32_t ifindex, struct gate_port *out)
{
	return bpf_map_lookup_elem(g->m.ports, &ifindex, out) == 0;
}
