#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""The benchmarks' guard holds, and what cannot be measured is left out in words, never in figures."""

import json
import os
import subprocess
import sys
import tempfile

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path[:0] = [os.path.join(TOP, "tests", "lib"), os.path.join(TOP, "scripts", "bench")]

import check
import harness
from harness import cases
from lab import BUILD, NOBODY
from netns import open_to_all

BENCH = os.path.join(open_to_all(TOP), "scripts", "bench")
NO_TCX = {"LD_PRELOAD": os.path.join(BUILD, "tests/lib/refuse_links.so"), "REFUSE_LINK": "tcx"}


def run(script, *args, before=(), env=(), user=None):
    """(exit code, all that was printed)."""
    argv = [*before, sys.executable, "-B", os.path.join(BENCH, script), "--build", BUILD, *args]
    done = subprocess.run(argv, env={**os.environ, **dict(env)}, user=user, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=100)
    return done.returncode, done.stdout


def without(path):
    """Words before a command for which there is no such program."""
    return ["unshare", "--mount", "sh", "-c", f'mount --bind /dev/null {path} && exec "$@"', "sh"]


def test_no_count_is_over_its_bound():
    code, said = run("check.py")
    assert code == 0 and " 0 over their bounds by more than 5%, 0 left out" in said, said


@cases(within=(104, 0, []), beyond=(106, 1, []), unknown=(None, 0, ["x: no bound yet"]))
def test_five_percent_more_fail(case):
    value, over, left_out = case
    bounds, told = {"x": 100} if value else {}, []
    assert check.compare({"x": value or 1}, bounds, told) == over
    assert told == left_out


@cases(one_core=("cores", ["taskset", "--cpu-list", "0"], {}, "one CPU only"),
       no_nft=("apply", without("/usr/sbin/nft"), {}, "nft is not installed"),
       no_tcx=("taps", [], NO_TCX, "this kernel has no tcx"))
def test_what_is_missing_is_said(case):
    part, before, env, why = case
    with tempfile.NamedTemporaryFile("r") as out:
        code, said = run("run.py", "--quick", "--out", out.name, part, before=before, env=env)
        result = json.load(out)
    assert code == 0 and result["rows"] == [], said
    assert len(result["left_out"]) == 1 and why in result["left_out"][0], result["left_out"]
    assert f"left out: {part}: " in said and "0 figures, 0 goals not met, 1 left out" in said, said


@cases(bench=("run.py", "nothing was measured"), guard=("check.py", "nothing was counted"))
def test_without_root(case):
    script, why = case
    code, said = run(script, user=NOBODY)
    assert code == 1 and "needs root" in said and why in said, said
    assert len(said.splitlines()) == 1, said


harness.main()
