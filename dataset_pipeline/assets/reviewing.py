"""The reviews: verdicts of people about single records, and the erasures that follow from them.

Lives here: reading the spec's review files, finding whom they mean among the collected records, what is shown to
their gate. Keep out: what a verdict does (`transforms.reviews`, `transforms.erasure`), publishing (`inputs`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import polars as pl

from dataset_pipeline.assets import recipes
from dataset_pipeline.assets.context import Context, Made
from dataset_pipeline.assets.listing import files_of, hashes_of, rows_of
from dataset_pipeline.expectations.reviews import REVIEWS_SUITE, review_frames
from dataset_pipeline.records import REVIEWS, TABLES, content_hash
from dataset_pipeline.spec.load import Project
from dataset_pipeline.spec.params import ReviewsParams
from dataset_pipeline.spec.reading import Reading
from dataset_pipeline.storage import frames
from dataset_pipeline.transforms import erasure, reviews


@dataclass(frozen=True)
class _Found:
    """TABLES['reviews'], TABLES['erasures'], and the rows that no verdict could be made of."""

    verdicts: pl.DataFrame
    erasures: pl.DataFrame
    unusable: list[reviews.Unusable]


def reviews_recipe(context: Context) -> recipes.Recipe:
    """The files, and whom they mean: a record that is collected later gives its verdict a meaning."""
    params = cast(ReviewsParams, context.params[REVIEWS])
    reads = hashes_of(context.project, _patterns(params))
    if reads:
        found = _found(context)
        reads["records named"] = content_hash(found.verdicts)
        if found.erasures.height:
            reads["records erased"] = content_hash(found.erasures)
    return recipes.recipe(REVIEWS, params.hash(), reads)


def reviews_made(context: Context) -> Made:
    """The verdicts as they stand. Raises SpecError for a file that is none of verdicts."""
    found = _found(context)

    def judged(staged: dict[str, pl.DataFrame]) -> tuple[pl.DataFrame, pl.DataFrame]:
        return review_frames(staged[REVIEWS], found.unusable)

    tables = {REVIEWS: found.verdicts, "erasures": found.erasures}
    return Made(tables, REVIEWS_SUITE, judged)


def _patterns(params: ReviewsParams) -> list[tuple[str, str]]:
    return [(path, f"reviews[{n}]") for n, path in enumerate(params.paths)]


def read_verdicts(project: Project) -> tuple[pl.DataFrame, list[reviews.Unusable]]:
    """What the review files say, and their rows that say nothing. Raises SpecError for a file that is none of reviews."""
    params = cast(ReviewsParams, project.params[REVIEWS])
    files = {uri: path for pattern in _patterns(params) for uri, path in files_of(project, *pattern)}
    listed = rows_of(sorted(files.items()), Reading(format="csv"), reviews.missing_columns)
    verdicts, unusable = reviews.verdicts(listed.rows, params)
    return verdicts, [*unusable, *(reviews.Unusable(*broken) for broken in listed.broken)]


def _found(context: Context) -> _Found:
    verdicts, unusable = read_verdicts(context.project)
    if not verdicts.height:
        return _Found(verdicts, pl.DataFrame(schema=TABLES["erasures"]), unusable)
    known = frames.known_records(context.warehouse)
    before = context.warehouse.table(REVIEWS)
    resolved = reviews.resolved(verdicts, known, before)
    if not known.height:
        # Nothing was collected yet: that is no fault of a verdict.
        resolved = resolved.with_columns(state=pl.col("state").replace("unknown_record", "acts"))
    named = resolved.filter(pl.col("verdict") == "erase")
    if named.height == 0:
        return _Found(resolved, pl.DataFrame(schema=TABLES["erasures"]), unusable)
    twins = frames.dedup_twins(context.warehouse)
    erasures = erasure.erasures(named, known, twins, context.warehouse.table("erasures"))
    return _Found(resolved, erasures, unusable)
