#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""What each state does to a real connection, on both IP versions, and what it counts."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import harness
from harness import cases, setup
from lab import Lab, SERVER, SERVER4, SILENT4

BOTH = {"ipv4": 4, "ipv6": 6}
AT_ONCE = 0.25  # s; a SYN that was dropped is sent again after 1 s only
SHORT = 0.6  # s; ends before the first retransmission


@cases(**BOTH)
def test_allow_connects(lab, case):
    with lab.expect("port:vnet1", flows_admitted=1, connects_established=1, resets_sent=0):
        assert lab.guest(1).connect(SERVER[case]) == "ok"


@cases(**BOTH)
def test_block_refuses_at_once(lab, case):
    lab.cli("block", "port:vnet1")
    far = lab.sniff()
    with lab.expect("port:vnet1", flows_blocked=1, resets_sent=1, packets_dropped=1):
        result, seconds = lab.guest(1).timed_connect(SERVER[case])
    assert result == "ECONNREFUSED" and seconds < AT_ONCE, (result, seconds)
    assert not far.syns()
    # A neighbour is not touched.
    with lab.expect("port:vnet2", flows_admitted=1):
        assert lab.guest(2).connect(SERVER[case]) == "ok"


@cases(**{f"{name}-{word}": (family, on) for name, family in BOTH.items()
          for word, on in (("offloaded", True), ("full", False))})
def test_checksums_of_own_resets_are_right(lab, case):
    family, offload = case
    guest = lab.guest(1)
    guest.offload(offload)
    # Some drivers' peers skip verification: the port's end must not have checked for us.
    lab.host.run(["ethtool", "-K", "vnet1", "tx", "on" if offload else "off",
                  "rx", "on" if offload else "off"])
    lab.cli("block", "port:vnet1")
    with lab.expect("port:vnet1", flows_blocked=3, resets_sent=3):
        for _ in range(3):
            result, seconds = guest.timed_connect(SERVER[family])
            assert result == "ECONNREFUSED" and seconds < AT_ONCE, (result, seconds)


@cases(**{f"{name}-tx-{tx}-rx-{rx}": (family, {"tx": tx, "rx": rx})
          for name, family in BOTH.items() for tx in (True, False) for rx in (True, False)})
def test_checksums_of_own_resets_are_right_on_a_tap(case):
    """A port without receive offload gets them finished, and finished once."""
    family, tap = case
    with Lab(guests=1, tap=tap) as lab:
        lab.cli("block", "port:vnet1")
        with lab.expect("port:vnet1", flows_blocked=3, resets_sent=3):
            for _ in range(3):
                result, seconds = lab.guest(1).timed_connect(SERVER[family])
                assert result == "ECONNREFUSED" and seconds < AT_ONCE, (result, seconds)


# Over taps: Linux puts off an ICMP answer that arrives within the connect() it is for, as
# over a veth it does, to the next retransmission.
@setup(guests=1, tap={"tx": True, "rx": True})
@cases(**BOTH)
def test_block_by_icmp_gives_the_right_errno(lab, case):
    lab.cli("block", "port:vnet1", "--refuse", "icmp")
    with lab.expect("port:vnet1", flows_blocked=1, resets_sent=0):
        result, seconds = lab.guest(1).timed_connect(SERVER[case])
        # Communication administratively prohibited: Linux says so in its own words.
        wanted = {4: "EHOSTUNREACH", 6: "EACCES"}[case]
        assert result == wanted and seconds < AT_ONCE, (result, seconds)


@cases(**BOTH)
def test_block_by_drop_is_silent(lab, case):
    lab.cli("block", "port:vnet1", "--refuse", "drop")
    with lab.expect("port:vnet1", flows_blocked=1, resets_sent=0, packets_dropped=1):
        assert lab.guest(1).connect(SERVER[case], timeout=SHORT) == "timeout"


@cases(**BOTH)
def test_limit_drops_the_syn_beyond_its_rate(lab, case):
    lab.cli("limit", "port:vnet1", "--rate", "2/h")
    far, guest = lab.sniff(), lab.guest(1)
    with lab.expect("port:vnet1", flows_admitted=2, flows_limited=1, resets_sent=0,
                    packets_dropped=1):
        assert [guest.connect(SERVER[case]) for _ in range(2)] == ["ok", "ok"]
        assert guest.connect(SERVER[case], timeout=SHORT) == "timeout"
    assert len(far.syns()) == 2


def test_limit_lets_tcp_retry_get_through(lab):
    lab.cli("limit", "port:vnet1", "--rate", "2/s", "--burst", 1)
    with lab.expect("port:vnet1", flows_admitted=2, flows_limited=lambda n: n >= 1):
        assert lab.guest(1).connect(SERVER4) == "ok"
        assert lab.guest(1).connect(SERVER4, timeout=10) == "ok"


def test_limit_several_rates_must_all_hold(lab):
    lab.cli("limit", "port:vnet1", "--rate", "100/s", "--rate", "3/h", "--rate", "5/d")
    guest = lab.guest(1)
    with lab.expect("port:vnet1", flows_admitted=3, flows_limited=1):
        assert [guest.connect(SERVER4) for _ in range(3)] == ["ok"] * 3
        assert guest.connect(SERVER4, timeout=SHORT) == "timeout"


def test_limit_burst(lab):
    lab.cli("limit", "port:vnet1", "--rate", "1/h", "--burst", 4)
    guest = lab.guest(1)
    with lab.expect("port:vnet1", flows_admitted=4, flows_limited=1):
        assert [guest.connect(SERVER4) for _ in range(4)] == ["ok"] * 4
        assert guest.connect(SERVER4, timeout=SHORT) == "timeout"


def test_limit_concurrent(lab):
    lab.cli("limit", "port:vnet1", "--concurrent", 2)
    guest = lab.guest(1)
    with lab.expect("port:vnet1", flows_admitted=3, flows_limited=1):
        held = [guest.open(SERVER4)[0] for _ in range(2)]
        assert all(held)
        assert lab.counters("port:vnet1")["flows_active"] == 2
        assert guest.connect(SERVER4, timeout=SHORT) == "timeout"
        held.pop().close()
        lab.poll(lambda: lab.counters("port:vnet1")["flows_active"] == 1, 5, "end of a flow")
        assert guest.connect(SERVER4) == "ok"
    held.pop().close()


def test_limit_new_destinations(lab):
    lab.serve(["192.0.2.31", "192.0.2.32", "192.0.2.33"])
    lab.cli("limit", "port:vnet1", "--destinations", "2/h")
    guest = lab.guest(1)
    with lab.expect("port:vnet1", flows_admitted=4, flows_limited=1, new_destinations=2):
        for address in ("192.0.2.31", "192.0.2.32", "192.0.2.31", "192.0.2.32"):
            assert guest.connect(address) == "ok"
        assert guest.connect("192.0.2.33", timeout=SHORT) == "timeout"


@cases(**BOTH)
def test_quarantine_drops_until_released(lab, case):
    guest = lab.guest(1)
    lab.cli("quarantine", "port:vnet1", "--reason", "hijacked")
    assert lab.state("port:vnet1") == "quarantine"
    with lab.expect("port:vnet1", flows_blocked=1, resets_sent=0):
        assert guest.connect(SERVER[case], timeout=SHORT) == "timeout"
    lab.cli("release", "port:vnet1")
    with lab.expect("port:vnet1", flows_admitted=1):
        assert guest.connect(SERVER[case]) == "ok"


def test_observe_counts_and_passes(lab):
    lab.cli("block", "port:vnet1")
    lab.cli("observe", "port:vnet1", "on")
    with lab.expect("port:vnet1", flows_would_refuse=1, resets_sent=0, packets_dropped=0):
        assert lab.guest(1).connect(SERVER4) == "ok"
    lab.cli("observe", "port:vnet1", "off")
    with lab.expect("port:vnet1", flows_blocked=1):
        assert lab.guest(1).connect(SERVER4) == "ECONNREFUSED"


@setup(config={"gate": {"enforce": "no"}, "default": {"state": "block"}})
def test_enforce_no_refuses_nothing(lab):
    with lab.expect("port:vnet1", flows_would_refuse=1):
        assert lab.guest(1).connect(SERVER4) == "ok"
    assert lab.status()["enforce"] is False


def test_block_cuts_running_flows(lab):
    guest = lab.guest(1)
    sock, result = guest.open(SERVER4)
    assert result == "ok" and sock.recv(100).startswith(b"220")
    lab.cli("block", "port:vnet1")
    with lab.expect("port:vnet1", flows_blocked=lambda n: n >= 0, resets_sent=lambda n: n >= 1):
        sock.send(b"HELO guest.example\r\n")
        try:
            assert sock.recv(100) == b"", "the flow went on"
        except ConnectionResetError:
            pass
    sock.close()


def test_block_drain_lets_running_flows_finish(lab):
    guest = lab.guest(1)
    sock, _ = guest.open(SERVER4)
    assert sock.recv(100).startswith(b"220")
    lab.cli("block", "port:vnet1", "--drain")
    with lab.expect("port:vnet1", flows_blocked=1):
        sock.send(b"HELO guest.example\r\n")
        assert sock.recv(100).startswith(b"250")
        assert guest.connect(SERVER4) == "ECONNREFUSED"
    sock.close()


@setup(config={"gate": {"ports": "25, 587"}})
def test_on_restricts_to_one_port(lab):
    guest = lab.guest(1)
    lab.cli("block", "port:vnet1", "--on", 25)
    with lab.expect("port:vnet1", flows_blocked=1, flows_admitted=1):
        assert guest.connect(SERVER4, 25) == "ECONNREFUSED"
        assert guest.connect(SERVER4, 587) == "ok"
    lab.cli("limit", "port:vnet1", "--on", 587, "--rate", "1/h")
    with lab.expect("port:vnet1", flows_blocked=1, flows_admitted=1, flows_limited=1):
        assert guest.connect(SERVER4, 25) == "ECONNREFUSED"
        assert guest.connect(SERVER4, 587) == "ok"
        assert guest.connect(SERVER4, 587, timeout=SHORT) == "timeout"


@cases(**BOTH)
def test_other_ports_are_not_ours(lab, case):
    lab.cli("block", "port:vnet1")
    with lab.expect("port:vnet1", packets_from_vm=0, bytes_from_vm=0, packets_dropped=0):
        assert lab.guest(1).connect(SERVER[case], 587) == "ok"


def test_refused_flow_is_reported_with_its_reason(lab):
    lab.cli("limit", "port:vnet1", "--rate", "1/h")
    before = lab.status()["reasons"]
    guest = lab.guest(1)
    assert guest.connect(SILENT4, timeout=0.2) == "timeout"
    assert guest.connect(SILENT4, timeout=0.2) == "timeout"
    after = lab.status()["reasons"]
    assert after.get("limit_rate", 0) - before.get("limit_rate", 0) == 1, after


harness.main()
