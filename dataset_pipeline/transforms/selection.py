"""What of the kept records is released, and what is withheld until a person settles it.

Lives here: contradictions over all days. Keep out: rows of files (`release`), one day's labels (`label`).
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson
import polars as pl

from dataset_pipeline.records import ERASED
from dataset_pipeline.transforms.reviews import KEEP, RELABEL

MAX_NAMED = 20
"""Other sides of a contradiction that a detail names."""


@dataclass(frozen=True)
class Selection:
    """released: kept records to write, by record_id. withheld: kept records held back, with reason and detail."""

    released: pl.DataFrame
    withheld: pl.DataFrame


def select(
    records: pl.DataFrame,
    labelled: pl.DataFrame,
    answers_are_labels: bool,
    deduplicated: pl.DataFrame | None = None,
    has_pairs: bool = False,
) -> Selection:
    """Divide the records that split kept.

    records: record_id, split, label, messages (cleaned) of every kept record. labelled: TABLES['label'] of all
    days; deduplicated: TABLES['dedup'] of all days. Where answers are labels, and of preference pairs
    (has_pairs), every side of a contradiction is withheld, also one whose other side a later step dropped: a
    person has to settle it. A side of which a person said keep or relabel is settled, whatever the others are;
    those wait until each of them has a verdict, or until the answers left are one.
    """
    ordered = records.sort("record_id")
    if not (answers_are_labels or has_pairs):
        return Selection(ordered, _withheld(ordered.clear()))
    sides = contradicting(labelled)
    ids = pl.col("record_id").sort()
    # As many sides as a detail names, and the one it is about: whole lists would grow with the square.
    rivals = sides.group_by("prompt_key").agg(sides=ids.head(MAX_NAMED + 1), count=pl.len().cast(pl.Int64))
    known = sides.join(rivals, on="prompt_key").select("record_id", "sides", "count")
    if deduplicated is not None:
        # A near duplicate was dropped, and its equal says otherwise: the dropped side is not in `labelled`.
        hidden = contested(deduplicated).select(
            "record_id",
            sides=pl.concat_list("record_id", pl.col("others").list.head(MAX_NAMED)),
            count=pl.col("others").list.len().cast(pl.Int64) + 1,
        )
        known = pl.concat([known, hidden.join(known, on="record_id", how="anti")])
    known = known.join(settled(labelled), on="record_id", how="anti")
    held = ordered.join(known, on="record_id", how="inner")
    return Selection(ordered.join(held, on="record_id", how="anti").sort("record_id"), _withheld(held))


def withheld_counts(selection: Selection) -> dict[str, int]:
    """Reason to the number of records held back."""
    return dict(selection.withheld.group_by("reason").len().sort("reason").iter_rows())


def erased_rows(gone: pl.DataFrame, erased: pl.DataFrame) -> pl.DataFrame:
    """Rows of `withheld` for records that a review erases and whose day could not be made again yet.

    gone: record_id. erased: record_id, place.
    """
    told = gone.select("record_id").join(erased.select("record_id", "place"), on="record_id")
    detail = pl.struct(rule=pl.lit("erase"), threshold="place", value=pl.lit("erase")).struct.json_encode()
    return told.select("record_id", pl.lit(ERASED).alias("reason"), detail.alias("detail")).sort("record_id")


def settled(labelled: pl.DataFrame) -> pl.DataFrame:
    """record_id of the kept label rows of which a person said keep or relabel."""
    verdict = pl.col("review").str.json_path_match("$.verdict")
    return labelled.filter(pl.col("kept") & verdict.is_in([KEEP, RELABEL])).select("record_id")


def _withheld(held: pl.DataFrame) -> pl.DataFrame:
    """record_id, reason, detail; the detail counts all sides and names the other ones (ids, at most twenty)."""
    rows = [
        (
            record_id,
            "contradiction",
            orjson.dumps(
                {
                    "others": [s for s in sides if s != record_id][:MAX_NAMED],
                    "rule": "contradiction",
                    "threshold": 1,
                    "value": count,
                }
            ).decode(),
        )
        for record_id, sides, count in (
            held.select("record_id", "sides", "count").iter_rows() if "sides" in held.columns else ()
        )
    ]
    schema = {"record_id": pl.String, "reason": pl.String, "detail": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row").sort("record_id")


def contested(deduplicated: pl.DataFrame) -> pl.DataFrame:
    """record_id, day, others (ids of the dropped) and since (the day from which it is known) of kept records
    whose prompt a dropped near duplicate had with another answer.

    deduplicated: TABLES['dedup'] of all days up to the ones in question. Dropping the near duplicate must
    not settle what its equal says otherwise. Exact duplicates need no look: their twin has the answer.
    """
    gone = deduplicated.filter(pl.col("reason") == "near").select(
        "comparison_key", other="answer_key", known="day", dropped="record_id"
    )
    return (
        deduplicated.filter("kept")
        .select("record_id", "day", "comparison_key", "answer_key")
        .join(gone, on="comparison_key")
        .filter(
            (pl.col("other") != pl.col("answer_key")) & (pl.col("answer_key") != "") & (pl.col("other") != "")
        )
        .with_columns(since=pl.max_horizontal("day", "known"))
        .group_by("record_id", "day")
        .agg(pl.col("since").min(), others=pl.col("dropped").unique().sort())
        .sort("record_id")
    )


def contradicting(labelled: pl.DataFrame) -> pl.DataFrame:
    """record_id and prompt_key of the kept rows whose prompt has more than one answer, over all days."""
    kept = labelled.filter("kept")
    several = (
        kept.group_by("prompt_key")
        .agg(pl.col("answer_key").n_unique().alias("answers"))
        .filter(pl.col("answers") > 1)
    )
    return (
        kept.join(several, on="prompt_key", how="semi")
        .select("record_id", "prompt_key")
        .sort("prompt_key", "record_id")
    )
