// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * MACs and addresses of VMs in `macs` and `ips`, and the bucket sets of their
 * overrides. A VM's override sets lie together in the region behind the fixed
 * ones, in a run of blocks (one block = one override = `scopes` sets) whose
 * length is a power of two; to grow, the run is copied to a longer one.
 */
#include "quiesce.h"
#include "sync_priv.h"

#include <errno.h>

#define REST_NS GATE_NSEC_PER_SEC

static struct slot_state *state_of(struct gate_sync *s, uint32_t slot)
{
	if (!s->slot[slot])
		s->slot[slot] = gate_alloc(1, sizeof(*s->slot[slot]));
	return s->slot[slot];
}

static uint32_t region_start(const struct gate_sync *s)
{
	return s->m->conf->max_vms * (s->m->scopes + 1);
}

/* Bucket set id of a block's scope 0; 0 when flows could not name it in their byte. */
static uint32_t id_of_block(const struct gate_sync *s, unsigned block)
{
	uint32_t id = s->m->scopes + 1 + block * s->m->scopes;

	return id + s->m->scopes - 1 <= UINT8_MAX ? id : 0;
}

/* ---- flows of blocks that are nobody's ---- */

/* Running flows that counted against these sets, `first` up to `end`, count against the VM's own.
 */
static void move_flows(struct gate_sync *s, uint32_t slot, uint32_t first, uint32_t end)
{
	struct gate_flow_set *set = &s->m->flows[(size_t)slot * s->m->conf->flow_sets];
	uint32_t *active = &s->m->buckets[gate_bucket_index(s->m, slot, 0)].active;

	for (uint32_t i = 0; i < s->m->conf->flow_sets * GATE_FLOW_WAYS; i++) {
		struct gate_flow *f = &set[i / GATE_FLOW_WAYS].way[i % GATE_FLOW_WAYS];
		uint64_t *word = (uint64_t *)&f->state, old = *word, new;
		struct gate_flow was = *f;

		memcpy(&was.state, &old, sizeof(old));
		if (!was.fingerprint || was.bucket < first || was.bucket >= end ||
		    was.state == GATE_FLOW_CLOSED || was.state == GATE_FLOW_FREE)
			continue;
		was.bucket = 0;
		memcpy(&new, &was.state, sizeof(new));
		if (__atomic_compare_exchange_n(word, &old, new, false, __ATOMIC_ACQ_REL,
						__ATOMIC_RELAXED))
			__atomic_fetch_add(active, 1, __ATOMIC_RELAXED);
	}
}

static void clear_out(struct gate_sync *s, uint32_t slot, unsigned block)
{
	const uint32_t id = id_of_block(s, block);

	move_flows(s, slot, id, id + s->m->scopes);
}

/* All flows of the slot that name sets of no override count against the VM's own. */
static void move_strays(struct gate_sync *s, uint32_t slot)
{
	const struct slot_state *st = s->slot[slot];
	const uint32_t nblocks = st ? st->nblocks : 0;

	for (unsigned b = 0; b < nblocks; b++)
		if (!st->block[b] && id_of_block(s, b))
			clear_out(s, slot, b);
	move_flows(s, slot, s->m->scopes + 1 + nblocks * s->m->scopes, UINT8_MAX + 1);
}

/* ---- runs of blocks ---- */

static uint32_t run_start(const struct gate_sync *s, uint32_t first)
{
	return region_start(s) + first * s->m->scopes;
}

static uint32_t run_of(const struct gate_sync *s, uint32_t slot)
{
	return (s->m->vms[slot].override_base - region_start(s)) / s->m->scopes;
}

/*
 * Sets that were left rest until no program can know them any more. Only then is it certain
 * what a program that came before has done there: it may have counted a flow in a run that
 * was copied, or entered one of an override that has gone.
 */
static void leave(struct gate_sync *s, const struct resting_blocks *r)
{
	s->resting = gate_realloc(s->resting, s->nresting + 1, sizeof(*s->resting));
	s->resting[s->nresting] = *r;
	s->resting[s->nresting++].since = gate_clock_mono_ns();
}

static bool has_rested(const struct gate_sync *s, const struct resting_blocks *r)
{
	return r->since <= s->quiet_ns || gate_clock_mono_ns() - r->since >= REST_NS;
}

static void settle(struct gate_sync *s, struct resting_blocks *r)
{
	const struct gate_bucket_set *old = &s->m->buckets[run_start(s, r->first)];
	struct gate_vm *vm = &s->m->vms[r->slot];

	for (uint32_t i = 0; r->was && i < r->n * s->m->scopes; i++)
		__atomic_fetch_add(&s->m->buckets[r->copy + i].active, old[i].active - r->was[i],
				   __ATOMIC_RELAXED);
	if (!r->was)
		move_strays(s, r->slot);
	if (r->n && vm->override_base == run_start(s, r->first))
		__atomic_store_n(&vm->override_base, 0, __ATOMIC_RELEASE);
	memset(s->block_used + r->first, 0, r->n);
	free(r->was);
}

void gate_sync_settle(struct gate_sync *s)
{
	unsigned done = 0;

	/* in order: what a run was copied to may have been copied on */
	while (done < s->nresting && has_rested(s, &s->resting[done]))
		settle(s, &s->resting[done++]);
	if (!done)
		return;
	s->nresting -= done;
	memmove(s->resting, s->resting + done, s->nresting * sizeof(*s->resting));
}

/*
 * Before other overrides of the slot get numbers that flows of those before may still be
 * entered with. One wait is enough for all that were left until then.
 */
static void settle_slot(struct gate_sync *s, uint32_t slot)
{
	for (unsigned i = 0; i < s->nresting; i++) {
		const struct resting_blocks *r = &s->resting[i];

		if (r->slot != slot || r->was || has_rested(s, r))
			continue;
		s->quiet_ns = gate_clock_mono_ns();
		gate_quiesce();
		break;
	}
	gate_sync_settle(s);
}

static uint32_t take_run(struct gate_sync *s, unsigned n)
{
	uint32_t max = s->m->conf->max_overrides, run = 0;

	gate_sync_settle(s);
	for (uint32_t i = 0; i < max; i++) {
		run = s->block_used[i] ? 0 : run + 1;
		if (run < n)
			continue;
		memset(s->block_used + i + 1 - n, 1, n);
		return i + 1 - n;
	}
	return UINT32_MAX;
}

static bool grow_run(struct gate_sync *s, uint32_t slot, struct slot_state *st)
{
	unsigned n = st->nblocks ? 2 * st->nblocks : 1;
	size_t sets = (size_t)n * s->m->scopes, old = (size_t)st->nblocks * s->m->scopes;
	struct resting_blocks from;
	struct gate_bucket_set *to;
	uint32_t first, base;

	if (!id_of_block(s, st->nblocks))
		return false;
	first = take_run(s, n);
	if (first == UINT32_MAX)
		return false;
	to = &s->m->buckets[base = run_start(s, first)];
	memset(to, 0, sets * sizeof(*to));
	if (st->nblocks) {
		from = (struct resting_blocks){ .slot = slot,
						.first = run_of(s, slot),
						.n = st->nblocks,
						.copy = base,
						.was = gate_alloc(old, sizeof(*from.was)) };
		memcpy(to, &s->m->buckets[run_start(s, from.first)], old * sizeof(*to));
		for (size_t i = 0; i < old; i++)
			from.was[i] = to[i].active;
	}
	__atomic_store_n(&s->m->vms[slot].override_base, base, __ATOMIC_RELEASE);
	if (st->nblocks)
		leave(s, &from);
	st->block = gate_realloc(st->block, n, sizeof(*st->block));
	memset(st->block + st->nblocks, 0, (n - st->nblocks) * sizeof(*st->block));
	st->nblocks = n;
	return true;
}

/* ---- blocks ---- */

static void clear_block(struct gate_sync *s, uint32_t slot, unsigned block)
{
	uint32_t base = s->m->vms[slot].override_base + block * s->m->scopes;

	memset(&s->m->buckets[base], 0, s->m->scopes * sizeof(*s->m->buckets));
}

/*
 * Bucket set id for the override whose base is `owner`. When there is no room
 * for another of its own it spends from the VM's tight set: stricter, and known.
 */
static uint32_t bucket_for(struct gate_sync *s, uint32_t slot, uint32_t owner)
{
	struct slot_state *st = state_of(s, slot);
	unsigned spare = UINT32_MAX;

	for (unsigned i = 0; i < st->nblocks; i++) {
		if (st->block[i] == owner)
			return id_of_block(s, i);
		if (!st->block[i] && spare == UINT32_MAX && id_of_block(s, i))
			spare = i;
	}
	settle_slot(s, slot);
	if (spare == UINT32_MAX) {
		spare = st->nblocks;
		if (!grow_run(s, slot, st))
			return s->m->scopes == 1 ? s->m->scopes : 0;
	}
	clear_block(s, slot, spare);
	st->block[spare] = owner;
	return id_of_block(s, spare);
}

static void drop_unused_blocks(struct gate_sync *s, uint32_t slot,
			       const struct gate_sync_address *const lists[2], const unsigned n[2])
{
	struct slot_state *st = s->slot[slot];
	struct resting_blocks left = { .slot = slot };
	bool any = false, dropped = false;

	for (unsigned b = 0; b < st->nblocks; b++) {
		bool used = false;

		for (unsigned l = 0; l < 2 && st->block[b]; l++)
			for (unsigned i = 0; i < n[l] && !used; i++)
				used = lists[l][i].owner == st->block[b];
		if (st->block[b] && !used) {
			clear_out(s, slot, b);
			st->block[b] = 0;
			dropped = true;
		}
		any |= used;
	}
	if (!any && st->nblocks) { /* `override_base` stays for flows that end meanwhile */
		left.first = run_of(s, slot);
		left.n = st->nblocks;
		dropped = true;
		free(st->block);
		st->block = NULL;
		st->nblocks = 0;
	}
	if (dropped)
		leave(s, &left);
}

/* ---- entries ---- */

static int put_entry(struct gate_sync *s, uint32_t slot, bool is_mac,
		     const struct gate_sync_address *a)
{
	struct gate_address value = {
		.flags = a->flags,
		.base = { a->base[0], a->base[1] },
		.bucket = a->owner ? bucket_for(s, slot, a->owner) : 0,
		.budget = a->budget,
	};
	struct gate_mac_key mac = gate_sync_mac_key(slot, a->addr);
	struct gate_ip_key ip = gate_sync_ip_key(slot, a->addr, a->len);

	return is_mac ? gate_mirror_put(&s->macs, &mac, &value)
		      : gate_mirror_put(&s->ips, &ip, &value);
}

static void del_entry(struct gate_sync *s, uint32_t slot, bool is_mac,
		      const struct gate_sync_address *a)
{
	struct gate_mac_key mac = gate_sync_mac_key(slot, a->addr);
	struct gate_ip_key ip = gate_sync_ip_key(slot, a->addr, a->len);

	if (is_mac)
		gate_mirror_del(&s->macs, &mac);
	else
		gate_mirror_del(&s->ips, &ip);
}

/* New entries first, then the old ones go: an address never lacks one in between. */
static int put_list(struct gate_sync *s, uint32_t slot, bool is_mac, struct key_list *have,
		    struct gate_sync_address *want, unsigned n)
{
	unsigned at = 0, kept = 0;
	int r = 0;

	gate_sync_sort(want, n);
	for (unsigned i = 0; i < n; i++) {
		int failed = put_entry(s, slot, is_mac, &want[i]);

		if (!failed)
			want[kept++] = want[i];
		else
			r = failed;
	}
	for (unsigned i = 0; i < have->n; i++) {
		while (at < kept && gate_sync_compare(&want[at], &have->list[i]) < 0)
			at++;
		if (at == kept || gate_sync_compare(&want[at], &have->list[i]) != 0)
			del_entry(s, slot, is_mac, &have->list[i]);
	}
	free(have->list);
	have->list = gate_copy(want, kept, sizeof(*want));
	have->n = kept;
	return r;
}

int gate_sync_addresses(struct gate_sync *s, uint32_t slot, struct gate_sync_address *macs,
			unsigned nmacs, struct gate_sync_address *ips, unsigned nips)
{
	const struct gate_sync_address *const lists[2] = { macs, ips };
	const unsigned n[2] = { nmacs, nips };
	struct slot_state *st;
	int r, r2;

	if (!s->slot[slot] && !nmacs && !nips)
		return 0;
	st = state_of(s, slot);
	r = put_list(s, slot, true, &st->macs, macs, nmacs);
	r2 = put_list(s, slot, false, &st->ips, ips, nips);
	gate_sync_vm_flag(s, slot, GATE_VM_MACS, st->macs.n);
	gate_sync_vm_flag(s, slot, GATE_VM_IPS, st->ips.n);
	drop_unused_blocks(s, slot, lists, n);
	if (!st->macs.n && !st->ips.n) {
		free(st);
		s->slot[slot] = NULL;
	}
	return r ? r : r2;
}

/* ---- adoption ---- */

static bool has_state(const struct gate_sync *s, uint32_t base)
{
	for (unsigned scope = 0; base && scope < s->m->scopes; scope++) {
		uint64_t head = s->m->heads[base * s->m->scopes + scope];

		if (head && s->m->nodes[head].state != GATE_INHERIT)
			return true;
	}
	return false;
}

/* Whose policy the entry's bucket set belongs to. */
static uint32_t owner_of(const struct gate_sync *s, const struct gate_address *a)
{
	if (a->bucket <= s->m->scopes)
		return 0;
	return has_state(s, a->base[0]) ? a->base[0] : a->base[1];
}

static void adopt_block(struct gate_sync *s, uint32_t slot, const struct gate_address *a)
{
	struct slot_state *st = state_of(s, slot);
	uint32_t first, owner = owner_of(s, a);
	unsigned block, n = 1;

	if (!owner || !s->m->vms[slot].override_base)
		return;
	block = (a->bucket - (s->m->scopes + 1)) / s->m->scopes;
	while (n <= block)
		n *= 2;
	if (n > st->nblocks) {
		first = run_of(s, slot);
		if (first + n > s->m->conf->max_overrides)
			return;
		memset(s->block_used + first, 1, n);
		st->block = gate_realloc(st->block, n, sizeof(*st->block));
		memset(st->block + st->nblocks, 0, (n - st->nblocks) * sizeof(*st->block));
		st->nblocks = n;
	}
	st->block[block] = owner;
}

static void adopt_entry(struct gate_sync *s, uint32_t slot, bool is_mac, const uint8_t *addr,
			uint8_t len, const struct gate_address *a)
{
	struct key_list *l;
	struct gate_sync_address *e;

	if (slot >= s->m->conf->max_vms) {
		if (slot == GATE_SLOT_ANY)
			*(is_mac ? &s->any_macs : &s->any_ips) += 1;
		return;
	}
	l = is_mac ? &state_of(s, slot)->macs : &state_of(s, slot)->ips;
	l->list = gate_realloc(l->list, l->n + 1, sizeof(*l->list));
	e = &l->list[l->n++];
	*e = (struct gate_sync_address){
		.len = len,
		.flags = a->flags,
		.base = { a->base[0], a->base[1] },
		.budget = a->budget,
		.owner = owner_of(s, a),
	};
	memcpy(e->addr, addr, is_mac ? 6 : 16);
	adopt_block(s, slot, a);
}

/*
 * An earlier daemon may have died when an override's entries were gone and its flows not yet
 * moved: they would be counted down in whosever sets these are by then.
 */
static void adopt_flows(struct gate_sync *s, uint32_t slot)
{
	if (s->m->vms[slot].override_base)
		move_strays(s, slot);
}

void gate_sync_adopt_addresses(struct gate_sync *s)
{
	struct gate_table_iter it = { 0 };
	struct gate_table_entry *at;

	s->slot = gate_alloc(s->m->conf->max_vms, sizeof(struct slot_state *));
	s->block_used = gate_alloc(s->m->conf->max_overrides, 1);
	while ((at = gate_table_next(&s->macs.entries, &it))) {
		const struct gate_mac_key *key = (const void *)at->key;
		const struct mirror_entry *entry = at->value;

		adopt_entry(s, key->slot, true, key->mac, 0, (const void *)entry->value);
	}
	it = (struct gate_table_iter){ 0 };
	while ((at = gate_table_next(&s->ips.entries, &it))) {
		const struct gate_ip_key *key = (const void *)at->key;
		const struct mirror_entry *entry = at->value;

		adopt_entry(s, key->slot, false, key->addr, (uint8_t)(key->prefixlen - 32),
			    (const void *)entry->value);
	}
	for (uint32_t slot = 0; slot < s->m->conf->max_vms; slot++) {
		struct slot_state *st = s->slot[slot];

		adopt_flows(s, slot);
		if (!st)
			continue;
		gate_sync_sort(st->macs.list, st->macs.n);
		gate_sync_sort(st->ips.list, st->ips.n);
	}
}

uint32_t gate_sync_override_sets(const struct gate_sync *s, uint32_t slot)
{
	return s->slot[slot] ? s->slot[slot]->nblocks * s->m->scopes : 0;
}

void gate_sync_entries(struct gate_sync *s, uint32_t slot,
		       void (*cb)(void *, bool is_mac, const struct gate_sync_address *), void *arg)
{
	const struct slot_state *st = s->slot[slot];

	for (unsigned i = 0; st && i < st->macs.n; i++)
		cb(arg, true, &st->macs.list[i]);
	for (unsigned i = 0; st && i < st->ips.n; i++)
		cb(arg, false, &st->ips.list[i]);
}

void gate_sync_addresses_close(struct gate_sync *s)
{
	for (uint32_t slot = 0; s->slot && slot < s->m->conf->max_vms; slot++) {
		if (!s->slot[slot])
			continue;
		free(s->slot[slot]->macs.list);
		free(s->slot[slot]->ips.list);
		free(s->slot[slot]->block);
		free(s->slot[slot]);
	}
	free(s->slot);
	free(s->block_used);
	for (unsigned i = 0; i < s->nresting; i++)
		free(s->resting[i].was);
	free(s->resting);
}
