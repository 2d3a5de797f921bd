/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Whose frame is it? The port says: a guest cannot forge that. MAC and address
 * only choose among what the VM has registered, or tighten (SEMANTICS Identity).
 *
 * What is found is copied into struct who, numbers only, so that each step can
 * be a global function that the verifier proves once.
 */
#ifndef GATE25_BPF_IDENTIFY_H
#define GATE25_BPF_IDENTIFY_H

#include "account.h"

enum { CHAIN_IP, CHAIN_IP_WIDER, CHAIN_MAC, CHAIN_MAC_WIDER, CHAIN_MAX };

struct who {
	__u32 slot;
	__u32 ifindex;
	__u64 grace_until;
	__u32 tenant, budget, override_base;
	__u16 flags, binding;	     /* of struct gate_vm */
	__u32 base[CHAIN_MAX];	     /* policies of the VM's own address and MAC, 0 = none */
	__u32 ip_bucket, mac_bucket; /* ids of their bucket sets */
	__u32 prefix_budget;
	__u32 any_ip[2], any_mac; /* policies on an address or MAC that it did not register */
	__u8 stranger;		  /* another MAC than the unregistered port's first */
	__u8 routed;		  /* the frame's MAC is a router's, not the VM's */
	__u8 dry;		  /* a dry run: nothing is spent, counted or learned */
	__u8 early;		  /* asked at XDP: from_vm will tell what is to be told */
};

struct address {
	__u32 word[4];
};

static __always_inline __u64 mac_bits(const __u8 *m)
{
	return (__u64)m[0] | (__u64)m[1] << 8 | (__u64)m[2] << 16 | (__u64)m[3] << 24 |
	       (__u64)m[4] << 32 | (__u64)m[5] << 40;
}

static __always_inline struct gate_conf *conf_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&conf, &zero);
}

/* What is near at hand about a MAC, 0 = nothing: the hash knows. */
static __always_inline __u32 find_near(__u64 kind, __u32 scope, const __u8 *mac)
{
	__u64 key = mac_bits(mac) | kind;
	__u32 i = gate_near_place(key, scope, params.max_vms);
	const struct gate_near_set *set = bpf_map_lookup_elem(&near_macs, &i);

	if (!set)
		return 0;
#pragma unroll
	for (int way = 0; way < GATE_NEAR_WAYS; way++)
		if (set->way[way].key == key && set->way[way].scope == scope)
			return set->way[way].value;
	return 0;
}

static __always_inline const struct gate_address *mac_lookup(__u32 slot, const __u8 *mac)
{
	struct gate_mac_key key = { .slot = slot };

	__builtin_memcpy(key.mac, mac, 6);
	return bpf_map_lookup_elem(&macs, &key);
}

static __always_inline const struct gate_address *ip_lookup(__u32 slot, const __u32 *addr)
{
	struct gate_ip_key key = { .prefixlen = 32 + 128, .slot = slot };

	__builtin_memcpy(key.addr, addr, 16);
	return bpf_map_lookup_elem(&ips, &key);
}

PROVEN_ONCE int look_up_source_slot(__u32 ifindex, const struct frame *f, __u32 otherwise)
{
	struct gate_mac_owner_key mac = { .ifindex = ifindex };
	struct gate_ip_key ip = { .prefixlen = 32 + 128, .slot = 0 };
	__u32 *slot;

	if (!f)
		return otherwise;
	__builtin_memcpy(mac.mac, f->mac, 6);
	slot = bpf_map_lookup_elem(&mac_owner, &mac);
	if (slot)
		return *slot;
	if (ifindex)
		return otherwise;
	__builtin_memcpy(ip.addr, f->src, 16);
	slot = bpf_map_lookup_elem(&ip_owner, &ip);
	return slot ? *slot : otherwise;
}

/* Behind a trunk, or where the uplink is the gate, registered sources tell VMs apart. */
static __always_inline __u32 slot_by_source(__u32 ifindex, const struct frame *f, __u32 otherwise)
{
	__u32 near = find_near(GATE_NEAR_OWNER, ifindex, f->mac);

	return near ? near : look_up_source_slot(ifindex, f, otherwise);
}

/*
 * A look-up in a hash makes several calls and misses as many cache lines, so each CPU
 * keeps the ports that it found; a change of the table, however small, makes it ask
 * again. The edition is read before the table (atomics with a result are full barriers),
 * else what is from before a change could pass for new.
 */
PROVEN_ONCE int look_up_port(struct gate_conf *c, struct known_port *k, __u32 ifindex)
{
	__u32 edition;
	struct gate_port *port;

	if (!c || !k)
		return 0;
	edition = __sync_fetch_and_add(&c->ports_edition, 0);
	port = bpf_map_lookup_elem(&ports, &ifindex);
	if (!port)
		return 0;
	k->port = *port;
	k->ifindex = ifindex;
	k->edition = edition;
	return 1;
}

/* What the daemon says of a port; 0 = it knows none of this index. */
static __always_inline struct gate_port *find_port(struct gate_conf *c, __u32 ifindex)
{
	__u32 way = ifindex & (KNOWN_PORTS - 1);
	struct known_port *k = bpf_map_lookup_elem(&known_ports, &way);

	if (!k)
		return 0;
	if (k->ifindex == ifindex && k->edition == *(volatile __u32 *)&c->ports_edition)
		return &k->port;
	return look_up_port(c, k, ifindex) ? &k->port : 0;
}

static __always_inline __u32 slot_of_port(const struct gate_port *port, __u32 ifindex,
					  const struct frame *f)
{
	return port->flags & GATE_PORT_TRUNK ? slot_by_source(ifindex, f, port->slot) : port->slot;
}

/* A slot that is not there cannot be; should it be all the same, it opens nothing. */
static __always_inline bool find_vm(struct who *w)
{
	struct gate_vm *vm;

	if (w->slot >= params.max_vms)
		w->slot = GATE_SLOT_UNKNOWN;
	vm = bpf_map_lookup_elem(&vms, &w->slot);
	if (!vm)
		return false;
	w->grace_until = vm->grace_until;
	w->tenant = vm->tenant;
	w->budget = vm->budget;
	w->override_base = vm->override_base;
	w->flags = vm->flags;
	w->binding = vm->binding;
	return true;
}

/* Identity of an unregistered port is port + first source MAC. */
static __always_inline void check_stranger(struct who *w, const struct frame *f, __u64 now)
{
	__u32 slot = w->slot; /* on the stack: Linux 6.1 takes no key out of an argument */
	struct gate_vm *vm = bpf_map_lookup_elem(&vms, &slot);
	__u64 mac = GATE_MAC_SEEN | mac_bits(f->mac), first;

	if (!vm)
		return;
	first = *(volatile __u64 *)&vm->first_mac;
	if (!first && !w->dry)
		first = __sync_val_compare_and_swap(&vm->first_mac, 0, mac);
	if (!first || first == mac)
		return;
	w->stranger = 1;
	if (!w->dry && !w->early)
		tell(w->slot, w->ifindex, f, TELL(GATE_E_NEW_MAC, GATE_R_NOT_GATED), now);
}

/*
 * The VM's addresses and their policies. Returns the reason of a refusal, or
 * GATE_R_NOT_GATED when there is nothing to refuse.
 */
PROVEN_ONCE int look_up_source(struct who *w, const struct frame *f, __u64 conf_flags, __u64 now)
{
	const struct gate_address *mac = 0, *ip = 0, *any;
	bool known_mac = false;

	if (!w || !f)
		return GATE_R_NOT_GATED;
	if (!w->routed && !(w->flags & GATE_VM_REGISTERED) && w->slot != GATE_SLOT_UNKNOWN)
		check_stranger(w, f, now);
	if (!w->routed && w->flags & GATE_VM_MACS)
		known_mac = find_near(GATE_NEAR_VM, w->slot, f->mac);
	if (!w->routed && w->flags & GATE_VM_MACS && !known_mac) {
		mac = mac_lookup(w->slot, f->mac);
		if (!mac && w->binding == GATE_BINDING_STRICT)
			return GATE_R_SPOOFED_MAC;
		if (mac) {
			w->base[CHAIN_MAC] = mac->base[0];
			w->base[CHAIN_MAC_WIDER] = mac->base[1];
			w->mac_bucket = mac->bucket;
		}
	}
	if (w->flags & GATE_VM_IPS) {
		ip = ip_lookup(w->slot, f->src);
		if (!ip && w->binding == GATE_BINDING_STRICT)
			return GATE_R_SPOOFED_IP;
		if (ip) {
			w->base[CHAIN_IP] = ip->base[0];
			w->base[CHAIN_IP_WIDER] = ip->base[1];
			w->ip_bucket = ip->bucket;
			w->prefix_budget = ip->budget;
		}
	}
	if (conf_flags & GATE_CONF_ANY_IPS && !ip) {
		any = ip_lookup(GATE_SLOT_ANY, f->src);
		if (any) {
			w->any_ip[0] = any->base[0];
			w->any_ip[1] = any->base[1];
		}
	}
	if (!w->routed && conf_flags & GATE_CONF_ANY_MACS && !mac && !known_mac) {
		any = mac_lookup(GATE_SLOT_ANY, f->mac);
		if (any)
			w->any_mac = any->base[0];
	}
	return GATE_R_NOT_GATED;
}

/* Nothing is called where nothing is there to be looked up. */
static __always_inline int check_source(struct who *w, const struct frame *f, __u64 conf_flags,
					__u64 now)
{
	if (w->flags & GATE_VM_REGISTERED && !(w->flags & (GATE_VM_MACS | GATE_VM_IPS)) &&
	    !(conf_flags & (GATE_CONF_ANY_IPS | GATE_CONF_ANY_MACS)))
		return GATE_R_NOT_GATED;
	return look_up_source(w, f, conf_flags, now);
}

static __always_inline bool exempt_in(__u32 scope, const struct address *addr)
{
	struct gate_exempt_key key = { .prefixlen = 32 + 128, .scope = scope };

	__builtin_memcpy(key.addr, addr, 16);
	return bpf_map_lookup_elem(&exempt, &key) != 0;
}

PROVEN_ONCE int look_up_exempt(const struct who *w, const struct address *peer, __u64 conf_flags)
{
	if (!w || !peer)
		return 0;
	return (conf_flags & GATE_CONF_EXEMPT && exempt_in(GATE_EXEMPT_ALL, peer)) ||
	       (w->flags & GATE_VM_EXEMPT && exempt_in(GATE_EXEMPT_VM | w->slot, peer)) ||
	       (w->flags & GATE_VM_TENANT_EXEMPT &&
		exempt_in(GATE_EXEMPT_TENANT | w->tenant, peer));
}

/* A destination that needs no leave: global, of the tenant, of the VM. */
static __always_inline bool is_exempt(const struct who *w, const struct address *peer,
				      __u64 conf_flags)
{
	return (conf_flags & GATE_CONF_EXEMPT ||
		w->flags & (GATE_VM_EXEMPT | GATE_VM_TENANT_EXEMPT)) &&
	       look_up_exempt(w, peer, conf_flags);
}

#endif
