"""JSON values, strictly by RFC 8259: parsing one, and what is wrong with one.

Lives here: what `jsonl` and `documents` share. Keep out: finding where a value begins and ends.

msgspec keeps integers of any size; orjson, which turns those above 64 bit into floats, only words the fault.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import orjson

MAX_NESTING = 250
"""Levels of a row. orjson 3.13 reads 1,024 but writes 254 (measured): a row must be writable again."""

_FAULTS = (
    "depth limit exceeded",
    "invalid escaped sequence in string",
    "invalid high surrogate in string",
    "invalid low surrogate in string",
    "no low surrogate in string",
    "number is infinity",
    "number with leading zero",
    "trailing comma",
    "unexpected character",
    "unexpected content after document",
    "unexpected control character in string",
    "unexpected end of data",
)
"""orjson's words that may be repeated: known to hold nothing of the text."""

_decode = msgspec.json.Decoder().decode

PARSE_ERRORS = (msgspec.DecodeError, UnicodeError, RecursionError)
"""What msgspec raises for text that is no JSON value, or not of the wanted type."""


class JsonFault(Exception):
    """The bytes are no JSON value: a word of READ_REASONS, and a detail without any of the text."""

    def __init__(self, reason: str, detail: str):
        super().__init__(reason)
        self.reason, self.detail = reason, detail


def parsed(data: bytes, encoding_fault: str = "not valid utf-8") -> Any:
    """The value of UTF-8 `data`; of equal keys the last one counts. Raises JsonFault."""
    try:
        return _decode(data)
    except RecursionError:
        raise JsonFault("too_deep", f"nested deeper than {MAX_NESTING} levels") from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise _fault(data, error, encoding_fault) from None


def _fault(data: bytes, error: Exception, encoding_fault: str) -> JsonFault:
    try:
        text = data.decode()
    except UnicodeError:
        return JsonFault("invalid_encoding", encoding_fault)
    if "\0" in text:
        return JsonFault("nul_byte", "the line holds a NUL byte")
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError as found:
        words = next((fault for fault in _FAULTS if found.msg.startswith(fault)), "not valid JSON")
        reason = "too_deep" if words.startswith("depth") else "invalid_json"
        return JsonFault(reason, f"{words} at character {found.pos + 1}")
    return JsonFault("invalid_json", f"not valid JSON ({type(error).__name__})")


def row_of(value: Any, data: bytes, are_arrays: bool = False) -> dict[str, Any]:
    """The payload of a row from its parsed value. Raises JsonFault where it is no row.

    data: the bytes it was parsed from, which hint at what need not be looked for. are_arrays: the rows of
    this file are arrays; their values are called "0", "1", …
    """
    if are_arrays and isinstance(value, list):
        value = {str(number): part for number, part in enumerate(value)}
    if not isinstance(value, dict):
        raise JsonFault("not_an_object", f"a JSON {_type(value)}, not an object")
    if b"\\u0000" in data and any("\0" in part for _, part in _nodes(value) if isinstance(part, str)):
        raise JsonFault("nul_byte", "a string holds the character U+0000")
    deep = len(data) > MAX_NESTING and data.count(b"{") + data.count(b"[") > MAX_NESTING
    if deep and any(level > MAX_NESTING for level, part in _nodes(value) if isinstance(part, dict | list)):
        raise JsonFault("too_deep", f"nested deeper than {MAX_NESTING} levels")
    return value


def _nodes(payload: dict[str, Any]) -> Iterator[tuple[int, Any]]:
    """Every key and value with its level; without recursion, which Python ends before a parser does."""
    waiting: list[tuple[int, Any]] = [(1, payload)]
    while waiting:
        level, value = waiting.pop()
        yield level, value
        if isinstance(value, dict):
            waiting.extend((level + 1, part) for pair in value.items() for part in pair)
        elif isinstance(value, list):
            waiting.extend((level + 1, part) for part in value)


def _type(value: Any) -> str:
    if value is None:
        return "null"
    names: dict[type, str] = {list: "array", str: "string", bool: "boolean"}
    return names.get(type(value), "number")
