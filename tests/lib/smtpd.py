#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""smtpd.py ADDRESS[,ADDRESS…] PORT [VERB=ANSWER]…: an SMTP server that answers what it is told.

VERB is banner, helo, mail, rcpt, data, end (of the message), rset, quit or other; "\\n" in
an answer separates lines. A banner of 421 or 554 closes, as RFC 5321 3.1 has it.
"""

import selectors
import socket
import sys

ANSWERS = {"banner": "220 scripted", "helo": "250 scripted", "mail": "250 ok", "rcpt": "250 ok",
           "data": "354 go on", "end": "250 taken", "rset": "250 ok", "quit": "221 bye",
           "other": "500 what?"}


class Session:
    def __init__(self, sock, answers):
        self.sock, self.answers = sock, answers
        self.pending, self.in_data = b"", False
        self.say("banner")
        self.over = answers["banner"][:3] in ("421", "554")

    def say(self, verb):
        self.sock.sendall(self.answers[verb].replace("\\n", "\r\n").encode() + b"\r\n")

    def line(self, text):
        if self.in_data:
            if text == ".":
                self.in_data = False
                self.say("end")
            return
        verb = text[:4].lower().strip()
        verb = {"ehlo": "helo"}.get(verb, verb)
        self.say(verb if verb in self.answers else "other")
        self.in_data = verb == "data" and self.answers["data"].startswith("3")
        self.over = verb == "quit"

    def readable(self):
        data = self.sock.recv(65536)
        self.pending += data
        while b"\n" in self.pending:
            text, self.pending = self.pending.split(b"\n", 1)
            self.line(text.decode("latin-1").rstrip("\r"))
        return bool(data) and not self.over


def main():
    addresses, port = sys.argv[1].split(","), int(sys.argv[2])
    answers = dict(ANSWERS, **dict(pair.split("=", 1) for pair in sys.argv[3:]))
    selector = selectors.DefaultSelector()
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        selector.register(socket.create_server((address, port), family=family, backlog=1024),
                          selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if not key.data:
                sock, _ = key.fileobj.accept()
                try:
                    selector.register(sock, selectors.EVENT_READ, Session(sock, answers))
                except OSError:
                    sock.close()
                continue
            try:
                alive = key.data.readable()
            except OSError:
                alive = False
            if not alive or key.data.over:
                selector.unregister(key.fileobj)
                key.fileobj.close()


main()
