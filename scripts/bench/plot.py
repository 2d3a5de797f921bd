# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Line charts as SVG, by hand: axes with powers of ten, one line for each contender."""

import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP_EDGE, BOTTOM = 72, 170, 48, 52
COLOURS = {"gate25": "#0b6e4f", "gate25 block (CLI)": "#0b6e4f", "control API": "#5aa787",
           "nft bridge": "#c1440e", "nft netdev": "#e08e45", "nft -j list": "#c1440e",
           "nft add element": "#c1440e", "ipset": "#6b4c9a", "no filter": "#777777",
           "drop all": "#777777"}
SPARE = ("#1f5fa8", "#a8871f", "#8a1f5f")


class Axis:
    """Values on a line of pixels; logarithmic, or from zero."""

    def __init__(self, values, start, end, log):
        self.start, self.end, self.log = start, end, log
        low, high = min(values), max(values)
        if log:
            self.low, self.high = math.floor(math.log10(low)), math.ceil(math.log10(high))
            if self.low == self.high:
                self.high += 1
        else:
            self.step = nice_step(high)
            self.low, self.high = 0, self.step * math.ceil(high / self.step)

    def at(self, value):
        place = math.log10(value) if self.log else value
        return self.start + (place - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self):
        if self.log:
            return [10.0 ** e for e in range(self.low, self.high + 1)]
        return [i * self.step for i in range(int(round(self.high / self.step)) + 1)]


def nice_step(high):
    """1, 2 or 5 times a power of ten, about five of them."""
    power = 10 ** math.floor(math.log10(high / 5))
    return next(power * m for m in (1, 2, 5, 10) if high / (power * m) <= 6)


def number(value):
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def text(x, y, words, anchor="middle", extra=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {extra}>{escape(words)}</text>'


def frame(title, x_axis, y_axis, x_label, y_label):
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
           f'width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="12" '
           'fill="#222">', f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
           text(LEFT, 26, title, "start", 'font-size="15" font-weight="bold"')]
    for value in y_axis.ticks():
        y = y_axis.at(value)
        out.append(f'<path d="M{LEFT} {y:.1f}H{right}" stroke="#e4e4e4"/>')
        out.append(text(LEFT - 8, y + 4, number(value), "end"))
    for value in x_axis.ticks():
        x = x_axis.at(value)
        out.append(f'<path d="M{x:.1f} {bottom}v5" stroke="#888"/>')
        out.append(text(x, bottom + 20, number(value)))
    out.append(f'<path d="M{LEFT} {TOP_EDGE}V{bottom}H{right}" stroke="#888" fill="none"/>')
    out.append(text((LEFT + right) / 2, HEIGHT - 12, x_label))
    middle = (TOP_EDGE + bottom) / 2
    out.append(text(18, middle, y_label, "middle", f'transform="rotate(-90 18 {middle:.1f})"'))
    return out


def spread_labels(wanted):
    """Heights of the labels, none nearer to the next than a line of text."""
    placed = {}
    last = -math.inf
    for y, name in sorted(wanted):
        last = placed[name] = max(y, last + 15)
    return placed


def chart(path, title, lines, x_label, y_label, log_x=True, log_y=True, steps=False):
    """Writes a chart; lines: {name: [[x, y], …]}. steps: a distribution, without points."""
    lines = {name: sorted(points) for name, points in lines.items() if points}
    x_axis = Axis([x for p in lines.values() for x, _ in p], LEFT, WIDTH - RIGHT, log_x)
    y_axis = Axis([y for p in lines.values() for _, y in p], HEIGHT - BOTTOM, TOP_EDGE, log_y)
    out = frame(title, x_axis, y_axis, x_label, y_label)
    labels = spread_labels([(y_axis.at(points[-1][1]) + 4, name)
                            for name, points in lines.items()])
    for i, (name, points) in enumerate(lines.items()):
        colour = COLOURS.get(name, SPARE[i % len(SPARE)])
        at = [(x_axis.at(x), y_axis.at(y)) for x, y in points]
        dash = ' stroke-dasharray="5 4"' if name in ("no filter", "drop all") else ""
        out.append('<polyline fill="none" stroke-width="2" stroke="%s"%s points="%s"/>' % (
            colour, dash, " ".join(f"{x:.1f},{y:.1f}" for x, y in at)))
        if not steps:
            out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in at]
        out.append(text(WIDTH - RIGHT + 10, labels[name], name, "start", f'fill="{colour}"'))
    with open(path, "w") as f:
        f.write("\n".join(out) + "\n</svg>\n")
