#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""The backstop at the uplink, and the gate there where no port of a VM exists."""

import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import bpfprog
import harness
from harness import cases, setup
from lab import SERVER, SERVER4, SILENT4

SHORT = 0.6
CLOSED = {"default": {"state": "block"}}


@setup(config=CLOSED)
@cases(ipv4=4, ipv6=6)
def test_backstop_holds_a_port_that_appears_while_the_daemon_is_down(lab, case):
    lab.kill()
    guest, far = lab.add_guest(3), lab.sniff()
    assert guest.connect(SERVER[case], timeout=SHORT) == "timeout"
    assert not far.syns()
    assert guest.connect(SERVER[case], 587) == "ok"
    lab.start()
    lab.wait_hooked("vnet3")
    assert guest.connect(SERVER[case]) == "ECONNREFUSED"


@setup(config={"default": {"state": "limit", "rate": "4/h", "burst": 4}})
def test_backstop_has_one_bucket_for_all_unknown_sources(lab):
    lab.kill()
    guests, far = [lab.add_guest(n) for n in (3, 4)], lab.sniff()
    for guest in guests:
        guest.wire.send(*(guest.syn(SILENT4, 4000 + i, smac=f"52:54:00:aa:{guest.n:02x}:{i:02x}")
                          for i in range(20)))
    assert len(far.syns()) == 4


@setup(config=CLOSED)
def test_backstop_sees_ports_in_the_moment_they_appear(lab):
    """Frames from the first moment on, while the daemon attaches: none gets out."""
    far = lab.sniff()
    for n in range(3, 13):
        guest = lab.add_guest(n)
        while not lab.hooked(guest.port):
            guest.wire.send(*(guest.syn(SILENT4, 4000 + i) for i in range(20)))
        guest.wire.send(*(guest.syn(SILENT4, 5000 + i) for i in range(20)))
    assert not far.syns()


@setup(config={**CLOSED, "gate": {"backstop": "no"}})
def test_backstop_off_is_off(lab):
    lab.kill()
    guest = lab.add_guest(3)
    assert guest.connect(SERVER4) == "ok"


@setup(config=CLOSED)
def test_backstop_lets_the_hosts_own_mail_pass_and_counts_it(lab):
    lab.host.ip("addr add 10.25.254.1/16 dev br0", "route add default via 10.25.255.1")
    before = lab.status()["reasons"].get("host", 0)
    with lab.host.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.settimeout(5)
        sock.connect((SERVER4, 25))
        assert sock.recv(100).startswith(b"220")
    assert lab.status()["reasons"]["host"] > before


@setup(config={**CLOSED, "gate": {"vm_ports": "vnet1"}})
@cases(**{"pass": ("pass", True), "default": ("default", False)})
def test_backstop_forwarded_traffic_of_no_vm_follows_the_setting(lab, case):
    word, passes = case
    lab.stop()
    lab.configure({"gate": {"forwarded": word}})
    lab.start()
    far, guest = lab.sniff(), lab.guest(2)
    guest.wire.send(guest.syn(SILENT4, 4000))
    if passes:
        lab.poll(lambda: far.syns(sport=4000), 5, "forwarded frame")
        assert lab.status()["reasons"]["forwarded"] >= 1
    else:
        guest.wire.send(guest.syn(SILENT4, 4001, dport=80))
        lab.poll(lambda: far.syns(port=80), 5, "frame to port 80")
        assert not far.syns(sport=4000)


@setup(config={**CLOSED, "gate": {"mode": "uplink"}})
@cases(mac={"macs": True}, ip={"ips": True})
def test_uplink_mode_gates_by_registered_source(lab, case):
    guest, other = lab.guest(1), lab.guest(2)
    body = {"ports": [], "macs": [guest.mac] if "macs" in case else [],
            "ips": [guest.ip4] if "ips" in case else []}
    status, answer = lab.http("PUT", "/v1/vms/web1?mode=create", body)
    assert status in (200, 201), answer
    lab.cli("allow", "vm:web1")
    with lab.expect("vm:web1", flows_admitted=1):
        assert guest.connect(SERVER4) == "ok"
    far = lab.sniff()
    assert other.connect(SERVER4, timeout=SHORT) == "timeout"
    assert not far.syns()
    lab.cli("block", "vm:web1")
    with lab.expect("vm:web1", flows_blocked=1, resets_sent=0):
        assert guest.connect(SERVER4, timeout=SHORT) == "timeout"


@setup(config={"gate": {"mode": "uplink"}, "default": {"state": "limit", "rate": "3/h", "burst": 3}})
def test_uplink_mode_unknown_sources_share_one_bucket(lab):
    guest, far = lab.guest(1), lab.sniff()
    guest.wire.send(*(guest.syn(SILENT4, 4000 + i, smac=f"52:54:00:aa:00:{i:02x}")
                      for i in range(20)))
    assert len(far.syns()) == 3


@setup(config={"gate": {"bridges": "br0 br1"}, "default": {"state": "limit", "rate": "1/h"}},
       start=False)
def test_a_cable_between_bridges_is_no_vm(lab):
    """Both guests are gated where they are plugged in, and not once more together."""
    lab.host.ip("link add br1 type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
                "link set br1 up", "link add up1 type veth peer name down1",
                "link set down1 master br0", "link set up1 master br1", "link set up1 up",
                "link set down1 up", "link set vnet1 master br1", "link set vnet2 master br1")
    lab.start()
    assert {p["name"] for p in lab.status()["ports"] if p["role"] == "vm"} == {"vnet1", "vnet2"}
    for n in (1, 2):
        with lab.expect(f"port:vnet{n}", flows_admitted=1):
            assert lab.guest(n).connect(SERVER4) == "ok"
    # on its own it is a port, until it becomes a cable
    lab.host.ip("link set up1 nomaster")
    port = lambda: {p["name"] for p in lab.status()["ports"] if p["role"] == "vm"}
    lab.poll(lambda: "down1" in port(), 5, "port")
    lab.host.ip("link set up1 master br1")
    lab.poll(lambda: "down1" not in port(), 5, "cable")


@setup(config=CLOSED)
@cases(backstop="ports", gate="uplink")
def test_another_program_before_the_one_at_the_uplink_is_told(lab, case):
    """What it accepts passes: at the uplink there is nothing behind us that could judge it."""
    lab.stop()
    lab.configure({"gate": {"mode": case}})
    lab.start()
    said = lambda: [p for p in lab.status()["problems"] if p["code"] == "uplink_out_not_first"]
    program = bpfprog.load(bpfprog.OK)
    lab.stack.callback(os.close, program)
    link = bpfprog.attach(lab.host, "eth0", program, bpfprog.EGRESS, bpfprog.BEFORE)
    lab.poll(said, 10, "notice of the other program")
    assert "eth0" in said()[0]["message"]
    if case == "uplink":
        assert lab.guest(1).connect(SERVER4) == "ok"
    lab.restart()
    assert said()
    os.close(link)
    lab.poll(lambda: not said(), 10, "end of the notice")
    if case == "uplink":
        assert lab.guest(1).connect(SERVER4, timeout=SHORT) == "timeout"
    # behind us it takes nothing away
    link = bpfprog.attach(lab.host, "eth0", program, bpfprog.EGRESS)
    lab.restart()
    assert not said()
    os.close(link)


harness.main()
