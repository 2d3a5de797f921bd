// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The gate's answers as they reach a guest's device, byte by byte: on taps and
 * veths, with checksum offload and without, for frames whose own checksum is done
 * or left to the host, tagged and bare.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "../lib/wirerows.h"

#define SPORT 40000
#define SEQ   1000

static struct testgate gate;
static struct wire wire;

/* How the question is put: TCP flags and payload, and by whom its checksum is done. */
struct question {
	uint8_t flags;
	uint16_t payload;
	bool partial;
};

static const struct question questions[] = {
	{ TCP_SYN, 0, false },		 { TCP_SYN, 0, true },
	{ TCP_SYN, 100, true },		 { TCP_ACK, 0, true },
	{ TCP_ACK | TCP_FIN, 0, false }, { TCP_ACK | 8, 1400, true },
	{ TCP_ACK | 8, 1400, false },
};

/* What stands between Ethernet and IP stays; `icmp`: room can be made for an ICMP error. */
static const struct {
	const char *words;
	int l3;
	bool icmp;
} links[] = {
	{ "eth ip4 tcp", 14, true },	    { "eth ip6 tcp", 14, true },
	{ "eth t8100 ip4 tcp", 18, true },  { "eth t8100 ip6 tcp", 18, true },
	{ "eth t88a8 ip4 tcp", 18, true },  { "eth t88a8 t8100 ip4 tcp", 22, false },
	{ "eth t9100 ip6 tcp", 18, false }, { "eth t88a8 t8100 ip6 tcp", 22, false },
};

static uint32_t get(const uint8_t *p, int n)
{
	uint32_t v = 0;

	while (n--)
		v = v << 8 | *p++;
	return v;
}

static uint16_t sum(const uint8_t *p, int n, uint32_t s)
{
	for (int i = 0; i < n; i++)
		s += i % 2 ? p[i] : p[i] << 8;
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return s;
}

/* Sum of the pseudo header of the IP packet at `ip`. */
static uint16_t pseudo(const uint8_t *ip, int proto, int len)
{
	bool v6 = ip[0] >> 4 == 6;

	return sum(ip + (v6 ? 8 : 12), v6 ? 32 : 8, proto + len);
}

static int header_of(const uint8_t *ip)
{
	return ip[0] >> 4 == 6 ? IPV6_LEN : IPV4_LEN;
}

/* A checksum at ip + at is right, or is the start for a device that has yet to do it. */
static bool is_summed(const struct wire_got *got, const uint8_t *ip, int proto, int at)
{
	int header = header_of(ip), len = got->len - (int)(ip - got->bytes) - header;
	uint16_t start = proto == IPPROTO_ICMP ? 0 : pseudo(ip, proto, len);

	if (got->vnet.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		return got->vnet.csum_start == ip + header - got->bytes &&
		       got->vnet.csum_offset == at && get(ip + header + at, 2) == start;
	return sum(ip + header, len, start) == 0xffff;
}

/* Ethernet, tags and addresses: back to where the question came from. */
static const uint8_t *check_envelope(const struct wire_got *got, const struct wire_frame *q, int l3)
{
	const uint8_t *ip = got->bytes + l3, *asked = q->bytes + l3;
	bool v6 = asked[0] >> 4 == 6;
	int at = v6 ? 8 : 12, n = v6 ? 16 : 4;

	assert_memory_equal(got->bytes, q->bytes + 6, 6);
	assert_memory_equal(got->bytes + 6, q->bytes, 6);
	assert_memory_equal(got->bytes + 12, q->bytes + 12, l3 - 12);
	assert_int_equal(ip[0], v6 ? 0x60 : 0x45);
	assert_memory_equal(ip + at, asked + at + n, n);
	assert_memory_equal(ip + at + n, asked + at, n);
	if (v6)
		assert_int_equal(get(ip + 4, 2), got->len - l3 - IPV6_LEN);
	else
		assert_int_equal(get(ip + 2, 2), got->len - l3);
	if (!v6)
		assert_int_equal(sum(ip, IPV4_LEN, 0), 0xffff);
	assert_int_equal(got->vnet.gso_type, VIRTIO_NET_HDR_GSO_NONE);
	return ip;
}

static void check_reset(const struct wire_got *got, const struct wire_frame *f, int l3,
			const struct question *q)
{
	const uint8_t *ip = check_envelope(got, f, l3), *tcp = ip + header_of(ip);
	uint32_t len = q->payload + !!(q->flags & TCP_SYN) + !!(q->flags & TCP_FIN);
	bool acked = q->flags & TCP_ACK;

	assert_int_equal(got->len, l3 + header_of(ip) + TCP_LEN);
	assert_int_equal(get(tcp, 2), 25);
	assert_int_equal(get(tcp + 2, 2), SPORT);
	assert_int_equal(tcp[13], acked ? TCP_RST : TCP_RST | TCP_ACK);
	assert_int_equal(get(tcp + 4, 4), acked ? 77 : 0);
	assert_int_equal(get(tcp + 8, 4), acked ? 0 : SEQ + len);
	if (!is_summed(got, ip, PROTO_TCP, TCP_SUM))
		fail_msg("the reset's checksum is wrong: %04x over %s, %s, flags %02x, %d bytes%s",
			 get(tcp + TCP_SUM, 2), wire_device_name[wire.device],
			 got->vnet.flags ? "left" : "done", q->flags, q->payload,
			 q->partial ? ", partial" : "");
}

static void check_icmp(const struct wire_got *got, const struct wire_frame *f, int l3)
{
	const uint8_t *ip = check_envelope(got, f, l3);
	int header = header_of(ip);
	const uint8_t *icmp = ip + header, *quoted = icmp + 8;
	bool v6 = header == IPV6_LEN;

	assert_int_equal(got->len, l3 + header + 8 + header + TCP_LEN);
	assert_int_equal(v6 ? ip[6] : ip[9], v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
	assert_int_equal(icmp[0], v6 ? 1 : 3);
	assert_int_equal(icmp[1], v6 ? 1 : 13);
	assert_int_equal(sum(icmp, 8 + header + TCP_LEN,
			     v6 ? pseudo(ip, IPPROTO_ICMPV6, 8 + header + TCP_LEN) : 0),
			 0xffff);
	assert_memory_equal(quoted + (v6 ? 8 : 12), f->bytes + l3 + (v6 ? 8 : 12), v6 ? 32 : 8);
	assert_memory_equal(quoted + header, f->bytes + l3 + header, 8); /* ports and sequence */
}

static void ask(struct wire_frame *f, uint8_t *bytes, const char *words, int l3,
		const struct question *q)
{
	struct frame_spec spec = { .sport = SPORT,
				   .flags = q->flags,
				   .seq = SEQ,
				   .ack = q->flags & TCP_ACK ? 77 : 0,
				   .payload = q->payload };
	uint8_t *ip = bytes + l3, *tcp;

	f->bytes = bytes;
	f->len = frame_build(words, &spec, bytes);
	f->vnet = (struct virtio_net_hdr){ 0 };
	tcp = ip + header_of(ip);
	if (!q->partial)
		return;
	f->vnet.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	f->vnet.csum_start = tcp - bytes;
	f->vnet.csum_offset = TCP_SUM;
}

static void check_answers(enum gate_refuse refuse, bool offload)
{
	uint8_t bytes[FRAME_MAX];
	struct wire_frame f;

	for (size_t l = 0; l < sizeof(links) / sizeof(*links); l++) {
		for (size_t i = 0; i < sizeof(questions) / sizeof(*questions); i++) {
			const struct question *q = &questions[i];
			int answers = refuse == GATE_REFUSE_RESET || links[l].icmp;

			ask(&f, bytes, links[l].words, links[l].l3, q);
			wire_policy(&wire, VM_BLOCKED, refuse);
			assert_int_equal(wire_exchange(&wire, &f), 0);
			assert_int_equal(wire.nfar, 0);
			if (wire.nback != answers)
				fail_msg("%s over %s, question %d: %d answers", links[l].words,
					 wire_device_name[wire.device], (int)i, wire.nback);
			if (!answers)
				continue;
			/* a tap that cannot do checksums gets them done */
			if (!offload && wire.device != WIRE_VETH)
				assert_int_equal(
					wire.back[0].vnet.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM, 0);
			if (refuse == GATE_REFUSE_RESET)
				check_reset(&wire.back[0], &f, links[l].l3, q);
			else
				check_icmp(&wire.back[0], &f, links[l].l3);
		}
	}
}

static void test_over_all_devices(enum gate_refuse refuse)
{
	for (enum wire_device device = 0; device < WIRE_DEVICES; device++) {
		for (int offload = 0; offload < 2; offload++) {
			wire_open(&wire, &gate, device, WIRE_FROM_VM, offload);
			check_answers(refuse, offload);
			wire_close(&wire);
		}
	}
}

static void test_resets(void **state)
{
	test_over_all_devices(GATE_REFUSE_RESET);
}

static void test_icmp_errors(void **state)
{
	test_over_all_devices(GATE_REFUSE_ICMP);
}

/* A super-packet of a running flow that was blocked: one reset, for the whole of it. */
static void test_the_answer_to_a_super_packet(void **state)
{
	static const struct question q = { TCP_ACK | 8, DRESS_GSO_PAYLOAD, true };
	uint8_t bytes[FRAME_MAX];
	struct wire_frame f;

	for (enum wire_device device = 0; device < WIRE_DEVICES; device++) {
		wire_open(&wire, &gate, device, WIRE_FROM_VM, true);
		for (size_t l = 0; l < 2; l++) {
			ask(&f, bytes, links[l].words, links[l].l3, &q);
			f.vnet.gso_type = l ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
			f.vnet.gso_size = DRESS_GSO_SIZE;
			f.vnet.hdr_len = f.len - DRESS_GSO_PAYLOAD;
			for (enum gate_refuse r = GATE_REFUSE_RESET; r <= GATE_REFUSE_ICMP; r++) {
				wire_policy(&wire, VM_BLOCKED, r);
				assert_int_equal(wire_exchange(&wire, &f), 0);
				assert_int_equal(wire.nfar, 0);
				assert_int_equal(wire.nback, 1);
				if (r == GATE_REFUSE_RESET)
					check_reset(&wire.back[0], &f, links[l].l3, &q);
				else
					check_icmp(&wire.back[0], &f, links[l].l3);
			}
		}
		wire_close(&wire);
	}
}

static int enter(void **state)
{
	wirelab_enter();
	testgate_open(&gate, 1);
	return 0;
}

static int leave(void **state)
{
	testgate_close(&gate);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_resets),
		cmocka_unit_test(test_icmp_errors),
		cmocka_unit_test(test_the_answer_to_a_super_packet),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
