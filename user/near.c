// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "near.h"
#include "clock.h"
#include "mem.h"

#include <stdlib.h>

/* Longer than any program runs. */
#define REST_S 2

#define KIND_MASK (GATE_NEAR_OWNER | GATE_NEAR_VM)

void gate_near_open(struct gate_near *n, const struct gate_maps *m)
{
	*n = (struct gate_near){ .sets = m->near_macs, .max_vms = m->conf->max_vms };
	n->freed_s = gate_alloc((size_t)gate_near_sets(n->max_vms) * GATE_NEAR_WAYS,
				sizeof(*n->freed_s));
}

void gate_near_close(struct gate_near *n)
{
	free(n->freed_s);
	*n = (struct gate_near){ 0 };
}

/* Never 0. */
static uint32_t now_s(void)
{
	return (uint32_t)(gate_clock_mono_ns() / GATE_NSEC_PER_SEC) + 1;
}

static uint64_t near_key(const struct gate_near_entry *e)
{
	uint64_t key = e->kind;

	for (int i = 0; i < 6; i++)
		key |= (uint64_t)e->mac[i] << 8 * i;
	return key;
}

/* Where it is, or NULL. */
static struct gate_near_mac *find(const struct gate_near *n, uint64_t key, uint32_t scope)
{
	struct gate_near_set *set = &n->sets[gate_near_place(key, scope, n->max_vms)];

	for (int i = 0; i < GATE_NEAR_WAYS; i++)
		if (set->way[i].key == key && set->way[i].scope == scope)
			return &set->way[i];
	return NULL;
}

static uint32_t *freed_s(const struct gate_near *n, const struct gate_near_mac *at)
{
	return &n->freed_s[at - n->sets->way];
}

static void give_free(struct gate_near *n, struct gate_near_mac *at)
{
	__atomic_store_n((uint64_t *)&at->key, 0, __ATOMIC_RELEASE);
	at->scope = at->value = 0;
	*freed_s(n, at) = now_s();
}

void gate_near_put(struct gate_near *n, const struct gate_near_entry *e)
{
	const uint64_t key = near_key(e);
	struct gate_near_set *set = &n->sets[gate_near_place(key, e->scope, n->max_vms)];

	if (!e->value || find(n, key, e->scope))
		return;
	for (int i = 0; i < GATE_NEAR_WAYS; i++) {
		struct gate_near_mac *at = &set->way[i];
		const uint32_t freed = *freed_s(n, at);

		if (at->key || (freed && now_s() - freed < REST_S))
			continue;
		at->scope = e->scope;
		at->value = e->value;
		__atomic_store_n((uint64_t *)&at->key, key, __ATOMIC_RELEASE);
		return;
	}
}

void gate_near_del(struct gate_near *n, const struct gate_near_entry *e)
{
	struct gate_near_mac *at = find(n, near_key(e), e->scope);

	if (at)
		give_free(n, at);
}

void gate_near_keep(struct gate_near *n, bool (*still)(void *, const struct gate_near_entry *),
		    void *arg)
{
	for (uint32_t i = 0; i < gate_near_sets(n->max_vms) * GATE_NEAR_WAYS; i++) {
		struct gate_near_mac *at = &n->sets[i / GATE_NEAR_WAYS].way[i % GATE_NEAR_WAYS];
		uint8_t mac[6];

		if (!at->key)
			continue;
		for (int b = 0; b < 6; b++)
			mac[b] = (uint8_t)(at->key >> 8 * b);
		if (!still(arg, &(struct gate_near_entry){ .kind = at->key & KIND_MASK,
							   .scope = at->scope,
							   .value = at->value,
							   .mac = mac }))
			give_free(n, at);
	}
}
