#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""The hook for libvirt under a real libvirtd: domains of QEMU without an operating system, whose
taps libvirt puts into the gated bridge."""

import glob
import os
import shutil
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import harness
import netns
from lab import NOBODY, STAFF, TOP
from mail import end

STATE = ("/etc/libvirt", "/var/lib/libvirt", "/var/cache/libvirt", "/var/log/libvirt",
         "/run/libvirt")
LIBVIRTD_CONF = 'auth_unix_rw = "none"\nauth_unix_ro = "none"\nunix_sock_ro_perms = "0777"\n'
QEMU_CONF = """\
user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = []
namespaces = []
remember_owner = 0
stdio_handler = "file"
"""
DOMAIN = """\
<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>32</memory>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <features><acpi/></features>
  <devices>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
    {interfaces}
  </devices>
</domain>
"""
INTERFACE = """<interface type='bridge'><source bridge='br0'/><mac address='{mac}'/>
<model type='virtio'/><rom enabled='no'/></interface>"""
# libvirt's package makes it; without its files QEMU's driver does not come up.
PASSWD = "libvirt-qemu:x:64055:64055::/nonexistent:/usr/sbin/nologin"
GROUP = "libvirt-qemu:x:64055:"
MAC = "52:54:00:77:00:{:02x}"


class Libvirt:
    """libvirtd in the lab's host, with state of its own, and the hook where libvirt looks for it."""

    def __init__(self, lab):
        self.lab, self.daemon = lab, None
        for path in STATE:
            os.makedirs(path, exist_ok=True)
            subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", path], check=True)
            lab.stack.callback(subprocess.run, ["umount", "-l", path], check=False)
        self.write("/etc/libvirt/qemu.conf", QEMU_CONF)
        self.write("/etc/libvirt/libvirtd.conf", LIBVIRTD_CONF)
        os.mkdir("/etc/libvirt/hooks")
        shutil.copy(os.path.join(TOP, "tools/hooks/libvirt-qemu"), "/etc/libvirt/hooks/qemu")
        # the hook finds the command by PATH, as on any host
        path = lab.file("bin")
        os.mkdir(path)
        self.write(os.path.join(path, "gate25"), "#!/bin/sh\nexec "
                   f'{lab.program("gate25")} --socket {lab.socket_path} "$@"\n')
        os.chmod(os.path.join(path, "gate25"), 0o755)
        self.env = dict(os.environ, PATH=f"{path}:/usr/sbin:/usr/bin:/sbin:/bin")
        self.domains = set()
        self.closed = threading.Event()
        self.reaper = threading.Thread(target=self.reap, daemon=True)
        self.reaper.start()
        lab.stack.callback(self.close)
        self.start()

    def reap(self):
        """What init does: QEMU leaves its parent, and libvirt waits until it is gone for good."""
        while not self.closed.wait(0.02):
            for path in glob.glob("/proc/[0-9]*/stat"):
                try:
                    with open(path) as f:
                        pid, name, state, parent = f.read().split()[:4]
                    if name.startswith("(qemu") and state == "Z" and parent == str(os.getpid()):
                        os.waitpid(int(pid), os.WNOHANG)
                except (OSError, ValueError):
                    pass  # gone meanwhile

    @staticmethod
    def write(path, text):
        with open(path, "w") as f:
            f.write(text)

    def start(self):
        # it asks /sys/class/net, which shows the namespace that has mounted it
        with open(self.lab.file("libvirtd.log"), "a") as log:
            self.daemon = self.lab.host.popen(
                ["unshare", "--mount", "sh", "-c", "mount -t sysfs sysfs /sys && exec libvirtd"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env)
        try:
            self.lab.poll(lambda: self.virsh("version", check=False)[0] == 0, 30, "libvirtd")
        except TimeoutError as late:
            raise AssertionError(self.log()) from late

    def log(self):
        with open(self.lab.file("libvirtd.log")) as f:
            return f.read()[-3000:]

    def stop(self):
        end(self.daemon)

    def close(self):
        for name in self.domains:
            self.virsh("destroy", name, check=False)
        self.stop()
        self.closed.set()
        self.reaper.join()

    def virsh(self, *args, check=True):
        done = self.lab.host.run(["virsh", "--quiet", *args], check=False, env=self.env, timeout=60)
        said = done.stdout + done.stderr
        assert not check or not done.returncode, f"virsh {args}: {said}\n{self.log()}"
        return done.returncode, said

    def define(self, name, *macs):
        interfaces = "".join(INTERFACE.format(mac=mac) for mac in macs)
        path = self.lab.file(f"{name}.xml")
        self.write(path, DOMAIN.format(name=name, interfaces=interfaces))
        self.virsh("define", path)
        self.domains.add(name)

    def ports(self, name):
        """The taps of a domain, by libvirt's word."""
        lines = self.virsh("domiflist", name)[1].split("\n")
        return sorted(line.split()[0] for line in lines if " bridge " in line)


def shown(lab, name):
    vm = lab.show(f"vm:{name}")
    return sorted(p["name"] for p in vm["ports"]), vm["macs"]


def gated(lab, libvirt, name):
    """The VM has the ports that libvirt has given it, and a program sits on each."""
    ports = libvirt.ports(name)
    assert ports and shown(lab, name)[0] == ports, (ports, shown(lab, name))
    for port in ports:
        lab.wait_hooked(port)
    return ports


def test_a_domain_from_start_to_end(lab):
    libvirt = Libvirt(lab)
    libvirt.define("web1", MAC.format(1))
    libvirt.virsh("start", "web1")
    first, = gated(lab, libvirt, "web1")
    assert shown(lab, "web1")[1] == [MAC.format(1)]
    lab.cli("block", "vm:web1", "--reason", "ticket 4711")

    # the machine starts anew within the same QEMU
    libvirt.virsh("reset", "web1")
    assert gated(lab, libvirt, "web1") == [first]

    # off and on: another tap, the same VM, and the old name is free for the next guest
    libvirt.virsh("destroy", "web1")
    assert shown(lab, "web1") == ([], [MAC.format(1)]) and lab.state("vm:web1") == "block"
    libvirt.define("web2", MAC.format(2))
    libvirt.virsh("start", "web2")
    libvirt.virsh("start", "web1")
    assert gated(lab, libvirt, "web1") != gated(lab, libvirt, "web2")
    assert (lab.state("vm:web1"), lab.state("vm:web2")) == ("block", "allow")
    assert not [p for p in lab.status()["problems"]]


def test_an_interface_that_is_plugged_in_later(lab):
    libvirt = Libvirt(lab)
    libvirt.define("web1", MAC.format(1))
    libvirt.virsh("start", "web1")
    first, = gated(lab, libvirt, "web1")
    libvirt.virsh("attach-interface", "web1", "bridge", "br0", "--model", "virtio", "--mac",
                  MAC.format(2), "--live")
    second, = set(libvirt.ports("web1")) - {first}
    lab.wait_hooked(second)  # by netlink: libvirt calls no hook for it
    assert lab.show(f"port:{second}")["effective"]["source"] == "default"
    said = lab.cli("vm", "import", "libvirt", "--dry-run")
    assert "~ web1" in said and second in said, said
    lab.cli("vm", "import", "libvirt")
    assert gated(lab, libvirt, "web1") == sorted([first, second])
    assert shown(lab, "web1")[1] == [MAC.format(1), MAC.format(2)]


def test_libvirtd_restarts_under_its_guests(lab):
    libvirt = Libvirt(lab)
    libvirt.define("web1", MAC.format(1))
    libvirt.virsh("start", "web1")
    ports = gated(lab, libvirt, "web1")
    lab.cli("block", "vm:web1")
    lab.cli("vm", "set", "web1", "--port", "none")
    libvirt.stop()
    libvirt.start()  # it calls the hook with "reconnect" for each guest that runs
    lab.poll(lambda: shown(lab, "web1")[0] == ports, 10, "the port registered again")
    assert libvirt.virsh("domstate", "web1")[1].strip() == "running"
    assert lab.state("vm:web1") == "block"


def test_guests_start_without_the_gates_daemon(lab):
    libvirt = Libvirt(lab)
    lab.stop()
    libvirt.define("web1", MAC.format(1))
    libvirt.virsh("start", "web1")
    lab.start()
    port, = libvirt.ports("web1")
    assert lab.hooked(port) and lab.run_cli("show", "vm:web1")[0] == 3
    # staff who are not root ask the system's libvirt too
    lab.cli("vm", "import", "libvirt", uid=NOBODY, groups=[STAFF])
    assert gated(lab, libvirt, "web1") == [port]


def main():
    netns.isolate()
    netns.add_line("/etc/passwd", PASSWD)
    netns.add_line("/etc/group", GROUP)
    harness.main()


main()
