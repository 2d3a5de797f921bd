// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Words people type: one row each, what it means or that it is refused. */
#include "parse.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static void rates(void **state)
{
	static const struct {
		const char *text;
		int err;
		struct gate_rate_spec is;
		const char *written; /* NULL = as it was read */
	} rows[] = {
		{ "5/s", 0, { 5, 1, 0 }, NULL },
		{ "60/min", 0, { 60, 60, 0 }, NULL },
		{ "60/m", 0, { 60, 60, 0 }, "60/min" },
		{ "200/h:50", 0, { 200, 3600, 50 }, NULL },
		{ "1000/d", 0, { 1000, 86400, 0 }, NULL },
		{ "1000000/s", 0, { 1000000, 1, 0 }, NULL },
		{ "4294967295/d", 0, { 4294967295U, 86400, 0 }, NULL },
		{ "1/s:100000", 0, { 1, 1, 100000 }, NULL },
		{ "1000001/s", -ERANGE, { 0 }, NULL },
		{ "4294967295/s", -ERANGE, { 0 }, NULL },
		{ "4294967296/d", -ERANGE, { 0 }, NULL },
		{ "99999999999999999999999/h", -ERANGE, { 0 }, NULL },
		{ "0/s", -ERANGE, { 0 }, NULL },
		{ "5/s:0", -ERANGE, { 0 }, NULL },
		{ "5/s:100001", -ERANGE, { 0 }, NULL },
		{ "-5/s", -EINVAL, { 0 }, NULL },
		{ "+5/s", -EINVAL, { 0 }, NULL },
		{ " 5/s", -EINVAL, { 0 }, NULL },
		{ "5/s ", -EINVAL, { 0 }, NULL },
		{ "5", -EINVAL, { 0 }, NULL },
		{ "5/", -EINVAL, { 0 }, NULL },
		{ "/s", -EINVAL, { 0 }, NULL },
		{ "", -EINVAL, { 0 }, NULL },
		{ "5/week", -EINVAL, { 0 }, NULL },
		{ "5/secondsandmore", -EINVAL, { 0 }, NULL },
		{ "5/s:", -EINVAL, { 0 }, NULL },
		{ "5/s:1:2", -EINVAL, { 0 }, NULL },
		{ "5.5/s", -EINVAL, { 0 }, NULL },
		{ "0x5/s", -EINVAL, { 0 }, NULL },
		{ "5/S", -EINVAL, { 0 }, NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct gate_rate_spec r = { 7, 7, 7 };
		char buf[64];

		print_message("%s\n", rows[i].text);
		assert_int_equal(gate_parse_rate(rows[i].text, &r), rows[i].err);
		if (rows[i].err) {
			assert_int_equal(r.count, 7);
			continue;
		}
		assert_memory_equal(&r, &rows[i].is, sizeof(r));
		assert_string_equal(gate_format_rate(&r, buf, sizeof(buf)),
				    rows[i].written ? rows[i].written : rows[i].text);
	}
}

static void rates_from_elsewhere(void **state)
{
	static const struct {
		struct gate_rate_spec r;
		int err;
	} rows[] = {
		{ { 5, 1, 0 }, 0 },
		{ { 5, 2, 0 }, -EINVAL },
		{ { 5, 0, 0 }, -EINVAL },
		{ { 0, 1, 0 }, -ERANGE },
		{ { 1000001, 1, 0 }, -ERANGE },
		{ { 5, 1, 100001 }, -ERANGE },
		{ { 5, 3600, 100000 }, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(gate_rate_check(&rows[i].r), rows[i].err);
}

static void periods(void **state)
{
	static const struct {
		const char *text;
		uint32_t seconds; /* 0 = refused */
	} rows[] = {
		{ "1s", 1 },	 { "1min", 60 }, { "1m", 60 }, { "1h", 3600 },
		{ "1d", 86400 }, { "2s", 0 },	 { "s", 0 },   { "", 0 },
		{ "1", 0 },	 { "1w", 0 },	 { "01s", 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint32_t s = 0, again = 0;

		assert_int_equal(gate_parse_per(rows[i].text, &s), rows[i].seconds ? 0 : -EINVAL);
		assert_int_equal(s, rows[i].seconds);
		if (s) {
			assert_int_equal(gate_parse_per(gate_format_per(s), &again), 0);
			assert_int_equal(again, s);
		}
	}
}

static void durations(void **state)
{
	static const struct {
		const char *text;
		int err;
		int64_t seconds;
		const char *written;
	} rows[] = {
		{ "90s", 0, 90, "1m 30s" },
		{ "15m", 0, 900, "15m" },
		{ "15min", 0, 900, "15m" },
		{ "24h", 0, 86400, "1d" },
		{ "30d", 0, 2592000, "30d" },
		{ "2w", 0, 1209600, "14d" },
		{ "719h", 0, 2588400, "29d 23h" },
		{ "36600d", 0, 3162240000LL, "36600d" },
		{ "36601d", -ERANGE, 0, NULL },
		{ "0s", -ERANGE, 0, NULL },
		{ "99999999999999999999d", -ERANGE, 0, NULL },
		{ "3600", -EINVAL, 0, NULL },
		{ "h", -EINVAL, 0, NULL },
		{ "", -EINVAL, 0, NULL },
		{ "1h30m", -EINVAL, 0, NULL },
		{ "-1h", -EINVAL, 0, NULL },
		{ "1.5h", -EINVAL, 0, NULL },
		{ "1 h", -EINVAL, 0, NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int64_t s = -1;
		char buf[64];

		print_message("%s\n", rows[i].text);
		assert_int_equal(gate_parse_duration(rows[i].text, &s), rows[i].err);
		assert_int_equal(s, rows[i].err ? -1 : rows[i].seconds);
		if (!rows[i].err)
			assert_string_equal(gate_format_duration(s, buf, sizeof(buf)),
					    rows[i].written);
	}
}

static void durations_written(void **state)
{
	static const struct {
		int64_t seconds;
		const char *text;
	} rows[] = {
		{ 0, "0s" },	{ -5, "0s" },	   { 59, "59s" },	 { 60, "1m" },
		{ 3601, "1h" }, { 3660, "1h 1m" }, { 86399, "23h 59m" }, { 86400 + 59, "1d" },
	};
	char buf[64];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_string_equal(gate_format_duration(rows[i].seconds, buf, sizeof(buf)),
				    rows[i].text);
}

static void times(void **state)
{
	static const struct {
		const char *text;
		int64_t is; /* -1 = refused */
		const char *written;
	} rows[] = {
		{ "1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00Z" },
		{ "2026-12-24T10:00:00Z", 1798106400, "2026-12-24T10:00:00Z" },
		{ "2026-12-24t10:00:00z", 1798106400, "2026-12-24T10:00:00Z" },
		{ "2026-12-24 12:00:00+02:00", 1798106400, "2026-12-24T10:00:00Z" },
		{ "2026-12-24T04:30:00-05:30", 1798106400, "2026-12-24T10:00:00Z" },
		{ "2026-12-24T10:00:00.999Z", 1798106400, "2026-12-24T10:00:00Z" },
		{ "2024-02-29T00:00:00Z", 1709164800, "2024-02-29T00:00:00Z" },
		{ "2016-12-31T23:59:60Z", 1483228800, "2017-01-01T00:00:00Z" },
		{ "2025-02-29T00:00:00Z", -1, NULL },
		{ "2100-02-29T00:00:00Z", -1, NULL },
		{ "2026-13-01T00:00:00Z", -1, NULL },
		{ "2026-04-31T00:00:00Z", -1, NULL },
		{ "2026-12-24T24:00:00Z", -1, NULL },
		{ "2026-12-24T10:60:00Z", -1, NULL },
		{ "2026-12-24T10:00:00", -1, NULL },
		{ "2026-12-24T10:00Z", -1, NULL },
		{ "2026-12-24", -1, NULL },
		{ "2026-12-24T10:00:00+0200", -1, NULL },
		{ "2026-12-24T10:00:00+24:00", -1, NULL },
		{ "2026-12-24T10:00:00.Z", -1, NULL },
		{ "2026-12-24T10:00:00ZZ", -1, NULL },
		{ "26-12-24T10:00:00Z", -1, NULL },
		{ "12026-12-24T10:00:00Z", -1, NULL },
		{ "1969-12-31T23:59:59Z", -1, NULL },
		{ "9999-12-31T23:59:59Z", 253402300799, "9999-12-31T23:59:59Z" },
		{ "9999-12-31T23:59:59-00:01", -1, NULL },
		{ "9999-12-31T23:59:60Z", -1, NULL },
		{ "tomorrow", -1, NULL },
		{ "", -1, NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int64_t t = -1;
		char buf[64];

		print_message("%s\n", rows[i].text);
		assert_int_equal(gate_parse_time(rows[i].text, &t), rows[i].written ? 0 : -EINVAL);
		assert_int_equal(t, rows[i].is);
		if (rows[i].written)
			assert_string_equal(gate_format_time(t, buf, sizeof(buf)), rows[i].written);
	}
}

static void macs(void **state)
{
	static const struct {
		const char *text;
		const char *written; /* NULL = refused */
	} rows[] = {
		{ "52:54:00:12:34:56", "52:54:00:12:34:56" },
		{ "52-54-00-AB-CD-EF", "52:54:00:ab:cd:ef" },
		{ "52:54:00-12:34:56", NULL },
		{ "525400123456", NULL },
		{ "52:54:00:12:34", NULL },
		{ "52:54:00:12:34:56:78", NULL },
		{ "52:54:00:12:34:5", NULL },
		{ "52:54:00:12:34:5g", NULL },
		{ "52:54:00:12:34:56 ", NULL },
		{ "01:00:5e:00:00:01", NULL },
		{ "ff:ff:ff:ff:ff:ff", NULL },
		{ "00:00:00:00:00:00", NULL },
		{ "5:5:0:1:3:5", NULL },
		{ "", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint8_t mac[6];
		char buf[32];

		print_message("%s\n", rows[i].text);
		assert_int_equal(gate_parse_mac(rows[i].text, mac), rows[i].written ? 0 : -EINVAL);
		if (rows[i].written)
			assert_string_equal(gate_format_mac(mac, buf, sizeof(buf)),
					    rows[i].written);
	}
}

static void prefixes(void **state)
{
	static const struct {
		const char *text;
		const char *written; /* NULL = refused */
		unsigned len;
		bool v4;
	} rows[] = {
		{ "203.0.113.5", "203.0.113.5", 128, true },
		{ "203.0.113.5/32", "203.0.113.5", 128, true },
		{ "10.0.0.0/8", "10.0.0.0/8", 104, true },
		{ "0.0.0.0/0", "0.0.0.0/0", 96, true },
		{ "2001:db8:1::/64", "2001:db8:1::/64", 64, false },
		{ "2001:DB8::1", "2001:db8::1", 128, false },
		{ "::/0", "::/0", 0, false },
		{ "::ffff:192.0.2.1", "192.0.2.1", 128, true },
		{ "::ffff:192.0.2.0/120", "192.0.2.0/24", 120, true },
		{ "10.0.0.1/8", NULL, 0, false },
		{ "2001:db8::1/64", NULL, 0, false },
		{ "10.0.0.0/33", NULL, 0, false },
		{ "10.0.0.0/08", NULL, 0, false },
		{ "10.0.0.0/", NULL, 0, false },
		{ "10.0.0.0/-1", NULL, 0, false },
		{ "10.0.0.0/8/8", NULL, 0, false },
		{ "::/129", NULL, 0, false },
		{ "10.0.0", NULL, 0, false },
		{ "010.0.0.1", NULL, 0, false },
		{ "10.0.0.256", NULL, 0, false },
		{ "fe80::1%eth0", NULL, 0, false },
		{ "[::1]", NULL, 0, false },
		{ "1:2:3:4:5:6:7:8:9", NULL, 0, false },
		{ "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000", NULL, 0, false },
		{ "", NULL, 0, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct gate_prefix p;
		char buf[64];

		print_message("%s\n", rows[i].text);
		assert_int_equal(gate_parse_prefix(rows[i].text, &p),
				 rows[i].written ? 0 : -EINVAL);
		if (!rows[i].written)
			continue;
		assert_string_equal(gate_format_prefix(&p, buf, sizeof(buf)), rows[i].written);
		assert_int_equal(p.len, rows[i].len);
		assert_int_equal(p.v4, rows[i].v4);
	}
}

static void prefix_contains(void **state)
{
	static const struct {
		const char *outer, *inner;
		bool is;
	} rows[] = {
		{ "10.0.0.0/8", "10.1.2.3", true },
		{ "10.0.0.0/8", "10.0.0.0/8", true },
		{ "10.0.0.0/8", "11.0.0.0", false },
		{ "10.1.0.0/16", "10.0.0.0/8", false },
		{ "2001:db8::/33", "2001:db8:7fff::/64", true },
		{ "2001:db8::/33", "2001:db8:8000::/64", false },
		{ "::/0", "2001:db8::1", true },
		{ "::/0", "10.0.0.1", false },
		{ "0.0.0.0/0", "192.0.2.1", true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct gate_prefix outer, inner;

		assert_int_equal(gate_parse_prefix(rows[i].outer, &outer), 0);
		assert_int_equal(gate_parse_prefix(rows[i].inner, &inner), 0);
		print_message("%s in %s\n", rows[i].inner, rows[i].outer);
		assert_int_equal(gate_prefix_contains(&outer, &inner), rows[i].is);
	}
}

#define NAME63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void subjects(void **state)
{
	static const struct {
		const char *text;
		int kind;	     /* -1 = refused */
		const char *written; /* NULL = as it was read */
	} rows[] = {
		{ "default", GATE_S_DEFAULT, NULL },
		{ "tenant:acme", GATE_S_TENANT, NULL },
		{ "vm:web1.example.com", GATE_S_VM, NULL },
		{ "vm:default", GATE_S_VM, NULL },
		{ "vm:" NAME63, GATE_S_VM, NULL },
		{ "port:tap100i0", GATE_S_PORT, NULL },
		{ "mac:52-54-00-12-34-56", GATE_S_MAC, "mac:52:54:00:12:34:56" },
		{ "52:54:00:12:34:56", GATE_S_MAC, "mac:52:54:00:12:34:56" },
		{ "ip:203.0.113.5", GATE_S_IP, NULL },
		{ "203.0.113.0/24", GATE_S_IP, "ip:203.0.113.0/24" },
		{ "2001:db8:1::/64", GATE_S_IP, "ip:2001:db8:1::/64" },
		{ "web1", GATE_S_WORD, NULL },
		{ "tap:3", GATE_S_WORD, NULL },
		{ "vm:" NAME63 "a", -1, NULL },
		{ NAME63 "a", -1, NULL },
		{ "vm:", -1, NULL },
		{ "tenant:-x", -1, NULL },
		{ "-x", -1, NULL },
		{ "vm:a b", -1, NULL },
		{ "vm:a/b", -1, NULL },
		{ "vm:a\nb", -1, NULL },
		{ "vm:\xc3\xa4", -1, NULL },
		{ "mac:tap3", -1, NULL },
		{ "ip:10.0.0.1/8", -1, NULL },
		{ "", -1, NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct gate_subject s, again;
		char buf[GATE_SUBJECT_LEN];

		print_message("%s\n", rows[i].text);
		assert_int_equal(gate_parse_subject(rows[i].text, &s),
				 rows[i].kind < 0 ? -EINVAL : 0);
		if (rows[i].kind < 0)
			continue;
		assert_int_equal(s.kind, rows[i].kind);
		gate_format_subject(&s, buf, sizeof(buf));
		assert_string_equal(buf, rows[i].written ? rows[i].written : rows[i].text);
		assert_int_equal(gate_parse_subject(buf, &again), 0);
		assert_true(gate_subject_equal(&s, &again));
	}
}

static void subjects_differ(void **state)
{
	static const char *const words[] = {
		"default",  "tenant:a",		 "vm:a",      "port:a", "vm:b", "52:54:00:12:34:56",
		"10.0.0.0", "52:54:00:12:34:57", "10.0.0.0/8"
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(words); j++) {
			struct gate_subject a, b;

			assert_int_equal(gate_parse_subject(words[i], &a), 0);
			assert_int_equal(gate_parse_subject(words[j], &b), 0);
			assert_int_equal(gate_subject_equal(&a, &b), i == j);
		}
	}
}

static void numbers(void **state)
{
	static const struct {
		const char *text;
		int err;
	} rows[] = {
		{ "1", 0 },
		{ "100", 0 },
		{ "0", -ERANGE },
		{ "101", -ERANGE },
		{ "", -EINVAL },
		{ "1x", -EINVAL },
		{ "-1", -EINVAL },
		{ "0x10", -EINVAL },
		{ "1 ", -EINVAL },
		{ "+1", -EINVAL },
		{ "1e1", -EINVAL },
		{ "4294967297", -ERANGE },
		{ "18446744073709551617", -ERANGE },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint32_t v = 7;

		print_message("%s\n", rows[i].text);
		assert_int_equal(gate_parse_u32(rows[i].text, 1, 100, &v), rows[i].err);
		if (rows[i].err)
			assert_int_equal(v, 7);
	}
}

/* Each name reads back as its value, and nothing else does. */
static void names_of_enums(void **state)
{
	enum gate_binding b;
	enum gate_refuse r;
	enum gate_state s;

	for (unsigned i = 0; i < GATE_STATE_MAX; i++) {
		assert_int_equal(gate_parse_state(gate_state_name(i), &s), 0);
		assert_int_equal(s, i);
	}
	for (unsigned i = 0; i < GATE_REFUSE_MAX; i++) {
		assert_int_equal(gate_parse_refuse(gate_refuse_name(i), &r), 0);
		assert_int_equal(r, i);
	}
	for (unsigned i = 0; i < GATE_BINDING_MAX; i++) {
		assert_int_equal(gate_parse_binding(gate_binding_name(i), &b), 0);
		assert_int_equal(b, i);
	}
	assert_int_equal(gate_parse_state("Allow", &s), -EINVAL);
	assert_int_equal(gate_parse_state("", &s), -EINVAL);
	assert_int_equal(gate_parse_refuse("reject", &r), -EINVAL);
	assert_int_equal(gate_parse_binding("loose", &b), -EINVAL);
	assert_string_equal(gate_reason_name(GATE_R_LIMIT_BUDGET), "limit_budget");
	assert_int_equal(gate_reason_verdict(GATE_R_QUARANTINED), GATE_V_BLOCKED);
	assert_string_equal(gate_verdict_name(GATE_V_UNSOLICITED), "unsolicited");
	assert_string_equal(gate_reason_name(GATE_R_MAX), "?");
	assert_string_equal(gate_state_name(GATE_STATE_MAX), "?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rates),
		cmocka_unit_test(rates_from_elsewhere),
		cmocka_unit_test(periods),
		cmocka_unit_test(durations),
		cmocka_unit_test(durations_written),
		cmocka_unit_test(times),
		cmocka_unit_test(macs),
		cmocka_unit_test(prefixes),
		cmocka_unit_test(prefix_contains),
		cmocka_unit_test(subjects),
		cmocka_unit_test(subjects_differ),
		cmocka_unit_test(numbers),
		cmocka_unit_test(names_of_enums),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
