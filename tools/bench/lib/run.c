// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "bench.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <string.h>

#include "bench.skel.h"

/* Sources take turns in this step, so that no prefetcher guesses the next one. */
#define STRIDE 7919

void bench_progs_open(struct bench_progs *p)
{
	struct bench_bpf *skel = bench_bpf__open_and_load();

	if (!skel)
		bench_die("the benchmark's own programs do not load: %m (root? kernel too old?)");
	p->skel = skel;
	p->gen_xdp = bpf_program__fd(skel->progs.gen_xdp);
	p->same_xdp = bpf_program__fd(skel->progs.same_xdp);
	p->redirect_xdp = bpf_program__fd(skel->progs.redirect_xdp);
	p->gen_tc = bpf_program__fd(skel->progs.gen_tc);
	p->reply_tc = bpf_program__fd(skel->progs.reply_tc);
	p->empty = bpf_program__fd(skel->progs.empty);
	p->drop_all = bpf_program__fd(skel->progs.drop_all);
	p->bucket_locked = bpf_program__fd(skel->progs.bucket_locked);
	p->bucket_word = bpf_program__fd(skel->progs.bucket_word);
	p->jump = bpf_map__fd(skel->maps.jump);
	p->gen = skel->bss->gen;
	p->link_header = skel->bss->link_header;
	p->reply_sent = &skel->bss->reply_sent;
	p->reply_step = &skel->bss->reply_step;
	p->redirect_to = &skel->bss->redirect_to;
	p->made_only = &skel->bss->made_only;
}

void bench_progs_jump(struct bench_progs *p, int prog)
{
	uint32_t zero = 0;

	if (bpf_map_update_elem(p->jump, &zero, &prog, 0))
		bench_die("cannot set the program to measure: %m");
}

static uint32_t gcd(uint32_t a, uint32_t b)
{
	return b ? gcd(b, a % b) : a;
}

void bench_gen_set(struct bench_progs *p, unsigned cpu, uint32_t first, uint32_t vms, bool flows,
		   const uint8_t *frame)
{
	uint32_t stride = STRIDE % vms;

	while (gcd(stride, vms) != 1)
		stride++;
	for (unsigned i = 0; i < BENCH_GENS; i++) {
		if (cpu != BENCH_ALL_CPUS && i != cpu % BENCH_GENS)
			continue;
		p->gen[i] = (struct bench_gen){
			.first = first,
			.vms = vms,
			.stride = vms > 1 ? stride : 0,
			.seq = i << 26, /* no two CPUs make the same flow */
			.flows = flows,
			.sum = bench_frame_sum(frame),
		};
	}
}

double bench_run(int prog, const void *frame, int len, unsigned ifindex, unsigned repeat,
		 int *retval)
{
	struct __sk_buff ctx = { .ifindex = ifindex };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = len, .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx), .repeat = (int)repeat);
	uint64_t begin = bench_cpu_now();

	if (bpf_prog_test_run_opts(prog, &opts))
		bench_die("BPF_PROG_TEST_RUN: %m");
	begin = bench_cpu_now() - begin;
	if (retval)
		*retval = (int)opts.retval;
	return (double)begin / repeat;
}
