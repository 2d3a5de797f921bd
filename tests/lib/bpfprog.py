# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Programs of others on a hook: a few instructions, by bpf(2) itself, for tools that know tcx
are newer than the system's."""

import ctypes
import os
import platform
import struct

_libc = ctypes.CDLL(None, use_errno=True)
_BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]
PROG_LOAD, OBJ_PIN, LINK_CREATE = 5, 6, 28
SCHED_CLS, XDP = 3, 6
XDP_HOOK, XDP_PASS = 37, 2
INGRESS, EGRESS = 46, 47
BEFORE, AFTER = 1 << 3, 1 << 4
UNSPEC, OK, SHOT = -1, 0, 2


def _bpf(command, attr):
    buffer = ctypes.create_string_buffer(attr, max(len(attr), 144))
    result = _libc.syscall(_BPF, command, buffer, len(buffer))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def load(answer, mark=None, kind=SCHED_CLS):
    """A program that gives this answer, and before that sets the mark: its descriptor."""
    code = b""
    if mark is not None:
        # *(u32 *)(r1 + offsetof(struct __sk_buff, mark)) = mark
        code += struct.pack("<BBhi", 0x62, 0x01, 8, mark)
    code += struct.pack("<BBhi", 0xb7, 0x00, 0, answer)  # r0 = answer
    code += struct.pack("<BBhi", 0x95, 0x00, 0, 0)       # exit
    insns = ctypes.create_string_buffer(code, len(code))
    words = ctypes.create_string_buffer(b"GPL")
    return _bpf(PROG_LOAD, struct.pack("<IIQQ", kind, len(code) // 8,
                                       ctypes.addressof(insns), ctypes.addressof(words)))


def attach(ns, ifname, program, hook=INGRESS, flags=0):
    """A tcx link in the namespace; it goes when its descriptor is closed."""
    with ns.entered():
        index = _if_index(ifname)
        return _bpf(LINK_CREATE, struct.pack("<IIIIIIQ", program, index, hook, flags, 0, 0, 0))


def _if_index(ifname):
    index = _libc.if_nametoindex(ifname.encode())
    if not index:
        raise OSError(f"no link {ifname}")
    return index


def pin(program, path):
    """For `tc filter … bpf object-pinned`."""
    name = ctypes.create_string_buffer(path.encode())
    _bpf(OBJ_PIN, struct.pack("<QI", ctypes.addressof(name), program))
