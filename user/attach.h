/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Puts programs on links: pinned tcx links from Linux 6.6, else an `ingress`
 * qdisc with cls_bpf through rtnetlink (clsact only for egress, where configured).
 * Everything is idempotent: an existing attachment of ours is replaced in place.
 */
#ifndef GATE25_ATTACH_H
#define GATE25_ATTACH_H

#include "bpf.h"

/* EARLY_DROP is an XDP link on a VM port, beside from_vm and never instead of it. */
enum gate_where { GATE_FROM_VM, GATE_TO_VM, GATE_UPLINK_OUT, GATE_EARLY_DROP };

struct gate_attacher;

int gate_attach_open(struct gate_attacher **out, struct gate_bpf *b, const struct gate_config *c,
		     struct gate_error *err);
void gate_attach_close(struct gate_attacher *a);

/* "tcx" or "tc": what this kernel and configuration use. */
const char *gate_attach_hook(const struct gate_attacher *a);
/* Is to_vm put on VM ports? With tcx unless configured off, with tc only where configured. */
bool gate_attach_wants_to_vm(const struct gate_attacher *a);
/* Is early_drop put on this VM port? `on`: on each; `auto`: only where it pays. */
bool gate_attach_wants_early(const struct gate_attacher *a, const char *kind);
/*
 * Does our program there see the frames before anybody else? Where it does not, another
 * program may let frames past it, and being attached proves nothing.
 */
bool gate_attach_is_first(const struct gate_attacher *a, uint32_t ifindex, enum gate_where where,
			  bool macvtap);
/* Legacy hook: is there a qdisc, whosever, that a filter could be put on? */
bool gate_attach_has_qdisc(struct gate_attacher *a, uint32_t ifindex);
/* Legacy hook, where a filter of ours is: is its qdisc one that somebody else has made? */
bool gate_attach_on_others_qdisc(const struct gate_attacher *a, uint32_t ifindex);
/* Flags of a port whose from_vm is attached: GATE_PORT_JUDGED, GATE_PORT_STAMPED or 0. */
uint32_t gate_attach_port_flags(const struct gate_attacher *a);
struct gate_bpf *gate_attach_bpf(struct gate_attacher *a);
/* A new configuration: to_vm may have changed; the hook stays until a restart. */
void gate_attach_reconfigure(struct gate_attacher *a, const struct gate_config *c);

/**
 * gate_attach_put() - put a program on a link, or swap it in place.
 * @ifindex, @name: the link; the name is for the sentence in @err only.
 * @macvtap: VM traffic shows at its egress, so that from_vm and to_vm change sides.
 *
 * from_vm goes to TC ingress, to_vm and uplink_out to egress, early_drop to XDP
 * in the driver. -EOPNOTSUPP: the driver has no XDP.
 * Return: 0, -ENODEV when the link is gone (no message), or -errno.
 */
int gate_attach_put(struct gate_attacher *a, uint32_t ifindex, const char *name,
		    enum gate_where where, bool macvtap, struct gate_error *err);
/* The same with the program of before an upgrade, which is called off; early_drop goes. */
int gate_attach_put_back(struct gate_attacher *a, uint32_t ifindex, enum gate_where where,
			 bool macvtap);
/* Is a program of an earlier daemon there, on whichever hook? */
bool gate_attach_earlier(struct gate_attacher *a, uint32_t ifindex, enum gate_where where);
/* Is a program of ours there, of this or an earlier daemon? 1, 0 or -errno. */
int gate_attach_present(struct gate_attacher *a, uint32_t ifindex, enum gate_where where);
/* Is this daemon's program (still) there? Asks the kernel. 1, 0 or -errno. */
int gate_attach_check(struct gate_attacher *a, uint32_t ifindex, enum gate_where where);
int gate_attach_remove(struct gate_attacher *a, uint32_t ifindex, enum gate_where where);
/**
 * gate_attach_hurry() - attach quickly from now on, or no longer.
 * @on: true while there is something to attach.
 *
 * Raises /sys/kernel/rcu_expedited where the daemon may write it, and puts it
 * back: an attachment holds the RTNL, and with it every change of the host's
 * network, for 50 us then instead of 10 ms.
 */
void gate_attach_hurry(struct gate_attacher *a, bool on);
/* Takes all programs off a link, and the qdisc where it is ours and empty. */
void gate_attach_clear(struct gate_attacher *a, uint32_t ifindex);
/* Unpins links whose device is gone. Returns their number. */
int gate_attach_collect(struct gate_attacher *a);

/**
 * gate_attach_remove_all() - take everything of ours off every link.
 * @pin: [bpf] pin; all pins below it are removed.
 * @say: called with a line for each thing that was taken off.
 *
 * Works as root without a daemon (gate25 detach); refuses while one runs, which
 * would put everything back.
 * Return: 0 or -errno.
 */
int gate_attach_remove_all(const char *pin, void (*say)(void *, const char *), void *arg,
			   struct gate_error *err);

#endif
