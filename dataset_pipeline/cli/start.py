"""`ui` and `schema`: Dagster's own pages, and what editors and programs need.

Lives here: starting Dagster's own processes, printing the schema. Keep out: new projects (`beginning`).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click


def schema(name: str = "spec") -> None:
    """Print the JSON Schema of the spec, or of what the command `name` prints with --json."""
    from dataset_pipeline.cli.outputs import model_of

    click.echo(json.dumps(model_of(name).model_json_schema(), indent=2))


def ui(spec: Path, port: int) -> None:
    """Replace this process by `dagster dev` for the spec, its state beside it."""
    from dataset_pipeline.automation.instance import ensure_home
    from dataset_pipeline.spec.load import load_project

    project = load_project(spec)
    ensure_home(project.dagster_home, project.spec.schedule)
    environment = os.environ | {
        "DAGSTER_HOME": str(project.dagster_home),
        "DATASET_PIPELINE_SPEC": str(project.path),
        "DAGSTER_DISABLE_TELEMETRY": "1",
    }
    click.echo(f"Dagster for {project.spec.name}: http://127.0.0.1:{port} (stop with Ctrl-C)")
    arguments = [
        "-m",
        "dagster",
        "dev",
        "-m",
        "dataset_pipeline.definitions",
        "-h",
        "127.0.0.1",
        "-p",
        str(port),
    ]
    os.execve(sys.executable, [sys.executable, *arguments], environment)
