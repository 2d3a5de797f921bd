#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""soak.py [--minutes N] [--csv FILE]: the daemon under all that a day brings at once, for N minutes.

A blocked guest floods, one sends mail, one is limited; policies toggle, ports come and go with
other guests behind them, everything is read over and over, the configuration is read again. After
a fifth of the time as warm-up the daemon's memory, descriptors and map entries must stay flat, and
in the end no frame of the blocked guest was let through, no mail was lost, no counter went back.
"""

import argparse
import csv
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "lib"))

from lab import SERVER4, Lab
from load import mails
from mail import end
from netns import Namespace, isolate
from wire import SYN, ethernet, tcp
from witness import Witness

CONFIG = {"gate": {"max_vms": 64}, "default": {"state": "limit", "rate": "100/s"}}
SAMPLE_S = 10
CHURNED = [f"tap{n}" for n in range(8)]
# What may wander, and still be called flat: kilobytes, descriptors, a port on its way out.
SLACK = {"VmRSS": 512, "RssAnon": 512, "RssFile": 512, "fds": 2, "ports": 1}
# The entries of these follow the traffic and are bounded by their capacity alone.
LIVELY = {"flows"}


class Churn:
    """Ports that are made, seen to be gated, used once by a guest nobody has seen, and deleted."""

    def __init__(self, lab):
        self.lab, self.guest, self.count = lab, Namespace("churn"), 0
        lab.stack.callback(self.guest.close)
        self.socket = {}

    def step(self):
        n = self.count
        self.count += 1
        port = CHURNED[n % len(CHURNED)]
        mac = f"52:54:77:{n >> 16 & 255:02x}:{n >> 8 & 255:02x}:{n & 255:02x}"
        self.lab.host.ip(f"link add {port} type veth peer name eth0 netns {self.guest.path}",
                         f"link set {port} master br0", f"link set {port} up")
        self.guest.ip(f"link set eth0 address {mac}", "link set eth0 up")
        self.lab.wait_hooked(port, 20)
        source = f"10.25.{n >> 8 & 127}.{n & 255}"
        kind, packet = tcp(source, SERVER4, 1024 + n % 60000, 25, flags=SYN)
        with self.guest.socket(17, 3) as sock:  # AF_PACKET, SOCK_RAW
            sock.bind(("eth0", 0))
            sock.send(ethernet(mac, "52:54:00:99:00:01", kind, packet))
        if n % 3 == 0:
            self.lab.cli("vm", "add", "passer-by", "--port", port, "--mac", mac)
            self.lab.cli("limit", "vm:passer-by", "--rate", "3/min", "--reason", f"round {n}")
            self.lab.cli("vm", "del", "passer-by")
        self.lab.host.ip(f"link del {port}")


class Toggles:
    """Policies of every kind, set and taken back."""

    def __init__(self, lab):
        self.lab, self.count = lab, 0
        lab.register(4, tenant="acme")

    def step(self):
        n, put = self.count, self.put
        self.count += 1
        put("vm:web4", {"state": ("allow", "block")[n % 2], "reason": f"ticket {n}"})
        put("tenant:acme", {"state": "limit", "rates": [{"count": 5 + n % 7, "per": "1s"}]})
        put(f"ip:203.0.113.{n % 64}", {"state": "block", "for": 3600})
        put(f"mac:52:54:00:aa:00:{n % 64:02x}", {"state": "block"})
        self.lab.http("DELETE", self.lab.policy_path(f"ip:203.0.113.{(n + 32) % 64}"))
        self.lab.http("DELETE", self.lab.policy_path(f"mac:52:54:00:aa:00:{(n + 32) % 64:02x}"))
        self.lab.guest(4).connect(SERVER4, timeout=1)

    def put(self, subject, policy):
        status, answer = self.lab.http("PUT", self.lab.policy_path(subject), policy)
        assert status == 200, (subject, answer)


class Readers:
    """Scrapes, lists, questions, followers that come and go."""

    def __init__(self, lab):
        self.lab, self.count = lab, 0

    def step(self):
        lab = self.lab
        self.count += 1
        for _ in range(3):
            assert lab.scrape()[0] == 200
        for words in (("status",), ("list",), ("show", "vm:web4"), ("why", "vm:web4", SERVER4),
                      ("report", "vm:web4"), ("history", "vm:web4"), ("export",)):
            lab.cli(*words)
        follower = lab.host.popen([lab.program("gate25"), "--socket", lab.socket_path, "events",
                                   "-f"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        lab.cli("events")
        end(follower)


def sample(lab, begin):
    pid = lab.daemon.pid
    with open(f"/proc/{pid}/status") as f:
        status = dict(line.split(":", 1) for line in f)
    row = {"seconds": round(time.monotonic() - begin)}
    for key in ("VmRSS", "RssAnon", "RssFile"):
        row[key] = int(status[key].split()[0])
    row["fds"] = len(os.listdir(f"/proc/{pid}/fd"))
    row.update({m["name"]: m["entries"] for m in lab.status()["maps"]})
    row["store"] = os.path.getsize(lab.config["store"]["path"]) >> 10
    return row


def judge(rows):
    """What is not flat between the first and the last third after the warm-up."""
    rows = rows[len(rows) // 5:]
    third = max(len(rows) // 3, 1)
    wrong = []
    for key in rows[0]:
        first = statistics.median(r[key] for r in rows[:third])
        last = statistics.median(r[key] for r in rows[-third:])
        if key not in ("seconds", "store", *LIVELY):
            print(f"  {key:10} {first:10.0f} then {last:10.0f}, most {max(r[key] for r in rows)}")
            if last > first + SLACK.get(key, 0):
                wrong.append(f"{key} has grown from {first:.0f} to {last:.0f}")
    return wrong


def run(lab, minutes, out):
    steps = [Churn(lab), Toggles(lab), Readers(lab)]
    mail = mails(lab, 5, SERVER4, 5)
    witness = Witness(lab, per_s=2000)
    begin = time.monotonic()
    rows, table = [], None
    while time.monotonic() - begin < minutes * 60:
        until = time.monotonic() + SAMPLE_S
        while time.monotonic() < until:
            for step in steps:
                step.step()
        lab.reload()
        witness.check_progress()
        rows.append(sample(lab, begin))
        table = table or csv.DictWriter(out, rows[0].keys())
        if len(rows) == 1:
            table.writeheader()
        table.writerow(rows[-1])
        out.flush()
    refused, mailed, passed = witness.end()
    more = mail.stop()
    assert not more["failures"], more
    print(f"soak: {minutes} min: {refused} refused and none let through, "
          f"{mailed + more['sessions']} mails, {passed} admitted by the limit, "
          f"{steps[0].count} ports, {steps[1].count} rounds of changes, {steps[2].count} of reading")
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--csv", default=os.devnull, help="every sample, a line each 10 s")
    options = parser.parse_args()
    isolate()
    with Lab(guests=5, config=CONFIG) as lab, open(options.csv, "w", newline="") as out:
        rows = run(lab, options.minutes, out)
        lab.stop()  # speaks up for a sanitizer
    wrong = judge(rows)
    print("soak: " + ("; ".join(wrong) or "flat"))
    os._exit(bool(wrong))


main()
