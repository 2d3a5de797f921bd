// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* What a link is to the gate; see classify.h. */
#include "classify.h"

#include <fnmatch.h>
#include <linux/if_arp.h>
#include <string.h>

/* VLAN on VLAN on bond …: deeper than anybody stacks them. */
#define MAX_STACK 8

static bool kind_is(const struct gate_link *l, const char *kind)
{
	return !strcmp(l->kind, kind);
}

bool gate_globs_match(const struct gate_globs *g, const char *name)
{
	for (unsigned i = 0; i < g->count; i++)
		if (!fnmatch(g->pattern[i], name, 0))
			return true;
	return false;
}

size_t gate_link_index(const struct gate_link_table *t, uint32_t ifindex)
{
	size_t lo = 0, hi = t->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (t->link[mid]->ifindex < ifindex)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

const struct gate_link *gate_link_find(const struct gate_link_table *t, uint32_t ifindex)
{
	if (!ifindex)
		return NULL;
	size_t i = gate_link_index(t, ifindex);

	return i < t->count && t->link[i]->ifindex == ifindex ? t->link[i] : NULL;
}

/* Linux bridges, and the datapath device whose members the ports of an OVS are. */
static bool is_bridge(const struct gate_link *l)
{
	return kind_is(l, "bridge") || kind_is(l, "openvswitch");
}

/* A device of a driver. Xen's backend has no link kind either: its bus tells. */
static bool is_physical(const struct gate_link *l)
{
	return !*l->kind && l->type == ARPHRD_ETHER && strcmp(l->bus, "xen-backend") != 0;
}

/* Ethernet to other hosts through this one's own network. */
static bool is_tunnel(const struct gate_link *l)
{
	return kind_is(l, "vxlan") || kind_is(l, "geneve") || kind_is(l, "gretap") ||
	       kind_is(l, "ip6gretap");
}

static bool bridge_is_named(const struct gate_config *c, const struct gate_link *bridge)
{
	return bridge && is_bridge(bridge) && gate_globs_match(&c->bridges, bridge->name);
}

/* The other end of a veth, if that is in this namespace. */
static const struct gate_link *peer_of(const struct gate_link_table *t, const struct gate_link *l)
{
	return kind_is(l, "veth") ? gate_link_find(t, l->lower) : NULL;
}

/* What leads to other networks: physical, bond, team, tunnels, and VLANs on such or a bridge. */
static bool is_trunk(const struct gate_link_table *t, const struct gate_link *l)
{
	for (int depth = 0; l && depth < MAX_STACK; depth++) {
		if (is_physical(l) || is_tunnel(l) || kind_is(l, "bond") || kind_is(l, "team"))
			return true;
		if (!kind_is(l, "vlan"))
			return depth && is_bridge(l);
		l = gate_link_find(t, l->lower);
	}
	return false;
}

static bool starts_with(const char *name, const char *prefix)
{
	return !strncmp(name, prefix, strlen(prefix));
}

/* A member of `bridge` other than `but` that passes `wanted`, NULL = none. */
static const struct gate_link *find_member(const struct gate_link_table *t, uint32_t bridge,
					   bool (*wanted)(const struct gate_link *))
{
	for (size_t i = 0; i < t->count; i++)
		if (t->link[i]->master == bridge && wanted(t->link[i]))
			return t->link[i];
	return NULL;
}

/* The guest's side of Proxmox's pair fwlnNiM (in fwbrNiM) - fwprNpM (in vmbrX). */
static bool is_fwln(const struct gate_link *l)
{
	return kind_is(l, "veth") && starts_with(l->name, "fwln");
}

static bool is_fwpr(const struct gate_link *l)
{
	return kind_is(l, "veth") && starts_with(l->name, "fwpr");
}

/*
 * A veth from one gated bridge to another: who is behind it is gated over there. As a port
 * it would judge them all once more, as one VM, and what they are sent by the Internet too.
 */
static bool is_cable(const struct gate_config *c, const struct gate_link_table *t,
		     const struct gate_link *l)
{
	const struct gate_link *peer = peer_of(t, l);

	return peer && !is_fwpr(l) && !is_fwln(l) &&
	       bridge_is_named(c, gate_link_find(t, l->master)) &&
	       bridge_is_named(c, gate_link_find(t, peer->master));
}

/* The guest's own device in a firewall bridge: a VM's tap or a container's veth. */
static bool is_fw_guest(const struct gate_link *l)
{
	return !is_fwln(l) && !is_fwpr(l);
}

/* Is `bridge` a firewall bridge whose other end is in a gated bridge? */
static bool is_gated_fwbr(const struct gate_config *c, const struct gate_link_table *t,
			  const struct gate_link *bridge)
{
	if (!bridge || !kind_is(bridge, "bridge") || !starts_with(bridge->name, "fwbr"))
		return false;
	const struct gate_link *fwln = find_member(t, bridge->ifindex, is_fwln);
	const struct gate_link *fwpr = fwln ? gate_link_find(t, fwln->lower) : NULL;

	return fwpr && is_fwpr(fwpr) && bridge_is_named(c, gate_link_find(t, fwpr->master));
}

static bool in_gated_bridge(const struct gate_config *c, const struct gate_link_table *t,
			    const struct gate_link *l)
{
	const struct gate_link *bridge = gate_link_find(t, l->master);

	return bridge_is_named(c, bridge) || is_gated_fwbr(c, t, bridge);
}

/* A macvtap on an uplink or on a gated bridge carries a VM, as a member would. */
static bool is_gated_macvtap(const struct gate_config *c, const struct gate_link_table *t,
			     const struct gate_link *l)
{
	const struct gate_link *lower = gate_link_find(t, l->lower);

	if (!kind_is(l, "macvtap") || !lower)
		return false;
	return bridge_is_named(c, lower) || gate_classify(c, t, lower) == GATE_ROLE_UPLINK;
}

/* Kinds that a hypervisor plugs a guest into, now or later. */
static bool may_carry_vm(const struct gate_link *l)
{
	if (kind_is(l, "tun"))
		return l->type == ARPHRD_ETHER;
	return kind_is(l, "veth") || kind_is(l, "macvtap") || kind_is(l, "netkit") ||
	       !strcmp(l->bus, "xen-backend");
}

/* Neither uplink nor VM port: what of the rest is surely nobody's? */
static enum gate_role classify_rest(const struct gate_link *l)
{
	return may_carry_vm(l) ? GATE_ROLE_NONE : GATE_ROLE_OTHER;
}

static bool is_uplink(const struct gate_config *c, const struct gate_link_table *t,
		      const struct gate_link *l)
{
	if (c->uplinks.count)
		return gate_globs_match(&c->uplinks, l->name);
	return is_cable(c, t, l) ||
	       (is_trunk(t, l) && bridge_is_named(c, gate_link_find(t, l->master)));
}

static bool is_vm_port(const struct gate_config *c, const struct gate_link_table *t,
		       const struct gate_link *l)
{
	if (c->vm_ports.count)
		return gate_globs_match(&c->vm_ports, l->name) && !is_bridge(l);
	if (is_fwpr(l) || is_fwln(l))
		return false;
	/* an OVS lists its own internal ports as members too: those are the host's */
	if (is_trunk(t, l) || is_bridge(l) || is_cable(c, t, l))
		return false;
	return in_gated_bridge(c, t, l) || is_gated_macvtap(c, t, l);
}

enum gate_role gate_classify(const struct gate_config *c, const struct gate_link_table *t,
			     const struct gate_link *l)
{
	if (l->flags & IFF_LOOPBACK)
		return GATE_ROLE_OTHER;
	if (is_uplink(c, t, l))
		return GATE_ROLE_UPLINK;
	if (is_vm_port(c, t, l))
		return GATE_ROLE_VM;
	/* the operator has named the VM ports: a member that is not named is the host's */
	if (c->vm_ports.count && in_gated_bridge(c, t, l) && !is_fwpr(l) && !is_fwln(l))
		return GATE_ROLE_OTHER;
	if (is_cable(c, t, l))
		return GATE_ROLE_OTHER;
	return classify_rest(l);
}

uint32_t gate_classify_guest(const struct gate_config *c, const struct gate_link_table *t,
			     const struct gate_link *l)
{
	if (!is_fwpr(l) || !bridge_is_named(c, gate_link_find(t, l->master)))
		return 0;
	const struct gate_link *fwln = gate_link_find(t, l->lower);
	if (!fwln || !is_fwln(fwln) || !fwln->master)
		return 0;
	const struct gate_link *guest = find_member(t, fwln->master, is_fw_guest);

	return guest && gate_classify(c, t, guest) == GATE_ROLE_VM ? guest->ifindex : 0;
}

bool gate_classify_has_pair(const struct gate_link_table *t, const struct gate_link *l)
{
	const struct gate_link *peer = peer_of(t, l);

	return (peer && peer->master) || (l->master && find_member(t, l->master, is_fwln));
}

bool gate_classify_affects_others(const struct gate_link *l)
{
	return is_bridge(l) || is_fwln(l) || is_fwpr(l) || kind_is(l, "vlan") ||
	       kind_is(l, "bond") || kind_is(l, "team") || is_tunnel(l) || is_physical(l);
}

const char *gate_role_name(enum gate_role r)
{
	static const char *const name[] = { "none", "other", "uplink", "vm" };

	_Static_assert(sizeof(name) / sizeof(name[0]) == GATE_ROLE_MAX, "a name for each role");
	return name[r];
}
