/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Clocks that a test turns itself; included by one file of a test program. */
#ifndef GATE25_TESTS_FAKECLOCK_H
#define GATE25_TESTS_FAKECLOCK_H

#include "clock.h"

static uint64_t fake_mono_ns = 1000 * GATE_NSEC_PER_SEC;
static int64_t fake_unix_ns = 1800000000LL * 1000000000LL;

/* Called whenever somebody asks for the time: what holds in the midst of a change? */
static void (*fake_clock_asked)(void);

uint64_t gate_clock_mono_ns(void)
{
	if (fake_clock_asked)
		fake_clock_asked();
	return fake_mono_ns;
}

int64_t gate_clock_unix_ns(void)
{
	return fake_unix_ns;
}

static inline int64_t fake_now(void)
{
	return fake_unix_ns / 1000000000LL;
}

static inline void fake_pass(unsigned seconds)
{
	fake_mono_ns += seconds * GATE_NSEC_PER_SEC;
	fake_unix_ns += (int64_t)(seconds * GATE_NSEC_PER_SEC);
}

#endif
