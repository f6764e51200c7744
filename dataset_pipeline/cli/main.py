"""The command line: arguments in, one function of a sibling module called, exit code out.

Lives here: commands, options, and turning errors a user can mend into words and exit codes. Keep
out: doing anything. Imports are lazy: `--help` answers before Polars or Dagster could be loaded.
"""

from __future__ import annotations

import errno
import math
import os
import sys
from pathlib import Path
from typing import Any

import click

from dataset_pipeline import __version__
from dataset_pipeline.cli import calling, completing
from dataset_pipeline.errors import PipelineError, Problem, SpecError, disk_full, fault_words

DEFAULT_SPEC = "data/dataset.yaml"


WAITS = ("DATASET_PIPELINE_WAIT_SECONDS", "DATASET_PIPELINE_RUN_WAIT_SECONDS")
"""Variables of `storage.warehouse` and `storage.locks`, which load too much for here; a test holds them equal."""


TRACEBACK = "DATASET_PIPELINE_TRACEBACK"
"""Of the environment, where somebody looks for a fault of ours: it then ends with its whole traceback."""
_REPORT_IT = f"Run it once more, and report it with these places where it stays; {TRACEBACK}=1 shows all of it, texts of records among it."


def _shown(words: str) -> str:
    from dataset_pipeline.transforms.redaction import shown

    return shown(words)


def _check_waits() -> None:
    """Raises SpecError for a wait that is no number of seconds: nan would wait for ever."""
    for name in WAITS:
        given = os.environ.get(name)
        if given is None:
            continue
        try:
            is_good = math.isfinite(float(given)) and float(given) >= 0
        except ValueError:
            is_good = False
        if not is_good:
            raise SpecError(
                [Problem(name, f"is no number of seconds ({given[:40]!r}).", "Set 0 or more, or unset it.")]
            )


class _Group(click.Group):
    """Turns errors that a user can mend into their message and exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            _check_waits()
            return super().invoke(ctx)
        except PipelineError as error:
            click.echo(_shown(str(error)), err=True)
            ctx.exit(error.exit_code)
        except (click.exceptions.Exit, click.ClickException, click.Abort):
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # whoever read our output has gone: click ends quietly
            full = disk_full(error)
            if isinstance(error, OSError):
                words = f"{error.filename or 'a file'}: {error.strerror}. Check its path, its rights and the disk."
            elif full is None and os.environ.get(TRACEBACK):
                raise
            else:
                words = f"dataset-pipeline: {fault_words(error)} {_REPORT_IT}"
            click.echo(_shown(str(full or words)), err=True)
            ctx.exit(1)
        except KeyboardInterrupt:
            click.echo("Stopped. What was published stays; run again to go on.", err=True)
            ctx.exit(130)


def spec_option(command: Any) -> Any:
    return click.option(
        "--spec",
        type=click.Path(path_type=Path),
        default=Path(DEFAULT_SPEC),
        show_default=True,
        help="The spec file.",
    )(command)


def json_option(command: Any) -> Any:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")(command)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dataset-pipeline")
def main() -> None:
    """One spec file and raw files in; a gated, versioned, explainable training dataset out.

    Exit codes: 0 done, 1 a gate closed or a step failed, 2 the spec or the call is wrong, 3 the warehouse is busy.
    """


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    help="A data file, or a folder of them, to write the spec for.",
)
def init(folder: Path, source: Path | None) -> None:
    """Make a new project FOLDER with a commented spec."""
    from dataset_pipeline.cli.init import beginning

    beginning.init(folder, source)


@main.command()
@spec_option
@json_option
@click.option(
    "--reuse",
    metavar="RELEASE",
    shell_complete=completing.releases,
    help="Say what of a finished release, of this or another project, fits this spec.",
)
def check(spec: Path, as_json: bool, reuse: str | None) -> None:
    """Check the spec, its files and its rights; every problem at once."""
    if reuse is not None:
        from dataset_pipeline.cli import reusing

        sys.exit(reusing.reuse(reuse, spec, as_json))
    from dataset_pipeline.cli import checking

    sys.exit(checking.check(spec, as_json))


@main.command()
@spec_option
@json_option
@click.option("--from", "first", type=click.DateTime(["%Y-%m-%d"]), help="First day to make.")
@click.option("--to", "last", type=click.DateTime(["%Y-%m-%d"]), help="Last day to make.")
@click.option(
    "--select", "select", shell_complete=completing.steps, help="Make this step and what follows it."
)
@click.option(
    "--night",
    type=calling.NightDay(),
    is_flag=False,
    flag_value=calling.YESTERDAY,
    help="As the schedule does: yesterday (or this day) too, file or not; then the checks of the night and the alarm.",
)
def run(spec: Path, as_json: bool, first: Any, last: Any, select: str | None, night: Any) -> None:
    """Make what is missing or stale: plan, progress, funnel, release."""
    from dataset_pipeline.cli import running

    chosen = running.Choice(first.date() if first else None, last.date() if last else None, select, night)
    with calling.ended_in_order():
        code = running.run(spec, as_json, chosen)
    sys.exit(code)


@main.command()
@spec_option
@json_option
def status(spec: Path, as_json: bool) -> None:
    """What is published, stale or missing, and why."""
    from dataset_pipeline.cli import asking

    sys.exit(asking.status(spec, as_json))


@main.command()
@click.argument("record")
@spec_option
@json_option
def explain(record: str, spec: Path, as_json: bool) -> None:
    """The history of one RECORD: its id or the beginning of it, SOURCE:ID, or FILE:LINE."""
    from dataset_pipeline.cli import explaining

    sys.exit(explaining.explain(record, spec, as_json))


@main.command()
@click.argument("step", required=False, shell_complete=completing.previewed_steps)
@click.option(
    "--set", "sets", multiple=True, metavar="KEY=VALUE", help="A key of the spec and its new value."
)
@click.option(
    "--spec-after",
    type=click.Path(path_type=Path),
    help="An edited copy of the spec, beside it: what all its changes together would do.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=20_000,
    show_default=True,
    help="Records that come back and are measured by the steps after, at most.",
)
@spec_option
@json_option
def preview(
    step: str | None, sets: tuple[str, ...], spec_after: Path | None, limit: int, spec: Path, as_json: bool
) -> None:
    """What a change of STEP, or of the whole spec, would keep and drop, without doing it."""
    from dataset_pipeline.cli import previewing

    sys.exit(previewing.preview(step, sets, spec, as_json, spec_after, limit))


@main.command()
@click.argument("before", metavar="A", shell_complete=completing.releases)
@click.argument("after", metavar="B", shell_complete=completing.releases)
@spec_option
@json_option
def diff(before: str, after: str, spec: Path, as_json: bool) -> None:
    """What differs from release A to release B: rows in, out, changed, moved, and why.

    A release is `latest`, a tag, a version, a beginning that only one version has, or a folder.
    """
    from dataset_pipeline.cli import comparing

    sys.exit(comparing.diff(before, after, spec, as_json))


def storage_option(command: Any) -> Any:
    return click.option(
        "--storage",
        multiple=True,
        metavar="KEY=VALUE",
        help="An option of the storage that a URL names; ${NAME} takes a value from the environment.",
    )(command)


@main.command()
@click.argument("release", default="latest", shell_complete=completing.releases)
@spec_option
@storage_option
@click.option(
    "--rebuild",
    is_flag=True,
    help="Make the release again from the raw files, aside, and compare every byte.",
)
def verify(release: str, spec: Path, storage: tuple[str, ...], rebuild: bool) -> None:
    """Check every hash of a RELEASE, and that its rows are those its provenance names.

    RELEASE is `latest`, a tag, a version, a beginning of one and no other, a folder, or the URL of a published one.
    """
    from dataset_pipeline.cli import verifying

    sys.exit(verifying.verify(release, spec, storage, rebuild))


@main.command()
@click.argument("release", shell_complete=completing.releases)
@click.argument("target")
@spec_option
@storage_option
def publish(release: str, target: str, spec: Path, storage: tuple[str, ...]) -> None:
    """Copy a RELEASE to TARGET, whole or not at all, and verify it there.

    RELEASE is `latest`, a tag, a version, a beginning of one and no other, or a folder. TARGET is a folder or any URL that
    fsspec knows (s3://bucket/datasets): the release becomes a folder in it, called by its version.
    """
    from dataset_pipeline.cli import publishing

    sys.exit(publishing.publish(release, target, spec, storage))


@main.command()
@click.argument("release", shell_complete=completing.releases)
@spec_option
def rollback(release: str, spec: Path) -> None:
    """Point `latest` back at an earlier RELEASE.

    RELEASE is a tag, a version, or a beginning that only one has. It is verified first. The rollback holds until the data or the
    spec change: the next run then makes a new release.
    """
    from dataset_pipeline.cli import rolling

    sys.exit(rolling.rollback(release, spec))


@main.command()
@click.argument("name", required=False, shell_complete=completing.tags)
@click.argument("release", required=False, shell_complete=completing.releases)
@click.option("--delete", is_flag=True, help="Take the tag NAME away.")
@click.option("--force", is_flag=True, help="Move a tag that names another release.")
@spec_option
def tag(name: str | None, release: str | None, delete: bool, force: bool, spec: Path) -> None:
    """Call a RELEASE (`latest` where none is given) by a NAME, and keep it for good; without a NAME, list the tags.

    NAME holds letters, digits, `.`, `_` and `-`. It stands for the release wherever one is named, and is the link
    releases/tags/NAME. `release.keep` never removes a release with a tag.
    """
    from dataset_pipeline.cli import tagging

    sys.exit(tagging.tag(name, release, spec, delete, force))


@main.command()
@click.argument("release", nargs=-1, shell_complete=completing.releases)
@click.option(
    "--all", "every", is_flag=True, help="Every release that is kept: the default where none is named."
)
@click.option("--set", "sets", multiple=True, metavar="NAME", help="Only this evaluation set of the spec.")
@spec_option
@json_option
def rescan(release: tuple[str, ...], every: bool, sets: tuple[str, ...], spec: Path, as_json: bool) -> None:
    """Check finished releases against the evaluation sets of today, and write what is found beside them.

    RELEASE is `latest`, a tag, a version, or a beginning that only one has. The release stays as it is; what was looked at and found is
    its addendum, releases/addenda/VERSION.
    """
    from dataset_pipeline.cli import rescanning

    sys.exit(rescanning.rescan(release, every, sets, spec, as_json))


@main.command()
@spec_option
@click.option(
    "--port", type=click.IntRange(1024, 65535), default=3000, show_default=True, help="Port on 127.0.0.1."
)
def ui(spec: Path, port: int) -> None:
    """Open Dagster (webserver and daemon) on 127.0.0.1."""
    from dataset_pipeline.cli import start

    start.ui(spec, port)


@main.command()
@click.argument(
    "output",
    type=click.Choice(["spec", "check", "run", "status", "explain", "preview", "diff", "reuse", "rescan"]),
    default="spec",
)
def schema(output: str) -> None:
    """Print the JSON Schema of the spec, for editors, or of what a command prints with --json."""
    from dataset_pipeline.cli import start

    start.schema(output)


@main.command()
@click.argument("shell", type=click.Choice(completing.SHELLS))
def completion(shell: str) -> None:
    """Print the completion script for a SHELL."""
    click.echo(completing.script(main, shell))


if __name__ == "__main__":
    main()
