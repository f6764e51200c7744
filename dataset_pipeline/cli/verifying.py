"""`verify`: whether a release is what was published, here or at a URL, and whether it can be made again.

Lives here: asking and saying. Keep out: hashes (`storage.release_checks`), rows (`assets.rebuilding`), other storage
(`storage.shipping`), making again (`remaking`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from dataset_pipeline.assets import rebuilding
from dataset_pipeline.assets.rebuilding import RowCheck
from dataset_pipeline.cli import show
from dataset_pipeline.cli.finding import find_release
from dataset_pipeline.errors import Problem, SpecError
from dataset_pipeline.progress import REPORTER
from dataset_pipeline.spec.places import is_remote, place_problems
from dataset_pipeline.storage import release_checks, shipping
from dataset_pipeline.storage.fetching import Secrets, scrubbed_logs
from dataset_pipeline.storage.release_checks import MANIFEST, Verification
from dataset_pipeline.storage.release_removal import reading
from dataset_pipeline.storage.shelf import Destination

_T = TypeVar("_T")


def verify(release: str, spec: Path, storage: Sequence[str] = (), rebuild: bool = False) -> int:
    """Check a release: a version, its beginning, a folder, `latest`, or a URL. Returns 1 where something is wrong."""
    out = show.console()
    if is_remote(release) and local_path(release) is None:
        return _verify_url(release, storage, spec, rebuild, out)
    if storage:
        raise SpecError([Problem("--storage", "belongs to a RELEASE that is a URL.", "Leave it out.")])
    folder = find_release(str(local_path(release) or release), spec)
    with reading(folder):
        found, rows = with_progress(out, lambda: examined(folder))
    for problem in [*found.problems, *rows.problems]:
        out.print(f"{found.version}: {problem}")
    is_whole = found.is_whole and not rows.problems
    if is_whole:
        out.print(
            f"{found.version}: whole. {found.files} files, {found.rows} rows, every hash as in the manifest."
        )
        if rows.rows:
            out.print(
                f"{found.version}: every row of {', '.join(rows.formats)} is the record that provenance names."
            )
    for line in rows.not_checked:
        out.print(f"{found.version}: not checked: {line}.")
    if not is_whole and ((folder / MANIFEST).is_file() or folder.parent.name == "releases"):
        out.print(
            f"This release is not what was published. Restore the folder from a copy, or delete {folder} and run "
            "`dataset-pipeline run`: the newest release is then written again."
        )
    code = 0 if is_whole else 1
    if rebuild and found.manifest:
        from dataset_pipeline.cli import remaking

        return max(code, remaking.remake(found.manifest, spec, out))
    return code


def examined(folder: Path) -> tuple[Verification, RowCheck]:
    """What is wrong with a release folder: its files against the manifest, rows and manifest against provenance."""
    REPORTER.get().phase(rebuilding.STEP, "hashes")
    return release_checks.verify(folder), rebuilding.check_rows(folder)


def with_progress(out: Console, do: Callable[[], _T]) -> _T:
    """`do` while a terminal shows its phases."""
    token = REPORTER.set(bars := show.Bars(out, 1))
    try:
        with bars:
            return do()
    finally:
        REPORTER.reset(token)


# --- elsewhere ----------------------------------------------------------------------------


def _verify_url(url: str, storage: Sequence[str], spec: Path, rebuild: bool, out: Console) -> int:
    target = destination(url, storage, "RELEASE")
    secrets = Secrets("verify")
    with scrubbed_logs(secrets):

        def look() -> tuple[Verification, str, bytes | None]:
            shelf = shipping.find_shelf(target, secrets)
            return shipping.verify_shelf(shelf), shelf.where, shelf.read(MANIFEST)

        found, where, data = with_progress(out, look)
    for problem in found.problems:
        out.print(secrets.scrub(f"{found.version}: {problem}"))
    if found.is_whole:
        out.print(secrets.scrub(f"{found.version}: whole at {where}. {found.files} files, {found.rows} rows, every hash as in the manifest."))  # fmt: skip
        out.print(
            f"{found.version}: not checked: rows, counts and rights against provenance; `verify` of a local copy does that."
        )
    else:
        out.print(secrets.scrub(f"{where} is no whole release. Move away what does not belong, then publish it again: what is whole is kept, the rest replaced."))  # fmt: skip
    if rebuild and data is not None and found.version:
        from dataset_pipeline.cli import remaking

        return max(0 if found.is_whole else 1, remaking.remake(data, spec, out))
    return 0 if found.is_whole else 1


def local_path(given: str) -> Path | None:
    """The path of a file:// or local:// URL; None for any other."""
    scheme, sign, rest = given.partition("://")
    return Path(rest) if sign and scheme.lower() in ("file", "local") and rest.startswith("/") else None


def destination(url: str, storage: Sequence[str], argument: str) -> Destination:
    """A URL and `--storage KEY=VALUE` as a place that can be opened. Raises SpecError naming everything wrong at once."""
    options, problems = _options(storage)
    scheme, _, rest = url.partition("://")
    if not rest.strip("/"):
        raise SpecError([Problem(argument, "names no bucket or folder.", f"Write {scheme}://bucket/folder.")])
    target = Destination(f"{scheme}://{rest.rstrip('/')}", options)
    # As a source's path would be, it names a file: a bucket alone is a good target.
    probe = Destination(f"{target.path}/{MANIFEST}", options)
    for key, message, remedy in place_problems(probe):
        place = argument if key == "path" else f"--storage {key.removeprefix('storage.')}"
        problems.append(Problem(place, message, remedy))
    if any(mark in target.path.partition("://")[2].partition("/")[2] for mark in "*?[{"):
        problems.append(Problem(argument, "has a wildcard or a query.", "Name one folder."))
    if problems:
        raise SpecError(list(dict.fromkeys(problems)))
    return target


def _options(storage: Sequence[str]) -> tuple[dict[str, Any], list[Problem]]:
    """Nested options of `KEY=VALUE`, dots in KEY for options within options."""
    options: dict[str, Any] = {}
    problems = []
    for number, given in enumerate(storage, 1):
        key, sign, text = given.partition("=")
        keys = key.strip().split(".")
        if not sign or not all(keys):
            # What was given is not shown: it may be a secret.
            problems.append(
                Problem(f"--storage (number {number})", "is no KEY=VALUE.", "Write it as in --storage endpoint_url=https://….")
            )  # fmt: skip
            continue
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = text
        inner = options
        for name in keys[:-1]:
            inner = inner.setdefault(name, {}) if isinstance(inner.get(name, {}), dict) else {}
        if keys[-1] in inner:
            problems.append(Problem(f"--storage {key.strip()}", "is given twice.", "Keep one."))
        inner[keys[-1]] = value
    return options, problems
