// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "show.h"
#include "buckets.h"

#include <stdlib.h>
#include <time.h>

static void collect_port(void *arg, const struct gate_port_info *p)
{
	struct gate_show *s = arg;
	struct gate_port_info *more;

	if (s->nports == s->ports_size) {
		s->ports_size = s->ports_size ? s->ports_size * 2 : 64;
		more = realloc(s->ports, s->ports_size * sizeof(*more));
		if (!more) {
			s->ports_size = s->nports;
			s->failed = true;
			return;
		}
		s->ports = more;
	}
	s->ports[s->nports++] = *p;
}

static int by_slot(const void *a, const void *b)
{
	const struct gate_port_info *pa = a, *pb = b;

	if (pa->slot != pb->slot)
		return pa->slot < pb->slot ? -1 : 1;
	return strcmp(pa->name, pb->name);
}

void gate_show_begin(struct gate_show *s, struct gate_engine *e, const struct gate_maps *m)
{
	*s = (struct gate_show){ .engine = e, .maps = m };
	gate_engine_ports(e, collect_port, s);
	if (s->nports)
		qsort(s->ports, s->nports, sizeof(*s->ports), by_slot);
}

void gate_show_end(struct gate_show *s)
{
	free(s->ports);
	s->ports = NULL;
	s->nports = s->ports_size = 0;
}

/* First port of a slot or of a later one. */
static unsigned first_port(const struct gate_show *s, uint32_t slot)
{
	unsigned low = 0, high = s->nports;

	while (low < high) {
		unsigned middle = low + (high - low) / 2;

		if (s->ports[middle].slot < slot)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void write_port(struct gate_buf *b, const char *name, const struct gate_port_info *p)
{
	bool there = p && p->ifindex;

	gate_json_open(b, NULL, '{');
	gate_json_string(b, "name", name);
	if (there)
		gate_json_uint(b, "ifindex", p->ifindex);
	else
		gate_json_null(b, "ifindex");
	gate_json_string(b, "hook", there ? p->hook : "none");
	gate_json_bool(b, "from_vm", there && p->from_vm);
	gate_json_bool(b, "to_vm", there && p->to_vm);
	gate_json_close(b, '}');
}

static const struct gate_port_info *find_port(const struct gate_show *s, uint32_t slot,
					      const char *name)
{
	unsigned i;

	for (i = first_port(s, slot); i < s->nports && s->ports[i].slot == slot; i++)
		if (!s->ports[i].uplink && !strcmp(s->ports[i].name, name))
			return &s->ports[i];
	return NULL;
}

static bool vm_names_port(const struct gate_vm_spec *vm, const char *name)
{
	unsigned i;

	for (i = 0; i < vm->nports; i++)
		if (!strcmp(vm->ports[i], name))
			return true;
	return false;
}

/* Those it is registered with, there or not, then others that lead to it. */
static void write_ports(const struct gate_show *s, struct gate_buf *b, uint32_t slot,
			const struct gate_vm_spec *vm)
{
	unsigned i;

	gate_json_open(b, "ports", '[');
	for (i = 0; i < vm->nports; i++)
		write_port(b, vm->ports[i], find_port(s, slot, vm->ports[i]));
	for (i = first_port(s, slot); i < s->nports && s->ports[i].slot == slot; i++)
		if (!s->ports[i].uplink && !vm_names_port(vm, s->ports[i].name))
			write_port(b, s->ports[i].name, &s->ports[i]);
	gate_json_close(b, ']');
}

static bool rates_equal(const struct gate_rate_spec *a, const struct gate_rate_spec *b)
{
	return a->count == b->count && a->per_s == b->per_s && a->burst == b->burst;
}

static bool limits_equal(const struct gate_limits *a, const struct gate_limits *b)
{
	unsigned i;

	if (a->nrates != b->nrates || a->burst != b->burst || a->concurrent != b->concurrent ||
	    !rates_equal(&a->destinations, &b->destinations))
		return false;
	for (i = 0; i < a->nrates; i++)
		if (!rates_equal(&a->rates[i], &b->rates[i]))
			return false;
	return true;
}

static bool effective_equal(const struct gate_effective *a, const struct gate_effective *b)
{
	return a->state == b->state && a->quarantined == b->quarantined &&
	       a->observed == b->observed && a->enforce == b->enforce && a->refuse == b->refuse &&
	       a->drain == b->drain && a->expires == b->expires && !strcmp(a->source, b->source) &&
	       limits_equal(&a->limits, &b->limits);
}

/* What is in force in general, then per port where that differs. */
struct in_force {
	struct gate_effective general, port[GATE_MAX_PORTS];
	bool differs[GATE_MAX_PORTS];
};

static int read_in_force(const struct gate_show *s, const struct gate_subject *who,
			 struct in_force *f, struct gate_error *err)
{
	const struct gate_conf *conf = s->maps->conf;
	unsigned p;
	int r;

	memset(f->differs, 0, sizeof(f->differs));
	r = gate_engine_effective(s->engine, who, 0, &f->general, err);
	if (r)
		return r;
	for (p = 0; conf->nports > 1 && p < conf->nports; p++) {
		r = gate_engine_effective(s->engine, who, conf->ports[p], &f->port[p], err);
		if (r)
			return r;
		f->differs[p] = !effective_equal(&f->general, &f->port[p]);
	}
	return 0;
}

static void write_in_force(const struct gate_show *s, struct gate_buf *b, const struct in_force *f)
{
	unsigned p;

	gate_json_effective(b, "effective", 0, &f->general);
	gate_json_open(b, "effective_by_port", '[');
	for (p = 0; p < GATE_MAX_PORTS; p++)
		if (f->differs[p])
			gate_json_effective(b, NULL, s->maps->conf->ports[p], &f->port[p]);
	gate_json_close(b, ']');
}

static void write_own(const struct gate_show *s, struct gate_buf *b, const struct gate_subject *who)
{
	gate_json_open(b, "own", '{');
	gate_json_own(b, gate_engine_own(s->engine, who), s->maps->conf->ports);
	gate_json_close(b, '}');
}

static uint64_t monotonic_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

/*
 * The program spends from the set of the scope whose policy decides, so a port
 * has buckets of its own exactly where its policy differs from the general one.
 */
static void write_buckets(const struct gate_show *s, struct gate_buf *b, uint32_t slot,
			  const struct in_force *f)
{
	const struct gate_maps *m = s->maps;
	uint64_t now = monotonic_ns();
	unsigned p;

	gate_json_open(b, "buckets", '[');
	gate_buckets_policy(b, &f->general, 0, &m->buckets[gate_bucket_index(m, slot, 0)], now);
	for (p = 0; p < GATE_MAX_PORTS; p++)
		if (f->differs[p])
			gate_buckets_policy(b, &f->port[p], m->conf->ports[p],
					    &m->buckets[gate_bucket_index(m, slot, 1 + p)], now);
	gate_buckets_budget(b, s->engine, m, slot, now);
	gate_json_close(b, ']');
}

static void write_learned(const struct gate_show *s, struct gate_buf *b, uint32_t slot)
{
	struct gate_learned l;
	char text[64];
	unsigned i;

	gate_engine_learned(s->engine, slot, &l);
	gate_json_open(b, "learned", '{');
	gate_json_open(b, "macs", '[');
	for (i = 0; i < l.nmacs; i++)
		gate_json_string(b, NULL, gate_format_mac(l.macs[i], text, sizeof(text)));
	gate_json_close(b, ']');
	gate_json_open(b, "ips", '[');
	for (i = 0; i < l.nips; i++)
		gate_json_string(b, NULL, gate_format_prefix(&l.ips[i], text, sizeof(text)));
	gate_json_close(b, ']');
	gate_json_close(b, '}');
}

void gate_show_vm(const struct gate_show *s, struct gate_buf *b, uint32_t slot)
{
	const struct gate_vm_spec *vm = gate_engine_vm(s->engine, slot);
	struct gate_counters counters = { 0 };
	char text[GATE_SUBJECT_LEN + 4];
	struct gate_subject who;
	struct in_force f = { 0 };
	uint32_t active = 0;

	gate_engine_slot_subject(s->engine, slot, &who);
	gate_engine_counters(s->engine, slot, &counters, &active);
	gate_json_version(b);
	gate_json_string(b, "subject", gate_format_subject(&who, text, sizeof(text)));
	gate_json_bool(b, "registered", vm->registered);
	gate_json_string(b, "tenant", gate_json_or_null(vm->tenant));
	write_ports(s, b, slot, vm);
	gate_json_vm(b, vm);
	write_learned(s, b, slot);
	if (!read_in_force(s, &who, &f, NULL))
		write_in_force(s, b, &f);
	write_own(s, b, &who);
	if (counters.last_reply)
		gate_json_uint(b, "last_reply", counters.last_reply);
	else
		gate_json_null(b, "last_reply");
	write_buckets(s, b, slot, &f);
	gate_json_counters(b, "counters", &counters, active);
}

void gate_show_brief(const struct gate_show *s, struct gate_buf *b, uint32_t slot)
{
	const struct gate_vm_spec *vm = gate_engine_vm(s->engine, slot);
	struct gate_counters c = { 0 };
	char text[GATE_SUBJECT_LEN + 4];
	struct gate_effective eff = { 0 };
	struct gate_subject who;
	uint32_t active = 0;

	gate_engine_slot_subject(s->engine, slot, &who);
	gate_engine_counters(s->engine, slot, &c, &active);
	gate_engine_effective(s->engine, &who, 0, &eff, NULL);
	gate_json_string(b, "subject", gate_format_subject(&who, text, sizeof(text)));
	gate_json_bool(b, "registered", vm->registered);
	gate_json_string(b, "tenant", gate_json_or_null(vm->tenant));
	gate_json_string(b, "state", eff.quarantined ? "quarantine" : gate_state_name(eff.state));
	gate_json_bool(b, "enforce", eff.enforce);
	gate_json_open(b, "counters", '{');
#define X(name)                                                                                    \
	if (c.name)                                                                                \
		gate_json_uint(b, #name, c.name);
	GATE_COUNTERS(X)
#undef X
	if (active)
		gate_json_uint(b, "flows_active", active);
	gate_json_close(b, '}');
}

static void write_tenant_vms(const struct gate_show *s, struct gate_buf *b, const char *tenant)
{
	const struct gate_vm_spec *vm;
	uint32_t slot;

	gate_json_open(b, "vms", '[');
	for (slot = 1; slot < s->maps->conf->max_vms; slot++) {
		vm = gate_engine_vm(s->engine, slot);
		if (vm && !strcmp(vm->tenant, tenant))
			gate_json_string(b, NULL, vm->name);
	}
	gate_json_close(b, ']');
}

int gate_show_subject(const struct gate_show *s, struct gate_buf *b, const struct gate_subject *who,
		      struct gate_error *err)
{
	char text[GATE_SUBJECT_LEN + 4];
	struct in_force f;
	int slot, r;

	if (who->kind == GATE_S_VM || who->kind == GATE_S_PORT) {
		slot = gate_engine_slot(s->engine, who);
		if (slot < 0)
			return gate_error_set(err, GATE_ERR_NO_SUBJECT, "there is no %s",
					      gate_format_subject(who, text, sizeof(text)));
		gate_show_vm(s, b, (uint32_t)slot);
		return 0;
	}
	r = read_in_force(s, who, &f, err);
	if (r)
		return r;
	gate_json_version(b);
	gate_json_string(b, "subject", gate_format_subject(who, text, sizeof(text)));
	write_in_force(s, b, &f);
	write_own(s, b, who);
	if (who->kind == GATE_S_TENANT)
		write_tenant_vms(s, b, who->name);
	return 0;
}
