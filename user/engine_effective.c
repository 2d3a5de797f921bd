// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * What is in force, by the same rules as the packet program (SEMANTICS
 * "Precedence"), for those who ask and to tell a change that opens from one that
 * closes.
 */
#include "engine_priv.h"

#include <stdio.h>

struct walk {
	struct gate_engine *e;
	unsigned scope; /* 1 + index of the gated port, 0 = all of them */
	int64_t now;
	/* this subject's record is taken to be: */
	const struct gate_subject *as_if;
	const struct gate_own *own;
	struct gate_effective *out;
	bool decided;
};

static unsigned scope_of(const struct gate_engine *e, uint16_t on)
{
	if (e->m->conf->nports == 1)
		return 1;
	for (unsigned i = 0; on && i < e->m->conf->nports; i++)
		if (e->m->conf->ports[i] == on)
			return 1 + i;
	return 0;
}

static bool running(int64_t until, int64_t now)
{
	return !until || until > now;
}

static enum gate_refuse refuse_of(const struct walk *w, const struct gate_policy_spec *p)
{
	return p->refuse == GATE_REFUSE_UNSET ? w->e->c->refuse[p->state]
					      : (enum gate_refuse)p->refuse;
}

static void decide(struct walk *w, const char *source, const struct gate_policy_spec *p)
{
	struct gate_effective *out = w->out;

	w->decided = true;
	out->state = p->state;
	out->drain = p->drain;
	if (p->state == GATE_LIMIT) {
		out->limits = p->limits;
		gate_limits_complete(&out->limits, &w->e->c->policy.limits);
	}
	if (out->quarantined)
		return; /* that already says where from, why and how long */
	out->refuse = refuse_of(w, p);
	out->expires = p->expires;
	strcpy(out->source, source);
	memcpy(out->reason, p->reason, sizeof(out->reason));
	memcpy(out->by, p->by, sizeof(out->by));
}

static void quarantine(struct walk *w, const char *source, const struct gate_quarantine *q)
{
	struct gate_effective *out = w->out;

	out->quarantined = true;
	out->refuse = w->e->c->refuse_quarantine;
	out->expires = q->until;
	strcpy(out->source, source);
	memcpy(out->reason, q->reason, sizeof(out->reason));
	memcpy(out->by, q->by, sizeof(out->by));
}

static void consider_own(struct walk *w, const struct gate_own *own)
{
	const struct gate_quarantine *q = &own->quarantine;
	const unsigned scopes[2] = { w->scope, 0 };
	char source[GATE_SUBJECT_LEN + 4];

	gate_format_subject(&own->subject, source, sizeof(source));
	if (q->on && running(q->until, w->now) && !w->out->quarantined)
		quarantine(w, source, q);
	w->out->observed |= own->observe;
	for (unsigned i = 0; i < 2 && !w->decided; i++) {
		const struct gate_policy_spec *p = &own->scope[scopes[i]];

		if (p->state != GATE_INHERIT && running(p->expires, w->now))
			decide(w, source, p);
	}
}

static void consider(struct walk *w, const struct gate_subject *s)
{
	const struct rec *rec;
	struct gate_own own;

	if (w->as_if && gate_subject_equal(s, w->as_if)) {
		if (w->own)
			consider_own(w, w->own);
		return;
	}
	rec = gate_engine_rec(w->e, s);
	if (!rec)
		return;
	gate_engine_rec_own(rec, &own);
	consider_own(w, &own);
}

static void consider_vm(struct walk *w, const struct vm *vm)
{
	struct gate_subject s;

	gate_engine_vm_subject(vm, &s);
	consider(w, &s);
	if (!vm->tenant)
		return;
	s = (struct gate_subject){ .kind = GATE_S_TENANT };
	memcpy(s.name, vm->tenant->name, sizeof(s.name));
	consider(w, &s);
}

static void consider_ip(struct walk *w, const struct gate_prefix *ip)
{
	const struct gate_subject self = { .kind = GATE_S_IP, .ip = *ip };
	const struct rec *rec;
	const struct vm *vm;
	int len = ip->len - 1;

	consider(w, &self);
	while ((rec = gate_engine_ip_cover(w->e, ip, len))) {
		len = rec->subject.ip.len - 1;
		consider(w, &rec->subject);
	}
	vm = gate_engine_ip_holder(w->e, ip);
	if (vm)
		consider_vm(w, vm);
}

/* Beneath all others. */
static void conclude(struct walk *w)
{
	const struct gate_subject bottom = { .kind = GATE_S_DEFAULT };

	consider(w, &bottom);
	if (!w->decided)
		decide(w, "default", &w->e->c->policy);
	w->out->enforce = w->e->c->enforce && (w->out->quarantined || !w->out->observed);
}

void gate_engine_effective_if(struct gate_engine *e, const struct gate_subject *s, uint16_t on,
			      const struct gate_own *own, struct gate_effective *out)
{
	struct walk w = { .e = e,
			  .scope = scope_of(e, on),
			  .now = engine_now_s(),
			  .as_if = s,
			  .own = own,
			  .out = out };
	const struct vm *vm;

	memset(out, 0, sizeof(*out));
	switch (s->kind) {
	case GATE_S_IP:
		consider_ip(&w, &s->ip);
		break;
	case GATE_S_MAC:
		consider(&w, s);
		vm = gate_table_get(&e->macs, s->mac, 6);
		if (vm)
			consider_vm(&w, vm);
		break;
	case GATE_S_VM:
	case GATE_S_PORT:
		vm = gate_engine_vm_find(e, s);
		if (vm)
			consider_vm(&w, vm);
		else
			consider(&w, s);
		break;
	case GATE_S_TENANT:
		consider(&w, s);
		break;
	default:
		break;
	}
	conclude(&w);
}

void gate_engine_slot_effective(struct gate_engine *e, uint32_t slot, uint16_t on, int64_t now,
				struct gate_effective *out)
{
	struct walk w = { .e = e, .scope = scope_of(e, on), .now = now, .out = out };

	memset(out, 0, sizeof(*out));
	if (slot && slot < e->m->conf->max_vms && e->by_slot[slot])
		consider_vm(&w, e->by_slot[slot]);
	conclude(&w);
}

static bool is_known(struct gate_engine *e, const struct gate_subject *s)
{
	if (s->kind == GATE_S_VM || s->kind == GATE_S_PORT)
		return gate_engine_vm_find(e, s) || gate_engine_rec(e, s);
	if (s->kind == GATE_S_TENANT)
		return gate_engine_tenant(e, s->name);
	return true;
}

int gate_engine_effective(struct gate_engine *e, const struct gate_subject *s, uint16_t on,
			  struct gate_effective *out, struct gate_error *err)
{
	const struct rec *rec = gate_engine_rec(e, s);
	char text[GATE_SUBJECT_LEN + 4];
	struct gate_own own;

	if (!is_known(e, s))
		return gate_error_set(err, GATE_ERR_NO_SUBJECT, "there is no %s",
				      gate_format_subject(s, text, sizeof(text)));
	if (rec)
		gate_engine_rec_own(rec, &own);
	gate_engine_effective_if(e, s, on, rec ? &own : NULL, out);
	return 0;
}

/* ---- stricter or laxer ---- */

static bool laxer(const struct gate_effective *after, const struct gate_effective *before)
{
	if (after->quarantined || before->quarantined)
		return !after->quarantined;
	if (after->observed && !before->observed)
		return true;
	if (after->state != before->state)
		return after->state < before->state;
	if (after->state == GATE_BLOCK)
		return after->drain && !before->drain;
	return after->state == GATE_LIMIT &&
	       !gate_limits_strict_as(&after->limits, &before->limits);
}

static bool budget_opens(const struct gate_own *before, const struct gate_own *after)
{
	struct gate_limits a = { 0 }, b = { 0 };

	if (!before || !before->nbudget)
		return false;
	memcpy(b.rates, before->budget, sizeof(b.rates));
	b.nrates = before->nbudget;
	if (after) {
		memcpy(a.rates, after->budget, sizeof(a.rates));
		a.nrates = after->nbudget;
	}
	return !gate_limits_strict_as(&a, &b);
}

static bool exempt_opens(const struct gate_own *before, const struct gate_own *after)
{
	for (unsigned i = 0; after && i < after->nexempt; i++) {
		bool had = false;

		for (unsigned j = 0; before && j < before->nexempt && !had; j++)
			had = gate_prefix_contains(&before->exempt[j], &after->exempt[i]);
		if (!had)
			return true;
	}
	return false;
}

bool gate_engine_opens(struct gate_engine *e, const struct gate_subject *s,
		       const struct gate_own *before, const struct gate_own *after)
{
	struct gate_effective was, is;

	if (budget_opens(before, after) || exempt_opens(before, after))
		return true;
	for (unsigned i = 0; i <= e->m->conf->nports; i++) {
		uint16_t on = i ? e->m->conf->ports[i - 1] : 0;

		gate_engine_effective_if(e, s, on, before, &was);
		gate_engine_effective_if(e, s, on, after, &is);
		if (laxer(&is, &was))
			return true;
	}
	return false;
}

bool gate_engine_drop_laxer(struct gate_engine *e, struct gate_own *own)
{
	const struct gate_subject bottom = { .kind = GATE_S_DEFAULT };
	bool dropped = own->observe || own->nexempt;
	struct gate_effective is, was;
	const struct rec *rec = gate_engine_rec(e, &bottom);
	struct gate_own beneath;

	if (rec)
		gate_engine_rec_own(rec, &beneath);
	own->observe = false;
	gate_own_clear(own);
	for (unsigned i = 0; i <= e->m->conf->nports; i++) {
		struct gate_policy_spec *p = &own->scope[i];
		struct walk w = { .e = e, .out = &is };

		if (p->state == GATE_INHERIT)
			continue;
		gate_engine_effective_if(e, &bottom, i ? e->m->conf->ports[i - 1] : 0,
					 rec ? &beneath : NULL, &was);
		memset(&is, 0, sizeof(is));
		decide(&w, "", p);
		was.quarantined = was.observed = false;
		if (!laxer(&is, &was))
			continue;
		*p = (struct gate_policy_spec){ .refuse = GATE_REFUSE_UNSET };
		dropped = true;
	}
	return dropped;
}
