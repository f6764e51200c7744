"""The lists of a JSON document that may be its records, without holding the document.

Lives here: following keys down to lists. Keep out: reading records (`storage.readers.documents`).
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from dataset_pipeline.spec.reading import Reading
from dataset_pipeline.storage.readers.json_bytes import Utf8Blocks
from dataset_pipeline.storage.readers.json_scan import (
    END,
    OPEN_LIST,
    OPEN_OBJECT,
    BrokenStructure,
    Ended,
    Scan,
)
from dataset_pipeline.storage.readers.streams import open_stream

MAX_DEPTH, MAX_LISTS = 3, 200


class RecordList(NamedTuple):
    """path: as `records` names it. items: how many objects and arrays it holds."""

    path: str
    items: int


def record_lists(path: Path, reading: Reading) -> list[RecordList]:
    """Lists of objects or arrays below the keys of a document, in its order; up to where it is broken."""
    found: list[RecordList] = []
    with open_stream(path, reading.encoding) as (blocks, codec):
        scan = Scan(Utf8Blocks(blocks, codec, path))
        try:
            if scan.next_byte() != END:
                _search(scan, "", 0, found)
        except (BrokenStructure, Ended):
            pass
    return found


def _search(scan: Scan, where: str, depth: int, found: list[RecordList]) -> None:
    """Reads the value that begins here, and notes the lists in it."""
    first = scan.data[scan.at]
    if first == OPEN_LIST and where and len(found) < MAX_LISTS:
        items = 0
        for _ in scan.elements():
            items += scan.data[scan.at] in (OPEN_LIST, OPEN_OBJECT)
            scan.value(0)
        if items:
            found.append(RecordList(where, items))
    elif first == OPEN_OBJECT and depth < MAX_DEPTH:
        for key in scan.members():
            if key is None or "." in key or not key:
                scan.value(0)
            else:
                _search(scan, f"{where}.{key}" if where else key, depth + 1, found)
    else:
        scan.value(0)
