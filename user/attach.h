/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Puts programs on links: pinned tcx links from Linux 6.6, else an `ingress`
 * qdisc with cls_bpf through libnl (clsact only for egress, where configured).
 * Everything is idempotent: an existing attachment of ours is replaced in place.
 */
#ifndef GATE25_ATTACH_H
#define GATE25_ATTACH_H

#include "bpf.h"

enum gate_where { GATE_FROM_VM, GATE_TO_VM, GATE_UPLINK_OUT };

struct gate_attacher;

int gate_attach_open(struct gate_attacher **out, struct gate_bpf *b, const struct gate_config *c,
		     struct gate_error *err);
void gate_attach_close(struct gate_attacher *a);
/* "tcx" or "tc": what this kernel and configuration use. */
const char *gate_attach_hook(const struct gate_attacher *a);
/* from_vm goes to TC ingress (of a macvtap: egress), the others to egress. 0 or -errno. */
int gate_attach_put(struct gate_attacher *a, uint32_t ifindex, const char *name,
		    enum gate_where where, bool macvtap, struct gate_error *err);
/* Is it (still) there? Asks the kernel. 1, 0 or -errno. */
int gate_attach_check(struct gate_attacher *a, uint32_t ifindex, enum gate_where where);
int gate_attach_remove(struct gate_attacher *a, uint32_t ifindex, enum gate_where where);
/* Unpins links whose device is gone. Returns their number. */
int gate_attach_collect(struct gate_attacher *a);
/* Takes everything of ours off every link; works without a daemon (gate25 detach). */
int gate_attach_remove_all(const char *pin, void (*say)(void *, const char *), void *arg,
			   struct gate_error *err);

#endif
