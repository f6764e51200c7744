"""Where a text is code: fenced, quoted, or by the look of its lines.

Lives here: the signs of code. Keep out: what is done there or elsewhere.
"""

from __future__ import annotations

import re
import sys
from bisect import bisect_right
from collections.abc import Sequence

_SIGNS = re.compile(r"[`{}\t=;]|\(\)|->|&&|\|\|| {4}")
_FENCED = re.compile(r"```(?s:.*?)(?:```|\Z)|`[^`\n]*`")
_LINE = re.compile(
    r"^(?:\t| {4})[^\n]*$|^[^\n]*(?:[{}]|\(\)|->|=>|[!=<>:+*/-]=|[ \t]=[ \t]|&&|\|\||;[ \t]*$)[^\n]*$",
    re.MULTILINE,
)
"""Indented lines, and lines that hold a sign which prose does not."""


def code_spans(text: str) -> list[tuple[int, int]]:
    """(start, end) of what is code in `text`, in order and apart; all of it, where half of the lines outside of fences are."""
    if _SIGNS.search(text) is None:
        return []
    fenced = [match.span() for match in _FENCED.finditer(text)]
    rest = _FENCED.sub(lambda match: "." * len(match.group()), text)
    lines = [match.span() for match in _LINE.finditer(rest)]
    others = sum(bool(line.strip(" .")) for line in rest.split("\n"))
    if lines and 2 * len(lines) >= others:
        return [(0, len(text))]
    spans: list[tuple[int, int]] = []
    for start, end in sorted([*fenced, *lines]):
        if spans and start < spans[-1][1]:
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
        else:
            spans.append((start, end))
    return spans


def is_within(spans: Sequence[tuple[int, int]], place: int) -> bool:
    """Whether a character lies in one of the spans, which are in order and apart."""
    number = bisect_right(spans, (place, sys.maxsize)) - 1
    return number >= 0 and place < spans[number][1]
