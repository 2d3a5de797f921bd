/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Frames from words: "eth t8100 snap ip4 ah tcp" is built layer by layer, lengths
 * and next-header fields filled in. So a packet trick is one line in a table.
 *
 *   eth                          destination, source
 *   t8100 t88a8 t9100 t9200 t9300  a tag
 *   snap snapf8 llc06 stp        LLC with SNAP, with the old SAP of IP, BPDU
 *   pppoe pppoec lcp vj          PPPoE session with IP; compressed; control; VJ
 *   mpls mpls3 pw                one label, three, a pseudowire below one
 *   type=HHHH                    an ethertype with 46 bytes behind it
 *   ip4[:o=N,v=N,ihl=N,short,long,f=N,mf]  options of N bytes, fragment offset, MF
 *   ip6[:v=N,short,long]
 *   hbh rt dst mob hip shim ah frag0 fragN fraga   extension headers
 *   tcp[:N]                      only N bytes of it
 *   udp icmp icmp6 esp gre proto=N
 *   cut=N                        the frame ends after N bytes
 */
#ifndef GATE25_TESTS_FRAMES_H
#define GATE25_TESTS_FRAMES_H

#include <stdint.h>

struct frame_spec {
	uint16_t sport, dport; /* 0 = 40000, 25 */
	uint8_t flags;	       /* of TCP, 0 = SYN */
	uint32_t seq, ack;
	uint16_t payload;   /* bytes of payload behind TCP */
	const char *text;   /* payload, with its length in `payload` */
	uint8_t src_mac[6]; /* zero = 02:00:00:00:00:01 */
	uint32_t src, dst;  /* host part: 10.0.x.x and 2001:db8::x; 0 = 1 and 2 */
};

#define FRAME_MAX 2048

/* Returns the frame's length, aborts on a word it does not know. */
int frame_build(const char *words, const struct frame_spec *spec, uint8_t out[FRAME_MAX]);

#endif
