"""Which language a text is in, by py3langid's packaged model, and whether a text can be told at all.

Lives here: languages, their scripts, probabilities. Keep out: cleaning, which sides a record has,
verdicts. Nothing is downloaded: the model is part of the package.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import polars as pl

from dataset_pipeline.errors import Problem, SpecError
from dataset_pipeline.memo import Memo, direct
from dataset_pipeline.text import WORD

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

SCHEMA: dict[str, type[pl.DataType]] = {
    "language": pl.String,
    "probability": pl.Float64,
    "spec_probability": pl.Float64,
}

MIN_WORDS_TO_TELL = 4
"""Up to three words are guesswork: names, product words and loan words look foreign (measured)."""
MIN_LETTER_SHARE = 0.5
"""Of the characters that are not white space; below it a text is code, numbers or symbols."""
MIN_PLAIN_SHARE = 0.5
"""Of what stands between spaces; code is mostly letters too, but few of its words stand by themselves."""

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


@lru_cache(maxsize=1)
def _identifier() -> LanguageIdentifier:
    import numpy as np
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    class Exact(LanguageIdentifier):  # type: ignore[misc]
        """Sums in double precision: in single, the last digits depend on the number of threads."""

        __slots__ = ()

        def _sparse_score(self, visits: dict[int, int], table: Any) -> Any:
            features = np.fromiter(visits.keys(), dtype=np.intp, count=len(visits))
            counts = np.fromiter(visits.values(), dtype=np.float64, count=len(visits))
            return np.log1p(counts) @ table[features].astype(np.float64) + self.nb_pc.astype(np.float64)

    return Exact.from_model_file(MODEL_FILE, norm_probs=True)


def _spec_labels(languages: tuple[str, ...]) -> frozenset[str]:
    """The model's labels for the spec's languages; SpecError names those it does not know."""
    known = set(_identifier().labels)
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


VERSION = 1
"""Raised when a text's language changes: remembered ones are then not used."""


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
        return pl.DataFrame([_detected(text, spec) for text in distinct], schema=SCHEMA, orient="row")

    return memo("language", VERSION, " ".join(sorted(spec)), texts, tell)


def _without_addresses(text: str) -> str:
    # The marks are looked for first: most texts have none, and the pattern is slow.
    return _ADDRESS.sub(" ", text) if any(mark in text for mark in ("@", "#", "://", "www.")) else text


def _detected(text: str, spec: frozenset[str]) -> tuple[str | None, float | None, float | None]:
    text = _without_addresses(text)
    if not any(map(str.isalpha, text)):
        return None, None, None
    # The scores that `rank` would sort and pair with names, a class each; only two of them are wanted.
    scores = _identifier()._decide(text)
    best = int(scores.argmax())
    inside = min(1.0, float(scores[_places(spec)].sum())) if spec else None
    language = _identifier().nb_classes[best]
    return language, round(float(scores[best]), 6), None if inside is None else round(inside, 6)


@lru_cache(maxsize=8)
def _places(spec: frozenset[str]) -> list[int]:
    """Where the classes of the spec's languages stand among the model's, in order."""
    return [place for place, name in enumerate(_identifier().nb_classes) if name in spec]


@lru_cache(maxsize=65536)
def _script(letter: str) -> str:
    """The script of a letter, as in its Unicode name; width and font variants count as the plain letter."""
    plain = unicodedata.normalize("NFKC", letter)[:1]
    return unicodedata.name(plain, "").split(" ")[0]


def can_be_told(text: str, languages: tuple[str, ...]) -> bool:
    """Whether a text is long enough to hold it against the spec's languages.

    It is mostly letters, and either mostly in a script that none of `languages` uses (then one word is
    enough), or more than three words, most of them plain: not code. In scripts without spaces each
    letter is a word.
    """
    text = _without_addresses(text)
    letters = [char for char in text if char.isalpha()]
    visible = sum(1 for char in text if not char.isspace())
    # Marks belong to the letters they sit on: Indic and Arabic vowel signs are no symbols.
    marks = sum(1 for char in text if unicodedata.category(char).startswith("M"))
    if not letters or len(letters) < MIN_LETTER_SHARE * (visible - marks):
        return False
    own = frozenset[str]().union(*(_SCRIPTS.get(language, _LATIN) for language in languages))
    scripts = [_script(letter) for letter in letters]
    foreign = sum(1 for script in scripts if script not in own and script != "MODIFIER")
    if foreign * 2 > len(letters):
        return True
    unspaced = sum(1 for script in scripts if script in _UNSPACED)
    spaced = sum(1 for word in _WORD.findall(text) if _script(word[0]) not in _UNSPACED)
    if unspaced + spaced < MIN_WORDS_TO_TELL:
        return False
    tokens = [token for token in text.split() if not _NUMBER.fullmatch(token)]
    plain = sum(1 for token in tokens if _PLAIN_WORD.fullmatch(token))
    return unspaced * 2 > len(letters) or plain > MIN_PLAIN_SHARE * len(tokens)
