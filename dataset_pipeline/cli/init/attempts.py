"""One attempt to read a file: its first rows under some reading.

Lives here: what attempts are made of. Keep out: which readings to try (`dialects`, `first_rows`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dataset_pipeline.spec.reading import Reading
from dataset_pipeline.storage import readers
from dataset_pipeline.storage.readers import RawRow, Reject, UnreadableFile
from dataset_pipeline.transforms.lookup import weight

MAX_CHARS = 2**25
"""Text of rows that is held: some 100 megabytes with everything around it."""


@dataclass(frozen=True)
class Settled:
    reading: Reading
    guessed: dict[str, str]
    notes: tuple[str, ...]

    def saying(self, note: str = "", **values: Any) -> Settled:
        given = {k: getattr(self.reading, k) for k in self.reading.model_fields_set}
        return replace(
            self, reading=Reading(**given | values), notes=(*self.notes, *((note,) if note else ()))
        )


def tried(
    path: Path, reading: Reading, most: int = 1000
) -> tuple[list[RawRow | Reject], UnreadableFile | None]:
    """The first rows, or why there are none."""
    rows: list[RawRow | Reject] = []
    chars = 0
    try:
        for row in readers.read_rows(path, reading):
            rows.append(row)
            chars += weight(row.payload, MAX_CHARS) if isinstance(row, RawRow) else 8
            if len(rows) >= most or chars > MAX_CHARS:
                break
    except UnreadableFile as error:
        return [], error
    return rows, None


def good_rows(rows: Sequence[RawRow | Reject]) -> list[dict[str, Any]]:
    return [row.payload for row in rows if isinstance(row, RawRow)]
