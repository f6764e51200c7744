"""Housekeeping at the end of a run: no trace of erased records, no text and no release kept longer than the spec allows.

Lives here: when texts are taken out, what is rewritten, and what is told about it. Keep out: who is erased
(`transforms.erasure`, acting in `intake`), SQL and files (`storage.rewriting`), which releases stay (`keeping`).

Every part can be killed and is finished by the next call: the warehouse remembers that a rewrite is due in the
transaction that makes it so, and forgets it after the new file is in its place.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import cast

import polars as pl

from dataset_pipeline import clock
from dataset_pipeline.assets import keeping
from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.undated import Undated
from dataset_pipeline.records import Step, sha256_text
from dataset_pipeline.spec.params import DedupParams
from dataset_pipeline.storage import erased_releases, frames, rewriting
from dataset_pipeline.storage.locks import hold_run_lock
from dataset_pipeline.transforms import dedup

_NAMED = 20
"""Places and releases that are named one by one, at most."""
_AT_ONCE = 20_000
"""Records whose texts are taken out in one transaction: bounds memory and changes no result."""


@dataclass(frozen=True)
class Housekept:
    """What was done, and what is left for the user to mend.

    erased: erased records that raw files still hold. removed: texts that retention took out now. is_rewritten: the
    warehouse's file is a new one. releases: version to the number of erased records it holds (None: cannot be
    read). places: uri, line, record_id, source of the rows that hold them. dismissed: releases that were removed now,
    because newer ones are kept. words: all of it, as lines to print.
    """

    erased: int
    removed: int
    is_rewritten: bool
    releases: dict[str, int | None]
    places: pl.DataFrame
    dismissed: tuple[str, ...]
    words: tuple[str, ...]


def housekeeping(context: Context, since: dt.datetime | None = None) -> Housekept:
    """Take out what must not stay, and rewrite the files that held it. A no-op where nothing has to go.

    since: releases that were removed from then on are told again (the report's own housekeeping removed them).

    Raises WarehouseBusy where another process holds the warehouse for too long: the next run does it then.
    """
    warehouse, project = context.warehouse, context.project
    hold_run_lock(warehouse.path)
    rewriting.clear_remains(warehouse.path)
    erased, wanted = rewriting.erased_records(warehouse), _wanted(context)
    now = _hash(wanted)
    is_changed = rewriting.meta(warehouse, rewriting.ERASED_KEY) != now
    if wanted.height and (is_changed or rewriting.texts_left(warehouse, wanted)):
        rewriting.remove_texts(warehouse, wanted)
        is_changed = True
    removed = _retain(context)
    # The set may also have become empty: a verdict was withdrawn, and nothing has to be forgotten.
    is_due = rewriting.is_rewrite_due(warehouse) or (is_changed and wanted.height > 0)
    busy: list[str] = []
    if is_due:
        if is_changed:
            # Its keys are hashes of texts; what it remembers is made again.
            rewriting.discard(project.cache_path)
        rewriting.rewrite(warehouse.path, warehouse.wait_seconds)
        if project.dagster_home.exists():
            busy = [path.name for path in rewriting.vacuum_sqlite(project.dagster_home)]
    if is_due or is_changed:
        rewriting.note_rewritten(warehouse, now)
    ids = wanted["record_id"].drop_nulls().to_list()
    # Before what is left of them is searched for erased records.
    dismissed = keeping.keep_newest(context, since)
    releases = erased_releases.releases_with(project.releases_path, ids)
    erased_releases.discard_refused(project.releases_path, ids)
    waiting = _waiting(context, erased)
    words = [
        *_erased_words(erased, wanted, waiting, releases), *_done_words(removed, is_due, busy), *dismissed.words
    ]  # fmt: skip
    places = erased.select("uri", "line", "record_id", "source")
    return Housekept(erased.height, removed, is_due, releases, places, dismissed.versions, tuple(words))


def _wanted(context: Context) -> pl.DataFrame:
    """record_id, source, source_id of all that is to be forgotten: what ingest has erased, what erasures take and
    ingest could not make again, and what they name and is not collected any more (its line was taken out)."""
    columns = ["record_id", "source", "source_id"]
    undated = Undated(context, context.warehouse.latest())
    named = undated.erasures.select(pl.col("record").alias("record_id"), "source", "source_id")
    erased = rewriting.erased_records(context.warehouse).select(columns)
    return pl.concat([erased, undated.erased.select(columns), named]).unique().sort(columns)


def _waiting(context: Context, erased: pl.DataFrame) -> list[dt.date]:
    """Days that hold records of erasures and could not be made again: their rows are there, without texts."""
    taken = Undated(context, context.warehouse.latest()).erased
    return sorted(taken.join(erased, on="record_id", how="anti")["day"].unique())


def _hash(wanted: pl.DataFrame) -> str | None:
    names = [f"{record or ''} {source or ''} {own or ''}" for record, source, own in wanted.iter_rows()]
    return sha256_text(*names) if names else None


# --- retention ----------------------------------------------------------------------------


def _retain(context: Context) -> int:
    """Take out the texts of dropped records that are older than the spec allows. Returns how many."""
    days = context.project.spec.retention.dropped_text_days
    if days is None:
        return 0
    due = rewriting.texts_due(context.warehouse, clock.now().date() - dt.timedelta(days=days))
    for part in due.iter_slices(_AT_ONCE):
        rewriting.remove_texts(context.warehouse, part.with_columns(_no_source()), _shingles(context, part))
    return due.height


def _no_source() -> list[pl.Expr]:
    return [pl.lit(None, pl.String).alias(name) for name in ("source", "source_id")]


def _shingles(context: Context, due: pl.DataFrame) -> pl.DataFrame:
    """record_id, day, shingles: the sets of those that later records are compared with, null for the others."""
    params = cast(DedupParams, context.params[Step.DEDUP])
    known = due.filter("is_known")["record_id"].to_list()
    texts = frames.messages_of(context.warehouse, known, clean=False)
    # A text that went before, of a record that is due again for its other columns, has its shingles already.
    remembered = [name for name in ("shingle_hashes",) if name in texts.columns]
    made = dedup.shingle_hashes(texts, params).alias("shingles")
    held = texts.select("record_id", *remembered).with_columns(made)
    if remembered:
        held = held.with_columns(shingles=pl.coalesce("shingle_hashes", "shingles")).drop(remembered)
    return due.select("record_id", "day").join(held, on="record_id", how="left", maintain_order="left")


# --- words --------------------------------------------------------------------------------


def _erased_words(
    erased: pl.DataFrame, wanted: pl.DataFrame, waiting: list[dt.date], releases: dict[str, int | None]
) -> list[str]:
    if wanted.height == 0:
        return []
    kinds = dict(erased.group_by("because").len().iter_rows())
    counted = ", ".join(
        f"{kinds[word]} {word}" for word in ("named", "copy", "near", "child") if word in kinds
    )
    told = f" ({counted})" if counted else ": what the verdicts name is not collected (any more)"
    lines = [f"erased: {erased.height} {_records(erased.height)}{told}"]
    if waiting:
        days = ", ".join(map(str, waiting[:_NAMED]))
        lines.append(
            f"  {days}: could not be made again without records to be erased; their texts are gone, and no new release holds them"
        )
    rows = erased.group_by("uri", maintain_order=True).agg(pl.col("line").sort())
    for uri, numbers in rows.head(_NAMED).iter_rows():
        shown = ", ".join(map(str, numbers[:_NAMED])) + (
            f" and {len(numbers) - _NAMED} more" if len(numbers) > _NAMED else ""
        )
        lines.append(
            f"  the raw file {uri} still holds erased text, line {shown}: take it out there, if it is yours to change"
        )
    if rows.height > _NAMED:
        lines.append(f"  and {rows.height - _NAMED} more raw files")
    for version, count in sorted(releases.items()):
        if count is None:
            lines.append(
                f"  release {version}: its provenance cannot be read; look whether it holds erased records"
            )
        else:
            lines.append(
                f"  release {version} still holds {count} erased {_records(count)}: delete it once nobody trains from it"
            )
    return lines


def _done_words(removed: int, is_rewritten: bool, busy: list[str]) -> list[str]:
    lines = []
    if removed:
        lines.append(f"retention: the texts of {removed} dropped {_records(removed)} were removed")
    if is_rewritten:
        lines.append("the warehouse's file was written anew, without what was removed")
    if busy:
        lines.append(f"in use and not written anew: {', '.join(busy[:_NAMED])}")
    return lines


def _records(count: int) -> str:
    return "record" if count == 1 else "records"
