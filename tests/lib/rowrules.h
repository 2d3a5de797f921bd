/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What docs/packets.md says of each kind of row in tricks.h, for a VM in each
 * state: the one table that the loaded programs are held to, by TEST_RUN and on
 * real devices.
 */
#ifndef GATE25_TESTS_ROWRULES_H
#define GATE25_TESTS_ROWRULES_H

#include "testgate.h"
#include "tricks.h"

enum vm_state { VM_ALLOWED, VM_LIMITED, VM_BLOCKED, VM_QUARANTINED, VM_OBSERVED, VM_STATES };
extern const char *const vm_state_name[VM_STATES];

struct row_rule {
	bool passes;
	enum gate_reason reason;
};

/* Not for FRAME_OTHER: such a row passes and counts for nothing. */
const struct row_rule *row_rule(const struct trick *t, enum vm_state vm);
/* The policy that makes a VM such a one. */
struct gate_node row_policy(enum vm_state vm);
/* Has the row, as so many segments, moved the counters that it must and none besides? */
bool row_counted(const struct gate_counters *c, const struct trick *t, enum vm_state vm,
		 int segments);

#endif
