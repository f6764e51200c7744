"""The base of every part of the spec.

Lives here: what all parts have in common. Keep out: any part (`models`, `reading`, `places`).
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Base of every part of the spec: unknown keys are errors, values are not coerced."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
