"""`explain`: where a record or a rejected row came from, and what every step did with it.

Lives here: finding what a name means, its history, and the words. Keep out: texts of records; `explain` shows
where a record is, not what it says.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.engine import context_of
from dataset_pipeline.cli import outputs, show
from dataset_pipeline.cli.finding import BrokenRelease, read_rows
from dataset_pipeline.cli.outputs import ExplainOutput, Left, RejectedRow, Story, line_of
from dataset_pipeline.errors import Problem, SpecError
from dataset_pipeline.records import DAILY_STEPS, TABLES, Step
from dataset_pipeline.spec.load import load_project
from dataset_pipeline.storage import releases

ERASED = "erased"
UNREADABLE = "cannot be read: `dataset-pipeline verify` says what is wrong with it"

MAX_SHOWN = 20
"""A JSON document on one line begins thousands of records there: so many are told, the others counted."""


def explain(record: str, spec: Path, as_json: bool) -> int:
    """Origin, rights, each step's verdict with its measures, and the release. Raises SpecError for an unknown record.

    A name that many records or rejected rows share tells the first MAX_SHOWN of each, in (day, file, byte)
    order, and counts the others; the JSON list then ends with {"more": records, "more_rejected": rows}, each
    key only where it is not zero.
    """
    out = show.console(as_json)
    context = context_of(load_project(spec))
    place = _place(context, record)
    found, rejected = _find(context, record, place), _rejected(context, place)
    if not found.ids and not rejected.rows:
        raise SpecError(
            [Problem(record, "no record or rejected row is known by that name.",
                     "Give a record id, SOURCE:ID with the source's own id, or FILE:LINE as in `status` and the manifest.")]
        )  # fmt: skip
    stories = _stories(context, found.ids)
    for story in stories:
        _print_story(out, story)
    if found.more:
        out.print(f"{_more(found.more, 'record')} {found.how(found.more)}; name one by its id")
    for row in rejected.rows:
        _print_rejected(out, row)
    if rejected.more:
        out.print(
            f"{_more(rejected.more, 'row')} of this line {_verb(rejected.more, 'was', 'were')} rejected"
        )
    if as_json:
        counted = {"more": found.more, "more_rejected": rejected.more}
        left = {key: n for key, n in counted.items() if n}
        print(line_of(ExplainOutput([*stories, *rejected.rows, *([Left(**left)] if left else [])])))
    return 0


def _more(count: int, thing: str) -> str:
    return f"and {count} more {thing}{_verb(count, '', 's')}"


def _verb(count: int, one: str, many: str) -> str:
    return one if count == 1 else many


# --- what a name means --------------------------------------------------------------------


@dataclass(frozen=True)
class _Place:
    """FILE:LINE; a file named from where the user stands is relative to the project."""

    uri: str
    line: int

    IS_HERE = "(uri = ? OR ends_with(uri, '/' || ?)) AND line = ?"

    @property
    def values(self) -> list[str | int]:
        """What IS_HERE asks for."""
        return [self.uri, self.uri, self.line]


@dataclass(frozen=True)
class _Records:
    """The first ids that a name means, and how many more it means."""

    ids: list[str]
    more: int = 0
    is_place: bool = False

    def how(self, count: int) -> str:
        if self.is_place:
            return f"{_verb(count, 'begins', 'begin')} on this line"
        return f"{_verb(count, 'goes', 'go')} by this name"


@dataclass(frozen=True)
class _Rejects:
    """The first rejected rows of a place, as stories, and how many more there are."""

    rows: list[RejectedRow]
    more: int = 0


def _place(context: Context, record: str) -> _Place | None:
    """FILE and LINE of FILE:LINE; None where the name has no line."""
    path, _, line = record.rpartition(":")
    if not path or not (line.isascii() and line.isdigit() and len(line) < 19):  # what fits the column
        return None
    here = Path(path).resolve()
    is_inside = here.is_file() and here.is_relative_to(context.project.root)
    return _Place(here.relative_to(context.project.root).as_posix() if is_inside else path, int(line))


def _find(context: Context, record: str, place: _Place | None) -> _Records:
    """By record id (or its beginning, eight digits at least), else by SOURCE:ID, else by FILE:LINE."""
    found = _records(context, "record_id = ? OR (length(?) >= 8 AND starts_with(record_id, ?))", [record] * 3)
    if not found.ids and ":" in record:
        found = _records(context, "source = ? AND source_id = ?", record.split(":", 1))
    if not found.ids and place is not None:
        found = _records(context, place.IS_HERE, place.values, is_place=True)
    return found


def _records(
    context: Context, condition: str, values: Sequence[str | int], is_place: bool = False
) -> _Records:
    frame = context.warehouse.query(
        f"""SELECT record_id, count(*) OVER () AS n FROM main."{Step.INGEST}" WHERE {condition}
        ORDER BY day, uri, byte_offset, source, record_id LIMIT {MAX_SHOWN}""",
        list(values),
    )
    ids = frame["record_id"].to_list()
    return _Records(ids, frame["n"][0] - len(ids) if ids else 0, is_place)


def _rejected(context: Context, place: _Place | None) -> _Rejects:
    """What was refused at a place, whether or not a record begins there too."""
    if place is None:
        return _Rejects([])
    # Of a day that was refused, the rejects wait in staging: nothing of it is published.
    frame = context.warehouse.query(
        f"""SELECT *, count(*) OVER () AS n FROM (
            SELECT DISTINCT day, source, uri, line, byte_offset, reason, detail
            FROM (SELECT * FROM rejects UNION ALL BY NAME SELECT * EXCLUDE (token) FROM staging.rejects)
            WHERE {place.IS_HERE})
        ORDER BY day, uri, byte_offset, source, reason, detail LIMIT {MAX_SHOWN}""",
        place.values,
    )
    more = frame["n"][0] - frame.height if frame.height else 0
    rows = [
        RejectedRow(rejected=outputs.Rejected(**(row | {"day": str(row["day"])})))
        for row in frame.drop("n").iter_rows(named=True)
    ]
    return _Rejects(rows, more)


# --- histories ----------------------------------------------------------------------------

_HIDDEN = frozenset({"record_id", "day", "kept", "reason", "detail", "review", "messages", "rejected", "bands", "comparison_key", "prompt_key",
                     "answer_key", "content_sha", "clean_sha", "person_names", "pii_spans"})  # fmt: skip


def _stories(context: Context, ids: list[str]) -> list[Story]:
    """The history of each record, in the order of `ids`: one query a table, however many records."""
    if not ids:
        return []
    origins = context.warehouse.query(
        f"""SELECT i.record_id, i.source, i.source_id, i.day::VARCHAR AS day, i.uri, i.line, i.byte_offset,
            b.license, b.holder, b.basis, array_to_string(b.uses, ', ') AS uses, b.kind, b.sha256 AS file_sha256
        FROM main."{Step.INGEST}" i LEFT JOIN batches b ON b.day = i.day AND b.source = i.source AND b.uri = i.uri
        WHERE i.record_id IN (SELECT unnest(?))""",
        [ids],
    )
    origin_of = {row["record_id"]: outputs.Origin(**row) for row in origins.iter_rows(named=True)}
    verdicts = {step: _verdicts(context, step, ids) for step in DAILY_STEPS}
    release_of = _in_release(context, ids)
    stories = []
    for record_id in ids:
        steps: list[outputs.StepStory] = []
        for step in DAILY_STEPS:
            if record_id not in verdicts[step]:
                break
            steps.append(verdicts[step][record_id])
            if steps[-1].reason == ERASED:
                break  # what later steps made of it before is made anew without it
        is_erased = bool(steps) and steps[-1].reason == ERASED
        stories.append(
            Story(origin=origin_of[record_id], is_erased=is_erased, steps=steps, release=release_of.get(record_id))
        )  # fmt: skip
    return stories


def _verdicts(context: Context, step: Step, ids: list[str]) -> dict[str, outputs.StepStory]:
    """Record id to what a step measured and decided. The columns that hold texts are not read."""
    measures = [name for name in TABLES[step] if name not in _HIDDEN] if step != DAILY_STEPS[0] else []
    has_review = "review" in TABLES[step]
    read = ("record_id", "kept", "reason", "detail", *(["review"] if has_review else []), *measures)
    columns = ", ".join(f'"{name}"' for name in read)
    frame = context.warehouse.query(
        f'SELECT {columns} FROM main."{step}" WHERE record_id IN (SELECT unnest(?))', [ids]
    )
    return {
        row["record_id"]: outputs.StepStory(
            step=str(step),
            kept=row["kept"],
            reason=row["reason"],
            detail=_parsed(row["detail"]),
            review=_parsed(row.get("review")),
            measured={name: row[name] for name in measures if row[name] is not None},
        )
        for row in frame.iter_rows(named=True)
    }


def _parsed(text: str | None) -> dict[str, Any] | None:
    return json.loads(text) if text else None


def _in_release(context: Context, ids: list[str]) -> dict[str, outputs.InRelease]:
    """Record id to what the release of `latest` did with it; nothing where there is no release."""
    version = releases.latest_version(context.project.releases_path)
    if version is None:
        return {}
    folder = context.project.releases_path / version
    try:
        kept = _rows_of(folder / "provenance.parquet", ids, ["split", "row"])
        gone = _rows_of(folder / "dropped.parquet", ids, ["step", "reason", "detail"])
    except BrokenRelease:
        # The history does not depend on the release; `verify` says what is wrong with it.
        return {i: outputs.InRelease(version=version, released=None, reason=UNREADABLE) for i in ids}
    told: dict[str, outputs.InRelease] = {}
    for record_id in ids:
        if record_id in kept:
            told[record_id] = outputs.InRelease(version=version, released=True, **kept[record_id])
            continue
        why = gone.get(record_id, {"step": None, "reason": "collected after this release", "detail": None})
        why = why | {"detail": _parsed(why["detail"])}
        told[record_id] = outputs.InRelease(version=version, released=False, **why)
    return told


def _rows_of(path: Path, ids: list[str], columns: list[str]) -> dict[str, dict[str, Any]]:
    frame = read_rows(path, ["record_id", *columns], ids)
    return {record_id: dict(zip(columns, values, strict=True)) for record_id, *values in frame.iter_rows()}


# --- words --------------------------------------------------------------------------------


def _print_rejected(out: Console, row: RejectedRow) -> None:
    r = row.rejected
    out.print(
        f"{r.uri}:{r.line} was rejected: {r.reason} ({r.detail}), byte {r.byte_offset}, source {r.source}"
    )


def _print_story(out: Console, story: Story) -> None:
    origin = story.origin
    name = f"{origin.source}:{origin.source_id}" if origin.source_id else origin.source
    out.print(f"record {origin.record_id} ({name})")
    out.print(f"  from    {origin.uri}, line {origin.line}, collected {origin.day}")
    out.print(f"  rights  {origin.license}, {origin.holder}, {origin.basis}; uses: {origin.uses}")
    for step in story.steps:
        verdict = "kept" if step.kept else f"dropped: {step.reason}"
        if step.reason == ERASED:
            verdict = "erased: its text is gone for good, and no step follows"
        why = f"  {_words(step.detail)}" if step.detail else ""
        out.print(f"  {step.step:<14}{verdict}{why}")
        if step.review:
            out.print(f"{'':16}review: {_words(step.review)[1:-1]}")
        shown = {k: v for k, v in step.measured.items() if v not in ([], "")}
        if shown:
            out.print(
                f"{'':16}" + ", ".join(f"{k} {_value(v)}" for k, v in shown.items()),
                style="dim" if out.is_terminal else None,
            )
    _print_release(out, story)


def _print_release(out: Console, story: Story) -> None:
    release = story.release
    if release is None:
        out.print("  release       none yet")
    elif release.released is None:
        out.print(f"  release       {release.version}: {release.reason}")
    elif release.released:
        still = " (it was erased since: the next run releases anew)" if story.is_erased else ""
        out.print(f"  release       {release.version}: {release.split}, row {release.row}{still}")
    else:
        step = f" by {release.step}" if release.step else ""
        why = f"  {_words(release.detail)}" if release.detail else ""
        out.print(f"  release       not in {release.version}{step}: {release.reason}{why}")


def _words(detail: dict[str, Any]) -> str:
    return "(" + ", ".join(f"{k} {_value(v)}" for k, v in detail.items()) + ")"


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list) and value and isinstance(value[0], dict) and "name" in value[0]:
        return " ".join(f"{item['name']} {item['count']}" for item in value)
    return str(value)
