# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Lanes: network namespaces, each a bridge with a way in and a way out, one for each contender.

    veth `port0` ── br0 ── `uplink` (ifb or dummy: takes every frame and throws it away)

Frames come in as live frames of BPF_PROG_TEST_RUN, so that the kernel does for them what it
does behind a driver's receive ring, on one CPU, without a sender's system calls. Filters stay
as they are while lanes are measured in turn.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests", "lib"))

from netns import Namespace  # noqa: E402

BRIDGE_CALLS = ("iptables", "ip6tables", "arptables")


class Unavailable(Exception):
    """A contender or a measurement that this machine cannot have, with the reason."""


def lines_for_sink():
    """The first kind of device that this kernel has."""
    probe = Namespace("probe")
    try:
        for kind in ("ifb", "dummy"):
            try:
                probe.ip(f"link add sink type {kind}")
                return [f"link add uplink type {kind}"]
            except RuntimeError:
                continue
    finally:
        probe.close()
    raise Unavailable("this kernel has neither ifb nor dummy devices to send into")


class Workspace:
    """A temporary directory with a BPF file system for the pins."""

    def __init__(self, build):
        self.build = os.path.abspath(build)
        self.dir = tempfile.TemporaryDirectory(prefix="gate25-bench-")
        self.bpffs = self.file("bpf")
        os.mkdir(self.bpffs)
        subprocess.run(["mount", "-t", "bpf", "bpf", self.bpffs], check=True)
        self.configs = 0

    def close(self):
        subprocess.run(["umount", "-l", self.bpffs], check=False)
        self.dir.cleanup()

    def file(self, name):
        return os.path.join(self.dir.name, name)

    def program(self, name):
        return os.path.join(self.build, "tools", "bench", name)

    def config(self, vms, flows=1024, early="off"):
        """A configuration for a gate of so many VMs, with a pin directory of its own."""
        self.configs += 1
        path = self.file(f"gate{self.configs}.conf")
        with open(path, "w") as f:
            f.write(f"[gate]\nbridges = br0\nmax_vms = {vms + 64}\nflows_per_vm = {flows}\n"
                    f"early_drop = {early}\n"
                    f"[bpf]\npin = {self.bpffs}/gate{self.configs}\n")
        return path

    def run(self, name, *args, timeout=600):
        """A driver's JSON lines."""
        done = subprocess.run([self.program(name), *map(str, args)], text=True, timeout=timeout,
                              capture_output=True)
        if done.returncode:
            raise Unavailable(done.stderr.strip().removeprefix("bench: ") or
                              f"{name} ended with {done.returncode}")
        return [json.loads(line) for line in done.stdout.splitlines()]


class Lane:
    def __init__(self, space, name, build=None):
        self.name, self.ns = name, Namespace(name)
        self.driver = None
        try:
            self._build()
            program = os.path.join(build, "tools/bench/lane") if build else space.program("lane")
            self.driver = self.ns.popen([program, "--in", "port0", "--out", "uplink"], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)
        except BaseException:
            self.close()
            raise

    def _build(self):
        self.ns.ip("link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
                   "link add port0 type veth peer name peer0", *lines_for_sink(),
                   "link set port0 master br0", "link set uplink master br0")
        self.ns.run(["tc", "qdisc", "replace", "dev", "uplink", "root", "noqueue"])
        for name in ("port0", "peer0", "uplink", "br0"):
            self.ns.sysctl(f"net.ipv6.conf.{name}.disable_ipv6", 1)
            self.ns.ip(f"link set {name} up")
        # A hundred thousand sources would measure the bridge's own table.
        self.ns.run(["bridge", "link", "set", "dev", "port0", "learning", "off"])
        self.ns.run(["bridge", "fdb", "add", "02:00:ff:ff:ff:fe", "dev", "uplink", "master",
                     "static"])
        self.call_iptables(0)

    def call_iptables(self, on):
        """Bridged frames go through iptables or not."""
        for name in BRIDGE_CALLS:
            if os.path.exists("/proc/sys/net/bridge"):
                self.ns.sysctl(f"net.bridge.bridge-nf-call-{name}", on)

    def close(self):
        if self.driver:
            self.driver.stdin.close()
            self.driver.stdout.close()
            self.driver.stderr.close()
            self.driver.wait(30)
        self.ns.close()

    def ask(self, *words):
        try:
            print(*words, file=self.driver.stdin, flush=True)
            line = self.driver.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise Unavailable(self.driver.stderr.read().strip().removeprefix("bench: "))
        return json.loads(line)

    def blast(self, frames, delivered, verb="blast"):
        """ns for each frame. The share that came out must be `delivered`, or it is no figure."""
        answer = self.ask(verb, frames)
        if answer["delivered"] != delivered:
            raise AssertionError(f"{self.name}: {answer['delivered']:.4f} of the frames came out, "
                                 f"not {delivered:.2f}")
        return answer["ns"]


class Contender:
    """What is measured in turn with others: a lane, how to switch it on, what must come out."""

    def __init__(self, name, lane, delivered=1.0, on=None):
        self.name, self.lane, self.delivered, self.on = name, lane, delivered, on


def interleave(contenders, rounds, frames):
    """
    {name: [ns of each round]}: A B C A B C …, so that all see the same machine. What it takes
    to make a frame, which no host pays, is taken off each.
    """
    samples = {c.name: [] for c in contenders}
    maker = contenders[0].lane
    for c in contenders:  # caches, and sets that fill as frames come
        if c.on:
            c.on()
        c.lane.ask("blast", frames)
    for _ in range(rounds):
        making = maker.blast(frames, 0.0, "make")
        for c in contenders:
            if c.on:
                c.on()
            samples[c.name].append(c.lane.blast(frames, c.delivered) - making)
    return samples


def summary(samples):
    """Median, least and spread (half the middle 80 %, as a share of the median)."""
    ordered = sorted(samples)
    low, high = ordered[len(ordered) // 10], ordered[len(ordered) * 9 // 10]
    middle = statistics.median(ordered)
    return {"median": round(middle, 2), "min": round(ordered[0], 2),
            "spread": round((high - low) / 2 / middle, 4), "n": len(ordered)}


def paired(a, b):
    """Median of a/b over the rounds: drift that hits both goes away."""
    return statistics.median(x / y for x, y in zip(a, b))


def paired_added(a, b, floor):
    """What a adds to `floor` as a share of what b adds: of least values, which drift least."""
    return (min(a) - min(floor)) / (min(b) - min(floor))
