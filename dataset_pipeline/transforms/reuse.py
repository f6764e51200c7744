"""What of a finished release fits another spec: rights, labels, balance, languages, and what it repeats.

Lives here: measuring, on frames; one row per record of the release. Keep out: opening files (`assets.reusing`), how a
release is read as a source (`reuse_source`), words on a terminal (`cli.reusing`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from dataset_pipeline.records import IN_REVIEW, MESSAGES, Split
from dataset_pipeline.spec.models import Spec, Use
from dataset_pipeline.spec.params import DecontaminateParams, DedupParams, label_names
from dataset_pipeline.text import rejected_side, with_sides
from dataset_pipeline.transforms.decontaminate import decontaminate
from dataset_pipeline.transforms.dedup import Candidates, dedup
from dataset_pipeline.transforms.language import NO_LANGUAGE, Told, detect, foreign_detail
from dataset_pipeline.transforms.normalize import SIDES

NEEDED = ("record_id", "split", "row", "source", "license", "holder", "uses", "label")
"""Columns of provenance without which nothing can be told."""
ORIGIN = ("uri", "line")
"""Columns that say which raw row a record is: where both projects read one file, cleaning hides no copy."""
LANGUAGE = {side: f"normalize_{side}_language" for side in SIDES}

STOPS = ("rights", "no_record", "duplicate", "duplicate_inside", "language", "contaminated", "unknown_label", "unlabelled")  # fmt: skip
"""What keeps a record out, in the order in which it would meet it."""
OTHER = "(other)"
"""Stands for labels that the release's spec does not name: what stands there may be text of a record."""


def wanted_uses(spec: Spec) -> tuple[Use, ...]:
    """What the spec's release is for; everything in it is trained on."""
    return tuple(dict.fromkeys(("train", *spec.release.uses)))


def _missing(uses: Sequence[str]) -> pl.Expr:
    """List(String): the wanted uses that a record's `uses` (joined by commas) lacks."""
    has = pl.col("uses").fill_null("").str.split(",")
    return pl.concat_list(
        pl.when(~has.list.contains(pl.lit(use))).then(pl.lit(use)) for use in uses
    ).list.drop_nulls()


def _needed(uses: Sequence[str]) -> list[str]:
    """Uses that every record must allow: evaluate is asked of validation and test alone, and split sees to it."""
    return [use for use in uses if use != "evaluate"]


def allowed(provenance: pl.DataFrame, uses: Sequence[str]) -> pl.Series:
    """Whether the rights of each record allow `uses`; without evaluate it may still train."""
    return provenance.select(fits=_missing(_needed(uses)).list.len() == 0).to_series()


def rights(provenance: pl.DataFrame, uses: Sequence[str]) -> pl.DataFrame:
    """source, license, holder, uses, records, missing (List(String), the uses it needs and lacks), by source."""
    by = ["source", "license", "holder", "uses"]
    counted = provenance.group_by(by).agg(records=pl.len())
    return counted.with_columns(missing=_missing(_needed(uses))).sort(by)


def train_only(provenance: pl.DataFrame) -> int:
    """Records that may not evaluate: split drops them where their group is validation or test."""
    return int(provenance.select((_missing(["evaluate"]).list.len() > 0).sum()).item())


# --- labels and balance -------------------------------------------------------------------


def known_labels(given: pl.Series, spec: Spec) -> pl.Series:
    """The spec's label for each given one, by folded name or alias; null where it is none."""
    names = label_names(spec)
    distinct = given.drop_nulls().unique().sort()
    known = pl.DataFrame(
        {"given": distinct, "known": [names.get(label.strip().casefold()) for label in distinct.to_list()]},
        schema={"given": pl.String, "known": pl.String},
    )
    return given.to_frame("given").join(known, on="given", how="left", maintain_order="left")["known"]


@dataclass(frozen=True)
class LabelFit:
    """both: given, label, records; only_release: given, records; only_spec: labels of the spec that no record has."""

    both: pl.DataFrame
    only_release: pl.DataFrame
    only_spec: tuple[str, ...]
    unknown: int
    unlabelled: int


def label_fit(records: pl.DataFrame, spec: Spec, named: Sequence[str]) -> LabelFit:
    """What becomes of the labels of records (columns given_label, known_label).

    named: the labels of the release's own spec: others are counted under OTHER.
    """
    is_named = pl.col("given_label").str.strip_chars().is_in(list(named))
    counts = (
        records.filter(pl.col("given_label").is_not_null())
        .group_by("known_label", given=pl.when(is_named).then("given_label").otherwise(pl.lit(OTHER)))
        .agg(records=pl.len())
        .sort("records", "given", descending=[True, False])
    )
    both = counts.filter(pl.col("known_label").is_not_null()).select("given", "records", label="known_label")
    only = counts.filter(pl.col("known_label").is_null()).select("given", "records")
    found = set(both["label"])
    return LabelFit(
        both,
        only,
        tuple(label for label in spec.task.label_names if label not in found),
        int(only["records"].sum()),
        records["given_label"].null_count(),
    )


def enough(spec: Spec) -> int:
    """Records of a label of which each split may expect one: 10 for splits of 0.8, 0.1 and 0.1."""
    shares = [spec.split.ratios.of(split) for split in Split]
    return math.ceil(1 / min(share for share in shares if share > 0) - 1e-9)


def balance(fitting: pl.DataFrame, held: Mapping[str, int], spec: Spec) -> pl.DataFrame:
    """label, sources, added, together, share (of together), is_rare; a row for each label of the spec, in its order.

    fitting: known_label of the records that fit. held: label to records that the spec's sources bring. A label is
    rare below `enough` records together.
    """
    added = dict(fitting.group_by("known_label").agg(records=pl.len()).iter_rows())
    rows = [(label, held.get(label, 0), int(added.get(label, 0))) for label in spec.task.label_names]
    frame = pl.DataFrame(
        rows, schema={"label": pl.String, "sources": pl.Int64, "added": pl.Int64}, orient="row"
    )
    together = pl.col("sources") + pl.col("added")
    return frame.with_columns(together=together).with_columns(
        share=pl.col("together") / pl.max_horizontal(pl.col("together").sum(), pl.lit(1)),
        is_rare=pl.col("together") < enough(spec),
    )


# --- languages ----------------------------------------------------------------------------


def foreign(provenance: pl.DataFrame, records: pl.DataFrame, spec: Spec) -> pl.Series:
    """record_id of the records that normalize would drop for their language.

    records: record_id, messages, prompt_turns, rejected. Only those are looked at again whose tag in provenance is
    none of the spec's languages: the first spec's probabilities are of its own languages.
    """
    languages, labels = spec.normalize.languages, spec.task.answers_are_labels
    found: list[pl.Series] = [pl.Series("record_id", [], dtype=pl.String)]
    sides = {side: column for side, column in LANGUAGE.items() if column in provenance.columns}
    if labels:
        sides.pop("answer", None)
    if not languages:
        return found[0]
    for side, column in sides.items():
        outside = provenance.filter(~pl.col(column).is_in([*languages, NO_LANGUAGE])).select("record_id")
        part = records.join(outside, on="record_id", how="semi", maintain_order="left")
        sided = with_sides(part)
        texts = rejected_side(part) if side == "rejected" else sided[side]
        told = detect(texts, languages)
        is_foreign = [
            foreign_detail(text or "", Told(*row), languages) is not None
            for text, row in zip(texts.to_list(), told.rows(), strict=True)
        ]
        found.append(part.filter(pl.Series(is_foreign, dtype=pl.Boolean))["record_id"])
    return pl.concat(found).unique().sort()


# --- what it repeats ----------------------------------------------------------------------

REPEATS = {"record_id": pl.String, "repeats": pl.String, "twin_source": pl.String, "contradicts": pl.Boolean}


def repeats(
    records: pl.DataFrame,
    fingerprints: pl.DataFrame,
    history: pl.DataFrame,
    found: Candidates,
    texts: pl.DataFrame,
    same_rows: pl.DataFrame,
    params: DedupParams,
) -> pl.DataFrame:
    """REPEATS, a row per record: exact, near or null; the source of its twin (null: a record of the release).

    records, fingerprints: of the release; history: FINGERPRINT and source of the spec's sources; found: of
    `dedup.candidates`; texts: of every `other_id`; same_rows: record_id and same_source of records that a source reads
    from the very same row: they are exact, whatever cleaning made of them. contradicts: a source has the same text with
    another answer.
    """
    earlier = history.drop("source")
    judged = dedup(records, fingerprints, earlier, found.pairs, texts, params)
    answers = history.select("comparison_key", other="answer_key").unique()
    contested = (
        fingerprints.select("record_id", "comparison_key", "answer_key")
        .join(answers, on="comparison_key")
        .filter(pl.col("other") != pl.col("answer_key"))
    )
    is_same = pl.col("same_source").is_not_null() & pl.col("twin_source").is_null()
    return (
        judged.select("record_id", repeats="reason", twin="twin")
        .join(history.select(twin="record_id", twin_source="source"), on="twin", how="left")
        .join(same_rows, on="record_id", how="left")
        .with_columns(
            repeats=pl.when(is_same).then(pl.lit("exact")).otherwise("repeats"),
            twin_source=pl.when(is_same).then("same_source").otherwise("twin_source"),
            contradicts=pl.col("record_id").is_in(contested["record_id"].implode()) & ~is_same,
        )
        .select(*REPEATS)
        .sort("record_id")
    )


def held_items(records: pl.DataFrame, protected: pl.DataFrame, params: DecontaminateParams) -> pl.DataFrame:
    """record_id, eval_set, suspect of the records that hold a protected item."""
    both = records.select(
        "record_id", "day", "messages", "prompt_turns", "rejected",
        collected_messages=pl.col("messages").cast(MESSAGES), collected_rejected=pl.col("rejected").cast(MESSAGES),
    )  # fmt: skip
    judged = decontaminate(both, protected, params).filter(~pl.col("kept"))
    return judged.select("record_id", "eval_set", suspect=pl.col("reason").is_in([IN_REVIEW, "suspect"]))


# --- all together -------------------------------------------------------------------------


def with_stop(records: pl.DataFrame, has_labels: bool) -> pl.DataFrame:
    """Adds stop: the first of STOPS that keeps a record out, null where it fits.

    records: fits_rights, is_record, repeats, twin_source, is_foreign, eval_set, known_label, given_label.
    """
    is_repeat, is_inside = pl.col("repeats").is_not_null(), pl.col("twin_source").is_null()
    without = pl.col("known_label").is_null() & pl.lit(has_labels)
    reasons = (
        ~pl.col("fits_rights"),
        ~pl.col("is_record"),
        is_repeat & ~is_inside,
        is_repeat & is_inside,
        pl.col("is_foreign"),
        pl.col("eval_set").is_not_null(),
        without & pl.col("given_label").is_not_null(),
        without,
    )
    stop = pl.coalesce(pl.when(when).then(pl.lit(word)) for word, when in zip(STOPS, reasons, strict=True))
    return records.with_columns(stop=stop)
