"""erase: which records go, and what ingest leaves of them.

Lives here: the verdict's reach, ingest. Keep out: the warehouse's file, housekeeping and the command line (`test_erasure_files`),
verdicts that overrule a step, retention (`test_retention`).
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest

from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.engine import context_of
from dataset_pipeline.assets.intake import ingest_work
from dataset_pipeline.expectations import ingest as ingest_suite
from dataset_pipeline.records import REVIEWS, TABLES, Step
from dataset_pipeline.spec.load import load_project
from dataset_pipeline.spec.models import Near
from dataset_pipeline.spec.params import DedupParams
from dataset_pipeline.transforms import erasure
from dataset_pipeline_tests import scenario
from dataset_pipeline_tests.erasing import LONG, NEEDLE, collected, project, row

DATE = dt.date(2026, 4, 1)
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
