#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Flows and limits: what is a new flow, what it costs, when it ends."""

import os
import socket
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import harness
from guest import ROUTER_MAC
from harness import cases, setup
from lab import SERVER, SERVER4, SILENT4, SILENT6
from wire import ACK, FIN, PSH, RST, SYN, ethernet, ipv4, ipv6, tcp

SHORT = 0.6
PORT = "port:vnet1"


def sent(lab, far, *frames, passed=True, sport=4000):
    """Sends frames from guest 1; waits for them on the far side if they are to pass."""
    before = len(far.segments(sport=sport))
    lab.guest(1).wire.send(*frames)
    if passed:
        lab.poll(lambda: len(far.segments(sport=sport)) >= before + len(frames), 5, "frames")


@cases(ack=ACK, fin=FIN, rst=RST, data=PSH | ACK, null=0, xmas=0x29, synack=SYN | ACK, syn=SYN)
def test_flows_1_first_packet_of_any_flags_is_a_new_flow(lab, case):
    far = lab.sniff()
    with lab.expect(PORT, flows_admitted=1):
        sent(lab, far, lab.guest(1).syn(SILENT4, 4000, flags=case))


@cases(ipv4=SILENT4, ipv6=SILENT6)
def test_flows_1_syn_retransmission_is_no_new_flow(lab, case):
    lab.cli("limit", PORT, "--rate", "1/h")
    far, syn = lab.sniff(), lab.guest(1).syn(case, 4000)
    with lab.expect(PORT, flows_admitted=1, packets_from_vm=5):
        sent(lab, far, *[syn] * 5)


def test_flows_1_syn_of_an_established_flow_pays(lab):
    guest = lab.guest(1)
    lab.cli("limit", PORT, "--rate", "2/h")
    held, _ = guest.open(SERVER4)
    assert held.recv(100).startswith(b"220")
    sport = held.getsockname()[1]
    with lab.expect(PORT, flows_admitted=1, flows_limited=1):
        guest.wire.send(guest.syn(SERVER4, sport), guest.syn(SILENT4, 4001))
    held.close()


def test_flows_1_a_port_used_again_is_a_new_flow(lab):
    guest = lab.guest(1)
    with lab.expect(PORT, flows_admitted=3):
        for _ in range(3):
            sock, result = guest.open(SERVER4, source=(guest.ip4, 4000))
            assert result == "ok"
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()


def test_flows_2_late_segments_of_a_closed_flow_cost_nothing(lab):
    guest, far = lab.guest(1), lab.sniff()
    lab.cli("limit", PORT, "--rate", "1/h")
    sock, _ = guest.open(SERVER4)
    address = sock.getsockname()
    assert sock.recv(100).startswith(b"220")
    sock.send(b"QUIT\r\n")
    while sock.recv(100):
        pass
    sock.close()
    lab.poll(lambda: lab.counters(PORT)["flows_active"] == 0, 5, "end of the flow")
    with lab.expect(PORT, flows_admitted=0, flows_limited=0):
        sent(lab, far, *(guest.syn(SERVER4, address[1], flags=f) for f in (ACK, FIN | ACK, RST)),
             sport=address[1])


@cases(concurrent=("--concurrent", 1), destinations=("--destinations", "1/h"))
def test_flows_3_a_refusal_takes_nothing(lab, case):
    """What one limit refuses has not been taken from the others."""
    guest = lab.guest(1)
    lab.cli("limit", PORT, "--rate", "2/h", *case)
    held, _ = guest.open(SERVER4)
    with lab.expect(PORT, flows_limited=5):
        guest.wire.send(*(guest.syn(SILENT4, 4000 + i) for i in range(5)))
    left = lab.show(PORT)["buckets"][0]["left"]
    assert 0.9 <= left <= 1.1, left
    held.close()


def test_flows_3_a_budget_refusal_gives_back_to_the_vm(lab):
    vm = lab.register(1, tenant="acme")
    lab.cli("limit", vm, "--rate", "5/h")
    lab.cli("budget", "tenant:acme", "--rate", "1/h")
    guest = lab.guest(1)
    with lab.expect(vm, flows_admitted=1, flows_limited=5):
        guest.wire.send(*(guest.syn(SILENT4, 4000 + i) for i in range(6)))
    left = lab.show(vm)["buckets"][0]["left"]
    assert 3.9 <= left <= 4.1, left


def test_flows_4_concurrent_beyond_the_table_is_refused(lab):
    code, _, err = lab.run_cli("limit", PORT, "--concurrent", 1000000)
    assert code == 2 and err.count("\n") == 1 and "concurrent" in err, (code, err)
    assert lab.state(PORT) == "allow"


def test_flows_4_active_flows_follow_opening_and_closing(lab):
    guest = lab.guest(1)
    held = [guest.open(SERVER4)[0] for _ in range(10)]
    assert lab.counters(PORT)["flows_active"] == 10
    for left in range(9, -1, -1):
        held.pop().close()
        lab.poll(lambda: lab.counters(PORT)["flows_active"] == left, 5, f"{left} active flows")


def test_flows_4_a_reset_ends_a_flow(lab):
    guest = lab.guest(1)
    assert guest.connect(SERVER4) == "ok"  # ends in a reset of the guest's
    lab.poll(lambda: lab.counters(PORT)["flows_active"] == 0, 5, "end of the flow")
    assert guest.connect("192.0.2.99") == "ECONNREFUSED"  # in one of the server's
    lab.poll(lambda: lab.counters(PORT)["flows_active"] == 0, 5, "end of the flow")
    assert lab.counters(PORT)["connects_refused"] == 1


@setup(config={"gate": {"to_vm": "no"}})
def test_flows_4_status_says_when_replies_are_not_seen(lab):
    assert any("to_vm" in p["code"] + p["message"] for p in lab.status()["problems"])
    held, _ = lab.guest(1).open(SERVER4)
    assert lab.counters(PORT)["flows_active"] == 1
    held.close()
    lab.poll(lambda: lab.counters(PORT)["flows_active"] == 0, 5, "end of the flow by its FIN")


def test_flows_4_a_full_table_hurts_nobody_else(lab):
    """One VM opens flows without end; its neighbour's connections and counts stay right."""
    noisy, quiet = lab.guest(1), lab.guest(2)
    held = [quiet.open(SERVER4)[0] for _ in range(20)]
    with lab.expect("port:vnet2", flows_admitted=0, flows_active=0):
        for start in range(0, 20000, 1000):
            noisy.wire.send(*(noisy.syn(SILENT4, 1024 + i) for i in range(start, start + 1000)))
        for sock in held:
            assert sock.recv(100).startswith(b"220")
            sock.send(b"NOOP\r\n")
            assert sock.recv(100).startswith(b"250")
    for sock in held:
        sock.close()


# ---- fragments; `offset` in octets

def fragment4(guest, dst, offset, payload, more=False, proto=6):
    return ethernet(guest.mac, ROUTER_MAC, 0x0800, ipv4(guest.ip4, dst, proto, payload,
                                                        offset=offset, more=more, ident=77))


def fragment6(guest, dst, offset, payload, more=False, proto=6):
    header = struct.pack("!BBHI", proto, 0, offset | more, 77)
    return ethernet(guest.mac, ROUTER_MAC, 0x86dd, ipv6(guest.ip6, dst, 44, header + payload))


TCP_HEAD = struct.pack("!HHIIBBHHH", 4000, 25, 1, 0, 5 << 4, SYN, 65535, 0, 0)
LATER = {"ipv4": (fragment4, SILENT4), "ipv6": (fragment6, SILENT6)}


def reached(far, frame):
    return frame in far.frames()


@cases(**LATER)
def test_flows_5_later_fragments_of_a_blocked_vm_are_dropped(lab, case):
    make, dst = case
    lab.cli("block", PORT)
    guest, far = lab.guest(1), lab.sniff()
    frame = make(guest, dst, 64, b"x" * 64)
    with lab.expect(PORT, fragments_dropped=1):
        guest.wire.send(frame)
    assert not reached(far, frame)


@cases(**LATER)
def test_flows_5_later_fragments_of_a_limited_vm_pass_and_are_counted(lab, case):
    make, dst = case
    lab.cli("limit", PORT, "--rate", "1/h")
    guest, far = lab.guest(1), lab.sniff()
    frame = make(guest, dst, 64, b"x" * 64)
    before = lab.status()["reasons"].get("fragment", 0)
    with lab.expect(PORT):
        guest.wire.send(frame)
        lab.poll(lambda: reached(far, frame), 5, "fragment")
    assert lab.status()["reasons"]["fragment"] == before + 1


@cases(**{f"{name}-{kind}": (*row, proto) for name, row in LATER.items()
          for kind, proto in (("udp", 17), ("gre", 47))})
def test_flows_5_later_fragments_that_are_no_tcp_pass(lab, case):
    make, dst, proto = case
    lab.cli("block", PORT)
    guest, far = lab.guest(1), lab.sniff()
    frame = make(guest, dst, 64, b"x" * 64, proto=proto)
    with lab.expect(PORT):
        guest.wire.send(frame)
        lab.poll(lambda: reached(far, frame), 5, "fragment")


@cases(**LATER)
def test_flows_5_first_fragments_are_judged_by_their_ports(lab, case):
    make, dst = case
    lab.cli("block", PORT, "--refuse", "drop")
    guest, far = lab.guest(1), lab.sniff()
    gated = make(guest, dst, 0, TCP_HEAD + b"x" * 44, more=True)
    other = make(guest, dst, 0, TCP_HEAD[:2] + b"\0\x50" + TCP_HEAD[4:] + b"x" * 44, more=True)
    with lab.expect(PORT, flows_blocked=1):
        guest.wire.send(gated, other)
        lab.poll(lambda: reached(far, other), 5, "first fragment of port 80")
    assert not reached(far, gated)


@cases(**{"ipv4-first": (fragment4, SILENT4, 0, b"\x0f\xa0\0", True),
          "ipv4-offset-8": (fragment4, SILENT4, 8, TCP_HEAD[8:], False),
          "ipv6-first": (fragment6, SILENT6, 0, b"", True)})
def test_flows_5_tiny_fragments_are_always_dropped(lab, case):
    make, dst, offset, payload, more = case
    guest, far = lab.guest(1), lab.sniff()
    frame = make(guest, dst, offset, payload, more)
    with lab.expect(PORT, fragments_dropped=1):
        guest.wire.send(frame)
    assert not reached(far, frame)


@cases(ipx=(0x8137, b"ipx"), pppoe_discovery=(0x8863, b"\x11\x09\0\0\0\0"), homeplug=(0x88e1, b"x"),
       llc=(len(b"\xfe\xfe\x03" + b"x" * 40), b"\xfe\xfe\x03" + b"x" * 40),
       bpdu=(38, b"\x42\x42\x03" + b"\0" * 35), arp=(0x0806, b"\0\1\x08\0\6\4\0\1" + b"\0" * 20))
def test_flows_6_what_is_no_ip_is_not_ours(lab, case):
    ethertype, payload = case
    lab.cli("block", PORT)
    guest, far = lab.guest(1), lab.sniff()
    frame = ethernet(guest.mac, ROUTER_MAC, ethertype, payload)
    with lab.expect(PORT, packets_dropped=0):
        guest.wire.send(frame)
        lab.poll(lambda: reached(far, frame), 5, "frame")


@setup(config={"gate": {"grace": "1h"}})
def test_flows_7_grace_adopts_running_flows_free_of_charge(lab):
    lab.cli("limit", PORT, "--rate", "2/h")
    guest, far = lab.guest(1), lab.sniff()
    with lab.expect(PORT, packets_from_vm=5, flows_limited=0, flows_admitted=lambda n: n in (0, 5)):
        sent(lab, far, *(guest.syn(SILENT4, 4000, dport=25, seq=i, flags=ACK) for i in range(5)))
    assert lab.show(PORT)["buckets"][0]["left"] == 2
    # A SYN is no mid-stream packet and pays.
    with lab.expect(PORT, flows_admitted=2, flows_limited=1):
        guest.wire.send(*(guest.syn(SILENT4, 5000 + i) for i in range(3)))


@setup(config={"gate": {"grace": "1h"}})
def test_flows_7_grace_opens_nothing_to_a_blocked_vm(lab):
    lab.cli("block", PORT)
    guest, far = lab.guest(1), lab.sniff()
    with lab.expect(PORT, flows_blocked=1):
        guest.wire.send(guest.syn(SILENT4, 4000, flags=ACK))
    assert not far.segments(sport=4000)


@setup(config={"gate": {"grace": 0}})
def test_flows_7_without_grace_running_flows_pay(lab):
    lab.cli("limit", PORT, "--rate", "1/h")
    guest = lab.guest(1)
    with lab.expect(PORT, flows_admitted=1, flows_limited=2):
        guest.wire.send(*(guest.syn(SILENT4, 4000 + i, flags=ACK) for i in range(3)))


@cases(ipv4=4, ipv6=6)
def test_outcomes_of_connects_are_counted(lab, case):
    guest = lab.guest(1)
    nobody = {4: "192.0.2.98", 6: "2001:db8:2::98"}[case]
    with lab.expect(PORT, flows_admitted=2, connects_established=1, connects_refused=1):
        assert guest.connect(SERVER[case]) == "ok"
        assert guest.connect(nobody) == "ECONNREFUSED"


def test_replies_are_counted_by_class(lab):
    lab.serve("192.0.2.41", rcpt="550 5.1.1 no such user")
    lab.serve("192.0.2.42", banner="554 5.7.1 go away")
    guest = lab.guest(1)
    with lab.expect(PORT, flows_admitted=1, replies_5xx=1, replies_2xx=lambda n: n >= 3):
        guest.swaks("192.0.2.41")
    assert lab.show(PORT)["last_reply"] in (550, 221)
    with lab.expect(PORT, flows_admitted=1, banners_refused=1):
        guest.swaks("192.0.2.42")


def test_unsolicited_syn_ack_is_dropped(lab):
    """Triangular spam: the answer to a SYN that another host sent in our guest's name."""
    guest = lab.guest(1)
    guest.connect("192.0.2.98")  # ARP is known now
    inner = guest.wire
    from_inet = lab.sniff()
    frame = ethernet(ROUTER_MAC, guest.mac,
                     *tcp("192.0.2.200", guest.ip4, 25, 4000, flags=SYN | ACK))
    with lab.expect(PORT, unsolicited=1, packets_dropped=1):
        from_inet.send(frame)
    assert not inner.segments(sport=25, dport=4000, flags=SYN | ACK)


harness.main()
