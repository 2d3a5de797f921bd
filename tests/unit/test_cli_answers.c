// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Answers: garbage, refusals and good ones, and what the CLI makes of them. */
#include "../../tools/cli/cli.h"
#include "../lib/clirun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define OK_JSON(body)                                                                              \
	"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" body
#define SHOWN                                                                                      \
	"{\"version\":1,\"subject\":\"vm:web1\",\"effective\":{\"state\":\"block\",\"source\":"    \
	"\"vm:web1\",\"enforce\":true,\"refuse\":\"reset\",\"expires\":"                           \
	"\"2026-12-24T10:00:00Z\",\"reason\":\"ticket 4711\",\"by\":\"alice\"},\"own\":{},"        \
	"\"notes\":[\"one note\"]}"

/* Whatever comes back: the right exit code, one sentence, no crash, no hang. */
static void answers(void **state)
{
	static const char nul[] = "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n{}";
	static const struct {
		const char *answer;
		size_t len; /* 0 = strlen */
		int code;
		const char *says; /* on stderr, NULL = nothing there */
	} rows[] = {
		{ OK_JSON(SHOWN), 0, 0, NULL },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", 0, 0, NULL },
		{ "HTTP/1.0 200 OK\n\n{}", 0, 0, NULL },
		{ "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length:2\r\n\r\n{}", 0,
		  0, NULL },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;x=y\r\n}\r\n"
		  "0\r\n\r\n",
		  0, 0, NULL },
		{ "HTTP/1.1 400 X\r\n\r\n{\"version\":1,\"error\":{\"code\":\"usage\",\"message\":"
		  "\"that is no rate\"}}",
		  0, 2, "gate25: that is no rate" },
		{ "HTTP/1.1 404 "
		  "X\r\n\r\n{\"error\":{\"code\":\"no_subject\",\"message\":\"who?\"}}",
		  0, 3, "who?" },
		{ "HTTP/1.1 403 X\r\n\r\n{\"error\":{\"code\":\"denied\",\"message\":\"no\"}}", 0,
		  6, "no" },
		{ "HTTP/1.1 409 X\r\n\r\n{\"error\":{\"code\":\"conflict\",\"message\":\"taken\"}}",
		  0, 1, "taken" },
		{ "HTTP/1.1 413 X\r\n\r\n{\"error\":{\"code\":\"too_large\",\"message\":\"big\"}}",
		  0, 2, "big" },
		{ "HTTP/1.1 507 X\r\n\r\n{\"error\":{\"code\":\"store\",\"message\":\"full\"}}", 0,
		  1, "full" },
		{ "HTTP/1.1 500 X\r\n\r\n{\"error\":{\"code\":\"failed\",\"message\":"
		  "\"bad\\u001b[2J\\nthing\"}}",
		  0, 1, "bad?[2J?thing" },
		{ "HTTP/1.1 404 X\r\n\r\n<html>", 0, 3, "HTTP status 404" },
		{ "HTTP/1.1 302 X\r\n\r\n", 0, 1, "HTTP status 302" },
		{ "", 0, 4, "went away" },
		{ "HTTP/1.1 200", 0, 4, "went away" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}", 0, 4, "went away" },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}", 0, 4,
		  "went away" },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", 0, 4,
		  "went away" },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}", 0, 1,
		  "a chunk without sense" },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		  "ffffffffffffffffff\r\n{}",
		  0, 1, "a chunk without sense" },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n", 0, 1,
		  "a chunk longer than it says" },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n{}", 0, 1,
		  "unknown transfer encoding" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}", 0, 1,
		  "a length without sense" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n{}", 0, 1,
		  "a length without sense" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 0, 1,
		  "a length without sense" },
		{ "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n{}", 0, 1, "a head without sense" },
		{ "HTTP/2 200\r\n\r\n{}", 0, 1, "no HTTP" },
		{ "SSH-2.0-OpenSSH_9.2\r\n", 0, 1, "no HTTP" },
		{ nul, sizeof(nul) - 1, 1, "a NUL byte" },
		{ OK_JSON("not json"), 0, 1, "no JSON" },
		{ OK_JSON("[]"), 0, 1, "no JSON" },
		{ OK_JSON(""), 0, 1, "no JSON" },
		{ OK_JSON("{\"subject\":7,\"effective\":[],\"own\":\"x\",\"notes\":[7,null],"
			  "\"counters\":\"y\",\"buckets\":[[]],\"ports\":[1]}"),
		  0, 0, NULL },
	};
	static const enum cli_run_manner manners[] = { CLI_RUN_WHOLE, CLI_RUN_BY_BYTES };

	cli_run_put(cli_run_in, "");
	for (size_t i = 0; i < ARRAY_SIZE(rows) * ARRAY_SIZE(manners); i++) {
		size_t row = i / ARRAY_SIZE(manners);
		size_t len = rows[row].len ? rows[row].len : strlen(rows[row].answer);
		pid_t server =
			cli_run_serve(&rows[row].answer, &len, 1, manners[i % ARRAY_SIZE(manners)]);
		char *err;

		print_message("%s\n", rows[row].answer);
		assert_int_equal(cli_run("show vm:web1"), rows[row].code);
		cli_run_end(server);
		if (rows[row].says) {
			cli_run_one_error(rows[row].says);
			continue;
		}
		err = cli_run_slurp(cli_run_err);
		assert_string_equal(err, "");
		free(err);
	}
}

/* Heads and lines that never end are given up, not read for ever. */
static void endless_heads(void **state)
{
	static char answer[100000];
	static const char *const given[] = { answer };
	pid_t server;

	memset(answer, 'a', sizeof(answer) - 1);
	memcpy(answer, "HTTP/1.1 200 OK\r\nX: ", 20);
	server = cli_run_serve(given, NULL, 1, CLI_RUN_WHOLE);
	assert_int_equal(cli_run("status"), 1);
	cli_run_end(server);
	cli_run_one_error("a line without end");

	for (size_t at = 17; at + 6 < sizeof(answer); at += 6)
		memcpy(answer + at, "X: y\r\n", 6);
	server = cli_run_serve(given, NULL, 1, CLI_RUN_WHOLE);
	assert_int_equal(cli_run("status"), 1);
	cli_run_end(server);
	cli_run_one_error("a head without end");
}

static void daemon_not_there(void **state)
{
	pid_t server;
	int fd;

	unlink(cli_run_socket);
	assert_int_equal(cli_run("status"), 4);
	cli_run_one_error("does not run");
	/* a socket that nobody listens on any more */
	fd = cli_run_listen();
	close(fd);
	assert_int_equal(cli_run("status"), 4);
	cli_run_one_error("does not run");
	/* gone between connect and answer */
	server = cli_run_serve((const char *const[]){ "" }, NULL, 1, CLI_RUN_HANG_UP);
	assert_int_equal(cli_run("block x"), 4);
	cli_run_one_error("whether the change is in force is unknown");
	cli_run_end(server);
}

/* Five subjects, two of which fail; - for stdin; the same in JSON. */
static void several_subjects(void **state)
{
	static const char bad[] = "HTTP/1.1 404 X\r\n\r\n"
				  "{\"error\":{\"code\":\"no_subject\",\"message\":\"no VM\"}}";
	static const char *const some[] = { OK_JSON(SHOWN), bad, OK_JSON(SHOWN) };
	static const char *const none[] = { bad, bad };
	char *err, *out, *request;
	pid_t server;

	cli_run_put(cli_run_in, "# the list\n\n  web2   # this one fails\nvm:web3\r\n");
	server = cli_run_serve(some, NULL, 3, CLI_RUN_WHOLE);
	assert_int_equal(cli_run("block web1 -"), 5);
	cli_run_end(server);
	err = cli_run_slurp(cli_run_err);
	assert_string_equal(err, "gate25: web2: no VM\ngate25: done for 2 of 3 subjects\n");
	free(err);
	request = cli_run_slurp(cli_run_request);
	assert_non_null(strstr(request, "PUT /v1/policies/web1 "));
	assert_non_null(strstr(request, "PUT /v1/policies/web2 "));
	assert_non_null(strstr(request, "PUT /v1/policies/vm%3Aweb3 "));
	free(request);

	server = cli_run_serve(some, NULL, 3, CLI_RUN_WHOLE);
	assert_int_equal(cli_run("--json block web1 web2 web3"), 5);
	cli_run_end(server);
	out = cli_run_slurp(cli_run_out);
	for (char *line = strtok(out, "\n"); line; line = strtok(NULL, "\n")) {
		json_t *j = json_loads(line, 0, NULL);

		assert_int_equal(cli_uint(j, "version"), 1);
		json_decref(j);
	}
	free(out);

	server = cli_run_serve(none, NULL, 2, CLI_RUN_WHOLE);
	assert_int_equal(cli_run("block a b"), 3);
	cli_run_end(server);
	/* the second word is wrong, so the first is not done either */
	cli_run_put(cli_run_in, "web1\nweb/2\n");
	assert_int_equal(cli_run("block -"), 2);
	cli_run_one_error("\"web/2\" is no subject");
}

/* Who reads JSON is told, too, when what was typed cannot be part of it. */
static void an_error_about_what_is_no_text(void **state)
{
	char *out;
	json_t *j;

	assert_int_equal(cli_run("--json block vm:\xff"), 2);
	out = cli_run_slurp(cli_run_out);
	j = json_loads(out, 0, NULL);
	assert_string_equal(cli_str(json_object_get(j, "error"), "code"), "usage");
	json_decref(j);
	free(out);
}

static void in_force(void **state)
{
	static const char *const answer[] = { OK_JSON(SHOWN) };
	pid_t server = cli_run_serve(answer, NULL, 1, CLI_RUN_WHOLE);
	char *out;

	assert_int_equal(cli_run("block vm:web1"), 0);
	cli_run_end(server);
	out = cli_run_slurp(cli_run_out);
	assert_string_equal(out,
			    "vm:web1: block (own, until 2026-12-24 10:00 UTC, \"ticket 4711\", "
			    "by alice); connections are reset\n  note: one note\n");
	free(out);
	/* JSON is what the daemon said, and nothing else */
	server = cli_run_serve(answer, NULL, 1, CLI_RUN_WHOLE);
	assert_int_equal(cli_run("--json block vm:web1"), 0);
	cli_run_end(server);
	out = cli_run_slurp(cli_run_out);
	assert_string_equal(out, SHOWN "\n");
	free(out);
}

/* What the history keeps, in words. */
static void details(void **state)
{
	static const struct {
		const char *action, *detail, *says;
	} rows[] = {
		{ "block", "{\"state\":\"block\"}", "" },
		{ "limit",
		  "{\"state\":\"limit\",\"rates\":[{\"count\":5,\"per\":\"1s\"},{\"count\":200,"
		  "\"per\":\"1h\",\"burst\":50}],\"concurrent\":9,\"expires\":"
		  "\"2026-12-24T10:00:00Z\"}",
		  "5/s, 200/h:50, 9 at once, until 2026-12-24 10:00 UTC" },
		{ "block", "{\"state\":\"block\",\"on\":587,\"refuse\":\"icmp\",\"drain\":true}",
		  "on 587, refuse icmp, drain" },
		{ "quarantine", "{\"quarantine\":true,\"until\":\"2026-12-24T10:00:00Z\"}",
		  "until 2026-12-24 10:00 UTC" },
		{ "release", "{\"quarantine\":false}", "" },
		{ "observe", "{\"observe\":false}", "off" },
		{ "budget", "{\"budget\":[{\"count\":5,\"per\":\"1h\"}]}", "5/h" },
		{ "budget", "{\"budget\":null}", "none" },
		{ "exempt", "{\"exempt_add\":[\"192.0.2.1\",\"10.0.0.0/8\"]}",
		  "add 192.0.2.1, 10.0.0.0/8" },
		{ "vm set", "{\"ports\":[\"tap0\"],\"macs\":[],\"tenant\":null}",
		  "ports tap0, no macs, no tenant" },
		{ "undo", "{\"undoes\":7,\"before\":{\"own\":[]}}", "undoes 7" },
		{ "later", "{\"new_thing\":{\"a\":1}}", "new thing {\"a\":1}" },
		{ "identity", "{\"what\":\"another MAC\"}", "what another MAC" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		json_t *detail = json_loads(rows[i].detail, 0, NULL);
		char *text = cli_detail_text(rows[i].action, detail);

		assert_non_null(detail);
		assert_string_equal(text, rows[i].says);
		free(text);
		json_decref(detail);
	}
}

/* The set goes out in chunks and comes back as differences. */
static void apply_streams(void **state)
{
	static const char *const answer[] = { OK_JSON(
		"{\"version\":1,\"applied\":false,\"changes\":[\"+ vm:web1\",\"- mac:x\"]}") };
	size_t len = 300000;
	char *set = malloc(len + 1), *out, *request;
	pid_t server;

	memset(set, 'x', len);
	set[len] = '\0';
	cli_run_put(cli_run_in, set);
	server = cli_run_serve(answer, NULL, 1, CLI_RUN_WHOLE);
	assert_int_equal(cli_run("apply - --dry-run"), 0);
	cli_run_end(server);
	request = cli_run_slurp(cli_run_request);
	assert_int_equal(strncmp(request, "PUT /v1/policy-set?dry_run=1 HTTP/1.1\r\n", 39), 0);
	assert_true(strlen(request) > len);
	assert_non_null(strstr(request, "\r\n0\r\n\r\n"));
	out = cli_run_slurp(cli_run_out);
	assert_string_equal(out, "+ vm:web1\n- mac:x\n2 differences, nothing was changed\n");
	free(out);
	free(request);
	free(set);
	assert_int_equal(cli_run("apply /nonexistent/file"), 1);
	cli_run_one_error("cannot read /nonexistent/file");
	assert_int_equal(cli_run("apply /tmp"), 1);
	cli_run_one_error("Is a directory");
}

/* 10,000 VMs: all there, in the order that was asked for. */
static void long_lists(void **state)
{
	static const unsigned n = 10000;
	char *answer, *out, *line;
	const char *given[1];
	unsigned rows = 0;
	size_t len;
	FILE *f = open_memstream(&answer, &len);
	pid_t server;

	fputs("HTTP/1.1 200 OK\r\n\r\n{\"version\":1,\"vms\":[", f);
	for (unsigned i = 0; i < n; i++)
		fprintf(f,
			"%s{\"subject\":\"vm:web%u\",\"registered\":true,\"effective\":{\"state\":"
			"\"limit\",\"enforce\":true,\"source\":\"default\"},\"counters\":"
			"{\"flows_admitted\":%u}}",
			i ? "," : "", n - i, i);
	fputs("]}", f);
	fclose(f);
	given[0] = answer;
	server = cli_run_serve(given, NULL, 1, CLI_RUN_WHOLE);
	assert_int_equal(cli_run("list"), 0);
	cli_run_end(server);
	out = cli_run_slurp(cli_run_out);
	line = strchr(out, '\n') + 1;
	assert_int_equal(strncmp(line, "vm:web1 ", 8), 0);
	assert_int_equal(strncmp(strchr(line, '\n') + 1, "vm:web2 ", 8), 0);
	for (char *p = out; *p; p++)
		rows += *p == '\n';
	assert_int_equal(rows, n + 1);
	free(out);
	server = cli_run_serve(given, NULL, 1, CLI_RUN_WHOLE);
	assert_int_equal(cli_run("list --sort admitted"), 0);
	cli_run_end(server);
	out = cli_run_slurp(cli_run_out);
	assert_non_null(strstr(out, "\nvm:web1 "));
	assert_true(strstr(out, "\nvm:web1 ") < strstr(out, "\nvm:web2 "));
	free(out);
	free(answer);
}

/* Columns go and are cut until a line fits; colour only where it is wanted. */
static void narrow_terminals(void **state)
{
	static const char *const answer[] = { OK_JSON(
		"{\"version\":1,\"vms\":[{\"subject\":\"vm:a-name-that-is-as-long-as-names-may-get-"
		"and-then-some-more\",\"tenant\":\"somebody-with-a-long-name\",\"effective\":"
		"{\"state\":\"block\",\"enforce\":true,\"source\":\"tenant:somebody-with-a-long-"
		"name\","
		"\"expires\":\"2026-12-24T10:00:00Z\"},\"counters\":{\"flows_blocked\":123456789}}]"
		"}") };
	static const unsigned widths[] = { 40, 60, 80, 132 };

	for (size_t i = 0; i < ARRAY_SIZE(widths); i++) {
		pid_t server = cli_run_serve(answer, NULL, 1, CLI_RUN_WHOLE);
		char *out;

		setenv("NO_COLOR", "1", 1);
		assert_int_equal(cli_run_terminal("list", widths[i]), 0);
		unsetenv("NO_COLOR");
		cli_run_end(server);
		out = cli_run_slurp(cli_run_out);
		print_message("%s", out);
		assert_null(strchr(out, '\033'));
		assert_non_null(strstr(out, "block"));
		assert_non_null(strstr(out, "123M"));
		for (char *line = strtok(out, "\r\n"); line; line = strtok(NULL, "\r\n"))
			assert_in_range(strlen(line), 1, widths[i]);
		free(out);
	}
}

static void colour_on_terminals(void **state)
{
	static const char *const answer[] = { OK_JSON(SHOWN) };
	pid_t server = cli_run_serve(answer, NULL, 1, CLI_RUN_WHOLE);
	char *out;

	unsetenv("NO_COLOR");
	assert_int_equal(cli_run_terminal("show vm:web1", 80), 0);
	cli_run_end(server);
	out = cli_run_slurp(cli_run_out);
	assert_non_null(strstr(out, "\033[31mblock"));
	free(out);
}

static int set_up(void **state)
{
	return cli_run_set_up(cli_main);
}

static int tear_down(void **state)
{
	return cli_run_tear_down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers),
		cmocka_unit_test(endless_heads),
		cmocka_unit_test(daemon_not_there),
		cmocka_unit_test(several_subjects),
		cmocka_unit_test(an_error_about_what_is_no_text),
		cmocka_unit_test(in_force),
		cmocka_unit_test(details),
		cmocka_unit_test(apply_streams),
		cmocka_unit_test(long_lists),
		cmocka_unit_test(narrow_terminals),
		cmocka_unit_test(colour_on_terminals),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
