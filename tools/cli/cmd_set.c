// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* gate25 export and apply: the whole policy as JSON Lines. */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SET_TIMEOUT_S 600 /* the largest set takes the daemon seconds, not minutes */

static int copy_out(void *arg, const char *data, size_t len)
{
	return fwrite(data, 1, len, stdout) == len ? 0 : 1;
}

int cmd_export(struct cli *c)
{
	struct gate_error err;
	int ret = cli_stream(c, "GET", "/v1/policy-set", -1, SET_TIMEOUT_S, copy_out, NULL, &err);

	/* > 0: stdout fails, which cli_finish() reports */
	return ret < 0 ? cli_fail(c, &err) : 0;
}

struct answer {
	char *data;
	size_t len;
};

static int keep(void *arg, const char *data, size_t len)
{
	struct answer *a = arg;
	char *grown = realloc(a->data, a->len + len);

	if (!grown)
		return -ENOMEM;
	memcpy(grown + a->len, data, len);
	a->data = grown;
	a->len += len;
	return 0;
}

void cli_print_changes(struct cli *c, const json_t *answer)
{
	const json_t *changes = json_object_get(answer, "changes"), *line;
	bool applied = cli_bool(answer, "applied");
	size_t i, n = json_array_size(changes);

	json_array_foreach (changes, i, line) {
		const char *text = json_string_value(line);
		enum cli_style style = STYLE_WARN;

		text = text ? text : "?";
		if (*text == '+' || *text == '-')
			style = *text == '+' ? STYLE_GOOD : STYLE_BAD;
		cli_print(c, style, "%s", text);
		cli_end_line();
	}
	cli_print(c, STYLE_PLAIN, "%zu difference%s%s", n, n == 1 ? "" : "s",
		  applied ? ", applied" : ", nothing was changed");
	cli_end_line();
}

static int open_set(struct cli *c, const char *file)
{
	struct gate_error err;
	struct stat st;
	int fd;

	if (strcmp(file, "-") == 0)
		return STDIN_FILENO;
	fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
		close(fd);
		fd = -1;
		errno = EISDIR;
	}
	if (fd < 0) {
		gate_error_set(&err, GATE_ERR_FAILED, "cannot read %.200s: %s", file,
			       strerror(errno));
		cli_fail(c, &err);
	}
	return fd;
}

static const char *set_path(const struct cli *c)
{
	if (cli_has(c, OPT_SHADOW))
		return "/v1/policy-set?shadow=1";
	return cli_has(c, OPT_DRY_RUN) ? "/v1/policy-set?dry_run=1" : "/v1/policy-set";
}

int cmd_apply(struct cli *c)
{
	const char *path = set_path(c);
	struct answer a = { 0 };
	struct gate_error err;
	json_t *answer = NULL;
	int fd, ret;

	if (cli_has(c, OPT_SHADOW) && cli_has(c, OPT_DRY_RUN))
		return cli_usage(c, "--shadow and --dry-run exclude each other");
	fd = open_set(c, c->args.v[0]);
	if (fd < 0)
		return GATE_ERR_FAILED;
	ret = cli_stream(c, "PUT", path, fd, SET_TIMEOUT_S, keep, &a, &err);
	if (!ret) {
		answer = json_loadb(a.data ? a.data : "", a.len, 0, NULL);
		if (!json_is_object(answer))
			ret = gate_error_set(&err, GATE_ERR_FAILED,
					     "the answer is not of gate25's control API: no JSON");
	}
	if (ret)
		ret = cli_fail(c, &err);
	else if (c->json)
		cli_print_json(answer);
	else if (cli_has(c, OPT_SHADOW))
		cli_print_shadow(c, answer);
	else
		cli_print_changes(c, answer);
	json_decref(answer);
	free(a.data);
	if (fd != STDIN_FILENO)
		close(fd);
	return ret;
}
