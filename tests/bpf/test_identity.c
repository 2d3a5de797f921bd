// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Whose frame it is: ports, MACs, addresses, at the port and at the backstop. */
#include "policy_lab.h"

#include "near.h"
#include "usage.h"

static void test_identity_1_another_mac_on_an_unregistered_port(void **state)
{
	begin();
	gate.m.vms[TEST_SLOT].flags = GATE_VM_USED;
	set(gate_base_default(), node(GATE_BLOCK));
	set(gate_base_vm(TEST_SLOT), node(GATE_ALLOW));
	assert_int_equal(send_from(1, 7), ACT_UNSPEC);
	assert_int_equal(send_from(1, 7), ACT_UNSPEC);
	/* another guest: the laxer policy is not for it */
	assert_int_equal(send_from(1, 8), ACT_SHOT);
	assert_int_equal(send_from(1, 7), ACT_UNSPEC);
	/* a stricter one stays */
	set(gate_base_default(), node(GATE_ALLOW));
	set(gate_base_vm(TEST_SLOT), node(GATE_BLOCK));
	assert_int_equal(send_from(1, 8), ACT_SHOT);
}

static void test_identity_3_unregistered_addresses_only_tighten(void **state)
{
	uint32_t base = gate_base_override(&gate.m, OVERRIDE);
	struct gate_address any = { .base = { base } };
	struct gate_address own = { .flags = GATE_ADDR_REGISTERED, .base = { base } };
	struct gate_node lax = node(GATE_ALLOW);

	for (int by_mac = 0; by_mac < 2; by_mac++) {
		begin();
		if (by_mac)
			set_mac(GATE_SLOT_ANY, 9, any);
		else
			set_ip(GATE_SLOT_ANY, 9, any);
		/* lax: worth nothing to one who forges */
		lax.flags = GATE_NODE_OBSERVE;
		set(base, lax);
		set(gate_base_vm(TEST_SLOT), node(GATE_BLOCK));
		assert_int_equal(send_from(by_mac ? 1 : 9, by_mac ? 9 : 1), ACT_SHOT);
		/* strict: applies to whoever uses the address */
		set(base, node(GATE_BLOCK));
		set(gate_base_vm(TEST_SLOT), node(GATE_ALLOW));
		assert_int_equal(send_from(by_mac ? 1 : 9, by_mac ? 9 : 1), ACT_SHOT);
		assert_int_equal(send_from(1, 1), ACT_UNSPEC);
		/* registered: decides, laxer too */
		set(base, node(GATE_ALLOW));
		set(gate_base_vm(TEST_SLOT), node(GATE_BLOCK));
		if (by_mac)
			set_mac(TEST_SLOT, 9, own);
		else
			set_ip(TEST_SLOT, 9, own);
		assert_int_equal(send_from(by_mac ? 1 : 9, by_mac ? 9 : 1), ACT_UNSPEC);
	}
}

/* A lax policy on what is forged must not hide a strict one on something else. */
static void test_identity_3_no_lax_policy_hides_a_strict_one(void **state)
{
	struct gate_address lax = { .base = { gate_base_override(&gate.m, OVERRIDE) } };
	struct gate_address strict = { .base = { gate_base_override(&gate.m, OVERRIDE + 1) } };

	begin();
	set(gate_base_override(&gate.m, OVERRIDE), node(GATE_ALLOW));
	set(gate_base_override(&gate.m, OVERRIDE + 1), node(GATE_BLOCK));
	set_ip(GATE_SLOT_ANY, 9, lax);
	set_mac(GATE_SLOT_ANY, 1, strict);
	assert_int_equal(send_from(9, 1), ACT_SHOT);
	/* nor the default that holds for another guest on an unregistered port */
	begin();
	gate.m.vms[TEST_SLOT].flags = GATE_VM_USED;
	set(gate_base_override(&gate.m, OVERRIDE), node(GATE_ALLOW));
	set_ip(GATE_SLOT_ANY, 9, lax);
	set(gate_base_default(), node(GATE_BLOCK));
	set(gate_base_vm(TEST_SLOT), node(GATE_ALLOW));
	assert_int_equal(send_from(1, 7), ACT_UNSPEC);
	assert_int_equal(send_from(9, 8), ACT_SHOT);
}

static void test_identity_3_forging_brings_no_second_allowance(void **state)
{
	uint32_t base = gate_base_override(&gate.m, OVERRIDE);
	struct gate_address any = { .base = { base } };
	struct gate_node own = testgate_limit(1, 5), other = testgate_limit(1, 5);
	int admitted = 0;

	begin();
	own.concurrent = 4;
	other.concurrent = 4;
	set_ip(GATE_SLOT_ANY, 0, any);
	set(base, other);
	set(gate_base_vm(TEST_SLOT), own);
	for (int i = 0; i < 200; i++)
		admitted += send_from(i % 2 ? 10 + i : 0x100 + i, 1) == ACT_UNSPEC;
	assert_in_range(admitted, 1, 4);
	assert_int_equal(counters()->flows_admitted, admitted);
}

static void test_identity_4_strict_binding(void **state)
{
	struct gate_address own = { .flags = GATE_ADDR_REGISTERED };
	struct gate_address pair = { .flags = GATE_ADDR_ALLOWED };

	begin();
	gate.m.vms[TEST_SLOT].binding = GATE_BINDING_STRICT;
	set_mac(TEST_SLOT, 1, own);
	set_ip(TEST_SLOT, 1, own);
	set_ip(TEST_SLOT, 3, pair);
	assert_int_equal(send_from(1, 1), ACT_UNSPEC);
	assert_int_equal(send_from(3, 1), ACT_UNSPEC);
	assert_int_equal(send_from(1, 5), ACT_SHOT);
	assert_int_equal(testgate_reason(&gate, GATE_R_SPOOFED_MAC, false), 1);
	assert_int_equal(send_from(4, 1), ACT_SHOT);
	assert_int_equal(testgate_reason(&gate, GATE_R_SPOOFED_IP, false), 1);
	assert_int_equal(counters()->spoofed, 2);
	gate.m.vms[TEST_SLOT].binding = GATE_BINDING_OFF;
	assert_int_equal(send_from(4, 5), ACT_UNSPEC);
}

/* 100,000 forged MACs and addresses bring nothing: same bucket, no map entry. */
static void test_forging_gains_nothing(void **state)
{
	struct gate_untold_sums untold;
	int admitted = 0;

	begin();
	gate.m.vms[TEST_SLOT].flags = GATE_VM_USED;
	set(gate_base_default(), testgate_limit(1, 10));
	for (int i = 0; i < 100000; i++) {
		struct frame_spec spec = { .sport = 1024 + i % 60000,
					   .src = i + 1,
					   .src_mac = { 2, 1, i >> 16, i >> 8, i, 1 } };

		admitted += testgate_send(&gate, TEST_FROM_VM, "eth ip4 tcp", &spec) == ACT_UNSPEC;
	}
	/* 10 at once and one a second for as long as it took */
	assert_in_range(admitted, 10, 10 + 60);
	assert_int_equal(counters()->flows_admitted, admitted);
	assert_int_equal(counters()->flows_limited, 100000 - admitted);
	/* and the ring was not flooded either: 20 at once, 5 a second */
	gate_usage_untold(&gate.m, &untold);
	assert_true(untold.rationed > 90000);
	assert_int_equal(untold.lost, 0);
}

static void test_trunk_tells_vms_apart_by_mac(void **state)
{
	struct gate_port trunk = { .slot = TEST_SLOT, .flags = GATE_PORT_VM | GATE_PORT_TRUNK };
	struct gate_mac_owner_key key = { .ifindex = TEST_IFINDEX, .mac = { 2, 0, 0, 0, 0, 9 } };
	uint32_t ifindex = TEST_IFINDEX, slot = TEST_SLOT2;

	begin();
	bpf_map_update_elem(gate.m.ports, &ifindex, &trunk, 0);
	gate_maps_ports_changed(&gate.m);
	bpf_map_update_elem(gate.m.mac_owner, &key, &slot, 0);
	gate_maps_ports_changed(&gate.m);
	set(gate_base_vm(TEST_SLOT2), node(GATE_BLOCK));
	assert_int_equal(send_from(1, 1), ACT_UNSPEC);
	assert_int_equal(send_from(1, 9), ACT_SHOT);
	assert_int_equal(gate.m.counters[TEST_SLOT2].flows_blocked, 1);
	assert_int_equal(counters()->flows_admitted, 1);
}

/* Gives a MAC of the trunk to a slot, -1 = to nobody, as the daemon does; near at hand too or not.
 */
static void give_mac(struct gate_near *near, uint8_t last, int to)
{
	struct gate_mac_owner_key key = { .ifindex = TEST_IFINDEX, .mac = { 2, [5] = last } };
	struct gate_near_entry e = { GATE_NEAR_OWNER, TEST_IFINDEX, (uint32_t)to, key.mac };
	uint32_t slot = to;

	if (near)
		gate_near_del(near, &e);
	if (to < 0)
		assert_int_equal(bpf_map_delete_elem(gate.m.mac_owner, &key), 0);
	else
		assert_int_equal(bpf_map_update_elem(gate.m.mac_owner, &key, &slot, 0), 0);
	if (near && to >= 0)
		gate_near_put(near, &e);
}

static void macs_change_hands(struct gate_near *near)
{
	enum { NOBODY = -1, KEEP = -2, FIRST = TEST_SLOT, SECOND = TEST_SLOT2 };
	static const struct {
		const char *what;
		uint8_t mac;
		int to;
		uint32_t slot; /* of the VM that sends by it then */
	} rows[] = {
		{ "registered with nobody: the port's own VM", 9, KEEP, FIRST },
		{ "registered", 9, SECOND, SECOND },
		{ "another one is still nobody's", 8, KEEP, FIRST },
		{ "as it was", 9, KEEP, SECOND },
		{ "given to another VM", 9, FIRST, FIRST },
		{ "and back", 9, SECOND, SECOND },
		{ "the VM's second MAC", 8, SECOND, SECOND },
		{ "the first stays", 9, KEEP, SECOND },
		{ "unregistered", 9, NOBODY, FIRST },
		{ "the second stays", 8, KEEP, SECOND },
	};
	struct gate_port trunk = { .slot = TEST_SLOT, .flags = GATE_PORT_VM | GATE_PORT_TRUNK };
	uint32_t ifindex = TEST_IFINDEX;

	begin();
	set(gate_base_vm(TEST_SLOT2), node(GATE_BLOCK));
	bpf_map_update_elem(gate.m.ports, &ifindex, &trunk, 0);
	gate_maps_ports_changed(&gate.m);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t before = gate.m.counters[rows[i].slot].packets_from_vm;
		bool first = rows[i].slot == FIRST;

		if (rows[i].to != KEEP)
			give_mac(near, rows[i].mac, rows[i].to);
		for (int n = 0; n < 3; n++)
			if (send_from(1, rows[i].mac) != (first ? ACT_UNSPEC : ACT_SHOT))
				fail_msg("row %zu: %s: the wrong verdict", i, rows[i].what);
		if (gate.m.counters[rows[i].slot].packets_from_vm - before != 3)
			fail_msg("row %zu: %s: counted elsewhere", i, rows[i].what);
	}
	/* the same MAC on another port is another guest's */
	ifindex = 101;
	bpf_map_update_elem(gate.m.ports, &ifindex, &trunk, 0);
	gate_maps_ports_changed(&gate.m);
	assert_int_equal(send_from(1, 8), ACT_SHOT);
	struct frame_spec spec = { .sport = next_port++, .src = 1, .src_mac = { 2, [5] = 8 } };
	uint8_t frame[FRAME_MAX];
	int len = frame_build("eth ip4 tcp", &spec, frame);
	assert_int_equal(testgate_run(&gate, TEST_UPLINK_OUT, frame, len, ifindex), ACT_UNSPEC);
}

/* The change of a MAC's owner holds for the next frame, wherever the MAC is found. */
static void test_trunk_macs_change_hands(void **state)
{
	struct gate_near near;

	macs_change_hands(NULL);
	gate_near_open(&near, &gate.m);
	macs_change_hands(&near);
	gate_near_close(&near);
}

/* ---- MACs near at hand ---- */

static void set_near(uint64_t kind, uint32_t scope, uint8_t last, uint32_t value)
{
	const uint8_t mac[6] = { 2, 0, 0, 0, 0, last };
	struct gate_near near;

	gate_near_open(&near, &gate.m);
	gate_near_put(&near, &(struct gate_near_entry){ kind, scope, value, mac });
	gate_near_close(&near);
}

/* Another scope, from `scope` on, in which the MAC has its place in the same line. */
static uint32_t neighbour(uint64_t kind, uint32_t scope, uint8_t last)
{
	const uint64_t key = kind | 2 | (uint64_t)last << 40;
	const uint32_t vms = gate.m.conf->max_vms, here = gate_near_place(key, scope, vms);

	do
		scope++;
	while (gate_near_place(key, scope, vms) != here);
	return scope;
}

static void test_a_near_owner_is_found_without_its_hash(void **state)
{
	struct gate_port trunk = { .slot = TEST_SLOT, .flags = GATE_PORT_VM | GATE_PORT_TRUNK };
	uint32_t ifindex = TEST_IFINDEX;

	begin();
	bpf_map_update_elem(gate.m.ports, &ifindex, &trunk, 0);
	gate_maps_ports_changed(&gate.m);
	set(gate_base_vm(TEST_SLOT2), node(GATE_BLOCK));
	set_near(GATE_NEAR_OWNER, TEST_IFINDEX, 9, TEST_SLOT2);
	/* behind another port */
	set_near(GATE_NEAR_OWNER, neighbour(GATE_NEAR_OWNER, TEST_IFINDEX, 8), 8, TEST_SLOT2);
	set_near(GATE_NEAR_VM, TEST_IFINDEX, 7, TEST_SLOT2); /* says nothing of owners */
	assert_int_equal(send_from(1, 9), ACT_SHOT);
	assert_int_equal(send_from(1, 8), ACT_UNSPEC);
	assert_int_equal(send_from(1, 7), ACT_UNSPEC);
	assert_int_equal(gate.m.counters[TEST_SLOT2].flows_blocked, 1);
	assert_int_equal(counters()->flows_admitted, 2);
}

static void test_a_near_mac_is_the_vms_own(void **state)
{
	struct gate_address any = { .base = { gate_base_override(&gate.m, OVERRIDE) } };

	begin();
	gate.m.vms[TEST_SLOT].binding = GATE_BINDING_STRICT;
	gate.m.vms[TEST_SLOT].flags |= GATE_VM_MACS;
	set_near(GATE_NEAR_VM, TEST_SLOT, 9, GATE_ADDR_REGISTERED);
	set_near(GATE_NEAR_VM, TEST_SLOT2, 8, GATE_ADDR_REGISTERED);
	assert_int_equal(send_from(1, 9), ACT_UNSPEC);
	assert_int_equal(send_from(1, 8), ACT_SHOT);
	assert_int_equal(testgate_reason(&gate, GATE_R_SPOOFED_MAC, false), 1);
	/* what is in force for a MAC that nobody registered is not for its owner */
	set(any.base[0], node(GATE_BLOCK));
	set_mac(GATE_SLOT_ANY, 9, any);
	assert_int_equal(send_from(1, 9), ACT_UNSPEC);
	assert_int_equal(counters()->flows_admitted, 2);
	assert_int_equal(counters()->spoofed, 1);
}

static void test_identity_4_learn_tells_a_new_source_once(void **state)
{
	struct gate_untold_sums untold;

	begin();
	gate.m.vms[TEST_SLOT].binding = GATE_BINDING_LEARN;
	gate.m.vms[TEST_SLOT].event_tat = testgate_now() + 3600000000000ULL; /* ration is spent */
	for (int i = 0; i < 3; i++) {
		send_from(1, 1);
		send_from(2, 1);
	}
	gate_usage_untold(&gate.m, &untold);
	assert_int_equal(untold.rationed, 2);
	assert_int_equal(counters()->flows_admitted, 6);
}
/* ---- the backstop ---- */

static int uplink(uint32_t ingress)
{
	struct frame_spec spec = { .sport = next_port++ };
	uint8_t frame[FRAME_MAX];
	int len = frame_build("eth ip4 tcp", &spec, frame);

	return testgate_run(&gate, TEST_UPLINK_OUT, frame, len, ingress);
}

static void test_backstop(void **state)
{
	struct gate_port judged = { .slot = TEST_SLOT, .flags = GATE_PORT_VM | GATE_PORT_JUDGED };
	struct gate_port bare = { .slot = TEST_SLOT, .flags = GATE_PORT_VM };
	struct gate_port other = { .flags = 0 };
	uint32_t j = 101, b = 102, o = 103;

	begin();
	bpf_map_update_elem(gate.m.ports, &j, &judged, 0);
	gate_maps_ports_changed(&gate.m);
	bpf_map_update_elem(gate.m.ports, &b, &bare, 0);
	gate_maps_ports_changed(&gate.m);
	bpf_map_update_elem(gate.m.ports, &o, &other, 0);
	gate_maps_ports_changed(&gate.m);
	set(gate_base_default(), testgate_limit(1, 2));
	set(gate_base_vm(TEST_SLOT), node(GATE_BLOCK));
	assert_int_equal(uplink(j), ACT_UNSPEC); /* from_vm has judged it */
	assert_int_equal(testgate_reason(&gate, GATE_R_JUDGED, false), 1);
	assert_int_equal(counters()->packets_from_vm, 0); /* counted once, at its port */
	assert_int_equal(uplink(b), ACT_SHOT);		  /* full policy of the VM here */
	assert_int_equal(counters()->flows_blocked, 1);
	assert_int_equal(uplink(0), ACT_UNSPEC); /* the host's own mail */
	assert_int_equal(testgate_reason(&gate, GATE_R_HOST, false), 1);
	assert_int_equal(uplink(o), ACT_UNSPEC); /* forwarded = pass */
	assert_int_equal(testgate_reason(&gate, GATE_R_FORWARDED, false), 1);
	/* never seen: the default, one bucket for all of them */
	for (int i = 0; i < 10; i++)
		assert_int_equal(uplink(5000 + i), i < 2 ? ACT_UNSPEC : ACT_SHOT);
	assert_int_equal(gate.m.counters[0].flows_admitted, 2);
	assert_int_equal(gate.m.counters[0].flows_limited, 8);
	gate.m.conf->flags |= GATE_CONF_FORWARD_DROP;
	assert_int_equal(uplink(o), ACT_SHOT);
}

/* What the daemon would never write gives nobody a way out. */
static void test_a_slot_that_is_not_there_opens_nothing(void **state)
{
	struct gate_port wild = { .slot = 0x7fffffff, .flags = GATE_PORT_VM };
	uint32_t ifindex = TEST_IFINDEX, away = 101;

	begin();
	set(gate_base_default(), node(GATE_BLOCK));
	bpf_map_update_elem(gate.m.ports, &ifindex, &wild, 0);
	bpf_map_update_elem(gate.m.ports, &away, &wild, 0);
	gate_maps_ports_changed(&gate.m);
	assert_int_equal(send_one(), ACT_SHOT);
	assert_int_equal(uplink(away), ACT_SHOT);
	assert_int_equal(gate.m.counters[GATE_SLOT_UNKNOWN].flows_blocked, 2);
	assert_int_equal(testgate_reason(&gate, GATE_R_BLOCKED, false), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_identity_1_another_mac_on_an_unregistered_port),
		cmocka_unit_test(test_identity_3_unregistered_addresses_only_tighten),
		cmocka_unit_test(test_identity_3_no_lax_policy_hides_a_strict_one),
		cmocka_unit_test(test_identity_3_forging_brings_no_second_allowance),
		cmocka_unit_test(test_identity_4_strict_binding),
		cmocka_unit_test(test_forging_gains_nothing),
		cmocka_unit_test(test_trunk_tells_vms_apart_by_mac),
		cmocka_unit_test(test_trunk_macs_change_hands),
		cmocka_unit_test(test_a_near_owner_is_found_without_its_hash),
		cmocka_unit_test(test_a_near_mac_is_the_vms_own),
		cmocka_unit_test(test_identity_4_learn_tells_a_new_source_once),
		cmocka_unit_test(test_backstop),
		cmocka_unit_test(test_a_slot_that_is_not_there_opens_nothing),
	};

	return cmocka_run_group_tests(tests, open_gate, close_gate);
}
