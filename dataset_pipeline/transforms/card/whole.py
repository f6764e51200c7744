"""The dataset card: front matter and words, computed from counts.

Lives here: the order of the card, what was done, what was left out, decisions, how to make it again. Keep out: clock
values (the card is part of the version), the version itself, text of records, computing the numbers.
The other sections: `front` (front matter, loading), `data` (what is in it), `uses` (rights, uses, limits).
"""

from __future__ import annotations

import re

from dataset_pipeline.records import RELEASE, Split
from dataset_pipeline.transforms.card import data as card_data
from dataset_pipeline.transforms.card import uses as card_uses
from dataset_pipeline.transforms.card.attribution import asks_for_attribution
from dataset_pipeline.transforms.card.facts import (
    AgreementFacts,
    CardFacts,
    PairFacts,
    ReviewFacts,
    SourceFacts,
)
from dataset_pipeline.transforms.card.front import front_matter, loading
from dataset_pipeline.transforms.card.markdown import (
    MAX_ROWS,
    bullets,
    code,
    counted,
    plain,
    section,
    table,
)
from dataset_pipeline.transforms.card.words import FILES, REASON_WORDS
from dataset_pipeline.transforms.sealing import seal_line
from dataset_pipeline.transforms.trainers import DATASET_INFO, dataset_info

__all__ = ["AgreementFacts", "CardFacts", "PairFacts", "ReviewFacts", "SourceFacts", "card"]


def card(facts: CardFacts) -> str:
    """The card as Markdown: front matter, then what a trainer, a reviewer and a lawyer look for."""
    parts = [
        front_matter(facts),
        f"# {plain(facts.name)}\n",
        section("Behaviour", *(plain(part) for part in re.split(r"\n\s*\n", facts.task.behavior.strip()))),
        loading(facts),
        card_data.contents(facts),
        card_data.lengths(facts),
        card_data.pairs(facts),
        card_data.languages(facts),
        card_uses.sources(facts),
        card_uses.rights(facts),
        card_uses.uses(facts),
        _done(facts),
        _settings(facts),
        _exclusions(facts),
        card_data.personal_data(facts),
        card_data.agreement(facts),
        _decisions(facts),
        card_uses.limits(facts),
        _files(facts),
        _rebuilding(facts),
    ]
    return "\n".join(part for part in parts if part)


def _done(facts: CardFacts) -> str:
    rows = [
        [step, str(arrived), str(kept), ", ".join(f"{reason} {n}" for reason, n in reasons.items()) or "none"]
        for step, arrived, kept, reasons in facts.funnel
    ]
    return section(
        "What was done",
        f"Rows that could not be read as records: {facts.rejected}."
        + (f" Collected records that a step has not judged: {facts.not_made}." if facts.not_made else ""),
        table(["step", "records in", "kept", "dropped"], rows),
        _cleaning(facts),
    )


def _cleaning(facts: CardFacts) -> str:
    """What was changed in released records, over all sources."""
    cleaned, scrubbed, relabelled = (
        sum(getattr(source, name) for source in facts.sources)
        for name in ("cleaned", "scrubbed", "relabelled")
    )
    done = "found and left" if facts.pii_action == "keep" else "replaced"
    return (
        f"Of the released records, cleaning changed the text of {cleaned} (encoding, white space, invisible characters), "
        f"personal data was {done} in {scrubbed}"
        + (
            f", and {relabelled} have another label than their source's own word (by an alias, annotators or a review)."
            if facts.labels
            else "."
        )
    )


def _settings(facts: CardFacts) -> str:
    protected = counted(facts.eval_sets)
    return section(
        "Thresholds",
        "Those of the spec as it is; `off` where a rule does not act.",
        # The spec bounds how many there are, so that none is cut.
        *(
            table(["setting", "value"], facts.settings[i : i + MAX_ROWS])
            for i in range(0, len(facts.settings), MAX_ROWS)
        ),
        f"Kept out of this dataset (set and items): {protected or 'no evaluation set was named'}.",
    )


def _exclusions(facts: CardFacts) -> str:
    """Kinds of records that are not in the release, and how many of them were left out where."""
    rows = [
        [step, REASON_WORDS.get(reason, reason), reason, str(n)]
        for step, _, _, reasons in facts.funnel
        for reason, n in sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    ]
    if facts.not_made:
        rows.append([RELEASE, REASON_WORDS["not_made"], "not_made", str(facts.not_made)])
    if facts.rejected:
        rows.insert(
            0,
            ["ingest", "rows that are no records: rejects.parquet says why", "rejected", str(facts.rejected)],
        )
    declined = "Sources that were declined stand under Decisions." if facts.decisions else ""
    return section(
        "Exclusions",
        "What is not in this dataset, and why. `dropped.parquet` names each record with the measured value.",
        table(["step", "what", "reason", "records"], rows, "reasons") if rows else "Nothing was left out.",
        declined,
    )


def _decisions(facts: CardFacts) -> str:
    """The spec's decisions, in the words of those who took them."""
    if not facts.decisions:
        return section("Decisions", "None are recorded in the spec.")
    lines = []
    for decision in facts.decisions[:MAX_ROWS]:
        signed = ", ".join(plain(str(part)) for part in (decision.who, decision.date) if part)
        lines.append(
            f"**{plain(decision.what).rstrip('.')}.** {plain(decision.why)}"
            + (f" ({signed})" if signed else "")
        )
    rest = len(facts.decisions) - MAX_ROWS
    if rest > 0:
        lines.append(f"and {rest:,} more in `manifest.json`, under spec")
    return section(
        "Decisions", "What no computation knows, in the words of those who took them.", bullets(lines)
    )


def _files(facts: CardFacts) -> str:
    rows = [
        [
            f"{paths[0]} to {paths[-1]}" if len(paths) > 1 else paths[0],
            f"{facts.splits.get(split.value, 0)} records in the format {name}",
        ]
        for name, splits in facts.data_files.items()
        for split in Split
        if (paths := list(splits.get(split.value, ())))
    ]
    if dataset_info(facts.data_files, facts.task) is not None:
        rows.append([DATASET_INFO, "the data files as LLaMA-Factory looks them up"])
    if asks_for_attribution(facts):
        rows.append(["ATTRIBUTION.md", "holders and licences that are to be named"])
    rows += [list(file) for file in FILES]
    return section(
        "Files",
        table(["file", "what it holds"], rows, "files"),
        "The columns of the Parquet files are explained in `docs/provenance.md` of dataset_pipeline. Every format has the "
        "same records in the same order: line n of a split, counted over its files, is `row` n - 1 in `provenance.parquet`.",
    )


def _rebuilding(facts: CardFacts) -> str:
    versions = [[name, version] for name, version in facts.versions.items()]
    return section(
        "Versions and how to rebuild",
        "Made by dataset_pipeline from one spec file. `manifest.json` holds the spec, the sha256 of every input file and of "
        "every file of the release; the name of the release's folder is a hash over them all but `manifest.json`, which holds "
        "the time. The same files, spec and versions give the same bytes:",
        code(
            "console",
            "dataset-pipeline check --spec dataset.yaml\n"
            "dataset-pipeline run --spec dataset.yaml\n"
            "dataset-pipeline verify releases/latest --rebuild",
        ),
        table(["made with", "version"], versions, "libraries"),
        seal_line(facts.seal),
    )
