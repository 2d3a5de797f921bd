// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The port manager on real links of a namespace, with an engine that only takes notes. */
#include "ports_lab.h"

static const enum gate_hook hooks[] = { GATE_HOOK_TCX, GATE_HOOK_TC };
static char br1[] = "br1", *br1_globs[] = { br1 };
#define EACH_HOOK(h) for (const enum gate_hook *h = hooks + !nsbox_has_tcx(); h < hooks + 2; h++)

/* ---- the start ---- */

static void test_all_attached_at_start(void **state)
{
	EACH_HOOK(h)
	{
		struct daemon d;

		host(3);
		nsbox_run("ip link add lone type veth peer name lone_p");
		configure(&d, *h);
		start(&d);
		for (int i = 0; i < 3; i++) {
			char name[8];
			snprintf(name, sizeof(name), "g%d", i);
			const struct note *n = port(name);
			assert_true(n->from_vm);
			assert_string_equal(n->name, name);
			assert_int_equal(n->to_vm, *h == GATE_HOOK_TCX);
			assert_int_equal(n->flags,
					 GATE_PORT_VM | (*h == GATE_HOOK_TCX ? GATE_PORT_JUDGED
									     : GATE_PORT_STAMPED));
		}
		assert_int_equal(port("up0")->flags, GATE_PORT_UPLINK);
		assert_string_equal(port("up0")->hook, *h == GATE_HOOK_TCX ? "tcx" : "tc");
		assert_int_equal(gate_attach_check(d.a, if_nametoindex("up0"), GATE_UPLINK_OUT), 1);
		/* what may become a port is unknown to the backstop, bridges are known */
		assert_int_equal(port("lone")->ups, 0);
		assert_int_equal(port("br0")->ups, 1);
		assert_int_equal(gate_ports_stats(d.p)->attached, 3);
		assert_int_equal(find_problem("no_uplink", ""), -1);
		stop(&d);
		clean(NULL);
	}
}

/* A restart never takes back that a port is judged, and leaves nothing double. */
static void test_restart_adopts(void **state)
{
	EACH_HOOK(h)
	{
		struct daemon d;

		host(2);
		configure(&d, *h);
		start(&d);
		unsigned before = pins(&d);
		stop(&d);
		/* meanwhile one port left the bridge, another went, one came */
		nsbox_run("ip link set g1 nomaster");
		plug("g2", "br0");
		configure(&d, *h);
		start(&d);
		assert_true(port("g0")->from_vm && port("g2")->from_vm);
		if (*h == GATE_HOOK_TCX)
			assert_true(notes[0].flags == 0 || !port("g0")->unjudged);
		assert_int_equal(port("g0")->flags & GATE_PORT_VM, GATE_PORT_VM);
		assert_int_equal(gate_attach_present(d.a, if_nametoindex("g1"), GATE_FROM_VM), 0);
		assert_int_equal(pins(&d), before);
		stop(&d);
		clean(NULL);
	}
}

/* Entries of links that went while no daemon ran are removed from `ports`. */
static void test_stale_entries_are_swept(void **state)
{
	struct daemon d;
	struct gate_port p = { .slot = 4, .flags = GATE_PORT_VM | GATE_PORT_JUDGED };
	uint32_t stale = 4242;

	host(1);
	configure(&d, GATE_HOOK_TCX);
	start(&d);
	assert_int_equal(bpf_map_update_elem(ports_map, &stale, &p, BPF_ANY), 0);
	stop(&d);
	configure(&d, GATE_HOOK_TCX);
	start(&d);
	assert_int_not_equal(bpf_map_lookup_elem(ports_map, &stale, &p), 0);
	stale = if_nametoindex("g0");
	assert_int_equal(bpf_map_lookup_elem(ports_map, &stale, &p), 0);
	stop(&d);
}

/* ---- coming and going ---- */

static void test_hotplug(void **state)
{
	EACH_HOOK(h)
	{
		struct daemon d;

		host(0);
		configure(&d, *h);
		start(&d);
		plug("g0", "br0");
		assert_true(WAIT_FOR(&d, port("g0")->from_vm));
		if (*h == GATE_HOOK_TCX)
			assert_true(WAIT_FOR(&d, port("g0")->to_vm));
		assert_true(gate_ports_stats(d.p)->unattached_ns > 0);

		/* out of the bridge: no port any more */
		uint32_t g0 = if_nametoindex("g0");
		gate_ports_linger_s = 0;
		nsbox_run("ip link set g0 nomaster");
		assert_true(WAIT_FOR(&d, note_of(g0)->downs == 1));
		assert_int_equal(gate_attach_present(d.a, g0, GATE_FROM_VM), 0);

		/* back, then deleted and made again: another ifindex */
		nsbox_run("ip link set g0 master br0");
		assert_true(WAIT_FOR(&d, note_of(g0)->from_vm));
		nsbox_run("ip link del g0");
		plug("g0", "br0");
		assert_int_not_equal(if_nametoindex("g0"), g0);
		assert_true(WAIT_FOR(&d, port("g0")->from_vm));
		assert_int_equal(note_of(g0)->downs, 2);

		/* its name changes, its attachment does not */
		nsbox_run("ip link set g0 down && ip link set g0 name vnet7");
		assert_true(WAIT_FOR(&d, !strcmp(port("vnet7")->name, "vnet7")));
		assert_true(port("vnet7")->from_vm);
		assert_int_equal(gate_ports_stats(d.p)->attached, 3);
		stop(&d);
		clean(NULL);
	}
}

/* The same number and name again, deleted and made between two looks: attached anew. */
static void test_same_ifindex_again(void **state)
{
	struct daemon d;

	host(1);
	configure(&d, GATE_HOOK_TCX);
	start(&d);
	uint32_t g0 = if_nametoindex("g0");
	nsbox_run("ip link del g0 && ip link add g0 index %u type veth peer name g0_p && "
		  "ip link set g0 master br0",
		  g0);
	assert_true(WAIT_FOR(&d, note_of(g0)->downs == 1 && note_of(g0)->from_vm));
	assert_int_equal(gate_attach_check(d.a, g0, GATE_FROM_VM), 1);
	stop(&d);
}

/* To another namespace and back: gone, and a port again. */
static void test_namespace_and_back(void **state)
{
	struct daemon d;

	host(1);
	configure(&d, GATE_HOOK_TCX);
	start(&d);
	uint32_t g0 = if_nametoindex("g0");
	nsbox_run("mkdir -p /run/netns && ip netns add gt25-%d && ip link set g0 netns gt25-%d",
		  getpid(), getpid());
	assert_true(WAIT_FOR(&d, note_of(g0)->downs == 1));
	nsbox_run("ip netns exec gt25-%d ip link set g0 netns %d && ip netns del gt25-%d && "
		  "ip link set g0 master br0",
		  getpid(), getpid(), getpid());
	assert_true(WAIT_FOR(&d, port("g0")->from_vm));
	assert_int_equal(gate_attach_check(d.a, if_nametoindex("g0"), GATE_FROM_VM), 1);
	stop(&d);
}

static void test_churn(void **state)
{
	struct daemon d;

	host(1);
	configure(&d, GATE_HOOK_TCX);
	start(&d);
	unsigned before = pins(&d);
	for (int i = 0; i < 50; i++) {
		plug("c0", "br0");
		if (i % 3)
			run_for(&d, (uint64_t)i % 3 * 5);
		nsbox_run("ip link del c0");
	}
	plug("last", "br0");
	assert_true(WAIT_FOR(&d, port("last")->from_vm && port("last")->to_vm));
	assert_int_equal(from_vms(), 2);
	if (nsbox_has_tcx())
		assert_int_equal(pins(&d), before + 2);
	stop(&d);
}

/* More events than the socket holds: everything is listed anew, nothing is missed. */
static void test_overrun(void **state)
{
	struct daemon d;

	host(1);
	nsbox_run("ip link add old type veth peer name old_p && ip link set old master br0");
	configure(&d, GATE_HOOK_TCX);
	gate_ports_rcvbuf = 4096;
	start(&d);
	uint32_t old = if_nametoindex("old");
	nsbox_run("ip link del old");
	for (int i = 0; i < 20; i++) {
		char name[16];
		snprintf(name, sizeof(name), "o%d", i);
		plug(name, "br0");
	}
	assert_true(WAIT_FOR(&d, from_vms() == 21));
	assert_true(gate_ports_stats(d.p)->overruns > 0);
	assert_int_equal(note_of(old)->downs, 1);
	stop(&d);
}

static void test_bridge_comes_later(void **state)
{
	struct daemon d;

	configure(&d, GATE_HOOK_TCX);
	start(&d);
	assert_true(find_problem("bridge_missing", "br0") >= 0);
	assert_true(find_problem("uplink_missing", "up0") >= 0);
	assert_true(find_problem("no_uplink", "") >= 0);
	host(1);
	assert_true(WAIT_FOR(&d, port("g0")->from_vm));
	assert_true(WAIT_FOR(&d, find_problem("no_uplink", "") < 0));
	assert_int_equal(find_problem("bridge_missing", "br0"), -1);
	assert_int_equal(find_problem("uplink_missing", "up0"), -1);

	/* deleted and made again: never let go */
	uint32_t g0 = if_nametoindex("g0");
	nsbox_run("ip link del br0");
	assert_true(WAIT_FOR(&d, find_problem("bridge_missing", "br0") >= 0));
	assert_int_equal(note_of(g0)->downs, 0);
	nsbox_run("ip link add br0 type bridge && ip link set g0 master br0");
	assert_true(WAIT_FOR(&d, find_problem("bridge_missing", "br0") < 0));
	assert_true(note_of(g0)->from_vm);
	assert_int_equal(note_of(g0)->downs, 0);

	/* into one that is not gated: at once */
	nsbox_run("ip link add br9 type bridge && ip link set g0 master br9");
	assert_true(WAIT_FOR(&d, note_of(g0)->downs == 1));
	nsbox_run("ip link set g0 master br0");
	assert_true(WAIT_FOR(&d, note_of(g0)->from_vm));

	/* out of it for good: in the end */
	gate_ports_linger_s = 1;
	nsbox_run("ip link set g0 nomaster");
	assert_true(WAIT_FOR(&d, note_of(g0)->downs == 2));
	stop(&d);
}

/* ---- other people ---- */

/* Somebody takes our link off: noticed without an event, put back, told. */
static void test_link_taken_off(void **state)
{
	struct daemon d;
	char path[GATE_PIN_PATH];

	if (!nsbox_has_tcx())
		skip();
	host(1);
	configure(&d, GATE_HOOK_TCX);
	start(&d);
	gate_pins_path(path, "%s/links/%u-from_vm", d.c.pin, if_nametoindex("g0"));
	int fd = bpf_obj_get(path);
	assert_int_equal(bpf_link_detach(fd), 0);
	close(fd);
	assert_true(WAIT_FOR(&d, ngaps == 1));
	assert_true(port("g0")->unjudged);
	assert_int_equal(port("g0")->flags, GATE_PORT_VM | GATE_PORT_JUDGED);
	assert_int_equal(gate_attach_check(d.a, if_nametoindex("g0"), GATE_FROM_VM), 1);
	assert_int_equal(gate_ports_stats(d.p)->reattached, 1);
	stop(&d);
}

/* The legacy hook: the qdisc goes, and nobody adds one: back after the pause. */
static void test_qdisc_deleted(void **state)
{
	struct daemon d;

	host(1);
	configure(&d, GATE_HOOK_TC);
	start(&d);
	nsbox_run("tc qdisc del dev g0 ingress");
	assert_true(WAIT_FOR(&d, !port("g0")->from_vm));
	assert_true(WAIT_FOR(&d, port("g0")->from_vm));
	assert_int_equal(ngaps, 1);
	assert_int_equal(gate_ports_stats(d.p)->reattached, 1);
	assert_true(gate_ports_stats(d.p)->unattached_ns > 0);
	assert_int_equal(gate_attach_check(d.a, if_nametoindex("g0"), GATE_FROM_VM), 1);
	stop(&d);
}

/*
 * What Proxmox, libvirt and OVS do around a plug: delete, then add one of their
 * own. Their command must not fail for our haste, and ends our pause.
 */
static void test_qdisc_deleted_and_added(void **state)
{
	struct daemon d;

	host(1);
	configure(&d, GATE_HOOK_TC);
	start(&d);
	for (int i = 0; i < 5; i++) {
		nsbox_run("tc qdisc del dev g0 ingress");
		assert_true(WAIT_FOR(&d, !port("g0")->from_vm));
		nsbox_run(
			"tc qdisc add dev g0 handle ffff: ingress && "
			"tc filter add dev g0 parent ffff: prio 50 protocol all u32 match u32 0 0");
		assert_true(WAIT_FOR(&d, port("g0")->from_vm));
	}
	assert_int_equal(ngaps, 5);
	assert_int_equal(nsbox_try("tc filter show dev g0 ingress | grep -q 'pref 50 u32'"), 0);
	/* a qdisc of theirs is not ours to delete */
	gate_ports_linger_s = 0;
	nsbox_run("ip link set g0 nomaster");
	assert_true(WAIT_FOR(&d, !port("g0")->from_vm));
	assert_int_equal(nsbox_try("tc filter show dev g0 ingress | grep -q 'pref 50 u32'"), 0);
	assert_int_equal(nsbox_try("tc filter show dev g0 ingress | grep -q gate25"), 1);
	stop(&d);
}

static void test_filter_deleted(void **state)
{
	struct daemon d;

	host(1);
	configure(&d, GATE_HOOK_TC);
	start(&d);
	nsbox_run("tc filter del dev g0 ingress prio 1");
	assert_true(WAIT_FOR(&d, ngaps == 1));
	assert_true(port("g0")->from_vm);
	stop(&d);
}

/* A hook that is taken is a problem with a remedy; tried again until it is free. */
static void test_failure_is_told_and_retried(void **state)
{
	struct daemon d;
	char key[16];

	host(1);
	nsbox_run("tc qdisc add dev up0 ingress");
	configure(&d, GATE_HOOK_TC);
	start(&d);
	snprintf(key, sizeof(key), "%u", if_nametoindex("up0"));
	int i = find_problem("backstop_unattached", key);
	assert_true(i >= 0);
	assert_non_null(strstr(problems[i].message, "tc qdisc del dev up0 ingress"));
	assert_true(port("g0")->from_vm);
	nsbox_run("tc qdisc del dev up0 ingress");
	assert_true(WAIT_FOR(&d, find_problem("backstop_unattached", key) < 0));
	assert_int_equal(gate_attach_check(d.a, if_nametoindex("up0"), GATE_UPLINK_OUT), 1);
	stop(&d);
}

/* ---- configuration ---- */

/* Filters of a block that several devices share cannot be put on one of them. */
static void test_shared_block(void **state)
{
	struct daemon d;

	host(2);
	nsbox_run("tc qdisc add dev g0 ingress_block 5 ingress && "
		  "tc qdisc add dev g1 ingress_block 5 ingress");
	configure(&d, GATE_HOOK_TC);
	start(&d);
	const int at = find_problem("port_unattached", NULL);
	assert_true(at >= 0);
	assert_non_null(strstr(problems[at].message, "share"));
	assert_int_equal(port("g0")->flags, GATE_PORT_VM); /* the backstop's */
	stop(&d);
}

static void test_reconfigure(void **state)
{
	struct daemon d;
	struct gate_config c;

	host(1);
	nsbox_run("ip link add br1 type bridge");
	plug("h0", "br1");
	configure(&d, GATE_HOOK_TCX);
	start(&d);
	assert_true(port("g0")->from_vm && port("g0")->to_vm && !port("h0")->from_vm);

	/* no to_vm, no backstop: from_vm stays where it is */
	c = d.c;
	c.to_vm_set = true;
	c.to_vm = false;
	c.backstop = false;
	assert_int_equal(gate_ports_reconfigure(d.p, &c, NULL), 0);
	assert_true(port("g0")->from_vm && !port("g0")->to_vm && !port("g0")->unjudged);
	assert_int_equal(gate_attach_present(d.a, if_nametoindex("g0"), GATE_TO_VM), 0);
	assert_int_equal(gate_attach_present(d.a, if_nametoindex("up0"), GATE_UPLINK_OUT), 0);

	/* another bridge */
	assert_int_equal(gate_ports_reconfigure(d.p, &d.c, NULL), 0);
	c = d.c;
	c.bridges = (struct gate_globs){ .pattern = br1_globs, .count = 1 };
	assert_int_equal(gate_ports_reconfigure(d.p, &c, NULL), 0);
	assert_true(WAIT_FOR(&d, port("h0")->from_vm && port("h0")->to_vm));
	assert_int_equal(port("g0")->downs, 1);
	assert_int_equal(gate_attach_present(d.a, if_nametoindex("g0"), GATE_FROM_VM), 0);
	stop(&d);
}

/* The uplink is the gate: nothing on ports. */
static void test_uplink_mode(void **state)
{
	struct daemon d;

	host(2);
	configure(&d, GATE_HOOK_TCX);
	d.c.uplink_mode = true;
	d.c.backstop = false;
	start(&d);
	assert_int_equal(from_vms(), 0);
	assert_int_equal(gate_attach_check(d.a, if_nametoindex("up0"), GATE_UPLINK_OUT), 1);
	assert_int_equal(pins(&d), 1);
	stop(&d);
}

/* SEMANTICS Identity 5: tap and fwln/fwpr are one path, gated at the tap. */
static void test_proxmox_firewall_bridge(void **state)
{
	struct daemon d;
	struct gate_port tap, fwpr;

	host(0);
	configure(&d, GATE_HOOK_TCX);
	start(&d);
	/* in the order of Proxmox's tap_plug */
	nsbox_run("ip tuntap add tap100i0 mode tap && ip link add fwbr100i0 type bridge && "
		  "ip link add fwln100i0 type veth peer name fwpr100p0 && "
		  "ip link set fwln100i0 master fwbr100i0 && ip link set fwpr100p0 master br0 && "
		  "ip link set tap100i0 master fwbr100i0");
	uint32_t t = if_nametoindex("tap100i0"), f = if_nametoindex("fwpr100p0");
	assert_true(WAIT_FOR(&d, note_of(t)->from_vm && note_of(t)->to_vm));
	assert_int_equal(from_vms(), 1);
	assert_int_equal(note_of(f)->ups, 0);
	assert_int_equal(bpf_map_lookup_elem(ports_map, &t, &tap), 0);
	assert_int_equal(bpf_map_lookup_elem(ports_map, &f, &fwpr), 0);
	assert_memory_equal(&tap, &fwpr, sizeof(tap));
	assert_int_equal(tap.flags,
			 GATE_PORT_VM | (nsbox_has_tcx() ? GATE_PORT_JUDGED : GATE_PORT_STAMPED));

	/* the engine of another daemon is not to take its entry for a port that is gone */
	stop(&d);
	start(&d);
	assert_int_equal(note_of(f)->forgotten, 1);
	assert_int_equal(note_of(t)->forgotten, 0);
	assert_int_equal(note_of(f)->downs, 0);
	assert_int_equal(bpf_map_lookup_elem(ports_map, &f, &fwpr), 0);
	assert_memory_equal(&tap, &fwpr, sizeof(tap));

	nsbox_run("ip link del tap100i0");
	assert_true(WAIT_FOR(&d, note_of(t)->downs == 1));
	assert_true(WAIT_FOR(&d, bpf_map_lookup_elem(ports_map, &f, &fwpr) != 0));
	stop(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_all_attached_at_start, clean),
		cmocka_unit_test_teardown(test_restart_adopts, clean),
		cmocka_unit_test_teardown(test_stale_entries_are_swept, clean),
		cmocka_unit_test_teardown(test_hotplug, clean),
		cmocka_unit_test_teardown(test_same_ifindex_again, clean),
		cmocka_unit_test_teardown(test_namespace_and_back, clean),
		cmocka_unit_test_teardown(test_churn, clean),
		cmocka_unit_test_teardown(test_overrun, clean),
		cmocka_unit_test_teardown(test_bridge_comes_later, clean),
		cmocka_unit_test_teardown(test_link_taken_off, clean),
		cmocka_unit_test_teardown(test_qdisc_deleted, clean),
		cmocka_unit_test_teardown(test_qdisc_deleted_and_added, clean),
		cmocka_unit_test_teardown(test_filter_deleted, clean),
		cmocka_unit_test_teardown(test_failure_is_told_and_retried, clean),
		cmocka_unit_test_teardown(test_shared_block, clean),
		cmocka_unit_test_teardown(test_reconfigure, clean),
		cmocka_unit_test_teardown(test_uplink_mode, clean),
		cmocka_unit_test_teardown(test_proxmox_firewall_bridge, clean),
	};

	nsbox_enter();
	return cmocka_run_group_tests_name("ports", tests, NULL, NULL);
}
