"""The report: what waits for a person as `review_queue.csv`, and the newest release as `report.html`, beside the spec.

Lives here: which records wait, their texts with personal data replaced, the two files. Keep out: what a row of the queue
looks like (`transforms.queue`), what the page says (`transforms.page`, numbers `report_facts`), taking the answers in
(`reviewing`).
"""

from __future__ import annotations

import html
import re
import time
from pathlib import Path
from typing import cast

import polars as pl

from dataset_pipeline.assets import recipes
from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.differences import settings_of
from dataset_pipeline.assets.engine import DayCounts, GateClosed, Outcome, check_rows
from dataset_pipeline.assets.redacting import FOUND_BY, found_by, with_values
from dataset_pipeline.assets.release_reading import made_before, release_before
from dataset_pipeline.assets.report_facts import checks_now, page_facts
from dataset_pipeline.assets.scrubbing import helpers_of
from dataset_pipeline.expectations.gate import adjusted, judge
from dataset_pipeline.expectations.text_audit import left_entities
from dataset_pipeline.expectations.undated import REPORT_SUITE, report_frames
from dataset_pipeline.progress import REPORTER
from dataset_pipeline.records import DAILY_STEPS, RELEASE, REPORT, REVIEWS, Step, sha256_text
from dataset_pipeline.spec.params import LabelParams, NormalizeParams, ReportParams
from dataset_pipeline.storage import files, frames, readers
from dataset_pipeline.storage.locks import hold_run_lock
from dataset_pipeline.storage.publishing import Day, NewPublication
from dataset_pipeline.storage.release_checks import MANIFEST
from dataset_pipeline.transforms import queue, redaction, selection
from dataset_pipeline.transforms.normalize import normalize
from dataset_pipeline.transforms.page.whole import VERSION as PAGE_VERSION
from dataset_pipeline.transforms.page.whole import page


def waiting(context: Context) -> pl.DataFrame:
    """frames.WAITING of everything that waits for a person now: set aside by a step, or withheld by the release."""
    set_aside = frames.waiting(context.warehouse)
    params = cast(LabelParams, context.params[Step.LABEL])
    if not (params.answers_are_labels or params.has_pairs):
        return set_aside
    known = frames.labelled(context.warehouse)
    held = selection.select(
        known, context.warehouse.table(Step.LABEL), params.answers_are_labels,
        context.warehouse.table(Step.DEDUP), params.has_pairs,
    ).withheld  # fmt: skip
    withheld = held.join(known, on="record_id").with_columns(step=pl.lit(RELEASE))
    return pl.concat([set_aside, withheld.select(*frames.WAITING)])


def counts(waiting: pl.DataFrame) -> dict[str, dict[str, int]]:
    """Step to reason to the number of records in `waiting`."""
    found: dict[str, dict[str, int]] = {}
    for step, reason, n in waiting.group_by("step", "reason").len().sort("step", "reason").iter_rows():
        found.setdefault(step, {})[reason] = n
    return found


def report_recipe(context: Context, latest: recipes.Latest) -> recipes.Recipe:
    """What the queue would be made of now: the verdicts of all steps that set records aside, and the erasures."""
    reads = {
        f"{step} {day}": p.content
        for (step, day), p in sorted(latest.items(), key=str)
        if step in (*DAILY_STEPS, REVIEWS)
    }
    reads[FOUND_BY] = found_by()
    return recipes.recipe(REPORT, context.params[REPORT].hash(), reads)


def page_recipe(context: Context, latest: recipes.Latest) -> str:
    """Hash of what the page would be made of now: the queue, the newest release, the one before it, the checks
    that failed or warned.

    It stands in the page itself and not in the publication: which release came before is history, and two ways to the same
    release shall publish the same.
    """
    reads = [report_recipe(context, latest).hash, f"{PAGE_VERSION} {recipes.library_version('scikit-learn')}"]
    release = latest.get((RELEASE, None))
    if release is not None:
        # Its recipe too: what only changes what is said of it, such as training.aim, changes no file.
        before = release_before(context, release.content)
        reads += [
            release.content,
            release.recipe,
            _manifest_sha(context.project.releases_path / release.content),
            f"{before.name} {_manifest_sha(before)}" if before is not None else "no release before",
            *([] if before is not None else made_before(context, release.content)[:1]),
        ]
    checks = checks_now(context)
    return sha256_text(*reads, "failed", *checks.failed, "warned", *checks.warned)


def _manifest_sha(folder: Path) -> str:
    """What the page reads of a release: a manifest that was mended, or is gone, makes another page."""
    path = folder / MANIFEST
    try:
        return readers.file_sha256(path)[0] if path.is_file() else "gone"
    except OSError:
        return "cannot be read"


_MADE_OF = "\n<!-- made of {recipe}, as {sha} -->\n"


def _signed(shown: str, recipe: str) -> str:
    """The page with what it was made of, and its own hash, in a last comment."""
    return shown + _MADE_OF.format(recipe=recipe, sha=sha256_text(shown))


def _is_page_current(context: Context, latest: recipes.Latest) -> bool:
    """Whether the page that lies there was made of what is published now, and is as it was written."""
    try:
        text = context.project.report_path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False
    shown = text[: text.rfind("\n<!-- made of ")]
    return text == _signed(shown, page_recipe(context, latest))


def is_reported(context: Context, latest: recipes.Latest) -> bool:
    """Whether the queue and the page that lie there were made of what is published now."""
    published = latest.get((REPORT, None))
    now = report_recipe(context, latest)
    is_queued = (
        published is not None and published.recipe == now.hash and published.content == _content(context)
    )
    return is_queued and _is_page_current(context, latest)


def _content(context: Context) -> str:
    path = context.project.queue_path
    return readers.file_sha256(path)[0] if path.is_file() else "nothing waits"


def run_report(context: Context, run_id: str) -> Outcome:
    """Write the queue and the page anew. Raises GateClosed, and writes neither, where one would hold personal data or the
    queue would lack a waiting record."""
    started = time.monotonic()
    hold_run_lock(context.warehouse.path)
    params = cast(ReportParams, context.params[REPORT])
    latest = context.warehouse.latest()
    if is_reported(context, latest):
        seconds = time.monotonic() - started
        REPORTER.get().step_finished(REPORT, seconds, 0, 0, "up to date")
        rows_waiting = latest[(REPORT, None)].row_count
        same: dict[Day, DayCounts] = {None: DayCounts(rows_waiting, 0, {})}
        return Outcome(
            REPORT, (None,), (), same, (), seconds, ("up to date: the same queue and page lie there",)
        )
    now = report_recipe(context, latest)
    with context.warehouse.reading():
        listed = waiting(context)
        sides = selection.contradicting(context.warehouse.table(Step.LABEL))
    rows = queue.queue(_with_texts(context, listed, params), sides)
    REPORTER.get().phase(REPORT, "writing the page")
    shown = _without_personal_data(page(page_facts(context, latest, counts(listed), checks_now(context))))
    judgements = judge(
        adjusted(REPORT_SUITE, params.gates), *report_frames(rows, listed.height, visible_texts(shown))
    )
    checks = check_rows(REPORT, judgements)
    if any(j.blocks for j in judgements):
        context.warehouse.record_checks(checks, [None], run_id)
        raise GateClosed(REPORT, ["all"], judgements)  # type: ignore[list-item]
    path = context.project.queue_path
    if rows.height:
        files.replace_file(path, queue.to_csv(rows))
    else:
        path.unlink(missing_ok=True)
    text = _signed(shown.encode("utf-8", "replace").decode(), page_recipe(context, latest))
    files.replace_file(context.project.report_path, text.encode())
    content = _content(context)
    new = NewPublication(
        None, now.hash, content, content, now.params_hash, now.inputs, rows.height, rows.height
    )
    context.warehouse.record_release(
        new, checks, run_id, REPORT, settings=settings_of(context, REPORT), seconds=time.monotonic() - started
    )
    seconds = time.monotonic() - started
    waits = f"{rows.height} records wait in {path.name}" if rows.height else "nothing waits for a review"
    note = f"{waits}; the release on a page: {context.project.report_path.name}"
    REPORTER.get().step_finished(REPORT, seconds, 0, 0, note)
    reasons = {f"{step} {reason}": n for step, by in counts(listed).items() for reason, n in by.items()}
    counted: dict[Day, DayCounts] = {None: DayCounts(rows.height, 0, reasons)}
    published: dict[Day, str] = {None: now.hash}
    return Outcome(REPORT, (None,), (None,), counted, tuple(judgements), seconds, (note,), published)


NOT_SHOWN = "(not shown: personal data may be left in it)"


_VISIBLE = re.compile(r">([^<>]+)<")
"""A text between two tags. All that is not ours is escaped, so that no other sign can open or close one."""


def visible_texts(shown: str) -> list[str]:
    """The texts that a page shows, as a reader sees them."""
    body = shown[shown.find("<body>") :]
    return [html.unescape(found) for found in _VISIBLE.findall(body)]


def _without_personal_data(shown: str) -> str:
    """The page with names as they are shown: a label, a file or a source may be called anything."""

    def safe(found: re.Match[str]) -> str:
        text = html.unescape(found.group(1))
        if left_entities(name := redaction.shown(text)):
            return f">{NOT_SHOWN}<"
        return found.group() if name == text else f">{html.escape(name)}<"

    return _VISIBLE.sub(safe, shown)


def _shown(turns: pl.Expr, params: ReportParams) -> pl.Expr:
    """Turns in which what the scrubber may have missed is not shown at all: a queue goes from hand to hand.

    An answer that should be a label is not scrubbed as a text; one that nobody knows may be anything.
    """

    def safe(text: str) -> str:
        return NOT_SHOWN if left_entities(text) else text

    role, content = pl.element().struct.field("role"), pl.element().struct.field("content")
    if params.answers_are_labels:
        label = content.map_elements(redaction.shown, return_dtype=pl.String)
        content = pl.when(role == "assistant").then(label).otherwise(content)
    content = content.map_elements(safe, return_dtype=pl.String)
    return turns.list.eval(pl.struct(role, content.alias("content")))


_TEXTS = ("record_id", "day", "messages", "prompt_turns", "rejected", "person_names", "content_sha")


def _with_texts(context: Context, rows: pl.DataFrame, params: ReportParams) -> pl.DataFrame:
    """`rows` with messages, prompt_turns and rejected as collected, cleaned, personal data replaced."""
    collected = frames.collected(context.warehouse, rows["record_id"].unique().to_list())
    cleaning = NormalizeParams(answers_are_labels=params.answers_are_labels, languages=(), pii=params.pii)
    clean = normalize(
        collected.select(_TEXTS),
        cleaning,
        context.memo(Step.NORMALIZE),
        helpers_of(context.project, params.pii),
    )
    texts = clean.select("record_id", "messages", "rejected").join(
        collected.select("record_id", "prompt_turns", "label"), on="record_id"
    )
    texts = texts.with_columns(_shown(pl.col(name), params) for name in ("messages", "rejected"))
    whole = rows.join(texts, on="record_id", how="left", maintain_order="left")
    # Whatever the dataset keeps: a queue goes from hand to hand.
    return with_values(whole, params.pii, context.memo(Step.NORMALIZE))
