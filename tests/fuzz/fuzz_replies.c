// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Any bytes as a server's words: what is counted must not depend on how TCP cuts
 * the stream into segments. The first bytes of the input are the lengths of the
 * segments, used in turn.
 */
#include "../../bpf/reply.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define CUTS 4

/* What is left of a dialogue when it has been read: as to_vm.h keeps and counts it. */
struct dialogue {
	uint32_t state, last, banner, replies[4], tls;
};

/* One segment, as read_replies() and count_replies() take it. */
static void read_segment(struct dialogue *d, const uint8_t *bytes, size_t n)
{
	struct reply_reader r = { .state = d->state };

	while (n && !r.tls) {
		r.n = n < REPLY_CHUNK ? n : REPLY_CHUNK;
		memcpy(r.bytes, bytes, r.n);
		reply_chunk(&r);
		bytes += r.n;
		n -= r.n;
	}
	if (r.state > 0xff) /* gate_flow.reply is a byte */
		abort();
	d->state = r.state;
	d->tls = r.tls;
	if (r.code)
		d->last = r.code;
	if (!d->banner)
		d->banner = r.first;
	for (int i = 0; i < 4; i++)
		d->replies[i] += r.replies[i];
}

/* The whole in segments of these lengths, 0 = all that is left. */
static void read_stream(struct dialogue *d, const uint8_t *bytes, size_t n, const uint8_t cut[CUTS])
{
	memset(d, 0, sizeof(*d));
	for (int i = 0; n && !d->tls; i++) {
		size_t len = cut[i % CUTS];

		if (!len || len > n)
			len = n;
		read_segment(d, bytes, len);
		bytes += len;
		n -= len;
	}
}

static bool refused(const struct dialogue *d)
{
	return d->banner == 421 || d->banner == 554;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static const uint8_t whole[CUTS] = { 0 }, single[CUTS] = { 1, 1, 1, 1 };
	struct dialogue a, b, c;

	if (size < CUTS)
		return 0;
	read_stream(&a, bytes + CUTS, size - CUTS, whole);
	read_stream(&b, bytes + CUTS, size - CUTS, bytes);
	read_stream(&c, bytes + CUTS, size - CUTS, single);
	for (const struct dialogue *d = &b;; d = &c) {
		if (a.state != d->state || a.last != d->last || a.tls != d->tls ||
		    memcmp(a.replies, d->replies, sizeof(a.replies)) || refused(&a) != refused(d) ||
		    !a.banner != !d->banner) {
			fprintf(stderr, "state %u/%u last %u/%u banner %u/%u tls %u/%u\n", a.state,
				d->state, a.last, d->last, a.banner, d->banner, a.tls, d->tls);
			abort();
		}
		if (d == &c)
			break;
	}
	return 0;
}
