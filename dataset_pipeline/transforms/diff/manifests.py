"""Parts of a manifest, which any version of this package may have written.

Lives here: taking what is there, and nothing where something else stands. Keep out: comparing (`comparing`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

INPUT = ("source", "day", "uri", "sha256")
"""What names a file that was read, and its content."""


def mapping(value: Any) -> Mapping[str, Any]:
    """A mapping of a manifest, which another version may have written; empty where there is none."""
    return value if isinstance(value, Mapping) else {}


def items(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def name_of(source: Any) -> str | None:
    name = mapping(source).get("name")
    return name if isinstance(name, str) else None


def reads_names(fields: Any) -> bool:
    """Whether a source takes anything from the name of a file (`file.stem`)."""
    columns = [
        c for value in mapping(fields).values() for c in ([value] if isinstance(value, str) else items(value))
    ]
    return any(isinstance(column, str) and column.startswith("file.") for column in columns)


def files_of(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The inputs of a manifest, with all that names a file as text and the rows as a number or none."""
    files: list[Mapping[str, Any]] = []
    for one in map(mapping, items(manifest.get("inputs"))):
        rows = one.get("rows_read")
        is_number = isinstance(rows, int) and not isinstance(rows, bool)
        files.append({key: str(one.get(key)) for key in INPUT} | {"rows_read": rows if is_number else None})
    return files


def incomplete_days(manifests: Sequence[Mapping[str, Any]]) -> dict[str, tuple[list[str], ...]]:
    """`missing` and `stale` to the days of each manifest of which its release holds nothing, or older rows."""
    return {
        word: tuple([str(day) for day in items(one.get(f"{word}_days"))] for one in manifests)
        for word in ("missing", "stale")
    }
