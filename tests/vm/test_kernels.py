#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""The programs and their tests on Debian's kernels: each test of tests/bpf is run in a guest
with that kernel, and the verifier's work is held to what is written down in insns.txt."""

import glob
import os
import platform
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../lib")]

import harness  # noqa: E402
from harness import cases  # noqa: E402
from image import BUILD, STORE, TOP, Initramfs, Kernel  # noqa: E402
from qemu import INIT, Machine  # noqa: E402

SERIES = ("6.1", "6.12")
# Of user space's ways nothing differs on a kernel with tcx from the running one.
LEFT_OUT = {"6.12": ("test_attach", "test_load", "test_ports", "test_resize")}
NO_TCX = ("6.1",)
MODULES = ("veth tun tap macvtap dummy bridge sch_ingress cls_bpf cls_u32 cls_matchall "
           "act_police act_gact").split()
INSNS = os.path.join(HERE, "insns.txt")
GROWTH = 1.10
BOOT_AND_RUN_S = 900  # where others want the CPUs too
# What needs tcx has nothing to say without it; nothing else may be skipped.
MAY_SKIP = ("test_attach", "test_ports", "test_ports_moved")

PROGRAMS = [os.path.basename(path)[:-2]
            for path in sorted(glob.glob(os.path.join(TOP, "tests/bpf/test_*.c")))]

SCRIPT = INIT + """\
export CMOCKA_MESSAGE_OUTPUT=TAP
seconds() { cut -d. -f1 /proc/uptime; }
for t in tests/vm/* tests/bpf/*; do
    n=${t##*/}
    echo @begin $n $(seconds); $t; echo @end $n $? $(seconds)
done
poweroff -f
"""

_machines = {}


def programs(series):
    return [name for name in PROGRAMS if name not in LEFT_OUT.get(series, ())]


def _initramfs(kernel, path):
    image = Initramfs()
    image.busybox()
    image.program("/bin/dash", "/bin/sh")  # busybox's own would run its own ip and tc
    for name in ("ip", "tc", "ethtool"):
        image.program(shutil.which(name, path="/usr/sbin:/sbin:/usr/bin:/bin"), f"/sbin/{name}")
    image.modules(kernel, MODULES)
    image.program(os.path.join(BUILD, "tests/vm/insns"), "/tests/vm/insns")
    for name in programs(kernel.series):
        image.program(os.path.join(BUILD, "tests/bpf", name), f"/tests/bpf/{name}")
    image.tree("tests/fuzz/corpus/readers")
    image.add("/init", SCRIPT.encode())
    image.write(path)


def _boot_all():
    """All kernels at once; each is asked for its results later."""
    directory = os.path.join(STORE, "run")  # what they said last stays there to be read
    shutil.rmtree(directory, ignore_errors=True)
    os.makedirs(directory)
    for series in SERIES:
        kernel = Kernel(series)
        path = os.path.join(directory, f"{series}.initramfs")
        _initramfs(kernel, path)
        _machines[series] = Machine(kernel, path, directory, series, cpus=2, memory=1024)


def _results(series):
    """{program: (what it printed, its exit status, seconds)} of one kernel."""
    if not _machines:
        _boot_all()
    text = _machines[series].wait(BOOT_AND_RUN_S)
    return {name: (said, int(code), int(end) - int(begin)) for name, begin, said, code, end in
            re.findall(r"^@begin (\S+) (\d+)\n(.*?)^@end \1 (\d+) (\d+)$", text, re.M | re.S)}


@cases(**{f"{series} {name}": (series, name) for series in SERIES
          for name in programs(series)})
def test_program(case):
    series, name = case
    results = _results(series)
    assert name in results, f"{name} has not ended in time: {_machines[series].tail()}"
    said, code, seconds = results[name]
    planned = sum(int(n) for n in re.findall(r"^1\.\.(\d+)", said, re.M))
    skipped = len(re.findall(r"^(?:not )?ok .*# *skip", said, re.M | re.I))
    passed = len(re.findall(r"^ok (?!.*# *skip)", said, re.M | re.I))
    assert code == 0 and planned and passed + skipped == planned, said[-3000:]
    assert not skipped or (series in NO_TCX and name in MAY_SKIP), f"{skipped} skipped:\n{said}"
    print(f"# {name} on Linux {series}: {passed} passed, {skipped} need tcx, {seconds} s")


test_program.timeout = BOOT_AND_RUN_S + 30


def _recorded():
    with open(INSNS) as f:
        rows = [line.split() for line in f if line.strip() and not line.startswith("#")]
    return {(series, program): int(n) for series, program, n in rows}


def _counted(text):
    return {program: int(n) for program, n in re.findall(r"^(g25_\S+) (\d+)$", text, re.M)}


def _here():
    """The running kernel's series and counts."""
    said = subprocess.run([os.path.join(BUILD, "tests/vm/insns")], capture_output=True, text=True,
                          check=True).stdout
    return ".".join(platform.release().split(".")[:2]), _counted(said)


def _hold_to_record(series, counted):
    recorded = _recorded()
    known = {program: n for (s, program), n in recorded.items() if s == series}
    for program, n in counted.items():
        print(f"# Linux {series}: {program}: {n} instructions, {known.get(program, 'no')} recorded")
    grown = [f"{program}: {known[program]} to {n}" for program, n in counted.items()
             if program in known and n > known[program] * GROWTH]
    assert not grown, f"the verifier's work has grown on {series} (make vm-insns records): {grown}"
    return known


@cases(**{series: series for series in SERIES})
def test_verifier_work(case):
    said, code, _ = _results(case)["insns"]
    assert code == 0, said[-3000:]
    counted = _counted(said)
    known = _hold_to_record(case, counted)
    assert set(known) == set(counted), f"not recorded: {set(known) ^ set(counted)}"


def test_verifier_work_on_the_running_kernel():
    series, counted = _here()
    assert counted
    _hold_to_record(series, counted)


def record():
    """Writes insns.txt anew."""
    PROGRAMS.clear()
    rows = [(series, _counted(_results(series)["insns"][0])) for series in SERIES] + [_here()]
    with open(INSNS, "w") as f:
        f.write("# Instructions that the verifier looks at: kernel, program/gated ports, number.\n"
                "# `make vm-insns` writes this file; `make vm` fails where one grows by 10 %.\n")
        for series, counted in rows:
            for program, n in sorted(counted.items()):
                f.write(f"{series} {program} {n}\n")


# Before the tests go into a network namespace of their own, where apt reaches nothing.
for _series in SERIES:
    Kernel(_series)
if sys.argv[1:] == ["record"]:
    record()
else:
    harness.main()
