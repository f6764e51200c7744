"""Addenda: what was found of a release after it was made, `releases/addenda/VERSION/contamination.json`.

Lives here: reading one, adding scans to it, removing it with its release. Keep out: scanning (`assets.rescanning`), words
(`cli.rescanning`), anything that loads Polars at import: a shell that completes a name waits for `ADDENDA`.

A release is immutable, so an addendum lies beside it and never in it: `verify`, `publish` and the version know nothing of it.
Its JSON is replaced whole, and names the Parquet file of all findings, which is called by its hash: a reader sees a whole
addendum, the old one or the new one. No text of a record is in it.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataset_pipeline.storage.files import replace_file, sync

if TYPE_CHECKING:
    import polars as pl

ADDENDA = "addenda"
CONTAMINATION = "contamination.json"
SHOWN_FINDINGS = 20
"""Findings that the JSON lists; where there are more, a Parquet file beside it has all of them."""

FINDING = ("record_id", "split", "eval_set", "eval_item", "verdict", "match", "value")
"""Columns of a finding. verdict: contaminated or suspect; match: how it was found; value: the share of the item's words."""

_TEXT_COLUMNS = FINDING[:-1]


@dataclass(frozen=True)
class Addendum:
    """What an addendum says. sets: evaluation set to its last scan (sha256, items, scanned_at, settings, found)."""

    version: str
    sets: Mapping[str, Mapping[str, Any]]
    said: Mapping[str, Any]

    def found(self) -> dict[str, int]:
        """Evaluation set to the records that hold an item of it; sets of which nothing was found are left out."""
        counts = {name: int(scan["found"]["records"]) for name, scan in self.sets.items()}
        return {name: n for name, n in sorted(counts.items()) if n}


def path_of(releases: Path, version: str) -> Path:
    """The JSON of a release's addendum, whether or not it is there."""
    return releases / ADDENDA / version / CONTAMINATION


def read(releases: Path, version: str) -> Addendum | None:
    """The addendum of a release; None where there is none, or none that can be read: then everything is scanned anew."""
    try:
        said = json.loads(path_of(releases, version).read_text(encoding="utf-8"))
        sets = {str(name): dict(scan) for name, scan in said["sets"].items()}
        addendum = Addendum(version, sets, said)
        if said["release"] != version:
            return None
        addendum.found()
        for scan in sets.values():
            str(scan["sha256"]), dict(scan["settings"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return addendum


def add(
    releases: Path, version: str, scans: Mapping[str, Mapping[str, Any]], findings: pl.DataFrame
) -> Addendum:
    """Write scans of evaluation sets, each in place of the set's earlier one. Returns the addendum as it is now.

    scans: evaluation set to sha256, items, scanned_at (UTC), settings. findings: FINDING, of these sets. The caller is
    `release_removal.reading` the release, so that no addendum comes to stand without one.
    """
    import polars as pl

    folder = path_of(releases, version).parent
    folder.mkdir(parents=True, exist_ok=True)
    sync(folder.parent)
    with _alone(folder):
        before = read(releases, version)
        earlier = None if before is None else _findings(folder, before)
        sets: dict[str, Any] = {} if before is None or earlier is None else dict(before.sets)
        kept = findings.clear() if earlier is None else earlier.filter(~pl.col("eval_set").is_in(list(scans)))
        every = pl.concat([kept, findings]).sort(_TEXT_COLUMNS)
        for name, scan in scans.items():
            sets[name] = dict(scan) | {"found": _counted(every.filter(pl.col("eval_set") == name))}
        said: dict[str, Any] = {
            "release": version,
            "records": every["record_id"].n_unique(),
            "sets": dict(sorted(sets.items())),
            "findings": every.head(SHOWN_FINDINGS).to_dicts(),
            "findings_count": every.height,
            "findings_file": _write_all(folder, every) if every.height > SHOWN_FINDINGS else None,
        }
        text = json.dumps(said, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        replace_file(folder / CONTAMINATION, text.encode("utf-8", "backslashreplace"))
        named = said["findings_file"]
        for path in folder.glob("findings-*.parquet"):
            if named is None or path.name != named["path"]:
                path.unlink(missing_ok=True)
    return Addendum(version, said["sets"], said)


def findings_of(releases: Path, version: str) -> pl.DataFrame | None:
    """All findings of a release's addendum (FINDING); None where there is no addendum, or its Parquet file is gone."""
    addendum = read(releases, version)
    return None if addendum is None else _findings(path_of(releases, version).parent, addendum)


def remove(releases: Path, version: str) -> None:
    """Take the addendum of a release away, with the release. Raises OSError naming what stays."""
    folder = path_of(releases, version).parent
    if folder.is_dir():
        shutil.rmtree(folder)
        sync(folder.parent)


def _findings(folder: Path, addendum: Addendum) -> pl.DataFrame | None:
    import polars as pl

    schema = dict.fromkeys(_TEXT_COLUMNS, pl.String) | {"value": pl.Float64}
    try:
        named = addendum.said["findings_file"]
        if named is None:
            found = pl.DataFrame(addendum.said["findings"], schema=schema, orient="row")
        else:
            data = (folder / str(named["path"])).read_bytes()
            if hashlib.sha256(data).hexdigest() != named["sha256"]:
                return None
            found = pl.read_parquet(io.BytesIO(data)).select(pl.col(n).cast(t) for n, t in schema.items())
        return found if found.height == addendum.said["findings_count"] else None
    except (OSError, KeyError, TypeError, ValueError, pl.exceptions.PolarsError):
        return None


def _counted(findings: pl.DataFrame) -> dict[str, Any]:
    """records, and of them how many by verdict, match and split."""
    counts: dict[str, Any] = {"records": findings["record_id"].n_unique()}
    for key, column in (("verdicts", "verdict"), ("matches", "match"), ("splits", "split")):
        grouped = findings.group_by(column).len().sort(column)
        counts[key] = {str(word): int(n) for word, n in grouped.iter_rows()}
    return counts


def _write_all(folder: Path, findings: pl.DataFrame) -> dict[str, Any]:
    """Write every finding to a Parquet file that is called by its hash."""
    buffer = io.BytesIO()
    findings.write_parquet(buffer, compression="zstd")
    data = buffer.getvalue()
    sha256 = hashlib.sha256(data).hexdigest()
    name = f"findings-{sha256[:16]}.parquet"
    replace_file(folder / name, data)
    return {"path": name, "sha256": sha256, "rows": findings.height}


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """While inside, no other process adds to this addendum; best effort where a file system knows no locks."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
