// SPDX-License-Identifier: GPL-2.0-only
/*
 * gate25: the packet programs at TC. The way of one packet is read top down here
 * and in judge.h; each step is a header of its own.
 *
 *   g25_from_vm     TC ingress of a VM port: what the VM sends. The gate.
 *   g25_to_vm       TC egress of a VM port: what it is answered.
 *   g25_uplink_out  TC egress of an uplink: the backstop for frames that no
 *                   from_vm has judged; or, in uplink mode, the gate itself.
 *
 * A pass is TC_ACT_UNSPEC: the next program on the hook decides. TC_ACT_OK would
 * skip it.
 */
#include "judge.h"
#include "refuse.h"
#include "reply.h"

#define ACT_PASS (-1) /* TC_ACT_UNSPEC */
#define ACT_DROP 2    /* TC_ACT_SHOT */

const volatile struct gate_params params;

enum hook { FROM_VM, UPLINK_OUT };

/* An skb may be a super-packet: one frame, many segments. */
static __always_inline void read_skb(struct __sk_buff *skb, struct frame *f, __u32 seen, bool reply)
{
	read_frame(skb, f, seen, reply);
	f->bytes = skb->len;
	f->segments = 1;
	if (skb->gso_size && f->payload > skb->gso_size)
		f->segments = (f->payload + skb->gso_size - 1) / skb->gso_size;
	f->vlan = skb->vlan_tci & 0xfff;
}

/* The one exit: counts, tells, and turns a ruling into an action. */
static __always_inline int settle(struct __sk_buff *skb, const struct work *k, enum hook hook)
{
	const struct ruling *r = &k->r;
	const struct frame *f = &k->f;
	const struct who *w = &k->w;
	int action = -1;

	account(r, w, f);
	if (verdict_of(r->reason) == GATE_V_PASS || !r->enforce) {
		if (verdict_of(r->reason) != GATE_V_PASS && r->flow)
			tell(w->slot, w->ifindex, f, TELL(GATE_E_WOULD_REFUSE, r->reason),
			     k->p.now);
		if (hook == FROM_VM && params.stamp_mask)
			skb->mark = (skb->mark & ~params.stamp_mask) | params.stamp;
		return ACT_PASS;
	}
	tell(w->slot, w->ifindex, f, TELL(GATE_E_REFUSED, r->reason), k->p.now);
	if (hook != FROM_VM || !f->plain || f->flags & TCP_RST)
		return ACT_DROP;
	if (r->refuse == GATE_REFUSE_RESET) {
		action = refuse_reset(skb, f);
		if (action >= 0)
			count(counters_of(w->slot), resets_sent);
	} else if (r->refuse == GATE_REFUSE_ICMP) {
		action = refuse_icmp(skb, f);
	}
	return action >= 0 ? action : ACT_DROP;
}

/* Passes with a reason of its own, on behalf of no VM. */
static __always_inline int pass_as(enum gate_reason reason)
{
	count_reason(reason, false);
	return ACT_PASS;
}

/* `gate25 why`: the whole of it, but for what it would spend and count. */
static __always_inline int leave_trace(const struct work *k)
{
	__u32 zero = 0;
	struct gate_global *g = bpf_map_lookup_elem(&global, &zero);
	struct gate_trace *t;

	if (!g)
		return ACT_PASS;
	t = &g->trace;
	t->now = k->p.now;
	t->slot = k->w.slot;
	t->own = k->p.own.handle;
	t->own_node = k->p.own.node;
	t->own_bucket = k->p.own.bucket;
	t->tight = k->p.tight.handle;
	t->tight_node = k->p.tight.node;
	t->quarantine = k->p.quarantine;
	t->reason = k->r.reason;
	t->enforce = k->r.enforce;
	t->refuse = k->r.refuse;
	t->kind = k->f.kind;
	t->observed = k->p.observed;
	t->stranger = k->w.stranger;
	t->runs++;
	return ACT_PASS;
}

static __noinline int from_vm(struct __sk_buff *skb, __u32 seen)
{
	struct gate_conf *c = conf_get();
	struct work *k = work_begin();
	struct gate_port *port;

	if (!c || !k)
		return ACT_PASS;
	read_skb(skb, &k->f, seen, false);
	if (k->f.kind == FRAME_OTHER)
		return pass_as(GATE_R_NOT_GATED);
	k->w.ifindex = skb->ifindex;
	if (params.dry_run_mark && skb->mark == params.dry_run_mark) {
		k->w.dry = 1;
		k->w.slot = skb->priority;
	} else {
		port = find_port(c, k->w.ifindex);
		if (port)
			k->w.slot = slot_of_port(port, k->w.ifindex, &k->f);
	}
	if (!find_vm(&k->w))
		return pass_as(GATE_R_NOT_GATED);
	if (decide(&k->r, &k->p, &k->w, &k->f, c->flags))
		judge_flow(&k->r, &k->w, &k->p, &k->f);
	return k->w.dry ? leave_trace(k) : settle(skb, k, FROM_VM);
}

SEC("tc")
int g25_from_vm(struct __sk_buff *skb)
{
	__u32 seen = glance(skb, false, &params);

	return seen == FRAME_OTHER ? ACT_PASS : from_vm(skb, seen);
}

/* ---- the backstop ---- */

/*
 * Which VM answers for a frame that leaves by the uplink? GATE_R_NEW_FLOW when
 * it is to be judged here, else why it passes.
 */
static __always_inline enum gate_reason find_source(struct __sk_buff *skb, struct who *w,
						    const struct frame *f, struct gate_conf *c)
{
	struct gate_port *port;

	w->ifindex = skb->ingress_ifindex;
	if (!w->ifindex)
		return GATE_R_HOST;
	if (params.uplink_mode) {
		w->slot = slot_by_source(0, f, GATE_SLOT_UNKNOWN);
		return GATE_R_NEW_FLOW;
	}
	port = find_port(c, w->ifindex);
	if (!port) /* a port that the daemon has not seen: one bucket for all of them */
		return GATE_R_NEW_FLOW;
	if (!(port->flags & GATE_PORT_VM))
		return c->flags & GATE_CONF_FORWARD_DROP ? GATE_R_NEW_FLOW : GATE_R_FORWARDED;
	if (port->flags & GATE_PORT_JUDGED)
		return GATE_R_JUDGED;
	if (port->flags & GATE_PORT_STAMPED && params.stamp_mask &&
	    (skb->mark & params.stamp_mask) == params.stamp)
		return GATE_R_JUDGED;
	w->slot = slot_of_port(port, w->ifindex, f);
	return GATE_R_NEW_FLOW;
}

static __noinline int uplink_out(struct __sk_buff *skb, __u32 seen)
{
	struct gate_conf *c = conf_get();
	struct work *k = work_begin();
	enum gate_reason reason;

	if (!c || !k)
		return ACT_PASS;
	read_skb(skb, &k->f, seen, false);
	if (k->f.kind == FRAME_OTHER)
		return pass_as(GATE_R_NOT_GATED);
	reason = find_source(skb, &k->w, &k->f, c);
	if (reason != GATE_R_NEW_FLOW)
		return pass_as(reason);
	if (!find_vm(&k->w))
		return pass_as(GATE_R_NOT_GATED);
	/* After routing the source MAC is the host's, so it says nothing here. */
	k->w.routed = !params.uplink_mode;
	if (decide(&k->r, &k->p, &k->w, &k->f, c->flags))
		judge_flow(&k->r, &k->w, &k->p, &k->f);
	return settle(skb, k, UPLINK_OUT);
}

SEC("tc")
int g25_uplink_out(struct __sk_buff *skb)
{
	__u32 seen = glance(skb, false, &params);

	return seen == FRAME_OTHER ? ACT_PASS : uplink_out(skb, seen);
}

#include "to_vm.h"

char LICENSE[] SEC("license") = "GPL";
