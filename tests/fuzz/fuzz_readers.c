// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Any bytes as a frame, any part of it linear: the glance never contradicts the
 * careful reader, the whole reading does not depend on how much is linear, what is
 * called SMTP has its headers within the frame, and a checksum that the host will
 * write later cannot change what was read.
 */
#include "../../bpf/read.h"
#include "input.h"
#include "params.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define CHECK(holds)                                                                               \
	do {                                                                                       \
		if (!(holds)) {                                                                    \
			fprintf(stderr, "line %d: %s\n", __LINE__, #holds);                        \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static struct host_ctx context_of(const struct input *in)
{
	return (struct host_ctx){
		.data = in->frame,
		.len = in->len,
		.csum = in->csum,
		.gso = in->flags & INPUT_GSO,
	};
}

/*
 * The glance over `linear` bytes in memory of exactly this size, so that the
 * sanitizer sees a step beyond, and what the frame is read as after it.
 */
static uint32_t look(const struct input *in, uint32_t linear, bool reply, struct frame *f)
{
	uint8_t *part = malloc(linear ? linear : 1);
	struct host_ctx ctx = context_of(in);
	uint32_t seen;

	if (!part)
		abort();
	memcpy(part, in->frame, linear);
	ctx.data = part;
	ctx.linear = linear;
	seen = glance(&ctx, reply, &params);
	free(part);
	ctx.data = in->frame;
	memset(f, 0, sizeof(*f));
	if (seen != FRAME_OTHER)
		read_frame(&ctx, f, seen, reply);
	f->end = 0; /* of use to the careful reader alone */
	return seen;
}

static void check_offsets(const struct input *in, const struct frame *f)
{
	if (f->kind != FRAME_GATED)
		return;
	CHECK(f->family == 4 || f->family == 6);
	CHECK(f->l3 >= ETH_LEN);
	CHECK(f->l4 >= f->l3 + (f->family == 4 ? IPV4_LEN : IPV6_LEN));
	CHECK(f->l4 + 4U <= in->len);
	CHECK(f->fragment || f->l4 + (uint32_t)TCP_LEN <= in->len);
	CHECK(f->port < params.nports);
	CHECK(f->payload <= in->len);
	CHECK(!f->plain || f->l4 == f->l3 + (f->family == 4 ? IPV4_LEN : IPV6_LEN));
	CHECK(!f->plain || !f->fragment);
}

static void check_look(const struct input *in, uint32_t linear, bool reply,
		       const struct frame *want)
{
	struct frame f;
	uint32_t seen = look(in, linear, reply, &f);

	CHECK(seen != FRAME_OTHER || want->kind == FRAME_OTHER);
	CHECK(seen_kind(seen) != FRAME_GATED || want->kind == FRAME_GATED);
	CHECK(f.kind == want->kind);
	CHECK(f.kind == FRAME_OTHER || !memcmp(&f, want, sizeof(f)));
}

/* The frame as it will be when the checksum is there: whatever that is, read the same. */
static void check_rewrite(const struct input *in, bool reply, const struct frame *want)
{
	struct host_ctx ctx = context_of(in);
	struct frame f = { 0 };
	uint8_t *copy;

	if (!in->csum || in->csum + 2 > in->len || want->kind == FRAME_REWRITTEN)
		return;
	copy = malloc(in->len);
	if (!copy)
		abort();
	memcpy(copy, in->frame, in->len);
	copy[in->csum] ^= 0x5a;
	copy[in->csum + 1] ^= 0xff;
	ctx.data = copy;
	ctx.csum = 0;
	read_frame(&ctx, &f, FRAME_CLOSER, reply);
	free(copy);
	CHECK(f.kind == want->kind);
	if (f.kind == FRAME_OTHER)
		return;
	CHECK(f.port == want->port && f.l3 == want->l3 && f.l4 == want->l4);
	CHECK(f.flags == want->flags && f.sport == want->sport && f.dport == want->dport);
	CHECK(!memcmp(f.src, want->src, sizeof(f.src)) && !memcmp(f.dst, want->dst, sizeof(f.dst)));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct frame f = { 0 };
	struct host_ctx ctx;
	struct input in;
	bool reply;

	if (!input_decode(&in, bytes, size))
		return 0;
	reply = in.flags & INPUT_REPLY;
	fuzz_params_set(in.flags & INPUT_PORTS ? 3 : 1, in.flags & INPUT_ESP);
	ctx = context_of(&in);
	read_frame(&ctx, &f, FRAME_CLOSER, reply);
	f.end = 0;
	CHECK(f.kind != FRAME_CLOSER);
	check_offsets(&in, &f);
	check_look(&in, 0, reply, &f);
	check_look(&in, in.linear, reply, &f);
	check_look(&in, in.len, reply, &f);
	check_rewrite(&in, reply, &f);
	return 0;
}
