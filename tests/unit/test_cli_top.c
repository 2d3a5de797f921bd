// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* What top makes of the daemon's answers: figures of the last minute, order, filter. */
#include "../../tools/cli/more/top.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* "NAME admitted blocked 2xx 5xx dests open" for each VM. */
struct vm {
	const char *subject;
	int admitted, blocked, good, bad, dests, open;
};

static void take(struct top_data *d, const struct vm *vms, size_t n, int64_t now_ms)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(
			list,
			json_pack("{s:s, s:s, s:s, s:b, s:{s:i, s:i, s:i, s:i, s:i, s:i}}",
				  "subject", vms[i].subject, "tenant", "acme", "state", "limit",
				  "enforce", 1, "counters", "flows_admitted", vms[i].admitted,
				  "flows_blocked", vms[i].blocked, "replies_2xx", vms[i].good,
				  "replies_5xx", vms[i].bad, "new_destinations", vms[i].dests,
				  "flows_active", vms[i].open));
	assert_int_equal(top_data_take(d, list, now_ms), 0);
	json_decref(list);
}

static const struct top_vm *find(const struct top_data *d, const char *subject)
{
	return gate_table_get(&d->by_subject, subject, strlen(subject));
}

static void near(double is, double wanted)
{
	if (is < wanted - 0.01 || is > wanted + 0.01)
		fail_msg("%f, wanted %f", is, wanted);
}

static void figures_are_of_the_last_minute(void **state)
{
	struct vm a = { .subject = "vm:a", .admitted = 1000, .good = 100 };
	struct top_data d = { 0 };
	int64_t now = 5000;

	take(&d, &a, 1, now);
	near(find(&d, "vm:a")->per_min[TOP_NEW], 0); /* what was before is not of now */
	/* one a second for two minutes, then silence */
	for (int i = 0; i < 60; i++) {
		a.admitted += 2;
		take(&d, &a, 1, now += 2000);
	}
	near(find(&d, "vm:a")->per_min[TOP_NEW], 60);
	near(d.total_per_min[TOP_NEW], 60);
	for (int i = 0; i < 15; i++)
		take(&d, &a, 1, now += 2000);
	if (find(&d, "vm:a")->per_min[TOP_NEW] > 35 || find(&d, "vm:a")->per_min[TOP_NEW] < 25)
		fail_msg("after half a minute: %f", find(&d, "vm:a")->per_min[TOP_NEW]);
	for (int i = 0; i < 17; i++)
		take(&d, &a, 1, now += 2000);
	near(find(&d, "vm:a")->per_min[TOP_NEW], 0);
	top_data_clear(&d);
}

static void slow_answers_stretch_no_figure(void **state)
{
	struct vm a = { .subject = "vm:a" };
	struct top_data d = { 0 };
	int64_t now = 0;

	take(&d, &a, 1, now);
	for (int i = 0; i < 100; i++) {
		a.admitted += 10;
		take(&d, &a, 1, now += 10000); /* one a second, asked for each ten */
	}
	near(find(&d, "vm:a")->per_min[TOP_NEW], 60);
	top_data_clear(&d);
}

static void share_of_5xx(void **state)
{
	static const struct {
		int good, bad; /* since */
		double share;
	} rows[] = { { 0, 0, 20 }, { 10, 0, 0 }, { 0, 5, 100 }, { 5, 5, 50 } };
	struct top_data d;

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct vm a = { .subject = "vm:a", .good = 80, .bad = 20 };

		memset(&d, 0, sizeof(d));
		take(&d, &a, 1, 1000);
		near(find(&d, "vm:a")->share_5xx, 20); /* of all that ever were */
		a.good += rows[i].good;
		a.bad += rows[i].bad;
		take(&d, &a, 1, 3000);
		near(find(&d, "vm:a")->share_5xx, rows[i].share);
		top_data_clear(&d);
	}
}

static void vms_come_and_go(void **state)
{
	struct vm vms[] = { { .subject = "vm:a", .admitted = 10 },
			    { .subject = "vm:b", .admitted = 500 } };
	struct top_data d = { 0 };

	take(&d, vms, 1, 0);
	take(&d, vms, 2, 2000);
	assert_int_equal(d.n, 2);
	near(find(&d, "vm:b")->per_min[TOP_NEW], 0); /* its past is not of this minute */
	take(&d, vms + 1, 1, 4000);
	assert_int_equal(d.n, 1);
	assert_null(find(&d, "vm:a"));
	vms[0].admitted = 3; /* made anew: its counters began again */
	take(&d, vms, 2, 6000);
	near(find(&d, "vm:a")->per_min[TOP_NEW], 0);
	vms[1].admitted = 0;
	take(&d, vms, 2, 8000);
	near(find(&d, "vm:b")->per_min[TOP_NEW], 0);
	take(&d, vms, 0, 10000);
	assert_int_equal(d.n, 0);
	top_data_clear(&d);
}

static void order_and_filter(void **state)
{
	static const struct vm before[] = { { .subject = "vm:web10" },
					    { .subject = "vm:web2" },
					    { .subject = "port:tap1" } };
	static const struct vm after[] = {
		{ .subject = "vm:web10", .admitted = 5, .good = 9, .bad = 1, .open = 1 },
		{ .subject = "vm:web2",
		  .admitted = 1,
		  .blocked = 1,
		  .good = 1,
		  .bad = 9,
		  .dests = 2,
		  .open = 2 },
		{ .subject = "port:tap1", .blocked = 9, .dests = 1, .open = 3 },
	};
	static const struct {
		enum top_sort by;
		const char *filter, *order;
	} rows[] = {
		{ SORT_NEW, "", "port:tap1 vm:web10 vm:web2 " },
		{ SORT_REFUSED, "", "port:tap1 vm:web2 vm:web10 " },
		{ SORT_5XX, "", "vm:web2 vm:web10 port:tap1 " },
		{ SORT_DESTINATIONS, "", "vm:web2 port:tap1 vm:web10 " },
		{ SORT_OPEN, "", "port:tap1 vm:web2 vm:web10 " },
		{ SORT_NAME, "", "port:tap1 vm:web2 vm:web10 " },
		{ SORT_NAME, "WEB", "vm:web2 vm:web10 " },
		{ SORT_NAME, "acme", "port:tap1 vm:web2 vm:web10 " },
		{ SORT_NAME, "limit", "port:tap1 vm:web2 vm:web10 " },
		{ SORT_NAME, "web1", "vm:web10 " },
		{ SORT_NAME, "none of them", "" },
	};
	struct top_data d = { 0 };

	take(&d, before, COUNT(before), 0);
	take(&d, after, COUNT(after), 60000);
	for (size_t i = 0; i < COUNT(rows); i++) {
		char order[200] = "";

		top_data_sort(&d, rows[i].by, rows[i].filter);
		for (size_t k = 0; k < d.shown; k++)
			sprintf(order + strlen(order), "%s ", d.vms[k]->subject);
		assert_string_equal(order, rows[i].order);
	}
	top_data_clear(&d);
}

/* Answers that make no sense: no crash, and control characters reach no terminal. */
static void nonsense(void **state)
{
	static const char *const answers[] = {
		"null",
		"7",
		"[]",
		"[7, null, [], \"x\"]",
		"[{}]",
		"[{\"subject\":7}]",
		"[{\"subject\":\"vm:a\",\"counters\":[],\"state\":[],\"tenant\":{}}]",
		"[{\"subject\":\"vm:a\",\"counters\":{\"flows_admitted\":-5}}]",
		"[{\"subject\":\"vm:a\\u001b[2J\",\"state\":\"\\u0007\"}]",
	};
	struct top_data d = { 0 };
	int64_t now = 0;

	for (size_t i = 0; i < COUNT(answers); i++) {
		json_t *list = json_loads(answers[i], JSON_DECODE_ANY, NULL);

		assert_non_null(list);
		assert_int_equal(top_data_take(&d, list, now += 2000), 0);
		top_data_sort(&d, SORT_NEW, "");
		for (size_t k = 0; k < d.n; k++)
			assert_null(strpbrk(d.vms[k]->subject, "\033\007"));
		json_decref(list);
	}
	top_data_clear(&d);
}

/* Port names may hold what no terminal should see, and any number of bytes. */
static void strange_names_come_and_go(void **state)
{
	char longer[200] = "port:";
	struct vm vms[] = { { .subject = "port:tap\033[2J" }, { .subject = longer } };
	struct top_data d = { 0 };

	memset(longer + 5, 'x', sizeof(longer) - 6);
	for (int i = 0; i < 6; i++) {
		vms[0].admitted += 5;
		take(&d, vms, i % 2 ? 0 : COUNT(vms), i * 2000);
		top_data_sort(&d, SORT_NEW, "");
		assert_int_equal(d.n, i % 2 ? 0 : COUNT(vms));
		assert_int_equal(d.by_subject.count, d.n);
		assert_null(find(&d, vms[0].subject));
	}
	top_data_clear(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(figures_are_of_the_last_minute),
		cmocka_unit_test(slow_answers_stretch_no_figure),
		cmocka_unit_test(share_of_5xx),
		cmocka_unit_test(vms_come_and_go),
		cmocka_unit_test(order_and_filter),
		cmocka_unit_test(nonsense),
		cmocka_unit_test(strange_names_come_and_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
