#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""The store fails in every way that a file can: the kernel keeps the last policy, the daemon
says so, takes what closes and refuses what opens, and heals when it can."""

import contextlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import harness
from harness import LONG, cases, setup
from lab import CONFINED, SERVER4

BLOCKED, OPEN = "port:vnet1", "port:vnet2"
CLOSED = {"default": {"state": "block"}}


def mounted(lab, size="1m"):
    """The store on a file system of its own."""
    lab.stop()
    where = lab.file("store")
    os.mkdir(where)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", where], check=True)
    lab.give(where)
    lab.stack.callback(subprocess.run, ["umount", "-l", where], check=False)
    lab.stack.callback(lab.stop)
    lab.configure({"store": {"path": os.path.join(where, "gate25.db")}})
    lab.start()
    return where


def store(lab):
    return lab.config["store"]["path"]


def said(lab):
    return [p["message"] for p in lab.status()["problems"] if p["code"] == "store"]


def without(path):
    for name in (path, path + "-wal", path + "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


# ---- what breaks it, and what mends it

class Full:
    """No room, not for a byte."""

    def setup(self, lab):
        self.dir = mounted(lab)

    def spoil(self, lab):
        with open(os.path.join(self.dir, "junk"), "wb", buffering=0) as f:
            with contextlib.suppress(OSError):
                while f.write(b"x" * 4096):
                    pass

    def mend(self, lab):
        os.unlink(os.path.join(self.dir, "junk"))


class ReadOnly:
    def setup(self, lab):
        self.dir = mounted(lab)

    def spoil(self, lab):
        self.while_dead = not lab.daemon
        subprocess.run(["mount", "-o", "remount,ro", self.dir], check=True)

    def mend(self, lab):
        subprocess.run(["mount", "-o", "remount,rw", self.dir], check=True)
        if self.while_dead and CONFINED:  # its mount namespace has a copy, made read-only
            subprocess.run(["nsenter", f"--target={lab.daemon.pid}", "--mount",
                            "mount", "-o", "remount,bind,rw", self.dir], check=True)


class Locked:
    """Somebody holds a lock, an operator in sqlite3(1) say."""

    def setup(self, lab):
        self.held = None

    def spoil(self, lab):
        self.held = sqlite3.connect(store(lab), isolation_level=None, check_same_thread=False)
        self.held.execute("BEGIN IMMEDIATE")

    def mend(self, lab):
        self.held.execute("ROLLBACK")
        self.held.close()


class Deleted:
    heals_itself = True

    def setup(self, lab):
        pass

    def spoil(self, lab):
        without(store(lab))

    def mend(self, lab):
        pass


class Corrupt:
    """Nonsense where the file was; an operator takes it away."""

    def setup(self, lab):
        pass

    def spoil(self, lab):
        without(store(lab))
        with open(store(lab), "wb") as f:
            f.write(random.Random(1).randbytes(65536))

    def mend(self, lab):
        without(store(lab))


class Newer:
    """A later version's file: not touched."""

    def setup(self, lab):
        pass

    def spoil(self, lab):
        without(store(lab))
        with sqlite3.connect(store(lab)) as db:
            db.execute("CREATE TABLE future(x)")
            db.execute("PRAGMA user_version = 99")
        db.close()
        with open(store(lab), "rb") as f:
            self.content = f.read()

    def mend(self, lab):
        with open(store(lab), "rb") as f:
            assert f.read() == self.content
        without(store(lab))


class Unreachable:
    """Its directory is gone, a file system not mounted say."""

    def setup(self, lab):
        self.dir = mounted(lab)

    def spoil(self, lab):
        without(store(lab))
        subprocess.run(["umount", "-l", self.dir], check=True)
        os.rmdir(self.dir)

    def mend(self, lab):
        os.mkdir(self.dir)
        lab.give(self.dir)


FAILURES = {f.__name__.lower(): f for f in (Full, ReadOnly, Locked, Deleted, Corrupt, Newer,
                                            Unreachable)}


# A file system with a file open for writing cannot be made read-only.
RUNNING = {name: f for name, f in FAILURES.items() if f is not ReadOnly}


def in_force(lab):
    assert lab.guest(1).connect(SERVER4) == "ECONNREFUSED"
    assert lab.guest(2).connect(SERVER4) == "ok"


@setup(guests=4)
@cases(**RUNNING)
def test_store_fails_while_the_daemon_runs(lab, case):
    failure = case()
    failure.setup(lab)
    lab.cli("block", BLOCKED)
    lab.cli("block", "port:vnet3")
    failure.spoil(lab)

    # What closes is taken, at once and whatever the store says.
    code, _, err = lab.run_cli("block", "port:vnet4")
    assert lab.guest(4).connect(SERVER4) == "ECONNREFUSED", (code, err)
    if not getattr(failure, "heals_itself", False):
        lab.poll(lambda: said(lab), 15, "complaint in status")
        assert len(said(lab)) == 1 and "\n" not in said(lab)[0], said(lab)
        assert lab.metric("gate25_problems", code="store") == 1
        assert "store" in lab.log()
        # What opens is not: it could not be kept.
        code, _, err = lab.run_cli("allow", "port:vnet3")
        assert code == 1 and err.count("\n") == 1, (code, err)
        assert lab.guest(3).connect(SERVER4) == "ECONNREFUSED"
        in_force(lab)

    failure.mend(lab)
    lab.poll(lambda: not said(lab), 30, "healing")
    assert lab.metric("gate25_problems", code="store") == 0
    lab.cli("allow", "port:vnet3")
    in_force(lab)
    # All of it is in the store now, what was taken meanwhile too: a reboot shows it.
    lab.stop()
    shutil.rmtree(lab.pin, ignore_errors=True)
    lab.start()
    assert lab.state(BLOCKED) == "block" and lab.state("port:vnet4") == "block"
    assert lab.guest(3).connect(SERVER4) == "ok"
    assert [r["subject"] for r in lab.json("history", "port:vnet4")["audit"]] == ["port:vnet4"]


@setup(guests=3)
@cases(**FAILURES)
def test_store_fails_while_the_daemon_is_dead(lab, case):
    """The next start finds no store to read: what the kernel remembers stays in force."""
    failure = case()
    failure.setup(lab)
    lab.register(2, tenant="acme")
    lab.cli("limit", "tenant:acme", "--rate", "1000/h")
    lab.cli("block", BLOCKED)
    lab.stop()
    failure.spoil(lab)
    lab.start()
    in_force(lab)
    assert lab.state(BLOCKED) == "block" and lab.state("vm:web2") == "limit"
    if not getattr(failure, "heals_itself", False):
        assert said(lab), lab.log()
        code, _, err = lab.run_cli("block", "port:vnet3")
        assert code and "in force" in err and err.count("\n") == 1, (code, err)
        assert lab.guest(3).connect(SERVER4) == "ECONNREFUSED"
    failure.mend(lab)
    lab.poll(lambda: not said(lab), 30, "healing")
    in_force(lab)
    if not getattr(failure, "heals_itself", False):
        assert lab.guest(3).connect(SERVER4) == "ECONNREFUSED"
        lab.restart()
        assert lab.guest(3).connect(SERVER4) == "ECONNREFUSED"
    assert lab.state(BLOCKED) == "block" and lab.state("vm:web2") == "limit"


@setup(guests=2, config=CLOSED)
@cases(corrupt=Corrupt, newer=Newer)
def test_no_store_and_no_memory_is_the_default(lab, case):
    """After a reboot with a store that cannot be read the default holds, loudly."""
    lab.cli("allow", OPEN)
    lab.stop()
    case().spoil(lab)
    shutil.rmtree(lab.pin, ignore_errors=True)
    lab.start()
    assert lab.guest(2).connect(SERVER4) == "ECONNREFUSED"
    assert said(lab)


@setup(guests=1, config={"gate": {"bridges": "br0, fwbr*"}})
def test_a_firewall_pair_is_no_port_of_the_vm(lab):
    """Its host end stands for the VM's tap in the kernel's memory, and is not recovered from it."""
    guest = lab.put_behind_firewall(1)
    lab.register(1)
    lab.cli("block", "vm:web1")
    lab.stop()
    without(store(lab))
    lab.start()
    exported = [json.loads(line) for line in lab.cli("export").splitlines()]
    assert [v["ports"] for v in exported if "ports" in v] == [["tap100i0"]], exported
    assert guest.connect(SERVER4) == "ECONNREFUSED"


@setup(guests=2)
def test_an_older_store_is_brought_up_to_date(lab):
    """As a version before made it: without the counters and tables that came later."""
    lab.register(1)
    lab.cli("block", "vm:web1")
    assert lab.guest(1).connect(SERVER4) == "ECONNREFUSED"
    assert lab.guest(2).connect(SERVER4) == "ok"
    lab.stop()
    with sqlite3.connect(store(lab)) as db:
        db.execute("ALTER TABLE counters DROP COLUMN tls_flows")
        db.execute("ALTER TABLE counters DROP COLUMN exempt")
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            if name not in ("tenants", "vms", "subjects", "policies", "counters", "audit",
                            "sqlite_sequence"):
                db.execute(f"DROP TABLE {name}")
    db.close()
    shutil.rmtree(lab.pin, ignore_errors=True)  # the host was rebooted, too
    lab.start()
    assert not said(lab)
    assert lab.state("vm:web1") == "block"
    assert lab.counters("vm:web1")["flows_blocked"] == 1
    assert lab.status()["totals"]["flows_admitted"] == 1
    assert lab.guest(1).connect(SERVER4) == "ECONNREFUSED"
    lab.restart()
    assert lab.counters("vm:web1")["flows_blocked"] == 2 and not said(lab)


class Writer(threading.Thread):
    """Changes subject after subject, notes what was acknowledged and what is under way."""

    def __init__(self, lab, states, dice):
        super().__init__()
        self.lab, self.states, self.dice = lab, states, dice
        self.pending = None
        self.acknowledged = 0

    def run(self):
        with contextlib.suppress(OSError, http_error()):
            while True:
                subject = f"ip:198.51.100.{self.dice.randrange(8)}"
                state = self.dice.choice(("allow", "block", "limit"))
                body = {"state": state, "reason": f"change {self.acknowledged}"}
                if state == "limit":
                    body["rates"] = [{"count": self.dice.randrange(1, 999), "per": "1h"}]
                self.pending = (subject, body)
                status, answer = self.lab.http("PUT", self.lab.policy_path(subject), body)
                assert status == 200, answer
                self.states[subject] = body
                self.pending = None
                self.acknowledged += 1


def http_error():
    import http.client
    return http.client.HTTPException


def own(lab, subject):
    status, answer = lab.http("GET", lab.policy_path(subject))
    policies = answer.get("own", {}).get("policies") if status == 200 else None
    if not policies:
        return None
    kept = {"state": policies[0]["state"], "reason": policies[0]["reason"]}
    if policies[0]["state"] == "limit":
        kept["rates"] = [{k: r[k] for k in ("count", "per")} for r in policies[0]["rates"]]
    return kept


@setup(guests=0)
def test_no_acknowledged_change_is_lost(lab):
    """
    Killed in the middle of writes, again and again: what was answered is there. The whole
    daemon, that is; tests/unit/test_store_cuts.c cuts the store's own writes a thousand times.
    """
    rounds = 1000 if LONG else 60
    dice = random.Random(7)
    states, changes = {}, 0
    for n in range(rounds):
        writer = Writer(lab, states, dice)
        writer.start()
        time.sleep(dice.uniform(0.002, 0.04))  # that is the moment of the cut, no waiting
        lab.kill()
        writer.join()
        changes += writer.acknowledged
        if n % 3 == 0:  # with the kernel's memory, and as after a reboot
            shutil.rmtree(lab.pin, ignore_errors=True)
        lab.start(timeout=60)  # it lists the links, for which it may wait for others' devices to go
        assert not said(lab), said(lab)
        for subject, body in states.items():
            found = own(lab, subject)
            if writer.pending and writer.pending[0] == subject and found == writer.pending[1]:
                continue
            assert found == body, (n, subject, found, body, writer.pending)
        if writer.pending:
            states[writer.pending[0]] = own(lab, writer.pending[0])
            if states[writer.pending[0]] is None:
                del states[writer.pending[0]]
    rows = lab.http("GET", "/v1/audit?limit=100000")[1]["audit"]
    assert len(rows) >= changes, (len(rows), changes)
    with sqlite3.connect(store(lab)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
    print(f"# {rounds} cuts, {changes} changes acknowledged, none lost")


test_no_acknowledged_change_is_lost.timeout = 3600 if LONG else 120

harness.main()
