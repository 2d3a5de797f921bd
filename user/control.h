/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The control API (docs/control-api.md) on the UNIX socket. The daemon survives
 * whatever is sent there: bounded connections, bodies and times; the caller's
 * rights are asked of the kernel for each connection.
 */
#ifndef GATE25_CONTROL_H
#define GATE25_CONTROL_H

#include "candidate.h"
#include "config.h"
#include "engine.h"
#include "events.h"
#include "json.h"

#include <systemd/sd-event.h>

struct gate_control;

/*
 * Answers POST /v1/why: writes the answer's object into `out`, or fails with a
 * sentence. Set by gate_control_set_why(); without it the route says 501.
 */
typedef int (*gate_why_fn)(void *arg, const struct gate_json_why *question, struct gate_buf *out,
			   struct gate_error *err);

struct gate_control_setup {
	sd_event *ev;
	struct gate_engine *engine;
	const struct gate_maps *maps;
	struct gate_events *events;
	struct gate_candidate *candidate;
	const char *hook; /* what gate_attach_hook() says */
};

/*
 * Does a daemon answer on this socket already? Then -EEXIST and a sentence. To
 * be asked before anything is touched.
 */
int gate_control_probe(const char *path, struct gate_error *err);

/* Makes the socket, in place of a dead one's, and listens. */
int gate_control_open(struct gate_control **out, const struct gate_control_setup *s,
		      const struct gate_config *c, struct gate_error *err);
/* group and readers may change while running, the socket's path not. */
int gate_control_reconfigure(struct gate_control *ctl, const struct gate_config *c,
			     struct gate_error *err);
void gate_control_set_why(struct gate_control *ctl, gate_why_fn why, void *arg);
/* Ends the streams and takes the socket away. */
void gate_control_close(struct gate_control *ctl);

#endif
