#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Completion as it is typed: bash and zsh on a real terminal (tmux's), with the names of VMs that
the daemon knows."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import harness
from harness import cases
from lab import TOP

COMPLETION = os.path.join(TOP, "tools/completion")
BASH = f"""\
PS1='> '
. {COMPLETION}/gate25.bash
bind 'set bell-style none'
"""
# as on Debian, where the file lies in a directory that fpath names
ZSH = f"""\
PROMPT='> '
fpath=({COMPLETION} $fpath)
autoload -Uz compinit && compinit -u -d {{dir}}/zcompdump
unsetopt beep
"""
HELPERS = ". /usr/share/bash-completion/bash_completion\n"
BASH_ARGV = ["bash", "--noprofile", "--rcfile", "{rc}", "-i"]
SHELLS = {"bash": (BASH_ARGV, HELPERS + BASH), "bash_alone": (BASH_ARGV, BASH),
          "zsh": (["zsh", "-d", "-i"], ZSH)}


class Typist:
    """A shell in a terminal, with a gate25 that asks the lab's daemon."""

    def __init__(self, lab, shell):
        self.lab = lab
        home = lab.file("home")
        os.makedirs(home, exist_ok=True)
        with open(os.path.join(home, "gate25"), "w") as f:
            f.write(f'#!/bin/sh\nexec {lab.program("gate25")} --socket {lab.socket_path} "$@"\n')
        os.chmod(os.path.join(home, "gate25"), 0o755)
        argv, rc = SHELLS[shell]
        for name in ("rc", ".zshrc"):
            with open(os.path.join(home, name), "w") as f:
                f.write(rc.format(dir=home) if shell == "zsh" else rc)
        argv = [a.format(rc=os.path.join(home, "rc")) for a in argv]
        self.tmux = ["tmux", "-f", "/dev/null", "-S", lab.file("tmux")]
        env = dict(os.environ, HOME=home, ZDOTDIR=home, LC_ALL="C.UTF-8", TERM="xterm",
                   PATH=f"{home}:/usr/sbin:/usr/bin:/sbin:/bin")
        subprocess.run([*self.tmux, "new-session", "-d", "-x", "100", "-y", "30", "-c", home, *argv],
                       check=True, env=env)
        lab.stack.callback(subprocess.run, [*self.tmux, "kill-server"], check=False,
                           capture_output=True)
        lab.poll(lambda: self.text().strip() == ">", 20, f"prompt of {shell}")

    def text(self):
        return subprocess.run([*self.tmux, "capture-pane", "-p"], check=True, text=True,
                              capture_output=True).stdout

    def key(self, *keys):
        subprocess.run([*self.tmux, "send-keys", *keys], check=True)

    def line(self):
        """The line that is being typed, as it stands."""
        lines = [line for line in self.text().split("\n") if line.startswith("> ")]
        return lines[-1][2:] if lines else None

    def complete(self, typed, wanted, tabs):
        self.key("C-u", "C-l")
        self.lab.poll(lambda: self.text().strip() in (">", ""), 10, "an empty line")
        self.key("-l", typed)
        self.lab.poll(lambda: self.line() == typed.rstrip() or self.line() == typed, 10, typed)
        for _ in range(tabs):
            self.key("Tab")
        try:
            self.lab.poll(lambda: self.says(wanted), 10, wanted)
        except TimeoutError:
            raise AssertionError(f"{typed!r}: wanted {wanted!r}:\n{self.text()}") from None

    def says(self, wanted):
        if isinstance(wanted, str):
            return self.line() == wanted.rstrip()
        shown = set(self.text().split())
        return wanted <= shown


LINES = {
    "command": ("gate25 quar", "gate25 quarantine"),
    "second_word": ("gate25 vm imp", "gate25 vm import"),
    "argument": ("gate25 vm import lib", "gate25 vm import libvirt"),
    "option": ("gate25 block web1 --rea", "gate25 block web1 --reason"),
    "value": ("gate25 block web1 --refuse ic", "gate25 block web1 --refuse icmp"),
    "vm": ("gate25 show vm:web1", "gate25 show vm:web1"),
    "vm_part": ("gate25 show vm:db", "gate25 show vm:db-master"),
    "bare": ("gate25 show db-", "gate25 show db-master"),
    "port": ("gate25 block port:vn", "gate25 block port:vnet3"),
    "tenant": ("gate25 show tenant:ac", "gate25 show tenant:acme"),
    "tenant_option": ("gate25 list --tenant ac", "gate25 list --tenant acme"),
    "registered": ("gate25 vm del db", "gate25 vm del db-master"),
    "prefix": ("gate25 show tena", "gate25 show tenant:"),
    "further": ("gate25 block web1 vm:db", "gate25 block web1 vm:db-master"),
}
LISTS = {
    "commands": ("gate25 ", {"status", "quarantine", "doctor", "vm"}),
    "subjects": ("gate25 show ", {"default", "vm:web1", "vm:db-master", "port:vnet3"}),
    "vms": ("gate25 vm set ", {"web1", "db-master"}),
    "options": ("gate25 list --", {"--tenant", "--state", "--sort", "--expiring"}),
}


@cases(**{shell: shell for shell in SHELLS})
def test_completion_on_a_terminal(lab, case):
    lab.register(1, tenant="acme")
    lab.register(2, name="db-master")
    lab.add_guest(3)
    lab.wait_hooked("vnet3")
    typist = Typist(lab, case)
    for typed, wanted in LINES.values():
        typist.complete(typed, wanted, 1)
    for typed, wanted in LISTS.values():
        typist.complete(typed, wanted, 2)


@cases(**{shell: shell for shell in SHELLS})
def test_completion_without_a_daemon(lab, case):
    lab.stop()
    typist = Typist(lab, case)
    typist.complete("gate25 quar", "gate25 quarantine", 1)
    typist.complete("gate25 show tena", "gate25 show tenant:", 1)
    with open(lab.file("home/policy.jsonl"), "w"):
        pass
    typist.complete("gate25 apply pol", "gate25 apply policy.jsonl", 1)


harness.main()
