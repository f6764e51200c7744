"""How Dagster tells whether a run still lives: its own launcher cannot, so a killed run would hold up every later one.

Lives here: the launcher that `.dagster/dagster.yaml` names. Keep out: what is retried and how often (`automation.instance`).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
from enum import Enum
from pathlib import Path
from typing import Any

from dagster import DagsterEventType, DagsterRun, DefaultRunLauncher
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG

from dataset_pipeline.storage.locks import lock_path

PID_TAG = "dataset_pipeline/pid"
"""Marks the run of a command, with its process id: it works in its own process, no launcher began it."""
_CLOCK_SECONDS = 5.0
"""By which the start of a process, told in ticks since the machine was started, can be off."""
GONE_WORDS = "The process of this run is gone; what it had published stays."


class ProjectRunLauncher(DefaultRunLauncher):
    """Dagster's launcher of local runs, which also knows whether the process of a run is there.

    A run of a command holds the project's run lock as long as its process lives. A run that Dagster began is gone where neither
    the server that began it nor this machine knows its process: the server alone forgets the runs of before a reload. Anything
    that cannot be told counts as alive: a maximum run time ends that.
    """

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Whether the process of a started run is there."""
        if PID_TAG in run.tags:
            is_alive = lock_holder(self._warehouse()) is not None
        elif GRPC_INFO_TAG in run.tags:
            is_alive = self._is_alive(run.run_id)
        else:
            is_alive = True
        if is_alive:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, GONE_WORDS)

    def terminate(self, run_id: str) -> bool:
        """End a run; a command as Ctrl-C does, where the lock says that it is the one which runs."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished or PID_TAG not in run.tags:
            return bool(super().terminate(run_id))  # type: ignore[no-untyped-call]
        if lock_holder(self._warehouse()) != f"process {run.tags[PID_TAG]}":
            return False
        self._instance.report_run_canceling(run)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(int(run.tags[PID_TAG]), signal.SIGTERM)
            return True
        return False

    def _warehouse(self) -> Path:
        return Path(self._instance.root_directory).parent / "warehouse.duckdb"

    def _is_alive(self, run_id: str) -> bool:
        server = self._asked(run_id)
        if server is not Server.GONE and server is not Server.WITHOUT_IT:
            return True
        process = self._process_of(run_id)
        if process is None:
            return server is Server.WITHOUT_IT  # about to begin; of a server that is gone nothing begins
        return is_running(*process)

    def _asked(self, run_id: str) -> Server:
        from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
        from dagster._serdes import deserialize_value
        from grpc import StatusCode  # type: ignore[import-untyped]

        client: Any = self._get_grpc_client_for_termination(run_id)  # type: ignore[no-untyped-call]
        if client is None:
            return Server.SILENT  # the run has just ended
        try:
            said = client.can_cancel_execution(CanCancelExecutionRequest(run_id=run_id), timeout=10)
        except DagsterUserCodeUnreachableError as error:
            code = getattr(error.__cause__, "code", lambda: None)()
            return Server.GONE if code is StatusCode.UNAVAILABLE else Server.SILENT
        has_it = deserialize_value(said, CanCancelExecutionResult).can_cancel
        return Server.HAS_IT if has_it else Server.WITHOUT_IT

    def _process_of(self, run_id: str) -> tuple[int, float] | None:
        """The process id that a run's newest event names, and when; None where none has been named yet."""
        found = None
        for entry in self._instance.all_logs(run_id, of_type=DagsterEventType.ENGINE_EVENT):
            event = entry.dagster_event
            pid = event.engine_event_data.metadata.get("pid") if event is not None else None
            if pid is not None and str(pid.value).isdigit():
                found = int(str(pid.value)), entry.timestamp
        return found


class Server(Enum):
    """What the server that began a run says of it."""

    HAS_IT = "has it"
    WITHOUT_IT = "does not know it"
    SILENT = "did not answer in time"
    GONE = "is not there"


def is_running(pid: int, seen: float) -> bool:
    """Whether the process that had this id at `seen` (seconds since 1970) is there. Ids are given again."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    if sys.platform != "linux":
        return True
    try:
        facts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime"))
    except FileNotFoundError:
        return False
    except (OSError, StopIteration):
        return True
    began = int(boot.split()[1]) + int(facts[19]) / os.sysconf("SC_CLK_TCK")
    return facts[0] not in "ZX" and began <= seen + _CLOCK_SECONDS


def lock_holder(warehouse: Path) -> str | None:
    """Who runs this project now, as its run lock says (`process 123`); None where nobody does."""
    path = lock_path(warehouse)
    if not path.exists():
        return None
    with path.open("r", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return handle.read().strip() or "another process"
        fcntl.flock(handle, fcntl.LOCK_UN)
    return None
