// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Nodes by what they say: equal ones are one, and none changes while a head shows it. */

#include "box_lab.h"
#include "../lib/fakeclock.h"
#include "candidate.h"
#include "json.h"
#include "nodes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REST_NS GATE_NSEC_PER_SEC
#define HEADS	40
#define KINDS	6

static struct gate_node says(uint32_t kind)
{
	return (struct gate_node){ .state = GATE_LIMIT, .concurrent = kind };
}

/* ---- the nodes themselves ---- */

/* Heads change at random; what each shows is what it was last given, and equal ones are one. */
static void test_heads_show_what_they_were_given(void **state)
{
	uint32_t head[HEADS] = { 0 }, kind[HEADS] = { 0 };
	struct gate_nodes n;

	srand(25);
	gate_nodes_open(&n, &box.g.m, REST_NS);
	for (int round = 0; round < 20000; round++) {
		const uint32_t h = (uint32_t)rand() % HEADS, to = (uint32_t)rand() % KINDS;
		const struct gate_node want = says(to);
		const uint32_t was = head[h];

		if (round % 50 == 0)
			fake_pass(1);
		head[h] = to ? gate_nodes_take(&n, &want) : 0;
		kind[h] = to;
		if (was)
			gate_nodes_give(&n, was);
		for (uint32_t i = 0; i < HEADS; i++) {
			const struct gate_node shown = says(kind[i]);

			if (!head[i] != !kind[i])
				fail_msg("round %d: head %u shows %u", round, i, head[i]);
			if (head[i])
				assert_memory_equal(&box.g.m.nodes[head[i]], &shown, sizeof(shown));
			for (uint32_t k = 0; k < i; k++)
				assert_int_equal(head[i] == head[k], kind[i] == kind[k]);
		}
		assert_true(n.pool.taken < KINDS);
	}
	for (uint32_t i = 0; i < HEADS; i++)
		if (head[i])
			gate_nodes_give(&n, head[i]);
	assert_int_equal(n.pool.taken, 0);
	gate_nodes_close(&n);
}

static void test_a_node_that_nobody_shows_rests(void **state)
{
	const struct gate_node first = says(1);
	struct gate_nodes n;
	uint32_t id;

	gate_nodes_open(&n, &box.g.m, REST_NS);
	id = gate_nodes_take(&n, &first);
	gate_nodes_give(&n, id);
	for (uint32_t kind = 2; kind < 8; kind++) {
		const struct gate_node other = says(kind);

		assert_int_not_equal(gate_nodes_take(&n, &other), id);
	}
	assert_memory_equal(&box.g.m.nodes[id], &first, sizeof(first));
	/* not found by what it once said, for it may be written any time */
	assert_int_not_equal(gate_nodes_take(&n, &first), id);
	fake_pass(1);
	const struct gate_node late = says(9);
	assert_int_equal(gate_nodes_take(&n, &late), id);
	gate_nodes_close(&n);
}

static void test_heads_of_an_earlier_daemon(void **state)
{
	static const struct {
		uint64_t head;
		uint32_t becomes;
	} rows[] = {
		{ 5, 5 }, { 6, 5 }, /* says the same */
		{ 5, 5 }, { 7, 7 }, /* shown twice; another */
		{ 6, 5 }, { 0, 0 }, { 1ULL << 20, 0 }, { 1ULL << 32 | 5, 0 }, /* no node at all */
	};
	struct gate_nodes n;
	const struct gate_node same = says(1);

	box.g.m.nodes[5] = box.g.m.nodes[6] = same;
	box.g.m.nodes[7] = says(2);
	gate_nodes_open(&n, &box.g.m, REST_NS);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(gate_nodes_adopt(&n, rows[i].head), rows[i].becomes);
	assert_int_equal(n.pool.taken, 2);
	assert_int_equal(gate_nodes_take(&n, &same), 5);
	for (int i = 0; i < 4; i++)
		gate_nodes_give(&n, 5);
	assert_int_equal(n.pool.taken, 2); /* one head still shows it */
	gate_nodes_give(&n, 5);
	assert_int_equal(n.pool.taken, 1);
	gate_nodes_close(&n);
}

/* ---- as policies ---- */

static uint64_t head_of(const char *vm)
{
	return box.g.m.heads[gate_base_vm((uint32_t)box_slot(&box, vm)) * box.g.m.scopes];
}

static void change(const char *vm, const char *words)
{
	assert_int_equal(box_change(&box, fake_now(), vm, words), 0);
}

static void test_a_policy_of_one_is_not_another_ones(void **state)
{
	for (int restart = 0; restart < 2; restart++) {
		for (int i = 1; i <= 3; i++) {
			char name[16];

			snprintf(name, sizeof(name), "web%d", i);
			box_vm(&box, name, "");
			snprintf(name, sizeof(name), "vm:web%d", i);
			change(name, "block");
		}
		if (restart)
			box_restart(&box, false);
		assert_true(head_of("vm:web1"));
		assert_int_equal(head_of("vm:web1"), head_of("vm:web2"));
		change("vm:web2", "allow");
		assert_string_equal(box_effective(&box, "vm:web1", 0), "block vm:web1");
		assert_string_equal(box_effective(&box, "vm:web2", 0), "allow vm:web2");
		assert_int_equal(box.g.m.nodes[head_of("vm:web1")].state, GATE_BLOCK);
		assert_int_equal(box.g.m.nodes[head_of("vm:web2")].state, GATE_ALLOW);
		/* until another time: not the same policy */
		change("vm:web3", "block for=60");
		assert_int_not_equal(head_of("vm:web3"), head_of("vm:web1"));
		change("vm:web1", "drop");
		fake_pass(2);
		change("vm:web2", "limit 1/s");
		assert_int_equal(head_of("vm:web1"), 0);
		assert_int_equal(box.g.m.nodes[head_of("vm:web3")].state, GATE_BLOCK);
	}
}

/* ---- beside a shadow policy ---- */

#define MANY 127

static int open_many(void **state)
{
	box_open(&box, MANY + 1, NULL);
	return 0;
}

static struct gate_set_item item(const char *text)
{
	struct gate_set_item out;

	if (gate_json_read_item(text, strlen(text), box.g.m.conf->ports, 1, &out, &box.err))
		fail_msg("%s", box.err.message);
	return out;
}

/* Each VM, and a limit for each that no other has. */
static struct gate_set_item *many_limits(void)
{
	struct gate_set_item *items = calloc(2 * MANY, sizeof(*items));
	char text[160];

	for (unsigned i = 0; i < MANY; i++) {
		snprintf(text, sizeof(text), "{\"kind\":\"vm\",\"name\":\"web%u\"}", i);
		items[i] = item(text);
		snprintf(text, sizeof(text),
			 "{\"kind\":\"subject\",\"subject\":\"vm:web%u\",\"policies\":[{\"on\":"
			 "null,\"state\":\"limit\",\"rates\":[{\"count\":%u,\"per\":\"1h\"}]}]}",
			 i, 1000 + i);
		items[MANY + i] = item(text);
	}
	return items;
}

/* It may take much of the room, and what is live needs all of it in the end: that goes first. */
static void test_what_is_live_finds_room_beside_a_shadow_policy(void **state)
{
	const struct gate_actor who = { .name = "test" };
	struct gate_candidate *c;
	char subject[32], words[32];

	assert_int_equal(gate_candidate_open(&c, box.e, &box.g.m, box.g.store, &box.err), 0);
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(subject, sizeof(subject), "web%u", i);
		assert_int_equal(box_vm(&box, subject, ""), 0);
	}
	if (gate_candidate_put(c, &who, many_limits(), 2 * MANY, &box.err))
		fail_msg("%s", box.err.message);
	assert_true(box.g.conf.flags & GATE_CONF_SHADOW);
	for (unsigned i = 0; i < MANY + 120; i++) {
		const bool mac = i >= MANY;

		snprintf(subject, sizeof(subject), mac ? "mac:52:54:00:00:00:%02x" : "vm:web%u",
			 mac ? i - MANY : i);
		snprintf(words, sizeof(words), "block for=%u", 3600 + i);
		assert_int_equal(box_change(&box, fake_now(), subject, words), 0);
	}
	for (uint32_t h = 0; h < box.g.m.nheads; h++)
		assert_true(box.g.m.heads[h] < box.g.m.nnodes);
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(subject, sizeof(subject), "vm:web%u", i);
		assert_int_equal(box.g.m.nodes[head_of(subject)].state, GATE_BLOCK);
	}
	/* nothing is left of it, nor is it said that something were */
	assert_false(box.g.conf.flags & GATE_CONF_SHADOW);
	for (int i = 0; i < 5; i++)
		gate_candidate_tick(c);
	assert_true(gate_candidate_drop(c, &who, &box.err));
	assert_int_equal(box.err.code, GATE_ERR_NO_SUBJECT);
	gate_candidate_close(c);
}

int main(void)
{
#define BOX(f) cmocka_unit_test_setup_teardown(f, open_box, close_box)
	const struct CMUnitTest tests[] = {
		BOX(test_heads_show_what_they_were_given),
		BOX(test_a_node_that_nobody_shows_rests),
		BOX(test_heads_of_an_earlier_daemon),
		BOX(test_a_policy_of_one_is_not_another_ones),
		cmocka_unit_test_setup_teardown(test_what_is_live_finds_room_beside_a_shadow_policy,
						open_many, close_box),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
