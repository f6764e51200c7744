"""Texts to be cleaned whose right outcome somebody else has written down, and real ones that are to stay as they are.

Lives here: which cases, what is accepted of each. Keep out: who cleans (`peers/`), what is counted (`texts`).
"""

from __future__ import annotations

import gzip
import random
import re
import tarfile
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.personal_texts import text_sets
from benchmarks.planted import json_of

SEED = 7
DISGUISED = 1_000
SHARE = 0.05
"""Letters of a disguised text that are exchanged, of those that have a twin."""
CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Case:
    """A text, and the outcomes that are right; compared without control characters and with single spaces."""

    text: str
    accepted: frozenset[str]


def plain(text: str) -> str:
    return re.sub(r"\s+", " ", CONTROL.sub("", text)).strip()


def _case(text: str, *accepted: str) -> Case:
    return Case(text, frozenset(map(plain, accepted)))


def case_sets(data: Path) -> dict[str, list[Case]]:
    """Kind to its cases; of `normalization` five in a row are one case of the standard."""
    return {
        "pairs": [
            case for name in ("in-the-wild", "language-names", "synthetic") for case in _ftfy(data, name)
        ],
        "negatives": _ftfy(data, "negative"),
        "known failures": _ftfy(data, "known-failures"),
        "normalization": list(_normalization(data)),
        "disguised": _disguised(data),
    }


def _ftfy(data: Path, name: str) -> list[Case]:
    """Quotes may be straightened and ligatures cut (`fixed`) or not (`fixed-encoding`)."""
    rows: list[dict[str, Any]] = json_of(data / f"ftfy_cases/test-cases/{name}.json")
    return [_case(row["original"], row["fixed"], row.get("fixed-encoding", row["fixed"])) for row in rows]


def _normalization(data: Path) -> Iterator[Case]:
    """Each column of NormalizationTest.txt within a sentence: c1 to c3 become c2, c4 and c5 become c4."""
    with gzip.open(data / "unicode_conformance/NormalizationTest.txt.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            if line[0] in "#@\n":
                continue
            columns = ["".join(chr(int(h, 16)) for h in column.split()) for column in line.split(";")[:5]]
            for column, expected in zip(columns, [columns[1]] * 3 + [columns[3]] * 2, strict=True):
                yield _case(f"The sign {column} stands here.", f"The sign {expected} stands here.")


def _disguised(data: Path) -> list[Case]:
    """Support questions in which a letter here and there is Cyrillic; those where none fell are left out."""
    twins = defaultdict(list)
    for source, latin in twin_letters(data):
        if "\u0400" <= source <= "\u045f":
            twins[latin].append(source)
    rng = random.Random(SEED)
    found = []
    for text in text_sets(data, DISGUISED)["support questions"]:
        disguised = "".join(
            rng.choice(twins[char]) if char in twins and rng.random() < SHARE else char for char in text
        )
        if disguised != text:
            found.append(_case(disguised, text))
    return found


def twin_letters(data: Path) -> Iterator[tuple[str, str]]:
    """Cyrillic and Greek letters of Unicode's table whose prototype is one plain Latin letter, and that letter."""
    path = data / "confusables/generator/source_data/confusables.txt.gz"
    with gzip.open(path, "rt", encoding="utf-8-sig") as lines:
        for line in lines:
            fields = [field.strip() for field in line.split("#")[0].split(";")]
            if len(fields) == 3 and " " not in fields[0] + fields[1]:
                source, prototype = chr(int(fields[0], 16)), chr(int(fields[1], 16))
                is_ours = unicodedata.name(source, "").startswith(("CYRILLIC ", "GREEK "))
                if is_ours and unicodedata.category(source)[0] == "L" and re.fullmatch("[A-Za-z]", prototype):
                    yield source, prototype


def sentences(data: Path) -> list[str]:
    """Those of all languages, in NFC: composing letters is no damage."""
    found = []
    with tarfile.open(data / "lingua_sentences/files.tar.gz") as archive:
        for member in sorted(archive.getmembers(), key=lambda one: one.name):
            file = archive.extractfile(member)
            if file and member.name.endswith(".txt"):
                found += [line for line in file.read().decode().split("\n") if line.strip()]
    return [unicodedata.normalize("NFC", line) for line in found]
