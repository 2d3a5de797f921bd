#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""The package on a Debian of its own, with systemd in charge and Debian's kernel: installed,
enabled, restarted, killed, stopped, upgraded. The restrictions of the unit are systemd's own.

Run by `make check-long`: it takes minutes, and debootstrap downloads a system the first time.
"""

import glob
import json
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../lib")]

import harness  # noqa: E402
from image import BUILD, STORE, TOP, Initramfs, Kernel, debian  # noqa: E402
from qemu import Machine  # noqa: E402

SERIES = "6.1"
MODULES = ("veth", "bridge", "sch_ingress", "cls_bpf")
PACKAGES = ("systemd", "systemd-sysv", "dbus", "iproute2")
RUN_S = 420
NET_ADMIN = 1 << 12

# The steps are run beside systemd and not by it; their words go to a serial port of their own.
INIT = """\
#!/bin/busybox sh
export PATH=/usr/sbin:/usr/bin
busybox mount -t proc proc /proc
busybox mount -t devtmpfs dev /dev
while read m; do busybox insmod /modules/$m.ko; done </modules/order
busybox setsid bash /steps </dev/null >/dev/ttyS1 2>&1 &
exec /lib/systemd/systemd
"""
PRELUDE = r"""
export NO_COLOR=1
try() { for i in {1..100}; do "$@" && return; sleep 0.5; done; return 1; }
up() { case $(systemctl is-system-running) in running|degraded) ;; *) false ;; esac; }
active() { [ "$(systemctl is-active gate25d)" = active ]; }
pid() { try active; systemctl show -P MainPID gate25d; }
another() { try active && [ "$(pid)" != "$1" ]; }
gated() { gate25 status | grep "$1 .*from_vm"; }
knock() { ip netns exec guest timeout 5 bash -c '</dev/tcp/10.25.0.1/25' 2>&1; true; }
limited() { gate25 show default | grep -q "limit 9/h"; }
step() { echo "@begin $1"; eval "$2"; echo "@end $1 $?"; }
"""
NETWORK = """\
ip netns add guest && ip link add br0 type bridge && ip link add eth0 type veth peer name uplink0
ip link add vnet1 type veth peer name eth0 netns guest
ip link set eth0 master br0 && ip link set vnet1 master br0
for i in br0 eth0 uplink0 vnet1; do ip link set $i up; done
ip -n guest addr add 10.25.0.11/24 dev eth0 && ip -n guest link set eth0 up
ip -n guest neigh add 10.25.0.1 lladdr 52:54:00:99:00:01 dev eth0
"""
SITE = r"[gate]\nbridges = br0\nuplinks = eth0\n[default]\nstate = block\n"
TIERS = r"[default]\nstate = limit\nrate = 9/h\n"
ALICE = "setpriv --reuid alice --regid alice --groups $(getent group gate25 | cut -d: -f3)"
COUNTERS = "gate25 --json show port:vnet1"

# What is typed, in this order; (name, commands). All must end with 0.
STEPS = (
    ("boot", "try up; systemctl is-system-running"),
    ("network", NETWORK),
    ("install", "dpkg -i /gate25.deb"),
    ("configure", f"printf '{SITE}' >/etc/gate25/conf.d/site.conf"),
    ("enable", "systemctl enable --now gate25d && try active"),
    ("gated", "gated vnet1"),
    ("rights", "id -u gate25; cat /proc/$(pid)/status"),
    ("refused", "knock"),
    ("staff", f"useradd alice && {ALICE} gate25 block port:vnet1 --reason 'ticket 4711'"),
    ("why", "gate25 why port:vnet1"),
    ("hotplug", "ip link add vnet2 type veth peer name p2 && ip link set vnet2 master br0 up && "
                "try gated vnet2"),
    ("reload", f"printf '{TIERS}' >/etc/gate25/conf.d/tiers.conf && systemctl reload gate25d && "
               "try limited && rm /etc/gate25/conf.d/tiers.conf && systemctl reload gate25d"),
    ("before", COUNTERS),
    ("restart", "old=$(pid); systemctl restart gate25d && knock && try another $old"),
    ("kill", "old=$(pid); systemctl kill -s KILL gate25d; knock; try another $old"),
    ("stop", "systemctl stop gate25d && knock; [ $(systemctl is-active gate25d) = inactive ]"),
    ("start", "systemctl start gate25d && try active"),
    ("after", COUNTERS),
    ("upgrade", "old=$(pid); dpkg -i /gate25.deb && knock && try another $old"),
    ("upgraded", COUNTERS),
    ("rights again", "id -u gate25; cat /proc/$(pid)/status"),
    ("security", "systemd-analyze --no-pager security gate25d.service"),
    ("journal", "journalctl -q --no-pager -o cat -u gate25d"),
    ("complaints", "journalctl -q --no-pager -o cat -p warning -u gate25d"),
    ("remove", "systemctl stop gate25d; dpkg -r gate25 && knock"),
)


def package():
    """The package of this tree, built anew."""
    done = subprocess.run(["make", "deb", f"B={BUILD}"], cwd=TOP, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True,
                          env={k: v for k, v in os.environ.items()
                               if k not in ("MAKEFLAGS", "MAKELEVEL", "B")})
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    path, = glob.glob(f"{BUILD}/deb/gate25_*.deb")
    return path


def needed(path):
    """The packages that it depends on, without versions."""
    text = subprocess.run(["dpkg-deb", "-f", path, "Depends"], check=True, capture_output=True,
                          text=True).stdout
    return tuple(sorted({re.match(r"\s*(\S+)", word)[1] for word in text.split(",")}))


def boot(kernel, root, deb):
    image = Initramfs()
    image.root(root)
    image.copy(shutil.which("busybox"), "/usr/bin/busybox")
    image.modules(kernel, MODULES)
    image.copy(deb, "/gate25.deb")
    image.add("/init", INIT.encode())
    image.add("/steps", "\n".join(
        [PRELUDE, *(f"step '{name}' '{command.replace(chr(39), QUOTE)}'" for name, command in STEPS),
         "poweroff -f"]).encode())
    for unit in ("serial-getty@ttyS0.service", "getty@tty1.service"):
        image.link(f"/etc/systemd/system/{unit}", "/dev/null")
    image.add("/etc/machine-id", b"25" * 16 + b"\n", 0o644)
    image.add("/etc/hostname", b"hv1\n", 0o644)
    directory = os.path.join(STORE, "systemd")
    os.makedirs(directory, exist_ok=True)
    path = os.path.join(directory, "initramfs")
    image.write(path)
    return Machine(kernel, path, directory, "hv1", cpus=2, memory=1536)


QUOTE = "'\\''"  # one of the shell's, within others


def check_rights(said):
    """Who it runs as, and with what."""
    user, rest = said.split("\n", 1)
    status = dict(line.split(":\t", 1) for line in rest.splitlines() if ":\t" in line)
    assert status["Uid"].split() == [user] * 4, said
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == NET_ADMIN, said
    assert int(status["CapAmb"], 16) == 0 and status["NoNewPrivs"] == "1", said
    assert int(status["Seccomp_filters"]) >= 2, said


def blocked(said):
    return json.loads(said)["counters"]["flows_blocked"]


def test_the_package_under_systemd():
    machine = boot(Kernel(SERIES), debian(PACKAGES + needed(deb)), deb)
    text = machine.wait(RUN_S).replace("\r", "")
    said = {name: (out, int(code)) for name, out, code in
            re.findall(r"^@begin (.*?)\n(.*?)^@end \1 (\d+)$", text, re.M | re.S)}
    for name, command in STEPS:
        assert name in said, f"{name} did not end in time:\n{text[-3000:]}\n{machine.tail()}"
        out, code = said[name]
        assert code == 0, f"{command}: exit {code}\n{out}\n{text[-3000:]}"
    said = {name: out for name, (out, _) in said.items()}

    assert "systemctl enable --now gate25d" in said["install"]
    for name in ("refused", "restart", "kill", "stop", "upgrade", "remove"):
        assert "Connection refused" in said[name], (name, said[name])
    for name in ("rights", "rights again"):
        check_rights(said[name])
    assert "block" in said["why"] and "ticket 4711" in said["why"], said["why"]
    before = blocked(said["before"])
    assert before >= 1
    # restarted, killed, stopped: not one refusal was forgotten
    assert blocked(said["after"]) == before + 3, said["after"]
    assert blocked(said["upgraded"]) == before + 4, said["upgraded"]
    assert "stays in force" in said["remove"], said["remove"]
    level = float(re.search(r"exposure level for \S+: ([\d.]+)", said["security"])[1])
    print(f"# exposure {level}")
    assert level <= 2.0, said["security"]
    # but for what systemd says of the one that was killed, and what is so on this kernel
    ours = [line for line in said["complaints"].splitlines()
            if not line.startswith(("gate25d.service: ", "to_vm is off"))]
    assert not ours, said["journal"]


test_the_package_under_systemd.timeout = RUN_S + 60

# Before the test goes into a network namespace of its own, where apt reaches nothing.
deb = package()
Kernel(SERIES)
debian(PACKAGES + needed(deb))
harness.main()
