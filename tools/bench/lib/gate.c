// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "bench.h"
#include "config.h"
#include "near.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <string.h>

/* Never refuses at any rate that this machine can make. */
#define ENDLESS_INTERVAL_NS  1
#define ENDLESS_TOLERANCE_NS (1ULL << 40)

void bench_gate_open(struct bench_gate *g, const char *config, uint32_t vms, unsigned ifindex)
{
	struct gate_error err = { 0 };
	struct gate_port port = { .slot = 0, .flags = GATE_PORT_VM | GATE_PORT_TRUNK };
	struct gate_near near;
	struct gate_mac_owner_key key = { .ifindex = ifindex, .mac = { 2 } };

	memset(g, 0, sizeof(*g));
	if (gate_config_load(config, true, &g->config, &err) ||
	    gate_bpf_open(&g->bpf, g->config, &err))
		bench_die("%s", err.message);
	g->m = &g->bpf->maps;
	g->vms = vms;
	if (vms + 1 > g->m->conf->max_vms)
		bench_die("max_vms is too small for %u VMs", vms);
	gate_near_open(&near, g->m);
	g->m->conf->flags = GATE_CONF_ENFORCE | GATE_CONF_BACKSTOP;
	for (uint32_t vm = 0; vm < vms; vm++) {
		uint32_t slot = vm + 1;

		memcpy(key.mac + 2, &(uint32_t){ htonl(vm) }, 4);
		if (bpf_map_update_elem(g->m->mac_owner, &key, &slot, 0))
			bench_die("cannot register VM %u: %m", vm);
		gate_near_put(&near,
			      &(struct gate_near_entry){ GATE_NEAR_OWNER, ifindex, slot, key.mac });
		g->m->vms[slot].flags = GATE_VM_USED | GATE_VM_REGISTERED | GATE_VM_TO_VM;
	}
	if (bpf_map_update_elem(g->m->ports, &ifindex, &port, 0))
		bench_die("cannot register the port: %m");
	gate_maps_ports_changed(g->m);
	gate_near_close(&near);
}

void bench_gate_close(struct bench_gate *g)
{
	struct gate_error err = { 0 };
	char pin[256];

	memcpy(pin, g->bpf->pin, sizeof(pin));
	gate_bpf_close(g->bpf);
	gate_config_free(g->config);
	if (gate_bpf_unpin_all(pin, &err))
		bench_die("%s", err.message);
}

void bench_gate_single(struct bench_gate *g, unsigned ifindex)
{
	struct gate_port port = { .slot = 1, .flags = GATE_PORT_VM };

	if (bpf_map_update_elem(g->m->ports, &ifindex, &port, 0))
		bench_die("cannot register the port: %m");
	gate_maps_ports_changed(g->m);
}

static struct gate_node policy(const char *state)
{
	const struct gate_rate endless = { ENDLESS_INTERVAL_NS, ENDLESS_TOLERANCE_NS };
	struct gate_node n = { .state = GATE_ALLOW, .refuse = GATE_REFUSE_DROP };

	if (!strcmp(state, "block")) {
		n.state = GATE_BLOCK;
	} else if (!strcmp(state, "limit")) {
		n.state = GATE_LIMIT;
		n.nrates = 2;
		n.rates[0] = n.rates[1] = n.destinations = endless;
		n.concurrent = 1U << 30;
	} else if (strcmp(state, "allow")) {
		bench_die("not a policy: '%s'", state);
	}
	return n;
}

void bench_gate_policy(struct bench_gate *g, const char *state)
{
	struct gate_node node = policy(state);

	for (uint32_t slot = 1; slot <= g->vms; slot++)
		g->m->heads[gate_base_vm(slot) * g->m->scopes] = 0;
	g->m->nodes[1] = node; /* equal policies are one node, as the daemon has it */
	for (uint32_t slot = 1; slot <= g->vms; slot++)
		g->m->heads[gate_base_vm(slot) * g->m->scopes] = 1;
}

uint64_t bench_gate_sum(const struct bench_gate *g, size_t offset)
{
	uint64_t sum = 0, one;

	for (uint32_t slot = 0; slot <= g->vms; slot++) {
		memcpy(&one, (const char *)&g->m->counters[slot] + offset, sizeof(one));
		sum += one;
	}
	return sum;
}
