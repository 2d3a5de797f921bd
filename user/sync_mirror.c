// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "sync_priv.h"

#include <bpf/bpf.h>
#include <errno.h>

#define KEY_MAX	  32
#define VALUE_MAX 64

static void remember(struct mirror *m, const void *key, const void *value, bool touched)
{
	struct mirror_entry *entry = gate_table_get(&m->entries, key, m->key_size);

	if (!entry) {
		entry = gate_alloc(1, sizeof(*entry) + m->value_size);
		gate_table_put(&m->entries, key, m->key_size, entry);
	}
	memcpy(entry->value, value, m->value_size);
	entry->touched = touched;
}

int gate_mirror_open(struct mirror *m, int fd, uint32_t key_size, uint32_t value_size)
{
	unsigned char key[KEY_MAX], value[VALUE_MAX];
	void *at = NULL;

	*m = (struct mirror){ .fd = fd, .key_size = key_size, .value_size = value_size };
	while (bpf_map_get_next_key(fd, at, key) == 0) {
		if (bpf_map_lookup_elem(fd, key, value) == 0)
			remember(m, key, value, false);
		at = key;
	}
	return errno == ENOENT ? 0 : -errno;
}

void gate_mirror_close(struct mirror *m)
{
	struct gate_table_iter it = { 0 };
	struct gate_table_entry *at;

	while ((at = gate_table_next(&m->entries, &it)))
		free(at->value);
	gate_table_clear(&m->entries);
}

const void *gate_mirror_get(const struct mirror *m, const void *key)
{
	const struct mirror_entry *entry = gate_table_get(&m->entries, key, m->key_size);

	return entry ? entry->value : NULL;
}

/* What is near at hand is never more than the kernel's table says, at no moment. */
static void put_near(struct mirror *m, const void *key, const void *value)
{
	struct gate_near_entry e;

	if (m->near && m->near_entry(key, value, &e))
		gate_near_put(m->near, &e);
}

static void del_near(struct mirror *m, const void *key, const struct mirror_entry *entry)
{
	struct gate_near_entry e;

	if (m->near && m->near_entry(key, entry->value, &e))
		gate_near_del(m->near, &e);
}

void gate_mirror_bring_near(struct mirror *m)
{
	struct gate_table_iter it = { 0 };
	struct gate_table_entry *at;

	while ((at = gate_table_next(&m->entries, &it)))
		put_near(m, at->key, ((const struct mirror_entry *)at->value)->value);
}

int gate_mirror_put(struct mirror *m, const void *key, const void *value)
{
	struct mirror_entry *entry = gate_table_get(&m->entries, key, m->key_size);

	if (entry && memcmp(entry->value, value, m->value_size) == 0) {
		entry->touched = true;
		return 0;
	}
	if (entry)
		del_near(m, key, entry);
	if (bpf_map_update_elem(m->fd, key, value, BPF_ANY)) {
		m->failed++;
		return -errno;
	}
	if (m->ports)
		gate_maps_ports_changed(m->ports);
	remember(m, key, value, true);
	put_near(m, key, value);
	return 0;
}

void gate_mirror_del(struct mirror *m, const void *key)
{
	struct mirror_entry *entry = gate_table_get(&m->entries, key, m->key_size);

	if (!entry)
		return;
	del_near(m, key, entry);
	bpf_map_delete_elem(m->fd, key);
	if (m->ports)
		gate_maps_ports_changed(m->ports);
	gate_table_del(&m->entries, key, m->key_size); /* the key may be the table's own */
	free(entry);
}

void gate_mirror_forget(struct mirror *m, const void *key)
{
	free(gate_table_del(&m->entries, key, m->key_size));
}

void gate_mirror_sweep(struct mirror *m)
{
	struct gate_table_iter it = { 0 };
	struct gate_table_entry *at;

	while ((at = gate_table_next(&m->entries, &it))) {
		struct mirror_entry *entry = at->value;

		if (!entry->touched)
			gate_mirror_del(m, at->key);
	}
}
