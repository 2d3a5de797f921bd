/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Runs the CLI in a child, its streams in files, against a server that knows no
 * HTTP: it keeps what it is sent and answers with given bytes.
 */
#ifndef GATE25_TESTS_CLIRUN_H
#define GATE25_TESTS_CLIRUN_H

#include <stddef.h>
#include <sys/types.h>

extern char cli_run_socket[64]; /* where the server listens */
extern char cli_run_in[64];	/* the CLI's stdin */
extern char cli_run_out[64], cli_run_err[64];
extern char cli_run_request[64]; /* all that the server was sent */

enum cli_run_manner {
	CLI_RUN_WHOLE,
	CLI_RUN_BY_BYTES, /* one byte at a time */
	CLI_RUN_HANG_UP	  /* closes without reading a byte */
};

int cli_run_set_up(int (*main_fn)(int, char **));
int cli_run_tear_down(void);

/* Text of a file, freed by the caller; "" if there is none. */
char *cli_run_slurp(const char *path);
void cli_run_put(const char *path, const char *text);

int cli_run_listen(void);
/* Answers `times` requests, in a child. lengths NULL: the answers are strings. */
pid_t cli_run_serve(const char *const *answers, const size_t *lengths, unsigned times,
		    enum cli_run_manner manner);
void cli_run_end(pid_t server);

/* Exit code of gate25 --socket S with these arguments. */
int cli_run_argv(int argc, char **argv);
/*
 * The same from a line: words are parted by blanks, '|' is a blank within a word,
 * and a blank at the end gives an empty last word.
 */
int cli_run(const char *line);
/* The same on a terminal so wide; what it showed goes to cli_run_out. */
int cli_run_terminal(const char *line, unsigned columns);
/* stderr is one line "gate25: ..." with this in it. */
void cli_run_one_error(const char *says);

#endif
