#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Monitoring: metrics, the shipped rules and dashboards, held to a real Prometheus."""

import glob
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import harness
from harness import cases, setup
from lab import SERVER4, TOP
from prometheus import RULES, Prometheus

DASHBOARDS = sorted(glob.glob(os.path.join(TOP, "tools/grafana/*.json")))
POLICED = {"default": {"state": "limit", "rate": "5/s, 200/h", "burst": 20}}

# What Grafana puts in.
VARIABLES = {"$__rate_interval": "10s", "$__range": "1m", "$instance": "127.0.0.1:9625",
             "$vm": ".*"}

# A sound host has nothing to show there.
EMPTY_WHEN_WELL = {"Problems", "Time without the gate"}

# Without a time to wait: what the lab shows within seconds.
AT_ONCE = {"Gate25GrantExpires", "Gate25BannersRefused"}


def promtool(*args, **kwargs):
    return subprocess.run(["promtool", *args], text=True, capture_output=True, **kwargs)


def test_rules_pass_their_own_tests():
    tests = os.path.join(os.path.dirname(RULES), "gate25.test.yml")
    for command in (["check", "rules", RULES], ["test", "rules", tests]):
        done = promtool(*command)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_test():
    with open(RULES) as f:
        alerts = {line.split(":")[1].strip() for line in f if "- alert:" in line}
    with open(os.path.join(os.path.dirname(RULES), "gate25.test.yml")) as f:
        text = f.read()
    assert alerts and not [a for a in alerts if f"alertname: {a}" not in text]


@cases(nonzero="nonzero", all="all", off="off")
def test_metrics_pass_promtool(lab, case):
    lab.stop()
    lab.configure({"metrics": {"listen": "127.0.0.1:9625", "per_vm": case}})
    lab.start()
    busy(lab)
    done = promtool("check", "metrics", input=lab.scrape()[2])
    assert done.returncode == 0 and not done.stderr, done.stderr


def test_problems_are_exported_by_code(lab):
    assert lab.metric("gate25_problems") == 0
    lab.configure({"gate": {"bridges": "br0 br7 br8"}})
    lab.reload()
    lab.poll(lambda: lab.metric("gate25_problems", code="bridge_missing") == 2, 5, "problem")
    assert lab.status()["problems"][0]["code"] == "bridge_missing"
    lab.configure({"gate": {"bridges": "br0"}})
    lab.reload()
    lab.poll(lambda: lab.metric("gate25_problems") == 0, 5, "end of the problem")


def busy(lab):
    """Something of everything: outcomes, answers, refusals, a grant that ends soon."""
    lab.register(1, tenant="acme")
    lab.cli("limit", "vm:web1", "--rate", "20/s", "--for", "1d")
    lab.cli("block", "port:vnet2")
    lab.serve("192.0.2.40", banner="554 go away")
    lab.serve("192.0.2.41", rcpt="550 no such user")
    more(lab, 0)


def more(lab, turn):
    # a destination it has not been to
    lab.guest(1).connect(f"192.0.2.{50 + turn}")
    for server in ("192.0.2.40", "192.0.2.41"):
        lab.guest(1).swaks(server)
    lab.guest(1).send_mail(SERVER4)
    lab.guest(2).connect(SERVER4)


def queries(path):
    """(title, query) of each panel, as Grafana would send it."""
    with open(path) as f:
        board = json.load(f)
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            text = target["expr"]
            for name, value in VARIABLES.items():
                text = text.replace(name, value)
            assert "$" not in text, text
            yield panel["title"], text


def test_dashboards_are_sound():
    assert len(DASHBOARDS) == 2
    for path in DASHBOARDS:
        with open(path) as f:
            board = json.load(f)
        ids = [panel["id"] for panel in board["panels"]]
        assert len(ids) == len(set(ids)) and board["uid"] and board["title"]
        known = {v["name"] for v in board["templating"]["list"]}
        for panel in board["panels"]:
            assert panel["type"] == "row" or panel["datasource"]["uid"] == "${datasource}"
        assert "datasource" in known


@setup(config=POLICED)
def test_a_real_prometheus_takes_rules_and_dashboards(lab):
    busy(lab)
    server = Prometheus(lab)
    lab.poll(lambda: server.query("up == 1"), 20, "first scrape")
    for turn in range(1, 6):
        more(lab, turn)

    # every rule was evaluated, without an error
    def evaluated():
        rules = server.rules()
        bad = [r for r in rules if r["health"] not in ("ok", "unknown") or r.get("lastError")]
        assert not bad, bad
        return rules and all(r["health"] == "ok" for r in rules)
    lab.poll(evaluated, 20, "evaluation of the rules")

    # those that need no time fire, those of a host that is well do not
    def firing():
        return {r["name"] for r in server.rules() if r.get("state") == "firing"}
    lab.poll(lambda: firing() >= AT_ONCE, 30, "alerts")
    assert firing() == AT_ONCE, firing()

    # every query of the dashboards is right, and shows something
    missing = []

    def shown(path):
        del missing[:]
        for title, text in queries(path):
            if not server.query(text) and title not in EMPTY_WHEN_WELL:
                missing.append((title, text))
        return not missing
    for path in DASHBOARDS:
        try:
            lab.poll(lambda path=path: shown(path), 20, "data")
        except TimeoutError:
            raise AssertionError(f"{os.path.basename(path)}: no data: {missing}") from None

    # a daemon that is gone is seen
    lab.stop()
    lab.poll(lambda: any(r["name"] == "Gate25DaemonDown" and r["state"] == "pending"
                         for r in server.rules()), 20, "alert of the daemon's end")


harness.main()
