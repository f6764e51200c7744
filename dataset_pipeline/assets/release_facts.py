"""The numbers of a release: the funnel, what the card says, the manifest.

Lives here: what a release is made of, the facts of its card, its manifest. Keep out: counting for single sections of
the card (`card_numbers`), the card's words (`transforms.card`), writing and judging (`releasing`).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import polars as pl

import dataset_pipeline
from dataset_pipeline import clock
from dataset_pipeline.assets import card_numbers as numbers
from dataset_pipeline.assets import recipes
from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.plan import Status, missing_days, stale_days
from dataset_pipeline.assets.preflighting import Preflight
from dataset_pipeline.assets.redacting import released_spec
from dataset_pipeline.records import ANNOTATIONS, DAILY_STEPS, RELEASE, REVIEWS, Split, Step, content_hash
from dataset_pipeline.spec import licences
from dataset_pipeline.spec.licence_terms import OBLIGATION_WORDS
from dataset_pipeline.spec.params import (
    AnnotationsParams,
    DedupParams,
    FilterParams,
    NormalizeParams,
    ReleaseParams,
    SplitParams,
)
from dataset_pipeline.storage import readers, releases, tokenizers
from dataset_pipeline.transforms import croissant, rights
from dataset_pipeline.transforms import release as shapes
from dataset_pipeline.transforms.assignment import uses_lock
from dataset_pipeline.transforms.card.facts import CardFacts
from dataset_pipeline.transforms.columns import Dtypes
from dataset_pipeline.transforms.formats import DataFiles
from dataset_pipeline.transforms.rights import ReleaseRights
from dataset_pipeline.transforms.selection import Selection, withheld_counts
from dataset_pipeline.transforms.tokens import TokenFacts


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


def _collected(content: Content, days: list[dt.date]) -> tuple[str, str]:
    """The first and the last day of which anything was collected: days on which nothing came say nothing of the data."""
    came = content.tables[Step.INGEST]["day"].append(content.batches["day"]).unique().sort()
    came = came if len(came) else pl.Series(days)
    return str(came[0]), str(came[-1])


def card_facts(
    context: Context,
    content: Content,
    params: ReleaseParams,
    status: Status,
    days: list[dt.date],
    data_files: DataFiles,
    token_facts: TokenFacts | None,
) -> CardFacts:
    """Everything the card and ATTRIBUTION.md say, counted over the tables of a release."""
    released = content.released
    clean = content.tables[Step.NORMALIZE].join(released.select("record_id"), on="record_id", how="semi")
    normalize = cast(NormalizeParams, context.params[Step.NORMALIZE])
    labels = params.task.answers_are_labels
    by_split = dict(released.group_by("split").len().iter_rows())
    return CardFacts(
        name=params.name,
        task=params.task,
        rights=release_rights(content, params),
        data_files=data_files,
        days=_collected(content, days),
        sources=numbers.sources(
            content.tables,
            released,
            content.batches,
            {s.name: s.access for s in context.project.spec.sources},
        ),
        splits={s.value: int(by_split.get(s.value, 0)) for s in Split},
        labels=numbers.labels(released, params.task.label_names) if labels else {},
        funnel=funnel(content.tables, withheld_counts(content.selection), released.height),
        rejected=content.rejects.height,
        not_made=content.not_made.height,
        languages=numbers.counts(clean["prompt_language"]),
        answer_languages={} if labels else numbers.counts(clean["answer_language"]),
        wanted_languages=normalize.languages,
        pii=numbers.personal_data(clean),
        pii_action=normalize.pii.action,
        pseudonym_key=normalize.pseudonym_key,
        eval_sets=dict(sorted(numbers.counts(content.protected["eval_set"]).items())),
        decisions=params.decisions,
        missing_days=[str(day) for day in missing_days(status)],
        stale_days=[str(day) for day in stale_days(status)],
        settings=_settings(context),
        versions={"dataset_pipeline": dataset_pipeline.__version__}
        | recipes.libraries(RELEASE)
        | tokenizers.libraries(params.training),
        tokens=token_facts,
        agreement=numbers.agreement(
            content.agreement,
            content.tables[Step.LABEL],
            released,
            cast(AnnotationsParams, context.params[ANNOTATIONS]),
        ),
        reviews=numbers.reviews(content.reviews),
        pairs=shapes.pair_facts(
            content.tables[Step.FILTER].join(released.select("record_id"), on="record_id", how="semi")
        ),
    )


def granted(content: Content) -> pl.DataFrame:
    """rights.GRANT of the released records."""
    return rights.granted(content.released, content.tables[Step.INGEST], content.batches)


def release_rights(content: Content, params: ReleaseParams) -> ReleaseRights:
    """The strictest of the released records' rights."""
    return rights.strictest(granted(content), params.license, params.uses)


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


def loaded_back(found: Preflight, data_files: DataFiles) -> dict[str, Any]:
    """The preflight as manifest.json tells it: what was loaded, by which version of `datasets`."""
    return {
        "datasets": recipes.library_version("datasets"),
        "loaded": sorted(name for name in data_files if name not in found.not_loadable),
        "not_loadable": dict(sorted(found.not_loadable.items())),
        "rows_not_as_written": found.differing.height,
        "rule_faults": found.faults.height,
        "notes": list(found.notes),
    }


def told_by_manifest(
    context: Context, content: Content, params: ReleaseParams, status: Status, facts: CardFacts
) -> dict[str, Any]:
    """What manifest.json says of data, spec and versions; transforms.sealing seals what all builds of one release agree on."""
    inputs = content.batches.select(
        "source", "day", "uri", "sha256", "bytes", "rows_read", "rows_ingested", "rows_rejected", "license"
    )
    return {
        "name": params.name,
        "counts": {
            "ingested": content.tables[Step.INGEST].height,
            "rejected": content.rejects.height,
            "released": content.released.height,
            "withheld": content.selection.withheld.height,
            "not_made": content.not_made.height,
            "splits": {s.value: content.released.filter(pl.col("split") == s.value).height for s in Split},
            "funnel": [{"step": s, "in": i, "kept": k, "dropped": dict(d)} for s, i, k, d in facts.funnel],
        },
        "rights": _rights_of(facts.rights),
        "tokens": None if facts.tokens is None else dataclasses.asdict(facts.tokens),
        "data_files": {
            name: {split: list(paths) for split, paths in splits.items()}
            for name, splits in facts.data_files.items()
        },
        "contents": _contents(context, content),
        "inputs": [row | {"day": row["day"].isoformat()} for row in inputs.iter_rows(named=True)],
        "missing_days": [str(day) for day in missing_days(status)],
        "stale_days": [str(day) for day in stale_days(status)],
        "spec": released_spec(context.project),
        "versions": dict(facts.versions),
    }


def manifest_of(
    writer: releases.Writer,
    told: Mapping[str, Any],
    run_id: str,
    now: recipes.Recipe,
    preflight: Mapping[str, Any],
) -> dict[str, Any]:
    """manifest.json: the only file of a release that holds clock values.

    told: `told_by_manifest(…)`, whose seal the card carries. preflight: `loaded_back(…)`.
    """
    return dict(told) | {
        "version": writer.version(),
        "created_at": clock.now().isoformat(timespec="seconds") + "Z",
        "run_id": run_id,
        "recipe": now.hash,
        "files": {
            f.path: {"sha256": f.sha256, "bytes": f.bytes, "rows": f.rows} for f in writer.files.values()
        },
        "preflight": dict(preflight),
        "versions": {"python": platform.python_version()} | told["versions"],
    }


def _contents(context: Context, content: Content) -> dict[str, Any]:
    """Hashes of what has no day and can change what a record becomes."""
    latest = context.warehouse.latest()
    sets = content.protected.partition_by("eval_set", as_dict=True)
    found: dict[str, Any] = {
        "eval_sets": {str(name): content_hash(part) for (name,), part in sorted(sets.items())}
    }
    found |= {name: p.content for name in (REVIEWS, ANNOTATIONS) if (p := latest.get((name, None)))}
    if uses_lock(cast(SplitParams, context.params[Step.SPLIT])) and context.project.lock_path.exists():
        found["split_lock"] = readers.file_sha256(context.project.lock_path)[0]
    return found


def _rights_of(own: ReleaseRights) -> dict[str, Any]:
    """uses that every record allows, what the release is for, its licence and obligations, records by licence."""
    return {
        "uses": list(own.uses),
        "released_for": list(own.asked),
        "license": own.license,
        "obligations": [name for name in OBLIGATION_WORDS if getattr(own.obligations, name)],
        "terms_known": own.obligations.known,
        "licenses": [{"license": licence, "records": n} for licence, n in own.licenses],
    }


def croissant_facts(
    facts: CardFacts, schemas: Mapping[str, Dtypes], files: Mapping[str, tuple[str, int]]
) -> croissant.Facts:
    """What croissant.json says. schemas: columns of each Parquet file by its kind; files: path to SHA-256 and bytes."""
    grants = [grant for grant in facts.rights.grants if grant.records]
    named = [facts.rights.license] if facts.rights.license else [grant.license for grant in grants]
    return croissant.Facts(
        name=facts.name,
        task=facts.task,
        license=facts.rights.license,
        license_links=sorted(
            {link for one in named for link in licences.links(one)}, key=lambda link: link[0]
        ),
        holders=sorted({grant.holder for grant in grants}),
        days=facts.days,
        data_files=facts.data_files,
        files=files,
        schemas=schemas,
        languages=list(facts.languages),
    )
