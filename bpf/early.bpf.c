// SPDX-License-Identifier: GPL-2.0-only
/*
 * Early drop: the same readers, policy and counters at XDP, where a blocked VM's
 * SMTP dies before an skb exists. It only ever drops what a closed VM sends and
 * what is answered by nothing; all else goes on to from_vm, which is the
 * authority. So it takes no token, begins no flow and counts nothing that passes.
 */
#define GATE_XDP
#include "judge.h"

const volatile struct gate_params params;

/* Is it for from_vm to say? Then nothing may be counted here. */
static __always_inline bool left_to_from_vm(const struct ruling *r, const struct policy *p)
{
	return !r->enforce || !is_closed(p) || r->refuse != GATE_REFUSE_DROP ||
	       (!p->quarantined && strictest(p)->flags & GATE_NODE_DRAIN);
}

static __noinline int early(struct xdp_md *ctx, __u32 seen)
{
	struct gate_conf *c = conf_get();
	struct work *k = work_begin();
	struct gate_port *port;
	int open;

	if (!c || !k)
		return XDP_PASS;
	read_frame(ctx, &k->f, seen, false);
	if (k->f.kind == FRAME_OTHER)
		return XDP_PASS;
	k->f.bytes = ctx_len(ctx);
	k->f.segments = 1;
	k->w.ifindex = ctx->ingress_ifindex;
	port = find_port(c, k->w.ifindex);
	if (!port || !(port->flags & GATE_PORT_VM))
		return XDP_PASS;
	k->w.slot = slot_of_port(port, k->w.ifindex, &k->f);
	if (!find_vm(&k->w))
		return XDP_PASS;
	k->w.early = 1;
	open = decide(&k->r, &k->p, &k->w, &k->f, c->flags);
	if (left_to_from_vm(&k->r, &k->p))
		return XDP_PASS;
	if (open)
		judge_flow(&k->r, &k->w, &k->p, &k->f);
	if (verdict_of(k->r.reason) == GATE_V_PASS)
		return XDP_PASS;
	account(&k->r, &k->w, &k->f);
	tell(k->w.slot, k->w.ifindex, &k->f, TELL(GATE_E_REFUSED, k->r.reason), k->p.now);
	return XDP_DROP;
}

SEC("xdp")
int g25_early_drop(struct xdp_md *ctx)
{
	__u32 seen = glance(ctx, false, &params);

	return seen == FRAME_OTHER ? XDP_PASS : early(ctx, seen);
}

char LICENSE[] SEC("license") = "GPL";
