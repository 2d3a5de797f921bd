/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The port manager: follows rtnetlink (links.c), decides what each link is
 * (uplink, VM port, none of ours), attaches and tells the engine. Netlink
 * events are hints: state is asked again; overrun or interrupted dump means a
 * full resync.
 */
#ifndef GATE25_PORTS_H
#define GATE25_PORTS_H

#include "attach.h"
#include "engine.h"
#include <systemd/sd-event.h>

struct gate_ports;

struct gate_ports_stats {
	uint64_t attached, reattached, resyncs, overruns;
	uint64_t unattached_ns; /* sum of time VM ports were there without from_vm */
	uint64_t attach_bucket[10]; /* seconds: .0005 .001 .0025 .005 .01 .025 .05 .1 1 +Inf, not cumulative */
	double attach_sum_s;
};

/* Opens netlink, lists all links, attaches; returns when every port is attached or failed. */
int gate_ports_open(struct gate_ports **out, sd_event *ev, struct gate_attacher *a,
		    struct gate_engine *e, const struct gate_config *c, struct gate_error *err);
int gate_ports_reconfigure(struct gate_ports *p, const struct gate_config *c,
			   struct gate_error *err);
void gate_ports_resync(struct gate_ports *p);
void gate_ports_close(struct gate_ports *p);
const struct gate_ports_stats *gate_ports_stats(const struct gate_ports *p);

#endif
