"""docs/tutorial.md, followed from the first line to the last: its files are saved, its commands run.

Lives here: the order of the tutorial, and what it says will be seen. Keep out: anything it does not say.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

DOCS = Path(__file__).parent.parent / "docs"
TUTORIAL = (DOCS / "tutorial.md").read_text(encoding="utf-8")
BLOCKS = [
    (section.split("\n", 1)[0].split(". ")[0], language, code)
    for section in TUTORIAL.split("\n## ")[1:]
    for language, code in re.findall(r"^```(\w+)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
]
"""(number of the section, language, text) of every block, in order."""
ENVIRONMENT = os.environ | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}


class Followed:
    """The folder in which it was followed, and what each section printed."""

    def __init__(self, root: Path):
        self.root = root
        self.said: dict[str, str] = {}

    def block(self, section: str, language: str, code: str) -> None:
        if language == "csv":
            (self.root / {"1": "tickets.csv", "6": "shop/reviews/first.csv"}[section]).write_text(code)
        elif language == "yaml":
            spec = self.root / "shop" / "dataset.yaml"
            spec.write_text(code if section == "2" else spec.read_text() + code)
        else:
            command = [sys.executable, "-c", code] if language == "python" else ["bash", "-eu", "-c", code]
            done = subprocess.run(
                command, cwd=self.root, env=ENVIRONMENT, text=True, capture_output=True, timeout=600
            )
            assert done.returncode == 0, f"section {section}: {done.stdout}{done.stderr}"
            assert "Traceback" not in done.stderr
            self.said[section] = self.said.get(section, "") + done.stdout

    def released(self) -> list[str]:
        provenance = pl.read_parquet(self.root / "shop" / "releases" / "latest" / "provenance.parquet")
        return sorted(provenance["source_id"].to_list())


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Followed]:
    made = Followed(tmp_path_factory.mktemp("tutorial"))
    for section, language, code in BLOCKS:
        made.block(section, language, code)
    yield made


def test_tutorial_has_something_to_do_in_every_section_but_the_last() -> None:
    assert sorted({section for section, _, _ in BLOCKS}) == ["1", "2", "3", "4", "5", "6", "7"]
    assert {language for _, language, _ in BLOCKS} == {"csv", "yaml", "sh", "python"}


@pytest.mark.faults
def test_tutorial_funnel_drops_what_it_says(followed: Followed) -> None:
    said = followed.said["3"]
    assert re.search(r"^dedup +16 +15 +exact 1 *$", said, re.MULTILINE)
    assert re.search(r"^label +15 +14 +unlabelled 1$", said, re.MULTILINE)
    assert re.search(r"^release +14 +14 ", said, re.MULTILINE)


@pytest.mark.faults
def test_tutorial_explains_the_duplicate_and_the_address(followed: Followed) -> None:
    first, second = followed.said["4"].split("record ")[1:]
    assert "dropped: exact" in first and "(main:T2)" in first
    assert "EMAIL_ADDRESS" in second and "anna.berg" not in second


@pytest.mark.faults
def test_tutorial_preview_and_run_take_one_record_out(followed: Followed) -> None:
    assert "14 of 15" in followed.said["5"]
    assert re.search(r"^filter +15 +14 +too_short 1 *$", followed.said["5"], re.MULTILINE)


@pytest.mark.faults
def test_tutorial_review_brings_the_unlabelled_record_in(followed: Followed) -> None:
    assert "Jo" in followed.said["6"] and "reviews/first.csv" in followed.said["6"]
    assert "T16" in followed.released()


@pytest.mark.faults
def test_tutorial_release_is_whole_and_loads(followed: Followed) -> None:
    assert followed.released() == sorted(f"T{n}" for n in range(1, 17) if n not in (2, 8))
    assert re.search(r"^\d+ conversations; (account|billing|delivery)$", followed.said["7"], re.MULTILINE)
    texts = (followed.root / "shop" / "releases" / "latest" / "chat").glob("*.jsonl")
    lines = [json.loads(line) for path in sorted(texts) for line in path.read_text().splitlines()]
    assert any("[EMAIL_ADDRESS]" in line["messages"][0]["content"] for line in lines)
    named = set(re.findall(r"^\| ((?:`[^`]+`(?:, )?)+) \|", TUTORIAL.split("\n## 7.")[1], re.MULTILINE))
    for name in re.findall(r"`([^`]+)`", " ".join(named)):
        assert (followed.root / "shop" / "releases" / "latest" / name).exists(), name
