#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""The documents: every command in them is run, and prints what they say it prints.

    tests/net/test_docs.py --write [WORD]…    writes what was really printed into the documents

The lab stands for the reader's host: br0 with the guests web1, web2, … on vnet1, vnet2, …
A command runs as a member of the gate's group, with sudo as root.
"""

import configparser
import glob
import os
import re
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import doctext
import harness
import netns
from lab import BUILD, Lab, PERSON_UID, STAFF, TOP, hire

WRITE = "--write"
CLONE_NEWUTS = 0x04000000
HOST = "hv1"
SECONDS = 60

# Measured anew by a target of its own, on a quiet machine, for a quarter of an hour.
ELSEWHERE = {"docs/performance.md"}

# The lab's own paths stand for those of an installation.
PATHS = {"/etc/gate25/gate25.conf": "config_path", "/run/gate25/control.sock": "socket_path",
         "/sys/fs/bpf/gate25": "pin"}

# What systemd does to the service, and what this very test is a part of.
SERVICE = re.compile(r"sudo systemctl (start|stop|restart|reload|enable --now) gate25d")
RELOADED = re.compile("the configuration was read again|the old configuration stays")
STANDS_FOR_ITSELF = {"sudo make check"}


def documents():
    found = glob.glob(os.path.join(TOP, "docs", "**", "*.md"), recursive=True)
    names = [os.path.relpath(f, TOP) for f in found] + ["README.md"]
    return sorted(set(names) - ELSEWHERE)


class Reader:
    """Does what a document says."""

    def __init__(self):
        self.lab = None

    def fresh(self, guests=3, config=None, start=True):
        self.close()
        self.lab = Lab(guests=guests, config=config or {}, start=start)
        self.bin = self.lab.file("bin")
        os.mkdir(self.bin)
        self.home = self.lab.file("home")
        os.mkdir(self.home)
        os.chown(self.home, PERSON_UID, -1)
        # doctor and detach read the configuration themselves
        self.script("gate25", f"""case "$1" in
doctor|detach) exec {BUILD}/gate25 "$@" --config {self.lab.config_path} ;;
*) exec {BUILD}/gate25 --socket {self.lab.socket_path} "$@" ;;
esac""")
        self.script("gate25d", f'exec {BUILD}/gate25d --config {self.lab.config_path} "$@"')

    def script(self, name, body):
        path = os.path.join(self.bin, name)
        with open(path, "w") as f:
            f.write(f"#!/bin/sh\n{body}\n")
        os.chmod(path, 0o755)

    def close(self):
        if self.lab:
            self.lab.close()
            self.lab = None

    def configure(self, text):
        """The block as it stands must be valid; its keys are added to the lab's."""
        path = self.lab.file("block.conf")
        with open(path, "w") as f:
            f.write(text)
        done = subprocess.run([f"{BUILD}/gate25d", "--check-config", "--config", path], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == 0, f"{done.stdout}in:\n{text}"
        parser = configparser.ConfigParser(inline_comment_prefixes=(";",), interpolation=None)
        parser.read_string(text)
        own = {"control", "store", "bpf", "metrics"}
        self.lab.configure({s: dict(parser[s]) for s in parser.sections() if s not in own})

    def service(self, verb):
        if verb == "reload":
            answers = len(RELOADED.findall(self.lab.log()))
            self.lab.reload()
            self.lab.poll(lambda: len(RELOADED.findall(self.lab.log())) > answers, 10, "reload")
        elif verb in ("start", "enable --now"):
            self.lab.start()
        else:
            getattr(self.lab, verb)()

    def run(self, step):
        """(exit status, lines that were printed)"""
        service = SERVICE.fullmatch(step.text)
        if service:
            self.service(service[1])
            return 0, []
        if step.text.split("#")[0].strip() in STANDS_FOR_ITSELF:
            return 0, step.output
        command = self.localize(step.text)
        env = {**os.environ, "PATH": f"{self.bin}:/usr/sbin:/usr/bin:/sbin:/bin", "B": BUILD,
               "LC_ALL": "C.UTF-8", "DESTDIR": self.lab.file("root"),
               # swaks asks for the host's name, and there is nobody to answer it
               "RES_OPTIONS": "timeout:1 attempts:1"}
        for name in ("SUDO_USER", "MAKEFLAGS", "MAKELEVEL", netns.ISOLATED):
            env.pop(name, None)
        ids = {}
        if "sudo " not in command and not step.guest:
            ids = {"user": PERSON_UID, "group": "nogroup", "extra_groups": [STAFF]}
        ns = self.lab.guest(step.guest).ns if step.guest else self.lab.host
        with ns.entered():
            done = subprocess.run(["sh", "-c", command.replace("sudo ", "")], text=True,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=SECONDS, env=env,
                                  cwd=TOP if re.search("make|scripts/", command) else self.home, **ids)
        return done.returncode, self.globalize(done.stdout).splitlines()

    def localize(self, text):
        for path, attribute in PATHS.items():
            text = text.replace(path, getattr(self.lab, attribute))
        return text

    def globalize(self, text):
        for path, attribute in PATHS.items():
            text = text.replace(getattr(self.lab, attribute), path)
        return text.replace(self.lab.dir, "").replace(BUILD, "build")

    def follow(self, steps, write=False):
        """Takes all steps; returns what was printed, for those where it is not what is shown."""
        found = []
        for step in steps:
            if step.kind == "lab":
                self.fresh(**step.text)
                continue
            if not self.lab:
                self.fresh()
            if step.kind == "ini":
                self.configure(step.text)
                continue
            code, printed = self.run(step)
            right = doctext.matches(step.output, printed)
            assert write or right, "\n".join([f"{step!r}: exit {code}, printed:", *printed])
            # a command that fails is shown with what it says; a guest may be refused
            told = step.guest or any(re.match("gate25d?: |failed ", line) for line in printed)
            if code and not told:
                raise AssertionError(f"{step!r}: exit {code}: {printed}")
            if not right:
                found.append((step, printed))
        return found


def follow(name, write=False):
    lines, steps = doctext.read(os.path.join(TOP, name))
    reader = Reader()
    try:
        found = reader.follow(steps, write)
    finally:
        reader.close()
    for step, printed in reversed(found):
        lines[step.first:step.first + len(step.output)] = printed
    if found:
        with open(os.path.join(TOP, name), "w") as f:
            f.write("\n".join(lines) + "\n")


@harness.cases(**{name: name for name in documents()})
def test_every_command_does_what_the_document_says(case):
    follow(case)


test_every_command_does_what_the_document_says.timeout = 300


@harness.cases(**{name: name for name in documents()})
def test_links_lead_somewhere(case):
    with open(os.path.join(TOP, case)) as f:
        text = f.read()
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if not target.startswith("http"):
            path = os.path.join(TOP, os.path.dirname(case), target)
            assert os.path.exists(path), f"{case}: {target}"


def main():
    netns.isolate()
    hire()
    # documents show a host of their own
    if netns._libc.unshare(CLONE_NEWUTS) == 0:
        socket.sethostname(HOST)
    if WRITE in sys.argv:
        words = [a for a in sys.argv[1:] if a != WRITE]
        for name in documents():
            if not words or any(w in name for w in words):
                follow(name, write=True)
        return
    harness.main()


main()
