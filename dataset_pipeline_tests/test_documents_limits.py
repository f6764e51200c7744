"""JSON documents: time and memory, and that reading runs at once equals reading byte by byte."""

from __future__ import annotations

import gzip
import io
import json
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dataset_pipeline.storage.readers import (
    RawRow,
    RowBlock,
    UnreadableFile,
    json_items,
    packing,
    read_blocks,
    read_rows,
)
from dataset_pipeline.storage.readers.json_values import JsonFault, parsed, row_of
from dataset_pipeline_tests.test_documents import read, shown

# Speed and memory


def _traced(folder: Path, data: bytes, name: str, **options: Any) -> tuple[list[Any], int, float]:
    tracemalloc.start()
    begun = time.perf_counter()
    found = shown(read(folder, data, name=name, **options))
    seconds = time.perf_counter() - begun
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found, peak, seconds


@pytest.mark.parametrize(
    ("piece", "reason"), [(b" ", "truncated_file"), (b"[", "truncated_file"), (b"\\", "truncated_file")]
)
def test_documents_gzip_bomb_ends_quickly_in_bounded_memory(
    tmp_path: Path, piece: bytes, reason: str
) -> None:
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1) as file:
        if piece == b"\\":
            file.write(b'["')
        for _ in range(256):
            file.write(piece * 2**20)
    found, peak, seconds = _traced(tmp_path, packed.getvalue(), "x.json.gz", max_record_bytes=2**20)
    assert found[-1] == reason
    assert len(found) <= 2
    assert peak < 16 * 2**20
    assert seconds < 60


def test_documents_long_string_is_skipped_and_the_next_item_is_read(tmp_path: Path) -> None:
    data = b'[{"a":"' + b'y\\"' * (30 * 2**20) + b'"},{"n":1}]'
    (tmp_path / "x.json").write_bytes(data)
    size = len(data)
    del data
    tracemalloc.start()
    found = list(read_rows(tmp_path / "x.json", None, 2**20))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert shown(found) == ["too_long", {"n": 1}]
    assert (found[0].byte_offset, found[1].byte_offset) == (1, size - 8)
    assert peak < 16 * 2**20


@pytest.mark.parametrize("tail", [b"", b"]" * 100_000 + b',{"n":1}]'])
def test_documents_deep_nesting_ends_quickly(tmp_path: Path, tail: bytes) -> None:
    found, peak, seconds = _traced(tmp_path, b"[" + b"[" * 100_000 + tail, "x.json")
    assert found == (["too_deep", {"n": 1}] if tail else ["truncated_file"])
    assert peak < 16 * 2**20
    assert seconds < 20


def test_documents_separators_that_also_stand_within_items_cost_no_quadratic_time(tmp_path: Path) -> None:
    # Every guess of where a run may end lies within an item.
    item = b'{"a":[' + b",".join([b'{"a":1}'] * 40) + b"]}"
    data = b"[" + b",".join([item] * 12_000) + b"]"
    begun = time.perf_counter()
    found = read(tmp_path, data)
    assert len(found) == 12_000
    assert found[-1] == RawRow(1, len(data) - 1 - len(item), {"a": [{"a": 1}] * 40})
    assert time.perf_counter() - begun < 10


def test_documents_alike_items_come_as_blocks_and_others_as_rows(tmp_path: Path) -> None:
    items = [{"id": number, "text": f"t{number}"} for number in range(1000)]
    (tmp_path / "x.json").write_text(json.dumps(items, indent=2))
    blocks = [item for item in read_blocks(tmp_path / "x.json") if isinstance(item, RowBlock)]
    assert sum(map(len, blocks)) > 900
    assert shown(list(read_rows(tmp_path / "x.json"))) == items


def test_documents_naughty_values_survive_unchanged(tmp_path: Path) -> None:
    values = ["", " ", '"', "\\", "},{", '},\n{"a"', "]", "\u2028", "𝒳", "\ufeff", "\u0001", "a\tb", "null"]
    items = [{"a": value, "b": [value, {value: value}]} for value in values] * 3
    for text in (json.dumps(items), json.dumps(items, ensure_ascii=False, indent=1)):
        assert shown(read(tmp_path, text.encode())) == items


# Fast and slow agree

_BLANKS = b" \t\r\n"


class _Stop(Exception):
    pass


def _value_end(data: bytes, at: int) -> tuple[int, str]:
    """Where the value at `at` ends, byte by byte; or the reason why it does not."""
    if data[at] not in b'"[{':
        while at < len(data) and data[at] not in b' \t\r\n,[]{}"':
            at += 1
        return at, ""
    closing, in_string, is_escaped = "", False, False
    while at < len(data):
        char = chr(data[at])
        at += 1
        if in_string:
            in_string = is_escaped or char != '"'
            is_escaped = char == "\\" and not is_escaped
        elif char == '"':
            in_string = True
        elif char in "[{":
            closing += "]" if char == "[" else "}"
        elif char in "]}":
            if closing[-1] != char:
                return at, "invalid_json"
            closing = closing[:-1]
        if not closing and not in_string:
            return at, ""
    return at, "truncated_file"


def _slowly(data: bytes, limit: int) -> list[tuple[int, int, Any]]:
    """Line, offset, and payload or reason of what stands in a document; the obviously right way."""
    out: list[tuple[int, int, Any]] = []

    def put(at: int, what: Any) -> None:
        out.append((data.count(b"\n", 0, at) + 1, at, what))

    def blank(at: int) -> int:
        while at < len(data) and data[at] in _BLANKS:
            at += 1
        return at

    def item(start: int, end: int) -> None:
        try:
            text = data[start:end]
            put(start, row_of(parsed(text), text, are_arrays=True) if len(text) <= limit else "too_long")
        except JsonFault as fault:
            put(start, fault.reason)

    def close(at: int) -> None:
        at = blank(at)
        if at < len(data):
            put(at, "invalid_json")
            if data[at] in b"[{":
                put(at, "truncated_file")

    def broken(at: int) -> None:
        put(at, "invalid_json")
        put(at, "truncated_file")

    start = blank(0)
    if start == len(data):
        put(start, "truncated_file")
        return out
    if data[start] != ord("["):
        end, fault = _value_end(data, start)
        if fault == "invalid_json":
            broken(start)
        elif fault:
            put(start, fault)
        else:
            close(end)
            if not out:
                item(start, end)
        return out
    at = blank(start + 1)
    if data[at : at + 1] == b"]":
        close(at + 1)
        return out
    while True:
        at = blank(at)
        if at == len(data):
            put(at, "truncated_file")
            return out
        if data[at] in b",]":
            put(at, "invalid_json")
        elif data[at] == ord("}"):
            broken(at)
            return out
        else:
            end, fault = _value_end(data, at)
            if fault:
                broken(at) if fault == "invalid_json" else put(at, fault)
                return out
            item(at, end)
            at = blank(end)
        if at == len(data):
            put(at, "truncated_file")
            return out
        if data[at] == ord("]"):
            close(at + 1)
            return out
        if data[at] != ord(","):
            broken(at)
            return out
        at += 1


def _is_json_lines(data: bytes, limit: int) -> bool:
    """Whether the first line is one whole value and another begins on a later line."""
    first, _, rest = data.lstrip(_BLANKS).partition(b"\n")
    rest = rest.lstrip(_BLANKS)
    if not first or not rest or len(first) > limit or rest[0] not in b'{["-0123456789tfn':
        return False
    end, fault = _value_end(first, 0)
    return not fault and not first[end:].strip(_BLANKS)


_TEXTS = st.text('ab"\\{}[],:\n é\0', max_size=8)
_SCALARS = st.one_of(_TEXTS, st.integers(), st.floats(allow_nan=True), st.booleans(), st.none())
_ROWS = st.one_of(
    st.fixed_dictionaries({"a": _TEXTS, "b": _SCALARS}),
    st.lists(_SCALARS, min_size=2, max_size=2),
    st.fixed_dictionaries({"a": st.lists(st.dictionaries(st.sampled_from("ab"), _SCALARS), max_size=3)}),
    st.dictionaries(st.sampled_from("abc"), _SCALARS, max_size=3),
    _SCALARS,
)
_ALIKE = st.one_of(
    st.lists(st.fixed_dictionaries({"a": _TEXTS, "b": st.integers()}), max_size=12),
    st.lists(st.lists(_TEXTS, min_size=2, max_size=2), max_size=12),
    st.lists(st.fixed_dictionaries({"a": st.lists(st.fixed_dictionaries({"a": _TEXTS}))}), max_size=8),
    st.lists(_ROWS, max_size=8),
    _ROWS,
)


@st.composite
def _documents(draw: st.DrawFn) -> bytes:
    """A document in one of the usual styles, sometimes with bytes changed, removed or put in."""
    style = draw(
        st.sampled_from(
            [
                {},
                {"indent": 1},
                {"separators": (",", ":")},
                {"indent": 2, "ensure_ascii": False},
                {"sort_keys": True},
            ]
        )
    )
    data = bytearray(json.dumps(draw(_ALIKE), **style).encode("utf-8", "surrogatepass"))
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 2]))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 3))] = draw(
            st.sampled_from(
                [
                    b"",
                    b",",
                    b"]",
                    b"}",
                    b"{",
                    b"[",
                    b'"',
                    b"\\",
                    b"\n",
                    b"x",
                    b"\xff",
                    b"\0",
                    b"1 ",
                    b",,",
                    b":",
                ]
            )
        )
    return bytes(data) + draw(st.sampled_from([b"", b"\n", b" x", b"\n[1]"]))


@settings(max_examples=400, deadline=None)
@given(
    _documents(),
    st.sampled_from([1, 2, 3, 7, 16, 64, 200, 2**20]),
    st.sampled_from([5, 30, 2**20]),
    st.sampled_from([40, 100, 2**20]),
)
@example(b'[{"a":"x","b":1},{"a":"y","b":2},{"a":"z","b":3}]', 2**20, 30, 40)
@example(b'[{"a":1},{"a":[{"a":1},{"a":2}]},{"a":3}]', 2**20, 30, 2**20)
@example(b'[{"a":1}, {"a":1},{"a":2},  {"a":3}, {"a":4}, {"a":5}]', 2**20, 30, 2**20)
@example(b'":\\""\n[1]', 1, 5, 40)
def test_documents_blocks_of_any_size_give_what_reading_byte_by_byte_gives(
    data: bytes, block_bytes: int, limit: int, run_bytes: int
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "BLOCK_BYTES", block_bytes)
        patch.setattr(json_items, "_RUN_BYTES", run_bytes)
        path = Path(folder) / "x.json"
        path.write_bytes(data)
        if _is_json_lines(data, limit):
            path.with_suffix(".jsonl").write_bytes(data)
            assert list(read_rows(path, None, limit)) == list(
                read_rows(path.with_suffix(".jsonl"), None, limit)
            )
            return
        try:
            found = list(read_rows(path, None, limit))
        except UnreadableFile as error:
            assert "Name the list under records" in str(error)
            assert data.lstrip(_BLANKS).startswith(b"{")
            assert b"[" in data
            return
    simple = [
        (item.line, item.byte_offset, item.payload if isinstance(item, RawRow) else item.reason)
        for item in found
    ]
    # As text, so that 1 and 1.0 and true differ.
    assert repr_of(simple) == repr_of(_slowly(data, limit))


def repr_of(found: list[tuple[int, int, Any]]) -> list[Any]:
    """Payloads with sorted keys and visible types."""
    return [(line, at, msgspec.json.encode(what, order="sorted")) for line, at, what in found]
