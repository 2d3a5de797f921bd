// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Export and apply: all or nothing, the difference told, fast enough for 100,000. */

#include "set_lab.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define MANY 100000

/* ---- there and back ---- */

static void test_what_was_exported_applies_without_a_difference(void **state)
{
	struct item_list l;

	box_vm(&box, "web2",
	       "tenant=acme mac=52:54:00:00:00:02 ip=192.0.2.2 pair=02:00:5e:00:01:07,"
	       "192.0.2.9");
	box_vm(&box, "web1", "port=tap1 binding=strict");
	change("vm:web1", "limit 5/s 100/h:3 burst=2 for=60 reason=x");
	change("tenant:acme", "quarantine");
	change("tenant:acme", "budget 5/h");
	change("default", "exempt +10.0.0.0/8");
	change("ip:192.0.2.0/24", "block");
	l = export();
	assert_int_equal(l.n, 6);
	assert_string_equal(l.items[0].vm.name, "web1");
	assert_string_equal(l.items[1].vm.name, "web2");
	assert_int_equal(l.items[2].subject.kind, GATE_S_DEFAULT);
	assert_int_equal(apply(&l, false), 0);
	assert_string_equal(box.text, "");
	/* On an empty host all of it comes new, and is the same again. */
	box_del(&box, "web1");
	box_del(&box, "web2");
	change("default", "exempt -10.0.0.0/8");
	change("tenant:acme", "release");
	assert_int_equal(apply(&l, true), 0);
	assert_string_equal(box.text,
			    "+ vm:web1\n+ vm:web2\n+ default\n~ tenant:acme\n+ vm:web1\n");
	assert_int_equal(box_slot(&box, "vm:web1"), -1);
	assert_int_equal(apply(&l, false), 0);
	assert_string_equal(box_effective(&box, "vm:web1", 0), "limit vm:web1");
	assert_string_equal(box_effective(&box, "vm:web2", 0), "quarantine tenant:acme");
	assert_int_equal(apply(&l, false), 0);
	assert_string_equal(box.text, "");
	assert_string_equal(box_audit(&box, "vm:web1", 2),
			    "bob apply vm:web1 \nbob apply vm vm:web1 \n");
	clear(&l);
}

static void test_what_is_not_in_the_set_goes(void **state)
{
	struct item_list l = { 0 };

	gate_engine_port_up(box.e, 5, "tap5", GATE_PORT_VM);
	box_vm(&box, "old", "port=tap1 ip=192.0.2.1");
	change("vm:old", "allow");
	change("port:tap5", "allow");
	change("tenant:gone", "block");
	give_ip(add_vm(&l, "new"), "192.0.2.1");
	add_own(&l, "vm:new", GATE_BLOCK);
	assert_int_equal(apply(&l, false), 0);
	assert_string_equal(box_effective(&box, "vm:old", 0), "?");
	assert_string_equal(box_effective(&box, "port:tap5", 0), "limit default");
	assert_string_equal(box_effective(&box, "tenant:gone", 0), "?");
	assert_string_equal(box_effective(&box, "vm:new", 0), "block vm:new");
	box_restart(&box, true);
	assert_string_equal(box_effective(&box, "vm:old", 0), "?");
	assert_string_equal(box_effective(&box, "vm:new", 0), "block vm:new");
	clear(&l);
}

/* ---- all or nothing ---- */

static void spoil_twice(struct item_list *l)
{
	add_vm(l, "a");
}
static void spoil_mac(struct item_list *l)
{
	give_mac(&l->items[0], 9);
	give_mac(add_vm(l, "z"), 9);
}
static void spoil_ip(struct item_list *l)
{
	give_ip(&l->items[0], "192.0.2.7");
	give_ip(add_vm(l, "z"), "192.0.2.0/24");
}
static void spoil_name(struct item_list *l)
{
	add_vm(l, "not a name");
}
static void spoil_subject(struct item_list *l)
{
	add_own(l, "vm:nobody", GATE_BLOCK);
}
static void spoil_port(struct item_list *l)
{
	add_own(l, "port:tap99", GATE_BLOCK);
}
static void spoil_subject_twice(struct item_list *l)
{
	add_own(l, "tenant:t", GATE_BLOCK);
	add_own(l, "tenant:t", GATE_ALLOW);
}
static void spoil_concurrent(struct item_list *l)
{
	struct gate_own own = own_of("tenant:t", GATE_LIMIT);

	own.scope[0].limits.concurrent = 5000;
	add_record(l, &own);
}
static void spoil_budget(struct item_list *l)
{
	struct gate_own own = own_of("default", GATE_BLOCK);

	own.nbudget = 1;
	own.budget[0] = (struct gate_rate_spec){ .count = 1, .per_s = 1 };
	add_record(l, &own);
}
static void spoil_rate(struct item_list *l)
{
	struct gate_own own = own_of("tenant:t", GATE_LIMIT);

	own.scope[0].limits.nrates = 1;
	add_record(l, &own);
}
static void spoil_room(struct item_list *l)
{
	char name[20];

	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "v%d", i);
		add_vm(l, name);
	}
}

static void test_a_set_with_one_fault_changes_nothing(void **state)
{
	static const struct {
		void (*spoil)(struct item_list *);
		enum gate_error_code code;
		const char *message;
	} table[] = {
		{ spoil_twice, GATE_ERR_USAGE, "vm:a stands in the set twice" },
		{ spoil_mac, GATE_ERR_CONFLICT,
		  "MAC 52:54:00:00:00:09 is claimed by both vm:a and vm:z" },
		{ spoil_ip, GATE_ERR_CONFLICT,
		  "address 192.0.2.7 is claimed by both vm:z and vm:a" },
		{ spoil_name, GATE_ERR_USAGE, "not a name for a VM" },
		{ spoil_subject, GATE_ERR_NO_SUBJECT, "there is no vm:nobody" },
		{ spoil_port, GATE_ERR_NO_SUBJECT, "there is no port:tap99" },
		{ spoil_subject_twice, GATE_ERR_USAGE, "tenant:t stands in the set twice" },
		{ spoil_concurrent, GATE_ERR_USAGE,
		  "tenant:t: concurrent 5000 is more than the flow table can hold: at most 8, "
		  "half of flows_per_vm" },
		{ spoil_budget, GATE_ERR_USAGE,
		  "default: a budget is for tenants and address prefixes" },
		{ spoil_rate, GATE_ERR_USAGE,
		  "tenant:t: a rate of 0 is no limit: use `block` instead" },
		{ spoil_room, GATE_ERR_FAILED, "no room for 21 VMs (max_vms = 16)" },
	};

	box_vm(&box, "kept", "");
	change("vm:kept", "allow");
	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct item_list l = { 0 };

		add_vm(&l, "a");
		add_own(&l, "vm:a", GATE_BLOCK);
		table[i].spoil(&l);
		assert_int_equal(apply(&l, false), table[i].code);
		assert_string_equal(box.err.message, table[i].message);
		assert_string_equal(box.text, "");
		assert_string_equal(box_effective(&box, "vm:kept", 0), "allow vm:kept");
		assert_int_equal(box_slot(&box, "vm:a"), -1);
		clear(&l);
	}
}

static void test_a_set_that_cannot_be_saved_changes_nothing(void **state)
{
	struct item_list l = { 0 };
	sqlite3 *other;

	box_vm(&box, "kept", "");
	add_vm(&l, "a")->vm.tenant[0] = 't';
	add_own(&l, "vm:a", GATE_BLOCK);
	assert_int_equal(sqlite3_open(box.g.store, &other), SQLITE_OK);
	sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL);
	assert_int_equal(apply(&l, false), GATE_ERR_FAILED);
	sqlite3_close(other);
	assert_int_equal(box_slot(&box, "vm:a"), -1);
	assert_int_not_equal(box_slot(&box, "vm:kept"), -1);
	assert_string_equal(box_effective(&box, "tenant:t", 0), "?");
	clear(&l);
}

static void test_what_has_expired_since_the_export_is_left_out(void **state)
{
	struct item_list l = { 0 };
	struct gate_own past = own_of("vm:a", GATE_ALLOW);
	struct gate_own later = own_of("tenant:t", GATE_BLOCK);

	past.scope[0].expires = fake_now() - 1;
	later.scope[0].expires = fake_now() + 1;
	add_vm(&l, "a");
	add_record(&l, &past);
	add_record(&l, &later);
	assert_int_equal(apply(&l, false), 0);
	assert_string_equal(box.text, "+ vm:a\n+ tenant:t\n");
	assert_string_equal(box_effective(&box, "vm:a", 0), "limit default");
	clear(&l);
}

/* Rows go to the trail several at a time, in the order of the changes, none left behind. */
static void test_each_change_is_in_the_trail(void **state)
{
	static const int sizes[] = { 1, 7, 8, 9, 16, 17, 40 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		char name[20], subject[24], says[200];
		struct item_list l = { 0 };

		box_close(&box);
		box_open(&box, 64, NULL);
		for (int v = 0; v < sizes[i]; v++) {
			snprintf(name, sizeof(name), "v%d", v);
			snprintf(subject, sizeof(subject), "vm:%s", name);
			add_vm(&l, name);
			add_own(&l, subject, v % 2 ? GATE_BLOCK : GATE_ALLOW);
		}
		assert_int_equal(apply(&l, false), 0);
		for (int v = 0; v < sizes[i]; v++) {
			snprintf(subject, sizeof(subject), "vm:v%d", v);
			snprintf(says, sizeof(says), "bob apply %s \nbob apply vm %s \n", subject,
				 subject);
			assert_string_equal(box_audit(&box, subject, 0), says);
		}
		clear(&l);
	}
}

/* ---- many ---- */

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The bound is loose for the sake of slow machines; what is quadratic exceeds it by far. */
static void test_a_hundred_thousand_at_once(void **state)
{
	struct item_list l = { .items = gate_alloc(2 * MANY, sizeof(struct gate_set_item)) };
	double start;

	gate_engine_close(box.e);
	fake_gate_free(&box.g);
	box_open(&box, MANY + 1, NULL);
	for (size_t i = 0; i < MANY; i++) {
		struct gate_set_item *vm = &l.items[i], *item = &l.items[MANY + i];
		struct gate_own own;

		vm->is_vm = true;
		vm->vm.binding = -1;
		vm->vm.macs = gate_alloc(1, sizeof(*vm->vm.macs));
		vm->vm.nmacs = 1;
		memcpy(vm->vm.macs[0], &(uint64_t){ 0x5452 | i << 16 }, 6);
		snprintf(vm->vm.name, sizeof(vm->vm.name), "vm%zu", i);
		snprintf(vm->vm.tenant, sizeof(vm->vm.tenant), "t%zu", i % 50);
		item->subject.kind = GATE_S_VM;
		memcpy(item->subject.name, vm->vm.name, sizeof(vm->vm.name));
		gate_own_init(&own, &item->subject);
		own.scope[0].state = i % 2 ? GATE_BLOCK : GATE_ALLOW;
		item->own = gate_own_pack(&own);
	}
	l.n = 2 * MANY;
	start = now_s();
	assert_int_equal(apply(&l, false), 0);
	print_message("apply of %d VMs and policies: %.2f s\n", MANY, now_s() - start);
	assert_true(now_s() - start < 20);
	start = now_s();
	box_restart(&box, false);
	print_message("restart with them: %.2f s\n", now_s() - start);
	assert_true(now_s() - start < 20);
	start = now_s();
	for (int i = 0; i < 1000; i++)
		assert_int_equal(change("vm:vm77777", i % 2 ? "block" : "quarantine"), 0);
	print_message("a change among them: %.0f us\n", (now_s() - start) * 1e3);
	assert_true(now_s() - start < 5);
	clear(&l);
}

int main(void)
{
#define BOX(f) cmocka_unit_test_setup_teardown(f, open_box, close_box)
	const struct CMUnitTest tests[] = {
		BOX(test_what_was_exported_applies_without_a_difference),
		BOX(test_what_is_not_in_the_set_goes),
		BOX(test_a_set_with_one_fault_changes_nothing),
		BOX(test_a_set_that_cannot_be_saved_changes_nothing),
		BOX(test_what_has_expired_since_the_export_is_left_out),
		BOX(test_each_change_is_in_the_trail),
		BOX(test_a_hundred_thousand_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
