"""`diff`: rows in, out, changed and moved of two releases, why, and what of their manifests differs.

Lives here: releases written by hand, a few rows each. Keep out: releases that a run made (`test_outputs`).
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dataset_pipeline.assets import release_reading
from dataset_pipeline.storage import releases
from dataset_pipeline.transforms.diff.comparing import (
    InputDifference,
    Leaf,
    input_differences,
    spec_differences,
    text_sha,
)
from dataset_pipeline_tests.scenario import call, last_json, make_project

MARKER = "zyxquorbel"
PROVENANCE = {"record_id": pl.String, "source": pl.String, "day": pl.Date, "uri": pl.String, "label": pl.String,
              "split": pl.String, "text_sha": pl.String}  # fmt: skip
DROPPED = dict.fromkeys(("record_id", "step", "reason", "detail"), pl.String)


def released(
    record: str, day: int = 1, label: str | None = "bug", split: str = "train", text: str = "one"
) -> Any:
    """A row of provenance, collected on that day of March from the file of that day."""
    return (record, "inbox", f"2026-03-0{day}", f"sources/{day}.jsonl", label, split, text)


def read(day: int, sha: str = "s", rows: int = 5) -> dict[str, Any]:
    """The file of a day, as a manifest lists it."""
    return {"source": "inbox", "day": f"2026-03-0{day}", "uri": f"sources/{day}.jsonl", "sha256": sha, "rows_read": rows}  # fmt: skip


SHORT = ("filter", "too_short", '{"rule":"min_words","side":"answer","threshold":3,"value":2}')
NEAR = ("dedup", "near", '{"rule":"near","twin":"aa"}')

BEFORE: dict[str, Any] = {
    "rows": [released("aa"), released("bb", text="as it was"), released("cc", label="wish"), released("dd"),
             released("ee"), released("ff", 2), released("gg", 3)],
    "dropped": [("hh", *NEAR)],
    "inputs": [read(1), read(2), read(3)],
    "spec": {"filter": {"output": {"min_words": 1}}, "sources": [{"name": "inbox", "rank": 1}], "reviews": []},
    "versions": {"polars": "2.1.0", "python": "3.11.1"},
}  # fmt: skip
AFTER: dict[str, Any] = {
    "rows": [released("aa"), released("bb", text="otherwise"), released("cc", label="bug"),
             released("dd", split="test"), released("hh"), released("jj", 4), released("kk", 2)],
    "dropped": [("ee", *SHORT)],
    "inputs": [read(1), read(2, "other", 7), read(4)],
    "spec": {"filter": {"output": {"min_words": 3}}, "sources": [{"name": "inbox", "rank": 1}], "reviews": ["a.csv"]},
    "versions": {"polars": "2.2.0", "python": "3.11.1"},
}  # fmt: skip
"""aa stays; bb has another text, cc another label, dd another split; ee is too short now, the file of ff has changed,
the one of gg is gone; hh is no near copy any more, jj is of a new file, kk of a changed one."""


def write(project: Path, content: dict[str, Any], has_texts: bool = True) -> str:
    """Write a release and return its version."""
    rows = pl.DataFrame(content["rows"], schema=PROVENANCE | {"day": pl.String}, orient="row")
    rows = rows.with_columns(pl.col("day").str.to_date("%Y-%m-%d"))
    writer = releases.Writer(project / "releases")
    writer.lines("chat/train.jsonl", [b'{"text": "%s"}\n' % MARKER.encode()])
    writer.parquet("provenance.parquet", rows if has_texts else rows.drop("text_sha"))
    writer.parquet("dropped.parquet", pl.DataFrame(content["dropped"], schema=DROPPED, orient="row"))
    writer.text("README.md", json.dumps([content["spec"], content["versions"], content["inputs"]]))
    files = {f.path: {"sha256": f.sha256, "bytes": f.bytes, "rows": f.rows} for f in writer.files.values()}
    kept = {key: content[key] for key in ("inputs", "spec", "versions")}
    counts = {"splits": {"train": rows.height}, "withheld": 0}
    return writer.finish({"version": writer.version(), "files": files, "counts": counts, **kept}).name


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A project with the releases BEFORE and AFTER: spec and both versions. Read-only by convention."""
    path = make_project(tmp_path_factory.mktemp("diff") / "project")
    return path, write(path.parent, BEFORE), write(path.parent, AFTER)


def told(project: tuple[Path, str, str]) -> dict[str, Any]:
    path, before, after = project
    found: dict[str, Any] = last_json(call("diff", path, before, after, "--json"))
    return found


# --- rows ---------------------------------------------------------------------------------


def test_diff_rows_out_say_which_step_or_what_became_of_their_file(project: tuple[Path, str, str]) -> None:
    out = {r["record_id"]: (r["step"], r["reason"], r["detail"]) for r in told(project)["rows_out"]}
    assert out == {
        "ee": ("filter", "too_short", {"rule": "min_words", "side": "answer", "threshold": 3, "value": 2}),
        "ff": (None, "not_collected", {"file": "changed"}),
        "gg": (None, "not_collected", {"file": "gone"}),
    }


def test_diff_rows_in_say_why_they_were_not_in_before(project: tuple[Path, str, str]) -> None:
    came = {r["record_id"]: (r["step"], r["reason"], r["detail"]) for r in told(project)["rows_in"]}
    assert came == {
        "hh": ("dedup", "near", {"rule": "near", "twin": "aa"}),
        "jj": (None, "collected_since", {"file": "new"}),
        "kk": (None, "collected_since", {"file": "changed"}),
    }


def test_diff_changed_and_moved_say_what_differs(project: tuple[Path, str, str]) -> None:
    found = told(project)
    assert [(r["record_id"], r["text_changed"], r["label_before"], r["label_after"]) for r in found["changed"]] == [
        ("bb", True, "bug", "bug"), ("cc", False, "wish", "bug"),
    ]  # fmt: skip
    assert [(r["record_id"], r["split_before"], r["split_after"]) for r in found["moved"]] == [
        ("dd", "train", "test")
    ]


def test_diff_counts_by_source_label_and_split(project: tuple[Path, str, str]) -> None:
    found = told(project)
    names = ("before", "after", "rows_in", "rows_out", "changed", "moved")
    counts = {
        group: {value: tuple(part[name] for name in names) for value, part in found[group].items()}
        for group in ("by_source", "by_label", "by_split")
    }
    assert counts == {
        "by_source": {"inbox": (7, 7, 3, 3, 2, 1)},
        "by_label": {"bug": (6, 7, 3, 3, 2, 1), "wish": (1, 0, 0, 0, 0, 0)},
        "by_split": {"train": (7, 6, 3, 3, 2, 0), "test": (0, 1, 0, 0, 0, 1)},
    }
    assert tuple(found["rows"][name] for name in names) == (7, 7, 3, 3, 2, 1)


def test_diff_of_manifests_names_leaves_files_and_versions(project: tuple[Path, str, str]) -> None:
    found = told(project)
    assert found["spec"] == [
        {"path": "filter.output.min_words", "before": 1, "after": 3},
        {"path": "reviews", "before": None, "after": ["a.csv"]},
    ]
    assert [(i["change"], i["uri"], i["rows_before"], i["rows_after"]) for i in found["inputs"]] == [
        ("changed", "sources/2.jsonl", 5, 7),
        ("removed", "sources/3.jsonl", 5, None),
        ("added", "sources/4.jsonl", None, 5),
    ]
    assert found["versions"] == [{"name": "polars", "before": "2.1.0", "after": "2.2.0"}]


def test_diff_report_is_readable_and_shows_no_text(project: tuple[Path, str, str]) -> None:
    path, before, after = project
    result = call("diff", path, before, after)
    assert result.exit_code == 0 and MARKER not in result.output
    for line in (
        f"{before} → {after}: 7 → 7 records: 3 in, 3 out, 2 changed, 1 moved",
        "out (3): not collected any more 2, filter too_short 1",
        "1 out: filter too_short, because filter.output.min_words 1 → 3",
        "1 out: not collected any more, because sources/2.jsonl was changed",
        "1 out: not collected any more, because sources/3.jsonl is gone",
        "1 changed: text, because polars 2.1.0 → 2.2.0",
        "  ee  inbox, train: filter too_short  (rule min_words, side answer, threshold 3, value 2)",
        "  cc  inbox, train: label wish → bug",
        "  dd  inbox: train → test",
        "spec: filter.output.min_words: 1 → 3",
        "inputs: changed sources/2.jsonl (inbox, 2026-03-02): 5 → 7 rows",
        "versions: polars 2.1.0 → 2.2.0",
    ):
        assert line in result.stdout.splitlines(), line


def test_diff_tells_missing_and_stale_days_of_both(tmp_path: Path) -> None:
    path = make_project(tmp_path / "project")
    before, after = write(path.parent, BEFORE), write(path.parent, AFTER)
    days = [f"2026-03-{n:02}" for n in range(1, 13)]
    for version, said in (
        (before, {"stale_days": days}),
        (after, {"stale_days": [], "missing_days": ["2026-03-03"]}),
    ):
        file = path.parent / "releases" / version / "manifest.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | said))
    lines = call("diff", path, before, after).stdout.splitlines()
    assert "missing days: none → 2026-03-03" in lines
    assert f"stale days: {', '.join(days[:10])} and 2 more → none" in lines
    found = last_json(call("diff", path, before, after, "--json"))
    assert found["missing_days"] == {"before": [], "after": ["2026-03-03"]}
    assert found["stale_days"] == {"before": days, "after": []}


def test_diff_without_missing_or_stale_days_says_nothing_of_them(project: tuple[Path, str, str]) -> None:
    assert told(project)["stale_days"] == {"before": [], "after": []}
    assert " days:" not in call("diff", *project).stdout


def test_diff_every_row_has_a_cause_and_they_are_counted(project: tuple[Path, str, str]) -> None:
    found = told(project)
    kinds = {
        "in": found["rows_in"],
        "out": found["rows_out"],
        "changed": found["changed"],
        "moved": found["moved"],
    }
    for kind, rows in kinds.items():
        counted = [one for one in found["causes"] if one["kind"] == kind]
        assert sum(one["rows"] for one in counted) == len(rows)
        assert {(one["cause"], one["because"]) for one in counted} == {
            (r["cause"], r["because"]) for r in rows
        }
    [short] = [one for one in found["causes"] if one["reason"] == "too_short"]
    assert short == {
        "kind": "out", "step": "filter", "reason": "too_short", "cause": "spec", "because": "filter.output.min_words 1 → 3",
        "rows": 1, "by_source": {"inbox": 1}, "by_label": {"bug": 1}, "by_split": {"train": 1},
    }  # fmt: skip


@pytest.mark.parametrize("name", ["provenance.parquet", "dropped.parquet"])
def test_diff_of_a_release_that_lacks_a_table_or_a_column_says_which_release(
    tmp_path: Path, name: str
) -> None:
    path = make_project(tmp_path)
    before, after = write(tmp_path, BEFORE), write(tmp_path, AFTER)
    file = tmp_path / "releases" / before / name
    pl.read_parquet(file).select("record_id").write_parquet(file)
    result = call("diff", path, before, after)
    assert result.exit_code == 1 and before in result.stderr and "column" in result.stderr
    file.unlink()
    assert f"{name}: is missing or cannot be read" in call("diff", path, before, after).stderr


def test_diff_backwards_is_the_mirror(project: tuple[Path, str, str]) -> None:
    path, before, after = project
    back = told((path, after, before))
    forth = told(project)
    assert [r["record_id"] for r in back["rows_in"]] == [r["record_id"] for r in forth["rows_out"]]
    assert [(r["label_after"], r["label_before"]) for r in back["changed"]] == [
        (r["label_before"], r["label_after"]) for r in forth["changed"]
    ]


def test_diff_of_releases_without_hashes_compares_labels_and_splits_and_says_so(
    project: tuple[Path, str, str], tmp_path: Path
) -> None:
    path = make_project(tmp_path)
    before, after = write(tmp_path, BEFORE, has_texts=False), write(tmp_path, AFTER)
    result = call("diff", path, before, after)
    assert "compared by label and split only" in result.stdout
    found = told((path, before, after))
    assert found["texts_compared"] is False
    assert [(r["record_id"], r["text_changed"]) for r in found["changed"]] == [("cc", None)]
    assert "compared by label" not in call("diff", *project[:1], *project[1:]).stdout


# --- manifests of other versions --------------------------------------------------------------


def ways(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value of a manifest, of each list to its first item only."""
    items = (
        value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    )
    for key, inner in items:
        yield (*way, key)
        yield from ways(inner, (*way, key))


VALUES: tuple[tuple[Any, ...], ...] = ((), ([7],), (None,), ("x",), ({"x": 7},), (7,))
"""What stands there instead; () is nothing at all."""


def values_for(way: tuple[Any, ...]) -> tuple[tuple[Any, ...], ...]:
    """All of VALUES at the top; further down nothing at all, and one by turns: each takes a comparison."""
    return VALUES if len(way) == 1 else (VALUES[0], VALUES[1 + len(str(way)) % 5])


def harmed(manifest: dict[str, Any], way: tuple[Any, ...], *value: Any) -> dict[str, Any]:
    """The manifest with the value there replaced; without one it is taken away."""
    made = copy.deepcopy(manifest)
    inner: Any = made
    for key in way[:-1]:
        inner = inner[key]
    if value:
        inner[way[-1]] = value[0]
    else:
        del inner[way[-1]]
    return made


def test_diff_of_a_source_without_a_name_is_told_and_blames_no_source(tmp_path: Path) -> None:
    path = make_project(tmp_path)
    nameless = BEFORE | {"spec": BEFORE["spec"] | {"sources": [{"rank": 1}]}}
    before, after = write(tmp_path, nameless), write(tmp_path, AFTER)
    found = told((path, before, after))
    assert {r["record_id"]: r["because"] for r in found["rows_out"]} == {
        "ee": "filter.output.min_words 1 → 3", "ff": "sources/2.jsonl was changed", "gg": "sources/3.jsonl is gone",
    }  # fmt: skip


@pytest.mark.faults
def test_diff_of_a_manifest_with_any_key_gone_or_of_another_type_ends_without_a_traceback(
    tmp_path: Path,
) -> None:
    path = make_project(tmp_path)
    before, after = write(tmp_path, BEFORE), write(tmp_path, AFTER)
    file = tmp_path / "releases" / before / "manifest.json"
    whole = json.loads(file.read_text(encoding="utf-8"))
    whole |= {"contents": {"eval_sets": {"holdout": "e"}}, "missing_days": ["2026-03-09"]}
    refused = 0
    for way in [way for way in ways(whole) if way[0] != "files" or len(way) == 1]:
        for value in values_for(way):
            file.write_text(json.dumps(harmed(whole, way, *value)), encoding="utf-8")
            result = call("diff", path, before, after, "--json")  # raises what is no PipelineError
            assert result.exit_code in (0, 1), (way, value)
            if result.exit_code:
                refused += 1
                assert before in result.stderr and "Traceback" not in result.output, (way, value)
            else:
                assert last_json(result)["rows"]["after"] == 7, (way, value)
    assert refused, "a manifest without files is none"


def test_diff_names_the_release_that_cannot_be_compared(
    project: tuple[Path, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, before, after = project
    real = release_reading.compare

    def odd(sides: Any, old: dict[str, Any], new: dict[str, Any]) -> Any:
        if old["version"] == after or new["version"] == after:
            raise KeyError("name")
        return real(sides, old, new)

    monkeypatch.setattr(release_reading, "compare", odd)
    result = call("diff", path, before, after)
    assert result.exit_code == 1 and "says what this version cannot compare (KeyError)" in result.stderr
    assert after in result.stderr and "Traceback" not in result.output


# --- naming releases ------------------------------------------------------------------------


def test_diff_of_a_release_with_itself_says_so(project: tuple[Path, str, str]) -> None:
    path, _, after = project
    result = call("diff", path, "latest", after[:6])
    assert result.exit_code == 0 and result.stdout == f"{after} and {after} are the same release.\n"
    found = told((path, after, "latest"))
    assert found["is_identical"] is True and found["rows_in"] == found["changed"] == []


def test_diff_takes_versions_beginnings_and_folders(project: tuple[Path, str, str], tmp_path: Path) -> None:
    path, before, after = project
    whole = told(project)
    assert told((path, before[:8], str(path.parent / "releases" / after))) == whole
    unreadable = tmp_path / "absent.yaml"
    folders = [str(path.parent / "releases" / version) for version in (before, after)]
    assert told((unreadable, *folders)) == whole, "folders need no spec"


@pytest.mark.parametrize("name", ["nonsense", "", "..", "."])
def test_diff_of_a_release_that_is_not_there_lists_those_that_are(
    project: tuple[Path, str, str], name: str
) -> None:
    path, before, after = project
    result = call("diff", path, "latest", name)
    assert result.exit_code == 2
    assert f"there is no such release. There are: {', '.join(sorted((before, after)))}." in result.stderr


def test_diff_of_a_beginning_that_several_have_asks_for_more(tmp_path: Path) -> None:
    path = make_project(tmp_path)
    for name in ("abc1", "abd2", "c"):
        (tmp_path / "releases" / name).mkdir(parents=True)
    result = call("diff", path, "ab", "c")
    assert result.exit_code == 2
    assert "2 releases begin so: give more of the version. There are: abc1, abd2." in result.stderr


# --- the pure part --------------------------------------------------------------------------


def test_spec_differences_match_named_items_whatever_their_order() -> None:
    before = {"sources": [{"name": "a", "rank": 1}, {"name": "b", "rank": 2}], "languages": ["en"]}
    after = {"sources": [{"name": "b", "rank": 3}, {"name": "a", "rank": 1}], "languages": ["de", "en"]}
    assert spec_differences(before, after) == [
        Leaf("languages", ["en"], ["de", "en"]),
        Leaf("sources[b].rank", 2, 3),
    ]
    assert spec_differences(before, before) == []
    assert spec_differences({"price": None}, {}) == []


def test_input_differences_of_equal_files_are_none() -> None:
    assert input_differences([read(1), read(2)], [read(2), read(1)]) == []
    assert input_differences([read(1)], []) == [
        InputDifference("inbox", "2026-03-01", "sources/1.jsonl", "removed", 5, None)
    ]


def test_text_sha_changes_with_the_text_and_not_with_the_label() -> None:
    def frame(prompt: str, answer: str, label: str | None) -> pl.DataFrame:
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
        return pl.DataFrame({"messages": [turns], "label": pl.Series([label], dtype=pl.String)})

    [a] = text_sha(frame("x", "bug", "bug"))
    assert len(a) == 64
    assert text_sha(frame("x", "wish", "wish"))[0] == a
    assert text_sha(frame("y", "bug", "bug"))[0] != a
    assert text_sha(frame("x", "bug", None))[0] != text_sha(frame("x", "wish", None))[0]


@pytest.mark.faults
def test_diff_of_a_hundred_thousand_rows_is_quick(tmp_path: Path) -> None:
    path = make_project(tmp_path)
    many = [released(f"{n:032x}") for n in range(100_000)]
    before = write(tmp_path, BEFORE | {"rows": many})
    changed = [(*row[:4], "wish", *row[5:]) for row in many[30_000:60_000]]
    after = write(tmp_path, BEFORE | {"rows": [*changed, *many[60_000:]]})
    started = time.monotonic()
    result = call("diff", path, before, after, "--json")
    assert time.monotonic() - started < 10
    found = last_json(result)
    assert (len(found["rows_out"]), len(found["changed"]), found["rows"]["after"]) == (30_000, 30_000, 70_000)
    assert len(call("diff", path, before, after).stdout.splitlines()) < 70
