/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * MACs near at hand: the map `near_macs`, a part of the ABI (abi.h).
 *
 * Theory of operation
 *
 *   To find a MAC in a hash of the kernel takes a call and, with many VMs, three misses of
 *   the cache one behind the other. So what `mac_owner` and `macs` say of most MACs stands
 *   once more in an array of our own, where one cache line tells it. The hashes are the
 *   truth and hold all MACs; here are those that found room in their set and that bring no
 *   policy. Who is not found here is looked up there.
 *
 *   The daemon alone writes. What stands here stands in the hash, at every moment: it is
 *   entered later and taken out first. `key` is written last and cleared first, and a place
 *   that was cleared rests until no program can be reading it: a program sees the whole of an
 *   entry or none.
 */
#ifndef GATE25_NEAR_ABI_H
#define GATE25_NEAR_ABI_H

#include <linux/types.h>

#define GATE_NEAR_WAYS 4 /* entries of 16 bytes in one cache line */

/* gate_near_mac.key: of which hash */
#define GATE_NEAR_OWNER (1ULL << 48) /* `mac_owner`: scope = ifindex, value = slot */
#define GATE_NEAR_VM	(2ULL << 48) /* `macs`: scope = slot, value = gate_address.flags */

struct gate_near_mac {
	__u64 key; /* the MAC, its first byte lowest, and GATE_NEAR_*; 0 = free */
	__u32 scope;
	__u32 value; /* never 0 */
};
struct gate_near_set {
	struct gate_near_mac way[GATE_NEAR_WAYS];
};

/* Places for two MACs of each VM. */
static inline __u32 gate_near_sets(__u32 max_vms)
{
	return 2 * max_vms / GATE_NEAR_WAYS + 1;
}

/*
 * Where a MAC is kept near, if it is: index into `near_macs`. MACs and slots are often counted
 * up together, so they are mixed well.
 */
static inline __u32 gate_near_place(__u64 key, __u32 scope, __u32 max_vms)
{
	__u64 h = key * 0x9e3779b97f4a7c15ULL + scope * 0xc2b2ae3d27d4eb4fULL;

	h = (h ^ h >> 32) * 0x9e3779b97f4a7c15ULL;
	return (h >> 32) * gate_near_sets(max_vms) >> 32;
}

#ifndef __bpf__
_Static_assert(sizeof(struct gate_near_set) == 64, "a set of near MACs is one cache line");
#endif

#endif
