# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""A guest of the lab: a namespace whose eth0 is plugged into the host's bridge."""

import errno
import ipaddress
import select
import socket
import struct
import time

from netns import Namespace
from tap import TapPair
from wire import Wire, ethernet, tcp, SYN

ROUTER4, ROUTER6, ROUTER_MAC = "10.25.255.1", "2001:db8:25::ffff", "52:54:00:99:00:01"


class Guest:
    """
    Number n has the port vnetN, MAC 52:54:00:25:00:0n, 10.25.0.(10+n) and
    2001:db8:25::1n (n < 10). Names and addresses of others follow the same rule.
    tap={"tx": bool, "rx": bool}: plugged in by taps with these offloads, else by veth.
    """

    def __init__(self, host, bridge, n, tap=None):
        self.n = n
        self.host = host
        self.bridge = bridge
        self.port = f"vnet{n}"
        self.mac = f"52:54:00:25:{n >> 8:02x}:{n & 255:02x}"
        self.ip4 = str(ipaddress.ip_address("10.25.0.10") + n)
        self.ip6 = str(ipaddress.ip_address("2001:db8:25::10") + n)
        self.ns = Namespace(f"guest{n}")
        self.ns.sysctl("net.ipv6.conf.all.accept_dad", 0)
        self.ns.sysctl("net.ipv6.conf.default.accept_dad", 0)
        self.ns.sysctl("net.ipv6.conf.default.router_solicitations", 0)
        self._wire = None
        self.tap, self._pair = tap, None
        self.plug()

    def plug(self, plugged=True):
        """Makes the port and its inner end anew; `plugged` puts it into the bridge."""
        if self.tap:
            self._pair = TapPair(self.host, self.port, self.ns, "eth0", **self.tap)
        else:
            self.host.ip(f"link add {self.port} type veth peer name eth0 netns {self.ns.path}")
        self.host.ip(*([f"link set {self.port} master {self.bridge}"] if plugged else []),
                     f"link set {self.port} up")
        self.ns.ip(f"link set eth0 address {self.mac}",
                   f"addr add {self.ip4}/16 dev eth0",
                   f"addr add {self.ip6}/64 dev eth0 nodad",
                   "link set eth0 up",
                   f"route add default via {ROUTER4}",
                   f"route add default via {ROUTER6} dev eth0")

    def unplug(self):
        if self._wire:
            self._wire.close()
            self._wire = None
        if self._pair:
            self._pair.close()
            self._pair = None
        else:
            self.host.ip(f"link del {self.port}")

    def close(self):
        if self._wire:
            self._wire.close()
        if self._pair:
            self._pair.close()
        self.ns.close()

    def address(self, family):
        return self.ip4 if family == 4 else self.ip6

    def offload(self, on):
        """Checksum and segmentation offload of the guest's interface."""
        word = "on" if on else "off"
        self.ns.run(["ethtool", "-K", "eth0", "tx", word, "rx", word, "tso", word, "gso", word])

    def open(self, dst, port=25, timeout=3.0, source=None):
        """Connects: (socket, "ok") or (None, name of the error, "timeout" of ours)."""
        version = ipaddress.ip_address(dst).version
        sock = self.ns.socket(socket.AF_INET if version == 4 else socket.AF_INET6,
                              socket.SOCK_STREAM)
        if source:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(source)
        sock.setblocking(False)
        code = sock.connect_ex((dst, port))
        if code == errno.EINPROGRESS:
            if not select.select([], [sock], [], timeout)[1]:
                sock.close()
                return None, "timeout"
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            sock.close()
            return None, errno.errorcode.get(code, str(code))
        sock.settimeout(timeout)
        return sock, "ok"

    def connect(self, dst, port=25, timeout=3.0):
        """A connection made and closed again: "ok", an errno's name or "timeout"."""
        sock, result = self.open(dst, port, timeout)
        if sock:
            # A reset at once: nothing of this connection is left to disturb a later count.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
        return result

    def timed_connect(self, dst, port=25, timeout=3.0):
        begin = time.monotonic()
        return self.connect(dst, port, timeout), time.monotonic() - begin

    @property
    def wire(self):
        if not self._wire:
            self._wire = Wire(self.ns, "eth0")
        return self._wire

    def syn(self, dst, sport, dport=25, flags=SYN, smac=None, src=None, tags=(), **more):
        """A frame with a TCP segment as this guest would send it, or forged."""
        family = ipaddress.ip_address(dst).version
        kind, packet = tcp(src or self.address(family), dst, sport, dport, flags=flags, **more)
        return ethernet(smac or self.mac, ROUTER_MAC, kind, packet, tags)

    def send_mail(self, server, count=1, sender="alice@guest.example", size=1000, sessions=1,
                  port=25, timeout=30):
        """Mail by Postfix's smtp-source: (exit code, what it said)."""
        where = f"inet:[{server}]:{port}" if ":" in server else f"inet:{server}:{port}"
        done = self.ns.run(["smtp-source", "-m", count, "-s", sessions, "-l", size, "-f", sender,
                            "-t", "bob@inet.example", where], check=False, timeout=timeout)
        return done.returncode, (done.stdout + done.stderr).strip()

    def swaks(self, server, port=25, timeout=5, extra=()):
        """Mail by swaks: (exit code, the dialogue)."""
        done = self.ns.run(["swaks", "--server", server, "--port", port, "--timeout", timeout,
                            "--helo", "guest.example", "--from", "alice@guest.example",
                            "--to", "bob@inet.example", *extra], check=False, timeout=60)
        return done.returncode, done.stdout + done.stderr
