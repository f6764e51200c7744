"""Small pictures of Dagster's pages: they fit, they are SVG, they say the numbers, and they hide what is not ours to show."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from urllib.parse import unquote

import pytest

from dataset_pipeline.transforms import pictures

SHOWN_CHARS = 1000
"""Dagster hides longer Markdown behind a click."""
FUNNEL = [(name, 2_000_000, 1_999_999) for name in (
    "ingest", "dedup", "filter", "normalize", "decontaminate", "label", "split", "release")]  # fmt: skip


def svg(markdown: str) -> ET.Element:
    """The picture inside of a line of Markdown."""
    found = re.fullmatch(r"!\[[^\[\]]+\]\(<data:image/svg\+xml,([^<>\s][^<>\n]*)>\)", markdown)
    assert found is not None, markdown
    return ET.fromstring(unquote(found[1]))


def texts(markdown: str) -> list[str]:
    return [element.text or "" for element in svg(markdown).iter() if element.tag.endswith("text")]


def strokes(markdown: str) -> list[str]:
    return [element.attrib["d"] for element in svg(markdown).iter() if element.tag.endswith("path")]


def test_funnel_of_all_steps_fits_and_names_what_each_kept() -> None:
    drawn = pictures.funnel(FUNNEL)
    assert len(drawn) < SHOWN_CHARS
    assert texts(drawn) == [f"{name} 1,999,999" for name, _, _ in FUNNEL]


def test_funnel_bar_ends_where_kept_ends_and_dropped_begins() -> None:
    kept, dropped = strokes(pictures.funnel([("ingest", 100, 100), ("dedup", 100, 60)]))
    assert kept == "M172 7h248M172 22h149"
    assert dropped == "M321 22h99"


def test_funnel_without_rows_draws_no_bar() -> None:
    assert strokes(pictures.funnel([("ingest", 0, 0)])) == []


def test_bars_with_150_labels_show_the_largest_and_count_the_rest() -> None:
    drawn = pictures.bars("labels", {f"label_number_{n:03}": 1000 - n for n in range(150)})
    assert len(drawn) < SHOWN_CHARS
    lines = texts(drawn)
    assert lines[0] == "label_number_000 1,000"
    left = 150 - (len(lines) - 1)
    assert lines[-1] == f"and {left} more {sum(1000 - n for n in range(150 - left, 150)):,}"


def test_bars_of_equal_counts_stand_in_the_order_of_names() -> None:
    assert texts(pictures.bars("labels", {"b": 1, "a": 1})) == ["a 1", "b 1"]


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a](b) ![x]", "&amp;", "two\nlines", "ありがとうございます" * 9,
                                  "\u202eturned", "'\"`\\", "\ud800"])  # fmt: skip
def test_bars_with_odd_names_stay_one_picture(name: str) -> None:
    drawn = pictures.bars("labels", {name: 2, "plain": 1})
    assert len(drawn) < SHOWN_CHARS
    assert texts(drawn)[1] == "plain 1"
    assert "\u202e" not in unquote(drawn)


def test_columns_put_the_longest_into_an_open_last_column() -> None:
    drawn = pictures.columns("records by words", "words", {**dict.fromkeys(range(40), 10), 900: 1})
    assert len(drawn) < SHOWN_CHARS
    assert texts(drawn) == ["up to 21 records", "0", "38+ words"]
    assert strokes(drawn)[0].count("M") == 20


def test_columns_of_one_length_are_one_column() -> None:
    drawn = pictures.columns("records by words", "words", {3: 5})
    assert strokes(drawn)[0].count("M") == 1
    assert texts(drawn)[-1] == "3 words"
