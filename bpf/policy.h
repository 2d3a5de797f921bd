/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which policy decides: the chain ip, mac, vm, tenant, default, in this order,
 * the specific port before all ports; an expired node is as if it were not
 * there, so expiry holds when the daemon is dead. Quarantine and observe count
 * wherever they stand on the chain.
 */
#ifndef GATE25_BPF_POLICY_H
#define GATE25_BPF_POLICY_H

#include "identify.h"

struct choice {
	__u32 node;			/* the deciding one, 0 = nothing decides */
	__u32 bucket;			/* id of the bucket set it spends from */
	__u32 handle;			/* where it stands */
	__u8 state, refuse, flags, pad; /* of struct gate_node */
};

struct policy {
	struct choice own;
	struct choice
		tight;	  /* must hold too: of an address or MAC not registered, or a stranger's */
	__u32 port;	  /* index of the gated port that is asked for */
	__u32 quarantine; /* handle that quarantines */
	__u8 quarantined, observed, quarantine_refuse;
	__u8 candidate; /* the shadow policy, not the live one */
	__u8 shadowed;	/* there is a shadow policy */
	__u8 pad[3];
	__u64 now;
};

/*
 * Two calls that the compiler must not make one of: the kernel puts a look-up in
 * line only where it knows the map.
 */
static __always_inline __u64 *find_head(bool candidate, __u32 handle)
{
	__u64 *head;

	if (!candidate)
		return bpf_map_lookup_elem(&heads, &handle);
	head = bpf_map_lookup_elem(&shadow_heads, &handle);
	barrier_var(head);
	return head;
}

static __always_inline void walk_scope(struct policy *p, struct choice *c, __u32 handle,
				       __u32 bucket)
{
	const struct gate_node *node;
	__u64 *head;
	__u32 i;

	head = find_head(p->candidate, handle);
	if (!head || !*head)
		return;
	i = *head;
	node = bpf_map_lookup_elem(&nodes, &i);
	if (!node)
		return;
	if (node->quarantine_until > p->now) {
		p->quarantined = 1;
		p->quarantine = handle;
		p->quarantine_refuse = node->quarantine_refuse;
	}
	if (node->flags & GATE_NODE_OBSERVE)
		p->observed = 1;
	if (c->node || node->state == GATE_INHERIT || (node->expires && node->expires <= p->now))
		return;
	c->handle = handle;
	c->node = i;
	c->bucket = bucket;
	c->state = node->state;
	c->refuse = node->refuse;
	c->flags = node->flags;
}

PROVEN_ONCE int walk_base(struct policy *p, struct choice *c, __u32 base, __u32 bucket)
{
	if (!p || !c)
		return 0;
	if (params.scopes > 1)
		walk_scope(p, c, base * params.scopes + 1 + p->port, bucket + 1 + p->port);
	walk_scope(p, c, base * params.scopes, bucket);
	return 0;
}

/* One subject: its policy for the port in question, then that for all ports. */
static __always_inline void walk(struct policy *p, struct choice *c, __u32 base, __u32 bucket)
{
	if (base)
		walk_base(p, c, base, bucket);
}

/* The same, in line, for the two subjects that are looked at for every frame. */
static __always_inline void walk_near(struct policy *p, struct choice *c, __u32 base)
{
	if (params.scopes > 1)
		walk_base(p, c, base, 0);
	else
		walk_scope(p, c, base, 0);
}

#define BASE_BOTTOM  0
#define BASE_DEFAULT 1

/* The strictest of all chains that anybody can enter: none hides another. */
static __always_inline void tighten(struct policy *p, __u32 base, __u32 wider)
{
	struct choice c = {};

	if (!base)
		return;
	walk_base(p, &c, base, 0);
	if (!c.node && (wider || base == BASE_DEFAULT))
		walk_base(p, &c, wider, 0);
	if (c.state > p->tight.state)
		p->tight = c;
}

static __always_inline void find_policy(struct policy *p, const struct who *w)
{
	__u8 observed;

	walk(p, &p->own, w->base[CHAIN_IP], w->ip_bucket);
	walk(p, &p->own, w->base[CHAIN_IP_WIDER], w->ip_bucket);
	walk(p, &p->own, w->base[CHAIN_MAC], w->mac_bucket);
	walk(p, &p->own, w->base[CHAIN_MAC_WIDER], w->mac_bucket);
	walk_near(p, &p->own, 2 + w->slot);
	if (w->tenant)
		walk(p, &p->own, 2 + params.max_vms + w->tenant, 0);
	walk_near(p, &p->own, BASE_DEFAULT);
	if (!p->own.node) /* beneath everything: the configuration, which never expires */
		walk_base(p, &p->own, BASE_BOTTOM, 0);

	/*
	 * What follows may only tighten, so `observe` on an address that anybody
	 * can forge counts for nothing. The tight bucket set is one for all scopes.
	 */
	observed = p->observed;
	tighten(p, w->any_ip[0], w->any_ip[1]);
	tighten(p, w->any_mac, 0);
	if (w->stranger)
		tighten(p, BASE_DEFAULT, BASE_BOTTOM);
	p->tight.bucket = params.scopes;
	p->observed = observed;
}

/* The stricter of the two says what is in force. */
static __always_inline const struct choice *strictest(const struct policy *p)
{
	return p->tight.state > p->own.state ? &p->tight : &p->own;
}

static __always_inline bool is_closed(const struct policy *p)
{
	return p->quarantined || p->own.state == GATE_BLOCK || p->tight.state == GATE_BLOCK;
}

#endif
