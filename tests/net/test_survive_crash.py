#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""The daemon dies, hangs, runs out of memory, comes back: the gate does not notice.

The witness (tests/lib/witness.py) sends all along and looks on.
"""

import contextlib
import http.client
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import harness
from harness import LONG, cases, setup
from lab import PATIENCE, SERVER4, SILENT4
from witness import witness

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
            lab.host.ip("link set vnet1 alias one", "link set vnet1 alias two")
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


def limit_memory(pid, size):
    """As the process's own user: another's limits take CAP_SYS_RESOURCE, which root may lack."""
    with open(f"/proc/{pid}/status") as f:
        ids = dict(line.split()[:2] for line in f if line.startswith(("Uid:", "Gid:")))
    subprocess.run(["setpriv", "--reuid", ids["Uid:"], "--regid", ids["Gid:"], "--clear-groups",
                    "prlimit", "--pid", str(pid), f"--as={size}"], check=True)


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
        limit_memory(lab.daemon.pid, pages * resource.getpagesize() + (1 << 20))
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
    time_left = f"{2 * PATIENCE}s"
    lab.cli("allow", "port:vnet1", "--for", time_left)
    lab.cli("allow", "port:vnet2")
    lab.cli("quarantine", "port:vnet2", "--for", time_left)
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


@setup(config={"default": {"state": "limit", "rate": "6/h", "burst": 6}})
def test_a_bucket_is_not_refilled_by_a_restart(lab):
    guest = lab.guest(1)
    spent = [guest.connect(SERVER4, timeout=0.3) for _ in range(7)]
    assert spent == ["ok"] * 6 + ["timeout"], spent
    for _ in range(10 if LONG else 3):
        lab.kill()
        lab.start()
        assert guest.connect(SERVER4, timeout=0.3) == "timeout"


harness.main()
