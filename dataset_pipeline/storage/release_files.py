"""Bytes of a release's files: JSON lines plain and packed, Parquet in plain types, cut into shards, read back.

Lives here: one file at a time, in bounded memory, the same bytes for the same rows. Keep out: folders, versions and
the manifest (`releases`), what the rows are (`transforms.formats`).
"""

from __future__ import annotations

import gzip
import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import orjson
import polars as pl

from dataset_pipeline.storage.readers.packing import BrokenStream, unpacked_blocks
from dataset_pipeline.storage.readers.rows import UnreadableFile

if TYPE_CHECKING:
    import pyarrow as pa

Compression = Literal["none", "gzip", "zstd"]
PACKED: Mapping[Compression, str] = {"none": "", "gzip": ".gz", "zstd": ".zst"}
"""Suffix that packing adds to a file's name."""

_GZIP_LEVEL = 6
"""The default of the program gzip."""
_ZSTD_LEVEL = 3
"""The default of the program zstd."""


# --- names and shards ---------------------------------------------------------------------


def shard_names(folder: str, split: str, count: int, suffix: str) -> list[str]:
    """Paths of `count` files of a split, as the Hub's tools write them: a number only where there are several."""
    if count == 1:
        return [f"{folder}/{split}{suffix}"]
    return [f"{folder}/{split}-{number:05d}-of-{count:05d}{suffix}" for number in range(count)]


def shards(lines: Iterable[bytes], max_bytes: int) -> Iterator[Iterator[bytes]]:
    """The lines in runs of at most max_bytes, a longer line by itself; each run is to be read before the next."""
    rest = iter(lines)
    waiting = next(rest, None)

    def run() -> Iterator[bytes]:
        nonlocal waiting
        size = 0
        while waiting is not None and (size == 0 or size + len(waiting) <= max_bytes):
            size += len(waiting)
            yield waiting
            waiting = next(rest, None)

    while waiting is not None:
        yield run()


def slices(frame: pl.DataFrame, max_bytes: int, max_rows: int | None = None) -> list[pl.DataFrame]:
    """The rows in runs of at most max_bytes (and max_rows), a larger row by itself; none for no rows.

    What counts is the text of a row, and 8 bytes for any other value: `DataFrame.estimated_size` also depends on how
    the frame lies in memory, and cuts must not.
    """
    row_bytes = [_bytes_of(pl.col(name), dtype) for name, dtype in frame.schema.items()]
    ends = frame.select(pl.sum_horizontal(row_bytes).cum_sum().alias("end"))["end"].to_list()
    found, start = [], 0
    while start < frame.height:
        before = ends[start - 1] if start else 0
        stop = max(bisect_right(ends, before + max_bytes, lo=start), start + 1)
        stop = min(stop, start + max_rows) if max_rows else stop
        found.append(frame.slice(start, stop - start))
        start = stop
    return found


def _bytes_of(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Bytes of one column's values: UTF-8 of texts, also inside lists and structs; 8 for anything else."""
    if dtype == pl.String:
        return value.str.len_bytes().cast(pl.Int64).fill_null(0)
    if isinstance(dtype, pl.List):
        inner: Any = dtype.inner
        return value.list.eval(_bytes_of(pl.element(), inner)).list.sum().cast(pl.Int64).fill_null(0)
    if isinstance(dtype, pl.Struct):
        fields: list[Any] = dtype.fields
        return pl.sum_horizontal(_bytes_of(value.struct.field(f.name), f.dtype) for f in fields)
    return pl.when(value.is_null()).then(0).otherwise(8).cast(pl.Int64)


# --- writing -----------------------------------------------------------------------------


@contextmanager
def packed(handle: BinaryIO, compression: Compression) -> Iterator[Any]:
    """What takes the lines of a file that is open for writing; the handle stays open.

    The same lines give the same bytes: gzip has no time and no name in it, zstd is one frame of one thread, with a
    checksum.
    """
    if compression == "gzip":
        with gzip.GzipFile(
            filename="", mode="wb", fileobj=handle, compresslevel=_GZIP_LEVEL, mtime=0
        ) as packer:
            yield packer
    elif compression == "zstd":
        import zstandard

        compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True)
        with compressor.stream_writer(handle, closefd=False) as writer:
            yield writer
    else:
        yield handle


_GROUP_ROWS = 100_000
_GROUP_BYTES = 64_000_000
"""A row group is what a reader of Parquet takes at once; texts of a group must stay below the 2 GB of Arrow's string."""


def write_parquet(handle: BinaryIO, frame: pl.DataFrame) -> None:
    """Write a frame with zstd and statistics, row group by row group.

    The Arrow schema that is kept in the file has the plain types (string, list), which every reader knows; Polars
    itself writes large_string and large_list (measured, 2.1).
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [pa.field(f.name, _plain(f.type), f.nullable) for f in frame.head(0).to_arrow().schema]
    )
    with pq.ParquetWriter(handle, schema, compression="zstd", write_statistics=True) as writer:
        for part in slices(frame, _GROUP_BYTES, _GROUP_ROWS) or [frame]:
            # rechunked, the slice takes its own texts along and not those of the whole frame
            writer.write_table(part.rechunk().to_arrow().cast(schema), row_group_size=part.height or None)


def _plain(dtype: pa.DataType) -> pa.DataType:
    """An Arrow type in the form of 32-bit offsets."""
    import pyarrow as pa

    if pa.types.is_large_string(dtype) or pa.types.is_string_view(dtype):
        return pa.string()
    if pa.types.is_large_binary(dtype) or pa.types.is_binary_view(dtype):
        return pa.binary()
    if pa.types.is_large_list(dtype) or pa.types.is_list(dtype):
        return pa.list_(_plain(dtype.value_type))
    if pa.types.is_struct(dtype):
        return pa.struct([pa.field(field.name, _plain(field.type)) for field in dtype])
    return dtype


# --- reading back ----------------------------------------------------------------------------


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file as it lies there, in blocks."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def has_rows(path: str) -> bool:
    """Whether a file of a release, by its name, is one whose rows are counted."""
    return path.endswith((".parquet", *(f".jsonl{suffix}" for suffix in PACKED.values())))


def count_rows(path: Path) -> int:
    """Rows of a release file, read as its reader would: every JSON line parsed, Parquet by its rows.

    Raises ValueError, without a word of the file, where it cannot be read.
    """
    if path.suffix != ".parquet":
        return sum(1 for _ in read_lines(path))
    try:
        return int(pl.scan_parquet(path, glob=False).select(pl.len()).collect().item())
    except pl.exceptions.PolarsError:
        raise ValueError("is no whole Parquet file") from None


def read_lines(path: Path) -> Iterator[Any]:
    """The parsed lines of a JSONL file, plain or packed (.gz, .zst).

    Raises ValueError, without a word of the file, where a line is not JSON or the packing is damaged or cut off.
    """
    number = 1
    try:
        for line in _lines(unpacked_blocks(path)):
            yield orjson.loads(line)
            number += 1
    except orjson.JSONDecodeError:
        raise ValueError(f"line {number} is not JSON") from None
    except (BrokenStream, UnreadableFile):
        raise ValueError(f"is damaged or cut off, at line {number} or after it") from None


def _lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of blocks, without their newlines; linear also for a line of many blocks."""
    begun: list[bytes] = []
    for block in blocks:
        *ends, rest = block.split(b"\n")
        for end in ends:
            yield b"".join([*begun, end])
            begun = []
        begun.append(rest)
    if last := b"".join(begun):
        yield last
