// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Whose policy decides: precedence, identity, expiry, budgets; rules by their number in SEMANTICS.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <bpf/bpf.h>
#include <stdbool.h>
#include <string.h>

#include "../lib/testgate.h"

static struct testgate gate;
static uint16_t next_port;

#define OVERRIDE 3
#define TENANT	 2

static struct gate_counters *counters(void)
{
	return &gate.m.counters[TEST_SLOT];
}

static struct gate_node node(enum gate_state s)
{
	struct gate_node n = { .state = s };

	return s == GATE_LIMIT ? testgate_limit(1, 1) : n;
}

static void set(uint32_t base, struct gate_node n)
{
	testgate_policy(&gate, base, 0, &n);
}

static void begin(void)
{
	testgate_reset(&gate);
	next_port = 1000;
	set(gate_base_default(), node(GATE_ALLOW));
}

static int send_from(uint32_t src, uint8_t last_mac_byte)
{
	struct frame_spec spec = { .sport = next_port++,
				   .src = src,
				   .src_mac = { 2, 0, 0, 0, 0, last_mac_byte } };

	return testgate_send(&gate, TEST_FROM_VM, "eth ip4 tcp", &spec);
}

static int send_one(void)
{
	return send_from(1, 1);
}

static void set_mac(uint32_t slot, uint8_t last, struct gate_address a)
{
	struct gate_mac_key key = { .slot = slot, .mac = { 2, 0, 0, 0, 0, last } };

	assert_int_equal(bpf_map_update_elem(gate.m.macs, &key, &a, 0), 0);
	if (slot == GATE_SLOT_ANY)
		gate.m.conf->flags |= GATE_CONF_ANY_MACS;
	else
		gate.m.vms[slot].flags |= GATE_VM_MACS;
}

/* 10.0.0.last/32, or a /24 for last 0. */
static void set_ip(uint32_t slot, uint8_t last, struct gate_address a)
{
	struct gate_ip_key key = {
		.prefixlen = 32 + (last ? 128 : 120),
		.slot = slot,
		.addr = { [10] = 0xff, [11] = 0xff, [12] = 10, [15] = last },
	};

	assert_int_equal(bpf_map_update_elem(gate.m.ips, &key, &a, 0), 0);
	if (slot == GATE_SLOT_ANY)
		gate.m.conf->flags |= GATE_CONF_ANY_IPS;
	else
		gate.m.vms[slot].flags |= GATE_VM_IPS;
}

static void set_exempt(uint32_t scope, uint8_t last)
{
	struct gate_exempt_key key = {
		.prefixlen = 32 + 128,
		.scope = scope,
		.addr = { [10] = 0xff, [11] = 0xff, [12] = 10, [15] = last },
	};
	uint32_t one = 1;

	assert_int_equal(bpf_map_update_elem(gate.m.exempt, &key, &one, 0), 0);
}

static void test_precedence_1_quarantine_anywhere_wins(void **state)
{
	static const enum gate_state own[] = { GATE_INHERIT, GATE_ALLOW, GATE_LIMIT, GATE_BLOCK };

	for (int where = 0; where < 3; where++) {
		for (size_t i = 0; i < 4; i++) {
			uint32_t base[] = { gate_base_vm(TEST_SLOT),
					    gate_base_tenant(&gate.m, TENANT),
					    gate_base_default() };
			struct gate_node q = node(where == 0 ? own[i] : GATE_ALLOW);

			begin();
			gate.m.vms[TEST_SLOT].tenant = TENANT;
			gate.m.vms[TEST_SLOT].flags |= GATE_VM_EXEMPT;
			set_exempt(GATE_EXEMPT_VM | TEST_SLOT, 2);
			set(gate_base_vm(TEST_SLOT), node(own[i]));
			q.quarantine_until = GATE_FOREVER;
			q.flags = GATE_NODE_OBSERVE;
			set(base[where], q);
			assert_int_equal(send_one(), ACT_SHOT);
			assert_int_equal(testgate_reason(&gate, GATE_R_QUARANTINED, false), 1);
			assert_int_equal(counters()->flows_blocked, 1);
		}
	}
}

static void test_precedence_1_quarantine_expires(void **state)
{
	struct gate_node q = node(GATE_ALLOW);

	begin();
	q.quarantine_until = testgate_now() - 20000000; /* beyond the coarse clock's step */
	set(gate_base_vm(TEST_SLOT), q);
	assert_int_equal(send_one(), ACT_UNSPEC);
}

/* ip > mac > vm > tenant > default: each blocks while all beneath allow, and the reverse. */
static void test_precedence_2_most_specific_decides(void **state)
{
	uint32_t base[] = { gate_base_override(&gate.m, OVERRIDE),
			    gate_base_override(&gate.m, OVERRIDE + 1), gate_base_vm(TEST_SLOT),
			    gate_base_tenant(&gate.m, TENANT), gate_base_default() };
	struct gate_address ip = { .flags = GATE_ADDR_REGISTERED, .base = { base[0] } };
	struct gate_address mac = { .flags = GATE_ADDR_REGISTERED, .base = { base[1] } };

	for (int top = 0; top < 5; top++) {
		for (int blocks = 0; blocks < 2; blocks++) {
			begin();
			gate.m.vms[TEST_SLOT].tenant = TENANT;
			set_ip(TEST_SLOT, 1, ip);
			set_mac(TEST_SLOT, 1, mac);
			for (int i = top; i < 5; i++)
				set(base[i], node((i == top) == blocks ? GATE_BLOCK : GATE_ALLOW));
			assert_int_equal(send_one(), blocks ? ACT_SHOT : ACT_UNSPEC);
		}
	}
}

static void test_precedence_3_exempt_beats_block_and_limit(void **state)
{
	static const enum gate_state closed[] = { GATE_LIMIT, GATE_BLOCK };
	const uint32_t scope[] = { GATE_EXEMPT_ALL, GATE_EXEMPT_VM | TEST_SLOT,
				   GATE_EXEMPT_TENANT | TENANT };

	for (int i = 0; i < 2; i++) {
		for (int k = 0; k < 3; k++) {
			begin();
			gate.m.vms[TEST_SLOT].tenant = TENANT;
			gate.m.vms[TEST_SLOT].flags |= GATE_VM_EXEMPT | GATE_VM_TENANT_EXEMPT;
			gate.m.conf->flags |= GATE_CONF_EXEMPT;
			set(gate_base_vm(TEST_SLOT), node(closed[i]));
			set_exempt(scope[k], 2);
			for (int n = 0; n < 5; n++)
				assert_int_equal(send_one(), ACT_UNSPEC);
			assert_int_equal(counters()->exempt, 5);
			assert_int_equal(testgate_reason(&gate, GATE_R_EXEMPT, false), 5);
			assert_int_equal(counters()->flows_admitted, 0);
		}
	}
	/* another VM's or tenant's exempt is not ours */
	begin();
	gate.m.vms[TEST_SLOT].flags |= GATE_VM_EXEMPT;
	set(gate_base_vm(TEST_SLOT), node(GATE_BLOCK));
	set_exempt(GATE_EXEMPT_VM | TEST_SLOT2, 2);
	assert_int_equal(send_one(), ACT_SHOT);
}

/* A source route names another end than the address in the header. */
static void test_precedence_3_exempt_ends_at_source_routes(void **state)
{
	static const struct {
		const char *words;
		int verdict;
		enum gate_reason reason;
	} row[] = {
		{ "eth ip4 tcp", ACT_UNSPEC, GATE_R_EXEMPT },
		{ "eth ip4:o=8 tcp", ACT_SHOT, GATE_R_BLOCKED },
		{ "eth ip4:f=100 tcp", ACT_UNSPEC, GATE_R_EXEMPT },
		{ "eth ip4:o=8,f=100 tcp", ACT_SHOT, GATE_R_FRAGMENT_LATER },
		{ "eth ip6 tcp", ACT_UNSPEC, GATE_R_EXEMPT },
		{ "eth ip6 dst tcp", ACT_UNSPEC, GATE_R_EXEMPT },
		{ "eth ip6 rt tcp", ACT_SHOT, GATE_R_BLOCKED },
		{ "eth ip6 dst rt tcp", ACT_SHOT, GATE_R_BLOCKED },
		{ "eth ip6 rt frag100 tcp", ACT_SHOT, GATE_R_FRAGMENT_LATER },
	};
	struct gate_exempt_key six = {
		.prefixlen = 32 + 128,
		.scope = GATE_EXEMPT_VM | TEST_SLOT,
		.addr = { 0x20, 0x01, 0x0d, 0xb8, [15] = 2 },
	};
	uint32_t one = 1;

	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		begin();
		gate.m.vms[TEST_SLOT].flags |= GATE_VM_EXEMPT;
		set(gate_base_vm(TEST_SLOT), node(GATE_BLOCK));
		set_exempt(GATE_EXEMPT_VM | TEST_SLOT, 2);
		assert_int_equal(bpf_map_update_elem(gate.m.exempt, &six, &one, 0), 0);
		print_message("%s\n", row[i].words);
		assert_int_equal(testgate_send(&gate, TEST_FROM_VM, row[i].words, NULL),
				 row[i].verdict);
		assert_int_equal(testgate_reason(&gate, row[i].reason, false), 1);
	}
}

static void test_precedence_4_observe_counts_and_passes(void **state)
{
	for (int where = 0; where < 2; where++) {
		struct gate_node n = node(GATE_LIMIT), o = node(GATE_INHERIT);

		begin();
		o.flags = GATE_NODE_OBSERVE;
		if (where)
			set(gate_base_default(), o);
		else
			n.flags = GATE_NODE_OBSERVE;
		set(gate_base_vm(TEST_SLOT), n);
		for (int i = 0; i < 4; i++)
			assert_int_equal(send_one(), ACT_UNSPEC);
		assert_int_equal(counters()->flows_admitted, 1);
		assert_int_equal(counters()->flows_would_refuse, 3);
		assert_int_equal(testgate_reason(&gate, GATE_R_LIMIT_RATE, true), 3);
		assert_int_equal(counters()->packets_dropped, 0);
		/* what would be refused is a known flow from then on */
		next_port = 1003;
		send_one();
		assert_int_equal(counters()->flows_would_refuse, 3);
	}
}

static void test_precedence_5_tenant_policy_with_own_buckets_and_a_shared_budget(void **state)
{
	struct gate_port second = { .slot = TEST_SLOT2, .flags = GATE_PORT_VM };
	struct gate_node limit = testgate_limit(1, 3);
	struct gate_budget *b = &gate.m.budgets[5];
	uint32_t ifindex = TEST_IFINDEX;

	for (int budget = 0; budget < 2; budget++) {
		begin();
		b->rates[0].interval_ns = 3600000000000ULL;
		b->rates[0].tolerance_ns = 3 * b->rates[0].interval_ns; /* 4 */
		b->nrates = 1;
		for (uint32_t s = TEST_SLOT; s <= TEST_SLOT2; s++) {
			gate.m.vms[s].tenant = TENANT;
			gate.m.vms[s].budget = budget ? 5 : 0;
		}
		set(gate_base_tenant(&gate.m, TENANT), limit);
		for (int i = 0; i < 5; i++)
			send_one();
		bpf_map_update_elem(gate.m.ports, &ifindex, &second, 0);
		gate_maps_ports_changed(&gate.m);
		for (int i = 0; i < 5; i++)
			send_one();
		assert_int_equal(counters()->flows_admitted, 3);
		assert_int_equal(gate.m.counters[TEST_SLOT2].flows_admitted, budget ? 1 : 3);
		assert_int_equal(testgate_reason(&gate, GATE_R_LIMIT_BUDGET, false),
				 budget ? 4 : 0);
	}
}

static void test_precedence_5_budget_refusal_gives_the_own_token_back(void **state)
{
	struct gate_budget *b = &gate.m.budgets[5];
	struct gate_bucket_set *own;

	begin();
	b->rates[0].interval_ns = 3600000000000ULL;
	b->nrates = 1;
	gate.m.vms[TEST_SLOT].budget = 5;
	set(gate_base_vm(TEST_SLOT), testgate_limit(1, 100));
	own = &gate.m.buckets[gate_bucket_index(&gate.m, TEST_SLOT, 0)];
	assert_int_equal(send_one(), ACT_UNSPEC);
	uint64_t before = own->tat[0];
	for (int i = 0; i < 10; i++)
		assert_int_equal(send_one(), ACT_SHOT);
	assert_true(own->tat[0] == before);
	assert_int_equal(own->active, 1);
}

static void test_precedence_7_expiry_without_a_daemon(void **state)
{
	struct gate_node grant = node(GATE_ALLOW);

	begin();
	gate.m.vms[TEST_SLOT].tenant = TENANT;
	set(gate_base_tenant(&gate.m, TENANT), node(GATE_BLOCK));
	grant.expires = testgate_now() + 3600000000000ULL;
	set(gate_base_vm(TEST_SLOT), grant);
	assert_int_equal(send_one(), ACT_UNSPEC);
	grant.expires = testgate_now() - 20000000; /* beyond the coarse clock's step */
	set(gate_base_vm(TEST_SLOT), grant);
	assert_int_equal(send_one(), ACT_SHOT);
	assert_int_equal(testgate_reason(&gate, GATE_R_BLOCKED, false), 1);
}

/* A default that staff set for a time leaves what the configuration says, not an open gate. */
static void test_precedence_7_an_expired_default_leaves_the_configuration(void **state)
{
	struct gate_node grant = node(GATE_ALLOW);

	begin();
	set(0, node(GATE_BLOCK));
	grant.expires = testgate_now() + 3600000000000ULL;
	set(gate_base_default(), grant);
	assert_int_equal(send_one(), ACT_UNSPEC);
	grant.expires = testgate_now() - 20000000;
	set(gate_base_default(), grant);
	assert_int_equal(send_one(), ACT_SHOT);
}

static void test_identity_1_another_mac_on_an_unregistered_port(void **state)
{
	begin();
	gate.m.vms[TEST_SLOT].flags = GATE_VM_USED;
	set(gate_base_default(), node(GATE_BLOCK));
	set(gate_base_vm(TEST_SLOT), node(GATE_ALLOW));
	assert_int_equal(send_from(1, 7), ACT_UNSPEC);
	assert_int_equal(send_from(1, 7), ACT_UNSPEC);
	/* another guest: the laxer policy is not for it */
	assert_int_equal(send_from(1, 8), ACT_SHOT);
	assert_int_equal(send_from(1, 7), ACT_UNSPEC);
	/* a stricter one stays */
	set(gate_base_default(), node(GATE_ALLOW));
	set(gate_base_vm(TEST_SLOT), node(GATE_BLOCK));
	assert_int_equal(send_from(1, 8), ACT_SHOT);
}

static void test_identity_3_unregistered_addresses_only_tighten(void **state)
{
	uint32_t base = gate_base_override(&gate.m, OVERRIDE);
	struct gate_address any = { .base = { base } };
	struct gate_address own = { .flags = GATE_ADDR_REGISTERED, .base = { base } };
	struct gate_node lax = node(GATE_ALLOW);

	for (int by_mac = 0; by_mac < 2; by_mac++) {
		begin();
		if (by_mac)
			set_mac(GATE_SLOT_ANY, 9, any);
		else
			set_ip(GATE_SLOT_ANY, 9, any);
		/* lax: worth nothing to one who forges */
		lax.flags = GATE_NODE_OBSERVE;
		set(base, lax);
		set(gate_base_vm(TEST_SLOT), node(GATE_BLOCK));
		assert_int_equal(send_from(by_mac ? 1 : 9, by_mac ? 9 : 1), ACT_SHOT);
		/* strict: applies to whoever uses the address */
		set(base, node(GATE_BLOCK));
		set(gate_base_vm(TEST_SLOT), node(GATE_ALLOW));
		assert_int_equal(send_from(by_mac ? 1 : 9, by_mac ? 9 : 1), ACT_SHOT);
		assert_int_equal(send_from(1, 1), ACT_UNSPEC);
		/* registered: decides, laxer too */
		set(base, node(GATE_ALLOW));
		set(gate_base_vm(TEST_SLOT), node(GATE_BLOCK));
		if (by_mac)
			set_mac(TEST_SLOT, 9, own);
		else
			set_ip(TEST_SLOT, 9, own);
		assert_int_equal(send_from(by_mac ? 1 : 9, by_mac ? 9 : 1), ACT_UNSPEC);
	}
}

/* A lax policy on what is forged must not hide a strict one on something else. */
static void test_identity_3_no_lax_policy_hides_a_strict_one(void **state)
{
	struct gate_address lax = { .base = { gate_base_override(&gate.m, OVERRIDE) } };
	struct gate_address strict = { .base = { gate_base_override(&gate.m, OVERRIDE + 1) } };

	begin();
	set(gate_base_override(&gate.m, OVERRIDE), node(GATE_ALLOW));
	set(gate_base_override(&gate.m, OVERRIDE + 1), node(GATE_BLOCK));
	set_ip(GATE_SLOT_ANY, 9, lax);
	set_mac(GATE_SLOT_ANY, 1, strict);
	assert_int_equal(send_from(9, 1), ACT_SHOT);
	/* nor the default that holds for another guest on an unregistered port */
	begin();
	gate.m.vms[TEST_SLOT].flags = GATE_VM_USED;
	set(gate_base_override(&gate.m, OVERRIDE), node(GATE_ALLOW));
	set_ip(GATE_SLOT_ANY, 9, lax);
	set(gate_base_default(), node(GATE_BLOCK));
	set(gate_base_vm(TEST_SLOT), node(GATE_ALLOW));
	assert_int_equal(send_from(1, 7), ACT_UNSPEC);
	assert_int_equal(send_from(9, 8), ACT_SHOT);
}

static void test_identity_3_forging_brings_no_second_allowance(void **state)
{
	uint32_t base = gate_base_override(&gate.m, OVERRIDE);
	struct gate_address any = { .base = { base } };
	struct gate_node own = testgate_limit(1, 5), other = testgate_limit(1, 5);
	int admitted = 0;

	begin();
	own.concurrent = 4;
	other.concurrent = 4;
	set_ip(GATE_SLOT_ANY, 0, any);
	set(base, other);
	set(gate_base_vm(TEST_SLOT), own);
	for (int i = 0; i < 200; i++)
		admitted += send_from(i % 2 ? 10 + i : 0x100 + i, 1) == ACT_UNSPEC;
	assert_in_range(admitted, 1, 4);
	assert_int_equal(counters()->flows_admitted, admitted);
}

static void test_identity_4_strict_binding(void **state)
{
	struct gate_address own = { .flags = GATE_ADDR_REGISTERED };
	struct gate_address pair = { .flags = GATE_ADDR_ALLOWED };

	begin();
	gate.m.vms[TEST_SLOT].binding = GATE_BINDING_STRICT;
	set_mac(TEST_SLOT, 1, own);
	set_ip(TEST_SLOT, 1, own);
	set_ip(TEST_SLOT, 3, pair);
	assert_int_equal(send_from(1, 1), ACT_UNSPEC);
	assert_int_equal(send_from(3, 1), ACT_UNSPEC);
	assert_int_equal(send_from(1, 5), ACT_SHOT);
	assert_int_equal(testgate_reason(&gate, GATE_R_SPOOFED_MAC, false), 1);
	assert_int_equal(send_from(4, 1), ACT_SHOT);
	assert_int_equal(testgate_reason(&gate, GATE_R_SPOOFED_IP, false), 1);
	assert_int_equal(counters()->spoofed, 2);
	gate.m.vms[TEST_SLOT].binding = GATE_BINDING_OFF;
	assert_int_equal(send_from(4, 5), ACT_UNSPEC);
}

/* 100,000 forged MACs and addresses bring nothing: same bucket, no map entry. */
static void test_forging_gains_nothing(void **state)
{
	int admitted = 0;

	begin();
	gate.m.vms[TEST_SLOT].flags = GATE_VM_USED;
	set(gate_base_default(), testgate_limit(1, 10));
	for (int i = 0; i < 100000; i++) {
		struct frame_spec spec = { .sport = 1024 + i % 60000,
					   .src = i + 1,
					   .src_mac = { 2, 1, i >> 16, i >> 8, i, 1 } };

		admitted += testgate_send(&gate, TEST_FROM_VM, "eth ip4 tcp", &spec) == ACT_UNSPEC;
	}
	/* 10 at once and one a second for as long as it took */
	assert_in_range(admitted, 10, 10 + 60);
	assert_int_equal(counters()->flows_admitted, admitted);
	assert_int_equal(counters()->flows_limited, 100000 - admitted);
	/* and the ring was not flooded either: 20 at once, 5 a second */
	assert_true(gate.m.global->events_rationed > 90000);
}

static void test_trunk_tells_vms_apart_by_mac(void **state)
{
	struct gate_port trunk = { .slot = TEST_SLOT, .flags = GATE_PORT_VM | GATE_PORT_TRUNK };
	struct gate_mac_owner_key key = { .ifindex = TEST_IFINDEX, .mac = { 2, 0, 0, 0, 0, 9 } };
	uint32_t ifindex = TEST_IFINDEX, slot = TEST_SLOT2;

	begin();
	bpf_map_update_elem(gate.m.ports, &ifindex, &trunk, 0);
	gate_maps_ports_changed(&gate.m);
	bpf_map_update_elem(gate.m.mac_owner, &key, &slot, 0);
	set(gate_base_vm(TEST_SLOT2), node(GATE_BLOCK));
	assert_int_equal(send_from(1, 1), ACT_UNSPEC);
	assert_int_equal(send_from(1, 9), ACT_SHOT);
	assert_int_equal(gate.m.counters[TEST_SLOT2].flows_blocked, 1);
	assert_int_equal(counters()->flows_admitted, 1);
}

/* `why`: the verdict of a new flow, and nothing is spent, counted, learned or told. */
static void test_dry_run_tells_and_spends_nothing(void **state)
{
	static const struct gate_counters none;
	const struct gate_trace *t = &gate.m.global->trace;
	struct gate_bucket_set *b;
	uint64_t tat, runs = t->runs;

	begin();
	set(gate_base_vm(TEST_SLOT2), testgate_limit(1, 1));
	b = &gate.m.buckets[gate_bucket_index(&gate.m, TEST_SLOT2, 0)];
	gate.mark = TEST_DRY_MARK;
	gate.priority = TEST_SLOT2;
	for (int i = 0; i < 5; i++)
		assert_int_equal(send_one(), ACT_UNSPEC);
	assert_int_equal(t->runs, runs + 5);
	assert_int_equal(t->reason, GATE_R_NEW_FLOW);
	assert_int_equal(t->slot, TEST_SLOT2);
	assert_int_equal(t->own, gate_base_vm(TEST_SLOT2) * gate.m.scopes);
	assert_int_equal(b->tat[0], 0);
	assert_int_equal(b->active, 0);
	assert_memory_equal(&gate.m.counters[TEST_SLOT2], &none, sizeof(none));
	/* and it knows an empty bucket */
	b->tat[0] = tat = testgate_now() + 1500000000ULL;
	send_one();
	assert_int_equal(t->reason, GATE_R_LIMIT_RATE);
	assert_true(b->tat[0] == tat);
	assert_memory_equal(&gate.m.counters[TEST_SLOT2], &none, sizeof(none));
	gate.mark = gate.priority = 0;
}

static void test_identity_4_learn_tells_a_new_source_once(void **state)
{
	uint64_t told;

	begin();
	gate.m.vms[TEST_SLOT].binding = GATE_BINDING_LEARN;
	gate.m.vms[TEST_SLOT].event_tat = testgate_now() + 3600000000000ULL; /* ration is spent */
	told = gate.m.global->events_rationed;
	for (int i = 0; i < 3; i++) {
		send_from(1, 1);
		send_from(2, 1);
	}
	assert_int_equal(gate.m.global->events_rationed - told, 2);
	assert_int_equal(counters()->flows_admitted, 6);
}

/* A candidate is judged beside the live policy, counts for itself and decides nothing. */
static void test_shadow_policy_decides_nothing(void **state)
{
	struct gate_node limit = testgate_limit(1, 3), block = node(GATE_BLOCK);
	const struct gate_shadow *s;
	uint32_t vm = gate_base_vm(TEST_SLOT) * gate.m.scopes;

	begin();
	s = &gate.m.shadow[TEST_SLOT];
	gate.m.nodes[200] = limit;
	gate.m.nodes[201] = block;
	gate.m.shadow_heads[vm] = 200;
	for (int i = 0; i < 3; i++)
		send_one();
	assert_int_equal(s->admitted, 0); /* not switched on */
	gate.m.conf->flags |= GATE_CONF_SHADOW;
	for (int i = 0; i < 5; i++)
		assert_int_equal(send_one(), ACT_UNSPEC);
	assert_int_equal(s->admitted, 3);
	assert_int_equal(s->limited, 2);
	gate.m.shadow_heads[vm] = 201;
	assert_int_equal(send_one(), ACT_UNSPEC);
	assert_int_equal(s->blocked, 1);
	assert_int_equal(counters()->flows_admitted, 9);
	assert_int_equal(counters()->flows_would_refuse, 0);
	/* and what the live policy refuses, the candidate may admit */
	gate.m.shadow_heads[vm] = 0;
	set(gate_base_vm(TEST_SLOT), block);
	assert_int_equal(send_one(), ACT_SHOT);
	assert_int_equal(s->admitted, 4);
}

/* ---- the backstop ---- */

static int uplink(uint32_t ingress)
{
	struct frame_spec spec = { .sport = next_port++ };
	uint8_t frame[FRAME_MAX];
	int len = frame_build("eth ip4 tcp", &spec, frame);

	return testgate_run(&gate, TEST_UPLINK_OUT, frame, len, ingress);
}

static void test_backstop(void **state)
{
	struct gate_port judged = { .slot = TEST_SLOT, .flags = GATE_PORT_VM | GATE_PORT_JUDGED };
	struct gate_port bare = { .slot = TEST_SLOT, .flags = GATE_PORT_VM };
	struct gate_port other = { .flags = 0 };
	uint32_t j = 101, b = 102, o = 103;

	begin();
	bpf_map_update_elem(gate.m.ports, &j, &judged, 0);
	gate_maps_ports_changed(&gate.m);
	bpf_map_update_elem(gate.m.ports, &b, &bare, 0);
	gate_maps_ports_changed(&gate.m);
	bpf_map_update_elem(gate.m.ports, &o, &other, 0);
	gate_maps_ports_changed(&gate.m);
	set(gate_base_default(), testgate_limit(1, 2));
	set(gate_base_vm(TEST_SLOT), node(GATE_BLOCK));
	assert_int_equal(uplink(j), ACT_UNSPEC); /* from_vm has judged it */
	assert_int_equal(testgate_reason(&gate, GATE_R_JUDGED, false), 1);
	assert_int_equal(counters()->packets_from_vm, 0); /* counted once, at its port */
	assert_int_equal(uplink(b), ACT_SHOT);		  /* full policy of the VM here */
	assert_int_equal(counters()->flows_blocked, 1);
	assert_int_equal(uplink(0), ACT_UNSPEC); /* the host's own mail */
	assert_int_equal(testgate_reason(&gate, GATE_R_HOST, false), 1);
	assert_int_equal(uplink(o), ACT_UNSPEC); /* forwarded = pass */
	assert_int_equal(testgate_reason(&gate, GATE_R_FORWARDED, false), 1);
	/* never seen: the default, one bucket for all of them */
	for (int i = 0; i < 10; i++)
		assert_int_equal(uplink(5000 + i), i < 2 ? ACT_UNSPEC : ACT_SHOT);
	assert_int_equal(gate.m.counters[0].flows_admitted, 2);
	assert_int_equal(gate.m.counters[0].flows_limited, 8);
	gate.m.conf->flags |= GATE_CONF_FORWARD_DROP;
	assert_int_equal(uplink(o), ACT_SHOT);
}

/* What the daemon would never write gives nobody a way out. */
static void test_a_slot_that_is_not_there_opens_nothing(void **state)
{
	struct gate_port wild = { .slot = 0x7fffffff, .flags = GATE_PORT_VM };
	uint32_t ifindex = TEST_IFINDEX, away = 101;

	begin();
	set(gate_base_default(), node(GATE_BLOCK));
	bpf_map_update_elem(gate.m.ports, &ifindex, &wild, 0);
	bpf_map_update_elem(gate.m.ports, &away, &wild, 0);
	gate_maps_ports_changed(&gate.m);
	assert_int_equal(send_one(), ACT_SHOT);
	assert_int_equal(uplink(away), ACT_SHOT);
	assert_int_equal(gate.m.counters[GATE_SLOT_UNKNOWN].flows_blocked, 2);
	assert_int_equal(testgate_reason(&gate, GATE_R_BLOCKED, false), 2);
}

static int open_gate(void **state)
{
	testgate_open(&gate, 1);
	return 0;
}

static int close_gate(void **state)
{
	testgate_close(&gate);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_precedence_1_quarantine_anywhere_wins),
		cmocka_unit_test(test_precedence_1_quarantine_expires),
		cmocka_unit_test(test_precedence_2_most_specific_decides),
		cmocka_unit_test(test_precedence_3_exempt_beats_block_and_limit),
		cmocka_unit_test(test_precedence_3_exempt_ends_at_source_routes),
		cmocka_unit_test(test_precedence_4_observe_counts_and_passes),
		cmocka_unit_test(
			test_precedence_5_tenant_policy_with_own_buckets_and_a_shared_budget),
		cmocka_unit_test(test_precedence_5_budget_refusal_gives_the_own_token_back),
		cmocka_unit_test(test_precedence_7_expiry_without_a_daemon),
		cmocka_unit_test(test_precedence_7_an_expired_default_leaves_the_configuration),
		cmocka_unit_test(test_identity_1_another_mac_on_an_unregistered_port),
		cmocka_unit_test(test_identity_3_unregistered_addresses_only_tighten),
		cmocka_unit_test(test_identity_3_no_lax_policy_hides_a_strict_one),
		cmocka_unit_test(test_identity_3_forging_brings_no_second_allowance),
		cmocka_unit_test(test_identity_4_strict_binding),
		cmocka_unit_test(test_forging_gains_nothing),
		cmocka_unit_test(test_trunk_tells_vms_apart_by_mac),
		cmocka_unit_test(test_dry_run_tells_and_spends_nothing),
		cmocka_unit_test(test_identity_4_learn_tells_a_new_source_once),
		cmocka_unit_test(test_shadow_policy_decides_nothing),
		cmocka_unit_test(test_backstop),
		cmocka_unit_test(test_a_slot_that_is_not_there_opens_nothing),
	};

	return cmocka_run_group_tests(tests, open_gate, close_gate);
}
