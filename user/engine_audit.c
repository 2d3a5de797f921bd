// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The audit trail: who changed what, when, why. */
#include "engine_priv.h"
#include "json.h"

#include <jansson.h>

const struct gate_actor gate_engine_self = { .name = "gate25d" };

static void begin(struct audit_note *n, const struct gate_actor *who,
		  const struct gate_subject *subject, const char *action, const char *reason)
{
	memset(n, 0, sizeof(*n));
	if (subject)
		gate_format_subject(subject, n->subject, sizeof(n->subject));
	n->row = (struct gate_audit_row){
		.time = engine_now_s(),
		.uid = who->uid,
		.actor = who->name,
		.subject = n->subject,
		.action = action,
		.detail = "{}",
		.reason = reason ? reason : "",
	};
}

static json_t *rate_json(const struct gate_rate_spec *r)
{
	json_t *o =
		json_pack("{s:i, s:s}", "count", (int)r->count, "per", gate_format_per(r->per_s));

	if (r->burst)
		json_object_set_new(o, "burst", json_integer(r->burst));
	return o;
}

static json_t *rates_json(const struct gate_rate_spec *rates, unsigned n)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < n; i++)
		json_array_append_new(list, rate_json(&rates[i]));
	return list;
}

static json_t *prefixes_json(const struct gate_prefix *list, unsigned n)
{
	json_t *out = json_array();
	char text[64];

	for (unsigned i = 0; i < n; i++)
		json_array_append_new(
			out, json_string(gate_format_prefix(&list[i], text, sizeof(text))));
	return out;
}

static void set_time(json_t *o, const char *key, int64_t t)
{
	char text[40];

	if (t)
		json_object_set_new(o, key, json_string(gate_format_time(t, text, sizeof(text))));
}

static void set_policy(json_t *o, const struct gate_policy_spec *p, uint16_t on)
{
	const struct gate_limits *l = &p->limits;

	json_object_set_new(o, "state", json_string(gate_state_name(p->state)));
	if (on)
		json_object_set_new(o, "on", json_integer(on));
	if (l->nrates)
		json_object_set_new(o, "rates", rates_json(l->rates, l->nrates));
	if (l->burst)
		json_object_set_new(o, "burst", json_integer(l->burst));
	if (l->concurrent)
		json_object_set_new(o, "concurrent", json_integer(l->concurrent));
	if (l->destinations.count)
		json_object_set_new(o, "destinations", rate_json(&l->destinations));
	if (p->refuse != GATE_REFUSE_UNSET)
		json_object_set_new(o, "refuse",
				    json_string(gate_refuse_name((enum gate_refuse)p->refuse)));
	if (p->drain)
		json_object_set_new(o, "drain", json_true());
	set_time(o, "expires", p->expires);
}

/* The verb of the CLI that asks for this; the first part names a request of several. */
static const char *action_of(const struct gate_change *c)
{
	if (c->set_quarantine)
		return c->quarantine.on ? "quarantine" : "release";
	if (c->drop_all)
		return "inherit";
	if (c->set_policy)
		return gate_state_name(c->policy.state);
	if (c->set_observe)
		return "observe";
	return c->set_budget ? "budget" : "exempt";
}

void gate_engine_audit_change(struct audit_note *n, const struct gate_actor *who,
			      const struct gate_subject *subject, const struct gate_change *c)
{
	json_t *o = json_object();

	begin(n, who, subject, action_of(c), c->reason);
	if (c->set_policy)
		set_policy(o, &c->policy, c->on);
	if (c->set_quarantine) {
		json_object_set_new(o, "quarantine", json_boolean(c->quarantine.on));
		set_time(o, "until", c->quarantine.until);
	}
	if (c->set_observe)
		json_object_set_new(o, "observe", json_boolean(c->observe));
	if (c->set_budget)
		json_object_set_new(o, "budget",
				    c->nbudget ? rates_json(c->budget, c->nbudget) : json_null());
	if (c->nexempt_add)
		json_object_set_new(o, "exempt_add", prefixes_json(c->exempt_add, c->nexempt_add));
	if (c->nexempt_del)
		json_object_set_new(o, "exempt_del", prefixes_json(c->exempt_del, c->nexempt_del));
	n->detail = json_dumps(o, JSON_COMPACT);
	n->row.detail = n->detail ? n->detail : "{}";
	json_decref(o);
}

void gate_engine_audit_vm(struct audit_note *n, const struct gate_actor *who, const char *action,
			  const struct gate_vm_spec *vm, const char *reason)
{
	struct gate_subject s = { .kind = GATE_S_VM };
	json_t *o = json_object(), *ports = json_array(), *macs = json_array();
	char text[20];

	memcpy(s.name, vm->name, sizeof(s.name));
	begin(n, who, &s, action, reason);
	for (unsigned i = 0; i < vm->nports; i++)
		json_array_append_new(ports, json_string(vm->ports[i]));
	for (unsigned i = 0; i < vm->nmacs; i++)
		json_array_append_new(
			macs, json_string(gate_format_mac(vm->macs[i], text, sizeof(text))));
	json_object_set_new(o, "ports", ports);
	json_object_set_new(o, "macs", macs);
	json_object_set_new(o, "ips", prefixes_json(vm->ips, vm->nips));
	json_object_set_new(o, "tenant", vm->tenant[0] ? json_string(vm->tenant) : json_null());
	if (vm->binding >= 0)
		json_object_set_new(o, "binding",
				    json_string(gate_binding_name((enum gate_binding)vm->binding)));
	n->detail = json_dumps(o, JSON_COMPACT);
	n->row.detail = n->detail ? n->detail : "{}";
	json_decref(o);
}

void gate_engine_audit_plain(struct audit_note *n, const struct gate_actor *who,
			     const struct gate_subject *subject, const char *action,
			     const char *reason)
{
	begin(n, who, subject, action, reason);
}

/*
 * An item of the list "own", or the member "vm"; the writer of items ends its line. The
 * trail is kept: what is absent is the same as null to who reads it (engine_undo.c).
 */
static void put_item(struct gate_buf *b, const struct gate_engine *e,
		     const struct gate_set_item *it)
{
	b->brief = true;
	gate_json_item(b, it, e->m->conf->ports);
	b->brief = false;
	if (!b->failed)
		b->len--;
}

static void put_own(struct gate_buf *b, const struct gate_engine *e, const struct gate_subject *s,
		    const struct rec *rec)
{
	const struct gate_set_item it = { .subject = *s, .own = rec ? rec->packed : NULL };

	put_item(b, e, &it);
}

/* The note's detail goes on with how things stood. */
static void begin_before(struct gate_buf *b, const struct audit_note *n)
{
	gate_buf_add(b, n->row.detail, strlen(n->row.detail) - 1);
	gate_json_open(b, "before", '{');
}

static void end_before(struct gate_buf *b, struct audit_note *n)
{
	gate_buf_puts(b, "]}}");
	gate_buf_putc(b, '\0');
	if (b->failed) { /* then it cannot be taken back, which undo says */
		gate_buf_free(b);
		return;
	}
	free(n->detail);
	n->row.detail = n->detail = b->data;
}

void gate_engine_audit_before(struct gate_engine *e, struct audit_note *n,
			      const struct audit_before *before)
{
	struct gate_buf b = { 0 };

	begin_before(&b, n);
	if (before->with_vm && before->vm) {
		gate_buf_puts(&b, "\"vm\":\n");
		put_item(&b, e, &(struct gate_set_item){ .is_vm = true, .vm = *before->vm });
	} else if (before->with_vm) {
		gate_json_null(&b, "vm");
	}
	gate_json_open(&b, "own", '[');
	for (unsigned i = 0; i < before->nown; i++)
		put_own(&b, e, &before->own[i], gate_engine_rec(e, &before->own[i]));
	end_before(&b, n);
}

void gate_engine_audit_before_own(struct gate_engine *e, struct audit_note *n,
				  const struct gate_subject *s, const struct rec *rec)
{
	struct gate_buf b = { 0 };

	begin_before(&b, n);
	gate_json_open(&b, "own", '[');
	put_own(&b, e, s, rec);
	end_before(&b, n);
}

void gate_engine_audit_undo(struct audit_note *n, const struct gate_subject *subject,
			    const struct audit_undo *undo)
{
	json_t *o = json_pack("{s:I}", "undoes", (json_int_t)undo->id);

	begin(n, undo->who, subject, "undo", undo->reason);
	n->detail = json_dumps(o, JSON_COMPACT);
	n->row.detail = n->detail ? n->detail : "{}";
	json_decref(o);
}

void gate_engine_audit_clear(struct audit_note *n)
{
	free(n->detail);
}

int gate_engine_save_audit(struct gate_engine *e, const struct audit_note *n,
			   struct gate_error *err)
{
	return gate_store_add_audit(e->store, &n->row, err);
}

int gate_engine_audit(struct gate_engine *e, const struct gate_subject *s, unsigned limit,
		      int (*cb)(void *, const struct gate_audit_row *), void *arg,
		      struct gate_error *err)
{
	char subject[GATE_SUBJECT_LEN + 4];

	if (!e->store)
		return gate_error_set(err, GATE_ERR_FAILED,
				      "the audit trail cannot be read: the store is not usable");
	if (s)
		gate_format_subject(s, subject, sizeof(subject));
	return gate_store_read_audit(e->store, s ? subject : NULL, limit, cb, arg, err);
}
