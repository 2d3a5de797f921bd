// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* gate25 report: what a VM tried, hour by hour, and its last refusals. */
#include "cli.h"
#include "parse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SINCE_MAX_S (30 * 86400) /* the daemon keeps no more */

static void add_number(struct cli_table *t, const json_t *h, const char *key, enum cli_style style)
{
	uint64_t n = cli_uint(h, key);
	char buf[16];

	cli_table_add(t, n ? style : STYLE_DIM, "%s", cli_count(n, buf));
}

static void add_hour(struct cli_table *t, const json_t *h, const char *label)
{
	cli_table_add(t, STYLE_PLAIN, "%s", label);
	add_number(t, h, "flows_admitted", STYLE_PLAIN);
	add_number(t, h, "flows_limited", STYLE_WARN);
	add_number(t, h, "flows_blocked", STYLE_BAD);
	add_number(t, h, "new_destinations", STYLE_PLAIN);
	add_number(t, h, "replies_2xx", STYLE_PLAIN);
	add_number(t, h, "replies_5xx", STYLE_WARN);
	add_number(t, h, "replies_4xx", STYLE_PLAIN);
	add_number(t, h, "flows_would_refuse", STYLE_PLAIN);
}

static void print_hours(struct cli *c, const json_t *report)
{
	static const struct cli_column columns[] = {
		{ .title = "HOUR" },
		{ .title = "ADMITTED", .right = true },
		{ .title = "LIMITED", .right = true },
		{ .title = "BLOCKED", .right = true },
		{ .title = "DESTS", .right = true, .optional = true },
		{ .title = "2XX", .right = true, .optional = true },
		{ .title = "5XX", .right = true, .optional = true },
		{ .title = "4XX", .right = true, .optional = true },
		{ .title = "WOULD REFUSE", .right = true, .optional = true },
	};
	const json_t *hours = json_object_get(report, "hours"), *h;
	struct cli_table *t = cli_table_new(columns, 9);
	char when[64];
	size_t i;

	json_array_foreach (hours, i, h)
		add_hour(t, h, cli_time(cli_str(h, "start"), when, sizeof(when)));
	add_hour(t, json_object_get(report, "totals"), "sum");
	cli_table_end(c, t);
}

/* "203.0.113.5:1025", "[2001:db8::1]:25"; without ports the address alone. */
static char *endpoint(const json_t *r, const char *addr_key, const char *port_key)
{
	const char *addr = cli_str(r, addr_key);
	unsigned port = (unsigned)cli_uint(r, port_key);
	bool v6 = addr && strchr(addr, ':');

	if (!addr)
		return cli_format("-");
	return port ? cli_format("%s%s%s:%u", v6 ? "[" : "", addr, v6 ? "]" : "", port)
		    : cli_format("%s", addr);
}

static void print_refusals(struct cli *c, const json_t *list)
{
	static const struct cli_column columns[] = {
		{ .title = "LAST REFUSED" },	      { .title = "REASON" },
		{ .title = "TO", .elastic = true },   { .title = "FROM", .elastic = true },
		{ .title = "MAC", .optional = true },
	};
	struct cli_table *t = cli_table_new(columns, 5);
	const json_t *r;
	size_t i;

	json_array_foreach (list, i, r) {
		const char *time = cli_str(r, "time"), *reason = cli_str(r, "reason");
		const char *mac = cli_str(r, "mac");
		char *from = endpoint(r, "src", "sport"), *to = endpoint(r, "dst", "dport");
		bool enforced = cli_bool(r, "enforced");

		cli_table_add(t, STYLE_PLAIN, "%s", time ? time : "-");
		cli_table_add(t, enforced ? STYLE_BAD : STYLE_WARN, "%s%s", reason ? reason : "?",
			      enforced ? "" : "~");
		cli_table_add(t, STYLE_PLAIN, "%s", to ? to : "");
		cli_table_add(t, STYLE_PLAIN, "%s", from ? from : "");
		cli_table_add(t, STYLE_DIM, "%s", mac ? mac : "-");
		free(from);
		free(to);
	}
	cli_table_end(c, t);
}

static void print_report(struct cli *c, const json_t *report)
{
	const char *subject = cli_str(report, "subject");
	const json_t *refusals = json_object_get(report, "refusals");
	char when[64];

	cli_print(c, STYLE_HEAD, "%s", subject ? subject : "?");
	cli_print(c, STYLE_PLAIN, " since %s",
		  cli_time(cli_str(report, "since"), when, sizeof(when)));
	if (!json_array_size(json_object_get(report, "hours")) && !json_array_size(refusals)) {
		cli_print(c, STYLE_PLAIN, ": nothing was tried");
		cli_end_line();
		return;
	}
	cli_end_line();
	print_hours(c, report);
	if (!json_array_size(refusals))
		return;
	cli_end_line();
	print_refusals(c, refusals);
}

/* --since into a query; 0 or an exit code. */
static int since_query(struct cli *c, char **query)
{
	const char *since = cli_value(c, OPT_SINCE);
	char number[24];
	int64_t seconds;

	if (!since)
		return 0;
	if (gate_parse_duration(since, &seconds) || seconds > SINCE_MAX_S)
		return cli_usage(c, "--since %.40s: must be a time such as 24h or 7d, at most 30d",
				 since);
	snprintf(number, sizeof(number), "%lld", (long long)seconds);
	return cli_query(query, "since", number) ? cli_no_memory(c) : 0;
}

static int get_report(struct cli *c, const char *subject, void *query, json_t **answer,
		      struct gate_error *err)
{
	char *path = cli_path("/v1/reports/", subject, query);
	int ret = cli_call(c, "GET", path, NULL, answer, err);

	free(path);
	return ret;
}

int cmd_report(struct cli *c)
{
	struct cli_values subjects = { 0 };
	char *query = NULL;
	int ret = since_query(c, &query);

	if (!ret)
		ret = cli_subjects(c, c->args.n, &subjects);
	if (!ret)
		ret = cli_each(c, &subjects, get_report, query, print_report);
	free(subjects.v);
	free(query);
	return ret;
}
