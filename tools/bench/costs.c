// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * What one frame costs a program, over an empty one (TEST_RUN, no bridge): to_vm on
 * what is not SMTP, on a known flow and on a reply that is read; from_vm on a known
 * flow; and on each shape of the tests' trick table, for the careful reader's worst.
 *
 * costs --config FILE [--rounds N] [--repeat N]
 *
 * One JSON object a line: case, least ns over the empty program.
 */
#include "../../bpf/frame.h"
#include "../../tests/lib/frames.h"
#include "../../tests/lib/tricks.h"
#include "lib/bench.h"

#include <stdio.h>
#include <stdlib.h>

#define IFINDEX 1
#define REPLY	"250 2.1.5 Ok\r\n"

struct costs {
	unsigned rounds, repeat;
	struct bench_progs ref;
	struct bench_gate g;
};

/* Least of `prog` less least of the empty program, in turn. */
static double over_empty(struct costs *c, int prog, const uint8_t *frame, int len)
{
	double own = 1e18, floor = 1e18, ns;

	for (unsigned i = 0; i < c->rounds; i++) {
		ns = bench_run(c->ref.empty, frame, len, IFINDEX, c->repeat, NULL);
		floor = ns < floor ? ns : floor;
		ns = bench_run(prog, frame, len, IFINDEX, c->repeat, NULL);
		own = ns < own ? ns : own;
	}
	return own - floor;
}

/* The same behind a generator that moves the sequence number on by `text`. */
static double over_generator(struct costs *c, int prog, const uint8_t *frame, int len)
{
	double own = 1e18, floor = 1e18, ns;
	uint32_t sent;

	for (unsigned i = 0; i < c->rounds; i++) {
		sent = *c->ref.reply_sent;
		bench_progs_jump(&c->ref, c->ref.empty);
		ns = bench_run(c->ref.reply_tc, frame, len, IFINDEX, c->repeat, NULL);
		*c->ref.reply_sent = sent; /* what to_vm has not seen would be a gap */
		floor = ns < floor ? ns : floor;
		bench_progs_jump(&c->ref, prog);
		ns = bench_run(c->ref.reply_tc, frame, len, IFINDEX, c->repeat, NULL);
		own = ns < own ? ns : own;
	}
	return own - floor;
}

static void say(const char *name, const char *words, double ns)
{
	printf("{\"case\":\"%s%s\",\"ns\":%.1f}\n", name, words, ns);
}

static int build(const char *words, struct frame_spec spec, uint8_t *frame)
{
	return frame_build(words, &spec, frame);
}

static void both_ways(struct costs *c)
{
	const struct frame_spec answer = {
		.sport = 25, .dport = 40000, .src = 2, .dst = 1, .ack = 1
	};
	const int from_vm = c->g.bpf->from_vm, to_vm = c->g.bpf->to_vm;
	struct frame_spec spec = answer;
	uint8_t frame[FRAME_MAX];
	int len;

	len = build("eth ip4 tcp", (struct frame_spec){ 0 }, frame);
	bench_run(from_vm, frame, len, IFINDEX, 1, NULL);
	spec.flags = TCP_SYN | TCP_ACK;
	len = build("eth ip4 tcp", spec, frame);
	bench_run(to_vm, frame, len, IFINDEX, 1, NULL);
	len = build("eth ip4 tcp", (struct frame_spec){ .flags = TCP_ACK, .seq = 1, .ack = 1 },
		    frame);
	say("from_vm, known flow", "", over_empty(c, from_vm, frame, len));
	spec = answer;
	spec.flags = TCP_ACK;
	spec.seq = 1;
	len = build("eth ip4 tcp", spec, frame);
	say("to_vm, known flow", "", over_empty(c, to_vm, frame, len));
	spec.text = REPLY;
	spec.payload = sizeof(REPLY) - 1;
	len = build("eth ip4 tcp", spec, frame);
	*c->ref.reply_step = spec.payload;
	say("to_vm, a reply of 14 bytes read", "", over_generator(c, to_vm, frame, len));
	if (c->g.m->counters[1].replies_2xx < (uint64_t)c->rounds * c->repeat - 1)
		bench_die("the replies were not read");
	spec.sport = 443;
	len = build("eth ip4 tcp", spec, frame);
	say("to_vm, not SMTP", "", over_empty(c, to_vm, frame, len));
}

int main(int argc, char **argv)
{
	struct costs c = {
		.rounds = bench_option(argc, argv, "--rounds", 20),
		.repeat = bench_option(argc, argv, "--repeat", 10000),
	};
	uint8_t frame[FRAME_MAX];
	int len;

	bench_check_kernel();
	bench_pin(0);
	bench_progs_open(&c.ref);
	bench_gate_open(&c.g, bench_option_text(argc, argv, "--config", "gate25.conf"), 1, IFINDEX);
	bench_gate_single(&c.g, IFINDEX);
	bench_gate_policy(&c.g, "limit");
	both_ways(&c);
	bench_gate_policy(&c.g, "block");
	for (unsigned i = 0; i < sizeof(tricks) / sizeof(tricks[0]); i++) {
		len = build(tricks[i].words, (struct frame_spec){ .dport = tricks[i].dport },
			    frame);
		if (len > ETH_LEN + IPV4_LEN) /* shorter ones TEST_RUN does not take */
			say("from_vm, closed VM: ", tricks[i].words,
			    over_empty(&c, c.g.bpf->from_vm, frame, len));
	}
	bench_gate_close(&c.g);
	return 0;
}
