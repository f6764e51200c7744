"""Web pages: main text, what a page says about itself, and pages made to break the reader."""

from __future__ import annotations

import gzip
import logging
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dataset_pipeline.spec.reading import Reading
from dataset_pipeline.storage.readers import RawRow, Reject, UnreadableFile, columns_of, pages, read_rows

SECRET = "zebra"
"""Stands in what is rejected; must never show in what the reader says."""
BODY = "The export button does nothing when it is pressed, and no file is written to the folder. " * 4
BODY = BODY.strip()
"""Long enough for trafilatura to tell it from the menu: below 250 characters it takes the whole page."""
NOTHING_SAID = dict.fromkeys(("title", "author", "date", "url", "language", "site"))


def page(body: str, head: str = "", attributes: str = "") -> str:
    return f"<!DOCTYPE html>\n<html {attributes}><head>{head}</head><body>{body}</body></html>"


def article(*paragraphs: str) -> str:
    text = "".join(f"<p>{paragraph}</p>" for paragraph in paragraphs or (BODY,))
    menu = '<nav><a href="/">Home</a> <a href="/about">Imprint</a></nav>'
    return f"{menu}<article>{text}</article><footer>Imprint</footer>"


def read(
    folder: Path, data: bytes | str, name: str = "x.html", encoding: str = "utf-8", limit: int = 2**24
) -> RawRow | Reject:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    (found,) = read_rows(path, Reading(encoding=encoding), limit)
    return found


def payload(found: RawRow | Reject) -> dict[str, str | None]:
    assert isinstance(found, RawRow), found
    return found.payload


def reason(found: RawRow | Reject) -> str:
    assert isinstance(found, Reject)
    assert SECRET not in found.detail
    return found.reason


def test_pages_main_text_without_menu_and_comments(tmp_path: Path) -> None:
    table = "<table><tr><td>red</td><td>7</td></tr></table>"
    data = page(article(BODY, "Second paragraph, with <b>bold</b> words.") + table)
    found = read(tmp_path, data)
    text = payload(found)["text"] or ""
    assert text.startswith(f"{BODY}\nSecond paragraph, with bold words.")
    assert "Imprint" not in text
    assert payload(found) == {"text": text, **NOTHING_SAID}
    assert read(tmp_path, gzip.compress(data.encode()), "x.html.gz") == found
    assert columns_of(tmp_path / "x.html") == list(pages.COLUMNS)


def test_pages_what_head_says_is_in_the_row(tmp_path: Path) -> None:
    head = """<title>Export
      fails</title><meta name="author" content="Jo Doe"><meta property="og:site_name" content="Help">
      <meta property="article:published_time" content="2026-03-04T23:00:00-05:00">
      <link rel="canonical" href="https://example.org/a">"""
    assert payload(read(tmp_path, page(article(), head, 'lang="en-GB"'))) == {
        "text": BODY,
        "title": "Export fails",
        "author": "Jo Doe",
        "date": "2026-03-04",
        "url": "https://example.org/a",
        "language": "en-GB",
        "site": "Help",
    }


def test_pages_what_json_says_is_taken_where_head_is_silent(tmp_path: Path) -> None:
    said = (
        '{"@graph": [{"@type": "Thing"}, {"author": [{"name": "A B"}, {"name": "C D"}], '
        '"datePublished": "2026-01-02", "publisher": {"name": "Help"}}]}'
    )
    head = f'<script type="application/ld+json">{said}</script><script type="application/ld+json">{{</script>'
    found = payload(read(tmp_path, page(article(), head)))
    assert (found["author"], found["date"], found["site"]) == ("A B; C D", "2026-01-02", "Help")


@pytest.mark.parametrize("date", ["yesterday", "2026", "March 2026", "2026-13-45", "04/03/2026"])
def test_pages_date_that_is_no_iso_day_is_not_guessed(tmp_path: Path, date: str) -> None:
    body = article(f"{BODY} Written on 3 May 2019.")
    assert payload(read(tmp_path, page(body, f'<meta name="date" content="{date}">')))["date"] is None


def test_pages_encoding_of_the_spec_is_tried_before_the_one_the_page_declares(tmp_path: Path) -> None:
    text = f"Käse. {BODY}"
    data = page(article(text), '<meta charset="windows-1252">')
    assert payload(read(tmp_path, data.encode()))["text"] == text
    assert payload(read(tmp_path, data.encode("cp1252"), encoding="cp1252"))["text"] == text
    assert payload(read(tmp_path, data.encode("cp1252")))["text"] == text
    latin = data.replace("windows-1252", "ISO-8859-1").replace("Käse", "Käse €")
    assert payload(read(tmp_path, latin.encode("cp1252")))["text"] == text.replace("Käse", "Käse €")


def test_pages_that_fit_neither_encoding_are_rejected(tmp_path: Path) -> None:
    data = page(article(f"Käse. {BODY}"), '<meta charset="windows-1252">').encode("cp1252")
    both = read(tmp_path, data + b"\x81")
    assert isinstance(both, Reject) and reason(both) == "invalid_encoding"
    assert "nor cp1252, which the page declares" in both.detail
    unknown = read(tmp_path, data.replace(b"windows-1252", SECRET.encode()))
    assert reason(unknown) == "invalid_encoding"


def test_pages_control_characters_cost_themselves_only(tmp_path: Path) -> None:
    data = page("<p>One&#1; two\x0bthree&#xFFFE;&#x1f; four\ufffe five, and &#65; sixth word.</p>")
    assert payload(read(tmp_path, data))["text"] == "One two three four five, and A sixth word."


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "no_text"),
        (b" \r\n", "no_text"),
        (b"<!-- zebra -->", "no_text"),
        (b"<html><head><title>zebra</title></head><body></body></html>", "no_text"),
        (b"<html><body><script>zebra()</script></body></html>", "no_text"),
        (b"<p>zebra\0</p>", "nul_byte"),
        (b"<p>zebra\xff</p>", "invalid_encoding"),
        (random.Random(5).randbytes(5000).replace(b"\0", b""), "invalid_encoding"),
        (b"<p>zebra " * 3_000_000, "too_long"),
        (b"<p>zebra " * 60_000, "too_long"),
        (b"<p>" + b"zebra " * 2_000_000, "too_long"),
        (b"</zebra>" * 200 + b"<p>" + b"zebra " * 2_000_000, "too_long"),
        (b"<!--" + b"zebra " * 2_000_000 + b"--><p>x", "too_long"),
        (b"<p " + b" ".join(b"zebra%d" % n for n in range(300_000)) + b">x", "too_long"),
        (b"<table><tr>" + b"<td>zebra" * 2_000, "too_long"),
        (b"<p>" + b"<b>zebra</b> " * 12_000, "too_long"),
        (b"<div>" * 100_000 + b"zebra", "too_deep"),
        (b"<div>" * 201 + b"zebra" + b"</div>" * 201, "too_deep"),
        ((b"<div>" * 190 + b"zebra" + b"</div>" * 190) * 200, "too_deep"),
    ],
)
def test_pages_hostile_page_is_one_reject_at_once(tmp_path: Path, data: bytes, expected: str) -> None:
    began = time.process_time()
    assert reason(read(tmp_path, data)) == expected
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "body",
    [
        "&amp;&lt;&#65;&bogus;" * 100_000,
        "<" * 500_000,
        "<script>var a = '<p>x';</script>" * 10_000 + f"<p>{BODY}</p>",
        " \n" * 1_000_000 + BODY,
        f"<p>{BODY}<br>" * 3_000,
        "<p>a word" * 12_000 + "<div>and more</div>" * 12_000,
        "<b><i><p>" * 50 + BODY,
        "<a" * 100_000 + BODY,
        f"<p a='{'x' * 1_000_000}'>{BODY}</p>",
        "<div>" * 150 + BODY,
    ],
)
def test_pages_odd_page_gives_one_row_at_once(tmp_path: Path, body: str) -> None:
    began = time.process_time()
    found = read(tmp_path, page(body))
    assert isinstance(found, RawRow) or reason(found) == "no_text"
    assert time.process_time() - began < 10


@pytest.mark.parametrize(
    ("head", "word"), [(b"%PDF-1.7\n", "PDF"), (b"\x89PNG\r\n\x1a\n", "PNG"), (b"PK\x03\x04", "zip")]
)
def test_pages_file_that_is_no_text_is_unreadable(tmp_path: Path, head: bytes, word: str) -> None:
    with pytest.raises(UnreadableFile, match=word) as caught:
        read(tmp_path, head + SECRET.encode())
    assert SECRET not in str(caught.value)


def test_pages_row_depends_on_nothing_read_before(tmp_path: Path) -> None:
    made = [page(article(*[f"Paragraph {n} of page {k}. {BODY}" for n in range(k + 1)])) for k in range(6)]
    made += [page(article(BODY, BODY, BODY)), made[0], made[0], made[0], made[0]]
    alone = {data: read(tmp_path, data) for data in made}
    for seed in range(3):
        order = random.Random(seed).sample(made, len(made))
        assert all(read(tmp_path, data) == alone[data] for data in order)


def test_pages_row_depends_on_no_hash_seed_home_or_network(tmp_path: Path) -> None:
    (tmp_path / "settings.cfg").write_text("[DEFAULT]\nMIN_OUTPUT_SIZE = 100000\n", encoding="utf-8")
    (tmp_path / "x.html").write_text(
        page(article(*[f"Part {n}. {BODY}" for n in range(9)])), encoding="utf-8"
    )
    program = """
import socket, sys
from pathlib import Path
def refuse(*arguments, **named):
    raise AssertionError("network")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
from dataset_pipeline.storage.readers import read_rows
assert "trafilatura" not in sys.modules and "lxml" not in sys.modules
print(list(read_rows(Path("x.html"))))
"""
    root = Path(pages.__file__).parents[3]
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONHASHSEED": seed,
                "HOME": str(tmp_path),
                "PYTHONPATH": str(root),
                "TZ": zone,
            },
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
        for seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo"))
    }
    assert len(said) == 1
    assert "Part 8" in said.pop()


def test_pages_nothing_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    read(tmp_path, page(article()))
    with caplog.at_level(logging.DEBUG):
        for body in (article(f"{SECRET} {BODY}"), f"<p>{SECRET}</p>", f"<ul><li><a>{SECRET}</a></ul>", ""):
            read(tmp_path, page(body, f'<meta name="date" content="{SECRET} 2020">'))
    assert SECRET not in caplog.text
    assert not [
        record for record in caplog.records if record.name.split(".")[0] in ("trafilatura", "htmldate")
    ]
