// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Work that a guest leaves to the host, and what it can be abused for. Behind all
 * hooks segmentation writes the lengths of IP headers anew, and a checksum is
 * written wherever the virtio header says. What is judged must be what leaves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "../lib/nsbox.h"
#include "../lib/wirerows.h"

static struct testgate gate;
static struct wire wire;

static const struct gate_counters *counters(void)
{
	return &gate.m.counters[TEST_SLOT];
}

/* An uplink that leaves nothing to the next device: what arrives is what a wire carries. */
static void open_wire(enum wire_device device, enum wire_hook hook)
{
	wire_open(&wire, &gate, device, hook, true);
	nsbox_run("ethtool -K up0 tx off tso off gso off >/dev/null");
}

/* ---- segmentation ---- */

#define SEGMENTS 4

static void make_gso(struct wire_frame *f, uint8_t *bytes, const char *words, bool csum)
{
	struct frame_spec spec = { .payload = DRESS_GSO_PAYLOAD };

	f->bytes = bytes;
	f->len = frame_build(words, &spec, bytes);
	f->vnet = (struct virtio_net_hdr){
		.gso_type =
			strstr(words, "ip6") ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4,
		.gso_size = DRESS_GSO_SIZE,
		.hdr_len = f->len - DRESS_GSO_PAYLOAD,
	};
	if (!csum)
		return;
	f->vnet.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	f->vnet.csum_start = f->len - DRESS_GSO_PAYLOAD - TCP_LEN;
	f->vnet.csum_offset = TCP_SUM;
}

static const char *const wrong_lengths[] = {
	"eth ip4:short tcp", "eth ip4:long tcp",       "eth ip4:o=40,short tcp",
	"eth ip6:short tcp", "eth ip6:long tcp",       "eth ip6:short dst tcp",
	"eth ip4 tcp",	     "eth t8100 ip4:long tcp",
};

static void check_wrong_length(const char *words, bool csum)
{
	uint8_t bytes[FRAME_MAX];
	struct wire_frame f;

	make_gso(&f, bytes, words, csum);
	wire_policy(&wire, VM_ALLOWED, GATE_REFUSE_DROP);
	assert_int_equal(wire_exchange(&wire, &f), 0);
	assert_int_equal(wire.nfar, SEGMENTS); /* so they do get out, whatever the length said */
	assert_int_equal(counters()->flows_admitted, 1);
	assert_int_equal(counters()->packets_from_vm, SEGMENTS);
	assert_int_equal(counters()->unclassifiable, 0);

	wire_policy(&wire, VM_BLOCKED, GATE_REFUSE_DROP);
	wire_exchange(&wire, &f);
	assert_int_equal(wire.nfar, 0);
	assert_int_equal(counters()->flows_blocked, 1);
	assert_int_equal(counters()->packets_dropped, SEGMENTS);
}

static void test_lengths_that_segmentation_mends_are_not_gone_by(void **state)
{
	open_wire(WIRE_TAP, WIRE_FROM_VM);
	for (size_t i = 0; i < sizeof(wrong_lengths) / sizeof(*wrong_lengths); i++) {
		check_wrong_length(wrong_lengths[i], false);
		check_wrong_length(wrong_lengths[i], true);
	}
	wire_close(&wire);
}

/* ---- checksums ---- */

struct misplaced {
	const char *words;
	uint16_t dport;
	int start, offset; /* the guest's csum_start and csum_offset */
	int poke;	   /* two bytes that nobody minds, to make the sum come out right */
	uint16_t value;	   /* what shall stand at start + offset in the end */
};

/* With an outer tag counted as the guest sends it. */
static const struct misplaced misplaced[] = {
	{ "eth ip4 tcp", 443, 34, 2, 52, 25 }, /* destination port */
	{ "eth ip6 tcp", 443, 54, 2, 72, 25 },
	{ "eth t8100 ip4 tcp", 443, 38, 2, 56, 25 },
	{ "eth t88a8 t8100 ip6 tcp", 443, 62, 2, 80, 25 },
	{ "eth ip4:o=8 tcp", 443, 42, 2, 60, 25 },
	{ "eth ip6 dst tcp", 443, 62, 2, 80, 25 },
	{ "eth ip4 tcp", 443, 20, 16, 52, 25 },		/* from within the IP header */
	{ "eth ip4 tcp", 25, 34, 12, 52, 0x5002 },	/* flags: ACK to SYN */
	{ "eth ip4 tcp", 25, 20, 10, 52, 0x0a00 },	/* destination address */
	{ "eth ip4 udp", 0, 20, 2, 52, 0x4006 },	/* UDP to TCP */
	{ "eth ip4:f=100 tcp", 25, 20, 0, 52, 0x4000 }, /* fragment to none */
	{ "eth ip6 udp", 0, 20, 0, 72, 0x0640 },
	{ "eth ip6 dst tcp", 443, 54, 0, 80, 0x0600 },	       /* extension header's next */
	{ "eth t8100 t8100 type=9999", 0, 20, 0, 60, 0x0800 }, /* ethertype */
	{ "eth t8100 t9100 t8100 ip4 tcp", 443, 24, 0, 60, 0x0800 },
	{ "eth t8100 mpls ip4 tcp", 443, 22, 0, 60, 0x4500 },
	{ "eth t8100 snap ip4 tcp", 443, 24, 0, 60, 0x86dd },
	{ "eth ip4:ihl=4 tcp", 25, 34, 16, 52, 0 }, /* malformed, and left undone too */
};

static uint16_t sum(const uint8_t *p, int n)
{
	uint32_t s = 0;

	for (int i = 0; i < n; i++)
		s += i % 2 ? p[i] : p[i] << 8;
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return s;
}

/* Makes a frame whose completed checksum is row->value. */
static void make_misplaced(struct wire_frame *f, uint8_t *bytes, const struct misplaced *row)
{
	struct frame_spec spec = { .dport = row->dport, .flags = 0x10, .payload = 10 };
	uint32_t want = (uint16_t)~row->value;

	f->bytes = bytes;
	f->len = frame_build(row->words, &spec, bytes);
	f->vnet = (struct virtio_net_hdr){ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
					   .csum_start = row->start,
					   .csum_offset = row->offset };
	bytes[row->poke] = bytes[row->poke + 1] = 0;
	want += 0xffff - sum(bytes + row->start, f->len - row->start);
	want = (want & 0xffff) + (want >> 16);
	bytes[row->poke] = want >> 8;
	bytes[row->poke + 1] = want;
}

#define EACH_MISPLACED(row)                                                                        \
	for (const struct misplaced *row = misplaced;                                              \
	     row < misplaced + sizeof(misplaced) / sizeof(*misplaced); row++)

/* Without a gate it works: else the other tests would prove nothing. */
static void test_a_checksum_goes_where_the_guest_says(void **state)
{
	uint8_t bytes[FRAME_MAX];
	struct wire_frame f;

	open_wire(WIRE_TAP, WIRE_UNGATED);
	EACH_MISPLACED(row)
	{
		const uint8_t *place = wire.at_far[0].bytes + row->start + row->offset;

		make_misplaced(&f, bytes, row);
		assert_int_equal(wire_exchange(&wire, &f), 0);
		if (wire.nfar != 1 || (row->value && (place[0] << 8 | place[1]) != row->value))
			fail_msg("%s, %d + %d: %d frames, %02x%02x", row->words, row->start,
				 row->offset, wire.nfar, place[0], place[1]);
	}
	wire_close(&wire);
}

static void check_misplaced(const struct misplaced *row, enum vm_state vm)
{
	uint8_t bytes[FRAME_MAX];
	struct wire_frame f;

	make_misplaced(&f, bytes, row);
	wire_policy(&wire, vm, GATE_REFUSE_RESET);
	assert_int_equal(wire_exchange(&wire, &f), 0);
	if (wire.nfar || wire.nback || counters()->unclassifiable != 1 ||
	    counters()->packets_dropped != 1 || counters()->flows_admitted ||
	    testgate_reason(&gate, GATE_R_REWRITTEN, false) != 1)
		fail_msg("%s, %d + %d, %s VM: %d got through, %d back", row->words, row->start,
			 row->offset, vm_state_name[vm], wire.nfar, wire.nback);
}

static void check_all_misplaced(enum wire_device device, enum wire_hook hook)
{
	open_wire(device, hook);
	EACH_MISPLACED(row)
	{
		for (enum vm_state vm = VM_ALLOWED; vm < VM_OBSERVED; vm++)
			check_misplaced(row, vm);
	}
	wire_close(&wire);
}

static void test_a_checksum_over_what_was_read_is_refused(void **state)
{
	check_all_misplaced(WIRE_TAP, WIRE_FROM_VM);
	check_all_misplaced(WIRE_TAP_FRAGS, WIRE_FROM_VM);
	check_all_misplaced(WIRE_VETH, WIRE_FROM_VM);
	check_all_misplaced(WIRE_TAP, WIRE_BACKSTOP);
}

/* The places of TCP, UDP, ICMP; inside tunnels; behind what no reader knows. */
static const struct misplaced innocent[] = {
	{ "eth ip4 tcp", 443, 34, 16, 60, 0 },
	{ "eth ip6 tcp", 443, 54, 16, 80, 0 },
	{ "eth t8100 ip4 tcp", 443, 38, 16, 64, 0 },
	{ "eth t88a8 t8100 ip6 tcp", 443, 62, 16, 90, 0 },
	{ "eth t8100 t8100 t8100 ip4 tcp", 443, 46, 16, 70, 0 },
	{ "eth ip4:o=40 tcp", 443, 74, 16, 100, 0 },
	{ "eth ip6 hbh dst rt tcp", 443, 78, 16, 100, 0 },
	{ "eth mpls ip4 tcp", 443, 38, 16, 60, 0 },
	{ "eth pppoe ip4 tcp", 443, 42, 16, 60, 0 },
	{ "eth ip4 udp", 0, 34, 6, 60, 0 },
	{ "eth ip6 udp", 0, 54, 6, 80, 0 },
	{ "eth t8100 ip6 udp", 0, 58, 6, 80, 0 },
	{ "eth ip4 icmp", 0, 34, 2, 60, 0 },
	{ "eth ip6 icmp6", 0, 54, 2, 80, 0 },
	{ "eth ip4 gre", 0, 40, 16, 60, 0 },
	{ "eth ip4 udp", 0, 42, 16, 60, 0 }, /* in a tunnel over UDP */
	{ "eth ip4 proto=132", 0, 34, 8, 60, 0 },
	{ "eth type=894f", 0, 30, 16, 50, 0 }, /* a service header, IP behind it */
	{ "eth ip4:f=100 udp", 0, 34, 6, 60, 0 },
};

static void test_a_checksum_in_its_place_is_left_alone(void **state)
{
	static const struct gate_counters none;
	uint8_t bytes[FRAME_MAX];
	struct wire_frame f;

	for (enum wire_device device = 0; device < WIRE_DEVICES; device++) {
		open_wire(device, WIRE_FROM_VM);
		for (size_t i = 0; i < sizeof(innocent) / sizeof(*innocent); i++) {
			make_misplaced(&f, bytes, &innocent[i]);
			wire_policy(&wire, VM_QUARANTINED, GATE_REFUSE_RESET);
			assert_int_equal(wire_exchange(&wire, &f), 0);
			if (wire.nfar != 1 || wire.at_far[0].len != f.len ||
			    memcmp(counters(), &none, sizeof(none)))
				fail_msg("%s over %s: %d at the far side", innocent[i].words,
					 wire_device_name[device], wire.nfar);
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
		cmocka_unit_test(test_lengths_that_segmentation_mends_are_not_gone_by),
		cmocka_unit_test(test_a_checksum_goes_where_the_guest_says),
		cmocka_unit_test(test_a_checksum_over_what_was_read_is_refused),
		cmocka_unit_test(test_a_checksum_in_its_place_is_left_alone),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
