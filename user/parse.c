// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Strict by intent: the whole string is consumed, signs and leading blanks are
 * refused, every multiplication is checked. What a person mistypes must be an
 * error, never a policy that means something else.
 */
#include "parse.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define MINUTE_S 60
#define HOUR_S	 3600
#define DAY_S	 86400
#define WEEK_S	 (7 * DAY_S)

/* ---- numbers ---- */

/* Decimal digits at *s, at most `max`; moves *s behind them. */
static int take_number(const char **s, uint64_t max, uint64_t *out)
{
	const char *p = *s;
	uint64_t v = 0;

	if (*p < '0' || *p > '9')
		return -EINVAL;
	for (; *p >= '0' && *p <= '9'; p++) {
		uint64_t digit = (uint64_t)(*p - '0');

		if (v > (max - digit) / 10)
			return -ERANGE;
		v = v * 10 + digit;
	}
	*s = p;
	*out = v;
	return 0;
}

int gate_parse_u32(const char *s, uint32_t min, uint32_t max, uint32_t *out)
{
	uint64_t v;
	int err = take_number(&s, max, &v);

	if (err)
		return err;
	if (*s)
		return -EINVAL;
	if (v < min)
		return -ERANGE;
	*out = (uint32_t)v;
	return 0;
}

/* ---- words ---- */

struct unit {
	const char *word;
	uint32_t seconds;
};

static int find_unit(const struct unit *units, size_t n, const char *word, uint32_t *seconds)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(units[i].word, word) == 0) {
			*seconds = units[i].seconds;
			return 0;
		}
	}
	return -EINVAL;
}

static int find_word(const char *const *words, size_t n, const char *s)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(words[i], s) == 0)
			return (int)i;
	}
	return -EINVAL;
}

/* ---- rates ---- */

/* Where two words mean the same the first is the one that is written. */
static const struct unit rate_units[] = {
	{ "s", 1 }, { "min", MINUTE_S }, { "m", MINUTE_S }, { "h", HOUR_S }, { "d", DAY_S },
};

static const char *rate_unit_name(uint32_t seconds)
{
	for (size_t i = 0; i < ARRAY_SIZE(rate_units); i++) {
		if (rate_units[i].seconds == seconds)
			return rate_units[i].word;
	}
	return "?";
}

/* Splits "200/h:50" at the ':' into the unit word and the burst. */
static int parse_rate_unit(const char *s, uint32_t *per_s, uint32_t *burst)
{
	const char *colon = strchr(s, ':');
	size_t len = colon ? (size_t)(colon - s) : strlen(s);
	char word[8];

	*burst = 0;
	if (len >= sizeof(word))
		return -EINVAL;
	memcpy(word, s, len);
	word[len] = '\0';
	if (colon) {
		int err = gate_parse_u32(colon + 1, 1, GATE_BURST_MAX, burst);

		if (err)
			return err;
	}
	return find_unit(rate_units, ARRAY_SIZE(rate_units), word, per_s);
}

int gate_rate_check(const struct gate_rate_spec *r)
{
	if (*rate_unit_name(r->per_s) == '?')
		return -EINVAL;
	if (r->count == 0 || r->burst > GATE_BURST_MAX ||
	    r->count > (uint64_t)r->per_s * GATE_RATE_MAX_PER_S)
		return -ERANGE;
	return 0;
}

int gate_parse_rate(const char *s, struct gate_rate_spec *out)
{
	struct gate_rate_spec r;
	uint64_t count;
	int err = take_number(&s, UINT32_MAX, &count);

	if (err)
		return err;
	if (*s != '/')
		return -EINVAL;
	err = parse_rate_unit(s + 1, &r.per_s, &r.burst);
	if (err)
		return err;
	r.count = (uint32_t)count;
	err = gate_rate_check(&r);
	if (err)
		return err;
	*out = r;
	return 0;
}

char *gate_format_rate(const struct gate_rate_spec *r, char *buf, size_t size)
{
	const char *unit = rate_unit_name(r->per_s);

	if (r->burst)
		snprintf(buf, size, "%u/%s:%u", r->count, unit, r->burst);
	else
		snprintf(buf, size, "%u/%s", r->count, unit);
	return buf;
}

int gate_parse_per(const char *s, uint32_t *seconds)
{
	if (*s != '1')
		return -EINVAL;
	return find_unit(rate_units, ARRAY_SIZE(rate_units), s + 1, seconds);
}

const char *gate_format_per(uint32_t seconds)
{
	switch (seconds) {
	case 1:
		return "1s";
	case MINUTE_S:
		return "1min";
	case HOUR_S:
		return "1h";
	case DAY_S:
		return "1d";
	default:
		return "?";
	}
}

/* ---- durations ---- */

static const struct unit duration_units[] = {
	{ "s", 1 },	 { "m", MINUTE_S }, { "min", MINUTE_S },
	{ "h", HOUR_S }, { "d", DAY_S },    { "w", WEEK_S },
};

int gate_parse_duration(const char *s, int64_t *seconds)
{
	uint64_t count;
	uint32_t unit;
	int err = take_number(&s, GATE_DURATION_MAX_S, &count);

	if (err)
		return err;
	err = find_unit(duration_units, ARRAY_SIZE(duration_units), s, &unit);
	if (err)
		return err;
	if (count == 0 || count * unit > GATE_DURATION_MAX_S)
		return -ERANGE;
	*seconds = (int64_t)(count * unit);
	return 0;
}

char *gate_format_duration(int64_t seconds, char *buf, size_t size)
{
	static const struct unit down[] = {
		{ "d", DAY_S }, { "h", HOUR_S }, { "m", MINUTE_S }, { "s", 1 }
	};
	int64_t left = seconds > 0 ? seconds : 0;
	size_t i = 0;

	while (i + 1 < ARRAY_SIZE(down) && left < down[i].seconds)
		i++;
	int64_t first = left / down[i].seconds;
	int64_t rest = left % down[i].seconds;

	if (i + 1 < ARRAY_SIZE(down) && rest / down[i + 1].seconds)
		snprintf(buf, size, "%lld%s %lld%s", (long long)first, down[i].word,
			 (long long)(rest / down[i + 1].seconds), down[i + 1].word);
	else
		snprintf(buf, size, "%lld%s", (long long)first, down[i].word);
	return buf;
}

/* ---- names and subjects ---- */

bool gate_name_valid(const char *s)
{
	size_t i;

	if (*s == '-')
		return false;
	for (i = 0; s[i]; i++) {
		bool alnum = (s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') ||
			     (s[i] >= '0' && s[i] <= '9');

		if (i + 1 >= GATE_NAME_LEN || (!alnum && !strchr("._-:@+", s[i])))
			return false;
	}
	return i > 0;
}

unsigned gate_text_control(const char *s)
{
	const unsigned char *u = (const unsigned char *)s;

	if ((*u && *u < 0x20) || *u == 0x7f)
		return 1;
	if (u[0] == 0xc2 && u[1] >= 0x80 && u[1] < 0xa0)
		return 2;
	if (u[0] != 0xe2)
		return 0;
	if ((u[1] == 0x80 && u[2] >= 0xa8 && u[2] <= 0xae) ||
	    (u[1] == 0x81 && u[2] >= 0xa6 && u[2] <= 0xa9))
		return 3;
	return 0;
}

bool gate_text_valid(const char *s)
{
	for (; *s; s++)
		if (gate_text_control(s))
			return false;
	return true;
}

static const char *const subject_kinds[GATE_S_MAX] = {
	[GATE_S_DEFAULT] = "default", [GATE_S_TENANT] = "tenant", [GATE_S_VM] = "vm",
	[GATE_S_PORT] = "port",	      [GATE_S_MAC] = "mac",	  [GATE_S_IP] = "ip",
};

static int parse_named(enum gate_subject_kind kind, const char *name, struct gate_subject *out)
{
	if (!gate_name_valid(name))
		return -EINVAL;
	out->kind = kind;
	strcpy(out->name, name); /* a valid name fits */
	return 0;
}

static int parse_kind(enum gate_subject_kind kind, const char *rest, struct gate_subject *out)
{
	out->kind = kind;
	if (kind == GATE_S_MAC)
		return gate_parse_mac(rest, out->mac);
	if (kind == GATE_S_IP)
		return gate_parse_prefix(rest, &out->ip);
	return parse_named(kind, rest, out);
}

static int parse_bare(const char *s, struct gate_subject *out)
{
	if (gate_parse_mac(s, out->mac) == 0) {
		out->kind = GATE_S_MAC;
		return 0;
	}
	if (gate_parse_prefix(s, &out->ip) == 0) {
		out->kind = GATE_S_IP;
		return 0;
	}
	return parse_named(GATE_S_WORD, s, out);
}

int gate_parse_subject(const char *s, struct gate_subject *out)
{
	struct gate_subject sub = { 0 };
	int err = 1;

	if (strcmp(s, subject_kinds[GATE_S_DEFAULT]) == 0) {
		sub.kind = GATE_S_DEFAULT;
		err = 0;
	}
	for (int k = GATE_S_TENANT; err > 0 && k <= GATE_S_IP; k++) {
		size_t len = strlen(subject_kinds[k]);

		if (strncmp(s, subject_kinds[k], len) == 0 && s[len] == ':')
			err = parse_kind((enum gate_subject_kind)k, s + len + 1, &sub);
	}
	if (err > 0)
		err = parse_bare(s, &sub);
	if (err)
		return err;
	*out = sub;
	return 0;
}

/* As "%s:%s", which lists and sets ask for by the hundred thousand. */
static void join(const char *kind, const char *name, char *buf, size_t size)
{
	size_t n = strlen(kind), len = strlen(name);

	if (n + len + 2 > size) {
		snprintf(buf, size, "%s:%s", kind, name);
		return;
	}
	memcpy(buf, kind, n);
	buf[n] = ':';
	memcpy(buf + n + 1, name, len + 1);
}

char *gate_format_subject(const struct gate_subject *s, char *buf, size_t size)
{
	char text[GATE_SUBJECT_LEN];

	switch (s->kind) {
	case GATE_S_DEFAULT:
		snprintf(buf, size, "%s", subject_kinds[GATE_S_DEFAULT]);
		break;
	case GATE_S_MAC:
		join("mac", gate_format_mac(s->mac, text, sizeof(text)), buf, size);
		break;
	case GATE_S_IP:
		join("ip", gate_format_prefix(&s->ip, text, sizeof(text)), buf, size);
		break;
	case GATE_S_TENANT:
	case GATE_S_VM:
	case GATE_S_PORT:
		join(subject_kinds[s->kind], s->name, buf, size);
		break;
	case GATE_S_WORD:
	case GATE_S_MAX:
		snprintf(buf, size, "%s", s->name);
		break;
	}
	return buf;
}

bool gate_subject_equal(const struct gate_subject *a, const struct gate_subject *b)
{
	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case GATE_S_DEFAULT:
		return true;
	case GATE_S_MAC:
		return memcmp(a->mac, b->mac, sizeof(a->mac)) == 0;
	case GATE_S_IP:
		return a->ip.len == b->ip.len &&
		       memcmp(a->ip.addr, b->ip.addr, sizeof(a->ip.addr)) == 0;
	default:
		return strcmp(a->name, b->name) == 0;
	}
}

/* ---- enums ---- */

static const char *const state_names[] = { "inherit", "allow", "limit", "block" };
_Static_assert(ARRAY_SIZE(state_names) == GATE_STATE_MAX, "a name for each state");

static const char *const refuse_names[] = { "drop", "reset", "icmp" };
_Static_assert(ARRAY_SIZE(refuse_names) == GATE_REFUSE_MAX, "a name for each way to refuse");

static const char *const binding_names[] = { "off", "learn", "strict" };
_Static_assert(ARRAY_SIZE(binding_names) == GATE_BINDING_MAX, "a name for each binding");

static const char *const verdict_names[] = { "pass",	    "limited",	      "blocked", "spoofed",
					     "unsolicited", "unclassifiable", "fragment" };
_Static_assert(ARRAY_SIZE(verdict_names) == GATE_V_MAX, "a name for each verdict");

static const struct {
	const char *name;
	enum gate_verdict verdict;
} reasons[] = {
#define X(id, text, v) { text, GATE_V_##v },
	GATE_REASONS(X)
#undef X
};
_Static_assert(ARRAY_SIZE(reasons) == GATE_R_MAX, "a name for each reason");

static const char *name_of(const char *const *names, size_t n, unsigned i)
{
	return i < n ? names[i] : "?";
}

const char *gate_state_name(enum gate_state s)
{
	return name_of(state_names, ARRAY_SIZE(state_names), s);
}

int gate_parse_state(const char *s, enum gate_state *out)
{
	int i = find_word(state_names, ARRAY_SIZE(state_names), s);

	if (i < 0)
		return i;
	*out = (enum gate_state)i;
	return 0;
}

const char *gate_refuse_name(enum gate_refuse r)
{
	return name_of(refuse_names, ARRAY_SIZE(refuse_names), r);
}

int gate_parse_refuse(const char *s, enum gate_refuse *out)
{
	int i = find_word(refuse_names, ARRAY_SIZE(refuse_names), s);

	if (i < 0)
		return i;
	*out = (enum gate_refuse)i;
	return 0;
}

const char *gate_binding_name(enum gate_binding b)
{
	return name_of(binding_names, ARRAY_SIZE(binding_names), b);
}

int gate_parse_binding(const char *s, enum gate_binding *out)
{
	int i = find_word(binding_names, ARRAY_SIZE(binding_names), s);

	if (i < 0)
		return i;
	*out = (enum gate_binding)i;
	return 0;
}

const char *gate_reason_name(enum gate_reason r)
{
	return (unsigned)r < ARRAY_SIZE(reasons) ? reasons[r].name : "?";
}

enum gate_verdict gate_reason_verdict(enum gate_reason r)
{
	return (unsigned)r < ARRAY_SIZE(reasons) ? reasons[r].verdict : GATE_V_PASS;
}

const char *gate_verdict_name(enum gate_verdict v)
{
	return name_of(verdict_names, ARRAY_SIZE(verdict_names), v);
}
