/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Nodes by what they say: heads whose policies are equal show one node. A host has few
 * different policies, so what thousands of VMs are judged by stays in the nearest cache.
 * A node that no head shows any more rests before it is written anew.
 */
#ifndef GATE25_NODES_H
#define GATE25_NODES_H

#include "maps.h"
#include "pool.h"

struct gate_nodes {
	struct gate_node *node; /* the maps' array */
	struct gate_pool pool;
	uint32_t *first, mask; /* chains of numbers by what the nodes say */
	struct gate_nodes_link {
		uint32_t refs; /* how many heads show it */
		uint32_t hash, next;
	} * link; /* by number */
};

void gate_nodes_open(struct gate_nodes *n, const struct gate_maps *m, uint64_t rest_ns);
void gate_nodes_close(struct gate_nodes *n);
/**
 * gate_nodes_adopt() - a head that an earlier daemon has left.
 * Return: the number it is to show from now on: its own, that of an equal node, or 0 for
 * what is no node at all.
 */
uint32_t gate_nodes_adopt(struct gate_nodes *n, uint64_t head);
/** gate_nodes_take() - the number of a node that says this, UINT32_MAX when none is left */
uint32_t gate_nodes_take(struct gate_nodes *n, const struct gate_node *says);
/** gate_nodes_give() - one head fewer shows it */
void gate_nodes_give(struct gate_nodes *n, uint32_t id);

#endif
