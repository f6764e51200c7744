"""The steps that look at other records: dedup, label, split. Texts are held only of those that must be compared.

Lives here: one `Work` per step, made of storage reads, pure transforms and an `Audit`. Keep out: anything that decides
about a record (`transforms`), steps that look at one record alone (`row_local`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import polars as pl

from dataset_pipeline.assets import same_meaning
from dataset_pipeline.assets.context import Context, Days, Work
from dataset_pipeline.assets.parts import Arrived, arrived, carried, computed, rows_in, simple
from dataset_pipeline.assets.undated import Undated
from dataset_pipeline.errors import StalePublish
from dataset_pipeline.expectations import split as split_suite
from dataset_pipeline.expectations.common import Audit
from dataset_pipeline.progress import REPORTER
from dataset_pipeline.records import Split, Step
from dataset_pipeline.spec.params import DedupParams, LabelParams, SplitParams
from dataset_pipeline.storage import frames, history, split_lock
from dataset_pipeline.text import rejected_side, with_sides
from dataset_pipeline.transforms import assignment, dedup, split
from dataset_pipeline.transforms.label import label_keys, label_records
from dataset_pipeline.transforms.selection import contested


def dedup_work(context: Context, undated: Undated, days: Days) -> Work:
    params = cast(DedupParams, context.params[Step.DEDUP])
    records = arrived(context, undated, Step.DEDUP, days)
    REPORTER.get().phase(Step.DEDUP, "fingerprints")
    consensus = undated.consensus(days) if params.answers_are_labels else None
    memo = context.memo(Step.DEDUP)
    fingerprints = computed(
        context, Step.DEDUP, records.fresh, lambda part: dedup.fingerprint(part, params, memo, consensus)
    )
    if fingerprints is None:
        fingerprints = pl.DataFrame(schema=dedup.FINGERPRINT)
    before = frames.dedup_history(context.warehouse, min(days))
    REPORTER.get().phase(Step.DEDUP, "candidates")
    met = dedup.met(fingerprints, before)
    found = dedup.candidates(fingerprints, met, params)
    twins = frames.messages_of(context.warehouse, found.pairs["other_id"].unique().to_list(), clean=False)
    REPORTER.get().phase(Step.DEDUP, "verifying")
    if params.semantic is None:
        compared = dedup.compared_ids(fingerprints, found.pairs)
        texts = frames.messages_of(context.warehouse, compared.to_list(), clean=False)
        table = dedup.dedup(texts, fingerprints, met, found.pairs, twins, params)
    else:
        # Who says the same may be anybody: the texts of the range and of the whole history are held at once.
        ids = [*fingerprints["record_id"], *before["record_id"]]
        texts = frames.messages_of(context.warehouse, ids, clean=False)
        table = same_meaning.table_of(context, fingerprints, before, texts, params)
    notes = (
        (
            f"{found.capped_buckets} buckets are filled by a shared template: up to {found.left_out} comparisons were left out",
        )
        if found.capped_buckets
        else ()
    )
    handed = carried(table, records.every, "answer_key")
    return simple(context, Step.DEDUP, days, records.every, table, handed, {"history": before}, notes)


def label_work(context: Context, undated: Undated, days: Days) -> Work:
    params = cast(LabelParams, context.params[Step.LABEL])
    records = arrived(context, undated, Step.LABEL, days, _same_keys(context, undated, Step.LABEL))
    REPORTER.get().phase(Step.LABEL, "comparing prompts")
    fresh = computed(context, Step.LABEL, records.fresh, lambda part: label_keys(part, params))
    stood = frames.columns_of(
        context.warehouse, Step.LABEL, list(LABEL_KEYS), days, records.standing["record_id"]
    )
    keys = stood if fresh is None else pl.concat([fresh, stood])
    before = frames.label_history(context.warehouse, min(days))
    known = None
    if params.answers_are_labels or params.has_pairs:
        known = contested(frames.dedup_answers(context.warehouse, max(days)))
    table = label_records(
        records.every,
        before,
        params,
        _known_by_day(known),
        undated.consensus(days),
        undated.named(Step.LABEL, days),
        keys,
    )
    labels = pl.DataFrame({"label": list(params.labels)}, schema={"label": pl.String})
    handed = carried(table, records.every, "label", "prompt_key", "answer_key")
    return simple(
        context, Step.LABEL, days, records.every, table, handed, {"labels": labels, "history": before}
    )


def _same_keys(context: Context, undated: Undated, step: Step) -> Callable[[str], bool]:
    """Whether keys and fingerprints of params of a hash are those of today: the settings that they depend on are equal."""
    today = context.params[step].model_dump(mode="json")
    known = history.settings_of(
        context.warehouse, {p.params_hash for (name, _), p in undated.latest.items() if name == step}
    )
    names = FINGERPRINTED[step]
    now = _parts(today, names)
    return lambda params_hash: params_hash in known and _parts(known[params_hash], names) == now


FINGERPRINTED: dict[Step, tuple[str, ...]] = {
    Step.LABEL: ("version", "answers_are_labels", "has_pairs"),
    Step.SPLIT: (
        "version", "answers_are_labels", "has_pairs", "ngram", "near.bands", "near.rows", "near.seed",
    ),
}  # fmt: skip
"""The leaves of params that keys and fingerprints depend on; all others only decide."""
LABEL_KEYS = ("record_id", "prompt_key", "answer_key")


def _parts(settings: Mapping[str, Any], names: tuple[str, ...]) -> list[Any]:
    found = []
    for name in names:
        at: Any = settings
        for part in name.split("."):
            at = at.get(part) if isinstance(at, Mapping) else None
        found.append(at)
    return found


def _known_by_day(known: pl.DataFrame | None) -> pl.Series | None:
    """Contested records as their own day sees them: what a later day adds is measured at the release."""
    return None if known is None else known.filter(pl.col("since") <= pl.col("day"))["record_id"]


def split_work(context: Context, undated: Undated, days: Days) -> Work:
    params = cast(SplitParams, context.params[Step.SPLIT])
    records = arrived(context, undated, Step.SPLIT, days, _same_keys(context, undated, Step.SPLIT))
    REPORTER.get().phase(Step.SPLIT, "fingerprints")
    measured = _measured(context, records, days, params)
    groups = records.every.select("record_id", "day", "label").join(
        measured.select("record_id", "group_key"), on="record_id", how="left", maintain_order="left"
    )
    splits, added = assignment.assigned(groups.drop("record_id"), params, undated.lock)
    fingerprints = split.with_splits(measured, params, splits)
    before = frames.split_history(context.warehouse, min(days))
    if not params.answers_are_labels:
        before = before.with_columns(answer_key=pl.lit(""))
    pairs = split.candidates(fingerprints, before, params)
    twins = frames.messages_of(context.warehouse, pairs["other_id"].unique().to_list(), clean=True)
    REPORTER.get().phase(Step.SPLIT, "verifying")
    compared = split.compared_ids(fingerprints, pairs)
    texts = frames.messages_of(context.warehouse, compared.to_list(), clean=True)
    rights = records.every.select("record_id", "may_evaluate")
    table = split.split_records(
        rights.join(texts, on="record_id", how="left"), fingerprints, before, pairs, twins, params
    )
    extras = _split_extras(context, params, before, undated.lock, added)

    def audit(staged: pl.DataFrame, _: dict[str, pl.DataFrame]) -> Audit:
        crossing = split_suite.crossing_candidates(staged, before)
        named = crossing["record_id"].append(crossing["other_id"]).unique().to_list()
        messages = frames.messages_of(context.warehouse, named, clean=True)
        judged = {"pairs": crossing, "texts": _compared(messages, params.answers_are_labels)}
        arrived_rows = rows_in(context, Step.SPLIT, days)
        return Audit(Step.SPLIT, days, staged, arrived_rows, records.every, {**extras, **judged})

    handed = carried(table, records.every.select("record_id", "content_sha"), "split", "group_key")
    labelled = handed.join(records.every.select("record_id", "label"), on="record_id", how="left")
    held = undated.lock

    def commit() -> None:
        if not assignment.uses_lock(params):
            return
        if not split_lock.read(context.project.lock_path).equals(held):
            raise StalePublish(f"{split_lock.NAME} changed while split was computing; run again.")
        if added.height:
            split_lock.extend(context.project.lock_path, added)

    return Work({Step.SPLIT: table}, labelled, audit, commit=commit, lock=pl.concat([held, added]))


def _measured(context: Context, records: Arrived, days: Days, params: SplitParams) -> pl.DataFrame:
    """split.MEASURED of all records: of those that stand as they were published, and computed for the others."""
    memo = context.memo(Step.SPLIT)
    fresh = computed(context, Step.SPLIT, records.fresh, lambda part: split.measured(part, params, memo))
    names = ["record_id", "group_key", "comparison_key", "shingles", "bands"]
    stood = frames.columns_of(context.warehouse, Step.SPLIT, names, days, records.standing["record_id"])
    # What is no text is taken as it is now: a label or a rank may have changed.
    facts = records.standing.select("record_id", "day", "source_rank", "label")
    answers = pl.col("label").fill_null("") if params.answers_are_labels else pl.lit("")
    stood = stood.join(facts, on="record_id").with_columns(answer_key=answers).select(*split.MEASURED)
    return stood if fresh is None else pl.concat([fresh, stood])


def _split_extras(
    context: Context, params: SplitParams, before: pl.DataFrame, lock: pl.DataFrame, added: pl.DataFrame
) -> dict[str, pl.DataFrame]:
    """What the gate of split needs beside the rows."""
    given = [(s, *w) for s, w in (("validation", params.validation), ("test", params.test)) if w]
    return {
        "history": before,
        "ratios": pl.DataFrame(
            {"split": [s.value for s in Split], "ratio": [params.ratios.of(s) for s in Split]},
            schema={"split": pl.String, "ratio": pl.Float64},
        ),
        "lock": pl.concat([lock, added]),
        "strategy": pl.DataFrame({"strategy": [params.strategy]}),
        "windows": pl.DataFrame(
            given, schema={"split": pl.String, "first": pl.Date, "last": pl.Date}, orient="row"
        ),
        "tested": frames.tested_groups(context.warehouse),
        "ngram": pl.DataFrame({"ngram": [params.ngram]}),
        "threshold": pl.DataFrame({"threshold": [params.near.threshold]}),
    }


def _compared(messages: pl.DataFrame, answers_are_labels: bool) -> pl.DataFrame:
    """record_id and the text that split compares, built here for the gate from the messages alone."""
    sided = with_sides(messages).with_columns(rejected_side(messages))
    parts = (
        pl.col("prompt")
        if answers_are_labels
        else pl.concat_str("prompt", "answer", "rejected_side", separator="\n\n", ignore_nulls=True)
    )
    return sided.select("record_id", parts.fill_null("").alias("text"))
