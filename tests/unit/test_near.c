// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* MACs near at hand: never more than the hashes say, and found where there is room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "../lib/enginebox.h"
#include "../lib/fakeclock.h"
#include "near.h"

#include <bpf/bpf.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#define VMS    16
#define PLACES (gate_near_sets(VMS) * GATE_NEAR_WAYS)
#define REG    GATE_ADDR_REGISTERED

static struct enginebox box;

static int open_box(void **state)
{
	box_open(&box, VMS, NULL);
	return 0;
}

static int close_box(void **state)
{
	box_close(&box);
	return 0;
}

static const struct gate_near_mac *place(uint32_t i)
{
	return &box.g.m.near_macs[i / GATE_NEAR_WAYS].way[i % GATE_NEAR_WAYS];
}

static uint64_t key_of(uint64_t kind, uint32_t last)
{
	return kind | 0x52ULL | 0x54ULL << 8 | (uint64_t)(last & 0xff) << 40 |
	       (uint64_t)(last >> 8) << 32;
}

/* What the programs would find of 52:54:00:00:xx:xx, 0 = nothing. */
static uint32_t near_at_hand(uint64_t kind, uint32_t scope, uint32_t last)
{
	const uint64_t key = key_of(kind, last);
	const struct gate_near_set *set = &box.g.m.near_macs[gate_near_place(key, scope, VMS)];
	uint32_t value = 0;

	for (int i = 0; i < GATE_NEAR_WAYS; i++) {
		if (set->way[i].key != key || set->way[i].scope != scope)
			continue;
		assert_int_equal(value, 0); /* once */
		value = set->way[i].value;
	}
	return value;
}

static unsigned taken(void)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < PLACES; i++)
		n += place(i)->key != 0;
	return n;
}

/* ---- the places themselves ---- */

static void near_do(struct gate_near *n, bool put, uint32_t scope, uint32_t last, uint32_t value)
{
	const uint8_t mac[6] = { 0x52, 0x54, 0, 0, (uint8_t)(last >> 8), (uint8_t)last };
	const struct gate_near_entry e = { GATE_NEAR_VM, scope, value, mac };

	if (put)
		gate_near_put(n, &e);
	else
		gate_near_del(n, &e);
}

static void test_what_is_put_is_found_until_it_is_taken_out(void **state)
{
	struct gate_near n;

	gate_near_open(&n, &box.g.m);
	near_do(&n, true, 3, 1, 7);
	near_do(&n, true, 3, 1, 7); /* again: one entry */
	near_do(&n, true, 4, 1, 8);
	near_do(&n, true, 3, 2, 0); /* nothing to tell */
	assert_int_equal(near_at_hand(GATE_NEAR_VM, 3, 1), 7);
	assert_int_equal(near_at_hand(GATE_NEAR_VM, 4, 1), 8);
	assert_int_equal(near_at_hand(GATE_NEAR_VM, 5, 1), 0);
	assert_int_equal(near_at_hand(GATE_NEAR_OWNER, 3, 1), 0);
	assert_int_equal(taken(), 2);
	near_do(&n, false, 3, 1, 0);
	near_do(&n, false, 5, 1, 0); /* that was not there */
	assert_int_equal(near_at_hand(GATE_NEAR_VM, 3, 1), 0);
	assert_int_equal(near_at_hand(GATE_NEAR_VM, 4, 1), 8);
	assert_int_equal(taken(), 1);
	gate_near_close(&n);
}

static void test_a_place_rests_before_it_is_used_again(void **state)
{
	const uint32_t many = 20 * PLACES;
	struct gate_near n;
	unsigned full;

	gate_near_open(&n, &box.g.m);
	for (uint32_t i = 1; i <= many; i++)
		near_do(&n, true, 1, i, 1);
	full = taken();
	assert_int_equal(full, PLACES); /* and what found no room is nowhere */
	for (uint32_t i = 1; i <= many; i++)
		near_do(&n, false, 1, i, 0);
	assert_int_equal(taken(), 0);
	for (uint32_t i = 1; i <= many; i++)
		near_do(&n, true, 2, i, 1);
	assert_int_equal(taken(), 0);
	fake_pass(2);
	for (uint32_t i = 1; i <= many; i++)
		near_do(&n, true, 2, i, 1);
	assert_int_equal(taken(), PLACES);
	gate_near_close(&n);
}

/* Few find no room, however MACs and slots are handed out. */
static void test_any_order_of_macs_spreads(void **state)
{
	static const struct {
		const char *what;
		int shift[3]; /* of the number's bytes, lowest first, in the MAC */
		bool slots;   /* each in a scope of its own, counted up with it */
	} rows[] = {
		{ "counted up in the last bytes, a slot each", { 40, 32, 24 }, true },
		{ "the same, all on one port", { 40, 32, 24 }, false },
		{ "counted up in the first bytes", { 16, 24, 32 }, true },
		{ "bytes far apart", { 40, 16, 32 }, true },
	};
	static const uint32_t sizes[] = { 100, 1000, 4096, 10000 };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) * 4; i++) {
		const uint32_t vms = sizes[i % 4];
		const int *shift = rows[i / 4].shift;
		uint8_t *used = calloc(gate_near_sets(vms), 1);
		uint32_t lost = 0;

		for (uint32_t n = 0; n < vms; n++) {
			uint64_t key = key_of(GATE_NEAR_VM, 0);

			for (int b = 0; b < 3; b++)
				key |= (uint64_t)(n >> 8 * b & 0xff) << shift[b];
			lost += used[gate_near_place(key, rows[i / 4].slots ? n : 7, vms)]++ >=
				GATE_NEAR_WAYS;
		}
		free(used);
		if (lost > vms / 14)
			fail_msg("%s: %u of %u without room", rows[i / 4].what, lost, vms);
	}
}

/* ---- beside the hashes ---- */

/* Does a hash say so? */
static void check_place(const struct gate_near_mac *at)
{
	struct gate_mac_owner_key trunk = { .ifindex = at->scope };
	struct gate_mac_key own = { .slot = at->scope };
	struct gate_address a;
	uint32_t slot;

	for (int i = 0; i < 6; i++)
		trunk.mac[i] = own.mac[i] = (uint8_t)(at->key >> 8 * i);
	if (at->key & GATE_NEAR_OWNER) {
		assert_int_equal(bpf_map_lookup_elem(box.g.m.mac_owner, &trunk, &slot), 0);
		assert_int_equal(at->value, slot);
		return;
	}
	assert_true(at->key & GATE_NEAR_VM);
	assert_int_equal(bpf_map_lookup_elem(box.g.m.macs, &own, &a), 0);
	assert_int_equal(at->value, a.flags);
	assert_true(!a.base[0] && !a.base[1] && !a.bucket && !a.budget);
}

static void check_all(void)
{
	for (uint32_t i = 0; i < PLACES; i++)
		if (place(i)->key)
			check_place(place(i));
}

/* What is done, and what then is near of web1's 52:54:00:00:00:01 (and of slot 2's). */
static const struct step {
	enum { VM, DEL, CHANGE, RESTART, REBOOT } deed;
	const char *who, *words;
	uint32_t pass_s, first, second;
} steps[] = {
	{ VM, "web1", "mac=52:54:00:00:00:01", 0, REG, 0 },
	{ CHANGE, "vm:web1", "block", 0, REG, 0 },
	{ CHANGE, "mac:52:54:00:00:00:01", "limit 1/s", 0, 0, 0 }, /* the hash tells which */
	{ RESTART, "", "", 0, 0, 0 },
	{ CHANGE, "mac:52:54:00:00:00:01", "drop", 3, REG, 0 },
	{ CHANGE, "mac:52:54:00:00:00:09", "block", 0, REG, 0 }, /* nobody's */
	{ RESTART, "", "", 0, REG, 0 },
	{ VM, "web2", "mac=52:54:00:00:00:02", 0, REG, 0 },
	{ VM, "web1", "mac=52:54:00:00:00:03", 0, 0, 0 },
	{ VM, "web2", "mac=52:54:00:00:00:01", 3, 0, REG },
	{ REBOOT, "", "", 0, 0, REG },
	{ DEL, "web2", "", 3, 0, 0 },
};

static void run(const struct step *s)
{
	fake_pass(s->pass_s);
	if (s->deed == VM)
		box_vm(&box, s->who, s->words);
	else if (s->deed == DEL)
		assert_int_equal(box_del(&box, s->who), 0);
	else if (s->deed == CHANGE)
		assert_int_equal(box_change(&box, fake_now(), s->who, s->words), 0);
	else
		box_restart(&box, s->deed == REBOOT);
}

static void test_near_is_what_brings_no_policy(void **state)
{
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		run(&steps[i]);
		check_all();
		if (near_at_hand(GATE_NEAR_VM, 1, 1) != steps[i].first ||
		    near_at_hand(GATE_NEAR_VM, 2, 1) != steps[i].second)
			fail_msg("step %zu: %s %s", i, steps[i].who, steps[i].words);
	}
}

/* An earlier daemon, or somebody else, has left what no hash says. */
static void test_a_daemon_takes_out_what_is_not_so(void **state)
{
	static const struct gate_near_mac wrong[] = {
		{ .scope = 1, .value = 9 }, /* other flags: see below */
		{ .key = GATE_NEAR_VM | 0xabcdef, .scope = 1, .value = REG },
		{ .key = GATE_NEAR_OWNER | 0xabcdef, .scope = 0, .value = 1 },
		{ .key = 0xabcdef, .scope = 0, .value = 1 },
	};

	box_vm(&box, "web1", "mac=52:54:00:00:00:01");
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct gate_near_mac put = wrong[i];

		if (!put.key)
			put.key = key_of(GATE_NEAR_VM, 1);
		memset(box.g.m.near_macs, 0, gate_near_sets(VMS) * sizeof(*box.g.m.near_macs));
		box.g.m.near_macs[gate_near_place(put.key, put.scope, VMS)].way[0] = put;
		box_restart(&box, false);
		check_all();
		assert_int_equal(taken(), 1);
		assert_int_equal(near_at_hand(GATE_NEAR_VM, 1, 1), REG);
	}
}

/*
 * What an earlier daemon has left in a hash goes, from there and from near at hand. Memory that
 * was given free is overwritten here, all but the first few pieces: a key that lay in it would
 * name another entry.
 */
static void test_a_daemon_takes_out_what_nobody_has(void **state)
{
	struct gate_mac_owner_key key = { .ifindex = 77, .mac = { 0x52, 0x54 } };
	const uint32_t owner = 1;
	uint32_t found;

	box_vm(&box, "web1", "mac=52:54:00:00:00:01");
	for (key.mac[5] = 0x40; key.mac[5] < 0x60; key.mac[5]++)
		assert_int_equal(bpf_map_update_elem(box.g.m.mac_owner, &key, &owner, BPF_ANY), 0);
	assert_int_equal(mallopt(M_PERTURB, 0x5a), 1);
	box_restart(&box, false);
	mallopt(M_PERTURB, 0);
	for (key.mac[5] = 0x40; key.mac[5] < 0x60; key.mac[5]++) {
		assert_int_not_equal(bpf_map_lookup_elem(box.g.m.mac_owner, &key, &found), 0);
		assert_int_equal(near_at_hand(GATE_NEAR_OWNER, 77, key.mac[5]), 0);
	}
	assert_int_equal(near_at_hand(GATE_NEAR_VM, 1, 1), REG);
	check_all();
}

static void test_in_uplink_mode_owners_are_near(void **state)
{
	box.g.c.uplink_mode = true;
	box_vm(&box, "web1", "mac=52:54:00:00:00:01");
	check_all();
	assert_int_equal(near_at_hand(GATE_NEAR_OWNER, 0, 1), 1);
	box_restart(&box, false);
	assert_int_equal(near_at_hand(GATE_NEAR_OWNER, 0, 1), 1);
	/* whose it is all the while is not taken out and put back: that would wear places out */
	for (int i = 0; i < 2 * GATE_NEAR_WAYS; i++) {
		box_vm(&box, "web1",
		       i % 2 ? "mac=52:54:00:00:00:01" : "mac=52:54:00:00:00:01 binding=strict");
		assert_int_equal(near_at_hand(GATE_NEAR_OWNER, 0, 1), 1);
		assert_int_equal(taken(), 2);
	}
	box_vm(&box, "web1", "");
	assert_int_equal(near_at_hand(GATE_NEAR_OWNER, 0, 1), 0);
	assert_int_equal(taken(), 0);
}

int main(void)
{
#define BOX(f) cmocka_unit_test_setup_teardown(f, open_box, close_box)
	const struct CMUnitTest tests[] = {
		BOX(test_what_is_put_is_found_until_it_is_taken_out),
		BOX(test_a_place_rests_before_it_is_used_again),
		cmocka_unit_test(test_any_order_of_macs_spreads),
		BOX(test_near_is_what_brings_no_policy),
		BOX(test_a_daemon_takes_out_what_is_not_so),
		BOX(test_a_daemon_takes_out_what_nobody_has),
		BOX(test_in_uplink_mode_owners_are_near),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
