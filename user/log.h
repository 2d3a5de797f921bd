/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Log lines on stderr, one sentence each: with the journal's level prefix where
 * stderr is connected to it, else with the level as a word.
 */
#ifndef GATE25_LOG_H
#define GATE25_LOG_H

#include <syslog.h>

void gate_log_init(void);
void gate_log_level(int max_level); /* LOG_INFO by default, LOG_DEBUG with GATE25_DEBUG=1 */
void gate_log(int level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)	 gate_log(LOG_ERR, __VA_ARGS__)
#define log_warning(...) gate_log(LOG_WARNING, __VA_ARGS__)
#define log_info(...)	 gate_log(LOG_INFO, __VA_ARGS__)
#define log_debug(...)	 gate_log(LOG_DEBUG, __VA_ARGS__)

#endif
