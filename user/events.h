/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What happened: reads the programs' ring buffer, hands each record to the
 * engine, and keeps the engine's notices as JSON lines, the last 1,000 of them,
 * each under a number that only grows.
 */
#ifndef GATE25_EVENTS_H
#define GATE25_EVENTS_H

#include "buf.h"
#include "engine.h"

#include <systemd/sd-event.h>

#define GATE_EVENTS_KEPT 1000

struct gate_events;

struct gate_event_line {
	const char *text; /* JSON with its newline */
	size_t len;
	const char *subject;
};

/* A notice came: its kind and line. */
typedef void (*gate_events_cb)(void *arg, const struct gate_notice *n,
			       const struct gate_event_line *line);

/* ev NULL: no ring buffer is read (tests). */
int gate_events_open(struct gate_events **out, sd_event *ev, struct gate_engine *e,
		     const struct gate_maps *m, struct gate_error *err);
void gate_events_close(struct gate_events *v);
/* At most two listen: the control socket's followers and the notifier. NULL = none. */
void gate_events_on_follow(struct gate_events *v, gate_events_cb cb, void *arg);
void gate_events_on_notify(struct gate_events *v, gate_events_cb cb, void *arg);

/* Tells how many events the programs could not or would not write; done each minute. */
void gate_events_tell_lost(struct gate_events *v);

/* Numbers of the oldest line kept and of the next to come. */
uint64_t gate_events_first(const struct gate_events *v);
uint64_t gate_events_next(const struct gate_events *v);
/* The line of a number from first to next - 1. */
void gate_events_line(const struct gate_events *v, uint64_t number, struct gate_event_line *out);

/* One notice as a JSON line. */
void gate_events_format(struct gate_buf *b, uint64_t number, const struct gate_notice *n);
const char *gate_notice_kind_name(enum gate_notice_kind k);

#endif
