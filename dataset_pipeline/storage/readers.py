"""Raw rows from the files that sources send: JSONL/NDJSON and CSV/TSV, plain or gzipped.

Lives here: which files are readable, opening and unpacking them in blocks, their hash.
The formats are in `jsonl` and `delimited`. Keep out: mapping fields, DuckDB, Dagster, verdicts.

Memory is bounded by `max_record_bytes`, whatever a gzipped file unpacks to. Every physical line that is
not blank belongs to exactly one row or reject.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import IO

from dataset_pipeline.storage.delimited import DelimitedFile
from dataset_pipeline.storage.jsonl import (
    READ_REASONS,
    BrokenStream,
    Codec,
    Line,
    RawRow,
    Reject,
    UnreadableFile,
    codec_for,
    physical_lines,
    read_jsonl,
)

__all__ = [
    "FORMATS",
    "READ_REASONS",
    "RawRow",
    "Reject",
    "UnreadableFile",
    "columns_of",
    "file_sha256",
    "read_rows",
    "supported",
]

_DELIMITERS: dict[str, str | None] = {".jsonl": None, ".ndjson": None, ".csv": ",", ".tsv": "\t"}

FORMATS: tuple[str, ...] = tuple(f"{suffix}{packing}" for suffix in _DELIMITERS for packing in ("", ".gz"))
"""Suffixes of readable files; upper and lower case are one."""

MAX_RECORD_BYTES = 16 * 2**20
_BLOCK_BYTES = 256 * 1024
_HEAD_BYTES = 64
_LONGEST_MARK = 4
"""Bytes of the longest byte order mark."""

_GZIP = b"\x1f\x8b"
_LFS = b"version https://git-lfs"
_PACKED = {
    _GZIP: "gzip data",
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"\x28\xb5\x2f\xfd": "zstd data",
    b"BZh": "bzip2 data",
    b"\xfd7zXZ\x00": "xz data",
    b"PAR1": "a Parquet file",
}


def supported(path: Path) -> bool:
    """Whether the name ends with one of FORMATS."""
    return path.name.lower().endswith(FORMATS)


def file_sha256(path: Path) -> tuple[str, int]:
    """Hex SHA-256 and size in bytes of the file as it lies there, packed or not. Raises UnreadableFile."""
    digest, size = hashlib.sha256(), 0
    with _opened(path) as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            size += len(block)
    return digest.hexdigest(), size


def columns_of(path: Path, encoding: str = "utf-8") -> list[str] | None:
    """Column names of a CSV or TSV file; None for JSON Lines. Raises UnreadableFile."""
    delimiter = _delimiter_of(path)
    if delimiter is None:
        return None
    with closing(_blocks(path)) as blocks:
        lines, codec = _lines(path, blocks, encoding, MAX_RECORD_BYTES)
        return DelimitedFile(lines, codec, delimiter, MAX_RECORD_BYTES, path).columns


def read_rows(
    path: Path, encoding: str = "utf-8", max_record_bytes: int = MAX_RECORD_BYTES
) -> Iterator[RawRow | Reject]:
    """Rows and rejects of a file, in file order; the format comes from the suffix.

    `encoding` is the declared one and never guessed; a leading byte order mark is dropped. A gzip file that
    breaks off gives its rows up to there and one last reject `truncated_file`. A record of CSV that cannot
    be made sense of rejects its first physical line only, and reading goes on with the next.
    Raises UnreadableFile, on the first row asked for, where the file as a whole is no batch.
    """
    delimiter = _delimiter_of(path)
    with closing(_blocks(path)) as blocks:
        lines, codec = _lines(path, blocks, encoding, max_record_bytes)
        if delimiter is None:
            yield from read_jsonl(lines, codec, max_record_bytes)
        else:
            yield from DelimitedFile(lines, codec, delimiter, max_record_bytes, path).rows()


def _delimiter_of(path: Path) -> str | None:
    """The delimiter of a CSV or TSV file, None for JSON Lines."""
    name = path.name.lower().removesuffix(".gz")
    for suffix, delimiter in _DELIMITERS.items():
        if name.endswith(suffix):
            return delimiter
    raise UnreadableFile(f"{path}: unknown suffix. Readable are {', '.join(FORMATS)}.")


def _lines(
    path: Path, blocks: Iterator[bytes], encoding: str, max_record_bytes: int
) -> tuple[Iterator[Line], Codec]:
    """The physical lines of `blocks`, and the codec that the first of them settles."""
    head = b""
    try:
        while len(head) < _LONGEST_MARK and (block := next(blocks, b"")):
            head += block
    except BrokenStream as broken:
        # Said again when the lines get there: it becomes a reject, or a missing header.
        blocks = _breaking(broken)
    codec = codec_for(encoding, head, path)
    return physical_lines(chain((head,), blocks), codec, max_record_bytes), codec


def _breaking(broken: BrokenStream) -> Iterator[bytes]:
    raise broken
    yield b""


def _opened(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise UnreadableFile(f"{path}: cannot be opened ({error.strerror}). Check path and rights.") from None


def _blocks(path: Path) -> Generator[bytes, None, None]:
    """The unpacked bytes of a file. Raises BrokenStream where gzip data break off, else UnreadableFile."""
    is_gzip = path.name.lower().endswith(".gz")
    with _opened(path) as file:
        try:
            head = file.read(_HEAD_BYTES)
            file.seek(0)
            _check_kind(path, head, is_gzip)
            if is_gzip:
                yield from _unpacked(file)
            else:
                while block := file.read(_BLOCK_BYTES):
                    yield block
        except OSError as error:
            raise UnreadableFile(f"{path}: cannot be read ({error.strerror}). Send the file again.") from None


def _check_kind(path: Path, head: bytes, is_gzip: bool) -> None:
    """Raises UnreadableFile where the first bytes contradict the name; never quotes them."""
    if head.startswith(_LFS):
        what = "is not gzip (a Git LFS pointer?)" if is_gzip else "is a Git LFS pointer, not the file"
        raise UnreadableFile(f"{path}: {what}. Fetch the file itself, for example with: git lfs pull.")
    kind = next((kind for magic, kind in _PACKED.items() if head.startswith(magic)), None)
    if is_gzip and not head.startswith(_GZIP):
        guess = kind or ("an empty file" if not head else "plain text?")
        raise UnreadableFile(
            f"{path}: is not gzip ({guess}). Pack it with gzip, or give it the suffix it should have."
        )
    if not is_gzip and kind is not None:
        remedy = "Add .gz to its name." if head.startswith(_GZIP) else "Unpack or export it as JSONL or CSV."
        raise UnreadableFile(f"{path}: is {kind}, not text. {remedy}")


def _unpacked(file: IO[bytes]) -> Iterator[bytes]:
    """Blocks of gzip data. read1 hands out what there is before it fails; read would lose it."""
    unpacked_bytes = 0
    with gzip.GzipFile(fileobj=file) as stream:
        while True:
            try:
                block = stream.read1(_BLOCK_BYTES)
            except EOFError:
                raise BrokenStream(f"gzip data end early, after {unpacked_bytes} unpacked bytes") from None
            except (gzip.BadGzipFile, zlib.error):
                raise BrokenStream(f"gzip data are damaged after {unpacked_bytes} unpacked bytes") from None
            if not block:
                return
            unpacked_bytes += len(block)
            yield block
