// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "quiesce.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Where there is no way to ask: far more than a run takes, and a softirq's delay. */
#define NO_ANSWER_NS (20 * 1000 * 1000)

void gate_quiesce(void)
{
	/* It waits for a grace period of RCU, which programs run under. */
	if (syscall(__NR_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0))
		nanosleep(&(struct timespec){ .tv_nsec = NO_ANSWER_NS }, NULL);
}
