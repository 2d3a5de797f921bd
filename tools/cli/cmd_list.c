// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* gate25 list: one line per VM. */
#include "cli.h"
#include "parse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t counter(const json_t *vm, const char *key)
{
	return cli_uint(json_object_get(vm, "counters"), key);
}

static uint64_t refused(const json_t *vm)
{
	return counter(vm, "flows_limited") + counter(vm, "flows_blocked");
}

static const char *effective(const json_t *vm, const char *key)
{
	const char *s = cli_str(json_object_get(vm, "effective"), key);

	return s ? s : "";
}

static int by_number(uint64_t a, uint64_t b)
{
	return a < b ? 1 : a > b ? -1 : 0; /* the most first */
}

static int by_name(const json_t *a, const json_t *b)
{
	const char *x = cli_str(a, "subject"), *y = cli_str(b, "subject");

	/* web2 before web10 */
	return strverscmp(x ? x : "", y ? y : "");
}

static int by_state(const json_t *a, const json_t *b)
{
	return strcmp(effective(b, "state"), effective(a, "state"));
}

static int by_tenant(const json_t *a, const json_t *b)
{
	const char *x = cli_str(a, "tenant"), *y = cli_str(b, "tenant");

	return strcmp(x ? x : "", y ? y : "");
}

static int by_admitted(const json_t *a, const json_t *b)
{
	return by_number(counter(a, "flows_admitted"), counter(b, "flows_admitted"));
}

static int by_refused(const json_t *a, const json_t *b)
{
	return by_number(refused(a), refused(b));
}

static int by_active(const json_t *a, const json_t *b)
{
	return by_number(counter(a, "flows_active"), counter(b, "flows_active"));
}

static int by_5xx(const json_t *a, const json_t *b)
{
	return by_number(counter(a, "replies_5xx"), counter(b, "replies_5xx"));
}

static int by_destinations(const json_t *a, const json_t *b)
{
	return by_number(counter(a, "new_destinations"), counter(b, "new_destinations"));
}

static int by_bytes(const json_t *a, const json_t *b)
{
	return by_number(counter(a, "bytes_from_vm"), counter(b, "bytes_from_vm"));
}

/* The soonest first, those without an end last. */
static int by_expires(const json_t *a, const json_t *b)
{
	const char *x = effective(a, "expires"), *y = effective(b, "expires");

	return strcmp(*x ? x : "~", *y ? y : "~");
}

typedef int (*order_fn)(const json_t *, const json_t *);

static const struct {
	const char *field;
	order_fn order;
} orders[] = {
	{ "name", by_name },	   { "state", by_state },
	{ "tenant", by_tenant },   { "admitted", by_admitted },
	{ "refused", by_refused }, { "active", by_active },
	{ "5xx", by_5xx },	   { "destinations", by_destinations },
	{ "bytes", by_bytes },	   { "expires", by_expires },
};

static int order_pointers(const void *a, const void *b, void *arg)
{
	const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
	int ret = (*(order_fn *)arg)(x, y);

	return ret ? ret : by_name(x, y);
}

static int sort_vms(struct cli *c, json_t *vms, order_fn order)
{
	size_t n = json_array_size(vms);
	json_t **list = calloc(n ? n : 1, sizeof(*list));

	if (!list)
		return cli_no_memory(c);
	for (size_t i = 0; i < n; i++)
		list[i] = json_incref(json_array_get(vms, i));
	qsort_r(list, n, sizeof(*list), order_pointers, &order);
	json_array_clear(vms);
	for (size_t i = 0; i < n; i++)
		json_array_append_new(vms, list[i]);
	free(list);
	return 0;
}

static void add_row(struct cli_table *t, const json_t *vm)
{
	const json_t *e = json_object_get(vm, "effective");
	const char *tenant = cli_str(vm, "tenant"), *state = effective(vm, "state");
	char buf[64];

	cli_table_add(t, STYLE_PLAIN, "%s", cli_str(vm, "subject"));
	cli_table_add(t, cli_state_style(state), "%s%s", state, cli_bool(e, "enforce") ? "" : "~");
	cli_table_add(t, STYLE_PLAIN, "%s", cli_count(counter(vm, "flows_admitted"), buf));
	cli_table_add(t, refused(vm) ? STYLE_WARN : STYLE_PLAIN, "%s", cli_count(refused(vm), buf));
	cli_table_add(t, STYLE_PLAIN, "%s", cli_count(counter(vm, "flows_active"), buf));
	cli_table_add(t, STYLE_PLAIN, "%s", cli_count(counter(vm, "replies_5xx"), buf));
	cli_table_add(t, STYLE_PLAIN, "%s", effective(vm, "source"));
	cli_table_add(t, STYLE_PLAIN, "%s", tenant ? tenant : "-");
	cli_table_add(t, STYLE_PLAIN, "%s", cli_time(cli_str(e, "expires"), buf, sizeof(buf)));
}

static void print_list(struct cli *c, const json_t *vms)
{
	static const struct cli_column columns[] = {
		{ .title = "SUBJECT", .elastic = true },
		{ .title = "STATE" },
		{ .title = "ADMITTED", .right = true },
		{ .title = "REFUSED", .right = true },
		{ .title = "OPEN", .right = true, .optional = true },
		{ .title = "5XX", .right = true, .optional = true },
		{ .title = "FROM", .elastic = true, .optional = true },
		{ .title = "TENANT", .elastic = true, .optional = true },
		{ .title = "EXPIRES", .optional = true },
	};
	struct cli_table *t = cli_table_new(columns, 9);
	const json_t *vm;
	size_t i;

	json_array_foreach (vms, i, vm)
		add_row(t, vm);
	cli_table_end(c, t);
}

/* The filters the daemon knows; 0 or an exit code. */
static int list_query(struct cli *c, char **query)
{
	const char *state = cli_value(c, OPT_STATE), *tenant = cli_value(c, OPT_TENANT);
	const char *expiring = cli_value(c, OPT_EXPIRING);
	enum gate_state s;
	int64_t seconds;
	char number[24];

	if (state && strcmp(state, "quarantine") != 0 &&
	    (gate_parse_state(state, &s) || s == GATE_INHERIT))
		return cli_usage(c, "--state %.40s: must be allow, limit, block or quarantine",
				 state);
	if (state && cli_query(query, "state", state))
		return cli_no_memory(c);
	if (tenant && cli_query(query, "tenant", tenant))
		return cli_no_memory(c);
	if (!expiring)
		return 0;
	if (gate_parse_duration(expiring, &seconds))
		return cli_usage(c, "--expiring %.40s: must be a time such as 24h or 7d", expiring);
	snprintf(number, sizeof(number), "%lld", (long long)seconds);
	return cli_query(query, "expiring", number) ? cli_no_memory(c) : 0;
}

static int find_order(struct cli *c, order_fn *order)
{
	const char *field = cli_value(c, OPT_SORT);

	*order = by_name;
	for (size_t i = 0; field && i < sizeof(orders) / sizeof(orders[0]); i++) {
		if (strcmp(orders[i].field, field) == 0) {
			*order = orders[i].order;
			return 0;
		}
	}
	return field ? cli_usage(c, "--sort %.40s: must be %s", field, cli_options[OPT_SORT].help)
		     : 0;
}

int cmd_list(struct cli *c)
{
	json_t *answer = NULL;
	char *query = NULL, *path = NULL;
	struct gate_error err;
	order_fn order;
	int ret = find_order(c, &order);

	if (!ret)
		ret = list_query(c, &query);
	if (ret)
		goto out;
	path = cli_path("/v1/vms", "", query);
	if (cli_call(c, "GET", path, NULL, &answer, &err)) {
		ret = cli_fail(c, &err);
		goto out;
	}
	ret = sort_vms(c, json_object_get(answer, "vms"), order);
	if (!ret && c->json)
		cli_print_json(answer);
	else if (!ret)
		print_list(c, json_object_get(answer, "vms"));
out:
	json_decref(answer);
	free(path);
	free(query);
	return ret;
}
