#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""A shadow policy: judged beside the live one, deciding nothing, until it is promoted."""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import harness
from harness import setup
from lab import SERVER4

OPEN = {"default": {"state": "allow"}}


def candidate(lab, *records):
    path = lab.file("candidate.jsonl")
    with open(path, "w", encoding="ascii") as f:
        for record in records:
            f.write(json.dumps(record) + "\n")
    return path


def subject(name, **policy):
    return {"kind": "subject", "subject": name,
            "policies": [{"on": None, **policy}]}


def shadowed(lab, name):
    answer = lab.json("shadow")
    rows = [row for row in answer["vms"] if row["subject"] == name]
    return tuple(rows[0][key] for key in ("would_admit", "would_limit", "would_block")) \
        if rows else (0, 0, 0)


@setup(config=OPEN)
def test_shadow_policy_tells_and_decides_nothing(lab):
    limit = subject("port:vnet1", state="limit", rates=[{"count": 2, "per": "1h"}])
    path = candidate(lab, limit, subject("port:vnet2", state="block"))
    assert lab.json("shadow")["active"] is False
    answer = lab.json("apply", path, "--shadow")
    assert answer["active"] and answer["subjects"] == 2 and answer["unknown"] == 0
    for n in (1, 2):
        with lab.expect(f"port:vnet{n}", flows_admitted=5, flows_limited=0, flows_blocked=0,
                        flows_would_refuse=0):
            assert [lab.guest(n).connect(SERVER4) for _ in range(5)] == ["ok"] * 5
    assert shadowed(lab, "port:vnet1") == (2, 3, 0)
    assert shadowed(lab, "port:vnet2") == (0, 0, 5)
    assert lab.show("port:vnet1")["effective"]["state"] == "allow"


@setup(config=OPEN)
def test_shadow_policy_outlives_the_daemon_and_is_promoted(lab):
    path = candidate(lab, subject("default", state="block"))
    lab.cli("apply", path, "--shadow")
    lab.kill()
    assert lab.guest(1).connect(SERVER4) == "ok"
    lab.start()
    assert lab.json("shadow")["active"]
    with lab.expect("port:vnet1", flows_admitted=1):
        assert lab.guest(1).connect(SERVER4) == "ok"
    assert shadowed(lab, "port:vnet1") == (0, 0, 1)
    lab.cli("shadow", "--promote")
    assert lab.guest(1).connect(SERVER4) == "ECONNREFUSED"
    assert lab.json("shadow")["active"] is False
    assert any(row["action"] == "apply" for row in lab.json("history")["audit"])


@setup(config=OPEN)
def test_shadow_policy_is_dropped(lab):
    lab.cli("apply", candidate(lab, subject("default", state="block")), "--shadow")
    lab.cli("shadow", "--drop")
    assert lab.guest(1).connect(SERVER4) == "ok"
    code, _, err = lab.run_cli("shadow", "--promote")
    assert code == 3 and "no shadow policy" in err, (code, err)


@setup(config=OPEN)
def test_shadow_policy_that_could_not_be_live_is_refused(lab):
    good = candidate(lab, subject("default", state="block"))
    lab.cli("apply", good, "--shadow")
    for record, word in ((subject("default", state="open"), "state"),
                         (subject("default", state="limit", rates=[{"count": 0, "per": "1s"}]),
                          "count")):
        code, _, err = lab.run_cli("apply", candidate(lab, record), "--shadow")
        assert code == 2 and word in err, (code, err)
        assert lab.json("shadow")["active"]
    code, _, err = lab.run_cli("apply", good, "--shadow", "--dry-run")
    assert code == 2 and "exclude" in err


harness.main()
