#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Precedence: whose policy decides, by real connections and by what `show` says."""

import json
import os
import sqlite3
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import harness
from harness import cases, setup
from lab import SERVER4

SHORT = 0.6
CLOSED = {"default": {"state": "block"}}
ADDRESSES = {"mac": "mac:52:54:00:25:00:01", "ip": "ip:10.25.0.11", "prefix": "ip:10.25.0.0/24"}


def refused(lab, vm, n=1):
    with lab.expect(vm, flows_blocked=1):
        assert lab.guest(n).connect(SERVER4) == "ECONNREFUSED"


def admitted(lab, vm, n=1, **counted):
    with lab.expect(vm, **(counted or {"flows_admitted": 1})):
        assert lab.guest(n).connect(SERVER4) == "ok"


@setup(config={"refuse": {"quarantine": "reset"}, "exempt": {"destinations": "192.0.2.0/24"}})
@cases(default="default", tenant="tenant:acme", vm="vm:web1", **ADDRESSES)
def test_precedence_1_quarantine_wins_anywhere_on_the_chain(lab, case):
    """Over a more specific allow, over an exempt destination, over observe."""
    vm = lab.register(1, tenant="acme")
    for subject in ("tenant:acme", vm, *ADDRESSES.values()):
        lab.cli("allow", subject)
        lab.cli("observe", subject, "on")
    lab.cli("exempt", vm, "add", "192.0.2.0/24")
    lab.cli("quarantine", case)
    refused(lab, vm)
    lab.cli("release", case)
    admitted(lab, vm, exempt=1)


@setup(config={"refuse": {"quarantine": "reset"}})
def test_precedence_1_quarantine_expires(lab):
    lab.cli("quarantine", "port:vnet1", "--for", "2s")
    refused(lab, "port:vnet1")
    lab.poll(lambda: lab.guest(1).connect(SERVER4) == "ok", 10, "end of the quarantine")
    assert lab.state("port:vnet1") == "allow"


def test_precedence_2_the_most_specific_policy_decides(lab):
    """default, tenant, vm, mac, prefix, ip: each overrides the one before, both ways."""
    vm = lab.register(1, tenant="acme")
    chain = ["default", "tenant:acme", vm, *(ADDRESSES[k] for k in ("mac", "prefix", "ip"))]
    for close_first in (True, False):
        for i, subject in enumerate(chain):
            closing = (i % 2 == 0) == close_first
            lab.cli("block" if closing else "allow", subject)
            (refused if closing else admitted)(lab, vm)
        for subject in reversed(chain[1:]):
            lab.cli("inherit", subject)


def test_precedence_2_show_names_the_source(lab):
    vm = lab.register(1, tenant="acme")
    for subject in ("default", "tenant:acme", vm):
        lab.cli("block", subject, "--reason", f"because of {subject}")
        effective = lab.show(vm)["effective"]
        assert effective["source"] == subject, effective
        assert effective["reason"] == f"because of {subject}", effective


@setup(config={"default": {"state": "allow", "rate": "3/h", "burst": None}})
def test_precedence_2_missing_keys_of_a_limit_come_from_default(lab):
    lab.cli("limit", "port:vnet1", "--concurrent", 10)
    effective = lab.show("port:vnet1")["effective"]
    assert [(r["count"], r["per"]) for r in effective["rates"]] == [(3, "1h")], effective
    with lab.expect("port:vnet1", flows_admitted=3, flows_limited=1):
        for _ in range(3):
            assert lab.guest(1).connect(SERVER4) == "ok"
        assert lab.guest(1).connect(SERVER4, timeout=SHORT) == "timeout"


@setup(config={"default": {"state": "allow"}})
def test_precedence_2_what_default_misses_is_no_limit(lab):
    lab.cli("limit", "port:vnet1", "--concurrent", 200)
    assert lab.show("port:vnet1")["effective"]["rates"] == []
    with lab.expect("port:vnet1", flows_admitted=60):
        for _ in range(60):
            assert lab.guest(1).connect(SERVER4) == "ok"


@setup(config={"default": {"state": "block", "rate": "5/s"}})
def test_precedence_2_rates_beside_block_are_legal_and_unused(lab):
    refused(lab, "port:vnet1")


@setup(config={**CLOSED, "exempt": {"destinations": "192.0.2.10, 2001:db8:2::/64"}})
def test_precedence_3_global_exempt_destination_beats_block(lab):
    admitted(lab, "port:vnet1", exempt=1)
    with lab.expect("port:vnet1", exempt=1):
        assert lab.guest(1).connect("2001:db8:2::10") == "ok"
    with lab.expect("port:vnet1", flows_blocked=1):
        assert lab.guest(1).connect("192.0.2.11") == "ECONNREFUSED"


@setup(config=CLOSED)
@cases(tenant="tenant:acme", vm="vm:web1")
def test_precedence_3_own_exempt_destination_beats_block(lab, case):
    vm = lab.register(1, tenant="acme")
    other = lab.register(2)
    lab.cli("exempt", case, "add", "192.0.2.10")
    admitted(lab, vm, exempt=1)
    refused(lab, other, 2)
    lab.cli("exempt", case, "del", "192.0.2.10")
    refused(lab, vm)


def test_precedence_3_exempt_destination_beats_limit(lab):
    lab.cli("limit", "port:vnet1", "--rate", "1/h")
    lab.cli("exempt", "port:vnet1", "add", "192.0.2.0/24")
    with lab.expect("port:vnet1", exempt=5):
        for _ in range(5):
            assert lab.guest(1).connect(SERVER4) == "ok"


@cases(tenant="tenant:acme", vm="vm:web1")
def test_precedence_4_observe_counts_and_passes(lab, case):
    vm = lab.register(1, tenant="acme")
    lab.cli("observe", case, "on")
    lab.cli("block", vm)
    admitted(lab, vm, flows_would_refuse=1)
    lab.cli("limit", vm, "--rate", "1/h")
    with lab.expect(vm, flows_admitted=1, flows_would_refuse=2):
        for _ in range(3):
            assert lab.guest(1).connect(SERVER4) == "ok"


def test_precedence_5_tenant_policy_is_inherited_with_buckets_of_their_own(lab):
    vms = [lab.register(n, tenant="acme") for n in (1, 2)]
    lab.cli("limit", "tenant:acme", "--rate", "2/h")
    for n, vm in enumerate(vms, 1):
        with lab.expect(vm, flows_admitted=2, flows_limited=1):
            assert [lab.guest(n).connect(SERVER4) for _ in range(2)] == ["ok", "ok"]
            assert lab.guest(n).connect(SERVER4, timeout=SHORT) == "timeout"


@setup(guests=3)
def test_precedence_5_tenant_budget_is_one_bucket(lab):
    vms = [lab.register(n, tenant="acme") for n in (1, 2)]
    other = lab.register(3)
    lab.cli("budget", "tenant:acme", "--rate", "3/h")
    with lab.expect(vms[0], flows_admitted=2, flows_limited=1), \
            lab.expect(vms[1], flows_admitted=1, flows_limited=1):
        assert [lab.guest(n).connect(SERVER4) for n in (1, 2, 1)] == ["ok"] * 3
        for n in (1, 2):
            assert lab.guest(n).connect(SERVER4, timeout=SHORT) == "timeout"
    admitted(lab, other, 3)
    lab.cli("budget", "tenant:acme", "none")
    admitted(lab, vms[0])


def test_precedence_5_budget_is_spent_in_addition_to_the_vms_own(lab):
    vm = lab.register(1, tenant="acme")
    lab.cli("budget", "tenant:acme", "--rate", "2/h")
    lab.cli("limit", vm, "--rate", "1/h")
    with lab.expect(vm, flows_admitted=1, flows_limited=1):
        assert lab.guest(1).connect(SERVER4) == "ok"
        assert lab.guest(1).connect(SERVER4, timeout=SHORT) == "timeout"
    # What the VM's own limit refused took nothing of the budget: one is left.
    lab.cli("allow", vm)
    with lab.expect(vm, flows_admitted=1, flows_limited=1):
        assert lab.guest(1).connect(SERVER4) == "ok"
        assert lab.guest(1).connect(SERVER4, timeout=SHORT) == "timeout"


def test_precedence_5_prefix_policy_is_a_template_per_vm(lab):
    vms = [lab.register(n) for n in (1, 2)]
    lab.cli("limit", "ip:10.25.0.0/24", "--rate", "1/h")
    for n, vm in enumerate(vms, 1):
        with lab.expect(vm, flows_admitted=1, flows_limited=1):
            assert lab.guest(n).connect(SERVER4) == "ok"
            assert lab.guest(n).connect(SERVER4, timeout=SHORT) == "timeout"


def test_precedence_5_prefix_budget_is_shared(lab):
    vms = [lab.register(n) for n in (1, 2)]
    lab.cli("budget", "ip:2001:db8:25::/64", "--rate", "1/h")
    server = "2001:db8:2::10"
    with lab.expect(vms[0], flows_admitted=1), lab.expect(vms[1], flows_limited=1):
        assert lab.guest(1).connect(server) == "ok"
        assert lab.guest(2).connect(server, timeout=SHORT) == "timeout"
    # The budget is of that prefix alone.
    admitted(lab, vms[1], 2)


def test_precedence_5_an_override_has_buckets_of_its_own(lab):
    vm = lab.register(1)
    lab.cli("limit", vm, "--rate", "1/h")
    lab.cli("limit", "ip:10.25.0.11", "--rate", "2/h")
    guest = lab.guest(1)
    # IPv4 spends from the address's bucket, IPv6 from the VM's; the VM counts both.
    with lab.expect(vm, flows_admitted=3, flows_limited=2):
        assert [guest.connect(SERVER4) for _ in range(2)] == ["ok"] * 2
        assert guest.connect("2001:db8:2::10") == "ok"
        for server in (SERVER4, "2001:db8:2::10"):
            assert guest.connect(server, timeout=SHORT) == "timeout"


def test_precedence_6_blocking_a_tenant_names_what_stays_open(lab):
    vm = lab.register(1, tenant="acme")
    other = lab.register(2, tenant="acme")
    lab.cli("allow", vm)
    said = lab.cli("block", "tenant:acme")
    assert vm in said and "quarantine" in said and other not in said, said
    admitted(lab, vm)
    refused(lab, other, 2)


@cases(daemon=True, no_daemon=False)
def test_precedence_7_expiry_falls_back_to_what_is_beneath(lab, case):
    lab.cli("block", "default")
    lab.cli("allow", "port:vnet1", "--for", "3s")
    lab.cli("block", "port:vnet2", "--for", "3s")
    admitted(lab, "port:vnet1")
    refused(lab, "port:vnet2", 2)
    lab.cli("allow", "default")
    if not case:
        lab.cli("block", "default")
        lab.kill()
        lab.poll(lambda: lab.guest(1).connect(SERVER4) == "ECONNREFUSED", 10, "expiry")
        lab.start()
        assert lab.show("port:vnet1")["effective"]["source"] == "default"
        return
    lab.poll(lambda: lab.guest(2).connect(SERVER4) == "ok", 10, "expiry")
    assert lab.show("port:vnet2")["effective"]["source"] == "default"


@setup(config={"refuse": {"quarantine": "reset"}})
@cases(policy={"policies": [{"state": "block", "expires": "9999-12-31T23:59:59Z"}]},
       quarantine={"quarantine": {"until": "9999-12-31T23:59:59Z"}})
def test_precedence_7_an_expiry_may_lie_beyond_the_kernels_clock(lab, case):
    """2^63 ns end in the year 2262: what is to hold for ever must not have ended long ago."""
    lab.cli("allow", "default")
    path = lab.file("set")
    with open(path, "w") as f:
        for record in ({"subject": "port:vnet1"} | case,
                       {"subject": "default", "policies": [{"state": "allow"}]}):
            f.write(json.dumps({"kind": "subject"} | record) + "\n")
    lab.cli("apply", path)
    refused(lab, "port:vnet1")
    assert lab.show("port:vnet1")["effective"]["expires"] == "9999-12-31T23:59:59Z"
    assert lab.json("apply", path, "--dry-run")["changes"] == []


def test_precedence_7_expiry_is_shown(lab):
    lab.cli("block", "port:vnet1", "--for", "1h", "--reason", "ticket 4711")
    effective = lab.show("port:vnet1")["effective"]
    assert effective["expires"].endswith("Z") and effective["reason"] == "ticket 4711"
    left = time.mktime(time.strptime(effective["expires"], "%Y-%m-%dT%H:%M:%SZ")) - time.timezone
    assert 3500 < left - time.time() <= 3601, effective


@cases(closing=("block", "ECONNREFUSED"), opening=("allow", "ok"))
def test_precedence_8_closing_before_durable_opening_after(lab, case):
    """While the store cannot be written a block is in force already, an allow not yet."""
    verb, result = case
    closing = verb == "block"
    lab.cli("allow" if closing else "block", "port:vnet1")
    guest = lab.guest(1)
    db = sqlite3.connect(lab.config["store"]["path"], isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    try:
        change = lab.host.popen([lab.program("gate25"), "--socket", lab.socket_path, verb,
                                 "port:vnet1"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if closing:
            lab.poll(lambda: guest.connect(SERVER4) == result or change.poll() is not None, 5)
            assert change.poll() is None, f"did not wait for the store: {change.stdout.read()}"
            assert guest.connect(SERVER4) == result
        else:
            for _ in range(20):
                assert guest.connect(SERVER4) == "ECONNREFUSED", "open before it was durable"
    finally:
        db.execute("ROLLBACK")
        db.close()
    assert change.wait(10) == 0, change.stdout.read()
    assert guest.connect(SERVER4) == result


harness.main()
