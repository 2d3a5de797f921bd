// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Identity: ports that come, go and change hands; registrations; slots and counters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "../lib/enginebox.h"
#include "../lib/fakeclock.h"

#include <bpf/bpf.h>
#include <string.h>

static struct enginebox box;

static int open_box(void **state)
{
	box_open(&box, 0, NULL);
	return 0;
}

static int open_small(void **state)
{
	box_open(&box, 3, NULL);
	return 0;
}

static int close_box(void **state)
{
	box_close(&box);
	return 0;
}

#define change(subject, words) box_change(&box, fake_now(), subject, words)
#define up(ifindex, name)      gate_engine_port_up(box.e, ifindex, name, GATE_PORT_VM)

static uint32_t slot_of_port(uint32_t ifindex)
{
	struct gate_port p;

	return fake_gate_port(&box.g, ifindex, &p) ? p.slot : UINT32_MAX;
}

static void pass(unsigned seconds)
{
	while (seconds--) {
		fake_pass(1);
		gate_engine_tick(box.e, fake_now());
	}
}

static void new_mac(uint32_t slot, uint32_t ifindex)
{
	struct gate_event ev = { .slot = slot,
				 .ifindex = ifindex,
				 .type = GATE_E_NEW_MAC,
				 .mac = { 2, 0, 0, 0, 0, 9 } };

	gate_engine_event(box.e, &ev);
}

static uint64_t admitted(void)
{
	struct gate_counters c;

	gate_engine_totals(box.e, &c, NULL);
	return c.flows_admitted;
}

/* ---- unregistered ports ---- */

static void test_identity_1_a_port_is_a_vm_of_its_own(void **state)
{
	assert_int_equal(up(5, "tap5"), 1);
	assert_int_equal(slot_of_port(5), 1);
	assert_int_equal(box_slot(&box, "port:tap5"), 1);
	assert_int_equal(box_slot(&box, "vm:tap5"), -1);
	assert_int_equal(box.g.m.vms[1].flags & (GATE_VM_USED | GATE_VM_REGISTERED), GATE_VM_USED);
	assert_string_equal(box.g.m.names[1], "tap5");
	assert_int_equal(box.g.m.vms[1].grace_until,
			 fake_mono_ns + GATE_GRACE_S * GATE_NSEC_PER_SEC);
	assert_non_null(box_notice(&box, GATE_N_PORT_UP));
	/* Telling it again, with other flags, changes only these. */
	fake_pass(5);
	assert_int_equal(gate_engine_port_up(box.e, 5, "tap5", GATE_PORT_VM | GATE_PORT_JUDGED), 1);
	assert_int_equal(box.g.m.vms[1].grace_until,
			 fake_mono_ns + (GATE_GRACE_S - 5) * GATE_NSEC_PER_SEC);
	gate_engine_port_attached(box.e, 5, "tcx", true, true);
	assert_true(box.g.m.vms[1].flags & GATE_VM_TO_VM);
}

static void test_identity_1_another_mac_drops_what_is_laxer(void **state)
{
	static const struct {
		const char *words, *after;
		bool dropped;
	} table[] = {
		{ "allow", "limit default", true },
		{ "block", "block port:tap5", false },
		{ "quarantine", "quarantine port:tap5", false },
		{ "limit 6/s", "limit default", true },
		{ "limit 5/s", "limit default", true }, /* lacks the 200/h */
		{ "limit 5/s 200/h", "limit port:tap5", false },
		{ "limit 1/s 100/h burst=3", "limit port:tap5", false },
		{ "limit 1/s 100/h burst=30", "limit default", true },
		{ "limit 1/s 100/h concurrent=7", "limit default", true },
	};

	up(5, "tap5");
	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		change("port:tap5", "drop");
		change("port:tap5", "release");
		assert_int_equal(change("port:tap5", table[i].words), 0);
		box.g.m.vms[1].first_mac = GATE_MAC_SEEN | i;
		new_mac(1, 5);
		assert_string_equal(box_effective(&box, "port:tap5", 0), table[i].after);
		assert_int_equal(box.g.m.vms[1].first_mac, 0);
		assert_string_equal(box_notice(&box, GATE_N_IDENTITY)->subject, "port:tap5");
		assert_int_equal(strstr(box_notice(&box, GATE_N_IDENTITY)->text, "dropped") != NULL,
				 table[i].dropped);
		if (table[i].dropped)
			assert_non_null(strstr(box_audit(&box, "port:tap5", 1),
					       "gate25d identity port:tap5"));
	}
}

/* A port made anew with another guest behind it: nothing of the first one's is left. */
static void test_identity_1_another_guest_has_its_own_counters(void **state)
{
	up(5, "tap5");
	assert_int_equal(change("port:tap5", "block"), 0);
	box.g.m.vms[1].first_mac = GATE_MAC_SEEN | 1;
	box.g.m.counters[1].flows_blocked = 7;
	box.g.m.buckets[gate_bucket_index(&box.g.m, 1, 0)].tat[0] = 1ULL << 60;
	gate_engine_port_down(box.e, 5);
	up(6, "tap5");
	assert_int_equal(slot_of_port(6), 1);
	new_mac(1, 6);
	assert_int_not_equal(slot_of_port(6), 1);
	const uint32_t slot = slot_of_port(6);
	assert_int_equal(box_slot(&box, "port:tap5"), slot);
	assert_int_equal(box.g.m.counters[slot].flows_blocked, 0);
	assert_int_equal(box.g.m.buckets[gate_bucket_index(&box.g.m, slot, 0)].tat[0], 0);
	assert_string_equal(box_effective(&box, "port:tap5", 0), "block port:tap5");

	/* from now on it is a running port: another MAC gains nothing */
	box.g.m.vms[slot].first_mac = GATE_MAC_SEEN | 2;
	new_mac(slot, 6);
	assert_int_equal(slot_of_port(6), slot);
}

static void test_identity_1_old_news_about_a_slot_is_none(void **state)
{
	up(5, "tap5");
	change("port:tap5", "allow");
	box.g.m.vms[1].first_mac = GATE_MAC_SEEN | 1;
	new_mac(1, 4); /* of the port that had the slot before */
	assert_string_equal(box_effective(&box, "port:tap5", 0), "allow port:tap5");
	box.g.m.vms[1].first_mac = GATE_MAC_SEEN | 2 | 9ULL << 40; /* it is the first by now */
	new_mac(1, 5);
	assert_string_equal(box_effective(&box, "port:tap5", 0), "allow port:tap5");
	box.g.m.vms[1].first_mac = GATE_MAC_SEEN | 1;
	new_mac(1, 5);
	assert_string_equal(box_effective(&box, "port:tap5", 0), "limit default");
}

static void test_identity_1_observe_and_exempt_are_lax_too(void **state)
{
	up(5, "tap5");
	change("port:tap5", "block observe=on exempt +192.0.2.1");
	new_mac(1, 5);
	assert_string_equal(box_effective(&box, "port:tap5", 0), "block port:tap5");
	assert_false(fake_gate_node(&box.g, gate_base_vm(1), 0)->flags & GATE_NODE_OBSERVE);
	assert_false(fake_gate_exempt(&box.g, GATE_EXEMPT_VM | 1, "192.0.2.1"));
}

static void test_identity_1_a_registered_vm_may_change_its_mac(void **state)
{
	box_vm(&box, "web1", "port=tap5");
	up(5, "tap5");
	change("vm:web1", "allow");
	new_mac(1, 5);
	assert_string_equal(box_effective(&box, "vm:web1", 0), "allow vm:web1");
}

static void test_a_port_that_comes_back_keeps_slot_counters_policy(void **state)
{
	up(5, "tap5");
	change("port:tap5", "allow");
	box.g.m.counters[1].flows_admitted = 7;
	box.g.m.vms[1].first_mac = GATE_MAC_SEEN | 1;
	gate_engine_port_down(box.e, 5);
	assert_int_equal(slot_of_port(5), UINT32_MAX);
	pass(59);
	assert_int_equal(up(6, "tap5"), 1);
	assert_int_equal(box.g.m.counters[1].flows_admitted, 7);
	assert_string_equal(box_effective(&box, "port:tap5", 0), "allow port:tap5");
}

static void test_after_a_minute_the_slot_goes_and_its_counts_stay_in_the_totals(void **state)
{
	up(5, "tap5");
	change("port:tap5", "allow");
	box.g.m.counters[1].flows_admitted = 7;
	box.g.m.counters[1].packets_from_vm = 70;
	box.g.m.buckets[2].tat[0] = 1;
	gate_engine_port_down(box.e, 5);
	pass(61);
	assert_int_equal(admitted(), 7);
	assert_int_equal(box.g.m.vms[1].flags, 0);
	assert_int_equal(box.g.m.counters[1].flows_admitted, 7);
	pass(3);
	assert_int_equal(admitted(), 7);
	assert_int_equal(box.g.m.counters[1].flows_admitted, 0);
	assert_int_equal(box.g.m.buckets[2].tat[0], 0);
	box_restart(&box, true);
	assert_int_equal(admitted(), 7);
	/* No MAC was ever seen: the grant did not wait for whoever comes. */
	up(6, "tap5");
	assert_string_equal(box_effective(&box, "port:tap5", 0), "limit default");
}

static void test_a_policy_waits_for_the_guest_with_the_same_mac(void **state)
{
	up(5, "tap5");
	change("port:tap5", "allow");
	box.g.m.vms[1].first_mac = GATE_MAC_SEEN | 5;
	gate_engine_port_down(box.e, 5);
	pass(65);
	assert_int_equal(box_slot(&box, "port:tap5"), -1);
	box_restart(&box, true);
	assert_int_equal(up(6, "tap5"), 1);
	assert_string_equal(box_effective(&box, "port:tap5", 0), "allow port:tap5");
	assert_int_equal(box.g.m.vms[1].first_mac, GATE_MAC_SEEN | 5);
}

static void test_a_freed_slot_rests_before_it_is_used_again(void **state)
{
	box_vm(&box, "web1", "");
	box_vm(&box, "web2", "");
	assert_int_equal(box_vm(&box, "web3", ""), GATE_ERR_FAILED);
	assert_string_equal(box.err.message, "no room for another VM (max_vms = 3)");
	assert_int_equal(box_del(&box, "web1"), 0);
	assert_int_equal(box_vm(&box, "web3", ""), GATE_ERR_FAILED);
	fake_pass(2);
	assert_int_equal(box_vm(&box, "web3", ""), 0);
}

static void test_no_slot_left_is_the_default_policy_and_said(void **state)
{
	struct gate_port p;

	up(5, "tap5");
	up(6, "tap6");
	assert_int_equal(up(7, "tap7"), -28);
	assert_true(fake_gate_port(&box.g, 7, &p));
	assert_int_equal(p.slot, GATE_SLOT_UNKNOWN);
	assert_non_null(strstr(box_problems(&box), "map_full: no slot left for port tap7"));
	gate_engine_port_down(box.e, 5);
	pass(64);
	assert_int_equal(slot_of_port(7), box_slot(&box, "port:tap7"));
	assert_string_equal(box_problems(&box), "");
}

static void test_a_renamed_port_stays_with_its_vm(void **state)
{
	box_vm(&box, "web1", "port=tap1");
	up(5, "tap5");
	up(6, "tap1");
	change("port:tap5", "allow");
	gate_engine_port_renamed(box.e, 5, "vnet5");
	assert_string_equal(box_effective(&box, "port:vnet5", 0), "allow port:vnet5");
	assert_int_equal(slot_of_port(5), (uint32_t)box_slot(&box, "port:vnet5"));
	assert_string_equal(box_effective(&box, "port:tap5", 0), "?");
	gate_engine_port_renamed(box.e, 6, "vnet6");
	assert_int_equal(slot_of_port(6), (uint32_t)box_slot(&box, "vm:web1"));
	/* Also when the daemon was dead meanwhile. */
	box_restart(&box, false);
	assert_int_equal(up(5, "eth5"), 2);
	assert_int_equal(box_slot(&box, "port:eth5"), 2);
	assert_string_equal(box_effective(&box, "port:eth5", 0), "allow port:eth5");
	assert_int_equal(up(6, "vnet6"), 1);
	assert_int_equal(box_slot(&box, "vm:web1"), 1);
	/* Renamed to what another has registered it is the other's. */
	box_vm(&box, "web2", "port=tap2");
	gate_engine_port_renamed(box.e, 5, "tap2");
	assert_int_equal(slot_of_port(5), (uint32_t)box_slot(&box, "vm:web2"));
}

/* ---- registered VMs ---- */

static void test_identity_1_registering_moves_policy_and_counters(void **state)
{
	int slot = up(5, "tap5");

	change("port:tap5", "block reason=spam");
	box.g.m.counters[slot].flows_admitted = 7;
	assert_int_equal(box_vm(&box, "web1", "port=tap5 mac=52:54:00:00:00:05"), 0);
	assert_int_equal(box_slot(&box, "vm:web1"), slot);
	assert_string_equal(box_effective(&box, "vm:web1", 0), "block vm:web1");
	assert_int_equal(box.g.m.counters[slot].flows_admitted, 7);
	assert_non_null(strstr(box_notes(&box, "vm:web1"), "what port:tap5 had of its own"));
	assert_non_null(strstr(box_notice(&box, GATE_N_IDENTITY)->text, "port:tap5"));
	/* It is a remark on the registration, not on what comes after. */
	change("vm:web1", "limit 5/s");
	assert_null(strstr(box_notes(&box, "vm:web1"), "what port:"));
	change("vm:web1", "block reason=spam");
	box_restart(&box, true);
	assert_string_equal(box_effective(&box, "vm:web1", 0), "block vm:web1");
	/* A second port is added to the slot that is there. */
	slot = up(6, "tap6");
	box.g.m.counters[slot].flows_admitted = 3;
	assert_int_equal(box_vm(&box, "web1", "port=tap5 port=tap6"), 0);
	assert_int_equal(slot_of_port(6), (uint32_t)box_slot(&box, "vm:web1"));
	assert_int_equal(box.g.m.counters[box_slot(&box, "vm:web1")].flows_admitted, 10);
	assert_int_equal(admitted(), 10);
}

static void test_identity_2_one_owner_and_the_first_is_named(void **state)
{
	static const struct {
		const char *words, *message;
	} table[] = {
		{ "port=tap1", "port tap1 belongs to vm:web1" },
		{ "mac=52:54:00:00:00:01", "MAC 52:54:00:00:00:01 belongs to vm:web1" },
		{ "ip=192.0.2.1", "address 192.0.2.1 belongs to vm:web1" },
		{ "ip=192.0.2.0/28", "address 192.0.2.0/28 belongs to vm:web1" },
		{ "ip=2001:db8::7", "address 2001:db8::7 belongs to vm:web1" },
		{ "ip=2001:db8::/32", "address 2001:db8::/32 belongs to vm:web1" },
	};

	assert_int_equal(box_vm(&box, "web1",
				"port=tap1 mac=52:54:00:00:00:01 ip=192.0.2.1 ip=2001:db8::/64"),
			 0);
	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		assert_int_equal(box_vm(&box, "web2", table[i].words), GATE_ERR_CONFLICT);
		assert_string_equal(box.err.message, table[i].message);
		assert_int_equal(box_slot(&box, "vm:web2"), -1);
	}
	assert_int_equal(box_vm(&box, "web1", "port=tap1 ip=192.0.2.1"), 0);
	assert_int_equal(box_vm(&box, "web2", "mac=52:54:00:00:00:01 ip=2001:db8::7"), 0);
}

static void test_identity_2_a_trunk_is_told_apart_by_mac(void **state)
{
	struct gate_mac_owner_key key = { .ifindex = 5, .mac = { 0x52, 0x54, 0, 0, 0, 2 } };
	struct gate_port p;
	uint32_t slot;

	up(5, "trunk0");
	assert_int_equal(box_vm(&box, "web1", "port=trunk0 mac=52:54:00:00:00:01"), 0);
	assert_int_equal(box_vm(&box, "web2", "port=trunk0 mac=52:54:00:00:00:02"), 0);
	assert_true(fake_gate_port(&box.g, 5, &p));
	assert_int_equal(p.slot, GATE_SLOT_UNKNOWN);
	assert_true(p.flags & GATE_PORT_TRUNK);
	assert_int_equal(bpf_map_lookup_elem(box.g.m.mac_owner, &key, &slot), 0);
	assert_int_equal(slot, box_slot(&box, "vm:web2"));
	assert_int_equal(change("port:trunk0", "block"), GATE_ERR_USAGE);
	assert_int_equal(box_del(&box, "web1"), 0);
	assert_true(fake_gate_port(&box.g, 5, &p));
	assert_int_equal(p.slot, box_slot(&box, "vm:web2"));
	assert_false(p.flags & GATE_PORT_TRUNK);
	assert_int_not_equal(bpf_map_lookup_elem(box.g.m.mac_owner, &key, &slot), 0);
}

static void test_identity_4_binding_of_the_vm_or_the_configuration(void **state)
{
	box.g.c.binding = GATE_BINDING_STRICT;
	gate_engine_reconfigure(box.e, &box.g.c, &box.err);
	box_vm(&box, "web1", "binding=off");
	box_vm(&box, "web2", "");
	up(5, "tap5");
	assert_int_equal(box.g.m.vms[1].binding, GATE_BINDING_OFF);
	assert_int_equal(box.g.m.vms[2].binding, GATE_BINDING_STRICT);
	assert_int_equal(box.g.m.vms[3].binding, GATE_BINDING_LEARN);
}

static void test_vm_del_leaves_the_port_on_its_own_and_the_totals(void **state)
{
	box_vm(&box, "web1", "port=tap1 tenant=acme");
	up(5, "tap1");
	change("vm:web1", "allow");
	box.g.m.counters[1].flows_admitted = 7;
	assert_int_equal(box_del(&box, "web1"), 0);
	assert_int_equal(slot_of_port(5), (uint32_t)box_slot(&box, "port:tap1"));
	assert_int_not_equal(slot_of_port(5), 1);
	assert_string_equal(box_effective(&box, "port:tap1", 0), "limit default");
	assert_int_equal(admitted(), 7);
	pass(3);
	assert_int_equal(admitted(), 7);
	assert_int_equal(box.g.m.counters[1].flows_admitted, 0);
	box_vm(&box, "web1", "");
	assert_string_equal(box_effective(&box, "vm:web1", 0), "limit default");
	assert_int_equal(box_del(&box, "nobody"), GATE_ERR_NO_SUBJECT);
}

static void test_counters_survive_a_reboot(void **state)
{
	box_vm(&box, "web1", "port=tap1");
	box.g.m.counters[1].flows_admitted = 7;
	box.g.m.counters[1].last_reply = 550;
	box.g.m.counters[0].flows_admitted = 2;
	box_restart(&box, true);
	assert_int_equal(box.g.m.counters[1].flows_admitted, 7);
	assert_int_equal(box.g.m.counters[1].last_reply, 550);
	assert_int_equal(admitted(), 9);
	box_restart(&box, false);
	assert_int_equal(admitted(), 9);
}

static void test_stale_ports_of_an_earlier_daemon_go(void **state)
{
	up(5, "tap5");
	up(6, "tap6");
	box_restart(&box, false);
	up(5, "tap5");
	pass(30);
	assert_int_equal(slot_of_port(6), (uint32_t)box_slot(&box, "port:tap6"));
	pass(40);
	assert_int_equal(slot_of_port(6), UINT32_MAX);
	assert_int_equal(box_slot(&box, "port:tap6"), -1);
	assert_int_equal(slot_of_port(5), 1);
}

static void test_other_links_are_known_and_nobodys(void **state)
{
	struct gate_port p;

	assert_int_equal(gate_engine_port_other(box.e, 2, "eth0", GATE_PORT_UPLINK), 0);
	assert_true(fake_gate_port(&box.g, 2, &p));
	assert_int_equal(p.flags, GATE_PORT_UPLINK);
	assert_int_equal(p.slot, GATE_SLOT_UNKNOWN);
	assert_int_equal(box_slot(&box, "port:eth0"), -1);
}

/* ---- dead flows ---- */

static void test_flows_2_dead_flows_are_swept(void **state)
{
	static const struct {
		uint8_t state;
		unsigned age;
		bool dies, counted_down, timed_out;
	} table[] = {
		{ GATE_FLOW_SYN_SENT, GATE_SYN_SENT_S, false, false, false },
		{ GATE_FLOW_SYN_SENT, GATE_SYN_SENT_S + 1, true, true, true },
		{ GATE_FLOW_OPEN, GATE_IDLE_S, false, false, false },
		{ GATE_FLOW_OPEN, GATE_IDLE_S + 1, true, true, false },
		{ GATE_FLOW_HALF, GATE_HALF_CLOSED_S + 1, true, true, false },
		{ GATE_FLOW_CLOSED, GATE_LINGER_S, false, false, false },
		{ GATE_FLOW_CLOSED, GATE_LINGER_S + 1, true, false, false },
	};
	struct gate_flow *flow = &box.g.m.flows[4].way[2]; /* slot 1 */
	struct gate_bucket_set *set = &box.g.m.buckets[gate_bucket_index(&box.g.m, 1, 0)];

	fake_pass(4000);
	up(5, "tap5");
	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		uint32_t now = (uint32_t)(fake_mono_ns / GATE_NSEC_PER_SEC);

		*flow = (struct gate_flow){ .fingerprint = 9,
					    .state = table[i].state,
					    .seen = now - table[i].age + (table[i].dies ? 0 : 10) };
		set->active = 1;
		box.g.m.counters[1].connects_timed_out = 0;
		box.g.m.counters[1].packets_from_vm++;
		pass(10); /* within this time every table is looked through */
		assert_int_equal(flow->fingerprint == 0, table[i].dies);
		assert_int_equal(set->active == 0, table[i].counted_down);
		assert_int_equal(box.g.m.counters[1].connects_timed_out, table[i].timed_out);
	}
}

int main(void)
{
#define BOX(f)	 cmocka_unit_test_setup_teardown(f, open_box, close_box)
#define SMALL(f) cmocka_unit_test_setup_teardown(f, open_small, close_box)
	const struct CMUnitTest tests[] = {
		BOX(test_identity_1_a_port_is_a_vm_of_its_own),
		BOX(test_identity_1_another_mac_drops_what_is_laxer),
		BOX(test_identity_1_another_guest_has_its_own_counters),
		BOX(test_identity_1_old_news_about_a_slot_is_none),
		BOX(test_identity_1_observe_and_exempt_are_lax_too),
		BOX(test_identity_1_a_registered_vm_may_change_its_mac),
		BOX(test_a_port_that_comes_back_keeps_slot_counters_policy),
		BOX(test_after_a_minute_the_slot_goes_and_its_counts_stay_in_the_totals),
		BOX(test_a_policy_waits_for_the_guest_with_the_same_mac),
		SMALL(test_a_freed_slot_rests_before_it_is_used_again),
		SMALL(test_no_slot_left_is_the_default_policy_and_said),
		BOX(test_a_renamed_port_stays_with_its_vm),
		BOX(test_identity_1_registering_moves_policy_and_counters),
		BOX(test_identity_2_one_owner_and_the_first_is_named),
		BOX(test_identity_2_a_trunk_is_told_apart_by_mac),
		BOX(test_identity_4_binding_of_the_vm_or_the_configuration),
		BOX(test_vm_del_leaves_the_port_on_its_own_and_the_totals),
		BOX(test_counters_survive_a_reboot),
		BOX(test_stale_ports_of_an_earlier_daemon_go),
		BOX(test_other_links_are_known_and_nobodys),
		BOX(test_flows_2_dead_flows_are_swept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
