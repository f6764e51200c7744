"""CSV and TSV: dialects, and that reading in blocks gives what reading record by record gives."""

from __future__ import annotations

import itertools
import random
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_pipeline.spec.reading import Reading
from dataset_pipeline.storage.readers import (
    RawRow,
    Reject,
    RowBlock,
    UnreadableFile,
    columns_of,
    read_blocks,
    read_rows,
)
from dataset_pipeline.storage.readers.csv_blocks import BlockReader, Sizes, Stream, cut
from dataset_pipeline.storage.readers.csv_records import Place, Records, Table
from dataset_pipeline.storage.readers.dialect import Dialect, Lines
from dataset_pipeline.storage.readers.packing import BrokenStream
from dataset_pipeline.storage.readers.streams import codec_for, physical_lines


def read(folder: Path, data: bytes, name: str = "x.csv", **keys: Any) -> list[RawRow | Reject]:
    path = folder / name
    path.write_bytes(data)
    return list(read_rows(path, Reading(**keys)))


def rows(folder: Path, data: bytes, name: str = "x.csv", **keys: Any) -> list[dict[str, Any]]:
    found = read(folder, data, name, **keys)
    assert not [item for item in found if isinstance(item, Reject)]
    return [item.payload for item in found if isinstance(item, RawRow)]


def refusal(folder: Path, data: bytes, name: str = "x.csv", **keys: Any) -> str:
    with pytest.raises(UnreadableFile) as caught:
        read(folder, data, name, **keys)
    return str(caught.value).removeprefix(f"{folder / name}: ")


# Delimiters


@pytest.mark.parametrize("name", ["x.csv", "x.tsv"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_dialect_delimiter_is_told_by_the_header(tmp_path: Path, name: str, delimiter: str) -> None:
    data = f'id{delimiter}"a,b;c\td|e"\n1{delimiter}"x{delimiter}y"\n'.encode()
    assert rows(tmp_path, data, name) == [{"id": "1", "a,b;c\td|e": f"x{delimiter}y"}]


def test_dialect_default_delimiter_wins_where_the_header_has_it(tmp_path: Path) -> None:
    assert rows(tmp_path, b"a;b,c|d\n1,2\n") == [{"a;b": "1", "c|d": "2"}]
    assert rows(tmp_path, b"a,b\tc\n1\t2\n", "x.tsv") == [{"a,b": "1", "c": "2"}]


def test_dialect_header_without_a_delimiter_is_one_column(tmp_path: Path) -> None:
    assert rows(tmp_path, b"text\nhallo; you | there\n\nx\n") == [
        {"text": "hallo; you | there"},
        {"text": "x"},
    ]


def test_dialect_header_that_several_could_cut_is_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, b"zebra;b|c\n1;2|3\n")
    assert "a semicolon and a bar" in message
    assert 'delimiter: ";"' in message
    assert "zebra" not in message
    assert rows(tmp_path, b"a;b|c\n1;2|3\n", delimiter="|") == [{"a;b": "1;2", "c": "3"}]


def test_dialect_declared_delimiter_is_taken_as_it_is(tmp_path: Path) -> None:
    assert rows(tmp_path, b"a,b^c\n1,2^3\n", delimiter="^") == [{"a,b": "1,2", "c": "3"}]
    assert rows(tmp_path, "a,b§c\n1,2§3\n".encode(), delimiter="§") == [{"a,b": "1,2", "c": "3"}]
    assert "Declare another" in refusal(tmp_path, b"a\n", delimiter='"')
    assert "Declare another" in refusal(tmp_path, b"a\n", delimiter="\n")


def test_dialect_names_over_several_lines_hide_their_delimiters(tmp_path: Path) -> None:
    assert rows(tmp_path, b'\n"a\n;b""|";"c,\n"\n1;2\n') == [{'a\n;b"|': "1", "c,\n": "2"}]


def test_dialect_sep_line_names_the_delimiter_and_is_no_row(tmp_path: Path) -> None:
    expected = [RawRow(3, 13, {"a,b": "1", "c": "2"})]
    assert read(tmp_path, b"sep=;\r\na,b;c\n1;2\n") == expected
    assert read(tmp_path, b"\xef\xbb\xbfsep=^\na,b^c\n1^2\n")[0].line == 3
    assert read(tmp_path, b"sep=;\n1;2\n", header=False) == [RawRow(2, 6, {"0": "1", "1": "2"})]
    assert rows(tmp_path, b"sep=\t\na\tb\n1\t2\n") == [{"a": "1", "b": "2"}]


def test_dialect_sep_line_that_contradicts_the_declared_delimiter_is_refused(tmp_path: Path) -> None:
    assert "sep=;" in refusal(tmp_path, b"sep=;\na;b\n", delimiter=",")
    assert rows(tmp_path, b"sep=;\na;b\n1;2\n", delimiter=";") == [{"a": "1", "b": "2"}]


# Quotes, headers, line ends


def test_dialect_quotes_none_are_characters_and_every_line_is_a_record(tmp_path: Path) -> None:
    data = b'a,b\n"1,2\n3",5" x\n,"\n4,5,6\na,b\n"a,b"\n'
    assert read(tmp_path, data, quotes="none") == [
        RawRow(2, 4, {"a": '"1', "b": "2"}),
        RawRow(3, 9, {"a": '3"', "b": '5" x'}),
        RawRow(4, 17, {"a": "", "b": '"'}),
        Reject(5, 20, "wrong_field_count", "expected 2 fields, found 3"),
        Reject(6, 26, "repeated_header", "the row equals the header"),
        RawRow(7, 30, {"a": '"a', "b": 'b"'}),
    ]
    (reject,) = read(tmp_path, b"a,b\n1\r2,3\n", quotes="none")
    assert isinstance(reject, Reject)
    assert reject.reason == "invalid_csv"
    assert rows(tmp_path, b'a","b\r\n1,2\r\n', quotes="none") == [{'a"': "1", '"b': "2"}]


def test_header_none_counts_columns_in_the_first_row(tmp_path: Path) -> None:
    assert read(tmp_path, b"\n1,x;y\n1,2,3\n1,x;y\n", header=False) == [
        RawRow(2, 1, {"0": "1", "1": "x;y"}),
        Reject(3, 7, "wrong_field_count", "expected 2 fields, found 3"),
        RawRow(4, 13, {"0": "1", "1": "x;y"}),
    ]
    assert columns_of(tmp_path / "x.csv", Reading(header=False)) == ["0", "1"]
    assert rows(tmp_path, b"a;b\n", header=False) == [{"0": "a;b"}]
    assert rows(tmp_path, b"", header=False) == []
    assert columns_of(tmp_path / "x.csv", Reading(header=False)) is None


def test_header_none_with_an_unreadable_first_row_is_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, b'"zebra\n1,2\n', header=False)
    assert "first row on line 1" in message
    assert "zebra" not in message


def test_header_names_are_kept_with_their_spaces(tmp_path: Path) -> None:
    assert rows(tmp_path, b'"id", text ,"x"\n1,2,3\n') == [{"id": "1", " text ": "2", "x": "3"}]


def test_header_with_an_empty_trailing_column_names_it_by_its_place(tmp_path: Path) -> None:
    assert rows(tmp_path, b"a,b,\n1,2,\n") == [{"a": "1", "b": "2", "column_3": ""}]


def test_quote_after_a_space_is_a_character(tmp_path: Path) -> None:
    found = read(tmp_path, b'a,b\n1, "x"\n1, "x, y"\n2,z\n')
    assert found == [
        RawRow(2, 4, {"a": "1", "b": ' "x"'}),
        Reject(3, 11, "wrong_field_count", "expected 2 fields, found 3"),
        RawRow(4, 21, {"a": "2", "b": "z"}),
    ]


def test_line_ends_may_be_mixed_and_carriage_returns_alone_are_refused(tmp_path: Path) -> None:
    assert [r["b"] for r in rows(tmp_path, b"a,b\r\n1,2\n3,4\r\n5,6")] == ["2", "4", "6"]
    for data in (b"zebra,b\r1,2\r", b"zebra\r1\r2"):
        message = refusal(tmp_path, data)
        assert "old Mac" in message
        assert "zebra" not in message


# In blocks as record by record


Parts = tuple[int, int, str | None, Any]


def flat(items: Iterator[Any]) -> list[Parts]:
    found: list[Parts] = []
    for item in items:
        for row in item.rows() if isinstance(item, RowBlock) else [item]:
            if isinstance(row, RawRow):
                found.append((row.line, row.byte_offset, None, row.payload))
            else:
                found.append((row.line, row.byte_offset, row.reason, row.detail))
    return found


def pieces(data: bytes, size: int, breaks: bool) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]
    if breaks:
        raise BrokenStream("cut off")


def both_ways(
    data: bytes, table: Table, dialect: Dialect, sizes: Sizes, *, piece: int = 7, limit: int = 60,
    encoding: str = "utf-8", breaks: bool = False,
) -> tuple[list[Parts], list[Parts], int]:  # fmt: skip
    """What the two readings give, and how many rows came in blocks."""
    codec = codec_for(encoding, b"", "x")
    lines = Lines(physical_lines(pieces(data, piece, breaks), codec, limit, 5, 100))
    records = Records(lines, codec, dialect, limit)
    exact = flat(table.item(found) for found in iter(lambda: records.read(len(table.names)), None))
    # The stream begins before the place, as it does after a header.
    stream = Stream(pieces(b"h" * 100 + data, piece, breaks))
    reader = BlockReader(stream, codec, dialect, table, limit, sizes)
    items = list(reader.read(Place(5, 100)))
    in_blocks = sum(len(item) for item in items if isinstance(item, RowBlock))
    return flat(iter(items)), exact, in_blocks


SOUP = st.lists(
    st.sampled_from(
        [b"x", b"yz", b",", b",", b'"', b'""', b'"', b',"', b'",', b"\n", b"\n", b"\r\n", b'"\n', b"\n\n", b"\r",
         b"\0", b"\xff", b"\xc3", "é€🙂".encode(), b"\xef\xbb\xbf", b" ", b"a,b\n", b'"a","b"\n', b'1,"x, y"\n',
         b'2,"a ""b"" c"\n', b"long text above twelve bytes", b"3,4\n5,6\n7,8\n", b'8,"1\n2"\n', b'p "q" r,s\n',
         b";", b"\t", b"1,2\r\n", b'"",\n', b'"""",""\n', b"\xed\xa0\x80", b"\xe2\x80\xa8", b"\x0b"]
    ),
    max_size=40,
).map(b"".join)  # fmt: skip
DIALECT = st.builds(Dialect, st.sampled_from(",,,;\t "), st.sampled_from([True, True, False]))
SIZES = st.builds(
    Sizes, st.sampled_from([8, 32, 500]), st.integers(1, 40), st.integers(1, 3), st.integers(0, 30), st.integers(1, 4)
)  # fmt: skip
TABLE = st.integers(1, 3).flatmap(
    lambda width: st.builds(
        Table, st.just(list("abc"[:width])), st.one_of(st.none(), st.just(list("abc"[:width])))
    )
)


@settings(max_examples=1500, deadline=None)
@given(SOUP | st.binary(max_size=60), TABLE, DIALECT, SIZES, st.integers(1, 50), st.integers(4, 80),
       st.sampled_from(["utf-8", "utf-8", "cp1252", "ascii", "iso8859-1"]), st.booleans())  # fmt: skip
def test_blocks_equal_records_on_any_bytes(
    data: bytes, table: Table, dialect: Dialect, sizes: Sizes, piece: int, limit: int, encoding: str, breaks: bool
) -> None:  # fmt: skip
    fast, exact, _ = both_ways(
        data, table, dialect, sizes, piece=piece, limit=limit, encoding=encoding, breaks=breaks
    )
    assert fast == exact


FIELD = st.sampled_from(
    [b"", b"1", b"twelve bytes", b"thirteen byte", b'""', b'"x, y"', b'"a\nb"', b'"c\r\nd"', b'"say ""hi"" there"',
     b'""""', b'"\n"', "ünï".encode(), b'mid "quote" here', b'" lead"', b'"a very long text, with ""quotes"" inside"',
     b'"\r"', b"a", b'"a"', b'"a"x"b"', b'"a" ""b"']
)  # fmt: skip


@settings(max_examples=600, deadline=None)
@given(st.lists(st.tuples(FIELD, FIELD), max_size=30), st.lists(st.sampled_from([b"\n", b"\r\n"]), min_size=30, max_size=30),
       st.lists(st.tuples(st.integers(0, 30), st.sampled_from([b"1\n", b"1,2,3\n", b"\n", b'"stray\n', b'x"y\n', b"\0,1\n",
                b"\xff,1\n", b"a,b\n", b"1,2\r\r\n", b"\r\n", b'"a" b,1\n', b'5" x,1\n'])), max_size=3), SIZES)  # fmt: skip
def test_blocks_equal_records_around_bad_lines(
    records: list[tuple[bytes, bytes]], ends: list[bytes], bad: list[tuple[int, bytes]], sizes: Sizes
) -> None:
    written = [b",".join(fields) + end for fields, end in zip(records, ends, strict=False)]
    for place, line in bad:
        written.insert(place, line)
    table = Table(["a", "b"], ["a", "b"])
    fast, exact, _ = both_ways(b"".join(written), table, Dialect(",", True), sizes, limit=10**6)
    assert fast == exact


@pytest.mark.parametrize(
    ("data", "in_blocks"),
    [
        (b"1,2\n3,4\n5,6\n", 3),
        (b'1,"2"\r\n"3\n4",\r\n"a ""b""",6\n', 3),
        (b'1,"2"\n\n3,4\n,"a"" b"\n', 2),  # the record after a blank line is read with it
        (b'1,2\n"x" y,2\n3,4\n', 2),
        (b'say "hi",5" disk\n1,2\n', 2),
        (b'1,"2"\n3,say "hi"\n', 2),
        (b"1,2\n3,\xff\n5,6\n", 2),
        (b"1,2\n3,\0\n5,6\n", 2),
        (b"1,2\na,b\n5,6\n", 2),
        (b"1,2\n3\r,4\n5,6\n", 2),
        (b"1,2\n3,4", 1),
        (b'1,2\n"a"x"b",4\n5,6\n', 2),  # begins and ends with a quote, and is none
        (b'1,2\n"a"x"b",4\n5,\n7,8,9\n', 2),
        (b'1,2\n"a""b"x"c",4\n5,"6"\n7,8,9\n', 2),
    ],
)
def test_blocks_hold_every_record_that_can_be_proven(data: bytes, in_blocks: int) -> None:
    sizes = Sizes(min_run=1)
    fast, exact, found = both_ways(data, Table(["a", "b"], ["a", "b"]), Dialect(",", True), sizes)
    assert (fast, found) == (exact, in_blocks)


def test_blocks_come_back_after_a_stray_quote() -> None:
    data = b'1,"a, b"\n' * 2000 + b'2,"stray\n' + b'3,"c ""d"", e"\n' * 4000
    table, sizes = (
        Table(["a", "b"], ["a", "b"]),
        Sizes(window=4096, first_window=1024, patience=64, min_run=8),
    )
    fast, exact, in_blocks = both_ways(data, table, Dialect(",", True), sizes, piece=512, limit=10**6)
    assert fast == exact
    assert in_blocks > 5500


def test_blocks_cut_at_the_wrong_newline_are_cut_anew() -> None:
    # Counting takes "x" for the end of the stray quote's text, and all that follows for its inverse.
    data = b'1,"2"\n3,"x\ny",4,5\n"6","7\n8"\n' + b'"\n",9\n1,"\n"\n' * 5 + b'1",2\n3,"4"\n' * 3
    table = Table(["a", "b"], ["a", "b"])
    for window, patience in itertools.product(range(8, 90), (0, 4)):
        sizes = Sizes(window=window, first_window=window, ahead=2, patience=patience, min_run=1)
        fast, exact, _ = both_ways(data, table, Dialect(",", True), sizes)
        assert fast == exact


def test_blocks_where_the_exact_reading_ends_inside_a_proven_record_lose_no_line() -> None:
    # 5" opens nothing, so the second record ends with line 3; by counting a sound record begins there.
    data = b'1,2\n5" a,"b\n7,"\n9"\n3,4\n5,6\n'
    table, dialect = Table(["a", "b"], None), Dialect(",", True)
    fast, exact, _ = both_ways(data, table, dialect, Sizes(min_run=1))
    assert fast == exact
    assert [line for line, *_ in fast] == [5, 6, 8, 9, 10]


def test_cut_ends_after_a_newline_outside_quotes() -> None:
    assert cut([b'a,"b\n', b'c"\nd,"e\n'], Dialect(",", True)) == 8
    assert cut([b'a,"b\n', b'c"\nd,"e\n'], Dialect(",", False)) == 13
    assert cut([b'"a\n', b"b\n"], Dialect(",", True)) == 0
    assert cut([b'5" a\n', b"b\n"], Dialect(",", True)) == 7


def test_blocks_have_text_columns_and_whole_numbers(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"a,b\n" + b'1,"x\ny"\n' * 50 + b"2,z\n" * 50)
    (block,) = [item for item in read_blocks(path) if isinstance(item, RowBlock)]
    assert all(
        isinstance(column, pl.Series) and column.dtype == pl.String for column in block.columns.values()
    )
    assert type(block.lines[0]) is type(block.byte_offsets[0]) is int
    assert np.asarray(block.lines)[[0, 1, 50]].tolist() == [2, 4, 102]
    assert np.asarray(block.byte_offsets)[[0, 1, 50, 51]].tolist() == [4, 12, 404, 408]
    assert len(block) == len(block.columns["a"]) == 100


def big_file(path: Path, megabytes: int) -> None:
    made = random.Random(3)
    words = ["alpha", "beta,", "gäma", 'say ""so""', "delta\n", "and"]
    block = "".join(
        f'{number},"{" ".join(made.choices(words, k=40))}",label\n' for number in range(4000)
    ).encode()
    with path.open("wb") as file:
        file.write(b"id,text,label\n")
        for _ in range(megabytes * 2**20 // len(block)):
            file.write(block)
            file.write(b'7,"x" y,label\n')


def peak_of(path: Path) -> tuple[int, int]:
    tracemalloc.start()
    count = sum(len(item) if isinstance(item, RowBlock) else 1 for item in read_blocks(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return count, peak


def test_blocks_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    big_file(tmp_path / "small.csv", 20)
    big_file(tmp_path / "big.csv", 200)
    small, big = peak_of(tmp_path / "small.csv"), peak_of(tmp_path / "big.csv")
    assert big[0] > 9 * small[0]
    assert big[1] < 64 * 2**20
    assert big[1] < 1.5 * small[1]


@pytest.mark.parametrize("line", ['x","y\n', '1,"b,c\n', '1,"b"\n\n', '1,2\n3,"x\n', 'a "\n', '1,"x"\n,,\n'])
def test_blocks_of_bad_lines_are_read_in_linear_time(tmp_path: Path, line: str) -> None:
    seconds = []
    for count in (20_000, 80_000):
        (tmp_path / "x.csv").write_bytes(b"a,b\n" + line.encode() * count)
        began = time.process_time()  # others that run beside do not count
        assert sum(1 for _ in read_rows(tmp_path / "x.csv")) >= count
        seconds.append(time.process_time() - began)
    assert seconds[1] < 12 * seconds[0] + 1
