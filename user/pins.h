/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The pin directory: a directory on a BPF file system (no dots in names there:
 * the kernel keeps them for itself).
 *   abiN/maps/NAME             the maps, `layout` (layout.h), and the programs on them
 *   abiN/maps-old*, other abiN an unfinished upgrade: what its maps hold is still to come
 *   links/IFINDEX-HOOK         tcx links
 *   links/IFINDEX-qdisc        a directory: the device's qdisc is of our making
 *   rcu-expedited              a directory: /sys/kernel/rcu_expedited is to be put back
 */
#ifndef GATE25_PINS_H
#define GATE25_PINS_H

#include "error.h"
#include <stddef.h>

#define GATE_PIN_PATH 512

/**
 * gate_pins_open() - make sure of the pin directory and take its lock.
 * @pin: [bpf] pin. Made when its parent is on a BPF file system.
 * @out: file descriptor that holds the lock until closed.
 * @err: one sentence on failure: not a BPF file system, no right, in use.
 * Return: 0 or -errno.
 */
int gate_pins_open(const char *pin, int *out, struct gate_error *err);

/* printf into a path of GATE_PIN_PATH bytes. 0 or -ENAMETOOLONG. */
int gate_pins_path(char *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* mkdir that takes an existing directory for done. */
int gate_pins_mkdir(const char *path);
/* Removes a directory and what is in it. What is gone already is done. */
int gate_pins_remove(const char *path);
/* Calls cb for each entry of a directory; not 0 ends it. A missing directory is empty. */
int gate_pins_list(const char *path, int (*cb)(void *, const char *name), void *arg);
/* Swaps two existing directories in one step, or moves `from` where `to` is missing. */
int gate_pins_swap(const char *from, const char *to);

#endif
