"""`publish` to storage without renames, and `verify` at a URL: whole or not at all, completed after a death.

The storage is fsspec's own in memory. Keep out: a folder (`test_shipping`), a real object store (`test_publish_servers`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from dataset_pipeline.cli import publishing
from dataset_pipeline.storage import remote_listing, shelf
from dataset_pipeline_tests.published_release import exchange, files_of, some, written
from dataset_pipeline_tests.shipped import call, changing_after

URL = "memory://bucket/sets"


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return written(tmp_path / "releases")


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What lies in the storage in memory: path to file."""
    monkeypatch.setattr(shelf.time, "sleep", lambda _: None)
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    yield MemoryFileSystem.store
    MemoryFileSystem.store.clear()


def there(memory: dict[str, Any]) -> dict[str, bytes]:
    """Path below the target to bytes."""
    return {path.removeprefix("/bucket/sets/"): file.getvalue() for path, file in memory.items()}


def expected(release: Path) -> dict[str, bytes]:
    return {f"{release.name}/{p}": data for p, data in files_of(release).items()} | {
        "LATEST": f"{release.name}\n".encode()
    }


@pytest.mark.parametrize("below", ["", "/chat"])
def test_publish_storage_into_a_release_ends_with_2(
    release: Path, memory: dict[str, Any], below: str
) -> None:
    call("publish", release, URL)
    before = there(memory)
    result = call("publish", release, f"{URL}/{release.name}{below}")
    assert result.exit_code == 2 and "nothing is added to a release" in result.output, result.output
    assert there(memory) == before


@pytest.mark.parametrize("was_there", [False, True])
def test_publish_storage_file_that_changes_after_it_was_verified_is_no_release(
    release: Path, memory: dict[str, Any], monkeypatch: pytest.MonkeyPatch, was_there: bool
) -> None:
    if was_there:
        call("publish", release, URL)
        del memory[f"/bucket/sets/{release.name}/chat/train.jsonl"]
    changing_after(release, monkeypatch)
    result = call("publish", release, URL)
    assert result.exit_code == 1 and "chat/train.jsonl: was changed while" in result.output, result.output
    assert f"{release.name}/manifest.json" not in there(memory)
    assert f"{release.name}/chat/train.jsonl" not in there(memory)


def test_publish_manifest_that_changes_after_it_was_verified_is_not_copied(
    release: Path, tmp_path: Path, memory: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, original = release / "manifest.json", publishing.examined
    data = path.read_bytes()

    def examined(folder: Path) -> Any:
        path.write_bytes(data)
        found = original(folder)
        path.write_bytes(data.replace(b'"MIT"', b'"0BSD"'))
        return found

    monkeypatch.setattr(publishing, "examined", examined)
    for target in (tmp_path / "shelf", URL):
        assert call("publish", release, target).exit_code == 0
    assert (tmp_path / "shelf" / release.name / "manifest.json").read_bytes() == data
    assert there(memory)[f"{release.name}/manifest.json"] == data


def test_publish_storage_holds_every_file_and_latest_names_it(release: Path, memory: dict[str, Any]) -> None:
    result = call("publish", release, URL + "/")
    assert result.exit_code == 0 and "LATEST names it" in result.output
    assert there(memory) == expected(release)
    for url in (f"{URL}/{release.name}", f"{URL}/latest", f"{URL}/LATEST", URL):
        result = call("verify", url)
        assert result.exit_code == 0 and f"whole at {URL}/{release.name}" in result.output, result.output
    before = {path: id(file) for path, file in memory.items()}
    assert "is there already" in call("publish", release, URL).output
    assert {path: id(file) for path, file in memory.items()} == before, "nothing was written again"


def test_publish_storage_second_version_moves_latest(
    release: Path, memory: dict[str, Any], tmp_path: Path
) -> None:
    other = written(tmp_path / "other", [(exchange("x" * 1_000_000, "bug"), "bug"), *some(3)])
    for folder in (release, other, release):
        assert call("publish", folder, URL).exit_code == 0
        assert there(memory)["LATEST"] == f"{folder.name}\n".encode()
    assert there(memory) == expected(other) | expected(release)


@pytest.mark.parametrize("error", [OSError("gone"), KeyboardInterrupt(), PermissionError("no")])
def test_publish_storage_that_fails_at_any_file_leaves_nothing_and_the_next_completes(
    release: Path, memory: dict[str, Any], error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, total = MemoryFileSystem._open, len(files_of(release))
    for failing in range(1, total + 1):
        names: list[str] = []

        def failing_open(self: Any, path: str, mode: str = "rb", failing: int = failing, names: Any = names, **more: Any) -> Any:  # fmt: skip
            if mode == "wb" and path not in names:
                names.append(path)
            if mode == "wb" and len(names) >= failing:
                self.store[path] = original(self, path, "wb", **more)  # half a file
                raise error
            return original(self, path, mode, **more)

        monkeypatch.setattr(MemoryFileSystem, "_open", failing_open)
        result = call("publish", release, URL)
        assert result.exit_code in (1, 2, 130) and len(names) == failing
        assert there(memory) == {}, "what was uploaded is removed again"
        monkeypatch.setattr(MemoryFileSystem, "_open", original)
        assert "is no whole release" in call("verify", f"{URL}/{release.name}").output
    assert call("publish", release, URL).exit_code == 0
    assert there(memory) == expected(release)


def test_publish_storage_that_cannot_remove_says_what_is_left(
    release: Path, memory: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryFileSystem, "rm_file", lambda *_: (_ for _ in ()).throw(PermissionError("no")))
    original = shelf.Shelf._write

    def failing(self: Any, path: str, *more: Any) -> None:
        if path == "manifest.json":
            raise KeyboardInterrupt
        original(self, path, *more)

    monkeypatch.setattr(shelf.Shelf, "_write", failing)
    result = call("publish", release, URL)
    assert result.exit_code == 130 and "files could not be removed from" in result.output
    assert "README.md" in result.output and "the next publish completes them" in result.output
    monkeypatch.setattr(shelf.Shelf, "_write", original)
    result = call("publish", release, URL)
    assert result.exit_code == 0 and "0 files copied" in result.output, (
        "what was there with the right hash is kept"
    )
    assert there(memory) == expected(release)


def test_publish_storage_upload_that_died_is_completed(release: Path, memory: dict[str, Any]) -> None:
    call("publish", release, URL)
    base = f"/bucket/sets/{release.name}"
    for name in ("manifest.json", "README.md", "chat/test.jsonl"):
        del memory[f"{base}/{name}"]
    half = memory[f"{base}/chat/train.jsonl"]
    half.truncate(10)
    assert call("verify", f"{URL}/{release.name}").exit_code == 1
    result = call("publish", release, URL)
    kept = len(files_of(release)) - 4
    assert "3 files copied" in result.output and f"{kept} were there" in result.output, result.output
    assert there(memory) == expected(release)


def test_publish_storage_that_is_broken_is_replaced_and_a_foreign_one_refused(
    release: Path, memory: dict[str, Any]
) -> None:
    call("publish", release, URL)
    system = MemoryFileSystem()
    base = f"/bucket/sets/{release.name}"
    system.pipe_file(f"{base}/extra.txt", b"x")
    system.pipe_file(f"{base}/chat/train.jsonl", b"{}\n")
    result = call("verify", f"{URL}/{release.name}")
    assert result.exit_code == 1
    assert "extra.txt: does not belong" in result.output and "chat/train.jsonl: was changed" in result.output
    before = there(memory)
    result = call("publish", release, URL)
    assert result.exit_code == 2 and "part of the release: extra.txt" in result.output, result.output
    assert there(memory) == before
    del memory[f"{base}/extra.txt"]
    assert call("publish", release, URL).exit_code == 0
    assert there(memory) == expected(release)
    memory.clear()
    system.pipe_file(f"{base}/thesis.txt", b"years of work")
    result = call("publish", release, URL)
    assert result.exit_code == 2 and "part of the release: thesis.txt" in result.output
    assert there(memory) == {f"{release.name}/thesis.txt": b"years of work"}


def test_publish_storage_bytes_that_come_out_otherwise_are_no_release(
    release: Path, memory: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = MemoryFileSystem._open

    def lossy(self: Any, path: str, mode: str = "rb", **more: Any) -> Any:
        if mode == "rb" and path.endswith("chat/train.jsonl"):
            self.store[path].truncate(5)
        return original(self, path, mode, **more)

    monkeypatch.setattr(MemoryFileSystem, "_open", lossy)
    result = call("publish", release, URL)
    assert result.exit_code == 1 and "other bytes came out than went in" in result.output
    assert there(memory) == {}


def test_verify_url_names_what_is_wrong(release: Path, memory: dict[str, Any]) -> None:
    call("publish", release, URL)
    base = f"/bucket/sets/{release.name}"
    manifest = json.loads(memory[f"{base}/manifest.json"].getvalue())
    system = MemoryFileSystem()
    del memory[f"{base}/alpaca/test.jsonl"]
    assert "alpaca/test.jsonl: is missing" in call("verify", f"{URL}/{release.name}").output
    call("publish", release, URL)
    manifest["files"]["chat/train.jsonl"]["rows"] = 9
    system.pipe_file(f"{base}/manifest.json", json.dumps(manifest).encode())
    assert (
        "chat/train.jsonl: holds 4 rows, the manifest says 9"
        in call("verify", f"{URL}/{release.name}").output
    )
    manifest["files"]["chat/train.jsonl"] |= {"rows": 4, "bytes": 1}
    system.pipe_file(f"{base}/manifest.json", json.dumps(manifest).encode())
    assert "bytes, the manifest says 1" in call("verify", f"{URL}/{release.name}").output
    manifest["files"]["../../secrets"] = manifest["files"]["README.md"]
    system.pipe_file(f"{base}/manifest.json", json.dumps(manifest).encode())
    assert "no manifest" in call("verify", f"{URL}/{release.name}").output
    result = call("verify", f"{URL}/absent")
    assert result.exit_code == 1 and "is missing or no manifest" in result.output


def test_storage_options_are_checked_and_never_repeated(
    release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ABSENT", raising=False)
    for options, words in (
        (["hunter2"], "number 1): is no KEY=VALUE"),
        (["secret=hunter2"], "--storage secret: is a credential written out"),
        (
            ["client_kwargs.aws_secret_access_key=hunter2"],
            "aws_secret_access_key: is a credential written out",
        ),
        (["secret=${ABSENT}"], "ABSENT is not set in the environment"),
        (["anon=true", "anon=false"], "--storage anon: is given twice"),
    ):
        arguments = [part for option in options for part in ("--storage", option)]
        for command in (["publish", release, "s3://bucket/sets"], ["verify", "s3://bucket/sets"]):
            result = call(*command, *arguments)
            assert result.exit_code == 2 and words in result.output, result.output
            assert "hunter2" not in result.output
    assert call("publish", release, release.parent.parent / "x", "--storage", "anon=true").exit_code == 2


def test_storage_package_that_is_missing_is_named(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(scheme: str) -> None:
        raise ImportError(scheme)

    monkeypatch.setattr(remote_listing.fsspec, "get_filesystem_class", absent)
    result = call("publish", release, "s3://bucket/sets")
    assert result.exit_code == 2 and "dataset-pipeline[s3]" in result.output
