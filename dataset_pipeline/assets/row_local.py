"""The steps whose rows depend on one record each: filter, normalize, decontaminate. Only what is new to them is computed.

Lives here: one `Work` per step, made of storage reads, one pure transform and an `Audit`. Keep out: which rows stand
(`standing`), anything that decides about a record (`transforms`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import polars as pl

from dataset_pipeline.assets.context import Context, Days, Stage, Work
from dataset_pipeline.assets.parts import Arrived, arrived, carried, in_parts, simple
from dataset_pipeline.assets.scrubbing import helpers_of
from dataset_pipeline.assets.undated import Undated
from dataset_pipeline.expectations import decontaminate as suite
from dataset_pipeline.expectations import normalize as suite_normalize
from dataset_pipeline.progress import REPORTER
from dataset_pipeline.records import PROTECTED, Step
from dataset_pipeline.spec.params import DecontaminateParams, FilterParams, NormalizeParams
from dataset_pipeline.storage import history
from dataset_pipeline.transforms.decontaminate import decontaminate
from dataset_pipeline.transforms.filter import decide, examples_dropped, filter_records, same_measurements
from dataset_pipeline.transforms.formats import PREFERENCE
from dataset_pipeline.transforms.normalize import normalize
from dataset_pipeline.transforms.reviews import apply_reviews


def filter_work(context: Context, undated: Undated, days: Days, stage: Stage) -> Work:
    params = cast(FilterParams, context.params[Step.FILTER])
    known = history.settings_of(
        context.warehouse, {p.params_hash for (step, _), p in undated.latest.items() if step == Step.FILTER}
    )
    # Of preference pairs one measurement is not kept: they are measured anew.
    has_pairs = context.project.spec.task.type == PREFERENCE

    def measures_the_same(params_hash: str) -> bool:
        return not has_pairs and params_hash in known and same_measurements(known[params_hash], params)

    came = arrived(context, undated, Step.FILTER, days, measures_the_same)
    REPORTER.get().phase(Step.FILTER, "measuring")
    memo = context.memo(Step.FILTER)
    table = in_parts(
        context, Step.FILTER, days, came, stage,
        lambda records: _reviewed(filter_records(records, params, memo), undated, Step.FILTER, days),
        lambda rows: decide(rows.drop("kept", "reason", "detail"), params),
    )  # fmt: skip
    extras = {"examples": examples_dropped(params)}
    return _work(context, Step.FILTER, days, came, table, carried(table, came.every), extras)


def normalize_work(context: Context, undated: Undated, days: Days, stage: Stage) -> Work:
    params = cast(NormalizeParams, context.params[Step.NORMALIZE])
    came = arrived(context, undated, Step.NORMALIZE, days)
    REPORTER.get().phase(Step.NORMALIZE, "cleaning, languages, personal data")
    helpers = helpers_of(context.project, params.pii)
    memo = context.memo(Step.NORMALIZE)
    named = []

    def clean(records: pl.DataFrame) -> pl.DataFrame:
        # For the gate: here, because what the columns say is at hand.
        known = records.filter(pl.col("person_names").list.len() > 0).select("record_id", "person_names")
        nobodys = pl.element().str.to_lowercase().is_in([name.lower() for name in params.pii.allow])
        named.append(known.with_columns(pl.col("person_names").list.eval(pl.element().filter(~nobodys))))
        return normalize(records, params, memo, helpers)

    table = in_parts(context, Step.NORMALIZE, days, came, stage, clean)
    names = pl.concat(named) if named else pl.DataFrame(schema=suite_normalize.NAMES)
    wanted = params.pii.entities if params.pii.action != "keep" else ()
    entities = pl.DataFrame({"entity": list(wanted)}, schema={"entity": pl.String})
    handed = table.filter("kept").select("record_id", "day", "clean_sha")
    return _work(context, Step.NORMALIZE, days, came, table, handed, {"entities": entities, "names": names})


def decontaminate_work(context: Context, undated: Undated, days: Days, stage: Stage) -> Work:
    params = cast(DecontaminateParams, context.params[Step.DECONTAMINATE])
    came = arrived(context, undated, Step.DECONTAMINATE, days)
    protected = context.warehouse.table(PROTECTED)
    REPORTER.get().phase(Step.DECONTAMINATE, "searching for protected items")
    holding = []

    def search(records: pl.DataFrame) -> pl.DataFrame:
        # For the gate, in another way than the step's own: here, because the texts are at hand.
        holding.append(suite.holding(records, protected, params.ngram))
        found = decontaminate(records, protected, params)
        return _reviewed(found, undated, Step.DECONTAMINATE, days)

    table = in_parts(context, Step.DECONTAMINATE, days, came, stage, search)
    held = pl.concat(holding) if holding else came.every.select("record_id", "day").clear()
    handed = carried(table, came.every)
    return _work(context, Step.DECONTAMINATE, days, came, table, handed, {"holding": held})


def _reviewed(table: pl.DataFrame, undated: Undated, step: Step, days: Days) -> pl.DataFrame:
    """The step's table with what people said about its records."""
    named = undated.named(step, days)
    return table if named is None else apply_reviews(table, step, named)


def _work(
    context: Context, step: Step, days: Days, came: Arrived, table: pl.DataFrame,
    handed: pl.DataFrame, extras: dict[str, pl.DataFrame],
) -> Work:  # fmt: skip
    """table: the rows of the step without texts; all of them are staged already."""
    notes = (
        (f"{came.fresh.height} records are new to it, {came.standing.height} stand as they were",)
        if came.standing.height
        else ()
    )
    extras = {**extras, "standing": came.standing.select("record_id")}
    return replace(simple(context, step, days, came.every, table, handed, extras, notes), tables={})
