"""Which records a person's verdict means, and which of several verdicts stands.

Lives here: joins of verdicts and records, and the order of verdicts among themselves; both for `resolved` (the
table) and `naming` (a step), which must not differ. Keep out: reading verdicts, applying them (`reviews`).
"""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

import polars as pl

ACTS, OVERRULED, CONFLICT = "acts", "overruled", "conflict"


class Matches(NamedTuple):
    """best: the rows that name a record most nearly, with `target` and its `day`. rows: all that mean any."""

    best: pl.DataFrame
    rows: pl.Series


def matches(rows: pl.DataFrame, known: pl.DataFrame) -> Matches:
    """Pairs of a verdict and a record that it means. rows: TABLES['reviews'] and `row`, any number of steps."""
    day = pl.col("day") if "day" in known.columns else pl.lit(None, pl.Date).alias("day")
    id_of = pl.when(pl.col("source_id").str.strip_chars() != "").then("source_id").alias("source_id")
    records = known.select(pl.col("record_id").alias("target"), day, "source", id_of, "content")
    keyed, texts = ["source", "source_id"], ["source", "content"]
    # Only what shares a key with a verdict is looked at: reviews are few, records many.
    meant = records.join(rows.select(target="record").drop_nulls().unique(), on="target", how="semi")
    rows = rows.join(
        meant.select(record="target", since="day"), on="record", how="left", maintain_order="left"
    )
    named = rows.filter(pl.col("source").is_not_null() & pl.col("source_id").is_not_null())
    same_id = records.join(named.select(keyed).unique(), on=keyed, how="semi").with_columns(
        is_shared=(pl.len().over(*keyed, "day") > 1) & pl.col("day").is_not_null()
    )
    own, shared = same_id.filter(~pl.col("is_shared")), same_id.filter("is_shared")
    alone, again = named.filter(pl.col("record").is_null()), named.filter(pl.col("record").is_not_null())
    textual = rows.filter(pl.col("source").is_not_null() & pl.col("content").is_not_null())
    loose = records.filter(pl.col("source_id").is_null() & pl.col("content").is_not_null()).join(
        textual.select(texts).unique(), on=texts, how="semi"
    )
    direct = rows.join(meant.select("target", "day"), left_on="record", right_on="target", how="inner")
    by_key = [
        (0, alone, same_id, keyed),
        (1, again, own, keyed),
        (1, again.filter(pl.col("content").is_not_null()), shared, [*keyed, "content"]),
        (2, textual, loose, texts),
    ]
    # Verdicts name their records one way, as a rule: the other ways have nobody to look for.
    by_key = [way for way in by_key if way[1].height and way[2].height]
    columns = [*rows.columns, "target", "day"]
    pairs = pl.concat(
        [
            direct.with_columns(target=pl.col("record"), tier=pl.lit(0, pl.Int8)).select(*columns, "tier"),
            *(
                _joined(said, found, keys).select(*columns, pl.lit(tier, pl.Int8).alias("tier"))
                for tier, said, found, keys in by_key
            ),
        ]
    )
    best = pairs.filter(pl.col("tier") == pl.col("tier").min().over("target", "step")).drop("tier", "since")
    mean = [direct["row"], *(said.join(found, on=keys, how="semi")["row"] for _, said, found, keys in by_key)]
    return Matches(best, pl.concat(mean).unique().sort())


_EVER = dt.date.min
"""The day from which a verdict counts that is on no collected record in particular."""


def _joined(rows: pl.DataFrame, records: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """Every record with what stands, on its day, of the rows that share its keys: pairs that may still differ.

    A row counts from the day of its own record (`since`) on: what is collected later must not reach back.
    Settled among themselves first: a thousand verdicts on one id that a million records carry would be a
    thousand million pairs.
    """
    group = [*keys, "step"]
    told = _standing(rows.with_columns(start=pl.col("since").fill_null(_EVER)), [*group, "start"])
    moments = told.select(*group, moment="start").unique()
    standing = _standing(
        told.join(moments, on=group, how="inner").filter(pl.col("start") <= pl.col("moment")),
        [*group, "moment"],
    )
    days = records.select(*keys, "target", "day", on=pl.col("day").fill_null(dt.date.max))
    dated = days.join(moments.select(group).unique(), on=keys, how="inner").sort("on", "target")
    since = dated.join_asof(
        moments.sort("moment", *group), left_on="on", right_on="moment", by=group, check_sortedness=False
    ).filter(pl.col("moment").is_not_null())
    return since.select(*group, "moment", "target", "day").join(standing, on=[*group, "moment"], how="inner")


def _standing(rows: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """The last word of each reviewer on the last date of equal keys: all that can matter among more rows."""
    counted = _counted(rows, keys)
    return counted.filter(pl.col("is_latest") & pl.col("is_last_word")).select(rows.columns)


def settled(rows: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """`rows` with `state` among those of equal keys: acts, conflict or overruled.

    The last by (date, uri, line) acts; no date is before any date. On the last date each reviewer's last word
    counts, and where those differ, all of that date are in conflict.
    """
    counted = _counted(rows, keys)
    words = pl.col("word").filter(pl.col("is_latest") & pl.col("is_last_word")).n_unique().over(keys)
    state = (
        pl.when(pl.col("is_latest") & (words > 1))
        .then(pl.lit(CONFLICT))
        .when("is_last")
        .then(pl.lit(ACTS))
        .otherwise(pl.lit(OVERRULED))
    )
    return counted.with_columns(state=state).select(*rows.drop("state", strict=False).columns, "state")


def _counted(rows: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """`rows` with word, is_latest (of the last date), is_last and is_last_word (of its reviewer and date)."""
    who = [*keys, "dated", "who"]
    return (
        rows.with_columns(
            dated=pl.col("date").fill_null(dt.date.min),
            who=pl.col("reviewer").str.strip_chars().str.to_lowercase(),
            word=pl.concat_str("verdict", pl.col("value").fill_null(""), separator="\x1f"),
        )
        .sort(*keys, "dated", "uri", "line", "row")
        .with_columns(
            is_latest=pl.col("dated") == pl.col("dated").max().over(keys),
            is_last=pl.int_range(pl.len()).over(keys) == pl.len().over(keys) - 1,
            is_last_word=pl.int_range(pl.len()).over(who) == pl.len().over(who) - 1,
        )
    )
