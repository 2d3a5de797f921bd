#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""gate25 doctor: each cause for not gating is named with its remedy, with and without the daemon."""

import json
import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import harness
from harness import cases


def doctor(lab, **kwargs):
    """(exit status, {code: [check]})"""
    code, out, err = lab.run_cli("--json", "doctor", "--config", lab.config_path, **kwargs)
    assert not err, err
    found = {}
    for check in json.loads(out)["checks"]:
        assert check["message"] and "\n" not in check["message"], check
        found.setdefault(check["code"], []).append(check)
    return code, found


@cases(running=True, dead=False)
def test_a_sound_host_is_sound(lab, case):
    if not case:
        lab.stop()
    code, found = doctor(lab)
    results = {c: [x["result"] for x in checks] for c, checks in found.items()}
    for check in ("config", "kernel", "bpffs", "hook", "links"):
        assert results[check] == ["ok"], (check, found)
    assert code == (0 if case else 1), found
    assert results["daemon"] == ["ok" if case else "failed"]
    if not case:
        assert found["daemon"][0]["remedy"].startswith("systemctl start gate25d")
        assert results["left_in_place"] == ["ok"]


@cases(running=True, dead=False)
def test_names_that_are_not_there(lab, case):
    lab.configure({"gate": {"bridges": "br0 br7", "uplinks": "eth0 eth7"}})
    if not case:
        lab.stop()
    _, found = doctor(lab)
    assert any("br7" in c["message"] for c in found["bridge_missing"]), found
    assert "eth7" in found["uplink_missing"][0]["message"] and found["uplink_missing"][0]["remedy"]


def test_a_configuration_that_is_wrong(lab):
    lab.write_config("[gate]\ncolour = red\n")
    code, found = doctor(lab)
    assert code == 1 and found["config"][0]["result"] == "failed"
    assert "colour" in found["config"][0]["message"] and found["config"][0]["remedy"]


def test_no_bpffs(lab):
    lab.configure({"bpf": {"pin": lab.file("plain")}})
    code, found = doctor(lab)
    assert code == 1 and found["bpffs"][0]["result"] == "failed" and "mount" in \
        found["bpffs"][0]["remedy"], found


def test_guests_that_pass_the_kernel_by(lab):
    listener = lab.host.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(lab.file("vhost-user-1"))
        listener.listen()
        _, found = doctor(lab)
        assert found["vhost_user"][0]["result"] == "warning", found
        assert "switch" in found["vhost_user"][0]["remedy"] and "pass_through" not in found
    finally:
        listener.close()
    assert "vhost_user" not in doctor(lab)[1]


def test_a_port_that_is_not_gated_and_a_host_that_only_observes(lab):
    lab.configure({"gate": {"enforce": "no"}})
    lab.reload()
    lab.poll(lambda: not lab.status()["enforce"], 5, "reload")
    code, found = doctor(lab)
    assert code == 0 and found["enforce"][0]["result"] == "warning"
    assert "enforce = yes" in found["enforce"][0]["remedy"]


harness.main()
