"""What must hold before cleaned text becomes visible."""

from __future__ import annotations

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


def rows(audit: Audit) -> pl.DataFrame:
    """Adds has_control, pii_left and pii_likely (words, never the text) for kept rows."""
    texts = _texts(audit.staged)
    kept = audit.staged["kept"].fill_null(True).to_list()
    wanted = set(audit.extras["entities"]["entity"].to_list())
    left = [left_entities(text) & wanted if keep else set() for text, keep in zip(texts, kept, strict=True)]
    likely = [
        likely_entities(text) & wanted if keep else set() for text, keep in zip(texts, kept, strict=True)
    ]
    control = has_control(texts)
    return common_rows(audit).with_columns(
        has_control=pl.Series(
            ["yes" if c and k else "no" for c, k in zip(control, kept, strict=True)], dtype=pl.String
        ),
        pii_left=pl.Series([", ".join(sorted(f)) or "none" for f in left], dtype=pl.String),
        pii_likely=pl.Series([", ".join(sorted(f)) or "none" for f in likely], dtype=pl.String),
    )


def gauges(audit: Audit) -> pl.DataFrame:
    """extras: entities (entity: what the spec wants replaced)."""
    kept = audit.staged.filter("kept")
    broken = kept.select("day").with_columns(bad=pl.Series(has_mojibake(_texts(kept)), dtype=pl.Boolean))
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
