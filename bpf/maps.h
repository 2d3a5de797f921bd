/* SPDX-License-Identifier: GPL-2.0-only */
/* The maps, as abi.h lists them. A max_entries of 1 is set by the loader. */
#ifndef GATE25_BPF_MAPS_H
#define GATE25_BPF_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <gate25/abi.h>
#include <gate25/near.h>

/* All arrays are mmap-able: a toggle is a store, a scrape is a memory walk. */
#define GATE_ARRAY(map, value_type)                                                                \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                                  \
		__uint(map_flags, BPF_F_MMAPABLE);                                                 \
		__uint(max_entries, 1);                                                            \
		__type(key, __u32);                                                                \
		__type(value, value_type);                                                         \
	} map SEC(".maps")

GATE_ARRAY(conf, struct gate_conf);
GATE_ARRAY(global, struct gate_global);
GATE_ARRAY(vms, struct gate_vm);
GATE_ARRAY(heads, __u64);
GATE_ARRAY(nodes, struct gate_node);
GATE_ARRAY(buckets, struct gate_bucket_set);
GATE_ARRAY(budgets, struct gate_budget);
GATE_ARRAY(shadow_heads, __u64);
GATE_ARRAY(shadow, struct gate_shadow);
GATE_ARRAY(counters, struct gate_counters);
GATE_ARRAY(port_counters, struct gate_port_counters);
GATE_ARRAY(flows, struct gate_flow_set);
GATE_ARRAY(dests, struct gate_dest_set);
GATE_ARRAY(near_macs, struct gate_near_set);

/* The names are for user space alone; the program never reads them. */
struct gate_name {
	char name[GATE_NAME_LEN];
};
GATE_ARRAY(names, struct gate_name);

/* Written by user space alone, so an entry takes memory only while it is there. */
#define GATE_TABLE(map, map_type, flags, key_type, value_type)                                     \
	struct {                                                                                   \
		__uint(type, map_type);                                                            \
		__uint(map_flags, flags);                                                          \
		__uint(max_entries, 1);                                                            \
		__type(key, key_type);                                                             \
		__type(value, value_type);                                                         \
	} map SEC(".maps")

GATE_TABLE(ports, BPF_MAP_TYPE_HASH, BPF_F_NO_PREALLOC, __u32, struct gate_port);
GATE_TABLE(mac_owner, BPF_MAP_TYPE_HASH, BPF_F_NO_PREALLOC, struct gate_mac_owner_key, __u32);
GATE_TABLE(ip_owner, BPF_MAP_TYPE_LPM_TRIE, BPF_F_NO_PREALLOC, struct gate_ip_key, __u32);
GATE_TABLE(macs, BPF_MAP_TYPE_HASH, BPF_F_NO_PREALLOC, struct gate_mac_key, struct gate_address);
GATE_TABLE(ips, BPF_MAP_TYPE_LPM_TRIE, BPF_F_NO_PREALLOC, struct gate_ip_key, struct gate_address);
GATE_TABLE(exempt, BPF_MAP_TYPE_LPM_TRIE, BPF_F_NO_PREALLOC, struct gate_exempt_key, __u32);

/*
 * Ports as a CPU last found them in `ports`, by the low bits of the ifindex, with the
 * edition of the table that they are from.
 */
#define KNOWN_PORTS 256
struct known_port {
	__u32 ifindex;
	__u32 edition;
	struct gate_port port;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, KNOWN_PORTS);
	__type(key, __u32);
	__type(value, struct known_port);
} known_ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2 * GATE_R_MAX);
	__type(key, __u32);
	__type(value, __u64);
} reasons SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, GATE_UNTOLD_MAX);
	__type(key, __u32);
	__type(value, __u64);
} untold SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} events SEC(".maps");

#endif
