// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Changes that are taken back: each kind of them, whole or not at all. */
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

static struct enginebox box;
static const struct gate_actor alice = { .uid = 1000, .name = "alice" };

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

static void pass(unsigned seconds)
{
	fake_pass(seconds);
	gate_engine_tick(box.e, fake_now());
}

static void run(const char *query)
{
	sqlite3 *db = NULL;

	assert_int_equal(sqlite3_open(box.g.store, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, query, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static int undo(int64_t id)
{
	struct gate_undone done;

	box.err = (struct gate_error){ 0 };
	return gate_engine_undo(box.e, &alice, id, "", &done, &box.err) ? (int)box.err.code : 0;
}

static int write_line(void *arg, const struct gate_set_item *it)
{
	char *text = arg, subject[GATE_SUBJECT_LEN + 4];

	struct gate_own own;

	if (it->is_vm) {
		sprintf(text + strlen(text), "%s:%u,%u,%s ", it->vm.name, it->vm.nports,
			it->vm.nmacs, it->vm.tenant);
		return 0;
	}
	gate_own_unpack(it->own, &it->subject, &own);
	sprintf(text + strlen(text), "%s=%d%d%d%u%u ",
		gate_format_subject(&it->subject, subject, sizeof(subject)), own.scope[0].state,
		own.quarantine.on, own.observe, own.nbudget, own.nexempt);
	return 0;
}

static const char *model(char text[2000])
{
	text[0] = '\0';
	gate_engine_export(box.e, write_line, text);
	return text;
}

static void undo_of_each_kind_of_change(void **state)
{
	static const struct {
		const char *subject, *words;
	} rows[] = {
		{ "port:tap1", "block reason=spam" },
		{ "port:tap1", "limit 5/s burst=3" },
		{ "port:tap1", "quarantine" },
		{ "port:tap1", "release" },
		{ "port:tap1", "observe=on" },
		{ "port:tap1", "drop" },
		{ "tenant:acme", "budget 5/h" },
		{ "tenant:acme", "exempt +192.0.2.0/24" },
		{ "tenant:new", "block" },
		{ "default", "block" },
		{ "mac:52:54:00:00:00:01", "block" },
		{ "ip:2001:db8::/64", "limit 1/s" },
		{ "vm:web9", "allow on=25 for=600" },
	};
	char before[2000], after[2000];

	box_vm(&box, "web9", "port=tap9 mac=52:54:00:00:00:09 tenant=acme");
	box_change(&box, fake_now(), "port:tap1", "limit 9/s reason=x");
	box_change(&box, fake_now(), "port:tap1", "exempt +198.51.100.0/24");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		print_message("%s %s\n", rows[i].subject, rows[i].words);
		model(before);
		assert_int_equal(box_change(&box, fake_now(), rows[i].subject, rows[i].words), 0);
		assert_int_equal(undo(0), 0);
		assert_string_equal(model(after), before);
		assert_non_null(strstr(box_audit(&box, NULL, 1), "alice undo "));
	}
}

static void undo_of_registrations(void **state)
{
	char bare[2000], with_vm[2000], changed[2000], now[2000];

	box_change(&box, fake_now(), "port:tap1", "block");
	model(bare);
	assert_int_equal(box_vm(&box, "web1", "port=tap1 tenant=acme"), 0);
	model(with_vm); /* the port's policy is the VM's now */
	assert_non_null(strstr(with_vm, "vm:web1=3"));
	assert_int_equal(undo(0), 0);
	assert_string_equal(model(now), bare);
	assert_int_equal(box_vm(&box, "web1", "port=tap1 tenant=acme"), 0);
	assert_int_equal(box_vm(&box, "web1", "port=tap1 port=tap2 mac=52:54:00:00:00:01"), 0);
	model(changed);
	assert_int_equal(undo(0), 0);
	assert_string_equal(model(now), with_vm);
	assert_int_equal(box_del(&box, "web1"), 0);
	assert_int_equal(undo(0), 0);
	assert_string_equal(model(now), with_vm);
	assert_string_not_equal(changed, with_vm);
}

/* Whatever the write that fails, nothing has changed, and all can be said once more. */
static void undo_of_a_registration_is_whole_or_none(void **state)
{
	static const struct {
		const char *made, *words, *trigger; /* of the last thing that is written back */
	} rows[] = {
		{ NULL, NULL, "BEFORE INSERT ON policies" },
		{ NULL, NULL, "BEFORE INSERT ON audit" },
		{ "web1", "port=tap1 port=tap2", "BEFORE INSERT ON policies" },
		{ "web1", "port=tap1 port=tap2", "BEFORE INSERT ON subjects" },
		{ "web2", "port=tap2", "BEFORE INSERT ON policies" },
		{ "web2", "port=tap2", "BEFORE INSERT ON audit" },
	};
	char before[2000], after[2000], now[2000], query[200];

	gate_engine_port_up(box.e, 8, "tap2", GATE_PORT_VM);
	box_vm(&box, "web1", "port=tap1");
	box_change(&box, fake_now(), "vm:web1", "quarantine");
	box_change(&box, fake_now(), "vm:web1", "block");
	box_change(&box, fake_now(), "port:tap2", "block");
	model(before);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		print_message("%zu: %s\n", i, rows[i].trigger);
		assert_int_equal(rows[i].made ? box_vm(&box, rows[i].made, rows[i].words)
					      : box_del(&box, "web1"),
				 0);
		model(after);
		snprintf(query, sizeof(query),
			 "CREATE TRIGGER t %s BEGIN SELECT RAISE(ABORT, 'full'); END",
			 rows[i].trigger);
		run(query);
		assert_int_equal(undo(0), GATE_ERR_FAILED);
		assert_non_null(strstr(box.err.message, "nothing is changed, it could not be "));
		assert_string_equal(model(now), after);
		run("DROP TRIGGER t");
		pass(6);
		assert_string_equal(box_problems(&box), "");
		assert_int_equal(undo(0), 0);
		assert_string_equal(model(now), before);
		box_restart(&box, true);
		gate_engine_port_up(box.e, 7, "tap1", GATE_PORT_VM);
		gate_engine_port_up(box.e, 8, "tap2", GATE_PORT_VM);
		assert_string_equal(model(now), before);
	}
}

/* One note for the VM's own policy and its registration: so the undo can be taken back, too. */
static void undo_of_an_undo_of_a_registration(void **state)
{
	char before[2000], after[2000], now[2000];

	box_vm(&box, "web1", "port=tap1");		  /* 1 */
	box_change(&box, fake_now(), "vm:web1", "block"); /* 2 */
	model(before);
	box_del(&box, "web1"); /* 3 */
	model(after);
	assert_int_equal(undo(3), 0);
	assert_int_equal(undo(4), 0);
	assert_string_equal(model(now), after);
	assert_int_equal(undo(5), 0);
	assert_string_equal(model(now), before);
}

static void undo_is_refused(void **state)
{
	/* 1: port:tap1 limit, 2: block, 3: expire */
	box_change(&box, fake_now(), "port:tap1", "limit 5/s");
	box_change(&box, fake_now(), "port:tap1", "block for=60");
	assert_int_equal(undo(1), GATE_ERR_CONFLICT);
	assert_non_null(strstr(box.err.message, "was changed since change 1: block by alice"));
	pass(61);
	assert_int_equal(undo(2), GATE_ERR_CONFLICT); /* it has run out */
	assert_int_equal(undo(3), GATE_ERR_USAGE);    /* an expiry is no decision */
	assert_int_equal(undo(99), GATE_ERR_NO_SUBJECT);
	box_change(&box, fake_now(), "port:tap1", "allow");
	assert_int_equal(undo(0), 0);
	assert_int_equal(undo(0), GATE_ERR_CONFLICT);
	assert_non_null(strstr(box.err.message, "was an undo"));
	/* another VM has the MAC meanwhile */
	box_vm(&box, "web1", "mac=52:54:00:00:00:01");
	box_del(&box, "web1");
	box_vm(&box, "web2", "mac=52:54:00:00:00:01");
	assert_int_equal(undo(7), GATE_ERR_CONFLICT);
	assert_non_null(strstr(box.err.message, "belongs to vm:web2"));
}

static void what_has_run_out_meanwhile_is_not_put_back(void **state)
{
	box_change(&box, fake_now(), "port:tap1", "allow for=60");
	box_change(&box, fake_now(), "port:tap1", "block");
	fake_pass(61);
	assert_int_equal(undo(0), 0);
	assert_string_equal(box_effective(&box, "port:tap1", 0), "limit default");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_box, close_box)
	const struct CMUnitTest tests[] = {
		TEST(undo_of_each_kind_of_change),
		TEST(undo_of_registrations),
		TEST(undo_of_a_registration_is_whole_or_none),
		TEST(undo_of_an_undo_of_a_registration),
		TEST(undo_is_refused),
		TEST(what_has_run_out_meanwhile_is_not_put_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
