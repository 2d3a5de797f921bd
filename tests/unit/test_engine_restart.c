// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* A daemon that comes after another: policy, addresses, budgets and what was spent stay. */
#include "box_lab.h"
#include "../lib/fakeclock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define change(subject, words) box_change(&box, fake_now(), subject, words)

static const struct gate_node *web1_node(void)
{
	return fake_gate_node(&box.g, gate_base_vm((uint32_t)box_slot(&box, "vm:web1")), 0);
}

static void test_all_survives_a_restart_and_a_reboot(void **state)
{
	for (int reboot = 0; reboot < 2; reboot++) {
		box_vm(&box, "web1", "tenant=acme mac=52:54:00:00:00:01 ip=192.0.2.1 port=tap1");
		change("vm:web1", "limit 7/s 100/h:3 burst=4 concurrent=2 destinations=9/d on=25 "
				  "for=3600 reason=t4711 refuse=icmp");
		change("tenant:acme", "quarantine for=7200 reason=spam");
		change("default", "exempt +10.0.0.0/8");
		change("mac:52:54:00:00:00:01", "block drain");
		box_restart(&box, reboot);
		assert_string_equal(box_effective(&box, "vm:web1", 0), "quarantine tenant:acme");
		assert_int_equal(change("tenant:acme", "release"), 0);
		assert_string_equal(box_effective(&box, "vm:web1", 0), "limit vm:web1");
		assert_int_equal(web1_node()->expires, fake_mono_ns + 3600 * GATE_NSEC_PER_SEC);
		assert_int_equal(web1_node()->rates[1].tolerance_ns, 2 * 36000000000);
		assert_string_equal(box_effective(&box, "mac:52:54:00:00:00:01", 0),
				    "block mac:52:54:00:00:00:01");
		assert_true(fake_gate_exempt(&box.g, GATE_EXEMPT_ALL, "10.1.2.3"));
		assert_string_equal(box_audit(&box, "vm:web1", 1), "alice limit vm:web1 t4711\n");
		box_del(&box, "web1");
	}
}

static void test_a_restart_leaves_the_maps_as_they_are(void **state)
{
	struct gate_address a, b;
	uint64_t *heads = malloc(box.g.m.nheads * sizeof(uint64_t));

	box_vm(&box, "web1", "tenant=acme mac=52:54:00:00:00:01 ip=192.0.2.0/24 port=tap1");
	change("vm:web1", "block");
	change("ip:192.0.2.7", "limit 1/s");
	change("tenant:acme", "budget 5/h");
	assert_true(fake_gate_ip(&box.g, 1, "192.0.2.7", &a));
	box.g.m.buckets[gate_bucket_index(&box.g.m, 1, a.bucket)].tat[0] = 77;
	memcpy(heads, box.g.m.heads, box.g.m.nheads * sizeof(uint64_t));
	box_restart(&box, false);
	assert_memory_equal(heads, box.g.m.heads, box.g.m.nheads * sizeof(uint64_t));
	assert_true(fake_gate_ip(&box.g, 1, "192.0.2.7", &b));
	assert_memory_equal(&a, &b, sizeof(a));
	assert_int_equal(box.g.m.buckets[gate_bucket_index(&box.g.m, 1, b.bucket)].tat[0], 77);
	free(heads);
}

/* A bucket that a tenant's VMs share is not filled anew. */
static void test_a_restart_leaves_budgets_what_was_spent(void **state)
{
	static const char *const ips[] = { "192.0.2.0/28", "198.51.100.0/28", "203.0.113.0/28" };
	struct gate_address a;
	char who[32], words[64];

	for (int i = 0; i < 8; i++) { /* the last four have no VM */
		snprintf(who, sizeof(who), "tenant:t%d", i);
		assert_int_equal(change(who, "budget 5/h"), 0);
		snprintf(who, sizeof(who), "web%d", i);
		snprintf(words, sizeof(words), "tenant=t%d", i);
		if (i < 4)
			assert_int_equal(box_vm(&box, who, words), 0);
	}
	assert_int_equal(box_vm(&box, "two", "ip=192.0.2.1 ip=198.51.100.1 ip=203.0.113.1"), 0);
	for (int i = 0; i < 3; i++) {
		snprintf(who, sizeof(who), "ip:%s", ips[i]);
		snprintf(words, sizeof(words), "budget %d/h", 10 + i);
		assert_int_equal(change(who, words), 0);
	}
	for (uint32_t i = 1; i < box.g.m.nbudgets; i++)
		box.g.m.budgets[i].tat[0] = 1000 + i;
	box_restart(&box, false);
	for (int i = 0; i < 4; i++) {
		uint32_t budget;

		snprintf(who, sizeof(who), "vm:web%d", i);
		budget = box.g.m.vms[box_slot(&box, who)].budget;
		assert_int_equal(budget, 1 + i);
		assert_int_equal(box.g.m.budgets[budget].tat[0], 1000 + budget);
	}
	for (int i = 0; i < 3; i++) {
		snprintf(who, sizeof(who), "%.*s.1", (int)(strrchr(ips[i], '.') - ips[i]), ips[i]);
		assert_true(fake_gate_ip(&box.g, (uint32_t)box_slot(&box, "vm:two"), who, &a));
		assert_int_equal(a.budget, 9 + i);
		assert_int_equal(box.g.m.budgets[a.budget].tat[0], 1000 + a.budget);
		assert_int_equal(box.g.m.budgets[a.budget].rates[0].interval_ns,
				 3600 * 1000000000ULL / (10 + i));
	}
}

static void test_policies_of_a_port_no_longer_gated_stay_in_the_store(void **state)
{
	static const uint16_t both[] = { 25, 587, 0 };
	struct fake_gate other;

	gate_engine_close(box.e);
	fake_gate_make(&other, 16, both);
	other.c.store_path = box.g.store;
	assert_int_equal(gate_engine_open(&box.e, &other.c, &other.m, &box.err), 0);
	box_vm(&box, "web1", "");
	change("vm:web1", "block on=587");
	change("vm:web1", "allow on=25");
	gate_engine_close(box.e);
	fake_gate_free(&other);
	assert_int_equal(gate_engine_open(&box.e, &box.g.c, &box.g.m, &box.err), 0);
	change("vm:web1", "block on=25");
	gate_engine_close(box.e);
	fake_gate_make(&other, 16, both);
	other.c.store_path = box.g.store;
	assert_int_equal(gate_engine_open(&box.e, &other.c, &other.m, &box.err), 0);
	assert_string_equal(box_effective(&box, "vm:web1", 587), "block vm:web1");
	assert_string_equal(box_effective(&box, "vm:web1", 25), "block vm:web1");
	gate_engine_close(box.e);
	fake_gate_free(&other);
	assert_int_equal(gate_engine_open(&box.e, &box.g.c, &box.g.m, &box.err), 0);
}

int main(void)
{
#define BOX(f) cmocka_unit_test_setup_teardown(f, open_box, close_box)
	const struct CMUnitTest tests[] = {
		BOX(test_all_survives_a_restart_and_a_reboot),
		BOX(test_a_restart_leaves_the_maps_as_they_are),
		BOX(test_a_restart_leaves_budgets_what_was_spent),
		BOX(test_policies_of_a_port_no_longer_gated_stay_in_the_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
