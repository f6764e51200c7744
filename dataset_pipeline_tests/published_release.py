"""A release folder of a few records, written without a run: for what reads releases.

Lives here: the folder as plain values, and a manifest for files that were changed on purpose. Keep out: assertions.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

import dataset_pipeline
from dataset_pipeline.records import MESSAGES, Split
from dataset_pipeline.spec.models import Spec
from dataset_pipeline.storage.release_checks import ReleaseFile, version_of
from dataset_pipeline.storage.release_files import count_rows
from dataset_pipeline.transforms.diff.comparing import text_sha
from dataset_pipeline.transforms.formats import jsonl_lines, parquet_rows
from dataset_pipeline.transforms.sealing import seal_in, seal_line, seal_of

DAY = dt.date(2026, 3, 2)
Turns = list[dict[str, str]]


def exchange(prompt: str, answer: str, system: str | None = None) -> Turns:
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    return [*([{"role": "system", "content": system}] if system is not None else []), *turns]


def spec_of(formats: Sequence[str], **task: Any) -> dict[str, Any]:
    """A spec as a manifest holds it. task: changes of a classification task with a system prompt."""
    rights = {"license": "MIT", "holder": "Example", "basis": "terms", "uses": ["train", "redistribute"]}
    return {
        "name": "small",
        "task": {"behavior": "Say what it is.", "type": "classification", "system_prompt": "Label it.",
                 "labels": ["bug", "wish"]} | task,
        "sources": [{"name": "inbox", "kind": "first_party", "path": "inbox/{date}.jsonl", "rights": rights}],
        "release": {"formats": list(formats)},
    }  # fmt: skip


def some(count: int = 6) -> list[tuple[Turns, str | None]]:
    """Messages and labels: bug and wish in turn."""
    return [
        (
            exchange(f"Message number {n} 🙂 with \u2028 a line end.", ("bug", "wish")[n % 2]),
            ("bug", "wish")[n % 2],
        )
        for n in range(count)
    ]


def written(
    releases: Path, records: Sequence[tuple[Turns, str | None]] = (), formats: Sequence[str] = ("chat", "alpaca", "completion", "sharegpt", "parquet"),
    pairs: Sequence[tuple[int, Turns]] = (), **task: Any,
) -> Path:  # fmt: skip
    """A whole release below `releases`: every third record is in test, the others in train. Its folder.

    pairs: prompt_turns and rejected of each record, for a preference task.
    """
    records = records or some()
    spec = Spec.model_validate_json(json.dumps(spec_of(formats, **task)))
    folder = releases / "being-written"
    folder.mkdir(parents=True)
    released = pl.DataFrame(
        {
            "record_id": [f"{n:032x}" for n in range(len(records))],
            "split": ["test" if n % 3 == 2 else "train" for n in range(len(records))],
            "messages": [turns for turns, _ in records],
            "prompt_turns": [n for n, _ in pairs] or [None] * len(records),
            "rejected": [turns for _, turns in pairs] or [None] * len(records),
            "label": [label for _, label in records],
        },
        schema={"record_id": pl.String, "split": pl.String, "messages": MESSAGES, "prompt_turns": pl.Int32,
                "rejected": MESSAGES, "label": pl.String},
    ).with_columns(
        source=pl.lit("inbox"), day=pl.lit(DAY), row=pl.int_range(pl.len(), dtype=pl.Int64).over("split")
    )  # fmt: skip
    for name in formats:
        (folder / name).mkdir()
        for split in (Split.TRAIN, Split.TEST):
            if name == "parquet":
                parquet_rows(released, split, spec.task).write_parquet(folder / f"parquet/{split}.parquet")
            else:
                lines = b"".join(jsonl_lines(released, split, name, spec.task))
                (folder / name / f"{split}.jsonl").write_bytes(lines)
    columns = ["record_id", "split", "row", "source", "day", "license", "uses", "label", "text_sha"]
    origin = released.with_columns(
        text_sha(released), license=pl.lit("MIT"), uses=pl.lit("redistribute,train")
    )
    origin.select(columns).write_parquet(folder / "provenance.parquet")
    gone = pl.DataFrame({"record_id": ["f" * 32], "step": ["filter"], "reason": ["too_short"]})
    gone.write_parquet(folder / "dropped.parquet")
    (folder / "README.md").write_text("# small\n", encoding="utf-8")
    return sealed(folder, spec_of(formats, **task))


def sealed(folder: Path, spec: dict[str, Any] | None = None, **changes: Any) -> Path:
    """Give the files of `folder` a manifest that says what they are now, and the folder its name. changes: keys of it."""
    path = folder / "manifest.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    files = {}
    for file in sorted(p for p in folder.rglob("*") if p.is_file() and p != path):
        name = file.relative_to(folder).as_posix()
        rows = count_rows(file) if "." in name and not name.endswith(".md") else None
        files[name] = ReleaseFile(
            name, hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_size, rows
        )
    splits = dict(pl.read_parquet(folder / "provenance.parquet").group_by("split").len().iter_rows())
    released = sum(splits.values())
    manifest = {
        "name": "small",
        "version": version_of(files.values()),
        "files": {n: {"sha256": f.sha256, "bytes": f.bytes, "rows": f.rows} for n, f in files.items()},
        "counts": before.get("counts") or {"ingested": released + 1, "rejected": 0, "released": released, "withheld": 0,
                                           "splits": {"train": 0, "validation": 0, "test": 0} | splits},
        "spec": spec or before["spec"],
        "inputs": [],
        "versions": {"dataset_pipeline": dataset_pipeline.__version__},
        "rights": {"uses": ["train", *(["evaluate"] if set(splits) == {"train"} else []), "redistribute"], "released_for": ["train"], "license": "MIT", "obligations": ["attribution"],
                   "terms_known": True, "licenses": [{"license": "MIT", "records": released}]},
    } | changes  # fmt: skip
    path.write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    card = folder / "README.md"
    if card.is_file() and seal_in(card.read_bytes().decode(errors="replace")) != seal_of(manifest):
        card.write_text(f"# small\n\n{seal_line(seal_of(manifest))}\n", encoding="utf-8")
        return sealed(folder, spec, **changes)
    target = folder.with_name(str(manifest["version"]))
    folder.rename(target)
    return target


def files_of(folder: Path) -> dict[str, bytes]:
    """Path to bytes of everything in a folder, hidden files too."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }
