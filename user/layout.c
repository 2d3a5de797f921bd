// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Fields by name, and the way from one layout to another; see layout.h. */
#include "layout.h"
#include "pins.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <gate25/abi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SIZE(type, f)  (sizeof(((type *)0)->f))
#define COUNT(type, f) (SIZE(type, f) / SIZE(type, f[0]))

/* A field; a field that is a list; a field of the items of a list. */
#define FIELD(map, type, f)                                                                        \
	{                                                                                          \
		map, #f, offsetof(type, f), SIZE(type, f), 1, SIZE(type, f)                        \
	}
#define LIST(map, type, f)                                                                         \
	{                                                                                          \
		map, #f, offsetof(type, f), SIZE(type, f[0]), COUNT(type, f), SIZE(type, f[0])     \
	}
#define ITEM(map, type, list, f)                                                                   \
	{                                                                                          \
		map, #list "." #f, offsetof(type, list[0].f), SIZE(type, list[0].f),               \
			COUNT(type, list), SIZE(type, list[0])                                     \
	}
/* An element that is one value. */
#define VALUE(map, bytes, count)                                                                   \
	{                                                                                          \
		map, "value", 0, bytes, count, bytes                                               \
	}
/* A word with a name: the index is what the name stands for. */
#define ELEMENT(map, name, index)                                                                  \
	{                                                                                          \
		map, name, index, 8, 1, 8                                                          \
	}

const struct gate_layout_field gate_layout[] = {
	FIELD("conf", struct gate_conf, flags), FIELD("conf", struct gate_conf, revision),
	LIST("conf", struct gate_conf, seed), FIELD("conf", struct gate_conf, abi),
	FIELD("conf", struct gate_conf, max_vms), FIELD("conf", struct gate_conf, max_tenants),
	FIELD("conf", struct gate_conf, max_overrides),
	FIELD("conf", struct gate_conf, max_budgets), FIELD("conf", struct gate_conf, flow_sets),
	FIELD("conf", struct gate_conf, dest_sets), FIELD("conf", struct gate_conf, nports),
	LIST("conf", struct gate_conf, ports), FIELD("conf", struct gate_conf, ports_edition),

	FIELD("global", struct gate_global, events_lost),
	FIELD("global", struct gate_global, events_rationed),
	/* not by number: by the names of `reasons` */
	LIST(GATE_LAYOUT_REASONS, struct gate_global, reasons),

	FIELD("vms", struct gate_vm, flags), FIELD("vms", struct gate_vm, binding),
	FIELD("vms", struct gate_vm, override_base), FIELD("vms", struct gate_vm, tenant),
	FIELD("vms", struct gate_vm, budget), FIELD("vms", struct gate_vm, first_mac),
	FIELD("vms", struct gate_vm, grace_until), FIELD("vms", struct gate_vm, event_tat),

	VALUE("names", 1, GATE_NAME_LEN), VALUE("heads", 8, 1),

	FIELD("nodes", struct gate_node, state), FIELD("nodes", struct gate_node, refuse),
	FIELD("nodes", struct gate_node, flags), FIELD("nodes", struct gate_node, nrates),
	FIELD("nodes", struct gate_node, concurrent), FIELD("nodes", struct gate_node, expires),
	FIELD("nodes", struct gate_node, quarantine_until),
	FIELD("nodes", struct gate_node, quarantine_refuse),
	ITEM("nodes", struct gate_node, rates, interval_ns),
	ITEM("nodes", struct gate_node, rates, tolerance_ns),
	FIELD("nodes", struct gate_node, destinations.interval_ns),
	FIELD("nodes", struct gate_node, destinations.tolerance_ns),

	LIST("buckets", struct gate_bucket_set, tat),
	FIELD("buckets", struct gate_bucket_set, destinations_tat),
	FIELD("buckets", struct gate_bucket_set, active),
	FIELD("buckets", struct gate_bucket_set, sweep),

	/* shadow and shadow_heads are made anew from the candidate that the store keeps */

	FIELD("budgets", struct gate_budget, nrates),
	ITEM("budgets", struct gate_budget, rates, interval_ns),
	ITEM("budgets", struct gate_budget, rates, tolerance_ns),
	LIST("budgets", struct gate_budget, tat),

#define X(name) FIELD("counters", struct gate_counters, name),
	GATE_COUNTERS(X)
#undef X
		FIELD("counters", struct gate_counters, last_reply),

	FIELD("port_counters", struct gate_port_counters, flows_admitted),
	FIELD("port_counters", struct gate_port_counters, flows_limited),
	FIELD("port_counters", struct gate_port_counters, flows_blocked),
	FIELD("port_counters", struct gate_port_counters, flows_would_refuse),

	ITEM("flows", struct gate_flow_set, way, fingerprint),
	ITEM("flows", struct gate_flow_set, way, seen),
	ITEM("flows", struct gate_flow_set, way, state),
	ITEM("flows", struct gate_flow_set, way, flags),
	ITEM("flows", struct gate_flow_set, way, bucket),
	ITEM("flows", struct gate_flow_set, way, reply),
	ITEM("flows", struct gate_flow_set, way, peer_seq),

	LIST("dests", struct gate_dest_set, way),

	VALUE("ports.key", 4, 1), FIELD("ports", struct gate_port, slot),
	FIELD("ports", struct gate_port, flags),

	FIELD("mac_owner.key", struct gate_mac_owner_key, ifindex),
	LIST("mac_owner.key", struct gate_mac_owner_key, mac), VALUE("mac_owner", 4, 1),

	FIELD("ip_owner.key", struct gate_ip_key, prefixlen),
	FIELD("ip_owner.key", struct gate_ip_key, slot),
	LIST("ip_owner.key", struct gate_ip_key, addr), VALUE("ip_owner", 4, 1),

	FIELD("macs.key", struct gate_mac_key, slot), LIST("macs.key", struct gate_mac_key, mac),
	FIELD("macs", struct gate_address, flags), LIST("macs", struct gate_address, base),
	FIELD("macs", struct gate_address, bucket), FIELD("macs", struct gate_address, budget),

	FIELD("ips.key", struct gate_ip_key, prefixlen), FIELD("ips.key", struct gate_ip_key, slot),
	LIST("ips.key", struct gate_ip_key, addr), FIELD("ips", struct gate_address, flags),
	LIST("ips", struct gate_address, base), FIELD("ips", struct gate_address, bucket),
	FIELD("ips", struct gate_address, budget),

	FIELD("exempt.key", struct gate_exempt_key, prefixlen),
	FIELD("exempt.key", struct gate_exempt_key, scope),
	LIST("exempt.key", struct gate_exempt_key, addr), VALUE("exempt", 4, 1),

	ELEMENT("untold", "rationed", GATE_UNTOLD_RATIONED),
	ELEMENT("untold", "lost", GATE_UNTOLD_LOST),

#define X(name, text, verdict) ELEMENT("reasons", text, GATE_R_##name),
	GATE_REASONS(X)
#undef X
};
const size_t gate_layout_count = sizeof(gate_layout) / sizeof(gate_layout[0]);

/* ---- beside the maps ---- */

#define FIELDS_MAX 4096 /* more is no layout of ours */

static int write_rows(int fd)
{
	for (uint32_t i = 0; i < gate_layout_count; i++)
		if (bpf_map_update_elem(fd, &i, &gate_layout[i], BPF_ANY) < 0)
			return -errno;
	return 0;
}

/* A version that has one map more writes it anew, in the place of the one that is there. */
int gate_layout_pin(const char *dir)
{
	char path[GATE_PIN_PATH], fresh[GATE_PIN_PATH];
	int err = gate_pins_path(path, "%s/layout", dir);

	err = err ? err : gate_pins_path(fresh, "%s/layout-new", dir);
	if (err)
		return err;
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "g25_layout", sizeof(uint32_t),
				sizeof(gate_layout[0]), (uint32_t)gate_layout_count, NULL);
	if (fd < 0)
		return -errno;
	err = write_rows(fd);
	unlink(fresh);
	if (!err && (bpf_obj_pin(fd, fresh) < 0 || rename(fresh, path) < 0))
		err = -errno;
	close(fd);
	return err;
}

static int read_rows(int fd, struct gate_layout_field **out, size_t *count)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return -errno;
	if (info.value_size != sizeof(**out) || info.max_entries > FIELDS_MAX)
		return -EPROTO;
	struct gate_layout_field *rows = calloc(info.max_entries, sizeof(*rows));
	if (!rows)
		return -ENOMEM;
	for (uint32_t i = 0; i < info.max_entries; i++) {
		if (bpf_map_lookup_elem(fd, &i, &rows[i]) < 0) {
			int err = -errno;
			free(rows);
			return err;
		}
		rows[i].map[sizeof(rows[i].map) - 1] = '\0';
		rows[i].name[sizeof(rows[i].name) - 1] = '\0';
	}
	*out = rows;
	*count = info.max_entries;
	return 0;
}

int gate_layout_read(const char *dir, struct gate_layout_field **out, size_t *count)
{
	char path[GATE_PIN_PATH];
	int err = gate_pins_path(path, "%s/layout", dir);

	if (err)
		return err;
	int fd = bpf_obj_get(path);
	if (fd < 0)
		return -errno;
	err = read_rows(fd, out, count);
	close(fd);
	return err;
}

/* ---- plans ---- */

static const struct gate_layout_field *find(const struct gate_layout_field *rows, size_t count,
					    const struct gate_layout_field *like)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(rows[i].map, like->map) && !strcmp(rows[i].name, like->name))
			return &rows[i];
	return NULL;
}

/* A number that grows keeps its low bytes low. */
static uint32_t low_bytes(const struct gate_layout_field *from, const struct gate_layout_field *to)
{
	return __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? to->size - from->size : 0;
}

static int add_steps(struct gate_plan *p, const struct gate_layout_field *from,
		     const struct gate_layout_field *to)
{
	const uint32_t count = from->count < to->count ? from->count : to->count;
	void *more = realloc(p->step, (p->nsteps + count) * sizeof(*p->step));

	if (!more)
		return -ENOMEM;
	p->step = more;
	for (uint32_t i = 0; i < count; i++)
		p->step[p->nsteps++] = (struct gate_plan_step){
			.from = from->offset + i * from->stride,
			.to = to->offset + i * to->stride + low_bytes(from, to),
			.bytes = from->size,
		};
	return 0;
}

static int by_place(const void *a, const void *b)
{
	const struct gate_plan_step *x = a, *y = b;

	return (x->to > y->to) - (x->to < y->to);
}

/* Neighbours that stay neighbours are copied as one. */
static void join_steps(struct gate_plan *p)
{
	size_t n = 0;

	if (!p->nsteps)
		return;
	qsort(p->step, p->nsteps, sizeof(*p->step), by_place);
	for (size_t i = 1; i < p->nsteps; i++) {
		struct gate_plan_step *last = &p->step[n], *s = &p->step[i];
		if (last->from + last->bytes == s->from && last->to + last->bytes == s->to)
			last->bytes += s->bytes;
		else
			p->step[++n] = *s;
	}
	p->nsteps = n + 1;
}

int gate_plan_make(struct gate_plan *out, const struct gate_layout_field *from, size_t count,
		   const struct gate_layout_field *to, size_t nto, const char *map)
{
	struct gate_plan p = { 0 };
	int err = 0;

	for (size_t i = 0; i < nto && !err; i++) {
		if (strcmp(to[i].map, map) != 0)
			continue;
		const struct gate_layout_field *f = find(from, count, &to[i]);
		if (f && f->size > to[i].size)
			err = -EPROTO;
		else if (f && f->count)
			err = add_steps(&p, f, &to[i]);
	}
	if (err) {
		gate_plan_free(&p);
		return err;
	}
	join_steps(&p);
	*out = p;
	return 0;
}

void gate_plan_free(struct gate_plan *p)
{
	free(p->step);
	*p = (struct gate_plan){ 0 };
}

void gate_plan_run(const struct gate_plan *p, const void *from, void *to)
{
	for (size_t i = 0; i < p->nsteps; i++)
		memcpy((char *)to + p->step[i].to, (const char *)from + p->step[i].from,
		       p->step[i].bytes);
}
