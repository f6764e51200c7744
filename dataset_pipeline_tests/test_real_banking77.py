"""banking77 as shipped: train as the only source, test protected, the whole graph in its default form.

What must be true of it is computed here in plain Python, with none of the package's own notions of a
word, a key or an n-gram.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.engine import Outcome, context_of, run_step
from dataset_pipeline.assets.inputs import run_inputs
from dataset_pipeline.assets.plan import status_of
from dataset_pipeline.assets.releasing import run_release
from dataset_pipeline.records import DAILY_STEPS, Step
from dataset_pipeline.spec.load import load_project
from dataset_pipeline.storage.release_checks import verify
from dataset_pipeline.storage.sources import calendar

pytestmark = pytest.mark.real_data

VARIABLE = "DATASET_PIPELINE_REAL_DATA"
TRAIN_ROWS = 10_003
ROWS_WITH_NEWLINES = 10
ROWS_SHARING_AN_NGRAM = 37
"""As the SOURCE.md beside the file says."""
NGRAM, MIN_COVERAGE, MIN_CONTAINED = 13, 0.5, 5


@dataclass(frozen=True)
class Row:
    """A row of a CSV file, by the line it starts on."""

    line: int
    text: str
    category: str


@dataclass(frozen=True)
class Built:
    """The project after two runs."""

    root: Path
    context: Context
    release: Path
    first: list[Outcome]
    second: list[Outcome]
    train: dict[int, Row]
    test: dict[str, Row]
    """Item name (file:line, the set has no ids) to row."""

    def table(self, step: str) -> pl.DataFrame:
        """A published table with the line each record is from."""
        lines = self.context.warehouse.table("ingest").select("record_id", "line")
        table = self.context.warehouse.table(step)
        return table if "line" in table.columns else table.join(lines, on="record_id", how="left")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    if VARIABLE not in os.environ:
        pytest.fail(
            f"set {VARIABLE} to the folder of the real data (it holds banking77/), or leave out -m real_data"
        )
    shipped = Path(os.environ[VARIABLE]) / "banking77"
    if not shipped.is_dir():
        pytest.fail(f"{shipped} is no folder: {VARIABLE} names the folder that holds banking77/")
    root = tmp_path_factory.mktemp("banking77")
    for name in ("train", "test"):
        (root / f"{name}.csv").write_bytes(gzip.decompress((shipped / f"{name}.csv.gz").read_bytes()))
    labels = json.loads((shipped / "categories.json").read_text(encoding="utf-8"))
    (root / "dataset.yaml").write_text(yaml.safe_dump(spec(labels)), encoding="utf-8")
    first, second = run(root, "first"), run(root, "second")
    test = {f"test.csv:{row.line}": row for row in rows_of(root / "test.csv")}
    train = {row.line: row for row in rows_of(root / "train.csv")}
    return Built(root, context(root), (root / "releases" / "latest").resolve(), first, second, train, test)


def spec(labels: list[str]) -> dict[str, Any]:
    rights = {
        "license": "CC-BY-4.0",
        "holder": "PolyAI",
        "basis": "LICENSE of the repository",
        "uses": ["train", "evaluate"],
    }
    fields = {"input": "text", "output": "category"}
    source = {
        "name": "train",
        "kind": "licensed",
        "path": "train.csv",
        "collected_at": "2026-10-01",
        "rights": rights,
    }
    return {
        "name": "banking77",
        "task": {
            "behavior": "Name the intent of a customer's question.",
            "type": "classification",
            "labels": labels,
        },
        "sources": [source | {"fields": fields}],
        "decontaminate": {"sets": [{"name": "test", "path": "test.csv", "fields": fields}]},
    }


def context(root: Path) -> Context:
    return context_of(load_project(root / "dataset.yaml"))


def run(root: Path, run_id: str) -> list[Outcome]:
    """The whole graph without Dagster."""
    now = context(root)
    days = calendar(now.project, now.found)
    outcomes = [*run_inputs(now, run_id), *(run_step(now, step, days, run_id) for step in DAILY_STEPS)]
    return [*outcomes, run_release(now, status_of(now), run_id)]


def rows_of(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8", newline="") as handle:
        reader = csv.DictReader(handle)
        assert reader.fieldnames == ["text", "category"]
        start = reader.line_num + 1
        for row in reader:
            yield Row(start, row["text"], row["category"])
            start = reader.line_num + 1


# --- what is alike, in plain Python -------------------------------------------------------


def words(text: str) -> tuple[str, ...]:
    """NFKC, case-folded, everything but letters and digits collapsed."""
    return tuple(re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", text).casefold()))


def ngrams(tokens: tuple[str, ...]) -> set[tuple[str, ...]]:
    return {tokens[at : at + NGRAM] for at in range(len(tokens) - NGRAM + 1)}


def coverage(item: tuple[str, ...], text: set[tuple[str, ...]]) -> float:
    """Share of the item's words that lie in n-grams that the text has too."""
    covered = {
        at + k for at in range(len(item) - NGRAM + 1) if item[at : at + NGRAM] in text for k in range(NGRAM)
    }
    return len(covered) / len(item)


def slices(tokens: tuple[str, ...], lengths: set[int]) -> set[tuple[str, ...]]:
    """Every run of words of these lengths."""
    return {tokens[at : at + n] for n in lengths for at in range(len(tokens) - n + 1)}


@dataclass(frozen=True)
class Overlap:
    """What the train rows share with the test rows: line to the items it may name."""

    equal: dict[int, set[str]]
    covered: dict[int, set[str]]
    sharing: set[int]
    """Lines that share an n-gram with the test set."""
    contained: dict[int, set[str]]

    @property
    def contaminated(self) -> dict[int, set[str]]:
        return self.covered | self.equal

    @property
    def idiom(self) -> set[int]:
        """Lines that share an n-gram with the test set, but hold no half of any item."""
        return self.sharing - self.contaminated.keys()


@pytest.fixture(scope="module")
def overlap(built: Built) -> Overlap:
    items = {name: words(row.text) for name, row in built.test.items()}
    holders: dict[tuple[str, ...], set[str]] = {}
    for name, item in items.items():
        for gram in ngrams(item):
            holders.setdefault(gram, set()).add(name)
    short: dict[tuple[str, ...], set[str]] = {}
    for name, item in items.items():
        if MIN_CONTAINED <= len(item) < NGRAM:
            short.setdefault(item, set()).add(name)
    found = Overlap({}, {}, set(), {})
    for line, row in built.train.items():
        text = words(row.text)
        grams = ngrams(text)
        equal = {name for name, item in items.items() if item == text}
        sharing = {name for gram in grams for name in holders.get(gram, ())}
        shares = {name: coverage(items[name], grams) for name in sharing}
        best = max(shares.values(), default=0.0)
        if equal:
            found.equal[line] = equal
        elif best >= MIN_COVERAGE:
            found.covered[line] = {name for name, share in shares.items() if share == best}
        if sharing:
            found.sharing.add(line)
        if line not in found.contaminated:
            held = [short[part] for part in slices(text, set(map(len, short))) if part in short]
            if held:
                found.contained[line] = set().union(*held)
    return found


def test_overlap_of_the_file_is_what_is_known_of_it(overlap: Overlap) -> None:
    assert len(overlap.sharing) == ROWS_SHARING_AN_NGRAM
    assert len(overlap.equal) >= 7
    assert len(overlap.covered) > 0
    assert len(overlap.idiom) > 0


# --- what the pipeline made of it ---------------------------------------------------------


def test_real_banking77_every_row_is_read_and_ingested_or_rejected(built: Built) -> None:
    batch = built.context.warehouse.table("batches").row(0, named=True)
    assert len(built.train) == TRAIN_ROWS
    assert batch["rows_read"] == TRAIN_ROWS
    assert batch["rows_ingested"] + batch["rows_rejected"] == TRAIN_ROWS
    assert built.table("ingest").height == batch["rows_ingested"]
    assert built.table("rejects").height == batch["rows_rejected"]


def test_real_banking77_every_text_arrives_whole(built: Built) -> None:
    prompts = built.table("ingest").select("line", pl.col("messages").list.first().struct.field("content"))
    collected = dict(prompts.iter_rows())
    with_newlines = {line: row.text for line, row in built.train.items() if "\n" in row.text}
    assert len(with_newlines) == ROWS_WITH_NEWLINES
    assert {line: collected.get(line) for line in with_newlines} == with_newlines
    assert collected == {line: row.text for line, row in built.train.items()}


def test_real_banking77_contaminated_rows_are_exactly_those_dropped(built: Built, overlap: Overlap) -> None:
    judged = built.table(Step.DECONTAMINATE)
    dropped = judged.filter(pl.col("reason") == "contaminated")
    reached = set(judged["line"])
    assert set(dropped["line"]) == overlap.contaminated.keys() & reached
    # What an earlier step dropped was a duplicate or filtered, and says so: it is in no release either.
    released = set(pl.read_parquet(built.release / "provenance.parquet")["line"])
    assert not overlap.contaminated.keys() & released


def test_real_banking77_contaminated_rows_name_their_item(built: Built, overlap: Overlap) -> None:
    dropped = built.table(Step.DECONTAMINATE).filter(pl.col("reason") == "contaminated")
    for line, match, eval_set, item, detail in dropped.select(
        "line", "match", "eval_set", "eval_item", "detail"
    ).iter_rows():
        assert match == ("equal" if line in overlap.equal else "coverage")
        assert eval_set == "test"
        assert item in overlap.contaminated[line]
        assert json.loads(detail)["item"] == item


def test_real_banking77_rows_with_an_idiom_stay(built: Built, overlap: Overlap) -> None:
    judged = built.table(Step.DECONTAMINATE)
    idioms = judged.filter(pl.col("line").is_in(list(overlap.idiom - overlap.contained.keys())))
    assert idioms.height > 0
    assert idioms["kept"].all()
    assert (idioms["overlap_fraction"] < MIN_COVERAGE).all()
    assert (idioms["overlap_fraction"] > 0).all()


def test_real_banking77_rows_around_a_short_item_wait_in_review(built: Built, overlap: Overlap) -> None:
    judged = built.table(Step.DECONTAMINATE)
    waiting = judged.filter(pl.col("reason") == "in_review")
    contained = waiting.filter(pl.col("match") == "contained")
    assert set(contained["line"]) == overlap.contained.keys() & set(judged["line"])
    for line, item in contained.select("line", "eval_item").iter_rows():
        assert item in overlap.contained[line]
    # Short questions on one subject are alike: few of them may pass for another in other words.
    reworded = waiting.filter(pl.col("match") == "paraphrase")
    assert reworded.height + contained.height == waiting.height
    assert reworded.height <= 0.01 * judged.height
    assert (
        judged.filter(~pl.col("kept")).height
        == waiting.height + judged.filter(pl.col("reason") == "contaminated").height
    )


def test_real_banking77_every_label_survives(built: Built) -> None:
    released = pl.concat(
        pl.read_parquet(file) for file in sorted((built.release / "parquet").glob("*.parquet"))
    )
    assert set(released["label"]) == {row.category for row in built.train.values()}
    assert released["label"].n_unique() == 77
    answers = released["messages"].list.last().struct.field("content")
    assert (answers == released["label"]).all()


def test_real_banking77_every_row_is_accounted_for_once(built: Built) -> None:
    tables = [
        pl.read_parquet(built.release / f"{name}.parquet") for name in ("provenance", "dropped", "rejects")
    ]
    lines = [line for table in tables for line in table["line"]]
    assert sorted(lines) == sorted(built.train)
    assert all(set(table["uri"]) <= {"train.csv"} for table in tables)


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


def texts_of(path: Path) -> Iterator[str]:
    """Every string in a released file, by its format."""
    match path.suffix:
        case ".parquet":
            yield from strings(pl.read_parquet(path).to_dicts())
        case ".jsonl":
            for line in path.read_text(encoding="utf-8").splitlines():
                yield from strings(json.loads(line))
        case ".json":
            yield from strings(json.loads(path.read_text(encoding="utf-8")))
        case _:
            yield from path.read_text(encoding="utf-8").splitlines()


def test_real_banking77_no_test_text_is_in_any_released_file(built: Built) -> None:
    # One test row ("Pending transfer?") reads like the name of a label, which every release is full of.
    labels = {words(row.category) for row in built.train.values()}
    items = {words(row.text) for row in built.test.values()} - labels
    lengths = {len(item) for item in items if len(item) >= MIN_CONTAINED}
    files = sorted(path for path in built.release.rglob("*") if path.is_file())
    assert {path.suffix for path in files} == {".parquet", ".jsonl", ".json", ".md"}
    seen: set[tuple[str, ...]] = set()
    for path in files:
        for text in texts_of(path):
            tokens = words(text)
            if not tokens or tokens in seen:
                continue
            seen.add(tokens)
            assert tokens not in items, path
            assert not slices(tokens, lengths) & items, path
    assert len(seen) > TRAIN_ROWS / 2  # the release was read


def test_real_banking77_release_is_whole(built: Built) -> None:
    found = verify(built.release)
    assert found.problems == ()
    assert found.is_whole


def test_real_banking77_second_run_publishes_nothing(built: Built) -> None:
    assert all(not outcome.is_noop for outcome in built.first)
    assert all(outcome.is_noop for outcome in built.second)
    published = built.context.warehouse.query("SELECT DISTINCT run_id FROM main.publications")
    assert published["run_id"].to_list() == ["first"]
    assert [
        path.name for path in (built.root / "releases").iterdir() if path.is_dir() and not path.is_symlink()
    ] == [built.release.name]
