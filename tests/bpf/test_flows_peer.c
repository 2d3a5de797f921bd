// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* What comes to a VM: answers, and what others pretend to be answers. */
#include "flow_lab.h"

static void test_unsolicited_syn_ack(void **state)
{
	testgate_reset(&gate);
	policy(state_node(GATE_ALLOW));
	assert_int_equal(to_vm(1000, SYN | ACK), ACT_SHOT);
	assert_int_equal(counters()->unsolicited, 1);
	assert_int_equal(testgate_reason(&gate, GATE_R_UNSOLICITED, false), 1);
	/* other flowless segments are only counted */
	assert_int_equal(to_vm(1000, ACK), ACT_UNSPEC);
	assert_int_equal(testgate_reason(&gate, GATE_R_STRAY_REPLY, false), 1);
	/* not enforced: passes, counted as would */
	gate.m.conf->flags &= ~GATE_CONF_ENFORCE;
	assert_int_equal(to_vm(1000, SYN | ACK), ACT_UNSPEC);
	assert_int_equal(testgate_reason(&gate, GATE_R_UNSOLICITED, true), 1);
	/* within the grace nobody knows */
	gate.m.conf->flags |= GATE_CONF_ENFORCE;
	gate.m.vms[TEST_SLOT].grace_until = testgate_now() + 60000000000ULL;
	assert_int_equal(to_vm(1000, SYN | ACK), ACT_UNSPEC);
}

static void test_outcomes(void **state)
{
	testgate_reset(&gate);
	policy(state_node(GATE_ALLOW));
	from_vm(1000, SYN);
	to_vm(1000, SYN | ACK);
	to_vm(1000, SYN | ACK);
	from_vm(1001, SYN);
	to_vm(1001, RST | ACK);
	to_vm(1001, RST | ACK);
	assert_int_equal(counters()->connects_established, 1);
	assert_int_equal(counters()->connects_refused, 1);
	assert_int_equal(counters()->packets_to_vm, 4);
	assert_int_equal(bucket(0)->active, 1);
	/* a reset of an open flow is no refused connect */
	to_vm(1000, RST);
	assert_int_equal(counters()->connects_refused, 1);
	assert_int_equal(bucket(0)->active, 0);
}

/* A neighbour that cannot see the flow cannot end it, begin it or speak in it. */
static void test_blind_segments_change_nothing(void **state)
{
	struct frame_spec forged = {
		.sport = 25, .dport = 1000, .src = 2, .dst = 1, .text = "550 no\r\n", .payload = 8
	};
	static const struct {
		uint8_t flags;
		uint32_t seq, ack;
	} rows[] = {
		{ RST, 0x40000000, 0 },		 { RST | ACK, 0x80000000, 1001 },
		{ FIN | ACK, 0x40000000, 1001 }, { ACK, 0x40000000, 1001 },
		{ SYN | ACK, 0x40000000, 77 },	 { RST, 1000 - 0x20000, 0 },
	};

	for (size_t open = 0; open < 2; open++) {
		testgate_reset(&gate);
		policy(state_node(GATE_ALLOW));
		from_vm(1000, SYN);
		if (open)
			to_vm(1000, SYN | ACK);
		for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
			forged.flags = rows[i].flags;
			forged.seq = rows[i].seq;
			forged.ack = open ? rows[i].ack : 77;
			assert_int_equal(testgate_send(&gate, TEST_TO_VM, "eth ip4 tcp", &forged),
					 ACT_UNSPEC);
		}
		assert_int_equal(bucket(0)->active, 1);
		assert_int_equal(flow()->state, open ? GATE_FLOW_OPEN : GATE_FLOW_SYN_SENT);
		assert_int_equal(counters()->connects_refused, 0);
		assert_int_equal(counters()->replies_5xx, 0);
		/* and the server itself is heard still */
		assert_int_equal(to_vm(1000, RST | ACK), ACT_UNSPEC);
		assert_int_equal(bucket(0)->active, 0);
	}
}

static void test_own_reset_is_not_the_servers(void **state)
{
	struct frame_spec spec = {
		.sport = 25, .dport = 1000, .flags = RST | ACK, .src = 2, .dst = 1
	};
	uint8_t frame[FRAME_MAX];
	int len = frame_build("eth ip4 tcp", &spec, frame);

	testgate_reset(&gate);
	policy(state_node(GATE_ALLOW));
	from_vm(1000, SYN);
	assert_int_equal(testgate_run(&gate, TEST_TO_VM, frame, len, TEST_IFINDEX), ACT_UNSPEC);
	assert_int_equal(testgate_reason(&gate, GATE_R_OWN_ANSWER, false), 1);
	assert_int_equal(counters()->connects_refused, 0);
	assert_int_equal(bucket(0)->active, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unsolicited_syn_ack),
		cmocka_unit_test(test_outcomes),
		cmocka_unit_test(test_blind_segments_change_nothing),
		cmocka_unit_test(test_own_reset_is_not_the_servers),
	};

	return cmocka_run_group_tests(tests, open_gate, close_gate);
}
