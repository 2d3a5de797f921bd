// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The readers on the host: what each row of the table is, however much of it is
 * linear; and that the glance never contradicts the careful reader.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>

#include "../../bpf/read.h"
#include "../lib/frames.h"
#include "../lib/tricks.h"

const volatile struct gate_params params = { .nports = 3,
					     .ports = { 25, 465, 587, 25 },
					     .scopes = 4 };

static const char *const kinds[] = { "other", "closer",	   "gated",    "later", "tiny",
				     "chain", "malformed", "too_deep", "hidden" };

static void check_row(const struct trick *t, const uint8_t *bytes, int len, int linear, int *bad)
{
	struct host_ctx ctx = { .data = bytes, .len = len, .linear = linear };
	struct frame f = { 0 };
	uint32_t seen = glance(&ctx, false, &params);
	int kind = read_closely(&ctx, &f, false);

	if (kind != t->kind) {
		print_error("%s: is %s, should be %s\n", t->words, kinds[kind], kinds[t->kind]);
		(*bad)++;
	}
	if (seen_kind(seen) != FRAME_CLOSER && (int)seen_kind(seen) != kind) {
		print_error("%s, %d linear: the glance says %s, the careful reader %s\n", t->words,
			    linear, kinds[seen_kind(seen)], kinds[kind]);
		(*bad)++;
	}
	if (seen_kind(seen) == FRAME_GATED &&
	    (seen_l3(seen) != f.l3 || seen_port(seen) != f.port || seen_family(seen) != f.family)) {
		print_error("%s, %d linear: the readers differ in where\n", t->words, linear);
		(*bad)++;
	}
}

static void test_each_row_is_read_as_the_table_says(void **state)
{
	static const int linear[] = { 14, 15, 30, 34, 38, 40, 54, 58, 74, FRAME_MAX };
	uint8_t bytes[FRAME_MAX];
	int bad = 0;

	for (size_t i = 0; i < NTRICKS; i++) {
		struct frame_spec spec = { .dport = tricks[i].dport };
		int len = frame_build(tricks[i].words, &spec, bytes);

		for (size_t k = 0; k < sizeof(linear) / sizeof(linear[0]); k++)
			check_row(&tricks[i], bytes, len, linear[k] < len ? linear[k] : len, &bad);
	}
	assert_int_equal(bad, 0);
}

static void test_each_gated_port_is_known_by_its_index(void **state)
{
	static const uint16_t port[] = { 25, 465, 587 };
	uint8_t bytes[FRAME_MAX];

	for (unsigned i = 0; i < 3; i++) {
		struct frame_spec spec = { .dport = port[i] };
		struct host_ctx ctx = { .data = bytes };
		uint32_t seen;

		ctx.len = ctx.linear = frame_build("eth ip4 tcp", &spec, bytes);
		seen = glance(&ctx, false, &params);
		assert_int_equal(seen_kind(seen), FRAME_GATED);
		assert_int_equal(seen_port(seen), i);
	}
}

static void test_replies_are_known_by_their_source_port(void **state)
{
	struct frame_spec spec = { .sport = 25, .dport = 40000 };
	uint8_t bytes[FRAME_MAX];
	struct host_ctx ctx = { .data = bytes };

	ctx.len = ctx.linear = frame_build("eth ip6 tcp", &spec, bytes);
	assert_int_equal(seen_kind(glance(&ctx, true, &params)), FRAME_GATED);
	assert_int_equal(seen_kind(glance(&ctx, false, &params)), FRAME_OTHER);
}

static void test_every_cut_of_every_row_agrees(void **state)
{
	uint8_t bytes[FRAME_MAX];

	for (size_t i = 0; i < NTRICKS; i++) {
		struct frame_spec spec = { .dport = tricks[i].dport };
		int whole = frame_build(tricks[i].words, &spec, bytes);

		for (int len = 14; len <= whole; len++) {
			struct host_ctx ctx = { .data = bytes, .len = len, .linear = len };
			struct frame f = { 0 };
			uint32_t seen = glance(&ctx, false, &params);
			int kind = read_closely(&ctx, &f, false);

			if (seen_kind(seen) != FRAME_CLOSER && (int)seen_kind(seen) != kind)
				fail_msg("%s cut to %d: glance %s, careful %s", tricks[i].words,
					 len, kinds[seen_kind(seen)], kinds[kind]);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_row_is_read_as_the_table_says),
		cmocka_unit_test(test_each_gated_port_is_known_by_its_index),
		cmocka_unit_test(test_replies_are_known_by_their_source_port),
		cmocka_unit_test(test_every_cut_of_every_row_agrees),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
