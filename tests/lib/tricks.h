/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The tricks and the innocents, each a row: what the readers must say of it. The
 * unit tests hold the readers to it, the program tests the loaded programs, the
 * net tests real taps and veths (tests/net reads this table too).
 */
#ifndef GATE25_TESTS_TRICKS_H
#define GATE25_TESTS_TRICKS_H

#include <stdint.h>

struct trick {
	const char *words; /* see frames.h */
	int kind;	   /* enum frame_kind */
	uint16_t dport;	   /* 0 = 25 */
};

#define GATED FRAME_GATED
#define OTHER FRAME_OTHER

static const struct trick tricks[] = {
	/* plain, tagged */
	{ "eth ip4 tcp", GATED, 0 },
	{ "eth ip6 tcp", GATED, 0 },
	{ "eth t8100 ip4 tcp", GATED, 0 },
	{ "eth t8100 ip6 tcp", GATED, 0 },
	{ "eth t88a8 ip4 tcp", GATED, 0 },
	{ "eth t88a8 t8100 ip4 tcp", GATED, 0 },
	{ "eth t88a8 t8100 ip6 tcp", GATED, 0 },
	{ "eth t8100 t8100 t8100 t8100 ip4 tcp", GATED, 0 },
	{ "eth t9100 ip4 tcp", GATED, 0 },
	{ "eth t9200 t9300 ip6 tcp", GATED, 0 },
	{ "eth t8100 t8100 t8100 t8100 t8100 t8100 ip4 tcp", GATED, 0 },
	{ "eth t8100 t8100 t8100 t8100 t8100 t8100 t8100 t8100 t8100 t8100 t8100 ip4 tcp",
	  FRAME_TOO_DEEP, 0 },
	/* LLC, also inside tags (VU#855201) */
	{ "eth snap ip4 tcp", GATED, 0 },
	{ "eth snap ip6 tcp", GATED, 0 },
	{ "eth snapf8 ip4 tcp", GATED, 0 },
	{ "eth snap snap ip4 tcp", GATED, 0 },
	{ "eth t8100 snap ip4 tcp", GATED, 0 },
	{ "eth t88a8 t8100 snap ip6 tcp", GATED, 0 },
	{ "eth snap t8100 ip4 tcp", GATED, 0 },
	{ "eth t8100 snap t8100 snap ip4 tcp", GATED, 0 },
	{ "eth llc06 ip4 tcp", GATED, 0 },
	{ "eth stp", OTHER, 0 },
	{ "eth t8100 stp", OTHER, 0 },
	/* PPPoE, MPLS */
	{ "eth pppoe ip4 tcp", GATED, 0 },
	{ "eth pppoe ip6 tcp", GATED, 0 },
	{ "eth pppoec ip4 tcp", GATED, 0 },
	{ "eth t8100 pppoe ip4 tcp", GATED, 0 },
	{ "eth vj ip4 tcp", FRAME_HIDDEN, 0 },
	{ "eth lcp ip4 tcp", OTHER, 0 },
	{ "eth type=8863", OTHER, 0 },
	{ "eth mpls ip4 tcp", GATED, 0 },
	{ "eth mpls3 ip6 tcp", GATED, 0 },
	{ "eth t8100 mpls3 ip4 tcp", GATED, 0 },
	{ "eth pw ip4 tcp", FRAME_HIDDEN, 0 },
	{ "eth snap mpls ip4 tcp", GATED, 0 },
	/* IPv4 */
	{ "eth ip4:o=4 tcp", GATED, 0 },
	{ "eth ip4:o=40 tcp", GATED, 0 },
	{ "eth t88a8 t8100 snap ip4:o=40 tcp", GATED, 0 },
	{ "eth ip4:ihl=4 tcp", FRAME_MALFORMED, 0 },
	{ "eth ip4:ihl=0 tcp", FRAME_MALFORMED, 0 },
	{ "eth ip4:v=5 tcp", FRAME_MALFORMED, 0 },
	{ "eth ip4:v=6 tcp", FRAME_MALFORMED, 0 },
	{ "eth ip4:short tcp", FRAME_MALFORMED, 0 },
	{ "eth ip4:long tcp", FRAME_MALFORMED, 0 },
	{ "eth ip4 tcp cut=20", FRAME_MALFORMED, 0 },
	{ "eth ip4 tcp cut=36", FRAME_MALFORMED, 0 },
	{ "eth ip4 tcp:10", FRAME_MALFORMED, 0 },
	{ "eth ip4:mf tcp", GATED, 0 },
	{ "eth ip4:mf tcp:8", GATED, 0 },
	{ "eth ip4:mf tcp:2", FRAME_TINY, 0 },
	{ "eth ip4:f=1 tcp", FRAME_TINY, 0 },
	{ "eth ip4:f=1,mf tcp", FRAME_TINY, 0 },
	{ "eth ip4:f=2 tcp", FRAME_LATER, 0 },
	{ "eth ip4:f=100,mf tcp", FRAME_LATER, 0 },
	{ "eth ip4 ah tcp", GATED, 0 },
	{ "eth ip4:o=8 ah ah tcp", GATED, 0 },
	{ "eth ip4 ah ah ah ah ah ah ah ah ah tcp", FRAME_TOO_DEEP, 0 },
	{ "eth ip4:mf ah tcp", GATED, 0 },
	{ "eth ip4:mf ah ah tcp", FRAME_TINY, 0 },
	{ "eth ip4:f=3 ah tcp", FRAME_TINY, 0 },
	{ "eth ip4:f=180 ah tcp", FRAME_LATER, 0 },
	/* IPv6 */
	{ "eth ip6 hbh tcp", GATED, 0 },
	{ "eth ip6 dst tcp", GATED, 0 },
	{ "eth ip6 rt tcp", GATED, 0 },
	{ "eth ip6 ah tcp", GATED, 0 },
	{ "eth ip6 mob tcp", GATED, 0 },
	{ "eth ip6 hip tcp", GATED, 0 },
	{ "eth ip6 shim tcp", GATED, 0 },
	{ "eth ip6 hbh dst rt fraga ah dst24 tcp", GATED, 0 },
	{ "eth ip6 dst dst dst dst dst dst dst dst tcp", GATED, 0 },
	{ "eth ip6 dst dst dst dst dst dst dst dst dst tcp", FRAME_TOO_DEEP, 0 },
	{ "eth ip6 fraga tcp", GATED, 0 },
	{ "eth ip6 frag0 tcp", GATED, 0 },
	{ "eth ip6 dst frag0 dst tcp", GATED, 0 },
	{ "eth ip6 frag0 dst cut=66", FRAME_CHAIN, 0 },
	{ "eth ip6 frag0 tcp:2", FRAME_CHAIN, 0 },
	{ "eth ip6 frag0 tcp:8", FRAME_CHAIN, 0 },
	{ "eth ip6 dst frag0 tcp:19", FRAME_CHAIN, 0 },
	{ "eth ip6 frag0 frag0 tcp", FRAME_CHAIN, 0 },
	{ "eth ip6 frag0 dst dst dst dst dst dst dst dst tcp", FRAME_CHAIN, 0 },
	{ "eth ip6 frag2 tcp", FRAME_LATER, 0 },
	{ "eth ip6 frag1 tcp", FRAME_LATER, 0 },
	{ "eth ip6 dst frag9 dst tcp", FRAME_LATER, 0 },
	{ "eth t88a8 t8100 snap ip6 hbh dst frag0 tcp", GATED, 0 },
	{ "eth ip6:v=4 tcp", FRAME_MALFORMED, 0 },
	{ "eth ip6:short tcp", FRAME_MALFORMED, 0 },
	{ "eth ip6:long tcp", FRAME_MALFORMED, 0 },
	{ "eth ip6 dst tcp cut=58", FRAME_MALFORMED, 0 },
	{ "eth ip6 tcp cut=56", FRAME_MALFORMED, 0 },
	/* innocent: other ports and their fragments, other protocols, other frames */
	{ "eth ip4 tcp", OTHER, 443 },
	{ "eth ip6 tcp", OTHER, 443 },
	{ "eth t8100 ip4 tcp", OTHER, 443 },
	{ "eth t88a8 t8100 snap ip6 tcp", OTHER, 443 },
	{ "eth ip4:o=8 tcp", OTHER, 443 },
	{ "eth ip4:mf tcp", OTHER, 443 },
	{ "eth ip6 frag0 tcp", OTHER, 443 },
	{ "eth ip4 ah tcp", OTHER, 443 },
	{ "eth ip6 ah tcp", OTHER, 443 },
	{ "eth pppoe ip4 tcp", OTHER, 443 },
	{ "eth mpls ip4 tcp", OTHER, 443 },
	{ "eth ip4 udp", OTHER, 0 },
	{ "eth ip6 udp", OTHER, 0 },
	{ "eth ip4:mf udp", OTHER, 0 },
	{ "eth ip4:f=1 udp", OTHER, 0 },
	{ "eth ip4:f=100 udp", OTHER, 0 },
	{ "eth ip6 frag0 udp", OTHER, 0 },
	{ "eth ip6 frag100 udp", OTHER, 0 },
	{ "eth ip6 frag100 icmp6", OTHER, 0 },
	{ "eth ip4 icmp", OTHER, 0 },
	{ "eth ip6 icmp6", OTHER, 0 },
	{ "eth ip6 hbh icmp6", OTHER, 0 },
	{ "eth ip4 esp", OTHER, 0 },
	{ "eth ip6 esp", OTHER, 0 },
	{ "eth ip4 gre", OTHER, 0 },
	{ "eth ip6 gre", OTHER, 0 },
	{ "eth ip4 proto=4", OTHER, 0 },
	{ "eth ip6 proto=41", OTHER, 0 },
	{ "eth ip4 proto=132", OTHER, 0 },
	{ "eth ip4 proto=112", OTHER, 0 },
	{ "eth ip6 proto=89", OTHER, 0 },
	{ "eth ip6 proto=59", OTHER, 0 },
	{ "eth ip4 ah udp", OTHER, 0 },
	{ "eth ip6 dst udp", OTHER, 0 },
	{ "eth type=0806", OTHER, 0 },
	{ "eth t8100 type=0806", OTHER, 0 },
	{ "eth type=88cc", OTHER, 0 },
	{ "eth type=88e5", OTHER, 0 },
	{ "eth type=88f7", OTHER, 0 },
	{ "eth type=8035", OTHER, 0 },
	{ "eth type=22f3", OTHER, 0 },
	{ "eth type=6003", OTHER, 0 },
};

#undef GATED
#undef OTHER
#define NTRICKS (sizeof(tricks) / sizeof(tricks[0]))

#endif
