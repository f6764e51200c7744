"""Hostile input through the command line: rejected rows with file, line and reason, or one clear error; never a traceback.

Lives here: files of every format, names, paths. Failure test 26 of the project's list, the quick part. Keep out: specs
(`test_hostile_specs`), what is large (`test_hostile_long`), files that change (`test_changing_files`).
"""

from __future__ import annotations

import codecs
import gzip
import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import Result

from dataset_pipeline.spec.load import load_project
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline.storage.sources import discover
from dataset_pipeline_tests import hostile_files as hostile
from dataset_pipeline_tests.hostile_files import MARKER, Hostile
from dataset_pipeline_tests.scenario import CLEAN, call, jsonl, last_json, make_project, rows, source, spec

DAY_ONE, DAY_TWO, DAY_THREE = "2026-03-01", "2026-03-02", "2026-03-03"
TEXT_FIELDS = {"input": "text", "output": "file.folder"}
OPEN_GATES = {"ingest": {"reject_rate": {"max": 1, "reason": "hostile rows on purpose"}}}


@dataclass
class Planned:
    """A project with a good day, a hostile day and a day of files that are no batch; expected: uri to its rejects."""

    sources: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    expected: dict[str, Hostile] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)

    def add(self, name: str, suffix: str, good: bytes, bad: Hostile, **reading: Any) -> None:
        """A source whose file of the first day is good and that of the second hostile."""
        base, folder = reading.pop("fields", {"id": "id", "input": "text", "output": "label"}), f"{name}/bug"
        self.sources.append(
            source(
                name=name, path=f"{folder}/{{date}}_*{suffix}", fields=base, expected_daily=False, **reading
            )
        )
        self.files[f"{folder}/{DAY_ONE}_good{suffix}"] = good
        self.files[f"{folder}/{DAY_TWO}_rows{suffix}"] = bad.data
        self.expected[f"{folder}/{DAY_TWO}_rows{suffix}"] = bad
        for kind in ("zip", "parquet", "xlsx", "gz", "zst", "pointer"):
            if kind not in hostile.IS_WHAT_IT_SAYS.get(suffix, ()):
                uri = f"{folder}/{DAY_THREE}_{kind}{suffix}"
                self.files[uri] = hostile.contents()[kind]
                self.unreadable.append(uri)

    def add_files(
        self, name: str, suffix: str, good: bytes, bad: dict[str, tuple[bytes, str]], **reading: Any
    ) -> None:
        """A source of one record a file."""
        self.add(
            name,
            suffix,
            good,
            Hostile(good.replace(b"invoice", b"ladder"), {}, (1,)),
            fields=TEXT_FIELDS,
            **reading,
        )
        for word, (data, reason) in bad.items():
            uri = f"{name}/bug/{DAY_TWO}_{word}{suffix}"
            self.files[uri] = data
            self.expected[uri] = Hostile(data, {1: reason}, ())


def planned() -> Planned:
    plan = Planned()
    lines = hostile.json_lines(0)
    plan.add("lines", ".jsonl", jsonl(rows(10, 4)), lines)
    plan.add("document", ".json", json.dumps(rows(20, 4)).encode(), hostile.json_document(30))
    plan.add(
        "table",
        ".csv",
        hostile.delimited(40).data.splitlines(True)[0] + b"a,The lamp is fine today,bug\n",
        hostile.delimited(50),
    )
    plan.add(
        "tabs", ".tsv", b"id\ttext\tlabel\na\tThe kettle is fine today\tbug\n", hostile.delimited(60, "\t")
    )
    plan.add(
        "semicolons",
        ".csv",
        b"id;text;label\na;The violin is fine today;bug\n",
        hostile.delimited(70, ";"),
        delimiter=";",
    )
    plan.add("texts", ".txt", b"The window is open again today\n", hostile.text_lines(80), fields=TEXT_FIELDS)
    for name, encoding in (
        ("wide", "utf-16-le"),
        ("latin", "cp1252"),
        ("japanese", "shift_jis"),
        ("seven", "utf-7"),
    ):
        good = f"The camera of the {name} office is lost\n".encode(encoding)
        plan.add(
            name,
            ".txt",
            good,
            hostile.text_lines(90 + 10 * len(name), encoding),
            fields=TEXT_FIELDS,
            encoding=encoding,
        )
    plan.add_files(
        "letters",
        ".txt",
        b"The invoice was sent twice\nto our old office.\n",
        hostile.whole_files(),
        format="files",
    )
    article = "The old invoice desk in the hall was painted green last week and everybody liked it. " * 3
    plan.add_files("pages", ".html", hostile.page(article), hostile.pages())
    first = {"id": ["a"], "text": ["The ticket is still open today"], "label": ["bug"], "n": [1.0]}
    plan.add("columns", ".parquet", _parquet(first), hostile.parquet(160))
    plan.add("book", ".xlsx", hostile.workbook(170).data, hostile.workbook(180))
    packed = hostile.json_lines(200)
    plan.add(
        "packed",
        ".jsonl.gz",
        gzip.compress(jsonl(rows(210, 4)), mtime=0),
        _as(packed, gzip.compress(packed.data, mtime=0)),
    )
    plan.add(
        "squeezed", ".jsonl.zst", hostile.zstd(jsonl(rows(220, 4))), _as(packed, hostile.zstd(packed.data))
    )
    return plan


def _as(one: Hostile, data: bytes) -> Hostile:
    return Hostile(data, one.rejects, one.good)


def _parquet(columns: dict[str, list[Any]]) -> bytes:
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


@dataclass(frozen=True)
class Ran:
    plan: Planned
    path: Path
    result: Result

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.path.parent / "warehouse.duckdb"), read_only=True) as connection:
            return connection.execute(sql).fetchall()


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    """Every format with hostile rows, run once."""
    plan = planned()
    content = spec(sources=plan.sources, gates=OPEN_GATES)
    path = make_project(tmp_path_factory.mktemp("hostile") / "project", content, plan.files)
    yield Ran(plan, path, call("run", path))
    release_run_lock(path.parent / "warehouse.duckdb")


def test_hostile_rows_of_every_format_are_rejected_with_line_and_reason(ran: Ran) -> None:
    found: dict[str, dict[int, str]] = {uri: {} for uri in ran.plan.expected}
    for uri, line, reason in ran.query(f"SELECT uri, line, reason FROM rejects WHERE day = '{DAY_TWO}'"):
        assert line not in found[uri], f"{uri}:{line} is rejected twice"
        found[uri][line] = reason
    assert found == {uri: one.rejects for uri, one in ran.plan.expected.items()}


def test_hostile_rows_leave_the_other_rows_of_their_file(ran: Ran) -> None:
    found: dict[str, list[int]] = {uri: [] for uri in ran.plan.expected}
    for uri, line in ran.query(f"SELECT uri, line FROM ingest WHERE day = '{DAY_TWO}' ORDER BY line"):
        found[uri].append(line)
    assert {uri: tuple(lines) for uri, lines in found.items()} == {
        uri: one.good for uri, one in ran.plan.expected.items()
    }
    counts = ran.query("SELECT uri, rows_read, rows_ingested + rows_rejected FROM batches")
    assert all(read == told for _, read, told in counts), counts


def test_hostile_run_ends_with_words_and_repeats_no_text(ran: Ran) -> None:
    assert ran.result.exit_code == 1
    for said in (ran.result.output, ran.result.stderr):
        assert "Traceback" not in said and MARKER not in said
    assert re.search(
        r"rejected columns/bug/2026-03-02_rows\.parquet:2: invalid_encoding \(", ran.result.output
    ), ran.result.output
    assert "kinds more: see rejects.parquet" in ran.result.output
    assert not [detail for (detail,) in ran.query("SELECT detail FROM rejects") if MARKER in detail]


def test_hostile_files_that_are_no_batch_are_named_each_and_spare_the_other_days(ran: Ran) -> None:
    [line] = [part for part in ran.result.stdout.splitlines() if part.startswith(f"bad day {DAY_THREE}: ")][
        :1
    ]
    said = "\n".join(
        part for part in ran.result.stdout.splitlines() if part.startswith(f"bad day {DAY_THREE}: ")
    )
    missing = [uri for uri in ran.plan.unreadable if f"{uri}: " not in said]
    assert not missing, (missing, line)
    days = {str(day) for (day,) in ran.query("SELECT DISTINCT day FROM publications WHERE step = 'split'")}
    assert days == {DAY_ONE, DAY_TWO}


@pytest.mark.faults
def test_hostile_rows_are_counted_by_status_and_told_by_explain(ran: Ran) -> None:
    counted = last_json(call("status", ran.path, "--json"))["rejected"]
    wanted: dict[str, dict[str, int]] = {}
    for uri, one in ran.plan.expected.items():
        for reason in one.rejects.values():
            of_source = wanted.setdefault(uri.split("/")[0], {})
            of_source[reason] = of_source.get(reason, 0) + 1
    first_book = hostile.workbook(0).rejects.values()
    wanted["book"] = {reason: 2 * list(first_book).count(reason) for reason in first_book}
    assert counted == wanted
    for uri, one in ran.plan.expected.items():
        for line, reason in list(one.rejects.items())[:2]:
            told = call("explain", ran.path, f"{uri}:{line}")
            assert f"{uri}:{line} was rejected: {reason} (" in told.output and MARKER not in told.output


# --- not what the name says -----------------------------------------------------------------------


@pytest.mark.parametrize("suffix", sorted(hostile.IS_WHAT_IT_SAYS))
def test_hostile_file_under_a_wrong_name_is_told_by_check(tmp_path: Path, suffix: str) -> None:
    files = {f"{kind}/x{suffix}": data for kind, data in hostile.contents().items()}
    is_text = suffix in (".txt", ".html")
    fields = TEXT_FIELDS if is_text else {"input": "text", "output": "label"}
    content = spec(sources=[source(path=f"*/x{suffix}", collected_at="2026-03-01", fields=fields)])
    result = call("check", make_project(tmp_path / "project", content, files))
    told = {kind for kind in hostile.contents() if f"source inbox: {kind}/x{suffix}: " in result.stdout}
    assert result.exit_code == 2
    assert told == set(hostile.contents()) - hostile.IS_WHAT_IT_SAYS[suffix]
    assert "Traceback" not in result.output


@pytest.mark.parametrize("suffix", sorted(hostile.IS_WHAT_IT_SAYS))
def test_hostile_file_under_a_wrong_name_is_told_without_its_text(tmp_path: Path, suffix: str) -> None:
    files = {f"{kind}/x{suffix}": data for kind, data in hostile.contents().items()}
    content = spec(
        sources=[
            source(
                path=f"*/x{suffix}", collected_at="2026-03-01", fields={"input": "body", "output": "label"}
            )
        ]
    )
    result = call("check", make_project(tmp_path / "project", content, files))
    assert MARKER not in result.output
    assert all(len(line) < 1000 for line in result.stdout.splitlines())


# --- paths ----------------------------------------------------------------------------------------


def one_file(path: str) -> dict[str, Any]:
    return spec(sources=[source(path=path, collected_at="2026-03-01")])


def checked(folder: Path, path: str, prepare: Any = None) -> Result:
    """`check` of a project whose folder `sources` holds three good files and what `prepare` adds."""
    spec_path = make_project(folder / "project", one_file(path), CLEAN)
    if prepare is not None:
        prepare(folder / "project" / "sources")
    result = call("check", spec_path)
    assert "Traceback" not in result.output
    return result


@pytest.mark.parametrize(
    "path", ["../x.jsonl", "sources/../../x.jsonl", "/etc/passwd", "~/x.jsonl", "sources/a\0.jsonl", "//etc/x.jsonl"]
)  # fmt: skip
def test_hostile_path_out_of_the_project_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "x.jsonl").write_bytes(jsonl(rows(0)))
    result = checked(tmp_path, path)
    assert result.exit_code == 2
    assert "sources[0] (inbox).path: " in result.output


def test_hostile_link_to_a_file_outside_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(jsonl(rows(0)))
    result = checked(
        tmp_path, "sources/x.jsonl", lambda folder: (folder / "x.jsonl").symlink_to(tmp_path / "x.jsonl")
    )
    assert result.exit_code == 2
    assert (
        "sources/x.jsonl is a link that leads outside the project. Copy the file into the project."
        in result.output
    )


def test_hostile_link_to_a_folder_outside_is_refused_where_a_glob_meets_it(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x.jsonl").write_bytes(jsonl(rows(0)))
    result = checked(
        tmp_path, "sources/*/*.jsonl", lambda folder: (folder / "link").symlink_to(tmp_path / "out")
    )
    assert result.exit_code == 2
    assert "sources/link/x.jsonl is a link that leads outside the project." in result.output


def test_hostile_link_within_the_project_is_read(tmp_path: Path) -> None:
    result = checked(
        tmp_path, "sources/x.jsonl", lambda folder: (folder / "x.jsonl").symlink_to(f"{DAY_ONE}.jsonl")
    )
    assert result.exit_code == 0


@pytest.mark.parametrize("path", ["sources/x.jsonl", "sources/*.jsonl"])
def test_hostile_link_to_itself_is_refused(tmp_path: Path, path: str) -> None:
    result = checked(tmp_path, path, lambda folder: (folder / "x.jsonl").symlink_to("x.jsonl"))
    assert result.exit_code == 2
    assert "sources/x.jsonl" in result.output


@pytest.mark.parametrize("kind", ["fifo", "folder", "dangling", "socket"])
@pytest.mark.parametrize("path", ["sources/x.jsonl", "sources/*.jsonl"])
def test_hostile_thing_that_is_no_file_is_named_and_not_opened(tmp_path: Path, kind: str, path: str) -> None:
    def prepare(folder: Path) -> None:
        made = folder / "x.jsonl"
        if kind == "fifo":
            os.mkfifo(made)
        elif kind == "folder":
            made.mkdir()
        elif kind == "dangling":
            made.symlink_to("gone.jsonl")
        else:
            os.mknod(made, stat.S_IFSOCK | 0o600)

    result = checked(tmp_path, path, prepare)
    assert "sources/x.jsonl is not a file" in result.output
    assert result.exit_code == (0 if "*" in path else 2)


def test_hostile_device_behind_a_link_is_refused(tmp_path: Path) -> None:
    result = checked(tmp_path, "sources/*.jsonl", lambda folder: (folder / "x.jsonl").symlink_to("/dev/zero"))
    assert result.exit_code == 2
    assert "sources/x.jsonl is a link that leads outside the project." in result.output


@pytest.mark.parametrize(
    "path",
    ["sources/**x.jsonl", "sources/" + "a" * 5000 + ".jsonl", "sources/[.jsonl", "sources/**a**.jsonl"],
)
def test_hostile_pattern_that_is_none_is_refused(tmp_path: Path, path: str) -> None:
    result = checked(tmp_path, path)
    assert result.exit_code == 2
    assert "sources[0] (inbox).path: " in result.output
    assert len(result.output) < 20_000


def test_hostile_file_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    def prepare(folder: Path) -> None:
        Path(os.fsdecode(os.fsencode(folder) + b"/\xff.jsonl")).write_bytes(jsonl(rows(100)))

    result = checked(tmp_path, "sources/*.jsonl", prepare)
    assert result.exit_code == 2
    assert "whose name is not valid UTF-8" in result.output


@pytest.mark.parametrize(
    "name", ["[bold]x[red].jsonl", "{x}.jsonl", "'; DROP TABLE x.jsonl", "-rf.jsonl", "\u202etxt.jsonl"]
)
def test_hostile_file_name_is_read_and_told_in_one_line(tmp_path: Path, name: str) -> None:
    result = checked(tmp_path, "sources/*.jsonl", lambda folder: (folder / name).write_bytes(b"[1]\n"))
    assert result.exit_code == 2
    [line] = [line for line in result.stdout.splitlines() if "has no column" in line]
    assert line.startswith(f"source inbox: sources/{name}: ")


@pytest.mark.parametrize("name", ["a\nb.jsonl", "\x1b[31m.jsonl", "\x07.jsonl"])
def test_hostile_file_name_with_control_characters_is_refused(tmp_path: Path, name: str) -> None:
    result = checked(
        tmp_path, "sources/*.jsonl", lambda folder: (folder / name).write_bytes(jsonl(rows(100)))
    )
    assert result.exit_code == 2
    assert "is a file whose name holds control characters. Rename it." in result.output
    assert "\x1b" not in result.output and "\x07" not in result.output


@pytest.mark.parametrize(
    "path", ["sources/{date}*.jsonl", "sources/{date}-*.jsonl", "sources/*{date}*", "{date}/*"]
)
def test_path_with_a_star_beside_the_date_finds_the_day(tmp_path: Path, path: str) -> None:
    files = {
        "sources/2026-03-01-a.jsonl": jsonl(rows(0)),
        "sources/2026-03-02-b.jsonl": jsonl(rows(20)),
        "2026-03-03/c.jsonl": jsonl(rows(40)),
    }
    found = discover(
        load_project(make_project(tmp_path, spec(sources=[source(path=path, format="jsonl")]), files))
    )
    days = {file.day.isoformat() for file in found.files}
    assert days == ({DAY_THREE} if path.startswith("{") else {DAY_ONE, DAY_TWO})


def test_hostile_marks_of_other_encodings_are_named(tmp_path: Path) -> None:
    data = jsonl(rows(0)).decode().encode("utf-16-le")
    result = checked(
        tmp_path,
        "sources/x.jsonl",
        lambda folder: (folder / "x.jsonl").write_bytes(codecs.BOM_UTF16_LE + data),
    )
    assert result.exit_code == 2
    assert "the file begins with the byte order mark of utf-16-le" in result.output
