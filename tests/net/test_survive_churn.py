#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Ports that come, go, move, change names and owners; lost and interrupted netlink."""

import json
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import bpfprog
import harness
from harness import cases, setup
from lab import SERVER4, SILENT4
from netns import Namespace
from load import census, syns
from witness import witness

CYCLES = 1000
CLOSED = {"default": {"state": "block"}}
OTHER_MAC = "52:54:00:ee:00:07"
SHORT = 0.4


def cycle(name, bridge="br0"):
    """Commands that make a port, plug it in and take it away again."""
    return [f"link add {name} type veth peer name {name}p",
            f"link set {name} master {bridge}", f"link set {name} up", f"link del {name}"]


def pins(lab):
    """ifindexes that links are pinned for."""
    return {int(name.split("-")[0]) for name in os.listdir(os.path.join(lab.pin, "links"))
            if name[0].isdigit()}


def live(lab):
    return {p["ifindex"] for p in lab.status()["ports"]}


def wait_tidy(lab):
    """Pins, the map of ports and what the daemon knows are of the same links."""
    def entries():
        return next(m["entries"] for m in lab.status()["maps"] if m["name"] == "ports")
    lab.poll(lambda: pins(lab) == live(lab), 20, "end of stale pins")
    links = len(json.loads(lab.host.run(["ip", "-j", "link"]).stdout))
    lab.poll(lambda: entries() <= links, 10, f"end of stale entries: {entries()}, {links} links")
    assert all(p["from_vm"] for p in lab.status()["ports"] if p["role"] == "vm")


@setup(guests=3)
def test_ports_come_and_go(lab):
    with witness(lab) as w:
        for _ in range(CYCLES // 50):
            lab.host.ip(*cycle("tap9") * 50)
            w.check_progress()
        lab.poll(lambda: len(live(lab)) == 4, 30, "end of tap9")
        wait_tidy(lab)
    assert not lab.status()["problems"]


def there(lab):
    """Ports of the VM that are there now; a registered one that is not has no ifindex."""
    return [p for p in lab.show("vm:web1")["ports"] if p["ifindex"]]


class Customer:
    """A registered VM with a budget, of which 3 of 6 flows are spent."""

    def __init__(self, lab):
        self.lab = lab
        lab.register(1, tenant="acme")
        lab.cli("limit", "tenant:acme", "--rate", "100/h")
        lab.cli("budget", "tenant:acme", "--rate", "6/h")
        self.flows(3)
        self.admitted = lab.counters("vm:web1")["flows_admitted"]
        assert self.admitted == 3

    def flows(self, n):
        results = [self.lab.guest(1).connect(SERVER4, timeout=SHORT) for _ in range(n)]
        assert results == ["ok"] * n, results

    def check(self, port="vnet1"):
        """Still the same one, with all that it has counted, and one flow poorer."""
        lab = self.lab
        lab.poll(lambda: lab.hooked(port), 10, f"from_vm on {port}")
        lab.poll(lambda: [p["name"] for p in there(lab)] == [port], 5, f"{port} at the VM")
        assert lab.counters("vm:web1")["flows_admitted"] == self.admitted
        self.flows(1)
        self.admitted += 1
        assert lab.counters("vm:web1")["flows_admitted"] == self.admitted

    def end(self):
        """The budget was one and the same all along."""
        left = 6 - self.admitted
        self.flows(left)
        assert self.lab.guest(1).connect(SERVER4, timeout=SHORT) == "timeout"


def replug(lab, guest):
    before = there(lab)[0]["ifindex"]
    guest.unplug()
    guest.plug()
    lab.poll(lambda: [p for p in there(lab) if p["ifindex"] != before], 5, "another ifindex")


def rename_back_and_forth(lab, guest):
    lab.host.ip("link set vnet1 down", "link set vnet1 name vnet77", "link set vnet77 up")
    lab.poll(lambda: lab.hooked("vnet77"), 5, "from_vm under the other name")
    assert [p["name"] for p in there(lab)] == ["vnet77"]
    lab.host.ip("link set vnet77 down", "link set vnet77 name vnet1", "link set vnet1 up")


def other_bridge(lab, guest):
    lab.host.ip("link add br1 type bridge stp_state 0 forward_delay 0", "link set br1 up",
                "link set vnet1 master br1")
    lab.poll(lambda: lab.hooked("vnet1"), 5, "from_vm in the other bridge")
    assert guest.connect(SERVER4, 587, timeout=SHORT) in ("timeout", "EHOSTUNREACH")
    lab.host.ip("link set vnet1 master br0", "link del br1")


def other_namespace(lab, guest):
    away = Namespace("away")
    try:
        lab.host.ip(f"link set vnet1 netns {away.path}")
        lab.poll(lambda: not there(lab), 5, "end of the port")
        away.ip(f"link set vnet1 netns {lab.host.path}")
        lab.host.ip("link set vnet1 master br0", "link set vnet1 up")
    finally:
        away.close()


def bridge_made_again(lab, guest):
    lab.host.ip("link del br0")
    lab.poll(lambda: any(p["code"] == "bridge_missing" and "br0" in p["message"]
                         for p in lab.status()["problems"]), 5, "end of the bridge")
    lab.host.ip("link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
                "link set br0 up", "link set eth0 master br0", "link set vnet1 master br0",
                "link set vnet2 master br0")


def while_dead(lab, guest):
    lab.kill()
    guest.unplug()
    guest.plug()
    lab.start()


MOVES = {"new_ifindex": replug, "renamed": rename_back_and_forth, "other_bridge": other_bridge,
         "other_namespace": other_namespace, "bridge_made_again": bridge_made_again,
         "while_the_daemon_was_dead": while_dead}


@setup(config={"gate": {"bridges": "br0, br1"}})
@cases(**MOVES)
def test_counters_and_budget_stay_with_the_vm(lab, case):
    customer = Customer(lab)
    case(lab, lab.guest(1))
    customer.check()
    customer.end()


@setup(config={"gate": {"bridges": "br0, br1"}})
def test_counters_and_budget_stay_with_the_vm_through_all_of_it(lab):
    customer = Customer(lab)
    for move in (replug, other_bridge, while_dead):
        move(lab, lab.guest(1))
        customer.check()
    customer.end()


def bridge_again(lab):
    lab.host.ip("link del br0", "link add br0 type bridge stp_state 0 forward_delay 0 "
                "mcast_snooping 0", "link set br0 up", "link set eth0 master br0",
                *(f"link set vnet{n} master br0" for n in lab.guests))


def other_gated_bridge(lab):
    """Its members go over, one after another."""
    lab.host.ip("link add br1 type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
                "link set br1 up", "link set eth0 master br1",
                *(f"link set vnet{n} master br1" for n in lab.guests))
    lab.host.ip("link set eth0 master br0",
                *(f"link set vnet{n} master br0" for n in lab.guests), "link del br1")


def out_and_in(lab):
    lab.host.ip(*(f"link set vnet{n} {where}" for n in lab.guests
                  for where in ("nomaster", "master br0")))


def offloads(lab):
    """Of a tap that is opened anew, as its segmentation and checksums go on and off."""
    for word in ("off", "on"):
        lab.host.run(["ethtool", "-K", "vnet1", "tx", word, "rx", word, "gro", word, "tso", word,
                      "gso", word], check=False)


def xdp_of_others(lab):
    """Somebody's XDP program comes and goes."""
    program = bpfprog.load(bpfprog.XDP_PASS, kind=bpfprog.XDP)
    for _ in range(5):
        os.close(bpfprog.attach(lab.host, "vnet1", program, hook=bpfprog.XDP_HOOK))
    os.close(program)


PORTS = 1000


@setup(guests=3, start=False, config={"gate": {"max_vms": 2048, "flows_per_vm": 64}})
def test_1000_ports(lab):
    """All of them are gated when the daemon answers, and adopted by the next as they are."""
    lab.host.ip(*(line for n in range(PORTS) for line in (
        f"link add p{n} type veth peer name q{n}", f"link set p{n} master br0")))
    gated = lambda: {p["name"] for p in lab.status()["ports"] if p["from_vm"] and p["to_vm"]}
    lab.start(timeout=60)
    assert len(gated()) == PORTS + 3
    with witness(lab) as w:
        for sizes in ({}, {"max_vms": 4096}):  # on the same maps, and on new ones
            lab.stop()
            lab.configure({"gate": sizes})
            lab.start(timeout=60)
            assert len(gated()) == PORTS + 3
            w.check_progress()


CHURN = {"bridge_made_again": bridge_again, "other_gated_bridge": other_gated_bridge,
         "out_and_in": out_and_in, "offloads": offloads, "xdp_of_others": xdp_of_others}


@setup(config={"gate": {"bridges": "br0, br1"}})
@cases(**CHURN)
def test_not_one_frame_through_the_churn(lab, case):
    """Blocked by a policy of its own, the default open: never open for the time of a change."""
    lab.cli("block", "port:vnet1")
    far = census(lab)
    flood = syns(lab, 1, SILENT4, per_s=2000)
    end = time.monotonic() + 2
    while time.monotonic() < end:
        case(lab)
        lab.status()
    sent = flood.stop()["sent"]
    assert far.count(lab.guest(1)) == 0
    assert sent > 500, sent
    lab.poll(lambda: lab.guest(2).connect(SERVER4, timeout=SHORT) == "ok", 10, "the other guest")


@setup(config={"default": {"state": "limit", "rate": "3/h", "burst": 3}})
@cases(same_guest=True, another_guest=False)
def test_a_recycled_name(lab, case):
    """An unregistered port made anew: the guest with the same MAC goes on, another begins."""
    guest = lab.guest(1)
    results = [guest.connect(SERVER4, timeout=SHORT) for _ in range(4)]
    assert results == ["ok"] * 3 + ["timeout"], results
    spent = lab.counters("port:vnet1")["flows_admitted"]
    guest.unplug()
    lab.poll(lambda: not lab.hooked("vnet1"), 5, "end of the port")
    if not case:
        guest.mac = OTHER_MAC
    guest.plug()
    lab.wait_hooked("vnet1")
    if case:
        assert guest.connect(SERVER4, timeout=SHORT) == "timeout"
        assert lab.counters("port:vnet1")["flows_admitted"] == spent == 3
        return
    # Its first frame tells that it is another; the second has a bucket of its own.
    guest.connect(SERVER4, timeout=SHORT)
    lab.poll(lambda: lab.counters("port:vnet1")["flows_admitted"] < spent, 5, "its own counters")
    # By the host's sums nothing is lost.
    assert lab.status()["totals"]["flows_admitted"] >= spent
    results = [guest.connect(SERVER4, timeout=SHORT) for _ in range(4)]
    assert results[-1] == "timeout" and results[0] == "ok", results


@setup(config=CLOSED)
def test_a_name_that_was_a_vms_is_the_next_guests(lab):
    """A registered VM goes to another port; who gets the old one gets nothing with it."""
    vm = lab.register(1)
    lab.cli("allow", vm)
    assert lab.guest(1).connect(SERVER4) == "ok"
    lab.guest(1).unplug()
    lab.cli("vm", "set", "web1", "--port", "vnet5")
    guest = lab.guest(2)
    guest.unplug()
    guest.port = "vnet1"
    guest.plug()
    lab.wait_hooked("vnet1")
    assert guest.connect(SERVER4) == "ECONNREFUSED"
    assert lab.counters("port:vnet1")["flows_admitted"] == 0
    assert lab.counters(vm)["flows_admitted"] == 1


def events(lab, count=8000):
    """More than a receive buffer of 8 MB holds, with its overhead."""
    lab.host.ip("link add dull type veth peer name dullp",
                *(f"link set dull mtu {1400 + n % 2}" for n in range(count)), "link del dull")


@setup(guests=3)
def test_lost_events(lab):
    """More events than the socket holds while the daemon does not read: all is listed anew."""
    lab.daemon.send_signal(signal.SIGSTOP)
    try:
        events(lab)
        lab.guest(2).unplug()
        guest = lab.add_guest(7)
        events(lab)
    finally:
        lab.daemon.send_signal(signal.SIGCONT)
    lab.wait_hooked(guest.port, 30)
    lab.poll(lambda: "link events were lost" in lab.log(), 5, "overrun")
    assert {p["name"] for p in lab.status()["ports"]} == {"eth0", "vnet1", "vnet3", "vnet7"}
    wait_tidy(lab)
    lab.cli("block", "port:vnet7")
    assert guest.connect(SERVER4) == "ECONNREFUSED"


@setup(guests=3)
def test_interrupted_dumps(lab):
    """Links change all the time while the daemon lists them, at its start and after."""
    lab.cli("block", "port:vnet1")
    lab.kill()
    text = "\n".join(cycle("tapc") * 5000) + "\n"
    with lab.host.popen(["ip", "-batch", "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL) as churn:
        try:
            churn.stdin.write(text.encode()[:1 << 16])
            churn.stdin.flush()
            for _ in range(5):
                lab.start()
                assert {"vnet1", "vnet2", "vnet3"} <= {
                    p["name"] for p in lab.status()["ports"] if p["from_vm"]}
                assert lab.guest(1).connect(SERVER4) == "ECONNREFUSED"
                lab.kill()
        finally:
            churn.kill()
    if "tapc" in lab.host.run(["ip", "-o", "link"]).stdout:
        lab.host.ip("link del tapc")
    lab.start()
    wait_tidy(lab)


@setup(guests=5)
@cases(tcx="tcx", tc="tc")
def test_pins_of_ports_that_went_while_nobody_looked(lab, case):
    lab.stop()
    lab.configure({"gate": {"hook": case}})
    lab.start()
    lab.kill()
    for n in (1, 2, 3):
        lab.guest(n).unplug()
    lab.start()
    assert {p["name"] for p in lab.status()["ports"]} == {"eth0", "vnet4", "vnet5"}
    if case == "tcx":
        wait_tidy(lab)
    else:
        assert pins(lab) <= live(lab)
    far, guest = lab.sniff(), lab.guest(4)
    lab.cli("block", "port:vnet4")
    guest.wire.send(guest.syn(SILENT4, 4000))
    lab.poll(lambda: lab.counters("port:vnet4")["flows_blocked"] == 1, 5, "the refusal")
    assert not far.syns()


harness.main()
