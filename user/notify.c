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

#define PER_MINUTE	12   /* commands, at most */
#define AT_ONCE		4    /* running ones */
#define COMMAND_SECONDS 30   /* then it is killed */
#define SILENT_S	3600 /* a VM's refusals are a new story after this silence */
#define TOLD_SLOTS	4096 /* subjects remembered; a collision only tells twice */
#define FRESH_S		2    /* a quarantine that is this young is the one just set */

struct child {
	struct gate_notify *owner;
	sd_event_source *exit, *limit;
	pid_t pid;
};

/* When a subject was last refused something. */
struct told {
	uint64_t hash;
	int64_t last_s;
};

struct gate_notify {
	sd_event *ev;
	struct gate_events *events;
	struct gate_engine *engine;
	char *command;
	struct child child[AT_ONCE];
	int64_t minute;
	unsigned in_minute, withheld;
	struct told told[TOLD_SLOTS];
};

/* FNV-1a (draft-eastlake-fnv), good enough to tell subjects apart. */
static uint64_t hash(const char *s)
{
	uint64_t h = 0xcbf29ce484222325ULL;

	while (*s)
		h = (h ^ (unsigned char)*s++) * 0x100000001b3ULL;
	return h;
}

static bool first_refusal(struct gate_notify *n, const struct gate_notice *notice)
{
	uint64_t h = hash(notice->subject);
	struct told *t = &n->told[h % TOLD_SLOTS];
	int64_t now_s = notice->time_ms / 1000;
	bool first = t->hash != h || now_s - t->last_s > SILENT_S;

	*t = (struct told){ .hash = h, .last_s = now_s };
	return first;
}

static bool quarantine_just_set(struct gate_notify *n, const struct gate_notice *notice)
{
	const struct gate_own *own;
	struct gate_subject s;

	if (gate_parse_subject(notice->subject, &s))
		return false;
	own = gate_engine_own(n->engine, &s);
	return own && own->quarantine.on &&
	       notice->time_ms / 1000 - own->quarantine.since <= FRESH_S;
}

static bool worth_telling(struct gate_notify *n, const struct gate_notice *notice)
{
	switch (notice->kind) {
	case GATE_N_REFUSED:
		return first_refusal(n, notice);
	case GATE_N_POLICY:
		return quarantine_just_set(n, notice);
	case GATE_N_EXPIRED:
	case GATE_N_GAP:
		return true;
	default:
		return false;
	}
}

static bool within_ration(struct gate_notify *n, int64_t now_s)
{
	if (now_s / 60 != n->minute) {
		if (n->withheld)
			log_warning(
				"notify: %u events were more than %d a minute and not passed on",
				n->withheld, PER_MINUTE);
		n->minute = now_s / 60;
		n->in_minute = n->withheld = 0;
	}
	if (n->in_minute >= PER_MINUTE) {
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

static int on_exit_of_child(sd_event_source *s, const siginfo_t *si, void *arg)
{
	if (si->si_code != CLD_EXITED || si->si_status)
		log_warning("notify: the command ended with %s %d",
			    si->si_code == CLD_EXITED ? "status" : "signal", si->si_status);
	drop_child(arg);
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

static void start(struct gate_notify *n, const struct gate_event_line *line)
{
	struct child *c = n->child;
	int pipefd[2];

	while (c < n->child + AT_ONCE && c->pid)
		c++;
	if (c == n->child + AT_ONCE) {
		n->withheld++;
		return;
	}
	if (pipe2(pipefd, O_CLOEXEC | O_NONBLOCK) < 0) {
		log_warning("notify: no pipe: %s", strerror(errno));
		return;
	}
	/* the reader's end blocks as a command expects; a line fits into the empty pipe */
	fcntl(pipefd[0], F_SETFL, 0);
	if (write(pipefd[1], line->text, line->len) != (ssize_t)line->len)
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

	if (n->command && worth_telling(n, notice) && within_ration(n, notice->time_ms / 1000))
		start(n, line);
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
		     struct gate_engine *e, const char *command, struct gate_error *err)
{
	struct gate_notify *n = calloc(1, sizeof(*n));

	if (!n || gate_notify_set_command(n, command)) {
		free(n);
		return gate_error_set(err, GATE_ERR_FAILED, "out of memory");
	}
	n->ev = ev;
	n->events = v;
	n->engine = e;
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
	free(n->command);
	free(n);
}
