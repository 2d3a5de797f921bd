/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Rate arithmetic: the generic cell rate algorithm (ITU-T I.371) with one word
 * of state, the theoretical arrival time. A pure function of (state, rate, now);
 * also compiled on the host. Never more than burst + rate x time are admitted;
 * a refusal writes nothing.
 */
#ifndef GATE25_BPF_LIMIT_H
#define GATE25_BPF_LIMIT_H

#include <gate25/abi.h>
#include <stdbool.h>

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

#define LIMIT_TRIES 8

/* Would a token be had now? */
static __always_inline bool limit_conforms(__u64 tat, const struct gate_rate *rate, __u64 now)
{
	return tat <= now || tat - now <= rate->tolerance_ns;
}

/*
 * What the coarse clock may lag, two steps of 10 ms at HZ=100, and one CPU's reading of
 * it behind another's. Who is refused by no more than that has the fine one asked: else
 * the last token of a burst would be missing for a moment.
 */
#define CLOCK_LAG_NS 20000000ULL

/* Does it not conform, but by so little that the clock may be to blame? */
static __always_inline bool limit_falls_short(__u64 tat, const struct gate_rate *rate, __u64 now)
{
	return !limit_conforms(tat, rate, now) && tat - now - rate->tolerance_ns <= CLOCK_LAG_NS;
}

/*
 * A word written under a slower rate would hold a faster one up, a day's rate for
 * a day: what lies beyond all that this rate can have written is set back to where
 * one token is to be had. Only for words that one policy at a time spends from;
 * two that a guest can choose between would let the fast one reset the slow.
 * The slack covers the coarse clock, which lags behind the fine one.
 */
#define LIMIT_SLACK_NS 1000000000ULL

static __always_inline bool limit_is_stale(__u64 tat, const struct gate_rate *rate, __u64 now)
{
	return tat > now && tat - now > rate->tolerance_ns + rate->interval_ns + LIMIT_SLACK_NS;
}

static __always_inline void limit_refresh(__u64 *tat, const struct gate_rate *rate, __u64 now)
{
	__u64 old = *(volatile __u64 *)tat;

	if (limit_is_stale(old, rate, now))
		__sync_val_compare_and_swap(tat, old, now + rate->tolerance_ns);
}

/*
 * Takes a token by compare-and-swap. When others win all tries it adds
 * unconditionally and gives back what did not conform: never a refusal for lack
 * of a try, never a token too many.
 */
static __always_inline bool limit_take(__u64 *tat, const struct gate_rate *rate, __u64 now)
{
	__u64 old, start;

	for (int i = 0; i < LIMIT_TRIES; i++) {
		old = *(volatile __u64 *)tat;
		if (!limit_conforms(old, rate, now))
			return false;
		start = old > now ? old : now;
		if (__sync_val_compare_and_swap(tat, old, start + rate->interval_ns) == old)
			return true;
	}
	old = __sync_fetch_and_add(tat, rate->interval_ns);
	if (limit_conforms(old, rate, now))
		return true;
	__sync_fetch_and_add(tat, -rate->interval_ns);
	return false;
}

static __always_inline void limit_give_back(__u64 *tat, const struct gate_rate *rate)
{
	__sync_fetch_and_add(tat, -rate->interval_ns);
}

#endif
