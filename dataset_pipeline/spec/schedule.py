"""When the night begins and who is told: what is wrong with these keys although they are texts.

Lives here: cron expressions, the webhook. Keep out: asking Dagster (this layer knows none); a test holds the two together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from dataset_pipeline.spec.models import Spec

CRON_REMEDY = (
    "Write minute, hour, day of the month, month, day of the week: `0 2 * * *` is two at night (UTC)."
)
_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")),
    ("day of the week", 0, 7, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)
_LONGEST_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_PART = re.compile(
    r"(?P<first>\*|[0-9]{1,2}|[a-z]{3})(?:-(?P<last>[0-9]{1,2}|[a-z]{3}))?(?:/(?P<step>[0-9]{1,2}))?"
)


def schedule_problems(spec: Spec) -> Iterator[tuple[str, str, str]]:
    """Place, message and remedy of each problem of `schedule`."""
    schedule = spec.schedule
    if reason := cron_problem(schedule.cron):
        yield "schedule.cron", reason, CRON_REMEDY
    hook = schedule.webhook
    if hook is not None and not re.match(r"https?://[^\s/]", hook, re.IGNORECASE) and "${" not in hook:
        # The value is not repeated: such addresses carry a key.
        yield (
            "schedule.webhook",
            "is no http or https address.",
            "Name one, or a variable that holds it: ${ALARM_URL}.",
        )


def cron_problem(expression: str) -> str | None:
    """Why `expression` is no cron expression of five fields, or never comes; None where it is good."""
    fields = expression.split()
    if len(fields) != len(_FIELDS):
        return f"{expression[:60]!r} has {len(fields)} fields instead of five."
    values: list[set[int]] = []
    for text, (name, low, high, words) in zip(fields, _FIELDS, strict=True):
        found = _values(text.lower(), low, high, words)
        if found is None:
            return f"{text[:30]!r} is no {name}: numbers from {low} to {high}, *, a-b, */n and lists of them."
        values.append(found)
    _, _, days, months, _ = values
    is_any_weekday = fields[4].startswith("*")
    if is_any_weekday and min(days) > max(_LONGEST_MONTHS[month - 1] for month in months):
        return f"{expression!r} never comes: no such month has a day {min(days)}."
    return None


def _values(text: str, low: int, high: int, words: tuple[str, ...]) -> set[int] | None:
    """The numbers of a field; None where it is none."""
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            return None
        first, last, step = match["first"], match["last"], match["step"]
        if first == "*":
            begin, end = (low, high) if last is None else (None, None)
        else:
            begin = _number(first, low, words)
            end = _number(last, low, words) if last is not None else (high if step is not None else begin)
        if begin is None or end is None or not low <= begin <= end <= high:
            return None
        if step is not None and not 1 <= int(step) <= high:
            return None
        found |= set(range(begin, end + 1, int(step or 1)))
    return found


def _number(text: str, low: int, words: tuple[str, ...]) -> int | None:
    if text.isdigit():
        return int(text)
    return words.index(text) + low if text in words else None
