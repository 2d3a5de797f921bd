# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Network namespaces without names: held by a descriptor, gone with this process.

isolate() runs the program again in a mount, PID and network namespace of its own, so
that whatever way it ends the kernel takes back every process, mount and interface.
"""

import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
import sys
import tempfile

CLONE_NEWNET = 0x40000000
ISOLATED = "GATE25_LAB_ISOLATED"

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result):
    if result:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def isolate():
    """Returns in the isolated copy of the program; the first one never returns."""
    if os.environ.get(ISOLATED) and os.getpid() == 1:
        return
    if os.geteuid():
        sys.exit(f"{os.path.basename(sys.argv[0])}: needs root, for network namespaces and BPF")
    os.environ[ISOLATED] = "yes"
    unshare = shutil.which("unshare") or "/usr/bin/unshare"
    os.execv(unshare, ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child",
                       "--mount-proc", sys.executable, *sys.argv])


def add_line(path, line):
    """Puts a line to a file of the system, for as long as this program runs."""
    with open(path) as f:
        text = f.read()
    with tempfile.NamedTemporaryFile("w", prefix="gate25-") as f:
        f.write(text + line + "\n")
        f.flush()
        os.chmod(f.name, 0o644)
        subprocess.run(["mount", "--bind", f.name, path], check=True)


def open_to_all(path, at="/mnt"):
    """
    A directory that every user may come to: `path`, or, where one above it keeps others out as a
    home of root's does, the same directory bound to `at`, for as long as this program runs.
    """
    above = os.path.abspath(path)
    while above != "/" and (not os.path.exists(above) or os.stat(above).st_mode & 0o001):
        above = os.path.dirname(above)
    if above == "/" or os.getpid() != 1:
        return path
    os.makedirs(path, exist_ok=True)
    subprocess.run(["mount", "--bind", path, at], check=True)
    return at


class Namespace:
    """A network namespace; `with ns.entered():` makes sockets in it."""

    def __init__(self, name):
        self.name = name
        home = os.open("/proc/self/ns/net", os.O_RDONLY)
        try:
            _check(_libc.unshare(CLONE_NEWNET))
            try:
                self.fd = os.open("/proc/self/ns/net", os.O_RDONLY)
            finally:
                _check(_libc.setns(home, CLONE_NEWNET))
        finally:
            os.close(home)
        self.ip("link set lo up")

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    @property
    def path(self):
        """For `ip link set DEV netns PATH`."""
        return f"/proc/{os.getpid()}/fd/{self.fd}"

    @contextlib.contextmanager
    def entered(self):
        home = os.open("/proc/self/ns/net", os.O_RDONLY)
        _check(_libc.setns(self.fd, CLONE_NEWNET))
        try:
            yield
        finally:
            _check(_libc.setns(home, CLONE_NEWNET))
            os.close(home)

    def socket(self, *args, **kwargs):
        with self.entered():
            return socket.socket(*args, **kwargs)

    def popen(self, argv, **kwargs):
        """A process of this namespace."""
        with self.entered():
            return subprocess.Popen([str(a) for a in argv], **kwargs)

    def run(self, argv, check=True, timeout=30, **kwargs):
        kwargs.setdefault("stdout", subprocess.PIPE)
        kwargs.setdefault("stderr", subprocess.PIPE)
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        with self.entered():
            done = subprocess.run([str(a) for a in argv], timeout=timeout, text=True, **kwargs)
        if check and done.returncode:
            raise RuntimeError(f"{self.name}: {' '.join(map(str, argv))}: exit {done.returncode}: "
                               f"{(done.stderr or done.stdout or '').strip()}")
        return done

    def ip(self, *lines):
        """Commands of ip(8), run as one batch."""
        text = "\n".join(lines) + "\n"
        with self.entered():
            done = subprocess.run(["ip", "-batch", "-"], input=text, text=True,
                                  capture_output=True)
        if done.returncode:
            raise RuntimeError(f"{self.name}: ip: {done.stderr.strip()[:500]} in:\n{text[:1000]}")
        return done.stdout

    def sysctl(self, key, value):
        # /proc/sys/net shows the namespace of the thread that opens it.
        with self.entered(), open("/proc/sys/" + key.replace(".", "/"), "w") as f:
            f.write(str(value))
