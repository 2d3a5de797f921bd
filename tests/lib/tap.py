# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Two tap devices joined by a thread, as a hypervisor joins a guest's virtio-net to its tap.

What a veth hides shows here: checksums left to the other side travel in the virtio-net
header, a port without receive offload gets them finished, and frames arrive on their own
time instead of within the sender's system call.
"""

import fcntl
import os
import select
import struct
import threading

TUNSETIFF, TUNSETOFFLOAD = 0x400454ca, 0x400454d0
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
TUN_F_CSUM = 0x01


def open_tap(ns, name, partial):
    """A tap in `ns`; `partial`: whoever reads it takes unfinished checksums."""
    with ns.entered():
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(),
                                               IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
        fcntl.ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM if partial else 0)
    return fd


class TapPair:
    """tx: the guest leaves checksums unfinished; rx: it takes unfinished ones."""

    def __init__(self, host, port, guest, inner, tx, rx):
        self.ends = [open_tap(host, port, rx), open_tap(guest, inner, tx)]
        self.stopped, self.stop = os.pipe()
        self.thread = threading.Thread(target=self._pump, daemon=True)
        self.thread.start()

    def _pump(self):
        other = {self.ends[0]: self.ends[1], self.ends[1]: self.ends[0]}
        while True:
            for fd in select.select([*self.ends, self.stopped], [], [])[0]:
                if fd == self.stopped:
                    return
                try:
                    os.write(other[fd], os.read(fd, 1 << 17))
                except OSError:
                    pass  # the other end is down: a frame to a guest that is off

    def close(self):
        os.write(self.stop, b"x")
        self.thread.join()
        for fd in (*self.ends, self.stopped, self.stop):
            os.close(fd)
