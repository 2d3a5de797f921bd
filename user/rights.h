/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Rights that the daemon gives away once the gate is in place. To load programs takes
 * CAP_BPF and CAP_PERFMON; to attach, follow links and write maps takes CAP_NET_ADMIN
 * alone. A daemon that was talked into something can then load nothing, trace nobody
 * and mount nothing.
 */
#ifndef GATE25_RIGHTS_H
#define GATE25_RIGHTS_H

/**
 * gate_rights_drop() - keep what running takes, for good.
 *
 * For a daemon with a user of its own; root's stays root's, who has said so by
 * starting it. Where the kernel wants CAP_BPF for every call (before 5.19, with
 * unprivileged BPF switched off) that one is kept.
 * @probe: file descriptor of a map, to find that out.
 *
 * What cannot be given away is kept, with a warning.
 */
void gate_rights_drop(int probe);

#endif
