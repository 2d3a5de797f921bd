// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* What VMs tried: hours, refusals, first ones, at the level of the engine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "../lib/enginebox.h"
#include "../lib/fakeclock.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOUR 3600
#define DAY  (24 * HOUR)

static struct enginebox box;

static int open_box(void **state)
{
	fake_unix_ns = 1800000000LL * 1000000000LL; /* a full hour */
	box_open(&box, 0, NULL);
	gate_engine_port_up(box.e, 7, "tap1", GATE_PORT_VM);
	return 0;
}

static int close_box(void **state)
{
	box_close(&box);
	return 0;
}

static struct gate_counters *counters(const char *subject)
{
	return &box.g.m.counters[box_slot(&box, subject)];
}

static void refuse(const char *subject, enum gate_event_type type, uint16_t sport)
{
	struct gate_event ev = { .type = type,
				 .reason = GATE_R_BLOCKED,
				 .family = 4,
				 .time = fake_mono_ns,
				 .slot = (uint32_t)box_slot(&box, subject),
				 .sport = sport,
				 .dport = 25 };

	gate_engine_event(box.e, &ev);
}

/* "admitted/blocked" of each hour, oldest first, then "*" and how many refusals. */
static const char *report(const char *subject, int64_t since)
{
	static char text[400];
	struct gate_subject s = box_subject(subject);
	struct gate_report r;

	text[0] = '\0';
	box.err = (struct gate_error){ 0 };
	if (gate_engine_report(box.e, &s, fake_now() - since, &r, &box.err))
		return box.err.message;
	for (unsigned i = 0; i < r.nhours; i++)
		sprintf(text + strlen(text), "%llu/%llu ",
			(unsigned long long)r.hours[i].flows_admitted,
			(unsigned long long)r.hours[i].flows_blocked);
	sprintf(text + strlen(text), "*%u", r.nrefusals);
	gate_report_clear(&r);
	return text;
}

static void pass(unsigned seconds)
{
	fake_pass(seconds);
	gate_engine_tick(box.e, fake_now());
}

static void hours_hold_what_was_counted_in_them(void **state)
{
	counters("port:tap1")->flows_admitted += 5;
	pass(100);
	assert_string_equal(report("port:tap1", DAY), "5/0 *0");
	counters("port:tap1")->flows_admitted += 2;
	pass(HOUR - 101); /* a second before the hour ends */
	counters("port:tap1")->flows_blocked += 3;
	pass(1);
	pass(60);
	counters("port:tap1")->flows_admitted += 1;
	assert_string_equal(report("port:tap1", DAY), "7/3 1/0 *0");
	pass(3 * HOUR);
	counters("port:tap1")->flows_blocked += 4;
	assert_string_equal(report("port:tap1", DAY), "7/3 1/0 0/4 *0");
	assert_string_equal(report("port:tap1", 600), "0/4 *0");
}

static void nothing_counts_twice_over_restarts(void **state)
{
	static const bool reboots[] = { false, true, false };
	struct gate_counters *there;

	counters("port:tap1")->flows_admitted += 5;
	assert_string_equal(report("port:tap1", DAY), "5/0 *0");
	for (size_t i = 0; i < sizeof(reboots) / sizeof(reboots[0]); i++) {
		box_restart(&box, reboots[i]);
		gate_engine_port_up(box.e, 7, "tap1", GATE_PORT_VM);
		assert_string_equal(report("port:tap1", DAY), "5/0 *0");
	}
	/* counted while no daemon was there */
	there = counters("port:tap1");
	gate_engine_close(box.e);
	there->flows_blocked += 2;
	if (gate_engine_open(&box.e, &box.g.c, &box.g.m, &box.err))
		fail_msg("%s", box.err.message);
	assert_string_equal(report("port:tap1", DAY), "5/2 *0");
}

static void refusals_are_a_ring_of_fifty(void **state)
{
	struct gate_subject s = box_subject("port:tap1");
	struct gate_report r;

	for (unsigned i = 1; i <= 130; i++) {
		refuse("port:tap1", i % 2 ? GATE_E_REFUSED : GATE_E_WOULD_REFUSE, (uint16_t)i);
		fake_pass(1);
		if (i % 40 == 0) /* some are saved, some wait */
			gate_engine_tick(box.e, fake_now());
	}
	assert_int_equal(gate_engine_report(box.e, &s, 0, &r, &box.err), 0);
	assert_int_equal(r.nrefusals, GATE_REPORT_REFUSALS);
	for (unsigned i = 0; i < r.nrefusals; i++) {
		assert_int_equal(r.refusals[i].sport, 130 - i);
		assert_int_equal(r.refusals[i].enforced, (130 - i) % 2);
	}
	gate_report_clear(&r);
	box_restart(&box, true);
	assert_string_equal(report("port:tap1", DAY), "*50");
}

static void a_flood_of_many_vms_is_bounded(void **state)
{
	char name[16], subject[24];

	for (unsigned n = 0; n < 12; n++) {
		snprintf(name, sizeof(name), "many%u", n);
		snprintf(subject, sizeof(subject), "port:%s", name);
		gate_engine_port_up(box.e, 100 + n, name, GATE_PORT_VM);
		for (unsigned i = 0; i < 3000; i++)
			refuse(subject, GATE_E_REFUSED, (uint16_t)i);
	}
	assert_string_equal(report("port:many0", DAY), "*50");
	assert_string_equal(report("port:many11", DAY), "*50");
}

static bool last_was_first(void)
{
	const struct gate_notice *n = box_notice(&box, GATE_N_REFUSED);

	return n && n->first;
}

static void first_refusal_for_a_day(void **state)
{
	refuse("port:tap1", GATE_E_WOULD_REFUSE, 1);
	refuse("port:tap1", GATE_E_REFUSED, 2);
	assert_true(last_was_first());
	refuse("port:tap1", GATE_E_REFUSED, 3);
	assert_false(last_was_first());
	fake_pass(DAY - 1);
	refuse("port:tap1", GATE_E_REFUSED, 4);
	assert_false(last_was_first());
	box_restart(&box, false);
	gate_engine_port_up(box.e, 7, "tap1", GATE_PORT_VM);
	refuse("port:tap1", GATE_E_REFUSED, 5);
	assert_false(last_was_first());
	fake_pass(DAY);
	refuse("port:tap1", GATE_E_REFUSED, 6);
	assert_true(last_was_first());
}

static void old_rows_go(void **state)
{
	counters("port:tap1")->flows_blocked += 1;
	refuse("port:tap1", GATE_E_REFUSED, 1);
	assert_string_equal(report("port:tap1", DAY), "0/1 *1");
	pass(29 * DAY);
	counters("port:tap1")->flows_blocked += 2;
	assert_string_equal(report("port:tap1", 40 * DAY), "0/1 0/2 *1");
	pass(2 * DAY);
	pass(HOUR);
	assert_string_equal(report("port:tap1", 40 * DAY), "0/2 *0");
}

static void a_port_brings_its_report_to_the_vm(void **state)
{
	counters("port:tap1")->flows_blocked += 2;
	refuse("port:tap1", GATE_E_REFUSED, 1);
	assert_string_equal(report("port:tap1", DAY), "0/2 *1");
	counters("port:tap1")->flows_blocked += 1; /* not saved yet */
	assert_int_equal(box_vm(&box, "web1", "port=tap1 tenant=acme ip=192.0.2.5"), 0);
	assert_string_equal(report("vm:web1", DAY), "0/3 *1");
	assert_string_equal(report("tenant:acme", DAY), "0/3 *1");
	assert_string_equal(report("ip:192.0.2.5", DAY), "0/3 *1");
	assert_string_equal(report("port:tap1", DAY), "there is no port:tap1");
	/* a second port joins the VM with what it did */
	gate_engine_port_up(box.e, 8, "tap2", GATE_PORT_VM);
	counters("port:tap2")->flows_blocked += 10;
	assert_string_equal(report("port:tap2", DAY), "0/10 *0");
	assert_int_equal(box_vm(&box, "web1", "port=tap1 port=tap2 tenant=acme"), 0);
	assert_string_equal(report("vm:web1", DAY), "0/13 *1");
	/* what was counted last is kept though the VM goes at once */
	counters("vm:web1")->flows_blocked += 1;
	assert_int_equal(box_del(&box, "web1"), 0);
	assert_string_equal(report("vm:web1", DAY), "0/14 *1");
}

/* Most hours of a month are nobody's, and some only others'. */
static void hours_that_lie_apart_come_along(void **state)
{
	static const struct {
		unsigned after_h, mine, others;
	} rows[] = { { 0, 1, 0 }, { 2, 0, 9 }, { 3, 2, 9 }, { 200, 0, 9 }, { 1, 3, 0 } };

	gate_engine_port_up(box.e, 8, "tap2", GATE_PORT_VM);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		pass(rows[i].after_h * HOUR);
		counters("port:tap1")->flows_blocked += rows[i].mine;
		counters("port:tap2")->flows_blocked += rows[i].others;
		pass(60);
	}
	assert_int_equal(box_vm(&box, "web1", "port=tap1"), 0);
	pass(60);
	assert_string_equal(report("vm:web1", 30 * DAY), "0/1 0/2 0/3 *0");
	assert_string_equal(report("port:tap2", 30 * DAY), "0/9 0/9 0/9 *0");
	/* nothing is left for the next guest behind a port of that name */
	assert_int_equal(box_del(&box, "web1"), 0);
	assert_string_equal(report("port:tap1", 30 * DAY), "*0");
}

static void run(const char *query)
{
	sqlite3 *db = NULL;

	assert_int_equal(sqlite3_open(box.g.store, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, query, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

/* The last statement of a save fails, so that all before it is taken back. */
static void break_saves(void)
{
	run("CREATE TRIGGER t BEFORE INSERT ON refusals WHEN NEW.subject = 'port:tap2' "
	    "BEGIN SELECT RAISE(ABORT, 'full'); END");
	refuse("port:tap2", GATE_E_REFUSED, 9);
}

static void what_a_failed_save_took_back_is_saved_later(void **state)
{
	gate_engine_port_up(box.e, 8, "tap2", GATE_PORT_VM);
	gate_engine_port_up(box.e, 9, "tap3", GATE_PORT_VM);
	counters("port:tap3")->flows_blocked += 2;
	assert_string_equal(report("port:tap3", DAY), "0/2 *0");
	break_saves();
	counters("port:tap1")->flows_blocked += 3;
	counters("port:tap3")->flows_blocked += 4;
	refuse("port:tap1", GATE_E_REFUSED, 1);
	refuse("port:tap1", GATE_E_REFUSED, 2);
	assert_int_equal(box_vm(&box, "web3", "port=tap3"), 0);
	assert_int_equal(box_vm(&box, "web4", ""), 0);
	counters("vm:web4")->flows_blocked += 5;
	assert_int_equal(box_del(&box, "web4"), 0);
	for (unsigned i = 0; i < 3; i++) /* saved in vain, and again, and again */
		pass(61);
	assert_non_null(strstr(box_problems(&box), "store: "));
	run("DROP TRIGGER t");
	pass(61);
	pass(61);
	assert_string_equal(box_problems(&box), "");
	assert_string_equal(report("port:tap1", DAY), "0/3 *2");
	assert_string_equal(report("vm:web3", DAY), "0/2 0/4 *0");
	assert_int_equal(box_vm(&box, "web4", ""), 0);
	assert_string_equal(report("vm:web4", DAY), "0/5 *0");
	box_restart(&box, true);
	gate_engine_port_up(box.e, 7, "tap1", GATE_PORT_VM);
	assert_string_equal(report("port:tap1", DAY), "0/3 *2");
}

/* Whose policy waits for a MAC would wait for none after a reboot. */
static void a_mac_that_a_failed_save_took_back_is_saved_later(void **state)
{
	const uint64_t mac = GATE_MAC_SEEN | 0x010000005452;
	__u64 *first = &box.g.m.vms[box_slot(&box, "port:tap1")].first_mac;

	assert_int_equal(box_change(&box, fake_now(), "port:tap1", "allow"), 0);
	gate_engine_port_up(box.e, 8, "tap2", GATE_PORT_VM);
	*first = mac;
	break_saves();
	pass(61);
	run("DROP TRIGGER t");
	pass(61);
	pass(61);
	assert_string_equal(box_problems(&box), "");
	box_restart(&box, true);
	gate_engine_port_up(box.e, 7, "tap1", GATE_PORT_VM);
	assert_true(box.g.m.vms[box_slot(&box, "port:tap1")].first_mac == mac);
}

static void reports_of_nobody(void **state)
{
	static const struct {
		const char *subject, *says;
	} rows[] = {
		{ "vm:nobody", "there is no vm:nobody" },
		{ "tenant:nobody", "there is no tenant:nobody" },
		{ "default", "a report is about a VM, a port or a tenant, not default" },
		{ "mac:52:54:00:00:00:09", "no VM has registered mac:52:54:00:00:00:09" },
		{ "ip:192.0.2.9", "no VM has registered ip:192.0.2.9" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_string_equal(report(rows[i].subject, DAY), rows[i].says);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_box, close_box)
	const struct CMUnitTest tests[] = {
		TEST(hours_hold_what_was_counted_in_them),
		TEST(nothing_counts_twice_over_restarts),
		TEST(refusals_are_a_ring_of_fifty),
		TEST(a_flood_of_many_vms_is_bounded),
		TEST(first_refusal_for_a_day),
		TEST(old_rows_go),
		TEST(a_port_brings_its_report_to_the_vm),
		TEST(hours_that_lie_apart_come_along),
		TEST(what_a_failed_save_took_back_is_saved_later),
		TEST(a_mac_that_a_failed_save_took_back_is_saved_later),
		TEST(reports_of_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
