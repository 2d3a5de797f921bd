#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""gate25 as staff use it: every command, its words and its JSON."""

import json
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import harness
from harness import cases, setup
from lab import SERVER4

PORT = "port:vnet1"

COUNTERS = {
    "flows_admitted", "flows_limited", "flows_blocked", "flows_would_refuse", "flows_active",
    "packets_from_vm", "bytes_from_vm", "packets_to_vm", "bytes_to_vm", "packets_dropped",
    "resets_sent", "connects_established", "connects_refused", "connects_timed_out",
    "new_destinations", "replies_2xx", "replies_3xx", "replies_4xx", "replies_5xx",
    "banners_refused", "tls_flows", "spoofed", "unsolicited", "unclassifiable",
    "fragments_dropped", "exempt"}


def test_show_has_every_promised_key(lab):
    vm = lab.register(1, tenant="acme")
    lab.cli("limit", vm, "--rate", "5/s", "--rate", "200/h", "--burst", 10, "--concurrent", 50,
            "--destinations", "50/h", "--for", "1h", "--reason", "ticket 4711")
    shown = lab.show(vm)
    assert list(shown)[0] == "version" and shown["version"] == 1
    assert (shown["subject"], shown["tenant"]) == (vm, "acme")
    port = shown["ports"][0]
    assert port["name"] == "vnet1" and port["from_vm"] is True and port["hook"] in ("tcx", "tc")
    assert shown["macs"] == [lab.guest(1).mac]
    assert set(shown["ips"]) == {lab.guest(1).ip4, lab.guest(1).ip6}
    effective = shown["effective"]
    assert effective["state"] == "limit" and effective["enforce"] is True
    assert [(r["count"], r["per"]) for r in effective["rates"]] == [(5, "1s"), (200, "1h")]
    assert (effective["burst"], effective["concurrent"]) == (10, 50)
    assert effective["destinations"] == {"count": 50, "per": "1h"}
    assert effective["refuse"] == "drop" and effective["source"] == vm
    assert effective["reason"] == "ticket 4711" and effective["by"] == "root"
    assert COUNTERS <= set(shown["counters"]), COUNTERS - set(shown["counters"])
    assert all(isinstance(shown["counters"][c], int) for c in COUNTERS)


def test_status_has_every_promised_key(lab):
    status = lab.status()
    for key in ("version", "host", "enforce", "started", "ports", "totals", "problems"):
        assert key in status, key
    assert COUNTERS <= set(status["totals"]) and status["problems"] == [], status["problems"]

    def lasting(answer):  # what does not change from one moment to the next
        return {k: v for k, v in answer.items() if k not in ("totals", "reasons", "maps")}
    assert lasting(lab.json()) == lasting(status), "no command means status"


def test_list_filters(lab):
    lab.register(1, tenant="acme")
    lab.cli("block", "port:vnet2", "--for", "1d")

    def subjects(*options):
        return {vm["subject"] for vm in lab.json("list", *options)["vms"]}

    assert subjects() == {"vm:web1", "port:vnet2"}
    assert subjects("--tenant", "acme") == {"vm:web1"}
    assert subjects("--state", "block") == {"port:vnet2"}
    assert subjects("--expiring", "7d") == {"port:vnet2"}
    assert subjects("--expiring", "1h") == set()
    text = lab.cli("list")
    assert "web1" in text and "vnet2" in text and "block" in text


@cases(word="web1", mac="52:54:00:25:00:01", ip="10.25.0.11", ip6="2001:db8:25::11", port="vnet1")
def test_a_bare_word_is_a_mac_an_address_a_vm_or_a_port(lab, case):
    lab.register(1)
    said = lab.cli("show", case)
    assert "web1" in said or case in said, said


def test_every_change_prints_what_is_in_force(lab):
    for command in (["block", PORT], ["limit", PORT, "--rate", "5/s"], ["allow", PORT],
                    ["quarantine", PORT], ["release", PORT], ["inherit", PORT],
                    ["observe", PORT, "on"]):
        said = lab.cli(*command)
        assert "vnet1" in said, (command, said)
        wanted = {"release": "allow", "inherit": "allow", "observe": "observe"}
        assert wanted.get(command[0], command[0]) in said, (command, said)


def test_a_change_that_is_hidden_says_so(lab):
    vm = lab.register(1, tenant="acme")
    lab.cli("quarantine", "tenant:acme")
    assert "tenant:acme" in lab.cli("allow", vm)


def test_several_subjects_and_stdin(lab):
    lab.cli("block", "port:vnet1", "port:vnet2")
    assert [lab.state(f"port:vnet{n}") for n in (1, 2)] == ["block", "block"]
    lab.cli("allow", "-", stdin="port:vnet1\nport:vnet2\n")
    assert [lab.state(f"port:vnet{n}") for n in (1, 2)] == ["allow", "allow"]


def test_applied_in_part_has_its_exit_code(lab):
    code, _, err = lab.run_cli("block", "port:vnet1", "port:nothere", "port:vnet2")
    assert code == 5 and "nothere" in err, (code, err)
    assert [lab.state(f"port:vnet{n}") for n in (1, 2)] == ["block", "block"]


@cases(show=["show"], block=["block"], inherit=["inherit"], vm_del=["vm", "del"])
def test_no_such_subject_has_its_exit_code(lab, case):
    subject = "nothere" if case[0] == "vm" else "vm:nothere"
    code, out, err = lab.run_cli(*case, subject)
    assert code == 3 and "nothere" in err and err.count("\n") == 1, (code, err)
    code, out, err = lab.run_cli("--json", *case, subject)
    assert code == 3 and "nothere" in json.loads(out)["error"]["message"], (code, out)


def test_vm_set_list_and_del(lab):
    guest = lab.guest(1)
    lab.cli("vm", "add", "web1", "--port", "vnet1", "--mac", guest.mac, "--tenant", "acme")
    lab.cli("vm", "set", "web1", "--ip", guest.ip4)
    shown = lab.show("vm:web1")
    assert (shown["macs"], shown["ips"], shown["tenant"]) == ([guest.mac], [guest.ip4], "acme")
    assert "web1" in lab.cli("vm", "list")
    lab.cli("block", "vm:web1")
    assert guest.connect(SERVER4) == "ECONNREFUSED"
    lab.cli("vm", "del", "web1")
    assert lab.run_cli("show", "vm:web1")[0] == 3
    with lab.expect(PORT, flows_admitted=1):
        assert guest.connect(SERVER4) == "ok"


def test_history_has_who_when_what_and_why(lab):
    vm = lab.register(1)
    lab.cli("block", vm, "--for", "1d", "--reason", "spam, ticket 4711")
    lab.cli("allow", vm, "--reason", "cleaned")
    lab.cli("block", "port:vnet2")
    rows = lab.json("history", vm)["audit"]
    assert [r["reason"] for r in rows[:2]] == ["cleaned", "spam, ticket 4711"], rows
    for row in rows:
        assert row["subject"] == vm and row["uid"] == 0 and row["time"].endswith("Z")
        assert row["actor"] == "root" and row["action"], row
    assert len(lab.json("history")["audit"]) == len(rows) + 1
    text = lab.cli("history", vm)
    assert "ticket 4711" in text and "root" in text


def test_history_outlives_the_daemon(lab):
    lab.cli("block", PORT, "--reason", "before")
    lab.kill()
    lab.start()
    assert lab.json("history", PORT)["audit"][0]["reason"] == "before"


def test_refused_changes_leave_no_trace(lab):
    lab.run_cli("limit", PORT, "--rate", "0/s")
    lab.run_cli("block", "vm:nothere")
    assert lab.json("history")["audit"] == []


def test_until_takes_a_time(lab):
    lab.cli("block", PORT, "--until", "2099-12-24T18:00:00+01:00")
    assert lab.show(PORT)["effective"]["expires"] == "2099-12-24T17:00:00Z"


def test_budget_is_shown_and_dropped(lab):
    lab.register(1, tenant="acme")
    lab.cli("budget", "tenant:acme", "--rate", "500/h", "--rate", "2000/d")
    own = lab.show("tenant:acme")["own"]
    assert [(r["count"], r["per"]) for r in own["budget"]] == [(500, "1h"), (2000, "1d")]
    lab.cli("budget", "tenant:acme", "none")
    assert not lab.show("tenant:acme")["own"]["budget"]


def test_version_and_help_need_no_daemon(lab):
    lab.stop()
    assert "gate25" in lab.cli("version")
    text = lab.cli("help")
    for command in ("status", "list", "show", "allow", "limit", "block", "quarantine", "release",
                    "inherit", "budget", "exempt", "observe", "vm", "history", "export", "apply",
                    "doctor", "detach"):
        assert command in text, command
        assert command in lab.cli("help", command)


def test_daily_commands_load_no_library_that_they_do_not_need(lab):
    needed = subprocess.run(["readelf", "-d", lab.program("gate25")], text=True, check=True,
                            capture_output=True).stdout
    assert "[libjansson" in needed
    for library in ("libncurses", "libtinfo", "libbpf", "libelf", "libnl-", "libexpat", "libinih"):
        assert library not in needed, library


@cases(alone=(None, 1), as_built=("bin/gate25-more", 0),
       as_installed=("libexec/gate25/gate25-more", 0))
def test_gate25_more_is_found_from_where_gate25_is(lab, case):
    place, code = case
    gate25 = lab.file("prefix/bin/gate25")
    os.makedirs(os.path.dirname(gate25))
    shutil.copy(lab.program("gate25"), gate25)
    if place:
        os.makedirs(os.path.dirname(lab.file(f"prefix/{place}")), exist_ok=True)
        shutil.copy(lab.program("gate25-more"), lab.file(f"prefix/{place}"))
    os.makedirs(lab.file("pve/qemu-server"))
    done = subprocess.run([gate25, "--socket", lab.socket_path, "vm", "import", "proxmox",
                           "--from", lab.file("pve")], text=True, capture_output=True)
    assert done.returncode == code, done
    if code:
        assert done.stderr == ("gate25: vm import: cannot start gate25-more, which it is part of: "
                               "No such file or directory\n"), done


@setup(config={"default": {"state": "limit", "rate": "5/s, 200/h", "burst": 10, "concurrent": 50}})
def test_text_of_show_names_policy_and_counters(lab):
    lab.guest(1).connect(SERVER4)
    text = lab.cli("show", PORT)
    for word in ("limit", "5/s", "200/h", "default", "admitted"):
        assert word in text, (word, text)


harness.main()
