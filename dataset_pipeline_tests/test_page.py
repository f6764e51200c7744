"""The report page: what it says, that it is safe to open and to hand on, and when it is written.

Lives here: pages of facts made by hand, and one small project that is run twice. Keep out: the review queue
(`test_queue`), causes (`test_causes`).
"""

from __future__ import annotations

import datetime as dt
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dataset_pipeline.assets import release_reading, report_facts, reporting
from dataset_pipeline.assets.release_reading import release_before
from dataset_pipeline.assets.report_facts import Checks, checks_now, page_facts
from dataset_pipeline.assets.reporting import is_reported, run_report
from dataset_pipeline.expectations.gate import judge
from dataset_pipeline.expectations.undated import REPORT_SUITE, report_frames
from dataset_pipeline.records import RELEASE, REPORT
from dataset_pipeline.spec.models import Task
from dataset_pipeline.storage.judgements import line_of
from dataset_pipeline.storage.publishing import CheckRow
from dataset_pipeline.transforms import curve
from dataset_pipeline.transforms.amounts import advice
from dataset_pipeline.transforms.diff.comparing import Differences, Leaf
from dataset_pipeline.transforms.diff.tallies import Tally
from dataset_pipeline.transforms.page.diff import DiffFacts
from dataset_pipeline.transforms.page.parts import share, text
from dataset_pipeline.transforms.page.plots import Histogram, histogram
from dataset_pipeline.transforms.page.whole import Lengths, PageFacts, ReleaseFacts, SourceShare, page
from dataset_pipeline.transforms.queue import QUEUE
from dataset_pipeline_tests import small_project
from dataset_pipeline_tests.small_project import MARKER, make_project, open_project, run_all, write_spec
from dataset_pipeline_tests.test_diff import harmed, values_for, ways

HOSTILE = '<script src="http://evil.example/x.js">alert("1")</script>&\u202eend'


def release(labels: Mapping[str, Mapping[str, int]], **changes: Any) -> ReleaseFacts:
    facts = ReleaseFacts(
        name="small", version="0123456789abcdef", created_at="2026-03-09T10:00:00Z", task_type="classification",
        days=("2026-03-01", "2026-03-09"), ingested=120, rejected=3, splits={"train": 80, "validation": 10, "test": 10},
        labels=labels, funnel=[("ingest", 120, 120, {}), ("filter", 120, 100, {"too_short": 17, "markup": 3})],
        sources=[SourceShare("inbox", "first_party", "MIT", "Example GmbH", "evaluate,train", 100)],
        lengths=Lengths(histogram({"train": [1, 2, 30], "validation": [], "test": [5]}, 30), "an estimate", 3, 30, 30),
        missing_days=[], stale_days=[],
    )  # fmt: skip
    return replace(facts, **changes)


def facts(**changes: Any) -> PageFacts:
    labels = {"bug": {"train": 50, "test": 10}, "wish": {"train": 30, "validation": 10}}
    made = PageFacts(
        name="small", release=release(labels), problem=None, warnings=["split.test_records: 1 (limit at least 5)"],
        waiting={"label": {"unlabelled": 4}}, queue_name="review_queue.csv",
        advice=advice("classification", None, 80, {"bug": 50, "wish": 30}),
        curve=curve.Curve((curve.Point(40, 0.6, 0.5), curve.Point(80, 0.8, 0.7)), labels=2, majority_share=0.5,
                          train_rows=80, validation_rows=10),
        diff=None,
    )  # fmt: skip
    return replace(made, **changes)


def shown(html: str) -> str:
    """What a reader sees, in one line."""
    body = html[html.index("<body>") :]
    return " ".join(re.sub(r"<[^>]*>", " ", body).split())


# --- what it says ---------------------------------------------------------------------------


def test_page_tells_release_counts_reasons_and_what_waits() -> None:
    said = shown(page(facts()))
    for words in (
        "Release 0123456789abcdef of 2026-03-09T10:00:00Z , collected 2026-03-01 to 2026-03-09".replace(" ,", ","),
        "100 records released", "of 120 collected", "train 80 · 80 %", "bug 60 · 60 %", "− 20: too_short 17, markup 3",
        "median 3, 95 % have at most 30", "inbox first_party MIT Example GmbH evaluate, train 100 100 %",
        "Checks that failed or warned warned: split.test_records: 1", "label unlabelled 4 review_queue.csv", "There are 80: fewer than usual.",
        "A small baseline gets 80.0% of validation right", "This is the first release",
    ):  # fmt: skip
        assert words in said, words
    assert page(facts()) == page(facts())


def test_page_says_missing_and_stale_days_before_everything_else() -> None:
    lacking = replace(
        facts().release or release({}), missing_days=["2026-03-03"], stale_days=["2026-03-04", "2026-03-05"]
    )
    said = shown(page(facts(release=lacking)))
    missing, stale = (
        said.index("1 day of which nothing is released: 2026-03-03"),
        said.index("2 days released with older rows"),
    )
    assert missing < stale < said.index("What is in it")
    assert "nothing is released" not in shown(page(facts()))


def test_page_says_that_every_check_passed_only_where_none_failed_or_warned() -> None:
    failed = ["label.agreement: 0.4 (limit at least 0.75) on 2026-03-02"]
    said = shown(page(facts(failures=failed, warnings=[])))
    assert f"Checks that failed or warned failed: {failed[0]} What failed is kept out" in said
    assert "1 check that failed 0 checks that warned" in said and "Every check passed" not in said
    assert "What failed" not in shown(page(facts()))
    assert "Every check passed." in shown(page(facts(warnings=[])))
    assert "Every check passed." not in shown(page(facts(release=None, warnings=[])))


def test_page_lists_the_checks_of_a_closed_gate_until_they_are_made_good(tmp_path: Path) -> None:
    make_project(tmp_path)
    context = open_project(tmp_path)
    assert checks_now(context) == Checks([], [])
    days = tuple(f"2026-03-{n:02}" for n in range(2, 9))
    observed = json.dumps({"observed": 3, "limit": "at most 0", "culprits": ["a", 7]})
    rows = [
        CheckRow("filter", "rule_guard", "critical", "rows", False, False, observed, days),
        CheckRow("filter", "kept_share", "warning", "rows", False, True, '{"observed": 0.2}', ()),
        CheckRow("filter", "ids_unique", "critical", "rows", True, False, '{"observed": 0}', ()),
        CheckRow(REPORT, "no_personal_data", "critical", "rows", False, False, observed, ("all",)),
    ]
    context.warehouse.record_checks(rows, [dt.date(2026, 3, 2)], "run")
    told = checks_now(context)
    shown_days = ", ".join(days[:5])
    assert told.failed == [f"filter.rule_guard: 3 (limit at most 0) by a, 7 on {shown_days} and 2 more days"]
    assert told.warned == ["filter.kept_share: 0.2"]
    assert [line_of(row) for row in rows[:2]] == [*told.failed, *told.warned]
    made_good = replace(rows[0], passed=True)
    context.warehouse.record_checks([made_good], [dt.date(2026, 3, 2)], "run")
    assert checks_now(context).failed == []


def test_page_without_a_release_still_says_what_waits() -> None:
    said = shown(page(facts(release=None, advice=None, curve=None)))
    assert "There is no release yet." in said and "unlabelled 4" in said
    assert "cannot be read" in shown(page(facts(release=None, problem="The folder cannot be read.")))


def test_page_tells_what_changed_since_the_release_before_and_why() -> None:
    n = {"before": 10, "after": 9, "in": 0, "out": 1, "changed": 0, "moved": 0}
    same = {"before": 5, "after": 5, "in": 0, "out": 0, "changed": 0, "moved": 0}
    leaf = Leaf("filter.input.min_words", 1, 3)
    example = Leaf("task.examples[0].input", "a secret text", "another")
    diff = DiffFacts(
        "fedcba9876543210", "2026-03-08T10:00:00Z", "0123456789abcdef", True,
        {"source": {"inbox": n, "shop": same}, "label": {"bug": n}, "split": {"train": n}},
        [Tally("out", "filter", "too_short", "spec", "filter.input.min_words 1 → 3", 1, {}, {}, {})],
        Differences((leaf, example), (), (), (), True, (frozenset(), frozenset()), (frozenset(), frozenset()), False),
    )  # fmt: skip
    said = shown(page(facts(diff=diff)))
    assert "out 1 filter too_short spec: filter.input.min_words 1 → 3" in said
    assert "inbox 10 9 0 1 0 0" in said and "shop 5" not in said
    assert "secret text" not in said and "dataset-pipeline diff fedcba9876543210 0123456789abcdef" in said
    assert "Incomplete days" not in said
    incomplete: dict[str, Any] = {"missing": ([], []), "stale": ([], ["2026-03-02", "2026-03-03"])}
    said = shown(page(facts(diff=replace(diff, incomplete=incomplete))))
    assert "Incomplete days before after stale none 2026-03-02, 2026-03-03" in said and "missing" not in said


@pytest.mark.parametrize(("part", "whole", "words"), [(0, 9, "0 %"), (9, 9, "100 %"), (1, 5000, "< 0.1 %"), (4999, 5000, "> 99.9 %"), (1, 3, "33 %"), (0, 0, "0 %")])  # fmt: skip
def test_page_shares_are_never_rounded_to_all_or_nothing(part: int, whole: int, words: str) -> None:
    assert share(part, whole) == words


# --- safe to open and to hand on ------------------------------------------------------------------


def test_page_escapes_hostile_names_everywhere() -> None:
    hostile = release(
        {HOSTILE: {"train": 80}}, name=HOSTILE, funnel=[(HOSTILE, 9, 5, {HOSTILE: 4})], missing_days=[HOSTILE],
        sources=[SourceShare(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, 100)],
    )  # fmt: skip
    html = page(facts(name=HOSTILE, release=hostile, warnings=[HOSTILE], waiting={HOSTILE: {HOSTILE: 1}}))
    assert "<script" not in html and 'src="http' not in html and "\u202e" not in html
    assert html.count("&lt;script src=&quot;http://evil.example/x.js&quot;&gt;") >= 10


def test_page_loads_nothing_and_runs_nothing() -> None:
    html = page(facts())
    assert not re.search(r"<script|<link|<iframe|@import|url\(|javascript:|https?://|\son\w+=", html)
    assert re.findall(r'(?:src|href)="([^"]*)"', html) == ["review_queue.csv"]
    assert "prefers-color-scheme:dark" in html and "@media print" in html and 'name="viewport"' in html


def test_page_text_is_cut_in_one_line_and_without_hidden_signs() -> None:
    assert text("a\n\t b") == "a b" and text("x" * 400) == "<bdi>" + "x" * 299 + "…</bdi>"
    assert (
        text("\x00\u200b\ufeff") == "<bdi>\ufffd\ufffd\ufffd</bdi>"
        and text("\"<&>'") == "&quot;&lt;&amp;&gt;&#x27;"
    )


def test_page_names_that_hold_personal_data_are_redacted_and_the_gate_asks_for_it() -> None:
    html = page(facts(release=release({"eve.long@example.com": {"train": 80}})))
    assert "eve.long@example.com" in html
    masked = reporting._without_personal_data(html)
    assert "example.com" not in masked and "[EMAIL_ADDRESS]" in masked and "inbox" in masked

    def gate(html: str) -> dict[str, bool]:
        frames = report_frames(pl.DataFrame(schema=QUEUE), 0, reporting.visible_texts(html))
        return {j.expectation.name: j.passed for j in judge(REPORT_SUITE, *frames)}

    assert gate(html)["personal_data_replaced"] is False
    assert gate(masked)["personal_data_replaced"] is True


def test_page_of_five_thousand_labels_stays_small() -> None:
    labels = {f"label {n}": {"train": n} for n in range(5000)}
    html = page(facts(release=release(labels)))
    assert len(html) < 150_000 and "and 4,800 labels with fewer records" in html
    assert "label 4999" in html and "label 4799<" not in html


def test_page_histogram_counts_every_value_once() -> None:
    found = histogram({"train": [0, 4, 5, 99, 1000], "test": [10]}, 99)
    assert found.width == 5 and found.is_open
    assert found.counts["train"] == (2, 1, *[0] * 17, 2) and sum(found.counts["test"]) == 1
    assert histogram({"train": []}, 0) == Histogram(1, {"train": (0,)}, False)


# --- when it is written ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small project, run, then run again with shorter messages refused; gates off: they are not the subject."""
    root = make_project(tmp_path_factory.mktemp("page") / "project")
    with pytest.MonkeyPatch.context() as patch:
        small_project.switch_gates_off(patch)
        run_all(root, "one")
        write_spec(root, {"filter": {"input": {"min_words": 16}}})
        run_all(root, "two")
    return root


@pytest.fixture
def root(twice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it; nothing of it is judged."""
    small_project.switch_gates_off(monkeypatch)
    shutil.copytree(twice, tmp_path / "copy", symlinks=True)
    return tmp_path / "copy"


def test_page_of_a_project_compares_with_the_release_before_and_holds_no_text_of_a_record(
    twice: Path,
) -> None:
    html = (twice / "report.html").read_text(encoding="utf-8")
    folder = (twice / "releases/latest").resolve()
    assert MARKER not in html and f"Release {folder.name}" in html
    before = [p.name for p in (twice / "releases").iterdir() if p.name not in ("latest", folder.name)]
    assert len(before) == 1 and f"diff {before[0]} {folder.name}" in html
    assert "filter.input.min_words 3 → 16" in html and '<svg class="plot"' in html


def test_page_is_a_no_op_while_nothing_changes_and_the_curve_is_not_learned_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise AssertionError("the learning curve was learned again")

    monkeypatch.setattr(curve, "learning_curve", refuse)
    context = open_project(root)
    assert is_reported(context, context.warehouse.latest())
    assert run_report(context, "again").is_noop


@pytest.mark.parametrize("harm", ["delete", "edit"])
def test_page_that_was_deleted_or_edited_is_written_again_with_the_same_bytes(root: Path, harm: str) -> None:
    path = root / "report.html"
    was = path.read_bytes()
    path.unlink() if harm == "delete" else path.write_bytes(was + b"<p>")
    context = open_project(root)
    assert not is_reported(context, context.warehouse.latest())
    run_report(context, "again")
    assert path.read_bytes() == was


def test_page_forgets_a_release_before_whose_folder_is_gone(root: Path) -> None:
    context = open_project(root)
    newest = context.warehouse.latest()[(RELEASE, None)].content
    before = release_before(context, newest)
    assert before is not None and before.name != newest
    assert release_before(context, before.name) is None, "it was the first"
    shutil.rmtree(before)
    assert not is_reported(context, context.warehouse.latest())
    run_report(context, "again")
    said = f"The release before, {before.name}, is not kept any more. release.keep is 30."
    assert said in (root / "report.html").read_text(encoding="utf-8")


def test_page_says_that_a_release_folder_cannot_be_read_and_is_mended_with_it(root: Path) -> None:
    context = open_project(root)
    folder = (root / "releases/latest").resolve()
    whole = (root / "report.html").read_bytes()
    manifest = (folder / "manifest.json").read_bytes()
    (folder / "manifest.json").unlink()
    run_report(context, "broken")
    assert f"The folder of release {folder.name} cannot be read." in (root / "report.html").read_text(
        encoding="utf-8"
    )
    (folder / "manifest.json").write_bytes(manifest)
    run_report(context, "mended")
    assert (root / "report.html").read_bytes() == whole


def _quick(*_: Any) -> curve.Curve:
    """Instead of a learning curve, which no manifest decides."""
    return curve.learning_curve(pl.DataFrame(), pl.DataFrame(), Task(behavior="Answer.", type="chat"))


def test_page_says_that_the_comparison_could_not_be_made_and_is_mended_with_the_manifest(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = open_project(root)
    whole = (root / "report.html").read_bytes()
    before = release_before(context, context.warehouse.latest()[(RELEASE, None)].content)
    assert before is not None
    file = before / "manifest.json"
    manifest = file.read_bytes()
    odd = json.loads(manifest)
    del odd["spec"]["sources"][0]["name"]
    file.write_text(json.dumps(odd), encoding="utf-8")
    run_report(context, "odd")
    assert "filter.input.min_words 3 → 16" in (root / "report.html").read_text(encoding="utf-8")

    def refuse(*_: Any) -> Any:
        raise KeyError("name")

    with monkeypatch.context() as patch:
        patch.setattr(release_reading, "compare", refuse)
        (root / "report.html").unlink()
        run_report(context, "refused")
    said = (root / "report.html").read_text(encoding="utf-8")
    assert f"The comparison with the release before, {before.name}, could not be made" in said
    file.write_bytes(manifest)
    run_report(context, "mended")
    assert (root / "report.html").read_bytes() == whole


@pytest.mark.faults
@pytest.mark.parametrize("which", ["latest", "before"])
def test_page_of_a_manifest_with_any_key_gone_or_of_another_type_is_still_written(
    root: Path, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_facts, "_curve", _quick)
    context = open_project(root)
    latest = context.warehouse.latest()
    newest = root / "releases" / latest[(RELEASE, None)].content
    before = release_before(context, newest.name)
    assert before is not None
    file = (newest if which == "latest" else before) / "manifest.json"
    whole = json.loads(file.read_text(encoding="utf-8"))
    for way in [
        way for way in ways(whole) if way[0] not in ("files", "data_files", "preflight") or len(way) == 1
    ]:
        for value in values_for(way)[len(str(way)) % 2 :: 2] if len(way) > 1 else values_for(way)[:3]:
            file.write_text(json.dumps(harmed(whole, way, *value)), encoding="utf-8")
            shown_now = page(page_facts(context, latest, {}, Checks([], [])))
            assert "What waits for a person" in shown_now, (way, value)
