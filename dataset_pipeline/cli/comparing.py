"""`diff`: two releases side by side: rows in, out, changed and moved, why, and what of the manifests differs.

Lives here: reading two release folders and the words of the report. Keep out: comparing (`transforms.comparing`),
texts of records: a report holds ids, labels, reasons and counts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table

from dataset_pipeline.cli import outputs, show
from dataset_pipeline.cli.checking import find_release, read_manifest, read_rows
from dataset_pipeline.cli.outputs import DiffOutput, Part, line_of
from dataset_pipeline.transforms import comparing

SHOWN_IDS = 20
"""Record ids of a kind that are shown on a terminal; `--json` lists all."""
SHOWN_LINES = 20
"""Differences of spec, inputs or versions that are shown."""
SHOWN_CHARS = 60
"""Characters of a value of the spec that are shown."""

_ROWS = ["record_id", "source", "day", "uri", "label", "split"]
_WHY = ["record_id", "step", "reason", "detail"]
_COUNTED = {"before": "before", "after": "after", "in": "rows_in", "out": "rows_out", "changed": "changed", "moved": "moved"}  # fmt: skip
_WORDS = {
    comparing.NOT_COLLECTED: "not collected any more",
    comparing.COLLECTED_SINCE: "collected since",
}


def diff(before: str, after: str, spec: Path, as_json: bool) -> int:
    """Say what differs from one release to the other. Returns 0, whatever it finds.

    Raises SpecError for a release that is not there, BrokenRelease for one that cannot be read.
    """
    out = show.console(as_json)
    folders = [find_release(name, spec) for name in (before, after)]
    old, new = (read_manifest(folder) for folder in folders)
    compared = comparing.compare(*(_side(f, m) for f, m in zip(folders, (old, new), strict=True)))
    found = _output(old, new, compared)
    _print(out, found)
    if as_json:
        print(line_of(found))
    return 0


def _side(folder: Path, manifest: dict[str, Any]) -> comparing.Side:
    path = folder / "provenance.parquet"
    names = read_rows(path, ["*"], []).columns
    texts = [comparing.TEXT_SHA] if comparing.TEXT_SHA in names else []
    inputs = [{key: str(entry[key]) for key in _INPUT} for entry in manifest["inputs"]]
    return comparing.Side(
        read_rows(path, [*_ROWS, *texts]),
        read_rows(folder / "dropped.parquet", _WHY),
        pl.DataFrame(inputs, schema=_INPUT),
    )


_INPUT = dict.fromkeys(("source", "day", "uri", "sha256"), pl.String)


def _whole(spec: dict[str, Any]) -> dict[str, Any]:
    """A manifest's spec with its defaults, so that a key which came or went shows what it was; one that this version
    does not take stays as it is."""
    from pydantic import ValidationError

    from dataset_pipeline.spec.models import Spec

    try:
        return Spec.model_validate_json(json.dumps(spec)).model_dump(mode="json")
    except ValidationError:
        return spec


def _output(old: dict[str, Any], new: dict[str, Any], found: comparing.Comparison) -> DiffOutput:
    versions = sorted({*old["versions"], *new["versions"]})
    parts = {name: {value: _part(n) for value, n in counts.items()} for name, counts in found.counts.items()}
    whole = found.counts[comparing.SPLIT].values()
    return DiffOutput(
        before=str(old["version"]),
        after=str(new["version"]),
        is_identical=old["version"] == new["version"],
        texts_compared=found.has_texts,
        rows=_part({key: sum(n[key] for n in whole) for key in _COUNTED}),
        by_source=parts["source"],
        by_label=parts["label"],
        by_split=parts["split"],
        rows_in=_rows(found.rows_in),
        rows_out=_rows(found.rows_out),
        changed=[outputs.ChangedRow(**row) for row in found.changed.iter_rows(named=True)],
        moved=[outputs.MovedRow(**row) for row in found.moved.iter_rows(named=True)],
        spec=[
            outputs.SpecDifference(path=leaf.path, before=leaf.before, after=leaf.after)
            for leaf in comparing.spec_differences(_whole(old["spec"]), _whole(new["spec"]))
        ],
        inputs=[
            outputs.InputDifferenceOutput(**vars(one))
            for one in comparing.input_differences(old["inputs"], new["inputs"])
        ],
        versions=[
            outputs.VersionDifference(name=name, before=old["versions"].get(name), after=new["versions"].get(name))
            for name in versions
            if old["versions"].get(name) != new["versions"].get(name)
        ],
    )  # fmt: skip


def _part(counts: dict[str, int]) -> Part:
    return Part(**{_COUNTED[key]: n for key, n in counts.items()})


def _rows(rows: pl.DataFrame) -> list[outputs.RowDifference]:
    return [
        outputs.RowDifference(**(row | {"detail": json.loads(row["detail"]) if row["detail"] else None}))
        for row in rows.iter_rows(named=True)
    ]


# --- words --------------------------------------------------------------------------------


def _print(out: Console, found: DiffOutput) -> None:
    if found.is_identical:
        out.print(f"{found.before} and {found.after} are the same release.")
        return
    rows = found.rows
    out.print(
        f"{found.before} → {found.after}: {rows.before} → {rows.after} records: {rows.rows_in} in, {rows.rows_out} out, "
        f"{rows.changed} changed, {rows.moved} moved"
    )
    if not found.texts_compared:
        out.print("note: not both carry hashes of their texts (text_sha): compared by label and split only")
    for title, parts in (("source", found.by_source), ("label", found.by_label), ("split", found.by_split)):
        _print_parts(out, title, parts)
    _print_rows(out, "in", found.rows_in)
    _print_rows(out, "out", found.rows_out)
    _print_ids(out, "changed", [f"{row.record_id}  {_change(row)}" for row in found.changed])
    moved = [f"{row.record_id}  {row.source}: {row.split_before} → {row.split_after}" for row in found.moved]
    _print_ids(out, "moved", moved)
    leaves = [f"{leaf.path}: {_value(leaf.before)} → {_value(leaf.after)}" for leaf in found.spec]
    _print_some(out, "spec", leaves)
    inputs = [f"{i.change} {i.uri} ({i.source}, {i.day}){_lines(i)}" for i in found.inputs]
    _print_some(out, "inputs", inputs)
    _print_some(
        out, "versions", [f"{v.name} {v.before or 'none'} → {v.after or 'none'}" for v in found.versions]
    )


def _print_parts(out: Console, title: str, parts: dict[str, Part]) -> None:
    """A line for each value of which something differs."""
    shown = {name: p for name, p in parts.items() if p.rows_in or p.rows_out or p.changed or p.moved}
    if not shown:
        return
    table = Table(box=None, pad_edge=False, show_edge=False)
    table.add_column(title)
    for word in ("before", "after", "in", "out", "changed", "moved"):
        table.add_column(word, justify="right")
    for name, p in list(shown.items())[:SHOWN_LINES]:
        numbers = (p.before, p.after, p.rows_in, p.rows_out, p.changed, p.moved)
        table.add_row(name, *map(str, numbers))
    out.print(table)
    if len(shown) > SHOWN_LINES:
        out.print(f"and {len(shown) - SHOWN_LINES} more; --json lists all")


def _print_rows(out: Console, kind: str, rows: Sequence[outputs.RowDifference]) -> None:
    if not rows:
        return
    groups: dict[str, int] = {}
    for row in rows:
        groups[_why(row)] = groups.get(_why(row), 0) + 1
    ordered = sorted(groups.items(), key=lambda pair: (-pair[1], pair[0]))
    reasons = ", ".join(f"{why} {n}" for why, n in ordered)
    lines = [f"{row.record_id}  {row.source}, {row.split}: {_why(row)}{_detail(row.detail)}" for row in rows]
    _print_ids(out, kind, lines, f": {reasons}")


def _why(row: outputs.RowDifference) -> str:
    reason = _WORDS.get(row.reason or "", row.reason or "unknown")
    return f"{row.step} {reason}" if row.step else reason


def _detail(detail: Any) -> str:
    if not isinstance(detail, dict):
        return ""
    words = [f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in detail.items()]  # fmt: skip
    return f"  ({_cut(', '.join(words), 2 * SHOWN_CHARS)})"


def _change(row: outputs.ChangedRow) -> str:
    what = ["text"] if row.text_changed else []
    if row.label_before != row.label_after:
        what.append(f"label {row.label_before or 'none'} → {row.label_after or 'none'}")
    return f"{row.source}, {row.split}: {', '.join(what)}"


def _print_ids(out: Console, kind: str, lines: list[str], more: str = "") -> None:
    if not lines:
        return
    out.print(f"{kind} ({len(lines)}){more}")
    for line in lines[:SHOWN_IDS]:
        out.print(f"  {line}")
    if len(lines) > SHOWN_IDS:
        out.print(f"  and {len(lines) - SHOWN_IDS} more; --json lists all")


def _print_some(out: Console, title: str, lines: list[str]) -> None:
    for line in lines[:SHOWN_LINES]:
        out.print(f"{title}: {line}")
    if len(lines) > SHOWN_LINES:
        out.print(f"{title}: and {len(lines) - SHOWN_LINES} more; --json lists all")


def _lines(one: outputs.InputDifferenceOutput) -> str:
    if one.change != "changed":
        return ""
    return f": {one.rows_before} → {one.rows_after} rows"


def _value(value: Any) -> str:
    return "none" if value is None else _cut(value if isinstance(value, str) else json.dumps(value))


def _cut(text: str, limit: int = SHOWN_CHARS) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
