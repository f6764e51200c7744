"""Files that come late, change or vanish, and nightly files that do not come: what the sensor `arrivals` acts on.

Lives here: comparing the files that are there with those that were read, and the sensor. Keep out: hashing (`seen`), which file
was due (`freshness`), the run that is asked for (`night`).

Each finding is acted on once: what was found of a day, and what was published of it then, make a digest that the cursor keeps.
"""

# No `from __future__ import annotations` here: Dagster reads the annotation of `context` as a type.

import datetime as dt
import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import dagster as dg

from dataset_pipeline import clock
from dataset_pipeline.automation import alarm, freshness
from dataset_pipeline.automation.freshness import Freshness, shown_file
from dataset_pipeline.automation.night import run_request
from dataset_pipeline.automation.seen import Look, Seen, look
from dataset_pipeline.errors import PipelineError
from dataset_pipeline.records import Step
from dataset_pipeline.spec.load import Project, load_project
from dataset_pipeline.storage.sources import Found, discover
from dataset_pipeline.storage.warehouse import Warehouse
from dataset_pipeline.transforms.redaction import shown

INTERVAL_SECONDS = 300
_WAIT_SECONDS = 1.0
"""For the warehouse: a sensor that waits long is ended by Dagster; it looks again in five minutes."""
_SHOWN = 5
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


class Kind(StrEnum):
    LATE = "late"
    """A file of a day that was published without it."""
    CHANGED = "changed"
    """A file that says something else than when it was read."""
    VANISHED = "vanished"
    """A file that was read and is gone."""
    NEW_DAY = "new_day"
    """A file of a day that was not published yet."""
    NOT_COME = "not_come"
    """A source whose nightly file is not there."""


@dataclass(frozen=True)
class Read:
    """A file that was read into the warehouse: a row of `batches`."""

    source: str
    day: str
    uri: str
    sha256: str


@dataclass(frozen=True)
class Arrival:
    """One finding. mark: what tells this state of the file from another. since: when the file came; 0 where it is gone."""

    kind: Kind
    source: str
    day: str
    uri: str = ""
    mark: str = ""
    since: float = 0.0

    @property
    def words(self) -> str:
        file = shown_file(self.uri)
        return {
            Kind.LATE: f"{file} came late: {self.day} was made without it",
            Kind.CHANGED: f"{file} has changed since {self.day} was made",
            Kind.VANISHED: f"{file} is gone; {self.day} was made with it",
            Kind.NEW_DAY: f"{file} is there; {self.day} is not made yet",
            Kind.NOT_COME: f"{self.source} sent no file for {self.day}",
        }[self.kind]


def compare(
    there: Iterable[Seen], read: Iterable[Read], published: Collection[str], silent: Iterable[Freshness] = ()
) -> list[Arrival]:
    """What differs between the files that are there and those that were read, in (day, source, uri) order.

    published: days (ISO) of ingest. silent: sources whose nightly file did not come. A file whose hash is not known (yet) is
    not taken for a changed one.
    """
    known = {(one.source, one.day, one.uri): one.sha256 for one in read}
    found: list[Arrival] = []
    seen: set[tuple[str, str, str]] = set()
    for file in there:
        key = (file.source, file.day, file.uri)
        seen.add(key)
        if key not in known:
            kind = Kind.LATE if file.day in published else Kind.NEW_DAY
            found.append(Arrival(kind, *key, file.mark, file.since))
        elif file.sha256 is not None and file.sha256 != known[key]:
            found.append(Arrival(Kind.CHANGED, *key, file.sha256, file.since))
    found += [Arrival(Kind.VANISHED, *key) for key in known if key not in seen]
    found += [Arrival(Kind.NOT_COME, one.source, str(one.expected)) for one in silent if not one.is_fresh]
    return sorted(found, key=lambda one: (one.day, one.source, one.uri, one.kind))


# --- the sensor ---------------------------------------------------------------------------


@dataclass
class _Cursor:
    """acted: day to the digest of what was found of it and acted on. told: source to the due day it was told for.

    night: the last night's run whose findings are in `acted`.
    """

    acted: dict[str, str] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)
    night: str = ""

    @classmethod
    def read(cls, text: str | None) -> "_Cursor":
        try:
            data = json.loads(text or "{}")
            return cls(dict(data.get("acted", {})), dict(data.get("told", {})), str(data.get("night", "")))
        except (ValueError, TypeError, AttributeError):
            return cls()

    def text(self) -> str:
        return json.dumps(self.__dict__, separators=(",", ":"), sort_keys=True)


def build_arrivals(project: Project, night_job: dg.JobDefinition | Any) -> dg.SensorDefinition:
    """The sensor: asks for a run of the night where files differ from what was read, tells of nightly files that did not come.

    The spec is read again each time. It holds the warehouse for one query.
    """

    @dg.sensor(
        name="arrivals",
        job=night_job,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Files that came late, changed or vanished for days already made, and nightly files that did not come.",
    )
    def arrivals(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        cursor = _Cursor.read(context.cursor)
        try:
            now = Project(load_project(project.path).spec, project.path, project.state)
        except (PipelineError, OSError) as error:
            return dg.SensorResult(
                skip_reason=f"Nothing was looked at: {shown(str(error))}", cursor=context.cursor
            )
        found = discover(now)
        due = freshness.due_day(now.spec.schedule.cron, clock.now())
        events = _watch_sources(context, now, freshness.freshness(now, found.files, due), due, cursor)
        try:
            asked = _asked(context, now, found, due, night_job.name, cursor)
        except (PipelineError, OSError) as error:
            asked = f"The files were not looked at: {shown(str(error))}"
        if isinstance(asked, str):
            return dg.SensorResult(skip_reason=asked, asset_events=events, cursor=cursor.text())
        return dg.SensorResult(run_requests=[asked], asset_events=events, cursor=cursor.text())

    return arrivals


def _asked(
    context: dg.SensorEvaluationContext,
    project: Project,
    found: Found,
    due: dt.date,
    night_job: str,
    cursor: _Cursor,
) -> dg.RunRequest | str:
    """The run of the night that the files ask for, or in words why none. Raises WarehouseBusy, WarehouseVersion, OSError."""
    night = _last_night(context, night_job)
    if night is not None and night.dagster_run.status in _UNFINISHED:
        return "A night is under way; what it leaves is looked at once it has ended."
    read, published = _read_of(project)
    if not published:
        return "Nothing is made yet: the first night, or `dataset-pipeline run`, makes every day."
    first = project.spec.start
    files = [file for file in found.files if first is None or file.day >= first]
    looked = look(project.dagster_home / "arrivals.json", files, {one.uri for one in read})
    by_day: dict[str, list[Arrival]] = {}
    for one in compare(looked.files, _still_read(project, looked, read), published):
        # A day after the last night's is made by the next one.
        if one.kind is not Kind.NEW_DAY or one.day <= due.isoformat():
            by_day.setdefault(one.day, []).append(one)
    digests = {day: _digest(ones, published.get(day, 0)) for day, ones in by_day.items()}
    if night is not None and night.dagster_run.run_id != cursor.night:
        # The night has seen what was there when it began: it was published, or told as bad.
        began = night.start_time or night.create_timestamp.timestamp()
        is_seen = {day: all(0 < one.since < began for one in ones) for day, ones in by_day.items()}
        cursor.night = night.dagster_run.run_id
        cursor.acted |= {day: digest for day, digest in digests.items() if is_seen[day]}
    new = {day: digest for day, digest in digests.items() if cursor.acted.get(day) != digest}
    cursor.acted = digests
    if not new:
        return _nothing(looked, len(digests))
    why = _why([one for day in new for one in by_day[day]])
    context.log.info(why)
    key = hashlib.sha256(json.dumps(new, sort_keys=True).encode()).hexdigest()[:32]
    return run_request(project, due, f"arrivals-{key}", why)


def _still_read(project: Project, looked: Look, read: Sequence[Read]) -> list[Read]:
    """`read` without files that lie there while no source reads them any more: a change of the spec, not of the files."""
    there = {(one.source, one.day, one.uri) for one in looked.files}
    return [
        one
        for one in read
        if (one.source, one.day, one.uri) in there or not (project.root / one.uri).exists()
    ]


def _watch_sources(
    context: dg.SensorEvaluationContext,
    project: Project,
    sources: Sequence[Freshness],
    due: dt.date,
    cursor: _Cursor,
) -> list[Any]:
    """The check `fresh` of each source that fell silent or came back, and one alarm a day for those silent."""
    silent = [one for one in sources if not one.is_fresh]
    new = [one for one in silent if cursor.told.get(one.source) != due.isoformat()]
    back = [one for one in sources if one.is_fresh and one.source in cursor.told]
    cursor.told = {one.source: due.isoformat() for one in silent}
    if new:
        alarm.send(project, alarm.compose_silent(project, new), context.log.warning)
    return [fresh_evaluation(one) for one in [*new, *back]]


def fresh_evaluation(one: Freshness) -> dg.AssetCheckEvaluation:
    """The check `fresh` of a source, as an event."""
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(["source", one.source]),
        check_name="fresh",
        passed=one.is_fresh,
        severity=dg.AssetCheckSeverity.WARN,
        description=one.words,
        metadata=fresh_metadata(one),
    )


def fresh_metadata(one: Freshness) -> dict[str, Any]:
    return {
        "last_day": str(one.newest or "none"),
        "expected_day": str(one.expected or "none"),
        "files": one.files,
    }


def _last_night(context: dg.SensorEvaluationContext, night_job: str) -> dg.RunRecord | None:
    try:
        instance = context.instance
    except dg.DagsterInvariantViolationError:
        return None  # evaluated without an instance: there are no runs
    found = instance.get_run_records(dg.RunsFilter(job_name=night_job), limit=1)
    return found[0] if found else None


def _read_of(project: Project) -> tuple[list[Read], dict[str, int]]:
    """The files that were read of the spec's sources, and day to the newest publication of ingest; nothing before the spec's start."""
    warehouse = Warehouse(project.warehouse_path, wait_seconds=_WAIT_SECONDS)
    if not warehouse.exists():
        return [], {}
    with warehouse.reading():
        batches = warehouse.query("SELECT source, day, uri, sha256 FROM batches")
        published = warehouse.query(
            "SELECT day, max(seq) AS seq FROM publications WHERE step = ? GROUP BY day", [str(Step.INGEST)]
        )
    first = project.spec.start.isoformat() if project.spec.start is not None else ""
    names = {source.name for source in project.spec.sources}
    read = [
        Read(source, str(day), uri, sha) for source, day, uri, sha in batches.iter_rows() if source in names
    ]
    days = {str(day): int(seq) for day, seq in published.iter_rows() if str(day) >= first}
    return [one for one in read if one.day >= first], days


def _digest(found: Sequence[Arrival], published: int) -> str:
    """What was found of a day and what was published of it then: the same again is the same finding."""
    text = json.dumps([[one.kind, one.source, one.uri, one.mark] for one in found] + [[str(published)]])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _why(found: Sequence[Arrival]) -> str:
    more = f", and {len(found) - _SHOWN} more files" if len(found) > _SHOWN else ""
    return "; ".join(one.words for one in found[:_SHOWN]) + more + "."


def _nothing(looked: Look, days: int) -> str:
    left = f" {looked.left} files are still to be looked at, at the next tick." if looked.left else ""
    if days:
        return f"Nothing new: what differs on {days} days was acted on already (`dataset-pipeline status`).{left}"
    return f"Nothing new: {len(looked.files)} files are as they were read.{left}"
