"""Files as blocks of unpacked bytes: opening, gzip and zstd, and names that are not what the file is.

Lives here: what lies below every format that is read as a stream. Keep out: text (`streams`).
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO

from dataset_pipeline.storage.readers.rows import UnreadableFile

BLOCK_BYTES = 2**20
PACKINGS = ("", ".gz", ".zst")
"""Suffixes of packed files; upper and lower case are one."""
_HEAD_BYTES = 64

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_LFS = b"version https://git-lfs"
_PACKED = {
    _GZIP: "gzip data",
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    _ZSTD: "zstd data",
    b"BZh91AY&SY": "bzip2 data",
    b"\xfd7zXZ\x00": "xz data",
    b"PAR1": "a Parquet file",
}
_NO_TEXT = {
    b"%PDF-": "a PDF",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF87a": "a GIF image",
    b"GIF89a": "a GIF image",
    b"Rar!\x1a\x07": "a RAR archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an old Office document",
    b"{\\rtf": "an RTF document",
    b"SQLite format 3\x00": "an SQLite database",
}
"""Much of what is in them would pass as lines of text."""


class BrokenStream(Exception):
    """The stream of bytes ends before its time. The message becomes a reject's detail."""


def opened(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise UnreadableFile(f"{path}: cannot be opened ({error.strerror}). Check path and rights.") from None


def packing_of(path: Path) -> str:
    """What the file is packed with, by its name: `.gz`, `.zst`, or nothing."""
    return next((packing for packing in PACKINGS if packing and path.name.lower().endswith(packing)), "")


def unpacked_blocks(path: Path) -> Generator[bytes, None, None]:
    """The unpacked bytes of a file. Raises BrokenStream where packed data break off, else UnreadableFile."""
    packing = packing_of(path)
    with opened(path) as file:
        try:
            head = file.read(_HEAD_BYTES)
            file.seek(0)
            _check_kind(path, head, packing)
            if packing == ".gz":
                yield from _gunzipped(file)
            elif packing == ".zst":
                yield from _unzstd(file)
            else:
                while block := file.read(BLOCK_BYTES):
                    yield block
        except OSError as error:
            raise UnreadableFile(f"{path}: cannot be read ({error.strerror}). Send the file again.") from None


def _check_kind(path: Path, head: bytes, packing: str) -> None:
    """Raises UnreadableFile where the first bytes contradict the name; never quotes them."""
    wanted, magic = {".gz": ("gzip", _GZIP), ".zst": ("zstd", _ZSTD)}.get(packing, ("", b""))
    if head.startswith(_LFS):
        what = f"is not {wanted} (a Git LFS pointer?)" if wanted else "is a Git LFS pointer, not the file"
        raise UnreadableFile(f"{path}: {what}. Fetch the file itself, for example with: git lfs pull.")
    kind = next((kind for magic, kind in _PACKED.items() if head.startswith(magic)), None)
    if wanted and not head.startswith(magic):
        guess = kind or ("an empty file" if not head else "plain text?")
        raise UnreadableFile(
            f"{path}: is not {wanted} ({guess}). Pack it with {wanted}, or give it the suffix it should have."
        )
    no_text = next((what for magic, what in _NO_TEXT.items() if head.startswith(magic)), None)
    if not wanted and no_text is not None:
        raise UnreadableFile(
            f"{path}: is {no_text}, not text. Convert it to text, or take it out of the folder."
        )
    if not wanted and kind is not None:
        suffix = {_GZIP: "Add .gz to its name.", _ZSTD: "Add .zst to its name."}
        remedy = next((words for magic, words in suffix.items() if head.startswith(magic)), None)
        raise UnreadableFile(f"{path}: is {kind}, not text. {remedy or 'Give it the suffix of what it is.'}")


def _gunzipped(file: IO[bytes]) -> Iterator[bytes]:
    """Blocks of gzip data. read1 hands out what there is before it fails; read would lose it."""
    unpacked_bytes = 0
    with gzip.GzipFile(fileobj=file) as stream:
        while True:
            try:
                block = stream.read1(BLOCK_BYTES)
            except EOFError:
                raise BrokenStream(f"gzip data end early, after {unpacked_bytes} unpacked bytes") from None
            except (gzip.BadGzipFile, zlib.error):
                raise BrokenStream(f"gzip data are damaged after {unpacked_bytes} unpacked bytes") from None
            if not block:
                return
            unpacked_bytes += len(block)
            yield block


def _unzstd(file: IO[bytes]) -> Iterator[bytes]:
    """Blocks of zstd data, frame after frame; Arrow's stream tells data that end early, others do not (measured)."""
    import pyarrow

    unpacked_bytes = 0
    with pyarrow.CompressedInputStream(pyarrow.PythonFile(file, "r"), "zstd") as stream:
        while True:
            try:
                block = stream.read(BLOCK_BYTES)
            except OSError as error:
                how = "end early" if "runcated" in str(error) else "are damaged"
                raise BrokenStream(f"zstd data {how}, after {unpacked_bytes} unpacked bytes") from None
            if not block:
                return
            unpacked_bytes += len(block)
            yield block
