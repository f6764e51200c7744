"""A project whose evaluation sets may be changed between two commands.

Lives here: its files, and writing its sets. Keep out: its releases and what is asserted of them (`test_rescan`, `test_rescan_runs`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dataset_pipeline_tests.scenario import jsonl, spec


@dataclass(frozen=True)
class EvaluatedProject:
    """The project of the spec at `spec`."""

    spec: Path

    @property
    def releases(self) -> Path:
        return self.spec.parent / "releases"

    def put(self, changes: dict[str, Any] | None = None, **sets: list[str]) -> None:
        """Evaluation sets by name, an item a text; all others go. changes: other keys of `decontaminate`."""
        for name, items in sets.items():
            path = self.spec.parent / f"eval/{name}.jsonl"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(jsonl([{"id": f"{name}-{n}", "question": text} for n, text in enumerate(items)]))
        named = [{"name": name, "path": f"eval/{name}.jsonl"} for name in sets]
        content = spec(decontaminate={"sets": named} | (changes or {}))
        self.spec.write_text(yaml.safe_dump(content), encoding="utf-8")
