# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Goals 8, 9, 10 and 14: the daemon and the CLI as they are shipped, in the tests' lab."""

import contextlib
import json
import os
import re
import socket
import statistics
import subprocess
import threading
import time

from lanes import Unavailable, summary  # first: it makes the tests' lab known
from door import Reads, Stream, TooBusy, apart, from_read, from_start, quantile, starting
from lab import Lab
from netns import Namespace
from peers import feed, mac, nft_rules, tool
from result import Row, seconds

METRICS = ("127.0.0.1", 9625)
PAGE = bytearray(64 << 20)  # what a scrape is read into: larger than any of them
REST_PORTS = 1000


def gate_lab(vms, guests=1, start=True, **gate):
    """The shipped daemon with room for so many VMs; every VM's flow table small."""
    config = {"gate": {"max_vms": vms + 1000, "flows_per_vm": 64, **gate},
              "default": {"state": "limit", "rate": "5/s, 200/h", "burst": 10}}
    return Lab(guests=guests, config=config, servers=False, start=start)


def policy_set(path, vms, per_s, more=()):
    """`vms` registered VMs, each with a policy of its own, as `gate25 export` writes it."""
    with open(path, "w") as f:
        for item in more:
            print(json.dumps(item), file=f)
        for v in range(vms):
            print(json.dumps({"kind": "vm", "name": f"v{v}", "tenant": None, "ports": [],
                              "macs": [mac(v)], "ips": [], "pairs": [], "binding": None}), file=f)
        for v in range(vms if per_s else 0):
            print(json.dumps({"kind": "subject", "subject": f"vm:v{v}", "policies": [
                {"on": None, "state": "limit", "rates": [{"count": per_s, "per": "1s"}]}],
                "quarantine": None, "observe": False, "budget": None, "exempt": []}), file=f)
    return path


def timed(ns, argv, stdin=None, timeout=300):
    """Seconds that a command takes; it must succeed."""
    with ns.entered():
        begin = time.monotonic()
        done = subprocess.run(argv, input=stdin, stdout=subprocess.DEVNULL, text=True,
                              stderr=subprocess.PIPE, timeout=timeout)
        took = time.monotonic() - begin
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise Unavailable(f"{os.path.basename(argv[0])} {argv[-1]}: exit {done.returncode}: "
                          f"{said[-1] if said else ''}")
    return took


def gate25(lab, *args):
    return [lab.program("gate25"), "--socket", lab.socket_path, *args]


# ---- goal 8

def apply_set(run):
    vms = run.rounds(100000, 10000)
    nft, bare = tool("nft"), Namespace("nft")
    rules = ["table bridge gate { }\ndelete table bridge gate\n" +
             nft_rules("bridge", "forward", vms, policy) for policy in ("limit", "block")]
    own, peer = [], []
    try:
        with gate_lab(vms) as lab:
            sets = [policy_set(lab.file(f"set{r}"), vms, r) for r in (10, 20)]
            first = timed(lab.host, gate25(lab, "apply", sets[0]))
            for i in range(run.rounds(5, 3)):
                own.append(timed(lab.host, gate25(lab, "apply", sets[(i + 1) % 2])))
                peer.append(timed(bare, [nft, "-f", "-"], stdin=rules[i % 2]))
            in_force = lab.show(f"vm:v{vms - 1}")["effective"]["rates"][0]["count"]
            if in_force != (10, 20)[len(own) % 2]:
                raise AssertionError(f"the last policy is not in force: {in_force}/s")
    finally:
        bare.close()
    ratio = statistics.median(own) / statistics.median(peer)
    run.row(Row(8, f"gate25 apply: {vms} policies changed, durable, in the kernel",
                seconds(statistics.median(own)), peer=seconds(statistics.median(peer)),
                peer_name="nft -f", ratio=ratio, goal="<= 3x nft -f", met=ratio <= 3,
                detail={"gate25": summary(own), "nft": summary(peer),
                        "registering the VMs with it, once": round(first, 3)}))


# ---- goal 9

def block(run):
    vms = run.rounds(100000, 10000)
    try:
        with apart() as cpus:
            ours, nearer, again = gate_block(run, vms, cpus)
            peer = nft_block(run, vms, cpus)
    except TooBusy as why:
        raise Unavailable(str(why)) from None
    middle, p99 = statistics.median(ours), quantile(nearer, 0.99)
    ratio = peer and middle / statistics.median(peer)
    run.row(Row(9, f"gate25 block, {vms} VMs: CLI start to the last frame on the wire",
                seconds(middle), peer=peer and seconds(statistics.median(peer)),
                peer_name="nft add element", ratio=ratio, goal="<= 1/4 of nft's CLI",
                met=ratio and ratio <= 0.25,
                detail={"gate25": summary(ours), **({"nft": summary(peer)} if peer else {})}))
    run.row(Row(9, "the same: daemon's read of the request to the last frame, p99", seconds(p99),
                goal="<= 100 us", met=p99 <= 1e-4,
                detail={"p50": seconds(statistics.median(nearer)), "max": seconds(max(nearer)),
                        "rounds": len(nearer), "rounds made again": again}))
    run.series("toggle", {"gate25 block (CLI)": ours, "control API": nearer,
                          **({"nft add element": peer} if peer else {})})


def gate_block(run, vms, cpus):
    victim = {"kind": "vm", "name": "victim", "tenant": None, "ports": ["vnet1"], "macs": [],
              "ips": [], "pairs": [], "binding": None}
    with gate_lab(vms, start=False) as lab:
        reads = Reads(run.build, lab.file("reads"))
        lab.start(env=reads.env)
        timed(lab.host, gate25(lab, "apply", policy_set(lab.file("set"), vms, 10, [victim])))
        with contextlib.closing(Stream(run.build, lab, cpus)) as stream:
            ours = from_start(lab, stream, "vm:victim", run.rounds(20, 5))
            nearer = from_read(lab, stream, reads, "vm:victim", run.rounds(300, 50))
            return ours, nearer, stream.again


def nft_block(run, vms, cpus):
    try:
        nft = tool("nft")
        with Lab(guests=1, servers=False, start=False) as lab, lab.host.entered(), \
                contextlib.closing(Stream(run.build, lab, cpus)) as stream:
            lane = contextlib.nullcontext()
            lane.ns = lab.host
            feed(lane, [nft, "-f", "-"], nft_rules("bridge", "forward", vms, "limit"))
            element = ("element", "bridge", "gate", "closed", "{", mac(0), "}")
            subprocess.run([nft, "add", *element], check=True)
            return [stream.until_shut(
                lambda: subprocess.run([nft, "delete", *element], check=True),
                starting([nft, "add", *element])) for _ in range(run.rounds(20, 5))]
    except Unavailable as why:
        run.left_out(f"goal 9 beside nft: {why}")
        return None


# ---- goal 10

def pinned_maps(lab):
    """Where the maps of the gate are pinned, whatever the number of its ABI."""
    abi, = (name for name in os.listdir(lab.pin) if name.startswith("abi"))
    return os.path.join(lab.pin, abi, "maps")


def scrape(lab):
    """(seconds, bytes) of GET /metrics, taken as cheaply as Python can: up to the end of stream."""
    with lab.host.entered():
        connection = socket.create_connection(METRICS, timeout=30)
    page, length = memoryview(PAGE), 0
    with connection:
        begin = time.monotonic()
        connection.sendall(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
        while n := connection.recv_into(page[length:]):
            length += n
        took = time.monotonic() - begin
    return took, bytes(page[:length])


def answered_meanwhile(lab, rounds):
    """How long GET /v1/status takes while /metrics is scraped without a pause."""
    stop, took = threading.Event(), []

    def scrape_on():
        while not stop.is_set():
            scrape(lab)

    thread = threading.Thread(target=scrape_on)
    thread.start()
    try:
        for _ in range(rounds):
            begin = time.monotonic()
            lab.http("GET", "/v1/policies/default")
            took.append(time.monotonic() - begin)
            time.sleep(0.003)
    finally:
        stop.set()
        thread.join()
    return took


def metrics(run):
    rounds = run.rounds(30, 8)
    curve = {"gate25": [], "nft -j list": []}
    for vms in (10, 100, 1000, 10000):
        ours, peer, waits = metrics_of(run, vms, rounds)
        curve["gate25"].append([vms, round(statistics.median(ours) * 1e3, 3)])
        if peer:
            curve["nft -j list"].append([vms, round(statistics.median(peer) * 1e3, 3)])
    middle = statistics.median(ours)
    ratio = peer and middle / statistics.median(peer)
    run.row(Row(10, f"/metrics, {vms} VMs all counting", seconds(middle),
                peer=peer and seconds(statistics.median(peer)), peer_name="nft -j list",
                ratio=ratio, goal="<= 30 ms and <= 1/10 of nft -j list",
                met=middle <= 0.03 and (ratio is None or ratio <= 0.1),
                detail={"gate25": summary(ours), **({"nft": summary(peer)} if peer else {})}))
    run.row(Row(10, "the same: others are answered meanwhile", seconds(statistics.median(waits)),
                goal="answered", met=max(waits) < 1,
                detail={"worst": seconds(max(waits)), "requests": len(waits)}))
    run.series("scrape", curve)


def metrics_of(run, vms, rounds):
    ours, peer, waits = [], [], []
    with gate_lab(vms, guests=0) as lab:
        timed(lab.host, gate25(lab, "apply", policy_set(lab.file("set"), vms, 0)))
        filled = run.space.run("fill", "--maps", pinned_maps(lab))[0]["vms"]
        if filled < vms:
            raise AssertionError(f"{filled} of {vms} VMs count")
        nft = None
        with contextlib.suppress(Unavailable):
            nft = tool("nft")
            lane = contextlib.nullcontext()
            lane.ns = lab.host
            feed(lane, [nft, "-f", "-"], nft_rules("bridge", "forward", vms, "limit"))
        for _ in range(rounds):
            took, page = scrape(lab)
            ours.append(took)
            if nft:
                begin = time.monotonic()
                feed(lane, [nft, "-j", "list", "set", "bridge", "gate", "closed"], "")
                peer.append(time.monotonic() - begin)
        counted = page.count(b'gate25_flows_total{')
        if counted < 4 * vms:
            raise AssertionError(f"{counted} series of flows for {vms} VMs")
        if vms == 10000:
            waits = answered_meanwhile(lab, 50)
    return ours, peer, waits


# ---- goal 14

def cpu_seconds(pid):
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat") as f:
            total += int(f.read().split()[0])
    return total / 1e9


def memory_of(pid):
    """
    Resident bytes of a process: the gate's maps, which it has mapped, and all else. The maps
    are the kernel's memory, are there without the daemon too and are counted by goal 11.
    """
    sizes = {"maps": 0, "own": 0}
    kind = None
    with open(f"/proc/{pid}/smaps") as f:
        for line in f:
            if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                kind = "maps" if "bpf-map" in line else "own"
            elif line.startswith("Rss:"):
                sizes[kind] += int(line.split()[1]) * 1024
    return sizes


def at_rest(run):
    count = run.rounds(REST_PORTS, 100)
    config = {"default": {"state": "limit", "rate": "5/s, 200/h", "burst": 10},
              "gate": {"max_vms": 4096}}
    with Lab(guests=0, config=config, servers=False, start=False) as lab:
        lines = []
        for n in range(count):
            lines += [f"link add vnet{n} type veth peer name peer{n}",
                      f"link set vnet{n} master br0", f"link set vnet{n} up"]
        lab.host.ip(*lines)
        lab.daemon = lab.spawn()
        lab.stack.callback(lab.stop)
        lab.wait_ready(180)
        with open(lab.file("set"), "w") as f:
            for n in range(count):
                print(json.dumps({"kind": "vm", "name": f"v{n}", "tenant": None, "binding": None,
                                  "ports": [f"vnet{n}"], "macs": [], "ips": [], "pairs": []}),
                      file=f)
        timed(lab.host, gate25(lab, "apply", lab.file("set")))
        time.sleep(3)
        span, pid = run.rounds(60, 10), lab.daemon.pid
        before = cpu_seconds(pid)
        time.sleep(span)
        share = (cpu_seconds(pid) - before) / span
        sizes = memory_of(pid)
    run.row(Row(14, f"daemon at rest, {count} VMs on as many ports: CPU", f"{share:.3%}",
                goal="<= 0.1 % of a core", met=share <= 1e-3, detail={"seconds": span}))
    run.row(Row(14, "the same: resident memory, the kernel's maps that it has mapped apart",
                f"{sizes['own'] / 1e6:.1f} MB", goal="<= 20 MB", met=sizes["own"] <= 20e6,
                detail=sizes))
