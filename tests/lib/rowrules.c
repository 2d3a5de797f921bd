// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "../../bpf/frame.h"
#include "rowrules.h"

const char *const vm_state_name[VM_STATES] = { "allowed", "limited", "blocked", "quarantined",
					       "observed" };

#define PASS(r)                                                                                    \
	{                                                                                          \
		true, GATE_R_##r                                                                   \
	}
#define DROP(r)                                                                                    \
	{                                                                                          \
		false, GATE_R_##r                                                                  \
	}

static const struct row_rule rules[][VM_STATES] = {
	[FRAME_GATED] = { PASS(NEW_FLOW), PASS(NEW_FLOW), DROP(BLOCKED), DROP(QUARANTINED),
			  PASS(BLOCKED) },
	[FRAME_LATER] = { PASS(FRAGMENT), PASS(FRAGMENT), DROP(FRAGMENT_LATER),
			  DROP(FRAGMENT_LATER), PASS(FRAGMENT_LATER) },
	[FRAME_TINY] = { DROP(FRAGMENT_TINY), DROP(FRAGMENT_TINY), DROP(FRAGMENT_TINY),
			 DROP(FRAGMENT_TINY), PASS(FRAGMENT_TINY) },
	[FRAME_CHAIN] = { DROP(FRAGMENT_CHAIN), DROP(FRAGMENT_CHAIN), DROP(FRAGMENT_CHAIN),
			  DROP(FRAGMENT_CHAIN), PASS(FRAGMENT_CHAIN) },
	[FRAME_MALFORMED] = { PASS(UNREADABLE), PASS(UNREADABLE), DROP(MALFORMED), DROP(MALFORMED),
			      PASS(MALFORMED) },
	[FRAME_TOO_DEEP] = { PASS(UNREADABLE), PASS(UNREADABLE), DROP(TOO_DEEP), DROP(TOO_DEEP),
			     PASS(TOO_DEEP) },
	[FRAME_HIDDEN] = { PASS(UNREADABLE), PASS(UNREADABLE), DROP(HIDDEN), DROP(HIDDEN),
			   PASS(HIDDEN) },
};

const struct row_rule *row_rule(const struct trick *t, enum vm_state vm)
{
	return &rules[t->kind][vm];
}

struct gate_node row_policy(enum vm_state vm)
{
	struct gate_node n = testgate_limit(10, 5);

	if (vm == VM_ALLOWED)
		n.state = GATE_ALLOW;
	else if (vm == VM_BLOCKED || vm == VM_OBSERVED)
		n.state = GATE_BLOCK;
	if (vm == VM_QUARANTINED)
		n.quarantine_until = GATE_FOREVER;
	if (vm == VM_OBSERVED)
		n.flags = GATE_NODE_OBSERVE;
	return n;
}

bool row_counted(const struct gate_counters *c, const struct trick *t, enum vm_state vm,
		 int segments)
{
	bool flow = t->kind == FRAME_GATED, dropped = !row_rule(t, vm)->passes;
	bool fragment = t->kind == FRAME_TINY || t->kind == FRAME_CHAIN ||
			(t->kind == FRAME_LATER && dropped);
	bool unreadable =
		t->kind == FRAME_MALFORMED || t->kind == FRAME_TOO_DEEP || t->kind == FRAME_HIDDEN;

	return c->packets_from_vm == (flow ? (uint64_t)segments : 0) &&
	       c->packets_dropped == (dropped ? (uint64_t)segments : 0) &&
	       c->flows_admitted == (flow && vm <= VM_LIMITED) &&
	       c->flows_blocked == (flow && dropped) && c->flows_limited == 0 &&
	       c->flows_would_refuse == (flow && vm == VM_OBSERVED) &&
	       c->fragments_dropped == (fragment && dropped) && c->unclassifiable == unreadable &&
	       c->spoofed == 0 && c->exempt == 0 && c->unsolicited == 0;
}
