// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "clirun.h"

#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define MAX_ARGS   32
#define DEADLINE_S 10

static char dir[] = "/tmp/gate25-cli-XXXXXX";
char cli_run_socket[64], cli_run_out[64], cli_run_err[64], cli_run_in[64], cli_run_request[64];
static int (*program)(int, char **);

/* ---- files ---- */

char *cli_run_slurp(const char *path)
{
	FILE *f = fopen(path, "r");
	char *text = NULL;
	size_t room = 0;

	if (!f || getdelim(&text, &room, '\0', f) < 0) {
		free(text);
		text = strdup("");
	}
	if (f)
		fclose(f);
	return text;
}

void cli_run_put(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

/* ---- the server ---- */

int cli_run_listen(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, cli_run_socket);
	unlink(cli_run_socket);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 8), 0);
	return fd;
}

/* Has all of the request come? By its length, or by the last chunk. */
static bool complete(const char *data, size_t len)
{
	const char *end = memmem(data, len, "\r\n\r\n", 4), *field;

	if (!end)
		return false;
	field = memmem(data, len, "Content-Length: ", 16);
	if (field && field < end)
		return len >= (size_t)(end + 4 - data) + strtoul(field + 16, NULL, 10);
	if (memmem(data, (size_t)(end - data), "chunked", 7))
		return len >= 5 && memcmp(data + len - 5, "0\r\n\r\n", 5) == 0;
	return true;
}

static void serve_one(int fd, const char *answer, size_t len, enum cli_run_manner manner)
{
	static char data[4 << 20];
	size_t got = 0;
	FILE *f;

	while (manner != CLI_RUN_HANG_UP && !complete(data, got)) {
		ssize_t n = recv(fd, data + got, sizeof(data) - got, 0);

		if (n <= 0)
			break;
		got += (size_t)n;
	}
	f = fopen(cli_run_request, "a");
	if (f) {
		fwrite(data, 1, got, f);
		fclose(f);
	}
	for (size_t at = 0; at < len && manner != CLI_RUN_HANG_UP;) {
		ssize_t n = send(fd, answer + at, manner == CLI_RUN_BY_BYTES ? 1 : len - at,
				 MSG_NOSIGNAL);

		if (n <= 0)
			break;
		at += (size_t)n;
	}
	close(fd);
}

/* Answers `times` requests in a child of its own. */
pid_t cli_run_serve(const char *const *answers, const size_t *lengths, unsigned times,
		    enum cli_run_manner manner)
{
	int listener = cli_run_listen();
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid > 0) {
		close(listener);
		return pid;
	}
	alarm(DEADLINE_S);
	for (unsigned i = 0; i < times; i++) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			_exit(1);
		serve_one(fd, answers[i], lengths ? lengths[i] : strlen(answers[i]), manner);
	}
	_exit(0);
}

void cli_run_end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	unlink(cli_run_socket);
}

/* ---- the CLI ---- */

/* "gate25 --socket S" and the words of `line`; '|' stands for a blank in a word. */
static int split(char *line, char **argv)
{
	int n = 0;

	argv[n++] = (char *)"gate25";
	argv[n++] = (char *)"--socket";
	argv[n++] = cli_run_socket;
	for (char *word = strtok(line, " "); word; word = strtok(NULL, " ")) {
		for (char *p = word; *p; p++)
			*p = *p == '|' ? ' ' : *p;
		assert_true(n < MAX_ARGS - 1);
		argv[n++] = word;
	}
	argv[n] = NULL;
	return n;
}

int cli_run_argv(int argc, char **argv)
{
	pid_t pid;
	int status;

	unlink(cli_run_request);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		alarm(DEADLINE_S);
		if (!freopen(cli_run_out, "w", stdout) || !freopen(cli_run_err, "w", stderr) ||
		    !freopen(cli_run_in, "r", stdin))
			_exit(99);
		unsetenv("SUDO_USER");
		status = program(argc, argv);
		/* reopened, stderr is buffered like any file */
		fflush(NULL);
		_exit(status);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int words_of(const char *line, char *copy, size_t size, char **argv)
{
	size_t len = strlen(line);
	int argc;

	assert_true(len < size);
	strcpy(copy, line);
	argc = split(copy, argv);
	if (len > 0 && line[len - 1] == ' ')
		argv[argc++] = (char *)"";
	argv[argc] = NULL;
	return argc;
}

int cli_run(const char *line)
{
	char copy[1024], *argv[MAX_ARGS];
	int argc = words_of(line, copy, sizeof(copy), argv);

	return cli_run_argv(argc, argv);
}

/* Until the child closes its side, which reads as EIO. */
static void keep_screen(int fd)
{
	FILE *f = fopen(cli_run_out, "w");
	char data[4096];
	ssize_t n;

	assert_non_null(f);
	while ((n = read(fd, data, sizeof(data))) > 0)
		fwrite(data, 1, (size_t)n, f);
	fclose(f);
	close(fd);
}

int cli_run_terminal(const char *line, unsigned columns)
{
	struct winsize size = { .ws_row = 24, .ws_col = (unsigned short)columns };
	char copy[1024], *argv[MAX_ARGS];
	int argc = words_of(line, copy, sizeof(copy), argv), fd, status;
	pid_t pid = forkpty(&fd, NULL, NULL, &size);

	assert_true(pid >= 0);
	if (pid == 0) {
		alarm(DEADLINE_S);
		setenv("TERM", "xterm", 1);
		status = program(argc, argv);
		fflush(NULL);
		_exit(status);
	}
	keep_screen(fd);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

void cli_run_one_error(const char *says)
{
	char *err = cli_run_slurp(cli_run_err);

	print_message("    %s", err);
	assert_ptr_equal(strstr(err, "gate25: "), err);
	assert_ptr_equal(strchr(err, '\n'), err + strlen(err) - 1);
	assert_non_null(strstr(err, says));
	free(err);
}

/* ---- set-up ---- */

int cli_run_set_up(int (*main_fn)(int, char **))
{
	static const struct {
		char *path;
		const char *name;
	} files[] = {
		{ cli_run_socket, "s" }, { cli_run_out, "out" },	 { cli_run_err, "err" },
		{ cli_run_in, "in" },	 { cli_run_request, "request" },
	};

	program = main_fn;
	if (!mkdtemp(dir))
		return -1;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		snprintf(files[i].path, sizeof(cli_run_in), "%s/%s", dir, files[i].name);
	cli_run_put(cli_run_in, "");
	return 0;
}

int cli_run_tear_down(void)
{
	unlink(cli_run_socket);
	unlink(cli_run_out);
	unlink(cli_run_err);
	unlink(cli_run_in);
	unlink(cli_run_request);
	return rmdir(dir);
}
