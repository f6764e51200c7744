"""Letters that look like other letters: words spelled with letters of another script are respelled.

Lives here: which letters look alike, and where a look-alike carries no meaning. Keep out: characters that show nothing
(`invisible`), letters of another width or style (`styled_letters`), ligatures, digits, twins within one script (l and I).

Which letters look alike is what Unicode's table says of single letters (UTS 39, confusables.txt 15.0.0, Unicode License);
a test compares. Only scripts whose letters people type by keyboard are here, and only letters that could be
meant: a Cyrillic word with s or h in it stays, since ѕ and һ are letters of few of its languages. The package
confusable-homoglyphs holds that table too (0.9 MB, read at import), but not which way to go nor where twins are meant.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from dataset_pipeline.transforms.code_spans import code_spans, is_within
from dataset_pipeline.transforms.styled_letters import STYLED, plain_letters

_LATIN = "A-Za-zÀ-ÖØ-öø-\u02af\u1e00-\u1eff\u2c60-\u2c7f\ua722-\ua787\ua78b-\ua7ca"
_GREEK = "\u0370-\u0373\u0376-\u037d\u037f\u0386\u0388-\u03e1\u03f0-\u03ff\u1f00-\u1fbc\u1fc2-\u1fcc\u1fd0-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ffc\u1d26-\u1d2a"
_CYRILLIC = "\u0400-\u0481\u048a-\u052f\u1c80-\u1c88\ua640-\ua66e\ua680-\ua69b"
_ARMENIAN = "\u0531-\u0556\u0560-\u0588"
_CHEROKEE = "\u13a0-\u13fd\uab70-\uabbf"
_OTHERS = _CYRILLIC + _ARMENIAN + _CHEROKEE
_MARKS = "[\u0300-\u036f]*"
_SUSPECT = re.compile(f"[{_GREEK}{_OTHERS}{STYLED}]")
_MIXED = re.compile(
    f"[{_LATIN}]{_MARKS}[{_GREEK}{_OTHERS}]|[{_GREEK}{_OTHERS}]{_MARKS}[{_LATIN}]"
    f"|[{_GREEK}]{_MARKS}[{_OTHERS}]|[{_OTHERS}]{_MARKS}[{_GREEK}]"
)
_WORD = re.compile(f"(?:[{_LATIN}{_GREEK}{_OTHERS}]{_MARKS})+")
_RANGES = {
    "latin": _LATIN, "greek": _GREEK, "cyrillic": _CYRILLIC, "armenian": _ARMENIAN, "cherokee": _CHEROKEE
}  # fmt: skip
_SCRIPTS = {name: re.compile(f"[{ranges}]") for name, ranges in _RANGES.items()}
_OTHER_THAN = {
    name: re.compile(f"[{STYLED}{''.join(ranges for other, ranges in _RANGES.items() if other != name)}]")
    for name in _RANGES
}


def _table(pairs: str) -> dict[str, str]:
    return {pair[0]: pair[1] for pair in pairs.split()}


_SYMBOLS = _table("αa γy ιi νv ρp σo υu ϱp")
"""Small Greek letters that formulas are written with (ο is not): in a Latin word they are mostly meant."""
_TO_LATIN = _SYMBOLS | _table(
    "аa АA Ьb ВB сc СC ԁd еe ҽe ЕE ԌG һh НH іi ꙇi ӏl ІI ӀI јj ЈJ КK МM оo ОO рp РP ԛq гr ѕs ЅS ТT ѵv ѴV ѡw ԝw ԜW хx ХX уy үy УY ҮY "
    "ϲc ϳj ᴦr ͺi ΑA ΒB ϹC ΕE ϜF ΗH ΙI ͿJ ΚK ΜM ϺM ΝN οo ΟO ΡP ΤT ΧX ΥY ϒY ΖZ "
    "քf ցg հh ոn ռn օo ՕO գq զq ՏS սu ՍU աw "
    "ᎪA Ꮟb ᏴB ꮯc ᏟC Ꮷd ᎠD ᎬE ᏀG ᏳG Ꮒh ᎻH ꭵi Ꭵi ᎫJ ᏦK ᏞL ᎷM ᏢP ꮁr ᎡR ᏒR ꮪs ᏕS ᏚS ᎢT ꮩv ᏙV ꮃw ᎳW ᏔW ᎩY ᎽY ꮓz ᏃZ"
)
_LIKE_I = "ІӀΙ"
_FROM_LATIN = {
    "latin": {},
    "cyrillic": _table("aа cс eе iі jј oо pр xх yу AА BВ CС EЕ HН IІ JЈ KК MМ OО PР TТ XХ"),
    "greek": _table("aα iι oο pρ uυ vν AΑ BΒ EΕ HΗ IΙ KΚ MΜ NΝ OΟ PΡ TΤ XΧ YΥ ZΖ"),
}
"""Script to its letters of today that look like a Latin one. What is in none of these scripts becomes Latin or stays.
Y is not here for Cyrillic: it is У as well as Ү."""

_MIN_LETTERS = 3
"""Of two letters neither is foreign, but where the other words of the text are in the script of one."""
_MIN_SMALL_LETTERS, _MIN_TITLE_LETTERS = 4, 5
"""Of a word with small Greek letters: fewer are a formula (dαdt); a capital before a symbol is one itself (Gαolf)."""
_TIED_BEFORE = re.compile(r"(?:[\d_@#$/\\&<=~^|{\ufffd]|(?<=\w)[.:])$")
_TIED_AFTER = re.compile(r"[\d_@#$/\\&<>=~^|(\[{\ufffd]|[.:]\w|:/")
"""What ties a word to its neighbour: it is a part of an address, a formula or a name in a program, or letters of it are lost."""
_CAUCASIAN = re.compile("[а-яё][IӀ]")
"""A capital I within a word is the sign of Chechen, Avar, Kabardian and others: Ӏ, not the letter І of Ukrainian."""
_ROMAN = re.compile("(?=.)M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
_RARE_LATIN = re.compile("[\u014a\u014b\u0180-\u02af\u1e00-\u1eff]")
"""Letters of languages that also write Greek ones (α, ι, υ, γ), for want of their own on a keyboard."""
_FUNCTION = re.compile("(?:sin|cos|tan|log|exp|lim|ln)(?:[^a-z]|$)")


def respelled(text: str) -> tuple[str, int]:
    """`text` (NFC) with its disguised words in their own letters, and how many letters were replaced."""
    first = _SUSPECT.search(text)
    # Cheaper than looking for two neighbours: most texts are in one of these scripts.
    if first is None or ((script := _script(first.group())) and _OTHER_THAN[script].search(text) is None):
        return text, 0
    code = code_spans(text)
    text, count = plain_letters(text, code)
    if _MIXED.search(text):
        text, letters = _one_script(text, code)
        count += letters
    return text, count


class _Around(NamedTuple):
    """What the whole text says of a word in it."""

    pure: set[str]
    """Scripts in which words of it are written for certain."""
    is_caucasian: bool
    has_rare_latin: bool


def _one_script(text: str, code: list[tuple[int, int]]) -> tuple[str, int]:
    counted = 0
    words = set(_WORD.findall(text))
    around = _Around(
        pure={script for word in words if (script := _sure_script(word))},
        is_caucasian=_CAUCASIAN.search(text) is not None,
        has_rare_latin=_RARE_LATIN.search(text) is not None,
    )

    def mended(match: re.Match[str]) -> str:
        nonlocal counted
        word = match.group()
        if _MIXED.search(word) is None or is_within(code, match.start()):
            return word
        if _TIED_BEFORE.search(text, max(match.start() - 2, 0), match.start()):
            return word
        if _TIED_AFTER.match(text, match.end()):
            return word
        found, letters = _mended_word(word, around)
        counted += letters
        return found

    return _WORD.sub(mended, text), counted


def _script(char: str) -> str | None:
    return next((name for name, letters in _SCRIPTS.items() if letters.match(char)), None)


def _sure_script(word: str) -> str | None:
    """The script of a word in one script, unless all its letters look Latin and are not: it may be a disguised one."""
    found = {script for char in word if (script := _script(char))}
    if len(found) > 1 or len(word) == 1:
        return None
    (script,) = found
    is_sure = script == "latin" or any(_twin(char, "latin") is None for char in word if _script(char))
    return script if is_sure else None


def _mended_word(word: str, around: _Around) -> tuple[str, int]:
    """The word in one script if all its letters are of it or look like letters of it; else as it is.

    Where several scripts fit, one in which other words are written is preferred, then the one of most letters. The
    script of fewer letters alone is right where the text does not speak for the other ('раураl').
    """
    pure = around.pure
    letters = [(script, char) for char in word if (script := _script(char))]
    counts = Counter(script for script, _ in letters)
    fitting = {
        script: spelled for script in counts if (spelled := _spelled(word, script, around)) is not None
    }
    ranked = sorted(fitting, key=lambda script: (script in pure, counts[script]), reverse=True)
    if "latin" in fitting and _ROMAN.fullmatch(fitting["latin"]):
        return fitting["latin"], len(letters) - counts["latin"]
    if len(letters) < _MIN_LETTERS and (word.isupper() or len(pure & counts.keys()) != 1):
        return word, 0
    ranks = [(script in pure, counts[script]) for script in ranked]
    if not ranked or ranks[0] in ranks[1:]:
        return word, 0
    target = ranked[0]
    runs = [(script, "".join(c for _, c in run)) for script, run in groupby(letters, key=itemgetter(0))]
    lead = 2 * counts[target] - len(letters)
    is_led = lead < 0 and len(runs) == 2 and runs[0][0] == target  # 'Zахар': a name with one letter exchanged
    if lead <= 0 and (is_led or word.isupper() or not pure.isdisjoint(counts.keys() - {target})):
        return word, 0
    if len(runs) == 2 and _is_compound(runs, target, pure):
        return word, 0
    if target == "latin" and (_means_symbols(runs, around) or _is_borrowed(runs, pure)):
        return word, 0
    if target == "greek" and counts[target] < _MIN_LETTERS:
        return word, 0  # a formula rather than a word
    return fitting[target], len(letters) - counts[target]


def _spelled(word: str, target: str, around: _Around) -> str | None:
    """The word in letters of `target`; None where one of them looks like none."""
    if target not in _FROM_LATIN:
        return None
    spelled = [char if _script(char) in (target, None) else _twin(char, target) for char in word]
    if target == "cyrillic" and around.is_caucasian:
        spelled = ["Ӏ" if char == "I" else new for char, new in zip(word, spelled, strict=True)]
    if not all(spelled):
        return None
    whole = "".join(map(str, spelled))
    if target == "latin":  # what looks like I after a small letter looks like l
        whole = "".join(
            "l" if old in _LIKE_I and place and whole[place - 1].islower() else new
            for place, (old, new) in enumerate(zip(word, whole, strict=True))
        )
    return unicodedata.normalize("NFC", whole)


def _twin(char: str, target: str) -> str | None:
    """The letter of `target` that `char` looks like, with its accents."""
    decomposed = unicodedata.normalize("NFD", char)
    base, accents = decomposed[0], decomposed[1:]
    latin = _TO_LATIN.get(base, base)
    found = latin if target == "latin" and latin != base else _FROM_LATIN[target].get(latin)
    if found is None:
        return None
    composed = unicodedata.normalize("NFC", found + accents)
    return composed if len(composed) == 1 else None


def _is_compound(runs: list[tuple[str, str]], target: str, pure: set[str]) -> bool:
    """Whether two runs are two parts with a meaning of their own rather than one word.

    A capital after a small letter starts another word. Capitals of another script that lead are an acronym, with an
    ending of the word's own ('PCшник'). Where other words are in that script, what follows a Latin stem is its ending
    ('iPhoneа'), and one small letter before it is a word that lost its space; after a stem all in capitals ('PDFа')
    it may be an ending in any text.
    """
    (head_script, head), (tail_script, tail) = runs
    if head[-1].islower() and tail[0].isupper() and tail[0] not in _LIKE_I:
        return True
    if head_script != target:
        return (len(head) > 1 and head.isupper()) or (
            len(head) == 1 and head.islower() and head_script in pure
        )
    return target == "latin" and (tail_script in pure or (len(head) > 1 and head.isupper()))


def _is_borrowed(runs: list[tuple[str, str]], pure: set[str]) -> bool:
    """Whether Latin letters stand for those that a keyboard lacks: 'çĕр' in a text that is Cyrillic but for these."""
    is_plain = all(run.isascii() for script, run in runs if script == "latin")
    return not is_plain and "latin" not in pure and not pure.isdisjoint(script for script, _ in runs)


def _means_symbols(runs: list[tuple[str, str]], around: _Around) -> bool:
    """Whether small Greek letters of a Latin word are symbols ('IFNγ', 'ρair', 'sinα') or of its own alphabet.

    They are not where another look-alike stands in the word that is no symbol. Alone they are a disguise only
    between small letters of a word, in a text without Greek words and without letters of languages that borrow
    from Greek; γ never is (Kabyle writes it).
    """
    foreign = {char for script, run in runs if script != "latin" for char in run}
    if not foreign <= _SYMBOLS.keys():
        return False
    latin = "".join(run for script, run in runs if script == "latin")
    if "γ" in foreign or "greek" in around.pure or runs[0][0] != "latin" or around.has_rare_latin:
        return True
    if len(runs) < 3 or len(latin) < (_MIN_SMALL_LETTERS if latin.islower() else _MIN_TITLE_LETTERS):
        return True
    return not (latin.islower() or latin.istitle()) or any(_FUNCTION.search(run) for _, run in runs)
