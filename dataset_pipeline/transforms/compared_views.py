"""The texts of a record that are compared with protected ones, and their words.

Lives here: which texts a record has (its views), as cleaned and as collected, and reading each once. Keep out: what is
looked for in them, verdicts (`decontaminate`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from dataset_pipeline import text
from dataset_pipeline.transforms.shingles import Ragged


def _views(records: pl.DataFrame, answers_are_labels: bool, prefix: str) -> pl.DataFrame:
    """The compared texts of each record: number, view, is_searched, text, first, second; null and empty ones left out.

    first, second: what the text consists of, with white space between; null where there is no such part.

    Views are prompt, answer, whole and message_0, message_1, … An answer that is a label is no text
    of its own: an evaluation item may well be called like a label. Of a preference pair also rejected and
    whole_rejected (prompt and rejected); its messages count on after the last of `messages`.
    """
    sides = text.with_sides(records.select("number", *text.SIDED)).with_columns(text.rejected_side(records))
    prompt, nothing = pl.col("prompt"), pl.lit(None, pl.String)
    named = {"prompt": (prompt, nothing)} if answers_are_labels else {
        "whole": (prompt, pl.col("answer")), "prompt": (prompt, nothing), "answer": (pl.col("answer"), nothing),
    }  # fmt: skip
    # Wholes are searched for n-grams: their sides alone can hold none that the whole lacks.
    searched = {"prompt"} if answers_are_labels else {"whole", "whole_rejected"}
    if _has_pairs(records):
        rejected = pl.col("rejected_side")
        is_pair = rejected.is_not_null()
        named["whole_rejected"] = (pl.when(is_pair).then(prompt), rejected)
        named["rejected"] = (rejected, nothing)
    parts = [
        sides.select(
            "number",
            view=pl.lit(prefix + name),
            is_searched=pl.lit(name in searched),
            text=text.whole(first, second),
            first=first,
            second=second,
        )
        for name, (first, second) in named.items()
    ]
    turns = pl.col("messages").list.len() - (text.is_answered() & answers_are_labels).cast(pl.UInt32)
    single = (
        records.select("number", messages=_with_rejected(records, pl.col("messages").list.head(turns)))
        .filter(pl.col("messages").list.len() > 0)
        .with_columns(place=pl.int_ranges(pl.col("messages").list.len()))
        .explode("messages", "place")
        .select(
            "number",
            view=pl.lit(prefix + "message_") + pl.col("place").cast(pl.String),
            is_searched=pl.lit(False),
            text=pl.col("messages").struct.field("content"),
            first=pl.col("messages").struct.field("content"),
            second=nothing,
        )
    )
    views = pl.concat([*parts, single]).filter(pl.col("text").is_not_null() & (pl.col("text") != ""))
    # A message that is a whole side needs no second look; the first view of a text names it.
    return views.unique(["number", "text"], keep="first", maintain_order=True)


def _has_pairs(records: pl.DataFrame) -> bool:
    return records["rejected"].null_count() < records.height


def _with_rejected(records: pl.DataFrame, turns: pl.Expr, prefix: str = "") -> pl.Expr:
    """The turns, and behind them those of a preference pair's worse side; null without turns."""
    if not _has_pairs(records):
        return turns
    rejected = pl.col(f"{prefix}rejected")
    return pl.when(rejected.is_null()).then(turns).otherwise(pl.concat_list(turns, rejected))


def _changed(records: pl.DataFrame) -> pl.DataFrame:
    """The records of which cleaning changed what is compared: most texts differ in nothing at all."""

    def said(prefix: str) -> pl.Expr:
        turns = _with_rejected(records, pl.col(f"{prefix}messages"), prefix)
        contents = turns.list.eval(pl.element().struct.field("content"))
        return contents.list.join("\n\n", ignore_nulls=True)

    clean, collected = said(""), said("collected_")
    edited = records.filter(clean.ne_missing(collected))
    return edited.filter(text.comparison_text(clean).ne_missing(text.comparison_text(collected)))


def all_views(records: pl.DataFrame, answers_are_labels: bool) -> pl.DataFrame:
    """Views of the cleaned text, and of the collected one where cleaning changed what is compared.

    number, view, is_searched, text, first, second, rank (Int64, the order of the views).
    """
    changed = _changed(records)
    collected = pl.concat([changed.select("number"), text.turns(changed, "collected_")], how="horizontal")
    views = [
        _views(records, answers_are_labels, ""),
        _views(collected, answers_are_labels, "collected_"),
    ]
    return pl.concat(views).with_columns(rank=pl.int_range(pl.len(), dtype=pl.Int64))


def words_of(views: pl.DataFrame, read: Callable[[pl.Series], Ragged]) -> Ragged:
    """The words of each view, as `read` gives them of texts: what stands in several views is read once."""
    parts = pl.concat([views["first"], views["second"]]).drop_nulls().unique(maintain_order=True)
    numbered = pl.DataFrame({"part": parts, "at": pl.int_range(len(parts), eager=True)})
    words = read(parts)
    words = Ragged(words.values, np.append(words.offsets, words.offsets[-1]))  # and a row without words
    places = np.full((views.height, 2), len(parts), dtype=np.int64)
    for side, name in enumerate(("first", "second")):
        found = views.select(part=name).join(numbered, on="part", how="left", maintain_order="left")
        places[:, side] = found["at"].fill_null(len(parts)).to_numpy()
    both = words.take(places.ravel())
    return Ragged(both.values, both.offsets[::2])
