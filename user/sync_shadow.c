// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The candidate policy's nodes: compiled as the live ones, shown by heads of their
 * own. They decide nothing, so they are set in place one after the other.
 */
#include "sync_priv.h"

#include <errno.h>
#include <string.h>

static void drop_node(struct gate_sync *s, uint32_t handle)
{
	uint32_t old = (uint32_t)s->m->shadow_heads[handle];

	sync_store(&s->m->shadow_heads[handle], 0);
	if (old)
		gate_nodes_give(&s->nodes, old);
}

static int put_node(struct gate_sync *s, uint32_t handle, const struct gate_node *node)
{
	static const struct gate_node nothing;
	uint32_t old = (uint32_t)s->m->shadow_heads[handle], i;

	if (old && !memcmp(node, &s->m->nodes[old], sizeof(*node)))
		return 0;
	if (!memcmp(node, &nothing, sizeof(*node))) {
		drop_node(s, handle);
		return 0;
	}
	i = gate_nodes_take(&s->nodes, node);
	if (i == UINT32_MAX)
		return -ENOSPC;
	sync_store(&s->m->shadow_heads[handle], i);
	if (old)
		gate_nodes_give(&s->nodes, old);
	return 0;
}

int gate_sync_shadow_put(struct gate_sync *s, uint32_t base, const struct gate_own *own)
{
	const bool bottom = base == 0, is_default = base == gate_base_default();
	int r = 0;

	/* a quarter of what is left stays for changes of the live policy */
	if (gate_pool_left(&s->nodes.pool) < s->m->nnodes / 4 + s->m->scopes)
		return -ENOSPC;
	for (unsigned scope = 0; scope < s->m->scopes && !r; scope++) {
		struct gate_node node;

		if (bottom && scope)
			break;
		gate_sync_compile(s, bottom ? NULL : own, scope, bottom || is_default, &node);
		node.quarantine_refuse = 0;
		r = put_node(s, base * s->m->scopes + scope, &node);
	}
	return r;
}

void gate_sync_shadow_drop(struct gate_sync *s, uint32_t base)
{
	for (unsigned scope = 0; scope < s->m->scopes; scope++)
		drop_node(s, base * s->m->scopes + scope);
}

void gate_sync_shadow_on(struct gate_sync *s, bool on)
{
	if (on)
		memset(s->m->shadow, 0, s->m->conf->max_vms * sizeof(*s->m->shadow));
	gate_sync_conf_flag(s, GATE_CONF_SHADOW, on);
	for (uint32_t h = 0; !on && h < s->m->nheads; h++)
		drop_node(s, h);
}

void gate_sync_shadow_forget(struct gate_maps *m)
{
	__atomic_and_fetch(&m->conf->flags, ~GATE_CONF_SHADOW, __ATOMIC_SEQ_CST);
	memset(m->shadow_heads, 0, m->nheads * sizeof(*m->shadow_heads));
}
