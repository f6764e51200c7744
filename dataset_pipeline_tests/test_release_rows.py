"""What a release is made of: numbers of rows, what is withheld, provenance, dropped, the card.

Lives here: `transforms.release` on rows made by hand, and the card of a real run. Keep out: rows of a format
(`test_formats`), files being written and dying (`test_releases`).
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import yaml

from dataset_pipeline.records import DAILY_STEPS, MESSAGES, TABLES, Split, Step
from dataset_pipeline.spec.models import Task
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline.transforms import release as shapes
from dataset_pipeline.transforms.formats import jsonl_lines
from dataset_pipeline.transforms.selection import select
from dataset_pipeline_tests import small_project as small

DAY = dt.date(2026, 3, 2)
COMPLETION = Task(behavior="Go on.", type="completion")


def turns(*contents: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(contents)]


def released(*rows: tuple[str, str, list[dict[str, str]]]) -> pl.DataFrame:
    """record_id, split, messages of each row."""
    return pl.DataFrame(
        [{"record_id": r, "split": s, "messages": m, "label": None, "source": "inbox", "day": DAY} for r, s, m in rows],
        schema={"record_id": pl.String, "split": pl.String, "messages": MESSAGES, "label": pl.String, "source": pl.String, "day": pl.Date},
    )  # fmt: skip


# --- row numbers ------------------------------------------------------------------------------


def test_row_numbers_are_the_lines_of_the_files() -> None:
    frame = released(*((r, s, turns(r, "x")) for r, s in (("c", "train"), ("a", "train"), ("b", "test"))))
    numbered = shapes.with_row_numbers(frame)
    assert numbered.select("record_id", "split", "row").rows() == [
        ("a", "train", 0),
        ("b", "test", 0),
        ("c", "train", 1),
    ]
    lines = jsonl_lines(numbered, Split.TRAIN, "chat", COMPLETION)
    texts = [json.loads(line)["messages"][0]["content"] for line in lines]
    assert texts == ["a", "c"]


# --- withheld -----------------------------------------------------------------------------------


def labelled(*rows: tuple[str, str, str, bool]) -> pl.DataFrame:
    """TABLES['label'] of (record_id, prompt_key, answer_key, kept)."""
    values = [
        {
            "record_id": r,
            "day": DAY,
            "prompt_key": p,
            "answer_key": a,
            "label": a,
            "kept": k,
            "is_contradiction": False,
        }
        for r, p, a, k in rows
    ]
    return pl.DataFrame(values, schema=TABLES[Step.LABEL])


def test_contradiction_is_withheld_on_both_sides_and_names_them() -> None:
    frame = released(*((r, "train", turns(r, "x")) for r in "abcd"))
    table = labelled(
        ("a", "p", "bug", True), ("b", "p", "wish", True), ("c", "q", "bug", True), ("d", "q", "bug", True)
    )
    found = select(frame, table, answers_are_labels=True)
    assert found.released["record_id"].to_list() == ["c", "d"]
    assert found.withheld.rows() == [
        ("a", "contradiction", '{"others":["b"],"rule":"contradiction","threshold":1,"value":2}'),
        ("b", "contradiction", '{"others":["a"],"rule":"contradiction","threshold":1,"value":2}'),
    ]


def test_contradiction_with_a_side_that_split_dropped_is_withheld_all_the_same() -> None:
    frame = released(("a", "train", turns("a", "x")))
    table = labelled(("a", "p", "bug", True), ("gone", "p", "wish", True))
    assert select(frame, table, True).withheld["record_id"].to_list() == ["a"]


def test_contradiction_with_a_row_that_label_dropped_is_none() -> None:
    frame = released(("a", "train", turns("a", "x")))
    table = labelled(("a", "p", "bug", True), ("unlabelled", "p", "wish", False))
    assert select(frame, table, True).released["record_id"].to_list() == ["a"]


def test_contradiction_of_free_answers_is_released() -> None:
    frame = released(("a", "train", turns("a", "x")), ("b", "train", turns("a", "y")))
    table = labelled(("a", "p", "x", True), ("b", "p", "y", True))
    found = select(frame, table, answers_are_labels=False)
    assert (found.released.height, found.withheld.height) == (2, 0)
    assert found.withheld.schema == select(frame, table, True).withheld.schema


def reviewed(table: pl.DataFrame, **verdicts: str) -> pl.DataFrame:
    """`labelled` with people's verdicts by record_id."""
    told = {record: json.dumps({"verdict": verdict}) for record, verdict in verdicts.items()}
    return table.with_columns(
        review=pl.col("record_id").replace_strict(told, default=None, return_dtype=pl.String)
    )


def test_contradiction_a_side_with_a_verdict_is_released_whatever_the_others() -> None:
    frame = released(*((r, "train", turns(r, "x")) for r in "abcd"))
    table = labelled(("a", "p", "bug", True), ("b", "p", "wish", True), ("c", "p", "bug", True), ("d", "p", "praise", True))  # fmt: skip
    found = select(frame, reviewed(table, a="keep", b="relabel"), True)
    assert found.released["record_id"].to_list() == ["a", "b"]
    assert found.withheld["record_id"].to_list() == ["c", "d"]
    assert json.loads(found.withheld["detail"][0])["others"] == ["a", "b", "d"]


def test_contradiction_whose_other_side_was_dropped_by_a_person_is_none() -> None:
    frame = released(("a", "train", turns("a", "x")))
    table = reviewed(labelled(("a", "p", "bug", True), ("b", "p", "wish", False)), b="drop")
    assert select(frame, table, True).released["record_id"].to_list() == ["a"]


def test_contradiction_of_reversed_pairs_is_withheld() -> None:
    frame = released(*((r, "train", turns(r, "x")) for r in "abc"))
    table = labelled(("a", "p", "so", True), ("b", "p", "because", True), ("c", "q", "so", True))
    assert select(frame, table, False, has_pairs=True).released["record_id"].to_list() == ["c"]
    assert select(frame, table, False).released["record_id"].to_list() == ["a", "b", "c"]
    assert select(frame, reviewed(table, a="keep"), False, has_pairs=True).withheld[
        "record_id"
    ].to_list() == ["b"]


def test_contradiction_with_a_dropped_near_duplicate_is_settled_by_a_verdict() -> None:
    frame = released(("a", "train", turns("a", "x")))
    rows = [
        {
            "record_id": r,
            "day": DAY,
            "comparison_key": "p",
            "answer_key": k,
            "kept": r == "a",
            "reason": reason,
        }
        for r, k, reason in (("a", "bug", None), ("t", "wish", "near"))
    ]
    deduplicated = pl.DataFrame(rows, schema=TABLES[Step.DEDUP])
    table = labelled(("a", "p", "bug", True))
    assert select(frame, table, True, deduplicated).withheld["record_id"].to_list() == ["a"]
    assert select(frame, reviewed(table, a="keep"), True, deduplicated).released["record_id"].to_list() == [
        "a"
    ]


def test_contradiction_of_many_sides_counts_all_and_names_twenty_others() -> None:
    names = [f"r{n:02d}" for n in range(30)]
    frame = released(*((r, "train", turns(r, "x")) for r in names))
    table = labelled(*((r, "p", f"label {n % 2}", True) for n, r in enumerate(names)))
    details = dict(select(frame, table, True).withheld.select("record_id", "detail").iter_rows())
    first, last = json.loads(details["r00"]), json.loads(details["r29"])
    assert (first["value"], first["others"]) == (30, names[1:21])
    assert (last["value"], last["others"]) == (30, names[:20])


# --- a release of the small project ---------------------------------------------------------------


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        small.switch_gates_off(patch)
        root = small.make_project(tmp_path_factory.mktemp("released"))
        small.run_all(root)
    yield root
    release_run_lock(root / "warehouse.duckdb")


def test_release_files_agree_with_each_other_and_with_provenance(project: Path) -> None:
    folder, tables = small.release_folder(project), small.tables(project)
    provenance = pl.read_parquet(folder / "provenance.parquet")
    texts = dict(
        tables["normalize"]
        .select("record_id", pl.col("messages").list.first().struct.field("content"))
        .iter_rows()
    )
    labels = dict(tables["label"].select("record_id", "label").iter_rows())
    for split in Split:
        here = provenance.filter(split=split.value).sort("row")
        assert here["row"].to_list() == list(range(here.height))
        ids = here["record_id"].to_list()
        expected = [(texts[i], labels[i]) for i in ids]
        files = {
            name: (folder / name / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
            for name in ("chat", "alpaca", "completion")
        }
        chat = [json.loads(line)["messages"] for line in files["chat"]]
        assert [(m[-2]["content"], m[-1]["content"]) for m in chat] == expected
        assert {tuple(m["role"] for m in messages) for messages in chat} == {("system", "user", "assistant")}
        alpaca = [json.loads(line) for line in files["alpaca"]]
        assert [(row["input"], row["output"]) for row in alpaca] == expected
        completion = [json.loads(line) for line in files["completion"]]
        assert [(row["prompt"], row["completion"]) for row in completion] == [
            (f"Label the feedback.\n\n{p}", a) for p, a in expected
        ]
        stored = pl.read_parquet(folder / "parquet" / f"{split}.parquet")
        assert stored["record_id"].to_list() == ids and stored["label"].to_list() == [a for _, a in expected]
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert sum(manifest["counts"]["splits"].values()) == manifest["counts"]["released"] == provenance.height
    assert manifest["counts"]["withheld"] == 3
    kept = tables["split"].filter("kept").height
    assert manifest["counts"]["released"] + manifest["counts"]["withheld"] == kept
    assert set(manifest["files"]) == {
        p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()
    } - {"manifest.json"}


def test_provenance_says_where_each_record_is_from(project: Path) -> None:
    folder, ingest = small.release_folder(project), small.tables(project)["ingest"]
    provenance = pl.read_parquet(folder / "provenance.parquet")
    origin = ["source", "source_id", "day", "uri", "line"]
    joined = provenance.select("record_id", *origin).join(
        ingest.select("record_id", *origin), on=["record_id", *origin], how="semi"
    )
    assert joined.height == provenance.height
    assert set(provenance.select("source", "license", "uses").unique().iter_rows()) == {
        ("inbox", "LicenseRef-inbox", "evaluate,train"), ("store", "CC-BY-4.0", "evaluate,train"), ("written", "CC-BY-4.0", "train"),
    }  # fmt: skip
    assert provenance["filter_prompt_words"].min() >= 3  # type: ignore[operator]
    first = provenance.filter(source="inbox").row(0, named=True)
    raw = json.loads((project / first["uri"]).read_text(encoding="utf-8").splitlines()[first["line"] - 1])
    assert raw["id"] == first["source_id"]


def test_dropped_names_step_and_reason_of_every_other_record(project: Path) -> None:
    dropped = pl.read_parquet(small.release_folder(project) / "dropped.parquet")
    tables = small.tables(project)
    for step in DAILY_STEPS:
        verdicts = (
            tables[step].filter(~pl.col("kept")).select("record_id", "reason", "detail").sort("record_id")
        )
        assert dropped.filter(step=str(step)).select("record_id", "reason", "detail").equals(verdicts)
    held = dropped.filter(step="release")
    assert set(held["reason"]) == {"contradiction"}
    assert dropped.columns == [
        "record_id",
        "source",
        "source_id",
        "day",
        "uri",
        "line",
        "step",
        "reason",
        "detail",
    ]


def test_card_front_matter_is_yaml_whose_files_are_there(project: Path) -> None:
    folder = small.release_folder(project)
    _, front, body = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    facts = yaml.safe_load(front)
    assert [config["config_name"] for config in facts["configs"]] == [
        "chat",
        "alpaca",
        "completion",
    ]
    assert [config for config in facts["configs"] if config.get("default")] == facts["configs"][:1]
    for config in facts["configs"]:
        assert {part["split"] for part in config["data_files"]} == {"train", "validation", "test"}
        assert all((folder / part["path"]).is_file() for part in config["data_files"])
    assert facts["pretty_name"] == "small" and facts["size_categories"] == ["n<1K"]
    assert facts["license"] == "other" and "en" in facts["language"]
    counts = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["counts"]
    assert f"| all | {counts['splits']['train']} |" in body
    assert "| release | 90 | 87 | contradiction 3 |" in body
