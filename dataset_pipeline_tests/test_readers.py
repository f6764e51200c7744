"""Reading raw rows: formats, rejects, recovery, broken files. A few lines each, written to tmp_path."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_pipeline.spec.reading import FORMAT_BY_SUFFIX, Reading, format_of
from dataset_pipeline.storage.readers import (
    READ_REASONS,
    RawRow,
    Reject,
    UnreadableFile,
    columns_of,
    file_sha256,
    read_rows,
)

SECRET = "zebra"
"""Stands in rows that are rejected; must never show in what the reader says."""


def read(folder: Path, name: str, data: bytes, **options: Any) -> list[RawRow | Reject]:
    path = folder / name
    path.write_bytes(data)
    reading = Reading.model_construct(encoding=options.pop("encoding", "utf-8"))
    return list(read_rows(path, reading, **options))


def payloads(found: list[RawRow | Reject]) -> list[dict[str, Any]]:
    return [item.payload for item in found if isinstance(item, RawRow)]


def reasons(found: list[RawRow | Reject]) -> list[tuple[int, str]]:
    return [(item.line, item.reason) for item in found if isinstance(item, Reject)]


def refusal(folder: Path, name: str, data: bytes, **options: Any) -> str:
    with pytest.raises(UnreadableFile) as caught:
        read(folder, name, data, **options)
    return str(caught.value).removeprefix(f"{folder / name}: ")


# JSON Lines


def test_readers_jsonl_lines_and_offsets_are_of_the_unpacked_stream(tmp_path: Path) -> None:
    data = b'\xef\xbb\xbf{"a":1}\r\n\n \t\r\n{"a":"\xc3\xa9"}\n{"a":[null]}'
    expected = [RawRow(1, 3, {"a": 1}), RawRow(4, 17, {"a": "é"}), RawRow(5, 28, {"a": [None]})]
    assert read(tmp_path, "x.jsonl", data) == expected
    assert read(tmp_path, "X.NDJSON.GZ", gzip.compress(data)) == expected


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"a":"zebra",}', "invalid_json"),
        (b'{"a":NaN,"zebra":1}', "invalid_json"),
        (b'{"a":-Infinity}', "invalid_json"),
        (b'{"a":1e999}', "invalid_json"),
        (b'{"a":"zebra\\ud800"}', "invalid_json"),
        (b'{"a":"zebra', "invalid_json"),
        (b'{"a":zebra}', "invalid_json"),
        (b'{"a":1}{"zebra":2}', "invalid_json"),
        (b'{"a":' * 251 + b"1" + b"}" * 251, "too_deep"),
        (b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", "too_deep"),
        (b'["zebra"]', "not_an_object"),
        (b'"zebra"', "not_an_object"),
        (b"null", "not_an_object"),
        (b'{"a":"zebra\xff"}', "invalid_encoding"),
        (b'{"a":"\xed\xa0\x80"}', "invalid_encoding"),
        (b'{"a":"zebra\x00"}', "nul_byte"),
        (b'{"a":["zebra\\u0000"]}', "nul_byte"),
        (b'{"a":{"\\u0000":1}}', "nul_byte"),
    ],
)
def test_readers_jsonl_bad_line_is_one_reject_between_its_neighbours(
    tmp_path: Path, line: bytes, reason: str
) -> None:
    first, bad, last = read(tmp_path, "x.jsonl", b'{"n":1}\n' + line + b'\n{"n":2}\n')
    assert (first, last) == (RawRow(1, 0, {"n": 1}), RawRow(3, 9 + len(line), {"n": 2}))
    assert isinstance(bad, Reject)
    assert (bad.line, bad.byte_offset, bad.reason) == (2, 8, reason)
    assert SECRET not in bad.detail


def test_readers_jsonl_deepest_row_can_be_written_again(tmp_path: Path) -> None:
    (row,) = read(tmp_path, "x.jsonl", b'{"a":' * 250 + b"1" + b"}" * 250)
    assert isinstance(row, RawRow)
    assert orjson.dumps(row.payload).startswith(b'{"a":{"a":')


def test_readers_jsonl_escaped_backslash_before_u0000_is_a_row(tmp_path: Path) -> None:
    assert payloads(read(tmp_path, "x.jsonl", rb'{"a":"C:\\u0000"}')) == [{"a": r"C:\u0000"}]


def test_readers_jsonl_empty_file_has_no_rows(tmp_path: Path) -> None:
    assert read(tmp_path, "x.jsonl", b"") == []
    assert read(tmp_path, "x.jsonl.gz", gzip.compress(b"")) == []


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz"])
def test_readers_long_line_is_skipped_and_the_next_is_read(tmp_path: Path, name: str) -> None:
    data = b'{"n":1}\n{"a":"' + b"y" * 2_000_000 + b'"}\n{"n":2}\n{"a":"yyyy"}'
    packed = gzip.compress(data) if name.endswith(".gz") else data
    found = read(tmp_path, name, packed, max_record_bytes=11)
    assert payloads(found) == [{"n": 1}, {"n": 2}]
    assert reasons(found) == [(2, "too_long"), (4, "too_long")]
    assert read(tmp_path, "y.jsonl", b'{"a":"yyy"}', max_record_bytes=11) == [RawRow(1, 0, {"a": "yyy"})]


def test_readers_gzip_bomb_of_one_line_stays_in_bounded_memory(tmp_path: Path) -> None:
    packed = gzip.compress(b"y" * 64 * 2**20 + b'\n{"n":1}\n', compresslevel=1)
    tracemalloc.start()
    found = read(tmp_path, "x.jsonl.gz", packed, max_record_bytes=2**20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (reasons(found), payloads(found)) == ([(1, "too_long")], [{"n": 1}])
    assert peak < 8 * 2**20


# Encodings


def test_readers_declared_encoding_decodes_and_rejects_what_it_does_not_hold(tmp_path: Path) -> None:
    found = read(tmp_path, "x.csv", b"a,b\ncaf\xe9,1\n\x81,2\n", encoding="cp1252")
    assert payloads(found) == [{"a": "café", "b": "1"}]
    assert reasons(found) == [(3, "invalid_encoding")]
    found = read(tmp_path, "x.jsonl", b'{"a":"caf\xe9"}\n{"a":"\x81"}\n', encoding="cp1252")
    assert (payloads(found), reasons(found)) == ([{"a": "café"}], [(2, "invalid_encoding")])


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp037", "shift_jis"])
def test_readers_newlines_are_found_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    # U+0A0A and U+0A00 hold newline bytes that end no line of UTF-16.
    value = "\u0a0a\u0a00\u0a0a" if encoding.startswith("utf") else "tail"
    before = f'a,b\n1,"{value}\n2"\n'
    data = f"{before}3,4\n".encode(encoding)
    found = read(tmp_path, "x.csv", data, encoding=encoding)
    assert payloads(found) == [{"a": "1", "b": f"{value}\n2"}, {"a": "3", "b": "4"}]
    assert found[-1].line == 4
    assert data[: found[-1].byte_offset].decode(encoding) == before


def test_readers_lone_surrogate_of_utf7_is_rejected(tmp_path: Path) -> None:
    found = read(tmp_path, "x.csv", b"a,b\n+2AA-,1\n+AOk-,2\n", encoding="utf-7")
    assert (payloads(found), reasons(found)) == ([{"a": "é", "b": "2"}], [(2, "invalid_encoding")])


def test_readers_encoding_that_cannot_be_right_is_refused_with_a_remedy(tmp_path: Path) -> None:
    assert "cp1252" in refusal(tmp_path, "x.jsonl", b"", encoding="klingon")
    assert "no text encoding" in refusal(tmp_path, "x.jsonl", b"", encoding="base64")
    assert "utf-16-le" in refusal(tmp_path, "x.jsonl", b'{"a":1}', encoding="utf-16")
    assert "utf-8" in refusal(tmp_path, "x.csv", b"\xef\xbb\xbfa,b\n", encoding="cp1252")


def test_readers_utf16_read_as_utf8_is_rejects_that_name_the_mark(tmp_path: Path) -> None:
    first = read(tmp_path, "x.jsonl", '{"a":1}\n'.encode("utf-16"))[0]
    assert isinstance(first, Reject)
    assert first.reason == "invalid_encoding"
    assert "utf-16-le" in first.detail
    assert "utf-16-le" in refusal(tmp_path, "x.csv", "a,b\n1,2\n".encode("utf-16"))


# CSV


def test_readers_csv_values_are_kept_as_they_are(tmp_path: Path) -> None:
    data = b'\xef\xbb\xbfid,text\r\n1,"a ""b"", c\r\nd"\r\n\r\n2, x \n3,""\n"4",say "hi"\n5,e'
    assert read(tmp_path, "x.csv", data) == [
        RawRow(2, 12, {"id": "1", "text": 'a "b", c\r\nd'}),
        RawRow(5, 33, {"id": "2", "text": " x "}),
        RawRow(6, 39, {"id": "3", "text": ""}),
        RawRow(7, 44, {"id": "4", "text": 'say "hi"'}),
        RawRow(8, 57, {"id": "5", "text": "e"}),
    ]


def test_readers_tsv_is_cut_at_tabs_only(tmp_path: Path) -> None:
    found = read(tmp_path, "x.tsv.gz", gzip.compress(b'a\tb\n1,2\t"x\ty"\n\t\n'))
    assert payloads(found) == [{"a": "1,2", "b": "x\ty"}, {"a": "", "b": ""}]


def test_readers_csv_empty_column_names_are_numbered(tmp_path: Path) -> None:
    assert payloads(read(tmp_path, "x.csv", b",b, \n1,2,3\n")) == [
        {"column_1": "1", "b": "2", "column_3": "3"}
    ]
    assert columns_of(tmp_path / "x.csv") == ["column_1", "b", "column_3"]
    assert columns_of(tmp_path / "none.jsonl") is None


def test_readers_csv_header_only_has_no_rows(tmp_path: Path) -> None:
    assert read(tmp_path, "x.csv", b"\n\na,b") == []


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty file: a CSV needs a header line"),
        (b"\r\n\n", "empty file: a CSV needs a header line"),
        (b"zebra,b,zebra\n1,2,3\n", "columns 1 and 3"),
        (b"column_2,\n", "columns 1 and 2"),
        (b'"zebra,b\n1,2\n', "unclosed_quote"),
        (b"zebra\xff,b\n1,2\n", "invalid_encoding"),
        (b"zebra,b\r1,2\r", "carriage return"),
    ],
)
def test_readers_csv_without_usable_header_is_refused(tmp_path: Path, data: bytes, says: str) -> None:
    message = refusal(tmp_path, "x.csv", data)
    assert says in message
    assert SECRET not in message


def test_readers_csv_wrong_field_count_says_both_numbers(tmp_path: Path) -> None:
    assert read(tmp_path, "x.csv", b"a,b,c\n1,2\n1,2,3\n1,2,3,4\n") == [
        Reject(2, 6, "wrong_field_count", "expected 3 fields, found 2"),
        RawRow(3, 10, {"a": "1", "b": "2", "c": "3"}),
        Reject(4, 16, "wrong_field_count", "expected 3 fields, found 4"),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'"zebra" x,2', "invalid_csv"),
        (b"zebra\r,2", "invalid_csv"),
        (b'"zebra,2', "unclosed_quote"),
        (b'1,"zebra', "unclosed_quote"),
        (b"zebra\x00,2", "nul_byte"),
        (b"zebra\xff,2", "invalid_encoding"),
        (b'"zebra\xff,2', "invalid_encoding"),
        (b"a,b", "repeated_header"),
        (b"zebra" * 20 + b",2", "too_long"),
    ],
)
def test_readers_csv_bad_line_loses_no_other_line(tmp_path: Path, line: bytes, reason: str) -> None:
    data = b"a,b\n1,2\n" + line + b'\n3,4\n5,"6"\n7,8'
    found = read(tmp_path, "x.csv", data, max_record_bytes=90)
    assert reasons(found) == [(3, reason)]
    assert [row["a"] for row in payloads(found)] == ["1", "3", "5", "7"]
    assert all(SECRET not in item.detail for item in found if isinstance(item, Reject))


def test_readers_csv_multi_line_record_of_wrong_width_rejects_its_first_line_only(tmp_path: Path) -> None:
    found = read(tmp_path, "x.csv", b'a,b\nx,"y\n1,2\nz",3\n5,6\n')
    assert found == [
        Reject(2, 4, "wrong_field_count", "expected 2 fields, found 3"),
        RawRow(3, 9, {"a": "1", "b": "2"}),
        RawRow(4, 13, {"a": 'z"', "b": "3"}),
        RawRow(5, 18, {"a": "5", "b": "6"}),
    ]


@pytest.mark.parametrize(("bad", "reason"), [(b"\xff", "invalid_encoding"), (b"\x00", "nul_byte")])
def test_readers_csv_sound_record_with_a_bad_byte_is_one_reject(
    tmp_path: Path, bad: bytes, reason: str
) -> None:
    found = read(tmp_path, "x.csv", b'a,b\n1,"x\n2,' + bad + b'\ny"\n3,4\n')
    assert (reasons(found), payloads(found)) == ([(2, reason)], [{"a": "3", "b": "4"}])


def test_readers_csv_record_above_the_limits_counts_as_unclosed(tmp_path: Path) -> None:
    lines = b"1,2\n" * 10_000
    found = read(tmp_path, "x.csv", b'a,b\n0,"\n' + lines + b'9,"\n')
    assert reasons(found) == [(2, "unclosed_quote"), (10_003, "unclosed_quote")]
    assert len(payloads(found)) == 10_000
    assert reasons(read(tmp_path, "x.csv", b'a,b\n0,"11\n22\n33"\n', max_record_bytes=9))[0] == (
        2,
        "unclosed_quote",
    )
    assert payloads(read(tmp_path, "x.csv", b'a,b\n0,"11\n22\n33"\n', max_record_bytes=12)) == [
        {"a": "0", "b": "11\n22\n33"}
    ]


@pytest.mark.parametrize("line", ['x","y\n', '1,"b,c\n', '"open\n""b\n', 'x","y' + "z" * 500 + "\n"])
def test_readers_csv_stray_quote_on_every_line_is_read_in_linear_time(tmp_path: Path, line: str) -> None:
    lines = 100_000
    began = time.perf_counter()
    found = read(tmp_path, "x.csv", b"a,b\n" + (line * (lines // line.count("\n"))).encode())
    assert time.perf_counter() - began < 20  # about one second; quadratic reading takes hours
    assert (len(reasons(found)), payloads(found)) == (lines, [])


# Files that are not what they are called


@pytest.mark.parametrize("name", ["x.jsonl.gz", "x.jsonl", "x.csv"])
def test_readers_git_lfs_pointer_is_named_as_one(tmp_path: Path, name: str) -> None:
    message = refusal(tmp_path, name, b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    assert "Git LFS pointer" in message
    assert ("is not gzip" in message) == name.endswith(".gz")


def test_readers_name_and_content_that_contradict_are_refused(tmp_path: Path) -> None:
    assert "is not gzip (plain text?)" in refusal(tmp_path, "x.jsonl.gz", b'{"a":"zebra"}')
    assert "is not gzip (an empty file)" in refusal(tmp_path, "x.csv.gz", b"")
    assert "Add .gz" in refusal(tmp_path, "x.jsonl", gzip.compress(b'{"a":1}'))
    assert "spreadsheet" in refusal(tmp_path, "x.csv", b"PK\x03\x04zebra")
    assert "Name the format" in refusal(tmp_path, "x.dat", b"zebra")
    with pytest.raises(UnreadableFile, match="cannot be opened"):
        next(read_rows(tmp_path / "none.jsonl"))


def packed_and_cut(data: bytes, drop: int) -> bytes:
    """Stored, not compressed: what is cut off the end is cut off the text (8 bytes of trailer before it)."""
    return gzip.compress(data, compresslevel=0)[: -8 - drop]


def test_readers_truncated_gzip_gives_rows_then_one_reject(tmp_path: Path) -> None:
    found = read(tmp_path, "x.jsonl.gz", packed_and_cut(b'{"n":1}\n{"n":2}\n{"n":3}\n', 3))
    assert payloads(found) == [{"n": 1}, {"n": 2}]
    assert isinstance(found[-1], Reject)
    assert (found[-1].line, found[-1].byte_offset, found[-1].reason) == (3, 16, "truncated_file")
    assert "21 unpacked bytes" in found[-1].detail


def test_readers_truncated_gzip_without_trailer_only_is_still_told(tmp_path: Path) -> None:
    found = read(tmp_path, "x.csv.gz", packed_and_cut(b"a,b\n1,2\n", 0))
    assert (payloads(found), reasons(found)) == ([{"a": "1", "b": "2"}], [(3, "truncated_file")])


def test_readers_truncated_csv_keeps_an_open_record_out_of_the_rows(tmp_path: Path) -> None:
    # "5,6" looks like a row, and may be part of the cut-off text.
    found = read(tmp_path, "x.csv.gz", packed_and_cut(b'a,b\n1,2\n3,"x\n5,6\ny"\n', 3))
    assert (payloads(found), reasons(found)) == ([{"a": "1", "b": "2"}], [(3, "truncated_file")])


def test_readers_damaged_gzip_is_truncated_and_nothing_readable_is_not_a_crash(tmp_path: Path) -> None:
    rows = b"".join(b'{"n":%d}\n' % number for number in range(100_000))
    packed = bytearray(gzip.compress(rows))
    packed[len(packed) // 2 : len(packed) // 2 + 64] = b"\xff" * 64
    found = read(tmp_path, "x.jsonl.gz", bytes(packed))
    assert [reason for _, reason in reasons(found)][-1] == "truncated_file"
    assert payloads(found)[:1000] == [{"n": number} for number in range(1000)]
    assert reasons(read(tmp_path, "x.jsonl.gz", b"\x1f\x8b\x08")) == [(1, "truncated_file")]
    assert "truncated_file" in refusal(tmp_path, "x.csv.gz", b"\x1f\x8b\x08")


def test_readers_file_sha256_is_of_the_packed_bytes(tmp_path: Path) -> None:
    data = b"zebra" * 200_000
    (tmp_path / "x.csv.gz").write_bytes(data)
    assert file_sha256(tmp_path / "x.csv.gz") == (hashlib.sha256(data).hexdigest(), 1_000_000)


def test_readers_format_goes_by_suffix_in_any_case() -> None:
    assert all(
        format_of(f"day.1{suffix}") for suffix in (*FORMAT_BY_SUFFIX, ".CSV", ".Jsonl.GZ", ".json.zst")
    )
    assert not any(format_of(name) for name in ("a.dat", "a.csv.zip", "a.gz", "csv", "a.parquet.gz"))


def test_readers_reject_takes_closed_words_and_short_details_only() -> None:
    with pytest.raises(ValueError, match="reason"):
        Reject(1, 0, "odd", "")
    with pytest.raises(ValueError, match="201"):
        Reject(1, 0, "invalid_json", "x" * 201)
    assert "truncated_file" in READ_REASONS


# Conservation

VALUE = st.text(
    st.one_of(st.sampled_from(list(',"\n\r\t ;é\u2028')), st.characters(exclude_categories=["Cs"])),
    max_size=12,
).filter(lambda value: "\0" not in value)
QUOTING = st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])


@settings(max_examples=200, deadline=None)
@given(
    st.data(), st.integers(1, 4), QUOTING, st.sampled_from(["\n", "\r\n"]), st.sampled_from([".csv", ".tsv"])
)
def test_readers_csv_written_rows_come_back(
    data: Any, width: int, quoting: Any, end: str, suffix: str
) -> None:
    # csv.writer leaves a carriage return unquoted where lines end with \n alone: what it writes is then
    # another file, by the reader's and by its own reading.
    value = VALUE.filter(lambda text: quoting != csv.QUOTE_MINIMAL or end != "\n" or "\r" not in text)
    rows = data.draw(st.lists(st.lists(value, min_size=width, max_size=width), max_size=8))
    columns = [f"the column {number}" for number in range(width)]
    buffer = io.StringIO(newline="")
    delimiter = "\t" if suffix == ".tsv" else ","
    csv.writer(buffer, quoting=quoting, lineterminator=end, delimiter=delimiter).writerows([columns, *rows])
    with tempfile.TemporaryDirectory() as folder:
        found = read(Path(folder), f"x{suffix}", buffer.getvalue().encode())
    assert [list(row.values()) for row in payloads(found)] == rows
    assert reasons(found) == []


def recovered(text: str, expected: int) -> list[tuple[int, list[str] | None]]:
    """What reading must give, the slow way: from each line, the shortest run of lines that is a record."""
    lines = text.split("\n")
    found: list[tuple[int, list[str] | None]] = []
    at = 0
    while at < len(lines):
        fields: list[str] | None = None
        taken = 1
        for count in range(1, len(lines) - at + 1):
            try:
                parsed = list(
                    csv.reader(io.StringIO("\n".join(lines[at : at + count]), newline=""), strict=True)
                )
            except csv.Error as error:
                if "unexpected end" in str(error):
                    continue
                break
            if len(parsed) == 1 and len(parsed[0]) == expected:
                fields, taken = parsed[0], count
            break
        if lines[at].strip():
            found.append((at + 1, fields))
        at += taken
    return found


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(["x", ",", '"', '""', ',"', '",', "\n", "\n\n", '"\n']), max_size=40))
def test_readers_csv_soup_is_recovered_as_the_slow_way_does(parts: list[str]) -> None:
    text = "first,second\n" + "".join(parts)
    with tempfile.TemporaryDirectory() as folder:
        found = read(Path(folder), "x.csv", text.encode())
    seen = [(item.line, list(item.payload.values()) if isinstance(item, RawRow) else None) for item in found]
    assert seen == recovered(text, 2)[1:]
    starts = [0, *(place + 1 for place, char in enumerate(text) if char == "\n")]
    assert [item.byte_offset for item in found] == [starts[item.line - 1] for item in found]


JSON_VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | VALUE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(VALUE, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.dictionaries(VALUE, JSON_VALUE, max_size=4), max_size=6),
    st.sampled_from([b"\n", b"\r\n", b"\n \n"]),
)
def test_readers_jsonl_written_objects_come_back(objects: list[dict[str, Any]], end: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = read(Path(folder), "x.jsonl", end.join(orjson.dumps(item) for item in objects))
    assert payloads(found) == objects
    assert reasons(found) == []
