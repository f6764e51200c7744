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

from dataset_pipeline.assets import release_reading
from dataset_pipeline.cli import outputs, show
from dataset_pipeline.cli.finding import BrokenRelease, broken, find_release, read_manifest, read_rows
from dataset_pipeline.cli.outputs import DiffOutput, Part, line_of
from dataset_pipeline.storage.release_checks import MANIFEST
from dataset_pipeline.storage.release_removal import reading
from dataset_pipeline.transforms.diff import comparing
from dataset_pipeline.transforms.diff.manifests import incomplete_days
from dataset_pipeline.transforms.diff.words import UNKNOWN, days_words, value_words

SHOWN_IDS = 20
"""Record ids of a kind that are shown on a terminal; `--json` lists all."""
SHOWN_LINES = 20
"""Differences of spec, inputs or versions that are shown."""
SHOWN_CHARS = 60
"""Characters of a value of the spec that are shown."""

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
    with reading(*folders):
        old, new = (read_manifest(folder) for folder in folders)
        sides = _side(folders[0], old), _side(folders[1], new)
    try:
        found = _output(old, new, release_reading.compare(sides, old, new))
    except release_reading.UNREADABLE as error:
        raise _not_comparable(folders, sides, (old, new), error) from None
    _print(out, found)
    if as_json:
        print(line_of(found))
    return 0


def _side(folder: Path, manifest: dict[str, Any]) -> comparing.Side:
    try:
        return release_reading.side_of(folder, manifest)
    except release_reading.UNREADABLE:
        for name in ("provenance.parquet", "dropped.parquet"):
            read_rows(folder / name, ["record_id"], [])
        raise broken(folder, "a column of provenance.parquet or dropped.parquet is missing") from None


def _not_comparable(
    folders: list[Path],
    sides: tuple[comparing.Side, comparing.Side],
    manifests: tuple[dict[str, Any], dict[str, Any]],
    error: Exception,
) -> BrokenRelease:
    """Names the release that cannot be compared with itself either; the first where both can."""
    culprit = folders[0]
    for folder, side, manifest in zip(folders, sides, manifests, strict=True):
        try:
            _output(manifest, manifest, release_reading.compare((side, side), manifest, manifest))
        except release_reading.UNREADABLE:
            culprit = folder
            break
    return broken(culprit / MANIFEST, f"says what this version cannot compare ({type(error).__name__})")


def _output(old: dict[str, Any], new: dict[str, Any], compared: release_reading.Compared) -> DiffOutput:
    found, differences = compared.rows, compared.differences
    parts = {name: {value: _part(n) for value, n in counts.items()} for name, counts in found.counts.items()}
    whole = found.counts[comparing.SPLIT].values()
    days = incomplete_days((old, new))
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
        causes=[outputs.CauseCount(**vars(one)) for one in compared.causes],
        spec=[outputs.SpecDifference(**vars(leaf)) for leaf in differences.spec],
        inputs=[outputs.InputDifferenceOutput(**vars(one)) for one in differences.inputs],
        versions=[
            outputs.VersionDifference(name=leaf.path, before=_version(leaf.before), after=_version(leaf.after))
            for leaf in differences.versions
        ],
        missing_days=outputs.DaysOfBoth(before=list(days["missing"][0]), after=list(days["missing"][1])),
        stale_days=outputs.DaysOfBoth(before=list(days["stale"][0]), after=list(days["stale"][1])),
    )  # fmt: skip


def _version(value: Any) -> str | None:
    return None if value is None else str(value)


def _part(counts: dict[str, int]) -> Part:
    return Part(**{_COUNTED[key]: n for key, n in counts.items()})


def _rows(rows: pl.DataFrame) -> list[outputs.RowDifference]:
    return [
        outputs.RowDifference(**(row | {"detail": _read(row["detail"])}))
        for row in rows.iter_rows(named=True)
    ]


def _read(detail: str | None) -> Any:
    """The detail of a verdict; as it stands where it is no JSON."""
    try:
        return json.loads(detail) if detail else None
    except ValueError:
        return detail


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
    _print_rows(out, "in", found.rows_in, found.causes)
    _print_rows(out, "out", found.rows_out, found.causes)
    changed = [f"{row.record_id}  {_change(row)}" for row in found.changed]
    _print_ids(out, "changed", changed, causes=found.causes)
    moved = [f"{row.record_id}  {row.source}: {row.split_before} → {row.split_after}" for row in found.moved]
    _print_ids(out, "moved", moved, causes=found.causes)
    leaves = [
        f"{leaf.path}: {value_words(leaf.before, SHOWN_CHARS)} → {value_words(leaf.after, SHOWN_CHARS)}"
        for leaf in found.spec
    ]
    _print_some(out, "spec", leaves)
    inputs = [f"{i.change} {i.uri} ({i.source}, {i.day}){_lines(i)}" for i in found.inputs]
    _print_some(out, "inputs", inputs)
    _print_some(
        out, "versions", [f"{v.name} {v.before or 'none'} → {v.after or 'none'}" for v in found.versions]
    )
    for word, both in (("missing", found.missing_days), ("stale", found.stale_days)):
        if both.before or both.after:
            out.print(f"{word} days: {days_words(both.before)} → {days_words(both.after)}")


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


def _print_rows(
    out: Console, kind: str, rows: Sequence[outputs.RowDifference], causes: Sequence[outputs.CauseCount]
) -> None:
    if not rows:
        return
    groups: dict[str, int] = {}
    for row in rows:
        why = _why(row.step, row.reason)
        groups[why] = groups.get(why, 0) + 1
    ordered = sorted(groups.items(), key=lambda pair: (-pair[1], pair[0]))
    reasons = ", ".join(f"{why} {n}" for why, n in ordered)
    lines = [
        f"{row.record_id}  {row.source}, {row.split}: {_why(row.step, row.reason)}{_detail(row.detail)}"
        for row in rows
    ]
    _print_ids(out, kind, lines, f": {reasons}", causes)


def _why(step: str | None, reason: str | None) -> str:
    word = _WORDS.get(reason or "", reason or "unknown")
    return f"{step} {word}" if step else word


def _cause_lines(kind: str, causes: Sequence[outputs.CauseCount]) -> list[str]:
    """How many rows of this kind differ by which cause; where the rows are from where there are several sources."""
    return [
        f"{one.rows} {kind}: {_why(one.step, one.reason)}, {_because(one)}{_sources(one.by_source)}"
        for one in causes
        if one.kind == kind
    ]


def _because(one: outputs.CauseCount) -> str:
    return one.because if one.cause == UNKNOWN else f"because {one.because}"


def _sources(counts: dict[str, int]) -> str:
    if len(counts) < 2:
        return ""
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    more = f" and {len(ordered) - 3} more" if len(ordered) > 3 else ""
    return f" ({', '.join(f'{name} {n}' for name, n in ordered[:3])}{more})"


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


def _print_ids(
    out: Console, kind: str, lines: list[str], more: str = "", causes: Sequence[outputs.CauseCount] = ()
) -> None:
    if not lines:
        return
    out.print(f"{kind} ({len(lines)}){more}")
    told = _cause_lines(kind, causes)
    for line in told[:SHOWN_LINES]:
        out.print(line)
    if len(told) > SHOWN_LINES:
        out.print(f"and {len(told) - SHOWN_LINES} more causes; --json lists all")
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


def _cut(text: str, limit: int = SHOWN_CHARS) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
