// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Rows to records. A row that makes no sense fails the load: never a policy by halves. */
#include "store_priv.h"

#include <errno.h>
#include <stdio.h>

#define DEFAULT_AUDIT_ROWS 1000

static const char *text_of(sqlite3_stmt *q, int column)
{
	const char *text = (const char *)sqlite3_column_text(q, column);

	return text ? text : "";
}

static void copy_text(char *to, size_t size, sqlite3_stmt *q, int column)
{
	snprintf(to, size, "%s", text_of(q, column));
}

static int damaged(struct gate_store *st, const char *table, const char *key,
		   struct gate_error *err)
{
	return gate_error_set(err, GATE_ERR_FAILED,
			      "store %.200s: a row of %s makes no sense: %.80s", st->path, table,
			      key);
}

/* Calls item() for each part between commas; returns their number or -EINVAL. */
static int split(const char *text, int (*item)(void *, unsigned, const char *), void *arg)
{
	unsigned n = 0;

	while (*text) {
		size_t len = strcspn(text, ",");
		char part[128];

		if (len >= sizeof(part))
			return -EINVAL;
		memcpy(part, text, len);
		part[len] = '\0';
		if (item(arg, n++, part))
			return -EINVAL;
		text += len + (text[len] == ',');
	}
	return (int)n;
}

static int take_rate(void *arg, unsigned i, const char *text)
{
	struct gate_rate_spec *rates = arg;

	return i < GATE_MAX_RATES ? gate_parse_rate(text, &rates[i]) : -EINVAL;
}

static int take_prefix(void *arg, unsigned i, const char *text)
{
	struct gate_prefix **list = arg;

	*list = gate_realloc(*list, i + 1, sizeof(**list));
	return gate_parse_prefix(text, &(*list)[i]);
}

static int take_port(void *arg, unsigned i, const char *text)
{
	struct gate_vm_spec *vm = arg;

	if (strlen(text) >= GATE_NAME_LEN)
		return -EINVAL;
	vm->ports = gate_realloc(vm->ports, i + 1, sizeof(*vm->ports));
	memset(vm->ports[i], 0, sizeof(vm->ports[i]));
	strcpy(vm->ports[i], text);
	return 0;
}

static int take_mac(void *arg, unsigned i, const char *text)
{
	struct gate_vm_spec *vm = arg;

	vm->macs = gate_realloc(vm->macs, i + 1, sizeof(*vm->macs));
	return gate_parse_mac(text, vm->macs[i]);
}

/* A virtual router's MAC may be a group's, which gate_parse_mac() would refuse. */
static int take_pair(void *arg, unsigned i, const char *text)
{
	struct gate_vm_spec *vm = arg;
	struct gate_pair pair = { 0 };
	int at = 0;

	if (sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx=%n", &pair.mac[0], &pair.mac[1],
		   &pair.mac[2], &pair.mac[3], &pair.mac[4], &pair.mac[5], &at) != 6 ||
	    !at || gate_parse_prefix(text + at, &pair.ip))
		return -EINVAL;
	vm->pairs = gate_realloc(vm->pairs, i + 1, sizeof(*vm->pairs));
	vm->pairs[i] = pair;
	return 0;
}

typedef int (*row_reader)(struct gate_store *st, sqlite3_stmt *q, void *arg,
			  struct gate_error *err);

static int each_row(struct gate_store *st, const char *query, const char *key, row_reader read,
		    void *arg, struct gate_error *err)
{
	sqlite3_stmt *q = NULL;
	int r = 0, step;

	if (sqlite3_prepare_v2(st->db, query, -1, &q, NULL))
		return gate_store_failed(st, err);
	if (key)
		sqlite3_bind_text(q, 1, key, -1, SQLITE_TRANSIENT);
	while (!r && (step = sqlite3_step(q)) == SQLITE_ROW)
		r = read(st, q, arg, err);
	if (!r && step != SQLITE_DONE)
		r = gate_store_failed(st, err);
	sqlite3_finalize(q);
	return r;
}

static int read_tenant(struct gate_store *st, sqlite3_stmt *q, void *arg, struct gate_error *err)
{
	const struct gate_store_reader *to = arg;

	if (!gate_name_valid(text_of(q, 1)))
		return damaged(st, "tenants", text_of(q, 1), err);
	to->tenant(to->arg, (uint32_t)sqlite3_column_int64(q, 0), text_of(q, 1));
	return 0;
}

static int read_vm(struct gate_store *st, sqlite3_stmt *q, void *arg, struct gate_error *err)
{
	const struct gate_store_reader *to = arg;
	struct gate_vm_spec vm = { .registered = true, .binding = -1 };
	enum gate_binding binding;
	int ports, macs, ips, pairs;

	copy_text(vm.name, sizeof(vm.name), q, 0);
	copy_text(vm.tenant, sizeof(vm.tenant), q, 1);
	ports = split(text_of(q, 2), take_port, &vm);
	macs = split(text_of(q, 3), take_mac, &vm);
	ips = split(text_of(q, 4), take_prefix, &vm.ips);
	pairs = split(text_of(q, 5), take_pair, &vm);
	if (!gate_parse_binding(text_of(q, 6), &binding))
		vm.binding = (int)binding;
	if (ports < 0 || macs < 0 || ips < 0 || pairs < 0 || !gate_name_valid(vm.name)) {
		gate_vm_spec_clear(&vm);
		return damaged(st, "vms", text_of(q, 0), err);
	}
	vm.nports = (unsigned)ports;
	vm.nmacs = (unsigned)macs;
	vm.nips = (unsigned)ips;
	vm.npairs = (unsigned)pairs;
	to->vm(to->arg, &vm);
	return 0;
}

static int read_policy(struct gate_store *st, sqlite3_stmt *q, struct gate_policy_spec *p,
		       struct gate_error *err)
{
	enum gate_refuse refuse;
	int rates = split(text_of(q, 5), take_rate, p->limits.rates);
	int destinations = split(text_of(q, 8), take_rate, (struct gate_rate_spec[4]){ 0 });

	if (gate_parse_state(text_of(q, 2), &p->state) || rates < 0 || destinations < 0 ||
	    destinations > 1)
		return damaged(st, "policies", text_of(q, 0), err);
	p->limits.nrates = (unsigned)rates;
	if (destinations)
		gate_parse_rate(text_of(q, 8), &p->limits.destinations);
	p->refuse = gate_parse_refuse(text_of(q, 3), &refuse) ? GATE_REFUSE_UNSET : (int)refuse;
	p->drain = sqlite3_column_int(q, 4);
	p->limits.burst = (uint32_t)sqlite3_column_int64(q, 6);
	p->limits.concurrent = (uint32_t)sqlite3_column_int64(q, 7);
	p->expires = sqlite3_column_int64(q, 9);
	p->since = sqlite3_column_int64(q, 10);
	copy_text(p->reason, sizeof(p->reason), q, 11);
	copy_text(p->by, sizeof(p->by), q, 12);
	return 0;
}

/* Subjects and policies are read side by side, both in the order of their keys. */
struct own_reading {
	const struct gate_store_reader *to;
	const uint16_t *ports;
	unsigned nports;
	sqlite3_stmt *policies;
	bool more; /* `policies` stands on a row */
};

static void next_policy(struct own_reading *rd)
{
	rd->more = sqlite3_step(rd->policies) == SQLITE_ROW;
}

static int read_policies(struct gate_store *st, struct own_reading *rd, const char *subject,
			 struct gate_own *own, struct gate_error *err)
{
	int r = 0;

	while (rd->more && strcmp(text_of(rd->policies, 0), subject) < 0)
		next_policy(rd);
	for (; !r && rd->more && !strcmp(text_of(rd->policies, 0), subject); next_policy(rd)) {
		int port = sqlite3_column_int(rd->policies, 1);
		unsigned i = 0;

		if (!port) {
			r = read_policy(st, rd->policies, &own->scope[0], err);
			continue;
		}
		while (i < rd->nports && rd->ports[i] != port)
			i++;
		if (i < rd->nports)
			r = read_policy(st, rd->policies, &own->scope[1 + i], err);
	}
	return r;
}

static int read_own(struct gate_store *st, sqlite3_stmt *q, void *arg, struct gate_error *err)
{
	struct own_reading *rd = arg;
	struct gate_subject subject;
	struct gate_own own;
	int budget, exempt, r;

	if (gate_parse_subject(text_of(q, 0), &subject))
		return damaged(st, "subjects", text_of(q, 0), err);
	gate_own_init(&own, &subject);
	own.quarantine.on = sqlite3_column_int(q, 1);
	own.quarantine.until = sqlite3_column_int64(q, 2);
	own.quarantine.since = sqlite3_column_int64(q, 3);
	copy_text(own.quarantine.reason, sizeof(own.quarantine.reason), q, 4);
	copy_text(own.quarantine.by, sizeof(own.quarantine.by), q, 5);
	own.observe = sqlite3_column_int(q, 6);
	budget = split(text_of(q, 7), take_rate, own.budget);
	exempt = split(text_of(q, 8), take_prefix, &own.exempt);
	r = budget < 0 || exempt < 0 ? damaged(st, "subjects", text_of(q, 0), err)
				     : read_policies(st, rd, text_of(q, 0), &own, err);
	if (r) {
		gate_own_clear(&own);
		return r;
	}
	own.nbudget = (unsigned)budget;
	own.nexempt = (unsigned)exempt;
	rd->to->own(rd->to->arg, &own, (uint64_t)sqlite3_column_int64(q, 9));
	return 0;
}

static int read_owns(struct gate_store *st, struct own_reading *rd, struct gate_error *err)
{
	int r;

	if (sqlite3_prepare_v2(st->db, "SELECT * FROM policies ORDER BY subject, port", -1,
			       &rd->policies, NULL))
		return gate_store_failed(st, err);
	next_policy(rd);
	r = each_row(st, "SELECT * FROM subjects ORDER BY subject", NULL, read_own, rd, err);
	sqlite3_finalize(rd->policies);
	return r;
}

static int read_counters(struct gate_store *st, sqlite3_stmt *q, void *arg, struct gate_error *err)
{
	const struct gate_store_reader *to = arg;
	struct gate_counters c = { 0 };
	int at = 1;

#define X(name) c.name = (uint64_t)sqlite3_column_int64(q, at++);
	GATE_COUNTERS(X)
#undef X
	c.last_reply = (uint64_t)sqlite3_column_int64(q, at);
	to->counters(to->arg, text_of(q, 0), &c);
	return 0;
}

#define NAME(name) ", " #name
int gate_store_load(struct gate_store *st, const uint16_t *ports, unsigned nports,
		    const struct gate_store_reader *to, struct gate_error *err)
{
	struct own_reading rd = { .to = to, .ports = ports, .nports = nports };
	int r;

	r = each_row(st, "SELECT id, name FROM tenants", NULL, read_tenant, (void *)to, err);
	if (!r)
		r = each_row(st, "SELECT * FROM vms ORDER BY name", NULL, read_vm, (void *)to, err);
	if (!r)
		r = read_owns(st, &rd, err);
	if (!r)
		r = each_row(st, "SELECT subject" GATE_COUNTERS(NAME) ", last_reply FROM counters",
			     NULL, read_counters, (void *)to, err);
	return r;
}
#undef NAME

/* ---- audit ---- */

struct audit_reading {
	int (*cb)(void *, const struct gate_audit_row *);
	void *arg;
	bool stopped;
};

static int read_audit(struct gate_store *st, sqlite3_stmt *q, void *arg, struct gate_error *err)
{
	struct audit_reading *rd = arg;
	struct gate_audit_row row = {
		.id = sqlite3_column_int64(q, 0),
		.time = sqlite3_column_int64(q, 1),
		.uid = (uint32_t)sqlite3_column_int64(q, 2),
		.actor = text_of(q, 3),
		.subject = text_of(q, 4),
		.action = text_of(q, 5),
		.detail = text_of(q, 6),
		.reason = text_of(q, 7),
	};

	if (!rd->stopped)
		rd->stopped = rd->cb(rd->arg, &row);
	return 0;
}

#define AUDIT_COLUMNS "SELECT id, time, uid, actor, subject, action, detail, reason FROM audit"

int gate_store_find_audit(struct gate_store *st, int64_t id,
			  int (*cb)(void *, const struct gate_audit_row *), void *arg,
			  struct gate_error *err)
{
	struct audit_reading rd = { .cb = cb, .arg = arg };
	char query[160];

	snprintf(query, sizeof(query), AUDIT_COLUMNS " WHERE id = %lld", (long long)id);
	return each_row(st, query, NULL, read_audit, &rd, err);
}

int gate_store_last_audit(struct gate_store *st, uint32_t uid, const char *actor,
			  int (*cb)(void *, const struct gate_audit_row *), void *arg,
			  struct gate_error *err)
{
	struct audit_reading rd = { .cb = cb, .arg = arg };
	char query[200];

	snprintf(query, sizeof(query),
		 AUDIT_COLUMNS " WHERE actor = ? AND uid = %u ORDER BY id DESC LIMIT 1", uid);
	return each_row(st, query, actor, read_audit, &rd, err);
}

int gate_store_read_audit(struct gate_store *st, const char *subject, unsigned limit,
			  int (*cb)(void *, const struct gate_audit_row *), void *arg,
			  struct gate_error *err)
{
	struct audit_reading rd = { .cb = cb, .arg = arg };
	char query[200];

	snprintf(query, sizeof(query), AUDIT_COLUMNS " %s ORDER BY id DESC LIMIT %u",
		 subject ? "WHERE subject = ?" : "", limit ? limit : DEFAULT_AUDIT_ROWS);
	return each_row(st, query, subject, read_audit, &rd, err);
}
