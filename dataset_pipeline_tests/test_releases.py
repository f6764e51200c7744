"""Release folders: readers see the old release or the new one, whole; `verify` sees every change.

Lives here: the files of a release and dying while they are written. Keep out: the shapes of rows and
the card (`test_release_rows`).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dataset_pipeline.assets.releasing import run_release
from dataset_pipeline.storage import releases
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline.storage.release_checks import verify
from dataset_pipeline.storage.releases import Writer, latest_version
from dataset_pipeline_tests import small_project as small

REPOSITORY = Path(__file__).parent.parent


def write(folder: Path, word: str = "one", run_id: str = "run", **said: Any) -> Path:
    """A release of two files in `folder`."""
    writer = Writer(folder)
    writer.lines("chat/train.jsonl", [b'{"text": "%s"}\n' % word.encode(), b'{"text": "two"}\n'])
    writer.parquet("provenance.parquet", pl.DataFrame({"record_id": ["a", "b"]}))
    writer.text("README.md", "words\n")
    files = {f.path: {"sha256": f.sha256, "bytes": f.bytes, "rows": f.rows} for f in writer.files.values()}
    return writer.finish({"version": writer.version(), "files": files, "run_id": run_id} | said)


def left_overs(folder: Path) -> list[str]:
    return [p.name for p in folder.iterdir() if p.name.startswith(".")]


# --- content and versions -------------------------------------------------------------------


def test_release_same_rows_have_the_same_version_and_stay_as_they_are(tmp_path: Path) -> None:
    first = write(tmp_path, run_id="first")
    manifest = (first / "manifest.json").read_bytes()
    assert write(tmp_path, run_id="second") == first
    assert (first / "manifest.json").read_bytes() == manifest
    other = write(tmp_path, "other")
    assert other != first and verify(other).is_whole and verify(first).is_whole
    assert latest_version(tmp_path) == other.name


def test_release_same_rows_and_another_manifest_say_what_is_true_now(tmp_path: Path) -> None:
    first = write(tmp_path, run_id="first")
    path = first / "manifest.json"
    path.chmod(0o640)
    files = {p: p.stat().st_mtime_ns for p in first.rglob("*") if p != path}
    assert write(tmp_path, run_id="second", spec={"name": "renamed"}) == first
    manifest = json.loads(path.read_text())
    assert (manifest["spec"], manifest["run_id"]) == ({"name": "renamed"}, "second")
    assert path.stat().st_mode & 0o777 == 0o640 and verify(first).is_whole and left_overs(first) == []
    assert {p: p.stat().st_mtime_ns for p in first.rglob("*") if p.is_file() and p != path} == {
        p: at for p, at in files.items() if p.is_file()
    }
    write(tmp_path, run_id="third", spec={"name": "renamed"})
    assert json.loads(path.read_text()) == manifest, "of a run alone it says nothing new"
    write(tmp_path, run_id="fourth")
    assert "spec" not in json.loads(path.read_text()) and left_overs(tmp_path) == []


def test_release_latest_is_a_relative_link(tmp_path: Path) -> None:
    folder = write(tmp_path / "here")
    assert (tmp_path / "here" / "latest").readlink() == Path(folder.name)
    (tmp_path / "here").rename(tmp_path / "there")
    assert latest_version(tmp_path / "there") == folder.name
    assert (tmp_path / "there" / "latest" / "manifest.json").is_file()


def test_release_spoiled_folder_of_the_same_version_is_written_anew(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "README.md").unlink()
    assert write(tmp_path) == folder
    assert verify(folder).is_whole


def test_latest_version_without_its_folder_is_none(tmp_path: Path) -> None:
    shutil.rmtree(write(tmp_path))
    assert latest_version(tmp_path) is None


# --- verify -----------------------------------------------------------------------------------


def _edit_manifest(folder: Path, change: Any) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def _lists(folder: Path, path: str) -> None:
    """The manifest names a file that is there, whole, but not in the folder."""
    shutil.copy(folder / "README.md", folder.parent / "secret.txt")
    _edit_manifest(folder, lambda m: m["files"].update({path: m["files"]["README.md"]}))


def _moved(folder: Path, path: str) -> None:
    (folder / path).rename(folder.parent / "elsewhere")
    (folder / path).symlink_to(folder.parent / "elsewhere")


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


SPOILED: dict[str, tuple[Any, str]] = {
    "changed": (lambda f: (f / "chat/train.jsonl").write_bytes(b'{"text": "1"}\n'), "chat/train.jsonl: was changed"),
    "missing": (lambda f: (f / "provenance.parquet").unlink(), "provenance.parquet: is missing"),
    "extra": (lambda f: (f / "chat/more.jsonl").write_text("{}\n"), "chat/more.jsonl: does not belong"),
    "no manifest": (lambda f: (f / "manifest.json").unlink(), "is missing or no manifest"),
    "broken manifest": (lambda f: (f / "manifest.json").write_text("{"), "is missing or no manifest"),
    "list of files": (lambda f: _edit_manifest(f, lambda m: m.update(files=[])), "is missing or no manifest"),
    "files without facts": (
        lambda f: _edit_manifest(f, lambda m: m.update(files={"README.md": {}})), "is missing or no manifest",
    ),
    "rows": (
        lambda f: _edit_manifest(f, lambda m: m["files"]["chat/train.jsonl"].update(rows=3)), "holds 2 rows, the manifest says 3",
    ),
    "rows left out": (
        lambda f: _edit_manifest(f, lambda m: m["files"]["chat/train.jsonl"].update(rows=None)), "holds 2 rows, the manifest says none",
    ),
    "bytes": (
        lambda f: _edit_manifest(f, lambda m: m["files"]["README.md"].update(bytes=7)), "README.md: holds 6 bytes, the manifest says 7",
    ),
    "bytes of another kind": (
        lambda f: _edit_manifest(f, lambda m: m["files"]["README.md"].update(bytes="6")), "no manifest",
    ),
    "climbing path": (lambda f: _lists(f, "../secret.txt"), "no manifest"),
    "climbing path within": (lambda f: _lists(f, "chat/../../secret.txt"), "no manifest"),
    "absolute path": (lambda f: _lists(f, str(f.parent / "secret.txt")), "no manifest"),
    "half of a character": (lambda f: _lists(f, "\ud800"), "no manifest"),
    "deep manifest": (lambda f: (f / "manifest.json").write_text('{"a":' * 100_000), "no manifest"),
    "linked file": (lambda f: _moved(f, "README.md"), "README.md: is no file, or lies behind a link"),
    "linked folder": (lambda f: _moved(f, "chat"), "chat/train.jsonl: is no file, or lies behind a link"),
    "linked manifest": (lambda f: _moved(f, "manifest.json"), "no manifest"),
    "extra link": (lambda f: (f / "more").symlink_to(f.parent), "more: does not belong"),
    "hanging link": (lambda f: (f / "more").symlink_to("nowhere"), "more: does not belong"),
    "empty folder": (lambda f: (f / "chat/deep/er").mkdir(parents=True), "chat/deep/er: does not belong"),
    "pipe": (lambda f: os.mkfifo(f / "pipe"), "pipe: does not belong"),
    "pipe for a file": (lambda f: _pipe(f / "README.md"), "README.md: is no file"),
    "pipe for the manifest": (lambda f: _pipe(f / "manifest.json"), "no manifest"),
    "odd name": (lambda f: (f / os.fsdecode(b"\xff.txt")).write_text(""), "\\udcff.txt: does not belong"),
    "version": (lambda f: _edit_manifest(f, lambda m: m.update(version="0" * 16)), "the manifest says 0000000000000000"),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILED)
def test_verify_names_what_is_wrong(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path)
    assert verify(folder).is_whole and (verify(folder).files, verify(folder).rows) == (3, 4)
    spoil, said = SPOILED[name]
    spoil(folder)
    found = verify(folder)
    assert not found.is_whole
    assert any(said in problem for problem in found.problems), found.problems


# --- dying while writing ------------------------------------------------------------------------

_DYING = """
import os, signal, sys
from pathlib import Path
from dataset_pipeline_tests import test_releases
place, count, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
left = [count]
def dying(original):
    def wrapped(*args, **kwargs):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)
    return wrapped
owner = os if place == "fsync" else Path
setattr(owner, place, dying(getattr(owner, place)))
test_releases.write(folder, "new")
"""


def _dies(place: str, count: int, folder: Path) -> bool:
    done = subprocess.run(
        [sys.executable, "-c", _DYING, place, str(count), str(folder)], cwd=REPOSITORY, capture_output=True, text=True, timeout=60
    )  # fmt: skip
    assert done.returncode in (0, -9), done.stderr
    return done.returncode == -9


@pytest.mark.parametrize(
    ("place", "count"),
    [
        ("fsync", 1),
        ("fsync", 4),
        ("fsync", 6),
        ("rename", 1),
        ("fsync", 7),
        ("symlink_to", 1),
        ("replace", 1),
    ],
)
def test_release_killed_while_written_leaves_the_old_one_whole(
    tmp_path: Path, place: str, count: int
) -> None:
    old = write(tmp_path)
    assert _dies(place, count, tmp_path)
    assert latest_version(tmp_path) == old.name
    assert verify(old).is_whole
    seen = [p for p in tmp_path.iterdir() if not p.name.startswith(".") and not p.is_symlink()]
    assert all(verify(folder).is_whole for folder in seen)
    new = write(tmp_path, "new")
    assert latest_version(tmp_path) == new.name != old.name
    assert verify(new).is_whole
    assert left_overs(tmp_path) == []


@pytest.fixture(scope="module")
def before_release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project whose steps are all published again, after a first release of other rows."""
    with pytest.MonkeyPatch.context() as patch:
        small.switch_gates_off(patch)
        root = small.make_project(tmp_path_factory.mktemp("release"))
        small.run_all(root)
        small.write_spec(root, {"filter": {"input": {"min_words": 8}}})
        context = small.open_project(root)
        small.run_days(context, sorted({day for _, day in context.warehouse.latest() if day is not None}))
    yield root
    release_run_lock(root / "warehouse.duckdb")


class _Full(OSError):
    """The disk is full."""


@pytest.mark.faults
def test_release_failing_at_every_write_leaves_the_old_one_whole(
    before_release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.switch_gates_off(monkeypatch)
    root = tmp_path / "project"
    shutil.copytree(before_release, root, symlinks=True)
    context = small.open_project(root)
    folder = context.project.releases_path
    old, publications = latest_version(folder), context.warehouse.latest()
    calls, limit = [0], [0]

    def failing(original: Any) -> Any:
        def wrapped(*args: Any) -> Any:
            calls[0] += 1
            if calls[0] == limit[0]:
                raise _Full(28, "No space left on device")
            return original(*args)

        return wrapped

    with monkeypatch.context() as patch:
        for name in ("sync", "point_latest"):
            patch.setattr(releases, name, failing(getattr(releases, name)))
        patch.setattr(Path, "rename", failing(Path.rename))
        for limit[0] in range(1, 60):
            calls[0] = 0
            try:
                run_release(context, small.status(context), "run")
                break
            except _Full:
                assert latest_version(folder) == old
                assert verify(folder / str(old)).is_whole
                assert left_overs(folder) == []
                assert context.warehouse.latest() == publications
    assert limit[0] > 20, "too few places were tried"
    new = latest_version(folder)
    assert new != old and verify(folder / str(new)).is_whole and verify(folder / str(old)).is_whole


def test_release_that_died_before_it_was_recorded_is_recorded_next_time(
    before_release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.switch_gates_off(monkeypatch)
    root = tmp_path / "project"
    shutil.copytree(before_release, root, symlinks=True)
    context = small.open_project(root)
    with monkeypatch.context() as patch, pytest.raises(_Full):
        patch.setattr(
            type(context.warehouse),
            "record_release",
            lambda *_, **__: (_ for _ in ()).throw(_Full(28, "full")),
        )
        run_release(context, small.status(context), "dying")
    written = latest_version(context.project.releases_path)
    outcome = run_release(context, small.status(context), "next")
    assert outcome.notes == (written,) and not outcome.is_noop
    assert context.warehouse.latest()[("release", None)].content == written
    assert run_release(context, small.status(context), "third").is_noop


def test_release_whose_input_moves_while_it_is_written_is_refused(
    before_release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataset_pipeline.assets import releasing
    from dataset_pipeline.errors import StalePublish

    small.switch_gates_off(monkeypatch)
    root = tmp_path / "project"
    shutil.copytree(before_release, root, symlinks=True)
    context = small.open_project(root)
    old = latest_version(context.project.releases_path)
    card = releasing.card

    def moving(facts: Any) -> str:
        with context.warehouse._connection() as connection:
            connection.execute(
                "INSERT INTO publications SELECT * REPLACE (seq + 100000 AS seq) FROM publications WHERE step = 'label'"
            )
        return card(facts)

    with monkeypatch.context() as patch, pytest.raises(StalePublish, match="label was published again"):
        patch.setattr(releasing, "card", moving)
        run_release(context, small.status(context), "run")
    assert latest_version(context.project.releases_path) == old
    assert left_overs(context.project.releases_path) == []
