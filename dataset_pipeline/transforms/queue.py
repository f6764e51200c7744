"""queue: what waits for a person, as rows of `review_queue.csv`, which come back as a review file.

Lives here: the columns, their order, why a record waits in words, and the bytes of the file. Keep out: which records
wait and what is shown of their texts (the caller has cleaned them), reading answers (`reviews`).
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import orjson
import polars as pl

from dataset_pipeline.records import DAILY_STEPS, RELEASE, Step
from dataset_pipeline.text import SIDED, rejected_side, with_sides
from dataset_pipeline.transforms.reviews import RUNNABLE

MAX_TEXT_CHARS = 2_000
"""Of a prompt or an answer in a cell, the ellipsis among them: spreadsheets hold 32,767, people read less."""

ANSWER_COLUMNS = ("verdict", "value", "reviewer", "date")
"""Empty for the reviewer."""

QUEUE: dict[str, pl.DataType | type[pl.DataType]] = {
    "record": pl.String, "source": pl.String, "id": pl.String, "day": pl.Date, "step": pl.String,
    "reason": pl.String, "why": pl.String, "case": pl.Int64, "label": pl.String, "prompt": pl.String,
    "answer": pl.String, "rejected": pl.String, **dict.fromkeys(ANSWER_COLUMNS, pl.String), "content": pl.String,
}  # fmt: skip
"""Columns of `review_queue.csv`, in their order."""

CONTRADICTION = "contradiction"


def queue(waiting: pl.DataFrame, contradictions: pl.DataFrame) -> pl.DataFrame:
    """QUEUE, one row for each record that waits: contradictions by case, then the rest by step, day and record.

    waiting: record_id, source, source_id, day, content, step, reason, detail, label, messages (to be shown as
    they are), and of preference pairs prompt_turns and rejected. A contradiction, whichever step names it, is
    answered at `label`. contradictions: record_id and prompt_key (equal for the sides of one) of contradicting
    records, as `selection.contradicting` returns them; those that do not wait are not shown. case: numbered
    from 1 by the earliest (day, record) of its sides; a contradiction whose other sides are not at hand is a
    case of its own; null for everything else. why: a sentence made from `detail`, never text of a record.
    Texts are cut at MAX_TEXT_CHARS. A cell that a spreadsheet would run gets an apostrophe in front; `reviews`
    takes it off again.
    """
    sided = with_sides(waiting.select("record_id", pl.col(*[n for n in SIDED if n in waiting.columns])))
    rows = waiting.select(
        pl.col("record_id").alias("record"), "source", pl.col("source_id").alias("id"), "day",
        pl.when(pl.col("reason") == CONTRADICTION).then(pl.lit(str(Step.LABEL))).otherwise("step").alias("step"),
        "reason", "detail", "label", "content", prompt=sided["prompt"], answer=sided["answer"],
        rejected=rejected_side(waiting),
    )  # fmt: skip
    numbered = _numbered(rows, contradictions)
    why = [
        _why(reason, detail, case, sides, is_pair)
        for reason, detail, case, sides, is_pair in numbered.select(
            "reason", "detail", "case", "sides", pl.col("rejected").is_not_null()
        ).iter_rows()
    ]
    turn = {str(step): n for n, step in enumerate((*DAILY_STEPS, RELEASE))}
    ordered = numbered.with_columns(
        pl.Series("why", why, dtype=pl.String),
        *(_cut(name).alias(name) for name in ("prompt", "answer", "rejected")),
        *(pl.lit(None, pl.String).alias(name) for name in ANSWER_COLUMNS),
        turn=pl.col("step").replace_strict(turn, default=len(turn), return_dtype=pl.Int32),
    ).sort("case", "turn", "day", "record", nulls_last=True)
    return ordered.select(
        _guarded(name) if dtype == pl.String else pl.col(name).cast(dtype) for name, dtype in QUEUE.items()
    )


def _numbered(rows: pl.DataFrame, contradictions: pl.DataFrame) -> pl.DataFrame:
    """Adds `case` and `sides`, how many rows share it; null where there is no contradiction."""
    sides = contradictions.select(
        "record_id", pl.concat_str(pl.lit("prompt "), "prompt_key").alias("shared")
    ).unique("record_id", keep="first", maintain_order=True)
    alone = pl.concat_str(pl.lit("record "), "record")
    grouped = rows.join(
        sides, left_on="record", right_on="record_id", how="left", maintain_order="left"
    ).with_columns(
        shared=pl.when(pl.col("reason") == CONTRADICTION).then(pl.coalesce("shared", alone)).otherwise(None)
    )
    cases = (
        grouped.filter(pl.col("shared").is_not_null())
        .sort("day", "record")
        .group_by("shared", maintain_order=True)
        .agg(sides=pl.len())
        .with_columns(case=pl.int_range(1, pl.len() + 1, dtype=pl.Int64))
    )
    return grouped.join(cases, on="shared", how="left", maintain_order="left").drop("shared")


def _cut(name: str) -> pl.Expr:
    """A text as a cell shows it: lines end in one way, no NUL, at most MAX_TEXT_CHARS."""
    lines = pl.col(name).str.replace_all("\r\n?", "\n").str.replace_all("\x00", "", literal=True)
    short = pl.concat_str(lines.str.slice(0, MAX_TEXT_CHARS - 1), pl.lit("…"))
    return pl.when(lines.str.len_chars() > MAX_TEXT_CHARS).then(short).otherwise(lines)


def _guarded(name: str) -> pl.Expr:
    """A leading apostrophe; before one that stands there already too, so that taking one off gives the cell back."""
    text = pl.col(name)
    return pl.when(text.str.contains(f"^'*{RUNNABLE}")).then("'" + text).otherwise(text).alias(name)


def _why(reason: str, detail: str | None, case: int | None, sides: int | None, is_pair: bool) -> str:
    """One short plain sentence: what was measured, and against what."""
    try:
        facts = orjson.loads(detail) if detail else {}
    except orjson.JSONDecodeError:
        facts = {}
    if not isinstance(facts, dict):
        facts = {}
    if reason == CONTRADICTION:
        return _why_contradicting(facts, case, sides, is_pair)
    rule = facts.get("rule")
    if "item" in facts and "set" in facts:
        return _why_matching(facts)
    if rule == "tie" and isinstance(facts.get("value"), dict):
        return _why_tied(facts["value"])
    if rule == "unlabelled":
        return "no label"
    if rule == "unknown_label":
        return f"the label {facts.get('value')} is neither a label of the spec nor an alias"
    if rule is None or "value" not in facts:
        return reason.replace("_", " ")
    measure = str(rule).removeprefix("min_").removeprefix("max_").replace("_", " ")
    of = f" of the {facts['side']}" if facts.get("side") in ("prompt", "answer") else ""
    return f"{measure}{of} {_number(facts['value'])}, limit {_number(facts.get('threshold'))}"


def _why_contradicting(facts: Mapping[str, Any], case: int | None, sides: int | None, is_pair: bool) -> str:
    what = "equal prompt and answers, other preference" if is_pair else "equal prompt, other label"
    if sides is not None and sides > 1:
        return f"{what}: see case {case}"
    others = facts.get("others") or []
    more = " and more" if len(others) > 3 else ""
    return f"{what}: record {', '.join(map(str, others[:3]))}{more}, not in this list" if others else what


def _why_matching(facts: Mapping[str, Any]) -> str:
    item, value = f"item {facts.get('item')} of {facts.get('set')}", facts.get("value")
    if isinstance(value, int):
        return f"holds {item} ({value} word{'' if value == 1 else 's'})"
    if isinstance(value, float) and value < 1.0:
        return f"holds {value:.0%} of the words of {item}"
    return f"equals {item}" if facts.get("threshold") == 1 else f"holds {item}"


def _why_tied(votes: Mapping[str, Any]) -> str:
    counts = sorted(votes.items(), key=lambda vote: (-vote[1], vote[0]))
    said = [f"{n} {'says' if n == 1 else 'say'} {label}" for label, n in counts]
    if not said:
        return "the annotators are tied"
    first = counts[0][1]
    word = "annotator" if first == 1 else "annotators"
    return ", ".join([said[0].replace(f"{first} ", f"{first} {word} ", 1), *said[1:]])


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def to_csv(frame: pl.DataFrame) -> bytes:
    """The file: UTF-8 with a byte order mark (Excel takes it for another encoding without), RFC 4180.

    Every cell is quoted: a spreadsheet that splits at semicolons then still does not begin a cell inside a text.
    """
    out = io.BytesIO()
    frame.write_csv(out, include_bom=True, line_terminator="\r\n", quote_style="always")
    return out.getvalue()
