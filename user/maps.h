/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The kernel side as user space sees it: file descriptors of the maps and, for
 * the arrays, their memory. Filled by gate_bpf_open() (bpf.c); everybody else
 * only reads the pointers and writes through them.
 */
#ifndef GATE25_MAPS_H
#define GATE25_MAPS_H

#include <gate25/abi.h>
#include <gate25/near.h>
#include <stdint.h>

struct gate_maps {
	/* hashes, tries, the ring: by file descriptor, -1 while closed */
	int ports, mac_owner, ip_owner, macs, ips, exempt, reasons, untold, events;

	/* mmap-ed arrays */
	struct gate_conf *conf;
	struct gate_global *global;
	struct gate_vm *vms;
	char (*names)[GATE_NAME_LEN]; /* canonical subject without kind: "vm" names; see below */
	uint64_t *heads;
	struct gate_node *nodes;
	struct gate_bucket_set *buckets;
	struct gate_budget *budgets;
	uint64_t *shadow_heads; /* of the candidate policy, as heads */
	struct gate_shadow *shadow;
	struct gate_counters *counters;
	struct gate_port_counters *port_counters;
	struct gate_flow_set *flows;
	struct gate_dest_set *dests;
	struct gate_near_set *near_macs;

	/* numbers of elements */
	uint32_t nheads, nnodes, nbuckets, nbudgets;
	uint32_t scopes; /* gate_scopes(conf->nports) */

	int ncpus; /* possible CPUs, for `reasons` and `untold` */
};

/*
 * names[slot] is the VM's name when vms[slot].flags has GATE_VM_REGISTERED, else
 * the name of the port it is for. Slot 0 is "unknown".
 *
 * Handle bases (see abi.h; handle = base * scopes + scope).
 */
static inline uint32_t gate_base_default(void)
{
	return 1;
}
static inline uint32_t gate_base_vm(uint32_t slot)
{
	return 2 + slot;
}
static inline uint32_t gate_base_tenant(const struct gate_maps *m, uint32_t tenant)
{
	return 2 + m->conf->max_vms + tenant;
}
static inline uint32_t gate_base_override(const struct gate_maps *m, uint32_t n)
{
	return 2 + m->conf->max_vms + m->conf->max_tenants + n;
}
static inline uint32_t gate_bucket_index(const struct gate_maps *m, uint32_t slot, uint32_t id)
{
	if (id <= m->scopes)
		return slot * (m->scopes + 1) + id;
	return m->vms[slot].override_base + id - (m->scopes + 1);
}

/* Behind each change of `ports`: until then the programs go by what they know of it. */
static inline void gate_maps_ports_changed(const struct gate_maps *m)
{
	__atomic_fetch_add(&m->conf->ports_edition, 1, __ATOMIC_RELEASE);
}

#endif
