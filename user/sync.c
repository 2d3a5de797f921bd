// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "sync_priv.h"

#include "quiesce.h"

#include <errno.h>

#define REST_NS GATE_NSEC_PER_SEC /* before a node or budget is used again */
/* 2200-01-01; ns since 1970 fit into 63 bits until 2262, and a clock that is set needs room */
#define LAST_DEADLINE_S 7258118400LL

void gate_sync_clock(struct gate_sync *s)
{
	s->unix_minus_mono_ns = gate_clock_unix_ns() - (int64_t)gate_clock_mono_ns();
}

void gate_sync_conf_flag(struct gate_sync *s, uint64_t flag, bool on)
{
	uint64_t flags = s->m->conf->flags;

	sync_store((uint64_t *)&s->m->conf->flags, on ? flags | flag : flags & ~flag);
}

void gate_sync_configure(struct gate_sync *s, const struct gate_config *c)
{
	s->c = c;
	gate_sync_conf_flag(s, GATE_CONF_ENFORCE, c->enforce);
	gate_sync_conf_flag(s, GATE_CONF_BACKSTOP, c->backstop);
	gate_sync_conf_flag(s, GATE_CONF_FORWARD_DROP, c->forward_drop);
}

void gate_sync_revision(struct gate_sync *s)
{
	__atomic_fetch_add(&s->m->conf->revision, 1, __ATOMIC_RELEASE);
}

/* Equal nodes become one, and what is no node at all is damaged. */
static void adopt_heads(struct gate_sync *s)
{
	for (uint32_t i = 0; i < s->m->nheads; i++) {
		const uint64_t head = s->m->heads[i];
		const uint32_t node = gate_nodes_adopt(&s->nodes, head);

		if (node != head)
			sync_store(&s->m->heads[i], node);
	}
}

int gate_sync_open(struct gate_sync **out, struct gate_maps *m, const struct gate_config *c,
		   struct gate_error *err)
{
	struct gate_sync *s = gate_alloc(1, sizeof(*s));
	int r;

	s->m = m;
	s->c = c;
	gate_sync_clock(s);
	gate_sync_shadow_forget(m);
	gate_nodes_open(&s->nodes, m, REST_NS);
	gate_pool_init(&s->budgets, 1, m->nbudgets, REST_NS);
	adopt_heads(s);
	r = gate_sync_tables_open(s);
	if (r) {
		gate_sync_close(s);
		return gate_error_set(err, GATE_ERR_FAILED, "cannot read the maps: %s",
				      strerror(-r));
	}
	gate_sync_adopt_addresses(s);
	*out = s;
	return 0;
}

void gate_sync_close(struct gate_sync *s)
{
	if (!s)
		return;
	gate_sync_addresses_close(s);
	gate_sync_tables_close(s);
	gate_nodes_close(&s->nodes);
	gate_pool_clear(&s->budgets);
	free(s);
}

/* ---- nodes ---- */

/*
 * A policy set may say "until the year 9999", which 64 bits of ns do not hold: it is cut,
 * or it would have ended long ago.
 */
static uint64_t mono_of(const struct gate_sync *s, int64_t unix_s)
{
	int64_t at = unix_s < LAST_DEADLINE_S ? unix_s : LAST_DEADLINE_S;
	int64_t ns = at * (int64_t)GATE_NSEC_PER_SEC - s->unix_minus_mono_ns;

	return ns > 0 ? (uint64_t)ns : 1;
}

static struct gate_rate compile_rate(const struct gate_rate_spec *r, uint32_t burst)
{
	struct gate_rate out = { 0 };

	if (!r->count)
		return out;
	if (r->burst)
		burst = r->burst;
	else if (!burst)
		burst = r->count;
	out.interval_ns = (uint64_t)r->per_s * GATE_NSEC_PER_SEC / r->count;
	/* A burst beyond 584 years of tokens is no limit; keep the product in range. */
	if (burst > UINT32_MAX / 4)
		burst = UINT32_MAX / 4;
	out.tolerance_ns = (burst - 1) * out.interval_ns;
	return out;
}

static void compile_limits(const struct gate_sync *s, const struct gate_limits *own,
			   struct gate_node *out)
{
	struct gate_limits l = *own;

	gate_limits_complete(&l, &s->c->policy.limits);
	out->nrates = (uint8_t)l.nrates;
	for (unsigned i = 0; i < l.nrates; i++)
		out->rates[i] = compile_rate(&l.rates[i], l.burst);
	out->concurrent = l.concurrent;
	out->destinations = compile_rate(&l.destinations, 0);
}

static void compile_policy(const struct gate_sync *s, const struct gate_policy_spec *p,
			   struct gate_node *out)
{
	out->state = (uint8_t)p->state;
	out->refuse = (uint8_t)(p->refuse == GATE_REFUSE_UNSET ? s->c->refuse[p->state]
							       : (enum gate_refuse)p->refuse);
	if (p->drain)
		out->flags |= GATE_NODE_DRAIN;
	if (p->expires)
		out->expires = mono_of(s, p->expires);
	if (p->state == GATE_LIMIT)
		compile_limits(s, &p->limits, out);
}

/*
 * With one gated port there is one handle; a policy for that very port is the
 * subject's policy then.
 */
static const struct gate_policy_spec *policy_of(const struct gate_sync *s,
						const struct gate_own *own, unsigned scope)
{
	if (!own)
		return NULL;
	if (s->m->scopes == 1 && own->scope[1].state != GATE_INHERIT)
		return &own->scope[1];
	return own->scope[scope].state != GATE_INHERIT ? &own->scope[scope] : NULL;
}

void gate_sync_compile(const struct gate_sync *s, const struct gate_own *own, unsigned scope,
		       bool is_default, struct gate_node *out)
{
	const struct gate_policy_spec *p = policy_of(s, own, scope);

	memset(out, 0, sizeof(*out));
	if (!p && is_default && !scope)
		p = &s->c->policy;
	if (p)
		compile_policy(s, p, out);
	if (!own || scope)
		return;
	if (own->observe)
		out->flags |= GATE_NODE_OBSERVE;
	if (own->quarantine.on) {
		out->quarantine_until =
			own->quarantine.until ? mono_of(s, own->quarantine.until) : GATE_FOREVER;
		out->quarantine_refuse = s->c->refuse_quarantine;
	}
}

uint32_t gate_sync_take(struct gate_pool *p)
{
	uint32_t id = gate_pool_take(p, gate_clock_mono_ns());

	if (id != UINT32_MAX || !gate_pool_left(p))
		return id;
	gate_quiesce();
	gate_pool_hurry(p);
	return gate_pool_take(p, gate_clock_mono_ns());
}

/*
 * There is one for each head, and a few more. What a shadow policy has of them it gives back
 * when they run out: it decides nothing.
 */
static uint32_t take_node(struct gate_sync *s, const struct gate_node *node)
{
	uint32_t i = gate_nodes_take(&s->nodes, node);

	if (i != UINT32_MAX)
		return i;
	gate_sync_shadow_on(s, false);
	return gate_nodes_take(&s->nodes, node);
}

static void put_head(struct gate_sync *s, uint32_t handle, const struct gate_node *node)
{
	static const struct gate_node nothing;
	uint64_t *head = &s->m->heads[handle];
	uint32_t old = (uint32_t)*head, i = 0;

	if (memcmp(node, old ? &s->m->nodes[old] : &nothing, sizeof(*node)) == 0)
		return;
	if (memcmp(node, &nothing, sizeof(*node)) != 0)
		i = take_node(s, node);
	sync_store(head, i);
	if (old)
		gate_nodes_give(&s->nodes, old);
}

/*
 * Handle 0 stands beneath everything: what the configuration says, for when a
 * default that staff set for a time has run out and no daemon is there to see it.
 */
static void sync_bottom(struct gate_sync *s)
{
	struct gate_node node;

	gate_sync_compile(s, NULL, 0, true, &node);
	put_head(s, 0, &node);
}

void gate_sync_own(struct gate_sync *s, uint32_t base, const struct gate_own *own)
{
	if (base == gate_base_default())
		sync_bottom(s);
	for (unsigned scope = 0; scope < s->m->scopes; scope++) {
		struct gate_node node;

		gate_sync_compile(s, own, scope, base == gate_base_default(), &node);
		put_head(s, base * s->m->scopes + scope, &node);
	}
}

/* ---- back from a node ---- */

static struct gate_rate_spec decompile_rate(const struct gate_rate *r)
{
	static const uint32_t per[] = { 1, 60, 3600, 86400 };
	struct gate_rate_spec out = { 0 };

	if (!r->interval_ns)
		return out;
	for (unsigned i = 0; i < 4; i++) {
		uint64_t span = per[i] * GATE_NSEC_PER_SEC;
		uint64_t count = (span + r->interval_ns / 2) / r->interval_ns;

		out.per_s = per[i];
		out.count = count ? (uint32_t)count : 1;
		if (count && span / count == r->interval_ns)
			break;
	}
	out.burst = (uint32_t)(r->tolerance_ns / r->interval_ns) + 1;
	return out;
}

static int64_t unix_of(const struct gate_sync *s, uint64_t mono_ns)
{
	int64_t ns = (int64_t)mono_ns + s->unix_minus_mono_ns;

	return (ns + (int64_t)GATE_NSEC_PER_SEC / 2) / (int64_t)GATE_NSEC_PER_SEC;
}

static void decompile_scope(const struct gate_sync *s, const struct gate_node *n,
			    struct gate_policy_spec *p)
{
	p->state = n->state;
	p->refuse = n->refuse;
	p->drain = n->flags & GATE_NODE_DRAIN;
	p->expires = n->expires ? unix_of(s, n->expires) : 0;
	strcpy(p->reason, "recovered from the kernel");
	p->limits.nrates = n->nrates;
	for (unsigned i = 0; i < n->nrates && i < GATE_MAX_RATES; i++)
		p->limits.rates[i] = decompile_rate(&n->rates[i]);
	p->limits.concurrent = n->concurrent;
	p->limits.destinations = decompile_rate(&n->destinations);
}

bool gate_sync_decompile(const struct gate_sync *s, uint32_t base, struct gate_own *own)
{
	bool any = false;

	for (unsigned scope = 0; scope < s->m->scopes; scope++) {
		uint64_t head = s->m->heads[base * s->m->scopes + scope];
		const struct gate_node *n = &s->m->nodes[head];

		if (!head)
			continue;
		any = true;
		if (n->state != GATE_INHERIT)
			decompile_scope(s, n, &own->scope[scope]);
		own->observe |= n->flags & GATE_NODE_OBSERVE;
		if (!n->quarantine_until)
			continue;
		own->quarantine.on = true;
		if (n->quarantine_until != GATE_FOREVER)
			own->quarantine.until = unix_of(s, n->quarantine_until);
		strcpy(own->quarantine.reason, "recovered from the kernel");
	}
	return any;
}

/* ---- budgets ---- */

uint32_t gate_sync_budget_take(struct gate_sync *s, uint32_t wanted)
{
	uint32_t budget;

	if (wanted && gate_pool_claim(&s->budgets, wanted))
		return wanted;
	budget = gate_sync_take(&s->budgets);
	if (budget == UINT32_MAX)
		return 0;
	memset(&s->m->budgets[budget], 0, sizeof(s->m->budgets[budget]));
	return budget;
}

void gate_sync_budget(struct gate_sync *s, uint32_t budget, const struct gate_rate_spec *rates,
		      unsigned n)
{
	struct gate_budget *b = &s->m->budgets[budget];

	/* Fewer rates first, more of them last: a program never reads one that is not there. */
	if (n < b->nrates)
		__atomic_store_n(&b->nrates, n, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < n; i++) {
		struct gate_rate r = compile_rate(&rates[i], 0);

		if (memcmp(&b->rates[i], &r, sizeof(r)) != 0)
			b->rates[i] = r;
	}
	__atomic_store_n(&b->nrates, n, __ATOMIC_RELEASE);
}

unsigned gate_sync_budget_decompile(const struct gate_sync *s, uint32_t budget,
				    struct gate_rate_spec rates[GATE_MAX_RATES])
{
	const struct gate_budget *b = &s->m->budgets[budget];
	unsigned n = b->nrates < GATE_MAX_RATES ? b->nrates : GATE_MAX_RATES;

	for (unsigned i = 0; i < n; i++)
		rates[i] = decompile_rate(&b->rates[i]);
	return n;
}

uint32_t gate_sync_budgets_left(const struct gate_sync *s)
{
	return gate_pool_left(&s->budgets);
}

void gate_sync_budget_forget(struct gate_sync *s)
{
	gate_pool_clear(&s->budgets);
	gate_pool_init(&s->budgets, 1, s->m->nbudgets, REST_NS);
}

void gate_sync_budget_give(struct gate_sync *s, uint32_t budget)
{
	__atomic_store_n(&s->m->budgets[budget].nrates, 0, __ATOMIC_RELEASE);
	gate_pool_give(&s->budgets, budget, gate_clock_mono_ns());
}
