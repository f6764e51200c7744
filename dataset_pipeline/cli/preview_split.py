"""`preview split`: other seeds, strategies, ratios and windows, side by side.

Lives here: the output, how it is made and shown. Keep out: assigning (`transforms.assignment`), counting
(`transforms.previewing`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, Literal, cast

import polars as pl
from pydantic import Field
from rich.console import Console

from dataset_pipeline.cli import show
from dataset_pipeline.cli.outputs import Output
from dataset_pipeline.cli.published import MAX_LABELS, print_rest, print_table, query, run_first
from dataset_pipeline.cli.setting import Change, changes
from dataset_pipeline.records import Split, Step
from dataset_pipeline.spec.load import Project
from dataset_pipeline.spec.params import SplitParams
from dataset_pipeline.storage import split_lock
from dataset_pipeline.transforms.assignment import assigned, no_lock, uses_lock
from dataset_pipeline.transforms.previewing import LabelShares, SplitFacts, split_facts

SEEDS = (7, 11, 23, 42, 101)
"""Seeds to compare where none is named: any will do, and these are the same for everybody."""
STRATEGIES = ("hash", "stratified")
"""Strategies that need no further word; temporal needs windows."""


class Shares(Output):
    """Records by split."""

    label: str | None
    records: dict[str, int]
    shares: dict[str, float]


class Option(Output):
    """One way to split."""

    name: str
    is_now: bool = Field(description="As the spec says.")
    is_best: bool = Field(description="The least worst error.")
    strategy: str
    seed: int
    ratios: dict[str, float] | None = Field(description="Null for temporal.")
    windows: dict[str, list[str]] | None = Field(description="temporal: split to first and last day.")
    total: Shares
    labels: list[Shares]
    worst_error: float | None = Field(
        description="Largest distance of a share from its ratio, over labels and splits."
    )
    worst_label: str | None
    worst_split: str | None
    mean_error: float | None
    fewest_test_records: int
    fewest_test_label: str | None
    moved_groups: int = Field(description="Groups in another split than they are published in.")
    moved_records: int
    without_right: int = Field(description="Records it would drop: held out without the right to evaluate.")


class SplitPreview(Output):
    """Ways to split, side by side."""

    step: Literal["split"]
    options: list[Option]
    notes: list[str]


def preview_split(project: Project, sets: Sequence[str]) -> SplitPreview:
    records = _split_records(project)
    lock_path = project.root / split_lock.NAME
    lock = split_lock.read(lock_path)
    asked = changes(project, Step.SPLIT, sets) or _usual(project)
    options = [_option("now", True, project, records, lock)]
    options += [_option(change.words, False, change.project, records, lock) for change in asked]
    scored = [o for o in options if o.worst_error is not None]
    if scored:
        best = min(scored, key=lambda o: (o.worst_error, o.mean_error))
        options = [o.model_copy(update={"is_best": o is best}) for o in options]
    return SplitPreview(
        step="split", options=options, notes=_split_notes(project, options, lock, len(records))
    )


def _usual(project: Project) -> list[Change]:
    """What is compared where nothing is said: other seeds, and the other strategy."""
    now = project.spec.split
    seeds = [] if now.strategy == "temporal" else [s for s in SEEDS if s != now.seed]
    return [
        *(changes(project, Step.SPLIT, [f"seed={seed}" for seed in seeds])),
        *(changes(project, Step.SPLIT, [f"strategy={name}" for name in STRATEGIES if name != now.strategy])),
    ]


def _split_records(project: Project) -> pl.DataFrame:
    """A row for each record that reached split: group_key, day, label, split, may_evaluate."""
    frame = query(
        project,
        """SELECT s.group_key, s.day, l.label, s.split, i.may_evaluate FROM main."split" s
        JOIN main."label" l ON l.record_id = s.record_id AND l.day = s.day
        JOIN main."ingest" i ON i.record_id = s.record_id AND i.day = s.day
        WHERE l.kept ORDER BY s.day, s.record_id""",
    )
    types = {
        "group_key": pl.String,
        "day": pl.Date,
        "label": pl.String,
        "split": pl.String,
        "may_evaluate": pl.Boolean,
    }
    return frame.select(pl.col(name).cast(dtype) for name, dtype in types.items())


def _option(name: str, is_now: bool, project: Project, records: pl.DataFrame, lock: pl.DataFrame) -> Option:
    params = cast(SplitParams, project.params[Step.SPLIT])
    held = lock if uses_lock(params) else no_lock()
    splits, _ = assigned(records.select("group_key", "day", "label"), params, held)
    is_temporal = params.strategy == "temporal"
    facts = split_facts(records, splits, None if is_temporal else params.ratios)
    windows = {Split.VALIDATION: params.validation, Split.TEST: params.test}
    return Option(
        name=name,
        is_now=is_now,
        is_best=False,
        strategy=params.strategy,
        seed=params.seed,
        ratios=None if is_temporal else {s.value: params.ratios.of(s) for s in Split},
        windows={s.value: [d.isoformat() for d in w] for s, w in windows.items() if w}
        if is_temporal
        else None,
        **_facts(facts),
    )


def _facts(facts: SplitFacts) -> dict[str, Any]:
    return {
        "total": _shares(facts.whole),
        "labels": [_shares(part) for part in facts.labels],
        "worst_error": _rounded(facts.worst_error),
        "worst_label": facts.worst_label,
        "worst_split": facts.worst_split,
        "mean_error": _rounded(facts.mean_error),
        "fewest_test_records": facts.fewest_test.records[Split.TEST.value],
        "fewest_test_label": facts.fewest_test.label,
        "moved_groups": facts.moved_groups,
        "moved_records": facts.moved_records,
        "without_right": facts.without_right,
    }


def _shares(part: LabelShares) -> Shares:
    shares = {split.value: round(part.share(split), 6) for split in Split}
    return Shares(label=part.label, records=part.records, shares=shares)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _split_notes(project: Project, options: list[Option], lock: pl.DataFrame, records: int) -> list[str]:
    notes = run_first(project, Step.SPLIT)
    arrived = query(project, 'SELECT count(*) AS n FROM main."label" WHERE kept')["n"].item()
    if arrived > records:
        notes.append(
            f"{arrived - records} more records have not reached split: `dataset-pipeline run` takes them there."
        )
    if lock.height and any(o.strategy != "hash" for o in options):
        groups = "1 group" if lock.height == 1 else f"{lock.height} groups"
        notes.append(
            f"{split_lock.NAME} holds {groups}: they stay whatever is set, unless the strategy is hash."
        )
    if any(o.moved_groups for o in options):
        notes.append(
            "Moving groups after a release breaks the test set: records trained on would then be tested, and the reverse."
        )
    return notes


def print_split(out: Console, found: SplitPreview) -> None:
    names = _short_names(found)
    rows = [
        (
            f"{name}{' *' if option.is_best else ''}",
            *(f"{option.total.shares[s]:.1%}" for s in Split),
            _worst_words(option),
            _of_label(str(option.fewest_test_records), option.fewest_test_label),
            str(option.moved_groups),
        )
        for name, option in zip(names, found.options, strict=True)
    ]
    columns = ("option", *(s.value for s in Split), "worst error", "fewest test", "moved groups")
    print_table(out, columns, rows)
    for name, option in zip(names, found.options, strict=True):
        if name != option.name:
            out.print(f"{name}: {option.name}")
        for split, (first, last) in (option.windows or {}).items():
            days = show.day_range(dt.date.fromisoformat(first), dt.date.fromisoformat(last))
            out.print(f"{name}: {split} holds groups first collected {days}")
    if any(option.is_best for option in found.options):
        out.print(
            "* the least worst error: how far a share is from its ratio, at most, over labels and splits"
        )
    for name, option in zip(names, found.options, strict=True):
        if option.is_now or option.is_best:
            _print_option(out, name, option)


MAX_NAME_CHARS = 22
"""A longer name would squeeze the columns of its table: it stands below."""


def _short_names(found: SplitPreview) -> list[str]:
    return [
        option.name if len(option.name) <= MAX_NAME_CHARS else f"option {number}"
        for number, option in enumerate(found.options)
    ]


def _print_option(out: Console, name: str, option: Option) -> None:
    """Its records by label, and what of them would be dropped."""
    cells = [
        (part.label or "all", *(f"{part.records[s]} ({part.shares[s]:.1%})" for s in Split))
        for part in [*option.labels[:MAX_LABELS], option.total]
    ]
    print_table(out, (f"records, {name}", *(s.value for s in Split)), cells)
    print_rest(out, "label", len(option.labels))
    if option.without_right:
        out.print(f"{name}: {option.without_right} held out without the right to evaluate would be dropped")


def _worst_words(option: Option) -> str:
    if option.worst_error is None:
        return ""
    return _of_label(f"{option.worst_error:.1%}", option.worst_label or option.worst_split)


def _of_label(words: str, label: str | None) -> str:
    return words if label is None else f"{words} {label}"
