// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Objects of the API as sentences: what is in force, until when, by whom, why. */
#include "cli.h"
#include "parse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const char *cli_str(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

uint64_t cli_uint(const json_t *o, const char *key)
{
	json_int_t v = json_integer_value(json_object_get(o, key));

	return v > 0 ? (uint64_t)v : 0;
}

bool cli_bool(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

/* ---- figures ---- */

static char *scaled(uint64_t n, const char *const *units, unsigned last, char buf[16])
{
	double v = (double)n;
	unsigned i = 0;

	while (v >= 999.5 && i < last) {
		v /= 1000;
		i++;
	}
	snprintf(buf, 16, v < 99.95 && i ? "%.1f%s" : "%.0f%s", v, units[i]);
	return buf;
}

char *cli_count(uint64_t n, char buf[16])
{
	static const char *const units[] = { "", "k", "M", "G", "T", "P", "E" };

	if (n < 10000) {
		snprintf(buf, 16, "%u", (unsigned)n);
		return buf;
	}
	return scaled(n, units, 6, buf);
}

char *cli_bytes(uint64_t n, char buf[16])
{
	static const char *const units[] = { " B", " kB", " MB", " GB", " TB", " PB", " EB" };

	return scaled(n, units, 6, buf);
}

char *cli_time(const char *rfc3339, char *buf, size_t size)
{
	int64_t t;

	if (!rfc3339 || gate_parse_time(rfc3339, &t)) {
		snprintf(buf, size, "%s", rfc3339 ? rfc3339 : "-");
		return buf;
	}
	gate_format_time(t, buf, size);
	/* 2026-12-24T10:00:00Z: the seconds say nothing to a person */
	if (strlen(buf) == 20) {
		buf[10] = ' ';
		snprintf(buf + 16, size - 16, " UTC");
	}
	return buf;
}

enum cli_style cli_state_style(const char *state)
{
	static const struct {
		const char *state;
		enum cli_style style;
	} styles[] = {
		{ "allow", STYLE_GOOD },
		{ "limit", STYLE_PLAIN },
		{ "block", STYLE_BAD },
		{ "quarantine", STYLE_WORST },
	};

	for (size_t i = 0; state && i < sizeof(styles) / sizeof(styles[0]); i++) {
		if (strcmp(styles[i].state, state) == 0)
			return styles[i].style;
	}
	return STYLE_PLAIN;
}

/* ---- sentences ---- */

/* Text that grows; joined pieces are separated. */
struct text {
	FILE *f;
	char *s;
	size_t len;
	bool any;
};

static bool text_open(struct text *t)
{
	*t = (struct text){ 0 };
	t->f = open_memstream(&t->s, &t->len);
	return t->f;
}

static char *text_close(struct text *t)
{
	if (fclose(t->f)) {
		free(t->s);
		return NULL;
	}
	return t->s;
}

__attribute__((format(printf, 2, 3))) static void piece(struct text *t, const char *fmt, ...)
{
	va_list ap;

	fputs(t->any ? ", " : "", t->f);
	t->any = true;
	va_start(ap, fmt);
	vfprintf(t->f, fmt, ap);
	va_end(ap);
}

/* {"count":5,"per":"1s","burst":2} -> "5/s:2" */
static void rate_piece(struct text *t, const json_t *rate, const char *after)
{
	struct gate_rate_spec r = { .count = (uint32_t)cli_uint(rate, "count"),
				    .burst = (uint32_t)cli_uint(rate, "burst") };
	const char *per = cli_str(rate, "per");
	char buf[64];

	if (per && gate_parse_per(per, &r.per_s) == 0)
		piece(t, "%s%s", gate_format_rate(&r, buf, sizeof(buf)), after);
}

static void limit_pieces(struct text *t, const json_t *policy)
{
	const json_t *rates = json_object_get(policy, "rates"), *rate;
	size_t i;

	json_array_foreach (rates, i, rate)
		rate_piece(t, rate, "");
	if (cli_uint(policy, "burst"))
		piece(t, "burst %llu", (unsigned long long)cli_uint(policy, "burst"));
	if (cli_uint(policy, "concurrent"))
		piece(t, "%llu at once", (unsigned long long)cli_uint(policy, "concurrent"));
	if (json_is_object(json_object_get(policy, "destinations")))
		rate_piece(t, json_object_get(policy, "destinations"), " new destinations");
}

char *cli_limits_text(const json_t *policy)
{
	struct text t;

	if (!text_open(&t))
		return NULL;
	limit_pieces(&t, policy);
	if (!t.any)
		piece(&t, "no limits");
	return text_close(&t);
}

/* A key with blanks for its underscores. */
static void key_piece(struct text *t, const char *key, const char *before)
{
	piece(t, "%s", before);
	for (; *key; key++)
		fputc(*key == '_' ? ' ' : *key, t->f);
}

static void value_piece(struct text *t, const char *key, const json_t *value)
{
	const char *const text = json_string_value(value);
	bool empty = json_is_array(value) && !json_array_size(value);
	char when[64], *joined;

	if (json_is_false(value) || json_is_null(value) || empty) {
		key_piece(t, key, "no ");
		return;
	}
	if (text && (strcmp(key, "expires") == 0 || strcmp(key, "until") == 0)) {
		piece(t, "until %s", cli_time(text, when, sizeof(when)));
		return;
	}
	key_piece(t, key, "");
	if (text) {
		fprintf(t->f, " %s", text);
	} else if (json_is_integer(value)) {
		fprintf(t->f, " %lld", (long long)json_integer_value(value));
	} else if (!json_is_true(value)) {
		joined = json_is_string(json_array_get(value, 0)) ? cli_join(value, NULL)
								  : json_dumps(value, JSON_COMPACT);
		fprintf(t->f, " %s", joined ? joined : "?");
		free(joined);
	}
}

/* Is it said elsewhere, by the action or with the limits? */
static bool is_told(const char *action, const char *key, const json_t *value)
{
	static const char *const keys[] = { "before",	  "quarantine",	  "rates", "burst",
					    "concurrent", "destinations", "budget" };
	const char *text = json_string_value(value);

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (strcmp(key, keys[i]) == 0)
			return true;
	return strcmp(key, "state") == 0 && text && strcmp(text, action) == 0;
}

/* "exempt_add" of the action "exempt" -> "add" */
static const char *behind(const char *key, const char *action)
{
	size_t len = strlen(action);

	return len && strncmp(key, action, len) == 0 && key[len] == '_' ? key + len + 1 : key;
}

char *cli_detail_text(const char *action, const json_t *detail)
{
	const json_t *budget = json_object_get(detail, "budget"), *rate;
	const char *key;
	json_t *value;
	struct text t;
	size_t i;

	if (!text_open(&t))
		return NULL;
	limit_pieces(&t, detail);
	json_array_foreach (budget, i, rate)
		rate_piece(&t, rate, "");
	if (json_is_null(budget))
		piece(&t, "none");
	json_object_foreach ((json_t *)detail, key, value) {
		if (strcmp(key, "observe") == 0)
			piece(&t, "%s", json_is_true(value) ? "on" : "off");
		else if (!is_told(action, key, value))
			value_piece(&t, behind(key, action), value);
	}
	return text_close(&t);
}

char *cli_rates_text(const json_t *rates)
{
	const json_t *rate;
	struct text t;
	size_t i;

	if (!text_open(&t))
		return NULL;
	json_array_foreach (rates, i, rate)
		rate_piece(&t, rate, "");
	if (!t.any)
		piece(&t, "none");
	return text_close(&t);
}

/* "own, until 2026-12-24 10:00 UTC, "ticket 4711", by alice" */
static void origin_pieces(struct text *t, const char *subject, const json_t *e)
{
	const char *source = cli_str(e, "source"), *expires = cli_str(e, "expires");
	const char *reason = cli_str(e, "reason"), *by = cli_str(e, "by");
	char when[64];

	if (source && subject && strcmp(source, subject) == 0)
		piece(t, "own");
	else if (source)
		piece(t, "from %s", source);
	if (expires)
		piece(t, "until %s", cli_time(expires, when, sizeof(when)));
	if (reason && *reason)
		piece(t, "\"%s\"", reason);
	if (by && *by)
		piece(t, "by %s", by);
}

static const char *refusal(const char *how)
{
	if (how && strcmp(how, "reset") == 0)
		return "are reset";
	if (how && strcmp(how, "icmp") == 0)
		return "are refused by ICMP";
	return "are dropped";
}

/* What a refused connection sees. */
static void print_refusal(FILE *f, const char *state, const json_t *e)
{
	const char *which = strcmp(state, "limit") == 0 ? "connections beyond it" : "connections";
	bool quarantine = strcmp(state, "quarantine") == 0;
	bool drain = cli_bool(e, "drain") && !quarantine;

	if (cli_bool(e, "observed") && !quarantine) {
		fputs("; only observed: refusals are counted, nothing is refused", f);
		return;
	}
	if (!cli_bool(e, "enforce")) {
		fputs("; not enforced on this host: refusals are only counted", f);
		return;
	}
	fprintf(f, "; %s%s %s", drain ? "new " : "", which, refusal(cli_str(e, "refuse")));
	if (drain)
		fputs(", running ones may finish", f);
}

char *cli_effective_text(const char *subject, const json_t *e)
{
	const char *state = cli_str(e, "state");
	struct text t;

	if (!text_open(&t))
		return NULL;
	state = state ? state : "unknown";
	fputs(state, t.f);
	if (strcmp(state, "limit") == 0) {
		fputs(" ", t.f);
		limit_pieces(&t, e);
		if (!t.any)
			fputs("without limits", t.f);
		t.any = false;
	}
	fputs(" (", t.f);
	origin_pieces(&t, subject, e);
	fputs(")", t.f);
	if (strcmp(state, "allow") != 0)
		print_refusal(t.f, state, e);
	return text_close(&t);
}

/* ---- after a change ---- */

static void print_list(struct cli *c, const char *label, const json_t *words)
{
	const json_t *w;
	size_t i;

	if (json_array_size(words) == 0)
		return;
	cli_print(c, STYLE_PLAIN, "  %s: ", label);
	json_array_foreach (words, i, w)
		cli_print(c, STYLE_PLAIN, "%s%s", i ? ", " : "", json_string_value(w));
	cli_end_line();
}

void cli_print_ports(struct cli *c, const char *subject, const json_t *answer)
{
	const json_t *by_port = json_object_get(answer, "effective_by_port"), *e;
	size_t i;

	json_array_foreach (by_port, i, e) {
		char *text = cli_effective_text(subject, e);

		cli_print(c, STYLE_PLAIN, "  on port %llu: %s",
			  (unsigned long long)cli_uint(e, "port"), text ? text : "");
		cli_end_line();
		free(text);
	}
}

void cli_print_in_force(struct cli *c, const json_t *answer)
{
	const char *subject = cli_str(answer, "subject");
	const json_t *effective = json_object_get(answer, "effective");
	const json_t *own = json_object_get(answer, "own"), *notes, *note;
	char *text = cli_effective_text(subject, effective), *budget;
	size_t i;

	cli_print(c, STYLE_PLAIN, "%s: ", subject ? subject : "?");
	cli_print(c, cli_state_style(cli_str(effective, "state")), "%s", text ? text : "");
	cli_end_line();
	free(text);
	cli_print_ports(c, subject, answer);
	if (json_array_size(json_object_get(own, "budget"))) {
		budget = cli_rates_text(json_object_get(own, "budget"));
		cli_print(c, STYLE_PLAIN, "  shared budget: %s", budget ? budget : "");
		cli_end_line();
		free(budget);
	}
	print_list(c, "exempt destinations", json_object_get(own, "exempt"));
	notes = json_object_get(answer, "notes");
	json_array_foreach (notes, i, note) {
		cli_print(c, STYLE_WARN, "  note: %s", json_string_value(note));
		cli_end_line();
	}
}
