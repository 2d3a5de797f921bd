# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Kernels of Debian, unpacked and not installed, and initramfs images to boot them with."""

import glob
import lzma
import os
import re
import shutil
import stat
import subprocess
import zlib

from lab import BUILD, TOP

STORE = os.path.join(BUILD, "vm")
PATH = "/usr/sbin:/sbin:/usr/bin:/bin"


class Missing(Exception):
    """What is not to be had here, in a sentence."""


def _run(argv, **kwargs):
    return subprocess.run(argv, check=True, capture_output=True, text=True, **kwargs).stdout


def _newest(series, again=True):
    """Name and version of the newest cloud kernel of a series that apt offers."""
    pattern = rf"^linux-image-{re.escape(series)}\.[0-9].*-cloud-amd64$"
    names = [line.split()[0] for line in _run(["apt-cache", "search", "--names-only", pattern])
             .splitlines()]
    for name in sorted(names, key=lambda n: [int(d) for d in re.findall(r"\d+", n)], reverse=True):
        found = re.search(r"^Version: (\S+)", _run(["apt-cache", "show", name]), re.M)
        if found:
            return name, found[1]
    if again:  # a machine that has never asked has no lists
        subprocess.run(["apt-get", "-qq", "update"], check=False, capture_output=True)
        return _newest(series, again=False)
    return None


class Kernel:
    """A Debian cloud kernel of a series ("6.1"): its image and modules below build/vm."""

    def __init__(self, series):
        self.series = series
        self.dir = os.path.join(STORE, series)
        if not glob.glob(os.path.join(self.dir, "boot/vmlinuz-*")):
            self._fetch()
        self.image = glob.glob(os.path.join(self.dir, "boot/vmlinuz-*"))[0]
        self.release = os.path.basename(self.image)[len("vmlinuz-"):]
        self._modules = {}
        for path in glob.glob(os.path.join(self.dir, "**/*.ko*"), recursive=True):
            self._modules[os.path.basename(path).split(".")[0].replace("-", "_")] = path

    def _fetch(self):
        newest = _newest(self.series)
        if not newest:
            raise Missing(f"apt offers no cloud kernel {self.series} "
                          "(bookworm-security has 6.1 and 6.12)")
        fresh = self.dir + ".new"
        shutil.rmtree(fresh, ignore_errors=True)
        os.makedirs(fresh)
        # apt's own user may not write here; it then downloads as root and says so.
        _run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download",
              f"{newest[0]}={newest[1]}"], cwd=fresh, timeout=300)
        deb, = glob.glob(os.path.join(fresh, "*.deb"))
        _run(["dpkg", "-x", deb, fresh])
        os.unlink(deb)
        shutil.rmtree(self.dir, ignore_errors=True)
        os.rename(fresh, self.dir)

    def _text(self, name):
        with open(self._modules[name], "rb") as f:
            data = f.read()
        return lzma.decompress(data) if self._modules[name].endswith(".xz") else data

    def modules(self, names):
        """(name, contents) of these modules and what they need, in the order to insert them."""
        done = {}

        def add(name):
            name = name.replace("-", "_")
            if name in done or name not in self._modules:  # not there: built in
                return
            text = self._text(name)
            needs = re.search(rb"\0depends=([^\0]*)\0", text)
            # virtio_ring uses what virtio exports and the other way round, in 6.1.
            for need in filter(None, needs[1].decode().split(",") if needs else ()):
                add(need)
            done[name] = text

        for name in names:
            add(name)
        return list(done.items())


# What no test looks at makes two thirds of it.
USELESS = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/zoneinfo", "var/cache",
           "var/lib/apt/lists")


def debian(packages, suite="bookworm"):
    """The directory of a minimal Debian with these packages, made once by debootstrap."""
    path = os.path.join(STORE, f"{suite}-{zlib.crc32(' '.join(packages).encode()):08x}")
    if os.path.exists(path):
        return path
    fresh = path + ".new"
    shutil.rmtree(fresh, ignore_errors=True)
    os.makedirs(fresh)
    _run(["debootstrap", "--variant=minbase", f"--include={','.join(packages)}", suite, fresh])
    for useless in USELESS:
        shutil.rmtree(os.path.join(fresh, useless))
        os.mkdir(os.path.join(fresh, useless))
    os.rename(fresh, path)
    return path


def libraries(program):
    """The shared libraries that a program is linked with, its loader among them."""
    return sorted(set(re.findall(r"(/\S+) \(0x", _run(["ldd", program]))))


class Initramfs:
    """An archive for the kernel to unpack (cpio, "newc"), not compressed: TCG is slow."""

    def __init__(self):
        self._entries = {}

    def _parents(self, path):
        parent = os.path.dirname(path)
        if parent not in ("/", "") and parent not in self._entries:
            self._parents(parent)
            self._entries[parent] = (stat.S_IFDIR | 0o755, b"")

    def add(self, path, data, mode=0o755):
        self._parents(path)
        self._entries[path] = (stat.S_IFREG | mode, data)

    def link(self, path, target):
        self._parents(path)
        self._entries[path] = (stat.S_IFLNK | 0o777, target.encode())

    def directory(self, path):
        self._parents(path + "/.")

    def copy(self, source, path=None):
        with open(source, "rb") as f:
            self.add(path or source, f.read(), os.stat(source).st_mode & 0o777)

    def program(self, source, path=None):
        """A program without its debug information, and the libraries that it needs."""
        slim = os.path.join(STORE, "stripped")
        os.makedirs(STORE, exist_ok=True)
        _run(["strip", "-o", slim, source])
        self.copy(slim, path or source)
        os.unlink(slim)
        for library in libraries(source):
            if library not in self._entries:
                self.copy(library)

    def busybox(self):
        self.copy("/usr/bin/busybox" if os.path.exists("/usr/bin/busybox") else "/bin/busybox",
                  "/bin/busybox")
        for applet in set(_run(["busybox", "--list"]).split()) - {"busybox"}:
            self.link(f"/bin/{applet}", "busybox")

    def modules(self, kernel, names):
        order = []
        for name, text in kernel.modules(names):
            self.add(f"/modules/{name}.ko", text)
            order.append(name)
        self.add("/modules/order", "".join(f"{n}\n" for n in order).encode())

    def root(self, directory):
        """A whole root file system; owners and device nodes are left out."""
        for where, names, files in os.walk(directory):
            for name in names + files:
                source = os.path.join(where, name)
                path, mode = source[len(directory):], os.lstat(source).st_mode
                if stat.S_ISLNK(mode):
                    self._entries[path] = (mode, os.readlink(source).encode())
                elif stat.S_ISDIR(mode):
                    self._entries[path] = (mode, b"")
                elif stat.S_ISREG(mode):
                    with open(source, "rb") as f:
                        self._entries[path] = (mode, f.read())

    def tree(self, directory):
        """A directory of the repository, in its place below the root."""
        for path in sorted(glob.glob(os.path.join(TOP, directory, "*"))):
            self.copy(path, os.path.join("/", os.path.relpath(path, TOP)))

    def write(self, path):
        with open(path, "wb") as f:
            for number, (name, (mode, data)) in enumerate(
                    [*self._entries.items(), ("/TRAILER!!!", (0, b""))], 1):
                name = name.lstrip("/").encode() + b"\0"
                fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
                head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
                for part in (head, data):
                    f.write(part + bytes(-len(part) % 4))
