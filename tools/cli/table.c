// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Tables that fit the terminal: optional columns go first, then elastic ones are
 * cut. Without a terminal nothing is left out: a script may read it.
 */
#include "cli.h"

#include <limits.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#define GAP	     2
#define ELASTIC_MIN  8	/* narrowest an elastic column gets */
#define ELASTIC_FAIR 20 /* width at which most of what it says can still be read */

struct cell {
	char *text;
	unsigned width;
	enum cli_style style;
};

struct cli_table {
	const struct cli_column *columns;
	unsigned n;
	struct cell *cells;
	size_t count, room;
	bool failed;
};

struct cli_table *cli_table_new(const struct cli_column *columns, unsigned n)
{
	struct cli_table *t = calloc(1, sizeof(*t));

	/* here and not at the start: only a table asks how wide a text is */
	setlocale(LC_CTYPE, "");
	if (t) {
		t->columns = columns;
		t->n = n;
	}
	return t;
}

/* Columns on the terminal; what is no text in this locale counts by bytes. */
static unsigned text_width(const char *s)
{
	wchar_t wide[256];
	size_t n = mbstowcs(wide, s, 256);
	int width = n < 256 ? wcswidth(wide, n) : -1;

	return width < 0 ? (unsigned)strlen(s) : (unsigned)width;
}

void cli_table_add(struct cli_table *t, enum cli_style s, const char *fmt, ...)
{
	struct cell *grown;
	va_list ap;

	if (!t || t->failed)
		return;
	if (t->count == t->room) {
		grown = reallocarray(t->cells, t->room ? 2 * t->room : 64, sizeof(*grown));
		if (!grown) {
			t->failed = true;
			return;
		}
		t->cells = grown;
		t->room = t->room ? 2 * t->room : 64;
	}
	grown = &t->cells[t->count];
	va_start(ap, fmt);
	grown->text = cli_vformat(fmt, ap);
	va_end(ap);
	if (!grown->text) {
		t->failed = true;
		return;
	}
	grown->width = text_width(grown->text);
	grown->style = s;
	t->count++;
}

/* widths[i] = 0: the column is left out. */
static void measure(const struct cli_table *t, unsigned *widths)
{
	for (unsigned i = 0; i < t->n; i++)
		widths[i] = text_width(t->columns[i].title);
	for (size_t i = 0; i < t->count; i++) {
		if (t->cells[i].width > widths[i % t->n])
			widths[i % t->n] = t->cells[i].width;
	}
}

/* With elastic columns counted as `most` at the widest. */
static unsigned total(const struct cli_table *t, const unsigned *widths, unsigned most)
{
	unsigned sum = 0;

	for (unsigned i = 0; i < t->n; i++) {
		if (!widths[i])
			continue;
		sum += GAP + (t->columns[i].elastic && widths[i] > most ? most : widths[i]);
	}
	return sum ? sum - GAP : 0;
}

static unsigned widest_elastic(const struct cli_table *t, const unsigned *widths)
{
	unsigned widest = t->n;

	for (unsigned i = 0; i < t->n; i++) {
		if (t->columns[i].elastic && widths[i] > ELASTIC_MIN &&
		    (widest == t->n || widths[i] > widths[widest]))
			widest = i;
	}
	return widest;
}

/* A column is only left out where the others could not be read any more without that. */
static void fit(const struct cli_table *t, unsigned *widths, unsigned room)
{
	unsigned widest;

	for (unsigned i = t->n; i-- > 0 && total(t, widths, ELASTIC_FAIR) > room;) {
		if (t->columns[i].optional)
			widths[i] = 0;
	}
	while (total(t, widths, UINT_MAX) > room) {
		widest = widest_elastic(t, widths);
		if (widest == t->n)
			return;
		widths[widest]--;
	}
}

/* Cuts to `width` columns, the last of which says that something is missing. */
static void cut(char *s, unsigned width)
{
	mbstate_t state = { 0 };
	unsigned at = 0;
	size_t i = 0;

	while (s[i]) {
		wchar_t ch;
		size_t n = mbrtowc(&ch, s + i, strlen(s + i), &state);
		int w = 1;

		if (n == (size_t)-1 || n == (size_t)-2 || n == 0) {
			n = 1;
			state = (mbstate_t){ 0 };
		} else {
			w = wcwidth(ch) > 0 ? wcwidth(ch) : 0;
		}
		if (at + (unsigned)w > width - 1)
			break;
		at += (unsigned)w;
		i += n;
	}
	s[i] = '~';
	s[i + 1] = '\0';
}

static void print_cell(struct cli *c, const struct cli_column *col, char *text, unsigned width,
		       enum cli_style style, bool last)
{
	unsigned own = text_width(text), pad;

	if (own > width) {
		cut(text, width);
		own = text_width(text);
	}
	pad = width > own ? width - own : 0;
	printf("%*s%s%s%s%*s", col->right ? (int)pad : 0, "", cli_style_on(c, style), text,
	       cli_style_off(c, style), col->right || last ? 0 : (int)pad, "");
	if (!last)
		printf("%*s", GAP, "");
}

/* The last one with text, so that no line ends in blanks; cells NULL: of the titles. */
static unsigned last_column(const struct cli_table *t, const unsigned *widths,
			    const struct cell *cells)
{
	unsigned last = 0;

	for (unsigned i = 0; i < t->n; i++) {
		if (widths[i] && (!cells || cells[i].width))
			last = i;
	}
	return last;
}

static void print_row(struct cli *c, struct cli_table *t, const unsigned *widths,
		      struct cell *cells)
{
	unsigned last = last_column(t, widths, cells);

	for (unsigned i = 0; i <= last; i++) {
		if (widths[i])
			print_cell(c, &t->columns[i], cells[i].text, widths[i], cells[i].style,
				   i == last);
	}
	putchar('\n');
}

static void print_titles(struct cli *c, const struct cli_table *t, const unsigned *widths)
{
	unsigned last = last_column(t, widths, NULL);
	char title[32];

	for (unsigned i = 0; i <= last; i++) {
		snprintf(title, sizeof(title), "%s", t->columns[i].title);
		if (widths[i])
			print_cell(c, &t->columns[i], title, widths[i], STYLE_HEAD, i == last);
	}
	putchar('\n');
}

void cli_table_end(struct cli *c, struct cli_table *t)
{
	unsigned *widths = t ? calloc(t->n, sizeof(*widths)) : NULL;

	if (!widths || t->failed) {
		c->short_of_memory = true;
	} else {
		measure(t, widths);
		if (c->width)
			fit(t, widths, c->width);
		print_titles(c, t, widths);
		for (size_t i = 0; i + t->n <= t->count; i += t->n)
			print_row(c, t, widths, &t->cells[i]);
	}
	for (size_t i = 0; t && i < t->count; i++)
		free(t->cells[i].text);
	if (t)
		free(t->cells);
	free(t);
	free(widths);
}
