#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Identity: which VM a frame is counted to and whose policy it meets."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import harness
from harness import cases, setup
from lab import SERVER, SERVER4, SILENT4
from wire import ACK, SYN

SHORT = 0.6
CLOSED = {"default": {"state": "block"}}
OTHER_MAC = "52:54:00:ee:00:01"


def notices(lab, subject):
    """Text of the events kept for a subject."""
    return lab.http("GET", f"/v1/events?subject={subject}")[1]


def test_identity_1_unregistered_port_is_a_vm_of_its_own(lab):
    lab.guest(1).connect(SERVER4)
    shown = lab.show("port:vnet1")
    assert shown["subject"] == "port:vnet1" and not shown["registered"]
    assert lab.show("vnet1")["subject"] == "port:vnet1"
    assert lab.run_cli("show", "vm:vnet1")[0] == 3


@setup(config=CLOSED)
def test_identity_1_another_mac_drops_a_laxer_policy(lab):
    guest = lab.guest(1)
    lab.cli("allow", "port:vnet1")
    far = lab.sniff()
    with lab.expect("port:vnet1", flows_admitted=1):
        assert guest.connect(SERVER4) == "ok"
    # The very first frame of the other guest is judged without the first one's grant.
    with lab.expect("port:vnet1", flows_blocked=1):
        guest.wire.send(guest.syn(SILENT4, 4000, smac=OTHER_MAC))
    assert not far.syns(sport=4000)
    lab.poll(lambda: lab.show("port:vnet1")["effective"]["source"] == "default", 5,
             "end of the laxer policy")
    with lab.expect("port:vnet1", flows_blocked=1):
        assert guest.connect(SERVER4) == "ECONNREFUSED"
    assert OTHER_MAC in notices(lab, "port:vnet1")


def test_identity_1_another_mac_keeps_a_stricter_policy(lab):
    guest = lab.guest(1)
    lab.cli("limit", "port:vnet1", "--rate", "1/h")
    assert guest.connect(SERVER4) == "ok"
    with lab.expect("port:vnet1", flows_limited=1):
        guest.wire.send(guest.syn(SILENT4, 4000, smac=OTHER_MAC))
    lab.poll(lambda: OTHER_MAC in notices(lab, "port:vnet1"), 5, "event")
    assert lab.show("port:vnet1")["effective"]["source"] == "port:vnet1"
    assert guest.connect(SERVER4, timeout=SHORT) == "timeout"


@setup(config=CLOSED)
def test_identity_1_registering_moves_policy_and_counters(lab):
    guest = lab.guest(1)
    lab.cli("allow", "port:vnet1", "--reason", "first")
    assert guest.connect(SERVER4) == "ok"
    said = lab.cli("vm", "add", "web1", "--port", "vnet1")
    assert "port:vnet1" in said, f"says nothing of what moved: {said}"
    shown = lab.show("vm:web1")
    assert shown["counters"]["flows_admitted"] == 1
    assert shown["effective"]["state"] == "allow" and shown["effective"]["source"] == "vm:web1"
    with lab.expect("vm:web1", flows_admitted=1):
        assert guest.connect(SERVER4) == "ok"
    assert lab.show("port:vnet1")["subject"] == "vm:web1"


@cases(mac=("--mac", "52:54:00:25:00:01"), ip=("--ip", "10.25.0.11"), port=("--port", "vnet1"))
def test_identity_2_second_claim_names_the_first(lab, case):
    lab.register(1)
    code, _, err = lab.run_cli("vm", "add", "web2", *case)
    assert code == 1 and "web1" in err and err.count("\n") == 1, (code, err)
    assert lab.run_cli("show", "vm:web2")[0] == 3


def test_identity_2_two_vms_behind_one_port_are_told_apart_by_mac(lab):
    guest = lab.guest(1)
    lab.cli("vm", "add", "inner1", "--port", "vnet1", "--mac", guest.mac)
    lab.cli("vm", "add", "inner2", "--port", "vnet1", "--mac", OTHER_MAC)
    lab.cli("block", "vm:inner2")
    far = lab.sniff()
    with lab.expect("vm:inner1", flows_admitted=1), lab.expect("vm:inner2", flows_blocked=1):
        assert guest.connect(SERVER4) == "ok"
        guest.wire.send(guest.syn(SILENT4, 4000, smac=OTHER_MAC))
    assert not far.syns(sport=4000)


def test_identity_2_a_port_is_not_shared_without_macs(lab):
    lab.cli("vm", "add", "inner1", "--port", "vnet1")
    code, _, err = lab.run_cli("vm", "add", "inner2", "--port", "vnet1", "--mac", OTHER_MAC)
    assert code == 1 and "inner1" in err, (code, err)


def test_identity_2_several_ports_share_one_set_of_buckets(lab):
    lab.cli("vm", "add", "web1", "--port", "vnet1", "--port", "vnet2")
    lab.cli("limit", "vm:web1", "--rate", "2/h")
    with lab.expect("vm:web1", flows_admitted=2, flows_limited=2):
        for n in (1, 2):
            assert lab.guest(n).connect(SERVER4) == "ok"
        for n in (1, 2):
            assert lab.guest(n).connect(SERVER4, timeout=SHORT) == "timeout"
    assert {p["name"] for p in lab.show("vm:web1")["ports"]} == {"vnet1", "vnet2"}


@setup(config=CLOSED)
@cases(mac=lambda guest: f"mac:{guest.mac}", ip=lambda guest: f"ip:{guest.ip4}",
       prefix=lambda guest: "ip:10.25.0.0/24")
def test_identity_3_learned_addresses_only_tighten(lab, case):
    guest = lab.guest(1)
    subject = case(guest)
    lab.cli("allow", subject)
    with lab.expect("port:vnet1", flows_blocked=1):
        assert guest.connect(SERVER4) == "ECONNREFUSED"
    lab.cli("allow", "port:vnet1")
    lab.cli("block", subject)
    with lab.expect("port:vnet1", flows_blocked=1):
        assert guest.connect(SERVER4) == "ECONNREFUSED"


@setup(config=CLOSED)
@cases(mac=lambda guest: f"mac:{guest.mac}", ip=lambda guest: f"ip:{guest.ip4}",
       prefix=lambda guest: "ip:10.25.0.0/28")
def test_identity_3_registered_addresses_may_widen(lab, case):
    subject = case(lab.guest(1))
    vm = lab.register(1)
    lab.cli("allow", subject)
    with lab.expect(vm, flows_admitted=1):
        assert lab.guest(1).connect(SERVER4) == "ok"


@setup(config=CLOSED)
@cases(ipv4=4, ipv6=6)
def test_identity_3_a_forged_address_grants_nothing(lab, case):
    owner, forger = lab.guest(1), lab.guest(2)
    lab.register(1)
    lab.cli("allow", f"ip:{owner.address(case)}")
    lab.cli("allow", f"mac:{owner.mac}")
    far = lab.sniff()
    with lab.expect("port:vnet2", flows_blocked=2):
        forger.wire.send(forger.syn(SERVER[case], 4000, src=owner.address(case)),
                         forger.syn(SERVER[case], 4001, src=owner.address(case), smac=owner.mac))
    assert not far.syns()


@cases(registered=(True, "vm:web1 has registered it"),
       seen=(False, "port:vnet1 was seen to use it too"))
def test_identity_3_an_address_on_two_ports_is_told_and_grants_nothing(lab, case):
    registered, words = case
    owner, other = lab.guest(1), lab.guest(2)
    subject = lab.register(1) if registered else "port:vnet1"
    with lab.expect(subject, flows_admitted=1):
        assert owner.connect(SERVER4) == "ok"
    with lab.expect("port:vnet2", flows_admitted=1):
        other.wire.send(other.syn(SILENT4, 4000, src=owner.ip4))
    lab.poll(lambda: words in notices(lab, "port:vnet2"), 5, "event")
    lab.cli("block", "port:vnet2")
    lab.cli("allow", f"ip:{owner.ip4}")
    with lab.expect("port:vnet2", flows_blocked=1):
        other.wire.send(other.syn(SILENT4, 4001, src=owner.ip4))


@setup(config={"gate": {"binding": "strict"}})
@cases(**{"mac": {"smac": OTHER_MAC}, "ipv4": {"src": "10.25.0.200"}})
def test_identity_4_strict_refuses_what_is_not_registered(lab, case):
    vm = lab.register(1)
    guest, far = lab.guest(1), lab.sniff()
    with lab.expect(vm, flows_admitted=1):
        assert guest.connect(SERVER4) == "ok"
    with lab.expect(vm, spoofed=1, packets_dropped=1):
        guest.wire.send(guest.syn(SILENT4, 4000, **case))
    assert not far.syns(sport=4000)


@setup(config={"gate": {"binding": "strict"}})
def test_identity_4_strict_refuses_an_unregistered_ipv6_source(lab):
    vm = lab.register(1)
    guest, far = lab.guest(1), lab.sniff()
    with lab.expect(vm, spoofed=1, flows_admitted=1):
        guest.wire.send(guest.syn(SERVER[6], 4000, src="2001:db8:25::bad"))
        assert guest.connect(SERVER[6]) == "ok"
    assert not far.syns(sport=4000)


@setup(config={"gate": {"binding": "strict"}})
def test_identity_4_strict_leaves_other_ports_alone(lab):
    vm = lab.register(1)
    guest, far = lab.guest(1), lab.sniff()
    with lab.expect(vm, spoofed=0):
        guest.wire.send(guest.syn(SILENT4, 4000, dport=80, smac=OTHER_MAC))
        lab.poll(lambda: far.syns(port=80), 5, "frame to port 80")


@cases(learn=("learn", True), off=("off", False))
def test_identity_4_binding(lab, case):
    binding, reported = case
    vm = lab.register(1, binding=binding)
    guest, far = lab.guest(1), lab.sniff()
    with lab.expect(vm, flows_admitted=1):
        guest.wire.send(guest.syn(SILENT4, 4000, smac=OTHER_MAC, src="10.25.0.200"))
        lab.poll(lambda: far.syns(sport=4000), 5, "frame")
    if reported:
        lab.poll(lambda: OTHER_MAC in notices(lab, vm), 5, "event")
    else:
        assert OTHER_MAC not in notices(lab, vm)


@setup(guests=1, config={"gate": {"bridges": "br0, fwbr*"}})
def test_identity_5_proxmox_firewall_bridge_is_one_path(lab):
    guest = lab.put_behind_firewall(1)
    with lab.expect("port:tap100i0", flows_admitted=1):
        assert guest.connect(SERVER4) == "ok"
    assert lab.status()["totals"]["flows_admitted"] == 1
    lab.cli("block", "port:tap100i0")
    with lab.expect("port:tap100i0", flows_blocked=1):
        assert guest.connect(SERVER4) == "ECONNREFUSED"
    gated = {p["name"] for p in lab.status()["ports"] if p["role"] == "vm"}
    assert gated == {"tap100i0"}, gated


@setup(config={"default": {"state": "limit", "rate": "5/h", "burst": 5}})
def test_forging_100000_sources_gains_nothing(lab):
    """Random MACs and addresses bring no fresh bucket, no policy and no map entry."""
    guest, far = lab.guest(1), lab.sniff()
    entries = {m["name"]: m["entries"] for m in lab.status()["maps"]}
    total = 100000
    with lab.expect("port:vnet1", flows_admitted=5, flows_limited=total - 5):
        for start in range(0, total, 1000):
            guest.wire.send(*(guest.syn(SILENT4, 1024 + n % 60000,
                                        smac=f"52:54:{n >> 16 & 255:02x}:{n >> 8 & 255:02x}:"
                                             f"{n & 255:02x}:77",
                                        src=f"10.25.{n >> 8 & 127}.{n & 255}")
                              for n in range(start, start + 1000)))
    assert len(far.syns()) == 5
    after = {m["name"]: m["entries"] for m in lab.status()["maps"]}
    for name in ("macs", "ips", "mac_owner", "ip_owner", "ports"):
        assert after.get(name) == entries.get(name), (name, entries, after)
    with lab.expect("port:vnet2", flows_admitted=1):
        assert lab.guest(2).connect(SERVER4) == "ok"


def test_forged_flags_do_not_open_a_flow(lab):
    """A blocked guest's crafted first packets: no flag gets one through."""
    lab.cli("block", "port:vnet1")
    guest, far = lab.guest(1), lab.sniff()
    flags = [SYN, ACK, SYN | ACK, 0, 1, 1 | ACK, 8 | ACK, 0x29, 0x3f]
    with lab.expect("port:vnet1", flows_blocked=len(flags)):
        guest.wire.send(*(guest.syn(SILENT4, 5000 + i, flags=f) for i, f in enumerate(flags)))
    assert not far.segments(dport=25)


harness.main()
