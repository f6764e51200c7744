"""dedup where `dedup.semantic` is on: the encoder that the spec names, opened, and the step's table.

Lives here: what `run` and `preview` share. Keep out: vectors and verdicts (`semantic_verdicts`), which texts are read.
"""

from __future__ import annotations

import polars as pl

from dataset_pipeline.assets.context import Context
from dataset_pipeline.records import Step
from dataset_pipeline.spec.params import DedupParams
from dataset_pipeline.storage import encoders
from dataset_pipeline.transforms.semantic_verdicts import dedup_semantic


def table_of(
    context: Context,
    fingerprints: pl.DataFrame,
    before: pl.DataFrame,
    texts: pl.DataFrame,
    params: DedupParams,
) -> pl.DataFrame:
    """dedup's table by `semantic_verdicts.dedup_semantic`. Raises SpecError where the encoder cannot be opened."""
    given = params.semantic.encoder if params.semantic is not None else None
    named = encoders.load(context.project.root, given) if given is not None else None
    return dedup_semantic(fingerprints, before, texts, params, named, context.memo(Step.DEDUP))
