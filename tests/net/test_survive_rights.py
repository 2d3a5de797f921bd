#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Least privilege: the daemon as its own user under the restrictions of its unit."""

import contextlib
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import harness
import service
from harness import setup
from lab import NOBODY, SERVER4, SILENT4, STAFF
from load import census, syns
from service import GID, UID, UNIT
from witness import BLOCKED, witness

NET_ADMIN = 1 << 12
START = {"start": False}


def prepare(lab, uid=UID):
    """Directories as the unit has them; the configuration speaks of the paths inside."""
    home = lab.file("service")
    service.make_home(home, lab.bpffs)
    lab.stack.callback(service.close_home, home)
    os.chmod(lab.bpffs, 0o700)
    lab.home, lab.pin = home, lab.bpffs
    lab.socket_path = os.path.join(home, "run/control.sock")
    lab.config_path = os.path.join(home, "conf/gate25.conf")
    lab.configure({"control": {"socket": "/run/gate25/control.sock", "readers": None},
                   "store": {"path": "/var/lib/gate25/gate25.db"},
                   "bpf": {"pin": "/sys/fs/bpf/gate25"}})
    give(lab, uid)


def give(lab, uid, names=("bpf", "state", "run")):
    service.give(uid, *(os.path.join(lab.home, name) for name in names))


def start(lab, program="gate25d"):
    lab.daemon = lab.spawn([*service.command(lab.home, lab.program(program)),
                            "--config", "/etc/gate25/gate25.conf"])
    if not hasattr(lab, "_ends"):
        lab._ends = lab.stack.callback(lab.stop)
    lab.wait_ready(30)


def status_of(lab):
    with open(f"/proc/{lab.daemon.pid}/status") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def test_systemd_finds_little_exposure(tmp="/tmp"):
    """systemd-analyze security, by the unit alone: 2.0 or less."""
    where = os.path.join(os.environ.get("TMPDIR", tmp), "gate25d.service")
    with open(UNIT) as f, open(where, "w") as to:
        to.write(f.read().replace("@SBINDIR@/gate25d", "/usr/bin/true"))
    done = subprocess.run(["systemd-analyze", "--no-pager", "--offline=true", "security", where],
                          capture_output=True, text=True, check=False)
    level = float(re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)[1])
    print(f"# {level}")
    assert level <= 2.0, done.stdout


@setup(guests=2, **START)
def test_under_the_units_restrictions(lab):
    prepare(lab)
    start(lab)
    status = status_of(lab)
    assert status["Uid"].split() == [str(UID)] * 4, status["Uid"]
    # Loading is over: what is left suffices to attach, and opens no other door.
    for key in ("CapEff", "CapPrm"):
        assert int(status[key], 16) == NET_ADMIN, (key, status[key])
    assert int(status["CapAmb"], 16) == int(status["CapInh"], 16) == 0, status
    assert status["NoNewPrivs"] == "1" and int(status["Seccomp_filters"]) >= 2, status
    # All that a day brings.
    with blocked_guest(lab):
        guest = lab.add_guest(5)
        lab.wait_hooked(guest.port)
        lab.cli("block", "port:vnet5", "--reason", "ticket 3", uid=NOBODY, groups=[STAFF])
        assert guest.connect(SERVER4) == "ECONNREFUSED"
        assert "block" in lab.cli("why", "port:vnet5").lower()
        lab.cli("vm", "add", "web2", "--port", "vnet2")
        guest.unplug()
        guest.plug()
        lab.wait_hooked(guest.port)
        assert guest.connect(SERVER4) == "ECONNREFUSED"
        lab.configure({"default": {"state": "limit", "rate": "9/h"}})
        lab.reload()
        lab.poll(lambda: lab.state("default") == "limit", 5, "the new configuration")
        assert lab.scrape()[0] == 200
    assert not [p for p in lab.status()["problems"] if p["code"] != "uplink_missing"]


@contextlib.contextmanager
def blocked_guest(lab):
    """One that sends all along; each frame is refused and counted."""
    lab.cli("block", BLOCKED)
    far, load = census(lab), syns(lab, 1, SILENT4)
    yield
    sent = load.stop()["sent"]
    assert far.count(lab.guest(1)) == 0
    lab.poll(lambda: lab.counters(BLOCKED)["flows_blocked"] == sent, 5, "all refusals")


@setup(guests=3, **START)
def test_adopts_what_root_has_pinned(lab):
    """First by hand as root, then as the service: nothing is lost, and no frame gets through."""
    prepare(lab, 0)
    start_as_root(lab)
    with witness(lab) as w:
        lab.stop()
        give(lab, UID)
        start(lab)
        w.check_progress()
        for _ in range(3):
            lab.kill()
            start(lab)
            w.check_progress()
        lab.stop()
        lab.configure({"gate": {"max_vms": 128}})
        start(lab)
        w.check_progress()
        lab.stop()
        start(lab, "next/gate25d")
        w.check_progress()
        assert len([name for name in os.listdir(lab.pin) if name.startswith("abi")]) == 1


def start_as_root(lab):
    """A configuration of the paths outside, the same directories."""
    inner = lab.config
    lab.config = {section: dict(keys) for section, keys in inner.items()}
    lab.configure({"control": {"socket": lab.socket_path},
                   "store": {"path": os.path.join(lab.home, "state/gate25.db")},
                   "bpf": {"pin": lab.bpffs}})
    lab.start()
    lab.config = inner
    lab.configure({})


@setup(guests=1, **START)
def test_without_the_bpffs_given_it_says_so(lab):
    """Root's pins that nobody handed over: one sentence, and the gate stays as it was."""
    prepare(lab, 0)
    start_as_root(lab)
    lab.cli("block", BLOCKED)
    lab.stop()
    give(lab, UID, ("state", "run"))
    daemon = lab.spawn([*service.command(lab.home, lab.program("gate25d")),
                        "--config", "/etc/gate25/gate25.conf"])
    assert daemon.wait(20) == 1, lab.log()
    last = lab.log().splitlines()[-1]
    assert "pin directory" in last and "Permission denied" in last, last
    assert lab.guest(1).connect(SERVER4) == "ECONNREFUSED"


ALLOWED = {"state": "touch /var/lib/gate25/x", "tmp": "touch /tmp/x", "conf": "ls /etc/gate25"}
DENIED = {
    "usr": "touch /usr/gate25-test", "etc": "touch /etc/gate25/x", "home": "ls /root",
    "unshare": "unshare --user true", "sysctl": "echo 1 >/proc/sys/kernel/panic",
    "packet": f"{sys.executable} -c 'import socket; socket.socket(17, 3)'",
    "mount": "mount -t tmpfs x /tmp", "chroot": "chroot /tmp true",
    "others": "cat /proc/1/environ", "disk": "test -e /dev/sda -o -e /dev/vda",
}


@setup(guests=0, **START)
def test_the_restrictions_are_real(lab):
    """What the unit forbids fails in the same surroundings, what it allows works."""
    prepare(lab)
    script = "; ".join(f"({command}) >/dev/null 2>&1 && echo {name}"
                       for name, command in {**ALLOWED, **DENIED}.items())
    done = lab.host.run([*service.command(lab.home, shutil.which("bash")), "-c", script],
                        check=False)
    assert set(done.stdout.split()) == set(ALLOWED), (done.stdout, done.stderr)


@setup(guests=1, **START)
def test_a_running_daemon_makes_nothing_new(lab):
    """Its own filter, without the unit's: bpf(2) loads no program and makes no map any more."""
    prepare(lab)
    lab.daemon = lab.spawn(["setpriv", f"--reuid={UID}", f"--regid={GID}", "--clear-groups",
                            "--inh-caps=-all,+bpf,+net_admin,+perfmon",
                            "--ambient-caps=-all,+bpf,+net_admin,+perfmon", "--no-new-privs",
                            lab.program("gate25d"), "--config", outside(lab)],
                           env=service.environment())
    lab.stack.callback(lab.stop)
    lab.wait_ready()
    status = status_of(lab)
    assert int(status["CapPrm"], 16) == NET_ADMIN and status["Seccomp"] == "2", status
    guest = lab.add_guest(4)
    lab.wait_hooked(guest.port)
    lab.cli("block", "port:vnet4")
    assert guest.connect(SERVER4) == "ECONNREFUSED"


def outside(lab):
    inner, lab.config = lab.config, {s: dict(k) for s, k in lab.config.items()}
    path, lab.config_path = lab.config_path, lab.file("outside.conf")
    lab.configure({"control": {"socket": lab.socket_path},
                   "store": {"path": os.path.join(lab.home, "state/gate25.db")},
                   "bpf": {"pin": lab.bpffs}})
    result, lab.config_path, lab.config = lab.config_path, path, inner
    return result


harness.main()
