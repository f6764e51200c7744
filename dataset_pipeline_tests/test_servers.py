"""Fetching from servers that the tests start on 127.0.0.1 and stop: PostgreSQL, an object store.

Lives here: what only a real server shows. Keep out: the rules of fetching (`test_fetching`), HTTP (`test_fetching_web`).
"""

from __future__ import annotations

import datetime as dt
import gzip
import importlib.util
import json
import logging
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dataset_pipeline.errors import PipelineError, SpecError
from dataset_pipeline.spec.places import Database
from dataset_pipeline.storage import connections, remote_listing
from dataset_pipeline.storage.fetching import Fetched, fetch
from dataset_pipeline.storage.readers import UnreadableFile
from dataset_pipeline_tests.test_fetching import Elsewhere, files, rows_of

pytestmark = pytest.mark.servers

PASSWORD = "s3cret/p@ss:word"
SECRET_KEY = "qq/SECRET+KEY/qq"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


# --- PostgreSQL ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    """The port of a PostgreSQL that takes passwords only. PostgreSQL refuses root: there, `nobody` runs it."""
    spec = importlib.util.find_spec("pgserver")
    assert spec is not None and spec.submodule_search_locations
    base = Path(tempfile.mkdtemp(prefix="pg"))
    try:
        yield from _running(base, Path(spec.submodule_search_locations[0]))
    finally:
        shutil.rmtree(base)


def _running(base: Path, package: Path) -> Iterator[int]:
    user: dict[str, Any] = {"cwd": base}
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        # A copy: the environment may lie where only root may look.
        shutil.copytree(package / "pginstall", base / "pgserver/pginstall", symlinks=True)
        if (package.parent / "pgserver.libs").exists():
            shutil.copytree(package.parent / "pgserver.libs", base / "pgserver.libs", symlinks=True)
        package = base / "pgserver"
        user |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        os.chown(base, nobody.pw_uid, nobody.pw_gid)
    programs = package / "pginstall"
    (base / "password").write_text(PASSWORD)
    (base / "password").chmod(0o644)
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "Asia/Tokyo"}
    make = [programs / "bin/initdb", "-D", base / "data", "-U", "reader", "--auth=scram-sha-256", "--pwfile", base / "password",
            "--encoding=utf8", "--no-sync"]  # fmt: skip
    subprocess.run(make, check=True, capture_output=True, env=environment, **user)
    port = free_port()
    start = [
        programs / "bin/postgres",
        "-D",
        base / "data",
        "-h",
        "127.0.0.1",
        "-p",
        str(port),
        "-k",
        "",
        "-F",
    ]
    with (base / "log").open("wb") as log:
        process = subprocess.Popen(start, stdout=log, stderr=log, env=environment, **user)
        try:
            _wait_for(port, process, base / "log")
            yield port
        finally:
            process.terminate()
            process.wait(30)


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        assert process.poll() is None, log.read_text()
        try:
            execute(port, "SELECT 1")
            return
        except Exception:
            time.sleep(0.1)
    raise AssertionError(log.read_text())


def execute(port: int, *statements: str) -> None:
    import pg8000.native

    connection = pg8000.native.Connection(
        "reader", password=PASSWORD, host="127.0.0.1", port=port, database="postgres"
    )
    for statement in statements:
        connection.run(statement)
    connection.close()


@pytest.fixture
def port(server: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """PostgreSQL with a table of every kind of value, and the environment that names its login."""
    execute(
        server,
        "DROP TABLE IF EXISTS ticket",
        """CREATE TABLE ticket (id bigint, body text, at timestamptz, naive timestamp, "Day" date, price numeric, score float8,
            facts jsonb, key uuid, blob bytea, tags text[], ok boolean, span interval, host inet)""",
        """INSERT INTO ticket VALUES (2, 'later', '2026-11-02 00:30+02', '2026-11-02 00:30', '2026-11-02', 1.50, 0.1,
            '{"b": [1, {"a": null}], "a": 2}', '00000000-0000-0000-0000-000000000001', '\\x616263', '{x,y}', true, '1 day', '10.0.0.1')""",
        "INSERT INTO ticket (id, body, at, \"Day\") VALUES (1, 'ä%s :x', '2026-11-01 00:00Z', '2026-11-01'), (3, 'c', '2026-11-03 09:00Z', '2026-11-03')",
    )
    monkeypatch.setenv("PGUSER", "reader")
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    return server


def tickets(port: int, query: str, day: str | None = "at", **more: Any) -> Elsewhere:
    url = f"postgresql+pg8000://${{PGUSER}}:${{PGPASSWORD}}@127.0.0.1:{port}/{more.pop('base', 'postgres')}"
    return Elsewhere(database=Database(url=url, query=query, day=day, **more))


def test_postgresql_values_and_days_are_those_of_utc(tmp_path: Path, port: int) -> None:
    assert fetch(tmp_path, tickets(port, "SELECT * FROM ticket;")).files == 2
    first, second = rows_of(tmp_path, "tickets/2026-11-01.jsonl.gz")
    assert (first["body"], first["at"]) == ("ä%s :x", "2026-11-01T00:00:00+00:00")
    assert second == {
        "id": 2, "body": "later", "at": "2026-11-01T22:30:00+00:00", "naive": "2026-11-02T00:30:00", "Day": "2026-11-02",
        "price": "1.50", "score": 0.1, "facts": {"a": 2, "b": [1, {"a": None}]}, "key": "00000000-0000-0000-0000-000000000001",
        "blob": {"binary": "<3 bytes>"}, "tags": ["x", "y"], "ok": True, "span": second["span"], "host": "10.0.0.1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("query", "day"),
    [
        ("SELECT id, at FROM ticket", "at"),
        ('SELECT id, "Day" FROM ticket', "Day"),
        ("SELECT id, naive FROM ticket WHERE naive IS NOT NULL", "naive"),
        ("SELECT id, at::date::text AS d FROM ticket WHERE body LIKE '%%' -- all", "d"),
    ],
)
def test_postgresql_day_of_any_type_is_asked_again_from_the_last_on(
    tmp_path: Path, port: int, query: str, day: str
) -> None:
    source = tickets(port, query, day)
    assert fetch(tmp_path, source).files >= 1
    before = files(tmp_path)
    assert fetch(tmp_path, source, days=[dt.date(2026, 11, 1)]) == Fetched()
    assert files(tmp_path) == before


def test_postgresql_answers_in_pieces_and_writes_nothing(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "ROWS_AT_ONCE", 100)
    query = "SELECT n AS id, timestamp '2026-11-01' + n * interval '1 minute' AS at FROM generate_series(0, 2999) AS s(n)"
    assert fetch(tmp_path, tickets(port, query)).files == 3
    assert [len(rows_of(tmp_path, f"tickets/2026-11-0{n}.jsonl.gz")) for n in (1, 2, 3)] == [1440, 1440, 120]
    execute(port, "DROP SEQUENCE IF EXISTS s", "CREATE SEQUENCE s")
    with pytest.raises(SpecError, match="refuses the query"):
        fetch(tmp_path, tickets(port, "SELECT nextval('s') AS id, now() AS at"))


def test_postgresql_every_fault_is_one_clear_error_without_secret_or_row(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    said = []

    def refused(source: Elsewhere, kind: type[PipelineError], words: str) -> None:
        with pytest.raises(kind, match=f"spec: source tickets: .*{words}") as caught:
            fetch(tmp_path, source)
        said.append("".join(traceback.format_exception(caught.value)))

    refused(tickets(port, "SELECT * FROM absent"), SpecError, "absent.* does not exist")
    refused(tickets(port, "SELECT absent FROM ticket"), SpecError, "absent.* does not exist")
    refused(tickets(port, "SELECT FROM WHERE"), SpecError, "syntax error")
    refused(tickets(port, "SELECT id FROM ticket"), SpecError, "has no column 'at'.*It has: id")
    refused(tickets(port, "SELECT id, id, at FROM ticket"), SpecError, "two columns called id")
    refused(tickets(port, "SELECT body::int AS n, at FROM ticket"), UnreadableFile, "code 22P02")
    refused(tickets(port, "SELECT 1", base="absent"), SpecError, "no such database")
    refused(tickets(free_port(), "SELECT 1"), UnreadableFile, "cannot be reached")
    monkeypatch.setenv("PGPASSWORD", PASSWORD + "x")
    refused(tickets(port, "SELECT 1"), SpecError, "refuses the login")
    for form in (PASSWORD, "s3cret%2Fp%40ss%3Aword", "later"):
        assert form not in "".join(said) + caplog.text
        assert not any(form.encode() in content for content, _ in files(tmp_path).values())


def test_postgresql_server_that_says_nothing_is_left_after_a_bounded_wait(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connections._TIMEOUTS, "pg8000", {"timeout": 1})
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        started = time.monotonic()
        with pytest.raises(UnreadableFile, match=r"in time|cannot be reached"):
            fetch(tmp_path, tickets(deaf.getsockname()[1], "SELECT 1"))
        assert time.monotonic() - started < 10


# --- an object store ----------------------------------------------------------------------


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An S3 client of a store with the bucket `bucket`; its address and keys are in the environment."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    store = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    store.start()
    host, port = store.get_host_and_port()
    for name, value in [
        ("S3_ENDPOINT", f"http://{host}:{port}"),
        ("S3_KEY", "AKIDTEST"),
        ("S3_SECRET", SECRET_KEY),
    ]:
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", aws_access_key_id="x", aws_secret_access_key="x", region_name="us-east-1")  # fmt: skip
    client.create_bucket(Bucket="bucket")
    try:
        yield client
    finally:
        store.stop()


def crawl(path: str = "s3://bucket/crawl/{date}/*.jsonl.gz") -> Elsewhere:
    return Elsewhere(
        "crawl", path, None, {"endpoint_url": "${S3_ENDPOINT}", "key": "${S3_KEY}", "secret": "${S3_SECRET}"}
    )


def test_s3_files_come_once_and_changes_follow(
    tmp_path: Path, bucket: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    packed = gzip.compress(b'{"a": 1}\n' * 5, mtime=0)
    for key in (
        "2026-11-01/a.jsonl.gz",
        "2026-11-01/b.jsonl.gz",
        "2026-11-02/a.jsonl.gz",
        "2026-11-02/x/a.jsonl.gz",
        "top.jsonl.gz",
    ):
        bucket.put_object(Bucket="bucket", Key=f"crawl/{key}", Body=packed)
    assert (fetch(tmp_path, crawl()).files, len(files(tmp_path))) == (3, 4)
    assert (tmp_path / "fetched/crawl/2026-11-02/a.jsonl.gz").read_bytes() == packed
    before = files(tmp_path)
    bucket.put_object(Bucket="bucket", Key="crawl/2026-11-01/a.jsonl.gz", Body=packed)  # the same again
    assert fetch(tmp_path, crawl()) == Fetched()
    assert files(tmp_path) == before
    bucket.put_object(Bucket="bucket", Key="crawl/2026-11-01/a.jsonl.gz", Body=packed + packed)
    bucket.delete_object(Bucket="bucket", Key="crawl/2026-11-02/a.jsonl.gz")
    done = fetch(tmp_path, crawl())
    assert (done.files, done.bytes) == (1, 2 * len(packed))
    assert "2026-11-02/a.jsonl.gz" in done.notes[0]
    record = json.loads((tmp_path / "fetched/crawl.json").read_text())
    assert record["files"]["2026-11-01/a.jsonl.gz"]["url"] == "s3://bucket/crawl/2026-11-01/a.jsonl.gz"
    everything = b"".join(content for content, _ in files(tmp_path).values())
    assert SECRET_KEY.encode() not in everything and SECRET_KEY not in caplog.text


def test_s3_file_of_many_blocks_is_whole(tmp_path: Path, bucket: Any) -> None:
    body = os.urandom(11 * 2**20)
    bucket.put_object(Bucket="bucket", Key="crawl/2026-11-01/a.jsonl.gz", Body=body)
    fetch(tmp_path, crawl())
    assert (tmp_path / "fetched/crawl/2026-11-01/a.jsonl.gz").read_bytes() == body


def test_s3_names_that_lead_outside_are_refused(tmp_path: Path, bucket: Any) -> None:
    bucket.put_object(Bucket="bucket", Key="crawl/../a.jsonl.gz", Body=b"x")
    with pytest.raises(SpecError, match="cannot be kept as files"):
        fetch(tmp_path, crawl("s3://bucket/crawl/*/*.jsonl.gz"))
    assert not list(tmp_path.rglob("*.gz"))


def test_s3_missing_bucket_and_store_that_is_down_are_one_clear_error(
    tmp_path: Path, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in ("s3://absent/crawl/{date}/*.csv", "s3://bucket/absent/*.csv", "s3://bucket/absent.csv"):
        with pytest.raises(SpecError, match="no such bucket, folder or file") as caught:
            fetch(tmp_path, crawl(path))
        assert SECRET_KEY not in str(caught.value)
    monkeypatch.setenv("S3_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    started = time.monotonic()
    with pytest.raises(UnreadableFile, match="cannot be reached"):
        fetch(tmp_path, crawl())
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        monkeypatch.setenv("S3_ENDPOINT", f"http://127.0.0.1:{deaf.getsockname()[1]}")
        monkeypatch.setattr(remote_listing, "READ_SECONDS", 1)
        with pytest.raises(UnreadableFile, match="cannot be reached"):
            fetch(tmp_path, crawl())
    assert time.monotonic() - started < 60
