"""Hostile input that is large: bombs, lines of 100 MB, long specs. Each in a process of its own, with limits on memory and time.

Failure test 26 of the project's list, the long part. Keep out: what is small (`test_hostile`, `test_hostile_specs`).
"""

from __future__ import annotations

import gzip
import io
import os
import resource
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from dataset_pipeline_tests.hostile_files import workbook
from dataset_pipeline_tests.scenario import CLEAN, SPEC, jsonl, make_project, row, rows, source, spec

pytestmark = pytest.mark.faults

REPOSITORY = Path(__file__).parent.parent
SECONDS = 240
MEMORY_BYTES = 3 * 2**30
"""Resident; most of it is what Dagster and the libraries take."""
LONG = 100 * 2**20
BOMB = 2**30


def command(name: str, path: Path, *arguments: str) -> tuple[int, str]:
    """A command in a process that may take SECONDS and MEMORY_BYTES: exit code and what it said."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dataset_pipeline.cli.main", name, *arguments, "--spec", str(path)],
        cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        said, _ = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        pytest.fail(f"{name} was not done after {SECONDS} s")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    assert peak < MEMORY_BYTES, f"{peak / 2**30:.1f} GiB"
    text = said.decode("utf-8", "replace")
    assert "Traceback" not in text, text[-3000:]
    assert len(text) < 100_000
    return process.returncode, text


def project(folder: Path, name: str, write: Callable[[Path], None], **reading: object) -> Path:
    """Three good days in `sources`, and one file of a source of its own."""
    sources = [source(), source(name="odd", path=name, collected_at="2026-03-02", **reading)]
    gates = {"ingest": {"reject_rate": {"max": 1, "reason": "hostile rows on purpose"}}}
    path = make_project(folder / "project", spec(sources=sources, gates=gates), CLEAN)
    (folder / "project" / name).parent.mkdir(parents=True, exist_ok=True)
    write(folder / "project" / name)
    return path


def repeated(path: Path, before: bytes, unit: bytes, size: int, after: bytes) -> None:
    block = unit * (2**20 // len(unit))
    with path.open("wb") as out:
        out.write(before)
        for _ in range(size // len(block)):
            out.write(block)
        out.write(after)


LONG_LINES = {
    "a.jsonl": (jsonl([row(100)]) + b'{"id": "z", "text": "', b"zebra ", b'"}\n' + jsonl([row(101)]), "too_long"),
    "nested.jsonl": (jsonl([row(100)]), b"[", b"\n" + jsonl([row(101)]), "too_long"),
    "a.csv": (b"id,text,label\na,The lamp is on today,bug\nz,", b"zebra ", b",bug\nb,The lamp is off today,bug\n", "too_long"),
    "quote.csv": (b'id,text,label\na,The lamp is on today,bug\nz,"', b"zebra ", b"\nb,The lamp is off today,bug\n", "too_long"),
    "a.txt": (b"The lamp is on today\n", b"zebra ", b"\nThe lamp is off today\n", "too_long"),
    "a.json": (b'[{"id": "a", "text": "The lamp is on today", "label": "bug"},\n{"text": "', b"zebra ",
               b'"},\n{"id": "b", "text": "The lamp is off today", "label": "bug"}]\n', "too_long"),
    "nested.json": (b'[{"id": "a", "text": "The lamp is on today", "label": "bug"},\n', b"[", b"", "too_deep"),
}  # fmt: skip


@pytest.mark.parametrize("name", LONG_LINES)
def test_long_line_is_one_reject_and_the_rows_around_it_arrive(tmp_path: Path, name: str) -> None:
    before, unit, after, reason = LONG_LINES[name]
    fields = (
        {"input": "text", "output": "label"} if name != "a.txt" else {"input": "text", "output": "file.stem"}
    )
    path = project(tmp_path, name, lambda file: repeated(file, before, unit, LONG, after), fields=fields)
    code, said = command("run", path)
    # The only file of a source that breaks off is a fault of the spec: exit 2.
    assert code in ((0, 1) if after else (1, 2)) and "zebra" not in said
    if after:
        line = 3 if name.endswith(".csv") else 2
        assert f"rejected {name}:{line}: {reason} (" in said
        told = command("explain", path, f"{name}:{line}")[1]
        assert f"{name}:{line} was rejected: {reason} (" in told


def _gzip_zeros(path: Path) -> None:
    with path.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, compresslevel=1) as out:
        for _ in range(BOMB // 2**20):
            out.write(b"\0" * 2**20)


def _zstd_zeros(path: Path) -> None:
    import pyarrow

    with pyarrow.CompressedOutputStream(str(path), "zstd") as out:
        for _ in range(BOMB // 2**20):
            out.write(b"\0" * 2**20)


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".txt", ".html"])
@pytest.mark.parametrize("packing", [".gz", ".zst"])
def test_bomb_of_zeros_is_refused_or_rejected(tmp_path: Path, suffix: str, packing: str) -> None:
    write = _gzip_zeros if packing == ".gz" else _zstd_zeros
    fields = (
        {"input": "text", "output": "file.stem"}
        if suffix in (".txt", ".html")
        else {"input": "text", "output": "label"}
    )
    path = project(tmp_path, f"a{suffix}{packing}", write, fields=fields)
    code, said = command("run", path)
    assert code in (1, 2) or f"rejected a{suffix}{packing}:1: " in said, said
    assert f"a{suffix}{packing}" in said


def test_bomb_of_lines_is_read_in_bounded_memory(tmp_path: Path) -> None:
    """A gigabyte of blank lines holds no row."""

    def write(path: Path) -> None:
        with path.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, compresslevel=1) as out:
            for _ in range(BOMB // 2**20):
                out.write(b"\n" * 2**20)
            out.write(jsonl(rows(100, 3)))

    code, said = command("run", project(tmp_path, "a.jsonl.gz", write))
    assert code == 0, said


@pytest.mark.parametrize("part", ["zeros", "entities", "rows"])
def test_bomb_in_a_workbook_is_refused(tmp_path: Path, part: str) -> None:
    def write(path: Path) -> None:
        with (
            zipfile.ZipFile(io.BytesIO(workbook(0).data)) as good,
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bad,
        ):
            for name in good.namelist():
                data = good.read(name)
                if name == "xl/worksheets/sheet1.xml" and part == "entities":
                    lines = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
                    data = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e0 "zebra">{lines}]><worksheet>&e9;</worksheet>'.encode()
                elif name == "xl/worksheets/sheet1.xml" and part == "rows":
                    data = data.replace(b"<sheetData>", b"<sheetData>" + b"<row>" * 5_000_000)
                bad.writestr(name, data)
            if part == "zeros":
                with bad.open("xl/media/zeros.bin", "w", force_zip64=True) as out:
                    for _ in range(BOMB // 2**20):
                        out.write(b"\0" * 2**20)

    code, said = command("run", project(tmp_path, "a.xlsx", write))
    assert "zebra" not in said
    assert code == 2 and "source odd: a.xlsx: " in said, said


@pytest.mark.parametrize(
    "added",
    [
        "split: {seed: 1" + ":1" * 1_000_000 + "}\n",
        "split: {seed: 0x" + "F" * 3_000_000 + "}\n",
        "x: '" + "a" * 5_000_000 + "'\n",
        "x: " + "[" * 1_000_000 + "\n",
        "decisions:\n" + "  - {what: w, why: y, who: z, date: 2026-01-01}\n" * 20_000,
    ],
    ids=["sexagesimal", "hexadecimal", "text", "brackets", "decisions"],
)
def test_long_spec_is_judged_in_bounded_time(tmp_path: Path, added: str) -> None:
    path = make_project(tmp_path, yaml.safe_dump(SPEC, sort_keys=False) + added, CLEAN)
    code, said = command("check", path)
    assert code in (0, 2) and "dataset.yaml" in said


def test_bomb_of_merges_in_a_spec_is_refused(tmp_path: Path) -> None:
    inner = "&m0 {a: 1}"
    for level in range(1, 10):
        inner = f"&m{level} {{<<: [{inner}{f', *m{level - 1}' * 9}]}}"
    path = make_project(tmp_path, yaml.safe_dump(SPEC, sort_keys=False) + f"x: {inner}\n", CLEAN)
    code, said = command("check", path)
    assert code == 2 and "merges give more than" in said
