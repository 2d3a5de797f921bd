// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The store that fails: newer, corrupt, locked, deleted, full. The kernel keeps
 * the last policy, what closes is taken, what opens is refused, all heals.
 */
#include "box_lab.h"
#include "../lib/fakeclock.h"
#include "store.h"

#include <fcntl.h>
#include <sched.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define change(subject, words) box_change(&box, fake_now(), subject, words)

static void tick(unsigned seconds)
{
	while (seconds--) {
		fake_pass(1);
		gate_engine_tick(box.e, fake_now());
	}
}

static enum gate_state in_kernel(uint32_t slot)
{
	const struct gate_node *n = fake_gate_node(&box.g, gate_base_vm(slot), 0);

	return n ? n->state : GATE_INHERIT;
}

/* A number that the store itself has, asked beside the daemon. */
static int ask(const char *query)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *q = NULL;
	int out = -1;

	if (!sqlite3_open_v2(box.g.store, &db, SQLITE_OPEN_READONLY, NULL) &&
	    !sqlite3_prepare_v2(db, query, -1, &q, NULL) && sqlite3_step(q) == SQLITE_ROW)
		out = sqlite3_column_int(q, 0);
	sqlite3_finalize(q);
	sqlite3_close(db);
	return out;
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	for (int i = 0; i < 200; i++)
		fputs(text, f);
	fclose(f);
}

static void remove_store(void)
{
	char path[120];

	unlink(box.g.store);
	snprintf(path, sizeof(path), "%s-wal", box.g.store);
	unlink(path);
	snprintf(path, sizeof(path), "%s-shm", box.g.store);
	unlink(path);
}

static void set_up_policy(void)
{
	box_vm(&box, "web1", "tenant=acme mac=52:54:00:00:00:01 ip=192.0.2.0/24");
	box_vm(&box, "web2", "");
	change("vm:web1", "limit 7/s 100/h:3 concurrent=2 for=3600");
	change("vm:web2", "block drain observe=on exempt +198.51.100.1");
	change("tenant:acme", "quarantine");
	change("tenant:acme", "budget 500/h");
	change("ip:192.0.2.7", "allow");
	change("default", "limit 3/s");
}

/* What closes is in force and says that it is not saved; what opens is refused. */
static void check_crippled(void)
{
	const char *problems = box_problems(&box);

	assert_int_equal(strncmp(problems, "store: ", 7), 0);
	assert_int_equal(change("vm:web2", "allow"), GATE_ERR_FAILED);
	assert_int_equal(
		strncmp(box.err.message, "nothing is changed, it could not be saved: ", 43), 0);
	assert_int_equal(in_kernel(2), GATE_BLOCK);
	assert_int_equal(change("vm:web1", "block reason=now"), GATE_ERR_FAILED);
	assert_int_equal(strncmp(box.err.message, "in force but not saved: ", 24), 0);
	assert_int_equal(in_kernel(1), GATE_BLOCK);
	assert_int_equal(box_vm(&box, "web3", ""), GATE_ERR_FAILED);
	assert_int_equal(box_slot(&box, "vm:web3"), -1);
	assert_int_equal(box_del(&box, "web1"), GATE_ERR_FAILED);
}

static void check_healed(void)
{
	assert_string_equal(box_problems(&box), "");
	assert_int_equal(in_kernel(1), GATE_BLOCK);
	assert_int_equal(ask("SELECT count(*) FROM policies WHERE subject = 'vm:web1' AND "
			     "state = 'block'"),
			 1);
	assert_int_equal(ask("SELECT count(*) FROM audit WHERE subject = 'vm:web1' AND "
			     "reason = 'now'"),
			 1);
	assert_int_equal(change("vm:web2", "allow"), 0);
	box_restart(&box, true);
	assert_string_equal(box_effective(&box, "tenant:acme", 0), "quarantine tenant:acme");
	change("tenant:acme", "release");
	assert_string_equal(box_effective(&box, "vm:web1", 0), "block vm:web1");
	assert_string_equal(box_effective(&box, "vm:web2", 0), "allow vm:web2");
}

/* ---- while the daemon runs ---- */

static void test_locked_by_another(void **state)
{
	sqlite3 *other;

	set_up_policy();
	assert_int_equal(sqlite3_open(box.g.store, &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(change("default", "limit 2/s"), GATE_ERR_FAILED);
	check_crippled();
	tick(6);
	assert_int_equal(strncmp(box_problems(&box), "store: ", 7), 0);
	sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL);
	sqlite3_close(other);
	tick(6);
	check_healed();
}

/* Said until staff reload, and not again after the next start. */
static void check_says_rebuilt(const char *what)
{
	assert_int_equal(strncmp(box_problems(&box), "store_rebuilt: ", 15), 0);
	assert_non_null(strstr(box_problems(&box), what));
	assert_int_equal(gate_engine_reconfigure(box.e, &box.g.c, &box.err), 0);
	assert_string_equal(box_problems(&box), "");
}

static void test_a_new_store_is_no_lost_one(void **state)
{
	assert_string_equal(box_problems(&box), "");
	gate_engine_close(box.e);
	box.e = NULL;
	assert_int_equal(gate_engine_open(&box.e, &box.g.c, &box.g.m, &box.err), 0);
	assert_string_equal(box_problems(&box), "");
}

static void test_deleted_while_running_no_change_is_lost(void **state)
{
	set_up_policy();
	remove_store();
	assert_int_equal(change("vm:web2", "allow"), 0);
	check_says_rebuilt("audit trail and reports before now are lost, policy is not");
	assert_int_equal(ask("SELECT count(*) FROM vms"), 2);
	assert_int_equal(ask("SELECT count(*) FROM policies WHERE state = 'allow'"), 2);
	/* Nobody changes anything: it is noticed all the same. */
	remove_store();
	tick(12);
	assert_int_equal(ask("SELECT count(*) FROM vms"), 2);
	box_restart(&box, true);
	assert_string_equal(box_effective(&box, "vm:web2", 0), "allow vm:web2");
}

static void test_disk_full(void **state)
{
	char path[120], block[4096];
	FILE *f;

	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		skip();
	gate_engine_close(box.e);
	assert_int_equal(mount("none", box.g.dir, "tmpfs", 0, "size=512k"), 0);
	assert_int_equal(gate_engine_open(&box.e, &box.g.c, &box.g.m, &box.err), 0);
	gate_engine_reconfigure(box.e, &box.g.c, &box.err); /* says that the store was lost */
	set_up_policy();
	snprintf(path, sizeof(path), "%s/full", box.g.dir);
	f = fopen(path, "w");
	memset(block, 1, sizeof(block));
	while (fwrite(block, 1, sizeof(block), f) == sizeof(block))
		;
	fclose(f);
	/* Room that is left in the log is used up first. */
	for (int i = 0; i < 400 && !change("vm:web2", i % 2 ? "block observe=on" : "block"); i++)
		;
	check_crippled();
	tick(6);
	unlink(path);
	tick(6);
	check_healed();
	gate_engine_close(box.e);
	umount2(box.g.dir, MNT_DETACH);
	assert_int_equal(gate_engine_open(&box.e, &box.g.c, &box.g.m, &box.err), 0);
}

static void run(const char *query)
{
	sqlite3 *db = NULL;

	assert_int_equal(sqlite3_open(box.g.store, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, query, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

/* What was written before the write that failed was taken back with it. */
static void test_counts_of_a_save_that_failed_are_saved_later(void **state)
{
	box_vm(&box, "web1", "");
	box_vm(&box, "web2", "");
	box.g.m.counters[1].flows_blocked = 7;
	box.g.m.counters[2].flows_blocked = 8;
	run("CREATE TRIGGER t BEFORE INSERT ON counters WHEN NEW.subject = 'vm:web2' "
	    "BEGIN SELECT RAISE(ABORT, 'full'); END");
	tick(61);
	assert_int_equal(ask("SELECT count(*) FROM counters WHERE subject = 'vm:web1'"), 0);
	run("DROP TRIGGER t");
	tick(71);
	assert_string_equal(box_problems(&box), "");
	assert_int_equal(ask("SELECT flows_blocked FROM counters WHERE subject = 'vm:web2'"), 8);
	assert_int_equal(ask("SELECT flows_blocked FROM counters WHERE subject = 'vm:web1'"), 7);
}

/* ---- at the start ---- */

/* The kernel's memory of the policy, told as far as it goes. */
static void check_recovered(void)
{
	struct gate_subject s = box_subject("vm:web1");
	const struct gate_own *own = gate_engine_own(box.e, &s);
	const struct gate_vm_spec *vm = gate_engine_vm(box.e, 1);

	assert_string_equal(vm->name, "web1");
	assert_int_equal(vm->nmacs, 1);
	assert_int_equal(vm->nips, 1);
	assert_int_equal(vm->ips[0].len, 96 + 24);
	assert_non_null(own);
	assert_int_equal(own->scope[0].state, GATE_LIMIT);
	assert_int_equal(own->scope[0].limits.nrates, 2);
	assert_int_equal(own->scope[0].limits.rates[1].count, 100);
	assert_int_equal(own->scope[0].limits.rates[1].per_s, 3600);
	assert_int_equal(own->scope[0].limits.rates[1].burst, 3);
	assert_int_equal(own->scope[0].expires > fake_now(), 1);
	assert_string_equal(box_effective(&box, "vm:web2", 0), "block vm:web2");
	assert_string_equal(box_effective(&box, "ip:192.0.2.7", 0), "quarantine tenant:tenant-1");
	assert_string_equal(box_effective(&box, "default", 0), "limit default");
	s = box_subject("vm:web2");
	assert_true(gate_engine_own(box.e, &s)->observe);
	assert_int_equal(gate_engine_own(box.e, &s)->nexempt, 1);
	s = box_subject("tenant:tenant-1");
	assert_int_equal(gate_engine_own(box.e, &s)->budget[0].count, 500);
}

static void test_corrupt_at_the_start_the_kernel_remembers(void **state)
{
	uint64_t *heads = malloc(box.g.m.nheads * sizeof(uint64_t));
	uint32_t budget;

	set_up_policy();
	budget = box.g.m.vms[1].budget;
	gate_engine_close(box.e);
	memcpy(heads, box.g.m.heads, box.g.m.nheads * sizeof(uint64_t));
	remove_store();
	write_file(box.g.store, "this is no database at all, not even a bit of one\n");
	assert_int_equal(gate_engine_open(&box.e, &box.g.c, &box.g.m, &box.err), 0);
	assert_memory_equal(heads, box.g.m.heads, box.g.m.nheads * sizeof(uint64_t));
	assert_int_equal(box.g.m.vms[1].budget, budget);
	assert_int_equal(box.g.m.budgets[budget].nrates, 1);
	check_recovered();
	check_crippled();
	tick(6);
	assert_int_equal(strncmp(box_problems(&box), "store: ", 7), 0);
	/* The operator takes it away: what is in force is written anew. */
	remove_store();
	tick(6);
	assert_string_equal(box_problems(&box), "");
	assert_int_equal(ask("SELECT count(*) FROM vms"), 2);
	box_restart(&box, true);
	assert_string_equal(box_effective(&box, "vm:web1", 0), "quarantine tenant:tenant-1");
	free(heads);
}

/* An engine on the policy in the maps; the store waits at `aside`. */
static void start_without_store(char aside[120])
{
	set_up_policy();
	gate_engine_close(box.e);
	snprintf(aside, 120, "%s-aside", box.g.store);
	assert_int_equal(rename(box.g.store, aside), 0);
	assert_int_equal(mkdir(box.g.store, 0700), 0);
	assert_int_equal(gate_engine_open(&box.e, &box.g.c, &box.g.m, &box.err), 0);
}

static void test_unreadable_at_the_start_read_later_with_what_closed_meanwhile(void **state)
{
	char aside[120];

	start_without_store(aside);
	check_recovered();
	check_crippled();
	assert_int_equal(rmdir(box.g.store), 0);
	assert_int_equal(rename(aside, box.g.store), 0);
	tick(6);
	assert_string_equal(gate_engine_vm(box.e, 1)->tenant, "acme");
	check_healed();
}

/* Notes for the trail are kept up to a number, what is in force is kept whatever it is. */
static void test_unreadable_at_the_start_much_closed_meanwhile(void **state)
{
	struct gate_subject ip = box_subject("ip:192.0.2.7");
	char aside[120];

	start_without_store(aside);
	for (int i = 0; i < 1100; i++)
		change("vm:web2", "block");
	assert_int_equal(change("vm:web1", "block"), GATE_ERR_FAILED);
	assert_int_equal(change("ip:192.0.2.7", "inherit"), GATE_ERR_FAILED);
	assert_null(gate_engine_own(box.e, &ip));
	assert_non_null(strstr(box_problems(&box), "audit: more than 1000 changes wait"));
	assert_int_equal(rmdir(box.g.store), 0);
	assert_int_equal(rename(aside, box.g.store), 0);
	tick(6);
	assert_string_equal(box_problems(&box), "");
	/* 1100 and two, of which 1000 were kept */
	assert_string_equal(box_audit(&box, NULL, 1),
			    "gate25d lost  102 changes before this one are not in the trail\n");
	assert_int_equal(ask("SELECT count(*) FROM audit WHERE action = 'block' AND "
			     "subject = 'vm:web2'"),
			 1001);
	assert_int_equal(in_kernel(1), GATE_BLOCK);
	assert_null(gate_engine_own(box.e, &ip));
	box_restart(&box, true);
	assert_int_equal(in_kernel(1), GATE_BLOCK);
	assert_null(gate_engine_own(box.e, &ip));
}

static void test_deleted_while_the_daemon_was_dead(void **state)
{
	set_up_policy();
	gate_engine_close(box.e);
	remove_store();
	assert_int_equal(gate_engine_open(&box.e, &box.g.c, &box.g.m, &box.err), 0);
	check_recovered();
	check_says_rebuilt("names of tenants (tenant-NUMBER now) are lost");
	assert_int_equal(ask("SELECT count(*) FROM vms"), 2);
	assert_int_equal(change("vm:web2", "allow"), 0);
}

static void test_a_newer_schema_is_not_touched(void **state)
{
	struct stat before, after;
	sqlite3 *db;

	set_up_policy();
	gate_engine_close(box.e);
	assert_int_equal(sqlite3_open(box.g.store, &db), SQLITE_OK);
	sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL);
	sqlite3_close(db);
	assert_int_equal(stat(box.g.store, &before), 0);
	assert_int_equal(gate_engine_open(&box.e, &box.g.c, &box.g.m, &box.err), 0);
	check_recovered();
	assert_non_null(strstr(box_problems(&box), "written by a newer version (schema 99"));
	check_crippled();
	tick(6);
	assert_int_equal(stat(box.g.store, &after), 0);
	assert_memory_equal(&before.st_mtim, &after.st_mtim, sizeof(before.st_mtim));
	assert_int_equal(before.st_size, after.st_size);
}

static void test_another_programs_database_is_not_touched(void **state)
{
	sqlite3 *db;

	gate_engine_close(box.e);
	remove_store();
	assert_int_equal(sqlite3_open(box.g.store, &db), SQLITE_OK);
	sqlite3_exec(db, "CREATE TABLE bookmarks(url)", NULL, NULL, NULL);
	sqlite3_close(db);
	assert_int_equal(gate_engine_open(&box.e, &box.g.c, &box.g.m, &box.err), 0);
	assert_non_null(strstr(box_problems(&box), "not a store of gate25"));
	assert_int_equal(ask("SELECT count(*) FROM sqlite_master"), 1);
}

static void test_a_directory_that_is_not_there(void **state)
{
	gate_engine_close(box.e);
	box.g.c.store_path = "/nonexistent/gate25.db";
	assert_int_equal(gate_engine_open(&box.e, &box.g.c, &box.g.m, &box.err), 0);
	assert_non_null(strstr(box_problems(&box), "unable to open database file"));
	assert_int_equal(change("default", "block"), GATE_ERR_FAILED);
	assert_int_equal(fake_gate_node(&box.g, gate_base_default(), 0)->state, GATE_BLOCK);
}

static void test_a_damaged_row_fails_the_load_as_a_whole(void **state)
{
	sqlite3 *db;

	set_up_policy();
	gate_engine_close(box.e);
	assert_int_equal(sqlite3_open(box.g.store, &db), SQLITE_OK);
	sqlite3_exec(db, "UPDATE policies SET rates = '0/s' WHERE subject = 'default'", NULL, NULL,
		     NULL);
	sqlite3_close(db);
	assert_int_equal(gate_engine_open(&box.e, &box.g.c, &box.g.m, &box.err), 0);
	assert_non_null(strstr(box_problems(&box), "a row of policies makes no sense: default"));
	check_recovered();
}

/* ---- rows ---- */

static void test_the_audit_trail_by_subject_newest_first(void **state)
{
	set_up_policy();
	assert_string_equal(box_audit(&box, "tenant:acme", 0),
			    "alice budget tenant:acme \nalice quarantine tenant:acme \n");
	assert_string_equal(box_audit(&box, NULL, 2),
			    "alice limit default \nalice allow ip:192.0.2.7 \n");
	assert_string_equal(box_audit(&box, "vm:nobody", 0), "");
}

static off_t size_of_store(void)
{
	struct stat sb;

	assert_int_equal(stat(box.g.store, &sb), 0);
	return sb.st_size;
}

/* No change waits for it: it happens at the next second, and nothing is lost by it. */
static void test_the_log_is_taken_into_the_file_by_and_by(void **state)
{
	off_t before;
	int rows;

	tick(1);
	before = size_of_store();
	for (int i = 0; i < 700; i++)
		assert_int_equal(change("default", i % 2 ? "block" : "allow"), 0);
	rows = ask("SELECT count(*) FROM audit");
	assert_int_equal(size_of_store(), before);
	tick(1);
	assert_true(size_of_store() > before);
	assert_int_equal(ask("SELECT count(*) FROM audit"), rows);
	assert_true(rows >= 700);
}

int main(void)
{
#define BOX(f) cmocka_unit_test_setup_teardown(f, open_box, close_box)
	const struct CMUnitTest tests[] = {
		BOX(test_locked_by_another),
		BOX(test_a_new_store_is_no_lost_one),
		BOX(test_deleted_while_running_no_change_is_lost),
		BOX(test_counts_of_a_save_that_failed_are_saved_later),
		BOX(test_corrupt_at_the_start_the_kernel_remembers),
		BOX(test_unreadable_at_the_start_read_later_with_what_closed_meanwhile),
		BOX(test_unreadable_at_the_start_much_closed_meanwhile),
		BOX(test_deleted_while_the_daemon_was_dead),
		BOX(test_a_newer_schema_is_not_touched),
		BOX(test_another_programs_database_is_not_touched),
		BOX(test_a_directory_that_is_not_there),
		BOX(test_a_damaged_row_fails_the_load_as_a_whole),
		BOX(test_the_audit_trail_by_subject_newest_first),
		BOX(test_the_log_is_taken_into_the_file_by_and_by),
		BOX(test_disk_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
