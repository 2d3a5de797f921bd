// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "metrics_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define C(name) offsetof(struct gate_counters, name)
#define P(name) offsetof(struct gate_port_counters, name)

/* With `per_vm` each is gate25_NAME, and always gate25_host_NAME. */
const struct metric_family gate_metric_families[] = {
	{ "flows", "New SMTP flows by what became of them.", METRIC_COUNTER, .always = true,
	  .by_port = true,
	  .series = { { "verdict=\"admitted\"", C(flows_admitted), P(flows_admitted) },
		      { "verdict=\"limited\"", C(flows_limited), P(flows_limited) },
		      { "verdict=\"blocked\"", C(flows_blocked), P(flows_blocked) },
		      { "verdict=\"would_refuse\"", C(flows_would_refuse),
			P(flows_would_refuse) } },
	  .nseries = 4 },
	{ "connects", "SMTP connections by outcome.", METRIC_COUNTER,
	  .series = { { "outcome=\"established\"", C(connects_established), 0 },
		      { "outcome=\"refused\"", C(connects_refused), 0 },
		      { "outcome=\"timed_out\"", C(connects_timed_out), 0 } },
	  .nseries = 3 },
	{ "replies", "Replies of SMTP servers by class of their code.", METRIC_COUNTER,
	  .series = { { "class=\"2xx\"", C(replies_2xx), 0 },
		      { "class=\"3xx\"", C(replies_3xx), 0 },
		      { "class=\"4xx\"", C(replies_4xx), 0 },
		      { "class=\"5xx\"", C(replies_5xx), 0 } },
	  .nseries = 4 },
	{ "banners_refused", "Banners of SMTP servers that refused (421, 554).", METRIC_COUNTER,
	  .series = { { "", C(banners_refused), 0 } }, .nseries = 1 },
	{ "new_destinations", "Destinations that were new within the window.", METRIC_COUNTER,
	  .series = { { "", C(new_destinations), 0 } }, .nseries = 1 },
	{ "flows_active", "SMTP flows running now.", METRIC_GAUGE,
	  .series = { { "", METRIC_FLOWS_ACTIVE, 0 } }, .nseries = 1 },
	{ "bytes", "Bytes of frames to and from gated ports.", METRIC_COUNTER,
	  .series = { { "direction=\"from_vm\"", C(bytes_from_vm), 0 },
		      { "direction=\"to_vm\"", C(bytes_to_vm), 0 } },
	  .nseries = 2 },
};
const unsigned gate_metric_nfamilies =
	sizeof(gate_metric_families) / sizeof(gate_metric_families[0]);

void gate_metrics_family(struct gate_buf *b, bool openmetrics, const char *name,
			 enum metric_type type, const char *help)
{
	static const char *const types[] = { "counter", "gauge", "info", "histogram" };
	/* text 0.0.4 names the samples, not the family, and knows no info */
	static const char *const suffix[] = { "_total", "", "_info", "" };
	const char *type_name = types[type], *end = "";

	if (!openmetrics) {
		end = suffix[type];
		if (type == METRIC_INFO)
			type_name = "gauge";
	}
	gate_buf_puts(b, "# HELP ");
	gate_buf_puts(b, name);
	gate_buf_puts(b, end);
	gate_buf_putc(b, ' ');
	gate_buf_puts(b, help);
	gate_buf_puts(b, "\n# TYPE ");
	gate_buf_puts(b, name);
	gate_buf_puts(b, end);
	gate_buf_putc(b, ' ');
	gate_buf_puts(b, type_name);
	gate_buf_putc(b, '\n');
}

struct gate_metrics_page {
	struct gate_metrics_vms *vms; /* NULL: none of them */
	struct gate_buf host;	      /* the rest, ready; empty once it is given */
};

int gate_metrics_open(struct gate_metrics_page **out, const struct gate_metrics_source *s,
		      bool openmetrics)
{
	struct gate_metrics_page *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	gate_metrics_host(s, openmetrics, &p->host);
	if (openmetrics)
		gate_buf_puts(&p->host, "# EOF\n");
	if (s->per_vm != GATE_PER_VM_OFF)
		p->vms = gate_metrics_vms_open(s, openmetrics);
	if (p->host.failed || (s->per_vm != GATE_PER_VM_OFF && !p->vms)) {
		gate_metrics_close(p);
		return -ENOMEM;
	}
	*out = p;
	return 0;
}

bool gate_metrics_next(struct gate_metrics_page *p, struct gate_buf *out)
{
	if (p->vms && gate_metrics_vms_next(p->vms, out))
		return true;
	if (!p->host.len)
		return false;
	gate_buf_add(out, p->host.data, p->host.len);
	p->host.len = 0;
	return true;
}

void gate_metrics_close(struct gate_metrics_page *p)
{
	if (!p)
		return;
	gate_metrics_vms_close(p->vms);
	gate_buf_free(&p->host);
	free(p);
}

int gate_metrics_build(const struct gate_metrics_source *s, bool openmetrics, struct gate_buf *out)
{
	struct gate_metrics_page *p;
	int r = gate_metrics_open(&p, s, openmetrics);

	if (r)
		return r;
	while (gate_metrics_next(p, out))
		;
	gate_metrics_close(p);
	return out->failed ? -ENOMEM : 0;
}

bool gate_metrics_accepts_openmetrics(const char *accept)
{
	const char *at = accept ? strstr(accept, "application/openmetrics-text") : NULL;
	size_t len = at ? strcspn(at, ",") : 0;
	const char *q = at ? strstr(at, "q=0") : NULL;

	/* "q=0" with nothing but zeros behind it refuses the type (RFC 9110, 12.4.2) */
	if (q && q < at + len && strchr(",; ", q[3 + strspn(q + 3, ".0")]))
		return false;
	return at != NULL;
}
