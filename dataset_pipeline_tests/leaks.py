"""Planted personal data, a project that holds it in odd places, and everything that a person or another program gets of it.

Lives here: what is planted where, running every command on it, and looking for it in whatever came out, however it is written. Keep
out: what must hold (`test_leaks`).
"""

from __future__ import annotations

import html
import io
import json
import re
import sqlite3
import unicodedata
import urllib.parse
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from dataset_pipeline_tests.scenario import call, csv_bytes, jsonl, make_project, row, rows, source, spec

ENTITIES = {
    "EMAIL_ADDRESS": "quillon.vexley@corvanta.com",
    "PHONE_NUMBER": "+49 30 23125417",
    "CREDIT_CARD": "4556737586899855",
    "IBAN_CODE": "DE89370400440532013000",
    "US_SSN": "536-22-8726",
    "IP_ADDRESS": "198.51.100.234",
}
"""One value of each kind. Nothing else in the project looks like any of them."""

FIRST, SECOND, LACKING, LABELLED, THIRD = (f"2026-03-0{n}" for n in (1, 2, 3, 4, 5))
MAIL, PHONE, CARD, IBAN, SSN, IP = ENTITIES.values()
MAPPED, UNMAPPED = f"Call {PHONE}", f"of {MAIL}"
"""Names of columns."""


# --- odd ways to write it -----------------------------------------------------------------


def _in_digits(zero: int) -> Callable[[str], str]:
    digits = {ord("0") + n: chr(zero + n) for n in range(10)}
    return lambda text: text.translate(digits)


def _wide(text: str) -> str:
    """Full-width signs, letters and digits."""
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


def _with(mark: str) -> Callable[[str], str]:
    """A character after every third."""
    return lambda text: mark.join(text[n : n + 3] for n in range(0, len(text), 3))


def grouped(value: str, gap: str) -> str:
    """A card or an IBAN in groups of four; others as they are."""
    return gap.join(value[n : n + 4] for n in range(0, len(value), 4)) if value in (CARD, IBAN) else value


_BROKEN = {
    MAIL: MAIL.replace("@", "@\n"), PHONE: "+49 30\n23125417", CARD: "4556 7375\n8689 9855",
    IBAN: "DE89 3704 0044\n0532 0130 00", SSN: "536-22-\n8726", IP: IP,
}  # fmt: skip


def _entities(text: str) -> str:
    signs = {"@": "&#64;", ".": "&#46;", "-": "&#45;", " ": "&nbsp;", "+": "&#43;"}
    return "".join(signs.get(c, c) for c in text)


def _link(text: str) -> str:
    link = urllib.parse.quote(text, safe="+ ") if text != PHONE else text.replace(" ", "")
    return f"https://example.com/find?who={link}"


FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "spaces": lambda text: grouped(text, " "),
    "dashes": lambda text: grouped(text, "-"),
    "arabic": _in_digits(0x660),
    "devanagari": _in_digits(0x966),
    "mathematical": _in_digits(0x1D7CE),
    "full-width": _wide,
    "soft hyphens": _with("\u00ad"),
    "zero width": _with("\u200b"),
    "joiners": _with("\u200d"),
    "byte order marks": _with("\ufeff"),
    "no-break": lambda text: text.replace(" ", "\u00a0").replace("-", "\u2011"),
    "two lines": lambda text: _BROKEN[text],
    "code block": lambda text: f'```python\nwho = "{text}"\n```',
    "code": lambda text: f"`{text}`",
    "json": lambda text: json.dumps({"who": text, "n": 1}),
    "json with slashes": lambda text: json.dumps({"u": f"https://example.com/x/{text}"}).replace("/", "\\/"),
    "json in json": lambda text: json.dumps(json.dumps({"who": text})),
    "entities": _entities,
    "entities of all": lambda text: "".join(f"&#x{ord(c):x};" for c in text),
    "link": _link,
    "table": lambda text: f"| who | {text} | yes |",
    "markup": lambda text: f"<who>{text}</who> and **{text}**",
    "pairs": lambda text: f"who={text};n=1",
    "escaped signs": lambda text: "".join(c if c.isalnum() else f"\\u{ord(c):04x}" for c in text),
    "link, all of it": lambda text: "https://example.com/?who=" + "".join(f"%{ord(c):02X}" for c in text),
    "emphasis": lambda text: f"_{text}_",
    "underscores": lambda text: f"user_{text}_old",
    "csv": lambda text: f"a,{text},b",
    "variants": lambda text: f"{text[:3]}\ufe0f{text[3:]}",
    "keycaps": lambda text: "".join(f"{c}\ufe0f\u20e3" if c.isdigit() else c for c in text),
    "circled": lambda text: "".join(chr(0x2460 + int(c) - 1) if c in "123456789" else c for c in text),
}
"""Word to how a value is written. What the recognizers do not find yet is not among them."""


# --- looking for it -----------------------------------------------------------------------

SEARCHED = {
    "quillon.vexley", "vexley@corvanta", "493023125417", "3023125417", "4556737586899855", "89370400440532013000", "536228726",
    "19851100234",
}  # fmt: skip
"""What is looked for in text that is read as ASCII in lower case; of numbers their digits alone."""
_WORDS = {word for word in SEARCHED if not word.isdigit()}
_NUMBERS = {word for word in SEARCHED if word.isdigit()}
_GAPS = re.compile(r"(?<=\d)[^\w]{1,4}(?=\d)")


def _ascii(text: str) -> str:
    read = unicodedata.normalize("NFKC", "".join(c for c in text if unicodedata.category(c) != "Cf"))
    return "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in read).lower()


def _readings(text: str) -> Iterator[str]:
    yield text
    if "%" in text:
        yield urllib.parse.unquote(text)
    if "&" in text:
        yield html.unescape(text)
    if "\\" in text:
        yield re.sub(r"\\u([0-9a-fA-F]{4})", lambda m: chr(int(m[1], 16)), text).replace("\\/", "/")


def found_in(text: str) -> set[str]:
    """Which planted values stand in `text`, as they are or escaped, spaced, in other digits."""
    found = set()
    for reading in _readings(text):
        plain = reading.lower() if reading.isascii() else _ascii(reading)
        found |= {word for word in _WORDS if word in plain}
        joined = _GAPS.sub("", plain)
        found |= {number for number in _NUMBERS if number in joined}
    return found


def excerpts(text: str) -> list[str]:
    """Lines of `text` that hold planted values."""
    return [line[:300] for line in text.splitlines() if found_in(line)] or [text[:300]]


# --- what came out ------------------------------------------------------------------------


@dataclass
class Outcome:
    """The project and what was written and said of it: place to text. A place is a file, a column of one, or a command."""

    root: Path
    said: dict[str, str] = field(default_factory=dict)

    def run(self, name: str, command: str, *arguments: str, spec_path: Path | None = None) -> int:
        result = call(command, spec_path or self.root / "dataset.yaml", *arguments)
        self.said[f"$ {name}"] = result.output
        return int(result.exit_code)


def texts_of(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key)
            yield from texts_of(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from texts_of(item)


def written(root: Path) -> dict[str, str]:
    """Place to text of all that lies beside the spec, but the raw files, the spec, the warehouse and the cache."""
    found: dict[str, str] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if not path.is_file() or path.is_symlink() or name.startswith(_RAW):
            continue
        found[f"name of {name}"] = name
        data = path.read_bytes()
        if path.suffix == ".parquet":
            frame = pl.read_parquet(path, glob=False)
            for column in frame.columns:
                found[f"{name}: {column}"] = "\n".join(texts_of([column, frame[column].to_list()]))
        elif data.startswith(b"SQLite format 3"):
            found |= {f"{name}: {table}": text for table, text in _tables(path)}
        else:
            found[name] = _unpacked(data)
    return found


_RAW = ("sources/", "eval/", "reviews/", "annotations/", "dataset.yaml", "warehouse.duckdb", "cache.duckdb")


def _unpacked(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _tables(path: Path) -> Iterator[tuple[str, str]]:
    """Every table of a SQLite file as text; packed values (Dagster keeps definitions so) unpacked."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        tables = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        for table in tables:
            out = io.StringIO()
            for record in connection.execute(f'SELECT * FROM "{table}"'):
                for value in record:
                    if isinstance(value, bytes):
                        try:
                            value = zlib.decompress(value).decode("utf-8", "replace")
                        except zlib.error:
                            value = value.decode("utf-8", "replace")
                    out.write(f"{value}\n")
            yield table, out.getvalue()


# --- the project --------------------------------------------------------------------------


MILLION = "million"


def texts() -> list[dict[str, Any]]:
    """A record for each form, with every value in it, and one of a million characters that ends with them."""
    said = {name: " and then ".join(map(form, ENTITIES.values())) for name, form in FORMS.items()}
    said[MILLION] = "The lamps of our branch are out again tonight. " * 21_500 + said["plain"]
    return [
        row(200 + n, id=name, customer=f"k{n}", label="bug", text=f"The {n}th branch wants to hear about the {name}: {text} - so please look.")
        for n, (name, text) in enumerate(said.items())
    ]  # fmt: skip


def plain(first: int, count: int) -> list[dict[str, Any]]:
    """Good rows without anything planted."""
    return [one | {"customer": None} for one in rows(first, count)]


def plant(root: Path) -> Path:
    """Write the project; the spec's path."""
    odd_ids = [
        row(300 + n, id=f"{value}-{n}", customer=value, text=f"Number {n} of the letters asks for a new handle on the {n + 3}rd door.")
        for n, value in enumerate(ENTITIES.values())
    ]  # fmt: skip
    odd_ids[0][UNMAPPED] = "yes"
    labels = [
        row(320 + n, id=f"{MAIL}/{n}", customer=None, label=value, text=f"Word {n} in a row whose label nobody knows, about the {n + 5}th window.")
        for n, value in enumerate((PHONE, SSN, IP))
    ]  # fmt: skip
    first = jsonl([*plain(0, 14), *odd_ids, *labels, *texts()])
    broken = f'{{"id": "{MAIL}", "text": "call {PHONE} or {CARD}\n'.encode()
    item = f"My new printer from the shop prints every page twice and {SSN} stands on each of them"
    sheet = [
        {
            "key": f"{MAIL}#{n}",
            MAPPED: f"The {n}th shelf in the hall is broken since the storm last week.",
            "kind": "wish",
        }
        for n in range(6)
    ]
    names = {
        "EMAIL_ADDRESS": MAIL,
        "PHONE_NUMBER": PHONE.replace(" ", "_"),
        "CREDIT_CARD": CARD,
        "US_SSN": SSN,
        "IP_ADDRESS": IP,
    }
    files = {
        f"sources/inbox/{MAIL}_{FIRST}.jsonl": first + broken,
        f"sources/inbox/{SECOND}.jsonl": jsonl([*plain(20, 14), row(40, customer=None, text=f"{item}, I think.")]),
        **{f"sources/inbox/{name}_{SECOND}.jsonl": jsonl(plain(50 + 3 * n, 2)) + broken for n, name in enumerate(names.values())},
        f"sources/inbox/office.{MAIL}_{SECOND}.jsonl": jsonl(plain(70, 2)),  # shown as the file of its namesake is
        f"sources/sheet/{MAIL}/{SECOND}.csv": csv_bytes(sheet),
        f"eval/{MAIL}.jsonl": jsonl([{"id": MAIL, "text": item}, {"id": PHONE, "text": f"{CARD} is what the lamp says"}]),
        f"annotations/{PHONE}.csv": csv_bytes(
            [{"item": f"inbox:r{n}", "annotator": who, "label": label, "notes": f"{MAIL} {CARD}"}
             for n in range(6) for who, label in ((MAIL, "bug"), ("jo", ("bug", "wish")[n % 2]))]
        ),
        f"reviews/{MAIL}.csv": csv_bytes(
            [{"source": "inbox", "id": f"{MAIL}-0", "step": "label", "verdict": "relabel", "value": "wish", "reviewer": MAIL, "date": SECOND},
             {"source": "inbox", "id": f"{IBAN}-3", "step": "ingest", "verdict": "erase", "value": "", "reviewer": "jo", "date": SECOND},
             {"source": "inbox", "id": f"{SSN}-99", "step": "filter", "verdict": "drop", "value": "", "reviewer": "jo", "date": SECOND}]
        ),
    }  # fmt: skip
    fields = {"id": "id", "input": "text", "output": "label", "group": "customer"}
    content = spec(
        sources=[
            source(path="sources/inbox/*{date}.jsonl", fields=fields, expected_daily=False),
            source(
                name="sheet", path=f"sources/sheet/{MAIL}/{{date}}.csv", expected_daily=False,
                fields={"id": "key", "input": MAPPED, "output": "kind"},
            ),
        ],
        dedup={"near": {"threshold": 1.0}},
        filter={"input": dict.fromkeys(("max_words", "max_markup_share", "max_repetition_share")), "max_tokens": None},
        decontaminate={"ngram": 5, "sets": [{"name": "holdout", "path": "eval/*.jsonl", "fields": {"id": "id", "input": "text"}}]},
        label={"annotations": ["annotations/*.csv"], "min_agreement": 0.0},
        reviews=["reviews/*.csv"],
        split={"ratios": {"train": 0.8, "validation": 0.1, "test": 0.1}, "strategy": "stratified"},
        release={"formats": ["chat", "alpaca", "completion", "parquet"]},
        schedule={"webhook": "http://127.0.0.1:9/told"},
        gates={"ingest": {"reject_rate": {"max": 1, "reason": "bad on purpose"}}},
    )  # fmt: skip
    return make_project(root, content, files)


def send_more(root: Path) -> None:
    """Later days: a file without the columns that the spec maps, rows whose labels close a gate, good rows."""
    lacking = {
        "key": "x",
        f"of {PHONE}": "",
        f"SSN {SSN}": "",
        MAIL: "",
        f"IBAN {grouped(IBAN, '-')}": "",
        f"at {IP}": "",
        CARD: "",
    }
    odd = [
        row(340 + n, customer=None, label=value, text=f"Line {n} of those that nobody sorted, about the {n + 5}th ladder.")
        for n, value in enumerate((MAIL, CARD, IBAN))
    ]  # fmt: skip
    days = {LACKING: [lacking], LABELLED: odd, THIRD: plain(80, 4)}
    for day, found in days.items():
        (root / f"sources/inbox/{MAIL}_{day}.jsonl").write_bytes(jsonl(found))
