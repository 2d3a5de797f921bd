// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * One lane: a bridge between two devices of this network namespace, through which
 * frames are driven by the kernel itself (XDP live frames entering at the first
 * device, as a driver would hand them up). The filters of a lane stay as they are
 * while lanes are measured in turn; a coprocess of scripts/bench.
 *
 * lane --in DEV --out DEV
 *
 * Commands on stdin, one JSON object on stdout for each:
 *   gate CONFIG VMS         loads the gate with so many VMs behind the first device
 *   policy allow|limit|block
 *   single                  one VM alone on the port, as on a hypervisor: no MAC is looked up
 *   hook IN OUT             TC ingress of the first, egress of the second device:
 *                           none empty drop from_vm uplink_out
 *   frames SHAPE VMS [new]  what to send; "new": each frame a 5-tuple of its own
 *   blast N                 {"ns": CPU time for each frame, "delivered": share, "out": frames}
 *   make N                  the same for frames that are made and go nowhere
 *   swap N                  as blast, while the second CPU swaps the first device's
 *                           program for another and back without end; and "swaps"
 *   counters                of all VMs together
 */
#include "lib/bench.h"
#include "lib/link.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <net/if.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct lane {
	const char *in, *out;
	unsigned in_index, out_index;
	struct bench_progs ref;
	struct bench_gate gate;
	bool gated;
	int link[2]; /* ingress of `in`, egress of `out`; -1 = none */
	int generator;
	uint8_t frame[BENCH_FRAME_MAX];
	int len;
};

/* Swaps the program of a link for another and back, without end. */
struct swapper {
	int link, prog[2];
	unsigned swaps; /* atomic */
	bool stop;	/* atomic */
};

static int program(const struct lane *l, const char *name)
{
	if (!strcmp(name, "none"))
		return -1;
	if (!strcmp(name, "empty"))
		return l->ref.empty;
	if (!strcmp(name, "drop"))
		return l->ref.drop_all;
	if (!l->gated)
		bench_die("hook: '%s' wants a gate first", name);
	if (!strcmp(name, "from_vm"))
		return l->gate.bpf->from_vm;
	if (!strcmp(name, "to_vm"))
		return l->gate.bpf->to_vm;
	if (!strcmp(name, "uplink_out"))
		return l->gate.bpf->uplink_out;
	bench_die("not a program: '%s'", name);
}

static void hook(struct lane *l, int which, const char *name)
{
	int prog = program(l, name);

	bench_link_drop(&l->link[which]);
	if (prog >= 0)
		l->link[which] = bench_link(prog, which ? l->out_index : l->in_index,
					    which ? BENCH_EGRESS : BENCH_INGRESS);
}

static void set_frames(struct lane *l, const char *shape_name, long vms, bool flows)
{
	enum bench_shape shape = bench_shape_named(shape_name);

	if (vms < 1)
		bench_die("frames: from how many VMs?");
	l->len = bench_frame(shape, 0, l->frame);
	memcpy(l->ref.link_header, l->frame, BENCH_LINK_HEADER);
	l->generator =
		shape == BENCH_OTHER6 || shape == BENCH_TAGGED ? l->ref.same_xdp : l->ref.gen_xdp;
	bench_gen_set(&l->ref, BENCH_ALL_CPUS, 0, vms, flows, l->frame);
}

/* Live frames cost some CPU to make; that is the same for all lanes. */
static void blast(struct lane *l, unsigned n, const struct swapper *s)
{
	struct xdp_md ctx = { .data_end = l->len, .ingress_ifindex = l->in_index };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = l->frame, .data_size_in = l->len,
		    .ctx_in = &ctx, .ctx_size_in = sizeof(ctx), .repeat = (int)n,
		    .flags = BPF_F_TEST_XDP_LIVE_FRAMES);
	uint32_t before = bench_frames_taken(l->out), out;
	uint64_t begin = bench_cpu_now();

	if (bpf_prog_test_run_opts(l->generator, &opts))
		bench_die("live frames: %m");
	begin = bench_cpu_now() - begin;
	out = bench_frames_taken(l->out) - before;
	printf("{\"ns\":%.3f,\"delivered\":%.6f,\"out\":%u,\"swaps\":%u}\n", (double)begin / n,
	       (double)out / n, out, s ? __atomic_load_n(&s->swaps, __ATOMIC_RELAXED) : 0);
}

static void *swap_programs(void *arg)
{
	struct swapper *s = arg;

	bench_pin(1);
	while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED)) {
		if (bpf_link_update(s->link, s->prog[s->swaps & 1], NULL))
			bench_die("cannot swap a program: %m");
		__atomic_fetch_add(&s->swaps, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* Both programs refuse the frames, so whatever comes out met none of them. */
static void blast_swapped(struct lane *l, unsigned n)
{
	struct swapper s = { .link = l->link[0],
			     .prog = { l->ref.drop_all, program(l, "from_vm") } };
	pthread_t thread;

	if (bench_cpus() < 2)
		bench_die("one CPU: nobody can swap programs under load");
	if (s.link < 0 || pthread_create(&thread, NULL, swap_programs, &s))
		bench_die("swap: there is nothing to swap");
	blast(l, n, &s);
	__atomic_store_n(&s.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	if (bpf_link_update(s.link, s.prog[1], NULL))
		bench_die("cannot put the program back: %m");
}

static void counters(const struct lane *l)
{
	if (!l->gated)
		bench_die("counters: no gate");
	printf("{\"flows_admitted\":%llu,\"flows_limited\":%llu,\"flows_blocked\":%llu,"
	       "\"packets_from_vm\":%llu,\"packets_dropped\":%llu}\n",
	       (unsigned long long)bench_gate_counter(&l->gate, flows_admitted),
	       (unsigned long long)bench_gate_counter(&l->gate, flows_limited),
	       (unsigned long long)bench_gate_counter(&l->gate, flows_blocked),
	       (unsigned long long)bench_gate_counter(&l->gate, packets_from_vm),
	       (unsigned long long)bench_gate_counter(&l->gate, packets_dropped));
}

static void command(struct lane *l, char **word, int n)
{
	if (n == 2 && !strcmp(word[0], "blast")) {
		blast(l, strtoul(word[1], NULL, 10), NULL);
		return;
	}
	if (n == 2 && !strcmp(word[0], "make")) {
		*l->ref.made_only = 1;
		blast(l, strtoul(word[1], NULL, 10), NULL);
		*l->ref.made_only = 0;
		return;
	}
	if (n == 2 && !strcmp(word[0], "swap")) {
		blast_swapped(l, strtoul(word[1], NULL, 10));
		return;
	}
	if (n == 1 && !strcmp(word[0], "counters")) {
		counters(l);
		return;
	}
	if (n == 3 && !strcmp(word[0], "gate") && !l->gated) {
		bench_gate_open(&l->gate, word[1], strtoul(word[2], NULL, 10), l->in_index);
		l->gated = true;
	} else if (n == 2 && !strcmp(word[0], "policy") && l->gated) {
		bench_gate_policy(&l->gate, word[1]);
	} else if (n == 1 && !strcmp(word[0], "single") && l->gated) {
		bench_gate_single(&l->gate, l->in_index);
	} else if (n == 3 && !strcmp(word[0], "hook")) {
		hook(l, 0, word[1]);
		hook(l, 1, word[2]);
	} else if ((n == 3 || n == 4) && !strcmp(word[0], "frames")) {
		set_frames(l, word[1], strtol(word[2], NULL, 10), n == 4);
	} else {
		bench_die("not a command: '%s' with %d arguments", n ? word[0] : "", n - 1);
	}
	printf("{}\n");
}

/* A veth has its XDP queue, which live frames want, only while a program is on it. */
static void open_queue(struct lane *l)
{
	if (bpf_xdp_attach((int)l->in_index, l->ref.same_xdp, 0, NULL))
		bench_die("cannot put an XDP program on %s: %m", l->in);
}

int main(int argc, char **argv)
{
	struct lane l = { .in = bench_option_text(argc, argv, "--in", "port0"),
			  .out = bench_option_text(argc, argv, "--out", "uplink"),
			  .link = { -1, -1 } };
	char line[4352], *word[5], *at;
	int n;

	l.in_index = if_nametoindex(l.in);
	l.out_index = if_nametoindex(l.out);
	if (!l.in_index || !l.out_index)
		bench_die("no interface %s or %s here", l.in, l.out);
	bench_check_kernel();
	bench_pin(0);
	bench_progs_open(&l.ref);
	open_queue(&l);
	set_frames(&l, "other", 1, false);
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin)) {
		n = 0;
		for (at = strtok(line, " \n"); at && n < 5; at = strtok(NULL, " \n"))
			word[n++] = at;
		command(&l, word, n);
	}
	if (l.gated)
		bench_gate_close(&l.gate);
	return 0;
}
