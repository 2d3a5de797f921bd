// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Who may do what on the control socket, many who want it, and those who follow. */
#include "control_lab.h"

#include <grp.h>
#include <pwd.h>

#define READER 64009

/* In place of libc's, for which the daemon may have to wait long: not for one who only reads. */
struct passwd *getpwuid(uid_t uid)
{
	if (uid == READER)
		abort();
	return NULL;
}

/* ---- other users ---- */

/* Runs `body` as another user; its return is the exit status. */
static void as(uid_t uid, gid_t group, int (*body)(void))
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		if (setgroups(1, &group) || setresgid(uid, uid, uid) || setresuid(uid, uid, uid))
			_exit(99);
		_exit(body());
	}
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
}

static int may(const char *request, const char *status)
{
	int fd = try_dial();
	char *answer;

	if (fd < 0)
		return 0;
	say(fd, request, strlen(request));
	answer = hear(fd, NULL);
	close(fd);
	return strstr(answer, status) != NULL;
}

#define READ_IT "GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
#define CHANGE_IT                                                                                  \
	"PUT /v1/policies/vm:web1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 16"  \
	"\r\n\r\n{\"observe\":true}"

static int as_staff(void)
{
	return may(READ_IT, " 200 ") && may(CHANGE_IT, " 200 ") ? 0 : 1;
}

static int as_reader(void)
{
	return may(READ_IT, " 200 ") && may(CHANGE_IT, " 403 ") ? 0 : 1;
}

static int as_stranger(void)
{
	return may(READ_IT, " 403 ") && may(CHANGE_IT, " 403 ") ? 0 : 1;
}

static void test_rights(void **state)
{
	if (geteuid() != 0)
		skip();
	as(STRANGER, STAFF, as_staff);
	as(READER, READERS, as_reader);
	as(STRANGER, STRANGER, as_stranger);
}

static int hold_connections(void)
{
	struct pollfd p = { .events = POLLIN };
	int fd[100], i, held = 0;

	for (i = 0; i < 100; i++) {
		fd[i] = try_dial();
		if (fd[i] < 0)
			return 2;
	}
	/* all but the first few are hung up on */
	for (i = 0; i < 100; i++) {
		p.fd = fd[i];
		held += poll(&p, 1, i < 4 ? 100 : PATIENCE_MS) == 0;
	}
	return held == 4 ? 0 : 3;
}

static void test_strangers_cannot_hold_all_connections(void **state)
{
	if (geteuid() != 0)
		skip();
	as(STRANGER, STRANGER, hold_connections);
	still_answers();
}

/* One login may have 65,536 uids of its own, by /etc/subuid. */
static void test_many_strangers_cannot_either(void **state)
{
	enum { MANY = 90, EACH = 4 }; /* more than all, fewer than wait besides */
	pid_t pid[MANY];
	int fd, i, j, ready[2], stay[2];

	if (geteuid() != 0)
		skip();
	assert_int_equal(pipe(ready) | pipe(stay), 0);
	for (i = 0; i < MANY; i++) {
		pid[i] = fork();
		if (pid[i])
			continue;
		close(stay[1]);
		if (setgroups(0, NULL) || setresgid(STRANGER, STRANGER, STRANGER) ||
		    setresuid(STRANGER + i, STRANGER + i, STRANGER + i))
			_exit(99);
		for (j = 0; j < EACH; j++)
			try_dial();
		_exit(write(ready[1], "", 1) == 1 && read(stay[0], &j, 1) == 0 ? 0 : 98);
	}
	for (i = 0; i < MANY; i++)
		assert_int_equal(read(ready[0], &j, 1), 1);
	fd = dial();
	say(fd, READ_IT, strlen(READ_IT));
	assert_non_null(strstr(hear(fd, NULL), " 200 "));
	close(fd);
	close(stay[0]);
	close(stay[1]);
	close(ready[0]);
	close(ready[1]);
	for (i = 0; i < MANY; i++)
		waitpid(pid[i], NULL, 0);
}

static void test_many_connections(void **state)
{
	int fd[300], i;

	for (i = 0; i < 300; i++)
		fd[i] = dial();
	for (i = 0; i < 300; i++)
		close(fd[i]);
	still_answers();
}

/* ---- events ---- */

static int follow(const char *query)
{
	char text[200];
	int fd = dial();

	snprintf(text, sizeof(text), "GET /v1/events%s HTTP/1.1\r\nHost: x\r\n\r\n", query);
	say(fd, text, strlen(text));
	hear(fd, "\r\n\r\n");
	return fd;
}

static void change(const char *subject, const char *reason)
{
	char body[100], text[300];

	snprintf(body, sizeof(body), "{\"state\":\"block\",\"reason\":\"%s\"}", reason);
	snprintf(text, sizeof(text),
		 "PUT /v1/policies/%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
		 "Content-Length: %zu\r\n\r\n%s",
		 subject, strlen(body), body);
	assert_non_null(strstr(ask(text), " 200 "));
}

static void test_follower_hears_what_comes(void **state)
{
	int all = follow("?follow=1"), one = follow("?follow=1&subject=vm:two");
	char *text;

	change("vm:one", "first-word");
	change("vm:two", "second-word");
	text = hear(all, "second-word");
	assert_non_null(strstr(text, "first-word"));
	assert_non_null(strstr(text, "\"time\":\"2023-11-14T22:13:20.123Z\""));
	text = hear(one, "second-word");
	assert_null(strstr(text, "first-word"));
	/* one that hangs up while nothing happens makes room; others go on */
	close(all);
	change("vm:two", "third-word");
	hear(one, "third-word");
	close(one);
	still_answers();
}

static void test_kept_events_without_follow(void **state)
{
	char *text;

	change("vm:kept", "kept-word");
	text = ask("GET /v1/events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	assert_non_null(strstr(text, "kept-word"));
}

/* One that does not read loses lines and hears how many; nobody waits for it. */
static void test_slow_follower(void **state)
{
	char reason[200];
	int fd = follow("?follow=1"), i;

	memset(reason, 'x', sizeof(reason));
	reason[60] = '\0';
	for (i = 0; i < 3000; i++)
		change("vm:flood", reason);
	change("vm:flood", "last-word");
	assert_non_null(strstr(hear(fd, "last-word"), "\"kind\":\"lost\",\"count\":"));
	close(fd);
}

static void test_second_daemon_is_refused(void **state)
{
	struct gate_error err;
	char path[sizeof(address.sun_path)];

	assert_int_equal(gate_control_probe(address.sun_path, &err), -EEXIST);
	assert_non_null(strstr(err.message, "another gate25d"));
	snprintf(path, sizeof(path), "%s/none", dir);
	assert_int_equal(gate_control_probe(path, &err), 0);
	assert_true(gate_control_probe(dir, &err) < 0); /* no socket: not replaced */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rights),
		cmocka_unit_test(test_strangers_cannot_hold_all_connections),
		cmocka_unit_test(test_many_strangers_cannot_either),
		cmocka_unit_test(test_many_connections),
		cmocka_unit_test(test_follower_hears_what_comes),
		cmocka_unit_test(test_kept_events_without_follow),
		cmocka_unit_test(test_slow_follower),
		cmocka_unit_test(test_second_daemon_is_refused),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("control_peers", tests, setup, teardown);
}
