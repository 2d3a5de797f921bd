#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""early_drop: the XDP program beside from_vm, put on and taken off by configuration."""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import harness
from harness import cases, setup
from lab import SERVER

SHORT = 0.6
ON = {"gate": {"early_drop": "on"}, "refuse": {"block": "drop"}}


def xdp(lab, ifname):
    """Is a native XDP program on the link?"""
    out = lab.host.run(["ip", "-j", "link", "show", "dev", ifname]).stdout
    return bool(json.loads(out)[0].get("xdp", {}).get("prog", {}).get("id"))


@setup(config=ON)
@cases(ipv4=4, ipv6=6)
def test_early_drop_drops_and_counts_like_from_vm(lab, case):
    lab.poll(lambda: xdp(lab, "vnet1"))
    assert lab.guest(1).connect(SERVER[case]) == "ok"
    lab.cli("block", "port:vnet1")
    far = lab.sniff()
    with lab.expect("port:vnet1", flows_blocked=1, packets_dropped=1, resets_sent=0):
        assert lab.guest(1).connect(SERVER[case], timeout=SHORT) == "timeout"
    assert not far.syns()
    assert lab.guest(1).connect(SERVER[case], 80) in ("ok", "ECONNREFUSED")
    lab.cli("allow", "port:vnet1")
    assert lab.guest(1).connect(SERVER[case]) == "ok"


@setup(config={"gate": {"early_drop": "on"}})
def test_early_drop_leaves_resets_to_from_vm(lab):
    lab.poll(lambda: xdp(lab, "vnet1"))
    lab.cli("block", "port:vnet1")
    with lab.expect("port:vnet1", flows_blocked=1, resets_sent=1):
        assert lab.guest(1).connect(SERVER[4]) == "ECONNREFUSED"


@setup(config=ON)
def test_early_drop_goes_when_the_configuration_no_longer_wants_it(lab):
    lab.poll(lambda: xdp(lab, "vnet1"))
    lab.cli("block", "port:vnet1")
    lab.stop()
    assert xdp(lab, "vnet1")
    lab.configure({"gate": {"early_drop": "off"}})
    lab.start()
    assert not xdp(lab, "vnet1")
    with lab.expect("port:vnet1", flows_blocked=1):
        assert lab.guest(1).connect(SERVER[4], timeout=SHORT) == "timeout"


@setup(config={"gate": {"early_drop": "auto"}, "refuse": {"block": "drop"}})
def test_early_drop_auto_leaves_veths_to_from_vm(lab):
    assert not xdp(lab, "vnet1")
    assert not lab.status()["problems"]


harness.main()
