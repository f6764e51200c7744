"""Sources on other storage: which files come, which stay, which names are refused; and secrets in none of them.

Lives here: fsspec's memory and local storage. Keep out: queries (`test_fetching`), servers (`test_servers`).
"""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from dataset_pipeline.errors import PipelineError, SpecError
from dataset_pipeline.progress import REPORTER, Silent
from dataset_pipeline.spec.places import Database, local_pattern
from dataset_pipeline.storage import fetching
from dataset_pipeline.storage.fetching import Secrets, fetch, fetch_all
from dataset_pipeline.storage.readers import UnreadableFile
from dataset_pipeline_tests.test_fetching import SECRET, Elsewhere, files, tickets


@pytest.fixture
def memory() -> Iterator[MemoryFileSystem]:
    """fsspec's memory, empty."""
    system = MemoryFileSystem()
    system.store.clear()
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


@pytest.fixture
def database(tmp_path: Path) -> None:
    """t.db with one ticket."""
    with sqlite3.connect(tmp_path / "t.db") as connection:
        connection.execute("CREATE TABLE ticket (id INTEGER, body, created_at)")
        connection.execute("INSERT INTO ticket VALUES (1, 'a', '2026-11-01')")


def crawl(path: str = "memory://b/crawl/{date}/*.jsonl", **more: Any) -> Elsewhere:
    return Elsewhere(name="crawl", path=path, **more)


def test_files_that_match_come_with_their_names_and_nothing_else(
    tmp_path: Path, memory: MemoryFileSystem
) -> None:
    for name in (
        "2026-11-01/a.jsonl",
        "2026-11-01/b.txt",
        "2026-11-02/a.jsonl",
        "2026-11-02/deep/a.jsonl",
        "a.jsonl",
    ):
        memory.pipe(f"/b/crawl/{name}", name.encode())
    done = fetch(tmp_path, crawl())
    assert (done.files, done.bytes) == (2, 36)
    assert (tmp_path / "fetched/crawl/2026-11-02/a.jsonl").read_bytes() == b"2026-11-02/a.jsonl"
    assert set(files(tmp_path)) == {"crawl.json", "crawl/2026-11-01/a.jsonl", "crawl/2026-11-02/a.jsonl"}
    facts = json.loads(files(tmp_path)["crawl.json"][0])["files"]["2026-11-01/a.jsonl"]
    assert facts["url"] == "memory://b/crawl/2026-11-01/a.jsonl"
    assert facts["sha256"] == hashlib.sha256(b"2026-11-01/a.jsonl").hexdigest()


def test_files_fetched_twice_change_no_byte_and_only_what_is_new_comes(
    tmp_path: Path, memory: MemoryFileSystem
) -> None:
    memory.pipe("/b/crawl/2026-11-01/a.jsonl", b"one")
    fetch(tmp_path, crawl())
    before = files(tmp_path)
    assert fetch(tmp_path, crawl()) == fetching.Fetched()
    assert files(tmp_path) == before
    memory.pipe("/b/crawl/2026-11-02/a.jsonl", b"two")
    assert fetch(tmp_path, crawl()).files == 1
    memory.pipe("/b/crawl/2026-11-01/a.jsonl", b"ONE")
    assert fetch(tmp_path, crawl()).files == 1
    assert files(tmp_path)["crawl/2026-11-01/a.jsonl"][0] == b"ONE"


def test_files_gone_over_there_are_kept_and_told(tmp_path: Path, memory: MemoryFileSystem) -> None:
    memory.pipe("/b/crawl/2026-11-01/a.jsonl", b"one")
    memory.pipe("/b/crawl/2026-11-02/a.jsonl", b"two")
    fetch(tmp_path, crawl())
    memory.rm("/b/crawl/2026-11-01", recursive=True)
    assert fetch(tmp_path, crawl()).notes == (
        "crawl: 1 file is gone over there and kept here: 2026-11-01/a.jsonl. Delete what shall go.",
    )
    memory.rm("/b", recursive=True)
    assert "2 files are gone" in fetch(tmp_path, crawl()).notes[0]
    assert len(files(tmp_path)) == 3


def test_files_of_another_place_are_not_mixed(tmp_path: Path, memory: MemoryFileSystem) -> None:
    memory.pipe("/b/crawl/2026-11-01/a.jsonl", b"one")
    fetch(tmp_path, crawl())
    with pytest.raises(SpecError, match=r"holds files of another place \(memory://b/crawl\)"):
        fetch(tmp_path, crawl("memory://b/other/{date}/*.jsonl"))


def test_files_of_deep_and_fixed_patterns_are_found(tmp_path: Path, memory: MemoryFileSystem) -> None:
    for name in ("a.csv", "x/a.csv", "x/y/a.csv", "x/y/b.txt"):
        memory.pipe(f"/b/in/{name}", b"a")
    for n, (path, wanted) in enumerate([
        ("memory://b/in/**/*.csv", ["a.csv", "x/a.csv", "x/y/a.csv"]), ("memory://b/in/*/y/a.csv", ["x/y/a.csv"]),
        ("memory://b/in/x/a.csv", ["a.csv"]), ("memory://b/in/x/?.csv", ["a.csv"]), ("memory://b/in/[x]/**/a.csv", ["x/a.csv", "x/y/a.csv"]),
    ]):  # fmt: skip
        root = tmp_path / str(n)
        root.mkdir()
        source = crawl(path)
        fetch(root, source)
        found = sorted(root.glob(local_pattern(source)))
        assert [p.relative_to(root / "fetched/crawl").as_posix() for p in found] == wanted


@pytest.mark.parametrize(
    "names",
    [["../../evil.jsonl"], ["..", "evil.jsonl"], ["line\nbreak.jsonl"], ["A.jsonl", "a.jsonl"], ["back\\slash.jsonl"],
     ["\u00e9.jsonl", "e\u0301.jsonl"], ["x" * 300 + ".jsonl"], [".jsonl\x7f.jsonl"]],
)  # fmt: skip
def test_files_whose_names_escape_or_collide_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str]
) -> None:
    listing = [{"name": f"/b/{name}", "size": 1, "type": "file", "ETag": "x"} for name in names]
    monkeypatch.setattr(MemoryFileSystem, "ls", lambda self, path, detail=True: listing)
    source = crawl("memory://b/*")
    try:
        fetch(tmp_path, source)
    except (SpecError, UnreadableFile) as error:
        assert "\n" not in str(error)
    assert [p.name for p in tmp_path.iterdir()] == ["fetched"]
    assert not list((tmp_path / "fetched").rglob("*.jsonl"))


def test_files_cut_short_or_behind_a_link_are_refused_and_leave_nothing(
    tmp_path: Path, memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.pipe("/b/crawl/2026-11-01/a.jsonl", b"whole")
    memory.pipe("/b/crawl/2026-11-02/a.jsonl", b"cut")
    real = MemoryFileSystem.ls

    def longer(self: MemoryFileSystem, path: str, detail: bool = True, **more: Any) -> Any:
        return [
            {**i, "size": i["size"] + 1} if "-02/" in i["name"] else i
            for i in real(self, path, detail, **more)
        ]

    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "ls", longer)
        with pytest.raises(UnreadableFile, match=r"2026-11-02/a.jsonl\): 3 of 4 bytes came"):
            fetch(tmp_path, crawl())
    assert set(files(tmp_path)) == {"crawl.json", "crawl/2026-11-01/a.jsonl"}
    assert fetch(tmp_path, crawl()).files == 1
    (tmp_path / "outside").mkdir()
    (tmp_path / "fetched/crawl/2026-11-03").symlink_to(tmp_path / "outside")
    memory.pipe("/b/crawl/2026-11-03/a.jsonl", b"x")
    with pytest.raises(SpecError, match="a link that leads elsewhere"):
        fetch(tmp_path, crawl())


def test_files_of_local_storage_are_copied_and_missing_ones_named(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/2026-11-01.csv").write_text("a,b\n")
    root = tmp_path / "project"
    root.mkdir()
    fetch(root, crawl(f"file://{tmp_path}/in/{{date}}.csv"))
    assert (root / "fetched/crawl/2026-11-01.csv").read_text() == "a,b\n"
    root = tmp_path / "other"
    root.mkdir()
    with pytest.raises(SpecError, match="no such bucket, folder or file"):
        fetch(root, crawl(f"file://{tmp_path}/none/*.csv"))
    for path, words in [
        ("nosuch://b/*.csv", "no storage is called nosuch://"),
        ("gs://b/*.csv", "Install gcsfs"),
    ]:
        with pytest.raises(SpecError, match=words):
            fetch(root, crawl(path))


def test_files_progress_is_told(tmp_path: Path, memory: MemoryFileSystem) -> None:
    memory.pipe("/b/crawl/2026-11-01/a.jsonl", b"one")
    told: list[str] = []

    class Listener(Silent):
        def phase(self, step: str, phase: str) -> None:
            told.append(f"{step}: {phase}")

    token = REPORTER.set(Listener())
    fetch(tmp_path, crawl())
    REPORTER.reset(token)
    assert told == ["fetching crawl: listing", "fetching crawl: 1 of 1 files"]


# --- secrets and records ------------------------------------------------------------------


def test_secret_is_in_no_file_log_or_error(
    tmp_path: Path,
    memory: MemoryFileSystem,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("FETCH_PASSWORD", SECRET)
    caplog.set_level(logging.DEBUG)
    memory.pipe("/b/crawl/2026-11-01/a.jsonl", b"one")
    fetch(tmp_path, crawl(storage={"secret": "${FETCH_PASSWORD}"}))
    seen = []
    sources = [
        Elsewhere(database=Database(url="postgresql+pg8000://u:${FETCH_PASSWORD}@127.0.0.1:9/d", query="SELECT 1")),
        Elsewhere(database=Database(url="sqlite:///${FETCH_PASSWORD}", query="SELECT 1")),
        crawl("memory://b/${FETCH_PASSWORD}/x.csv", storage={"token": "${FETCH_PASSWORD}"}, ),
        crawl("http://127.0.0.1:9/a.csv?X-Amz-Signature=${FETCH_PASSWORD}"),
    ]  # fmt: skip
    for number, source in enumerate(sources):
        root = tmp_path / str(number)
        root.mkdir()
        with pytest.raises(PipelineError) as caught:
            fetch(root, source)
        seen.append("".join(traceback.format_exception(caught.value)))
    kept = b"".join(p.read_bytes() for p in (tmp_path / "fetched").rglob("*") if p.is_file()).decode()
    for form in (SECRET, "pa55%2Fw%40rd%3Ax", "pa55/w%40rd%3Ax"):
        assert form not in kept + caplog.text + "".join(seen)


def test_secret_that_is_not_set_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FETCH_USER", raising=False)
    monkeypatch.setenv("FETCH_PASSWORD", "")
    source = Elsewhere(
        database=Database(url="postgresql+pg8000://${FETCH_USER}:${FETCH_PASSWORD}@h/d", query="SELECT 1")
    )
    with pytest.raises(SpecError, match="FETCH_PASSWORD and FETCH_USER are not set in the environment"):
        fetch(tmp_path, source)


def test_secret_is_scrubbed_in_every_form_and_short_ones_as_words() -> None:
    secrets = Secrets("x")
    secrets.add("a/b c")
    secrets.add("ro")
    text = "a/b c a%2Fb%20c a%2Fb+c from ro@h https://u:p@h/x?X-Amz-Signature=1 done"
    assert secrets.scrub(text) == "*** *** *** from ***@h https://***@h/x?*** done"


@pytest.mark.usefixtures("database")
def test_record_that_is_damaged_is_named_and_nothing_is_touched(tmp_path: Path) -> None:
    fetch(tmp_path, tickets())
    (tmp_path / "fetched/tickets.json").write_text("{")
    before = files(tmp_path)
    with pytest.raises(UnreadableFile, match=r"fetched/tickets.json: is not the record"):
        fetch(tmp_path, tickets())
    assert files(tmp_path) == before


@pytest.mark.usefixtures("database")
def test_fetch_all_tries_every_source_and_says_all_that_is_wrong(tmp_path: Path) -> None:
    sources = [
        tickets("SELECT 1 FROM a", name="one"),
        tickets(name="two"),
        crawl("nosuch://b/c.csv"),
        Elsewhere(path="x.csv"),
    ]
    with pytest.raises(SpecError) as caught:
        fetch_all(tmp_path, sources, "dataset.yaml")
    assert [p.place for p in caught.value.problems] == [
        "dataset.yaml: source one",
        "dataset.yaml: source crawl",
    ]
    assert (tmp_path / "fetched/two/2026-11-01.jsonl.gz").exists()
    assert fetch(tmp_path / "none", Elsewhere(path="x.csv")) == fetching.Fetched()
