// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The engine and its store. While the store is not usable the kernel keeps what
 * it has; changes that close are taken nevertheless and written when the store is
 * back, changes that open are refused.
 */
#include "engine_priv.h"

#include <errno.h>
#include <stdio.h>

static void broken(struct gate_engine *e, const struct gate_error *why)
{
	gate_store_close(e->store);
	e->store = NULL;
	gate_engine_problem_set(e, "store", "", "%s", why->message);
}

static int not_usable(const struct gate_engine *e, struct gate_error *err)
{
	const struct gate_problem *p = gate_table_get(&e->problems, "store\0", 6);

	return gate_error_set(err, GATE_ERR_FAILED, "%s", p ? p->message : "store: not usable");
}

/* A deleted or replaced file would take writes that nobody finds again. */
static int check_intact(struct gate_engine *e, struct gate_error *err)
{
	if (!e->store)
		return not_usable(e, err);
	if (gate_store_intact(e->store))
		return 0;
	e->unsaved = true;
	gate_error_set(err, GATE_ERR_FAILED, "store %.200s: the file is gone", e->c->store_path);
	broken(e, err);
	e->healed_s = 0;
	return -EIO;
}

int gate_engine_save_begin(struct gate_engine *e, struct gate_error *err)
{
	struct gate_error own, *to = err ? err : &own;
	int r = check_intact(e, to);

	if (r && !e->store && e->unsaved) {
		gate_engine_store_tick(e, engine_now_s());
		r = e->store ? 0 : r;
	}
	if (r)
		return r;
	r = gate_store_begin(e->store, to);
	if (r)
		broken(e, to);
	return r;
}

int gate_engine_save_end(struct gate_engine *e, int r, struct gate_error *err)
{
	struct gate_error own, *to = err ? err : &own;

	if (!e->store)
		return not_usable(e, to);
	if (r && !err)
		gate_error_set(to, GATE_ERR_FAILED, "store %.200s: a write failed",
			       e->c->store_path);
	if (!r)
		r = gate_store_commit(e->store, to);
	if (!r)
		return 0;
	gate_store_rollback(e->store);
	broken(e, to);
	return r;
}

static int save_tenant(struct gate_engine *e, const char *name, struct gate_error *err)
{
	const struct tenant *t = name[0] ? gate_engine_tenant(e, name) : NULL;

	return t ? gate_store_put_tenant(e->store, t->id, t->name, err) : 0;
}

static int save_own(struct gate_engine *e, const struct gate_own *own, const struct rec *rec,
		    const struct gate_own *was, struct gate_error *err)
{
	int r = 0;

	if (own->subject.kind == GATE_S_TENANT)
		r = save_tenant(e, own->subject.name, err);
	if (r)
		return r;
	return gate_store_put_own(e->store, own, rec ? rec->first_mac : 0, was, e->m->conf->ports,
				  e->m->conf->nports, err);
}

int gate_engine_save_own(struct gate_engine *e, const struct gate_own *own, struct gate_error *err)
{
	static const struct gate_own nothing; /* the store has it only where there is a record */
	const struct rec *rec = gate_engine_rec(e, &own->subject);

	return save_own(e, own, rec, rec ? NULL : &nothing, err);
}

int gate_engine_save_own_over(struct gate_engine *e, const struct gate_own *own,
			      const struct rec *rec, struct gate_error *err)
{
	struct gate_own was;

	gate_own_unpack(rec ? rec->packed : NULL, &own->subject, &was);
	return save_own(e, own, rec, &was, err);
}

int gate_engine_save_rec(struct gate_engine *e, const struct rec *rec, struct gate_error *err)
{
	struct gate_own own;

	gate_engine_rec_own(rec, &own);
	return gate_engine_save_own(e, &own, err);
}

int gate_engine_save_vm(struct gate_engine *e, const struct gate_vm_spec *spec,
			struct gate_error *err)
{
	int r = save_tenant(e, spec->tenant, err);

	return r ? r : gate_store_put_vm(e->store, spec, err);
}

/* ---- counters ---- */

static uint64_t sum_of(const struct gate_counters *c)
{
	uint64_t sum = c->last_reply;

#define X(name) sum += c->name;
	GATE_COUNTERS(X)
#undef X
	return sum;
}

static int save_slot(struct gate_engine *e, uint32_t slot, const char *subject, uint64_t *saved)
{
	struct gate_counters now = e->m->counters[slot];
	uint64_t sum = sum_of(&now);
	int r;

	if (sum == *saved)
		return 0;
	r = gate_engine_reports_save_slot(e, slot, subject, &now);
	if (!r)
		r = gate_store_put_counters(e->store, subject, &now, NULL);
	if (!r)
		*saved = sum;
	return r;
}

/* Whose policy waits for a MAC must know that MAC after a reboot, too. */
static int save_first_mac(struct gate_engine *e, struct vm *vm)
{
	const uint64_t mac = e->m->vms[vm->slot].first_mac;
	struct gate_subject s;
	struct rec *rec;
	int r;

	if (vm->spec.registered)
		return 0;
	gate_engine_vm_subject(vm, &s);
	rec = gate_engine_rec(e, &s);
	if (!rec || (rec->first_mac == mac && !vm->mac_unsaved))
		return 0;
	rec->first_mac = mac;
	r = gate_engine_save_rec(e, rec, NULL);
	vm->mac_unsaved = r != 0;
	return r;
}

static int save_all_counters(struct gate_engine *e)
{
	char text[GATE_SUBJECT_LEN + 4];
	int r = gate_store_put_counters(e->store, "", &e->gone, NULL);

	gate_engine_reports_begin(e);
	if (!r)
		r = save_slot(e, GATE_SLOT_UNKNOWN, "unknown", &e->unknown_saved);
	for (uint32_t slot = 1; slot < e->m->conf->max_vms && !r; slot++) {
		struct vm *vm = e->by_slot[slot];
		struct gate_subject s;

		if (!vm)
			continue;
		gate_engine_vm_subject(vm, &s);
		r = save_slot(e, slot, gate_format_subject(&s, text, sizeof(text)), &vm->saved);
		if (!r)
			r = save_first_mac(e, vm);
	}
	return r ? r : gate_engine_reports_save(e);
}

/* All are to be written at the next save. */
static void forget_saved(struct gate_engine *e)
{
	e->unknown_saved = 0;
	for (uint32_t slot = 1; slot < e->m->conf->max_vms; slot++) {
		struct vm *vm = e->by_slot[slot];

		if (!vm)
			continue;
		vm->saved = 0;
		vm->mac_unsaved = true;
	}
}

/* What fails takes back what was written before it. */
static void end_counters(struct gate_engine *e, bool saved)
{
	gate_engine_reports_end_save(e, saved);
	if (!saved)
		forget_saved(e);
}

void gate_engine_save_counters(struct gate_engine *e)
{
	if (gate_engine_save_begin(e, NULL) == 0)
		end_counters(e, gate_engine_save_end(e, save_all_counters(e), NULL) == 0);
}

void gate_engine_save_gone(struct gate_engine *e)
{
	int r;

	if (gate_engine_save_begin(e, NULL))
		return;
	r = gate_store_put_counters(e->store, "", &e->gone, NULL);
	gate_engine_save_end(e, r, NULL);
}

/* ---- healing ---- */

static int write_all(struct gate_engine *e, struct gate_error *err)
{
	struct gate_table_iter it = { 0 };
	struct gate_table_entry *at;
	int r = gate_store_wipe(e->store, err);

	while (!r && (at = gate_table_next(&e->vms, &it)))
		r = gate_engine_save_vm(e, &((struct vm *)at->value)->spec, err);
	it = (struct gate_table_iter){ 0 };
	while (!r && (at = gate_table_next(&e->recs, &it)))
		r = gate_engine_save_rec(e, at->value, err);
	forget_saved(e);
	if (!r)
		r = save_all_counters(e);
	if (!r)
		r = gate_engine_learned_save(e, true);
	return r ? r : gate_engine_later_save(e, err);
}

/* One write that matters to nobody: is the disk writable again? */
static int write_trial(struct gate_engine *e, struct gate_error *err)
{
	return gate_store_put_counters(e->store, "", &e->gone, err);
}

/*
 * What was changed while there was no store stands above what that says; also that
 * nothing is left, of a leave that was taken back.
 */
static struct gate_own *keep_changed(struct gate_engine *e)
{
	struct gate_own *list = gate_alloc(e->unsaved_subjects.count, sizeof(*list));
	struct gate_table_iter it = { 0 };
	struct gate_table_entry *at;
	size_t n = 0;

	while ((at = gate_table_next(&e->unsaved_subjects, &it))) {
		const struct rec *rec = gate_engine_rec(e, at->value);

		if (rec)
			gate_engine_rec_copy(rec, &list[n++]);
		else
			gate_own_init(&list[n++], at->value);
	}
	return list;
}

static void put_changed(struct gate_engine *e, const struct gate_own *own)
{
	struct rec *rec = gate_engine_rec(e, &own->subject);

	if (!gate_own_is_empty(own))
		gate_engine_rec_put(e, own);
	else if (rec)
		gate_engine_rec_drop(e, rec);
}

/* The store that could not be read at the start can be read now. */
static int load_late(struct gate_engine *e, struct gate_error *err)
{
	struct gate_own *changed = keep_changed(e);
	size_t n = e->unsaved_subjects.count;
	int r;

	gate_engine_model_clear(e);
	r = gate_engine_load(e, err);
	for (size_t i = 0; i < n; i++) {
		if (!r)
			put_changed(e, &changed[i]);
		gate_own_clear(&changed[i]);
	}
	free(changed);
	if (r) {
		gate_engine_model_clear(e);
		gate_engine_recover(e);
	}
	gate_engine_sync_all(e);
	return r;
}

/*
 * What only the file knew is lost. It is said until staff have seen to it: until a
 * reload or the next start.
 */
static void tell_rebuilt(struct gate_engine *e, bool from_kernel)
{
	gate_engine_problem_set(
		e, "store_rebuilt", "", "store %.60s was gone and is made anew: %s",
		e->c->store_path,
		from_kernel ? "audit trail, reports, reasons and names of tenants (tenant-NUMBER "
			      "now) are lost; `gate25 apply` your last export, then reload gate25d"
			    : "audit trail and reports before now are lost, policy is not; reload "
			      "gate25d when you have read this");
}

void gate_engine_store_acknowledge(struct gate_engine *e)
{
	gate_engine_problem_clear(e, "store_rebuilt", "");
}

static void heal(struct gate_engine *e)
{
	struct gate_error err;
	bool was_open = e->store, lost = false;
	int r = 0;

	if (!e->store)
		r = gate_store_open(&e->store, e->c->store_path, &err);
	if (!r && !e->authoritative && !gate_store_fresh(e->store))
		r = load_late(e, &err);
	else if (!r && !was_open && gate_store_fresh(e->store)) {
		lost = e->had_store;
		e->unsaved = true;
	}
	if (!r)
		r = gate_store_begin(e->store, &err);
	if (!r) {
		e->authoritative = true;
		err.message[0] = '\0';
		r = e->unsaved ? write_all(e, &err) : write_trial(e, &err);
		if (!r)
			r = gate_store_commit(e->store, &err);
		if (r)
			gate_store_rollback(e->store);
		end_counters(e, !r);
	}
	if (r) {
		broken(e, &err);
		return;
	}
	gate_engine_later_forget(e);
	gate_engine_problem_clear(e, "store", "");
	if (!was_open)
		log_info("store %s is usable again", e->c->store_path);
	e->had_store = true;
	if (lost)
		tell_rebuilt(e, false);
}

void gate_engine_store_tick(struct gate_engine *e, int64_t now)
{
	struct gate_error err;

	if (now - e->healed_s < HEAL_S && now >= e->healed_s)
		return;
	e->healed_s = now;
	if (e->store && !e->unsaved)
		check_intact(e, &err);
	if (!e->store || e->unsaved)
		heal(e);
	e->healed_s = now;
}

void gate_engine_store_open(struct gate_engine *e)
{
	struct gate_error err;
	int r = gate_store_open(&e->store, e->c->store_path, &err);
	bool fresh = !r && gate_store_fresh(e->store);

	e->healed_s = fresh ? 0 : engine_now_s();
	e->had_store = !r;
	e->unsaved = fresh; /* from its first second on it is no new one any more */
	if (fresh && e->m->conf->revision) {
		/* The file was lost, the kernel remembers. */
		gate_engine_recover(e);
		tell_rebuilt(e, true);
		e->authoritative = true;
		return;
	}
	if (!r)
		r = gate_engine_load(e, &err);
	if (!r) {
		e->authoritative = true;
		return;
	}
	e->unsaved = false;
	broken(e, &err);
	gate_engine_model_clear(e);
	gate_engine_recover(e);
}

void gate_engine_store_close(struct gate_engine *e)
{
	gate_engine_later_forget(e);
	gate_store_close(e->store);
	e->store = NULL;
}
