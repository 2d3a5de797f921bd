/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Clocks: the engine's turn once a second, and its word when the wall clock was set. */
#ifndef GATE25_TICK_H
#define GATE25_TICK_H

#include "candidate.h"

#include <systemd/sd-event.h>

struct gate_tick;

int gate_tick_open(struct gate_tick **out, sd_event *ev, struct gate_engine *e,
		   struct gate_candidate *c, struct gate_error *err);
void gate_tick_close(struct gate_tick *t);

#endif
