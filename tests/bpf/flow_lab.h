/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* One gate and the segments of a flow in both directions, for the tests of flows. */
#ifndef GATE25_TESTS_FLOW_LAB_H
#define GATE25_TESTS_FLOW_LAB_H

#include <bpf/bpf.h>
#include <stdbool.h>
#include <string.h>

#include "gate_lab.h"

#define SYN 0x02
#define ACK 0x10
#define FIN 0x01
#define RST 0x04
#define PSH 0x08

static inline struct gate_counters *counters(void)
{
	return &gate.m.counters[TEST_SLOT];
}

static inline struct gate_bucket_set *bucket(uint32_t id)
{
	return &gate.m.buckets[gate_bucket_index(&gate.m, TEST_SLOT, id)];
}

static inline void policy(struct gate_node n)
{
	testgate_policy(&gate, gate_base_vm(TEST_SLOT), 0, &n);
}

static inline struct gate_node state_node(enum gate_state s)
{
	struct gate_node n = { .state = s };

	return n;
}

static inline int from_vm(uint16_t sport, uint8_t flags)
{
	struct frame_spec spec = { .sport = sport, .flags = flags };

	return testgate_send(&gate, TEST_FROM_VM, "eth ip4 tcp", &spec);
}

static inline int to_vm(uint16_t port, uint8_t flags)
{
	struct frame_spec spec = {
		.sport = 25, .dport = port, .flags = flags, .src = 2, .dst = 1, .ack = 1001
	};

	return testgate_send(&gate, TEST_TO_VM, "eth ip4 tcp", &spec);
}

/* The only live flow of the VM. */
static inline struct gate_flow *flow(void)
{
	struct gate_flow_set *set = gate.m.flows + TEST_SLOT * gate.m.conf->flow_sets;

	for (uint32_t i = 0; i < gate.m.conf->flow_sets; i++)
		for (int w = 0; w < GATE_FLOW_WAYS; w++)
			if (set[i].way[w].fingerprint)
				return &set[i].way[w];
	return NULL;
}

#endif
