// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The series of each VM. A family's samples must stand together, so the VMs are
 * walked once per family; their labels are written once before that, and what the
 * lines of a family have in common once before those. 10,000 VMs give 170,000 lines:
 * a line is three copies and a number. All that is said is read at once, then written
 * piece by piece while the scraper takes it: 4 MB that are walked in place of 11 MB
 * that would have to lie somewhere.
 */
#include "clock.h"
#include "metrics_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One VM, read once per scrape. */
struct vm {
	uint32_t slot;
	uint64_t active;	   /* flows; as wide as the counters */
	size_t labels, labels_len; /* `vm="…",tenant="…"` in the labels' buffer */
	int64_t expires;
	struct gate_counters counters;
};

/* VMs, and bytes of prepared text, that one piece is made of: the CPU's nearest cache holds it. */
#define PIECE_VMS   64
#define PIECE_BYTES 16384

#define TAIL_MAX  64
#define TAILS_MAX (METRIC_SERIES_MAX * GATE_MAX_PORTS)

/* What the lines of a family have in common. */
struct text {
	char head[64]; /* `gate25_flows_total{`; the VM's labels follow */
	size_t head_len;
	struct {
		char text[TAIL_MAX]; /* `,verdict="admitted"} `; the value follows */
		size_t len;
		size_t value; /* where that lies: in struct vm, or in its ports' counters */
	} tail[TAILS_MAX];
	unsigned n;
};

struct gate_metrics_vms {
	const struct gate_metrics_source *source;
	struct gate_buf *out;
	struct gate_buf labels;
	struct gate_buf info; /* lines of vm_info, written while the VMs are read */
	struct vm *vm;
	struct gate_port_counters *port; /* by VM and gated port; NULL with one port */
	const struct gate_conf *conf;
	size_t n;
	int64_t now; /* Unix s */
	bool openmetrics, all;
	/* where the next piece begins */
	unsigned family;
	size_t at;
	struct text text; /* of that family */
};

static bool split_by_port(const struct gate_metrics_vms *s, const struct metric_family *f)
{
	return f->by_port && s->port;
}

static void add_tail(struct text *t, const char *label, size_t value)
{
	t->tail[t->n].len =
		(size_t)snprintf(t->tail[t->n].text, TAIL_MAX, "%s%s} ", *label ? "," : "", label);
	t->tail[t->n++].value = value;
}

static size_t place_of(size_t offset)
{
	return offset == METRIC_FLOWS_ACTIVE ? offsetof(struct vm, active)
					     : offsetof(struct vm, counters) + offset;
}

static void prepare_text(struct gate_metrics_vms *s, const struct metric_family *f)
{
	const unsigned nports = split_by_port(s, f) ? s->conf->nports : 1;
	struct text *t = &s->text;
	char label[TAIL_MAX];

	t->head_len = (size_t)snprintf(t->head, sizeof(t->head), "gate25_%s%s{", f->name,
				       f->type == METRIC_COUNTER ? "_total" : "");
	t->n = 0;
	for (unsigned p = 0; p < nports; p++) {
		for (unsigned j = 0; j < f->nseries; j++) {
			if (!split_by_port(s, f)) {
				add_tail(t, f->series[j].label, place_of(f->series[j].offset));
				continue;
			}
			snprintf(label, sizeof(label), "%s,dport=\"%u\"", f->series[j].label,
				 s->conf->ports[p]);
			add_tail(t, label,
				 p * sizeof(struct gate_port_counters) + f->series[j].port_offset);
		}
	}
}

/*
 * The lines of one VM; their values are read from `values` on. What a family has in common
 * is copied with the room behind it: a size that the compiler knows takes no call.
 */
static void write_lines(struct gate_metrics_vms *s, const struct vm *v, const void *values,
			bool zeros)
{
	const struct text *t = &s->text;
	const char *labels = s->labels.data + v->labels;
	size_t most = sizeof(t->head) + v->labels_len + TAIL_MAX + GATE_U64_DIGITS + 1;
	char *p = gate_buf_room(s->out, t->n * most);
	uint64_t value;

	if (!p)
		return;
	for (unsigned i = 0; i < t->n; i++) {
		memcpy(&value, (const char *)values + t->tail[i].value, sizeof(value));
		if (!value && !zeros)
			continue;
		memcpy(p, t->head, sizeof(t->head));
		p += t->head_len;
		memcpy(p, labels, v->labels_len);
		p += v->labels_len;
		memcpy(p, t->tail[i].text, sizeof(t->tail[i].text));
		p = gate_buf_format_u64(p + t->tail[i].len, value);
		*p++ = '\n';
	}
	s->out->len = (size_t)(p - s->out->data);
}

/* The next VMs of the family whose turn it is. */
static void write_family(struct gate_metrics_vms *s)
{
	const struct metric_family *f = &gate_metric_families[s->family];
	size_t end = s->n - s->at > PIECE_VMS ? s->at + PIECE_VMS : s->n;
	bool ports = split_by_port(s, f);
	char name[64];

	if (!s->at) {
		snprintf(name, sizeof(name), "gate25_%s", f->name);
		gate_metrics_family(s->out, s->openmetrics, name, f->type, f->help);
		prepare_text(s, f);
	}
	for (; s->at < end; s->at++) {
		const struct vm *v = &s->vm[s->at];

		write_lines(s, v, ports ? (const void *)&s->port[s->at * s->conf->nports] : v,
			    f->always || s->all);
	}
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
	static const char name[] = "gate25_policy_expires_seconds";

	gate_metrics_family(s->out, s->openmetrics, name, METRIC_GAUGE,
			    "Unix time at which the policy in force ends by itself.");
	s->text.head_len = (size_t)snprintf(s->text.head, sizeof(s->text.head), "%s{", name);
	s->text.n = 0;
	add_tail(&s->text, "", offsetof(struct vm, expires));
	for (size_t i = 0; i < s->n; i++)
		if (s->vm[i].expires > 0)
			write_lines(s, &s->vm[i], &s->vm[i], false);
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
	uint32_t active;

	v->slot = slot;
	gate_engine_counters(s->source->engine, slot, &v->counters, &active);
	v->active = active;
	if (s->port)
		memcpy(&s->port[s->n * nports], &m->port_counters[slot * nports],
		       nports * sizeof(*s->port));
	add_labels(s, v, spec);
	gate_engine_slot_effective(s->source->engine, slot, 0, s->now, &eff);
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
	s->now = gate_clock_unix_ns() / (int64_t)GATE_NSEC_PER_SEC;
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
