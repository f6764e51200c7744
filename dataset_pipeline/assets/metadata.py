"""Provenance as Dagster shows it: what is attached to an asset, to its days, and to a release.

Lives here: numbers and tables of what is published. Keep out: assets and checks (`graph`), words (`words`), pictures
(`pictures`). All of one materialization stays within kilobytes, and none of it is text of a record.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from dataset_pipeline.assets import pictures, release_reading
from dataset_pipeline.assets.execution import Run
from dataset_pipeline.records import REASONS, Split, Step
from dataset_pipeline.spec.params import LabelParams
from dataset_pipeline.storage.warehouse import Warehouse
from dataset_pipeline.transforms import pictures as drawing
from dataset_pipeline.transforms.redaction import shown, shown_json

MAX_NOTES_CHARS = 400
MAX_FILES = 20
"""Files of a day that are listed; a day with more says how many."""
MAX_MEASURES = 40
"""Measures of agreement that are listed: pairs of annotators are many where annotators are."""
_FEW_REASONS = 5
"""A step with as many reasons shows each every day; one with more those that it has ever given."""
_FILE_COLUMNS = (
    "source", "uri", "sha256", "bytes", "rows_read", "rows_rejected", "collected_at", "license", "holder", "uses",
)  # fmt: skip


def provenance(ran: Run) -> dict[str, Any]:
    return {
        "run": dg.MetadataValue.dagster_run(ran.context.run_id),
        "is_unchanged": ran.outcome.is_noop,
        "seconds": round(ran.outcome.seconds, 3),
    }


def of_step(ran: Run, days: list[dt.date]) -> dict[str, Any]:
    """Of the run as a whole: attached to every partition of a range, so it must stay small."""
    total = ran.work.warehouse.query(f'SELECT count(*) AS n FROM main."{ran.step}"').item()
    return {
        "dagster/row_count": int(total),
        "dagster/table_name": f"main.{ran.step}",
        "days": _stretch(days),
        "notes": clipped(shown("; ".join(ran.outcome.notes)) or "none", MAX_NOTES_CHARS),
        **provenance(ran),
    }


def of_days(ran: Run, days: list[dt.date]) -> dict[dt.date, dict[str, Any]]:
    """Per day: rows in, kept, dropped by reason, what changed, recipe, for ingest the files with their rights; pictures
    for the last days of a range.

    A reason that dropped nothing is written as 0: Dagster plots numbers over days, and a missing one is a hole.
    """
    warehouse, step = ran.work.warehouse, Step(ran.step)
    latest = warehouse.latest()
    dropped = _dropped(warehouse, step, days)
    batches = _by_day(warehouse.table("batches", days)) if step is Step.INGEST else None
    pictured = pictures.pictured(days)
    params = pictures.label_params(ran.work.params)
    try:
        numbers, fault = pictures.numbers(warehouse, step, pictured, params, latest), ""
    except Exception as error:
        # The day is published: that nothing can be drawn of it must not fail its run.
        numbers, fault = None, f"could not be drawn ({type(error).__name__})"
    drawn_days = frozenset(pictured)
    before = pictures.day_before(latest, step, days[0])
    whole = of_step(ran, days)
    result = {}
    for day in days:
        published = latest.get((step, day))
        rows, kept = (published.row_count, published.kept_count) if published else (0, 0)
        found = numbers if day in drawn_days else None
        drawn = pictures.of_day(found, step, day, latest, dropped[day]) if found else {}
        result[day] = {
            **{name: dg.MetadataValue.md(picture) for name, picture in drawn.items()},
            "against_the_day_before": pictures.against(found, step, day, before, latest),
            "dagster/partition_row_count": rows,
            "rows_in": rows,
            "kept": kept,
            **({"kept_share": round(kept / rows, 4)} if rows else {}),
            **{f"dropped_{reason}": n for reason, n in dropped[day].items()},
            **(_file_metadata(batches.get(day)) if batches is not None else {}),
            "recipe": published.recipe if published else "",
            **({"pictures": fault} if fault else {}),
            **whole,
        }
        before = day if published else before
    return result


def _dropped(warehouse: Warehouse, step: Step, days: list[dt.date]) -> dict[dt.date, dict[str, int]]:
    """Day to reason to records, with a 0 for each reason that the step has given on another day."""
    counted = warehouse.query(
        f"""SELECT day, reason, count(*) AS n FROM main."{step}" WHERE NOT kept GROUP BY ALL ORDER BY ALL"""
    )
    known = set(REASONS[step]) if len(REASONS[step]) <= _FEW_REASONS else set()
    reasons = sorted(known | {str(reason) for reason in counted["reason"].unique()})
    result = {day: dict.fromkeys(reasons, 0) for day in days}
    for on, reason, n in counted.iter_rows():
        if on in result:
            result[on][str(reason)] = int(n)
    return result


def _by_day(batches: pl.DataFrame) -> dict[dt.date, pl.DataFrame]:
    listed = batches.select(
        "day",
        *(pl.col(name) for name in _FILE_COLUMNS if name not in ("collected_at", "uses")),
        pl.col("collected_at").dt.to_string("%Y-%m-%d"),
        pl.col("uses").list.join(", "),
    )
    return {key[0]: part for key, part in listed.partition_by("day", as_dict=True).items()}


def _file_metadata(batches: pl.DataFrame | None) -> dict[str, Any]:
    if batches is None:
        return {"rejected": 0, "files": dg.MetadataValue.text("no files on this day")}
    files = dg.MetadataValue.table(
        [
            dg.TableRecord({k: row[k] for k in _FILE_COLUMNS} | {"uri": shown(row["uri"])})
            for row in batches.head(MAX_FILES).iter_rows(named=True)
        ],
        schema=_FILE_SCHEMA,
    )
    left = batches.height - MAX_FILES
    return {
        "rejected": int(batches["rows_rejected"].sum() or 0),
        "files": files,
        **({"files_not_listed": left} if left > 0 else {}),
    }


def of_sources(ran: Run, days: list[dt.date]) -> dict[str, dict[str, Any]]:
    """Source to what was read of it: Dagster shows a source as seen, and when. A source without a file on these days has none."""
    read = ran.work.warehouse.query(
        """SELECT source, count(*) AS files, sum(rows_read)::BIGINT AS rows_read, sum(rows_rejected)::BIGINT AS rows_rejected,
        sum(bytes)::BIGINT AS bytes, max(day)::VARCHAR AS newest_day FROM main.batches WHERE list_contains(?, day)
        GROUP BY ALL ORDER BY source""",
        [days],
    )
    known = {source.name for source in ran.project.spec.sources}
    return {
        row["source"]: {"days": _stretch(days)}
        | {name: value for name, value in row.items() if name != "source"}
        | {"run": dg.MetadataValue.dagster_run(ran.context.run_id)}
        for row in read.iter_rows(named=True)
        if row["source"] in known
    }


def counted(title: str, counts: dict[str, int], name: str = "rows") -> dict[str, Any]:
    """Counts by word as a picture, and the largest of them as numbers that are plotted."""
    if not counts:
        return {name: "none"}
    first = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MAX_FILES]
    return {
        name: dg.MetadataValue.md(drawing.bars(title, counts)),
        **{f"{name}: {word}": n for word, n in first},
    }


_FILE_SCHEMA = dg.TableSchema(columns=[dg.TableColumn(name) for name in _FILE_COLUMNS])


def _stretch(days: list[dt.date]) -> str:
    return f"{days[0]} to {days[-1]}" if len(days) > 1 else str(days[0])


def clipped(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def funnel_table(funnel: list[dict[str, Any]]) -> str:
    lines = ["| step | in | kept | dropped |", "|---|---:|---:|---|"]
    for row in funnel:
        dropped = ", ".join(f"{reason} {n}" for reason, n in row["dropped"].items()) or "none"
        lines.append(f"| {row['step']} | {row['in']} | {row['kept']} | {dropped} |")
    return "\n".join(lines)


def of_release(ran: Run, version: str) -> dict[str, Any]:
    """What a release is: where it lies, its funnel and labels as pictures, its rights, what changed against the one before."""
    project = ran.project
    folder = project.releases_path / version
    manifest = release_reading.manifest_of(folder)
    counts, rights = manifest["counts"], manifest["rights"]
    funnel = [(row["step"], int(row["in"]), int(row["kept"])) for row in counts["funnel"]]
    return {
        "funnel": dg.MetadataValue.md(drawing.funnel(funnel)),
        "funnel_table": dg.MetadataValue.md(funnel_table(counts["funnel"])),
        **_labels_by_split(folder, pictures.label_params(ran.work.params)),
        "against_the_release_before": _against_release(ran, version, manifest),
        "version": version,
        "folder": dg.MetadataValue.path(str(folder)),
        "card": dg.MetadataValue.path(str(folder / "README.md")),
        "report": dg.MetadataValue.path(str(project.report_path)),
        **{f"records_{split}": int(counts["splits"].get(split, 0)) for split in Split},
        "withheld": counts["withheld"],
        "licence": str(rights["license"]),
        "records_by_licence": dg.MetadataValue.json(
            {str(entry["license"]): entry["records"] for entry in rights["licenses"][:MAX_FILES]}
        ),
        "uses": ", ".join(rights["uses"]),
        "obligations": ", ".join(rights["obligations"]) or "none",
        "missing_days": _days_listed(manifest["missing_days"]),
        "stale_days": _days_listed(manifest["stale_days"]),
    }


def _days_listed(days: list[str]) -> str:
    more = f", and {len(days) - MAX_FILES} more" if len(days) > MAX_FILES else ""
    return ", ".join(days[:MAX_FILES]) + more or "none"


def _labels_by_split(folder: Path, params: LabelParams) -> dict[str, Any]:
    if not params.answers_are_labels:
        return {}
    rows = release_reading.columns_of(folder / "provenance.parquet", ("label", "split"))
    counted = rows.group_by(pl.col("split", "label").cast(pl.String)).len().sort("split", "label")
    splits: dict[str, dict[str, int]] = {}
    for split, label, n in counted.iter_rows():
        splits.setdefault(split, {})[str(label)] = n
    return {
        f"labels_{split}": dg.MetadataValue.md(drawing.bars(f"records of {split} by label", by))
        for split in Split
        if (by := splits.get(split))
    }


def _against_release(ran: Run, version: str, manifest: dict[str, Any]) -> str:
    before = release_reading.release_before(ran.work, version)
    if before is None:
        return "the first release"
    try:
        then = release_reading.manifest_of(before)["counts"]
        ids = [
            release_reading.columns_of(f / "provenance.parquet", ("record_id",))
            for f in (before, ran.project.releases_path / version)
        ]
    except release_reading.UNREADABLE:
        return f"{before.name} cannot be read"
    now = manifest["counts"]
    came = ids[1].join(ids[0], on="record_id", how="anti").height
    went = ids[0].join(ids[1], on="record_id", how="anti").height
    splits = ", ".join(
        f"{split} {then['splits'].get(split, 0):,} → {now['splits'].get(split, 0):,}" for split in Split
    )
    return f"{before.name}: {came:,} records in, {went:,} out; {splits}"


def agreement(warehouse: Warehouse) -> dict[str, Any]:
    """Krippendorff's alpha as a number that the UI plots, and the other measures as a table."""
    measured = warehouse.table("agreement").filter(pl.col("value").is_not_null())
    alpha = measured.filter(pl.col("measure") == "alpha")
    listed = measured.sort("measure", "value", "name", "other").with_columns(pl.col("value").round(4))
    left, listed = listed.height - MAX_MEASURES, listed.head(MAX_MEASURES)
    found: dict[str, Any] = {"alpha": round(float(alpha["value"][0]), 4)} if alpha.height else {}
    if listed.height:
        rows = [dg.TableRecord(shown_json(row)) for row in listed.iter_rows(named=True)]
        found["agreement"] = dg.MetadataValue.table(
            rows, schema=dg.TableSchema([dg.TableColumn(name) for name in listed.columns])
        )
    if left > 0:
        found["agreement_not_listed"] = left
    return found
