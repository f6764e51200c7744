"""`python -m benchmarks.contamination`: evaluation items in training data, ours beside datatrove: speed and verdicts.

Lives here: what is counted, the tables. Keep out: the texts (`contaminated`), processes (`runners`), what a peer does
(`peers/`).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import contaminated, runners
from benchmarks.contaminated import Case
from benchmarks.planted import WORD

ROWS = 100_000
COPIES = "ours, copies only"
"""Without the search for rewordings: the work that datatrove does, so the like for like of speed."""
SCRIPTS = {
    runners.OURS: (runners.OURS, "contamination_ours.py"),
    COPIES: (runners.OURS, "contamination_ours.py"),
    "datatrove": ("datatrove", "contamination_datatrove.py"),
}
"""Contender to its environment and its runner."""


def speed(scratch: Path, data: Path, count: int, chosen: Sequence[str]) -> dict[str, Any]:
    """Seconds, memory, and of the planted copies of 13 words or more the share that was found."""
    rows, items, planted = contaminated.large(data, count)
    given = {
        "texts": str(contaminated.lay(scratch / "corpus.jsonl", rows)),
        "items": str(contaminated.lay(scratch / "items.jsonl", items)),
    }
    size = Path(given["texts"]).stat().st_size
    figures = {}
    for name in chosen:
        runners.say(f"speed: {name}, {count:,} records")
        result = runners.run(*SCRIPTS[name], [given | {"copies_only": name == COPIES}])[0]
        dropped = {row for row, kind, _ in result["verdicts"] if kind == "contaminated"}
        marked = {row for row, *_ in result["verdicts"]}
        figures[name] = {
            **{key: result[key] for key in ("seconds", "cpu_seconds", "peak_mib")},
            "found": len(dropped & planted) / max(len(planted), 1),
            "contaminated_others": len(dropped - planted),
            "suspects_others": len(marked - dropped - planted),
        }
    return {
        "records": count, "bytes": size, "items": len(items), "sets": len({item.set for item in items}),
        "planted": len(planted), "contenders": figures,
    }  # fmt: skip


def verdicts(scratch: Path, cases: Sequence[Case], chosen: Sequence[str]) -> list[dict[str, Any]]:
    """Of each case and contender: the shares of rows that are contaminated, suspects, and marked with their own item."""
    tasks = []
    for number, case in enumerate(cases):
        texts = contaminated.lay(scratch / f"case{number}.jsonl", case.rows)
        items = contaminated.lay(scratch / f"case{number}.items.jsonl", case.items)
        tasks.append({"texts": str(texts), "items": str(items), "copies_only": False})
    told = []
    for name in chosen:
        runners.say(f"verdicts: {name}")
        for case, result in zip(cases, runners.run(*SCRIPTS[name], tasks), strict=True):
            told.append({"contender": name} | counted(case, result["verdicts"]))
    return told


def counted(case: Case, found: Sequence[tuple[int, str, str | None]]) -> dict[str, Any]:
    """Rows without text do not count. `own`: marked in any way, with the item that the row comes from (null where none
    is named)."""
    rows = {number for number, row in enumerate(case.rows) if row.prompt or row.answer}
    kinds = {row: kind for row, kind, _ in found if row in rows}
    # Items of a set may say the same: then any of them is its own.
    texts = [" ".join(WORD.findall(item.text.casefold())) for item in case.items]
    own = (
        [item and texts[int(item)] == texts[row] for row, _, item in found if row in rows] if case.own else []
    )
    dropped = sum(kind == "contaminated" for kind in kinds.values())
    return {
        "case": case.name, "wanted": case.wanted, "rows": len(rows), "contaminated": dropped,
        "suspects": len(kinds) - dropped, "marked_share": len(kinds) / max(len(rows), 1),
        "own_share": sum(map(bool, own)) / max(len(rows), 1) if any(own) else None,
    }  # fmt: skip


# --- tables -------------------------------------------------------------------------------


def speed_table(figures: dict[str, Any]) -> str:
    contenders = figures["contenders"]
    own = contenders.get(runners.OURS, next(iter(contenders.values())))
    rows = [
        [
            name, f"{one['seconds']:.2f}", f"{one['seconds'] / own['seconds']:.1f}", f"{one['cpu_seconds']:.2f}",
            f"{one['cpu_seconds'] / own['cpu_seconds']:.1f}", f"{one['peak_mib']:,.0f}", f"{one['found']:.4f}",
            f"{one['contaminated_others']:,}", f"{one['suspects_others']:,}",
        ]
        for name, one in contenders.items()
    ]  # fmt: skip
    title = f"{figures['records']:,} records, {figures['sets']} sets"
    head = [title, "s", "ratio", "CPU s", "ratio", "peak MiB", "planted found", "others contaminated", "others suspect"]  # fmt: skip
    return runners.markdown(head, rows)


def verdict_table(told: Sequence[dict[str, Any]]) -> str:
    """A line a case: of each contender contaminated / suspect / share marked, and of ours the share of own items."""
    names = list(dict.fromkeys(row["contender"] for row in told))
    by_case: dict[str, dict[str, dict[str, Any]]] = {}
    for row in told:
        by_case.setdefault(row["case"], {})[row["contender"]] = row
    body = []
    for case, rows in by_case.items():
        first = next(iter(rows.values()))
        cells = [case, first["wanted"], f"{first['rows']:,}"]
        for name in names:
            row = rows[name]
            own = f" ({row['own_share']:.4f} own)" if row["own_share"] is not None else ""
            cells.append(f"{row['contaminated']:,} / {row['suspects']:,} / {row['marked_share']:.4f}{own}")
        body.append(cells)
    head = ["case", "wanted", "rows", *(f"{name}: contaminated / suspect / share marked" for name in names)]
    return runners.markdown(head, body, left=2)


def goal_table(told: Sequence[dict[str, Any]]) -> str:
    """What the cases come to for ours, beside the goals."""
    own = [row for row in told if row["contender"] == runners.OURS]

    def least(*ends: str) -> float:
        return min(
            float(row["own_share"] or row["marked_share"]) for row in own if row["case"].endswith(ends)
        )

    def named(case: str) -> str:
        row = next(row for row in own if row["case"].startswith(case))
        return f"{row['marked_share']:.4f} ({row['own_share'] or 0.0:.4f} with their own item)"

    idioms = sum(row["contaminated"] for row in own if row["wanted"] == "idioms")
    wrong = max(row["marked_share"] for row in own if row["wanted"] in ("idioms", "clean"))
    rows = [
        ["copies, least share of any set", "1.000", f"{least(', copies', 'gsm8k train'):.4f}"],
        ["reformatted, least share of any set", "1.000", f"{least(', reformatted'):.4f}"],
        ["idioms contaminated, rows", "0", str(idioms)],
        ["gsm8k rephrased", "0.92", named("rephrase_gsm8k")],
        ["humaneval rephrased, Python", "0.65", named("humaneval_python")],
        ["humaneval rephrased, JavaScript", "", named("humaneval_js")],
        ["clean rows marked, largest share", "0.01", f"{wrong:.4f}"],
    ]
    return runners.markdown(["ours", "goal", "measured"], rows)


# --- command line -------------------------------------------------------------------------


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = runners.options("contamination", __doc__)
    parser.add_argument("--rows", type=int, default=ROWS, help="records of the speed part (default: 100000)")
    parser.add_argument("--only", action="append", choices=sorted(SCRIPTS), help="may be repeated")
    parser.add_argument("--part", action="append", choices=["speed", "verdicts"], help="may be repeated")
    found = runners.given_to(parser, given)
    found.part = found.part or ["speed", "verdicts"]
    if found.rows < 100:
        parser.error("--rows must be 100 or more: below that nothing is planted")
    return found


def main(given: Sequence[str] | None = None) -> int:
    options = arguments(given)
    chosen = [name for name in SCRIPTS if not options.only or name in options.only]
    for name in chosen:
        runners.interpreter(SCRIPTS[name][0])
    figures: dict[str, Any] = {"machine": runners.machine(sorted({SCRIPTS[name][0] for name in chosen}))}
    with tempfile.TemporaryDirectory(prefix="dataset-pipeline-contamination-") as folder:
        if "speed" in options.part:
            figures["speed"] = speed(Path(folder), options.data, options.rows, chosen)
            print(speed_table(figures["speed"]), end="\n\n", flush=True)
            _plot(figures["speed"], options.results)
        if "verdicts" in options.part:
            figures["verdicts"] = verdicts(
                Path(folder), contaminated.cases(options.data), [name for name in chosen if name != COPIES]
            )
            print(verdict_table(figures["verdicts"]))
            if runners.OURS in chosen:
                print("\n" + goal_table(figures["verdicts"]))
    runners.write("contamination", figures, options.results)
    return 0


def _plot(figures: dict[str, Any], results: Path) -> None:
    values = {name: one["seconds"] for name, one in figures["contenders"].items()}
    runners.draw(
        "contamination",
        f"{figures['items']:,} evaluation items among {figures['records']:,} records",
        values,
        results,
    )


if __name__ == "__main__":
    sys.exit(main())
