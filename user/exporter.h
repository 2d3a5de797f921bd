/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * How the metrics get out: GET /metrics on [metrics] listen, and a textfile for
 * node_exporter, written each 15 s and renamed into place. Neither may stop the
 * gate: what cannot be served is a problem in `status` and tried again.
 */
#ifndef GATE25_EXPORTER_H
#define GATE25_EXPORTER_H

#include "metrics.h"

#include <systemd/sd-event.h>

struct gate_exporter;

int gate_exporter_open(struct gate_exporter **out, sd_event *ev,
		       const struct gate_metrics_source *s, const struct gate_config *c,
		       struct gate_error *err);
/* Takes over a new address, textfile and per_vm. */
int gate_exporter_reconfigure(struct gate_exporter *x, const struct gate_config *c);
void gate_exporter_close(struct gate_exporter *x);

/* Writes the file anew, never half of it. 0 or -errno. */
int gate_exporter_write_file(const struct gate_metrics_source *s, const char *path);

#endif
