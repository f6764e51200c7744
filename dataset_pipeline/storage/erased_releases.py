"""Releases that hold records of which no text may stay: which they are, and what a closed gate left of one.

Lives here: looking into their provenance. Keep out: the warehouse and its file (`rewriting`), which releases stay (`release_removal`).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from dataset_pipeline.storage.addenda import ADDENDA
from dataset_pipeline.storage.release_tags import TAGS
from dataset_pipeline.storage.releases import REFUSED


def releases_with(releases: Path, ids: Iterable[str]) -> dict[str, int | None]:
    """Version to the number of these records that the release holds; None where its provenance cannot be read.

    Releases without any are left out. What a copy that followed links made of a tag is a release, too: `tags/NAME`.
    """
    wanted = _ids(ids)
    found = [
        p
        for p in (*releases.glob("*"), *releases.glob(f"{TAGS}/*"))
        if p.name[0] != "." and p.name not in (TAGS, ADDENDA)
    ]
    folders = sorted(p for p in found if p.is_dir() and not p.is_symlink())
    counts = {str(p.relative_to(releases)): _held(p, wanted) for p in folders} if wanted.height else {}
    return {version: count for version, count in counts.items() if count != 0}


def discard_refused(releases: Path, ids: Iterable[str]) -> bool:
    """Remove what a closed gate left of a release, where it may hold one of these records. Whether it was removed."""
    folder, wanted = releases / REFUSED, _ids(ids)
    if not wanted.height or not folder.is_dir() or _held(folder, wanted) == 0:
        return False
    shutil.rmtree(folder)
    return True


def _ids(ids: Iterable[str]) -> pl.DataFrame:
    return pl.DataFrame({"record_id": list(ids)}, schema={"record_id": pl.String}).unique()


def _held(folder: Path, wanted: pl.DataFrame) -> int | None:
    """How many of these records a release holds; None where that cannot be told."""
    try:
        held = pl.read_parquet(folder / "provenance.parquet", columns=["record_id"], glob=False)
    except (OSError, pl.exceptions.PolarsError):
        return None
    return held.join(wanted, on="record_id", how="semi").height
