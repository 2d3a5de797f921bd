// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Counters are moved: taken from the source by an exchange with zero and added to
 * the target. What a source holds is therefore always what is still to be brought
 * over, after a crash at any point and in either direction.
 */
#include "upgrade_priv.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WORD sizeof(uint64_t)

static void move_word(uint64_t *to, uint64_t *from)
{
	uint64_t v = __atomic_exchange_n(from, 0, __ATOMIC_RELAXED);

	if (v)
		__atomic_fetch_add(to, v, __ATOMIC_RELAXED);
}

/* All words of an element that both know, but the one at `except`: that one is no sum. */
static void move_element(const struct gate_upgrade *u, enum gate_map map, uint32_t i, void *to,
			 size_t except)
{
	const struct source_map *m = &u->map[map];

	if (!m->base || i >= m->entries)
		return;
	char *from = m->base + i * m->stride;
	for (size_t s = 0; s < m->value.nsteps; s++) {
		const struct gate_plan_step *step = &m->value.step[s];
		for (uint32_t at = 0; at + WORD <= step->bytes; at += WORD) {
			uint64_t *word = (uint64_t *)(from + step->from + at);
			uint64_t *mine = (uint64_t *)((char *)to + step->to + at);
			if (step->to + at != except)
				move_word(mine, word);
			else if (*word)
				*mine = __atomic_exchange_n(word, 0, __ATOMIC_RELAXED);
		}
	}
}

void gate_upgrade_counters(const struct gate_upgrade *u, struct gate_maps *to)
{
	const size_t last_reply = offsetof(struct gate_counters, last_reply), none = SIZE_MAX;
	const uint32_t slots = gate_common(u->old.max_vms, u->new.max_vms);
	const uint32_t nports = gate_common(u->old.nports, u->new.nports);

	for (uint32_t slot = 0; slot < slots; slot++) {
		const uint32_t mine = gate_upgrade_same_vm(u, to, slot) ? slot : GATE_SLOT_UNKNOWN;
		move_element(u, GATE_MAP_counters, slot, &to->counters[mine], last_reply);
		for (uint32_t p = 0; p < nports && nports > 1; p++)
			move_element(u, GATE_MAP_port_counters, slot * u->old.nports + p,
				     &to->port_counters[mine * u->new.nports + p], none);
	}
	move_element(u, GATE_MAP_global, 0, to->global, none);
}

/* ---- words for each CPU: elements by the number that a name has in the source ---- */

/* Our number for an element of the source, -1 = it is none of this map, or unknown to us. */
static int our_number(const struct gate_layout_field *f, const char *map)
{
	for (size_t i = 0; i < gate_layout_count && !strcmp(f->map, map); i++)
		if (!strcmp(gate_layout[i].map, map) && !strcmp(gate_layout[i].name, f->name))
			return (int)gate_layout[i].offset;
	return -1;
}

/* What the source itself had from before: its words, by its own numbers. NULL = it has none. */
static uint64_t *words_before(const struct gate_upgrade *u, uint32_t *count)
{
	const struct source_map *m = &u->map[GATE_MAP_global];

	for (size_t i = 0; i < u->nfields && m->base; i++) {
		const struct gate_layout_field *f = &u->layout[i];
		if (strcmp(f->map, GATE_LAYOUT_REASONS) || f->size != WORD || f->stride != WORD ||
		    f->offset % WORD || f->offset + (uint64_t)f->count * WORD > m->value_size)
			continue;
		*count = f->count;
		return (uint64_t *)(m->base + f->offset);
	}
	*count = 0;
	return NULL;
}

/*
 * To one word beside our own counts, for those are the running programs': what a CPU
 * adds while we add would be lost. The source's own words are nobody's any more.
 */
static void move_cpus(const struct gate_upgrade *u, enum gate_map map, uint32_t from,
		      uint64_t *mine, uint64_t *word)
{
	const int fd = u->map[map].fd;
	uint64_t sum = 0;

	if (bpf_map_lookup_elem(fd, &from, word) < 0)
		return;
	for (int cpu = 0; cpu < u->ncpus; cpu++)
		sum += word[cpu];
	if (!sum)
		return;
	__atomic_fetch_add(mine, sum, __ATOMIC_RELAXED);
	memset(word, 0, (size_t)u->ncpus * WORD);
	bpf_map_update_elem(fd, &from, word, BPF_ANY);
}

static bool has_words(const struct source_map *m)
{
	return m->fd >= 0 && m->value_size == WORD;
}

static void move_reasons(const struct gate_upgrade *u, struct gate_maps *to, uint64_t *word)
{
	const struct source_map *m = &u->map[GATE_MAP_reasons];
	uint32_t nbefore;
	uint64_t *before = words_before(u, &nbefore);

	for (size_t i = 0; i < u->nfields && has_words(m); i++) {
		const struct gate_layout_field *f = &u->layout[i];
		const int mine = our_number(f, "reasons");
		/* the second half is what would have been refused */
		for (uint32_t would = 0; would < 2 && mine >= 0; would++) {
			const uint32_t from = f->offset + would * (m->entries / 2);
			uint64_t *sum = (uint64_t *)&to->global->reasons[would * GATE_R_MAX + mine];
			move_cpus(u, GATE_MAP_reasons, from, sum, word);
			if (from < nbefore)
				move_word(sum, &before[from]);
		}
	}
}

static void move_untold(const struct gate_upgrade *u, struct gate_maps *to, uint64_t *word)
{
	uint64_t *const sums[] = {
		[GATE_UNTOLD_RATIONED] = (uint64_t *)&to->global->events_rationed,
		[GATE_UNTOLD_LOST] = (uint64_t *)&to->global->events_lost,
	};

	_Static_assert(sizeof(sums) == GATE_UNTOLD_MAX * sizeof(*sums), "a sum for each");
	for (size_t i = 0; i < u->nfields && has_words(&u->map[GATE_MAP_untold]); i++) {
		const int mine = our_number(&u->layout[i], "untold");
		if (mine >= 0)
			move_cpus(u, GATE_MAP_untold, u->layout[i].offset, sums[mine], word);
	}
}

void gate_upgrade_cpu_words(const struct gate_upgrade *u, struct gate_maps *to)
{
	uint64_t *word = calloc((size_t)u->ncpus, WORD);

	if (!word)
		return;
	move_reasons(u, to, word);
	move_untold(u, to, word);
	free(word);
}
