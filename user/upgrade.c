// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* From maps of other sizes to new ones; see upgrade.h for the theory. */
#include "upgrade.h"
#include "clock.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct gate_upgrade {
	struct gate_maps from;
	struct gate_sizes old;
	struct gate_sizes new; /* set by begin or finish from the target's conf */
	/* what `reasons` held when last brought over: 2 * GATE_R_MAX * ncpus words */
	uint64_t *reasons;
};

static uint32_t min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

int gate_upgrade_open(struct gate_upgrade **out, const char *dir)
{
	struct gate_upgrade *u = calloc(1, sizeof(*u));

	if (!u)
		return -ENOMEM;
	int err = gate_maps_open(dir, &u->from, &u->old);
	if (err) {
		free(u);
		return err;
	}
	u->reasons = calloc((size_t)2 * GATE_R_MAX * u->from.ncpus, sizeof(*u->reasons));
	if (!u->reasons) {
		gate_upgrade_close(u);
		return -ENOMEM;
	}
	*out = u;
	return 0;
}

void gate_upgrade_close(struct gate_upgrade *u)
{
	if (!u)
		return;
	gate_maps_close(&u->from, &u->old);
	free(u->reasons);
	free(u);
}

struct gate_maps *gate_upgrade_maps(struct gate_upgrade *u)
{
	return &u->from;
}

const struct gate_conf *gate_upgrade_conf(const struct gate_upgrade *u)
{
	return u->from.conf;
}

static uint32_t slots(const struct gate_upgrade *u)
{
	return min_u32(u->old.max_vms, u->new.max_vms);
}

/* ---- places: handle bases, bucket ids, bucket indices ---- */

/* Where a handle base of the old maps lies in the new; 0 = it has no place there. */
static uint32_t map_base(const struct gate_upgrade *u, uint32_t base)
{
	const struct gate_sizes *o = &u->old, *n = &u->new;
	const uint32_t old_tenants = 2 + o->max_vms, old_overrides = old_tenants + o->max_tenants;

	if (base < 2)
		return base;
	if (base < old_tenants)
		return base - 2 < n->max_vms ? base : 0;
	if (base < old_overrides) {
		uint32_t tenant = base - old_tenants;
		return tenant < n->max_tenants ? 2 + n->max_vms + tenant : 0;
	}
	uint32_t override = base - old_overrides;
	return override < n->max_overrides ? 2 + n->max_vms + n->max_tenants + override : 0;
}

/*
 * Bucket set ids: scopes first, then the tight set, then a run of `scopes` for
 * each override. A scope that is no more is mapped to the one for all ports.
 */
static uint32_t map_bucket_id(const struct gate_upgrade *u, uint32_t id)
{
	const uint32_t o = u->old.scopes, n = u->new.scopes;

	if (id < o)
		return id < n ? id : 0;
	if (id == o)
		return n;
	uint32_t override = (id - o - 1) / o, scope = (id - o - 1) % o;
	return n + 1 + override * n + (scope < n ? scope : 0);
}

/* override_base: an index into `buckets` behind those of all slots. */
static uint32_t map_override_base(const struct gate_upgrade *u, uint32_t index)
{
	const uint32_t old_start = u->old.max_vms * (u->old.scopes + 1);
	const uint32_t new_start = u->new.max_vms *(u->new.scopes + 1);

	if (index < old_start)
		return 0;
	return new_start + (index - old_start) / u->old.scopes * u->new.scopes;
}

/* ---- policy ---- */

static bool head_has_place(const struct gate_upgrade *u, uint32_t base)
{
	return !base || map_base(u, base);
}

/* Heads by base and scope; nodes are numbered anew, without gaps. */
static int copy_policy(struct gate_upgrade *u, struct gate_maps *to)
{
	const uint32_t bases = u->from.nheads / u->old.scopes;
	const uint32_t scopes = min_u32(u->old.scopes, u->new.scopes);
	uint32_t used = 0;

	for (uint32_t base = 1; base < bases; base++) {
		for (uint32_t scope = 0; scope < scopes; scope++) {
			uint64_t node = u->from.heads[base * u->old.scopes + scope];
			if (!node || node >= u->from.nnodes)
				continue;
			if (!head_has_place(u, base) || used + 1 >= to->nnodes)
				return -ENOSPC;
			to->nodes[++used] = u->from.nodes[node];
			to->heads[map_base(u, base) * u->new.scopes + scope] = used;
		}
	}
	return 0;
}

/* ---- identities ---- */

static int copy_vms(struct gate_upgrade *u, struct gate_maps *to)
{
	for (uint32_t slot = 0; slot < u->old.max_vms; slot++) {
		const struct gate_vm *vm = &u->from.vms[slot];
		if (!(vm->flags & GATE_VM_USED))
			continue;
		if (slot >= u->new.max_vms || vm->tenant >= u->new.max_tenants)
			return -ENOSPC;
		struct gate_vm *copy = &to->vms[slot];
		*copy = *vm;
		copy->override_base = map_override_base(u, vm->override_base);
		if (copy->budget >= to->nbudgets)
			return -ENOSPC;
		memcpy(to->names[slot], u->from.names[slot], sizeof(to->names[slot]));
	}
	return 0;
}

static void relocate_address(const struct gate_upgrade *u, struct gate_address *a)
{
	a->base[0] = map_base(u, a->base[0]);
	a->base[1] = map_base(u, a->base[1]);
	if (a->bucket)
		a->bucket = map_bucket_id(u, a->bucket);
}

/* Copies a hash or trie entry by entry. Addresses carry places and are relocated. */
static int copy_table(const struct gate_upgrade *u, int from, int to, bool addresses)
{
	union {
		struct gate_ip_key ip;
		struct gate_mac_key mac;
		struct gate_mac_owner_key owner;
		struct gate_exempt_key exempt;
		uint32_t ifindex;
	} key, next;
	union {
		struct gate_address address;
		struct gate_port port;
		uint32_t word;
	} value;
	void *last = NULL;

	while (!bpf_map_get_next_key(from, last, &next)) {
		key = next;
		last = &key;
		if (bpf_map_lookup_elem(from, &key, &value) < 0)
			continue;
		if (addresses)
			relocate_address(u, &value.address);
		if (bpf_map_update_elem(to, &key, &value, BPF_ANY) < 0)
			return errno == E2BIG || errno == ENOSPC ? -ENOSPC : -errno;
	}
	return errno == ENOENT ? 0 : -errno;
}

static int copy_tables(const struct gate_upgrade *u, struct gate_maps *to)
{
	const struct gate_maps *f = &u->from;
	int err = copy_table(u, f->ports, to->ports, false);

	err = err ? err : copy_table(u, f->mac_owner, to->mac_owner, false);
	err = err ? err : copy_table(u, f->ip_owner, to->ip_owner, false);
	err = err ? err : copy_table(u, f->exempt, to->exempt, false);
	err = err ? err : copy_table(u, f->macs, to->macs, true);
	return err ? err : copy_table(u, f->ips, to->ips, true);
}

/* ---- buckets and budgets: the later arrival time is the stricter one ---- */

static void raise_u64(uint64_t *word, uint64_t v)
{
	uint64_t have = __atomic_load_n(word, __ATOMIC_RELAXED);

	while (have < v && !__atomic_compare_exchange_n(word, &have, v, false, __ATOMIC_RELAXED,
							__ATOMIC_RELAXED))
		;
}

static void merge_bucket(struct gate_bucket_set *to, const struct gate_bucket_set *from)
{
	for (int r = 0; r < GATE_MAX_RATES; r++)
		raise_u64((uint64_t *)&to->tat[r], from->tat[r]);
	raise_u64((uint64_t *)&to->destinations_tat, from->destinations_tat);
}

static void merge_buckets(struct gate_upgrade *u, struct gate_maps *to)
{
	const uint32_t o = u->old.scopes, n = u->new.scopes;

	for (uint32_t slot = 0; slot < slots(u); slot++)
		for (uint32_t id = 0; id <= o; id++)
			merge_bucket(&to->buckets[slot * (n + 1) + map_bucket_id(u, id)],
				     &u->from.buckets[slot * (o + 1) + id]);

	const uint32_t overrides = min_u32(u->old.max_overrides, u->new.max_overrides);
	const uint32_t from = u->old.max_vms * (o + 1), base = u->new.max_vms *(n + 1);
	for (uint32_t i = 0; i < overrides; i++)
		for (uint32_t scope = 0; scope < o; scope++)
			merge_bucket(&to->buckets[base + i * n + (scope < n ? scope : 0)],
				     &u->from.buckets[from + i * o + scope]);

	for (uint32_t i = 1; i < min_u32(u->from.nbudgets, to->nbudgets); i++)
		for (int r = 0; r < GATE_MAX_RATES; r++)
			raise_u64((uint64_t *)&to->budgets[i].tat[r], u->from.budgets[i].tat[r]);
}

static void copy_budget_rates(struct gate_upgrade *u, struct gate_maps *to)
{
	for (uint32_t i = 1; i < min_u32(u->from.nbudgets, to->nbudgets); i++)
		to->budgets[i] = u->from.budgets[i];
}

/* ---- counters ---- */

static void move_words(void *to, void *from, size_t words)
{
	uint64_t *t = to, *f = from;

	for (size_t i = 0; i < words; i++) {
		uint64_t v = __atomic_exchange_n(&f[i], 0, __ATOMIC_RELAXED);
		if (v)
			__atomic_fetch_add(&t[i], v, __ATOMIC_RELAXED);
	}
}

static void move_counters(struct gate_upgrade *u, struct gate_maps *to)
{
	const size_t words = offsetof(struct gate_counters, last_reply) / sizeof(uint64_t);
	const size_t port_words = sizeof(struct gate_port_counters) / sizeof(uint64_t);
	const uint32_t nports = min_u32(u->old.nports, u->new.nports);

	for (uint32_t slot = 0; slot < slots(u); slot++) {
		struct gate_counters *from = &u->from.counters[slot];
		move_words(&to->counters[slot], from, words);
		if (from->last_reply)
			to->counters[slot].last_reply = from->last_reply;
		from->last_reply = 0;
		for (uint32_t p = 0; p < nports && nports > 1; p++)
			move_words(&to->port_counters[slot * u->new.nports + p],
				   &u->from.port_counters[slot * u->old.nports + p], port_words);
	}
	move_words(to->global, u->from.global, sizeof(*to->global) / sizeof(uint64_t));
}

/* Per-CPU words cannot be exchanged from here: what has been brought over is remembered. */
static void add_reasons(struct gate_upgrade *u, struct gate_maps *to)
{
	const size_t ncpus = (size_t)u->from.ncpus;
	uint64_t *now = calloc(2 * ncpus, sizeof(*now));

	if (!now)
		return;
	uint64_t *have = now + ncpus;
	for (uint32_t key = 0; key < 2 * GATE_R_MAX; key++) {
		uint64_t *taken = u->reasons + key * ncpus, moved = 0;
		if (bpf_map_lookup_elem(u->from.reasons, &key, now) < 0 ||
		    bpf_map_lookup_elem(to->reasons, &key, have) < 0)
			continue;
		for (size_t cpu = 0; cpu < ncpus; cpu++) {
			moved |= now[cpu] - taken[cpu];
			have[cpu] += now[cpu] - taken[cpu];
			taken[cpu] = now[cpu];
		}
		if (moved)
			bpf_map_update_elem(to->reasons, &key, have, BPF_ANY);
	}
	free(now);
}

/* ---- flows ---- */

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
static void put_flow(struct gate_upgrade *u, struct gate_maps *to, uint32_t slot,
		     struct gate_flow_set *set, const struct gate_flow *flow)
{
	struct gate_flow copy = *flow;

	copy.bucket = (uint8_t)map_bucket_id(u, flow->bucket);
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

static void merge_flow(struct gate_upgrade *u, struct gate_maps *to, size_t set,
		       const struct gate_flow *from)
{
	const uint32_t slot = (uint32_t)(set / u->old.flow_sets);
	struct gate_flow *known = find_flow(&to->flows[set], from->fingerprint);

	if (known)
		advance_flow(to, slot, known, from);
	else
		put_flow(u, to, slot, &to->flows[set], from);
}

static void merge_flows(struct gate_upgrade *u, struct gate_maps *to)
{
	if (u->old.flow_sets != u->new.flow_sets)
		return;
	const size_t sets = (size_t)slots(u) * u->old.flow_sets;
	for (size_t i = 0; i < sets; i++) {
		for (int w = 0; w < GATE_FLOW_WAYS; w++) {
			const struct gate_flow *f = &u->from.flows[i].way[w];
			if (f->fingerprint && f->state != GATE_FLOW_FREE)
				merge_flow(u, to, i, f);
		}
	}
}

static void merge_destinations(struct gate_upgrade *u, struct gate_maps *to)
{
	const size_t sets = (size_t)slots(u) * u->old.dest_sets;

	if (u->old.dest_sets != u->new.dest_sets)
		return;
	for (size_t i = 0; i < sets; i++)
		for (int w = 0; w < GATE_DEST_WAYS; w++)
			if (!to->dests[i].way[w])
				to->dests[i].way[w] = u->from.dests[i].way[w];
}

static void merge_vms(struct gate_upgrade *u, struct gate_maps *to)
{
	for (uint32_t slot = 0; slot < slots(u); slot++) {
		const struct gate_vm *from = &u->from.vms[slot];
		struct gate_vm *vm = &to->vms[slot];
		uint64_t none = 0;
		__atomic_compare_exchange_n((uint64_t *)&vm->first_mac, &none, from->first_mac,
					    false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
		raise_u64((uint64_t *)&vm->last_seen, from->last_seen);
	}
}

/* ---- the two steps ---- */

static void give_grace(struct gate_upgrade *u, struct gate_maps *to, uint32_t grace_s)
{
	const uint64_t until = gate_clock_mono_ns() + grace_s * GATE_NSEC_PER_SEC;

	if (u->old.flow_sets == u->new.flow_sets)
		return;
	for (uint32_t slot = 0; slot < slots(u); slot++)
		if (to->vms[slot].flags & GATE_VM_USED)
			raise_u64((uint64_t *)&to->vms[slot].grace_until, until);
}

int gate_upgrade_begin(struct gate_upgrade *u, struct gate_maps *to, uint32_t grace_s)
{
	gate_sizes_from_conf(to->conf, &u->new);
	to->conf->flags = u->from.conf->flags;
	to->conf->revision = u->from.conf->revision;

	int err = copy_policy(u, to);
	err = err ? err : copy_vms(u, to);
	err = err ? err : copy_tables(u, to);
	if (err)
		return err; /* nothing of the old maps has been touched */
	copy_budget_rates(u, to);
	give_grace(u, to, grace_s);
	gate_upgrade_finish(u, to);
	return 0;
}

void gate_upgrade_finish(struct gate_upgrade *u, struct gate_maps *to)
{
	gate_sizes_from_conf(to->conf, &u->new);
	merge_buckets(u, to);
	merge_flows(u, to);
	merge_destinations(u, to);
	merge_vms(u, to);
	move_counters(u, to);
	add_reasons(u, to);
}
