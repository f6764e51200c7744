"""JSON documents: which list is read, what its items become, what breaks, encodings."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from dataset_pipeline.spec.reading import Reading
from dataset_pipeline.storage.readers import (
    RawRow,
    Reject,
    UnreadableFile,
    columns_of,
    packing,
    read_rows,
)

SECRET = "zebra"
"""Stands in rows that are rejected; must never show in what the reader says."""


def read(folder: Path, data: bytes, name: str = "x.json", **options: Any) -> list[RawRow | Reject]:
    path = folder / name
    path.write_bytes(data)
    limit = {"max_record_bytes": options.pop("max_record_bytes")} if "max_record_bytes" in options else {}
    return list(read_rows(path, Reading(**options), **limit))


def shown(found: list[RawRow | Reject]) -> list[Any]:
    """Payloads, and reasons of rejects."""
    return [item.payload if isinstance(item, RawRow) else item.reason for item in found]


def refusal(folder: Path, data: bytes, **options: Any) -> str:
    with pytest.raises(UnreadableFile) as caught:
        read(folder, data, **options)
    return str(caught.value).removeprefix(f"{folder / 'x.json'}: ")


# Which list


def test_documents_list_at_the_top_gives_rows_with_lines_and_offsets(tmp_path: Path) -> None:
    data = b'\xef\xbb\xbf[\n  {"a": 1},\r\n  ["x", null], 3\n]\n'
    first, second, third = read(tmp_path, data)
    assert first == RawRow(2, 7, {"a": 1})
    assert second == RawRow(3, 20, {"0": "x", "1": None})
    assert isinstance(third, Reject)
    assert (third.line, third.byte_offset, third.reason) == (3, 33, "not_an_object")
    assert columns_of(tmp_path / "x.json") is None


def test_documents_empty_list_has_no_rows(tmp_path: Path) -> None:
    assert read(tmp_path, b" [ ] \n") == []


@pytest.mark.parametrize(
    ("records", "expected"),
    [("train", [{"n": 1}]), ("data.items", [{"n": 2}]), ("data.pages.1", [{"n": 3}]), ("v1.0", [{"n": 4}])],
)
def test_documents_list_below_a_path_is_read(tmp_path: Path, records: str, expected: list[Any]) -> None:
    data = (
        b'{"about": {"items": "]}"}, "train": [{"n": 1}],\n'
        b'"data": {"items": [{"n": 2}], "pages": [[], [{"n": 3}]]}, "v1.0": [{"n": 4}], "end": null}'
    )
    assert shown(read(tmp_path, data, records=records)) == expected


def test_documents_path_that_is_not_there_lists_the_keys(tmp_path: Path) -> None:
    data = b'{"train": [{"a": 1}], "meta": {"by": "zebra", "list": 1}}'
    assert refusal(tmp_path, data, records="val") == (
        "the document is an object without the key 'val'; it has 'train', 'meta'. Name the list under records."
    )
    assert refusal(tmp_path, data, records="meta.rows") == (
        "what lies under 'meta' is an object without the key 'rows'; it has 'by', 'list'. "
        "Name the list under records."
    )
    assert refusal(tmp_path, data, records="meta") == (
        "what lies under 'meta' is an object, not a list; it has 'by', 'list'. Name the list under records."
    )
    assert "is a single value, not a list" in refusal(tmp_path, data, records="meta.by")
    assert "is a list of 1 items, without number 3" in refusal(tmp_path, data, records="train.3.x")
    assert "the document is a list, which holds no 'train'" in refusal(tmp_path, b"[1]", records="train")


def test_documents_keys_in_an_error_are_few_and_short(tmp_path: Path) -> None:
    data = json.dumps({f"{number:03}" + "k" * 100: number for number in range(1000)}).encode()
    message = refusal(tmp_path, data, records="rows")
    assert len(message) < 1200
    assert "'000kkk" in message
    assert "020k" not in message


def test_documents_object_of_lists_only_is_refused_with_their_names(tmp_path: Path) -> None:
    message = refusal(tmp_path, b'{"train": [["zebra"]], "val": []}')
    assert message == (
        "the document holds lists under 'train', 'val'. "
        "Name the list under records, for example `records: train`."
    )


def test_documents_long_object_that_holds_a_list_is_refused_with_its_name(tmp_path: Path) -> None:
    data = b'{"version": 1, "data": [' + b'{"a": 1},' * 100 + b'{"a": 2}]}'
    assert "lists under 'data'" in refusal(tmp_path, data, max_record_bytes=100)
    assert shown(read(tmp_path, data, records="data", max_record_bytes=100)) == [{"a": 1}] * 100 + [{"a": 2}]
    assert shown(read(tmp_path, b'{"a": "' + b"y" * 200 + b'"}', max_record_bytes=100)) == ["too_long"]


def test_documents_single_object_is_one_record(tmp_path: Path) -> None:
    assert read(tmp_path, b'\n{"a": 1,\n "b": [2]}\n') == [RawRow(2, 1, {"a": 1, "b": [2]})]
    assert shown(read(tmp_path, b"{}")) == [{}]
    assert shown(read(tmp_path, b'{"a": [], "b": []}')) == [{"a": [], "b": []}]


@pytest.mark.parametrize("data", [b"12", b'"zebra"', b"null"])
def test_documents_single_scalar_is_a_reject(tmp_path: Path, data: bytes) -> None:
    assert shown(read(tmp_path, data)) == ["not_an_object"]


@pytest.mark.parametrize(
    "data",
    [
        b'{"a": 1}\n{"a": 2,}\n\n{"a": 3}\n',
        b'{"a": [1]}\r\n{"a": [2]}',
        b'["x", 1]\n["y", 2]\n',
        b'\n\n{"a": 1}\n[{"a": 2}]\n',
        '{"a": "é"}\n{"a": 2}'.encode(),
    ],
)
def test_documents_json_lines_are_read_as_such(tmp_path: Path, data: bytes) -> None:
    expected = read(tmp_path, data, name="x.jsonl")
    assert len(expected) >= 2
    assert read(tmp_path, data) == expected
    assert read(tmp_path, data.decode().encode("utf-16"), encoding="utf-16") == read(
        tmp_path, data.decode().encode("utf-16"), name="x.jsonl", encoding="utf-16"
    )


# What is wrong


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (b'{"a":"zebra",}', "invalid_json"),
        (b'{"a":NaN,"zebra":1}', "invalid_json"),
        (b"-Infinity", "invalid_json"),
        (b'{"a":1e999}', "invalid_json"),
        (b'{"a":"zebra\\x"}', "invalid_json"),
        (b'{"a":"zebra\\ud800"}', "invalid_json"),
        (b'{"a":"zebra\n"}', "invalid_json"),
        (b"'zebra'", "invalid_json"),
        (b"", "invalid_json"),
        (b'{"a":' * 251 + b"1" + b"}" * 251, "too_deep"),
        (b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", "too_deep"),
        (b'"zebra"', "not_an_object"),
        (b"true", "not_an_object"),
        (b'{"a":"zebra\xff"}', "invalid_encoding"),
        (b'{"a":"\xed\xa0\x80"}', "invalid_encoding"),
        (b'{"a":"zebra\x00"}', "nul_byte"),
        (b'{"a":["zebra\\u0000"]}', "nul_byte"),
        (b'["\\u0000"]', "nul_byte"),
        (b'{"a":"' + b"zebra" * 1000 + b'"}', "too_long"),
    ],
)
@pytest.mark.parametrize("around", [1, 50])
def test_documents_bad_item_is_one_reject_between_its_neighbours(
    tmp_path: Path, item: bytes, reason: str, around: int
) -> None:
    rows = b",\n".join([b'{"n":1}'] * around)
    data = b"[" + rows + b",\n" + item + b",\n" + rows + b"]"
    limit = 4000 if reason == "too_long" else 2**20
    found = read(tmp_path, data, max_record_bytes=limit)
    bad = found.pop(around)
    assert shown(found) == [{"n": 1}] * around * 2
    assert isinstance(bad, Reject)
    assert bad.reason == reason
    assert SECRET not in bad.detail
    if item:
        assert (bad.line, bad.byte_offset) == (around + 1, len(rows) + 3)
    assert (found[-1].line, found[-1].byte_offset) == (data.count(b"\n") + 1, len(data) - 8)


@pytest.mark.parametrize("tail", [b"", b",", b",\n", b',{"zebra":1', b',{"zebra":"}]', b',[{"a":"\\'])
def test_documents_document_without_its_end_is_truncated(tmp_path: Path, tail: bytes) -> None:
    found = read(tmp_path, b'[{"a":1}' + tail)
    assert shown(found) == [{"a": 1}, "truncated_file"]
    assert found[-1].byte_offset == (9 if tail.lstrip(b",\n") else 8 + len(tail))


@pytest.mark.parametrize("data", [b"", b" \n", b"\xef\xbb\xbf", b'{"a": [1, 2]', b'"zebra'])
def test_documents_nothing_or_half_a_value_is_truncated(tmp_path: Path, data: bytes) -> None:
    assert shown(read(tmp_path, data)) == ["truncated_file"]


@pytest.mark.parametrize(
    "broken", [b'{"a":[1}}', b'{"a":1} {"zebra":2}', b"1 2", b'{"zebra":1}//', b"}", b'"x""zebra"']
)
def test_documents_broken_structure_says_how_much_was_left_unread(tmp_path: Path, broken: bytes) -> None:
    data = b'[{"a":1},\n' + broken + b',\n{"zebra":9}]'
    *_, fault, last = read(tmp_path, data)
    assert isinstance(fault, Reject)
    assert isinstance(last, Reject)
    assert (fault.reason, last.reason) == ("invalid_json", "truncated_file")
    assert fault.line == last.line == 2
    assert last.detail == f"{len(data) - last.byte_offset} bytes from here to the end were left unread"
    assert SECRET not in fault.detail


def test_documents_text_after_the_end_is_a_reject(tmp_path: Path) -> None:
    found = read(tmp_path, b'[{"a":1}] zebra\n')
    assert shown(found) == [{"a": 1}, "invalid_json"]
    assert found[1].detail == "6 bytes of other text after the end of the document"  # type: ignore[union-attr]
    assert shown(read(tmp_path, b'{"a":1} zebra')) == ["invalid_json"]


def test_documents_second_document_behind_the_first_is_not_lost_in_silence(tmp_path: Path) -> None:
    data = b'[\n{"a":1}\n]\n[\n{"a":2}\n]\n'
    assert shown(read(tmp_path, data)) == [{"a": 1}, "invalid_json", "truncated_file"]


def test_documents_key_named_under_records_twice_is_not_lost_in_silence(tmp_path: Path) -> None:
    found = read(tmp_path, b'{"t":[{"a":1}],"t":[{"a":2}]}', records="t")
    assert shown(found) == [{"a": 1}, "invalid_json", "truncated_file"]


@pytest.mark.parametrize("rest", [b'"u":[1}', b'"u"}', b'"u":}', b"u:1}", b"}", b'"u":1]'])
def test_documents_broken_container_behind_the_list_is_rejected(tmp_path: Path, rest: bytes) -> None:
    found = read(tmp_path, b'{"t":[{"a":1}],' + rest, records="t")
    assert shown(found) == [{"a": 1}, "invalid_json", "truncated_file"]


def test_documents_packed_data_that_break_off_give_their_rows_and_a_last_reject(tmp_path: Path) -> None:
    items = b",\n".join(b'{"n":%d,"t":"%d"}' % (number, number * 7919) for number in range(50_000))
    packed = gzip.compress(b"[" + items + b"]")
    found = read(tmp_path, packed[: len(packed) // 2], name="x.json.gz")
    assert [row.payload["n"] for row in found[:-1] if isinstance(row, RawRow)] == list(range(len(found) - 1))
    assert len(found) > 10_000
    assert isinstance(found[-1], Reject)
    assert found[-1].reason == "truncated_file"
    assert "gzip data end early" in found[-1].detail


def test_documents_integers_of_any_size_are_kept_and_the_last_of_equal_keys_counts(tmp_path: Path) -> None:
    found = read(tmp_path, b'[{"id":123456789012345678901234567890,"a":1,"a":2}]')
    assert shown(found) == [{"id": 123456789012345678901234567890, "a": 2}]


def test_documents_utf16_without_a_declaration_is_rejected(tmp_path: Path) -> None:
    found = read(tmp_path, '[{"a":1}]'.encode("utf-16"))
    assert shown(found)[-1] in ("invalid_encoding", "truncated_file")
    assert not any(isinstance(item, RawRow) for item in found)


# Encodings


@pytest.mark.parametrize("block_bytes", [1, 5, 2**20])
@pytest.mark.parametrize(
    "encoding", ["cp1252", "utf-16", "utf-16-be", "utf-32", "shift_jis", "iso2022_jp", "cp037"]
)
def test_documents_declared_encoding_gives_rows_and_offsets_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, block_bytes: int
) -> None:
    monkeypatch.setattr(packing, "BLOCK_BYTES", block_bytes)
    word = {"cp1252": "é€", "cp037": "é"}.get(encoding, "日本")
    before = f'[\n {{"a": "{word}", "b": 1}},\n'
    text = before + f' {{"a": "{word}{word}", "b": 2}}]'
    found = read(tmp_path, text.encode(encoding), encoding=encoding)
    assert shown(found) == [{"a": word, "b": 1}, {"a": word * 2, "b": 2}]
    assert [(row.line, row.byte_offset) for row in found] == [
        (2, len("[\n ".encode(encoding))),
        (3, len(f"{before} ".encode(encoding))),
    ]


def test_documents_bytes_outside_the_declared_encoding_reject_their_item_only(tmp_path: Path) -> None:
    found = read(tmp_path, b'[{"a":"caf\xe9"},{"a":"\x81"},{"a":1}]', encoding="cp1252")
    assert shown(found) == [{"a": "café"}, "invalid_encoding", {"a": 1}]
    assert [item.byte_offset for item in found] == [1, 14, 24]
    # Two such bytes are no character together, even where they would be one of UTF-8.
    found = read(tmp_path, b'[{"a":"\xc3\xa9"},{"a":1}]', encoding="ascii")
    assert shown(found) == ["invalid_encoding", {"a": 1}]
