# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Goals 1, 7, 11 and 13: the programs by themselves, under BPF_PROG_TEST_RUN."""

import statistics

from lanes import paired, summary
from result import Row, ns, times

FLOWS_APART = ("flows", "dests")  # the flow table and the memory of destinations


def glance(run):
    lines = run.space.run("glance", "--config", run.space.config(1),
                          "--rounds", run.rounds(300, 60))
    added = {}
    for line in lines:
        key = line["program"], line["shape"]
        added[key] = min(line["own"]) - min(line["empty"])
    detail = {f"{p}, {s}": round(v, 2) for (p, s), v in added.items()}
    detail["empty"] = summary(lines[0]["empty"])
    names = {"other": "IPv4", "other6": "IPv6", "tagged": "one tag"}
    for shape, name in names.items():
        value = added["from_vm", shape]
        run.row(Row(1, f"non-SMTP, {name}: from_vm over an empty program", ns(value),
                    goal="<= 3 ns", met=value <= 3, detail=detail))


def decision(run):
    """No goal of its own: where the cost of a gated frame goes."""
    table = {}
    for vms in run.sizes:
        for line in run.space.run("decision", "--config", run.space.config(vms), "--vms", vms,
                                  "--rounds", run.rounds(60, 20),
                                  "--repeat", max(10000, vms)):
            table.setdefault(line["case"], []).append(
                [vms, round(min(line["own"]) - min(line["empty"]), 1)])
    run.series("decision", table)


def costs(run):
    """Not a goal: both directions, and the careful reader at its worst."""
    lines = run.space.run("costs", "--config", run.space.config(1),
                          "--rounds", run.rounds(20, 5), "--repeat", run.frames(4000))
    shapes = [line for line in lines if "closed VM" in line["case"]]
    worst = max(shapes, key=lambda line: line["ns"])
    for line in [line for line in lines if line not in shapes] + [worst]:
        name = line["case"] + (f" (the worst of {len(shapes)} shapes)" if line is worst else "")
        run.row(Row(16, name, ns(line["ns"]), goal="reported",
                    detail={"over": "an empty program"}))
    run.series("costs", {line["case"]: line["ns"] for line in lines})


def cores(run):
    got = run.space.run("cores", "--config", run.space.config(1),
                        "--rounds", run.rounds(50, 15))[0]
    takes = got.pop("takes")
    middle = {name: statistics.median(values) for name, values in got.items()}
    word = (middle["word"] - middle["empty"]) / takes
    locked = (middle["locked"] - middle["empty"]) / takes
    decided = middle["decision"] - middle["generator"]
    detail = {name: summary(values) for name, values in got.items()}
    run.row(Row(7, "two cores on one VM: the bucket alone", ns(word), peer=ns(locked),
                peer_name="spin lock", ratio=word / locked, goal="<= 0.2",
                met=word / locked <= 0.2, detail=detail))
    run.row(Row(7, "two cores on one VM: the whole decision, all limits, counters",
                ns(decided), peer=ns(locked), peer_name="spin lock", ratio=decided / locked,
                goal="<= 1", met=decided / locked <= 1))


def memory(run):
    few, many = (run.space.run("memory", "--config", run.space.config(n))[0]
                 for n in (1000, 11000))
    vms = many["max_vms"] - few["max_vms"]
    each = {name: round((many["maps"][name] - few["maps"][name]) / vms, 1)
            for name in few["maps"]}
    total = sum(size for name, size in each.items() if name not in FLOWS_APART)
    run.row(Row(11, "memory per VM in the kernel, flows apart", f"{total:.0f} B",
                peer="350 B", peer_name="nft, by its set alone", ratio=total / 350,
                goal="<= 512 B", met=total <= 512,
                detail={"bytes per VM": {k: v for k, v in each.items() if v},
                        "possible CPUs": few["cpus"]}))


def attack(run):
    victims = run.rounds(1000, 200)
    got = run.space.run("attack", "--config", run.space.config(victims + 1),
                        "--victims", victims, "--rounds", run.rounds(50, 15))[0]
    ratio = paired(got["attacked"], got["calm"])
    run.row(Row(13, f"one VM opens {got['attack_flows']} flows: neighbours' flows lost",
                str(got["lost"]), goal="0", met=got["lost"] == 0))
    run.row(Row(13, "the same: cost of the neighbours' frames", times(ratio), goal="<= 1.1x",
                met=ratio <= 1.1,
                detail={k: summary(got[k]) for k in ("calm", "attacked")}))
