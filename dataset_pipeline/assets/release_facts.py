"""The numbers of a release: the funnel, what the card says, the manifest.

Lives here: counting over the tables of a release. Keep out: the card's words (`transforms.card`),
writing and judging (`releasing`).
"""

from __future__ import annotations

import datetime as dt
import json
import platform
from dataclasses import dataclass
from typing import Any, cast

import polars as pl

import dataset_pipeline
from dataset_pipeline import clock
from dataset_pipeline.assets import recipes
from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.plan import Status, missing_days, stale_days
from dataset_pipeline.records import DAILY_STEPS, RELEASE, Split, Step
from dataset_pipeline.spec.params import (
    DedupParams,
    FilterParams,
    NormalizeParams,
    ReleaseParams,
)
from dataset_pipeline.storage import releases
from dataset_pipeline.transforms import release as shapes
from dataset_pipeline.transforms.card import CardFacts, SourceFacts
from dataset_pipeline.transforms.selection import Selection, withheld_counts


@dataclass(frozen=True)
class Content:
    """All that one release is made of."""

    tables: dict[str, pl.DataFrame]
    batches: pl.DataFrame
    rejects: pl.DataFrame
    protected: pl.DataFrame
    selection: Selection
    released: pl.DataFrame
    not_made: pl.DataFrame
    """record_id, reason, detail of collected records that a step has not judged (its gate is closed)."""
    agreement: pl.DataFrame
    """TABLES['agreement']: empty where nobody annotated."""
    reviews: pl.DataFrame
    """TABLES['reviews']: empty where nobody reviewed."""
    tokens: pl.DataFrame
    """transforms.tokens.TOKENS of the released records."""


def funnel(
    tables: dict[str, pl.DataFrame], withheld: dict[str, int], released: int
) -> list[tuple[str, int, int, dict[str, int]]]:
    """step, records in, kept, dropped by reason, for every step and the release."""
    rows = []
    for step in DAILY_STEPS:
        verdicts = tables[step].select("kept", "reason")
        counted = verdicts.filter(~pl.col("kept")).group_by("reason").len().sort("reason")
        rows.append((str(step), verdicts.height, verdicts.filter("kept").height, dict(counted.iter_rows())))
    rows.append((RELEASE, released + sum(withheld.values()), released, withheld))
    return rows


def card_facts(
    context: Context, content: Content, params: ReleaseParams, status: Status, days: list[dt.date]
) -> CardFacts:
    released = content.released
    clean = content.tables[Step.NORMALIZE].join(released.select("record_id"), on="record_id", how="semi")
    normalize = cast(NormalizeParams, context.params[Step.NORMALIZE])
    sets = content.protected.group_by("eval_set").len().sort("eval_set")
    languages = (
        clean["prompt_language"]
        .drop_nulls()
        .value_counts()
        .sort("count", "prompt_language", descending=[True, False])
    )
    pii = (
        clean.select(pl.col("pii_counts").explode())
        .unnest("pii_counts")
        .drop_nulls()
        .group_by("name")
        .agg(pl.col("count").sum())
        .sort("name")
    )
    by_split = dict(released.group_by("split").len().iter_rows())
    return CardFacts(
        name=params.name,
        task=params.task,
        license=params.license,
        formats=params.formats,
        days=(str(days[0]), str(days[-1])),
        sources=_source_facts(content),
        splits={s.value: int(by_split.get(s.value, 0)) for s in Split},
        labels=_label_counts(released) if params.task.answers_are_labels else {},
        funnel=funnel(content.tables, withheld_counts(content.selection), released.height),
        rejected=content.rejects.height,
        languages={str(code): int(n) for code, n in languages.iter_rows()},
        pii={str(name): int(n) for name, n in pii.iter_rows()},
        pii_action=normalize.pii.action,
        eval_sets={str(name): int(n) for name, n in sets.iter_rows()},
        decisions=params.decisions,
        missing_days=[str(day) for day in missing_days(status)],
        stale_days=[str(day) for day in stale_days(status)],
        settings=_settings(context),
        versions={"dataset_pipeline": dataset_pipeline.__version__} | recipes.libraries(RELEASE),
        pairs=shapes.pair_facts(
            content.tables[Step.FILTER].join(released.select("record_id"), on="record_id", how="semi")
        ),
    )


def _source_facts(content: Content) -> list[SourceFacts]:
    collected = dict(content.tables[Step.INGEST].group_by("source").len().iter_rows())
    released = dict(content.released.group_by("source").len().iter_rows())
    facts = []
    for source, part in sorted(content.batches.partition_by("source", as_dict=True).items()):
        name = str(source[0])
        last = part.sort("day", "uri").row(-1, named=True)
        generator = json.loads(last["generator"]) if last["generator"] else None
        words = (
            f"{generator['model']} of {generator['provider']} (terms reviewed {generator['terms_reviewed']})"
            if generator
            else None
        )
        facts.append(
            SourceFacts(
                name, last["kind"], " and ".join(sorted(set(part["license"]))), last["holder"], ", ".join(last["uses"]),
                int(collected.get(name, 0)), int(released.get(name, 0)), words,
            )
        )  # fmt: skip
    return facts


def _label_counts(released: pl.DataFrame) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for label, split, n in released.group_by("label", "split").len().sort("label", "split").iter_rows():
        counts.setdefault(str(label), {})[str(split)] = int(n)
    return counts


def _settings(context: Context) -> list[tuple[str, str]]:
    """The thresholds of the steps, as `section.key` and value."""
    spec = context.project.spec
    filtering = cast(FilterParams, context.params[Step.FILTER])
    near = {"ngram": cast(DedupParams, context.params[Step.DEDUP]).ngram}
    shown = {
        "dedup": {"near": spec.dedup.near.model_dump(mode="json") | near},
        "filter": {
            "input": filtering.prompt.model_dump(mode="json"), "output": filtering.answer.model_dump(mode="json"),
            "max_tokens": filtering.max_tokens, "profanity.max_words": filtering.max_profane_words,
            "automatic_replies": "drop" if filtering.drop_automatic_replies else "keep",
            "review_margin": filtering.review_margin,
            **({"max_sides_similarity": filtering.max_sides_similarity} if spec.task.type == "preference" else {}),
        },
        "normalize": spec.normalize.model_dump(mode="json"),
        "decontaminate": spec.decontaminate.model_dump(mode="json", exclude={"sets"}),
        "split": spec.split.model_dump(mode="json"),
    }  # fmt: skip
    changed = [
        (
            f"gates.{step}.{name}",
            ", ".join(
                f"{k} {v:g}" if isinstance(v, float) else f"{v}"
                for k, v in gate.model_dump().items()
                if v is not None
            ),
        )
        for step, gates in sorted(spec.gates.items())
        for name, gate in sorted(gates.items())
    ]
    return [
        (key, value) for section, values in shown.items() for key, value in _flat(section, values)
    ] + changed


def _flat(prefix: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [pair for key, inner in value.items() for pair in _flat(f"{prefix}.{key}", inner)]
    if isinstance(value, list):
        return [(prefix, ", ".join(map(str, value)) or "none")]
    return [(prefix, "off" if value is None else str(value))]


def manifest_of(
    context: Context, writer: releases.Writer, content: Content, params: ReleaseParams, status: Status, run_id: str,
    now: recipes.Recipe,
) -> dict[str, Any]:  # fmt: skip
    inputs = content.batches.select(
        "source", "day", "uri", "sha256", "bytes", "rows_read", "rows_ingested", "rows_rejected", "license"
    )
    withheld = content.selection.withheld.height
    return {
        "name": params.name,
        "version": writer.version(),
        "created_at": clock.now().isoformat(timespec="seconds") + "Z",
        "run_id": run_id,
        "recipe": now.hash,
        "files": {
            f.path: {"sha256": f.sha256, "bytes": f.bytes, "rows": f.rows} for f in writer.files.values()
        },
        "counts": {
            "ingested": content.tables[Step.INGEST].height,
            "rejected": content.rejects.height,
            "released": content.released.height,
            "withheld": withheld,
            "not_made": content.not_made.height,
            "splits": {s.value: content.released.filter(pl.col("split") == s.value).height for s in Split},
            "funnel": [
                {"step": s, "in": i, "kept": k, "dropped": d}
                for s, i, k, d in funnel(
                    content.tables, withheld_counts(content.selection), content.released.height
                )
            ],
        },
        "inputs": [row | {"day": row["day"].isoformat()} for row in inputs.iter_rows(named=True)],
        "missing_days": [str(day) for day in missing_days(status)],
        "stale_days": [str(day) for day in stale_days(status)],
        "spec": context.project.spec.model_dump(mode="json", exclude_unset=True),
        "versions": {"python": platform.python_version(), "dataset_pipeline": dataset_pipeline.__version__}
        | recipes.libraries(RELEASE),
    }
