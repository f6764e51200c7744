"""Provenance as Dagster shows it: what is attached to an asset, to its days, and to a release.

Lives here: numbers and tables of what is published. Keep out: assets and checks (`graph`), words (`words`).
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import dagster as dg
import polars as pl

from dataset_pipeline.assets.execution import Run
from dataset_pipeline.records import Step
from dataset_pipeline.storage.warehouse import Warehouse


def provenance(ran: Run) -> dict[str, Any]:
    return {
        "run": ran.context.run_id,
        "is_unchanged": ran.outcome.is_noop,
        "seconds": round(ran.outcome.seconds, 3),
    }


def of_step(ran: Run, days: list[dt.date]) -> dict[str, Any]:
    """Of the run as a whole: attached to every partition of a range."""
    total = ran.work.warehouse.query(f'SELECT count(*) AS n FROM main."{ran.step}"').item()
    return {
        "dagster/row_count": int(total),
        "dagster/table_name": f"main.{ran.step}",
        "days": f"{days[0]} to {days[-1]}" if len(days) > 1 else str(days[0]),
        "notes": "; ".join(ran.outcome.notes) or "none",
        **provenance(ran),
    }


def of_days(ran: Run, days: list[dt.date]) -> dict[dt.date, dict[str, Any]]:
    """Per day: rows in, kept, dropped by reason, recipe, and for ingest the files with their rights."""
    warehouse = ran.work.warehouse
    latest = warehouse.latest()
    counted = warehouse.query(
        f"""SELECT day, reason, count(*) AS n FROM main."{ran.step}" WHERE list_contains(?, day) AND NOT kept
        GROUP BY ALL ORDER BY ALL""",
        [days],
    )
    batches = warehouse.table("batches", days) if ran.step == Step.INGEST else None
    result = {}
    for day in days:
        published = latest.get((ran.step, day))
        dropped = {str(reason): int(n) for on, reason, n in counted.iter_rows() if on == day}
        rows, kept = (published.row_count, published.kept_count) if published else (0, 0)
        result[day] = {
            "dagster/partition_row_count": rows,
            "rows_in": rows,
            "kept": kept,
            "dropped": dg.MetadataValue.json(dropped),
            "recipe": published.recipe if published else "",
            # One number a reason: the UI plots numbers over partitions.
            **{f"dropped_{reason}": n for reason, n in dropped.items()},
            **(_file_metadata(batches.filter(pl.col("day") == day)) if batches is not None else {}),
        }
    return result


def _file_metadata(batches: pl.DataFrame) -> dict[str, Any]:
    shown = batches.with_columns(
        pl.col("day", "collected_at").dt.to_string("%Y-%m-%d"), pl.col("uses").list.join(", ")
    )
    columns = [
        "source",
        "uri",
        "sha256",
        "bytes",
        "rows_read",
        "rows_rejected",
        "collected_at",
        "license",
        "holder",
        "uses",
    ]
    files = dg.MetadataValue.table(
        [dg.TableRecord({k: row[k] for k in columns}) for row in shown.iter_rows(named=True)],
        schema=dg.TableSchema(columns=[dg.TableColumn(name) for name in columns]),
    )
    return {
        "rejected": int(batches["rows_rejected"].sum() or 0),
        "files": files if batches.height else dg.MetadataValue.text("no files on this day"),
    }


def funnel_table(funnel: list[dict[str, Any]]) -> str:
    lines = ["| step | in | kept | dropped |", "|---|---:|---:|---|"]
    for row in funnel:
        dropped = ", ".join(f"{reason} {n}" for reason, n in row["dropped"].items()) or "none"
        lines.append(f"| {row['step']} | {row['in']} | {row['kept']} | {dropped} |")
    return "\n".join(lines)


def agreement(warehouse: Warehouse) -> dict[str, Any]:
    """Krippendorff's alpha as a number that the UI plots, and the other measures as a table."""
    measured = warehouse.table("agreement").filter(pl.col("value").is_not_null())
    alpha = measured.filter(pl.col("measure") == "alpha")
    shown = measured.sort("measure", "value", "name", "other").head(200)
    found: dict[str, Any] = {"alpha": float(alpha["value"][0])} if alpha.height else {}
    if shown.height:
        rows = [dg.TableRecord(row) for row in shown.iter_rows(named=True)]
        found["agreement"] = dg.MetadataValue.table(
            rows, schema=dg.TableSchema([dg.TableColumn(name) for name in shown.columns])
        )
    return found
