#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Crafted frames from a blocked guest over a real port: none with SMTP gets through.

Each row is what stands between Ethernet and the TCP header, and whether it is SMTP. The
tables of BPF_PROG_TEST_RUN are longer; only real frames carry an accelerated VLAN tag.
"""

import os
import socket
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import harness
from guest import ROUTER_MAC
from harness import cases
from lab import SILENT4, SILENT6
from wire import ethernet, ipv4, ipv6, mac_bytes, tcp, tcp_segment

PORT = "port:vnet1"
TAG, SERVICE_TAG, OLD_TAG = 0x8100, 0x88a8, 0x9100


def ends(guest, family):
    return (guest.ip4, SILENT4) if family == 4 else (guest.ip6, SILENT6)


def inner(guest, family, dport=25, sport=4000):
    return tcp(*ends(guest, family), sport, dport)


def chained(kinds, segment):
    """The segment behind these IPv6 extension headers: (first header's number, bytes)."""
    body, following = segment, 6
    for kind in reversed(kinds):
        if kind == 44:
            header = struct.pack("!BBHI", following, 0, 0, 7)  # an atomic fragment
        elif kind == 51:
            header = struct.pack("!BBHIII", following, 2, 0, 1, 1, 0)
        else:
            header = struct.pack("!BBBB4s", following, 0, 1, 4, b"\0" * 4)
        body, following = header + body, kind
    return following, body


def plain(guest, family, **kw):
    return ethernet(guest.mac, ROUTER_MAC, *inner(guest, family, **kw))


def tagged(*tags):
    return lambda guest, family, **kw: ethernet(guest.mac, ROUTER_MAC,
                                                *inner(guest, family, **kw), tags=tags)


def snap(*tags):
    def make(guest, family, **kw):
        kind, packet = inner(guest, family, **kw)
        body = b"\xaa\xaa\x03\0\0\0" + struct.pack("!H", kind) + packet
        return ethernet(guest.mac, ROUTER_MAC, len(body), body, tags)
    return make


def options(words):
    """IPv4 with so many words of no-operation options."""
    def make(guest, _family, dport=25, sport=4000):
        segment = tcp_segment(*ends(guest, 4), sport, dport)
        return ethernet(guest.mac, ROUTER_MAC, 0x0800,
                        ipv4(*ends(guest, 4), 6, segment, options=b"\x01" * 4 * words))
    return make


def extensions(*kinds):
    def make(guest, _family, dport=25, sport=4000):
        segment = tcp_segment(*ends(guest, 6), sport, dport)
        return ethernet(guest.mac, ROUTER_MAC, 0x86dd,
                        ipv6(*ends(guest, 6), *chained(kinds, segment)))
    return make


TRICKS = {
    "plain": plain,
    "tagged": tagged((TAG, 7)),
    "priority-tagged": tagged((TAG, 0)),
    "service-tagged": tagged((SERVICE_TAG, 7)),
    "qinq": tagged((SERVICE_TAG, 7), (TAG, 8)),
    "stacked-vid-0": tagged((TAG, 0), (TAG, 0), (TAG, 0)),
    "four-tags": tagged((TAG, 1), (TAG, 2), (TAG, 3), (TAG, 4)),
    "old-tag": tagged((OLD_TAG, 7)),
    "snap": snap(),
    "snap-in-tag": snap((TAG, 0)),
}
BOTH = {f"{name}-ipv{family}": (make, family) for name, make in TRICKS.items() for family in (4, 6)}
HEADERS = {
    "options-1": (options(1), 4), "options-10": (options(10), 4),
    "hop-by-hop": (extensions(0), 6), "routing": (extensions(43), 6),
    "destination": (extensions(60), 6), "ah": (extensions(51), 6),
    "atomic-fragment": (extensions(44), 6),
    "chain": (extensions(0, 60, 43, 60), 6), "chain-fragment": (extensions(0, 60, 43, 44, 60), 6),
}


def reached(far, frame):
    """The far side sees an accelerated tag taken off: compare what follows the headers."""
    tail = frame[-30:]
    return any(f[-len(tail):] == tail for f in far.frames())


@cases(**BOTH, **HEADERS)
def test_no_disguise_gets_smtp_out_of_a_blocked_vm(lab, case):
    make, family = case
    lab.cli("block", PORT, "--refuse", "drop")
    guest, far = lab.guest(1), lab.sniff()
    smtp, web = make(guest, family), make(guest, family, dport=80, sport=4001)
    with lab.expect(PORT, flows_blocked=1, packets_dropped=1):
        guest.wire.send(smtp, web)
        lab.poll(lambda: reached(far, web), 5, "the same frame to port 80")
    assert not reached(far, smtp)


@cases(**BOTH, **HEADERS)
def test_every_disguise_counts_as_a_flow_of_an_allowed_vm(lab, case):
    make, family = case
    guest, far = lab.guest(1), lab.sniff()
    frame = make(guest, family)
    with lab.expect(PORT, flows_admitted=1):
        guest.wire.send(frame)
        lab.poll(lambda: reached(far, frame), 5, "frame")


INNOCENT = {
    "udp-25": lambda g: ethernet(g.mac, ROUTER_MAC, 0x0800, ipv4(
        g.ip4, SILENT4, 17, struct.pack("!HHHH", 25, 25, 40, 0) + b"u" * 32)),
    "web": lambda g: plain(g, 4, dport=443),
    "web-ipv6": lambda g: plain(g, 6, dport=443),
    "from-port-25": lambda g: plain(g, 4, dport=40000, sport=25),
    "multicast": lambda g: mac_bytes("01:00:5e:00:00:fb") + plain(g, 4, dport=5353)[6:],
    "esp": lambda g: ethernet(g.mac, ROUTER_MAC, 0x0800, ipv4(g.ip4, SILENT4, 50, b"e" * 40)),
}


@cases(**{f"{state}-{name}": (state, make) for state in ("block", "quarantine")
          for name, make in INNOCENT.items()})
def test_innocent_traffic_of_a_closed_vm_passes(lab, case):
    state, make = case
    lab.cli(state, PORT)
    guest, far = lab.guest(1), lab.sniff()
    frame = make(guest)
    with lab.expect(PORT, packets_dropped=0, packets_from_vm=0):
        guest.wire.send(frame)
        lab.poll(lambda: any(f == frame for f in far.frames()), 5, "frame")


def test_guests_may_talk_to_each_other(lab):
    lab.cli("block", PORT)
    one, two = lab.guest(1), lab.guest(2)
    listener = two.ns.socket(socket.AF_INET, socket.SOCK_STREAM)
    with listener:
        listener.bind((two.ip4, 8080))
        listener.listen(5)
        assert one.connect(two.ip4, 8080) == "ok"


def test_smtp_between_guests_is_gated_too(lab):
    lab.cli("block", PORT)
    one, two = lab.guest(1), lab.guest(2)
    listener = two.ns.socket(socket.AF_INET, socket.SOCK_STREAM)
    with listener:
        listener.bind((two.ip4, 25))
        listener.listen(5)
        with lab.expect(PORT, flows_blocked=1):
            assert one.connect(two.ip4, 25) == "ECONNREFUSED"


harness.main()
