/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The daemon's life: the modules in the order in which they need each other,
 * one event loop, signals, clocks. A stop leaves the gate in place: programs,
 * links and maps stay pinned, and the next start adopts them.
 */
#ifndef GATE25_DAEMON_H
#define GATE25_DAEMON_H

#include "config.h"

struct gate_daemon_options {
	const char *config;   /* path */
	bool config_required; /* it was asked for, so it must exist */
};

/* Runs until a signal ends it. Exit status: 0 clean, 1 failed, 2 wrong configuration. */
int gate_daemon_run(const struct gate_daemon_options *o);

#endif
