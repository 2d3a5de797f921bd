// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "buckets.h"

#define NS_PER_S  1000000000ULL
#define NS_PER_MS 1000000ULL

void gate_bucket_left(const struct gate_rate_spec *r, uint32_t burst, uint64_t tat, uint64_t now,
		      struct gate_bucket_left *out)
{
	uint64_t interval = r->per_s * NS_PER_S / r->count;
	uint64_t size = r->burst ? r->burst : burst ? burst : r->count;
	uint64_t full = size * interval;
	uint64_t spent = tat > now ? tat - now : 0;

	if (!interval) {
		*out = (struct gate_bucket_left){ .left_tenths = size * 10 };
		return;
	}
	if (spent > full)
		spent = full;
	out->left_tenths = (full - spent) * 10 / interval;
	/* a token fits while what is spent leaves an interval's room */
	out->next_ms =
		spent + interval > full ? (spent + interval - full + NS_PER_MS - 1) / NS_PER_MS : 0;
}

static void one(struct gate_buf *b, const char *kind, uint16_t port, const struct gate_rate_spec *r,
		uint32_t burst, uint64_t tat, uint64_t now)
{
	struct gate_bucket_left left;
	char text[32];

	gate_bucket_left(r, burst, tat, now, &left);
	gate_json_open(b, NULL, '{');
	gate_json_string(b, "kind", kind);
	if (port)
		gate_json_uint(b, "port", port);
	gate_json_string(b, "rate", gate_format_rate(r, text, sizeof(text)));
	gate_json_uint(b, "left", left.left_tenths / 10);
	gate_buf_printf(b, ".%u", (unsigned)(left.left_tenths % 10));
	gate_json_uint(b, "next_ms", left.next_ms);
	gate_json_close(b, '}');
}

static uint64_t load(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_RELAXED);
}

void gate_buckets_policy(struct gate_buf *b, const struct gate_effective *eff, uint16_t port,
			 const struct gate_bucket_set *set, uint64_t now)
{
	const struct gate_limits *l = &eff->limits;
	unsigned i;

	if (eff->state != GATE_LIMIT || eff->quarantined)
		return;
	for (i = 0; i < l->nrates; i++)
		one(b, "rate", port, &l->rates[i], l->burst, load((uint64_t *)&set->tat[i]), now);
	if (l->destinations.count)
		one(b, "destinations", port, &l->destinations, 0,
		    load((uint64_t *)&set->destinations_tat), now);
}

void gate_buckets_budget(struct gate_buf *b, struct gate_engine *e, const struct gate_maps *m,
			 uint32_t slot, uint64_t now)
{
	const struct gate_vm_spec *vm = gate_engine_vm(e, slot);
	struct gate_subject tenant = { .kind = GATE_S_TENANT };
	uint32_t n = m->vms[slot].budget;
	const struct gate_own *own;
	unsigned i;

	if (!vm || !vm->tenant[0] || !n || n >= m->nbudgets)
		return;
	strcpy(tenant.name, vm->tenant);
	own = gate_engine_own(e, &tenant);
	for (i = 0; own && i < own->nbudget; i++)
		one(b, "budget", 0, &own->budget[i], 0, load((uint64_t *)&m->budgets[n].tat[i]),
		    now);
}
