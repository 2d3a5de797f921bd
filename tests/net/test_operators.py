#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""report, undo, events, notify and the customer's text, against the real gate."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import harness
from harness import cases, setup
from lab import NOBODY, READERS, SERVER4, SERVER6, SILENT4

PORT = "port:vnet1"


# ---- report

def test_report_counts_by_the_hour_and_keeps_refusals(lab):
    vm, guest = lab.register(1), lab.guest(1)
    assert guest.connect(SERVER4) == "ok"
    lab.cli("block", vm)
    for server in (SERVER4, SERVER6, SERVER4):
        assert guest.connect(server) == "ECONNREFUSED"
    lab.poll(lambda: len(lab.json("report", vm)["refusals"]) == 3, 5, "refusals in the report")
    report = lab.json("report", vm)
    assert report["totals"]["flows_admitted"] == 1 and report["totals"]["flows_blocked"] == 3
    assert report["totals"]["new_destinations"] == 1
    assert sum(h["flows_blocked"] for h in report["hours"]) == 3
    last = report["refusals"][0]
    assert last["reason"] == "blocked" and last["enforced"] and last["mac"] == guest.mac
    assert {(r["src"], r["dst"]) for r in report["refusals"]} == \
        {(guest.ip4, SERVER4), (guest.ip6, SERVER6)}
    text = lab.cli("report", vm, "--since", "1h")
    assert "BLOCKED" in text and f"{SERVER4}:25" in text and f"[{SERVER6}]:25" in text


def test_report_outlives_the_daemon_and_counts_nothing_twice(lab):
    vm, guest = lab.register(1), lab.guest(1)
    lab.cli("block", vm)
    guest.connect(SERVER4)
    lab.poll(lambda: lab.json("report", vm)["refusals"], 5, "refusals in the report")
    lab.kill()
    guest.connect(SERVER4)  # the gate counts without a daemon
    lab.start()
    lab.restart()
    report = lab.json("report", vm)
    assert report["totals"]["flows_blocked"] == 2, report
    assert len(report["refusals"]) >= 1, report


def test_report_moves_with_the_port_to_the_vm(lab):
    lab.cli("block", PORT)
    lab.guest(1).connect(SERVER4)
    lab.poll(lambda: lab.json("report", PORT)["refusals"], 5, "refusals in the report")
    vm = lab.register(1, tenant="acme")
    for subject in (vm, "tenant:acme", f"ip:{lab.guest(1).ip4}"):
        report = lab.json("report", subject)
        assert report["totals"]["flows_blocked"] == 1 and len(report["refusals"]) == 1, report
    lab.cli("vm", "del", "web1")
    assert lab.json("report", vm)["totals"]["flows_blocked"] == 1, "evidence outlives the VM"


def test_report_keeps_fifty_refusals_and_thirty_days(lab):
    lab.cli("block", PORT)
    lab.stop()
    with sqlite3.connect(lab.file("gate25.db")) as db:
        db.executemany("INSERT INTO refusals VALUES('port:vnet1', ?, ?, 1, 'blocked', '10.0.0.1', "
                       "1, '192.0.2.1', 25, '52:54:00:25:00:01')",
                       [(i, 1000 * (2000000000 + i)) for i in range(50)])
        db.execute("INSERT INTO hours(hour, subject, flows_blocked) VALUES(3600, 'port:vnet1', 9)")
    lab.start()
    lab.guest(1).connect(SERVER4)

    def newest():
        return [r["dport"] for r in lab.json("report", PORT, "--since", "30d")["refusals"]]

    lab.poll(lambda: len(newest()) == 50, 5, "refusals in the report")
    with sqlite3.connect(lab.file("gate25.db")) as db:
        assert db.execute("SELECT count(*) FROM refusals").fetchone() == (50,)
        assert db.execute("SELECT count(*) FROM hours WHERE hour = 3600").fetchone() == (0,)


@cases(default=("default", 2), vm=("vm:nobody", 3), word=("nobody", 3), mac=("mac:52:54:00:0:0:9", 2))
def test_report_of_nonsense(lab, case):
    subject, wanted = case
    code, out, err = lab.run_cli("report", subject)
    assert code == wanted and err.count("\n") == 1, (code, out, err)


# ---- undo

UNDOABLE = {
    "block": ["block", PORT],
    "limit": ["limit", PORT, "--rate", "5/h", "--burst", 3, "--destinations", "9/h"],
    "quarantine": ["quarantine", PORT, "--for", "1d"],
    "observe": ["observe", PORT, "on"],
    "exempt": ["exempt", PORT, "add", "192.0.2.0/28", "2001:db8::/64"],
    "budget": ["budget", "tenant:acme", "--rate", "5/h"],
    "tenant": ["block", "tenant:new"],
    "inherit": ["inherit", "port:vnet2"],
    "default": ["limit", "default", "--rate", "7/s"],
    "address": ["block", "ip:10.25.0.11"],
    "vm add": ["vm", "add", "web1", "--port", "vnet1"],
    "vm set": ["vm", "set", "web2", "--mac", "52:54:00:99:99:99", "--tenant", "none"],
    "vm del": ["vm", "del", "web2"],
}


@cases(**UNDOABLE)
def test_undo_puts_back(lab, case):
    lab.register(2, name="web2", tenant="acme")
    lab.cli("limit", "vm:web2", "--rate", "5/s", "--reason", "newsletter")
    lab.cli("budget", "tenant:acme", "--rate", "9/h")
    before = lab.cli("export")
    lab.cli(*case)
    assert lab.cli("export") != before
    rows = lab.json("history")["audit"]
    said = lab.cli("undo", "--reason", "wrong one")
    assert f"change {rows[0]['id']}" in said
    assert lab.cli("export") == before
    row = lab.json("history")["audit"][0]
    assert (row["action"], row["detail"]["undoes"]) == ("undo", rows[0]["id"])
    assert row["reason"] == "wrong one" and row["actor"] == "root"
    lab.cli("undo", row["id"])  # and that can be taken back too
    assert lab.cli("export") != before


def test_undo_is_refused_when_the_subject_changed_since(lab):
    lab.cli("block", PORT)
    first = lab.json("history")["audit"][0]["id"]
    lab.cli("allow", PORT, "--reason", "cleaned")
    code, _, err = lab.run_cli("undo", first)
    assert code == 1 and "changed since" in err and err.count("\n") == 1, (code, err)
    assert lab.state(PORT) == "allow"
    lab.cli("undo")
    assert lab.state(PORT) == "block"
    code, _, err = lab.run_cli("undo")
    assert code == 1 and "was an undo" in err, (code, err)


def test_undo_takes_back_its_callers_own_change(lab):
    lab.http("PUT", lab.policy_path(PORT), {"state": "block"}, {"X-Gate25-Actor": "alice"})
    lab.http("PUT", lab.policy_path("port:vnet2"), {"state": "block"}, {"X-Gate25-Actor": "bob"})
    status, answer = lab.http("POST", "/v1/undo", {}, {"X-Gate25-Actor": "alice"})
    assert status == 200 and answer["subject"] == PORT, (status, answer)
    assert answer["undone"]["actor"] == "alice" and answer["effective"]["state"] == "allow"
    assert lab.state("port:vnet2") == "block"
    status, answer = lab.http("POST", "/v1/undo", {}, {"X-Gate25-Actor": "carol"})
    assert status == 404 and "carol" in answer["error"]["message"], (status, answer)


def test_undo_of_an_applied_policy(lab):
    path = lab.file("set")
    with open(path, "w") as f:
        f.write('{"kind":"subject","subject":"port:vnet1","policies":[{"state":"block"}]}\n')
    lab.cli("apply", path)
    assert lab.state(PORT) == "block"
    lab.cli("undo")
    assert lab.state(PORT) == "allow"


def test_undo_of_nonsense(lab):
    for words, wanted in ((["7"], 3), ([], 3)):
        code, out, err = lab.run_cli("undo", *words)
        assert code == wanted and err.count("\n") == 1, (code, out, err)
    assert lab.run_cli("undo", uid=NOBODY, groups=[READERS])[0] == 6
    assert lab.json("history")["audit"] == []


# ---- events

def events(lab, *words):
    return [json.loads(line) for line in lab.cli("--json", "events", *words).splitlines()]


def test_events_tell_refusals_changes_and_ports(lab):
    lab.cli("block", PORT, "--reason", "spam")
    for _ in range(2):
        lab.guest(1).connect(SERVER4)
    lab.register(2, name="web2")
    lab.add_guest(3)
    lab.wait_hooked("vnet3")
    lab.guest(3).unplug()
    lab.poll(lambda: any(e["kind"] == "port_down" for e in events(lab)), 5, "port_down")
    refused = [e for e in events(lab, "--subject", PORT) if e["kind"] == "refused"]
    assert [e["first"] for e in refused] == [True, False], refused
    assert refused[0]["reason"] == "blocked" and refused[0]["src"] == lab.guest(1).ip4
    assert (refused[0]["dst"], refused[0]["dport"]) == (SERVER4, 25) and refused[0]["sport"]
    by_kind = {e["kind"]: e for e in events(lab)}
    policy = by_kind["policy"]
    assert (policy["actor"], policy["action"], policy["reason"]) == ("root", "block", "spam")
    assert by_kind["port_up"]["subject"] == "port:vnet3"
    added = [e for e in events(lab, "--subject", "vm:web2") if e.get("action") == "vm add"]
    assert len(added) == 1 and added[0]["kind"] == "identity"
    text = lab.cli("events", "--subject", PORT)
    assert "refused! port:vnet1" in text and text.count("refused!") == 1


def test_first_refusal_is_remembered_over_restarts(lab):
    lab.cli("block", PORT)
    lab.guest(1).connect(SERVER4)
    lab.poll(lambda: lab.json("report", PORT)["refusals"], 5, "refusals in the report")
    lab.restart()
    lab.guest(1).connect(SERVER4)
    lab.poll(lambda: any(e["kind"] == "refused" for e in events(lab)), 5, "refusal")
    assert not any(e["first"] for e in events(lab) if e["kind"] == "refused")


def test_events_follow_until_the_daemon_goes(lab):
    with lab.host.entered():
        follower = subprocess.Popen([lab.program("gate25"), "--socket", lab.socket_path, "--json",
                                     "events", "-f"], stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE, text=True)
    lab.cli("block", PORT)
    for line in follower.stdout:
        if json.loads(line)["kind"] == "policy":
            break
    lab.stop(signal.SIGKILL)
    _, err = follower.communicate(timeout=10)
    assert follower.returncode == 4 and err.count("\n") == 1, (follower.returncode, err)


def test_events_say_what_the_ration_kept_back(lab):
    lab.cli("block", PORT)
    guest = lab.guest(1)
    for burst in range(5):
        guest.wire.send(*(guest.syn(SILENT4, 1024 + 100 * burst + i) for i in range(100)))
    lab.poll(lambda: lab.counters(PORT)["flows_blocked"] == 500, 5, "500 refusals")
    told = [e for e in events(lab) if e["kind"] == "refused"]
    assert 1 <= len(told) < 100, len(told)


# ---- notify

def notices(lab):
    try:
        with open(lab.file("told")) as f:
            return [json.loads(line) for line in f]
    except FileNotFoundError:
        return []


@setup(start=False)
def test_notify_gets_first_refusal_quarantine_and_expiry(lab):
    lab.configure({"notify": {"command": f"cat >>{lab.file('told')}"}})
    lab.start()
    lab.cli("block", PORT, "--for", "2s")
    for _ in range(3):
        lab.guest(1).connect(SERVER4)
    lab.cli("quarantine", "port:vnet2", "--reason", "hijacked")
    lab.cli("observe", "port:vnet2", "on")  # no news
    lab.poll(lambda: len(notices(lab)) >= 3, 10, "three notices")
    told = {(n["kind"], n["subject"]) for n in notices(lab)}
    assert told == {("refused", PORT), ("policy", "port:vnet2"), ("expired", PORT)}, told
    assert [n for n in notices(lab) if n["kind"] == "policy"][0]["action"] == "quarantine"


@setup(start=False)
def test_notify_gets_gaps(lab):
    lab.configure({"gate": {"hook": "tc"}, "notify": {"command": f"cat >>{lab.file('told')}"}})
    lab.start()
    lab.host.run(["tc", "qdisc", "del", "dev", "vnet1", "ingress"], check=False)
    lab.host.run(["tc", "qdisc", "del", "dev", "vnet1", "clsact"], check=False)
    lab.poll(lambda: any(n["kind"] == "gap" for n in notices(lab)), 10, "a gap")
    assert lab.poll(lambda: lab.hooked("vnet1"), 5, "the hook back") is not False


@setup(start=False)
def test_notify_is_rationed(lab):
    lab.configure({"notify": {"command": f"cat >>{lab.file('told')}"}})
    lab.start()
    for n in range(25):
        answer = lab.http("PUT", lab.policy_path(f"tenant:t{n}"), {"quarantine": True})
        assert answer[0] == 200, answer
    lab.poll(lambda: len(notices(lab)) >= 12, 10, "twelve notices")
    lab.stop()

    def all_accounted_for():
        withheld = sum(map(int, re.findall(r"notify: (\d+) events were not passed on", lab.log())))
        return len(notices(lab)) + withheld == 25
    lab.poll(all_accounted_for, 10, "what became of 25 events")
    # a test may run over the end of a minute, which brings another ration
    assert 12 <= len(notices(lab)) <= 24, len(notices(lab))


# ---- for the customer

@setup(config={"control": {"contact": "abuse@example.net"}})
def test_customer_text(lab):
    vm = lab.register(1, tenant="acme")
    text = lab.cli("show", "--customer", vm)
    assert "of web1 are open." in text and "abuse@example.net" in text
    lab.cli("block", vm, "--until", "2099-12-24T10:00:00Z", "--reason", "spam, ticket 4711")
    text = lab.cli("show", "--customer", vm)
    for words in ("TCP port 25", "closed until 2099-12-24 10:00 UTC", "spam, ticket 4711",
                  "refused at once"):
        assert words in text, (words, text)
    assert "bucket" not in text and "vnet1" not in text
    lab.cli("limit", "tenant:acme", "--rate", "5/s", "--rate", "200/h")
    lab.cli("inherit", vm)
    answer = lab.json("show", "--customer", vm)
    assert answer["subject"] == vm and "5 new connections a second, 200 an hour" in answer["text"]
    lab.cli("observe", vm, "on")
    assert "are open" in lab.cli("show", "--customer", vm)


# ---- what ends soon

@setup(config={"gate": {"ports": "25, 587"}})
def test_list_expiring_knows_every_way_to_end(lab):
    lab.register(1, tenant="acme")

    def expiring(within):
        return {v["subject"] for v in lab.json("list", "--expiring", within)["vms"]}

    for command in (["allow", "vm:web1"], ["block", "vm:web1", "--on", 587],
                    ["quarantine", "vm:web1"], ["limit", "tenant:acme", "--rate", "5/s"]):
        lab.cli(*command, "--for", "3d")
        assert expiring("7d") == {"vm:web1"} and expiring("2d") == set(), command
        lab.cli("undo")
    assert expiring("7d") == set()


harness.main()
