#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""A hypervisor with three guests, a mail server in the Internet, and the gate between them.

Everything lives in namespaces of this process: nothing of it is left when it ends.
"""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "lib"))

from lab import Lab, PERSON_UID, STAFF, hire
from mail import Postfix
from netns import isolate

MX = "192.0.2.25"
COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ

PICTURE = """\
    alice 10.25.0.11 ── vnet1 ┐
    bob   10.25.0.12 ── vnet2 ┤ br0 ── eth0 ══ Internet ── Postfix {mx}
    mallory    .0.13 ── vnet3 ┘
            gate25: from_vm and to_vm on each vnet, uplink_out on eth0
"""


def paint(code, text):
    return f"\033[{code}m{text}\033[0m" if COLOUR else text


def chapter(text):
    print("\n" + paint("1;36", f"── {text} " + "─" * max(0, 76 - len(text))), flush=True)


def tell(text):
    print(text, flush=True)


class Story:
    def __init__(self, lab, mx):
        self.lab, self.mx = lab, mx
        self.names = {1: "alice", 2: "bob", 3: "mallory"}

    def gate25(self, *args):
        """As a member of the abuse desk types it; not root."""
        quoted = " ".join(f"'{a}'" if " " in str(a) else str(a) for a in args)
        print(paint("1", f"$ gate25 {quoted}"))
        code, out, err = self.lab.run_cli(*args, uid=PERSON_UID, groups=[STAFF])
        print((out + err).rstrip(), flush=True)
        if code:
            raise SystemExit(f"demo: gate25 {quoted} ended with {code}")

    def knock(self, n):
        """What the guest's own kernel says of a connection, and how soon."""
        result, took = self.lab.guest(n).timed_connect(MX)
        tell(f"{self.names[n]}: connect() to {MX}:25: {paint('31', result)} after {took * 1e3:.1f} ms")
        expect(result == "ECONNREFUSED" and took < 0.5, f"connect() gave {result}")

    def mail(self, n, count=1, sessions=1):
        """Sends real mail; tells what arrived and how long it took."""
        before, begin = self.mx.sent(), time.monotonic()
        code, said = self.lab.guest(n).send_mail(MX, count=count, sessions=sessions)
        took = time.monotonic() - begin
        if code == 0:
            self.lab.poll(lambda: self.mx.sent() >= before + count, 20, "mail in Postfix's log")
        arrived = self.mx.sent() - before
        word = paint("32", "sent") if arrived == count else paint("31", "refused")
        tell(f"{self.names[n]}: {count} mail{'s' * (count > 1)} to {MX}: {word}, "
             f"{arrived} arrived, {took:.3f} s{': ' + said.splitlines()[-1] if said else ''}")
        return arrived


def expect(ok, what):
    if not ok:
        raise SystemExit(f"demo: {what}")


def tale(story):
    lab = story.lab
    chapter("1. The gate is on; who has no policy of his own meets the default")
    tell(PICTURE.format(mx=MX))
    story.gate25("status")
    for n, name in story.names.items():
        guest = lab.guest(n)
        story.gate25("vm", "add", name, "--port", guest.port, "--mac", guest.mac,
                     "--ip", guest.ip4, "--tenant", "acme" if n < 3 else "spamco")

    chapter("2. alice has a newsletter: allowed")
    story.gate25("allow", "alice", "--reason", "known sender")
    expect(story.mail(1, 20, 4) == 20, "alice's mail did not arrive")

    chapter("3. bob is new: two mails at once, then one a second. TCP retries, nothing is lost")
    story.gate25("limit", "bob", "--rate", "1/s", "--burst", 2, "--reason", "new customer")
    expect(story.mail(2, 4) == 4, "bob's mail did not arrive")

    chapter("4. mallory's machine is hijacked: blocked. She is told at once, not after minutes")
    story.gate25("block", "mallory", "--for", "30d", "--reason", "spam, ticket 4711")
    story.knock(3)
    expect(story.mail(3) == 0, "mallory's mail arrived")

    chapter("5. kill -9 of the daemon: the gate stays shut")
    lab.kill()
    story.knock(3)
    lab.start()
    tell("the daemon is back and has taken over what it found")

    chapter("6. mallory has cleaned up: opened again, with a limit for a week")
    story.gate25("limit", "mallory", "--rate", "5/s", "--rate", "200/h", "--for", "7d",
                 "--reason", "cleaned, ticket 4711")
    expect(story.mail(3) == 1, "mallory's mail did not arrive")

    chapter("7. What is on record")
    story.gate25("list")
    story.gate25("history", "mallory")
    print(paint("1", "$ curl -s http://127.0.0.1:9625/metrics | grep -E 'flows_total|replies'"))
    page = lab.host.run(["curl", "-s", "http://127.0.0.1:9625/metrics"]).stdout
    for line in page.splitlines():
        if line.startswith(("gate25_flows_total", "gate25_host_replies_total")) \
                and not line.endswith(" 0"):
            print(line)


def main():
    begin = time.monotonic()
    isolate()
    hire()
    config = {"default": {"state": "limit", "rate": "5/s, 200/h", "burst": 10, "concurrent": 50}}
    with Lab(guests=3, config=config, servers=False) as lab:
        mx = Postfix(lab.inet, lab.file("mx"), [MX])
        lab.stack.callback(mx.close)
        tale(Story(lab, mx))
        lab.stop()
    tell(f"\nAll of it is gone again: gate, guests and servers. {time.monotonic() - begin:.0f} s.")


main()
