"""Recipes: what a day of a step was made of, as one hash.

Lives here: the version and library list of each step, the recipe of a day from params, libraries
and inputs. Keep out: why one differs from another (`differences`), computing anything about records.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools
import json
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from types import ModuleType
from typing import Any

from dataset_pipeline.assets import schemes
from dataset_pipeline.records import (
    ANNOTATIONS,
    DAILY_STEPS,
    LOOK_BACK_STEPS,
    PROTECTED,
    RELEASE,
    REPORT,
    REVIEWS,
    Step,
    sha256_text,
)
from dataset_pipeline.spec.params import IngestParams, Params
from dataset_pipeline.storage.publishing import Day, Publication
from dataset_pipeline.transforms import cleaning, language, near, pii, signals

Latest = Mapping[tuple[str, Day], Publication]

LIBRARIES: dict[str, tuple[str, ...]] = {
    Step.INGEST: ("orjson", "polars"),
    Step.DEDUP: ("datasketch", "numpy", "polars"),
    Step.FILTER: ("polars",),
    Step.NORMALIZE: (
        "ftfy",
        "numpy",
        "phonenumbers",
        "polars",
        "presidio-analyzer",
        "py3langid",
        "scipy",
        "spacy",
        "tldextract",
    ),
    PROTECTED: ("orjson", "polars"),
    REVIEWS: ("polars",),
    ANNOTATIONS: ("numpy", "polars", "scipy"),
    REPORT: (),
    Step.DECONTAMINATE: ("numpy", "polars", "scipy"),
    Step.LABEL: ("polars",),
    Step.SPLIT: ("datasketch", "numpy", "polars"),
    # The card names them all: another version makes another card.
    RELEASE: (
        "dagster",
        "datasets",
        "datasketch",
        "duckdb",
        "ftfy",
        "great-expectations",
        "orjson",
        "polars",
        "presidio-analyzer",
        "py3langid",
        "pyarrow",
        "zstandard",
    ),
}
"""The libraries whose version can change a step's result."""


@dataclass(frozen=True)
class Recipe:
    """The recipe of one day: its hash, and its parts for people."""

    hash: str
    params_hash: str
    inputs: str
    """JSON: params, libraries, reads (name of an input to its content)."""


@lru_cache(maxsize=64)
def library_version(library: str) -> str:
    return version(library)


def libraries(step: str) -> dict[str, str]:
    return {name: library_version(name) for name in LIBRARIES[step]}


_FUNCTIONS: dict[str, dict[str, ModuleType]] = {
    Step.DEDUP: {"bands": near},
    Step.FILTER: {"signals": signals},
    Step.NORMALIZE: {"cleaning": cleaning, "language": language, "pii": pii},
    Step.SPLIT: {"bands": near},
}
"""The functions that a step measures and changes texts with, and the module whose VERSION says when their results change."""


def functions(step: str) -> dict[str, int]:
    """The versions of a step's functions that are not their first: a recipe made before one changed says nothing of it."""
    versions = {name: int(module.VERSION) for name, module in _FUNCTIONS.get(step, {}).items()}
    return {name: number for name, number in versions.items() if number > 1}


def recipe(step: str, params_hash: str, reads: Mapping[str, str]) -> Recipe:
    """The recipe of a day that reads `reads`."""
    parts: dict[str, Any] = {"params": params_hash, "libraries": libraries(step), "reads": dict(reads)}
    if newer := functions(step):
        parts["functions"] = newer
    inputs = json.dumps(parts, sort_keys=True)
    return Recipe(hashlib.sha256(f"{step}\x1f{inputs}".encode()).hexdigest(), params_hash, inputs)


def ingest_params(params: IngestParams, sources: set[str]) -> IngestParams:
    """The params that a day of ingest depends on: the sources that have files on it, and no others."""
    return params.model_copy(
        update={"sources": tuple(s for s in params.sources if s.name in sources), "start": None}
    )


def ingest_params_hash(params: IngestParams, sources: set[str]) -> str:
    return ingest_params(params, sources).hash()


def day_recipe(
    project_params: Mapping[str, Params],
    step: Step,
    day: dt.date,
    latest: Latest,
    files: Mapping[dt.date, Mapping[str, tuple[str, str]]],
    undated: Mapping[str, str],
    past: Past | None = None,
) -> Recipe | None:
    """What `step` on `day` would be made of now; None while an input is missing.

    past: of `latest`; whoever asks for many days keeps one, or each of them looks through all days before it.
    files: day to uri to (source, sha256), for ingest. undated: what reviews, erasures, annotations and the
    split lock say about the records of this day (`Undated.reads`). For look-back steps the reads hold a running
    hash over what the step itself handed over on the published days before.
    """
    params, past = project_params[step], past or Past(latest)
    if step == Step.INGEST:
        assert isinstance(params, IngestParams)
        today = files.get(day, {})
        reads = {f"file {uri}": sha for uri, (_, sha) in sorted(today.items())} | dict(undated)
        return recipe(step, ingest_params_hash(params, {source for source, _ in today.values()}), reads)
    before = DAILY_STEPS[DAILY_STEPS.index(step) - 1]
    source = latest.get((before, day))
    if source is None:
        return None
    reads = {f"{before} {day}": source.handover} | dict(undated)
    if step == Step.DECONTAMINATE:
        protected = latest.get((PROTECTED, None))
        if protected is None:
            return None
        reads[PROTECTED] = protected.content
    if step == Step.LABEL:
        # Also dropped rows of dedup are looked at: an equal text with another label may be among them.
        own = latest.get((Step.DEDUP, day))
        reads[f"{Step.DEDUP} up to {day}"] = sha256_text(
            past.running_hash(Step.DEDUP, day, whole=True), own.content if own else ""
        )
    if step in LOOK_BACK_STEPS:
        reads[f"{step} before {day}"] = past.running_hash(step, day)
        reads[schemes.SCHEME] = schemes.scheme_of(params, libraries(step))
    return recipe(step, past.hash_of(params), reads)


class Past:
    """What is published, and what looking back over it gives: each day is looked at once, in order."""

    def __init__(self, latest: Latest):
        self.latest = dict(latest)
        self._chains: dict[tuple[str, bool], _Chain] = {}
        self._hashes: dict[int, tuple[Params, str]] = {}

    def put(self, step: str, day: dt.date, publication: Publication) -> None:
        """`publication` is the newest of the day from here on."""
        self.latest[(step, day)] = publication
        for (name, _), chain in self._chains.items():
            chain.forget_from(day, is_own=name == step)

    def running_hash(self, step: str, before: dt.date, whole: bool = False) -> str:
        """One hash over what `step` handed over on every published day before `before`, in order.

        whole: over all its rows, dropped ones too.

        A day whose earlier steps have moved on without it (a gate closed between them) adds what it
        stands on now: looking back joins both, so what was seen is gone again once the day is mended.
        """
        chain = self._chains.get((step, whole))
        if chain is None:
            days = [day for name, day in self.latest if name == step and day is not None]
            chain = self._chains[(step, whole)] = _Chain(days)
        return chain.before(before, lambda day: self._handed_over(step, day, whole))

    def _handed_over(self, step: str, day: dt.date, whole: bool) -> str:
        own = self.latest[(step, day)]
        return f"{day} {own.content if whole else own.handover}{_moved_on(self.latest, step, day)}"

    def hash_of(self, params: Params) -> str:
        """`params.hash()`, computed once for each object."""
        held = self._hashes.get(id(params))
        if held is None:
            held = self._hashes[id(params)] = (params, params.hash())
        return held[1]


class _Chain:
    """Hashes over the beginnings of a row of days, as far as they have been asked for."""

    def __init__(self, days: list[dt.date]):
        self._days = sorted(days)
        self._hashers = [hashlib.sha256()]

    def before(self, day: dt.date, text_of: Callable[[dt.date], str]) -> str:
        wanted = bisect_left(self._days, day)
        for place in range(len(self._hashers) - 1, wanted):
            hasher = self._hashers[place].copy()
            hasher.update(f"{text_of(self._days[place])}\x1f".encode())  # as sha256_text ends each part
            self._hashers.append(hasher)
        return self._hashers[wanted].hexdigest()

    def forget_from(self, day: dt.date, is_own: bool) -> None:
        """What a day says has changed. is_own: it is one of this row, a new one perhaps."""
        place = bisect_left(self._days, day)
        if is_own and (place == len(self._days) or self._days[place] != day):
            self._days.insert(place, day)
        del self._hashers[place + 1 :]


def _moved_on(latest: Latest, step: str, day: dt.date) -> str:
    """What the steps before `step` hand over on `day`, where one of them was not read by the next; else ''."""
    own = DAILY_STEPS[: DAILY_STEPS.index(Step(step)) + 1]
    for before, name in itertools.pairwise(own):
        source, made = latest.get((before, day)), latest.get((name, day))
        if source is None or made is None or _reads(made.inputs).get(f"{before} {day}") != source.handover:
            return " over " + sha256_text(*(p.handover for s in own[:-1] if (p := latest.get((s, day)))))
    return ""


@lru_cache(maxsize=65_536)
def _reads(inputs: str) -> dict[str, str]:
    """The `reads` of a published recipe; parsed once, since every later day asks."""
    return dict(json.loads(inputs)["reads"])
