"""Real texts through the readers: 75 languages, old encodings, invalid UTF-8 by its number, hostile strings.

What must come out is computed here in plain Python from the bytes of the files.
"""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from dataset_pipeline.spec.reading import Format, Reading
from dataset_pipeline.storage.readers import RawRow, Reject, read_rows

pytestmark = pytest.mark.real_data

VARIABLE = "DATASET_PIPELINE_REAL_DATA"
LANGUAGES, LINES = 75, 74_141
"""Physical lines. SOURCE.md counts 74,158 rows, 8 of them empty: it also cuts at 17 characters U+0085 inside lines."""

ENCODINGS = {
    "sample-arabic-1.txt": "cp1256",
    "sample-arabic.txt": "utf-8",
    "sample-bulgarian.txt": "utf-8",
    "sample-chinese.txt": "big5",
    "sample-english.bom.txt": "utf-8",
    "sample-french-1.txt": "cp1252",
    "sample-french.txt": "utf-8",
    "sample-greek-2.txt": "iso8859-7",
    "sample-greek.txt": "cp1253",
    "sample-hebrew-2.txt": "cp1255",
    "sample-hebrew-3.txt": "iso8859-8",
    "sample-korean.txt": "euc_kr",
    "sample-polish.txt": "utf-8",
    "sample-russian-2.txt": "utf-8",
    "sample-russian-3.txt": "utf-8",
    "sample-russian.txt": "mac_cyrillic",
    "sample-spanish.txt": "utf-8",
    "sample-turkish.txt": "cp1254",
}
"""By name, content and sibling. The two Greek files are byte for byte one, and so are the two Hebrew ones: both
encodings read them alike."""
SIBLINGS = [
    ("sample-arabic-1.txt", "sample-arabic.txt"),
    ("sample-french-1.txt", "sample-french.txt"),
    ("sample-greek-2.txt", "sample-greek.txt"),
    ("sample-hebrew-2.txt", "sample-hebrew-3.txt"),
    ("sample-russian.txt", "sample-russian-2.txt"),
]


def shipped(name: str) -> Path:
    if VARIABLE not in os.environ:
        pytest.fail(f"set {VARIABLE} to the folder of the real data, or leave out -m real_data")
    return Path(os.environ[VARIABLE]) / name


def unpacked(name: str, folder: Path) -> Path:
    with tarfile.open(shipped(name) / "files.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder


def read(path: Path, format: Format = "text", encoding: str = "utf-8") -> list[RawRow | Reject]:
    return list(read_rows(path, Reading(format=format, encoding=encoding)))


def texts(path: Path, encoding: str) -> list[str]:
    found = read(path, encoding=encoding)
    assert not [item for item in found if isinstance(item, Reject)]
    return [item.payload["text"] for item in found if isinstance(item, RawRow)]


def test_lingua_every_physical_line_is_a_row_at_its_place(tmp_path: Path) -> None:
    paths = sorted(unpacked("lingua_sentences", tmp_path).glob("*.txt"))
    lines = python_lines = 0
    for path in paths:
        expected, offset = [], 0
        for number, raw in enumerate(path.read_bytes().split(b"\n"), 1):
            if raw.strip():
                expected.append(RawRow(number, offset, {"text": raw.decode()}))
            offset += len(raw) + 1
        found = read(path)
        assert found == expected
        lines += len(found)
        python_lines += len(path.read_text(encoding="utf-8").splitlines())
    assert (len(paths), lines, python_lines) == (LANGUAGES, LINES, 74_158)


def test_charset_every_file_reads_as_declared(tmp_path: Path) -> None:
    folder = unpacked("charset_samples", tmp_path)
    assert {path.name for path in folder.glob("*.txt")} == set(ENCODINGS)
    for name, encoding in ENCODINGS.items():
        lines = texts(folder / name, encoding)
        assert lines
        assert not any(char == "\ufffd" or "\x80" <= char < "\xa0" for line in lines for char in line), name
        (whole,) = read(folder / name, "files", encoding)
        assert isinstance(whole, RawRow)
        whole_lines = [line.removesuffix("\r") for line in whole.payload["text"].split("\n")]
        assert [line for line in whole_lines if line.strip()] == lines, name


@pytest.mark.parametrize(("old", "sibling"), SIBLINGS)
def test_charset_siblings_hold_one_text(tmp_path: Path, old: str, sibling: str) -> None:
    folder = unpacked("charset_samples", tmp_path)
    one, other = (texts(folder / name, ENCODINGS[name]) for name in (old, sibling))
    assert [line.strip() for line in one] == [line.strip() for line in other]


def test_charset_old_files_read_as_utf8_are_rejected(tmp_path: Path) -> None:
    folder = unpacked("charset_samples", tmp_path)
    for name, encoding in ENCODINGS.items():
        reasons = {item.reason for item in read(folder / name) if isinstance(item, Reject)}
        assert reasons == (set() if encoding == "utf-8" else {"invalid_encoding"}), name


def utf8_cases(folder: Path) -> list[tuple[str, bytes, bool]]:
    """Number, bytes, and whether they are valid."""
    cases = []
    for line in (unpacked("utf8tests", folder) / "utf8tests.txt").read_text(encoding="ascii").split("\n"):
        if line.strip() and not line.startswith("#"):
            number, kind, value = (part.strip() for part in line.split(":")[:3])
            data = bytes.fromhex(value) if kind.endswith("hex") else value.encode()
            cases.append((number, data, kind.startswith("valid")))
    return cases


def outcome(item: RawRow | Reject) -> str:
    return item.reason if isinstance(item, Reject) else str(item.payload["text"])


def test_utf8_cases_by_number_as_line_string_and_field(tmp_path: Path) -> None:
    cases = [case for case in utf8_cases(tmp_path) if b"\n" not in case[1]]
    assert len(cases) > 100
    assert {is_valid for _, _, is_valid in cases} == {True, False}
    # A NUL is valid UTF-8, and rejected for what it is.
    expected = {
        number: "invalid_encoding" if not is_valid else "nul_byte" if b"\0" in data else data.decode()
        for number, data, is_valid in cases
    }

    (tmp_path / "x.txt").write_bytes(b"".join(b"<%b>\n" % data for _, data, _ in cases))
    lines = {
        number: outcome(item) for (number, _, _), item in zip(cases, read(tmp_path / "x.txt"), strict=True)
    }
    assert {n: what.removeprefix("<").removesuffix(">") for n, what in lines.items()} == expected

    escapes = {n: b"\\u%04x" % n for n in [*range(0x20), 0x22, 0x5C]}
    strings = [b"".join(escapes.get(byte, bytes([byte])) for byte in data) for _, data, _ in cases]
    (tmp_path / "x.jsonl").write_bytes(b"".join(b'{"text": "%b"}\n' % string for string in strings))
    found = read(tmp_path / "x.jsonl", "jsonl")
    assert {n: outcome(item) for (n, _, _), item in zip(cases, found, strict=True)} == expected

    fields = [data.replace(b'"', b'""') for _, data, _ in cases]
    (tmp_path / "x.csv").write_bytes(b"text,n\n" + b"".join(b'"%b",1\n' % field for field in fields))
    found = read(tmp_path / "x.csv", "csv")
    assert {n: outcome(item) for (n, _, _), item in zip(cases, found, strict=True)} == expected


def test_blns_every_line_comes_through(tmp_path: Path) -> None:
    path = shipped("blns") / "blns.txt"
    lines = path.read_bytes().split(b"\n")
    expected = {n: raw.decode().removesuffix("\r") for n, raw in enumerate(lines, 1) if raw.decode().strip()}
    found = read(path)
    assert {item.line: outcome(item) for item in found} == expected
    assert not [item for item in found if isinstance(item, Reject)]
    for item in found:
        assert path.read_bytes()[item.byte_offset :].startswith(lines[item.line - 1])
