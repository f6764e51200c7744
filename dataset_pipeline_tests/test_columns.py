"""The columns of a release in words: none is forgotten, the page is that of the code, its questions can be asked.

Keep out: what the columns hold (`test_release_rows`).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from dataset_pipeline.records import DAILY_STEPS, MESSAGES, TABLES, Step, empty
from dataset_pipeline.spec.models import Task
from dataset_pipeline.transforms import column_page, columns
from dataset_pipeline.transforms import release as shapes
from dataset_pipeline.transforms.formats import parquet_rows
from dataset_pipeline.transforms.tokens import TOKENS

PAGE = Path(__file__).parent.parent / "docs" / "provenance.md"
RENEW = "python -m dataset_pipeline.transforms.column_page > docs/provenance.md"

RELEASED = pl.DataFrame(
    schema={"record_id": pl.String, "day": pl.Date, "source": pl.String, "messages": MESSAGES, "prompt_turns": pl.Int32,
            "rejected": MESSAGES, "label": pl.String, "split": pl.String, "row": pl.Int64},
)  # fmt: skip
STEPS = {str(step): empty(step) for step in DAILY_STEPS}


def test_columns_of_provenance_are_all_described_with_their_types() -> None:
    made = shapes.provenance(RELEASED, STEPS, empty("batches"), pl.DataFrame(schema=TOKENS))
    said = columns.schemas()[columns.PROVENANCE]
    own = [name for name in made.columns if not name.startswith("release_")]
    assert [name for name in said if not name.startswith("release_")] == own
    assert {name: made.schema[name] for name in own} == {name: said[name] for name in own}
    assert {name for name in said if name.startswith("release_")} == {
        f"release_{name}" for name in TOKENS if name != "record_id"
    }
    columns.described(columns.PROVENANCE, made.schema)


def test_columns_of_dropped_and_rejects_are_all_described_with_their_types() -> None:
    withheld = pl.DataFrame(schema={"record_id": pl.String, "reason": pl.String, "detail": pl.String})
    dropped = shapes.dropped(STEPS, withheld)
    assert columns.schemas()[columns.DROPPED] == dict(dropped.schema)
    assert columns.schemas()[columns.REJECTS] == TABLES["rejects"]
    columns.described(columns.REJECTS, empty("rejects").schema)


def test_columns_of_data_files_are_all_described_with_their_types() -> None:
    said = columns.schemas()[columns.DATA]
    for kind in ("instruction", "preference"):
        made = parquet_rows(RELEASED, "train", Task(behavior="x", type=kind))
        assert columns.described(columns.DATA, made.schema)
        assert all(said[name] == dtype for name, dtype in made.schema.items())


def test_columns_without_a_meaning_are_named() -> None:
    with pytest.raises(ValueError, match=r"dropped: \['shoe_size'\] have no meaning"):
        columns.described(columns.DROPPED, {"record_id": pl.String, "shoe_size": pl.Int32})


def test_columns_family_has_unit_and_side_by_rule() -> None:
    one, two = columns.described(
        columns.PROVENANCE, {"filter_prompt_digit_share": pl.Float64, "normalize_pii_counts": TABLES[Step.NORMALIZE]["pii_counts"]}
    )  # fmt: skip
    assert one == (
        "filter_prompt_digit_share", "number", "0 to 1", "Prompt as collected: Digits among visible characters.",
    )  # fmt: skip
    assert two[:3] == ("normalize_pii_counts", "list of {name, count}", "times")


def test_columns_meanings_are_one_line_and_a_sentence() -> None:
    for file in columns.MEANINGS:
        for name, (unit, meaning) in columns.MEANINGS[file].items():
            assert meaning and "\n" not in meaning + unit, (file, name)
            assert meaning.endswith("."), (file, name)


def test_columns_page_is_that_of_the_code() -> None:
    assert PAGE.read_text(encoding="utf-8") == column_page.page(), f"run: {RENEW}"


# --- on the sample project ----------------------------------------------------------------


@pytest.fixture
def release(sample_root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = sample_root / "releases" / "latest"
    monkeypatch.chdir(folder)
    return folder


def test_columns_of_every_file_of_a_release_are_described(release: Path) -> None:
    for file in (columns.PROVENANCE, columns.DROPPED, columns.REJECTS):
        assert columns.described(file, pl.read_parquet_schema(release / f"{file}.parquet"))
    for path in sorted((release / "parquet").glob("*.parquet")):
        assert columns.described(columns.DATA, pl.read_parquet_schema(path))


_BLOCKS = re.findall(r"^```sql\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("query", _BLOCKS)
def test_columns_question_of_the_page_has_an_answer(release: Path, query: str) -> None:
    assert duckdb.connect().execute(query).fetchall()


def test_columns_questions_in_polars_have_the_answers_of_duckdb(release: Path) -> None:
    [block] = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    found: dict[str, Any] = {}
    exec(compile(block, "docs/provenance.md", "exec"), found)  # the page's own code
    assert found["row_17"].height == 1
    assert found["by_licence"]["len"].sum() == pl.read_parquet("provenance.parquet").height
    assert found["dropped"].height == 1


def test_columns_row_of_provenance_is_the_line_of_the_file(release: Path) -> None:
    row = pl.read_parquet("provenance.parquet").filter(split="train", row=17)
    stored = pl.read_parquet("parquet/train.parquet").row(17, named=True)
    line = (release / "chat" / "train.jsonl").read_text(encoding="utf-8").split("\n")[17]
    assert stored["record_id"] == row["record_id"][0]
    assert json.loads(line)["messages"] == stored["messages"]


def test_columns_manifest_has_the_keys_of_the_page_and_no_others(release: Path) -> None:
    manifest = json.loads((release / "manifest.json").read_text(encoding="utf-8"))
    said = column_page.MANIFEST
    keys = set(manifest)
    keys |= {f"{part}.{key}" for part in ("counts", "rights") for key in manifest[part]}
    keys |= {f"files.*.{key}" for facts in manifest["files"].values() for key in facts}
    assert keys == set(said)
    for list_ in ("inputs", "counts.funnel"):
        rows = manifest["inputs"] if list_ == "inputs" else manifest["counts"]["funnel"]
        assert set(re.findall(r"`(\w+)`", said[list_])) == {key for row in rows for key in row}
