// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Which MACs and addresses are whose, and which policies lie upon them.
 *
 * A VM has an entry in `ips` for each address or prefix it has registered and
 * for each ip: subject strictly within one of these; the trie's longest match
 * then finds the right one. An entry names at most two policies that cover it:
 * the most specific one, and next to it one in quarantine if there is any, else
 * the second most specific.
 */
#include "engine_priv.h"

#define IP_KEY 22 /* address, length, kind, slot */

enum { KIND_OWN, KIND_PAIR };

static void ip_key(const struct gate_prefix *p, uint8_t kind, uint32_t slot,
		   unsigned char key[GATE_ORDER_KEY])
{
	uint32_t big = htobe32(slot);

	gate_engine_ip_key(p, key);
	key[17] = kind;
	memcpy(key + 18, &big, 4);
}

void gate_engine_ip_key(const struct gate_prefix *p, unsigned char key[17])
{
	memcpy(key, p->addr, 16);
	key[16] = p->len;
}

static struct gate_prefix prefix_of(const struct gate_order_node *n)
{
	struct gate_prefix p = { .len = n->key[16] };
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	memcpy(p.addr, n->key, 16);
	p.v4 = p.len >= 96 && memcmp(p.addr, mapped, 12) == 0;
	return p;
}

static struct gate_prefix cut(const struct gate_prefix *p, int len)
{
	struct gate_prefix out = { .len = (uint8_t)len, .v4 = p->v4 };

	memcpy(out.addr, p->addr, (size_t)len / 8);
	if (len % 8)
		out.addr[len / 8] = (uint8_t)(p->addr[len / 8] & (0xff00 >> len % 8));
	return out;
}

static int shortest(const struct gate_prefix *p)
{
	return p->v4 ? 96 : 0;
}

/* ---- claims ---- */

static void index_ip(struct gate_engine *e, struct vm *vm, const struct gate_prefix *p,
		     uint8_t kind, bool put)
{
	unsigned char key[GATE_ORDER_KEY];

	ip_key(p, kind, vm->slot, key);
	if (put) {
		struct gate_order_node *n = gate_order_from(&e->ips, key);

		if (!n || memcmp(n->key, key, IP_KEY) != 0)
			e->ip_len[p->len]++;
		gate_order_put(&e->ips, key, vm);
	} else if (gate_order_del(&e->ips, key)) {
		e->ip_len[p->len]--;
	}
}

static void index_ips(struct gate_engine *e, struct vm *vm, bool put)
{
	for (unsigned i = 0; i < vm->spec.nips; i++)
		index_ip(e, vm, &vm->spec.ips[i], KIND_OWN, put);
	for (unsigned i = 0; i < vm->spec.npairs; i++)
		index_ip(e, vm, &vm->spec.pairs[i].ip, KIND_PAIR, put);
}

static void claim_port(struct gate_engine *e, struct vm *vm, const char *name)
{
	struct claim *first = gate_table_get(&e->claims, name, strlen(name)), *c;

	for (c = first; c; c = c->next)
		if (c->vm == vm)
			return;
	c = gate_alloc(1, sizeof(*c));
	c->vm = vm;
	c->next = first;
	gate_table_put(&e->claims, name, strlen(name), c);
}

static void unclaim_port(struct gate_engine *e, struct vm *vm, const char *name)
{
	struct claim *first = gate_table_get(&e->claims, name, strlen(name)), **at = &first, *c;

	while (*at && (*at)->vm != vm)
		at = &(*at)->next;
	c = *at;
	if (!c)
		return;
	*at = c->next;
	free(c);
	if (first)
		gate_table_put(&e->claims, name, strlen(name), first);
	else
		gate_table_del(&e->claims, name, strlen(name));
}

void gate_engine_claims_put(struct gate_engine *e, struct vm *vm)
{
	for (unsigned i = 0; i < vm->spec.nports; i++)
		claim_port(e, vm, vm->spec.ports[i]);
	for (unsigned i = 0; i < vm->spec.nmacs; i++)
		gate_table_put(&e->macs, vm->spec.macs[i], 6, vm);
	index_ips(e, vm, true);
}

void gate_engine_claims_del(struct gate_engine *e, struct vm *vm)
{
	for (unsigned i = 0; i < vm->spec.nports; i++)
		unclaim_port(e, vm, vm->spec.ports[i]);
	for (unsigned i = 0; i < vm->spec.nmacs; i++)
		if (gate_table_get(&e->macs, vm->spec.macs[i], 6) == vm)
			gate_table_del(&e->macs, vm->spec.macs[i], 6);
	index_ips(e, vm, false);
}

/*
 * These call cb for each VM that has something registered (or allowed) around
 * `p`, `p` itself included, or within it; a return other than 0 ends the walk.
 */
typedef int (*meet)(struct gate_engine *e, struct vm *vm, uint8_t kind, void *arg);

static int each_around(struct gate_engine *e, const struct gate_prefix *p, meet cb, void *arg)
{
	unsigned char key[GATE_ORDER_KEY];
	int r = 0;

	for (int len = p->len; len >= shortest(p) && !r; len--) {
		struct gate_prefix around = cut(p, len);

		if (!e->ip_len[len])
			continue;
		ip_key(&around, KIND_OWN, 0, key);
		for (struct gate_order_node *n = gate_order_from(&e->ips, key);
		     n && !memcmp(n->key, key, 17) && !r; n = n->next[0])
			r = cb(e, n->value, n->key[17], arg);
	}
	return r;
}

static int each_within(struct gate_engine *e, const struct gate_prefix *p, meet cb, void *arg)
{
	unsigned char key[GATE_ORDER_KEY];
	int r = 0;

	ip_key(p, KIND_OWN, 0, key);
	for (struct gate_order_node *n = gate_order_from(&e->ips, key); n && !r; n = n->next[0]) {
		struct gate_prefix within = prefix_of(n);

		if (!gate_prefix_contains(p, &within))
			break;
		r = cb(e, n->value, n->key[17], arg);
	}
	return r;
}

struct owner_search {
	const struct vm *but;
	struct vm *found;
};

static int find_owner(struct gate_engine *e, struct vm *vm, uint8_t kind, void *arg)
{
	struct owner_search *search = arg;

	if (kind != KIND_OWN || vm == search->but)
		return 0;
	search->found = vm;
	return 1;
}

struct vm *gate_engine_ip_owner(const struct gate_engine *e, const struct gate_prefix *p,
				const struct vm *but)
{
	struct owner_search search = { .but = but };

	if (!each_around((struct gate_engine *)e, p, find_owner, &search))
		each_within((struct gate_engine *)e, p, find_owner, &search);
	return search.found;
}

struct vm *gate_engine_ip_holder(const struct gate_engine *e, const struct gate_prefix *p)
{
	struct owner_search search = { 0 };

	each_around((struct gate_engine *)e, p, find_owner, &search);
	return search.found;
}

bool gate_engine_ip_claimed(const struct gate_engine *e, const struct gate_prefix *p)
{
	unsigned char key[GATE_ORDER_KEY];
	const struct gate_order_node *n;

	ip_key(p, KIND_OWN, 0, key);
	n = gate_order_from(&e->ips, key);
	return n && memcmp(n->key, key, 18) == 0; /* the slot, which follows, may be any */
}

/* ---- policies upon an address ---- */

struct rec *gate_engine_ip_cover(const struct gate_engine *e, const struct gate_prefix *p, int len)
{
	for (; len >= shortest(p); len--) {
		struct gate_subject s = { .kind = GATE_S_IP };
		struct rec *rec;

		if (!e->ip_rec_len[len])
			continue;
		s.ip = cut(p, len);
		rec = gate_engine_rec(e, &s);
		if (rec)
			return rec;
	}
	return NULL;
}

static uint32_t base_of(const struct gate_engine *e, const struct rec *rec)
{
	return rec && rec->override != UINT32_MAX ? gate_base_override(e->m, rec->override) : 0;
}

/* Bases, owner of the bucket and budget of an entry at `p`. */
static void find_bases(const struct gate_engine *e, const struct gate_prefix *p,
		       struct gate_sync_address *a)
{
	struct rec *first = NULL, *second = NULL, *rec;
	int len = p->len;

	while ((rec = gate_engine_ip_cover(e, p, len))) {
		len = rec->subject.ip.len - 1;
		if (!a->budget && rec->has_budget)
			a->budget = rec->budget;
		if (!gate_engine_rec_has_node(rec))
			continue;
		if (!first)
			first = rec;
		else if (!second || (!second->policy && rec->policy))
			second = rec;
	}
	a->base[0] = base_of(e, first);
	a->base[1] = base_of(e, second);
	if (first && first->policy)
		a->owner = a->base[0];
	else if (second && second->policy)
		a->owner = a->base[1];
}

/* ---- budgets that an earlier daemon gave ---- */

struct budget_search {
	struct gate_engine *e;
	const struct rec *rec; /* whose */
	uint32_t found;
};

/* An entry shares the budget of the narrowest prefix around it that has one; see find_bases(). */
static void find_budget(void *arg, bool is_mac, const struct gate_sync_address *a)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	struct budget_search *search = arg;
	struct gate_prefix p = { .len = a->len };
	const struct rec *rec;
	int len = a->len;

	if (is_mac || !a->budget || search->found)
		return;
	memcpy(p.addr, a->addr, 16);
	p.v4 = p.len >= 96 && memcmp(p.addr, mapped, 12) == 0;
	while ((rec = gate_engine_ip_cover(search->e, &p, len)) && !rec->has_budget)
		len = rec->subject.ip.len - 1;
	if (rec == search->rec)
		search->found = a->budget;
}

static int find_vm_budget(struct gate_engine *e, struct vm *vm, uint8_t kind, void *arg)
{
	struct budget_search *search = arg;

	if (vm->slot)
		gate_sync_entries(e->sync, vm->slot, find_budget, search);
	return search->found != 0;
}

uint32_t gate_engine_ip_budget(struct gate_engine *e, const struct rec *rec)
{
	struct budget_search search = { .e = e, .rec = rec };

	if (!each_around(e, &rec->subject.ip, find_vm_budget, &search))
		each_within(e, &rec->subject.ip, find_vm_budget, &search);
	return search.found;
}

/* ---- a VM's entries ---- */

struct entries {
	struct gate_sync_address *list;
	unsigned n;
};

static void add_entry(struct entries *to, const uint8_t *addr, size_t size, uint8_t len,
		      uint32_t flags)
{
	if (!(to->n & (to->n - 1)))
		to->list = gate_realloc(to->list, to->n ? 2 * to->n : 1, sizeof(*to->list));
	to->list[to->n] = (struct gate_sync_address){ .len = len, .flags = flags };
	memcpy(to->list[to->n++].addr, addr, size);
}

static int compare(const void *a, const void *b)
{
	const struct gate_sync_address *x = a, *y = b;
	int order = memcmp(x->addr, y->addr, 16);

	return order ? order : x->len - y->len;
}

static void merge_equal(struct entries *l)
{
	unsigned kept = 0;

	if (l->n > 1)
		qsort(l->list, l->n, sizeof(*l->list), compare);
	for (unsigned i = 0; i < l->n; i++) {
		if (kept && compare(&l->list[kept - 1], &l->list[i]) == 0)
			l->list[kept - 1].flags |= l->list[i].flags;
		else
			l->list[kept++] = l->list[i];
	}
	l->n = kept;
}

static void add_address(const struct gate_engine *e, struct entries *to,
			const struct gate_prefix *p, uint32_t flags)
{
	unsigned char key[GATE_ORDER_KEY] = { 0 };

	add_entry(to, p->addr, 16, p->len, flags);
	if (p->len == 128)
		return;
	gate_engine_ip_key(p, key);
	for (struct gate_order_node *n = gate_order_from(&e->ip_recs, key); n; n = n->next[0]) {
		struct gate_prefix within = prefix_of(n);

		if (!gate_prefix_contains(p, &within))
			break;
		add_entry(to, within.addr, 16, within.len, flags);
	}
}

static void finish_address(const struct gate_engine *e, struct gate_sync_address *a)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	struct gate_prefix p = { .len = a->len };

	/* What is merely allowed has no right to a policy of its own, nor to a budget. */
	if (!(a->flags & GATE_ADDR_REGISTERED))
		return;
	memcpy(p.addr, a->addr, 16);
	p.v4 = p.len >= 96 && memcmp(p.addr, mapped, 12) == 0;
	find_bases(e, &p, a);
}

static void finish_mac(const struct gate_engine *e, struct gate_sync_address *a)
{
	struct gate_subject s = { .kind = GATE_S_MAC };
	const struct rec *rec;

	if (!(a->flags & GATE_ADDR_REGISTERED))
		return;
	memcpy(s.mac, a->addr, 6);
	rec = gate_engine_rec(e, &s);
	a->base[0] = rec && gate_engine_rec_has_node(rec) ? base_of(e, rec) : 0;
	a->owner = rec && rec->policy ? a->base[0] : 0;
}

void gate_engine_vm_addresses(struct gate_engine *e, struct vm *vm)
{
	const struct gate_vm_spec *spec = &vm->spec;
	struct entries macs = { 0 }, ips = { 0 };

	if (!vm->slot)
		return;
	for (unsigned i = 0; i < spec->nmacs; i++)
		add_entry(&macs, spec->macs[i], 6, 0, GATE_ADDR_REGISTERED);
	for (unsigned i = 0; i < spec->nips; i++)
		add_address(e, &ips, &spec->ips[i], GATE_ADDR_REGISTERED);
	for (unsigned i = 0; i < spec->npairs; i++) {
		add_entry(&macs, spec->pairs[i].mac, 6, 0, GATE_ADDR_ALLOWED);
		add_address(e, &ips, &spec->pairs[i].ip, GATE_ADDR_ALLOWED);
	}
	merge_equal(&macs);
	merge_equal(&ips);
	for (unsigned i = 0; i < macs.n; i++)
		finish_mac(e, &macs.list[i]);
	for (unsigned i = 0; i < ips.n; i++)
		finish_address(e, &ips.list[i]);
	if (gate_sync_addresses(e->sync, vm->slot, macs.list, macs.n, ips.list, ips.n))
		gate_engine_map_full(e, "addresses",
				     "there is no room for all MACs and addresses of the VMs");
	free(macs.list);
	free(ips.list);
}

/* ---- a mac: or ip: record changed ---- */

static int sync_met(struct gate_engine *e, struct vm *vm, uint8_t kind, void *arg)
{
	if (vm->visit != e->visit) {
		vm->visit = e->visit;
		gate_engine_vm_addresses(e, vm);
	}
	return 0;
}

static void sync_any_ip(struct gate_engine *e, const struct gate_prefix *p)
{
	struct gate_sync_address a = { 0 };
	struct gate_subject s = { .kind = GATE_S_IP, .ip = *p };
	const struct rec *rec = gate_engine_rec(e, &s);

	if (rec && gate_engine_rec_has_node(rec))
		find_bases(e, p, &a);
	if (gate_sync_any_ip(e->sync, p, a.base))
		gate_engine_map_full(e, "ips", "there is no room for all policies of addresses");
}

static void ip_changed(struct gate_engine *e, const struct gate_prefix *p)
{
	unsigned char key[GATE_ORDER_KEY] = { 0 };

	sync_any_ip(e, p);
	gate_engine_ip_key(p, key);
	for (struct gate_order_node *n = gate_order_from(&e->ip_recs, key); n; n = n->next[0]) {
		struct gate_prefix within = prefix_of(n);

		if (!gate_prefix_contains(p, &within))
			break;
		if (within.len <= p->len)
			continue;
		gate_engine_sync_nodes(e, n->value);
		sync_any_ip(e, &within);
	}
	e->visit++;
	each_around(e, p, sync_met, NULL);
	each_within(e, p, sync_met, NULL);
}

void gate_engine_override_changed(struct gate_engine *e, const struct gate_subject *s)
{
	const struct rec *rec;
	struct vm *vm;

	if (s->kind == GATE_S_IP) {
		ip_changed(e, &s->ip);
		return;
	}
	rec = gate_engine_rec(e, s);
	if (gate_sync_any_mac(e->sync, s->mac,
			      rec && gate_engine_rec_has_node(rec) ? base_of(e, rec) : 0))
		gate_engine_map_full(e, "macs", "there is no room for all policies of MACs");
	vm = gate_table_get(&e->macs, s->mac, 6);
	if (vm)
		gate_engine_vm_addresses(e, vm);
}
