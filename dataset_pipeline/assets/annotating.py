"""The annotations: what several people answered about the same items, their consensus and their agreement.

Lives here: reading the spec's annotation files, what is shown to their gate. Keep out: how a consensus is made
(`transforms.annotations`), publishing (`inputs`), what a label becomes (`transforms.label`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import cast

import polars as pl

from dataset_pipeline.assets import recipes
from dataset_pipeline.assets.context import Context, Made
from dataset_pipeline.assets.listing import files_of, hashes_of, rows_of
from dataset_pipeline.expectations.annotations import annotation_frames, annotations_suite
from dataset_pipeline.records import ANNOTATIONS, TABLES, content_hash
from dataset_pipeline.spec.load import Project
from dataset_pipeline.spec.params import AnnotationsParams
from dataset_pipeline.spec.reading import Reading, format_of
from dataset_pipeline.storage import frames
from dataset_pipeline.transforms.agreement import agreement
from dataset_pipeline.transforms.annotations import Unusable, answers, missing_columns, resolved
from dataset_pipeline.transforms.consensus import consensus


@dataclass(frozen=True)
class _Found:
    answers: pl.DataFrame
    unusable: list[Unusable]


def annotations_recipe(context: Context) -> recipes.Recipe:
    """The files, and whom they mean."""
    params = cast(AnnotationsParams, context.params[ANNOTATIONS])
    reads = hashes_of(context.project, [(s.path, _place(n)) for n, s in enumerate(params.sets)])
    if reads:
        found = _found(context)
        reads["records named"] = content_hash(found.answers.select("record", "source", "source_id", "state"))
    return recipes.recipe(ANNOTATIONS, params.hash(), reads)


def annotations_made(context: Context) -> Made:
    """Answers, consensus and agreement. Raises SpecError for a file that is none of annotations."""
    params = cast(AnnotationsParams, context.params[ANNOTATIONS])
    found = _found(context)
    decided = consensus(found.answers, params)
    measured = agreement(found.answers, decided, params)

    def judged(staged: dict[str, pl.DataFrame]) -> tuple[pl.DataFrame, pl.DataFrame]:
        return annotation_frames(
            staged[ANNOTATIONS], staged["consensus"], staged["agreement"], found.unusable
        )

    tables = {ANNOTATIONS: found.answers, "consensus": decided, "agreement": measured}
    return Made(tables, annotations_suite(params.min_agreement), judged, _notes(measured))


def _place(number: int) -> str:
    return f"label.annotations[{number}]"


def read_answers(project: Project) -> tuple[pl.DataFrame, list[Unusable]]:
    """What the annotation files say, and their rows that say nothing. Raises SpecError for a file that is none of them."""
    params = cast(AnnotationsParams, project.params[ANNOTATIONS])
    parts = [pl.DataFrame(schema=TABLES[ANNOTATIONS])]
    unusable: list[Unusable] = []
    names = frozenset(source.name for source in project.spec.sources)
    for number, one in enumerate(params.sets):
        lacking = partial(missing_columns, annotation_set=one)
        for uri, path in files_of(project, one.path, _place(number)):
            reading = Reading(format=format_of(uri), encoding=one.encoding, delimiter=one.delimiter)
            listed = rows_of([(uri, path)], reading, lacking)
            said, bad = answers(listed.rows, one, params, names)
            parts.append(said)
            unusable += [*bad, *(Unusable(*broken) for broken in listed.broken)]
    return pl.concat(parts), unusable


def _found(context: Context) -> _Found:
    said, unusable = read_answers(context.project)
    if not said.height:
        return _Found(said, unusable)
    known = frames.known_records(context.warehouse)
    found = resolved(said, known)
    if not known.height:
        # Nothing was collected yet: that is no fault of an answer.
        found = found.with_columns(state=pl.col("state").replace("unknown_record", "counted"))
    return _Found(found, unusable)


def _notes(measured: pl.DataFrame) -> tuple[str, ...]:
    alpha = measured.filter((pl.col("measure") == "alpha") & pl.col("value").is_not_null())
    return tuple(
        f"Krippendorff's alpha {value:.3f} over {n} items"
        for value, n in alpha.select("value", "n").iter_rows()
    )
