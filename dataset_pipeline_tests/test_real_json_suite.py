"""JSON as it is shipped: a torture suite with a verdict in each file's name, naughty strings, real arrays."""

from __future__ import annotations

import gzip
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from dataset_pipeline.spec.reading import Reading
from dataset_pipeline.storage.readers import RawRow, Reject, UnreadableFile, read_rows

pytestmark = pytest.mark.real_data

VARIABLE = "DATASET_PIPELINE_REAL_DATA"
NOT_JSON = {"invalid_json", "invalid_encoding", "nul_byte", "too_deep", "truncated_file"}
BOM = b"\xef\xbb\xbf"
VERDICTS = {"y": 95, "n": 188, "i": 35}
"""Files of each kind, as the SOURCE.md beside them says."""


@pytest.fixture(scope="module")
def data() -> Path:
    folder = os.environ.get(VARIABLE)
    assert folder, f"set {VARIABLE} to the folder of the real data"
    return Path(folder)


@pytest.fixture(scope="module")
def suite(data: Path) -> dict[str, bytes]:
    """File name to content."""
    found: dict[str, bytes] = {}
    with tarfile.open(data / "json_test_suite" / "files.tar.gz") as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file is not None and member.name.endswith(".json"):
                found[member.name] = file.read()
    return found


def verdict_of(name: str) -> str:
    return Path(name).name[:2].rstrip("_") if "test_parsing" in name else "i"


def read(path: Path, content: bytes) -> list[RawRow | Reject] | None:
    """Rows and rejects; None where the file as a whole is refused."""
    path.write_bytes(content)
    try:
        return list(read_rows(path, Reading()))
    except UnreadableFile:
        return None


def complaint(verdict: str, found: list[RawRow | Reject] | None) -> str | None:
    """What is wrong with the reader's answer, or None."""
    reasons = {item.reason for item in found or () if isinstance(item, Reject)}
    if verdict == "y" and (found is None or reasons & (NOT_JSON - {"nul_byte"})):
        return f"must be accepted, got {sorted(reasons) or 'UnreadableFile'}"
    if verdict == "n" and found is not None:
        if not reasons & NOT_JSON:
            return f"must be rejected, got {sorted(reasons)}"
        # Whole items of a list that is cut off are rows; the last reject then refuses the day.
        if any(isinstance(item, RawRow) for item in found) and "truncated_file" not in reasons:
            return "a row came from it"
    return None


def test_real_json_suite_is_whole(suite: dict[str, bytes]) -> None:
    kinds = [verdict_of(name) for name in suite if "test_parsing" in name]
    assert {kind: kinds.count(kind) for kind in VERDICTS} == VERDICTS


def test_real_json_suite_documents_get_the_verdict_in_their_name(
    suite: dict[str, bytes], tmp_path: Path
) -> None:
    complaints = {
        name: fault
        for name, content in suite.items()
        if (fault := complaint(verdict_of(name), read(tmp_path / "x.json", content)))
    }
    assert complaints == {}


def test_real_json_suite_lines_get_the_verdict_in_their_name(suite: dict[str, bytes], tmp_path: Path) -> None:
    complaints = {
        name: fault
        for name, content in suite.items()
        if b"\n" not in content
        and content.removeprefix(BOM).strip()
        and (fault := complaint(verdict_of(name), read(tmp_path / "x.jsonl", content)))
    }
    assert complaints == {}


def test_real_json_naughty_strings_are_no_rows_and_survive_as_values(data: Path, tmp_path: Path) -> None:
    path = data / "blns" / "blns.json"
    found = list(read_rows(path))
    assert [getattr(item, "reason", None) for item in found] == ["not_an_object"] * 515
    rows = [{"text": text, "turns": [{text: text}]} for text in json.loads(path.read_text("utf-8"))]
    for options in ({}, {"ensure_ascii": False, "indent": 2}):
        content = json.dumps(rows, **options).encode()  # type: ignore[arg-type]
        kept = read(tmp_path / "x.json", content)
        assert kept is not None
        assert [getattr(item, "payload", item) for item in kept] == rows


def content_of(path: Path) -> bytes:
    data = path.read_bytes()
    return gzip.decompress(data) if path.suffix == ".gz" else data


def _same_as_whole(path: Path, rows: list[Any], records: str | None = None) -> int:
    """Checks each row against the document parsed as a whole; how many there are."""
    found = list(read_rows(path, Reading(records=records)))
    expected = [
        row if isinstance(row, dict) else {str(number): part for number, part in enumerate(row)}
        for row in rows
    ]
    assert [item.payload if isinstance(item, RawRow) else item.reason for item in found] == expected
    text = content_of(path) + b"\n"
    for item in found[:: max(1, len(found) // 50)]:
        begin = text[item.byte_offset :]
        value, _ = json.JSONDecoder().raw_decode(begin[:100_000].decode("utf-8", "ignore"))
        assert isinstance(item, RawRow)
        assert item.payload in (value, {str(number): part for number, part in enumerate(value)})
        assert item.line == text.count(b"\n", 0, item.byte_offset) + 1
    return len(found)


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("gpteacher_codegen/Codegen/codegen-instruct.json.gz", 4535),
        ("gpteacher_toolformer/toolformer-dedupe-only-dataset.json.gz", 7673),
        ("gpteacher_toolformer/toolformer-similarity-0.9-dataset.json.gz", 5959),
        ("gpteacher_toolformer/toolformer-similarity-0.8-dataset.json.gz", 4709),
        ("gpteacher_toolformer/toolformer-similarity-0.7-dataset.json.gz", 3487),
        ("gpteacher_toolformer/toolformer-similarity-0.6-dataset.json.gz", 2396),
    ],
)
def test_real_json_arrays_equal_the_whole_document(data: Path, name: str, rows: int) -> None:
    path = data / name
    assert _same_as_whole(path, json.loads(content_of(path))) == rows


@pytest.mark.parametrize(
    ("records", "rows"),
    [
        ("train", 15000),
        ("val", 3000),
        ("test", 4500),
        ("oos_train", 100),
        ("oos_val", 100),
        ("oos_test", 1000),
    ],
)
def test_real_json_lists_below_a_key_equal_the_whole_document(data: Path, records: str, rows: int) -> None:
    path = data / "clinc150" / "data_full.json.gz"
    assert _same_as_whole(path, json.loads(content_of(path))[records], records) == rows


def test_real_json_lists_without_a_name_are_refused_with_theirs(data: Path) -> None:
    with pytest.raises(UnreadableFile, match=r"'oos_val', 'val', 'train'.*Name the list under records"):
        list(read_rows(data / "clinc150" / "data_full.json.gz"))
