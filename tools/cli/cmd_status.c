// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* gate25 status: the host at a glance. */
#include "cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_host(struct cli *c, const json_t *s)
{
	const char *host = cli_str(s, "host"), *hook = cli_str(s, "hook");
	bool enforce = cli_bool(s, "enforce");
	char when[64];

	cli_print(c, STYLE_HEAD, "%s", host ? host : "?");
	cli_print(c, STYLE_PLAIN, ": hook %s, ", hook ? hook : "none");
	cli_print(c, enforce ? STYLE_GOOD : STYLE_WARN, "%s",
		  enforce ? "enforcing" : "not enforcing: refusals are only counted");
	cli_end_line();
	cli_print(c, STYLE_PLAIN, "gate25d %s, ABI %llu, since %s, policy revision %llu",
		  cli_str(s, "release") ? cli_str(s, "release") : "?",
		  (unsigned long long)cli_uint(s, "abi"),
		  cli_time(cli_str(s, "started"), when, sizeof(when)),
		  (unsigned long long)cli_uint(s, "revision"));
	cli_end_line();
}

/* The programs that sit on a port, in the words of their names. */
static void add_programs(struct cli_table *t, const json_t *port)
{
	static const char *const names[] = { "from_vm", "to_vm", "uplink_out" };
	char text[64] = "";

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!cli_bool(port, names[i]))
			continue;
		strcat(text, *text ? " " : "");
		strcat(text, names[i]);
	}
	if (*text)
		cli_table_add(t, STYLE_PLAIN, "%s", text);
	else
		cli_table_add(t, STYLE_BAD, "not gated");
}

static void print_ports(struct cli *c, const json_t *ports)
{
	static const struct cli_column columns[] = {
		{ .title = "PORT" },
		{ .title = "ROLE", .optional = true },
		{ .title = "VM", .elastic = true },
		{ .title = "HOOK", .optional = true },
		{ .title = "PROGRAMS" },
	};
	struct cli_table *t;
	const json_t *p;
	size_t i;

	if (json_array_size(ports) == 0) {
		cli_print(c, STYLE_WARN, "no ports found");
		cli_end_line();
		return;
	}
	t = cli_table_new(columns, 5);
	json_array_foreach (ports, i, p) {
		const char *vm = cli_str(p, "vm");

		cli_table_add(t, STYLE_PLAIN, "%s", cli_str(p, "name"));
		cli_table_add(t, STYLE_PLAIN, "%s", cli_str(p, "role"));
		cli_table_add(t, STYLE_PLAIN, "%s", vm ? vm : "-");
		cli_table_add(t, STYLE_PLAIN, "%s", cli_str(p, "hook"));
		add_programs(t, p);
	}
	cli_table_end(c, t);
}

/* Non-zero members, "name count, name count". */
static void print_nonzero(struct cli *c, const char *label, const json_t *o)
{
	char *text = NULL, buf[16];
	const char *key;
	json_t *value;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	json_object_foreach ((json_t *)o, key, value) {
		if (f && json_integer_value(value) > 0)
			fprintf(f, "%s%s %s", ftell(f) > 0 ? ", " : "", key,
				cli_count((uint64_t)json_integer_value(value), buf));
	}
	if (!f || fclose(f)) {
		c->short_of_memory = true;
	} else if (*text) {
		cli_print(c, STYLE_PLAIN, "%s", label);
		cli_print_wrapped(c, (unsigned)strlen(label), text);
	}
	free(text);
}

static void print_maps(struct cli *c, const json_t *maps)
{
	const json_t *m;
	size_t i;

	/* Only what runs full is worth a line. */
	json_array_foreach (maps, i, m) {
		uint64_t entries = cli_uint(m, "entries"), capacity = cli_uint(m, "capacity");
		char a[16], b[16];

		if (!capacity || entries < capacity - capacity / 5)
			continue;
		cli_print(c, STYLE_WARN, "map %s: %s of %s entries are taken", cli_str(m, "name"),
			  cli_count(entries, a), cli_count(capacity, b));
		cli_end_line();
	}
}

static void print_status(struct cli *c, const json_t *s)
{
	const json_t *problems = json_object_get(s, "problems"), *p;
	char buf[16];
	size_t i;

	print_host(c, s);
	json_array_foreach (problems, i, p) {
		cli_print(c, STYLE_BAD, "problem: %s", cli_str(p, "message"));
		cli_end_line();
	}
	print_maps(c, json_object_get(s, "maps"));
	cli_end_line();
	print_ports(c, json_object_get(s, "ports"));
	cli_end_line();
	cli_print(c, STYLE_PLAIN, "VMs: %s", cli_count(cli_uint(s, "vms"), buf));
	cli_end_line();
	cli_print_counters(c, json_object_get(s, "totals"), json_object_get(s, "last_reply"));
	print_nonzero(c, "frames by reason: ", json_object_get(s, "reasons"));
	print_nonzero(c, "would be, if enforced: ", json_object_get(s, "reasons_would"));
}

int cmd_status(struct cli *c)
{
	json_t *answer = NULL;
	struct gate_error err;

	if (cli_call(c, "GET", "/v1/status", NULL, &answer, &err))
		return cli_fail(c, &err);
	if (c->json)
		cli_print_json(answer);
	else
		print_status(c, answer);
	json_decref(answer);
	return 0;
}
