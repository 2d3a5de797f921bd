/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* An engine on maps in memory, made anew for each test. */
#ifndef GATE25_TESTS_BOX_LAB_H
#define GATE25_TESTS_BOX_LAB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "../lib/enginebox.h"

static struct enginebox box;

static int open_box(void **state)
{
	box_open(&box, 0, NULL);
	return 0;
}

static int close_box(void **state)
{
	box_close(&box);
	return 0;
}

#endif
