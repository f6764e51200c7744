"""`tag`: names for releases, wherever a release is named."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.shell_completion import BashComplete

from dataset_pipeline.cli import completing
from dataset_pipeline.cli.main import main
from dataset_pipeline.storage import release_tags, releases
from dataset_pipeline_tests.published_release import some, written
from dataset_pipeline_tests.scenario import call, make_project


@dataclass(frozen=True)
class Project:
    """A project with two releases, of which the second is `latest`."""

    spec: Path
    old: str
    new: str

    @property
    def folder(self) -> Path:
        return self.spec.parent / "releases"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    spec = make_project(tmp_path / "project", files={})
    folder = spec.parent / "releases"
    old, new = (written(folder, some(count), ["chat"]).name for count in (6, 9))
    releases.point_latest(folder, new)
    return Project(spec, old, new)


def test_tag_is_a_link_that_readers_follow_and_a_move_of_the_project_keeps(project: Project) -> None:
    result = call("tag", project.spec, "v1.0")
    assert result.exit_code == 0 and f"tag v1.0 names {project.new} now" in result.stdout
    link = project.folder / "tags/v1.0"
    assert link.readlink() == Path("..") / project.new and (link / "manifest.json").is_file()
    moved = project.folder.rename(project.folder.with_name("moved"))
    assert (moved / "tags/v1.0/manifest.json").is_file()
    assert [path.name for path in (moved / "tags").iterdir()] == ["v1.0"]


def test_tag_of_an_older_release_by_the_beginning_of_its_version(project: Project) -> None:
    assert call("tag", project.spec, "paper", project.old[:6]).exit_code == 0
    assert release_tags.tags_of(project.folder) == [release_tags.Tag("paper", project.old, True)]
    assert call("tag", project.spec, "again", "paper").exit_code == 0, "a tag names a release here, too"
    assert (project.folder / "tags/again").readlink() == Path("..") / project.old


def test_tag_that_names_another_is_moved_by_force_only(project: Project) -> None:
    call("tag", project.spec, "prod", project.old)
    refused = call("tag", project.spec, "prod", project.new)
    assert refused.exit_code == 2
    assert f"tag prod: names {project.old} already. --force moves it" in refused.stderr
    assert call("tag", project.spec, "prod", project.old).stdout.endswith("already: nothing to do.\n")
    forced = call("tag", project.spec, "prod", project.new, "--force")
    assert forced.exit_code == 0 and f"names {project.new} now, before {project.old}" in forced.stdout
    assert (project.folder / "tags/prod").readlink() == Path("..") / project.new


def test_tag_list_says_where_each_points(project: Project) -> None:
    assert call("tag", project.spec).stdout.startswith("There is no tag.")
    for name, release in (("prod", project.new), ("paper-2026", project.old), ("lost", project.old)):
        call("tag", project.spec, name, release)
    (project.folder / "tags/lost").unlink()
    (project.folder / "tags/lost").symlink_to("../0123456789abcdef")
    lines = call("tag", project.spec).stdout.splitlines()
    assert lines[0].startswith("lost        points at 0123456789abcdef, which is gone.")
    assert lines[1:] == [f"paper-2026  {project.old}", f"prod        {project.new}  (latest)"]


def test_tag_delete_takes_the_name_away_and_leaves_the_release(project: Project) -> None:
    call("tag", project.spec, "prod", project.old)
    result = call("tag", project.spec, "--delete", "prod")
    assert result.exit_code == 0 and f"tag prod is deleted; it named {project.old}" in result.stdout
    assert release_tags.tags_of(project.folder) == [] and (project.folder / project.old).is_dir()
    again = call("tag", project.spec, "--delete", "prod")
    assert again.exit_code == 2 and "there is no such tag. There are: none." in again.stderr


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("latest", "is the link that `run` and `rollback` move"),
        ("abc", "reads like the beginning of a version"),
        ("2026", "reads like the beginning of a version"),
        ("../x", "is no name of a tag"),
        (".hidden", "is no name of a tag"),
        ("a b", "is no name of a tag"),
        ("", "is no name of a tag"),
        ("x" * 101, "is no name of a tag"),
    ],
)
def test_tag_with_a_name_that_cannot_be_one_is_refused(project: Project, name: str, expected: str) -> None:
    result = call("tag", project.spec, name)
    assert result.exit_code == 2 and expected in result.stderr
    assert not (project.folder / "tags").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["prod", "nonsense"], "there is no such release"),
        (["--delete"], "NAME: is missing"),
        (["--delete", "prod", "latest"], "it needs no RELEASE"),
    ],
)
def test_tag_called_wrongly_says_how(project: Project, arguments: list[str], expected: str) -> None:
    result = call("tag", project.spec, *arguments)
    assert result.exit_code == 2 and expected in result.stderr


def test_tag_of_a_release_elsewhere_is_refused(project: Project, tmp_path: Path) -> None:
    shutil.copytree(project.folder / project.old, tmp_path / "elsewhere" / project.old)
    result = call("tag", project.spec, "prod", str(tmp_path / "elsewhere" / project.old))
    assert result.exit_code == 2 and "is no release of" in result.stderr


def test_tag_names_a_release_for_verify_publish_and_diff(project: Project, tmp_path: Path) -> None:
    call("tag", project.spec, "paper", project.old)
    assert f"{project.old}: whole." in call("verify", project.spec, "paper").stdout
    assert call("publish", project.spec, "paper", str(tmp_path / "out")).exit_code == 0
    assert (tmp_path / "out" / project.old).is_dir() and not (tmp_path / "out" / "tags").exists()
    assert (tmp_path / "out/latest").readlink() == Path(project.old)


def test_tag_whose_release_is_gone_is_told_in_words(project: Project) -> None:
    call("tag", project.spec, "paper", project.old)
    shutil.rmtree(project.folder / project.old)
    result = call("verify", project.spec, "paper")
    assert result.exit_code == 2
    assert f"tags/paper: points at {project.old}, which is gone." in result.stderr
    assert f"There are: {project.new}." in result.stderr


def test_tag_that_a_copy_has_made_a_folder_is_refused(project: Project, tmp_path: Path) -> None:
    call("tag", project.spec, "paper", project.old)
    shutil.copytree(project.spec.parent, tmp_path / "copy")  # follows links
    spec = tmp_path / "copy" / "dataset.yaml"
    for arguments in (["verify", "paper"], ["tag", "paper", "--force"]):
        result = call(arguments[0], spec, *arguments[1:])
        assert result.exit_code == 2 and "paper: is no link, as a copy that follows links" in result.stderr
    deleted = call("tag", spec, "--delete", "paper")
    assert deleted.exit_code == 2 and "Delete it by hand." in deleted.stderr
    assert (tmp_path / "copy/releases/tags/paper/manifest.json").is_file()


def test_unknown_release_lists_tags_too(project: Project) -> None:
    call("tag", project.spec, "paper")
    assert "Tags: paper." in call("verify", project.spec, "papr").stderr
    assert completing.versions(project.folder) == sorted([project.old, project.new])


def test_completion_offers_tags_wherever_a_release_is_named(project: Project) -> None:
    call("tag", project.spec, "paper")
    named = ["--spec", str(project.spec)]
    versions = sorted([project.old, project.new])

    def completed(arguments: list[str]) -> list[str]:
        shell = BashComplete(main, {}, completing.PROGRAM, "_DATASET_PIPELINE_COMPLETE")
        return [item.value for item in shell.get_completions(arguments, "")]

    for command in ("verify", "rollback", "publish"):
        assert completed([command, *named]) == ["latest", "paper", *versions]
    assert completed(["tag", *named]) == ["paper"]
    assert completed(["tag", *named, "paper"]) == ["latest", "paper", *versions]


def test_names_of_files_are_the_same_in_the_module_that_shells_wait_for() -> None:
    assert (release_tags._LATEST, release_tags._MANIFEST) == (releases.LATEST, releases.MANIFEST)
