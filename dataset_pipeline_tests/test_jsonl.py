"""JSON Lines: the fast way for lines that are alike gives what the general way gives, line by line."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_pipeline.spec.reading import Reading
from dataset_pipeline.storage.readers import (
    RawRow,
    Reject,
    RowBlock,
    UnreadableFile,
    packing,
    read_blocks,
    read_rows,
    streams,
)
from dataset_pipeline.storage.readers.jsonl import read_jsonl

WIDE = 2**20


def general(path: Path, limit: int = WIDE) -> list[RawRow | Reject]:
    """Every line by the general way."""
    with streams.open_stream(path, "utf-8") as (blocks, codec):
        return list(read_jsonl(streams.physical_lines(blocks, codec, limit), codec, limit))


def fast(path: Path, limit: int = WIDE) -> list[RawRow | Reject]:
    return list(read_rows(path, Reading(), limit))


def blocks(path: Path) -> int:
    return sum(isinstance(item, RowBlock) for item in read_blocks(path))


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "BLOCK_BYTES", 64)


def rows(count: int, **more: Any) -> list[bytes]:
    return [orjson.dumps({"id": f"r{n}", "text": f"words {n}", "n": n} | more) for n in range(count)]


SCALAR = st.one_of(
    st.text(max_size=5),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.none(),
)
ODD = st.sampled_from(
    [
        b"", b" \t\r", b"null", b"[1]", b'{"id":"x"}', b'{"id":"x","text":"y","n":1,"more":2}', b'{"id":1,"text":"y","n":1}',
        b'{"id":"x","text":"y","n":1}{"id":"x","text":"y","n":1}', b'{"id":"x","text":"y","n":1} {"id":"x","text":"y","n":1}',
        b'{"id":"x",', b'"text":"y","n":1}', b'{"id":"a\\u0000b","text":"y","n":1}', b'{"id":"\xff","text":"y","n":1}',
        b'{"id":"\\ud800","text":"y","n":1}', b'{"id":"x","text":"y","n":1e999}', b'{"id":"x","text":"y","n":NaN}',
        b'{"id":"x","text":"y","n":1.0}', b'{"id":"x","text":"y","n":123456789012345678901234567890}', b'{"n":1,"text":"y","id":"x"}',
        b'{"id":"x","id":"z","text":"y","n":1}', b'{"id":"x","text":{"a":{"b":[1]}},"n":1}', b'{"id":"x","text":"y","n":1}\r',
        b' {"id":"x","text":"y","n":1} ', b'{"id":"x","text":"' + b"y" * 300 + b'","n":1}', b'{"text":"y","n":1,"id":"x"}',
        b'{"id":"x","text":"y","n":01}', b'{"id":"x","text":"\\u0041","n":-0}', b'{"a":[{"b":1}', b'{"c":1}]}',
    ]
)  # fmt: skip
LINE = st.one_of(
    st.builds(
        lambda one, two: orjson.dumps({"id": "x", "text": one, "n": two}),
        st.text(max_size=8),
        st.integers(-9, 9),
    ),
    st.builds(lambda value: json.dumps({"id": "x", "text": "y", "n": value}).encode(), SCALAR),
    ODD,
)


@settings(max_examples=400, deadline=None)
@given(
    lines=st.lists(LINE, max_size=30),
    end=st.sampled_from([b"\n", b"", b"\n\n", b"\r\n"]),
    limit=st.sampled_from([WIDE, 120]),
)
def test_jsonl_fast_way_equals_the_general_one(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], end: bytes, limit: int
) -> None:
    path = tmp_path_factory.mktemp("lines") / "x.jsonl"
    path.write_bytes(b"\n".join(lines) + end)
    assert fast(path, limit) == general(path, limit)


@pytest.mark.parametrize(
    "pair",
    [
        # Two rows on one line and a row on two lines: as many rows as lines, and not one a line.
        [b'{"id":"x","text":"y","n":1}{"id":"x","text":"y","n":1}', b'{"id":"x","text":"y",', b'"n":1}'],
        [
            b'{"id":"x","text":"y","n":1} {"id":"x","text":"y","n":1}',
            b'{"id":"x","text":"y","n":{"a":1}',
            b"}",
        ],
    ],
)
def test_jsonl_rows_that_only_add_up_are_not_taken_for_one_a_line(tmp_path: Path, pair: list[bytes]) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"\n".join([*rows(20), *pair, *rows(5)]) + b"\n")
    assert fast(path) == general(path)
    assert [item.line for item in fast(path) if isinstance(item, Reject)] == [21, 22, 23]


def test_jsonl_alike_lines_come_in_blocks_with_their_places(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + b"\n".join(rows(50)))
    assert blocks(path) > 5
    found = fast(path)
    assert found == general(path)
    assert [item.line for item in found] == list(range(1, 51))
    data = path.read_bytes()
    assert all(
        data[item.byte_offset :].startswith(orjson.dumps(item.payload))
        for item in found
        if isinstance(item, RawRow)
    )


def test_jsonl_rows_that_lack_a_key_are_told_from_null(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    lines = [orjson.dumps({"id": str(n)} | ({"text": None} if n % 2 else {})) for n in range(40)]
    path.write_bytes(b"\n".join(lines) + b"\n")
    assert [item.payload for item in fast(path) if isinstance(item, RawRow)] == [
        orjson.loads(line) for line in lines
    ]


def test_jsonl_rows_with_other_keys_and_nested_values_equal_the_general_way(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    lines = [
        orjson.dumps({"turns": [{"role": "user", "n": n}]} | ({"input": {"n": 1.0}} if n % 3 else {}))
        for n in range(60)
    ]
    lines[30] = b'{"turns":' + b"[" * 260 + b"]" * 260 + b"}"
    lines[40] = b' {"turns":[1]} '
    lines[45] = b'{"turns":1}{"turns":2}'
    lines[50] = b'{"turns":["\\u0000"]}'
    path.write_bytes(b"\n".join(lines) + b"\n")
    found = fast(path)
    assert found == general(path)
    assert [(r.line, r.reason) for r in found if isinstance(r, Reject)] == [
        (31, "too_deep"),
        (46, "invalid_json"),
        (51, "nul_byte"),
    ]


def test_jsonl_alike_rows_after_others_come_in_blocks_again(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"\n".join([b'{"a":1}', b'{"b":1}', *rows(60)]) + b"\n")
    assert blocks(path) > 5
    assert fast(path) == general(path)


def test_jsonl_reading_leaves_the_garbage_collector_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"\n".join([*rows(30), b"{", *rows(5)]) + b"\n")
    try:
        for is_on in (False, True):
            (gc.enable if is_on else gc.disable)()
            assert len(fast(path)) == 36
            assert gc.isenabled() is is_on
    finally:
        gc.enable()


def test_jsonl_integers_of_any_size_are_kept_digit_by_digit(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"\n".join(b'{"id":%d}' % (10**30 + n) for n in range(30)) + b"\n")
    assert [item.payload["id"] for item in fast(path) if isinstance(item, RawRow)] == [
        10**30 + n for n in range(30)
    ]


def test_jsonl_arrays_are_rows_where_the_first_row_is_one(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'["a",1]\n{"0":"b"}\n["c"]\n')
    assert [item.payload for item in fast(tmp_path / "a.jsonl") if isinstance(item, RawRow)] == [
        {"0": "a", "1": 1}, {"0": "b"}, {"0": "c"},
    ]  # fmt: skip
    (tmp_path / "b.jsonl").write_bytes(b'{"a":1}\n["b"]\n')
    assert [item.reason for item in fast(tmp_path / "b.jsonl") if isinstance(item, Reject)] == [
        "not_an_object"
    ]


@pytest.mark.parametrize("text", [b'[\n  {"a": 1}\n]\n', b'{\n  "a": 1\n}\n'])
def test_jsonl_document_over_several_lines_is_refused_with_the_remedy(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "x.jsonl").write_bytes(text)
    with pytest.raises(UnreadableFile, match="format: json"):
        fast(tmp_path / "x.jsonl")
