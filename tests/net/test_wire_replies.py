#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""What real servers answer is what the gate counts.

The guest speaks SMTP itself and keeps its own account of all replies; the counters of
the gate must say the same, with Postfix, OpenSMTPD and smtp-sink on the far side, and
with servers that cut their replies in every way TCP allows.
"""

import array
import collections
import fcntl
import os
import re
import socket
import ssl
import subprocess
import sys
import termios
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import harness
import opensmtpd
from harness import Skip, cases
from lab import SILENT4, SILENT6
from mail import Postfix, Sink
from netns import ISOLATED

PORT = "port:vnet1"
MX = {4: "192.0.2.61", 6: "2001:db8:2::61"}
NOBODY = {4: "192.0.2.98", 6: "2001:db8:2::98"}
# Of one segment so many bytes are read, see gate25-metrics(7).
SPAN = 1024


# ---- the guest's side

class Client:
    """An SMTP session of the guest, with an account of what it was answered."""

    def __init__(self, guest, address, port=25):
        self.sock, result = guest.open(address, port, timeout=10)
        assert result == "ok", result
        self.sock.settimeout(30)
        self.pending, self.codes = b"", []

    def reply(self):
        """One reply, all of its lines: its code. None at the end of the stream."""
        while True:
            match = re.match(rb"(?:(\d{3})-[^\n]*\n)*(\d{3})(?: [^\n]*)?\n", self.pending)
            if match:
                self.pending = self.pending[match.end():]
                self.codes.append(int(match[2]))
                return self.codes[-1]
            data = self.sock.recv(65536)
            if not data:
                return None
            self.pending += data

    def say(self, *lines):
        """Sends lines at once and reads a reply to each."""
        self.sock.sendall("".join(line + "\r\n" for line in lines).encode())
        return [self.reply() for _ in lines]

    def rest(self):
        while self.reply() is not None:
            pass

    def start_tls(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.sock = context.wrap_socket(self.sock)

    def close(self):
        self.sock.close()


def classes(codes):
    """The counters that these codes must move, and by how much."""
    found = collections.Counter(f"replies_{code // 100}xx" for code in codes)
    return {f"replies_{n}xx": found[f"replies_{n}xx"] for n in (2, 3, 4, 5)}


def quiet(lab):
    """The flow is over and all of its segments are counted."""
    lab.poll(lambda: lab.counters(PORT)["flows_active"] == 0, 10, "end of the flow")


class Account:
    """Holds the counters to what the clients have seen over a block."""

    def __init__(self, lab, flows=1, **more):
        self.lab, self.flows, self.more, self.clients = lab, flows, more, []

    def client(self, address, port=25):
        self.clients.append(Client(self.lab.guest(1), address, port))
        return self.clients[-1]

    def codes(self):
        return [code for client in self.clients for code in client.codes]

    def __enter__(self):
        self.before = self.lab.counters(PORT)
        return self

    def __exit__(self, kind, *_):
        for client in self.clients:
            client.close()
        if kind:
            return
        want = {"flows_admitted": self.flows, "connects_established": self.flows,
                "banners_refused": 0, "tls_flows": 0, "connects_refused": 0, "flows_blocked": 0,
                "packets_dropped": 0, **classes(self.codes()), **self.more}
        wanted = {key: self.before[key] + n for key, n in want.items()}

        def right():
            now = self.lab.counters(PORT)
            self.moved = {key: now[key] - self.before[key] for key in wanted}
            return all(now[key] == wanted[key] for key in wanted)
        try:
            self.lab.poll(right, 5, "agreement")
        except TimeoutError:
            raise AssertionError(f"counted {self.moved}, the guest saw {want}") from None
        if self.codes():
            last = self.lab.show(PORT)["last_reply"]
            assert last == self.codes()[-1], (last, self.codes()[-1])


# ---- the servers

def certificate(lab):
    cert, key = lab.file("mx.crt"), lab.file("mx.key")
    if not os.path.exists(cert):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                        "-subj", "/CN=mx", "-keyout", key, "-out", cert], check=True,
                       capture_output=True)
        os.chmod(key, 0o644)
    return cert, key


def postfix(lab, settings=""):
    cert, key = certificate(lab)
    return Postfix(lab.inet, lab.file("mx"), list(MX.values()), settings=settings +
                   f"smtpd_tls_security_level = may\nsmtpd_tls_cert_file = {cert}\n"
                   f"smtpd_tls_key_file = {key}\nsmtpd_recipient_restrictions =\n"
                   " check_recipient_access inline:{no@mx.example=reject}\n")


def open_smtpd(lab):
    if not opensmtpd.present():
        raise Skip("the package opensmtpd cannot be downloaded here")
    return opensmtpd.OpenSmtpd(lab.inet, lab.file("smtpd"), list(MX.values()), *certificate(lab))


class Sinks:
    def __init__(self, lab, *options):
        self.sinks = [Sink(lab.inet, address, extra=options) for address in MX.values()]

    def close(self):
        for sink in self.sinks:
            sink.close()


SERVERS = {"postfix": postfix, "opensmtpd": open_smtpd, "smtp-sink": Sinks}


def serve(lab, make, *args):
    server = make(lab, *args)
    lab.stack.callback(server.close)
    return server


@cases(**{f"{name}-ipv{family}": (make, family) for name, make in SERVERS.items()
          for family in (4, 6)})
def test_replies_of_a_session(lab, case):
    """A session one command after the other, with a mistake in it."""
    make, family = case
    serve(lab, make)
    with Account(lab) as account:
        client = account.client(MX[family])
        assert client.reply() == 220
        for line in ("EHLO guest.example", "MAIL FROM:<a@guest.example>",
                     "RCPT TO:<b@mx.example>", "DATA"):
            assert client.say(line)[0] // 100 in (2, 3), line
        client.say("Subject: one\r\n\r\nhello\r\n.")
        client.say("NONSENSE")
        assert client.say("QUIT") == [221]
        client.rest()
    assert len(client.codes) == 8 and client.codes[6] // 100 == 5, client.codes


PIPELINE = ("MAIL FROM:<a@guest.example>", "RCPT TO:<b@mx.example>", "RCPT TO:<no@mx.example>",
            "RSET", "NOOP", "MAIL FROM:<a@guest.example>", "RCPT TO:<b@mx.example>", "QUIT")


# OpenSMTPD does not take pipelines: one 500, and it hangs up.
@cases(postfix=(postfix, 10), opensmtpd=(open_smtpd, 3), **{"smtp-sink": (Sinks, 10)})
def test_replies_to_a_pipeline(lab, case):
    """Commands in one segment, so replies come as the server likes: alone or together."""
    make, replies = case
    serve(lab, make)
    with Account(lab, flows=2) as account:
        for family in (4, 6):
            client = account.client(MX[family])
            client.reply()
            client.say("EHLO guest.example")
            client.say(*PIPELINE)
            client.rest()
            assert len(client.codes) == replies, client.codes


# Debian 12's OpenSMTPD begins TLS and then fails: it and OpenSSL 3 do not agree on keys.
@cases(postfix=(postfix, True), opensmtpd=(open_smtpd, False))
def test_reading_ends_where_tls_begins(lab, case):
    make, finishes = case
    serve(lab, make)
    with Account(lab, flows=2, tls_flows=2) as account:
        for family in (4, 6):
            client = account.client(MX[family])
            client.reply()
            client.say("EHLO guest.example")
            assert client.say("STARTTLS") == [220]
            seen = list(client.codes)
            try:
                client.start_tls()
                inside = client.say("EHLO guest.example") + client.say("NONSENSE") + \
                    client.say("MAIL FROM:<a@guest.example>") + client.say("QUIT")
                assert inside[0] == 250 and inside[1] // 100 == 5 and inside[3] == 221, inside
            except ssl.SSLError:
                assert not finishes
            client.codes = seen


@cases(**{
    "postfix": (postfix, ("smtpd_delay_reject = no\n"
                          "smtpd_client_restrictions = reject\n",), 554, 1),
    "smtp-sink-554": (Sinks, ("-B", "554 5.7.1 Your address is listed", "-f", "CONNECT"), 554, 1),
    "smtp-sink-421": (Sinks, ("-b", "421 4.7.0 Too many from you", "-r", "CONNECT"), 421, 1),
    "smtp-sink-450": (Sinks, ("-r", "CONNECT"), 450, 0),
})
def test_refused_banners(lab, case):
    make, options, code, refused = case
    serve(lab, make, *options)
    with Account(lab, flows=2, banners_refused=2 * refused) as account:
        for family in (4, 6):
            client = account.client(MX[family])
            assert client.reply() == code
            client.say("QUIT")
            client.rest()


@cases(hard=("-f", 5), soft=("-r", 4))
def test_refused_commands_are_no_refused_banner(lab, case):
    option, kind = case
    serve(lab, Sinks, option, "RCPT")
    with Account(lab) as account:
        client = account.client(MX[4])
        client.reply()
        client.say("EHLO guest.example")
        client.say("MAIL FROM:<a@guest.example>")
        assert client.say("RCPT TO:<b@mx.example>")[0] // 100 == kind
        client.say("QUIT")
        client.rest()


# ---- replies cut as no real server would

class Cutter:
    """
    Says these pieces to whoever connects, each in a segment of its own when `apart`: the
    next one leaves when the last was acknowledged.
    """

    def __init__(self, lab, address, pieces, apart=True):
        self.pieces, self.apart = pieces, apart
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.listener = lab.inet.socket(family, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((address, 25))
        self.listener.listen(100)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for piece in self.pieces:
                    sock.sendall(piece)
                    while self.apart and self._unacknowledged(sock):
                        pass
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(4096):
                    pass

    @staticmethod
    def _unacknowledged(sock):
        left = array.array("i", [0])
        fcntl.ioctl(sock, termios.TIOCOUTQ, left)
        return left[0]

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join(5)
        self.listener.close()


def listen_to(lab, family, pieces, apart=True, **more):
    """A guest reads all that such a server says; the gate must have read the same."""
    server = Cutter(lab, MX[family], pieces, apart)
    try:
        with Account(lab, **more) as account:
            client = account.client(MX[family])
            client.rest()
            client.sock.shutdown(socket.SHUT_WR)
        quiet(lab)
    finally:
        server.close()
    return client.codes


DIALOGUE = (b"220-mx.example\r\n220-says\r\n220 hello\r\n"
            b"250-mx.example\r\n250-SIZE 100\r\n250-PIPELINING\r\n250 8BITMIME\r\n"
            b"250 ok\r\n450 later\r\n550-no\r\n550 such user\r\n354 go\r\n250 ok\r\n221 bye\r\n")


def test_replies_byte_by_byte(lab):
    for family in (4, 6):
        codes = listen_to(lab, family, [bytes([b]) for b in DIALOGUE])
        assert codes == [220, 250, 250, 450, 550, 354, 250, 221]


def test_replies_cut_in_two_anywhere(lab):
    for at in range(1, len(DIALOGUE), 3):
        listen_to(lab, 4, [DIALOGUE[:at], DIALOGUE[at:]])


def test_replies_all_in_one_segment(lab):
    for family in (4, 6):
        listen_to(lab, family, [DIALOGUE])


def test_replies_merged_by_gro(lab):
    """Many small segments that the host's uplink merges into few large ones."""
    lab.host.run(["ethtool", "-K", "eth0", "gro", "on"])
    lab.inet.run(["ethtool", "-K", "uplink0", "tso", "off", "gso", "off"])
    pieces = [b"250-%d\r\n250 %d\r\n" % (i, i) for i in range(60)]
    for family in (4, 6):
        codes = listen_to(lab, family, [b"220 mx\r\n", *pieces], apart=False)
        assert len(codes) == 61


def test_replies_beyond_the_span_of_a_segment(lab):
    """
    The limit, as the manual says: of a super-packet the first SPAN bytes are read, then
    reading goes on with the next line that begins in a segment of its own.
    """
    lines = [b"250 %s\r\n" % (b"x" * 94) for _ in range(200)]
    server = Cutter(lab, MX[4], [b"220 mx\r\n", b"".join(lines), b"\r\n450 later\r\n"])
    lab.stack.callback(server.close)
    before = lab.counters(PORT)
    client = Client(lab.guest(1), MX[4])
    client.rest()
    client.close()
    quiet(lab)
    now = lab.counters(PORT)
    assert len(client.codes) == 201 or len(client.codes) == 202, len(client.codes)
    assert 1 + SPAN // 100 <= now["replies_2xx"] - before["replies_2xx"] <= 201
    assert now["replies_4xx"] - before["replies_4xx"] == 1
    assert lab.show(PORT)["last_reply"] == 450


# ---- outcomes

@cases(ipv4=4, ipv6=6)
def test_connects_established_and_refused(lab, case):
    serve(lab, Sinks)
    guest = lab.guest(1)
    with lab.expect(PORT, flows_admitted=9, connects_established=5, connects_refused=4,
                    connects_timed_out=0):
        for n in range(9):
            wanted = ("ok", MX) if n % 2 == 0 else ("ECONNREFUSED", NOBODY)
            assert guest.connect(wanted[1][case]) == wanted[0]


def test_connects_that_nobody_answers_time_out(lab):
    guest = lab.guest(1)
    with lab.expect(PORT, flows_admitted=2, connects_timed_out=0, connects_refused=0):
        assert guest.connect(SILENT4, timeout=0.3) == "timeout"
        assert guest.connect(SILENT6, timeout=0.3) == "timeout"
    lab.poll(lambda: lab.counters(PORT)["connects_timed_out"] == 2, 100, "end of their time")
    assert lab.counters(PORT)["flows_active"] == 0


def test_the_gates_own_resets_are_not_the_servers(lab):
    guest = lab.guest(1)
    lab.cli("block", PORT)
    with lab.expect(PORT, flows_blocked=4, resets_sent=4, connects_refused=0, packets_to_vm=0):
        for family in (4, 6, 4, 6):
            assert guest.connect(NOBODY[family]) == "ECONNREFUSED"


if not os.environ.get(ISOLATED):
    opensmtpd.fetch()
harness.main()
