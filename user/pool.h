/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Small numbers that the packet programs know things by: nodes, slots, tenants,
 * overrides, budgets. A number that was given back rests for a while before it
 * is handed out again, so that a program that still holds it does no harm.
 */
#ifndef GATE25_POOL_H
#define GATE25_POOL_H

#include <stdbool.h>
#include <stdint.h>

struct gate_pool {
	uint32_t first, end; /* numbers first .. end - 1 */
	uint64_t rest_ns;
	uint8_t *used;		 /* by number: was taken at some time */
	uint32_t taken, hint;	 /* below hint all are used */
	uint32_t *awake, nawake; /* given back and rested: a stack */
	struct gate_pool_resting {
		uint32_t id;
		uint64_t since;
	} * resting; /* a ring, oldest at head */
	uint32_t head, nresting, nring;
};

void gate_pool_init(struct gate_pool *p, uint32_t first, uint32_t end, uint64_t rest_ns);
void gate_pool_clear(struct gate_pool *p);
/** gate_pool_claim() - takes this very number (adoption); false if it is taken already */
bool gate_pool_claim(struct gate_pool *p, uint32_t id);
/** gate_pool_take() - a free number, UINT32_MAX when there is none (yet) */
uint32_t gate_pool_take(struct gate_pool *p, uint64_t now_ns);
void gate_pool_give(struct gate_pool *p, uint32_t id, uint64_t now_ns);
/** gate_pool_hurry() - those that rest are free from now on: the caller has seen to it */
void gate_pool_hurry(struct gate_pool *p);
/** gate_pool_left() - how many could be taken, resting ones included */
uint32_t gate_pool_left(const struct gate_pool *p);

#endif
