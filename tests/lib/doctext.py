# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""What a document tells its reader to do, in the order in which it does.

A document is Markdown. Of its fenced blocks these are acted on:

    console   lines `$ command` on the host, `web2$ command` in guest 2, and what they print
    ini       configuration, which is added to what the gate reads
    lab       inside an HTML comment: {"guests": 3, "config": {...}}, a lab of its own from here on

In what is printed `…` stands for anything, within a line or for lines.
"""

import json
import re

FENCE = re.compile(r"^```(\w*)$")
LAB = re.compile(r"^<!-- lab (.*)-->$")
PROMPT = re.compile(r"^(?:web(\d))?\$ (.*)$")

# Blocks that are there to be read only.
SHOWN = {"text", "json", "yaml", "promql", "c", ""}

# What is another each time.
VOLATILE = (
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?( UTC|Z)?"), "DATE"),
    (re.compile(r"\b\d+(\.\d+)? ?(ms|milliseconds)\b"), "N ms"),
    (re.compile(r"\b(\d+h )?\d+m \d+s\b"), "TIME"),
    (re.compile(r"\b\d+\.\d+\b(?!\.)"), "N"),
    (re.compile(r"IO::Socket::\w+"), "IO::Socket"),
    (re.compile(r"\d+ B\b|\b(N|\d+) kB\b"), "SIZE"),
    # how many acknowledgements a server thinks right
    (re.compile(r"\b\d+ packets (from|to)\b"), r"N packets \1"),
    (re.compile(r"[ \t]+"), " "),
)


class Step:
    """One thing to do: kind is lab, ini or run; `guest` 0 is the host."""

    def __init__(self, kind, line, text, guest=0):
        self.kind, self.line, self.text, self.guest = kind, line, text, guest
        self.first, self.output = line + 1, []  # where the output stands, and it

    def __repr__(self):
        return f"line {self.line + 1}: {self.text}"


def read(path):
    """(lines of the file, steps); SyntaxError for a block that nobody would run."""
    with open(path) as f:
        lines = f.read().splitlines()
    steps, at = [], 0
    while at < len(lines):
        lab, fence = LAB.match(lines[at]), FENCE.match(lines[at])
        if lab:
            steps.append(Step("lab", at, json.loads(lab[1])))
        elif fence:
            end = lines.index("```", at + 1)
            steps += _block(path, fence[1], at, lines[at + 1:end])
            at = end
        at += 1
    return lines, steps


def _block(path, kind, at, body):
    if kind == "ini":
        return [Step("ini", at, "\n".join(body) + "\n")]
    if kind == "console":
        return _console(at + 1, body)
    if kind in SHOWN:
        return []
    raise SyntaxError(f"{path}:{at + 1}: a block of kind {kind} is run by nobody")


def _console(at, body):
    steps, more = [], False
    for n, line in enumerate(body, at):
        prompt = PROMPT.match(line)
        if more:
            steps[-1].text += line.strip().removesuffix("\\")
            steps[-1].first = n + 1
        elif prompt:
            steps.append(Step("run", n, prompt[2].removesuffix("\\"), int(prompt[1] or 0)))
        else:
            steps[-1].output.append(line)
        more = line.endswith("\\") and (more or bool(prompt))
    return steps


def _plain(line):
    for pattern, word in VOLATILE:
        line = pattern.sub(word, line)
    return line.strip()


def matches(wanted, printed):
    """Is what was printed what the document shows?"""
    text = "\n".join(map(_plain, printed)) + "\n"
    pattern = ""
    for line in map(_plain, wanted):
        if line == "…":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += re.escape(line).replace("…", "[^\n]*") + r"\n"
    return re.fullmatch(pattern, text if printed else "") is not None
