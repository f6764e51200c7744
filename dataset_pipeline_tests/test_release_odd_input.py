"""Odd content, odd sizes and odd moments of a release, each with the outcome that docs/steps/release.md gives it.

Lives here: whole releases as a user finds them, loaded by `datasets` through their own card. Keep out: a full disk
(`test_disk_full`), dying while writing (`test_releases`), rows and rules one by one (`test_formats`, `test_preflight`).
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
import yaml

from dataset_pipeline.assets import releasing
from dataset_pipeline.assets.engine import GateClosed, Outcome
from dataset_pipeline.assets.rebuilding import check_rows
from dataset_pipeline.storage import release_checks, releases
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline_tests import small_project as small
from dataset_pipeline_tests.scenario import call, last_json
from dataset_pipeline_tests.test_releases import write

DAY = "2026-03-01"
LABELS = ("=1+1", "../../etc/x", "</script><b>|", "\u202egub", "🙂 *odd*")
WORDS = " ".join("".join(chr(97 + int(digit)) for digit in str(n)) for n in range(100_000, 250_000))
MILLION = f"A long story of 🙂 and שלום: {WORDS[:999_971]}."
ODD = {
    "Smile 👩‍👩‍👧‍👦 with a flag 🏳️‍🌈 in one message.": None,
    "Hebrew שלום עולם stands \u202ein this\u202c message \u2067as it is\u2069.": "Hebrew שלום עולם stands in this message \u2067as it is\u2069.",
    "Arabic مرحبا بالعالم stands in this message, with 123.": None,
    "One line\u2028and another\u2029and a third.": "One line\nand another\nand a third.",
    '=HYPERLINK("x") is the formula that this message is about.': None,
    "../../etc/passwd is the path that this message is about.": None,
    "\"Quotes\", back\\slash, `ticks` and {'json': [1, null]} in a message.": None,
    "A message with --- and | and # and <b>one tag</b> of markup in its midst.": None,
    MILLION: None,
}
"""A collected text to what cleaning makes of it; None where it has nothing to take off."""
PLAIN = [small.message(n) for n in range(30)]
FORMATS = ["chat", "alpaca", "completion", "sharegpt", "parquet"]
RIGHTS = {
    "license": "CC-BY-4.0",
    "holder": "</script>\u202e | *x*",
    "basis": "=1+1",
    "uses": ["train", "evaluate"],
}


def project(root: Path, rows: list[dict[str, str]], task: dict[str, Any], **changes: Any) -> Path:
    """A project of one file of rows (id, text, answer), with every odd text of a spec that reaches the release."""
    root.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    (root / "in.jsonl").write_text("".join(lines), encoding="utf-8")
    source = {
        "name": "inbox", "kind": "licensed", "path": "in.jsonl", "collected_at": DAY, "access": "=cmd|' /C x'!A0",
        "rights": RIGHTS, "fields": {"id": "id", "input": "text", "output": "answer"},
    }  # fmt: skip
    spec = {
        "name": "odd", "task": {"behavior": "Say | what <i>it</i> is.\n---\n# odd", "type": "classification"} | task,
        "sources": [source], "filter": {"max_tokens": None, "input": {"max_words": None}}, "normalize": {"languages": []},
        "split": {"ratios": {"train": 0.7, "validation": 0.2999, "test": 0.0001}},
        "decisions": [{"what": "</script>", "why": "=1+1\n## Behaviour", "who": "\u202egub", "date": "2026-03-02"}],
        "release": {"formats": FORMATS, "max_shard_mb": 1},
    } | changes  # fmt: skip
    (root / "dataset.yaml").write_text(yaml.safe_dump(spec, allow_unicode=True), encoding="utf-8")
    return root


def odd_rows() -> list[dict[str, str]]:
    texts = [*ODD, *PLAIN]
    return [{"id": f"r{n}", "text": t, "answer": LABELS[n % len(LABELS)]} for n, t in enumerate(texts)]


def judge_the_release_alone(patch: pytest.MonkeyPatch) -> None:
    """The gate of the release stays shut for what it refuses; those of the steps are not the subject."""
    judge = releasing._judge
    small.switch_gates_off(patch)
    patch.setattr(releasing, "_judge", judge)


def run(root: Path, run_id: str = "run") -> list[Outcome]:
    try:
        return small.run_all(root, run_id)
    finally:
        release_run_lock(root / "warehouse.duckdb")


# --- loading as users do ----------------------------------------------------------------------------


def turns_of(name: str, row: dict[str, Any]) -> tuple[str, str]:
    """Question and answer of a row of any format; the system prompt is left out."""
    match name:
        case "alpaca":
            return (row["input"], row["output"]) if row["input"] else (row["instruction"], row["output"])
        case "completion":
            return row["prompt"], row["completion"]
        case "sharegpt":
            return tuple(turn["value"] for turn in row["conversations"] if turn["from"] != "system")
        case _:
            return tuple(turn["content"] for turn in row["messages"] if turn["role"] != "system")


def loaded(folder: Path, cache: Path) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Config of the card to split to rows, as `datasets` gives them; Parquet by its folder."""
    with pytest.MonkeyPatch.context() as patch:
        for key in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
            patch.setenv(key, "1")
        import datasets

        datasets.disable_progress_bars()
        found = {}
        for name in datasets.get_dataset_config_names(str(folder)):
            found[name] = datasets.load_dataset(str(folder), name, cache_dir=str(cache))
        if "parquet" not in found and (folder / "parquet").is_dir():
            found["parquet"] = datasets.load_dataset(str(folder / "parquet"), cache_dir=str(cache))
        return {name: {str(s): list(rows) for s, rows in by.items()} for name, by in found.items()}


def counts(folder: Path) -> dict[str, int]:
    """Split to rows by the manifest, splits without rows left out."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return {split: n for split, n in manifest["counts"]["splits"].items() if n}


@dataclass(frozen=True)
class Odd:
    root: Path
    folder: Path
    outcomes: list[Outcome]
    rows: dict[str, dict[str, list[dict[str, Any]]]]


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Odd:
    root = project(tmp_path_factory.mktemp("odd") / "project", odd_rows(), {"labels": list(LABELS)})
    with pytest.MonkeyPatch.context() as patch:
        judge_the_release_alone(patch)
        outcomes = run(root)
    folder = small.release_folder(root)
    return Odd(root, folder, outcomes, loaded(root / "releases" / "latest", root.parent / "cache"))


def test_odd_texts_come_out_of_every_format_as_they_went_in(odd: Odd) -> None:
    collected = {row["text"]: row["answer"] for row in odd_rows()}
    expected = Counter((ODD.get(text) or text, answer) for text, answer in collected.items())
    assert set(odd.rows) == set(FORMATS)
    for name, splits in odd.rows.items():
        assert {split: len(rows) for split, rows in splits.items()} == counts(odd.folder), name
        assert Counter(turns_of(name, row) for rows in splits.values() for row in rows) == expected, name
        for split, rows in splits.items():  # and each in its place
            assert [turns_of(name, r) for r in rows] == [turns_of("chat", r) for r in odd.rows["chat"][split]]
    assert release_checks.verify(odd.folder).problems == ()
    checked = check_rows(odd.folder)
    assert (checked.problems, checked.not_checked, checked.rows) == ([], [], 5 * len(collected))


def test_odd_record_of_a_million_characters_is_a_shard_by_itself(odd: Odd) -> None:
    assert len(MILLION) == 1_000_000
    for name in FORMATS[:4]:
        files = sorted((odd.folder / name).iterdir())
        [own] = [path for path in files if path.stat().st_size > 1_000_000]
        assert re.search(r"-0000\d-of-0000\d\.jsonl$", own.name), own
        [row] = map(json.loads, own.read_text(encoding="utf-8").splitlines())
        assert turns_of(name, row)[0] == MILLION
    parts = [pq.read_table(path).to_pylist() for path in sorted((odd.folder / "parquet").iterdir())]
    assert [len(rows) for rows in parts if MILLION in str(rows)] == [1]


def test_odd_lines_are_lines_for_every_reader(odd: Odd) -> None:
    for path in odd.folder.rglob("*.jsonl"):
        text = path.read_text(encoding="utf-8")
        assert [json.loads(line) for line in text.splitlines()] == list(releases.read_lines(path))


def test_odd_labels_are_words_in_card_page_and_croissant(odd: Odd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from huggingface_hub import DatasetCard

    parsed = DatasetCard.load(odd.folder / "README.md")
    assert parsed.data.to_dict()["pretty_name"] == "odd"
    attribution = (odd.folder / "ATTRIBUTION.md").read_text(encoding="utf-8")
    for words in (parsed.text, attribution):
        assert not re.search("<script|</script|<i>|<b>|\u202e", words)
    assert [h for h in re.findall(r"^## (.*)$", parsed.text, re.MULTILINE) if h == "Behaviour"] == [
        "Behaviour"
    ]
    for shown in ("=1+1", "../../etc/x", "&lt;/script&gt;&lt;b&gt;\\|", "(U+202E)gub", "🙂 \\*odd\\*"):
        assert parsed.text.count(f"\n| {shown} | ") == 1, shown
    page = (odd.root / "report.html").read_text(encoding="utf-8")
    assert "=1+1" in page and "../../etc/x" in page
    assert not re.search(r"<script|</script|<b>\||\u202e", page)
    described = json.loads((odd.folder / "croissant.json").read_text(encoding="utf-8"))
    assert [one["name"] for one in described["creator"]] == [RIGHTS["holder"]]
    assert set(json.loads((odd.folder / "dataset_info.json").read_text(encoding="utf-8")))
    # Nothing is named after a label: what lies there are formats, splits and tables.
    names = {path.relative_to(odd.folder).parts[0] for path in odd.folder.rglob("*")}
    assert names == {*FORMATS, "README.md", "ATTRIBUTION.md", "croissant.json", "dataset_info.json", "manifest.json",
                     "provenance.parquet", "dropped.parquet", "rejects.parquet"}  # fmt: skip
    assert {p.name for p in odd.root.iterdir() if not p.name.startswith(("warehouse", "cache"))} == {
        "in.jsonl", "dataset.yaml", "releases", "report.html"}  # fmt: skip


def test_odd_empty_split_has_no_file_and_no_config_and_is_told(odd: Odd) -> None:
    assert set(counts(odd.folder)) == {"train", "validation"}
    assert not list(odd.folder.glob("*/test*"))
    front = yaml.safe_load((odd.folder / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    listed = {c["config_name"]: [f["split"] for f in c["data_files"]] for c in front["configs"]}
    assert listed == {name: ["train", "validation"] for name in FORMATS[:4]}
    [release] = [outcome for outcome in odd.outcomes if outcome.step == "release"]
    [told] = [j for j in release.judgements if j.expectation.name == "splits_filled"]
    assert (told.passed, told.blocks) == (False, False)


@pytest.mark.faults
def test_odd_release_has_the_same_bytes_when_it_is_built_again(
    odd: Odd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.switch_gates_off(monkeypatch)
    again = project(tmp_path / "elsewhere", odd_rows(), {"labels": list(LABELS)})
    run(again, "another run")
    assert small.release_hashes(again) == small.release_hashes(odd.root)


@pytest.mark.parametrize("key", ["spec", "rights", "tokens", "missing_days"])
def test_odd_release_with_a_manifest_that_was_rewritten_is_not_whole(
    odd: Odd, tmp_path: Path, key: str
) -> None:
    folder = tmp_path / odd.folder.name
    shutil.copytree(odd.folder, folder)
    assert check_rows(folder).problems == []
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest[key] = manifest["spec"] | {"decisions": []} if key == "spec" else None
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert any("than when the card was written" in problem for problem in check_rows(folder).problems)


# --- answers that are dates -------------------------------------------------------------------------


@pytest.mark.faults
def test_answers_that_are_dates_close_the_gate_of_the_formats_that_cannot_hold_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge_the_release_alone(monkeypatch)
    task = {"behavior": "Say when.", "type": "instruction"}
    rows = [{"id": str(n), "text": PLAIN[n], "answer": f"2024-01-{n + 1:02d}"} for n in range(20)]
    root = project(tmp_path, rows, task)
    with pytest.raises(GateClosed) as closed:
        run(root)
    assert [j.expectation.name for j in closed.value.judgements if j.blocks] == ["formats_load"]
    assert (
        "alpaca" in str(closed.value)
        and "completion" in str(closed.value)
        and "2024-01" not in str(closed.value)
    )
    assert [left.name for left in (root / "releases").iterdir()] == [".refused"], "no release, no link"
    refused = root / "releases" / ".refused"
    assert "releases/.refused" in str(closed.value) and not (refused / "manifest.json").exists()
    assert pl.read_parquet(refused / "provenance.parquet")["record_id"].n_unique() == 20
    project(tmp_path, rows, task, release={"formats": ["chat", "sharegpt", "parquet"]})
    run(root)
    assert not refused.exists()
    found = loaded(small.release_folder(root), tmp_path / "cache")
    for name, splits in found.items():
        said = sorted(turns_of(name, row) for part in splits.values() for row in part)
        assert said == sorted((row["text"], row["answer"]) for row in rows)


# --- readers while `latest` moves ---------------------------------------------------------------------


def _look(latest: Path, seen: set[str], stop: threading.Event, wrong: list[str]) -> None:
    """Open the release again and again, as a reader does who follows the link once."""
    while not stop.wait(0.001):
        folder = latest.resolve(strict=True)
        manifest = json.loads((folder / "manifest.json").read_bytes())
        for name, facts in manifest["files"].items():
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != facts["sha256"]:
                wrong.append(f"{folder.name}/{name}")
        if manifest["version"] != folder.name:
            wrong.append(f"{folder.name} is called {manifest['version']}")
        if not json.loads((latest / "manifest.json").read_bytes())["files"]:
            wrong.append("latest names no release")
        seen.add(folder.name)


def watched(latest: Path, change: Callable[[], Any]) -> set[str]:
    """The versions that two readers met while `change` went on. Every one was whole, or the test fails."""
    seen: set[str] = set()
    wrong: list[str] = []
    stop = threading.Event()

    def reader() -> None:
        try:
            _look(latest, seen, stop, wrong)
        except BaseException as error:
            wrong.append(repr(error))

    readers = [threading.Thread(target=reader) for _ in range(2)]
    for thread in readers:
        thread.start()
    try:
        change()
    finally:
        stop.set()
        for thread in readers:
            thread.join(60)
    assert wrong == []
    return seen


def test_readers_meet_a_whole_release_however_often_latest_moves(tmp_path: Path) -> None:
    write(tmp_path, "word 0")
    made = {write(tmp_path, f"word {n}").name for n in range(3)}

    def change() -> None:
        for n in range(60):
            made.add(write(tmp_path, f"word {n % 20}").name)

    seen = watched(tmp_path / "latest", change)
    assert len(made) == 20 and seen <= made and len(seen) >= 3


@pytest.mark.faults
def test_readers_meet_whole_releases_while_the_project_releases_and_rolls_on(
    odd: Odd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.switch_gates_off(monkeypatch)
    root = tmp_path / "project"
    shutil.copytree(odd.root, root, symlinks=True)
    cache, latest = tmp_path / "cache", root / "releases" / "latest"
    found = []

    def change() -> None:
        for formats in (["chat"], ["completion", "chat"]):
            project(
                root,
                odd_rows(),
                {"labels": list(LABELS), "system_prompt": f"Say {formats}."},
                release={"formats": formats},
            )
            run(root)
            found.append(loaded(latest, cache))

    seen = watched(latest, change)
    assert small.release_folder(odd.root).name in seen and seen <= {
        folder.name for folder in releases_of(root)
    }
    assert len(releases_of(root)) == 3 and all(
        release_checks.verify(folder).is_whole for folder in releases_of(root)
    )
    # What `datasets` keeps of a release under the name `latest` is not given for the next one.
    assert [set(rows) for rows in found] == [{"chat"}, {"completion", "chat"}]
    prompts = [{row["messages"][0]["content"] for row in rows["chat"]["train"]} for rows in found]
    assert prompts == [{"Say ['chat']."}, {"Say ['completion', 'chat']."}]


def releases_of(root: Path) -> list[Path]:
    return sorted(p for p in (root / "releases").iterdir() if not p.is_symlink())


# --- the sample, as a user loads it -------------------------------------------------------------------


def text_sha_of(row: dict[str, Any]) -> str:
    """The seal of a classification record's text, in plain Python: its turns without system prompt and label."""
    turns = [turn for turn in row["messages"] if turn["role"] != "system"]
    assert turns[-1]["content"] == row["label"]
    said = {"messages": turns[:-1], "prompt_turns": None, "rejected": None}
    packed = json.dumps(said, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(packed.encode()).hexdigest()


def test_sample_release_is_loaded_by_the_configs_of_its_own_card(sample_root: Path, tmp_path: Path) -> None:
    latest = sample_root / "releases" / "latest"
    found = loaded(latest, tmp_path)
    assert set(found) == {"chat", "alpaca", "parquet"}
    assert all({s: len(rows) for s, rows in splits.items()} == counts(latest) for splits in found.values())
    assert set(counts(latest)) == {"train", "validation", "test"}
    provenance = pl.read_parquet(latest / "provenance.parquet").sort("split", "row")
    prompt = yaml.safe_load((sample_root / "dataset.yaml").read_text(encoding="utf-8"))["task"][
        "system_prompt"
    ]
    for split in counts(latest):
        named = provenance.filter(pl.col("split") == split)
        rows = found["parquet"][split]
        assert [row["record_id"] for row in rows] == named["record_id"].to_list()
        assert [text_sha_of(row) for row in rows] == named["text_sha"].to_list()
        assert [row["label"] for row in rows] == named["label"].to_list()
        assert found["chat"][split] == [{"messages": row["messages"]} for row in rows]
        said = [(prompt.strip(), *turns_of("chat", row)) for row in rows]
        assert [tuple(row.values()) for row in found["alpaca"][split]] == said
        assert list(found["alpaca"][split][0]) == ["instruction", "input", "output"]


# --- two at once, and many ------------------------------------------------------------------------------


@pytest.fixture
def unreleased(odd: Odd, tmp_path: Path) -> Iterator[Path]:
    """The odd project with every step published and another release to be made."""
    root = tmp_path / "project"
    shutil.copytree(odd.root, root, symlinks=True)
    project(root, odd_rows(), {"labels": list(LABELS)}, release={"formats": ["chat", "parquet"]})
    yield root
    release_run_lock(root / "warehouse.duckdb")


@pytest.mark.faults
def test_two_releases_at_once_are_one_release(unreleased: Path) -> None:
    before = {folder.name for folder in releases_of(unreleased)}
    command = [
        sys.executable,
        "-m",
        "dataset_pipeline.cli.main",
        "run",
        "--spec",
        str(unreleased / "dataset.yaml"),
    ]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    made = [folder for folder in releases_of(unreleased) if folder.name not in before]
    assert [folder.name for folder in made] == [small.release_folder(unreleased).name]
    assert release_checks.verify(made[0]).is_whole and check_rows(made[0]).problems == []
    assert sum("Nothing to do" in output for output in outputs) == 1
    assert sum("waiting for process" in output for output in outputs) <= 1


@pytest.mark.faults
def test_hundred_thousand_rows_are_released_whole_in_every_format(tmp_path: Path) -> None:
    labels = [f"=label {n}" for n in range(40)]
    letters = str.maketrans("0123456789", "ghijklmnop")
    sums = [hashlib.sha256(str(n).encode()).hexdigest().translate(letters) for n in range(100_000)]
    # Words of no other record: nothing is a copy, near or not, of anything.
    texts = [" ".join(one[at : at + 6] for at in range(0, 48, 6)) for one in sums]
    rows = [{"id": f"r{n}", "text": f"Ticket {t} 🙂", "answer": labels[n % 40]} for n, t in enumerate(texts)]
    root = project(
        tmp_path / "project", rows, {"labels": labels}, release={"formats": FORMATS, "max_shard_mb": 5}
    )
    result = call("run", root / "dataset.yaml", "--json")
    assert result.exit_code == 0, result.output
    assert last_json(result)["release"] is not None
    folder = small.release_folder(root)
    assert sum(counts(folder).values()) + pl.read_parquet(folder / "dropped.parquet").height == 100_000
    assert sum(counts(folder).values()) > 95_000
    assert len(list((folder / "chat").glob("train-*-of-*.jsonl"))) > 1
    found = loaded(folder, tmp_path / "cache")
    provenance = pl.read_parquet(folder / "provenance.parquet").sort("split", "row")
    texts_of = dict(
        zip((row["id"] for row in rows), ((row["text"], row["answer"]) for row in rows), strict=True)
    )
    for name, splits in found.items():
        assert {split: len(part) for split, part in splits.items()} == counts(folder), name
        for split, part in splits.items():
            ids = provenance.filter(pl.col("split") == split)["source_id"].to_list()
            assert [turns_of(name, row) for row in part] == [texts_of[i] for i in ids], (name, split)
    assert release_checks.verify(folder).is_whole and check_rows(folder).problems == []
