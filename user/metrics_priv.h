/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What the files of the exporter share. */
#ifndef GATE25_METRICS_PRIV_H
#define GATE25_METRICS_PRIV_H

#include "metrics.h"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_INFO, METRIC_HISTOGRAM };

/* HELP and TYPE. `name` is the family's: a counter's without _total, an info's without _info. */
void gate_metrics_family(struct gate_buf *b, bool openmetrics, const char *name,
			 enum metric_type type, const char *help);

/* Families of counters that exist per VM and as the host's sum. */
#define METRIC_SERIES_MAX 4
struct metric_family {
	const char *name; /* without "gate25_" and "_total" */
	const char *help;
	enum metric_type type;
	bool always;  /* zero too, from the VM's first sight */
	bool by_port; /* several gated ports: split by dport */
	struct {
		const char *label;  /* with its value, "" = none */
		size_t offset;	    /* in struct gate_counters; FLOWS_ACTIVE */
		size_t port_offset; /* in struct gate_port_counters, where by_port */
	} series[METRIC_SERIES_MAX];
	unsigned nseries;
};
#define METRIC_FLOWS_ACTIVE ((size_t)-1)

extern const struct metric_family gate_metric_families[];
extern const unsigned gate_metric_nfamilies;

static inline uint64_t gate_metric_value(const struct gate_counters *c, uint32_t active,
					 size_t offset)
{
	uint64_t value;

	if (offset == METRIC_FLOWS_ACTIVE)
		return active;
	memcpy(&value, (const char *)c + offset, sizeof(value));
	return value;
}

/* The VMs' part of a page: read as a whole (NULL: no memory), then written in pieces. */
struct gate_metrics_vms;
struct gate_metrics_vms *gate_metrics_vms_open(const struct gate_metrics_source *source,
					       bool openmetrics);
bool gate_metrics_vms_next(struct gate_metrics_vms *s, struct gate_buf *out);
void gate_metrics_vms_close(struct gate_metrics_vms *s);
void gate_metrics_host(const struct gate_metrics_source *s, bool openmetrics, struct gate_buf *b);

#endif
