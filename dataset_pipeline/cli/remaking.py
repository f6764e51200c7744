"""`verify --rebuild`: make a release again from the raw files, aside, and compare it file by file.

Lives here: the folder aside, what changed since, the comparison. Keep out: how a release is made (`running`), whether a
folder is whole (`verifying`).

Nothing of the project is written: the warehouse, the cache, the releases, Dagster's state and a copy of the split lock lie in a
temporary folder that is gone afterwards. Nothing is fetched.
"""

from __future__ import annotations

import json
import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

import dataset_pipeline
from dataset_pipeline.assets import recipes
from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.engine import context_of
from dataset_pipeline.assets.plan import ranges, status_of
from dataset_pipeline.assets.redacting import released_names, released_spec
from dataset_pipeline.cli import running
from dataset_pipeline.cli.checking import checked_project
from dataset_pipeline.errors import Problem, SpecError
from dataset_pipeline.records import RELEASE
from dataset_pipeline.spec.load import Project
from dataset_pipeline.storage import releases
from dataset_pipeline.storage.locks import hold_run_lock, release_run_lock
from dataset_pipeline.storage.release_checks import Manifest, manifest_of
from dataset_pipeline.transforms.diff.comparing import spec_differences

MAX_SHOWN = 20


def remake(manifest: bytes, spec: Path, out: Console) -> int:
    """Make the release of a manifest again. Returns 0 only where every byte, and so the version, is the same.

    Raises SpecError where the project of `spec` cannot be run: its files are gone, or the spec is wrong.
    """
    before = manifest_of(manifest)
    if before is None:
        raise SpecError(
            [Problem(releases.MANIFEST, "is no manifest.", "Restore the release from a copy first.")]
        )
    said = before.said
    project = checked_project(spec)
    if said.get("name") != project.spec.name:
        what = f"is of {str(said.get('name'))[:80]!r}, and {spec} of {project.spec.name!r}."
        raise SpecError([Problem(before.version, f"the release {what}", "Name its own spec with --spec.")])
    with tempfile.TemporaryDirectory(prefix="dataset-pipeline-rebuild-") as folder:
        return _compare(said, before, replace(project, state=Path(folder)), project, out)


def _compare(
    said: Mapping[str, Any], before: Manifest, aside: Project, project: Project, out: Console
) -> int:
    if project.lock_path.is_file():
        shutil.copyfile(project.lock_path, aside.lock_path)
    context = context_of(aside)
    try:
        changed = list(_changes(said, context))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        what = "its spec, inputs or versions are not what a run writes."
        raise SpecError(
            [Problem(releases.MANIFEST, what, "Restore the release from a copy first.")]
        ) from None
    for line in changed[:MAX_SHOWN]:
        out.print(f"changed since: {line}")
    if len(changed) > MAX_SHOWN:
        out.print(f"changed since: and {len(changed) - MAX_SHOWN} more")
    out.print(f"making {before.version} again, aside")
    failures = _make(context, out)
    version = releases.latest_version(aside.releases_path)
    for line in failures:
        out.print(line)
    after = (
        manifest_of((aside.releases_path / version / releases.MANIFEST).read_bytes())
        if version is not None
        else None
    )
    if after is None:
        out.print(f"{before.version}: no release could be made again.")
        return 1
    if after.version == before.version:
        out.print(
            f"{before.version}: made again from the raw files: {len(after.files)} files, every byte the same."
        )
        return 0
    differences = [*_differences(before, after)]
    for line in differences[:MAX_SHOWN]:
        out.print(f"{before.version}: {line}")
    if len(differences) > MAX_SHOWN:
        out.print(f"{before.version}: and {len(differences) - MAX_SHOWN} more files differ")
    others = [
        leaf.path for leaf in spec_differences(said.get("contents") or {}, after.said.get("contents") or {})
    ]
    if others:
        out.print(f"changed since: the content of {', '.join(others[:MAX_SHOWN])}")
    why = (
        "what changed since is named above"
        if changed or others
        else "spec, sources, versions, reviews, annotations and evaluation sets are those of the manifest; it does not hold the "
        "tokenizer of that time, nor days that were released with older rows"
    )
    out.print(
        f"{before.version}: was not made again: {after.version} came out. Bytes may differ by right: {why}."
    )
    return 1


def _make(context: Context, out: Console) -> list[str]:
    """Run every step and the release of a project whose state is empty. Returns what went wrong."""
    choice, report = running.Choice(), running.Report()
    status = status_of(context)
    hold_run_lock(context.project.warehouse_path)
    try:
        stretches = ranges(running.days_to_make(status, choice))
        running.make(context, out, stretches, choice.steps(), choice, report)
    finally:
        release_run_lock(context.project.warehouse_path)
    bad = [f"bad day {day}: {text}" for day, texts in sorted(report.bad.items()) for text in texts]
    return [*bad[:MAX_SHOWN], *report.refused.values(), *report.failures]


def _changes(said: Mapping[str, Any], context: Context) -> Iterator[str]:
    """What is not as the manifest says it was: leaves of the spec, raw files, versions."""
    spec = released_spec(context.project)
    for leaf in spec_differences(said.get("spec", {}), spec):
        yield f"spec {leaf.path}: {_shown(leaf.before)} then, {_shown(leaf.after)} now"
    then = {(i["source"], i["day"], i["uri"]): i["sha256"] for i in said.get("inputs", ())}
    named = released_names((f.source, f.day, f.uri) for f in context.found.files)
    now = {(source, day, name): context.hashes[uri] for (source, day, uri), name in sorted(named.items())}
    start = context.project.spec.start
    for key in sorted(then.keys() | now.keys()):
        if then.get(key) != now.get(key) and (start is None or key[1] >= start.isoformat()):
            word = "is new" if key not in then else "is gone" if key not in now else "was changed"
            yield f"input {key[0]} {key[1]}: {key[2]} {word}"
    versions = {"python": platform.python_version(), "dataset_pipeline": dataset_pipeline.__version__}
    versions |= recipes.libraries(RELEASE)
    for name, version in sorted(said.get("versions", {}).items()):
        if name in versions and versions[name] != version:
            yield f"version of {name}: {version} then, {versions[name]} now"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return "nothing" if value is None else text if len(text) <= 60 else f"{text[:57]}…"


def _differences(before: Manifest, after: Manifest) -> Iterator[str]:
    for path in sorted(before.files.keys() | after.files.keys()):
        was, now = before.files.get(path), after.files.get(path)
        if was is None or now is None:
            yield f"{path}: {'is only in the one made again' if was is None else 'did not come out again'}"
        elif was.sha256 != now.sha256:
            rows = f", {was.rows} rows then, {now.rows} now" if was.rows != now.rows else ""
            yield f"{path}: differs (sha256 {was.sha256[:12]} then, {now.sha256[:12]} now{rows})"
