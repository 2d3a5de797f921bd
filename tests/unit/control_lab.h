/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * A control socket served by a child process with a played engine, and clients
 * of it. Included by the tests of the control API, once each.
 */
#ifndef GATE25_TESTS_CONTROL_LAB_H
#define GATE25_TESTS_CONTROL_LAB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "control.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STAFF	    64001
#define READERS	    64002
#define STRANGER    64100
#define MAX_VMS	    4096
#define ANSWER_MAX  (1 << 20)
#define PATIENCE_MS 10000
#define COUNT(a)    (sizeof(a) / sizeof((a)[0]))

/* ---- the engine, played: one VM; vm:nobody is unknown, vm:conflict conflicts ---- */

static struct gate_vm_spec web1 = {
	.name = "web1", .registered = true, .tenant = "acme", .binding = -1
};
static void (*listener)(void *, const struct gate_notice *);
static void *listener_arg;

const struct gate_vm_spec *gate_engine_vm(struct gate_engine *e, uint32_t slot)
{
	return slot == 1 ? &web1 : NULL;
}

int gate_engine_slot(struct gate_engine *e, const struct gate_subject *s)
{
	return s->kind == GATE_S_VM && !strcmp(s->name, "web1") ? 1 : -ENOENT;
}

void gate_engine_slot_subject(struct gate_engine *e, uint32_t slot, struct gate_subject *out)
{
	*out = (struct gate_subject){ .kind = GATE_S_VM, .name = "web1" };
}

void gate_engine_counters(struct gate_engine *e, uint32_t slot, struct gate_counters *out,
			  uint32_t *flows_active)
{
	*out = (struct gate_counters){ .flows_admitted = 12 };
	*flows_active = 1;
}

void gate_engine_totals(struct gate_engine *e, struct gate_counters *out, uint32_t *flows_active)
{
	gate_engine_counters(e, 1, out, flows_active);
}

int gate_engine_effective(struct gate_engine *e, const struct gate_subject *s, uint16_t on,
			  struct gate_effective *out, struct gate_error *err)
{
	*out = (struct gate_effective){ .state = GATE_LIMIT, .source = "default" };
	return 0;
}

const struct gate_own *gate_engine_own(struct gate_engine *e, const struct gate_subject *s)
{
	return NULL;
}

void gate_engine_ports(struct gate_engine *e, void (*cb)(void *, const struct gate_port_info *),
		       void *arg)
{
}

void gate_engine_problems(struct gate_engine *e, void (*cb)(void *, const struct gate_problem *),
			  void *arg)
{
}

bool gate_engine_learned(struct gate_engine *e, uint32_t slot, struct gate_learned *out)
{
	*out = (struct gate_learned){ 0 };
	return false;
}

void gate_engine_problem_set(struct gate_engine *e, const char *code, const char *key,
			     const char *fmt, ...)
{
}

void gate_engine_problem_clear(struct gate_engine *e, const char *code, const char *key)
{
}

int gate_engine_resolve(struct gate_engine *e, const struct gate_subject *in,
			struct gate_subject *out, struct gate_error *err)
{
	if (!strcmp(in->name, "nobody"))
		return gate_error_set(err, GATE_ERR_NO_SUBJECT, "there is no vm:nobody");
	*out = *in;
	return 0;
}

int gate_engine_change(struct gate_engine *e, const struct gate_actor *who,
		       const struct gate_change *c, struct gate_error *err)
{
	struct gate_notice n = { .kind = GATE_N_POLICY, .time_ms = 1700000000123LL };

	if (!strcmp(c->subject.name, "conflict"))
		return gate_error_set(err, GATE_ERR_CONFLICT, "it belongs to vm:other");
	snprintf(n.subject, sizeof(n.subject), "vm:%s", c->subject.name);
	snprintf(n.text, sizeof(n.text), "%s: %s", who->name, c->reason);
	listener(listener_arg, &n);
	return 0;
}

int gate_engine_vm_put(struct gate_engine *e, const struct gate_actor *who,
		       const struct gate_vm_spec *vm, bool create, bool must_exist,
		       const char *reason, struct gate_error *err)
{
	return 0;
}

int gate_engine_vm_del(struct gate_engine *e, const struct gate_actor *who, const char *name,
		       const char *reason, struct gate_error *err)
{
	return 0;
}

int gate_engine_export(struct gate_engine *e, int (*cb)(void *, const struct gate_set_item *),
		       void *arg)
{
	struct gate_set_item it = { .is_vm = true, .vm = web1 };

	return cb(arg, &it);
}

int gate_engine_apply_set(struct gate_engine *e, const struct gate_actor *who,
			  const struct gate_set_item *items, size_t n, bool dry_run,
			  void (*diff)(void *, const char *line), void *arg, struct gate_error *err)
{
	char line[100];
	size_t i;

	for (i = 0; i < n; i++) {
		snprintf(line, sizeof(line), "+ vm:%s", items[i].vm.name);
		diff(arg, line);
	}
	return 0;
}

int gate_engine_audit(struct gate_engine *e, const struct gate_subject *s, unsigned limit,
		      int (*cb)(void *, const struct gate_audit_row *), void *arg,
		      struct gate_error *err)
{
	struct gate_audit_row row = { .id = 1,
				      .time = 1700000000,
				      .actor = "root",
				      .subject = "vm:web1",
				      .action = "block",
				      .detail = "{}" };

	return cb(arg, &row);
}

void gate_engine_notes(struct gate_engine *e, const struct gate_subject *s,
		       void (*cb)(void *, const char *), void *arg)
{
	cb(arg, "a note");
}

int gate_engine_shadow_set(struct gate_engine *e, const struct gate_set_item *items, size_t n,
			   bool begin, struct gate_shadow_result *out, struct gate_error *err)
{
	*out = (struct gate_shadow_result){ .subjects = n };
	return 0;
}

void gate_engine_shadow_end(struct gate_engine *e)
{
}

void gate_engine_listen(struct gate_engine *e, void (*cb)(void *, const struct gate_notice *),
			void *arg)
{
	listener = cb;
	listener_arg = arg;
}

void gate_engine_event(struct gate_engine *e, const struct gate_event *ev)
{
}

int gate_engine_report(struct gate_engine *e, const struct gate_subject *s, int64_t since,
		       struct gate_report *out, struct gate_error *err)
{
	*out = (struct gate_report){ .nrefusals = 1 };
	out->refusals[0] =
		(struct gate_refusal){ .time_ms = 1700000000123LL, .reason = GATE_R_LIMIT_RATE };
	return 0;
}

void gate_report_clear(struct gate_report *r)
{
}

int gate_engine_undo(struct gate_engine *e, const struct gate_actor *who, int64_t id,
		     const char *reason, struct gate_undone *out, struct gate_error *err)
{
	if (id == 404)
		return gate_error_set(err, GATE_ERR_NO_SUBJECT, "there is no change 404");
	*out = (struct gate_undone){ .id = id ? id : 7, .action = "block", .actor = "alice" };
	out->subject = (struct gate_subject){ .kind = GATE_S_VM, .name = "web1" };
	return 0;
}

void gate_engine_notice(struct gate_engine *e, const struct gate_notice *n)
{
}

/* ---- the server ---- */

static char dir[] = "/tmp/test_control.XXXXXX";
static struct sockaddr_un address = { .sun_family = AF_UNIX };
static pid_t server;

static inline int on_term(sd_event_source *s, const struct signalfd_siginfo *si, void *arg)
{
	return sd_event_exit(sd_event_source_get_event(s), 0);
}

_Noreturn static inline void serve(void)
{
	static struct gate_conf conf = { .max_vms = MAX_VMS, .nports = 1, .ports = { 25 } };
	static struct gate_global global;
	static struct gate_vm vms[MAX_VMS];
	static struct gate_bucket_set buckets[64];
	static struct gate_maps maps = { .ports = -1,
					 .mac_owner = -1,
					 .ip_owner = -1,
					 .macs = -1,
					 .ips = -1,
					 .exempt = -1,
					 .reasons = -1,
					 .untold = -1,
					 .events = -1,
					 .conf = &conf,
					 .global = &global,
					 .vms = vms,
					 .buckets = buckets,
					 .scopes = 1,
					 .ncpus = 1 };
	struct gate_config c = { .socket = address.sun_path,
				 .group = (char *)"64001",
				 .readers = (char *)"64002" };
	struct gate_control_setup s = { .maps = &maps, .hook = "tcx" };
	struct gate_control *ctl;
	struct gate_error err;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (sd_event_default(&s.ev) < 0 ||
	    sd_event_add_signal(s.ev, NULL, SIGTERM, on_term, NULL) < 0)
		_exit(10);
	if (gate_events_open(&s.events, NULL, NULL, &maps, &err) ||
	    gate_control_open(&ctl, &s, &c, &err)) {
		fprintf(stderr, "%s\n", err.message);
		_exit(11);
	}
	if (sd_event_loop(s.ev) < 0)
		_exit(12);
	gate_control_close(ctl);
	gate_events_close(s.events);
	sd_event_unref(s.ev);
	_exit(0);
}

/* ---- clients ---- */

static inline int try_dial(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static inline int dial(void)
{
	int fd = try_dial();

	if (fd < 0)
		fail_msg("cannot connect: %s", strerror(errno));
	return fd;
}

static inline void say(int fd, const char *text, size_t len)
{
	ssize_t n;

	while (len) {
		n = send(fd, text, len, MSG_NOSIGNAL);
		if (n <= 0)
			return; /* the server had enough: the answer tells */
		text += n;
		len -= (size_t)n;
	}
}

/* Reads until `until` is in the answer (NULL: to the end). */
static inline char *hear(int fd, const char *until)
{
	static char answer[ANSWER_MAX];
	struct pollfd p = { .fd = fd, .events = POLLIN };
	size_t len = 0;
	ssize_t n;

	answer[0] = '\0';
	while (len < sizeof(answer) - 1 && !(until && strstr(answer, until))) {
		if (poll(&p, 1, PATIENCE_MS) != 1)
			fail_msg("no answer: \"%.200s\"", answer);
		n = recv(fd, answer + len, sizeof(answer) - 1 - len, 0);
		if (n <= 0)
			break;
		len += (size_t)n;
		answer[len] = '\0';
	}
	return answer;
}

static inline char *ask(const char *request)
{
	int fd = dial();
	char *answer;

	say(fd, request, strlen(request));
	answer = hear(fd, NULL);
	close(fd);
	return answer;
}

static inline void still_answers(void)
{
	char *answer = ask("GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");

	if (!strstr(answer, "HTTP/1.1 200") || !strstr(answer, "\"flows_admitted\":12"))
		fail_msg("status: %s", answer);
}

static inline int setup(void **state)
{
	struct timespec nap = { .tv_nsec = 5000000 };
	int i, fd;

	if (!mkdtemp(dir) || chmod(dir, 0755))
		return -1;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/sock", dir);
	/* what a dead daemon left */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)))
		return -1;
	close(fd);
	server = fork();
	if (!server)
		serve();
	for (i = 0; i < 1000; i++) {
		fd = try_dial();
		if (fd >= 0) {
			close(fd);
			return 0;
		}
		nanosleep(&nap, NULL);
	}
	return -1;
}

static inline int teardown(void **state)
{
	int status;

	kill(server, SIGTERM);
	waitpid(server, &status, 0);
	if (status)
		fprintf(stderr, "the server ended with %d\n", status);
	return status || rmdir(dir) ? -1 : 0; /* it took its socket away */
}

#endif
