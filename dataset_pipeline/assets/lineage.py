"""Which column is made from which: one mapping, shown at each asset as a table and as Dagster's column lineage.

Lives here: the mapping. Keep out: what a column means (`words`). A value is a list of `table.column`, parted by spaces;
what stands after `|` is told in words: a file, the spec, the code. The open-source UI draws no column lineage, so a person
reads the table.
"""

from __future__ import annotations

from dataclasses import dataclass

import dagster as dg

from dataset_pipeline.records import ANNOTATIONS, INPUTS, PROTECTED, REVIEWS, SIDE_SIGNALS, TABLES, Step

_TEXT = "ingest.messages ingest.prompt_turns ingest.rejected"
_CLEAN = "normalize.messages ingest.prompt_turns normalize.rejected"
_FILE = "| the file of the source"
_REVIEW = "reviews.record reviews.step reviews.verdict reviews.value reviews.reviewer reviews.date"


def _key(before: str) -> dict[str, str]:
    return {"record_id": f"{before}.record_id", "day": f"{before}.day"}


def _verdict(made_from: str, limits: str) -> dict[str, str]:
    return {
        "kept": f"{made_from} | {limits}",
        "reason": f"{made_from} | {limits}",
        "detail": f"{made_from} | {limits}",
    }


def _side(side: str) -> str:
    return "ingest.messages" if side == "answer" else "ingest.messages ingest.prompt_turns"


MADE_FROM: dict[str, dict[str, str]] = {
    Step.INGEST: {
        "record_id": "| the row of the file, its source and its day",
        "day": "| {date} in the path, or collected_at of the spec",
        "source": "| sources.name of the spec",
        "source_rank": "| sources.rank of the spec",
        "source_id": "| the file, column fields.id",
        "uri": "| the file's path",
        "line": _FILE,
        "byte_offset": _FILE,
        "messages": "| the file, columns fields.input and fields.output, or the layout",
        "prompt_turns": "| the file, by the layout of pairs",
        "rejected": "| the file, by the layout of pairs",
        "tools": "| the file, by the layout",
        "label": "| the file, column fields.output",
        "group": "| the file, column fields.group",
        "created_at": "| the file, column fields.created_at",
        "person_names": "| the file, columns fields.person_names",
        "may_evaluate": "| sources.rights.uses of the spec",
        "content_sha": "| every column above that later steps read",
        **_verdict("erasures.record erasures.text_key erasures.child_group", "what people asked to erase"),
    },
    Step.DEDUP: {
        **_key("ingest"),
        "comparison_key": _TEXT,
        "answer_key": f"{_TEXT} ingest.label consensus.label",
        "shingles": f"{_TEXT} | dedup.near of the spec",
        "bands": f"{_TEXT} | dedup.near of the spec",
        "twin": "dedup.record_id dedup.bands dedup.comparison_key ingest.messages ingest.source_rank | records kept earlier",
        "similarity": "ingest.messages | this record's shingles and its twin's",
        **_verdict(
            "dedup.comparison_key dedup.answer_key dedup.similarity", "dedup.near.threshold of the spec"
        ),
    },
    Step.FILTER: {
        **_key("dedup"),
        **{f"{side}_{name}": _side(side) for side in ("prompt", "answer") for name in SIDE_SIGNALS},
        "is_automatic_reply": "ingest.messages",
        "rejected_words": "ingest.rejected",
        "rejected_chars": "ingest.rejected",
        "rejected_tokens": "ingest.rejected",
        "sides_similarity": "ingest.messages ingest.rejected ingest.prompt_turns",
        "review": _REVIEW,
        **_verdict(
            "filter.prompt_words filter.answer_words filter.is_automatic_reply filter.review",
            "every measure of this table, and filter of the spec",
        ),
    },
    Step.NORMALIZE: {
        **_key("filter"),
        "messages": "ingest.messages ingest.person_names | normalize of the spec",
        "rejected": "ingest.rejected ingest.person_names | normalize of the spec",
        **{
            f"{side}_{what}": f"normalize.{'rejected' if side == 'rejected' else 'messages'}"
            for side in ("prompt", "answer", "rejected")
            for what in ("language", "language_probability", "spec_probability")
        },
        "changes": "ingest.messages ingest.rejected",
        "pii_counts": "normalize.pii_spans",
        "pii_spans": "ingest.messages ingest.rejected ingest.person_names | normalize.pii of the spec",
        "clean_sha": "normalize.messages normalize.rejected ingest.content_sha",
        **_verdict(
            "normalize.prompt_spec_probability normalize.answer_spec_probability normalize.messages",
            "normalize.languages of the spec",
        ),
    },
    Step.DECONTAMINATE: {
        **_key("normalize"),
        **dict.fromkeys(("match", "overlap_fraction", "span_start", "span_end"), f"{_CLEAN} protected.text"),
        "eval_set": "protected.eval_set protected.text normalize.messages",
        "eval_item": "protected.eval_item protected.text normalize.messages",
        "review": _REVIEW,
        **_verdict(
            "decontaminate.match decontaminate.overlap_fraction decontaminate.review",
            "decontaminate of the spec",
        ),
    },
    Step.LABEL: {
        **_key("decontaminate"),
        "label": "ingest.label consensus.label reviews.value | task.labels and label.aliases of the spec",
        "label_origin": "ingest.label consensus.label reviews.verdict",
        "answers": "consensus.answers",
        "agreement": "consensus.agreement",
        "prompt_key": _CLEAN,
        "answer_key": "label.label normalize.messages",
        "is_contradiction": "label.prompt_key label.answer_key dedup.twin dedup.answer_key | this day and earlier ones",
        "review": _REVIEW,
        **_verdict("label.label consensus.label label.review", "label of the spec"),
    },
    Step.SPLIT: {
        **_key("label"),
        "group_key": f"ingest.group {_TEXT}",
        "split": "split.group_key label.label | split of the spec; the split lock, where there is one",
        "comparison_key": _CLEAN,
        "shingles": f"{_CLEAN} | dedup.near of the spec",
        "bands": f"{_CLEAN} | dedup.near of the spec",
        "twin": "split.record_id split.bands split.comparison_key split.split normalize.messages | records kept earlier",
        "similarity": "normalize.messages | this record's shingles and its twin's",
        **_verdict("split.split split.similarity ingest.may_evaluate", "split of the spec"),
    },
    "rejects": dict.fromkeys(("day", "source", "uri", "line", "byte_offset", "reason", "detail"), _FILE),
    "batches": {
        "day": "| {date} in the path, or collected_at of the spec",
        "collected_at": "| {date} in the path, or collected_at of the spec",
        **dict.fromkeys(("source", "kind"), "| sources of the spec"),
        **dict.fromkeys(("license", "holder", "basis", "uses"), "| sources.rights of the spec"),
        "generator": "| sources.generator of the spec",
        **dict.fromkeys(("uri", "sha256", "bytes", "columns", "rows_read"), _FILE),
        "rows_ingested": "ingest.record_id",
        "rows_rejected": "rejects.line",
    },
    PROTECTED: {
        "eval_set": "| decontaminate.sets.name of the spec",
        "eval_item": "| the evaluation file, column fields.id, or its line",
        "text": "| the evaluation file, or task.examples of the spec",
        "label": "| the evaluation file, or task.examples of the spec",
    },
    REVIEWS: {
        **dict.fromkeys(
            ("source", "source_id", "content", "step", "verdict", "value", "reviewer", "date"),
            "| the reviews file",
        ),
        "record": "ingest.record_id ingest.source ingest.source_id dedup.comparison_key | the reviews file",
        "uri": "| the file's path",
        "line": "| the reviews file",
        "state": "ingest.record_id | the reviews file, and whether a later verdict overrules this one",
    },
    "erasures": {
        **dict.fromkeys(("source", "source_id", "uri", "line", "date"), "reviews.record reviews.verdict"),
        "record": "reviews.record reviews.verdict",
        "text_key": "reviews.record ingest.messages",
        "child_group": "reviews.record ingest.group",
        "because": "reviews.verdict",
    },
    ANNOTATIONS: {
        **dict.fromkeys(
            ("source", "source_id", "annotator", "given", "confidence", "secondary", "notes", "line"),
            "| the annotations file",
        ),
        "record": "ingest.record_id ingest.source ingest.source_id | the annotations file",
        "label": "annotations.given | task.labels and label.aliases of the spec",
        "uri": "| the file's path",
        "state": "annotations.record annotations.label | whether the annotator answered twice",
    },
    "consensus": {
        "record": "annotations.record",
        "source": "annotations.source",
        "source_id": "annotations.source_id",
        "label": "annotations.label annotations.annotator annotations.confidence | label.aggregate of the spec",
        "answers": "annotations.annotator",
        "agreement": "annotations.label",
        "probability": "annotations.label annotations.annotator",
        "votes": "annotations.label",
    },
    "agreement": dict.fromkeys(
        ("measure", "name", "other", "value", "n"), "annotations.label annotations.annotator"
    ),
}
"""Table to column to what it is made from."""

_ASSETS = frozenset({*map(str, Step), *INPUTS})


@dataclass(frozen=True)
class Origin:
    """What a column is made from: `table.column` names, and what is no column, in words."""

    columns: tuple[str, ...]
    words: str


def origin(table: str, column: str) -> Origin:
    """Raises KeyError for a column that no table has."""
    names, _, words = MADE_FROM[table][column].partition("|")
    return Origin(tuple(names.split()), words.strip())


def table_of(table: str) -> dg.TableMetadataValue:
    """Column, and what it is made from, as a person reads it."""
    rows = []
    for column in TABLES[table]:
        found = origin(table, column)
        said = "; ".join(filter(None, [", ".join(found.columns), found.words]))
        rows.append(dg.TableRecord({"column": column, "made from": said}))
    columns = [
        dg.TableColumn("column", "string", description=f"of {table}"),
        dg.TableColumn("made from", "string", description="columns of other tables, files, keys of the spec"),
    ]
    return dg.MetadataValue.table(rows, schema=dg.TableSchema(columns))


def column_lineage(table: str) -> dg.TableColumnLineage:
    """The same for programs: columns of other assets only; any other column is followed to where it is from."""
    return dg.TableColumnLineage(
        {
            column: [
                dg.TableColumnDep(asset_key=name, column_name=of)
                for name, of in sorted(_followed(table, column, frozenset()))
                if name != table
            ]
            for column in TABLES[table]
        }
    )


def _followed(table: str, column: str, seen: frozenset[str]) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for name in origin(table, column).columns:
        other, _, of = name.partition(".")
        if other != table and other in _ASSETS:
            found.add((other, of))
        elif name not in seen:  # its own table, or one that is published with an asset's
            found |= _followed(other, of, seen | {name})
    return found
