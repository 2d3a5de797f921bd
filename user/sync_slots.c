// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* What lies in arrays by slot: identity, counters, buckets, flows. */
#include "sync_priv.h"

static void set_flags(struct gate_sync *s, uint32_t slot, uint16_t set, uint16_t clear)
{
	struct gate_vm *vm = &s->m->vms[slot];

	__atomic_store_n(&vm->flags, (uint16_t)((vm->flags & ~clear) | set), __ATOMIC_RELEASE);
}

void gate_sync_vm(struct gate_sync *s, uint32_t slot, const struct gate_sync_vm *in)
{
	struct gate_vm *vm = &s->m->vms[slot];
	char name[GATE_NAME_LEN] = "";

	strncpy(name, in->name, sizeof(name) - 1);
	if (memcmp(s->m->names[slot], name, sizeof(name)) != 0)
		memcpy(s->m->names[slot], name, sizeof(name));
	vm->binding = (uint16_t)in->binding;
	vm->budget = in->budget;
	vm->tenant = in->tenant;
	if (in->registered)
		set_flags(s, slot, GATE_VM_USED | GATE_VM_REGISTERED, 0);
	else
		set_flags(s, slot, GATE_VM_USED, GATE_VM_REGISTERED);
}

void gate_sync_vm_flag(struct gate_sync *s, uint32_t slot, uint16_t flag, bool on)
{
	set_flags(s, slot, on ? flag : 0, on ? 0 : flag);
}

void gate_sync_vm_retire(struct gate_sync *s, uint32_t slot)
{
	gate_sync_own(s, gate_base_vm(slot), NULL);
	gate_sync_addresses(s, slot, NULL, 0, NULL, 0);
	gate_sync_exempt(s, GATE_EXEMPT_VM | slot, NULL, 0);
	set_flags(s, slot, 0, UINT16_MAX);
	memset(s->m->names[slot], 0, GATE_NAME_LEN);
}

void gate_sync_vm_wipe(struct gate_sync *s, uint32_t slot)
{
	struct gate_maps *m = s->m;
	size_t fixed = m->scopes + 1, ports = m->conf->nports > 1 ? m->conf->nports : 0;

	memset(&m->vms[slot], 0, sizeof(m->vms[slot]));
	memset(m->names[slot], 0, GATE_NAME_LEN);
	memset(&m->port_counters[slot * ports], 0, ports * sizeof(*m->port_counters));
	memset(&m->buckets[slot * fixed], 0, fixed * sizeof(*m->buckets));
	memset(&m->flows[(size_t)slot * m->conf->flow_sets], 0,
	       m->conf->flow_sets * sizeof(*m->flows));
	memset(&m->dests[(size_t)slot * m->conf->dest_sets], 0,
	       m->conf->dest_sets * sizeof(*m->dests));
	/* last: by these the next daemon knows that a slot is yet to be wiped */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	memset(&m->counters[slot], 0, sizeof(m->counters[slot]));
}

void gate_sync_counters_add(struct gate_sync *s, uint32_t slot, const struct gate_counters *c)
{
	struct gate_counters *to = &s->m->counters[slot];

#define X(name) __atomic_fetch_add(&to->name, c->name, __ATOMIC_RELAXED);
	GATE_COUNTERS(X)
#undef X
	if (!to->last_reply)
		to->last_reply = c->last_reply;
}

/* Seconds without a packet after which a flow in this state is dead. */
static uint32_t lifetime_s(uint8_t state)
{
	switch (state) {
	case GATE_FLOW_SYN_SENT:
		return GATE_SYN_SENT_S;
	case GATE_FLOW_OPEN:
		return GATE_IDLE_S;
	case GATE_FLOW_HALF:
		return GATE_HALF_CLOSED_S;
	default:
		return GATE_LINGER_S;
	}
}

/*
 * Ends a dead flow. Its second word is closed by compare-and-swap: whoever wins
 * that, the program or this, counts the flow down, so it happens once. Its first
 * word is freed by compare-and-swap as well: a packet that came meanwhile, or a
 * new flow in the same place, makes that fail and stays.
 */
static void end_flow(struct gate_sync *s, uint32_t slot, struct gate_flow *flow,
		     struct gate_flow was)
{
	uint64_t *first = (uint64_t *)flow, *second = (uint64_t *)&flow->state, seen, old, closed;
	struct gate_flow end = was;

	end.state = GATE_FLOW_CLOSED;
	memcpy(&seen, &was.fingerprint, sizeof(seen));
	memcpy(&old, &was.state, sizeof(old));
	memcpy(&closed, &end.state, sizeof(closed));
	if (was.state != GATE_FLOW_CLOSED && was.state != GATE_FLOW_FREE) {
		uint32_t set = gate_bucket_index(s->m, slot, was.bucket);

		if (!__atomic_compare_exchange_n(second, &old, closed, false, __ATOMIC_ACQ_REL,
						 __ATOMIC_RELAXED))
			return;
		if (set < s->m->nbuckets)
			__atomic_fetch_sub(&s->m->buckets[set].active, 1, __ATOMIC_RELAXED);
		if (was.state == GATE_FLOW_SYN_SENT)
			__atomic_fetch_add(&s->m->counters[slot].connects_timed_out, 1,
					   __ATOMIC_RELAXED);
	}
	__atomic_compare_exchange_n(first, &seen, 0, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

bool gate_sync_flows(struct gate_sync *s, uint32_t slot, uint32_t now_s)
{
	uint32_t sets = s->m->conf->flow_sets;
	struct gate_flow_set *set = &s->m->flows[(size_t)slot * sets];
	bool any = false;

	for (uint32_t i = 0; i < sets * GATE_FLOW_WAYS; i++) {
		struct gate_flow *flow = &set[i / GATE_FLOW_WAYS].way[i % GATE_FLOW_WAYS];
		struct gate_flow was;
		int32_t age;

		if (!__atomic_load_n(&flow->fingerprint, __ATOMIC_ACQUIRE))
			continue;
		any = true;
		was = *flow;
		age = (int32_t)(now_s - was.seen);
		if (age > 0 && (uint32_t)age > lifetime_s(was.state))
			end_flow(s, slot, flow, was);
	}
	return any;
}
