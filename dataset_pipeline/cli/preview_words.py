"""What a change of settings would do, in words, tables and bars.

Lives here: how `preview` shows every step but split. Keep out: the output itself (`preview_change`).
"""

from __future__ import annotations

from rich.console import Console

from dataset_pipeline.cli.preview_change import RELEASED, ChangePreview, ReleasedPart, Shown
from dataset_pipeline.cli.published import MAX_LABELS, print_rest, print_table

BAR = 20
"""Characters of a whole bar."""


def print_change(out: Console, found: ChangePreview) -> None:
    """In words and tables. On a terminal the label balance has bars."""
    if not found.steps:
        return
    total, first = found.total, found.steps[0].name
    out.print(f"{first} keeps {total.kept_then} of {total.records} records instead of {total.kept_now}: "
              f"{total.back} come back, {total.gone} go")  # fmt: skip
    several = len({rule.step for rule in found.rules}) > 1
    print_table(out, ("dropped by", "now", "then", "change"),
        [(f"{r.step} {r.name}" if several else r.name, str(r.now), str(r.then), _signed(r.then - r.now)) for r in found.rules])  # fmt: skip
    for title, group in (("source", found.sources), ("label", found.labels)):
        if group:
            cells = [
                (p.name, *map(str, (p.records, p.kept_now, p.kept_then, p.back, p.gone)))
                for p in group[:MAX_LABELS]
            ]
            print_table(out, (title, "records", "kept now", "then", "back", "gone"), cells)
            print_rest(out, title, len(group))  # fmt: skip
    _print_later(out, found)
    if found.texts_changed:
        out.print(f"{found.texts_changed} records are kept with another text")
    now, then = sum(p.now for p in found.splits), sum(p.then for p in found.splits)
    if found.splits:
        out.print(f"release: {then} records instead of {now}")
        print_table(out, ("split", "now", "then", "back", "gone"),
            [(p.name, *map(str, (p.now, p.then, p.back, p.gone))) for p in found.splits])  # fmt: skip
    if found.balance:
        _print_balance(out, found.balance)
    for title, records in (("come back", found.back), ("go", found.gone)):
        if records:
            out.print(f"examples that {title}:")
            for record in records:
                _print_record(out, record)


def _print_later(out: Console, found: ChangePreview) -> None:
    if found.later:
        words = [
            f"{part.records} {' '.join(w for w in (part.step, part.reason) if w) or RELEASED}"
            for part in found.later
        ]
        out.print(f"of those that come back: {', '.join(words)}")
    if found.beside:
        words = [
            f"{part.records} {part.way} ({' '.join(w for w in (part.step, part.reason) if w)})"
            for part in found.beside
        ]
        out.print(f"of other records: {', '.join(words)}")  # fmt: skip
    if found.measured.arrived:
        out.print(f"measured by later steps: {found.measured.measured} of {found.measured.arrived} records")


def _signed(number: int) -> str:
    return f"{number:+d}" if number else ""


def _print_balance(out: Console, balance: list[ReleasedPart]) -> None:
    bars = out.is_terminal
    largest = max((max(p.share_now, p.share_then) for p in balance), default=0.0) or 1.0
    columns = (
        "label",
        "now",
        "share",
        *([""] if bars else []),
        "then",
        "share",
        *([""] if bars else []),
        "change",
    )
    rows = []
    for part in balance[:MAX_LABELS]:
        cells = [part.name]
        for number, share in ((part.now, part.share_now), (part.then, part.share_then)):
            bar = "█" * round(BAR * share / largest)
            cells += [str(number), f"{share:.1%}", *([bar.ljust(BAR, "░")] if bars else [])]
        difference = (part.share_then - part.share_now) * 100
        rows.append((*cells, f"{difference:+.1f}" if abs(difference) >= 0.05 else ""))
    print_table(out, columns, rows)
    print_rest(out, "label", len(balance))  # fmt: skip


def _print_record(out: Console, record: Shown) -> None:
    facts = " ".join(word for word in (record.source, record.day, record.split, record.label) if word)
    why = " ".join(word for word in (record.step, record.reason) if word)
    then = f", then {record.becomes}" if record.becomes != "gone" else ""
    out.print(f"  {record.record_id} ({facts}): {why}{then}")
    for name, text in (("prompt", record.prompt), ("answer", record.answer), ("rejected", record.rejected)):
        if text is not None:
            out.print(f"    {name}: {text}")
