# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""docs/openapi.yaml as a judge of requests and answers."""

import os
import re

import jsonschema
import yaml

from lab import TOP

METHODS = ("get", "put", "post", "delete", "patch", "head", "options")


class OpenApi:
    def __init__(self, path=os.path.join(TOP, "docs/openapi.yaml")):
        with open(path) as f:
            self.document = yaml.safe_load(f)
        self.components = {"components": self.document["components"]}

    def operations(self):
        """{(METHOD, path template)} of all that is documented."""
        return {(method.upper(), path) for path, item in self.document["paths"].items()
                for method in METHODS if method in item}

    def find(self, method, path):
        """The template that a request's path, without its query, goes by."""
        for template, item in self.document["paths"].items():
            pattern = re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template))
            if re.fullmatch(pattern, path) and method.lower() in item:
                return template
        raise AssertionError(f"{method} {path} is not documented")

    def resolve(self, node):
        while "$ref" in node:
            target = self.document
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            node = target
        return node

    def check(self, schema, value, what):
        """AssertionError with the place where value is not what schema says."""
        validator = jsonschema.Draft202012Validator({**self.components, **schema})
        wrong = jsonschema.exceptions.best_match(validator.iter_errors(value))
        assert not wrong, f"{what}: at {list(wrong.absolute_path)}: {wrong.message[:500]}"

    def operation(self, method, template):
        return self.document["paths"][template][method.lower()]

    def request_schema(self, method, template):
        body = self.operation(method, template).get("requestBody")
        return next(iter(body["content"].values()))["schema"] if body else None

    def query_names(self, method, template):
        item = self.document["paths"][template]
        listed = item.get("parameters", []) + self.operation(method, template).get("parameters", [])
        return {p["name"] for p in map(self.resolve, listed) if p["in"] == "query"}

    def answer(self, method, template, status):
        """(media type, schema) of an answer with this status."""
        responses = self.operation(method, template)["responses"]
        found = responses.get(str(status))
        if not found:
            assert status >= 400 and "default" in responses, f"{method} {template}: {status}"
            found = responses["default"]
        return next((kind, content["schema"])
                    for kind, content in self.resolve(found)["content"].items())
