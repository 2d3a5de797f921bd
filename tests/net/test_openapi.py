#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""docs/openapi.yaml holds for the daemon, and the daemon for it: no route more, none less."""

import json
import os
import re
import sys
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import harness
from harness import cases
from lab import SERVER4, TOP, UnixHttp
from schema import METHODS, OpenApi

API = OpenApi()


def routes():
    """{(METHOD, path): {names of the query}} as the daemon's table has them."""
    with open(os.path.join(TOP, "user/control_routes.c")) as f:
        text = f.read()
    table = text[text.index("struct route routes[]"):]
    found = {}
    for row in re.findall(r'\{ "[A-Z]+", "/.*?\.handle', table, re.S):
        method, path = re.match(r'\{ "([A-Z]+)", "([^"]+)"', row).groups()
        query = re.search(r"\.query = \{(.*?)\}", row, re.S)
        found[method, path] = set(re.findall(r'"(\w+)"', query[1])) if query else set()
    return found


def as_route(template):
    """/v1/vms/{name} is /v1/vms/ in the daemon's table."""
    return template.split("{")[0]


class Checked:
    """Requests of which both sides must be as documented; remembers which were made."""

    def __init__(self, lab):
        self.lab, self.made = lab, set()

    def call(self, method, path, body=None, *, status=200, valid=True):
        template = API.find(method, urllib.parse.unquote(path.split("?")[0])
                            if "%" not in path else path.split("?")[0])
        schema = API.request_schema(method, template)
        lines = isinstance(body, str)
        if valid and schema:
            for record in map(json.loads, body.splitlines()) if lines else [body]:
                API.check(schema, record, f"body of {method} {path}")
        connection = UnixHttp(self.lab.socket_path, 10)
        try:
            connection.request(method, path, body if lines or body is None else json.dumps(body))
            answer = connection.getresponse()
            got, text = answer.status, answer.read().decode()
            kind = answer.getheader("Content-Type", "").split(";")[0]
        finally:
            connection.close()
        assert got == status, f"{method} {path}: {got} {text[:300]}"
        wanted, schema = API.answer(method, template, got)
        assert kind == wanted, f"{method} {path}: {kind}, documented as {wanted}"
        values = [json.loads(line) for line in text.splitlines()] \
            if wanted.endswith("ndjson") else [json.loads(text)]
        for value in values:
            API.check(schema, value, f"answer of {method} {path}")
        if got == 200:
            self.made.add((method, template))
        return values if wanted.endswith("ndjson") else values[0]


def test_every_route_is_documented_and_no_other():
    documented = {(method, as_route(path)) for method, path in API.operations()}
    assert documented == set(routes()), documented ^ set(routes())


def test_every_query_is_documented_and_no_other():
    table = routes()
    for method, template in API.operations():
        names = API.query_names(method, template)
        assert names == table[method, as_route(template)], (method, template, names)


def test_the_examples_are_valid():
    found = 0
    for method, template in API.operations():
        body = API.operation(method, template).get("requestBody", {})
        for content in body.get("content", {}).values():
            for name, example in content.get("examples", {}).items():
                API.check(content["schema"], example["value"], f"example {name}")
                found += 1
    assert found >= 3


def test_every_operation_answers_as_documented(lab):
    made = Checked(lab)
    call, guest = made.call, lab.guest(1)
    call("GET", "/v1/status")
    call("PUT", "/v1/vms/web1?mode=create",
         {"ports": ["vnet1"], "macs": [guest.mac], "ips": [guest.ip4, guest.ip6], "tenant": "acme",
          "pairs": [{"mac": "52:54:00:aa:00:01", "ip": "10.25.0.99"}], "binding": "learn"})
    call("PUT", "/v1/vms/web1?mode=update", {"binding": None, "reason": "as the host does"})
    guest.connect(SERVER4)
    for subject, change in (
            ("vm:web1", {"state": "limit", "rates": [{"count": 5, "per": "1s"},
                                                     {"count": 200, "per": "1h", "burst": 50}],
                         "burst": 10, "concurrent": 50, "destinations": {"count": 50, "per": "1h"},
                         "refuse": "icmp", "for": 3600, "reason": "ticket 4711"}),
            ("vm:web1", {"quarantine": True, "expires": "2099-01-01T00:00:00Z"}),
            ("vm:web1", {"quarantine": False}),
            ("tenant:acme", {"budget": [{"count": 500, "per": "1h"}]}),
            ("tenant:acme", {"exempt": {"add": ["192.0.2.0/24"], "del": []}}),
            ("default", {"observe": False}),
            ("mac:52:54:00:00:00:09", {"state": "block", "drain": True}),
            ("ip:2001:db8:1::/64", {"state": "block"}),
            ("port:vnet2", {"state": "block", "on": 25})):
        quoted = urllib.parse.quote(subject, safe="")
        call("PUT", f"/v1/policies/{quoted}", change)
        call("GET", f"/v1/policies/{quoted}")
    lab.guest(2).connect(SERVER4)
    guest.swaks(SERVER4)
    for query in ("", "?tenant=acme", "?state=limit", "?expiring=86400"):
        assert call("GET", "/v1/vms" + query)["vms"]
    call("GET", "/v1/vms/web1")
    assert len(call("GET", "/v1/policies")["policies"]) >= 4
    lab.poll(lambda: any(e["kind"] == "refused" for e in call("GET", "/v1/events")), 5, "an event")
    call("GET", "/v1/events?subject=vm:web1")
    assert call("GET", "/v1/audit?limit=3&subject=vm:web1")["audit"]
    records = call("GET", "/v1/policy-set")
    text = "".join(json.dumps(r) + "\n" for r in records)
    assert call("PUT", "/v1/policy-set?dry_run=1", text)["changes"] == []
    call("PUT", "/v1/policy-set", text)
    call("POST", "/v1/why", {"subject": "vm:web1", "destination": SERVER4, "port": 25})
    shadow(call, text)
    call("DELETE", "/v1/policies/vm%3Aweb1?on=25&reason=over")
    call("DELETE", "/v1/policies/vm%3Aweb1?reason=over")
    call("DELETE", "/v1/vms/web1?reason=gone")
    assert call("POST", "/v1/undo", {"reason": "too early"})["undone"]["action"] == "vm del"
    assert call("GET", "/v1/reports/vm%3Aweb1?since=3600")["totals"]["flows_admitted"]
    call("GET", "/v1/status")
    missing = API.operations() - made.made
    assert not missing, f"documented and never tried: {missing}"


def shadow(call, text):
    """A candidate beside the live policy: begun, looked at, ended, made live."""
    call("PUT", "/v1/policy-set?shadow=1", text)
    call("GET", "/v1/shadow")
    call("DELETE", "/v1/shadow")
    call("PUT", "/v1/policy-set?shadow=1", text)
    call("POST", "/v1/shadow")


@cases(
    unknown_vm=("GET", "/v1/vms/nobody", None, 404),
    unknown_subject=("PUT", "/v1/policies/vm:nobody", {"state": "block"}, 404),
    bad_subject=("GET", "/v1/policies/mac:zz", None, 400),
    unknown_key=("PUT", "/v1/policies/default", {"colour": "red"}, 400),
    wrong_type=("PUT", "/v1/policies/default", {"state": 5}, 400),
    bad_rate=("PUT", "/v1/policies/default", {"state": "limit",
                                              "rates": [{"count": 0, "per": "1s"}]}, 400),
    bad_query=("GET", "/v1/vms?expiring=soon", None, 400),
    unknown_query=("GET", "/v1/vms?colour=red", None, 400),
    bad_record=("PUT", "/v1/policy-set", '{"kind":"cow"}\n', 400),
    no_json=("PUT", "/v1/vms/web1", "garbage", 400),
)
def test_errors_are_as_documented(lab, case):
    method, path, body, status = case
    error = Checked(lab).call(method, path, body, status=status, valid=False)["error"]
    assert error["message"] and "\n" not in error["message"], error


def test_bodies_that_the_schema_refuses_the_daemon_refuses_too(lab):
    """The schema is not stricter than the daemon: what one calls wrong the other does."""
    schema = API.request_schema("PUT", "/v1/policies/{subject}")
    for body in ({}, {"state": "open"}, {"rates": [{"count": 1}]}, {"for": 0}, {"for": -1},
                 {"state": "limit", "rates": [{"count": 1, "per": "1w"}]}, {"exempt": ["x"]},
                 {"state": "limit", "rates": [{"count": 1, "per": "1s"}] * 5},
                 {"state": "block", "reason": "x" * 256}, {"observe": "yes"}, {"on": 0},
                 {"concurrent": 0}, {"state": "block", "refuse": "laugh"}):
        try:
            API.check(schema, body, "body")
        except AssertionError:
            pass
        else:
            raise AssertionError(f"the schema takes {body}")
        status, answer = lab.http("PUT", "/v1/policies/default", body)
        assert status == 400, (body, status, answer)


def test_other_methods_are_refused(lab):
    known = API.operations()
    for path in {path for _, path in known}:
        for method in METHODS:
            if (method.upper(), path) not in known and method not in ("head", "options"):
                status = lab.http(method.upper(), re.sub(r"\{\w+\}", "vm:x", path))[0]
                assert status == 405, (method, path, status)


harness.main()
