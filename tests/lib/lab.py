# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""The lab: a hypervisor, its guests and the Internet, in network namespaces.

    guest1 eth0 ── vnet1 ┐
    guest2 eth0 ── vnet2 ┤ br0 (host) ── eth0 ══ uplink0 (inet) 10.25.255.1, 2001:db8:25::ffff
    guestN eth0 ── vnetN ┘                       servers in 192.0.2.0/24, 2001:db8:2::/64

The daemon runs in `host` with a configuration, socket, store and pin directory of its
own below one temporary directory. isolate() must have been called before.
"""

import contextlib
import http.client
import json
import os
import pwd
import grp
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse

from guest import Guest, ROUTER4, ROUTER6, ROUTER_MAC
import service
from mail import PATIENCE, Sink, Scripted, end, wait_for
from netns import Namespace, add_line, open_to_all
from wire import Wire

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = open_to_all(os.environ.get("GATE25_BUILD", os.path.join(TOP, "build")))

SERVER4, SERVER6 = "192.0.2.10", "2001:db8:2::10"
SERVER = {4: SERVER4, 6: SERVER6}
SILENT4, SILENT6 = "198.51.100.1", "2001:db8:dead::1"

# A group that every Debian has, so that no test adds one to the machine.
STAFF, READERS = service.STAFF, "news"
NOBODY = pwd.getpwnam("nobody").pw_uid
# Who works at the abuse desk in documents and in the demonstration; see hire().
PERSON, PERSON_UID = "carol", 25025

# The daemon runs as its unit has it, see service.py: tests are run so by `make net-confined`.
CONFINED = bool(os.environ.get("GATE25_CONFINED"))
# Words that daemon and command are run by, valgrind's: see `make net-valgrind`.
WRAPPER = os.environ.get("GATE25_WRAPPER", "").split()

# What each flow and each refused frame ends in; expect() holds all of them to its word.
VERDICTS = ("flows_admitted", "flows_limited", "flows_blocked", "flows_would_refuse", "exempt",
            "spoofed", "unsolicited", "unclassifiable", "fragments_dropped")


def hire():
    """Makes PERSON known to the system, in this isolated program only."""
    if any(p.pw_name == PERSON for p in pwd.getpwall()):
        return  # a program within such a program
    add_line("/etc/passwd", f"{PERSON}:x:{PERSON_UID}:{pwd.getpwnam('nobody').pw_gid}::"
             "/nonexistent:/usr/sbin/nologin")


class CliError(AssertionError):
    pass


class UnixHttp(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Lab:
    def __init__(self, guests=2, config=None, servers=True, start=True, tap=None):
        self.stack = contextlib.ExitStack()
        self.daemon = None
        self.guests = {}
        try:
            self._build(guests, config or {}, servers, tap)
            if start:
                self.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- the network

    def _build(self, guests, config, servers, tap):
        self.dir = tempfile.mkdtemp(prefix="gate25-lab-")
        self.stack.callback(shutil.rmtree, self.dir, ignore_errors=True)
        os.chmod(self.dir, 0o755)
        if CONFINED:  # what a test mounts here later is to be seen by the daemon too
            subprocess.run(["mount", "--bind", self.dir, self.dir], check=True)
            self.stack.callback(subprocess.run, ["umount", "-R", "-l", self.dir], check=False)
            subprocess.run(["mount", "--make-shared", self.dir], check=True)
        self.bpffs = self.file("bpf")
        os.mkdir(self.bpffs)
        subprocess.run(["mount", "-t", "bpf", "bpf", self.bpffs], check=True)
        self.stack.callback(subprocess.run, ["umount", "-l", self.bpffs], check=False)
        self.pin = os.path.join(self.bpffs, "gate25")
        self.socket_path = self.file("control.sock")
        self.config_path = self.file("gate25.conf")
        self.log_path = self.file("daemon.log")
        self.config = {}
        self.configure(config)

        self.host, self.inet = Namespace("host"), Namespace("inet")
        self.stack.callback(self.host.close)
        self.stack.callback(self.inet.close)
        for ns in (self.host, self.inet):
            ns.sysctl("net.ipv6.conf.all.accept_dad", 0)
            ns.sysctl("net.ipv6.conf.default.accept_dad", 0)
        # IPv6 has no bind() to an address that only a local route knows.
        self.inet.sysctl("net.ipv6.ip_nonlocal_bind", 1)
        self.host.ip("link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
                     f"link add eth0 type veth peer name uplink0 netns {self.inet.path}",
                     "link set eth0 master br0", "link set eth0 up", "link set br0 up")
        self.inet.ip(f"link set uplink0 address {ROUTER_MAC}",
                     f"addr add {ROUTER4}/16 dev uplink0",
                     f"addr add {ROUTER6}/64 dev uplink0 nodad",
                     "link set uplink0 up",
                     "route add local 192.0.2.0/24 dev lo",
                     "route add local 2001:db8:2::/64 dev lo",
                     # Here nobody answers, not even with a reset.
                     "route add blackhole 198.51.100.0/24",
                     "route add blackhole 2001:db8:dead::/64")
        for n in range(1, guests + 1):
            self.add_guest(n, tap)
        if servers:
            for address in SERVER.values():
                for port in (25, 587):
                    self.stack.callback(Sink(self.inet, address, port).close)

    def add_guest(self, n, tap=None):
        guest = self.guests[n] = Guest(self.host, "br0", n, tap)
        self.stack.callback(guest.close)
        return guest

    def guest(self, n):
        return self.guests[n]

    def put_behind_firewall(self, n):
        """The guest as Proxmox has it with its firewall on: tap, fwbr, fwln-fwpr, br0."""
        guest = self.guests[n]
        guest.unplug()
        self.host.ip("link add fwbr100i0 type bridge stp_state 0 forward_delay 0",
                     "link add fwln100i0 type veth peer name fwpr100p0",
                     "link set fwln100i0 master fwbr100i0", "link set fwpr100p0 master br0",
                     "link set fwln100i0 up", "link set fwpr100p0 up", "link set fwbr100i0 up")
        guest.port, guest.bridge = "tap100i0", "fwbr100i0"
        guest.plug()
        self.wait_hooked(guest.port)
        return guest

    def serve(self, addresses, port=25, **answers):
        """A scripted SMTP server in the Internet on one or several addresses."""
        if isinstance(addresses, str):
            addresses = [addresses]
        server = Scripted(self.inet, ",".join(addresses), port, **answers)
        self.stack.callback(server.close)
        return server

    def sniff(self, ifname="uplink0", ns=None):
        """All frames that from now on reach the far side."""
        wire = Wire(ns or self.inet, ifname)
        self.stack.callback(wire.close)
        return wire

    def file(self, name):
        return os.path.join(self.dir, name)

    # ---- configuration and life of the daemon

    def configure(self, changes):
        """Merges {section: {key: value}} into the file; None drops a key."""
        base = self.config or {
            "gate": {"bridges": "br0", "uplinks": "eth0", "max_vms": 64,
                     # Else the first minute adopts flows free of charge.
                     "grace": 0},
            "default": {"state": "allow"},
            "metrics": {"listen": "127.0.0.1:9625"},
            "control": {"socket": self.socket_path, "group": STAFF, "readers": READERS},
            "store": {"path": self.file("gate25.db")},
            "bpf": {"pin": self.pin},
        }
        for section, keys in changes.items():
            base.setdefault(section, {}).update(keys)
        self.config = base
        self.write_config("\n".join(
            f"[{section}]\n" + "".join(f"{k} = {v}\n" for k, v in keys.items() if v is not None)
            for section, keys in base.items()))

    def write_config(self, text):
        with open(self.config_path, "w") as f:
            f.write(text)

    def program(self, name):
        return os.path.join(BUILD, name)

    def spawn(self, argv=None, **kwargs):
        """The daemon as a child in the host's namespace, its words going to the log."""
        argv = argv or [self.program("gate25d"), "--config", self.config_path]
        if CONFINED and argv[0].startswith(BUILD):
            argv = [*self._confine(argv[0]), *argv[1:]]
        if argv[0].startswith(BUILD):
            argv = [*WRAPPER, *argv]
        with open(self.log_path, "a") as log:
            return self.host.popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **kwargs)

    def _confine(self, program):
        """Hands over what the daemon is to write, whoever made it; words to run it by."""
        home = self.file("service")
        if not os.path.exists(home):
            service.make_home(home, self.bpffs)
        files = [entry.path for entry in os.scandir(self.dir) if entry.is_file()]
        os.chown(self.dir, service.UID, service.GID)
        service.give(service.UID, self.bpffs, *files)
        return service.command(home, program, keep=self.dir)

    def give(self, path):
        """A directory made by a test for the daemon, to the user that it runs as."""
        if CONFINED:
            service.give(service.UID, path)

    def start(self, timeout=15, **kwargs):
        if self.daemon:
            raise RuntimeError("the daemon runs already")
        if not hasattr(self, "_ends"):
            self._ends = self.stack.callback(self.stop)
        self.daemon = self.spawn(**kwargs)
        self.wait_ready(timeout)

    def wait_ready(self, timeout=15):
        def ready():
            if self.daemon.poll() is not None:
                raise RuntimeError(f"the daemon ended with {self.daemon.returncode}: {self.log()}")
            try:
                return self.http("GET", "/v1/status")[0] == 200
            except OSError:
                return False
        wait_for(ready, timeout, "answer on the control socket")

    def stop(self, sig=signal.SIGTERM):
        """Ends the daemon, returns its exit status."""
        if not self.daemon:
            return None
        daemon, self.daemon = self.daemon, None
        end(daemon, sig)
        self.check_memory()
        return daemon.returncode

    def check_memory(self):
        """What a sanitizer or valgrind has to say, where the daemon runs under one."""
        found = re.search(r"^.*(Sanitizer|runtime error:|ERROR SUMMARY: [1-9])[^\0]{,4000}",
                          self.log(), re.M)
        assert not found, found[0]

    def kill(self):
        self.stop(signal.SIGKILL)

    def restart(self):
        self.stop()
        self.start()

    def reload(self):
        self.daemon.send_signal(signal.SIGHUP)

    def log(self):
        try:
            with open(self.log_path) as f:
                return f.read()
        except FileNotFoundError:
            return ""

    # ---- talking to it

    def run_cli(self, *args, uid=0, groups=(), stdin=None, timeout=20):
        """gate25 with these arguments: (exit code, stdout, stderr)."""
        # under sudo the CLI would name the person; here it is always root who asks
        ids = {"env": {k: v for k, v in os.environ.items() if k != "SUDO_USER"}}
        name = "gate25"
        if WRAPPER:
            ids["env"]["TMPDIR"] = "/tmp"  # the test's own is closed to other users
            name = "gate25-more"  # all commands: where gate25 hands over the wrapper would be left
        if uid or groups:
            ids |= {"user": uid, "group": pwd.getpwuid(uid).pw_gid,
                   "extra_groups": [grp.getgrnam(g).gr_gid for g in groups]}
        with self.host.entered():
            done = subprocess.run([*WRAPPER, self.program(name), "--socket", self.socket_path,
                                   *map(str, args)], input=stdin or "", text=True,
                                  capture_output=True, timeout=timeout * PATIENCE, cwd="/", **ids)
        return done.returncode, done.stdout, done.stderr

    def cli(self, *args, **kwargs):
        """gate25 that must succeed: what it printed."""
        code, out, err = self.run_cli(*args, **kwargs)
        if code:
            raise CliError(f"gate25 {' '.join(map(str, args))}: exit {code}: {err.strip()}")
        return out

    def json(self, *args, **kwargs):
        return json.loads(self.cli("--json", *args, **kwargs))

    def register(self, n, *, name=None, tenant=None, addresses=True, **more):
        """Registers guest n as vm:webN with its port, MAC and addresses; returns the subject."""
        guest, name = self.guests[n], name or f"web{n}"
        body = {"ports": [guest.port], "tenant": tenant, **more}
        if addresses:
            body.update(macs=[guest.mac], ips=[guest.ip4, guest.ip6])
        status, answer = self.http("PUT", f"/v1/vms/{name}?mode=create", body)
        assert status in (200, 201), answer
        return f"vm:{name}"

    def show(self, subject):
        return self.json("show", subject)

    def counters(self, subject):
        return self.show(subject)["counters"]

    def status(self):
        return self.json("status")

    def state(self, subject):
        return self.show(subject)["effective"]["state"]

    def http(self, method, path, body=None, headers=None, timeout=10):
        """A request on the control socket: (status, body), JSON decoded but for JSON Lines."""
        connection = UnixHttp(self.socket_path, timeout * PATIENCE)
        try:
            data = json.dumps(body) if isinstance(body, (dict, list)) else body
            connection.request(method, path, data, headers or {})
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.getheader("Content-Type", "").startswith("application/json"):
            return answer.status, json.loads(text)
        return answer.status, text

    def policy_path(self, subject):
        return "/v1/policies/" + urllib.parse.quote(subject, safe="")

    def scrape(self, path="/metrics", headers=None):
        """The metrics page: (status, headers, text)."""
        connection = http.client.HTTPConnection("127.0.0.1", 9625, timeout=10 * PATIENCE)
        with self.host.entered():
            connection.connect()
        try:
            connection.request("GET", path, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read().decode()
        finally:
            connection.close()

    def metrics(self):
        """{name: {frozenset of (label, value): number}}."""
        found = {}
        for line in self.scrape()[2].splitlines():
            if not line or line.startswith("#"):
                continue
            match = re.fullmatch(r'([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)', line)
            assert match, f"not a sample: {line!r}"
            labels = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[2] or "")
            found.setdefault(match[1], {})[frozenset(labels)] = float(match[3])
        return found

    def metric(self, name, **labels):
        """Sum of the samples of `name` that bear these labels."""
        want = set(labels.items())
        return sum(v for k, v in self.metrics().get(name, {}).items() if want <= set(k))

    # ---- judging

    poll = staticmethod(wait_for)

    @contextlib.contextmanager
    def expect(self, subject, **deltas):
        """
        Holds the counters of `subject` to these differences over the block. Verdicts that
        are not named must not have moved; a difference may be a function of the value.
        """
        before = self.counters(subject)
        yield
        wanted = {**dict.fromkeys(VERDICTS, 0), **deltas}

        def wrong():
            now = self.counters(subject)
            moved = {key: now[key] - before[key] for key in wanted}
            return {key: moved[key] for key, want in wanted.items()
                    if not (want(moved[key]) if callable(want) else want == moved[key])}

        # Counters are read live; only frames in flight may still be on their way.
        deadline = time.monotonic() + 2
        while (left := wrong()) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not left, f"{subject}: moved by {left}, wanted " \
            f"{ {k: v for k, v in wanted.items() if k in left} }"

    def hooked(self, ifname):
        """Is there a from_vm on this port, by the daemon's word?"""
        return any(p["name"] == ifname and p.get("from_vm") for p in self.status()["ports"])

    def wait_hooked(self, ifname, timeout=5):
        wait_for(lambda: self.hooked(ifname), timeout, f"from_vm on {ifname}")

    def close(self):
        self.stack.close()
