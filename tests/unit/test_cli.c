// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Arguments: which are refused, and what the others ask of the daemon. */
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

/* Nobody is asked: with no server a request would end with 4. */
static void usage_errors(void **state)
{
	static const struct {
		const char *line, *says;
	} rows[] = {
		{ "frob", "unknown command \"frob\"; see gate25 help" },
		{ "vm", "one of these must follow: add, set, del, list, import" },
		{ "vm import", "an argument is missing: libvirt|proxmox [GUEST...]" },
		{ "vm import xen", "\"xen\" is neither libvirt nor proxmox" },
		{ "vm import proxmox --from -", "--from - is for libvirt" },
		{ "vm import libvirt --tenant x|y", "--tenant x y: is no name" },
		{ "vm import libvirt --from -", "stdin is no definition of a libvirt domain" },
		{ "vm frob", "one of these must follow" },
		{ "--frob", "unknown option --frob" },
		{ "status x", "too many arguments at \"x\"" },
		{ "status --for 1h", "status: unknown option --for" },
		{ "show", "an argument is missing: SUBJECT..." },
		{ "show -- -x", "\"-x\" is no subject" },
		{ "show a|b", "is no subject" },
		{ "show vm:", "is no subject" },
		{ "show mac:zz", "is no subject" },
		{ "show ip:10.0.0.1/8", "is no subject" },
		{ "block", "an argument is missing" },
		{ "block x --for", "--for needs a value" },
		{ "block x --for 30", "must be a time such as" },
		{ "block x --for 99999999999999999999d", "must be a time such as" },
		{ "block x --for 1h --until 2099-01-01T00:00:00Z", "exclude each other" },
		{ "block x --until tomorrow", "--until tomorrow: must be a time" },
		{ "block x --for 1h --for 2h", "--for is given twice" },
		{ "block x --refuse nicely", "must be reset, icmp or drop" },
		{ "block x --on 0", "--on 0: must be a number from 1 to 65535" },
		{ "block x --on smtp", "must be a number" },
		{ "block x --drain=yes", "--drain takes no value" },
		{ "block x --rate 5/s", "block: unknown option --rate" },
		{ "block x --reason a\tb", "control character" },
		{ "block x --reason a\xe2\x80\xae", "control character" },
		{ "block x --reason \xff\xfe", "no UTF-8" },
		{ "block x y/z", "\"y/z\" is no subject" },
		{ "limit x --rate 5", "--rate 5: must be a rate" },
		{ "limit x --rate 0/s", "must be a rate" },
		{ "limit x --rate 1/s --rate 2/s --rate 3/s --rate 4/s --rate 5/s",
		  "4 times at most" },
		{ "limit x --burst 0", "--burst 0: must be a number from 1 to 100000" },
		{ "limit x --burst 4294967297", "must be a number" },
		{ "limit x --concurrent -1", "must be a number" },
		{ "limit x --destinations many", "--destinations many: must be a rate" },
		{ "quarantine", "an argument is missing" },
		{ "quarantine x --refuse drop", "unknown option --refuse" },
		{ "release", "an argument is missing" },
		{ "inherit x --on x", "--on x: must be a number" },
		{ "budget tenant:a", "--rate is missing, or none" },
		{ "budget none", "an argument is missing" },
		{ "budget tenant:a none --rate 5/s", "exclude each other" },
		{ "exempt default maybe 10.0.0.0/8", "add or del must stand between" },
		{ "exempt add 10.0.0.0/8 x", "a subject is missing" },
		{ "exempt a b add", "a destination is missing" },
		{ "exempt default add mail.example", "\"mail.example\" is no address" },
		{ "exempt default add 10.0.0.1/8", "is no address" },
		{ "observe x", "an argument is missing" },
		{ "observe x maybe", "must be on or off, not \"maybe\"" },
		{ "vm add", "an argument is missing: NAME" },
		{ "vm add a b", "too many arguments" },
		{ "vm add a|b", "is no name of a VM" },
		{ "vm add a --mac zz", "--mac zz: must be a unicast MAC address" },
		{ "vm add a --mac 01:00:5e:00:00:01", "must be a unicast MAC address" },
		{ "vm add a --ip 1.2.3", "--ip 1.2.3: must be an address" },
		{ "vm add a --port sixteen-letters.", "must be the name of a network device" },
		{ "vm add a --pair 52:54:00:00:00:01", "must be MAC,ADDRESS" },
		{ "vm add a --pair 52:54:00:00:00:01,x", "must be MAC,ADDRESS" },
		{ "vm add a --tenant x|y", "--tenant x y: must be a name" },
		{ "vm add a --binding loose", "must be strict, learn, off or none" },
		{ "vm set a", "nothing to change was given" },
		{ "vm set a --reason only", "nothing to change was given" },
		{ "vm del", "an argument is missing" },
		{ "vm list x", "too many arguments" },
		{ "list --state open", "must be allow, limit, block or quarantine" },
		{ "list --sort size", "--sort size: must be name, state" },
		{ "list --expiring soon", "--expiring soon: must be a time" },
		{ "history a b", "too many arguments" },
		{ "history a/b", "is no subject" },
		{ "history --limit 0", "must be a number" },
		{ "events --subject a/b", "is no subject" },
		{ "report", "an argument is missing: SUBJECT..." },
		{ "report x --since", "--since needs a value" },
		{ "report x --since 24", "must be a time such as 24h or 7d, at most 30d" },
		{ "report x --since 31d", "at most 30d" },
		{ "report a/b", "is no subject" },
		{ "undo x", "\"x\" is no number of a change" },
		{ "undo 0", "is no number of a change" },
		{ "undo -1", "unknown option -1" },
		{ "undo 1 2", "too many arguments" },
		{ "why", "an argument is missing: SUBJECT" },
		{ "why a/b", "is no subject" },
		{ "why x y z", "too many arguments" },
		{ "why x mail.example", "\"mail.example\" is no destination" },
		{ "why x 192.0.2.1:0", "is no destination" },
		{ "why x 192.0.2.1:65536", "is no destination" },
		{ "why x 192.0.2.1:smtp", "is no destination" },
		{ "why x 192.0.2.0/24", "is no destination" },
		{ "why x [192.0.2.1", "is no destination" },
		{ "why x [2001:db8::1]25", "is no destination" },
		{ "why x :25", "is no destination" },
		{ "show x --customer=1", "--customer takes no value" },
		{ "apply", "an argument is missing: FILE|-" },
		{ "detach", "say --yes if that is meant" },
		{ "help frob", "unknown command \"frob\"" },
		{ "help block x", "unknown command" },
		{ "show - -", "\"-\" can be given once only" },
		{ "show -", "no subject was given" },
	};

	cli_run_put(cli_run_in, "");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char json_line[256], *out;
		json_t *j;

		print_message("%s\n", rows[i].line);
		assert_int_equal(cli_run(rows[i].line), 2);
		cli_run_one_error(rows[i].says);
		snprintf(json_line, sizeof(json_line), "--json %s", rows[i].line);
		assert_int_equal(cli_run(json_line), 2);
		out = cli_run_slurp(cli_run_out);
		j = json_loads(out, 0, NULL);
		assert_string_equal(cli_str(json_object_get(j, "error"), "code"), "usage");
		assert_non_null(cli_str(json_object_get(j, "error"), "message"));
		json_decref(j);
		free(out);
	}
}

/* A value for each option that takes one, so that what is said is about something else. */
static const char *value_for(enum cli_opt o)
{
	switch (o) {
	case OPT_FOR:
	case OPT_SINCE:
	case OPT_EXPIRING:
		return "1h";
	case OPT_RATE:
	case OPT_DESTINATIONS:
		return "5/h";
	default:
		return "1";
	}
}

static void says_usage(const char *line, const char *says)
{
	print_message("%s\n", line);
	assert_int_equal(cli_run(line), 2);
	cli_run_one_error(says);
}

static void nonsense_options(const struct cli_command *cmd)
{
	char line[200];

	for (int i = 0; i < OPT_MAX; i++) {
		const struct cli_option *o = &cli_options[i];

		if (!(cmd->options & (1ULL << i))) {
			if (i < OPT_FOR)
				continue; /* of every command */
			snprintf(line, sizeof(line), "%s --%s", cmd->name, o->name);
			says_usage(line, "unknown option --");
			continue;
		}
		snprintf(line, sizeof(line), "%s --%s%s", cmd->name, o->name, o->arg ? "" : "=x");
		says_usage(line, o->arg ? "needs a value" : "takes no value");
		if (o->many)
			continue;
		snprintf(line, sizeof(line), "%s --%s%s%s --%s%s%s", cmd->name, o->name,
			 o->arg ? " " : "", o->arg ? value_for((enum cli_opt)i) : "", o->name,
			 o->arg ? " " : "", o->arg ? value_for((enum cli_opt)i) : "");
		says_usage(line, "is given twice");
	}
}

/* Every command with too few and too many words, and with options that are none of its own. */
static void every_command_with_nonsense(void **state)
{
	char line[200];

	cli_run_put(cli_run_in, "");
	for (const struct cli_command *cmd = cli_commands; cmd->name; cmd++) {
		if (!cmd->summary)
			continue;
		if (cmd->min_args) {
			says_usage(cmd->name, "an argument is missing");
			snprintf(line, sizeof(line), "%s ", cmd->name); /* an empty word */
			if (cmd->min_args == 1 && cmd->words[0] != WORDS_FILE)
				assert_int_equal(cli_run(line), 2);
		}
		if (cmd->max_args || !cmd->min_args) {
			snprintf(line, sizeof(line), "%s a b c d", cmd->name);
			says_usage(line, "too many arguments");
		}
		nonsense_options(cmd);
		snprintf(line, sizeof(line), "%s -x", cmd->name);
		says_usage(line, "unknown option -x");
		snprintf(line, sizeof(line), "%s --", cmd->name);
		if (cmd->min_args)
			says_usage(line, "an argument is missing");
	}
}

static void long_reasons(void **state)
{
	char reason[2001], *argv[] = { (char *)"gate25",   (char *)"block", (char *)"x",
				       (char *)"--reason", reason,	    NULL };

	memset(reason, 'x', 2000);
	reason[2000] = '\0';
	assert_int_equal(cli_run_argv(5, argv), 2);
	cli_run_one_error("--reason is longer than 255 bytes");
}

#define OK_JSON(body)                                                                              \
	"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" body
#define SHOWN                                                                                      \
	"{\"version\":1,\"subject\":\"vm:web1\",\"effective\":{\"state\":\"block\",\"source\":"    \
	"\"vm:web1\",\"enforce\":true,\"refuse\":\"reset\",\"expires\":"                           \
	"\"2026-12-24T10:00:00Z\",\"reason\":\"ticket 4711\",\"by\":\"alice\"},\"own\":{},"        \
	"\"notes\":[\"one note\"]}"

/* What each command asks for. */
static void requests(void **state)
{
	static const struct {
		const char *line;
		const char *request; /* first line */
		const char *body;    /* JSON, NULL = none */
	} rows[] = {
		{ "", "GET /v1/status HTTP/1.1", NULL },
		{ "status", "GET /v1/status HTTP/1.1", NULL },
		{ "list", "GET /v1/vms HTTP/1.1", NULL },
		{ "list --tenant a+b --state block --expiring 7d",
		  "GET /v1/vms?state=block&tenant=a%2Bb&expiring=604800 HTTP/1.1", NULL },
		{ "vm list --tenant acme", "GET /v1/vms?tenant=acme HTTP/1.1", NULL },
		{ "show web1", "GET /v1/policies/web1 HTTP/1.1", NULL },
		{ "show 2001:db8::/64", "GET /v1/policies/2001%3Adb8%3A%3A%2F64 HTTP/1.1", NULL },
		{ "allow vm:web1", "PUT /v1/policies/vm%3Aweb1 HTTP/1.1", "{\"state\":\"allow\"}" },
		{ "allow x --for 30d --reason ticket|4711", "PUT /v1/policies/x HTTP/1.1",
		  "{\"state\":\"allow\",\"for\":2592000,\"reason\":\"ticket 4711\"}" },
		{ "limit x --rate 5/s --rate=200/h:50 --burst 10 --concurrent 50 --destinations "
		  "50/h "
		  "--on 587 --until 2099-12-24T12:00:00+02:00",
		  "PUT /v1/policies/x HTTP/1.1",
		  "{\"state\":\"limit\",\"on\":587,\"rates\":[{\"count\":5,\"per\":\"1s\"},"
		  "{\"count\":200,\"per\":\"1h\",\"burst\":50}],\"burst\":10,\"concurrent\":50,"
		  "\"destinations\":{\"count\":50,\"per\":\"1h\"},"
		  "\"expires\":\"2099-12-24T10:00:00Z\"}" },
		{ "block x --refuse icmp --drain", "PUT /v1/policies/x HTTP/1.1",
		  "{\"state\":\"block\",\"refuse\":\"icmp\",\"drain\":true}" },
		{ "block --json x", "PUT /v1/policies/x HTTP/1.1", "{\"state\":\"block\"}" },
		{ "quarantine x --for 1h", "PUT /v1/policies/x HTTP/1.1",
		  "{\"quarantine\":true,\"for\":3600}" },
		{ "release x --reason r", "PUT /v1/policies/x HTTP/1.1",
		  "{\"quarantine\":false,\"reason\":\"r\"}" },
		{ "inherit x", "DELETE /v1/policies/x HTTP/1.1", NULL },
		{ "inherit x --on 587 --reason a|b",
		  "DELETE /v1/policies/x?on=587&reason=a%20b HTTP/1.1", NULL },
		{ "budget tenant:a --rate 500/h --rate 9/s", "PUT /v1/policies/tenant%3Aa HTTP/1.1",
		  "{\"budget\":[{\"count\":500,\"per\":\"1h\"},{\"count\":9,\"per\":\"1s\"}]}" },
		{ "budget tenant:a none", "PUT /v1/policies/tenant%3Aa HTTP/1.1",
		  "{\"budget\":null}" },
		{ "exempt default add 10.0.0.0/8 192.0.2.1", "PUT /v1/policies/default HTTP/1.1",
		  "{\"exempt\":{\"add\":[\"10.0.0.0/8\",\"192.0.2.1\"]}}" },
		{ "exempt default del 10.0.0.0/8", "PUT /v1/policies/default HTTP/1.1",
		  "{\"exempt\":{\"del\":[\"10.0.0.0/8\"]}}" },
		{ "observe x on", "PUT /v1/policies/x HTTP/1.1", "{\"observe\":true}" },
		{ "observe x off", "PUT /v1/policies/x HTTP/1.1", "{\"observe\":false}" },
		{ "vm add web1 --port tap0 --port tap1 --mac 52-54-00-00-00-01 --ip 192.0.2.0/24 "
		  "--pair 52:54:00:00:00:02,192.0.2.9 --tenant acme --binding strict",
		  "PUT /v1/vms/web1?mode=create HTTP/1.1",
		  "{\"ports\":[\"tap0\",\"tap1\"],\"macs\":[\"52:54:00:00:00:01\"],"
		  "\"ips\":[\"192.0.2.0/24\"],\"pairs\":[{\"mac\":\"52:54:00:00:00:02\","
		  "\"ip\":\"192.0.2.9\"}],\"tenant\":\"acme\",\"binding\":\"strict\"}" },
		{ "vm set vm:web1 --mac none --tenant none --binding none",
		  "PUT /v1/vms/web1?mode=update HTTP/1.1",
		  "{\"macs\":[],\"tenant\":null,\"binding\":null}" },
		{ "vm del web1 --reason gone", "DELETE /v1/vms/web1?reason=gone HTTP/1.1", NULL },
		{ "history", "GET /v1/audit HTTP/1.1", NULL },
		{ "history vm:web1 --limit 5", "GET /v1/audit?subject=vm%3Aweb1&limit=5 HTTP/1.1",
		  NULL },
		{ "events --subject x", "GET /v1/events?subject=x HTTP/1.1", NULL },
		{ "report vm:web1", "GET /v1/reports/vm%3Aweb1 HTTP/1.1", NULL },
		{ "report web1 --since 7d", "GET /v1/reports/web1?since=604800 HTTP/1.1", NULL },
		{ "undo", "POST /v1/undo HTTP/1.1", "{}" },
		{ "undo 12 --reason wrong|VM", "POST /v1/undo HTTP/1.1",
		  "{\"id\":12,\"reason\":\"wrong VM\"}" },
		{ "why web1", "POST /v1/why HTTP/1.1", "{\"subject\":\"web1\"}" },
		{ "why web1 192.0.2.1:587", "POST /v1/why HTTP/1.1",
		  "{\"subject\":\"web1\",\"destination\":\"192.0.2.1\",\"port\":587}" },
		{ "why web1 2001:db8::1", "POST /v1/why HTTP/1.1",
		  "{\"subject\":\"web1\",\"destination\":\"2001:db8::1\"}" },
		{ "why web1 [2001:db8::1]", "POST /v1/why HTTP/1.1",
		  "{\"subject\":\"web1\",\"destination\":\"2001:db8::1\"}" },
		{ "why web1 [2001:db8::1]:25", "POST /v1/why HTTP/1.1",
		  "{\"subject\":\"web1\",\"destination\":\"2001:db8::1\",\"port\":25}" },
		{ "export", "GET /v1/policy-set HTTP/1.1", NULL },
	};
	static const char *const answer[] = { OK_JSON(SHOWN) };

	cli_run_put(cli_run_in, "");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		pid_t server = cli_run_serve(answer, NULL, 1, CLI_RUN_WHOLE);
		json_t *wanted, *sent;
		char *request, *body;

		print_message("%s\n", rows[i].line);
		assert_int_equal(cli_run(rows[i].line), 0);
		cli_run_end(server);
		request = cli_run_slurp(cli_run_request);
		body = strstr(request, "\r\n\r\n");
		assert_non_null(body);
		*body = '\0';
		body += 4;
		assert_int_equal(strncmp(request, rows[i].request, strlen(rows[i].request)), 0);
		assert_null(strstr(request, "X-Gate25-Actor"));
		if (rows[i].body) {
			wanted = json_loads(rows[i].body, 0, NULL);
			sent = json_loads(body, JSON_REJECT_DUPLICATES, NULL);
			assert_non_null(wanted);
			assert_true(json_equal(wanted, sent));
			json_decref(wanted);
			json_decref(sent);
		} else {
			assert_string_equal(body, "");
		}
		free(request);
	}
}

/* Each command has help; none of it needs a daemon. */
static void help_for_all(void **state)
{
	unlink(cli_run_socket);
	for (const struct cli_command *cmd = cli_commands; cmd->name; cmd++) {
		char line[64], *out;

		if (!cmd->summary)
			continue;
		snprintf(line, sizeof(line), "help %s", cmd->name);
		assert_int_equal(cli_run(line), 0);
		out = cli_run_slurp(cli_run_out);
		snprintf(line, sizeof(line), "Usage: gate25 %s", cmd->name);
		assert_ptr_equal(strstr(out, line), out);
		for (int o = 0; o < OPT_MAX; o++) {
			snprintf(line, sizeof(line), "--%s", cli_options[o].name);
			if (cmd->options & (1ULL << o))
				assert_non_null(strstr(out, line));
		}
		free(out);
	}
	assert_int_equal(cli_run("--help"), 0);
	assert_int_equal(cli_run("block --help"), 0);
	assert_int_equal(cli_run("--version"), 0);
}

/* "--dry-run" as man pages write it: "\-\-dry\-run". */
static void as_roff(const char *word, char *out)
{
	for (; *word; word++) {
		if (*word == '-')
			*out++ = '\\';
		*out++ = *word;
	}
	*out = '\0';
}

/* gate25(1) knows each command and each option. */
static void man_page_is_complete(void **state)
{
	char *page = cli_run_slurp("tools/man/gate25.1"), name[64], roff[128];

	if (!*page)
		skip(); /* not run from the top of the tree */
	for (const struct cli_command *cmd = cli_commands; cmd->name; cmd++) {
		print_message("%s\n", cmd->name);
		if (cmd->summary)
			assert_non_null(strstr(page, cmd->name));
	}
	for (int o = 0; o < OPT_MAX; o++) {
		snprintf(name, sizeof(name), "--%s", cli_options[o].name);
		print_message("%s\n", name);
		as_roff(name, roff);
		assert_non_null(strstr(page, roff));
	}
	free(page);
}

static void completion(void **state)
{
	static const struct {
		const char *line, *offers; /* all candidates */
	} rows[] = {
		{ "__complete qu", "quarantine\n" },
		{ "__complete v", "vm\nversion\n" },
		{ "__complete vm ",
		  "add\nset\ndel\nlist\nimport\n" }, /* the empty word is put in below */
		{ "__complete vm a", "add\n" },
		{ "__complete vm import ", "libvirt\nproxmox\n" },
		{ "__complete vm import libvirt --from x", ":file\n" },
		{ "__complete block x --dr", "--drain\n" },
		{ "__complete block x --refuse r", "reset\n" },
		{ "__complete list --state q", "quarantine\n" },
		{ "__complete observe x o", "on\noff\n" },
		{ "__complete apply x", ":file\n" },
		{ "__complete help qu", "quarantine\n" },
		{ "__complete block def", "default\n" },
	};

	unlink(cli_run_socket);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char *out;

		print_message("%s\n", rows[i].line);
		assert_int_equal(cli_run(rows[i].line), 0);
		out = cli_run_slurp(cli_run_out);
		assert_string_equal(out, rows[i].offers);
		free(out);
	}
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
		cmocka_unit_test(usage_errors), cmocka_unit_test(every_command_with_nonsense),
		cmocka_unit_test(long_reasons), cmocka_unit_test(requests),
		cmocka_unit_test(help_for_all), cmocka_unit_test(man_page_is_complete),
		cmocka_unit_test(completion),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
