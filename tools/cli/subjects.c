// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Several subjects at once, from the command line or stdin. */
#include "cli.h"
#include "parse.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLANKS " \t\r\n"

static int check(struct cli *c, const char *word)
{
	struct gate_subject s;

	if (gate_parse_subject(word, &s) == 0)
		return 0;
	return cli_usage(c,
			 "\"%.80s\" is no subject: default, tenant:NAME, vm:NAME, port:NAME, "
			 "mac:MAC, ip:ADDRESS[/BITS]",
			 word);
}

/* All of stdin; NULL with the error said. */
static char *read_stdin(struct cli *c)
{
	struct gate_error err;
	char *text = NULL;
	size_t room = 0;
	ssize_t len;

	/* No text holds a NUL, so this reads to the end or to what is refused anyway. */
	errno = 0;
	len = getdelim(&text, &room, '\0', stdin);
	if (len < 0 && ferror(stdin)) {
		gate_error_set(&err, GATE_ERR_FAILED, "cannot read stdin: %s", strerror(errno));
		cli_fail(c, &err);
		free(text);
		return NULL;
	}
	if (len > 0 && text[len - 1] == '\0') {
		cli_usage(c, "stdin is no text");
		free(text);
		return NULL;
	}
	if (len < 0) {
		free(text);
		text = strdup("");
		if (!text)
			cli_no_memory(c);
	}
	return text;
}

/* One subject a line; blank lines and what follows a '#' are passed over. */
static int add_lines(struct cli *c, char *text, struct cli_values *out)
{
	char *line, *next = text;
	int ret;

	while ((line = strsep(&next, "\n"))) {
		line[strcspn(line, "#")] = '\0';
		line += strspn(line, BLANKS);
		for (size_t n = strlen(line); n > 0 && strchr(BLANKS, line[n - 1]); n--)
			line[n - 1] = '\0';
		if (!*line)
			continue;
		ret = check(c, line);
		if (ret)
			return ret;
		if (cli_values_add(out, line))
			return cli_no_memory(c);
	}
	return 0;
}

int cli_subjects(struct cli *c, unsigned n, struct cli_values *out)
{
	int ret;

	for (unsigned i = 0; i < n; i++) {
		const char *word = c->args.v[i];

		if (strcmp(word, "-") != 0) {
			ret = check(c, word);
			if (!ret && cli_values_add(out, word))
				ret = cli_no_memory(c);
			if (ret)
				return ret;
			continue;
		}
		if (c->owned)
			return cli_usage(c, "\"-\" can be given once only");
		c->owned = read_stdin(c);
		if (!c->owned)
			return GATE_ERR_FAILED;
		ret = add_lines(c, c->owned, out);
		if (ret)
			return ret;
	}
	return out->n ? 0 : cli_usage(c, "no subject was given");
}

/* After these the next subject would fare no better. */
static bool hopeless(enum gate_error_code code)
{
	return code == GATE_ERR_UNREACHABLE || code == GATE_ERR_DENIED;
}

static int sum_up(struct cli *c, unsigned done, unsigned all, int first_failure)
{
	struct gate_error err;

	if (done == all)
		return 0;
	if (done == 0)
		return first_failure;
	gate_error_set(&err, GATE_ERR_PARTIAL, "done for %u of %u subjects", done, all);
	return cli_fail(c, &err);
}

int cli_each(struct cli *c, const struct cli_values *subjects, cli_each_fn one, void *arg,
	     void (*print)(struct cli *, const json_t *))
{
	struct cli_progress progress;
	int first_failure = 0;
	unsigned done = 0;

	cli_progress_begin(&progress, c, subjects->n);
	for (unsigned i = 0; i < subjects->n; i++) {
		json_t *answer = NULL;
		struct gate_error err;
		int code;

		cli_progress_step(&progress, i);
		if (one(c, subjects->v[i], arg, &answer, &err)) {
			cli_progress_clear(&progress);
			code = subjects->n > 1 ? cli_fail_subject(c, subjects->v[i], &err)
					       : cli_fail(c, &err);
			first_failure = first_failure ? first_failure : code;
			if (hopeless(err.code))
				break;
			continue;
		}
		done++;
		if (c->json)
			cli_print_json(answer);
		else
			print(c, answer);
		json_decref(answer);
	}
	cli_progress_end(&progress);
	return sum_up(c, done, subjects->n, first_failure);
}
