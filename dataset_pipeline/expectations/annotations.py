"""What must hold before answers of annotators, their consensus and their agreement become visible.

Lives here: the suite and its gauges. Keep out: measuring agreement (`transforms.agreement`), what a record's
label becomes (`expectations.label`).
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from dataset_pipeline.expectations.common import MIN_SAMPLE, column_differences
from dataset_pipeline.expectations.gate import Expectation
from dataset_pipeline.records import ANNOTATIONS
from dataset_pipeline.text import shown_name

MIN_ANSWERS = 20
"""Of fewer answers, a share of an annotator says little."""

_NOT_ANSWERED, _PARTLY_READ = "missing_label", "bad_confidence"
"""Reasons of rows that are no fault of the file: not filled in yet, or an answer all the same."""

_NAMED = 5
"""Places and names that a failed expectation tells."""


def annotations_suite(min_agreement: float = 0.75) -> tuple[Expectation, ...]:
    """The expectations of `annotations`; min_agreement: label.min_agreement of the spec."""
    return (
        Expectation("columns_exact", "A column was added, lost or retyped.", "between", "gauges", ("column_differences",), maximum=0),
        Expectation("items_unique", "Two rows of the consensus stand for one item.", "unique", "rows", ("record_id",)),
        Expectation("answers_conserved", "Answers that count and the answers of the consensus are not as many.",
                    "between", "gauges", ("answers_lost",), minimum=0, maximum=0,
                    is_fixed=True, why_fixed="a step that loses a row in silence does not happen"),
        Expectation("answers_readable", "Rows of annotation files could not be used: their answers would be lost.",
                    "between", "gauges", ("unreadable_share",), maximum=0.01, min_sample=MIN_SAMPLE),
        Expectation("files_counted", "Nothing in an annotation file could be used: a wrong column, another kind of id, or labels of another task.",
                    "between", "gauges", ("useless_files",), maximum=0),
        Expectation("labels_known", "Many answers are no label of the spec: name the words under label.aliases.",
                    "between", "gauges", ("unknown_label_share",), maximum=0.1, min_sample=MIN_SAMPLE, sample="answers"),
        Expectation("every_label_known", "An answer is neither a label nor an alias of the spec: it does not count.",
                    "between", "gauges", ("unknown_labels",), "warning", maximum=0),
        Expectation("labels_given", "Rows without a label: not annotated yet, or a wrong column.",
                    "between", "gauges", ("unanswered_share",), "warning", maximum=0.05, min_sample=MIN_SAMPLE),
        Expectation("confidences_readable", "A confidence is no number from 0 to 1: the answer counts without it.",
                    "between", "gauges", ("bad_confidences",), "warning", maximum=0),
        Expectation("records_known", "An answer names a record that was not collected: a typing error, or its day is not made yet.",
                    "between", "gauges", ("unknown_records",), "warning", maximum=0),
        Expectation("one_answer_each", "An annotator answered an item more than once: the last answer counts.",
                    "between", "gauges", ("overruled_answers",), "warning", maximum=0),
        Expectation("agreement", "Annotators disagree too much (Krippendorff's alpha; the label they are least clear about is named): the labels cannot be learned. "
                    "Mend the instructions; or lower label.min_agreement, or relax it under gates with a reason.",
                    "between", "gauges", ("alpha",), minimum=min_agreement, min_sample=MIN_SAMPLE, sample="paired_items"),
        Expectation("agreement_measured", "There are answers, but agreement cannot be told: no item has two, or all are the same.",
                    "between", "gauges", ("alpha_missing",), "warning", maximum=0),
        Expectation("annotators_agree", "An annotator often differs from the consensus: other instructions, or no care.",
                    "between", "gauges", ("lowest_annotator",), "warning", minimum=0.6),
        Expectation("no_ties", "Many items with several answers have no consensus: their records wait for a person.",
                    "between", "gauges", ("tie_share",), "warning", maximum=0.05, min_sample=MIN_SAMPLE, sample="paired_items"),
    )  # fmt: skip


ANNOTATIONS_SUITE: tuple[Expectation, ...] = annotations_suite()
"""With the spec's default of min_agreement: the names there are."""


def annotation_frames(
    answers: pl.DataFrame,
    consensus: pl.DataFrame,
    agreement: pl.DataFrame,
    unusable: Sequence[tuple[str, int, str]],
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """rows (an item of the consensus each) and gauges for `annotations_suite`; the only `day` is the word `all`.

    The tables of those names; unusable: uri, line and reason of rows that are no answer, or not wholly one.
    Where there is nothing to measure a gauge has the value of a good one. Culprits are `file:line`, with a word
    only where it is a short one.
    """
    rows = consensus.select(
        pl.coalesce("record", pl.concat_str("source", pl.lit(":"), "source_id")).alias("record_id"),
        pl.lit("all").alias("day"),
    )
    bad = pl.DataFrame(
        list(unusable), schema={"uri": pl.String, "line": pl.Int64, "reason": pl.String}, orient="row"
    )
    unreadable = bad.filter(~pl.col("reason").is_in([_NOT_ANSWERED, _PARTLY_READ]))
    unanswered, partly = (bad.filter(pl.col("reason") == r) for r in (_NOT_ANSWERED, _PARTLY_READ))
    read = pl.concat([answers.select("uri", "line"), bad.select("uri", "line")]).n_unique()
    states = {
        s: answers.filter(pl.col("state") == s) for s in ("unknown_label", "unknown_record", "overruled")
    }
    counted = answers.filter(pl.col("label").is_not_null() & (pl.col("state") != "overruled"))
    useless = _useless(answers, unreadable)
    paired = consensus.filter(pl.col("answers") > 1)
    alpha = agreement.filter((pl.col("measure") == "alpha") & pl.col("value").is_not_null())[
        "value"
    ].to_list()
    differing = _differing(agreement)
    gauges = {
        "day": "all",
        "n": read,
        "answers": answers.height,
        "paired_items": paired.height,
        "column_differences": sum(
            column_differences(frame, table)
            for frame, table in ((answers, ANNOTATIONS), (consensus, "consensus"), (agreement, "agreement"))
        ),
        "answers_lost": counted.height - int(consensus["answers"].sum()),
        "unreadable_share": _share(unreadable.height, read),
        "useless_files": len(useless),
        "unknown_label_share": _share(states["unknown_label"].height, answers.height),
        "unknown_labels": states["unknown_label"].height,
        "unanswered_share": _share(unanswered.height, read),
        "bad_confidences": partly.height,
        "unknown_records": states["unknown_record"].height,
        "overruled_answers": states["overruled"].height,
        # Without two answers on an item, or with one answer throughout, alpha is not defined; agreement_measured warns.
        "alpha": alpha[0] if alpha else 1.0,
        "alpha_missing": int(counted.height > 0 and not alpha),
        "lowest_annotator": differing["value"].min() if differing.height else 1.0,
        "tie_share": _share(paired["label"].null_count(), paired.height),
    }
    culprits = {
        "unreadable_share": _places(unreadable, "reason"),
        "useless_files": ", ".join(useless[:_NAMED]) or None,
        "unknown_label_share": _places(states["unknown_label"], "given"),
        "unknown_labels": _places(states["unknown_label"], "given"),
        "unanswered_share": _places(unanswered),
        "bad_confidences": _places(partly),
        "unknown_records": _places(states["unknown_record"]),
        "overruled_answers": _places(states["overruled"]),
        "lowest_annotator": _annotators(differing, answers),
        "alpha": _least_clear(agreement),
    }
    named = {f"{gauge}_culprit": words for gauge, words in culprits.items()}
    schema = dict.fromkeys(named, pl.String)
    return rows, pl.DataFrame([gauges | named], schema_overrides=schema)


def _least_clear(agreement: pl.DataFrame) -> str | None:
    """The label whose use differs most, with its own alpha."""
    lowest = agreement.filter((pl.col("measure") == "alpha_label") & pl.col("value").is_not_null()).sort(
        "value", "name"
    )
    if not lowest.height:
        return None
    label, value = lowest.select("name", "value").row(0)
    return f"{label} ({value:.2f})"


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _useless(answers: pl.DataFrame, unreadable: pl.DataFrame) -> list[str]:
    """Files with rows that cannot be used, and not one answer that can."""
    tried = {*unreadable["uri"].to_list(), *answers["uri"].unique().to_list()}
    return sorted(tried - set(answers.filter(pl.col("label").is_not_null())["uri"].unique().to_list()))


def _places(rows: pl.DataFrame, word: str | None = None) -> str | None:
    """The first places as file:line, with what may be told of them, and how many more there are."""
    if rows.height == 0:
        return None
    first = rows.sort("uri", "line", maintain_order=True).head(_NAMED)
    words = first[word].to_list() if word else [None] * first.height
    told = [
        f"{uri}:{line}" + (f" {said}" if said else "")
        for uri, line, said in zip(first["uri"], first["line"], words, strict=True)
    ]
    return ", ".join(told) + (f" and {rows.height - _NAMED} more" if rows.height > _NAMED else "")


def _differing(agreement: pl.DataFrame) -> pl.DataFrame:
    """Annotators with answers enough to tell, those who differ most from the consensus first."""
    told = (pl.col("measure") == "annotator") & (pl.col("n") >= MIN_ANSWERS) & pl.col("value").is_not_null()
    return agreement.filter(told).sort("value", "name")


def _annotators(differing: pl.DataFrame, answers: pl.DataFrame) -> str | None:
    """The annotators who differ most, with a place: a name that looks like data (a wrong column) is not repeated."""
    lowest = differing.head(_NAMED)
    if lowest.height == 0:
        return None
    first = (
        answers.filter(pl.col("annotator").is_in(lowest["name"].implode()))
        .sort("uri", "line")
        .unique("annotator", keep="first", maintain_order=True)
    )
    places = {
        name: f"{uri}:{line}" for name, uri, line in first.select("annotator", "uri", "line").iter_rows()
    }
    return ", ".join(
        f"{shown_name(name)} {value:.2f} (as in {places.get(name, 'the table agreement')})"
        for name, value in lowest.select("name", "value").iter_rows()
    )
