"""`publish` and `verify` against an S3-compatible server that the tests start on 127.0.0.1 and stop.

Lives here: what only a real object store shows. Keep out: the rules of publishing (`test_shipping`, `test_shipping_storage`).
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from click.testing import CliRunner, Result

from dataset_pipeline.cli import publishing
from dataset_pipeline.cli.main import main
from dataset_pipeline.storage import remote_listing, shelf
from dataset_pipeline_tests.published_release import exchange, files_of, some, written
from dataset_pipeline_tests.test_servers import SECRET_KEY, bucket, free_port

__all__ = ["bucket"]

pytestmark = pytest.mark.servers

URL = "s3://bucket/sets"
OPTIONS = [
    part
    for option in ("endpoint_url=${S3_ENDPOINT}", "key=${S3_KEY}", "secret=${S3_SECRET}")
    for part in ("--storage", option)
]


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return written(tmp_path / "releases")


def call(*arguments: Any) -> Result:
    result = CliRunner().invoke(main, [*(str(a) for a in arguments), *OPTIONS])
    assert "Traceback" not in result.output and SECRET_KEY not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def there(client: Any) -> dict[str, bytes]:
    """Key below the target to bytes."""
    listed = client.list_objects_v2(Bucket="bucket", Prefix="sets/").get("Contents", [])
    return {
        item["Key"].removeprefix("sets/"): client.get_object(Bucket="bucket", Key=item["Key"])["Body"].read()
        for item in listed
    }


def expected(release: Path) -> dict[str, bytes]:
    files = {f"{release.name}/{p}": data for p, data in files_of(release).items()}
    return files | {"LATEST": f"{release.name}\n".encode()}


def test_s3_release_is_published_whole_and_verified_there(release: Path, bucket: Any) -> None:
    result = call("publish", release, URL)
    assert result.exit_code == 0 and "each read back and its hash as in the manifest" in result.output
    assert there(bucket) == expected(release)
    for url in (f"{URL}/{release.name}", f"{URL}/latest", URL):
        result = call("verify", url)
        assert result.exit_code == 0 and "whole at" in result.output, result.output
    assert "is there already" in call("publish", release, URL).output
    assert call("publish", release, "s3://bucket").exit_code == 0, "a bucket alone is a target"


def test_s3_file_of_many_parts_is_whole(tmp_path: Path, bucket: Any) -> None:
    records = [(exchange(os.urandom(12_000_000).hex(), "bug"), "bug"), *some(2)]
    release = written(tmp_path, records, ["chat"])
    assert call("publish", release, URL).exit_code == 0
    assert there(bucket) == expected(release)


def test_s3_what_is_wrong_is_named_and_replaced(release: Path, bucket: Any) -> None:
    call("publish", release, URL)
    bucket.put_object(Bucket="bucket", Key=f"sets/{release.name}/chat/train.jsonl", Body=b"{}\n")
    bucket.put_object(Bucket="bucket", Key=f"sets/{release.name}/extra.txt", Body=b"x")
    bucket.delete_object(Bucket="bucket", Key=f"sets/{release.name}/README.md")
    result = call("verify", f"{URL}/{release.name}")
    assert result.exit_code == 1
    for words in ("chat/train.jsonl: was changed", "extra.txt: does not belong", "README.md: is missing"):
        assert words in result.output
    assert call("publish", release, URL).exit_code == 2, "extra.txt is not ours to delete"
    bucket.delete_object(Bucket="bucket", Key=f"sets/{release.name}/extra.txt")
    assert call("publish", release, URL).exit_code == 0
    assert there(bucket) == expected(release)


def test_s3_target_inside_a_release_is_refused(release: Path, bucket: Any) -> None:
    call("publish", release, URL)
    result = call("publish", release, f"{URL}/{release.name}/chat")
    assert result.exit_code == 2 and "nothing is added to a release" in result.output, result.output
    assert there(bucket) == expected(release)


def test_s3_file_that_changes_after_it_was_verified_is_no_release(
    release: Path, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = publishing.examined

    def examined(folder: Path) -> Any:
        found = original(folder)
        (release / "sharegpt/test.jsonl").write_bytes(b"{}\n")
        return found

    monkeypatch.setattr(publishing, "examined", examined)
    result = call("publish", release, URL)
    assert result.exit_code == 1 and "sharegpt/test.jsonl: was changed while" in result.output
    assert there(bucket) == {}


def test_s3_foreign_folder_is_refused(release: Path, bucket: Any) -> None:
    bucket.put_object(Bucket="bucket", Key=f"sets/{release.name}/thesis.txt", Body=b"years of work")
    result = call("publish", release, URL)
    assert result.exit_code == 2 and "part of the release: thesis.txt" in result.output
    assert there(bucket) == {f"{release.name}/thesis.txt": b"years of work"}


def test_s3_failure_at_any_file_leaves_no_release_and_the_next_completes(
    release: Path, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs.core

    original, total = s3fs.core.S3File.commit, len(files_of(release))
    monkeypatch.setattr(shelf.time, "sleep", lambda _: None)
    for failing in range(1, total + 1):
        done: list[str] = []

        def failing_commit(self: Any, failing: int = failing, done: Any = done) -> Any:
            if len(done) + 1 >= failing:
                raise ConnectionError("broke off")
            done.append(self.path)
            return original(self)

        monkeypatch.setattr(s3fs.core.S3File, "commit", failing_commit)
        result = call("publish", release, URL)
        assert result.exit_code == 1 and "broke off" in result.output and len(done) == failing - 1
        assert there(bucket) == {}
    monkeypatch.setattr(s3fs.core.S3File, "commit", original)
    assert call("publish", release, URL).exit_code == 0
    assert there(bucket) == expected(release)


_KILLED = """
import os, signal, sys
import s3fs.core
from dataset_pipeline.cli.main import main
done, original = [], s3fs.core.S3File.commit
def fatal(self):
    done.append(1)
    result = original(self)
    if len(done) == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
    return result
s3fs.core.S3File.commit = fatal
main(["publish", *sys.argv[2:]])
"""


@pytest.mark.parametrize("at", [1, 6])
def test_s3_upload_that_was_killed_is_no_release_and_the_next_completes(
    release: Path, bucket: Any, at: int
) -> None:
    command = [sys.executable, "-c", _KILLED, str(at), str(release), URL, *OPTIONS]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert len(there(bucket)) == at
    result = call("verify", f"{URL}/{release.name}")
    assert result.exit_code == 1 and "is no whole release" in result.output
    result = call("publish", release, URL)
    assert result.exit_code == 0 and f"{at} were there" in result.output, result.output
    assert there(bucket) == expected(release)


def test_s3_readers_see_the_old_or_the_new(release: Path, bucket: Any, tmp_path: Path) -> None:
    old = written(tmp_path / "old", some(3))
    call("publish", old, URL)
    seen, is_over = set(), threading.Event()

    def read() -> None:
        while not is_over.is_set():
            version = bucket.get_object(Bucket="bucket", Key="sets/LATEST")["Body"].read().decode().strip()
            manifest = json.loads(
                bucket.get_object(Bucket="bucket", Key=f"sets/{version}/manifest.json")["Body"].read()
            )
            for path, facts in manifest["files"].items():
                body = bucket.get_object(Bucket="bucket", Key=f"sets/{version}/{path}")["Body"].read()
                assert len(body) == facts["bytes"]
            seen.add(version)

    reader = threading.Thread(target=read)
    reader.start()
    for folder in (release, old, release):
        assert call("publish", folder, URL).exit_code == 0
    is_over.set()
    reader.join()
    assert seen <= {old.name, release.name} and seen


def test_s3_wrong_bucket_credentials_and_host_are_words(
    release: Path, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for command in (["publish", release, "s3://absent/sets"], ["verify", "s3://absent/sets/abc"]):
        result = call(*command)
        assert result.exit_code == 2 and "no such bucket, folder or file" in result.output, result.output
    assert [b["Name"] for b in bucket.list_buckets()["Buckets"]] == ["bucket"], "none was made"
    endpoint = os.environ["S3_ENDPOINT"]
    _ask_for_logins(endpoint, 0)
    try:
        for command in (["publish", release, URL], ["verify", f"{URL}/{release.name}"]):
            result = call(*command)
            assert result.exit_code == 2 and "access is refused" in result.output, result.output
    finally:
        _ask_for_logins(endpoint, 10**9)
    monkeypatch.setenv("S3_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    started = time.monotonic()
    assert _unreachable(release)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        monkeypatch.setenv("S3_ENDPOINT", f"http://127.0.0.1:{deaf.getsockname()[1]}")
        monkeypatch.setattr(remote_listing, "READ_SECONDS", 1)
        assert _unreachable(release)
    assert time.monotonic() - started < 60


def _unreachable(release: Path) -> bool:
    results = [call("publish", release, URL), call("verify", f"{URL}/{release.name}")]
    return all(r.exit_code == 1 and "cannot be reached" in r.output for r in results)


def _ask_for_logins(endpoint: str, free_requests: int) -> None:
    """The server refuses unknown keys after so many requests."""
    request = Request(
        f"{endpoint}/moto-api/reset-auth",
        data=str(free_requests).encode(),
        method="POST",
        headers={"Content-Type": "text/plain"},
    )
    with urlopen(request, timeout=10) as answer:
        assert answer.status == 200


@pytest.fixture(autouse=True)
def _empty_and_no_login_of_this_machine(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store keeps its objects for the life of the process."""
    for item in bucket.list_objects_v2(Bucket="bucket").get("Contents", []):
        bucket.delete_object(Bucket="bucket", Key=item["Key"])
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
