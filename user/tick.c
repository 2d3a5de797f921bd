// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "tick.h"
#include "log.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define TICK_US	    1000000ULL
#define ACCURACY_US 100000

struct gate_tick {
	struct gate_engine *engine;
	struct gate_candidate *candidate;
	sd_event_source *second, *clock;
	int fd;
};

static int on_second(sd_event_source *s, uint64_t usec, void *arg)
{
	struct gate_tick *t = arg;

	gate_engine_tick(t->engine, time(NULL));
	gate_candidate_tick(t->candidate);
	sd_event_source_set_time_relative(s, TICK_US);
	sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
	return 0;
}

/* A timer on the wall clock that never ends but is cancelled when that is set. */
static int arm(const struct gate_tick *t)
{
	struct itimerspec never = { .it_value.tv_sec = INT64_MAX / 1000000000LL };

	if (timerfd_settime(t->fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL) < 0)
		return -errno;
	return 0;
}

static int on_clock(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	struct gate_tick *t = arg;
	uint64_t expirations;

	if (read(fd, &expirations, sizeof(expirations)) < 0 && errno == ECANCELED) {
		log_info("the wall clock was set: expiries are set anew");
		gate_engine_clock_changed(t->engine);
	}
	arm(t);
	return 0;
}

int gate_tick_open(struct gate_tick **out, sd_event *ev, struct gate_engine *e,
		   struct gate_candidate *c, struct gate_error *err)
{
	struct gate_tick *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return gate_error_set(err, GATE_ERR_FAILED, "out of memory");
	t->engine = e;
	t->candidate = c;
	t->fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
	r = t->fd < 0 ? -errno : arm(t);
	if (r >= 0)
		r = sd_event_add_io(ev, &t->clock, t->fd, EPOLLIN, on_clock, t);
	if (r >= 0)
		r = sd_event_add_time_relative(ev, &t->second, CLOCK_MONOTONIC, TICK_US,
					       ACCURACY_US, on_second, t);
	if (r < 0) {
		gate_tick_close(t);
		return gate_error_set(err, GATE_ERR_FAILED, "no timer: %s", strerror(-r));
	}
	*out = t;
	return 0;
}

void gate_tick_close(struct gate_tick *t)
{
	if (!t)
		return;
	sd_event_source_disable_unref(t->second);
	sd_event_source_disable_unref(t->clock);
	if (t->fd >= 0)
		close(t->fd);
	free(t);
}
