"""The night: its schedule, the command it follows, and how that command's end is told to Dagster.

Lives here: everything without a project that is run; the command is a few lines of Python. Keep out: what a night makes
(`test_night_runs`), whole daemons (`test_night_daemon`).
"""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner
from dagster._core.events import EngineEventData
from dagster._core.launcher import WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._utils.schedules import is_valid_cron_schedule

from dataset_pipeline import clock
from dataset_pipeline.automation import launcher, night
from dataset_pipeline.automation.alarm import TOLD_TAG
from dataset_pipeline.automation.instance import ensure_home
from dataset_pipeline.cli import running
from dataset_pipeline.cli.main import main
from dataset_pipeline.spec.load import Project, load_project
from dataset_pipeline.spec.schedule import cron_problem
from dataset_pipeline_tests import small_project as small

DAY = dt.date(2026, 11, 5)
SUMMARY = (
    '{"ingested": 112, "rejected": 1, "released": {"train": 54, "test": 19}, "checks": {"passed": 9, "failed": 0}, '
    '"missing_days": ["2026-11-01"], "stale_days": [], "seconds": {"ingest": 1.25, "dedup": 0.5}, "release": "releases/abc"}'
)
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    root = small.make_project(
        tmp_path_factory.mktemp("night"), {"schedule": {"cron": "30 3 * * 1-5", "max_runtime_minutes": 90}}
    )
    return load_project(root)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def script(text: str) -> list[str]:
    return [sys.executable, "-c", text]


# --- the schedule -------------------------------------------------------------------------


def test_schedule_tick_asks_for_the_day_that_is_over_once(project: Project) -> None:
    schedule = night.build_night(project)[1]
    tick = dt.datetime(2026, 11, 6, 3, 30, tzinfo=dt.UTC)
    data = schedule.evaluate_tick(dg.build_schedule_context(scheduled_execution_time=tick))
    assert data.run_requests is not None
    (request,) = data.run_requests
    assert request.run_config == {"ops": {"run_night": {"config": {"day": "2026-11-05"}}}}
    assert request.run_key == "2026-11-06T03:30:00+00:00"
    assert request.tags["dagster/max_runtime"] == "5400"


def test_schedule_takes_cron_of_the_spec_in_utc_and_runs_by_default(project: Project) -> None:
    schedule = night.build_night(project)[1]
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("30 3 * * 1-5", "UTC")
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    assert "02:00" not in (schedule.description or "")


def test_night_has_a_maximum_run_time_however_it_is_launched(project: Project) -> None:
    assert night.build_night(project)[0].tags["dagster/max_runtime"] == "5400"


GOOD_CRON = ("0 2 * * *", "*/15 * * * *", "0 0-6/2 * * *", "5,35 1 1,15 * *", "0 2 * * MON-FRI", "0 2 29 feb *", "0 2 31 * 7",
             "0 2 31 4 mon")  # fmt: skip
BAD_CRON = ("", "0 2 * *", "0 2 * * * *", "60 2 * * *", "0 24 * * *", "0 2 0 * *", "0 2 * 13 *", "0 2 * * 8", "0 2 * * x", "at two",
            "*/0 * * * *", "0 2 30 2 *", "*-3 * * * *", "1,,2 * * * *", "-1 * * * *")  # fmt: skip


@pytest.mark.parametrize("expression", GOOD_CRON)
def test_cron_that_is_good_is_good_for_dagster_too(expression: str) -> None:
    assert cron_problem(expression) is None
    assert is_valid_cron_schedule(expression)


@pytest.mark.parametrize("expression", BAD_CRON)
def test_cron_that_is_bad_is_refused_in_words(expression: str) -> None:
    assert cron_problem(expression)
    assert not is_valid_cron_schedule(expression)


@pytest.mark.parametrize("expression", ["@daily", "*/61 * * * *", "5-1 * * * *", "0 2 31 4,6 *"])
def test_cron_that_dagster_takes_and_few_people_mean_is_refused_too(expression: str) -> None:
    assert cron_problem(expression)
    assert is_valid_cron_schedule(expression)


def test_spec_with_a_bad_cron_and_a_bad_webhook_names_both_and_not_the_address(tmp_path: Path) -> None:
    schedule = {"cron": "0 2 * *", "webhook": "hooks.example.com/s3cret"}
    small.make_project(tmp_path, {"schedule": schedule})
    done = CliRunner().invoke(main, ["check", "--spec", str(tmp_path / "dataset.yaml")])
    assert done.exit_code == 2
    assert "dataset.yaml: schedule.cron: '0 2 * *' has 4 fields instead of five." in done.output
    assert "dataset.yaml: schedule.webhook: is no http or https address." in done.output
    assert "s3cret" not in done.output


# --- the command --------------------------------------------------------------------------


def test_command_of_a_night_is_the_command_of_a_person() -> None:
    given = night.command(Path("/data/dataset.yaml"), DAY)
    assert given[0] == sys.executable
    spec = str(Path("/data/dataset.yaml"))
    assert given[4:] == [
        "dataset_pipeline.cli.main",
        "run",
        "--night",
        "2026-11-05",
        "--spec",
        spec,
        "--json",
    ]


def test_follow_hands_on_each_line_and_reads_the_last_line_of_the_output() -> None:
    said: list[str] = []
    text = f"import sys; print('plan', file=sys.stderr); print(file=sys.stderr); print('done', file=sys.stderr); print('''x\n{SUMMARY}''')"
    ended = night.follow(script(text), said.append, {})
    assert (ended.code, said) == (0, ["plan", "done"])
    assert ended.summary["ingested"] == 112


def test_follow_of_a_command_without_json_has_no_numbers() -> None:
    ended = night.follow(script("print('no json'); raise SystemExit(2)"), lambda line: None, {})
    assert (ended.code, ended.summary, night.numbers(ended.summary)) == (2, {}, {})


def test_numbers_of_a_night_are_numbers_only() -> None:
    ended = night.follow(script(f"print('''{SUMMARY}''')"), lambda line: None, {})
    assert night.numbers(ended.summary) == {
        "ingested": 112, "rejected": 1, "released_train": 54, "released_test": 19, "checks_passed": 9, "checks_failed": 0,
        "missing_days": 1, "stale_days": 0, "seconds": 1.8,
    }  # fmt: skip


def test_follow_that_is_interrupted_ends_the_command() -> None:
    found: list[int] = []

    def interrupt(line: str) -> None:
        found.append(int(line))
        raise KeyboardInterrupt

    text = "import os, sys, time; print(os.getpid(), file=sys.stderr, flush=True); time.sleep(60)"
    with pytest.raises(KeyboardInterrupt):
        night.follow(script(text), interrupt, {})
    with pytest.raises(ProcessLookupError):
        os.kill(found[0], 0)


def test_follow_kills_a_command_that_does_not_end_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(night, "END_SECONDS", 0.2)
    text = "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', file=sys.stderr, flush=True); time.sleep(60)"

    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        night.follow(script(text), interrupt, {})
    assert time.monotonic() - began < 20


def test_command_of_a_night_that_is_killed_dies_with_it(tmp_path: Path) -> None:
    (tmp_path / "slow_command.py").write_text(
        "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)\n"
    )
    text = "import subprocess\nfrom dataset_pipeline.automation.night import bound\nsubprocess.run(bound('slow_command'))"
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parent.parent)])
    parent = subprocess.Popen(
        script(text), stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": path}
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    for _ in range(100):
        if not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text().split()[2]:
            return
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    pytest.fail("the command went on without its night")


# --- the job ------------------------------------------------------------------------------


def executed(
    project: Project, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, text: str
) -> dg.ExecuteInProcessResult:
    """The job, with `text` as the command."""
    monkeypatch.setattr(night, "command", lambda spec, day: [*script(text), str(spec), str(day)])
    monkeypatch.setattr(night, "CRASH_WAIT_SECONDS", 0)
    monkeypatch.setattr(night, "BUSY_WAIT_SECONDS", 0)
    return night.build_night(project)[0].execute_in_process(
        instance=instance, raise_on_error=False, run_config={"ops": {"run_night": {"config": {"day": "2026-11-05"}}}} | QUIET
    )  # fmt: skip


def failure(result: dg.ExecuteInProcessResult) -> str:
    (event,) = [e for e in result.all_events if e.is_step_failure]
    data = event.step_failure_data.user_failure_data
    return str(data.description) if data is not None else ""


def retries(result: dg.ExecuteInProcessResult) -> int:
    return sum(e.event_type_value == "STEP_UP_FOR_RETRY" for e in result.all_events)


def tags(instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult) -> dict[str, str]:
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    return dict(run.tags)


def test_night_that_goes_well_keeps_its_numbers_and_gives_the_day(
    project: Project, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"import sys; assert sys.argv[2] == '2026-11-05'; assert sys.argv[1].endswith('dataset.yaml'); print('''{SUMMARY}''')"
    result = executed(project, instance, monkeypatch, text)
    assert result.success
    (output,) = [e for e in result.all_events if e.event_type_value == "STEP_OUTPUT"]
    metadata = output.step_output_data.metadata
    assert metadata["ingested"].value == 112
    assert metadata["missing_days"].value == 1


@pytest.mark.parametrize(
    ("code", "words"),
    [(1, "a gate closed or a step failed"), (2, "the spec, a file it names or the call is wrong")],
)
def test_night_that_fails_says_why_and_is_not_tried_again(
    project: Project, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    text = f"import sys; print('bad day 2026-11-05: inbox has no column body', file=sys.stderr); sys.exit({code})"
    result = executed(project, instance, monkeypatch, text)
    assert not result.success
    assert failure(result).startswith(f"Exit code {code}: {words}")
    assert "bad day 2026-11-05: inbox has no column body" in failure(result)
    assert retries(result) == 0
    assert TOLD_TAG not in tags(instance, result)


def test_night_whose_command_has_told_its_owners_is_marked(
    project: Project, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"import sys; print('{night.TOLD_LINE}', file=sys.stderr); sys.exit(1)"
    assert tags(instance, executed(project, instance, monkeypatch, text))[TOLD_TAG] == "yes"


def test_night_that_finds_the_warehouse_busy_waits_and_wakes_nobody_before_it_gives_up(
    project: Project, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    text = (
        "import os, sys; quiet = 'DATASET_PIPELINE_TRIED_AGAIN' in os.environ; "
        f"open({str(seen)!r}, 'a').write('later ' if quiet else 'told '); sys.exit(3)"
    )
    result = executed(project, instance, monkeypatch, text)
    assert failure(result).startswith("Exit code 3: the warehouse is busy.")
    assert seen.read_text().split() == ["later", "later", "told"]


def test_night_whose_command_crashed_once_succeeds(
    project: Project, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mark = tmp_path / "crashed"
    text = (
        f"import os, pathlib, signal; mark = pathlib.Path({str(mark)!r})\n"
        "if not mark.exists():\n    mark.touch()\n    os.kill(os.getpid(), signal.SIGKILL)"
    )
    result = executed(project, instance, monkeypatch, text)
    assert result.success
    assert retries(result) == 1


def test_night_whose_command_crashes_each_time_gives_up_and_says_what_to_look_at(
    project: Project, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = executed(
        project, instance, monkeypatch, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert failure(result).startswith("The command was killed (SIGKILL) 3 times.")
    assert "memory ran out" in failure(result)
    assert retries(result) == 2


# --- the call -----------------------------------------------------------------------------


@pytest.fixture
def choices(monkeypatch: pytest.MonkeyPatch) -> list[running.Choice]:
    """What `run` was asked for; the clock stands at five past two on 6 November 2026."""
    found: list[running.Choice] = []

    def run(spec: Path, as_json: bool, choice: running.Choice) -> int:
        found.append(choice)
        choice.check_days()
        return 0

    monkeypatch.setattr(running, "run", run)
    monkeypatch.setattr(clock, "now", lambda: dt.datetime(2026, 11, 6, 2, 5))
    return found


@pytest.mark.parametrize(
    ("given", "day"),
    [
        (["--night"], DAY),
        (["--night", "--json"], DAY),
        (["--night", "2026-11-04"], dt.date(2026, 11, 4)),
        ([], None),
    ],
)
def test_night_without_a_day_means_yesterday(
    choices: list[running.Choice], given: list[str], day: dt.date | None
) -> None:
    assert CliRunner().invoke(main, ["run", *given]).exit_code == 0
    assert [choice.night for choice in choices] == [day]


@pytest.mark.parametrize("other", [["--from", "2026-11-01"], ["--to", "2026-11-01"], ["--select", "filter"]])
def test_night_with_a_part_of_the_plan_is_a_wrong_call(
    choices: list[running.Choice], other: list[str]
) -> None:
    done = CliRunner().invoke(main, ["run", *other, "--night"])
    assert done.exit_code == 2
    assert "--night: makes all that is not up to date" in done.output


def test_night_of_no_day_is_a_wrong_call(choices: list[Any]) -> None:
    done = CliRunner().invoke(main, ["run", "--night=soon"])
    assert (done.exit_code, choices) == (2, [])
    assert "'soon' is no day: write it as 2026-11-05." in done.output


def test_night_still_to_come_is_a_wrong_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: dt.datetime(2026, 11, 6, 2, 5))
    done = CliRunner().invoke(main, ["run", "--night", "2026-11-07", "--spec", str(tmp_path)])
    assert done.exit_code == 2
    assert "2026-11-07 is still to come" in done.output


# --- whether a run lives --------------------------------------------------------------------


def test_process_is_known_by_its_id_and_the_time_it_had_it() -> None:
    ended = subprocess.Popen(script("pass"))
    ended.wait()
    assert launcher.is_running(os.getpid(), time.time())
    assert not launcher.is_running(os.getpid(), 0.0)  # an id of before the machine was started is given again
    assert not launcher.is_running(ended.pid, time.time())


@pytest.fixture(scope="module")
def began(project: Project) -> Iterator[dg.DagsterInstance]:
    ensure_home(project.dagster_home, project.spec.schedule)
    with dg.DagsterInstance.from_config(str(project.dagster_home)) as found:
        yield found


SERVER = launcher.Server


@pytest.mark.parametrize(
    ("said", "process", "is_alive"),
    [
        (SERVER.HAS_IT, None, True),
        (SERVER.SILENT, "gone", True),  # busy is not gone
        (SERVER.WITHOUT_IT, "ours", True),  # the location was reloaded: the new server knows nothing of it
        (SERVER.WITHOUT_IT, "gone", False),
        (SERVER.WITHOUT_IT, None, True),  # about to begin
        (SERVER.GONE, "ours", True),
        (SERVER.GONE, "gone", False),
        (SERVER.GONE, None, False),
    ],
)
def test_run_is_gone_where_neither_its_server_nor_the_machine_knows_it(
    project: Project,
    began: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    said: launcher.Server,
    process: str | None,
    is_alive: bool,
) -> None:
    ours = began.run_launcher
    assert isinstance(ours, launcher.ProjectRunLauncher)
    run = began.create_run_for_job(night.build_night(project)[0], tags={GRPC_INFO_TAG: "{}"})
    if process is not None:
        pid = os.getpid() if process == "ours" else 2**22 + 1
        began.report_engine_event(f"(pid: {pid})", run, EngineEventData.in_process(pid))
    monkeypatch.setattr(ours, "_asked", lambda run_id: said)
    health = ours.check_run_worker_health(run).status
    assert health is (WorkerStatus.RUNNING if is_alive else WorkerStatus.NOT_FOUND)
