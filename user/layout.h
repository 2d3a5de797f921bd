/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What lies where in the elements of the maps, told by the one who made them.
 *
 * Theory of operation
 *
 *   Beside each pinned set of maps lies one more, `layout`: a row for each field of
 *   each element, by name. A version with another ABI, newer or older, reads it and
 *   copies field by field: fields that both know go over wherever they lie, fields
 *   that only one of them knows are left out or zero. No privilege is needed for it
 *   (the kernel gives its own type information to CAP_SYS_ADMIN alone).
 *
 *   So a field keeps its name as long as it keeps its meaning, and not longer. It may
 *   move, grow (u32 to u64) and get more items; where it would have to shrink nothing
 *   is copied and the older set stays in force. The same holds for the names of maps.
 *   struct gate_layout_field itself never changes.
 */
#ifndef GATE25_LAYOUT_H
#define GATE25_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* `count` items of `size` bytes, the first at `offset`, each `stride` after the one before. */
struct gate_layout_field {
	char map[20]; /* "vms"; "macs.key" for what a table is looked up by */
	char name[28];
	uint32_t offset, size, count, stride;
};
_Static_assert(sizeof(struct gate_layout_field) == 64, "read by other versions");

/* Rows of the words that hold sums of `reasons`, which are numbered as those are. */
#define GATE_LAYOUT_REASONS "reasons.before"

/* This version's. */
extern const struct gate_layout_field gate_layout[];
extern const size_t gate_layout_count;

/* Puts this version's layout beside the maps pinned in `dir`. */
int gate_layout_pin(const char *dir);

/**
 * gate_layout_read() - the layout beside the maps pinned in a directory.
 * @out: set to an array to free().
 * Return: 0, -ENOENT when there is none, -EPROTO when it cannot be read, or -errno.
 */
int gate_layout_read(const char *dir, struct gate_layout_field **out, size_t *count);

/* How to get from an element of another layout to one of ours. */
struct gate_plan {
	struct gate_plan_step {
		uint32_t from, to, bytes;
	} * step;
	size_t nsteps;
};

/**
 * gate_plan_make() - match the fields of one map by name.
 * @from, @count: the other layout.
 * @to, @nto: ours; gate_layout but in tests.
 * @map: as in the rows.
 * Return: 0 with *out to be freed by gate_plan_free(), -EPROTO when a field would
 * have to shrink, -ENOMEM.
 */
int gate_plan_make(struct gate_plan *out, const struct gate_layout_field *from, size_t count,
		   const struct gate_layout_field *to, size_t nto, const char *map);
void gate_plan_free(struct gate_plan *p);

/* Copies one element; what the other layout does not have keeps what `to` holds. */
void gate_plan_run(const struct gate_plan *p, const void *from, void *to);

#endif
