// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Identity: VMs that somebody has registered, and what they bring along or leave behind. */
#include "ports_lab.h"

#include <unistd.h>

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

/* Who is behind a trunk, as the programs find it while no daemon, or a new one, knows of ports. */
static uint32_t owner(uint32_t ifindex, uint8_t last)
{
	struct gate_mac_owner_key key = { .ifindex = ifindex,
					  .mac = { 0x52, 0x54, 0, 0, 0, last } };
	uint32_t slot;

	return bpf_map_lookup_elem(box.g.m.mac_owner, &key, &slot) ? UINT32_MAX : slot;
}

static void open_trunk(void)
{
	up(5, "trunk0");
	assert_int_equal(box_vm(&box, "web1", "port=trunk0 mac=52:54:00:00:00:01"), 0);
	assert_int_equal(box_vm(&box, "web2", "port=trunk0 mac=52:54:00:00:00:02"), 0);
}

static void test_a_restart_leaves_those_behind_a_trunk_their_frames(void **state)
{
	struct gate_mac_owner_key stale = { .ifindex = 5, .mac = { 0x52, 0x54, 0, 0, 0, 9 } };
	const uint32_t one = 1;

	open_trunk();
	assert_int_equal(bpf_map_update_elem(box.g.m.mac_owner, &stale, &one, BPF_ANY), 0);
	box_restart(&box, false);
	/* before the daemon has asked for links, which takes it a while */
	assert_int_equal(owner(5, 1), box_slot(&box, "vm:web1"));
	assert_int_equal(owner(5, 2), box_slot(&box, "vm:web2"));
	assert_int_equal(owner(5, 9), UINT32_MAX); /* nobody's */
	up(5, "trunk0");
	assert_int_equal(owner(5, 1), box_slot(&box, "vm:web1"));
	box_restart(&box, false);
	up(5, "tap5"); /* it was renamed meanwhile: no trunk any more */
	assert_int_equal(owner(5, 1), UINT32_MAX);
	assert_int_equal(owner(5, 2), UINT32_MAX);
	gate_engine_port_down(box.e, 5);
	open_trunk();
	box_restart(&box, false);
	pass(61); /* the link is gone */
	assert_int_equal(owner(5, 1), UINT32_MAX);
	assert_int_equal(slot_of_port(5), UINT32_MAX);
}

static void test_without_a_store_those_behind_a_trunk_keep_their_policy(void **state)
{
	struct gate_port p;

	up(1, "lo"); /* a link that is there: names are asked of the kernel */
	assert_int_equal(box_vm(&box, "web1", "port=lo mac=52:54:00:00:00:01"), 0);
	assert_int_equal(
		box_vm(&box, "web2", "port=lo mac=52:54:00:00:00:02 mac=52:54:00:00:00:03"), 0);
	change("vm:web2", "block");
	gate_engine_close(box.e);
	assert_int_equal(unlink(box.g.store), 0);
	assert_int_equal(gate_engine_open(&box.e, &box.g.c, &box.g.m, &box.err), 0);
	up(1, "lo");
	assert_true(fake_gate_port(&box.g, 1, &p));
	assert_true(p.flags & GATE_PORT_TRUNK);
	assert_int_equal(owner(1, 1), box_slot(&box, "vm:web1"));
	assert_int_equal(owner(1, 2), box_slot(&box, "vm:web2"));
	assert_int_equal(owner(1, 3), box_slot(&box, "vm:web2"));
	assert_string_equal(box_effective(&box, "vm:web2", 0), "block vm:web2");
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOX(test_identity_1_registering_moves_policy_and_counters),
		BOX(test_identity_2_one_owner_and_the_first_is_named),
		BOX(test_identity_2_a_trunk_is_told_apart_by_mac),
		BOX(test_a_restart_leaves_those_behind_a_trunk_their_frames),
		BOX(test_without_a_store_those_behind_a_trunk_keep_their_policy),
		BOX(test_identity_4_binding_of_the_vm_or_the_configuration),
		BOX(test_vm_del_leaves_the_port_on_its_own_and_the_totals),
		BOX(test_counters_survive_a_reboot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
