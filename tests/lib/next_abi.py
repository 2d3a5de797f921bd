#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""next_abi.py ABI.H OUT: this version's ABI as a later one might have it.

Another number, and in every kind of map something that moves what follows: new fields in
front, in the middle and at the end, fields that changed places, one more counter and reason.
The tree is built against it, to try upgrades in place to it and back.
"""

import re
import sys

CHANGES = (
    # the number itself
    (r"#define GATE_ABI (\d+)", lambda m: f"#define GATE_ABI {int(m[1]) + 1}"),
    # a counter and a reason in the middle of their lists
    (r"(\tX\(flows_blocked\) +\\\n)", r"\1\tX(flows_greylisted) \\\n"),
    (r"(\tX\(NEW_FLOW, .*\\\n)", r'\1\tX(GREYLISTED, "greylisted", PASS) \\\n'),
    (r"== 26 \* 8, \"gate_counters\"", '== 27 * 8, "gate_counters"'),
    # a field in front
    (r"(struct gate_node \{\n)", r"\1\t__u64 hue;\n"),
    (r"sizeof\(struct gate_node\) == 112", "sizeof(struct gate_node) == 120"),
    (r"(struct gate_bucket_set \{\n)", r"\1\t__u64 hue;\n"),
    (r"sizeof\(struct gate_bucket_set\) == 48", "sizeof(struct gate_bucket_set) == 56"),
    (r"(struct gate_conf \{\n)", r"\1\t__u64 hue;\n"),
    (r"(struct gate_address \{\n)", r"\1\t__u32 hue;\n"),
    # fields that change places
    (r"(\t__u64 grace_until;.*\n)(\t__u64 event_tat;.*\n)", r"\2\1"),
    (r"(struct gate_port \{\n)(\t__u32 slot;\n)(\t__u32 flags;\n)", r"\1\3\t__u32 hue;\n\2"),
    (r"(struct gate_mac_key \{\n)(\t__u32 slot;\n)(\t__u8 mac\[6\];\n\t__u8 pad\[2\];\n)",
     r"\1\3\2"),
    # at the end
    (r"(struct gate_budget \{(?:\n\t.*)+)\n\};", r"\1\n\t__u64 hue;\n};"),
    (r"sizeof\(struct gate_budget\) == 104", "sizeof(struct gate_budget) == 112"),
)


def main():
    with open(sys.argv[1]) as f:
        text = f.read()
    for pattern, by in CHANGES:
        text, n = re.subn(pattern, by, text)
        if n != 1:
            sys.exit(f"next_abi.py: {n} places in {sys.argv[1]} look like {pattern!r}, not one")
    with open(sys.argv[2], "w") as f:
        f.write(text)


main()
