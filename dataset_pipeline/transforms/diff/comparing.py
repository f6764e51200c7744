"""diff: what two releases have in common and what not.

Lives here: frames and manifests of two releases in, the differences out; the seal of a released text. Keep out: what
caused a difference (`causes`), reading releases (`assets.release_reading`), words and limits of a report
(`cli.comparing`). Texts are never looked at: a release carries their hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import polars as pl

from dataset_pipeline.transforms.diff.manifests import files_of, items, mapping, name_of, reads_names

SPLIT, LABEL, TEXT = "split", "label", "text"
NOT_COLLECTED = "not_collected"
"""Of a row that is out: the later release knows nothing of it, also not among the dropped."""
COLLECTED_SINCE = "collected_since"
"""Of a row that is in: the earlier release knew nothing of it."""

TEXT_SHA = "text_sha"
PROVENANCE = ("record_id", "source", "day", "uri", "label", "split")
OPTIONAL = (
    TEXT_SHA, "collected_label", "filter_review", "decontaminate_review", "label_review", "label_label_origin",
    "split_group_key", "content_sha", "normalize_pii_counts", "normalize_changes",
)  # fmt: skip
"""Columns of provenance.parquet that tell more; a release of an older version may lack them."""
COUNTED = {"normalize_pii_counts": "pii", "normalize_changes": "changes"}
"""Those of them that hold records.COUNT, and their names in `causes`."""
DROPPED = ("record_id", "step", "reason", "detail")
_SEALED = ("messages", "rejected", "prompt_turns", "label")


def text_sha(released: pl.DataFrame) -> pl.Series:
    """SHA-256 (hex) of the text that is released of each record, in the order of `released`.

    released: messages, and rejected, prompt_turns, label where there are any. What is hashed is JSON with sorted keys.
    An answer that is the label is left out: a record that was only relabelled has the text that it had.
    """
    columns = [name for name in _SEALED if name in released.columns]
    shas = [_sha(row) for row in released.select(columns).iter_rows(named=True)]
    return pl.Series(TEXT_SHA, shas, dtype=pl.String)


def _sha(row: dict[str, Any]) -> str:
    messages, label = row["messages"] or [], row.pop("label", None)
    if label is not None and messages and messages[-1]["content"] == label:
        row["messages"] = messages[:-1]
    return hashlib.sha256(orjson.dumps(row, option=orjson.OPT_SORT_KEYS)).hexdigest()


@dataclass(frozen=True)
class Side:
    """What diff reads of one release.

    provenance: record_id, source, day, uri, label, split, and those of OPTIONAL that the release has. dropped:
    record_id, step, reason, detail. inputs: source, day (ISO text), uri, sha256.
    """

    provenance: pl.DataFrame
    dropped: pl.DataFrame
    inputs: pl.DataFrame


@dataclass(frozen=True)
class Comparison:
    """The differences of the rows of two releases, each frame sorted by record_id.

    rows_in, rows_out: record_id, source, label, split, step, reason, detail. changed: record_id, source, split (now),
    text_changed (null where texts could not be compared), label_before, label_after. moved: record_id, source, label
    (now), split_before, split_after. A record may be both changed and moved.
    counts: `source`, `label`, `split` to value to before, after, in, out, changed, moved.
    """

    rows_in: pl.DataFrame
    rows_out: pl.DataFrame
    changed: pl.DataFrame
    moved: pl.DataFrame
    has_texts: bool
    counts: dict[str, dict[str, dict[str, int]]]


def compare(before: Side, after: Side) -> Comparison:
    """What changed from one release to another. A record is the same where its record_id is."""
    old, new = (_with_file_sha(side) for side in (before, after))
    has_texts = TEXT_SHA in old.columns and TEXT_SHA in new.columns
    both = new.join(old, on="record_id", how="inner", suffix="_before").sort("record_id")
    text_changed = (
        pl.col(TEXT_SHA).ne_missing(pl.col(f"{TEXT_SHA}_before")) if has_texts else pl.lit(None, pl.Boolean)
    )
    label_changed = pl.col("label").ne_missing(pl.col("label_before"))
    changed = both.with_columns(text_changed=text_changed, label_changed=label_changed).filter(
        pl.col("text_changed").fill_null(False) | pl.col("label_changed")
    )
    moved = both.filter(pl.col("split") != pl.col("split_before"))
    parts = {
        "before": old,
        "after": new,
        "in": _missing_in(new, old),
        "out": _missing_in(old, new),
        "changed": changed,
        "moved": moved,
    }
    return Comparison(
        rows_in=_with_why(parts["in"], before, COLLECTED_SINCE, "new"),
        rows_out=_with_why(parts["out"], after, NOT_COLLECTED, "gone"),
        changed=changed.select(
            "record_id", "source", "split", "text_changed", "label_before", label_after="label"
        ),
        moved=moved.select("record_id", "source", "label", "split_before", split_after="split"),
        has_texts=has_texts,
        counts={name: _counts(parts, name) for name in ("source", LABEL, SPLIT)},
    )


def _missing_in(rows: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    return rows.join(other.select("record_id"), on="record_id", how="anti").sort("record_id")


def _with_why(rows: pl.DataFrame, other: Side, unknown: str, no_file: str) -> pl.DataFrame:
    """`rows` with step, reason, detail of the release that does not hold them.

    Where that one knows nothing of a row, the reason is `unknown`, and detail says what became of the row's file:
    `no_file`, changed, or same.
    """
    why = other.dropped.select("record_id", "step", "reason", "detail")
    files = _files(other).rename({"sha256": "other_sha256"})
    known = rows.join(files, on=["source", "day", "uri"], how="left")
    told = known.join(why, on="record_id", how="left").with_columns(
        file=pl.when(pl.col("other_sha256").is_null())
        .then(pl.lit(no_file))
        .when(pl.col("file_sha256").ne_missing(pl.col("other_sha256")))
        .then(pl.lit("changed"))
        .otherwise(pl.lit("same"))
    )
    is_known = pl.col("reason").is_not_null()
    return told.select(
        "record_id",
        "source",
        "label",
        "split",
        "step",
        pl.when(is_known).then("reason").otherwise(pl.lit(unknown)).alias("reason"),
        pl.when(is_known)
        .then("detail")
        .otherwise(pl.concat_str(pl.lit('{"file":"'), "file", pl.lit('"}')))
        .alias("detail"),
    ).sort("record_id")


def _with_file_sha(side: Side) -> pl.DataFrame:
    """The provenance of a release with file_sha256, the hash of the file that each row came from, and day as ISO text."""
    files = _files(side).rename({"sha256": "file_sha256"})
    day = pl.col("day").cast(pl.Date).dt.to_string("%Y-%m-%d")
    return side.provenance.with_columns(day).join(files, on=["source", "day", "uri"], how="left")


def _files(side: Side) -> pl.DataFrame:
    """source, day, uri and sha256 of the files of a release, each once."""
    return side.inputs.select("source", "day", "uri", "sha256").unique(
        ["source", "day", "uri"], keep="first", maintain_order=True
    )


def _counts(parts: Mapping[str, pl.DataFrame], column: str) -> dict[str, dict[str, int]]:
    """Value to the number of rows of each part; a record without a label counts as `none`."""
    counts: dict[str, dict[str, int]] = {}
    for part, rows in parts.items():
        named = rows.select(pl.col(column).fill_null("none").alias("value"))
        for value, n in named.group_by("value").len().iter_rows():
            counts.setdefault(str(value), dict.fromkeys(parts, 0))[part] = int(n)
    return dict(sorted(counts.items()))


# --- manifests ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Differences:
    """What differs between the manifests of two releases."""

    spec: tuple[Leaf, ...]
    inputs: tuple[InputDifference, ...]
    versions: tuple[Leaf, ...]
    """Of Python, of this package and of the libraries; path is the name."""
    contents: tuple[Leaf, ...]
    """Of what has no days, by its hash: `eval_sets.NAME`, `reviews`, `annotations`, `split_lock`."""
    has_contents: bool
    """Whether both manifests say what was in those; an older one does not."""
    sources: tuple[frozenset[str], frozenset[str]]
    """Names of the sources of each spec."""
    not_made: tuple[frozenset[str], frozenset[str]]
    """Days (ISO text) that each release lacks."""
    uses_lock: bool
    """Whether a split lock had a say in one of them."""
    has_names: bool = True
    """Whether every source of both specs has a name."""
    reads_names: frozenset[str] = frozenset()
    """Sources that take something from the names of their files."""


def differences(
    before: Mapping[str, Any], after: Mapping[str, Any], specs: tuple[Mapping[str, Any], Mapping[str, Any]]
) -> Differences:
    """before, after: manifests. specs: their specs with every default, so that a key which came or went shows what it was."""
    contents = [mapping(side.get("contents")) for side in (before, after)]
    named = [[name_of(one) for one in items(spec.get("sources"))] for spec in specs]
    sources = [frozenset(name for name in names if name is not None) for names in named]
    missing = [frozenset(map(str, items(side.get("missing_days")))) for side in (before, after)]
    strategies = [mapping(spec.get("split")).get("strategy", "hash") for spec in specs]
    read = [
        frozenset(
            str(name_of(one)) for one in items(spec.get("sources")) if reads_names(mapping(one).get("fields"))
        )
        for spec in specs
    ]
    return Differences(
        spec=tuple(spec_differences(*specs)),
        inputs=tuple(input_differences(files_of(before), files_of(after))),
        versions=tuple(spec_differences(mapping(before.get("versions")), mapping(after.get("versions")))),
        contents=tuple(spec_differences(*contents)) if all(contents) else (),
        has_contents=all(contents),
        sources=(sources[0], sources[1]),
        not_made=(missing[0], missing[1]),
        uses_lock=any(strategy != "hash" for strategy in strategies),
        has_names=all(None not in names for names in named),
        reads_names=read[0] | read[1],
    )


@dataclass(frozen=True)
class Leaf:
    """One value of a spec that differs; None where the spec has no such value."""

    path: str
    before: Any
    after: Any


def spec_differences(before: Any, after: Any) -> list[Leaf]:
    """Every leaf that differs, sorted by path; one that is absent is null. Items of lists that have a name are matched by it."""
    old, new = _leaves("", before), _leaves("", after)
    return [
        Leaf(path, old.get(path), new.get(path))
        for path in sorted({*old, *new})
        if old.get(path) != new.get(path)
    ]


def _leaves(path: str, value: Any) -> dict[str, Any]:
    """Path to value of each leaf; a list of plain values is one leaf, an empty mapping or list none."""
    if isinstance(value, Mapping):
        inner = [(f"{path}.{key}" if path else str(key), item) for key, item in value.items()]
    elif isinstance(value, Sequence) and not isinstance(value, str):
        if not any(isinstance(item, Mapping) for item in value):
            return {path: list(value)} if value else {}
        names = [item.get("name") if isinstance(item, Mapping) else None for item in value]
        keys = names if None not in names and len(set(names)) == len(names) else list(range(len(names)))
        inner = [(f"{path}[{key}]", item) for key, item in zip(keys, value, strict=True)]
    else:
        return {path: value}
    return {place: leaf for name, item in inner for place, leaf in _leaves(name, item).items()}


@dataclass(frozen=True)
class InputDifference:
    """A file that one release has read and the other has not, or not with the same content."""

    source: str
    day: str
    uri: str
    change: str
    """added, removed or changed"""
    rows_before: int | None
    rows_after: int | None


def input_differences(
    before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]
) -> list[InputDifference]:
    """Files added, removed and changed, by source, day and path. Both: `inputs` of a manifest."""
    old, new = ({(i["source"], i["day"], i["uri"]): i for i in side} for side in (before, after))
    found = []
    for key in sorted({*old, *new}):
        was, now = old.get(key), new.get(key)
        if was is not None and now is not None and was["sha256"] == now["sha256"]:
            continue
        change = "added" if was is None else "removed" if now is None else "changed"
        found.append(
            InputDifference(
                *key, change, was["rows_read"] if was else None, now["rows_read"] if now else None
            )
        )
    return found
