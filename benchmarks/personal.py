"""`python -m benchmarks.personal`: personal data found in texts, ours beside plain Presidio: what is found, and how fast.

Lives here: what is counted, the tables. Keep out: the texts (`personal_texts`), processes (`runners`), who searches
(`peers/`).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import runners
from benchmarks.near import lay
from benchmarks.personal_texts import (
    ENTITIES,
    LETTER_ENTITIES,
    LETTERS,
    Labelled,
    labelled,
    letters,
    text_sets,
)

TEXTS = 2_000
REGISTRY = "Presidio with our recognizers"
PLAIN = "plain Presidio"
CONTENDERS = {
    runners.OURS: ("personal_ours.py", "ours"),
    REGISTRY: ("personal_ours.py", "registry"),
    PLAIN: ("personal_presidio.py", "plain"),
}
"""Contender to its runner and the way it is asked. All run in this environment: Presidio is a dependency."""

Spans = list[tuple[int, int, str]]


def searched(
    scratch: Path, name: str, texts: Sequence[str], contenders: Sequence[str], entities: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """The result of each contender on the same texts, a process each."""
    path = lay(scratch / "texts.jsonl", texts)
    results = {}
    for contender in contenders:
        script, way = CONTENDERS[contender]
        runners.say(f"{name}: {contender}")
        task = {"texts": str(path), "way": way, "entities": list(entities)}
        results[contender] = runners.run(runners.OURS, script, [task])[0]
    return results


def quality(
    rows: Sequence[Labelled], found: Sequence[Spans], entities: Sequence[str] = ENTITIES
) -> dict[str, dict[str, Any]]:
    """Of each entity: labelled spans, those that a finding of it overlaps, findings, and those that overlap a span."""
    told = {}
    for entity in entities:
        counts = {"labelled": 0, "found": 0, "findings": 0, "right": 0}
        for row, findings in zip(rows, found, strict=True):
            spans = [(start, end) for start, end, kind in row.spans if kind == entity]
            own = [(start, end) for start, end, kind in findings if kind == entity]
            counts["labelled"] += len(spans)
            counts["found"] += sum(_meets(span, own) for span in spans)
            counts["findings"] += len(own)
            # A finding is right that overlaps a span of its entity, PERSON one of PERSON_OTHER too.
            allowed = [
                (start, end) for start, end, kind in row.spans if kind.removesuffix("_OTHER") == entity
            ]
            counts["right"] += sum(_meets(finding, allowed) for finding in own)
        told[entity] = counts
    return told


def _meets(one: tuple[int, int], others: Sequence[tuple[int, int]]) -> bool:
    return any(one[0] < end and start < one[1] for start, end in others)


def quality_table(told: dict[str, dict[str, dict[str, Any]]]) -> str:
    head = ["entity", "labelled", *(f"{name}: recall / precision" for name in told)]
    body = []
    for entity in next(iter(told.values())):
        cells = [entity, str(next(iter(told.values()))[entity]["labelled"])]
        for counts in (found[entity] for found in told.values()):
            recall = counts["found"] / max(counts["labelled"], 1)
            precision = f"{counts['right'] / counts['findings']:.3f}" if counts["findings"] else "–"
            cells.append(f"{recall:.3f} / {precision}")
        body.append(cells)
    return runners.markdown(head, body)


def speed_table(sets: dict[str, dict[str, Any]]) -> str:
    head = ["texts", "characters", *(f"{name}, texts/s" for name in CONTENDERS), "ratio", "equal findings"]
    body = []
    for name, one in sets.items():
        rates = [one["texts"] / one["seconds"][contender] for contender in CONTENDERS]
        ratio = one["seconds"][REGISTRY] / one["seconds"][runners.OURS]
        body.append(
            [f"{one['texts']:,} {name}", f"{one['characters']:,}", *(f"{rate:,.0f}" for rate in rates),
             f"{ratio:.1f}", "all" if one["differing"] == 0 else f"all but {one['differing']}"]
        )  # fmt: skip
    return runners.markdown(head, body)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = runners.options("personal", __doc__)
    parser.add_argument("--texts", type=int, default=TEXTS, help="of each set at most (default: 2000)")
    return runners.given_to(parser, given)


def main(given: Sequence[str] | None = None) -> int:
    options = arguments(given)
    figures: dict[str, Any] = {"machine": runners.machine([]), "quality": {}, "sets": {}}
    with tempfile.TemporaryDirectory(prefix="dataset-pipeline-personal-") as folder:
        for name, rows, entities in [
            ("labelled templates", labelled(options.data), ENTITIES),
            *((name, letters(name), LETTER_ENTITIES) for name in LETTERS),
        ]:
            texts = [row.text for row in rows]
            results = searched(Path(folder), name, texts, (runners.OURS, PLAIN), entities)
            told = {who: quality(rows, one["findings"], entities) for who, one in results.items()}
            figures["quality"][name] = told
            print(f"{len(rows):,} {name}", quality_table(told), sep="\n\n", end="\n\n", flush=True)
        for name, texts in text_sets(options.data, options.texts).items():
            results = searched(Path(folder), name, texts, tuple(CONTENDERS), ENTITIES)
            pairs = zip(results[runners.OURS]["findings"], results[REGISTRY]["findings"], strict=True)
            figures["sets"][name] = {
                "texts": len(texts), "characters": sum(map(len, texts)),
                "seconds": {contender: one["seconds"] for contender, one in results.items()},
                "differing": sum(ours != theirs for ours, theirs in pairs),
            }  # fmt: skip
    print(speed_table(figures["sets"]))
    runners.write("personal", figures, options.results)
    _plot(figures["sets"], options.results)
    return 0


def _plot(sets: dict[str, dict[str, Any]], results: Path) -> None:
    seconds = {contender: sum(one["seconds"][contender] for one in sets.values()) for contender in CONTENDERS}
    title = f"Personal data in {sum(one['texts'] for one in sets.values()):,} texts of {len(sets)} kinds"
    runners.draw("personal", title, seconds, results)


if __name__ == "__main__":
    sys.exit(main())
