// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* A thousand power cuts in the middle of writes: what was acknowledged is there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "../lib/enginebox.h"

#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CUTS	 1000
#define SUBJECTS 8
#define CUT_US	 1000 /* at the latest, from an acknowledgment on: a few changes */

/* What the writer says: before a change, and once it is acknowledged. */
struct word {
	unsigned subject, change;
	bool acknowledged;
};

static const char *const words[] = { "allow", "block", "limit 7/h", "inherit" };

static struct enginebox box;
static unsigned changes; /* made so far, numbered */
static unsigned in_force[SUBJECTS], acknowledged;

static const char *subject_of(unsigned i)
{
	static char text[32];

	snprintf(text, sizeof(text), "ip:198.51.100.%u", i);
	return text;
}

/* A change by its number: what it does, with the number for its reason. */
static const char *change_of(unsigned n)
{
	static char text[64];
	const char *word = words[n % (sizeof(words) / sizeof(words[0]))];

	if (!strcmp(word, "inherit"))
		return word;
	snprintf(text, sizeof(text), "%s reason=%u", word, n);
	return text;
}

_Noreturn static void write_on(int out)
{
	box_restart(&box, true);
	for (unsigned n = changes;; n++) {
		struct word w = { .subject = (unsigned)rand() % SUBJECTS, .change = n };

		if (write(out, &w, sizeof(w)) != sizeof(w))
			_exit(1);
		if (box_change(&box, time(NULL), subject_of(w.subject), change_of(n)))
			continue;
		w.acknowledged = true;
		if (write(out, &w, sizeof(w)) != sizeof(w))
			_exit(1);
	}
}

static bool holds(unsigned subject, unsigned change)
{
	const struct gate_subject s = box_subject(subject_of(subject));
	const struct gate_own *own = gate_engine_own(box.e, &s);
	const char *reason = own ? own->scope[0].reason : NULL;
	char wanted[16];

	if (!change || !strcmp(change_of(change), "inherit"))
		return !reason || !*reason;
	snprintf(wanted, sizeof(wanted), "%u", change);
	return reason && !strcmp(reason, wanted);
}

/*
 * Takes up what the writer says, until so many changes are acknowledged or it is no
 * more. Returns what it has not finished, change 0 = nothing.
 */
static struct word listen_to(int in, unsigned until)
{
	struct word w, pending = { 0 };

	for (unsigned n = 0; n < until && read(in, &w, sizeof(w)) == sizeof(w);) {
		changes = w.change + 1;
		pending = w;
		if (!w.acknowledged)
			continue;
		in_force[w.subject] = w.change;
		acknowledged++;
		n++;
		pending.change = 0;
	}
	return pending;
}

static void cut(void)
{
	int fd[2], status;

	assert_int_equal(pipe(fd), 0);
	gate_engine_close(box.e); /* no two have the store open */
	box.e = NULL;
	const pid_t pid = fork();
	if (!pid) {
		close(fd[0]);
		srand(changes);
		write_on(fd[1]);
	}
	close(fd[1]);
	listen_to(fd[0], 1 + (unsigned)rand() % 3);
	usleep((useconds_t)(rand() % CUT_US)); /* the moment of the cut */
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	const struct word pending = listen_to(fd[0], UINT32_MAX);
	close(fd[0]);

	box_restart(&box, true);
	assert_string_equal(box_problems(&box), "");
	for (unsigned i = 0; i < SUBJECTS; i++) {
		if (pending.change && i == pending.subject && holds(i, pending.change))
			in_force[i] = pending.change;
		if (!holds(i, in_force[i]))
			fail_msg("%s: change %u was acknowledged and is not there", subject_of(i),
				 in_force[i]);
	}
}

static int ask_number(const char *query)
{
	sqlite3 *db;
	sqlite3_stmt *s;
	int n = -1;

	assert_int_equal(sqlite3_open(box.g.store, &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, query, -1, &s, NULL), SQLITE_OK);
	if (sqlite3_step(s) == SQLITE_ROW)
		n = sqlite3_column_int(s, 0);
	sqlite3_finalize(s);
	sqlite3_close(db);
	return n;
}

static void test_no_acknowledged_change_is_lost_in_1000_cuts(void **state)
{
	changes = 1;
	srand(25);
	box_open(&box, 0, NULL);
	for (int n = 0; n < CUTS; n++)
		cut();
	assert_true(acknowledged >= CUTS);
	assert_true(ask_number("SELECT count(*) FROM audit") >= (int)acknowledged);
	assert_int_equal(ask_number("SELECT count(*) FROM pragma_integrity_check() "
				    "WHERE integrity_check != 'ok'"),
			 0);
	box_close(&box);
	print_message("%d cuts, %u changes acknowledged, none lost\n", CUTS, acknowledged);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_acknowledged_change_is_lost_in_1000_cuts),
	};

	return cmocka_run_group_tests_name("store_cuts", tests, NULL, NULL);
}
