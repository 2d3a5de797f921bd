/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where will the host write the checksum that a guest left to it?
 *
 * A frame with CHECKSUM_PARTIAL is not yet what will be on the wire: two bytes at
 * csum_start + csum_offset are overwritten behind all hooks, and a virtio guest
 * chooses that place. With it on the port, sums to taste turn port 443 into 25.
 * No field of __sk_buff tells, so the kernel's own are read.
 */
#ifndef GATE25_BPF_CSUM_H
#define GATE25_BPF_CSUM_H

#include <bpf/bpf_core_read.h>

#define CSUM_PARTIAL 3 /* CHECKSUM_PARTIAL, linux/skbuff.h */

struct sk_buff___gate {
	unsigned char *head;
	unsigned char *data;
	__u16 csum_start, csum_offset;
	__u8 ip_summed : 2;
} __attribute__((preserve_access_index));

/* Came with kernel 6.2, and so did bpf_cast_to_kern_ctx. */
struct bpf_list_head___gate {
};

extern void *bpf_cast_to_kern_ctx(void *obj) __ksym __weak;

/* Plain loads: the verifier knows whose memory it is. */
static __always_inline __u32 csum_by_cast(struct __sk_buff *skb)
{
	const struct sk_buff___gate *k = bpf_cast_to_kern_ctx(skb);

	if (BPF_CORE_READ_BITFIELD(k, ip_summed) != CSUM_PARTIAL)
		return 0;
	return (__u32)k->csum_start + k->csum_offset - (__u32)(k->data - k->head);
}

/* The same by copying, some ns dearer each. */
static __always_inline __u32 csum_by_copy(struct __sk_buff *skb)
{
	const struct sk_buff___gate *k = (void *)skb;
	unsigned char *head = 0, *data = 0;
	__u16 start = 0, offset = 0;

	if (BPF_CORE_READ_BITFIELD_PROBED(k, ip_summed) != CSUM_PARTIAL)
		return 0;
	bpf_core_read(&start, sizeof(start), &k->csum_start);
	bpf_core_read(&offset, sizeof(offset), &k->csum_offset);
	bpf_core_read(&head, sizeof(head), &k->head);
	bpf_core_read(&data, sizeof(data), &k->data);
	return (__u32)start + offset - (__u32)(data - head);
}

static __always_inline __u32 ctx_csum(struct __sk_buff *skb)
{
	return bpf_core_type_exists(struct bpf_list_head___gate) ? csum_by_cast(skb)
								 : csum_by_copy(skb);
}

#endif
