# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Rows of the table and how they are written."""

import dataclasses


@dataclasses.dataclass
class Row:
    goal_number: int
    what: str
    figure: str
    goal: str = ""
    met: bool = None  # None: cannot be said without the peer
    peer: str = None
    peer_name: str = None
    ratio: float = None
    detail: dict = dataclasses.field(default_factory=dict)

    def verdict(self):
        return "-" if self.met is None else "met" if self.met else "NOT MET"


def ns(value):
    return f"{value:.1f} ns" if abs(value) < 100 else f"{value:.0f} ns"


def times(value):
    return f"{value:.3f}x"


def seconds(value):
    if value >= 1:
        return f"{value:.2f} s"
    if value >= 1e-3:
        return f"{value * 1e3:.1f} ms"
    return f"{value * 1e6:.0f} us"


HEAD = ("#", "what", "figure", "peer", "ratio", "goal", "")


def cells(row):
    peer = f"{row['peer']} ({row['peer_name']})" if row.get("peer") else ""
    ratio = f"{row['ratio']:.2f}" if row.get("ratio") is not None else ""
    return (str(row["goal_number"]), row["what"], row["figure"], peer, ratio, row["goal"],
            row["verdict"])


def as_json(row):
    return {**dataclasses.asdict(row), "verdict": row.verdict()}


def table(rows):
    """Text in columns, for a terminal."""
    lines = [HEAD, *(cells(r) for r in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths)).rstrip()
                     for line in lines)


def markdown(rows):
    out = ["| " + " | ".join(HEAD) + " |", "|" + " --- |" * len(HEAD)]
    return "\n".join(out + ["| " + " | ".join(cells(r)) + " |" for r in rows])
