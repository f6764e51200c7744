"""Release folders as `diff` and the report read them: two sides, and what their manifests say.

Lives here: opening the files of finished releases, specs of manifests with their defaults, which release came before
which. Keep out: comparing (`transforms.comparing`), writing releases (`releasing`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import polars as pl

from dataset_pipeline.assets import keeping, recipes
from dataset_pipeline.assets.context import Context
from dataset_pipeline.records import ANNOTATIONS, DAILY_STEPS, PROTECTED, RELEASE, Step
from dataset_pipeline.spec.params import FilterParams, label_names, shingle_words
from dataset_pipeline.storage.release_checks import MANIFEST
from dataset_pipeline.storage.release_removal import ROLLBACK
from dataset_pipeline.transforms.diff import causes, comparing, tallies
from dataset_pipeline.transforms.diff.manifests import INPUT, mapping

UNREADABLE = (
    OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, pl.exceptions.PolarsError,
)  # fmt: skip  # fmt: skip
"""What reading a release raises that is not whole."""

_PROVENANCE_FILE, _DROPPED_FILE = "provenance.parquet", "dropped.parquet"


def manifest_of(folder: Path) -> dict[str, Any]:
    """The manifest of a release. Raises one of UNREADABLE."""
    return dict(json.loads((folder / MANIFEST).read_text(encoding="utf-8")))


def columns_of(path: Path, columns: Sequence[str]) -> pl.DataFrame:
    """Those of `columns` that a Parquet file of a release has. Raises one of UNREADABLE."""
    scan = pl.scan_parquet(path, glob=False)
    known = scan.collect_schema().names()
    return scan.select(name for name in columns if name in known).collect()


def side_of(folder: Path, manifest: dict[str, Any]) -> comparing.Side:
    """What is compared of a release. Raises one of UNREADABLE."""
    provenance = columns_of(folder / _PROVENANCE_FILE, [*comparing.PROVENANCE, *comparing.OPTIONAL])
    inputs = [{key: str(entry[key]) for key in INPUT} for entry in manifest["inputs"]]
    optional = [name for name in comparing.OPTIONAL if name in provenance.columns]
    return comparing.Side(
        provenance.select(*comparing.PROVENANCE, *optional).with_columns(
            pl.col("label", "split").cast(pl.String)
        ),
        columns_of(folder / _DROPPED_FILE, comparing.DROPPED).select(comparing.DROPPED),
        pl.DataFrame(inputs, schema=dict.fromkeys(INPUT, pl.String)),
    )


def whole_spec(spec: Any) -> dict[str, Any] | None:
    """A manifest's spec with its defaults, those that depend on the task too, so that a key which came or went shows
    what it was. None for a spec that this version does not take."""
    from pydantic import ValidationError

    from dataset_pipeline.spec.models import Spec
    from dataset_pipeline.spec.params import params_of

    try:
        read = Spec.model_validate_json(json.dumps(spec))
    except ValidationError:
        return None
    whole: dict[str, Any] = read.model_dump(mode="json")
    limits = cast(FilterParams, params_of(read)[Step.FILTER])
    whole["filter"] |= {
        "input": limits.prompt.model_dump(mode="json"),
        "output": limits.answer.model_dump(mode="json"),
    }
    whole["dedup"]["near"]["ngram"] = shingle_words(read)
    # By word, so that one alias more is one leaf more.
    known = {name.strip().casefold() for name in read.task.label_names}
    whole["label"]["aliases"] = {word: name for word, name in label_names(read).items() if word not in known}
    for source, one in zip(read.sources, whole["sources"], strict=True):
        one["rank"] = source.effective_rank
    return whole


@dataclass(frozen=True)
class Compared:
    """Two releases side by side: what differs of their rows, each with its cause, and of their manifests."""

    rows: comparing.Comparison
    differences: comparing.Differences
    causes: list[tallies.Tally]


def compare(
    sides: tuple[comparing.Side, comparing.Side], old: dict[str, Any], new: dict[str, Any]
) -> Compared:
    """The differences of two releases whose manifests are `old` and `new`. Raises one of UNREADABLE where they say what
    cannot be compared; what another version left out or added is taken as it is."""
    given = [dict(mapping(manifest.get("spec"))) for manifest in (old, new)]
    whole = [whole_spec(spec) for spec in given]
    # With the defaults of one side alone every default would be a difference.
    specs = [given[0], given[1]] if None in whole else [spec or {} for spec in whole]
    found = comparing.differences(old, new, (specs[0], specs[1]))
    libraries = {str(step): recipes.LIBRARIES[step] for step in (*DAILY_STEPS, ANNOTATIONS)}
    libraries[Step.DECONTAMINATE] += recipes.LIBRARIES[PROTECTED]
    # What withholds a record is the comparison of texts and labels: the card's libraries are none of it.
    libraries[RELEASE] = recipes.LIBRARIES[Step.LABEL]
    told = causes.with_causes(comparing.compare(*sides), sides, found, libraries)
    return Compared(told, found, tallies.tally(told))


def release_before(context: Context, version: str) -> Path | None:
    """The folder of the newest release that was made before `version` was, and is still there; None for the first.

    One that `release.keep` is about to remove counts as gone: a page that is written before that is right after it, too.
    """
    due = set(keeping.due(context))
    for name in made_before(context, version):
        folder = context.project.releases_path / name
        if name not in due and (folder / MANIFEST).is_file():
            return folder
    return None


def made_before(context: Context, version: str) -> list[str]:
    """The releases that were made before `version` was, the newest first, whether or not they are still there.

    A rollback makes no release: before the one that it points at stands what came before that one.
    """
    made = context.warehouse.query(
        "SELECT seq, content FROM publications WHERE step = ? AND run_id <> ? ORDER BY seq DESC",
        [RELEASE, ROLLBACK],
    )
    rows = [(seq, str(content)) for seq, content in made.iter_rows()]
    own = next((seq for seq, content in rows if content == version), 0)
    return list(dict.fromkeys(content for seq, content in rows if seq < own and content != version))
