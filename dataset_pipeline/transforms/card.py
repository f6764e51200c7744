"""The dataset card: Hugging Face front matter and words, computed from counts.

Lives here: numbers in, Markdown out. Keep out: clock values (the card is part of the version),
text of records, computing the numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dataset_pipeline.records import Split
from dataset_pipeline.spec.models import Decision, Task

_TASK_CATEGORIES = {
    "classification": "text-classification",
    "instruction": "text-generation",
    "chat": "text-generation",
    "completion": "text-generation",
    "preference": "text-generation",
}


MIN_LANGUAGE_SHARE = 0.01
"""Languages of fewer prompts than this share are counted in the card, not announced in its front matter."""


@dataclass(frozen=True)
class SourceFacts:
    """One source as the card shows it."""

    name: str
    kind: str
    license: str
    holder: str
    uses: str
    collected: int
    released: int
    generator: str | None


@dataclass(frozen=True)
class PairFacts:
    """Preference pairs as the card shows them.

    chosen_longer: share of pairs whose chosen answer is the longer one in characters, a tie counting half.
    chosen_chars, rejected_chars: medians. similarity, similarity_high: median and 95th percentile of the share
    of words that both answers have.
    """

    pairs: int
    chosen_longer: float
    chosen_chars: float
    rejected_chars: float
    similarity: float
    similarity_high: float


@dataclass(frozen=True)
class CardFacts:
    """Everything the card says."""

    name: str
    task: Task
    license: str | None
    formats: Sequence[str]
    days: tuple[str, str]
    sources: Sequence[SourceFacts]
    splits: Mapping[str, int]
    labels: Mapping[str, Mapping[str, int]]
    """label to split to count; empty for tasks without labels."""
    funnel: Sequence[tuple[str, int, int, Mapping[str, int]]]
    """step, rows in, kept, dropped by reason."""
    rejected: int
    languages: Mapping[str, int]
    pii: Mapping[str, int]
    pii_action: str
    eval_sets: Mapping[str, int]
    decisions: Sequence[Decision]
    missing_days: Sequence[str]
    stale_days: Sequence[str]
    """Days that are released with rows of an earlier spec, input or version."""
    settings: Sequence[tuple[str, str]]
    versions: Mapping[str, str]
    pairs: PairFacts | None = None


def card(facts: CardFacts) -> str:
    """The card as Markdown: front matter, then what a trainer, a reviewer and a lawyer look for."""
    parts = [
        _front_matter(facts),
        f"# {facts.name}\n\n{facts.task.behavior.strip()}\n",
        _contents(facts),
        _pairs(facts),
        _sources(facts),
        _funnel(facts),
        _settings(facts),
        _personal_data(facts),
        _decisions(facts),
        _limits(facts),
    ]
    return "\n".join(part for part in parts if part)


def _front_matter(facts: CardFacts) -> str:
    total = sum(facts.splits.values())
    lines = ["---", f"pretty_name: {_quoted(facts.name)}"]
    license_id = facts.license or _single_license(facts.sources)
    lines.append(f"license: {_hub_license(license_id)}")
    if _hub_license(license_id) == "other":
        lines.append(f"license_name: {_quoted(license_id or 'see-sources')}")
    told = sum(facts.languages.values())
    # A stray prompt that a statistical model takes for Ligurian does not make the dataset so.
    spoken = sorted(code for code, n in facts.languages.items() if n >= MIN_LANGUAGE_SHARE * told)
    if spoken:
        lines.append("language:")
        lines += [f"- {_quoted(code)}" for code in spoken]  # unquoted, `no` is a truth value in YAML
    lines += [
        "task_categories:",
        f"- {_TASK_CATEGORIES[facts.task.type]}",
        "size_categories:",
        f"- {_size(total)}",
    ]
    lines.append("configs:")
    for number, name in enumerate(facts.formats):
        suffix = "parquet" if name == "parquet" else "jsonl"
        lines.append(f"- config_name: {name}")
        if number == 0:
            lines.append("  default: true")
        lines.append("  data_files:")
        for split in Split:
            if facts.splits.get(split.value):
                lines += [f"  - split: {split.value}", f"    path: {name}/{split.value}.{suffix}"]
    return "\n".join([*lines, "---", ""])


def _contents(facts: CardFacts) -> str:
    splits = [split.value for split in Split]
    lines = ["## Contents", "", f"Collected from {facts.days[0]} to {facts.days[1]}.", ""]
    if facts.missing_days:
        lines += [f"Days that are missing: {', '.join(facts.missing_days)}.", ""]
    if facts.stale_days:
        lines += [
            f"Days with older rows: {', '.join(facts.stale_days)}. They were made before the last change of the spec, of a "
            "file or of a version; the thresholds below are those of the spec as it is.",
            "",
        ]
    if not facts.labels:
        lines += _table(["split", "records"], [[s, str(facts.splits.get(s, 0))] for s in splits])
        return "\n".join([*lines, ""])
    rows = [
        [label, *(str(counts.get(s, 0)) for s in splits), str(sum(counts.values()))]
        for label, counts in facts.labels.items()
    ]
    rows.append(["all", *(str(facts.splits.get(s, 0)) for s in splits), str(sum(facts.splits.values()))])
    lines += _table(["label", *splits, "all"], rows)
    if isinstance(facts.task.labels, dict):
        lines += [""] + [f"- `{name}`: {text}" for name, text in facts.task.labels.items()]
    return "\n".join([*lines, ""])


def _pairs(facts: CardFacts) -> str:
    pairs = facts.pairs
    if pairs is None:
        return ""
    rows = [
        ["pairs", str(pairs.pairs)],
        ["pairs whose chosen answer is the longer one", f"{pairs.chosen_longer:.1%}"],
        ["median characters, chosen", f"{pairs.chosen_chars:.0f}"],
        ["median characters, rejected", f"{pairs.rejected_chars:.0f}"],
        ["words in common, median pair", f"{pairs.similarity:.1%}"],
        ["words in common, 95th percentile", f"{pairs.similarity_high:.1%}"],
    ]
    return "\n".join(
        [
            "## Pairs",
            "",
            *_table(["measure", "value"], rows),
            "",
            "Where the chosen answer is the longer one in far more or far fewer than half of the pairs, a model learns "
            "length instead of quality. Measured as collected, before cleaning.",
            "",
        ]
    )


def _sources(facts: CardFacts) -> str:
    total = max(sum(s.released for s in facts.sources), 1)
    rows = [
        [
            s.name,
            s.kind,
            s.license,
            s.holder,
            s.uses,
            str(s.collected),
            str(s.released),
            f"{s.released / total:.1%}",
        ]
        for s in facts.sources
    ]
    lines = ["## Sources and rights", ""]
    lines += _table(["source", "kind", "licence", "holder", "uses", "collected", "released", "share"], rows)
    generated = [f"- `{s.name}` was written by {s.generator}." for s in facts.sources if s.generator]
    return "\n".join([*lines, "", *generated, ""])


def _funnel(facts: CardFacts) -> str:
    rows = [
        [step, str(arrived), str(kept), ", ".join(f"{reason} {n}" for reason, n in reasons.items()) or "none"]
        for step, arrived, kept, reasons in facts.funnel
    ]
    lines = ["## What was done", "", f"Rows that could not be read as records: {facts.rejected}.", ""]
    return "\n".join([*lines, *_table(["step", "records in", "kept", "dropped"], rows), ""])


def _settings(facts: CardFacts) -> str:
    lines = ["## Thresholds", "", *_table(["setting", "value"], [[a, b] for a, b in facts.settings]), ""]
    protected = ", ".join(f"`{name}` ({n} items)" for name, n in facts.eval_sets.items())
    return "\n".join([*lines, f"Kept out of this dataset: {protected or 'no evaluation set was named'}.", ""])


def _personal_data(facts: CardFacts) -> str:
    found = ", ".join(f"{name} {n}" for name, n in facts.pii.items()) or "none"
    done = (
        "replaced by typed placeholders such as `[EMAIL_ADDRESS]`"
        if facts.pii_action == "replace"
        else "found and counted, **not replaced**"
    )
    languages = ", ".join(f"{code} {n}" for code, n in facts.languages.items()) or "not told"
    return f"## Personal data and languages\n\nPersonal data found was {done}. Found in released records: {found}.\n\nLanguages of the prompts: {languages}.\n"


def _decisions(facts: CardFacts) -> str:
    if not facts.decisions:
        return ""
    lines = ["## Decisions", ""]
    for decision in facts.decisions:
        signed = ", ".join(str(part) for part in (decision.who, decision.date) if part)
        lines.append(f"- **{decision.what}**: {decision.why}" + (f" ({signed})" if signed else ""))
    return "\n".join([*lines, ""])


def _limits(facts: CardFacts) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in facts.versions.items())
    return (
        "## Known limits\n\n"
        "- Paraphrases of evaluation items are not found: contamination is looked for by equal text and shared n-grams.\n"
        "- Names of persons are found where the record's own columns hold them; without a language model no others are.\n"
        "- Near duplicates are found by MinHash bands: a pair at the threshold is found with 99.8 % probability.\n"
        "- Language is told by a statistical model; very short texts are kept whatever it says.\n\n"
        "## How it was made\n\n"
        f"By dataset_pipeline from one spec file. Versions: {versions}. `manifest.json` holds the spec, the inputs with their "
        "hashes and the hash of every file; `provenance.parquet` says where each record is from; `dropped.parquet` says why "
        "every other one is not here.\n"
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in (header, *rows)]
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    return [lines[0], "|" + "---|" * len(header), *lines[1:]]


def _single_license(sources: Sequence[SourceFacts]) -> str | None:
    used = {s.license for s in sources if s.released}
    return used.pop() if len(used) == 1 else None


def _hub_license(expression: str | None) -> str:
    """The Hub's identifier: lower-case SPDX where it is a plain one, else `other`."""
    if (
        expression is None
        or expression.startswith("LicenseRef")
        or not re.fullmatch(r"[A-Za-z0-9.-]+", expression)
    ):
        return "other"
    return expression.lower()


def _size(total: int) -> str:
    for limit, name in (
        (1_000, "n<1K"),
        (10_000, "1K<n<10K"),
        (100_000, "10K<n<100K"),
        (1_000_000, "100K<n<1M"),
    ):
        if total < limit:
            return name
    return "1M<n<10M"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
