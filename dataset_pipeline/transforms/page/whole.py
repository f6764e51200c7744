"""page: the newest release on one HTML page, for the people who answer for it.

Lives here: what the page says and in which order. Keep out: numbers (`assets.report_facts`), pieces of HTML
(`parts`, `plots`), the comparison with the release before (`diff`). Never text of a record; no clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dataset_pipeline.records import RELEASE, Split
from dataset_pipeline.transforms import curve as curves
from dataset_pipeline.transforms.amounts import Advice
from dataset_pipeline.transforms.page.alike import AlikeFacts, alike_section
from dataset_pipeline.transforms.page.diff import DiffFacts, diff_section
from dataset_pipeline.transforms.page.parts import (
    bar_row,
    bars,
    count,
    document,
    items,
    legend,
    note,
    paragraph,
    section,
    share,
    split_parts,
    table,
    text,
    tiles,
)
from dataset_pipeline.transforms.page.plots import Histogram, curve_svg, histogram_svg

VERSION = 3
"""Raised when the same facts make another page: what lies there is then written anew."""
MAX_LABELS = 200
"""Labels that get a bar; the rest is counted."""
MAX_DAYS = 30
"""Missing or stale days that are named."""


@dataclass(frozen=True)
class SourceShare:
    """A source under one licence, and how much of the release it is."""

    name: str
    kind: str
    license: str
    holder: str
    uses: str
    records: int


@dataclass(frozen=True)
class Lengths:
    """Tokens of the released records."""

    plot: Histogram
    counted_by: str
    median: int
    p95: int
    longest: int
    sentences: tuple[str, ...] = ()
    """What is cut, and what an epoch costs."""


@dataclass(frozen=True)
class ReleaseFacts:
    """The newest release in numbers."""

    name: str
    version: str
    created_at: str
    task_type: str
    days: tuple[str, str] | None
    ingested: int
    rejected: int
    splits: Mapping[str, int]
    labels: Mapping[str, Mapping[str, int]]
    """Label to split to records; empty where answers are no labels."""
    funnel: Sequence[tuple[str, int, int, Mapping[str, int]]]
    """step, in, kept, reason to dropped."""
    sources: Sequence[SourceShare]
    lengths: Lengths | None
    missing_days: Sequence[str]
    stale_days: Sequence[str]
    rights: str | None = None
    """The licence of the whole and its uses in a sentence."""

    @property
    def records(self) -> int:
        return sum(self.splits.values())


@dataclass(frozen=True)
class PageFacts:
    """All that the page says."""

    name: str
    release: ReleaseFacts | None
    problem: str | None
    """Why there is no release to show."""
    warnings: Sequence[str]
    """Checks that warned, a line each."""
    waiting: Mapping[str, Mapping[str, int]]
    """Step to reason to records."""
    queue_name: str
    advice: Advice | None
    curve: curves.Curve | None
    diff: DiffFacts | None
    """None for the first release."""
    diff_problem: str | None = None
    failures: Sequence[str] = ()
    """Checks that failed, a line each: of rows that the gate keeps out."""
    alike: AlikeFacts | None = None
    """Records that say the same in other words; None where nothing was looked at."""


def page(facts: PageFacts) -> str:
    """The page. The same facts give the same bytes."""
    release = facts.release
    if release is None:
        head = f"<h1>{text(facts.name)}</h1>" + note(facts.problem or "There is no release yet.")
        return document(facts.name, "\n".join([head, _waiting(facts), _warnings(facts)]))
    parts = [
        _head(release, facts),
        _content(release),
        _funnel(release),
        alike_section(facts.alike),
        _lengths(release.lengths) if release.lengths else "",
        _sources(release),
        _warnings(facts),
        _waiting(facts),
        _amounts(facts),
        diff_section(facts.diff, facts.diff_problem),
    ]
    return document(f"{release.name} {release.version}", "\n".join(part for part in parts if part))


def _head(release: ReleaseFacts, facts: PageFacts) -> str:
    days = f", collected {release.days[0]} to {release.days[1]}" if release.days else ""
    waiting = sum(n for reasons in facts.waiting.values() for n in reasons.values())
    return "\n".join(
        [
            f"<h1>{text(release.name)}</h1>",
            paragraph(f"Release {release.version} of {release.created_at}{days}", "quiet"),
            *_incomplete(release),
            tiles(
                [
                    (count(release.records), "records released"),
                    (share(release.records, release.ingested), f"of {count(release.ingested)} collected"),
                    (count(release.rejected), "rows that are no record"),
                    *([_checks(facts.failures, "failed")] if facts.failures else []),
                    _checks(facts.warnings, "warned"),
                    (count(waiting), "records that wait for a person"),
                ]
            ),
        ]
    )


def _checks(lines: Sequence[str], did: str) -> tuple[str, str]:
    return count(len(lines)), f"{'check' if len(lines) == 1 else 'checks'} that {did}"


def _incomplete(release: ReleaseFacts) -> list[str]:
    said = []
    for days, words in (
        (release.missing_days, "of which nothing is released"),
        (release.stale_days, "released with older rows"),
    ):
        if days:
            more = f" and {len(days) - MAX_DAYS} more" if len(days) > MAX_DAYS else ""
            plural = "day" if len(days) == 1 else "days"
            said.append(note(f"{len(days)} {plural} {words}: {', '.join(days[:MAX_DAYS])}{more}"))
    return said


_SPLIT_LEGEND = [(split.value, split.value) for split in Split]


def _content(release: ReleaseFacts) -> str:
    total, top = release.records, max([*release.splits.values(), 1])
    rows = [
        bar_row(name, [(name, n)], top, f"{count(n)} · {share(n, total)}")
        for name, n in release.splits.items()
    ]
    parts = [bars(rows)]
    if release.labels:
        sums = {label: sum(by.values()) for label, by in release.labels.items()}
        ordered = sorted(sums, key=lambda label: (-sums[label], label))
        most = max([*sums.values(), 1])
        lines = [
            bar_row(
                name,
                split_parts(release.labels[name]),
                most,
                f"{count(sums[name])} · {share(sums[name], total)}",
            )
            for name in ordered[:MAX_LABELS]
        ]
        plural = "label" if len(ordered) == 1 else "labels"
        parts += [f"<h3>{count(len(ordered))} {plural}</h3>", legend(_SPLIT_LEGEND), bars(lines)]
        if len(ordered) > MAX_LABELS:
            parts.append(
                paragraph(f"and {count(len(ordered) - MAX_LABELS)} labels with fewer records", "quiet")
            )
    return section("What is in it", *parts)


def _funnel(release: ReleaseFacts) -> str:
    top = max([rows_in for _, rows_in, _, _ in release.funnel] or [1])
    rows = []
    for step, rows_in, kept, dropped in release.funnel:
        ordered = sorted(dropped.items(), key=lambda pair: (-pair[1], pair[0]))
        reasons = ", ".join(f"{reason} {count(n)}" for reason, n in ordered)
        lost = max(0, rows_in - kept)
        more = f"− {count(lost)}: {reasons}" if reasons else ""
        rows.append(bar_row(step, [("train", kept), ("dropped", lost)], top, count(kept), more))
    return section(
        "From collected to released",
        legend([("train", "goes on"), ("dropped", "stays behind: its reasons and numbers below the bar")]),
        bars(rows, many=len(rows)),
        paragraph(
            "dropped.parquet of the release names each of them with its step, its reason and what was measured.",
            "quiet",
        ),
    )


def _lengths(lengths: Lengths) -> str:
    return section(
        "Lengths",
        paragraph(
            f"Tokens of a record by {lengths.counted_by}: median {count(lengths.median)}, 95 % have at most "
            f"{count(lengths.p95)}, the longest has {count(lengths.longest)}."
        ),
        *(paragraph(sentence) for sentence in lengths.sentences),
        legend(_SPLIT_LEGEND),
        histogram_svg(lengths.plot, "tokens"),
    )


def _sources(release: ReleaseFacts) -> str:
    total = release.records
    rows = [
        (s.name, s.kind, s.license, s.holder, s.uses.replace(",", ", "), s.records, share(s.records, total))
        for s in release.sources
    ]
    heads = ("source", "kind", "licence", "holder", "uses", "records", "share")
    whole = paragraph(release.rights) if release.rights else ""
    return section("Sources and rights", whole, table(heads, rows, numbers=(5, 6)))


def _warnings(facts: PageFacts) -> str:
    title = "Checks that failed or warned"
    lines = [*(f"failed: {line}" for line in facts.failures), *(f"warned: {line}" for line in facts.warnings)]
    if not lines:
        return section(title, paragraph("Every check passed." if facts.release else "None so far."))
    kept_out = "What failed is kept out of the release until it passes."
    return section(title, items(lines), paragraph(kept_out, "quiet") if facts.failures else "")


def _waiting(facts: PageFacts) -> str:
    rows = [
        ("release: withheld" if step == RELEASE else step, reason, n)
        for step, reasons in facts.waiting.items()
        for reason, n in sorted(reasons.items())
    ]
    if not rows:
        return section("What waits for a person", paragraph("Nothing waits."))
    link = f'<p><a href="{text(facts.queue_name)}">{text(facts.queue_name)}</a>: each of them, with room for an answer.</p>'
    return section("What waits for a person", table(("step", "reason", "records"), rows, numbers=(2,)), link)


def _amounts(facts: PageFacts) -> str:
    if facts.advice is None and facts.curve is None:
        return ""
    parts = [paragraph(sentence) for sentence in (facts.advice.sentences if facts.advice else ())]
    if facts.curve is not None:
        parts.append(paragraph(curves.words(facts.curve)))
        if facts.curve.points:
            points = [(p.size, p.accuracy, p.macro_f1) for p in facts.curve.points]
            parts += [
                curve_svg(points, facts.curve.error_points / 100, facts.curve.majority_share),
                paragraph(
                    f"Solid: accuracy, with the band in which chance moves it; dashed: macro F1; dotted: the most "
                    f"frequent label alone. Baseline: {facts.curve.baseline}. The test split is not looked at.", "quiet",
                ),
            ]  # fmt: skip
    return section("Is it enough?", *parts)
