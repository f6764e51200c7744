"""Markdown and YAML that hold whatever a spec or a table says.

Lives here: escaping, tables, lists that are cut, quoted YAML. Keep out: what is said (`whole`, `attribution`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MAX_ROWS = 100
"""Rows of a table; 77 labels fit, 1,000 do not."""
MAX_LISTED = 30
"""Items of a list inside a sentence."""
MAX_CELL_CHARS = 300

_SPACE = re.compile(r"[ \t\r\n\f\v\x85\u2028\u2029]+")
_UNSEEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff]"
)
"""Control characters, those that turn the direction of writing, and halves of characters."""
_MARKS = re.compile(r"([\\`*\[\]|~$])")
_EDGE_UNDERSCORE = re.compile(r"(?<![^\W_])_|_(?![^\W_])")
_AT_START = re.compile(r"^(\d+(?=[.)])|(?=[#+\-=]))")


def plain(text: str) -> str:
    """Text that reads as itself, also at the start of a line: no markup, no HTML, one line, what cannot be seen named."""
    return _AT_START.sub(r"\1\\", _inline(text), count=1)


def _inline(text: str) -> str:
    one_line = _SPACE.sub(" ", text).strip()
    seen = _UNSEEN.sub(lambda found: f"(U+{ord(found[0]):04X})", one_line)
    html = seen.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _EDGE_UNDERSCORE.sub(r"\_", _MARKS.sub(r"\\\1", html))


def cell(text: str) -> str:
    """Text for the inside of a line or a table: as `plain`, cut at MAX_CELL_CHARS."""
    return _inline(text if len(text) <= MAX_CELL_CHARS else text[: MAX_CELL_CHARS - 1] + "…")


def table(header: Sequence[str], rows: Iterable[Sequence[str]], of: str = "rows") -> list[str]:
    """Lines of a table; every cell is escaped. Beyond MAX_ROWS the rest is counted: `and n more {of}`.

    A row whose first cell is `all` stands last, whatever is cut.
    """
    listed = [list(row) for row in rows]
    total = [listed.pop()] if listed and listed[-1][0] == ALL else []
    rest = len(listed) - MAX_ROWS
    lines = [_line(header), "|" + "---|" * len(header), *(_line(row) for row in listed[:MAX_ROWS] + total)]
    return [*lines, "", f"… and {rest:,} more {of}."] if rest > 0 else lines


ALL = "all"
"""The first cell of a row of sums."""


def _line(row: Sequence[str]) -> str:
    return "| " + " | ".join(cell(value) for value in row) + " |"


def listed(names: Iterable[str], most: int = MAX_LISTED) -> str:
    """Names joined by commas, each escaped; `and n more` beyond `most`."""
    every = list(names)
    rest = len(every) - most
    return ", ".join(cell(name) for name in every[:most]) + (f" and {rest:,} more" if rest > 0 else "")


def counted(counts: Mapping[str, int], most: int = MAX_LISTED) -> str:
    """`name n, name n`, as given; `and n more` beyond `most`."""
    return listed((f"{name} {n}" for name, n in counts.items()), most)


def section(title: str, *parts: str | Iterable[str]) -> str:
    """A heading with paragraphs below it; a list of lines is one paragraph, an empty part is left out."""
    blocks = [part if isinstance(part, str) else "\n".join(part) for part in parts]
    return "\n\n".join([f"## {title}", *(block for block in blocks if block)]) + "\n"


def code(language: str, text: str) -> str:
    """A fenced block. The text is ours, or quoted already."""
    return f"```{language}\n{text.strip()}\n```"


def bullets(lines: Iterable[str]) -> list[str]:
    """Lines of a list. Each is Markdown already."""
    return [f"- {line}" for line in lines]


# --- YAML ----------------------------------------------------------------------------------------

_YAML_ESCAPED = re.compile(r"[^\x20-\x7e\xa0-\u1fff\u2010-\u2027\u2030-\u205f\u2070-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")  # fmt: skip


def quoted(text: str) -> str:
    """A YAML scalar that is read as this text by YAML 1.1 and 1.2 alike; half characters become U+FFFD.

    Always in double quotes: unquoted, `no` is a truth value, `1e5` a number and `a: b` a mapping.
    """
    whole = re.sub(r"[\ud800-\udfff]", "\ufffd", text)
    escaped = whole.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + _YAML_ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", escaped) + '"'


def yaml_lines(value: Any, indent: str = "") -> list[str]:
    """Mappings, lists, texts and truth values as YAML lines; keys are ours, texts are `quoted`."""
    lines: list[str] = []
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if isinstance(inner, (Mapping, list, tuple)):
                lines += [f"{indent}{key}:", *yaml_lines(inner, indent + "  ")]
            else:
                lines.append(f"{indent}{key}: {_scalar(inner)}")
        return lines
    for item in value:
        if isinstance(item, (Mapping, list, tuple)):
            first, *rest = yaml_lines(item, indent + "  ")
            lines += [f"{indent}- {first.strip()}", *rest]
        else:
            lines.append(f"{indent}- {_scalar(item)}")
    return lines


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return quoted(str(value))
