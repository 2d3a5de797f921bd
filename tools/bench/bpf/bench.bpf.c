// SPDX-License-Identifier: GPL-2.0-only
/*
 * Programs of the benchmark: the floors (empty, drop), generators that make
 * each frame another VM's or another flow, and a bucket under a spin lock to hold
 * the gate's lock-free one against.
 *
 * A generator rewrites one frame in place, again and again, so that all contenders
 * pay the same for it: `gen_xdp` under live frames, into a bridge; `gen_tc` under
 * TEST_RUN, handing on to the program in jump[0].
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#include "limit.h"
#include "../lib/gen.h"

#define ACT_PASS (-1) /* TC_ACT_UNSPEC */
#define ACT_DROP 2    /* TC_ACT_SHOT */

struct bench_gen gen[BENCH_GENS];
__u8 link_header[BENCH_LINK_HEADER]; /* of the frames that same_xdp sends */
__u32 reply_sent;		     /* sequence number that reply_tc is at */
__u32 reply_step;		     /* bytes in each frame of reply_tc */
__u32 redirect_to;		     /* the device that redirect_xdp sends by */
__u32 made_only;		     /* frames of gen_xdp and same_xdp go nowhere */

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} jump SEC(".maps");

/* ---- generators ---- */

static __always_inline __u16 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* Ethernet, IPv4 without options, TCP: at least BENCH_FRAME bytes at p. */
static __always_inline void next_frame(struct bench_gen *g, __u8 *p)
{
	__u32 vm = g->first + g->vm, n = g->seq++;
	__u32 src = bpf_htonl(0x0a000000 + vm), dst;
	__u32 sum = g->sum;

	g->vm += g->stride;
	if (g->vm >= g->vms)
		g->vm -= g->vms;
	*(__u32 *)(p + 8) = bpf_htonl(vm);
	*(__u32 *)(p + 26) = src;
	sum += (src & 0xffff) + (src >> 16);
	if (g->flows) { /* each frame a flow of its own */
		dst = bpf_htonl(0xc6120000 + (n >> 16 & 0xff));
		*(__u32 *)(p + 30) = dst;
		*(__u16 *)(p + 34) = n;
	} else {
		dst = *(__u32 *)(p + 30);
	}
	sum += (dst & 0xffff) + (dst >> 16);
	*(__u16 *)(p + 24) = ~fold(sum);
}

static __always_inline struct bench_gen *my_gen(void)
{
	return &gen[bpf_get_smp_processor_id() & (BENCH_GENS - 1)];
}

SEC("xdp")
int gen_xdp(struct xdp_md *ctx)
{
	__u8 *data = (__u8 *)(long)ctx->data, *end = (__u8 *)(long)ctx->data_end;

	if (data + BENCH_FRAME > end)
		return XDP_DROP;
	next_frame(my_gen(), data);
	return made_only ? XDP_DROP : XDP_PASS;
}

/* For other shapes: the same each time, but for what the kernel moved when it took a tag off. */
SEC("xdp")
int same_xdp(struct xdp_md *ctx)
{
	__u8 *data = (__u8 *)(long)ctx->data, *end = (__u8 *)(long)ctx->data_end;

	if (data + sizeof(link_header) > end)
		return XDP_DROP;
	__builtin_memcpy(data, link_header, sizeof(link_header));
	return made_only ? XDP_DROP : XDP_PASS;
}

/* The same frame again and again, to whoever is at the other end of a veth. */
SEC("xdp")
int redirect_xdp(struct xdp_md *ctx)
{
	return bpf_redirect(redirect_to, 0);
}

SEC("tc")
int gen_tc(struct __sk_buff *skb)
{
	__u8 *data = (__u8 *)(long)skb->data, *end = (__u8 *)(long)skb->data_end;

	if (data + BENCH_FRAME > end)
		return ACT_DROP;
	next_frame(my_gen(), data);
	bpf_tail_call(skb, &jump, 0);
	return ACT_DROP;
}

/* One segment after the other of one flow, each with as many bytes. */
SEC("tc")
int reply_tc(struct __sk_buff *skb)
{
	__u8 *data = (__u8 *)(long)skb->data, *end = (__u8 *)(long)skb->data_end;

	if (data + BENCH_FRAME > end)
		return ACT_DROP;
	*(__u32 *)(data + 38) = bpf_htonl(reply_sent += reply_step);
	bpf_tail_call(skb, &jump, 0);
	return ACT_DROP;
}

/* ---- floors ---- */

SEC("tc")
int empty(struct __sk_buff *skb)
{
	return ACT_PASS;
}

SEC("tc")
int drop_all(struct __sk_buff *skb)
{
	return ACT_DROP;
}

/* ---- one bucket for two cores: so many tokens a run that the run itself is small beside them ----
 */

struct locked_bucket {
	struct bpf_spin_lock lock;
	__u64 tat;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct locked_bucket);
} locked SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} word SEC(".maps");

static const struct gate_rate bucket_rate = { .interval_ns = 1, .tolerance_ns = 1ULL << 40 };

SEC("tc")
int bucket_locked(struct __sk_buff *skb)
{
	__u64 now = bpf_ktime_get_coarse_ns();
	__u32 zero = 0;
	struct locked_bucket *b = bpf_map_lookup_elem(&locked, &zero);
	int action = ACT_DROP;

	if (!b)
		return ACT_DROP;
	for (int i = 0; i < BENCH_TAKES; i++) {
		bpf_spin_lock(&b->lock);
		if (limit_conforms(b->tat, &bucket_rate, now)) {
			b->tat = (b->tat > now ? b->tat : now) + bucket_rate.interval_ns;
			action = ACT_PASS;
		}
		bpf_spin_unlock(&b->lock);
	}
	return action;
}

SEC("tc")
int bucket_word(struct __sk_buff *skb)
{
	__u32 zero = 0;
	__u64 *tat = bpf_map_lookup_elem(&word, &zero);
	__u64 now = bpf_ktime_get_coarse_ns();
	int action = ACT_DROP;

	if (!tat)
		return ACT_DROP;
	for (int i = 0; i < BENCH_TAKES; i++)
		if (limit_take(tat, &bucket_rate, now))
			action = ACT_PASS;
	return action;
}

char LICENSE[] SEC("license") = "GPL";
