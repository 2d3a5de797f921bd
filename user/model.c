// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "model.h"
#include "mem.h"

void gate_own_init(struct gate_own *own, const struct gate_subject *s)
{
	/* Texts are ended, not wiped: they are most of it. */
	own->subject = *s;
	for (unsigned i = 0; i < GATE_MAX_SCOPES; i++) {
		struct gate_policy_spec *p = &own->scope[i];

		memset(p, 0, offsetof(struct gate_policy_spec, reason));
		p->refuse = GATE_REFUSE_UNSET;
		p->reason[0] = p->by[0] = '\0';
	}
	memset(&own->quarantine, 0, offsetof(struct gate_quarantine, reason));
	own->quarantine.reason[0] = own->quarantine.by[0] = '\0';
	own->observe = false;
	memset(own->budget, 0, sizeof(own->budget));
	own->nbudget = own->nexempt = 0;
	own->exempt = NULL;
}

void gate_own_copy(struct gate_own *to, const struct gate_own *from)
{
	*to = *from;
	to->exempt = gate_copy(from->exempt, from->nexempt, sizeof(*from->exempt));
}

void gate_own_clear(struct gate_own *own)
{
	free(own->exempt);
	own->exempt = NULL;
	own->nexempt = 0;
}

bool gate_own_is_empty(const struct gate_own *own)
{
	for (unsigned i = 0; i < GATE_MAX_SCOPES; i++)
		if (own->scope[i].state != GATE_INHERIT)
			return false;
	return !own->quarantine.on && !own->observe && !own->nbudget && !own->nexempt;
}

static bool rate_equal(const struct gate_rate_spec *a, const struct gate_rate_spec *b)
{
	return a->count == b->count && a->per_s == b->per_s && a->burst == b->burst;
}

static bool rates_equal(const struct gate_rate_spec *a, unsigned na, const struct gate_rate_spec *b,
			unsigned nb)
{
	if (na != nb)
		return false;
	for (unsigned i = 0; i < na; i++)
		if (!rate_equal(&a[i], &b[i]))
			return false;
	return true;
}

static bool policy_equal(const struct gate_policy_spec *a, const struct gate_policy_spec *b)
{
	if (a->state != b->state)
		return false;
	if (a->state == GATE_INHERIT)
		return true;
	return a->refuse == b->refuse && a->drain == b->drain && a->expires == b->expires &&
	       a->limits.burst == b->limits.burst && a->limits.concurrent == b->limits.concurrent &&
	       rate_equal(&a->limits.destinations, &b->limits.destinations) &&
	       rates_equal(a->limits.rates, a->limits.nrates, b->limits.rates, b->limits.nrates) &&
	       strcmp(a->reason, b->reason) == 0;
}

static bool has_prefix(const struct gate_prefix *list, unsigned n, const struct gate_prefix *p)
{
	for (unsigned i = 0; i < n; i++)
		if (list[i].len == p->len && memcmp(list[i].addr, p->addr, 16) == 0)
			return true;
	return false;
}

static bool prefixes_equal(const struct gate_prefix *a, unsigned na, const struct gate_prefix *b,
			   unsigned nb)
{
	if (na != nb)
		return false;
	for (unsigned i = 0; i < na; i++)
		if (!has_prefix(b, nb, &a[i]))
			return false;
	return true;
}

bool gate_own_equal(const struct gate_own *a, const struct gate_own *b)
{
	for (unsigned i = 0; i < GATE_MAX_SCOPES; i++)
		if (!policy_equal(&a->scope[i], &b->scope[i]))
			return false;
	if (a->quarantine.on != b->quarantine.on || a->observe != b->observe)
		return false;
	if (a->quarantine.on && (a->quarantine.until != b->quarantine.until ||
				 strcmp(a->quarantine.reason, b->quarantine.reason) != 0))
		return false;
	return rates_equal(a->budget, a->nbudget, b->budget, b->nbudget) &&
	       prefixes_equal(a->exempt, a->nexempt, b->exempt, b->nexempt);
}

static int64_t sooner(int64_t a, int64_t b)
{
	return !a || (b && b < a) ? b : a;
}

int64_t gate_own_due(const struct gate_own *own)
{
	int64_t due = own->quarantine.on ? own->quarantine.until : 0;

	for (unsigned i = 0; i < GATE_MAX_SCOPES; i++)
		if (own->scope[i].state != GATE_INHERIT)
			due = sooner(due, own->scope[i].expires);
	return due;
}

bool gate_own_drop_expired(struct gate_own *own, int64_t now)
{
	bool dropped = false;

	if (own->quarantine.on && own->quarantine.until && own->quarantine.until <= now) {
		own->quarantine = (struct gate_quarantine){ 0 };
		dropped = true;
	}
	for (unsigned i = 0; i < GATE_MAX_SCOPES; i++) {
		struct gate_policy_spec *p = &own->scope[i];

		if (p->state == GATE_INHERIT || !p->expires || p->expires > now)
			continue;
		*p = (struct gate_policy_spec){ .refuse = GATE_REFUSE_UNSET };
		dropped = true;
	}
	return dropped;
}

void gate_set_item_clear(struct gate_set_item *it)
{
	if (it->is_vm)
		gate_vm_spec_clear(&it->vm);
	else
		free(it->own);
	memset(it, 0, sizeof(*it));
}

void gate_vm_spec_copy(struct gate_vm_spec *to, const struct gate_vm_spec *from)
{
	*to = *from;
	to->ports = gate_copy(from->ports, from->nports, sizeof(*from->ports));
	to->macs = gate_copy(from->macs, from->nmacs, sizeof(*from->macs));
	to->ips = gate_copy(from->ips, from->nips, sizeof(*from->ips));
	to->pairs = gate_copy(from->pairs, from->npairs, sizeof(*from->pairs));
}

void gate_vm_spec_clear(struct gate_vm_spec *vm)
{
	free(vm->ports);
	free(vm->macs);
	free(vm->ips);
	free(vm->pairs);
	memset(vm, 0, sizeof(*vm));
}

static bool has_port(const struct gate_vm_spec *vm, const char *port)
{
	for (unsigned i = 0; i < vm->nports; i++)
		if (strcmp(vm->ports[i], port) == 0)
			return true;
	return false;
}

bool gate_vm_spec_has_mac(const struct gate_vm_spec *vm, const uint8_t mac[6])
{
	for (unsigned i = 0; i < vm->nmacs; i++)
		if (memcmp(vm->macs[i], mac, 6) == 0)
			return true;
	return false;
}

static bool has_pair(const struct gate_vm_spec *vm, const struct gate_pair *pair)
{
	for (unsigned i = 0; i < vm->npairs; i++)
		if (memcmp(vm->pairs[i].mac, pair->mac, 6) == 0 &&
		    has_prefix(&vm->pairs[i].ip, 1, &pair->ip))
			return true;
	return false;
}

bool gate_vm_spec_equal(const struct gate_vm_spec *a, const struct gate_vm_spec *b)
{
	if (strcmp(a->name, b->name) != 0 || strcmp(a->tenant, b->tenant) != 0 ||
	    a->registered != b->registered || a->binding != b->binding || a->nports != b->nports ||
	    a->nmacs != b->nmacs || a->npairs != b->npairs ||
	    !prefixes_equal(a->ips, a->nips, b->ips, b->nips))
		return false;
	for (unsigned i = 0; i < a->nports; i++)
		if (!has_port(b, a->ports[i]))
			return false;
	for (unsigned i = 0; i < a->nmacs; i++)
		if (!gate_vm_spec_has_mac(b, a->macs[i]))
			return false;
	for (unsigned i = 0; i < a->npairs; i++)
		if (!has_pair(b, &a->pairs[i]))
			return false;
	return true;
}

void gate_limits_complete(struct gate_limits *l, const struct gate_limits *defaults)
{
	if (!l->nrates) {
		memcpy(l->rates, defaults->rates, sizeof(l->rates));
		l->nrates = defaults->nrates;
	}
	if (!l->burst)
		l->burst = defaults->burst;
	if (!l->concurrent)
		l->concurrent = defaults->concurrent;
	if (!l->destinations.count)
		l->destinations = defaults->destinations;
}

static uint32_t burst_of(const struct gate_rate_spec *r, uint32_t burst)
{
	if (r->burst)
		return r->burst;
	return burst ? burst : r->count;
}

/* a admits no more than b in any span of time: neither at once nor in the long run. */
static bool rate_strict_as(const struct gate_rate_spec *a, uint32_t a_burst,
			   const struct gate_rate_spec *b, uint32_t b_burst)
{
	return (uint64_t)a->count * b->per_s <= (uint64_t)b->count * a->per_s &&
	       burst_of(a, a_burst) <= burst_of(b, b_burst);
}

bool gate_limits_strict_as(const struct gate_limits *a, const struct gate_limits *b)
{
	for (unsigned i = 0; i < b->nrates; i++) {
		bool held = false;

		for (unsigned j = 0; j < a->nrates && !held; j++)
			held = rate_strict_as(&a->rates[j], a->burst, &b->rates[i], b->burst);
		if (!held)
			return false;
	}
	if (b->concurrent && (!a->concurrent || a->concurrent > b->concurrent))
		return false;
	if (!b->destinations.count)
		return true;
	return a->destinations.count && rate_strict_as(&a->destinations, 0, &b->destinations, 0);
}

size_t gate_subject_key(const struct gate_subject *s, unsigned char key[GATE_SUBJECT_KEY])
{
	size_t len;

	key[0] = (unsigned char)s->kind;
	switch (s->kind) {
	case GATE_S_MAC:
		memcpy(key + 1, s->mac, 6);
		return 7;
	case GATE_S_IP:
		memcpy(key + 1, s->ip.addr, 16);
		key[17] = s->ip.len;
		return 18;
	case GATE_S_DEFAULT:
		return 1;
	default:
		len = strnlen(s->name, GATE_NAME_LEN - 1);
		memcpy(key + 1, s->name, len);
		return 1 + len;
	}
}

int gate_subject_compare(const struct gate_subject *a, const struct gate_subject *b)
{
	unsigned char ka[GATE_SUBJECT_KEY], kb[GATE_SUBJECT_KEY];
	size_t na = gate_subject_key(a, ka), nb = gate_subject_key(b, kb);
	int order = memcmp(ka, kb, na < nb ? na : nb);

	return order ? order : (na > nb) - (na < nb);
}
