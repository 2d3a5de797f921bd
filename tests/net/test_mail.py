#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Real mail, with real mail servers on either side of the gate."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import harness
from harness import cases
from lab import SERVER, SERVER4
from mail import Postfix

PORT = "port:vnet1"
POSTFIX = ["192.0.2.25", "2001:db8:2::25"]


def receiver(lab):
    server = Postfix(lab.inet, lab.file("receiver"), POSTFIX)
    lab.stack.callback(server.close)
    return server


@cases(ipv4=4, ipv6=6)
def test_mail_from_an_allowed_guest_arrives(lab, case):
    server = receiver(lab)
    with lab.expect(PORT, flows_admitted=10, connects_established=10, replies_5xx=0,
                    replies_2xx=lambda n: n >= 40):
        code, said = lab.guest(1).send_mail(POSTFIX[case == 6], count=10)
        assert code == 0, said
    lab.poll(lambda: server.sent() == 10, 20, "10 mails")


@cases(ipv4=4, ipv6=6)
def test_mail_by_swaks(lab, case):
    with lab.expect(PORT, flows_admitted=1, replies_3xx=1):
        code, said = lab.guest(1).swaks(SERVER[case])
        assert code == 0, said


def test_mail_from_a_blocked_guest_is_refused_at_once(lab):
    lab.cli("block", PORT)
    with lab.expect(PORT, flows_blocked=1):
        code, said = lab.guest(1).swaks(SERVER4)
        assert code and "refused" in said, said


def test_big_mail_goes_through_whole(lab):
    """Segments of 64 kB and their replies, offloaded."""
    server = receiver(lab)
    code, said = lab.guest(1).send_mail(POSTFIX[0], count=3, size=5000000, timeout=60)
    assert code == 0, said
    lab.poll(lambda: server.sent() == 3, 20, "3 mails")


def test_many_parallel_sessions(lab):
    with lab.expect(PORT, flows_admitted=200):
        code, said = lab.guest(1).send_mail(SERVER4, count=200, sessions=20, timeout=60)
        assert code == 0, said
    lab.poll(lambda: lab.counters(PORT)["flows_active"] == 0, 10, "end of all flows")


def test_a_mail_server_behind_a_limit_delivers_in_the_end(lab):
    """Postfix in the guest: the gate delays its mail and loses none."""
    server = receiver(lab)
    guest = lab.guest(1)
    sender = Postfix(guest.ns, lab.file("sender"), ["127.0.0.1"], relayhost=f"[{POSTFIX[0]}]")
    lab.stack.callback(sender.close)
    lab.cli("limit", PORT, "--rate", "2/s", "--burst", 1, "--concurrent", 2)
    for i in range(8):
        sender.submit("alice@guest.example", f"user{i}@inet.example")
    lab.poll(lambda: server.sent() == 8, 60, "8 mails")
    lab.poll(lambda: sender.sent() == 8, 20, "8 mails off the queue")
    assert lab.counters(PORT)["flows_active"] <= 2


def test_mail_of_a_blocked_server_waits_and_goes_when_opened(lab):
    server = receiver(lab)
    guest = lab.guest(1)
    sender = Postfix(guest.ns, lab.file("sender"), ["127.0.0.1"], relayhost=f"[{POSTFIX[0]}]")
    lab.stack.callback(sender.close)
    lab.cli("block", PORT)
    sender.submit("alice@guest.example", "bob@inet.example")
    lab.poll(lambda: "Connection refused" in sender.log(), 20, "refusal in the sender's log")
    assert server.sent() == 0
    lab.cli("allow", PORT)
    lab.poll(lambda: server.sent() == 1, 60, "the mail")


def test_only_the_relay_is_open(lab):
    """The smarthost set-up: closed, but for the operator's relay."""
    server = receiver(lab)
    lab.cli("block", "default")
    lab.cli("exempt", "default", "add", POSTFIX[0])
    code, said = lab.guest(1).send_mail(POSTFIX[0], count=2)
    assert code == 0, said
    lab.poll(lambda: server.sent() == 2, 20, "2 mails")
    assert lab.guest(1).connect(SERVER4) == "ECONNREFUSED"


harness.main()
