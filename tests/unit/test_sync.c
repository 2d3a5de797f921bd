// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* MACs and addresses: which entries the program finds and which policies they bring. */
#include "sync_lab.h"

#include <bpf/bpf.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void test_identity_3_a_policy_on_an_address_is_the_registered_vms(void **state)
{
	static const struct expectation table[] = {
		{ 1, "52:54:00:00:00:01", true, REG, "block", "", true },
		{ 1, "52:54:00:00:00:02", true, REG, "", "", false },
		{ 1, "192.0.2.7", true, REG, "allow", "", true },
		{ 1, "192.0.2.8", true, REG, "", "", false },
		{ 1, "198.51.100.1", true, REG, "limit", "", true },
		{ 1, "2001:db8::1", true, REG, "limit", "block", true },
		{ 1, "2001:db8:0:0:1::1", true, REG, "block", "", true },
		{ 2, "192.0.2.7", false, 0, "", "", false },
		{ ANY, "52:54:00:00:00:01", true, 0, "block", "", false },
		{ ANY, "192.0.2.7", true, 0, "allow", "", false },
		{ ANY, "192.0.2.8", false, 0, "", "", false },
		{ ANY, "198.51.100.9", true, 0, "limit", "", false },
		{ ANY, "2001:db8::1", true, 0, "limit", "block", false },
		{ ANY, "2001:db8:0:0:1::1", true, 0, "block", "", false },
	};

	box_vm(&box, "web1",
	       "mac=52:54:00:00:00:01 mac=52:54:00:00:00:02 ip=192.0.2.0/24 ip=198.51.100.1 "
	       "ip=2001:db8::/64");
	box_vm(&box, "web2", "ip=203.0.113.1");
	assert_false(box.g.conf.flags & (GATE_CONF_ANY_IPS | GATE_CONF_ANY_MACS));
	assert_int_equal(change("mac:52:54:00:00:00:01", "block"), 0);
	assert_int_equal(change("ip:192.0.2.7", "allow"), 0); /* within what is registered */
	assert_int_equal(change("ip:198.51.100.0/24", "limit 1/s"), 0); /* around it */
	assert_int_equal(change("ip:2001:db8::/64", "block"), 0);
	assert_int_equal(change("ip:2001:db8::1", "limit 2/s"), 0);
	assert_true(box.g.conf.flags & GATE_CONF_ANY_IPS);
	assert_true(box.g.conf.flags & GATE_CONF_ANY_MACS);
	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		check(&table[i]);
	/* The same after a restart and after a reboot. */
	for (int reboot = 0; reboot < 2; reboot++) {
		box_restart(&box, reboot);
		for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++)
			check(&table[i]);
	}
}

static void test_entries_follow_policy_and_registration(void **state)
{
	change("ip:192.0.2.0/24", "block");
	box_vm(&box, "web1", "ip=192.0.2.1");
	check(&(struct expectation){ 1, "192.0.2.1", true, REG, "block", "", true });
	box_vm(&box, "web1", "ip=192.0.2.2");
	check(&(struct expectation){ 1, "192.0.2.1", .there = false });
	check(&(struct expectation){ 1, "192.0.2.2", true, REG, "block", "", true });
	change("ip:192.0.2.0/24", "drop");
	check(&(struct expectation){ 1, "192.0.2.2", true, REG, "", "", false });
	check(&(struct expectation){ ANY, "192.0.2.2", .there = false });
	assert_false(box.g.conf.flags & GATE_CONF_ANY_IPS);
	fake_pass(2);
	gate_engine_tick(box.e, fake_now());
	assert_int_equal(box.g.m.vms[1].override_base, 0);
	assert_true(box.g.m.vms[1].flags & GATE_VM_IPS);
	box_vm(&box, "web1", "");
	assert_false(box.g.m.vms[1].flags & GATE_VM_IPS);
}

static bool observed(const char *address)
{
	struct gate_address a = { 0 };
	const struct gate_node *n;

	assert_true(fake_gate_ip(&box.g, 1, address, &a));
	n = a.base[0] ? fake_gate_node(&box.g, a.base[0], 0) : NULL;
	return n && n->flags & GATE_NODE_OBSERVE;
}

static void test_of_many_covering_policies_a_quarantine_is_never_left_out(void **state)
{
	static const struct {
		const char *subject, *words, *first, *second;
		bool observed;
	} table[] = {
		{ "ip:192.0.2.0/24", "limit 1/s", "allow", "limit", false },
		{ "ip:192.0.0.0/16", "quarantine", "allow+quarantine", "limit+quarantine", false },
		{ "ip:192.0.2.0/28", "observe=on", "allow+quarantine", "limit+quarantine", true },
		{ "ip:192.0.0.0/12", "block", "allow+quarantine", "limit+quarantine", true },
		{ "ip:192.0.0.0/16", "release", "allow", "limit", true },
		{ "ip:192.0.2.0/28", "observe=off", "allow", "limit", false },
		{ "ip:192.0.0.0/12", "observe=on", "allow", "limit", true },
		{ "ip:192.0.2.1", "drop", "limit", "block", true },
		{ "ip:192.0.2.1", "observe=on", "inherit", "limit", true },
		{ "ip:192.0.0.0/12", "quarantine for=600", "inherit+quarantine", "limit+quarantine",
		  true },
		{ "ip:192.0.2.1", "allow", "allow+quarantine", "limit+quarantine", true },
	};
	struct gate_subject s = box_subject("ip:192.0.2.0/24");

	box_vm(&box, "web1", "ip=192.0.2.1");
	change("ip:192.0.2.1", "allow");
	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		assert_int_equal(change(table[i].subject, table[i].words), 0);
		check(&(struct expectation){ 1, "192.0.2.1", true, REG, table[i].first,
					     table[i].second, true });
		check(&(struct expectation){ ANY, "192.0.2.1", true, 0, table[i].first,
					     table[i].second, false });
		assert_int_equal(observed("192.0.2.1"), table[i].observed);
	}
	/* Whose it is is known even when only the kernel is left to ask. */
	gate_engine_close(box.e);
	unlink(box.g.store);
	assert_int_equal(gate_engine_open(&box.e, &box.g.c, &box.g.m, &box.err), 0);
	assert_false(gate_engine_own(box.e, &s)->quarantine.on);
	assert_string_equal(box_effective(&box, "ip:192.0.2.1", 0), "quarantine ip:192.0.0.0/12");
	change("ip:192.0.0.0/12", "release");
	assert_string_equal(box_effective(&box, "ip:192.0.2.1", 0), "allow ip:192.0.2.1");
}

static void test_pairs_may_be_used_and_grant_nothing(void **state)
{
	box_vm(&box, "web1", "mac=52:54:00:00:00:01 pair=02:00:5e:00:01:07,192.0.2.100");
	box_vm(&box, "web2", "mac=52:54:00:00:00:02 pair=02:00:5e:00:01:07,192.0.2.100");
	change("ip:192.0.2.100", "allow");
	for (uint32_t slot = 1; slot <= 2; slot++) {
		check(&(struct expectation){ slot, "02:00:5e:00:01:07", true, ALLOW, "", "",
					     false });
		check(&(struct expectation){ slot, "192.0.2.100", true, ALLOW, "", "", false });
	}
}

static void test_precedence_5_a_prefix_budget_is_shared_by_whoever_registered_within(void **state)
{
	struct gate_address a, b;

	box_vm(&box, "web1", "ip=192.0.2.1");
	box_vm(&box, "web2", "ip=192.0.2.2");
	box_vm(&box, "web3", "ip=198.51.100.3");
	assert_int_equal(change("ip:192.0.2.0/24", "budget 50/h"), 0);
	assert_true(fake_gate_ip(&box.g, 1, "192.0.2.1", &a));
	assert_true(fake_gate_ip(&box.g, 2, "192.0.2.2", &b));
	assert_int_not_equal(a.budget, 0);
	assert_int_equal(a.budget, b.budget);
	assert_int_equal(a.base[0], 0);
	assert_true(fake_gate_ip(&box.g, 3, "198.51.100.3", &b));
	assert_int_equal(b.budget, 0);
	box.g.m.budgets[a.budget].tat[0] = 9;
	box_restart(&box, false);
	assert_true(fake_gate_ip(&box.g, 2, "192.0.2.2", &b));
	assert_int_equal(a.budget, b.budget);
	assert_int_equal(box.g.m.budgets[b.budget].tat[0], 9);
}

/* ---- full ---- */

static void test_a_full_table_is_said_and_tried_again(void **state)
{
	struct gate_prefix ips[500];
	struct gate_vm_spec vm = { .name = "big", .binding = -1, .ips = ips, .nips = 500 };
	struct gate_actor who = { .name = "alice" };

	for (unsigned i = 0; i < vm.nips; i++)
		ips[i] = (struct gate_prefix){
			.len = 128, .addr = { 0x20, 1, [14] = (uint8_t)(i >> 8), [15] = (uint8_t)i }
		};
	assert_int_equal(gate_engine_vm_put(box.e, &who, &vm, true, false, "", &box.err), 0);
	box_vm(&box, "web1", "ip=192.0.2.1");
	assert_string_equal(box_problems(&box), "map_full: there is no room for all MACs and "
						"addresses of the VMs\n");
	check(&(struct expectation){ 2, "192.0.2.1", .there = false });
	assert_int_equal(box_del(&box, "big"), 0);
	fake_pass(61);
	gate_engine_tick(box.e, fake_now());
	assert_string_equal(box_problems(&box), "");
	check(&(struct expectation){ 2, "192.0.2.1", true, REG, "", "", false });
}

/* ---- the next VM of a slot ---- */

static sigjmp_buf cut;

static void cut_short(int signal)
{
	siglongjmp(cut, 1);
}

/* Whoever dies while a slot is wiped leaves it known as one that is yet to be wiped, or clean. */
static void test_a_slot_that_is_half_wiped_is_not_taken_for_clean(void **state)
{
	const struct sigaction act = { .sa_handler = cut_short, .sa_flags = SA_NODEFER };
	static const struct gate_bucket_set no_bucket;
	static const struct gate_flow no_flow;
	struct gate_maps *m = &box.g.m;
	struct gate_counters *was = m->counters;
	struct sigaction before;
	struct gate_sync *s;
	size_t size = 1 << 16;

	assert_int_equal(gate_sync_open(&s, m, &box.g.c, &box.err), 0);
	m->counters = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(m->counters, MAP_FAILED);
	m->counters[1].packets_from_vm = 1;
	m->vms[1].first_mac = m->dests[box.g.conf.dest_sets].way[0] = 7;
	m->buckets[gate_bucket_index(m, 1, 0)].active = 7;
	m->flows[box.g.conf.flow_sets].way[0].fingerprint = 7;
	assert_int_equal(mprotect(m->counters, size, PROT_READ), 0);
	assert_int_equal(sigaction(SIGSEGV, &act, &before), 0);
	if (!sigsetjmp(cut, 1)) {
		gate_sync_vm_wipe(s, 1);
		fail_msg("counters were not wiped");
	}
	assert_int_equal(sigaction(SIGSEGV, &before, NULL), 0);
	assert_int_equal(m->vms[1].first_mac, 0);
	assert_int_equal(m->dests[box.g.conf.dest_sets].way[0], 0);
	assert_memory_equal(&m->buckets[gate_bucket_index(m, 1, 0)], &no_bucket, sizeof(no_bucket));
	assert_memory_equal(&m->flows[box.g.conf.flow_sets], &no_flow, sizeof(no_flow));
	munmap(m->counters, size);
	m->counters = was;
	gate_sync_close(s);
}

/* ---- uplink mode ---- */

static void test_in_uplink_mode_sources_lead_to_vms(void **state)
{
	struct gate_mac_owner_key mac = { .mac = { 0x52, 0x54, 0, 0, 0, 1 } };
	struct gate_ip_key ip = { .prefixlen = 160,
				  .addr = { [10] = 0xff, [11] = 0xff, 192, 0, 2, 1 } };
	uint32_t slot = 0;

	box.g.c.uplink_mode = true;
	box_vm(&box, "web1", "mac=52:54:00:00:00:01 ip=192.0.2.1");
	assert_int_equal(bpf_map_lookup_elem(box.g.m.mac_owner, &mac, &slot), 0);
	assert_int_equal(slot, 1);
	assert_int_equal(bpf_map_lookup_elem(box.g.m.ip_owner, &ip, &slot), 0);
	box_restart(&box, false);
	assert_int_equal(bpf_map_lookup_elem(box.g.m.ip_owner, &ip, &slot), 0);
	box_vm(&box, "web1", "ip=192.0.2.1");
	assert_int_not_equal(bpf_map_lookup_elem(box.g.m.mac_owner, &mac, &slot), 0);
	assert_int_equal(bpf_map_lookup_elem(box.g.m.ip_owner, &ip, &slot), 0);
	box_vm(&box, "web1", "mac=52:54:00:00:00:01 ip=192.0.2.0/24");
	assert_int_equal(bpf_map_lookup_elem(box.g.m.mac_owner, &mac, &slot), 0);
	assert_int_equal(bpf_map_lookup_elem(box.g.m.ip_owner, &ip, &slot), 0); /* within */
	box_vm(&box, "web1", "");
	assert_int_not_equal(bpf_map_lookup_elem(box.g.m.mac_owner, &mac, &slot), 0);
	assert_int_not_equal(bpf_map_lookup_elem(box.g.m.ip_owner, &ip, &slot), 0);
}

int main(void)
{
#define BOX(f) cmocka_unit_test_setup_teardown(f, open_box, close_box)
	const struct CMUnitTest tests[] = {
		BOX(test_identity_3_a_policy_on_an_address_is_the_registered_vms),
		BOX(test_entries_follow_policy_and_registration),
		BOX(test_of_many_covering_policies_a_quarantine_is_never_left_out),
		BOX(test_pairs_may_be_used_and_grant_nothing),
		BOX(test_precedence_5_a_prefix_budget_is_shared_by_whoever_registered_within),
		BOX(test_a_full_table_is_said_and_tried_again),
		BOX(test_a_slot_that_is_half_wiped_is_not_taken_for_clean),
		BOX(test_in_uplink_mode_sources_lead_to_vms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
