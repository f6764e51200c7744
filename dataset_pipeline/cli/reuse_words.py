"""What `check --reuse` says on a terminal: what fits, what does not and why, how to add it.

Lives here: words and tables. Keep out: computing anything (`reusing`).
"""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import yaml
from rich.console import Console

from dataset_pipeline.cli.published import print_table

if TYPE_CHECKING:
    from dataset_pipeline.cli.reuse_outputs import OriginOutput, ReuseOutput

SHOWN = 12
"""Rows and files of a kind that are shown; `--json` lists all."""
NAMES = 6
"""Names that are shown in a line."""

_STOPS = {
    "rights": "their rights do not allow it",
    "no_record": "they become no record",
    "duplicate": "your sources have them",
    "duplicate_inside": "the release has them twice",
    "language": "their language is none of yours",
    "contaminated": "they hold an item of your evaluation sets",
    "unknown_label": "their label is none of yours",
    "unlabelled": "they have no label",
}


def _shown(text: str) -> str:
    """Text that another project wrote, without what would steer a terminal."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def _say(out: Console, line: str) -> None:
    """A line in words; on a terminal it is broken between words, and goes on below its own beginning."""
    text = _shown(line)
    if not out.is_terminal:
        out.print(text)
        return
    below = " " * (len(text) - len(text.lstrip()) + 2)
    for part in textwrap.wrap(
        text, out.width, subsequent_indent=below, break_long_words=False, break_on_hyphens=False
    ):
        out.print(part)


def _table(out: Console, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print_table(out, columns, [[_shown(cell) for cell in row] for row in rows])


def print_reuse(out: Console, found: ReuseOutput) -> None:
    if not found.is_whole:
        for problem in found.problems:
            _say(out, f"{found.release}: {problem}")
        _say(out, f"{found.folder} is no whole release: nothing else is told of it. Restore it from a copy.")
        return
    assert found.task is not None and found.rights is not None
    _say(
        out,
        f"release {found.release} of {found.name}, offered to {found.spec}: whole, {_records(found.records)}",
    )
    _say(out, f"{found.fit} of {found.records} fit" + (":" if found.fit else ": nothing of it can be used."))
    for line in _fitting(found):
        _say(out, f"  {line}")
    if found.balance and found.fit:
        _print_balance(out, found)
    if found.fit < found.records:
        out.print()
        _say(out, f"{found.records - found.fit} do not fit:")
        for line in _stopping(found):
            _say(out, f"  {line}")
    if found.rights.do_not_fit:
        _print_rights(out, found)
    notes = list(_notes(found))
    if notes:
        out.print()
        _say(out, "mind:")
    for note in notes:
        _say(out, f"  {note}")
    if found.fit and found.source is not None:
        _print_entry(out, found)


def _records(count: int) -> str:
    return "1 record" if count == 1 else f"{count} records"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMES} more" if len(names) > NAMES else ""
    return f"{', '.join(names[:NAMES])}{more}"


def _counts(counts: dict[str, int]) -> str:
    return _some([f"{name} {n}" for name, n in counts.items()])


# --- what fits ----------------------------------------------------------------------------


def _fitting(found: ReuseOutput) -> Iterator[str]:
    task, rights, labels, languages = found.task, found.rights, found.labels, found.languages
    assert task is not None and rights is not None
    if task.reads_as is not None:
        becomes = (
            f"{task.release} becomes {task.spec}" if task.release != task.spec else f"both are {task.spec}"
        )
        yield f"task: {becomes}; read from {task.reads_as}/"
    if rights.fit:
        yield f"rights: {rights.fit} allow {', '.join(rights.wanted)}"
    if labels is not None and labels.in_both:
        known = sum(label.records for label in labels.in_both)
        renamed = [f"{one.label} as {one.becomes}" for one in labels.in_both if one.label != one.becomes]
        names = [one.becomes or "" for one in labels.in_both]
        yield f"labels in both: {len(dict.fromkeys(names))}, of {_records(known)}" + (
            f"; by another name: {_some(renamed)}" if renamed else ""
        )
    if languages is not None and languages.prompts:
        wanted = f"you keep {', '.join(languages.wanted)}" if languages.wanted else "you keep all"
        yield f"languages of prompts: {_counts(languages.prompts)}; {wanted}"
    if found.repeats is not None and found.repeats.compared:
        total = sum(found.repeats.compared.values())
        twins = sum(found.repeats.exact.values()) + sum(found.repeats.near.values())
        yield (
            f"new beside the {_records(total)} of your sources: {rights.fit - twins}"
            if rights.fit
            else (f"compared with {_records(total)} of your sources")
        )


def _print_balance(out: Console, found: ReuseOutput) -> None:
    rare = [one.label for one in found.balance if one.is_rare]
    most = sorted(found.balance, key=lambda one: -one.added)
    _table(
        out,
        ("label", "in your sources", "added", "share then", ""),
        [
            (one.label, str(one.sources), str(one.added), f"{one.share:.1%}", "rare" if one.is_rare else "")
            for one in most[:SHOWN]
        ],
    )
    if len(found.balance) > SHOWN:
        _say(out, f"and {len(found.balance) - SHOWN} more labels; --json lists all")
    if rare:
        _say(out, f"rare, below {found.enough} records, so that some split may get none: {_some(rare)}")


# --- what does not ------------------------------------------------------------------------


def _stopping(found: ReuseOutput) -> Iterator[str]:
    assert found.task is not None
    if found.task.reads_as is None:
        what = f"a release of type {found.task.release} cannot become {found.task.spec}"
        yield f"{found.records}  {what}: {'; '.join(found.task.why_not).rstrip('.')}"
        return
    width = len(str(found.records))
    for word, count in found.stopped.items():
        yield f"{count:>{width}}  {_STOPS[word]}{_more(found, word)}"


def _more(found: ReuseOutput, word: str) -> str:
    assert found.task is not None
    if word == "no_record" and found.task.refused:
        return f" ({_counts(found.task.refused)})"
    if word == "duplicate" and found.repeats is not None:
        exact, near = found.repeats.exact, found.repeats.near
        parts = [f"{n} {exact.get(n, 0)} exact, {near.get(n, 0)} near" for n in sorted({*exact, *near})]
        return (
            f" ({'; '.join(parts[:SHOWN])}{f'; and {len(parts) - SHOWN} more' if len(parts) > SHOWN else ''})"
        )
    if word == "duplicate_inside" and found.repeats is not None:
        return f" ({found.repeats.exact_inside} exact, {found.repeats.near_inside} near)"
    if word == "contaminated":
        held = {name: one for name, one in found.evaluation_sets.items() if one.contaminated or one.suspects}
        return f" ({_some([f'{n}: {one.contaminated} contaminated, {one.suspects} suspects' for n, one in held.items()])})"
    if word == "unknown_label" and found.labels is not None:
        only = {one.label: one.records for one in found.labels.only_release}
        return f" (in the release: {_counts(only)})"
    return ""


def _print_rights(out: Console, found: ReuseOutput) -> None:
    assert found.rights is not None
    _say(out, f"rights that lack a use of {', '.join(found.rights.wanted)}:")
    lacking = [one for one in found.rights.origins if one.missing]
    _table(
        out,
        ("source of the release", "records", "licence", "holder", "lacks"),
        [
            (one.source, str(one.records), one.license or "", one.holder or "", ", ".join(one.missing))
            for one in lacking[:SHOWN]
        ],
    )
    if len(lacking) > SHOWN:
        _say(out, f"and {len(lacking) - SHOWN} more; --json lists all")
    names = list(dict.fromkeys(one.source for one in lacking))
    remedy = (
        f"make the release again without {_some(names)}, or ask the holders."
        if found.rights.fit
        else "ask the holders."
    )
    _say(out, f"A source has one set of rights, the strictest of its records: before adding it, {remedy}")


# --- what to mind, and how to add it ------------------------------------------------------


def _notes(found: ReuseOutput) -> Iterator[str]:
    assert found.rights is not None and found.task is not None
    yield from _licence_notes(found.rights.origins)
    for line in found.rights.objections:
        yield f"rights: {line}"
    if found.labels is not None and found.labels.only_spec:
        yield f"labels of yours that no record has ({len(found.labels.only_spec)}): {_some(found.labels.only_spec)}"
    if found.repeats is not None and found.repeats.contradictions:
        count = _records(found.repeats.contradictions)
        yield f"{count} with another label than your sources give the same text: both sides would be withheld until a review"
    if found.rights.train_only:
        yield f"{_records(found.rights.train_only)} may train only: dropped where their group is validation or test"
    if found.fit and found.splits["test"]:
        yield (
            f"its test split ({_records(found.splits['test'])}, {found.fit_by_split['test']} of those that fit) would become training data, and nothing measured on it "
            "would count any more: leave it out, or protect it as an evaluation set"
        )
    if (
        found.languages is not None
        and found.languages.dropped is None
        and found.languages.wanted
        and found.task.reads_as
    ):
        yield "its provenance names no languages: what would be dropped for its language cannot be told"
    if found.repeats is not None and found.repeats.left_out:
        yield f"up to {found.repeats.left_out} comparisons of records with a shared template were left out (dedup.near.bucket_cap)"
    if found.repeats is not None and not found.evaluation_sets:
        yield "the spec protects nothing: whether the release holds items of your evaluation sets cannot be told"
    for line in found.not_compared:
        yield f"not compared: {line}"


def _licence_notes(origins: Sequence[OriginOutput]) -> Iterator[str]:
    asking: dict[str, str] = {}
    for one in origins:
        words = [*one.asks, *([] if one.is_known else ["what its own text says"])]
        if words:
            asking[one.license or "no licence"] = " and ".join(words)
    for licence in sorted(asking)[:SHOWN]:
        yield f"{licence} asks for {asking[licence]}"


def _print_entry(out: Console, found: ReuseOutput) -> None:
    assert found.source is not None
    entry: dict[str, Any] = found.source
    folder = str(PurePosixPath(str(entry["path"])).parent)
    out.print()
    _say(out, "to add it, run in the folder of your spec:")
    out.print(f"  mkdir -p {shlex.quote(folder)}")
    names = [shlex.quote(f"{found.folder}/{path}") for path in found.copy_files]
    for name in names[:SHOWN]:
        out.print(f"  cp {name} {shlex.quote(folder)}/")
    if len(names) > SHOWN:
        _say(out, f"  and {len(names) - SHOWN} more; --json lists all")
    _say(out, "and write below sources:")
    is_plain = _shown(repr(entry)) == repr(entry) and "\\u" not in repr(entry)
    # What would steer a terminal is escaped, as YAML writes it: the entry stays the same.
    for line in yaml.safe_dump([entry], sort_keys=False, allow_unicode=is_plain, width=100).splitlines():
        out.print(f"  {line}")
