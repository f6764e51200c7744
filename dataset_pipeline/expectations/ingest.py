"""What must hold before collected records become visible."""

from __future__ import annotations

import polars as pl

from dataset_pipeline.expectations.common import (
    Audit,
    common_gauges,
    common_rows,
    common_suite,
    counted,
    per_day,
    with_gauge,
)
from dataset_pipeline.expectations.gate import Expectation
from dataset_pipeline.records import Step

SUITE: tuple[Expectation, ...] = (
    *common_suite(Step.INGEST, worst_rule=1.0, worst_source=1.0),
    Expectation("rights_present", "A batch has no licence, holder, basis or use: no rights, no entry.",
                "between", "gauges", ("batches_without_rights",), maximum=0),
    Expectation("reject_rate", "Too many rows could not be read: the export is damaged, changed its form, or holds rows that are no records (then give gates.ingest.reject_rate a max, with the reason).",
                "between", "gauges", ("reject_rate",), maximum=0.01, min_sample=100, sample="rows_read"),
    Expectation("rejects_conserved", "A row that could not be read is not among the rejects: it vanished.",
                "between", "gauges", ("rejects_lost",), minimum=0, maximum=0,
                    is_fixed=True, why_fixed="a step that loses a row in silence does not happen"),
    Expectation("files_whole", "A file ends in the middle: what is missing cannot be known.",
                "between", "gauges", ("truncated_files",), maximum=0),
    Expectation("roles_valid", "Turns do not alternate, or a record that has an answer does not end with the assistant.",
                "between", "gauges", ("role_faults",), maximum=0),
    Expectation("erased_texts_gone", "An erased record still has words of its text.",
                "between", "gauges", ("erased_texts",), minimum=0, maximum=0),
    Expectation("columns_keep_type", "A mapped column holds another kind of value than on the days before: the export changed. Mend it, or make this expectation a warning under gates, with the reason.",
                "between", "gauges", ("retyped_columns",), maximum=0),
    Expectation("files_not_empty", "A file came without a single row.", "between", "gauges", ("empty_files",), "warning", maximum=0),
    Expectation("sources_came", "A source that is expected daily sent nothing.",
                "between", "gauges", ("silent_sources",), "warning", maximum=0),
    Expectation("source_ids_unique", "A source uses one id for several records of a day.",
                "between", "gauges", ("repeated_source_ids",), "warning", maximum=0),
)  # fmt: skip


def rows(audit: Audit) -> pl.DataFrame:
    """A record has arrived when a batch of its day, source and file has."""
    return common_rows(audit, arrived=audit.extras["batches"].select("day", "source", "uri"))


def gauges(audit: Audit) -> pl.DataFrame:
    """extras: rejects, batches, silent (date, silent_sources, silent_sources_culprit), drift (likewise, retyped_columns)."""
    rejects, batches, silent = (audit.extras[name] for name in ("rejects", "batches", "silent"))
    result = common_gauges(audit)
    result = with_gauge(result, per_day(batches, pl.col("rows_read").sum(), "rows_read"), 0)
    result = with_gauge(
        result, per_day(batches, _without_rights().sum().cast(pl.Int64), "batches_without_rights"), 0
    )
    empty = batches.filter(pl.col("rows_read") == 0)
    result = with_gauge(result, _named(empty, "source", "empty_files"), 0)
    result = with_gauge(
        result, _named(rejects.filter(pl.col("reason") == "truncated_file"), "uri", "truncated_files"), 0
    )
    result = with_gauge(result, silent, 0)
    result = with_gauge(result, audit.extras["drift"], 0)
    result = with_gauge(result, _role_faults(audit.staged), 0)
    result = with_gauge(result, _erased_texts(audit.staged), 0)
    result = with_gauge(result, _repeated_ids(audit.staged), 0)
    result = with_gauge(result, _rejected(rejects), 0)
    result = with_gauge(result, per_day(batches, pl.col("rows_rejected").sum(), "rows_rejected"), 0)
    return result.with_columns(
        rejects_lost=pl.col("rows_rejected") - pl.col("rejected"),
        reject_rate=pl.when(pl.col("rows_read") > 0)
        .then(pl.col("rejected") / pl.col("rows_read"))
        .otherwise(0.0),
    )


def _without_rights() -> pl.Expr:
    blank = [
        pl.col(c).is_null() | (pl.col(c).str.strip_chars() == "") for c in ("license", "holder", "basis")
    ]
    return pl.any_horizontal(*blank, pl.col("uses").is_null() | (pl.col("uses").list.len() == 0))


def _named(frame: pl.DataFrame, column: str, name: str) -> pl.DataFrame:
    return frame.group_by(pl.col("day").alias("date")).agg(
        pl.len().cast(pl.Int64).alias(name),
        pl.col(column).unique().sort().head(5).str.join(", ").alias(f"{name}_culprit"),
    )


def _rejected(rejects: pl.DataFrame) -> pl.DataFrame:
    """Rejects per day; the culprits are the first of each file and reason, as file:line reason."""
    first = (
        rejects.sort("uri", "line")
        .group_by("day", "uri", "reason", maintain_order=True)
        .agg(pl.col("line").first())
    )
    place = pl.concat_str("uri", pl.lit(":"), "line", pl.lit(" "), "reason")
    named = first.group_by(pl.col("day").alias("date"), maintain_order=True).agg(
        place.head(5).str.join(", ").alias("reject_rate_culprit")
    )
    return per_day(rejects, pl.len().cast(pl.Int64), "rejected").join(named, on="date", how="left")


def _role_faults(staged: pl.DataFrame) -> pl.DataFrame:
    # An erased record has no turns left; any other must have them.
    return counted(staged.filter(~_is_erased() & (role_fault() | pair_fault())), "role_faults")


def _is_erased() -> pl.Expr:
    return (pl.col("reason") == "erased").fill_null(False)


def _erased_texts(staged: pl.DataFrame) -> pl.DataFrame:
    """Erased rows with anything in a column of text: the texts themselves are not looked at."""
    words = ("messages", "rejected", "tools", "person_names", "label")
    is_there = pl.any_horizontal(pl.col(name).is_not_null() for name in words)
    return counted(staged.filter(_is_erased() & is_there), "erased_texts")


def role_fault() -> pl.Expr:
    """Whether the turns of `messages` are wrong: after an optional system turn, user and assistant alternate.

    A record may end with the user only where it has a single turn and no label (unlabelled).
    """
    roles = pl.col("messages").list.eval(pl.element().struct.field("role"))
    text = roles.list.join(" ")
    complete = text.str.contains(r"^(system )?user assistant( user assistant)*$")
    unlabelled = text.str.contains(r"^(system )?user$") & pl.col("label").is_null()
    return ~(complete | unlabelled).fill_null(False)


def pair_fault() -> pl.Expr:
    """Whether the other side of a preference pair is wrong: after the shared turns, which end with the user,
    it goes on to alternate and ends with the assistant, and so do `messages`. False for other records.

    Reads messages, prompt_turns and rejected.
    """
    shared, rejected = pl.col("prompt_turns"), pl.col("rejected")
    roles = pl.col("messages").list.eval(pl.element().struct.field("role"))
    tail = rejected.list.eval(pl.element().struct.field("role"))
    complete = r"^(system )?user assistant( user assistant)*$"
    prompt = roles.list.head(shared.fill_null(0))
    other = pl.concat_str(prompt.list.join(" "), tail.list.join(" "), separator=" ")
    sound = (
        roles.list.join(" ").str.contains(complete)
        & other.str.contains(complete)
        & (prompt.list.last() == "user")
        & (shared < roles.list.len())
        & (tail.list.len() > 0)
    )
    return pl.when(shared.is_null() & rejected.is_null()).then(False).otherwise(~sound.fill_null(False))


def _repeated_ids(staged: pl.DataFrame) -> pl.DataFrame:
    repeated = (
        staged.filter(pl.col("source_id").is_not_null())
        .group_by("day", "source", "source_id")
        .len()
        .filter(pl.col("len") > 1)
    )
    return _named(repeated, "source", "repeated_source_ids")
