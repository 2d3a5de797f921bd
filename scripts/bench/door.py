# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""How long until the door is shut: from a request to the last frame that passes.

A stream of new flows runs through the gate on a CPU of its own. The end is the kernel's stamp
on the last frame that reached the far side; the beginning is taken on the same clock
(CLOCK_REALTIME), before the CLI is started or where the daemon reads the request. The moment
itself lies between that frame and the next one sent: a round in which this gap is long, since
the sender stood still, says nothing and is made again.
"""

import contextlib
import http.client
import json
import mmap
import os
import socket
import struct
import subprocess
import time

GAP_NS, TRIES = 20_000, 100
SO_RCVBUFFORCE, RECEIVE_BYTES = 33, 64 << 20


class TooBusy(Exception):
    """The machine does not let the stream run."""


@contextlib.contextmanager
def apart():
    """This process, and what it starts from now on, on the first CPU; the stream has the second."""
    cpus = os.sched_getaffinity(0)
    if len(cpus) < 2:
        raise TooBusy("one CPU only: a stream and who shuts the door need one each")
    os.sched_setaffinity(0, [min(cpus)])
    try:
        yield cpus
    finally:
        os.sched_setaffinity(0, cpus)


class Reads:
    """When the daemon last read from a client; it must be started with this environment."""

    def __init__(self, build, path):
        with open(path, "wb") as f:
            f.write(bytes(8))
        with open(path, "r+b") as f:
            self.word = mmap.mmap(f.fileno(), 8)
        self.env = {**os.environ, "GATE25_READS": path, "LD_PRELOAD":
                    os.path.join(os.path.abspath(build), "tools", "bench", "reads.so")}

    def last(self):
        return struct.unpack("Q", self.word[:8])[0]


class Stream:
    """New flows from guest 1 without end."""

    def __init__(self, build, lab, cpus):
        send = lab.guest(1).ns.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        send.bind(("eth0", 0))
        receive = lab.inet.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        receive.bind(("uplink0", 3))
        receive.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BYTES)
        self.driver = subprocess.Popen(
            [os.path.join(build, "tools", "bench", "stream"), "--send", str(send.fileno()),
             "--receive", str(receive.fileno())], pass_fds=(send.fileno(), receive.fileno()),
            text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            preexec_fn=lambda: os.sched_setaffinity(0, cpus))
        self.rounds = self.again = 0
        send.close()
        receive.close()

    def ask(self, word):
        print(word, file=self.driver.stdin, flush=True)
        line = self.driver.stdout.readline()
        if not line:
            raise TooBusy("the stream ended early")
        return json.loads(line)

    def close(self):
        self.driver.stdin.close()
        self.driver.wait(10)
        self.driver.stdout.close()

    def until_shut(self, let_in, shut):
        """Seconds from the moment that `shut` returns (CLOCK_REALTIME) to the last frame."""
        for _ in range(TRIES):
            let_in()
            self.ask("start")
            begin = shut()
            told = self.ask("stop")
            if not 0 < told["arrived"] < told["sent"]:
                raise AssertionError(
                    f"{told['arrived']} of {told['sent']} frames arrived: the door was "
                    f"{'open' if told['arrived'] else 'shut'} all the time")
            self.rounds += 1
            if told["next"] - told["last"] < GAP_NS:
                return (told["last"] - begin) / 1e9
            self.again += 1
        raise TooBusy("the machine is too busy: the stream stands still again and again")


class Door:
    """The control socket, held open, each request made up beforehand and sent by one write."""

    def __init__(self, lab, subject):
        self.requests = {}
        for state in ("allow", "block"):
            body = json.dumps({"state": state})
            self.requests[state] = (
                f"PUT {lab.policy_path(subject)} HTTP/1.1\r\nHost: localhost\r\n"
                f"Content-Length: {len(body)}\r\n\r\n{body}").encode()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(10)
        self.socket.connect(lab.socket_path)

    def put(self, state):
        self.socket.sendall(self.requests[state])
        answer = http.client.HTTPResponse(self.socket)
        answer.begin()
        answer.read()
        if answer.status != 200:
            raise AssertionError(f"{state}: {answer.status}")

    def close(self):
        self.socket.close()


def quantile(values, q):
    return sorted(values)[min(len(values) - 1, int(q * len(values)))]


def from_read(lab, stream, reads, subject, rounds):
    """[seconds from the daemon's reading `block` to the last frame through]"""
    with contextlib.closing(Door(lab, subject)) as door:
        def shut():
            begin = time.time_ns()
            door.put("block")
            read = reads.last()
            if not begin <= read <= time.time_ns():
                raise AssertionError("the daemon does not tell when it reads")
            return read
        return [stream.until_shut(lambda: door.put("allow"), shut) for _ in range(rounds)]


def starting(command):
    """A `shut` that runs a command: it begins where the command is started."""
    def shut():
        begin = time.time_ns()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True, timeout=30)
        return begin
    return shut


def from_start(lab, stream, subject, rounds):
    """[seconds from the start of `gate25 block` to the last frame through]"""
    shut = starting([lab.program("gate25"), "--socket", lab.socket_path, "block", subject])
    with contextlib.closing(Door(lab, subject)) as door:
        return [stream.until_shut(lambda: door.put("allow"), shut) for _ in range(rounds)]
