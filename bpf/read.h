/* SPDX-License-Identifier: GPL-2.0-only */
/* From a glance or a close look to a whole struct frame. */
#ifndef GATE25_BPF_READ_H
#define GATE25_BPF_READ_H

#include "careful.h"
#include "glance.h"

static __always_inline void fill_addresses(ctx_t *ctx, struct frame *f)
{
	__u32 pair[2];

	if (f->family == 6) {
		ctx_load(ctx, f->l3 + 8, f->src, sizeof(f->src));
		ctx_load(ctx, f->l3 + 24, f->dst, sizeof(f->dst));
	} else if (f->family == 4 && ctx_load(ctx, f->l3 + 12, pair, sizeof(pair)) == 0) {
		f->src[2] = f->dst[2] = bpf_htonl(0xffff);
		f->src[3] = pair[0];
		f->dst[3] = pair[1];
	}
}

/* A first fragment may end within the header: what is missing reads as zero. */
static __always_inline void fill_tcp(ctx_t *ctx, struct frame *f)
{
	__u8 t[14] = {};

	if (ctx_load(ctx, f->l4, t, sizeof(t)) < 0)
		ctx_load(ctx, f->l4, t, 4);
	f->sport = get16(t);
	f->dport = get16(t + 2);
	f->seq = get32(t + 4);
	f->ack = get32(t + 8);
	f->header = t[12] >> 4 << 2;
	f->flags = t[13];
}

static __always_inline void fill_payload(ctx_t *ctx, struct frame *f)
{
	__u8 length[2] = {};
	__u32 end;

	ctx_load(ctx, f->l3 + (f->family == 4 ? 2 : 4), length, sizeof(length));
	end = f->l3 + get16(length) + (f->family == 4 ? 0 : IPV6_LEN);
	if (!get16(length) || ctx_gso(ctx)) /* BIG TCP, jumbo */
		end = ctx_len(ctx);
	f->payload = end > f->l4 + f->header ? end - f->l4 - f->header : 0;
}

/* All that the headers of a plain frame say; both are at `ip`. */
static __always_inline void fill_plain(ctx_t *ctx, struct frame *f, const __u8 *ip, __u32 ip_len)
{
	const __u8 *t = ip + ip_len;
	__u32 payload;

	if (ip_len == IPV4_LEN) {
		f->src[2] = f->dst[2] = bpf_htonl(0xffff);
		f->src[3] = load32(ip + 12);
		f->dst[3] = load32(ip + 16);
		payload = get16(ip + 2) - IPV4_LEN;
	} else {
		for (int i = 0; i < 4; i++) {
			f->src[i] = load32(ip + 8 + 4 * i);
			f->dst[i] = load32(ip + 24 + 4 * i);
		}
		payload = get16(ip + 4);
	}
	if (ctx_gso(ctx))
		payload = ctx_len(ctx) - f->l4;
	f->sport = get16(t);
	f->dport = get16(t + 2);
	f->seq = bpf_ntohl(load32(t + 4));
	f->ack = bpf_ntohl(load32(t + 8));
	f->header = t[12] >> 4 << 2;
	f->flags = t[13];
	f->payload = payload > f->header ? payload - f->header : 0;
}

/* Most frames have their headers in one piece: then nothing is copied. */
static __always_inline void read_plain(ctx_t *ctx, struct frame *f, __u32 seen, __u32 ip_len)
{
	const __u8 *ip = ctx_data(ctx) + seen_l3(seen);
	__u8 copy[IPV6_LEN + TCP_LEN];

	f->family = seen_family(seen);
	f->port = seen_port(seen);
	f->l3 = seen_l3(seen);
	f->l4 = f->l3 + ip_len;
	f->plain = 1;
	if (ip + ip_len + TCP_LEN <= ctx_end(ctx)) {
		fill_plain(ctx, f, ip, ip_len);
		return;
	}
	__builtin_memset(copy, 0, sizeof(copy));
	ctx_load(ctx, f->l3, copy, ip_len + TCP_LEN);
	fill_plain(ctx, f, copy, ip_len);
}

static __always_inline void fill_mac(ctx_t *ctx, struct frame *f, bool reply)
{
	const __u8 *mac = ctx_data(ctx) + (reply ? 0 : 6);

	if (mac + sizeof(f->mac) <= ctx_end(ctx))
		__builtin_memcpy(f->mac, mac, sizeof(f->mac));
	else
		ctx_load(ctx, reply ? 0 : 6, f->mac, sizeof(f->mac));
}

/* `seen` is what the glance said, not FRAME_OTHER. Afterwards f->kind is not FRAME_CLOSER. */
static __always_inline void read_frame(ctx_t *ctx, struct frame *f, __u32 seen, bool reply)
{
	f->kind = seen_kind(seen);
	fill_mac(ctx, f, reply);
	if (f->kind == FRAME_GATED) {
		if (seen_family(seen) == 4)
			read_plain(ctx, f, seen, IPV4_LEN);
		else
			read_plain(ctx, f, seen, IPV6_LEN);
		return;
	}
	f->kind = read_closely(ctx, f, reply);
	if (f->kind == FRAME_OTHER)
		return;
	fill_addresses(ctx, f);
	if (f->kind != FRAME_GATED)
		return;
	fill_tcp(ctx, f);
	fill_payload(ctx, f);
}

#endif
