// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Commands that change policy: each builds one change and puts it for each subject. */
#include "cli.h"
#include "parse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- members of a change, from options; 0 or an exit code ---- */

static int set(struct cli *c, json_t *change, const char *key, json_t *value)
{
	return json_object_set_new(change, key, value) ? cli_no_memory(c) : 0;
}

int cli_set_reason(struct cli *c, json_t *change)
{
	const char *reason = cli_value(c, OPT_REASON);
	json_t *text;

	if (!reason)
		return 0;
	if (strlen(reason) > CLI_REASON_MAX)
		return cli_usage(c, "--reason is longer than %d bytes", CLI_REASON_MAX);
	if (!gate_text_valid(reason))
		return cli_usage(c, "--reason holds a control character");
	text = json_string(reason);
	if (!text)
		return cli_usage(c, "--reason is no UTF-8");
	return set(c, change, "reason", text);
}

static int set_times(struct cli *c, json_t *change)
{
	const char *duration = cli_value(c, OPT_FOR), *until = cli_value(c, OPT_UNTIL);
	int64_t t;
	char buf[32];

	if (duration && until)
		return cli_usage(c, "--for and --until exclude each other");
	if (duration) {
		if (gate_parse_duration(duration, &t))
			return cli_usage(c,
					 "--for %.40s: must be a time such as 90s, 15m, 24h, 30d",
					 duration);
		return set(c, change, "for", json_integer(t));
	}
	if (!until)
		return 0;
	if (gate_parse_time(until, &t))
		return cli_usage(c, "--until %.40s: must be a time such as 2026-12-24T10:00:00Z",
				 until);
	return set(c, change, "expires", json_string(gate_format_time(t, buf, sizeof(buf))));
}

static int set_number(struct cli *c, json_t *change, enum cli_opt o, uint32_t max)
{
	const char *value = cli_value(c, o), *name = cli_options[o].name;
	uint32_t v;

	if (!value)
		return 0;
	if (gate_parse_u32(value, 1, max, &v))
		return cli_usage(c, "--%s %.40s: must be a number from 1 to %u", name, value, max);
	return set(c, change, name, json_integer(v));
}

static json_t *rate_json(const struct gate_rate_spec *r)
{
	json_t *j = json_pack("{s:I, s:s}", "count", (json_int_t)r->count, "per",
			      gate_format_per(r->per_s));

	if (j && r->burst && json_object_set_new(j, "burst", json_integer(r->burst))) {
		json_decref(j);
		return NULL;
	}
	return j;
}

/* All --rate, as array `key`. */
static int set_rates(struct cli *c, json_t *change, const char *key)
{
	const struct cli_values *given = &c->opt[OPT_RATE];
	json_t *rates;

	if (given->n == 0)
		return 0;
	if (given->n > GATE_MAX_RATES)
		return cli_usage(c, "--rate can be given %d times at most", GATE_MAX_RATES);
	rates = json_array();
	for (unsigned i = 0; i < given->n; i++) {
		struct gate_rate_spec r;

		if (gate_parse_rate(given->v[i], &r)) {
			json_decref(rates);
			return cli_usage(c,
					 "--rate %.40s: must be a rate such as 5/s, 60/min, 200/h "
					 "or 1000/d",
					 given->v[i]);
		}
		if (json_array_append_new(rates, rate_json(&r))) {
			json_decref(rates);
			return cli_no_memory(c);
		}
	}
	return set(c, change, key, rates);
}

static int set_limits(struct cli *c, json_t *change)
{
	const char *value = cli_value(c, OPT_DESTINATIONS);
	struct gate_rate_spec r;
	int ret = set_rates(c, change, "rates");

	if (!ret)
		ret = set_number(c, change, OPT_BURST, GATE_BURST_MAX);
	if (!ret)
		ret = set_number(c, change, OPT_CONCURRENT, UINT16_MAX);
	if (ret || !value)
		return ret;
	if (gate_parse_rate(value, &r))
		return cli_usage(c, "--destinations %.40s: must be a rate such as 50/h", value);
	return set(c, change, "destinations", rate_json(&r));
}

static int set_refuse(struct cli *c, json_t *change)
{
	const char *value = cli_value(c, OPT_REFUSE);
	enum gate_refuse how;

	if (value && gate_parse_refuse(value, &how))
		return cli_usage(c, "--refuse %.40s: must be reset, icmp or drop", value);
	if (value)
		return set(c, change, "refuse", json_string(value));
	return 0;
}

/* ---- putting it ---- */

static int put_change(struct cli *c, const char *subject, void *change, json_t **answer,
		      struct gate_error *err)
{
	char *path = cli_path("/v1/policies/", subject, NULL);
	int ret = cli_call(c, "PUT", path, change, answer, err);

	free(path);
	return ret;
}

/* The first `n` arguments are the subjects. Takes `change`. */
static int put_all(struct cli *c, unsigned n, json_t *change)
{
	struct cli_values subjects = { 0 };
	int ret = cli_set_reason(c, change);

	if (!ret)
		ret = cli_subjects(c, n, &subjects);
	if (!ret)
		ret = cli_each(c, &subjects, put_change, change, cli_print_in_force);
	free(subjects.v);
	json_decref(change);
	return ret;
}

static int put_state(struct cli *c, const char *state)
{
	json_t *change = json_pack("{s:s}", "state", state);
	int ret = change ? 0 : cli_no_memory(c);

	if (!ret)
		ret = set_number(c, change, OPT_ON, UINT16_MAX);
	if (!ret)
		ret = set_limits(c, change);
	if (!ret)
		ret = set_refuse(c, change);
	if (!ret && cli_has(c, OPT_DRAIN))
		ret = set(c, change, "drain", json_true());
	if (!ret)
		ret = set_times(c, change);
	if (!ret)
		return put_all(c, c->args.n, change);
	json_decref(change);
	return ret;
}

int cmd_allow(struct cli *c)
{
	return put_state(c, "allow");
}

int cmd_limit(struct cli *c)
{
	return put_state(c, "limit");
}

int cmd_block(struct cli *c)
{
	return put_state(c, "block");
}

int cmd_quarantine(struct cli *c)
{
	json_t *change = json_pack("{s:b}", "quarantine", 1);
	int ret = change ? set_times(c, change) : cli_no_memory(c);

	if (!ret)
		return put_all(c, c->args.n, change);
	json_decref(change);
	return ret;
}

int cmd_release(struct cli *c)
{
	json_t *change = json_pack("{s:b}", "quarantine", 0);

	return change ? put_all(c, c->args.n, change) : cli_no_memory(c);
}

int cmd_observe(struct cli *c)
{
	const char *word = c->args.v[c->args.n - 1];
	bool on = strcmp(word, "on") == 0;
	json_t *change;

	if (!on && strcmp(word, "off") != 0)
		return cli_usage(c, "the last argument must be on or off, not \"%.40s\"", word);
	change = json_pack("{s:b}", "observe", on);
	return change ? put_all(c, c->args.n - 1, change) : cli_no_memory(c);
}

int cmd_budget(struct cli *c)
{
	bool none = strcmp(c->args.v[c->args.n - 1], "none") == 0;
	json_t *change;
	int ret;

	if (none && c->args.n == 1)
		return cli_usage(c, "an argument is missing: SUBJECT... [none]");
	if (none && cli_has(c, OPT_RATE))
		return cli_usage(c, "--rate and none exclude each other");
	if (!none && !cli_has(c, OPT_RATE))
		return cli_usage(c, "--rate is missing, or none");
	change = none ? json_pack("{s:n}", "budget") : json_object();
	ret = change ? set_rates(c, change, "budget") : cli_no_memory(c);
	if (!ret)
		return put_all(c, c->args.n - (none ? 1 : 0), change);
	json_decref(change);
	return ret;
}

/* Destinations behind argument `at`, as an array; NULL with *ret set. */
static json_t *destinations(struct cli *c, unsigned at, int *ret)
{
	json_t *list = json_array();
	struct gate_prefix p;
	char buf[64];

	*ret = 0;
	for (unsigned i = at + 1; i < c->args.n && !*ret; i++) {
		if (gate_parse_prefix(c->args.v[i], &p))
			*ret = cli_usage(c,
					 "\"%.60s\" is no address and no prefix without host bits",
					 c->args.v[i]);
		else if (json_array_append_new(
				 list, json_string(gate_format_prefix(&p, buf, sizeof(buf)))))
			*ret = cli_no_memory(c);
	}
	if (!*ret)
		return list;
	json_decref(list);
	return NULL;
}

int cmd_exempt(struct cli *c)
{
	json_t *list, *change;
	unsigned at = 0;
	int ret;

	while (at < c->args.n && strcmp(c->args.v[at], "add") != 0 &&
	       strcmp(c->args.v[at], "del") != 0)
		at++;
	if (at == c->args.n)
		return cli_usage(c, "add or del must stand between subjects and destinations");
	if (at == 0 || at == c->args.n - 1)
		return cli_usage(c, "a %s is missing: %s", at ? "destination" : "subject",
				 c->command->args);
	list = destinations(c, at, &ret);
	if (!list)
		return ret;
	change = json_pack("{s:{s:o}}", "exempt", c->args.v[at], list);
	return change ? put_all(c, at, change) : cli_no_memory(c);
}

/* ---- dropping it ---- */

static int drop(struct cli *c, const char *subject, void *query, json_t **answer,
		struct gate_error *err)
{
	char *path = cli_path("/v1/policies/", subject, query);
	int ret = cli_call(c, "DELETE", path, NULL, answer, err);

	free(path);
	return ret;
}

/* --reason of a DELETE goes into the query. */
int cli_query_reason(struct cli *c, char **query)
{
	json_t *check = json_object();
	int ret = check ? cli_set_reason(c, check) : cli_no_memory(c);

	json_decref(check);
	if (!ret && cli_has(c, OPT_REASON) && cli_query(query, "reason", cli_value(c, OPT_REASON)))
		ret = cli_no_memory(c);
	return ret;
}

int cmd_inherit(struct cli *c)
{
	const char *on = cli_value(c, OPT_ON);
	struct cli_values subjects = { 0 };
	char *query = NULL;
	uint32_t port;
	int ret;

	if (on && gate_parse_u32(on, 1, UINT16_MAX, &port))
		return cli_usage(c, "--on %.40s: must be a number from 1 to 65535", on);
	if (on && cli_query(&query, "on", on))
		return cli_no_memory(c);
	ret = cli_query_reason(c, &query);
	if (!ret)
		ret = cli_subjects(c, c->args.n, &subjects);
	if (!ret)
		ret = cli_each(c, &subjects, drop, query, cli_print_in_force);
	free(subjects.v);
	free(query);
	return ret;
}
