#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Upgrades in place, to a version whose maps are laid out otherwise, and back.

The other version is this tree built against tests/lib/next_abi.py's ABI. The witness of
test_survive_crash.py looks on: guests send all along, and what they send is counted.
"""

import json
import os
import random
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import harness
from harness import LONG, cases, setup
from lab import BUILD, SERVER4, SILENT4, TOP
from wire import ACK
from witness import witness

NEXT = "next/gate25d"
with open(os.path.join(TOP, "include/gate25/abi.h")) as header:
    ABI = int(re.search(r"^#define GATE_ABI (\d+)", header.read(), re.M)[1])
OURS = f"abi{ABI}"


def start(lab, program="gate25d"):
    lab.daemon = lab.spawn([lab.program(program), "--config", lab.config_path])
    lab.wait_ready()


def change_to(lab, program):
    lab.stop()
    start(lab, program)


def sets(lab):
    """Directories of maps that are pinned, whosever they are."""
    return sorted(os.path.join(abi, name) for abi in os.listdir(lab.pin) if abi.startswith("abi")
                  for name in os.listdir(os.path.join(lab.pin, abi)) if name.startswith("maps"))


def abi(lab):
    return lab.http("GET", "/v1/status")[1]["abi"]


def everything(lab):
    """What is in force and what it has counted, as a text that two versions share."""
    shown = [lab.show(s) for s in ("port:vnet1", "port:vnet2", "vm:web3", "vm:web4")]
    for one in shown:
        one["counters"].pop("flows_greylisted", None)
        for bucket in one.get("buckets") or ():  # refill as time goes by
            bucket.pop("left", None)
            bucket.pop("next_ms", None)
    status = lab.status()
    # what is not gated goes on all the time, a guest's IPv6 by itself
    reasons = {k: n for key in ("reasons", "reasons_would") for k, n in status[key].items()
               if n and k != "not_gated"}
    return shown, status["totals"]["flows_admitted"], reasons, lab.cli("export")


def populate(lab):
    """Something in each map."""
    lab.cli("block", "port:vnet1", "--reason", "ticket 1")
    lab.cli("limit", "port:vnet2", "--rate", "3/h", "--burst", 3)
    lab.register(3, tenant="acme")
    lab.register(4, tenant="acme", binding="strict")
    lab.cli("limit", "tenant:acme", "--rate", "100/h")
    lab.cli("budget", "tenant:acme", "--rate", "3/h")
    lab.cli("block", f"mac:{lab.guest(4).mac}")
    lab.cli("limit", f"ip:{lab.guest(3).ip4}", "--rate", "50/h", "--for", "30d")
    lab.cli("quarantine", "ip:10.25.0.99")
    lab.cli("exempt", "vm:web4", "add", "192.0.2.99")
    lab.cli("exempt", "default", "add", "192.0.2.77")
    assert lab.guest(1).connect(SERVER4) == "ECONNREFUSED"
    assert lab.guest(2).connect(SERVER4) == "ok"
    assert lab.guest(3).connect(SERVER4) == "ok"
    assert lab.guest(4).connect(SERVER4) == "ECONNREFUSED"


def held_to(lab):
    """The rest of each bucket, and no more."""
    results = [lab.guest(2).connect(SERVER4, timeout=0.4) for _ in range(3)]
    assert results == ["ok", "ok", "timeout"], results
    results = [lab.guest(3).connect(SERVER4, timeout=0.4) for _ in range(3)]
    assert results == ["ok", "ok", "timeout"], results


@setup(guests=4)
@cases(up=(NEXT,), up_and_down=(NEXT, "gate25d"), to_and_fro=(NEXT, "gate25d") * 3)
def test_upgrade_carries_everything_over(lab, case):
    populate(lab)
    lab.serve("192.0.2.77")
    sock, _ = lab.guest(2).open(SERVER4, 587)  # another port: never looked at
    held, _ = lab.guest(3).open("192.0.2.77")
    before = everything(lab)
    for program in case:
        change_to(lab, program)
        assert abi(lab) == ABI + (program == NEXT)
        assert sets(lab) == [f"abi{abi(lab)}/maps"]
        assert everything(lab) == before
    assert held.recv(100).startswith(b"220") and sock.recv(100).startswith(b"220")
    held_to(lab)
    held.close()


@setup(guests=4)
@cases(up=NEXT)
def test_upgrade_needs_no_store(lab, case):
    """Without a store the maps alone say what is in force: they must have come over whole."""
    populate(lab)
    before = [(s, lab.state(s)) for s in ("port:vnet1", "port:vnet2", "vm:web3", "vm:web4")]
    lab.stop()
    lab.configure({"store": {"path": "/dev/full/gate25.db"}})
    start(lab, case)
    assert abi(lab) == ABI + 1 and [(s, lab.state(s)) for s, _ in before] == before
    assert lab.guest(1).connect(SERVER4) == "ECONNREFUSED"
    assert lab.guest(4).connect(SERVER4) == "ECONNREFUSED"
    held_to(lab)


@setup(guests=4)
def test_upgrade_keeps_a_running_flow_and_its_count(lab):
    lab.cli("limit", "port:vnet2", "--rate", "1/h", "--concurrent", 1)
    sock, _ = lab.guest(2).open(SERVER4)
    assert sock.recv(100).startswith(b"220")
    for program in (NEXT, "gate25d"):
        change_to(lab, program)
        with lab.expect("port:vnet2", flows_admitted=0):
            sock.send(b"NOOP\r\n")
            assert sock.recv(100).startswith(b"250")
        assert lab.counters("port:vnet2")["flows_active"] == 1
    sock.close()
    lab.poll(lambda: lab.counters("port:vnet2")["flows_active"] == 0, 5, "end of the flow")


@setup(guests=3)
def test_upgrade_under_load(lab):
    with witness(lab) as w:
        for _ in range(20 if LONG else 4):
            for program in (NEXT, "gate25d"):
                change_to(lab, program)
                w.check_progress()


@setup(guests=3)
def test_upgrade_killed_at_any_moment(lab):
    """Either version is killed somewhere in its start, and either goes on from there."""
    dice = random.Random(4)
    with witness(lab) as w:
        for n in range(200 if LONG else 40):
            lab.kill()
            program = dice.choice((NEXT, "gate25d"))
            lab.daemon = lab.spawn([lab.program(program), "--config", lab.config_path])
            if n % 10 == 9:
                lab.wait_ready()
                w.check_progress()
                assert sets(lab) == [f"abi{abi(lab)}/maps"]
                continue
            end = time.monotonic() + dice.uniform(0, 0.15)
            while time.monotonic() < end:
                assert lab.daemon.poll() is None, lab.log()
                time.sleep(0.002)
        lab.kill()
        start(lab)
        assert sets(lab) == [f"{OURS}/maps"]


def refused(lab, program, **kwargs):
    daemon = lab.spawn([lab.program(program), "--config", lab.config_path], **kwargs)
    try:
        code = daemon.wait(20)
    finally:
        daemon.kill()
        daemon.wait()
    return code, lab.log().splitlines()[-1]


def no_layout(lab):
    os.unlink(os.path.join(lab.pin, f"{OURS}/maps/layout"))


FAILURES = {
    "too_small": (lambda lab: lab.configure({"gate": {"max_tenants": 1}}), "max_tenants"),
    "not_understood": (no_layout, "cannot take over"),
    "maps_missing": (lambda lab: os.unlink(os.path.join(lab.pin, f"{OURS}/maps/conf")),
                     "cannot take over"),
}


@setup(guests=3)
@cases(**FAILURES)
def test_upgrade_that_fails_leaves_the_old_version_in_force(lab, case):
    spoil, says = case
    lab.register(2, tenant="acme")
    before_config = dict(lab.config["gate"])
    with witness(lab, mailer="vm:web2") as w:
        lab.stop()
        spoil(lab)
        code, said = refused(lab, NEXT)
        assert code == 1 and says in said, (code, said)
        assert sets(lab) == [f"{OURS}/maps"]
        assert lab.guest(1).connect(SERVER4) == "ECONNREFUSED"
        w.extra_refusals += 1
        lab.configure({"gate": {**before_config, "max_tenants": None}})
        if "conf" in os.listdir(os.path.join(lab.pin, f"{OURS}/maps")):
            start(lab)
            w.check_progress()
            return
        # What has lost its head cannot be adopted; the gate holds until it is taken off.
        code, said = refused(lab, "gate25d")
        w.give_up()


def programs(lab):
    """{link: id of the program on it}, as pinned."""
    links = os.path.join(lab.pin, "links")
    return {name: json.loads(lab.host.run(["bpftool", "-j", "link", "show", "pinned",
                                           os.path.join(links, name)]).stdout)["prog_id"]
            for name in os.listdir(links)}


# The order is uplink, each port's from_vm, each port's to_vm.
REFUSED = {"the_first": (NEXT, {}, 1), "the_second_port": (NEXT, {}, 3), "the_last": (NEXT, {}, 7),
           "the_second_port_other_sizes": ("gate25d", {"max_vms": 128}, 3)}


def refusing(n):
    """An environment in which the kernel takes no program into the n-th link."""
    return {**os.environ, "LD_PRELOAD": os.path.join(BUILD, "tests/lib/refuse_links.so"),
            "REFUSE_LINK": str(n), "ASAN_OPTIONS": "verify_asan_link_order=0"}


@setup(guests=3)
@cases(**REFUSED)
def test_upgrade_that_one_port_refuses_is_none(lab, case):
    """The kernel will not swap one program: all ports are as they were, nothing is half done."""
    program, sizes, n = case
    lab.register(2, tenant="acme")
    with witness(lab, mailer="vm:web2") as w:
        before, small = programs(lab), dict(lab.config["gate"])
        assert len(before) == 7, before
        lab.stop()
        lab.configure({"gate": sizes})
        code, said = refused(lab, program, env=refusing(n))
        assert code == 1 and "called off" in said and "cannot attach" in said, (code, said)
        assert programs(lab) == before
        lab.configure({"gate": small})
        start(lab)
        w.check_progress()
        assert sets(lab) == [f"{OURS}/maps"]
        # Once it is not refused any more it goes through.
        lab.stop()
        lab.configure({"gate": sizes})
        start(lab, program)
        w.check_progress()
        assert len(sets(lab)) == 1


@setup(guests=1)
@cases(next=(NEXT, {}), other_sizes=("gate25d", {"max_vms": 128}))
def test_upgrade_that_is_called_off_lets_running_flows_go_on(lab, case):
    """What began in the new maps in the meantime is unknown to the old ones, and free of charge."""
    program, sizes = case
    lab.cli("limit", "port:vnet1", "--rate", "2/h")
    guest, far, before = lab.guest(1), lab.sniff(), dict(lab.config["gate"])
    lab.stop()
    lab.configure({"gate": {**sizes, "grace": "1h"}})
    code, said = refused(lab, program, env=refusing(3))
    assert code == 1 and "called off" in said, (code, said)
    guest.wire.send(*(guest.syn(SILENT4, 4000 + i, flags=ACK) for i in range(5)))
    lab.poll(lambda: all(far.segments(sport=4000 + i) for i in range(5)), 5, "running flows")
    lab.configure({"gate": before})
    start(lab)
    assert lab.show("port:vnet1")["buckets"][0]["left"] == 2
    assert lab.counters("port:vnet1")["flows_limited"] == 0


@setup(guests=1)
def test_the_programs_of_the_other_version_are_off(lab):
    """After the change only this version's programs are loaded: the old maps are free."""
    change_to(lab, NEXT)
    assert os.listdir(lab.pin).count(OURS) == 0
    lab.cli("block", "port:vnet1")
    far = lab.sniff()
    guest = lab.guest(1)
    with lab.expect("port:vnet1", flows_blocked=50):
        guest.wire.send(*(guest.syn(SILENT4, 4000 + i) for i in range(50)))
    assert not far.syns()


@setup(guests=2)
@cases(tc="tc", tcx="tcx")
def test_upgrade_changes_programs_on_either_hook(lab, case):
    lab.stop()
    lab.configure({"gate": {"hook": case}})
    lab.start()
    lab.cli("block", "port:vnet1")
    assert lab.guest(1).connect(SERVER4) == "ECONNREFUSED"
    for program in (NEXT, "gate25d"):
        change_to(lab, program)
        with lab.expect("port:vnet1", flows_blocked=1):
            assert lab.guest(1).connect(SERVER4) == "ECONNREFUSED"


harness.main()
