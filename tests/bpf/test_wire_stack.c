// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * What a refused guest's own TCP stack makes of the gate's answers: the errno of
 * connect() and of a send() on a running connection, over veth and tap, with and
 * without checksum offload on either side; and the second half of triangular spam.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <net/if.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "../../bpf/frame.h"
#include "../lib/nsbox.h"
#include "../lib/wirestack.h"
#include "gate25.skel.h"

#define AT_ONCE_MS 900 /* before the first retransmission of a SYN */
#define SILENT_MS  300
#define WAIT_MS	   10000

static struct testgate gate;
static struct stack stack;

static const struct stack_setup setups[] = {
	{ WIRE_VETH, true, true },  { WIRE_VETH, false, true }, { WIRE_VETH, false, false },
	{ WIRE_TAP, true, true },   { WIRE_TAP, true, false },	{ WIRE_TAP, false, true },
	{ WIRE_TAP, false, false },
};

#define EACH_SETUP(s)                                                                              \
	for (const struct stack_setup *s = setups; s < setups + sizeof(setups) / sizeof(*setups);  \
	     s++)

static const char *name(const struct stack_setup *s)
{
	static char text[80];

	snprintf(text, sizeof(text), "%s, guest's offload %d, host's %d",
		 wire_device_name[s->device], s->guest_offload, s->host_offload);
	return text;
}

static struct gate_node node(enum gate_state state, enum gate_refuse refuse)
{
	return (struct gate_node){ .state = state, .refuse = refuse };
}

static const struct gate_counters *counters(void)
{
	return &gate.m.counters[TEST_SLOT];
}

static int64_t now_ms(void)
{
	return (int64_t)(testgate_now() / 1000000);
}

struct refusal {
	enum gate_refuse refuse;
	int family, error, wait_ms;
};

/*
 * An ICMP error that comes back while connect() still holds the socket is dropped
 * by Linux, which can be where guest and host are one kernel: then the answer to
 * the first retransmission counts.
 */
static const struct refusal refusals[] = {
	{ GATE_REFUSE_RESET, 4, ECONNREFUSED, AT_ONCE_MS },
	{ GATE_REFUSE_RESET, 6, ECONNREFUSED, AT_ONCE_MS },
	{ GATE_REFUSE_ICMP, 4, EHOSTUNREACH, WAIT_MS },
	{ GATE_REFUSE_ICMP, 6, EACCES, WAIT_MS },
	{ GATE_REFUSE_DROP, 4, ETIMEDOUT, SILENT_MS },
	{ GATE_REFUSE_DROP, 6, ETIMEDOUT, SILENT_MS },
};

static void check_refusal(const struct stack_setup *s, const struct refusal *row)
{
	struct gate_node block = node(GATE_BLOCK, row->refuse);
	int fd, error;

	stack_policy(&stack, &block);
	error = stack_connect(&stack, row->family, 0, 25, row->wait_ms, &fd);
	if (error != row->error)
		fail_msg("%s, IPv%d, refusal %d: %s, should be %s", name(s), row->family,
			 row->refuse, strerrorname_np(error), strerrorname_np(row->error));
	if (row->refuse == GATE_REFUSE_ICMP)
		assert_true(counters()->flows_blocked >= 1);
	else
		assert_int_equal(counters()->flows_blocked, 1);
	assert_int_equal(counters()->resets_sent, row->refuse == GATE_REFUSE_RESET);
	assert_int_equal(counters()->connects_refused, 0); /* the gate's own is not the server's */
}

static void test_connect_of_a_blocked_guest(void **state)
{
	EACH_SETUP(s)
	{
		stack_open(&stack, &gate, s);
		for (size_t i = 0; i < sizeof(refusals) / sizeof(*refusals); i++)
			check_refusal(s, &refusals[i]);
		stack_close(&stack);
	}
}

/* Sends until it fails; the errno, or 0 when nothing failed in time. */
static int send_until_error(int fd)
{
	int64_t end = now_ms() + WAIT_MS;
	struct pollfd p = { .fd = fd, .events = POLLIN };

	while (now_ms() < end) {
		if (send(fd, "DATA\r\n", 6, MSG_NOSIGNAL) < 0 && errno != EAGAIN)
			return errno;
		poll(&p, 1, 5);
		if (p.revents & POLLIN) /* an error pending; send() tells it first */
			p.events = 0;
	}
	return 0;
}

static void test_send_on_a_running_connection_that_is_blocked(void **state)
{
	EACH_SETUP(s)
	{
		struct gate_node allow = node(GATE_ALLOW, 0),
				 block = node(GATE_BLOCK, GATE_REFUSE_RESET);
		int listener, fd, peer, error;
		char bytes[64];

		stack_open(&stack, &gate, s);
		listener = stack_listen(&stack, 25);
		for (int family = 4; family <= 6; family += 2) {
			stack_policy(&stack, &allow);
			assert_int_equal(stack_connect(&stack, family, 0, 25, WAIT_MS, &fd), 0);
			peer = accept(listener, NULL, NULL);
			assert_true(peer >= 0);
			assert_int_equal(send(fd, "EHLO\r\n", 6, 0), 6);
			assert_int_equal(recv(peer, bytes, 6, MSG_WAITALL), 6);
			testgate_policy(&gate, gate_base_vm(TEST_SLOT), 0, &block);
			error = send_until_error(fd);
			if (error != ECONNRESET)
				fail_msg("%s, IPv%d: %s", name(s), family, strerror(error));
			assert_int_equal(recv(peer, bytes, sizeof(bytes), MSG_DONTWAIT), -1);
			assert_int_equal(counters()->flows_blocked, 1);
			assert_true(counters()->resets_sent >= 1);
			close(fd);
			close(peer);
		}
		close(listener);
		stack_close(&stack);
	}
}

/* Until a word that the programs write is as it should be. */
#define WAIT_UNTIL(word, is)                                                                       \
	do {                                                                                       \
		for (int64_t end = now_ms() + WAIT_MS; now_ms() < end;) {                          \
			if (*(volatile const __typeof__(word) *)&(word)is)                         \
				break;                                                             \
			poll(NULL, 0, 2);                                                          \
		}                                                                                  \
		assert_true((word)is);                                                             \
	} while (0)

/* Ends a connection so that the guest's FIN is the last that is heard of it. */
static void hang_up(int fd, int peer)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char c;

	shutdown(peer, SHUT_WR);
	assert_int_equal(poll(&p, 1, WAIT_MS), 1);
	assert_int_equal(recv(fd, &c, 1, 0), 0);
	close(fd);
	WAIT_UNTIL(gate.m.buckets[gate_bucket_index(&gate.m, TEST_SLOT, 0)].active, == 0);
	close(peer);
}

#define BULK (4 << 20)

/* A mail of 4 MB: what is segmented and summed on the way arrives whole. */
static void check_bulk(int family, int listener)
{
	static char out[65536], in[65536];
	struct pollfd p[2];
	size_t sent = 0, got = 0;
	int fd, peer;

	assert_int_equal(stack_connect(&stack, family, 0, 25, WAIT_MS, &fd), 0);
	peer = accept(listener, NULL, NULL);
	memset(out, 'm', sizeof(out));
	p[0] = (struct pollfd){ .fd = fd };
	p[1] = (struct pollfd){ .fd = peer, .events = POLLIN };
	while (got < BULK) {
		ssize_t n;

		p[0].events = sent < BULK ? POLLOUT : 0;
		assert_true(poll(p, 2, WAIT_MS) > 0);
		if (p[0].revents & POLLOUT) {
			n = send(fd, out, sent + sizeof(out) < BULK ? sizeof(out) : BULK - sent,
				 MSG_DONTWAIT | MSG_NOSIGNAL);
			sent += n > 0 ? (size_t)n : 0;
		}
		if (p[1].revents & POLLIN) {
			n = recv(peer, in, sizeof(in), MSG_DONTWAIT);
			assert_true(n > 0 && in[0] == 'm' && in[n - 1] == 'm');
			got += (size_t)n;
		}
	}
	hang_up(fd, peer);
}

static void test_a_big_mail_of_a_limited_guest_arrives_whole(void **state)
{
	EACH_SETUP(s)
	{
		struct gate_node limit = testgate_limit(10, 5);
		int listener;

		stack_open(&stack, &gate, s);
		listener = stack_listen(&stack, 25);
		for (int family = 4; family <= 6; family += 2) {
			stack_policy(&stack, &limit);
			check_bulk(family, listener);
			assert_int_equal(counters()->flows_admitted, 1);
			assert_int_equal(counters()->connects_established, 1);
			assert_int_equal(counters()->packets_dropped, 0);
			assert_int_equal(counters()->unclassifiable, 0);
			assert_true(counters()->bytes_from_vm > BULK);
			/* 1,460 bytes a packet at most, however few frames it took */
			assert_true(counters()->packets_from_vm >= BULK / 1460);
		}
		close(listener);
		stack_close(&stack);
	}
}

/* ---- triangular spam ---- */

struct accomplice {
	int tap, link;
};

/* A second VM, allowed and unbound, on a port of its own. */
static void plug_accomplice(struct accomplice *a)
{
	struct gate_port port = { .slot = TEST_SLOT2, .flags = GATE_PORT_VM | GATE_PORT_JUDGED };
	struct gate_node allow = node(GATE_ALLOW, 0);
	uint32_t ifindex;

	a->tap = wirelab_tap("port1", false, false);
	nsbox_run("ip link set port1 master br0 && ip link set port1 up");
	ifindex = if_nametoindex("port1");
	a->link = wirelab_attach(bpf_program__fd(gate.skel->progs.g25_from_vm), ifindex, true);
	bpf_map_update_elem(gate.m.ports, &ifindex, &port, 0);
	gate_maps_ports_changed(&gate.m);
	testgate_policy(&gate, gate_base_vm(TEST_SLOT2), 0, &allow);
}

/* Its SYN bears the guest's address, so the server answers the guest. */
static void forge_syn(const struct accomplice *a, const char *words, uint16_t sport)
{
	struct virtio_net_hdr vnet = { 0 };
	struct frame_spec spec = { .sport = sport, .src_mac = { 2, 0, 0, 0, 0, 9 } };
	uint8_t bytes[FRAME_MAX];
	int len = frame_build(words, &spec, bytes);
	struct iovec iov[2] = { { &vnet, sizeof(vnet) }, { bytes, len } };
	const uint8_t *ip = bytes + ETH_LEN;
	int at = ip[0] >> 4 == 6 ? 8 : 12, n = at == 8 ? 32 : 8;
	uint32_t sum = PROTO_TCP + TCP_LEN;

	/* the checksum is left to the host: what stands there is the pseudo header's */
	vnet.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	vnet.csum_start = len - TCP_LEN;
	vnet.csum_offset = TCP_SUM;
	for (int i = 0; i < n; i += 2)
		sum += ip[at + i] << 8 | ip[at + i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	bytes[len - TCP_LEN + TCP_SUM] = sum >> 8;
	bytes[len - TCP_LEN + TCP_SUM + 1] = sum;
	if (writev(a->tap, iov, 2) < 0)
		fail_msg("cannot send: %s", strerror(errno));
}

/* Frames with SYN and ACK set that reach the guest from port 25 within `ms`. */
static int syn_acks(int wire, int ms)
{
	static struct wire_got got;
	struct pollfd p = { .fd = wire, .events = POLLIN };
	int64_t end = now_ms() + ms;
	int n = 0;

	while (now_ms() < end && !n) {
		poll(&p, 1, 10);
		while (wirelab_receive(wire, false, &got)) {
			const uint8_t *ip = got.bytes + ETH_LEN;
			const uint8_t *tcp = ip + (ip[0] >> 4 == 6 ? IPV6_LEN : IPV4_LEN);

			n += got.len >= ETH_LEN + 40 && (ip[0] >> 4 == 6 ? ip[6] : ip[9]) == 6 &&
			     tcp[0] == 0 && tcp[1] == 25 && tcp[13] == (TCP_SYN | TCP_ACK);
		}
	}
	return n;
}

static void check_triangle(const struct stack_setup *s, const char *words)
{
	struct gate_node allow = node(GATE_ALLOW, 0), observed = allow;
	struct accomplice a;
	int listener, wire;

	stack_open(&stack, &gate, s);
	listener = stack_listen(&stack, 25);
	wire = stack_packet(stack.guest, "eth0");
	stack_policy(&stack, &allow);
	plug_accomplice(&a);
	forge_syn(&a, words, 5001);
	WAIT_UNTIL(counters()->unsolicited, >= 1);
	assert_int_equal(syn_acks(wire, 200), 0);
	assert_true(counters()->packets_dropped >= 1);
	assert_true(testgate_reason(&gate, GATE_R_UNSOLICITED, false) >= 1);
	assert_int_equal(gate.m.counters[TEST_SLOT2].flows_admitted, 1);

	/* where nothing is enforced it is counted and arrives: so it was ours to stop */
	observed.flags = GATE_NODE_OBSERVE;
	testgate_policy(&gate, gate_base_vm(TEST_SLOT), 0, &observed);
	forge_syn(&a, words, 5002);
	assert_int_equal(syn_acks(wire, WAIT_MS), 1);
	assert_true(testgate_reason(&gate, GATE_R_UNSOLICITED, true) >= 1);
	close(a.link);
	close(a.tap);
	close(wire);
	close(listener);
	stack_close(&stack);
}

static void test_triangular_spam_ends_at_the_one_that_is_answered(void **state)
{
	check_triangle(&setups[0], "eth ip4 tcp");
	check_triangle(&setups[0], "eth ip6 tcp");
	check_triangle(&setups[3], "eth ip4 tcp");
	check_triangle(&setups[3], "eth ip6 tcp");
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
		cmocka_unit_test(test_connect_of_a_blocked_guest),
		cmocka_unit_test(test_send_on_a_running_connection_that_is_blocked),
		cmocka_unit_test(test_a_big_mail_of_a_limited_guest_arrives_whole),
		cmocka_unit_test(test_triangular_spam_ends_at_the_one_that_is_answered),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
