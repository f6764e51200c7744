"""What every reader owes to any bytes: one function a target, which raises Broken where the debt is not paid.

Lives here: the properties, and which reader under which reading is a target. Keep out: seeds (`corpus`), layouts
(`fuzz_layouts`), the fuzzer itself (`__main__`): this module needs no atheris, so that inputs can be replayed anywhere.

Each input is read several times: as it is, in small blocks, and by the exact way where a fast one exists beside it.
All must agree item by item. Limits and block sizes follow from the input's checksum, so that a file says it all.
"""

from __future__ import annotations

import gzip
import io
import json
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

from dataset_pipeline.spec.reading import Reading
from dataset_pipeline.storage.readers import columns_of, read_blocks, streams
from dataset_pipeline.storage.readers.json_values import MAX_NESTING
from dataset_pipeline.storage.readers.rows import READ_REASONS, RawRow, Reject, RowBlock, UnreadableFile
from dataset_pipeline.transforms.ingest import canonical

MARKER = "zebra"
"""Stands in the values of seeds: no detail of a reject and no error may repeat it."""
READERS = "dataset_pipeline.storage.readers."
WHOLE = 2**20
LIMITS = (WHOLE, WHOLE, WHOLE, 150, 40)
"""Bytes that a record may have; half of the inputs are read without a limit that they could meet."""
MAX_WORK_BYTES = 2**16


class Broken(AssertionError):
    """A reader broke a promise. Says which."""


@dataclass(frozen=True)
class Target:
    """A reader under one reading.

    suffix: of the file. blocks: module attributes to set to a small size. exact: attributes to replace so that
    only the exact way is left. lines: every item begins at a physical line. tells: words of the file's schema
    may stand in errors, so that the marker is not looked for in UnreadableFile.
    """

    reading: Reading
    suffix: str
    blocks: tuple[str, ...] = ()
    exact: dict[str, Any] = field(default_factory=dict)
    check: Callable[[Target, bytes, list[Any]], None] | None = None
    tells: bool = False
    prepare: Callable[[bytes], bytes] | None = None


@dataclass(frozen=True)
class Outcome:
    """What one reading gave: items as comparable tuples, and the error at their end, if there was one."""

    items: list[tuple[Any, ...]]
    error: str | None


def check_reader(name: str, data: bytes) -> None:
    """Raises Broken, or whatever the reader raises beside UnreadableFile."""
    target = TARGETS[name]
    stored = target.prepare(data) if target.prepare else data
    seed = zlib.crc32(data)
    limit, small = LIMITS[seed % len(LIMITS)], seed % 61 + 1
    path = _folder() / f"input{target.suffix}"
    path.write_bytes(stored)
    whole = _outcome(target, path, limit)
    if target.check is not None and limit == WHOLE and whole.error is None:
        target.check(target, data, whole.items)
    with _patched(dict.fromkeys(target.blocks, small)):
        _same(whole, _outcome(target, path, limit), f"blocks of {small} bytes")
    if target.exact:
        with _patched(target.exact):
            _same(whole, _outcome(target, path, limit), "the exact way")
        with _patched({**target.exact, **dict.fromkeys(target.blocks, small)}):
            _same(whole, _outcome(target, path, limit), f"the exact way in blocks of {small} bytes")


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="fuzz-"))


def _patched(values: dict[str, Any]) -> ExitStack:
    """Attributes of modules of the readers (`packing.BLOCK_BYTES`, `json_items.Items._run`) set to values."""
    stack = ExitStack()
    for place, value in values.items():
        module, _, name = place.partition(".")
        owner: Any = import_module(READERS + module)
        *outer, last = name.split(".")
        for part in outer:
            owner = getattr(owner, part)
        stack.enter_context(patch.object(owner, last, value))
    return stack


def _outcome(target: Target, path: Path, limit: int) -> Outcome:
    items: list[tuple[Any, ...]] = []
    try:
        names = columns_of(path, target.reading)
        for item in read_blocks(path, target.reading, limit):
            items.extend(_seen(item, names))
    except UnreadableFile as error:
        said = str(error)
        if MARKER in said and not target.tells:
            raise Broken(f"the error repeats text of a row: {said!r}") from error
        if not said.rstrip().endswith((".", "line")):
            raise Broken(f"the error has no remedy: {said!r}") from error
        return Outcome(items, said)
    last = 0
    for line, offset, *_ in items:
        if line < last:
            raise Broken(f"line {line} comes after line {last}")
        if not 0 <= offset <= MAX_WORK_BYTES * 1024:
            raise Broken(f"a byte offset of {offset}")
        last = line
    return Outcome(items, None)


def _seen(item: Any, names: list[str] | None) -> Iterator[tuple[Any, ...]]:
    """An item as tuples (line, byte_offset, kind, …), its own promises checked."""
    if isinstance(item, Reject):
        if item.reason not in READ_REASONS:
            raise Broken(f"reason {item.reason!r}")
        if MARKER in item.detail:
            raise Broken(f"a detail repeats text of the row: {item.detail!r}")
        yield item.line, item.byte_offset, "reject", item.reason, item.detail
        return
    if isinstance(item, RowBlock):
        sizes = {len(item.lines), len(item.byte_offsets), *map(len, item.columns.values())}
        if len(sizes) != 1 or not len(item):
            raise Broken(f"a block whose parts have {sorted(sizes)} rows")
        rows: Iterator[RawRow] = item.rows()
    elif isinstance(item, RawRow):
        rows = iter((item,))
    else:
        raise Broken(f"an item of type {type(item).__name__}")
    for row in rows:
        if type(row.line) is not int or type(row.byte_offset) is not int or row.line < 1:
            raise Broken(f"a place of {type(row.line).__name__} {row.line}, {row.byte_offset}")
        if names is not None and list(row.payload) != names:
            raise Broken(f"a row with {len(row.payload)} columns where the file declares {len(names)}")
        written = canonical(row.payload)
        if b"\\u0000" in written and any("\0" in text for text in _texts(row.payload)):
            raise Broken("a NUL in a row")
        yield row.line, row.byte_offset, "row", json.dumps(row.payload, sort_keys=True, default=repr)


def _texts(value: Any, depth: int = 0) -> Iterator[str]:
    if depth > MAX_NESTING + 1:
        raise Broken("a row nested deeper than allowed")
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _texts(key)
            yield from _texts(part, depth + 1)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part, depth + 1)


def _same(one: Outcome, other: Outcome, how: str) -> None:
    if one.error != other.error:
        raise Broken(f"{how}: {other.error!r} instead of {one.error!r}")
    # Rows before an error are thrown away with the file: how many come first is not promised.
    if one.error is None and one.items != other.items:
        places = zip([*one.items, None], [*other.items, None], strict=False)
        first = next(pair for pair in places if pair[0] != pair[1])
        raise Broken(f"{how}: {first[1]!r} instead of {first[0]!r}")


# --- formats of lines: nothing is lost ---------------------------------------------------------------


def _lines(target: Target, data: bytes) -> list[tuple[int, int, str]]:
    """Number, offset and text of each physical line, as the declared encoding has it."""
    codec = streams.codec_for(target.reading.encoding, data[:4], "")
    found, offset = [], codec.bom_bytes
    for number, line in enumerate(streams._cut(data[offset:], codec), 1):
        found.append((number, offset, line.decode(codec.name, "replace")))
        offset += len(line) + len(codec.newline)
    return found


def _one_item_a_line(target: Target, data: bytes, items: list[Any]) -> None:
    """Each line that is not blank is one item, at its place."""
    wanted = {(number, offset) for number, offset, text in _lines(target, data) if text.strip()}
    places = [(line, offset) for line, offset, *_ in items]
    doubtful = {
        (number, offset) for number, offset, text in _lines(target, data) if not text.strip("\ufffd\0 \r")
    }
    if set(places) ^ wanted and not set(places) ^ wanted <= doubtful:
        raise Broken(f"lines without an item, or items without a line: {sorted(set(places) ^ wanted)[:3]}")
    if len(set(places)) != len(places):
        raise Broken("two items on one line")


_SPANNING = frozenset({"truncated_file", "repeated_header", "invalid_encoding", "nul_byte"})
"""Rejects of whole records, however many lines they have; others are of one line."""


def _every_line_in_a_record(target: Target, data: bytes, items: list[Any]) -> None:
    """CSV: between the end of an item and the start of the next lie blank lines only."""
    lines = _lines(target, data)
    number_of = {offset: number for number, offset, _ in lines}
    if not items:
        return
    for (line, offset, kind, *rest), following in zip(items, [*items[1:], None], strict=True):
        if number_of.get(offset) != line:
            raise Broken(f"an item at line {line}, offset {offset}, where no such line begins")
        if rest[0] in _SPANNING:
            continue
        spans = 1
        if kind == "row":
            spans += sum(value.count("\n") for value in json.loads(rest[0]).values())
        end = following[0] if following else len(lines) + 1
        left = [text for number, _, text in lines if line + spans <= number < end]
        if any(text.strip("\r\n\t ,;|\ufffd\0") and text.strip() for text in left):
            raise Broken(f"after the item on line {line} a line is in no item")


def _packed_short(data: bytes) -> bytes:
    """gzip data that may break off, at a place that follows from the input."""
    packed = gzip.compress(data, mtime=0)
    cut = zlib.crc32(data[::-1]) % (2 * len(packed))
    return packed[: max(cut, 18)] if cut < len(packed) else packed


def _prefix(target: Target, data: bytes, items: list[Any]) -> None:
    """A packed file that breaks off gives the beginning of what the whole one gives, and says so."""
    path = _folder() / "input.jsonl"
    path.write_bytes(data)
    whole = _outcome(TARGETS["jsonl"], path, WHOLE).items
    cut = bool(items) and items[-1][3] == "truncated_file"
    had = items[:-1] if cut else items
    if had != whole[: len(had)] or (not cut and len(had) < len(whole)):
        raise Broken("a packed file gives other rows than the same file unpacked")


_BLOCK = ("packing.BLOCK_BYTES",)
_NOTHING: Callable[..., Any] = lambda *_: None  # noqa: E731
_CSV = {
    "blocks": (*_BLOCK, "csv_blocks._FIRST_PIECE_BYTES", "csv_blocks._THREADED_BYTES"),
    "exact": {"delimited._can_be_scanned": lambda *_: False},
    "check": _every_line_in_a_record,
}
_TEXT = {
    "blocks": (*_BLOCK, "plain.STRETCH_BYTES"),
    "exact": {"plain._at_once": _NOTHING},
    "check": _one_item_a_line,
}
_JSONL = {"blocks": _BLOCK, "exact": {"jsonl._Reader._at_once": _NOTHING}, "check": _one_item_a_line}
_JSON = {
    "blocks": (*_BLOCK, "json_bytes._PIECE_BYTES", "json_items._RUN_BYTES"),
    "exact": {"json_items.Items._run": _NOTHING, "jsonl._Reader._at_once": _NOTHING},
    "tells": True,
}


def _target(suffix: str, shared: dict[str, Any], prepare: Any = None, **reading: Any) -> Target:
    return Target(Reading(**reading), suffix, prepare=prepare, **shared)


TARGETS: dict[str, Target] = {
    "jsonl": _target(".jsonl", _JSONL),
    "jsonl_utf16": _target(".jsonl", _JSONL, encoding="utf-16-le"),
    "jsonl_cp1252": _target(".jsonl", _JSONL, encoding="cp1252"),
    "jsonl_shift_jis": _target(".jsonl", _JSONL, encoding="shift_jis"),
    "jsonl_utf7": _target(".jsonl", _JSONL, encoding="utf-7"),
    # How much comes before damage depends on how much is unpacked at a time; `jsonl_cut` has data that end early.
    "jsonl_gz": _target(".jsonl.gz", {"blocks": ()}),
    "jsonl_zst": _target(".jsonl.zst", {"blocks": ()}),
    "jsonl_cut": _target(".jsonl.gz", {"blocks": _BLOCK, "check": _prefix}, _packed_short),
    "json": _target(".json", _JSON),
    "json_records": _target(".json", _JSON, records="data.items"),
    "json_utf16": _target(".json", _JSON, encoding="utf-16"),
    "json_utf7": _target(".json", _JSON, encoding="utf-7"),
    "json_shift_jis": _target(".json", _JSON, encoding="shift_jis"),
    "csv": _target(".csv", _CSV),
    "csv_declared": _target(".csv", _CSV, delimiter=";"),
    "csv_no_quotes": _target(".csv", _CSV, quotes="none"),
    "csv_no_header": _target(".csv", _CSV, header=False),
    "csv_cp1252": _target(".csv", _CSV, encoding="cp1252"),
    "csv_shift_jis": _target(".csv", _CSV, encoding="shift_jis"),
    "csv_utf16": _target(".csv", _CSV, encoding="utf-16"),
    "tsv": _target(".tsv", _CSV),
    "text": _target(".txt", _TEXT),
    "text_utf16": _target(".txt", _TEXT, encoding="utf-16"),
    "text_shift_jis": _target(".txt", _TEXT, encoding="shift_jis"),
    "text_utf7": _target(".txt", _TEXT, encoding="utf-7"),
    "files": _target(".txt", {"blocks": _BLOCK}, format="files"),
    "html": _target(".html", {"blocks": _BLOCK}),
    "parquet": _target(".parquet", {"blocks": ("parquet.MAX_BATCH_ROWS",), "tells": True}),
    "excel": _target(".xlsx", {"tells": True}),
    "excel_xml": _target(".xlsx", {"tells": True}, lambda data: _workbook(data)),
}
"""excel_xml: the input is the XML of the sheet, in a workbook that is sound otherwise."""


@cache
def _sound_workbook() -> dict[str, bytes]:
    import zipfile

    from openpyxl import Workbook

    book, out = Workbook(), io.BytesIO()
    for row in (("id", "text", "n"), ("a", "zebra one", 1.5), ("b", "zebra two", True)):
        book.active.append(row)
    book.save(out)
    with zipfile.ZipFile(out) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def sheet_xml() -> bytes:
    """The XML of a sound sheet: the seed of excel_xml."""
    return _sound_workbook()["xl/worksheets/sheet1.xml"]


def _workbook(sheet: bytes) -> bytes:
    import zipfile

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, part in _sound_workbook().items():
            archive.writestr(name, sheet if name == "xl/worksheets/sheet1.xml" else part)
    return out.getvalue()
