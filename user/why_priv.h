/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What the files of `why` share. */
#ifndef GATE25_WHY_PRIV_H
#define GATE25_WHY_PRIV_H

#include "why.h"

/* Where an address of the made packet comes from. */
enum why_origin { WHY_ASKED, WHY_REGISTERED, WHY_SEEN, WHY_PLACEHOLDER, WHY_ORIGIN_MAX };

/* One question and what the program said to it. */
struct why_case {
	struct gate_engine *engine;
	const struct gate_maps *m;
	uint32_t slot;
	struct gate_subject who; /* the VM on it; a WORD for slot 0 */
	const struct gate_vm_spec *vm;
	uint8_t mac[6];
	struct gate_prefix src, dst; /* one address each */
	enum why_origin mac_is, src_is;
	uint16_t dport;
	int port; /* index among the gated ports, -1 = not gated */
	struct gate_trace t;
	bool judged; /* the program took the packet for SMTP */
};

#define WHY_FRAME_MAX 96
#define WHY_CHAIN_MAX 16

/* Chooses the source addresses (why_frame.c). */
void why_choose_source(struct why_case *w, const struct gate_subject *asked);
/* A SYN from the source to the destination; returns its length. */
unsigned why_make_frame(const struct why_case *w, uint8_t frame[WHY_FRAME_MAX]);

/* A node that stands on the VM's chain (why_chain.c). */
struct why_link {
	uint32_t handle, node;
	struct gate_subject subject;
	uint16_t on;	 /* gated port it is for, 0 = all */
	bool configured; /* the configuration's, nobody's decision */
};
/* Those that have something to say, most specific first. */
unsigned why_chain(const struct why_case *w, struct why_link out[WHY_CHAIN_MAX]);
/* Who stands at a handle; false: nobody any more. */
bool why_link_at(const struct why_case *w, uint32_t handle, uint32_t node, struct why_link *out);
/* The decision that stands there, NULL = the configuration's, or only a quarantine. */
const struct gate_policy_spec *why_spec(const struct why_case *w, const struct why_link *l);
/* The VM's entry for its address, false = none. */
bool why_source_entry(const struct why_case *w, struct gate_address *out);

/* The array "steps"; *next_ms: when a flow would pass, UINT64_MAX = not known. */
void why_write_steps(const struct why_case *w, struct gate_buf *b, uint64_t *next_ms);
/* The buckets among them (why_buckets.c). */
void why_write_buckets(const struct why_case *w, struct gate_buf *b, uint64_t *next_ms);
/* Opens a step and writes its sentence. */
void why_step(struct gate_buf *b, const char *step, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
