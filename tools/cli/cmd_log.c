// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* gate25 events and history: what happens and what was done. */
#include "cli.h"
#include "parse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- events ---- */

#define EVENT_MAX 65536 /* bytes of one event; more is no event */

struct events {
	struct cli *c;
	char line[EVENT_MAX];
	size_t len;
};

static void print_event(struct cli *c, const char *line, size_t len)
{
	json_t *e = json_loadb(line, len, 0, NULL);
	const char *time = cli_str(e, "time"), *kind = cli_str(e, "kind");
	const char *subject = cli_str(e, "subject"), *text = cli_str(e, "text");
	enum cli_style style = STYLE_PLAIN;
	static const struct {
		const char *kind;
		enum cli_style style;
	} styles[] = {
		{ "refused", STYLE_BAD }, { "gap", STYLE_WORST },   { "problem", STYLE_WARN },
		{ "lost", STYLE_WARN },	  { "policy", STYLE_GOOD }, { "identity", STYLE_WARN },
	};

	if (!e)
		return;
	kind = kind ? kind : "?";
	for (size_t i = 0; i < sizeof(styles) / sizeof(styles[0]); i++) {
		if (strcmp(styles[i].kind, kind) == 0)
			style = styles[i].style;
	}
	cli_print(c, STYLE_DIM, "%s ", time ? time : "-");
	cli_print(c, cli_bool(e, "first") ? STYLE_WORST : style, "%s%s ", kind,
		  cli_bool(e, "first") ? "!" : "");
	cli_print(c, STYLE_PLAIN, "%s%s%s", subject ? subject : "", subject ? ": " : "",
		  text ? text : "");
	cli_end_line();
	json_decref(e);
}

/* Pieces of the stream, whose lines may be cut anywhere. */
static int take_events(void *arg, const char *data, size_t len)
{
	struct events *e = arg;

	for (; len > 0; data++, len--) {
		if (*data != '\n') {
			if (e->len < sizeof(e->line))
				e->line[e->len++] = *data;
			continue;
		}
		if (e->len > 0 && e->len < sizeof(e->line)) {
			if (e->c->json)
				printf("%.*s\n", (int)e->len, e->line);
			else
				print_event(e->c, e->line, e->len);
		}
		e->len = 0;
	}
	/* a reader of the pipe wants each event at once, or is gone */
	return fflush(stdout) ? 1 : 0;
}

int cmd_events(struct cli *c)
{
	const char *subject = cli_value(c, OPT_SUBJECT);
	bool follow = cli_has(c, OPT_FOLLOW);
	static struct events events;
	struct gate_subject parsed;
	struct gate_error err;
	char *query = NULL, *path;
	int ret;

	if (subject && gate_parse_subject(subject, &parsed))
		return cli_usage(c, "\"%.80s\" is no subject", subject);
	if ((follow && cli_query(&query, "follow", "1")) ||
	    (subject && cli_query(&query, "subject", subject)))
		return cli_no_memory(c);
	events.c = c;
	path = cli_path("/v1/events", "", query);
	ret = cli_stream(c, "GET", path, -1, follow ? 0 : 30, take_events, &events, &err);
	free(path);
	free(query);
	/* > 0: stdout is gone, which cli_finish() sees; a stream that follows has no end */
	if (!ret && follow)
		ret = gate_error_set(&err, GATE_ERR_UNREACHABLE,
				     "gate25d has stopped, there are no more events");
	return ret < 0 ? cli_fail(c, &err) : 0;
}

/* ---- history ---- */

static void print_history(struct cli *c, const json_t *rows)
{
	static const struct cli_column columns[] = {
		{ .title = "ID", .right = true, .optional = true },
		{ .title = "TIME" },
		{ .title = "WHO" },
		{ .title = "SUBJECT", .elastic = true },
		{ .title = "ACTION" },
		{ .title = "DETAIL", .elastic = true, .optional = true },
		{ .title = "REASON", .elastic = true },
	};
	struct cli_table *t = cli_table_new(columns, 7);
	const json_t *r;
	char when[64];
	size_t i;

	json_array_foreach (rows, i, r) {
		const char *who = cli_str(r, "actor"), *reason = cli_str(r, "reason");
		const char *subject = cli_str(r, "subject");
		const char *action = cli_str(r, "action");
		char *text = cli_detail_text(action ? action : "", json_object_get(r, "detail"));

		cli_table_add(t, STYLE_PLAIN, "%llu", (unsigned long long)cli_uint(r, "id"));
		cli_table_add(t, STYLE_PLAIN, "%s",
			      cli_time(cli_str(r, "time"), when, sizeof(when)));
		if (who && *who)
			cli_table_add(t, STYLE_PLAIN, "%s", who);
		else
			cli_table_add(t, STYLE_PLAIN, "uid %llu",
				      (unsigned long long)cli_uint(r, "uid"));
		cli_table_add(t, STYLE_PLAIN, "%s", subject && *subject ? subject : "-");
		cli_table_add(t, STYLE_PLAIN, "%s", action ? action : "-");
		cli_table_add(t, STYLE_DIM, "%s", text ? text : "");
		cli_table_add(t, STYLE_PLAIN, "%s", reason ? reason : "");
		free(text);
	}
	cli_table_end(c, t);
}

int cmd_history(struct cli *c)
{
	const char *subject = c->args.n ? c->args.v[0] : NULL, *limit = cli_value(c, OPT_LIMIT);
	json_t *answer = NULL;
	struct gate_subject parsed;
	struct gate_error err;
	char *query = NULL, *path;
	uint32_t n;
	int ret = 0;

	if (subject && gate_parse_subject(subject, &parsed))
		return cli_usage(c, "\"%.80s\" is no subject", subject);
	if (limit && gate_parse_u32(limit, 1, 1000000, &n))
		return cli_usage(c, "--limit %.40s: must be a number from 1 to 1000000", limit);
	if ((subject && cli_query(&query, "subject", subject)) ||
	    (limit && cli_query(&query, "limit", limit)))
		return cli_no_memory(c);
	path = cli_path("/v1/audit", "", query);
	if (cli_call(c, "GET", path, NULL, &answer, &err))
		ret = cli_fail(c, &err);
	else if (c->json)
		cli_print_json(answer);
	else
		print_history(c, json_object_get(answer, "audit"));
	json_decref(answer);
	free(path);
	free(query);
	return ret;
}
