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
	uint64_t unattached_ns;	    /* sum of time VM ports were there without from_vm */
	uint64_t attach_bucket[10]; /* seconds: .0005 .001 .0025 .005 .01 .025 .05 .1 1 +Inf, not
				       cumulative */
	double attach_sum_s;
};

/**
 * gate_ports_open() - list all links, attach, and follow what changes.
 * @out: set on success.
 * @ev: the loop; must be run by the caller.
 * @c: configuration; must stay until gate_ports_reconfigure() or _close() returns.
 *
 * Returns when every port is attached or its failure is reported to the engine.
 * An upgrade of the maps is finished then (gate_bpf_settle()).
 * Return: 0 or -errno.
 */
int gate_ports_open(struct gate_ports **out, sd_event *ev, struct gate_attacher *a,
		    struct gate_engine *e, const struct gate_config *c, struct gate_error *err);
/**
 * gate_ports_reconfigure() - take up a new configuration.
 * @c: as for gate_ports_open(); the one before it may go once this has returned.
 *
 * Links change their roles in place; what was gated and still is stays gated.
 * Return: 0 or -errno.
 */
int gate_ports_reconfigure(struct gate_ports *p, const struct gate_config *c,
			   struct gate_error *err);
/* Lists all links anew, as after an overrun of the event socket. */
void gate_ports_resync(struct gate_ports *p);
/* Stops following; programs stay where they are. */
void gate_ports_close(struct gate_ports *p);
const struct gate_ports_stats *gate_ports_stats(const struct gate_ports *p);

/* For tests: receive buffer of the event socket in bytes, 0 = the default. */
extern int gate_ports_rcvbuf;
/* How long a port whose bridge is gone stays one. */
extern unsigned gate_ports_linger_s;

#endif
