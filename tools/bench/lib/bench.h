/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What the benchmark drivers share: time, one CPU, frames, the gate with any number
 * of VMs, runs of programs. A driver that cannot do its work ends with one sentence
 * and exit status 1; whoever runs it leaves the figure out.
 */
#ifndef GATE25_BENCH_H
#define GATE25_BENCH_H

#include "bpf.h"
#include "gen.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bench_bpf; /* skeleton of tools/bench/bpf/bench.bpf.c */

/* ---- util.c ---- */

void bench_die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
uint64_t bench_now(void); /* CLOCK_MONOTONIC ns */
/* ns of CPU that this thread has had: what others on the machine do is no cost of ours. */
uint64_t bench_cpu_now(void);
/* Stays on the n-th CPU that this process may use; dies when there is none. */
unsigned bench_pin(unsigned nth);
unsigned bench_cpus(void); /* how many it may use */
/* Refuses to measure while the kernel itself measures (bpf_stats adds 49 ns a run). */
void bench_check_kernel(void);
double bench_min(const double *v, size_t n);
/* Prints "name":[v,v,…] as part of a JSON object. */
void bench_print_samples(const char *name, const double *v, size_t n);
/* An option's number, `otherwise` when it is not among the arguments ("--rounds 50"). */
long bench_option(int argc, char **argv, const char *name, long otherwise);
const char *bench_option_text(int argc, char **argv, const char *name, const char *otherwise);

/* ---- frame.c ---- */

enum bench_shape {
	BENCH_OTHER,  /* TCP port 443 */
	BENCH_OTHER6, /* the same in IPv6 */
	BENCH_TAGGED, /* the same behind one 802.1Q tag */
	BENCH_UDP,
	BENCH_SYN,  /* TCP port 25, opening */
	BENCH_DATA, /* TCP port 25, within a flow */
	BENCH_SHAPE_MAX
};
enum bench_shape bench_shape_named(const char *name);
/* A frame of 60 bytes (more for IPv6 and tags) from VM 0; `size` > 60 adds payload. */
#define BENCH_FRAME_MAX 2048
int bench_frame(enum bench_shape shape, int size, uint8_t out[BENCH_FRAME_MAX]);
/* The IP header's sum without addresses and checksum, for struct bench_gen. */
uint32_t bench_frame_sum(const uint8_t *frame);

/* ---- run.c ---- */

struct bench_progs {
	struct bench_bpf *skel;
	int gen_xdp, same_xdp, redirect_xdp, gen_tc, reply_tc, empty, drop_all, bucket_locked,
		bucket_word;
	int jump;
	struct bench_gen *gen; /* BENCH_GENS of them */
	uint8_t *link_header;  /* BENCH_LINK_HEADER bytes of what same_xdp sends */
	uint32_t *reply_sent;  /* sequence number that reply_tc is at */
	uint32_t *reply_step;  /* bytes by which reply_tc moves the sequence number on */
	uint32_t *redirect_to; /* ifindex that redirect_xdp sends by */
	uint32_t *made_only;   /* gen_xdp and same_xdp make frames and send none */
};
void bench_progs_open(struct bench_progs *p);
/* What gen_tc hands on to. */
void bench_progs_jump(struct bench_progs *p, int prog);
/*
 * Generators begin anew: `vms` sources from number `first` on, every frame a flow of
 * its own or not. Of one CPU, or of all of them.
 */
#define BENCH_ALL_CPUS (~0U)
void bench_gen_set(struct bench_progs *p, unsigned cpu, uint32_t first, uint32_t vms, bool flows,
		   const uint8_t *frame);

/* Runs a TC program on a frame; ns for each run. *retval: of the last run, may be NULL. */
double bench_run(int prog, const void *frame, int len, unsigned ifindex, unsigned repeat,
		 int *retval);

/* ---- gate.c ---- */

struct bench_gate {
	struct gate_config *config;
	struct gate_bpf *bpf;
	struct gate_maps *m;
	uint32_t vms; /* VM v has slot v + 1 */
};
/*
 * The gate as the daemon loads it, by the configuration file; its maps hold `vms`
 * VMs that share the port `ifindex`, told apart by MAC.
 */
void bench_gate_open(struct bench_gate *g, const char *config, uint32_t vms, unsigned ifindex);
void bench_gate_close(struct bench_gate *g);
/* One VM alone on the port, as on a hypervisor: no MAC is looked up. */
void bench_gate_single(struct bench_gate *g, unsigned ifindex);
/*
 * A policy of its own for each VM. "limit": two rates, concurrent flows and
 * destinations, all so high that nothing is refused; "block": drops; "allow".
 */
void bench_gate_policy(struct bench_gate *g, const char *state);
/* Sum over all VMs of a counter, by its offset in struct gate_counters. */
uint64_t bench_gate_sum(const struct bench_gate *g, size_t offset);
#define bench_gate_counter(g, name) bench_gate_sum(g, offsetof(struct gate_counters, name))

#endif
