// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * What is left in the buckets that a new flow spends from, computed from the very
 * words that the program compares (bpf/limit.h).
 */
#include "why_priv.h"

#include <stdio.h>

#define NS_PER_MS 1000000ULL

struct purse {
	const char *kind;
	struct gate_subject owner; /* whose policy or budget */
	char rate[32];
	const struct gate_rate *r;
	uint64_t tat;
};

static uint64_t load(const __u64 *word)
{
	return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static const char *wait_text(uint64_t ms, char *buf, size_t size)
{
	char text[40];

	if (!ms)
		return "";
	if (ms < 1000)
		snprintf(buf, size, "; the next in %u ms", (unsigned)ms);
	else
		snprintf(buf, size, "; the next in %s",
			 gate_format_duration((int64_t)(ms + 999) / 1000, text, sizeof(text)));
	return buf;
}

static void write_purse(const struct why_case *w, struct gate_buf *b, const struct purse *p,
			uint64_t *next_ms)
{
	uint64_t now = w->t.now, spent = p->tat > now ? p->tat - now : 0;
	uint64_t full = p->r->tolerance_ns + p->r->interval_ns, tenths, ms = 0;
	char owner[GATE_SUBJECT_LEN + 4], wait[64];

	if (spent > full)
		spent = full;
	tenths = (full - spent) * 10 / p->r->interval_ns;
	if (spent > p->r->tolerance_ns)
		ms = (spent - p->r->tolerance_ns + NS_PER_MS - 1) / NS_PER_MS;
	if (*next_ms != UINT64_MAX && ms > *next_ms)
		*next_ms = ms;
	gate_format_subject(&p->owner, owner, sizeof(owner));
	why_step(b, "bucket", "%s %s of %s: %u.%u of %u left%s", p->kind, p->rate, owner,
		 (unsigned)(tenths / 10), (unsigned)(tenths % 10),
		 (unsigned)(full / p->r->interval_ns), wait_text(ms, wait, sizeof(wait)));
	gate_json_string(b, "kind", p->kind);
	gate_json_string(b, "rate", p->rate);
	gate_json_string(b, "subject", owner);
	gate_json_uint(b, "left", tenths / 10);
	gate_buf_printf(b, ".%u", (unsigned)(tenths % 10));
	gate_json_uint(b, "burst", full / p->r->interval_ns);
	gate_json_uint(b, "next_ms", ms);
	gate_json_close(b, '}');
}

/* A rate as staff wrote it, or as the node has it. */
static void rate_text(const struct gate_rate_spec *spec, const struct gate_rate *r, char *buf,
		      size_t size)
{
	struct gate_rate_spec plain = { 0 };

	if (spec) {
		plain.count = spec->count;
		plain.per_s = spec->per_s;
		gate_format_rate(&plain, buf, size);
	} else {
		snprintf(buf, size, "1 each %.3g s", (double)r->interval_ns / 1e9);
	}
}

static void write_concurrent(const struct why_case *w, struct gate_buf *b,
			     const struct gate_subject *owner, uint32_t most, bool tight,
			     uint64_t *next_ms)
{
	const struct gate_bucket_set *sets = w->m->buckets;
	int32_t own = (int32_t)sets[gate_bucket_index(w->m, w->slot, w->t.own_bucket)].active;
	int32_t stranger = (int32_t)sets[gate_bucket_index(w->m, w->slot, w->m->scopes)].active;
	int32_t open = (tight || own < 0 ? 0 : own) + (stranger < 0 ? 0 : stranger);
	char text[GATE_SUBJECT_LEN + 4];
	bool full = (uint32_t)open >= most;

	if (!most)
		return;
	if (full)
		*next_ms = UINT64_MAX;
	gate_format_subject(owner, text, sizeof(text));
	why_step(b, "bucket", "concurrent flows of %s: %d of %u open%s", text, open, most,
		 full ? "; one of them must end first" : "");
	gate_json_string(b, "kind", "concurrent");
	gate_json_string(b, "subject", text);
	gate_json_uint(b, "open", (uint64_t)open);
	gate_json_uint(b, "most", most);
	gate_json_close(b, '}');
}

/* The rates, destinations and concurrency of one limit. */
static void write_limit(const struct why_case *w, struct gate_buf *b, uint32_t handle,
			uint32_t index, bool tight, uint64_t *next_ms)
{
	const struct gate_node *node = &w->m->nodes[index];
	const struct gate_bucket_set *set = &w->m->buckets[gate_bucket_index(
		w->m, w->slot, tight ? w->m->scopes : w->t.own_bucket)];
	struct gate_effective eff = { 0 };
	struct purse p = { .kind = "rate" };
	struct why_link link;
	bool known;

	if (!index || index >= w->m->nnodes || node->state != GATE_LIMIT ||
	    !why_link_at(w, handle, index, &link))
		return;
	p.owner = link.subject;
	known = !gate_engine_effective(w->engine, &link.subject, w->dport, &eff, NULL) &&
		eff.limits.nrates == node->nrates;
	for (unsigned i = 0; i < node->nrates && i < GATE_MAX_RATES; i++) {
		p.r = &node->rates[i];
		p.tat = load(&set->tat[i]);
		rate_text(known ? &eff.limits.rates[i] : NULL, p.r, p.rate, sizeof(p.rate));
		if (p.r->interval_ns)
			write_purse(w, b, &p, next_ms);
	}
	write_concurrent(w, b, &link.subject, node->concurrent, tight, next_ms);
	if (!node->destinations.interval_ns)
		return;
	p.kind = "destinations";
	p.r = &node->destinations;
	p.tat = load(&set->destinations_tat);
	rate_text(known && eff.limits.destinations.count ? &eff.limits.destinations : NULL, p.r,
		  p.rate, sizeof(p.rate));
	/* only a new destination waits for it, so it is no part of next_ms */
	write_purse(w, b, &p,
		    w->t.reason == GATE_R_LIMIT_DESTINATIONS ? next_ms : &(uint64_t){ 0 });
}

static void write_budget(const struct why_case *w, struct gate_buf *b, uint32_t index,
			 const struct gate_subject *owner, uint64_t *next_ms)
{
	const struct gate_budget *budget = &w->m->budgets[index];
	const struct gate_own *own = gate_engine_own(w->engine, owner);
	struct purse p = { .kind = "budget", .owner = *owner };

	for (unsigned i = 0; i < budget->nrates && i < GATE_MAX_RATES; i++) {
		p.r = &budget->rates[i];
		p.tat = load(&budget->tat[i]);
		rate_text(own && i < own->nbudget ? &own->budget[i] : NULL, p.r, p.rate,
			  sizeof(p.rate));
		if (p.r->interval_ns)
			write_purse(w, b, &p, next_ms);
	}
}

void why_write_buckets(const struct why_case *w, struct gate_buf *b, uint64_t *next_ms)
{
	const struct gate_vm *vm = &w->m->vms[w->slot];
	struct gate_subject owner;
	struct gate_address a;

	write_limit(w, b, w->t.own, w->t.own_node, false, next_ms);
	write_limit(w, b, w->t.tight, w->t.tight_node, true, next_ms);
	if (vm->budget && vm->budget < w->m->nbudgets && vm->tenant &&
	    !gate_engine_base_subject(w->engine, gate_base_tenant(w->m, vm->tenant), &owner))
		write_budget(w, b, vm->budget, &owner, next_ms);
	if (why_source_entry(w, &a) && a.budget && a.budget < w->m->nbudgets &&
	    gate_engine_prefix_budget(w->engine, &w->src, &owner))
		write_budget(w, b, a.budget, &owner, next_ms);
}
