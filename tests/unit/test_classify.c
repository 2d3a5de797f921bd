// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* What a link is to the gate: a table of hosts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "classify.h"

#include <linux/if_arp.h>
#include <stdio.h>
#include <string.h>

#define NLINKS 16

/* A link of a host and what it should be. Masters and lowers by name. */
struct row {
	const char *name, *kind, *master, *lower;
	const char *role; /* as gate_role_name() */
	const char *bus;
	bool tun; /* ARPHRD_NONE */
	const char *guest;
};

struct host {
	const char *what;
	const char *bridges, *uplinks, *vm_ports; /* one or two globs, "" = none */
	struct row link[NLINKS];
};

static const struct host hosts[] = {
	{ "libvirt: taps and the uplink in one bridge",
	  "br0",
	  "",
	  "",
	  { { "lo", .role = "other" },
	    { "eth0", "", "br0", .role = "uplink", .bus = "pci" },
	    { "br0", "bridge", .role = "other" },
	    { "vnet0", "tun", "br0", .role = "vm" },
	    { "vnet1", "tun", "br0", .role = "vm" },
	    { "vnet9", "tun", .role = "none" },
	    { "tun0", "tun", .tun = true, .role = "other" },
	    { "wg0", "wireguard", .role = "other" } } },
	{ "another bridge is not gated",
	  "br0",
	  "",
	  "",
	  { { "docker0", "bridge", .role = "other" },
	    { "veth1", "veth", "docker0", .role = "none" },
	    { "eth1", "", "docker0", .role = "other" } } },
	{ "bridges by glob",
	  "vmbr*",
	  "",
	  "",
	  { { "vmbr0", "bridge", .role = "other" },
	    { "vmbr17", "bridge", .role = "other" },
	    { "tap1", "tun", "vmbr17", .role = "vm" },
	    { "veth2", "veth", "vmbr0", .role = "vm" } } },
	{ "bond, team and VLANs on such are uplinks, their slaves are not",
	  "br*",
	  "",
	  "",
	  { { "eth0", "", "bond0", .role = "other" },
	    { "eth1", "", "bond0", .role = "other" },
	    { "bond0", "bond", .role = "other" },
	    { "bond0.5", "vlan", "br5", "bond0", .role = "uplink" },
	    { "bond0.5.7", "vlan", "br7", "bond0.5", .role = "uplink" },
	    { "team0", "team", "br0", .role = "uplink" },
	    { "br0", "bridge", .role = "other" },
	    { "br5", "bridge", .role = "other" },
	    { "br7", "bridge", .role = "other" },
	    { "tap0", "tun", "br5", .role = "vm" },
	    { "tap1", "tun", .role = "none" },
	    { "tap1.9", "vlan", "br0", "tap1", .role = "vm" } } },
	{ "bridge on bridge: what leads from one to the other is no VM's",
	  "vmbr* vnet*",
	  "",
	  "",
	  { { "vmbr0", "bridge", .role = "other" },
	    { "eth0", "", "vmbr0", .role = "uplink" },
	    { "vnet1", "bridge", .role = "other" },
	    { "vmbr0.7", "vlan", "vnet1", "vmbr0", .role = "uplink" },
	    { "vmbr0.8", "vlan", .lower = "vmbr0", .role = "other" },
	    { "vnet2", "bridge", .role = "other" },
	    { "ln2", "veth", "vnet2", "pr2", .role = "uplink" },
	    { "pr2", "veth", "vmbr0", "ln2", .role = "uplink" },
	    { "vxlan3", "vxlan", "vnet2", .role = "uplink" },
	    { "tap1", "tun", "vnet1", .role = "vm" },
	    { "tap2", "tun", "vnet2", .role = "vm" },
	    { "here", "veth", "vnet2", "own", .role = "vm" },
	    { "own", "veth", "", "here", .role = "none" } } },
	{ "the same with the uplink named: they are the host's",
	  "vmbr* vnet*",
	  "eth0",
	  "",
	  { { "vmbr0", "bridge", .role = "other" },
	    { "eth0", "", "vmbr0", .role = "uplink" },
	    { "vnet1", "bridge", .role = "other" },
	    { "vmbr0.7", "vlan", "vnet1", "vmbr0", .role = "other" },
	    { "ln2", "veth", "vnet1", "pr2", .role = "other" },
	    { "pr2", "veth", "vmbr0", "ln2", .role = "other" },
	    { "tap1", "tun", "vnet1", .role = "vm" } } },
	{ "a bridge that is gated from afar alone: the veth into it is a port",
	  "vmbr0",
	  "",
	  "",
	  { { "vmbr0", "bridge", .role = "other" },
	    { "vnet2", "bridge", .role = "other" },
	    { "ln2", "veth", "vnet2", "pr2", .role = "none" },
	    { "pr2", "veth", "vmbr0", "ln2", .role = "vm" } } },
	{ "a lab: the uplink is a veth and named",
	  "br0",
	  "up*",
	  "",
	  { { "br0", "bridge", .role = "other" },
	    { "up0", "veth", "br0", .role = "uplink" },
	    { "g1", "veth", "br0", .role = "vm" },
	    { "eth0", "", "br0", .role = "other" } } },
	{ "VM ports by name: other members are the host's",
	  "br0",
	  "",
	  "vnet*",
	  { { "br0", "bridge", .role = "other" },
	    { "eth0", "", "br0", .role = "uplink" },
	    { "vnet0", "tun", "br0", .role = "vm" },
	    { "relay", "veth", "br0", .role = "other" },
	    { "vnet1", "tun", .role = "vm" },
	    { "tap7", "tun", .role = "none" } } },
	{ "routed host: no bridge, names decide",
	  "",
	  "eth0",
	  "tap* cali*",
	  { { "eth0", "", .role = "uplink" },
	    { "tap0", "tun", .role = "vm" },
	    { "cali1", "veth", .role = "vm" },
	    { "veth0", "veth", .role = "none" },
	    { "br0", "bridge", .role = "other" } } },
	{ "nothing configured: nothing gated",
	  "",
	  "",
	  "",
	  { { "eth0", "", "br0", .role = "other" },
	    { "br0", "bridge", .role = "other" },
	    { "tap0", "tun", "br0", .role = "none" } } },
	{ "Open vSwitch: members of the datapath device",
	  "ovs-system",
	  "",
	  "",
	  { { "ovs-system", "openvswitch", .role = "other" },
	    { "br-int", "openvswitch", .role = "other" },
	    { "br-ex", "openvswitch", "ovs-system", .role = "other" },
	    { "eth0", "", "ovs-system", .role = "uplink" },
	    { "tap0", "tun", "ovs-system", .role = "vm" } } },
	{ "Proxmox firewall bridge: the tap alone, and the pair's host end stands for it",
	  "vmbr0",
	  "",
	  "",
	  { { "vmbr0", "bridge", .role = "other" },
	    { "eno1", "", "vmbr0", .role = "uplink" },
	    { "tap100i0", "tun", "fwbr100i0", .role = "vm" },
	    { "fwbr100i0", "bridge", .role = "other" },
	    { "fwln100i0", "veth", "fwbr100i0", "fwpr100p0", .role = "none" },
	    { "fwpr100p0", "veth", "vmbr0", "fwln100i0", .role = "none", .guest = "tap100i0" },
	    { "veth101i0", "veth", "fwbr101i0", .role = "vm" },
	    { "fwbr101i0", "bridge", .role = "other" },
	    { "fwln101i0", "veth", "fwbr101i0", "fwpr101p0", .role = "none" },
	    { "fwpr101p0", "veth", "vmbr0", "fwln101i0", .role = "none", .guest = "veth101i0" } } },
	{ "Proxmox firewall bridge of a bridge that is not gated",
	  "vmbr0",
	  "",
	  "",
	  { { "vmbr1", "bridge", .role = "other" },
	    { "tap100i0", "tun", "fwbr100i0", .role = "none" },
	    { "fwbr100i0", "bridge", .role = "other" },
	    { "fwln100i0", "veth", "fwbr100i0", "fwpr100p0", .role = "none" },
	    { "fwpr100p0", "veth", "vmbr1", "fwln100i0", .role = "none" } } },
	{ "macvtap on an uplink or a gated bridge",
	  "br0",
	  "",
	  "",
	  { { "br0", "bridge", .role = "other" },
	    { "eth0", "", "br0", .role = "uplink" },
	    { "eth1", "", .role = "other" },
	    { "macvtap0", "macvtap", "", "eth0", .role = "vm" },
	    { "macvtap1", "macvtap", "", "br0", .role = "vm" },
	    { "macvtap2", "macvtap", "", "eth1", .role = "none" } } },
	{ "Xen: the backend has no kind, its bus tells",
	  "xenbr0",
	  "",
	  "",
	  { { "xenbr0", "bridge", .role = "other" },
	    { "eth0", "", "xenbr0", .role = "uplink", .bus = "pci" },
	    { "vif1.0", "", "xenbr0", .role = "vm", .bus = "xen-backend" },
	    { "vif2.0", "", .role = "none", .bus = "xen-backend" } } },
	{ "a bridge that is a member of another",
	  "br0",
	  "",
	  "",
	  { { "br0", "bridge", .role = "other" }, { "dummy0", "dummy", "br0", .role = "vm" } } },
	{ "a master that is no bridge does not gate, whatever its name",
	  "br*",
	  "",
	  "",
	  { { "brvrf", "vrf", .role = "other" }, { "tap0", "tun", "brvrf", .role = "none" } } },
};

static uint32_t number(const struct host *h, const char *name)
{
	for (uint32_t i = 0; name && *name && i < NLINKS; i++)
		if (h->link[i].name && !strcmp(h->link[i].name, name))
			return i + 1;
	return 0;
}

/* Two globs at most, separated by a blank. */
static void set_globs(struct gate_globs *g, char *pattern[2], char text[64], const char *from)
{
	snprintf(text, 64, "%s", from);
	g->pattern = pattern;
	g->count = 0;
	for (char *w = strtok(text, " "); w; w = strtok(NULL, " "))
		pattern[g->count++] = w;
}

static void test_hosts(void **state)
{
	for (size_t n = 0; n < sizeof(hosts) / sizeof(hosts[0]); n++) {
		const struct host *h = &hosts[n];
		struct gate_link link[NLINKS] = { 0 }, *at[NLINKS];
		struct gate_link_table t = { .link = at };
		struct gate_config c = { 0 };
		char *pattern[3][2], text[3][64];

		set_globs(&c.bridges, pattern[0], text[0], h->bridges);
		set_globs(&c.uplinks, pattern[1], text[1], h->uplinks);
		set_globs(&c.vm_ports, pattern[2], text[2], h->vm_ports);
		for (uint32_t i = 0; i < NLINKS && h->link[i].name; i++) {
			const struct row *r = &h->link[i];
			link[i] = (struct gate_link){
				.ifindex = i + 1,
				.master = number(h, r->master),
				.lower = number(h, r->lower),
				.type = r->tun ? ARPHRD_NONE : ARPHRD_ETHER,
				.flags = !strcmp(r->name, "lo") ? IFF_LOOPBACK : 0,
			};
			snprintf(link[i].name, sizeof(link[i].name), "%s", r->name);
			snprintf(link[i].kind, sizeof(link[i].kind), "%s", r->kind ? r->kind : "");
			snprintf(link[i].bus, sizeof(link[i].bus), "%s", r->bus ? r->bus : "");
			at[t.count++] = &link[i];
		}
		for (size_t i = 0; i < t.count; i++) {
			const struct row *r = &h->link[i];
			const char *role = gate_role_name(gate_classify(&c, &t, at[i]));
			if (strcmp(role, r->role))
				print_error("%s: %s is %s\n", h->what, r->name, role);
			assert_string_equal(role, r->role);
			assert_int_equal(gate_classify_guest(&c, &t, at[i]), number(h, r->guest));
		}
	}
}

static void test_find(void **state)
{
	struct gate_link link[3] = { { .ifindex = 2 }, { .ifindex = 5 }, { .ifindex = 900 } };
	struct gate_link *at[3] = { &link[0], &link[1], &link[2] };
	const struct gate_link_table t = { .link = at, .count = 3 }, none = { 0 };
	static const struct {
		uint32_t ifindex;
		int found;
		size_t index;
	} row[] = { { 0, -1, 0 }, { 1, -1, 0 }, { 2, 0, 0 },   { 3, -1, 1 },
		    { 5, 1, 1 },  { 6, -1, 2 }, { 900, 2, 2 }, { 901, -1, 3 } };

	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		const struct gate_link *l = gate_link_find(&t, row[i].ifindex);
		assert_ptr_equal(l, row[i].found < 0 ? NULL : &link[row[i].found]);
		assert_int_equal(gate_link_index(&t, row[i].ifindex), row[i].index);
	}
	assert_null(gate_link_find(&none, 2));
}

/* What a change of one link may change for others: taps come and go alone. */
static void test_affects_others(void **state)
{
	static const struct {
		const char *name, *kind;
		bool affects;
	} row[] = { { "tap3", "tun", false },  { "veth3", "veth", false },
		    { "br0", "bridge", true }, { "fwpr1p0", "veth", true },
		    { "bond0", "bond", true }, { "eth0.5", "vlan", true } };

	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct gate_link l = { .ifindex = 1, .type = ARPHRD_ETHER };
		snprintf(l.name, sizeof(l.name), "%s", row[i].name);
		snprintf(l.kind, sizeof(l.kind), "%s", row[i].kind);
		assert_int_equal(gate_classify_affects_others(&l), row[i].affects);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_affects_others),
	};

	return cmocka_run_group_tests_name("classify", tests, NULL, NULL);
}
