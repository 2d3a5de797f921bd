# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""A Prometheus of its own in the lab's host, with the shipped rules and everything at one second."""

import http.client
import json
import os
import shutil
import subprocess
import urllib.parse

from lab import TOP
from mail import end, wait_for

PORT = 9090
RULES = os.path.join(TOP, "tools/prometheus/gate25.rules.yml")

CONFIG = """\
global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}
rule_files: [{rules}]
scrape_configs:
  - job_name: gate25
    static_configs: [{{ targets: ["127.0.0.1:9625"] }}]
"""


class Prometheus:
    def __init__(self, lab):
        self.lab = lab
        self.log = lab.file("prometheus.log")
        # one group more than shipped would be a test of something else
        rules = lab.file("gate25.rules.yml")
        with open(RULES) as f, open(rules, "w") as out:
            out.write(f.read())
        config = lab.file("prometheus.yml")
        with open(config, "w") as f:
            f.write(CONFIG.format(rules=rules))
        with open(self.log, "w") as log:
            self.process = lab.host.popen(
                [shutil.which("prometheus") or "/usr/bin/prometheus", f"--config.file={config}",
                 f"--storage.tsdb.path={lab.file('tsdb')}",
                 f"--web.listen-address=127.0.0.1:{PORT}"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        lab.stack.callback(self.close)
        wait_for(self._ready, 30, "answer of Prometheus")

    def _ready(self):
        if self.process.poll() is not None:
            with open(self.log) as f:
                raise RuntimeError(f"Prometheus ended: {f.read()[-2000:]}")
        try:
            return self.get("/-/ready")[0] == 200
        except OSError:
            return False

    def close(self):
        end(self.process)

    def get(self, path, **query):
        """(status, text)"""
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)
        with self.lab.host.entered():
            connection.connect()
        try:
            connection.request("GET", path + ("?" + urllib.parse.urlencode(query) if query else ""))
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def query(self, expression):
        """Result of an instant query: a list of samples; AssertionError if it is none."""
        status, text = self.get("/api/v1/query", query=expression)
        answer = json.loads(text)
        assert status == 200 and answer["status"] == "success", f"{expression}: {text}"
        assert not answer.get("warnings"), f"{expression}: {answer['warnings']}"
        return answer["data"]["result"]

    def rules(self):
        """All rules: their states and what their evaluation said."""
        answer = json.loads(self.get("/api/v1/rules")[1])
        return [rule for group in answer["data"]["groups"] for rule in group["rules"]]
