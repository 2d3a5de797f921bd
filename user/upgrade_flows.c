// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Running flows go on in the new maps, where they have as many places as before. */
#include "upgrade_priv.h"

#include <string.h>

static struct gate_flow *find_flow(struct gate_flow_set *set, uint32_t fingerprint)
{
	for (int w = 0; w < GATE_FLOW_WAYS; w++)
		if (set->way[w].fingerprint == fingerprint)
			return &set->way[w];
	return NULL;
}

static void count_active(struct gate_maps *to, uint32_t slot, uint32_t bucket, int n)
{
	uint32_t index = gate_bucket_index(to, slot, bucket);

	if (index < to->nbuckets)
		__atomic_fetch_add(&to->buckets[index].active, n, __ATOMIC_RELAXED);
}

/* A flow that is copied already: it may have gone on in the old map, states only grow. */
static void advance_flow(struct gate_maps *to, uint32_t slot, struct gate_flow *flow,
			 const struct gate_flow *from)
{
	if (from->state <= flow->state)
		return;
	flow->seen = from->seen;
	flow->flags = from->flags;
	flow->reply = from->reply;
	flow->peer_seq = from->peer_seq;
	uint8_t was = __atomic_exchange_n(&flow->state, from->state, __ATOMIC_ACQ_REL);
	if (from->state == GATE_FLOW_CLOSED && was != GATE_FLOW_CLOSED)
		count_active(to, slot, flow->bucket, -1);
}

/*
 * Puts a flow into a free way of its set; without one the flow is adopted anew later.
 * As the programs do: the second word is taken first.
 */
static void put_flow(const struct gate_upgrade *u, struct gate_maps *to, uint32_t slot,
		     struct gate_flow_set *set, const struct gate_flow *flow)
{
	struct gate_flow copy = *flow;

	copy.bucket = (uint8_t)gate_upgrade_bucket_id(u, flow->bucket);
	for (int w = 0; w < GATE_FLOW_WAYS; w++) {
		struct gate_flow *way = &set->way[w], was = *way;
		uint64_t words[2], old;

		memcpy(words, &copy, sizeof(words));
		memcpy(&old, &was.state, sizeof(old));
		if (was.fingerprint ||
		    (was.state != GATE_FLOW_FREE && was.state != GATE_FLOW_CLOSED))
			continue;
		if (!__atomic_compare_exchange_n((uint64_t *)&way->state, &old, words[1], false,
						 __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			continue;
		__atomic_store_n((uint64_t *)way, words[0], __ATOMIC_RELEASE);
		if (copy.state != GATE_FLOW_CLOSED)
			count_active(to, slot, copy.bucket, 1);
		return;
	}
}

static void merge_flow(const struct gate_upgrade *u, struct gate_maps *to, size_t set,
		       const struct gate_flow *from)
{
	const uint32_t slot = (uint32_t)(set / u->old.flow_sets);
	struct gate_flow *known = find_flow(&to->flows[set], from->fingerprint);

	if (known)
		advance_flow(to, slot, known, from);
	else
		put_flow(u, to, slot, &to->flows[set], from);
}

static void merge_flows(const struct gate_upgrade *u, struct gate_maps *to, size_t slot)
{
	const size_t end = (slot + 1) * u->old.flow_sets;
	struct gate_flow_set buf;

	if (u->old.flow_sets != u->new.flow_sets)
		return;
	for (size_t i = slot * u->old.flow_sets; i < end; i++) {
		const struct gate_flow_set *set =
			gate_source_at(u, GATE_MAP_flows, (uint32_t)i, &buf);
		for (int w = 0; w < GATE_FLOW_WAYS; w++)
			if (set->way[w].fingerprint && set->way[w].state != GATE_FLOW_FREE)
				merge_flow(u, to, i, &set->way[w]);
	}
}

static void merge_destinations(const struct gate_upgrade *u, struct gate_maps *to, size_t slot)
{
	const size_t end = (slot + 1) * u->old.dest_sets;
	struct gate_dest_set buf;

	if (u->old.dest_sets != u->new.dest_sets)
		return;
	for (size_t i = slot * u->old.dest_sets; i < end; i++) {
		const struct gate_dest_set *set =
			gate_source_at(u, GATE_MAP_dests, (uint32_t)i, &buf);
		for (int w = 0; w < GATE_DEST_WAYS; w++)
			if (!to->dests[i].way[w])
				to->dests[i].way[w] = set->way[w];
	}
}

void gate_upgrade_flows(const struct gate_upgrade *u, struct gate_maps *to, uint32_t slot,
			uint32_t nslots)
{
	for (uint32_t end = slot + nslots; slot < end; slot++) {
		if (!gate_upgrade_same_vm(u, to, slot))
			continue;
		merge_flows(u, to, slot);
		merge_destinations(u, to, slot);
	}
}
