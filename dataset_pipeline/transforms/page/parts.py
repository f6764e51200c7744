"""Parts of the report page: escaped text, tables, tiles, bars.

Lives here: small pieces of HTML. Keep out: plots with axes (`plots`), what the page says (`whole`). Every text goes
through `text`: names of labels, sources and files are anybody's words.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence

from dataset_pipeline.records import Split
from dataset_pipeline.transforms.page.style import STYLE

MAX_CHARS = 300
"""Of a name or a value that is shown."""
MAX_NAME_CHARS = 60
"""Of a name beside a bar."""
LONG_WORD = 24
"""A word that is longer may be broken anywhere in a table; the others stay whole."""
_CODE = re.compile("`([^`<>]+)`")
_AS_CODE = r"<code>\1</code>"
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
"""Characters that control, hide or turn text round: shown as a replacement sign."""

SPLITS = tuple(split.value for split in Split)


def text(value: object, limit: int = MAX_CHARS) -> str:
    """Any text as HTML, in one line: escaped, isolated from the direction of its neighbours, without hidden signs."""
    line = " ".join(str(value).split())
    line = _UNSEEN.sub("\ufffd", line if len(line) <= limit else f"{line[: limit - 1]}…")
    return f"<bdi>{html.escape(line)}</bdi>" if not line.isascii() else html.escape(line)


def count(n: int) -> str:
    return f"{n:,}"


def share(part: int, whole: int) -> str:
    """A percentage that is never rounded to all or nothing."""
    if whole == 0 or part == 0:
        return "0 %"
    if part == whole:
        return "100 %"
    percent = 100 * part / whole
    if percent < 0.1:
        return "< 0.1 %"
    if percent > 99.9:
        return "> 99.9 %"
    return f"{percent:.1f} %" if percent < 10 or percent > 99 else f"{percent:.0f} %"


def document(title: str, body: str) -> str:
    """The whole page: it loads nothing, and runs nothing."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def section(title: str, *parts: str) -> str:
    return f"<section>\n<h2>{text(title)}</h2>\n" + "\n".join(part for part in parts if part) + "\n</section>"


def paragraph(words: str, kind: str = "") -> str:
    """Words in backticks are set as code."""
    return f"<p{f' class={chr(34)}{kind}{chr(34)}' if kind else ''}>{_CODE.sub(_AS_CODE, text(words, 2_000))}</p>"


def note(words: str) -> str:
    return f'<div class="note">{text(words)}</div>'


def items(lines: Iterable[str]) -> str:
    inner = "".join(f"<li>{text(line)}</li>" for line in lines)
    return f"<ul>{inner}</ul>" if inner else ""


def tiles(numbers: Sequence[tuple[str, str]]) -> str:
    """Number and what it counts, side by side."""
    inner = "".join(
        f'<div class="tile"><b>{text(number)}</b><span>{text(name)}</span></div>' for number, name in numbers
    )
    return f'<div class="tiles">{inner}</div>'


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], numbers: Iterable[int] = ()) -> str:
    """numbers: the columns that are set to the right; their integers get separators of thousands."""
    right = frozenset(numbers)

    def cell(tag: str, place: int, value: object) -> str:
        shown = count(value) if isinstance(value, int) else value
        is_long = max((len(word) for word in str(shown).split()), default=0) > LONG_WORD
        kind = ' class="number"' if place in right else ' class="long"' if is_long else ""
        return f"<{tag}{kind}>{text(shown)}</{tag}>"

    head = "".join(cell("th", n, name) for n, name in enumerate(heads))
    body = "".join(f"<tr>{''.join(cell('td', n, v) for n, v in enumerate(row))}</tr>\n" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table></div>'


def legend(kinds: Sequence[tuple[str, str]]) -> str:
    """Class of a colour and its words."""
    inner = "".join(f'<span><i class="{kind}"></i>{text(words)}</span>' for kind, words in kinds)
    return f'<div class="legend">{inner}</div>'


def bar_row(name: str, parts: Sequence[tuple[str, int]], whole: int, number: str, more: str = "") -> str:
    """A line with a bar. parts: class of a colour and how many; whole: how many fill the width.

    The bar itself is hidden from screen readers: name and number say the same.
    """
    x, shapes = 0.0, []
    for kind, n in parts:
        width = 1000 * n / whole if whole else 0.0
        if n:
            shapes.append(f'<rect class="{kind}" x="{x:.1f}" width="{max(width, 1.0):.1f}" height="10"/>')
        x += width
    bar = f'<svg class="bar" viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true">{"".join(shapes)}</svg>'
    below = f'<div class="more">{text(more)}</div>' if more else ""
    return (
        f'<div class="row"><div class="name">{text(name, MAX_NAME_CHARS)}</div><div class="shape">{bar}</div>'
        f'<div class="number">{text(number)}</div>{below}</div>'
    )


def bars(rows: Sequence[str], many: int = 12) -> str:
    """Lines of `bar_row`; more than `many` stand in two columns where there is room."""
    return f'<div class="bars{" many" if len(rows) > many else ""}">\n' + "\n".join(rows) + "\n</div>"


def split_parts(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Colour and count of each split, as `bar_row` takes them."""
    return [(split, counts.get(split, 0)) for split in SPLITS]
