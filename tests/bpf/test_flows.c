// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Flows and limits, through the loaded programs; rules by their number in SEMANTICS. */
#include "flow_lab.h"

static void test_flows_1_first_packet_is_a_flow_whatever_its_flags(void **state)
{
	static const uint8_t flags[] = { SYN,  SYN | ACK, ACK,
					 FIN,  RST,	  FIN | PSH | 0x20,
					 0x80, SYN | FIN, ACK | PSH | 0x20 };

	testgate_reset(&gate);
	policy(testgate_limit(1, 4));
	for (int i = 0; i < 9; i++)
		assert_int_equal(from_vm(1000 + i, flags[i]), i < 4 ? ACT_UNSPEC : ACT_SHOT);
	assert_int_equal(counters()->flows_admitted, 4);
	assert_int_equal(counters()->flows_limited, 5);
	assert_int_equal(testgate_reason(&gate, GATE_R_LIMIT_RATE, false), 5);
}

static void test_flows_1_syn_retransmission_is_no_new_flow(void **state)
{
	testgate_reset(&gate);
	policy(testgate_limit(1, 1));
	for (int i = 0; i < 6; i++)
		assert_int_equal(from_vm(1000, SYN), ACT_UNSPEC);
	assert_int_equal(counters()->flows_admitted, 1);
	assert_int_equal(testgate_reason(&gate, GATE_R_KNOWN_FLOW, false), 5);
	/* but only within 60 s of the first */
	flow()->seen -= 61;
	assert_int_equal(from_vm(1000, SYN), ACT_SHOT);
	assert_int_equal(counters()->flows_limited, 1);
}

static void test_flows_1_reused_tuple_pays(void **state)
{
	testgate_reset(&gate);
	policy(testgate_limit(1, 3));
	for (int i = 0; i < 3; i++) {
		assert_int_equal(from_vm(1000, SYN), ACT_UNSPEC);
		assert_int_equal(to_vm(1000, SYN | ACK), ACT_UNSPEC);
		assert_int_equal(from_vm(1000, ACK), ACT_UNSPEC);
	}
	assert_int_equal(counters()->flows_admitted, 3);
	assert_int_equal(bucket(0)->active, 1);
	assert_int_equal(from_vm(1000, SYN), ACT_SHOT);
	assert_int_equal(counters()->flows_limited, 1);
}

static void test_flows_2_late_segments_neither_count_nor_cost(void **state)
{
	testgate_reset(&gate);
	policy(testgate_limit(1, 1));
	from_vm(1000, SYN);
	to_vm(1000, SYN | ACK);
	from_vm(1000, FIN | ACK);
	assert_int_equal(bucket(0)->active, 1);
	to_vm(1000, FIN | ACK);
	assert_int_equal(bucket(0)->active, 0);
	assert_int_equal(from_vm(1000, ACK), ACT_UNSPEC);
	assert_int_equal(from_vm(1000, RST), ACT_UNSPEC);
	assert_int_equal(testgate_reason(&gate, GATE_R_LATE_SEGMENT, false), 2);
	assert_int_equal(counters()->flows_admitted, 1);
	/* after the linger it is a flow again */
	flow()->seen -= GATE_LINGER_S + 1;
	assert_int_equal(from_vm(1000, ACK), ACT_SHOT);
}

static void test_flows_2_times_of_silence(void **state)
{
	static const struct {
		bool open;
		uint32_t silent;
		int action;
	} rows[] = {
		{ true, 20 * 60, ACT_UNSPEC },
		{ true, GATE_IDLE_S + 1, ACT_SHOT },
		{ false, GATE_SYN_SENT_S + 1, ACT_SHOT },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		testgate_reset(&gate);
		policy(testgate_limit(1, 1));
		from_vm(1000, SYN);
		if (rows[i].open)
			to_vm(1000, SYN | ACK);
		flow()->seen -= rows[i].silent;
		assert_int_equal(from_vm(1000, ACK), rows[i].action);
		assert_int_equal(counters()->connects_timed_out, !rows[i].open);
		assert_int_equal(bucket(0)->active, rows[i].action == ACT_UNSPEC);
	}
}

static void test_flows_3_a_refusal_takes_nothing(void **state)
{
	struct gate_node n = testgate_limit(1, 100);
	uint64_t before;

	testgate_reset(&gate);
	n.nrates = 2;
	n.rates[1].interval_ns = 3600000000000ULL; /* 1 an hour */
	policy(n);
	assert_int_equal(from_vm(1000, SYN), ACT_UNSPEC);
	before = bucket(0)->tat[0];
	for (int i = 1; i < 20; i++)
		assert_int_equal(from_vm(1000 + i, SYN), ACT_SHOT);
	assert_int_equal(bucket(0)->tat[0], before);
	assert_int_equal(counters()->flows_limited, 19);
	assert_int_equal(bucket(0)->active, 1);
}

static void test_flows_3_all_rates_hold(void **state)
{
	struct gate_node n = testgate_limit(5, 10);

	testgate_reset(&gate);
	n.nrates = 2;
	n.rates[1].interval_ns = 60000000000ULL;
	n.rates[1].tolerance_ns = 6 * 60000000000ULL; /* 7 at once */
	policy(n);
	for (int i = 0; i < 20; i++)
		from_vm(1000 + i, SYN);
	assert_int_equal(counters()->flows_admitted, 7);
	assert_int_equal(counters()->flows_limited, 13);
}

/* An abuse desk that raises a limit means now, not when the old one would have let go. */
static void test_a_raised_limit_holds_at_once(void **state)
{
	struct gate_node slow = testgate_limit(1, 1);

	testgate_reset(&gate);
	slow.rates[0].interval_ns = 86400000000000ULL; /* 1 a day */
	policy(slow);
	assert_int_equal(from_vm(1000, SYN), ACT_UNSPEC);
	assert_int_equal(from_vm(1001, SYN), ACT_SHOT);
	policy(testgate_limit(5, 5));
	assert_int_equal(from_vm(1002, SYN), ACT_UNSPEC);
	/* and not more than that: the burst is not refilled by a change */
	for (int i = 0; i < 10; i++)
		from_vm(1010 + i, SYN);
	assert_in_range(counters()->flows_admitted, 2, 3);
}

static void test_flows_4_concurrent(void **state)
{
	struct gate_node n = testgate_limit(1000, 1000);

	testgate_reset(&gate);
	n.concurrent = 3;
	policy(n);
	for (int i = 0; i < 5; i++)
		from_vm(1000 + i, SYN);
	assert_int_equal(counters()->flows_admitted, 3);
	assert_int_equal(testgate_reason(&gate, GATE_R_LIMIT_CONCURRENT, false), 2);
	assert_int_equal(bucket(0)->active, 3);
	/* one ends, one may begin */
	to_vm(1000, RST | ACK);
	assert_int_equal(counters()->connects_refused, 1);
	assert_int_equal(from_vm(1100, SYN), ACT_UNSPEC);
	assert_int_equal(from_vm(1101, SYN), ACT_SHOT);
}

static void test_flows_4_dead_flows_do_not_hold_a_place(void **state)
{
	struct gate_node n = testgate_limit(1000, 1000);
	struct gate_flow_set *set;
	int admitted = 0;

	testgate_reset(&gate);
	n.concurrent = 3;
	policy(n);
	for (int i = 0; i < 3; i++)
		from_vm(1000 + i, SYN);
	set = gate.m.flows + TEST_SLOT * gate.m.conf->flow_sets;
	for (uint32_t i = 0; i < gate.m.conf->flow_sets; i++)
		for (int w = 0; w < GATE_FLOW_WAYS; w++)
			set[i].way[w].seen -= GATE_SYN_SENT_S + 1;
	/* no daemon sweeps here: refusals do, a few sets each */
	for (int i = 0; i < 8; i++)
		admitted += from_vm(2000 + i, SYN) == ACT_UNSPEC;
	assert_int_equal(admitted, 3);
	assert_int_equal(counters()->connects_timed_out, 3);
	assert_int_equal(bucket(0)->active, 3);
}

static void test_flows_7_grace_adopts_mid_stream(void **state)
{
	testgate_reset(&gate);
	policy(testgate_limit(1, 1));
	gate.m.vms[TEST_SLOT].grace_until = testgate_now() + 60000000000ULL;
	for (int i = 0; i < 5; i++)
		assert_int_equal(from_vm(1000 + i, ACK), ACT_UNSPEC);
	assert_int_equal(counters()->flows_admitted, 0);
	assert_int_equal(testgate_reason(&gate, GATE_R_ADOPTED, false), 5);
	assert_int_equal(bucket(0)->active, 5);
	assert_int_equal(from_vm(1000, ACK), ACT_UNSPEC);
	/* a SYN is no old flow */
	assert_int_equal(from_vm(2000, SYN), ACT_UNSPEC);
	assert_int_equal(from_vm(2001, SYN), ACT_SHOT);
	/* a blocked VM's are not adopted */
	policy(state_node(GATE_BLOCK));
	assert_int_equal(from_vm(3000, ACK), ACT_SHOT);
}

static void test_block_cuts_running_flows(void **state)
{
	struct gate_node drain = state_node(GATE_BLOCK);

	testgate_reset(&gate);
	policy(state_node(GATE_ALLOW));
	from_vm(1000, SYN);
	to_vm(1000, SYN | ACK);
	drain.flags = GATE_NODE_DRAIN;
	policy(drain);
	assert_int_equal(from_vm(1000, ACK), ACT_UNSPEC);
	assert_int_equal(testgate_reason(&gate, GATE_R_DRAINING, false), 1);
	assert_int_equal(from_vm(1001, SYN), ACT_SHOT);
	policy(state_node(GATE_BLOCK));
	for (int i = 0; i < 3; i++)
		assert_int_equal(from_vm(1000, ACK), ACT_SHOT);
	assert_int_equal(testgate_reason(&gate, GATE_R_BLOCKED_FLOW, false), 3);
	assert_int_equal(counters()->flows_blocked, 2); /* the cut one once, and the refused one */
	assert_int_equal(bucket(0)->active, 0);
}

/* What it repeats had not begun: it dies of age, and is counted no more then. */
static void test_block_refuses_a_repeated_syn(void **state)
{
	testgate_reset(&gate);
	policy(state_node(GATE_ALLOW));
	assert_int_equal(from_vm(1000, SYN), ACT_UNSPEC);
	policy(state_node(GATE_BLOCK));
	for (int i = 0; i < 3; i++)
		assert_int_equal(from_vm(1000, SYN), ACT_SHOT);
	assert_int_equal(testgate_reason(&gate, GATE_R_BLOCKED, false), 3);
	assert_int_equal(counters()->flows_blocked, 3);
	assert_int_equal(counters()->flows_admitted, 1);
	flow()->seen -= GATE_SYN_SENT_S + 1;
	policy(state_node(GATE_ALLOW));
	assert_int_equal(from_vm(1000, SYN), ACT_UNSPEC);
	assert_int_equal(counters()->flows_admitted, 2);
	assert_int_equal(bucket(0)->active, 1);
}

static void test_limit_leaves_running_flows(void **state)
{
	testgate_reset(&gate);
	policy(state_node(GATE_ALLOW));
	for (int i = 0; i < 4; i++)
		from_vm(1000 + i, SYN);
	policy(testgate_limit(1, 1));
	for (int i = 0; i < 4; i++)
		assert_int_equal(from_vm(1000 + i, ACK), ACT_UNSPEC);
	assert_int_equal(counters()->flows_limited, 0);
}

static void test_new_destinations(void **state)
{
	struct gate_node n = testgate_limit(1000, 1000);
	struct frame_spec spec = { .flags = SYN };

	testgate_reset(&gate);
	n.destinations.interval_ns = 3600000000000ULL / 3;
	n.destinations.tolerance_ns = 2 * n.destinations.interval_ns;
	policy(n);
	for (int i = 0; i < 10; i++) {
		spec.sport = 1000 + i;
		spec.dst = 10 + i % 5;
		testgate_send(&gate, TEST_FROM_VM, "eth ip4 tcp", &spec);
	}
	/* three places, each twice; two refused, twice */
	assert_int_equal(counters()->flows_admitted, 6);
	assert_int_equal(counters()->new_destinations, 3);
	assert_int_equal(testgate_reason(&gate, GATE_R_LIMIT_DESTINATIONS, false), 4);
	assert_int_equal(bucket(0)->active, 6);
}

static void test_one_vm_cannot_evict_anothers_flows(void **state)
{
	struct gate_port port2 = { .slot = TEST_SLOT2, .flags = GATE_PORT_VM };
	struct gate_port port1 = { .slot = TEST_SLOT, .flags = GATE_PORT_VM };
	struct gate_node allow = state_node(GATE_ALLOW);
	uint32_t ifindex = TEST_IFINDEX;

	testgate_reset(&gate);
	testgate_policy(&gate, gate_base_default(), 0, &allow);
	for (int i = 0; i < 16; i++)
		from_vm(1000 + i, SYN);
	bpf_map_update_elem(gate.m.ports, &ifindex, &port2, 0);
	gate_maps_ports_changed(&gate.m);
	for (int i = 0; i < 20000; i++)
		from_vm(1024 + i, SYN);
	bpf_map_update_elem(gate.m.ports, &ifindex, &port1, 0);
	gate_maps_ports_changed(&gate.m);
	for (int i = 0; i < 16; i++)
		from_vm(1000 + i, ACK);
	assert_int_equal(counters()->flows_admitted, 16);
	assert_int_equal(testgate_reason(&gate, GATE_R_KNOWN_FLOW, false), 16);
	/* and the flooder's own gauge is what its table holds */
	assert_true(gate.m.buckets[gate_bucket_index(&gate.m, TEST_SLOT2, 0)].active <=
		    gate.m.conf->flow_sets * GATE_FLOW_WAYS);
	assert_int_equal(gate.m.counters[TEST_SLOT2].flows_admitted, 20000);
}

/* A guest that resets a flow for the gate's eyes only has not made room for another. */
static void test_data_on_a_closed_flow_pays(void **state)
{
	struct frame_spec data = { .sport = 1000, .flags = ACK, .payload = 10 };

	testgate_reset(&gate);
	policy(testgate_limit(1, 1));
	from_vm(1000, SYN);
	to_vm(1000, SYN | ACK);
	from_vm(1000, RST);
	assert_int_equal(bucket(0)->active, 0);
	/* what was under way */
	assert_int_equal(testgate_send(&gate, TEST_FROM_VM, "eth ip4 tcp", &data), ACT_UNSPEC);
	assert_int_equal(testgate_reason(&gate, GATE_R_LATE_SEGMENT, false), 1);
	flow()->seen -= GATE_CLOSED_DATA_S + 1;
	assert_int_equal(from_vm(1000, ACK), ACT_UNSPEC);
	assert_int_equal(testgate_send(&gate, TEST_FROM_VM, "eth ip4 tcp", &data), ACT_SHOT);
	assert_int_equal(counters()->flows_limited, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flows_1_first_packet_is_a_flow_whatever_its_flags),
		cmocka_unit_test(test_flows_1_syn_retransmission_is_no_new_flow),
		cmocka_unit_test(test_flows_1_reused_tuple_pays),
		cmocka_unit_test(test_flows_2_late_segments_neither_count_nor_cost),
		cmocka_unit_test(test_flows_2_times_of_silence),
		cmocka_unit_test(test_flows_3_a_refusal_takes_nothing),
		cmocka_unit_test(test_flows_3_all_rates_hold),
		cmocka_unit_test(test_a_raised_limit_holds_at_once),
		cmocka_unit_test(test_flows_4_concurrent),
		cmocka_unit_test(test_flows_4_dead_flows_do_not_hold_a_place),
		cmocka_unit_test(test_flows_7_grace_adopts_mid_stream),
		cmocka_unit_test(test_block_cuts_running_flows),
		cmocka_unit_test(test_block_refuses_a_repeated_syn),
		cmocka_unit_test(test_limit_leaves_running_flows),
		cmocka_unit_test(test_new_destinations),
		cmocka_unit_test(test_one_vm_cannot_evict_anothers_flows),
		cmocka_unit_test(test_data_on_a_closed_flow_pays),
	};

	return cmocka_run_group_tests(tests, open_gate, close_gate);
}
