// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The screen: a headline, a line of words, a table, the keys. */
#include "top.h"

#include <curses.h>
#include <limits.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define HEAD_ROWS 3
#define FOOT_ROWS 1

enum { PAIR_GOOD = 1, PAIR_WARN, PAIR_BAD, PAIR_WORST };

struct column {
	const char *title;
	int width; /* the first takes what is left */
	bool right;
	enum top_sort sort; /* SORT_MAX = none */
};

/* From the right they are left out where the terminal is narrow. */
static const struct column columns[] = {
	{ "VM", 12, false, SORT_NAME },	  { "STATE", 11, false, SORT_MAX },
	{ "NEW/MIN", 8, true, SORT_NEW }, { "REFUSED", 8, true, SORT_REFUSED },
	{ "5XX", 5, true, SORT_5XX },	  { "DESTS", 7, true, SORT_DESTINATIONS },
	{ "OPEN", 6, true, SORT_OPEN },	  { "ALL NEW", 8, true, SORT_MAX },
	{ "ALL REF", 8, true, SORT_MAX }, { "TENANT", 16, false, SORT_MAX },
};
#define NCOLUMNS (sizeof(columns) / sizeof(columns[0]))

int top_view_open(struct top_view *v, struct gate_error *err)
{
	const char *term = getenv("TERM");
	SCREEN *screen;

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return gate_error_set(err, GATE_ERR_USAGE,
				      "top needs a terminal; gate25 list prints the same once");
	setlocale(LC_CTYPE, ""); /* what the screen takes a letter to be */
	screen = term && *term ? newterm(NULL, stdout, stdin) : NULL;
	if (!screen)
		return gate_error_set(err, GATE_ERR_USAGE,
				      "top cannot use a terminal of type \"%.40s\"; set TERM",
				      term ? term : "");
	set_term(screen);
	cbreak();
	noecho();
	keypad(stdscr, TRUE);
	set_escdelay(50);
	curs_set(0);
	if (v->c->color && has_colors()) {
		start_color();
		use_default_colors();
		init_pair(PAIR_GOOD, COLOR_GREEN, -1);
		init_pair(PAIR_WARN, COLOR_YELLOW, -1);
		init_pair(PAIR_BAD, COLOR_RED, -1);
		init_pair(PAIR_WORST, COLOR_MAGENTA, -1);
	}
	return 0;
}

void top_view_close(void)
{
	endwin();
}

int top_view_page(void)
{
	int rows = LINES - HEAD_ROWS - FOOT_ROWS;

	return rows > 0 ? rows : 1; /* in place of the keys, where there is no more room */
}

/* ---- lines ---- */

/* A line of the screen, filled up; what does not fit is cut. */
__attribute__((format(printf, 3, 4))) static void put_line(int row, attr_t attr, const char *fmt,
							   ...)
{
	va_list ap;
	char *text;

	if (row < 0 || row >= LINES)
		return;
	va_start(ap, fmt);
	text = cli_vformat(fmt, ap);
	va_end(ap);
	attrset(attr);
	mvhline(row, 0, ' ', COLS);
	mvaddnstr(row, 0, text ? text : "", COLS);
	attrset(A_NORMAL);
	free(text);
}

static void draw_head(const struct top_view *v, const struct top_data *d)
{
	char when[16];
	time_t now = time(NULL);
	struct tm tm;

	strftime(when, sizeof(when), "%H:%M:%S", localtime_r(&now, &tm));
	put_line(0, A_BOLD, "gate25 top  %s  %zu VMs  new %.1f/min  refused %.1f/min%s", when, d->n,
		 d->total_per_min[TOP_NEW], d->total_per_min[TOP_REFUSED],
		 v->stale ? "  NO ANSWER" : "");
	if (v->message[0])
		put_line(1, v->bad ? A_BOLD | COLOR_PAIR(PAIR_BAD) : A_NORMAL, "%s", v->message);
	else if (v->filter[0])
		put_line(1, A_NORMAL, "filter \"%s\": %zu of them", v->filter, d->shown);
	else
		put_line(1, A_NORMAL, "%s", "");
}

static void draw_foot(const struct top_view *v)
{
	if (!v->prompt[0] && LINES <= HEAD_ROWS + FOOT_ROWS)
		return;
	if (!v->prompt[0]) {
		put_line(LINES - 1, A_REVERSE,
			 "q quit  / filter  b block  a allow  sort: n new r refused 5 5xx d dests "
			 "o open s name");
		curs_set(0);
		return;
	}
	put_line(LINES - 1, A_BOLD, "%s%s", v->prompt, v->input ? v->input : "");
	curs_set(1);
}

/* ---- the table ---- */

static int widths(int width[NCOLUMNS])
{
	int sum = columns[0].width, n = 1;

	while ((size_t)n < NCOLUMNS && sum + 1 + columns[n].width <= COLS) {
		width[n] = columns[n].width;
		sum += 1 + columns[n].width;
		n++;
	}
	width[0] = columns[0].width + (COLS > sum ? COLS - sum : 0);
	return n;
}

static void put_cell(int row, int *x, int width, bool right, const char *text)
{
	int len = (int)strlen(text), cut = len > width ? width : len;

	if (*x + width > COLS)
		width = COLS - *x;
	if (width <= 0)
		return;
	if (len > width)
		mvaddnstr(row, *x, text, width - 1), addch('~');
	else
		mvaddnstr(row, *x + (right ? width - cut : 0), text, cut);
	*x += width + 1;
}

static void draw_titles(const struct top_view *v, const int *width, int n)
{
	char title[32];
	int x = 0;

	put_line(2, A_REVERSE, "%s", "");
	attrset(A_REVERSE);
	for (int i = 0; i < n; i++) {
		bool by = columns[i].sort == v->sort;

		snprintf(title, sizeof(title), "%s%s", columns[i].title, by ? "*" : "");
		attrset(by ? A_REVERSE | A_BOLD : A_REVERSE);
		put_cell(2, &x, width[i], columns[i].right, title);
	}
	attrset(A_NORMAL);
}

static int color_of(const struct top_vm *vm)
{
	switch (cli_state_style(vm->state)) {
	case STYLE_GOOD:
		return COLOR_PAIR(PAIR_GOOD);
	case STYLE_BAD:
		return COLOR_PAIR(PAIR_BAD);
	case STYLE_WORST:
		return COLOR_PAIR(PAIR_WORST);
	default:
		return 0;
	}
}

static void cell_text(const struct top_vm *vm, int column, char *buf, size_t size)
{
	char number[16];

	switch (column) {
	case 0:
		snprintf(buf, size, "%s", vm->subject);
		break;
	case 1:
		snprintf(buf, size, "%s%s", vm->state, vm->enforce ? "" : "~");
		break;
	case 2:
		snprintf(buf, size, "%.1f", vm->per_min[TOP_NEW]);
		break;
	case 3:
		snprintf(buf, size, "%.1f", vm->per_min[TOP_REFUSED]);
		break;
	case 4:
		snprintf(buf, size, vm->share_5xx < 0 ? "-" : "%.0f%%", vm->share_5xx);
		break;
	case 5:
		snprintf(buf, size, "%.1f", vm->per_min[TOP_DESTINATIONS]);
		break;
	case 6:
		snprintf(buf, size, "%s", cli_count(vm->open, number));
		break;
	case 7:
		snprintf(buf, size, "%s", cli_count(vm->now.v[TOP_NEW], number));
		break;
	case 8:
		snprintf(buf, size, "%s", cli_count(vm->now.v[TOP_REFUSED], number));
		break;
	default:
		snprintf(buf, size, "%s", vm->tenant);
		break;
	}
}

static void draw_row(const struct top_view *v, const struct top_vm *vm, int row, const int *width,
		     int n)
{
	attr_t base = strcmp(vm->subject, v->selected) == 0 ? A_REVERSE : A_NORMAL;
	char text[128];
	int x = 0;

	put_line(row, base, "%s", "");
	for (int i = 0; i < n; i++) {
		bool warn =
			(i == 3 && vm->per_min[TOP_REFUSED] > 0) || (i == 4 && vm->share_5xx >= 50);

		attrset(base | (i == 1 ? (attr_t)color_of(vm) : 0) |
			(warn ? (attr_t)COLOR_PAIR(PAIR_WARN) : 0));
		cell_text(vm, i, text, sizeof(text));
		put_cell(row, &x, width[i], columns[i].right, text);
	}
	attrset(A_NORMAL);
}

static size_t index_of(const struct top_view *v, const struct top_data *d)
{
	for (size_t i = 0; i < d->shown; i++) {
		if (strcmp(d->vms[i]->subject, v->selected) == 0)
			return i;
	}
	return SIZE_MAX;
}

/* The selection stays on its VM, wherever that moves; without one it is the first. */
static void follow_selection(struct top_view *v, const struct top_data *d)
{
	size_t page = (size_t)top_view_page(), at = index_of(v, d);

	if (at == SIZE_MAX) {
		at = v->first < d->shown ? v->first : 0;
		strcpy(v->selected, d->shown ? d->vms[at]->subject : "");
	}
	if (at < v->first)
		v->first = at;
	if (at >= v->first + page)
		v->first = at + 1 - page;
	if (v->first + page > d->shown)
		v->first = d->shown > page ? d->shown - page : 0;
}

void top_view_move(struct top_view *v, const struct top_data *d, int rows)
{
	size_t at = index_of(v, d), last = d->shown ? d->shown - 1 : 0;

	if (!d->shown)
		return;
	if (at == SIZE_MAX || rows == INT_MIN)
		at = 0;
	else if (rows == INT_MAX)
		at = last;
	else if (rows < 0)
		at = at > (size_t)-rows ? at - (size_t)-rows : 0;
	else
		at = at + (size_t)rows < last ? at + (size_t)rows : last;
	strcpy(v->selected, d->vms[at]->subject);
}

/* A change of size while the screen was being set up brings no KEY_RESIZE. */
static void follow_size(void)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row && size.ws_col &&
	    is_term_resized(size.ws_row, size.ws_col))
		resizeterm(size.ws_row, size.ws_col);
}

void top_view_draw(struct top_view *v, const struct top_data *d)
{
	int width[NCOLUMNS], n, page;

	follow_size();
	n = widths(width);
	page = top_view_page();
	follow_selection(v, d);
	erase();
	draw_head(v, d);
	draw_titles(v, width, n);
	for (int i = 0; i < page && v->first + (size_t)i < d->shown; i++)
		draw_row(v, d->vms[v->first + (size_t)i], HEAD_ROWS + i, width, n);
	draw_foot(v);
	refresh();
}
