// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* VMs in the model, and their slots. */
#include "engine_priv.h"
#include "quiesce.h"

void gate_engine_vm_subject(const struct vm *vm, struct gate_subject *out)
{
	*out = (struct gate_subject){ .kind = vm->spec.registered ? GATE_S_VM : GATE_S_PORT };
	memcpy(out->name, vm->spec.name, sizeof(out->name));
}

struct vm *gate_engine_vm_find(const struct gate_engine *e, const struct gate_subject *s)
{
	if (s->kind == GATE_S_VM)
		return gate_table_get(&e->vms, s->name, strlen(s->name));
	if (s->kind == GATE_S_PORT)
		return gate_table_get(&e->loners, s->name, strlen(s->name));
	return NULL;
}

static struct gate_table *table_of(struct gate_engine *e, const struct vm *vm)
{
	return vm->spec.registered ? &e->vms : &e->loners;
}

/* ---- slots ---- */

bool gate_engine_slot_has_traces(const struct gate_engine *e, uint32_t slot)
{
	const struct gate_counters *c = &e->m->counters[slot];

	return c->packets_from_vm || c->packets_to_vm;
}

uint32_t gate_engine_slot_take(struct gate_engine *e)
{
	uint32_t slot = gate_pool_take(&e->slots, gate_clock_mono_ns());

	if (slot == UINT32_MAX) {
		gate_engine_slots_reap(e);
		slot = gate_pool_take(&e->slots, gate_clock_mono_ns());
	}
	return slot == UINT32_MAX ? GATE_SLOT_UNKNOWN : slot;
}

void gate_engine_slot_retire(struct gate_engine *e, uint32_t slot)
{
	if (slot == GATE_SLOT_UNKNOWN)
		return;
	gate_engine_reports_end(e, slot);
	gate_sync_vm_retire(e->sync, slot);
	e->by_slot[slot] = NULL;
	e->left_ns[slot] = gate_clock_mono_ns();
	e->retired = gate_realloc(e->retired, e->nretired + 1, sizeof(*e->retired));
	e->retired[e->nretired++] =
		(struct retired_slot){ .slot = slot, .since = e->left_ns[slot] };
}

static void add_counters(struct gate_counters *to, const struct gate_counters *c)
{
#define X(name) to->name += c->name;
	GATE_COUNTERS(X)
#undef X
}

/*
 * The counts of slots that nobody uses any more go into the totals of what is
 * gone; these are made durable before the slots are wiped, so that a crash in
 * between counts twice rather than not at all.
 */
static void reap(struct gate_engine *e, unsigned ready)
{
	if (!ready)
		return;
	for (unsigned i = 0; i < ready; i++)
		add_counters(&e->gone, &e->m->counters[e->retired[i].slot]);
	gate_engine_save_gone(e);
	for (unsigned i = 0; i < ready; i++) {
		gate_sync_vm_wipe(e->sync, e->retired[i].slot);
		gate_pool_give(&e->slots, e->retired[i].slot, gate_clock_mono_ns());
	}
	e->nretired -= ready;
	memmove(e->retired, e->retired + ready, e->nretired * sizeof(*e->retired));
}

void gate_engine_slots_reap(struct gate_engine *e)
{
	uint64_t now = gate_clock_mono_ns();
	unsigned ready = 0;

	while (ready < e->nretired && now - e->retired[ready].since >= SLOT_REST_NS)
		ready++;
	reap(e, ready);
}

void gate_engine_slots_hurry(struct gate_engine *e)
{
	if (!e->nretired)
		return;
	gate_quiesce();
	reap(e, e->nretired);
}

/* ---- checks ---- */

static int conflict(struct gate_error *err, const char *what, const char *which,
		    const struct vm *owner)
{
	return gate_error_set(err, GATE_ERR_CONFLICT, "%s %s belongs to vm:%s", what, which,
			      owner->spec.name);
}

/* Two VMs may share a port if MACs tell them apart. */
static int check_ports(struct gate_engine *e, const struct gate_vm_spec *spec, const struct vm *old,
		       struct gate_error *err)
{
	for (unsigned i = 0; i < spec->nports; i++) {
		const struct claim *c =
			gate_table_get(&e->claims, spec->ports[i], strlen(spec->ports[i]));

		for (; c; c = c->next)
			if (c->vm != old && (!spec->nmacs || !c->vm->spec.nmacs))
				return conflict(err, "port", spec->ports[i], c->vm);
	}
	return 0;
}

int gate_engine_vm_check(struct gate_engine *e, const struct gate_vm_spec *spec,
			 const struct vm *old, struct gate_error *err)
{
	int r = gate_vm_spec_check(spec, err);
	char text[64];

	if (!r)
		r = check_ports(e, spec, old, err);
	for (unsigned i = 0; i < spec->nmacs && !r; i++) {
		const struct vm *owner = gate_table_get(&e->macs, spec->macs[i], 6);

		if (owner && owner != old)
			r = conflict(err, "MAC", gate_format_mac(spec->macs[i], text, sizeof(text)),
				     owner);
	}
	for (unsigned i = 0; i < spec->nips && !r; i++) {
		const struct vm *owner = gate_engine_ip_owner(e, &spec->ips[i], old);

		if (owner)
			r = conflict(err, "address",
				     gate_format_prefix(&spec->ips[i], text, sizeof(text)), owner);
	}
	if (!r && spec->tenant[0] && !gate_engine_tenant(e, spec->tenant) &&
	    !gate_pool_left(&e->tenant_ids))
		r = gate_error_set(err, GATE_ERR_FAILED,
				   "no room for another tenant (max_tenants = %u)",
				   e->m->conf->max_tenants);
	return r;
}

/* ---- model and maps ---- */

static void join_tenant(struct gate_engine *e, struct vm *vm)
{
	struct tenant *t;

	vm->tenant = NULL;
	if (!vm->spec.tenant[0])
		return;
	t = gate_engine_tenant_make(e, vm->spec.tenant, 0);
	if (!t)
		return;
	vm->tenant = t;
	vm->tenant_next = t->vms;
	vm->tenant_prev = &t->vms;
	if (t->vms)
		t->vms->tenant_prev = &vm->tenant_next;
	t->vms = vm;
	t->nvms++;
}

static struct tenant *leave_tenant(struct vm *vm)
{
	struct tenant *t = vm->tenant;

	if (!t)
		return NULL;
	*vm->tenant_prev = vm->tenant_next;
	if (vm->tenant_next)
		vm->tenant_next->tenant_prev = vm->tenant_prev;
	vm->tenant = NULL;
	t->nvms--;
	return t;
}

struct vm *gate_engine_vm_make(struct gate_engine *e, const struct gate_vm_spec *spec,
			       uint32_t slot)
{
	struct vm *vm = gate_alloc(1, sizeof(*vm));

	gate_vm_spec_copy(&vm->spec, spec);
	vm->slot = slot;
	if (slot)
		e->by_slot[slot] = vm;
	gate_table_put(table_of(e, vm), vm->spec.name, strlen(vm->spec.name), vm);
	join_tenant(e, vm);
	if (vm->spec.registered)
		gate_engine_claims_put(e, vm);
	return vm;
}

/* Out of the model; ports and slot have been seen to. */
void gate_engine_vm_free(struct gate_engine *e, struct vm *vm)
{
	gate_table_del(table_of(e, vm), vm->spec.name, strlen(vm->spec.name));
	gate_engine_tenant_release(e, leave_tenant(vm));
	gate_vm_spec_clear(&vm->spec);
	free(vm->learned);
	free(vm);
}

static const struct rec *tenant_rec(const struct gate_engine *e, const struct vm *vm)
{
	struct gate_subject s = { .kind = GATE_S_TENANT };

	if (!vm->tenant)
		return NULL;
	memcpy(s.name, vm->tenant->name, sizeof(s.name));
	return gate_engine_rec(e, &s);
}

static enum gate_binding binding_of(const struct gate_engine *e, const struct vm *vm)
{
	if (vm->spec.registered)
		return vm->spec.binding >= 0 ? (enum gate_binding)vm->spec.binding : e->c->binding;
	/* Nothing is registered, so nothing can be strict about it. */
	return e->c->binding == GATE_BINDING_STRICT ? GATE_BINDING_LEARN : e->c->binding;
}

void gate_engine_vm_identity(struct gate_engine *e, struct vm *vm)
{
	const struct rec *tenant = tenant_rec(e, vm), *own;
	struct gate_subject s;

	if (!vm->slot)
		return;
	gate_engine_vm_subject(vm, &s);
	own = gate_engine_rec(e, &s);
	gate_sync_vm(e->sync, vm->slot,
		     &(struct gate_sync_vm){
			     .name = vm->spec.name,
			     .registered = vm->spec.registered,
			     .binding = binding_of(e, vm),
			     .tenant = vm->tenant ? vm->tenant->id : 0,
			     .budget = tenant && tenant->has_budget ? tenant->budget : 0,
		     });
	gate_sync_vm_flag(e->sync, vm->slot, GATE_VM_EXEMPT, own && own->exempt);
	gate_sync_vm_flag(e->sync, vm->slot, GATE_VM_TENANT_EXEMPT, tenant && tenant->exempt);
}

/* Where the uplink is the gate, sources tell VMs apart. */
static void sync_owners(struct gate_engine *e, const struct vm *vm)
{
	const struct gate_vm_spec *spec = &vm->spec;

	if (!e->c->uplink_mode || !vm->slot)
		return;
	for (unsigned i = 0; i < spec->nmacs; i++)
		gate_sync_mac_owner(e->sync, 0, spec->macs[i], vm->slot);
	for (unsigned i = 0; i < spec->nips; i++)
		gate_sync_ip_owner(e->sync, &spec->ips[i], vm->slot);
}

/*
 * What was a VM's and is nobody's now. What it has kept, or another VM has by now, stays
 * where it is: without an owner the default policy would have its frames.
 */
static void drop_owners(struct gate_engine *e, const struct gate_vm_spec *was)
{
	if (!e->c->uplink_mode)
		return;
	for (unsigned i = 0; i < was->nmacs; i++)
		if (!gate_table_get(&e->macs, was->macs[i], 6))
			gate_sync_mac_owner(e->sync, 0, was->macs[i], GATE_NO_SLOT);
	for (unsigned i = 0; i < was->nips; i++)
		if (!gate_engine_ip_claimed(e, &was->ips[i]))
			gate_sync_ip_owner(e->sync, &was->ips[i], GATE_NO_SLOT);
}

void gate_engine_vm_sync(struct gate_engine *e, struct vm *vm)
{
	gate_engine_vm_identity(e, vm);
	gate_engine_vm_addresses(e, vm);
	sync_owners(e, vm);
}

void gate_engine_vm_remove(struct gate_engine *e, struct vm *vm)
{
	struct gate_subject s;
	struct rec *rec;

	gate_engine_vm_subject(vm, &s);
	rec = gate_engine_rec(e, &s);
	if (rec) {
		struct gate_own none;

		gate_own_init(&none, &s);
		gate_engine_install(e, &none);
	}
	gate_engine_claims_del(e, vm);
	drop_owners(e, &vm->spec);
	gate_table_del(&e->vms, vm->spec.name, strlen(vm->spec.name));
	for (struct port *p = vm->ports; p; p = p->vm_next)
		p->kept = false;
	gate_engine_ports_rebind(e, vm, &vm->spec);
	gate_engine_slot_retire(e, vm->slot);
	gate_engine_vm_free(e, vm);
}

/* ---- registering what was there unregistered ---- */

static struct rec *port_rec(struct gate_engine *e, const char *port)
{
	struct gate_subject s = { .kind = GATE_S_PORT };

	copy_name(s.name, port);
	return gate_engine_rec(e, &s);
}

struct rec *gate_engine_vm_inherits(struct gate_engine *e, const struct gate_vm_spec *spec)
{
	struct gate_subject s = { .kind = GATE_S_VM };
	struct rec *rec = NULL;

	memcpy(s.name, spec->name, sizeof(s.name));
	if (gate_engine_rec(e, &s))
		return NULL;
	for (unsigned i = 0; i < spec->nports && !rec; i++)
		rec = port_rec(e, spec->ports[i]);
	return rec;
}

/* The counts of `from` become those of `to`; nothing is counted twice or lost. */
static void move_counters(struct gate_engine *e, uint32_t from, uint32_t to)
{
	struct gate_counters *c = &e->m->counters[from], moved = *c;

	gate_sync_counters_add(e->sync, to, &moved);
#define X(name) __atomic_fetch_sub(&c->name, moved.name, __ATOMIC_RELAXED);
	GATE_COUNTERS(X)
#undef X
}

static void absorb(struct gate_engine *e, struct vm *vm, const char *port, struct rec *inherited)
{
	struct vm *loner = gate_table_get(&e->loners, port, strlen(port));
	struct rec *rec = port_rec(e, port);
	struct gate_subject s;

	if (loner && loner->slot && vm->slot) {
		gate_engine_reports_move(e, loner->slot, vm->slot);
		move_counters(e, loner->slot, vm->slot);
	}
	if (loner)
		gate_engine_reports_rename(e, port, vm->spec.name);
	if (rec && rec == inherited) {
		gate_engine_vm_subject(vm, &s);
		gate_engine_rec_move(e, rec, &s);
		gate_engine_sync_rec(e, rec);
	} else if (rec) {
		gate_engine_rec_drop(e, rec);
	}
	if (loner || rec)
		memcpy(vm->moved_from, port, sizeof(vm->moved_from));
	/* The port itself goes over when ports are bound anew; then the loner is empty. */
}

/*
 * A registration for one of whose ports there is a VM already takes that one's
 * slot, with its counters, buckets and running flows.
 */
static struct vm *new_vm(struct gate_engine *e, const struct gate_vm_spec *spec)
{
	struct gate_vm_spec bare = { .registered = true, .binding = -1 };
	struct vm *vm = NULL;
	uint32_t slot;

	memcpy(bare.name, spec->name, sizeof(bare.name));
	for (unsigned i = 0; i < spec->nports && !vm; i++)
		vm = gate_table_get(&e->loners, spec->ports[i], strlen(spec->ports[i]));
	if (vm && vm->slot) {
		memcpy(vm->moved_from, vm->spec.name, sizeof(vm->moved_from));
		gate_engine_reports_rename(e, vm->spec.name, spec->name);
		gate_table_del(&e->loners, vm->spec.name, strlen(vm->spec.name));
		gate_vm_spec_clear(&vm->spec);
		vm->spec = bare;
		vm->gone_ns = 0;
		gate_table_put(&e->vms, vm->spec.name, strlen(vm->spec.name), vm);
		gate_engine_learned_changed(e, vm);
		return vm;
	}
	slot = gate_engine_slot_take(e);
	return slot ? gate_engine_vm_make(e, &bare, slot) : NULL;
}

struct vm *gate_engine_vm_claim(struct gate_engine *e, const struct gate_vm_spec *spec,
				struct gate_vm_spec *was)
{
	struct vm *vm = gate_table_get(&e->vms, spec->name, strlen(spec->name));

	if (vm)
		vm->moved_from[0] = '\0';
	else
		vm = new_vm(e, spec);
	if (!vm)
		return NULL;
	*was = vm->spec;
	gate_engine_claims_del(e, vm);
	leave_tenant(vm);
	gate_vm_spec_copy(&vm->spec, spec);
	gate_engine_claims_put(e, vm);
	join_tenant(e, vm);
	return vm;
}

void gate_engine_vm_take_over(struct gate_engine *e, struct vm *vm)
{
	struct rec *inherited = gate_engine_vm_inherits(e, &vm->spec);

	for (unsigned i = 0; i < vm->spec.nports; i++)
		absorb(e, vm, vm->spec.ports[i], inherited);
	gate_engine_vm_sync(e, vm);
}

void gate_engine_vm_leave(struct gate_engine *e, struct vm *vm, struct gate_vm_spec *was)
{
	drop_owners(e, was);
	gate_engine_tenant_release(e, gate_engine_tenant(e, was->tenant));
	for (struct port *p = vm->ports; p; p = p->vm_next)
		p->kept = false;
	gate_engine_ports_rebind(e, vm, was);
	gate_engine_ports_rebind(e, vm, &vm->spec);
	for (unsigned i = 0; i < vm->spec.nports; i++) {
		const char *port = vm->spec.ports[i];
		struct vm *loner = gate_table_get(&e->loners, port, strlen(port));

		if (loner)
			gate_engine_loner_remove(e, loner);
	}
	gate_vm_spec_clear(was);
}

struct vm *gate_engine_vm_register(struct gate_engine *e, const struct gate_vm_spec *spec)
{
	struct gate_vm_spec was;
	struct vm *vm = gate_engine_vm_claim(e, spec, &was);

	if (!vm)
		return NULL;
	gate_engine_vm_take_over(e, vm);
	gate_engine_vm_leave(e, vm, &was);
	return vm;
}
