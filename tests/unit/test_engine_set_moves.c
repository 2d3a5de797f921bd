// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* What an applied set gives to other VMs has an owner, a slot and its events at every moment. */
#include "set_lab.h"

#include <bpf/bpf.h>

/* All VMs go and as many others come: their numbers are wanted before they have rested. */
static void test_a_set_of_other_vms_is_in_force_as_a_whole(void **state)
{
	struct item_list l = { 0 };
	char name[16];

	for (int i = 0; i < 15; i++) {
		snprintf(name, sizeof(name), "old%d", i);
		assert_int_equal(box_vm(&box, name, ""), 0);
		snprintf(name, sizeof(name), "vm:new%d", i);
		add_vm(&l, name + 3);
		add_own(&l, name, GATE_BLOCK);
	}
	box.g.m.counters[15].flows_admitted = 7;
	box.g.m.buckets[gate_bucket_index(&box.g.m, 15, 0)].tat[0] = 7;
	if (apply(&l, false))
		fail_msg("%s", box.err.message);
	for (int i = 0; i < 15; i++) {
		snprintf(name, sizeof(name), "vm:new%d", i);
		assert_true(box_slot(&box, name) > 0);
		assert_int_equal(
			fake_gate_node(&box.g, gate_base_vm((uint32_t)box_slot(&box, name)), 0)
				->state,
			GATE_BLOCK);
	}
	assert_int_equal(box.g.m.counters[15].flows_admitted, 0);
	assert_int_equal(box.g.m.buckets[gate_bucket_index(&box.g.m, 15, 0)].tat[0], 0);
	clear(&l);
}

/* In a full table a slot gets its next VM while the ring may still hold what the last one did. */
static void test_old_events_are_not_told_of_the_next_vm_of_a_slot(void **state)
{
	struct gate_event ev = { .type = GATE_E_REFUSED, .reason = GATE_R_BLOCKED, .family = 4 };
	struct item_list l = { 0 };
	char name[16];

	for (int i = 0; i < 15; i++) {
		snprintf(name, sizeof(name), "old%d", i);
		assert_int_equal(box_vm(&box, name, ""), 0);
		snprintf(name, sizeof(name), "new%d", i);
		add_vm(&l, name);
	}
	ev.slot = (uint32_t)box_slot(&box, "vm:old3");
	ev.time = gate_clock_mono_ns();
	fake_pass(1);
	assert_int_equal(apply(&l, false), 0);
	gate_engine_event(box.e, &ev);
	assert_string_equal(box_notice(&box, GATE_N_REFUSED)->subject, "unknown");
	ev.time = gate_clock_mono_ns();
	gate_engine_event(box.e, &ev);
	assert_memory_equal(box_notice(&box, GATE_N_REFUSED)->subject, "vm:new", 6);
	clear(&l);
}

/* A VM that goes leaves its ports, which are VMs of their own then, unless another has them. */
static void test_ports_that_are_left_take_room(void **state)
{
	struct item_list l = { 0 };
	char name[16];

	box_vm(&box, "old", "port=tap1 port=tap2");
	gate_engine_port_up(box.e, 1, "tap1", GATE_PORT_VM);
	gate_engine_port_up(box.e, 2, "tap2", GATE_PORT_VM);
	for (int i = 0; i < 14; i++) {
		snprintf(name, sizeof(name), "new%d", i);
		add_vm(&l, name);
	}
	assert_int_equal(apply(&l, false), GATE_ERR_FAILED);
	assert_string_equal(box.err.message,
			    "no room for 14 VMs and 2 ports that nobody has (max_vms = 16)");
	assert_true(box_slot(&box, "vm:old") > 0);
	l.items[3].vm.ports = gate_alloc(1, sizeof(*l.items[3].vm.ports));
	strcpy(l.items[3].vm.ports[l.items[3].vm.nports++], "tap2");
	assert_int_equal(apply(&l, false), 0);
	for (int i = 0; i < 14; i++) {
		snprintf(name, sizeof(name), "vm:new%d", i);
		assert_true(box_slot(&box, name) > 0);
	}
	assert_true(box_slot(&box, "port:tap1") > 0);
	assert_int_equal(apply(&l, false), 0); /* and again */
	clear(&l);
}

static void test_vms_may_swap_what_they_have(void **state)
{
	struct gate_address a;
	struct item_list l = { 0 };

	box_vm(&box, "a", "mac=52:54:00:00:00:01 ip=192.0.2.1");
	box_vm(&box, "b", "mac=52:54:00:00:00:02 ip=192.0.2.2");
	give_mac(add_vm(&l, "a"), 2);
	give_ip(&l.items[0], "192.0.2.2");
	give_mac(add_vm(&l, "b"), 1);
	give_ip(&l.items[1], "192.0.2.1");
	assert_int_equal(apply(&l, false), 0);
	assert_true(fake_gate_ip(&box.g, (uint32_t)box_slot(&box, "vm:a"), "192.0.2.2", &a));
	assert_false(fake_gate_ip(&box.g, (uint32_t)box_slot(&box, "vm:a"), "192.0.2.1", &a));
	assert_int_equal(box_slot(&box, "mac:52:54:00:00:00:01"), box_slot(&box, "vm:b"));
	assert_int_equal(box_vm(&box, "c", "mac=52:54:00:00:00:01"), GATE_ERR_CONFLICT);
	assert_string_equal(box.err.message, "MAC 52:54:00:00:00:01 belongs to vm:b");
	clear(&l);
}

static bool has_owner(uint32_t ifindex, uint8_t last)
{
	struct gate_mac_owner_key key = { .ifindex = ifindex, .mac = { 0x52, 0x54, [5] = last } };
	uint32_t slot;

	return !bpf_map_lookup_elem(box.g.m.mac_owner, &key, &slot);
}

static bool address_has_owner(uint8_t last)
{
	struct gate_ip_key key = { .prefixlen = 32 + 128,
				   .addr = { [10] = 0xff, 0xff, 192, 0, 2, last } };
	uint32_t slot;

	return !bpf_map_lookup_elem(box.g.m.ip_owner, &key, &slot);
}

static unsigned looks;

static void look_for_owners(void)
{
	struct gate_port port;

	looks++;
	for (uint8_t i = 1; i <= 3; i++) {
		assert_true(has_owner(0, i));
		assert_true(has_owner(5, i));
		assert_true(address_has_owner(i));
		assert_true(fake_gate_port(&box.g, 10U + i, &port) && port.slot);
		assert_true(box.g.m.vms[port.slot].flags & GATE_VM_REGISTERED);
	}
}

static void give_ports(struct gate_set_item *item, const char *own)
{
	item->vm.ports = gate_alloc(item->vm.nports = 2, sizeof(*item->vm.ports));
	strcpy(item->vm.ports[0], "trunk");
	strcpy(item->vm.ports[1], own);
}

/* In uplink mode and behind a trunk the default policy would have their frames. */
static void test_what_goes_from_one_vm_to_another_has_an_owner_at_every_moment(void **state)
{
	static const char *const names[] = { "a", "b", "c" },
				 *const taps[] = { "tap1", "tap2", "tap3" },
				 *const addresses[] = { "192.0.2.1", "192.0.2.2", "192.0.2.3" };

	box.g.c.uplink_mode = true;
	gate_engine_port_up(box.e, 5, "trunk", 0);
	for (uint32_t i = 0; i < 3; i++)
		gate_engine_port_up(box.e, 11 + i, taps[i], 0);
	for (unsigned turn = 0; turn < 4; turn++) { /* each gets what another had */
		const unsigned by = turn < 2 ? turn : 4 - turn;
		struct item_list l = { 0 };

		for (unsigned i = 0; i < 3; i++) {
			const unsigned n = (i + by) % 3;
			struct gate_set_item *item = add_vm(&l, names[i]);

			give_ports(item, taps[n]);
			give_mac(item, (uint8_t)(n + 1));
			give_ip(item, addresses[n]);
		}
		looks = 0;
		fake_clock_asked = turn ? look_for_owners : NULL;
		if (apply(&l, false))
			fail_msg("%s", box.err.message);
		fake_clock_asked = NULL;
		assert_true(!turn || looks);
		look_for_owners();
		assert_int_equal(box_slot(&box, "mac:52:54:00:00:00:01"),
				 box_slot(&box, by ? by == 1 ? "vm:c" : "vm:b" : "vm:a"));
		clear(&l);
		fake_pass(3);
		gate_engine_tick(box.e, fake_now());
	}
}

int main(void)
{
#define BOX(f) cmocka_unit_test_setup_teardown(f, open_box, close_box)
	const struct CMUnitTest tests[] = {
		BOX(test_a_set_of_other_vms_is_in_force_as_a_whole),
		BOX(test_old_events_are_not_told_of_the_next_vm_of_a_slot),
		BOX(test_ports_that_are_left_take_room),
		BOX(test_vms_may_swap_what_they_have),
		BOX(test_what_goes_from_one_vm_to_another_has_an_owner_at_every_moment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
