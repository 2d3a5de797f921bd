// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "notify.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PER_MINUTE	12 /* commands, at most */
#define FOR_OTHERS	4  /* of these, kept free of refusals */
#define AT_ONCE		4  /* running ones */
#define COMMAND_SECONDS 30 /* then it is killed */
#define QUEUE_MAX	32 /* events that wait for a command to end */

struct child {
	struct gate_notify *owner;
	sd_event_source *exit, *limit;
	pid_t pid;
};

/* One event that waits. */
struct waiting {
	char *text;
	size_t len;
};

struct gate_notify {
	sd_event *ev;
	struct gate_events *events;
	char *command;
	struct child child[AT_ONCE];
	struct waiting queue[QUEUE_MAX]; /* a ring: `first` is the oldest */
	unsigned first, nqueue;
	int64_t minute;
	unsigned in_minute, withheld;
};

static bool worth_telling(const struct gate_notice *notice)
{
	switch (notice->kind) {
	case GATE_N_REFUSED:
		return notice->first;
	case GATE_N_POLICY:
		return notice->action && !strcmp(notice->action, "quarantine");
	case GATE_N_EXPIRED:
	case GATE_N_GAP:
		return true;
	default:
		return false;
	}
}

/* So many were not passed on since this was last said. */
static void tell_withheld(struct gate_notify *n)
{
	if (n->withheld)
		log_warning("notify: %u events were not passed on; the limit is %d a minute",
			    n->withheld, PER_MINUTE);
	n->withheld = 0;
}

/* A night of refusals must not hide the one gap. */
static bool within_ration(struct gate_notify *n, const struct gate_notice *notice)
{
	unsigned most = notice->kind == GATE_N_REFUSED ? PER_MINUTE - FOR_OTHERS : PER_MINUTE;
	int64_t now_s = notice->time_ms / 1000;

	if (now_s / 60 != n->minute) {
		tell_withheld(n);
		n->minute = now_s / 60;
		n->in_minute = 0;
	}
	if (n->in_minute >= most) {
		n->withheld++;
		return false;
	}
	n->in_minute++;
	return true;
}

static void drop_child(struct child *c)
{
	c->exit = sd_event_source_disable_unref(c->exit);
	c->limit = sd_event_source_disable_unref(c->limit);
	c->pid = 0;
}

static void start(struct gate_notify *n, const char *text, size_t len);

static void start_next(struct gate_notify *n)
{
	struct waiting next = n->queue[n->first];

	if (!n->nqueue)
		return;
	n->first = (n->first + 1) % QUEUE_MAX;
	n->nqueue--;
	start(n, next.text, next.len);
	free(next.text);
}

static int on_exit_of_child(sd_event_source *s, const siginfo_t *si, void *arg)
{
	struct child *c = arg;

	if (si->si_code != CLD_EXITED || si->si_status)
		log_warning("notify: the command ended with %s %d",
			    si->si_code == CLD_EXITED ? "status" : "signal", si->si_status);
	drop_child(c);
	start_next(c->owner);
	return 0;
}

static int on_limit(sd_event_source *s, uint64_t usec, void *arg)
{
	struct child *c = arg;

	log_warning("notify: the command ran longer than %d s and was killed", COMMAND_SECONDS);
	kill(-c->pid, SIGKILL);
	return 0;
}

/* Child side: nothing of the daemon's rights or signal settings goes along. */
_Noreturn static void run(const char *command, int in)
{
	sigset_t none;
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	setpgid(0, 0);
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (dup2(in, STDIN_FILENO) >= 0 && null >= 0 && dup2(null, STDOUT_FILENO) >= 0)
		execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	_exit(127);
}

static int watch(struct gate_notify *n, struct child *c)
{
	int r;

	r = sd_event_add_child(n->ev, &c->exit, c->pid, WEXITED, on_exit_of_child, c);
	if (r >= 0)
		r = sd_event_add_time_relative(n->ev, &c->limit, CLOCK_MONOTONIC,
					       COMMAND_SECONDS * 1000000ULL, 1000000, on_limit, c);
	return r;
}

static void put_in_queue(struct gate_notify *n, const char *text, size_t len)
{
	struct waiting *w = &n->queue[(n->first + n->nqueue) % QUEUE_MAX];

	w->text = n->nqueue < QUEUE_MAX ? malloc(len) : NULL;
	if (!w->text) {
		n->withheld++;
		return;
	}
	memcpy(w->text, text, len);
	w->len = len;
	n->nqueue++;
}

static void start(struct gate_notify *n, const char *text, size_t len)
{
	struct child *c = n->child;
	int pipefd[2];

	while (c < n->child + AT_ONCE && c->pid)
		c++;
	if (c == n->child + AT_ONCE) {
		put_in_queue(n, text, len);
		return;
	}
	if (!n->command)
		return;
	if (pipe2(pipefd, O_CLOEXEC | O_NONBLOCK) < 0) {
		log_warning("notify: no pipe: %s", strerror(errno));
		return;
	}
	/* the reader's end blocks as a command expects; a line fits into the empty pipe */
	fcntl(pipefd[0], F_SETFL, 0);
	if (write(pipefd[1], text, len) != (ssize_t)len)
		log_warning("notify: an event was cut short");
	c->pid = fork();
	if (c->pid == 0)
		run(n->command, pipefd[0]);
	close(pipefd[0]);
	close(pipefd[1]);
	if (c->pid < 0) {
		log_warning("notify: cannot run the command: %s", strerror(errno));
		c->pid = 0;
	} else if (watch(n, c) < 0) {
		drop_child(c);
	}
}

static void on_notice(void *arg, const struct gate_notice *notice,
		      const struct gate_event_line *line)
{
	struct gate_notify *n = arg;

	if (n->command && worth_telling(notice) && within_ration(n, notice))
		start(n, line->text, line->len);
}

int gate_notify_set_command(struct gate_notify *n, const char *command)
{
	char *copy = NULL;

	if (command && *command) {
		copy = strdup(command);
		if (!copy)
			return -ENOMEM;
	}
	free(n->command);
	n->command = copy;
	return 0;
}

int gate_notify_open(struct gate_notify **out, sd_event *ev, struct gate_events *v,
		     const char *command, struct gate_error *err)
{
	struct gate_notify *n = calloc(1, sizeof(*n));
	unsigned i;

	if (!n || gate_notify_set_command(n, command)) {
		free(n);
		return gate_error_set(err, GATE_ERR_FAILED, "out of memory");
	}
	n->ev = ev;
	n->events = v;
	for (i = 0; i < AT_ONCE; i++)
		n->child[i].owner = n;
	gate_events_on_notify(v, on_notice, n);
	*out = n;
	return 0;
}

void gate_notify_close(struct gate_notify *n)
{
	unsigned i;

	if (!n)
		return;
	gate_events_on_notify(n->events, NULL, NULL);
	for (i = 0; i < AT_ONCE; i++)
		drop_child(&n->child[i]);
	for (; n->nqueue; n->nqueue--, n->first = (n->first + 1) % QUEUE_MAX) {
		free(n->queue[n->first].text);
		n->withheld++;
	}
	tell_withheld(n);
	free(n->command);
	free(n);
}
