/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The two clocks; tests bring their own by defining these functions themselves. */
#ifndef GATE25_CLOCK_H
#define GATE25_CLOCK_H

#include <stdint.h>

#define GATE_NSEC_PER_SEC 1000000000ULL

uint64_t gate_clock_mono_ns(void); /* CLOCK_MONOTONIC, as bpf_ktime_get_ns() */
int64_t gate_clock_unix_ns(void);  /* CLOCK_REALTIME */

#endif
