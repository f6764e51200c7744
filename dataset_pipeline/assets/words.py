"""What the UI says about an asset: descriptions of steps and columns, for a newcomer.

Lives here: words. Keep out: numbers and Dagster types (`graph`).
"""

from __future__ import annotations

from dataset_pipeline.records import ANNOTATIONS, PROTECTED, RELEASE, REPORT, REVIEWS, SIDE_SIGNALS, Step
from dataset_pipeline.spec.models import Source

STEPS: dict[str, str] = {
    Step.INGEST: "Raw rows become records: messages, source, rights. Rows that cannot be read are rejected with file, "
    "line and reason; rows read = ingested + rejected.",
    Step.DEDUP: "Drops records that equal an earlier kept one, or are near it by exact Jaccard similarity of word shingles. "
    "Every dropped record names its twin. Equal texts with different labels are both kept.",
    Step.FILTER: "Measures each side of a record and drops noise by named rules: too short, symbols, repetition, markup, "
    "automatic replies, profanity.",
    Step.NORMALIZE: "Repairs encoding, cleans white space and control characters, tags languages, and replaces personal "
    "data by typed placeholders. Drops records in a language outside the spec.",
    Step.DECONTAMINATE: "Drops records that hold an item of a protected evaluation set or a handwritten example; suspects wait in review.",
    Step.LABEL: "Maps the source's own label to the spec's; unknown and missing ones are dropped, never guessed. Measures contradictions.",
    Step.SPLIT: "Assigns groups to train, validation and test by a hash, and drops what would stand on two sides.",
    PROTECTED: "The evaluation sets of the spec and its handwritten examples: never trained on.",
    REVIEWS: "What people decided about single records: keep, drop, relabel, erase. Overrules filter, decontaminate and label.",
    ANNOTATIONS: "Labels that several people gave to the same items: their consensus, and how far they agree.",
    REPORT: "What waits for a person (`review_queue.csv`, personal data replaced), and the newest release on a page (`report.html`).",
    RELEASE: "An immutable folder with train, validation and test in every format, where each record is from, why every other "
    "one is not there, a manifest of hashes and a dataset card.",
}

_SOURCES: dict[str, str] = {
    "first_party": "Data of our own",
    "licensed": "Data under a licence or an agreement",
    "public_web": "Data from the public web",
    "synthetic": "Text that a model generated",
}


def source(of: Source) -> str:
    """What a source is: whose data, how they come, and that Dagster does not make them."""
    lines = [
        f"{_SOURCES[of.kind]}, held by {of.rights.holder}. The files come from outside: ingest reads them, nothing here makes them."
    ]
    if of.access:
        lines.append(of.access)
    if of.generator:
        lines.append(f"Written by {of.generator.model} ({of.generator.provider}).")
    return "\n\n".join(lines)


GROUPS: dict[str, str] = {
    Step.INGEST: "curate",
    Step.DEDUP: "curate",
    Step.FILTER: "curate",
    Step.NORMALIZE: "curate",
    Step.DECONTAMINATE: "curate",
    Step.LABEL: "label",
    Step.SPLIT: "label",
    PROTECTED: "sources",
    REVIEWS: "sources",
    ANNOTATIONS: "sources",
    REPORT: "release",
    RELEASE: "release",
}

_SIGNALS: dict[str, str] = {
    "words": "words",
    "lines": "lines",
    "chars": "characters",
    "tokens": "estimated tokens",
    "alpha_share": "letters among visible characters, 0 to 1",
    "symbol_share": "symbols among visible characters, 0 to 1",
    "digit_share": "digits among visible characters, 0 to 1",
    "repetition_share": "word sequences that repeat an earlier one, 0 to 1",
    "distinct_share": "distinct words among words, 0 to 1",
    "compression_ratio": "compressed bytes by bytes; null for short texts",
    "markup_share": "characters inside tags and entities, 0 to 1",
    "profane_words": "words on the profanity list",
}

COLUMNS: dict[str, str] = {
    "record_id": "id made of source, day, payload and occurrence",
    "day": "collection day, UTC",
    "kept": "whether the record goes on to the next step",
    "reason": "why not, from the step's closed list; null where kept",
    "detail": "JSON: rule, measured value, threshold or twin; never text",
    "source": "name of the source in the spec",
    "source_rank": "preference within a day, lower first",
    "source_id": "the source's own id",
    "uri": "file, relative to the spec",
    "line": "line in the file, from 1",
    "byte_offset": "byte at which the row starts, after unpacking",
    "messages": "turns of role and content",
    "label": "label: the source's in ingest, the spec's from label on",
    "group": "records of one group stay in one split",
    "created_at": "as the source gives it",
    "prompt_turns": "of a preference pair: how many messages both sides share",
    "rejected": "of a preference pair: the messages that stand in place of those after the shared ones",
    "tools": "JSON of the tools the row offered the assistant: metadata, never a message",
    "person_names": "names of persons in the record's own columns",
    "may_evaluate": "whether the source's rights allow validation and test",
    "content_sha": "hash of everything later steps read of the record",
    "clean_sha": "hash of everything later steps read after cleaning",
    "comparison_key": "equal where the compared texts are equal",
    "answer_key": "equal where the answers are equal",
    "prompt_key": "equal where the cleaned prompts are equal",
    "shingles": "distinct word shingles",
    "bands": "MinHash band keys",
    "twin": "the earlier kept record that this one repeats",
    "similarity": "exact Jaccard similarity with the twin, 0 to 1",
    "is_automatic_reply": "whether the prompt is an automatic reply",
    "changes": "what cleaning changed, counted by kind",
    "pii_counts": "personal data found, counted by type",
    "pii_spans": "where it was found; never the text",
    "match": "equal, coverage, contained or paraphrase; null where below the threshold",
    "eval_set": "protected set of the closest item",
    "eval_item": "id of the closest item",
    "overlap_fraction": "share of the item's words found, or the score of a paraphrase, 0 to 1",
    "span_start": "first matching word",
    "span_end": "word after the last matching one",
    "label_origin": "who gave the label: source, annotations or review",
    "answers": "annotators who answered",
    "agreement": "share of their answers that say the label, 0 to 1",
    "review": "JSON: what a person decided, who, when, and what it overruled",
    "rejected_words": "of a preference pair: words of the worse answer",
    "rejected_chars": "of a preference pair: characters of the worse answer",
    "rejected_tokens": "of a preference pair: estimated tokens of the worse answer",
    "sides_similarity": "of a preference pair: share of words that both answers have, 0 to 1",
    "rejected_language": "of a preference pair: language of the worse answer",
    "rejected_language_probability": "probability of that language",
    "rejected_spec_probability": "probability of being in one of the spec's languages",
    "step": "the step that it is about",
    "record": "our id of the record that is meant",
    "content": "hash of what dedup compares, where a source has no ids",
    "verdict": "keep, drop, relabel or erase",
    "value": "of relabel: the label",
    "reviewer": "who decided",
    "date": "when it was decided",
    "state": "whether it acts or counts, and why not",
    "annotator": "who answered",
    "given": "the word that was given, where it is one short word",
    "confidence": "as the annotator gives it, 0 to 1",
    "secondary": "the annotator's second choice",
    "notes": "free text of the annotator",
    "is_contradiction": "an equal prompt has another answer on this or an earlier day, and no person has said keep or relabel",
    "group_key": "what is never split",
    "split": "train, validation or test",
    "text": "the protected text",
    "prompt_language": "language of the prompt, ISO 639-1; null where it cannot be told",
    "answer_language": "language of the answer",
} | {
    f"{side}_{name}": f"{side}: {_SIGNALS[name]}" for side in ("prompt", "answer") for name in SIDE_SIGNALS
} | {
    f"{side}_{name}_probability": f"{side}: probability of {words}"
    for side in ("prompt", "answer")
    for name, words in (("language", "that language"), ("spec", "the spec's languages together"))
}  # fmt: skip
