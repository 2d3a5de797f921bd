// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Registration of VMs: PUT and DELETE. Durable first, then in force. */
#include "engine_priv.h"

#include <errno.h>

#define REASON_MAX 255

static int check_reason(const char *reason, struct gate_error *err)
{
	if (reason && strlen(reason) > REASON_MAX)
		return gate_error_set(err, GATE_ERR_USAGE, "reason is longer than %d bytes",
				      REASON_MAX);
	return 0;
}

/* A slot for a new VM: a port's own if it has one, else a free one. */
static int check_room(struct gate_engine *e, const struct gate_vm_spec *spec,
		      struct gate_error *err)
{
	for (unsigned i = 0; i < spec->nports; i++)
		if (gate_table_get(&e->loners, spec->ports[i], strlen(spec->ports[i])))
			return 0;
	gate_engine_slots_reap(e);
	if (gate_pool_left(&e->slots))
		return 0;
	return gate_error_set(err, GATE_ERR_FAILED, "no room for another VM (max_vms = %u)",
			      e->m->conf->max_vms);
}

/* What its ports had of their own goes to the VM, or goes. */
static int save_inherited(struct gate_engine *e, const struct gate_vm_spec *spec,
			  struct gate_error *err)
{
	const struct rec *inherited = gate_engine_vm_inherits(e, spec);
	int r = 0;

	if (inherited) {
		struct gate_own own;

		gate_engine_rec_own(inherited, &own);
		own.subject = (struct gate_subject){ .kind = GATE_S_VM };
		copy_name(own.subject.name, spec->name);
		r = gate_engine_save_own(e, &own, err);
	}
	for (unsigned i = 0; i < spec->nports && !r; i++) {
		struct gate_subject s = { .kind = GATE_S_PORT };

		copy_name(s.name, spec->ports[i]);
		if (gate_engine_rec(e, &s))
			r = gate_store_del_own(e->store, &s, err);
	}
	return r;
}

/* A policy that an undo puts back beside the registration of `vm`, whose note tells of it. */
static int save_back(struct gate_engine *e, const struct gate_own *own,
		     const struct gate_subject *vm, const struct audit_undo *undo,
		     struct gate_error *err)
{
	struct audit_note note;
	/* what of its own the transaction has written before gives way */
	int r = gate_store_del_own(e->store, &own->subject, err);

	if (!r)
		r = gate_engine_save_own(e, own, err);
	if (r || gate_subject_compare(&own->subject, vm) == 0)
		return r;
	gate_engine_audit_undo(&note, &own->subject, undo);
	gate_engine_audit_before_own(e, &note, &own->subject, gate_engine_rec(e, &own->subject));
	r = gate_engine_save_audit(e, &note, err);
	gate_engine_audit_clear(&note);
	return r;
}

static int save_all_back(struct gate_engine *e, const struct gate_subject *vm,
			 const struct audit_undo *undo, struct gate_error *err)
{
	int r = 0;

	for (unsigned i = 0; undo && i < undo->nown && !r; i++)
		r = save_back(e, &undo->own[i], vm, undo, err);
	return r;
}

static void install_back(struct gate_engine *e, const struct audit_note *note,
			 const struct audit_undo *undo)
{
	for (unsigned i = 0; undo && i < undo->nown; i++) {
		gate_engine_install(e, &undo->own[i]);
		gate_engine_tell_audit(e, GATE_N_POLICY, &undo->own[i].subject, &note->row);
	}
}

static int save_put(struct gate_engine *e, const struct gate_vm_spec *spec,
		    const struct gate_subject *vm, const struct audit_note *note,
		    const struct audit_undo *undo, struct gate_error *err)
{
	int r = gate_engine_save_begin(e, err);

	if (r)
		return r;
	r = gate_engine_save_vm(e, spec, err);
	if (!r)
		r = save_inherited(e, spec, err);
	if (!r)
		r = save_all_back(e, vm, undo, err);
	if (!r)
		r = gate_engine_save_audit(e, note, err);
	return gate_engine_save_end(e, r, err);
}

static int put(struct gate_engine *e, const struct gate_vm_spec *spec,
	       const struct audit_note *note, const struct audit_undo *undo, struct gate_error *err)
{
	struct gate_subject s = { .kind = GATE_S_VM };
	struct gate_error why;
	struct vm *vm;
	int r;

	copy_name(s.name, spec->name);
	/* The tenant's number is part of what is saved. */
	if (spec->tenant[0])
		gate_engine_tenant_make(e, spec->tenant, 0);
	r = save_put(e, spec, &s, note, undo, &why);
	if (r) {
		gate_engine_tenant_release(e, gate_engine_tenant(e, spec->tenant));
		return gate_error_set(err, GATE_ERR_FAILED,
				      "nothing is changed, it could not be saved: %.400s",
				      why.message);
	}
	vm = gate_engine_vm_register(e, spec);
	gate_sync_revision(e->sync);
	gate_engine_tell_audit(e, GATE_N_IDENTITY, &s, &note->row);
	if (vm && vm->moved_from[0])
		gate_engine_tell(e, GATE_N_IDENTITY, &s, NULL,
				 "what port:%s had of its own is now vm:%s's", vm->moved_from,
				 spec->name);
	install_back(e, note, undo);
	return 0;
}

/* A new VM takes over what its ports had of their own; an undo gives it back. */
static void note_before(struct gate_engine *e, const struct gate_vm_spec *spec,
			const struct vm *old, struct audit_note *note)
{
	struct audit_before before = { .with_vm = true, .vm = old ? &old->spec : NULL };
	const unsigned most = sizeof(before.own) / sizeof(before.own[0]);

	for (unsigned i = 0; i < spec->nports && before.nown < most; i++) {
		struct gate_subject s = { .kind = GATE_S_PORT };

		copy_name(s.name, spec->ports[i]);
		if (gate_engine_rec(e, &s))
			before.own[before.nown++] = s;
	}
	gate_engine_audit_before(e, note, &before);
}

static int check_put(struct gate_engine *e, const struct gate_vm_spec *spec, const struct vm *old,
		     struct gate_error *err)
{
	int r = gate_engine_vm_check(e, spec, old, err);

	return r || old ? r : check_room(e, spec, err);
}

int gate_engine_vm_put_as(struct gate_engine *e, const struct gate_vm_spec *vm,
			  const struct audit_undo *undo, struct gate_error *err)
{
	const struct vm *old = gate_table_get(&e->vms, vm->name, strlen(vm->name));
	struct gate_subject s = { .kind = GATE_S_VM };
	struct gate_vm_spec spec = *vm;
	struct audit_note note;
	int r;

	spec.registered = true;
	copy_name(s.name, vm->name);
	r = check_put(e, &spec, old, err);
	if (r)
		return r;
	gate_engine_audit_undo(&note, &s, undo);
	note_before(e, &spec, old, &note);
	r = put(e, &spec, &note, undo, err);
	gate_engine_audit_clear(&note);
	return r;
}

int gate_engine_vm_put(struct gate_engine *e, const struct gate_actor *who,
		       const struct gate_vm_spec *vm, bool create, bool must_exist,
		       const char *reason, struct gate_error *err)
{
	struct vm *old = gate_table_get(&e->vms, vm->name, strlen(vm->name));
	struct gate_vm_spec spec = *vm;
	struct audit_note note;
	int r = check_reason(reason, err);

	spec.registered = true;
	if (!r && old && create)
		r = gate_error_set(err, GATE_ERR_CONFLICT, "vm:%s exists already", vm->name);
	if (!r && !old && must_exist)
		r = gate_error_set(err, GATE_ERR_NO_SUBJECT, "there is no vm:%s", vm->name);
	if (!r)
		r = check_put(e, &spec, old, err);
	if (r)
		return r;
	gate_engine_audit_vm(&note, who, old ? "vm set" : "vm add", &spec, reason);
	note_before(e, &spec, old, &note);
	r = put(e, &spec, &note, NULL, err);
	gate_engine_audit_clear(&note);
	return r;
}

static int save_del(struct gate_engine *e, const struct vm *vm, const struct audit_note *note,
		    const struct audit_undo *undo, struct gate_error *err)
{
	struct gate_subject s;
	int r = gate_engine_save_begin(e, err);

	if (r)
		return r;
	gate_engine_vm_subject(vm, &s);
	r = gate_store_del_vm(e->store, vm->spec.name, err);
	if (!r)
		r = gate_store_del_own(e->store, &s, err);
	if (!r)
		r = gate_store_del_counters(e->store, note->subject, err);
	if (!r)
		r = save_all_back(e, &s, undo, err);
	if (!r)
		r = gate_engine_save_audit(e, note, err);
	return gate_engine_save_end(e, r, err);
}

/* Before all that is asked for it goes, with its policy. */
static void note_gone(struct gate_engine *e, const struct vm *vm, struct audit_note *note)
{
	struct audit_before before = { .with_vm = true, .vm = &vm->spec };

	gate_engine_vm_subject(vm, &before.own[0]);
	before.nown = gate_engine_rec(e, &before.own[0]) ? 1 : 0;
	gate_engine_audit_before(e, note, &before);
}

/* Takes `note`. */
static int del(struct gate_engine *e, struct vm *vm, struct audit_note *note,
	       const struct audit_undo *undo, struct gate_error *err)
{
	struct gate_error why;
	struct gate_subject s;
	int r;

	gate_engine_vm_subject(vm, &s);
	note_gone(e, vm, note);
	r = save_del(e, vm, note, undo, &why);
	if (!r) {
		gate_engine_vm_remove(e, vm);
		gate_sync_revision(e->sync);
		gate_engine_tell_audit(e, GATE_N_IDENTITY, &s, &note->row);
		install_back(e, note, undo);
	}
	gate_engine_audit_clear(note);
	return r ? gate_error_set(err, GATE_ERR_FAILED,
				  "nothing is changed, it could not be saved: %.400s", why.message)
		 : 0;
}

static struct vm *find_named(struct gate_engine *e, const char *name, struct gate_error *err)
{
	struct vm *vm = gate_table_get(&e->vms, name, strlen(name));

	if (!vm)
		gate_error_set(err, GATE_ERR_NO_SUBJECT, "there is no vm:%.63s", name);
	return vm;
}

int gate_engine_vm_del_as(struct gate_engine *e, const char *name, const struct audit_undo *undo,
			  struct gate_error *err)
{
	struct vm *vm = find_named(e, name, err);
	struct audit_note note;
	struct gate_subject s;

	if (!vm)
		return -ENOENT;
	gate_engine_vm_subject(vm, &s);
	gate_engine_audit_undo(&note, &s, undo);
	return del(e, vm, &note, undo, err);
}

int gate_engine_vm_del(struct gate_engine *e, const struct gate_actor *who, const char *name,
		       const char *reason, struct gate_error *err)
{
	struct audit_note note;
	struct vm *vm;
	int r = check_reason(reason, err);

	if (r)
		return r;
	vm = find_named(e, name, err);
	if (!vm)
		return -ENOENT;
	gate_engine_audit_vm(&note, who, "vm del", &vm->spec, reason);
	return del(e, vm, &note, NULL, err);
}
