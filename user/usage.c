// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "usage.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RECOUNT_S 10
/* Entries asked for in one system call. */
#define BATCH 1024
/* The largest key and value of a table. */
#define ENTRY_MAX 64

struct table {
	const char *name;
	size_t fd; /* offset of the descriptor in struct gate_maps */
	uint64_t entries, capacity, revision;
	int64_t counted_s;
};

static struct table tables[] = {
	{ .name = "ports", .fd = offsetof(struct gate_maps, ports) },
	{ .name = "mac_owner", .fd = offsetof(struct gate_maps, mac_owner) },
	{ .name = "ip_owner", .fd = offsetof(struct gate_maps, ip_owner) },
	{ .name = "macs", .fd = offsetof(struct gate_maps, macs) },
	{ .name = "ips", .fd = offsetof(struct gate_maps, ips) },
	{ .name = "exempt", .fd = offsetof(struct gate_maps, exempt) },
};
#define TABLES (sizeof(tables) / sizeof(tables[0]))
_Static_assert(TABLES + 4 == GATE_USAGE_MAPS, "room for the arrays");

/* The kernel hands out a hash bucket whole or not at all, hence the -ENOSPC. */
static uint64_t count_entries(int fd)
{
	static char keys[BATCH * ENTRY_MAX], values[BATCH * ENTRY_MAX];
	char position[ENTRY_MAX];
	bool first = true;
	uint64_t sum = 0;
	uint32_t n;
	int r;

	do {
		n = BATCH;
		r = bpf_map_lookup_batch(fd, first ? NULL : position, position, keys, values, &n,
					 NULL);
		if (r && r != -ENOENT)
			break;
		sum += n;
		first = false;
	} while (!r);
	return sum;
}

static uint64_t capacity(int fd)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &len) ? 0 : info.max_entries;
}

static int64_t monotonic_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return t.tv_sec;
}

static void recount(struct table *t, const struct gate_maps *m)
{
	int64_t now = monotonic_s();
	int fd;

	memcpy(&fd, (const char *)m + t->fd, sizeof(fd));
	if (t->capacity && now - t->counted_s < RECOUNT_S)
		return;
	/* ports come and go without a policy change; the others do not */
	if (t->capacity && t->revision == m->conf->revision && t != &tables[0])
		return;
	t->capacity = capacity(fd);
	t->entries = count_entries(fd);
	t->revision = m->conf->revision;
	t->counted_s = now;
}

static void count_slots(const struct gate_maps *m, uint64_t *used, uint64_t *active)
{
	uint32_t slot, id;
	int32_t flows;

	*used = *active = 0;
	for (slot = 0; slot < m->conf->max_vms; slot++) {
		if (!(m->vms[slot].flags & GATE_VM_USED))
			continue;
		*used += 1;
		flows = 0;
		for (id = 0; id <= m->scopes; id++)
			flows += (int32_t)m->buckets[gate_bucket_index(m, slot, id)].active;
		if (flows > 0) /* less is what is left of a race with the sweep */
			*active += (uint32_t)flows;
	}
}

/* Nodes that some head shows. Equal policies share one, so heads are no measure of them. */
static uint64_t count_nodes(const struct gate_maps *m)
{
	bool *shown = calloc(m->nnodes, sizeof(*shown));
	uint64_t n = 0;

	for (uint32_t i = 0; i < 2 * m->nheads && shown; i++) {
		uint64_t node = i < m->nheads ? m->heads[i] : m->shadow_heads[i - m->nheads];

		if (!node || node >= m->nnodes || shown[node])
			continue;
		shown[node] = true;
		n++;
	}
	free(shown);
	return n;
}

static uint64_t count_budgets(const struct gate_maps *m)
{
	uint64_t n = 0;
	uint32_t i;

	for (i = 1; i < m->nbudgets; i++)
		n += m->budgets[i].nrates != 0;
	return n;
}

size_t gate_usage_read(const struct gate_maps *m, struct gate_usage out[GATE_USAGE_MAPS])
{
	uint64_t flows = (uint64_t)m->conf->max_vms * m->conf->flow_sets * GATE_FLOW_WAYS;
	uint64_t used, active;
	size_t n = 0, i;

	count_slots(m, &used, &active);
	out[n++] = (struct gate_usage){ "vms", used, m->conf->max_vms };
	out[n++] = (struct gate_usage){ "flows", active, flows };
	out[n++] = (struct gate_usage){ "nodes", count_nodes(m), m->nnodes ? m->nnodes - 1 : 0 };
	out[n++] = (struct gate_usage){ "budgets", count_budgets(m),
					m->nbudgets ? m->nbudgets - 1 : 0 };
	for (i = 0; i < TABLES; i++) {
		recount(&tables[i], m);
		out[n++] = (struct gate_usage){ tables[i].name, tables[i].entries,
						tables[i].capacity };
	}
	return n;
}

/* A word that each CPU has of its own, all together; `cpus` has room for them. */
static uint64_t sum_cpus(const struct gate_maps *m, int fd, uint32_t key, uint64_t *cpus)
{
	uint64_t sum = 0;

	if (bpf_map_lookup_elem(fd, &key, cpus))
		return 0;
	for (int cpu = 0; cpu < m->ncpus; cpu++)
		sum += cpus[cpu];
	return sum;
}

void gate_usage_reasons(const struct gate_maps *m, struct gate_reason_sums *out)
{
	uint64_t *cpus = calloc((size_t)m->ncpus, sizeof(*cpus));
	uint32_t key;

	memset(out, 0, sizeof(*out));
	for (key = 0; cpus && key < 2 * GATE_R_MAX; key++) {
		uint64_t *sum = key < GATE_R_MAX ? &out->taken[key] : &out->would[key - GATE_R_MAX];

		*sum = m->global->reasons[key] + sum_cpus(m, m->reasons, key, cpus);
	}
	free(cpus);
}

void gate_usage_untold(const struct gate_maps *m, struct gate_untold_sums *out)
{
	uint64_t *cpus = calloc((size_t)m->ncpus, sizeof(*cpus));

	*out = (struct gate_untold_sums){ .rationed = m->global->events_rationed,
					  .lost = m->global->events_lost };
	if (!cpus)
		return;
	out->rationed += sum_cpus(m, m->untold, GATE_UNTOLD_RATIONED, cpus);
	out->lost += sum_cpus(m, m->untold, GATE_UNTOLD_LOST, cpus);
	free(cpus);
}
