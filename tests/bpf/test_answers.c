// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * What the gate sends and what it reads: resets and ICMP errors byte by byte,
 * SMTP replies in every way that a segment can cut them.
 */
#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "gate_lab.h"

#define SYN 0x02
#define ACK 0x10
#define FIN 0x01
#define RST 0x04

static struct gate_counters *counters(void)
{
	return &gate.m.counters[TEST_SLOT];
}

static void block(enum gate_refuse refuse)
{
	struct gate_node n = { .state = GATE_BLOCK, .refuse = refuse };

	testgate_reset(&gate);
	testgate_policy(&gate, gate_base_vm(TEST_SLOT), 0, &n);
}

static uint32_t get(const uint8_t *p, int n)
{
	uint32_t v = 0;

	while (n--)
		v = v << 8 | *p++;
	return v;
}

static uint16_t sum(const uint8_t *p, int n, uint32_t start)
{
	uint32_t s = start;

	for (int i = 0; i < n; i++)
		s += i % 2 ? p[i] : p[i] << 8;
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return s;
}

/* Sum of the pseudo header of the IP packet at `ip`. */
static uint32_t pseudo(const uint8_t *ip, int proto, int len)
{
	bool v6 = ip[0] >> 4 == 6;

	return sum(ip + (v6 ? 8 : 12), v6 ? 32 : 8, proto + len);
}

struct reset_row {
	const char *words;
	int l3;
	uint8_t flags;
	uint16_t payload;
};

static void check_reset(const struct reset_row *row)
{
	struct frame_spec spec = { .sport = 4000,
				   .flags = row->flags,
				   .seq = 7000,
				   .ack = row->flags & ACK ? 9000 : 0,
				   .payload = row->payload };
	int len = row->payload + !!(row->flags & SYN) + !!(row->flags & FIN);
	const uint8_t *ip = gate.out + row->l3, *tcp;
	uint8_t in[FRAME_MAX];
	bool v6;

	block(GATE_REFUSE_RESET);
	frame_build(row->words, &spec, in);
	assert_int_equal(testgate_send(&gate, TEST_FROM_VM, row->words, &spec), ACT_REDIRECT);
	assert_int_equal(counters()->resets_sent, 1);
	/* from the destination, to the VM; what lies between MACs and IP stays */
	assert_memory_equal(gate.out, in + 6, 6);
	assert_memory_equal(gate.out + 6, in, 6);
	assert_memory_equal(gate.out + 12, in + 12, row->l3 - 12);
	v6 = ip[0] >> 4 == 6;
	tcp = ip + (v6 ? 40 : 20);
	assert_int_equal(gate.out_len, row->l3 + (v6 ? 60 : 40));
	assert_memory_equal(ip + (v6 ? 8 : 12), in + row->l3 + (v6 ? 24 : 16), v6 ? 16 : 4);
	assert_int_equal(get(tcp, 2), 25);
	assert_int_equal(get(tcp + 2, 2), 4000);
	/* RFC 9293 3.10.7.1 */
	assert_int_equal(tcp[13], row->flags & ACK ? RST : RST | ACK);
	assert_int_equal(get(tcp + 4, 4), row->flags & ACK ? 9000 : 0);
	assert_int_equal(get(tcp + 8, 4), row->flags & ACK ? 0 : 7000 + len);
	assert_int_equal(sum(tcp, 20, pseudo(ip, 6, 20)), 0xffff);
	if (!v6)
		assert_int_equal(sum(ip, 20, 0), 0xffff);
}

static void test_reset_is_what_a_closed_port_answers(void **state)
{
	static const struct reset_row rows[] = {
		{ "eth ip4 tcp", 14, SYN, 0 },
		{ "eth ip6 tcp", 14, SYN, 0 },
		{ "eth ip4 tcp", 14, SYN, 700 }, /* TCP Fast Open */
		{ "eth ip6 tcp", 14, SYN | FIN, 3 },
		{ "eth ip4 tcp", 14, ACK, 1000 },
		{ "eth ip6 tcp", 14, ACK | FIN, 0 },
		{ "eth t8100 ip4 tcp", 18, SYN, 0 },
		{ "eth t88a8 t8100 ip6 tcp", 22, SYN, 0 },
		{ "eth snap ip4 tcp", 22, SYN, 0 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check_reset(&rows[i]);
}

static void test_never_a_reset_for_a_reset(void **state)
{
	struct frame_spec spec = { .flags = RST };

	block(GATE_REFUSE_RESET);
	assert_int_equal(testgate_send(&gate, TEST_FROM_VM, "eth ip4 tcp", &spec), ACT_SHOT);
	assert_int_equal(counters()->resets_sent, 0);
}

static void test_what_is_not_plain_is_dropped(void **state)
{
	static const char *const words[] = { "eth ip4:o=8 tcp", "eth ip6 dst tcp", "eth ip4 ah tcp",
					     "eth ip4:mf tcp" };

	for (int i = 0; i < 4; i++) {
		block(GATE_REFUSE_RESET);
		assert_int_equal(testgate_send(&gate, TEST_FROM_VM, words[i], NULL), ACT_SHOT);
		assert_int_equal(counters()->packets_dropped, 1);
	}
}

static void check_icmp(const char *words, uint16_t payload)
{
	struct frame_spec spec = { .sport = 4000, .seq = 7000, .payload = payload };
	const uint8_t *ip = gate.out + 14, *icmp, *quoted;
	int header, proto;

	block(GATE_REFUSE_ICMP);
	assert_int_equal(testgate_send(&gate, TEST_FROM_VM, words, &spec), ACT_REDIRECT);
	header = ip[0] >> 4 == 6 ? 40 : 20;
	proto = header == 40 ? 58 : 1;
	icmp = ip + header;
	quoted = icmp + 8;
	assert_int_equal(gate.out_len, 14 + header + 8 + header + 20);
	assert_int_equal(header == 40 ? ip[6] : ip[9], proto);
	assert_int_equal(icmp[0], header == 40 ? 1 : 3);
	assert_int_equal(icmp[1], header == 40 ? 1 : 13);
	assert_int_equal(
		sum(icmp, 8 + header + 20, header == 40 ? pseudo(ip, proto, 8 + header + 20) : 0),
		0xffff);
	/* the quotation tells the guest's stack which connect it was */
	assert_int_equal(quoted[0] >> 4, header == 40 ? 6 : 4);
	assert_int_equal(get(quoted + header, 2), 4000);
	assert_int_equal(get(quoted + header + 2, 2), 25);
	assert_int_equal(get(quoted + header + 4, 4), 7000);
	if (header == 20)
		assert_int_equal(sum(ip, 20, 0), 0xffff);
	/* completing an offloaded checksum in the quotation changes nothing */
	assert_int_equal(sum(quoted + header, 20, 0), 0xffff);
	assert_int_equal(get(quoted + header + 16, 2), 0xffff);
}

static void test_icmp_administratively_prohibited(void **state)
{
	check_icmp("eth ip4 tcp", 0);
	check_icmp("eth ip6 tcp", 0);
	check_icmp("eth ip4 tcp", 900);
	check_icmp("eth ip6 tcp", 900);
}

/* ---- replies ---- */

static uint32_t seq;

static void begin_dialogue(void)
{
	struct gate_node n = { .state = GATE_ALLOW };
	struct frame_spec syn = { .sport = 4000, .flags = SYN };
	struct frame_spec syn_ack = { .sport = 25,
				      .dport = 4000,
				      .flags = SYN | ACK,
				      .src = 2,
				      .dst = 1,
				      .seq = 4999,
				      .ack = 1001 };

	testgate_reset(&gate);
	testgate_policy(&gate, gate_base_vm(TEST_SLOT), 0, &n);
	testgate_send(&gate, TEST_FROM_VM, "eth ip4 tcp", &syn);
	testgate_send(&gate, TEST_TO_VM, "eth ip4 tcp", &syn_ack);
	seq = 5000;
}

static void server_says_at(uint32_t at, const char *text, int n)
{
	struct frame_spec spec = { .sport = 25,
				   .dport = 4000,
				   .flags = ACK,
				   .src = 2,
				   .dst = 1,
				   .seq = at,
				   .text = text,
				   .payload = n };

	assert_int_equal(testgate_send(&gate, TEST_TO_VM, "eth ip4 tcp", &spec), ACT_UNSPEC);
}

static void server_says(const char *text)
{
	server_says_at(seq, text, strlen(text));
	seq += strlen(text);
}

struct dialogue {
	const char *segments[6];
	uint64_t r2, r3, r4, r5, banners, tls, last;
};

static const struct dialogue dialogues[] = {
	{ { "220 mx ESMTP\r\n", "250-mx\r\n250-SIZE\r\n250 OK\r\n", "354 go\r\n", "221 bye\r\n" },
	  3,
	  1,
	  0,
	  0,
	  0,
	  0,
	  221 },
	{ { "554 go away\r\n" }, 0, 0, 0, 1, 1, 0, 554 },
	{ { "421 busy\r\n" }, 0, 0, 1, 0, 1, 0, 421 },
	{ { "220 mx\r\n", "554 no\r\n" }, 1, 0, 0, 1, 0, 0, 554 },
	{ { "220-mx\r\n220-is\r\n220 here\r\n", "421 later\r\n" }, 1, 0, 1, 0, 0, 0, 421 },
	/* several in one segment, as answers to a pipeline */
	{ { "220 mx\r\n250 a\r\n250 b\r\n550 c\r\n450 d\r\n" }, 3, 0, 1, 1, 0, 0, 450 },
	/* split everywhere */
	{ { "2", "2", "0", " mx\r", "\n55", "0 no\r\n" }, 1, 0, 0, 1, 0, 0, 550 },
	{ { "220", "-mx\r\n220", " mx\r\n25", "0-a\r\n250 b\r\n" }, 2, 0, 0, 0, 0, 0, 250 },
	{ { "220\r\n", "250\n" }, 2, 0, 0, 0, 0, 0, 250 },
	/* no codes */
	{ { "200 a 250 b\r\n", "hello\r\n", "25\r\n", "2500 x\r\n", "9 x\r\n" },
	  2,
	  0,
	  0,
	  0,
	  0,
	  0,
	  250 },
	/* TLS ends the reading */
	{ { "220 mx\r\n", "250 ok\r\n", "220 go\r\n", "\x16\x03\x01 250 x\r\n550 y\r\n",
	    "550 z\r\n" },
	  3,
	  0,
	  0,
	  0,
	  0,
	  1,
	  220 },
	{ { "\x16\x03\x03 secret" }, 0, 0, 0, 0, 0, 1, 0 },
};

static void test_replies_are_counted_by_class(void **state)
{
	for (size_t i = 0; i < sizeof(dialogues) / sizeof(dialogues[0]); i++) {
		const struct dialogue *d = &dialogues[i];
		const struct gate_counters *c = counters();

		begin_dialogue();
		for (int k = 0; k < 6 && d->segments[k]; k++)
			server_says(d->segments[k]);
		if (c->replies_2xx != d->r2 || c->replies_3xx != d->r3 || c->replies_4xx != d->r4 ||
		    c->replies_5xx != d->r5 || c->banners_refused != d->banners ||
		    c->tls_flows != d->tls || c->last_reply != d->last)
			fail_msg("dialogue %d: 2xx %d 3xx %d 4xx %d 5xx %d banners %d tls %d last "
				 "%d",
				 (int)i, (int)c->replies_2xx, (int)c->replies_3xx,
				 (int)c->replies_4xx, (int)c->replies_5xx, (int)c->banners_refused,
				 (int)c->tls_flows, (int)c->last_reply);
	}
}

static void test_replies_retransmitted_count_once(void **state)
{
	const char *text = "220 mx\r\n250 ok\r\n";

	begin_dialogue();
	server_says_at(5000, text, 8);
	server_says_at(5000, text, 8);
	server_says_at(5000, text, 16); /* half of it is new */
	server_says_at(5004, text + 4, 12);
	assert_int_equal(counters()->replies_2xx, 2);
}

static void test_replies_behind_a_gap_begin_at_the_next_line(void **state)
{
	begin_dialogue();
	server_says_at(5000, "220 mx\r\n", 8);
	server_says_at(5100, "250 lost\r\n550 seen\r\n", 20);
	assert_int_equal(counters()->replies_2xx, 1);
	assert_int_equal(counters()->replies_5xx, 1);
}

static void test_replies_of_a_long_segment(void **state)
{
	static char text[1800];
	int n = 0, lines = 0;

	/* the last of these lies just within the span that is read */
	while (n < 1000) {
		n += sprintf(text + n, "250 line %d\r\n", lines++);
	}
	begin_dialogue();
	server_says_at(5000, text, n);
	assert_int_equal(counters()->replies_2xx, lines);
	/* beyond the span nothing is read, and the next segment begins clean after a line feed */
	memset(text, 'x', sizeof(text));
	memcpy(text, "250 ", 4);
	memcpy(text + 1500, "\r\n550 no\r\n", 10);
	begin_dialogue();
	server_says_at(5000, text, 1510);
	server_says_at(6510, "\n250 ok\r\n", 9);
	assert_int_equal(counters()->replies_2xx, 2);
	assert_int_equal(counters()->replies_5xx, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reset_is_what_a_closed_port_answers),
		cmocka_unit_test(test_never_a_reset_for_a_reset),
		cmocka_unit_test(test_what_is_not_plain_is_dropped),
		cmocka_unit_test(test_icmp_administratively_prohibited),
		cmocka_unit_test(test_replies_are_counted_by_class),
		cmocka_unit_test(test_replies_retransmitted_count_once),
		cmocka_unit_test(test_replies_behind_a_gap_begin_at_the_next_line),
		cmocka_unit_test(test_replies_of_a_long_segment),
	};

	return cmocka_run_group_tests(tests, open_gate, close_gate);
}
