// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The series of each VM. A family's samples must stand together, so the VMs are
 * walked once per family; their labels are written once before that. 10,000 VMs
 * give 170,000 lines: a line is three copies and a number. All that is said is read
 * at once, then written piece by piece while the scraper takes it: 4 MB that are
 * walked in place of 11 MB that would have to lie somewhere.
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

/* VMs, and bytes of prepared text, that one piece is made of. */
#define PIECE_VMS   256
#define PIECE_BYTES 65536

struct gate_metrics_vms {
	const struct gate_metrics_source *source;
	struct gate_buf *out;
	struct gate_buf labels;
	struct gate_buf info; /* lines of vm_info, written while the VMs are read */
	struct vm *vm;
	struct gate_port_counters *port; /* by VM and gated port; NULL with one port */
	const struct gate_conf *conf;
	size_t n;
	bool openmetrics, all;
	/* where the next piece begins */
	unsigned family;
	size_t at;
};

/* "gate25_flows_total{" */
static size_t line_head(char *to, size_t size, const struct metric_family *f)
{
	return (size_t)snprintf(to, size, "gate25_%s%s{", f->name,
				f->type == METRIC_COUNTER ? "_total" : "");
}

static void line(struct gate_metrics_vms *s, const struct vm *v, const char *head, size_t head_len,
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

static void simple_family(struct gate_metrics_vms *s, const struct metric_family *f, size_t i,
			  size_t end)
{
	size_t label_len[METRIC_SERIES_MAX], head_len;
	char head[64];
	unsigned j;

	head_len = line_head(head, sizeof(head), f);
	for (j = 0; j < f->nseries; j++)
		label_len[j] = strlen(f->series[j].label);
	for (; i < end; i++) {
		const struct vm *v = &s->vm[i];

		for (j = 0; j < f->nseries; j++) {
			uint64_t value =
				gate_metric_value(&v->counters, v->active, f->series[j].offset);

			if (value || f->always || s->all)
				line(s, v, head, head_len, f->series[j].label, label_len[j], value);
		}
	}
}

static void port_family(struct gate_metrics_vms *s, const struct metric_family *f, size_t i,
			size_t end)
{
	const unsigned nports = s->conf->nports;
	char head[64], label[64];
	size_t head_len;
	unsigned j, p;
	int n;

	head_len = line_head(head, sizeof(head), f);
	for (; i < end; i++) {
		for (p = 0; p < nports; p++) {
			for (j = 0; j < f->nseries; j++) {
				uint64_t value;

				memcpy(&value,
				       (const char *)&s->port[i * nports + p] +
					       f->series[j].port_offset,
				       sizeof(value));
				n = snprintf(label, sizeof(label), "%s,dport=\"%u\"",
					     f->series[j].label, s->conf->ports[p]);
				line(s, &s->vm[i], head, head_len, label, (size_t)n, value);
			}
		}
	}
}

/* The next VMs of the family whose turn it is. */
static void write_family(struct gate_metrics_vms *s)
{
	const struct metric_family *f = &gate_metric_families[s->family];
	size_t end = s->n - s->at > PIECE_VMS ? s->at + PIECE_VMS : s->n;
	char name[64];

	if (!s->at) {
		snprintf(name, sizeof(name), "gate25_%s", f->name);
		gate_metrics_family(s->out, s->openmetrics, name, f->type, f->help);
	}
	if (f->by_port && s->port)
		port_family(s, f, s->at, end);
	else
		simple_family(s, f, s->at, end);
	s->at = end;
	if (end == s->n) {
		s->family++;
		s->at = 0;
	}
}

static void write_info(struct gate_metrics_vms *s)
{
	size_t n = s->info.len - s->at < PIECE_BYTES ? s->info.len - s->at : PIECE_BYTES;

	if (!s->at)
		gate_metrics_family(s->out, s->openmetrics, "gate25_vm", METRIC_INFO,
				    "What is known of a VM and which policy is in force.");
	if (n)
		gate_buf_add(s->out, s->info.data + s->at, n);
	s->at += n;
	if (s->at == s->info.len)
		s->family++;
}

static void write_expiries(struct gate_metrics_vms *s)
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

static void add_labels(struct gate_metrics_vms *s, struct vm *v, const struct gate_vm_spec *spec)
{
	v->labels = s->labels.len;
	gate_buf_puts(&s->labels, spec->registered ? "vm=\"" : "vm=\"port:");
	gate_buf_label(&s->labels, spec->name);
	gate_buf_puts(&s->labels, "\",tenant=\"");
	gate_buf_label(&s->labels, spec->tenant);
	gate_buf_putc(&s->labels, '"');
	v->labels_len = s->labels.len - v->labels;
}

static void info_macs(struct gate_metrics_vms *s, uint32_t slot, const struct gate_vm_spec *spec)
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

static void info_ports(struct gate_metrics_vms *s, const struct gate_vm_spec *spec)
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

static void add_info(struct gate_metrics_vms *s, const struct vm *v,
		     const struct gate_vm_spec *spec, const struct gate_effective *eff)
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

static void read_vm(struct gate_metrics_vms *s, uint32_t slot, const struct gate_vm_spec *spec)
{
	const struct gate_maps *m = s->source->maps;
	const unsigned nports = s->conf->nports;
	struct vm *v = &s->vm[s->n];
	struct gate_effective eff;

	v->slot = slot;
	v->expires = 0;
	gate_engine_counters(s->source->engine, slot, &v->counters, &v->active);
	if (s->port)
		memcpy(&s->port[s->n * nports], &m->port_counters[slot * nports],
		       nports * sizeof(*s->port));
	add_labels(s, v, spec);
	gate_engine_slot_effective(s->source->engine, slot, 0, &eff);
	v->expires = eff.expires;
	add_info(s, v, spec, &eff);
	s->n++;
}

static void read_vms(struct gate_metrics_vms *s)
{
	const struct gate_vm_spec *spec;
	uint32_t slot;

	/* slot 0 stands for those that are no VM's: in the host's sums only */
	for (slot = 1; slot < s->conf->max_vms; slot++) {
		spec = gate_engine_vm(s->source->engine, slot);
		if (spec)
			read_vm(s, slot, spec);
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

struct gate_metrics_vms *gate_metrics_vms_open(const struct gate_metrics_source *source,
					       bool openmetrics)
{
	struct gate_metrics_vms *s = calloc(1, sizeof(*s));
	size_t n = count_vms(source);

	if (!s)
		return NULL;
	s->source = source;
	s->conf = source->maps->conf;
	s->openmetrics = openmetrics;
	s->all = source->per_vm == GATE_PER_VM_ALL;
	s->vm = malloc((n + 1) * sizeof(*s->vm));
	if (s->conf->nports > 1)
		s->port = malloc((n + 1) * s->conf->nports * sizeof(*s->port));
	if (s->vm && (s->port || s->conf->nports == 1)) {
		read_vms(s);
		if (!s->labels.failed && !s->info.failed)
			return s;
	}
	gate_metrics_vms_close(s);
	return NULL;
}

bool gate_metrics_vms_next(struct gate_metrics_vms *s, struct gate_buf *out)
{
	s->out = out;
	if (s->family < gate_metric_nfamilies) {
		write_family(s);
	} else if (s->family == gate_metric_nfamilies) {
		write_info(s);
	} else if (s->family == gate_metric_nfamilies + 1) {
		write_expiries(s);
		s->family++;
	} else {
		return false;
	}
	return true;
}

void gate_metrics_vms_close(struct gate_metrics_vms *s)
{
	if (!s)
		return;
	gate_buf_free(&s->labels);
	gate_buf_free(&s->info);
	free(s->port);
	free(s->vm);
	free(s);
}
