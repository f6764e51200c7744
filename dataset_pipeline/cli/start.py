"""`init`, `ui` and `schema`: what one needs to begin.

Lives here: writing a commented spec, starting Dagster's own processes, printing the schema. Keep
out: reading whole files; a guess looks at the first rows.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from dataset_pipeline.errors import Problem, SpecError

_INPUT_NAMES = (
    "input",
    "text",
    "message",
    "body",
    "question",
    "prompt",
    "instruction",
    "content",
    "review",
    "comment",
    "utterance",
    "tweet",
)
_OUTPUT_NAMES = (
    "output",
    "label",
    "category",
    "intent",
    "class",
    "answer",
    "response",
    "completion",
    "target",
)
_ID_NAMES = ("id", "ticket_id", "record_id", "uuid", "key")
MAX_LABELS = 200
"""More distinct values than this are answers, not labels."""


def schema() -> None:
    """Print the JSON Schema of the spec."""
    from dataset_pipeline.spec.models import Spec

    click.echo(json.dumps(Spec.model_json_schema(), indent=2))


def ui(spec: Path, port: int) -> None:
    """Replace this process by `dagster dev` for the spec, its state beside it."""
    from dataset_pipeline.cli.orchestrator import ensure_home
    from dataset_pipeline.spec.load import load_project

    project = load_project(spec)
    ensure_home(project.dagster_home)
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


def init(folder: Path, source: Path | None) -> None:
    """Make `folder` with a commented spec; with a file, copy it in and guess its columns."""
    target = folder / "dataset.yaml"
    if target.exists():
        raise SpecError([Problem(str(target), "is there already.", "Choose another folder, or remove it.")])
    guess = _guess(source) if source is not None else None
    copy = folder / "sources" / source.name if source is not None else None
    is_there = source is not None and copy is not None and copy.exists()
    if source is not None and copy is not None and is_there and not copy.samefile(source):
        raise SpecError(
            [Problem(str(copy), "is there already.", "Choose another folder, or rename your file.")]
        )
    try:
        (folder / "sources").mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise SpecError([Problem(str(folder), "is no folder.", "Name a new folder.")]) from None
    if source is not None and copy is not None and not is_there:
        shutil.copy2(source, copy)
    target.write_text(_spec_text(folder.resolve().name, source, guess), encoding="utf-8")
    click.echo(f"wrote {target}")
    if guess is not None:
        click.echo(f"read {source} as {guess['words']}; open the spec and mend what was guessed wrong")
    named = shlex.quote(str(target))
    click.echo(
        f"next: edit the spec, then `dataset-pipeline check --spec {named}` and `dataset-pipeline run --spec {named}`"
    )


def _guess(source: Path) -> dict[str, Any]:
    """Columns, layout and labels from the first rows of a file."""
    from dataset_pipeline.storage import readers

    if not source.is_file():
        raise SpecError(
            [Problem(str(source), "there is no such file.", "Name a .jsonl or .csv file, plain or .gz.")]
        )
    try:
        rows = []
        for row in readers.read_rows(source):
            if isinstance(row, readers.RawRow):
                rows.append(row.payload)
            if len(rows) >= 5000:
                break
    except readers.UnreadableFile as error:
        raise SpecError([Problem(str(source), str(error).removeprefix(f"{source}: "))]) from None
    if not rows:
        raise SpecError(
            [Problem(str(source), "holds no row that can be read.", "Give a file with at least one row.")]
        )
    columns = list(dict.fromkeys(name for row in rows for name in row))
    identifier = next((c for name in _ID_NAMES for c in columns if c.lower() == name), None)
    if isinstance(rows[0].get("messages"), list):
        return {"layout": "chat", "type": "chat", "id": identifier, "words": "conversations (chat layout)"}
    if {"instruction", "output"} <= set(columns):
        return {
            "layout": "alpaca",
            "type": "instruction",
            "id": identifier,
            "words": "instructions (alpaca layout)",
        }
    if {"prompt", "completion"} <= set(columns):
        return {
            "layout": "completion",
            "type": "completion",
            "id": identifier,
            "words": "prompts and completions (completion layout)",
        }
    return _guess_columns(rows, columns)


def _guess_columns(rows: list[dict[str, Any]], columns: list[str]) -> dict[str, Any]:
    texts = [c for c in columns if isinstance(rows[0].get(c), str)]
    longest = sorted(texts, key=lambda c: -sum(len(str(row.get(c) or "")) for row in rows))
    input_column = next(
        (c for name in _INPUT_NAMES for c in columns if c.lower() == name),
        longest[0] if longest else columns[0],
    )
    output_column = next(
        (c for name in _OUTPUT_NAMES for c in columns if c.lower() == name and c != input_column), None
    )
    labels: list[str] = []
    if output_column is not None:
        values = {
            str(row.get(output_column)).strip() for row in rows if row.get(output_column) not in (None, "")
        }
        if (
            len(values) <= MAX_LABELS
            and len(values) < len(rows) / 2
            and all("\n" not in v and len(v) <= 80 for v in values)
        ):
            labels = sorted(values)
    identifier = next((c for name in _ID_NAMES for c in columns if c.lower() == name), None)
    kind = "classification" if len(labels) > 1 else "instruction"
    return {
        "type": kind, "input": input_column, "output": output_column, "id": identifier, "labels": labels,
        "words": f"{kind}: text in {input_column!r}, answer in {output_column!r}",
    }  # fmt: skip


def _spec_text(name: str, source: Path | None, guess: dict[str, Any] | None) -> str:
    """A spec with comments. Quoted values are JSON, which is YAML too."""
    guess = guess or {
        "type": "classification",
        "input": "text",
        "output": "label",
        "id": None,
        "labels": ["label_a", "label_b"],
    }
    project = (
        "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in name).strip("-_")
        or "dataset"
    )
    project = (project if project[0].isalpha() else f"dataset-{project}")[:63]
    path = f"sources/{source.name}" if source is not None else "sources/messages.jsonl"
    lines = [
        f"name: {project}",
        "task:",
        "  # The wanted behaviour in a sentence: the first thing the card says.",
        '  behavior: "Read one message and answer with exactly one label."'
        if guess["type"] == "classification"
        else '  behavior: "Answer the message."',
        f"  type: {guess['type']}        # classification | instruction | chat | completion",
    ]
    if guess["type"] == "classification":
        lines.append("  labels:                # label: its definition")
        lines += [f'    {json.dumps(label, ensure_ascii=False)}: ""' for label in guess["labels"]]
    lines += [
        "  examples: []           # handwritten, at least five, better a dozen: {input: ..., output: ...}; never trained on",
        "sources:",
        "  - name: main",
        "    kind: first_party    # first_party | licensed | public_web | synthetic",
        f"    path: {json.dumps(path, ensure_ascii=False)}   # {{date}} stands for the collection day: sources/{{date}}.jsonl",
        "    collected_at: 2026-01-01   # the day of collection, where the path has no {date}: put yours",
        "    # No rights, no entry: put the licence (SPDX expression), who holds the rights, and why you may use it.",
        '    rights: {license: LicenseRef-first-party, holder: "to be filled in", basis: "to be filled in", uses: [train, evaluate]}',
    ]
    if "layout" in guess:
        lines.append(f"    layout: {guess['layout']}")
    fields = {k: guess[k] for k in ("id", "input", "output") if guess.get(k)}
    if fields:
        lines.append(f"    fields: {json.dumps(fields, ensure_ascii=False)}")
    lines += [
        "# Evaluation sets are kept out of the training data. Without them nothing is.",
        "# decontaminate:",
        "#   sets:",
        "#     - {name: holdout, path: eval/holdout.jsonl, fields: {input: text}}",
        "# normalize:",
        "#   languages: [en]      # records in other languages are dropped",
        "",
    ]
    return "\n".join(lines)
