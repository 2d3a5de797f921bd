/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Counting and telling. Every frame beyond the glance is counted under exactly
 * one reason; what a VM did is counted on the VM's own cache lines by atomics
 * (SMTP is rare and a port is served by one or two CPUs).
 */
#ifndef GATE25_BPF_ACCOUNT_H
#define GATE25_BPF_ACCOUNT_H

#include "frame.h"
#include "maps.h"

#define EVENT_INTERVAL_NS  200000000ULL	 /* each VM: 5 events a second, */
#define EVENT_TOLERANCE_NS 4000000000ULL /* 20 at once */

#define count_add(c, name, n)                                                                      \
	({                                                                                         \
		__auto_type c_ = (c);                                                              \
		if (c_)                                                                            \
			__sync_fetch_and_add(&c_->name, n);                                        \
	})
#define count(c, name) count_add(c, name, 1)

static __always_inline struct gate_counters *counters_of(__u32 slot)
{
	return bpf_map_lookup_elem(&counters, &slot);
}

/* The same flow counter once more by gated port, where there are several. */
#define count_flow(slot, c, port, name)                                                            \
	({                                                                                         \
		count(c, name);                                                                    \
		if (params.nports > 1) {                                                           \
			__u32 pc_i = (slot)*params.nports + (port);                                \
			struct gate_port_counters *pc =                                            \
				bpf_map_lookup_elem(&port_counters, &pc_i);                        \
			count(pc, name);                                                           \
		}                                                                                  \
	})

static __always_inline enum gate_verdict verdict_of(enum gate_reason r)
{
	switch (r) {
#define X(name, text, verdict)                                                                     \
	case GATE_R_##name:                                                                        \
		return GATE_V_##verdict;
		GATE_REASONS(X)
#undef X
	default:
		return GATE_V_PASS;
	}
}

static __always_inline void count_reason(enum gate_reason r, bool would)
{
	__u32 i = would ? GATE_R_MAX + r : r;
	__u64 *n = bpf_map_lookup_elem(&reasons, &i);

	if (n)
		(*n)++;
}

/* In a flood nearly each frame comes here, on every CPU: so each has words of its own. */
static __always_inline void count_untold(enum gate_untold why)
{
	__u32 i = why;
	__u64 *n = bpf_map_lookup_elem(&untold, &i);

	if (n)
		(*n)++;
}

/* A GCRA without retries: losing the race costs at most one event. */
static __always_inline bool event_allowed(struct gate_vm *vm, __u64 now)
{
	__u64 tat = *(volatile __u64 *)&vm->event_tat, start = tat > now ? tat : now;

	if (tat > now && tat - now > EVENT_TOLERANCE_NS)
		return false;
	return __sync_val_compare_and_swap(&vm->event_tat, tat, start + EVENT_INTERVAL_NS) == tat;
}

#define TELL(type, reason) ((type) | (reason) << 8)

PROVEN_ONCE int tell_now(__u32 slot, __u32 ifindex, const struct frame *f, __u32 type_reason,
			 __u64 now)
{
	struct gate_event *ev;

	if (!f)
		return 0;
	ev = bpf_ringbuf_reserve(&events, sizeof(*ev), 0);
	if (!ev)
		return 0;
	ev->time = now;
	ev->slot = slot;
	ev->ifindex = ifindex;
	ev->type = type_reason & 0xff;
	ev->reason = type_reason >> 8;
	ev->family = f->family;
	ev->port = f->port;
	ev->sport = f->sport;
	ev->dport = f->dport;
	__builtin_memcpy(ev->src, f->src, 16);
	__builtin_memcpy(ev->dst, f->dst, 16);
	__builtin_memcpy(ev->mac, f->mac, 6);
	ev->vlan = f->vlan;
	bpf_ringbuf_submit(ev, 0);
	return 1;
}

/*
 * A record for user space, rationed by VM so that no flood fills the ring. Nothing is
 * called for what is not told: in a flood that is nearly all.
 */
static __always_inline void tell(__u32 slot, __u32 ifindex, const struct frame *f,
				 __u32 type_reason, __u64 now)
{
	struct gate_vm *vm = bpf_map_lookup_elem(&vms, &slot);

	if (!vm)
		return;
	if (!event_allowed(vm, now))
		count_untold(GATE_UNTOLD_RATIONED);
	else if (!tell_now(slot, ifindex, f, type_reason, now))
		count_untold(GATE_UNTOLD_LOST);
}

#endif
