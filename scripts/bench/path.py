# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Goals 2 to 6: what a frame pays on its way through a bridge, beside the peers."""

import statistics

from lanes import Contender, Lane, Unavailable, interleave, paired, paired_added, summary
from peers import PEERS
from result import Row, ns, times

NO_FILTER, DROP_ALL, GATE = "no filter", "drop all", "gate25"
ALONE = "gate25, one VM on its port"  # as on a hypervisor: the port tells whose frame it is
SETUPS = {  # what is on the way in and on the way out
    "no filter": ("none", "none"),
    "empty, one hook": ("empty", "none"),
    "from_vm": ("from_vm", "none"),
    "empty, two hooks": ("empty", "empty"),
    "from_vm, uplink_out": ("from_vm", "uplink_out"),
}
# Where the kernel puts a program in its memory is worth more than what is measured here: so it
# is loaded as often, and each time into another lane.
PLACES = 8


class Field:
    """All lanes of goals 3 to 6, for all numbers of VMs, at the same time."""

    def __init__(self, space, sizes, left_out):
        self.sizes, self.lanes = sizes, {}
        self.floor = {NO_FILTER: Lane(space, NO_FILTER), DROP_ALL: Lane(space, DROP_ALL)}
        self.floor[DROP_ALL].ask("hook", "drop", "none")
        for vms in sizes:
            lane = self.lanes[GATE, vms] = Lane(space, f"gate25, {vms} VMs")
            self._gate(lane, space, vms)
            for name, load in PEERS.items():
                lane = Lane(space, f"{name}, {vms} VMs")
                try:
                    load(lane, vms, "limit")
                    self.lanes[name, vms] = lane
                except Unavailable as why:
                    lane.close()
                    left_out(f"{name} with {vms} VMs: {why}")

        lane = self.lanes[ALONE, sizes[0]] = Lane(space, ALONE)
        self._gate(lane, space, sizes[0])
        lane.ask("single")

    @staticmethod
    def _gate(lane, space, vms):
        lane.ask("gate", space.config(vms), vms)
        lane.ask("hook", "from_vm", "none")

    def policy(self, policy):
        for (name, vms), lane in self.lanes.items():
            if name in (GATE, ALONE):
                lane.ask("policy", policy)
            else:
                PEERS[name](lane, vms, policy)

    def frames(self, shape, *new):
        for (_, vms), lane in self.lanes.items():
            lane.ask("frames", shape, vms, *new)
        for lane in self.floor.values():
            lane.ask("frames", shape, max(self.sizes), *new)

    def run(self, rounds, frames, delivered, floor, names=None):
        """{(contender, VMs): samples}; the floor's key is (its name, None)."""
        chosen = {k: l for k, l in self.lanes.items() if names is None or k[0] in names}
        got = interleave([Contender(l.name, l, delivered) for l in chosen.values()] +
                         [Contender(floor, self.floor[floor], delivered)],
                         rounds, max(frames, max(self.sizes)))
        samples = {key: got[lane.name] for key, lane in chosen.items()}
        samples[floor, None] = got[floor]
        return samples

    def close(self):
        for lane in (*self.lanes.values(), *self.floor.values()):
            lane.close()


def in_all_places(run, lanes, setups, beside, rounds):
    """{set-up: samples of all places}; those of one round and place stand at one index."""
    places = {(name, i): Contender(f"{name}, {i}", lane,
                                   on=lambda l=lane, h=hooks: l.ask("hook", *h))
              for i, lane in enumerate(lanes) for name, hooks in setups.items()}
    got = interleave([*places.values(), *(Contender(l.name, l) for l in beside)],
                     rounds, run.frames(50000))
    return {**{name: [ns for i in range(len(lanes)) for ns in got[places[name, i].name]]
               for name in setups}, **{l.name: got[l.name] for l in beside}}


def end_to_end(run):
    """Goal 2: non-SMTP on lanes of one bridge, their hooks changed between samples."""
    lanes, beside = [], []
    try:
        for i in range(PLACES):
            lanes.append(Lane(run.space, f"hooks {i}"))
            lanes[i].ask("gate", run.space.config(10), 10)
        try:
            for name in ("nft bridge", "no filter beside"):
                beside.append(Lane(run.space, name))
                if name in PEERS:
                    PEERS[name](beside[-1], 10, "limit")
        except Unavailable as why:
            while beside:
                beside.pop().close()
            run.left_out(f"goal 2 beside nft bridge: {why}")
        for lane in (*lanes, *beside):
            lane.ask("frames", "other", 10)
        got = in_all_places(run, lanes, SETUPS, beside, run.rounds(12, 3))
        tagged = {}
        for shape in ("other6", "tagged"):
            for lane in lanes:
                lane.ask("frames", shape, 10)
            one_hook = {name: SETUPS[name] for name in ("no filter", "from_vm")}
            tagged[shape] = in_all_places(run, lanes, one_hook, [], run.rounds(4, 2))
    finally:
        for one in (*lanes, *beside):
            one.close()
    hook_rows(run, got, tagged)


def hook_rows(run, got, tagged):
    none, one, both = got["no filter"], got["from_vm"], got["from_vm, uplink_out"]
    ratio, beside = paired(one, none), None
    if "nft bridge" in got:
        beside = paired(got["nft bridge"], got["no filter beside"])
    run.row(Row(2, "non-SMTP end to end, one hook", times(ratio),
                peer=beside and times(beside), ratio=beside and (ratio - 1) / (beside - 1),
                goal="<= 1.10x no filter and less than nft bridge adds",
                met=False if ratio > 1.10 else None if beside is None else ratio < beside,
                peer_name="nft bridge",
                detail={"samples": {k: summary(v) for k, v in got.items()},
                        "empty program": round(paired(got["empty, one hook"], none), 4),
                        "IPv6": round(paired(tagged["other6"]["from_vm"],
                                             tagged["other6"]["no filter"]), 4),
                        "tagged": round(paired(tagged["tagged"]["from_vm"],
                                               tagged["tagged"]["no filter"]), 4)}))
    more = statistics.median(b - e for b, e in zip(both, got["empty, two hooks"])) - \
        statistics.median(a - e for a, e in zip(one, got["empty, one hook"]))
    run.row(Row(2, "non-SMTP, each further hook over an empty one", ns(more),
                goal="<= 3 ns", met=more <= 3,
                detail={"empty, two hooks": round(paired(got["empty, two hooks"], none), 4)}))
    run.row(Row(2, "non-SMTP, the default set-up (two hooks in a frame's way)",
                times(paired(both, none)), goal="<= 1.20x", met=paired(both, none) <= 1.20,
                peer=times(paired(got["empty, two hooks"], none)), peer_name="two empty hooks",
                ratio=paired(both, got["empty, two hooks"])))


def flat_rows(run, other, new):
    """Goal 3: from the least to the largest number of VMs."""
    least, most = run.sizes[0], run.sizes[-1]
    a, b = paired(other[GATE, most], other[GATE, least]), paired(new[GATE, most], new[GATE, least])
    run.row(Row(3, f"non-SMTP, {most} VMs beside {least}", times(a), goal="within 2 %",
                met=abs(a - 1) <= 0.02))
    peer = paired(new["nft bridge", most], new["nft bridge", least]) \
        if ("nft bridge", most) in new and ("nft bridge", least) in new else None
    run.row(Row(3, f"new flows, {most} VMs beside {least}", times(b), goal="<= 1.5x",
                met=b <= 1.5, peer=peer and times(peer), peer_name="nft bridge"))


def contenders(run):
    """The gate's rows: contender, number of VMs, in words."""
    return [(ALONE, run.sizes[0], "one VM on its port")] + \
        [(GATE, vms, f"{vms} VMs on one port") for vms in run.sizes]


def admitted_rows(run, new):
    """Goal 4: what an admitted flow adds, of what nft adds; nft keeps no flows."""
    floor = new[NO_FILTER, None]
    for name, vms, who in contenders(run):
        own, limit = new[name, vms], 0.5 if vms >= 10000 else 1.0
        nft = new.get(("nft bridge", vms))
        ratio = nft and paired_added(own, nft, floor)
        run.row(Row(4, f"admitted new flow, {who}: added", ns(min(own) - min(floor)),
                    peer=nft and ns(min(nft) - min(floor)), peer_name="nft bridge", ratio=ratio,
                    goal=f"<= {limit:g} of nft's", met=ratio and ratio <= limit,
                    detail={k[0]: summary(v) for k, v in new.items() if k[1] in (vms, None)}))


def refused_rows(run, refused):
    """Goal 5: the whole of a refused frame, beside dropping all and beside nft."""
    floor = refused[DROP_ALL, None]
    for name, vms, who in contenders(run):
        own, nft = refused[name, vms], refused.get(("nft bridge", vms))
        beside = paired(own, floor)
        ratio = nft and paired(own, nft)
        met = (vms > 1000 or beside <= 1.3) and (ratio is None or ratio <= 0.5)
        goal = "<= 0.5 of nft" + (" and <= 1.3x drop-all" if vms <= 1000 else "")
        run.row(Row(5, f"refused new flow, {who}: {times(beside)} drop-all", ns(min(own)),
                    peer=nft and ns(min(nft)), peer_name="nft bridge", ratio=ratio, goal=goal,
                    met=met if nft or not met else None,
                    detail={k[0]: summary(v) for k, v in refused.items()
                            if k[1] in (vms, None)}))


def known_row(run, field):
    """Goal 6: a frame of a flow that is open, per hook."""
    for (name, vms), lane in field.lanes.items():
        lane.ask("frames", "syn", vms)
        lane.ask("blast", vms)
    field.frames("data")
    got = field.run(run.rounds(20, 6), run.frames(50000), 1.0, NO_FILTER)
    floor, least = got[NO_FILTER, None], run.sizes[0]
    nft = got.get(("nft bridge", least))
    for name, vms, who in contenders(run)[:2]:
        own = got[name, vms]
        ratio = nft and paired_added(own, nft, floor)
        run.row(Row(6, f"known SMTP flow, from_vm, {who}: added", ns(min(own) - min(floor)),
                    peer=nft and ns(min(nft) - min(floor)), peer_name="nft bridge", ratio=ratio,
                    goal="<= nft bridge's", met=ratio and ratio <= 1,
                    detail={f"{k[0]}, {k[1]} VMs" if k[1] else k[0]: summary(v)
                            for k, v in got.items()} if name == GATE else {}))
    return got


def curve(samples):
    """For the plots: {contender: [[VMs, least ns], …]}."""
    lines = {}
    for (name, vms), values in samples.items():
        if name == ALONE:  # has no number of VMs
            continue
        lines.setdefault(name, []).append([vms, round(min(values), 2)])
    return lines


def frames_by_vms(run):
    """Goals 3 to 6 on one field of lanes."""
    field = Field(run.space, run.sizes, run.left_out)
    try:
        field.frames("other")
        other = field.run(run.rounds(20, 6), run.frames(100000), 1.0, NO_FILTER)
        field.frames("syn", "new")
        new = field.run(run.rounds(12, 5), run.frames(100000), 1.0, NO_FILTER)
        known = known_row(run, field)
        field.policy("block")
        field.frames("syn", "new")
        refused = field.run(run.rounds(12, 5), run.frames(100000), 0.0, DROP_ALL)
    finally:
        field.close()
    flat_rows(run, other, new)
    admitted_rows(run, new)
    refused_rows(run, refused)
    run.series("frames", {"non-SMTP": curve(other), "admitted new flow": curve(new),
                          "refused new flow": curve(refused), "known flow": curve(known)})
