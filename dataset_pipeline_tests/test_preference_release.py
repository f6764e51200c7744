"""Preference pairs in a release: rows of each form, facts of the card, and a small project from file to release.

Keep out: what each step says of a pair (`test_preference`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from dataset_pipeline.records import MESSAGES, Split
from dataset_pipeline.spec.models import Task
from dataset_pipeline.transforms import release as shapes
from dataset_pipeline.transforms.formats import jsonl_lines, parquet_rows
from dataset_pipeline_tests import small_project as small
from dataset_pipeline_tests.test_preference import DAY, turns

TASK = Task(behavior="Answer.", type="preference", system_prompt="Be kind.")
SYSTEM = {"role": "system", "content": "Be kind."}


def released(*rows: tuple[str, str, list[dict[str, str]], int, list[dict[str, str]]]) -> pl.DataFrame:
    """record_id, split, messages, prompt_turns, rejected of each row."""
    names = ("record_id", "split", "messages", "prompt_turns", "rejected")
    frame = pl.DataFrame(
        [dict(zip(names, row, strict=True)) | {"source": "pairs", "day": DAY, "label": None} for row in rows],
        schema={"record_id": pl.String, "split": pl.String, "messages": MESSAGES, "prompt_turns": pl.Int32,
                "rejected": MESSAGES, "source": pl.String, "day": pl.Date, "label": pl.String},
    )  # fmt: skip
    return shapes.with_row_numbers(frame)


TWO_TURNS = ("a", "train", turns("user", "Q", "A", "Q2", "A2"), 1, turns("assistant", "B", "Q3", "B2"))
OWN_SYSTEM = ("b", "test", [{"role": "system", "content": "Own."}, *turns("user", "Q", "A")], 2, turns("assistant", "B"))  # fmt: skip


def test_preference_rows_are_prompt_chosen_and_rejected_messages() -> None:
    frame = released(TWO_TURNS, OWN_SYSTEM)
    lines = list(jsonl_lines(frame, Split.TRAIN, "preference", TASK))
    assert [json.loads(line) for line in lines] == [
        {
            "prompt": [SYSTEM, *turns("user", "Q")],
            "chosen": turns("assistant", "A", "Q2", "A2"),
            "rejected": turns("assistant", "B", "Q3", "B2"),
        }
    ]
    assert lines[0].endswith(b"\n")
    [own] = [json.loads(line) for line in jsonl_lines(frame, Split.TEST, "preference", TASK)]
    assert own["prompt"] == [{"role": "system", "content": "Own."}, *turns("user", "Q")]
    assert list(jsonl_lines(frame, Split.VALIDATION, "preference", TASK)) == []


def test_preference_parquet_has_the_three_lists_in_every_split() -> None:
    frame = released(TWO_TURNS)
    stored = parquet_rows(frame, Split.TRAIN, TASK)
    assert stored.columns == ["record_id", "prompt", "chosen", "rejected", "source", "day"]
    assert stored.row(0, named=True) == {
        "record_id": "a", "prompt": [SYSTEM, *turns("user", "Q")], "chosen": turns("assistant", "A", "Q2", "A2"),
        "rejected": turns("assistant", "B", "Q3", "B2"), "source": "pairs", "day": "2026-03-02",
    }  # fmt: skip
    assert parquet_rows(frame, Split.TEST, TASK).schema == stored.schema


def test_preference_facts_count_ties_half() -> None:
    measured = pl.DataFrame(
        {
            "answer_chars": [10, 5, 5, 1],
            "rejected_chars": [5, 5, 5, 9],
            "sides_similarity": [0.0, 0.2, 0.4, 0.9],
        }
    )
    facts = shapes.pair_facts(measured)
    assert facts is not None
    assert (facts.pairs, facts.chosen_longer) == (4, 0.5)
    assert (facts.chosen_chars, facts.rejected_chars) == (5.0, 5.0)
    assert facts.similarity == pytest.approx(0.3)
    assert facts.similarity_high == 0.9
    nothing = measured.with_columns(rejected_chars=pl.lit(None, pl.Int64))
    assert shapes.pair_facts(nothing) is None


# --- a small project ----------------------------------------------------------------------

ITEM = "A cactus in a glass jar wants three spoons of cold rain water on every second Sunday of the month."
SECRET = "worse.answer@corp.example.com"


def _rows() -> list[dict[str, Any]]:
    rows = [
        {
            "id": f"p{n}",
            "prompt": small.message(n),
            "chosen": f"Thank you, we look into {small.message(n + 60)}",
            "rejected": f"Nobody here cares about {small.message(n + 100)}",
        }
        for n in range(40)
    ]
    rows[1] |= {"rejected": f"Bother {SECRET} with it, she has nothing else to do anyway."}
    rows[2] |= {"rejected": f"Well. {ITEM} That is what I was told."}
    rows[3] |= {"rejected": rows[3]["chosen"].upper()}
    rows[4] |= {"rejected": "..."}
    rows[5] |= {
        "chosen": f"Mail ann@{small.MARKER}.example.com!",
        "rejected": f"Mail bo@{small.MARKER}.example.org!",
    }
    rows.append(rows[6] | {"id": "copy", "prompt": rows[6]["prompt"].upper()})
    return rows


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pairs")
    (root / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in _rows()), encoding="utf-8")
    (root / "holdout.jsonl").write_text(json.dumps({"id": "h1", "text": ITEM}) + "\n", encoding="utf-8")
    rights = {"license": "MIT", "holder": "Example GmbH", "basis": "own", "uses": ["train", "evaluate"]}
    spec = {
        "name": "pairs",
        "task": {"behavior": "Answer.", "type": "preference", "system_prompt": "Be kind."},
        "sources": [
            {
                "name": "pairs", "kind": "first_party", "path": "pairs.jsonl", "collected_at": "2026-03-02", "rights": rights,
                "layout": "preference", "fields": {"id": "id"},
            }
        ],
        "filter": {"max_sides_similarity": 0.8},
        "decontaminate": {"sets": [{"name": "holdout", "path": "holdout.jsonl", "fields": {"id": "id", "input": "text"}}]},
        "split": {"ratios": {"train": 0.6, "validation": 0.2, "test": 0.2}},
    }  # fmt: skip
    (root / "dataset.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    small.run_all(root)
    return root


def test_preference_project_drops_what_is_planted_and_nothing_else(root: Path) -> None:
    dropped = pl.read_parquet(small.release_folder(root) / "dropped.parquet")
    found = {row["source_id"]: (row["step"], row["reason"]) for row in dropped.iter_rows(named=True)}
    copies = {found.pop(name, None) for name in ("p6", "copy")}
    assert copies == {None, ("dedup", "exact")}
    assert found == {
        "p2": ("decontaminate", "contaminated"),
        "p3": ("filter", "sides_alike"),
        "p4": ("filter", "empty_answer"),
        "p5": ("normalize", "sides_alike"),
    }


def test_preference_project_releases_rows_that_a_trainer_takes(root: Path) -> None:
    folder = small.release_folder(root)
    rows = [
        json.loads(line)
        for split in Split
        for line in (folder / f"preference/{split}.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert len(rows) == 36
    for row in rows:
        assert set(row) == {"prompt", "chosen", "rejected"} and row["chosen"] != row["rejected"]
        assert [turn["role"] for turn in row["prompt"]] == ["system", "user"]
        assert (
            [turn["role"] for turn in row["chosen"]] == ["assistant"] == [t["role"] for t in row["rejected"]]
        )
    stored = pl.concat([pl.read_parquet(folder / f"parquet/{split}.parquet") for split in Split])
    key = lambda row: json.dumps(row["prompt"])  # noqa: E731
    assert sorted(stored.select("prompt", "chosen", "rejected").to_dicts(), key=key) == sorted(rows, key=key)


def test_preference_project_personal_data_of_the_worse_side_is_in_no_file(root: Path) -> None:
    folder = small.release_folder(root)
    files = [p for p in folder.rglob("*") if p.is_file()]
    assert not [p.name for p in files if SECRET.encode() in p.read_bytes()]
    provenance = pl.read_parquet(folder / "provenance.parquet")
    assert not [name for name, dtype in provenance.schema.items() if dtype == MESSAGES]
    [row] = provenance.filter(pl.col("source_id") == "p1").to_dicts()
    assert row["normalize_pii_counts"] == [{"name": "EMAIL_ADDRESS", "count": 1}]
    assert row["filter_rejected_words"] > 5


def test_preference_project_card_says_what_the_pairs_are_like(root: Path) -> None:
    card = (small.release_folder(root) / "README.md").read_text(encoding="utf-8")
    assert "## Pairs" in card and "| pairs | 36 |" in card
    assert "longer one" in card and "words in common" in card
