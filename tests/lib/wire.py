# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Frames: made by hand, sent raw, read back on the far side."""

import collections
import ipaddress
import socket
import struct

ETH_P_ALL = 3
SO_RCVBUFFORCE = 33
PACKET_OUTGOING = 4

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16

Segment = collections.namedtuple("Segment", "smac src dst sport dport flags length")


def mac_bytes(mac):
    return bytes.fromhex(mac.replace(":", ""))


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def ipv4(src, dst, proto, payload, options=b"", offset=0, more=False, ident=0):
    """An IPv4 packet; offset in octets. (A bridge with netfilter drops wrong checksums.)"""
    words = 5 + len(options) // 4
    fragment = offset >> 3 | (0x2000 if more else 0)
    head = struct.pack("!BBHHHBBH4s4s", 0x40 | words, 0, words * 4 + len(payload), ident, fragment,
                       64, proto, 0, ipaddress.IPv4Address(src).packed,
                       ipaddress.IPv4Address(dst).packed) + options
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def ipv6(src, dst, following, payload):
    return struct.pack("!IHBB", 6 << 28, len(payload), following, 64) + \
        ipaddress.IPv6Address(src).packed + ipaddress.IPv6Address(dst).packed + payload


def tcp_segment(src, dst, sport, dport, flags=SYN, seq=1, ack=0, payload=b""):
    """A TCP segment with the checksum that it has between these addresses."""
    src, dst = ipaddress.ip_address(src), ipaddress.ip_address(dst)
    head = struct.pack("!HHIIBBHHH", sport, dport, seq, ack, 5 << 4, flags, 65535, 0, 0)
    size = len(head) + len(payload)
    pseudo = src.packed + dst.packed + struct.pack("!IHBB", size, 0, 0, 6)
    total = checksum(pseudo + head + payload)
    return head[:16] + struct.pack("!H", total) + head[18:] + payload


def tcp(src, dst, sport, dport, **more):
    """A TCP segment in IPv4 or IPv6: (ethertype, packet)."""
    segment = tcp_segment(src, dst, sport, dport, **more)
    if ipaddress.ip_address(src).version == 4:
        return 0x0800, ipv4(src, dst, 6, segment)
    return 0x86dd, ipv6(src, dst, 6, segment)


def ethernet(smac, dmac, ethertype, packet, tags=()):
    """A frame; tags are (ethertype, VLAN) from the outside in."""
    head = mac_bytes(dmac) + mac_bytes(smac)
    for tpid, vlan in tags:
        head += struct.pack("!HH", tpid, vlan)
    return head + struct.pack("!H", ethertype) + packet


def parse(frame):
    """Segment of a TCP frame (tags, IPv4 options walked), else None."""
    kind, at = struct.unpack_from("!H", frame, 12)[0], 14
    while kind in (0x8100, 0x88a8) and len(frame) >= at + 4:
        kind, at = struct.unpack_from("!H", frame, at + 2)[0], at + 4
    try:
        if kind == 0x0800:
            size, proto = struct.unpack_from("!H", frame, at + 2)[0], frame[at + 9]
            src, dst = frame[at + 12:at + 16], frame[at + 16:at + 20]
            l4 = at + (frame[at] & 15) * 4
            size -= l4 - at
            if struct.unpack_from("!H", frame, at + 6)[0] & 0x1fff:
                return None
        elif kind == 0x86dd:
            size, proto = struct.unpack_from("!H", frame, at + 4)[0], frame[at + 6]
            src, dst, l4 = frame[at + 8:at + 24], frame[at + 24:at + 40], at + 40
        else:
            return None
        if proto != 6:
            return None
        sport, dport = struct.unpack_from("!HH", frame, l4)
        return Segment(frame[6:12].hex(":"), str(ipaddress.ip_address(src)),
                       str(ipaddress.ip_address(dst)), sport, dport, frame[l4 + 13],
                       size - (frame[l4 + 12] >> 4) * 4)
    except (struct.error, IndexError):
        return None


class Wire:
    """An open end of an interface: sends frames, keeps those that came in."""

    def __init__(self, ns, ifname, receive=True):
        self.sock = ns.socket(socket.AF_PACKET, socket.SOCK_RAW,
                              socket.htons(ETH_P_ALL) if receive else 0)
        if receive:
            self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self.sock.bind((ifname, ETH_P_ALL if receive else 0))
        self.sock.setblocking(False)
        self.kept = []

    def close(self):
        self.sock.close()

    def send(self, *frames):
        self.sock.setblocking(True)
        for frame in frames:
            self.sock.send(frame)
        self.sock.setblocking(False)

    def frames(self):
        """All frames that came in since the Wire was opened."""
        while True:
            try:
                frame, address = self.sock.recvfrom(65536)
            except BlockingIOError:
                return self.kept
            if address[2] != PACKET_OUTGOING:
                self.kept.append(frame)

    def segments(self, **want):
        """TCP segments that came in; `want` gives values of Segment's fields."""
        found = (parse(f) for f in self.frames())
        return [s for s in found
                if s and all(getattr(s, key) == value for key, value in want.items())]

    def syns(self, port=25, **want):
        return self.segments(flags=SYN, dport=port, **want)
