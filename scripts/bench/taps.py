# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Goals 12 and 15: a tap fed by a host process; programs on a thousand ports."""

import os
import statistics
import subprocess

from lanes import Lane, Unavailable, lines_for_sink, paired, summary
from netns import Namespace
from result import Row, ns as ns_text, seconds, times

EXPEDITED = "/sys/kernel/rcu_expedited"


def in_namespace(ns, space, name, *args, timeout=600):
    with ns.entered():
        return space.run(name, *args, timeout=timeout)[0]


def tap_lane(ns):
    ns.ip("tuntap add tap0 mode tap",
          "link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
          *lines_for_sink(), "link set tap0 master br0", "link set uplink master br0")
    ns.run(["tc", "qdisc", "replace", "dev", "uplink", "root", "noqueue"])
    for name in ("tap0", "uplink", "br0"):
        ns.sysctl(f"net.ipv6.conf.{name}.disable_ipv6", 1)
        ns.ip(f"link set {name} up")
    ns.run(["bridge", "fdb", "add", "02:00:ff:ff:ff:fe", "dev", "uplink", "master", "static"])
    if os.path.exists("/proc/sys/net/bridge"):
        ns.sysctl("net.bridge.bridge-nf-call-iptables", 0)


def taps(run):
    worst, detail = None, {}
    for size in (60, 1514):
        ns = Namespace("tap")
        try:
            tap_lane(ns)
            got = in_namespace(ns, run.space, "tap", "--config", run.space.config(1),
                               "--size", size, "--rounds", run.rounds(100, 20))
        finally:
            ns.close()
        if got["delivered"] != 1:
            raise AssertionError(f"{got['delivered']:.4f} of the tap's frames came out")
        shares = {name: paired(got["none"], got[name]) for name in ("empty", "from_vm", "all")}
        detail[f"{size} bytes"] = {"throughput of ungated": {k: round(v, 4)
                                                             for k, v in shares.items()},
                                   **{k: summary(got[k]) for k in ("none", *shares)}}
        if worst is None or shares["all"] < worst["all"]:
            worst = shares
    run.row(Row(15, "a tap at full rate, port 443, the default set-up: throughput",
                times(worst["all"]), peer=times(worst["empty"]), peer_name="one empty program",
                ratio=worst["all"] / worst["empty"], goal=">= 0.97 of ungated",
                met=worst["all"] >= 0.97, detail=detail))
    run.row(Row(15, "the same, from_vm alone", times(worst["from_vm"]),
                peer=times(worst["empty"]), peer_name="one empty program",
                ratio=worst["from_vm"] / worst["empty"], goal=">= 0.97 of ungated",
                met=worst["from_vm"] >= 0.97))


EARLY = {  # how frames come to the port: in words, arguments
    "tap": ("a tap written to", ("--port", "tap0")),
    "veth": ("a veth with a container", ("--port", "port0", "--peer", "peer0")),
    "xdp": ("a veth handed XDP frames", ("--port", "port0", "--peer", "peer0",
                                         "--redirect", 1)),
}


def early(run):
    """Not a goal: does early_drop pay, and what do other frames pay for it?"""
    for kind, (words, args) in EARLY.items():
        ns = Namespace("early")
        try:
            if kind == "tap":
                tap_lane(ns)
            else:
                veth_lane(ns, kind == "xdp")
            with ns.entered():
                lines = run.space.run("early", "--config", run.space.config(1, early="on"),
                                      *args, "--rounds", run.rounds(60, 12))
        except Unavailable as why:
            run.left_out(f"early_drop on {words}: {why}")
            continue
        finally:
            ns.close()
        for line in lines:
            case = line.pop("case")
            run.row(Row(16, f"early_drop, {words}: {case}",
                        ns_text(statistics.median(line["early_drop"])),
                        peer=ns_text(statistics.median(line["from_vm"])),
                        peer_name="from_vm alone", goal="reported",
                        ratio=paired(line["early_drop"], line["from_vm"]),
                        detail={k: summary(v) for k, v in line.items()}))


def veth_lane(ns, napi):
    """napi: the port takes XDP frames even while no program is on it."""
    ns.ip("link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
          "link add port0 type veth peer name peer0", *lines_for_sink(),
          "link set port0 master br0", "link set uplink master br0")
    ns.run(["tc", "qdisc", "replace", "dev", "uplink", "root", "noqueue"])
    if napi:
        ns.run(["ethtool", "-K", "port0", "gro", "on"])
    for name in ("port0", "peer0", "uplink", "br0"):
        ns.sysctl(f"net.ipv6.conf.{name}.disable_ipv6", 1)
        ns.ip(f"link set {name} up")
    ns.run(["bridge", "fdb", "add", "02:00:ff:ff:ff:fe", "dev", "uplink", "master", "static"])


class Expedited:
    """rcu_expedited raised for a while, as a privileged helper would, and put back."""

    def __enter__(self):
        try:
            with open(EXPEDITED) as f:
                self.before = f.read().strip()
            with open(EXPEDITED, "w") as f:
                f.write("1")
        except OSError as why:
            raise Unavailable(f"{EXPEDITED}: {why.strerror}") from why

    def __exit__(self, *_):
        with open(EXPEDITED, "w") as f:
            f.write(self.before)


def swapped(run):
    """Goal 12's other half: frames of a closed VM while its program is swapped under load."""
    lane = Lane(run.space, "swap")
    try:
        lane.ask("gate", run.space.config(1), 1)
        lane.ask("single")
        lane.ask("policy", "block")
        lane.ask("hook", "from_vm", "none")
        lane.ask("frames", "syn", 1, "new")
        lane.blast(10000, 0.0)
        count = run.frames(4000000)
        got = lane.ask("swap", count)
    except Unavailable as why:
        run.left_out(f"goal 12, no frame ungated: {why}")
        return
    finally:
        lane.close()
    run.row(Row(12, f"{count} frames while their program is swapped {got['swaps']} times: ungated",
                str(got["out"]), goal="0", met=got["out"] == 0 if got["swaps"] > 100 else None))


def ports(run):
    swapped(run)
    count = run.rounds(1000, 100)
    ns = Namespace("ports")
    try:
        ns.ip(*(f"link add p{i} type ifb" for i in range(count)))
        args = ("--config", run.space.config(1), "--prefix", "p", "--count", count)
        cold = in_namespace(ns, run.space, "ports", *args)
        swap = statistics.median(cold["swap"]) / 1e3
        cold["attach"] /= 1e3
        run.row(Row(12, f"{count} ports: all programs swapped in place", seconds(swap),
                    goal=f"<= {seconds(5e-3 * count / 1000)}", met=swap <= 5e-3 * count / 1000,
                    detail={"swap": summary(cold["swap"])}))
        run.row(Row(12, f"{count} ports: cold attach, one hook each",
                    seconds(cold["attach"]), goal="reported",
                    detail={"for each hook": seconds(cold["attach"] / count)}))
        with Expedited():
            fast = in_namespace(ns, run.space, "ports", "--config", run.space.config(1),
                                "--prefix", "p", "--count", count)
        fast["attach"] /= 1e3
        run.row(Row(12, f"{count} ports: cold attach with rcu_expedited",
                    seconds(fast["attach"]), goal="<= 1 s", met=fast["attach"] <= 1,
                    peer=seconds(cold["attach"]), peer_name="without",
                    ratio=fast["attach"] / cold["attach"]))
    except (RuntimeError, subprocess.SubprocessError) as why:
        raise Unavailable(str(why).splitlines()[0]) from why
    finally:
        ns.close()
