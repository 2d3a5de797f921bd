// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "nodes.h"
#include "clock.h"
#include "mem.h"
#include "sync.h"

#include <stdlib.h>
#include <string.h>

#define WORDS (sizeof(struct gate_node) / sizeof(uint64_t))
_Static_assert(sizeof(struct gate_node) % sizeof(uint64_t) == 0, "hashed by words");

void gate_nodes_open(struct gate_nodes *n, const struct gate_maps *m, uint64_t rest_ns)
{
	uint32_t chains = 1;

	while (chains < m->nnodes)
		chains *= 2;
	*n = (struct gate_nodes){ .node = m->nodes, .mask = chains - 1 };
	gate_pool_init(&n->pool, 1, m->nnodes, rest_ns);
	n->first = gate_alloc(chains, sizeof(*n->first));
	n->link = gate_alloc(m->nnodes, sizeof(*n->link));
}

void gate_nodes_close(struct gate_nodes *n)
{
	gate_pool_clear(&n->pool);
	free(n->first);
	free(n->link);
	*n = (struct gate_nodes){ 0 };
}

static uint32_t hash_of(const struct gate_node *says)
{
	uint64_t word[WORDS], h = 0;

	memcpy(word, says, sizeof(word));
	for (size_t i = 0; i < WORDS; i++)
		h = (h ^ h >> 32 ^ word[i]) * 0x9e3779b97f4a7c15ULL;
	return (uint32_t)(h ^ h >> 32);
}

static uint32_t find(const struct gate_nodes *n, uint32_t hash, const struct gate_node *says)
{
	uint32_t id = n->first[hash & n->mask];

	while (id && (n->link[id].hash != hash || memcmp(&n->node[id], says, sizeof(*says)) != 0))
		id = n->link[id].next;
	return id;
}

static uint32_t enter(struct gate_nodes *n, uint32_t hash, uint32_t id)
{
	uint32_t *first = &n->first[hash & n->mask];

	n->link[id] = (struct gate_nodes_link){ .refs = 1, .hash = hash, .next = *first };
	*first = id;
	return id;
}

uint32_t gate_nodes_adopt(struct gate_nodes *n, uint64_t head)
{
	const uint32_t id = (uint32_t)head;

	if (!head || head >= n->pool.end)
		return 0;
	const uint32_t hash = hash_of(&n->node[id]), known = find(n, hash, &n->node[id]);
	const bool fresh = gate_pool_claim(&n->pool, id);
	if (!known)
		return enter(n, hash, id);
	n->link[known].refs++;
	if (fresh) /* nobody shows it from now on */
		gate_pool_give(&n->pool, id, gate_clock_mono_ns());
	return known;
}

uint32_t gate_nodes_take(struct gate_nodes *n, const struct gate_node *says)
{
	const uint32_t hash = hash_of(says);
	uint32_t id = find(n, hash, says);

	if (id) {
		n->link[id].refs++;
		return id;
	}
	id = gate_sync_take(&n->pool);
	if (id == UINT32_MAX)
		return id;
	n->node[id] = *says;
	return enter(n, hash, id);
}

void gate_nodes_give(struct gate_nodes *n, uint32_t id)
{
	struct gate_nodes_link *l = &n->link[id];
	uint32_t *at = &n->first[l->hash & n->mask];

	if (--l->refs)
		return;
	while (*at != id)
		at = &n->link[*at].next;
	*at = l->next;
	gate_pool_give(&n->pool, id, gate_clock_mono_ns());
}
