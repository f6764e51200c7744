"""The section of the page on records that say the same in other words.

Lives here: its words. Keep out: finding them (`semantic_verdicts`), the other sections (`whole`).
"""

from __future__ import annotations

from dataclasses import dataclass

from dataset_pipeline.transforms.page.parts import count, paragraph, section, table
from dataset_pipeline.transforms.semantic_verdicts import Alike


@dataclass(frozen=True)
class AlikeFacts:
    """found: among the records that dedup keeps. kept: how many these are; is_on: whether the spec names dedup.semantic.

    ngram, threshold: of the near duplicates. shortest: words of the shortest text of which a copy with any one word changed
    is one of them; None where there is none.
    """

    found: Alike
    kept: int
    is_on: bool
    ngram: int
    threshold: float
    shortest: int | None


def alike_section(facts: AlikeFacts | None) -> str:
    """What semantic duplicates there are, by record id and similarity, and from which length near ones are found; nothing
    where no record was looked at."""
    if facts is None or facts.found.looked_at == 0:
        return ""
    found = facts.found
    which = f"all {count(found.looked_at)}" if found.looked_at == facts.kept else (
        f"the first {count(found.looked_at)} of {count(facts.kept)}"
    )  # fmt: skip
    if found.records == 0:
        said = f"Of {which} records that dedup keeps, none says what an earlier one says"
    else:
        which = which.replace("all ", "")
        said = (
            f"Of {which} records that dedup keeps, {count(found.records)} say what an earlier one of the same answer and "
            f"the same numbers says, in {count(found.clusters)} cluster{'' if found.clusters == 1 else 's'}"
        )
    said += f": a cosine of at least {found.threshold:g} by the default encoder (TF-IDF and truncated SVD)."
    if not facts.is_on and found.records:
        said += " They are kept: varied phrasing is usually wanted. `dedup.semantic` in the spec drops them."
    rows = [(record_id, twin, f"{similarity:.3f}") for record_id, twin, similarity in found.pairs]
    shown = table(("record", "says what this one says", "similarity"), rows, numbers=(2,)) if rows else ""
    more = f"The first {len(rows)}." if found.records > len(rows) else ""
    return section(
        "In other words",
        paragraph(said),
        shown,
        paragraph(more, "quiet") if more else "",
        paragraph(_limit(facts), "quiet"),
    )


def _limit(facts: AlikeFacts) -> str:
    """What near duplicates cannot be, in words."""
    measure = f"Near duplicates share {facts.threshold:g} of their runs of {facts.ngram} words"
    if facts.shortest is None:
        return f"{measure}: a copy with a word changed is none."
    return (
        f"{measure}: a copy with any one word changed is found from {facts.shortest} words on, of shorter texts only "
        "where the word stands near the end or the beginning, if at all."
    )
