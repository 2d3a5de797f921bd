/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The glance: direct access to the common shapes, nothing else. Nearly every
 * frame leaves here with FRAME_OTHER, having cost a few nanoseconds. It must
 * never contradict the careful reader: what it cannot tell is FRAME_CLOSER.
 * Its answer is one word, so that nothing is written for the frames that leave.
 *
 * `reply`: the frame goes to the VM, so its source port counts.
 */
#ifndef GATE25_BPF_GLANCE_H
#define GATE25_BPF_GLANCE_H

#include "frame.h"

/* enum frame_kind, family, index of the gated port, offset of the IP header */
#define SEEN(kind, family, port, l3) ((kind) | (family) << 8 | (port) << 12 | (l3) << 16)
#define seen_kind(s)		     ((s)&0xff)
#define seen_family(s)		     ((s) >> 8 & 0xf)
#define seen_port(s)		     ((s) >> 12 & 0xf)
#define seen_l3(s)		     ((s) >> 16)

static __always_inline __u32 glance_tcp(const __u8 *tcp, __u32 l3, __u8 family, bool reply,
					const volatile struct gate_params *gp)
{
	__u32 port = gated_index(gp, reply ? get16(tcp) : get16(tcp + 2));

	return port < GATE_MAX_PORTS ? SEEN(FRAME_GATED, family, port, l3) : FRAME_OTHER;
}

/* Is a checksum yet to be written where the answer is read? */
static __always_inline bool is_rewritable(__u32 csum, __u32 l4, __u8 proto)
{
	return csum && csum < l4 + (proto == PROTO_TCP ? TCP_SUM : 0);
}

static __always_inline __u32 glance_ipv4(ctx_t *ctx, const __u8 *ip, const __u8 *end, __u32 l3,
					 __u32 csum, bool reply,
					 const volatile struct gate_params *gp)
{
	__u32 total, seen;

	if (ip[0] != 0x45 || is_rewritable(csum, l3 + IPV4_LEN, ip[9]))
		return FRAME_CLOSER;
	if (ip[9] != PROTO_TCP)
		return ip[9] == PROTO_AH || (ip[9] == PROTO_ESP && gp->esp_unreadable)
			       ? FRAME_CLOSER
			       : FRAME_OTHER;
	if (get16(ip + 6) & 0x3fff) /* more fragments, or an offset */
		return FRAME_CLOSER;
	seen = glance_tcp(ip + IPV4_LEN, l3, 4, reply, gp);
	if (seen == FRAME_OTHER)
		return seen;
	total = get16(ip + 2);
	if (total < IPV4_LEN + TCP_LEN || total > ctx_len(ctx) - l3)
		return FRAME_CLOSER;
	return seen;
}

static __always_inline __u32 glance_ipv6(ctx_t *ctx, const __u8 *ip, const __u8 *end, __u32 l3,
					 __u32 csum, bool reply,
					 const volatile struct gate_params *gp)
{
	__u32 payload, seen;

	if (ip[0] >> 4 != 6 || is_rewritable(csum, l3 + IPV6_LEN, ip[6]))
		return FRAME_CLOSER;
	if (ip[6] != PROTO_TCP)
		return is_extension(ip[6]) || (ip[6] == PROTO_ESP && gp->esp_unreadable)
			       ? FRAME_CLOSER
			       : FRAME_OTHER;
	if (ip + IPV6_LEN + 4 > end)
		return FRAME_CLOSER;
	seen = glance_tcp(ip + IPV6_LEN, l3, 6, reply, gp);
	if (seen == FRAME_OTHER)
		return seen;
	payload = get16(ip + 4);
	if (payload < TCP_LEN || payload > ctx_len(ctx) - l3 - IPV6_LEN)
		return FRAME_CLOSER;
	return seen;
}

static __always_inline __u32 glance(ctx_t *ctx, bool reply, const volatile struct gate_params *gp)
{
	const __u8 *data = ctx_data(ctx), *end = ctx_end(ctx);
	__u32 csum = ctx_csum(ctx);
	__u16 type;

	if (data + ETH_LEN + IPV4_LEN + 4 > end)
		return FRAME_CLOSER;
	type = get16(data + 12);
	if (type == TYPE_IPV4)
		return glance_ipv4(ctx, data + ETH_LEN, end, ETH_LEN, csum, reply, gp);
	if (type == TYPE_IPV6)
		return glance_ipv6(ctx, data + ETH_LEN, end, ETH_LEN, csum, reply, gp);
	if (type != TYPE_VLAN)
		return may_carry_ip(type) || is_rewritable(csum, ETH_LEN + LINK_LOOKAHEAD, 0)
			       ? FRAME_CLOSER
			       : FRAME_OTHER;

	/* One tag in the data: XDP, and whatever brings a second one. */
	if (data + ETH_LEN + VLAN_LEN + IPV4_LEN + 4 > end || csum)
		return FRAME_CLOSER;
	type = get16(data + ETH_LEN + 2);
	if (type == TYPE_IPV4)
		return glance_ipv4(ctx, data + ETH_LEN + VLAN_LEN, end, ETH_LEN + VLAN_LEN, csum,
				   reply, gp);
	if (type == TYPE_IPV6)
		return glance_ipv6(ctx, data + ETH_LEN + VLAN_LEN, end, ETH_LEN + VLAN_LEN, csum,
				   reply, gp);
	return may_carry_ip(type) ? FRAME_CLOSER : FRAME_OTHER;
}

#endif
