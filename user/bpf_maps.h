/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Sizes of the maps, one table that says how many entries each has, and the
 * opening of a whole pinned set. Shared by bpf.c and upgrade.c.
 */
#ifndef GATE25_BPF_MAPS_USER_H
#define GATE25_BPF_MAPS_USER_H

#include "bpf.h"

/* What the number of entries of every map follows from. */
struct gate_sizes {
	uint32_t max_vms, max_tenants, max_overrides, max_budgets;
	uint32_t nports, scopes;
	uint32_t flow_sets, dest_sets; /* per slot, powers of two */
};

struct gate_map_desc {
	const char *name;
	size_t field; /* offset in struct gate_maps: an int (fd), or a pointer (array) */
	bool array;
	uint32_t (*entries)(const struct gate_sizes *); /* NULL = as compiled */
};

/* Places in gate_map_desc. */
enum gate_map {
	GATE_MAP_conf,
	GATE_MAP_global,
	GATE_MAP_vms,
	GATE_MAP_names,
	GATE_MAP_heads,
	GATE_MAP_nodes,
	GATE_MAP_buckets,
	GATE_MAP_budgets,
	GATE_MAP_shadow_heads,
	GATE_MAP_shadow,
	GATE_MAP_counters,
	GATE_MAP_port_counters,
	GATE_MAP_flows,
	GATE_MAP_dests,
	GATE_MAP_near_macs,
	GATE_MAP_ports,
	GATE_MAP_mac_owner,
	GATE_MAP_ip_owner,
	GATE_MAP_macs,
	GATE_MAP_ips,
	GATE_MAP_exempt,
	GATE_MAP_reasons,
	GATE_MAP_untold,
	GATE_MAP_events,
	GATE_NMAPS
};
extern const struct gate_map_desc gate_map_desc[GATE_NMAPS];

void gate_sizes_from_config(const struct gate_config *c, struct gate_sizes *out);
void gate_sizes_from_conf(const struct gate_conf *conf, struct gate_sizes *out);
/* 0, or -E2BIG when a map would have more entries than a map can have. */
int gate_sizes_check(const struct gate_sizes *s);
/* Memory of the arrays and preallocated hashes in bytes, roughly. */
uint64_t gate_sizes_bytes(const struct gate_sizes *s);

/* All closed. */
void gate_maps_init(struct gate_maps *m);
/* Bytes of one element of an array. */
size_t gate_maps_element(enum gate_map map);
/**
 * gate_maps_add() - take one open map into the set.
 * @fd: stays the caller's; duplicated for tables, mapped for arrays.
 * @s: sizes an array must have, NULL = any.
 * Return: 0, -EPROTO when it is of another layout, or -errno.
 */
int gate_maps_add(struct gate_maps *m, const struct gate_map_desc *d, int fd,
		  const struct gate_sizes *s);
/* Sets the numbers of elements from the sizes. */
void gate_maps_count(struct gate_maps *m, const struct gate_sizes *s);
/* Reads the conf of a pinned set. 0, -ENOENT when there is none, -EPROTO or -errno. */
int gate_maps_read_conf(const char *dir, struct gate_conf *out);
/**
 * gate_maps_open() - open all maps pinned in a directory.
 * @dir: as abiN/maps.
 * @sizes: set to what the set's conf says.
 * Return: 0, -ENOENT when there is no conf, -EPROTO when others lack or do not
 * match, or -errno.
 */
int gate_maps_open(const char *dir, struct gate_maps *m, struct gate_sizes *sizes);
void gate_maps_close(struct gate_maps *m, const struct gate_sizes *s);

#endif
