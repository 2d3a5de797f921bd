/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What attach.c, attach_tcx.c and attach_tc.c share; nobody else needs it but bpf.c. */
#ifndef GATE25_ATTACH_PRIV_H
#define GATE25_ATTACH_PRIV_H

#include "attach.h"
#include "rtnl.h"

#define GATE_NWHERE 4

/* Names of the hooks in pins and filters. */
const char *gate_attach_where(enum gate_where where);

/* Which hook this kernel and configuration use. An error where tcx is asked for in vain. */
int gate_attach_choose(const struct gate_config *c, bool *tcx, struct gate_error *err);

/* ---- attach_tcx.c: links, of tcx and (early_drop) of XDP ---- */

/* Is this program the first to see a frame there? What cannot be asked counts as yes. */
bool gate_tcx_is_first(uint32_t ifindex, bool egress, uint32_t prog_id);
/* Does this kernel know tcx (6.6+)? */
bool gate_tcx_available(void);
/* Puts prog on ifindex, or swaps it in place; the link is pinned below `pin`. */
int gate_tcx_put(const char *pin, uint32_t ifindex, enum gate_where where, bool egress, int prog);
/* 1 when a link with program `prog_id` is on ifindex (0 = whichever program), 0 or -errno. */
int gate_tcx_check(const char *pin, uint32_t ifindex, enum gate_where where, uint32_t prog_id);
/* Detaches and unpins. 1 = done, 0 = there was none, or -errno. */
int gate_tcx_remove(const char *pin, uint32_t ifindex, enum gate_where where);
/* Unpins links whose device is gone. Returns their number. */
int gate_tcx_collect(const char *pin);

/*
 * Raises rcu_expedited where we may, and puts it back. A note below `pin` tells a later daemon to,
 * should this one be killed.
 */
void gate_tcx_hurry(const char *pin, bool on);

/* ---- attach_tc.c ---- */

struct gate_tc {
	struct gate_rtnl rtnl;
	const char *pin; /* notes there which qdiscs it has made */
	bool clsact;	 /* new qdiscs are made for egress too */
};

/* Is there a qdisc at the ingress, whosever? */
bool gate_tc_has_qdisc(struct gate_tc *t, uint32_t ifindex);
bool gate_tc_made_qdisc(const struct gate_tc *t, uint32_t ifindex);
/*
 * As with tcx; -EADDRINUSE: an `ingress` qdisc stands where egress needs clsact,
 * -EBUSY: no priority is free.
 */
int gate_tc_put(struct gate_tc *t, uint32_t ifindex, enum gate_where where, bool egress, int prog);
int gate_tc_check(struct gate_tc *t, uint32_t ifindex, enum gate_where where, uint32_t prog_id);
int gate_tc_remove(struct gate_tc *t, uint32_t ifindex, enum gate_where where);
/* Removes the qdisc where it is of our making and empty. 1, 0 or -errno. */
int gate_tc_remove_qdisc(struct gate_tc *t, uint32_t ifindex);
/* Forgets the qdiscs of devices that are gone. */
void gate_tc_collect(struct gate_tc *t);

#endif
