/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * A gate without programs: arrays in memory, small real hashes and tries. For
 * tests of what user space puts into the maps.
 */
#ifndef GATE25_TESTS_FAKEMAPS_H
#define GATE25_TESTS_FAKEMAPS_H

#include "config.h"
#include "maps.h"

struct fake_gate {
	struct gate_maps m;
	struct gate_conf conf;
	struct gate_global global;
	struct gate_config c;
	char dir[64]; /* the store's; removed in the end */
	char store[96];
};

/* Gated ports end with a 0. max_vms counts slot 0 in. */
void fake_gate_make(struct fake_gate *g, uint32_t max_vms, const uint16_t *ports);
void fake_gate_free(struct fake_gate *g);
/* New, empty maps, as after a reboot; configuration and store stay. */
void fake_gate_reboot(struct fake_gate *g);

/* What the program would find. NULL: nothing there. */
const struct gate_node *fake_gate_node(const struct fake_gate *g, uint32_t base, unsigned scope);
bool fake_gate_mac(const struct fake_gate *g, uint32_t slot, const char *mac,
		   struct gate_address *out);
/* The trie's longest match, as the program asks for it. */
bool fake_gate_ip(const struct fake_gate *g, uint32_t slot, const char *address,
		  struct gate_address *out);
bool fake_gate_exempt(const struct fake_gate *g, uint32_t scope, const char *address);
bool fake_gate_port(const struct fake_gate *g, uint32_t ifindex, struct gate_port *out);

#endif
