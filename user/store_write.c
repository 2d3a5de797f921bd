// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Records to rows. Lists are text, so that sqlite3(1) shows what an operator can read. */
#include "store_priv.h"

#include <errno.h>
#include <stdio.h>

static char *join(unsigned n, size_t each, char *(*format)(const void *, unsigned, char *, size_t),
		  const void *list)
{
	char *text = gate_alloc(n * (each + 1) + 1, 1), *at = text;

	for (unsigned i = 0; i < n; i++) {
		if (i)
			*at++ = ',';
		format(list, i, at, each);
		at += strlen(at);
	}
	return text;
}

static char *rate_text(const void *list, unsigned i, char *buf, size_t size)
{
	const struct gate_rate_spec *r = &((const struct gate_rate_spec *)list)[i];
	struct gate_rate_spec plain = { .count = r->count, .per_s = r->per_s };
	size_t n;

	gate_format_rate(&plain, buf, size);
	n = strlen(buf);
	if (r->burst)
		snprintf(buf + n, size - n, ":%u", r->burst);
	return buf;
}

char *gate_store_rates_text(const struct gate_rate_spec *rates, unsigned n)
{
	return join(n, 40, rate_text, rates);
}

static char *prefix_text(const void *list, unsigned i, char *buf, size_t size)
{
	return gate_format_prefix(&((const struct gate_prefix *)list)[i], buf, size);
}

char *gate_store_prefixes_text(const struct gate_prefix *list, unsigned n)
{
	return join(n, 56, prefix_text, list);
}

static char *port_text(const void *list, unsigned i, char *buf, size_t size)
{
	snprintf(buf, size, "%s", ((const char(*)[GATE_NAME_LEN])list)[i]);
	return buf;
}

static char *mac_text(const void *list, unsigned i, char *buf, size_t size)
{
	return gate_format_mac(((const uint8_t(*)[6])list)[i], buf, size);
}

static char *pair_text(const void *list, unsigned i, char *buf, size_t size)
{
	const struct gate_pair *pair = &((const struct gate_pair *)list)[i];
	size_t n;

	gate_format_mac(pair->mac, buf, size);
	n = strlen(buf);
	buf[n++] = '=';
	gate_format_prefix(&pair->ip, buf + n, size - n);
	return buf;
}

/* Not copied: the statement runs before the caller's text goes, and is bound anew after that. */
static void bind_text(sqlite3_stmt *q, int at, const char *text)
{
	sqlite3_bind_text(q, at, text, -1, SQLITE_STATIC);
}

/* Takes over an allocated text. */
static void bind_own_text(sqlite3_stmt *q, int at, char *text)
{
	sqlite3_bind_text(q, at, text, -1, free);
}

int gate_store_put_vm(struct gate_store *st, const struct gate_vm_spec *vm, struct gate_error *err)
{
	sqlite3_stmt *q = gate_store_statement(st, ST_PUT_VM, err);

	if (!q)
		return -EIO;
	bind_text(q, 1, vm->name);
	bind_text(q, 2, vm->tenant);
	bind_own_text(q, 3, join(vm->nports, GATE_NAME_LEN, port_text, vm->ports));
	bind_own_text(q, 4, join(vm->nmacs, 20, mac_text, vm->macs));
	bind_own_text(q, 5, gate_store_prefixes_text(vm->ips, vm->nips));
	bind_own_text(q, 6, join(vm->npairs, 80, pair_text, vm->pairs));
	if (vm->binding >= 0)
		bind_text(q, 7, gate_binding_name((enum gate_binding)vm->binding));
	else
		sqlite3_bind_null(q, 7);
	return gate_store_run(st, q, err);
}

static int run_by_text(struct gate_store *st, enum store_statement which, const char *key,
		       struct gate_error *err)
{
	sqlite3_stmt *q = gate_store_statement(st, which, err);

	if (!q)
		return -EIO;
	bind_text(q, 1, key);
	return gate_store_run(st, q, err);
}

int gate_store_del_vm(struct gate_store *st, const char *name, struct gate_error *err)
{
	char subject[GATE_SUBJECT_LEN + 4];
	int r = run_by_text(st, ST_DEL_VM, name, err);

	snprintf(subject, sizeof(subject), "vm:%s", name);
	return r ? r : gate_store_del_learned(st, subject, err);
}

static int put_policy(struct gate_store *st, const char *subject, uint16_t port,
		      const struct gate_policy_spec *p, struct gate_error *err)
{
	sqlite3_stmt *q = gate_store_statement(
		st, p->state == GATE_INHERIT ? ST_DEL_POLICY : ST_PUT_POLICY, err);
	unsigned has_destinations = p->limits.destinations.count ? 1 : 0;

	if (!q)
		return -EIO;
	bind_text(q, 1, subject);
	sqlite3_bind_int(q, 2, port);
	if (p->state == GATE_INHERIT)
		return gate_store_run(st, q, err);
	bind_text(q, 3, gate_state_name(p->state));
	if (p->refuse == GATE_REFUSE_UNSET)
		sqlite3_bind_null(q, 4);
	else
		bind_text(q, 4, gate_refuse_name((enum gate_refuse)p->refuse));
	sqlite3_bind_int(q, 5, p->drain);
	bind_own_text(q, 6, gate_store_rates_text(p->limits.rates, p->limits.nrates));
	sqlite3_bind_int64(q, 7, p->limits.burst);
	sqlite3_bind_int64(q, 8, p->limits.concurrent);
	bind_own_text(q, 9, gate_store_rates_text(&p->limits.destinations, has_destinations));
	sqlite3_bind_int64(q, 10, p->expires);
	sqlite3_bind_int64(q, 11, p->since);
	bind_text(q, 12, p->reason);
	bind_text(q, 13, p->by);
	return gate_store_run(st, q, err);
}

static int put_subject(struct gate_store *st, const char *subject, const struct gate_own *own,
		       uint64_t first_mac, struct gate_error *err)
{
	sqlite3_stmt *q = gate_store_statement(st, ST_PUT_SUBJECT, err);

	if (!q)
		return -EIO;
	bind_text(q, 1, subject);
	sqlite3_bind_int(q, 2, own->quarantine.on);
	sqlite3_bind_int64(q, 3, own->quarantine.until);
	sqlite3_bind_int64(q, 4, own->quarantine.since);
	bind_text(q, 5, own->quarantine.reason);
	bind_text(q, 6, own->quarantine.by);
	sqlite3_bind_int(q, 7, own->observe);
	bind_own_text(q, 8, gate_store_rates_text(own->budget, own->nbudget));
	bind_own_text(q, 9, gate_store_prefixes_text(own->exempt, own->nexempt));
	sqlite3_bind_int64(q, 10, (int64_t)first_mac);
	return gate_store_run(st, q, err);
}

/* What of a record lies in its row of `subjects`. */
static bool same_row(const struct gate_own *a, const struct gate_own *b)
{
	const struct gate_quarantine *x = &a->quarantine, *y = &b->quarantine;

	if (x->on || y->on || a->observe != b->observe || a->nbudget != b->nbudget ||
	    a->nexempt != b->nexempt)
		return false;
	for (unsigned i = 0; i < a->nbudget; i++)
		if (memcmp(&a->budget[i], &b->budget[i], sizeof(a->budget[i])) != 0)
			return false;
	return !a->nexempt || !memcmp(a->exempt, b->exempt, a->nexempt * sizeof(*a->exempt));
}

static bool has_policy(const struct gate_own *was, unsigned scope)
{
	return !was || was->scope[scope].state != GATE_INHERIT;
}

int gate_store_put_own(struct gate_store *st, const struct gate_own *own, uint64_t first_mac,
		       const struct gate_own *was, const uint16_t *ports, unsigned nports,
		       struct gate_error *err)
{
	char subject[GATE_SUBJECT_LEN + 4];
	int r = 0;

	if (gate_own_is_empty(own))
		return gate_store_del_own(st, &own->subject, err);
	gate_format_subject(&own->subject, subject, sizeof(subject));
	if (!was || gate_own_is_empty(was) || !same_row(own, was))
		r = put_subject(st, subject, own, first_mac, err);
	if (!r && (own->scope[0].state != GATE_INHERIT || has_policy(was, 0)))
		r = put_policy(st, subject, 0, &own->scope[0], err);
	for (unsigned i = 0; i < nports && !r; i++)
		if (own->scope[1 + i].state != GATE_INHERIT || has_policy(was, 1 + i))
			r = put_policy(st, subject, ports[i], &own->scope[1 + i], err);
	return r;
}

int gate_store_del_own(struct gate_store *st, const struct gate_subject *s, struct gate_error *err)
{
	char subject[GATE_SUBJECT_LEN + 4];
	int r;

	gate_format_subject(s, subject, sizeof(subject));
	r = run_by_text(st, ST_DEL_SUBJECT, subject, err);
	return r ? r : run_by_text(st, ST_DEL_POLICIES, subject, err);
}

int gate_store_put_tenant(struct gate_store *st, uint32_t id, const char *name,
			  struct gate_error *err)
{
	sqlite3_stmt *q = gate_store_statement(st, ST_PUT_TENANT, err);

	if (!q)
		return -EIO;
	sqlite3_bind_int64(q, 1, id);
	bind_text(q, 2, name);
	return gate_store_run(st, q, err);
}

int gate_store_del_tenant(struct gate_store *st, uint32_t id, struct gate_error *err)
{
	sqlite3_stmt *q = gate_store_statement(st, ST_DEL_TENANT, err);

	if (!q)
		return -EIO;
	sqlite3_bind_int64(q, 1, id);
	return gate_store_run(st, q, err);
}

int gate_store_put_counters(struct gate_store *st, const char *subject,
			    const struct gate_counters *c, struct gate_error *err)
{
	sqlite3_stmt *q = gate_store_statement(st, ST_PUT_COUNTERS, err);
	int at = 2;

	if (!q)
		return -EIO;
	bind_text(q, 1, subject);
#define X(name) sqlite3_bind_int64(q, at++, (int64_t)c->name);
	GATE_COUNTERS(X)
#undef X
	sqlite3_bind_int64(q, at, (int64_t)c->last_reply);
	return gate_store_run(st, q, err);
}

int gate_store_del_counters(struct gate_store *st, const char *subject, struct gate_error *err)
{
	return run_by_text(st, ST_DEL_COUNTERS, subject, err);
}

int gate_store_wipe(struct gate_store *st, struct gate_error *err)
{
	if (sqlite3_exec(st->db,
			 "DELETE FROM vms; DELETE FROM subjects; DELETE FROM policies;"
			 "DELETE FROM tenants; DELETE FROM counters;",
			 NULL, NULL, NULL))
		return gate_store_failed(st, err);
	return 0;
}

static void bind_audit(sqlite3_stmt *q, int at, const struct gate_audit_row *row)
{
	sqlite3_bind_int64(q, at, row->time);
	sqlite3_bind_int64(q, at + 1, row->uid);
	bind_text(q, at + 2, row->actor);
	bind_text(q, at + 3, row->subject);
	bind_text(q, at + 4, row->action);
	bind_text(q, at + 5, row->detail);
	bind_text(q, at + 6, row->reason);
}

int gate_store_add_audit(struct gate_store *st, const struct gate_audit_row *row,
			 struct gate_error *err)
{
	sqlite3_stmt *q = gate_store_statement(st, ST_ADD_AUDIT, err);

	if (!q)
		return -EIO;
	bind_audit(q, 1, row);
	return gate_store_run(st, q, err);
}

int gate_store_add_audits(struct gate_store *st,
			  const struct gate_audit_row *const rows[GATE_STORE_AUDITS],
			  struct gate_error *err)
{
	sqlite3_stmt *q = gate_store_statement(st, ST_ADD_AUDITS, err);

	if (!q)
		return -EIO;
	for (int i = 0; i < GATE_STORE_AUDITS; i++)
		bind_audit(q, 1 + 7 * i, rows[i]);
	return gate_store_run(st, q, err);
}
