// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Each trick and each innocent frame through the loaded program, from an allowed,
 * limited, blocked, quarantined VM and from one that is only observed: verdict,
 * reason and counters.
 */
#include <linux/bpf.h>
#include <stdbool.h>
#include <string.h>

#include "../../bpf/frame.h"
#include "../lib/rowrules.h"
#include "gate_lab.h"
#include "parse.h"

static int check_innocent(const struct trick *t, enum vm_state vm, int action)
{
	static const struct gate_counters none;

	if (action == ACT_UNSPEC && !memcmp(&gate.m.counters[TEST_SLOT], &none, sizeof(none)))
		return 0;
	print_error("%s, %s: harmed or counted (action %d)\n", t->words, vm_state_name[vm], action);
	return 1;
}

static int check_row(const struct trick *t, enum vm_state vm)
{
	struct frame_spec spec = { .dport = t->dport };
	const struct gate_counters *c = &gate.m.counters[TEST_SLOT];
	struct gate_node policy = row_policy(vm);
	const struct row_rule *e = row_rule(t, vm);
	int want = e->passes ? ACT_UNSPEC : ACT_SHOT, action;
	bool would = vm == VM_OBSERVED && e->reason != GATE_R_NEW_FLOW;

	testgate_reset(&gate);
	testgate_policy(&gate, gate_base_vm(TEST_SLOT), 0, &policy);
	action = testgate_send(&gate, TEST_FROM_VM, t->words, &spec);
	if (t->kind == FRAME_OTHER)
		return check_innocent(t, vm, action);
	if (action == want && testgate_reason(&gate, e->reason, would) == 1 &&
	    row_counted(c, t, vm, 1))
		return 0;
	print_error("%s, %s: action %d (want %d), %s counted %d (want 1)%s\n", t->words,
		    vm_state_name[vm], action, want, gate_reason_name(e->reason),
		    (int)testgate_reason(&gate, e->reason, would),
		    row_counted(c, t, vm, 1) ? "" : ", counters wrong");
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

static void test_table(enum vm_state vm)
{
	int bad = 0;

	for (size_t i = 0; i < NTRICKS; i++)
		if (test_run_takes(&tricks[i]))
			bad += check_row(&tricks[i], vm);
	assert_int_equal(bad, 0);
}

static void test_allowed_vm(void **state)
{
	test_table(VM_ALLOWED);
}

static void test_limited_vm(void **state)
{
	test_table(VM_LIMITED);
}

static void test_blocked_vm(void **state)
{
	test_table(VM_BLOCKED);
}

static void test_quarantined_vm(void **state)
{
	test_table(VM_QUARANTINED);
}

static void test_observed_vm(void **state)
{
	test_table(VM_OBSERVED);
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
