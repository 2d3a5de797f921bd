#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""The Debian package: built, held to lintian, and lived with, in a root of its own.

That root is the machine's, seen through an overlay in memory: nothing of it is left, and what the
package depends on is there without a download.
"""

import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import harness
from lab import TOP
from mail import end, wait_for
from netns import Namespace

SITE = """\
[gate]
bridges = br0
uplinks = eth0
[default]
state = block
"""
SOCKET = "/run/gate25/control.sock"
RIGHTS = "+bpf,+net_admin,+perfmon"
STORE = "/var/lib/gate25/gate25.db"


def built():
    """The package, built once for all tests of this file."""
    if not built.path:
        built.directory = tempfile.mkdtemp(prefix="gate25-deb-")
        done = subprocess.run(["make", "deb", f"B={built.directory}"], cwd=TOP, text=True,
                              stdin=subprocess.DEVNULL, capture_output=True,
                              env={k: v for k, v in os.environ.items()
                                   if k not in ("MAKEFLAGS", "MAKELEVEL", "B")})
        assert done.returncode == 0, done.stdout + done.stderr
        built.path, = glob.glob(f"{built.directory}/deb/gate25_*.deb")
    return built.path


built.path = None


def newer(package, directory):
    """The same package under a later version, with a configuration that says something new."""
    tree, path = os.path.join(directory, "tree"), os.path.join(directory, "newer.deb")
    subprocess.run(["dpkg-deb", "-R", package, tree], check=True)
    control = os.path.join(tree, "DEBIAN/control")
    with open(control) as f:
        text = f.read()
    version = next(line for line in text.splitlines() if line.startswith("Version: "))
    with open(control, "w") as f:
        f.write(text.replace(version, version + "+later"))
    with open(os.path.join(tree, "etc/gate25/gate25.conf"), "a") as f:
        f.write("# a new remark\n")
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, path], check=True,
                   capture_output=True)
    return path


class Host:
    """A root directory with a network of its own, in which packages come and go."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="gate25-root-")
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", self.dir], check=True)
        for name in ("upper", "work", "root"):
            os.mkdir(os.path.join(self.dir, name))
        self.root = os.path.join(self.dir, "root")
        self._mount("-t", "overlay", "overlay", "-o", f"lowerdir=/,upperdir={self.dir}/upper,"
                    f"workdir={self.dir}/work", "")
        self._mount("-t", "proc", "proc", "/proc")
        self._mount("--bind", "/sys", "/sys")
        self._mount("-t", "bpf", "bpf", "/sys/fs/bpf")
        self._mount("--bind", "/dev", "/dev")
        for path in ("/run", "/tmp"):
            self._mount("-t", "tmpfs", "tmpfs", path)
        self.ns, self.guest = Namespace("host"), Namespace("guest")
        self.ns.ip("link add br0 type bridge", "link add eth0 type veth peer name uplink0",
                   f"link add vnet1 type veth peer name eth0 netns {self.guest.path}",
                   "link set eth0 master br0", "link set vnet1 master br0",
                   *(f"link set {name} up" for name in ("br0", "eth0", "uplink0", "vnet1")))
        self.guest.ip("addr add 10.25.0.11/24 dev eth0", "link set eth0 up",
                      "neigh add 10.25.0.1 lladdr 52:54:00:99:00:01 dev eth0")
        self.daemon = None

    def _mount(self, *args):
        *options, where = args
        subprocess.run(["mount", *options, self.root + where], check=True)

    def close(self):
        self.stop()
        self.ns.close()
        self.guest.close()
        subprocess.run(["umount", "-R", self.dir], check=False)
        os.rmdir(self.dir)

    def path(self, path):
        return self.root + path

    def run(self, *argv, check=True):
        done = self.ns.run(["chroot", self.root, "/usr/bin/env", "DEBIAN_FRONTEND=noninteractive",
                            "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *argv],
                           check=False, timeout=90, cwd="/")
        if check and done.returncode:
            raise AssertionError(f"{argv}: exit {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def install(self, package):
        shutil.copy(package, self.path("/tmp/package.deb"))
        return self.run("dpkg", "--force-confold", "-i", "/tmp/package.deb")

    def start(self):
        """As the unit does: the user, the three capabilities, the directories, the owner of the pins."""
        self.run("install", "-d", "-o", "gate25", "-g", "gate25", "/run/gate25",
                 "/var/lib/gate25", "/sys/fs/bpf/gate25")
        # a capability's name is nothing to setpriv of an older kernel's headers
        self.daemon = self.ns.popen(
            ["chroot", self.root, "setpriv", "--reuid", "gate25", "--regid", "gate25",
             "--init-groups", "--inh-caps", RIGHTS, "--ambient-caps", RIGHTS, "gate25d"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/")
        wait_for(self._answers, 15, "answer of the daemon")

    def _answers(self):
        if self.daemon.poll() is not None:
            raise AssertionError(f"the daemon ended: {self.daemon.stderr.read().decode()}")
        return self.run("gate25", "status", check=False).returncode == 0

    def stop(self):
        if self.daemon:
            end(self.daemon)
            self.daemon = None

    def json(self, *args):
        return json.loads(self.run("gate25", "--json", *args).stdout)

    def knock(self):
        """What a connection of the guest to port 25 ends in."""
        done = self.guest.run(["curl", "-sS", "--connect-timeout", "1", "smtp://10.25.0.1"],
                              check=False)
        return "refused" if done.returncode == 7 else done.stderr.strip()


def test_lintian_has_nothing_to_say():
    # as somebody else: lintian warns of root
    done = subprocess.run(["lintian", "--allow-root", "-I", "--fail-on", "info,warning,error",
                           built()], text=True, capture_output=True, timeout=120)
    assert done.returncode == 0 and not done.stdout.strip(), done.stdout + done.stderr


def test_what_is_in_it():
    listed = subprocess.run(["dpkg-deb", "-c", built()], text=True, capture_output=True,
                            check=True).stdout
    for path in ("/usr/bin/gate25", "/usr/libexec/gate25/gate25-more", "/usr/sbin/gate25d",
                 "/lib/systemd/system/gate25d.service",
                 "/lib/systemd/system/sys-fs-bpf-gate25.mount", "/usr/lib/sysusers.d/gate25.conf",
                 "/usr/lib/tmpfiles.d/gate25.conf", "/usr/share/man/man1/gate25.1.gz",
                 "/usr/share/man/man8/gate25d.8.gz", "/usr/share/man/man5/gate25.conf.5.gz",
                 "/usr/share/man/man7/gate25-metrics.7.gz", "/etc/gate25/gate25.conf",
                 "/usr/share/bash-completion/completions/gate25",
                 "/usr/share/zsh/vendor-completions/_gate25",
                 "/usr/share/gate25/prometheus/gate25.rules.yml",
                 "/usr/share/gate25/grafana/gate25-host.json"):
        assert f".{path}\n" in listed, path


def test_install_configure_start_upgrade_remove_purge():
    host = Host()
    try:
        said = host.install(built()).stdout
        assert "systemctl enable --now gate25d" in said
        assert host.run("getent", "passwd", "gate25").stdout and host.run("gate25", "version").stdout
        assert host.run("gate25d", "--check-config").returncode == 0
        assert "kernel" in host.run("gate25", "doctor", check=False).stdout
        assert "@SBINDIR@" not in host.run("cat", "/lib/systemd/system/gate25d.service").stdout

        # configure, start
        with open(host.path("/etc/gate25/conf.d/site.conf"), "w") as f:
            f.write(SITE)
        with open(host.path("/etc/gate25/gate25.conf"), "a") as f:
            f.write("# the operator was here\n")
        host.start()
        assert host.knock() == "refused"
        host.run("gate25", "vm", "add", "web1", "--port", "vnet1", "--tenant", "acme")
        host.run("gate25", "block", "web1", "--reason", "ticket 4711")
        assert host.knock() == "refused"
        before = host.json("show", "web1")["counters"]["flows_blocked"]
        assert before == 2

        # upgrade: the old daemon runs on until it is restarted, as the unit's postinst does
        with tempfile.TemporaryDirectory() as directory:
            host.install(newer(built(), directory))
        assert host.knock() == "refused"
        host.stop()
        assert host.knock() == "refused"
        host.start()
        assert "later" in host.run("dpkg-query", "-W", "gate25").stdout
        with open(host.path("/etc/gate25/gate25.conf")) as f:
            assert "the operator was here" in f.read()
        shown = host.json("show", "web1")
        assert shown["effective"]["reason"] == "ticket 4711"
        assert shown["counters"]["flows_blocked"] == before + 2

        # remove: what the kernel holds stays, and so does the policy of record
        host.stop()
        said = host.run("dpkg", "-r", "gate25").stdout
        assert "stays in force" in said and "detach --yes" in said, said
        assert host.knock() == "refused"
        assert os.path.exists(host.path(STORE)) and not os.path.exists(host.path("/usr/bin/gate25"))

        # purge: nothing of it is left in the file system
        host.run("dpkg", "--purge", "gate25")
        for path in ("/etc/gate25", "/var/lib/gate25", "/usr/share/gate25",
                     "/lib/systemd/system/gate25d.service"):
            assert not os.path.exists(host.path(path)), path
        assert "gate25" not in host.run("dpkg", "-l").stdout
    finally:
        host.close()


for test in (test_lintian_has_nothing_to_say, test_what_is_in_it,
             test_install_configure_start_upgrade_remove_purge):
    test.timeout = 300

try:
    harness.main()
finally:
    if built.path:
        shutil.rmtree(built.directory, ignore_errors=True)
