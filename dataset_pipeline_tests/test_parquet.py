"""Reading Parquet: values as JSON has them, rejects, damage. A few rows each, written by pyarrow to tmp_path."""

from __future__ import annotations

import datetime as dt
import decimal
import io
import json
import random
import tempfile
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_pipeline.storage.readers import (
    RawRow,
    Reject,
    RowBlock,
    UnreadableFile,
    columns_of,
    parquet,
    read_blocks,
    read_rows,
)

SECRET = "zebra"
"""Stands in rows that are rejected; must never show in what the reader says."""


def written(folder: Path, table: pa.Table, **options: Any) -> Path:
    path = folder / "rows.parquet"
    pq.write_table(table, path, **options)
    return path


def values(folder: Path, array: Any) -> list[Any]:
    """What the only column of a file with these values reads as."""
    rows = list(read_rows(written(folder, pa.table({"a": array}))))
    assert all(isinstance(row, RawRow) for row in rows)
    return [row.payload["a"] for row in rows if isinstance(row, RawRow)]


def faults(path: Path, **options: Any) -> list[tuple[int, str]]:
    return [(item.line, item.reason) for item in read_rows(path, **options) if isinstance(item, Reject)]


def refusal(path: Path) -> str:
    with pytest.raises(UnreadableFile) as caught:
        list(read_rows(path))
    with pytest.raises(UnreadableFile):
        columns_of(path)
    return str(caught.value).removeprefix(f"{path}: ")


def test_parquet_rows_have_numbers_from_one_across_row_groups(tmp_path: Path) -> None:
    path = written(tmp_path, pa.table({"t": ["a", "b", None], "n": [1, 2, 3]}), row_group_size=2)
    assert list(read_rows(path)) == [
        RawRow(1, 0, {"t": "a", "n": 1}),
        RawRow(2, 0, {"t": "b", "n": 2}),
        RawRow(3, 0, {"t": None, "n": 3}),
    ]
    assert columns_of(path) == ["t", "n"]


def test_parquet_text_and_number_columns_are_series(tmp_path: Path) -> None:
    path = written(tmp_path, pa.table({"t": ["é"], "n": [1], "x": [0.5], "b": [True], "m": [[1]]}))
    (block,) = read_blocks(path)
    assert isinstance(block, RowBlock) and len(block) == 1
    kinds = {k: v.dtype for k, v in block.columns.items() if isinstance(v, pl.Series)}
    assert kinds == {"t": pl.String, "n": pl.Int64, "x": pl.Float64, "b": pl.Boolean}
    nested = block.columns["m"]
    assert len(nested) == 1 and nested[0] == [1] and nested[:1] == [[1]]


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
)
def test_parquet_text_of_any_physical_type_is_text(tmp_path: Path, kind: Any) -> None:
    assert values(tmp_path, pa.array(["a", None, "é"]).cast(kind)) == ["a", None, "é"]


def test_parquet_numbers_stay_numbers(tmp_path: Path) -> None:
    assert values(tmp_path, pa.array([1, None], pa.uint8())) == [1, None]
    assert values(tmp_path, pa.array([2**64 - 1], pa.uint64())) == [2**64 - 1]
    assert values(tmp_path, pa.array([0.5, None], pa.float16())) == [0.5, None]
    assert values(tmp_path, pa.array([0.5], pa.float32())) == [0.5]
    assert values(tmp_path, pa.array([None, None], pa.null())) == [None, None]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_parquet_a_moment_is_the_same_text_in_any_unit(tmp_path: Path, unit: str) -> None:
    moment = dt.datetime(2026, 11, 1, 9, 30)
    assert values(tmp_path, pa.array([moment, None], pa.timestamp(unit))) == ["2026-11-01T09:30:00", None]
    zoned = pa.array([moment], pa.timestamp(unit, "UTC")).cast(pa.timestamp(unit, "Europe/Berlin"))
    assert values(tmp_path, zoned) == ["2026-11-01T09:30:00+00:00"]


def test_parquet_dates_times_and_fractions_are_iso_text(tmp_path: Path) -> None:
    assert values(tmp_path, pa.array([dt.date(26, 1, 2)], pa.date32())) == ["0026-01-02"]
    assert values(tmp_path, pa.array([dt.date(2026, 1, 2)], pa.date64())) == ["2026-01-02"]
    assert values(tmp_path, pa.array([dt.time(9, 30, 0, 500000)], pa.time64("us"))) == ["09:30:00.500"]
    assert values(tmp_path, pa.array([1, 1000], pa.timestamp("ns"))) == [
        "1970-01-01T00:00:00.000000001",
        "1970-01-01T00:00:00.000001",
    ]


def test_parquet_a_moment_no_calendar_has_stays_its_number(tmp_path: Path) -> None:
    assert values(tmp_path, pa.array([2**62, 0, None], pa.timestamp("ms"))) == [
        2**62,
        "1970-01-01T00:00:00",
        None,
    ]


def test_parquet_decimals_are_text_with_their_digits(tmp_path: Path) -> None:
    kind = pa.decimal128(20, 12)
    found = values(tmp_path, pa.array([decimal.Decimal("1.5"), decimal.Decimal(0), None], kind))
    assert found == ["1.500000000000", "0.000000000000", None]


def test_parquet_bytes_are_never_guessed_to_be_text(tmp_path: Path) -> None:
    assert values(tmp_path, pa.array([b"text", None], pa.binary())) == [{"binary": "4 bytes"}, None]
    assert values(tmp_path, pa.array([b"ab"], pa.binary(2))) == [{"binary": "2 bytes"}]


def test_parquet_uuids_are_text(tmp_path: Path) -> None:
    one = uuid.UUID(int=7)
    assert values(tmp_path, pa.array([one.bytes, None], pa.uuid())) == [str(one), None]


def test_parquet_nested_values_are_lists_and_objects(tmp_path: Path) -> None:
    turns = [[{"role": "user", "content": "é"}, {"role": "assistant", "content": None}], [], None, [None]]
    assert values(tmp_path, pa.array(turns)) == turns
    pairs = pa.array([[("k", 1), ("l", None)], [], None], pa.map_(pa.string(), pa.int64()))
    assert values(tmp_path, pairs) == [{"k": 1, "l": None}, {}, None]
    assert values(tmp_path, pa.array([[(7, "x")]], pa.map_(pa.int64(), pa.string()))) == [{"7": "x"}]
    deep = [{"a": [{"day": dt.date(2026, 1, 2), "raw": b"abc"}]}]
    assert values(tmp_path, pa.array(deep)) == [{"a": [{"day": "2026-01-02", "raw": {"binary": "3 bytes"}}]}]
    assert values(tmp_path, pa.array([[1, 2], None], pa.list_(pa.int8(), 2))) == [[1, 2], None]
    packed = pa.ListArray.from_arrays([0, 2], pa.array(["a", "a"]).dictionary_encode())
    assert values(tmp_path, packed) == [["a", "a"]]


def test_parquet_a_row_with_a_number_that_is_not_finite_is_rejected_alone(tmp_path: Path) -> None:
    path = written(
        tmp_path, pa.table({"t": ["a", SECRET, "c", SECRET], "x": [1.0, float("nan"), None, float("-inf")]})
    )
    found = list(read_rows(path))
    assert [item.line for item in found] == [1, 2, 3, 4]
    assert faults(path) == [(2, "non_finite_number"), (4, "non_finite_number")]
    assert isinstance(found[1], Reject) and "row 2" in found[1].detail and "'x'" in found[1].detail
    assert SECRET not in str([item for item in found if isinstance(item, Reject)])


def test_parquet_a_fault_inside_nested_values_rejects_its_row(tmp_path: Path) -> None:
    turns = [[{"c": "a"}], None, [{"c": "b"}, {"c": "x\0y"}], [{"c": "d"}]]
    assert faults(written(tmp_path, pa.table({"m": turns}))) == [(3, "nul_byte")]
    assert faults(written(tmp_path, pa.table({"m": [[1.0], [], [2.0, float("inf")]]}))) == [
        (3, "non_finite_number")
    ]


def test_parquet_nul_in_text_rejects_its_row(tmp_path: Path) -> None:
    assert faults(written(tmp_path, pa.table({"t": ["a", "b\0", None]}))) == [(2, "nul_byte")]


def test_parquet_text_that_is_no_utf8_rejects_its_row(tmp_path: Path) -> None:
    broken = pa.array([b"ok", b"\xff", "é".encode(), None]).view(pa.string())
    path = written(tmp_path, pa.table({"t": broken}), store_schema=False)
    assert faults(path) == [(2, "invalid_encoding")]
    assert [row.payload["t"] for row in read_rows(path) if isinstance(row, RawRow)] == ["ok", "é", None]


def test_parquet_texts_above_the_limit_reject_their_row_and_at_the_limit_do_not(tmp_path: Path) -> None:
    path = written(tmp_path, pa.table({"t": ["ééééé", "a" * 11, "b"], "n": [1, 2, 3]}))
    assert faults(path, max_record_bytes=10) == [(2, "too_long")]
    path = written(tmp_path, pa.table({"m": [["a" * 6, "b" * 5], ["c"], None]}))
    assert faults(path, max_record_bytes=10) == [(1, "too_long")]


def test_parquet_duplicate_names_are_refused_at_any_depth(tmp_path: Path) -> None:
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    assert "two columns named 'a'" in refusal(written(tmp_path, twice))
    inner = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"])
    assert "'s' has two fields of the same name" in refusal(written(tmp_path, pa.table({"s": inner})))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
        (f'{{"a": "{SECRET}"}}\n'.encode(), "plain text?"),
        (b"\x1f\x8b\x08\x00rest", "gzip data"),
        (b"PK\x03\x04rest", "spreadsheet"),
        (b"PAR1" + b"\0" * 20 + b"PARE", "is encrypted"),
        (b"PAR1" + b"\0" * 20, "ends early"),
        (b"PAR1" + b"\0" * 20 + b"PAR1", "damaged footer"),
        (b"PAR1" + b"\xff" * 20 + b"PAR1", "damaged footer"),
    ],
)
def test_parquet_file_that_is_none_is_refused_with_a_remedy(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(data)
    message = refusal(path)
    assert said in message and message.endswith(".") and SECRET not in message


def test_parquet_missing_file_is_refused(tmp_path: Path) -> None:
    assert "cannot be opened" in refusal(tmp_path / "none.parquet")


def test_parquet_file_without_rows_gives_none(tmp_path: Path) -> None:
    assert list(read_rows(written(tmp_path, pa.table({"t": pa.array([], pa.string())})))) == []


def test_parquet_damaged_page_gives_the_rows_before_it_and_one_reject(tmp_path: Path) -> None:
    table = pa.table({"t": [f"text {number}" for number in range(30)]})
    path = written(tmp_path, table, row_group_size=10, write_page_checksum=True, compression="none")
    data = path.read_bytes()
    path.write_bytes(data.replace(b"text 25", b"text xx"))
    found = list(read_rows(path))
    assert [item.line for item in found] == [*range(1, 21), 21]
    assert isinstance(found[-1], Reject) and found[-1].reason == "truncated_file"
    assert "row 20" in found[-1].detail and "30 rows" in found[-1].detail


def test_parquet_one_text_in_every_row_is_decoded_few_rows_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "WORST_BATCH_BYTES", 100_000)
    path = written(tmp_path, pa.table({"t": ["x" * 10_000] * 100}))
    assert path.stat().st_size < 20_000
    assert {len(block) for block in read_blocks(path) if isinstance(block, RowBlock)} == {10}


def test_parquet_flipped_bytes_give_rows_rejects_or_a_refusal(tmp_path: Path) -> None:
    """Few of them; thousands were tried in a process of their own, since a fault of Arrow may end it."""
    buffer = io.BytesIO()
    table = pa.table({"t": [f"é {n}" for n in range(50)], "m": [[{"r": "a", "n": n}] for n in range(50)]})
    pq.write_table(table, buffer)
    whole, chance, path = buffer.getvalue(), random.Random(7), tmp_path / "rows.parquet"
    # The statistics at the end are left alone here.
    for _ in range(150):
        data = bytearray(whole)
        data[chance.randrange(len(data) // 2)] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        try:
            found = list(read_rows(path))
        except UnreadableFile:
            continue
        lines = [item.line for item in found]
        assert lines == sorted(set(lines))
        assert len(found) == 50 or found[-1].line == len(found)
        orjson.dumps([item.payload for item in found if isinstance(item, RawRow)])


def canonical(row: RawRow) -> bytes:
    return orjson.dumps(row.payload, option=orjson.OPT_SORT_KEYS)


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "t": st.none() | st.text(),
            "n": st.none() | st.integers(-(2**63), 2**63 - 1),
            "x": st.none() | st.floats(),
            "b": st.none() | st.booleans(),
        }
    ),
    max_size=20,
)


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, group=st.integers(1, 9))
def test_parquet_and_jsonl_of_the_same_rows_give_the_same_payloads(
    rows: list[dict[str, Any]], group: int
) -> None:
    schema = pa.schema({"t": pa.string(), "n": pa.int64(), "x": pa.float64(), "b": pa.bool_()})
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), pa.Table.from_pylist(rows, schema), row_group_size=group)
        lines = Path(folder) / "rows.jsonl"
        lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
        ours, theirs = list(read_rows(path)), list(read_rows(lines))
    assert [item.line for item in ours] == [item.line for item in theirs]
    for one, other in zip(ours, theirs, strict=True):
        if isinstance(one, RawRow):
            assert isinstance(other, RawRow)
            assert canonical(one) == canonical(other)
        else:
            assert isinstance(other, Reject)


def test_parquet_wide_rows_come_fewer_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "BATCH_BYTES", 4_000)
    path = written(tmp_path, pa.table({"x": np.random.default_rng(1).random(1000)}), use_dictionary=False)
    sizes = [len(block) for block in read_blocks(path) if isinstance(block, RowBlock)]
    assert sum(sizes) == 1000 and 400 <= max(sizes) <= 600
