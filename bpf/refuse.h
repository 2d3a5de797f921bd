/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Refusals that tell: a TCP reset or an ICMP error, built in the refused frame
 * and sent back out of the port it came from. Only plain shapes are answered;
 * the rest is dropped.
 *
 * Checksums. The context does not show CHECKSUM_PARTIAL, and a full checksum
 * written on such an skb arrives wrong on a tap without checksum offload.
 *  - Reset: a non-pseudo bpf_l4_csum_replace leaves the field of a PARTIAL skb
 *    alone; if so, only the folded sum of the pseudo header is written.
 *  - ICMP: the refused packet is moved behind the new headers, so the place that
 *    a PARTIAL skb remembers becomes the checksum of the quoted TCP header. The
 *    quoted bytes are chosen so that their own sum is zero: whoever completes
 *    the offload writes there what stands there already.
 */
#ifndef GATE25_BPF_REFUSE_H
#define GATE25_BPF_REFUSE_H

#include "frame.h"

#define TTL	       64
#define PROTO_ICMP     1
#define PROTO_ICMPV6   58
#define BPF_DROP_FRAME 2 /* TC_ACT_SHOT */

struct ipv4 {
	__u8 version_ihl, tos;
	__be16 total, id, frag;
	__u8 ttl, protocol;
	__be16 check;
	__be32 src, dst;
};

struct ipv6 {
	__be32 version;
	__be16 payload;
	__u8 next, hops;
	__be32 src[4], dst[4];
};

struct tcp {
	__be16 sport, dport;
	__be32 seq, ack;
	__u8 offset, flags;
	__be16 window, check, urgent;
};

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* One's complement sum over whole 32-bit words. */
static __always_inline __u64 sum32(const void *p, int bytes)
{
	const __u32 *w = p;
	__u64 sum = 0;

#pragma unroll
	for (int i = 0; i < bytes / 4; i++)
		sum += w[i];
	return sum;
}

/* Swaps the MACs and sends the frame back out of its own port. */
static __always_inline int send_back(struct __sk_buff *skb)
{
	__u8 mac[12], swapped[12];

	if (bpf_skb_load_bytes(skb, 0, mac, sizeof(mac)) < 0)
		return -1;
	__builtin_memcpy(swapped, mac + 6, 6);
	__builtin_memcpy(swapped + 6, mac, 6);
	if (bpf_skb_store_bytes(skb, 0, swapped, sizeof(swapped), 0) < 0)
		return -1;
	return bpf_redirect(skb->ifindex, 0);
}

/* RFC 9293 3.10.7.1: what a closed port answers. */
static __always_inline void fill_reset(struct tcp *t, const struct frame *f)
{
	__u32 len = f->payload + (f->flags & TCP_SYN ? 1 : 0) + (f->flags & TCP_FIN ? 1 : 0);

	__builtin_memset(t, 0, sizeof(*t));
	t->sport = bpf_htons(f->dport);
	t->dport = bpf_htons(f->sport);
	t->offset = TCP_LEN / 4 << 4;
	if (f->flags & TCP_ACK) {
		t->seq = bpf_htonl(f->ack);
		t->flags = TCP_RST;
	} else {
		t->ack = bpf_htonl(f->seq + len);
		t->flags = TCP_RST | TCP_ACK;
	}
}

/* IPv4 or IPv6 header from the refused packet's destination to its source. */
static __always_inline int store_ip(struct __sk_buff *skb, const struct frame *f, __u8 proto,
				    __u16 payload)
{
	if (f->family == 4) {
		struct ipv4 ip = {
			.version_ihl = 0x45,
			.total = bpf_htons(IPV4_LEN + payload),
			.frag = bpf_htons(0x4000),
			.ttl = TTL,
			.protocol = proto,
			.src = f->dst[3],
			.dst = f->src[3],
		};

		ip.check = ~fold(sum32(&ip, sizeof(ip)));
		return bpf_skb_store_bytes(skb, f->l3, &ip, sizeof(ip), 0);
	}
	struct ipv6 ip = {
		.version = bpf_htonl(0x60000000),
		.payload = bpf_htons(payload),
		.next = proto,
		.hops = TTL,
	};

	__builtin_memcpy(ip.src, f->dst, 16);
	__builtin_memcpy(ip.dst, f->src, 16);
	return bpf_skb_store_bytes(skb, f->l3, &ip, sizeof(ip), 0);
}

static __always_inline __u64 pseudo_sum(const struct frame *f, __u8 proto, __u16 length)
{
	__u64 sum = (__u64)bpf_htons(length) + bpf_htons(proto);

	if (f->family == 4)
		return sum + f->src[3] + f->dst[3];
	return sum + sum32(f->src, 16) + sum32(f->dst, 16);
}

/*
 * Is the skb's checksum left to the device (CHECKSUM_PARTIAL)? The helper leaves
 * such a field alone when it is told that the change is not in the pseudo header.
 */
static __always_inline bool is_partial(struct __sk_buff *skb, __u32 check)
{
	__u16 before = 0x1234, after = 0;

	if (bpf_skb_store_bytes(skb, check, &before, 2, 0) < 0 ||
	    bpf_l4_csum_replace(skb, check, 0, bpf_htons(1), 2) < 0 ||
	    bpf_skb_load_bytes(skb, check, &after, 2) < 0)
		return false;
	return before == after;
}

/* < 0: could not be built, drop. Else the action. */
static __noinline int refuse_reset(struct __sk_buff *skb, const struct frame *f)
{
	__u32 header = f->family == 4 ? IPV4_LEN : IPV6_LEN, l4 = f->l3 + header;
	struct tcp t;
	__u64 sum;

	fill_reset(&t, f);
	if (bpf_skb_change_tail(skb, l4 + TCP_LEN, 0) < 0)
		return -1;
	if (store_ip(skb, f, PROTO_TCP, TCP_LEN) < 0)
		return -1;
	sum = pseudo_sum(f, PROTO_TCP, TCP_LEN);
	if (is_partial(skb, l4 + 16))
		t.check = fold(sum);
	else
		t.check = ~fold(sum + sum32(&t, sizeof(t)));
	if (bpf_skb_store_bytes(skb, l4, &t, sizeof(t), 0) < 0)
		return -1;
	return send_back(skb);
}

/*
 * Type 3 code 13 (RFC 1812) or type 1 code 1 (RFC 4443): administratively
 * prohibited. Quotes the IP header and 20 bytes of TCP.
 */
static __noinline int refuse_icmp(struct __sk_buff *skb, const struct frame *f)
{
	__u32 header = f->family == 4 ? IPV4_LEN : IPV6_LEN;
	__u32 quoted = header + TCP_LEN, l4 = f->l3 + header, icmp_len = 8 + quoted;
	__u8 icmp[8] = {};
	__u8 ip[IPV6_LEN] = {};
	struct tcp t;
	__u64 sum;

	if (f->l3 != ETH_LEN) /* room can be made behind a bare Ethernet header only */
		return -1;
	if (bpf_skb_change_tail(skb, l4 + TCP_LEN, 0) < 0)
		return -1;
	if (bpf_skb_load_bytes(skb, l4, &t, sizeof(t)) < 0)
		return -1;
	/* Ports and sequence number stay; what follows makes the sum zero. */
	t.ack = 0;
	t.offset = TCP_LEN / 4 << 4;
	t.flags = 0;
	t.window = 0;
	t.check = 0xffff;
	t.urgent = 0;
	t.urgent = ~fold(sum32(&t, sizeof(t)));
	if (bpf_skb_store_bytes(skb, l4, &t, sizeof(t), 0) < 0)
		return -1;
	if (f->family == 4) {
		struct ipv4 *q = (void *)ip;

		if (bpf_skb_load_bytes(skb, f->l3, ip, IPV4_LEN) < 0)
			return -1;
		q->total = bpf_htons(quoted);
		q->check = 0;
		q->check = ~fold(sum32(ip, IPV4_LEN));
		if (bpf_skb_store_bytes(skb, f->l3, ip, IPV4_LEN, 0) < 0)
			return -1;
	} else if (bpf_skb_load_bytes(skb, f->l3, ip, IPV6_LEN) < 0) {
		return -1;
	}
	if (bpf_skb_adjust_room(skb, header + 8, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_NO_CSUM_RESET) <
	    0)
		return -1;
	if (store_ip(skb, f, f->family == 4 ? PROTO_ICMP : PROTO_ICMPV6, icmp_len) < 0)
		return -1;
	icmp[0] = f->family == 4 ? 3 : 1;
	icmp[1] = f->family == 4 ? 13 : 1;
	sum = sum32(icmp, 8) + sum32(ip, f->family == 4 ? IPV4_LEN : IPV6_LEN) +
	      sum32(&t, sizeof(t));
	if (f->family == 6)
		sum += pseudo_sum(f, PROTO_ICMPV6, icmp_len);
	*(__u16 *)(icmp + 2) = ~fold(sum);
	if (bpf_skb_store_bytes(skb, l4, icmp, sizeof(icmp), 0) < 0)
		return -1;
	return send_back(skb);
}

#endif
