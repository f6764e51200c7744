"""Small pictures for Dagster's pages: a funnel, bars, columns; each one a line of Markdown with the SVG inside.

Lives here: shapes, and how they become Markdown. Keep out: what is counted (`assets.pictures`), plots of the report page
(`transforms.page`), which have a style sheet and room.

Dagster shows Markdown of under 1,000 characters in its place and hides a longer one behind a click, so a picture must be
shorter: bars are strokes of one path, text has one colour that is readable on white and on black, and lines are left out
until it fits. Equal numbers give equal bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from urllib.parse import quote

MAX_CHARS = 990
"""Of a picture's Markdown."""
MAX_NAME_CHARS = 22
MAX_ROWS = 12
BINS = 20
_WIDTH, _LINE, _LEFT = 420, 15, 172
_KEPT, _DROPPED, _TEXT = "#2b8ac6", "#e0662a", "#727a85"
_SAFE = " =:/'-.,;"
"""What stands unescaped in the address of an image in angle brackets."""


def funnel(rows: Sequence[tuple[str, int, int]]) -> str:
    """Step, records in, records kept, in the order of the steps: what is kept in blue, what is dropped in orange."""
    most = max((came for _, came, _ in rows), default=0)

    def draw(n: int) -> str:
        names, kept, dropped = [], [], []
        for place, (name, came, stayed) in enumerate(rows[:n]):
            names.append((f"{name} {stayed:,}", place))
            ends = _LEFT + _long(stayed, most), _LEFT + _long(came, most)
            kept.append((_LEFT, ends[0], place))
            dropped.append((ends[0], ends[1], place))
        return _texts(names) + _strokes(_KEPT, kept) + _strokes(_DROPPED, dropped)

    return _fitted("records kept (blue) and dropped (orange) by step", draw, len(rows))


def bars(title: str, counts: Mapping[str, int], is_loss: bool = False) -> str:
    """One bar for each name, the largest first; what does not fit is counted in a last line."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    most, whole = max(counts.values(), default=0), sum(counts.values())

    def draw(n: int) -> str:
        names = [(f"{_clip(name)} {count:,}", place) for place, (name, count) in enumerate(ordered[:n])]
        if left := ordered[n:]:
            names.append((f"and {len(left)} more {whole - sum(c for _, c in ordered[:n]):,}", n))
        lines = [(_LEFT, _LEFT + _long(count, most), place) for place, (_, count) in enumerate(ordered[:n])]
        return _texts(names) + _strokes(_DROPPED if is_loss else _KEPT, lines)

    return _fitted(title, draw, len(ordered))


def columns(title: str, unit: str, counts: Mapping[int, int]) -> str:
    """A histogram. counts: a whole number, not negative, to how many have it; the last column holds the longest 2 %."""
    high = _quantile(counts, 0.98)
    width = _nice(-(-(high + 1) // BINS))
    bins = high // width + 1
    found = [0] * bins
    for number, n in counts.items():
        found[min(number // width, bins - 1)] += n
    most, wide, floor = max(found), min(40, _WIDTH // bins), 76
    # The line is as wide as a column without its gap; a column that is not empty is never thinner than a pixel.
    lines = "".join(
        f"M{place * wide + wide // 2} {floor}v-{max(1, round(62 * n / most))}"
        for place, n in enumerate(found)
        if n
    )
    is_open = max(counts) >= bins * width
    end = f"{(bins - 1) * width:,}+" if is_open else f"{bins * width - 1:,}"
    inner = (
        f"<path stroke='{_KEPT}' stroke-width='{max(2, wide - 2)}' d='{lines}'/>"
        f"<text y='11'>up to {most:,} records</text><text y='90'>0</text>"
        f"<text x='{max(90, bins * wide)}' y='90' text-anchor='end'>{end} {escape(unit)}</text>"
    )
    return _markdown(title, inner, 94)


def _quantile(counts: Mapping[int, int], share: float) -> int:
    wanted, seen = share * sum(counts.values()), 0
    for number in sorted(counts):
        seen += counts[number]
        if seen >= wanted:
            return number
    return 0


def _nice(number: int) -> int:
    """The next of 1, 2, 5, 10, 20, 50, …"""
    scale = 1
    while True:
        for step in (1, 2, 5):
            if step * scale >= number:
                return step * scale
        scale *= 10


def _fitted(title: str, draw: Callable[[int], str], rows: int) -> str:
    """The picture with as many lines as Dagster shows without a click."""
    n = min(rows, MAX_ROWS)
    while True:
        lines = n + (1 if n < rows else 0)
        found = _markdown(title, draw(n), lines * _LINE + 2)
        if len(found) <= MAX_CHARS or n <= 1:
            return found
        n -= 1


def _long(n: int, most: int) -> int:
    return max(1, round((_WIDTH - _LEFT) * n / most)) if n else 0


def _clip(name: str) -> str:
    # Not printable: whatever controls, hides or turns text round.
    name = "".join(c if c.isprintable() else "\ufffd" for c in name)
    return name if len(name) <= MAX_NAME_CHARS else f"{name[: MAX_NAME_CHARS - 1]}…"


def _texts(names: Sequence[tuple[str, int]]) -> str:
    return "".join(
        f"<text y='{place * _LINE + 11}'>{escape(words, quote=False)}</text>" for words, place in names
    )


def _strokes(colour: str, lines: Sequence[tuple[int, int, int]]) -> str:
    """Bars as (left, right, line)."""
    path = "".join(
        f"M{left} {place * _LINE + 7}h{right - left}" for left, right, place in lines if right > left
    )
    return f"<path stroke='{colour}' stroke-width='10' d='{path}'/>" if path else ""


def _markdown(title: str, inner: str, height: int) -> str:
    svg = (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{_WIDTH}' height='{height}' fill='{_TEXT}' "
        f"style='font:12px sans-serif'>{inner}</svg>"
    )
    return f"![{title}](<data:image/svg+xml,{quote(svg, safe=_SAFE)}>)"
