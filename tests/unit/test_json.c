// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Model <-> JSON: what is refused and with which words; what is read comes out again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "json.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOW	 1800000000LL
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const uint16_t ports[GATE_MAX_PORTS] = { 25, 587 };

/* ---- a change ---- */

static const struct {
	const char *what, *body, *says; /* says: part of the sentence */
} bad_changes[] = {
	{ "empty body", "", "no JSON" },
	{ "garbage", "\x01\x02{", "no JSON" },
	{ "no object", "[1]", "object is wanted" },
	{ "a number", "17", "object is wanted" },
	{ "nothing in it", "{}", "changes nothing" },
	{ "only a reason", "{\"reason\":\"x\"}", "changes nothing" },
	{ "unknown key", "{\"state\":\"block\",\"colour\":1}", "unknown key \"colour\"" },
	{ "key twice", "{\"state\":\"block\",\"state\":\"allow\"}", "no JSON" },
	{ "NUL in a string", "{\"state\":\"block\",\"reason\":\"a\\u0000b\"}", "no JSON" },
	{ "bad UTF-8", "{\"state\":\"block\",\"reason\":\"\xff\"}", "no JSON" },
	{ "state no string", "{\"state\":1}", "\"state\" must be a string" },
	{ "state unknown", "{\"state\":\"open\"}", "not \"open\"" },
	{ "quarantine as a state", "{\"state\":\"quarantine\"}", "\"state\" must be" },
	{ "rates without state", "{\"rates\":[{\"count\":5,\"per\":\"1s\"}]}", "\"rates\" needs" },
	{ "on without state", "{\"on\":25,\"observe\":true}", "\"on\" needs" },
	{ "rates with allow", "{\"state\":\"allow\",\"rates\":[{\"count\":5,\"per\":\"1s\"}]}",
	  "\"rates\" does not go with state \"allow\"" },
	{ "drain with limit", "{\"state\":\"limit\",\"drain\":true}", "\"drain\" does not go" },
	{ "rates no array", "{\"state\":\"limit\",\"rates\":{}}", "\"rates\" must be an array" },
	{ "rate no object", "{\"state\":\"limit\",\"rates\":[\"5/s\"]}", "\"rates\" must hold" },
	{ "rate without per", "{\"state\":\"limit\",\"rates\":[{\"count\":5}]}", "\"per\"" },
	{ "rate of nothing", "{\"state\":\"limit\",\"rates\":[{\"count\":0,\"per\":\"1s\"}]}",
	  "\"count\" must be" },
	{ "rate too high", "{\"state\":\"limit\",\"rates\":[{\"count\":1000001,\"per\":\"1s\"}]}",
	  "\"count\" must be" },
	{ "rate negative", "{\"state\":\"limit\",\"rates\":[{\"count\":-1,\"per\":\"1s\"}]}",
	  "\"count\" must be" },
	{ "rate a fraction", "{\"state\":\"limit\",\"rates\":[{\"count\":0.5,\"per\":\"1s\"}]}",
	  "\"count\" must be" },
	{ "per unknown", "{\"state\":\"limit\",\"rates\":[{\"count\":5,\"per\":\"1y\"}]}",
	  "\"per\" in rates" },
	{ "key in a rate", "{\"state\":\"limit\",\"rates\":[{\"count\":5,\"per\":\"1s\",\"x\":1}]}",
	  "unknown key \"x\" in rates" },
	{ "too many rates",
	  "{\"state\":\"limit\",\"rates\":[{\"count\":1,\"per\":\"1s\"},{\"count\":1,\"per\":"
	  "\"1s\"},"
	  "{\"count\":1,\"per\":\"1s\"},{\"count\":1,\"per\":\"1s\"},{\"count\":1,\"per\":\"1s\"}]"
	  "}",
	  "\"rates\" has more than 4" },
	{ "burst of destinations",
	  "{\"state\":\"limit\",\"destinations\":{\"count\":5,\"per\":\"1h\",\"burst\":2}}",
	  "no burst of its own" },
	{ "concurrent 0", "{\"state\":\"limit\",\"concurrent\":0}", "\"concurrent\" must be" },
	{ "number too large", "{\"state\":\"limit\",\"burst\":99999999999999999999}", "no JSON" },
	{ "on 0", "{\"state\":\"block\",\"on\":0}", "\"on\" must be" },
	{ "on 65536", "{\"state\":\"block\",\"on\":65536}", "\"on\" must be" },
	{ "refuse unknown", "{\"state\":\"block\",\"refuse\":\"hang\"}", "\"refuse\" must be" },
	{ "expires in the past", "{\"state\":\"allow\",\"expires\":\"2001-01-01T00:00:00Z\"}",
	  "lies in the past" },
	{ "expires no time", "{\"state\":\"allow\",\"expires\":\"soon\"}", "no RFC 3339 time" },
	{ "expires far off", "{\"state\":\"allow\",\"expires\":\"9999-01-01T00:00:00Z\"}",
	  "a century" },
	{ "both times", "{\"state\":\"allow\",\"for\":1,\"expires\":\"2040-01-01T00:00:00Z\"}",
	  "exclude each other" },
	{ "for 0", "{\"state\":\"allow\",\"for\":0}", "\"for\" must be" },
	{ "for with nothing", "{\"observe\":true,\"for\":60}", "an expiry needs" },
	{ "for with inherit", "{\"state\":\"inherit\",\"for\":60}", "does not go with state" },
	{ "for with a release", "{\"quarantine\":false,\"for\":60}", "an expiry needs" },
	{ "quarantine no boolean", "{\"quarantine\":\"yes\"}", "\"quarantine\" must be" },
	{ "observe no boolean", "{\"observe\":1}", "\"observe\" must be" },
	{ "exempt no object", "{\"exempt\":[]}", "\"exempt\" must be" },
	{ "exempt garbage", "{\"exempt\":{\"add\":[\"nowhere\"]}}", "\"nowhere\"" },
	{ "exempt key", "{\"exempt\":{\"put\":[]}}", "unknown key \"put\" in exempt" },
	{ "control character in a reason", "{\"state\":\"block\",\"reason\":\"a\\nb\"}",
	  "control character" },
	{ "C1 in a reason", "{\"state\":\"block\",\"reason\":\"a\\u009b31m\"}",
	  "control character" },
	{ "text turned round", "{\"state\":\"block\",\"reason\":\"a\\u202eb\"}",
	  "control character" },
	{ "a line of its own", "{\"state\":\"block\",\"reason\":\"a\\u2028b\"}",
	  "control character" },
};

static void test_bad_changes(void **state)
{
	struct gate_json_change c;
	struct gate_error err;
	unsigned i;

	for (i = 0; i < COUNT(bad_changes); i++) {
		memset(&err, 0, sizeof(err));
		memset(&c, 0x5a, sizeof(c));
		if (!gate_json_read_change(bad_changes[i].body, strlen(bad_changes[i].body), NOW,
					   &c, &err))
			fail_msg("%s was taken", bad_changes[i].what);
		if (err.code != GATE_ERR_USAGE || !strstr(err.message, bad_changes[i].says))
			fail_msg("%s: code %d \"%s\"", bad_changes[i].what, err.code, err.message);
		assert_int_equal(((unsigned char *)&c)[0], 0x5a); /* untouched */
	}
}

static void read_change(const char *body, struct gate_json_change *c)
{
	struct gate_error err;

	if (gate_json_read_change(body, strlen(body), NOW, c, &err))
		fail_msg("%s: %s", body, err.message);
}

static void test_change_limit(void **state)
{
	struct gate_json_change c;
	const struct gate_policy_spec *p = &c.change.policy;

	read_change("{\"state\":\"limit\",\"on\":587,\"rates\":[{\"count\":5,\"per\":\"1s\"},"
		    "{\"count\":200,\"per\":\"1h\",\"burst\":50}],\"burst\":10,\"concurrent\":50,"
		    "\"destinations\":{\"count\":50,\"per\":\"1h\"},\"refuse\":\"reset\",\"drain\":"
		    "false,"
		    "\"for\":60,\"reason\":\"ticket 4711\"}",
		    &c);
	assert_true(c.change.set_policy);
	assert_false(c.change.set_quarantine || c.change.set_observe || c.change.set_budget);
	assert_int_equal(p->state, GATE_LIMIT);
	assert_int_equal(c.change.on, 587);
	assert_int_equal(p->limits.nrates, 2);
	assert_int_equal(p->limits.rates[1].count, 200);
	assert_int_equal(p->limits.rates[1].per_s, 3600);
	assert_int_equal(p->limits.rates[1].burst, 50);
	assert_int_equal(p->limits.burst, 10);
	assert_int_equal(p->limits.concurrent, 50);
	assert_int_equal(p->limits.destinations.count, 50);
	assert_int_equal(p->refuse, GATE_REFUSE_RESET);
	assert_int_equal(p->expires, NOW + 60);
	assert_string_equal(p->reason, "ticket 4711");
	assert_string_equal(c.change.reason, "ticket 4711");
	gate_json_change_clear(&c);
}

static void test_change_parts(void **state)
{
	struct gate_json_change c;

	read_change("{\"quarantine\":true,\"expires\":\"2040-01-01T00:00:00Z\"}", &c);
	assert_true(c.change.set_quarantine && c.change.quarantine.on && !c.change.set_policy);
	assert_int_equal(c.change.quarantine.until, 2208988800LL);
	gate_json_change_clear(&c);

	read_change("{\"quarantine\":false}", &c);
	assert_true(c.change.set_quarantine && !c.change.quarantine.on);
	gate_json_change_clear(&c);

	read_change("{\"budget\":null}", &c);
	assert_true(c.change.set_budget && !c.change.nbudget);
	gate_json_change_clear(&c);

	read_change("{\"observe\":false,\"budget\":[{\"count\":500,\"per\":\"1h\"}]}", &c);
	assert_true(c.change.set_observe && !c.change.observe && c.change.set_budget);
	assert_int_equal(c.change.nbudget, 1);
	gate_json_change_clear(&c);

	read_change("{\"exempt\":{\"add\":[\"192.0.2.0/24\",\"2001:db8::/48\"],\"del\":[]}}", &c);
	assert_int_equal(c.change.nexempt_add, 2);
	assert_int_equal(c.change.nexempt_del, 0);
	assert_true(c.change.exempt_add[0].v4 && !c.change.exempt_add[1].v4);
	gate_json_change_clear(&c);

	read_change("{\"state\":\"inherit\"}", &c);
	assert_true(c.change.set_policy && c.change.policy.state == GATE_INHERIT);
	gate_json_change_clear(&c);
}

static void test_reason_length(void **state)
{
	char body[2200], out[256];
	struct gate_json_change c;
	struct gate_error err;

	memset(out, 'x', 255);
	out[255] = '\0';
	snprintf(body, sizeof(body), "{\"state\":\"block\",\"reason\":\"%s\"}", out);
	read_change(body, &c);
	assert_int_equal(strlen(c.reason), 255);
	gate_json_change_clear(&c);

	memset(body, 'x', 2000);
	body[2000] = '\0';
	assert_int_not_equal(gate_json_check_reason(body, out, &err), 0);
	assert_non_null(strstr(err.message, "longer than 255 bytes"));
}

/* ---- a VM ---- */

static const struct {
	const char *what, *body, *says;
} bad_vms[] = {
	{ "unknown key", "{\"name\":\"x\"}", "unknown key \"name\"" },
	{ "port name too long", "{\"ports\":[\"a234567890123456\"]}", "\"ports\" holds" },
	{ "port no string", "{\"ports\":[7]}", "\"ports\" holds" },
	{ "port with a slash", "{\"ports\":[\"../x\"]}", "\"ports\" holds" },
	{ "ports no array", "{\"ports\":\"tap0\"}", "\"ports\" must be an array" },
	{ "MAC garbage", "{\"macs\":[\"zz:zz\"]}", "\"macs\" holds" },
	{ "MAC multicast", "{\"macs\":[\"01:00:5e:00:00:01\"]}", "\"macs\" holds" },
	{ "host bits", "{\"ips\":[\"192.0.2.1/24\"]}", "\"ips\" holds" },
	{ "tenant garbage", "{\"tenant\":\"a b\"}", "\"tenant\" is no name" },
	{ "tenant a number", "{\"tenant\":5}", "\"tenant\" must be a string" },
	{ "binding unknown", "{\"binding\":\"loose\"}", "\"binding\" must be" },
	{ "pair without mac", "{\"pairs\":[{\"ip\":\"192.0.2.1\"}]}", "\"mac\" in pairs" },
	{ "pair with more",
	  "{\"pairs\":[{\"mac\":\"52:54:00:00:00:01\",\"ip\":\"192.0.2.1\",\"x\":1}]}",
	  "unknown key \"x\" in pairs" },
};

static void test_bad_vms(void **state)
{
	struct gate_vm_spec vm;
	struct gate_error err;
	char reason[256];
	unsigned i;

	for (i = 0; i < COUNT(bad_vms); i++) {
		vm = (struct gate_vm_spec){ .binding = -1 };
		if (!gate_json_read_vm(bad_vms[i].body, strlen(bad_vms[i].body), &vm, reason, &err))
			fail_msg("%s was taken", bad_vms[i].what);
		if (!strstr(err.message, bad_vms[i].says))
			fail_msg("%s: \"%s\"", bad_vms[i].what, err.message);
		gate_json_vm_clear(&vm);
	}
}

static void read_vm(const char *body, struct gate_vm_spec *vm)
{
	struct gate_error err;
	char reason[256] = "";

	if (gate_json_read_vm(body, strlen(body), vm, reason, &err))
		fail_msg("%s: %s", body, err.message);
}

static void test_vm_update_keeps_what_is_absent(void **state)
{
	struct gate_vm_spec vm = { .binding = -1 }, copy;

	read_vm("{\"ports\":[\"tap1\",\"tap2\"],\"macs\":[\"52:54:00:00:00:01\"],"
		"\"ips\":[\"192.0.2.1\",\"2001:db8::/"
		"64\"],\"tenant\":\"acme\",\"binding\":\"strict\","
		"\"pairs\":[{\"mac\":\"00:00:5e:00:01:07\",\"ip\":\"192.0.2.9\"}]}",
		&vm);
	assert_int_equal(gate_json_vm_copy(&copy, &vm), 0);
	gate_json_vm_clear(&vm);
	read_vm("{\"macs\":[],\"tenant\":null,\"reason\":\"moved\"}", &copy);
	assert_int_equal(copy.nports, 2);
	assert_string_equal(copy.ports[1], "tap2");
	assert_int_equal(copy.nmacs, 0);
	assert_int_equal(copy.nips, 2);
	assert_int_equal(copy.npairs, 1);
	assert_string_equal(copy.tenant, "");
	assert_int_equal(copy.binding, GATE_BINDING_STRICT);
	gate_json_vm_clear(&copy);
}

/* ---- a policy set ---- */

static const struct {
	const char *what, *line, *says;
} bad_items[] = {
	{ "no kind", "{}", "\"kind\" must be" },
	{ "kind unknown", "{\"kind\":\"x\"}", "\"kind\" must be" },
	{ "not JSON", "{\"kind\"", "no JSON" },
	{ "array", "[]", "object is wanted" },
	{ "VM without name", "{\"kind\":\"vm\"}", "\"name\" is missing" },
	{ "VM with a reason", "{\"kind\":\"vm\",\"name\":\"a\",\"reason\":\"x\"}", "unknown key" },
	{ "subject missing", "{\"kind\":\"subject\"}", "\"subject\" is missing" },
	{ "subject a bare word", "{\"kind\":\"subject\",\"subject\":\"web1\"}", "\"web1\"" },
	{ "policy of a port that is not gated",
	  "{\"kind\":\"subject\",\"subject\":\"vm:a\",\"policies\":[{\"on\":26,\"state\":\"block\"}"
	  "]}",
	  "port 26 is not gated" },
	{ "two of one port",
	  "{\"kind\":\"subject\",\"subject\":\"vm:a\",\"policies\":[{\"state\":\"block\"},"
	  "{\"on\":null,\"state\":\"allow\"}]}",
	  "two for the same port" },
	{ "control character in by",
	  "{\"kind\":\"subject\",\"subject\":\"vm:a\",\"quarantine\":{\"by\":\"a\\nb\"}}",
	  "control character" },
	{ "policy with for",
	  "{\"kind\":\"subject\",\"subject\":\"vm:a\",\"policies\":[{\"state\":\"block\",\"for\":9}"
	  "]}",
	  "unknown key \"for\"" },
};

static void test_bad_items(void **state)
{
	struct gate_set_item it;
	struct gate_error err;
	unsigned i;

	for (i = 0; i < COUNT(bad_items); i++) {
		if (!gate_json_read_item(bad_items[i].line, strlen(bad_items[i].line), ports, 2,
					 &it, &err))
			fail_msg("%s was taken", bad_items[i].what);
		if (!strstr(err.message, bad_items[i].says))
			fail_msg("%s: \"%s\"", bad_items[i].what, err.message);
	}
}

/* What is written is read again, and comes out the same. */
static void test_items_round_trip(void **state)
{
	static const char *const lines[] = {
		"{\"kind\":\"vm\",\"name\":\"web1\",\"tenant\":\"acme\",\"ports\":[\"vnet3\"],"
		"\"macs\":[\"52:54:00:00:00:01\"],\"ips\":[\"192.0.2.1\",\"2001:db8::/64\"],"
		"\"pairs\":[{\"mac\":\"00:00:5e:00:01:07\",\"ip\":\"192.0.2.9\"}],"
		"\"binding\":\"learn\"}\n",
		"{\"kind\":\"vm\",\"name\":\"b\",\"tenant\":null,\"ports\":[],\"macs\":[],\"ips\":["
		"],"
		"\"pairs\":[],\"binding\":null}\n",
		"{\"kind\":\"subject\",\"subject\":\"tenant:acme\",\"policies\":[{\"on\":null,"
		"\"state\":\"limit\",\"rates\":[{\"count\":5,\"per\":\"1s\",\"burst\":null},"
		"{\"count\":200,\"per\":\"1h\",\"burst\":50}],\"burst\":10,\"concurrent\":50,"
		"\"destinations\":{\"count\":50,\"per\":\"1h\"},\"refuse\":\"icmp\",\"drain\":"
		"false,"
		"\"expires\":\"2040-01-01T00:00:00Z\",\"reason\":\"a \\\"quoted\\\" \\\\ thing\","
		"\"by\":\"alice\",\"since\":\"2026-01-01T00:00:00Z\"},{\"on\":587,\"state\":"
		"\"block\","
		"\"rates\":[],\"burst\":null,\"concurrent\":null,\"destinations\":null,\"refuse\":"
		"null,"
		"\"drain\":true,\"expires\":null,\"reason\":null,\"by\":null,\"since\":null}],"
		"\"quarantine\":{\"until\":null,\"reason\":\"spam\",\"by\":\"bob\",\"since\":"
		"\"2026-01-02T00:00:00Z\"},\"observe\":true,\"budget\":[{\"count\":500,\"per\":"
		"\"1h\","
		"\"burst\":null}],\"exempt\":[\"192.0.2.0/24\"]}\n",
		("{\"kind\":\"subject\",\"subject\":\"mac:52:54:00:00:00:01\",\"policies\":[],"
		 "\"quarantine\":null,\"observe\":false,\"budget\":null,\"exempt\":[]}\n"),
	};
	struct gate_set_item it;
	struct gate_error err;
	unsigned i;

	for (i = 0; i < COUNT(lines); i++) {
		struct gate_buf b = { 0 };

		if (gate_json_read_item(lines[i], strlen(lines[i]), ports, 2, &it, &err))
			fail_msg("line %u: %s", i, err.message);
		gate_json_item(&b, &it, ports);
		gate_buf_putc(&b, '\0');
		assert_string_equal(b.data, lines[i]);
		gate_buf_free(&b);
		gate_set_item_clear(&it);
	}
}

/* ---- writing ---- */

static json_t *parse(struct gate_buf *b)
{
	json_error_t e;
	json_t *j = json_loadb(b->data, b->len, JSON_REJECT_DUPLICATES, &e);

	if (!j)
		fail_msg("%s: %.*s", e.text, (int)b->len, b->data);
	gate_buf_free(b);
	return j;
}

static void test_strings_are_escaped(void **state)
{
	static const struct {
		const char *in, *out; /* out NULL = as it came in */
	} table[] = {
		{ "plain", NULL },
		{ "quote \" backslash \\ slash /", NULL },
		{ "line\nfeed\ttab\x01\x1f\x7f", NULL },
		{ "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", NULL },
		{ "cut \xc3", "cut \xef\xbf\xbd" },
		{ "overlong \xc0\xaf", "overlong \xef\xbf\xbd\xef\xbf\xbd" },
		{ "surrogate \xed\xa0\x80", "surrogate \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
		{ "", NULL },
	};
	unsigned i;

	for (i = 0; i < COUNT(table); i++) {
		struct gate_buf b = { 0 };
		json_t *j;

		gate_json_open(&b, NULL, '{');
		gate_json_string(&b, "s", table[i].in);
		gate_json_null(&b, "n");
		gate_json_close(&b, '}');
		j = parse(&b);
		assert_string_equal(json_string_value(json_object_get(j, "s")),
				    table[i].out ? table[i].out : table[i].in);
		json_decref(j);
	}
}

static void test_integers(void **state)
{
	static const uint64_t values[] = { 0, 9, 10, 4294967296ULL, 18446744073709551615ULL };
	char want[32];
	unsigned i;

	for (i = 0; i < COUNT(values); i++) {
		struct gate_buf b = { 0 };

		gate_buf_u64(&b, values[i]);
		gate_buf_putc(&b, '\0');
		snprintf(want, sizeof(want), "%llu", (unsigned long long)values[i]);
		assert_string_equal(b.data, want);
		gate_buf_free(&b);
	}
}

static void test_effective(void **state)
{
	struct gate_effective e = {
		.state = GATE_LIMIT,
		.enforce = true,
		.refuse = GATE_REFUSE_DROP,
		.limits = { .rates = { { 5, 1, 0 } }, .nrates = 1, .burst = 10 },
		.source = "default",
	};
	struct gate_buf b = { 0 };
	json_t *j;

	gate_json_open(&b, NULL, '[');
	gate_json_effective(&b, NULL, 0, &e);
	e.quarantined = e.drain = true;
	gate_json_effective(&b, NULL, 587, &e);
	gate_json_close(&b, ']');
	j = parse(&b);
	assert_string_equal(json_string_value(json_object_get(json_array_get(j, 0), "state")),
			    "limit");
	assert_int_equal(json_array_size(json_object_get(json_array_get(j, 0), "rates")), 1);
	assert_null(json_object_get(json_array_get(j, 0), "port"));
	assert_string_equal(json_string_value(json_object_get(json_array_get(j, 1), "state")),
			    "quarantine");
	assert_int_equal(json_array_size(json_object_get(json_array_get(j, 1), "rates")), 0);
	assert_true(json_is_false(json_object_get(json_array_get(j, 1), "drain")));
	assert_int_equal(json_integer_value(json_object_get(json_array_get(j, 1), "port")), 587);
	json_decref(j);
}

/* The names and their order are INTERFACES'. */
static void test_counter_names(void **state)
{
	struct gate_counters c = { .flows_admitted = 1, .exempt = 2 };
	struct gate_buf b = { 0 };
	json_t *j;

	gate_json_open(&b, NULL, '{');
	gate_json_counters(&b, "c", &c, 7);
	gate_json_close(&b, '}');
	gate_buf_putc(&b, '\0');
	assert_non_null(strstr(b.data, "\"flows_would_refuse\":0,\"flows_active\":7,"
				       "\"packets_from_vm\":0"));
	b.len--;
	j = parse(&b);
	assert_int_equal(json_object_size(json_object_get(j, "c")), 26);
	json_decref(j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bad_changes),
		cmocka_unit_test(test_change_limit),
		cmocka_unit_test(test_change_parts),
		cmocka_unit_test(test_reason_length),
		cmocka_unit_test(test_bad_vms),
		cmocka_unit_test(test_vm_update_keeps_what_is_absent),
		cmocka_unit_test(test_bad_items),
		cmocka_unit_test(test_items_round_trip),
		cmocka_unit_test(test_strings_are_escaped),
		cmocka_unit_test(test_integers),
		cmocka_unit_test(test_effective),
		cmocka_unit_test(test_counter_names),
	};

	return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
