/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the readers say of a frame. Parsing has no maps and no clock; it compiles
 * for the kernel and for the host.
 */
#ifndef GATE25_BPF_FRAME_H
#define GATE25_BPF_FRAME_H

#include "ctx.h"
#include <gate25/abi.h>

extern const volatile struct gate_params params;

enum frame_kind {
	FRAME_OTHER,  /* certainly not ours */
	FRAME_CLOSER, /* the glance cannot tell */
	FRAME_GATED,  /* TCP of a gated port: l3, l4, family are set */
	FRAME_LATER,  /* later fragment that may be TCP: l3, family */
	FRAME_TINY,   /* fragment that can only serve to hide ports (RFC 1858, RFC 3128) */
	FRAME_CHAIN,  /* first IPv6 fragment without its whole chain (RFC 7112) */
	FRAME_MALFORMED,
	FRAME_TOO_DEEP,
	FRAME_HIDDEN,	 /* a tunnel on the link that may hide IP */
	FRAME_REWRITTEN, /* by a checksum that will be written over what was read */
};

struct frame {
	__u8 kind;	      /* enum frame_kind */
	__u8 family;	      /* 4, 6, 0 = no IP found */
	__u8 plain;	      /* no options, no extension headers, no fragment: can be answered */
	__u8 flags;	      /* of TCP */
	__u16 l3, l4;	      /* offsets */
	__u16 end;	      /* of what decides; a checksum may be written from here on */
	__u16 sport, dport;   /* host byte order */
	__u32 seq, ack;	      /* host byte order */
	__u16 header;	      /* bytes of the TCP header */
	__u8 port;	      /* index of the gated port */
	__u8 fragment;	      /* first fragment */
	__u8 detour;	      /* a source route may lead elsewhere than to dst */
	__u32 payload;	      /* TCP payload bytes of the whole frame, as the IP header says */
	__u32 src[4], dst[4]; /* network byte order, IPv4 as ::ffff:a.b.c.d */
	__u8 mac[6];	      /* the VM's: source from it, destination to it */
	__u16 vlan;
	__u32 bytes, segments; /* of the whole frame, as it was or will be cut */
};

#define LINK_LOOKAHEAD 8 /* bytes behind the link layer by which it is told what follows */

#define ETH_LEN	 14
#define VLAN_LEN 4
#define IPV4_LEN 20
#define IPV6_LEN 40
#define TCP_LEN	 20
#define TCP_SUM	 16 /* offset of the checksum: ports and flags lie before it */

#define TYPE_IPV4    0x0800
#define TYPE_IPV6    0x86dd
#define TYPE_VLAN    0x8100
#define TYPE_QINQ    0x88a8
#define TYPE_PPPOE   0x8864 /* session; discovery (0x8863) carries no IP */
#define TYPE_MPLS    0x8847
#define TYPE_MPLS_MC 0x8848
#define TYPE_MIN     0x0600 /* below: a length, LLC follows (IEEE 802.3) */

#define PROTO_TCP      6
#define PROTO_ESP      50
#define PROTO_AH       51
#define PROTO_HOPOPTS  0
#define PROTO_ROUTING  43
#define PROTO_FRAGMENT 44
#define PROTO_DSTOPTS  60
#define PROTO_MOBILITY 135
#define PROTO_HIP      139
#define PROTO_SHIM6    140

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

/* Legacy stacked tags (0x9100, 0x9200, 0x9300) are not untagged by the kernel. */
static __always_inline bool is_tag(__u16 type)
{
	return type == TYPE_VLAN || type == TYPE_QINQ || type == 0x9100 || type == 0x9200 ||
	       type == 0x9300;
}

static __always_inline bool may_carry_ip(__u16 type)
{
	return type < TYPE_MIN || is_tag(type) || type == TYPE_PPPOE || type == TYPE_MPLS ||
	       type == TYPE_MPLS_MC;
}

/* Extension headers that are walked; all but AH tell their length in 8 octets. */
static __always_inline bool is_extension(__u8 proto)
{
	switch (proto) {
	case PROTO_HOPOPTS:
	case PROTO_ROUTING:
	case PROTO_FRAGMENT:
	case PROTO_AH:
	case PROTO_DSTOPTS:
	case PROTO_MOBILITY:
	case PROTO_HIP:
	case PROTO_SHIM6:
		return true;
	}
	return false;
}

/* Index of a gated port, GATE_MAX_PORTS if it is none. */
static __always_inline __u32 gated_index(const volatile struct gate_params *p, __u16 port)
{
	if (port == p->ports[0])
		return 0;
	if (p->nports > 1) {
		if (port == p->ports[1])
			return 1;
		if (port == p->ports[2])
			return 2;
		if (port == p->ports[3])
			return 3;
	}
	return GATE_MAX_PORTS;
}

#endif
