/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * [notify] command: run with the event as JSON on stdin at the first refusal of
 * a VM, a quarantine, an expiry and a gap. Rationed, so that a night of attacks
 * does not become a night of processes.
 */
#ifndef GATE25_NOTIFY_H
#define GATE25_NOTIFY_H

#include "events.h"

struct gate_notify;

int gate_notify_open(struct gate_notify **out, sd_event *ev, struct gate_events *v,
		     const char *command, struct gate_error *err);
/* "" = run nothing. */
int gate_notify_set_command(struct gate_notify *n, const char *command);
void gate_notify_close(struct gate_notify *n);

#endif
