"""`python -m benchmarks.language`: texts in a foreign language found, ours beside language detectors: what is lost, what is
caught, and how fast.

Lives here: what is counted, the tables. Keep out: the texts (`language_texts`), processes (`runners`), who is asked
(`peers/`).
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import runners
from benchmarks.language_texts import CODE, SEED, SUPPORT, Text, english, sentences, short
from benchmarks.near import lay

TEXTS = 3_000
PLAIN = "py3langid, likeliest"
PEERS = ("lingua", "langdetect")
CONTENDERS = {
    runners.OURS: (runners.OURS, "language_ours.py"),
    PLAIN: (runners.OURS, "language_py3langid.py"),
    "lingua": ("lingua", "language_lingua.py"),
    "langdetect": ("langdetect", "language_langdetect.py"),
}
"""Contender to the environment and the runner. py3langid is a dependency."""
OTHER_ENGLISH = "other English"
SENTENCES = "foreign sentences"
SHORT = "short foreign texts"
SPECS = (("de",), ("de", "en"), ("es", "pt"), ("zh",), ("hi",), ("ar", "fa"), ("ru", "uk"))


def asked(
    scratch: Path, sets: dict[str, Sequence[str]], contender: str, languages: Sequence[str] = ("en",)
) -> dict[str, dict[str, Any]]:
    """The result of one contender on each set, in one process."""
    environment, script = CONTENDERS[contender]
    tasks = [
        {"texts": str(lay(scratch / f"{place}.jsonl", texts)), "languages": list(languages)}
        for place, texts in enumerate(sets.values())
    ]
    print(f"{' '.join(languages)}: {contender}", file=sys.stderr, flush=True)
    return dict(zip(sets, runners.run(environment, script, tasks), strict=True))


def drawn(texts: Sequence[Any], most: int) -> list[Any]:
    return random.Random(SEED).sample(list(texts), min(most, len(texts)))


def beside(scratch: Path, kinds: dict[str, list[str]], foreign: list[Text], most: int) -> dict[str, Any]:
    """All contenders on equal parts: English, and what is not."""
    rest = [text for kind, texts in kinds.items() if kind not in (SUPPORT, *CODE) for text in texts]
    sets = {
        SUPPORT: drawn(kinds[SUPPORT], most),
        OTHER_ENGLISH: drawn(rest, most),
        SENTENCES: [text for _, text in drawn(foreign, most)],
        SHORT: [text for _, text in drawn(short(foreign), most)],
    }
    found = {}
    for contender in CONTENDERS:
        results = asked(scratch, sets, contender)
        found[contender] = {
            "seconds": results[SUPPORT]["seconds"],
            "cpu_seconds": results[SUPPORT]["cpu_seconds"],
            "peak_mib": max(one["peak_mib"] for one in results.values()),
            "foreign": {name: sum(one["foreign"]) for name, one in results.items()},
        }
    return {"texts": {name: len(texts) for name, texts in sets.items()}, "contenders": found}


def beside_table(told: dict[str, Any]) -> str:
    texts, ours = told["texts"], told["contenders"][runners.OURS]
    head = [
        "", "support questions in a CPU second", "ratio", "in a second", "peak MiB",
        *(f"{name} lost" for name in (SUPPORT, OTHER_ENGLISH)), *(f"{name} caught" for name in (SENTENCES, SHORT)),
    ]  # fmt: skip
    body = [
        [
            contender,
            f"{texts[SUPPORT] / one['cpu_seconds']:,.0f}",
            f"{one['cpu_seconds'] / ours['cpu_seconds']:,.1f}",
            f"{texts[SUPPORT] / one['seconds']:,.0f}",
            f"{one['peak_mib']:,.0f}",
            *(_percent(one["foreign"][name], count) for name, count in texts.items()),
        ]
        for contender, one in told["contenders"].items()
    ]
    return runners.markdown(head, body)


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / max(whole, 1):.2f} %"


def whole(scratch: Path, kinds: dict[str, list[str]], foreign: list[Text]) -> dict[str, Any]:
    """Ours on every text: how many of how many are taken for foreign."""
    sets = {**kinds, SENTENCES: [text for _, text in foreign], SHORT: [text for _, text in short(foreign)]}
    results = asked(scratch, sets, runners.OURS)
    return {
        name: {"texts": len(sets[name]), "foreign": sum(one["foreign"]), "cpu_seconds": one["cpu_seconds"]}
        for name, one in results.items()
    }


def whole_table(told: dict[str, Any]) -> str:
    head = ["kind", "texts", "taken for foreign", "share", "texts in a CPU second"]
    return runners.markdown(
        head,
        [
            [name, f"{one['texts']:,}", f"{one['foreign']:,}", f"{100 * one['foreign'] / one['texts']:.3f} %",
             f"{one['texts'] / one['cpu_seconds']:,.0f}"]
            for name, one in told.items()
        ],
    )  # fmt: skip


def languages(scratch: Path, every: list[Text], most: int) -> dict[str, Any]:
    """For other languages than English: own sentences lost, others caught. Ours and plain py3langid."""
    told: dict[str, Any] = {}
    for spec in SPECS:
        own = [text for text in every if text.language in spec]
        others = drawn([text for text in every if text.language not in spec], most)
        sets = {
            "own": [t for _, t in own], "own short": [t for _, t in short(own)],
            "others": [t for _, t in others], "others short": [t for _, t in short(others)],
        }  # fmt: skip
        told[" ".join(spec)] = {
            contender: {
                name: {"texts": len(one["foreign"]), "foreign": sum(one["foreign"])}
                for name, one in asked(scratch, sets, contender, spec).items()
            }
            for contender in (runners.OURS, PLAIN)
        }
    return told


def languages_table(told: dict[str, Any]) -> str:
    sets = {"own": "lost", "own short": "lost", "others": "caught", "others short": "caught"}
    head = ["languages", *(f"{contender}: {name} {what}" for contender in (runners.OURS, PLAIN) for name, what in sets.items())]  # fmt: skip
    body = [
        [
            spec,
            *(_percent(one[name]["foreign"], one[name]["texts"]) for one in found.values() for name in sets),
        ]
        for spec, found in told.items()
    ]
    return runners.markdown(head, body)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = runners.options("language", __doc__)
    parser.add_argument(
        "--texts", type=int, default=TEXTS, help="of each set that peers read, at most (default: 3000)"
    )
    return runners.given_to(parser, given)


def main(given: Sequence[str] | None = None) -> int:
    options = arguments(given)
    kinds, every = english(options.data), sentences(options.data)
    foreign = [text for text in every if text.language != "en"]
    figures: dict[str, Any] = {"machine": runners.machine(PEERS)}
    with tempfile.TemporaryDirectory(prefix="dataset-pipeline-language-") as folder:
        scratch = Path(folder)
        figures["whole"] = whole(scratch, kinds, foreign)
        print(whole_table(figures["whole"]), end="\n\n", flush=True)
        figures["languages"] = languages(scratch, every, 4 * options.texts)
        print(languages_table(figures["languages"]), end="\n\n", flush=True)
        figures["beside"] = beside(scratch, kinds, foreign, options.texts)
        print(beside_table(figures["beside"]))
    runners.write("language", figures, options.results)
    rates = {
        contender: figures["beside"]["texts"][SUPPORT] / one["cpu_seconds"]
        for contender, one in figures["beside"]["contenders"].items()
    }
    picture = runners.bars("Support questions whose language is told", "in a CPU second", rates)
    (options.results / "language.svg").write_text(picture, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
