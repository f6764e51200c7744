"""Preflight: a written release is loaded back as its users will, and compared with the tables.

Lives here: `run`, which glues loading, comparing and rules, and `gauges`, what the gate looks at. Keep out: loading
(`storage.loading`), comparing and rules (`transforms.preflight`, `transforms.format_rules`), judging (`releasing`).
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from dataset_pipeline.expectations.gate import MAX_NAMED
from dataset_pipeline.progress import REPORTER
from dataset_pipeline.records import RELEASE, Split
from dataset_pipeline.spec.params import ReleaseParams
from dataset_pipeline.storage import loading
from dataset_pipeline.transforms import format_rules, preflight
from dataset_pipeline.transforms.formats import DataFiles

OPENAI_EXAMPLES = 10
"""OpenAI refuses a fine-tuning file with fewer."""
OPENAI_BYTES = 512 * 10**6
"""OpenAI's limit on one uploaded file."""

_SCRATCH = ".writing-"
"""As `storage.releases` names a release that is being written: what a dead run left is removed by the next."""


@dataclass(frozen=True)
class RowCount:
    """A split of a format that has other rows than records. record_id: the first record that is not in its place."""

    format: str
    split: str
    records: int
    rows: int
    record_id: str | None


@dataclass(frozen=True)
class Preflight:
    """What came back.

    faults: preflight.FAULTS; differing: preflight.PLACES of rows that are not what the tables say. not_loadable: format
    to why, in one line. notes: what no gate asks, in words.
    """

    faults: pl.DataFrame
    differing: pl.DataFrame
    rows_differ: tuple[RowCount, ...]
    not_loadable: Mapping[str, str]
    notes: tuple[str, ...]
    seconds: float


def run(folder: Path, data_files: DataFiles, released: pl.DataFrame, params: ReleaseParams) -> Preflight:
    """Load every format of the release in `folder` back and compare it with `released`.

    folder: as written, with its card. released: record_id, day, source, messages, prompt_turns, rejected, label, split,
    row. Memory beyond `released`: one batch. Disk: what one format takes as Arrow, beside the release, removed after.
    """
    started = time.monotonic()
    parts = {s.value: released.filter(pl.col("split") == s.value).sort("row") for s in Split}
    differing: list[pl.DataFrame] = []
    faults: list[pl.DataFrame] = []
    counts: list[RowCount] = []
    not_loadable: dict[str, str] = {}
    for name in params.formats:
        files = data_files.get(name, {})
        # What was never written cannot be loaded back: the records are asked, not the list of files.
        counts += [
            RowCount(name, split, part.height, 0, part["record_id"][0])
            for split, part in parts.items()
            if part.height and not files.get(split)
        ]
        if not files:
            continue
        REPORTER.get().phase(RELEASE, f"loading {name} back")
        with _scratch(folder.parent) as scratch:
            try:
                by_card = name != "parquet" or len(data_files) == 1
                for split, loaded in loading.load_back(folder, name, files, scratch, by_card=by_card).items():
                    found = _compared(loaded, parts[split], name, split, params)
                    differing.append(found.differing)
                    faults.append(found.faults)
                    counts += found.counts
            except loading.NotLoadable as error:
                not_loadable[name] = error.message
    return Preflight(
        preflight.gathered(faults, preflight.FAULTS),
        preflight.gathered(differing, preflight.PLACES),
        tuple(counts),
        not_loadable,
        _notes(folder, data_files, params),
        time.monotonic() - started,
    )


@contextlib.contextmanager
def _scratch(parent: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class _Found:
    differing: pl.DataFrame
    faults: pl.DataFrame
    counts: list[RowCount]


def _compared(
    loaded: loading.Loaded, part: pl.DataFrame, name: str, split: str, params: ReleaseParams
) -> _Found:
    """One split of one format against its records. Raises NotLoadable where a column is of another type."""
    if wrong := preflight.wrong_columns(loaded.schema, name, params.task):
        raise loading.NotLoadable(name, f"{'; '.join(wrong)} (in the split {split})")
    rules = format_rules.rules_of(name, has_pairs=params.task.type == "preference")
    place = {"format": pl.lit(name), "split": pl.lit(split)}
    differing, faults, at = [], [], 0
    for batch in loaded.batches:
        rows = preflight.comparable(batch, name, params.task)
        slice_ = part.slice(at, rows.height)
        places = preflight.places(slice_, at, rows.height)
        differing.append(preflight.differing(slice_, rows, name, params.task).with_columns(**place))
        faults.append(preflight.broken_rules(rows, places, rules).with_columns(**place))
        at += rows.height
    found = _Found(
        preflight.gathered(differing, preflight.PLACES), preflight.gathered(faults, preflight.FAULTS), []
    )
    if at != part.height:
        first = found.differing["record_id"].head(1).to_list() or part["record_id"].slice(at, 1).to_list()
        found.counts.append(RowCount(name, split, part.height, at, *(first or [None])))
    return found


def _notes(folder: Path, data_files: DataFiles, params: ReleaseParams) -> tuple[str, ...]:
    chat = [folder / path for paths in data_files.get("chat", {}).values() for path in paths]
    notes = [
        f"{path.relative_to(folder)} is larger than the 512 MB that OpenAI takes: lower release.max_shard_mb"
        for path in chat
        if path.exists() and path.stat().st_size > OPENAI_BYTES
    ]
    if params.compression != "none" and any(name != "parquet" for name in data_files):
        notes.append("OpenAI reads no packed files: unpack them first, or set release.compression: none")
    return tuple(notes)


def gauges(
    found: Preflight, tokens: pl.DataFrame, released: pl.DataFrame, params: ReleaseParams
) -> pl.DataFrame:
    """One row of gauges for RELEASE_SUITE, with the culprits of each by `_culprit` and `_record_ids`.

    tokens: transforms.tokens.TOKENS of `released`. What is not asked (no maximum length, no chat, no tokenizer) is 0.
    """
    broken = found.faults.group_by("format", "rule", "asked_by").agg(pl.len(), pl.col("record_id").first())
    rules = [
        f"{rule} of {name}, asked by {by}: {count} rows"
        for name, rule, by, count, _ in broken.sort("format", "rule").iter_rows()
    ]
    other = [f"{c.format} {c.split}: {c.rows} rows for {c.records} records" for c in found.rows_differ]
    texts = found.differing.group_by("format", "split").len().sort("format", "split")
    train = released.filter(pl.col("split") == Split.TRAIN.value).height
    few = max(0, OPENAI_EXAMPLES - train) if "chat" in params.formats else 0
    limit = params.training.max_length
    long = tokens.filter(pl.col("cut_tokens") > 0)
    cut = (
        [f"training.max_length {limit}: {long['cut_tokens'].sum()} tokens would be cut"]
        if long.height
        else []
    )
    unlearned = tokens.filter(pl.col("supervised_tokens").fill_null(0) <= 0)
    endless = tokens.filter(~pl.col("has_end").fill_null(True))
    return pl.concat(
        [
            _gauge("formats_not_loadable", len(found.not_loadable), [f"{n}: {m}" for n, m in found.not_loadable.items()]),
            _gauge("rows_not_loaded", sum(abs(c.records - c.rows) for c in found.rows_differ), other,
                   [c.record_id for c in found.rows_differ]),
            _gauge("texts_changed", found.differing.height, [f"{n} {s}: {k} rows" for n, s, k in texts.iter_rows()],
                   _first(found.differing)),
            _gauge("rule_faults", found.faults.height, rules, broken.sort("format", "rule")["record_id"].to_list() + _first(found.faults)),
            _gauge("openai_examples_missing", few, [f"train holds {train} of {OPENAI_EXAMPLES}"] if few else []),
            _gauge("over_length", long.height, cut, _first(long)),
            _gauge("unsupervised", unlearned.height, [], _first(unlearned)),
            _gauge("ends_missing", endless.height, [], _first(endless)),
        ],
        how="horizontal",
    )  # fmt: skip


def _first(frame: pl.DataFrame) -> list[str | None]:
    """The first ids in the order of the frame, each once."""
    return frame["record_id"].unique(maintain_order=True).head(MAX_NAMED).to_list()


def _gauge(
    name: str, value: int, culprits: Sequence[str], record_ids: Sequence[str | None] = ()
) -> pl.DataFrame:
    ids = list(dict.fromkeys(i for i in record_ids if i is not None))[:MAX_NAMED]
    return pl.DataFrame(
        {name: [value], f"{name}_culprit": ["; ".join(culprits) or None], f"{name}_record_ids": [ids]},
        schema={name: pl.Int64, f"{name}_culprit": pl.String, f"{name}_record_ids": pl.List(pl.String)},
    )
