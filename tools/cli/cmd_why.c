// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* gate25 why: what the loaded program says to a made packet, step by step. */
#include "cli.h"
#include "parse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LABEL 15 /* columns of a step's name, with the gap behind it */

/* ---- the question ---- */

/*
 * "192.0.2.1", "192.0.2.1:587", "2001:db8::1", "[2001:db8::1]:25" into address and
 * port; *port 0 = none given. False: none of these.
 */
static bool split_destination(const char *word, char *addr, size_t size, uint32_t *port)
{
	const char *colon = strchr(word, ':'), *end = word + strlen(word);
	struct gate_prefix p;

	*port = 0;
	if (*word == '[') {
		word++;
		end = strchr(word, ']');
		if (!end)
			return false;
		colon = end[1] ? end + 1 : NULL;
		if (colon && *colon != ':')
			return false;
	} else if (colon && !strchr(colon + 1, ':')) {
		end = colon;
	} else {
		colon = NULL;
	}
	if (colon && gate_parse_u32(colon + 1, 1, UINT16_MAX, port))
		return false;
	if ((size_t)(end - word) >= size)
		return false;
	memcpy(addr, word, (size_t)(end - word));
	addr[end - word] = '\0';
	return gate_parse_prefix(addr, &p) == 0 && p.len == 128;
}

/* NULL with *ret set. */
static json_t *question(struct cli *c, int *ret)
{
	const char *subject = c->args.v[0], *dest = c->args.n > 1 ? c->args.v[1] : NULL;
	struct gate_subject parsed;
	char addr[64] = "";
	uint32_t port = 0;
	json_t *q;

	if (gate_parse_subject(subject, &parsed)) {
		*ret = cli_usage(c, "\"%.80s\" is no subject", subject);
		return NULL;
	}
	if (dest && !split_destination(dest, addr, sizeof(addr), &port)) {
		*ret = cli_usage(c,
				 "\"%.80s\" is no destination: 192.0.2.1, 192.0.2.1:25, "
				 "2001:db8::1 or [2001:db8::1]:25",
				 dest);
		return NULL;
	}
	q = json_pack("{s:s}", "subject", subject);
	if (!q || (dest && json_object_set_new(q, "destination", json_string(addr))) ||
	    (port && json_object_set_new(q, "port", json_integer(port)))) {
		json_decref(q);
		*ret = cli_no_memory(c);
		return NULL;
	}
	*ret = 0;
	return q;
}

/* ---- the answer ---- */

static enum cli_style verdict_style(const json_t *answer)
{
	const char *verdict = cli_str(answer, "verdict");

	if (verdict && strcmp(verdict, "pass") == 0)
		return STYLE_GOOD;
	return cli_bool(answer, "passes") ? STYLE_WARN : STYLE_BAD;
}

static void print_answer(struct cli *c, const json_t *answer)
{
	const char *dest = cli_str(answer, "destination"), *text = cli_str(answer, "text");
	const char *subject = cli_str(answer, "subject"), *last = "";
	const json_t *steps = json_object_get(answer, "steps"), *s;
	size_t i;

	cli_print(c, STYLE_PLAIN, "%s to %s port %u: ", subject ? subject : "?", dest ? dest : "?",
		  (unsigned)cli_uint(answer, "port"));
	cli_print(c, verdict_style(answer), "%s", text ? text : "?");
	cli_end_line();
	json_array_foreach (steps, i, s) {
		const char *name = cli_str(s, "step"), *says = cli_str(s, "text");

		if (!name || !says)
			continue;
		cli_print(c, STYLE_DIM, "  %-*s", LABEL - 2, strcmp(name, last) ? name : "");
		cli_print_wrapped(c, LABEL, says);
		last = name;
	}
}

int cmd_why(struct cli *c)
{
	json_t *answer = NULL, *q;
	struct gate_error err;
	int ret;

	q = question(c, &ret);
	if (!q)
		return ret;
	if (cli_call(c, "POST", "/v1/why", q, &answer, &err))
		ret = cli_fail(c, &err);
	else if (c->json)
		cli_print_json(answer);
	else
		print_answer(c, answer);
	json_decref(answer);
	json_decref(q);
	return ret;
}
