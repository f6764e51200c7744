"""What normalize uses besides the spec, opened: the key of pseudonyms, the model of names.

Lives here: what `run`, `preview` and the report share. Keep out: what is done with them (`transforms.normalize`).
"""

from __future__ import annotations

from dataset_pipeline.spec.load import Project
from dataset_pipeline.spec.models import Pii
from dataset_pipeline.storage import name_models, pseudonym_key
from dataset_pipeline.transforms.persons import Helpers
from dataset_pipeline.transforms.pseudonyms import Key


def helpers_of(project: Project, pii: Pii) -> Helpers:
    """Raises SpecError where the environment has no key, or the model cannot be opened."""
    model = name_models.load(project.root, pii.model) if pii.model is not None else None
    secret = pseudonym_key.load(pii)
    return Helpers(Key(secret) if secret is not None else None, model)
