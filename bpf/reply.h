/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The receivers' answers: SMTP reply codes (RFC 5321 4.2) in the first bytes of
 * each line from the server, until the first TLS record. A reply of several
 * lines ("250-…") counts once, at its last line; several replies in one segment
 * and codes split over segments are followed by the state in gate_flow.reply.
 *
 * Limits, also in gate25-metrics(7): of one segment the first REPLY_SPAN bytes
 * are read; a gap in the sequence skips to the next line.
 *
 * Like the readers this compiles on the host.
 */
#ifndef GATE25_BPF_REPLY_H
#define GATE25_BPF_REPLY_H

#include "ctx.h"
#include <gate25/abi.h>

#define REPLY_CHUNK  64
#define REPLY_CHUNKS 16
#define REPLY_SPAN   (REPLY_CHUNK * REPLY_CHUNKS)

#define TLS_HANDSHAKE 0x16

/* gate_flow.reply: where in a line the reading stands. */
enum {
	REPLY_LINE = 0,	  /* at its start */
	REPLY_SKIP = 1,	  /* behind what matters, up to the line feed */
	REPLY_ONE = 4,	  /* + first digit - 2: one digit read */
	REPLY_TWO = 16,	  /* + (first digit - 2) * 10 + second: two */
	REPLY_THREE = 60, /* + first digit - 2: code complete, '-' or not comes next */
	REPLY_421 = 64,	  /* the same: a banner of these two refuses, and the byte that */
	REPLY_554 = 65,	  /* ends the code may come with the next segment */
};

struct reply_reader {
	__u8 bytes[REPLY_CHUNK];
	__u32 n; /* valid bytes */
	__u32 state;
	__u32 code;	  /* last complete code, 0 = none in this segment */
	__u32 first;	  /* first complete reply in this segment: 421, 554 or class, 0 = none */
	__u32 replies[4]; /* complete replies by class 2xx … 5xx */
	__u32 tls;	  /* a TLS record began: reading ends */
};

static __always_inline void reply_complete(struct reply_reader *r, __u32 state)
{
	__u32 class = (state - REPLY_THREE) & 3, first = (class + 2) * 100;

	if (state == REPLY_421) {
		class = 2;
		first = 421;
	} else if (state == REPLY_554) {
		class = 3;
		first = 554;
	}
	r->replies[class]++;
	if (!r->first)
		r->first = first;
}

/* Consumes one byte. */
static __always_inline void reply_byte(struct reply_reader *r, __u8 c)
{
	__u32 state = r->state;

	if (state >= REPLY_THREE && c != '-')
		reply_complete(r, state);
	if (c == '\n') {
		r->state = REPLY_LINE;
	} else if (state == REPLY_LINE) {
		if (c == TLS_HANDSHAKE)
			r->tls = 1;
		r->state = c >= '2' && c <= '5' ? REPLY_ONE + (c - '2') : REPLY_SKIP;
	} else if (state == REPLY_SKIP || state >= REPLY_THREE || c < '0' || c > '9') {
		r->state = REPLY_SKIP;
	} else if (state >= REPLY_TWO) {
		r->code = 200 + (state - REPLY_TWO) * 10 + (c - '0');
		r->state = REPLY_THREE + (((state - REPLY_TWO) / 10) & 3);
		if (r->code == 421)
			r->state = REPLY_421;
		else if (r->code == 554)
			r->state = REPLY_554;
	} else {
		r->state = REPLY_TWO + ((state - REPLY_ONE) & 3) * 10 + (c - '0');
	}
}

/* Consumes a chunk; a global function, so the verifier proves the loop once. */
PROVEN_ONCE int reply_chunk(struct reply_reader *r)
{
	if (!r)
		return 0;
	for (__u32 i = 0; i < REPLY_CHUNK; i++) {
		if (i >= r->n || r->tls)
			break;
		reply_byte(r, r->bytes[i]);
	}
	return 0;
}

#endif
