/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* One gate, with one gated port, for all tests of a file. */
#ifndef GATE25_TESTS_GATE_LAB_H
#define GATE25_TESTS_GATE_LAB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "../lib/testgate.h"

static struct testgate gate;

static int open_gate(void **state)
{
	testgate_open(&gate, 1);
	return 0;
}

static int close_gate(void **state)
{
	testgate_close(&gate);
	return 0;
}

#endif
