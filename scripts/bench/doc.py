#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""doc.py [--build DIR]: writes the measured parts of docs/performance.md and the plots anew.

Reads DIR/bench.json, as `make bench` leaves it. What stands outside of the marks
<!-- measured: NAME --> … <!-- end --> in the document is written by people and stays.
"""

import argparse
import json
import os
import re
import sys

from lanes import TOP
from plot import chart
from result import markdown

DOCUMENT = os.path.join(TOP, "docs", "performance.md")
PLOTS = os.path.join(TOP, "docs", "plots")
FRAMES = {"non-SMTP": "a frame that is not SMTP", "known flow": "a frame of an open SMTP flow",
          "admitted new flow": "a new flow, admitted", "refused new flow": "a new flow, refused"}


def head(result):
    machine = result["machine"]
    kind = "quick" if result["quick"] else "full"
    return (f"A {kind} run of {result['date']} on {machine['cpus']} CPUs ({machine['cpu']}), "
            f"Linux {result['kernel']}.")


def unmet(result):
    rows = [r for r in result["rows"] if r["met"] is False]
    said = [f"- {r['goal_number']}: {r['what']}: {r['figure']}, goal {r['goal']}" for r in rows]
    left = [f"- left out: {why}" for why in result["left_out"]]
    return "\n".join(said + left) or "All goals are met, and nothing was left out."


def details(result):
    out = []
    for row in result["rows"]:
        if not row["detail"]:
            continue
        out.append(f"- {row['goal_number']}, {row['what']}:")
        for key, value in row["detail"].items():
            if isinstance(value, dict) and "median" in value:
                value = (f"median {value['median']:g}, least {value['min']:g}, "
                         f"spread {value['spread']:.1%}, {value['n']} samples")
            elif isinstance(value, dict):
                value = ", ".join(f"{k} {v}" for k, v in value.items()
                                  if not isinstance(v, dict))
            out.append(f"  {key}: {value}")
    return "\n".join(out)


def keep(name, data):
    """The data of a plot beside it."""
    with open(os.path.join(PLOTS, f"{name}.json"), "w") as f:
        json.dump(data, f, separators=(",", ":"))
        f.write("\n")


def with_floor(lines):
    """The floor has no number of VMs: a line across."""
    sizes = [x for points in lines.values() for x, _ in points if x]
    return {name: points if points[0][0] else [[min(sizes), points[0][1]],
                                               [max(sizes), points[0][1]]]
            for name, points in lines.items()}


def distribution(seconds):
    ordered = sorted(seconds)
    return [[value * 1e3, 100 * (i + 1) / len(ordered)] for i, value in enumerate(ordered)]


def plots(series):
    os.makedirs(PLOTS, exist_ok=True)
    drawn = []
    for case, lines in series.get("frames", {}).items():
        name = "frames-" + case.replace(" ", "-").lower()
        keep(name, lines)
        chart(os.path.join(PLOTS, name + ".svg"), f"{FRAMES[case]}, across a bridge",
              with_floor(lines), "VMs", "ns for each frame", log_y=False)
        drawn.append((name, FRAMES[case]))
    if "toggle" in series:
        lines = {name: distribution(values) for name, values in series["toggle"].items()}
        keep("toggle", lines)
        chart(os.path.join(PLOTS, "toggle.svg"), "from asking to the last frame on the wire",
              lines, "ms", "% of the changes done by then", log_y=False, steps=True)
        drawn.append(("toggle", "closing one VM"))
    if "scrape" in series:
        keep("scrape", series["scrape"])
        chart(os.path.join(PLOTS, "scrape.svg"), "all counters of all VMs read", series["scrape"],
              "VMs", "ms")
        drawn.append(("scrape", "reading all counters"))
    return "\n\n".join(f"![{words}](plots/{name}.svg)" for name, words in drawn)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build")
    path = os.path.join(parser.parse_args().build, "bench.json")
    try:
        with open(path) as f:
            result = json.load(f)
    except OSError as why:
        sys.exit(f"bench-doc: {path}: {why.strerror}: run `make bench` first")
    parts = {"run": head(result), "table": markdown(result["rows"]), "unmet": unmet(result),
             "plots": plots(result["series"]), "details": details(result)}
    with open(DOCUMENT) as f:
        page = f.read()
    for name, words in parts.items():
        page, count = re.subn(rf"(<!-- measured: {name} -->\n).*?(<!-- end -->)",
                              lambda m, w=words: f"{m[1]}{w}\n{m[2]}", page, flags=re.DOTALL)
        if not count:
            sys.exit(f"bench-doc: {DOCUMENT} has no mark for '{name}'")
    with open(DOCUMENT, "w") as f:
        f.write(page)
    print(f"bench-doc: {len(result['rows'])} rows, {DOCUMENT}")


main()
