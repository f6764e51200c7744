"""Cleaning on real and standard text: ftfy's pairs, Unicode's normalization cases and twins of letters, 75 languages.

What must come out is the data's own word for it. Where our contract differs it is said beside the case: white space and
control characters go, entities are decoded, quotes and ligatures stay.
"""

from __future__ import annotations

import gzip
import json
import re
import tarfile
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from benchmarks.texts_cases import twin_letters
from dataset_pipeline.transforms.cleaning import Profile, clean
from dataset_pipeline.transforms.confusables import respelled
from dataset_pipeline.transforms.language import detect
from dataset_pipeline_tests.test_real_text import ENCODINGS, read, shipped, texts, unpacked

pytestmark = pytest.mark.real_data


# --- encoding repair ------------------------------------------------------------------------


def cases(name: str) -> list[dict[str, Any]]:
    return json.loads((shipped("ftfy_cases") / "test-cases" / f"{name}.json").read_text(encoding="utf-8"))


def wanted(case: dict[str, Any], profile: Profile) -> str:
    """What the file says it is when repaired, without what our contract takes off; none of our code in it.

    `fixed` has its quotes straightened and its ligatures cut, `fixed-encoding` has not. Where an entity is at the bottom
    of it only `fixed` has that decoded.
    """
    has_entity = re.search(r"&\w+;", case["original"])
    text = case["fixed"] if has_entity else case.get("fixed-encoding", case["fixed"])
    text = re.sub(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]", "", text).strip()
    return re.sub(r"\s+", " ", text) if profile is Profile.MESSAGE else text


@pytest.mark.parametrize("profile", [Profile.MESSAGE, Profile.TEXT])
@pytest.mark.parametrize(
    ("name", "number"), [("in-the-wild", 70), ("language-names", 20), ("synthetic", 30), ("negative", 31)]
)
def test_ftfy_every_case_comes_out_as_its_file_says(name: str, number: int, profile: Profile) -> None:
    found = cases(name)
    assert len(found) == number
    wrong = {
        case["label"]: (case["original"], got)
        for case in found
        if (got := clean(case["original"], profile)[0]) != wanted(case, profile)
    }
    assert not wrong


def test_ftfy_negatives_are_not_counted_as_repaired() -> None:
    counted = {case["label"] for case in cases("negative") if {"encoding", "confusable"} & clean(case["original"], Profile.TEXT)[1].keys()}  # fmt: skip
    assert counted == {"Mostly negative: we only need to fix C1 control characters"}


def test_ftfy_face_is_mended() -> None:
    face = (shipped("ftfy_cases") / "face.txt").read_text(encoding="utf-8")
    assert clean(face, Profile.TEXT) == (
        "┒(⌣˛⌣)┎",
        {"encoding": 1} | ({"whitespace": 1} if face != face.strip() else {}),
    )


# --- declared encodings ---------------------------------------------------------------------

TOLD = {"arabic": "ar", "bulgarian": "bg", "chinese": "zh", "english": "en", "french": "fr", "greek": "el", "hebrew": "he",
        "korean": "ko", "polish": "pl", "russian": "ru", "spanish": "es", "turkish": "tr"}  # fmt: skip


def test_charset_texts_are_in_the_language_of_their_name_and_stay_when_cleaned(tmp_path: Path) -> None:
    folder = unpacked("charset_samples", tmp_path)
    whole = {name: "\n".join(texts(folder / name, encoding)) for name, encoding in ENCODINGS.items()}
    languages = detect(pl.Series(list(whole.values())), ())["language"].to_list()
    assert languages == [TOLD[re.split("[-.]", name)[1]] for name in whole]
    changes = {name: found for name, text in whole.items() if (found := clean(text, Profile.TEXT)[1])}
    # Bulgarian headings with Latin capitals, a mark before a paragraph, a blank at the end.
    assert changes == {
        "sample-bulgarian.txt": {"confusable": 12},
        "sample-polish.txt": {"invisible": 1},
        "sample-turkish.txt": {"whitespace": 1},
    }


def test_charset_utf8_files_declared_as_latin1_are_mended(tmp_path: Path) -> None:
    folder = unpacked("charset_samples", tmp_path)
    names = [name for name, encoding in ENCODINGS.items() if encoding == "utf-8" and "bom" not in name]
    assert len(names) == 7
    for name in names:
        right = "\n".join(texts(folder / name, "utf-8"))
        wrong = "\n".join(texts(folder / name, "latin-1"))
        assert wrong != right
        assert clean(wrong, Profile.TEXT)[0] == clean(right, Profile.TEXT)[0], name


def test_charset_files_with_letters_declared_as_ascii_lose_those_rows(tmp_path: Path) -> None:
    folder = unpacked("charset_samples", tmp_path)
    for name in ENCODINGS.keys() - {"sample-english.bom.txt"}:
        reasons = {getattr(item, "reason", None) for item in read(folder / name, encoding="ascii")}
        assert "invalid_encoding" in reasons, name


# --- normalization --------------------------------------------------------------------------


def normalization_cases() -> Iterator[list[str]]:
    path = shipped("unicode_conformance") / "NormalizationTest.txt.gz"
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            if line[0] not in "#@\n":
                yield ["".join(chr(int(h, 16)) for h in column.split()) for column in line.split(";")[:5]]


HANGUL_FILLERS = {"\u1160", "\u3164", "\uffa0"}


@pytest.mark.parametrize("profile", [Profile.TEXT, Profile.MESSAGE])
def test_normalization_cases_come_out_as_nfc(profile: Profile) -> None:
    """c1, c2 and c3 become c2, c4 and c5 become c4, within a sentence; what goes by contract is named."""
    exceptions: Counter[str] = Counter()
    number = 0
    for c1, c2, c3, c4, c5 in normalization_cases():
        number += 1
        for column, expected in ((c1, c2), (c2, c2), (c3, c2), (c4, c4), (c5, c4)):
            found = clean(f"The sign {column} stands here.", profile)[0]
            if found == f"The sign {expected} stands here.":
                continue
            if column in HANGUL_FILLERS:
                assert found.split() == ["The", "sign", "stands", "here."]
                exceptions["a filler of no syllable"] += 1
            else:
                assert profile is Profile.MESSAGE
                assert found == re.sub(r"\s+", " ", f"The sign {expected} stands here."), ascii(column)
                exceptions["white space"] += 1
    assert number == 18_992
    # U+3164 and U+FFA0, each with its four other forms; white space, and marks that stand on a space.
    assert exceptions == {"a filler of no syllable": 10} | (
        {"white space": WHITE_SPACE} if profile is Profile.MESSAGE else {}
    )


WHITE_SPACE = 175
"""Five columns each of the spaces, of marks that stand on one, and of those that are compatible with either."""


# --- twins of letters -----------------------------------------------------------------------


def test_confusables_every_cyrillic_and_greek_twin_of_a_latin_letter_is_seen() -> None:
    """Also γ, which alone may be a letter of the word: with another look-alike it is none."""
    found = dict(twin_letters(shipped(".")))
    assert len(found) == 75
    for source, prototype in found.items():
        word = unicodedata.normalize("NFC", f"con{source}entr")
        mended, letters = respelled(f"{word}\u0430te" if source in "γ" else f"{word}ate")
        assert letters, ascii(source)
        # The table makes one letter of I and l, and of ӏ an i.
        assert mended.isascii() and mended[3].casefold() in {prototype.casefold(), "i", "l"}, ascii(source)


# --- 75 languages ---------------------------------------------------------------------------


def test_lingua_sentences_are_left_alone_but_for_noise() -> None:
    """Every kind was looked at: letters typed in another script, marks between words of Mongolian, mojibake."""
    counts: Counter[str] = Counter()
    changed = sentences = 0
    with tarfile.open(shipped("lingua_sentences") / "files.tar.gz") as archive:
        for member in archive.getmembers():
            if member.name.endswith(".txt") and (file := archive.extractfile(member)):
                for line in filter(str.strip, file.read().decode().split("\n")):
                    found, changes = clean(line, Profile.TEXT)
                    counts.update(changes.keys())
                    sentences += 1
                    changed += found != line
    assert sentences == 74_141
    assert counts["confusable"] <= 175 and counts["bidirectional"] <= 10 and counts["invisible"] <= 110
    assert counts["encoding"] <= 310 and changed <= 0.026 * sentences
