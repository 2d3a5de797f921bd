// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The whole policy at once: export and apply. A set is checked as a whole (what
 * it registers against itself, since it replaces what is there), compared with
 * the model, written in one transaction, then put in force.
 */
#include "engine_set.h"

#include <stdio.h>

/* ---- export ---- */

static int compare_vms(const void *a, const void *b)
{
	const struct vm *const *x = a, *const *y = b;

	return strcmp((*x)->spec.name, (*y)->spec.name);
}

static int compare_recs(const void *a, const void *b)
{
	const struct rec *const *x = a, *const *y = b;

	return gate_subject_compare(&(*x)->subject, &(*y)->subject);
}

static void **values_of(const struct gate_table *t, int (*compare)(const void *, const void *))
{
	void **list = gate_alloc(t->count, sizeof(void *));
	struct gate_table_iter it = { 0 };
	struct gate_table_entry *at;
	size_t n = 0;

	while ((at = gate_table_next(t, &it)))
		list[n++] = at->value;
	if (n > 1)
		qsort(list, n, sizeof(void *), compare);
	return list;
}

int gate_engine_export(struct gate_engine *e, int (*cb)(void *, const struct gate_set_item *),
		       void *arg)
{
	void **vms = values_of(&e->vms, compare_vms), **recs = values_of(&e->recs, compare_recs);
	struct gate_set_item item;
	int r = 0;

	for (size_t i = 0; i < e->vms.count && !r; i++) {
		item = (struct gate_set_item){ .is_vm = true, .vm = ((struct vm *)vms[i])->spec };
		r = cb(arg, &item);
	}
	for (size_t i = 0; i < e->recs.count && !r; i++) {
		const struct rec *rec = recs[i];

		item = (struct gate_set_item){ .subject = rec->subject, .own = rec->packed };
		r = cb(arg, &item);
	}
	free(vms);
	free(recs);
	return r;
}

/* ---- what differs ---- */

static struct set_change *add_change(struct set_plan *p, char op, const struct gate_subject *s,
				     const struct gate_set_item *item)
{
	struct set_change *ch;

	if (!(p->nchanges & (p->nchanges - 1)))
		p->changes = gate_realloc(p->changes, p->nchanges ? 2 * p->nchanges : 1,
					  sizeof(*p->changes));
	ch = &p->changes[p->nchanges++];
	*ch = (struct set_change){ .op = op, .subject = *s, .item = item };
	return ch;
}

static void plan_vms(struct set_plan *p)
{
	struct gate_table_iter it = { 0 };
	struct gate_table_entry *at;
	struct gate_subject s = { .kind = GATE_S_VM };
	size_t met = 0;

	for (size_t i = 0; i < p->n; i++) {
		const struct gate_vm_spec *spec = &p->items[i].vm;
		const struct vm *vm;

		if (!p->items[i].is_vm)
			continue;
		copy_name(s.name, spec->name);
		vm = gate_engine_vm_find(p->e, &s);
		met += vm ? 1 : 0;
		if (!vm)
			add_change(p, '+', &s, &p->items[i]);
		else if (!gate_engine_set_vm_equal(&vm->spec, spec))
			add_change(p, '~', &s, &p->items[i]);
	}
	if (met == p->e->vms.count) /* all that there are stand in the set */
		return;
	while ((at = gate_table_next(&p->e->vms, &it))) {
		const struct vm *vm = at->value;

		if (gate_table_get(&p->vms, vm->spec.name, strlen(vm->spec.name)))
			continue;
		copy_name(s.name, vm->spec.name);
		add_change(p, '-', &s, NULL);
	}
}

static bool is_equal(const struct rec *rec, const struct gate_set_item *item)
{
	struct gate_own has, own;

	gate_engine_rec_own(rec, &has);
	gate_own_unpack(item->own, &item->subject, &own);
	return gate_own_equal(&has, &own);
}

static void plan_owns(struct set_plan *p)
{
	struct gate_table_iter it = { 0 };
	struct gate_table_entry *at;
	unsigned char key[GATE_SUBJECT_KEY];
	size_t met = 0;

	for (size_t i = 0; i < p->n; i++) {
		const struct gate_set_item *item = &p->items[i];
		const struct rec *rec;

		if (item->is_vm || !gate_engine_set_lives(p, item))
			continue;
		rec = gate_engine_rec(p->e, &item->subject);
		met += rec ? 1 : 0;
		if (!rec || !is_equal(rec, item))
			add_change(p, rec ? '~' : '+', &item->subject, item)->rec = rec;
	}
	if (met == p->e->recs.count)
		return;
	while ((at = gate_table_next(&p->e->recs, &it))) {
		const struct rec *rec = at->value;
		const struct gate_set_item *item =
			gate_table_get(&p->owns, key, gate_subject_key(&rec->subject, key));

		if (!item || !gate_engine_set_lives(p, item))
			add_change(p, '-', &rec->subject, NULL)->rec = rec;
	}
}

/* ---- durable ---- */

static bool is_vm_change(const struct set_plan *p, size_t i)
{
	return i < p->nvm_changes;
}

/* A view of how it will stand: who and when are filled in where the file does not say. */
static void finish_own(const struct set_plan *p, const struct gate_set_item *item,
		       struct gate_own *out)
{
	gate_own_unpack(item->own, &item->subject, out);
	gate_own_drop_expired(out, p->now);
	for (unsigned i = 0; i < GATE_MAX_SCOPES; i++) {
		if (out->scope[i].state == GATE_INHERIT)
			continue;
		if (!out->scope[i].since)
			out->scope[i].since = p->now;
		if (!out->scope[i].by[0])
			snprintf(out->scope[i].by, sizeof(out->scope[i].by), "%s", p->who->name);
	}
	if (!out->quarantine.on)
		return;
	if (!out->quarantine.since)
		out->quarantine.since = p->now;
	if (!out->quarantine.by[0])
		snprintf(out->quarantine.by, sizeof(out->quarantine.by), "%s", p->who->name);
}

static int save_change(struct set_plan *p, size_t i, struct gate_error *err)
{
	const struct set_change *ch = &p->changes[i];
	struct gate_store *st = p->e->store;
	char text[GATE_SUBJECT_LEN + 4];
	struct gate_own own;
	int r;

	if (is_vm_change(p, i) && ch->item)
		return gate_engine_save_vm(p->e, &ch->item->vm, err);
	if (is_vm_change(p, i)) {
		r = gate_store_del_vm(st, ch->subject.name, err);
		return r ? r
			 : gate_store_del_counters(
				   st, gate_format_subject(&ch->subject, text, sizeof(text)), err);
	}
	if (!ch->item)
		return gate_store_del_own(st, &ch->subject, err);
	finish_own(p, ch->item, &own);
	return gate_engine_save_own_over(p->e, &own, ch->rec, err);
}

/* Notes on their way to the store. */
struct notes {
	struct audit_note list[GATE_STORE_AUDITS];
	unsigned n;
};

static void take_note(struct set_plan *p, size_t i, struct audit_note *note)
{
	static const char *const ops[] = { "{\"op\":\"add\"}", "{\"op\":\"change\"}",
					   "{\"op\":\"remove\"}" };
	const struct set_change *ch = &p->changes[i];

	gate_engine_audit_plain(note, p->who, &ch->subject,
				is_vm_change(p, i) ? "apply vm" : "apply", "");
	note->row.detail = ops[ch->op == '+' ? 0 : ch->op == '~' ? 1 : 2];
	/* registrations are taken back by applying an earlier set */
	if (!is_vm_change(p, i))
		gate_engine_audit_before_own(p->e, note, &ch->subject, ch->rec);
}

static int save_notes(struct set_plan *p, struct notes *notes, struct gate_error *err)
{
	const struct gate_audit_row *rows[GATE_STORE_AUDITS];
	int r = 0;

	for (unsigned i = 0; i < notes->n; i++)
		rows[i] = &notes->list[i].row;
	if (notes->n == GATE_STORE_AUDITS)
		r = gate_store_add_audits(p->e->store, rows, err);
	for (unsigned i = 0; i < notes->n % GATE_STORE_AUDITS && !r; i++)
		r = gate_store_add_audit(p->e->store, rows[i], err);
	for (unsigned i = 0; i < notes->n; i++)
		gate_engine_audit_clear(&notes->list[i]);
	notes->n = 0;
	return r;
}

static int save_plan(struct set_plan *p, struct gate_error *err)
{
	struct notes notes = { .n = 0 };
	int r = gate_engine_save_begin(p->e, err);

	if (r)
		return r;
	for (size_t i = 0; i < p->nchanges && !r; i++) {
		take_note(p, i, &notes.list[notes.n++]);
		r = save_change(p, i, err);
		if (!r && (notes.n == GATE_STORE_AUDITS || i + 1 == p->nchanges))
			r = save_notes(p, &notes, err);
	}
	for (unsigned i = 0; i < notes.n; i++) /* of what failed */
		gate_engine_audit_clear(&notes.list[i]);
	return gate_engine_save_end(p->e, r, err);
}

/* ---- in force ---- */

/* Tenants' numbers are part of what is saved; made before, released if nothing comes of it. */
static void make_tenants(struct set_plan *p)
{
	for (size_t i = 0; i < p->nchanges; i++) {
		const struct set_change *ch = &p->changes[i];

		if (is_vm_change(p, i) && ch->item && ch->item->vm.tenant[0])
			gate_engine_tenant_make(p->e, ch->item->vm.tenant, 0);
		else if (!is_vm_change(p, i) && ch->item && ch->subject.kind == GATE_S_TENANT)
			gate_engine_tenant_make(p->e, ch->subject.name, 0);
	}
}

static void release_tenants(struct set_plan *p)
{
	for (size_t i = 0; i < p->nchanges; i++) {
		const struct set_change *ch = &p->changes[i];

		if (is_vm_change(p, i) && ch->item && ch->item->vm.tenant[0])
			gate_engine_tenant_release(p->e,
						   gate_engine_tenant(p->e, ch->item->vm.tenant));
		else if (ch->subject.kind == GATE_S_TENANT)
			gate_engine_tenant_release(p->e,
						   gate_engine_tenant(p->e, ch->subject.name));
	}
}

static void put_own(struct set_plan *p, const struct set_change *ch)
{
	struct gate_own own;

	if (ch->item)
		finish_own(p, ch->item, &own);
	else
		gate_own_init(&own, &ch->subject);
	gate_engine_install(p->e, &own);
}

/* In a full table those that come need what has just been given up. */
static void make_room(struct set_plan *p)
{
	size_t wanted = p->e->ports.count; /* at most each port is left by its VM */

	for (size_t i = 0; i < p->nvm_changes; i++)
		wanted += p->changes[i].op == '+';
	if (wanted > gate_pool_left(&p->e->slots))
		gate_engine_slots_hurry(p->e);
}

static void claim_vm(struct set_plan *p, struct set_change *ch)
{
	struct gate_vm_spec spec = ch->item->vm;

	spec.registered = true;
	ch->vm = gate_engine_vm_claim(p->e, &spec, &ch->was);
	if (!ch->vm)
		gate_engine_problem_set(p->e, "map_full", "vms",
					"no slot left for vm:%s (max_vms = %u)", spec.name,
					p->e->m->conf->max_vms);
}

/* What one VM gives up another may have: it is taken over before it is left. */
static void register_vms(struct set_plan *p)
{
	struct set_change *end = p->changes + p->nvm_changes, *ch;

	for (ch = p->changes; ch < end; ch++)
		if (ch->item)
			claim_vm(p, ch);
	for (ch = p->changes; ch < end; ch++)
		if (ch->vm)
			gate_engine_vm_take_over(p->e, ch->vm);
	for (ch = p->changes; ch < end; ch++)
		if (ch->vm)
			gate_engine_vm_leave(p->e, ch->vm, &ch->was);
	/* In a full table there was no room for some before others had left: once more. */
	for (ch = p->changes; ch < end; ch++)
		if (ch->vm)
			gate_engine_vm_sync(p->e, ch->vm);
}

/*
 * What goes, goes first, so that numbers and slots are free; then registrations,
 * so that addresses are there when their policies come.
 */
static void put_in_force(struct set_plan *p)
{
	for (size_t i = p->nvm_changes; i < p->nchanges; i++)
		if (!p->changes[i].item)
			put_own(p, &p->changes[i]);
	for (size_t i = 0; i < p->nvm_changes; i++)
		if (!p->changes[i].item)
			gate_engine_vm_remove(p->e,
					      gate_engine_vm_find(p->e, &p->changes[i].subject));
	make_room(p);
	register_vms(p);
	for (size_t i = p->nvm_changes; i < p->nchanges; i++)
		if (p->changes[i].item)
			put_own(p, &p->changes[i]);
	gate_sync_revision(p->e->sync);
}

static void tell_diff(const struct set_plan *p, void (*diff)(void *, const char *), void *arg)
{
	for (size_t i = 0; diff && i < p->nchanges; i++) {
		char line[GATE_SUBJECT_LEN + 8];

		line[0] = p->changes[i].op;
		line[1] = ' ';
		gate_format_subject(&p->changes[i].subject, line + 2, sizeof(line) - 2);
		diff(arg, line);
	}
}

static int carry_out(struct set_plan *p, struct gate_error *err)
{
	struct gate_error why;

	if (!p->nchanges)
		return 0;
	make_tenants(p);
	if (save_plan(p, &why)) {
		release_tenants(p);
		return gate_error_set(err, GATE_ERR_FAILED,
				      "nothing is changed, it could not be saved: %.400s",
				      why.message);
	}
	put_in_force(p);
	gate_engine_tell(p->e, GATE_N_POLICY, NULL, NULL, "%s: applied a policy set, %zu changes",
			 p->who->name, p->nchanges);
	return 0;
}

int gate_engine_apply_set(struct gate_engine *e, const struct gate_actor *who,
			  const struct gate_set_item *items, size_t n, bool dry_run,
			  void (*diff)(void *, const char *line), void *arg, struct gate_error *err)
{
	struct set_plan p = { .e = e, .who = who, .items = items, .n = n, .now = engine_now_s() };
	int r = gate_engine_set_check(&p, err);

	if (!r) {
		plan_vms(&p);
		p.nvm_changes = p.nchanges;
		plan_owns(&p);
		if (!dry_run)
			r = carry_out(&p, err);
	}
	if (!r)
		tell_diff(&p, diff, arg);
	gate_engine_set_clear(&p);
	return r;
}
