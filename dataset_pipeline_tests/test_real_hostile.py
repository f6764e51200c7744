"""Published torture files through the whole command line: no traceback, nothing lost, the suites' own verdicts.

Lives here: one project a suite. Keep out: what single
readers make of them (`test_real_json_suite`, `test_real_csv`, `test_real_text`).
"""

from __future__ import annotations

import datetime as dt
import os
import tarfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline.storage.readers import Reject, UnreadableFile, read_rows
from dataset_pipeline_tests.scenario import call, make_project, source, spec

pytestmark = pytest.mark.real_data

VARIABLE = "DATASET_PIPELINE_REAL_DATA"
FIRST_DAY = dt.date(2024, 1, 1)
NOT_JSON = {"invalid_json", "invalid_encoding", "nul_byte", "too_deep", "truncated_file"}
GATES = {"ingest": {"reject_rate": {"max": 1, "reason": "torture on purpose"}}}
FIELDS = {"input": "file.stem", "output": "file.folder"}
"""What the rows say does not matter here: every row that can be read is a record."""


def data() -> Path:
    if VARIABLE not in os.environ:
        pytest.fail(f"set {VARIABLE} to the folder of the real data, or leave out -m real_data")
    return Path(os.environ[VARIABLE])


def archived(name: str, suffix: str) -> dict[str, bytes]:
    found = {}
    with tarfile.open(data() / name / "files.tar.gz") as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file is not None and member.name.endswith(suffix):
                found[member.name] = file.read()
    return found


@dataclass(frozen=True)
class Told:
    """What became of a file. bad: why it is no batch; reasons: of its rejects; rows: read, ingested, rejected."""

    bad: str | None
    reasons: tuple[str, ...]
    rows: tuple[int, int, int] | None


def told(folder: Path, files: dict[str, bytes], suffix: str) -> dict[str, Told]:
    """What a run says of the files that are batches, all of one day, and what `check` says of those that are none.

    A day with a file that is no batch is set aside as a whole, and so many runs would take many minutes.
    """
    uris = {name: f"all/{n:03}{suffix}" for n, name in enumerate(sorted(files))}
    hopeless = {name for name in files if _is_no_batch(folder, files[name], suffix)}
    found = _ran(folder / "good", {uris[name]: files[name] for name in files if name not in hopeless}, suffix)
    said = _checked(folder / "bad", {uris[name]: files[name] for name in hopeless}, suffix)
    return {name: (said if name in hopeless else found)[uri] for name, uri in uris.items()}


def _project(folder: Path, files: dict[str, bytes], suffix: str) -> Path:
    content = spec(
        sources=[source(path=f"all/*{suffix}", fields=FIELDS, collected_at=str(FIRST_DAY))], gates=GATES
    )
    return make_project(folder, content, files)


def _ran(folder: Path, files: dict[str, bytes], suffix: str) -> dict[str, Told]:
    if not files:
        return {}
    path = _project(folder, files, suffix)
    try:
        result = call("run", path)
    finally:
        release_run_lock(path.parent / "warehouse.duckdb")
    assert "Traceback" not in result.output and "fault of its own" not in result.output
    assert result.exit_code in (0, 1), result.output[-2000:]
    with duckdb.connect(str(path.parent / "warehouse.duckdb"), read_only=True) as connection:
        rejects = connection.execute("SELECT uri, reason FROM rejects ORDER BY ALL").fetchall()
        batches = connection.execute(
            "SELECT uri, rows_read, rows_ingested, rows_rejected FROM batches"
        ).fetchall()
        counted = dict(connection.execute("SELECT uri, count(*) FROM ingest GROUP BY ALL").fetchall())
    reasons: dict[str, list[str]] = defaultdict(list)
    for uri, reason in rejects:
        reasons[uri].append(reason)
    found = {}
    for uri, read, kept, lost in batches:
        assert read == kept + lost and kept == counted.get(uri, 0) and lost == len(reasons[uri]), uri
        found[uri] = Told(None, tuple(reasons[uri]), (read, kept, lost))
    assert set(found) == set(files)
    return found


def _checked(folder: Path, files: dict[str, bytes], suffix: str) -> dict[str, Told]:
    if not files:
        return {}
    result = call("check", _project(folder, files, suffix))
    assert "Traceback" not in result.output and result.exit_code == 2
    lines = result.output.splitlines()
    return {uri: Told(next(line for line in lines if f"{uri}: " in line), (), None) for uri in files}


def _is_no_batch(folder: Path, content: bytes, suffix: str) -> bool:
    path = folder / f"one{suffix}"
    path.write_bytes(content)
    try:
        return any(isinstance(row, Reject) and row.reason == "truncated_file" for row in read_rows(path))
    except UnreadableFile:
        return True


def verdict_of(name: str) -> str:
    return Path(name).name[:1] if "test_parsing" in name else "i"


def _complaints(found: dict[str, Told]) -> list[str]:
    wrong = []
    for name, one in found.items():
        faults = NOT_JSON & set(one.reasons)
        # U+0000 in a key or a text is JSON, and no text for a record: the readers' own rule.
        if verdict_of(name) == "y" and (one.bad or faults - {"nul_byte"}):
            wrong.append(f"{name}: is JSON, and was refused ({sorted(faults)})")
        if verdict_of(name) == "n" and not one.bad and not faults:
            wrong.append(f"{name}: is no JSON, and was taken ({one.rows})")
    return wrong


def test_real_json_suite_through_a_run_keeps_its_verdicts(tmp_path: Path) -> None:
    found = told(tmp_path, archived("json_test_suite", ".json"), ".json")
    assert len(found) == 340
    assert _complaints(found) == []


def test_real_json_suite_of_single_lines_through_a_run_keeps_its_verdicts(tmp_path: Path) -> None:
    files = {
        name: content
        for name, content in archived("json_test_suite", ".json").items()
        if b"\n" not in content.strip() and content.strip() and not content.startswith(b"\xef\xbb\xbf")
    }
    # A blank line is no row, whatever it is of JSON; a lone bracket is refused as a document over several lines.
    found = told(tmp_path, files, ".jsonl")
    assert len(found) > 250
    assert _complaints(found) == []


def test_real_csv_spectrum_through_a_run_loses_nothing(tmp_path: Path) -> None:
    files = archived("csv_spectrum", ".csv")
    found = told(tmp_path, dict(sorted(files.items())), ".csv")
    assert {name: one.reasons for name, one in found.items() if one.reasons} == {}
    assert [name for name, one in found.items() if one.bad] == []


def test_real_utf8_tests_through_a_run_reject_what_is_no_utf8(tmp_path: Path) -> None:
    files = archived("utf8tests", ".txt")
    found = told(tmp_path, dict(sorted(files.items())), ".txt")
    for name, content in files.items():
        lines = [line for line in content.split(b"\n") if line.strip()]
        broken = sum(not _is_utf8(line) for line in lines)
        one = found[name]
        assert one.bad is None and one.rows is not None
        assert one.reasons.count("invalid_encoding") == broken, name
        assert one.rows[0] == sum(1 for line in lines if not _is_utf8(line) or line.decode().strip()), name


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeError:
        return False
    return True


def test_real_naughty_strings_through_a_run_arrive_whole(tmp_path: Path) -> None:
    text = (data() / "blns" / "blns.txt").read_bytes()
    found = told(tmp_path, {"blns.txt": text}, ".txt")["blns.txt"]
    lines = [line for line in text.split(b"\n") if line.decode().strip()]
    assert found.bad is None and found.rows == (
        len(lines),
        len(lines) - len(found.reasons),
        len(found.reasons),
    )
    assert set(found.reasons) <= {"nul_byte"}
