// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The socket itself: made, guarded, counted, taken away. */
#include "control_priv.h"
#include "log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BACKLOG		  128
#define CHECK_EVERY_US	  (5 * 1000000ULL)
#define CHECK_ACCURACY_US 1000000

#define failed(err, ...) gate_error_set(err, GATE_ERR_FAILED, __VA_ARGS__)

static int make_address(const char *path, struct sockaddr_un *a, struct gate_error *err)
{
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(a->sun_path))
		return gate_error_set(err, GATE_ERR_USAGE,
				      "the control socket's path is longer than %zu bytes: %s",
				      sizeof(a->sun_path) - 1, path);
	strcpy(a->sun_path, path);
	return 0;
}

int gate_control_probe(const char *path, struct gate_error *err)
{
	struct sockaddr_un a;
	struct stat st;
	int fd, r;

	r = make_address(path, &a, err);
	if (r)
		return r;
	if (lstat(path, &st) < 0)
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return failed(err, "%s is there and is no socket: not replaced", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return failed(err, "no socket: %s", strerror(errno));
	r = connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ? errno : 0;
	close(fd);
	if (r == ECONNREFUSED || r == ENOENT)
		return 0;
	return gate_error_set(err, GATE_ERR_CONFLICT, "another gate25d answers on %s", path);
}

/* Mode and group say who may connect at all; what they may do is asked per connection. */
static int guard(struct gate_control *ctl, const struct gate_config *c, struct gate_error *err)
{
	struct gate_peer_policy policy = { GATE_NO_GROUP, GATE_NO_GROUP };

	if (gate_peer_group(c->group, &policy.group))
		gate_engine_problem_set(ctl->setup.engine, "control_group", "group",
					"there is no group %s: only root may change policy; make "
					"it, then reload gate25d",
					c->group);
	else
		gate_engine_problem_clear(ctl->setup.engine, "control_group", "group");
	if (gate_peer_group(c->readers, &policy.readers))
		log_warning("there is no group %s: it is ignored as [control] readers", c->readers);
	if (policy.group != GATE_NO_GROUP && chown(ctl->path, (uid_t)-1, policy.group) < 0)
		log_warning("cannot give %s to group %s: %s", ctl->path, c->group, strerror(errno));
	if (chmod(ctl->path, policy.readers == GATE_NO_GROUP ? 0660 : 0666) < 0)
		return failed(err, "cannot set the mode of %s: %s", ctl->path, strerror(errno));
	ctl->policy = policy;
	snprintf(ctl->host.contact, sizeof(ctl->host.contact), "%s", c->contact ? c->contact : "");
	return 0;
}

/* The directory of the default path lives on a tmpfs and is gone after a reboot. */
static void make_directory(const char *path)
{
	const char *slash = strrchr(path, '/');
	char dir[sizeof(((struct sockaddr_un *)0)->sun_path)];

	if (!slash || slash == path)
		return;
	snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path), path);
	mkdir(dir, 0755);
}

static int listen_there(struct gate_control *ctl, const struct gate_config *c, int *out,
			struct gate_error *err)
{
	struct sockaddr_un a;
	mode_t mask;
	int fd, r;

	r = gate_control_probe(c->socket, err);
	if (!r)
		r = make_address(c->socket, &a, err);
	if (r)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return failed(err, "no socket: %s", strerror(errno));
	make_directory(c->socket);
	unlink(c->socket);
	mask = umask(0177);
	r = bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ? -errno : 0;
	umask(mask);
	if (r) {
		close(fd);
		return failed(err, "cannot make the control socket %s: %s", c->socket,
			      strerror(-r));
	}
	strcpy(ctl->path, a.sun_path);
	r = guard(ctl, c, err);
	if (!r && listen(fd, BACKLOG) < 0)
		r = failed(err, "cannot listen on %s: %s", ctl->path, strerror(errno));
	if (r)
		close(fd);
	else
		*out = fd;
	return r;
}

/* How many connections the peer's uid has, this one included. */
static unsigned count_of(const struct gate_control *ctl, uid_t uid)
{
	const struct connection *c;
	unsigned n = 0;

	for (c = ctl->connections; c; c = c->next)
		n += c->peer.uid == uid;
	return n;
}

static bool is_one_too_many(const struct gate_control *ctl, const struct gate_peer *p)
{
	const struct connection *c;
	unsigned n = 0;

	if (p->right != GATE_RIGHT_NONE)
		return p->uid && count_of(ctl, p->uid) > CONTROL_PER_UID;
	for (c = ctl->connections; c; c = c->next)
		n += c->peer.right == GATE_RIGHT_NONE;
	return n > CONTROL_NO_RIGHT || count_of(ctl, p->uid) > CONTROL_PER_UID_NO_RIGHT;
}

static void greet(struct gate_control *ctl, struct MHD_Connection *mhd, void **context)
{
	int fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	struct connection *c = calloc(1, sizeof(*c));

	if (!c || gate_peer_get(fd, &ctl->policy, &c->peer)) {
		free(c);
		shutdown(fd, SHUT_RDWR);
		return;
	}
	c->fd = fd;
	c->next = ctl->connections;
	c->prev = &ctl->connections;
	if (c->next)
		c->next->prev = &c->next;
	ctl->connections = c;
	*context = c;
	if (is_one_too_many(ctl, &c->peer))
		shutdown(fd, SHUT_RDWR);
}

static void on_connection(void *arg, struct MHD_Connection *mhd, void **context,
			  enum MHD_ConnectionNotificationCode what)
{
	struct connection *c = *context;

	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		greet(arg, mhd, context);
	} else if (c) {
		*c->prev = c->next;
		if (c->next)
			c->next->prev = c->prev;
		free(c);
		*context = NULL;
	}
}

static int on_check(sd_event_source *s, uint64_t usec, void *arg)
{
	struct gate_control *ctl = arg;

	gate_control_followers_check(ctl);
	sd_event_source_set_time_relative(s, CHECK_EVERY_US);
	sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
	return 0;
}

int gate_control_open(struct gate_control **out, const struct gate_control_setup *s,
		      const struct gate_config *c, struct gate_error *err)
{
	struct gate_control *ctl = calloc(1, sizeof(*ctl));
	struct gate_http_setup http = {
		.fd = -1,
		.connections = CONTROL_CONNECTIONS,
		.timeout_s = CONTROL_TIMEOUT_S,
		.what = "the control socket",
		.handler = gate_control_handle,
		.completed = gate_control_completed,
		.connection = on_connection,
		.arg = ctl,
	};
	int r;

	if (!ctl)
		return failed(err, "out of memory");
	ctl->setup = *s;
	ctl->host = (struct gate_show_host){ .hook = s->hook, .started = time(NULL) };
	r = listen_there(ctl, c, &http.fd, err);
	if (!r)
		r = gate_http_open(&ctl->http, s->ev, &http, err);
	if (!r && sd_event_add_time_relative(s->ev, &ctl->check, CLOCK_MONOTONIC, CHECK_EVERY_US,
					     CHECK_ACCURACY_US, on_check, ctl) < 0)
		r = failed(err, "no timer for the control socket");
	if (r) {
		gate_control_close(ctl);
		return r;
	}
	gate_events_on_follow(s->events, gate_control_followers_wake, ctl);
	*out = ctl;
	return 0;
}

/* Who may do less than before is hung up on: to follow the events is one long request. */
static void take_rights_away(struct gate_control *ctl)
{
	struct connection *c;
	struct gate_peer peer;

	for (c = ctl->connections; c; c = c->next)
		if (gate_peer_get(c->fd, &ctl->policy, &peer) || peer.right < c->peer.right)
			shutdown(c->fd, SHUT_RDWR);
}

int gate_control_reconfigure(struct gate_control *ctl, const struct gate_config *c,
			     struct gate_error *err)
{
	int r = guard(ctl, c, err);

	if (!r)
		take_rights_away(ctl);
	return r;
}

void gate_control_set_why(struct gate_control *ctl, gate_why_fn why, void *arg)
{
	ctl->why = why;
	ctl->why_arg = arg;
}

void gate_control_close(struct gate_control *ctl)
{
	if (!ctl)
		return;
	ctl->closing = true;
	gate_events_on_follow(ctl->setup.events, NULL, NULL);
	sd_event_source_disable_unref(ctl->check);
	gate_control_followers_end(ctl);
	if (ctl->path[0])
		unlink(ctl->path);
	gate_http_close(ctl->http);
	free(ctl);
}
