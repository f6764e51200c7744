"""The normalize step: texts cleaned, languages tagged, personal data replaced, foreign records dropped.

Lives here: what is done to which side of a record, and the step's three rules. Keep out: how a text is
cleaned (`cleaning`), told (`language`) or searched (`pii`).
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, NamedTuple

import polars as pl

from dataset_pipeline import records as model
from dataset_pipeline.memo import Memo, direct
from dataset_pipeline.spec.params import NormalizeParams
from dataset_pipeline.text import is_answered, rejected_side, with_sides
from dataset_pipeline.transforms.cleaning import Profile, clean
from dataset_pipeline.transforms.language import Told, detect, foreign_detail
from dataset_pipeline.transforms.persons import NONE, Helpers, find_in_records, pseudonyms_of
from dataset_pipeline.transforms.pii import Finding, find_pii, placeholder, replaced

SIDES = ("prompt", "answer", "rejected")

_TOLD = ("language", "language_probability", "spec_probability")
"""The columns of a side that `Told` is made of."""


def normalize(
    records: pl.DataFrame, params: NormalizeParams, memo: Memo = direct, helpers: Helpers = NONE
) -> pl.DataFrame:
    """Clean every message, tag each side's language, find or replace personal data, decide.

    In: the columns of `records.RECORDS`. Out: `records.TABLES['normalize']`, one row per record in the
    order they came, cleaned whether kept or not. `messages`: cleaned, with placeholders or pseudonyms unless
    `params.pii.action` is keep. helpers: the key of pseudonyms and the model of names that the spec asks for. `*_language*`: of the cleaned text before placeholders; null for a
    side without letters, and for the answer where answers are labels. `*_spec_probability`: null where
    no languages are asked for. `changes`, `pii_counts`: by name. `pii_spans`: characters of the cleaned
    message before placeholders; never the text itself. `clean_sha`: of what later steps read.
    Of a preference pair `rejected` is cleaned, searched, tagged and counted like `messages`: its spans count
    messages on after the last of `messages`. `rejected*` are null for other records.

    Reasons: `empty_after_cleaning`, the prompt has nothing left, or an answer of a pair. `language`, a side
    is foreign to the spec's languages (`language.foreign_detail`); one such side is enough. `sides_alike`, the
    answers of a pair are equal as they would be released.
    Raises SpecError for a language the model does not know.
    """
    turns = _cleaned_turns(records, params, memo, helpers)
    sides = _sides(turns, params, memo)
    columns = [
        _outcome(turn, side, params, helpers) for turn, side in zip(turns, sides.to_dicts(), strict=True)
    ]
    schema = {name: dtype for name, dtype in model.TABLES[model.Step.NORMALIZE].items() if name not in _KEY}
    made = pl.DataFrame(columns, schema=schema)
    return model.conform(pl.concat([records.select(_KEY), made], how="horizontal"), model.Step.NORMALIZE)


_KEY = ("record_id", "day")


class _Turn(NamedTuple):
    """One record between cleaning and deciding."""

    content_sha: str
    messages: list[dict[str, str]]
    """Those of the record, then those of the worse side."""
    prompt_turns: int | None
    own: int
    """How many of `messages` are the record's."""
    changes: Counter[str]
    findings: list[list[Finding]]
    names: tuple[str, ...]
    """Those that were looked for in the record."""


def _profile(role: str, is_label: bool, params: NormalizeParams) -> Profile:
    if not params.answers_are_labels or role == "system":
        return Profile.TEXT
    return Profile.LABEL if is_label else Profile.MESSAGE


def _cleaned_turns(
    records: pl.DataFrame, params: NormalizeParams, memo: Memo, helpers: Helpers
) -> list[_Turn]:
    """Every record with its messages cleaned and searched; equal texts are cleaned and searched once."""
    answered = records.select(is_answered()).to_series().to_list()
    known: dict[tuple[str, Profile], tuple[str, dict[str, int]]] = {}
    turns: list[tuple[list[dict[str, str]], Counter[str], list[bool]]] = []
    others = _others(records)
    for own, other, has_answer in zip(records["messages"].to_list(), others, answered, strict=True):
        messages = [*(own or ()), *other] if other else own
        changes: Counter[str] = Counter()
        cleaned, searched = [], []
        for position, message in enumerate(messages or ()):
            is_label = params.answers_are_labels and has_answer and position == len(messages) - 1
            key = (message["content"] or "", _profile(message["role"], is_label, params))
            if key not in known:
                known[key] = clean(*key)
            text, counts = known[key]
            changes.update(counts)
            cleaned.append({"role": message["role"], "content": text})
            searched.append(not is_label)
        turns.append((cleaned, changes, searched))
    texts = sorted(
        {m["content"] for cleaned, _, searched in turns for m, s in zip(cleaned, searched, strict=True) if s}
    )
    found = dict(zip(texts, find_pii(texts, params.pii, memo), strict=True))
    asked = [
        [
            message["content"] if is_searched else None
            for message, is_searched in zip(cleaned, searched, strict=True)
        ]
        for cleaned, _, searched in turns
    ]
    people = find_in_records(asked, records["person_names"].to_list(), found, params.pii, memo, helpers)
    return [
        _Turn(
            content_sha or "",
            cleaned,
            prompt_turns,
            len(cleaned) - len(other or ()),
            changes,
            findings,
            names,
        )
        for (cleaned, changes, _), (findings, names), content_sha, prompt_turns, other in zip(
            turns,
            people,
            records["content_sha"].to_list(),
            records["prompt_turns"].to_list(),
            others,
            strict=True,
        )
    ]


def _others(records: pl.DataFrame) -> list[list[dict[str, str]] | None]:
    """The turns of the worse side of each preference pair; None for other records."""
    found = records["rejected"]
    return [None] * records.height if found.null_count() == records.height else found.to_list()


def _sides(turns: list[_Turn], params: NormalizeParams, memo: Memo) -> pl.DataFrame:
    """SIDES and the language columns of each, one row per record."""
    frame = pl.DataFrame(
        {
            "messages": [turn.messages[: turn.own] for turn in turns],
            "prompt_turns": [turn.prompt_turns for turn in turns],
            "rejected": [turn.messages[turn.own :] or None for turn in turns],
        },
        schema={"messages": model.MESSAGES, "prompt_turns": pl.Int32, "rejected": model.MESSAGES},
    )
    sides = with_sides(frame).select("prompt", "answer", rejected=rejected_side(frame))
    if params.answers_are_labels:
        sides = sides.with_columns(answer=pl.lit(None, pl.String))
    return pl.concat([sides, *(_tags(sides[side], side, params, memo) for side in SIDES)], how="horizontal")


def _tags(texts: pl.Series, side: str, params: NormalizeParams, memo: Memo) -> pl.DataFrame:
    """The language columns of one side; a side that no record has costs nothing."""
    names = {
        "language": f"{side}_language",
        "probability": f"{side}_language_probability",
        "spec_probability": f"{side}_spec_probability",
    }
    if side != "prompt" and texts.null_count() == len(texts):
        types = model.TABLES[model.Step.NORMALIZE]
        return pl.DataFrame(
            {name: pl.repeat(None, len(texts), dtype=types[name], eager=True) for name in names.values()}
        )
    return detect(texts, params.languages, memo).rename(names)


def _outcome(turn: _Turn, side: dict[str, Any], params: NormalizeParams, helpers: Helpers) -> dict[str, Any]:
    """The columns of one record."""
    messages = turn.messages
    if params.pii.action != "keep":
        word = (
            pseudonyms_of(helpers, turn.names, params.pii.phone_regions)
            if params.pii.action == "pseudonym"
            else placeholder
        )
        messages = [
            {"role": message["role"], "content": replaced(message["content"], findings, word)}
            for message, findings in zip(messages, turn.findings, strict=True)
        ]
    spans = [
        {"message": position, "start": f.start, "end": f.end, "entity": f.entity, "score": f.score}
        for position, findings in enumerate(turn.findings)
        for f in findings
    ]
    messages, rejected = messages[: turn.own], messages[turn.own :] or None
    reason, detail = _verdict(side, params)
    if reason is None and rejected is not None and messages[turn.prompt_turns :] == rejected:
        reason = "sides_alike"
        detail = {"rule": "equal_after_cleaning", "side": "both", "threshold": 1, "value": 1}
    parts = [_json(messages), side["prompt_language"] or "", side["answer_language"] or ""]
    # Only where there is one: what other records are hashed to says the same as before.
    parts += [_json(rejected), side["rejected_language"] or ""] if rejected is not None else []
    return {
        "messages": messages,
        "rejected": rejected,
        **{name: value for name, value in side.items() if name not in SIDES},
        "changes": _counts(turn.changes),
        "pii_counts": _counts(Counter(span["entity"] for span in spans)),
        "pii_spans": spans,
        "clean_sha": model.sha256_text(turn.content_sha, *parts),
        "kept": reason is None,
        "reason": reason,
        "detail": _json(detail) if detail else None,
    }


def _verdict(side: dict[str, Any], params: NormalizeParams) -> tuple[str | None, dict[str, Any] | None]:
    """The reason and the detail of dropping a record; None, None where it is kept."""
    # The answer of another record may be empty: it may have no label yet.
    for name in SIDES if side["rejected"] is not None else ("prompt",):
        if not (side[name] or "").strip():
            return "empty_after_cleaning", {
                "rule": "empty_after_cleaning",
                "side": name,
                "threshold": 1,
                "value": 0,
            }
    for name in SIDES:
        told = Told(*(side[f"{name}_{column}"] for column in _TOLD))
        detail = foreign_detail(side[name] or "", told, params.languages)
        if detail is not None:
            return "language", {"rule": "language", "side": name, **detail}
    return None, None


def _counts(counts: Counter[Any]) -> list[dict[str, Any]]:
    return [{"name": name, "count": count} for name, count in sorted(counts.items())]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
