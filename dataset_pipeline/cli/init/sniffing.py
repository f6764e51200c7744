"""What a file is, told by its first bytes and its name: packing and format.

Lives here: bytes in, a format out. Keep out: encodings (`encodings`), reading rows (`first_rows`), what columns mean
(`guessing`).
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from dataset_pipeline.cli.init.encodings import encoding_of
from dataset_pipeline.spec.reading import PACKED_FORMATS, Format, format_of
from dataset_pipeline.storage.readers import UnreadableFile
from dataset_pipeline.storage.readers.packing import BrokenStream, opened, packing_of, unpacked_blocks

HEAD_BYTES = 2**16
_MAGIC_PACKING = {b"\x1f\x8b": ".gz", b"\x28\xb5\x2f\xfd": ".zst"}
_LFS = b"version https://git-lfs"
_JSON_START = re.compile(r"\s*[\[{]\s*(?:[\[{\"\]}]|-?\d|true|false|null)")
_HTML_START = re.compile(
    r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.I | re.S
)
_DELIMITERS = "\t;,|"
_MIN_LINES = 2
"""Fewer lines show no pattern that could be called a table."""


def packing_name(path: Path) -> str:
    """The file's name with the suffix of what it is packed with, by its first bytes. Raises UnreadableFile."""
    with opened(path) as file:
        try:
            head = file.read(64)
        except OSError as error:
            raise UnreadableFile(
                f"{path}: cannot be read ({error.strerror}). Check path and rights."
            ) from None
    if head.startswith(_LFS):
        raise UnreadableFile(
            f"{path}: is a Git LFS pointer, not the file. Fetch the file itself, for example with: git lfs pull."
        )
    named = packing_of(path)
    packed = next((suffix for magic, suffix in _MAGIC_PACKING.items() if head.startswith(magic)), "")
    bare = path.name[: len(path.name) - len(named)]
    return path.name if packed == named or not bare else bare + packed


def format_in(path: Path) -> Format:
    """The format of the rows, whatever the suffix says; `path` has the name of `packing_name`. Raises UnreadableFile for what no reader reads."""
    head = _head(path)
    named = format_of(path.name)
    packed = packing_of(path) != ""
    found = _by_magic(path, head, packed)
    if found is None and not (named == "excel" and head.startswith(b"\xd0\xcf\x11\xe0")):
        text = head.decode(encoding_of([head])[0], "ignore")
        found = _by_text(text, named)
    found = found or named
    if found is None:
        raise UnreadableFile(
            f"{path}: unknown suffix, and its first bytes tell no format. Send JSON, CSV, text, HTML, Parquet or Excel."
        )
    if packed and found not in PACKED_FORMATS:
        raise UnreadableFile(f"{path}: is a packed {found} file, which packs itself. Unpack it.")
    return found


def _head(path: Path) -> bytes:
    if not packing_of(path):
        with opened(path) as file:
            return file.read(HEAD_BYTES)
    head = b""
    try:
        for block in unpacked_blocks(path):
            head += block[: HEAD_BYTES - len(head)]
            if len(head) >= HEAD_BYTES:
                break
    except BrokenStream as broken:
        if not head:
            raise UnreadableFile(f"{path}: {broken}. Send the file again.") from None
    return head


def _by_magic(path: Path, head: bytes, packed: bool) -> Format | None:
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"PK\x03\x04"):
        if b"[Content_Types].xml" in head or b"xl/" in head or format_of(path.name) == "excel":
            return "excel"
        raise UnreadableFile(f"{path}: is a zip archive. Unpack it, and give the file or the folder.")
    if head[257:262] == b"ustar":
        raise UnreadableFile(f"{path}: is a tar archive. Unpack it, and give the file or the folder.")
    for magic, words in ((b"BZh", "bzip2"), (b"\xfd7zXZ\x00", "xz")):
        if head.startswith(magic) and not packed:
            raise UnreadableFile(f"{path}: is {words} data. Unpack it, or pack it as .gz or .zst.")
    return None


def _by_text(text: str, named: Format | None) -> Format | None:
    """The format of a file that is text; None where its name may as well be right.

    What is called Excel or Parquet and is not stays what it is called: its reader says what is wrong.
    """
    text = text.removeprefix("\ufeff")
    if named in ("json", "files", "html"):
        return named
    if _JSON_START.match(text) and (found := _json_kind(text)):
        return found
    if named in ("csv", "tsv", "jsonl"):
        return named
    if _HTML_START.match(text):
        return "html"
    if named == "text":
        return "text"
    controls = sum(1 for c in text[:4096] if ord(c) < 32 and c not in "\t\n\r\f\x1b")
    if named is not None or not text.strip() or controls * 50 >= min(len(text), 4096):
        return None
    delimiter = _delimiter_of(text)
    if delimiter is None:
        return "text"
    return "tsv" if delimiter == "\t" else "csv"


def _json_kind(text: str) -> Format | None:
    """jsonl where the first line is a whole row, json where more lines are needed for one or it holds several."""
    lines = [line for line in text.splitlines() if line.strip()]
    try:
        first = msgspec.json.decode(lines[0])
    except msgspec.DecodeError:
        is_row_cut = len(lines) == 1
        if is_row_cut:  # a first line longer than what was looked at
            return "jsonl" if text.lstrip().startswith("{") else "json"
        opens = lines[0].strip() in ("[", "{") or lines[0].rstrip().endswith(("[", "{", ","))
        return "json" if opens else None
    if isinstance(first, list):
        is_document = any(isinstance(item, dict | list) for item in first) and len(lines) == 1
        return "json" if is_document else ("jsonl" if first or len(lines) > 1 else None)
    return "jsonl" if isinstance(first, dict) else None


def _delimiter_of(text: str) -> str | None:
    """The character that every line holds equally often, outside of quotes; None for prose."""
    lines = [line for line in text.split("\n")[:-1] or [text] if line.strip()][:50]
    if len(lines) < _MIN_LINES:
        return None
    bare = [re.sub(r'"[^"]*"', "", line) for line in lines]
    for delimiter in _DELIMITERS:
        counts = {line.count(delimiter) for line in bare}
        if len(counts) == 1 and counts != {0} and (delimiter != "," or len(lines) >= 5 or counts != {1}):
            return delimiter
    return None
