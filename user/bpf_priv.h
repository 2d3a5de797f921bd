/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What bpf.c (programs and maps) does for bpf_open.c (which maps, and from where). */
#ifndef GATE25_BPF_PRIV_H
#define GATE25_BPF_PRIV_H

#include "bpf.h"
#include "bpf_maps.h"

/*
 * Opens and loads the skeleton: on new maps, or with `reuse` on those pinned in our
 * ABI's directory (-EPROTO when they are laid out otherwise). seeds: the conf whose
 * flow hash is kept, NULL = a new one.
 */
int gate_bpf_load(struct gate_bpf *b, const struct gate_config *c, const struct gate_sizes *s,
		  const struct gate_conf *seeds, bool reuse);
/* Early drop on the same maps. Where it does not load the gate goes on without it. */
int gate_bpf_load_early(struct gate_bpf *b, const struct gate_config *c);
/* Pins the maps that have no pin yet below `dir`, which may be new; the layout comes last. */
int gate_bpf_pin_maps(struct gate_bpf *b, const char *dir);
/* Pins the programs, so that who looks finds them. */
int gate_bpf_pin_programs(struct gate_bpf *b);
/* What the sizes and ports are, for whoever adopts the maps. Flags are the engine's. */
void gate_bpf_fill_conf(struct gate_bpf *b, const struct gate_config *c,
			const struct gate_sizes *s);
/* One sentence for what loading ended with. */
int gate_bpf_load_failed(const struct gate_sizes *s, int r, struct gate_error *err);
/* libbpf's own words, one level down. */
void gate_bpf_hear_libbpf(void);
/* Frees the skeletons. */
void gate_bpf_unload(struct gate_bpf *b);

#endif
