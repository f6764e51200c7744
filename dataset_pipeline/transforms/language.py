"""Which language a text is in, by py3langid's packaged model, and whether that is foreign to a spec's languages.

Lives here: languages, their scripts, probabilities, the evidence against the spec's languages. Keep out: the model
itself (`language_model`), cleaning, which sides a record has, verdicts. Nothing is downloaded: the model is part of
the package.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from enum import StrEnum
from functools import lru_cache
from math import log, sqrt
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from dataset_pipeline.errors import Problem, SpecError
from dataset_pipeline.memo import Memo, direct
from dataset_pipeline.text import WORD
from dataset_pipeline.transforms import language_model

SCHEMA: dict[str, type[pl.DataType]] = {
    "language": pl.String,
    "probability": pl.Float64,
    "spec_probability": pl.Float64,
}

MAX_SPEC_PROBABILITY = 0.05
"""From it on a text may be in a language of the spec: near relatives, and texts that mix languages, stand there."""

MIN_ODDS = 10.0
"""How much likelier another language must be. Code, names and lists of words are a little like many languages: that
lowers the spec's probability without speaking for another one."""

MIN_EVIDENCE = 14.0
"""Natural logarithm of how much likelier the letters of a text are in another language than in the spec's: a million
to one. The model holds its probabilities back by the root of a text's bytes; evidence is not held back, so one bar
serves short and long texts. Measured with bars from 13 to 17: from 99.54 to 99.43 % of foreign sentences are caught,
and 4 to 1 of 36,766 English support messages lost."""

FEW_WORDS = 3
MIN_EVIDENCE_FEW_WORDS = 22.0
"""Of up to FEW_WORDS words: names, loan words and greetings look foreign."""

MIN_ODDS_NOT_PROSE = 100.0
"""Of code, numbers and lists of names, whose evidence adds up without being a language's."""

UNSEEN = 5e-7
"""What a probability that is kept as 0 counts for: half of the last digit that is kept."""

MIN_LETTER_SHARE = 0.5
"""Of the characters that are not white space; below it a text is code, numbers or symbols."""
MIN_PLAIN_SHARE = 0.5
"""Of what stands between spaces; code is mostly letters too, but few of its words stand by themselves."""
MIN_SHARE_OF_LIKELIEST = 1 / 3
"""Of the letters. The model reads bytes: a few words in another script outweigh a whole English message."""
MIN_LIST_MARKS = 0.5
"""Commas and line breaks for each word; from it on a text is a list."""

NO_LANGUAGE = "zxx"
"""The model's word for text that is in no language."""

_SAME: dict[str, tuple[str, ...]] = {"nb": ("no",), "no": ("no", "nn"), "zh": ("zh", "yue", "wuu")}
"""Spec languages that the model knows under another name, or splits."""

_LATIN = frozenset({"LATIN"})
_SCRIPTS: dict[str, frozenset[str]] = {
    language: frozenset(scripts.split())
    for languages, scripts in (
        ("ar ary arz fa ps sdh ug ur", "ARABIC"),
        ("ku", "LATIN ARABIC"),
        ("be bg ba kk ky mk mn ru tg tt uk", "CYRILLIC"),
        ("az bs crh sr tk uz", "LATIN CYRILLIC"),
        ("el grc", "GREEK"),
        ("he hbo", "HEBREW"),
        ("hy", "ARMENIAN"),
        ("ka", "GEORGIAN"),
        ("hi mr ne sa", "DEVANAGARI"),
        ("gom", "DEVANAGARI LATIN"),
        ("as bn", "BENGALI"),
        ("pa", "GURMUKHI ARABIC"),
        ("gu", "GUJARATI"),
        ("or", "ORIYA"),
        ("ta", "TAMIL"),
        ("te", "TELUGU"),
        ("kn", "KANNADA"),
        ("ml", "MALAYALAM"),
        ("si", "SINHALA"),
        ("th", "THAI"),
        ("lo", "LAO"),
        ("my", "MYANMAR"),
        ("km", "KHMER"),
        ("am", "ETHIOPIC"),
        ("dz", "TIBETAN"),
        ("kab", "LATIN TIFINAGH"),
        ("zh yue wuu", "CJK BOPOMOFO"),
        ("ja", "CJK HIRAGANA KATAKANA"),
        ("ko", "HANGUL CJK"),
    )
    for language in languages.split()
}
"""Scripts a language is written in; a language that is not named here is written in Latin letters."""

_UNSPACED = frozenset(
    {"CJK", "HIRAGANA", "KATAKANA", "BOPOMOFO", "THAI", "LAO", "MYANMAR", "KHMER", "TIBETAN"}
)
"""Scripts without spaces between words: each letter counts as a word."""

_ADDRESS = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]{1,20}://[!-~]+|\bwww\.[!-~]+|[A-Za-z0-9._+-]{0,64}@[A-Za-z0-9._-]+|(?<!\w)#\w+"
)
"""Addresses, handles and tags: in no language, whatever their letters."""

_NUMBER = re.compile(r"\W*\d[\d.,:]*\W*")
_PLAIN_WORD = re.compile(r"\W*[^\W\d_]{2,}(?:[-'\u2019][^\W\d_]+)*[^\w\s({\[<=$]*")
_WORD = re.compile(WORD)
_LIST_MARKS = ",\n、،"


def _spec_labels(languages: tuple[str, ...]) -> frozenset[str]:
    """The model's labels for the spec's languages; SpecError names those it does not know."""
    known = set(language_model.classes())
    labels = {label for language in languages for label in _SAME.get(language, (language,))}
    unknown = sorted(labels - known)
    if unknown:
        raise SpecError(
            [
                Problem(
                    "normalize.languages",
                    f"the language model does not know {', '.join(unknown)}.",
                    f"Use codes out of: {' '.join(sorted(known - {NO_LANGUAGE}))}; or none, to keep all.",
                )
            ]
        )
    return frozenset(labels)


VERSION = 2
"""Raised when a text's language, or what counts as foreign, changes: what was remembered is then not used."""


def detect(texts: pl.Series, languages: tuple[str, ...], memo: Memo = direct) -> pl.DataFrame:
    """The language of each text, in the order of `texts`; equal texts are looked at once.

    Addresses, @handles and #tags are not looked at.

    language: the likeliest, as ISO 639 code (the model's `zxx` is no language); null for a text that
    is null or holds no letter. probability: the model's, 0 to 1, null with the language.
    spec_probability: the summed probability of `languages`; null too where that is empty.
    Raises SpecError for a language the model does not know.
    """
    spec = _spec_labels(languages) if languages else frozenset()

    def tell(distinct: pl.Series) -> pl.DataFrame:
        read = [_without_addresses(text) for text in distinct]
        places = [place for place, text in enumerate(read) if any(map(str.isalpha, text))]
        found = _found([read[place] for place in places], spec)
        rows: list[tuple[str | None, float | None, float | None]] = [(None, None, None)] * len(read)
        for place, row in zip(places, found, strict=True):
            rows[place] = row
        return pl.DataFrame(rows, schema=SCHEMA, orient="row")

    return memo("language", VERSION, " ".join(sorted(spec)), texts, tell)


def _found(texts: list[str], spec: frozenset[str]) -> list[tuple[str, float, float | None]]:
    """Language, probability and spec_probability of each text."""
    names = language_model.classes()
    own = [place for place, name in enumerate(names) if name in spec]
    rows: list[tuple[str, float, float | None]] = []
    for scores in language_model.probabilities(texts):
        best = scores.argmax(axis=1)
        likely = scores[np.arange(len(best)), best].round(6).tolist()
        inside = np.minimum(scores[:, own].sum(axis=1), 1.0).round(6).tolist() if spec else [None] * len(best)
        rows += zip([names[place] for place in best.tolist()], likely, inside, strict=True)
    return rows


def _without_addresses(text: str) -> str:
    # The marks are looked for first: most texts have none, and the pattern is slow.
    return _ADDRESS.sub(" ", text) if any(mark in text for mark in ("@", "#", "://", "www.")) else text


# --- foreign ------------------------------------------------------------------------------


class Told(NamedTuple):
    """What `detect` says of a text."""

    language: str | None
    probability: float | None
    spec_probability: float | None


def foreign_detail(text: str, told: Told, languages: tuple[str, ...]) -> dict[str, Any] | None:
    """What speaks for a text being in none of `languages`: measured values and thresholds; None where too little does.

    A text is foreign where its spec_probability is below MAX_SPEC_PROBABILITY, another language is MIN_ODDS times
    as likely, and its form allows it: in another script, that is all; prose needs MIN_EVIDENCE, few words need
    MIN_EVIDENCE_FEW_WORDS; what is no prose needs MIN_ODDS_NOT_PROSE too; a mixed text is not foreign. Nothing is
    measured again but the length and the form of the text: thresholds decide on the columns that `detect` made.
    """
    language, probability, value = told
    if language is None or probability is None or value is None:
        return None
    odds = probability / max(value, UNSEEN)
    if language == NO_LANGUAGE or value >= MAX_SPEC_PROBABILITY or odds < MIN_ODDS:
        return None
    evidence = log(odds) * sqrt(len(language_model.as_read(_without_addresses(text))))
    shape = form(text, languages, language)
    if shape is Form.MIXED or (shape is Form.NO_PROSE and odds < MIN_ODDS_NOT_PROSE):
        return None
    needed = {Form.OTHER_SCRIPT: 0.0, Form.FEW_WORDS: MIN_EVIDENCE_FEW_WORDS}.get(shape, MIN_EVIDENCE)
    if evidence < needed:
        return None
    return {
        "language": language,
        "threshold": MAX_SPEC_PROBABILITY,
        "value": value,
        "min_odds": MIN_ODDS,
        "odds": round(probability / value, 3) if value else None,
        "min_evidence": needed,
        "evidence": round(evidence, 3),
    }


class Form(StrEnum):
    """What the letters of a text say before its words are weighed. The first that holds, in this order but the last."""

    OTHER_SCRIPT = "other_script"
    """Mostly letters, and most of them of a script that none of the spec's languages uses."""
    MIXED = "mixed"
    """Few letters are of a script that the likeliest language is written in: it speaks for the smaller part."""
    FEW_WORDS = "few_words"
    """Up to FEW_WORDS, whatever stands between them."""
    PROSE = "prose"
    """Mostly letters, in words that mostly stand by themselves, and no list."""
    NO_PROSE = "no_prose"


def form(text: str, languages: tuple[str, ...], likeliest: str) -> Form:
    """The form of a text, its addresses, @handles and #tags left out. In scripts without spaces each letter is a word."""
    text = _without_addresses(text)
    chars = Counter(text)
    # Marks belong to the letters they sit on: Indic and Arabic vowel signs are no symbols, and end no word.
    marks = {char for char in chars if unicodedata.category(char)[0] == "M"}
    scripts: Counter[str] = Counter()
    for char, count in chars.items():
        if char.isalpha() and (script := _script(char)) != "MODIFIER":
            scripts[script] += count
    letters = scripts.total()
    visible = sum(count for char, count in chars.items() if not char.isspace() and char not in marks)
    is_text = letters > 0 and letters >= MIN_LETTER_SHARE * visible
    own = frozenset[str]().union(*map(_scripts, languages))
    if is_text and 2 * sum(scripts[script] for script in own) < letters:
        return Form.OTHER_SCRIPT
    if sum(scripts[script] for script in _scripts(likeliest)) < MIN_SHARE_OF_LIKELIEST * letters:
        return Form.MIXED
    if marks:
        text = text.translate(dict.fromkeys(map(ord, marks), "x"))
    unspaced = sum(scripts[script] for script in _UNSPACED)
    spaced = sum(1 for word in _WORD.findall(text) if _script(word[0]) not in _UNSPACED)
    if unspaced + spaced <= FEW_WORDS:
        return Form.FEW_WORDS
    if not is_text or sum(chars[mark] for mark in _LIST_MARKS) >= MIN_LIST_MARKS * (unspaced + spaced):
        return Form.NO_PROSE
    tokens = [token for token in text.split() if not _NUMBER.fullmatch(token)]
    plain = sum(1 for token in tokens if _PLAIN_WORD.fullmatch(token))
    return Form.PROSE if unspaced * 2 > letters or plain > MIN_PLAIN_SHARE * len(tokens) else Form.NO_PROSE


def _scripts(language: str) -> frozenset[str]:
    return _SCRIPTS.get(language, _LATIN)


@lru_cache(maxsize=65536)
def _script(letter: str) -> str:
    """The script of a letter, as in its Unicode name; width and font variants count as the plain letter."""
    plain = unicodedata.normalize("NFKC", letter)[:1]
    return unicodedata.name(plain, "").split(" ")[0]
