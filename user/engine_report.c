// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * What VMs tried, for those who ask later. Counts go into the row of their hour
 * whenever counters are saved: what the slot counts now less what it counted then.
 * Refusals wait in memory for the same moment; of a flood the last ones are kept.
 */
#include "engine_priv.h"

#include <stdio.h>

#define HOUR_S	       3600
#define DAY_MS	       (24 * 3600 * 1000LL)
#define KEEP_S	       (GATE_REPORT_DAYS * 24 * 3600LL)
#define LATE_S	       2     /* a tick comes at most so late: the hour that ends is meant */
#define PENDING_MAX    20000 /* refusals in memory, of all VMs */
#define RENAMES_A_SAVE 50    /* each goes through the hours that anybody has */

/* One subject that was heard of. */
struct tried {
	int64_t last_ms; /* refused */
	unsigned place;	 /* of the next refusal in the store's ring */
	struct gate_refusal *pending;
	unsigned npending, size;
	struct gate_engine_seen seen;
};

/* Counts at which a slot's hours end, in the order of GATE_HOURLY. */
struct base {
#define X(name) uint64_t name;
	GATE_HOURLY(X)
#undef X
};

struct rename {
	char from[GATE_SUBJECT_LEN + 4], to[GATE_SUBJECT_LEN + 4];
};

struct late {
	char subject[GATE_SUBJECT_LEN + 4];
	struct gate_hour hour;
};

struct reports {
	struct gate_table tried; /* subject -> struct tried */
	unsigned npending;
	struct base *base;   /* by slot */
	struct base *before; /* the same before the save that goes on */
	bool saving;
	struct rename *renames;
	unsigned nrenames;
	struct late *late; /* of slots that have gone */
	unsigned nlate;
	int64_t saved_hour, pruned_hour;
};

static int64_t hour_of(int64_t unix_s)
{
	return unix_s - unix_s % HOUR_S;
}

/* The hour that what was counted since the last save belongs to. */
static int64_t hour_now(void)
{
	return hour_of(engine_now_s() - LATE_S);
}

void gate_engine_reports_open(struct gate_engine *e)
{
	e->reports = gate_alloc(1, sizeof(*e->reports));
	e->reports->base = gate_alloc(e->m->conf->max_vms, sizeof(struct base));
	e->reports->before = gate_alloc(e->m->conf->max_vms, sizeof(struct base));
	e->reports->saved_hour = hour_of(engine_now_s());
}

void gate_engine_reports_close(struct gate_engine *e)
{
	struct gate_table_iter it = { 0 };
	struct gate_table_entry *at;

	while ((at = gate_table_next(&e->reports->tried, &it))) {
		free(((struct tried *)at->value)->pending);
		free(at->value);
	}
	gate_table_clear(&e->reports->tried);
	free(e->reports->base);
	free(e->reports->before);
	free(e->reports->renames);
	free(e->reports->late);
	free(e->reports);
}

bool gate_engine_reports_due(const struct gate_engine *e, int64_t now)
{
	return hour_of(now) != e->reports->saved_hour;
}

/* ---- hours ---- */

void gate_engine_reports_base(struct gate_engine *e, uint32_t slot, const struct gate_counters *c)
{
	struct base *b = &e->reports->base[slot];

#define X(name) b->name = c->name;
	GATE_HOURLY(X)
#undef X
}

void gate_engine_reports_move(struct gate_engine *e, uint32_t from, uint32_t to)
{
	struct base *f = &e->reports->base[from], *t = &e->reports->base[to];

#define X(name) t->name += f->name;
	GATE_HOURLY(X)
#undef X
	memset(f, 0, sizeof(*f));
}

/* What was counted since; true if that is anything. */
static bool since_base(const struct gate_engine *e, uint32_t slot, const struct gate_counters *now,
		       struct gate_hour *out)
{
	const struct base *b = &e->reports->base[slot];
	uint64_t any = 0;

	*out = (struct gate_hour){ .start = hour_now() };
#define X(name)                                                                                    \
	if (now->name > b->name)                                                                   \
		any |= out->name = now->name - b->name;
	GATE_HOURLY(X)
#undef X
	return any;
}

int gate_engine_reports_save_slot(struct gate_engine *e, uint32_t slot, const char *subject,
				  const struct gate_counters *now)
{
	struct gate_hour h;
	int r;

	if (!since_base(e, slot, now, &h))
		return 0;
	r = gate_store_add_hour(e->store, subject, &h, NULL);
	if (!r)
		gate_engine_reports_base(e, slot, now);
	return r;
}

void gate_engine_reports_end(struct gate_engine *e, uint32_t slot)
{
	struct reports *r = e->reports;
	struct gate_subject s;
	struct late late;

	if (!e->by_slot[slot] || !since_base(e, slot, &e->m->counters[slot], &late.hour)) {
		memset(&r->base[slot], 0, sizeof(r->base[slot]));
		return;
	}
	gate_engine_vm_subject(e->by_slot[slot], &s);
	gate_format_subject(&s, late.subject, sizeof(late.subject));
	r->late = gate_realloc(r->late, r->nlate + 1, sizeof(*r->late));
	r->late[r->nlate++] = late;
	memset(&r->base[slot], 0, sizeof(r->base[slot]));
}

/* ---- refusals ---- */

static struct tried *find(const struct gate_engine *e, const char *subject)
{
	return gate_table_get(&e->reports->tried, subject, strlen(subject));
}

static struct tried *find_or_make(struct gate_engine *e, const char *subject)
{
	struct tried *t = find(e, subject);

	if (!t) {
		t = gate_alloc(1, sizeof(*t));
		gate_table_put(&e->reports->tried, subject, strlen(subject), t);
	}
	return t;
}

static void take_last(void *arg, const char *subject, unsigned place, int64_t time_ms)
{
	struct tried *t = find_or_make(arg, subject);

	if (time_ms <= t->last_ms)
		return;
	t->last_ms = time_ms;
	t->place = (place + 1) % GATE_REPORT_REFUSALS;
}

void gate_engine_reports_load(struct gate_engine *e)
{
	struct gate_error err;

	if (gate_store_last_refusals(e->store, take_last, e, &err))
		log_warning("%s", err.message);
}

/* The oldest makes room: what counts is what the VM did last. */
static void keep(struct gate_engine *e, struct tried *t, const struct gate_refusal *f)
{
	if (t->npending == GATE_REPORT_REFUSALS) {
		memmove(t->pending, t->pending + 1, (t->npending - 1) * sizeof(*t->pending));
		t->pending[t->npending - 1] = *f;
		return;
	}
	if (e->reports->npending >= PENDING_MAX)
		return;
	if (t->npending == t->size) {
		t->size = t->size ? t->size * 2 : 4;
		t->pending = gate_realloc(t->pending, t->size, sizeof(*t->pending));
	}
	t->pending[t->npending++] = *f;
	e->reports->npending++;
}

static void remember_source(struct gate_engine_seen *seen, const struct gate_event *ev)
{
	seen->any = true;
	memcpy(seen->mac, ev->mac, sizeof(seen->mac));
	if (ev->family == 4)
		memcpy(seen->addr4, ev->src, sizeof(seen->addr4));
	else if (ev->family == 6)
		memcpy(seen->addr6, ev->src, sizeof(seen->addr6));
	seen->has4 |= ev->family == 4;
	seen->has6 |= ev->family == 6;
}

static void set_address(struct gate_prefix *p, const struct gate_event *ev, const uint8_t addr[16])
{
	if (ev->family != 4 && ev->family != 6)
		return;
	p->len = 128;
	p->v4 = ev->family == 4;
	memcpy(p->addr, addr, sizeof(p->addr));
}

bool gate_engine_reports_event(struct gate_engine *e, const struct gate_subject *s,
			       const struct gate_event *ev, int64_t time_ms)
{
	bool enforced = ev->type == GATE_E_REFUSED, first;
	struct gate_refusal f = { .time_ms = time_ms,
				  .enforced = enforced,
				  .reason = (enum gate_reason)ev->reason,
				  .sport = ev->sport,
				  .dport = ev->dport };
	char text[GATE_SUBJECT_LEN + 4];
	struct tried *t = find_or_make(e, gate_format_subject(s, text, sizeof(text)));

	remember_source(&t->seen, ev);
	if ((!enforced && ev->type != GATE_E_WOULD_REFUSE) || ev->reason >= GATE_R_MAX)
		return false;
	set_address(&f.src, ev, ev->src);
	set_address(&f.dst, ev, ev->dst);
	memcpy(f.mac, ev->mac, sizeof(f.mac));
	keep(e, t, &f);
	if (!enforced)
		return false;
	first = time_ms - t->last_ms >= DAY_MS;
	t->last_ms = time_ms;
	return first;
}

void gate_engine_last_source(struct gate_engine *e, const struct gate_subject *s,
			     struct gate_engine_seen *out)
{
	char text[GATE_SUBJECT_LEN + 4];
	const struct tried *t = find(e, gate_format_subject(s, text, sizeof(text)));

	*out = t ? t->seen : (struct gate_engine_seen){ 0 };
}

void gate_engine_reports_rename(struct gate_engine *e, const char *port, const char *vm)
{
	struct reports *r = e->reports;
	struct rename *n;
	struct tried *t;

	r->renames = gate_realloc(r->renames, r->nrenames + 1, sizeof(*r->renames));
	n = &r->renames[r->nrenames++];
	snprintf(n->from, sizeof(n->from), "port:%s", port);
	snprintf(n->to, sizeof(n->to), "vm:%s", vm);
	t = gate_table_del(&r->tried, n->from, strlen(n->from));
	if (t && !find(e, n->to)) {
		gate_table_put(&r->tried, n->to, strlen(n->to), t);
	} else if (t) {
		r->npending -= t->npending;
		free(t->pending);
		free(t);
	}
}

/* ---- into the store: forgotten here only once the transaction is through ---- */

static int save_refusals(struct gate_engine *e, const char *subject, const struct tried *t)
{
	int r = 0;

	for (unsigned i = 0; i < t->npending && !r; i++)
		r = gate_store_put_refusal(e->store, subject, (t->place + i) % GATE_REPORT_REFUSALS,
					   &t->pending[i], NULL);
	return r;
}

static int save_all_refusals(struct gate_engine *e)
{
	struct gate_table_iter it = { 0 };
	struct gate_table_entry *at;
	int r = 0;

	while (!r && e->reports->npending && (at = gate_table_next(&e->reports->tried, &it))) {
		char subject[GATE_SUBJECT_LEN + 4];

		snprintf(subject, sizeof(subject), "%.*s", (int)at->len, (const char *)at->key);
		r = save_refusals(e, subject, at->value);
	}
	return r;
}

static unsigned renames_at_once(const struct reports *p)
{
	return p->nrenames < RENAMES_A_SAVE ? p->nrenames : RENAMES_A_SAVE;
}

static int save_renames(struct gate_engine *e)
{
	struct reports *p = e->reports;
	int64_t since = engine_now_s() - KEEP_S;
	int r = 0;

	for (unsigned i = 0; !r && i < renames_at_once(p); i++) {
		const struct rename *n = &p->renames[i];

		r = gate_store_move_reports(e->store, n->from, n->to, since, NULL);
		/* its counts are in the VM's row now */
		if (!r)
			r = gate_store_del_counters(e->store, n->from, NULL);
	}
	return r;
}

static int save_late(struct gate_engine *e)
{
	struct reports *p = e->reports;
	int r = 0;

	for (unsigned i = 0; i < p->nlate && !r; i++)
		r = gate_store_add_hour(e->store, p->late[i].subject, &p->late[i].hour, NULL);
	return r;
}

/* Subjects that were not refused anything for so long are forgotten in memory too. */
static void forget_old(struct gate_engine *e, int64_t before_ms)
{
	struct gate_table_iter it = { 0 };
	struct gate_table_entry *at;

	while ((at = gate_table_next(&e->reports->tried, &it))) {
		struct tried *t = at->value;

		if (t->last_ms >= before_ms || t->npending)
			continue;
		gate_table_del(&e->reports->tried, at->key, at->len);
		free(t);
	}
}

static int prune(struct gate_engine *e)
{
	int64_t hour = hour_of(engine_now_s());
	int r = 0;

	if (e->reports->pruned_hour == hour)
		return 0;
	r = gate_store_prune_reports(e->store, hour - KEEP_S, NULL);
	if (!r) {
		forget_old(e, (hour - KEEP_S) * 1000);
		e->reports->pruned_hour = hour;
	}
	return r;
}

void gate_engine_reports_begin(struct gate_engine *e)
{
	struct reports *p = e->reports;

	memcpy(p->before, p->base, e->m->conf->max_vms * sizeof(*p->base));
	p->saving = true;
}

int gate_engine_reports_save(struct gate_engine *e)
{
	int r = save_renames(e);

	if (!r)
		r = save_late(e);
	if (!r)
		r = save_all_refusals(e);
	return r ? r : prune(e);
}

static void forget_refusals(struct reports *p)
{
	struct gate_table_iter it = { 0 };
	struct gate_table_entry *at;

	while (p->npending && (at = gate_table_next(&p->tried, &it))) {
		struct tried *t = at->value;

		p->npending -= t->npending;
		t->place = (t->place + t->npending) % GATE_REPORT_REFUSALS;
		free(t->pending);
		t->pending = NULL;
		t->npending = t->size = 0;
	}
}

void gate_engine_reports_end_save(struct gate_engine *e, bool saved)
{
	struct reports *p = e->reports;
	unsigned done = renames_at_once(p);

	if (!p->saving)
		return;
	p->saving = false;
	if (!saved) {
		memcpy(p->base, p->before, e->m->conf->max_vms * sizeof(*p->base));
		return;
	}
	if (done) {
		p->nrenames -= done;
		memmove(p->renames, p->renames + done, p->nrenames * sizeof(*p->renames));
	}
	p->nlate = 0;
	forget_refusals(p);
	p->saved_hour = hour_of(engine_now_s());
}
