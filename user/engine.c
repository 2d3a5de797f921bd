// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Life of the engine: open, tick, reconfigure, close. */
#include "engine_priv.h"

int gate_engine_open(struct gate_engine **out, const struct gate_config *c, struct gate_maps *m,
		     struct gate_error *err)
{
	struct gate_engine *e = gate_alloc(1, sizeof(*e));
	int r;

	e->c = c;
	e->m = m;
	e->opened_ns = gate_clock_mono_ns();
	e->saved_s = engine_now_s();
	copy_name(e->unknown.name, "unknown");
	e->unknown.binding = -1;
	r = gate_sync_open(&e->sync, m, c, err);
	if (r) {
		free(e);
		return r;
	}
	gate_sync_configure(e->sync, c);
	gate_order_init(&e->ips, 22);
	gate_order_init(&e->ip_recs, 17);
	gate_order_init(&e->dues, 16);
	e->by_slot = gate_alloc(m->conf->max_vms, sizeof(struct vm *));
	e->left_ns = gate_alloc(m->conf->max_vms, sizeof(uint64_t));
	gate_engine_reports_open(e);
	gate_engine_model_clear(e);
	gate_engine_ports_adopt(e);
	gate_engine_store_open(e);
	gate_engine_sync_all(e);
	gate_engine_store_tick(e, engine_now_s());
	*out = e;
	return 0;
}

void gate_engine_close(struct gate_engine *e)
{
	if (!e)
		return;
	if (e->store)
		gate_engine_save_counters(e);
	e->learned_s = 0;
	gate_engine_learned_tick(e, engine_now_s());
	gate_engine_store_close(e);
	gate_engine_model_clear(e);
	gate_pool_clear(&e->slots);
	gate_pool_clear(&e->tenant_ids);
	gate_pool_clear(&e->overrides);
	gate_engine_ports_close(e);
	gate_engine_problems_close(e);
	gate_sync_close(e->sync);
	gate_engine_reports_close(e);
	free(e->retired);
	free(e->by_slot);
	free(e->left_ns);
	free(e);
}

static void each_vm(struct gate_engine *e, void (*cb)(struct gate_engine *, struct vm *))
{
	for (uint32_t slot = 1; slot < e->m->conf->max_vms; slot++)
		if (e->by_slot[slot])
			cb(e, e->by_slot[slot]);
}

static void renew_records(struct gate_engine *e)
{
	const struct gate_own none = { .subject = { .kind = GATE_S_DEFAULT } };
	const struct rec *bottom = gate_engine_rec(e, &none.subject);
	struct gate_table_iter it = { 0 };
	struct gate_table_entry *at;
	struct gate_own own = none;

	if (bottom)
		gate_engine_rec_own(bottom, &own);
	gate_sync_own(e->sync, gate_base_default(), bottom ? &own : NULL);
	gate_engine_sync_exempt(e, &own);
	while ((at = gate_table_next(&e->recs, &it)))
		gate_engine_sync_nodes(e, at->value);
}

int gate_engine_reconfigure(struct gate_engine *e, const struct gate_config *c,
			    struct gate_error *err)
{
	bool moved = strcmp(e->c->store_path, c->store_path) != 0;

	for (unsigned i = 0; i < c->nexempt; i++) {
		int r = gate_prefix_check(&c->exempt[i], err);

		if (r)
			return r;
	}
	e->c = c;
	gate_engine_store_acknowledge(e);
	gate_sync_configure(e->sync, c);
	renew_records(e);
	each_vm(e, gate_engine_vm_identity);
	gate_sync_revision(e->sync);
	if (moved) {
		/* What is in force is written to the new place. */
		gate_store_close(e->store);
		e->store = NULL;
		e->had_store = false;
		e->unsaved = true;
		e->healed_s = 0;
		gate_engine_store_tick(e, engine_now_s());
	}
	return 0;
}

void gate_engine_clock_changed(struct gate_engine *e)
{
	gate_sync_clock(e->sync);
	renew_records(e);
}

/* A slot whose table was empty and that has seen no packet since needs no look. */
static void sweep_slot(struct gate_engine *e, uint32_t slot, uint32_t now_s)
{
	uint64_t seen = e->m->counters[slot].packets_from_vm;
	struct vm *vm = slot ? e->by_slot[slot] : NULL;

	if (slot && !vm)
		return;
	if (vm && vm->swept_empty && vm->idle_at == seen)
		return;
	if (!gate_sync_flows(e->sync, slot, now_s) && vm) {
		vm->idle_at = seen;
		vm->swept_empty = true;
	} else if (vm) {
		vm->swept_empty = false;
	}
}

static void sweep(struct gate_engine *e)
{
	uint32_t slots = e->m->conf->max_vms, n = (slots + SWEEP_S - 1) / SWEEP_S;
	uint32_t now_s = (uint32_t)(gate_clock_mono_ns() / GATE_NSEC_PER_SEC);

	for (uint32_t i = 0; i < n && i < slots; i++) {
		sweep_slot(e, e->sweep_at, now_s);
		e->sweep_at = (e->sweep_at + 1) % slots;
	}
}

/* What had no room may have some now. */
static void retry_full(struct gate_engine *e)
{
	static const char *const maps[] = { "addresses", "ips", "macs", "exempt", "ports" };

	if (!e->map_full)
		return;
	e->map_full = false;
	gate_engine_sync_all(e);
	for (unsigned i = 0; i < sizeof(maps) / sizeof(maps[0]) && !e->map_full; i++)
		gate_engine_problem_clear(e, "map_full", maps[i]);
}

void gate_engine_tick(struct gate_engine *e, int64_t now)
{
	gate_engine_expire(e, now);
	gate_engine_ports_tick(e);
	gate_engine_slots_reap(e);
	gate_sync_settle(e->sync);
	sweep(e);
	gate_engine_store_tick(e, now);
	if (e->store)
		gate_store_tidy(e->store);
	gate_engine_learned_tick(e, now);
	if (now - e->saved_s >= SAVE_S || now < e->saved_s || gate_engine_reports_due(e, now)) {
		e->saved_s = now;
		retry_full(e);
		if (e->store)
			gate_engine_save_counters(e);
	}
}
