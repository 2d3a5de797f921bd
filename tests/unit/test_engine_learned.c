// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Binding `learn`: which sources are recorded, which are told, what stays over restarts. */

#include "box_lab.h"
#include "../lib/fakeclock.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

static void up(uint32_t ifindex, const char *name)
{
	gate_engine_port_up(box.e, ifindex, name, GATE_PORT_VM);
}

static uint32_t slot_of_port(uint32_t ifindex)
{
	struct gate_port p;

	return fake_gate_port(&box.g, ifindex, &p) ? p.slot : UINT32_MAX;
}

/* Told by the ring: a source that a VM had not used before. */
static bool hears_source(uint32_t ifindex, const char *mac, const char *ip)
{
	struct gate_event ev = { .type = GATE_E_NEW_SOURCE, .ifindex = ifindex, .family = 4 };
	unsigned before = box.nnotices;
	struct gate_prefix p;

	ev.slot = slot_of_port(ifindex);
	assert_int_equal(gate_parse_mac(mac, ev.mac), 0);
	assert_int_equal(gate_parse_prefix(ip, &p), 0);
	memcpy(ev.src, p.addr, 16);
	gate_engine_event(box.e, &ev);
	return box.nnotices > before;
}

static void test_identity_4_learn_records_the_first_few_and_tells_changes(void **state)
{
	static const struct {
		const char *mac, *ip;
		bool told;
		unsigned macs, ips;
	} table[] = {
		{ "52:54:00:00:00:01", "192.0.2.1", false, 0, 0 },    /* registered */
		{ "52:54:00:00:00:02", "198.51.100.7", false, 0, 0 }, /* a pair */
		{ "52:54:00:00:00:01", "203.0.113.1", true, 0, 1 },
		{ "52:54:00:00:00:01", "203.0.113.1", false, 0, 1 },
		{ "52:54:00:00:00:09", "203.0.113.1", true, 1, 1 },
		{ "52:54:00:00:00:0a", "203.0.113.2", true, 2, 2 },
		{ "52:54:00:00:00:0b", "203.0.113.3", true, 3, 3 },
		{ "52:54:00:00:00:0c", "203.0.113.4", true, 4, 4 },
		{ "52:54:00:00:00:0d", "203.0.113.5", true, 4, 4 }, /* one too many, told */
		{ "52:54:00:00:00:0d", "203.0.113.5", true, 4, 4 },
		{ "52:54:00:00:00:0c", "203.0.113.5", true, 4, 5 },
		{ "52:54:00:00:00:0c", "203.0.113.6", true, 4, 6 },
		{ "52:54:00:00:00:0c", "203.0.113.7", true, 4, 7 },
		{ "52:54:00:00:00:0c", "203.0.113.8", true, 4, 8 },
		{ "52:54:00:00:00:0c", "203.0.113.9", true, 4, 8 },
	};
	struct gate_learned l;
	uint32_t slot;

	up(5, "tap5");
	box_vm(&box, "web1",
	       "port=tap5 mac=52:54:00:00:00:01 ip=192.0.2.0/24 "
	       "pair=52:54:00:00:00:02,198.51.100.7");
	slot = (uint32_t)box_slot(&box, "vm:web1");
	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		assert_int_equal(hears_source(5, table[i].mac, table[i].ip), table[i].told);
		gate_engine_learned(box.e, slot, &l);
		assert_int_equal(l.nmacs, table[i].macs);
		assert_int_equal(l.nips, table[i].ips);
	}
	box_restart(&box, true);
	assert_true(gate_engine_learned(box.e, (uint32_t)box_slot(&box, "vm:web1"), &l));
	assert_int_equal(l.nmacs, 4);
	assert_int_equal(l.nips, 8);
	/* What is registered in the end is no longer merely learned. */
	box_vm(&box, "web1", "port=tap5 mac=52:54:00:00:00:0a ip=203.0.113.0/24");
	gate_engine_learned(box.e, (uint32_t)box_slot(&box, "vm:web1"), &l);
	assert_int_equal(l.nmacs, 3);
	assert_int_equal(l.nips, 0);
	box_del(&box, "web1");
	box_vm(&box, "web1", "port=tap5");
	box_restart(&box, false);
	assert_false(gate_engine_learned(box.e, (uint32_t)box_slot(&box, "vm:web1"), &l));
}

static void run(const char *query)
{
	sqlite3 *db = NULL;

	assert_int_equal(sqlite3_open(box.g.store, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, query, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void tick(unsigned seconds)
{
	while (seconds--) {
		fake_pass(1);
		gate_engine_tick(box.e, fake_now());
	}
}

/* What was written before the write that failed was taken back with it. */
static void test_what_was_learned_is_saved_again_after_a_failure(void **state)
{
	struct gate_learned l;

	up(5, "tap5");
	up(6, "tap6");
	box_vm(&box, "web1", "port=tap5");
	box_vm(&box, "web2", "port=tap6");
	run("CREATE TRIGGER t BEFORE INSERT ON learned WHEN NEW.subject = 'vm:web2' "
	    "BEGIN SELECT RAISE(ABORT, 'full'); END");
	assert_true(hears_source(5, "52:54:00:00:00:01", "192.0.2.1"));
	assert_true(hears_source(6, "52:54:00:00:00:02", "192.0.2.2"));
	tick(4);
	run("DROP TRIGGER t");
	tick(20);
	box_restart(&box, true);
	assert_true(gate_engine_learned(box.e, (uint32_t)box_slot(&box, "vm:web2"), &l));
	assert_true(gate_engine_learned(box.e, (uint32_t)box_slot(&box, "vm:web1"), &l));
}

static void test_identity_4_another_guest_on_the_port_begins_anew(void **state)
{
	struct gate_event ev = { .ifindex = 5,
				 .type = GATE_E_NEW_MAC,
				 .mac = { 2, 0, 0, 0, 0, 9 } };
	struct gate_learned l;
	uint32_t slot;

	up(5, "tap5");
	slot = slot_of_port(5);
	assert_true(hears_source(5, "52:54:00:00:00:01", "192.0.2.1"));
	assert_true(gate_engine_learned(box.e, slot, &l));
	ev.slot = slot;
	gate_engine_event(box.e, &ev);
	assert_false(gate_engine_learned(box.e, slot, &l));
	/* What the slot's last VM did on another port is no news of this one. */
	ev = (struct gate_event){ .slot = slot, .ifindex = 9, .type = GATE_E_NEW_SOURCE };
	gate_engine_event(box.e, &ev);
	assert_false(gate_engine_learned(box.e, slot, &l));
}

static void test_identity_3_an_address_on_two_ports_is_told(void **state)
{
	static const struct {
		const char *what;
		uint32_t port;
		const char *mac, *ip;
		const char *says; /* NULL: nobody else is named */
	} table[] = {
		{ "of nobody", 6, "52:54:00:00:00:06", "203.0.113.6", NULL },
		{ "an address that is registered", 6, "52:54:00:00:00:06", "192.0.2.1",
		  "; vm:web1 has registered it" },
		{ "a MAC that is registered", 7, "52:54:00:00:00:01", "203.0.113.7",
		  "; vm:web1 has registered it" },
		{ "an address that another uses", 7, "52:54:00:00:00:07", "203.0.113.6",
		  "; port:tap6 was seen to use it too" },
		{ "a MAC that another uses", 8, "52:54:00:00:00:07", "203.0.113.8",
		  "; port:tap7 was seen to use it too" },
		{ "a use of its own", 8, "52:54:00:00:00:08", "203.0.113.8", NULL },
	};

	for (uint32_t port = 5; port <= 8; port++) {
		char name[8];

		snprintf(name, sizeof(name), "tap%u", port);
		up(port, name);
	}
	box_vm(&box, "web1", "port=tap5 mac=52:54:00:00:00:01 ip=192.0.2.0/24");
	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const char *said;

		print_message("%s\n", table[i].what);
		assert_true(hears_source(table[i].port, table[i].mac, table[i].ip));
		said = box_notice(&box, GATE_N_IDENTITY)->text;
		if (table[i].says)
			assert_non_null(strstr(said, table[i].says));
		else
			assert_null(strstr(said, "; "));
	}
}

#define BOX(f) cmocka_unit_test_setup_teardown(f, open_box, close_box)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOX(test_identity_4_learn_records_the_first_few_and_tells_changes),
		BOX(test_what_was_learned_is_saved_again_after_a_failure),
		BOX(test_identity_4_another_guest_on_the_port_begins_anew),
		BOX(test_identity_3_an_address_on_two_ports_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
