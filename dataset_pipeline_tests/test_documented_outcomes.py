"""What becomes of the usual oddities, format by format: the table of the README, kept true.

Lives here: reading and mapping, without gates; an empty prompt is a record here, and filter drops it. Keep out: hostile files (`test_hostile`), single readers' own tests.
"""

from __future__ import annotations

import codecs
import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from dataset_pipeline.spec.reading import Fields, Reading, Shape
from dataset_pipeline.storage.readers import UnreadableFile, read_blocks
from dataset_pipeline.transforms import ingest
from dataset_pipeline_tests.fuzzing.fuzz_layouts import source_of

INSTRUCTION = Shape(fields=Fields(id="id", input="text", output="out"))
CHAT = Shape(layout="chat")


def outcome(
    folder: Path,
    name: str,
    data: bytes,
    shape: Shape = INSTRUCTION,
    task: str = "instruction",
    **reading: Any,
) -> list[str]:
    """Each row of a file in order: `ok PROMPT` or the reason; or [the error of the file]."""
    path = folder / name
    path.write_bytes(data)
    source, params = source_of(shape, task)
    try:
        batch = ingest.ingest(
            read_blocks(path, Reading(**reading)), source, params, dt.date(2026, 1, 2), name
        )
    except (UnreadableFile, ingest.MissingColumn) as error:
        return [type(error).__name__]
    rows = [
        (line, f"ok {messages[0]['content']}")
        for line, messages in batch.records.select("line", "messages").iter_rows()
    ]
    rows += list(batch.rejects.select("line", "reason").iter_rows())
    return [what for _, what in sorted(rows)]


def lines(*rows: Any) -> bytes:
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows).encode()


A, B = {"id": "a", "text": "x", "out": "y"}, {"id": "b", "text": "z", "out": "y"}
CSV = b"id,text,out\na,x,y\n"


@pytest.mark.parametrize(
    ("case", "name", "data", "expected"),
    [
        ("extra column in a row", "a.jsonl", lines(A, B | {"more": 1}), ["ok x", "ok z"]),
        ("extra column in a row", "a.csv", CSV + b"b,z,y,more\n", ["ok x", "wrong_field_count"]),
        ("column missing in a row", "a.jsonl", lines(A, {"id": "b", "text": "z"}), ["ok x", "missing_value"]),
        ("prompt missing in a row", "a.jsonl", lines(A, {"id": "b", "out": "y"}), ["ok x", "missing_value"]),
        ("column missing in a row", "a.csv", CSV + b"b,z\n", ["ok x", "wrong_field_count"]),
        ("column missing in all rows", "a.jsonl", lines({"id": "a", "text": "x"}), ["MissingColumn"]),
        ("column missing in all rows", "a.csv", b"id,text\na,x\n", ["MissingColumn"]),
        ("mixed types in a column", "a.jsonl", lines(A | {"text": 5}, A | {"text": ["x"]}, A | {"text": None}, A | {"text": True}),
         ["wrong_type", "wrong_type", "missing_value", "wrong_type"]),
        ("number as the answer", "a.jsonl", lines(A | {"out": 5}), ["ok x"]),
        ("duplicate ids", "a.jsonl", lines(A, A | {"text": "z"}), ["ok x", "ok z"]),
        ("repeated header", "a.csv", CSV + b"id,text,out\nb,z,y\n", ["ok x", "repeated_header", "ok z"]),
        ("NaN, Infinity, 1e999", "a.jsonl", lines('{"id": "a", "text": "x", "out": "y", "n": NaN}', '{"n": -Infinity}', '{"n": 1e999}', A),
         ["invalid_json", "invalid_json", "invalid_json", "ok x"]),
        ("NaN, 1e999", "a.csv", b"id,text,out\na,NaN,1e999\n", ["ok NaN"]),
        ("integer above 64 bit", "a.jsonl", lines(A | {"id": 2**80}), ["ok x"]),
        ("empty string", "a.jsonl", lines(A | {"text": ""}, A | {"text": " \t"}, A), ["ok ", "ok  \t", "ok x"]),
        ("empty string", "a.csv", CSV + b"b,,y\nc, ,y\n", ["ok x", "ok ", "ok  "]),
        ("duplicate key: the last counts", "a.jsonl", b'{"id": "a", "text": "x", "text": "z", "out": "y"}\n', ["ok z"]),
        ("duplicate column", "a.csv", b"id,text,out,text\na,x,y,z\n", ["UnreadableFile"]),
        ("empty file", "a.jsonl", b"", []),
        ("empty file", "a.json", b"", ["truncated_file"]),
        ("empty file", "a.csv", b"", ["UnreadableFile"]),
        ("empty file", "a.parquet", b"", ["UnreadableFile"]),
        ("empty file", "a.xlsx", b"", ["UnreadableFile"]),
        ("header without rows", "a.csv", b"id,text,out\n", []),
        ("trailing garbage", "a.jsonl", lines(A, "garbage"), ["ok x", "invalid_json"]),
        ("trailing garbage", "a.json", json.dumps([A]).encode() + b" garbage", ["ok x", "invalid_json"]),
        ("another document after it", "a.json", json.dumps([A]).encode() + b" []", ["invalid_json", "ok x", "truncated_file"]),
        ("byte order mark", "a.jsonl", codecs.BOM_UTF8 + lines(A), ["ok x"]),
        ("byte order mark", "a.csv", codecs.BOM_UTF8 + CSV, ["ok x"]),
        ("byte order mark", "a.json", codecs.BOM_UTF8 + json.dumps([A]).encode(), ["ok x"]),
        ("blank lines", "a.jsonl", b"\n \n" + lines(A) + b"\r\n", ["ok x"]),
        ("blank lines", "a.csv", CSV + b"\n  \r\nb,z,y\n", ["ok x", "ok z"]),
        ("CRLF", "a.jsonl", lines(A, B).replace(b"\n", b"\r\n"), ["ok x", "ok z"]),
        ("CRLF", "a.csv", CSV.replace(b"\n", b"\r\n"), ["ok x"]),
        ("no final newline", "a.jsonl", lines(A).rstrip(), ["ok x"]),
        ("no final newline", "a.csv", CSV.rstrip(), ["ok x"]),
    ],
)  # fmt: skip
def test_documented_outcome(tmp_path: Path, case: str, name: str, data: bytes, expected: list[str]) -> None:
    found = outcome(tmp_path, name, data)
    assert sorted(found) == sorted(expected), case


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        (("user", "assistant"), "ok hi"),
        (("assistant", "user"), "roles_out_of_order"),
        (("user", "user", "assistant"), "roles_out_of_order"),
        (("user",), "roles_out_of_order"),
        (("user", "poet"), "unknown_role"),
    ],
)
def test_documented_outcome_roles(tmp_path: Path, roles: tuple[str, ...], expected: str) -> None:
    row = {"messages": [{"role": role, "content": "hi"} for role in roles]}
    assert outcome(tmp_path, "a.jsonl", lines(row), CHAT, "chat") == [expected]


def test_documented_outcome_blank_message(tmp_path: Path) -> None:
    row = {"messages": [{"role": "user", "content": " \n"}, {"role": "assistant", "content": "x"}]}
    assert outcome(tmp_path, "a.jsonl", lines(row), CHAT, "chat") == ["empty_message"]


def test_documented_outcome_parquet_and_sheet(tmp_path: Path) -> None:
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq
    from openpyxl import Workbook

    table = pa.table({"id": ["a", "b", "c"], "text": ["x", None, ""], "out": ["y"] * 3, "n": [1.0, 2.0, 3.0]})
    out = io.BytesIO()
    pq.write_table(table, out)
    assert outcome(tmp_path, "a.parquet", out.getvalue()) == ["ok x", "missing_value", "ok "]
    out = io.BytesIO()
    pq.write_table(table.set_column(3, "n", pa.array([float("nan"), float("inf"), 1.0])).slice(0, 2), out)
    assert outcome(tmp_path, "a.parquet", out.getvalue()) == ["non_finite_number", "non_finite_number"]
    book, out = Workbook(), io.BytesIO()
    for row in (
        ["id", "text", "out"],
        ["a", "x", "y"],
        [],
        ["b", "z", "y", "more"],
        ["id", "text", "out"],
        ["c", None, "y"],
    ):
        book.active.append(row)
    book.save(out)
    expected = ["ok x", "wrong_field_count", "repeated_header", "missing_value"]
    assert outcome(tmp_path, "a.xlsx", out.getvalue()) == expected
