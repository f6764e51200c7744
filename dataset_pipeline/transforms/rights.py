"""rights: what may be done with a release: the strictest of what its records allow.

Lives here: rights of released records, summed up; records that lack a use that is asked for, or ask for more than the
licence of the release. Keep out: what a
licence asks for (`spec.licences`), words (`card`, `attribution`), judging (`expectations.release`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import get_args

import polars as pl

from dataset_pipeline.records import Split
from dataset_pipeline.spec import licences
from dataset_pipeline.spec.licence_terms import Obligations
from dataset_pipeline.spec.models import Use

USES: tuple[str, ...] = get_args(Use)

GRANT: dict[str, pl.DataType | type[pl.DataType]] = {
    "record_id": pl.String,
    "split": pl.String,
    "source": pl.String,
    "kind": pl.String,
    "license": pl.String,
    "holder": pl.String,
    "basis": pl.String,
    "uses": pl.String,
    "generator": pl.String,
}
"""Rights of a released record, as its batch had them: they may change from one batch of a source to the next.

uses: sorted, joined by commas. generator: JSON, null where nobody generated. All rights are null of a record whose
batch is not known; such a record allows nothing."""


@dataclass(frozen=True)
class Grant:
    """The same rights of `records` released records of one source."""

    source: str
    kind: str
    license: str
    holder: str
    basis: str
    uses: tuple[str, ...]
    generator: str | None
    """Model, provider, terms and the day of their review, in words."""
    records: int
    held_out: int
    """Those of validation and test."""


@dataclass(frozen=True)
class ReleaseRights:
    """What may be done with a release.

    uses: those that every released record allows that is asked; evaluate is asked of validation and test only, so of
    none where these are empty (`held_out`). asked: what the release is for. obligations: of all records together.
    license: the spec's, else the strictest of the records, never one that is laxer; None without records. licenses:
    (expression, records), most first.
    """

    uses: tuple[str, ...]
    asked: tuple[str, ...]
    obligations: Obligations
    license: str | None
    licenses: tuple[tuple[str, int], ...]
    grants: tuple[Grant, ...]

    @property
    def held_out(self) -> int:
        """Records of validation and test."""
        return sum(grant.held_out for grant in self.grants)


def granted(released: pl.DataFrame, ingested: pl.DataFrame, batches: pl.DataFrame) -> pl.DataFrame:
    """GRANT, one row for each released record, by record_id.

    released: record_id, split. ingested: record_id, day, source, uri (TABLES['ingest']). batches:
    TABLES['batches']; rights are those of the record's own batch (source, day, uri).
    """
    rights = (
        batches.with_columns(uses=pl.col("uses").list.sort().list.join(","))
        .select("source", "day", "uri", *list(GRANT)[3:])
        .sort("source", "day", "uri")
        .unique(["source", "day", "uri"], keep="first", maintain_order=True)
    )
    return (
        released.select("record_id", "split")
        .join(ingested.select("record_id", "source", "day", "uri"), on="record_id", how="left")
        .join(rights, on=["source", "day", "uri"], how="left")
        .select(pl.col(name).cast(dtype) for name, dtype in GRANT.items())
        .sort("record_id")
    )


def grants(granted: pl.DataFrame) -> tuple[Grant, ...]:
    """The different rights among GRANT rows, by source, licence and the rest."""
    keys = [name for name in GRANT if name not in ("record_id", "split")]
    held_out = (pl.col("split") != Split.TRAIN.value).sum().cast(pl.Int64)
    counted = granted.group_by(keys).agg(records=pl.len().cast(pl.Int64), held_out=held_out).sort(keys)
    return tuple(
        Grant(
            source=row["source"] or UNRECORDED,
            kind=row["kind"] or UNRECORDED,
            license=row["license"] or UNRECORDED,
            holder=row["holder"] or UNRECORDED,
            basis=row["basis"] or UNRECORDED,
            uses=tuple(use for use in USES if use in (row["uses"] or "").split(",")),
            generator=generator_words(row["generator"]),
            records=row["records"],
            held_out=row["held_out"],
        )
        for row in counted.iter_rows(named=True)
    )


UNRECORDED = "not recorded"
"""Stands for rights of a record whose batch is not known."""


def generator_words(generator: str | None) -> str | None:
    """The generator of a batch (JSON) in words; None where there is none."""
    if not generator:
        return None
    facts = json.loads(generator)
    reviewed = ", ".join(
        part
        for part in (
            str(facts.get("terms") or ""),
            f"reviewed {facts['terms_reviewed']}" if facts.get("terms_reviewed") else "",
        )
        if part
    )
    return f"{facts['model']} of {facts['provider']}" + (f" (terms: {reviewed})" if reviewed else "")


def strictest(granted: pl.DataFrame, license: str | None, asked: Sequence[str]) -> ReleaseRights:
    """The rights of a release.

    granted: GRANT. license: `release.license` of the spec; where a record asks for more (`license_laxer`), the
    strictest of it and of the records stands in its place. asked: `release.uses`.
    """
    found = grants(granted)
    counts: dict[str, int] = {}
    whole = Obligations()
    for grant in found:
        expression = licences.canonical(grant.license)
        counts[expression] = counts.get(expression, 0) + grant.records
        whole = whole | licences.obligations(grant.license)
    return ReleaseRights(
        uses=tuple(use for use in USES if found and not without(use, found)),
        asked=tuple(use for use in USES if use in asked),
        obligations=whole,
        license=_license(license, counts, asked),
        licenses=tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
        grants=found,
    )


def _license(own: str | None, counts: Iterable[str], asked: Sequence[str]) -> str | None:
    expressions = list(counts)
    if own is not None and any(licences.lacking(own, one, asked) for one in expressions):
        expressions.append(own)
    elif own is not None:
        return own
    return licences.strictest(expressions)


def _concerned(use: str, grant: Grant) -> int:
    """Records of which a use is asked: validation and test for evaluate, all for the others."""
    return grant.held_out if use == "evaluate" else grant.records


def without(use: str, found: Iterable[Grant]) -> dict[str, int]:
    """Source to the records that lack a use, of those it is asked of: the one rule for uses, gate and card."""
    lacking: dict[str, int] = {}
    for grant in found:
        if use not in grant.uses and (n := _concerned(use, grant)):
            lacking[grant.source] = lacking.get(grant.source, 0) + n
    return dict(sorted(lacking.items()))


MAX_CULPRITS = 20
"""Sources that a gauge names."""


def uses_missing(granted: pl.DataFrame, asked: Sequence[str]) -> tuple[int, str | None]:
    """Released records that lack a use the release is for, and who is to blame, in words.

    granted: GRANT. asked: `release.uses`. A record that lacks two uses counts once. The words: `commercial: source
    wiki (412 records)`, by use and source, at most MAX_CULPRITS; None where nothing lacks.
    """
    found = grants(granted)
    lacking = 0
    for grant in found:
        short = [use for use in USES if use in asked and use not in grant.uses]
        # Who lacks more than evaluate lacks it for every record.
        lacking += max((_concerned(use, grant) for use in short), default=0)
    words = [
        f"{use}: source {source} ({_records(n)})"
        for use in USES
        if use in asked
        for source, n in without(use, found).items()
    ]
    return lacking, _shown(words)


def license_laxer(granted: pl.DataFrame, license: str | None, asked: Sequence[str]) -> tuple[int, str | None]:
    """Released records whose licence asks for more than `license` passes on, and who is to blame, in words.

    granted: GRANT; a batch may have an older, stricter licence than the spec has now. license: `release.license`;
    None is the strictest of the records, so nothing lacks. asked: `release.uses`. The words: `source wiki
    (412 records) under CC-BY-SA-4.0, which asks for share-alike`, by source and licence, at most MAX_CULPRITS.
    """
    if license is None:
        return 0, None
    blamed: dict[tuple[str, str], int] = {}
    for grant in grants(granted):
        key = (grant.source, grant.license)
        blamed[key] = blamed.get(key, 0) + grant.records
    lacking, words = 0, []
    for (source, expression), n in sorted(blamed.items()):
        if missing := licences.lacking(license, expression, asked):
            lacking += n
            asks = licences.lacking_words(missing, expression)
            words.append(f"source {source} ({_records(n)}) under {expression}, which asks for {asks}")
    return lacking, _shown(words)


def _records(n: int) -> str:
    return f"{n} {'record' if n == 1 else 'records'}"


def _shown(words: Sequence[str]) -> str | None:
    """The first MAX_CULPRITS and how many more; None for none."""
    rest = len(words) - MAX_CULPRITS
    shown = [*words[:MAX_CULPRITS], *([f"and {rest} more"] if rest > 0 else [])]
    return "; ".join(shown) or None


RELEASED_RIGHTS = ["record_id", "split", "source", "license", "holder", "uses"]
"""Columns of `provenance.parquet` that say what may be done with a record."""


def granted_again(provenance: pl.DataFrame) -> pl.DataFrame:
    """GRANT of a release as it was written; kind, basis and generator are not told there.

    provenance: RELEASED_RIGHTS.
    """
    told = [
        pl.col(name).cast(dtype) if name in RELEASED_RIGHTS else pl.lit(None, dtype).alias(name)
        for name, dtype in GRANT.items()
    ]
    return provenance.select(told).sort("record_id")
