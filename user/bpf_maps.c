// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Map sizes and sets of open maps; see bpf_maps.h. */
#include "bpf_maps.h"
#include "pins.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Budgets beside those of tenants: shared prefixes. */
#define PREFIX_BUDGETS 256
/* Nodes beyond one for each head: a change fills a fresh one before the old is free. */
#define SPARE_NODES 1024

static uint32_t roundup_pow2(uint32_t n)
{
	uint32_t p = 1;

	while (p < n && p < 1U << 31)
		p <<= 1;
	return p;
}

/* ---- entries of each map; 64-bit inside, gate_sizes_check() refuses what does not fit ---- */

static uint64_t count_heads(const struct gate_sizes *s)
{
	return (2ULL + s->max_vms + s->max_tenants + s->max_overrides) * s->scopes;
}

static uint64_t count_buckets(const struct gate_sizes *s)
{
	return (uint64_t)s->max_vms * (s->scopes + 1) + (uint64_t)s->max_overrides * s->scopes;
}

static uint32_t one(const struct gate_sizes *s)
{
	return 1;
}

static uint32_t vms(const struct gate_sizes *s)
{
	return s->max_vms;
}

static uint32_t heads(const struct gate_sizes *s)
{
	return (uint32_t)count_heads(s);
}

static uint32_t nodes(const struct gate_sizes *s)
{
	return heads(s) + SPARE_NODES;
}

static uint32_t buckets(const struct gate_sizes *s)
{
	return (uint32_t)count_buckets(s);
}

static uint32_t budgets(const struct gate_sizes *s)
{
	return s->max_budgets;
}

static uint32_t port_counters(const struct gate_sizes *s)
{
	return s->nports > 1 ? s->max_vms * s->nports : 1;
}

static uint32_t flows(const struct gate_sizes *s)
{
	return s->max_vms * s->flow_sets;
}

static uint32_t dests(const struct gate_sizes *s)
{
	return s->max_vms * s->dest_sets;
}

static uint32_t near_macs(const struct gate_sizes *s)
{
	return gate_near_sets(s->max_vms);
}

/*
 * Room in a hash costs a bucket of 16 bytes, taken or not: two ports and two MACs
 * for each VM, and what else the host has. In a trie room costs nothing.
 */
static uint32_t ports(const struct gate_sizes *s)
{
	return 2 * s->max_vms + 4096;
}

static uint32_t macs(const struct gate_sizes *s)
{
	return 2 * (s->max_vms + s->max_overrides);
}

static uint32_t addresses(const struct gate_sizes *s)
{
	return 8 * s->max_vms + 2 * s->max_overrides;
}

static uint32_t exempt(const struct gate_sizes *s)
{
	return 2 * s->max_vms + 1024;
}

#define TABLE(map, entries)                                                                        \
	[GATE_MAP_##map] = { #map, offsetof(struct gate_maps, map), false, entries }
#define ARRAY(map, entries)                                                                        \
	[GATE_MAP_##map] = { #map, offsetof(struct gate_maps, map), true, entries }

const struct gate_map_desc gate_map_desc[GATE_NMAPS] = {
	ARRAY(conf, one),	 ARRAY(global, one),	  ARRAY(vms, vms),
	ARRAY(names, vms),	 ARRAY(heads, heads),	  ARRAY(nodes, nodes),
	ARRAY(buckets, buckets), ARRAY(budgets, budgets), ARRAY(shadow_heads, heads),
	ARRAY(shadow, vms),	 ARRAY(counters, vms),	  ARRAY(port_counters, port_counters),
	ARRAY(flows, flows),	 ARRAY(dests, dests),	  ARRAY(near_macs, near_macs),
	TABLE(ports, ports),	 TABLE(mac_owner, macs),  TABLE(ip_owner, addresses),
	TABLE(macs, macs),	 TABLE(ips, addresses),	  TABLE(exempt, exempt),
	TABLE(reasons, NULL),	 TABLE(untold, NULL),	  TABLE(events, NULL),
};

/* Bytes of one element of an array. */
static size_t element_size(const struct gate_map_desc *d)
{
	switch (d->field) {
#define SIZE(map)                                                                                  \
	case offsetof(struct gate_maps, map):                                                      \
		return sizeof(*((struct gate_maps *)0)->map)
		SIZE(conf);
		SIZE(global);
		SIZE(vms);
		SIZE(names);
		SIZE(heads);
		SIZE(nodes);
		SIZE(buckets);
		SIZE(budgets);
		SIZE(shadow_heads);
		SIZE(shadow);
		SIZE(counters);
		SIZE(port_counters);
		SIZE(flows);
		SIZE(dests);
		SIZE(near_macs);
#undef SIZE
	default:
		return 0;
	}
}

size_t gate_maps_element(enum gate_map map)
{
	return element_size(&gate_map_desc[map]);
}

/* ---- sizes ---- */

void gate_sizes_from_config(const struct gate_config *c, struct gate_sizes *out)
{
	uint32_t flow_sets = roundup_pow2(c->flows_per_vm) / GATE_FLOW_WAYS;
	uint32_t dest_sets = roundup_pow2(c->flows_per_vm) / 4 / GATE_DEST_WAYS;

	*out = (struct gate_sizes){
		.max_vms = c->max_vms,
		.max_tenants = c->max_tenants,
		.max_overrides = c->max_overrides,
		.max_budgets = c->max_tenants + PREFIX_BUDGETS,
		.nports = c->nports,
		.scopes = gate_scopes(c->nports),
		.flow_sets = flow_sets ? flow_sets : 1,
		.dest_sets = dest_sets ? dest_sets : 1,
	};
}

void gate_sizes_from_conf(const struct gate_conf *conf, struct gate_sizes *out)
{
	*out = (struct gate_sizes){
		.max_vms = conf->max_vms,
		.max_tenants = conf->max_tenants,
		.max_overrides = conf->max_overrides,
		.max_budgets = conf->max_budgets,
		.nports = conf->nports,
		.scopes = gate_scopes(conf->nports),
		.flow_sets = conf->flow_sets,
		.dest_sets = conf->dest_sets,
	};
}

int gate_sizes_check(const struct gate_sizes *s)
{
	const uint64_t largest[] = {
		count_heads(s) + SPARE_NODES,
		count_buckets(s),
		(uint64_t)s->max_vms * s->flow_sets,
		(uint64_t)s->max_vms * s->dest_sets,
		8ULL * s->max_vms + 2ULL * s->max_overrides,
		(uint64_t)s->max_tenants + PREFIX_BUDGETS,
	};

	for (size_t i = 0; i < sizeof(largest) / sizeof(largest[0]); i++)
		if (largest[i] > INT32_MAX)
			return -E2BIG;
	return s->max_vms ? 0 : -EINVAL;
}

uint64_t gate_sizes_bytes(const struct gate_sizes *s)
{
	/* with an entry in every other place of a hash or trie: header, key, value, bucket */
	const uint64_t table_place = 64;
	uint64_t sum = 0;

	for (size_t i = 0; i < GATE_NMAPS; i++) {
		const struct gate_map_desc *d = &gate_map_desc[i];
		if (d->entries)
			sum += d->entries(s) * (d->array ? element_size(d) : table_place);
	}
	return sum;
}

/* ---- sets of open maps ---- */

void gate_maps_init(struct gate_maps *m)
{
	*m = (struct gate_maps){ 0 };
	for (size_t i = 0; i < GATE_NMAPS; i++)
		if (!gate_map_desc[i].array)
			*(int *)((char *)m + gate_map_desc[i].field) = -1;
}

/* The kernel lays elements out at multiples of 8; ours are. */
static size_t mapped_bytes(const struct gate_map_desc *d, uint32_t entries)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (element_size(d) * entries + page - 1) / page * page;
}

int gate_maps_add(struct gate_maps *m, const struct gate_map_desc *d, int fd,
		  const struct gate_sizes *s)
{
	void *field = (char *)m + d->field;

	if (!d->array) {
		int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (copy < 0)
			return -errno;
		*(int *)field = copy;
		return 0;
	}

	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);
	if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return -errno;
	if (info.value_size != element_size(d) || (s && info.max_entries != d->entries(s)))
		return -EPROTO;
	void *p = mmap(NULL, mapped_bytes(d, info.max_entries), PROT_READ | PROT_WRITE, MAP_SHARED,
		       fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	memcpy(field, &p, sizeof(p));
	return 0;
}

void gate_maps_count(struct gate_maps *m, const struct gate_sizes *s)
{
	m->nheads = heads(s);
	m->nnodes = nodes(s);
	m->nbuckets = buckets(s);
	m->nbudgets = budgets(s);
	m->scopes = s->scopes;
}

int gate_maps_read_conf(const char *dir, struct gate_conf *out)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info), key = 0;
	char path[GATE_PIN_PATH];
	int err = gate_pins_path(path, "%s/conf", dir);

	if (err)
		return err;
	int fd = bpf_obj_get(path);
	if (fd < 0)
		return -errno;
	if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		err = -errno;
	else if (info.type != BPF_MAP_TYPE_ARRAY || info.value_size != sizeof(*out))
		err = -EPROTO;
	else if (bpf_map_lookup_elem(fd, &key, out) < 0)
		err = -errno;
	else if (out->abi != GATE_ABI)
		err = -EPROTO;
	close(fd);
	return err;
}

static int open_one(const char *dir, const struct gate_map_desc *d, struct gate_maps *m,
		    const struct gate_sizes *s)
{
	char path[GATE_PIN_PATH];
	int err = gate_pins_path(path, "%s/%s", dir, d->name);

	if (err)
		return err;
	int fd = bpf_obj_get(path);
	if (fd < 0)
		return errno == ENOENT ? -EPROTO : -errno;
	err = gate_maps_add(m, d, fd, s);
	close(fd);
	return err;
}

int gate_maps_open(const char *dir, struct gate_maps *m, struct gate_sizes *sizes)
{
	struct gate_conf conf;
	struct gate_sizes s;
	struct gate_maps got;
	int err = gate_maps_read_conf(dir, &conf);

	if (err)
		return err;
	gate_maps_init(&got);
	gate_sizes_from_conf(&conf, &s);
	for (size_t i = 0; i < GATE_NMAPS && !err; i++)
		err = open_one(dir, &gate_map_desc[i], &got, &s);
	if (!err && (got.ncpus = libbpf_num_possible_cpus()) < 0)
		err = got.ncpus;
	if (err) {
		gate_maps_close(&got, &s);
		return err;
	}
	gate_maps_count(&got, &s);
	*m = got;
	*sizes = s;
	return 0;
}

void gate_maps_close(struct gate_maps *m, const struct gate_sizes *s)
{
	for (size_t i = 0; i < GATE_NMAPS; i++) {
		const struct gate_map_desc *d = &gate_map_desc[i];
		void *field = (char *)m + d->field, *p;
		if (d->array) {
			memcpy(&p, field, sizeof(p));
			if (p)
				munmap(p, mapped_bytes(d, d->entries(s)));
		} else if (*(int *)field >= 0) {
			close(*(int *)field);
		}
	}
	gate_maps_init(m);
}
