/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What an address leads to: its entry, the policies that it brings, its bucket set. */
#ifndef GATE25_TESTS_SYNC_LAB_H
#define GATE25_TESTS_SYNC_LAB_H

#include "box_lab.h"
#include "../lib/fakeclock.h"
#include "sync.h"

#include <stdio.h>
#include <string.h>

#define change(subject, words) box_change(&box, fake_now(), subject, words)

/* "limit+quarantine" of the node that a base leads to; "" = none. */
static inline const char *state_at(uint32_t base)
{
	static char text[2][40];
	static int which;
	const struct gate_node *n = base ? fake_gate_node(&box.g, base, 0) : NULL;

	which = !which;
	snprintf(text[which], sizeof(text[which]), "%s%s", n ? gate_state_name(n->state) : "",
		 n && n->quarantine_until ? "+quarantine" : "");
	return text[which];
}

struct expectation {
	uint32_t slot;
	const char *address;
	bool there;
	uint32_t flags;
	const char *first, *second;
	bool own_bucket;
};

static inline void check(const struct expectation *x)
{
	struct gate_address a = { 0 };
	uint8_t mac[6];
	bool there = gate_parse_mac(x->address, mac) == 0
			     ? fake_gate_mac(&box.g, x->slot, x->address, &a)
			     : fake_gate_ip(&box.g, x->slot, x->address, &a);

	assert_int_equal(there, x->there);
	if (!there)
		return;
	assert_int_equal(a.flags, x->flags);
	assert_string_equal(state_at(a.base[0]), x->first);
	assert_string_equal(state_at(a.base[1]), x->second);
	assert_int_equal(a.bucket > box.g.m.scopes, x->own_bucket);
}

#define REG   GATE_ADDR_REGISTERED
#define ALLOW GATE_ADDR_ALLOWED
#define ANY   GATE_SLOT_ANY

#endif
