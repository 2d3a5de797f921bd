// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "clock.h"
#include <time.h>

uint64_t gate_clock_mono_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * GATE_NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

int64_t gate_clock_unix_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * (int64_t)GATE_NSEC_PER_SEC + t.tv_nsec;
}
