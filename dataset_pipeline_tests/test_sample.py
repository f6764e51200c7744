"""The sample project held to its own list: what each step must catch, and what it must not touch.

`data/planted.csv` was written with the data, before the pipeline; no expectation here comes from a run.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dataset_pipeline.records import DAILY_STEPS, IN_REVIEW, Step
from dataset_pipeline.storage import release_checks
from dataset_pipeline.storage.warehouse import Warehouse
from dataset_pipeline_tests.conftest import SAMPLE

KEPT_BY_THE_STEPS = {"repaired", "scrubbed", "contradiction"}


def _planted() -> list[dict[str, str]]:
    with (SAMPLE / "planted.csv").open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


PLANTED = _planted()
KINDS = sorted({row["plant"] for row in PLANTED})


@pytest.fixture(scope="module")
def verdicts(sample_root: Path) -> pl.DataFrame:
    """source, source_id, uri, line, and the step, reason and detail that dropped each collected record."""
    warehouse = Warehouse(sample_root / "warehouse.duckdb")
    dropped = pl.concat(
        [
            warehouse.table(step)
            .filter(~pl.col("kept"))
            .select("record_id", pl.lit(str(step)).alias("step"), "reason", "detail")
            for step in DAILY_STEPS
        ]
    )
    origin = warehouse.table(Step.INGEST).select("record_id", "source", "source_id", "uri", "line")
    return origin.join(dropped, on="record_id", how="left")


def _facts(verdicts: pl.DataFrame, row: dict[str, str]) -> dict[str, Any]:
    found = verdicts.filter((pl.col("source") == row["source"]) & (pl.col("source_id") == row["source_id"]))
    assert found.height == 1, f"{row['source']}:{row['source_id']} is there {found.height} times"
    return found.row(0, named=True)


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "malformed"])
def test_sample_planted_rows_meet_the_step_that_is_written_for_them(
    kind: str, verdicts: pl.DataFrame
) -> None:
    wrong = []
    spared = 0
    rows = [row for row in PLANTED if row["plant"] == kind]
    for row in rows:
        facts = _facts(verdicts, row)
        must_stay = not row["expected_step"] or row["expected_reason"] in KEPT_BY_THE_STEPS
        if row["note"].startswith("either_of_pair") and facts["step"] is None:
            spared += 1  # its twin goes instead: the record id decides, see the test of the twins
            continue
        good = (
            facts["step"] is None
            if must_stay
            else facts["step"] in row["expected_step"].split("|")
            and facts["reason"] in row["expected_reason"].split("|")
        )
        if not good:
            wrong.append(
                (
                    row["source_id"],
                    row["expected_step"],
                    row["expected_reason"],
                    facts["step"],
                    facts["reason"],
                )
            )
    assert wrong == []
    assert spared < len(rows)


def test_sample_duplicates_name_the_twin_that_was_planted(verdicts: pl.DataFrame) -> None:
    names = {r["record_id"]: f"{r['source']}:{r['source_id']}" for r in verdicts.iter_rows(named=True)}
    by_name = {name: r for r, name in names.items()}
    details = {r["record_id"]: r for r in verdicts.iter_rows(named=True)}
    wrong = []
    for row in PLANTED:
        if row["expected_step"] != "dedup":
            continue
        own, twin = by_name[f"{row['source']}:{row['source_id']}"], by_name[row["twin_or_item"]]
        pair = {own, twin} if row["note"].startswith("either_of_pair") else {own}
        gone = [r for r in pair if details[r]["step"] == "dedup"]
        named = [json.loads(details[r]["detail"])["twin"] for r in gone]
        expected = [next(iter({own, twin} - {r})) for r in gone]
        if len(gone) != 1 or named != expected:
            wrong.append((row["source_id"], [names[n] for n in named], row["twin_or_item"]))
    assert wrong == []


def test_sample_contaminated_rows_name_their_item(verdicts: pl.DataFrame) -> None:
    for row in PLANTED:
        if row["expected_step"] == "decontaminate":
            detail = json.loads(_facts(verdicts, row)["detail"])
            assert (detail["set"], detail["item"]) == ("holdout", row["twin_or_item"]), row


def test_sample_malformed_lines_are_rejected_by_line_and_reason_and_no_other(sample_root: Path) -> None:
    rejects = Warehouse(sample_root / "warehouse.duckdb").table("rejects")
    found = Counter(rejects.select("uri", "line", "reason").iter_rows())
    expected = Counter(
        (r["file"], int(r["line"]), r["expected_reason"]) for r in PLANTED if r["plant"] == "malformed"
    )
    assert found == expected


def test_sample_nothing_that_was_not_planted_is_dropped(verdicts: pl.DataFrame) -> None:
    listed = {(row["source"], row["source_id"]) for row in PLANTED}
    twins = {
        tuple(row["twin_or_item"].split(":", 1))
        for row in PLANTED
        if row["note"].startswith("either_of_pair")
    }
    gone = (
        verdicts.filter(pl.col("step").is_not_null())
        .select("source", "source_id", "step", "reason")
        .iter_rows()
    )
    assert [row for row in gone if row[:2] not in listed and row[:2] not in twins] == []


def test_sample_garbled_texts_come_out_as_the_author_wrote_them(sample_root: Path) -> None:
    clean = _clean_texts(sample_root)
    expected = [
        json.loads(line)
        for line in (SAMPLE / "expected_clean.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert len(expected) == 35
    wrong = [e["source_id"] for e in expected if clean[(e["source"], e["source_id"])] != e["text"]]
    assert wrong == []


def test_sample_personal_data_is_replaced_and_stands_in_no_file_of_the_release(sample_root: Path) -> None:
    clean = _clean_texts(sample_root)
    expected = [
        json.loads(line) for line in (SAMPLE / "expected_pii.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    folder = sample_root / "releases" / "latest"
    written = b"".join(p.read_bytes() for p in sorted(folder.rglob("*.jsonl")))
    for item in expected:
        text = clean[(item["source"], item["source_id"])]
        for entity, wording in item["pii"]:
            assert wording not in text, (item["source_id"], entity)
            assert f"[{entity}]" in text, (item["source_id"], entity)
            if entity != "PERSON":
                assert wording.encode() not in written, (item["source_id"], entity)


def test_sample_texts_without_plants_are_not_changed_but_for_white_space(sample_root: Path) -> None:
    warehouse = Warehouse(sample_root / "warehouse.duckdb")
    touched = {
        (row["source"], row["source_id"])
        for row in PLANTED
        if row["plant"] in ("pii", "mojibake", "html_entities", "exact_copy")
    }
    before = _texts(warehouse, Step.INGEST)
    squeezed = lambda text: re.sub(r"\s+", " ", text).strip()  # noqa: E731
    changed = [
        key for key, text in _texts(warehouse, Step.NORMALIZE).items()
        if key not in touched and squeezed(text) != squeezed(before[key])
    ]  # fmt: skip
    assert changed == []


def test_sample_release_withholds_both_sides_of_each_contradiction(sample_root: Path) -> None:
    folder = sample_root / "releases" / "latest"
    withheld = pl.read_parquet(folder / "dropped.parquet").filter(pl.col("reason") == "contradiction")
    expected = {(r["source"], r["source_id"]) for r in PLANTED if r["plant"] == "contradiction"}
    assert set(withheld.select("source", "source_id").iter_rows()) == expected
    assert len(expected) == 10


def test_sample_release_accounts_for_every_row_of_every_file(sample_root: Path) -> None:
    folder = sample_root / "releases" / "latest"
    provenance, dropped = (pl.read_parquet(folder / f"{name}.parquet") for name in ("provenance", "dropped"))
    rejects = pl.read_parquet(folder / "rejects.parquet")
    assert provenance.height + dropped.height + rejects.height == 1490
    places = pl.concat([frame.select("uri", "line") for frame in (provenance, dropped, rejects)])
    assert places.unique().height == places.height
    assert release_checks.verify(folder.resolve()).is_whole


def test_sample_suspects_wait_in_review(verdicts: pl.DataFrame) -> None:
    waiting = verdicts.filter(pl.col("reason") == IN_REVIEW)
    assert sorted(waiting.select("step", "source_id").iter_rows()) == [
        ("decontaminate", "T-49492"),
        ("label", "T-49904"),
    ]


def test_sample_labels_of_people_go_before_those_of_the_source(sample_root: Path) -> None:
    warehouse = Warehouse(sample_root / "warehouse.duckdb")
    origins = warehouse.table(Step.INGEST).select("record_id", "source_id")
    labels = warehouse.table(Step.LABEL).join(origins, on="record_id").filter("kept")
    by = {
        key[0]: set(part["source_id"])
        for key, part in labels.partition_by("label_origin", as_dict=True).items()
    }
    assert by["review"] == {"T-48468", "T-49800"}
    assert {r["source_id"] for r in PLANTED if r["plant"] == "voted"} <= by["annotations"]
    assert len(by["annotations"]) == 54
    [alpha] = warehouse.table("agreement").filter(pl.col("measure") == "alpha")["value"]
    assert 0.85 < alpha < 1.0


def test_sample_queue_lists_what_waits_without_personal_data(sample_root: Path) -> None:
    queue = pl.read_csv(sample_root / "review_queue.csv", infer_schema=False)
    assert set(queue["step"]) == {"label", "decontaminate"}
    sides = queue.filter(pl.col("reason") == "contradiction")
    assert sides["case"].to_list() == [str(n) for n in range(1, 6) for _ in range(2)]
    assert "T-49904" in queue.filter(pl.col("reason") == IN_REVIEW)["id"].to_list()


def test_sample_unplanted_messages_share_no_eight_words_in_a_row(sample_root: Path) -> None:
    texts = _texts(Warehouse(sample_root / "warehouse.duckdb"), Step.INGEST)
    planted = {(row["source"], row["source_id"]) for row in PLANTED}
    seen: dict[tuple[str, ...], tuple[str, str]] = {}
    distinct = 0
    for key, text in sorted(texts.items()):
        if key in planted:
            continue
        distinct += 1
        words = re.findall(r"[^\W_]+", text.casefold())
        for start in range(len(words) - 7):
            gram = tuple(words[start : start + 8])
            assert seen.setdefault(gram, key) == key, (key, seen[gram])
    assert distinct >= 900


def _texts(warehouse: Warehouse, step: Step) -> dict[tuple[str, str], str]:
    """(source, id) to the user's text after a step."""
    frame = warehouse.query(
        f'SELECT i.source, i.source_id, s.messages[1].content AS text FROM main."{step}" s JOIN main."ingest" i USING (record_id)'
    )
    return {(source, source_id): text for source, source_id, text in frame.iter_rows()}


def _clean_texts(root: Path) -> dict[tuple[str, str], str]:
    return _texts(Warehouse(root / "warehouse.duckdb"), Step.NORMALIZE)
