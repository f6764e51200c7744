"""Releases written by hand, a few rows each, for what reads finished releases of another project.

Lives here: plain values, and a folder that `verify` calls whole. Keep out: assertions; releases that a run made.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from dataset_pipeline.records import MESSAGES
from dataset_pipeline.storage.release_checks import ReleaseFile, version_of

PROVENANCE = {
    "record_id": pl.String, "split": pl.String, "row": pl.Int64, "source": pl.String, "uri": pl.String, "line": pl.Int64,
    "license": pl.String, "holder": pl.String, "uses": pl.String, "label": pl.String, "normalize_prompt_language": pl.String,
    "normalize_answer_language": pl.String,
}  # fmt: skip
TASK = {"behavior": "Name the topic.", "type": "classification", "labels": ["bug", "wish", "billing"]}
RIGHTS = {
    "license": "CC-BY-4.0",
    "holder": "Other Ltd",
    "basis": "their terms",
    "uses": ["train", "evaluate", "commercial"],
}
SOURCE = {"name": "forum", "kind": "licensed", "path": "forum.jsonl", "collected_at": "2026-02-03", "rights": RIGHTS,
          "fields": {"input": "text", "output": "topic"}}  # fmt: skip


def record(prompt: str, answer: str = "bug", split: str = "train", **changes: Any) -> dict[str, Any]:
    """A released record: its texts, and what provenance says of it."""
    return {
        "prompt": prompt, "answer": answer, "split": split, "source": "forum", "license": RIGHTS["license"],
        "holder": RIGHTS["holder"], "uses": "commercial,evaluate,train", "label": answer, "language": "en",
        "messages": None, "rejected": None, "uri": "forum.jsonl", "line": None, "answer_language": None,
    } | changes  # fmt: skip


def _turns(one: dict[str, Any], task: dict[str, Any]) -> list[dict[str, str]]:
    turns = one["messages"] or [
        {"role": "user", "content": one["prompt"]},
        {"role": "assistant", "content": one["answer"]},
    ]
    system = task.get("system_prompt")
    return [{"role": "system", "content": system}, *turns] if system else turns


def _line(one: dict[str, Any], format_: str, task: dict[str, Any]) -> dict[str, Any]:
    is_label = task["type"] == "classification"
    if format_ == "chat":
        return {"messages": _turns(one, task)}
    if format_ == "alpaca" and is_label:
        asked = task.get("system_prompt") or task["behavior"]
        return {"instruction": asked, "input": one["prompt"], "output": one["answer"]}
    if format_ == "alpaca":
        return {
            "instruction": one["prompt"],
            "input": "",
            "output": one["answer"],
            "system": task.get("system_prompt") or "",
        }
    if format_ == "preference":
        turns = _turns(one, task)
        rejected = [{"role": "assistant", "content": one["rejected"]}]
        return {"prompt": turns[:-1], "chosen": turns[-1:], "rejected": rejected}
    return {"prompt": one["prompt"], "completion": one["answer"]}


def write_release(
    folder: Path,
    records: Sequence[dict[str, Any]],
    formats: Sequence[str] = ("chat", "alpaca", "parquet"),
    task: dict[str, Any] = TASK,
    sources: Sequence[dict[str, Any]] = (SOURCE,),
    shards: int = 1,
    without: Sequence[str] = (),
    sha256: str = "0" * 64,
    pack: bool = False,
) -> Path:
    """Write a whole release into `folder` and return its own folder. without: columns of provenance left out."""
    part = folder / "part"
    part.mkdir(parents=True)
    rows = [
        one | {"record_id": hashlib.sha256(f"{n}".encode()).hexdigest()[:32]} for n, one in enumerate(records)
    ]
    rows.sort(key=lambda one: one["record_id"])
    counts: dict[str, int] = {}
    for split in ("train", "validation", "test"):
        own = [one for one in rows if one["split"] == split]
        for number, one in enumerate(own):
            one["row"] = number
        size = -(-len(own) // shards) or 1
        pieces = [own[start : start + size] for start in range(0, len(own), size)]
        for format_ in formats:
            suffix = "parquet" if format_ == "parquet" else "jsonl.gz" if pack else "jsonl"
            for number, piece in enumerate(pieces):
                shard = f"-{number:05}-of-{len(pieces):05}" if len(pieces) > 1 else ""
                target = part / format_ / f"{split}{shard}.{suffix}"
                target.parent.mkdir(exist_ok=True)
                counts[f"{format_}/{target.name}"] = len(piece)
                if format_ != "parquet":
                    text = "".join(
                        json.dumps(_line(one, format_, task), ensure_ascii=False) + "\n" for one in piece
                    )
                    target.write_bytes(gzip.compress(text.encode(), mtime=0) if pack else text.encode())
                    continue
                pl.DataFrame(
                    {"record_id": [one["record_id"] for one in piece], "messages": [_turns(one, task) for one in piece],
                     "label": [one["label"] for one in piece]},
                    schema={"record_id": pl.String, "messages": MESSAGES, "label": pl.String},
                ).write_parquet(target)  # fmt: skip
    names = {"normalize_prompt_language": "language", "normalize_answer_language": "answer_language"}
    provenance = pl.DataFrame(
        {name: [one[names.get(name, name)] for one in rows] for name in PROVENANCE}, schema=PROVENANCE
    )
    provenance.drop(without).write_parquet(part / "provenance.parquet")
    counts["provenance.parquet"] = len(rows)
    files = []
    for path in sorted(p for p in part.rglob("*") if p.is_file()):
        data, name = path.read_bytes(), path.relative_to(part).as_posix()
        files.append(ReleaseFile(name, hashlib.sha256(data).hexdigest(), len(data), counts[name]))
    version = version_of(files)
    read = {
        "source": "forum",
        "day": "2026-02-03",
        "uri": "forum.jsonl",
        "sha256": sha256,
        "rows_read": len(rows),
    }
    manifest = {
        "name": "forum-topics", "version": version, "files": {f.path: {"sha256": f.sha256, "bytes": f.bytes, "rows": f.rows} for f in files},
        "counts": {"splits": {}, "withheld": 0}, "versions": {}, "spec": {"name": "forum-topics", "task": task, "sources": list(sources)},
        "inputs": [read, read | {"day": "2026-02-01", "uri": "older.jsonl", "sha256": "1" * 64}],
    }  # fmt: skip
    (part / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return part.rename(folder / version)
