// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Changes of policy. A request is first worked out on a copy of the subject's
 * record, wholly or not at all. Then what closes is put in force and made durable
 * after, what opens the other way round (SEMANTICS Precedence 8).
 */
#include "engine_priv.h"

#include <stdio.h>

#define REASON_MAX 255

/* ---- which subject ---- */

static int no_subject(const struct gate_subject *s, struct gate_error *err)
{
	char text[GATE_SUBJECT_LEN + 4];

	return gate_error_set(err, GATE_ERR_NO_SUBJECT, "there is no %s",
			      gate_format_subject(s, text, sizeof(text)));
}

/* port:NAME is the VM that has registered it, or the port's own. */
static int resolve_port(struct gate_engine *e, const struct gate_subject *in,
			struct gate_subject *out, struct gate_error *err)
{
	const struct claim *c = gate_table_get(&e->claims, in->name, strlen(in->name));

	*out = (struct gate_subject){ .kind = c ? GATE_S_VM : GATE_S_PORT };
	if (c && c->next)
		return gate_error_set(err, GATE_ERR_USAGE,
				      "several VMs share port %s: name one of them, such as vm:%s",
				      in->name, c->vm->spec.name);
	copy_name(out->name, c ? c->vm->spec.name : in->name);
	if (!c && !gate_engine_vm_find(e, out) && !gate_engine_rec(e, out))
		return -1;
	return 0;
}

int gate_engine_resolve(struct gate_engine *e, const struct gate_subject *in,
			struct gate_subject *out, struct gate_error *err)
{
	struct gate_subject s = *in;
	int r;

	if (in->kind == GATE_S_WORD)
		s.kind = GATE_S_VM;
	if (s.kind == GATE_S_VM && gate_engine_vm_find(e, &s)) {
		*out = s;
		return 0;
	}
	if (in->kind == GATE_S_VM)
		return no_subject(in, err);
	if (in->kind != GATE_S_WORD && in->kind != GATE_S_PORT) {
		*out = *in;
		return 0;
	}
	r = resolve_port(e, in, &s, err);
	if (!r)
		*out = s;
	if (r != -1)
		return r;
	if (in->kind == GATE_S_PORT)
		return no_subject(in, err);
	return gate_error_set(err, GATE_ERR_NO_SUBJECT, "there is no VM or port named %s",
			      in->name);
}

/* ---- the parts of a request ---- */

struct request {
	struct gate_engine *e;
	const struct gate_actor *who;
	const struct gate_change *c;
	struct gate_own *own; /* being worked on */
	int64_t now;
	struct gate_error *err;
};

static int not_gated(const struct request *q)
{
	const struct gate_conf *conf = q->e->m->conf;
	char list[40] = "";
	size_t n = 0;

	for (unsigned i = 0; i < conf->nports; i++)
		n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%u", i ? ", " : "",
				      conf->ports[i]);
	return gate_error_set(q->err, GATE_ERR_USAGE, "port %u is not gated: gated is %s", q->c->on,
			      list);
}

static int find_scope(const struct request *q, unsigned *scope)
{
	const struct gate_conf *conf = q->e->m->conf;

	*scope = 0;
	for (unsigned i = 0; q->c->on && i < conf->nports; i++)
		if (conf->ports[i] == q->c->on)
			*scope = 1 + i;
	return q->c->on && !*scope ? not_gated(q) : 0;
}

static void clear_scope(struct gate_policy_spec *p)
{
	*p = (struct gate_policy_spec){ .refuse = GATE_REFUSE_UNSET };
}

static int change_policy(const struct request *q)
{
	uint32_t max = q->e->m->conf->flow_sets * GATE_FLOW_WAYS / 2;
	struct gate_policy_spec *p;
	unsigned scope;
	int r = find_scope(q, &scope);

	if (!r)
		r = gate_policy_check(&q->c->policy, max, q->now, q->err);
	if (r)
		return r;
	/* Where one port is gated, "on that port" and "on all" are the same: the later holds. */
	if (q->e->m->conf->nports == 1)
		clear_scope(&q->own->scope[!scope]);
	p = &q->own->scope[scope];
	clear_scope(p);
	if (q->c->policy.state == GATE_INHERIT)
		return 0;
	*p = q->c->policy;
	p->since = q->now;
	snprintf(p->by, sizeof(p->by), "%s", q->who->name);
	if (!p->reason[0] && q->c->reason)
		snprintf(p->reason, sizeof(p->reason), "%s", q->c->reason);
	return 0;
}

static int change_quarantine(const struct request *q)
{
	struct gate_quarantine *to = &q->own->quarantine;

	*to = (struct gate_quarantine){ 0 };
	if (!q->c->quarantine.on)
		return 0;
	if (q->c->quarantine.until < 0 ||
	    (q->c->quarantine.until && q->c->quarantine.until <= q->now))
		return gate_error_set(q->err, GATE_ERR_USAGE,
				      "the time of expiry has passed already");
	*to = q->c->quarantine;
	to->since = q->now;
	snprintf(to->by, sizeof(to->by), "%s", q->who->name);
	if (!to->reason[0] && q->c->reason)
		snprintf(to->reason, sizeof(to->reason), "%s", q->c->reason);
	return 0;
}

static int change_budget(const struct request *q)
{
	int r;

	if (q->own->subject.kind != GATE_S_TENANT && q->own->subject.kind != GATE_S_IP)
		return gate_error_set(q->err, GATE_ERR_USAGE,
				      "a budget is for tenants and address prefixes");
	r = gate_rates_check(q->c->budget, q->c->nbudget, q->err);
	if (r)
		return r;
	memset(q->own->budget, 0, sizeof(q->own->budget));
	memcpy(q->own->budget, q->c->budget, q->c->nbudget * sizeof(q->c->budget[0]));
	q->own->nbudget = q->c->nbudget;
	return 0;
}

static unsigned find_prefix(const struct gate_own *own, const struct gate_prefix *p)
{
	unsigned i = 0;

	while (i < own->nexempt &&
	       (own->exempt[i].len != p->len || memcmp(own->exempt[i].addr, p->addr, 16) != 0))
		i++;
	return i;
}

static int change_exempt(const struct request *q)
{
	struct gate_own *own = q->own;
	char dest[64], subject[GATE_SUBJECT_LEN + 4];

	if (own->subject.kind == GATE_S_MAC || own->subject.kind == GATE_S_IP)
		return gate_error_set(q->err, GATE_ERR_USAGE,
				      "exempt destinations are for default, tenants and VMs");
	for (unsigned i = 0; i < q->c->nexempt_del; i++) {
		unsigned at = find_prefix(own, &q->c->exempt_del[i]);

		if (at == own->nexempt)
			return gate_error_set(
				q->err, GATE_ERR_USAGE, "%s is not exempt for %s",
				gate_format_prefix(&q->c->exempt_del[i], dest, sizeof(dest)),
				gate_format_subject(&own->subject, subject, sizeof(subject)));
		/* all of them: a set that was applied may have named it twice */
		for (; at < own->nexempt; at = find_prefix(own, &q->c->exempt_del[i]))
			own->exempt[at] = own->exempt[--own->nexempt];
	}
	for (unsigned i = 0; i < q->c->nexempt_add; i++) {
		int r = gate_prefix_check(&q->c->exempt_add[i], q->err);

		if (r)
			return r;
		if (find_prefix(own, &q->c->exempt_add[i]) < own->nexempt)
			continue;
		own->exempt = gate_realloc(own->exempt, own->nexempt + 1, sizeof(*own->exempt));
		own->exempt[own->nexempt++] = q->c->exempt_add[i];
	}
	/* more than a set may hold could be exported but not applied again, nor undone */
	if (q->c->nexempt_add && own->nexempt > GATE_EXEMPT_MAX)
		return gate_error_set(q->err, GATE_ERR_USAGE,
				      "at most %d destinations can be exempt for %s",
				      GATE_EXEMPT_MAX,
				      gate_format_subject(&own->subject, subject, sizeof(subject)));
	return 0;
}

static int apply_parts(const struct request *q)
{
	const struct gate_change *c = q->c;
	int r = 0;

	if (c->reason && strlen(c->reason) > REASON_MAX)
		return gate_error_set(q->err, GATE_ERR_USAGE, "reason is longer than %d bytes",
				      REASON_MAX);
	if (q->own->subject.kind == GATE_S_IP)
		r = gate_prefix_check(&q->own->subject.ip, q->err);
	for (unsigned i = 0; c->drop_all && i < GATE_MAX_SCOPES; i++)
		clear_scope(&q->own->scope[i]);
	if (!r && c->set_policy)
		r = change_policy(q);
	if (!r && c->set_quarantine)
		r = change_quarantine(q);
	if (!r && c->set_observe)
		q->own->observe = c->observe;
	if (!r && c->set_budget)
		r = change_budget(q);
	if (!r && (c->nexempt_add || c->nexempt_del))
		r = change_exempt(q);
	return r;
}

/* ---- in force and durable ---- */

static int save_noted(struct gate_engine *e, const struct gate_own *own,
		      const struct audit_note *note, struct gate_error *err)
{
	int r = gate_engine_save_begin(e, err);

	if (r)
		return r;
	r = gate_engine_save_own(e, own, err);
	if (!r)
		r = gate_engine_save_audit(e, note, err);
	return gate_engine_save_end(e, r, err);
}

int gate_engine_save_closed(struct gate_engine *e, const struct gate_own *own,
			    const struct audit_note *note, struct gate_error *err)
{
	struct gate_error why;

	if (save_noted(e, own, note, &why) == 0)
		return 0;
	gate_engine_save_later(e, &note->row);
	return gate_error_set(err, GATE_ERR_FAILED, "in force but not saved: %.400s", why.message);
}

static int save_opening(struct gate_engine *e, const struct gate_own *own,
			const struct audit_note *note, struct gate_error *err)
{
	bool made_tenant = false;
	struct gate_error why;

	if (own->subject.kind == GATE_S_TENANT && !gate_engine_tenant(e, own->subject.name))
		made_tenant = gate_engine_tenant_make(e, own->subject.name, 0);
	if (save_noted(e, own, note, &why) == 0)
		return 0;
	if (made_tenant)
		gate_engine_tenant_release(e, gate_engine_tenant(e, own->subject.name));
	return gate_error_set(err, GATE_ERR_FAILED,
			      "nothing is changed, it could not be saved: "
			      "%.400s",
			      why.message);
}

static void tell_change(struct gate_engine *e, const struct audit_note *note,
			const struct gate_subject *s)
{
	gate_engine_tell_audit(e, GATE_N_POLICY, s, &note->row);
}

static int put(struct gate_engine *e, const struct gate_own *own, struct audit_note *note,
	       struct gate_error *err)
{
	const struct rec *rec = gate_engine_rec(e, &own->subject);
	int r = gate_engine_room(e, own, err);
	struct gate_own before;

	if (r)
		return r;
	gate_engine_audit_before_own(e, note, &own->subject, rec);
	if (rec)
		gate_engine_rec_own(rec, &before);
	if (gate_engine_opens(e, &own->subject, rec ? &before : NULL, own)) {
		r = save_opening(e, own, note, err);
		if (!r)
			gate_engine_install(e, own);
	} else {
		gate_engine_install(e, own);
		r = gate_engine_save_closed(e, own, note, err);
	}
	tell_change(e, note, &own->subject);
	return r;
}

int gate_engine_change(struct gate_engine *e, const struct gate_actor *who,
		       const struct gate_change *c, struct gate_error *err)
{
	struct gate_subject subject;
	const struct rec *rec;
	struct gate_own own;
	struct vm *vm;
	struct request q = {
		.e = e, .who = who, .c = c, .own = &own, .now = engine_now_s(), .err = err
	};
	int r = gate_engine_resolve(e, &c->subject, &subject, err);

	if (r)
		return r;
	/* A remark about its registration belongs to that change alone. */
	vm = gate_engine_vm_find(e, &subject);
	if (vm)
		vm->moved_from[0] = '\0';
	rec = gate_engine_rec(e, &subject);
	if (rec)
		gate_engine_rec_copy(rec, &own);
	else
		gate_own_init(&own, &subject);
	r = apply_parts(&q);
	if (!r) {
		struct audit_note note;

		gate_engine_audit_change(&note, who, &subject, c);
		r = put(e, &own, &note, err);
		gate_engine_audit_clear(&note);
	}
	gate_own_clear(&own);
	return r;
}

int gate_engine_put_own_as(struct gate_engine *e, const struct gate_own *own,
			   const struct audit_undo *undo, struct gate_error *err)
{
	struct audit_note note;
	int r;

	gate_engine_audit_undo(&note, &own->subject, undo);
	r = put(e, own, &note, err);
	gate_engine_audit_clear(&note);
	return r;
}

/* ---- expiry ---- */

static void expire_one(struct gate_engine *e, const struct rec *rec, int64_t now)
{
	struct gate_subject s = rec->subject;
	struct audit_note note;
	struct gate_effective eff;
	struct gate_own own;

	gate_engine_rec_copy(rec, &own);
	gate_own_drop_expired(&own, now);
	gate_engine_install(e, &own);
	gate_engine_audit_plain(&note, &gate_engine_self, &s, "expire", "");
	gate_engine_save_closed(e, &own, &note, NULL);
	gate_engine_effective_if(e, &s, 0, &own, &eff);
	gate_engine_tell(e, GATE_N_EXPIRED, &s, NULL, "%s has expired; in force is now %s (%s)",
			 note.subject, eff.quarantined ? "quarantine" : gate_state_name(eff.state),
			 eff.source);
	gate_engine_audit_clear(&note);
	gate_own_clear(&own);
}

void gate_engine_expire(struct gate_engine *e, int64_t now)
{
	struct gate_order_node *first;

	while ((first = e->dues.head[0])) {
		const struct rec *rec = first->value;

		if (rec->due > now)
			return;
		expire_one(e, rec, now);
	}
}
