// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * From store and kernel to the model, and from there to the maps. VMs find their
 * slots again by the names kept in the `names` map, so counters and buckets stay
 * theirs; after a reboot, with new maps, counters come from the store.
 */
#include "engine_priv.h"

/* ---- from the store ---- */

struct loading {
	struct gate_engine *e;
	struct gate_table counters; /* subject -> struct gate_counters */
	struct gate_vm_spec *vms;
	size_t nvms;
};

static void load_tenant(void *arg, uint32_t id, const char *name)
{
	struct loading *l = arg;

	gate_engine_tenant_make(l->e, name, id);
}

static void load_vm(void *arg, struct gate_vm_spec *vm)
{
	struct loading *l = arg;

	if (!(l->nvms & (l->nvms - 1)))
		l->vms = gate_realloc(l->vms, l->nvms ? 2 * l->nvms : 1, sizeof(*l->vms));
	l->vms[l->nvms++] = *vm;
}

static void load_own(void *arg, struct gate_own *own, uint64_t first_mac)
{
	struct loading *l = arg;
	struct rec *rec = gate_engine_rec_put(l->e, own);

	rec->first_mac = first_mac;
	gate_own_clear(own);
}

static void load_counters(void *arg, const char *subject, const struct gate_counters *c)
{
	struct loading *l = arg;

	gate_table_put(&l->counters, subject, strlen(subject), gate_copy(c, 1, sizeof(*c)));
}

/* ---- slots ---- */

static struct gate_vm_spec *spec_named(struct loading *l, const char *name)
{
	size_t low = 0, high = l->nvms; /* they came sorted by name */

	while (low < high) {
		size_t mid = (low + high) / 2;
		int order = strcmp(l->vms[mid].name, name);

		if (!order)
			return &l->vms[mid];
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

static struct vm *make_loner(struct gate_engine *e, const char *port, uint32_t slot)
{
	struct gate_vm_spec spec = { .binding = -1, .nports = 1 };
	char ports[1][GATE_NAME_LEN] = { "" };
	struct vm *vm;

	copy_name(spec.name, port);
	memcpy(ports[0], spec.name, sizeof(spec.name));
	spec.ports = ports;
	vm = gate_engine_vm_make(e, &spec, slot);
	vm->gone_ns = gate_clock_mono_ns(); /* until its port reports */
	return vm;
}

static bool is_free(const struct gate_engine *e, const struct gate_table *t, const char *name)
{
	return name[0] && !gate_table_get(t, name, strlen(name));
}

/* Whose an adopted slot is: a VM in the store, a port, or nobody's any more. */
static void adopt_slot(struct loading *l, uint32_t slot)
{
	struct gate_engine *e = l->e;
	uint16_t flags = e->m->vms[slot].flags;
	char name[GATE_NAME_LEN];
	struct gate_vm_spec *spec;

	memcpy(name, e->m->names[slot], sizeof(name));
	name[sizeof(name) - 1] = '\0';
	if (!(flags & GATE_VM_USED) && !gate_engine_slot_has_traces(e, slot))
		return;
	gate_pool_claim(&e->slots, slot);
	spec = flags & GATE_VM_REGISTERED ? spec_named(l, name) : NULL;
	if (spec && is_free(e, &e->vms, name))
		gate_engine_vm_make(e, spec, slot);
	else if ((flags & GATE_VM_USED) && !(flags & GATE_VM_REGISTERED) &&
		 is_free(e, &e->loners, name))
		make_loner(e, name, slot);
	else
		gate_engine_slot_retire(e, slot);
}

static void restore_counters(struct loading *l, struct vm *vm)
{
	struct gate_subject s;
	char text[GATE_SUBJECT_LEN + 4];
	struct gate_counters *c;

	gate_engine_vm_subject(vm, &s);
	gate_format_subject(&s, text, sizeof(text));
	c = gate_table_get(&l->counters, text, strlen(text));
	if (c && vm->slot)
		gate_sync_counters_add(l->e->sync, vm->slot, c);
}

static void give_slots(struct loading *l)
{
	struct gate_engine *e = l->e;
	unsigned without = 0;

	for (size_t i = 0; i < l->nvms; i++) {
		struct gate_vm_spec *spec = &l->vms[i];
		uint32_t slot;

		if (!is_free(e, &e->vms, spec->name))
			continue;
		slot = gate_engine_slot_take(e);
		without += !slot;
		restore_counters(l, gate_engine_vm_make(e, spec, slot));
	}
	if (without)
		gate_engine_problem_set(e, "map_full", "vms",
					"no slot left for %u registered VMs (max_vms = %u)",
					without, e->m->conf->max_vms);
}

static void add_gone(struct gate_counters *to, const struct gate_counters *c)
{
#define X(name) to->name += c->name;
	GATE_COUNTERS(X)
#undef X
}

/* What was counted since they were last saved is yet to come into the hours. */
static void base_reports(struct loading *l)
{
	struct gate_engine *e = l->e;

	for (uint32_t slot = 0; slot < e->m->conf->max_vms; slot++) {
		char text[GATE_SUBJECT_LEN + 4];
		const struct gate_counters *c;
		struct gate_subject s;

		if (slot && !e->by_slot[slot])
			continue;
		gate_engine_slot_subject(e, slot, &s);
		gate_format_subject(&s, text, sizeof(text));
		c = gate_table_get(&l->counters, text, strlen(text));
		if (c) /* else nothing of it was ever saved */
			gate_engine_reports_base(e, slot, c);
	}
}

/* Counters of ports that did not come back are among the totals of what is gone. */
static void take_totals(struct loading *l)
{
	struct gate_engine *e = l->e;
	struct gate_table_iter it = { 0 };
	struct gate_table_entry *at;

	memset(&e->gone, 0, sizeof(e->gone));
	while ((at = gate_table_next(&l->counters, &it))) {
		char text[GATE_SUBJECT_LEN + 4] = "";
		struct gate_subject s;

		memcpy(text, at->key, at->len < sizeof(text) ? at->len : sizeof(text) - 1);
		if (!text[0])
			add_gone(&e->gone, at->value);
		else if (strcmp(text, "unknown") == 0) {
			if (!e->m->conf->revision)
				gate_sync_counters_add(e->sync, GATE_SLOT_UNKNOWN, at->value);
		} else if (!gate_parse_subject(text, &s) && !gate_engine_vm_find(e, &s)) {
			add_gone(&e->gone, at->value);
			if (gate_store_del_counters(e->store, text, NULL))
				log_warning("store: counters of %s may be counted twice", text);
		}
	}
}

static void release_unused_tenants(struct gate_engine *e)
{
	struct gate_table_iter it = { 0 };
	struct gate_table_entry *at;

	while ((at = gate_table_next(&e->tenants, &it)))
		gate_engine_tenant_release(e, at->value);
}

static void end_loading(struct loading *l)
{
	struct gate_table_iter it = { 0 };
	struct gate_table_entry *at;

	while ((at = gate_table_next(&l->counters, &it)))
		free(at->value);
	gate_table_clear(&l->counters);
	for (size_t i = 0; i < l->nvms; i++)
		gate_vm_spec_clear(&l->vms[i]);
	free(l->vms);
}

int gate_engine_load(struct gate_engine *e, struct gate_error *err)
{
	struct loading l = { .e = e };
	const struct gate_store_reader reader = {
		.arg = &l,
		.tenant = load_tenant,
		.vm = load_vm,
		.own = load_own,
		.counters = load_counters,
	};
	int r = gate_store_load(e->store, e->m->conf->ports, e->m->conf->nports, &reader, err);

	if (!r) {
		for (uint32_t slot = 1; slot < e->m->conf->max_vms; slot++)
			adopt_slot(&l, slot);
		give_slots(&l);
		base_reports(&l);
		gate_engine_reports_load(e);
		gate_engine_learned_load(e);
		take_totals(&l);
		release_unused_tenants(e);
	}
	end_loading(&l);
	return r;
}

/* ---- numbers that an earlier daemon gave ---- */

static void adopt_override(void *arg, const struct gate_subject *s, uint32_t base)
{
	struct gate_engine *e = arg;
	struct rec *rec = gate_engine_rec(e, s);
	uint32_t first = gate_base_override(e->m, 0);

	if (rec && rec->override == UINT32_MAX && base >= first &&
	    gate_pool_claim(&e->overrides, base - first))
		rec->override = base - first;
}

/* Which one the subject's VMs spend from, 0 = none. */
static uint32_t budget_in_force(struct gate_engine *e, const struct rec *rec)
{
	const struct gate_subject *s = &rec->subject;
	const struct tenant *t = s->kind == GATE_S_TENANT ? gate_engine_tenant(e, s->name) : NULL;
	uint32_t budget = 0;

	for (const struct vm *vm = t ? t->vms : NULL; vm && !budget; vm = vm->tenant_next)
		if (vm->slot && e->m->vms[vm->slot].tenant == t->id)
			budget = e->m->vms[vm->slot].budget;
	return s->kind == GATE_S_IP ? gate_engine_ip_budget(e, rec) : budget;
}

/* The budget's state, its bucket, must stay: same place as before. */
static void adopt_budget(struct gate_engine *e, struct rec *rec)
{
	const uint32_t wanted = rec->has_budget && !rec->budget ? budget_in_force(e, rec) : 0;

	if (wanted)
		rec->budget = gate_sync_budget_take(e->sync, wanted);
}

/* Those that nobody spends from come last: they would take a place that is another's. */
static void make_budget(struct gate_engine *e, struct rec *rec)
{
	if (rec->has_budget && !rec->budget)
		rec->budget = gate_sync_budget_take(e->sync, 0);
}

/* ---- everything to the maps ---- */

static void each_rec(struct gate_engine *e, void (*cb)(struct gate_engine *, struct rec *))
{
	struct gate_table_iter it = { 0 };
	struct gate_table_entry *at;

	while ((at = gate_table_next(&e->recs, &it)))
		cb(e, at->value);
}

/* A number for each; heads first, entries that lead to them follow. */
static void sync_head(struct gate_engine *e, struct rec *rec)
{
	const struct gate_subject *s = &rec->subject;

	if ((s->kind == GATE_S_MAC || s->kind == GATE_S_IP) && rec->override == UINT32_MAX)
		rec->override = gate_sync_take(&e->overrides);
	gate_engine_sync_nodes(e, rec);
}

static void clear_stale_heads(struct gate_engine *e)
{
	const struct gate_conf *c = e->m->conf;
	const struct gate_subject bottom = { .kind = GATE_S_DEFAULT };
	uint32_t nbases = e->m->nheads / e->m->scopes;
	uint8_t *live = gate_alloc(nbases, 1);
	struct gate_table_iter it = { 0 };
	struct gate_table_entry *at;

	while ((at = gate_table_next(&e->recs, &it))) {
		const struct rec *rec = at->value;
		uint32_t base = gate_engine_base(e, &rec->subject);

		if (base < nbases)
			live[base] = 1;
	}
	if (!gate_engine_rec(e, &bottom))
		gate_sync_own(e->sync, gate_base_default(), NULL);
	for (uint32_t base = gate_base_vm(0); base < nbases && c->max_vms; base++)
		if (!live[base])
			gate_sync_own(e->sync, base, NULL);
	free(live);
}

static void sync_slots(struct gate_engine *e)
{
	gate_sync_vm(e->sync, GATE_SLOT_UNKNOWN, &(struct gate_sync_vm){ .name = "unknown" });
	for (uint32_t slot = 1; slot < e->m->conf->max_vms; slot++) {
		if (e->by_slot[slot])
			gate_engine_vm_sync(e, e->by_slot[slot]);
		else
			gate_sync_addresses(e->sync, slot, NULL, 0, NULL, 0);
	}
}

static void rebind_ports(struct gate_engine *e)
{
	struct gate_table_iter it = { 0 };
	struct gate_table_entry *at;

	while ((at = gate_table_next(&e->ports, &it))) {
		struct port *p = at->value;

		if (p->confirmed)
			gate_engine_port_bind(e, p);
		else
			gate_engine_port_keep(e, p);
	}
}

void gate_engine_sync_all(struct gate_engine *e)
{
	const struct gate_own none = { .subject = { .kind = GATE_S_DEFAULT } };
	const struct rec *bottom = gate_engine_rec(e, &none.subject);

	gate_sync_any_bases(e->sync, adopt_override, e);
	each_rec(e, adopt_budget);
	each_rec(e, make_budget);
	each_rec(e, sync_head);
	clear_stale_heads(e);
	if (!bottom)
		gate_engine_sync_exempt(e, &none);
	each_rec(e, gate_engine_sync_rec);
	sync_slots(e);
	rebind_ports(e);
	gate_sync_sweep(e->sync);
	gate_sync_revision(e->sync);
}

/* ---- away with it ---- */

static void forget_vms(struct gate_engine *e, struct gate_table *vms)
{
	struct gate_table_iter it = { 0 };
	struct gate_table_entry *at;

	while ((at = gate_table_next(vms, &it))) {
		struct vm *vm = at->value;

		for (struct port *p = vm->ports, *next; p; p = next) {
			next = p->vm_next;
			p->vm = NULL;
			p->vm_next = NULL;
			p->adopted = vm->slot;
		}
		if (vm->spec.registered)
			gate_engine_claims_del(e, vm);
		gate_vm_spec_clear(&vm->spec);
		free(vm->learned);
		free(vm);
	}
	gate_table_clear(vms);
}

/* Only the model: what is in force stays, as do the ports. */
void gate_engine_model_clear(struct gate_engine *e)
{
	struct gate_table_iter it = { 0 };
	struct gate_table_entry *at;

	forget_vms(e, &e->vms);
	forget_vms(e, &e->loners);
	while ((at = gate_table_next(&e->tenants, &it)))
		free(at->value);
	it = (struct gate_table_iter){ 0 };
	while ((at = gate_table_next(&e->recs, &it))) {
		free(((struct rec *)at->value)->packed);
		free(at->value);
	}
	gate_table_clear(&e->tenants);
	gate_table_clear(&e->recs);
	gate_table_clear(&e->claims);
	gate_table_clear(&e->macs);
	gate_order_clear(&e->ips);
	gate_order_clear(&e->ip_recs);
	gate_order_clear(&e->dues);
	memset(e->ip_len, 0, sizeof(e->ip_len));
	memset(e->ip_rec_len, 0, sizeof(e->ip_rec_len));
	memset(e->by_slot, 0, e->m->conf->max_vms * sizeof(struct vm *));
	gate_pool_clear(&e->slots);
	gate_pool_clear(&e->tenant_ids);
	gate_pool_clear(&e->overrides);
	gate_pool_init(&e->slots, 1, e->m->conf->max_vms, 0);
	gate_pool_init(&e->tenant_ids, 1, e->m->conf->max_tenants, GATE_NSEC_PER_SEC);
	gate_pool_init(&e->overrides, 0, e->m->conf->max_overrides, GATE_NSEC_PER_SEC);
	gate_sync_budget_forget(e->sync);
	e->nretired = 0;
}
