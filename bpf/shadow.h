/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The shadow policy: a candidate that is judged for each new flow beside the live
 * one, with words of its own, and decides nothing. Concurrent flows and known
 * destinations are those that the live policy has let come about; budgets and
 * exempt destinations are the live ones.
 */
#ifndef GATE25_BPF_SHADOW_H
#define GATE25_BPF_SHADOW_H

#include "admit.h"

/* One choice of the candidate: would it take the flow? Looks at all, then takes all. */
PROVEN_ONCE int shadow_admits(__u32 slot, __u32 index, __u32 active, __u64 now, __u32 dest_new)
{
	const struct gate_node *node = bpf_map_lookup_elem(&nodes, &index);
	struct gate_shadow *s = bpf_map_lookup_elem(&shadow, &slot);
	const struct rates *rates;
	struct tats *tats;

	if (!node || !s || node->state != GATE_LIMIT)
		return 1;
	rates = (const struct rates *)node->rates;
	tats = (struct tats *)s->tat;
	if (node->concurrent && active >= node->concurrent)
		return 0;
	if (!node->destinations.interval_ns)
		dest_new = 0;
	if (dest_new && !limit_conforms(s->destinations_tat, &node->destinations, now))
		return 0;
	purse_refresh(tats, rates, node->nrates, now);
	if (purse_look(tats, rates, node->nrates, now) == PURSE_EMPTY)
		return 0;
	if (dest_new)
		purse_take_one(&s->destinations_tat, &node->destinations, now);
	return purse_take(tats, rates, node->nrates, now) == PURSE_OPEN;
}

PROVEN_ONCE int judge_shadow(const struct who *w, __u32 port, __u64 now, __u32 dest_new,
			     __u32 admitted)
{
	struct policy p = { .now = now, .port = port, .candidate = 1 };
	struct gate_bucket_set *live;
	struct gate_shadow *s;
	__u32 active, slot;

	if (!w)
		return 0;
	slot = w->slot; /* on the stack: Linux 6.1 takes no key out of an argument */
	s = bpf_map_lookup_elem(&shadow, &slot);
	live = bucket_set(w->slot, w->override_base, 0);
	if (!s || !live)
		return 0;
	active = live->active - admitted; /* the flow in question is counted already */
	if ((__s32)active < 0)
		active = 0;
	find_policy(&p, w);
	if (is_closed(&p))
		__sync_fetch_and_add(&s->blocked, 1);
	else if (shadow_admits(w->slot, p.own.node, active, now, dest_new) &&
		 (!p.tight.node || shadow_admits(w->slot, p.tight.node, active, now, dest_new)))
		__sync_fetch_and_add(&s->admitted, 1);
	else
		__sync_fetch_and_add(&s->limited, 1);
	return 0;
}

#endif
