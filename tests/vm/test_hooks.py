#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""The tc commands of Proxmox, libvirt and Open vSwitch, to the letter, on Debian's kernels, which
have the policers that they ask for: on 6.1 the gate shares the legacy hook with them, on 6.12 it has
tcx. Before the gate comes, while it is there and a blocked guest knocks, and after."""

import os
import re
import shutil
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../lib")]

import harness  # noqa: E402
from harness import cases  # noqa: E402
from image import BUILD, STORE, Initramfs, Kernel  # noqa: E402
from qemu import INIT, Machine  # noqa: E402
from tcsequences import OVS_OFFLOAD, SEQUENCES  # noqa: E402

SERIES = {"6.1": "tc", "6.12": "tcx"}
THEIRS = {**SEQUENCES, "ovs_offload": OVS_OFFLOAD}
# On the legacy hook the first priority is the gate's, which OVS wants when it offloads.
NOT_TOGETHER = {("6.1", "ovs_offload")}
MODULES = ("veth bridge bonding sch_ingress sch_htb sch_sfq cls_bpf cls_u32 cls_fw cls_basic cls_matchall "
           "act_police act_gact").split()
BOOT_AND_RUN_S = 600  # where others want the CPUs too
PLAYS = 3

CONFIG = """\
[gate]
bridges = br0
max_vms = 16
flows_per_vm = 64
grace = 0
[default]
state = block
[control]
socket = /run/control.sock
group = root
[store]
path = /run/gate25.db
[bpf]
pin = /sys/fs/bpf/gate25
"""

# Ports vnet1… of one bridge, each with a guest behind it; a server at the uplink, a bond.
SETUP = INIT + """\
mount -t bpf bpf /sys/fs/bpf
ip link add br0 type bridge stp_state 0 forward_delay 0
ip link set br0 up
ip netns add inet
ip link add eth0 type veth peer name up0 netns inet
ip link add bond0 type bond mode active-backup miimon 50
ip link set eth0 master bond0; ip link set bond0 up; ip link set bond0 master br0
ip -n inet addr add 10.25.255.1/16 dev up0
ip -n inet link set up0 up; ip -n inet link set lo up
ip netns exec inet nc -ll -p 25 -e echo 220 hello &

fail() { echo "@fail $*"; }
metric() { wget -qO- http://127.0.0.1:9625/metrics | awk -v m="$1" 'index($1, m) == 1 {print $2}'; }
# TCP segments that have reached the server's side, whatever became of them
segments() { ip netns exec inet awk '/^Tcp: [0-9]/ {print $11}' /proc/net/snmp; }
knock() { ip netns exec g$1 timeout 10 nc -w 1 10.25.255.1 25 </dev/null 2>&1; }
attached() { [ "$(metric "gate25_port_attached{port=\\"$1\\"")" = 1 ]; }
until_attached() {
    for i in $(seq 100); do attached vnet$1 && return; usleep 200000; done
    fail "from_vm is not on vnet$1"
}
theirs() {
    tc filter show dev vnet$1 parent ffff: | grep -q police || fail "$2: their policer is gone"
}
guest() {
    ip netns add g$1
    ip link add vnet$1 type veth peer name e0 netns g$1
    ip link set vnet$1 master br0; ip link set vnet$1 up
    ip -n g$1 addr add 10.25.0.1$1/16 dev e0
    ip -n g$1 link set e0 up
}
"""

BEGIN = """\
gate25d --config /gate25.conf >/run/log 2>&1 &
gate=$!
for i in $(seq 300); do grep -q 'gate is in place' /run/log && break; usleep 200000; done
grep 'gate is in place' /run/log || fail "no gate: $(cat /run/log)"
"""

WHILE_IT_IS_THERE = """\
echo @begin {who}
until_attached {n}
theirs {n} "at the start"
from=$(segments)
knock {n} | grep -q refused || fail "a blocked guest is not told"
while :; do knock {n} >/dev/null; done &
load=$!
for round in $(seq {plays}); do
    play_{who}
    until_attached {n}
    theirs {n} "round $round"
done
kill $load; wait $load 2>/dev/null
knock {n} | grep -q refused || fail "a blocked guest is not told, in the end"
echo "@segments $(( $(segments) - from ))"
echo "@gaps $(metric gate25_reattach_total) $(metric gate25_unattached_seconds_total)"
echo @end {who}
"""

# Found by itself, the uplink is one for its bridge's sake: it stays one while that is made again.
BRIDGE_AGAIN = """\
echo @begin bridge
attached bond0 || fail "no backstop at the start"
from=$(segments)
for round in $(seq {plays}); do
    ip link del br0
    for look in $(seq 10); do  # the daemon has heard of it by then, and has had time to be wrong
        attached bond0 || fail "no backstop while the bridge is away"
        attached vnet1 || fail "no from_vm while the bridge is away"
        usleep 50000
    done
    ip link add br0 type bridge stp_state 0 forward_delay 0
    ip link set br0 up
    for dev in bond0 vnet{numbers}; do ip link set $dev master br0; done
    knock 1 | grep -q refused || fail "a blocked guest is not told"
    attached bond0 || fail "no backstop once the bridge is back"
done
echo "@segments $(( $(segments) - from ))"
echo @end bridge
"""

ALLOWED = """\
echo @begin allowed
sed -i 's/state = block/state = allow/' /gate25.conf
kill -HUP $gate
for n in {numbers}; do
    for i in $(seq 50); do knock $n | grep -q 220 && break; usleep 100000; done
    knock $n | grep -q 220 || fail "guest $n is allowed and gets nothing"
done
echo @end allowed
cat /run/log
poweroff -f
"""


def play(who, dev):
    """
    Their commands as a function of the shell, which says what went wrong of what must not. One
    process for all of them: an emulated machine would take seconds to start one for each.
    """
    commands = [line.strip() for line in THEIRS[who].format(dev=dev).strip().splitlines()]
    must = "|".join(str(n) for n, line in enumerate(commands, 1) if not line.startswith("-"))
    batch = "\n".join(line.lstrip("-").removeprefix("tc ") for line in commands)
    return (f"play_{who}() {{\n"
            f"    tc -force -batch - >/run/said 2>&1 <<'end'\n{batch}\nend\n"
            f"    grep -qE '^Command failed -:({must})$' /run/said && fail \"$(cat /run/said)\"\n"
            "}\n")


def script(series):
    number = {who: n for n, who in enumerate(THEIRS, 1)}
    text = SETUP + "".join(play(who, f"vnet{n}") for who, n in number.items())
    text += "".join(f"echo @begin {who}_before\nguest {n}\nplay_{who}\necho @end {who}_before\n"
                    for who, n in number.items())
    text += BEGIN
    text += "".join(WHILE_IT_IS_THERE.format(who=who, n=n, plays=PLAYS)
                    for who, n in number.items() if (series, who) not in NOT_TOGETHER)
    text += BRIDGE_AGAIN.format(plays=PLAYS, numbers=" vnet".join(map(str, number.values())))
    return text + ALLOWED.format(numbers=" ".join(map(str, number.values())))


_machines = {}


def _boot_all():
    directory = os.path.join(STORE, "hooks")  # what they said last stays there to be read
    shutil.rmtree(directory, ignore_errors=True)
    os.makedirs(directory)
    for series in SERIES:
        kernel = Kernel(series)
        image = Initramfs()
        image.busybox()
        image.program("/bin/dash", "/bin/sh")  # busybox's own would run its own ip and tc
        for name in ("ip", "tc"):
            image.program(shutil.which(name, path="/usr/sbin:/sbin:/usr/bin:/bin"), f"/sbin/{name}")
        image.program(os.path.join(BUILD, "gate25d"), "/sbin/gate25d")
        image.modules(kernel, MODULES)
        image.add("/etc/group", b"root:x:0:\n", 0o644)
        image.add("/etc/passwd", b"root:x:0:0::/:/bin/sh\n", 0o644)
        image.add("/gate25.conf", CONFIG.encode(), 0o644)
        image.add("/init", script(series).encode())
        path = os.path.join(directory, f"{series}.initramfs")
        image.write(path)
        _machines[series] = Machine(kernel, path, directory, series, cpus=2, memory=512)


def _said(series, part):
    if not _machines:
        _boot_all()
    text = _machines[series].wait(BOOT_AND_RUN_S)
    found = re.search(rf"^@begin {part}\n(.*?)^@end {part}$", text, re.M | re.S)
    assert found, f"{part} has not ended: {text[-3000:]}\n{_machines[series].tail()}"
    return found[1]


TABLE = {f"{series} {who}": (series, who) for series in SERIES for who in THEIRS
         if (series, who) not in NOT_TOGETHER}


@cases(**TABLE)
def test_their_commands(case):
    series, who = case
    before, said = _said(series, f"{who}_before"), _said(series, who)
    assert "@fail" not in before + said, before + said
    leaked = int(re.search(r"^@segments (\d+)$", said, re.M)[1])
    assert leaked == 0, f"{leaked} segments of a blocked guest got out"
    gaps, seconds = map(float, re.search(r"^@gaps (\S+) (\S+)$", said, re.M).groups())
    if SERIES[series] == "tcx":  # nobody's qdisc is in the way
        assert gaps == 0, said
    else:  # the gap is measured, and the backstop was there
        assert gaps >= PLAYS and seconds > 0, said
    print(f"# {who} on Linux {series}: {gaps:.0f} gaps, {seconds:.3f} s without from_vm so far")


@cases(**{series: series for series in SERIES})
def test_a_bridge_made_again(case):
    said = _said(case, "bridge")
    assert "@fail" not in said and "@segments 0\n" in said, said


@cases(**{series: series for series in SERIES})
def test_what_is_allowed_gets_through(case):
    said = _said(case, "allowed")
    assert "@fail" not in said, said


test_their_commands.timeout = test_a_bridge_made_again.timeout = BOOT_AND_RUN_S + 30
test_what_is_allowed_gets_through.timeout = BOOT_AND_RUN_S + 30

# Before the tests go into a network namespace of their own, where apt reaches nothing.
for _series in SERIES:
    Kernel(_series)
harness.main()
