// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The series of each VM. A family's samples must stand together, so the VMs are
 * walked once per family; their labels are written once before that. 10,000 VMs
 * give 170,000 lines: a line is three copies and a number.
 */
#include "metrics_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One VM, read once per scrape. */
struct vm {
	uint32_t slot, active;
	size_t labels, labels_len; /* `vm="…",tenant="…"` in the labels' buffer */
	int64_t expires;
	struct gate_counters counters;
};

struct scrape {
	const struct gate_metrics_source *source;
	struct gate_buf *out;
	struct gate_buf labels;
	struct gate_buf info; /* lines of vm_info, written while the VMs are read */
	struct vm *vm;
	size_t n;
	bool openmetrics, all;
};

/* "gate25_flows_total{" */
static size_t line_head(char *to, size_t size, const struct metric_family *f)
{
	return (size_t)snprintf(to, size, "gate25_%s%s{", f->name,
				f->type == METRIC_COUNTER ? "_total" : "");
}

static void line(struct scrape *s, const struct vm *v, const char *head, size_t head_len,
		 const char *label, size_t label_len, uint64_t value)
{
	char *start, *p;

	start = p =
		gate_buf_room(s->out, head_len + v->labels_len + label_len + GATE_U64_DIGITS + 8);
	if (!p)
		return;
	memcpy(p, head, head_len);
	p += head_len;
	memcpy(p, s->labels.data + v->labels, v->labels_len);
	p += v->labels_len;
	if (label_len) {
		*p++ = ',';
		memcpy(p, label, label_len);
		p += label_len;
	}
	*p++ = '}';
	*p++ = ' ';
	p = gate_buf_format_u64(p, value);
	*p++ = '\n';
	s->out->len += (size_t)(p - start);
}

static void simple_family(struct scrape *s, const struct metric_family *f)
{
	size_t label_len[METRIC_SERIES_MAX], head_len, i;
	char head[64];
	unsigned j;

	head_len = line_head(head, sizeof(head), f);
	for (j = 0; j < f->nseries; j++)
		label_len[j] = strlen(f->series[j].label);
	for (i = 0; i < s->n; i++) {
		const struct vm *v = &s->vm[i];

		for (j = 0; j < f->nseries; j++) {
			uint64_t value =
				gate_metric_value(&v->counters, v->active, f->series[j].offset);

			if (value || f->always || s->all)
				line(s, v, head, head_len, f->series[j].label, label_len[j], value);
		}
	}
}

static void port_family(struct scrape *s, const struct metric_family *f)
{
	const struct gate_maps *m = s->source->maps;
	char head[64], label[64];
	size_t head_len, i;
	unsigned j, p;
	int n;

	head_len = line_head(head, sizeof(head), f);
	for (i = 0; i < s->n; i++) {
		const struct gate_port_counters *c =
			&m->port_counters[s->vm[i].slot * m->conf->nports];

		for (p = 0; p < m->conf->nports; p++) {
			for (j = 0; j < f->nseries; j++) {
				uint64_t value;

				memcpy(&value, (const char *)&c[p] + f->series[j].port_offset,
				       sizeof(value));
				n = snprintf(label, sizeof(label), "%s,dport=\"%u\"",
					     f->series[j].label, m->conf->ports[p]);
				line(s, &s->vm[i], head, head_len, label, (size_t)n, value);
			}
		}
	}
}

static void family_name(char *to, size_t size, const struct metric_family *f)
{
	snprintf(to, size, "gate25_%s", f->name);
}

static void write_families(struct scrape *s)
{
	const struct metric_family *f = gate_metric_families;
	char name[64];
	unsigned i;

	for (i = 0; i < gate_metric_nfamilies; i++, f++) {
		family_name(name, sizeof(name), f);
		gate_metrics_family(s->out, s->openmetrics, name, f->type, f->help);
		if (f->by_port && s->source->maps->conf->nports > 1)
			port_family(s, f);
		else
			simple_family(s, f);
	}
}

static void write_expiries(struct scrape *s)
{
	static const char head[] = "gate25_policy_expires_seconds{";
	size_t i;

	gate_metrics_family(s->out, s->openmetrics, "gate25_policy_expires_seconds", METRIC_GAUGE,
			    "Unix time at which the policy in force ends by itself.");
	for (i = 0; i < s->n; i++)
		if (s->vm[i].expires > 0)
			line(s, &s->vm[i], head, sizeof(head) - 1, "", 0,
			     (uint64_t)s->vm[i].expires);
}

/* ---- reading ---- */

static void add_labels(struct scrape *s, struct vm *v, const struct gate_vm_spec *spec)
{
	v->labels = s->labels.len;
	gate_buf_puts(&s->labels, spec->registered ? "vm=\"" : "vm=\"port:");
	gate_buf_label(&s->labels, spec->name);
	gate_buf_puts(&s->labels, "\",tenant=\"");
	gate_buf_label(&s->labels, spec->tenant);
	gate_buf_putc(&s->labels, '"');
	v->labels_len = s->labels.len - v->labels;
}

static void info_macs(struct scrape *s, uint32_t slot, const struct gate_vm_spec *spec)
{
	uint64_t first = s->source->maps->vms[slot].first_mac;
	uint8_t mac[6];
	char text[24];
	unsigned i;

	for (i = 0; i < spec->nmacs; i++) {
		if (i)
			gate_buf_putc(&s->info, ',');
		gate_buf_puts(&s->info, gate_format_mac(spec->macs[i], text, sizeof(text)));
	}
	if (spec->nmacs || !(first & GATE_MAC_SEEN))
		return;
	for (i = 0; i < 6; i++)
		mac[i] = (uint8_t)(first >> (8 * i));
	gate_buf_puts(&s->info, gate_format_mac(mac, text, sizeof(text)));
}

static void info_ports(struct scrape *s, const struct gate_vm_spec *spec)
{
	unsigned i;

	if (!spec->registered && !spec->nports)
		gate_buf_label(&s->info, spec->name);
	for (i = 0; i < spec->nports; i++) {
		if (i)
			gate_buf_putc(&s->info, ',');
		gate_buf_label(&s->info, spec->ports[i]);
	}
}

static void add_info(struct scrape *s, const struct vm *v, const struct gate_vm_spec *spec,
		     const struct gate_effective *eff)
{
	struct gate_buf *b = &s->info;

	gate_buf_puts(b, "gate25_vm_info{");
	if (!s->labels.failed)
		gate_buf_add(b, s->labels.data + v->labels, v->labels_len);
	gate_buf_puts(b, ",state=\"");
	gate_buf_puts(b, eff->quarantined ? "quarantine" : gate_state_name(eff->state));
	gate_buf_puts(b, "\",source=\"");
	gate_buf_label(b, eff->source);
	gate_buf_puts(b, "\",port=\"");
	info_ports(s, spec);
	gate_buf_puts(b, "\",mac=\"");
	info_macs(s, v->slot, spec);
	gate_buf_puts(b, "\"} 1\n");
}

static void read_vms(struct scrape *s)
{
	struct gate_engine *e = s->source->engine;
	const struct gate_vm_spec *spec;
	struct gate_effective eff;
	struct gate_subject who;
	uint32_t slot;

	/* slot 0 stands for those that are no VM's: in the host's sums only */
	for (slot = 1; slot < s->source->maps->conf->max_vms; slot++) {
		struct vm *v = &s->vm[s->n];

		spec = gate_engine_vm(e, slot);
		if (!spec)
			continue;
		v->slot = slot;
		v->expires = 0;
		gate_engine_counters(e, slot, &v->counters, &v->active);
		add_labels(s, v, spec);
		gate_engine_slot_subject(e, slot, &who);
		if (!gate_engine_effective(e, &who, 0, &eff, NULL)) {
			v->expires = eff.expires;
			add_info(s, v, spec, &eff);
		}
		s->n++;
	}
}

static size_t count_vms(const struct gate_metrics_source *source)
{
	size_t n = 0;
	uint32_t slot;

	for (slot = 1; slot < source->maps->conf->max_vms; slot++)
		n += gate_engine_vm(source->engine, slot) != NULL;
	return n;
}

void gate_metrics_vms(const struct gate_metrics_source *source, bool openmetrics,
		      struct gate_buf *b)
{
	struct scrape s = {
		.source = source,
		.out = b,
		.openmetrics = openmetrics,
		.all = source->per_vm == GATE_PER_VM_ALL,
	};
	size_t n = count_vms(source);

	s.vm = malloc((n ? n : 1) * sizeof(*s.vm));
	if (!s.vm) {
		b->failed = true;
		return;
	}
	read_vms(&s);
	if (s.labels.failed || s.info.failed) {
		b->failed = true;
	} else {
		write_families(&s);
		gate_metrics_family(b, openmetrics, "gate25_vm", METRIC_INFO,
				    "What is known of a VM and which policy is in force.");
		gate_buf_add(b, s.info.data, s.info.len);
		write_expiries(&s);
	}
	gate_buf_free(&s.labels);
	gate_buf_free(&s.info);
	free(s.vm);
}
