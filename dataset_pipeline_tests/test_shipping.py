"""`publish` into a folder: whole or not at all, verified there, completed after a death.

Keep out: storage without renames (`test_shipping_storage`), a real object store (`test_publish_servers`).
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dataset_pipeline.storage import release_checks, releases, shelving
from dataset_pipeline_tests.published_release import files_of, sealed, some, written
from dataset_pipeline_tests.shipped import call, changing_after


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return written(tmp_path / "releases")


def test_publish_of_a_url_that_lacks_a_slash_is_refused(release: Path, tmp_path: Path) -> None:
    result = call("publish", release, "s3:/bucket/sets")
    assert result.exit_code == 2 and "Write s3://…" in result.output


def test_verify_of_a_folder_of_versions_is_that_of_its_latest(release: Path, tmp_path: Path) -> None:
    assert call("publish", release, tmp_path / "shelf").exit_code == 0
    assert f"{release.name}: whole." in call("verify", tmp_path / "shelf").output


def test_publish_folder_is_a_whole_copy_and_latest_points_at_it(release: Path, tmp_path: Path) -> None:
    target = tmp_path / "a" / "shelf"
    result = call("publish", release, target)
    assert result.exit_code == 0 and f"{release.name}: published:" in result.output
    assert files_of(target / release.name) == files_of(release)
    assert os.readlink(target / "latest") == release.name  # noqa: PTH115 - the link itself is meant
    assert sorted(p.name for p in target.iterdir()) == sorted([release.name, "latest"]), (
        "nothing else is left"
    )
    assert call("verify", target / "latest").exit_code == 0
    assert "is there already" in call("publish", release, f"file://{target}").output


def test_publish_folder_that_is_broken_is_replaced_and_a_foreign_one_refused(
    release: Path, tmp_path: Path
) -> None:
    target = tmp_path / "shelf"
    call("publish", release, target)
    (target / release.name / "chat/train.jsonl").write_bytes(b"{}\n")
    assert "published" in call("publish", release, target).output
    assert files_of(target / release.name) == files_of(release)
    shutil.rmtree(target / release.name)
    (target / release.name).mkdir()
    (target / release.name / "thesis.txt").write_text("years of work")
    result = call("publish", release, target)
    assert result.exit_code == 2 and "part of the release: thesis.txt" in result.output, result.output
    assert "another TARGET" in result.output
    assert files_of(target / release.name) == {"thesis.txt": b"years of work"}


def _note(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")


def _empty_folder(folder: Path) -> None:
    (folder / "mine").mkdir()


def _linked_folder(folder: Path) -> None:
    shutil.move(folder / "chat", folder.parent.parent / "elsewhere")
    (folder / "chat").symlink_to(folder.parent.parent / "elsewhere")


@pytest.mark.parametrize(
    ("add", "name"), [(_note, "notes.txt"), (_empty_folder, "mine"), (_linked_folder, "chat")]
)
@pytest.mark.parametrize("is_broken", [False, True])
def test_publish_folder_never_deletes_what_is_not_of_the_release(
    release: Path, tmp_path: Path, add: Any, name: str, is_broken: bool
) -> None:
    target = tmp_path / "shelf"
    call("publish", release, target)
    add(target / release.name)
    if is_broken:
        (target / release.name / "README.md").write_text("spoiled")
    before = files_of(target)
    result = call("publish", release, target)
    assert result.exit_code == 2 and f"part of the release: {name}" in result.output, result.output
    assert "Nothing was changed" in result.output and files_of(target) == before
    assert (target / release.name / name).exists()


@pytest.mark.parametrize("below", ["latest", "latest/chat", "latest/new/deeper", ".", "sub"])
def test_publish_into_a_release_or_beside_it_ends_with_2(release: Path, below: str) -> None:
    """`.` and `sub`: the folder of the project's own releases."""
    root = release.parent.parent
    releases.point_latest(release.parent, release.name)
    (root / "dataset.yaml").write_text(
        json.dumps(json.loads((release / "manifest.json").read_text())["spec"])
    )
    before = files_of(root)
    target = release.parent / below
    result = call("publish", release, target, "--spec", root / "dataset.yaml")
    assert result.exit_code == 2 and "Name " in result.output, result.output
    assert files_of(root) == before and sorted(p.name for p in release.parent.iterdir()) == sorted(
        [release.name, "latest"]
    )
    assert release_checks.verify(release).is_whole


def test_publish_below_any_folder_with_a_manifest_ends_with_2(release: Path, tmp_path: Path) -> None:
    (tmp_path / "site/deep").mkdir(parents=True)
    (tmp_path / "site/manifest.json").write_text("{}")
    result = call("publish", release, tmp_path / "site/deep/er")
    assert result.exit_code == 2 and "nothing is added to a release" in result.output
    assert not list((tmp_path / "site/deep").iterdir())


def test_publish_folder_file_that_changes_after_it_was_verified_is_no_release(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changing_after(release, monkeypatch)
    result = call("publish", release, tmp_path / "shelf")
    assert result.exit_code == 1 and "chat/train.jsonl: was changed while" in result.output, result.output
    assert not list((tmp_path / "shelf").iterdir())


def test_publish_to_what_is_no_folder_ends_with_2(release: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "shelf/latest").mkdir(parents=True)
    for target, words in (
        (tmp_path / "file", "is no folder"),
        (tmp_path / "file/below", "is no folder"),
        (tmp_path / "shelf", "is no link"),
        (release.parent, "is where the release is already"),
        ("", "is empty"),
        ("https://example.org/sets", "takes no files"),
        ("memory://", "names no"),
        ("nonsense://x/y", "no storage is called nonsense"),
        ("file://relative", "not absolute"),
        ("memory://bucket/a*b", "wildcard"),
    ):
        result = call("publish", release, target)
        assert result.exit_code == 2 and words in result.output, (target, result.output)


def test_publish_release_that_is_broken_stays_here(release: Path, tmp_path: Path) -> None:
    (release / "README.md").write_text("changed")
    result = call("publish", release, tmp_path / "shelf")
    assert result.exit_code == 1 and "was not published" in result.output and "README.md" in result.output
    assert not (tmp_path / "shelf").exists()


def test_publish_says_where_rights_do_not_hold_redistribution(release: Path, tmp_path: Path) -> None:
    assert "advice" not in call("publish", release, tmp_path / "shelf").output
    provenance = pl.read_parquet(release / "provenance.parquet")
    one = pl.when(pl.col("row") == 0).then(pl.lit("train")).otherwise("uses").alias("uses")
    for columns, words in (
        (provenance.with_columns(one), "do not hold `redistribute`"),
        (provenance.drop("uses"), "are not in its provenance"),
    ):
        columns.write_parquet(release / "provenance.parquet")
        rights = json.loads((release / "manifest.json").read_text())["rights"]
        release = sealed(release, rights=rights | {"uses": ["train"]})
        result = call("publish", release, tmp_path / "shelf")
        assert result.exit_code == 0 and words in result.output, result.output
        assert len([line for line in result.output.splitlines() if line.startswith("advice")]) == 1


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_publish_folder_that_fails_at_any_file_leaves_the_old_and_the_next_completes(
    release: Path, tmp_path: Path, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "shelf"
    old = written(tmp_path / "old", some(3))
    call("publish", old, target)
    original, total = shelving._copy_file, len(files_of(release)) - 1  # the manifest is written otherwise
    for failing in range(1, total + 1):
        calls: list[Path] = []

        def failing_copy(
            source: Path, copy: Path, said: Any, failing: int = failing, calls: Any = calls
        ) -> None:
            calls.append(copy)
            if len(calls) == failing:
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(b"half")
                raise error
            original(source, copy, said)

        monkeypatch.setattr(shelving, "_copy_file", failing_copy)
        assert call("publish", release, target).exit_code in (1, 130)
        assert sorted(p.name for p in target.iterdir()) == sorted([old.name, "latest"])
        assert (target / "latest").resolve().name == old.name
    monkeypatch.setattr(shelving, "_copy_file", original)
    with monkeypatch.context() as patch:

        def failing_manifest(path: Path, data: bytes) -> None:
            raise error

        patch.setattr(shelving, "replace_file", failing_manifest)
        assert call("publish", release, target).exit_code in (1, 130)
        assert sorted(p.name for p in target.iterdir()) == sorted([old.name, "latest"])
    assert call("publish", release, target).exit_code == 0
    assert files_of(target / release.name) == files_of(release)


_KILLED = """
import os, signal, sys
from dataset_pipeline.storage import shelving, shipping
from dataset_pipeline.cli.main import main
calls = []
original = shelving._copy_file
def fatal(*arguments):
    calls.append(1)
    original(*arguments)
    if len(calls) == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
shelving._copy_file = fatal
main(["publish", *sys.argv[2:]])
"""


def test_publish_folder_that_was_killed_is_no_release_and_the_next_leaves_no_trace(
    release: Path, tmp_path: Path
) -> None:
    target = tmp_path / "shelf"
    killed = subprocess.run([sys.executable, "-c", _KILLED, "5", str(release), str(target)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [p.name[:12] for p in target.iterdir()] == [".publishing-"]
    assert call("publish", release, target).exit_code == 0
    assert sorted(p.name for p in target.iterdir()) == sorted([release.name, "latest"])
    assert files_of(target / release.name) == files_of(release)


def test_publish_folder_readers_see_the_old_or_the_new(release: Path, tmp_path: Path) -> None:
    target = tmp_path / "shelf"
    old = written(tmp_path / "old", some(3))
    call("publish", old, target)
    seen, is_over = [], threading.Event()

    def read() -> None:
        while not is_over.is_set():
            seen.append(release_checks.verify((target / "latest").resolve(strict=True)))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(5):
        call("publish", release, target)
        call("publish", old, target)
    is_over.set()
    reader.join()
    assert seen and all(found.is_whole for found in seen)
    assert {found.version for found in seen} <= {old.name, release.name}


def test_publish_folder_in_which_another_publishes_is_busy(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelving, "WAIT_SECONDS", 0.2)
    with shelving._alone(tmp_path):
        result = call("publish", release, tmp_path)
    assert result.exit_code == 1 and "another publish writes here" in result.output
    assert call("publish", release, tmp_path).exit_code == 0
