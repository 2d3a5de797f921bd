/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
#ifndef GATE25_QUIESCE_H
#define GATE25_QUIESCE_H

/*
 * Returns when every run of a packet program that had begun has ended: what such a
 * run may still have been using is nobody's any more.
 */
void gate_quiesce(void);

#endif
