/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The parameters that the readers take for constant and the loader sets. */
#ifndef GATE25_FUZZ_PARAMS_H
#define GATE25_FUZZ_PARAMS_H

#include <stdbool.h>

void fuzz_params_set(unsigned nports, bool esp_unreadable);

#endif
