// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Policy, identities and buckets into new maps; see upgrade.h for the theory. */
#include "clock.h"
#include "upgrade_priv.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint32_t slots(const struct gate_upgrade *u)
{
	return gate_common(u->old.max_vms, u->new.max_vms);
}

/*
 * An upgrade that can neither be finished nor called off stays open while VMs come and go.
 * What an old program still does for one that has gone is none of its slot's next VM's.
 */
bool gate_upgrade_same_vm(const struct gate_upgrade *u, const struct gate_maps *to, uint32_t slot)
{
	char name[GATE_NAME_LEN];

	if (!u->map[GATE_MAP_names].base)
		return true;
	return !memcmp(gate_source_at(u, GATE_MAP_names, slot, name), to->names[slot],
		       sizeof(name));
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
uint32_t gate_upgrade_bucket_id(const struct gate_upgrade *u, uint32_t id)
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

static uint64_t head_of(const struct gate_upgrade *u, uint32_t base, uint32_t scope)
{
	uint64_t buf;
	const uint64_t *head =
		gate_source_at(u, GATE_MAP_heads, base * u->old.scopes + scope, &buf);

	return *head < u->map[GATE_MAP_nodes].entries ? *head : 0;
}

/*
 * Heads by base and scope; nodes are numbered anew, without gaps. Base 0 holds what
 * stands beneath everything.
 */
static int copy_policy(struct gate_upgrade *u, struct gate_maps *to)
{
	const uint32_t bases = u->map[GATE_MAP_heads].entries / u->old.scopes;
	const uint32_t scopes = gate_common(u->old.scopes, u->new.scopes);
	uint32_t used = 0;

	for (uint32_t base = 0; base < bases; base++) {
		for (uint32_t scope = 0; scope < scopes; scope++) {
			const uint64_t node = head_of(u, base, scope);
			struct gate_node buf;
			if (!node)
				continue;
			if (!head_has_place(u, base) || used + 1 >= to->nnodes)
				return -ENOSPC;
			to->nodes[++used] = *(const struct gate_node *)gate_source_at(
				u, GATE_MAP_nodes, (uint32_t)node, &buf);
			to->heads[map_base(u, base) * u->new.scopes + scope] = used;
		}
	}
	return 0;
}

/* ---- identities ---- */

static int copy_vms(struct gate_upgrade *u, struct gate_maps *to)
{
	for (uint32_t slot = 0; slot < u->old.max_vms; slot++) {
		char name[GATE_NAME_LEN];
		struct gate_vm buf,
			vm = *(const struct gate_vm *)gate_source_at(u, GATE_MAP_vms, slot, &buf);
		if (!(vm.flags & GATE_VM_USED))
			continue;
		if (slot >= u->new.max_vms || vm.tenant >= u->new.max_tenants ||
		    vm.budget >= to->nbudgets)
			return -ENOSPC;
		vm.override_base = map_override_base(u, vm.override_base);
		to->vms[slot] = vm;
		memcpy(to->names[slot], gate_source_at(u, GATE_MAP_names, slot, name),
		       sizeof(to->names[slot]));
	}
	return 0;
}

static void relocate_address(const struct gate_upgrade *u, struct gate_address *a)
{
	a->base[0] = map_base(u, a->base[0]);
	a->base[1] = map_base(u, a->base[1]);
	if (a->bucket)
		a->bucket = gate_upgrade_bucket_id(u, a->bucket);
}

/* One entry of a table of ours. */
struct entry {
	union {
		struct gate_ip_key ip;
		struct gate_mac_key mac;
		struct gate_mac_owner_key owner;
		struct gate_exempt_key exempt;
		uint32_t ifindex;
	} key;
	union {
		struct gate_address address;
		struct gate_port port;
		uint32_t word;
	} value;
};

/* Keys and values that the source has, in its own layout. */
struct raw_entry {
	char *key, *next, *value;
};

static int copy_entry(const struct gate_upgrade *u, enum gate_map which, int to,
		      const struct raw_entry *raw)
{
	const struct source_map *m = &u->map[which];
	struct entry e = { 0 };

	gate_plan_run(&m->key, raw->key, &e.key);
	gate_plan_run(&m->value, raw->value, &e.value);
	if (which == GATE_MAP_macs || which == GATE_MAP_ips)
		relocate_address(u, &e.value.address);
	if (!bpf_map_update_elem(to, &e.key, &e.value, BPF_ANY))
		return 0;
	return errno == E2BIG || errno == ENOSPC ? -ENOSPC : -errno;
}

static int copy_entries(const struct gate_upgrade *u, enum gate_map which, int to,
			const struct raw_entry *raw)
{
	const int from = u->map[which].fd;
	void *last = NULL;

	while (!bpf_map_get_next_key(from, last, raw->next)) {
		memcpy(raw->key, raw->next, u->map[which].key_size);
		last = raw->key;
		if (bpf_map_lookup_elem(from, raw->key, raw->value) < 0)
			continue;
		int err = copy_entry(u, which, to, raw);
		if (err)
			return err;
	}
	return errno == ENOENT ? 0 : -errno;
}

/* Copies a hash or trie entry by entry. */
static int copy_table(const struct gate_upgrade *u, enum gate_map which, int to)
{
	const struct source_map *m = &u->map[which];

	if (m->fd < 0)
		return 0;
	char *memory = calloc(1, 2 * (size_t)m->key_size + m->value_size);
	if (!memory)
		return -ENOMEM;
	const struct raw_entry raw = { memory, memory + m->key_size, memory + 2 * m->key_size };
	int err = copy_entries(u, which, to, &raw);
	free(memory);
	return err;
}

static int copy_tables(const struct gate_upgrade *u, struct gate_maps *to)
{
	int err = copy_table(u, GATE_MAP_ports, to->ports);

	err = err ? err : copy_table(u, GATE_MAP_mac_owner, to->mac_owner);
	err = err ? err : copy_table(u, GATE_MAP_ip_owner, to->ip_owner);
	err = err ? err : copy_table(u, GATE_MAP_exempt, to->exempt);
	err = err ? err : copy_table(u, GATE_MAP_macs, to->macs);
	return err ? err : copy_table(u, GATE_MAP_ips, to->ips);
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

static void merge_bucket_at(const struct gate_upgrade *u, struct gate_bucket_set *to, uint32_t from)
{
	struct gate_bucket_set buf;

	merge_bucket(to, gate_source_at(u, GATE_MAP_buckets, from, &buf));
}

static void merge_own_buckets(const struct gate_upgrade *u, struct gate_maps *to, uint32_t slot)
{
	const uint32_t o = u->old.scopes, n = u->new.scopes;

	if (!gate_upgrade_same_vm(u, to, slot))
		return;
	for (uint32_t id = 0; id <= o; id++)
		merge_bucket_at(u, &to->buckets[slot * (n + 1) + gate_upgrade_bucket_id(u, id)],
				slot * (o + 1) + id);
}

static void merge_buckets(const struct gate_upgrade *u, struct gate_maps *to)
{
	const uint32_t o = u->old.scopes, n = u->new.scopes;

	for (uint32_t slot = 0; slot < slots(u); slot++)
		merge_own_buckets(u, to, slot);

	const uint32_t overrides = gate_common(u->old.max_overrides, u->new.max_overrides);
	const uint32_t from = u->old.max_vms * (o + 1), base = u->new.max_vms *(n + 1);
	for (uint32_t i = 0; i < overrides; i++)
		for (uint32_t scope = 0; scope < o; scope++)
			merge_bucket_at(u, &to->buckets[base + i * n + (scope < n ? scope : 0)],
					from + i * o + scope);
}

static const struct gate_budget *budget_at(const struct gate_upgrade *u, uint32_t i,
					   struct gate_budget *buf)
{
	return gate_source_at(u, GATE_MAP_budgets, i, buf);
}

static uint32_t budgets(const struct gate_upgrade *u, const struct gate_maps *to)
{
	return gate_common(u->map[GATE_MAP_budgets].entries, to->nbudgets);
}

static void merge_budgets(const struct gate_upgrade *u, struct gate_maps *to)
{
	struct gate_budget buf;

	for (uint32_t i = 1; i < budgets(u, to); i++)
		for (int r = 0; r < GATE_MAX_RATES; r++)
			raise_u64((uint64_t *)&to->budgets[i].tat[r],
				  budget_at(u, i, &buf)->tat[r]);
}

static void copy_budgets(const struct gate_upgrade *u, struct gate_maps *to)
{
	struct gate_budget buf;

	for (uint32_t i = 1; i < budgets(u, to); i++)
		to->budgets[i] = *budget_at(u, i, &buf);
}

/* ---- what the programs write into identities ---- */

static void merge_vms(const struct gate_upgrade *u, struct gate_maps *to)
{
	struct gate_vm buf;

	for (uint32_t slot = 0; slot < slots(u); slot++) {
		const struct gate_vm *from = gate_source_at(u, GATE_MAP_vms, slot, &buf);
		struct gate_vm *vm = &to->vms[slot];
		uint64_t none = 0;
		if (!gate_upgrade_same_vm(u, to, slot))
			continue;
		__atomic_compare_exchange_n((uint64_t *)&vm->first_mac, &none, from->first_mac,
					    false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	}
}

/* ---- the steps ---- */

/*
 * Flows that cannot be brought over, and those that begin in the old maps while the new ones
 * are filled, go on free of charge: SEMANTICS "Flows and limits" 7.
 */
static void give_grace(struct gate_upgrade *u, struct gate_maps *to, uint32_t grace_s)
{
	const uint64_t until = gate_clock_mono_ns() + grace_s * GATE_NSEC_PER_SEC;

	for (uint32_t slot = 0; slot < slots(u); slot++)
		if (to->vms[slot].flags & GATE_VM_USED)
			raise_u64((uint64_t *)&to->vms[slot].grace_until, until);
}

int gate_upgrade_begin(struct gate_upgrade *u, struct gate_maps *to, uint32_t grace_s)
{
	gate_sizes_from_conf(to->conf, &u->new);
	to->conf->flags = u->conf.flags;
	to->conf->revision = u->conf.revision;

	int err = copy_policy(u, to);
	err = err ? err : copy_vms(u, to);
	err = err ? err : copy_tables(u, to);
	if (err)
		return err;
	copy_budgets(u, to);
	give_grace(u, to, grace_s);
	return 0;
}

void gate_upgrade_call_off(struct gate_upgrade *u, uint32_t grace_s)
{
	const uint64_t until = gate_clock_mono_ns() + grace_s * GATE_NSEC_PER_SEC;

	for (uint32_t slot = 0; slot < u->old.max_vms; slot++) {
		uint64_t *word = gate_source_word(u, GATE_MAP_vms, slot,
						  offsetof(struct gate_vm, grace_until));
		if (word)
			raise_u64(word, until);
	}
}

void gate_upgrade_carry(struct gate_upgrade *u, struct gate_maps *to)
{
	gate_sizes_from_conf(to->conf, &u->new);
	merge_buckets(u, to);
	merge_budgets(u, to);
	gate_upgrade_flows(u, to, 0, slots(u));
	merge_vms(u, to);
	gate_upgrade_counters(u, to);
}

void gate_upgrade_carry_vm(struct gate_upgrade *u, struct gate_maps *to, uint32_t slot)
{
	gate_sizes_from_conf(to->conf, &u->new);
	if (slot >= slots(u))
		return;
	merge_own_buckets(u, to, slot);
	gate_upgrade_flows(u, to, slot, 1);
}

void gate_upgrade_finish(struct gate_upgrade *u, struct gate_maps *to)
{
	gate_upgrade_carry(u, to);
	gate_upgrade_cpu_words(u, to);
}
