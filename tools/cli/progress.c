// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* How far long work has come, on a terminal's stderr, where stdout does not tell it. */
#include "cli.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define QUIET_NS 500000000LL /* work that is done sooner says nothing */
#define EVERY_NS 100000000LL

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void cli_progress_begin(struct cli_progress *p, const struct cli *c, size_t all)
{
	*p = (struct cli_progress){ .all = all, .next_ns = now_ns() + QUIET_NS };
	p->name = c->command ? c->command->name : "";
	/* results that scroll by on the same terminal tell as much */
	p->on = isatty(STDERR_FILENO) && !isatty(STDOUT_FILENO);
}

void cli_progress_step(struct cli_progress *p, size_t done)
{
	int64_t now;

	if (!p->on)
		return;
	now = now_ns();
	if (now < p->next_ns)
		return;
	p->next_ns = now + EVERY_NS;
	p->shown = true;
	fprintf(stderr, "\rgate25: %s: %zu of %zu", p->name, done, p->all);
	fflush(stderr);
}

void cli_progress_clear(struct cli_progress *p)
{
	if (p->shown)
		fputs("\r\033[K", stderr);
	p->shown = false;
}

void cli_progress_end(struct cli_progress *p)
{
	cli_progress_clear(p);
	p->on = false;
}
