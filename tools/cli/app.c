// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "cli.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static void look_at_terminal(struct cli *c)
{
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
	struct winsize size;

	if (!isatty(STDOUT_FILENO))
		return;
	/* no-color.org: set and not empty */
	c->color = !(no_color && *no_color) && term && strcmp(term, "dumb") != 0;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
		c->width = size.ws_col;
}

int cli_main(int argc, char **argv)
{
	struct cli c = { .argv = argv, .socket = CLI_DEFAULT_SOCKET };
	int ret;

	/* A reader that is gone is an error of the write, which cli_finish() sees. */
	signal(SIGPIPE, SIG_IGN);
	look_at_terminal(&c);
	ret = cli_parse(&c, argc, argv);
	if (!ret && c.help)
		ret = cli_help(&c, c.named ? c.command : NULL);
	else if (!ret && c.version)
		ret = cmd_version(&c);
	else if (!ret)
		ret = c.command->run(&c);
	ret = cli_finish(&c, ret);
	cli_clear(&c);
	return ret;
}
