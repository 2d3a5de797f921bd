/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Loads the programs, makes or adopts the pinned maps, swaps programs in place.
 * Pin layout below [bpf] pin:
 *   abiN/maps/NAME      the maps          abiN/progs/{from_vm,to_vm,uplink_out}
 *   links/IFINDEX-HOOK  tcx links (from_vm, to_vm, uplink_out)
 */
#ifndef GATE25_BPF_H
#define GATE25_BPF_H

#include "config.h"
#include "maps.h"

struct gate_bpf {
	struct gate_maps maps;
	int from_vm, to_vm, uplink_out; /* program fds */
	uint8_t tag[3][8]; /* kernel's program tags, same order */
	bool adopted; /* maps were there already */
	char pin[256];
};

/*
 * Opens or creates everything. Adopts pinned maps of the same ABI and sizes; of
 * other sizes or an older ABI: makes new ones beside them and copies (upgrade.c).
 * New programs are loaded on the (adopted) maps; what is attached stays attached
 * until gate_attach_port() replaces it in place. Errors (no bpffs, no BTF needed,
 * no capability, kernel too old) give one sentence each.
 */
int gate_bpf_open(struct gate_bpf **out, const struct gate_config *c, struct gate_error *err);
void gate_bpf_close(struct gate_bpf *b); /* pins stay */
int gate_bpf_unpin_all(const char *pin, struct gate_error *err); /* for detach */

#endif
