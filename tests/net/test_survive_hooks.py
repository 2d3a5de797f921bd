#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Other people on the hook: Proxmox, libvirt and Open vSwitch with their tc commands, other
programs, other filters, rules that rewrite marks. Neither side breaks the other."""

import os
import re
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import bpfprog
import harness
from harness import LONG, cases, setup
from lab import SERVER4, SILENT4
from tcsequences import SEQUENCES
from witness import witness

HOOKS = ("tcx", "tc")
PORT = "port:vnet1"

TABLE = {f"{hook}_{who}": (hook, text) for hook in HOOKS for who, text in SEQUENCES.items()}

# What this kernel may be without; a filter of the same place stands for it.
UNKNOWN = re.compile("kind is unknown|classifier not found|Failed to load TC action")


def stand_in(command):
    if " filter add " not in command:
        return None
    head = re.match(r"(tc filter add dev \S+ parent ffff:)", command)
    prio = re.search(r" prio (\d+)", command)
    return head and (f"{head[1]} protocol all {'prio ' + prio[1] if prio else ''} "
                     "u32 match u32 0 0 flowid :1")


def play(lab, text, dev="vnet1"):
    """One command after another, each a process, as these systems run them."""
    for line in text.format(dev=dev).strip().splitlines():
        command = line.strip()
        may_fail, command = command.startswith("-"), command.lstrip("-")
        done = lab.host.run(command.split(), check=False)
        if not done.returncode or may_fail:
            continue
        assert UNKNOWN.search(done.stderr), f"{command}: {done.stderr}"
        other = stand_in(command)
        if other:
            lab.host.run(other.split())


def theirs_are_in_place(lab, dev="vnet1"):
    filters = lab.host.run(["tc", "filter", "show", "dev", dev, "parent", "ffff:"]).stdout
    filters += lab.host.run(["tc", "filter", "show", "dev", dev, "ingress"]).stdout
    return re.search("u32|basic|matchall|police", filters)


def use(lab, hook):
    lab.stop()
    lab.configure({"gate": {"hook": hook}})
    lab.start()


def others_set_up(lab, hook, text):
    """A port that is there, and the gate has noticed: it is on their qdisc."""
    play(lab, text)
    if hook == "tc":  # "hooked" it would still be if it had not
        lab.poll(lambda: lab.metric("gate25_reattach_total") == 1, 5, "reattachment")
    lab.wait_hooked("vnet1")


@setup(guests=3)
@cases(**TABLE)
def test_their_commands_under_load(lab, case):
    """Before the gate is there, while it comes, and again and again after."""
    hook, text = case
    lab.stop()
    play(lab, text)
    lab.configure({"gate": {"hook": hook}})
    lab.start()
    assert theirs_are_in_place(lab)
    with witness(lab) as w:
        for _ in range(20 if LONG else 4):
            for dev in ("vnet1", "vnet2", "vnet3"):
                play(lab, text, dev)
            lab.poll(lambda: all(map(lab.hooked, ("vnet1", "vnet2", "vnet3"))), 5, "reattachment")
            w.check_progress()
        assert all(theirs_are_in_place(lab, dev) for dev in ("vnet1", "vnet2", "vnet3"))
        gaps = lab.metric("gate25_reattach_total")
        spent = lab.metric("gate25_unattached_seconds_total")
        if hook == "tcx":
            assert gaps == 0 and spent < 1, (gaps, spent)
        else:
            assert gaps >= 3 and 0 < spent < 20, (gaps, spent)
        print(f"# {hook}: {gaps:.0f} gaps, {spent:.3f} s without from_vm")


@setup(guests=1, config={"default": {"state": "block"}})
@cases(**TABLE)
def test_their_commands_at_the_plug(lab, case):
    """A port appears, and they set it up at once, as at the start of a VM."""
    hook, text = case
    use(lab, hook)
    others_set_up(lab, hook, text)
    far = lab.sniff()
    for n in (2, 3, 4):
        guest = lab.add_guest(n)
        play(lab, text, guest.port)
        guest.wire.send(*(guest.syn(SILENT4, 4000 + i) for i in range(50)))
        lab.wait_hooked(guest.port)
        lab.poll(lambda: guest.connect(SERVER4) == "ECONNREFUSED", 5, "refusal by reset")
        assert theirs_are_in_place(lab, guest.port)
    assert not far.syns()
    assert not [p for p in lab.status()["problems"] if "unattached" in p["code"]]


@setup(guests=1, config={"default": {"state": "block"}})
@cases(**SEQUENCES)
def test_a_gate_that_is_late_does_not_stand_in_their_way(lab, case):
    """Once others have set up a port, a new one is theirs first; the backstop judges meanwhile."""
    use(lab, "tc")
    others_set_up(lab, "tc", case)
    before, after = re.fullmatch(r"(.*?qdisc del dev [^\n]* ingress\n)(.*)", case, re.S).groups()
    far = lab.sniff()
    for n in (2, 3):
        lab.daemon.send_signal(signal.SIGSTOP)
        guest = lab.add_guest(n)
        play(lab, before, guest.port)
        lab.daemon.send_signal(signal.SIGCONT)
        # not by the command, which may take as long as the gate waits
        lab.poll(lambda: any(p["name"] == guest.port
                             for p in lab.http("GET", "/v1/status")[1]["ports"]), 5, "port")
        guest.wire.send(*(guest.syn(SILENT4, 4000 + i) for i in range(50)))
        play(lab, after, guest.port)
        lab.wait_hooked(guest.port)
        lab.poll(lambda: guest.connect(SERVER4) == "ECONNREFUSED", 5, "refusal by reset")
        assert theirs_are_in_place(lab, guest.port)
    assert not far.syns()
    assert lab.metric("gate25_unattached_seconds_total") > 0
    # Who is not set up by anybody waits in vain, and not for long.
    lab.add_guest(4)
    lab.wait_hooked("vnet4")


@setup(guests=1)
def test_a_gap_is_measured_told_and_covered(lab):
    """The legacy hook is taken away for good: the backstop holds until it is back."""
    use(lab, "tc")
    lab.cli("block", PORT)
    far, guest = lab.sniff(), lab.guest(1)
    sent = 0
    for _ in range(5):
        lab.host.run(["tc", "qdisc", "del", "dev", "vnet1", "ingress"])
        for _ in range(20):
            guest.wire.send(*(guest.syn(SILENT4, 1024 + i) for i in range(20)))
            sent += 20
        lab.wait_hooked("vnet1")
    lab.poll(lambda: lab.counters(PORT)["flows_blocked"] >= sent, 5, "all refusals")
    assert lab.counters(PORT)["flows_blocked"] == sent and not far.syns()
    assert lab.metric("gate25_reattach_total") == 5
    assert 0.02 < lab.metric("gate25_unattached_seconds_total") < 5
    assert lab.http("GET", f"/v1/events?subject={PORT}")[1].count("taken off") == 5


# ---- other programs on tcx

def others_program(lab, answer, flags, mark=None):
    program = bpfprog.load(answer, mark)
    link = bpfprog.attach(lab.host, "vnet1", program, flags=flags)
    lab.stack.callback(os.close, link)
    os.close(program)
    return link


BEHAVIOURS = {
    "unspec_before": (bpfprog.UNSPEC, bpfprog.BEFORE), "unspec_after": (bpfprog.UNSPEC, 0),
    "ok_before": (bpfprog.OK, bpfprog.BEFORE), "ok_after": (bpfprog.OK, 0),
}


@setup(guests=2)
@cases(**BEHAVIOURS)
def test_another_tcx_program(lab, case):
    """Whatever it answers and wherever it stands: refused is refused, allowed gets through."""
    others_program(lab, *case)
    first = case[1] == bpfprog.BEFORE
    said = lambda: [p for p in lab.status()["problems"] if p["code"] == "from_vm_not_first"]
    if first:  # nobody is told of such a link: it is looked for in turn
        lab.poll(said, 10, "notice of the other program")
    far, guest = lab.sniff(), lab.guest(1)
    assert guest.connect(SERVER4) == "ok"
    lab.cli("block", PORT)
    guest.wire.send(*(guest.syn(SILENT4, 4000 + i) for i in range(20)))
    assert guest.connect(SERVER4, timeout=0.4) in ("ECONNREFUSED", "timeout")
    assert not far.syns(dst=SILENT4)
    assert bool(said()) == first
    lab.restart()
    guest.wire.send(*(guest.syn(SILENT4, 5000 + i) for i in range(20)))
    assert not far.syns(dst=SILENT4)
    assert bool(said()) == first


@setup(guests=2)
def test_another_tcx_program_that_drops(lab):
    """Theirs is not skipped: what it drops is dropped, and we do not count it."""
    link = others_program(lab, bpfprog.SHOT, bpfprog.BEFORE)
    with lab.expect(PORT, flows_admitted=0):
        assert lab.guest(1).connect(SERVER4, timeout=0.4) in ("timeout", "EHOSTUNREACH")
    assert lab.guest(2).connect(SERVER4) == "ok"
    del link


@setup(guests=2)
def test_another_tcx_program_comes_and_goes(lab):
    program = bpfprog.load(bpfprog.OK)
    said = lambda: [p for p in lab.status()["problems"] if p["code"] == "from_vm_not_first"]
    for _ in range(3):
        link = bpfprog.attach(lab.host, "vnet1", program, flags=bpfprog.BEFORE)
        lab.poll(said, 10, "notice of the other program")
        os.close(link)
        lab.poll(lambda: not said(), 10, "end of the notice")
        with lab.expect(PORT, flows_admitted=1):
            assert lab.guest(1).connect(SERVER4) == "ok"


# ---- other filters on the legacy hook

def others_filter(lab, prio, answer, mark=None):
    """cls_bpf of somebody else at a priority of their choice."""
    program = bpfprog.load(answer, mark)
    path = os.path.join(lab.bpffs, f"other-{prio}")
    bpfprog.pin(program, path)
    os.close(program)
    if "ingress" not in lab.host.run(["tc", "qdisc", "show", "dev", "vnet1"]).stdout:
        lab.host.run(["tc", "qdisc", "add", "dev", "vnet1", "ingress"])
    lab.host.run(["tc", "filter", "add", "dev", "vnet1", "ingress", "prio", prio, "handle", "1",
                  "bpf", "da", "object-pinned", path])


def filters(lab):
    return lab.host.run(["tc", "filter", "show", "dev", "vnet1", "ingress"]).stdout


@setup(guests=2)
@cases(before_unspec=(True, bpfprog.UNSPEC), before_ok=(True, bpfprog.OK),
       after_unspec=(False, bpfprog.UNSPEC), after_ok=(False, bpfprog.OK))
def test_another_filter_at_the_same_priority(lab, case):
    """Before: it is there when the gate comes. After: they want the place that is taken."""
    before, answer = case
    lab.stop()
    lab.configure({"gate": {"hook": "tc"}})
    if before:
        lab.host.run(["sh", "-c", "true"])
        others_filter(lab, 1, answer)
        lab.start()
    else:
        lab.start()
        others_filter(lab, 2, answer)
    assert lab.hooked("vnet1") and filters(lab).count("gate25_from_vm") == 1
    far, guest = lab.sniff(), lab.guest(1)
    assert guest.connect(SERVER4) == "ok"
    lab.cli("block", PORT)
    guest.wire.send(*(guest.syn(SILENT4, 4000 + i) for i in range(20)))
    assert not far.syns(dst=SILENT4)
    lab.poll(lambda: lab.counters(PORT)["flows_blocked"] >= 20, 5, "refusals")
    lab.restart()
    guest.wire.send(*(guest.syn(SILENT4, 5000 + i) for i in range(20)))
    assert not far.syns(dst=SILENT4)
    assert filters(lab).count("other-") + filters(lab).count("pref") >= 2
    lab.cli("allow", PORT)
    assert guest.connect(SERVER4) == "ok"


# ---- marks

NFT_MARK = """
table bridge other {{
    chain forward {{ type filter hook forward priority 0; meta mark set {mark}; }}
    chain out {{ type filter hook postrouting priority 0; meta mark {mark} counter name kept; }}
    counter kept {{ }}
}}
"""


@setup(guests=2)
@cases(tcx="tcx", tc="tc")
def test_a_rule_that_rewrites_marks(lab, case):
    """The stamp of the legacy hook is lost on the way: the uplink judges for itself."""
    use(lab, case)
    done = lab.host.run(["nft", "-f", "-"], stdin=None, input=NFT_MARK.format(mark="0x99"),
                        check=False)
    if done.returncode:
        raise harness.Skip(f"nft: {done.stderr.strip().splitlines()[0]}")
    far, guest = lab.sniff(), lab.guest(1)
    with lab.expect(PORT, flows_admitted=3):
        assert [guest.connect(SERVER4) for _ in range(3)] == ["ok"] * 3
    lab.cli("limit", PORT, "--rate", "2/h")
    results = [guest.connect(SERVER4, timeout=0.4) for _ in range(3)]
    assert results == ["ok", "ok", "timeout"], results
    lab.cli("block", PORT)
    with lab.expect(PORT, flows_blocked=20):
        guest.wire.send(*(guest.syn(SILENT4, 4000 + i) for i in range(20)))
    assert not far.syns(dst=SILENT4)
    # and their rule still finds its own mark
    assert lab.guest(2).connect(SERVER4) == "ok"
    counted = lab.host.run(["nft", "list", "counter", "bridge", "other", "kept"]).stdout
    assert int(re.search(r"packets (\d+)", counted)[1]) > 0, counted


@setup(guests=1)
def test_the_stamp_leaves_other_bits_of_the_mark(lab):
    """A mark that others set before is still there behind the gate."""
    lab.stop()
    lab.configure({"gate": {"hook": "tc"}})
    others_filter(lab, 1, bpfprog.UNSPEC, mark=0x7700)
    lab.start()
    lab.host.run(["nft", "-f", "-"], stdin=None, input="""
table bridge other {
    chain out { type filter hook postrouting priority 0; \
meta mark & 0xff00 == 0x7700 counter name kept; }
    counter kept { }
}
""")
    assert lab.guest(1).connect(SERVER4) == "ok"
    counted = lab.host.run(["nft", "list", "counter", "bridge", "other", "kept"]).stdout
    assert int(re.search(r"packets (\d+)", counted)[1]) > 0, counted


harness.main()
