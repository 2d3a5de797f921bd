// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* gate25 show: one subject in full. */
#include "cli.h"
#include "parse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_buckets(struct cli *c, const json_t *buckets)
{
	const json_t *b;
	char buf[32];
	size_t i;

	json_array_foreach (buckets, i, b) {
		const char *rate = cli_str(b, "rate");
		int64_t wait = (int64_t)cli_uint(b, "next_ms");

		cli_print(c, STYLE_PLAIN, "  %-9s %s: %.1f left", i ? "" : "buckets",
			  rate ? rate : "?", json_number_value(json_object_get(b, "left")));
		if (wait >= 1000)
			cli_print(c, STYLE_WARN, ", the next in %s",
				  gate_format_duration((wait + 999) / 1000, buf, sizeof(buf)));
		else if (wait > 0)
			cli_print(c, STYLE_WARN, ", the next in %d ms", (int)wait);
		cli_end_line();
	}
}

/* The own policies that are hidden now or hold on one port only. */
static void print_own(struct cli *c, const char *subject, const json_t *own)
{
	const json_t *policies = json_object_get(own, "policies"), *p;
	const json_t *q = json_object_get(own, "quarantine");
	char when[64];
	size_t i;

	json_array_foreach (policies, i, p) {
		const char *state = cli_str(p, "state");
		char *limits = cli_limits_text(p);

		cli_print(c, STYLE_PLAIN, "  %-9s %s%s%s", i ? "" : "own", state ? state : "?",
			  state && strcmp(state, "limit") == 0 ? " " : "",
			  state && strcmp(state, "limit") == 0 && limits ? limits : "");
		if (cli_uint(p, "on"))
			cli_print(c, STYLE_PLAIN, " on port %u", (unsigned)cli_uint(p, "on"));
		if (cli_str(p, "expires"))
			cli_print(c, STYLE_PLAIN, " until %s",
				  cli_time(cli_str(p, "expires"), when, sizeof(when)));
		if (cli_str(p, "reason"))
			cli_print(c, STYLE_PLAIN, " \"%s\"", cli_str(p, "reason"));
		if (cli_str(p, "by"))
			cli_print(c, STYLE_PLAIN, " by %s", cli_str(p, "by"));
		cli_end_line();
		free(limits);
	}
	if (json_is_object(q)) {
		cli_print(c, STYLE_WORST, "  %-9s quarantined since %s", "",
			  cli_time(cli_str(q, "since"), when, sizeof(when)));
		cli_end_line();
	}
	if (cli_bool(own, "observe")) {
		cli_print(c, STYLE_WARN, "  %-9s observe", "");
		cli_end_line();
	}
}

static void print_show(struct cli *c, const json_t *o)
{
	const char *subject = cli_str(o, "subject"), *tenant = cli_str(o, "tenant");
	const json_t *vms = json_object_get(o, "vms");

	cli_print_in_force(c, o);
	print_own(c, subject, json_object_get(o, "own"));
	if (json_object_get(o, "ports")) {
		cli_print(c, STYLE_PLAIN, "  %-9s %s", "tenant", tenant ? tenant : "-");
		cli_end_line();
		cli_print_identity(c, o);
	}
	if (vms) {
		char *names = cli_join(vms, NULL);

		cli_print(c, STYLE_PLAIN, "  %-9s %s", "VMs", names ? names : "");
		cli_end_line();
		free(names);
	}
	print_buckets(c, json_object_get(o, "buckets"));
	if (json_object_get(o, "counters"))
		cli_print_counters(c, json_object_get(o, "counters"),
				   json_object_get(o, "last_reply"));
}

static int get_one(struct cli *c, const char *subject, void *arg, json_t **answer,
		   struct gate_error *err)
{
	char *path = cli_path("/v1/policies/", subject, NULL);
	int ret = cli_call(c, "GET", path, NULL, answer, err);

	free(path);
	return ret;
}

int cmd_show(struct cli *c)
{
	struct cli_values subjects = { 0 };
	int ret = cli_subjects(c, c->args.n, &subjects);

	if (!ret && cli_has(c, OPT_CUSTOMER))
		ret = cli_show_customer(c, &subjects);
	else if (!ret)
		ret = cli_each(c, &subjects, get_one, NULL, print_show);
	free(subjects.v);
	return ret;
}
