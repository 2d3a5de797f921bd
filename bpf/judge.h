/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The way of one packet from a VM, read top down in `decide` and `judge_flow`:
 * identify, policy, flow, token, account. Nothing here knows whether the frame
 * came as an skb or as an XDP frame.
 */
#ifndef GATE25_BPF_JUDGE_H
#define GATE25_BPF_JUDGE_H

#include "admit.h"
#include "read.h"
#include "shadow.h"

/* What was decided about one frame. */
struct ruling {
	__u8 reason;  /* enum gate_reason */
	__u8 enforce; /* a refusal is carried out; else counted as would */
	__u8 refuse;  /* enum gate_refuse */
	__u8 flow;    /* counts as a flow, not only as a packet */
};

/*
 * All that is known about the frame in work. On the stack it would not leave room
 * for the calls below; the programs run with softirqs off, so none nests.
 */
struct work {
	struct frame f;
	struct who w;
	struct policy p;
	struct ruling r;
};

/* What a CPU keeps from frame to frame, and the frame in work. */
struct scratch {
	struct work work;
	__u64 tick, now; /* the coarse clock, and the tick in which it was asked */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratch SEC(".maps");

/*
 * The coarse clock moves once a tick, and the number of the tick is a plain load: so
 * it is asked once a tick. Where the two move one after the other a CPU may lag one
 * more tick behind.
 */
static __always_inline __u64 coarse_now(struct scratch *s)
{
	__u64 tick = bpf_jiffies64();

	if (s->tick != tick) {
		s->now = bpf_ktime_get_coarse_ns();
		s->tick = tick;
	}
	return s->now;
}

static __always_inline struct work *work_begin(void)
{
	__u32 zero = 0;
	struct scratch *s = bpf_map_lookup_elem(&scratch, &zero);

	if (!s)
		return 0;
	__builtin_memset(&s->work, 0, sizeof(s->work));
	s->work.p.now = coarse_now(s);
	return &s->work;
}

/* ---- flows ---- */

/* Enters a flow that was let in (or would not have been, while not enforced). */
static __always_inline void enter_flow(struct gate_flow_set *set, struct gate_flow *old, __u64 key,
				       const struct who *w, const struct frame *f, __u32 bucket,
				       __u32 now_s)
{
	struct gate_flow fl = {
		.fingerprint = key_fingerprint(key),
		.seen = now_s,
		.state = GATE_FLOW_OPEN,
		.flags = f->port & GATE_FLOW_PORT,
		.bucket = bucket,
	};
	bool entered;

	if (f->flags & TCP_SYN) {
		fl.state = GATE_FLOW_SYN_SENT;
		fl.peer_seq = f->seq + 1;
	}
	if (f->flags & TCP_RST)
		fl.state = GATE_FLOW_CLOSED;
	else if (!(f->flags & TCP_SYN))
		fl.flags |= GATE_FLOW_MUTE; /* began before us: who knows where in the dialogue */
	entered = old ? flow_replace(old, &fl, w->slot, w->override_base)
		      : flow_insert(set, &fl, w->slot, w->override_base);
	if (!entered || fl.state == GATE_FLOW_CLOSED)
		active_add(w->slot, w->override_base, bucket, -1);
}

/* Binding `learn`: a source that the VM had not used before is told. */
static __always_inline void learn_source(const struct who *w, const struct frame *f, __u64 now)
{
	__u64 key = source_key(f);
	struct gate_dest_set *set = dest_set(w->slot, key_set(key));
	int way;

	if (!set)
		return;
	way = dest_look(set, key_fingerprint(key), now / NSEC_PER_SEC, SOURCE_WINDOW_S);
	set->way[way & (GATE_DEST_WAYS - 1)] =
		(__u64)key_fingerprint(key) << 32 | (__u32)(now / NSEC_PER_SEC);
	if (!(way & DEST_KNOWN))
		tell(w->slot, w->ifindex, f, TELL(GATE_E_NEW_SOURCE, GATE_R_NEW_FLOW), now);
}

/* A packet of a known flow moves it on. */
static __always_inline void advance_flow(struct gate_flow *fl, const struct who *w,
					 const struct frame *f, __u32 now_s)
{
	bool watched = w->flags & GATE_VM_TO_VM;
	__u32 flags;

	if (f->flags & TCP_RST) {
		flow_close(fl, w->slot, w->override_base, now_s);
		return;
	}
	if (f->flags & TCP_FIN) {
		flags = flow_mark(fl, GATE_FLOW_HALF, GATE_FLOW_FIN_VM);
		if (!watched || flags & GATE_FLOW_FIN_PEER) {
			flow_close(fl, w->slot, w->override_base, now_s);
			return;
		}
	}
	if (fl->state == GATE_FLOW_SYN_SENT) {
		if (f->flags & TCP_SYN) { /* a retransmission: `seen` stays at the first */
			fl->peer_seq = f->seq + 1;
			return;
		}
		flow_mark(fl, GATE_FLOW_OPEN, 0);
		count(counters_of(w->slot), connects_established);
	}
	if (fl->seen != now_s)
		fl->seen = now_s;
}

/*
 * Is the packet one of this known flow, or does it begin a new one on the same
 * 5-tuple? Data on a closed flow is no late segment but for what was under way: a
 * guest could have closed it here alone, by a reset that its peer ignores.
 */
static __always_inline bool continues(const struct gate_flow *fl, const struct frame *f,
				      __u32 now_s)
{
	if ((f->flags & (TCP_SYN | TCP_ACK)) != TCP_SYN)
		return fl->state != GATE_FLOW_CLOSED || !f->payload ||
		       now_s - fl->seen <= GATE_CLOSED_DATA_S;
	return fl->state == GATE_FLOW_SYN_SENT && now_s - fl->seen <= GATE_SYN_RETRANSMIT_S;
}

/* A known flow: passes, or is cut since the VM was closed meanwhile. */
static __always_inline void judge_known(struct ruling *r, struct gate_flow *fl, const struct who *w,
					const struct policy *p, const struct frame *f, bool closed,
					bool drain, __u32 now_s)
{
	if (closed && !drain && r->enforce) {
		r->reason = p->quarantined ? GATE_R_QUARANTINED : GATE_R_BLOCKED_FLOW;
		r->flow = flow_close(fl, w->slot, w->override_base, now_s);
		return;
	}
	if (fl->state == GATE_FLOW_CLOSED) {
		r->reason = GATE_R_LATE_SEGMENT;
		return;
	}
	r->reason = closed && drain ? GATE_R_DRAINING : GATE_R_KNOWN_FLOW;
	advance_flow(fl, w, f, now_s);
}

/*
 * A closed VM's SYN is refused whatever flow it may repeat, so no flow is looked up for
 * it: in a flood of refusals that is the one thing which no cache would hold. A flow that
 * it does repeat has not begun yet and dies of age.
 */
static __always_inline bool needs_no_flow(const struct ruling *r, const struct policy *p,
					  const struct frame *f)
{
	return r->enforce && !p->shadowed && (f->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

static __always_inline void judge_flow(struct ruling *r, const struct who *w,
				       const struct policy *p, const struct frame *f)
{
	struct admission a = { .now = p->now };
	struct gate_flow none = {}, *fl;
	struct gate_flow_set *set;
	__u64 key;
	bool closed, drain;
	__u32 now_s;

	closed = is_closed(p);
	drain = !p->quarantined && strictest(p)->flags & GATE_NODE_DRAIN;
	if (closed && !drain && needs_no_flow(r, p, f)) {
		r->reason = p->quarantined ? GATE_R_QUARANTINED : GATE_R_BLOCKED;
		r->flow = 1;
		return;
	}
	key = flow_key(f, 0);
	set = flow_set(w->slot, key_set(key));
	if (!set)
		return;
	now_s = p->now / NSEC_PER_SEC;
	fl = w->dry ? 0 : flow_find(set, key_fingerprint(key));
	if (fl && flow_is_dead(fl, now_s)) {
		flow_replace(fl, &none, w->slot, w->override_base);
		fl = 0;
	}
	if (fl && continues(fl, f, now_s)) {
		judge_known(r, fl, w, p, f, closed, drain, now_s);
		return;
	}
	r->flow = 1;
	a.bucket = p->own.bucket;
	if (closed)
		r->reason = p->quarantined ? GATE_R_QUARANTINED : GATE_R_BLOCKED;
	else if (!(f->flags & TCP_SYN) && w->grace_until > p->now)
		r->reason = GATE_R_ADOPTED;
	else
		r->reason = admit(&a, w, p, f);
	if (w->dry)
		return;
	if (a.dest_new)
		count(counters_of(w->slot), new_destinations);
	if (p->shadowed)
		judge_shadow(w, p->port, p->now, a.dest_new, r->reason == GATE_R_NEW_FLOW);
	if (r->reason == GATE_R_NEW_FLOW) {
		if (w->binding == GATE_BINDING_LEARN)
			learn_source(w, f, p->now);
	} else {
		if (r->enforce && r->reason != GATE_R_ADOPTED)
			return;
		active_add(w->slot, w->override_base, a.bucket, 1);
	}
	enter_flow(set, fl, key, w, f, a.bucket, now_s);
}

/* ---- one frame from a VM ---- */

/* What no policy can make readable: dropped from a closed VM, else counted. */
static __always_inline bool judge_unreadable(struct ruling *r, const struct frame *f, bool closed)
{
	switch (f->kind) {
	case FRAME_TINY:
		r->reason = GATE_R_FRAGMENT_TINY;
		return true;
	case FRAME_CHAIN:
		r->reason = GATE_R_FRAGMENT_CHAIN;
		return true;
	case FRAME_LATER:
		r->reason = closed ? GATE_R_FRAGMENT_LATER : GATE_R_FRAGMENT;
		break;
	case FRAME_MALFORMED:
		r->reason = closed ? GATE_R_MALFORMED : GATE_R_UNREADABLE;
		break;
	case FRAME_TOO_DEEP:
		r->reason = closed ? GATE_R_TOO_DEEP : GATE_R_UNREADABLE;
		break;
	case FRAME_HIDDEN:
		r->reason = closed ? GATE_R_HIDDEN : GATE_R_UNREADABLE;
		break;
	case FRAME_REWRITTEN:
		r->reason = GATE_R_REWRITTEN;
		break;
	default:
		return false;
	}
	return true;
}

/* What a source route (RFC 791 3.1, RFC 8200 4.4) calls its destination is only the next stop. */
static __always_inline bool leads_to_exempt(const struct who *w, const struct frame *f,
					    __u64 conf_flags)
{
	return !f->detour && is_exempt(w, (const struct address *)f->dst, conf_flags);
}

/*
 * The policy for one frame, and the rulings that need no flow. True: judge_flow
 * has the word.
 */
static __always_inline bool decide(struct ruling *r, struct policy *p, struct who *w,
				   const struct frame *f, __u64 conf_flags)
{
	enum gate_reason source;

	p->port = f->port;
	p->shadowed = !!(conf_flags & GATE_CONF_SHADOW);
	source = check_source(w, f, conf_flags, p->now);
	find_policy(p, w);
	r->enforce = conf_flags & GATE_CONF_ENFORCE && (p->quarantined || !p->observed);
	r->refuse = GATE_REFUSE_DROP;

	if (judge_unreadable(r, f, is_closed(p))) {
		if (r->reason == GATE_R_FRAGMENT_LATER && !p->quarantined &&
		    leads_to_exempt(w, f, conf_flags))
			r->reason = GATE_R_EXEMPT;
		return false;
	}
	if (!p->quarantined && source != GATE_R_NOT_GATED) {
		r->reason = source;
		return false;
	}
	if (!p->quarantined && leads_to_exempt(w, f, conf_flags)) {
		r->reason = GATE_R_EXEMPT;
		r->flow = (f->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
		return false;
	}
	r->refuse = p->quarantined ? p->quarantine_refuse : strictest(p)->refuse;
	return true;
}

/* Counts what a ruling means to its VM. */
static __always_inline void account(const struct ruling *r, const struct who *w,
				    const struct frame *f)
{
	struct gate_counters *c = counters_of(w->slot);
	enum gate_verdict v = verdict_of(r->reason);

	count_reason(r->reason, v != GATE_V_PASS && !r->enforce);
	if (!c)
		return;
	if (f->kind == FRAME_GATED) {
		count_add(c, packets_from_vm, f->segments);
		count_add(c, bytes_from_vm, f->bytes);
	}
	switch (v) {
	case GATE_V_PASS:
		if (r->reason == GATE_R_NEW_FLOW)
			count_flow(w->slot, c, f->port, flows_admitted);
		else if (r->reason == GATE_R_UNREADABLE)
			count(c, unclassifiable);
		else if (r->reason == GATE_R_EXEMPT && r->flow)
			count(c, exempt);
		return;
	case GATE_V_LIMITED:
	case GATE_V_BLOCKED:
		if (!r->flow)
			break;
		if (!r->enforce)
			count_flow(w->slot, c, f->port, flows_would_refuse);
		else if (v == GATE_V_LIMITED)
			count_flow(w->slot, c, f->port, flows_limited);
		else
			count_flow(w->slot, c, f->port, flows_blocked);
		break;
	case GATE_V_SPOOFED:
		count(c, spoofed);
		break;
	case GATE_V_UNSOLICITED:
		count(c, unsolicited);
		break;
	case GATE_V_UNCLASSIFIABLE:
		count(c, unclassifiable);
		break;
	case GATE_V_FRAGMENT:
		if (r->enforce)
			count(c, fragments_dropped);
		break;
	default:
		break;
	}
	if (r->enforce)
		count_add(c, packets_dropped, f->segments);
}

#endif
