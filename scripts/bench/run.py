#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""run.py [--build DIR] [--quick] [--out FILE] [PART…]: measures gate25 beside what people use.

One row for each figure: what, figure, peer, ratio, goal, met or not; all of it as JSON in
DIR/bench.json. Everything lives in namespaces of this process. What cannot be measured here
is said at the end and is in the JSON; there is no figure for it.
"""

import argparse
import datetime
import json
import os
import platform
import sys
import time
import traceback

from lanes import Unavailable, Workspace  # first: it makes the tests' lab known
import control
import decisions
import lab
import path
import taps
from netns import isolate
from result import as_json, table

PARTS = {
    "glance": decisions.glance, "hooks": path.end_to_end, "frames": path.frames_by_vms,
    "decision": decisions.decision, "costs": decisions.costs, "cores": decisions.cores,
    "memory": decisions.memory, "attack": decisions.attack, "taps": taps.taps,
    "early": taps.early, "ports": taps.ports, "apply": control.apply_set,
    "block": control.block, "metrics": control.metrics, "rest": control.at_rest,
}
BPF_STATS = "/proc/sys/kernel/bpf_stats_enabled"


class Run:
    def __init__(self, build, quick):
        self.quick, self.build = quick, os.path.abspath(build)
        self.rows, self.omitted, self.data = [], [], {}
        self.sizes = (10, 1000, 10000) if quick else (10, 1000, 10000, 100000)
        self.space = Workspace(build)
        lab.BUILD = self.build

    def rounds(self, full, quick):
        return quick if self.quick else full

    def frames(self, n):
        return n // 2 if self.quick else n

    def row(self, row):
        self.rows.append(row)
        print("  " + table([as_json(row)]).splitlines()[1], flush=True)

    def series(self, name, data):
        self.data[name] = data

    def left_out(self, why):
        self.omitted.append(why)
        print(f"  left out: {why}", flush=True)

    def part(self, name):
        begin = time.monotonic()
        print(f"{name}:", flush=True)
        try:
            PARTS[name](self)
        except Unavailable as why:
            self.left_out(f"{name}: {why}")
        except Exception as error:  # one part's failure is no other's
            traceback.print_exc()
            self.left_out(f"{name}: went wrong: {error}")
        print(f"  {time.monotonic() - begin:.0f} s", flush=True)

    def save(self, path):
        rows = sorted((as_json(r) for r in self.rows), key=lambda r: r["goal_number"])
        result = {"version": 1, "quick": self.quick,
                  "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
                  "kernel": platform.release().split("-")[0], "machine": machine(), "rows": rows,
                  "left_out": self.omitted, "series": self.data}
        with open(path, "w") as f:
            json.dump(result, f, indent=1)
            f.write("\n")
        return rows


def machine():
    model = "unknown"
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {"cpu": model, "cpus": len(os.sched_getaffinity(0))}


def stats_off():
    """bpf_stats adds 49 ns to each run of a program. Returns what puts it back."""
    try:
        with open(BPF_STATS) as f:
            before = f.read().strip()
        if before == "0":
            return lambda: None
        with open(BPF_STATS, "w") as f:
            f.write("0")
    except OSError:
        return lambda: None

    def put_back():
        with open(BPF_STATS, "w") as f:
            f.write(before)
    return put_back


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("--quick", action="store_true", help="2 minutes, coarser")
    parser.add_argument("--out", metavar="FILE", help="in place of DIR/bench.json")
    parser.add_argument("part", nargs="*", metavar="PART", help=", ".join(PARTS))
    args = parser.parse_args()
    for name in args.part:
        if name not in PARTS:
            parser.error(f"no part {name} ({', '.join(PARTS)})")
    if os.geteuid():
        sys.exit("bench: needs root, for namespaces and BPF: nothing was measured")
    out = args.out or os.path.join(args.build, "bench.json")
    isolate()
    os.nice(-20)  # for all contenders alike; ends with this process
    put_back = stats_off()
    run = Run(args.build, args.quick)
    begin = time.monotonic()
    try:
        for name in args.part or PARTS:
            run.part(name)
        rows = run.save(out)
    finally:
        put_back()
        run.space.close()
    print("\n" + table(rows))
    for why in run.omitted:
        print(f"left out: {why}")
    unmet = sum(not r["met"] for r in rows if r["met"] is not None)
    print(f"\n{len(rows)} figures, {unmet} goals not met, {len(run.omitted)} left out, "
          f"{time.monotonic() - begin:.0f} s; {out}")


main()
