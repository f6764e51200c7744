"""Hostile files as plain values: rows of every format that are none, and contents that are not what a name says.

Lives here: bytes and what becomes of each row. Keep out: projects and assertions (`test_hostile*`), seeds of the
fuzzer (`fuzzing.corpus`). The word zebra stands in every hostile value: no message may repeat it.
"""

from __future__ import annotations

import codecs
import gzip
import io
import json
import zipfile
from dataclasses import dataclass
from typing import Any

from dataset_pipeline_tests.scenario import csv_bytes, jsonl, row, rows

MARKER = "zebra"
NESTED = "[" * 10_000 + "]" * 10_000
HEADER = ["id", "text", "label"]


@dataclass(frozen=True)
class Hostile:
    """A file: its bytes; line to the reason for which that line is none; the lines of good rows."""

    data: bytes
    rejects: dict[int, str]
    good: tuple[int, ...]


def _json(text: str, **changes: Any) -> bytes:
    return json.dumps({"id": "h", "text": f"{MARKER} {text}", "label": "bug"} | changes).encode()


BAD_JSON: tuple[tuple[bytes, str], ...] = (
    (_json("bytes").replace(b"bytes", b"\xff\xfe bytes"), "invalid_encoding"),
    (_json("half").replace(b"half", b"\xed\xa0\x80"), "invalid_encoding"),
    (_json("overlong").replace(b"overlong", b"\xc0\xaf"), "invalid_encoding"),
    (_json("raw").replace(b"raw", b"\0"), "nul_byte"),
    (_json("\0"), "nul_byte"),
    (_json("half").replace(b"half", b"\\ud800"), "invalid_json"),
    (_json("half").replace(b"half", b"\\udc00\\ud800"), "invalid_json"),
    (_json("deep").replace(b'"bug"', NESTED.encode()), "too_deep"),
    (_json("deep").replace(b'"bug"', b'{"a":' * 300 + b"1" + b"}" * 300), "too_deep"),
    (_json("no number", n=float("nan")), "invalid_json"),
    (_json("no number", n=float("inf")), "invalid_json"),
    (_json("no number", n=0).replace(b" 0}", b" 1e999}"), "invalid_json"),
    (_json("tab").replace(b"tab", b"\t"), "invalid_json"),
    (_json("quotes").replace(b'"', b"'"), "invalid_json"),
    (_json("trailing")[:-1] + b",}", "invalid_json"),
    (b'"' + MARKER.encode() + b'"', "not_an_object"),
    (b"null", "not_an_object"),
)
"""Items of JSON, as a line or in a list, and the reason of their reject."""


def _mixed(
    bad: list[tuple[bytes, str]], good: list[bytes], first_line: int, before: bytes, sep: bytes, after: bytes
) -> Hostile:
    """Good rows first, last, and after every bad one that ends what is around it."""
    middle = len(good) - 1
    lines = [*good[:middle], *(data for data, _ in bad), good[middle]]
    rejects = {first_line + middle + n: reason for n, (_, reason) in enumerate(bad)}
    places = tuple(n for n in range(first_line, first_line + len(lines)) if n not in rejects)
    return Hostile(before + sep.join(lines) + after, rejects, places)


def json_lines(first: int, count: int = 4) -> Hostile:
    good = [json.dumps(record).encode() for record in rows(first, count)]
    return _mixed(list(BAD_JSON), good, 1, b"", b"\n", b"\n")


def json_document(first: int, count: int = 4) -> Hostile:
    good = [json.dumps(record).encode() for record in rows(first, count)]
    return _mixed(list(BAD_JSON), good, 2, b"[\n", b",\n", b"\n]\n")


def delimited(first: int, delimiter: str = ",", count: int = 4) -> Hostile:
    d = delimiter.encode()
    good = [d.join(value.encode() for value in record.values()) for record in rows(first, count)]
    z = MARKER.encode()
    bad = [
        (d.join((b"h", z + b" \xff", b"bug")), "invalid_encoding"),
        (d.join((b"h", z + b" \xed\xa0\x80", b"bug")), "invalid_encoding"),
        (d.join((b"h", z + b"\0", b"bug")), "nul_byte"),
        (d.join((b"h", z, b"bug", b"more")), "wrong_field_count"),
        (d.join((b"h", z)), "wrong_field_count"),
        (d.join(name.encode() for name in HEADER), "repeated_header"),
        (d.join((b"h", b'"' + z + b'"x', b"bug")), "invalid_csv"),
        (d.join((b"h", z + b"\r", b"bug")), "invalid_csv"),
        (d.join((b"h", b'"' + z, b"bug")), "unclosed_quote"),
    ]
    return _mixed(bad, good, 2, d.join(name.encode() for name in HEADER) + b"\n", b"\n", b"\n")


def text_lines(first: int, encoding: str = "utf-8", count: int = 4) -> Hostile:
    nul, newline = "\0".encode(encoding), "\n".encode(encoding)
    bad_bytes = {
        "utf-8": b"\xff",
        "utf-16-le": b"\x00\xd8",
        "cp1252": b"\x81",
        "shift_jis": b"\x81\xff",
        "utf-7": b"+2AA-",
    }[encoding]
    good = [record["text"].encode(encoding) for record in rows(first, count)]
    bad = [
        (MARKER.encode(encoding) + bad_bytes + " x".encode(encoding), "invalid_encoding"),
        (MARKER.encode(encoding) + nul, "nul_byte"),
    ]
    return _mixed(bad, good, 1, b"", newline, newline)


def page(text: str, body: str = "") -> bytes:
    return f"<html><head><title>T</title></head><body><article>{body}<p>{text}</p></article></body></html>".encode()


def whole_files() -> dict[str, tuple[bytes, str]]:
    """Files that are one record each: name to bytes and reason."""
    return {
        "bytes": (b"zebra \xff", "invalid_encoding"),
        "nul": (b"zebra \0", "nul_byte"),
        "empty": (b"", "no_text"),
        "blank": (b" \n\t\n", "no_text"),
    }


def pages() -> dict[str, tuple[bytes, str]]:
    """HTML files that are no record: name to bytes and reason."""
    return whole_files() | {
        "deep": (page("zebra", "<div>" * 10_000), "too_deep"),
        "frame": (b"<html><head><title>zebra</title></head><body></body></html>", "no_text"),
        "attributes": (page("zebra", "<p " + " ".join(f"a{n}='1'" for n in range(2000)) + ">"), "too_long"),
    }


def parquet(first: int) -> Hostile:
    import pyarrow as pa
    import pyarrow.parquet as pq

    good = rows(first, 4)
    texts = [record["text"].encode() for record in good]
    texts[1:1] = [b"zebra \xff", b"zebra \0", b"zebra number"]
    table = pa.table(
        {
            "id": [f"p{n}" for n in range(7)],
            "text": pa.array(texts, pa.binary()).cast(pa.binary()).view(pa.string()),
            "label": ["bug"] * 7,
            "n": [1.0, 1.0, 1.0, float("nan"), 1.0, 1.0, 1.0],
        }
    )
    out = io.BytesIO()
    pq.write_table(table, out)
    return Hostile(
        out.getvalue(), {2: "invalid_encoding", 3: "nul_byte", 4: "non_finite_number"}, (1, 5, 6, 7)
    )


def workbook(first: int) -> Hostile:
    from openpyxl import Workbook

    book, out = Workbook(), io.BytesIO()
    book.active.append(HEADER)
    good = [list(record.values()) for record in rows(first, 4)]
    bad = [["h", "zebra_x0000_", "bug"], ["h", "zebra", "bug", "more"], HEADER]
    for values in (*good[:3], *bad, good[3]):
        book.active.append(values)
    book.save(out)
    return Hostile(
        out.getvalue(), {5: "nul_byte", 6: "wrong_field_count", 7: "repeated_header"}, (2, 3, 4, 8)
    )


def zstd(data: bytes) -> bytes:
    import pyarrow

    packed: bytes = pyarrow.compress(data, "zstd", asbytes=True)
    return packed


# --- not what the name says -----------------------------------------------------------------------


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.txt", MARKER)
    return out.getvalue()


def contents() -> dict[str, bytes]:
    """What lies in a file, whatever it is called."""
    return {
        "pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\nzebra\nendobj\n" * 3,
        "png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01zebra" * 4,
        "zip": _zip(),
        "parquet": parquet(0).data,
        "xlsx": workbook(0).data,
        "gz": gzip.compress(jsonl([row(0, text="zebra")]), mtime=0),
        "zst": zstd(jsonl([row(0, text="zebra")])),
        "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n",
        "empty": b"",
        "page": b"<!DOCTYPE html><html><head><title>Sign in</title></head><body><p>zebra</p></body></html>\n",
        "nuls": b"\0" * 3000,
        "bytes": bytes(range(255, -1, -1)) * 8,
        "lines": jsonl([row(n, text=f"zebra {n}") for n in range(3)]),
        "table": csv_bytes([row(n, text=f"zebra {n}") for n in range(3)]),
        "document": b'[\n{"id": "a", "text": "zebra", "label": "bug"}\n]\n',
        "utf16": codecs.BOM_UTF16_LE + "zebra one\nzebra two\n".encode("utf-16-le"),
    }


IS_WHAT_IT_SAYS: dict[str, frozenset[str]] = {
    ".jsonl": frozenset({"lines", "empty"}),
    ".json": frozenset({"lines", "document"}),
    ".csv": frozenset({"table"}),
    ".tsv": frozenset({"table"}),
    ".txt": frozenset({"page", "lines", "table", "document", "empty"}),
    ".html": frozenset({"page", "lines", "table", "document"}),
    ".parquet": frozenset({"parquet"}),
    ".xlsx": frozenset({"xlsx"}),
    ".jsonl.gz": frozenset({"gz"}),
    ".jsonl.zst": frozenset({"zst"}),
}
"""Suffix to contents that may be read under it: text of any kind is text, and a table of one column is one."""
