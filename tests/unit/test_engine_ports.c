// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Identity: ports that come, go and change hands; slots, counters and dead flows. */
#include "ports_lab.h"

#include <errno.h>
#include <sqlite3.h>

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

static void run(const char *query)
{
	sqlite3 *db = NULL;

	assert_int_equal(sqlite3_open(box.g.store, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, query, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

/* A disk that is full at that moment: the store is made to follow once it can be written. */
static void test_what_a_port_leaves_is_saved_later(void **state)
{
	up(5, "tap5");
	up(6, "tap6");
	change("port:tap5", "allow");
	change("port:tap6", "allow");
	run("CREATE TRIGGER t BEFORE DELETE ON subjects BEGIN SELECT RAISE(ABORT, 'full'); END");
	gate_engine_port_renamed(box.e, 6, "vnet6");
	gate_engine_port_down(box.e, 5);
	for (unsigned i = 0; i < 65; i++)
		pass(1);
	run("DROP TRIGGER t");
	pass(6);
	assert_string_equal(box_problems(&box), "");
	box_restart(&box, true);
	up(5, "tap5");
	up(6, "tap6");
	up(7, "vnet6");
	assert_string_equal(box_effective(&box, "port:tap5", 0), "limit default");
	assert_string_equal(box_effective(&box, "port:tap6", 0), "limit default");
	assert_string_equal(box_effective(&box, "port:vnet6", 0), "allow port:vnet6");
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

/* Such as the host end of a firewall pair: the entry is none of the engine's. */
static void test_a_port_that_is_forgotten_keeps_its_entry(void **state)
{
	struct gate_port p = { .flags = GATE_PORT_VM | GATE_PORT_JUDGED };
	const uint32_t fwpr = 7;

	p.slot = (uint32_t)up(5, "tap5");
	assert_int_equal(bpf_map_update_elem(box.g.m.ports, &fwpr, &p, BPF_ANY), 0);
	box_restart(&box, false);
	up(5, "tap5");
	gate_engine_port_forget(box.e, 5); /* that one is its own by now */
	gate_engine_port_forget(box.e, fwpr);
	gate_engine_port_forget(box.e, 99);
	for (int i = 0; i < 70; i++) {
		pass(1);
		assert_int_equal(slot_of_port(fwpr), p.slot);
		assert_int_equal(slot_of_port(5), p.slot);
	}
	/* what others take out and the engine puts is written */
	assert_int_equal(bpf_map_delete_elem(box.g.m.ports, &fwpr), 0);
	gate_engine_port_up(box.e, fwpr, "tap7", p.flags);
	assert_int_equal(slot_of_port(fwpr), box_slot(&box, "port:tap7"));
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

/* Two that swap names between two looks: each goes on with what is its own. */
static void test_ports_that_swap_names_keep_their_own(void **state)
{
	up(5, "tap5");
	up(6, "tap6");
	change("port:tap5", "allow");
	change("port:tap6", "block");
	box.g.m.counters[2].flows_blocked = 7;
	gate_engine_port_renamed(box.e, 5, "tap6");
	gate_engine_port_renamed(box.e, 6, "tap5");
	assert_string_equal(box_effective(&box, "port:tap6", 0), "allow port:tap6");
	assert_string_equal(box_effective(&box, "port:tap5", 0), "block port:tap5");
	assert_int_equal(slot_of_port(5), 1);
	assert_int_equal(slot_of_port(6), 2);
	assert_int_equal(box_slot(&box, "port:tap5"), 2);
	assert_int_equal(box.g.m.counters[2].flows_blocked, 7);
	/* Again while no daemon runs. */
	box_restart(&box, false);
	assert_int_equal(up(5, "tap5"), 1);
	assert_int_equal(up(6, "tap6"), 2);
	assert_string_equal(box_effective(&box, "port:tap5", 0), "allow port:tap5");
	assert_string_equal(box_effective(&box, "port:tap6", 0), "block port:tap6");
	/* In a ring of three, and one of them has nothing of its own. */
	up(7, "tap7");
	gate_engine_port_renamed(box.e, 5, "tap6");
	gate_engine_port_renamed(box.e, 6, "tap7");
	gate_engine_port_renamed(box.e, 7, "tap5");
	assert_string_equal(box_effective(&box, "port:tap6", 0), "allow port:tap6");
	assert_string_equal(box_effective(&box, "port:tap7", 0), "block port:tap7");
	assert_string_equal(box_effective(&box, "port:tap5", 0), "limit default");
	box_restart(&box, true);
	up(8, "tap7");
	assert_string_equal(box_effective(&box, "port:tap7", 0), "block port:tap7");
}

/* What was said of a port under its old name is not said for good. */
static void test_a_full_map_is_told_by_the_name_of_now(void **state)
{
	up(5, "tap5");
	up(6, "tap6");
	assert_int_equal(up(7, "tap7"), -ENOSPC);
	assert_non_null(strstr(box_problems(&box), "tap7"));
	gate_engine_port_renamed(box.e, 7, "vnet7");
	assert_null(strstr(box_problems(&box), "tap7"));
	assert_non_null(strstr(box_problems(&box), "vnet7"));
	gate_engine_port_down(box.e, 7);
	assert_string_equal(box_problems(&box), "");
}

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOX(test_identity_1_a_port_is_a_vm_of_its_own),
		BOX(test_identity_1_another_mac_drops_what_is_laxer),
		BOX(test_identity_1_another_guest_has_its_own_counters),
		BOX(test_identity_1_old_news_about_a_slot_is_none),
		BOX(test_identity_1_observe_and_exempt_are_lax_too),
		BOX(test_identity_1_a_registered_vm_may_change_its_mac),
		BOX(test_a_port_that_comes_back_keeps_slot_counters_policy),
		BOX(test_after_a_minute_the_slot_goes_and_its_counts_stay_in_the_totals),
		BOX(test_what_a_port_leaves_is_saved_later),
		BOX(test_a_policy_waits_for_the_guest_with_the_same_mac),
		BOX(test_a_port_that_is_forgotten_keeps_its_entry),
		SMALL(test_a_freed_slot_rests_before_it_is_used_again),
		SMALL(test_no_slot_left_is_the_default_policy_and_said),
		BOX(test_a_renamed_port_stays_with_its_vm),
		BOX(test_ports_that_swap_names_keep_their_own),
		SMALL(test_a_full_map_is_told_by_the_name_of_now),
		BOX(test_stale_ports_of_an_earlier_daemon_go),
		BOX(test_other_links_are_known_and_nobodys),
		BOX(test_flows_2_dead_flows_are_swept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
