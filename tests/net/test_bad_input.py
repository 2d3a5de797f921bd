#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Bad input: one clear sentence, the right exit code, nothing half applied, daemon up."""

import os
import random
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import harness
from harness import cases, setup
from lab import SERVER4

PORT = "port:vnet1"


def one_sentence(err):
    assert err.startswith("gate25: ") and err.count("\n") == 1 and len(err) < 600, err


COMMANDS = {
    "no-such-command": ["frobnicate"],
    "no-such-option": ["block", PORT, "--frobnicate"],
    "no-subject": ["block"],
    "rate-zero": ["limit", PORT, "--rate", "0/s"],
    "rate-negative": ["limit", PORT, "--rate", "-5/s"],
    "rate-word": ["limit", PORT, "--rate", "often"],
    "rate-unit": ["limit", PORT, "--rate", "5/fortnight"],
    "rate-huge": ["limit", PORT, "--rate", "99999999999999999999/s"],
    "rate-five": ["limit", PORT, *["--rate", "5/s"] * 5],
    "burst-zero": ["limit", PORT, "--rate", "5/s", "--burst", "0"],
    "concurrent-negative": ["limit", PORT, "--concurrent", "-1"],
    "destinations-word": ["limit", PORT, "--destinations", "few"],
    "for-zero": ["block", PORT, "--for", "0s"],
    "for-bare-number": ["block", PORT, "--for", "30"],
    "for-word": ["block", PORT, "--for", "ever"],
    "for-huge": ["block", PORT, "--for", "99999999999999d"],
    "until-past": ["block", PORT, "--until", "2001-01-01T00:00:00Z"],
    "until-word": ["block", PORT, "--until", "tomorrow"],
    "for-and-until": ["block", PORT, "--for", "1h", "--until", "2099-01-01T00:00:00Z"],
    "refuse-word": ["block", PORT, "--refuse", "politely"],
    "on-ungated": ["block", PORT, "--on", "80"],
    "on-word": ["block", PORT, "--on", "smtp-ish"],
    "mac-malformed": ["block", "mac:52:54:00:12:34"],
    "mac-letters": ["block", "mac:zz:54:00:12:34:56"],
    "mac-multicast": ["block", "mac:01:00:5e:00:00:01"],
    "ip-malformed": ["block", "ip:203.0.113.500"],
    "ip-prefix": ["block", "ip:203.0.113.0/33"],
    "ip-host-bits": ["block", "ip:203.0.113.5/24"],
    "ip6-malformed": ["block", "ip:2001:db8:::1"],
    "ip6-prefix": ["block", "ip:2001:db8::/129"],
    "subject-empty": ["block", "vm:"],
    "subject-long": ["block", "vm:" + "x" * 64],
    "subject-spaces": ["block", "vm:a b"],
    "reason-2000": ["block", PORT, "--reason", "x" * 2000],
    "vm-name": ["vm", "add", "bad name", "--port", "vnet1"],
    "vm-mac": ["vm", "add", "web1", "--mac", "nonsense"],
    "vm-ip": ["vm", "add", "web1", "--ip", "1.2.3"],
    "budget-of-vm": ["budget", PORT, "--rate", "5/h"],
    "budget-nothing": ["budget", "tenant:acme"],
    "exempt-word": ["exempt", PORT, "maybe", "192.0.2.1"],
    "exempt-dest": ["exempt", PORT, "add", "mail.example"],
    "observe-word": ["observe", PORT, "maybe"],
    "detach-unsure": ["detach"],
}


@setup(guests=1)
def test_bad_commands_are_usage_errors_that_change_nothing(lab):
    before = lab.cli("export")
    for name, command in COMMANDS.items():
        code, out, err = lab.run_cli(*command)
        assert code == 2, (name, code, out, err)
        one_sentence(err)
        code, out, _ = lab.run_cli("--json", *command)
        assert code == 2 and '"error"' in out and '"message"' in out, (name, code, out)
    assert lab.cli("export") == before
    assert lab.json("history")["audit"] == [] and lab.daemon.poll() is None
    assert lab.guest(1).connect(SERVER4) == "ok"


REQUESTS = {
    "not-json": ("PUT", "policy", "block please", 400),
    "empty": ("PUT", "policy", "", 400),
    "array": ("PUT", "policy", "[]", 400),
    "nothing": ("PUT", "policy", "{}", 400),
    "cut": ("PUT", "policy", '{"state":"block"', 400),
    "trailing": ("PUT", "policy", '{"state":"block"} {"state":"allow"}', 400),
    "unknown-key": ("PUT", "policy", '{"state":"block","colour":"red"}', 400),
    "double-key": ("PUT", "policy", '{"state":"block","state":"allow"}', 400),
    "state-type": ("PUT", "policy", '{"state":7}', 400),
    "state-word": ("PUT", "policy", '{"state":"open"}', 400),
    "rates-type": ("PUT", "policy", '{"state":"limit","rates":"5/s"}', 400),
    "rate-zero": ("PUT", "policy", '{"state":"limit","rates":[{"count":0,"per":"1s"}]}', 400),
    "rate-fraction": ("PUT", "policy", '{"state":"limit","rates":[{"count":1.5,"per":"1s"}]}', 400),
    "rate-per": ("PUT", "policy", '{"state":"limit","rates":[{"count":1,"per":"2s"}]}', 400),
    "rates-without": ("PUT", "policy", '{"state":"allow","rates":[{"count":1,"per":"1s"}]}', 400),
    "expires-past": ("PUT", "policy", '{"state":"block","expires":"2001-01-01T00:00:00Z"}', 400),
    "reason-long": ("PUT", "policy", '{"state":"block","reason":"' + "x" * 2000 + '"}', 400),
    "reason-nul": ("PUT", "policy", '{"state":"block","reason":"a\\u0000b"}', 400),
    "utf-8": ("PUT", "policy", b'{"state":"block","reason":"\xff\xfe"}', 400),
    "deep": ("PUT", "policy", "[" * 100000, 400),
    "too-large": ("PUT", "policy", '{"state":"block","reason":"' + "x" * (2 << 20) + '"}', 413),
    "half-good": ("PUT", "policy", '{"state":"block","exempt":{"add":["nonsense"]}}', 400),
    "no-vm": ("PUT", "/v1/policies/vm%3Anothere", '{"state":"block"}', 404),
    "bad-subject": ("PUT", "/v1/policies/mac%3Azz", '{"state":"block"}', 400),
    "bad-escape": ("PUT", "/v1/policies/vm%3", '{"state":"block"}', 400),
    "no-route": ("GET", "/v1/cows", None, 404),
    "no-method": ("POST", "/v1/status", "{}", 405),
    "patch": ("PATCH", "policy", "{}", 405),
    "vm-unknown-key": ("PUT", "/v1/vms/web1", '{"colour":"red"}', 400),
    "vm-port-type": ("PUT", "/v1/vms/web1", '{"ports":"vnet1"}', 400),
    "set-not-json": ("PUT", "/v1/policy-set", "garbage\n", 400),
    "audit-limit": ("GET", "/v1/audit?limit=many", None, 400),
    "vms-state": ("GET", "/v1/vms?state=open", None, 400),
}


@setup(guests=1)
def test_bad_requests_get_one_sentence_and_change_nothing(lab):
    before = lab.cli("export")
    for name, (method, path, body, wanted) in REQUESTS.items():
        try:
            status, answer = lab.http(method, lab.policy_path(PORT) if path == "policy" else path,
                                      body)
        except (BrokenPipeError, ConnectionResetError):
            assert name == "too-large", name  # refused before it was read
            continue
        assert status == wanted, (name, status, answer)
        message = answer["error"]["message"]
        assert answer["version"] == 1 and message and "\n" not in message, (name, answer)
    assert lab.cli("export") == before and lab.daemon.poll() is None
    assert lab.json("history")["audit"] == []


@setup(guests=1)
def test_garbage_on_the_socket_leaves_the_daemon_up(lab):
    rng = random.Random(25)
    opened = []
    for i in range(300):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(2)
        try:
            sock.connect(lab.socket_path)
            sock.send(rng.randbytes(rng.randrange(1, 4000)) if i % 3 else b"GET " + b"/" * 9000)
        except OSError:
            sock.close()
            continue
        if i % 2:
            opened.append(sock)  # and says nothing more
        else:
            sock.close()
    lab.poll(lambda: lab.run_cli("status")[0] == 0, 30, "answer amid the garbage")
    for sock in opened:
        sock.close()
    lab.cli("block", PORT)
    assert lab.guest(1).connect(SERVER4) == "ECONNREFUSED"
    assert lab.daemon.poll() is None


CONFIGS = {
    "unknown-key": ("[gate]\ncolour = red\n", 2, "colour"),
    "unknown-section": ("[gate]\nports = 25\n[cows]\nelsie = yes\n", 3, "cows"),
    "no-section": ("ports = 25\n", 1, "section"),
    "rate-zero": ("[default]\nstate = limit\nrate = 0/s\n", 3, "rate"),
    "rate-word": ("[default]\nrate = often\n", 2, "often"),
    "state-word": ("[default]\nstate = open\n", 2, "open"),
    "ports-word": ("[gate]\nports = smtp!\n", 2, "ports"),
    "ports-many": ("[gate]\nports = 1, 2, 3, 4, 5\n", 2, "ports"),
    "ports-range": ("[gate]\nports = 70000\n", 2, "70000"),
    "max-vms": ("[gate]\nmax_vms = none\n", 2, "max_vms"),
    "exempt": ("[exempt]\ndestinations = 10.0.0.1/8\n", 2, "10.0.0.1/8"),
    "listen": ("[metrics]\nlisten = everywhere\n", 2, "everywhere"),
    "socket": ("[control]\nsocket = relative/path\n", 2, "socket"),
    "hook": ("[gate]\nhook = crook\n", 2, "crook"),
    "bool": ("[gate]\nenforce = maybe\n", 2, "enforce"),
}


@setup(guests=0, servers=False, start=False)
def test_bad_configuration_names_file_and_line(lab):
    for name, (text, line, word) in CONFIGS.items():
        lab.write_config(text)
        for option in (["--check-config"], []):
            done = lab.host.run([lab.program("gate25d"), "--config", lab.config_path, *option],
                                check=False)
            err = done.stderr.strip()
            assert done.returncode, (name, err)
            assert f"{lab.config_path}:{line}:" in err and word in err, (name, err)
            assert err.count("\n") == 0, (name, err)
    assert not os.path.exists(lab.pin)


@setup(guests=0, servers=False, start=False)
def test_check_config_accepts_a_good_file(lab):
    done = lab.host.run([lab.program("gate25d"), "--config", lab.config_path, "--check-config"])
    assert done.returncode == 0
    done = lab.host.run([lab.program("gate25d"), "--config", lab.file("none.conf")], check=False)
    assert done.returncode and "none.conf" in done.stderr


@setup(guests=0, servers=False, config={"gate": {"bridges": "br9, vmbr*"}})
def test_a_bridge_that_does_not_exist_yet_is_a_problem_not_a_failure(lab):
    assert any("br9" in p["message"] for p in lab.status()["problems"]), lab.status()["problems"]
    lab.host.ip("link add br9 type bridge", "link set br9 up")
    lab.poll(lambda: not any("br9" in p["message"] for p in lab.status()["problems"]), 5,
             "end of the problem")


def fails(lab, argv):
    done = lab.host.run([lab.program("gate25d"), "--config", lab.config_path], check=False,
                        timeout=20) if argv is None else \
        subprocess.run(argv, capture_output=True, text=True, timeout=20)
    err = done.stderr.strip()
    assert done.returncode not in (0, None) and err, done
    return err


@setup(guests=0, servers=False, start=False)
def test_missing_bpffs_is_one_sentence(lab):
    lab.configure({"bpf": {"pin": lab.file("nowhere")}})
    assert "bpf" in fails(lab, None).splitlines()[-1]


@setup(guests=0, servers=False, start=False)
@cases(bpf="cap_bpf,cap_sys_admin", net="cap_net_admin,cap_sys_admin",
       perfmon="cap_perfmon,cap_sys_admin")
def test_missing_capability_is_named(lab, case):
    missing = case.split(",")[0]
    drop = ",".join(f"-{c}" for c in case.split(","))
    with lab.host.entered():
        err = fails(lab, ["setpriv", "--bounding-set", drop, "--inh-caps", drop,
                          lab.program("gate25d"), "--config", lab.config_path])
    assert missing in err.lower(), err


@setup(guests=0, servers=False, start=False)
def test_an_unusable_socket_path_is_named(lab):
    lab.configure({"control": {"socket": "/nonexistent/dir/control.sock"}})
    assert "/nonexistent/dir" in fails(lab, None)


@setup(guests=1, config={"control": {"group": "no-such-group", "readers": None}})
def test_a_group_that_does_not_exist_opens_nothing(lab):
    assert "no-such-group" in lab.log()
    assert [p["code"] for p in lab.status()["problems"]] == ["control_group"]
    lab.cli("block", PORT)
    assert lab.run_cli("allow", PORT, uid=65534, groups=["games"])[0] == 6
    assert lab.guest(1).connect(SERVER4) == "ECONNREFUSED"


@setup(guests=1, config={"store": {"path": "/nonexistent/dir/gate25.db"}})
def test_an_unusable_store_path_is_said_and_changes_are_refused(lab):
    assert any("/nonexistent/dir" in p["message"] for p in lab.status()["problems"])
    code, _, err = lab.run_cli("allow", PORT)
    assert code == 1, (code, err)
    one_sentence(err)
    assert lab.guest(1).connect(SERVER4) == "ok"


@setup(guests=4, start=False, config={"gate": {"max_vms": 3}})
def test_more_ports_than_slots_is_said_and_gated(lab):
    lab.configure({"default": {"state": "block"}})
    lab.start()
    assert lab.status()["problems"], "says nothing"
    for n in range(1, 5):
        assert lab.guest(n).connect(SERVER4, timeout=0.6) in ("ECONNREFUSED", "timeout"), n


harness.main()
