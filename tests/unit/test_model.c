// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The pure parts: limits compared and completed, tables, ordered keys, pools. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "mem.h"
#include "model.h"
#include "pool.h"
#include "table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "5/s,200/h:50 b10 c3 d50/h" */
static struct gate_limits limits(const char *text)
{
	struct gate_limits l = { 0 };
	char copy[80], *at = copy, *word;

	snprintf(copy, sizeof(copy), "%s", text);
	while ((word = strsep(&at, " "))) {
		if (*word == 'b')
			l.burst = (uint32_t)atoi(word + 1);
		else if (*word == 'c')
			l.concurrent = (uint32_t)atoi(word + 1);
		else if (*word == 'd')
			assert_int_equal(gate_parse_rate(word + 1, &l.destinations), 0);
		else if (*word)
			assert_int_equal(gate_parse_rate(word, &l.rates[l.nrates++]), 0);
	}
	return l;
}

static void test_one_limit_is_as_strict_as_another(void **state)
{
	static const struct {
		const char *a, *b;
		bool strict;
	} table[] = {
		{ "5/s", "5/s", true },
		{ "5/s", "6/s", true },
		{ "6/s", "5/s", false },
		{ "5/s", "300/min", true }, /* the same in the long run, fewer at once */
		{ "300/min", "5/s", false },
		{ "300/min b5", "5/s b5", true },
		{ "5/s b20", "5/s b10", false },
		{ "5/s:3 b20", "5/s b10", true },
		{ "5/s 100/h", "5/s", true },
		{ "5/s", "5/s 100/h", false },
		{ "", "5/s", false },
		{ "5/s", "", true },
		{ "5/s c3", "5/s c4", true },
		{ "5/s c5", "5/s c4", false },
		{ "5/s", "5/s c4", false },
		{ "5/s d10/h", "5/s d20/h", true },
		{ "5/s d30/h", "5/s d20/h", false },
		{ "5/s", "5/s d20/h", false },
		{ "", "", true },
	};

	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct gate_limits a = limits(table[i].a), b = limits(table[i].b);

		if (gate_limits_strict_as(&a, &b) != table[i].strict)
			fail_msg("%s against %s", table[i].a, table[i].b);
	}
}

static void test_missing_keys_are_completed_given_ones_stay(void **state)
{
	const struct gate_limits defaults = limits("5/s 200/h b10 c6 d100/h");
	struct gate_limits l = limits("7/s c3");

	gate_limits_complete(&l, &defaults);
	assert_int_equal(l.nrates, 1);
	assert_int_equal(l.rates[0].count, 7);
	assert_int_equal(l.burst, 10);
	assert_int_equal(l.concurrent, 3);
	assert_int_equal(l.destinations.count, 100);
	l = limits("");
	gate_limits_complete(&l, &defaults);
	assert_int_equal(l.nrates, 2);
}

static void test_impossible_policies(void **state)
{
	static const struct {
		struct gate_policy_spec p;
		const char *message;
	} table[] = {
		{ { .refuse = GATE_REFUSE_UNSET, .state = GATE_STATE_MAX },
		  "state must be allow, limit, block or inherit" },
		{ { .refuse = 7 }, "refuse must be drop, reset or icmp" },
		{ { .refuse = GATE_REFUSE_UNSET, .limits.nrates = 5 },
		  "at most 4 rates can be given" },
		{ { .refuse = GATE_REFUSE_UNSET, .limits = { .nrates = 1 } },
		  "a rate of 0 is no limit: use `block` instead" },
		{ { .refuse = GATE_REFUSE_UNSET,
		    .limits = { .nrates = 1, .rates = { { .count = 1, .per_s = 7 } } } },
		  "a rate is per 1s, 1min, 1h or 1d" },
		{ { .refuse = GATE_REFUSE_UNSET,
		    .limits = { .nrates = 1, .rates = { { .count = 1000001, .per_s = 1 } } } },
		  "rate 1000001/s is above 1000000 a second" },
		{ { .refuse = GATE_REFUSE_UNSET, .limits.burst = 100001 },
		  "burst 100001 is above 100000" },
		{ { .refuse = GATE_REFUSE_UNSET, .limits.concurrent = 513 },
		  "concurrent 513 is more than the flow table can hold: at most 512, half of "
		  "flows_per_vm" },
		{ { .refuse = GATE_REFUSE_UNSET, .expires = 100 },
		  "the time of expiry has passed already" },
		{ { .refuse = GATE_REFUSE_UNSET, .expires = -1 },
		  "the time of expiry has passed already" },
	};
	struct gate_error err;

	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		assert_int_equal(gate_policy_check(&table[i].p, 512, 100, &err), -22);
		assert_string_equal(err.message, table[i].message);
		assert_int_equal(err.code, GATE_ERR_USAGE);
	}
}

static void test_prefixes_that_would_hold_ipv4_as_well(void **state)
{
	static const struct {
		const char *text;
		bool good;
	} table[] = {
		{ "::/0", false },    { "::/80", false },    { "::ffff:0:0/96", true },
		{ "2000::/3", true }, { "0.0.0.0/0", true }, { "2001:db8::/32", true },
		{ "::/16", false },   { "::1", true },	     { "64:ff9b::/96", true },
	};

	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct gate_prefix p;

		assert_int_equal(gate_parse_prefix(table[i].text, &p), 0);
		if (!gate_prefix_check(&p, NULL) != table[i].good)
			fail_msg("%s", table[i].text);
	}
}

static void test_a_table_holds_what_was_put(void **state)
{
	struct gate_table t = { 0 };
	struct gate_table_iter it = { 0 };
	uintptr_t sum = 0;
	struct gate_table_entry *at;

	for (uint32_t i = 0; i < 5000; i++)
		gate_table_put(&t, &i, sizeof(i), (void *)(uintptr_t)(i + 1));
	for (uint32_t i = 0; i < 5000; i += 2)
		assert_ptr_equal(gate_table_del(&t, &i, sizeof(i)), (void *)(uintptr_t)(i + 1));
	for (uint32_t i = 0; i < 5000; i++)
		assert_ptr_equal(gate_table_get(&t, &i, sizeof(i)),
				 i % 2 ? (void *)(uintptr_t)(i + 1) : NULL);
	assert_int_equal(t.count, 2500);
	while ((at = gate_table_next(&t, &it))) {
		sum += (uintptr_t)at->value;
		gate_table_del(&t, at->key, at->len);
	}
	assert_int_equal(sum, 2500 * 2501);
	assert_int_equal(t.count, 0);
	gate_table_clear(&t);
}

static void test_ordered_keys_come_in_order(void **state)
{
	struct gate_order o;
	const struct gate_order_node *n;
	unsigned char key[GATE_ORDER_KEY] = { 0 };
	unsigned seen = 0;

	gate_order_init(&o, 2);
	for (unsigned i = 0; i < 1000; i++) {
		unsigned v = i * 7919 % 1000;

		key[0] = (unsigned char)(v >> 8);
		key[1] = (unsigned char)v;
		gate_order_put(&o, key, (void *)(uintptr_t)(v + 1));
	}
	for (unsigned v = 0; v < 1000; v += 3) {
		key[0] = (unsigned char)(v >> 8);
		key[1] = (unsigned char)v;
		assert_true(gate_order_del(&o, key));
		assert_false(gate_order_del(&o, key));
	}
	key[0] = 1;
	key[1] = 0;
	n = gate_order_from(&o, key);
	assert_ptr_equal(n->value, (void *)257);
	for (n = o.head[0]; n && n->next[0]; n = n->next[0], seen++)
		assert_true((uintptr_t)n->value < (uintptr_t)n->next[0]->value);
	assert_int_equal(seen + 1, o.count);
	assert_int_equal(o.count, 1000 - 334);
	gate_order_clear(&o);
	assert_null(gate_order_from(&o, key));
}

static void test_a_number_given_back_rests(void **state)
{
	struct gate_pool p;

	gate_pool_init(&p, 1, 4, 100);
	assert_true(gate_pool_claim(&p, 2));
	assert_false(gate_pool_claim(&p, 2));
	assert_false(gate_pool_claim(&p, 0));
	assert_false(gate_pool_claim(&p, 4));
	assert_int_equal(gate_pool_take(&p, 0), 1);
	assert_int_equal(gate_pool_take(&p, 0), 3);
	assert_int_equal(gate_pool_take(&p, 0), UINT32_MAX);
	gate_pool_give(&p, 2, 1000);
	assert_int_equal(gate_pool_left(&p), 1);
	assert_int_equal(gate_pool_take(&p, 1099), UINT32_MAX);
	assert_int_equal(gate_pool_take(&p, 1100), 2);
	gate_pool_give(&p, 3, 1100);
	gate_pool_hurry(&p);
	assert_int_equal(gate_pool_take(&p, 1100), 3);
	assert_int_equal(gate_pool_left(&p), 0);
	gate_pool_clear(&p);
}

static void test_many_numbers_come_and_go(void **state)
{
	struct gate_pool p;
	unsigned char taken[300] = { 0 };
	uint32_t held[300];
	unsigned n = 0;

	gate_pool_init(&p, 10, 300, 5);
	for (uint64_t now = 0; now < 20000; now++) {
		if (n && now % 3 == 0) {
			uint32_t id = held[now * 31 % n];

			held[now * 31 % n] = held[n - 1];
			n--;
			taken[id] = 0;
			gate_pool_give(&p, id, now);
		} else {
			uint32_t id = gate_pool_take(&p, now);

			if (id == UINT32_MAX)
				continue;
			assert_in_range(id, 10, 299);
			assert_false(taken[id]);
			taken[id] = 1;
			held[n++] = id;
		}
		assert_int_equal(gate_pool_left(&p), 290 - n);
	}
	gate_pool_clear(&p);
}

static void test_a_packed_record_says_the_same(void **state)
{
	struct gate_subject s = { .kind = GATE_S_VM, .name = "web1" };
	struct gate_prefix list[2] = { { .len = 128, .addr = { 1 } }, { .len = 64 } };
	struct gate_own own, out;

	/* bit 0..4: scopes, 5: quarantine, 6: observe, 7: budget, 8: exempt */
	for (unsigned parts = 0; parts < 512; parts++) {
		struct gate_packed *packed;

		memset(&own, 0, sizeof(own)); /* what lies behind the end of a text, too */
		memset(&out, 0, sizeof(out));
		gate_own_init(&own, &s);
		for (unsigned i = 0; i < GATE_MAX_SCOPES; i++) {
			struct gate_policy_spec *p = &own.scope[i];

			if (!(parts >> i & 1))
				continue;
			p->state = GATE_LIMIT;
			p->refuse = i % 2 ? GATE_REFUSE_ICMP : GATE_REFUSE_UNSET;
			p->drain = i == 2;
			p->limits.nrates = i % (GATE_MAX_RATES + 1);
			for (unsigned j = 0; j < p->limits.nrates; j++)
				p->limits.rates[j] = (struct gate_rate_spec){ i + j, 60, j };
			p->limits.burst = i;
			p->limits.concurrent = 7;
			p->limits.destinations = (struct gate_rate_spec){ 5, 3600, 0 };
			p->expires = 1700000000 + i;
			p->since = 1600000000;
			memset(p->reason, 'r', i == 4 ? 255 : i);
			strcpy(p->by, "alice");
		}
		own.observe = parts & 64;
		if (parts & 32)
			own.quarantine = (struct gate_quarantine){
				.on = true, .until = 9, .since = 8, .reason = "spam", .by = "bob"
			};
		own.nbudget = parts & 128 ? 1 : 0;
		own.budget[0].count = own.nbudget * 500;
		own.nexempt = parts & 256 ? 2 : 0;
		own.exempt = own.nexempt ? list : NULL;
		packed = gate_own_pack(&own);
		gate_own_unpack(packed, &s, &out);
		if (own.nexempt)
			assert_memory_equal(out.exempt, list, sizeof(list));
		out.exempt = own.exempt;
		assert_memory_equal(&out, &own, sizeof(own));
		free(packed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_limit_is_as_strict_as_another),
		cmocka_unit_test(test_missing_keys_are_completed_given_ones_stay),
		cmocka_unit_test(test_impossible_policies),
		cmocka_unit_test(test_prefixes_that_would_hold_ipv4_as_well),
		cmocka_unit_test(test_a_table_holds_what_was_put),
		cmocka_unit_test(test_ordered_keys_come_in_order),
		cmocka_unit_test(test_a_number_given_back_rests),
		cmocka_unit_test(test_many_numbers_come_and_go),
		cmocka_unit_test(test_a_packed_record_says_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
