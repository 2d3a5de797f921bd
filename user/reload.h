/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The daemon's parts, and taking over a changed configuration while it runs. */
#ifndef GATE25_RELOAD_H
#define GATE25_RELOAD_H

#include "daemon.h"
#include "why.h"

#include <systemd/sd-event.h>

struct gate_daemon {
	struct gate_daemon_options options;
	sd_event *loop;
	/* the one in force; and the first, to which parts that know no reload still point */
	struct gate_config *config, *first_config;
	struct gate_bpf *bpf;
	struct gate_engine *engine;
	struct gate_candidate *candidate;
	struct gate_attacher *attacher;
	struct gate_ports *ports;
	struct gate_events *events;
	struct gate_notify *notify;
	struct gate_exporter *exporter;
	struct gate_tick *tick;
	struct gate_control *control;
	struct gate_why why; /* what answers POST /v1/why */
};

/*
 * SIGHUP: reads the configuration again and puts it in force. A wrong one leaves
 * the old in force, with a problem in `status` and a line in the log.
 */
void gate_reload(struct gate_daemon *d);

#endif
