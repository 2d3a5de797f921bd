#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""The daemon dies, hangs, runs out of memory, comes back: the gate does not notice.

Three guests send all along: one is blocked, one sends mail, one is limited. What holds in
the end of each test: no frame of the blocked one got out and each was counted, no session of
the second broke, the third got what its limit says and no more, no counter went back.
"""

import contextlib
import http.client
import json
import os
import random
import resource
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import harness
from harness import LONG, cases, setup
from lab import SERVER4, SILENT4
from load import census, mails, syns

BLOCKED, MAILER, LIMITED = "port:vnet1", "port:vnet2", "port:vnet3"
PER_MIN, BURST = 120, 10
GAUGES = {"flows_active"}


class Witness:
    """Three guests under load, and what must be true of them."""

    def __init__(self, lab, per_s=500):
        self.lab = lab
        lab.cli("block", BLOCKED)
        lab.cli("limit", LIMITED, "--rate", f"{PER_MIN}/min", "--burst", BURST)
        self.before = self.counters()
        self.far = census(lab)
        self.begin = time.monotonic()
        self.blocked = syns(lab, 1, SILENT4, per_s)
        self.mailer = mails(lab, 2, SERVER4)
        self.limited = syns(lab, 3, SILENT4, 50)

    def counters(self):
        return {s: self.lab.counters(s) for s in (BLOCKED, MAILER, LIMITED)}

    def check_progress(self):
        """Nothing went back since the last look."""
        now = self.counters()
        back = [(s, key, self.before[s][key], value) for s, row in now.items()
                for key, value in row.items() if key not in GAUGES and value < self.before[s][key]]
        assert not back, back
        self.before = now

    def under_way(self):
        now = self.counters()
        return now[BLOCKED]["flows_blocked"] > 100 and now[MAILER]["flows_admitted"] > 10

    def end(self):
        self.lab.poll(self.under_way, 20, "load")
        sent, mail = self.blocked.stop()["sent"], self.mailer.stop()
        limited = self.limited.stop()["sent"]
        took = time.monotonic() - self.begin
        assert not mail["failures"], mail
        assert self.far.count(self.lab.guest(1)) == 0
        passed = self.far.count(self.lab.guest(3))
        most = BURST + PER_MIN / 60 * took + 1
        assert BURST <= passed <= most, (passed, most)
        lab = self.lab

        def settled():
            now = self.counters()
            return now if now[BLOCKED]["flows_blocked"] >= sent else None
        now = lab.poll(settled, 5, "all refusals counted")
        assert now[BLOCKED]["flows_blocked"] == sent, (now[BLOCKED], sent)
        assert now[LIMITED]["flows_admitted"] == passed, (now[LIMITED], passed)
        assert now[LIMITED]["flows_limited"] == limited - passed, (now[LIMITED], limited, passed)
        assert now[MAILER]["flows_admitted"] == mail["sessions"] + 1, (now[MAILER], mail)
        assert now[MAILER]["flows_limited"] + now[MAILER]["flows_blocked"] == 0, now[MAILER]
        self.check_progress()
        return sent, mail["sessions"], passed


@contextlib.contextmanager
def witness(lab, **options):
    w = Witness(lab, **options)
    yield w
    sent, sessions, passed = w.end()
    print(f"# {sent} refused, {sessions} mails, {passed} admitted by the limit")


def wait_dead_or_ready(lab, seconds):
    """Lets the new daemon come as far as it comes in this time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and lab.daemon.poll() is None:
        time.sleep(0.002)
    assert lab.daemon.poll() is None, lab.log()


@setup(guests=3)
def test_100_kills_in_a_row(lab):
    """Killed at any moment, of its start too; every tenth gets far enough to be asked."""
    dice = random.Random(25)
    with witness(lab) as w:
        for n in range(100):
            lab.kill()
            lab.daemon = lab.spawn()
            if n % 10 == 9:
                lab.wait_ready()
                w.check_progress()
            else:
                wait_dead_or_ready(lab, dice.uniform(0, 0.3))
        lab.kill()
        lab.start()


@setup(guests=3)
@cases(stop=signal.SIGTERM, abort=signal.SIGABRT)
def test_restarts(lab, case):
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with witness(lab) as w:
        for _ in range(5):
            lab.stop(case)
            lab.start()
            w.check_progress()


@setup(guests=3)
def test_a_stopped_daemon_judges_on(lab):
    """SIGSTOP: policy holds, a port that appears meanwhile is the backstop's."""
    with witness(lab):
        lab.daemon.send_signal(signal.SIGSTOP)
        try:
            lab.host.ip("link set vnet1 down", "link set vnet1 up")
            guest = lab.add_guest(4)
            far = lab.sniff()
            guest.wire.send(*(guest.syn(SILENT4, 4000 + i) for i in range(20)))
            lab.poll(lambda: len(far.syns(smac=guest.mac)) == 20, 5,
                     "frames that the default allows")
            if LONG:  # that is how long the CLI waits
                code, _, err = lab.run_cli("status", timeout=60)
                assert code == 4 and err.count("\n") == 1, (code, err)
        finally:
            lab.daemon.send_signal(signal.SIGCONT)
        lab.wait_hooked("vnet4")


@setup(config={"default": {"state": "block"}})
def test_a_stopped_daemon_opens_nothing(lab):
    lab.daemon.send_signal(signal.SIGSTOP)
    far, guest = lab.sniff(), lab.add_guest(3)
    guest.wire.send(*(guest.syn(SILENT4, 1024 + i) for i in range(1000)))
    assert guest.connect(SERVER4, timeout=0.6) == "timeout"
    lab.daemon.send_signal(signal.SIGCONT)
    lab.wait_hooked("vnet3")
    assert guest.connect(SERVER4) == "ECONNREFUSED"
    assert not far.syns()


@setup(guests=3, config={"gate": {"max_tenants": 4096}})
def test_out_of_memory_is_a_crash_and_nothing_more(lab):
    """No more memory than it has: a policy set that does not fit ends it, all or nothing."""
    lines = "\n".join(json.dumps({"kind": "subject", "subject": f"tenant:t{n:04}", "policies": [
        {"on": None, "state": "limit", "rates": [{"count": 5, "per": "1s"}],
         "reason": "x" * 2000}]}) for n in range(4000))
    with witness(lab) as w:
        before = lab.cli("export")
        with open(f"/proc/{lab.daemon.pid}/statm") as f:
            pages = int(f.read().split()[0])
        resource.prlimit(lab.daemon.pid, resource.RLIMIT_AS,
                         (pages * resource.getpagesize() + (1 << 20),) * 2)
        with contextlib.suppress(OSError, http.client.HTTPException):
            status, answer = lab.http("PUT", "/v1/policy-set", lines, timeout=60)
            assert status >= 400, answer
        lab.stop(signal.SIGKILL)
        lab.start()
        w.check_progress()
        assert lab.cli("export") == before


def memory_group():
    """A memory control group of our own, or None."""
    for path, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
                        ("/sys/fs/cgroup", "memory.max")):
        group = os.path.join(path, f"gate25-test-{os.getpid()}-{time.monotonic_ns()}")
        try:
            os.mkdir(group)
            if os.path.exists(os.path.join(group, limit)):
                return group, os.path.join(group, limit)
            os.rmdir(group)
        except OSError:
            continue
    raise harness.Skip("no memory control group can be made here")


@setup(guests=3)
def test_the_oom_killer(lab):
    """The kernel kills it at its start, when its group has no memory for it."""
    with witness(lab) as w:
        group, limit = memory_group()
        try:
            lab.kill()
            with open(limit, "w") as f:
                f.write(str(1 << 20))

            def enter():
                with open(os.path.join(group, "cgroup.procs"), "w") as procs:
                    procs.write("0")
            lab.daemon = lab.spawn(preexec_fn=enter)
            code = lab.daemon.wait(30)
            assert code == -signal.SIGKILL, (code, lab.log())
            lab.daemon = None
        finally:
            os.rmdir(group)
        lab.start()
        w.check_progress()


@setup(config={"default": {"state": "block"}})
@cases(killed=signal.SIGKILL, stopped=signal.SIGSTOP)
def test_what_expires_while_the_daemon_is_dead_expires(lab, case):
    lab.cli("allow", "port:vnet1", "--for", "2s")
    lab.cli("allow", "port:vnet2")
    lab.cli("quarantine", "port:vnet2", "--for", "2s")
    assert lab.guest(1).connect(SERVER4) == "ok"
    assert lab.guest(2).connect(SERVER4, timeout=0.3) == "timeout"
    daemon = lab.daemon
    if case == signal.SIGKILL:
        lab.kill()
    else:
        daemon.send_signal(case)
    lab.poll(lambda: lab.guest(1).connect(SERVER4) == "ECONNREFUSED", 5, "end of the grant")
    lab.poll(lambda: lab.guest(2).connect(SERVER4) == "ok", 5, "end of the quarantine")
    if case == signal.SIGKILL:
        lab.start()
    else:
        daemon.send_signal(signal.SIGCONT)
    lab.poll(lambda: lab.state("port:vnet1") == "block", 10, "the daemon's view")
    assert lab.guest(1).connect(SERVER4) == "ECONNREFUSED"
    assert lab.guest(2).connect(SERVER4) == "ok"


@setup(config={"default": {"state": "limit", "rate": "6/min", "burst": 6}})
def test_a_bucket_is_not_refilled_by_a_restart(lab):
    guest = lab.guest(1)
    spent = [guest.connect(SERVER4, timeout=0.3) for _ in range(7)]
    assert spent == ["ok"] * 6 + ["timeout"], spent
    for _ in range(10 if LONG else 3):
        lab.kill()
        lab.start()
        assert guest.connect(SERVER4, timeout=0.3) == "timeout"


harness.main()
