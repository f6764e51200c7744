"""Sources that lie elsewhere: what they become below `fetched/`, when they are asked again, and what is never said.

Lives here: SQLite and fsspec's memory and local storage. Keep out: servers (`test_servers`).
"""

from __future__ import annotations

import datetime as dt
import decimal
import gzip
import json
import math
import random
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from dataset_pipeline.errors import SpecError
from dataset_pipeline.spec.places import Database, local_pattern, place_problems, query_problem
from dataset_pipeline.storage import fetching, json_lines
from dataset_pipeline.storage.connections import connected
from dataset_pipeline.storage.databases import day_in_utc
from dataset_pipeline.storage.fetching import Secrets, fetch
from dataset_pipeline.storage.json_lines import json_value, line_maker
from dataset_pipeline.storage.readers import RawRow, Reject, UnreadableFile, read_rows

SECRET = "pa55/w@rd:x"
TICKETS = "SELECT id, body, created_at FROM ticket"


@dataclass(frozen=True)
class Elsewhere:
    """A source as far as fetching knows it."""

    name: str = "tickets"
    path: str = ""
    database: Database | None = None
    storage: dict[str, Any] = field(default_factory=dict)
    collected_at: dt.date | None = None


def tickets(query: str = TICKETS, day: str | None = "created_at", **more: Any) -> Elsewhere:
    return Elsewhere(database=Database(url="sqlite:///t.db", query=query, day=day), **more)


def rows_of(root: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress((root / "fetched" / name).read_bytes()).splitlines()]


def files(root: Path) -> dict[str, tuple[bytes, int]]:
    """Everything below `fetched/` but the lock: bytes and time of change."""
    found = sorted(p for p in (root / "fetched").rglob("*") if p.is_file() and p.name != "fetching.lock")
    return {p.relative_to(root / "fetched").as_posix(): (p.read_bytes(), p.stat().st_mtime_ns) for p in found}


def said(source: Elsewhere) -> list[str]:
    return [key for key, _, _ in place_problems(source)]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """t.db with three tickets on two days."""
    connection = sqlite3.connect(tmp_path / "t.db", isolation_level=None)
    connection.execute("CREATE TABLE ticket (id INTEGER, body, created_at)")
    rows = [
        (2, "b", "2026-11-01 09:00:00"),
        (1, "a", "2026-11-01 23:59:59"),
        (3, "c", "2026-11-02T00:00:00Z"),
    ]
    connection.executemany("INSERT INTO ticket VALUES (?, ?, ?)", rows)
    yield connection
    connection.close()


@pytest.fixture
def today(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def set_day(day: str) -> None:
        monkeypatch.setattr(fetching, "now", lambda: dt.datetime.fromisoformat(f"{day} 12:00:00"))

    set_day("2026-11-20")
    return set_day


# --- what a source becomes ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "local"),
    [
        ("sources/a.jsonl", "sources/a.jsonl"),
        ("s3://bucket/crawl/{date}/*.jsonl.gz", "fetched/tickets/{date}/*.jsonl.gz"),
        ("s3://bucket/crawl-{date}.csv", "fetched/tickets/crawl-{date}.csv"),
        ("https://h:8080/x/data.jsonl?sig=${SIG}", "fetched/tickets/data.jsonl"),
        ("file:///in/?.txt", "fetched/tickets/?.txt"),
    ],
)
def test_local_pattern_of_a_path_is_what_follows_its_fixed_folder(path: str, local: str) -> None:
    assert local_pattern(Elsewhere(path=path)) == local


def test_local_pattern_of_a_query_is_a_file_a_day_or_one() -> None:
    assert local_pattern(tickets()) == "fetched/tickets/{date}.jsonl.gz"
    assert local_pattern(tickets(day=None)) == "fetched/tickets/rows.jsonl.gz"


def test_place_literal_credentials_are_refused_and_not_repeated() -> None:
    source = Elsewhere(
        path=f"s3://user:{SECRET[:4]}@h/x/*.csv",
        storage={"secret": SECRET, "client_kwargs": {"aws_session_token": SECRET}, "endpoint_url": "http://h", "anon": False},
    )  # fmt: skip
    assert said(source) == ["path", "storage.secret", "storage.client_kwargs.aws_session_token"]
    assert SECRET not in str(list(place_problems(source)))
    assert said(Elsewhere(path="https://h/a.csv?X-Amz-Signature=abc")) == ["path"]
    for url in (f"postgresql://u:{SECRET}@h/d", "postgresql://h/d?password=abc"):
        assert said(Elsewhere(database=Database(url=url, query="SELECT 1"))) == ["database.url"]
    assert said(Elsewhere(database=Database(url="postgresql://${U}:${P}@h/d", query="SELECT 1"))) == []
    assert said(Elsewhere(path="s3://b/*.csv", storage={"key": "${K}", "secret": "${S}"})) == []


@pytest.mark.parametrize(
    "path",
    ["s3://bucket", "s3://b*/x", "s3://b/../x.csv", "s3://b//x.csv", "zip://a.csv::s3://b/x.zip", "file://x/y.csv",
     "s3://b/**", "s3://b/*/${X}.csv", "https://h/*.csv?a=1", "s3://b/${1}/x.csv"],
)  # fmt: skip
def test_place_path_that_cannot_be_kept_is_a_problem(path: str) -> None:
    assert set(said(Elsewhere(path=path))) == {"path"}


@pytest.mark.parametrize(
    ("query", "is_good"),
    [
        (TICKETS, True),
        ("with a as (select 1) select * from a;", True),
        ("SELECT ';' AS a -- ; not the end\n", True),
        ("SELECT $$a;b$$", True),
        ("DELETE FROM t", False),
        ("SELECT 1; DELETE FROM t", False),
        ("SELECT E'\\'' ; DELETE FROM t --'", False),
        ("SELECT 1) AS q; (", False),
        ("SELECTED", False),
    ],
)
def test_query_other_than_one_select_is_refused(query: str, is_good: bool) -> None:
    assert (query_problem(query) is None) == is_good


# --- databases ----------------------------------------------------------------------------


@pytest.mark.usefixtures("database")
def test_database_rows_lie_in_one_file_a_day_sorted(tmp_path: Path) -> None:
    done = fetch(tmp_path, tickets())
    assert (done.files, done.notes) == (2, ())
    assert [r["id"] for r in rows_of(tmp_path, "tickets/2026-11-01.jsonl.gz")] == [1, 2]
    assert rows_of(tmp_path, "tickets/2026-11-02.jsonl.gz") == [
        {"body": "c", "created_at": "2026-11-02T00:00:00Z", "id": 3}
    ]
    assert set(files(tmp_path)) == {
        "tickets.json",
        "tickets/2026-11-01.jsonl.gz",
        "tickets/2026-11-02.jsonl.gz",
    }


@pytest.mark.usefixtures("database")
def test_database_fetched_twice_changes_no_byte(tmp_path: Path) -> None:
    fetch(tmp_path, tickets())
    before = files(tmp_path)
    assert fetch(tmp_path, tickets()) == fetching.Fetched()
    assert fetch(tmp_path, tickets(), refetch=True) == fetching.Fetched()
    assert files(tmp_path) == before


def test_database_order_of_rows_and_sorting_through_files_do_not_change_the_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = []
    for limit in (10**9, 500):
        rows = [(n, f"text {n}", "2026-11-01") for n in range(100)] * 2
        random.Random(limit).shuffle(rows)
        root = tmp_path / str(limit)
        root.mkdir()
        with sqlite3.connect(root / "t.db") as connection:
            connection.execute("CREATE TABLE ticket (id, body, created_at)")
            connection.executemany("INSERT INTO ticket VALUES (?, ?, ?)", rows)
        monkeypatch.setattr(json_lines, "SORT_BYTES", limit)
        fetch(root, tickets())
        hashes.append(files(root)["tickets/2026-11-01.jsonl.gz"][0])
        assert len(rows_of(root, "tickets/2026-11-01.jsonl.gz")) == 200
    assert hashes[0] == hashes[1]


def test_database_settled_days_stay_and_late_rows_of_open_ones_come(
    tmp_path: Path, database: sqlite3.Connection
) -> None:
    database.execute("INSERT INTO ticket VALUES (4, 'd', '2026-11-03')")
    fetch(tmp_path, tickets())
    database.execute("UPDATE ticket SET body = 'new'")
    database.execute("INSERT INTO ticket VALUES (5, 'e', '2026-11-04')")
    done = fetch(tmp_path, tickets())
    bodies = {n: rows_of(tmp_path, f"tickets/2026-11-0{n}.jsonl.gz")[0]["body"] for n in (1, 2, 3, 4)}
    assert (done.files, bodies) == (3, {1: "a", 2: "new", 3: "new", 4: "e"})
    assert fetch(tmp_path, tickets(), days={dt.date(2026, 11, 1)}).files == 1
    assert rows_of(tmp_path, "tickets/2026-11-01.jsonl.gz")[0]["body"] == "new"


def test_database_row_of_the_future_settles_nothing(
    tmp_path: Path, database: sqlite3.Connection, today: Callable[[str], None]
) -> None:
    today("2026-11-02")
    database.execute("INSERT INTO ticket VALUES (9, 'typo', '2096-11-02')")
    fetch(tmp_path, tickets())
    database.execute("INSERT INTO ticket VALUES (4, 'd', '2026-11-03')")
    assert fetch(tmp_path, tickets()).files == 1


def test_database_day_that_lost_its_rows_is_empty_and_told_once(
    tmp_path: Path, database: sqlite3.Connection
) -> None:
    fetch(tmp_path, tickets())
    database.execute("DELETE FROM ticket WHERE id < 3")
    done = fetch(tmp_path, tickets())
    assert done.notes == ("tickets: 2026-11-01 had 2 rows and has none any more; its file is empty now.",)
    assert rows_of(tmp_path, "tickets/2026-11-01.jsonl.gz") == []
    assert fetch(tmp_path, tickets()).notes == ()


@pytest.mark.usefixtures("database")
def test_database_lost_file_and_changed_query_are_fetched_again(tmp_path: Path) -> None:
    source = Elsewhere(
        database=Database(url="sqlite:///t.db", query=TICKETS, day="created_at", refresh_days=0)
    )
    fetch(tmp_path, source)
    before = files(tmp_path)["tickets/2026-11-01.jsonl.gz"][0]
    (tmp_path / "fetched/tickets/2026-11-01.jsonl.gz").unlink()
    assert fetch(tmp_path, source).files == 1
    assert files(tmp_path)["tickets/2026-11-01.jsonl.gz"][0] == before
    other = tickets("SELECT id, created_at FROM ticket WHERE id <> 3")
    assert fetch(tmp_path, other).files == 2
    assert rows_of(tmp_path, "tickets/2026-11-01.jsonl.gz")[0].keys() == {"id", "created_at"}


def test_database_without_day_is_one_batch_until_its_day_of_collection_changes(
    tmp_path: Path, database: sqlite3.Connection
) -> None:
    first = tickets(day=None, collected_at=dt.date(2026, 11, 5))
    assert fetch(tmp_path, first).files == 1
    database.execute("INSERT INTO ticket VALUES (4, 'd', NULL)")
    assert fetch(tmp_path, first).files == 0
    fetch(tmp_path, tickets(day=None, collected_at=dt.date(2026, 11, 6)))
    assert {r["id"] for r in rows_of(tmp_path, "tickets/rows.jsonl.gz")} == {1, 2, 3, 4}


@pytest.mark.usefixtures("database")
def test_database_and_files_under_one_name_are_not_mixed(tmp_path: Path) -> None:
    fetch(tmp_path, tickets())
    before = files(tmp_path)
    for other in (tickets(day=None), Elsewhere(path="memory://b/{date}.csv")):
        with pytest.raises(SpecError, match=r"fetched/tickets holds files .*Delete fetched/tickets"):
            fetch(tmp_path, other)
    assert files(tmp_path) == before


def test_database_rows_without_a_day_are_told_each_time(tmp_path: Path, database: sqlite3.Connection) -> None:
    database.executemany("INSERT INTO ticket VALUES (?, 'x', ?)", [(7, None), (8, "soon")])
    database.execute("INSERT INTO ticket VALUES (9, 'x', '03.03.2025 12:00')")
    # The last of them sorts before every day that is asked for again: it is told all the same.
    for _ in range(3):
        [note] = fetch(tmp_path, tickets()).notes
        assert note.startswith("tickets: 3 rows without a day in 'created_at' are not fetched.")
    database.execute("UPDATE ticket SET created_at = 1793000000")
    with pytest.raises(SpecError, match="no row has a day in 'created_at'"):
        fetch(tmp_path, tickets(), refetch=True)


def test_database_days_out_of_order_are_refused(tmp_path: Path, database: sqlite3.Connection) -> None:
    rows = [(1, "x", "2026-11-05T01:00:00+05:00"), (2, "x", "2026-11-05T01:30:00Z"), (3, "x", "2026-11-05T02:00:00+05:00")]  # fmt: skip
    database.executemany("INSERT INTO ticket VALUES (?, ?, ?)", rows)
    with pytest.raises(SpecError, match="2026-11-04 comes twice"):
        fetch(tmp_path, tickets())
    assert not (tmp_path / "fetched/tickets").exists()


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("query", "day", "words"),
    [
        ("SELECT id FROM nowhere", "id", "no such table: nowhere"),
        ("SELECT absent FROM ticket", "absent", "no such column: absent"),
        ("SELECT id, FROM ticket", "id", "syntax error"),
        (TICKETS, "day", "has no column 'day'.*It has: id, body, created_at"),
        ("SELECT * FROM missing.db", "id", "no such table"),
    ],
)
def test_database_wrong_query_is_one_clear_error(tmp_path: Path, query: str, day: str, words: str) -> None:
    with pytest.raises(SpecError, match=f"spec: source tickets: .*{words}"):
        fetch(tmp_path, tickets(query, day))


def test_database_missing_file_driver_and_url_are_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "no.db").write_text("this is not a database, and long enough to be seen as none")
    for url, words in [
        ("sqlite:///t.db", "no SQLite file 't.db'"),
        ("sqlite:///no.db", "file is not a database"),
        ("mysql+pymysql://h/d", "'pymysql' is not installed. Install pymysql"),
        ("postgresql+psycopg://h/d", r"dataset-pipeline\[postgresql\]"),
        ("nosql://h/d", "knows no database 'nosql'"),
        ("postgresql+pg8000://h:port/d", "is no URL"),
    ]:
        with pytest.raises(SpecError, match=words):
            fetch(tmp_path, Elsewhere(database=Database(url=url, query="SELECT 1 FROM ticket")))
    with pytest.raises(UnreadableFile, match="cannot be reached"):
        fetch(
            tmp_path,
            Elsewhere(database=Database(url="postgresql+pg8000://u@127.0.0.1:9/d", query="SELECT 1")),
        )


def test_database_is_opened_read_only(tmp_path: Path, database: sqlite3.Connection) -> None:
    source = tickets()
    assert source.database is not None
    with (
        connected(source.database, Secrets("x"), tmp_path) as reader,
        pytest.raises(OperationalError, match="readonly"),
    ):
        reader.connection.exec_driver_sql("DELETE FROM ticket")
    assert database.execute("SELECT count(*) FROM ticket").fetchone() == (3,)


# --- values -------------------------------------------------------------------------------


def test_value_of_a_database_becomes_what_json_can_say() -> None:
    east = dt.timezone(dt.timedelta(hours=2))
    for value, wanted in [
        (dt.datetime(2026, 11, 1, 1, 30, tzinfo=east), "2026-10-31T23:30:00+00:00"),
        (dt.datetime(2026, 11, 1, 1, 30), "2026-11-01T01:30:00"),
        (dt.date(2026, 11, 1), "2026-11-01"),
        (decimal.Decimal("1.50"), "1.50"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (b"abc", {"binary": "<3 bytes>"}),
        (2**70, str(2**70)),
        ({"a": [1, {"b": decimal.Decimal(2)}]}, {"a": [1, {"b": "2"}]}),
        (True, True),
        (None, None),
        (1.5, 1.5),
        ("lone \ud800", {"binary": "<6 characters>"}),
    ]:
        assert json_value(value) == wanted


def test_value_that_is_not_finite_makes_a_rejected_row_not_a_null(tmp_path: Path) -> None:
    line_of = line_maker(["id", "score"])
    lines = [line_of((n, score)) for n, score in enumerate([1.5, math.nan, -math.inf, None])]
    json_lines.write_sorted(tmp_path, "a.jsonl.gz", lines)
    read = list(read_rows(tmp_path / "a.jsonl.gz"))
    assert [r.payload for r in read if isinstance(r, RawRow)] == [
        {"id": 0, "score": 1.5},
        {"id": 3, "score": None},
    ]
    assert [(r.line, r.reason) for r in read if isinstance(r, Reject)] == [
        (2, "invalid_json"),
        (3, "invalid_json"),
    ]


def test_value_day_is_the_date_in_utc() -> None:
    for value, wanted in [
        ("2026-11-01", "2026-11-01"), ("2026-11-01 23:59:59.5", "2026-11-01"), ("2026-11-01T01:00:00+02:00", "2026-10-31"),
        (dt.date(2026, 11, 1), "2026-11-01"), (dt.datetime(2026, 11, 1, 23), "2026-11-01"), ("soon", "None"), (5, "None"),
        ("0001-01-01T00:00:00+05:00", "None"),
    ]:  # fmt: skip
        assert str(day_in_utc(value)) == wanted


def test_value_that_is_no_utf8_or_has_colons_and_percents_is_no_fault(
    tmp_path: Path, database: sqlite3.Connection
) -> None:
    database.execute("UPDATE ticket SET body = CAST(x'ff61' AS TEXT) WHERE id = 1")
    fetch(tmp_path, tickets("SELECT id, body, ' :x%s%' AS odd, created_at FROM ticket WHERE id <= 1 -- end"))
    assert rows_of(tmp_path, "tickets/2026-11-01.jsonl.gz") == [
        {"id": 1, "body": {"binary": "<2 bytes>"}, "odd": " :x%s%", "created_at": "2026-11-01 23:59:59"}
    ]
