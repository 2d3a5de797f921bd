#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Floods, and tables that are full: what happens then is defined, counted, and hurts nobody
else. (VM slots, overrides, tenants, flows, events, connections to the daemon.)"""

import contextlib
import grp
import itertools
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import harness
import reports
from harness import LONG, cases, setup
from lab import NOBODY, READERS, SERVER4, SILENT4
from load import census, syns
from witness import witness

SHORT = 0.4
PORT = "port:vnet1"


def problems(lab, code):
    return [p["message"] for p in lab.status()["problems"] if p["code"] == code]


def ports(n, first=100):
    """Commands for n ports without a guest behind them."""
    return [line for i in range(first, first + n) for line in (
        f"link add t{i} type veth peer name t{i}p", f"link set t{i} master br0",
        f"link set t{i} up", f"link set t{i}p up")]


# ---- more VMs than slots

@setup(guests=2, config={"gate": {"max_vms": 8}, "default": {"state": "limit", "rate": "3/h",
                                                            "burst": 3}})
def test_more_ports_than_slots(lab):
    """Who has no slot shares the default policy with all such; who has one notices nothing."""
    lab.cli("allow", PORT)
    lab.host.ip(*ports(5))  # with two guests and slot 0 that makes 8
    for i in range(100, 105):
        lab.wait_hooked(f"t{i}")
    late = [lab.add_guest(n) for n in (3, 4)]
    for guest in late:
        lab.wait_hooked(guest.port)
    assert problems(lab, "map_full") and lab.metric("gate25_problems", code="map_full") >= 1
    assert lab.metric("gate25_map_entries", map="vms") <= lab.metric("gate25_map_capacity",
                                                                     map="vms") == 8
    # One bucket of three flows for the two of them, and refusals are counted.
    far = census(lab)
    refused = lab.status()["totals"]["flows_limited"]
    for guest in late:
        guest.wire.send(*(guest.syn(SILENT4, 4000 + i) for i in range(20)))
    assert lab.poll(lambda: lab.status()["totals"]["flows_limited"] - refused == 37, 5,
                    "37 refusals")
    assert sum(far.count(guest) for guest in late) == 3
    assert lab.guest(1).connect(SERVER4) == "ok"
    # It has no name to give it a policy by; registering it says why it cannot be.
    code, _, err = lab.run_cli("vm", "add", "web9", "--port", "vnet3")
    assert code and "max_vms" in err and err.count("\n") == 1, (code, err)
    if not LONG:
        return
    # When others leave, and do not come back for a minute, there is room again.
    lab.host.ip("link del t100", "link del t101", "link del t102")
    lab.poll(lambda: not problems(lab, "map_full"), 90, "room for the two that had none")
    with lab.expect("port:vnet3", flows_admitted=1):
        assert late[0].connect(SERVER4) == "ok"


# ---- more policies than places

FULL = {
    "overrides": ({"max_overrides": 4}, lambda i: f"mac:52:54:00:00:00:{i:02x}", "max_overrides"),
    "addresses": ({"max_overrides": 4}, lambda i: f"ip:203.0.113.{i}", "max_overrides"),
    "tenants": ({"max_tenants": 4}, lambda i: f"tenant:t{i}", "max_tenants"),
}


@setup(guests=1, start=False)
@cases(**FULL)
def test_more_policies_than_places(lab, case):
    sizes, subject, says = case
    lab.configure({"gate": sizes})
    lab.start()
    refused = None
    for i in range(8):
        code, _, err = lab.run_cli("block", subject(i))
        if code:
            refused = i
            break
    assert refused and refused >= 3, refused
    assert says in err and err.count("\n") == 1, err
    # Nothing of it is there, now or after a restart; what was there is.
    assert lab.run_cli("block", subject(99))[0] == code
    before = lab.cli("export")
    assert before.count("block") == refused and subject(99).split(":", 1)[1] not in before
    lab.restart()
    assert lab.cli("export") == before
    lab.cli("inherit", subject(0))
    lab.poll(lambda: not lab.run_cli("block", subject(99))[0], 10, "a place that was freed")


# ---- flows and events

@setup(guests=3, config={"gate": {"flows_per_vm": 64}})
def test_a_flood_of_flows(lab):
    """A VM allowed everything opens flows without end: a table of 64 stays one of 64."""
    with witness(lab):
        guest = lab.add_guest(4)
        lab.wait_hooked("vnet4")
        flood = syns(lab, 4, [f"198.51.100.{i}" for i in range(1, 200)], per_s=2000)
        lab.poll(lambda: lab.counters("port:vnet4")["flows_admitted"] > 5000, 60, "5000 flows")
        counters = lab.counters("port:vnet4")
        assert counters["flows_active"] <= 64, counters
        assert flood.stop()["sent"] >= 5000
        assert guest.connect(SERVER4) == "ok"


@setup(guests=3)
def test_a_flood_of_refusals_is_rationed(lab):
    """The events of one VM are rationed, so that those of another still come."""
    lab.cli("block", PORT)
    lab.cli("block", "port:vnet2")
    lab.daemon.send_signal(signal.SIGSTOP)
    guest, sent = lab.guest(1), 0
    for start in range(0, 20000, 2000):
        guest.wire.send(*(guest.syn(SILENT4, 1024 + start + i) for i in range(2000)))
        sent += 2000
    assert lab.guest(2).connect(SERVER4) == "ECONNREFUSED"
    lab.daemon.send_signal(signal.SIGCONT)
    lab.poll(lambda: lab.counters(PORT)["flows_blocked"] == sent, 10, "all refusals")
    told = lab.http("GET", f"/v1/events?subject={PORT}")[1]
    assert 1 <= told.count("\n") < 500, told.count("\n")
    lab.poll(lambda: lab.http("GET", "/v1/events?subject=port:vnet2")[1], 5, "the other's event")
    assert lab.metric("gate25_events_lost_total") == 0


# ---- connections to the daemon

def open_many(make, n):
    """As many of n connections as are taken; they stay silent."""
    taken = []
    for _ in range(n):
        sock = make()
        sock.settimeout(0.2)
        taken.append(sock)
    return taken


def resident(lab):
    with open(f"/proc/{lab.daemon.pid}/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def descriptors(lab):
    return len(os.listdir(f"/proc/{lab.daemon.pid}/fd"))


def control_socket(lab):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        sock.connect(lab.socket_path)
    except BlockingIOError:
        pass
    return sock


def metrics_socket(lab):
    sock = lab.host.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    sock.connect_ex(("127.0.0.1", 9625))
    return sock


@setup(guests=3)
@cases(control=control_socket, metrics=metrics_socket)
def test_a_flood_of_connections(lab, case):
    """Silent connections without end: the gate goes on, the other door answers, none leak."""
    with witness(lab):
        before = descriptors(lab)
        held = open_many(lambda: case(lab), 600)
        for sock in held[:50]:  # some of them say half a request
            try:
                sock.send(b"GET /v1/status HTTP/1.1\r\nHo")
            except OSError:
                pass
        if case is control_socket:
            assert lab.scrape()[0] == 200
        else:
            assert lab.status()
        assert descriptors(lab) < 1024
        for sock in held:
            sock.close()
        lab.poll(lambda: lab.run_cli("status")[0] == 0, 30, "an answer on the control socket")
        lab.poll(lambda: lab.scrape()[0] == 200, 30, "an answer to a scrape")
        lab.poll(lambda: descriptors(lab) <= before + 2, 60, "end of all connections")


def silent_scrapers(lab, n, addresses):
    """Connections to the metrics on which nothing is asked, from so many addresses in turn."""
    hosts = itertools.cycle(range(2, 2 + addresses))

    def other_socket():
        sock = lab.host.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.bind((f"127.0.0.{next(hosts)}", 0))
        sock.setblocking(False)
        sock.connect_ex(("127.0.0.1", 9625))
        return sock

    return open_many(other_socket, n)


@cases(of_one_address=(1, 2.5), of_many=(60, 5))
def test_silent_hosts_leave_room_for_other_scrapers(lab, case):
    """From one address: who scrapes from another is answered at once; from many: in time, too."""
    addresses, seconds = case
    held = silent_scrapers(lab, 60, addresses)
    started = time.monotonic()
    assert lab.scrape()[0] == 200
    assert time.monotonic() - started < seconds, "Prometheus gives up after 10 s"
    for sock in held:
        sock.close()


@setup(guests=3)
def test_slow_readers(lab):
    """Followers that never read: what is not read is given up, the daemon does not grow."""
    held = []
    for _ in range(20):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.connect(lab.socket_path)
        sock.send(b"GET /v1/events?follow=1 HTTP/1.1\r\nHost: x\r\n\r\n")
        held.append(sock)
    before = resident(lab)
    for n in range(300):
        lab.http("PUT", lab.policy_path(PORT), {"state": ("allow", "block")[n % 2],
                                                "reason": "x" * 1000})
    # a sanitizer keeps for a while what was freed
    most = (256 if reports.DIRECTORY else 16) << 20
    assert resident(lab) - before < most, (before, resident(lab))
    assert lab.status()
    for sock in held:
        sock.close()


# Asks for the whole trail on as many connections as it may have, tells how many were given it,
# and reads no more.
GREEDY = """
import select, socket, sys
held = []
for _ in range(32):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(sys.argv[1])
    sock.send(b"GET /v1/audit?limit=100000 HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    held.append(sock)
print(sum(sock.recv(12).endswith(b" 200") for sock in held), flush=True)
sys.stdin.read()
"""


@setup(guests=2, start=False)
def test_readers_of_long_answers(lab):
    """A reader who asks for much, often, and reads none of it: it is not all kept for him."""
    lab.start()
    lab.cli("block", PORT, "--reason", "the first")
    lab.stop()
    with contextlib.closing(sqlite3.connect(lab.file("gate25.db"))) as db, db:
        # a trail of some years, 16 MB of it
        db.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 16000) "
                   "INSERT INTO audit SELECT NULL, 1700000000, 0, 'root', 'vm:web1', 'block', "
                   "'{}', hex(zeroblob(127)) || hex(zeroblob(360)) FROM n")
    lab.start()
    before = resident(lab)
    greedy = subprocess.Popen(
        [sys.executable, "-c", GREEDY, lab.socket_path], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True, user=NOBODY, group=grp.getgrnam(READERS).gr_gid,
        extra_groups=[])
    with greedy:
        assert int(greedy.stdout.readline()) > 0
        grown = resident(lab) - before
        assert lab.json("history", "--limit", 20000)["audit"][-1]["reason"] == "the first"
        greedy.stdin.close()
    most = (512 if reports.DIRECTORY else 160) << 20
    assert grown < most, f"{grown >> 20} MB"


harness.main()
