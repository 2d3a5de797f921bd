/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* One gate and the policies of its VMs, for the tests of who is judged by what. */
#ifndef GATE25_TESTS_POLICY_LAB_H
#define GATE25_TESTS_POLICY_LAB_H

#include <bpf/bpf.h>
#include <stdbool.h>
#include <string.h>
#include "gate_lab.h"

static uint16_t next_port;

#define OVERRIDE 3
#define TENANT	 2

static struct gate_counters *counters(void)
{
	return &gate.m.counters[TEST_SLOT];
}

static struct gate_node node(enum gate_state s)
{
	struct gate_node n = { .state = s };

	return s == GATE_LIMIT ? testgate_limit(1, 1) : n;
}

static void set(uint32_t base, struct gate_node n)
{
	testgate_policy(&gate, base, 0, &n);
}

static void begin(void)
{
	testgate_reset(&gate);
	next_port = 1000;
	set(gate_base_default(), node(GATE_ALLOW));
}

static int send_from(uint32_t src, uint8_t last_mac_byte)
{
	struct frame_spec spec = { .sport = next_port++,
				   .src = src,
				   .src_mac = { 2, 0, 0, 0, 0, last_mac_byte } };

	return testgate_send(&gate, TEST_FROM_VM, "eth ip4 tcp", &spec);
}

static int send_one(void)
{
	return send_from(1, 1);
}

static void set_mac(uint32_t slot, uint8_t last, struct gate_address a)
{
	struct gate_mac_key key = { .slot = slot, .mac = { 2, 0, 0, 0, 0, last } };

	assert_int_equal(bpf_map_update_elem(gate.m.macs, &key, &a, 0), 0);
	if (slot == GATE_SLOT_ANY)
		gate.m.conf->flags |= GATE_CONF_ANY_MACS;
	else
		gate.m.vms[slot].flags |= GATE_VM_MACS;
}

/* 10.0.0.last/32, or a /24 for last 0. */
static void set_ip(uint32_t slot, uint8_t last, struct gate_address a)
{
	struct gate_ip_key key = {
		.prefixlen = 32 + (last ? 128 : 120),
		.slot = slot,
		.addr = { [10] = 0xff, [11] = 0xff, [12] = 10, [15] = last },
	};

	assert_int_equal(bpf_map_update_elem(gate.m.ips, &key, &a, 0), 0);
	if (slot == GATE_SLOT_ANY)
		gate.m.conf->flags |= GATE_CONF_ANY_IPS;
	else
		gate.m.vms[slot].flags |= GATE_VM_IPS;
}

#endif
