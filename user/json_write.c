// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Model -> JSON text. Straight into the buffer: lists of 10,000 VMs are usual. */
#include "json.h"

#include <stdio.h>

#define LITERAL(b, s) gate_buf_add(b, s, sizeof(s) - 1)

/* A comma is due unless the last byte opens something or ends a line. */
static void begin(struct gate_buf *b, const char *key)
{
	char last = b->len ? b->data[b->len - 1] : '\n';

	if (last != '{' && last != '[' && last != '\n')
		gate_buf_putc(b, ',');
	if (!key)
		return;
	gate_buf_putc(b, '"');
	gate_buf_puts(b, key);
	LITERAL(b, "\":");
}

void gate_json_open(struct gate_buf *b, const char *key, char bracket)
{
	begin(b, key);
	gate_buf_putc(b, bracket);
}

void gate_json_close(struct gate_buf *b, char bracket)
{
	gate_buf_putc(b, bracket);
}

void gate_json_raw(struct gate_buf *b, const char *key, const char *json)
{
	begin(b, key);
	gate_buf_puts(b, json);
}

void gate_json_null(struct gate_buf *b, const char *key)
{
	if (!b->brief || !key)
		gate_json_raw(b, key, "null");
}

void gate_json_string(struct gate_buf *b, const char *key, const char *value)
{
	if (!value) {
		gate_json_null(b, key);
		return;
	}
	begin(b, key);
	gate_buf_putc(b, '"');
	gate_buf_json(b, value);
	gate_buf_putc(b, '"');
}

void gate_json_uint(struct gate_buf *b, const char *key, uint64_t value)
{
	begin(b, key);
	gate_buf_u64(b, value);
}

void gate_json_bool(struct gate_buf *b, const char *key, bool value)
{
	if (value || !b->brief)
		gate_json_raw(b, key, value ? "true" : "false");
}

void gate_json_time(struct gate_buf *b, const char *key, int64_t unix_s)
{
	char text[40];

	gate_json_string(b, key, unix_s ? gate_format_time(unix_s, text, sizeof(text)) : NULL);
}

void gate_json_time_ms(struct gate_buf *b, const char *key, int64_t unix_ms)
{
	char text[48], with_ms[64];

	gate_format_time(unix_ms / 1000, text, sizeof(text));
	text[strcspn(text, "Z")] = '\0';
	snprintf(with_ms, sizeof(with_ms), "%s.%03dZ", text, (int)(unix_ms % 1000));
	gate_json_string(b, key, with_ms);
}

void gate_json_version(struct gate_buf *b)
{
	gate_json_uint(b, "version", 1);
}

static void uint_or_null(struct gate_buf *b, const char *key, uint64_t value)
{
	if (value)
		gate_json_uint(b, key, value);
	else
		gate_json_null(b, key);
}

static void rate(struct gate_buf *b, const char *key, const struct gate_rate_spec *r, bool burst)
{
	gate_json_open(b, key, '{');
	gate_json_uint(b, "count", r->count);
	gate_json_string(b, "per", gate_format_per(r->per_s));
	if (burst)
		uint_or_null(b, "burst", r->burst);
	gate_json_close(b, '}');
}

void gate_json_rates(struct gate_buf *b, const char *key, const struct gate_rate_spec *rates,
		     unsigned n, bool burst)
{
	unsigned i;

	gate_json_open(b, key, '[');
	for (i = 0; i < n; i++)
		rate(b, NULL, &rates[i], burst);
	gate_json_close(b, ']');
}

static void limits(struct gate_buf *b, const struct gate_limits *l)
{
	gate_json_rates(b, "rates", l->rates, l->nrates, true);
	uint_or_null(b, "burst", l->burst);
	uint_or_null(b, "concurrent", l->concurrent);
	if (l->destinations.count)
		rate(b, "destinations", &l->destinations, false);
	else
		gate_json_null(b, "destinations");
}

void gate_json_policy(struct gate_buf *b, const char *key, uint16_t on,
		      const struct gate_policy_spec *p)
{
	gate_json_open(b, key, '{');
	uint_or_null(b, "on", on);
	gate_json_string(b, "state", gate_state_name(p->state));
	limits(b, &p->limits);
	gate_json_string(b, "refuse",
			 p->refuse == GATE_REFUSE_UNSET
				 ? NULL
				 : gate_refuse_name((enum gate_refuse)p->refuse));
	gate_json_bool(b, "drain", p->drain);
	gate_json_time(b, "expires", p->expires);
	gate_json_string(b, "reason", gate_json_or_null(p->reason));
	gate_json_string(b, "by", gate_json_or_null(p->by));
	gate_json_time(b, "since", p->since);
	gate_json_close(b, '}');
}

static void quarantine(struct gate_buf *b, const struct gate_quarantine *q)
{
	gate_json_open(b, "quarantine", '{');
	gate_json_time(b, "until", q->until);
	gate_json_string(b, "reason", gate_json_or_null(q->reason));
	gate_json_string(b, "by", gate_json_or_null(q->by));
	gate_json_time(b, "since", q->since);
	gate_json_close(b, '}');
}

void gate_json_own(struct gate_buf *b, const struct gate_own *own, const uint16_t *ports)
{
	static const struct gate_own nothing;
	char text[64];
	unsigned i;

	if (!own)
		own = &nothing;
	gate_json_open(b, "policies", '[');
	for (i = 0; i < GATE_MAX_SCOPES; i++)
		if (own->scope[i].state != GATE_INHERIT)
			gate_json_policy(b, NULL, i ? ports[i - 1] : 0, &own->scope[i]);
	gate_json_close(b, ']');
	if (own->quarantine.on)
		quarantine(b, &own->quarantine);
	else
		gate_json_null(b, "quarantine");
	gate_json_bool(b, "observe", own->observe);
	if (own->nbudget)
		gate_json_rates(b, "budget", own->budget, own->nbudget, true);
	else
		gate_json_null(b, "budget");
	gate_json_open(b, "exempt", '[');
	for (i = 0; i < own->nexempt; i++)
		gate_json_string(b, NULL, gate_format_prefix(&own->exempt[i], text, sizeof(text)));
	gate_json_close(b, ']');
}

void gate_json_vm(struct gate_buf *b, const struct gate_vm_spec *vm)
{
	char text[64];
	unsigned i;

	gate_json_open(b, "macs", '[');
	for (i = 0; i < vm->nmacs; i++)
		gate_json_string(b, NULL, gate_format_mac(vm->macs[i], text, sizeof(text)));
	gate_json_close(b, ']');
	gate_json_open(b, "ips", '[');
	for (i = 0; i < vm->nips; i++)
		gate_json_string(b, NULL, gate_format_prefix(&vm->ips[i], text, sizeof(text)));
	gate_json_close(b, ']');
	gate_json_open(b, "pairs", '[');
	for (i = 0; i < vm->npairs; i++) {
		gate_json_open(b, NULL, '{');
		gate_json_string(b, "mac", gate_format_mac(vm->pairs[i].mac, text, sizeof(text)));
		gate_json_string(b, "ip", gate_format_prefix(&vm->pairs[i].ip, text, sizeof(text)));
		gate_json_close(b, '}');
	}
	gate_json_close(b, ']');
	gate_json_string(b, "binding",
			 vm->binding < 0 ? NULL
					 : gate_binding_name((enum gate_binding)vm->binding));
}

void gate_json_effective(struct gate_buf *b, const char *key, uint16_t port,
			 const struct gate_effective *e)
{
	static const struct gate_limits none;
	bool closed = e->quarantined || e->state == GATE_BLOCK;
	bool refuses = closed || e->state == GATE_LIMIT;

	gate_json_open(b, key, '{');
	if (port)
		gate_json_uint(b, "port", port);
	gate_json_string(b, "state", e->quarantined ? "quarantine" : gate_state_name(e->state));
	gate_json_bool(b, "quarantined", e->quarantined);
	gate_json_string(b, "source", e->source);
	gate_json_bool(b, "enforce", e->enforce);
	gate_json_bool(b, "observed", e->observed);
	gate_json_string(b, "refuse", refuses ? gate_refuse_name(e->refuse) : NULL);
	/* a quarantine cuts what runs, whatever the policy beneath it says */
	gate_json_bool(b, "drain", e->drain && !e->quarantined);
	limits(b, refuses && !closed ? &e->limits : &none);
	gate_json_time(b, "expires", e->expires);
	gate_json_string(b, "reason", gate_json_or_null(e->reason));
	gate_json_string(b, "by", gate_json_or_null(e->by));
	gate_json_close(b, '}');
}

void gate_json_counters(struct gate_buf *b, const char *key, const struct gate_counters *c,
			uint32_t active)
{
	gate_json_open(b, key, '{');
#define X(name)                                                                                    \
	gate_json_uint(b, #name, c->name);                                                         \
	if (offsetof(struct gate_counters, name) ==                                                \
	    offsetof(struct gate_counters, flows_would_refuse))                                    \
		gate_json_uint(b, "flows_active", active);
	GATE_COUNTERS(X)
#undef X
	gate_json_close(b, '}');
}

static void item_vm(struct gate_buf *b, const struct gate_vm_spec *vm)
{
	unsigned i;

	gate_json_string(b, "kind", "vm");
	gate_json_string(b, "name", vm->name);
	gate_json_string(b, "tenant", gate_json_or_null(vm->tenant));
	gate_json_open(b, "ports", '[');
	for (i = 0; i < vm->nports; i++)
		gate_json_string(b, NULL, vm->ports[i]);
	gate_json_close(b, ']');
	gate_json_vm(b, vm);
}

void gate_json_item(struct gate_buf *b, const struct gate_set_item *it, const uint16_t *ports)
{
	char text[GATE_SUBJECT_LEN + 4];
	struct gate_own own;

	gate_json_open(b, NULL, '{');
	if (it->is_vm) {
		item_vm(b, &it->vm);
	} else {
		gate_json_string(b, "kind", "subject");
		gate_json_string(b, "subject",
				 gate_format_subject(&it->subject, text, sizeof(text)));
		gate_own_unpack(it->own, &it->subject, &own);
		gate_json_own(b, &own, ports);
	}
	LITERAL(b, "}\n");
}
