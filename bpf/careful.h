/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The careful reader: walks tags, SNAP, PPPoE, MPLS, IP options, extension
 * headers and fragments by copying bytes from the frame, since a guest chooses
 * how much of a frame is linear. docs/packets.md says why each shape is treated
 * as it is; a new trick is one case here and one row in the tests.
 *
 * Each step is a global function, so the verifier proves it once.
 */
#ifndef GATE25_BPF_CAREFUL_H
#define GATE25_BPF_CAREFUL_H

#include "frame.h"

#define MAX_LINK_HEADERS 10 /* tags, SNAP, PPPoE, MPLS labels together */
#define MAX_EXTENSIONS	 8

/* Longest AH (257 words) and the ports behind it, in fragment units of 8 bytes. */
#define AH_REACH ((257 * 4 + 4 + 7) / 8)

/* Where the link layer ends: frame.l3 and the type found there, or a verdict. */
struct link {
	__u16 type;
	__u16 off;
};

/* PPP: protocol numbers from 0x8000 on are control, without IP (RFC 1661). */
static __always_inline enum frame_kind step_pppoe(ctx_t *ctx, struct link *link)
{
	__u8 ppp[8]; /* PPPoE header of 6, protocol of 1 (RFC 1661 6.5) or 2 */
	__u16 proto;

	if (ctx_load(ctx, link->off, ppp, sizeof(ppp)) < 0)
		return FRAME_MALFORMED;
	if (ppp[6] & 1) {
		proto = ppp[6];
		link->off += 7;
	} else {
		proto = get16(ppp + 6);
		link->off += 8;
	}
	switch (proto) {
	case 0x0021:
		link->type = TYPE_IPV4;
		return FRAME_CLOSER;
	case 0x0057:
		link->type = TYPE_IPV6;
		return FRAME_CLOSER;
	case 0x0281:
		link->type = TYPE_MPLS;
		return FRAME_CLOSER;
	}
	return proto & 0x8000 ? FRAME_OTHER : FRAME_HIDDEN;
}

static __always_inline enum frame_kind step_mpls(ctx_t *ctx, struct link *link)
{
	__u8 label[5];

	if (ctx_load(ctx, link->off, label, sizeof(label)) < 0)
		return FRAME_MALFORMED;
	link->off += 4;
	if (!(label[2] & 1)) /* not the bottom of the stack */
		return FRAME_CLOSER;
	switch (label[4] >> 4) {
	case 4:
		link->type = TYPE_IPV4;
		return FRAME_CLOSER;
	case 6:
		link->type = TYPE_IPV6;
		return FRAME_CLOSER;
	}
	return FRAME_HIDDEN;
}

/* LLC: SNAP with an ethertype (RFC 1042, 802.1H), or the old SAP of IP. */
static __always_inline enum frame_kind step_llc(ctx_t *ctx, struct link *link)
{
	__u8 llc[8];

	if (ctx_load(ctx, link->off, llc, 3) < 0)
		return FRAME_OTHER;
	if ((llc[0] & 0xfe) == 0x06 && (llc[1] & 0xfe) == 0x06) {
		link->type = TYPE_IPV4;
		link->off += 3;
		return FRAME_CLOSER;
	}
	if ((llc[0] & 0xfe) != 0xaa || (llc[1] & 0xfe) != 0xaa)
		return FRAME_OTHER;
	if (ctx_load(ctx, link->off, llc, sizeof(llc)) < 0)
		return FRAME_OTHER;
	if (llc[3] || llc[4] || (llc[5] && llc[5] != 0xf8))
		return FRAME_OTHER;
	link->type = get16(llc + 6);
	link->off += 8;
	/* A length here is LLC in LLC: hardly anybody reads that, but it can hide IP. */
	return FRAME_CLOSER;
}

static __always_inline enum frame_kind step_tag(ctx_t *ctx, struct link *link)
{
	__u8 tag[4];

	if (ctx_load(ctx, link->off, tag, sizeof(tag)) < 0)
		return FRAME_OTHER;
	link->type = get16(tag + 2);
	link->off += 4;
	return FRAME_CLOSER;
}

/* To the IP header. FRAME_CLOSER: link->type is IPv4 or IPv6 and link->off its place. */
PROVEN_ONCE int read_link(ctx_t *ctx, struct link *link)
{
	enum frame_kind kind;
	__u8 type[2];

	if (!link)
		return FRAME_OTHER;
	if (ctx_load(ctx, 12, type, sizeof(type)) < 0)
		return FRAME_OTHER;
	link->type = get16(type);
	link->off = ETH_LEN;
	for (int i = 0; i < MAX_LINK_HEADERS; i++) {
		if (link->type == TYPE_IPV4 || link->type == TYPE_IPV6)
			return FRAME_CLOSER;
		if (link->type < TYPE_MIN)
			kind = step_llc(ctx, link);
		else if (is_tag(link->type))
			kind = step_tag(ctx, link);
		else if (link->type == TYPE_PPPOE)
			kind = step_pppoe(ctx, link);
		else if (link->type == TYPE_MPLS || link->type == TYPE_MPLS_MC)
			kind = step_mpls(ctx, link);
		else
			return FRAME_OTHER;
		if (kind != FRAME_CLOSER)
			return kind;
	}
	return link->type == TYPE_IPV4 || link->type == TYPE_IPV6 ? FRAME_CLOSER : FRAME_TOO_DEEP;
}

/*
 * The ports at f->l4. `limit`: where the IP header says that the packet ends;
 * a frame may be shorter (cut) or longer (padding).
 */
static __always_inline enum frame_kind read_ports(ctx_t *ctx, struct frame *f, __u32 limit,
						  bool reply, const volatile struct gate_params *gp)
{
	__u8 ports[4];
	__u32 index;

	if (ctx_load(ctx, f->l4, ports, sizeof(ports)) < 0)
		return f->fragment ? FRAME_TINY : FRAME_MALFORMED;
	f->end = f->l4 + TCP_SUM;
	index = gated_index(gp, reply ? get16(ports) : get16(ports + 2));
	/* Ports of a first fragment that lie beyond its end come with the second. */
	if (f->fragment && f->l4 + 4U > limit)
		return FRAME_TINY;
	if (index >= GATE_MAX_PORTS)
		return FRAME_OTHER;
	f->port = index;
	if (limit > ctx_len(ctx) || (!f->fragment && f->l4 + (__u32)TCP_LEN > limit))
		return FRAME_MALFORMED;
	return FRAME_GATED;
}

PROVEN_ONCE int read_ipv4(ctx_t *ctx, struct frame *f, __u32 reply)
{
	__u8 ip[IPV4_LEN], ah[2];
	__u32 total, header, offset;
	__u8 proto;

	if (!f)
		return FRAME_OTHER;
	if (ctx_load(ctx, f->l3, ip, sizeof(ip)) < 0)
		return FRAME_MALFORMED;
	f->family = 4;
	header = (ip[0] & 0x0f) * 4;
	if (ip[0] >> 4 != 4 || header < IPV4_LEN)
		return FRAME_MALFORMED;
	proto = ip[9];
	f->l4 = f->l3 + header;
	f->detour = header != IPV4_LEN;
	if (proto == PROTO_ESP)
		return params.esp_unreadable ? FRAME_HIDDEN : FRAME_OTHER;
	if (proto != PROTO_TCP && proto != PROTO_AH)
		return FRAME_OTHER;
	offset = get16(ip + 6) & 0x1fff;
	if (offset) {
		/* AH may put the ports far behind: nearer pieces could rewrite them. */
		if (offset == 1 || (proto == PROTO_AH && offset < AH_REACH))
			return FRAME_TINY;
		return FRAME_LATER;
	}
	f->fragment = (ip[6] & 0x20) != 0;
	f->plain = header == IPV4_LEN && proto == PROTO_TCP && !f->fragment;
	for (int i = 0; i < MAX_EXTENSIONS && proto == PROTO_AH; i++) {
		if (ctx_load(ctx, f->l4, ah, sizeof(ah)) < 0)
			return f->fragment ? FRAME_TINY : FRAME_MALFORMED;
		if (f->fragment && i)
			return FRAME_TINY;
		proto = ah[0];
		f->l4 += (ah[1] + 2U) * 4;
	}
	if (proto == PROTO_AH)
		return FRAME_TOO_DEEP;
	if (proto != PROTO_TCP)
		return FRAME_OTHER;
	total = get16(ip + 2);
	if (ctx_gso(ctx) || (!total && ctx_len(ctx) > 0xffff)) /* BIG TCP leaves it 0 */
		total = ctx_len(ctx) - f->l3;
	return read_ports(ctx, f, f->l3 + total, reply, &params);
}

/* One extension header at f->l4. FRAME_CLOSER: walked, *proto is the next. */
static __always_inline enum frame_kind step_extension(ctx_t *ctx, struct frame *f, __u8 *proto)
{
	__u8 h[8];

	if (ctx_load(ctx, f->l4, h, sizeof(h)) < 0)
		return f->fragment ? FRAME_CHAIN : FRAME_MALFORMED;
	if (*proto == PROTO_ROUTING)
		f->detour = 1;
	if (*proto == PROTO_FRAGMENT) {
		__u16 offset = get16(h + 2);

		if (f->fragment) /* a second fragment header */
			return FRAME_CHAIN;
		if (offset & 0xfff8)
			return h[0] == PROTO_TCP || is_extension(h[0]) ? FRAME_LATER : FRAME_OTHER;
		f->fragment = offset & 1; /* else atomic, RFC 6946 */
		f->l4 += 8;
	} else if (*proto == PROTO_AH) {
		f->l4 += (h[1] + 2U) * 4;
	} else {
		f->l4 += (h[1] + 1U) * 8;
	}
	*proto = h[0];
	return FRAME_CLOSER;
}

PROVEN_ONCE int read_ipv6(ctx_t *ctx, struct frame *f, __u32 reply)
{
	enum frame_kind kind;
	__u8 ip[8];
	__u32 total, end;
	__u8 proto;

	if (!f)
		return FRAME_OTHER;
	if (ctx_load(ctx, f->l3, ip, sizeof(ip)) < 0 || ip[0] >> 4 != 6)
		return FRAME_MALFORMED;
	f->family = 6;
	proto = ip[6];
	f->plain = proto == PROTO_TCP;
	f->l4 = f->l3 + IPV6_LEN;
	for (int i = 0; i < MAX_EXTENSIONS && is_extension(proto); i++) {
		kind = step_extension(ctx, f, &proto);
		if (kind != FRAME_CLOSER)
			return kind;
	}
	if (is_extension(proto))
		return f->fragment ? FRAME_CHAIN : FRAME_TOO_DEEP;
	if (proto == PROTO_ESP)
		return params.esp_unreadable ? FRAME_HIDDEN : FRAME_OTHER;
	if (proto != PROTO_TCP)
		return FRAME_OTHER;
	total = get16(ip + 4);
	if (ctx_gso(ctx) ||
	    (!total && (ctx_len(ctx) > 0xffff || ip[6] == PROTO_HOPOPTS))) /* jumbo, RFC 2675 */
		total = ctx_len(ctx) - f->l3 - IPV6_LEN;
	end = f->l3 + IPV6_LEN + total;
	kind = read_ports(ctx, f, end, reply, &params);
	/*
	 * The chain ends with the whole TCP header: else its flags come with the next
	 * fragment, and a SYN would pass for one more packet of a known flow.
	 */
	if (kind == FRAME_GATED && f->fragment && f->l4 + (__u32)TCP_LEN > end)
		return FRAME_CHAIN;
	return kind == FRAME_TINY ? FRAME_CHAIN : kind;
}

/* Will a checksum be written over what the reading went by? */
static __always_inline bool is_rewritten(const struct frame *f, const struct link *link,
					 enum frame_kind kind, __u32 csum)
{
	if (kind == FRAME_MALFORMED) /* who knows what it will be then */
		return true;
	if (!f->family)
		return csum < (__u32)link->off + LINK_LOOKAHEAD;
	return csum < (f->end ? f->end : f->l4);
}

/* The whole of it: an enum frame_kind other than FRAME_CLOSER. */
static __always_inline enum frame_kind read_closely(ctx_t *ctx, struct frame *f, bool reply)
{
	struct link link = {};
	int kind = read_link(ctx, &link);
	__u32 csum = ctx_csum(ctx);

	if (kind == FRAME_CLOSER) {
		f->l3 = link.off;
		f->fragment = 0;
		kind = link.type == TYPE_IPV4 ? read_ipv4(ctx, f, reply) : read_ipv6(ctx, f, reply);
	}
	return csum && is_rewritten(f, &link, kind, csum) ? FRAME_REWRITTEN : kind;
}

#endif
