#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""measure.py [attach|toggle|start|forge|churn]…: figures of the gate on this machine, in a lab.

attach  from a port's appearance in the bridge to its attachment, over 200 ports, and the
        SMTP frames that got past gate and backstop meanwhile
toggle  from the daemon's reading `block`, and from the CLI's start, to the last frame on the
        far side, under a stream (needs `make bench-programs`)
start   1,000 ports attached at the daemon's start
forge   what one VM gains by 100,000 forged MACs and addresses
churn   how long `gate25 block` takes while 200 ports come and go all the time, and four others
        hold the kernel's lock of network devices in turn
"""

import contextlib
import os
import statistics
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "tests", "lib"), os.path.join(HERE, "bench")]

from door import Reads, Stream, TooBusy, apart, from_read, from_start, quantile
from lab import BUILD, Lab, SILENT4
from netns import isolate

CLOSED = {"default": {"state": "block"}, "gate": {"max_vms": 2048}}


def attach(ports=200):
    """Each port is watched over the control socket, which is served after the attachment: the
    daemon's own histogram, from the kernel's message to the link, is printed beside it."""
    took, passed = [], 0
    with Lab(guests=0, config=CLOSED) as lab:
        far = lab.sniff()
        for n in range(1, ports + 1):
            guest = lab.add_guest(n)
            begin = time.monotonic()
            while True:
                guest.wire.send(guest.syn(SILENT4, 1024 + n))
                status = lab.http("GET", "/v1/status")[1]
                if any(p["name"] == guest.port and p["from_vm"] for p in status["ports"]):
                    break
            took.append(time.monotonic() - begin)
            guest.wire.send(*(guest.syn(SILENT4, 2048 + i) for i in range(5)))
            passed = len(far.syns())
            guest.unplug()
        histogram = [line for line in lab.scrape()[2].splitlines()
                     if line.startswith("gate25_attach_seconds")]
    print(f"attach: {ports} ports, seen after p50 {statistics.median(took) * 1e3:.1f} ms, "
          f"p99 {quantile(took, .99) * 1e3:.1f} ms; SMTP frames past the gate: {passed}")
    print("  " + "\n  ".join(histogram))


def toggle(rounds=300):
    with apart() as cpus, Lab(guests=1, servers=False, start=False) as lab:
        reads = Reads(BUILD, lab.file("reads"))
        lab.start(env=reads.env)
        with contextlib.closing(Stream(BUILD, lab, cpus)) as stream:
            for what, took in (
                    ("the daemon's read of `block`", from_read(lab, stream, reads, "port:vnet1",
                                                               rounds)),
                    ("the start of `gate25 block`", from_start(lab, stream, "port:vnet1",
                                                               rounds // 3))):
                print(f"toggle: from {what} to the last frame through: "
                      f"p50 {statistics.median(took) * 1e6:.0f} us, "
                      f"p99 {quantile(took, .99) * 1e6:.0f} us, max {max(took) * 1e6:.0f} us "
                      f"({len(took)} rounds)")
            print(f"  {stream.again} rounds made again: the stream had stood still")


def start(ports=1000):
    with Lab(guests=0, config=CLOSED, start=False) as lab:
        lines = []
        for n in range(1, ports + 1):
            lines += [f"link add vnet{n} type veth peer name peer{n}",
                      f"link set vnet{n} master br0", f"link set vnet{n} up"]
        lab.host.ip(*lines)
        begin = time.monotonic()
        lab.daemon = lab.spawn()
        lab.stack.callback(lab.stop)
        lab.wait_ready(120)
        first = time.monotonic() - begin
        lab.stop()
        begin = time.monotonic()
        lab.daemon = lab.spawn()
        lab.wait_ready(120)
        again = time.monotonic() - begin
        gated = sum(p["role"] == "vm" and p["from_vm"] for p in lab.status()["ports"])
    print(f"start: {gated} of {ports} ports gated {first:.2f} s after the start, "
          f"{again:.2f} s when adopted from an earlier daemon")


def forge(frames=100000):
    config = {"default": {"state": "limit", "rate": "5/h", "burst": 5}}
    with Lab(guests=1, config=config) as lab:
        guest, far = lab.guest(1), lab.sniff()
        for at in range(0, frames, 1000):
            guest.wire.send(*(guest.syn(SILENT4, 1024 + n % 60000,
                                        smac=f"52:54:{n >> 16:02x}:{n >> 8 & 255:02x}:{n & 255:02x}:77",
                                        src=f"10.25.{n >> 8 & 127}.{n & 255}")
                              for n in range(at, at + 1000)))
        print(f"forge: {frames} frames of as many MACs and addresses, {len(far.syns())} passed "
              f"(burst 5), maps: " + ", ".join(
                  f"{m['name']} {m['entries']}" for m in lab.status()["maps"]))


def churn(ports=200, others=4, seconds=40):
    made = [line for n in range(100, 100 + ports)
            for line in (f"link add vnet{n} type veth peer name peer{n}",
                         f"link set vnet{n} master br0", f"link set vnet{n} up")]
    gone = [f"link del vnet{n}" for n in range(100, 100 + ports)]
    done, rounds, took = threading.Event(), 0, {False: [], True: []}

    def come_and_go():
        nonlocal rounds
        while not done.is_set():
            lab.host.ip(*made)
            lab.host.ip(*gone)
            rounds += 1

    def toggle_for(s, busy):
        end = time.monotonic() + s
        while time.monotonic() < end:
            for verb in ("block", "allow"):
                begin = time.monotonic()
                lab.cli(verb, "port:vnet1")
                took[busy].append((time.monotonic() - begin) * 1e3)

    with Lab(guests=1, servers=False, config={"gate": {"max_vms": 2048}}) as lab:
        toggle_for(2, False)
        worker = threading.Thread(target=come_and_go)
        holders = [subprocess.Popen(["unshare", "--net", "sh", "-c", f"while :; do ip link add h{n} "
                                     f"type veth peer name g{n}; ip link del h{n}; done"])
                   for n in range(others)]
        try:
            worker.start()
            toggle_for(seconds, True)
        finally:
            done.set()
            for holder in holders:
                holder.kill()
                holder.wait()
            worker.join()
    for busy, ms in took.items():
        meanwhile = f"{ports} ports made and gone {rounds} times" if busy else "nothing else"
        print(f"churn: `gate25 block`, {meanwhile}: "
              f"p50 {statistics.median(ms):.1f} ms, p99 {quantile(ms, .99):.1f} ms, "
              f"max {max(ms):.1f} ms ({len(ms)} calls)")


def main():
    kinds = {"attach": attach, "toggle": toggle, "start": start, "forge": forge,
             "churn": churn}
    wrong = [w for w in sys.argv[1:] if w not in kinds]
    if wrong:
        sys.exit(f"measure.py: not a measurement: {wrong[0]} ({', '.join(kinds)})")
    isolate()
    for name in sys.argv[1:] or kinds:
        try:
            kinds[name]()
        except TooBusy as why:
            sys.exit(f"measure.py: {name}: {why}")


main()
