"""The alarm: what failed, on which day, with which numbers and what to do, told to the log and to a webhook.

Lives here: composing an alarm from plain values, its words and its JSON. Keep out: sending it over the network (`webhook`), failed
runs of Dagster's (`failed_runs`), when a file is late (`arrivals`), the night itself (`night`).
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from dataset_pipeline import clock
from dataset_pipeline.assets.plan import ranges
from dataset_pipeline.automation import webhook
from dataset_pipeline.automation.freshness import Freshness
from dataset_pipeline.spec.load import Project
from dataset_pipeline.storage.publishing import CheckRow
from dataset_pipeline.transforms.redaction import shown

TOLD_TAG = "dataset_pipeline/told"
"""On a run of which somebody was told already: `run --night` tells by itself."""
MEND = (
    "Mend what is named (a file, the spec, a review), then run `dataset-pipeline run`. `dataset-pipeline status` "
    "lists what is not up to date; what was published before stays as it was."
)
MAX_FAILED = 25
"""Failures an alarm lists; it says how many more there are."""
MAX_DAYS = 60
"""Days of a failure in the JSON."""
_MESSAGE_CHARS = 600
_CULPRITS = 10


@dataclass(frozen=True)
class Failed:
    """One thing that failed. Where no expectation judged it (a file that is no batch), `message` alone says what it is."""

    step: str
    days: tuple[str, ...]
    message: str
    expectation: str = ""
    observed: str = ""
    limit: str = ""
    culprits: tuple[str, ...] = ()

    def line(self) -> str:
        """What, with which numbers, on which days."""
        what = ".".join(filter(None, (self.step, self.expectation)))
        numbers = self.observed + (f" (limit {self.limit})" if self.limit else "")
        by = f" by {', '.join(self.culprits)}" if self.culprits else ""
        said = f"{numbers}{by}" if numbers else self.message
        on = f" on {_in_ranges(self.days)}" if self.days else ""
        return f"{what}: {said}{on}" if what and not said.startswith(what) else f"{said}{on}"


@dataclass(frozen=True)
class Alarm:
    """What is told. when: UTC, ISO. state: what holds now all the same. run_id: empty where no run of Dagster's is meant."""

    project: str
    owners: tuple[str, ...]
    title: str
    when: str
    failed: tuple[Failed, ...]
    remedy: str
    state: tuple[str, ...] = ()
    run_id: str = ""

    @property
    def link(self) -> str:
        """Where to look: the UI has no address of its own until somebody starts it."""
        return f"Look at run {self.run_id} in `dataset-pipeline ui`." if self.run_id else ""

    def lines(self) -> list[str]:
        """The message, a line each."""
        more = len(self.failed) - MAX_FAILED
        return [
            f"{self.project}: {self.title}",
            *(f"- {failed.line()}" for failed in self.failed[:MAX_FAILED]),
            *([f"- and {more} more"] if more > 0 else []),
            *self.state,
            self.remedy,
            *filter(None, [self.link]),
            *([f"For {', '.join(self.owners)}."] if self.owners else []),
        ]

    def payload(self) -> dict[str, Any]:
        """The JSON of the webhook (docs/alarms.md)."""
        return {
            "text": "\n".join(self.lines()),
            "project": self.project,
            "owners": list(self.owners),
            "title": self.title,
            "when": self.when,
            "failed": [
                {
                    "step": failed.step,
                    "days": list(failed.days[:MAX_DAYS]),
                    "expectation": failed.expectation or None,
                    "observed": failed.observed or None,
                    "limit": failed.limit or None,
                    "culprits": list(failed.culprits),
                    "message": failed.message,
                }
                for failed in self.failed[:MAX_FAILED]
            ],
            "failed_count": len(self.failed),
            "remedy": self.remedy,
            "run_id": self.run_id or None,
        }


def compose(
    project: Project,
    *,
    title: str,
    bad: Mapping[dt.date, Sequence[str]] | None = None,
    failures: Iterable[str] = (),
    refused: Mapping[str, str] | None = None,
    not_fetched: Iterable[str] = (),
    judged: Iterable[CheckRow] = (),
    summary: Mapping[str, Any] | None = None,
    days: Sequence[str] = (),
    remedy: str = MEND,
    run_id: str = "",
) -> Alarm:
    """The alarm of a run that did not go well.

    bad: day to what set it aside. failures: what ended the run. refused: input to why its gate is closed. not_fetched: what did
    not answer. Their texts are those of `run`, which hold no text of a record. judged: what was judged; a critical expectation
    that failed gives its numbers to the text that names it, and is listed by itself where none does. summary: the line
    of `run --json`. days: the days of a failure that names none.
    """
    numbers = {f"{row.step}.{row.name}": row for row in judged if not row.passed and not row.is_warning}
    failed: list[Failed] = []
    by_text: dict[str, list[str]] = {}
    for day, texts in sorted((bad or {}).items()):
        for text in texts:
            by_text.setdefault(text, []).append(day.isoformat())
    for text, on in by_text.items():
        failed += _failed(text, numbers, on=tuple(on))
    for text in [*(refused or {}).values(), *failures]:
        failed += _failed(text, numbers, asked=tuple(days))
    failed += [Failed("fetch", (), _short(shown(text))) for text in not_fetched]
    named = {f"{one.step}.{one.expectation}" for one in failed}
    failed += [_judged(row, "", row.days) for name, row in numbers.items() if name not in named]
    return Alarm(
        project.spec.name, project.spec.owners, title, clock.now().isoformat(timespec="seconds") + "Z", tuple(failed),
        remedy, tuple(_state(summary or {})), run_id,
    )  # fmt: skip


def compose_silent(project: Project, silent: Sequence[Freshness]) -> Alarm:
    """The alarm of sources whose nightly file did not come."""
    names = ", ".join(one.source for one in silent)
    return Alarm(
        project.spec.name, project.spec.owners, f"no file from {names}", clock.now().isoformat(timespec="seconds") + "Z",
        tuple(
            Failed(
                f"source/{one.source}", (str(one.expected),), one.words, "fresh",
                f"newest file of {one.newest}" if one.newest else "no file", f"{one.expected} or later",
            )
            for one in silent
        ),
        "Ask who sends it. Once the file is there, the sensor `arrivals` has its day made again. Where no file comes every day, say "
        "`expected_daily: false` of the source, or raise its `max_age_days`.",
    )  # fmt: skip


def send(project: Project, alarm: Alarm, log: Callable[[str], object]) -> None:
    """Tell the log, line by line, and the spec's webhook where there is one. Never raises."""
    for line in alarm.lines():
        log(line)
    if project.spec.schedule.webhook is not None:
        try:
            trouble = webhook.post(project, alarm.payload())
        except (
            Exception
        ) as error:  # a fault of ours must not hide what the alarm is about; its message may hold the address
            trouble = f"The webhook was not told: a fault of its own ({type(error).__name__})."
        log(trouble or "The webhook was told.")


def _failed(
    text: str, numbers: Mapping[str, CheckRow], on: tuple[str, ...] = (), asked: tuple[str, ...] = ()
) -> Iterator[Failed]:
    """The failures that a text tells: a line that begins with the name of a failed expectation is one by itself.

    on: the days that it is about. asked: those that the run was about, of which a judgement may blame some.
    """
    text = shown(text)
    lines = text.splitlines()
    rows = {line: row for line in lines if (row := numbers.get(line.partition(": ")[0])) is not None}
    for line, row in rows.items():
        yield _judged(row, line, on or row.days or asked)
    # What stands around the lines of expectations ("the gate is closed") says nothing more.
    if not rows:
        step, mark, said = text.partition(": ")
        is_step = bool(mark) and step.replace("_", "").isalpha()
        yield Failed(step if is_step else "", on or asked, _short(said if is_step else text))


def _judged(row: CheckRow, message: str, days: tuple[str, ...]) -> Failed:
    facts = json.loads(row.observed)
    culprits = tuple(str(one)[:_MESSAGE_CHARS] for one in facts.get("culprits", [])[:_CULPRITS])
    observed, limit = str(facts.get("observed", "")), str(facts.get("limit") or "")
    on = () if days == ("all",) else days
    failed = Failed(row.step, on, message, row.name, observed, limit, culprits)
    return failed if message else Failed(row.step, on, failed.line(), row.name, observed, limit, culprits)


def _state(summary: Mapping[str, Any]) -> Iterator[str]:
    if release := summary.get("release"):
        yield f"The release is {PurePath(str(release)).name}."
    elif "release" in summary:
        yield "There is no release yet."
    for word in ("missing", "stale"):
        if days := summary.get(f"{word}_days"):
            yield f"Days that are {word}: {_in_ranges(days)}."


def _in_ranges(days: Iterable[str]) -> str:
    """ISO days as ranges; at most six of them. What is no day stands as it is."""
    given = list(days)
    try:
        found = ranges(dt.date.fromisoformat(day) for day in given)
    except ValueError:
        return ", ".join(given[:6])
    words = [f"{first}" if first == last else f"{first} to {last}" for first, last in found]
    return ", ".join(words[:6]) + (f" and {len(words) - 6} more stretches" if len(words) > 6 else "")


def _short(text: str) -> str:
    return text if len(text) <= _MESSAGE_CHARS else text[: _MESSAGE_CHARS - 1] + "…"
