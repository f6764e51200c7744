"""Ids, labels, names of files and columns, and messages as people and other programs are shown them: personal data replaced.

Lives here: from a value to how it is shown, and which values cannot hold anything. Keep out: texts of records (`normalize`), what is
personal data (`pii`), where something is shown. The values themselves stay as they are, in the warehouse and the raw files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson
import polars as pl

from dataset_pipeline.memo import Memo, direct
from dataset_pipeline.spec.models import Pii
from dataset_pipeline.transforms.pii import Finding, find_pii, replaced
from dataset_pipeline.transforms.pii_view import meant, plain_view

VERSION = 1
"""Raised when a value is shown otherwise: releases and the queue are then made anew."""

NAMES = Pii()
"""Names of files and columns, and messages, which may quote any of them: every entity, whatever the spec wants replaced in texts."""

NOT_SHOWN = "(not shown: it could not be searched for personal data)"


def of_values(pii: Pii) -> Pii:
    """What is replaced in ids, labels and what people wrote beside them: what the spec wants replaced in texts, but for addresses of
    pages, which an id may well be."""
    wanted = () if pii.action == "keep" else tuple(e for e in pii.entities if e in NAMES.entities)
    return pii if wanted == pii.entities else pii.model_copy(update={"entities": wanted})


def shown(text: str, pii: Pii = NAMES) -> str:
    """`text` with a placeholder for each piece of personal data: `ann@example.com-17` is `[EMAIL_ADDRESS]-17`.

    Searched as it is written and as a name is read: without escapes, invisible characters and odd digits, its ending cut off, `_` and
    `-` as gaps. Equal texts are searched once a process. Text in which nothing can be found costs no import of Presidio.
    """
    if _is_plain(text):
        return text
    find = _shown_lines if len(text) <= _REMEMBERED_CHARS else _shown_lines.__wrapped__
    return find(text, pii.entities, pii.phone_regions)


def shown_json(value: Any, pii: Pii = NAMES) -> Any:
    """A JSON value with every text in it, keys too, as it is shown."""
    if isinstance(value, str):
        return shown(value, pii)
    if isinstance(value, Mapping):
        return {shown(str(key), pii): shown_json(item, pii) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [shown_json(item, pii) for item in value]
    return value


def shown_values(values: pl.Series, pii: Pii = NAMES, memo: Memo = direct) -> pl.Series:
    """A column (String) as it is shown, null where null. Each distinct value is searched once; `memo` remembers what was found."""
    return _changed(values, lambda texts: _searched(texts, pii, memo))


def shown_details(values: pl.Series, pii: Pii = NAMES, memo: Memo = direct) -> pl.Series:
    """A column of JSON objects (String; null where there is none) with the texts in them as they are shown."""

    def search(details: list[str]) -> dict[str, str]:
        read = {detail: orjson.loads(detail) for detail in details}
        texts = {text for value in read.values() for text in _texts(value)}
        suspects = sorted(text for text in texts if not _is_plain(text))
        known = dict(zip(texts, texts, strict=True)) | _searched(suspects, pii, memo)
        return {detail: _dumped(_with(value, known)) for detail, value in read.items()}

    return _changed(values, search)


def distinct_names(names: Mapping[tuple[str, str, str], str]) -> dict[tuple[str, str, str], str]:
    """Key to name as it is shown. Where keys that differ in their last part only are shown alike, the second ends with ` (2)`, and
    so on, in the order of the keys."""
    taken: dict[tuple[str, str, str], int] = {}
    found = {}
    for key, name in sorted(names.items()):
        safe = shown(name)
        alike = (*key[:2], safe)
        number = taken[alike] = taken.get(alike, 0) + 1
        found[key] = safe if number == 1 else f"{safe} ({number})"
    return found


# --- columns ------------------------------------------------------------------------------

HINT = re.compile(r"[@%&\\]|u0040|[\[({]\s*[aA][tT]|:[^:]*:|\d(?:\D*\d){6}|\d\.\d+\.\d+\.\d")
"""Without any of these nothing is found in ASCII text: each entity has an @ or seven digits (of an IBAN in use, too), or is an IP address,
or is escaped."""
COLUMN_HINT = r"[@＠﹫%&\\]|u0040|[\[({]\s*[aA][tT]|:[^:]*:|\d(?:\D*\d){6}|\d\.\d+\.\d+\.\d|[^\x00-\x7f]"
_PLAIN_ID = (
    r"^(?:[A-Za-z]{0,2}[-_:#/]?[1-9][0-9]{0,10}"
    r"|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}"
    r"|\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:?\d{2})?)?)$"
)
"""A number of at most eleven digits behind at most two letters (a phone is that long, too, but nothing says that it is one), a UUID, a hash, a
moment. Ids and moments are as many as records: these are not searched."""


_PLAIN = re.compile(rf"{_PLAIN_ID}|(?![a-f]{{2}}\d+$)(?=\d*[a-f])[0-9a-f]{{12,64}}$")


def _is_plain(text: str) -> bool:
    return text.isascii() and (HINT.search(text) is None or _PLAIN.fullmatch(text) is not None)


def _changed(values: pl.Series, search: Any) -> pl.Series:
    distinct = values.drop_nulls().unique()
    suspects = distinct.filter(distinct.str.contains(COLUMN_HINT) & ~distinct.str.contains(_PLAIN_ID))
    if not len(suspects):
        return values
    found = search(suspects.sort().to_list())
    other = {text: safe for text, safe in found.items() if safe != text}
    return values.replace(other) if other else values


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for key, item in value.items() for text in (key, *_texts(item))]
    return [text for item in value for text in _texts(item)] if isinstance(value, list) else []


def _with(value: Any, known: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return known[value]
    if isinstance(value, dict):
        return {known[key]: _with(item, known) for key, item in value.items()}
    return [_with(item, known) for item in value] if isinstance(value, list) else value


def _dumped(value: Any) -> str:
    return orjson.dumps(value).decode()


# --- one text -----------------------------------------------------------------------------


_REMEMBERED_CHARS = 2_000
"""Of a text: names, ids and messages are shorter; a longer one is searched each time."""


@lru_cache(maxsize=20_000)
def _shown_lines(text: str, entities: tuple[Any, ...], regions: tuple[str, ...]) -> str:
    pii = NAMES.model_copy(update={"entities": entities, "phone_regions": regions})
    lines = text.split("\n")
    try:
        known = _searched(sorted(set(lines)), pii, direct)
    except Exception:
        # What is shown instead is often the message of an error: that nothing can be searched must not hide it all.
        return NOT_SHOWN
    return "\n".join(known[line] for line in lines)


def _searched(texts: list[str], pii: Pii, memo: Memo) -> dict[str, str]:
    """Each text to how it is shown."""
    read = {text: _Read(text) for text in texts}
    views = {text: one.views() for text, one in read.items()}
    listed = sorted({view for own in views.values() for view in own})
    found = dict(zip(listed, find_pii(listed, pii, memo), strict=True))
    safe = {}
    for text, one in read.items():
        spans = [finding for view in views[text] for finding in found[view]]
        if "EMAIL_ADDRESS" in pii.entities:
            spans += _addresses(one.text)
        safe[text] = replaced(text, [one.as_written(f) for f in _merged(spans)]) if spans else text
    return safe


_ADDRESS = re.compile(r"[^\s/:;,\"'<>()\[\]{}=|@]+@[\w-]+(?:\.[\w-]+)+")


def _addresses(text: str) -> list[Finding]:
    """What is written like an address, under a public suffix or not: in a name its end is joined to what follows. Found by
    its shape alone, it takes what follows with it."""
    if "@" not in text:
        return []
    free = _masked(text)
    return [
        Finding(m.start(), m.end(), "EMAIL_ADDRESS", 0.1) for m in _ADDRESS.finditer(_without_endings(free))
    ]


def _merged(findings: list[Finding]) -> list[Finding]:
    """Findings that overlap as one: what any reading found is taken out. The surest says what it is; an address found by its shape
    alone gives way to others, where they cover its beginning."""
    sure = [f for f in findings if f.score > 0.1]
    rough = [
        f for f in findings if f.score <= 0.1 and not any(s.start < f.end and f.start < s.end for s in sure)
    ]
    merged: list[Finding] = []
    for finding in sorted([*sure, *rough]):
        if merged and finding.start < merged[-1].end:
            last = merged.pop()
            surest = max(last, finding, key=lambda f: (f.score, f.end - f.start))
            finding = Finding(last.start, max(last.end, finding.end), surest.entity, surest.score)
        merged.append(finding)
    return merged


# --- readings of a text -------------------------------------------------------------------

_DATE = re.compile(
    r"(?<!\d)(?:19|20)\d{2}-[01]\d-[0-3]\d(?:[T ][0-2]\d:[0-5]\d(?::[0-5]\d(?:\.\d+)?)?)?(?!\d)"
)
_HASH = re.compile(r"(?<![\w@.+%-])(?![a-f]{2}\d+\b)(?=[0-9a-f]*[a-f])[0-9a-f]{8,64}(?![\w@.])")
_UUID = re.compile(r"(?<![\w-])[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![\w-])")
_HOST = re.compile(r"(?<=://)[^/\s@'\"<>)]+")
_BESIDE_SSN = re.compile(r"(?<!\d)[-_.](?=\d{3}-\d{2}-\d{4}(?!\d))|(?<=\d{3}-\d{2}-\d{4})[-_.](?!\d{5})")
_ENDING = re.compile(
    r"(?:\.(?:jsonl?|ndjson|[ct]sv|parquet|txt|text|html?|md|xlsx?|log|gz|zst|zip|ya?ml|db|sqlite|duckdb|arrow))+(?![\w])",
    re.IGNORECASE,
)


class _Read:
    """A text as it is meant (`pii_view`), and where each of its characters is written."""

    def __init__(self, written: str):
        self._meant = meant(written)
        self.text = plain_view(written if self._meant is None else self._meant.text)

    def as_written(self, finding: Finding) -> Finding:
        if self._meant is None:
            return finding
        start, end = self._meant.written(finding.start, finding.end)
        return Finding(start, end, finding.entity, finding.score)

    def views(self) -> list[str]:
        """The readings of a name, each as long as `text`."""
        masked = _masked(self.text)
        bare = _without_endings(masked)
        open_ended = _BESIDE_SSN.sub(" ", bare)
        return list(
            dict.fromkeys([masked, bare, open_ended, bare.replace("_", " "), re.sub("[_-]", " ", bare)])
        )


def _masked(text: str) -> str:
    """Gaps in place of what our own messages are full of: days, hashes, ids of records, hosts of addresses that the spec names."""
    for pattern in (_HOST, _DATE, _UUID, _HASH):
        text = pattern.sub(lambda found: " " * len(found.group()), text)
    return text


def _without_endings(text: str) -> str:
    return _ENDING.sub(lambda found: " " * len(found.group()), text)
