"""Numbers of single sections of the card: sources, labels, languages, personal data, agreement, reviews.

Lives here: counting over frames. Keep out: words (`transforms.card`), what else a release says of itself
(`release_facts`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from dataset_pipeline.records import DAILY_STEPS, Step
from dataset_pipeline.spec.params import AnnotationsParams
from dataset_pipeline.transforms.card.facts import AgreementFacts, ReviewFacts, SourceFacts
from dataset_pipeline.transforms.review_naming import ACTS
from dataset_pipeline.transforms.rights import generator_words


def counts(values: pl.Series) -> dict[str, int]:
    """Value to number of rows, most first, then by name; nulls are left out."""
    found = values.drop_nulls().value_counts(name="n").sort("n", values.name, descending=[True, False])
    return {str(value): int(n) for value, n in found.iter_rows()}


def personal_data(clean: pl.DataFrame) -> dict[str, int]:
    """Type of personal data to how often it was found. clean: rows of TABLES['normalize']."""
    found = clean.select(pl.col("pii_counts").explode()).unnest("pii_counts").drop_nulls()
    return dict(found.group_by("name").agg(pl.col("count").cast(pl.Int64).sum()).sort("name").iter_rows())


def labels(released: pl.DataFrame, names: Sequence[str]) -> dict[str, dict[str, int]]:
    """label to split to records, every name of the spec among them. released: label, split."""
    found: dict[str, dict[str, int]] = {name: {} for name in sorted(names)}
    for label, split, n in released.group_by("label", "split").len().sort("label", "split").iter_rows():
        found.setdefault(str(label), {})[str(split)] = int(n)
    return found


def sources(
    tables: Mapping[str, pl.DataFrame],
    released: pl.DataFrame,
    batches: pl.DataFrame,
    access: Mapping[str, str | None],
) -> list[SourceFacts]:
    """SourceFacts of every source that ever sent a batch, by name.

    tables: the daily tables. released: record_id, source. batches: TABLES['batches']. access: of the spec's
    sources; one that left the spec has none.
    """
    origin = tables[Step.INGEST].select("record_id", "source")
    collected = counts(origin["source"])
    own = released.select("record_id", "source")
    clean = own.join(
        tables[Step.NORMALIZE].select("record_id", changed=_any("changes"), found=_any("pii_counts")),
        on="record_id",
        how="left",
    )
    cleaned, scrubbed = (counts(clean.filter(name)["source"]) for name in ("changed", "found"))
    relabelled = counts(own.join(_relabelled(tables), on="record_id", how="semi")["source"])
    dropped: dict[str, dict[str, int]] = {}
    for step in DAILY_STEPS:
        gone = tables[step].filter(~pl.col("kept")).select("record_id")
        for name, n in counts(gone.join(origin, on="record_id")["source"]).items():
            dropped.setdefault(name, {})[str(step)] = n
    facts = []
    for (name,), part in sorted(batches.partition_by("source", as_dict=True).items()):
        last = part.sort("day", "uri").row(-1, named=True)
        written = [generator_words(g) for g in part["generator"].drop_nulls().unique().sort()]
        facts.append(
            SourceFacts(
                name=str(name),
                kind=last["kind"],
                collected=collected.get(str(name), 0),
                released=int(own.filter(pl.col("source") == name).height),
                access=access.get(str(name)),
                generator="; ".join(words for words in written if words) or None,
                cleaned=cleaned.get(str(name), 0),
                scrubbed=scrubbed.get(str(name), 0),
                relabelled=relabelled.get(str(name), 0),
                dropped=dropped.get(str(name), {}),
            )
        )
    return facts


def _any(column: str) -> pl.Expr:
    """Whether a list of counts counts anything."""
    counted = pl.col(column).list.eval(pl.element().struct.field("count")).list.sum()
    return (counted > 0).fill_null(False)


def _relabelled(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """record_id of the records whose label is not the source's own word, an alias's among them."""
    given = tables[Step.INGEST].select("record_id", collected="label")
    judged = tables[Step.LABEL].select("record_id", "label").join(given, on="record_id")
    return judged.filter(pl.col("label").is_not_null() & pl.col("label").ne_missing(pl.col("collected")))


def agreement(
    measured: pl.DataFrame, labelled: pl.DataFrame, released: pl.DataFrame, params: AnnotationsParams
) -> AgreementFacts | None:
    """What the card says of annotators; None where nobody annotated.

    measured: TABLES['agreement']. labelled: TABLES['label']. released: record_id.
    """
    if measured.height == 0:
        return None
    of = {str(key[0]): part for key, part in measured.partition_by("measure", as_dict=True).items()}
    value, items = of["alpha"].select("value", "n").row(0) if "alpha" in of else (None, 0)
    by_label = of["alpha_label"].sort("name") if "alpha_label" in of else measured.clear()
    kappas = of["kappa"]["value"].drop_nulls().sort().to_list() if "kappa" in of else []
    theirs = labelled.filter(pl.col("label_origin") == "annotations")
    return AgreementFacts(
        alpha=value,
        items=int(items),
        annotators=of["annotator"]["name"].n_unique() if "annotator" in of else 0,
        by_label=[
            (str(name), value, int(n)) for name, value, n in by_label.select("name", "value", "n").iter_rows()
        ],
        kappas=[float(kappa) for kappa in kappas],
        minimum=params.min_agreement,
        aggregate=params.aggregate,
        labels_from_annotations=theirs.join(released.select("record_id"), on="record_id", how="semi").height,
    )


def reviews(table: pl.DataFrame) -> ReviewFacts | None:
    """Verdicts by step, and those that do not act, by state; None where nobody reviewed. table: TABLES['reviews']."""
    if table.height == 0:
        return None
    acting = table.filter(pl.col("state") == ACTS).group_by("step", "verdict").len().sort("step", "verdict")
    return ReviewFacts(
        acting=[(str(step or "-"), str(verdict), int(n)) for step, verdict, n in acting.iter_rows()],
        idle=counts(table.filter(pl.col("state") != ACTS)["state"]),
    )
