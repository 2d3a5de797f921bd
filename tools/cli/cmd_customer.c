// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * gate25 show --customer: what the abuse desk sends on. Whether connections are
 * open, why not, until when, whom to ask; nothing about hooks and buckets.
 */
#include "cli.h"
#include "parse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct letter {
	FILE *f;
	const json_t *status;
};

/* The customer knows the server's name, not the kinds of subjects. */
static void say_who(const struct letter *l, const json_t *o)
{
	const char *subject = cli_str(o, "subject");
	const char *name = subject ? strchr(subject, ':') : NULL;

	if (subject && strncmp(subject, "tenant:", 7) == 0)
		fprintf(l->f, "of all servers of %s", name + 1);
	else if (name)
		fprintf(l->f, "of %s", name + 1);
	else
		fputs("of all servers", l->f);
}

/* "TCP port 25", "TCP ports 25, 465 and 587" */
static void say_ports(const struct letter *l, unsigned only)
{
	const json_t *gated = json_object_get(l->status, "gated"), *p;
	size_t i, n = json_array_size(gated);

	if (only) {
		fprintf(l->f, "TCP port %u", only);
		return;
	}
	fprintf(l->f, "TCP port%s ", n == 1 ? "" : "s");
	json_array_foreach (gated, i, p)
		fprintf(l->f, "%s%u",
			!i	     ? ""
			: i + 1 == n ? " and "
				     : ", ",
			(unsigned)json_integer_value(p));
}

static void say_rate(const struct letter *l, const json_t *rate, const char *what, bool *any)
{
	static const struct {
		const char *per, *words;
	} words[] = {
		{ "1s", "a second" }, { "1min", "a minute" }, { "1h", "an hour" }, { "1d", "a day" }
	};
	const char *per = cli_str(rate, "per");

	for (size_t i = 0; per && i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(words[i].per, per) != 0)
			continue;
		fprintf(l->f, "%s%llu%s %s", *any ? ", " : "",
			(unsigned long long)cli_uint(rate, "count"), what, words[i].words);
		*any = true;
	}
}

static void say_limits(const struct letter *l, const json_t *e)
{
	const json_t *rates = json_object_get(e, "rates"), *rate;
	bool any = false;
	size_t i;

	fputs("limited to at most ", l->f);
	json_array_foreach (rates, i, rate)
		say_rate(l, rate, any ? "" : " new connections", &any);
	if (cli_uint(e, "concurrent")) {
		fprintf(l->f, "%s%llu at the same time", any ? ", " : "",
			(unsigned long long)cli_uint(e, "concurrent"));
		any = true;
	}
	say_rate(l, json_object_get(e, "destinations"), " new destinations", &any);
	if (!any)
		fputs("what the network carries", l->f);
}

static bool is_closed(const json_t *e)
{
	const char *state = cli_str(e, "state");

	return state && cli_bool(e, "enforce") &&
	       (strcmp(state, "block") == 0 || strcmp(state, "quarantine") == 0);
}

static bool is_limited(const json_t *e)
{
	const char *state = cli_str(e, "state");

	return state && cli_bool(e, "enforce") && strcmp(state, "limit") == 0;
}

static void say_answer(const struct letter *l, const json_t *e)
{
	const char *refuse = cli_str(e, "refuse");

	if (!is_closed(e) && !is_limited(e))
		return;
	fprintf(l->f, " Connections%s are ", is_closed(e) ? "" : " beyond that");
	if (refuse && strcmp(refuse, "drop") != 0)
		fputs("refused at once.", l->f);
	else
		fprintf(l->f, "not answered%s.",
			is_closed(e) ? "" : "; mail servers try again by themselves");
}

/* One paragraph on what is in force, on all gated ports or one of them. */
static void say_state(const struct letter *l, const json_t *o, const json_t *e)
{
	const char *reason = cli_str(e, "reason"), *expires = cli_str(e, "expires");
	char when[64];

	fputs("Outgoing mail connections (", l->f);
	say_ports(l, (unsigned)cli_uint(e, "port"));
	fputs(") ", l->f);
	say_who(l, o);
	fputs(" are ", l->f);
	if (is_limited(e))
		say_limits(l, e);
	else
		fputs(is_closed(e) ? "closed" : "open", l->f);
	if (expires)
		fprintf(l->f, " until %s", cli_time(expires, when, sizeof(when)));
	fputs(".", l->f);
	if (reason && *reason)
		fprintf(l->f, " Reason: %s.", reason);
	say_answer(l, e);
	fputs("\n", l->f);
}

static void say_exempt(const struct letter *l, const json_t *o)
{
	const json_t *list = json_object_get(json_object_get(o, "own"), "exempt");
	const char *state = cli_str(json_object_get(o, "effective"), "state");
	char *words;

	if (!json_array_size(list) || !state || strcmp(state, "quarantine") == 0)
		return;
	words = cli_join(list, NULL);
	fprintf(l->f, "Always open: connections to %s.\n", words ? words : "?");
	free(words);
}

/* The whole text, freed by the caller; NULL = no memory. */
static char *write_letter(const json_t *status, const json_t *o)
{
	const char *contact = cli_str(status, "contact");
	const json_t *e;
	struct letter l = { .status = status };
	char *text = NULL;
	size_t len, i;

	l.f = open_memstream(&text, &len);
	if (!l.f)
		return NULL;
	say_state(&l, o, json_object_get(o, "effective"));
	json_array_foreach (json_object_get(o, "effective_by_port"), i, e)
		say_state(&l, o, e);
	say_exempt(&l, o);
	if (contact && *contact)
		fprintf(l.f, "Please turn to %s.\n", contact);
	if (fclose(l.f)) {
		free(text);
		return NULL;
	}
	return text;
}

static void print_letter(struct cli *c, const json_t *answer)
{
	const char *text = cli_str(answer, "text");

	for (size_t len; text && *text; text += len + (text[len] == '\n')) {
		len = strcspn(text, "\n");
		cli_print(c, STYLE_PLAIN, "%.*s", (int)len, text);
		cli_end_line();
	}
}

static int get_letter(struct cli *c, const char *subject, void *status, json_t **answer,
		      struct gate_error *err)
{
	char *path = cli_path("/v1/policies/", subject, NULL), *text;
	json_t *o = NULL;
	int ret = cli_call(c, "GET", path, NULL, &o, err);

	free(path);
	if (ret)
		return ret;
	text = write_letter(status, o);
	*answer = json_pack("{s:i, s:s, s:s}", "version", 1, "subject", cli_str(o, "subject"),
			    "text", text);
	free(text);
	json_decref(o);
	return *answer ? 0 : gate_error_set(err, GATE_ERR_FAILED, "out of memory");
}

int cli_show_customer(struct cli *c, const struct cli_values *subjects)
{
	struct gate_error err;
	json_t *status = NULL;
	int ret;

	if (cli_call(c, "GET", "/v1/status", NULL, &status, &err))
		return cli_fail(c, &err);
	ret = cli_each(c, subjects, get_letter, status, print_letter);
	json_decref(status);
	return ret;
}
