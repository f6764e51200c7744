"""The alarm: what it says, what a real web server on 127.0.0.1 gets of it, and which failed runs it tells of."""

from __future__ import annotations

import datetime as dt
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dataset_pipeline.automation import alarm, webhook
from dataset_pipeline.automation.alarm import Alarm, Failed, compose, compose_silent, send
from dataset_pipeline.automation.failed_runs import GO_ON, REPORT_IT, build_alarm
from dataset_pipeline.automation.freshness import Freshness
from dataset_pipeline.definitions import assets_alone
from dataset_pipeline.spec.load import Project, load_project
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline.storage.publishing import CheckRow
from dataset_pipeline_tests.small_project import DAYS, MARKER, make_project

MONDAY, TUESDAY = dt.date(2026, 3, 2), dt.date(2026, 3, 3)
SECRET = "T0P/s3cret-path"
GATE = "filter.drop_rate: 0.93 (limit at most 0.5) by length on 2026-03-02, 2026-03-03. The filter eats everything"
ROW = CheckRow(
    "filter", "drop_rate", "critical", "gauges", False, False,
    json.dumps({"observed": "0.93", "limit": "at most 0.5", "culprits": ["length"], "record_ids": ["ab"]}),
    ("2026-03-02", "2026-03-03"),
)  # fmt: skip
ONE = Failed("filter", ("2026-03-02",), GATE, "drop_rate", "0.93", "at most 0.5", ("length",))
ALARM = Alarm(
    "small", ("jo@example.com",), "it broke", "2026-03-07T02:10:00Z", (ONE,), "Mend it.", (), "run-1"
)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return project_with(tmp_path, {})


def project_with(root: Path, schedule: dict[str, Any]) -> Project:
    return load_project(make_project(root, {"owners": ["jo@example.com"], "schedule": schedule}))


# --- what it says ---------------------------------------------------------------------------


def test_alarm_closed_gate_on_two_days_is_one_line_with_its_numbers(project: Project) -> None:
    made = compose(
        project, title="the night failed", bad={MONDAY: [GATE], TUESDAY: [GATE]}, judged=[ROW],
        summary={"release": "/x/releases/abc", "missing_days": ["2026-03-02", "2026-03-03"], "stale_days": []},
    )  # fmt: skip
    assert made.lines() == [
        "small: the night failed",
        "- filter.drop_rate: 0.93 (limit at most 0.5) by length on 2026-03-02 to 2026-03-03",
        "The release is abc.",
        "Days that are missing: 2026-03-02 to 2026-03-03.",
        alarm.MEND,
        "For jo@example.com.",
    ]
    [failed] = made.payload()["failed"]
    assert failed == {
        "step": "filter", "days": ["2026-03-02", "2026-03-03"], "expectation": "drop_rate", "observed": "0.93",
        "limit": "at most 0.5", "culprits": ["length"], "message": GATE,
    }  # fmt: skip


def test_alarm_file_that_is_no_batch_is_told_with_its_day_and_no_expectation(project: Project) -> None:
    text = "ingest: sources/inbox/2026-03-02.jsonl: lacks the column message. Mend it."
    [failed] = compose(project, title="x", bad={MONDAY: [text]}).failed
    assert (failed.step, failed.days, failed.expectation) == ("ingest", ("2026-03-02",), "")
    assert failed.line() == f"{text} on 2026-03-02"


def test_alarm_every_kind_of_failure_is_told(project: Project) -> None:
    made = compose(
        project, title="x", failures=["dataset.yaml: sources: is missing."], refused={"annotations": "annotations.ties: 9. Divided\nThose before are used."},
        not_fetched=["dataset.yaml: source far: cannot be reached."], judged=[ROW],
    )  # fmt: skip
    assert [failed.line() for failed in made.failed] == [
        "annotations.ties: 9. Divided\nThose before are used.",
        "dataset.yaml: sources: is missing.",
        "fetch: dataset.yaml: source far: cannot be reached.",
        # Nobody named it, and it failed all the same.
        "filter.drop_rate: 0.93 (limit at most 0.5) by length on 2026-03-02 to 2026-03-03",
    ]


def test_alarm_warnings_and_passed_checks_are_none_of_it(project: Project) -> None:
    rows = [CheckRow(*ROW.__dict__.values())]
    warned = [CheckRow(**(row.__dict__ | {"is_warning": True})) for row in rows]
    passed = [CheckRow(**(row.__dict__ | {"passed": True})) for row in rows]
    assert compose(project, title="x", judged=[*warned, *passed]).failed == ()


def test_alarm_a_thousand_failures_stay_a_short_message(project: Project) -> None:
    bad = {MONDAY + dt.timedelta(days=n): [f"ingest: file {n} " + "x" * 2000] for n in range(1000)}
    made = compose(project, title="x", bad=bad)
    assert len(json.dumps(made.payload())) < 60_000
    assert "- and 975 more" in made.lines()
    assert made.payload()["failed_count"] == 1000


def test_alarm_silent_sources_are_named_with_the_day_they_owe(project: Project) -> None:
    made = compose_silent(
        project, [Freshness("inbox", MONDAY, TUESDAY, 4), Freshness("store", None, TUESDAY, 0)]
    )
    assert made.title == "no file from inbox, store"
    assert [failed.line() for failed in made.failed] == [
        "source/inbox.fresh: newest file of 2026-03-02 (limit 2026-03-03 or later) on 2026-03-03",
        "source/store.fresh: no file (limit 2026-03-03 or later) on 2026-03-03",
    ]


# --- the webhook ----------------------------------------------------------------------------


class Hook(http.server.BaseHTTPRequestHandler):
    """Takes a message and answers with the next of `answers`, 200 where none is left."""

    answers: list[int]
    got: list[tuple[str, dict[str, str], dict[str, Any]]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.got.append((self.path, dict(self.headers), json.loads(body)))
        self.send_response(self.answers.pop(0) if self.answers else 200)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        return None


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address (host and port) of a web server that takes messages."""
    monkeypatch.setattr(webhook, "WAITS_SECONDS", (0.0, 0.0))
    Hook.answers, Hook.got = [], []
    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=served.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{served.server_address[1]}"
    finally:
        served.shutdown()
        served.server_close()
        thread.join()


def test_webhook_gets_the_message_as_json(tmp_path: Path, hook: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_PATH", SECRET)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # of the environment, and not for this machine
    log: list[str] = []
    send(project_with(tmp_path, {"webhook": f"http://{hook}/hooks/${{HOOK_PATH}}"}), ALARM, log.append)
    [(path, headers, body)] = Hook.got
    assert path == f"/hooks/{SECRET}"
    assert headers["Content-Type"].startswith("application/json")
    assert body == {
        "text": "small: it broke\n- filter.drop_rate: 0.93 (limit at most 0.5) by length on 2026-03-02\nMend it.\n"
        "Look at run run-1 in `dataset-pipeline ui`.\nFor jo@example.com.",
        "project": "small", "owners": ["jo@example.com"], "title": "it broke", "when": "2026-03-07T02:10:00Z",
        "failed": [{
            "step": "filter", "days": ["2026-03-02"], "expectation": "drop_rate", "observed": "0.93", "limit": "at most 0.5",
            "culprits": ["length"], "message": GATE,
        }],
        "failed_count": 1, "remedy": "Mend it.", "run_id": "run-1",
    }  # fmt: skip
    assert log == [*ALARM.lines(), "The webhook was told."]


def test_webhook_login_of_the_address_is_sent_as_a_header(
    tmp_path: Path, hook: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_LOGIN", "p@ss:w/rd")
    project = project_with(tmp_path, {"webhook": f"http://jo:${{HOOK_LOGIN}}@{hook}/x"})
    assert webhook.post(project, ALARM.payload()) is None
    assert Hook.got[0][1]["Authorization"] == "Basic am86cEBzczp3L3Jk"


@pytest.mark.parametrize(
    ("answers", "tries", "said"),
    [
        ([503, 429], 3, None),
        ([500, 500, 500], 3, "was not told: it answered 500, three times."),
        ([404], 1, "was not told: it answered 404; it takes no message at this address."),
        ([302], 1, "was not told: it answered 302; it takes no message at this address."),
    ],
)
def test_webhook_is_tried_again_where_that_may_help(
    tmp_path: Path, hook: str, answers: list[int], tries: int, said: str | None
) -> None:
    Hook.answers = list(answers)
    trouble = webhook.post(project_with(tmp_path, {"webhook": f"http://{hook}/x"}), ALARM.payload())
    assert len(Hook.got) == tries
    assert trouble is None if said is None else (trouble or "").endswith(said)


def test_webhook_that_is_down_is_told_in_words_without_the_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "WAITS_SECONDS", (0.0, 0.0))
    monkeypatch.setenv("HOOK_URL", f"http://127.0.0.1:1/hooks/{SECRET}?key={SECRET}")
    log: list[str] = []
    send(project_with(tmp_path, {"webhook": "${HOOK_URL}"}), ALARM, log.append)
    assert log[: len(ALARM.lines())] == ALARM.lines()
    assert log[-1].startswith(
        "dataset.yaml: schedule.webhook: 127.0.0.1 was not told: it cannot be reached ("
    )
    assert "s3cret" not in "\n".join(log)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "HOOK_URL is not set in the environment."),
        (f"ftp://host/{SECRET}", "is no address that begins with http:// or https://"),
        (f"http://[{SECRET}", "is no address."),
        (f"http://127.0.0.1:1/a b\n{SECRET}", "its address cannot be used"),
    ],
)
def test_webhook_address_that_is_none_is_told_in_words_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None, said: str
) -> None:
    monkeypatch.setattr(webhook, "WAITS_SECONDS", (0.0, 0.0))
    monkeypatch.delenv("HOOK_URL", raising=False)
    if value is not None:
        monkeypatch.setenv("HOOK_URL", value)
    trouble = webhook.post(project_with(tmp_path, {"webhook": "${HOOK_URL}"}), ALARM.payload()) or ""
    assert said in trouble
    assert trouble.startswith("dataset.yaml: schedule.webhook")
    assert "s3cret" not in trouble


def test_send_fault_of_its_own_is_told_and_not_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(webhook, "post", broken)
    log: list[str] = []
    send(project_with(tmp_path, {"webhook": "http://127.0.0.1:1/x"}), ALARM, log.append)
    assert log[-1] == "The webhook was not told: a fault of its own (RuntimeError)."


# --- failed runs ----------------------------------------------------------------------------

RANGE = {
    "dagster/asset_partition_range_start": DAYS[0],
    "dagster/asset_partition_range_end": DAYS[1],
}
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@pytest.fixture(scope="module")
def failed_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dg.DagsterInstance, Any]]:
    """A project whose gate of ingest closes over two days, and its run."""
    root = tmp_path_factory.mktemp("alarm") / "project"
    gates = {"ingest": {"reject_rate": {"max": 0.0001, "reason": "a test"}}}
    make_project(root, {"owners": ["team:data"], "gates": gates})
    path = root / f"sources/inbox/{DAYS[1]}.jsonl"
    path.write_text(path.read_text() + f'{{"id": 1, "message": "{MARKER}\n' * 300)
    with dg.DagsterInstance.ephemeral() as instance:
        job = assets_alone(load_project(root)).resolve_implicit_global_asset_job_def()
        selection = [dg.AssetKey("reviews"), dg.AssetKey("ingest")]
        result = job.execute_in_process(
            instance=instance, asset_selection=selection, tags=RANGE, raise_on_error=False, run_config=QUIET
        )
        assert not result.success
        yield root, instance, result
    release_run_lock(root / "warehouse.duckdb")


def told(
    root: Path, instance: dg.DagsterInstance, run: dg.DagsterRun, event: dg.DagsterEvent
) -> tuple[list[Alarm], Any]:
    """The alarms that the sensor sends of a failed run, and what it answers."""
    sent: list[Alarm] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dataset_pipeline.automation.failed_runs.send", lambda _, made, log: sent.append(made))
        context = dg.build_run_status_sensor_context("alarm", event, instance, run)
        answer = build_alarm(load_project(root))(context)
    return sent, answer


def test_failed_run_is_told_with_numbers_days_and_remedy(
    failed_run: tuple[Path, dg.DagsterInstance, Any],
) -> None:
    root, instance, result = failed_run
    [made], _ = told(root, instance, result.dagster_run, result.get_run_failure_event())
    assert made.owners == ("team:data",)
    assert made.run_id == result.run_id
    failed = made.payload()["failed"]
    [rate] = [one for one in failed if one["expectation"] == "reject_rate"]
    assert rate["step"] == "ingest"
    assert rate["days"] == [DAYS[1]]
    assert float(rate["observed"]) > 0.5
    assert "0.0001" in rate["limit"]
    assert made.remedy == alarm.MEND
    assert MARKER not in json.dumps(made.payload())


@pytest.mark.parametrize(
    "tags", [{"dataset_pipeline/told": "yes"}, {"dataset_pipeline/pid": "1"}, {"dagster/will_retry": "true"}]
)
def test_failed_run_that_somebody_else_tells_of_is_left_alone(
    failed_run: tuple[Path, dg.DagsterInstance, Any], tags: dict[str, str]
) -> None:
    root, instance, result = failed_run
    run = result.dagster_run.with_tags(tags)
    sent, answer = told(root, instance, run, result.get_run_failure_event())
    assert sent == []
    assert result.run_id in answer.skip_message


def test_failed_run_whose_process_is_gone_says_so_and_how_to_go_on(
    failed_run: tuple[Path, dg.DagsterInstance, Any],
) -> None:
    root, instance, _ = failed_run

    @dg.job(name="dataset")
    def dataset() -> None:
        pass

    run = instance.create_run_for_job(dataset, status=dg.DagsterRunStatus.STARTED, tags=RANGE)
    event = instance.report_run_failed(run, "Run worker died.")
    [made], _ = told(root, instance, run, event)
    [failed] = made.failed
    assert failed.line() == (
        "dataset: The process of the run is gone, or the run was ended from outside. Dagster says: Run worker died. "
        f"on {DAYS[0]} to {DAYS[1]}"
    )
    assert made.remedy == GO_ON


def test_failed_run_error_of_another_kind_is_told_without_its_message(
    failed_run: tuple[Path, dg.DagsterInstance, Any],
) -> None:
    root, instance, _ = failed_run

    @dg.op
    def breaks() -> None:
        raise ValueError(MARKER)

    @dg.job
    def other() -> None:
        breaks()

    result = other.execute_in_process(instance=instance, raise_on_error=False)
    [made], _ = told(root, instance, result.dagster_run, result.get_run_failure_event())
    assert made.failed[0].line().startswith("breaks: failed with a fault of its own (ValueError)")
    assert made.remedy == REPORT_IT
    assert MARKER not in "\n".join(made.lines())
