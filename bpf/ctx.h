/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The context shim: one body of readers for TC, XDP and the host (fuzzing and
 * unit tests). A reader uses nothing of the context but these.
 *
 *   ctx_data, ctx_end  the linear part, for direct access
 *   ctx_len            bytes of the whole frame, linear or not
 *   ctx_load           copy of bytes wherever they lie; < 0 beyond the frame
 *   ctx_gso            will be segmented on its way; the length fields of its IP
 *                      header are written anew then, so what they say is void
 *   ctx_csum           0, or where in the frame a checksum is yet to be written: a
 *                      virtio guest names the place, and it need not be one of a
 *                      checksum (docs/packets.md)
 */
#ifndef GATE25_BPF_CTX_H
#define GATE25_BPF_CTX_H

#include <linux/types.h>
#include <stdbool.h>

/*
 * A global function is proven by the verifier once, on its own, and not again at
 * each call; on the host it is an ordinary one of this file.
 */
#ifdef __bpf__
#define PROVEN_ONCE __noinline
#else
#define PROVEN_ONCE static __attribute__((noinline, unused))
#endif

#ifdef __bpf__

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#ifdef GATE_XDP
typedef struct xdp_md ctx_t;
#define ctx_len(ctx)		  ((__u32)bpf_xdp_get_buff_len(ctx))
#define ctx_load(ctx, off, to, n) bpf_xdp_load_bytes(ctx, off, to, n)
#define ctx_gso(ctx)		  false
#define ctx_csum(ctx)		  0 /* not known yet; from_vm sees it */
#else
#include "csum.h"
typedef struct __sk_buff ctx_t;
#define ctx_len(ctx)		  ((ctx)->len)
#define ctx_load(ctx, off, to, n) bpf_skb_load_bytes(ctx, off, to, n)
#define ctx_gso(ctx)		  ((ctx)->gso_size != 0)
#endif
/* A word as it stands, aligned or not: the machines that run this can. */
#define load32(p)     (*(const __u32 *)(p))
#define ctx_data(ctx) ((__u8 *)(long)(ctx)->data)
#define ctx_end(ctx)  ((__u8 *)(long)(ctx)->data_end)

#else /* host */

#include <stdint.h>
#include <string.h>
#include <arpa/inet.h>

typedef struct host_ctx {
	const __u8 *data;
	__u32 linear, len; /* linear <= len */
	__u32 csum;
	bool gso;
} ctx_t;

#define ctx_data(ctx) ((const __u8 *)(ctx)->data)
#define ctx_end(ctx)  ((const __u8 *)(ctx)->data + (ctx)->linear)
#define ctx_len(ctx)  ((ctx)->len)
#define ctx_gso(ctx)  ((ctx)->gso)
#define ctx_csum(ctx) ((ctx)->csum)

static inline int ctx_load(const ctx_t *ctx, __u32 off, void *to, __u32 n)
{
	if (off > ctx->len || n > ctx->len - off)
		return -1;
	memcpy(to, ctx->data + off, n);
	return 0;
}

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif
#define __noinline __attribute__((noinline))

static inline __u32 load32(const __u8 *p)
{
	__u32 v;

	memcpy(&v, p, sizeof(v));
	return v;
}

#define bpf_htons(x) ((__u16)((__u16)((x) << 8) | (__u16)(x) >> 8))
#define bpf_ntohs(x) bpf_htons(x)
#define bpf_htonl(x) htonl(x)
#define bpf_ntohl(x) ntohl(x)

#endif

/* Two or four bytes in network order at p, which may be unaligned. */
#define get16(p) ((__u16)((p)[0] << 8 | (p)[1]))
#define get32(p) ((__u32)(p)[0] << 24 | (__u32)(p)[1] << 16 | (__u32)(p)[2] << 8 | (p)[3])

#endif
