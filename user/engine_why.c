// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* From the numbers that the programs know back to what staff know. */
#include "engine_priv.h"

#include <errno.h>

static int tenant_subject(const struct gate_engine *e, uint32_t id, struct gate_subject *out)
{
	struct gate_table_iter it = { 0 };
	struct gate_table_entry *at;

	while ((at = gate_table_next(&e->tenants, &it))) {
		const struct tenant *t = at->value;

		if (t->id != id)
			continue;
		*out = (struct gate_subject){ .kind = GATE_S_TENANT };
		copy_name(out->name, t->name);
		return 0;
	}
	return -ENOENT;
}

static int override_subject(const struct gate_engine *e, uint32_t n, struct gate_subject *out)
{
	struct gate_table_iter it = { 0 };
	struct gate_table_entry *at;

	while ((at = gate_table_next(&e->recs, &it))) {
		const struct rec *rec = at->value;

		if (rec->override != n)
			continue;
		*out = rec->subject;
		return 0;
	}
	return -ENOENT;
}

int gate_engine_base_subject(struct gate_engine *e, uint32_t base, struct gate_subject *out)
{
	uint32_t tenants = gate_base_tenant(e->m, 0), overrides = gate_base_override(e->m, 0);

	if (base == gate_base_default()) {
		*out = (struct gate_subject){ .kind = GATE_S_DEFAULT };
		return 0;
	}
	if (base < gate_base_vm(0))
		return -ENOENT;
	if (base >= overrides)
		return override_subject(e, base - overrides, out);
	if (base >= tenants)
		return tenant_subject(e, base - tenants, out);
	gate_engine_slot_subject(e, base - gate_base_vm(0), out);
	return 0;
}

static bool find_in(const struct gate_prefix *list, unsigned n, const struct gate_prefix *dest,
		    struct gate_prefix *entry)
{
	for (unsigned i = 0; i < n; i++) {
		if (!gate_prefix_contains(&list[i], dest))
			continue;
		*entry = list[i];
		return true;
	}
	return false;
}

static bool exempt_for(const struct gate_engine *e, const struct gate_subject *s,
		       const struct gate_prefix *dest, struct gate_exemption *out)
{
	const struct rec *rec = gate_engine_rec(e, s);
	struct gate_own own;

	out->list = *s;
	if (!rec || !rec->exempt)
		return false;
	gate_engine_rec_own(rec, &own);
	return find_in(own.exempt, own.nexempt, dest, &out->entry);
}

bool gate_engine_exempt(struct gate_engine *e, uint32_t slot, const struct gate_prefix *dest,
			struct gate_exemption *out)
{
	const struct vm *vm = slot < e->m->conf->max_vms ? e->by_slot[slot] : NULL;
	struct gate_exemption x = { .list = { .kind = GATE_S_DEFAULT } };
	struct gate_subject s = { .kind = GATE_S_TENANT };
	bool found;

	x.configured = find_in(e->c->exempt, e->c->nexempt, dest, &x.entry);
	found = x.configured || exempt_for(e, &x.list, dest, &x);
	if (!found && vm && vm->tenant) {
		copy_name(s.name, vm->tenant->name);
		found = exempt_for(e, &s, dest, &x);
	}
	if (!found && vm) {
		gate_engine_vm_subject(vm, &s);
		found = exempt_for(e, &s, dest, &x);
	}
	if (found)
		*out = x;
	return found;
}

bool gate_engine_prefix_budget(struct gate_engine *e, const struct gate_prefix *addr,
			       struct gate_subject *out)
{
	int len = addr->len;
	struct rec *rec;

	while (len >= 0 && (rec = gate_engine_ip_cover(e, addr, len))) {
		if (rec->has_budget) {
			*out = rec->subject;
			return true;
		}
		len = rec->subject.ip.len - 1;
	}
	return false;
}
