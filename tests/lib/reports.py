# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""What sanitizers and valgrind have to say of any program of a test, in files of a directory:
`make net-sanitized` and `make net-valgrind` set it, and tell those where to write."""

import os
import re
import secrets

# valgrind passes these on to the kernel, and only does not know what they write; pidfd_open,
# which it does not know at all, fails, as on a kernel that is too old for it
NOISE = re.compile(r"^--\d+-- (WARNING: unhandled eBPF command \d+"
                   r"|WARNING: unhandled amd64-linux syscall: 434"
                   r"|You may be able to write your own handler\."
                   r"|Read the file README_MISSING_SYSCALL_OR_IOCTL\."
                   r"|Nevertheless we consider this a bug\.  Please report"
                   r"|it at http://valgrind\.org/support/bug_reports\.html\.)\n", re.M)
DIRECTORY = os.environ.get("GATE25_REPORTS")
# Each file of tests counts its processes from 1: this tells their reports apart.
os.environ["GATE25_RUN"] = secrets.token_hex(4)


def check():
    """Fails with what was reported since the last time, and forgets it."""
    said = []
    for entry in os.scandir(DIRECTORY) if DIRECTORY else ():
        with open(entry.path, errors="replace") as f:
            text = NOISE.sub("", f.read()).strip()
        if text:  # of one that runs still there may be nothing to read yet
            said.append(text[:4000])
            os.unlink(entry.path)
    assert not said, "\n".join(said)
