#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""pair.py BUILD_A BUILD_B [--vms N] [--rounds N]: does a change of the packet path show?

Both builds' programs on lanes of their own, measured in turn; a change that does not show
here goes out again.
"""

import argparse
import os
import sys

from lanes import Contender, Lane, Workspace, interleave, paired, summary
from netns import isolate

CASES = [  # name, shape, new flows, policy, delivered
    ("non-SMTP", "other", False, "limit", 1.0),
    ("known flow", "data", False, "limit", 1.0),
    ("new flow, limits", "syn", True, "limit", 1.0),
    ("new flow, allowed", "syn", True, "allow", 1.0),
    ("refused", "syn", True, "block", 0.0),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", nargs=2)
    parser.add_argument("--vms", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--frames", type=int, default=100000)
    parser.add_argument("--single", action="store_true", help="one VM on a port of its own")
    args = parser.parse_args()
    isolate()
    builds = [os.path.abspath(b) for b in args.build]
    space = Workspace(builds[0])
    lanes = [Lane(space, f"{'AB'[i]} {os.path.basename(b)}", b) for i, b in enumerate(builds)]
    none = Lane(space, "no filter")
    drop = Lane(space, "drop all")
    try:
        drop.ask("hook", "drop", "none")
        for lane in lanes:
            lane.ask("gate", space.config(args.vms), args.vms)
            if args.single:
                lane.ask("single")
            lane.ask("hook", "from_vm", "none")
        for name, shape, new, policy, delivered in CASES:
            floor = none if delivered else drop
            for lane in lanes:
                lane.ask("policy", policy)
            if shape == "data":
                for lane in lanes:
                    lane.ask("frames", "syn", args.vms)
                    lane.ask("blast", args.vms)
            for lane in (*lanes, none, drop):
                lane.ask("frames", shape, args.vms, *(["new"] if new else []))
            got = interleave([Contender(l.name, l, delivered) for l in (*lanes, floor)],
                             args.rounds, args.frames)
            a, b, f = (got[l.name] for l in (*lanes, floor))
            print(f"{name:18} A {min(a) - min(f):6.1f}  B {min(b) - min(f):6.1f} ns over "
                  f"{floor.name} {min(f):.0f};  B/A of the whole {paired(b, a):.3f} "
                  f"(spread {summary(b)['spread']:.1%});  A {min(a) / min(f):.2f} "
                  f"B {min(b) / min(f):.2f} of the floor", flush=True)
    finally:
        for lane in (*lanes, none, drop):
            lane.close()
        space.close()


sys.exit(main())
