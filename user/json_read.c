// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Typed members of JSON objects, and the keys that several bodies share. */
#include "json_priv.h"

#include <errno.h>
#include <stdlib.h>

#define usage(err, ...) gate_error_set(err, GATE_ERR_USAGE, __VA_ARGS__)

/* Above what a rate can mean: a million flows a second. */
#define RATE_COUNT_MAX 1000000u
#define BURST_MAX      1000000u
#define CONCURRENT_MAX 1000000u

int gate_jr_keys(const json_t *o, const char *const *keys, const char *what, struct gate_error *err)
{
	const char *key;
	json_t *value;
	unsigned i;

	json_object_foreach ((json_t *)o, key, value) {
		for (i = 0; keys[i]; i++)
			if (!strcmp(keys[i], key))
				break;
		if (!keys[i])
			return usage(err, "unknown key \"%.60s\"%s%s", key, *what ? " in " : "",
				     what);
	}
	return 0;
}

int gate_jr_object(const char *text, size_t len, const char *const *keys, json_t **out,
		   struct gate_error *err)
{
	_cleanup_json_ json_t *o = NULL;
	json_error_t e;
	int r;

	o = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
	if (!o)
		return usage(err, "this is no JSON: %.160s (line %d, column %d)", e.text, e.line,
			     e.column);
	if (!json_is_object(o))
		return usage(err, "a JSON object is wanted");
	r = gate_jr_keys(o, keys, "", err);
	if (r)
		return r;
	*out = json_incref(o);
	return 0;
}

bool gate_jr_has(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	return v && !json_is_null(v);
}

int gate_jr_string(const json_t *o, const char *key, const char **out, struct gate_error *err)
{
	const json_t *v = json_object_get(o, key);

	if (!v || json_is_null(v))
		return 0;
	if (!json_is_string(v))
		return usage(err, "\"%s\" must be a string", key);
	*out = json_string_value(v);
	return 0;
}

int gate_jr_bool(const json_t *o, const char *key, bool *out, struct gate_error *err)
{
	const json_t *v = json_object_get(o, key);

	if (!v || json_is_null(v))
		return 0;
	if (!json_is_boolean(v))
		return usage(err, "\"%s\" must be true or false", key);
	*out = json_is_true(v);
	return 0;
}

int gate_jr_uint(const json_t *o, const char *key, uint64_t min, uint64_t max, uint64_t *out,
		 struct gate_error *err)
{
	const json_t *v = json_object_get(o, key);
	json_int_t n;

	if (!v || json_is_null(v))
		return 0;
	n = json_is_integer(v) ? json_integer_value(v) : -1;
	if (n < 0 || (uint64_t)n < min || (uint64_t)n > max)
		return usage(err, "\"%s\" must be an integer from %llu to %llu", key,
			     (unsigned long long)min, (unsigned long long)max);
	*out = (uint64_t)n;
	return 0;
}

int gate_jr_array(const json_t *o, const char *key, size_t max, const json_t **out,
		  struct gate_error *err)
{
	const json_t *v = json_object_get(o, key);

	*out = NULL;
	if (!v || json_is_null(v))
		return 0;
	if (!json_is_array(v))
		return usage(err, "\"%s\" must be an array", key);
	if (json_array_size(v) > max)
		return usage(err, "\"%s\" has more than %zu elements", key, max);
	*out = v;
	return 0;
}

int gate_jr_time(const json_t *o, const char *key, int64_t *out, struct gate_error *err)
{
	const char *s = NULL;
	int64_t t;
	int r;

	r = gate_jr_string(o, key, &s, err);
	if (r || !s)
		return r;
	if (gate_parse_time(s, &t) || t <= 0)
		return usage(err, "\"%s\" is no RFC 3339 time: \"%.60s\"", key, s);
	*out = t;
	return 0;
}

int gate_json_check_reason(const char *s, char out[256], struct gate_error *err)
{
	size_t len = strlen(s);

	if (len > 255)
		return usage(err, "the reason is longer than 255 bytes");
	if (!gate_text_valid(s))
		return usage(err, "the reason holds a control character");
	memcpy(out, s, len + 1);
	return 0;
}

int gate_jr_reason(const json_t *o, char out[256], struct gate_error *err)
{
	const char *s = NULL;
	int r;

	r = gate_jr_string(o, "reason", &s, err);
	if (r || !s)
		return r;
	return gate_json_check_reason(s, out, err);
}

int gate_jr_prefixes(const json_t *o, const char *key, size_t max, struct gate_prefix **out,
		     unsigned *n, struct gate_error *err)
{
	struct gate_prefix *list = NULL;
	const json_t *a;
	size_t i;
	int r;

	r = gate_jr_array(o, key, max, &a, err);
	if (r)
		return r;
	if (json_array_size(a)) {
		list = calloc(json_array_size(a), sizeof(*list));
		if (!list)
			return gate_error_set(err, GATE_ERR_FAILED, "out of memory");
	}
	for (i = 0; i < json_array_size(a); i++) {
		const char *s = json_string_value(json_array_get(a, i));

		if (!s || gate_parse_prefix(s, &list[i])) {
			free(list);
			return usage(err, "\"%s\" holds what is no address or prefix: \"%.60s\"",
				     key, s ? s : "(not a string)");
		}
	}
	free(*out);
	*out = list;
	*n = json_array_size(a);
	return 0;
}

static int read_rate(const json_t *v, const char *key, bool burst, struct gate_rate_spec *out,
		     struct gate_error *err)
{
	static const char *const keys[] = { "count", "per", "burst", NULL };
	uint64_t count = 0, own_burst = 0;
	const char *per = NULL;
	uint32_t per_s = 0;
	int r;

	if (!json_is_object(v))
		return usage(err, "\"%s\" must hold objects like {\"count\":5,\"per\":\"1s\"}",
			     key);
	r = gate_jr_keys(v, keys, key, err);
	if (!r)
		r = gate_jr_uint(v, "count", 1, RATE_COUNT_MAX, &count, err);
	if (!r)
		r = gate_jr_uint(v, "burst", 1, BURST_MAX, &own_burst, err);
	if (!r)
		r = gate_jr_string(v, "per", &per, err);
	if (r)
		return r;
	if (!count || !per)
		return usage(err, "\"%s\" needs \"count\" and \"per\"", key);
	if (gate_parse_per(per, &per_s))
		return usage(err, "\"per\" in %s must be 1s, 1min, 1h or 1d, not \"%.20s\"", key,
			     per);
	if (own_burst && !burst)
		return usage(err, "\"%s\" has no burst of its own", key);
	*out = (struct gate_rate_spec){ .count = (uint32_t)count,
					.per_s = per_s,
					.burst = (uint32_t)own_burst };
	return 0;
}

int gate_jr_rates(const json_t *o, const char *key, struct gate_rate_spec *out, unsigned *n,
		  struct gate_error *err)
{
	struct gate_rate_spec rates[GATE_MAX_RATES] = { 0 };
	const json_t *a;
	size_t i;
	int r;

	r = gate_jr_array(o, key, GATE_MAX_RATES, &a, err);
	if (r)
		return r;
	for (i = 0; i < json_array_size(a); i++) {
		r = read_rate(json_array_get(a, i), key, true, &rates[i], err);
		if (r)
			return r;
	}
	memcpy(out, rates, sizeof(rates));
	*n = (unsigned)json_array_size(a);
	return 0;
}

static int read_limits(const json_t *o, struct gate_limits *out, struct gate_error *err)
{
	const json_t *destinations = json_object_get(o, "destinations");
	uint64_t burst = 0, concurrent = 0;
	struct gate_limits l = { 0 };
	int r;

	r = gate_jr_rates(o, "rates", l.rates, &l.nrates, err);
	if (!r)
		r = gate_jr_uint(o, "burst", 1, BURST_MAX, &burst, err);
	if (!r)
		r = gate_jr_uint(o, "concurrent", 1, CONCURRENT_MAX, &concurrent, err);
	if (!r && destinations && !json_is_null(destinations))
		r = read_rate(destinations, "destinations", false, &l.destinations, err);
	if (r)
		return r;
	l.burst = (uint32_t)burst;
	l.concurrent = (uint32_t)concurrent;
	*out = l;
	return 0;
}

/* Keys that mean nothing with the state would be forgotten silently: refuse them. */
static int keys_fit_state(const json_t *o, enum gate_state state, struct gate_error *err)
{
	static const struct {
		const char *key;
		bool with_limit;
	} table[] = {
		{ "rates", true },	  { "burst", true },  { "concurrent", true },
		{ "destinations", true }, { "refuse", true }, { "drain", false },
	};
	unsigned i;

	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const json_t *v = json_object_get(o, table[i].key);

		if (!v || json_is_null(v) || json_is_false(v) ||
		    (json_is_array(v) && !json_array_size(v)) || state == GATE_BLOCK ||
		    (state == GATE_LIMIT && table[i].with_limit))
			continue;
		return usage(err, "\"%s\" does not go with state \"%s\"", table[i].key,
			     gate_state_name(state));
	}
	return 0;
}

int gate_jr_policy(const json_t *o, struct gate_policy_spec *out, struct gate_error *err)
{
	struct gate_policy_spec p = { .refuse = GATE_REFUSE_UNSET };
	const char *state = NULL, *refuse = NULL;
	enum gate_refuse how;
	int r;

	r = gate_jr_string(o, "state", &state, err);
	if (!r)
		r = gate_jr_string(o, "refuse", &refuse, err);
	if (!r)
		r = gate_jr_bool(o, "drain", &p.drain, err);
	if (!r)
		r = read_limits(o, &p.limits, err);
	if (r)
		return r;
	if (!state)
		return usage(err, "\"state\" is missing");
	if (gate_parse_state(state, &p.state))
		return usage(err, "\"state\" must be allow, limit, block or inherit, not \"%.30s\"",
			     state);
	if (refuse) {
		if (gate_parse_refuse(refuse, &how))
			return usage(err, "\"refuse\" must be reset, icmp or drop, not \"%.30s\"",
				     refuse);
		p.refuse = (int)how;
	}
	r = keys_fit_state(o, p.state, err);
	if (!r)
		*out = p;
	return r;
}

int gate_jr_on(const json_t *o, uint16_t *out, struct gate_error *err)
{
	uint64_t on = 0;
	int r;

	r = gate_jr_uint(o, "on", 1, 65535, &on, err);
	if (!r)
		*out = (uint16_t)on;
	return r;
}
