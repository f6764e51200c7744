"""The documents that are held to the code: the reference of the spec, a page for each step, missing records.

Lives here: that nothing is left out and no number differs. Keep out: whether commands that are shown work
(`test_tutorial`, `test_restore_guide`, `test_docs`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from dataset_pipeline.expectations.gate import Expectation
from dataset_pipeline.expectations.suites import EXPECTATIONS
from dataset_pipeline.records import EXTRA_TABLES, REASONS, RELEASE, SIDE_SIGNALS, TABLES, Step
from dataset_pipeline.spec import reference
from dataset_pipeline.spec.models import Spec
from dataset_pipeline.storage.readers import READ_REASONS
from dataset_pipeline.transforms.layouts import MAPPING_REASONS

DOCS = Path(__file__).parent.parent / "docs"
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted((DOCS / "steps").glob("*.md"))}
MISSING = (DOCS / "missing.md").read_text(encoding="utf-8")
RENEW = "python -m dataset_pipeline.spec.reference > docs/spec.md"


def _keys(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, str, type[BaseModel]]]:
    """(path, name, model) of every key that a spec may hold."""
    for name, field in model.model_fields.items():
        yield path, name, model
        for inner in reference._models(field.annotation):
            yield from _keys(inner, f"{path}.{name}".lstrip("."))


KEYS = sorted(
    {(f"{path}.{name}".lstrip("."), model, name) for path, name, model in _keys(Spec)}, key=lambda k: k[0]
)


# --- the spec -----------------------------------------------------------------------------


def test_reference_in_the_documents_is_that_of_the_models() -> None:
    assert (DOCS / "spec.md").read_text(encoding="utf-8") == reference.reference(), f"run: {RENEW}"


@pytest.mark.parametrize(("path", "model", "name"), KEYS, ids=[k[0] for k in KEYS])
def test_reference_key_has_a_meaning_in_a_table_of_its_section(
    path: str, model: type[BaseModel], name: str
) -> None:
    assert reference.described(model, name), f"{model.__name__}.{name}: give Field(description=…)"
    place = path.rpartition(".")[0] or "The top level"
    section = next(
        s for s in reference.reference().split("\n## ") if place in s.split("\n", 1)[0].split(", ")
    )
    assert re.search(rf"^\| `{name}` \| .+ \| .+ \| .+ \|$", section, re.MULTILINE)


def test_reference_links_lead_to_headings() -> None:
    text = reference.reference()
    anchors = {reference._anchor(title) for title in re.findall(r"^## (.+)$", text, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("dedup.near.ngram", "| 3 | 3 | 3 | 5 | 3 |"),
        ("filter.input.max_markup_share", "| 0.3 | 0.8 | 0.8 | 0.8 | 0.8 |"),
        ("filter.output.min_alpha_share", "| off | off | off | off | off |"),
    ],
)
def test_reference_shows_the_defaults_of_each_task(row: str, said: str) -> None:
    assert f"| `{row}` {said}" in reference.reference()


# --- the steps ----------------------------------------------------------------------------

_NAMES = [*map(str, Step), RELEASE]


def test_every_step_has_a_page() -> None:
    assert sorted(PAGES) == sorted(_NAMES)


@pytest.mark.parametrize("step", _NAMES)
def test_page_of_a_step_has_every_part(step: str) -> None:
    parts = ["What it does", "Defaults", "Gate", "Known limits"]
    if step != RELEASE:
        parts += ["Columns", "Reasons"]
    assert set(re.findall(r"^## (.+)$", PAGES[step], re.MULTILINE)) >= set(parts)


@pytest.mark.parametrize(
    ("step", "column"),
    [(s, c) for s in map(str, Step) for t in (s, *EXTRA_TABLES.get(s, ())) for c in TABLES[t]],
)
def test_page_of_a_step_has_each_column(step: str, column: str) -> None:
    _, _, signal = column.partition("_")
    words = [column, f"prompt_{signal}, answer_{signal}"] if signal in SIDE_SIGNALS else [column]
    assert any(f"`{word}`" in PAGES[step] for word in words)


@pytest.mark.parametrize(("step", "reason"), [(str(s), r) for s in Step for r in sorted(REASONS[s])])
def test_page_of_a_step_has_each_reason_with_its_meaning(step: str, reason: str) -> None:
    assert re.search(rf"^\| `{reason}` \| .+ \|$", PAGES[step], re.MULTILINE)


def _limit(expectation: Expectation) -> str:
    """The limit as the pages write it."""
    low, high = expectation.minimum, expectation.maximum
    if expectation.kind != "between":
        return ""
    if low is not None and high is not None:
        return f"{low:g}" if low == high else f"{low:g} to {high:g}"
    return f"at most {high:g}" if high is not None else f"at least {low:g}"


@pytest.mark.parametrize(
    ("step", "expectation"),
    [(s, e) for s in _NAMES for e in EXPECTATIONS[s]],
    ids=lambda v: getattr(v, "name", v),
)
def test_page_of_a_step_has_each_expectation_with_its_limit(step: str, expectation: Expectation) -> None:
    row = re.search(rf"^\| `{expectation.name}` \| (\w+) \| (.*?) \| (.+) \|$", PAGES[step], re.MULTILINE)
    assert row is not None
    sample = f" (from {expectation.min_sample} records on)" if expectation.min_sample else ""
    assert (row[1], row[2]) == (expectation.severity, (_limit(expectation) or "–") + sample)


@pytest.mark.parametrize("step", _NAMES)
def test_page_of_a_step_names_no_expectation_that_is_gone(step: str) -> None:
    gate = PAGES[step].split("\n## Gate\n", 1)[1].split("\n## ", 1)[0]
    named = set(re.findall(r"^\| `(\w+)` \|", gate, re.MULTILINE))
    assert named == {e.name for e in EXPECTATIONS[step]}


# --- missing records ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "reason", sorted({r for reasons in REASONS.values() for r in reasons} | READ_REASONS | MAPPING_REASONS)
)
def test_missing_says_of_each_reason_what_it_means_and_what_to_do(reason: str) -> None:
    assert re.search(rf"^\| `{reason}`[^|]*\| .+ \| .+ \|$", MISSING, re.MULTILINE)


@pytest.mark.parametrize("step", list(REASONS))
def test_missing_has_a_table_with_the_reasons_of_each_step(step: Step) -> None:
    section = MISSING.split(f"\n### {step}\n", 1)[1].split("\n### ", 1)[0].split("\n## ", 1)[0]
    assert {r for r in REASONS[step] if f"| `{r}`" not in section} == set()
