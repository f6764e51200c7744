"""Finished releases held against the evaluation sets of today: which were not checked yet, and what is found in them.

Lives here: choosing what is left to check, searching, writing the addendum. Keep out: reading a release's records
(`release_records`), whether a record holds an item (`transforms.decontaminate`), the addendum's files (`storage.addenda`),
words and exit codes (`cli.rescanning`). The release itself is never touched.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import polars as pl
from pydantic import ValidationError

import dataset_pipeline
from dataset_pipeline import clock
from dataset_pipeline.assets.release_records import (
    CHARS_AT_ONCE,
    manifest_of_version,
    records_of,
    task_of,
)
from dataset_pipeline.records import Step, content_hash
from dataset_pipeline.spec.models import Spec
from dataset_pipeline.spec.params import DecontaminateParams, params_of
from dataset_pipeline.storage import addenda
from dataset_pipeline.storage.release_checks import Manifest
from dataset_pipeline.storage.release_removal import reading
from dataset_pipeline.transforms.decontaminate import decontaminate
from dataset_pipeline.transforms.redaction import shown_values

_FINDINGS = dict.fromkeys(addenda.FINDING[:-1], pl.String) | {"value": pl.Float64}
Settings = dict[str, Any]


@dataclass(frozen=True)
class Today:
    """The protected items of today and how they are looked for.

    items: TABLES['protected']. hashes: evaluation set (the handwritten `examples` too) to the content hash of its items,
    as the manifest of a release names it. counts: to the number of them.
    """

    items: pl.DataFrame
    params: DecontaminateParams
    hashes: Mapping[str, str]
    counts: Mapping[str, int]

    @classmethod
    def of(cls, items: pl.DataFrame, params: DecontaminateParams) -> Today:
        parts = {str(name): part for (name,), part in items.partition_by("eval_set", as_dict=True).items()}
        names = sorted(parts)
        return cls(
            items,
            params,
            {name: content_hash(parts[name]) for name in names},
            {name: parts[name].height for name in names},
        )

    def settings(self) -> Settings:
        return settings_of(self.params)


def settings_of(params: DecontaminateParams) -> Settings:
    """What decides what is found: of the spec and of the program. Suspects are looked for unless the spec keeps them."""
    said = params.model_dump(mode="json", exclude={"gates", "answers_are_labels", "suspects"})
    return said | {"suspects": params.suspects != "keep", "program": dataset_pipeline.__version__}


@dataclass(frozen=True)
class Rescanned:
    """What came of one release.

    sets: those it was scanned for now, none where it had been checked against all. addendum: as it is now, None where
    there is none.
    """

    version: str
    sets: tuple[str, ...]
    addendum: addenda.Addendum | None

    def found(self, names: Iterable[str]) -> dict[str, Mapping[str, Any]]:
        """Of these sets, those of which something is in the release: to its counts, as the addendum has them."""
        sets = {} if self.addendum is None else self.addendum.sets
        return {
            name: sets[name]["found"] for name in names if name in sets and sets[name]["found"]["records"]
        }


def unchecked(
    releases: Path, said: Mapping[str, Any], version: str, today: Today, any_settings: bool = False
) -> list[str]:
    """The sets of today that neither a release's own run nor a scan since has looked for, by name.

    said: the release's manifest. any_settings: a check under other settings of `decontaminate`, or by another version of the
    program, counts too: what a nightly run looks at, so that a threshold that was moved does not scan every release again.
    """
    wanted = today.settings()
    contents = said.get("contents")
    own = contents.get("eval_sets") if isinstance(contents, Mapping) else None
    # Rows of a stale day may be older than the sets that the manifest names.
    is_own = isinstance(own, Mapping) and not said.get("stale_days")
    own_sets = dict(own) if is_own and (any_settings or _made_under(said) == wanted) else {}  # type: ignore[arg-type]
    addendum = addenda.read(releases, version)
    later = {
        name: scan["sha256"]
        for name, scan in (addendum.sets if addendum else {}).items()
        if any_settings or scan["settings"] == wanted
    }
    return [name for name, sha in today.hashes.items() if sha not in (own_sets.get(name), later.get(name))]


def _made_under(said: Mapping[str, Any]) -> Settings | None:
    """The settings under which a release was checked when it was made; None where they cannot be told."""
    versions = said.get("versions")
    if not isinstance(versions, Mapping) or versions.get("dataset_pipeline") != dataset_pipeline.__version__:
        return None
    try:
        spec = Spec.model_validate_json(json.dumps(said.get("spec")))
    except (ValidationError, ValueError, RecursionError):
        return None
    return settings_of(cast(DecontaminateParams, params_of(spec)[Step.DECONTAMINATE]))


def rescan(folder: Path, today: Today, names: Sequence[str] = (), any_settings: bool = False) -> Rescanned:
    """Check a release against those of today's sets (of `names`, where given) that it was not checked against yet.

    What was looked at is written to the addendum, whether or not something was found. Raises release_records.Unfit, and FileNotFoundError
    where the release was removed meanwhile.
    """
    releases, version = folder.parent, folder.name
    with reading(folder):
        manifest = manifest_of_version(folder)
        todo = unchecked(releases, manifest.said, version, today, any_settings)
        todo = [name for name in todo if not names or name in names]
        if not todo:
            return Rescanned(version, (), addenda.read(releases, version))
        findings = _findings(folder, manifest, today, todo)
        scanned_at = clock.now().isoformat(timespec="seconds") + "Z"
        scans = {
            name: {
                "sha256": today.hashes[name],
                "items": today.counts[name],
                "scanned_at": scanned_at,
                "settings": today.settings(),
            }
            for name in todo
        }
        return Rescanned(version, tuple(todo), addenda.add(releases, version, scans, findings))


# --- searching ----------------------------------------------------------------------------


def _findings(folder: Path, manifest: Manifest, today: Today, names: Sequence[str]) -> pl.DataFrame:
    """addenda.FINDING of a release: of each record and set the strongest match that would keep it out of a new release."""
    task = task_of(folder, manifest)
    params = today.params.model_copy(
        update={
            "answers_are_labels": task.answers_are_labels,
            "suspects": "keep" if today.params.suspects == "keep" else "drop",
        }
    )
    items = today.items.filter(pl.col("eval_set").is_in(list(names)))
    by_set = items.partition_by("eval_set") if len(names) > 1 else []
    parts = [pl.DataFrame(schema=_FINDINGS)]
    again: list[pl.DataFrame] = []
    for records in records_of(folder, manifest, task):
        found = _held(records, items, params)
        parts.append(found)
        if by_set and found.height:
            # A record may hold items of several sets, of which only the strongest was named.
            again.append(records.join(found, on="record_id", how="semi"))
            if sum(part.estimated_size() for part in again) > CHARS_AT_ONCE:
                parts += _of_each(again, by_set, params)
                again = []
    parts += _of_each(again, by_set, params)
    every = pl.concat(parts).unique(["record_id", "eval_set"], keep="first", maintain_order=True)
    found = every.sort(*_FINDINGS)
    return found.with_columns(shown_values(found["eval_item"]))


def _of_each(
    records: list[pl.DataFrame], by_set: Sequence[pl.DataFrame], params: DecontaminateParams
) -> list[pl.DataFrame]:
    """What records hold of each set by itself."""
    return [_held(pl.concat(records), one, params) for one in by_set] if records else []


def _held(records: pl.DataFrame, items: pl.DataFrame, params: DecontaminateParams) -> pl.DataFrame:
    judged = decontaminate(records.with_columns(collected_messages="messages"), items, params)
    return (
        judged.filter(~pl.col("kept"))
        .join(records.select("record_id", "split"), on="record_id")
        .select(
            "record_id", "split", "eval_set", "eval_item", pl.col("reason").alias("verdict"), "match",
            pl.col("overlap_fraction").cast(pl.Float64).round(6).alias("value"),
        )
        .cast(cast(Any, _FINDINGS))
    )  # fmt: skip
