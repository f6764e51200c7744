"""The night: a schedule, and a job that runs the command `run --night` in a process of its own.

Lives here: when it begins, how the command is started, followed and ended, and how its end is told to Dagster. Keep out: what
a night makes (`cli.running`: the planner is the command's, there is no second one), who is told (`automation.alarm`).
"""

# No `from __future__ import annotations` here: Dagster reads the annotation of `config` as a type.

import contextlib
import datetime as dt
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from dataset_pipeline import clock
from dataset_pipeline.assets.graph import POOL
from dataset_pipeline.automation.alarm import TOLD_TAG
from dataset_pipeline.spec.load import Project

JOB, OP, SCHEDULE = "night", "run_night", "nightly"
LATER_VARIABLE = "DATASET_PIPELINE_TRIED_AGAIN"
"""Set where a busy warehouse is no failure yet: the command is run again, so nobody is woken."""

TOLD_LINE = "alarm: told as above"
"""What the command says last where it told its owners: the sensor that watches for failures need not do it again."""

BUSY = 3
MAX_TRIES = 3
"""Of the command within one run of the job: where the warehouse is busy, or where something killed it."""
BUSY_WAIT_SECONDS = 900
CRASH_WAIT_SECONDS = 10
END_SECONDS = 30
"""For the command to end when it is told to; it is killed then, which loses no more than a crash does."""
WORDS_LINES = 15
"""Of what the command said last: what is told of a night that failed."""

_BOUND = """\
import ctypes, os, runpy, sys
parent, module = int(sys.argv[1]), sys.argv[2]
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL: nothing of a killed night goes on
    if os.getppid() != parent:
        sys.exit(1)
sys.argv = sys.argv[2:]
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


class NightConfig(dg.Config):
    """What a night is launched with."""

    day: str | None = None
    """The day that is over, YYYY-MM-DD; default: yesterday (UTC)."""


@dataclass(frozen=True)
class Ended:
    """How the command ended: its exit code (negative: the signal that killed it), its JSON line, what it said last."""

    code: int
    summary: Mapping[str, Any]
    last_lines: tuple[str, ...]


def build_night(project: Project) -> tuple[dg.JobDefinition, dg.ScheduleDefinition]:
    """The job `night` and the schedule `nightly` of a project."""
    schedule = project.spec.schedule

    @dg.op(
        name=OP,
        description="Runs `dataset-pipeline run --night DAY` in a process of its own and tells what it says.",
        out=dg.Out(dg.Nothing),
        pool=POOL,
    )
    def night_op(context: dg.OpExecutionContext, config: NightConfig) -> None:
        day = dt.date.fromisoformat(config.day) if config.day else yesterday()
        will_try_again = context.retry_number + 1 < MAX_TRIES
        ended = follow(
            command(project.path, day), context.log.info, {LATER_VARIABLE: "1"} if will_try_again else {}
        )
        _tell(context, ended, will_try_again)
        context.add_output_metadata(dict(numbers(ended.summary)))

    @dg.job(
        name=JOB,
        description=(
            "Makes the day that is over, then everything that is missing or stale, then the release: what `dataset-pipeline run --night` "
            "does. Days that were missed are made first, in order, each once. A bad day is set aside and the rest is made."
        ),
        tags=_limits(project),
        executor_def=dg.in_process_executor,
    )
    def night() -> None:
        night_op()

    @dg.schedule(
        name=SCHEDULE,
        job=night,
        cron_schedule=schedule.cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=(
            f"Every night (cron {schedule.cron}, UTC; `schedule.cron` of the spec): the day that is over, what was missed before it, then "
            "the release. It runs as long as Dagster's daemon does; after an outage the next night makes up for it."
        ),
    )
    def nightly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        tick = context.scheduled_execution_time.astimezone(dt.UTC)
        return run_request(project, (tick - dt.timedelta(days=1)).date(), tick.isoformat())

    return night, nightly


def run_request(project: Project, day: dt.date, run_key: str, why: str = "") -> dg.RunRequest:
    """What asks Dagster for a night: of the schedule, or of a sensor that saw files for days already made.

    run_key: the same key asks once. why: what is shown at the run, in words.
    """
    tags = {"dataset_pipeline/day": day.isoformat()} | ({"dataset_pipeline/why": why} if why else {})
    return dg.RunRequest(
        run_key=run_key,
        run_config={"ops": {OP: {"config": {"day": day.isoformat()}}}},
        tags={**tags, **_limits(project)},
    )


def _limits(project: Project) -> dict[str, str]:
    """Tags of each night. A night that crashed is begun anew: it finds by itself what is left to do."""
    seconds = project.spec.schedule.max_runtime_minutes * 60
    return {"dagster/max_runtime": str(seconds), "dagster/retry_strategy": "ALL_STEPS"}


def yesterday() -> dt.date:
    """The last day that is over (UTC)."""
    return clock.now().date() - dt.timedelta(days=1)


def command(spec: Path, day: dt.date) -> list[str]:
    """The command of a night: the same one that a person or cron would give."""
    module = "dataset_pipeline.cli.main"
    return bound(module, "run", "--night", day.isoformat(), "--spec", str(spec), "--json")


def bound(module: str, *arguments: str) -> list[str]:
    """A Python module as a command that does not outlive this process, even where this one is killed.

    Elsewhere than on Linux it ends by itself, at the next line that it writes.
    """
    return [sys.executable, "-c", _BOUND, str(os.getpid()), module, *arguments]


def follow(arguments: Sequence[str], say: Callable[[str], None], environment: Mapping[str, str]) -> Ended:
    """Run a command, hand on each line of its standard error as it comes, and read its standard output as one JSON line.

    Whatever ends this call ends the command too: it is told to stop, and killed where it does not.
    """
    last: deque[str] = deque(maxlen=WORDS_LINES)
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
        )
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if line.strip():
                    last.append(line.rstrip())
                    say(last[-1])
            code = process.wait()
        finally:
            _end(process)
            process.stderr.close()
        output.seek(0)
        printed = output.read().decode("utf-8", "replace").strip()
    return Ended(code, _json_line(printed), tuple(last))


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _json_line(printed: str) -> Mapping[str, Any]:
    """The last line as an object; nothing where the command did not come that far."""
    with contextlib.suppress(ValueError):
        found = json.loads(printed.rpartition("\n")[2])
        return found if isinstance(found, dict) else {}
    return {}


def numbers(summary: Mapping[str, Any]) -> dict[str, int | float]:
    """The numbers of a run's JSON line, a name each: they become plots over the nights in Dagster's UI."""
    found: dict[str, int | float] = {}
    for name in ("ingested", "rejected"):
        if isinstance(summary.get(name), int):
            found[name] = summary[name]
    for name, of in (("released", "released"), ("checks", "checks")):
        found |= {f"{name}_{key}": int(n) for key, n in sorted(summary.get(of, {}).items())}
    found |= {name: len(summary[name]) for name in ("missing_days", "stale_days") if name in summary}
    if summary.get("seconds"):
        found["seconds"] = round(sum(summary["seconds"].values()), 1)
    return found


def _tell(context: dg.OpExecutionContext, ended: Ended, will_try_again: bool) -> None:
    """Raises what Dagster has to know of a command that did not end well."""
    if ended.code == 0:
        return
    if ended.code < 0:
        if will_try_again:
            raise dg.RetryRequested(MAX_TRIES - 1, seconds_to_wait=CRASH_WAIT_SECONDS)
        raise dg.Failure(killed_words(-ended.code), allow_retries=False)
    if ended.code == BUSY and will_try_again:
        raise dg.RetryRequested(MAX_TRIES - 1, seconds_to_wait=BUSY_WAIT_SECONDS)
    if TOLD_LINE in ended.last_lines:
        context.instance.add_run_tags(context.run_id, {TOLD_TAG: "yes"})
    raise dg.Failure(failure_words(ended), metadata=dict(numbers(ended.summary)), allow_retries=False)


_ENDS = {
    1: "a gate closed or a step failed; what is good was made and released",
    2: "the spec, a file it names or the call is wrong",
    BUSY: "the warehouse is busy",
}


def failure_words(ended: Ended) -> str:
    """A night's failure for people: what the exit code means, and what the command said last."""
    what = _ENDS.get(ended.code, "the command stopped")
    return "\n".join([f"Exit code {ended.code}: {what}.", *ended.last_lines])


def killed_words(number: int) -> str:
    """What to say of a command that something killed each time."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return (
        f"The command was killed ({name}) {MAX_TRIES} times. What it had published stays, and the next night goes on from there. "
        "Where nobody killed it, memory ran out: see the log of the system, and give the machine more or other programs less."
    )
