// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Changes of policy: what is in the maps after them, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "../lib/enginebox.h"
#include "../lib/fakeclock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint16_t three_ports[] = { 25, 465, 587, 0 };

static struct enginebox box;

static int open_one(void **state)
{
	box_open(&box, 0, NULL);
	return 0;
}

static int open_three(void **state)
{
	box_open(&box, 0, three_ports);
	return 0;
}

static int close_box(void **state)
{
	box_close(&box);
	return 0;
}

#define change(subject, words) box_change(&box, fake_now(), subject, words)

static const struct gate_node *vm_node(const char *subject, unsigned scope)
{
	return fake_gate_node(&box.g, gate_base_vm((uint32_t)box_slot(&box, subject)), scope);
}

/* ---- states and their nodes ---- */

static void test_states_are_one_store_in_the_heads(void **state)
{
	static const struct {
		const char *words, *effective;
		enum gate_state node;
	} table[] = {
		{ "allow", "allow vm:web1", GATE_ALLOW },
		{ "block", "block vm:web1", GATE_BLOCK },
		{ "limit 5/s", "limit vm:web1", GATE_LIMIT },
		{ "drop", "limit default", GATE_INHERIT },
		{ "quarantine", "quarantine vm:web1", GATE_INHERIT },
		{ "allow", "quarantine vm:web1", GATE_ALLOW },
		{ "release", "allow vm:web1", GATE_ALLOW },
		{ "inherit", "limit default", GATE_INHERIT },
	};

	assert_int_equal(box_vm(&box, "web1", "port=tap1"), 0);
	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const struct gate_node *n;

		assert_int_equal(change("vm:web1", table[i].words), 0);
		assert_string_equal(box_effective(&box, "vm:web1", 0), table[i].effective);
		n = vm_node("vm:web1", 0);
		assert_int_equal(n ? n->state : GATE_INHERIT, table[i].node);
	}
	assert_null(vm_node("vm:web1", 0));
}

static void test_node_says_what_the_limit_says(void **state)
{
	const struct gate_node *n;

	box_vm(&box, "web1", "");
	assert_int_equal(change("vm:web1", "limit 10/s 300/h:50 burst=20 concurrent=3 "
					   "destinations=60/h refuse=icmp"),
			 0);
	n = vm_node("vm:web1", 0);
	assert_int_equal(n->nrates, 2);
	assert_int_equal(n->rates[0].interval_ns, 100000000);
	assert_int_equal(n->rates[0].tolerance_ns, 19ULL * 100000000);
	assert_int_equal(n->rates[1].interval_ns, 12000000000);
	assert_int_equal(n->rates[1].tolerance_ns, 49ULL * 12000000000);
	assert_int_equal(n->concurrent, 3);
	assert_int_equal(n->destinations.interval_ns, 60000000000);
	assert_int_equal(n->destinations.tolerance_ns, 59ULL * 60000000000);
	assert_int_equal(n->refuse, GATE_REFUSE_ICMP);
}

static void test_precedence_2_missing_keys_come_from_default(void **state)
{
	const struct gate_node *n;

	box_vm(&box, "web1", "");
	assert_int_equal(change("vm:web1", "limit 7/s"), 0);
	n = vm_node("vm:web1", 0);
	assert_int_equal(n->nrates, 1);
	assert_int_equal(n->rates[0].tolerance_ns, 9 * n->rates[0].interval_ns);
	assert_int_equal(n->concurrent, 6);
	assert_int_not_equal(n->destinations.interval_ns, 0);
	/* Another [default] reaches those who borrow from it. */
	box.g.c.policy.limits.concurrent = 4;
	box.g.c.policy.limits.destinations.count = 0;
	assert_int_equal(gate_engine_reconfigure(box.e, &box.g.c, &box.err), 0);
	n = vm_node("vm:web1", 0);
	assert_int_equal(n->concurrent, 4);
	assert_int_equal(n->destinations.interval_ns, 0);
	assert_int_equal(fake_gate_node(&box.g, gate_base_default(), 0)->concurrent, 4);
}

static void test_precedence_2_the_most_specific_decides(void **state)
{
	static const struct {
		const char *subject, *words, *effective;
	} table[] = {
		{ "default", "block", "block default" },
		{ "tenant:acme", "limit 1/s", "limit tenant:acme" },
		{ "vm:web1", "allow", "allow vm:web1" },
		{ "vm:web1", "drop", "limit tenant:acme" },
		{ "tenant:acme", "drop", "block default" },
		{ "default", "drop", "limit default" },
		{ "tenant:acme", "quarantine", "quarantine tenant:acme" },
		{ "vm:web1", "allow", "quarantine tenant:acme" },
		{ "tenant:acme", "release", "allow vm:web1" },
	};

	box_vm(&box, "web1", "tenant=acme");
	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		assert_int_equal(change(table[i].subject, table[i].words), 0);
		assert_string_equal(box_effective(&box, "vm:web1", 0), table[i].effective);
	}
}

static void test_a_replaced_node_is_not_reused_at_once(void **state)
{
	const struct gate_node *old;

	box_vm(&box, "web1", "");
	change("vm:web1", "allow");
	old = vm_node("vm:web1", 0);
	for (int i = 0; i < 10; i++) {
		change("vm:web1", i % 2 ? "allow" : "block");
		assert_ptr_not_equal(vm_node("vm:web1", 0), old);
		assert_int_equal(old->state, GATE_ALLOW);
	}
}

static void test_nodes_never_run_out(void **state)
{
	box_vm(&box, "web1", "");
	for (int i = 0; i < 2000; i++) {
		assert_int_equal(change("vm:web1", i % 2 ? "quarantine" : "release"), 0);
		assert_int_equal(vm_node("vm:web1", 0) != NULL, i % 2);
	}
}

/* ---- several gated ports ---- */

static void test_policy_on_one_of_the_gated_ports(void **state)
{
	box_vm(&box, "web1", "");
	assert_int_equal(change("vm:web1", "block on=25"), 0);
	assert_int_equal(change("vm:web1", "limit 3/s on=587"), 0);
	assert_int_equal(vm_node("vm:web1", 1)->state, GATE_BLOCK);
	assert_null(vm_node("vm:web1", 2));
	assert_int_equal(vm_node("vm:web1", 3)->state, GATE_LIMIT);
	assert_null(vm_node("vm:web1", 0));
	assert_string_equal(box_effective(&box, "vm:web1", 25), "block vm:web1");
	assert_string_equal(box_effective(&box, "vm:web1", 465), "limit default");
	assert_int_equal(change("vm:web1", "observe=on"), 0);
	assert_int_equal(vm_node("vm:web1", 0)->flags, GATE_NODE_OBSERVE);
	assert_int_equal(change("vm:web1", "inherit on=25"), 0);
	assert_null(vm_node("vm:web1", 1));
	assert_int_equal(change("vm:web1", "drop"), 0);
	assert_null(vm_node("vm:web1", 3));
	assert_int_equal(change("vm:web1", "block on=26"), GATE_ERR_USAGE);
	assert_string_equal(box.err.message, "port 26 is not gated: gated is 25, 465, 587");
}

static void test_with_one_gated_port_on_it_is_all(void **state)
{
	box_vm(&box, "web1", "");
	assert_int_equal(change("vm:web1", "block on=25"), 0);
	assert_int_equal(vm_node("vm:web1", 0)->state, GATE_BLOCK);
	assert_string_equal(box_effective(&box, "vm:web1", 0), "block vm:web1");
	assert_int_equal(change("vm:web1", "allow"), 0);
	assert_int_equal(vm_node("vm:web1", 0)->state, GATE_ALLOW);
	assert_int_equal(change("vm:web1", "inherit"), 0);
	assert_null(vm_node("vm:web1", 0));
	assert_int_equal(change("vm:web1", "block on=587"), GATE_ERR_USAGE);
}

/* ---- expiry ---- */

static void test_precedence_7_expiry_is_in_the_node_and_then_in_the_model(void **state)
{
	box_vm(&box, "web1", "");
	assert_int_equal(change("vm:web1", "allow for=60 reason=t1"), 0);
	assert_int_equal(change("vm:web1", "quarantine for=30"), 0);
	assert_int_equal(vm_node("vm:web1", 0)->expires, fake_mono_ns + 60 * GATE_NSEC_PER_SEC);
	assert_int_equal(vm_node("vm:web1", 0)->quarantine_until,
			 fake_mono_ns + 30 * GATE_NSEC_PER_SEC);
	fake_pass(29);
	gate_engine_tick(box.e, fake_now());
	assert_string_equal(box_effective(&box, "vm:web1", 0), "quarantine vm:web1");
	fake_pass(1);
	assert_string_equal(box_effective(&box, "vm:web1", 0), "allow vm:web1");
	gate_engine_tick(box.e, fake_now());
	assert_int_equal(vm_node("vm:web1", 0)->quarantine_until, 0);
	assert_non_null(box_notice(&box, GATE_N_EXPIRED));
	fake_pass(30);
	gate_engine_tick(box.e, fake_now());
	assert_null(vm_node("vm:web1", 0));
	assert_string_equal(box_audit(&box, "vm:web1", 1), "gate25d expire vm:web1 \n");
	assert_null(gate_engine_own(box.e,
				    &(struct gate_subject){ .kind = GATE_S_VM, .name = "web1" }));
}

static void test_beneath_a_default_for_a_time_lies_the_configurations(void **state)
{
	assert_int_equal(change("default", "allow for=60"), 0);
	assert_int_equal(fake_gate_node(&box.g, gate_base_default(), 0)->state, GATE_ALLOW);
	assert_int_equal(fake_gate_node(&box.g, 0, 0)->state, GATE_LIMIT);
	assert_int_equal(fake_gate_node(&box.g, 0, 0)->expires, 0);
	box.g.c.policy.state = GATE_BLOCK;
	gate_engine_reconfigure(box.e, &box.g.c, &box.err);
	assert_int_equal(fake_gate_node(&box.g, 0, 0)->state, GATE_BLOCK);
	fake_pass(60);
	gate_engine_tick(box.e, fake_now());
	assert_int_equal(fake_gate_node(&box.g, gate_base_default(), 0)->state, GATE_BLOCK);
}

static void test_a_clock_that_jumps_moves_the_deadlines(void **state)
{
	box_vm(&box, "web1", "");
	change("vm:web1", "allow for=3600");
	fake_unix_ns += 1800LL * 1000000000LL;
	gate_engine_clock_changed(box.e);
	assert_int_equal(vm_node("vm:web1", 0)->expires, fake_mono_ns + 1800 * GATE_NSEC_PER_SEC);
}

/* ---- budgets, exempt, observe ---- */

static void test_precedence_5_a_budget_is_shared_by_the_tenants_vms(void **state)
{
	uint32_t budget;

	box_vm(&box, "web1", "tenant=acme");
	assert_int_equal(change("tenant:acme", "budget 500/h 5/s"), 0);
	box_vm(&box, "web2", "tenant=acme");
	box_vm(&box, "web3", "tenant=other");
	budget = box.g.m.vms[box_slot(&box, "vm:web1")].budget;
	assert_int_not_equal(budget, 0);
	assert_int_equal(box.g.m.vms[box_slot(&box, "vm:web2")].budget, budget);
	assert_int_equal(box.g.m.vms[box_slot(&box, "vm:web3")].budget, 0);
	assert_int_equal(box.g.m.budgets[budget].nrates, 2);
	assert_int_equal(box.g.m.budgets[budget].rates[0].interval_ns, 7200000000);
	assert_int_equal(box.g.m.budgets[budget].rates[0].tolerance_ns, 499ULL * 7200000000);
	/* The bucket stays over another rate and over a restart. */
	box.g.m.budgets[budget].tat[0] = 12345;
	assert_int_equal(change("tenant:acme", "budget 400/h"), 0);
	box_restart(&box, false);
	assert_int_equal(box.g.m.vms[box_slot(&box, "vm:web1")].budget, budget);
	assert_int_equal(box.g.m.budgets[budget].tat[0], 12345);
	assert_int_equal(change("tenant:acme", "budget"), 0);
	assert_int_equal(box.g.m.vms[box_slot(&box, "vm:web1")].budget, 0);
	assert_int_equal(box.g.m.budgets[budget].nrates, 0);
	assert_int_equal(change("vm:web1", "budget 5/s"), GATE_ERR_USAGE);
	assert_int_equal(change("default", "budget 5/s"), GATE_ERR_USAGE);
}

static void test_precedence_3_exempt_destinations_global_tenant_and_vm(void **state)
{
	uint32_t slot, tenant;

	box_vm(&box, "web1", "tenant=acme");
	slot = (uint32_t)box_slot(&box, "vm:web1");
	tenant = box.g.m.vms[slot].tenant;
	assert_int_equal(change("default", "exempt +10.0.0.0/8"), 0);
	assert_int_equal(change("tenant:acme", "exempt +192.0.2.25 +2001:db8::/32"), 0);
	assert_int_equal(change("vm:web1", "exempt +198.51.100.1"), 0);
	assert_true(fake_gate_exempt(&box.g, GATE_EXEMPT_ALL, "10.1.2.3"));
	assert_true(fake_gate_exempt(&box.g, GATE_EXEMPT_TENANT | tenant, "2001:db8::25"));
	assert_true(fake_gate_exempt(&box.g, GATE_EXEMPT_VM | slot, "198.51.100.1"));
	assert_false(fake_gate_exempt(&box.g, GATE_EXEMPT_VM | slot, "198.51.100.2"));
	assert_true(box.g.conf.flags & GATE_CONF_EXEMPT);
	assert_true(box.g.m.vms[slot].flags & GATE_VM_EXEMPT);
	assert_true(box.g.m.vms[slot].flags & GATE_VM_TENANT_EXEMPT);
	assert_int_equal(change("tenant:acme", "exempt -192.0.2.25 -2001:db8::/32"), 0);
	assert_false(box.g.m.vms[slot].flags & GATE_VM_TENANT_EXEMPT);
	assert_int_equal(change("default", "exempt -10.0.0.0/8"), 0);
	assert_false(box.g.conf.flags & GATE_CONF_EXEMPT);
	assert_int_equal(change("vm:web1", "exempt -192.0.2.1"), GATE_ERR_USAGE);
	assert_int_equal(change("ip:192.0.2.1", "exempt +192.0.2.1"), GATE_ERR_USAGE);
}

static void test_all_parts_of_a_request_or_none(void **state)
{
	box_vm(&box, "web1", "");
	assert_int_equal(change("vm:web1", "block observe=on exempt -192.0.2.1"), GATE_ERR_USAGE);
	assert_null(vm_node("vm:web1", 0));
	assert_string_equal(box_audit(&box, NULL, 1), "alice vm add vm:web1 \n");
	assert_int_equal(change("vm:web1", "block observe=on exempt +192.0.2.1"), 0);
	assert_int_equal(vm_node("vm:web1", 0)->flags, GATE_NODE_OBSERVE);
}

/* ---- bad input ---- */

static void test_bad_input_is_one_sentence_and_changes_nothing(void **state)
{
	static const struct {
		const char *subject, *words;
		enum gate_error_code code;
		const char *message;
	} table[] = {
		{ "vm:nobody", "block", GATE_ERR_NO_SUBJECT, "there is no vm:nobody" },
		{ "port:tap9", "block", GATE_ERR_NO_SUBJECT, "there is no port:tap9" },
		{ "nobody", "block", GATE_ERR_NO_SUBJECT, "there is no VM or port named nobody" },
		{ "vm:web1", "limit concurrent=9", GATE_ERR_USAGE,
		  "concurrent 9 is more than the flow table can hold: at most 8, half of "
		  "flows_per_vm" },
		{ "vm:web1", "limit for=-5", GATE_ERR_USAGE,
		  "the time of expiry has passed already" },
		{ "vm:web1", "quarantine for=-5", GATE_ERR_USAGE,
		  "the time of expiry has passed already" },
		{ "ip:::/0", "block", GATE_ERR_USAGE,
		  "::/0 would hold IPv4 as well (::ffff:0:0/96): write 2000::/3 for all of global "
		  "IPv6" },
	};
	uint64_t revision;

	box_vm(&box, "web1", "");
	revision = box.g.conf.revision;
	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		assert_int_equal(change(table[i].subject, table[i].words), table[i].code);
		assert_string_equal(box.err.message, table[i].message);
	}
	assert_int_equal(box.g.conf.revision, revision);
}

static void test_a_reason_of_2000_characters_is_refused(void **state)
{
	char reason[2001];
	struct gate_change c = { .subject = box_subject("default"),
				 .set_observe = true,
				 .observe = true,
				 .reason = reason };

	memset(reason, 'x', sizeof(reason) - 1);
	reason[sizeof(reason) - 1] = '\0';
	assert_int_equal(gate_engine_change(box.e, &(struct gate_actor){ 0 }, &c, &box.err), -22);
	assert_string_equal(box.err.message, "reason is longer than 255 bytes");
	reason[255] = '\0';
	assert_int_equal(gate_engine_change(box.e, &(struct gate_actor){ 0 }, &c, &box.err), 0);
}

/* ---- notes ---- */

static void test_precedence_6_block_tenant_names_who_stays_open(void **state)
{
	box_vm(&box, "web1", "tenant=acme");
	box_vm(&box, "web2", "tenant=acme");
	change("vm:web2", "allow");
	change("tenant:acme", "block");
	assert_string_equal(box_notes(&box, "tenant:acme"),
			    "vm:web2 stays open by a policy of its own; `gate25 quarantine "
			    "tenant:acme` closes them all the same\n");
	change("tenant:acme", "quarantine");
	assert_string_equal(box_notes(&box, "tenant:acme"), "");
	assert_string_equal(box_notes(&box, "vm:web2"),
			    "tenant:acme is in quarantine, which stands above this until it is "
			    "released\n");
	assert_string_equal(box_notes(&box, "mac:52:54:00:00:00:09"),
			    "no VM has registered mac:52:54:00:00:00:09: until one does its policy "
			    "can only tighten\n");
}

/* ---- subjects ---- */

static void test_tenants_are_made_by_a_policy_and_go_with_it(void **state)
{
	assert_string_equal(box_effective(&box, "tenant:new", 0), "?");
	assert_int_equal(box.err.code, GATE_ERR_NO_SUBJECT);
	assert_int_equal(change("tenant:new", "block"), 0);
	assert_string_equal(box_effective(&box, "tenant:new", 0), "block tenant:new");
	box_vm(&box, "web1", "tenant=new");
	assert_string_equal(box_effective(&box, "vm:web1", 0), "block tenant:new");
	assert_int_equal(change("tenant:new", "drop"), 0);
	assert_int_equal(box_del(&box, "web1"), 0);
	assert_string_equal(box_effective(&box, "tenant:new", 0), "?");
}

static void test_a_word_is_a_vm_then_a_port(void **state)
{
	box_vm(&box, "web1", "port=tap1");
	assert_int_equal(gate_engine_port_up(box.e, 7, "tap1", 0), 1);
	assert_int_equal(gate_engine_port_up(box.e, 8, "tap2", 0), 2);
	assert_int_equal(change("web1", "block"), 0);
	assert_string_equal(box_effective(&box, "port:tap1", 0), "block vm:web1");
	assert_int_equal(change("tap2", "block"), 0);
	assert_string_equal(box_effective(&box, "port:tap2", 0), "block port:tap2");
	assert_int_equal(change("vm:tap2", "allow"), GATE_ERR_NO_SUBJECT);
}

int main(void)
{
#define ONE(f)	 cmocka_unit_test_setup_teardown(f, open_one, close_box)
#define THREE(f) cmocka_unit_test_setup_teardown(f, open_three, close_box)
	const struct CMUnitTest tests[] = {
		ONE(test_states_are_one_store_in_the_heads),
		ONE(test_node_says_what_the_limit_says),
		ONE(test_precedence_2_missing_keys_come_from_default),
		ONE(test_precedence_2_the_most_specific_decides),
		ONE(test_a_replaced_node_is_not_reused_at_once),
		ONE(test_nodes_never_run_out),
		THREE(test_policy_on_one_of_the_gated_ports),
		ONE(test_with_one_gated_port_on_it_is_all),
		ONE(test_precedence_7_expiry_is_in_the_node_and_then_in_the_model),
		ONE(test_beneath_a_default_for_a_time_lies_the_configurations),
		ONE(test_a_clock_that_jumps_moves_the_deadlines),
		ONE(test_precedence_5_a_budget_is_shared_by_the_tenants_vms),
		ONE(test_precedence_3_exempt_destinations_global_tenant_and_vm),
		ONE(test_all_parts_of_a_request_or_none),
		ONE(test_bad_input_is_one_sentence_and_changes_nothing),
		ONE(test_a_reason_of_2000_characters_is_refused),
		ONE(test_precedence_6_block_tenant_names_who_stays_open),
		ONE(test_tenants_are_made_by_a_policy_and_go_with_it),
		ONE(test_a_word_is_a_vm_then_a_port),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
