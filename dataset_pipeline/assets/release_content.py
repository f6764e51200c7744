"""What a release is made of: every published table of it, and which of its records are released.

Lives here: reading and selecting. Keep out: numbers (`release_facts`), writing and judging (`releasing`).
"""

from __future__ import annotations

import datetime as dt
import json
from typing import cast

import polars as pl

from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.release_facts import Content
from dataset_pipeline.progress import REPORTER
from dataset_pipeline.records import DAILY_STEPS, PROTECTED, RELEASE, REVIEWS, Step
from dataset_pipeline.spec.params import ReleaseParams
from dataset_pipeline.storage import frames, tokenizers
from dataset_pipeline.text import SIDED
from dataset_pipeline.transforms import release as shapes
from dataset_pipeline.transforms import tokens as lengths
from dataset_pipeline.transforms.selection import Selection, erased_rows, select


def content_of(
    context: Context, days: list[dt.date], calendar: list[dt.date], erased: pl.DataFrame
) -> Content:
    """Everything published of `days`, selected and measured.

    calendar: the days of the project, whose dropped records are told too. erased: record_id and place of records that are
    to be erased; their day may not have been made again yet. Raises SpecError for a tokenizer that cannot be used.
    """
    REPORTER.get().phase(RELEASE, "reading tables")
    warehouse = context.warehouse
    with warehouse.reading():
        # Without texts: of those only what is kept is needed, and a million of each step are gigabytes.
        tables = {str(step): frames.verdicts(warehouse, step, calendar) for step in DAILY_STEPS}
        wanted = ["record_id", "day", "source", *SIDED, "label"]
        parts = [
            part.select(wanted) for part in frames.records_in_parts(warehouse, Step.SPLIT, days, _AT_ONCE)
        ]
        batches, rejects = (warehouse.table(name, calendar) for name in ("batches", "rejects"))
        protected, agreement, reviews = (warehouse.table(name) for name in (PROTECTED, "agreement", REVIEWS))
    tables, not_made = _followed(tables)
    splits = tables[Step.SPLIT].filter("kept").select("record_id", "split")
    records = pl.concat([part.join(splits, on="record_id", how="inner") for part in parts])
    del parts  # every frame of texts that is still held is half a gigabyte of a million records
    params = cast(ReleaseParams, context.params[RELEASE])
    gone = records.join(erased, on="record_id", how="semi")
    if gone.height:
        records = records.join(gone, on="record_id", how="anti")
    selection = select(
        records, tables[Step.LABEL], params.task.answers_are_labels, tables[Step.DEDUP],
        has_pairs=params.task.type == "preference",
    )  # fmt: skip
    del records
    released = shapes.with_row_numbers(selection.released)
    selection = Selection(released, pl.concat([selection.withheld, erased_rows(gone, erased)]))
    REPORTER.get().phase(RELEASE, "counting tokens")
    counter = tokenizers.load(context.project.root, params.training)
    tokens = lengths.measure(released, params.task, params.training, params.chars_per_token, counter)
    return Content(
        tables, batches, rejects, protected, selection, released, not_made, agreement, reviews, tokens
    )


_AT_ONCE = 100_000
"""Records that are read at a time."""


def _followed(tables: dict[str, pl.DataFrame]) -> tuple[dict[str, pl.DataFrame], pl.DataFrame]:
    """The rows of records that reached their step as it is published now, and the records that got no verdict.

    They differ from the tables only where the gate of a step was closed after the steps before it
    had published anew: rows of records that are not collected any more, or were dropped since, are left out.
    """
    reached = tables[Step.INGEST].select("record_id")
    followed, waiting = {}, []
    for step in DAILY_STEPS:
        strays = tables[step].join(reached, on="record_id", how="anti").height
        # Nearly always there are none: the table itself then, and no second one.
        followed[str(step)] = (
            tables[step].join(reached, on="record_id", how="semi", maintain_order="left")
            if strays
            else tables[step]
        )
        unjudged = reached.join(tables[step], on="record_id", how="anti")
        detail = json.dumps({"rule": "not_made", "step": str(step)}, separators=(",", ":"))
        waiting.append(
            unjudged.select("record_id", pl.lit("not_made").alias("reason"), pl.lit(detail).alias("detail"))
        )
        reached = followed[str(step)].filter("kept").select("record_id")
    return followed, pl.concat(waiting).sort("record_id")
