// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Requests to the control socket, right ones and rude ones; it must go on answering. */
#include "control_lab.h"

static const struct {
	const char *what, *method, *path, *headers, *body;
	int status;
	const char *says;
} requests[] = {
	{ "status", "GET", "/v1/status", "", NULL, 200, "\"version\":1,\"host\":" },
	{ "list", "GET", "/v1/vms", "", NULL, 200,
	  "\"vms\":[{\"version\":1,\"subject\":\"vm:web1\"" },
	{ "list, filtered away", "GET", "/v1/vms?tenant=other", "", NULL, 200, "3\r\n]}\n" },
	{ "list, bad state", "GET", "/v1/vms?state=open", "", NULL, 400, "state must be" },
	{ "list, bad number", "GET", "/v1/vms?expiring=soon", "", NULL, 400, "expiring must be" },
	{ "list, unknown query", "GET", "/v1/vms?color=red", "", NULL, 400, "\\\"color\\\"" },
	{ "one VM", "GET", "/v1/vms/web1", "", NULL, 200, "\"buckets\":[" },
	{ "no VM", "GET", "/v1/vms/nobody", "", NULL, 404, "\"no_subject\"" },
	{ "VM of a bad name", "GET", "/v1/vms/-x", "", NULL, 400, "is no name" },
	{ "NUL in a name", "GET", "/v1/vms/web1%00x", "", NULL, 400, "is no name" },
	{ "policy by encoded subject", "GET", "/v1/policies/vm%3Aweb1", "", NULL, 200, "vm:web1" },
	{ "policy of a prefix", "GET", "/v1/policies/ip%3A2001%3Adb8%3A%3A%2F64", "", NULL, 200,
	  "ip:2001:db8::/64" },
	{ "policy of nobody", "GET", "/v1/policies/vm:nobody", "", NULL, 404,
	  "there is no vm:nobody" },
	{ "policy of garbage", "GET", "/v1/policies/vm:", "", NULL, 400, "is no subject" },
	{ "change", "PUT", "/v1/policies/vm:web1", "X-Gate25-Actor: alice\r\n",
	  "{\"state\":\"block\",\"reason\":\"spam\"}", 200, "\"notes\":[\"a note\"]" },
	{ "change with a bad actor", "PUT", "/v1/policies/vm:web1",
	  "X-Gate25-Actor: "
	  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
	  "{\"state\":\"block\"}", 400, "X-Gate25-Actor" },
	{ "change, unknown key", "PUT", "/v1/policies/vm:web1", "", "{\"stat\":1}", 400,
	  "unknown key \\\"stat\\\"" },
	{ "change without a body", "PUT", "/v1/policies/vm:web1", "", NULL, 400, "no JSON" },
	{ "change that conflicts", "PUT", "/v1/policies/vm:conflict", "", "{\"observe\":true}", 409,
	  "\"conflict\"" },
	{ "drop a policy", "DELETE", "/v1/policies/vm:web1?reason=done", "", NULL, 200, "vm:web1" },
	{ "drop on no port", "DELETE", "/v1/policies/vm:web1?on=70000", "", NULL, 400,
	  "on must be" },
	{ "put a VM", "PUT", "/v1/vms/web1?mode=update", "", "{\"tenant\":\"x\"}", 200, "vm:web1" },
	{ "put a VM in no mode", "PUT", "/v1/vms/web1?mode=x", "", "{}", 400, "mode must be" },
	{ "delete a VM", "DELETE", "/v1/vms/web1", "", NULL, 200, "\"deleted\":\"vm:web1\"" },
	{ "audit", "GET", "/v1/audit?limit=5", "", NULL, 200,
	  "\"action\":\"block\",\"detail\":{}" },
	{ "why", "POST", "/v1/why", "", "{\"subject\":\"vm:web1\"}", 501, "cannot explain" },
	{ "report", "GET", "/v1/reports/vm:web1?since=3600", "", NULL, 200,
	  "\"refusals\":[{\"time\":\"2023-11-14T22:13:20.123Z\",\"reason\":\"limit_rate\"" },
	{ "report of too long ago", "GET", "/v1/reports/vm:web1?since=2592001", "", NULL, 400,
	  "since must be a number up to 2592000" },
	{ "report of garbage", "GET", "/v1/reports/vm:", "", NULL, 400, "is no subject" },
	{ "undo", "POST", "/v1/undo", "", "{}", 200, "\"undone\":{\"id\":7," },
	{ "undo one", "POST", "/v1/undo", "", "{\"id\":12,\"reason\":\"wrong VM\"}", 200,
	  "\"undone\":{\"id\":12,\"action\":\"block\",\"actor\":\"alice\"}" },
	{ "undo of none", "POST", "/v1/undo", "", "{\"id\":404}", 404, "there is no change 404" },
	{ "undo of nonsense", "POST", "/v1/undo", "", "{\"id\":-1}", 400, "id" },
	{ "export", "GET", "/v1/policy-set", "", NULL, 200, "{\"kind\":\"vm\",\"name\":\"web1\"" },
	{ "apply", "PUT", "/v1/policy-set", "",
	  "{\"kind\":\"vm\",\"name\":\"a\"}\n\n{\"kind\":\"vm\",\"name\":\"b\"}", 200,
	  "\"changes\":[\"+ vm:a\",\"+ vm:b\"]" },
	{ "apply dry", "PUT", "/v1/policy-set?dry_run=1", "", "{\"kind\":\"vm\",\"name\":\"a\"}\n",
	  200, "\"applied\":false" },
	{ "apply with a wrong line", "PUT", "/v1/policy-set", "",
	  "{\"kind\":\"vm\",\"name\":\"a\"}\n{\"kind\":\"x\"}\n", 400, "line 2: " },
	{ "no such path", "GET", "/v1/nothing", "", NULL, 404, "there is no /v1/nothing" },
	{ "root", "GET", "/", "", NULL, 404, "there is no /" },
	{ "wrong method", "PATCH", "/v1/policies/vm:web1", "", "{}", 405,
	  "Allow: GET, PUT, DELETE" },
	{ "HEAD", "HEAD", "/v1/status", "", NULL, 405, "Allow: GET" },
	{ "body too large, as announced", "PUT", "/v1/policies/vm:web1",
	  "Content-Length: 1048577\r\n", NULL, 413, "\"too_large\"" },
};

static void test_requests(void **state)
{
	char text[2048], status[32];
	unsigned i;
	char *answer;

	for (i = 0; i < COUNT(requests); i++) {
		snprintf(text, sizeof(text), "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s",
			 requests[i].method, requests[i].path, requests[i].headers);
		if (requests[i].body)
			snprintf(text + strlen(text), sizeof(text) - strlen(text),
				 "Content-Length: %zu\r\n", strlen(requests[i].body));
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "\r\n%s",
			 requests[i].body ? requests[i].body : "");
		answer = ask(text);
		snprintf(status, sizeof(status), "HTTP/1.1 %d ", requests[i].status);
		if (strncmp(answer, status, strlen(status)) != 0 ||
		    !strstr(answer, requests[i].says))
			fail_msg("%s: %.600s", requests[i].what, answer);
	}
}

/* A body without an announced length, larger than allowed. */
static void test_chunked_body_too_large(void **state)
{
	static char chunk[65536];
	const char *head = "PUT /v1/policies/vm:web1 HTTP/1.1\r\nHost: x\r\n"
			   "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
	int fd = dial(), i;
	char *answer;

	memset(chunk, ' ', sizeof(chunk));
	say(fd, head, strlen(head));
	for (i = 0; i < 17; i++) {
		say(fd, "10000\r\n", 7);
		say(fd, chunk, sizeof(chunk));
		say(fd, "\r\n", 2);
	}
	say(fd, "0\r\n\r\n", 5);
	answer = hear(fd, NULL);
	if (!strstr(answer, " 413 "))
		fail_msg("%.300s", answer);
	close(fd);
	still_answers();
}

/* The same without an end: it is cut off. */
static void test_endless_body(void **state)
{
	static char chunk[65536];
	const char *head = "PUT /v1/policies/vm:web1 HTTP/1.1\r\nHost: x\r\n"
			   "Transfer-Encoding: chunked\r\n\r\n";
	int fd = dial(), i;

	memset(chunk, ' ', sizeof(chunk));
	say(fd, head, strlen(head));
	for (i = 0; i < 1024; i++) { /* 64 MiB */
		if (send(fd, "10000\r\n", 7, MSG_NOSIGNAL) != 7)
			break;
		say(fd, chunk, sizeof(chunk));
		say(fd, "\r\n", 2);
	}
	assert_in_range(i, 100, 600);
	close(fd);
	still_answers();
}

static void test_policy_set_is_not_limited(void **state)
{
	static char body[(3 << 20) - 10000];
	char head[200], *answer;
	const char *line = "{\"kind\":\"vm\",\"name\":\"a\"}";
	int fd = dial();

	/* three lines in three megabytes, so that each comes in many pieces */
	memset(body, ' ', sizeof(body));
	memcpy(body, line, strlen(line));
	memcpy(body + (1 << 20), "\n", 1);
	memcpy(body + (2 << 20) - 10000, line, strlen(line));
	memcpy(body + (2 << 20) - 5000, "\n", 1);
	memcpy(body + sizeof(body) - 1000, line, strlen(line));
	snprintf(head, sizeof(head),
		 "PUT /v1/policy-set HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
		 "Content-Length: %zu\r\n\r\n",
		 sizeof(body));
	say(fd, head, strlen(head));
	say(fd, body, sizeof(body));
	answer = hear(fd, NULL);
	if (!strstr(answer, "\"changes\":[\"+ vm:a\",\"+ vm:a\",\"+ vm:a\"]"))
		fail_msg("%.300s", answer);
	close(fd);
}

static void test_too_many_records(void **state)
{
	struct gate_buf b = { 0 };
	char head[200], *answer;
	int fd = dial(), i;

	for (i = 0; i < 2 * MAX_VMS + 2; i++)
		gate_buf_printf(&b, "{\"kind\":\"vm\",\"name\":\"a%d\"}\n", i);
	snprintf(head, sizeof(head),
		 "PUT /v1/policy-set HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
		 "Content-Length: %zu\r\n\r\n",
		 b.len);
	say(fd, head, strlen(head));
	say(fd, b.data, b.len);
	answer = hear(fd, NULL);
	if (!strstr(answer, " 400 ") || !strstr(answer, "more than the 8193 records"))
		fail_msg("%.300s", answer);
	close(fd);
	gate_buf_free(&b);
}

static void test_garbage(void **state)
{
	static const char *const garbage[] = {
		"\r\n\r\n\r\n",
		"GET\r\n\r\n",
		"\x16\x03\x01\x02",
		"GET / HTTP/9.9\r\n\r\n",
		"PUT /v1/policies/vm:web1 HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
		"PUT /v1/policies/vm:web1 HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
		"GET /v1/policies/%ZZ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"PUT /v1/policy-set HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	};
	static char noise[256 * 1024];
	unsigned i;
	int fd;

	for (i = 0; i < COUNT(garbage); i++) {
		fd = dial();
		say(fd, garbage[i], strlen(garbage[i]));
		close(fd);
	}
	srand(25);
	for (i = 0; i < sizeof(noise); i++)
		noise[i] = (char)(rand() >> 7);
	for (i = 0; i < 50; i++) {
		fd = dial();
		say(fd, noise + i * 1000, sizeof(noise) - i * 1000);
		close(fd);
	}
	still_answers();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_chunked_body_too_large),
		cmocka_unit_test(test_endless_body),
		cmocka_unit_test(test_policy_set_is_not_limited),
		cmocka_unit_test(test_too_many_records),
		cmocka_unit_test(test_garbage),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("control", tests, setup, teardown);
}
