// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Reading: who is on a slot, what was counted. */
#include "engine_priv.h"

const struct gate_own *gate_engine_own(struct gate_engine *e, const struct gate_subject *s)
{
	const struct rec *rec = gate_engine_rec(e, s);
	struct gate_own *out = &e->shown[e->nshown++ % 4];

	if (!rec)
		return NULL;
	gate_engine_rec_own(rec, out);
	return out;
}

const struct gate_vm_spec *gate_engine_vm(struct gate_engine *e, uint32_t slot)
{
	if (slot == GATE_SLOT_UNKNOWN)
		return &e->unknown;
	if (slot >= e->m->conf->max_vms || !e->by_slot[slot])
		return NULL;
	return &e->by_slot[slot]->spec;
}

int gate_engine_slot(struct gate_engine *e, const struct gate_subject *s)
{
	const struct vm *vm = NULL;

	switch (s->kind) {
	case GATE_S_VM:
	case GATE_S_PORT:
		vm = gate_engine_vm_find(e, s);
		break;
	case GATE_S_MAC:
		vm = gate_table_get(&e->macs, s->mac, 6);
		break;
	case GATE_S_IP:
		vm = gate_engine_ip_holder(e, &s->ip);
		break;
	default:
		break;
	}
	return vm && vm->slot ? (int)vm->slot : gate_error_set(NULL, GATE_ERR_NO_SUBJECT, " ");
}

void gate_engine_slot_subject(struct gate_engine *e, uint32_t slot, struct gate_subject *out)
{
	if (slot && slot < e->m->conf->max_vms && e->by_slot[slot]) {
		gate_engine_vm_subject(e->by_slot[slot], out);
		return;
	}
	*out = (struct gate_subject){ .kind = GATE_S_WORD };
	copy_name(out->name, e->unknown.name);
}

static uint32_t active_of(const struct gate_engine *e, uint32_t slot)
{
	uint32_t fixed = e->m->scopes + 1, overrides = e->m->vms[slot].override_base, sum = 0;
	const struct gate_bucket_set *sets = &e->m->buckets[slot * fixed];

	for (uint32_t i = 0; i < fixed; i++)
		sum += sets[i].active;
	if (!overrides) /* of nearly all: nothing more is looked at */
		return (int32_t)sum > 0 ? sum : 0;
	sets = &e->m->buckets[overrides];
	for (uint32_t i = 0; i < gate_sync_override_sets(e->sync, slot); i++)
		sum += sets[i].active;
	return (int32_t)sum > 0 ? sum : 0;
}

void gate_engine_counters(struct gate_engine *e, uint32_t slot, struct gate_counters *out,
			  uint32_t *flows_active)
{
	*out = e->m->counters[slot];
	if (flows_active)
		*flows_active = active_of(e, slot);
}

/* Slots without a VM count too: theirs are not among what is gone until they are wiped. */
void gate_engine_totals(struct gate_engine *e, struct gate_counters *out, uint32_t *flows_active)
{
	uint32_t active = 0;

	*out = e->gone;
	for (uint32_t slot = 0; slot < e->m->conf->max_vms; slot++) {
		const struct gate_counters *c = &e->m->counters[slot];

#define X(name) out->name += c->name;
		GATE_COUNTERS(X)
#undef X
		if (slot == GATE_SLOT_UNKNOWN || e->by_slot[slot])
			active += active_of(e, slot);
	}
	if (flows_active)
		*flows_active = active;
}
