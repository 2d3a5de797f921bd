/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * May this new flow begin? All limits are checked first and taken together; a
 * refusal takes nothing, a step that fails late gives back what was taken.
 *
 * Element 0 of nodes and budgets is never in force and has no rates: 0 stands for a
 * limit that is not there, and is not looked up.
 */
#ifndef GATE25_BPF_ADMIT_H
#define GATE25_BPF_ADMIT_H

#include "flow.h"
#include "limit.h"
#include "policy.h"

#define DEST_WINDOW_S 3600 /* what "new" means where no limit says so */

/* The rates of a node or budget, and the words they are counted in. */
struct rates {
	struct gate_rate rate[GATE_MAX_RATES];
};

struct tats {
	__u64 word[GATE_MAX_RATES];
};

enum purse_state { PURSE_EMPTY, PURSE_OPEN, PURSE_ASK_FINE_CLOCK, PURSE_STALE };

/* Would each rate give one now? */
static __always_inline int purse_look(const struct tats *t, const struct rates *r, __u32 n,
				      __u64 now)
{
	if (!t || !r)
		return PURSE_OPEN;
	for (__u32 i = 0; i < GATE_MAX_RATES; i++) {
		if (i >= n)
			break;
		if (limit_conforms(t->word[i], &r->rate[i], now))
			continue;
		if (limit_is_stale(t->word[i], &r->rate[i], now))
			return PURSE_STALE;
		return limit_falls_short(t->word[i], &r->rate[i], now) ? PURSE_ASK_FINE_CLOCK
								       : PURSE_EMPTY;
	}
	return PURSE_OPEN;
}

static __always_inline int purse_give_back(struct tats *t, const struct rates *r, __u32 n)
{
	if (!t || !r)
		return 0;
	for (__u32 i = 0; i < GATE_MAX_RATES; i++)
		if (i < n)
			limit_give_back(&t->word[i], &r->rate[i]);
	return 0;
}

/* For words that one policy at a time spends from, see limit_refresh(). */
static __always_inline int purse_refresh(struct tats *t, const struct rates *r, __u32 n, __u64 now)
{
	for (__u32 i = 0; i < GATE_MAX_RATES; i++)
		if (i < n)
			limit_refresh(&t->word[i], &r->rate[i], now);
	return PURSE_OPEN;
}

/* Takes one of each rate, or none. */
static __always_inline int purse_take(struct tats *t, const struct rates *r, __u32 n, __u64 now)
{
	if (!t || !r)
		return PURSE_OPEN;
	for (__u32 i = 0; i < GATE_MAX_RATES; i++) {
		if (i >= n)
			break;
		if (limit_take(&t->word[i], &r->rate[i], now))
			continue;
		purse_give_back(t, r, i);
		return PURSE_EMPTY;
	}
	return PURSE_OPEN;
}

PROVEN_ONCE int purse_take_one(__u64 *tat, const struct gate_rate *r, __u64 now)
{
	return !tat || !r || limit_take(tat, r, now);
}

enum purse_deed { PURSE_LOOK, PURSE_TAKE, PURSE_GIVE_BACK, PURSE_REFRESH };

static __always_inline int purse_do(enum purse_deed deed, struct tats *t, const struct rates *r,
				    __u32 n, __u64 now)
{
	if (deed == PURSE_LOOK)
		return purse_look(t, r, n, now);
	if (deed == PURSE_TAKE)
		return purse_take(t, r, n, now);
	if (deed == PURSE_REFRESH)
		return purse_refresh(t, r, n, now);
	return purse_give_back(t, r, n);
}

PROVEN_ONCE int node_purse(__u32 index, __u32 bucket, __u32 deed, __u64 now)
{
	const struct gate_node *node = bpf_map_lookup_elem(&nodes, &index);
	struct gate_bucket_set *b = bpf_map_lookup_elem(&buckets, &bucket);

	if (!node || !b || node->state != GATE_LIMIT)
		return PURSE_OPEN;
	return purse_do(deed, (struct tats *)b->tat, (const struct rates *)node->rates,
			node->nrates, now);
}

PROVEN_ONCE int budget_purse(__u32 index, __u32 deed, __u64 now)
{
	struct gate_budget *b = bpf_map_lookup_elem(&budgets, &index);

	if (!b)
		return PURSE_OPEN;
	return purse_do(deed, (struct tats *)b->tat, (const struct rates *)b->rates, b->nrates,
			now);
}

/* All that a new flow of a VM spends from. */
struct purses {
	__u32 own, own_bucket, tight, tight_bucket; /* nodes and places in `buckets` */
	__u32 tenant, prefix;			    /* budgets; everywhere 0 = none */
};

#define PURSES	    4
#define PURSE_TIGHT 1 /* guests can choose which policy spends from it */

static __always_inline int purse_nth(const struct purses *p, int i, enum purse_deed deed, __u64 now)
{
	if (i == 0)
		return p->own ? node_purse(p->own, p->own_bucket, deed, now) : PURSE_OPEN;
	if (i == 1)
		return p->tight ? node_purse(p->tight, p->tight_bucket, deed, now) : PURSE_OPEN;
	if (i == 2)
		return p->tenant ? budget_purse(p->tenant, deed, now) : PURSE_OPEN;
	return p->prefix ? budget_purse(p->prefix, deed, now) : PURSE_OPEN;
}

static __always_inline enum gate_reason purse_reason(int i)
{
	return i < 2 ? GATE_R_LIMIT_RATE : GATE_R_LIMIT_BUDGET;
}

/* What `admit` is asked and what it answers, beside its reason. */
struct admission {
	__u64 now;
	__u32 bucket;	/* out: id of the bucket set whose `active` is one up now */
	__u32 dest_new; /* out: a destination that the VM had not been to */
};

struct limits {
	__u32 own, tight; /* concurrent flows, 0 = no limit */
	struct gate_rate destinations;
	__u32 destinations_tight; /* counted in the tight set */
	__u32 pad;
};

static __always_inline void limits_of(struct limits *l, __u32 index, bool tight)
{
	const struct gate_node *node;

	if (!index)
		return;
	node = bpf_map_lookup_elem(&nodes, &index);
	if (!node)
		return;
	*(tight ? &l->tight : &l->own) = node->concurrent;
	if (l->destinations.interval_ns || !node->destinations.interval_ns)
		return;
	l->destinations = node->destinations;
	l->destinations_tight = tight;
}

/*
 * Flows counted in the tight set count against the own limit too: else forging
 * an address would bring a second allowance. Negative sums are what is left of a
 * race with the sweep; they count as none.
 */
static __always_inline bool concurrent_full(const struct gate_bucket_set *own,
					    const struct gate_bucket_set *tight,
					    const struct limits *l, __s32 one)
{
	__s32 o = *(volatile __s32 *)&own->active, t = *(volatile __s32 *)&tight->active;

	if (t < 0)
		t = 0;
	return (l->own && o + t - one >= (__s32)l->own) || (l->tight && t - one >= (__s32)l->tight);
}

/* Seconds for which a destination counts as known. */
static __always_inline __u32 dest_window(const struct limits *l)
{
	if (!l->destinations.interval_ns)
		return DEST_WINDOW_S;
	return (l->destinations.tolerance_ns + l->destinations.interval_ns) / NSEC_PER_SEC;
}

/* Takes from all purses or from none. */
static __always_inline enum gate_reason take_all(const struct purses *p, __u64 now)
{
	for (int i = 0; i < PURSES; i++) {
		if (purse_nth(p, i, PURSE_TAKE, now) == PURSE_OPEN)
			continue;
		for (int k = 0; k < i; k++)
			purse_nth(p, k, PURSE_GIVE_BACK, now);
		return purse_reason(i);
	}
	return GATE_R_NEW_FLOW;
}

static __always_inline enum gate_reason look_at_all(const struct purses *p, __u64 *now, bool dry)
{
	int state;

	for (int i = 0; i < PURSES; i++) {
		state = purse_nth(p, i, PURSE_LOOK, *now);
		if (state == PURSE_ASK_FINE_CLOCK) {
			*now = bpf_ktime_get_ns();
			state = purse_nth(p, i, PURSE_LOOK, *now);
		}
		if (state == PURSE_STALE && i != PURSE_TIGHT) {
			if (!dry)
				purse_nth(p, i, PURSE_REFRESH, *now);
			state = dry ? PURSE_OPEN : purse_nth(p, i, PURSE_LOOK, *now);
		}
		if (state != PURSE_OPEN)
			return purse_reason(i);
	}
	return GATE_R_NEW_FLOW;
}

/*
 * Asks and takes: GATE_R_NEW_FLOW, or the limit that stands in the way. Admitted,
 * `active` of a->bucket is one up for the flow to come. Allowed VMs have no purse
 * of their own but spend from their tenant's budget all the same. A dry run asks
 * and takes nothing.
 */
PROVEN_ONCE int admit(struct admission *a, const struct who *w, const struct policy *p,
		      const struct frame *f)
{
	struct gate_bucket_set *own, *tight, *counted;
	struct purses purses = {};
	struct limits l = {};
	enum gate_reason reason;
	struct gate_dest_set *dests;
	__u64 dest;
	__u64 *dest_tat;
	bool dest_limited;
	int way;

	if (!a || !w || !p || !f)
		return GATE_R_NEW_FLOW;
	purses.own = p->own.state == GATE_LIMIT ? p->own.node : 0;
	purses.own_bucket = bucket_place(w->slot, w->override_base, p->own.bucket);
	purses.tight = p->tight.state == GATE_LIMIT ? p->tight.node : 0;
	purses.tight_bucket = bucket_place(w->slot, w->override_base, params.scopes);
	purses.tenant = w->budget;
	purses.prefix = w->prefix_budget;
	own = bpf_map_lookup_elem(&buckets, &purses.own_bucket);
	tight = bpf_map_lookup_elem(&buckets, &purses.tight_bucket);
	if (!own || !tight)
		return GATE_R_LIMIT_RATE;
	limits_of(&l, purses.own, false);
	limits_of(&l, purses.tight, true);

	reason = look_at_all(&purses, &a->now, w->dry);
	if (reason != GATE_R_NEW_FLOW)
		return reason;
	if (concurrent_full(own, tight, &l, 0)) {
		flow_sweep(w->slot, w->override_base, own, a->now / NSEC_PER_SEC);
		if (concurrent_full(own, tight, &l, 0))
			return GATE_R_LIMIT_CONCURRENT;
	}
	dest = dest_key(f);
	dests = dest_set(w->slot, key_set(dest));
	if (!dests)
		return GATE_R_LIMIT_DESTINATIONS;
	way = dest_look(dests, key_fingerprint(dest), a->now / NSEC_PER_SEC, dest_window(&l));
	dest_tat = l.destinations_tight ? &tight->destinations_tat : &own->destinations_tat;
	dest_limited = l.destinations.interval_ns && !(way & DEST_KNOWN);
	if (dest_limited && !l.destinations_tight && !w->dry)
		limit_refresh(dest_tat, &l.destinations, a->now);
	if (dest_limited && limit_falls_short(*dest_tat, &l.destinations, a->now))
		a->now = bpf_ktime_get_ns();
	if (dest_limited && !limit_conforms(*dest_tat, &l.destinations, a->now))
		return GATE_R_LIMIT_DESTINATIONS;

	if (w->dry)
		return GATE_R_NEW_FLOW;
	a->bucket = p->tight.state == GATE_LIMIT ? params.scopes : p->own.bucket;
	counted = p->tight.state == GATE_LIMIT ? tight : own;
	__sync_fetch_and_add(&counted->active, 1);
	reason = GATE_R_LIMIT_CONCURRENT;
	if (concurrent_full(own, tight, &l, 1))
		goto give_back;
	reason = GATE_R_LIMIT_DESTINATIONS;
	if (dest_limited && !purse_take_one(dest_tat, &l.destinations, a->now))
		goto give_back;
	reason = take_all(&purses, a->now);
	if (reason != GATE_R_NEW_FLOW) {
		if (dest_limited)
			limit_give_back(dest_tat, &l.destinations);
		goto give_back;
	}
	a->dest_new = !(way & DEST_KNOWN);
	dests->way[way & (GATE_DEST_WAYS - 1)] =
		(__u64)key_fingerprint(dest) << 32 | (__u32)(a->now / NSEC_PER_SEC);
	return GATE_R_NEW_FLOW;
give_back:
	__sync_fetch_and_add(&counted->active, -1);
	return reason;
}

#endif
