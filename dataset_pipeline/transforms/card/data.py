"""The card's sections on what is in the data: contents, lengths, pairs, languages, personal data, agreement.

Lives here: numbers as words and tables. Keep out: rights, uses, limits (`uses`), computing the numbers.
"""

from __future__ import annotations

from statistics import median

from dataset_pipeline.records import WAITING, Split
from dataset_pipeline.transforms.card.facts import MIN_TEST_RECORDS, AgreementFacts, CardFacts
from dataset_pipeline.transforms.card.markdown import (
    ALL,
    MAX_ROWS,
    bullets,
    counted,
    listed,
    plain,
    section,
    table,
)

SPLITS = tuple(split.value for split in Split)


def contents(facts: CardFacts) -> str:
    """Days, records by split and label, balance."""
    days = [f"Collected from {facts.days[0]} to {facts.days[1]}."]
    if facts.missing_days:
        days.append(f"Days that are missing: {listed(facts.missing_days)}.")
    if facts.stale_days:
        days.append(
            f"Days with older rows: {listed(facts.stale_days)}. They were made before the last change of the spec, of a "
            "file or of a version; the thresholds below are those of the spec as it is."
        )
    total = sum(facts.splits.values())
    if not facts.labels:
        rows = [
            [split, f"{facts.splits.get(split, 0)}", _share(facts.splits.get(split, 0), total)]
            for split in SPLITS
        ]
        return section(
            "Contents",
            *days,
            table(["split", "records", "share"], [*rows, [ALL, str(total), _share(total, total)]]),
        )
    counts = shown_labels(facts)
    rows = [
        [label, *(str(by_split.get(s, 0)) for s in SPLITS), str(n), _share(n, total)]
        for label, by_split, n in counts
    ]
    rows.append([ALL, *(str(facts.splits.get(s, 0)) for s in SPLITS), str(total), _share(total, total)])
    definitions = facts.task.labels if isinstance(facts.task.labels, dict) else {}
    said = [f"{plain(label)}: {plain(text)}" for label, text in list(definitions.items())[:MAX_ROWS]]
    rest = len(definitions) - MAX_ROWS
    return section(
        "Contents",
        *days,
        table(["label", *SPLITS, "all", "share"], rows, "labels"),
        balance(facts),
        bullets([*said, *([f"and {rest:,} more in `manifest.json`, under spec"] if rest > 0 else [])]),
    )


def shown_labels(facts: CardFacts) -> list[tuple[str, dict[str, int], int]]:
    """Label, its counts by split and their sum: by name, or the largest first where not all are shown."""
    counts = [
        (label, dict(by_split), sum(by_split.values())) for label, by_split in sorted(facts.labels.items())
    ]
    return counts if len(counts) <= MAX_ROWS else sorted(counts, key=lambda row: (-row[2], row[0]))


def balance(facts: CardFacts) -> str:
    """How even the labels are, and which have few records."""
    sums = {label: sum(by_split.values()) for label, by_split in facts.labels.items()}
    filled = {label: n for label, n in sums.items() if n}
    if not filled:
        return ""
    largest, smallest = max(filled.values()), min(filled.values())
    words = f"Balance: the largest label has {largest / smallest:.1f} times the records of the smallest ({largest}:{smallest})."
    if few := {label: n for label, n in sorted(filled.items()) if n < MIN_TEST_RECORDS}:
        words += f" Labels with fewer than {MIN_TEST_RECORDS} records: {counted(few)}."
    if none := sorted(label for label, n in sums.items() if not n):
        words += f" Labels without any record: {listed(none)}."
    return words


def lengths(facts: CardFacts) -> str:
    """Tokens of the records, what a trainer would cut, and what an epoch costs."""
    tokens = facts.tokens
    if tokens is None:
        return ""
    rows = [[split, str(tokens.by_split.get(split, 0))] for split in SPLITS]
    rows += [
        ["median record", str(tokens.median)],
        ["95th percentile", str(tokens.p95)],
        ["longest record", str(tokens.longest)],
    ]
    said = [f"Counted by {plain(tokens.counted_by)}."]
    if tokens.max_length is None:
        said.append("The spec names no `training.max_length`: what a trainer cuts is not known.")
    else:
        said.append(
            f"Longer than training.max_length ({tokens.max_length} tokens): {_n(tokens.over_length, 'record')}, of which "
            f"{_n(tokens.cut, 'token')} would be cut; {_n(tokens.unsupervised, 'record')} would have nothing left to learn."
        )
    if tokens.without_end is not None:
        said.append(f"Without an end token after the answer: {_n(tokens.without_end, 'record')}.")
    epochs = f"One epoch over train is {_n(tokens.train_tokens, 'token')}"
    if tokens.cost is not None:
        amount = f"about {tokens.cost:,.2f}" if tokens.cost >= 0.01 or tokens.cost == 0 else "less than 0.01"
        epochs += f"; {_n(tokens.epochs, 'epoch')} at the spec's price cost {amount} {plain(tokens.currency or '')}".rstrip()
    return section("Lengths and tokens", table(["tokens", "number"], rows), " ".join(said), epochs + ".")


def pairs(facts: CardFacts) -> str:
    """What preference pairs are like; nothing for other tasks."""
    measured = facts.pairs
    if measured is None:
        return ""
    rows = [
        ["pairs", str(measured.pairs)],
        ["pairs whose chosen answer is the longer one", f"{measured.chosen_longer:.1%}"],
        ["median characters, chosen", f"{measured.chosen_chars:.0f}"],
        ["median characters, rejected", f"{measured.rejected_chars:.0f}"],
        ["words in common, median pair", f"{measured.similarity:.1%}"],
        ["words in common, 95th percentile", f"{measured.similarity_high:.1%}"],
    ]
    return section(
        "Pairs",
        table(["measure", "value"], rows),
        "Where the chosen answer is the longer one in far more or far fewer than half of the pairs, a model learns "
        "length instead of quality. Measured as collected, before cleaning.",
    )


def languages(facts: CardFacts) -> str:
    """Languages of the released records, as a statistical model tells them."""
    total = sum(facts.splits.values())
    told = sum(facts.languages.values())
    wanted = listed(facts.wanted_languages) if facts.wanted_languages else "none, so every language was kept"
    return section(
        "Languages",
        f"Languages of the prompts: {counted(facts.languages) or 'not told'}."
        + (f" Too short to tell: {total - told}." if total > told else ""),
        f"Languages of the answers: {counted(facts.answer_languages)}." if facts.answer_languages else "",
        f"Languages that the spec asks for: {wanted}.",
    )


def personal_data(facts: CardFacts) -> str:
    done = {
        "replace": "replaced by typed placeholders such as `[EMAIL_ADDRESS]`",
        "pseudonym": "replaced by pseudonyms such as `[PERSON:mz4kq2w7ba]`, the same for the same person, address or number under the "
        f"secret key with the id `{facts.pseudonym_key}` (HMAC-SHA256; the key is no part of this dataset)",
        "keep": "found and counted, **not replaced**",
    }[facts.pii_action]
    return section(
        "Personal data",
        f"Personal data found was {done}. Found in released records: {counted(facts.pii) or 'none'}.",
    )


def agreement(facts: CardFacts) -> str:
    """What annotators and reviewers did."""
    waiting = {
        step: sum(n for reason, n in reasons.items() if reason in WAITING)
        for step, _, _, reasons in facts.funnel
        if any(reason in WAITING for reason in reasons)
    }
    held = sum(
        n
        for step, _, _, reasons in facts.funnel
        for reason, n in reasons.items()
        if reason == "contradiction"
    )
    waits = f"Records that wait for a person: {sum(waiting.values())}" + (
        f" ({counted(waiting)})" if waiting else ""
    )
    waits += f"; withheld as sides of a contradiction: {held}."
    return section("Agreement and reviews", *_agreement(facts), *_reviews(facts), waits)


def _agreement(facts: CardFacts) -> list[str | list[str]]:
    if not facts.task.answers_are_labels:
        return ["Agreement: not computed, for a task without labels."]
    found = facts.agreement
    if found is None:
        return ["Agreement: not computed, nobody annotated."]
    parts: list[str | list[str]] = [
        f"Krippendorff's alpha: {_value(found.alpha)} (at least {found.minimum:g} is asked), over {_n(found.items, 'item')} "
        f"with two answers or more, by {_n(found.annotators, 'annotator')}. Consensus by {found.aggregate.replace('_', '-')}; "
        f"{_n(found.labels_from_annotations, 'released record')} carry it as label.",
        _kappas(found),
    ]
    rows = [[label, _value(alpha), str(items)] for label, alpha, items in found.by_label]
    return [*parts, table(["label", "alpha against all others", "items"], rows, "labels")] if rows else parts


def _kappas(found: AgreementFacts) -> str:
    if not found.kappas:
        return "Cohen's kappa: no two annotators have enough items in common."
    low, high = found.kappas[0], found.kappas[-1]
    return (
        f"Cohen's kappa of {_n(len(found.kappas), 'pair')} of annotators: lowest {low:.2f}, median "
        f"{median(found.kappas):.2f}, highest {high:.2f}."
    )


def _reviews(facts: CardFacts) -> list[str | list[str]]:
    if facts.reviews is None:
        return ["Reviews: nobody reviewed."]
    rows = [[step, verdict, str(n)] for step, verdict, n in facts.reviews.acting]
    idle = f"Verdicts that do not act: {counted(facts.reviews.idle)}." if facts.reviews.idle else ""
    return [table(["reviewed step", "verdict", "verdicts that act"], rows) if rows else "", idle]


def _value(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.2f}"


def _share(n: int, total: int) -> str:
    return f"{n / total:.1%}" if total else "0.0%"


def _n(n: int, word: str) -> str:
    return f"{n:,} {word}" + ("" if n == 1 else "s")
