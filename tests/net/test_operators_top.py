#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""gate25 top on a real terminal (tmux's), and other screens: narrow, none, long lists."""

import json
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import harness
from harness import cases, setup
from lab import NOBODY, READERS, SERVER4


class Screen:
    """A terminal with gate25 in it."""

    def __init__(self, lab, *words, columns=80, rows=24, term="screen", prefix=()):
        self.tmux = ["tmux", "-f", "/dev/null", "-S", lab.file("tmux")]
        command = [*prefix, lab.program("gate25"), "--socket", lab.socket_path, *words]
        env = dict(os.environ, LC_ALL="C.UTF-8", TERM="xterm")
        env.pop("SUDO_USER", None)
        line = f"trap : INT; TERM={term} " + " ".join(command) + "; echo ended with $?; exec cat"
        subprocess.run([*self.tmux, "new-session", "-d", "-x", str(columns), "-y", str(rows),
                        "sh", "-c", line], check=True, env=env)
        self.poll = lab.poll
        lab.stack.callback(self.close)

    def close(self):
        subprocess.run([*self.tmux, "kill-server"], check=False, capture_output=True)

    def text(self):
        return subprocess.run([*self.tmux, "capture-pane", "-p"], check=True, text=True,
                              capture_output=True).stdout

    def type(self, *keys, literal=False):
        subprocess.run([*self.tmux, "send-keys", *(["-l"] if literal else []), *keys], check=True)

    def resize(self, columns, rows):
        subprocess.run([*self.tmux, "resize-window", "-x", str(columns), "-y", str(rows)],
                       check=True)

    def shows(self, pattern, timeout=10):
        found = []

        def there():
            found[:] = [re.search(pattern, self.text(), re.M)]
            return found[0]
        try:
            self.poll(there, timeout, f"/{pattern}/ on the screen")
        except Exception as late:
            raise AssertionError(f"{late}\n{self.text()}") from None
        return found[0]


def rows(text):
    """Subjects in the order in which they stand on the screen."""
    return re.findall(r"^((?:vm|port):\S+)", text, re.M)


def test_top_shows_who_sends(lab):
    vm = lab.register(1, tenant="acme")
    screen = Screen(lab, "top")
    screen.shows(r"^vm:web1 +allow +0\.0 +0\.0")
    for _ in range(4):
        lab.guest(1).connect(SERVER4)
    lab.cli("block", "port:vnet2")
    for _ in range(9):
        lab.guest(2).connect(SERVER4)
    screen.shows(r"^port:vnet2 +block +[1-9]")
    match = screen.shows(r"^vm:web1 +allow +([1-9][\d.]*) +0\.0 +(\S+) +(\S+) +(\d+)")
    assert float(match[1]) > 1 and float(match[3]) > 0, match[0]
    screen.type("r")
    screen.poll(lambda: rows(screen.text()) == ["port:vnet2", vm], 5, "the order by refusals")
    screen.type("s")
    screen.poll(lambda: rows(screen.text()) == ["port:vnet2", vm], 5, "the order by name")
    screen.type("d")
    screen.poll(lambda: rows(screen.text()) == [vm, "port:vnet2"], 5, "the order by destinations")
    screen.type("q")
    screen.shows("^ended with 0")


def test_top_blocks_and_allows_with_a_reason(lab):
    screen = Screen(lab, "top")
    screen.shows("^port:vnet1")
    screen.type("s")
    screen.type("b")
    screen.shows(r"^block port:vnet1, reason")
    screen.type("spam, ticket ä", literal=True)
    screen.shows("ticket ä")
    screen.type("BSpace", "7", "Enter")
    screen.shows(r"port:vnet1: block \(own, .spam, ticket 7., by root\)")
    row = lab.json("history", "port:vnet1")["audit"][0]
    assert (row["action"], row["reason"], row["actor"]) == ("block", "spam, ticket 7", "root")
    assert lab.guest(1).connect(SERVER4) == "ECONNREFUSED"
    screen.type("Down", "a")
    screen.shows(r"^allow port:vnet2, reason")
    screen.type("Escape")
    screen.shows("nothing was changed")
    screen.type("b", "Enter")
    screen.shows("a reason is needed")
    assert lab.state("port:vnet2") == "allow" and len(lab.json("history")["audit"]) == 1


def test_top_filters(lab):
    lab.register(1, tenant="acme")
    screen = Screen(lab, "top")
    screen.shows("^port:vnet2")
    for word, wanted in (("web", ["vm:web1"]), ("ACME", ["vm:web1"]), ("vnet2", ["port:vnet2"]),
                         ("nothing", []), ("", ["port:vnet2", "vm:web1"])):
        screen.type("/")
        screen.shows("^filter ")
        screen.type(word, literal=True)
        screen.type("Enter")
        screen.poll(lambda: sorted(rows(screen.text())) == wanted, 5, f"the rows with {word!r}")


def test_top_tells_that_the_daemon_is_gone_and_back(lab):
    screen = Screen(lab, "top")
    screen.shows("^port:vnet1")
    lab.kill()
    screen.shows("NO ANSWER")
    screen.shows("does not run")
    assert "port:vnet1" in screen.text(), "the last figures stay"
    screen.type("b")
    screen.type("x", "Enter")
    screen.shows("does not run")
    lab.start()
    screen.shows("answers again")


def test_top_is_for_readers_who_may_not_change(lab):
    screen = Screen(lab, "top", prefix=["setpriv", f"--reuid={NOBODY}", f"--regid={READERS}",
                                        "--clear-groups"])
    screen.shows("^port:vnet1")
    screen.type("b")
    screen.type("x", "Enter")
    screen.shows("you may read but not change")
    assert lab.state("port:vnet1") == "allow" and lab.state("port:vnet2") == "allow"


@cases(small=(80, 24), narrow=(40, 10), tiny=(12, 4), wide=(200, 50), flat=(80, 2))
def test_top_fits_every_terminal(lab, case):
    lab.register(1, name="x" * 63)
    columns, height = case
    screen = Screen(lab, "top", columns=columns, rows=height)
    if height > 3:
        screen.shows("^(port|vm):")
    screen.resize(80, 24)
    screen.shows("^port:vnet2 +allow")
    screen.resize(30, 6)
    screen.shows("^port:vnet2")
    screen.resize(100, 30)
    screen.shows("^port:vnet2 +allow")
    lines = screen.text().splitlines()
    assert all(len(line) <= 100 for line in lines)
    screen.type("q")
    screen.shows("ended with 0")


def test_top_without_a_usable_terminal(lab):
    code, out, err = lab.run_cli("top")
    assert code == 2 and "terminal" in err and err.count("\n") == 1 and not out, (code, err)
    code, out, err = lab.run_cli("--json", "top")
    assert code == 2 and json.loads(out)["error"]["code"] == "usage"
    screen = Screen(lab, "top", term="no-such-terminal")
    screen.shows("cannot use a terminal of type")
    screen.shows("^ended with 2")


def test_top_without_a_daemon_never_takes_the_screen(lab):
    lab.stop()
    screen = Screen(lab, "top")
    screen.shows("gate25d does not run")
    screen.shows("^ended with 4")


def test_top_ends_on_an_interrupt_and_leaves_the_terminal_sane(lab):
    screen = Screen(lab, "top")
    screen.shows("^port:vnet1")
    screen.type("C-c")
    screen.shows("^ended with 0")


# ---- narrow terminals

LINES = {"status": ["status"], "list": ["list"], "vm_list": ["vm", "list"],
         "doctor": ["doctor"], "counters": ["show", "vm:web1"], "why": ["why", "vm:web1"]}
# What is one sentence is left to the terminal to break: it can be copied whole.
SENTENCE = re.compile(r"(gate25d|\S+: (limit|allow|block)|\S+ to \S+ port) ")


@cases(**LINES)
def test_lines_fit_a_narrow_terminal(lab, case):
    lab.register(1, tenant="somebody-with-a-name")
    lab.guest(1).send_mail(SERVER4)
    lab.cli("block", "port:vnet2", "--reason", "spam")
    lab.guest(2).connect(SERVER4)
    with lab.host.entered():
        done = subprocess.run(["script", "-qec", "stty cols 40; exec " + " ".join(
            [lab.program("gate25"), "--socket", lab.socket_path, *case]), "/dev/null"], text=True,
            capture_output=True, stdin=subprocess.DEVNULL,
            env=dict(os.environ, NO_COLOR="1", TERM="xterm", LC_ALL="C.UTF-8"))
    lines = done.stdout.replace("\r", "").splitlines()
    assert len(lines) > 1, done
    over = [line for line in lines if len(line) > 40 and not SENTENCE.match(line)]
    assert not over, "\n".join(over)
    if case[0] in ("show", "why"):  # no table, of which columns may be left out
        assert " ".join(lines).split() == lab.cli(*case).split()


# ---- 10,000 VMs

MANY = 10000


def register_many(lab):
    text = "".join(json.dumps({
        "kind": "vm", "name": f"vm{n:05}", "tenant": f"t{n % 50}", "ports": [f"tap{n}i0"],
        "macs": [f"52:54:00:{n >> 16:02x}:{n >> 8 & 255:02x}:{n & 255:02x}"]}) + "\n"
        for n in range(MANY))
    status, answer = lab.http("PUT", "/v1/policy-set", text, timeout=60)
    assert status == 200, answer


@setup(config={"gate": {"max_vms": 16384}}, guests=1)
def test_ten_thousand_vms_in_every_list(lab):
    register_many(lab)
    begin = time.monotonic()
    assert lab.cli("list", timeout=60).count("\n") == MANY + 2
    assert len(lab.json("list", "--tenant", "t7", timeout=60)["vms"]) == MANY / 50
    assert lab.cli("vm", "list", timeout=60).count("\n") == MANY + 1
    assert lab.cli("__complete", "show", "vm00", timeout=60).count("\n") == 1000
    assert len(lab.json("show", "tenant:t7", timeout=60)["vms"]) == MANY / 50
    assert lab.json("report", "tenant:t7", timeout=60)["totals"]["flows_admitted"] == 0
    assert lab.json("why", "vm09999")["passes"]
    # all of them counted and scraped: promised are 30 ms on a quiet machine
    scrape = time.monotonic()
    samples = lab.scrape()[2].count("gate25_flows_total{")
    assert samples == 4 * (MANY + 1) and time.monotonic() - scrape < 3, samples
    assert lab.cli("export", timeout=60).count("\n") == MANY
    assert "VMs: 10.0k" in lab.cli("status", timeout=60)
    lab.cli("block", "-", stdin="".join(f"vm{n:05}\n" for n in range(1000)), timeout=60)
    assert len(lab.json("history", "--limit", 5000, timeout=60)["audit"]) > 1000
    assert len(lab.json("list", "--state", "block", timeout=60)["vms"]) == 1000
    screen = Screen(lab, "top")
    screen.shows(f"{MANY + 1} VMs", timeout=30)
    screen.type("/")
    screen.type("vm09999", "Enter")
    screen.shows("^vm:vm09999 +allow", timeout=30)
    assert time.monotonic() - begin < 100


# ---- progress

@setup(config={"gate": {"max_vms": 16384}}, guests=1)
def test_long_work_shows_progress_on_a_terminal_only(lab):
    register_many(lab)
    with open(lab.file("subjects"), "w") as f:
        f.write("".join(f"vm{n:05}\n" for n in range(4000)))
    screen = Screen(lab, "block", "-", "<" + lab.file("subjects"), ">" + lab.file("out"))
    screen.shows(r"gate25: block: \d+ of 4000", timeout=30)
    screen.shows("^ended with 0", timeout=60)
    assert " of 4000" not in screen.text(), "it is wiped away in the end"
    assert open(lab.file("out")).read().count("\n") == 4000
    _, _, err = lab.run_cli("allow", "-", stdin="vm00001\nvm00002\n")
    assert err == ""


harness.main()
