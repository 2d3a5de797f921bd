/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* A hash table from bytes to a pointer, and ordered keys for range walks. */
#ifndef GATE25_TABLE_H
#define GATE25_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gate_table_entry {
	struct gate_table_entry *next;
	uint64_t hash;
	void *value;
	size_t len;
	unsigned char key[];
};

/* All zero is an empty table. */
struct gate_table {
	struct gate_table_entry **bucket;
	size_t nbuckets, count;
};

/** gate_table_get() - value under the key, NULL when there is none */
void *gate_table_get(const struct gate_table *t, const void *key, size_t len);
/** gate_table_put() - enters or replaces; the key is copied, the value is not */
void gate_table_put(struct gate_table *t, const void *key, size_t len, void *value);
/** gate_table_add() - enters under a new key; else the value that is there, which stays */
void *gate_table_add(struct gate_table *t, const void *key, size_t len, void *value);
/** gate_table_reserve() - room for so many entries at once, in place of growing to it */
void gate_table_reserve(struct gate_table *t, size_t count);
/** gate_table_del() - takes the key out and returns its value, NULL when absent */
void *gate_table_del(struct gate_table *t, const void *key, size_t len);
/** gate_table_clear() - forgets all entries; the values are the caller's */
void gate_table_clear(struct gate_table *t);

/*
 * Walks all entries: it = 0 at first, returns NULL at the end. Nothing may be put
 * meanwhile; the entry just returned may be deleted.
 */
struct gate_table_iter {
	size_t bucket;
	struct gate_table_entry *next;
};
struct gate_table_entry *gate_table_next(const struct gate_table *t, struct gate_table_iter *it);

/*
 * Ordered keys of one fixed length (a skip list): "all prefixes within this one",
 * "all deadlines up to now".
 */
#define GATE_ORDER_KEY	  24
#define GATE_ORDER_LEVELS 16

struct gate_order_node {
	unsigned char key[GATE_ORDER_KEY];
	void *value;
	struct gate_order_node *next[];
};

struct gate_order {
	size_t keylen; /* bytes that count, up to GATE_ORDER_KEY */
	size_t count;
	uint64_t random;
	struct gate_order_node *head[GATE_ORDER_LEVELS];
};

void gate_order_init(struct gate_order *o, size_t keylen);
/** gate_order_put() - enters or replaces */
void gate_order_put(struct gate_order *o, const void *key, void *value);
/** gate_order_del() - true if the key was there */
bool gate_order_del(struct gate_order *o, const void *key);
/** gate_order_from() - the first node at or after the key; go on with ->next[0] */
struct gate_order_node *gate_order_from(const struct gate_order *o, const void *key);
void gate_order_clear(struct gate_order *o);

#endif
