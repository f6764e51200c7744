"""The comparison with the release before, as a section of the report page.

Lives here: which counts and causes are shown. Keep out: comparing (`comparing`), causes (`causes`). No ids: `diff` of
the command line lists them all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dataset_pipeline.transforms.diff import comparing
from dataset_pipeline.transforms.diff.comparing import Differences
from dataset_pipeline.transforms.diff.tallies import Tally
from dataset_pipeline.transforms.diff.words import UNKNOWN, days_words, value_words
from dataset_pipeline.transforms.page.parts import count, paragraph, section, table, text, tiles

MAX_ROWS = 25
"""Of a table of the section; the rest is counted."""
MAX_VALUE_CHARS = 80

_COUNTED = ("before", "after", "in", "out", "changed", "moved")


@dataclass(frozen=True)
class DiffFacts:
    """What differs from the release before."""

    before: str
    created_at: str
    after: str
    has_texts: bool
    counts: Mapping[str, Mapping[str, Mapping[str, int]]]
    """As in comparing.Comparison."""
    causes: Sequence[Tally]
    differences: Differences
    incomplete: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)
    """`missing` and `stale` to the days of the one release and of the other."""


def diff_section(facts: DiffFacts | None, problem: str | None) -> str:
    title = "Since the release before"
    if facts is None:
        return section(title, paragraph(problem or "This is the first release: there is none before it."))
    whole = facts.counts[comparing.SPLIT].values()
    total = {name: sum(part[name] for part in whole) for name in _COUNTED}
    parts = [
        f"<p>Compared with release <code>{text(facts.before)}</code> of {text(facts.created_at)}. "
        f"<code>dataset-pipeline diff {text(facts.before)} {text(facts.after)}</code> names every record.</p>",
        tiles([(count(total[name]), f"{name}") for name in ("in", "out", "changed", "moved")]),
        "" if facts.has_texts else paragraph("Not both carry hashes of their texts: compared by label and split only.", "quiet"),
        _causes(facts.causes),
        *(_counts(title, facts.counts[key]) for title, key in (("Source", "source"), ("Label", "label"), ("Split", "split"))),
        _incomplete(facts.incomplete),
        _manifests(facts.differences),
    ]  # fmt: skip
    return section(title, *parts)


def _causes(causes: Sequence[Tally]) -> str:
    if not causes:
        return ""
    rows = [(one.kind, one.rows, _what(one), _because(one)) for one in causes[:MAX_ROWS]]
    left = sum(one.rows for one in causes[MAX_ROWS:])
    more = (
        paragraph(f"and {count(left)} rows by {count(len(causes) - MAX_ROWS)} rarer causes", "quiet")
        if left
        else ""
    )
    return "<h3>Why</h3>" + table(("", "records", "what", "because"), rows, numbers=(1,)) + more


def _what(one: Tally) -> str:
    words = {comparing.NOT_COLLECTED: "not collected any more", comparing.COLLECTED_SINCE: "collected since"}
    reason = words.get(one.reason, one.reason)
    return f"{one.step} {reason}" if one.step else reason


def _because(one: Tally) -> str:
    return one.because if one.cause == UNKNOWN else f"{one.cause.replace('_', ' ')}: {one.because}"


def _counts(title: str, counts: Mapping[str, Mapping[str, int]]) -> str:
    """A line for each value of which something differs, the most differences first."""
    differing = {name: n for name, n in counts.items() if any(n[key] for key in _COUNTED[2:])}
    if not differing:
        return ""
    ordered = sorted(differing, key=lambda name: (-sum(differing[name][key] for key in _COUNTED[2:]), name))
    rows = [(name, *(differing[name][key] for key in _COUNTED)) for name in ordered[:MAX_ROWS]]
    more = paragraph(f"and {count(len(ordered) - MAX_ROWS)} more", "quiet") if len(ordered) > MAX_ROWS else ""
    return (
        f"<h3>By {title.lower()}</h3>" + table((title.lower(), *_COUNTED), rows, numbers=range(1, 7)) + more
    )


def _manifests(found: Differences) -> str:
    spec = [
        (leaf.path, *(_value(leaf.path, value) for value in (leaf.before, leaf.after))) for leaf in found.spec
    ]
    files = [(i.change, i.uri, i.source, i.day) for i in found.inputs]
    versions = [(leaf.path, value_words(leaf.before), value_words(leaf.after)) for leaf in found.versions]
    return "".join(
        _listed(title, heads, rows)
        for title, heads, rows in (
            ("Spec", ("key", "before", "after"), spec),
            ("Files", ("", "file", "source", "day"), files),
            ("Versions", ("name", "before", "after"), versions),
        )
    )


def _incomplete(days: Mapping[str, Sequence[Sequence[str]]]) -> str:
    """The days of which a release has nothing, or older rows, where one of the two has such days."""
    rows = [(word, *map(days_words, sides)) for word, sides in days.items() if any(sides)]
    return "<h3>Incomplete days</h3>" + table(("", "before", "after"), rows) if rows else ""


def _value(path: str, value: object) -> str:
    # A handwritten example is a text, not a setting.
    return (
        "(a text)"
        if path.startswith("task.examples") and value is not None
        else value_words(value, MAX_VALUE_CHARS)
    )


def _listed(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    more = paragraph(f"and {count(len(rows) - MAX_ROWS)} more", "quiet") if len(rows) > MAX_ROWS else ""
    return f"<h3>{text(title)}</h3>" + table(heads, rows[:MAX_ROWS]) + more
