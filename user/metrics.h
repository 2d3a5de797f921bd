/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Prometheus text 0.0.4 and OpenMetrics 1.0, written by hand into one buffer. The
 * names are those of gate25-metrics(7) and do not change.
 */
#ifndef GATE25_METRICS_H
#define GATE25_METRICS_H

#include "buf.h"
#include "config.h"
#include "engine.h"
#include "ports.h"

/* What the figures are read from. */
struct gate_metrics_source {
	struct gate_engine *engine;
	const struct gate_maps *maps;
	const struct gate_ports_stats *ports;
	const char *hook; /* what ports are gated by: "tcx" or "tc" */
	enum gate_per_vm per_vm;
};

/*
 * An exposition in pieces. What it says is read when it is opened, so that all of it
 * is of one moment however slowly it is taken.
 */
struct gate_metrics_page;
/** gate_metrics_open() - 0 or -ENOMEM; *s must outlive the page */
int gate_metrics_open(struct gate_metrics_page **out, const struct gate_metrics_source *s,
		      bool openmetrics);
/** gate_metrics_next() - appends the next piece; false when there is none */
bool gate_metrics_next(struct gate_metrics_page *p, struct gate_buf *out);
void gate_metrics_close(struct gate_metrics_page *p);

/* Appends a whole exposition. -ENOMEM with *out unusable. */
int gate_metrics_build(const struct gate_metrics_source *s, bool openmetrics, struct gate_buf *out);
/* Does the Accept header of a scraper ask for OpenMetrics? NULL = no. */
bool gate_metrics_accepts_openmetrics(const char *accept);

#endif
