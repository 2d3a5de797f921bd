/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What the checks of gate25 doctor share. */
#ifndef GATE25_CLI_DOCTOR_H
#define GATE25_CLI_DOCTOR_H

#include "cli.h"
#include "config.h"

enum finding { FINDING_OK, FINDING_WARNING, FINDING_FAILED, FINDING_UNKNOWN, FINDING_MAX };

struct doctor {
	struct cli *c;
	const struct gate_config *conf; /* the defaults if it cannot be read */
	json_t *findings;
	bool failed;
};

/* remedy NULL where there is nothing to do. */
void doctor_say(struct doctor *d, enum finding f, const char *code, const char *remedy,
		const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* doctor_kernel.c */
void doctor_kernel(struct doctor *d);
void doctor_bpffs(struct doctor *d);
void doctor_rights(struct doctor *d, bool daemon_runs);
void doctor_hooks(struct doctor *d);
/* doctor_links.c */
void doctor_links(struct doctor *d);
/* doctor_host.c */
bool doctor_daemon(struct doctor *d); /* does it run? */
void doctor_pass_through(struct doctor *d);
void doctor_clock(struct doctor *d);

#endif
