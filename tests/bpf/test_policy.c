// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Which policy decides, and what it spends: the rules on precedence. */
#include "policy_lab.h"

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
		cmocka_unit_test(test_dry_run_tells_and_spends_nothing),
		cmocka_unit_test(test_shadow_policy_decides_nothing),
	};

	return cmocka_run_group_tests(tests, open_gate, close_gate);
}
