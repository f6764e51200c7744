"""Plots of the report page as inline SVG: a histogram, and a learning curve.

Lives here: axes, shapes, ticks. Keep out: bars in lines of text (`parts`), what is plotted (`whole`). Coordinates
are rounded to a tenth, so equal numbers give equal bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dataset_pipeline.transforms.page.parts import SPLITS, count, text

WIDTH, HEIGHT = 480, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 24, 44
"""Room for the ticks, so that 13 px stay readable on a telephone."""
BINS = 20


@dataclass(frozen=True)
class Histogram:
    """Counts of whole numbers in bins of equal width from 0; the last bin holds all that is longer."""

    width: int
    counts: Mapping[str, tuple[int, ...]]
    """Split to the count of each bin."""
    is_open: bool
    """Whether longer ones stand in the last bin."""


def histogram(values: Mapping[str, Sequence[int]], high: int) -> Histogram:
    """values: split to whole numbers, not negative. high: what the bins must reach; longer ones stand in the last."""
    longest = max((max(v) for v in values.values() if v), default=0)
    width = _nice(max(1, math.ceil((min(high, longest) + 1) / BINS)))
    bins = max(1, math.ceil((min(high, longest) + 1) / width))
    counts = {}
    for split, numbers in values.items():
        found = [0] * bins
        for number in numbers:
            found[min(number // width, bins - 1)] += 1
        counts[split] = tuple(found)
    return Histogram(width, counts, longest >= bins * width)


def _nice(number: int) -> int:
    """The next of 1, 2, 5, 10, 20, 50, …"""
    scale = 1
    while True:
        for step in (1, 2, 5):
            if step * scale >= number:
                return step * scale
        scale *= 10


def histogram_svg(found: Histogram, unit: str) -> str:
    """Stacked columns, a colour for each split; unit: what the numbers count."""
    columns = [sum(found.counts[s][n] for s in found.counts) for n in range(_bins(found))]
    top = max([*columns, 1])
    wide = (WIDTH - _LEFT - _RIGHT) / len(columns)
    shapes = []
    for n in range(len(columns)):
        y = float(HEIGHT - _BOTTOM)
        for split in SPLITS:
            tall = found.counts.get(split, (0,) * len(columns))[n] / top * (HEIGHT - _TOP - _BOTTOM)
            if tall:
                y -= tall
                shapes.append(
                    f'<rect class="{split}" x="{_LEFT + n * wide:.1f}" y="{y:.1f}" width="{max(wide - 1, 1):.1f}" height="{tall:.1f}"/>'
                )
    step = max(1, math.ceil(len(columns) / 6))
    ticks = [(n * wide, count(n * found.width)) for n in range(0, len(columns), step)]
    if found.is_open:
        ticks = [t for t in ticks if t[0] < (len(columns) - 2) * wide]
        ticks.append(((len(columns) - 1) * wide, f"{count((len(columns) - 1) * found.width)}+"))
    marks = "".join(_tick_x(_LEFT + x, words) for x, words in ticks)
    return _plot(
        f"Histogram: records by {unit}",
        _axes("records", unit, [(0.0, "0"), (1.0, count(top))]) + "".join(shapes) + marks,
    )


def _bins(found: Histogram) -> int:
    return max((len(counts) for counts in found.counts.values()), default=1)


def curve_svg(points: Sequence[tuple[int, float, float]], error: float, base: float) -> str:
    """Accuracy (solid, with the band of chance around it) and macro F1 (dashed) by records, on a logarithmic axis.

    points: records, accuracy, macro F1 (0 to 1), at least one. error: half the width of the band; base: the share that
    is right without learning.
    """
    low, high = math.log2(points[0][0]), math.log2(points[-1][0])
    wide, tall = WIDTH - _LEFT - _RIGHT - 24, HEIGHT - _TOP - _BOTTOM

    def x(size: int) -> float:
        return _LEFT + 12 + (wide * (math.log2(size) - low) / (high - low) if high > low else wide / 2)

    def y(value: float) -> float:
        return HEIGHT - _BOTTOM - tall * min(1.0, max(0.0, value))

    upper = [f"{x(n):.1f},{y(a + error):.1f}" for n, a, _ in points]
    lower = [f"{x(n):.1f},{y(a - error):.1f}" for n, a, _ in reversed(points)]
    shapes = [f'<polygon class="band" points="{" ".join(upper + lower)}"/>',
              f'<path class="base" d="M{_LEFT},{y(base):.1f}H{WIDTH - _RIGHT}"/>']  # fmt: skip
    for kind, which in (("curve second", 2), ("curve", 1)):
        line = " ".join(f"{x(p[0]):.1f},{y(p[which]):.1f}" for p in points)
        shapes.append(f'<polyline class="{kind}" points="{line}"/>')
    shapes += [f'<circle class="train" cx="{x(n):.1f}" cy="{y(a):.1f}" r="3.5"/>' for n, a, _ in points]
    marks = "".join(_tick_x(x(n), count(n)) for n, _, _ in points)
    sides = [(share / 4, f"{25 * share} %") for share in range(5)]
    return _plot(
        "Learning curve: accuracy by records of train",
        _axes("right on validation", "records of train", sides) + "".join(shapes) + marks,
    )


def _axes(up: str, along: str, ticks: Sequence[tuple[float, str]]) -> str:
    """ticks: place from 0 (bottom) to 1 (top), and words."""
    bottom, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
    lines = []
    for place, words in ticks:
        y = bottom - place * (bottom - _TOP)
        lines.append(f'<path class="axis" d="M{_LEFT},{y:.1f}H{right}"/>')
        lines.append(
            f'<text class="quiet" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text(words)}</text>'
        )
    return (
        "".join(lines)
        + f'<text class="quiet" x="{_LEFT}" y="12">{text(up)}</text>'
        + f'<text class="quiet" x="{right}" y="{HEIGHT - 6}" text-anchor="end">{text(along)}</text>'
    )


def _tick_x(x: float, words: str) -> str:
    return f'<text class="quiet" x="{x:.1f}" y="{HEIGHT - _BOTTOM + 17}" text-anchor="middle">{text(words)}</text>'


def _plot(title: str, inner: str) -> str:
    return f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"><title>{text(title)}</title>{inner}</svg>'
