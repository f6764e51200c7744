"""Records that hold what the protected sets hold: evaluation items and the handwritten examples.

Lives here: comparing a record's texts with the protected ones, and the verdict. Keep out: which texts these are
(`compared_views`), n-gram search (`overlap`), rewordings (`paraphrase`), reading evaluation sets, other notions of alike (`near`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from dataset_pipeline import text
from dataset_pipeline.records import IN_REVIEW, MESSAGES, TABLES, Step, conform
from dataset_pipeline.spec.params import DecontaminateParams
from dataset_pipeline.transforms.blocks import in_order
from dataset_pipeline.transforms.compared_views import all_views, words_of
from dataset_pipeline.transforms.overlap import Index, contained, sequences
from dataset_pipeline.transforms.paraphrase import FOUND, Paraphrases
from dataset_pipeline.transforms.shingles import Ragged, tokens
from dataset_pipeline.transforms.words import Hashes

CHARS_AT_ONCE = 5_000_000
"""Characters of records searched at a time by a thread: bounds memory, changes no result."""

EQUAL, COVERAGE, CONTAINED, PARAPHRASE, BELOW = range(5)
"""Strength of a match, strongest first. BELOW: some overlap, under the threshold: measured only."""


@dataclass(frozen=True)
class _Protected:
    """Items in (eval_set, eval_item) order, numbered from 0, and their words."""

    items: pl.DataFrame
    words: Ragged
    index: Index
    sequences: Hashes
    paraphrases: Paraphrases | None

    @classmethod
    def of(cls, protected: pl.DataFrame, params: DecontaminateParams) -> _Protected:
        # An empty item says nothing; without this, every empty record would equal it.
        items = (
            protected.with_columns(compared=text.comparison_text(pl.col("text")))
            .filter(pl.col("compared") != "")
            .sort("eval_set", "eval_item", "text")
            .with_columns(item=pl.int_range(pl.len(), dtype=pl.Int64))
        )
        words = tokens(items["text"])
        told = Paraphrases.of(items, params.paraphrase.min_words) if params.paraphrase else None
        return cls(items, words, Index.of(words, params.ngram), sequences(words), told)


def _matches(records: pl.DataFrame, protected: _Protected, params: DecontaminateParams) -> pl.DataFrame:
    """The strongest match of each record that has any: number, view, item, strength, fraction, start, end."""
    views = all_views(records, params.answers_are_labels)
    first = protected.items.unique("compared", keep="first", maintain_order=True).select("compared", "item")
    every = words_of(views, tokens)
    # Folding is costly: only texts whose words are those of an item, and texts without any, are folded.
    may_equal = np.isin(sequences(every), protected.sequences)
    equal = (
        views.filter(pl.Series(may_equal | (every.lengths == 0), dtype=pl.Boolean))
        .with_columns(compared=text.comparison_text(pl.col("text")))
        .join(first, on="compared")
        .with_columns(
            strength=pl.lit(EQUAL, pl.Int32),
            fraction=pl.lit(1.0),
            start=pl.lit(0, pl.Int32),
            end=text.folded(pl.col("text")).str.count_matches(text.WORD).cast(pl.Int32),
        )
    )
    searched = views.filter("is_searched").with_columns(row=pl.int_range(pl.len(), dtype=pl.Int64))
    words = every.take(np.flatnonzero(views["is_searched"].to_numpy()))
    covered = _judged_coverage(protected.index.coverage(words), searched, protected, params)
    short = contained(words, protected.words, params.min_contained_words, params.ngram).with_columns(
        strength=pl.lit(CONTAINED, pl.Int32)
    )
    overlaps = pl.concat([covered, short]).join(searched, on="row")
    columns = ["number", "rank", "view", "item", "strength", "fraction", "start", "end"]
    item_words = protected.items.select("item", length=pl.Series(protected.words.lengths))
    # What an item's long runs of words have measured as an idiom is no paraphrase of it: those words made the score.
    told = _paraphrases(views, protected, params).join(
        overlaps.filter(pl.col("strength") == BELOW), on=["number", "item"], how="anti"
    )
    return (
        pl.concat([equal.select(columns), overlaps.select(columns), told.select(columns)])
        .join(item_words, on="item")
        # All contained items have fraction 1.0: there the longer one is the stronger.
        .with_columns(length=pl.when(pl.col("strength") == CONTAINED).then("length").otherwise(0))
        .sort(
            "number", "strength", "fraction", "length", "item", "rank",
            descending=[False, False, True, True, False, False],
        )
        .unique("number", keep="first", maintain_order=True)
        .drop("rank", "length")
        .join(protected.items.select("item", "eval_set", "eval_item"), on="item")
        .join(item_words, on="item")
    )  # fmt: skip


def _judged_coverage(
    found: pl.DataFrame, searched: pl.DataFrame, protected: _Protected, params: DecontaminateParams
) -> pl.DataFrame:
    """`found` with its strength: enough of the item is covered, and not in a template with other numbers.

    "A plane travels 1200 miles in 3 hours …" is no copy of the same words with 360 miles: less than half of the item's
    numbers are in the text, and others stand where it matches, or near (a cut copy has none of its own).
    """
    enough = found.filter(pl.col("fraction") >= params.min_coverage)
    near = params.ngram
    start = (pl.col("start") - near).clip(0)
    numbers = pl.element().filter(pl.element().str.contains(r"^\p{Nd}+$"))
    twins = (
        enough.join(searched.select("row", "text"), on="row")
        .join(protected.items.select("item", item_text="text"), on="item")
        .with_columns(text.folded(pl.col("text", "item_text")).str.extract_all(text.WORD))
        .with_columns(
            own=pl.col("text").list.eval(numbers),
            asked=pl.col("item_text").list.eval(numbers).list.unique(),
            here=pl.col("text").list.slice(start, pl.col("end") + near - start).list.eval(numbers),
        )
        .filter(pl.col("here").list.set_difference("asked").list.len() > 0)
        .filter(2 * pl.col("own").list.set_intersection("asked").list.len() < pl.col("asked").list.len())
        .select("row")
    )
    copies = enough.join(twins, on="row", how="anti").select("row", is_copy=pl.lit(True))
    strength = pl.when(pl.col("is_copy")).then(pl.lit(COVERAGE, pl.Int32)).otherwise(pl.lit(BELOW, pl.Int32))
    return found.join(copies, on="row", how="left").with_columns(strength=strength).drop("is_copy")


def _paraphrases(views: pl.DataFrame, protected: _Protected, params: DecontaminateParams) -> pl.DataFrame:
    """The views that tell an item in other words, with the score as fraction; the span is the whole text."""
    told = views.with_columns(row=pl.int_range(pl.len(), dtype=pl.Int64))
    if params.paraphrase is None or protected.paraphrases is None:
        found = pl.DataFrame(schema=FOUND)
    else:
        wanted = params.paraphrase
        words = words_of(views, protected.paraphrases.read)
        found = protected.paraphrases.search(words, wanted.min_words, wanted.threshold)
    return found.join(told, on="row", maintain_order="left").with_columns(
        strength=pl.lit(PARAPHRASE, pl.Int32),
        # Rounded, so that a sum in another order on another machine gives the same table.
        fraction=pl.col("score").round(6),
        start=pl.lit(0, pl.Int32),
        end=text.folded(pl.col("text")).str.count_matches(text.WORD).cast(pl.Int32),
    )


def _chunks(records: pl.DataFrame) -> list[pl.DataFrame]:
    chars = records.select(
        pl.sum_horizontal(
            pl.col(name)
            .list.eval(pl.element().struct.field("content").str.len_chars())
            .list.sum()
            .fill_null(0)
            for name in ("messages", "collected_messages", "rejected", "collected_rejected")
            if name == "messages" or records[name].null_count() < records.height
        )
    ).to_series()
    numbers = (chars.cast(pl.Int64).cum_sum() // CHARS_AT_ONCE).alias("chunk")
    return records.with_columns(numbers).partition_by("chunk", maintain_order=True, include_key=False)


def _detail(params: DecontaminateParams) -> pl.Expr:
    """Compact JSON with sorted keys; `text` says which of the record's texts the word span counts in."""

    def encoded(value: pl.Expr, threshold: pl.Expr) -> pl.Expr:
        return pl.struct(
            item="eval_item",
            rule="match",
            set="eval_set",
            span=pl.concat_list("span_start", "span_end"),
            text="view",
            threshold=threshold,
            value=value,
        ).struct.json_encode()

    return (
        pl.when(pl.col("match") == "contained")
        .then(encoded(pl.col("length"), pl.lit(params.min_contained_words)))
        .when(pl.col("match") == "coverage")
        .then(encoded(pl.col("overlap_fraction").round(6), pl.lit(params.min_coverage)))
        .when(pl.col("match") == "paraphrase")
        .then(encoded(pl.col("overlap_fraction"), pl.lit(params.paraphrase and params.paraphrase.threshold)))
        .otherwise(encoded(pl.col("overlap_fraction"), pl.lit(1.0)))
    )


def _or_null(records: pl.DataFrame, name: str) -> pl.Expr:
    dtype = pl.Int32 if name == "prompt_turns" else MESSAGES
    return pl.col(name) if name in records.columns else pl.lit(None, dtype).alias(name)


def decontaminate(
    records: pl.DataFrame, protected: pl.DataFrame, params: DecontaminateParams
) -> pl.DataFrame:
    """Marks every record that holds a protected text. Returns TABLES["decontaminate"], by record_id.

    records: record_id, day, messages (cleaned) and collected_messages (as collected, same type), and of
    preference pairs prompt_turns, rejected and collected_rejected; protected: TABLES["protected"], of which
    `text` is looked for. Compared are the prompt side, the answer and both together (where answers are
    labels, the prompt side only; of a pair also the rejected answer, alone and with the prompt) and, for
    equality, each message alone; where cleaning changed them, as cleaned and as collected.
    match `equal`: the comparison text of an item; `coverage`: at least `min_coverage` of the item's
    words lie in n-grams of `ngram` words that the record has too, and its numbers are not replaced by others;
    both drop the record as `contaminated`. `contained`: an item shorter than an n-gram, of `min_contained_words` or more,
    stands whole in a longer text: a suspect, treated as `suspects` says. `paraphrase`: any of these texts
    tells an item in other words, with a score (`paraphrase`) of `paraphrase.threshold` or more, and has no
    n-gram of it: a suspect too. The strongest match is named: equal, coverage by share, contained by length, paraphrase by score,
    then the first by (eval_set, eval_item).
    overlap_fraction: the item's share of words found, of a paraphrase its score, 0.0 for none; the share is
    measured, with item and span, below the threshold too (match is null then). span_start, span_end: words
    of the compared text (half-open) from the first to the last matching n-gram; of a paraphrase all of it.
    """
    numbered = records.select(
        "record_id",
        "day",
        "messages",
        "collected_messages",
        *(_or_null(records, name) for name in ("prompt_turns", "rejected", "collected_rejected")),
    ).with_row_index("number")
    items = _Protected.of(protected, params)
    chunks = _chunks(numbered) if items.items.height and numbered.height else [numbered.clear()]
    found = pl.concat(list(in_order(lambda chunk: _matches(chunk, items, params), chunks)))
    suspect = {"review": IN_REVIEW, "drop": "suspect", "keep": None}[params.suspects]
    names = {
        EQUAL: "equal",
        COVERAGE: "coverage",
        CONTAINED: "contained",
        PARAPHRASE: "paraphrase",
        BELOW: None,
    }
    reasons = dict.fromkeys((EQUAL, COVERAGE), "contaminated") | dict.fromkeys(
        (CONTAINED, PARAPHRASE), suspect
    )
    reasons |= {BELOW: None}
    judged = (
        numbered.select("number", "record_id", "day")
        .join(found, on="number", how="left")
        .with_columns(
            match=pl.col("strength").replace_strict(names, return_dtype=pl.String),
            reason=pl.col("strength").replace_strict(reasons, return_dtype=pl.String),
            overlap_fraction=pl.col("fraction").fill_null(0.0),
            span_start="start",
            span_end="end",
        )
        .with_columns(kept=pl.col("reason").is_null(), review=pl.lit(None, pl.String))
        .with_columns(detail=pl.when(~pl.col("kept")).then(_detail(params)))
    )
    return conform(judged.sort("record_id").select(*TABLES[Step.DECONTAMINATE]), Step.DECONTAMINATE)
