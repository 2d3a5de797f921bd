// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "pool.h"
#include "mem.h"

void gate_pool_init(struct gate_pool *p, uint32_t first, uint32_t end, uint64_t rest_ns)
{
	*p = (struct gate_pool){ .first = first, .end = end, .rest_ns = rest_ns, .hint = first };
	p->used = gate_alloc(end, 1);
}

void gate_pool_clear(struct gate_pool *p)
{
	free(p->used);
	free(p->resting);
	free(p->awake);
	*p = (struct gate_pool){ 0 };
}

bool gate_pool_claim(struct gate_pool *p, uint32_t id)
{
	if (id < p->first || id >= p->end || p->used[id])
		return false;
	p->used[id] = 1;
	p->taken++;
	return true;
}

static void wake(struct gate_pool *p, uint64_t now_ns)
{
	while (p->nresting &&
	       (now_ns == UINT64_MAX || now_ns - p->resting[p->head].since >= p->rest_ns)) {
		uint32_t id = p->resting[p->head].id;

		if (!(p->nawake & (p->nawake - 1)))
			p->awake = gate_realloc(p->awake, p->nawake ? 2 * p->nawake : 1,
						sizeof(*p->awake));
		p->awake[p->nawake++] = id;
		p->head = (p->head + 1) % p->nring;
		p->nresting--;
	}
}

uint32_t gate_pool_take(struct gate_pool *p, uint64_t now_ns)
{
	wake(p, now_ns);
	if (p->nawake) {
		p->taken++;
		return p->awake[--p->nawake];
	}
	while (p->hint < p->end && p->used[p->hint])
		p->hint++;
	if (p->hint >= p->end)
		return UINT32_MAX;
	p->used[p->hint] = 1;
	p->taken++;
	return p->hint++;
}

static void grow_ring(struct gate_pool *p)
{
	uint32_t n = p->nring ? 2 * p->nring : 64;
	struct gate_pool_resting *ring = gate_alloc(n, sizeof(*ring));

	for (uint32_t i = 0; i < p->nresting; i++)
		ring[i] = p->resting[(p->head + i) % p->nring];
	free(p->resting);
	p->resting = ring;
	p->nring = n;
	p->head = 0;
}

void gate_pool_give(struct gate_pool *p, uint32_t id, uint64_t now_ns)
{
	if (p->nresting == p->nring)
		grow_ring(p);
	p->resting[(p->head + p->nresting++) % p->nring] =
		(struct gate_pool_resting){ .id = id, .since = now_ns };
	p->taken--;
}

void gate_pool_hurry(struct gate_pool *p)
{
	if (p->nresting)
		wake(p, UINT64_MAX);
}

uint32_t gate_pool_left(const struct gate_pool *p)
{
	return p->end - p->first - p->taken;
}
