// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Is a policy set sound in itself, and is there room for it? */
#include "engine_set.h"

bool gate_engine_set_vm_equal(const struct gate_vm_spec *vm, const struct gate_vm_spec *item)
{
	struct gate_vm_spec same = *item;

	same.registered = vm->registered;
	return gate_vm_spec_equal(vm, &same);
}

bool gate_engine_set_lives(const struct set_plan *p, const struct gate_set_item *item)
{
	int64_t due = gate_packed_due(item->own);
	struct gate_own own;

	if (!due || due > p->now)
		return !gate_packed_is_empty(item->own);
	gate_own_unpack(item->own, &item->subject, &own);
	gate_own_drop_expired(&own, p->now);
	return !gate_own_is_empty(&own);
}

static int twice(struct gate_error *err, const char *what, const char *which,
		 const struct gate_vm_spec *a, const struct gate_vm_spec *b)
{
	return gate_error_set(err, GATE_ERR_CONFLICT, "%s %s is claimed by both vm:%s and vm:%s",
			      what, which, a->name, b->name);
}

/* ---- VMs ---- */

static int check_vm(struct set_plan *p, const struct gate_set_item *item, struct gate_error *err)
{
	const struct gate_vm_spec *vm = &item->vm;
	const struct gate_set_item *other;
	char text[20];
	int r = gate_vm_spec_check(vm, err);

	if (r)
		return r;
	if (gate_table_add(&p->vms, vm->name, strlen(vm->name), (void *)item))
		return gate_error_set(err, GATE_ERR_USAGE, "vm:%s stands in the set twice",
				      vm->name);
	for (unsigned i = 0; i < vm->nmacs; i++) {
		other = gate_table_add(&p->macs, vm->macs[i], 6, (void *)item);
		if (other && other != item)
			return twice(err, "MAC", gate_format_mac(vm->macs[i], text, sizeof(text)),
				     &other->vm, vm);
	}
	for (unsigned i = 0; i < vm->nports; i++) {
		other = gate_table_get(&p->ports, vm->ports[i], strlen(vm->ports[i]));
		if (other && other != item && (!vm->nmacs || !other->vm.nmacs))
			return twice(err, "port", vm->ports[i], &other->vm, vm);
		gate_table_put(&p->ports, vm->ports[i], strlen(vm->ports[i]), (void *)item);
	}
	return 0;
}

struct claimed {
	const struct gate_prefix *ip;
	const struct gate_vm_spec *vm;
};

static int compare_claimed(const void *a, const void *b)
{
	const struct claimed *x = a, *y = b;
	int order = memcmp(x->ip->addr, y->ip->addr, 16);

	return order ? order : x->ip->len - y->ip->len;
}

/* Sorted, whatever lies within a prefix comes right after it. */
static int check_overlaps(const struct claimed *list, size_t n, struct gate_error *err)
{
	const struct claimed *outer = NULL;
	char text[64];

	for (size_t i = 0; i < n; i++) {
		if (!outer || !gate_prefix_contains(outer->ip, list[i].ip))
			outer = &list[i];
		else if (outer->vm != list[i].vm)
			return twice(err, "address",
				     gate_format_prefix(list[i].ip, text, sizeof(text)), outer->vm,
				     list[i].vm);
	}
	return 0;
}

static int check_ips(const struct set_plan *p, struct gate_error *err)
{
	struct claimed *list;
	size_t n = 0;
	int r;

	for (size_t i = 0; i < p->n; i++)
		n += p->items[i].is_vm ? p->items[i].vm.nips : 0;
	list = gate_alloc(n, sizeof(*list));
	n = 0;
	for (size_t i = 0; i < p->n; i++)
		for (unsigned j = 0; p->items[i].is_vm && j < p->items[i].vm.nips; j++)
			list[n++] = (struct claimed){ .ip = &p->items[i].vm.ips[j],
						      .vm = &p->items[i].vm };
	if (n > 1)
		qsort(list, n, sizeof(*list), compare_claimed);
	r = check_overlaps(list, n, err);
	free(list);
	return r;
}

/* ---- subjects ---- */

static int check_subject(const struct set_plan *p, const struct gate_subject *s,
			 struct gate_error *err)
{
	bool known = true;

	if (s->kind == GATE_S_WORD)
		return gate_error_set(err, GATE_ERR_USAGE,
				      "%s: say which kind of subject, such as vm:%s", s->name,
				      s->name);
	if (s->kind == GATE_S_IP)
		return gate_prefix_check(&s->ip, err);
	if (s->kind == GATE_S_VM)
		known = gate_table_get(&p->vms, s->name, strlen(s->name));
	if (s->kind == GATE_S_PORT)
		known = gate_engine_vm_find(p->e, s) || gate_engine_rec(p->e, s);
	if (!known)
		return gate_error_set(err, GATE_ERR_NO_SUBJECT, "there is no %s:%s",
				      s->kind == GATE_S_VM ? "vm" : "port", s->name);
	return 0;
}

static int check_kinds(const struct gate_own *own, struct gate_error *err)
{
	enum gate_subject_kind kind = own->subject.kind;

	if (own->nbudget && kind != GATE_S_TENANT && kind != GATE_S_IP)
		return gate_error_set(err, GATE_ERR_USAGE,
				      "a budget is for tenants and address prefixes");
	if (own->nexempt && (kind == GATE_S_MAC || kind == GATE_S_IP))
		return gate_error_set(err, GATE_ERR_USAGE,
				      "exempt destinations are for default, tenants and VMs");
	return 0;
}

static int check_parts(const struct set_plan *p, const struct gate_own *own, struct gate_error *err)
{
	uint32_t max = p->e->m->conf->flow_sets * GATE_FLOW_WAYS / 2;
	int r = check_kinds(own, err);

	for (unsigned i = 0; i < GATE_MAX_SCOPES && !r; i++) {
		if (own->scope[i].state == GATE_INHERIT)
			continue;
		/* What has expired since the set was written is left out, not refused. */
		r = gate_policy_check(&own->scope[i], max, INT64_MIN, err);
		if (!r && i > p->e->m->conf->nports)
			r = gate_error_set(err, GATE_ERR_USAGE,
					   "a policy is for a port that is "
					   "not gated");
	}
	if (!r)
		r = gate_rates_check(own->budget, own->nbudget, err);
	for (unsigned i = 0; i < own->nexempt && !r; i++)
		r = gate_prefix_check(&own->exempt[i], err);
	return r;
}

static int check_own(struct set_plan *p, const struct gate_set_item *item, struct gate_error *err)
{
	const struct gate_subject *s = &item->subject;
	unsigned char key[GATE_SUBJECT_KEY];
	char text[GATE_SUBJECT_LEN + 4];
	struct gate_error why;
	struct gate_own own;
	size_t len;
	int r = check_subject(p, s, err);

	if (r)
		return r;
	len = gate_subject_key(s, key);
	if (gate_table_add(&p->owns, key, len, (void *)item))
		return gate_error_set(err, GATE_ERR_USAGE, "%s stands in the set twice",
				      gate_format_subject(s, text, sizeof(text)));
	gate_own_unpack(item->own, s, &own);
	p->budgets += own.nbudget > 0;
	if (!check_parts(p, &own, &why))
		return 0;
	return gate_error_set(err, why.code, "%s: %.400s",
			      gate_format_subject(s, text, sizeof(text)), why.message);
}

/* ---- room ---- */

/* Ports that are there and whose VMs leave them: VMs of their own from then on. */
static size_t count_left(const struct set_plan *p)
{
	struct gate_table_iter it = { 0 };
	struct gate_table_entry *at;
	size_t n = 0;

	while ((at = gate_table_next(&p->e->ports, &it))) {
		const struct port *port = at->value;
		const struct vm *vm = port->vm;

		if (!port->confirmed || (!port->ntrunk && (!vm || !vm->spec.registered)))
			continue;
		if (port->kept && gate_table_get(&p->vms, vm->spec.name, strlen(vm->spec.name)))
			continue;
		n += !gate_table_get(&p->ports, port->name, strlen(port->name));
	}
	return n;
}

static int check_slots(const struct set_plan *p, struct gate_error *err)
{
	const size_t vms = p->vms.count, left = count_left(p), max = p->e->m->conf->max_vms - 1;

	if (vms + left + p->e->loners.count <= max)
		return 0;
	if (left)
		return gate_error_set(
			err, GATE_ERR_FAILED,
			"no room for %zu VMs and %zu ports that nobody has (max_vms = %zu)", vms,
			left, max + 1);
	return gate_error_set(err, GATE_ERR_FAILED, "no room for %zu VMs (max_vms = %zu)", vms,
			      max + 1);
}

static int check_room(struct set_plan *p, struct gate_error *err)
{
	const struct gate_conf *c = p->e->m->conf;
	struct gate_table tenants = { 0 };
	size_t overrides = 0, ntenants;
	int r;

	for (size_t i = 0; i < p->n; i++) {
		const struct gate_set_item *it = &p->items[i];
		const char *tenant = it->is_vm ? it->vm.tenant : "";

		if (!it->is_vm) {
			if (it->subject.kind == GATE_S_TENANT)
				tenant = it->subject.name;
			overrides +=
				it->subject.kind == GATE_S_MAC || it->subject.kind == GATE_S_IP;
		}
		if (*tenant)
			gate_table_put(&tenants, tenant, strlen(tenant), p);
	}
	ntenants = tenants.count;
	gate_table_clear(&tenants);
	r = check_slots(p, err);
	if (r)
		return r;
	if (ntenants > c->max_tenants - 1)
		return gate_error_set(err, GATE_ERR_FAILED,
				      "no room for %zu tenants (max_tenants = %u)", ntenants,
				      c->max_tenants);
	if (overrides > c->max_overrides)
		return gate_error_set(err, GATE_ERR_FAILED,
				      "no room for %zu policies of MACs and addresses "
				      "(max_overrides = %u)",
				      overrides, c->max_overrides);
	if (p->budgets > p->e->m->nbudgets - 1)
		return gate_error_set(err, GATE_ERR_FAILED, "no room for %zu budgets", p->budgets);
	return 0;
}

int gate_engine_set_check(struct set_plan *p, struct gate_error *err)
{
	size_t vms = 0;
	int r = 0;

	for (size_t i = 0; i < p->n; i++)
		vms += p->items[i].is_vm;
	gate_table_reserve(&p->vms, vms);
	gate_table_reserve(&p->macs, vms);
	gate_table_reserve(&p->owns, p->n - vms);
	for (size_t i = 0; i < p->n && !r; i++)
		if (p->items[i].is_vm)
			r = check_vm(p, &p->items[i], err);
	if (!r)
		r = check_ips(p, err);
	for (size_t i = 0; i < p->n && !r; i++)
		if (!p->items[i].is_vm)
			r = check_own(p, &p->items[i], err);
	return r ? r : check_room(p, err);
}

void gate_engine_set_clear(struct set_plan *p)
{
	gate_table_clear(&p->vms);
	gate_table_clear(&p->owns);
	gate_table_clear(&p->macs);
	gate_table_clear(&p->ports);
	free(p->changes);
}
