"""Whatever becomes of the data, a group that was ever tested is never trained on, given that the lock is kept.

Lives here: histories of a project (relabelled, scrubbed better, sources added and removed, filtered otherwise, days in
any order) for every strategy, through the pure functions and through whole runs. Keep out: single rules of assignment
(`test_assignment`).
"""

from __future__ import annotations

import datetime as dt
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from dataset_pipeline.memo import direct
from dataset_pipeline.records import MESSAGES, RECORDS, Step
from dataset_pipeline.spec.models import Near, Ratios
from dataset_pipeline.spec.params import SplitParams
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline.transforms import split
from dataset_pipeline.transforms.assignment import assigned, no_lock
from dataset_pipeline_tests import small_project as small

STRATEGIES = ("hash", "stratified", "temporal")
DAYS = [dt.date(2026, 3, n) for n in (2, 3, 4)]
WINDOWS = {"validation": (DAYS[1], DAYS[1]), "test": (DAYS[2], DAYS[2])}


def params(strategy: str) -> SplitParams:
    return SplitParams(
        answers_are_labels=True,
        ratios=Ratios(train=0.4, validation=0.3, test=0.3),
        strategy=strategy,
        seed=7,
        near=Near(),
        ngram=3,
        **(WINDOWS if strategy == "temporal" else {}),
    )


# --- through the pure functions -----------------------------------------------------------

Row = dict[str, Any]
_STEM = "the export of the yearly invoice list stops at page {} and shows an empty sheet on the tablet of {}"


def _row(number: int, order: random.Random) -> Row:
    return {
        "id": f"{number:032x}",
        "day": order.choice(DAYS),
        "source": order.choice("ab"),
        "group": order.choice([None, *(f"g{n}" for n in range(6))]),
        "label": order.choice(["bug", "wish"]),
        # Few texts: equal and nearly equal ones meet across groups.
        "text": _STEM.format(order.choice(["four", "nine", "ten"]), order.choice(["Jo", "Al", "Mia", "Ben"])),
    }


def _relabel(rows: list[Row], order: random.Random) -> list[Row]:
    return [row | {"label": order.choice(["bug", "wish"])} for row in rows]


def _scrub_better(rows: list[Row], order: random.Random) -> list[Row]:
    """The cleaned text changes, the collected one does not."""
    names = order.sample(["Jo", "Al", "Mia", "Ben"], 2)
    clean = [row.get("clean", row["text"]) for row in rows]
    for name in names:
        clean = [text.replace(name, "[PERSON]") for text in clean]
    return [row | {"clean": text} for row, text in zip(rows, clean, strict=True)]


def _remove_a_source(rows: list[Row], order: random.Random) -> list[Row]:
    gone = order.choice("ab")
    return [row for row in rows if row["source"] != gone]


def _filter_otherwise(rows: list[Row], order: random.Random) -> list[Row]:
    return [row for row in rows if order.random() < 0.6]


def _add_rows(rows: list[Row], order: random.Random) -> list[Row]:
    first = 1 + max((int(row["id"], 16) for row in rows), default=0)
    return [*rows, *(_row(first + n, order) for n in range(8))]


CHANGES: list[Callable[[list[Row], random.Random], list[Row]]] = [
    _relabel, _scrub_better, _remove_a_source, _filter_otherwise, _add_rows,
]  # fmt: skip


def records_of(rows: list[Row]) -> pl.DataFrame:
    def messages(text: str, label: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": text}, {"role": "assistant", "content": label}]

    made = [
        {
            "record_id": row["id"], "day": row["day"], "source": row["source"], "source_rank": 1, "label": row["label"],
            "messages": messages(row.get("clean", row["text"]), row["label"]), "group": row["group"], "person_names": [],
            "may_evaluate": True, "content_sha": row["id"], "collected_messages": messages(row["text"], row["label"]),
        }
        for row in rows
    ]  # fmt: skip
    return pl.DataFrame(made, schema=RECORDS | {"collected_messages": MESSAGES})


def made(
    rows: list[Row], strategy: str, lock: pl.DataFrame, order: list[dt.date]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The split rows of all days, and the lock: days in `order` give groups out, then a whole range is published."""
    records, setting = records_of(rows), params(strategy)
    for days in [*([day] for day in order), DAYS]:
        part = records.filter(pl.col("day").is_in(days))
        splits, added = assigned(split.groups(part), setting, lock)
        lock = pl.concat([lock, added])
    prints = split.fingerprint(records, setting, direct, splits)
    nothing = pl.DataFrame(schema=split.FINGERPRINT)
    pairs = split.candidates(prints, nothing, setting)
    return split.split_records(records, prints, nothing, pairs, records.clear(), setting), lock


class Watched:
    """What was ever trained on and tested, over all states that were published."""

    def __init__(self) -> None:
        self.tested: set[str] = set()

    def look(self, table: pl.DataFrame) -> None:
        kept = table.filter("kept")
        splits = kept.group_by("group_key").agg(pl.col("split").n_unique().alias("splits"))
        assert splits.filter(pl.col("splits") > 1).height == 0
        texts = kept.group_by("comparison_key").agg(pl.col("split").n_unique().alias("splits"))
        assert texts.filter(pl.col("splits") > 1).height == 0
        # Also of dropped rows: they were assigned all the same.
        self.tested |= set(table.filter(pl.col("split") == "test")["group_key"])
        assert not self.tested & set(table.filter(pl.col("split") == "train")["group_key"])


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(
    max_examples=12, deadline=None, derandomize=True, database=None, phases=(Phase.explicit, Phase.generate)
)
@given(
    changes=st.lists(st.sampled_from(CHANGES), min_size=1, max_size=5),
    seed=st.integers(0, 10**6),
)
def test_group_that_was_tested_never_trains_through_any_changes(
    strategy: str, changes: list[Callable[[list[Row], random.Random], list[Row]]], seed: int
) -> None:
    order = random.Random(seed)
    rows = [_row(number, order) for number in range(20)]
    lock, watched = no_lock(), Watched()
    for change in [lambda rows, _: rows, *changes]:
        rows = change(rows, order)
        days = order.sample(DAYS, len(DAYS))
        table, lock = made(rows, strategy, lock, days)
        watched.look(table)
    assert lock["group"].n_unique() == lock.height


@pytest.mark.parametrize("strategy", ["stratified", "temporal"])
def test_group_that_was_tested_trains_once_the_lock_is_lost(strategy: str) -> None:
    """Shows that the test above looks at something: without the lock these changes do move groups."""
    order = random.Random(1)
    rows = [_row(number, order) for number in range(60)]
    lock, watched = no_lock(), Watched()
    with pytest.raises(AssertionError):
        for change in (lambda rows, _: rows, _filter_otherwise, _relabel, _filter_otherwise, _add_rows):
            rows = change(rows, order)
            table, _ = made(rows, strategy, lock, [])
            watched.look(table)


# --- through whole runs -------------------------------------------------------------------

SPLITS: dict[str, dict[str, Any]] = {
    "hash": {"ratios": {"train": 0.6, "validation": 0.2, "test": 0.2}},
    "stratified": {"strategy": "stratified", "ratios": {"train": 0.6, "validation": 0.2, "test": 0.2}},
    "temporal": {"strategy": "temporal", "validation": [small.DAYS[1], small.DAYS[1]], "test": [small.DAYS[3], small.DAYS[4]]},
}  # fmt: skip


@pytest.fixture
def ungated(monkeypatch: pytest.MonkeyPatch) -> None:
    small.switch_gates_off(monkeypatch)


def split_rows(root: Path) -> pl.DataFrame:
    return small.open_project(root).warehouse.table(Step.SPLIT)


def _inbox(root: Path, day: str, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
    """Change the rows of an inbox file; None takes a row out."""
    path = root / f"sources/inbox/{day}.jsonl"
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = change(json.loads(line))
        except json.JSONDecodeError:
            continue
        if row is not None:
            lines.append(json.dumps(row, ensure_ascii=False))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def histories(root: Path, spec: dict[str, Any]) -> Iterator[str]:
    """Changes one after the other, each by its name once its files are written."""
    yield "first"
    _inbox(root, small.DAYS[0], lambda row: row | {"label": "praise"})
    yield "relabelled"
    spec["normalize"] = {"languages": ["en"], "pii": {"entities": ["EMAIL_ADDRESS"]}}
    small.write_spec(root, spec)
    yield "scrubbed otherwise"
    spec["sources"] = [s for s in small._spec()["sources"] if s["name"] != "store"]
    small.write_spec(root, spec)
    yield "a source removed"
    spec["filter"] = {"input": {"min_words": 14}}
    small.write_spec(root, spec)
    yield "filtered otherwise"
    _inbox(root, small.DAYS[1], lambda row: None if row["customer"] else row)
    yield "earliest records gone"
    extra = [
        {
            "id": f"N{n}",
            "message": small.message(110 + n),
            "label": small.LABELS[n % 3],
            "customer": f"C{n}",
            "sender": None,
        }
        for n in range(30)
    ]
    (root / f"sources/inbox/{small.DAY_WITHOUT_FILES}.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in extra), encoding="utf-8"
    )
    yield "a day filled"
    del spec["sources"], spec["filter"]
    small.write_spec(root, spec)
    yield "a source added, filtered as before"


LONG = pytest.param("temporal", marks=pytest.mark.faults)


@pytest.mark.faults
@pytest.mark.parametrize("strategy", ["stratified", "temporal", "hash"])
def test_group_that_was_tested_never_trains_through_runs(
    strategy: str, ungated: None, tmp_path: Path
) -> None:
    spec: dict[str, Any] = {"split": SPLITS[strategy]}
    root = small.make_project(tmp_path / "project", spec)
    watched, lock = Watched(), b""
    for number, name in enumerate(histories(root, spec)):
        small.run_all(root, f"{number} {name}")
        watched.look(split_rows(root))
        if strategy != "hash":
            held = (root / "splits.lock.csv").read_bytes()
            assert set(lock.splitlines()) <= set(held.splitlines()), name
            lock = held
    assert watched.tested
    assert (root / "splits.lock.csv").exists() is (strategy != "hash")
    release_run_lock(root / "warehouse.duckdb")


@pytest.mark.faults
@pytest.mark.parametrize("strategy", ["stratified", LONG])
def test_days_in_another_order_with_the_same_lock_end_the_same(
    strategy: str, ungated: None, tmp_path: Path
) -> None:
    spec = {"split": SPLITS[strategy]}
    one = small.make_project(tmp_path / "one", spec)
    small.run_all(one)
    other = small.make_project(tmp_path / "other", spec)
    (other / "splits.lock.csv").write_bytes((one / "splits.lock.csv").read_bytes())
    context = small.open_project(other)
    small.run_all(other, "protected and all")
    for day in (small.DAYS[4], small.DAYS[2], small.DAYS[0]):
        small.run_days(context, [dt.date.fromisoformat(day)], f"again {day}")
    small.run_all(other, "filling")
    assert split_rows(other).equals(split_rows(one))
    assert (other / "splits.lock.csv").read_bytes() == (one / "splits.lock.csv").read_bytes()
    for root in (one, other):
        release_run_lock(root / "warehouse.duckdb")


@pytest.mark.faults
@pytest.mark.parametrize("strategy", ["stratified", LONG])
def test_lock_made_day_by_day_is_the_one_that_a_whole_run_makes(
    strategy: str, ungated: None, tmp_path: Path
) -> None:
    spec = {"split": SPLITS[strategy]}
    whole = small.make_project(tmp_path / "whole", spec)
    small.run_all(whole)
    parts = small.make_project(tmp_path / "parts", spec)
    hidden = {path: path.read_bytes() for day in small.DAYS[2:] for path in parts.glob(f"sources/*/{day}.*")}
    written = parts / "sources/written.jsonl"
    late = written.read_bytes()
    for path in hidden:
        path.unlink()
    written.write_bytes(b"")
    small.run_all(parts, "first two days")
    for day in small.DAYS[2:]:
        for path, data in hidden.items():
            if path.name.startswith(day):
                path.write_bytes(data)
        if day == "2026-03-05":
            written.write_bytes(late)
        small.run_all(parts, day)
    assert (parts / "splits.lock.csv").read_bytes() == (whole / "splits.lock.csv").read_bytes()
    assert split_rows(parts).equals(split_rows(whole))
    for root in (whole, parts):
        release_run_lock(root / "warehouse.duckdb")
