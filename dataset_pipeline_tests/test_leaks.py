"""Personal data planted in odd places stands in no release, queue, preview, log, event, check result or message.

Lives here: failure test 24 of the project's list. One project is made, asked everything, and searched by all tests. Keep out: the
project and the search (`leaks`), what the recognizers find (`test_pii`), how one value is shown (`test_redaction`).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from dataset_pipeline import definitions
from dataset_pipeline.assets import engine, metadata
from dataset_pipeline.automation import webhook
from dataset_pipeline.cli import asking
from dataset_pipeline.cli.main import TRACEBACK
from dataset_pipeline.errors import SpecError
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline.storage.sources import discover
from dataset_pipeline_tests import leaks
from dataset_pipeline_tests.leaks import (  # fmt: skip
    CARD,
    FIRST,
    IBAN,
    IP,
    LABELLED,
    LACKING,
    MAIL,
    PHONE,
    SECOND,
    SSN,
    THIRD,
    Outcome,
)
from dataset_pipeline_tests.scenario import call

PREVIEWS = {
    "dedup": "dedup.near.threshold=0.3",
    "filter": "filter.input.min_words=12",
    "normalize": "normalize.languages=[de]",
    "decontaminate": "decontaminate.ngram=3",
    "split": "seed=5",
}


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """The project after a run, with all that was said of it. Read-only by convention."""
    root = tmp_path_factory.mktemp("leaks") / "project"
    leaks.plant(root)
    found = Outcome(root)
    assert found.run("check", "check", "--json") == 0
    assert found.run("run", "run", "--json") == 0
    assert found.run("run again", "run") == 0
    assert found.run("status", "status", "--json") == 0
    assert found.run("verify", "verify") == 0
    assert found.run("rescan", "rescan", "--json") == 0
    found.run("reuse", "check", "--reuse", "latest", "--json")
    for step, change in PREVIEWS.items():
        assert found.run(f"preview {step}", "preview", step, "--set", change, "--json") == 0
    raw = f"sources/inbox/{MAIL}_{FIRST}.jsonl"
    for name, record in {
        "id": f"inbox:{MAIL}-0",
        "erased": f"inbox:{IBAN}-3",
        "line": f"{raw}:16",
        "rejected": f"sources/inbox/{CARD}_{SECOND}.jsonl:3",
    }.items():
        assert found.run(f"explain {name}", "explain", record, "--json") == 0
    assert found.run("explain nobody", "explain", f"inbox:{MAIL}-nobody") == 2
    made = call("init", None, str(tmp_path_factory.mktemp("made") / "new"), "--from", str(root / raw))
    assert made.exit_code == 0
    found.said["$ init"] = made.output
    found.said |= leaks.written(root)
    release_run_lock(root / "warehouse.duckdb")
    yield found


@pytest.fixture(scope="module")
def later(outcome: Outcome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """A copy of the project after the night of a later day: a file without its columns, a closed gate, an alarm, a second release."""
    root = tmp_path_factory.mktemp("later") / "project"
    shutil.copytree(outcome.root, root, symlinks=True)
    leaks.send_more(root)
    found = Outcome(root)
    told: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(webhook, "post", lambda project, payload: told.append(json.dumps(payload)))
        assert found.run("night", "run", "--night", THIRD) == 1
    found.said["webhook"] = "\n".join(told)
    first = (outcome.root / "releases/latest").resolve().name
    assert found.run("diff", "diff", first, "latest", "--json") == 0
    found.said |= leaks.written(root)
    yield found
    release_run_lock(root / "warehouse.duckdb")


@pytest.fixture
def copy(outcome: Outcome, tmp_path: Path) -> Iterator[Outcome]:
    """A copy of the project with one more day to be made."""
    root = tmp_path / "project"
    shutil.copytree(outcome.root, root, symlinks=True)
    (root / "sources/inbox/2026-03-03.jsonl").write_bytes(leaks.jsonl(leaks.plain(90, 3)))
    yield Outcome(root)
    release_run_lock(root / "warehouse.duckdb")


def leaking(outcome: Outcome, *places: str) -> dict[str, list[str]]:
    """Of the places that begin so: those that hold planted values, with lines that do."""
    return {
        place: leaks.excerpts(text)[:3]
        for place, text in outcome.said.items()
        if place.startswith(places) and leaks.found_in(text)
    }


# --- nothing that is planted comes out ------------------------------------------------------


def test_leaks_releases_hold_nothing_planted(outcome: Outcome) -> None:
    """Data files, provenance, dropped, rejects, manifest, card, croissant, addenda: columns of Parquet files one by one."""
    assert any(place.endswith("provenance.parquet: source_id") for place in outcome.said)
    assert leaking(outcome, "releases/", "name of ") == {}


@pytest.mark.parametrize("form", [*leaks.FORMS, leaks.MILLION])
def test_leaks_odd_writing_is_released_with_placeholders(outcome: Outcome, form: str) -> None:
    rows = pl.read_parquet(outcome.root / "releases/latest/provenance.parquet").filter(source_id=form)
    texts = pl.read_parquet(outcome.root / "releases/latest/parquet/*.parquet")
    found = texts.filter(pl.col("record_id").is_in(rows["record_id"].implode()))
    assert found.height == 1
    text = found["messages"][0][0]["content"]
    assert leaks.found_in(text) == set()
    assert all(f"[{entity}]" in text for entity in leaks.ENTITIES)


def test_leaks_terminal_shows_nothing_planted(outcome: Outcome) -> None:
    assert leaking(outcome, "$ ", "webhook") == {}


def test_leaks_queue_and_page_hold_nothing_planted(outcome: Outcome) -> None:
    assert "review_queue.csv" in outcome.said and "report.html" in outcome.said
    assert leaking(outcome, "review_queue.csv", "report.html", "splits.lock.csv") == {}


def test_leaks_dagster_holds_nothing_planted(outcome: Outcome) -> None:
    """Runs, events, checks, metadata, failures, definitions, logs: every table of its files, packed values unpacked."""
    assert any(place.endswith(": event_logs") for place in outcome.said)
    assert leaking(outcome, ".dagster/") == {}


def test_leaks_nothing_else_was_written(outcome: Outcome) -> None:
    known = (
        "$ ",
        "webhook",
        "name of ",
        "releases/",
        ".dagster/",
        "review_queue.csv",
        "report.html",
        "splits.lock.csv",
    )
    assert [place for place in outcome.said if not place.startswith(known) and outcome.said[place]] == []


def test_leaks_the_search_finds_what_is_planted(outcome: Outcome) -> None:
    """The raw files hold every value, in every form: else the tests above would find nothing whatever leaked."""
    raw = {
        p.relative_to(outcome.root).as_posix(): p.read_text() for p in outcome.root.glob("sources/inbox/*")
    }
    assert leaks.found_in("\n".join([*raw, *raw.values()])) == leaks.SEARCHED
    assert all(
        leaks.found_in(form(value)) for form in leaks.FORMS.values() for value in leaks.ENTITIES.values()
    )


def test_leaks_second_run_has_nothing_to_do(outcome: Outcome) -> None:
    """Names that are shown otherwise change no recipe: what was made once is up to date."""
    assert outcome.said["$ run again"].startswith("Nothing to do")


# --- what is shown instead ------------------------------------------------------------------


def test_leaks_release_shows_ids_and_files_redacted(outcome: Outcome) -> None:
    """Each stays a row of its own: record ids, and names that are told apart."""
    dropped = pl.read_parquet(outcome.root / "releases/latest/dropped.parquet")
    provenance = pl.read_parquet(outcome.root / "releases/latest/provenance.parquet")
    ids = {*dropped["source_id"].drop_nulls(), *provenance["source_id"].drop_nulls()}
    assert {
        "[PHONE_NUMBER]",
        "[CREDIT_CARD]-2",
        "[IBAN_CODE]-3",
        "[US_SSN]-4",
        "[IP_ADDRESS]-5",
        "[EMAIL_ADDRESS]#2",
    } <= ids
    manifest = json.loads((outcome.root / "releases/latest/manifest.json").read_text())
    uris = [entry["uri"] for entry in manifest["inputs"]]
    assert f"sources/inbox/[EMAIL_ADDRESS]_{FIRST}.jsonl" in uris and len(set(uris)) == len(uris)
    assert f"sources/inbox/[EMAIL_ADDRESS]_{SECOND}.jsonl (2)" in uris
    assert set(provenance["uri"]) <= set(uris)
    assert provenance["license"].null_count() == 0
    sheet = manifest["spec"]["sources"][1]
    assert (
        sheet["path"] == "sources/sheet/[EMAIL_ADDRESS]/{date}.csv"
        and sheet["fields"]["input"] == "Call [PHONE_NUMBER]"
    )


def test_leaks_explain_real_id_shows_it_redacted(outcome: Outcome) -> None:
    assert "(inbox:[EMAIL_ADDRESS]-0)" in outcome.said["$ explain id"]
    assert f"sources/inbox/[EMAIL_ADDRESS]_{FIRST}.jsonl, line" in outcome.said["$ explain id"]
    assert "erased: its text is gone" in outcome.said["$ explain erased"]
    assert f"sources/inbox/[CREDIT_CARD]_{SECOND}.jsonl:3 was rejected" in outcome.said["$ explain rejected"]


def test_leaks_bad_file_is_named_redacted(copy: Outcome) -> None:
    leaks.send_more(copy.root)
    assert copy.run("check", "check") == 2
    assert f"sources/inbox/[EMAIL_ADDRESS]_{LACKING}.jsonl: has no column 'text'" in copy.said["$ check"]
    assert leaking(copy, "$ ") == {}


@pytest.mark.faults
def test_leaks_release_made_again_is_the_same(outcome: Outcome, tmp_path: Path) -> None:
    root = tmp_path / "project"
    shutil.copytree(outcome.root, root, symlinks=True)
    found = Outcome(root)
    assert found.run("verify", "verify", "--rebuild") == 0
    assert "every byte the same" in found.said["$ verify"] and "changed since" not in found.said["$ verify"]
    assert leaking(found, "") == {}


@pytest.mark.faults
def test_leaks_bad_night_says_nothing_planted(later: Outcome) -> None:
    """A closed gate, a bad file, the alarm on the terminal and of the webhook, what Dagster keeps of them, two releases."""
    assert leaking(later, "") == {}
    for said in (later.said["$ night"], later.said["webhook"]):
        assert f"sources/inbox/[EMAIL_ADDRESS]_{LACKING}.jsonl" in said
        assert LABELLED in said and "no_pii_left" in said


# --- faults ---------------------------------------------------------------------------------

QUOTING = f"cannot cast '{MAIL}' or {CARD} of {PHONE}, {SSN}, {IP}, {IBAN}"


def _raise(*_: Any, **__: Any) -> Any:
    raise ValueError(QUOTING)


@pytest.mark.parametrize(
    ("module", "name"),
    [(engine, "work"), pytest.param(metadata, "of_days", marks=pytest.mark.faults)],
)
def test_leaks_fault_in_a_step_tells_kind_and_place(
    copy: Outcome, monkeypatch: pytest.MonkeyPatch, module: Any, name: str
) -> None:
    """Before its rows are published, and after, where Dagster is told of them."""
    monkeypatch.setattr(module, name, _raise)
    assert copy.run("run", "run") == 1
    copy.said |= leaks.written(copy.root)
    assert leaking(copy, "") == {}
    said = copy.said["$ run"]
    assert "ingest: failed with a fault of its own: ValueError at test_leaks.py:" in said
    assert "Its message is not shown" in said


def test_leaks_fault_in_a_command_tells_kind_and_place(
    copy: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "status_of", _raise)
    monkeypatch.setenv(TRACEBACK, "")
    assert copy.run("status", "status") == 1
    said = copy.said["$ status"]
    assert "failed with a fault of its own: ValueError at test_leaks.py:" in said and "asking.py:" in said
    assert leaks.found_in(said) == set() and "Traceback" not in said
    monkeypatch.setenv(TRACEBACK, "1")
    with pytest.raises(ValueError, match="cannot cast"):
        call("status", copy.root / "dataset.yaml")


@pytest.mark.faults
def test_leaks_answered_queue_with_redacted_ids_acts(copy: Outcome) -> None:
    """A queue comes back as a review file: whom its rows mean, their record ids say."""
    queue = pl.read_csv(copy.root / "review_queue.csv", infer_schema=False)
    row = queue.filter(id="[EMAIL_ADDRESS]/0").with_columns(
        verdict=pl.lit("relabel"), value=pl.lit("bug"), reviewer=pl.lit("jo"), date=pl.lit("2026-03-07")
    )
    assert row.height == 1
    row.write_csv(copy.root / "reviews/answers.csv")
    assert copy.run("run", "run") == 0
    provenance = pl.read_parquet(copy.root / "releases/latest/provenance.parquet")
    assert provenance.filter(record_id=row["record"][0])["label"].to_list() == ["bug"]


def test_leaks_definitions_that_cannot_be_loaded_name_files_redacted(
    copy: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the code server shows and logs where a file belongs to two sources."""
    spec_path = copy.root / "dataset.yaml"
    spec = yaml.safe_load(spec_path.read_text())
    spec["sources"].append(spec["sources"][0] | {"name": "again"})
    spec_path.write_text(yaml.safe_dump(spec))
    monkeypatch.setenv(definitions.SPEC_VARIABLE, str(spec_path))
    monkeypatch.setattr(definitions, "_days", lambda project, _: _refuse(discover(project).problems))
    with pytest.raises(
        SpecError, match=r"\[EMAIL_ADDRESS\]_2026-03-01.jsonl belongs to again and inbox"
    ) as error:
        definitions.defs()
    assert leaks.found_in(str(error.value)) == set()


def _refuse(problems: Any) -> Any:
    raise SpecError(list(problems))
