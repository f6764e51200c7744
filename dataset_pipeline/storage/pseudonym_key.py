"""The secret key of pseudonyms: read from the environment, and from nowhere else.

Lives here: reading it, what is said where it is missing. Keep out: what is made with it (`transforms.pseudonyms`).
"""

from __future__ import annotations

from dataset_pipeline.errors import Problem, SpecError
from dataset_pipeline.spec import beside
from dataset_pipeline.spec.load import Project
from dataset_pipeline.spec.models import Pii


def load(pii: Pii) -> bytes | None:
    """The key where the spec asks for pseudonyms. Raises SpecError where the environment has none, or a short one."""
    if pii.action != "pseudonym":
        return None
    secret = beside.secret_of(pii.key_variable)
    if secret is None:
        what = f"needs a secret key of at least {beside.MIN_KEY_BYTES} bytes in the environment variable {pii.key_variable}."
        remedy = (
            f"Make one once (openssl rand -hex 32), keep it where you keep passwords, and export {pii.key_variable}: "
            "pseudonyms stay the same as long as it does."
        )
        raise SpecError([Problem("normalize.pii.action: pseudonym", what, remedy)])
    return secret


def key_problems(project: Project) -> list[Problem]:
    """What is wrong with the key that a spec asks for."""
    try:
        load(project.spec.normalize.pii)
    except SpecError as error:
        return error.problems
    return []
