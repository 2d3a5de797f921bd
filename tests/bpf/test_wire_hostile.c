// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * What root in a guest can do beyond the tables: frames of every size, every
 * ethertype, flags and offsets that mean nothing, jumbo frames, and floods.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "../../bpf/read.h"
#include "../lib/nsbox.h"
#include "../lib/wirerows.h"
#include "gate25.skel.h"

const volatile struct gate_params params = { .nports = 1,
					     .ports = { 25, 25, 25, 25 },
					     .scopes = 1 };

static struct testgate gate;
static struct wire wire;

static const struct gate_counters *counters(void)
{
	return &gate.m.counters[TEST_SLOT];
}

static int send_bytes(const uint8_t *bytes, int len)
{
	struct wire_frame f = { .bytes = bytes, .len = len };

	return wire_exchange(&wire, &f);
}

static bool arrived(const uint8_t *bytes, int len)
{
	return wire.nfar == 1 && wire.at_far[0].len == len &&
	       !memcmp(wire.at_far[0].bytes, bytes, len);
}

/* Cut anywhere: a closed VM gets nothing out that says it is IP, an open one all of it. */
static void test_every_size(void **state)
{
	static const char *const words[] = { "eth ip4 tcp", "eth ip6 tcp", "eth ip4:o=40 tcp",
					     "eth ip6 hbh dst tcp" };
	uint8_t bytes[FRAME_MAX];

	for (enum wire_device device = 0; device < WIRE_DEVICES; device++) {
		wire_open(&wire, &gate, device, WIRE_FROM_VM, true);
		for (int i = 0; i < 4; i++) {
			int whole = frame_build(words[i], NULL, bytes);

			for (int len = ETH_LEN; len <= whole; len++) {
				wire_policy(&wire, VM_BLOCKED, GATE_REFUSE_DROP);
				assert_int_equal(send_bytes(bytes, len), 0);
				assert_int_equal(wire.nfar, 0);
				assert_int_equal(counters()->packets_dropped, 1);
				wire_policy(&wire, VM_ALLOWED, GATE_REFUSE_DROP);
				send_bytes(bytes, len);
				assert_true(arrived(bytes, len));
				assert_int_equal(
					counters()->unclassifiable + counters()->flows_admitted, 1);
			}
		}
		wire_close(&wire);
	}
}

/* Through a tag, PPPoE and so on: what the reader calls no IP passes, all else is dropped. */
static void check_ethertype(uint32_t type, const uint8_t *between, int n)
{
	uint8_t bytes[FRAME_MAX];
	struct frame f = { 0 };
	int len = frame_build("eth ip4 tcp", NULL, bytes), nfar;
	struct host_ctx ctx = { .data = bytes, .len = len + n, .linear = len + n };

	memmove(bytes + ETH_LEN + n, bytes + ETH_LEN, len - ETH_LEN);
	memcpy(bytes + ETH_LEN, between, n);
	bytes[12] = type >> 8;
	bytes[13] = type;
	send_bytes(bytes, len + n);
	nfar = read_closely(&ctx, &f, false) == FRAME_OTHER;
	if (wire.nfar != nfar || (nfar && !arrived(bytes, len + n)))
		fail_msg("ethertype %04x, %d bytes between: %d got through, should be %d", type, n,
			 wire.nfar, nfar);
}

static void test_every_ethertype(void **state)
{
	static const uint8_t between[8] = { 0, 5, 8, 0, 0, 0, 8, 0 };

	wire_open(&wire, &gate, WIRE_TAP, WIRE_FROM_VM, true);
	wire_policy(&wire, VM_QUARANTINED, GATE_REFUSE_DROP);
	for (uint32_t type = 0; type < 0x10000; type++)
		check_ethertype(type, between, 4);
	for (uint32_t type = 0; type < 0x10000; type += type < 0x700 ? 1 : 7)
		check_ethertype(type, between, type & 1 ? 0 : 8);
	assert_true(counters()->packets_dropped > 5);
	wire_close(&wire);
}

/* Any first packet of a flow is one, whatever its flags and offsets say. */
static void test_every_set_of_flags_and_every_offset(void **state)
{
	uint8_t bytes[FRAME_MAX];
	int len, resets;

	wire_open(&wire, &gate, WIRE_TAP, WIRE_FROM_VM, true);
	for (int v = 4; v <= 6; v += 2) {
		len = frame_build(v == 4 ? "eth ip4 tcp" : "eth ip6 tcp", NULL, bytes);
		for (int i = 0; i < 256 + 16; i++) {
			uint8_t *tcp = bytes + len - TCP_LEN;

			tcp[13] = i < 256 ? i : TCP_SYN;
			tcp[12] = i < 256 ? 5 << 4 | (i & 1) : (i - 256) << 4;
			wire_policy(&wire, VM_BLOCKED, GATE_REFUSE_RESET);
			send_bytes(bytes, len);
			resets = tcp[13] & TCP_RST ? 0 : 1;
			if (wire.nfar || wire.nback != resets || counters()->flows_blocked != 1 ||
			    counters()->resets_sent != (uint64_t)resets)
				fail_msg("blocked, case %d: %d through, %d back", i, wire.nfar,
					 wire.nback);
			wire_policy(&wire, VM_LIMITED, GATE_REFUSE_DROP);
			send_bytes(bytes, len);
			assert_true(arrived(bytes, len));
			assert_int_equal(counters()->flows_admitted, 1);
		}
	}
	wire_close(&wire);
}

/* Priority, drop eligible, VID 0 and 4095, in one tag and two. */
static void test_every_kind_of_tag(void **state)
{
	static const uint16_t tci[] = { 0, 1, 0x0fff, 0x1000, 0xe000, 0xefff, 0xffff };
	static const char *const words[] = { "eth t8100 ip4 tcp", "eth t88a8 t8100 ip6 tcp" };
	uint8_t bytes[FRAME_MAX];

	wire_open(&wire, &gate, WIRE_TAP, WIRE_FROM_VM, true);
	for (int w = 0; w < 2; w++) {
		for (size_t i = 0; i < sizeof(tci) / sizeof(*tci); i++) {
			int len = frame_build(words[w], NULL, bytes);

			bytes[14] = tci[i] >> 8;
			bytes[15] = tci[i];
			wire_policy(&wire, VM_BLOCKED, GATE_REFUSE_RESET);
			send_bytes(bytes, len);
			assert_int_equal(wire.nfar, 0);
			assert_int_equal(wire.nback, 1);
			assert_memory_equal(wire.back[0].bytes + 12, bytes + 12, 4 + 4 * w);
			wire_policy(&wire, VM_ALLOWED, GATE_REFUSE_DROP);
			send_bytes(bytes, len);
			assert_true(arrived(bytes, len));
			assert_int_equal(counters()->flows_admitted, 1);
		}
	}
	wire_close(&wire);
}

/* Of 9,000 bytes only the Ethernet header is linear on a tap. */
static void test_jumbo_frames(void **state)
{
	static uint8_t bytes[ETH_LEN + WIRE_MTU];
	struct wire_frame f = { .bytes = bytes, .len = sizeof(bytes), .vnet.hdr_len = WIRE_LINEAR };

	for (enum wire_device device = 0; device < WIRE_DEVICES; device++) {
		wire_open(&wire, &gate, device, WIRE_FROM_VM, true);
		for (int v = 4; v <= 6; v += 2) {
			uint16_t length = htons(v == 4 ? WIRE_MTU : WIRE_MTU - IPV6_LEN);

			frame_build(v == 4 ? "eth ip4 tcp" : "eth ip6 tcp", NULL, bytes);
			memcpy(bytes + ETH_LEN + (v == 4 ? 2 : 4), &length, 2);
			wire_policy(&wire, VM_BLOCKED, GATE_REFUSE_RESET);
			assert_int_equal(wire_exchange(&wire, &f), 0);
			assert_int_equal(wire.nfar, 0);
			assert_int_equal(wire.nback, 1);
			assert_int_equal(wire.back[0].len, ETH_LEN + (v == 4 ? 40 : 60));
			assert_int_equal(counters()->bytes_from_vm, sizeof(bytes));
			wire_policy(&wire, VM_LIMITED, GATE_REFUSE_DROP);
			wire_exchange(&wire, &f);
			assert_true(arrived(bytes, sizeof(bytes)));
			assert_int_equal(counters()->flows_admitted, 1);
			assert_int_equal(counters()->packets_from_vm, 1);
		}
		wire_close(&wire);
	}
}

/* ---- a neighbour ---- */

/* So few that they do not push each other out of a small table. */
#define FLOWS  12
#define SPAMS  1500 /* between two packets of each of those flows */
#define ROUNDS 3

struct neighbour {
	int fd, link;
};

static void plug_neighbour(struct neighbour *n)
{
	struct gate_port port = { .slot = TEST_SLOT2, .flags = GATE_PORT_VM | GATE_PORT_JUDGED };
	struct gate_node allow = { .state = GATE_ALLOW };
	uint32_t ifindex;

	n->fd = wirelab_tap("port1", false, true);
	nsbox_run("ip link set port1 master br0 && ip link set port1 up");
	ifindex = if_nametoindex("port1");
	n->link = wirelab_attach(bpf_program__fd(gate.skel->progs.g25_from_vm), ifindex, true);
	bpf_map_update_elem(gate.m.ports, &ifindex, &port, 0);
	gate_maps_ports_changed(&gate.m);
	testgate_policy(&gate, gate_base_vm(TEST_SLOT2), 0, &allow);
}

static void spam(const struct neighbour *n, uint32_t first)
{
	struct {
		struct virtio_net_hdr vnet;
		uint8_t bytes[FRAME_MAX];
	} __attribute__((packed)) out = { 0 };

	for (uint32_t i = first; i < first + SPAMS; i++) {
		struct frame_spec spec = { .sport = 1024 + i % 60000,
					   .dst = 3 + i / 50,
					   .src = 9,
					   .src_mac = { 2, 0, 0, 0, 0, 9 } };
		int len = frame_build("eth ip4 tcp", &spec, out.bytes);

		if (write(n->fd, &out, sizeof(out.vnet) + len) < 0)
			fail_msg("the neighbour cannot send");
	}
}

/* One VM opens flows as fast as it can: another loses none, and no token. */
static void test_a_flood_takes_nothing_from_another(void **state)
{
	struct neighbour n;
	uint8_t bytes[FRAME_MAX];
	int len;

	wire_open(&wire, &gate, WIRE_TAP, WIRE_FROM_VM, true);
	wire_policy(&wire, VM_LIMITED, GATE_REFUSE_DROP);
	struct gate_node limit = testgate_limit(1, FLOWS);
	testgate_policy(&gate, gate_base_vm(TEST_SLOT), 0, &limit);
	plug_neighbour(&n);
	for (uint32_t round = 0; round < ROUNDS; round++) {
		for (uint16_t i = 0; i < FLOWS; i++) {
			struct frame_spec spec = { .sport = 2000 + i,
						   .flags = round ? TCP_ACK : TCP_SYN };

			len = frame_build("eth ip4 tcp", &spec, bytes);
			send_bytes(bytes, len);
			if (!arrived(bytes, len))
				fail_msg("round %u, flow %u: %d got through", round, i, wire.nfar);
		}
		spam(&n, round * SPAMS);
		wire_gather(&wire);
	}
	assert_int_equal(counters()->flows_admitted, FLOWS);
	assert_int_equal(counters()->flows_limited, 0);
	assert_int_equal(counters()->packets_from_vm, FLOWS * ROUNDS);
	assert_int_equal(counters()->packets_dropped, 0);
	assert_int_equal(gate.m.counters[TEST_SLOT2].flows_admitted, SPAMS * ROUNDS);
	close(n.link);
	close(n.fd);
	wire_close(&wire);
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
		cmocka_unit_test(test_every_size),
		cmocka_unit_test(test_every_ethertype),
		cmocka_unit_test(test_every_set_of_flags_and_every_offset),
		cmocka_unit_test(test_every_kind_of_tag),
		cmocka_unit_test(test_jumbo_frames),
		cmocka_unit_test(test_a_flood_takes_nothing_from_another),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
