"""Words of the card for what tables say in one word: reasons of verdicts, files of a release.

Lives here: what is said. Keep out: numbers and layout (`whole`, `data`, `uses`).
"""

from __future__ import annotations

from dataset_pipeline.records import ERASED, IN_REVIEW, REVIEWED

REASON_WORDS: dict[str, str] = {
    ERASED: "records that a person asked to erase, with their copies and what was generated from them",
    "exact": "copies of an earlier record: equal but for case, punctuation and white space",
    "near": "near copies of an earlier record, by shared runs of words",
    "semantic": "records that say in other words what an earlier one says",
    "too_short": "texts with too few words",
    "too_long": "texts with too many words",
    "too_many_tokens": "records with too many tokens",
    "low_alpha": "texts with too few letters",
    "symbols": "texts with too many symbols",
    "digits": "texts with too many digits",
    "repetition": "texts that repeat themselves",
    "markup": "texts that are mostly markup",
    "automatic_reply": "automatic replies",
    "profanity": "prompts with several words of the profanity list",
    "label_form": "answers that cannot be a label",
    "empty_answer": "records without an answer",
    "sides_alike": "preference pairs whose answers say the same",
    "language": "texts in a language outside the spec's",
    "empty_after_cleaning": "texts of which cleaning left nothing",
    "contaminated": "records that hold an item of an evaluation set or a handwritten example",
    "suspect": "records that may hold a short item of an evaluation set, or one in other words",
    "unlabelled": "records without a label",
    "unknown_label": "records whose label is neither the spec's nor an alias",
    "no_evaluate_right": "records of validation and test whose rights do not allow evaluation",
    "same_after_cleaning": "records that cleaning made equal to an earlier one",
    "near_other_split": "records near one of another split",
    "contradiction": "equal prompts with different answers: all sides, until a person decides",
    "not_made": "records that a step has not judged, because its gate was closed",
    IN_REVIEW: "records that wait for a person",
    REVIEWED: "records that a person dropped",
}
"""Reason to the kind of records that are not in the release for it."""

LICENCE_TEXT: dict[str, str] = {
    "attribution": "name the holders and keep their notices",
    "share_alike": "pass on what is made of the data under the same licence only",
    "non_commercial": "no commercial use",
    "no_derivatives": "do not pass on adapted material; this release is adapted",
}
"""Obligation to what it asks of who receives the release."""

USE_WORDS: dict[str, str] = {
    "train": "training a model",
    "evaluate": "evaluating a model on validation and test",
    "commercial": "commercial use",
    "redistribute": "passing the data on",
}

FILES: tuple[tuple[str, str], ...] = (
    (
        "provenance.parquet",
        "where each record is from, its rights, and what each step measured of it; no text",
    ),
    (
        "dropped.parquet",
        "every other collected record, with the step, the reason and the measured value; no text",
    ),
    ("rejects.parquet", "rows that could not be read as records: file, line, reason"),
    ("croissant.json", "the same data described for machines (Croissant)"),
    (
        "manifest.json",
        "the hash and rows of every file, the spec, the inputs with their hashes, versions, missing days",
    ),
)
"""Files that every release has beside its data."""
