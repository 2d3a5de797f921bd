// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* gate25 detach: takes the gate off, with or without a daemon. */
#include "attach.h"
#include "bpf.h"
#include "../cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct report {
	struct cli *c;
	json_t *lines;
};

static void say(void *arg, const char *line)
{
	struct report *r = arg;

	json_array_append_new(r->lines, json_string(line));
	if (!r->c->json) {
		cli_print(r->c, STYLE_PLAIN, "%s", line);
		cli_end_line();
	}
}

/* Where the configuration has it, unless --socket was given. */
static void use_socket(struct cli *c, const struct gate_config *conf)
{
	if (!cli_has(c, OPT_SOCKET))
		c->socket = conf->socket;
}

static void warn_of_daemon(struct cli *c)
{
	struct gate_error err;

	if (cli_call(c, "GET", "/v1/status", NULL, NULL, &err) == 0)
		fprintf(stderr, "gate25: warning: gate25d runs and attaches again what it misses; "
				"stop it first: systemctl stop gate25d\n");
}

static int take_off(struct cli *c, const struct gate_config *conf, struct gate_error *err)
{
	struct report r = { .c = c, .lines = json_array() };
	json_t *answer;
	int ret = gate_attach_remove_all(conf->pin, say, &r, err);

	if (!ret && cli_has(c, OPT_PURGE)) {
		ret = gate_bpf_unpin_all(conf->pin, err);
		if (!ret)
			say(&r, "counters, buckets and policy are gone from the kernel");
	}
	if (!ret && c->json) {
		answer = json_pack("{s:i, s:O}", "version", 1, "detached", r.lines);
		if (answer)
			cli_print_json(answer);
		json_decref(answer);
	} else if (!ret && json_array_size(r.lines) == 0) {
		cli_print(c, STYLE_PLAIN, "nothing of gate25 was attached");
		cli_end_line();
	}
	json_decref(r.lines);
	return ret;
}

int cmd_detach(struct cli *c)
{
	const char *file = cli_value(c, OPT_CONFIG);
	struct gate_config *conf;
	struct gate_error err;
	int ret = 0;

	if (!cli_has(c, OPT_YES))
		return cli_usage(c, "this opens SMTP for every VM; say --yes if that is meant");
	if (geteuid() != 0) {
		gate_error_set(&err, GATE_ERR_DENIED, "only root can take the gate off");
		return cli_fail(c, &err);
	}
	if (gate_config_load(file ? file : GATE_DEFAULT_CONFIG, file != NULL, &conf, &err))
		return cli_fail(c, &err);
	use_socket(c, conf);
	warn_of_daemon(c);
	if (take_off(c, conf, &err))
		ret = cli_fail(c, &err);
	gate_config_free(conf);
	return ret;
}
