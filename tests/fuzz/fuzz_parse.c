// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Any bytes as the words that people type: a refusal leaves the output alone, and
 * what was understood is understood the same when it is written down again.
 */
#include "parse.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define FILL	 0xa5
#define LAST_DAY 253402300799LL /* 9999-12-31T23:59:59Z */

#define CHECK(holds)                                                                               \
	do {                                                                                       \
		if (!(holds)) {                                                                    \
			fprintf(stderr, "line %d: %s\n", __LINE__, #holds);                        \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static bool untouched(const void *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (((const uint8_t *)p)[i] != FILL)
			return false;
	return true;
}

/* The result of a parser: understood, or refused with the output as it was. */
static bool understood(int err, const void *out, size_t n)
{
	CHECK(err == 0 || err == -EINVAL || err == -ERANGE);
	CHECK(!err || untouched(out, n));
	return !err;
}

static void check_rate(const char *s)
{
	struct gate_rate_spec r, again;
	char text[64];

	memset(&r, FILL, sizeof(r));
	if (!understood(gate_parse_rate(s, &r), &r, sizeof(r)))
		return;
	CHECK(gate_rate_check(&r) == 0);
	CHECK(gate_parse_rate(gate_format_rate(&r, text, sizeof(text)), &again) == 0);
	CHECK(again.count == r.count && again.per_s == r.per_s && again.burst == r.burst);
}

static void check_time(const char *s)
{
	int64_t t, again;
	char text[64];

	memset(&t, FILL, sizeof(t));
	if (understood(gate_parse_duration(s, &t), &t, sizeof(t)))
		CHECK(t > 0 && t <= GATE_DURATION_MAX_S);
	memset(&t, FILL, sizeof(t));
	if (!understood(gate_parse_time(s, &t), &t, sizeof(t)) || t < 0 || t > LAST_DAY)
		return;
	CHECK(gate_parse_time(gate_format_time(t, text, sizeof(text)), &again) == 0);
	CHECK(again == t);
}

static void check_mac(const char *s)
{
	uint8_t mac[6], again[6];
	char text[32];

	memset(mac, FILL, sizeof(mac));
	if (!understood(gate_parse_mac(s, mac), mac, sizeof(mac)))
		return;
	CHECK(!(mac[0] & 1));
	CHECK(gate_parse_mac(gate_format_mac(mac, text, sizeof(text)), again) == 0);
	CHECK(!memcmp(mac, again, sizeof(mac)));
}

static void check_prefix(const char *s)
{
	struct gate_prefix p, again;
	char text[64];

	memset(&p, FILL, sizeof(p));
	if (!understood(gate_parse_prefix(s, &p), &p, sizeof(p)))
		return;
	CHECK(p.len <= 128 && (!p.v4 || p.len >= 96));
	CHECK(gate_parse_prefix(gate_format_prefix(&p, text, sizeof(text)), &again) == 0);
	CHECK(again.len == p.len && again.v4 == p.v4 &&
	      !memcmp(again.addr, p.addr, sizeof(p.addr)));
	CHECK(gate_prefix_contains(&p, &again));
}

static void check_subject(const char *s)
{
	struct gate_subject sub, again;
	char text[GATE_SUBJECT_LEN];

	memset(&sub, FILL, sizeof(sub));
	if (!understood(gate_parse_subject(s, &sub), &sub, sizeof(sub)))
		return;
	CHECK(sub.kind < GATE_S_MAX);
	CHECK(gate_parse_subject(gate_format_subject(&sub, text, sizeof(text)), &again) == 0);
	CHECK(gate_subject_equal(&sub, &again));
}

/* One value of an enumeration, by its parser and its table of names. */
#define CHECK_WORD(type, parse, name)                                                              \
	do {                                                                                       \
		enum type v;                                                                       \
		memset(&v, FILL, sizeof(v));                                                       \
		if (understood(parse(s, &v), &v, sizeof(v)))                                       \
			CHECK(!strcmp(name(v), s));                                                \
	} while (0)

static void check_words(const char *s)
{
	uint32_t n;

	memset(&n, FILL, sizeof(n));
	if (understood(gate_parse_u32(s, 3, 70000, &n), &n, sizeof(n)))
		CHECK(n >= 3 && n <= 70000);
	memset(&n, FILL, sizeof(n));
	if (understood(gate_parse_per(s, &n), &n, sizeof(n)))
		CHECK(*gate_format_per(n) == '1');
	CHECK_WORD(gate_state, gate_parse_state, gate_state_name);
	CHECK_WORD(gate_refuse, gate_parse_refuse, gate_refuse_name);
	CHECK_WORD(gate_binding, gate_parse_binding, gate_binding_name);
	if (gate_name_valid(s))
		CHECK(strlen(s) > 0 && strlen(s) < GATE_NAME_LEN);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	char *s = strndup((const char *)bytes, size);

	if (!s)
		return 0;
	check_rate(s);
	check_time(s);
	check_mac(s);
	check_prefix(s);
	check_subject(s);
	check_words(s);
	free(s);
	return 0;
}
