/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* How full the maps are, and what the programs counted by reason. */
#ifndef GATE25_USAGE_H
#define GATE25_USAGE_H

#include "maps.h"

#include <stddef.h>

struct gate_usage {
	const char *map;
	uint64_t entries, capacity;
};

enum { GATE_USAGE_MAPS = 10 };

/*
 * Fills `out` and returns how many. Tables are counted by walking them in the
 * kernel, at most once in ten seconds and only when something may have changed;
 * between that the last figure stands.
 */
size_t gate_usage_read(const struct gate_maps *m, struct gate_usage out[GATE_USAGE_MAPS]);

/* Sums over all CPUs: first what was done, then what would have been (not enforced);
 * what was counted before upgrades included. */
struct gate_reason_sums {
	uint64_t taken[GATE_R_MAX], would[GATE_R_MAX];
};
void gate_usage_reasons(const struct gate_maps *m, struct gate_reason_sums *out);

/* Events that nobody was told of, likewise over all CPUs and upgrades. */
struct gate_untold_sums {
	uint64_t rationed, lost;
};
void gate_usage_untold(const struct gate_maps *m, struct gate_untold_sums *out);

#endif
