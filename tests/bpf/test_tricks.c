// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Each trick and each innocent frame through the loaded program, from an allowed,
 * limited, blocked, quarantined VM and from one that is only observed: verdict,
 * reason and counters.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <string.h>

#include "../../bpf/frame.h"
#include "../lib/testgate.h"
#include "../lib/tricks.h"
#include "parse.h"

enum vm { ALLOWED, LIMITED, BLOCKED, QUARANTINED, OBSERVED, VMS };
static const char *const vm_name[] = { "allowed", "limited", "blocked", "quarantined", "observed" };

struct expect {
	int action;
	enum gate_reason reason;
};

#define PASS(r)                                                                                    \
	{                                                                                          \
		ACT_UNSPEC, GATE_R_##r                                                             \
	}
#define DROP(r)                                                                                    \
	{                                                                                          \
		ACT_SHOT, GATE_R_##r                                                               \
	}

/* What PACKETS says of each kind, for each state. */
static const struct expect expected[][VMS] = {
	[FRAME_GATED] = { PASS(NEW_FLOW), PASS(NEW_FLOW), DROP(BLOCKED), DROP(QUARANTINED),
			  PASS(BLOCKED) },
	[FRAME_LATER] = { PASS(FRAGMENT), PASS(FRAGMENT), DROP(FRAGMENT_LATER),
			  DROP(FRAGMENT_LATER), PASS(FRAGMENT_LATER) },
	[FRAME_TINY] = { DROP(FRAGMENT_TINY), DROP(FRAGMENT_TINY), DROP(FRAGMENT_TINY),
			 DROP(FRAGMENT_TINY), PASS(FRAGMENT_TINY) },
	[FRAME_CHAIN] = { DROP(FRAGMENT_CHAIN), DROP(FRAGMENT_CHAIN), DROP(FRAGMENT_CHAIN),
			  DROP(FRAGMENT_CHAIN), PASS(FRAGMENT_CHAIN) },
	[FRAME_MALFORMED] = { PASS(UNREADABLE), PASS(UNREADABLE), DROP(MALFORMED), DROP(MALFORMED),
			      PASS(MALFORMED) },
	[FRAME_TOO_DEEP] = { PASS(UNREADABLE), PASS(UNREADABLE), DROP(TOO_DEEP), DROP(TOO_DEEP),
			     PASS(TOO_DEEP) },
	[FRAME_HIDDEN] = { PASS(UNREADABLE), PASS(UNREADABLE), DROP(HIDDEN), DROP(HIDDEN),
			   PASS(HIDDEN) },
};

static struct testgate gate;

static void set_policy(enum vm vm)
{
	struct gate_node n = testgate_limit(10, 5);

	testgate_reset(&gate);
	if (vm == ALLOWED)
		n.state = GATE_ALLOW;
	else if (vm == BLOCKED || vm == OBSERVED)
		n.state = GATE_BLOCK;
	if (vm == QUARANTINED)
		n.quarantine_until = GATE_FOREVER;
	if (vm == OBSERVED)
		n.flags = GATE_NODE_OBSERVE;
	testgate_policy(&gate, gate_base_vm(TEST_SLOT), 0, &n);
}

/* The counters that a row must move, and none besides. */
static bool counters_are_right(const struct trick *t, enum vm vm, const struct expect *e)
{
	const struct gate_counters *c = &gate.m.counters[TEST_SLOT];
	bool dropped = e->action == ACT_SHOT, flow = t->kind == FRAME_GATED;
	bool fragment = t->kind == FRAME_TINY || t->kind == FRAME_CHAIN ||
			(t->kind == FRAME_LATER && dropped);
	bool unreadable =
		t->kind == FRAME_MALFORMED || t->kind == FRAME_TOO_DEEP || t->kind == FRAME_HIDDEN;

	return c->packets_dropped == dropped && c->packets_from_vm == flow &&
	       c->flows_admitted == (flow && vm <= LIMITED) &&
	       c->flows_blocked == (flow && dropped) && c->flows_limited == 0 &&
	       c->flows_would_refuse == (flow && vm == OBSERVED) &&
	       c->fragments_dropped == (fragment && dropped) && c->unclassifiable == unreadable &&
	       c->spoofed == 0 && c->exempt == 0;
}

static int check_innocent(const struct trick *t, enum vm vm, int action)
{
	static const struct gate_counters none;

	if (action == ACT_UNSPEC && !memcmp(&gate.m.counters[TEST_SLOT], &none, sizeof(none)))
		return 0;
	print_error("%s, %s: harmed or counted (action %d)\n", t->words, vm_name[vm], action);
	return 1;
}

static int check_row(const struct trick *t, enum vm vm)
{
	struct frame_spec spec = { .dport = t->dport };
	const struct expect *e = &expected[t->kind][vm];
	bool would = vm == OBSERVED && e->reason != GATE_R_NEW_FLOW;
	int action;

	set_policy(vm);
	action = testgate_send(&gate, TEST_FROM_VM, t->words, &spec);
	if (t->kind == FRAME_OTHER)
		return check_innocent(t, vm, action);
	if (action == e->action && testgate_reason(&gate, e->reason, would) == 1 &&
	    counters_are_right(t, vm, e))
		return 0;
	print_error("%s, %s: action %d (want %d), %s counted %d (want 1)%s\n", t->words,
		    vm_name[vm], action, e->action, gate_reason_name(e->reason),
		    (int)testgate_reason(&gate, e->reason, would),
		    counters_are_right(t, vm, e) ? "" : ", counters wrong");
	for (int r = 0; r < GATE_R_MAX; r++)
		if (testgate_reason(&gate, r, false) || testgate_reason(&gate, r, true))
			print_error("    counted: %s\n", gate_reason_name(r));
	return 1;
}

/*
 * TEST_RUN refuses frames that end within the IP header; those few rows are run
 * over a real tap in tests/net.
 */
static bool test_run_takes(const struct trick *t)
{
	uint8_t frame[FRAME_MAX];
	int len = frame_build(t->words, NULL, frame);

	return len >= ETH_LEN + IPV4_LEN;
}

static void test_table(enum vm vm)
{
	int bad = 0;

	for (size_t i = 0; i < NTRICKS; i++)
		if (test_run_takes(&tricks[i]))
			bad += check_row(&tricks[i], vm);
	assert_int_equal(bad, 0);
}

static void test_allowed_vm(void **state)
{
	test_table(ALLOWED);
}

static void test_limited_vm(void **state)
{
	test_table(LIMITED);
}

static void test_blocked_vm(void **state)
{
	test_table(BLOCKED);
}

static void test_quarantined_vm(void **state)
{
	test_table(QUARANTINED);
}

static void test_observed_vm(void **state)
{
	test_table(OBSERVED);
}

/* The backstop reads with the same readers: what from_vm drops it drops too. */
static void test_backstop_for_an_unknown_port(void **state)
{
	struct gate_node block = { .state = GATE_BLOCK };
	uint8_t frame[FRAME_MAX];

	for (size_t i = 0; i < NTRICKS; i++) {
		struct frame_spec spec = { .dport = tricks[i].dport };
		int len = frame_build(tricks[i].words, &spec, frame);
		int want = tricks[i].kind == FRAME_OTHER ? ACT_UNSPEC : ACT_SHOT;

		if (!test_run_takes(&tricks[i]))
			continue;
		testgate_reset(&gate);
		testgate_policy(&gate, gate_base_default(), 0, &block);
		if (testgate_run(&gate, TEST_UPLINK_OUT, frame, len, 4711) != want)
			fail_msg("%s: not %d at the backstop", tricks[i].words, want);
	}
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
		cmocka_unit_test(test_allowed_vm),
		cmocka_unit_test(test_limited_vm),
		cmocka_unit_test(test_blocked_vm),
		cmocka_unit_test(test_quarantined_vm),
		cmocka_unit_test(test_observed_vm),
		cmocka_unit_test(test_backstop_for_an_unknown_port),
	};

	return cmocka_run_group_tests(tests, open_gate, close_gate);
}
