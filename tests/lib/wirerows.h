/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Rows of tricks.h held to what PACKETS says of their kind, on real devices: what
 * arrives at the far side, what comes back, and every counter.
 */
#ifndef GATE25_TESTS_WIREROWS_H
#define GATE25_TESTS_WIREROWS_H

#include "../../bpf/frame.h"
#include "rowrules.h"
#include "wirelab.h"

/* How a frame is handed over. */
enum wire_dress {
	DRESS_PLAIN,
	DRESS_PADDED, /* bytes behind the packet, so that little of it is linear */
	DRESS_CSUM,   /* the checksum left to the host */
	DRESS_GSO,    /* segmentation left to the host, the checksum not */
	DRESS_GSO_CSUM,
	DRESSES
};
extern const char *const wire_dress_name[DRESSES];

#define DRESS_GSO_SIZE	  400
#define DRESS_GSO_PAYLOAD 1500 /* four segments */

struct wire_tally {
	int checked, bad;
	int refused; /* by the device: no such frame reaches the gate */
};

/* Gives the VM of the wire a policy. */
void wire_policy(struct wire *w, enum vm_state vm, enum gate_refuse refuse);

/* Can this row be handed over so? */
bool wire_row_wears(const struct trick *t, enum wire_dress dress);
/*
 * What of the row comes out at the far side: number and bytes of the frames, hashed.
 * The kernel itself drops, segments and completes what is left to it: the gate must
 * change nothing of that, so the same is asked of a wire without a gate.
 */
uint64_t wire_row_ungated(struct wire *w, const struct trick *t, enum wire_dress dress);
/* Sends the row from such a VM and checks all that is to be seen of it. */
void wire_check_row(struct wire *w, const struct trick *t, enum vm_state vm, enum wire_dress dress,
		    uint64_t ungated, struct wire_tally *tally);

#endif
