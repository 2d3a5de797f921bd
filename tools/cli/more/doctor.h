/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What the checks of gate25 doctor share. */
#ifndef GATE25_CLI_DOCTOR_H
#define GATE25_CLI_DOCTOR_H

#include "../cli.h"
#include "config.h"
#include "rtnl.h"

enum finding { FINDING_OK, FINDING_WARNING, FINDING_FAILED, FINDING_UNKNOWN, FINDING_MAX };

struct doctor {
	struct cli *c;
	const struct gate_config *conf; /* the defaults if it cannot be read */
	json_t *findings;
	bool failed;
	bool stamped;	    /* the gate trusts a packet mark: the legacy hook, with a stamp */
	bool marks_written; /* a rule was found that writes marks */
	unsigned *gated;    /* ifindexes of devices with a program of the gate */
	unsigned ngated;
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
/* doctor_offload.c: fd is any socket. */
void doctor_offload(struct doctor *d, int fd, const char *name);

/* doctor_filters.c */

/* What one filter of tc is and does. */
struct doctor_filter {
	unsigned ours; /* program, if it is one of the gate's */
	unsigned prio;
	char kind[16];
	bool redirects, mirrors, marks;
	unsigned target; /* ifindex that it sends to */
};
/* False: the message tells of none. */
bool doctor_filter_read(struct nlmsghdr *h, struct doctor_filter *f);
/* True if a filter of the gate sits on the device. */
bool doctor_filters(struct doctor *d, struct gate_rtnl *rtnl, unsigned ifindex, const char *link);

/* doctor_marks.c */
void doctor_marks(struct doctor *d);
/* `where` may be NULL. */
void doctor_say_marks(struct doctor *d, const char *who, const char *where);

/* doctor_netns.c */
void doctor_netns(struct doctor *d);

/* doctor_guests.c */
void doctor_pass_through(struct doctor *d);

/* doctor_host.c */
bool doctor_daemon(struct doctor *d); /* does it run? */
void doctor_clock(struct doctor *d);

#endif
