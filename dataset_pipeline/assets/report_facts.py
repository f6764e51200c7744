"""The numbers of the report page: of the newest release's folder, the one before it, and what waits.

Lives here: reading release folders and counting for `transforms.page`. Keep out: the page's words, writing it
(`reporting`), what waits for a person (`reporting.waiting`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import polars as pl

from dataset_pipeline.assets import recipes, release_reading
from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.judged import held
from dataset_pipeline.records import MESSAGES, RELEASE, REPORT, Split, Step
from dataset_pipeline.spec.params import DedupParams, ReleaseParams
from dataset_pipeline.storage.judgements import line_of
from dataset_pipeline.transforms import amounts, curve
from dataset_pipeline.transforms.diff.manifests import incomplete_days
from dataset_pipeline.transforms.near import shortest_found
from dataset_pipeline.transforms.page.alike import AlikeFacts
from dataset_pipeline.transforms.page.diff import DiffFacts, diff_section
from dataset_pipeline.transforms.page.plots import histogram
from dataset_pipeline.transforms.page.whole import Lengths, PageFacts, ReleaseFacts, SourceShare
from dataset_pipeline.transforms.semantic_verdicts import REPORTED, would_drop

CURVE_RECORDS = 2 * curve.MAX_ROWS
"""Records of a split whose texts are read for the learning curve: it takes its own share of them."""

_COLUMNS = (
    "record_id", "split", "day", "source", "license", "holder", "uses", "label", "release_tokens",
    "filter_prompt_tokens", "filter_answer_tokens", "filter_rejected_tokens",
)  # fmt: skip


def page_facts(
    context: Context, latest: recipes.Latest, waiting: Mapping[str, Mapping[str, int]], checks: Checks
) -> PageFacts:
    """Everything the page says now. A release folder that cannot be read is said on the page, and stops nothing."""
    params = cast(ReleaseParams, context.params[RELEASE])
    published = latest.get((RELEASE, None))
    nothing = PageFacts(
        params.name, None, None, checks.warned, waiting, context.project.queue_path.name, None, None, None,
        failures=checks.failed,
    )  # fmt: skip
    if published is None:
        return nothing
    folder = context.project.releases_path / published.content
    try:
        manifest = release_reading.manifest_of(folder)
        rows = release_reading.columns_of(folder / "provenance.parquet", _COLUMNS)
        release = _release_facts(manifest, rows, params)
    except release_reading.UNREADABLE:
        return replace(nothing, problem=f"The folder of release {published.content} cannot be read.")
    train = rows.filter(pl.col("split") == Split.TRAIN.value)
    by_label = {label: by.get(Split.TRAIN, 0) for label, by in release.labels.items()} or None
    diff, problem = _diff(context, folder, manifest)
    return replace(
        nothing,
        release=release,
        advice=amounts.advice(params.task.type, params.training.aim, train.height, by_label),
        curve=_curve(context, rows, params),
        diff=diff,
        diff_problem=problem,
        alike=_alike(context),
    )


class Checks(NamedTuple):
    """Checks that failed and those that warned, a line each."""

    failed: list[str]
    warned: list[str]


def checks_now(context: Context) -> Checks:
    """What the gates say now, also of days that they keep out; those of the report itself it has yet to ask."""
    told = [check for check in held(context) if check.step != REPORT]
    return Checks(
        [line_of(check) for check in told if not check.passed and not check.is_warning],
        [line_of(check) for check in told if check.is_warning],
    )


def _release_facts(manifest: dict[str, Any], rows: pl.DataFrame, params: ReleaseParams) -> ReleaseFacts:
    counts = manifest["counts"]
    days = rows["day"].drop_nulls()
    # Of a spec of another version what is told of a source is its kind, where it says one.
    named = [s for s in manifest["spec"].get("sources") or () if isinstance(s, dict)]
    kinds = {str(s.get("name")): str(s.get("kind", "")) for s in named}
    # The curve and the labels need them, and run where nothing is caught any more: a file without them is told here.
    rows.select("record_id", "label")
    by_split = dict(rows.group_by("split").len().iter_rows())
    return ReleaseFacts(
        name=str(manifest.get("name", params.name)),
        version=str(manifest["version"]),
        created_at=str(manifest["created_at"]),
        task_type=params.task.type,
        days=(str(days.min()), str(days.max())) if days.len() else None,
        ingested=int(counts["ingested"]),
        rejected=int(counts["rejected"]),
        splits={s.value: int(by_split.get(s.value, 0)) for s in Split},
        labels=_labels(rows, params) if params.task.answers_are_labels else {},
        funnel=[
            (str(f["step"]), int(f["in"]), int(f["kept"]), {str(k): int(n) for k, n in f["dropped"].items()})
            for f in counts["funnel"]
        ],
        sources=[
            SourceShare(str(source), kinds.get(str(source), ""), str(licence), str(holder), str(uses), int(n))
            for source, licence, holder, uses, n in rows.group_by("source", "license", "holder", "uses")
            .len()
            .sort(
                "len", "source", "license", "holder", "uses", descending=[True, *[False] * 4], nulls_last=True
            )
            .iter_rows()
        ],
        rights=_rights(manifest),
        lengths=_lengths(manifest, rows),
        missing_days=[str(day) for day in manifest.get("missing_days", ())],
        stale_days=[str(day) for day in manifest.get("stale_days", ())],
    )


def _labels(rows: pl.DataFrame, params: ReleaseParams) -> dict[str, dict[str, int]]:
    """Label to split to records; labels of the spec without any record too."""
    found: dict[str, dict[str, int]] = {name: {} for name in params.task.label_names}
    for label, split, n in rows.group_by("label", "split").len().sort("label", "split").iter_rows():
        found.setdefault(str(label), {})[str(split)] = int(n)
    return found


def _lengths(manifest: dict[str, Any], rows: pl.DataFrame) -> Lengths | None:
    """Of what the release counted; of a release of an older version, what filter estimated."""
    told = dict(manifest.get("tokens") or {})
    if "release_tokens" in rows.columns and told:
        tokens, by = pl.col("release_tokens"), str(told["counted_by"])
    else:
        answers = [pl.col(n) for n in ("filter_answer_tokens", "filter_rejected_tokens") if n in rows.columns]
        tokens = pl.col("filter_prompt_tokens").fill_null(0) + pl.max_horizontal(*answers).fill_null(0)
        by = "the estimate of filter"
    counted = rows.select("split", tokens=tokens.cast(pl.Int64)).drop_nulls()
    if counted.height == 0:
        return None
    high = int(cast(int, counted["tokens"].quantile(0.99, "higher")))
    parts = {s.value: counted.filter(pl.col("split") == s.value)["tokens"].to_list() for s in Split}
    return Lengths(
        histogram(parts, high),
        by,
        int(cast(int, counted["tokens"].quantile(0.5, "nearest"))),
        int(cast(int, counted["tokens"].quantile(0.95, "nearest"))),
        int(cast(int, counted["tokens"].max())),
        *_costs(told),
    )


def _costs(told: dict[str, Any]) -> tuple[tuple[str, ...]]:
    """What the manifest says of cut records and of the price, in sentences."""
    lines = []
    if told.get("max_length") is not None:
        lines.append(
            f"{int(told['over_length']):,} records are longer than training.max_length ({told['max_length']:,})."
        )
    if told.get("train_tokens") is not None:
        lines.append(f"One epoch over train reads {int(told['train_tokens']):,} tokens.")
    if told.get("cost") is not None:
        lines.append(
            f"{told['epochs']} epochs cost about {told['cost']:,.2f} {told['currency']} at the spec's price."
        )
    return (tuple(lines),)


def _rights(manifest: dict[str, Any]) -> str | None:
    """The licence of the release and what it is for, in a sentence; None where the manifest does not say."""
    rights = manifest.get("rights")
    if not rights:
        return None
    uses = ", ".join(rights["uses"]) or "none"
    return f"The release as a whole: {rights['license']}. Released for: {', '.join(rights['released_for'])}. Allowed: {uses}."


def _curve(context: Context, rows: pl.DataFrame, params: ReleaseParams) -> curve.Curve | None:
    """The learning curve over the released records. Of a large release only a part is read; ids are hashes, so that the
    first ones are a fair part."""
    if not params.task.answers_are_labels:
        return curve.learning_curve(rows.clear(), rows.clear(), params.task)
    parts = {
        s: rows.filter(pl.col("split") == s.value).sort("record_id") for s in (Split.TRAIN, Split.VALIDATION)
    }
    frames = [_with_messages(context, part.head(CURVE_RECORDS)) for part in parts.values()]
    found = curve.learning_curve(frames[0], frames[1], params.task)
    return replace(found, train_rows=parts[Split.TRAIN].height) if found.points else found


FEWEST_COMPARED = 100
"""Of fewer records the report does not count who says the same: a person reads them sooner than an encoder is fitted."""


def _alike(context: Context) -> AlikeFacts | None:
    """What dedup.semantic would find among the first records that dedup keeps and whose texts are still there."""
    params = cast(DedupParams, context.params[Step.DEDUP])
    joined = f"""FROM main."{Step.DEDUP}" d JOIN main."{Step.INGEST}" i ON i.record_id = d.record_id AND i.day = d.day
        WHERE d.kept AND i.messages IS NOT NULL"""
    kept = int(context.warehouse.query(f"SELECT count(*) AS n {joined}")["n"].item())
    if kept < FEWEST_COMPARED:
        return None
    rows = context.warehouse.query(
        f"""SELECT d.record_id, d.answer_key, i.messages, i.prompt_turns, i.rejected {joined}
        ORDER BY d.day, i.source_rank, d.record_id LIMIT {REPORTED}"""
    )  # fmt: skip
    schema: dict[str, pl.DataType | type[pl.DataType]] = {
        "record_id": pl.String, "answer_key": pl.String, "messages": MESSAGES, "prompt_turns": pl.Int32, "rejected": MESSAGES,
    }  # fmt: skip
    texts = pl.DataFrame(schema=schema)
    if rows.height:
        texts = rows.select(pl.col(name).cast(dtype) for name, dtype in schema.items())
    return AlikeFacts(
        would_drop(texts, params),
        kept,
        params.semantic is not None,
        params.ngram,
        params.near.threshold,
        shortest_found(params.ngram, params.near.threshold),
    )


def _with_messages(context: Context, rows: pl.DataFrame) -> pl.DataFrame:
    """record_id, messages (cleaned), label; without those whose text is gone by now."""
    ids = rows["record_id"].to_list()
    texts = context.warehouse.query(
        f"""SELECT record_id, messages FROM main."{Step.NORMALIZE}" WHERE messages IS NOT NULL
        AND record_id IN (SELECT unnest(?::VARCHAR[])) ORDER BY record_id""",
        [ids],
    ) if ids else pl.DataFrame()  # fmt: skip
    if texts.height == 0:
        texts = pl.DataFrame(schema={"record_id": pl.String, "messages": MESSAGES})
    return texts.with_columns(pl.col("messages").cast(MESSAGES)).join(
        rows.select("record_id", "label"), on="record_id"
    )


def _diff(context: Context, folder: Path, manifest: dict[str, Any]) -> tuple[DiffFacts | None, str | None]:
    before = release_reading.release_before(context, folder.name)
    if before is None:
        gone = release_reading.made_before(context, folder.name)
        keep = context.project.spec.release.keep
        kept = f" release.keep is {keep}." if keep is not None else ""
        return None, f"The release before, {gone[0]}, is not kept any more.{kept}" if gone else None
    try:
        old = release_reading.manifest_of(before)
        side = release_reading.side_of(before, old)
    except release_reading.UNREADABLE:
        return None, f"The folder of the release before, {before.name}, cannot be read."
    try:
        found = release_reading.compare((side, release_reading.side_of(folder, manifest)), old, manifest)
        facts = DiffFacts(
            before.name,
            str(old.get("created_at") or "an unknown time"),
            folder.name,
            found.rows.has_texts,
            found.rows.counts,
            found.causes,
            found.differences,
            incomplete_days((old, manifest)),
        )
        # Written once: a value that no page can show is found here, and stops nothing.
        diff_section(facts, None)
    except release_reading.UNREADABLE as error:
        return None, (
            f"The comparison with the release before, {before.name}, could not be made: one of the two manifests says what "
            f"this version cannot compare ({type(error).__name__})."
        )
    return facts, None
