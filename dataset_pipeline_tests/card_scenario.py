"""Facts of a card as plain values, which tests change.

Lives here: `facts`, and reading a card. Keep out: assertions.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import yaml

from dataset_pipeline.spec import licences
from dataset_pipeline.spec.licence_terms import Obligations
from dataset_pipeline.spec.models import Decision, Task
from dataset_pipeline.transforms import rights
from dataset_pipeline.transforms.card.whole import AgreementFacts, CardFacts, ReviewFacts, SourceFacts
from dataset_pipeline.transforms.tokens import TokenFacts

HOSTILE = 'a|b `c` <script>alert(1)</script> [x](y) *z*\n---\n# "q" \\ no: \u202e$=1+1'
"""All that breaks tables, HTML, YAML or links, in one name."""

TOKENS = TokenFacts(
    counted_by="an estimate of 4 characters a token", by_split={"train": 300, "test": 60}, median=10, p95=20,
    longest=40, max_length=32, over_length=2, cut=9, unsupervised=1, without_end=None, epochs=3, train_tokens=300,
    cost=0.5, currency="EUR",
)  # fmt: skip


def grant(source: str, **changes: Any) -> rights.Grant:
    first = rights.Grant(
        source, "licensed", "CC-BY-4.0", "Example e.V.", "agreement", ("train", "evaluate"), None, 10, 3
    )
    return dataclasses.replace(first, **changes)


def release_rights(*grants: rights.Grant, license: str | None = None) -> rights.ReleaseRights:
    counts: dict[str, int] = {}
    asked = Obligations()
    for one in grants:
        counts[one.license] = counts.get(one.license, 0) + one.records
        asked = asked | licences.obligations(one.license)
    uses = tuple(use for use in rights.USES if all(use in one.uses for one in grants))
    return rights.ReleaseRights(
        uses, ("train",), asked, license or licences.strictest(counts), tuple(sorted(counts.items())), grants
    )


def facts(**changes: Any) -> CardFacts:
    """A release of 30 records, 10 of them of a survey under CC-BY-4.0."""
    task = Task(
        behavior="Say what kind of message it is.",
        type="classification",
        labels={"bug": "Something is broken.", "praise": "Thanks."},
    )
    first = CardFacts(
        name="small",
        task=task,
        rights=release_rights(
            grant("survey"),
            grant("inbox", kind="first_party", license="LicenseRef-own", holder="Example GmbH", records=20),
        ),
        data_files={
            "chat": {"train": ["chat/train.jsonl"], "test": ["chat/test.jsonl"]},
            "parquet": {"train": ["parquet/train.parquet"], "test": ["parquet/test.parquet"]},
        },
        days=("2026-03-01", "2026-03-04"),
        sources=[
            SourceFacts("inbox", "first_party", 25, 20, access="nightly export"),
            SourceFacts(
                "survey",
                "licensed",
                12,
                10,
                access="hand-over",
                cleaned=4,
                scrubbed=3,
                relabelled=2,
                dropped={"dedup": 2},
            ),
        ],
        splits={"train": 24, "validation": 0, "test": 6},
        labels={"bug": {"train": 20, "test": 5}, "praise": {"train": 4, "test": 1}},
        funnel=[
            ("ingest", 37, 37, {}),
            ("dedup", 37, 35, {"exact": 2}),
            ("filter", 35, 34, {"in_review": 1}),
            ("release", 34, 30, {"contradiction": 4}),
        ],
        rejected=1,
        not_made=0,
        languages={"en": 28, "de": 2},
        answer_languages={},
        wanted_languages=("en", "de"),
        pii={"EMAIL_ADDRESS": 3},
        pii_action="replace",
        eval_sets={"examples": 5, "holdout": 12},
        decisions=[Decision(what="Forum not used", why="terms unclear", who="Jo")],
        missing_days=["2026-03-02"],
        stale_days=[],
        settings=[("dedup.near.threshold", "0.8")],
        versions={"dataset_pipeline": "1.2.3"},
        tokens=TOKENS,
        agreement=AgreementFacts(
            0.8, 40, 3, [("bug", 0.9, 20), ("praise", None, 0)], [0.7, 0.8], 0.75, "dawid_skene", 12
        ),
        reviews=ReviewFacts([("label", "relabel", 2)], {"overruled": 1}),
    )
    return dataclasses.replace(first, **changes)


def front(text: str) -> dict[str, Any]:
    """The front matter of a card."""
    loaded = yaml.safe_load(text.split("---\n", 2)[1])
    assert isinstance(loaded, dict)
    return loaded


def section(text: str, title: str) -> str:
    """What stands below a heading of a card."""
    return text.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
