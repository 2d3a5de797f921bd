// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Opens a pinned set of maps that another version, or other sizes, have made. */
#include "upgrade_priv.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* No element of ours is longer, by far. */
#define ELEMENT_MAX 65536U

static uint32_t round_up(uint32_t n, uint32_t to)
{
	return (n + to - 1) / to * to;
}

/* Does every step stay within both elements? The layout was written by somebody else. */
static bool plan_fits(const struct gate_plan *p, uint64_t from, uint64_t to)
{
	for (size_t i = 0; i < p->nsteps; i++) {
		const struct gate_plan_step *s = &p->step[i];
		if ((uint64_t)s->from + s->bytes > from || (uint64_t)s->to + s->bytes > to)
			return false;
	}
	return true;
}

/* Nothing is moved, and nothing is left out but padding at the end of our fields. */
static bool plan_is_copy(const struct gate_plan *p)
{
	for (size_t i = 0; i < p->nsteps; i++)
		if (p->step[i].from != p->step[i].to)
			return false;
	return true;
}

static int plan(const struct gate_upgrade *u, const char *map, struct gate_plan *out)
{
	return gate_plan_make(out, u->layout, u->nfields, gate_layout, gate_layout_count, map);
}

static int map_array(struct source_map *m, size_t element)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);

	m->stride = round_up(m->value_size, 8);
	m->same = m->value_size == element && plan_is_copy(&m->value);
	if (!plan_fits(&m->value, m->value_size, element))
		return -EPROTO;
	m->mapped = (m->stride * m->entries + page - 1) / page * page;
	void *p = mmap(NULL, m->mapped, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	m->base = p;
	return 0;
}

static int open_map(struct gate_upgrade *u, enum gate_map which)
{
	const struct gate_map_desc *d = &gate_map_desc[which];
	struct source_map *m = &u->map[which];
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);
	char path[GATE_PIN_PATH], key[32];
	int err = gate_pins_path(path, "%s/%s", u->dir, d->name);

	if (err)
		return err;
	m->fd = bpf_obj_get(path);
	if (m->fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (bpf_obj_get_info_by_fd(m->fd, &info, &len) < 0)
		return -errno;
	if (info.key_size > ELEMENT_MAX || info.value_size > ELEMENT_MAX)
		return -EPROTO;
	m->entries = info.max_entries;
	m->key_size = info.key_size;
	m->value_size = info.value_size;
	snprintf(key, sizeof(key), "%s.key", d->name);
	err = plan(u, d->name, &m->value);
	err = err ? err : plan(u, key, &m->key);
	if (!err && d->array)
		err = info.type == BPF_MAP_TYPE_ARRAY ? map_array(m, gate_maps_element(which))
						      : -EPROTO;
	return err;
}

static int read_conf(struct gate_upgrade *u)
{
	struct gate_conf buf;

	if (!u->map[GATE_MAP_conf].base)
		return -EPROTO;
	u->conf = *(const struct gate_conf *)gate_source_at(u, GATE_MAP_conf, 0, &buf);
	gate_sizes_from_conf(&u->conf, &u->old);
	if (u->conf.nports > GATE_MAX_PORTS || !u->conf.flow_sets || !u->conf.dest_sets)
		return -EPROTO;
	return gate_sizes_check(&u->old) ? -EPROTO : 0;
}

int gate_upgrade_open(struct gate_upgrade **out, const char *dir)
{
	struct gate_upgrade *u = calloc(1, sizeof(*u));

	if (!u)
		return -ENOMEM;
	for (int i = 0; i < GATE_NMAPS; i++)
		u->map[i].fd = -1;
	int err = gate_pins_path(u->dir, "%s", dir);
	if (!err)
		err = access(dir, F_OK) < 0 ? -errno : 0;
	if (!err && (err = gate_layout_read(dir, &u->layout, &u->nfields)) == -ENOENT)
		err = -EPROTO;
	for (int i = 0; i < GATE_NMAPS && !err; i++)
		err = open_map(u, (enum gate_map)i);
	err = err ? err : read_conf(u);
	if (!err && (u->ncpus = libbpf_num_possible_cpus()) < 0)
		err = u->ncpus;
	if (err) {
		gate_upgrade_close(u);
		return err;
	}
	*out = u;
	return 0;
}

void gate_upgrade_close(struct gate_upgrade *u)
{
	if (!u)
		return;
	for (int i = 0; i < GATE_NMAPS; i++) {
		struct source_map *m = &u->map[i];
		if (m->base)
			munmap(m->base, m->mapped);
		if (m->fd >= 0)
			close(m->fd);
		gate_plan_free(&m->key);
		gate_plan_free(&m->value);
	}
	free(u->layout);
	free(u);
}

const char *gate_upgrade_dir(const struct gate_upgrade *u)
{
	return u->dir;
}

const struct gate_conf *gate_upgrade_conf(const struct gate_upgrade *u)
{
	return &u->conf;
}

const void *gate_source_at(const struct gate_upgrade *u, enum gate_map map, uint32_t i, void *buf)
{
	const struct source_map *m = &u->map[map];

	if (m->base && m->same && i < m->entries)
		return m->base + i * m->stride;
	memset(buf, 0, gate_maps_element(map));
	if (m->base && i < m->entries)
		gate_plan_run(&m->value, m->base + i * m->stride, buf);
	return buf;
}

uint64_t *gate_source_word(const struct gate_upgrade *u, enum gate_map map, uint32_t i,
			   size_t offset)
{
	const struct source_map *m = &u->map[map];

	if (!m->base || i >= m->entries)
		return NULL;
	for (size_t s = 0; s < m->value.nsteps; s++) {
		const struct gate_plan_step *step = &m->value.step[s];
		if (offset < step->to || offset + sizeof(uint64_t) > step->to + step->bytes)
			continue;
		char *at = m->base + i * m->stride + step->from + (offset - step->to);
		return (uintptr_t)at % sizeof(uint64_t) ? NULL : (uint64_t *)at;
	}
	return NULL;
}
