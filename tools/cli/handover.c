// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The commands that need libraries of their own: the screen, BPF, netlink, XML. They are
 * in gate25-more, which is this program and those commands; it takes over here, so that
 * all others start without what they do not need, in half the time.
 */
#include "cli.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* As it is built and as it is installed, seen from the directory of gate25. */
static const char *const places[] = { "gate25-more", "../libexec/gate25/gate25-more" };

/* Returns only where it fails, with errno. */
static void run_more(char **argv)
{
	char own[PATH_MAX], path[PATH_MAX + 64];
	ssize_t len = readlink("/proc/self/exe", own, sizeof(own) - 1);
	char *name;

	if (len < 0)
		return;
	own[len] = '\0';
	name = strrchr(own, '/');
	if (name)
		*name = '\0';
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", own, places[i]);
		execv(path, argv);
		if (errno != ENOENT)
			return;
	}
}

static int hand_over(struct cli *c)
{
	struct gate_error err;

	run_more(c->argv);
	gate_error_set(&err, GATE_ERR_FAILED,
		       "%s: cannot start gate25-more, which it is part of: %s", c->command->name,
		       strerror(errno));
	return cli_fail(c, &err);
}

int cmd_top(struct cli *c)
{
	return hand_over(c);
}

int cmd_doctor(struct cli *c)
{
	return hand_over(c);
}

int cmd_detach(struct cli *c)
{
	return hand_over(c);
}

int cmd_vm_import(struct cli *c)
{
	return hand_over(c);
}
