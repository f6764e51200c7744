"""A finished release as a source of another spec: in which layouts it can be read, and the entry that says so.

Lives here: from a release's manifest to an entry of `sources:`. Keep out: opening files (`assets.reusing`), what of
the records fits (`reuse`), words on a terminal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import polars as pl
from pydantic import ValidationError

from dataset_pipeline.errors import Problem
from dataset_pipeline.records import Split
from dataset_pipeline.spec.licences import strictest as strictest_licence
from dataset_pipeline.spec.meaning import TURN_LAYOUTS, semantic_problems
from dataset_pipeline.spec.models import RANK_BY_KIND, Source, Spec
from dataset_pipeline.transforms.formats import data_files_of

_USES = ("train", "evaluate", "commercial", "redistribute")


@dataclass(frozen=True)
class Offered:
    """What a manifest says of a release. files: format to its data files in row order; rows: of each file.

    spec: the release's own spec as plain data, as far as it is there.
    """

    name: str
    version: str
    spec: Mapping[str, Any]
    files: Mapping[str, tuple[str, ...]]
    rows: Mapping[str, int]
    last_day: str
    inputs: Mapping[tuple[str, str], str]
    """Source and uri of every raw file to its sha256."""

    @property
    def task(self) -> Mapping[str, Any]:
        task = self.spec.get("task")
        return task if isinstance(task, dict) else {}

    @property
    def type(self) -> str:
        return str(self.task.get("type"))

    @property
    def has_system_prompt(self) -> bool:
        return self.task.get("system_prompt") is not None

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(map(str, self.task.get("labels") or ()))

    @property
    def sources(self) -> tuple[Mapping[str, Any], ...]:
        return tuple(s for s in self.spec.get("sources") or () if isinstance(s, dict))

    @property
    def turns_are_fixed(self) -> bool:
        """Whether every record is one exchange and has a system prompt either always or never."""
        single = self.type == "classification" or bool({"alpaca", "completion"} & {*self.files})
        return single and (self.has_system_prompt or not self.may_have_own)

    @property
    def may_have_own(self) -> bool:
        """Whether records may have system prompts of their own."""
        return any(
            (s.get("fields") or {}).get("system") or s.get("layout") in TURN_LAYOUTS for s in self.sources
        )


def offered(manifest: Mapping[str, Any]) -> Offered:
    """A release as its manifest tells it. Raises KeyError, TypeError, ValueError, AttributeError where it
    cannot: no hash covers a manifest."""
    files: dict[str, list[str]] = {}
    rows: dict[str, int] = {}
    for format_, splits in data_files_of(manifest["files"]).items():
        files[format_] = sorted(path for paths in splits.values() for path in paths)
        rows |= {path: int(manifest["files"][path]["rows"]) for path in files[format_]}
    spec = dict(manifest["spec"])
    if not isinstance(spec["task"]["type"], str):
        raise TypeError("task.type")
    parts = [spec.get("sources") or [], spec["task"].get("labels") or []]
    objects = [one.get(key) or {} for one in parts[0] for key in ("fields", "rights", "generator")]
    if not all(isinstance(one, list | dict) for one in parts) or not all(
        isinstance(o, dict) for o in objects
    ):
        raise TypeError("sources, labels")
    days = [str(entry["day"]) for entry in manifest["inputs"]]
    listed = {format_: tuple(paths) for format_, paths in files.items()}
    inputs = {(str(e["source"]), str(e["uri"])): str(e["sha256"]) for e in manifest["inputs"]}
    return Offered(str(manifest["name"]), str(manifest["version"]), spec, listed, rows, max(days), inputs)


def split_of(path: str) -> Split:
    """The split of a data file of a release."""
    return Split(PurePosixPath(path).name.split(".")[0].split("-")[0])


@dataclass(frozen=True)
class Way:
    """One way to read a release: its format, layout and fields, as a source says them."""

    format: str
    layout: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)


def ways(release: Offered, task_type: str) -> list[Way]:
    """How the release's files could be read for a task of that type, the way that keeps most first.

    Whether the spec takes it, its own rules decide (`readable`).
    """
    if release.type == "preference":
        found = [Way("parquet", "preference", {"id": "record_id"}), Way("preference", "preference")]
    elif task_type == "classification":
        found = [*_by_place(release), *_by_column(release, is_label=True)]
    elif task_type in ("instruction", "completion") and release.type == "classification":
        # With its instruction: of the message and the label alone nobody could tell what is asked.
        found = [*_by_column(release), *_by_place(release, keeps_system=True), *_as_turns()]
    elif task_type in ("instruction", "completion"):
        found = [*_by_place(release, keeps_system=True), *_by_column(release), *_as_turns()]
    else:
        found = [*_as_turns(), *_by_column(release)]
    return [way for way in found if way.format in release.files]


def _by_place(release: Offered, keeps_system: bool = False) -> list[Way]:
    """The prompt and the answer by their places among the turns."""
    if not release.turns_are_fixed:
        return []
    first = 1 if release.has_system_prompt else 0
    sides = {"input": f"messages.{first}.content", "output": f"messages.{first + 1}.content"}
    if first and keeps_system:
        sides["system"] = "messages.0.content"
    return [Way("parquet", None, {"id": "record_id"} | sides), Way("chat", None, sides)]


def _by_column(release: Offered, is_label: bool = False) -> list[Way]:
    """alpaca and completion; with is_label the text alone, without the words that ask for a label."""
    if not is_label:
        system = (
            {"system": "system"} if release.has_system_prompt and release.type != "classification" else {}
        )
        return [Way("alpaca", "alpaca", system), Way("completion", "completion")]
    text = "input" if release.type == "classification" else "instruction"
    found = [Way("alpaca", None, {"input": text, "output": "output"})]
    if not release.has_system_prompt:
        found.append(Way("completion", None, {"input": "prompt", "output": "completion"}))
    return found


def _as_turns() -> list[Way]:
    return [Way("parquet", "chat", {"id": "record_id"}), Way("chat", "chat"), Way("sharegpt", "sharegpt")]


@dataclass(frozen=True)
class Reading:
    """The way that the spec takes, as an entry of `sources:` (plain data) and as a source; or why there is none."""

    way: Way | None
    entry: Mapping[str, Any]
    source: Source | None
    why_not: tuple[str, ...]
    objections: tuple[str, ...] = ()
    """What the spec's rules on rights and licences say of a source with the strictest rights of all its records."""


def readable(release: Offered, provenance: pl.DataFrame, spec: Spec) -> Reading:
    """The first way to read the release that breaks no rule of the spec.

    provenance: license, holder, uses, source of the release's records. why_not: what the rules say to the ways that
    were tried, where none is taken.
    """
    known = {str(problem) for problem in semantic_problems(spec, "spec")}
    refused: list[str] = []
    facts = _facts(release, provenance, spec)
    for way in ways(release, spec.task.type):
        entry = _entry(facts, release, way)
        try:
            source = Source.model_validate_json(json.dumps(entry))
        except ValidationError as error:
            return Reading(None, {}, None, tuple(f"its manifest: {e['msg']}" for e in error.errors()))
        tried = spec.model_copy(update={"sources": (*spec.sources, source)})
        new = [p for p in semantic_problems(tried, "spec") if str(p) not in known]
        about_rights = [p for p in new if _is_about_rights(p)]
        problems = [p for p in new if p not in about_rights]
        if not problems:
            said = [f"{p.place.removeprefix('spec: ')} {p.message}" for p in about_rights]
            return Reading(way, entry, source, (), tuple(said))
        refused += [f"{way.format}: {problem.message}" for problem in problems]
    if not refused:
        refused = [_no_way(release, spec)]
    return Reading(None, {}, None, tuple(dict.fromkeys(refused)))


def _is_about_rights(problem: Problem) -> bool:
    place = problem.place.removeprefix("spec: ")
    return ".rights." in place or place in ("release.uses", "release.license")


def _no_way(release: Offered, spec: Spec) -> str:
    if not release.files:
        return "it holds no data files"
    if spec.task.type == "preference":
        return "a preference record needs a better and a worse answer"
    if release.type in ("chat", "preference") and spec.task.type == "classification":
        return "a conversation has no label column"
    if release.type not in ("chat", "preference") and not release.turns_are_fixed:
        return f"its records are conversations, and it holds {', '.join(release.files)} only"
    return f"no layout reads {', '.join(release.files)} for it: release it as alpaca or parquet too"


def strictest(provenance: pl.DataFrame) -> tuple[str, str, tuple[str, ...]]:
    """licence, holders, uses that hold for every record: the strictest licence, all holders, the uses that all allow."""
    licence = strictest_licence(provenance["license"].drop_nulls().unique().to_list()) or ""
    holders = provenance["holder"].drop_nulls().unique().sort().to_list()
    uses = [set((given or "").split(",")) for given in provenance["uses"].unique().to_list()]
    common = set.intersection(*uses) if uses else set()
    return licence, "; ".join(holders), tuple(use for use in _USES if use in common)


def _facts(release: Offered, provenance: pl.DataFrame, spec: Spec) -> dict[str, Any]:
    """What an entry says beside its path and columns."""
    licence, holder, uses = strictest(provenance)
    used = set(provenance["source"].to_list())
    sources = [source for source in release.sources if source.get("name") in used]
    kinds = [str(s["kind"]) for s in sources if s.get("kind") in RANK_BY_KIND] or ["licensed"]
    generators = [s["generator"] for s in sources if isinstance(s.get("generator"), dict)]
    bases = [f"{s['name']}: {(s.get('rights') or {}).get('basis', '')}" for s in sources]
    facts: dict[str, Any] = {
        "name": _free_name(f"{release.name[:40]}-{release.version[:8]}", [s.name for s in spec.sources]),
        "kind": max(kinds, key=lambda kind: RANK_BY_KIND[kind]),
        "access": f"release {release.version} of {release.name}",
        "collected_at": release.last_day,
        "rights": {
            "license": licence or "LicenseRef-unknown",
            "holder": holder or "unknown",
            "basis": "; ".join(bases) or f"as in release {release.version} of {release.name}",
            "uses": list(uses) or ["train"],
        },
    }
    if generators:
        facts["generator"] = _generator(generators)
    elif facts["kind"] == "synthetic":
        facts["kind"] = "licensed"
    return facts


def _generator(given: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Several generators as one: all names, the oldest review of their terms."""

    def names(key: str) -> str:
        return "; ".join(dict.fromkeys(str(one.get(key)) for one in given))

    return {
        "model": names("model"),
        "provider": names("provider"),
        "permits_training": all(one.get("permits_training") is True for one in given),
        "terms": names("terms"),
        "terms_reviewed": min(str(one.get("terms_reviewed")) for one in given),
    }


def _free_name(wanted: str, taken: Sequence[str]) -> str:
    name = re.sub(r"[^A-Za-z0-9_-]", "-", wanted)
    name = name if name[:1].isalpha() else f"release-{name}"
    number = 2
    free = name
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    return free


def _entry(facts: Mapping[str, Any], release: Offered, way: Way) -> dict[str, Any]:
    suffix = "".join(PurePosixPath(release.files[way.format][0]).suffixes)
    entry = {"name": facts["name"], "kind": facts["kind"], "access": facts["access"]}
    entry |= {"path": f"sources/{facts['name']}/*{suffix}", "collected_at": facts["collected_at"]}
    entry |= {key: facts[key] for key in ("rights", "generator") if key in facts}
    if way.layout is not None:
        entry["layout"] = way.layout
    if way.fields:
        entry["fields"] = dict(way.fields)
    return entry
