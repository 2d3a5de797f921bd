// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The made packet: a SYN such as the VM's own stack would send. */
#include "why_priv.h"

#include <arpa/inet.h>
#include <net/ethernet.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>

#define MADE_PORT 40025 /* source port; any would do */
#define HOPS	  64

/* Where nothing is known: addresses for documentation (RFC 5737, RFC 3849), a local MAC. */
static const uint8_t placeholder_mac[6] = { 0x02, 0x00, 0x00, 0x00, 0x00, 0x25 };
static const uint8_t router_mac[6] = { 0x02, 0x00, 0x00, 0x00, 0x00, 0x01 };
static const char placeholder4[] = "198.51.100.25", placeholder6[] = "2001:db8::25";

static bool mac_registered(struct why_case *w)
{
	if (!w->vm->registered || !w->vm->nmacs)
		return false;
	memcpy(w->mac, w->vm->macs[0], 6);
	w->mac_is = WHY_REGISTERED;
	return true;
}

/* An unregistered port's identity is its first MAC. */
static bool mac_first(struct why_case *w)
{
	uint64_t first = __atomic_load_n(&w->m->vms[w->slot].first_mac, __ATOMIC_RELAXED);

	if (!(first & GATE_MAC_SEEN) || w->vm->registered)
		return false;
	for (unsigned i = 0; i < 6; i++)
		w->mac[i] = (uint8_t)(first >> 8 * i);
	w->mac_is = WHY_SEEN;
	return true;
}

/* The first host address of a prefix, or the address itself. */
static void one_of(const struct gate_prefix *p, struct gate_prefix *out)
{
	*out = *p;
	if (p->len < 127)
		out->addr[15] |= 1;
	out->len = 128;
}

static bool src_registered(struct why_case *w)
{
	for (unsigned i = 0; w->vm->registered && i < w->vm->nips; i++) {
		if (w->vm->ips[i].v4 != w->dst.v4)
			continue;
		one_of(&w->vm->ips[i], &w->src);
		w->src_is = WHY_REGISTERED;
		return true;
	}
	return false;
}

static void choose_mac(struct why_case *w, const struct gate_subject *asked,
		       const struct gate_engine_seen *seen)
{
	if (asked->kind == GATE_S_MAC) {
		memcpy(w->mac, asked->mac, 6);
		w->mac_is = WHY_ASKED;
	} else if (!mac_registered(w) && !mac_first(w)) {
		memcpy(w->mac, seen->any ? seen->mac : placeholder_mac, 6);
		w->mac_is = seen->any ? WHY_SEEN : WHY_PLACEHOLDER;
	}
}

static void choose_address(struct why_case *w, const struct gate_subject *asked,
			   const struct gate_engine_seen *seen)
{
	bool v4 = w->dst.v4, has = v4 ? seen->has4 : seen->has6;

	if (asked->kind == GATE_S_IP) {
		one_of(&asked->ip, &w->src);
		w->src_is = WHY_ASKED;
	} else if (!src_registered(w)) {
		gate_parse_prefix(v4 ? placeholder4 : placeholder6, &w->src);
		w->src_is = has ? WHY_SEEN : WHY_PLACEHOLDER;
		if (has)
			memcpy(w->src.addr, v4 ? seen->addr4 : seen->addr6, 16);
	}
}

/* What was recorded under binding `learn`, where nothing was heard of the VM since. */
static void fill_learned(const struct why_case *w, struct gate_engine_seen *seen)
{
	struct gate_learned l;

	if (!gate_engine_learned(w->engine, w->slot, &l))
		return;
	if (!seen->any && l.nmacs)
		memcpy(seen->mac, l.macs[0], sizeof(seen->mac));
	seen->any |= l.nmacs > 0;
	for (unsigned i = 0; i < l.nips; i++) {
		bool *has = l.ips[i].v4 ? &seen->has4 : &seen->has6;

		if (!*has)
			memcpy(l.ips[i].v4 ? seen->addr4 : seen->addr6, l.ips[i].addr, 16);
		*has = true;
	}
}

void why_choose_source(struct why_case *w, const struct gate_subject *asked)
{
	struct gate_engine_seen seen;

	gate_engine_last_source(w->engine, &w->who, &seen);
	fill_learned(w, &seen);
	choose_mac(w, asked, &seen);
	choose_address(w, asked, &seen);
}

/* The Internet checksum (RFC 1071). */
static uint16_t checksum(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint32_t sum = 0;

	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static unsigned put_ip(const struct why_case *w, uint8_t *at)
{
	struct ip6_hdr six = { 0 };
	struct iphdr four = { .version = 4, .ihl = 5, .ttl = HOPS, .protocol = IPPROTO_TCP };

	if (w->dst.v4) {
		four.tot_len = htons(sizeof(four) + sizeof(struct tcphdr));
		memcpy(&four.saddr, w->src.addr + 12, 4);
		memcpy(&four.daddr, w->dst.addr + 12, 4);
		four.check = checksum(&four, sizeof(four));
		memcpy(at, &four, sizeof(four));
		return sizeof(four);
	}
	six.ip6_flow = htonl(6U << 28);
	six.ip6_plen = htons(sizeof(struct tcphdr));
	six.ip6_nxt = IPPROTO_TCP;
	six.ip6_hlim = HOPS;
	memcpy(&six.ip6_src, w->src.addr, 16);
	memcpy(&six.ip6_dst, w->dst.addr, 16);
	memcpy(at, &six, sizeof(six));
	return sizeof(six);
}

unsigned why_make_frame(const struct why_case *w, uint8_t frame[WHY_FRAME_MAX])
{
	struct ether_header eth = { .ether_type =
					    htons(w->dst.v4 ? ETHERTYPE_IP : ETHERTYPE_IPV6) };
	/* its checksum stays 0: no program of the gate looks at it */
	struct tcphdr tcp = {
		.source = htons(MADE_PORT),
		.dest = htons(w->dport),
		.doff = sizeof(tcp) / 4,
		.syn = 1,
		.window = htons(UINT16_MAX),
	};
	unsigned n = sizeof(eth);

	_Static_assert(sizeof(eth) + sizeof(struct ip6_hdr) + sizeof(tcp) <= WHY_FRAME_MAX,
		       "the longest made frame fits");
	memcpy(eth.ether_dhost, router_mac, 6);
	memcpy(eth.ether_shost, w->mac, 6);
	memcpy(frame, &eth, sizeof(eth));
	n += put_ip(w, frame + n);
	memcpy(frame + n, &tcp, sizeof(tcp));
	return n + sizeof(tcp);
}
