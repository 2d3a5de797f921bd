# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""OpenSMTPD, though its package and Postfix's exclude each other: unpacked, not installed.

fetch() runs where there is a network, before isolate(); the server runs in the root file
system with the package laid over it, which only the test's own mount namespace sees.
"""

import glob
import os
import shutil
import subprocess
import tempfile

from lab import BUILD
from mail import end, listening, wait_for

PACKAGES = ["opensmtpd", "libevent-2.1-7", "libdb5.3"]
HOME = os.path.join(BUILD, "opensmtpd")
PROGRAM = "usr/sbin/smtpd"

CONF = """\
pki far cert "/etc/mx.crt"
pki far key "/etc/mx.key"
{listen}
action "away" relay host "smtp://127.0.0.1:9"
match from any for any action "away"
"""


def fetch():
    """Downloads and unpacks the package once; silent where that fails, see present()."""
    if present():
        return
    with tempfile.TemporaryDirectory(prefix="gate25-smtpd-") as scratch:
        done = subprocess.run(["apt-get", "-qq", "download", *PACKAGES], cwd=scratch, check=False,
                              stdin=subprocess.DEVNULL, capture_output=True)
        packages = glob.glob(os.path.join(scratch, "*.deb"))
        if done.returncode or not packages:
            return
        unpacked = os.path.join(scratch, "root")
        for package in packages:
            subprocess.run(["dpkg", "-x", package, unpacked], check=True)
        # /lib is a link in a root file system of today: a directory would hide it.
        shutil.rmtree(os.path.join(unpacked, "lib"), ignore_errors=True)
        os.makedirs(os.path.dirname(HOME), exist_ok=True)
        shutil.copytree(unpacked, HOME, dirs_exist_ok=True, symlinks=True)


def present():
    return os.path.exists(os.path.join(HOME, PROGRAM))


class OpenSmtpd:
    """Takes all mail on these addresses, offers STARTTLS, and keeps what it took queued."""

    def __init__(self, ns, directory, addresses, cert, key):
        self.root = os.path.join(directory, "root")
        os.makedirs(directory)
        self._mount(directory)
        try:
            self._configure(addresses, cert, key)
            with open(os.path.join(directory, "log"), "wb") as log:
                self.process = ns.popen(["chroot", self.root, "/" + PROGRAM, "-d"],
                                        stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            for address in addresses:
                wait_for(lambda: self.process.poll() is not None or listening(ns, address, 25),
                         60, f"OpenSMTPD on {address}")
            if self.process.poll() is not None:
                with open(os.path.join(directory, "log"), encoding="utf-8") as log:
                    raise RuntimeError(f"OpenSMTPD: {log.read()}")
        except BaseException:
            self._unmount()
            raise

    def _mount(self, directory):
        subprocess.run(["mount", "-t", "tmpfs", "smtpd", directory], check=True)
        self.mounts = [directory]
        for sub in ("upper", "work", "root"):
            os.mkdir(os.path.join(directory, sub))
        package = os.path.join(directory, "package")
        shutil.copytree(HOME, package, symlinks=True)
        layers = f"lowerdir={package}:/,upperdir={directory}/upper,workdir={directory}/work"
        for what in (["-t", "overlay", "-o", layers, "smtpd", self.root],
                     ["--bind", "/dev", f"{self.root}/dev"],
                     ["-t", "proc", "proc", f"{self.root}/proc"]):
            subprocess.run(["mount", *what], check=True)
            self.mounts.append(what[-1])

    def _unmount(self):
        for where in reversed(self.mounts):
            subprocess.run(["umount", "-l", where], check=False)

    def _path(self, name):
        return os.path.join(self.root, name)

    def _configure(self, addresses, cert, key):
        for name, line in (("passwd", "{0}:x:{1}:{1}::/var/lib/opensmtpd/empty:/bin/false\n"),
                           ("group", "{0}:x:{1}:\n")):
            with open(self._path(f"etc/{name}"), "a", encoding="utf-8") as f:
                f.write(line.format("opensmtpd", 60990) + line.format("opensmtpq", 60991))
        for name in ("var/lib/opensmtpd/empty", "var/spool/smtpd"):
            os.makedirs(self._path(name), exist_ok=True)
            os.chmod(self._path(name), 0o711)
        # Names that nobody resolves cost no time: nobody listens there.
        if os.path.lexists(self._path("etc/resolv.conf")):
            os.unlink(self._path("etc/resolv.conf"))
        with open(self._path("etc/resolv.conf"), "w", encoding="utf-8") as f:
            f.write("nameserver 127.0.0.1\n")
        shutil.copy(cert, self._path("etc/mx.crt"))
        shutil.copy(key, self._path("etc/mx.key"))
        os.chmod(self._path("etc/mx.key"), 0o600)
        with open(self._path("etc/smtpd.conf"), "w", encoding="utf-8") as f:
            f.write(CONF.format(listen="\n".join(f"listen on {a} tls pki far" for a in addresses)))

    def close(self):
        end(self.process)
        self._unmount()
