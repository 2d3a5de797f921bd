# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""A machine under QEMU without KVM, booted from a kernel and an initramfs."""

import json
import os
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


class Machine:
    """
    The kernel's own words go to one serial port, what the script prints to another.
    `taps`: [(name of a tap, MAC)], in the namespace `ns`, which the machine runs in.
    """

    def __init__(self, kernel, initramfs, directory, name, cpus=1, memory=256, taps=(), ns=None,
                 incoming=None):
        self.output_path = os.path.join(directory, f"{name}.out")
        self.console_path = os.path.join(directory, f"{name}.console")
        self._qmp_path = os.path.join(directory, f"{name}.qmp")
        argv = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", cpus,
                "-m", memory, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                "-kernel", kernel.image, "-initrd", initramfs,
                "-append", "console=ttyS0 quiet panic=-1",
                "-serial", f"file:{self.console_path}", "-serial", f"file:{self.output_path}",
                "-qmp", f"unix:{self._qmp_path},server=on,wait=off"]
        for number, (tap, mac) in enumerate(taps):
            argv += ["-netdev", f"tap,id=n{number},ifname={tap},script=no,downscript=no",
                     "-device", f"virtio-net-pci,netdev=n{number},mac={mac},romfile="]
        if incoming:
            argv += ["-incoming", f"unix:{incoming}"]
        popen = ns.popen if ns else subprocess.Popen
        self.process = popen([str(word) for word in argv], stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self._qmp = None

    def output(self):
        try:
            with open(self.output_path, errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def wait(self, timeout):
        """Until the machine has switched itself off: what its script printed."""
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.close()
            raise AssertionError(f"not done within {timeout} s: {self.tail()}") from None
        return self.output()

    def wait_output(self, text, timeout=60):
        def there():
            if self.process.poll() is not None:
                raise AssertionError(f"the machine ended: {self.tail()}")
            return text in self.output()
        wait_for(there, timeout, f"'{text}' from the machine")

    def tail(self):
        with open(self.console_path, errors="replace") as f:
            console = f.read()
        said = self.process.stderr.read().decode() if self.process.poll() is not None else ""
        return "\n".join((said + console[-1500:] + self.output()[-1500:]).splitlines()[-30:])

    def qmp(self, command, **arguments):
        """A command to QEMU itself; its answer."""
        if not self._qmp:
            wait_for(lambda: os.path.exists(self._qmp_path), what="QMP socket")
            self._qmp = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._qmp.settimeout(20)
            self._qmp.connect(self._qmp_path)
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
        if self._qmp:
            self._qmp.close()
            self._qmp = None
        end(self.process)
