// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Does early drop pay? The same frames with from_vm alone and with early_drop before
 * it, in turn: on a tap that a process writes to, on a veth whose peer sends as a
 * container does, and on one whose frames arrive as XDP frames (its peer redirects them).
 *
 * early --config FILE --port DEV --out DEV [--peer DEV [--redirect 1]] [--rounds N] [--frames N]
 *
 * One JSON object a line: case, samples in ns of CPU for each frame without and with,
 * share that came out.
 */
#include "lib/bench.h"
#include "lib/link.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct scene {
	const char *out;
	unsigned port, frames, rounds;
	int fd; /* of the tap, or a packet socket on the peer; -1: the peer redirects */
	struct bench_progs ref;
	struct bench_gate g;
	uint8_t frame[BENCH_FRAME_MAX];
	int len, link;
	double share;
};

static const struct early_case {
	const char *name;
	enum bench_shape shape;
	int size;
	double out; /* share that must come out */
} cases[] = {
	{ "refused", BENCH_SYN, 60, 0 },
	{ "other", BENCH_OTHER, 60, 1 },
	{ "other, 1514 bytes", BENCH_OTHER, 1514, 1 },
};

static int open_socket(const char *peer)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET,
				  .sll_ifindex = (int)if_nametoindex(peer) };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on)) ||
	    bind(fd, (struct sockaddr *)&at, sizeof(at)))
		bench_die("cannot send by %s: %m", peer);
	return fd;
}

/* A tap says EINVAL for a frame that XDP has dropped. */
static void write_all(const struct scene *s)
{
	for (unsigned i = 0; i < s->frames; i++)
		if (write(s->fd, s->frame, s->len) != s->len && errno != EINVAL)
			bench_die("cannot send: %m");
}

static void redirect_all(const struct scene *s)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = s->frame, .data_size_in = s->len,
		    .repeat = (int)s->frames, .flags = BPF_F_TEST_XDP_LIVE_FRAMES);

	if (bpf_prog_test_run_opts(s->ref.redirect_xdp, &opts))
		bench_die("live frames: %m");
}

static double sample(struct scene *s, bool early)
{
	uint32_t before = bench_frames_taken(s->out);
	uint64_t begin;

	bench_link_drop(&s->link);
	if (early)
		s->link = bench_link(s->g.bpf->early_drop, s->port, BENCH_XDP);
	begin = bench_cpu_now();
	if (s->fd >= 0)
		write_all(s);
	else
		redirect_all(s);
	begin = bench_cpu_now() - begin;
	s->share = (double)(bench_frames_taken(s->out) - before) / s->frames;
	return (double)begin / s->frames;
}

static void run_case(struct scene *s, const struct early_case *c)
{
	double *samples[2] = { calloc(s->rounds, sizeof(double)),
			       calloc(s->rounds, sizeof(double)) };

	if (!samples[0] || !samples[1])
		bench_die("out of memory");
	s->len = bench_frame(c->shape, c->size, s->frame);
	for (unsigned i = 0; i < s->rounds; i++)
		for (int early = 0; early < 2; early++) {
			samples[early][i] = sample(s, early);
			if (s->share != c->out)
				bench_die("%s: %.4f of the frames came out, not %.0f", c->name,
					  s->share, c->out);
		}
	printf("{\"case\":\"%s\",", c->name);
	bench_print_samples("from_vm", samples[0], s->rounds);
	putchar(',');
	bench_print_samples("early_drop", samples[1], s->rounds);
	printf("}\n");
	free(samples[0]);
	free(samples[1]);
}

int main(int argc, char **argv)
{
	const char *port = bench_option_text(argc, argv, "--port", "tap0");
	const char *peer = bench_option_text(argc, argv, "--peer", NULL);
	struct scene s = { .out = bench_option_text(argc, argv, "--out", "uplink"),
			   .frames = bench_option(argc, argv, "--frames", 20000),
			   .rounds = bench_option(argc, argv, "--rounds", 30),
			   .fd = -1,
			   .link = -1 };
	int hook;

	bench_check_kernel();
	bench_pin(0);
	if (!peer)
		s.fd = bench_tap(port);
	else if (!bench_option_text(argc, argv, "--redirect", NULL))
		s.fd = open_socket(peer);
	s.port = if_nametoindex(port);
	bench_progs_open(&s.ref);
	if (!s.port || (peer && !(*s.ref.redirect_to = if_nametoindex(peer))))
		bench_die("no interface %s or %s here", port, peer ? peer : "");
	bench_gate_open(&s.g, bench_option_text(argc, argv, "--config", "gate25.conf"), 1, s.port);
	if (s.g.bpf->early_drop < 0)
		bench_die("early_drop does not load here");
	bench_gate_single(&s.g, s.port);
	bench_gate_policy(&s.g, "block");
	hook = bench_link(s.g.bpf->from_vm, s.port, BENCH_INGRESS);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		run_case(&s, &cases[i]);
	bench_link_drop(&s.link);
	bench_link_drop(&hook);
	bench_gate_close(&s.g);
	return 0;
}
