"""Dagster's own configuration for a project: `.dagster/dagster.yaml`, beside the spec.

Lives here: the file and what it says. Keep out: runs (`cli.orchestrator`), the night (`automation.night`), telling whether a
run lives (`automation.launcher`).
"""

from __future__ import annotations

import json
from pathlib import Path

from dataset_pipeline.spec.models import Schedule

MAX_RETRIES = 2
"""Of a run that crashed: what killed it twice will kill it again, and the next night tries by itself."""
SLOTS_FREED_SECONDS = 30
POLL_SECONDS = 30
"""How long a killed run can hold up the next one: finding it costs one query of the runs that go on."""
KEPT_TICKS_DAYS = 30

_CONFIG = """\
# Written by dataset-pipeline: Dagster's state lives here, beside the spec. Set what is yours to set in the spec (`schedule`).
telemetry:
  enabled: false
nux:
  enabled: false

# A run whose process is gone is found, ended and run again; a gate that closed is not, it would close again.
run_launcher:
  module: dataset_pipeline.automation.launcher
  class: ProjectRunLauncher
run_retries:
  enabled: true
  max_retries: {max_retries}
  retry_on_asset_or_op_failure: false
run_monitoring:
  enabled: true
  poll_interval_seconds: {poll}
  start_timeout_seconds: 300
  cancel_timeout_seconds: 180
  max_runtime_seconds: {max_runtime}
  free_slots_after_run_end_seconds: {slots}

# The warehouse has one writer: of the runs of a pool one is begun, the others wait in the queue. By run and not by step:
# a run keeps the warehouse's lock to its end, so a step that got a place between two steps of another run would wait in vain.
concurrency:
  pools:
    granularity: run
    default_limit: 1

# The history where Dagster keeps it anyway, written a batch at a time (measured: a seventh of the time for each event).
# Without this entry Dagster goes on with the same files.
event_log_storage:
  module: dataset_pipeline.automation.event_log
  class: BatchedEventLog
  config: {{base_dir: {history}}}

retention:
  schedule:
    purge_after_days: {kept}
  sensor:
    purge_after_days: {{skipped: 2, failure: {kept}, success: {kept}}}
"""


def instance_config(home: Path, schedule: Schedule) -> str:
    """The text of dagster.yaml for a project's state folder and schedule."""
    return _CONFIG.format(
        history=json.dumps(str(home.resolve() / "history" / "runs")),
        max_retries=MAX_RETRIES,
        poll=POLL_SECONDS,
        slots=SLOTS_FREED_SECONDS,
        max_runtime=schedule.max_runtime_minutes * 60,
        kept=KEPT_TICKS_DAYS,
    )


def ensure_home(home: Path, schedule: Schedule) -> None:
    """Make Dagster's folder and its configuration; what is there already and right is left alone."""
    home.mkdir(parents=True, exist_ok=True)
    config, wanted = home / "dagster.yaml", instance_config(home, schedule)
    if not config.exists() or config.read_text(encoding="utf-8") != wanted:
        part = config.with_suffix(".part")
        part.write_text(wanted, encoding="utf-8")
        part.replace(config)
