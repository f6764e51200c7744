"""What a run of a step appends to `publications`, and what it has read and must still find there.

Lives here: recipe, content and handover of each day that was made. Keep out: computing, judging and publishing
(`engine`), the recipe itself (`recipes`).
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping

import polars as pl

from dataset_pipeline.assets import recipes
from dataset_pipeline.assets.context import INGEST_HANDOVER, Context, Work
from dataset_pipeline.assets.recipes import Recipe
from dataset_pipeline.assets.undated import UNDATED_OF, Undated
from dataset_pipeline.records import LOOK_BACK_STEPS, Step, content_hash, sha256_text
from dataset_pipeline.storage.publishing import Day, NewPublication, Publication

Files = Mapping[dt.date, Mapping[str, tuple[str, str]]]
"""day to uri to (source, sha256)."""


def file_map(context: Context) -> dict[dt.date, dict[str, tuple[str, str]]]:
    """day to uri to (source, sha256); a file of which several sources read different parts is named with each."""
    files: dict[dt.date, dict[str, tuple[str, str]]] = {}
    for file in context.found.files:
        of_day = files.setdefault(file.day, {})
        name = f"{file.uri} ({file.source})" if file.uri in of_day else file.uri
        of_day[name] = (file.source, context.hashes[file.uri])
    return files


def publications(
    context: Context,
    undated: Undated,
    step: Step,
    todo: tuple[dt.date, ...],
    done: Work,
    staged: pl.DataFrame,
    extras: dict[str, pl.DataFrame],
    latest: recipes.Latest,
    is_again: bool,
) -> tuple[list[NewPublication], list[Day]]:
    """What is appended per day, and the days whose rows stay (same content under a new recipe).

    is_again: rows are replaced although nothing of them that is hashed differs.

    Look-back recipes need what this run hands over on its own earlier days, so they are made in order.
    """
    seen = recipes.Past(latest)
    files = file_map(context)
    result: list[NewPublication] = []
    unchanged: list[Day] = []
    parts = {name: _by_day(frame) for name, frame in {step: staged, **extras}.items()}
    handed = staged.filter("kept").select(INGEST_HANDOVER) if done.carried is None else done.carried
    carried = _by_day(handed)
    for day in todo:
        rows = parts[step].get(day, staged.clear())
        reads = _undated_reads(undated, step, day, rows)
        now = recipes.day_recipe(context.params, step, day, seen.latest, files, reads, seen)
        assert now is not None  # `_todo` has seen every input published
        content = content_of_day(
            {name: frames.get(day, _none(name, staged, extras)) for name, frames in parts.items()}
        )
        handover = content_hash(carried.get(day, handed.clear()))
        new = _publication(day, now, content, handover, rows)
        before = latest.get((step, day))
        seen.put(step, day, _as_published(step, new))
        is_same = before is not None and before.content == content and not is_again
        if is_same and before is not None and before.recipe == now.hash:
            continue
        result.append(new)
        if is_same:
            unchanged.append(day)
    return result, unchanged


def content_of_day(tables: Mapping[str, pl.DataFrame]) -> str:
    """One hash over what is published of a step's day: its table and those published with it, by name."""
    return sha256_text(*(content_hash(frame) for _, frame in sorted(tables.items())))


def _undated_reads(undated: Undated, step: Step, day: dt.date, rows: pl.DataFrame) -> dict[str, str]:
    """`Undated.reads` as it will be once `rows` are published: of ingest and split it depends on them."""
    if step == Step.INGEST:
        return undated.erasure_reads(erased_facts(rows))
    if step == Step.SPLIT:
        return undated.lock_reads(rows["group_key"].unique()) if rows.height else {}
    return undated.reads(step, day)


def erased_facts(rows: pl.DataFrame) -> pl.DataFrame:
    """ERASED_FACTS of the erased rows of TABLES['ingest'], from their detail."""
    erased = rows.filter(pl.col("reason") == "erased")
    details = [json.loads(detail) for detail in erased["detail"]]
    return erased.select("record_id").with_columns(
        because=pl.Series([d["because"] for d in details], dtype=pl.String),
        place=pl.Series([d["threshold"] for d in details], dtype=pl.String),
    )


def _none(name: str, staged: pl.DataFrame, extras: dict[str, pl.DataFrame]) -> pl.DataFrame:
    return extras.get(name, staged).clear()


def _by_day(frame: pl.DataFrame) -> dict[dt.date, pl.DataFrame]:
    return {
        key[0]: part for key, part in frame.partition_by("day", as_dict=True, maintain_order=True).items()
    }


def _publication(
    day: dt.date, now: Recipe, content: str, handover: str, rows: pl.DataFrame
) -> NewPublication:
    return NewPublication(
        day=day,
        recipe=now.hash,
        content=content,
        handover=handover,
        params_hash=now.params_hash,
        inputs=now.inputs,
        row_count=rows.height,
        kept_count=rows.filter("kept").height,
    )


def _as_published(step: str, new: NewPublication) -> Publication:
    return Publication(
        -1, step, new.day, new.recipe, new.content, new.handover, new.params_hash, new.inputs, new.row_count,
        new.kept_count, "",
    )  # fmt: skip


def reads_of(
    step: Step, todo: tuple[dt.date, ...], latest: recipes.Latest
) -> dict[tuple[str, Day], int | None]:
    """Everything this run has read and must still be the newest when it publishes."""
    steps = list(Step)
    before = steps[: steps.index(step)]
    reads: dict[tuple[str, Day], int | None] = {}
    for name in before:
        for day in todo:
            published = latest.get((name, day))
            reads[(name, day)] = published.seq if published else None
    for (other, past), publication in latest.items():
        is_own_past = other == step and step in LOOK_BACK_STEPS and past is not None and past < todo[0]
        # Looking back joins what the steps before say of those days; label also asks what dedup dropped there.
        joined = {
            Step.DEDUP: (Step.INGEST,),
            Step.LABEL: (Step.DEDUP,),
            Step.SPLIT: (Step.INGEST, Step.LABEL),
        }
        is_past = past is not None and past < todo[0]
        if is_own_past or (is_past and other in joined.get(step, ())):
            reads[(other, past)] = publication.seq
    for undated in UNDATED_OF[step]:
        made = latest.get((undated, None))
        reads[(undated, None)] = made.seq if made else None
    for day in todo:
        own = latest.get((step, day))
        reads[(step, day)] = own.seq if own else None
    return reads
