// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * All that leaves the CLI: text, JSON, errors. Names, reasons and messages come
 * from others, so control characters are replaced before a terminal sees them, and
 * what is no UTF-8 before JSON is made of it.
 */
#include "buf.h"
#include "cli.h"
#include "parse.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MIN 20 /* narrower text is not wrapped but left to the terminal */

static const char *const style_codes[STYLE_MAX] = {
	[STYLE_GOOD] = "\033[32m",    [STYLE_WARN] = "\033[33m", [STYLE_BAD] = "\033[31m",
	[STYLE_WORST] = "\033[1;35m", [STYLE_DIM] = "\033[2m",	 [STYLE_HEAD] = "\033[1m",
};

char *cli_clean(char *s)
{
	size_t len;

	for (char *p = s; *p; p += len) {
		len = gate_utf8_length(p);
		if (!len)
			*p = '?';
		len = len ? len : 1;
		memset(p, '?', gate_text_control(p));
	}
	return s;
}

char *cli_vformat(const char *fmt, va_list ap)
{
	char *text;

	if (vasprintf(&text, fmt, ap) < 0)
		return NULL;
	return cli_clean(text);
}

char *cli_format(const char *fmt, ...)
{
	va_list ap;
	char *text;

	va_start(ap, fmt);
	text = cli_vformat(fmt, ap);
	va_end(ap);
	return text;
}

const char *cli_style_on(const struct cli *c, enum cli_style s)
{
	return c->color && style_codes[s] ? style_codes[s] : "";
}

const char *cli_style_off(const struct cli *c, enum cli_style s)
{
	return c->color && style_codes[s] ? "\033[0m" : "";
}

void cli_print(struct cli *c, enum cli_style s, const char *fmt, ...)
{
	va_list ap;
	char *text;

	va_start(ap, fmt);
	text = cli_vformat(fmt, ap);
	va_end(ap);
	if (!text) {
		c->short_of_memory = true;
		return;
	}
	printf("%s%s%s", cli_style_on(c, s), text, cli_style_off(c, s));
	free(text);
}

void cli_print_wrapped(struct cli *c, unsigned indent, const char *text)
{
	size_t room = c->width > indent + TEXT_MIN ? c->width - indent : SIZE_MAX;
	size_t len = strlen(text);

	while (len > room) {
		size_t cut = room;

		while (cut > 0 && text[cut] != ' ')
			cut--;
		if (!cut)
			cut = room;
		while (cut > 1 && (text[cut] & 0xc0) == 0x80) /* in the middle of a letter */
			cut--;
		cli_print(c, STYLE_PLAIN, "%.*s", (int)cut, text);
		cli_end_line();
		printf("%*s", (int)indent, "");
		text += cut + (text[cut] == ' ');
		len = strlen(text);
	}
	cli_print(c, STYLE_PLAIN, "%s", text);
	cli_end_line();
}

void cli_end_line(void)
{
	putchar('\n');
}

void cli_print_json(const json_t *j)
{
	json_dumpf(j, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
	putchar('\n');
}

int cli_finish(struct cli *c, int code)
{
	if (c->short_of_memory)
		return cli_no_memory(c);
	if (fflush(stdout) == 0 && !ferror(stdout))
		return code;
	/* `gate25 list | head` is no error worth a word. */
	if (errno != EPIPE)
		fprintf(stderr, "gate25: cannot write: %s\n", strerror(errno));
	return code ? code : GATE_ERR_FAILED;
}

/* ---- errors ---- */

static const struct {
	const char *name; /* as the API has it */
	int exit_code;
} codes[] = {
	[GATE_OK] = { "ok", 0 },
	[GATE_ERR_FAILED] = { "failed", GATE_ERR_FAILED },
	[GATE_ERR_USAGE] = { "usage", GATE_ERR_USAGE },
	[GATE_ERR_NO_SUBJECT] = { "no_subject", GATE_ERR_NO_SUBJECT },
	[GATE_ERR_UNREACHABLE] = { "unreachable", GATE_ERR_UNREACHABLE },
	[GATE_ERR_PARTIAL] = { "partial", GATE_ERR_PARTIAL },
	[GATE_ERR_DENIED] = { "denied", GATE_ERR_DENIED },
	[GATE_ERR_CONFLICT] = { "conflict", GATE_ERR_FAILED },
};

static void say(struct cli *c, const char *subject, const char *code, const char *message)
{
	char *text = cli_format("%s%s%s", subject ? subject : "", subject ? ": " : "", message);
	char *about = subject ? cli_format("%s", subject) : NULL, *what = cli_format("%s", message);
	json_t *j;

	fflush(stdout);
	fprintf(stderr, "gate25: %s\n", text ? text : "out of memory");
	j = json_pack("{s:i, s:s*, s:{s:s, s:s}}", "version", 1, "subject", about, "error", "code",
		      code, "message", what ? what : "out of memory");
	if (j && c->json)
		cli_print_json(j);
	json_decref(j);
	free(about);
	free(what);
	free(text);
}

int cli_fail_subject(struct cli *c, const char *subject, const struct gate_error *err)
{
	say(c, subject, codes[err->code].name, err->message);
	return codes[err->code].exit_code;
}

int cli_fail(struct cli *c, const struct gate_error *err)
{
	return cli_fail_subject(c, NULL, err);
}

int cli_usage(struct cli *c, const char *fmt, ...)
{
	const char *name = c->command ? c->command->name : NULL;
	struct gate_error err;
	char sentence[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(sentence, sizeof(sentence), fmt, ap);
	va_end(ap);
	gate_error_set(&err, GATE_ERR_USAGE, "%s%s%s; see gate25 help%s%s", name ? name : "",
		       name ? ": " : "", sentence, name ? " " : "", name ? name : "");
	return cli_fail(c, &err);
}

int cli_no_memory(struct cli *c)
{
	struct gate_error err;

	c->short_of_memory = false;
	gate_error_set(&err, GATE_ERR_FAILED, "out of memory");
	return cli_fail(c, &err);
}
