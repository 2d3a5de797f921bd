#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Load that goes on while something else happens, and says in the end how it went.

    load.py syn IFNAME PER_S SMAC SRC DST[,…]    SYNs to port 25, raw, one flow after another
    load.py mail PER_S SERVER                    SMTP sessions, one held open all along

Says "ready" when it begins, ends on SIGTERM with one JSON object. From a test: Syns and Mails below.
"""

import collections
import json
import select
import signal
import socket
import struct
import subprocess
import sys
import time

if __name__ == "__main__":
    import os
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from wire import Wire, ethernet, tcp

ROUTER_MAC = "52:54:00:99:00:01"
SO_ATTACH_FILTER = 26
SHARE_S = 0.005  # frames are sent in shares of this time


# ---- the programs

def paced(per_s):
    """Yields how many are due, again and again."""
    begin, done = time.monotonic(), 0
    while True:
        due = int((time.monotonic() - begin) * per_s)
        # Who was not run for long does not make up for it at once: queues are short.
        if due - done > 200:
            begin += (due - done - 200) / per_s
            due = done + 200
        yield due - done
        done = due
        time.sleep(SHARE_S)


def send_syns(ifname, per_s, smac, src, dsts):
    # A whole number of frames, whenever the end comes.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    frames = []
    for number in range(4000):
        kind, packet = tcp(src, dsts[number % len(dsts)], 1024 + number, 25, seq=number)
        frames.append(ethernet(smac, ROUTER_MAC, kind, packet))
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.bind((ifname, 0))
    print("ready", flush=True)
    sent = 0
    for due in paced(per_s):
        for _ in range(due):
            sock.send(frames[sent % len(frames)])
            sent += 1
        if signal.sigpending():
            return {"sent": sent}


class Session:
    def __init__(self, server):
        self.sock = socket.create_connection((server, 25), timeout=10)
        self.file = self.sock.makefile("rb")
        self.answer("220")

    def answer(self, code):
        line = self.file.readline().decode("latin-1")
        if not line.startswith(code):
            raise OSError(f"wanted {code}, got {line!r}")

    def say(self, line, code):
        self.sock.sendall(line.encode() + b"\r\n")
        self.answer(code)

    def mail(self):
        self.say("HELO guest.example", "250")
        self.say("MAIL FROM:<alice@guest.example>", "250")
        self.say("RCPT TO:<bob@inet.example>", "250")
        self.say("DATA", "354")
        self.say("Subject: load\r\n\r\nhello\r\n.", "250")
        self.say("QUIT", "221")
        self.close()

    def close(self):
        self.file.close()
        self.sock.close()


def send_mails(per_s, server):
    # A whole number of sessions, whenever the end comes.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    done = collections.Counter(sessions=0, noops=0)
    wrong = []
    held = Session(server)
    print("ready", flush=True)
    for due in paced(per_s):
        for _ in range(due):
            if signal.sigpending():
                break
            try:
                Session(server).mail()
                done["sessions"] += 1
            except OSError as error:
                wrong.append(f"session {done['sessions']}: {error}")
        try:
            held.say("NOOP", "250")
            done["noops"] += 1
        except OSError as error:
            wrong.append(f"the open session, after {done['noops']} commands: {error}")
            held = Session(server)
        if signal.sigpending():
            break
    return {**done, "wrong": wrong[:10], "failures": len(wrong)}


def main():
    kind, arguments = sys.argv[1], sys.argv[2:]
    if kind == "syn":
        ifname, per_s, smac, src, dsts = arguments
        result = send_syns(ifname, float(per_s), smac, src, dsts.split(","))
    else:
        result = send_mails(float(arguments[0]), arguments[1])
    print(json.dumps(result), flush=True)


# ---- for tests

class Load:
    """One of the above as a process of a guest; stop() returns what it reports."""

    def __init__(self, ns, *arguments):
        self.process = ns.popen([sys.executable, "-B", __file__, *arguments],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.result = None
        if self.process.stdout.readline() != b"ready\n":
            raise RuntimeError(f"no load: {self.stop()}")

    def stop(self):
        if self.result is None:
            self.process.send_signal(signal.SIGTERM)
            text, _ = self.process.communicate(timeout=30)
            self.result = json.loads(text) if text else {}
        return self.result


def syns(lab, n, dst, per_s=500):
    """Guest n sends SYNs to port 25 until stop(); {"sent": N}."""
    guest = lab.guest(n)
    load = Load(guest.ns, "syn", "eth0", per_s, guest.mac, guest.ip4,
                dst if isinstance(dst, str) else ",".join(dst))
    lab.stack.callback(load.stop)
    return load


def mails(lab, n, server, per_s=20):
    """Guest n sends mail and holds a session open until stop()."""
    load = Load(lab.guest(n).ns, "mail", per_s, server)
    lab.stack.callback(load.stop)
    return load


class Census(Wire):
    """SYNs to port 25 (IPv4, no tag) on the far side, counted by source MAC; others are not kept."""

    PROGRAM = [  # ether type IPv4, TCP, no options, destination port 25, SYN alone
        (0x28, 0, 0, 12), (0x15, 0, 9, 0x0800), (0x30, 0, 0, 23), (0x15, 0, 7, 6),
        (0x30, 0, 0, 14), (0x15, 0, 5, 0x45), (0x28, 0, 0, 36), (0x15, 0, 3, 25),
        (0x30, 0, 0, 47), (0x15, 0, 1, 2), (0x06, 0, 0, 64), (0x06, 0, 0, 0)]

    def __init__(self, ns, ifname="uplink0"):
        super().__init__(ns, ifname)
        self.seen = collections.Counter()
        code = b"".join(struct.pack("HBBI", *row) for row in self.PROGRAM)
        # setsockopt copies; the program must only live until it returns.
        import ctypes
        held = ctypes.create_string_buffer(code)
        self.sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER,
                             struct.pack("HL", len(self.PROGRAM), ctypes.addressof(held)))
        self.drain()
        self.seen.clear()

    def drain(self):
        while select.select([self.sock], [], [], 0)[0]:
            frame = self.sock.recv(64)
            self.seen[frame[6:12].hex(":")] += 1

    def count(self, guest):
        """SYNs of this guest that got out so far."""
        self.drain()
        return self.seen[guest.mac]


def census(lab):
    wire = Census(lab.inet)
    lab.stack.callback(wire.close)
    return wire


if __name__ == "__main__":
    main()
