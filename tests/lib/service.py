# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""The daemon as its unit runs it, without systemd: own user, own directories, confined.py."""

import grp
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
UNIT = os.path.join(HERE, "../../tools/units/gate25d.service")
CONFINED = os.path.join(HERE, "confined.py")
UID = 6425  # nobody has this number
STAFF = "games"  # a group that every Debian has; it owns the control socket
GID = grp.getgrnam(STAFF).gr_gid
DIRECTORIES = ("bpf", "conf", "state", "run")


def make_home(home, bpffs):
    """The directories that become the service's own; `bpf` is the BPF file system given."""
    for name in DIRECTORIES:
        os.makedirs(os.path.join(home, name))
    subprocess.run(["mount", "--bind", bpffs, os.path.join(home, "bpf")], check=True)


def close_home(home):
    subprocess.run(["umount", "-l", os.path.join(home, "bpf")], check=False)


def give(uid, *paths):
    """As ExecStartPre= does with the pins, and systemd with the directories."""
    subprocess.run(["chown", "-R", f"{uid}:{GID}", *paths], check=True)


def command(home, program, uid=UID, keep=None):
    """Words to run `program` by; `keep`: a directory that it sees and writes where it is."""
    also = ["--keep", keep] if keep else []
    return [sys.executable, "-B", CONFINED, *also, UNIT, home, str(uid), str(GID), program]


def environment():
    """For a daemon that gives its rights away: who may trace nobody cannot look for leaks."""
    options = os.environ.get("ASAN_OPTIONS")
    return dict(os.environ, ASAN_OPTIONS=f"{options}:detect_leaks=0") if options else dict(os.environ)
