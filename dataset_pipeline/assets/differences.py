"""Why a published day is not what it would be made of now, in words a person can act on.

Lives here: from recipes then and now, and what is known of their settings and protected items, to reasons. Keep out:
whether a day is up to date (`plan`), recipes (`recipes`), the settings in the shape of the spec (`settings`).
"""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, cast

import polars as pl

from dataset_pipeline.assets import recipes, schemes
from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.evalsets import EXAMPLES, read_protected
from dataset_pipeline.assets.ledger import file_map
from dataset_pipeline.assets.recipes import Latest, Recipe
from dataset_pipeline.assets.settings import settings_text, settings_words
from dataset_pipeline.assets.undated import Undated
from dataset_pipeline.errors import SpecError
from dataset_pipeline.records import ANNOTATIONS, DAILY_STEPS, PROTECTED, REVIEWS, Step, sha256_text
from dataset_pipeline.spec.params import IngestParams, Params, ProtectedParams
from dataset_pipeline.storage import history
from dataset_pipeline.storage.publishing import Day, Publication
from dataset_pipeline.storage.sources import eval_files

UNKNOWN_SETTINGS = "its settings in the spec changed"
"""Where nobody kept what the settings were: a warehouse of an older version."""
ITEMS = "items"
"""Beside the parts of the recipe of `protected`: set to the hashes of its items, so that two can be compared later."""
_ITEM_DIGITS = 8
_FILE = "file "
_SCHEMA = "a table of schema version "

Items = Mapping[str, Counter[str]]
"""Evaluation set to the hashes of its items."""


# --- what is kept for later ---------------------------------------------------------------


def settings_of(context: Context, step: str, days: Iterable[Day] = ()) -> dict[str, str]:
    """params_hash to JSON of what stands behind it, for `Warehouse.publish`. days: of ingest, whose params differ by day."""
    return {params.hash(): settings_text(params) for params in _params_of(context, step, days)}


def _params_of(context: Context, step: str, days: Iterable[Day]) -> list[Params]:
    params = context.params[step]
    if step != Step.INGEST:
        return [params]
    files = file_map(context)
    used = {frozenset(s for s, _ in files.get(day, {}).values()) for day in days if day is not None}
    return [
        recipes.ingest_params(cast(IngestParams, params), set(names)) for names in sorted(used, key=sorted)
    ]


def with_items(inputs: str, items: pl.DataFrame) -> str:
    """The parts of the recipe of `protected`, and the items (TABLES['protected']) that were published under it."""
    hashes = {name: "".join(sorted(found.elements())) for name, found in _hashes(items).items()}
    return json.dumps(json.loads(inputs) | {ITEMS: hashes}, sort_keys=True)


def _hashes(items: pl.DataFrame) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for eval_set, item, text, label in items.iter_rows():
        found.setdefault(eval_set, Counter())[sha256_text(item, text, label or "")[:_ITEM_DIGITS]] += 1
    return found


def _items_in(inputs: str) -> Items | None:
    """The items that a publication of `protected` names; None for one of an older version."""
    kept = json.loads(inputs).get(ITEMS)
    if kept is None:
        return None
    return {
        name: Counter(text[n : n + _ITEM_DIGITS] for n in range(0, len(text), _ITEM_DIGITS))
        for name, text in kept.items()
    }


def attempt_of(step: str, day: Day, now: Recipe) -> str:
    """A hash of what an attempt at a day is made of, but for earlier days: days that are set aside are often tried again
    among others."""
    parts = json.loads(now.inputs)
    looking_back = {f"{step} before {day}", f"{Step.DEDUP} up to {day}"}
    parts["reads"] = {name: value for name, value in parts["reads"].items() if name not in looking_back}
    return sha256_text(step, json.dumps(parts, sort_keys=True))[:16]


def attempts(
    context: Context, undated: Undated, step: Step, days: Sequence[dt.date], latest: Latest
) -> dict[Day, str]:
    """Day to `attempt_of` it, for `Warehouse.record_checks`."""
    files, past = file_map(context), recipes.Past(latest)
    found: dict[Day, str] = {}
    for day in days:
        now = recipes.day_recipe(context.params, step, day, latest, files, undated.reads(step, day), past)
        if now is not None:
            found[day] = attempt_of(step, day, now)
    return found


# --- reasons ------------------------------------------------------------------------------


class Telling:
    """Tells why publications differ from recipes of now. What it must read for that is read once, when it is needed."""

    def __init__(self, context: Context, latest: Latest, undated: Undated):
        self._context, self._latest, self._undated = context, latest, undated
        self._words: dict[tuple[str, str], list[str]] = {}
        self._now: dict[str, str] = {}
        self._protected: dict[str, list[str]] = {}

    def reasons(self, step: str, day: Day, published: Publication, now: Recipe) -> list[str]:
        """Every difference of the two recipes; never none."""
        old, new = json.loads(published.inputs), json.loads(now.inputs)
        was, is_now = old.get("reads", {}), new["reads"]
        reads = {name: (was.get(name), is_now.get(name)) for name in sorted(was | is_now)}
        changed = {name: pair for name, pair in reads.items() if pair[0] != pair[1]}
        reasons: list[str] = []
        if old["params"] != new["params"]:
            is_of_files = any(name.startswith(_FILE) for name in changed)
            reasons += self._settings(step, day, old["params"], new["params"], is_of_files)
        libraries = old.get("libraries", {}) | new["libraries"]
        for name in sorted(libraries):
            before, after = old.get("libraries", {}).get(name), new["libraries"].get(name)
            if before != after:
                reasons.append(f"{name} {before} → {after}")
        were, are = old.get("functions", {}), new.get("functions", {})
        for name in sorted(were | are):
            if were.get(name, 1) != are.get(name, 1):
                reasons.append(f"{name} {were.get(name, 1)} → {are.get(name, 1)}")
        is_remade = bool(reasons)
        if step == PROTECTED:
            reasons += self._sets_on_disk(changed)
        else:
            files = {name: pair for name, pair in reads.items() if name.startswith(_FILE)}
            reasons += file_words(files, day)
        for name, (before, after) in changed.items():
            if name.startswith(_FILE) or (name == schemes.SCHEME and is_remade):
                continue
            reasons += self._read(step, day, name, before, after)
        return list(dict.fromkeys(reasons)) or ["its recipe changed"]

    def _settings(self, step: str, day: Day, before: str, after: str, is_of_files: bool) -> list[str]:
        if (before, after) not in self._words:
            then = self._known_settings.get(before)
            if after not in self._now:
                self._now |= settings_of(self._context, step, [day])
            now = self._now.get(after)
            self._words[before, after] = (
                settings_words(step, then, json.loads(now)) if then is not None and now is not None else []
            ) or [UNKNOWN_SETTINGS]
        words = self._words[before, after]
        if step == Step.INGEST and is_of_files:
            # A source that has a file on the day now, or none any more: the file says it.
            words = [
                w for w in words if not (w.startswith("sources[") and w.endswith(("] is new", "] is gone")))
            ]
        return words

    @cached_property
    def _known_settings(self) -> dict[str, dict[str, Any]]:
        return history.settings_of(self._context.warehouse, {p.params_hash for p in self._latest.values()})

    def _read(self, step: str, day: Day, name: str, before: str | None, after: str | None) -> list[str]:
        if name == PROTECTED:
            return self._protected_since(before)
        if name == f"{step} before {day}":
            return [f"an earlier day of {step} changed"]
        if name == f"{Step.DEDUP} up to {day}":
            return [f"{Step.DEDUP} of this or an earlier day changed"]
        if name.startswith(_SCHEMA):
            return [f"made by {name.removeprefix('a table of ')}"]
        if name == schemes.SCHEME:
            return ["what it compares near copies by changed"]
        if any(name == f"{other} {day}" for other in DAILY_STEPS):
            return [f"{name.split()[0]} of this day changed"]
        change = "are new" if before is None else "are gone" if after is None else "changed"
        if name == REVIEWS:
            if before is None and day is not None:
                n = self._undated.verdicts(Step(step), day)
                return [f"{_counted(n, 'verdict')} on records of this day {'is' if n == 1 else 'are'} new"]
            return [f"verdicts on records of this day {change}"]
        words = {
            ANNOTATIONS: "annotations of records of this day",
            "erasures": "erasures of records of this day",
            "records named": "the records that they name",
            "records erased": "the records that they erase",
        }
        if name in words:
            return [f"{words[name]} {change}"]
        if name == "split lock":
            return ["the split lock of its groups changed"]
        return [f"{name} {change.replace('are', 'is')}"]

    # --- protected items ------------------------------------------------------------------

    def _sets_on_disk(self, changed: Mapping[str, tuple[str | None, str | None]]) -> list[str]:
        """What the files of evaluation sets hold now, against what is published of them."""
        files = {name: pair for name, pair in changed.items() if name.startswith(_FILE)}
        if not files:
            return []
        params = cast(ProtectedParams, self._context.params[PROTECTED])
        try:
            now = _hashes(read_protected(self._context.project.root, params).items)
        except (SpecError, OSError):
            return file_words(files, None)
        was = _hashes(self._context.warehouse.table(PROTECTED))
        # The examples stand in the spec, whose keys have been told.
        words = item_words(
            {k: v for k, v in was.items() if k != EXAMPLES}, {k: v for k, v in now.items() if k != EXAMPLES}
        )
        return words or file_words(files, None)

    def _protected_since(self, content: str | None) -> list[str]:
        """What changed since the protected items had this content."""
        if content is None:
            return ["the protected items are new"]
        if content not in self._protected:
            self._protected[content] = self._compared(content) or ["the protected items changed"]
        return self._protected[content]

    def _compared(self, content: str) -> list[str]:
        current = self._latest.get((PROTECTED, None))
        inputs = history.publications_of(self._context.warehouse, PROTECTED, [content]).get(content)
        if inputs is None or current is None:
            return []
        was, now = _items_in(inputs), _items_in(current.inputs)
        if was is not None:
            return item_words(
                was, now if now is not None else _hashes(self._context.warehouse.table(PROTECTED))
            )
        before, after = json.loads(inputs).get("reads", {}), json.loads(current.inputs).get("reads", {})
        params = cast(ProtectedParams, self._context.params[PROTECTED])
        found = []
        for eval_set in params.sets:
            files, _ = eval_files(self._context.project.root, eval_set, eval_set.name)
            names = [_FILE + path.relative_to(self._context.project.root).as_posix() for path in files]
            if any(before.get(name) != after.get(name) for name in names):
                found.append(f"eval set {eval_set.name} changed")
        return found


def file_words(files: Mapping[str, tuple[str | None, str | None]], day: Day) -> list[str]:
    """What became of files. files: `file URI`, of all that were or are read, to their hash then and now."""
    reasons = []
    for name, (before, after) in files.items():
        if before == after:
            continue
        what = "is new" if before is None else "is gone" if after is None else "changed"
        uri = name.removeprefix(_FILE)
        if day is None:
            reasons.append(f"file {uri} {what}")
        else:
            reasons.append(f"file of {day} {what}" + (f": {uri}" if len(files) > 1 else ""))
    return reasons


def item_words(was: Items, now: Items) -> list[str]:
    """What became of the items of each evaluation set."""
    reasons = []
    for name in sorted({*was, *now}):
        before, after = was.get(name, Counter()), now.get(name, Counter())
        called = "the handwritten examples" if name == EXAMPLES else f"eval set {name}"
        added, removed = (after - before).total(), (before - after).total()
        if before and not after:
            reasons.append(f"{called} {_verb(name, 'is')} gone")
        elif after and not before:
            reasons.append(f"{called} {_verb(name, 'is')} new: {_counted(added, 'item')}")
        elif added or removed:
            parts = [f"{_counted(added, 'item')} added"] if added else []
            parts += [f"{removed if added else _counted(removed, 'item')} removed"] if removed else []
            reasons.append(f"{called} changed: {', '.join(parts)}")
    return reasons


def _verb(name: str, verb: str) -> str:
    return "are" if name == EXAMPLES else verb


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
