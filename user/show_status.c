// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* GET /v1/status: the host at one glance. */
#include "show.h"
#include "usage.h"

#include <sys/utsname.h>
#include <unistd.h>

static void write_port(const struct gate_show *s, struct gate_buf *b,
		       const struct gate_port_info *p)
{
	char text[GATE_SUBJECT_LEN + 4];
	struct gate_subject who;
	bool attached = p->hook && strcmp(p->hook, "none") != 0;

	gate_json_open(b, NULL, '{');
	gate_json_string(b, "name", p->name);
	gate_json_uint(b, "ifindex", p->ifindex);
	gate_json_string(b, "hook", attached ? p->hook : "none");
	gate_json_string(b, "role", p->uplink ? "uplink" : "vm");
	if (!p->uplink && p->slot && gate_engine_vm(s->engine, p->slot)) {
		gate_engine_slot_subject(s->engine, p->slot, &who);
		gate_json_string(b, "vm", gate_format_subject(&who, text, sizeof(text)));
	} else {
		gate_json_null(b, "vm");
	}
	gate_json_bool(b, "from_vm", p->from_vm);
	gate_json_bool(b, "to_vm", p->to_vm);
	gate_json_bool(b, "uplink_out", p->uplink && attached);
	gate_json_close(b, '}');
}

static void write_ports(const struct gate_show *s, struct gate_buf *b)
{
	unsigned i;

	gate_json_open(b, "ports", '[');
	for (i = 0; i < s->nports; i++)
		if (s->ports[i].ifindex)
			write_port(s, b, &s->ports[i]);
	gate_json_close(b, ']');
}

/* Reasons that never occurred are left out: there are thirty of them. */
static void write_reasons(struct gate_buf *b, const char *key, const uint64_t *sums)
{
	unsigned i;

	gate_json_open(b, key, '{');
	for (i = 0; i < GATE_R_MAX; i++)
		if (sums[i])
			gate_json_uint(b, gate_reason_name((enum gate_reason)i), sums[i]);
	gate_json_close(b, '}');
}

static void write_maps(const struct gate_show *s, struct gate_buf *b)
{
	struct gate_usage usage[GATE_USAGE_MAPS];
	size_t n = gate_usage_read(s->maps, usage), i;

	gate_json_open(b, "maps", '[');
	for (i = 0; i < n; i++) {
		gate_json_open(b, NULL, '{');
		gate_json_string(b, "name", usage[i].map);
		gate_json_uint(b, "entries", usage[i].entries);
		gate_json_uint(b, "capacity", usage[i].capacity);
		gate_json_close(b, '}');
	}
	gate_json_close(b, ']');
}

static void write_problem(void *arg, const struct gate_problem *p)
{
	struct gate_buf *b = arg;

	gate_json_open(b, NULL, '{');
	gate_json_string(b, "code", p->code);
	gate_json_string(b, "message", p->message);
	gate_json_close(b, '}');
}

static unsigned count_vms(const struct gate_show *s)
{
	unsigned n = 0;
	uint32_t slot;

	for (slot = 1; slot < s->maps->conf->max_vms; slot++)
		n += gate_engine_vm(s->engine, slot) != NULL;
	return n;
}

void gate_show_status(const struct gate_show *s, struct gate_buf *b,
		      const struct gate_show_host *host)
{
	const struct gate_conf *conf = s->maps->conf;
	struct gate_counters totals = { 0 };
	struct gate_reason_sums sums;
	struct utsname uts = { 0 };
	uint32_t active = 0;

	uname(&uts);
	gate_engine_totals(s->engine, &totals, &active);
	gate_usage_reasons(s->maps, &sums);
	gate_json_open(b, NULL, '{');
	gate_json_version(b);
	gate_json_string(b, "host", uts.nodename);
	gate_json_string(b, "release", GATE_VERSION);
	gate_json_uint(b, "abi", GATE_ABI);
	gate_json_string(b, "hook", host->hook);
	gate_json_bool(b, "enforce", conf->flags & GATE_CONF_ENFORCE);
	gate_json_open(b, "gated", '[');
	for (uint32_t i = 0; i < conf->nports; i++)
		gate_json_uint(b, NULL, conf->ports[i]);
	gate_json_close(b, ']');
	gate_json_string(b, "contact", gate_json_or_null(host->contact));
	gate_json_time(b, "started", host->started);
	gate_json_uint(b, "revision", conf->revision);
	gate_json_uint(b, "vms", count_vms(s));
	write_ports(s, b);
	gate_json_counters(b, "totals", &totals, active);
	write_reasons(b, "reasons", sums.taken);
	write_reasons(b, "reasons_would", sums.would);
	write_maps(s, b);
	gate_json_open(b, "problems", '[');
	gate_engine_problems(s->engine, write_problem, b);
	gate_json_close(b, ']');
	gate_json_close(b, '}');
}
