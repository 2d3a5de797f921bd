#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""check.py [--build DIR] [--write]: instruction counts against tools/bench/bounds.json.

What the verifier walks to prove each program, and what user space executes for 1,000 VMs
(callgrind). Neither depends on what else the machine is doing. More than 5 % above a bound
fails; --write makes today's counts the bounds.
"""

import argparse
import concurrent.futures
import json
import os
import platform
import re
import shutil
import subprocess
import sys

from lanes import TOP, Unavailable, Workspace
from netns import isolate

BOUNDS = os.path.join(TOP, "tools", "bench", "bounds.json")
PATHS = ("parse", "set_read", "apply", "set_write", "list", "metrics", "tick")
TOLERANCE = 0.05


def verifier(space):
    return space.run("insns", "--config", space.config(1000))[0]


def instructions(space, path):
    valgrind = shutil.which("valgrind")
    if not valgrind:
        raise Unavailable("valgrind is not installed")
    done = subprocess.run([valgrind, "--tool=callgrind", "--callgrind-out-file=/dev/null",
                           "--toggle-collect=measured", space.program("paths"), path],
                          text=True, capture_output=True, timeout=600)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or not found:
        raise Unavailable(done.stderr.strip().splitlines()[-1])
    return int(found[1])


def count(space):
    """({name: count}, [what could not be counted])."""
    counts, left_out = {}, []
    kernel = ".".join(platform.release().split(".")[:2])
    try:
        counts.update({f"verifier, Linux {kernel}, {k}": v for k, v in verifier(space).items()})
    except Unavailable as why:
        left_out.append(f"verifier: {why}")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        jobs = {path: pool.submit(instructions, space, path) for path in PATHS}
    for path, job in jobs.items():
        try:
            counts[f"user space, {path}"] = job.result()
        except Unavailable as why:
            left_out.append(f"{path}: {why}")
    return counts, left_out


def compare(counts, bounds, left_out):
    over = 0
    for name, value in counts.items():
        if name not in bounds:
            left_out.append(f"{name}: no bound yet")
            continue
        share = value / bounds[name] - 1
        word = "OVER" if share > TOLERANCE else "below" if share < -TOLERANCE else "ok"
        over += word == "OVER"
        print(f"{word:5}  {name:34} {value:>12,}  {share:+.1%} of {bounds[name]:,}")
    return over


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    if os.geteuid():
        sys.exit("bench-check: needs root, for BPF: nothing was counted")
    isolate()
    space = Workspace(args.build)
    try:
        counts, left_out = count(space)
    finally:
        space.close()
    bounds = {}
    if os.path.exists(BOUNDS):
        with open(BOUNDS) as f:
            bounds = json.load(f)
    if args.write:
        with open(BOUNDS, "w") as f:
            json.dump({**bounds, **counts}, f, indent=1, sort_keys=True)
            f.write("\n")
        print(f"{len(counts)} bounds written")
        return 0
    over = compare(counts, bounds, left_out)
    for why in left_out:
        print(f"left out: {why}")
    print(f"{len(counts)} counts, {over} over their bounds by more than {TOLERANCE:.0%}, "
          f"{len(left_out)} left out")
    return 1 if over or not counts else 0


if __name__ == "__main__":
    sys.exit(main())
