/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The candidate policy (`gate25 apply FILE --shadow`): kept as text beside the
 * store, so that it outlives the daemon; judged in the packet path beside the live
 * policy; made live by --promote.
 */
#ifndef GATE25_CANDIDATE_H
#define GATE25_CANDIDATE_H

#include "buf.h"
#include "engine.h"

struct gate_candidate;

/* Takes up the candidate that an earlier daemon left, if any. */
int gate_candidate_open(struct gate_candidate **out, struct gate_engine *e,
			const struct gate_maps *m, const char *store_path, struct gate_error *err);
void gate_candidate_close(struct gate_candidate *c); /* it goes on in the kernel */
/* VMs and tenants may have come meanwhile: once a second. */
void gate_candidate_tick(struct gate_candidate *c);

/**
 * gate_candidate_put() - a new candidate takes the place of the former; counts begin anew
 * @items: taken over on success, with what they own.
 */
int gate_candidate_put(struct gate_candidate *c, const struct gate_actor *who,
		       struct gate_set_item *items, size_t n, struct gate_error *err);
/* Makes it live, as gate_engine_apply_set() would, and ends it. */
int gate_candidate_promote(struct gate_candidate *c, const struct gate_actor *who,
			   void (*diff)(void *, const char *), void *arg, struct gate_error *err);
int gate_candidate_drop(struct gate_candidate *c, const struct gate_actor *who,
			struct gate_error *err);
/* The object of GET /v1/shadow. */
void gate_candidate_show(const struct gate_candidate *c, struct gate_buf *b);

#endif
