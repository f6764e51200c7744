"""What single licences ask for, by identifier.

Lives here: obligations, the list of licences we know, the address of a text, which share-alike licence may take
the place of another. Keep out: expressions and the spec (`licences`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Obligations:
    """What a licence asks of who passes the material on.

    attribution: name the author, or keep the notice. share_alike: adapted material under the same licence.
    non_commercial: no commercial use. no_derivatives: adapted material is not passed on. known: False where a
    part of the expression is not in our list; the other fields then hold what the known parts ask for.
    """

    attribution: bool = False
    share_alike: bool = False
    non_commercial: bool = False
    no_derivatives: bool = False
    known: bool = True

    def __or__(self, other: Obligations) -> Obligations:
        """Of material under both: what either asks for."""
        return Obligations(
            self.attribution or other.attribution,
            self.share_alike or other.share_alike,
            self.non_commercial or other.non_commercial,
            self.no_derivatives or other.no_derivatives,
            self.known and other.known,
        )

    @property
    def asked(self) -> frozenset[str]:
        """The names of the obligations that hold."""
        return frozenset(name for name in OBLIGATION_WORDS if getattr(self, name))


OBLIGATION_WORDS: dict[str, str] = {
    "attribution": "attribution",
    "share_alike": "share-alike",
    "non_commercial": "non-commercial use only",
    "no_derivatives": "no derivatives",
}
"""Obligation to its words, in the order in which they are shown."""

CREATIVE_COMMONS = re.compile(
    r"CC-(?P<parts>BY(?:-NC)?(?:-SA|-ND)?|SA)-(?P<version>\d\.\d)(?:-(?P<place>[A-Z]{2,3}))?", re.IGNORECASE
)
_NONE = Obligations()
_NOTICE = Obligations(attribution=True)
_COPYLEFT = Obligations(attribution=True, share_alike=True)
_FAMILIES: tuple[tuple[str, Obligations], ...] = (
    (r"CC0-1\.0|CC-PDM-1\.0|CC-PDDC|PDDL-1\.0|Unlicense|0BSD|MIT-0|DL-DE-ZERO-2\.0|WTFPL", _NONE),
    (r"ODC-By-1\.0|CDLA-Permissive-[12]\.0|DL-DE-BY-2\.0|OGL-(UK|Canada)-\d\.0|etalab-2\.0|NLOD-[12]\.0", _NOTICE),
    (r"MIT|ISC|BSD-[1234]-Clause|BSD-2-Clause-Patent|BSD-3-Clause-Clear|Apache-(1\.0|1\.1|2\.0)|Zlib|BSL-1\.0", _NOTICE),
    (r"PostgreSQL|NCSA|ECL-2\.0|AFL-3\.0|Python-2\.0|W3C", _NOTICE),
    (r"ODbL-1\.0|CDLA-Sharing-1\.0|LAL-1\.[23]|(A|L)?GPL-\d\.\d|GFDL-1\.\d(-(no-)?invariants)?", _COPYLEFT),
    (r"MPL-(1\.0|1\.1|2\.0)|EUPL-1\.[012]|OSL-3\.0|EPL-[12]\.0", _COPYLEFT),
    (r"PolyForm-Noncommercial-1\.0\.0|NCGL-UK-2\.0", Obligations(attribution=True, non_commercial=True)),
)  # fmt: skip
"""Identifiers without `-only`, `-or-later` and `+`, and what they ask for. To teach a licence, add it here."""

_WITH = " WITH "
_LATER = ("-or-later", "+")
_TAIL = re.compile(r"(-only|-or-later|\+)$")


def terms_of(identifier: str) -> Obligations:
    """What a licence asks for; of `X WITH exception` what X does."""
    bare = _TAIL.sub("", identifier.partition(_WITH)[0])
    if found := CREATIVE_COMMONS.fullmatch(bare):
        parts = found["parts"].upper().split("-")
        return Obligations("BY" in parts, "SA" in parts, "NC" in parts, "ND" in parts)
    for pattern, asked in _FAMILIES:
        if re.fullmatch(pattern, bare, re.IGNORECASE):
            return asked
    return Obligations(known=False)


def address(identifier: str, on_the_list: bool) -> str | None:
    """Where the text of a licence stands: Creative Commons' own page, else its page on the SPDX list.

    on_the_list: whether SPDX knows the identifier (without a trailing +); None for one that is not.
    """
    bare = _TAIL.sub("", identifier)
    if found := CREATIVE_COMMONS.fullmatch(bare):
        parts = found["parts"].lower()
        if (parts, found["version"]) == ("by-nc-nd", "1.0"):
            parts = "by-nd-nc"  # version 1.0 named its parts in another order
        place = f"{found['place'].lower()}/" if found["place"] else ""
        return f"https://creativecommons.org/licenses/{parts}/{found['version']}/{place}"
    if bare.upper() == "CC0-1.0":
        return "https://creativecommons.org/publicdomain/zero/1.0/"
    if bare.upper() == "CC-PDM-1.0":
        return "https://creativecommons.org/publicdomain/mark/1.0/"
    if "licenseref" in identifier.lower() or not on_the_list:
        return None
    return f"https://spdx.org/licenses/{identifier.removesuffix('+')}.html"


_Version = tuple[int, ...]


def family(identifier: str) -> tuple[str, _Version]:
    """`CC-BY-SA-3.0-DE` is (CC-BY-SA, (3, 0)), `GPL-2.0-or-later` is (GPL, (2, 0))."""
    found = re.match(r"(.*?)-(\d+(?:\.\d+)*)", identifier)
    if not found:
        return identifier.upper(), ()
    return found[1].upper(), tuple(int(part) for part in found[2].split("."))


def shares(identifier: str, of: str) -> bool:
    """Whether adapted material of a share-alike licence `of` may carry the licence `identifier`."""
    if identifier.upper() == of.upper():
        return True
    (identifier, _, exception), (of, _, granted) = identifier.partition(_WITH), of.partition(_WITH)
    if exception and exception.upper() != granted.upper():
        return False  # it would allow more than was given
    (own, version), (needed, since) = family(identifier), family(of)
    is_later, may_be_later = identifier.endswith(_LATER), of.endswith(_LATER)
    if (needed, since) == ("CC-BY-SA", (4, 0)) and (own, version) == ("GPL", (3, 0)):
        return not is_later  # Creative Commons' list of compatible licences names this version alone
    if own != needed:
        return False
    if CREATIVE_COMMONS.fullmatch(of):
        return version >= since and since >= (2, 0)  # from 2.0 on a later version will do; 1.0 allows none
    # Who may not use a later version may not allow one either.
    return (may_be_later or not is_later) and (version == since or (may_be_later and version > since))


def absorbs(one: str, other: str) -> bool:
    """Whether material under the licence `other` may surely be passed on under `one` alone, its attribution kept.

    Sure are: the same; a licence that asks for nothing; share-alike under a licence that it names; Creative Commons
    under a Creative Commons licence that asks for as much, of the same or a later version. A notice (MIT, Apache-2.0,
    OGL, …) has its own text to keep, and no licence stands for it. None where one of them is not known.
    """
    if one == other:
        return True
    own, asked = terms_of(one), terms_of(other)
    if not own.known or not asked.known or not asked.asked <= own.asked:
        return False
    if not asked.asked:
        return True
    if asked.share_alike:
        return shares(one, other)
    both = CREATIVE_COMMONS.fullmatch(one) and CREATIVE_COMMONS.fullmatch(other)
    return bool(both) and family(one)[1] >= family(other)[1]
