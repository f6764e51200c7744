"""What must hold before cleaned text becomes visible."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from dataset_pipeline.expectations.common import (
    MIN_SAMPLE,
    Audit,
    common_gauges,
    common_rows,
    common_suite,
    counted,
    per_day,
    with_gauge,
)  # fmt: skip
from dataset_pipeline.expectations.gate import Expectation
from dataset_pipeline.expectations.ingest import pair_fault, role_fault
from dataset_pipeline.expectations.text_audit import (
    has_control,
    has_mojibake,
    left_entities,
    left_names,
    likely_entities,
)
from dataset_pipeline.records import Step

SUITE: tuple[Expectation, ...] = (
    *common_suite(Step.NORMALIZE, worst_rule=0.5, worst_source=0.8),
    Expectation("no_control_characters", "A control character was left in the text.", "in_set", "rows", ("has_control",), values=("no",)),
    Expectation("no_mojibake", "Text with broken encoding was left.", "between", "gauges", ("mojibake_share",), maximum=0.002),
    Expectation("no_pii_left", "Personal data is left, found by patterns that the scrubber does not share.",
                "in_set", "rows", ("pii_left",), values=("none",)),
    Expectation("no_pii_shapes_left", "What looks like a phone or social security number is left; it may be the number of something else.",
                "in_set", "rows", ("pii_likely",), "warning", values=("none",)),
    Expectation("language_known", "The language of most records could not be told: wrong column, or not text.",
                "between", "gauges", ("unknown_language_share",), maximum=0.3, min_sample=MIN_SAMPLE, sample="kept"),
    Expectation("roles_kept", "Cleaning changed the turns of a record.", "between", "gauges", ("role_faults",), maximum=0),
)  # fmt: skip

NAMES: dict[str, pl.DataType | type[pl.DataType]] = {
    "record_id": pl.String,
    "person_names": pl.List(pl.String),
}


def rows(audit: Audit) -> pl.DataFrame:
    """Adds has_control, pii_left and pii_likely (words, never the text) for kept rows.

    extras: entities (entity: what the spec wants replaced), names (NAMES: those of new records' columns), standing
    (record_id: rows as they are published already, whose texts were judged when they became so).
    """
    wanted = set(audit.extras["entities"]["entity"].to_list())
    judged = _judged(audit.staged, audit).select("record_id", "messages", "rejected")
    texts = _texts(judged)
    known = audit.extras.get("names", pl.DataFrame(schema=NAMES)).unique("record_id", keep="first")
    names = (
        judged.select("record_id")
        .join(known, on="record_id", how="left", maintain_order="left")["person_names"]
        .to_list()
    )
    facts = judged.select("record_id").with_columns(
        has_control=pl.Series(["yes" if c else "no" for c in has_control(texts)], dtype=pl.String),
        pii_left=_words(
            (left_entities(text) | ({"PERSON"} if own and left_names(text, own) else set())) & wanted
            for text, own in zip(texts, names, strict=True)
        ),
        pii_likely=_words(likely_entities(text) & wanted for text in texts),
    )
    clean = {"has_control": "no", "pii_left": "none", "pii_likely": "none"}
    return (
        common_rows(audit)
        .join(facts.unique("record_id", keep="first"), on="record_id", how="left", maintain_order="left")
        .with_columns(pl.col(name).fill_null(word) for name, word in clean.items())
    )


def _judged(frame: pl.DataFrame, audit: Audit) -> pl.DataFrame:
    """The kept rows whose texts are new."""
    return frame.filter(pl.col("kept").fill_null(True)).join(
        audit.extras["standing"], on="record_id", how="anti", maintain_order="left"
    )


def _words(found: Iterable[set[str]]) -> pl.Series:
    return pl.Series([", ".join(sorted(entities)) or "none" for entities in found], dtype=pl.String)


def gauges(audit: Audit) -> pl.DataFrame:
    """extras: as for `rows`."""
    kept = audit.staged.filter("kept")
    judged = _judged(kept, audit)
    broken = judged.select("day").with_columns(bad=pl.Series(has_mojibake(_texts(judged)), dtype=pl.Boolean))
    result = common_gauges(audit)
    result = with_gauge(result, per_day(kept, pl.len().cast(pl.Int64), "kept"), 0)
    result = with_gauge(result, per_day(broken, pl.col("bad").mean(), "mojibake_share"), 0.0)
    unknown = pl.col("prompt_language").is_null().mean()
    result = with_gauge(result, per_day(kept, unknown, "unknown_language_share"), 0.0)
    sided = kept.select("day", "record_id", "messages", "rejected").join(
        audit.records.select("record_id", "label", "prompt_turns"), on="record_id", how="left"
    )
    return with_gauge(result, counted(sided.filter(role_fault() | pair_fault()), "role_faults"), 0)


def _texts(frame: pl.DataFrame) -> list[str]:
    """All that a record says, the worse side of a preference pair too."""
    sides = [pl.col("messages")]
    if frame["rejected"].null_count() < frame.height:
        sides.append(pl.col("rejected"))
    said = [
        side.list.eval(pl.element().struct.field("content")).list.join("\n").fill_null("") for side in sides
    ]
    return frame.select(pl.concat_str(said, separator="\n")).to_series().to_list()
