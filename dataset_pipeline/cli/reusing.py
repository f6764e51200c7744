"""`check --reuse`: what of a finished release fits another spec, and how to add it as a source.

Lives here: reading the release, filling the output, exit codes. Keep out: the output's shape (`reuse_outputs`), measuring
(`transforms.reuse`), reading data files (`assets.reusing`), words on a terminal (`reuse_words`). Never text of a record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from dataset_pipeline.cli import show
from dataset_pipeline.cli.finding import BrokenRelease, broken, find_release, read_manifest, read_rows
from dataset_pipeline.cli.outputs import Counts, line_of
from dataset_pipeline.cli.reuse_outputs import (
    BalanceOutput,
    HeldOutput,
    LabelOutput,
    LabelsOutput,
    LanguagesOutput,
    OriginOutput,
    RepeatsOutput,
    ReuseOutput,
    RightsOutput,
    TaskOutput,
)
from dataset_pipeline.progress import REPORTER
from dataset_pipeline.records import Split
from dataset_pipeline.spec.licence_terms import OBLIGATION_WORDS
from dataset_pipeline.spec.licences import obligations
from dataset_pipeline.spec.load import Project, load_project
from dataset_pipeline.spec.models import Spec
from dataset_pipeline.storage import release_checks
from dataset_pipeline.storage.readers import UnreadableFile
from dataset_pipeline.storage.release_removal import reading
from dataset_pipeline.transforms import reuse as measures
from dataset_pipeline.transforms.ingest import MissingColumn
from dataset_pipeline.transforms.reuse_source import Offered, offered

if TYPE_CHECKING:
    from dataset_pipeline.assets.reusing import Found

PROVENANCE = "provenance.parquet"


def reuse(release: str, spec: Path, as_json: bool) -> int:
    """Say what of a release fits the spec. Returns 0, or 1 where the release is not whole or nothing of it fits.

    Raises SpecError for a spec that is wrong and a release that is not there, BrokenRelease for one that another
    version made without what is needed.
    """
    from dataset_pipeline.cli.reuse_words import print_reuse

    out = show.console(as_json)
    project = load_project(spec)
    folder = find_release(release, spec)
    token = REPORTER.set(bars := show.Bars(out, 1))
    try:
        with bars, reading(folder):
            found = _look(project, folder)
    finally:
        REPORTER.reset(token)
    print_reuse(out, found)
    if as_json:
        print(line_of(found))
    return 0 if found.fit else 1


def _look(project: Project, folder: Path) -> ReuseOutput:
    REPORTER.get().phase("reuse", "verifying the release")
    verified = release_checks.verify(folder)
    if not verified.is_whole:
        return _not_whole(project.spec, folder, verified)
    manifest = read_manifest(folder)
    try:
        release = offered(manifest)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise broken(
            folder / release_checks.MANIFEST, "does not say what the release's task and days are"
        ) from None
    provenance = _provenance(folder)
    from dataset_pipeline.assets.reusing import NotItsRows, look

    try:
        return _output(project.spec, folder, release, provenance, look(project, folder, release, provenance))
    except NotItsRows:
        raise broken(folder, "its data files hold other rows than its provenance names") from None
    except (MissingColumn, UnreadableFile) as error:
        raise BrokenRelease(f"{folder}: a data file cannot be read: {error}") from None


def _provenance(folder: Path) -> pl.DataFrame:
    path = folder / PROVENANCE
    present = read_rows(path, ["*"], []).columns
    missing = [name for name in measures.NEEDED if name not in present]
    if missing:
        raise BrokenRelease(
            f"{path}: has no column {', '.join(missing)}: another version made it. Make the release again with this one."
        )
    more = [name for name in (*measures.ORIGIN, *measures.LANGUAGE.values()) if name in present]
    return read_rows(path, [*measures.NEEDED, *more])


def _not_whole(spec: Spec, folder: Path, verified: release_checks.Verification) -> ReuseOutput:
    return ReuseOutput(
        release=verified.version, name="", folder=str(folder), spec=spec.name, is_whole=False,
        problems=list(verified.problems), records=0, fit=0, fit_by_split={}, stopped={}, splits={}, rights=None, task=None, labels=None,
        enough=0, balance=[], languages=None, repeats=None, evaluation_sets={}, not_compared=[], copy_files=[], source=None,
    )  # fmt: skip


def _output(
    spec: Spec, folder: Path, release: Offered, provenance: pl.DataFrame, found: Found
) -> ReuseOutput:
    records, has_labels = found.records, spec.task.answers_are_labels
    stopped = Counter[str](records["stop"].drop_nulls().to_list()) if found.has_texts else Counter()
    fitting = records.filter(pl.col("stop").is_null()) if found.has_texts else records.clear()
    way = found.reading.way
    files = release.files[way.format] if way else ()
    is_labelled = found.has_texts and has_labels
    return ReuseOutput(
        release=release.version,
        name=release.name,
        folder=str(folder),
        spec=spec.name,
        is_whole=True,
        problems=[],
        records=provenance.height,
        fit=fitting.height,
        fit_by_split=_by_split(fitting),
        stopped={word: stopped[word] for word in measures.STOPS if stopped[word]},
        splits=_by_split(provenance),
        rights=_rights(spec, provenance, found.reading.objections),
        task=TaskOutput(
            release=release.type,
            spec=spec.task.type,
            reads_as=way.format if way else None,
            why_not=list(found.reading.why_not),
            refused=dict(sorted(found.refused.items())),
        ),
        labels=_labels(spec, release, records) if is_labelled else None,
        enough=measures.enough(spec),
        balance=[
            BalanceOutput(
                label=row["label"],
                sources=row["sources"],
                added=row["added"],
                share=round(row["share"], 6),
                is_rare=row["is_rare"],
            )
            for row in measures.balance(fitting, found.held, spec).iter_rows(named=True)
        ]
        if is_labelled
        else [],
        languages=_languages(spec, provenance, records if found.has_texts else None),
        repeats=_repeats(records, found) if found.has_texts else None,
        evaluation_sets=_sets(records, found) if found.has_texts else {},
        not_compared=list(dict.fromkeys(found.not_compared)),
        copy_files=[path for path in files if not Path(path).name.startswith(Split.TEST.value)],
        source=dict(found.reading.entry) or None,
    )


def _by_split(records: pl.DataFrame) -> Counts:
    counts = dict(records.group_by("split").agg(n=pl.len()).iter_rows())
    return {split.value: counts.get(split.value, 0) for split in Split}


def _rights(spec: Spec, provenance: pl.DataFrame, objections: Sequence[str]) -> RightsOutput:
    uses = measures.wanted_uses(spec)
    origins = []
    for row in measures.rights(provenance, uses).iter_rows(named=True):
        terms = obligations(row["license"] or "")
        asks = [words for name, words in OBLIGATION_WORDS.items() if name in terms.asked]
        origins.append(
            OriginOutput(**row | {"uses": row["uses"] or ""}, asks=asks, is_known=terms.known),
        )
    fit = sum(origin.records for origin in origins if not origin.missing)
    return RightsOutput(
        wanted=list(uses),
        fit=fit,
        do_not_fit=provenance.height - fit,
        train_only=measures.train_only(provenance),
        origins=origins,
        objections=list(objections),
    )


def _labels(spec: Spec, release: Offered, records: pl.DataFrame) -> LabelsOutput:
    fit = measures.label_fit(records.filter("is_record"), spec, release.labels)
    return LabelsOutput(
        in_both=[
            LabelOutput(label=given, becomes=label, records=n)
            for given, label, n in fit.both.select("given", "label", "records").iter_rows()
        ],
        only_release=[
            LabelOutput(label=given, becomes=None, records=n)
            for given, n in fit.only_release.select("given", "records").iter_rows()
        ],
        only_spec=list(fit.only_spec),
        unknown_label=fit.unknown,
        unlabelled=fit.unlabelled,
    )


def _languages(spec: Spec, provenance: pl.DataFrame, records: pl.DataFrame | None) -> LanguagesOutput:
    column = measures.LANGUAGE["prompt"]
    is_tagged = column in provenance.columns
    told = provenance[column].fill_null("none told").value_counts() if is_tagged else pl.DataFrame()
    counts = dict(sorted(told.iter_rows(), key=lambda pair: (-pair[1], pair[0])))
    dropped = int(records["is_foreign"].sum()) if is_tagged and records is not None else None
    return LanguagesOutput(wanted=list(spec.normalize.languages), prompts=counts, dropped=dropped)


def _repeats(records: pl.DataFrame, found: Found) -> RepeatsOutput:
    counts: dict[str, Counter[str]] = {"exact": Counter(), "near": Counter()}
    repeated = records.filter(pl.col("repeats").is_not_null())
    for how, source in repeated.select("repeats", "twin_source").iter_rows():
        counts[how][source or ""] += 1
    return RepeatsOutput(
        compared=dict(sorted(found.compared.items())),
        exact={name: n for name, n in sorted(counts["exact"].items()) if name},
        near={name: n for name, n in sorted(counts["near"].items()) if name},
        exact_inside=counts["exact"][""],
        near_inside=counts["near"][""],
        contradictions=records.filter(pl.col("contradicts") & pl.col("stop").is_null()).height,
        left_out=found.left_out,
    )


def _sets(records: pl.DataFrame, found: Found) -> dict[str, HeldOutput]:
    held = Counter(records.filter(pl.col("eval_set").is_not_null()).select("eval_set", "suspect").iter_rows())
    return {
        name: HeldOutput(items=items, contaminated=held[name, False], suspects=held[name, True])
        for name, items in sorted(found.items.items())
    }
