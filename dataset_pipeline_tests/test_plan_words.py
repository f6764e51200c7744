"""The plan in words: lines, ranges, the table of `status`, counts and the estimate of time.

Lives here: a `Status` made by hand. Keep out: reasons (`test_differences`), whole commands (`test_status`).
"""

from __future__ import annotations

import datetime as dt
import io
from pathlib import Path
from typing import Any, cast

import pytest
from rich.console import Console

from dataset_pipeline.assets.estimating import START_SECONDS, Effort, effort
from dataset_pipeline.assets.plan import DayStatus, State, Status, missing_days, stale_days
from dataset_pipeline.cli import plan_words
from dataset_pipeline.records import DAILY_STEPS, Step
from dataset_pipeline.storage import history
from dataset_pipeline.storage.history import Timing

DAYS = tuple(dt.date(2026, 11, n) for n in range(1, 7))
CLOSED = "gate closed: volume_drop observed 0.93 (limit at most 0.5)"


def entry(
    step: str, day: dt.date | None, state: State = State.PUBLISHED, *reasons: str, rows: int = 10
) -> DayStatus:
    is_closed = any(reason.startswith("gate closed") for reason in reasons)
    return DayStatus(
        step, day, state, reasons, rows if state is not State.MISSING else 0, rows - 1, is_closed
    )


def status(*changed: DayStatus) -> Status:
    """Everything published but `changed`."""
    given = {(e.step, e.day): e for e in changed}
    whole = [entry("protected", None), *(entry(step, day) for day in DAYS for step in DAILY_STEPS)]
    return Status(DAYS, tuple(given.get((e.step, e.day), e) for e in whole))


def shown(found: Status, width: int | None = None) -> list[str]:
    out = Console(
        file=io.StringIO(), width=width or 80, force_terminal=width is not None, color_system=None,
        soft_wrap=True, markup=False, highlight=False, emoji=False,
    )  # fmt: skip
    plan_words.print_table(out, found)
    return cast(io.StringIO, out.file).getvalue().splitlines()


# --- a closed gate ---------------------------------------------------------------------------


def test_closed_gate_is_missing_or_stale_as_well_and_shown_as_itself() -> None:
    never = entry("dedup", DAYS[0], State.MISSING, CLOSED, "never published")
    older = entry("dedup", DAYS[1], State.STALE, CLOSED, "ingest of this day changed")
    found = status(never, older)
    assert found.of(State.MISSING) == [never] and found.of(State.STALE) == [older]
    assert found.of(State.CLOSED) == [never, older] == found.of(State.STALE, State.MISSING, State.CLOSED)
    assert found.days_of(State.STALE, State.MISSING) == [*DAYS[:2]] and found.stretches() == [
        (DAYS[0], DAYS[5])
    ]
    assert {e.shown for e in found.of(State.CLOSED)} == {State.CLOSED} and never.shown.value == "closed gate"


def test_closed_gate_of_split_is_a_missing_or_stale_day_of_the_release() -> None:
    found = status(
        entry("split", DAYS[0], State.MISSING, CLOSED, "never published"),
        entry("split", DAYS[1], State.STALE, CLOSED, "label of this day changed"),
    )
    assert missing_days(found) == [DAYS[0]] and stale_days(found) == [DAYS[1]]


# --- lines and tables --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reasons", "told"),
    [
        ([("file of 2026-11-01 changed",), ("file of 2026-11-02 changed: a.jsonl",)], "files changed"),
        ([("file of 2026-11-01 changed",)], "file of 2026-11-01 changed"),
        ([("file of 2026-11-01 is new",), ("file of 2026-11-02 is new",)], "files are new"),
        ([("1 verdict on records of this day is new",), ("2 verdicts on records of this day are new",)],
         "verdicts on records of these days are new"),
        ([(CLOSED, "never published"), (CLOSED, "never published")], f"{CLOSED}; never published"),
        ([(CLOSED,), (CLOSED.replace("0.93", "0.6"),)], "gate closed: volume_drop"),
        ([("a 1 → 2",), ("a 1 → 2", "b 1 → 2", "c 1 → 2", "d 1 → 2")], "a 1 → 2; b 1 → 2; c 1 → 2; and 1 more"),
        ([("split.seed 7 → 8", "label of this day is not up to date")], "split.seed 7 → 8"),
        ([("label of this day is not up to date",)], "what it reads is not up to date"),
    ],
)  # fmt: skip
def test_plan_lines_of_several_days_say_each_reason_once(reasons: list[tuple[str, ...]], told: str) -> None:
    changed = [entry("filter", day, State.STALE, *given) for day, given in zip(DAYS, reasons, strict=False)]
    [(steps, words)] = plan_words.plan_lines(status(*changed))
    assert steps == "filter" and words.split(": ", 1)[1] == told and words.startswith(changed[0].shown.value)


def test_plan_lines_of_equal_steps_are_one() -> None:
    changed = [entry(step, DAYS[5], State.MISSING, "never published") for step in DAILY_STEPS]
    assert plan_words.plan_lines(status(*changed)) == [
        (", ".join(DAILY_STEPS), "missing, 2026-11-06: never published")
    ]


def test_table_has_a_line_for_each_step_state_and_reason() -> None:
    found = status(
        *(entry("filter", day, State.STALE, "filter.output.min_words 1 → 3") for day in DAYS[:4]),
        entry("filter", DAYS[4], State.STALE, "polars 2.0.1 → 2.1.0"),
        entry("filter", DAYS[5], State.MISSING, CLOSED, "never published"),
    )
    lines = plan_words.table_lines(found)
    assert [line for line in lines if line[0] == "filter"] == [
        ("filter", State.STALE, "2026-11-01 … 2026-11-04 (4)", "40", "36", "filter.output.min_words 1 → 3"),
        ("filter", State.STALE, "2026-11-05 (1)", "10", "9", "polars 2.0.1 → 2.1.0"),
        ("filter", State.CLOSED, "2026-11-06 (1)", "0", "9", f"{CLOSED}; never published"),
    ]
    assert lines[0][:2] == ("reviews", None) and lines[2] == ("protected", State.PUBLISHED, "", "10", "9", "")
    assert shown(found)[5:10] == [
        "dedup          published    2026-11-01 … 2026-11-06 (6)    60    54",
        "filter         stale        2026-11-01 … 2026-11-04 (4)    40    36  filter.output.min_words 1 → 3",
        "filter         stale        2026-11-05 (1)                 10     9  polars 2.0.1 → 2.1.0",
        f"filter         closed gate  2026-11-06 (1)                  0     9  {CLOSED}; never published",
        "normalize      published    2026-11-01 … 2026-11-06 (6)    60    54",
    ]


def test_table_of_a_reason_for_every_day_stays_short() -> None:
    days = [dt.date(2025, 1, 1) + dt.timedelta(days=n) for n in range(700)]
    entries = [entry("filter", day, State.STALE, f"reason number {n}") for n, day in enumerate(days)]
    lines = [
        line for line in plan_words.table_lines(Status(tuple(days), tuple(entries))) if line[0] == "filter"
    ]
    assert len(lines) == 6 and lines[-1][2].endswith("(695)") and lines[-1][5].endswith("and 692 more")


@pytest.mark.parametrize("width", [75, 80, 100, 132])
def test_table_on_a_terminal_is_never_wider_than_it(width: int) -> None:
    gaps = [entry("filter", day, State.STALE, "word " * 40 + "end") for day in DAYS[::2]]
    lines = shown(status(*gaps), width)
    assert all(len(line) <= width for line in lines)
    told = " ".join(" ".join(lines).split())
    assert told.count("word") == 40 and any(line.endswith("end") for line in lines)


def test_table_piped_keeps_a_line_for_each(tmp_path: Path) -> None:
    gaps = [entry("filter", day, State.STALE, "word " * 40 + "end") for day in DAYS[::2]]
    assert len(shown(status(*gaps))) == 1 + 3 + 7 + 1


# --- effort ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.2, "1 s"),
        (8.4, "8 s"),
        (43, "45 s"),
        (89, "90 s"),
        (250, "4 min"),
        (7900, "2 h 10 min"),
        (7200, "2 h"),
    ],
)
def test_duration_is_rounded_to_what_an_estimate_can_say(seconds: float, told: str) -> None:
    assert plan_words.duration(seconds) == told


def test_effort_words_count_and_name_the_slowest_steps() -> None:
    found = Effort(30, 31, 14_000, {"normalize": 180.0, "dedup": 40.0, "label": 0.3}, 240.0)
    assert plan_words.effort_words(found) == (
        "30 days, 31 files, about 14,000 records; about 4 min (normalize 3 min, dedup 40 s)"
    )
    assert plan_words.effort_words(Effort(1, 1, None)) == "1 day, 1 file; no estimate yet"
    assert plan_words.effort_words(Effort(0, 0, 0, {"release": 2.0}, 8.0)) == "about 8 s (release 2 s)"


class Fake:
    def __init__(self, **given: Any):
        vars(self).update(given)


@pytest.fixture
def estimate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """effort() of a status, with timings and sizes given; every day has a file of 1,000 bytes."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"x" * 1000)
    files = [Fake(day=day, source="inbox", path=path) for day in DAYS]

    class Warehouse:
        def reading(self) -> Any:
            import contextlib

            return contextlib.nullcontext()

    def run(found: Status, timings: list[Timing], sizes: dict[str, tuple[int, int]]) -> Effort:
        monkeypatch.setattr(history, "timings", lambda _: timings)
        monkeypatch.setattr(history, "sizes", lambda _: sizes)
        return effort(cast(Any, Fake(warehouse=Warehouse(), found=Fake(files=files))), found)

    return run


def timings(seconds: float, rows: int = 1000, is_cold: bool = True) -> list[Timing]:
    return [Timing(step, 10, rows, seconds, is_cold) for step in DAILY_STEPS]


def test_effort_of_a_new_day_reads_its_file_and_takes_rows_from_what_was_read(estimate: Any) -> None:
    new = [entry(step, DAYS[5], State.MISSING, "never published") for step in DAILY_STEPS]
    found = estimate(status(*new), timings(2.4), {"inbox": (50_000, 500)})
    assert (found.days, found.files, found.records) == (1, 1, 10)
    # Of 2.4 s for 1,000 rows 0.4 are fixed: 10 rows take 0.42.
    assert found.seconds == dict.fromkeys(map(str, DAILY_STEPS), 0.4)
    assert found.total == pytest.approx(START_SECONDS + 7 * 0.42, abs=0.11)


def test_effort_of_a_changed_threshold_counts_the_days_of_its_step_and_those_it_makes_stale(
    estimate: Any,
) -> None:
    changed = [
        *(entry("label", day, State.STALE, "label.aliases.a none → b") for day in DAYS[2:4]),
        *(entry("split", day, State.STALE, "label of this day is not up to date") for day in DAYS[2:4]),
    ]
    slow = [t for t in timings(100.4, 1000, False) if t.step in (Step.LABEL, Step.SPLIT)]
    found = estimate(status(*changed), [*slow, *timings(999.0)], {})
    # Both look back, so they make all four days from the first on: 9 rows each of what the step before kept.
    assert (found.days, found.files, found.records) == (4, 0, 36)
    assert found.seconds == {"label": 4.0, "split": 4.0}


def test_effort_tells_what_is_fixed_from_a_small_and_a_large_run(estimate: Any) -> None:
    changed = [entry("filter", day, State.STALE, "filter.max_tokens 1 → 2") for day in DAYS]
    runs = [Timing(Step.FILTER, 1, 100, 1.0, False), Timing(Step.FILTER, 90, 10_100, 11.0, False)]
    found = estimate(status(*changed), runs, {})
    assert found.seconds == {"filter": 0.9 + 0.1}  # 54 rows at 1 ms, and 0.9 s


def test_effort_without_a_run_before_is_not_estimated(estimate: Any) -> None:
    new = [entry(step, DAYS[5], State.MISSING, "never published") for step in DAILY_STEPS]
    assert estimate(status(*new), [], {}) == Effort(1, 1, None)
    known = [t for t in timings(2.0) if t.step != Step.LABEL]
    assert estimate(status(*new), known, {"inbox": (1000, 10)}).total is None


def test_effort_of_nothing_to_do_is_nothing(estimate: Any) -> None:
    found = estimate(status(), timings(2.0), {"inbox": (1000, 10)})
    assert (found.days, found.files, found.records, found.seconds, found.total) == (0, 0, 0, {}, None)
