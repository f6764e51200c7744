"""Which delimiter and quotes a CSV or TSV file has: declared, named by the file, or told by its header line.

Lives here: the dialect and what settles it. Keep out: telling where a record ends (`csv_records`), rows.

The header line holds names, so what it is cut by is no guess about the data. Other choices are strict:

- Spaces belong to the value. After a delimiter and a space a quote is a character like others
  (`a, "b"` has the value ` "b"`): files that mean otherwise hold values that begin with spaces, and
  nothing in a row tells the two apart.
- Names of columns are kept as they are, spaces included.
- Without a header nothing but a declaration or a `sep=` line changes the default delimiter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from dataset_pipeline.spec.reading import Reading
from dataset_pipeline.storage.readers.rows import UnreadableFile
from dataset_pipeline.storage.readers.streams import Codec, End, Line

CANDIDATES = ",;\t|"
"""The delimiters that a header may tell."""

MAX_HEADER_LINES = 1_000
"""Lines of a header looked at to tell the delimiter; names do not span more."""

_NAMES = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}
_SEP = re.compile(r'"?sep=([^\r\n"])"?\r*', re.IGNORECASE)
_QUOTED = re.compile(r'(?:^|(?<=[,;\t|]))"(?:[^"]++|"")*+("|\Z)')
"""A quoted name, or the rest of the text where its quote stays open: then the group is empty."""


class Dialect(NamedTuple):
    """quoted: a quote at the start of a field opens text that may hold delimiters and newlines."""

    delimiter: str
    quoted: bool


class Lines:
    """Physical lines of a stream, with a look at the next one."""

    def __init__(self, lines: Iterator[Line]):
        self._lines = lines
        self._ahead: list[Line] = []

    def take(self) -> Line | None:
        """The next line, or None at the end."""
        return self._ahead.pop() if self._ahead else next(self._lines, None)

    def peek(self) -> Line | None:
        """The next line, which stays the next."""
        if not self._ahead:
            line = next(self._lines, None)
            if line is None:
                return None
            self._ahead.append(line)
        return self._ahead[-1]

    def put_back(self, lines: list[Line]) -> None:
        """Lines taken, in their order, become the next ones again."""
        self._ahead.extend(reversed(lines))


def settled_dialect(lines: Lines, codec: Codec, reading: Reading, place: object) -> Dialect:
    """The dialect of a stream that stands at its start; takes a `sep=` line off it.

    Raises UnreadableFile where the declared delimiter can be none or contradicts the file's own
    `sep=` line, and where the header line could be cut by several.
    """
    quoted = reading.quotes == "standard"
    if reading.delimiter is not None and reading.delimiter in ('\r\n\0"' if quoted else "\r\n\0"):
        raise UnreadableFile(
            f"{place}: {reading.delimiter!r} delimits no fields. Declare another `delimiter`."
        )
    hinted = _hint(lines, codec)
    if hinted is not None and reading.delimiter not in (None, hinted):
        raise UnreadableFile(
            f"{place}: its first line says sep={hinted} but the declared delimiter is {reading.delimiter!r}. "
            "Declare the right `delimiter`, or none, and mend that line."
        )
    default = "\t" if reading.format == "tsv" else ","
    delimiter = reading.delimiter or hinted
    if delimiter is None:
        delimiter = _told_by_header(lines, codec, default, quoted, place) if reading.header else default
    return Dialect(delimiter, quoted)


def _text(line: Line | None, codec: Codec) -> str | None:
    """The line as text; None where it cannot be read, which is said by whoever reads it as a record."""
    if line is None or line.end in (End.TOO_LONG, End.BROKEN):
        return None
    try:
        return codec.decode(line.data)
    except UnicodeError:
        return None


def _hint(lines: Lines, codec: Codec) -> str | None:
    """The delimiter that a first line `sep=;` names, as Excel writes and reads it."""
    found = _SEP.fullmatch(_text(lines.peek(), codec) or "")
    if found is None:
        return None
    lines.take()
    return found[1]


def _told_by_header(lines: Lines, codec: Codec, default: str, quoted: bool, place: object) -> str:
    """The one delimiter that the header line holds outside quotes; the default where it holds that or none."""
    taken: list[Line] = []
    held: set[str] = set()
    is_open = False
    while len(taken) < MAX_HEADER_LINES and (line := lines.take()) is not None:
        taken.append(line)
        text = _text(line, codec)
        if text is None:
            break
        if not is_open and not text.strip() and default not in text:
            continue
        bare, is_open = _outside_quotes(text, is_open) if quoted else (text, False)
        held |= {candidate for candidate in CANDIDATES if candidate in bare}
        if not is_open:
            break
    lines.put_back(taken)
    if default in held or not held:
        return default
    if len(held) > 1:
        several = " and ".join(_NAMES[c] for c in CANDIDATES if c in held)
        raise UnreadableFile(
            f"{place}: the header could be cut at {several}. Say which with `delimiter`, "
            f'for example `delimiter: "{next(c for c in CANDIDATES if c in held and c != chr(9))}"`.'
        )
    return held.pop()


def _outside_quotes(text: str, is_open: bool) -> tuple[str, bool]:
    """What of a header line lies outside quotes, and whether a quote stays open at its end."""
    stays_open = False

    def dropped(found: re.Match[str]) -> str:
        nonlocal stays_open
        stays_open = not found[1]
        return ""

    return _QUOTED.sub(dropped, f'"{text}' if is_open else text), stays_open
