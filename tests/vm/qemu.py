# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""A machine under QEMU without KVM, booted from a kernel and an initramfs."""

import json
import os
import re
import socket
import subprocess

from mail import end, wait_for

INIT = """\
#!/bin/sh
export PATH=/usr/sbin:/sbin:/usr/bin:/bin
mkdir -p /proc /sys /dev /tmp /run
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
exec </dev/null >/dev/ttyS1 2>&1
while read m; do insmod /modules/$m.ko; done </modules/order
ip link set lo up
cd /
"""


SHELL = INIT + """\
stty raw -echo </dev/ttyS1
echo @ready
exec sh </dev/ttyS1
"""


class Machine:
    """
    The kernel's own words go to one serial port, what the script prints to another.
    `taps`: [(name of a tap, MAC)], in the namespace `ns`, which the machine runs in.
    `shell`: the script ends as a shell that shell() talks to, see SHELL.
    `incoming`: the socket where a running machine is expected.
    """

    def __init__(self, kernel, initramfs, directory, name, cpus=1, memory=256, taps=(), ns=None,
                 shell=False, incoming=None):
        self.output_path = os.path.join(directory, f"{name}.out")
        self.console_path = os.path.join(directory, f"{name}.console")
        self._qmp_path = os.path.join(directory, f"{name}.qmp")
        self._shell_path = os.path.join(directory, f"{name}.shell") if shell else None
        self._shell = self._qmp = None
        port = ["-chardev", f"socket,id=shell,path={self._shell_path},server=on,wait=off",
                "-serial", "chardev:shell"] if shell else ["-serial", f"file:{self.output_path}"]
        argv = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", cpus,
                "-m", memory, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                "-kernel", kernel.image, "-initrd", initramfs,
                "-append", "console=ttyS0 quiet panic=-1 no_timer_check",
                "-serial", f"file:{self.console_path}", *port,
                "-qmp", f"unix:{self._qmp_path},server=on,wait=off"]
        for number, (tap, mac) in enumerate(taps):
            argv += ["-netdev", f"tap,id=n{number},ifname={tap},script=no,downscript=no",
                     "-device", f"virtio-net-pci,netdev=n{number},mac={mac},romfile="]
        if incoming:
            argv += ["-incoming", f"unix:{incoming}"]
        popen = ns.popen if ns else subprocess.Popen
        self.process = popen([str(word) for word in argv], stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        if shell:
            self._shell = self._connect(self._shell_path)

    def output(self):
        try:
            with open(self.output_path, errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def wait(self, timeout):
        """Until the machine has switched itself off, or is late: what its script printed."""
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.close()
        return self.output()

    def _connect(self, path):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(60)

        def connected():
            if self.process.poll() is not None:
                raise AssertionError(f"the machine ended: {self.tail()}")
            try:
                sock.connect(path)
            except (FileNotFoundError, ConnectionRefusedError):
                return False
            return True
        wait_for(connected, what=f"{path}")
        return sock

    def _hear(self, pattern):
        """What the shell says up to this pattern: (text before it, match)."""
        heard = ""
        while not (match := re.search(pattern, heard)):
            try:
                data = self._shell.recv(4096)
            except TimeoutError:
                raise AssertionError(f"no {pattern} but: {heard}\n{self.tail()}") from None
            if not data:
                raise AssertionError(f"the machine ended: {self.tail()}")
            heard += data.decode(errors="replace")
        return heard[:match.start()], match

    def wait_ready(self):
        self._hear("@ready\\s")

    def shell(self, command):
        """A command in the machine: (exit status, what it printed)."""
        self._shell.sendall(f"{command}\necho @done $?\n".encode())
        text, match = self._hear(r"@done (\d+)\s")
        return int(match[1]), text.replace("\r", "")

    def tail(self):
        with open(self.console_path, errors="replace") as f:
            console = f.read()
        said = self.process.stderr.read().decode() if self.process.poll() is not None else ""
        return "\n".join((said + console[-1500:] + self.output()[-1500:]).splitlines()[-30:])

    def qmp(self, command, **arguments):
        """A command to QEMU itself; its answer."""
        if not self._qmp:
            self._qmp = self._connect(self._qmp_path)
            self._lines = self._qmp.makefile("r")
            self._lines.readline()  # the greeting
            self.qmp("qmp_capabilities")
        request = {"execute": command, **({"arguments": arguments} if arguments else {})}
        self._qmp.sendall(json.dumps(request).encode() + b"\n")
        while True:
            answer = json.loads(self._lines.readline())
            if "error" in answer:
                raise AssertionError(f"QEMU: {command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def close(self):
        for sock in filter(None, (self._qmp, self._shell)):
            sock.close()
        self._qmp = self._shell = None
        end(self.process)
