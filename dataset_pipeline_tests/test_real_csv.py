"""Published CSV files as shipped: rows as Python's csv module reads them, and the same data in other dialects.

What must be true is computed here with the csv module alone.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import tarfile
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest

from dataset_pipeline.spec.reading import Reading
from dataset_pipeline.storage.readers import RawRow, Reject, columns_of, read_rows

pytestmark = pytest.mark.real_data

VARIABLE = "DATASET_PIPELINE_REAL_DATA"
FILES = {
    "davidson_hate/labeled_data.csv.gz": 24_783,
    "crowd_rte/rte.standardized.csv.gz": 8_000,
    "dedupe_csv/csv_example/csv_example_input_with_true_ids.csv.gz": None,
    "dedupe_csv/csv_example/csv_example_messy_input.csv.gz": None,
    "dedupe_csv/record_linkage_example/AbtBuy_Abt.csv.gz": None,
    "dedupe_csv/record_linkage_example/AbtBuy_Buy.csv.gz": None,
    "banking77/train.csv.gz": 10_003,
}
"""File to its rows, where the SOURCE.md beside it says how many."""


class Whole(NamedTuple):
    """A file as the csv module reads it. lines: on which each row starts."""

    encoding: str
    header: list[str]
    rows: list[list[str]]
    lines: list[int]


def root() -> Path:
    folder = os.environ.get(VARIABLE)
    assert folder, f"{VARIABLE} must name the folder of the real data"
    return Path(folder)


@cache
def whole(name: str) -> Whole:
    data = gzip.decompress((root() / name).read_bytes())
    try:
        text, encoding = data.decode("utf-8-sig"), "utf-8"
    except UnicodeError:
        text, encoding = data.decode("cp1252"), "cp1252"
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header = next(reader)
    rows, lines, line = [], [], reader.line_num + 1
    for row in reader:
        if row:
            rows.append(row)
            lines.append(line)
        line = reader.line_num + 1
    return Whole(encoding, header, rows, lines)


def read(path: Path, **keys: Any) -> tuple[list[RawRow], list[Reject]]:
    found = list(read_rows(path, Reading(**keys)))
    return [i for i in found if isinstance(i, RawRow)], [i for i in found if isinstance(i, Reject)]


@pytest.mark.parametrize("name", FILES)
def test_real_csv_rows_are_those_of_the_csv_module(name: str) -> None:
    expected, counted = whole(name), FILES[name]
    rows, rejects = read(root() / name, encoding=expected.encoding)
    names = columns_of(root() / name, Reading(encoding=expected.encoding))
    assert names == [column or f"column_{place}" for place, column in enumerate(expected.header, 1)]
    assert rejects == []
    assert len(rows) == len(expected.rows) == (counted or len(rows))
    assert [row.line for row in rows] == expected.lines
    assert [list(row.payload.values()) for row in rows] == expected.rows
    data = gzip.decompress((root() / name).read_bytes())
    step = max(1, len(rows) // 10)
    for row, fields in list(zip(rows, expected.rows, strict=True))[::step]:
        assert row.payload == dict(zip(names, fields, strict=True))
        assert data[: row.byte_offset].count(b"\n") == row.line - 1
        assert row.byte_offset == 0 or data[row.byte_offset - 1 : row.byte_offset] == b"\n"


def written(header: list[str], rows: list[list[str]], delimiter: str, quoting: Any, end: str) -> list[str]:
    """The records of a file as the csv module writes them, the header first."""
    records = []
    for row in (header, *rows):
        buffer = io.StringIO(newline="")
        csv.writer(buffer, delimiter=delimiter, quoting=quoting, lineterminator=end).writerow(row)
        records.append(buffer.getvalue())
    return records


def without_returns(rows: list[list[str]]) -> list[list[str]]:
    """csv.writer leaves a carriage return unquoted where lines end with a newline alone."""
    return [[field.replace("\r", " ") for field in row] for row in rows]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_real_csv_round_trip_through_dialects(
    tmp_path: Path, name: str, delimiter: str, quoting: Any, end: str
) -> None:
    expected = whole(name)
    rows = without_returns(expected.rows)
    records = [record.encode() for record in written(expected.header, rows, delimiter, quoting, end)]
    mark = b"\xef\xbb\xbf" if end == "\r\n" else b""
    path = tmp_path / "x.csv"
    path.write_bytes(mark + b"".join(records))
    found, rejects = read(path)
    assert rejects == []
    assert [list(row.payload.values()) for row in found] == rows
    starts = accumulate(map(len, records), initial=len(mark))
    assert [row.byte_offset for row in found] == list(starts)[1:-1]


@pytest.mark.parametrize("name", FILES)
def test_real_csv_round_trip_through_packing_and_encoding(tmp_path: Path, name: str) -> None:
    expected = whole(name)
    rows = without_returns(expected.rows)
    text = "".join(written(expected.header, rows, ",", csv.QUOTE_MINIMAL, "\n"))
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(text.encode(), 1))
    (tmp_path / "x.csv.zst").write_bytes(pa.compress(text.encode(), "zstd", asbytes=True))
    for packed in ("x.csv.gz", "x.csv.zst"):
        found, rejects = read(tmp_path / packed)
        assert rejects == []
        assert [list(row.payload.values()) for row in found] == rows
    western = [row for row in rows if encodable("".join(row))]
    assert len(western) > 0.5 * len(rows)
    (tmp_path / "x.csv").write_bytes(
        "".join(written(expected.header, western, ";", csv.QUOTE_MINIMAL, "\r\n")).encode("cp1252")
    )
    found, rejects = read(tmp_path / "x.csv", encoding="cp1252")
    assert rejects == []
    assert [list(row.payload.values()) for row in found] == western


def encodable(text: str) -> bool:
    try:
        text.encode("cp1252")
    except UnicodeError:
        return False
    return True


def test_real_csv_spectrum_is_what_its_json_says(tmp_path: Path) -> None:
    with tarfile.open(root() / "csv_spectrum/files.tar.gz") as archive:
        files = {member.name: archive.extractfile(member) for member in archive if member.isfile()}
        contents = {name: file.read() for name, file in files.items() if file is not None}
    names = [name for name in contents if name.startswith("csvs/")]
    assert len(names) == 12
    for name in names:
        # As shipped, the files named for it lack the carriage returns that their JSON has.
        data = contents[name].replace(b"\n", b"\r\n" if name.endswith("_crlf.csv") else b"\n")
        (tmp_path / "x.csv").write_bytes(data)
        rows, rejects = read(tmp_path / "x.csv")
        expected = json.loads(contents[name.replace("csvs/", "json/").replace(".csv", ".json")])
        expected = expected if isinstance(expected, list) else [expected]
        found = [row.payload for row in rows]
        plain = csv.DictReader(io.StringIO(data.decode(), newline=""), strict=True)
        assert (found, rejects) == (list(plain), [])
        for row in (*found, *expected):
            # One JSON has another telephone number than its CSV.
            row.pop("Contact Phone Number", None)
        assert found == expected, name
