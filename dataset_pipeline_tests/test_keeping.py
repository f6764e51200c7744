"""The number of releases kept is enforced, and nothing goes that something names.

Lives here: which folders go, how they go, what is said. Keep out: the command `tag` (`test_tagging`).
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from dataset_pipeline import clock
from dataset_pipeline.assets import keeping
from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.housekeeping import housekeeping
from dataset_pipeline.assets.release_reading import made_before, release_before
from dataset_pipeline.storage import erased_releases, release_removal, release_tags, releases
from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline.storage.publishing import NewPublication
from dataset_pipeline.storage.release_removal import ROLLBACK
from dataset_pipeline.storage.warehouse import Warehouse
from dataset_pipeline_tests import scenario, small_project
from dataset_pipeline_tests.test_releases import write

AT = dt.datetime(2026, 11, 20, 2, 0)


@dataclass
class Kept:
    """A project with releases that were written without a run."""

    root: Path

    @property
    def folder(self) -> Path:
        return self.root / "releases"

    @property
    def there(self) -> list[str]:
        return sorted(p.name for p in self.folder.iterdir() if not p.is_symlink() and p.name != "tags")

    def context(self, keep: int | None = 3) -> Context:
        scenario.make_project(self.root, scenario.spec(release={"keep": keep}))
        return small_project.open_project(self.root)

    def make(self, *words: str) -> list[str]:
        """A release of each word, in this order; the last is `latest`. Their versions."""
        return [self.publish(write(self.folder, word).name) for word in words]

    def publish(self, version: str, run_id: str = "run") -> str:
        path = self.root / "warehouse.duckdb"
        warehouse = Warehouse(path) if path.exists() else self.context().warehouse
        new = NewPublication(None, "recipe", version, version, "hash", "{}", 2, 2)
        warehouse.record_release(new, [], run_id)
        return version


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    monkeypatch.setattr(clock, "now", lambda: AT)
    yield Kept(tmp_path / "project")
    release_run_lock(tmp_path / "project" / "warehouse.duckdb")


# --- which go -----------------------------------------------------------------------------


def test_keeping_removes_all_but_the_newest(kept: Kept) -> None:
    a, b, *rest = kept.make("a", "b", "c", "d", "e")
    done = housekeeping(kept.context(3))
    assert kept.there == sorted(rest) and done.dismissed == (a, b)
    assert done.words == tuple(
        f"release {version} removed: 3 newer ones are kept (release.keep)" for version in (a, b)
    )
    again = housekeeping(kept.context(3))
    assert (again.dismissed, again.words) == ((), ())


def test_keeping_null_or_more_than_there_are_removes_nothing(kept: Kept) -> None:
    made = kept.make("a", "b", "c")
    for keep in (None, 3, 30):
        assert housekeeping(kept.context(keep)).words == ()
    assert kept.there == sorted(made)


def test_keeping_counts_by_the_order_of_making_and_the_last_making_of_each(kept: Kept) -> None:
    made = kept.make("b", "c", "a", "b")
    assert keeping.due(kept.context(2)) == [made[1]]


def test_keeping_leaves_what_a_tag_names(kept: Kept) -> None:
    a, b, *rest = kept.make("a", "b", "c", "d", "e")
    release_tags.set_tag(kept.folder, "paper", a)
    assert housekeeping(kept.context(3)).dismissed == (b,)
    assert kept.there == sorted([a, *rest])
    release_tags.delete_tag(kept.folder, "paper")
    assert housekeeping(kept.context(3)).dismissed == (a,)


def test_keeping_leaves_what_latest_and_a_rollback_name(kept: Kept) -> None:
    a, b, c, d = kept.make("a", "b", "c", "d")
    releases.point_latest(kept.folder, b)
    assert keeping.due(kept.context(1)) == [a, c], "the newest stays, though `latest` is older"
    releases.point_latest(kept.folder, d)
    kept.publish(a, ROLLBACK)
    assert keeping.due(kept.context(1)) == [b, c], "a rollback makes no release and stands on this one"


def test_keeping_leaves_what_the_warehouse_does_not_know(kept: Kept) -> None:
    unknown = write(kept.folder, "unknown").name
    (kept.folder / "notes").mkdir()
    (kept.folder / releases.REFUSED).mkdir()
    rolled = kept.publish(write(kept.folder, "rolled").name, ROLLBACK)
    made = kept.make("a", "b")
    (kept.folder / releases.REFUSED).mkdir()
    assert housekeeping(kept.context(1)).dismissed == (made[0],)
    assert kept.there == sorted([releases.REFUSED, "notes", unknown, rolled, made[1]])


def test_keeping_after_links_were_followed_by_a_copy_knows_the_tags(kept: Kept) -> None:
    a, b, c = kept.make("a", "b", "c")
    release_tags.set_tag(kept.folder, "paper", a)
    shutil.copytree(kept.root, kept.root.with_name("copy"))
    copy = Kept(kept.root.with_name("copy"))
    assert (copy.folder / "tags/paper").is_dir() and not (copy.folder / "tags/paper").is_symlink()
    assert keeping.due(copy.context(1)) == [b]
    assert release_tags.tags_of(copy.folder) == [release_tags.Tag("paper", a, False)]
    assert erased_releases.releases_with(copy.folder, ["a"]) == dict.fromkeys(
        [a, b, c, "latest", "tags/paper"], 1
    )


def test_keeping_with_a_tag_that_cannot_be_read_removes_nothing_and_says_so(kept: Kept) -> None:
    made = kept.make("a", "b")
    (kept.folder / "tags/odd").mkdir(parents=True)
    [line] = housekeeping(kept.context(1)).words
    assert "tags/odd: names no release, and may have named any" in line
    assert kept.there == sorted(made)


# --- how they go --------------------------------------------------------------------------


def test_keeping_that_was_killed_is_finished_by_the_next(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, c = kept.make("a", "b", "c")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    for name in ("_note", "shutil"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            if name == "_note":
                patch.setattr(release_removal, name, die)
            else:
                patch.setattr(shutil, "rmtree", die)
            keeping.keep_newest(kept.context(1))
        assert not (kept.folder / a).exists() and (kept.folder / f".removing-{a}").is_dir()
    assert erased_releases.releases_with(kept.folder, ["a"]) == {c: 1}, "what is set aside is no release"
    assert keeping.keep_newest(kept.context(None)).versions == tuple(sorted((a, b)))
    assert kept.there == [c]
    assert release_removal.removed(kept.context().warehouse) == {a: AT, b: AT}


def test_keeping_leaves_a_release_that_is_read_and_removes_it_next_time(kept: Kept) -> None:
    a, b, _ = kept.make("a", "b", "c")
    with release_removal.reading(kept.folder / a):
        done = keeping.keep_newest(kept.context(1))
    assert done.versions == (b,)
    assert f"release {a} stays until the next run: it is being read by another process" in done.words
    assert keeping.keep_newest(kept.context(1)).versions == (a,)


def test_keeping_of_a_release_that_is_tagged_in_the_last_moment_leaves_it(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, _ = kept.make("a", "b")
    chosen = keeping.due(kept.context(1))
    release_tags.set_tag(kept.folder, "paper", a)
    monkeypatch.setattr(keeping, "due", lambda _: chosen)
    assert keeping.keep_newest(kept.context(1)).versions == ()
    assert a in kept.there


@pytest.mark.parametrize("harm", ["a note", "no manifest"])
def test_keeping_deletes_nothing_that_is_none_of_a_releases_files(kept: Kept, harm: str) -> None:
    a, b = kept.make("a", "b")
    if harm == "a note":
        (kept.folder / a / "notes.txt").write_text("mine")
    else:
        (kept.folder / a / "manifest.json").unlink()
    [line] = housekeeping(kept.context(1)).words
    assert f"release {a} stays: " in line and ("notes.txt" in line) is (harm == "a note")
    assert kept.there == sorted([a, b])


@pytest.mark.parametrize("place", ["rename", "rmtree"])
def test_keeping_that_the_disk_refuses_is_said_in_words_and_tried_again(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    a, _ = kept.make("a", "b")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "somewhere")

    with monkeypatch.context() as patch:
        patch.setattr(*((Path, place) if place == "rename" else (shutil, place)), refuse)  # type: ignore[call-overload]
        done = keeping.keep_newest(kept.context(1))
    assert done.versions == () and f"release {a} could not be removed: Permission denied." in done.words[0]
    assert keeping.keep_newest(kept.context(1)).versions == (a,)


def test_keeping_tells_what_was_removed_since_a_moment_again(kept: Kept) -> None:
    a, _ = kept.make("a", "b")
    keeping.keep_newest(kept.context(1))
    assert keeping.keep_newest(kept.context(1)).words == ()
    words = ("release " + a + " removed: 1 newer one is kept (release.keep)",)
    assert housekeeping(kept.context(1), AT).words == words
    assert housekeeping(kept.context(1), AT + dt.timedelta(seconds=1)).words == ()


# --- what others see ----------------------------------------------------------------------


def test_removed_release_that_is_made_again_is_not_removed_any_more(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, _ = kept.make("a", "b")
    keeping.keep_newest(kept.context(1))
    assert list(release_removal.removed(kept.context().warehouse)) == [a]
    monkeypatch.setattr(clock, "now", lambda: AT + dt.timedelta(days=1))
    kept.make("a")
    assert release_removal.removed(kept.context().warehouse) == {}


@pytest.mark.parametrize("command", ["verify", "rollback", "diff", "publish"])
def test_removed_release_is_told_by_every_command_that_names_it(kept: Kept, command: str) -> None:
    a, b = kept.make("a", "b")
    keeping.keep_newest(kept.context(1))
    release_run_lock(kept.root / "warehouse.duckdb")
    more = {"diff": ["latest"], "publish": [str(kept.root / "out")]}.get(command, [])
    result = scenario.call(command, kept.root / "dataset.yaml", a[:6], *more)
    assert result.exit_code == 2
    told = f"there is no such release any more: release.keep removed it ({a}) on 2026-11-20. There are: {b}."
    assert told in result.stderr


def test_release_before_is_none_that_is_about_to_go(kept: Kept) -> None:
    a, b, c = kept.make("a", "b", "c")
    before = release_before(kept.context(2), c)
    assert before is not None and before.name == b
    assert release_before(kept.context(1), c) is None and kept.there == sorted([a, b, c])
    assert made_before(kept.context(1), c) == [b, a] and made_before(kept.context(1), a) == []
    keeping.keep_newest(kept.context(1))
    assert release_before(kept.context(1), c) is None


def test_release_is_the_same_whatever_is_kept(kept: Kept) -> None:
    """`release.keep` says nothing of a release: neither its recipe nor its manifest holds it."""
    assert kept.context(3).project.spec.as_released() == kept.context(None).project.spec.as_released()


def test_keeping_writes_what_it_removed_where_a_query_finds_it(kept: Kept) -> None:
    a, _ = kept.make("a", "b")
    keeping.keep_newest(kept.context(1))
    told = kept.context().warehouse.query("SELECT key, value FROM meta WHERE starts_with(key, 'removed')")
    assert told.equals(pl.DataFrame({"key": [f"removed {a}"], "value": ["2026-11-20T02:00:00"]}))
