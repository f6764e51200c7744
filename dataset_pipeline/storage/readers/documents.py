"""JSON documents: one value that holds the records as a list, at its top or below the path `records`.

Lives here: finding that list, and what becomes of its items. Keep out: following brackets (`json_scan`), parsing
and judging one value (`json_values`), JSON Lines (`jsonl`).

Strictly RFC 8259; of equal keys in an item the last one counts. An object is a row, an array is a row whose
values are called "0", "1", …; other items are rejects. Without `records`, a single object is one record, but not
where it holds nothing but lists, not all empty: then one of them has to be named. Many files called `.json` are JSON Lines: where
the first line is one whole value, and another one begins on a later line, the file is read as that.

What is wrong within an item rejects that item. Where the brackets themselves do not fit, so that the next item is
unknown, there is one reject for that place and a last one, `truncated_file`, that says how many bytes were left unread:
such a day must not pass. `truncated_file` also ends a document that stops before its end. Text after the document is one
`invalid_json`, and where it may hold rows (it begins as a list or an object) `truncated_file` as well. What lies outside
the list is followed by its brackets only.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dataset_pipeline.spec.reading import Reading
from dataset_pipeline.storage.readers import jsonl
from dataset_pipeline.storage.readers.json_bytes import Utf8Blocks
from dataset_pipeline.storage.readers.json_items import Items, row_or_reject
from dataset_pipeline.storage.readers.json_scan import (
    END,
    OPEN_LIST,
    OPEN_OBJECT,
    BrokenStructure,
    Ended,
    Place,
    Scan,
    Value,
)
from dataset_pipeline.storage.readers.json_values import JsonFault, parsed
from dataset_pipeline.storage.readers.rows import Item, Reject, RowBlock, UnreadableFile
from dataset_pipeline.storage.readers.streams import codec_for, open_stream

_SHOWN_KEYS, _SHOWN_KEY_CHARS = 20, 40
"""Of the keys of a container in an error. They are schema; a document that uses them for data shows few."""
_REMEDY = "Name the list under records"
_UTF8 = codec_for("utf-8", b"", "")


def columns(path: Path, reading: Reading) -> list[str] | None:
    """None: each item says its own."""
    return None


def read(path: Path, reading: Reading, max_record_bytes: int) -> Iterator[Item]:
    """Rows and rejects, one for each item of the list. Raises UnreadableFile where there is no list to read."""
    with open_stream(path, reading.encoding) as (blocks, codec):
        scan = Scan(Utf8Blocks(blocks, codec, path))
        document = _Document(path, scan, max_record_bytes)
        if not (reading.records is None and document.is_json_lines()):
            yield from document.items(reading.records)
            return
    yield from jsonl.read(path, reading, max_record_bytes)


def lists(path: Path, reading: Reading) -> list[str]:
    """The keys of the lists at the top of a document, in its order; none where it is no object, or breaks off before.

    Raises UnreadableFile.
    """
    found: list[str] = []
    with open_stream(path, reading.encoding) as (blocks, codec):
        scan = Scan(Utf8Blocks(blocks, codec, path))
        if scan.next_byte() != OPEN_OBJECT:
            return []
        try:
            for key in scan.members():
                if scan.data[scan.at] == OPEN_LIST and key is not None:
                    found.append(key)
                scan.value(0)
        except (BrokenStructure, Ended):
            pass  # whoever reads the rows is told where
    return found


class _Document:
    """One file, read once from its beginning to its end."""

    def __init__(self, path: Path, scan: Scan, max_record_bytes: int):
        self._path = path
        self._scan = scan
        self._max_record_bytes = max_record_bytes

    def is_json_lines(self) -> bool:
        """Whether the first line that is not blank is one whole value, and another begins on a later line.

        A line longer than a record may be is none of JSON Lines; up to that much is looked at ahead.
        """
        if self._scan.next_byte() == END:
            return False
        ahead = self._scan.line_ahead(self._max_record_bytes)
        if ahead is None or ahead[1] not in b'{["-0123456789tfn':
            return False
        line = Scan(Utf8Blocks(iter((ahead[0],)), _UTF8, self._path))
        try:
            line.next_byte()
            line.value(0)
            return line.next_byte() == END
        except (Ended, BrokenStructure):
            return False

    def items(self, records: str | None) -> Iterator[Item]:
        """Rows and rejects of the whole document."""
        scan = self._scan
        last = Place(1, 0)
        try:
            for item in self._until_it_breaks(records):
                last = _end_of(item)
                yield item
        except BrokenStructure as fault:
            line, offset = fault.place
            yield Reject(line, offset, fault.reason, fault.detail)
            yield self._unread(fault.place)
        except Ended as end:
            # What ends too early may have begun before the items, which were told already.
            yield self._truncated(max(end.place, last))
        else:
            if scan.source.broken:
                yield self._truncated(scan.place())

    def _until_it_breaks(self, records: str | None) -> Iterator[Item]:
        """Raises BrokenStructure, Ended."""
        scan = self._scan
        if scan.next_byte() == END:
            raise Ended(scan.place())
        if records is not None:
            yield from self._below(records)
            yield from self._rest_after_the_end()
        elif scan.data[scan.at] == OPEN_LIST:
            yield from Items(scan, self._max_record_bytes).all()
            yield from self._rest_after_the_end()
        else:
            yield from self._single()

    def _unread(self, place: Place) -> Reject:
        left = self._scan.drain() - place.byte_offset
        detail = f"{left} bytes from here to the end were left unread"
        broken = self._scan.source.broken
        return Reject(*place, "truncated_file", f"{detail}; {broken}" if broken else detail)

    def _truncated(self, place: Place) -> Reject:
        return Reject(
            *place, "truncated_file", self._scan.source.broken or "the document ends before its end"
        )

    def _rest_after_the_end(self) -> Iterator[Reject]:
        byte = self._scan.next_byte()
        if byte == END:
            return
        place = self._scan.place()
        if byte in (OPEN_LIST, OPEN_OBJECT):
            raise BrokenStructure(place, "invalid_json", "another value begins after the end of the document")
        left = self._scan.drain() - place.byte_offset
        yield Reject(*place, "invalid_json", f"{left} bytes of other text after the end of the document")

    def _single(self) -> Iterator[Item]:
        """A document that is no list: one record, or none."""
        is_object = self._scan.data[self._scan.at] == OPEN_OBJECT
        value = self._scan.value(self._max_record_bytes)
        after = list(self._rest_after_the_end())
        if after:
            # The document is not JSON as a whole: no row comes from it.
            yield from after
            return
        if is_object:
            self._refuse_lists(value)
        yield row_or_reject(value, self._max_record_bytes, self._scan.source.codec.fault)

    def _refuse_lists(self, value: Value) -> None:
        """Raises UnreadableFile where an object holds nothing but lists, or is too long for a record and holds one."""
        if value.data is None:
            lists = self._lists_of_long_object()
        else:
            try:
                payload = parsed(value.data)
            except JsonFault:
                return
            lists = [key for key, part in payload.items() if isinstance(part, list)]
            if len(lists) < len(payload) or not any(payload.values()):
                return
        if lists:
            remedy = f"{_REMEDY}, for example `records: {_shown_key(lists[0])}`."
            raise UnreadableFile(f"{self._path}: the document holds lists under {_shown(lists)}. {remedy}")

    def _lists_of_long_object(self) -> list[str]:
        """The keys of all lists in the document, which is read again for it; up to where it is no object."""
        lists: list[str] = []
        with open_stream(self._path, self._scan.source.codec.name) as (blocks, codec):
            scan = Scan(Utf8Blocks(blocks, codec, self._path))
            scan.next_byte()
            try:
                for key in scan.members():
                    if scan.data[scan.at] == OPEN_LIST and key is not None and len(lists) <= _SHOWN_KEYS:
                        lists.append(key)
                    scan.value(0)
            except (BrokenStructure, Ended):
                return lists
        return lists

    def _below(self, records: str) -> Iterator[Item]:
        """The items of the list below the path, then the rest of the containers around it."""
        scan, parts = self._scan, records.split(".")
        around: list[tuple[Iterator[str | int | None], str | int]] = []
        for depth, part in enumerate(parts):
            where = ".".join(parts[:depth])
            rest = ".".join(parts[depth:])
            inside: Iterator[str | int | None]
            if scan.data[scan.at] == OPEN_OBJECT:
                inside = scan.members()
                found = self._sought(inside, {part, rest}, where)
            elif scan.data[scan.at] == OPEN_LIST and part.isdecimal() and part.isascii():
                inside = scan.elements()
                found = self._sought(inside, {int(part)}, where)
            else:
                raise self._refusal(where, f"{self._kind()}, which holds no {part!r}")
            around.append((inside, found))
            if found == rest:
                break
        if scan.data[scan.at] != OPEN_LIST:
            raise self._refusal(records, f"{self._kind()}, not a list{self._keys_here()}")
        yield from Items(scan, self._max_record_bytes).all()
        for inside, found in reversed(around):
            for name in inside:
                if name == found:
                    raise scan.broken("the key named under records occurs again")
                scan.value(0)

    def _sought(
        self, inside: Iterator[str | int | None], wanted: set[str] | set[int], where: str
    ) -> str | int:
        """The key or index of `wanted` that comes first, its value next to be read. Raises UnreadableFile."""
        keys: list[str] = []
        count = 0
        for name in inside:
            if name in wanted:
                assert name is not None
                return name
            count += 1
            if isinstance(name, str) and len(keys) <= _SHOWN_KEYS:
                keys.append(name)
            self._scan.value(0)
        missing = max(map(str, wanted), key=len)
        if isinstance(next(iter(wanted)), int):
            raise self._refusal(where, f"a list of {count} items, without number {missing} (counted from 0)")
        raise self._refusal(where, f"an object without the key {missing!r}; it has {_shown(keys)}")

    def _refusal(self, where: str, what: str) -> UnreadableFile:
        place = f"what lies under {where!r}" if where else "the document"
        return UnreadableFile(f"{self._path}: {place} is {what}. {_REMEDY}.")

    def _kind(self) -> str:
        first = self._scan.data[self._scan.at]
        return {OPEN_OBJECT: "an object", OPEN_LIST: "a list"}.get(first, "a single value")

    def _keys_here(self) -> str:
        if self._scan.data[self._scan.at] != OPEN_OBJECT:
            return ""
        keys: list[str] = []
        for key in self._scan.members():
            if key is not None and len(keys) <= _SHOWN_KEYS:
                keys.append(key)
            self._scan.value(0)
        return f"; it has {_shown(keys)}"


def _end_of(item: Item) -> Place:
    """Where the last row of an item begins."""
    if isinstance(item, RowBlock):
        return Place(item.lines[-1], item.byte_offsets[-1])
    return Place(item.line, item.byte_offset)


def _shown_key(key: str) -> str:
    return key if len(key) <= _SHOWN_KEY_CHARS else f"{key[:_SHOWN_KEY_CHARS]}…"


def _shown(keys: list[str]) -> str:
    if not keys:
        return "no keys"
    shown = ", ".join(repr(_shown_key(key)) for key in keys[:_SHOWN_KEYS])
    return f"{shown}, …" if len(keys) > _SHOWN_KEYS else shown
