"""One run at a time: an operating-system lock beside the warehouse, let go when its process ends.

Lives here: the run lock. Keep out: DuckDB's own lock, which `warehouse` waits for.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from dataset_pipeline.errors import WarehouseBusy

RUN_WAIT_VARIABLE = "DATASET_PIPELINE_RUN_WAIT_SECONDS"
DEFAULT_RUN_WAIT_SECONDS = 600.0
"""Long enough for the run of a small project to end, short enough that a night is not lost."""

_held: dict[Path, IO[str]] = {}


def hold_run_lock(
    warehouse: Path, wait_seconds: float | None = None, on_wait: Callable[[str], None] | None = None
) -> None:
    """Take the project's run lock for the life of this process; a second call is free.

    The kernel lets it go when the process ends, however it ends. Raises WarehouseBusy naming
    the process that holds it when `wait_seconds` (environment, else 600) are over.
    on_wait is told once, in words, when there is somebody to wait for.
    """
    path = lock_path(warehouse)
    if path in _held:
        return
    if wait_seconds is None:
        wait_seconds = float(os.environ.get(RUN_WAIT_VARIABLE, DEFAULT_RUN_WAIT_SECONDS))
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = path.open("a+", encoding="utf-8")
    deadline = time.monotonic() + wait_seconds
    is_told = False
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            handle.seek(0)
            holder = handle.read().strip() or "another process"
            if on_wait is not None and not is_told:
                on_wait(f"waiting for {holder}, which is running this project (up to {wait_seconds:g} s)")
                is_told = True
            if time.monotonic() >= deadline:
                handle.close()
                raise WarehouseBusy(
                    f"{path}: {holder} is running this project; waited {wait_seconds:g} s. "
                    f"Wait for it to end, then run again ({RUN_WAIT_VARIABLE} sets the wait)."
                ) from None
            time.sleep(0.1)
    handle.seek(0)
    handle.truncate()
    handle.write(f"process {os.getpid()}")
    handle.flush()
    _held[path] = handle


def release_run_lock(warehouse: Path) -> None:
    """Let the run lock go before the process ends (a command that has finished, tests)."""
    handle = _held.pop(lock_path(warehouse), None)
    if handle is not None:
        handle.close()


def lock_path(warehouse: Path) -> Path:
    return warehouse.with_name(warehouse.name + ".lock")
