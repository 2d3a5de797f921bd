#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""why: what it says and that it spends nothing, against the real gate."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import harness
from harness import cases, setup
from lab import NOBODY, READERS, SERVER4

PORT = "port:vnet1"
LIMITED = {"default": {"state": "limit", "rate": "5/s, 200/h", "burst": 10, "concurrent": 50,
                       "destinations": "50/h"}}
SHORT = 0.4


def steps(answer):
    """{name of the step: [its objects]}, after a check of the frame."""
    assert list(answer)[0] == "version" and answer["version"] == 1
    found = {}
    for step in answer["steps"]:
        assert step["text"] and step["text"][0] != " ", step
        found.setdefault(step["step"], []).append(step)
    return found


# ---- why

def test_why_explains_a_pass(lab):
    vm = lab.register(1, tenant="acme")
    answer = lab.json("why", vm)
    found = steps(answer)
    assert (answer["verdict"], answer["reason"], answer["passes"]) == ("pass", "new_flow", True)
    assert answer["destination"] == "192.0.2.1" and answer["port"] == 25
    assert found["port"][0]["ports"][0]["name"] == "vnet1"
    assert found["vm"][0]["tenant"] == "acme" and found["vm"][0]["registered"]
    source = found["source"][0]
    assert (source["mac"], source["mac_is"]) == (lab.guest(1).mac, "registered")
    assert (source["ip"], source["ip_is"]) == (lab.guest(1).ip4, "registered")
    assert not found["quarantine"][0]["quarantined"] and not found["exempt"][0]["exempt"]
    assert found["policy"][0]["subject"] == "default" and found["policy"][0]["configured"]
    six = steps(lab.json("why", vm, "2001:db8:2::10"))["source"][0]
    assert (six["ip"], six["ip_is"]) == (lab.guest(1).ip6, "registered")


@setup(config=LIMITED)
def test_daemon_8_why_spends_nothing_and_moves_no_counter(lab):
    vm = lab.register(1)
    lab.guest(1).connect(SERVER4)

    def judged():
        """What a dry run could move; replies may still be on their way."""
        reasons = lab.status()["reasons"]
        return {r: reasons.get(r, 0) for r in ("new_flow", "limit_rate", "adopted")}

    lab.poll(lambda: lab.counters(vm)["replies_2xx"] or lab.status()["reasons"].get("reply"), 5,
             "the end of the connection")
    before, reasons = lab.show(vm), judged()
    for _ in range(50):
        lab.json("why", vm)
    after = lab.show(vm)
    for counter in ("flows_admitted", "flows_limited", "packets_from_vm", "new_destinations"):
        assert after["counters"][counter] == before["counters"][counter], counter
    spent = {b["rate"]: b["left"] for b in before["buckets"]}
    assert all(b["left"] >= spent[b["rate"]] for b in after["buckets"]), (before, after)
    assert judged() == reasons, (reasons, judged())
    # and it says the same as the VM meets, once what was spent has come back
    lab.poll(lambda: lab.show(vm)["buckets"][0]["left"] >= 10, 5, "a full bucket")
    lab.cli("limit", vm, "--rate", "1/d", "--burst", 2)
    assert lab.json("why", vm)["passes"]
    results = [lab.guest(1).connect(SERVER4, timeout=SHORT) for _ in range(3)]
    assert results[0] == "ok" and results[2] == "timeout", results
    answer = lab.json("why", vm)
    assert (answer["passes"], answer["reason"]) == (False, "limit_rate"), answer
    assert 0 < answer["next_ms"] <= 86400000 and answer["refuse"] == "drop"


REFUSALS = {
    "block": (["block"], "blocked", "reset"),
    "icmp": (["block", "--refuse", "icmp"], "blocked", "icmp"),
    "quarantine": (["quarantine"], "quarantined", "drop"),
}


@cases(**REFUSALS)
def test_why_names_who_refuses(lab, case):
    command, reason, refuse = case
    vm = lab.register(1, tenant="acme")
    lab.cli(command[0], "tenant:acme", *command[1:], "--for", "1d", "--reason", "ticket 7")
    answer = lab.json("why", vm)
    found = steps(answer)
    assert (answer["reason"], answer["refuse"]) == (reason, refuse)
    assert not answer["passes"] and answer["next_ms"] is None and answer["enforced"]
    step = found["quarantine" if reason == "quarantined" else "policy"][0]
    assert (step["subject"], step["reason"], step["by"]) == ("tenant:acme", "ticket 7", "root")
    text = lab.cli("why", vm)
    assert f"refused ({reason})" in text and "ticket 7" in text and "tenant:acme" in text


def test_why_tells_what_is_overridden(lab):
    vm = lab.register(1, tenant="acme")
    lab.cli("block", "tenant:acme")
    lab.cli("allow", vm, "--reason", "proven")
    policy = steps(lab.json("why", vm))["policy"][0]
    assert (policy["subject"], policy["state"], policy["reason"]) == (vm, "allow", "proven")
    assert [(p["subject"], p["state"]) for p in policy["overrides"]] == \
        [("tenant:acme", "block"), ("default", "allow")]
    ip = f"ip:{lab.guest(1).ip4}"
    lab.cli("limit", ip, "--rate", "3/h")
    policy = steps(lab.json("why", vm))["policy"][0]
    assert policy["subject"] == ip and policy["overrides"][0]["subject"] == vm


def test_why_knows_exempt_destinations(lab):
    vm = lab.register(1)
    lab.cli("block", vm)
    lab.cli("exempt", vm, "add", "192.0.2.0/28")
    answer = lab.json("why", vm, SERVER4)
    step = steps(answer)["exempt"][0]
    assert answer["reason"] == "exempt" and (step["subject"], step["entry"]) == (vm, "192.0.2.0/28")
    assert not lab.json("why", vm, "192.0.2.200")["passes"]
    lab.cli("quarantine", vm)
    assert lab.json("why", vm, SERVER4)["reason"] == "quarantined"


def test_why_knows_what_is_only_observed(lab):
    vm = lab.register(1, tenant="acme")
    lab.cli("block", vm)
    lab.cli("observe", "tenant:acme", "on")
    answer = lab.json("why", vm)
    assert answer["passes"] and answer["verdict"] == "blocked" and answer["observed"]
    assert steps(answer)["enforcement"][0]["observed_by"] == "tenant:acme"


def test_why_of_a_budget_a_concurrency_and_a_stranger(lab):
    vm = lab.register(1, tenant="acme")
    lab.cli("budget", "tenant:acme", "--rate", "1/h")
    lab.cli("limit", vm, "--concurrent", 1)
    sock, _ = lab.guest(1).open(SERVER4)
    found = steps(lab.json("why", vm))
    kinds = {(b["kind"], b["subject"]) for b in found["bucket"]}
    assert ("budget", "tenant:acme") in kinds and ("concurrent", vm) in kinds, kinds
    assert lab.json("why", vm)["reason"] == "limit_budget"
    lab.cli("budget", "tenant:acme", "none")
    answer = lab.json("why", vm)
    assert answer["reason"] == "limit_concurrent" and answer["next_ms"] is None
    sock.close()
    lab.cli("block", "mac:52:54:00:00:00:99")
    answer = lab.json("why", "mac:52:54:00:00:00:99")
    assert answer["subject"] == "unknown" and steps(answer)["tighter"][0]["state"] == "block"


def test_daemon_8_why_names_its_placeholders(lab):
    source = steps(lab.json("why", PORT))["source"][0]
    assert (source["mac_is"], source["ip_is"]) == ("placeholder", "placeholder"), source
    lab.guest(1).connect(SERVER4)
    source = steps(lab.json("why", PORT))["source"][0]
    assert (source["mac"], source["mac_is"]) == (lab.guest(1).mac, "seen")
    assert (source["ip"], source["ip_is"]) == (lab.guest(1).ip4, "seen")


@setup(config={"gate": {"ports": "25, 587", "binding": "strict"}})
def test_daemon_8_why_takes_bracketed_addresses_and_ports(lab):
    vm = lab.register(1)
    lab.cli("block", vm, "--on", 587)
    assert lab.json("why", vm, "192.0.2.1:25")["passes"]
    answer = lab.json("why", vm, "[2001:db8::1]:587")
    assert answer["reason"] == "blocked" and steps(answer)["policy"][0]["on"] == 587
    answer = lab.json("why", vm, "192.0.2.1:26")
    assert answer["passes"] and "not_gated" in steps(answer) and "not gated" in answer["text"]
    lab.cli("vm", "set", "web1", "--ip", lab.guest(1).ip4)
    assert lab.json("why", vm, "[2001:db8::1]:25")["verdict"] == "spoofed"


@cases(tenant=(["tenant:acme"], 2), no_vm=(["vm:nobody"], 3), no_port=(["port:nothere"], 3),
       families=(["ip:10.25.0.11", "2001:db8::1"], 2), word=(["vnet1", "mail.example"], 2))
def test_why_of_nonsense(lab, case):
    words, wanted = case
    code, out, err = lab.run_cli("why", *words)
    assert code == wanted and err.count("\n") == 1 and not out, (code, out, err)


def test_why_is_for_readers_too(lab):
    assert "passes" in lab.cli("why", PORT, uid=NOBODY, groups=[READERS])


harness.main()
