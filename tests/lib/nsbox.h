/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * A sandbox for tests that need a kernel: network and mount namespaces of the
 * test's own with a BPF file system, all gone when the test program ends.
 */
#ifndef GATE25_TESTS_NSBOX_H
#define GATE25_TESTS_NSBOX_H

#include "config.h"

#include <gate25/abi.h>

/* This version's directory below [bpf] pin. */
#define NSBOX_ABI	      "abi" NSBOX_TEXT(GATE_ABI)
#define NSBOX_TEXT(value)     NSBOX_TEXT_OF(value)
#define NSBOX_TEXT_OF(tokens) #tokens

/* Enters; exits with 77 (skipped) and a sentence when not root. */
void nsbox_enter(void);
/* Where the BPF file system is mounted. */
const char *nsbox_bpffs(void);
/* Runs a command line of the shell; fails the program when it fails. */
void nsbox_run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same, returns its exit status. */
int nsbox_try(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Has this kernel tcx (Linux 6.6)? */
bool nsbox_has_tcx(void);
/* A small configuration: port 25, bridge br0, tcx or tc, pin below the BPF file system. */
void nsbox_config(struct gate_config *c, const char *pin);

#endif
