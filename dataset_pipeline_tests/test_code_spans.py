"""Where a text is taken for code."""

from __future__ import annotations

import pytest

from dataset_pipeline.transforms.code_spans import code_spans, is_within


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param("Plain words; and more: yes, 3 < 4.", [], id="prose"),
        pytest.param("Say `print` and `x = 1` here.", ["`print`", "`x = 1`"], id="quoted"),
        pytest.param("Before\n```\na = 1\n```\nafter.", ["```\na = 1\n```"], id="fenced"),
        pytest.param("Before\n```\na", ["```\na"], id="fence_that_is_not_closed"),
        pytest.param("One line.\nTwo.\n    indented\nThree.", ["    indented"], id="indented_line"),
        pytest.param("One line.\nTwo.\nx = f()\nThree.", ["x = f()"], id="line_with_a_sign"),
        pytest.param("def f():\n    return 1\nf", ["def f():\n    return 1\nf"], id="mostly_code"),
    ],
)
def test_code_spans_are_what_is_code(text: str, code: list[str]) -> None:
    spans = code_spans(text)
    assert [text[start:end] for start, end in spans] == code
    inside = {place for place in range(len(text)) if is_within(spans, place)}
    assert inside == {place for start, end in spans for place in range(start, end)}


def test_code_spans_that_overlap_are_one() -> None:
    text = "Words.\nWords.\nWords.\nx = `a` + 1\nWords."
    assert [text[start:end] for start, end in code_spans(text)] == ["x = `a` + 1"]
