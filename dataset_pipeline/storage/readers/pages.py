"""Saved web pages: a file is one record, its main text and what the page says about itself.

Lives here: HTML to a row, and the limits that keep hostile pages from taking for ever. Keep out: reading a file
whole (`plain`), judging the text.

The main text is trafilatura's. The rest is read here, because trafilatura guesses it: its dates depend on the day on
which it runs. Nothing is fetched, nothing is logged (at its debug and error levels trafilatura logs text of pages),
and a page gives the same row whatever was read before it.
"""

from __future__ import annotations

import codecs
import datetime as dt
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from dataset_pipeline.spec.reading import Reading
from dataset_pipeline.storage.readers.plain import WholeFile, whole_file
from dataset_pipeline.storage.readers.rows import Item, RawRow, Reject

HtmlElement = Any
"""An lxml element: lxml has no types, and is imported late."""

COLUMNS = ("text", "title", "author", "date", "url", "language", "site")

MAX_ELEMENTS = 50_000
"""Elements of a page. Trafilatura takes time that grows faster than their number: 8 s for the worst 50,000 found (measured)."""
MAX_ATTRIBUTES = 1_000
"""Attributes of one element. The parser takes the square of their number: 5 s for 40,000 (measured)."""
MAX_CELLS = 1_000
"""Cells of one table row. Trafilatura takes the square of their number: 12 s for 49,000 (measured)."""
MAX_IN_PARAGRAPH = 10_000
"""Elements of one paragraph. Trafilatura takes the square of their number: 1 s for 10,000, 49 s for 49,000 (measured)."""
MAX_DEPTH = 200
"""Levels of elements. The parser drops what is deeper than 255, in silence."""
MAX_LEVELS = 1_000_000
"""Levels of all elements together: what is nested is searched once for each level. 2 s for lists in lists, 64 s for four times as many (measured)."""
_MAX_JSON_NODES = 10_000

_LOGGERS = ("trafilatura", "htmldate", "courlan", "justext", "charset_normalizer")
_NEVER = logging.CRITICAL + 1

_CHARSET = re.compile(rb"charset\s{0,9}=\s{0,9}[\"']?\s{0,9}([\w.:-]{1,40})", re.IGNORECASE)
_CHARSET_HEAD_BYTES = 4096
"""A browser looks at the first 1,024 bytes; some pages say it later."""

_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_NO_XML_REFERENCE = re.compile(
    r"&#(?:0*(?:[1-8]|1[124-9]|2\d|3[01]|6553[45])(?!\d)|x0*(?:[1-8bcef]|1[\da-f]|fff[ef])(?![\da-f]));?",
    re.IGNORECASE,
)
"""Characters that XML cannot hold, as themselves and as references. One of them would cost the whole text."""

_ISO_DATE = re.compile(r"\s*(\d{4})-?(\d\d)-?(\d\d)(?!\d)")
_TITLE = ("og:title", "dc.title", "twitter:title")
_AUTHOR = ("author", "article:author", "dc.creator", "dcterms.creator", "byl")
_SITE = ("og:site_name", "application-name")
_DATE = (
    "article:published_time", "og:published_time", "datepublished", "date", "pubdate", "publishdate",
    "dc.date", "dc.date.issued", "dcterms.issued", "dcterms.created", "dcterms.date", "datecreated",
)  # fmt: skip


def columns(path: Path, reading: Reading) -> list[str]:
    """Always the same: text, and what a page may say about itself."""
    return list(COLUMNS)


def read(path: Path, reading: Reading, max_record_bytes: int) -> Iterator[Item]:
    """One row {text, title, author, date, url, language, site}, None where the page does not say, or one reject.

    The encoding of the spec is tried first; a page that it does not fit is read by the one that the page itself declares,
    if it fits, else `invalid_encoding`. date: the day of publication, YYYY-MM-DD, where the page
    tells it in ISO form. A page without main text is `no_text`; one that is too large to search `too_long`.
    """
    whole = whole_file(path, reading, max_record_bytes)
    yield whole if isinstance(whole, Reject) else _row(whole)


def _row(whole: WholeFile) -> RawRow | Reject:
    text = whole.text()
    if isinstance(text, Reject) and text.reason == "invalid_encoding":
        text = _as_the_page_says(whole) or text
    if isinstance(text, Reject):
        return text
    try:
        tree = _parsed(text)
        facts = _facts(tree)
        main_text = _main_text(tree)
    except _NoPage as fault:
        return whole.reject(fault.reason, fault.detail)
    return RawRow(1, whole.byte_offset, {"text": main_text, **facts})


class _NoPage(Exception):
    def __init__(self, reason: str, detail: str):
        self.reason, self.detail = reason, detail


def _as_the_page_says(whole: WholeFile) -> str | Reject | None:
    """The page by the encoding that it declares; None where it declares none that is known.

    What calls itself ASCII or ISO 8859-1 is read as Windows-1252, as browsers do (WHATWG Encoding Standard).
    """
    found = _CHARSET.search(whole.data[:_CHARSET_HEAD_BYTES])
    if found is None:
        return None
    try:
        name = codecs.lookup(found[1].decode("ascii")).name
    except (LookupError, UnicodeError):
        return None
    name = "cp1252" if name in ("ascii", "iso8859-1") else name
    if name == whole.codec.name:
        return None
    try:
        return whole.data.decode(name)
    except (UnicodeError, LookupError):
        return whole.reject("invalid_encoding", f"{whole.codec.fault}, nor {name}, which the page declares")


class _Census:
    """A parser's target that counts, and stops at a limit."""

    def __init__(self) -> None:
        self.elements = self.depth = self.levels = self.cells = self.in_paragraph = 0
        self.is_paragraph = False

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.elements += 1
        self.depth += 1
        self.levels += self.depth
        self.cells = 0 if tag == "tr" else self.cells + (tag in ("td", "th"))
        self.in_paragraph = self.in_paragraph + 1 if self.is_paragraph else 0
        self.is_paragraph = self.is_paragraph or tag == "p"
        if self.elements > MAX_ELEMENTS:
            raise _NoPage("too_long", f"a page of more than {MAX_ELEMENTS} elements")
        if len(attributes) > MAX_ATTRIBUTES:
            raise _NoPage("too_long", f"an element with more than {MAX_ATTRIBUTES} attributes")
        if self.cells > MAX_CELLS:
            raise _NoPage("too_long", f"a table row of more than {MAX_CELLS} cells")
        if self.in_paragraph > MAX_IN_PARAGRAPH:
            raise _NoPage("too_long", f"a paragraph of more than {MAX_IN_PARAGRAPH} elements")
        if self.depth > MAX_DEPTH:
            raise _NoPage("too_deep", f"elements nested deeper than {MAX_DEPTH} levels")
        if self.levels > MAX_LEVELS:
            raise _NoPage("too_deep", f"{self.elements} elements or more, {MAX_LEVELS} levels together")

    def end(self, tag: str) -> None:
        self.depth -= 1
        self.is_paragraph = self.is_paragraph and tag != "p"

    def close(self) -> None:
        pass


def _parsed(text: str) -> HtmlElement:
    """The tree of a page. Raises _NoPage where it has none, or one that is too large."""
    from lxml import etree, html  # type: ignore[import-untyped]

    text = _NO_XML_REFERENCE.sub("", _NO_XML.sub(" ", text))
    data = text.encode()
    options: dict[str, Any] = {"encoding": "utf-8", "remove_comments": True, "remove_pis": True}
    parser = html.HTMLParser(collect_ids=False, default_doctype=False, **options)
    try:
        # The tree comes second: to build it takes the square of the number of attributes.
        etree.fromstring(data, etree.HTMLParser(target=_Census(), **options))
        tree = html.document_fromstring(data, parser=parser)
    except etree.LxmlError as error:
        own_log = error.error_log if isinstance(error, etree.LxmlSyntaxError) else ()
        if _is_over_limit(own_log) or _is_over_limit(parser.error_log):
            raise _NoPage("too_long", _OVER_LIMIT) from None
        raise _NoPage("no_text", "the page holds no elements") from None
    if _is_over_limit(parser.error_log):
        raise _NoPage("too_long", _OVER_LIMIT)
    return tree


_OVER_LIMIT = "a text, script or attribute of the page is longer than the HTML parser takes (about 10 MB)"


def _is_over_limit(error_log: Any) -> bool:
    """Whether the parser stopped at a limit of its own: it returns what it has, and says so here only."""
    return any(entry.level_name == "FATAL" for entry in error_log)


def _main_text(tree: HtmlElement) -> str:
    """The main text. Raises _NoPage."""
    import trafilatura

    for name in _LOGGERS:
        logging.getLogger(name).setLevel(_NEVER)
    try:
        found = trafilatura.bare_extraction(
            tree,
            fast=False,
            include_comments=False,
            include_tables=True,
            include_images=False,
            include_links=False,
            include_formatting=False,
            deduplicate=False,
            with_metadata=False,
        )
    except RecursionError:
        raise _NoPage("too_deep", "elements nested too deep to search them") from None
    except Exception as error:
        # Whatever a page can make the library raise: its words may hold text of the page, its type does not.
        raise _NoPage("no_text", f"the main text cannot be found ({type(error).__name__})") from None
    text = (found.text or "").strip() if found is not None else ""
    if not text:
        raise _NoPage("no_text", "the page has no main text")
    return str(text)


def _facts(tree: HtmlElement) -> dict[str, str | None]:
    """What the page says about itself, but for its text."""
    said = _said_in_head(tree)
    in_json = _said_in_json(tree)
    canonical = tree.xpath("string(//link[@rel='canonical'][1]/@href)")
    titles = [*map(said.get, _TITLE), tree.xpath("string(//title[1])"), tree.xpath("string((//h1)[1])")]
    languages = [tree.get("lang"), tree.get("xml:lang"), said.get("content-language"), said.get("og:locale")]
    dates = [*map(said.get, _DATE), in_json.get("date"), *_times(tree)]
    authors = [*map(said.get, _AUTHOR), in_json.get("author")]
    urls = [canonical, said.get("og:url"), in_json.get("url")]
    return {
        "title": _first(titles),
        "author": _first(author for author in authors if "://" not in (author or "")),
        "date": _first(map(_iso_day, dates)),
        "url": _first(url for url in urls if (url or "").strip().lower().startswith(("http://", "https://"))),
        "language": _first(languages),
        "site": _first([*map(said.get, _SITE), in_json.get("site")]),
    }


def _first(values: Any) -> str | None:
    """The first that says something, its white space collapsed."""
    return next((" ".join(value.split()) for value in values if value and not value.isspace()), None)


def _iso_day(value: str | None) -> str | None:
    """The day with which an ISO date or time begins."""
    found = _ISO_DATE.match(value or "")
    try:
        return dt.date(*map(int, found.groups())).isoformat() if found else None
    except ValueError:
        return None


def _said_in_head(tree: HtmlElement) -> dict[str, str]:
    """Lower-cased names of meta elements to the first content of each."""
    said: dict[str, str] = {}
    for meta in tree.iter("meta"):
        content = meta.get("content")
        for key in ("name", "property", "itemprop", "http-equiv"):
            name = meta.get(key)
            if name and content and not content.isspace():
                said.setdefault(name.strip().lower(), content)
    return said


def _times(tree: HtmlElement) -> list[str | None]:
    """Times that are marked as that of publication, then the first one of the first article."""
    marked = tree.xpath("//*[@itemprop='datePublished' or @pubdate]")
    said = [element.get("datetime") or element.get("content") for element in marked]
    return [*said, *tree.xpath("(//article)[1]//time/@datetime")[:1]]


def _said_in_json(tree: HtmlElement) -> dict[str, str]:
    """author, date, site and url of the first JSON-LD object that has each."""
    said: dict[str, str] = {}
    waiting: list[Any] = []
    for script in tree.xpath("//script[@type='application/ld+json']"):
        try:
            waiting.append(orjson.loads(script.text or ""))
        except orjson.JSONDecodeError:
            continue
    waiting.reverse()
    for _ in range(_MAX_JSON_NODES):
        if not waiting:
            break
        node = waiting.pop()
        if isinstance(node, list):
            waiting.extend(reversed(node))
        elif isinstance(node, dict):
            found = {
                "author": _names(node.get("author")),
                "date": node.get("datePublished") or node.get("dateCreated"),
                "site": _names(node.get("publisher")),
                "url": node.get("mainEntityOfPage"),
            }
            for name, value in found.items():
                if isinstance(value, str) and value:
                    said.setdefault(name, value)
            waiting.append(node.get("@graph"))
    return said


def _names(value: Any) -> str | None:
    """Names of persons or organizations, as JSON-LD writes them."""
    named = [
        v.get("name") if isinstance(v, dict) else v for v in (value if isinstance(value, list) else [value])
    ]
    return "; ".join(name for name in named if isinstance(name, str) and name) or None
