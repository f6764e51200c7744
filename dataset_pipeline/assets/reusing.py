"""A finished release held against another spec and its files: what is read, in which order, and what is kept of it.

Lives here: reading the release as the source it would be, the spec's own sources and its evaluation sets. Keep out:
measuring (`transforms.reuse`), the entry of the source (`transforms.reuse_source`), words (`cli.reusing`). Nothing is
written, fetched or published.

Of the spec's sources only fingerprints are held (some 300 bytes a record); texts of records that may be alike are read
again. The release's own texts are held whole.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import polars as pl

from dataset_pipeline.assets.evalsets import read_protected
from dataset_pipeline.errors import SpecError
from dataset_pipeline.progress import REPORTER
from dataset_pipeline.records import MESSAGES, PROTECTED, Step
from dataset_pipeline.spec.load import Project
from dataset_pipeline.spec.models import Spec
from dataset_pipeline.spec.params import (
    DecontaminateParams,
    DedupParams,
    IngestParams,
    ProtectedParams,
    SourceParams,
    params_of,
)
from dataset_pipeline.storage import readers
from dataset_pipeline.storage.sources import SourceFile, discover
from dataset_pipeline.text import SIDED
from dataset_pipeline.transforms import dedup, ingest, reuse
from dataset_pipeline.transforms.reuse_source import Offered, Reading, readable, split_of

REUSE = "reuse"
AFTER_ALL = dt.date(9999, 12, 31)
"""The day the release's records stand on while they are compared: behind every record of the spec's sources."""


class NotItsRows(Exception):
    """The data files of a release hold other rows than its provenance names."""


@dataclass
class Found:
    """What a release has for a spec.

    records: a row per record of provenance, with `stop` and what it rests on; no text. refused: reject reason to rows
    of the release that become no record. held: label to records of the spec's sources; compared: source to its
    records; items: evaluation set to its items; not_compared: files that could not be looked at, in words. left_out:
    comparisons that the bucket cap spared. has_texts: whether the release could be read for the spec's task.
    """

    reading: Reading
    records: pl.DataFrame
    refused: Counter[str] = field(default_factory=Counter)
    held: Counter[str] = field(default_factory=Counter)
    compared: Counter[str] = field(default_factory=Counter)
    items: dict[str, int] = field(default_factory=dict)
    not_compared: list[str] = field(default_factory=list)
    left_out: int = 0
    has_texts: bool = True


def look(project: Project, folder: Path, release: Offered, provenance: pl.DataFrame) -> Found:
    """Hold the release in `folder` against the project's spec and files. Raises NotItsRows.

    provenance: reuse.NEEDED and what it has of reuse.LANGUAGE, one row per record.
    """
    spec = project.spec
    uses = reuse.wanted_uses(spec)
    provenance = provenance.with_columns(fits_rights=reuse.allowed(provenance, uses))
    reading = readable(release, provenance, spec)
    found = Found(reading, provenance, has_texts=reading.source is not None)
    if reading.source is None:
        return found
    records = _released(folder, release, spec, provenance, found)
    params = params_of(spec)
    judged = provenance.join(
        records.select("record_id", given_label="label", is_record=pl.lit(True)), on="record_id", how="left"
    ).with_columns(pl.col("is_record").fill_null(False))
    judged = judged.with_columns(known_label=reuse.known_labels(judged["given_label"], spec))

    REPORTER.get().phase(REUSE, "languages")
    foreign = reuse.foreign(provenance, records, spec)
    allowed = provenance.filter("fits_rights").select("record_id")
    # A record that may not be used is nobody's twin; where none may, all are looked at.
    compared = (
        records.join(allowed, on="record_id", how="semi", maintain_order="left")
        if allowed.height
        else records
    )
    repeats = _repeats(
        project, compared, _rows_by_hash(release, provenance), cast(DedupParams, params[Step.DEDUP]), found
    )
    protected = _protected(project, cast(ProtectedParams, params[PROTECTED]), found)
    REPORTER.get().phase(REUSE, "searching for protected items")
    held = reuse.held_items(records, protected, cast(DecontaminateParams, params[Step.DECONTAMINATE]))
    judged = (
        judged.with_columns(is_foreign=pl.col("record_id").is_in(foreign.implode()))
        .join(repeats, on="record_id", how="left")
        .join(held, on="record_id", how="left")
        .sort("record_id")
    )
    found.records = reuse.with_stop(judged, spec.task.answers_are_labels)
    return found


def _released(
    folder: Path, release: Offered, spec: Spec, provenance: pl.DataFrame, found: Found
) -> pl.DataFrame:
    """The release's records as they would be ingested: record_id of provenance, day, source_rank, sides, label."""
    assert found.reading.way is not None and found.reading.source is not None
    source = found.reading.source
    with_it = spec.model_copy(update={"sources": (*spec.sources, source)})
    params = cast(IngestParams, params_of(with_it)[Step.INGEST])
    own = next(one for one in params.sources if one.name == source.name)
    before: Counter[str] = Counter()
    parts = [
        pl.DataFrame(
            schema={"split": pl.String, "row": pl.Int64, "messages": MESSAGES, "prompt_turns": pl.Int32,
                    "rejected": MESSAGES, "label": pl.String}
        )
    ]  # fmt: skip
    for path in release.files[found.reading.way.format]:
        REPORTER.get().phase(REUSE, f"reading {path} of the release")
        split = split_of(path).value
        for part in _parts(SourceFile(source.name, AFTER_ALL, folder / path, path), own, params):
            found.refused.update(part.rejects["reason"].to_list())
            row = (pl.col("line") - 1 + before[split]).alias("row")
            parts.append(part.records.select(pl.lit(split).alias("split"), row, *SIDED, "label"))
        before[split] += release.rows[path]
    records = pl.concat(parts).join(
        provenance.select("record_id", "split", "row"), on=["split", "row"], how="left", maintain_order="left"
    )
    if records["record_id"].null_count() or sum(before.values()) != provenance.height:
        raise NotItsRows
    return records.select(
        "record_id",
        pl.lit(AFTER_ALL).alias("day"),
        pl.lit(0, pl.Int32).alias("source_rank"),
        *SIDED,
        "label",
    )


def _parts(file: SourceFile, source: SourceParams, params: IngestParams) -> Iterator[ingest.Batch]:
    """The records of one file, part by part. Raises MissingColumn, UnreadableFile, OSError."""
    declared = readers.columns_of(file.path, source.reading)
    missing = ingest.missing_columns(source.shape, params.task_type, declared) if declared is not None else []
    if missing:
        raise ingest.MissingColumn(missing, declared or ())
    items = readers.read_blocks(file.path, source.reading)
    yield from ingest.ingest_parts(items, source, params, file.day, file.uri)


# --- the spec's own files -----------------------------------------------------------------


@dataclass(frozen=True)
class _Sources:
    """The files of a spec's sources, by number, as ingest would read them."""

    files: tuple[SourceFile, ...]
    params: IngestParams

    def records(self, number: int) -> Iterator[pl.DataFrame]:
        """TABLES['ingest'] of a file, part by part; record_id says file and place, the same whenever it is read."""
        file = self.files[number]
        source = next(one for one in self.params.sources if one.name == file.source)
        seen = 0
        for part in _parts(file, source, self.params):
            place = pl.int_range(seen, seen + part.records.height, eager=True).cast(pl.String)
            yield part.records.with_columns((pl.lit(f"{number}:") + place).alias("record_id"))
            seen += part.records.height


def _rows_by_hash(release: Offered, provenance: pl.DataFrame) -> pl.DataFrame:
    """record_id, sha256 of the raw file it is from, line; no row where provenance does not say."""
    schema = {"source": pl.String, "uri": pl.String, "sha256": pl.String}
    if not set(reuse.ORIGIN) <= set(provenance.columns):
        return pl.DataFrame(schema={"record_id": pl.String, "sha256": pl.String, "line": pl.Int64})
    hashes = [(*place, sha) for place, sha in release.inputs.items()]
    known = pl.DataFrame(hashes, schema=schema, orient="row")
    return provenance.join(known, on=["source", "uri"]).select(
        "record_id", "sha256", pl.col("line").cast(pl.Int64)
    )


def _repeats(
    project: Project, records: pl.DataFrame, rows: pl.DataFrame, params: DedupParams, found: Found
) -> pl.DataFrame:
    """reuse.REPEATS of the release's records: what stands in the sources comes first, then the release itself."""
    there = discover(project)
    found.not_compared += [str(problem) for problem in there.problems]
    first = project.spec.start or dt.date.min
    files = tuple(file for file in there.files if file.day >= first)
    sources = _Sources(files, cast(IngestParams, project.params[Step.INGEST]))
    history = [pl.DataFrame(schema={**dedup.FINGERPRINT, "source": pl.String})]
    same = [pl.DataFrame(schema={"record_id": pl.String, "same_source": pl.String})]
    for number, file in enumerate(files):
        read = 0
        try:
            sha256, _ = readers.file_sha256(file.path)
            of_file = rows.filter(pl.col("sha256") == sha256)
            for part in sources.records(number):
                read += part.height
                REPORTER.get().phase(REUSE, f"reading {file.uri}: {read:,} records")
                if of_file.height:
                    met = of_file.join(part.select("line").unique(), on="line", how="semi")
                    same.append(met.select("record_id", same_source=pl.lit(file.source)))
                history.append(dedup.fingerprint(part, params).with_columns(part["source"]))
                labels = reuse.known_labels(part["label"], project.spec).drop_nulls()
                found.held.update(dict(labels.value_counts().iter_rows()))
                found.compared[file.source] += part.height
        except (ingest.MissingColumn, readers.UnreadableFile, OSError) as error:
            found.not_compared.append(_told(file, error))
    earlier = pl.concat(history)
    REPORTER.get().phase(REUSE, f"comparing {records.height:,} records with {earlier.height:,}")
    own = dedup.fingerprint(records, params)
    pairs = dedup.candidates(own, earlier.drop("source"), params)
    texts = _texts(sources, pairs.pairs["other_id"].unique())
    # A file that changed while it was read: what is gone is no twin.
    kept = pairs.pairs.join(texts.select(other_id="record_id"), on="other_id", how="semi")
    found.left_out = pairs.left_out
    pairs = dedup.Candidates(kept, pairs.capped_buckets, pairs.left_out)
    met = pl.concat(same).unique("record_id", keep="first", maintain_order=True)
    return reuse.repeats(records, own, earlier, pairs, texts, met, params)


def _texts(sources: _Sources, wanted: pl.Series) -> pl.DataFrame:
    """record_id and the sides of the records `wanted`, read once more from their files."""
    texts = [pl.DataFrame(schema={"record_id": pl.String, "messages": MESSAGES, "prompt_turns": pl.Int32, "rejected": MESSAGES})]  # fmt: skip
    numbers = wanted.str.split(":").list.first().cast(pl.Int64).unique().sort().to_list()
    for number in numbers:
        REPORTER.get().phase(REUSE, f"verifying near duplicates in {sources.files[number].uri}")
        try:
            for part in sources.records(number):
                texts.append(
                    part.filter(pl.col("record_id").is_in(wanted.implode())).select("record_id", *SIDED)
                )
        except (ingest.MissingColumn, readers.UnreadableFile, OSError):
            continue  # told when it was read for the first time
    return pl.concat(texts)


def _protected(project: Project, params: ProtectedParams, found: Found) -> pl.DataFrame:
    """TABLES['protected']: the examples and every set that can be read."""
    tables = [read_protected(project.root, params.model_copy(update={"sets": ()})).items]
    for eval_set in params.sets:
        one = params.model_copy(update={"sets": (eval_set,), "examples": ()})
        try:
            made = read_protected(project.root, one)
        except SpecError as error:
            found.not_compared += [str(problem) for problem in error.problems]
            continue
        tables.append(made.items)
        if made.unreadable:
            found.not_compared.append(
                f"evaluation set {eval_set.name}: {len(made.unreadable)} rows cannot be read."
            )
    items = pl.concat(tables).sort("eval_set", "eval_item", "text")
    counts: Mapping[str, int] = dict(items.group_by("eval_set").agg(n=pl.len()).sort("eval_set").iter_rows())
    found.items = dict(counts)
    return items


def _told(file: SourceFile, error: Exception) -> str:
    """What is wrong with a file of a source: `source: uri: what`."""
    text = (error.strerror or "cannot be read") if isinstance(error, OSError) else str(error)
    text = text.replace(str(file.path), file.uri).removeprefix(f"{file.uri}: ")
    return f"source {file.source}: {file.uri}: {text}"
