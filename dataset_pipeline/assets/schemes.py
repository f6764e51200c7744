"""The scheme of a step's band keys: what two records' keys must share before they may be compared.

Lives here: naming the scheme, and finding published days that were made by another. Keep out: recipes and what becomes
of such a day (`recipes`, `engine`).

Band keys are numbers that mean something only beside keys of the same making. A run over all days makes them all anew;
a run over a later day alone would lay new keys beside old ones, find no pair, and say nothing.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from functools import lru_cache

from dataset_pipeline.records import sha256_text
from dataset_pipeline.spec.params import DedupParams, Params, SplitParams
from dataset_pipeline.storage.publishing import Day, Publication

SCHEME = "scheme"
"""Its name among the reads of a recipe."""
NO_BANDS = "no bands"
"""The scheme of a look-back step that keeps comparison keys alone (label)."""
_SHAPING = ("bands", "rows", "seed")
"""Of `dedup.near`: what changes the keys. The threshold and the bucket cap decide which pairs count, not what a key is."""
_SHAPING_LIBRARIES = ("datasketch",)
"""Whose versions change the keys: datasketch 2.0 changed its hash values."""


def scheme_of(params: Params, libraries: Mapping[str, str]) -> str:
    """A hash of all that decides a step's band keys: bands, rows, seed, words per shingle, versions of step and datasketch.

    libraries: name to version, as `recipes.libraries` gives them.
    """
    if not isinstance(params, DedupParams | SplitParams):
        return NO_BANDS
    near = [f"{name}={getattr(params.near, name)}" for name in _SHAPING]
    versions = [f"{name}={libraries[name]}" for name in _SHAPING_LIBRARIES]
    return sha256_text(*near, f"ngram={params.ngram}", f"version={params.version}", *versions)


def other_schemes(
    latest: Mapping[tuple[str, Day], Publication], step: str, before: dt.date, scheme: str
) -> list[dt.date]:
    """Published days of `step` before `before` whose kept rows are of another scheme, in order.

    A day that names none is older than schemes are: of another one.
    """
    return sorted(
        day
        for (name, day), publication in latest.items()
        if name == step
        and day is not None
        and day < before
        and publication.kept_count
        and _scheme(publication.inputs) != scheme
    )


@lru_cache(maxsize=65_536)
def _scheme(inputs: str) -> str | None:
    """The scheme in a published recipe; parsed once, since every later day asks."""
    found = json.loads(inputs).get("reads", {}).get(SCHEME)
    return None if found is None else str(found)


def refusal(step: str, days: list[dt.date]) -> str:
    """What is said of a day that would look back at `days`."""
    first = ", ".join(map(str, days[:10])) + (f" and {len(days) - 10} more" if len(days) > 10 else "")
    return (
        f"looks back at {first}, whose band keys were made with other settings of dedup.near or another version of "
        f"datasketch: {step} would not find its near copies there. Make those days first: dataset-pipeline run"
    )
