/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The flow table: for each VM a set-associative cache of its own, so that one VM
 * can neither evict nor slow another. A flow is found by a 32-bit fingerprint in
 * one cache line; set and fingerprint come from a keyed universal hash (NH, as
 * in UMAC, RFC 4418) whose key a guest does not know, so it cannot aim at
 * collisions: they happen with 2^-32 for each entry looked at.
 *
 * An entry's second word (state and the rest) is taken and closed by compare-and-
 * swap, its first word (fingerprint, seen) is written by the one who took it.
 * Whoever wins does the bookkeeping of `active`: each flow is counted down once.
 */
#ifndef GATE25_BPF_FLOW_H
#define GATE25_BPF_FLOW_H

#include "account.h"

#define NSEC_PER_SEC 1000000000ULL

/* A key: the set in the upper half, the fingerprint (never 0) in the lower. */
#define key_set(k)	   ((__u32)((k) >> 32))
#define key_fingerprint(k) ((__u32)(k))

static __always_inline __u64 hash_words(const __u32 *w, int words, int key)
{
	__u64 h = 0;

#pragma unroll
	for (int i = 0; i < words; i += 2)
		h += (__u64)(w[i] + params.seed[key + i]) *
		     (__u32)(w[i + 1] + params.seed[key + i + 1]);
	h ^= h >> 29;
	h *= 0x9e3779b97f4a7c15ULL;
	h ^= h >> 32;
	return (__u32)h ? h : h | 1;
}

/* `reply`: src is the peer, dst the VM. */
static __always_inline __u64 flow_key(const struct frame *f, bool reply)
{
	__u32 w[10] = {};

	__builtin_memcpy(w, reply ? f->dst : f->src, 16);
	__builtin_memcpy(w + 4, reply ? f->src : f->dst, 16);
	w[8] = reply ? (__u32)f->dport << 16 | f->sport : (__u32)f->sport << 16 | f->dport;
	return hash_words(w, 10, 0);
}

/* For where the VM has been; the peer is the destination. */
static __always_inline __u64 dest_key(const struct frame *f)
{
	return hash_words(f->dst, 4, 4);
}

static __always_inline struct gate_flow_set *flow_set(__u32 slot, __u32 number)
{
	__u32 i = slot * params.flow_sets + (number & (params.flow_sets - 1));

	return bpf_map_lookup_elem(&flows, &i);
}

/* A source is remembered among the destinations, under a key of its own. */
#define SOURCE_WINDOW_S (7 * 86400)

static __always_inline __u64 source_key(const struct frame *f)
{
	__u32 w[6] = {};

	__builtin_memcpy(w, f->src, 16);
	__builtin_memcpy(w + 4, f->mac, 6);
	return hash_words(w, 6, 2);
}

/* Does a flow in this state count as active? */
static __always_inline bool flow_counts(__u8 state)
{
	return state != GATE_FLOW_FREE && state != GATE_FLOW_CLOSED;
}

static __always_inline bool flow_is_dead(const struct gate_flow *fl, __u32 now_s)
{
	__u32 age = now_s - fl->seen;

	if ((__s32)age < 0)
		return false;
	switch (fl->state) {
	case GATE_FLOW_SYN_SENT:
		return age > GATE_SYN_SENT_S;
	case GATE_FLOW_OPEN:
		return age > GATE_IDLE_S;
	case GATE_FLOW_HALF:
		return age > GATE_HALF_CLOSED_S;
	default:
		return age > GATE_LINGER_S;
	}
}

static __always_inline __u32 bucket_place(__u32 slot, __u32 override_base, __u32 id)
{
	return id <= params.scopes ? slot * (params.scopes + 1) + id
				   : override_base + id - (params.scopes + 1);
}

static __always_inline struct gate_bucket_set *bucket_set(__u32 slot, __u32 override_base, __u32 id)
{
	__u32 i = bucket_place(slot, override_base, id);

	return bpf_map_lookup_elem(&buckets, &i);
}

static __always_inline void active_add(__u32 slot, __u32 override_base, __u32 id, int n)
{
	struct gate_bucket_set *b = bucket_set(slot, override_base, id);

	if (b)
		__sync_fetch_and_add(&b->active, n);
}

/*
 * Ends a flow: it lingers so that late segments neither count nor cost. True for
 * the one who ended it.
 */
static __always_inline bool flow_close(struct gate_flow *fl, __u32 slot, __u32 override_base,
				       __u32 now_s)
{
	__u64 *word = (__u64 *)&fl->state;
	__u64 old = *(volatile __u64 *)word;

	if (!flow_counts(old & 0xff))
		return false;
	if (__sync_val_compare_and_swap(word, old, (old & ~0xffULL) | GATE_FLOW_CLOSED) != old)
		return false;
	fl->seen = now_s;
	active_add(slot, override_base, (old >> 16) & 0xff, -1);
	return true;
}

/*
 * Takes the place of an entry whose second word is `old`; the flow there, if it was
 * alive, ends. The second word goes first: a flow that is only half entered must
 * not look like the closed one it replaces.
 */
static __always_inline bool flow_take(struct gate_flow *fl, __u64 old, const struct gate_flow *with,
				      __u32 slot, __u32 override_base)
{
	__u64 *word = (__u64 *)&fl->state;
	__u8 state = old & 0xff;

	if (__sync_val_compare_and_swap(word, old, *(__u64 *)&with->state) != old)
		return false;
	*(volatile __u64 *)fl = *(__u64 *)with;
	if (!flow_counts(state))
		return true;
	active_add(slot, override_base, (old >> 16) & 0xff, -1);
	if (state == GATE_FLOW_SYN_SENT)
		count(counters_of(slot), connects_timed_out);
	return true;
}

static __always_inline bool flow_replace(struct gate_flow *fl, const struct gate_flow *with,
					 __u32 slot, __u32 override_base)
{
	return flow_take(fl, *(volatile __u64 *)&fl->state, with, slot, override_base);
}

/* Moves a flow on; `state` 0 leaves it. What is closed stays closed. Returns the flags. */
static __always_inline __u32 flow_mark(struct gate_flow *fl, __u8 state, __u8 flags)
{
	__u64 *word = (__u64 *)&fl->state;

	for (int i = 0; i < 3; i++) {
		__u64 old = *(volatile __u64 *)word, new = old | (__u64)flags << 8;

		if (!flow_counts(old & 0xff))
			break;
		if (state)
			new = (new & ~0xffULL) | state;
		if (new == old || __sync_val_compare_and_swap(word, old, new) == old)
			return new >> 8 & 0xff;
	}
	return fl->flags;
}

static __always_inline struct gate_flow *flow_find(struct gate_flow_set *set, __u32 fingerprint)
{
#pragma unroll
	for (int i = 0; i < GATE_FLOW_WAYS; i++)
		if (set->way[i].fingerprint == fingerprint)
			return &set->way[i];
	return 0;
}

#define FLOW_SPARE 0x100 /* of flow_victim: no living flow was in the way */

/*
 * The way that is missed least: free, dead, closed, else the one unseen longest.
 * Searches like this return a number: pointers would multiply what the verifier
 * has to prove.
 */
PROVEN_ONCE int flow_victim(const struct gate_flow_set *set, __u32 now_s)
{
	__u32 best_rank = 0;
	int best = 0;

	if (!set)
		return 0;
	for (int i = 0; i < GATE_FLOW_WAYS; i++) {
		const struct gate_flow *fl = &set->way[i];
		__u32 rank = now_s - fl->seen;

		if (rank > 0x0fffffff) /* or seen a moment ahead of us */
			rank = 0;
		if (!fl->fingerprint)
			rank = 0x3fffffff;
		else if (flow_is_dead(fl, now_s))
			rank += 0x20000000;
		else if (fl->state == GATE_FLOW_CLOSED)
			rank += 0x10000000;
		if (rank >= best_rank) {
			best_rank = rank;
			best = i;
		}
	}
	return best | (best_rank >= 0x10000000 ? FLOW_SPARE : 0);
}

/*
 * Enters a flow. When two CPUs race for one place thrice the flow stays unknown:
 * its next packet pays again, which is the safe side.
 */
static __always_inline bool flow_insert(struct gate_flow_set *set, const struct gate_flow *fl,
					__u32 slot, __u32 override_base)
{
	for (int i = 0; i < 3; i++) {
		int victim = flow_victim(set, fl->seen);
		struct gate_flow *place = &set->way[victim & (GATE_FLOW_WAYS - 1)];
		__u64 old = *(volatile __u64 *)&place->state;

		/* Taken meanwhile by a flow that lives? */
		if (victim & FLOW_SPARE && flow_counts(old & 0xff) &&
		    !flow_is_dead(place, fl->seen))
			continue;
		if (flow_take(place, old, fl, slot, override_base))
			return true;
	}
	return false;
}

/*
 * Dead flows hold `active` up until somebody looks: the daemon's sweep does, and
 * so does this, a few sets at a time, when a VM is at its limit.
 */
PROVEN_ONCE int flow_sweep_set(struct gate_flow_set *set, __u32 slot, __u32 override_base,
			       __u32 now_s)
{
	struct gate_flow none = {};

	if (!set)
		return 0;
	for (int i = 0; i < GATE_FLOW_WAYS; i++)
		if (set->way[i].fingerprint && flow_is_dead(&set->way[i], now_s))
			flow_replace(&set->way[i], &none, slot, override_base);
	return 0;
}

static __always_inline void flow_sweep(__u32 slot, __u32 override_base, struct gate_bucket_set *b,
				       __u32 now_s)
{
	for (int n = 0; n < 4; n++)
		flow_sweep_set(flow_set(slot, b->sweep++), slot, override_base, now_s);
}

/*
 * Where a VM has been: a set of fingerprints with the time of the last visit.
 * Returns the way of `fingerprint`, or of the oldest entry; plus DEST_KNOWN when
 * the visit was within the window.
 */
#define DEST_KNOWN 0x100

PROVEN_ONCE int dest_look(const struct gate_dest_set *set, __u32 fingerprint, __u32 now_s,
			  __u32 window_s)
{
	__u32 oldest_seen = ~0U;
	int oldest = 0;

	if (!set)
		return 0;
	for (int i = 0; i < GATE_DEST_WAYS; i++) {
		__u64 entry = set->way[i];

		if (entry >> 32 == fingerprint)
			return i | (now_s - (__u32)entry <= window_s ? DEST_KNOWN : 0);
		if ((__u32)entry < oldest_seen) {
			oldest_seen = entry;
			oldest = i;
		}
	}
	return oldest;
}

static __always_inline struct gate_dest_set *dest_set(__u32 slot, __u32 number)
{
	__u32 i = slot * params.dest_sets + (number & (params.dest_sets - 1));

	return bpf_map_lookup_elem(&dests, &i);
}

#endif
