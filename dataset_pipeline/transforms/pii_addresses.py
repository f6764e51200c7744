"""Addresses on a network: of mail, of machines, of pages.

Lives here: their recognizers. Keep out: how they are written (`pii_formats`), the engine. Importing this module imports
Presidio: do it inside a function.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

import tldextract
from presidio_analyzer import Pattern, PatternRecognizer, RecognizerResult
from presidio_analyzer.predefined_recognizers import EmailRecognizer, IpRecognizer

from dataset_pipeline.transforms.pii_formats import (
    BROKEN_AT,
    ENCODED_AT,
    FILE_NAME_AFTER,
    SPELLED_AT,
    SPELLED_DOT,
    VERSION_AFTER,
    VERSION_BEFORE,
    plain_address,
)
from dataset_pipeline.transforms.pii_found import ReadTwice, words_before
from dataset_pipeline.transforms.pii_view import number_view, plain_view


@lru_cache(maxsize=1)
def _suffixes() -> tldextract.TLDExtract:
    """The public suffix list that is part of tldextract: nothing is fetched, nothing is written."""
    return tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)


_LOCAL = r"[\w+](?:[\w+&%~-]|[.'](?=[\w+&%~.-])){0,63}"
_LABEL = r"[^\W_]{1,63}(?:-+[^\W_]{1,63})*"
_ESCAPED = re.compile(r"(?<!\\)(?:\\\\)*\\$")


_INNER_SUFFIXES = (".example", ".local", ".internal", ".intranet", ".corp", ".lan")
"""Of hosts that no public list knows."""


class Emails(ReadTwice, EmailRecognizer):  # type: ignore[misc]
    """E-mail addresses under a public suffix, by the suffix list that is part of tldextract.

    The @ may be written as in a link, in JSON or in a page, be followed by the end of a line, or be spelled in
    brackets, as the dots then may. The local part is bounded (64 characters, RFC 5321), or a long run of letters costs
    quadratic time; of the marks that it may hold, those are left out that stand before addresses in code (= / { `).
    """

    PATTERNS = [  # noqa: RUF012 (Presidio's own form)
        Pattern("address", rf"{_LOCAL}(?:{BROKEN_AT}|{ENCODED_AT}){_LABEL}(?:\.{_LABEL})+(?![^\W_])", 0.5),
        Pattern("spelled", rf"{_LOCAL}{SPELLED_AT}{_LABEL}(?:(?:\.|{SPELLED_DOT}){_LABEL})+(?![^\W_])", 0.5),
    ]

    def __init__(self) -> None:
        super().__init__(name="emails")

    def search(self, text: str) -> list[RecognizerResult]:
        view = plain_view(text)
        results: list[RecognizerResult] = PatternRecognizer.analyze(self, view, self.supported_entities)
        for result in results:
            # The letter of an escape, as in a string of JSON, is no part of the address behind it.
            if view[result.start] in "nrt" and _ESCAPED.search(view[max(0, result.start - 8) : result.start]):
                result.start += 1
        return results

    def validate_result(self, pattern_text: str) -> bool:
        host = plain_address(pattern_text).rpartition("@")[2]
        return bool(_suffixes()(host).fqdn) or host.lower().endswith(_INNER_SUFFIXES)


class Ips(ReadTwice, IpRecognizer):  # type: ignore[misc]
    """IP addresses of machines on a network.

    Not found: versions (a word such as 'version' before, a suffix such as '-rc1' or a fifth number
    after, a file name), loopback, unspecified and mask addresses, and two colons in code: IPv6 starts
    with four hex digits, as every address in use does. A dotted quad of numbers all below 64 scores
    0.3 and needs a context word: it reads like a version, and one public address in 256 looks so.
    """

    CONTEXT = """
        ip ips ipv4 ipv6 address addresses server servers host hosts router gateway dns ping subnet network
        proxy firewall vpn login logged
        """.split()  # noqa: SIM905
    SMALL_NUMBER = 64

    def __init__(self) -> None:
        super().__init__(name="ips")

    def search(self, text: str) -> list[RecognizerResult]:
        view = number_view(text)
        results = PatternRecognizer.analyze(self, view, self.supported_entities)
        return [result for result in results if self._is_address(view, result)]

    def _is_address(self, text: str, result: RecognizerResult) -> bool:
        address = ipaddress.ip_interface(text[result.start : result.end]).ip
        before, after = words_before(text, result.start), text[result.end : result.end + 16]
        if isinstance(address, ipaddress.IPv6Address):
            first = text[result.start : result.end].split(":")[0]
            is_slice = re.search(r"\w\[$", before) is not None and "]" in after[:1]
            return (len(first) == 4 or address.ipv4_mapped is not None) and not is_slice
        numbers = address.packed
        if address.is_loopback or address.is_unspecified or numbers[0] == 255:
            return False
        if VERSION_BEFORE.search(before) or VERSION_AFTER.match(after) or FILE_NAME_AFTER.match(after):
            return False
        if max(numbers) < self.SMALL_NUMBER:
            result.score = 0.3
        return True


class Urls(ReadTwice, PatternRecognizer):  # type: ignore[misc]
    """Addresses of pages: with a scheme, with www, or a host under a public suffix.

    A host alone reads like a file's name or an attribute in code (`sys.pa`, `main.py`, `java.io`): it counts under
    suffixes that are neither, in one case, and with a path under every other but those of files.
    """

    PATTERNS = [  # noqa: RUF012 (Presidio's own form)
        Pattern("scheme", r"(?<![\w.])(?:https?|ftp)://[^\s<>\"'`{}|\\^\[\]]+", 0.9),
        Pattern("host", rf"(?<![\w@./\\-])(?:{_LABEL}\.){{1,8}}[^\W\d_]{{2,18}}(?::\d{{2,5}})?(?:[/?#][^\s<>\"'`{{}}|\\^\[\]]*)?(?![\w@(-])", 0.5),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__(
            supported_entity="URL",
            patterns=self.PATTERNS,
            name="urls",
            context=["website", "site", "url", "link"],
        )

    def search(self, text: str) -> list[RecognizerResult]:
        view = plain_view(text)
        results = []
        for result in PatternRecognizer.analyze(self, view, self.supported_entities):
            written = _trimmed_url(view[result.start : result.end])
            result.end = result.start + len(written)
            if "://" in written or self._is_host(written):
                results.append(result)
        return results

    @staticmethod
    def _is_host(written: str) -> bool:
        host, path = re.match(r"([^/?#:]*)(.*)", written, re.DOTALL).groups()  # type: ignore[union-attr]
        suffix = _suffixes()(host).suffix
        if not suffix or suffix == host or not (host.islower() or host.isupper() or suffix == suffix.lower()):
            return False
        last = suffix.rpartition(".")[2].lower()
        if host.lower().startswith("www.") or "." in suffix or last in _PLAIN_SUFFIXES:
            return True
        return path[:1] == "/" and last not in _FILE_SUFFIXES


_PLAIN_SUFFIXES = frozenset(
    [
        "com",
        "org",
        "net",
        "edu",
        "gov",
        "eu",
        "de",
        "fr",
        "uk",
        "nl",
        "se",
        "ch",
        "jp",
        "ru",
        "br",
        "au",
        "cz",
        "dk",
        "fi",
        "hu",
        "ie",
        "kr",
        "pt",
        "ro",
        "ua",
        "cn",
        "nz",
        "ca",
    ]
)
_FILE_SUFFIXES = frozenset(
    [
        "py",
        "pl",
        "sh",
        "rs",
        "md",
        "zip",
        "mov",
        "so",
        "ps",
        "cc",
        "pm",
        "ml",
        "ai",
        "app",
        "name",
        "java",
        "id",
    ]
)
"""Suffixes that are no ending of files and no word of code; and those that are endings of files."""


def _trimmed_url(written: str) -> str:
    """Without the marks of the sentence around it: closing brackets stay where one was opened."""
    while written:
        last = written[-1]
        if last in ".,;:!?*_~" or (last in ")" and written.count(")") > written.count("(")):
            written = written[:-1]
        else:
            break
    return written
