// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Records: what each subject has of its own, and the numbers the programs know it by. */
#include "engine_priv.h"

struct rec *gate_engine_rec(const struct gate_engine *e, const struct gate_subject *s)
{
	unsigned char key[GATE_SUBJECT_KEY];

	return gate_table_get(&e->recs, key, gate_subject_key(s, key));
}

struct tenant *gate_engine_tenant(struct gate_engine *e, const char *name)
{
	return gate_table_get(&e->tenants, name, strlen(name));
}

uint32_t gate_engine_base(const struct gate_engine *e, const struct gate_subject *s)
{
	const struct tenant *t;
	const struct rec *rec;
	const struct vm *vm;

	switch (s->kind) {
	case GATE_S_DEFAULT:
		return gate_base_default();
	case GATE_S_TENANT:
		t = gate_table_get(&e->tenants, s->name, strlen(s->name));
		return t ? gate_base_tenant(e->m, t->id) : 0;
	case GATE_S_VM:
	case GATE_S_PORT:
		vm = gate_engine_vm_find(e, s);
		return vm && vm->slot ? gate_base_vm(vm->slot) : 0;
	default:
		rec = gate_engine_rec(e, s);
		return rec && rec->override != UINT32_MAX ? gate_base_override(e->m, rec->override)
							  : 0;
	}
}

/* ---- tenants ---- */

struct tenant *gate_engine_tenant_make(struct gate_engine *e, const char *name, uint32_t id)
{
	struct tenant *t = gate_engine_tenant(e, name);

	if (t)
		return t;
	if (!id)
		id = gate_sync_take(&e->tenant_ids);
	else if (!gate_pool_claim(&e->tenant_ids, id))
		id = UINT32_MAX;
	if (id == UINT32_MAX)
		return NULL;
	t = gate_alloc(1, sizeof(*t));
	copy_name(t->name, name);
	t->id = id;
	gate_table_put(&e->tenants, t->name, strlen(t->name), t);
	return t;
}

void gate_engine_tenant_release(struct gate_engine *e, struct tenant *t)
{
	struct gate_subject s = { .kind = GATE_S_TENANT };

	if (!t || t->nvms)
		return;
	strcpy(s.name, t->name);
	if (gate_engine_rec(e, &s))
		return;
	gate_sync_own(e->sync, gate_base_tenant(e->m, t->id), NULL);
	gate_sync_exempt(e->sync, GATE_EXEMPT_TENANT | t->id, NULL, 0);
	gate_table_del(&e->tenants, t->name, strlen(t->name));
	gate_pool_give(&e->tenant_ids, t->id, gate_clock_mono_ns());
	free(t);
}

/* ---- records ---- */

static bool is_override(const struct gate_subject *s)
{
	return s->kind == GATE_S_MAC || s->kind == GATE_S_IP;
}

static void due_key(const struct rec *rec, unsigned char key[16])
{
	uint64_t time = htobe64((uint64_t)rec->due), address = (uintptr_t)rec;

	memcpy(key, &time, 8);
	memcpy(key + 8, &address, 8);
}

static void set_due(struct gate_engine *e, struct rec *rec, int64_t due)
{
	unsigned char key[GATE_ORDER_KEY];

	if (due == rec->due)
		return;
	if (rec->due) {
		due_key(rec, key);
		gate_order_del(&e->dues, key);
	}
	rec->due = due;
	if (due) {
		due_key(rec, key);
		gate_order_put(&e->dues, key, rec);
	}
}

void gate_engine_rec_own(const struct rec *rec, struct gate_own *out)
{
	gate_own_unpack(rec->packed, &rec->subject, out);
}

void gate_engine_rec_copy(const struct rec *rec, struct gate_own *out)
{
	struct gate_own own;

	gate_engine_rec_own(rec, &own);
	gate_own_copy(out, &own);
}

/* `own` may be a view of what the record says now. */
static void fill(struct gate_engine *e, struct rec *rec, const struct gate_own *own)
{
	struct gate_packed *old = rec->packed;

	rec->packed = gate_own_pack(own);
	rec->quarantine = own->quarantine.on;
	rec->quarantine_until = own->quarantine.until;
	rec->observe = own->observe;
	rec->exempt = own->nexempt;
	rec->has_budget = own->nbudget;
	rec->policy = false;
	for (unsigned i = 0; i < GATE_MAX_SCOPES; i++)
		rec->policy |= own->scope[i].state != GATE_INHERIT;
	set_due(e, rec, gate_own_due(own));
	free(old);
}

static struct rec *make(struct gate_engine *e, const struct gate_subject *s)
{
	unsigned char key[GATE_SUBJECT_KEY], ip[17];
	struct rec *rec = gate_alloc(1, sizeof(*rec));

	rec->subject = *s;
	rec->override = UINT32_MAX;
	gate_table_put(&e->recs, key, gate_subject_key(s, key), rec);
	if (s->kind == GATE_S_IP) {
		gate_engine_ip_key(&s->ip, ip);
		gate_order_put(&e->ip_recs, ip, rec);
		e->ip_rec_len[s->ip.len]++;
	}
	return rec;
}

/* rec: the subject's, NULL = it has none yet. */
static struct rec *put(struct gate_engine *e, struct rec *rec, const struct gate_own *own)
{
	if (!rec)
		rec = make(e, &own->subject);
	fill(e, rec, own);
	if (own->subject.kind == GATE_S_TENANT)
		gate_engine_tenant_make(e, own->subject.name, 0);
	return rec;
}

struct rec *gate_engine_rec_put(struct gate_engine *e, const struct gate_own *own)
{
	return put(e, gate_engine_rec(e, &own->subject), own);
}

void gate_engine_rec_drop(struct gate_engine *e, struct rec *rec)
{
	struct gate_subject s = rec->subject;
	unsigned char key[GATE_SUBJECT_KEY], ip[17];

	gate_table_del(&e->recs, key, gate_subject_key(&s, key));
	if (s.kind == GATE_S_IP) {
		gate_engine_ip_key(&s.ip, ip);
		gate_order_del(&e->ip_recs, ip);
		e->ip_rec_len[s.ip.len]--;
	}
	set_due(e, rec, 0);
	free(rec->packed);
	free(rec);
	if (s.kind == GATE_S_TENANT)
		gate_engine_tenant_release(e, gate_engine_tenant(e, s.name));
}

void gate_engine_rec_move(struct gate_engine *e, struct rec *rec, const struct gate_subject *to)
{
	unsigned char key[GATE_SUBJECT_KEY];

	gate_table_del(&e->recs, key, gate_subject_key(&rec->subject, key));
	rec->subject = *to;
	rec->first_mac = 0;
	gate_table_put(&e->recs, key, gate_subject_key(to, key), rec);
}

/* ---- room ---- */

static int full(struct gate_error *err, const char *what, const char *option, uint32_t max)
{
	return gate_error_set(err, GATE_ERR_FAILED, "no room for another %s (%s = %u)", what,
			      option, max);
}

int gate_engine_room(struct gate_engine *e, const struct gate_own *own, struct gate_error *err)
{
	const struct gate_subject *s = &own->subject;
	const struct rec *rec = gate_engine_rec(e, s);

	if (is_override(s) && (!rec || rec->override == UINT32_MAX) &&
	    !gate_pool_left(&e->overrides))
		return full(err, "policy of a MAC or address", "max_overrides",
			    e->m->conf->max_overrides);
	if (s->kind == GATE_S_TENANT && !gate_engine_tenant(e, s->name) &&
	    !gate_pool_left(&e->tenant_ids))
		return full(err, "tenant", "max_tenants", e->m->conf->max_tenants);
	if (own->nbudget && (!rec || !rec->budget) && !gate_sync_budgets_left(e->sync))
		return full(err, "budget", "budgets", e->m->nbudgets);
	return 0;
}

/* ---- in force ---- */

static void sync_tenant_vms(struct gate_engine *e, const struct tenant *t)
{
	for (struct vm *vm = t->vms; vm; vm = vm->tenant_next)
		gate_engine_vm_identity(e, vm);
}

/* What a subject's exempt destinations are entered under; false: it can have none. */
static bool exempt_scope(const struct gate_engine *e, const struct gate_subject *s, uint32_t *scope)
{
	const struct vm *vm;
	const struct tenant *t;

	if (s->kind == GATE_S_TENANT) {
		t = gate_table_get(&e->tenants, s->name, strlen(s->name));
		*scope = t ? GATE_EXEMPT_TENANT | t->id : 0;
		return t;
	}
	vm = s->kind == GATE_S_VM || s->kind == GATE_S_PORT ? gate_engine_vm_find(e, s) : NULL;
	*scope = vm ? GATE_EXEMPT_VM | vm->slot : 0;
	return vm && vm->slot;
}

/* Global ones are those of the configuration and of `default`. */
static void sync_global_exempt(struct gate_engine *e, const struct gate_own *own)
{
	unsigned n = e->c->nexempt + own->nexempt;
	struct gate_prefix *all = gate_alloc(n, sizeof(*all));

	if (e->c->nexempt)
		memcpy(all, e->c->exempt, e->c->nexempt * sizeof(*all));
	if (own->nexempt)
		memcpy(all + e->c->nexempt, own->exempt, own->nexempt * sizeof(*all));
	if (gate_sync_exempt(e->sync, GATE_EXEMPT_ALL, all, n))
		gate_engine_map_full(e, "exempt", "there is no room for all exempt destinations");
	free(all);
}

void gate_engine_sync_exempt(struct gate_engine *e, const struct gate_own *own)
{
	const struct gate_subject *s = &own->subject;
	uint32_t scope;

	if (s->kind == GATE_S_DEFAULT)
		sync_global_exempt(e, own);
	else if (exempt_scope(e, s, &scope) &&
		 gate_sync_exempt(e->sync, scope, own ? own->exempt : NULL, own ? own->nexempt : 0))
		gate_engine_map_full(e, "exempt", "there is no room for all exempt destinations");
}

static void sync_budget(struct gate_engine *e, struct rec *rec, const struct gate_own *own)
{
	if (own->nbudget && !rec->budget)
		rec->budget = gate_sync_budget_take(e->sync, 0);
	if (rec->budget && own->nbudget)
		gate_sync_budget(e->sync, rec->budget, own->budget, own->nbudget);
}

/*
 * An entry leads to two nodes while any number of prefixes may cover an address:
 * what counts wherever it stands on the chain is in the node of each within.
 */
static void add_covering(const struct gate_engine *e, struct gate_own *own)
{
	const struct gate_prefix *ip = &own->subject.ip;
	struct gate_quarantine *q = &own->quarantine;
	const struct rec *rec;

	for (int len = ip->len - 1; (rec = gate_engine_ip_cover(e, ip, len));
	     len = rec->subject.ip.len - 1) {
		int64_t until = rec->quarantine_until;

		own->observe |= rec->observe;
		if (!rec->quarantine)
			continue;
		if (!q->on || (q->until && (!until || until > q->until)))
			q->until = until;
		q->on = true;
	}
}

void gate_engine_sync_nodes(struct gate_engine *e, const struct rec *rec)
{
	uint32_t base = gate_engine_base(e, &rec->subject);
	struct gate_own own;

	if (!base)
		return;
	gate_engine_rec_own(rec, &own);
	if (rec->subject.kind == GATE_S_IP && gate_engine_rec_has_node(rec))
		add_covering(e, &own);
	gate_sync_own(e->sync, base, &own);
}

/* What VMs, or entries of MACs and addresses, depend on in a record. */
struct shape {
	bool node, state, quarantine, observe, exempt;
	int64_t until; /* of the quarantine */
	uint32_t budget;
};

static struct shape shape_of(const struct rec *rec)
{
	struct shape shape = { 0 };

	if (!rec)
		return shape;
	shape.state = rec->policy;
	shape.quarantine = rec->quarantine;
	shape.until = rec->quarantine_until;
	shape.observe = rec->observe;
	shape.node = gate_engine_rec_has_node(rec);
	shape.exempt = rec->exempt;
	shape.budget = rec->has_budget ? rec->budget : 0;
	return shape;
}

static bool shape_equal(const struct shape *a, const struct shape *b)
{
	return a->node == b->node && a->state == b->state && a->quarantine == b->quarantine &&
	       a->until == b->until && a->observe == b->observe && a->exempt == b->exempt &&
	       a->budget == b->budget;
}

/* Those who look to this subject: a tenant's VMs, the entries of an address. */
static void sync_dependants(struct gate_engine *e, const struct gate_subject *s)
{
	struct tenant *t;
	struct vm *vm;

	if (is_override(s)) {
		gate_engine_override_changed(e, s);
	} else if (s->kind == GATE_S_TENANT) {
		t = gate_engine_tenant(e, s->name);
		if (t)
			sync_tenant_vms(e, t);
	} else if (s->kind == GATE_S_VM || s->kind == GATE_S_PORT) {
		vm = gate_engine_vm_find(e, s);
		if (vm)
			gate_engine_vm_identity(e, vm);
	}
}

/* Heads first: that alone is the toggle, all the rest follows. */
static void put_in_force(struct gate_engine *e, struct rec *rec, const struct shape *before)
{
	const struct gate_subject *s = &rec->subject;
	bool had_budget = rec->budget && !rec->has_budget;
	struct shape after;
	struct gate_own own;

	if (is_override(s) && rec->override == UINT32_MAX)
		rec->override = gate_sync_take(&e->overrides);
	gate_engine_sync_nodes(e, rec);
	gate_engine_rec_own(rec, &own);
	sync_budget(e, rec, &own);
	if (!before || before->exempt || rec->exempt)
		gate_engine_sync_exempt(e, &own);
	after = shape_of(rec);
	if (!before || !shape_equal(before, &after))
		sync_dependants(e, s);
	if (had_budget) {
		gate_sync_budget_give(e->sync, rec->budget);
		rec->budget = 0;
	}
}

void gate_engine_sync_rec(struct gate_engine *e, struct rec *rec)
{
	put_in_force(e, rec, NULL);
}

/* Takes a record whose content is gone out of the maps and the model. */
static void remove_rec(struct gate_engine *e, struct rec *rec)
{
	struct gate_subject s = rec->subject;
	uint32_t override = rec->override;

	gate_engine_rec_drop(e, rec);
	if (override == UINT32_MAX)
		return;
	sync_dependants(e, &s); /* entries go before their handle's number is free */
	gate_pool_give(&e->overrides, override, gate_clock_mono_ns());
}

void gate_engine_install(struct gate_engine *e, const struct gate_own *own)
{
	struct rec *rec = gate_engine_rec(e, &own->subject);
	struct shape before = shape_of(rec);

	if (!rec && gate_own_is_empty(own))
		return;
	rec = put(e, rec, own);
	put_in_force(e, rec, &before);
	if (gate_own_is_empty(own))
		remove_rec(e, rec);
	gate_sync_revision(e->sync);
}
