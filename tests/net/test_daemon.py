#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""The daemon: start, stop, rights, ports that come and go, and the gate without it."""

import grp
import json
import os
import re
import signal
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import harness
from harness import cases, setup
from lab import NOBODY, READERS, SERVER4, SILENT4, STAFF

SHORT = 0.6
PORT = "port:vnet1"
CLOSED = {"default": {"state": "block"}}


@setup(guests=20, start=False)
def test_daemon_1_the_socket_answers_after_every_port_is_attached(lab):
    lab.daemon = lab.spawn()
    lab.stack.callback(lab.stop)
    lab.wait_ready()
    ports = lab.http("GET", "/v1/status")[1]["ports"]
    gated = {p["name"] for p in ports if p["role"] == "vm" and p["from_vm"]}
    assert gated == {f"vnet{n}" for n in range(1, 21)}, gated


def test_daemon_2_links_are_asked_of_netlink(lab):
    """/sys/class/net is another namespace's view here, as in a container."""
    assert not os.path.exists("/sys/class/net/vnet1")
    assert lab.hooked("vnet1") and lab.hooked("vnet2") and not lab.hooked("eth0")
    roles = {p["name"]: p["role"] for p in lab.status()["ports"]}
    assert roles["eth0"] == "uplink" and roles["vnet1"] == "vm", roles


def test_daemon_3_a_supplementary_group_may_change(lab):
    lab.cli("block", PORT, "--reason", "night shift", uid=NOBODY, groups=[STAFF])
    assert lab.guest(1).connect(SERVER4) == "ECONNREFUSED"
    row = lab.json("history", PORT)["audit"][0]
    assert row["uid"] == NOBODY and row["reason"] == "night shift", row


def test_daemon_3_readers_may_read_only(lab):
    assert "vnet1" in lab.cli("list", uid=NOBODY, groups=[READERS])
    code, _, err = lab.run_cli("block", PORT, uid=NOBODY, groups=[READERS])
    assert code == 6 and err.count("\n") == 1, (code, err)
    assert lab.guest(1).connect(SERVER4) == "ok"


@cases(status=["status"], list=["list"], block=["block", PORT], default=[])
def test_daemon_3_others_are_refused(lab, case):
    code, out, err = lab.run_cli(*case, uid=NOBODY)
    assert code == 6 and err.startswith("gate25: ") and err.count("\n") == 1, (code, err)
    assert not out
    code, out, _ = lab.run_cli("--json", *case, uid=NOBODY)
    assert code == 6 and json.loads(out)["error"]["message"], out
    assert lab.guest(1).connect(SERVER4) == "ok"


def test_daemon_3_no_daemon_is_another_exit_code(lab):
    lab.stop()
    code, _, err = lab.run_cli("status")
    assert code == 4 and err.startswith("gate25: ") and err.count("\n") == 1, (code, err)


def test_daemon_3_the_front_end_may_name_a_person(lab):
    lab.http("PUT", lab.policy_path(PORT), {"state": "block", "reason": "ticket 1"},
             {"X-Gate25-Actor": "alice"})
    row = lab.http("GET", "/v1/audit")[1]["audit"][0]
    assert (row["uid"], row["actor"], row["subject"]) == (0, "alice", PORT), row


@cases(running=True, dead=False)
def test_daemon_4_detach_works_with_and_without_the_daemon(lab, case):
    lab.cli("block", PORT)
    assert lab.guest(1).connect(SERVER4) == "ECONNREFUSED"
    code, _, err = lab.run_cli("detach")
    assert code == 2 and "--yes" in err, (code, err)
    assert lab.guest(1).connect(SERVER4) == "ECONNREFUSED"
    lab.stop()
    if case:
        lab.start()
        code, out, err = lab.run_cli("detach", "--yes", "--config", lab.config_path)
        if code:  # a running daemon would attach again: it may have to be stopped first
            assert "daemon" in err or "running" in err, err
            return
    else:
        lab.cli("detach", "--yes", "--config", lab.config_path)
    assert lab.guest(1).connect(SERVER4) == "ok"


def test_daemon_4_doctor_works_without_the_daemon(lab):
    lab.stop()
    code, out, err = lab.run_cli("doctor", "--config", lab.config_path)
    assert code in (0, 1, 5) and "kernel" in (out + err).lower(), (code, out, err)


def test_daemon_5_pins_lie_below_the_configured_path(lab):
    found = [os.path.join(d, f) for d, _, names in os.walk(lab.pin) for f in names]
    assert any("/maps/" in f for f in found) and any("/links/" in f for f in found), found


@setup(start=False)
def test_daemon_5_no_bpffs_is_said_clearly(lab):
    lab.configure({"bpf": {"pin": lab.file("plain-directory")}})
    code, err = refused_start(lab)
    assert code and re.search(r"bpffs|bpf file system", err, re.I), (code, err)
    assert not os.path.exists(lab.socket_path)


def refused_start(lab, argv=None):
    """Exit status and words of a daemon that cannot start."""
    daemon = lab.spawn(argv)
    try:
        code = daemon.wait(15)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
        raise AssertionError(f"it runs: {lab.log()}") from None
    return code, lab.log()


@cases(grown={"max_vms": 128}, shrunk={"max_vms": 8}, more_ports={"ports": "25, 587"},
       flows={"flows_per_vm": 2048})
def test_daemon_6_other_map_sizes_keep_policy_and_counters(lab, case):
    """An upgrade in small: new maps beside the old ones, what they hold copied over."""
    lab.cli("block", PORT)
    lab.cli("limit", "port:vnet2", "--rate", "3/h")
    assert lab.guest(1).connect(SERVER4) == "ECONNREFUSED"
    assert lab.guest(2).connect(SERVER4) == "ok"
    far, guest = lab.sniff(), lab.guest(1)
    lab.stop()
    lab.configure({"gate": case})
    lab.daemon = lab.spawn()
    sent = 1
    while not os.path.exists(lab.socket_path) or lab.run_cli("status")[0]:
        guest.wire.send(*(guest.syn(SILENT4, 1024 + i) for i in range(20)))
        sent += 20
        assert lab.daemon.poll() is None, lab.log()
    assert not far.syns()
    assert lab.counters(PORT)["flows_blocked"] == sent
    assert lab.counters("port:vnet2")["flows_admitted"] == 1
    results = [lab.guest(2).connect(SERVER4, timeout=SHORT) for _ in range(3)]
    assert results == ["ok", "ok", "timeout"], results


def test_daemon_7_export_is_json_lines_and_applies_again(lab):
    lab.register(1, tenant="acme")
    lab.cli("limit", "tenant:acme", "--rate", "5/h", "--reason", "new customer")
    lab.cli("exempt", "vm:web1", "add", "192.0.2.9")
    lab.cli("budget", "tenant:acme", "--rate", "100/d")
    text = lab.cli("export")
    kinds = [json.loads(line)["kind"] for line in text.splitlines()]
    assert "vm" in kinds and "subject" in kinds
    path = lab.file("policy.jsonl")
    with open(path, "w") as f:
        f.write(text)
    assert lab.json("apply", path, "--dry-run")["changes"] == []
    lab.cli("inherit", "tenant:acme")
    lab.cli("vm", "del", "web1")
    changes = lab.json("apply", path, "--dry-run")["changes"]
    assert any("vm:web1" in c for c in changes) and lab.run_cli("show", "vm:web1")[0] == 3
    lab.cli("apply", path)
    assert lab.cli("export") == text


FOLLOW = """
import socket, sys
sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
sock.connect(sys.argv[1])
sock.send(b"GET /v1/events?follow=1 HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
while data := sock.recv(65536):
    print(len(data), flush=True)
"""


def test_rights_that_were_taken_away_end_what_runs(lab):
    """A reader follows the events; a reload later nobody may read any more."""
    follower = subprocess.Popen([sys.executable, "-c", FOLLOW, lab.socket_path], user=NOBODY,
                                group=grp.getgrnam(READERS).gr_gid, extra_groups=[],
                                stdout=subprocess.PIPE, text=True)
    try:
        lab.cli("block", "port:vnet1")
        assert follower.stdout.readline()
        lab.configure({"control": {"readers": None}})
        lab.reload()
        lab.poll(lambda: follower.poll() is not None, 10, "the follower's end")
    finally:
        follower.kill()
        follower.communicate()


def applies_again(lab):
    path = lab.file("again.jsonl")
    with open(path, "w") as f:
        f.write(lab.cli("export"))
    return lab.json("apply", path)["changes"] == []


def test_whatever_was_taken_can_be_exported_and_applied(lab):
    for third in range(2):  # more, at two times, than a record of the file may have
        added = [f"198.{18 + third}.{n // 256}.{n % 256}" for n in range(800)]
        status, answer = lab.http("PUT", lab.policy_path("default"), {"exempt": {"add": added}})
    assert status == 400 and "1024" in answer["error"]["message"], status
    assert applies_again(lab)
    record = {"kind": "subject", "subject": "port:vnet1", "policies": [
        {"state": "block", "expires": "9999-12-31T23:59:59-01:00"}]}  # in UTC the year is 10000
    status, answer = lab.http("PUT", "/v1/policy-set", json.dumps(record))
    assert status == 400 and "RFC 3339" in answer["error"]["message"], (status, answer)
    assert applies_again(lab)


def test_what_was_exempt_twice_is_so_no_more(lab):
    """A file that was put together of others may name a destination twice."""
    twice = {"kind": "subject", "subject": "port:vnet1", "exempt": ["192.0.2.0/24"] * 2,
             "policies": [{"state": "block"}]}
    assert lab.http("PUT", "/v1/policy-set", json.dumps(twice))[0] == 200
    assert lab.guest(1).connect(SERVER4) == "ok"
    lab.cli("exempt", "port:vnet1", "del", "192.0.2.0/24")
    assert lab.guest(1).connect(SERVER4) == "ECONNREFUSED"


def test_daemon_7_apply_is_all_or_nothing(lab):
    lab.register(1)
    before = lab.cli("export")
    good = '{"kind":"subject","subject":"vm:web1","policies":[{"on":null,"state":"block"}]}'
    path = lab.file("policy.jsonl")
    for bad in ('{"kind":"subject","subject":"vm:nobody","policies":[{"state":"block"}]}',
                '{"kind":"subject","subject":"mac:zz","policies":[]}', '{"kind":"cow"}', 'garbage',
                '{"kind":"subject","subject":"default","policies":[{"state":"limit",'
                '"rates":[{"count":0,"per":"1s"}]}]}'):
        with open(path, "w") as f:
            f.write(before + good + "\n" + bad + "\n")
        code, _, err = lab.run_cli("apply", path)
        assert code and err.count("\n") == 1, (bad, code, err)
        assert lab.cli("export") == before, bad
    assert lab.guest(1).connect(SERVER4) == "ok"


def test_daemon_7_a_large_policy_has_no_size_limit(lab):
    """Over 1 MiB, the bound of other requests."""
    lines = [json.dumps({"kind": "subject", "subject": f"tenant:t{n:05}", "policies": [
        {"on": None, "state": "limit", "rates": [{"count": 5, "per": "1s"}],
         "reason": "x" * 200}]}) for n in range(60)]
    text = "\n".join(lines) + "\n" + "\n" * (1 << 20)
    status, answer = lab.http("PUT", "/v1/policy-set", text, timeout=30)
    assert status == 200 and answer["applied"], (status, answer)
    assert len(answer["changes"]) == 60


def test_daemon_9_subjects_in_urls_are_percent_encoded(lab):
    for subject in ("ip:2001:db8:1::/64", "mac:52:54:00:12:34:56", "tenant:a@b+c"):
        status, answer = lab.http("PUT", lab.policy_path(subject), {"state": "block"})
        assert status == 200 and answer["subject"] == subject, (status, answer)
        status, answer = lab.http("GET", lab.policy_path(subject))
        assert status == 200 and answer["effective"]["state"] == "block", answer


def test_a_new_port_is_gated_at_once(lab):
    lab.cli("block", "default")
    guest = lab.add_guest(3)
    lab.wait_hooked("vnet3")
    with lab.expect("port:vnet3", flows_blocked=1):
        assert guest.connect(SERVER4) == "ECONNREFUSED"


@setup(config=CLOSED)
def test_a_registered_port_that_comes_back_is_the_same_vm(lab):
    vm = lab.register(1)
    lab.cli("allow", vm)
    guest = lab.guest(1)
    assert guest.connect(SERVER4) == "ok"
    guest.unplug()
    lab.poll(lambda: not lab.hooked("vnet1"), 5, "end of the port")
    guest.plug()
    lab.wait_hooked("vnet1")
    with lab.expect(vm, flows_admitted=1):
        assert guest.connect(SERVER4) == "ok"


@setup(config=CLOSED)
def test_a_recycled_name_of_an_unregistered_port_gets_no_grant(lab):
    lab.cli("allow", PORT)
    assert lab.guest(1).connect(SERVER4) == "ok"
    lab.guest(1).unplug()
    lab.poll(lambda: not lab.hooked("vnet1"), 5, "end of the port")
    lab.guest(1).mac = "52:54:00:ee:00:09"
    lab.guest(1).plug()
    lab.wait_hooked("vnet1")
    assert lab.guest(1).connect(SERVER4) in ("ECONNREFUSED", "timeout")


def test_a_port_outside_the_bridges_is_none_of_ours(lab):
    guest = lab.guest(2)
    guest.unplug()
    guest.plug(plugged=False)
    lab.poll(lambda: not lab.hooked("vnet2"), 5, "end of the port")
    lab.host.ip("link set vnet2 master br0")
    lab.wait_hooked("vnet2")


@setup(config={"gate": {"bridges": "br0, br7"}})
def test_a_bridge_may_come_later(lab):
    lab.host.ip("link add br7 type bridge", "link set br7 up")
    guest = lab.add_guest(3)
    lab.host.ip("link set vnet3 master br7")
    lab.wait_hooked("vnet3")
    assert guest.port == "vnet3"


def test_reload_takes_a_new_configuration(lab):
    lab.configure({"default": {"state": "block"}})
    lab.reload()
    lab.poll(lambda: lab.state(PORT) == "block", 5, "reload")
    assert lab.guest(1).connect(SERVER4) == "ECONNREFUSED"


def test_reload_of_a_wrong_file_leaves_the_old_one_in_force(lab):
    lab.configure({"default": {"state": "block", "rate": "often"}})
    lab.reload()
    lab.poll(lambda: "often" in lab.log() or "rate" in lab.log(), 5, "complaint")
    assert lab.state(PORT) == "allow" and lab.daemon.poll() is None
    assert lab.guest(1).connect(SERVER4) == "ok"


def test_ready_is_told_to_the_service_manager(lab):
    lab.stop()
    path = lab.file("notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(path)
        os.chmod(path, 0o777)  # as systemd's is
        notify.settimeout(10)
        lab.start(env=dict(os.environ, NOTIFY_SOCKET=path))
        assert b"READY=1" in notify.recv(4096)


@cases(stop=signal.SIGTERM, interrupt=signal.SIGINT, kill=signal.SIGKILL)
def test_the_gate_stays_when_the_daemon_goes(lab, case):
    lab.cli("block", PORT)
    lab.cli("limit", "port:vnet2", "--rate", "3/h")
    code = lab.stop(case)
    assert code == (-9 if case == signal.SIGKILL else 0), code
    assert lab.guest(1).connect(SERVER4) == "ECONNREFUSED"
    results = [lab.guest(2).connect(SERVER4, timeout=SHORT) for _ in range(4)]
    assert results == ["ok"] * 3 + ["timeout"], results
    lab.start()
    assert lab.counters(PORT)["flows_blocked"] == 1
    assert lab.counters("port:vnet2")["flows_admitted"] == 3
    assert lab.counters("port:vnet2")["flows_limited"] == 1
    assert lab.state(PORT) == "block"


def test_no_frame_slips_through_restarts(lab):
    """A blocked guest sends all along while the daemon is killed and started again."""
    lab.cli("block", PORT)
    guest, far = lab.guest(1), lab.sniff()
    sent = 0
    for _ in range(5):
        lab.kill()
        guest.wire.send(*(guest.syn(SILENT4, 1024 + i) for i in range(200)))
        lab.daemon = lab.spawn()
        while not os.path.exists(lab.socket_path) or lab.run_cli("status")[0]:
            guest.wire.send(*(guest.syn(SILENT4, 2024 + i) for i in range(20)))
            sent += 20
            assert lab.daemon.poll() is None, lab.log()
        sent += 200
    assert not far.syns()
    assert lab.counters(PORT)["flows_blocked"] == sent


def test_a_running_flow_outlives_restarts(lab):
    sock, _ = lab.guest(1).open(SERVER4)
    assert sock.recv(100).startswith(b"220")
    for step in (lab.restart, lambda: (lab.kill(), lab.start())):
        step()
        with lab.expect(PORT, flows_admitted=0, flows_limited=0):
            sock.send(b"NOOP\r\n")
            assert sock.recv(100).startswith(b"250")
    sock.close()


def test_two_daemons_do_not_share_a_gate(lab):
    code, err = refused_start(lab)
    assert code and err.strip(), (code, err)
    assert lab.daemon.poll() is None and lab.status()


def lose_store(lab, damage):
    """Stops the daemon, harms its store, starts it again."""
    lab.stop()
    for name in ("gate25.db-wal", "gate25.db-shm"):
        if os.path.exists(lab.file(name)):
            os.unlink(lab.file(name))
    damage(lab.file("gate25.db"))
    lab.start()


def test_a_deleted_store_is_written_again_from_what_is_in_force(lab):
    vm = lab.register(1, tenant="acme")
    lab.cli("block", vm, "--for", "1d")
    expires = lab.show(vm)["effective"]["expires"]
    lose_store(lab, os.unlink)
    assert "gate25.db" in lab.log()
    shown = lab.show(vm)
    # The kernel knows all that is in force, but not what a tenant is called.
    assert shown["effective"]["state"] == "block" and shown["macs"] == [lab.guest(1).mac], shown
    assert shown["effective"]["expires"][:16] == expires[:16], (shown["effective"], expires)
    assert lab.guest(1).connect(SERVER4) == "ECONNREFUSED"
    lab.restart()
    assert lab.state(vm) == "block"


def test_a_corrupt_store_keeps_the_last_policy_in_force(lab):
    def damage(path):
        with open(path, "r+b") as f:
            f.write(b"\0" * 4096)

    lab.cli("block", PORT)
    lose_store(lab, damage)
    assert lab.guest(1).connect(SERVER4) == "ECONNREFUSED"
    assert any(p["code"] == "store" for p in lab.status()["problems"]), lab.status()["problems"]
    code, _, err = lab.run_cli("allow", PORT)
    assert code == 1 and err.count("\n") == 1, (code, err)
    assert lab.guest(1).connect(SERVER4) == "ECONNREFUSED"


harness.main()
