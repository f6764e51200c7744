"""Text files: a record a line, a record a file. The fast way must say what the slow one says."""

from __future__ import annotations

import gzip
import tempfile
import time
from pathlib import Path

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
    packing,
    plain,
    read_blocks,
    read_rows,
)

SECRET = "zebra"
"""Stands in what is rejected; must never show in what the reader says."""


def read(
    folder: Path,
    data: bytes,
    name: str = "x.txt",
    encoding: str = "utf-8",
    limit: int = 1000,
    format: str = "text",
) -> list[RawRow | Reject]:
    path = folder / name
    path.write_bytes(data)
    reading = Reading.model_validate({"format": format, "encoding": encoding})
    return list(read_rows(path, reading, limit))


def row(line: int, offset: int, text: str) -> RawRow:
    return RawRow(line, offset, {"text": text})


def outcomes(found: list[RawRow | Reject]) -> list[tuple[int, int, str]]:
    return [(i.line, i.byte_offset, i.reason if isinstance(i, Reject) else i.payload["text"]) for i in found]


# One record a line


def test_text_lines_and_offsets_are_exact_with_mark_returns_and_blank_lines(tmp_path: Path) -> None:
    data = "\ufeffone\r\n\n \t\u3000\r\n\x1c\x1f\ntwo é\n\nthree".encode()
    expected = [row(1, 3, "one"), row(5, 19, "two é"), row(7, 27, "three")]
    assert read(tmp_path, data) == expected
    assert read(tmp_path, gzip.compress(data), "x.txt.gz") == expected
    assert columns_of(tmp_path / "x.txt") == ["text"]


def test_text_only_newlines_end_a_line(tmp_path: Path) -> None:
    odd = "a\u2028b\u2029c\x0cd\x0be\x85f\x1cg\rh"
    assert read(tmp_path, f"{odd}\r\r\n  x \n".encode()) == [
        row(1, 0, odd + "\r"),
        row(2, len(odd.encode()) + 3, "  x "),
    ]


@pytest.mark.parametrize("text", ["x^2 + y", "x\x01", "\ufeffa", "/etc/hostname", "*.txt", '"a', "#"])
def test_text_that_looks_like_something_else_is_text(tmp_path: Path, text: str) -> None:
    assert outcomes(read(tmp_path, f"a\n{text}\n{text}\nb\n".encode()))[1][2] == text
    if not text.startswith("\ufeff"):
        assert outcomes(read(tmp_path, f"{text}\nb".encode()))[0] == (1, 0, text)


def test_text_faults_cost_their_own_line_only(tmp_path: Path) -> None:
    data = b"good\nzebra\xff\nzebra\0\n" + b"zebra" * 9 + b"\nlast\n"
    found = read(tmp_path, data, limit=40)
    assert [(line, what) for line, _, what in outcomes(found)] == [
        (1, "good"),
        (2, "invalid_encoding"),
        (3, "nul_byte"),
        (4, "too_long"),
        (5, "last"),
    ]
    assert not any(SECRET in item.detail for item in found if isinstance(item, Reject))


def test_text_a_character_cut_by_a_newline_is_no_character(tmp_path: Path) -> None:
    assert [what for _, _, what in outcomes(read(tmp_path, b"a\xc3\n\xa9b\n"))] == ["invalid_encoding"] * 2


def test_text_packed_file_that_breaks_off_gives_its_lines_and_a_reject(tmp_path: Path) -> None:
    lines = "".join(f"line {n * n}\n" for n in range(2000))
    found = read(tmp_path, gzip.compress(lines.encode())[:-2000], "x.txt.gz")
    *rows, last = found
    assert len(rows) > 10
    assert all(isinstance(r, RawRow) and r.payload["text"] == f"line {n * n}" for n, r in enumerate(rows))
    assert isinstance(last, Reject)
    assert (last.reason, last.line) == ("truncated_file", len(rows) + 1)


@pytest.mark.parametrize("data", [b"", b"\xef\xbb\xbf", b"\n", b"\r\n \n"])
def test_text_nothing_but_blank_lines_gives_nothing(tmp_path: Path, data: bytes) -> None:
    assert read(tmp_path, data) == []


def test_text_utf16_and_old_encodings_are_read_as_declared(tmp_path: Path) -> None:
    text = "käse\r\n\n\u0a0a\u0d0a\n"
    utf16 = [row(1, 2, "käse"), row(3, 16, "\u0a0a\u0d0a")]
    assert read(tmp_path, text.encode("utf-16"), encoding="utf-16") == utf16
    assert read(tmp_path, "käse\n".encode("cp1252"), encoding="cp1252") == [row(1, 0, "käse")]
    assert [w for _, _, w in outcomes(read(tmp_path, "käse\nb\n".encode("cp1252")))] == [
        "invalid_encoding",
        "b",
    ]


def test_text_good_lines_come_as_blocks(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(b"a\n\nb\n")
    (block,) = read_blocks(path)
    assert isinstance(block, RowBlock)
    assert (list(block.lines), list(block.byte_offsets), list(block.columns["text"])) == (
        [1, 3],
        [0, 3],
        ["a", "b"],
    )


PIECES = st.one_of(
    st.binary(max_size=6),
    st.text(max_size=6).map(lambda t: t.encode("utf-8", "replace")),
    st.sampled_from(
        [b"\n", b"\r\n", b"\r", b"\n\n", b"\0", b" ", b"\xef\xbb\xbf", b"x^", b"\xc3", b"abc" * 9]
        + [c.encode() for c in "\u2028\u3000\x1c\x85\u00a0é😀"]
    ),
)


@settings(max_examples=200, deadline=None)
@given(
    pieces=st.lists(PIECES, max_size=30),
    encoding=st.sampled_from(["utf-8"] * 4 + ["cp1252", "latin-1", "utf-16-le", "shift_jis", "utf-7"]),
    block_bytes=st.integers(1, 40),
    stretch_bytes=st.integers(1, 60),
    limit=st.integers(1, 40),
)
def test_text_fast_way_equals_slow_way(
    pieces: list[bytes], encoding: str, block_bytes: int, stretch_bytes: int, limit: int
) -> None:
    data = b"".join(pieces)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder) / "x.dat"
        path.write_bytes(data)
        patch.setattr(packing, "BLOCK_BYTES", block_bytes)
        patch.setattr(plain, "STRETCH_BYTES", stretch_bytes)
        try:
            fast = list(read_rows(path, Reading(format="text", encoding=encoding), limit))
        except UnreadableFile:
            return
    assert outcomes(fast) == plainly(data, encoding, limit)


def plainly(data: bytes, encoding: str, limit: int) -> list[tuple[int, int, str]]:
    """Line by line, in the simplest words."""
    mark = 3 if encoding == "utf-8" and data.startswith(b"\xef\xbb\xbf") else 0
    if encoding == "utf-16-le" and data.startswith(b"\xff\xfe"):
        mark = 2
    width, found, offset, number = (2, [], mark, 1) if encoding == "utf-16-le" else (1, [], mark, 1)
    newline = "\n".encode(encoding)
    while offset < len(data):
        end = offset
        while end < len(data) and data[end : end + width] != newline:
            end += width
        end = min(end, len(data))
        raw, has_newline = data[offset:end], end < len(data)
        what: str | None
        try:
            what = raw.decode(encoding)
            what.encode()
            what = what[:-1] if has_newline and what.endswith("\r") else what
            what = None if not what.strip() else "nul_byte" if "\0" in what else what
        except UnicodeError:
            what = "invalid_encoding"
        what = "too_long" if len(raw) > limit else what
        if what is not None:
            found.append((number, offset, what))
        offset, number = end + len(newline), number + 1
    return found


@pytest.mark.faults
def test_text_four_times_the_lines_take_at_most_eight_times_the_time(tmp_path: Path) -> None:
    def seconds(data: bytes) -> float:
        began = time.process_time()
        read(tmp_path, data, limit=10**8)
        return time.process_time() - began

    for piece in (b"a\xff\n", b" \n", b"x"):
        small = min(seconds(piece * 100_000) for _ in range(2))
        assert min(seconds(piece * 400_000) for _ in range(2)) < 8 * small + 0.5


# One record a file


def test_files_a_file_is_a_record_as_it_is(tmp_path: Path) -> None:
    text = "one\r\n\r\ntwo\rthree\u2028 \n"
    assert read(tmp_path, text.encode(), format="files") == [row(1, 0, text)]
    assert read(tmp_path, text.encode("utf-8-sig"), format="files") == [row(1, 3, text)]
    assert read(tmp_path, text.encode("utf-16"), encoding="utf-16", format="files") == [row(1, 2, text)]
    assert read(tmp_path, gzip.compress(text.encode()), "x.txt.gz", format="files") == [row(1, 0, text)]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no_text"),
        (b"\xef\xbb\xbf\r\n \n", "no_text"),
        (b"zebra\n" * 10, "too_long"),
        (b"zebra\xff", "invalid_encoding"),
        (b"zebra\0", "nul_byte"),
    ],
)
def test_files_without_text_are_one_reject(tmp_path: Path, data: bytes, reason: str) -> None:
    (found,) = read(tmp_path, data, limit=50, format="files")
    assert isinstance(found, Reject)
    assert (found.line, found.reason) == (1, reason)
    assert SECRET not in found.detail


def test_files_limit_counts_no_byte_order_mark(tmp_path: Path) -> None:
    assert read(tmp_path, b"\xef\xbb\xbfabcd", limit=4, format="files") == [row(1, 3, "abcd")]


def test_files_packed_file_that_breaks_off_is_a_reject(tmp_path: Path) -> None:
    packed = gzip.compress("".join(f"{n * n} " for n in range(2000)).encode())
    (found,) = read(tmp_path, packed[:-99], "x.txt.gz", limit=10**6, format="files")
    assert isinstance(found, Reject)
    assert found.reason == "truncated_file"


def test_files_a_bomb_is_not_unpacked_whole(tmp_path: Path) -> None:
    (found,) = read(tmp_path, gzip.compress(b"a" * 300_000_000, 1), "x.txt.gz", limit=1000, format="files")
    assert isinstance(found, Reject)
    assert found.reason == "too_long"


@pytest.mark.parametrize("head", [b"%PDF-1.7\n", b"\x89PNG\r\n", b"PK\x03\x04", b"GIF89a"])
def test_files_that_are_no_text_are_unreadable(tmp_path: Path, head: bytes) -> None:
    with pytest.raises(UnreadableFile) as caught:
        read(tmp_path, head + b"zebra", format="files")
    assert SECRET not in str(caught.value)
