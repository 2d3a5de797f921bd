// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* gate25 shadow: what a candidate policy would have done; to make it live or drop it. */
#include "cli.h"

static void print_row(struct cli_table *t, const json_t *vm)
{
	uint64_t limited = cli_uint(vm, "would_limit"), blocked = cli_uint(vm, "would_block");
	const char *subject = cli_str(vm, "subject");
	char n[16];

	cli_table_add(t, STYLE_PLAIN, "%s", subject ? subject : "?");
	cli_table_add(t, STYLE_PLAIN, "%s", cli_count(cli_uint(vm, "would_admit"), n));
	cli_table_add(t, limited ? STYLE_WARN : STYLE_PLAIN, "%s", cli_count(limited, n));
	cli_table_add(t, blocked ? STYLE_BAD : STYLE_PLAIN, "%s", cli_count(blocked, n));
}

void cli_print_shadow(struct cli *c, const json_t *shadow)
{
	static const struct cli_column columns[] = {
		{ .title = "SUBJECT", .elastic = true },
		{ .title = "WOULD ADMIT", .right = true },
		{ .title = "WOULD LIMIT", .right = true },
		{ .title = "WOULD BLOCK", .right = true },
	};
	const json_t *vms = json_object_get(shadow, "vms"), *vm;
	const char *by = cli_str(shadow, "by");
	struct cli_table *t;
	char when[64];
	size_t i;

	if (!cli_bool(shadow, "active")) {
		cli_print(c, STYLE_PLAIN, "there is no shadow policy");
		cli_end_line();
		return;
	}
	cli_print(c, STYLE_PLAIN, "shadow policy of %llu subject%s since %s by %s",
		  (unsigned long long)cli_uint(shadow, "subjects"),
		  cli_uint(shadow, "subjects") == 1 ? "" : "s",
		  cli_time(cli_str(shadow, "since"), when, sizeof(when)), by ? by : "?");
	if (cli_uint(shadow, "unknown"))
		cli_print(c, STYLE_WARN, "; %llu name subjects that are not known here",
			  (unsigned long long)cli_uint(shadow, "unknown"));
	cli_end_line();
	if (!json_array_size(vms))
		return;
	t = cli_table_new(columns, sizeof(columns) / sizeof(columns[0]));
	json_array_foreach (vms, i, vm)
		print_row(t, vm);
	cli_table_end(c, t);
}

int cmd_shadow(struct cli *c)
{
	bool promote = cli_has(c, OPT_PROMOTE), drop = cli_has(c, OPT_DROP);
	struct gate_error err;
	json_t *answer = NULL;

	if (promote && drop)
		return cli_usage(c, "--promote and --drop exclude each other");
	if (cli_call(c,
		     promote ? "POST"
		     : drop  ? "DELETE"
			     : "GET",
		     "/v1/shadow", NULL, &answer, &err))
		return cli_fail(c, &err);
	if (c->json)
		cli_print_json(answer);
	else if (promote)
		cli_print_changes(c, answer);
	else
		cli_print_shadow(c, answer);
	json_decref(answer);
	return 0;
}
