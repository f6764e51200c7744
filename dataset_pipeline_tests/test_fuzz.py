"""Every fuzz target for a bounded time, each in a process of its own: `make test-faults`.

FUZZ_SECONDS sets the time a target gets (default 20). What breaks is kept in `fuzzing/crashes/` and named here.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dataset_pipeline_tests.fuzzing.fuzz_readers import TARGETS

pytestmark = pytest.mark.faults

REPOSITORY = Path(__file__).parent.parent
SECONDS = int(os.environ.get("FUZZ_SECONDS", "20"))
START_SECONDS = 120
"""To import, to read the seeds, and for the last input to end."""


def test_fuzzer_is_there() -> None:
    assert importlib.util.find_spec("atheris"), "install atheris, or run the other faults: -k 'not fuzz'"


@pytest.mark.parametrize("target", [*TARGETS, "layouts"])
def test_fuzz_target_keeps_its_promises(target: str) -> None:
    command = [sys.executable, "-m", "dataset_pipeline_tests.fuzzing", target, "--seconds", str(SECONDS)]
    ran = subprocess.run(
        command,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=SECONDS + START_SECONDS,
    )
    said = ran.stdout + ran.stderr
    kept = [line for line in said.splitlines() if "Test unit written to" in line]
    assert ran.returncode == 0, f"{target}: {' '.join(kept)}\n{said[-3000:]}"
    assert "stat::number_of_executed_units" in said
