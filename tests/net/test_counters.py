#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Counters: what they count, that they are live, and that the exporter says the same."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import harness
from harness import setup
from lab import SERVER4, SILENT4, VERDICTS

SHORT = 0.6
PORT = "port:vnet1"


def test_counters_1_only_gated_ports_are_counted(lab):
    guest = lab.guest(1)
    with lab.expect(PORT, packets_from_vm=0, bytes_from_vm=0, packets_to_vm=0, bytes_to_vm=0):
        assert guest.connect(SERVER4, 587) == "ok"
        assert guest.connect(SERVER4, 26) == "ECONNREFUSED"


def test_counters_1_packets_and_bytes_of_gated_traffic(lab):
    guest = lab.guest(1)
    frames = [guest.syn(SILENT4, 4000 + i) for i in range(7)]
    with lab.expect(PORT, flows_admitted=7, packets_from_vm=7,
                    bytes_from_vm=sum(map(len, frames)), packets_to_vm=0):
        guest.wire.send(*frames)


def test_counters_1_replies_are_counted_to_the_vm(lab):
    with lab.expect(PORT, flows_admitted=1, packets_to_vm=lambda n: n >= 1,
                    bytes_to_vm=lambda n: n >= 54):
        assert lab.guest(1).connect(SERVER4) == "ok"


@setup(config={"refuse": {"quarantine": "reset"}})
def test_counters_1_refusals_by_quarantine_are_blocked_flows(lab):
    lab.cli("quarantine", PORT)
    with lab.expect(PORT, flows_blocked=1, resets_sent=1):
        assert lab.guest(1).connect(SERVER4) == "ECONNREFUSED"


@setup(config={"gate": {"backstop": "yes"}})
def test_counters_1_a_judged_frame_is_counted_once(lab):
    """It passes from_vm and then uplink_out: the totals have it once."""
    guest = lab.guest(1)
    before = lab.status()["totals"]
    guest.wire.send(*(guest.syn(SILENT4, 4000 + i) for i in range(10)))
    after = lab.status()["totals"]
    assert after["flows_admitted"] - before["flows_admitted"] == 10
    assert after["packets_from_vm"] - before["packets_from_vm"] == 10


def test_counters_2_values_are_read_at_that_moment(lab):
    guest = lab.guest(1)
    for i in range(1, 21):
        guest.wire.send(guest.syn(SILENT4, 4000 + i))
        assert lab.counters(PORT)["flows_admitted"] == i
        assert lab.metric("gate25_flows_total", vm=PORT, verdict="admitted") == i


def test_counters_2_host_sums_include_vms_that_are_gone(lab):
    guest = lab.guest(1)
    vm = lab.register(1)
    assert guest.connect(SERVER4) == "ok"
    before = lab.status()["totals"]["flows_admitted"]
    assert before == 1
    guest.unplug()
    lab.cli("vm", "del", "web1")
    assert lab.run_cli("show", vm)[0] == 3
    assert lab.status()["totals"]["flows_admitted"] == before
    assert lab.metric("gate25_host_flows_total", verdict="admitted") == before
    lab.restart()
    assert lab.status()["totals"]["flows_admitted"] == before


def test_counters_2_flows_total_is_there_from_first_sight(lab):
    samples = lab.metrics()["gate25_flows_total"]
    for verdict in ("admitted", "limited", "blocked", "would_refuse"):
        found = [v for k, v in samples.items()
                 if {("vm", PORT), ("verdict", verdict)} <= set(k)]
        assert found == [0], (verdict, samples)


def test_counters_3_nothing_goes_backwards(lab):
    """Over restart, kill, reload, and a port that goes and comes back."""
    guest = lab.guest(1)
    vm = lab.register(1)
    lab.cli("limit", vm, "--rate", "3/h")
    for _ in range(3):
        assert guest.connect(SERVER4) == "ok"
    assert guest.connect(SERVER4, timeout=SHORT) == "timeout"

    def replug():
        guest.unplug()
        guest.plug()
        lab.wait_hooked("vnet1")

    seen = lab.counters(vm)
    assert (seen["flows_admitted"], seen["flows_limited"]) == (3, 1)
    for step in (lab.restart, lambda: (lab.kill(), lab.start()), lab.reload, replug):
        step()
        now = lab.counters(vm)
        assert all(now[key] >= seen[key] for key in VERDICTS), (seen, now)
        # The bucket went along: there is still nothing left in it.
        with lab.expect(vm, flows_limited=1):
            assert guest.connect(SERVER4, timeout=SHORT) == "timeout"
        seen = lab.counters(vm)


def test_metrics_say_what_show_says(lab):
    lab.serve("192.0.2.41", rcpt="550 no")
    vm = lab.register(1, tenant="acme")
    guest = lab.guest(1)
    guest.swaks("192.0.2.41")
    guest.connect("192.0.2.98")
    lab.cli("block", vm)
    guest.connect(SERVER4)
    shown, metrics = lab.counters(vm), lab.metrics()

    def value(name, **labels):
        want = {("vm", "web1"), ("tenant", "acme"), *labels.items()}
        return sum(v for k, v in metrics.get(name, {}).items() if want <= set(k))

    for verdict in ("admitted", "limited", "blocked", "would_refuse"):
        assert value("gate25_flows_total", verdict=verdict) == shown[f"flows_{verdict}"]
    for outcome in ("established", "refused", "timed_out"):
        assert value("gate25_connects_total", outcome=outcome) == shown[f"connects_{outcome}"]
    for reply in ("2xx", "3xx", "4xx", "5xx"):
        assert value("gate25_replies_total", **{"class": reply}) == shown[f"replies_{reply}"]
    assert shown["replies_5xx"] == 1 and shown["connects_refused"] == 1
    assert value("gate25_new_destinations_total") == shown["new_destinations"] == 2
    assert value("gate25_flows_active") == shown["flows_active"]
    info = [dict(k) for k in metrics["gate25_vm_info"] if ("vm", "web1") in k]
    assert len(info) == 1 and info[0]["state"] == "block" and info[0]["source"] == vm, info


def test_metrics_of_the_host(lab):
    lab.guest(1).connect(SERVER4)
    metrics = lab.metrics()
    totals = lab.status()["totals"]
    assert lab.metric("gate25_host_flows_total", verdict="admitted") == totals["flows_admitted"] == 1
    attached = {dict(k)["port"]: v for k, v in metrics["gate25_port_attached"].items()}
    assert attached["vnet1"] == attached["vnet2"] == 1, attached
    for name in ("gate25_attach_seconds_bucket", "gate25_attach_seconds_count", "gate25_build_info",
                 "gate25_map_entries", "gate25_map_capacity", "gate25_events_lost_total",
                 "gate25_policy_revision", "gate25_reattach_total",
                 "gate25_unattached_seconds_total"):
        assert name in metrics, name


def test_metrics_dropped_packets_bear_their_reason(lab):
    lab.cli("block", PORT)
    lab.guest(1).connect(SERVER4)
    assert lab.metric("gate25_dropped_packets_total", reason="blocked") == 1


@setup(config={"gate": {"ports": "25, 587"}})
def test_metrics_carry_the_port_when_several_are_gated(lab):
    lab.cli("block", PORT, "--on", 25)
    guest = lab.guest(1)
    guest.connect(SERVER4, 25)
    guest.connect(SERVER4, 587)
    assert lab.metric("gate25_flows_total", vm=PORT, verdict="blocked", dport="25") == 1
    assert lab.metric("gate25_flows_total", vm=PORT, verdict="admitted", dport="587") == 1
    assert lab.metric("gate25_flows_total", vm=PORT, verdict="admitted", dport="25") == 0


def test_metrics_formats(lab):
    status, headers, text = lab.scrape()
    assert status == 200 and "text/plain" in headers["Content-Type"]
    assert "version=0.0.4" in headers["Content-Type"] and "# EOF" not in text
    status, headers, text = lab.scrape(headers={
        "Accept": "application/openmetrics-text;version=1.0.0"})
    assert status == 200 and "application/openmetrics-text" in headers["Content-Type"]
    assert text.endswith("# EOF\n")
    assert lab.scrape("/nothing")[0] == 404
    assert lab.scrape("/v1/status")[0] == 404, "control over TCP"


@setup(config={"metrics": {"listen": "127.0.0.1:9625", "per_vm": "off"}})
def test_metrics_without_series_per_vm(lab):
    lab.guest(1).connect(SERVER4)
    metrics = lab.metrics()
    assert "gate25_flows_total" not in metrics
    assert lab.metric("gate25_host_flows_total", verdict="admitted") == 1


def test_metrics_textfile(lab):
    path = lab.file("gate25.prom")
    lab.stop()
    lab.configure({"metrics": {"textfile": path}})
    lab.start()
    lab.poll(lambda: os.path.exists(path), 30, "textfile")
    with open(path) as f:
        assert "gate25_build_info" in f.read()


harness.main()
