/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* An engine whose ports come and go as a test says. */
#ifndef GATE25_TESTS_PORTS_LAB_H
#define GATE25_TESTS_PORTS_LAB_H

#include "box_lab.h"
#include "../lib/fakeclock.h"

#include <bpf/bpf.h>
#include <string.h>

static inline int open_small(void **state)
{
	box_open(&box, 3, NULL);
	return 0;
}

#define change(subject, words) box_change(&box, fake_now(), subject, words)
#define up(ifindex, name)      gate_engine_port_up(box.e, ifindex, name, GATE_PORT_VM)

static inline uint32_t slot_of_port(uint32_t ifindex)
{
	struct gate_port p;

	return fake_gate_port(&box.g, ifindex, &p) ? p.slot : UINT32_MAX;
}

static inline void pass(unsigned seconds)
{
	while (seconds--) {
		fake_pass(1);
		gate_engine_tick(box.e, fake_now());
	}
}

static inline void new_mac(uint32_t slot, uint32_t ifindex)
{
	struct gate_event ev = { .slot = slot,
				 .ifindex = ifindex,
				 .type = GATE_E_NEW_MAC,
				 .mac = { 2, 0, 0, 0, 0, 9 } };

	gate_engine_event(box.e, &ev);
}

static inline uint64_t admitted(void)
{
	struct gate_counters c;

	gate_engine_totals(box.e, &c, NULL);
	return c.flows_admitted;
}

#define BOX(f)	 cmocka_unit_test_setup_teardown(f, open_box, close_box)
#define SMALL(f) cmocka_unit_test_setup_teardown(f, open_small, close_box)

#endif
