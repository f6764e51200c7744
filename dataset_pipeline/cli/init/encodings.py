"""Which encoding some bytes have, where nobody says: a guess that is always called one.

Lives here: bytes in, the name of an encoding out. Keep out: files, formats. The pipeline itself never guesses an
encoding: `init` writes what it found into the spec, where a person sees it.
"""

from __future__ import annotations

import codecs
import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator

HEAD_BYTES = 2**16
SCANNED_BYTES = 2**28
"""Unpacked bytes of a file that are looked at: a quarter of a gigabyte takes about a second."""
SAMPLE_LINES, SAMPLE_LINE_BYTES = 2000, 2000
"""Lines with other characters than ASCII that the guess is made from, and how much of each."""

EIGHT_BIT = ("cp1252", "cp1250", "cp1255", "cp1251", "koi8_r", "cp1253", "cp1254", "cp1256", "cp437")
MULTI_BYTE = ("shift_jis", "euc_jp", "gb18030", "big5", "euc_kr")
"""What is tried, in this order, where a file is not UTF-8: the Windows code pages, then those of East Asia."""

MAX_IMPLAUSIBLE, CLEARLY = 0.2, 3.0
"""cp1252 stands unless more than a fifth of its words look wrong, and another has a third of that or less."""

_MARKS = ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"),
          (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip
_WORD = re.compile(r"[^\W\d_]*[^\x00-\x7f\s]+(?:[^\W\d_]|[^\x00-\x7f\s])*")
_FREQUENT: dict[str, tuple[str, float]] = {
    "cp1251": ("оеаинтОЕАИНТ", 0.35), "koi8_r": ("оеаинтОЕАИНТ", 0.35), "cp1253": ("αοιετσνΑΟΙΕΤΣΝ", 0.35),
    "cp1255": ("יוהלאמתר", 0.4), "cp1256": ("اليمنوة", 0.4), "gb18030": ("的一是不了在人有我这你中之也者而", 0.05),
    "big5": ("的一是不了在人有我這你中之也者而", 0.05), "euc_kr": ("이다는에의가고을를하지은로", 0.12),
}  # fmt: skip
"""The letters that a text of such an encoding holds most of, and the least share of them; below it is another's."""
_KANA_SHARE = 0.2
"""Japanese holds half kana and more; texts of other encodings read as Japanese hold next to none."""

_BETWEEN = "\u00a0’‘“”„‚«»…–—\u00ad•€£§©®°·´`¿¡†‡™。、・「」『』（）！？：；，"
"""Characters that stand beside words in ordinary text."""
_WIDE = re.compile("[\u3000-\u303f\uff00-\uff0f\uff1a-\uff20\u30fb]")
"""Punctuation of East Asia: it stands between words without a space."""


def encoding_of(blocks: Iterable[bytes]) -> tuple[str, bool]:
    """The encoding of some text, and whether it is a guess.

    utf-8 where all of it decodes, and where most lines that are not ASCII do: the others are then bad lines, not
    another encoding. utf-16 and utf-32 by their byte order mark, or utf-16 by every other byte being zero.
    Else the most plausible of EIGHT_BIT and MULTI_BYTE.
    """
    good = bad = seen = 0
    sample: list[bytes] = []
    for block in _whole_lines(blocks):
        if not seen:
            mark = next((name for mark, name in _MARKS if block.startswith(mark)), None)
            if mark is not None:
                return mark, False
            if (sided := _zeros(block[:HEAD_BYTES])) is not None:
                return sided, True
        seen += len(block)
        if not block.isascii():
            for line in block.split(b"\n") if not _is_utf8(block) else ():
                if line.isascii():
                    continue
                if _is_utf8(line):
                    good += 1
                else:
                    bad += 1
                    if len(sample) < SAMPLE_LINES:
                        sample.append(line[:SAMPLE_LINE_BYTES])
            if _is_utf8(block):
                good += sum(1 for line in block.split(b"\n") if not line.isascii())
        if seen >= SCANNED_BYTES:
            break
    if bad <= good:
        return "utf-8", False
    return _most_plausible(sample), True


def _whole_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes, cut behind newlines; a line longer than a block is cut where the block ends."""
    rest = b""
    for block in blocks:
        cut = block.rfind(b"\n") + 1
        if cut:
            yield rest + block[:cut]
            rest = block[cut:]
        elif len(rest) > 2**24:
            yield rest
            rest = block
        else:
            rest += block
    if rest:
        yield rest


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _zeros(head: bytes) -> str | None:
    if len(head) < 8 or b"\0" not in head:
        return None
    even, odd = head[::2].count(0) / len(head[::2]), head[1::2].count(0) / len(head[1::2])
    if odd > 0.3 and even < 0.05:
        return "utf-16-le"
    return "utf-16-be" if even > 0.3 and odd < 0.05 else None


def _most_plausible(lines: list[bytes]) -> str:
    """The encoding under which the fewest words look wrong; cp1252 unless another is clearly better."""
    usual = _implausible(lines, "cp1252")
    if usual <= MAX_IMPLAUSIBLE:
        return "cp1252"
    scored = [
        (_implausible(lines, name), place, name) for place, name in enumerate((*EIGHT_BIT, *MULTI_BYTE))
    ]
    score, _, name = min(scored)
    return name if score * CLEARLY <= usual else "cp1252"


def _implausible(lines: list[bytes], encoding: str) -> float:
    """The share of words with other characters than ASCII that look wrong; lines that do not decode are wrong."""
    wrong, words = 0.0, 0
    letters: list[str] = []
    for line in lines:
        try:
            text = line.decode(encoding)
        except UnicodeDecodeError as error:
            if len(line) < SAMPLE_LINE_BYTES or error.end < len(line) - 4:
                wrong, words = wrong + 3, words + 3
                continue
            text = line.decode(encoding, "ignore")
        for word in _WORD.findall(_WIDE.sub(" ", text)):
            words += 1
            letters += [c for c in word if not c.isascii() and c.isalpha()]
            wrong += _looks_wrong(word)
    if not words or not _has_frequent_letters(letters, encoding):
        return 1.0
    return wrong / words


def _has_frequent_letters(letters: list[str], encoding: str) -> bool:
    if encoding in ("shift_jis", "euc_jp"):
        return sum(1 for c in letters if "\u3041" <= c <= "\u30ff") >= _KANA_SHARE * len(letters)
    frequent, share = _FREQUENT.get(encoding, ("", 0.0))
    return sum(1 for c in letters if c in frequent) >= share * len(letters)


def _looks_wrong(word: str) -> float:
    """0 for a word that may be one, 1 for one that is none: symbols inside, scripts mixed, a capital at its end."""
    word = word.strip(_BETWEEN)
    if not word:
        return 0.0
    categories = [unicodedata.category(c) for c in word]
    if any(c[0] == "C" for c in categories) or any(
        c[0] in "SP" and w not in "-'’·&_-" for c, w in zip(categories, word, strict=True)
    ):
        return 1.0
    letters = [(c, w) for c, w in zip(categories, word, strict=True) if c[0] == "L"]
    if any(a[0] == "Ll" and b[0] == "Lu" for a, b in itertools.pairwise(letters)):
        return 1.0
    scripts = {_script(w) for _, w in letters}
    if len(scripts) > 1:
        return 1.0
    if scripts == {"LATIN"}:
        return 1.0 if re.search(r"[^\x00-\x7f]{3}", word) else 0.0
    return 0.6 if scripts & {"HALFWIDTH", "PRIVATE"} else 0.0


def _script(letter: str) -> str:
    if letter.isascii():
        return "LATIN"
    name = unicodedata.name(letter, "PRIVATE").split(" ")[0].split("-")[0]
    return "CJK" if name in ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "IDEOGRAPHIC", "FULLWIDTH") else name
