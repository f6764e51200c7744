"""The suites by step: what is judged, and the two functions that make the judged frames.

Lives here: the table alone. A new step takes its place here; a new expectation in its step's module.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from dataset_pipeline.expectations import decontaminate, dedup, filter, ingest, label, normalize, split
from dataset_pipeline.expectations.annotations import ANNOTATIONS_SUITE
from dataset_pipeline.expectations.common import Audit
from dataset_pipeline.expectations.gate import Expectation
from dataset_pipeline.expectations.release import RELEASE_SUITE
from dataset_pipeline.expectations.reviews import REVIEWS_SUITE
from dataset_pipeline.expectations.undated import PROTECTED_SUITE, REPORT_SUITE
from dataset_pipeline.records import ANNOTATIONS, PROTECTED, RELEASE, REPORT, REVIEWS, Step


@dataclass(frozen=True)
class Suite:
    """A step's expectations and how its frames are made."""

    expectations: tuple[Expectation, ...]
    rows: Callable[[Audit], pl.DataFrame]
    gauges: Callable[[Audit], pl.DataFrame]


SUITES: dict[str, Suite] = {
    Step.INGEST: Suite(ingest.SUITE, ingest.rows, ingest.gauges),
    Step.DEDUP: Suite(dedup.SUITE, dedup.rows, dedup.gauges),
    Step.FILTER: Suite(filter.SUITE, filter.rows, filter.gauges),
    Step.NORMALIZE: Suite(normalize.SUITE, normalize.rows, normalize.gauges),
    Step.DECONTAMINATE: Suite(decontaminate.SUITE, decontaminate.rows, decontaminate.gauges),
    Step.LABEL: Suite(label.SUITE, label.rows, label.gauges),
    Step.SPLIT: Suite(split.SUITE, split.rows, split.gauges),
}

EXPECTATIONS: dict[str, tuple[Expectation, ...]] = {
    **{step: suite.expectations for step, suite in SUITES.items()},
    REVIEWS: REVIEWS_SUITE,
    ANNOTATIONS: ANNOTATIONS_SUITE,
    PROTECTED: PROTECTED_SUITE,
    RELEASE: RELEASE_SUITE,
    REPORT: REPORT_SUITE,
}
"""Every expectation there is, by step: what Dagster shows and `gates:` may name."""
