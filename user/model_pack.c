// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * A record in as little memory as it takes: most subjects have one policy with a
 * short reason, and there may be a hundred thousand of them.
 */
#include "mem.h"
#include "model.h"

#include <stdio.h>

struct gate_packed {
	int64_t due;	/* gate_own_due() */
	uint8_t scopes; /* bit i: scope i is there */
	bool quarantine, observe;
	uint8_t nbudget;
	unsigned nexempt;
	unsigned char bytes[]; /* what there is, one after the other */
};

/* Writes, or only counts while `at` is NULL. */
struct writer {
	unsigned char *at;
	size_t len;
};

static void put(struct writer *w, const void *data, size_t len)
{
	if (w->at && len)
		memcpy(w->at + w->len, data, len);
	w->len += len;
}

static const unsigned char *get(const unsigned char *from, void *to, size_t len)
{
	if (len)
		memcpy(to, from, len);
	return from + len;
}

static void put_text(struct writer *w, const char *text, size_t size)
{
	size_t len = strnlen(text, size - 1);

	put(w, text, len);
	put(w, "", 1);
}

static const unsigned char *get_text(const unsigned char *from, char *to)
{
	size_t len = strlen((const char *)from) + 1;

	return get(from, to, len);
}

static void put_policy(struct writer *w, const struct gate_policy_spec *p)
{
	const struct gate_limits *l = &p->limits;
	const uint8_t few[4] = { (uint8_t)p->state, (uint8_t)p->refuse, p->drain,
				 (uint8_t)l->nrates };

	put(w, few, sizeof(few));
	put(w, l->rates, l->nrates * sizeof(l->rates[0]));
	put(w, &l->burst, sizeof(l->burst));
	put(w, &l->concurrent, sizeof(l->concurrent));
	put(w, &l->destinations, sizeof(l->destinations));
	put(w, &p->expires, sizeof(p->expires));
	put(w, &p->since, sizeof(p->since));
	put_text(w, p->reason, sizeof(p->reason));
	put_text(w, p->by, sizeof(p->by));
}

static const unsigned char *get_policy(const unsigned char *at, struct gate_policy_spec *p)
{
	struct gate_limits *l = &p->limits;
	uint8_t few[4];

	at = get(at, few, sizeof(few));
	p->state = (enum gate_state)few[0];
	p->refuse = (int8_t)few[1];
	p->drain = few[2];
	l->nrates = few[3];
	at = get(at, l->rates, l->nrates * sizeof(l->rates[0]));
	at = get(at, &l->burst, sizeof(l->burst));
	at = get(at, &l->concurrent, sizeof(l->concurrent));
	at = get(at, &l->destinations, sizeof(l->destinations));
	at = get(at, &p->expires, sizeof(p->expires));
	at = get(at, &p->since, sizeof(p->since));
	at = get_text(at, p->reason);
	return get_text(at, p->by);
}

static void put_all(struct writer *w, const struct gate_own *own)
{
	const struct gate_quarantine *q = &own->quarantine;

	put(w, own->exempt, own->nexempt * sizeof(*own->exempt));
	put(w, own->budget, own->nbudget * sizeof(own->budget[0]));
	for (unsigned i = 0; i < GATE_MAX_SCOPES; i++)
		if (own->scope[i].state != GATE_INHERIT)
			put_policy(w, &own->scope[i]);
	if (!q->on)
		return;
	put(w, &q->until, sizeof(q->until));
	put(w, &q->since, sizeof(q->since));
	put_text(w, q->reason, sizeof(q->reason));
	put_text(w, q->by, sizeof(q->by));
}

struct gate_packed *gate_own_pack(const struct gate_own *own)
{
	struct writer count = { 0 }, w = { 0 };
	struct gate_packed *p;

	put_all(&count, own);
	p = gate_alloc(1, sizeof(*p) + count.len);
	w.at = p->bytes;
	put_all(&w, own);
	for (unsigned i = 0; i < GATE_MAX_SCOPES; i++)
		p->scopes |= (uint8_t)((own->scope[i].state != GATE_INHERIT) << i);
	p->quarantine = own->quarantine.on;
	p->observe = own->observe;
	p->nbudget = (uint8_t)own->nbudget;
	p->nexempt = own->nexempt;
	p->due = gate_own_due(own);
	return p;
}

int64_t gate_packed_due(const struct gate_packed *p)
{
	return p ? p->due : 0;
}

bool gate_packed_is_empty(const struct gate_packed *p)
{
	return !p || (!p->scopes && !p->quarantine && !p->observe && !p->nbudget && !p->nexempt);
}

void gate_own_unpack(const struct gate_packed *p, const struct gate_subject *s,
		     struct gate_own *own)
{
	struct gate_quarantine *q = &own->quarantine;
	const unsigned char *at;

	gate_own_init(own, s);
	if (!p)
		return;
	at = p->bytes;
	own->observe = p->observe;
	own->nexempt = p->nexempt;
	own->exempt = p->nexempt ? (struct gate_prefix *)p->bytes : NULL;
	at += p->nexempt * sizeof(*own->exempt);
	own->nbudget = p->nbudget;
	at = get(at, own->budget, p->nbudget * sizeof(own->budget[0]));
	for (unsigned i = 0; i < GATE_MAX_SCOPES; i++)
		if (p->scopes >> i & 1)
			at = get_policy(at, &own->scope[i]);
	q->on = p->quarantine;
	if (!q->on)
		return;
	at = get(at, &q->until, sizeof(q->until));
	at = get(at, &q->since, sizeof(q->since));
	at = get_text(at, q->reason);
	get_text(at, q->by);
}

_Static_assert(_Alignof(struct gate_prefix) == 1, "prefixes lie among bytes");
