/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What the daemon tells about VMs, subjects and itself: the objects of
 * docs/control-api.md, read from engine and maps at that moment.
 */
#ifndef GATE25_SHOW_H
#define GATE25_SHOW_H

#include "json.h"

struct gate_show {
	struct gate_engine *engine;
	const struct gate_maps *maps;
	/* made by gate_show_begin() */
	struct gate_port_info *ports; /* sorted by slot */
	unsigned nports, ports_size;
	bool failed;
};

/* What status tells of the daemon itself. */
struct gate_show_host {
	const char *hook;  /* "tcx" or "tc" */
	int64_t started;   /* Unix s */
	char contact[256]; /* whom customers turn to, "" = not configured */
};

/* Collects the ports; each begin needs an end. */
void gate_show_begin(struct gate_show *s, struct gate_engine *e, const struct gate_maps *m);
void gate_show_end(struct gate_show *s);

/* The VM on a used slot: members without braces, beginning with "version". */
void gate_show_vm(const struct gate_show *s, struct gate_buf *b, uint32_t slot);
/* The same VM in a few words: members without braces; counters that are zero are left out. */
void gate_show_brief(const struct gate_show *s, struct gate_buf *b, uint32_t slot);
/* A canonical subject: a VM's or port's members as above, else a subject object's. */
int gate_show_subject(const struct gate_show *s, struct gate_buf *b, const struct gate_subject *who,
		      struct gate_error *err);
/* The object of GET /v1/status. */
void gate_show_status(const struct gate_show *s, struct gate_buf *b,
		      const struct gate_show_host *host);

#endif
