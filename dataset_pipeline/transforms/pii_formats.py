"""How identifiers are written: lengths, prefixes, check digits, and the words that mark other numbers.

Lives here: facts about formats and pure checks on strings, without Presidio. Keep out: scores.
"""

from __future__ import annotations

import re

_PHONE_GAP = r"[-x ().\[\]/~\u2053\u223c\u30fc]"
"""What libphonenumber takes for punctuation within a number."""

SEVEN_DIGITS = re.compile(rf"\d(?:{_PHONE_GAP}{{0,4}}\d){{6}}")
"""Every phone has seven digits with small gaps: shorter ones are extensions and short codes, and lead to
no person. Cards and social security numbers have more, with smaller gaps."""
DIGITS_WITH_GAPS = re.compile(rf"\d(?:{_PHONE_GAP}{{0,4}}\d){{6,}}")
SEVEN_DIGITS_ON_LINES = re.compile(rf"\d(?:(?:{_PHONE_GAP}|[\t\r\n>]){{0,6}}\d){{6}}")
"""The same where lines end within the number."""

DECIMAL = re.compile(r"\W*0\.\d|\d{1,2}\.\d+(?:\W+\d+)?\W*$")
EXPRESSION = re.compile(
    r"(?!(?:1[-/])?\d{3}[-/]\d{3}-\d{4}$|\d{3}/\d{3}/\d{4}$)[1-9]\d*(?:\s*[-/]\s*\d+)+$|\d{4} \d{4}$"
)
"""A difference, a quotient or two years; the North American 3-3-4 is taken for a phone."""
SSN_SHAPE = re.compile(r"\d{3}([- .])\d{2}\1\d{4}$")
DOTTED_QUAD = re.compile(r"(?:\d{1,3}\.){3}\d{1,3}$")
"""Numbers of other kinds, in groups that no phone of usual writing has."""

_LINE_BREAK = r"[ \t]*\r?\n[ \t>]*"
"""A line break with the blanks around it, and the marks of a quoted mail."""
_GAP = rf"(?:[ .-]?{_LINE_BREAK}|[ .-])"
"""What stands between the groups of a number; at its place the line may end.
Texts are looked at as `pii_view.plain_view` gives them: all blanks and dashes are these."""

# Addresses --------------------------------------------------------------------------------------------

BROKEN_AT = rf"@(?:{_LINE_BREAK})?"
ENCODED_AT = r"(?:%40|\\{1,8}u0040|&#0*64;|&#x0*40;|&commat;)"
"""The @ in a link, in JSON, in a page."""
SPELLED_AT = r"\s?(?:\(\s?(?:at|@)\s?\)|\[\s?(?:at|@)\s?\]|\{\s?(?:at|@)\s?\})\s?"
SPELLED_DOT = r"\s?(?:\(\s?(?:dot|\.)\s?\)|\[\s?(?:dot|\.)\s?\]|\{\s?(?:dot|\.)\s?\})\s?"
"""As people write addresses that no crawler shall find."""


def plain_address(written: str) -> str:
    """An address of mail as it is meant, however its @ and its dots are written."""
    dotted = re.sub(SPELLED_DOT, ".", written, flags=re.IGNORECASE)
    at = re.sub(rf"{SPELLED_AT}|{ENCODED_AT}", "@", dotted, flags=re.IGNORECASE)
    return re.sub(r"[\s>]", "", at)


# Numbers ----------------------------------------------------------------------------------------------

DATE = re.compile(
    r"(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](?:19|20)\d{2})(?!\d)"
    r"|\d{1,2}([-/.])\d{1,2}\1\d{2}$"
)
"""A date at the start of a candidate, as day, month and year in any order; a time may follow."""

_THINGS = (
    "order|invoice|ticket|tracking|parcel|shipment|booking|reservation|serial|article|sku|isbn|issn|ean|upc|doi|"
    "receipt|transaction|version|release|build|revision|commit|error|rma|batch|lot|quote|bestellung|rechnung"
)
_THINGS_WITH_NUMBER = (
    "case|customer|client|member|account|policy|contract|part|model|item|product|licen[cs]e|claim|reference|"
    "issue|bug|job|project|device|meter|tax|vat|routing|sort|bank|membership|registration|patent"
)
_NUMBER_WORD = r"(?:no|nr|num|numbers?|id|ids|code|ref|reference)\b\.?"
NUMBERED_THING_BEFORE = re.compile(
    rf"(?:\b(?:{_THINGS})s?\b(?:\s*{_NUMBER_WORD})?|\b(?:{_THINGS_WITH_NUMBER})\s+{_NUMBER_WORD}|\bref\b\.?)"
    r"\s*[:#=(\"'/-]*\s*(?:(?:is|was|are|of)\s+)?[#(\"']?$",
    re.IGNORECASE,
)
"""The text before a number ends by saying that it is the number of a thing."""

VERSION_BEFORE = re.compile(
    r"(?:(?:\b|(?-i:(?<=[a-z])(?=V)))(?:v|ver|versions?|releases?|released|builds?|rev|revisions?|firmware|driver|update[ds]?|patch|"
    r"upgraded?|downgraded?|software|bios|uefi|edition|section|chapter|clause|figure|step)\b\.?"
    r"(?:\s+(?:no|number|to|from|is|was|of|with))?(?:[\s(]+v?[0-9.]+[\s)]+(?:to|and|or))?[\s:#=('\"-]*|[A-Za-z][-_]|\bv|[0-9]\.)$",
    re.IGNORECASE,
)
VERSION_AFTER = re.compile(
    r"\.[0-9]|[-+~_](?:alpha|beta|rc|snapshot|dev|pre|final|ga|hotfix|lts|[a-z]{0,7}[0-9])|-[0-9]",
    re.IGNORECASE,
)
FILE_NAME_AFTER = re.compile(
    r"\.(?:exe|zip|msi|dmg|pkg|deb|rpm|jar|tar|tgz|gz|xz|apk|ipa|dll|so|whl|iso|bin|img|pdf|txt|log|md)\b",
    re.IGNORECASE,
)

PHONE_RUN = re.compile(
    r"(?<![\w/:+-])(?<!\w[.,])\(?(?<!\d)\d{1,15}\)?(?:[ ./-]{1,2}\(?\d{1,8}\)?){0,6}(?![\w:]|[.,/-]\d)"
)
PHONE_START = re.compile(r"[+(]?(?<![\w.,:/])\d[\d ()./-]*$")
WITHIN_PHONE = re.compile(rf"(?<=[\d)-]){_LINE_BREAK}(?=\(?\d)")
"""The number that a line ends with, and a break between digits."""

PHONE_BEFORE = re.compile(
    r"(?<![^\W_])(?:(?:my|our|his|her|their)\s+(?:new\s+|other\s+|own\s+|direct\s+)?number|(?:reach|contact|text|message)\s+(?:me|us|him|her|them)|"
    r"(?:answer(?:s|ed|ing)?|pick(?:s|ed|ing)?\s+up)\s+(?:at|on)|(?:reachable|reached|contacted|available)\s+(?:at|on|under|via)|"
    r"phones?|telephone|tel|cell(?:phone)?|mobile|mob|call|ring|dial|whatsapp|sms|fax|hotline|landline|"
    r"telefon|handy|ph|text|txt|text\s+messages?|mobil|rückruf|t[eé]l[eé](?:fono|phone)|m[oó]vil|portable|"
    r"ll[aá]m\w{1,6}(?:\s+al?)?|(?:ri)?chiam\w{1,6}(?:\s+al)?|n[uú]mero(?:\s+\w+){0,2}\s+es(?:\s+el)?|callback|appele[rz](?:-(?:moi|nous))?(?:\s+(?:au|le))?)(?:_?(?:no|nr|number))?\b\.?"
    r"(?:\s+(?:me|us|him|her|them|back|numbers?|no|nr|is|was|at|on|to|from|under|unter|via|au|al|please)\b\.?)*"  # spellchecker:disable-line
    r"[\"'\\]*\s*[:#=]*\s*[\"'\\]*$",
    re.IGNORECASE,
)
PHONE_LETTER_BEFORE = re.compile(
    r"(?:^|[\n|;,/\u00b7\u2022]|[ ]{2,})[ \t]*(?:[tpmcofwhd]|home|work|office|direct|main|evenings?)[.:]{1,2}[ \t]*$",
    re.IGNORECASE,
)
"""T: M: Home: and the like, as in signatures and forms."""
PHONE_AFTER = re.compile(r"(?:\s*[-(]\s*|[ \t]+)(?:fax|mobile|cell|office)\b", re.IGNORECASE)
"""The text before a number ends, or the text after it begins, by saying that it is a phone."""
PHONE_KIND_AFTER = re.compile(r"(?:-|\s?\()(?:fax|phone|tel|mobile|cell|office|home|work)\b", re.IGNORECASE)
"""What kind of phone it is, joined to the number: this tells of one run of digits too."""

# Cards ------------------------------------------------------------------------------------------------

CARD_RUN = re.compile(rf"(?<!\w)(?<!\d[.,-])(?<![+])[0-9]{{2,19}}(?:{_GAP}[0-9]{{1,19}}){{0,30}}(?!\w)")
CARD_LENGTHS: tuple[tuple[re.Pattern[str], frozenset[int]], ...] = tuple(
    (re.compile(prefix), frozenset(sizes))
    for prefix, sizes in (
        ("4", {13, 16, 19}),  # Visa
        ("5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720", {16}),  # Mastercard
        ("3[47]", {15}),  # American Express
        ("6011|64[4-9]|65", {16, 17, 18, 19}),  # Discover
        ("30[0-5]|3095|36|38|39", {14, 16, 19}),  # Diners Club
        ("35", {16, 17, 18, 19}),  # JCB
        ("2131|1800", {15}),  # JCB, older
        ("62|81", {16, 17, 18, 19}),  # UnionPay
        ("50|5[6-8]|63|67", {12, 13, 14, 15, 16, 17, 18, 19}),  # Maestro
        ("220[0-4]", {16, 17, 18, 19}),  # Mir
        ("60|82", {16}),  # RuPay
    )
)
"""Issuer prefix and the lengths its cards have."""


COMMON_CARD = re.compile(r"3[47]\d{13}|4\d{15}|5[1-5]\d{14}|6011\d{12}")
"""Of American Express, Visa, Mastercard and Discover, in the length that nearly all of them have."""
CARD_SIZES = range(12, 20)
MIN_ON_A_LINE = 4
"""Digits of a number that stand on one line, where a line ends within it: below it they are other numbers."""


def is_issued(digits: str) -> bool:
    """Whether an issuer has cards of this prefix and length."""
    return any(prefix.match(digits) and len(digits) in sizes for prefix, sizes in CARD_LENGTHS)


def is_card_run(run: str) -> bool:
    """Whether groups of digits are separated as on a card: all alike, and at most one line ends between them."""
    gaps = re.findall(r"[^0-9]+", run)
    broken = [gap for gap in gaps if "\n" in gap]
    if len(broken) == len(gaps) == 3 and re.fullmatch(r"\d{4}(?:\s+\d{4}){3}", run):
        return True  # a group a line
    if len(broken) > 1 or len({gap for gap in gaps if "\n" not in gap}) > 1:
        return False
    return not broken or all(sum(map(str.isdigit, part)) >= MIN_ON_A_LINE for part in run.split(broken[0]))


def has_card_groups(lengths: list[int]) -> bool:
    """Whether digits in groups of these lengths are written as on a card: one run, fours with a rest,
    4-6-4/5 or halves. Single digits and pairs are lists of other numbers."""
    if len(lengths) == 1:
        return True
    fours = all(length == 4 for length in lengths[:-1]) and 1 <= lengths[-1] <= 5 and len(lengths) >= 3
    return fours or lengths in (
        [4, 6, 4], [4, 6, 5], [8, 8], [6, 13], [4, 12], [6, 10], [6, 7], [4, 3, 3, 3]
    )  # fmt: skip


def has_rare_card_groups(lengths: list[int]) -> bool:
    """Whether they may be a card's where an issuer has its number: a blank was left out, or a line ends."""
    return len(lengths) in (2, 3) and min(lengths) >= 4


def passes_luhn(digits: str) -> bool:
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0


# IBAN -------------------------------------------------------------------------------------------------

IBAN_START = re.compile(r"(?<![A-Za-z0-9])(?P<country>[A-Za-z]{2}) ?[0-9]{2}")
IBAN_LENGTHS: dict[str, int] = {
    country: length
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FI FK FO GL NL SD",
        19: "MK SI",
        20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU YE",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
    for country in countries.split()
}
"""Characters of an IBAN by country, from the IBAN registry."""

_IBAN_STEP = re.compile(rf"{_GAP}?[A-Za-z0-9]")


_IBAN_GROUPS = re.compile(
    r"[A-Z]{2}[0-9A-Z]+|[A-Z]{2}[0-9]{2}(?:[ -][0-9A-Z]{4})+(?:[ -][0-9A-Z]{1,3})?"
    r"|[a-z]{2}[0-9a-z]+|[a-z]{2}[0-9]{2}(?:[ -][0-9a-z]{4})+(?:[ -][0-9a-z]{1,3})?"
)


def iban_end(text: str, start: int, length: int) -> int | None:
    """Where the IBAN of `length` characters ends that starts at `start`; None where it is cut or goes on.

    Characters may be in groups, with one separator between them.
    """
    end = start
    for _ in range(length):
        step = _IBAN_STEP.match(text, end) if end > start else re.compile("[A-Za-z]").match(text, end)
        if step is None:
            return None
        end = step.end()
    return None if text[end : end + 1].isalnum() else end


def iban_spans(text: str) -> list[tuple[int, int]]:
    """Where IBANs stand: a country that has them, its length, check digits, and one run or groups of four; in other
    groups at least half digits: words in a row ('is 10 years …') pass the rest by chance."""
    spans = []
    for start in IBAN_START.finditer(text):
        length = IBAN_LENGTHS.get(start.group("country").upper())
        end = iban_end(text, start.start(), length) if length else None
        if end is not None and passes_mod97(written := text[start.start() : end]):
            is_usual = _IBAN_GROUPS.fullmatch(written) is not None
            if is_usual or 2 * sum(map(str.isdigit, written)) >= (length or 0):
                spans.append((start.start(), end))
    return spans


def passes_mod97(iban: str) -> bool:
    """Check digits by ISO 7064, whatever the case and the separators; 00, 01 and 99 are never given."""
    compact = re.sub(r"[^A-Za-z0-9]", "", iban).upper()
    number = "".join(str(int(char, 36)) for char in compact[4:] + compact[:4])
    return compact[2:4] not in ("00", "01", "99") and int(number) % 97 == 1
