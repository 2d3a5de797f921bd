// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The series of the host: sums, hooks, maps, the daemon itself. */
#include "metrics_priv.h"
#include "usage.h"

#include <stdio.h>
#include <string.h>

#define NS_PER_S 1000000000ULL

/* Upper bounds of gate_ports_stats.attach_bucket, as OpenMetrics writes floats. */
static const char *const attach_le[] = { "0.0005", "0.001", "0.0025", "0.005", "0.01",
					 "0.025",  "0.05",  "0.1",    "1.0",   "+Inf" };
_Static_assert(sizeof(attach_le) / sizeof(attach_le[0]) ==
		       sizeof(((struct gate_ports_stats *)0)->attach_bucket) / sizeof(uint64_t),
	       "a bound for each bucket");

static void sample(struct gate_buf *b, const char *name, uint64_t value)
{
	gate_buf_puts(b, name);
	gate_buf_putc(b, ' ');
	gate_buf_u64(b, value);
	gate_buf_putc(b, '\n');
}

static void host_sums(const struct gate_metrics_source *s, bool openmetrics, struct gate_buf *b)
{
	const struct metric_family *f = gate_metric_families;
	struct gate_counters totals = { 0 };
	uint32_t active = 0;
	char name[64];
	unsigned i, j;

	gate_engine_totals(s->engine, &totals, &active);
	for (i = 0; i < gate_metric_nfamilies; i++, f++) {
		snprintf(name, sizeof(name), "gate25_host_%s", f->name);
		gate_metrics_family(b, openmetrics, name, f->type, f->help);
		for (j = 0; j < f->nseries; j++) {
			const char *label = f->series[j].label;

			gate_buf_printf(b, "%s%s%s%s%s", name,
					f->type == METRIC_COUNTER ? "_total" : "",
					*label ? "{" : "", label, *label ? "} " : " ");
			gate_buf_u64(b, gate_metric_value(&totals, active, f->series[j].offset));
			gate_buf_putc(b, '\n');
		}
	}
}

static void drops(const struct gate_metrics_source *s, bool openmetrics, struct gate_buf *b)
{
	struct gate_reason_sums sums;
	unsigned r;

	gate_usage_reasons(s->maps, &sums);
	gate_metrics_family(b, openmetrics, "gate25_dropped_packets", METRIC_COUNTER,
			    "Packets refused, by reason.");
	for (r = 0; r < GATE_R_MAX; r++)
		if (gate_reason_verdict((enum gate_reason)r) != GATE_V_PASS)
			gate_buf_printf(b, "gate25_dropped_packets_total{reason=\"%s\"} %llu\n",
					gate_reason_name((enum gate_reason)r),
					(unsigned long long)sums.taken[r]);
}

struct port_writer {
	struct gate_buf *b;
	const char *hook;
};

static void write_port(void *arg, const struct gate_port_info *p)
{
	const struct port_writer *w = arg;
	bool attached = p->uplink ? p->hook && strcmp(p->hook, "none") != 0 : p->from_vm;

	if (!p->ifindex)
		return;
	gate_buf_puts(w->b, "gate25_port_attached{port=\"");
	gate_buf_label(w->b, p->name);
	gate_buf_printf(w->b, "\",hook=\"%s\"} %d\n", w->hook, attached);
}

static void seconds(struct gate_buf *b, const char *name, uint64_t ns)
{
	gate_buf_printf(b, "%s %llu.%09llu\n", name, (unsigned long long)(ns / NS_PER_S),
			(unsigned long long)(ns % NS_PER_S));
}

static void attachment(const struct gate_metrics_source *s, bool openmetrics, struct gate_buf *b)
{
	struct port_writer w = { b, s->hook };
	uint64_t sum = 0;
	unsigned i;

	gate_metrics_family(b, openmetrics, "gate25_port_attached", METRIC_GAUGE,
			    "Whether the gate sits on the port (an uplink: the backstop).");
	gate_engine_ports(s->engine, write_port, &w);
	gate_metrics_family(b, openmetrics, "gate25_attach_seconds", METRIC_HISTOGRAM,
			    "From the notice of a new port to its attachment.");
	for (i = 0; i < sizeof(attach_le) / sizeof(attach_le[0]); i++) {
		sum += s->ports->attach_bucket[i];
		gate_buf_printf(b, "gate25_attach_seconds_bucket{le=\"%s\"} %llu\n", attach_le[i],
				(unsigned long long)sum);
	}
	gate_buf_printf(b, "gate25_attach_seconds_sum %.9f\n", s->ports->attach_sum_s);
	sample(b, "gate25_attach_seconds_count", sum);
	gate_metrics_family(b, openmetrics, "gate25_unattached_seconds", METRIC_COUNTER,
			    "Time that VM ports were there without the gate, summed.");
	seconds(b, "gate25_unattached_seconds_total", s->ports->unattached_ns);
	gate_metrics_family(b, openmetrics, "gate25_reattach", METRIC_COUNTER,
			    "Attachments that had to be put back.");
	sample(b, "gate25_reattach_total", s->ports->reattached);
}

static void maps(const struct gate_metrics_source *s, bool openmetrics, struct gate_buf *b)
{
	struct gate_usage usage[GATE_USAGE_MAPS];
	size_t n = gate_usage_read(s->maps, usage), i;

	gate_metrics_family(b, openmetrics, "gate25_map_entries", METRIC_GAUGE,
			    "Entries in use of a map.");
	for (i = 0; i < n; i++)
		gate_buf_printf(b, "gate25_map_entries{map=\"%s\"} %llu\n", usage[i].map,
				(unsigned long long)usage[i].entries);
	gate_metrics_family(b, openmetrics, "gate25_map_capacity", METRIC_GAUGE,
			    "Entries that a map can hold.");
	for (i = 0; i < n; i++)
		gate_buf_printf(b, "gate25_map_capacity{map=\"%s\"} %llu\n", usage[i].map,
				(unsigned long long)usage[i].capacity);
}

/* ---- what is wrong, as in `status`: how many by code ---- */

#define CODES_MAX 32

struct problem_count {
	char code[sizeof(((struct gate_problem *)0)->code)];
	unsigned n;
};

struct problem_counts {
	struct problem_count by_code[CODES_MAX];
	unsigned n;
};

static void count_problem(void *arg, const struct gate_problem *p)
{
	struct problem_counts *c = arg;
	unsigned i;

	for (i = 0; i < c->n; i++)
		if (!strcmp(c->by_code[i].code, p->code))
			break;
	if (i == CODES_MAX)
		return;
	if (i == c->n)
		memcpy(c->by_code[c->n++].code, p->code, sizeof(p->code));
	c->by_code[i].n++;
}

static void problems(const struct gate_metrics_source *s, bool openmetrics, struct gate_buf *b)
{
	struct problem_counts c = { .n = 0 };
	unsigned i;

	gate_engine_problems(s->engine, count_problem, &c);
	gate_metrics_family(b, openmetrics, "gate25_problems", METRIC_GAUGE,
			    "What gate25 status reports as wrong, by code.");
	for (i = 0; i < c.n; i++) {
		gate_buf_puts(b, "gate25_problems{code=\"");
		gate_buf_label(b, c.by_code[i].code);
		gate_buf_printf(b, "\"} %u\n", c.by_code[i].n);
	}
}

void gate_metrics_host(const struct gate_metrics_source *s, bool openmetrics, struct gate_buf *b)
{
	struct gate_untold_sums untold;

	host_sums(s, openmetrics, b);
	drops(s, openmetrics, b);
	attachment(s, openmetrics, b);
	maps(s, openmetrics, b);
	gate_metrics_family(b, openmetrics, "gate25_events_lost", METRIC_COUNTER,
			    "Events for which the ring buffer had no room.");
	gate_usage_untold(s->maps, &untold);
	sample(b, "gate25_events_lost_total", untold.lost);
	gate_metrics_family(b, openmetrics, "gate25_policy_revision", METRIC_GAUGE,
			    "Number of the policy in force; each change raises it.");
	sample(b, "gate25_policy_revision", s->maps->conf->revision);
	problems(s, openmetrics, b);
	gate_metrics_family(b, openmetrics, "gate25_build", METRIC_INFO, "Release and ABI.");
	gate_buf_printf(b, "gate25_build_info{version=\"%s\",abi=\"%d\"} 1\n", GATE_VERSION,
			GATE_ABI);
}
