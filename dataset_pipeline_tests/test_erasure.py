"""erase: which records go, what is left of them, and that no byte of their text stays.

Lives here: the verdict's reach, ingest, the warehouse's file, and one project through the command line. Keep out: verdicts
that overrule a step, retention (`test_retention`).
"""

from __future__ import annotations

import datetime as dt
import gzip
import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.engine import context_of
from dataset_pipeline.assets.housekeeping import housekeeping
from dataset_pipeline.assets.intake import ingest_work
from dataset_pipeline.errors import WarehouseBusy
from dataset_pipeline.expectations import ingest as ingest_suite
from dataset_pipeline.records import REVIEWS, TABLES, Step
from dataset_pipeline.spec.load import load_project
from dataset_pipeline.spec.models import Near
from dataset_pipeline.spec.params import DedupParams
from dataset_pipeline.storage import rewriting
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline.storage.warehouse import Warehouse
from dataset_pipeline.transforms import erasure
from dataset_pipeline_tests import scenario
from dataset_pipeline_tests.test_warehouse_held import held

DAY = dt.date(2026, 3, 1)
DATE = dt.date(2026, 4, 1)
NEEDLE = "zyxsecretquorbel"
KNOWN = dict.fromkeys(("record_id", "source", "source_id", "group", "text_key", "content"), pl.String)


def verdicts(*rows: dict[str, Any]) -> pl.DataFrame:
    """Rows of TABLES['reviews'] with the verdict erase, one line each from line 2 of a.csv."""
    values = [
        {"verdict": "erase", "date": DATE, "uri": "a.csv", "line": n, "state": "used"} | row
        for n, row in enumerate(rows, start=2)
    ]
    return pl.DataFrame(values, schema=TABLES[REVIEWS])


def known(*rows: tuple[str, ...]) -> pl.DataFrame:
    """record_id, source_id, group, text_key (empty: null) of records of the source s."""
    values = [
        {"record_id": r, "source": "s", "source_id": i or None, "group": g or None, "text_key": k or None, "content": None}
        for r, i, g, k in rows
    ]  # fmt: skip
    return pl.DataFrame(values, schema=KNOWN)


def twins(*rows: tuple[str, str, str]) -> pl.DataFrame:
    schema = {"record_id": pl.String, "twin": pl.String, "reason": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


NONE = pl.DataFrame(schema=TABLES["erasures"])
RECORDS = known(
    ("r1", "i1", "g1", "k1"), ("r2", "i2", "", "k2"), ("r3", "i3", "", "k1"), ("r4", "i4", "g4", "k4"), ("r5", "i5", "", "")
)  # fmt: skip


def keys(frame: pl.DataFrame) -> list[tuple[Any, ...]]:
    return frame.select("because", "record", "source_id", "text_key", "child_group", "line").rows()


def taken(records: pl.DataFrame, found: pl.DataFrame, generated: Sequence[str] = ()) -> dict[str, str]:
    marked = records.with_columns(is_generated=pl.col("record_id").is_in(list(generated)))
    return dict(erasure.erased(marked, found).select("record_id", "because").iter_rows())


# --- which records ------------------------------------------------------------------------


def test_erasure_named_by_record_has_its_keys():
    found = erasure.erasures(verdicts({"record": "r1"}), RECORDS, twins(), NONE)
    assert keys(found) == [("named", "r1", "i1", "k1", "g1", 2)]


def test_erasure_named_by_source_id_stands_for_later_records_too():
    found = erasure.erasures(verdicts({"source": "s", "source_id": "i2"}), RECORDS, twins(), NONE)
    assert keys(found) == [("named", "r2", "i2", "k2", None, 2), ("named", None, "i2", None, None, 2)]
    later = known(("r9", "i2", "", "k9"), ("r8", "i8", "", "k8"))
    assert taken(later, found) == {"r9": "named"}


def test_erasure_named_by_content_finds_the_record():
    records = RECORDS.with_columns(content=pl.col("record_id") + "-content")
    found = erasure.erasures(verdicts({"content": "r4-content"}), records, twins(), NONE)
    assert keys(found) == [("named", "r4", "i4", "k4", "g4", 2)]


def test_erasure_unknown_record_is_kept_as_a_name():
    found = erasure.erasures(verdicts({"record": "r7"}), RECORDS, twins(), NONE)
    assert keys(found) == [("named", "r7", None, None, None, 2)]
    assert taken(known(("r7", "i7", "", "k7")), found) == {"r7": "named"}


@pytest.mark.parametrize("name", ["r1", "r2", "r4"])
def test_erasure_near_takes_everyone_around_the_twin(name):
    # r1 was kept; r2 and r4 were dropped as near it.
    around = twins(("r2", "r1", "near"), ("r4", "r1", "near"))
    found = erasure.erasures(verdicts({"record": name}), RECORDS, around, NONE)
    # r3 has the text of r1.
    assert set(taken(RECORDS, found)) == {"r1", "r2", "r3", "r4"}
    assert taken(RECORDS, found)[name] == "named"


def test_erasure_first_reason_counts_named_copy_near_child():
    around = twins(("r2", "r1", "near"))
    found = erasure.erasures(verdicts({"record": "r1"}), RECORDS, around, NONE)
    more = known(
        ("c1", "", "g1", "k1"),
        ("c2", "", "g1", "k2"),
        ("c3", "", "g1", "x"),
        ("c4", "", "i1", "y"),
        ("c5", "", "g5", "z"),
    )
    children = ["c1", "c2", "c3", "c4", "c5"]
    assert taken(more, found, children) == {"c1": "copy", "c2": "near", "c3": "child", "c4": "child"}


def test_erasure_group_of_collected_records_is_no_child():
    found = erasure.erasures(verdicts({"record": "r1"}), RECORDS, twins(), NONE)
    assert taken(known(("r6", "i6", "g1", "k6")), found) == {}


def test_erasure_empty_texts_are_no_copies():
    found = erasure.erasures(verdicts({"record": "r5"}), RECORDS, twins(), NONE)
    assert taken(known(("r5", "", "", ""), ("r6", "", "", "")), found) == {"r5": "named"}


def test_erasure_nothing_named_erases_nothing():
    found = erasure.erasures(verdicts(), RECORDS, twins(), NONE)
    assert found.height == 0
    assert taken(RECORDS, found) == {}


def test_erasure_near_ones_are_carried_while_the_verdict_stands():
    before = erasure.erasures(verdicts({"record": "r1"}), RECORDS, twins(("r2", "r1", "near")), NONE)
    # dedup does not see erased records: no twins. The verdict moved down a line; another took its place.
    now = erasure.erasures(verdicts({"record": "r5"}, {"record": "r1"}), RECORDS, twins(), before)
    assert [(row[0], row[1], row[5]) for row in keys(now)] == [
        ("named", "r5", 2), ("named", "r1", 3), ("near", "r2", 3)
    ]  # fmt: skip
    assert keys(erasure.erasures(verdicts({"record": "r5"}), RECORDS, twins(), now)) == [
        ("named", "r5", "i5", None, None, 2)
    ]


def test_erasure_keys_stay_when_the_record_is_not_collected_any_more():
    named = verdicts({"record": "r1"})
    before = erasure.erasures(named, RECORDS, twins(), NONE)
    assert keys(erasure.erasures(named, RECORDS.clear(), twins(), before)) == keys(before)


def test_erasure_again_changes_nothing():
    named = verdicts({"record": "r1"}, {"source": "s", "source_id": "i2"})
    around = twins(("r2", "r4", "near"))
    once = erasure.erasures(named, RECORDS, around, NONE)
    assert erasure.erasures(named, RECORDS, twins(), once).equals(once)


def test_erasure_what_ingest_found_near_is_kept():
    seen = RECORDS.with_columns(
        because=pl.when(pl.col("record_id") == "r4").then(pl.lit("near")),
        place=pl.when(pl.col("record_id") == "r4").then(pl.lit("a.csv:2")),
    )
    found = erasure.erasures(verdicts({"record": "r1"}), seen, twins(), NONE)
    assert taken(RECORDS, found)["r4"] == "near"


# --- in ingest ----------------------------------------------------------------------------

PARAMS = DedupParams(answers_are_labels=True, label_names={}, near=Near(), ngram=3)
LONG = f"the {NEEDLE} gate at the harbour refuses to open for our van every single morning since the storm"


def row(record_id: str, text: str, source: str = "s", group: str | None = None) -> dict[str, Any]:
    return {
        "record_id": record_id, "day": DAY, "source": source, "source_rank": 1, "source_id": f"id-{record_id}",
        "uri": "f.jsonl", "line": 1, "byte_offset": 0, "messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "bug"}],
        "label": "bug", "group": group, "person_names": ["Somebody"], "may_evaluate": True, "content_sha": record_id, "kept": True,
    }  # fmt: skip


def collected(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=TABLES[Step.INGEST])


def test_erasure_withheld_rows_keep_ids_and_lose_every_word():
    records = collected(
        row("a", LONG, group="g"), row("b", LONG.upper() + " !!"), row("c", LONG + " again"),
        row("d", "something else altogether", "made", "g"), row("e", "something else altogether"), row("f", " "), row("g", ""),
    )  # fmt: skip
    found = erasure.erasures(verdicts({"record": "a"}), known(("a", "id-a", "", "")), twins(), NONE)
    search = erasure.search(found, records.head(1), ["made"], PARAMS)
    left = erasure.withheld(records, search, ["made"], PARAMS)
    assert left.schema == records.schema
    because = {
        r["record_id"]: json.loads(r["detail"])["because"] for r in left.filter(~pl.col("kept")).to_dicts()
    }
    assert because == {"a": "named", "b": "copy", "c": "near", "d": "child"}
    gone = left.filter(~pl.col("kept"))
    assert NEEDLE not in gone.write_ndjson().lower()
    assert [gone[name].null_count() for name in erasure.TEXT_COLUMNS] == [4] * 5
    assert set(gone["reason"]) == {"erased"}
    assert gone["content_sha"].to_list() == ["a", "b", "c", "d"]
    assert list(json.loads(gone["detail"][0])) == ["because", "rule", "text_key", "threshold", "value"]
    assert json.loads(gone["detail"][0])["threshold"] == "a.csv:2"
    assert left.filter("kept").equals(records.filter(pl.col("record_id").is_in(["e", "f", "g"])))


def test_erasure_rules_of_ingests_gate_see_erased_rows_with_words():
    whole = collected(row("a", LONG))
    erased = whole.with_columns(kept=pl.lit(False), reason=pl.lit("erased"), detail=pl.lit("{}"))
    bare = erased.with_columns(pl.lit(None).cast(whole.schema[n]).alias(n) for n in erasure.TEXT_COLUMNS)
    lost = bare.with_columns(reason=pl.lit(None, pl.String), kept=pl.lit(True))
    faults = [
        (ingest_suite._erased_texts(frame).height, ingest_suite._role_faults(frame).height)
        for frame in (whole, erased, bare, lost)
    ]
    assert faults == [(0, 0), (1, 0), (0, 0), (0, 1)]


def project(root: Path) -> Path:
    """Three days: a record, its copy and a near copy on the others, generated text of its group."""

    def line(record: str, text: str, **more: Any) -> dict[str, Any]:
        return {"id": record, "text": text, "label": "bug"} | more

    files = {
        f"sources/{day}.jsonl": [dict(r, group=None) for r in scenario.rows(20 * n, 15)]
        for n, day in enumerate(scenario.DAYS)
    }
    files["sources/2026-03-01.jsonl"].append(line("near", LONG + " again"))
    files["sources/2026-03-02.jsonl"].append(line("named", LONG, group="c7"))
    files["sources/2026-03-03.jsonl"].append(line("copy", LONG.upper().replace(" ", ", ") + "!"))
    fields = {"id": "id", "input": "text", "output": "label", "group": "group"}
    generated = scenario.source(
        name="written", kind="synthetic", path="made.jsonl", collected_at="2026-03-03", fields=fields,
        generator={"model": "m", "provider": "p", "permits_training": True, "terms": "t", "terms_reviewed": "2026-01-02"},
    )  # fmt: skip
    made = [
        line(f"w{n}", f"A written text number {n} about kites and lanterns in spring", group=f"c{n}")
        for n in range(6, 9)
    ]
    made[1]["text"] += f" by {NEEDLE}"
    content = scenario.spec(sources=[scenario.source(fields=fields), generated], reviews=["reviews/*.csv"])
    data = {name: scenario.jsonl(rows) for name, rows in files.items()} | {"made.jsonl": scenario.jsonl(made)}
    (root / "reviews").mkdir(parents=True, exist_ok=True)
    (root / "reviews/a.csv").write_text(
        "record,source,id,step,verdict,value,reviewer,date\n", encoding="utf-8"
    )
    return scenario.make_project(root, content, data)


def set_erasures(context: Context, named: pl.DataFrame) -> None:
    with context.warehouse._connection() as connection:
        connection.execute('DELETE FROM main."erasures"')
        connection.register("incoming", named.to_arrow())
        connection.execute('INSERT INTO main."erasures" BY NAME SELECT * FROM incoming')
        connection.unregister("incoming")


def ingested(context: Context, days: Sequence[str]) -> dict[str, str]:
    """source_id to the reason's `because` of what ingest drops."""
    parts: list[pl.DataFrame] = []
    ingest_work(
        context, tuple(map(dt.date.fromisoformat, days)), lambda tables: parts.append(tables[Step.INGEST])
    )
    rows = pl.concat(parts).filter(~pl.col("kept"))
    assert NEEDLE not in rows.write_ndjson().lower()
    return {r["source_id"]: json.loads(r["detail"])["because"] for r in rows.to_dicts()}


def test_erasure_ingest_from_nothing_finds_all_in_one_pass(tmp_path):
    context = context_of(load_project(project(tmp_path)))
    named = verdicts({"source": "inbox", "source_id": "named"})
    set_erasures(context, erasure.erasures(named, RECORDS.clear(), twins(), NONE))
    # The near copy is read days before the named record.
    assert ingested(context, scenario.DAYS) == {
        "near": "near",
        "named": "named",
        "copy": "copy",
        "w7": "child",
    }
    # A later day alone: the named text is looked for in the days that are not made yet.
    assert ingested(context, scenario.DAYS[2:]) == {"copy": "copy", "w7": "child"}


def test_erasure_ingest_of_a_later_day_reads_the_named_text_where_it_is(tmp_path):
    context = context_of(load_project(project(tmp_path)))
    set_erasures(
        context,
        erasure.erasures(verdicts({"source": "inbox", "source_id": "named"}), RECORDS.clear(), twins(), NONE),
    )
    with context.warehouse._connection() as connection:
        connection.execute(
            "INSERT INTO main.ingest BY NAME SELECT 'r' AS record_id, 'inbox' AS source, 'named' AS source_id, 'sources/2026-03-02.jsonl' AS uri"
        )
    assert ingested(context, scenario.DAYS[2:]) == {"copy": "copy", "w7": "child"}
    assert ingested(context, scenario.DAYS[:1]) == {"near": "near"}


# --- the file -----------------------------------------------------------------------------


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    made = Warehouse(tmp_path / "warehouse.duckdb", wait_seconds=0.3)
    made.initialize()
    return made


def put(warehouse: Warehouse, *records: dict[str, Any]) -> None:
    """Rows in ingest, normalize and, staged by a run that a gate stopped, both again; notes on the first."""
    frame = collected(*records)
    with warehouse._connection() as connection:
        connection.register("incoming", frame.to_arrow())
        for schema in ("main", "staging"):
            token = "" if schema == "main" else ", 1 AS token"
            connection.execute(f"INSERT INTO {schema}.ingest BY NAME SELECT *{token} FROM incoming")
            connection.execute(
                f"INSERT INTO {schema}.normalize BY NAME SELECT record_id, day, messages, messages AS rejected, true AS kept{token} FROM incoming"
            )
            connection.execute(
                f"INSERT INTO {schema}.annotations BY NAME SELECT source, source_id, '{NEEDLE} said' AS notes{token} FROM incoming LIMIT 1"
            )
        connection.unregister("incoming")
        connection.execute("SELECT nextval('claim_seq')").fetchall()
        connection.execute("CHECKPOINT")


def mark_erased(warehouse: Warehouse, *ids: str) -> None:
    """What ingest publishes for them when its days are made again."""
    with warehouse._connection() as connection:
        connection.execute(
            """UPDATE main.ingest SET kept = false, reason = 'erased', detail = '{"because":"named","threshold":"a.csv:2"}',
            messages = NULL, label = NULL, person_names = NULL WHERE list_contains(?, record_id)""",
            [list(ids)],
        )


def holding(root: Path) -> list[str]:
    """Files below a folder with the needle in their bytes, unpacked where they are gzip."""
    found = []
    for path in sorted(p for p in root.rglob("*") if p.is_file() and not p.is_symlink()):
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
        if NEEDLE.encode() in data.lower():
            found.append(path.relative_to(root).as_posix())
    return found


def test_erasure_rewrite_leaves_tables_views_and_sequences(warehouse):
    put(warehouse, row("a", LONG), row("b", "harmless words"))
    tables = {name: warehouse.table(name) for name in TABLES}
    rewriting.rewrite(warehouse.path)
    assert all(warehouse.table(name).equals(frame) for name, frame in tables.items())
    assert warehouse.query("SELECT * FROM records_after_ingest").height == 2
    assert warehouse.claim(Step.LABEL, [DAY], "run").token == 2
    assert sorted(p.name for p in warehouse.path.parent.iterdir()) == ["warehouse.duckdb"]


def test_erasure_rewrite_drops_the_bytes_that_deletes_leave(warehouse):
    # Few rows: DuckDB packs many, and what is packed is not found by its bytes.
    put(warehouse, row("b", "harmless words"), row("a", LONG))
    with warehouse._connection() as connection:
        for schema in ("main", "staging"):
            connection.execute(f"DELETE FROM {schema}.ingest WHERE record_id = 'a'")
            connection.execute(f"DELETE FROM {schema}.normalize WHERE record_id = 'a'")
            connection.execute(f"UPDATE {schema}.annotations SET notes = NULL")
    assert holding(warehouse.path.parent) == ["warehouse.duckdb"]
    rewriting.rewrite(warehouse.path)
    assert holding(warehouse.path.parent) == []


def test_erasure_rewrite_of_a_held_file_is_busy_and_changes_nothing(warehouse):
    put(warehouse, row("a", LONG))
    before = warehouse.path.read_bytes()
    with held(warehouse.path, read_only=True), pytest.raises(WarehouseBusy, match="holds the warehouse"):
        rewriting.rewrite(warehouse.path, 0.2)
    assert warehouse.path.read_bytes() == before


def test_erasure_rewrite_that_died_is_cleared_and_done_again(warehouse, monkeypatch):
    put(warehouse, row("a", LONG))

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    for name in ("_verify", "sync"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(rewriting, name, die)
            rewriting.rewrite(warehouse.path)
        assert warehouse.table(Step.INGEST).height == 1
    (warehouse.path.with_name("warehouse.duckdb.rewriting")).write_text(NEEDLE)
    (warehouse.path.with_name("warehouse.duckdb.rewriting.wal")).write_text(NEEDLE)
    rewriting.rewrite(warehouse.path)
    assert [p.name for p in warehouse.path.parent.iterdir()] == ["warehouse.duckdb"]


def test_erasure_texts_are_removed_from_every_table(warehouse):
    put(warehouse, row("a", LONG), row("b", "harmless words"))
    mark_erased(warehouse, "a")
    gone = rewriting.erased_records(warehouse)
    assert rewriting.texts_left(warehouse, gone) == 5
    rewriting.remove_texts(warehouse, gone)
    assert rewriting.texts_left(warehouse, gone) == 0
    assert rewriting.is_rewrite_due(warehouse)
    kept = warehouse.table(Step.NORMALIZE).filter(pl.col("record_id") == "b")
    assert kept["messages"].null_count() == 0
    assert warehouse.table(Step.INGEST).filter("kept")["person_names"].to_list() == [["Somebody"]]


def test_erasure_sqlite_files_lose_freed_pages(tmp_path):
    with sqlite3.connect(tmp_path / "runs.db") as connection:
        connection.execute("CREATE TABLE t (v TEXT)")
        connection.executemany("INSERT INTO t VALUES (?)", [(LONG,)] * 500)
        connection.commit()
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("DELETE FROM t")
    connection.close()
    assert holding(tmp_path) == ["runs.db"]
    assert rewriting.vacuum_sqlite(tmp_path) == []
    assert holding(tmp_path) == []


def test_erasure_releases_that_hold_a_record_are_named(tmp_path):
    for version, ids in (("v1", ["a", "b"]), ("v2", ["b"]), ("v3", ["a", "c"])):
        (tmp_path / version).mkdir()
        pl.DataFrame({"record_id": ids}).write_parquet(tmp_path / version / "provenance.parquet")
    (tmp_path / "v4").mkdir()
    (tmp_path / "latest").symlink_to("v3")
    assert rewriting.releases_with(tmp_path, ["a", "c"]) == {"v1": 1, "v3": 2, "v4": None}
    assert rewriting.releases_with(tmp_path, []) == {}


@pytest.mark.parametrize(("ids", "stays"), [(["a"], False), (["z"], True), ([], True)])
def test_erasure_takes_a_refused_release_that_holds_the_record(
    tmp_path: Path, ids: list[str], stays: bool
) -> None:
    refused = tmp_path / ".refused"
    refused.mkdir()
    pl.DataFrame({"record_id": ["a", "b"]}).write_parquet(refused / "provenance.parquet")
    assert rewriting.discard_refused(tmp_path, ids) is not stays
    assert refused.exists() is stays


def test_erasure_takes_a_refused_release_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / ".refused").mkdir()
    assert rewriting.discard_refused(tmp_path, ["a"]) and not (tmp_path / ".refused").exists()


# --- housekeeping -------------------------------------------------------------------------


@pytest.fixture
def context(tmp_path):
    made = context_of(load_project(project(tmp_path)))
    yield made
    release_run_lock(made.warehouse.path)


STATE = ("warehouse.duckdb", "cache.duckdb", ".dagster")


def state_holding(root: Path) -> list[str]:
    return [name for name in holding(root) if name.startswith(STATE)]


def test_erasure_housekeeping_leaves_no_byte_and_is_then_a_noop(context):
    root = context.project.root
    put(context.warehouse, row("a", LONG), row("b", "harmless words"))
    context.project.cache_path.write_bytes(NEEDLE.encode())
    assert housekeeping(context).words == ()
    assert state_holding(root) == ["cache.duckdb", "warehouse.duckdb"]
    mark_erased(context.warehouse, "a")
    done = housekeeping(context)
    assert (done.erased, done.is_rewritten) == (1, True)
    assert done.places.rows() == [("f.jsonl", 1, "a", "s")]
    assert state_holding(root) == []
    assert any("f.jsonl still holds erased text, line 1" in line for line in done.words)
    before = context.warehouse.path.stat().st_ino
    again = housekeeping(context)
    assert not again.is_rewritten
    assert context.warehouse.path.stat().st_ino == before
    assert not any(NEEDLE in line for line in done.words)


@pytest.mark.parametrize("point", ["remove_texts", "discard", "rewrite", "vacuum_sqlite", "note_rewritten"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_erasure_housekeeping_that_died_is_finished_by_the_next(context, monkeypatch, point, when):
    root = context.project.root
    (root / ".dagster").mkdir()
    put(context.warehouse, row("a", LONG), row("b", "harmless words"))
    context.project.cache_path.write_bytes(NEEDLE.encode())
    mark_erased(context.warehouse, "a")
    original = getattr(rewriting, point)

    def die(*given: Any, **named: Any) -> None:
        if when == "after":
            original(*given, **named)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(rewriting, point, die)
        housekeeping(context)
    housekeeping(context)
    assert state_holding(root) == []
    assert not rewriting.is_rewrite_due(context.warehouse)
    assert not housekeeping(context).is_rewritten


def test_erasure_housekeeping_withdrawn_verdict_rewrites_nothing(context):
    put(context.warehouse, row("a", LONG))
    mark_erased(context.warehouse, "a")
    housekeeping(context)
    with context.warehouse._connection() as connection:
        connection.execute("UPDATE main.ingest SET kept = true, reason = NULL, detail = NULL")
    assert not housekeeping(context).is_rewritten
    assert rewriting.meta(context.warehouse, rewriting.ERASED_KEY) is None


# --- through the command line -------------------------------------------------------------


@pytest.mark.faults
def test_erasure_end_to_end_leaves_the_raw_files_and_the_old_release_only(tmp_path):
    spec = project(tmp_path)
    assert scenario.call("run", spec).exit_code == 0
    (old,) = scenario.released(spec)
    raw = ["made.jsonl", *(f"sources/{day}.jsonl" for day in scenario.DAYS)]
    before = holding(tmp_path)
    assert "warehouse.duckdb" in before
    with (tmp_path / "reviews/a.csv").open("a", encoding="utf-8") as handle:
        handle.write(",inbox,named,,erase,,Jo,2026-04-01\n")
    result = scenario.call("run", spec)
    assert result.exit_code == 0, result.output
    assert f"release {old} still holds" in result.output
    assert "sources/2026-03-02.jsonl still holds erased text" in result.output
    clean = [*raw, *(name for name in before if name.startswith(f"releases/{old}/"))]
    assert holding(tmp_path) == sorted(clean)
    (new,) = set(scenario.released(spec)) - {old}
    for again in range(2):
        # Nothing is left to do, and a rebuild from nothing comes to the same release.
        result = scenario.call("run", spec)
        assert result.exit_code == 0, result.output
        assert set(scenario.released(spec)) == {old, new}
        assert holding(tmp_path) == sorted(clean)
        if not again:
            for name in ("warehouse.duckdb", "cache.duckdb"):
                (tmp_path / name).unlink(missing_ok=True)
