/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Loaded gates in the sandbox of nsbox.h. */
#ifndef GATE25_TESTS_BPFBOX_H
#define GATE25_TESTS_BPFBOX_H

#include "bpf.h"
#include "nsbox.h"

/* gate_bpf_open() that must succeed. */
struct gate_bpf *bpfbox_open(const struct gate_config *c);
/* Is there this file below [bpf] pin? */
bool bpfbox_exists(const struct gate_config *c, const char *rest);
/* Teardown: no pins are left for the next test. */
int bpfbox_remove(void **state);

#endif
