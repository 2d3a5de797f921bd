// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Reports as they are asked for: the store's rows, brought up to this moment. */
#include "engine_priv.h"

#include <errno.h>

#define HOUR_S 3600

struct reading {
	struct gate_engine *e;
	struct gate_report *out;
	int64_t first; /* start of the first hour */
	unsigned n;    /* hours from then to now */
	int64_t since_ms;
	struct gate_refusal *found;
	size_t nfound;
	unsigned subjects; /* that were read */
};

static bool is_empty(const struct gate_hour *h)
{
	uint64_t any = 0;

#define X(name) any |= h->name;
	GATE_HOURLY(X)
#undef X
	return !any;
}

static void take_refusal(void *arg, const struct gate_refusal *f)
{
	struct reading *rd = arg;

	rd->found = gate_realloc(rd->found, rd->nfound + 1, sizeof(*rd->found));
	rd->found[rd->nfound++] = *f;
}

static int read_subject(struct reading *rd, const struct gate_subject *s, struct gate_error *err)
{
	char text[GATE_SUBJECT_LEN + 4];
	int r = 0;

	gate_format_subject(s, text, sizeof(text));
	for (unsigned i = 0; i < rd->n && !r; i++)
		r = gate_store_read_hour(rd->e->store, text, &rd->out->hours[i], err);
	if (!r)
		r = gate_store_read_refusals(rd->e->store, text, rd->since_ms, take_refusal, rd,
					     err);
	rd->subjects++;
	return r;
}

static int read_tenant(struct reading *rd, const struct gate_subject *s, struct gate_error *err)
{
	const struct tenant *t = gate_engine_tenant(rd->e, s->name);
	char text[GATE_SUBJECT_LEN + 4];
	struct gate_subject who;
	int r = 0;

	if (!t)
		return gate_error_set(err, GATE_ERR_NO_SUBJECT, "there is no %s",
				      gate_format_subject(s, text, sizeof(text)));
	for (const struct vm *vm = t->vms; vm && !r; vm = vm->tenant_next) {
		gate_engine_vm_subject(vm, &who);
		r = read_subject(rd, &who, err);
	}
	return r;
}

static int newest_first(const void *a, const void *b)
{
	const struct gate_refusal *x = a, *y = b;

	return x->time_ms < y->time_ms ? 1 : x->time_ms > y->time_ms ? -1 : 0;
}

/* Hours without anything are left out, all but the last refusals too. */
static void finish(struct reading *rd)
{
	struct gate_report *out = rd->out;

	for (unsigned i = 0; i < rd->n; i++)
		if (!is_empty(&out->hours[i]))
			out->hours[out->nhours++] = out->hours[i];
	if (rd->nfound)
		qsort(rd->found, rd->nfound, sizeof(*rd->found), newest_first);
	out->nrefusals =
		rd->nfound < GATE_REPORT_REFUSALS ? (unsigned)rd->nfound : GATE_REPORT_REFUSALS;
	for (unsigned i = 0; i < out->nrefusals; i++)
		out->refusals[i] = rd->found[i];
}

/* The VM that a MAC or address stands for; others stand for themselves. */
static int subject_of(struct gate_engine *e, const struct gate_subject *s, struct gate_subject *out,
		      struct gate_error *err)
{
	char text[GATE_SUBJECT_LEN + 4];
	int slot;

	*out = *s;
	if (s->kind == GATE_S_VM || s->kind == GATE_S_PORT || s->kind == GATE_S_TENANT)
		return 0;
	gate_format_subject(s, text, sizeof(text));
	if (s->kind != GATE_S_MAC && s->kind != GATE_S_IP)
		return gate_error_set(err, GATE_ERR_USAGE,
				      "a report is about a VM, a port or a tenant, not %s", text);
	slot = gate_engine_slot(e, s);
	if (slot < 0)
		return gate_error_set(err, GATE_ERR_NO_SUBJECT, "no VM has registered %s", text);
	gate_engine_slot_subject(e, (uint32_t)slot, out);
	return 0;
}

static int check_known(struct reading *rd, const struct gate_subject *s, struct gate_error *err)
{
	char text[GATE_SUBJECT_LEN + 4];

	if (s->kind == GATE_S_TENANT || gate_engine_vm_find(rd->e, s) || rd->out->nhours ||
	    rd->nfound)
		return 0;
	return gate_error_set(err, GATE_ERR_NO_SUBJECT, "there is no %s",
			      gate_format_subject(s, text, sizeof(text)));
}

int gate_engine_report(struct gate_engine *e, const struct gate_subject *asked, int64_t since,
		       struct gate_report *out, struct gate_error *err)
{
	int64_t now = engine_now_s(), oldest = now - GATE_REPORT_DAYS * 24 * 3600LL;
	struct reading rd = { .e = e, .out = out };
	struct gate_subject s;
	int r = subject_of(e, asked, &s, err);

	if (r)
		return r;
	if (!e->store)
		return gate_error_set(err, GATE_ERR_FAILED,
				      "reports cannot be read: the store is not usable");
	gate_engine_save_counters(e);
	since = since < oldest ? oldest : since > now ? now : since;
	rd.first = since - since % HOUR_S;
	rd.n = (unsigned)((now - rd.first) / HOUR_S) + 1;
	rd.since_ms = since * 1000;
	*out = (struct gate_report){ .hours = gate_alloc(rd.n, sizeof(struct gate_hour)) };
	for (unsigned i = 0; i < rd.n; i++)
		out->hours[i].start = rd.first + (int64_t)i * HOUR_S;
	r = e->store ? 0
		     : gate_error_set(err, GATE_ERR_FAILED,
				      "reports cannot be read: the store is not usable");
	if (!r)
		r = s.kind == GATE_S_TENANT ? read_tenant(&rd, &s, err)
					    : read_subject(&rd, &s, err);
	if (!r) {
		finish(&rd);
		r = check_known(&rd, &s, err);
	}
	free(rd.found);
	if (r)
		gate_report_clear(out);
	return r;
}

void gate_report_clear(struct gate_report *r)
{
	free(r->hours);
	*r = (struct gate_report){ 0 };
}
