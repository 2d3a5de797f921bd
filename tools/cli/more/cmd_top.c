// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* gate25 top: the keys, and the daemon asked every two seconds. */
#include "parse.h"
#include "top.h"

#include <curses.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

#define EVERY_MS	 2000
#define ANSWER_TIMEOUT_S 5 /* a screen that hangs longer is no screen */

static volatile sig_atomic_t ended;

static void on_end(int sig)
{
	ended = sig;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- the daemon ---- */

struct answer {
	char *data;
	size_t len, room;
};

static int keep(void *arg, const char *data, size_t len)
{
	struct answer *a = arg;

	if (a->len + len > a->room) {
		size_t room = 2 * (a->len + len);
		char *grown = realloc(a->data, room);

		if (!grown)
			return -ENOMEM;
		a->data = grown;
		a->room = room;
	}
	memcpy(a->data + a->len, data, len);
	a->len += len;
	return 0;
}

static int ask(struct cli *c, struct top_data *d, struct gate_error *err)
{
	struct answer a = { 0 };
	json_t *root = NULL;
	int ret;

	ret = cli_stream(c, "GET", "/v1/vms?brief=1", -1, ANSWER_TIMEOUT_S, keep, &a, err);
	if (!ret) {
		root = json_loadb(a.data ? a.data : "", a.len, 0, NULL);
		if (!json_is_object(root))
			ret = gate_error_set(err, GATE_ERR_FAILED,
					     "the answer is not of gate25's control API: no JSON");
	}
	if (!ret && top_data_take(d, json_object_get(root, "vms"), now_ms()))
		ret = gate_error_set(err, GATE_ERR_FAILED, "out of memory");
	json_decref(root);
	free(a.data);
	return ret;
}

static void say(struct top_view *v, bool bad, const char *text)
{
	snprintf(v->message, sizeof(v->message), "%s", text ? text : "out of memory");
	v->bad = bad;
}

static void renew(struct top_view *v, struct top_data *d)
{
	struct gate_error err;
	bool was = v->stale;

	v->stale = ask(v->c, d, &err) != 0;
	if (v->stale)
		say(v, true, err.message);
	else if (was)
		say(v, false, "gate25d answers again");
	top_data_sort(d, v->sort, v->filter);
}

/* ---- typing ---- */

struct typing {
	wchar_t word[TOP_WORD_MAX * 2];
	size_t len;
	char text[CLI_REASON_MAX + 1];
};

static bool fits(const struct typing *t)
{
	size_t bytes = wcstombs(NULL, t->word, 0);

	return bytes != (size_t)-1 && bytes < sizeof(t->text);
}

static void type(struct typing *t, wint_t ch)
{
	if ((ch == L'\b' || ch == 127 || ch == KEY_BACKSPACE) && t->len > 0)
		t->word[--t->len] = L'\0';
	else if (ch >= L' ' && ch != 127 && t->len + 1 < sizeof(t->word) / sizeof(t->word[0])) {
		t->word[t->len++] = (wchar_t)ch;
		t->word[t->len] = L'\0';
		if (!fits(t))
			t->word[--t->len] = L'\0';
	}
	wcstombs(t->text, t->word, sizeof(t->text));
}

/* The next key; false: none came in time. */
static bool next_key(int64_t until, wint_t *ch, bool *special)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
	int64_t left = until - now_ms();
	int got;

	timeout(0);
	got = get_wch(ch);
	if (got == ERR && poll(&p, 1, left > 0 ? (int)left : 0) > 0 && p.revents & POLLIN)
		got = get_wch(ch);
	if (p.revents & (POLLHUP | POLLERR)) /* the terminal is gone */
		ended = SIGHUP;
	*special = got == KEY_CODE_YES;
	return got != ERR;
}

/* A line at the foot of the screen; false: left with Escape. */
static bool read_line(struct top_view *v, const struct top_data *d, struct typing *t)
{
	bool special = false, entered = false;
	wint_t ch = 0;

	t->len = 0;
	t->word[0] = L'\0';
	t->text[0] = '\0';
	v->input = t->text;
	while (!ended && !entered && !(ch == 27 && !special)) {
		top_view_draw(v, d);
		ch = 0;
		if (!next_key(now_ms() + EVERY_MS, &ch, &special))
			continue;
		if (!special && (ch == L'\n' || ch == L'\r'))
			entered = true;
		else if (!special || ch == KEY_BACKSPACE)
			type(t, ch);
	}
	v->prompt[0] = '\0';
	v->input = NULL;
	return entered && !ended;
}

/* ---- deeds ---- */

static void change(struct top_view *v, const char *subject, const char *state, const char *reason)
{
	json_t *body = json_pack("{s:s, s:s}", "state", state, "reason", reason), *answer = NULL;
	char *path = cli_path("/v1/policies/", subject, NULL), *text;
	struct gate_error err;

	if (!body) {
		say(v, true, "the reason is no UTF-8: nothing was changed");
	} else if (cli_call(v->c, "PUT", path, body, &answer, &err)) {
		say(v, true, err.message);
	} else {
		text = cli_effective_text(subject, json_object_get(answer, "effective"));
		snprintf(v->message, sizeof(v->message), "%s: %s", subject, text ? text : "done");
		v->bad = false;
		free(text);
	}
	json_decref(answer);
	json_decref(body);
	free(path);
}

static void ask_and_change(struct top_view *v, struct top_data *d, const char *state)
{
	char subject[sizeof(v->selected)];
	struct typing t;

	/* whatever is sorted above it meanwhile */
	strcpy(subject, v->selected);
	if (!*subject)
		return;
	snprintf(v->prompt, sizeof(v->prompt), "%s %s, reason (Esc leaves): ", state, subject);
	if (!read_line(v, d, &t))
		return say(v, false, "nothing was changed");
	if (!t.text[strspn(t.text, " ")])
		return say(v, true, "nothing was changed: a reason is needed");
	change(v, subject, state, t.text);
	renew(v, d);
}

static void set_filter(struct top_view *v, struct top_data *d)
{
	struct typing t;

	strcpy(v->prompt, "filter (part of a name, tenant or state; empty: all): ");
	if (!read_line(v, d, &t))
		return;
	snprintf(v->filter, sizeof(v->filter), "%.*s", (int)sizeof(v->filter) - 1, t.text);
	v->first = 0;
	v->selected[0] = '\0';
	top_data_sort(d, v->sort, v->filter);
}

static bool set_sort(struct top_view *v, struct top_data *d, wint_t ch)
{
	static const struct {
		wchar_t key;
		enum top_sort sort;
	} keys[] = { { L'n', SORT_NEW },	  { L'r', SORT_REFUSED }, { L'5', SORT_5XX },
		     { L'd', SORT_DESTINATIONS }, { L'o', SORT_OPEN },	  { L's', SORT_NAME } };

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if ((wint_t)keys[i].key != ch)
			continue;
		v->sort = keys[i].sort;
		v->selected[0] = '\0';
		v->first = 0;
		top_data_sort(d, v->sort, v->filter);
		return true;
	}
	return false;
}

/* ---- keys ---- */

static void special_key(struct top_view *v, struct top_data *d, wint_t ch)
{
	static const struct {
		wint_t key;
		int rows; /* 0 = a page, with the sign of `pages` */
		int pages;
	} moves[] = { { KEY_UP, -1, 0 },   { KEY_DOWN, 1, 0 },	     { KEY_PPAGE, 0, -1 },
		      { KEY_NPAGE, 0, 1 }, { KEY_HOME, INT_MIN, 0 }, { KEY_END, INT_MAX, 0 } };

	for (size_t i = 0; i < sizeof(moves) / sizeof(moves[0]); i++) {
		if (moves[i].key == ch)
			top_view_move(v, d,
				      moves[i].rows ? moves[i].rows
						    : moves[i].pages * top_view_page());
	}
	if (ch == KEY_RESIZE)
		clear();
}

/* False: quit. */
static bool plain_key(struct top_view *v, struct top_data *d, wint_t ch)
{
	v->message[0] = '\0';
	if (set_sort(v, d, ch))
		return true;
	switch (ch) {
	case L'q':
		return false;
	case L'/':
		set_filter(v, d);
		break;
	case L'b':
		ask_and_change(v, d, "block");
		break;
	case L'a':
		ask_and_change(v, d, "allow");
		break;
	case L'k':
		top_view_move(v, d, -1);
		break;
	case L'j':
		top_view_move(v, d, 1);
		break;
	case L' ':
		renew(v, d);
		break;
	default:
		break;
	}
	return true;
}

static void run(struct top_view *v, struct top_data *d)
{
	int64_t next = now_ms() + EVERY_MS;
	bool special, go_on = true;
	wint_t ch;

	while (go_on && !ended) {
		top_view_draw(v, d);
		if (next_key(next, &ch, &special)) {
			if (special)
				special_key(v, d, ch);
			else
				go_on = plain_key(v, d, ch);
		}
		if (now_ms() < next)
			continue;
		renew(v, d);
		next = now_ms() + EVERY_MS;
	}
}

int cmd_top(struct cli *c)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction sa = { .sa_handler = on_end };
	struct top_view v = { .c = c };
	struct top_data d = { 0 };
	struct gate_error err;

	if (c->json)
		return cli_usage(c, "the screen is no JSON; see gate25 --json list");
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return cli_usage(c, "this needs a terminal; gate25 list prints once");
	if (ask(c, &d, &err) || top_view_open(&v, &err)) {
		top_data_clear(&d);
		return cli_fail(c, &err);
	}
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &sa, NULL);
	top_data_sort(&d, v.sort, v.filter);
	run(&v, &d);
	top_view_close();
	top_data_clear(&d);
	return 0;
}
