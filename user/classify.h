/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What a link is to the gate, decided from the configuration and the table of
 * links alone. Pure: no I/O.
 */
#ifndef GATE25_CLASSIFY_H
#define GATE25_CLASSIFY_H

#include "config.h"
#include <net/if.h>

/* One network device as rtnetlink describes it. */
struct gate_link {
	uint32_t ifindex;
	uint32_t master; /* ifindex of the bridge, bond, … it is a member of, 0 = none */
	uint32_t lower;	 /* IFLA_LINK within this namespace: VLAN's parent, veth's peer; 0 = none */
	uint32_t far;	 /* IFLA_LINK if that lies in another namespace, 0 = none */
	uint16_t type;	 /* ARPHRD_* */
	uint32_t flags;	 /* IFF_* */
	char name[IFNAMSIZ];
	char kind[16]; /* IFLA_INFO_KIND, "" = a device of a driver */
	char bus[16];  /* IFLA_PARENT_DEV_BUS_NAME (5.14+), "" = none */
};

/* Links by ascending ifindex. */
struct gate_link_table {
	struct gate_link **link;
	size_t count;
};

enum gate_role {
	GATE_ROLE_NONE,	 /* not gated now; may become a VM port, so unknown to the backstop */
	GATE_ROLE_OTHER, /* surely no VM's: bridges, physical devices, the host's own */
	GATE_ROLE_UPLINK,
	GATE_ROLE_VM,
	GATE_ROLE_MAX
};

/**
 * gate_link_find() - look up a link.
 * Return: the link or NULL.
 */
const struct gate_link *gate_link_find(const struct gate_link_table *t, uint32_t ifindex);

/* Index of ifindex in the table, or of where it belongs. */
size_t gate_link_index(const struct gate_link_table *t, uint32_t ifindex);

/**
 * gate_classify() - say what a link is.
 * @c: configuration: the globs of bridges, uplinks and VM ports.
 * @t: all links of the namespace.
 * @l: the link in question.
 *
 * A name list that is given decides alone; what a list leaves to "auto" is told
 * by membership in a bridge: physical devices, bonds, teams, tunnels, VLANs on such or on
 * a bridge, and veths to another gated bridge are uplinks, every other member is a VM
 * port. Of Proxmox's firewall bridges (tap in fwbrN, fwln-fwpr pair to the gated bridge)
 * the tap is the VM port.
 * Return: the role.
 */
enum gate_role gate_classify(const struct gate_config *c, const struct gate_link_table *t,
			     const struct gate_link *l);

/**
 * gate_classify_guest() - the tap behind the host end of a Proxmox firewall pair.
 * @l: a link; only fwprNpM members of a gated bridge have one.
 *
 * Frames of such a VM reach the uplink with the fwpr device as their origin, so
 * the backstop must know it for what it stands for.
 * Return: ifindex of the tap, 0 = none.
 */
uint32_t gate_classify_guest(const struct gate_config *c, const struct gate_link_table *t,
			     const struct gate_link *l);

/* May a change of this link change the role of others? */
bool gate_classify_affects_others(const struct gate_link *l);

/*
 * Is it in a firewall bridge with a pair, whose fwpr may come to stand for something else with
 * it? Or one end of a veth, the other end of which is in a bridge?
 */
bool gate_classify_has_pair(const struct gate_link_table *t, const struct gate_link *l);

/* Does a name match one of the patterns (fnmatch)? */
bool gate_globs_match(const struct gate_globs *g, const char *name);
const char *gate_role_name(enum gate_role r);

#endif
