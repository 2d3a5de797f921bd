// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * A candidate policy beside the live one: which handles it speaks for. VMs, their
 * addresses, tenants, budgets and exempt destinations are the live ones; of the
 * candidate the subjects' own policies count.
 */
#include "engine_priv.h"

/* Puts one record; counts it where the gate knows no such subject (yet). */
static int put_item(struct gate_engine *e, const struct gate_set_item *item, uint8_t *seen,
		    struct gate_shadow_result *out)
{
	uint32_t base = gate_engine_base(e, &item->subject);
	struct gate_own own;

	if (!base) {
		out->unknown++;
		return 0;
	}
	seen[base] = 1;
	out->subjects++;
	gate_own_unpack(item->own, &item->subject, &own);
	return gate_sync_shadow_put(e->sync, base, &own);
}

int gate_engine_shadow_set(struct gate_engine *e, const struct gate_set_item *items, size_t n,
			   bool begin, struct gate_shadow_result *out, struct gate_error *err)
{
	uint32_t nbases = e->m->nheads / e->m->scopes;
	uint8_t *seen = gate_alloc(nbases, 1);
	int r = gate_sync_shadow_put(e->sync, 0, NULL);

	*out = (struct gate_shadow_result){ 0 };
	for (size_t i = 0; i < n && !r; i++)
		if (!items[i].is_vm)
			r = put_item(e, &items[i], seen, out);
	if (!r && !seen[gate_base_default()])
		r = gate_sync_shadow_put(e->sync, gate_base_default(), NULL);
	seen[0] = seen[gate_base_default()] = 1;
	for (uint32_t base = 0; base < nbases && !r; base++)
		if (!seen[base])
			gate_sync_shadow_drop(e->sync, base);
	free(seen);
	if (r) {
		gate_sync_shadow_on(e->sync, false);
		return gate_error_set(err, GATE_ERR_FAILED,
				      "there is no room for a shadow policy of %zu records beside "
				      "the live one: raise max_vms",
				      n);
	}
	if (begin)
		gate_sync_shadow_on(e->sync, true);
	return 0;
}

void gate_engine_shadow_end(struct gate_engine *e)
{
	gate_sync_shadow_on(e->sync, false);
}
