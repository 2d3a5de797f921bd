// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "http.h"
#include "log.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

/* Packets and ports come first: a scrape or a list may wait a moment. */
#define HTTP_PRIORITY	  10
#define TIMER_ACCURACY_US 50000
#define MEMORY		  32768 /* of a connection, as MHD has it */

struct gate_http {
	struct MHD_Daemon *mhd;
	sd_event_source *io, *timer, *again;
	bool ended; /* a connection, during this run */
	struct gate_http_setup setup;
};

/* MHD says when it wants to run next though no socket is ready; 0 = at once. */
static void arm(struct gate_http *h)
{
	MHD_UNSIGNED_LONG_LONG ms;
	uint64_t now;

	if (MHD_get_timeout(h->mhd, &ms) != MHD_YES ||
	    sd_event_now(sd_event_source_get_event(h->timer), CLOCK_MONOTONIC, &now) < 0) {
		sd_event_source_set_enabled(h->timer, SD_EVENT_OFF);
		return;
	}
	if (!ms)
		gate_http_kick(h);
	sd_event_source_set_time(h->timer, now + ms * 1000);
	sd_event_source_set_enabled(h->timer, ms ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

static void on_connection(void *arg, struct MHD_Connection *c, void **context,
			  enum MHD_ConnectionNotificationCode what)
{
	struct gate_http *h = arg;

	if (what == MHD_CONNECTION_NOTIFY_CLOSED)
		h->ended = true;
	if (h->setup.connection)
		h->setup.connection(h->setup.arg, c, context, what);
}

/*
 * When the limit of connections was reached MHD stops to listen, and listens again
 * only in the run after the one that ended a connection: which must not wait for
 * an event, since there may never be one.
 */
static int run(struct gate_http *h)
{
	h->ended = false;
	MHD_run(h->mhd);
	if (h->ended)
		gate_http_kick(h);
	arm(h);
	return 0;
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	return run(arg);
}

static int on_timer(sd_event_source *s, uint64_t usec, void *arg)
{
	return run(arg);
}

static int on_again(sd_event_source *s, void *arg)
{
	return run(arg);
}

void gate_http_kick(struct gate_http *h)
{
	sd_event_source_set_enabled(h->again, SD_EVENT_ONESHOT);
}

static void on_log(void *arg, const char *fmt, va_list ap)
{
	const struct gate_http *h = arg;
	char line[256];

	vsnprintf(line, sizeof(line), fmt, ap);
	line[strcspn(line, "\n")] = '\0';
	log_debug("%s: %s", h->setup.what, line);
}

/*
 * As MHD's own, but %00 stays what it is: cut off behind a NUL, a name that
 * nobody has would turn into one that somebody has.
 */
static size_t unescape(void *arg, struct MHD_Connection *c, char *s)
{
	char *from = s, *to = s, hex[3] = { 0 }, *end;
	unsigned long value;

	while (*from) {
		if (from[0] == '%' && from[1] && from[2]) {
			hex[0] = from[1];
			hex[1] = from[2];
			value = strtoul(hex, &end, 16);
			if (end == hex + 2 && value && hex[0] != '+' && hex[0] != '-' &&
			    hex[0] != ' ') {
				*to++ = (char)value;
				from += 3;
				continue;
			}
		}
		*to++ = *from++;
	}
	*to = '\0';
	return (size_t)(to - s);
}

static int add_sources(struct gate_http *h, sd_event *ev)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(h->mhd, MHD_DAEMON_INFO_EPOLL_FD);
	int r;

	if (!info)
		return -EIO;
	r = sd_event_add_io(ev, &h->io, info->epoll_fd, EPOLLIN, on_io, h);
	if (r >= 0)
		r = sd_event_add_time(ev, &h->timer, CLOCK_MONOTONIC, 0, TIMER_ACCURACY_US,
				      on_timer, h);
	if (r >= 0)
		r = sd_event_add_defer(ev, &h->again, on_again, h);
	if (r >= 0)
		r = sd_event_source_set_priority(h->io, HTTP_PRIORITY);
	if (r >= 0)
		r = sd_event_source_set_priority(h->timer, HTTP_PRIORITY);
	if (r >= 0)
		r = sd_event_source_set_priority(h->again, HTTP_PRIORITY);
	return r;
}

int gate_http_open(struct gate_http **out, sd_event *ev, const struct gate_http_setup *s,
		   struct gate_error *err)
{
	struct gate_http *h = calloc(1, sizeof(*h));

	if (!h) {
		close(s->fd);
		return gate_error_set(err, GATE_ERR_FAILED, "out of memory");
	}
	h->setup = *s;
	if (!h->setup.memory)
		h->setup.memory = MEMORY;
	h->mhd = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_USE_ERROR_LOG | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
		s->handler, s->arg, MHD_OPTION_EXTERNAL_LOGGER, on_log, h, MHD_OPTION_LISTEN_SOCKET,
		s->fd, MHD_OPTION_CONNECTION_LIMIT, s->connections,
		MHD_OPTION_PER_IP_CONNECTION_LIMIT, s->per_address, MHD_OPTION_CONNECTION_TIMEOUT,
		s->timeout_s, MHD_OPTION_NOTIFY_COMPLETED, s->completed, s->arg,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, h, MHD_OPTION_UNESCAPE_CALLBACK,
		unescape, NULL, MHD_OPTION_CONNECTION_MEMORY_LIMIT, h->setup.memory,
		MHD_OPTION_END);
	if (!h->mhd) {
		close(s->fd);
		free(h);
		return gate_error_set(err, GATE_ERR_FAILED, "cannot serve %s: no HTTP server",
				      s->what);
	}
	if (add_sources(h, ev) < 0) {
		gate_http_close(h);
		return gate_error_set(err, GATE_ERR_FAILED, "cannot serve %s: no event source",
				      s->what);
	}
	*out = h;
	return 0;
}

void gate_http_close(struct gate_http *h)
{
	if (!h)
		return;
	sd_event_source_disable_unref(h->io);
	sd_event_source_disable_unref(h->timer);
	sd_event_source_disable_unref(h->again);
	MHD_stop_daemon(h->mhd);
	free(h);
}
