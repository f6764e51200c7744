"""The protected items: evaluation sets and handwritten examples, as one table without days.

Lives here: what they are made of, and what is shown to their gate. Keep out: publishing (`inputs`), comparing
records with them (`transforms.decontaminate`).
"""

from __future__ import annotations

from typing import cast

import polars as pl

from dataset_pipeline.assets import recipes
from dataset_pipeline.assets.context import Context, Made
from dataset_pipeline.assets.evalsets import read_protected, set_hashes
from dataset_pipeline.expectations.undated import PROTECTED_SUITE, protected_frames
from dataset_pipeline.records import PROTECTED
from dataset_pipeline.spec.params import ProtectedParams


def protected_recipe(context: Context) -> recipes.Recipe:
    """What the protected items would be made of now: the examples, and the files of the sets."""
    params = cast(ProtectedParams, context.params[PROTECTED])
    hashes = set_hashes(context.project.root, params)
    return recipes.recipe(
        PROTECTED, params.hash(), {f"file {uri}": sha for uri, sha in sorted(hashes.items())}
    )


def protected_made(context: Context) -> Made:
    """The items as they are on disk. Raises SpecError for a file that is no batch."""
    params = cast(ProtectedParams, context.params[PROTECTED])
    protected = read_protected(context.project.root, params)

    def frames(staged: dict[str, pl.DataFrame]) -> tuple[pl.DataFrame, pl.DataFrame]:
        return protected_frames(staged[PROTECTED], [s.name for s in params.sets], protected.unreadable)

    notes = tuple(f"not readable: {place}" for place in protected.unreadable[:20])
    return Made({PROTECTED: protected.items}, PROTECTED_SUITE, frames, notes)
