"""What the previews of several steps share: reading what is published, and tables of it.

Lives here: queries that never make or change a warehouse. Keep out: what is compared (`preview_split`).
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from rich.console import Console
from rich.table import Table

from dataset_pipeline.errors import Problem, SpecError
from dataset_pipeline.records import Step
from dataset_pipeline.spec.load import Project
from dataset_pipeline.storage.warehouse import Warehouse

MAX_LABELS = 30
"""Labels that are shown; the JSON has all."""
WIDE = 200
"""Characters a line may have in a file or a pipe."""


def query(project: Project, sql: str) -> pl.DataFrame:
    """Rows of the published tables. A warehouse is not made where there is none."""
    warehouse = Warehouse(project.warehouse_path)
    if warehouse.exists():
        warehouse.initialize()
        frame = warehouse.query(sql)
        if frame.height:
            return frame
    message, remedy = "nothing is published yet.", "Run `dataset-pipeline run` first."
    raise SpecError([Problem(project.path.name, message, remedy)])


def run_first(project: Project, step: Step) -> list[str]:
    """A note where published days were made under another setting than the spec's."""
    now, latest = project.params[step].hash(), Warehouse(project.warehouse_path).latest()
    old = [day for (name, day), p in latest.items() if name == step and p.params_hash != now]
    if not old:
        return []
    days = "1 day was" if len(old) == 1 else f"{len(old)} days were"
    return [
        f"{step}: {days} published under other settings than the spec's: `dataset-pipeline run` brings them up to date."
    ]


def print_table(out: Console, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table, names to the left and numbers to the right; as wide as it needs where nobody's terminal ends."""
    table = Table(box=None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", overflow="fold", no_wrap=number == 0)
    for row in rows:
        table.add_row(*row)
    if not out.is_terminal:
        out.width = max(out.width, WIDE)
    out.print(table)


def print_rest(out: Console, what: str, count: int) -> None:
    if count > MAX_LABELS:
        out.print(f"and {count - MAX_LABELS} more of {what}: --json has them all")
