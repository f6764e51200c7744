"""`check --reuse`: what it says of releases written by hand, its exit codes, and the entry that it offers.

Lives here: a small spec, the releases offered to it, each finding both ways. Keep out: the measures alone (`test_reuse`),
real data (`test_real_reuse`).
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from click.testing import Result

from dataset_pipeline.cli.reuse_outputs import ReuseOutput
from dataset_pipeline.storage import release_checks
from dataset_pipeline_tests import small_project
from dataset_pipeline_tests.reuse_releases import RIGHTS, SOURCE, TASK, record, write_release
from dataset_pipeline_tests.scenario import call, last_json

MARKER = "zyxquorbel"
WORDS = ("ladder", "kettle", "violin", "harbour", "ticket", "garden", "window", "camera", "bicycle", "pump")


def message(number: int) -> str:
    """A message of its own, far from each other one."""
    return " ".join(f"{WORDS[(number + k) % 10]}{number}{chr(97 + k)}" for k in range(12)) + f" {MARKER}"


OWN = [{"text": message(n), "label": ("bug", "wish")[n % 2]} for n in range(6)]


def project(root: Path, rows: list[dict[str, Any]] = OWN, **changes: Any) -> Path:
    """The other project: its spec's path. Its labels are bug, wish and praise; `billing` it does not know."""
    root.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (root / "own.jsonl").write_text(text, encoding="utf-8")
    (root / "holdout.jsonl").write_text(json.dumps({"text": message(90)}) + "\n", encoding="utf-8")
    spec = {
        "name": "helpdesk",
        "task": {"behavior": "Label it.", "type": "classification", "labels": ["bug", "wish", "praise"]},
        "sources": [
            {"name": "own", "kind": "first_party", "path": "own.jsonl", "collected_at": "2026-03-01",
             "rights": {"license": "LicenseRef-own", "holder": "We", "basis": "ours", "uses": ["train", "evaluate", "commercial"]},
             "fields": {"input": "text", "output": "label"}}
        ],
        "decontaminate": {"sets": [{"name": "holdout", "path": "holdout.jsonl", "fields": {"input": "text"}}]},
    } | changes  # fmt: skip
    path = root / "dataset.yaml"
    path.write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
    return path


def told(spec: Path, release: Path, exit_code: int = 0) -> dict[str, Any]:
    result = call("check", spec, "--reuse", str(release), "--json")
    assert result.exit_code == exit_code, result.output
    found: dict[str, Any] = last_json(result)
    ReuseOutput.model_validate(found)
    return found


def says(spec: Path, release: Path) -> Result:
    return call("check", spec, "--reuse", str(release))


NEW = [record(message(n), ("bug", "wish")[n % 2]) for n in range(20, 26)]


# --- whole, there, made by this version ----------------------------------------------------


def test_reuse_of_a_release_that_fits_counts_every_record(tmp_path: Path) -> None:
    found = told(project(tmp_path / "to"), write_release(tmp_path / "from", NEW))
    assert (found["is_whole"], found["records"], found["fit"], found["stopped"]) == (True, 6, 6, {})
    assert found["repeats"]["compared"] == {"own": 6}


def test_reuse_of_a_changed_release_says_so_and_exits_1(tmp_path: Path) -> None:
    release = write_release(tmp_path / "from", NEW)
    (release / "chat" / "train.jsonl").write_text("{}\n", encoding="utf-8")
    spec = project(tmp_path / "to")
    found = told(spec, release, 1)
    assert (found["is_whole"], found["fit"], found["rights"]) == (False, 0, None)
    assert any("chat/train.jsonl: was changed" in problem for problem in found["problems"])
    assert "no whole release" in says(spec, release).stdout


def test_reuse_of_a_release_that_is_not_there_exits_2(tmp_path: Path) -> None:
    result = call("check", project(tmp_path / "to"), "--reuse", "0123")
    assert result.exit_code == 2
    assert "there is no such release" in result.output


def test_reuse_of_a_folder_that_is_no_release_exits_1(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = says(project(tmp_path / "to"), tmp_path / "empty")
    assert result.exit_code == 1
    assert "no manifest" in result.output


def test_reuse_with_a_wrong_spec_exits_2(tmp_path: Path) -> None:
    spec = project(tmp_path / "to", label={"aliases": {"x": "no label"}})
    result = says(spec, write_release(tmp_path / "from", NEW))
    assert result.exit_code == 2
    assert "label.aliases.x" in result.output


def test_reuse_of_a_release_without_rights_columns_names_them(tmp_path: Path) -> None:
    release = write_release(tmp_path / "from", NEW, without=["uses", "holder"])
    result = says(project(tmp_path / "to"), release)
    assert result.exit_code == 1
    assert "no column holder, uses: another version made it" in result.output


def test_reuse_of_a_release_without_languages_says_what_cannot_be_told(tmp_path: Path) -> None:
    release = write_release(tmp_path / "from", NEW, without=["normalize_prompt_language"])
    spec = project(tmp_path / "to", normalize={"languages": ["en"]})
    assert told(spec, release)["languages"] == {"wanted": ["en"], "prompts": {}, "dropped": None}
    assert "names no languages" in says(spec, release).stdout


def test_reuse_of_data_files_that_are_not_those_of_provenance_exits_1(tmp_path: Path) -> None:
    release = write_release(tmp_path / "from", NEW)
    manifest = json.loads((release / "manifest.json").read_text())
    short = pl.read_parquet(release / "provenance.parquet").with_columns(row=pl.col("row") + 7)
    short.write_parquet(release / "provenance.parquet")
    data = (release / "provenance.parquet").read_bytes()
    manifest["files"]["provenance.parquet"] |= {"sha256": hashlib.sha256(data).hexdigest()}
    files = [release_checks.ReleaseFile(p, f["sha256"], 0, None) for p, f in manifest["files"].items()]
    version = release_checks.version_of(files)
    (release / "manifest.json").write_text(json.dumps(manifest | {"version": version}))
    result = says(project(tmp_path / "to"), release.rename(release.parent / version))
    assert result.exit_code == 1
    assert "other rows than its provenance names" in result.output


@pytest.mark.parametrize(
    "changed",
    [{"task": {}}, {"task": {"type": "classification", "labels": 3}}, {"sources": [{"name": "forum", "fields": "text"}]},
     {"sources": ["forum"]}, {"sources": 7}],
)  # fmt: skip
def test_reuse_of_a_manifest_that_says_what_it_cannot_exits_1(
    tmp_path: Path, changed: dict[str, Any]
) -> None:
    release = write_release(tmp_path / "from", NEW)
    manifest = json.loads((release / "manifest.json").read_text())
    manifest["spec"] |= changed
    (release / "manifest.json").write_text(json.dumps(manifest))
    result = says(project(tmp_path / "to"), release)
    assert result.exit_code == 1
    assert "does not say what the release's task and days are" in result.output


# --- rights -------------------------------------------------------------------------------


def test_reuse_rights_that_lack_a_use_are_counted_by_source(tmp_path: Path) -> None:
    narrow = [
        record(message(n), "bug", source="blog", uses="evaluate,train", license="CC-BY-NC-4.0")
        for n in (31, 32)
    ]
    blog = SOURCE | {
        "name": "blog",
        "rights": RIGHTS | {"license": "CC-BY-NC-4.0", "uses": ["train", "evaluate"]},
    }
    release = write_release(tmp_path / "from", [*NEW, *narrow], sources=[SOURCE, blog])
    plain = told(project(tmp_path / "a"), release)
    assert (plain["fit"], plain["rights"]["fit"]) == (8, 8)
    spec = project(tmp_path / "b", release={"uses": ["train", "commercial"]})
    found = told(spec, release)
    assert (found["fit"], found["stopped"], found["rights"]["do_not_fit"]) == (6, {"rights": 2}, 2)
    origins = {one["source"]: (one["missing"], one["asks"]) for one in found["rights"]["origins"]}
    assert origins == {
        "blog": (["commercial"], ["attribution", "non-commercial use only"]),
        "forum": ([], ["attribution"]),
    }
    assert found["source"]["rights"]["uses"] == ["train", "evaluate"]
    output = says(spec, release).stdout
    assert "make the release again without blog" in output
    assert "CC-BY-NC-4.0 asks for attribution and non-commercial use only" in output


def test_reuse_rights_that_fit_nowhere_exit_1(tmp_path: Path) -> None:
    release = write_release(tmp_path / "from", [one | {"uses": "train"} for one in NEW])
    spec = project(tmp_path / "to", release={"uses": ["commercial"]})
    found = told(spec, release, 1)
    assert found["stopped"] == {"rights": 6}
    assert "nothing of it can be used" in says(spec, release).stdout


def test_reuse_record_without_evaluate_may_train_only(tmp_path: Path) -> None:
    release = write_release(tmp_path / "from", [*NEW[1:], NEW[0] | {"uses": "train"}])
    spec = project(tmp_path / "to", release={"uses": ["train", "evaluate"]})
    found = told(spec, release)
    assert (found["fit"], found["rights"]["train_only"]) == (6, 1)
    assert found["source"]["rights"]["uses"] == ["train"]
    assert "1 record may train only" in says(spec, release).stdout


# --- labels and balance -------------------------------------------------------------------


def test_reuse_labels_in_both_and_in_one_alone(tmp_path: Path) -> None:
    others = [record(message(n), "billing") for n in (41, 42)]
    release = write_release(tmp_path / "from", [*NEW, *others])
    found = told(project(tmp_path / "to"), release)
    labels = found["labels"]
    assert [(one["label"], one["becomes"], one["records"]) for one in labels["in_both"]] == [
        ("bug", "bug", 3),
        ("wish", "wish", 3),
    ]
    assert labels["only_release"] == [{"label": "billing", "becomes": None, "records": 2}]
    assert (labels["only_spec"], labels["unknown_label"], found["stopped"]) == (
        ["praise"],
        2,
        {"unknown_label": 2},
    )
    aliased = project(tmp_path / "aliased", label={"aliases": {"BILLING": "praise"}})
    found = told(aliased, release)
    assert (found["fit"], found["labels"]["only_spec"]) == (8, [])
    assert "by another name: billing as praise" in says(aliased, release).stdout


def test_reuse_balance_adds_what_fits_to_the_sources(tmp_path: Path) -> None:
    release = write_release(tmp_path / "from", [record(message(n), "bug") for n in range(50, 62)])
    found = told(project(tmp_path / "to"), release)
    assert found["enough"] == 10
    rows = {one["label"]: (one["sources"], one["added"], one["is_rare"]) for one in found["balance"]}
    assert rows == {"bug": (3, 12, False), "wish": (3, 0, True), "praise": (0, 0, True)}
    assert sum(one["share"] for one in found["balance"]) == pytest.approx(1)


# --- languages ----------------------------------------------------------------------------

GERMAN = f"Die Rechnung wurde uns seit gestern leider schon zweimal geschickt und niemand weiß warum {MARKER}"


def test_reuse_language_outside_the_spec_is_dropped_and_one_inside_is_not(tmp_path: Path) -> None:
    release = write_release(tmp_path / "from", [*NEW[1:], record(GERMAN, language="de")])
    english = told(project(tmp_path / "en", normalize={"languages": ["en"]}), release)
    assert (english["languages"]["dropped"], english["stopped"]) == (1, {"language": 1})
    assert english["languages"]["prompts"] == {"en": 5, "de": 1}
    both = told(project(tmp_path / "both", normalize={"languages": ["en", "de"]}), release)
    assert (both["languages"]["dropped"], both["fit"]) == (0, 6)
    assert told(project(tmp_path / "all"), release)["fit"] == 6


# --- duplicates and evaluation sets -------------------------------------------------------


def test_reuse_duplicates_of_the_sources_are_exact_near_or_inside(tmp_path: Path) -> None:
    records = [
        *NEW,
        record(message(0).upper(), "bug"),
        record(message(1) + " thanks", "wish"),
        record(message(20) + "!", "bug"),
        record(message(21) + " indeed", "wish"),
    ]
    found = told(project(tmp_path / "to"), write_release(tmp_path / "from", records))
    repeats = found["repeats"]
    assert (repeats["exact"], repeats["near"]) == ({"own": 1}, {"own": 1})
    assert (repeats["exact_inside"], repeats["near_inside"], repeats["contradictions"]) == (1, 1, 0)
    assert (found["fit"], found["stopped"]) == (6, {"duplicate": 2, "duplicate_inside": 2})


def test_reuse_same_text_with_another_label_is_a_contradiction_and_no_duplicate(tmp_path: Path) -> None:
    release = write_release(tmp_path / "from", [*NEW, record(message(0), "wish")])
    spec = project(tmp_path / "to")
    found = told(spec, release)
    assert (found["fit"], found["repeats"]["contradictions"], found["repeats"]["exact"]) == (7, 1, {})
    assert "withheld until a review" in says(spec, release).stdout


def test_reuse_row_of_the_same_file_is_a_duplicate_whatever_cleaning_made_of_it(tmp_path: Path) -> None:
    spec = project(tmp_path / "to")
    sha256 = hashlib.sha256((spec.parent / "own.jsonl").read_bytes()).hexdigest()
    cleaned = record("[EMAIL_ADDRESS] wrote something that reads otherwise now", "bug", line=3)
    same = told(spec, write_release(tmp_path / "same", [*NEW, cleaned], sha256=sha256))
    assert (same["repeats"]["exact"], same["fit"]) == ({"own": 1}, 6)
    other = told(spec, write_release(tmp_path / "other", [*NEW, cleaned]))
    assert (other["repeats"]["exact"], other["fit"]) == ({}, 7)


def test_reuse_of_what_may_not_be_used_makes_no_twin(tmp_path: Path) -> None:
    records = [record(message(20), "bug", uses="train"), record(message(20), "bug")]
    spec = project(tmp_path / "to", release={"uses": ["commercial"]})
    found = told(spec, write_release(tmp_path / "from", records))
    assert (found["fit"], found["stopped"]) == (1, {"rights": 1})


def test_reuse_record_with_an_item_of_an_evaluation_set_does_not_fit(tmp_path: Path) -> None:
    release = write_release(tmp_path / "from", [*NEW, record(f"Hello, {message(90)} please", "bug")])
    spec = project(tmp_path / "to")
    found = told(spec, release)
    assert found["evaluation_sets"] == {"holdout": {"items": 1, "contaminated": 1, "suspects": 0}}
    assert (found["fit"], found["stopped"]) == (6, {"contaminated": 1})
    assert "holdout: 1 contaminated" in says(spec, release).stdout
    bare = project(tmp_path / "bare", decontaminate={})
    assert told(bare, release)["fit"] == 7
    assert "the spec protects nothing" in says(bare, release).stdout


def test_reuse_source_file_that_cannot_be_read_is_told_and_the_rest_compared(tmp_path: Path) -> None:
    spec = project(tmp_path / "to")
    (spec.parent / "own.jsonl").unlink()
    release = write_release(tmp_path / "from", NEW)
    found = told(spec, release)
    assert (found["fit"], found["repeats"]["compared"]) == (6, {})
    assert "no file matches 'own.jsonl'" in found["not_compared"][0]
    (spec.parent / "own.jsonl").write_text('{"other": 1}\n', encoding="utf-8")
    assert "has no column 'text', 'label'" in told(spec, release)["not_compared"][0]


def test_reuse_test_split_is_named_and_not_offered(tmp_path: Path) -> None:
    release = write_release(tmp_path / "from", [*NEW, record(message(70), "bug", "test")])
    spec = project(tmp_path / "to")
    found = told(spec, release)
    assert (found["splits"], found["fit_by_split"]["test"]) == ({"train": 6, "validation": 0, "test": 1}, 1)
    assert found["copy_files"] == ["parquet/train.parquet"]
    assert (
        "its test split (1 record, 1 of those that fit) would become training data"
        in says(spec, release).stdout
    )
    without = says(spec, write_release(tmp_path / "without", NEW)).stdout
    assert "its test split" not in without


# --- tasks, layouts, the entry ------------------------------------------------------------

CASES: list[tuple[str, str, tuple[str, ...], str, str | None]] = [
    ("classification", "classification", ("parquet", "alpaca"), "parquet", None),
    ("classification", "classification", ("chat",), "chat", None),
    ("classification", "classification", ("completion",), "completion", None),
    ("classification", "instruction", ("parquet", "alpaca"), "alpaca", "alpaca"),
    ("classification", "chat", ("alpaca", "chat"), "chat", "chat"),
    ("instruction", "instruction", ("alpaca", "parquet"), "parquet", None),
    ("instruction", "chat", ("parquet", "alpaca"), "parquet", "chat"),
    ("instruction", "completion", ("alpaca",), "alpaca", "alpaca"),
    ("preference", "preference", ("preference",), "preference", "preference"),
    ("preference", "chat", ("preference",), "preference", "preference"),
]


@pytest.mark.parametrize("prompt", [None, "Be brief."])
@pytest.mark.parametrize(("was", "becomes", "formats", "reads_as", "layout"), CASES)
def test_reuse_entry_is_a_source_that_check_takes(
    tmp_path: Path,
    was: str,
    becomes: str,
    formats: tuple[str, ...],
    reads_as: str,
    layout: str | None,
    prompt: str | None,
) -> None:
    labels = {"labels": ["bug", "wish"]}
    task = {"behavior": "b", "type": was} | (labels if was == "classification" else {})
    task |= {"system_prompt": prompt} if prompt else {}
    changes = {"rejected": "No."} if was == "preference" else {}
    release = write_release(tmp_path / "from", [one | changes for one in NEW], formats, task, shards=2)
    new_task = {"behavior": "b", "type": becomes} | (labels if becomes == "classification" else {})
    rows = [{"text": "What now?", "label": "bug"}]
    fields = {"input": "text", "output": "label"}
    spec = project(tmp_path / "to", rows, task=new_task)
    content = yaml.safe_load(spec.read_text())
    content["sources"][0]["fields"] = fields
    if becomes == "preference":
        content["sources"][0] |= {
            "layout": "preference",
            "fields": {"input": "text", "chosen": "label", "rejected": "text"},
        }
    spec.write_text(yaml.safe_dump(content))
    if formats == ("completion",) and prompt:
        # The prompt stands inside the text: it cannot be told from it.
        assert told(spec, release, 1)["task"]["reads_as"] is None
        return
    found = told(spec, release)
    assert (found["fit"], found["task"]["reads_as"], found["source"].get("layout")) == (6, reads_as, layout)
    assert len(found["copy_files"]) == 2
    folder = (spec.parent / found["source"]["path"]).parent
    folder.mkdir(parents=True)
    for name in found["copy_files"]:
        shutil.copy(release / name, folder)
    content["sources"].append(found["source"])
    spec.write_text(yaml.safe_dump(content))
    assert call("check", spec).exit_code == 0
    again = told(spec, release, 1)
    assert sum(again["repeats"]["exact"].values()) == 6


@pytest.mark.parametrize(
    ("was", "becomes", "why"),
    [
        ("instruction", "preference", "a better and a worse answer"),
        ("preference", "classification", "a conversation has no label column"),
    ],
)
def test_reuse_task_that_cannot_become_the_other_exits_1(
    tmp_path: Path, was: str, becomes: str, why: str
) -> None:
    records = [one | {"rejected": "No."} for one in NEW]
    formats = ("preference",) if was == "preference" else ("chat", "alpaca")
    release = write_release(tmp_path / "from", records, formats, {"behavior": "b", "type": was})
    spec = project(tmp_path / "to")
    if becomes == "preference":
        content = yaml.safe_load(spec.read_text())
        content["task"] = {"behavior": "b", "type": becomes}
        content["sources"][0] |= {
            "layout": "preference",
            "fields": {"input": "text", "chosen": "label", "rejected": "text"},
        }
        spec.write_text(yaml.safe_dump(content))
    found = told(spec, release, 1)
    assert (found["task"]["reads_as"], found["labels"], found["repeats"], found["source"]) == (
        None,
        None,
        None,
        None,
    )
    assert found["rights"]["fit"] == 6
    output = says(spec, release).stdout
    assert f"cannot become {becomes}" in output
    assert why in output


def test_reuse_of_packed_files_reads_them_and_offers_their_suffix(tmp_path: Path) -> None:
    release = write_release(tmp_path / "from", NEW, ("alpaca",), pack=True)
    found = told(project(tmp_path / "to"), release)
    assert (found["fit"], found["copy_files"]) == (6, ["alpaca/train.jsonl.gz"])
    assert found["source"]["path"].endswith("/*.jsonl.gz")


def test_reuse_generated_text_brings_its_generator(tmp_path: Path) -> None:
    generator = {
        "model": "m",
        "provider": "p",
        "permits_training": True,
        "terms": "t",
        "terms_reviewed": "2026-01-02",
    }
    written = SOURCE | {"name": "written", "kind": "synthetic", "generator": generator}
    release = write_release(
        tmp_path / "from", [*NEW, record(message(71), "bug", source="written")], sources=[SOURCE, written]
    )
    entry = told(project(tmp_path / "to"), release)["source"]
    assert (entry["kind"], entry["generator"], entry["collected_at"]) == (
        "synthetic",
        generator,
        "2026-02-03",
    )
    plain = told(project(tmp_path / "to"), write_release(tmp_path / "plain", NEW, sources=[SOURCE, written]))[
        "source"
    ]
    assert (plain["kind"], plain.get("generator")) == ("licensed", None)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small project after a run, released in packed files without Parquet."""
    root = small_project.make_project(
        tmp_path_factory.mktemp("made"),
        {"release": {"formats": ["sharegpt", "alpaca"], "compression": "zstd"}},
    )
    with pytest.MonkeyPatch.context() as patch:
        small_project.switch_gates_off(patch)
        small_project.run_all(root)
    return root


def test_reuse_of_a_release_that_a_run_made_holds_nothing_new_for_its_own_project(made: Path) -> None:
    found = told(made / "dataset.yaml", small_project.release_folder(made), 1)
    assert found["task"]["reads_as"] == "alpaca"
    assert found["stopped"] == {"duplicate": found["records"]}
    assert set(found["repeats"]["exact"]) == {"inbox", "store", "written"}
    assert told(made / "dataset.yaml", Path("latest"), 1)["release"] == found["release"]


def test_reuse_of_a_release_that_a_run_made_becomes_chat(made: Path, tmp_path: Path) -> None:
    spec = project(
        tmp_path / "to", [{"text": "What now?", "label": "That."}], task={"behavior": "b", "type": "chat"}
    )
    found = told(spec, small_project.release_folder(made))
    assert (found["task"]["reads_as"], found["source"]["layout"]) == ("sharegpt", "sharegpt")
    assert found["fit"] == found["records"] - found["stopped"].get("duplicate_inside", 0) > 0
    assert found["source"]["generator"]["model"] == "m"


def test_reuse_names_of_another_project_steer_no_terminal(tmp_path: Path) -> None:
    hostile = "\x1b[31mred\u202e"
    records = [*NEW, record(message(73), hostile, holder=hostile)]
    release = write_release(tmp_path / "from", records, task={**TASK, "labels": ["bug", hostile]})
    output = says(project(tmp_path / "to"), release).stdout
    assert "\x1b" not in output
    assert "\u202e" not in output
    assert "[31mred" in output


def test_reuse_writes_nothing_and_says_no_text_of_a_record(tmp_path: Path) -> None:
    release = write_release(
        tmp_path / "from", [*NEW, record(message(72), f"free {MARKER} answer", label=f"free {MARKER} answer")]
    )
    spec = project(tmp_path / "to")
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    for arguments in ((), ("--json",)):
        output = call("check", spec, "--reuse", str(release), *arguments).output
        assert MARKER not in output
        assert "(other)" in output
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before
