// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Notices as JSON lines: what each kind says, the last 1,000, what was never told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "../lib/enginebox.h"
#include "events.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static struct enginebox box;
static struct gate_events *events;

static int open_box(void **state)
{
	box_open(&box, 0, NULL);
	box.g.global.events_lost = 100; /* of an earlier daemon's time: told already */
	return gate_events_open(&events, NULL, box.e, &box.g.m, &box.err);
}

static int close_box(void **state)
{
	gate_events_close(events);
	box_close(&box);
	return 0;
}

/* The newest line as JSON. */
static json_t *last(void)
{
	struct gate_event_line line;
	json_t *o;

	assert_true(gate_events_next(events) > gate_events_first(events));
	gate_events_line(events, gate_events_next(events) - 1, &line);
	assert_int_equal(line.text[line.len - 1], '\n');
	o = json_loadb(line.text, line.len, 0, NULL);
	assert_non_null(o);
	assert_int_equal(json_integer_value(json_object_get(o, "version")), 1);
	return o;
}

static void says(const json_t *o, const char *key, const char *wanted)
{
	const char *is = json_string_value(json_object_get(o, key));

	if (!is || strcmp(is, wanted) != 0)
		fail_msg("%s: \"%s\", wanted \"%s\"", key, is ? is : "(absent)", wanted);
}

static void changes_name_their_author(void **state)
{
	static const struct {
		const char *subject, *words, *action, *reason;
	} rows[] = {
		{ "tenant:acme", "block reason=spam", "block", "spam" },
		{ "tenant:acme", "quarantine", "quarantine", NULL },
		{ "default", "exempt +192.0.2.0/24", "exempt", NULL },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		json_t *o;

		assert_int_equal(box_change(&box, 0, rows[i].subject, rows[i].words), 0);
		o = last();
		says(o, "kind", "policy");
		says(o, "subject", rows[i].subject);
		says(o, "actor", "alice");
		says(o, "action", rows[i].action);
		if (rows[i].reason)
			says(o, "reason", rows[i].reason);
		else
			assert_true(json_is_null(json_object_get(o, "reason")));
		assert_null(json_object_get(o, "first"));
		json_decref(o);
	}
	assert_int_equal(box_vm(&box, "web1", "port=tap1"), 0);
	json_t *o = last();
	says(o, "kind", "identity");
	says(o, "action", "vm add");
	says(o, "subject", "vm:web1");
	json_decref(o);
}

static void refusals_have_a_five_tuple_where_the_frame_had_one(void **state)
{
	static const struct {
		uint8_t family;
		uint16_t sport;
		const char *text;
		bool addresses;
	} rows[] = {
		{ 4, 1025, "refused 0.0.0.0:1025 to 0.0.0.0:25: blocked; the first for 24 hours",
		  true },
		{ 4, 1026, "refused 0.0.0.0:1026 to 0.0.0.0:25: blocked", true },
		{ 0, 0, "refused a frame from 00:00:00:00:00:00: blocked", false },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct gate_event ev = { .type = GATE_E_REFUSED,
					 .reason = GATE_R_BLOCKED,
					 .family = rows[i].family,
					 .sport = rows[i].sport,
					 .dport = 25,
					 .src = { [10] = 0xff, [11] = 0xff },
					 .dst = { [10] = 0xff, [11] = 0xff } };
		json_t *o;

		gate_engine_event(box.e, &ev);
		o = last();
		says(o, "text", rows[i].text);
		says(o, "reason", "blocked");
		assert_int_equal(json_is_true(json_object_get(o, "first")), i == 0);
		assert_int_equal(json_object_get(o, "dport") != NULL, rows[i].addresses);
		json_decref(o);
	}
}

static void what_nobody_was_told_is_summed_up(void **state)
{
	uint64_t before = gate_events_next(events);
	json_t *o;

	gate_events_tell_lost(events);
	assert_int_equal(gate_events_next(events), before); /* nothing since */
	box.g.global.events_lost += 7;
	gate_events_tell_lost(events);
	o = last();
	says(o, "kind", "lost");
	assert_int_equal(json_integer_value(json_object_get(o, "count")), 7);
	says(o, "text", "7 events were not told: the ring was full");
	json_decref(o);
	box.g.global.events_rationed += 1;
	gate_events_tell_lost(events);
	o = last();
	says(o, "text", "1 event was not told: each VM has a ration");
	json_decref(o);
	gate_events_tell_lost(events);
	assert_int_equal(gate_events_next(events), before + 2);
}

static void the_last_thousand_are_kept(void **state)
{
	for (unsigned i = 0; i < GATE_EVENTS_KEPT + 50; i++) {
		struct gate_notice n = { .kind = GATE_N_PROBLEM };

		snprintf(n.text, sizeof(n.text), "number %u", i);
		gate_engine_notice(box.e, &n);
	}
	assert_int_equal(gate_events_next(events), GATE_EVENTS_KEPT + 50);
	assert_int_equal(gate_events_first(events), 50);
	json_t *o = last();
	says(o, "text", "number 1049");
	json_decref(o);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_box, close_box)
	const struct CMUnitTest tests[] = {
		TEST(changes_name_their_author),
		TEST(refusals_have_a_five_tuple_where_the_frame_had_one),
		TEST(what_nobody_was_told_is_summed_up),
		TEST(the_last_thousand_are_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
