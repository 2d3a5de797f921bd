// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "table.h"
#include "mem.h"

#define FIRST_BUCKETS 64

static uint64_t hash_bytes(const void *key, size_t len)
{
	const unsigned char *p = key;
	uint64_t h = 0xcbf29ce484222325ULL; /* FNV-1a */

	while (len--)
		h = (h ^ *p++) * 0x100000001b3ULL;
	return h ^ (h >> 32);
}

static struct gate_table_entry **find(const struct gate_table *t, const void *key, size_t len,
				      uint64_t hash)
{
	struct gate_table_entry **at = &t->bucket[hash & (t->nbuckets - 1)];

	while (*at &&
	       ((*at)->hash != hash || (*at)->len != len || memcmp((*at)->key, key, len) != 0))
		at = &(*at)->next;
	return at;
}

static void resize(struct gate_table *t, size_t n)
{
	struct gate_table_entry **bucket = gate_alloc(n, sizeof(struct gate_table_entry *));

	for (size_t i = 0; i < t->nbuckets; i++) {
		struct gate_table_entry *entry = t->bucket[i];

		while (entry) {
			struct gate_table_entry *next = entry->next;

			entry->next = bucket[entry->hash & (n - 1)];
			bucket[entry->hash & (n - 1)] = entry;
			entry = next;
		}
	}
	free(t->bucket);
	t->bucket = bucket;
	t->nbuckets = n;
}

void *gate_table_get(const struct gate_table *t, const void *key, size_t len)
{
	struct gate_table_entry *entry;

	if (!t->count)
		return NULL;
	entry = *find(t, key, len, hash_bytes(key, len));
	return entry ? entry->value : NULL;
}

void gate_table_reserve(struct gate_table *t, size_t count)
{
	size_t n = t->nbuckets ? t->nbuckets : FIRST_BUCKETS;

	while (n < count)
		n *= 2;
	if (n > t->nbuckets)
		resize(t, n);
}

/* The entry of a key, made where it is missing: then its value is NULL. */
static struct gate_table_entry *entry_of(struct gate_table *t, const void *key, size_t len)
{
	uint64_t hash = hash_bytes(key, len);
	struct gate_table_entry **at;

	if (t->count >= t->nbuckets)
		gate_table_reserve(t, t->count + 1);
	at = find(t, key, len, hash);
	if (!*at) {
		*at = gate_alloc(1, sizeof(**at) + len);
		(*at)->hash = hash;
		(*at)->len = len;
		memcpy((*at)->key, key, len);
		t->count++;
	}
	return *at;
}

void gate_table_put(struct gate_table *t, const void *key, size_t len, void *value)
{
	entry_of(t, key, len)->value = value;
}

void *gate_table_add(struct gate_table *t, const void *key, size_t len, void *value)
{
	struct gate_table_entry *entry = entry_of(t, key, len);

	if (entry->value)
		return entry->value;
	entry->value = value;
	return NULL;
}

void *gate_table_del(struct gate_table *t, const void *key, size_t len)
{
	struct gate_table_entry **at, *entry;
	void *value;

	if (!t->count)
		return NULL;
	at = find(t, key, len, hash_bytes(key, len));
	entry = *at;
	if (!entry)
		return NULL;
	value = entry->value;
	*at = entry->next;
	free(entry);
	t->count--;
	return value;
}

void gate_table_clear(struct gate_table *t)
{
	struct gate_table_iter it = { 0 };
	struct gate_table_entry *entry;

	while ((entry = gate_table_next(t, &it)))
		free(entry);
	free(t->bucket);
	*t = (struct gate_table){ 0 };
}

struct gate_table_entry *gate_table_next(const struct gate_table *t, struct gate_table_iter *it)
{
	struct gate_table_entry *entry;

	while (!it->next) {
		if (it->bucket >= t->nbuckets)
			return NULL;
		it->next = t->bucket[it->bucket++];
	}
	entry = it->next;
	it->next = entry->next;
	return entry;
}

void gate_order_init(struct gate_order *o, size_t keylen)
{
	*o = (struct gate_order){ .keylen = keylen, .random = 0x9e3779b97f4a7c15ULL };
}

/* Where a node with this key hangs, or would, on each level. */
static void trail(const struct gate_order *o, const void *key, struct gate_order_node ***at)
{
	struct gate_order_node *const *link = o->head;

	for (int level = GATE_ORDER_LEVELS - 1; level >= 0; level--) {
		while (link[level] && memcmp(link[level]->key, key, o->keylen) < 0)
			link = link[level]->next;
		at[level] = (struct gate_order_node **)&link[level];
	}
}

static int pick_level(struct gate_order *o)
{
	uint64_t x = o->random;
	int level;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	o->random = x;
	level = __builtin_ctzll(x | (1ULL << 62)) / 2; /* one in four goes a level up */
	return level < GATE_ORDER_LEVELS ? level + 1 : GATE_ORDER_LEVELS;
}

void gate_order_put(struct gate_order *o, const void *key, void *value)
{
	struct gate_order_node **at[GATE_ORDER_LEVELS], *node;
	int levels;

	trail(o, key, at);
	node = *at[0];
	if (node && memcmp(node->key, key, o->keylen) == 0) {
		node->value = value;
		return;
	}
	levels = pick_level(o);
	node = gate_alloc(1, sizeof(*node) + (size_t)levels * sizeof(struct gate_order_node *));
	memcpy(node->key, key, o->keylen);
	node->value = value;
	for (int i = 0; i < levels; i++) {
		node->next[i] = *at[i];
		*at[i] = node;
	}
	o->count++;
}

bool gate_order_del(struct gate_order *o, const void *key)
{
	struct gate_order_node **at[GATE_ORDER_LEVELS], *node;

	trail(o, key, at);
	node = *at[0];
	if (!node || memcmp(node->key, key, o->keylen) != 0)
		return false;
	for (int i = 0; i < GATE_ORDER_LEVELS && *at[i] == node; i++)
		*at[i] = node->next[i];
	free(node);
	o->count--;
	return true;
}

struct gate_order_node *gate_order_from(const struct gate_order *o, const void *key)
{
	struct gate_order_node **at[GATE_ORDER_LEVELS];

	trail(o, key, at);
	return *at[0];
}

void gate_order_clear(struct gate_order *o)
{
	struct gate_order_node *node = o->head[0];

	while (node) {
		struct gate_order_node *next = node->next[0];

		free(node);
		node = next;
	}
	gate_order_init(o, o->keylen);
}
