"""The cache of costly per-text work: a DuckDB file that may be deleted at any time.

Lives here: remembering the rows of a `memo` by the hash of their text. Keep out: what is computed.
No primary key: writing a million rows takes 0.5 s without one and 2.5 s with (measured); a key
that was written twice is read once. The texts themselves are not stored.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import duckdb
import polars as pl

from dataset_pipeline.memo import Compute, aligned
from dataset_pipeline.storage.schema import sql_type

_KEY = "text_key"


class Cache:
    """A memo kept in the file at `path`.

    libraries: name and version of what computes; other versions are other entries. A file that is
    held by another process or damaged is not used: the work is done, only not spared.
    """

    def __init__(self, path: Path, libraries: Mapping[str, str]):
        self.path = path
        self.libraries = ",".join(f"{name}={version}" for name, version in sorted(libraries.items()))

    def __call__(
        self, function: str, version: int, settings: str, texts: pl.Series, compute: Compute
    ) -> pl.DataFrame:
        distinct = texts.drop_nulls().unique().sort()
        digest = hashlib.sha256(f"{version}\x1f{settings}\x1f{self.libraries}".encode()).hexdigest()[:16]
        table = f"{function}_{digest}"
        keys = pl.Series(_KEY, [_key(text) for text in distinct], dtype=pl.String)
        known = self._read(table, keys)
        if known is None:
            rows = compute(distinct)
            self._write(table, pl.concat([keys.to_frame(), rows], how="horizontal"))
            return aligned(texts, distinct, rows)
        is_new = ~keys.is_in(known[_KEY].implode())
        fresh = compute(distinct.filter(is_new))
        self._write(table, pl.concat([keys.filter(is_new).to_frame(), fresh], how="horizontal"))
        both = pl.concat([known.select(fresh.columns).cast(dict(fresh.schema)), fresh])  # type: ignore[arg-type]
        order = pl.concat([known[_KEY], keys.filter(is_new)]).to_frame()
        laid = keys.to_frame().join(
            pl.concat([order, both], how="horizontal"), on=_KEY, how="left", maintain_order="left"
        )
        return aligned(texts, distinct, laid.select(fresh.columns))

    def _read(self, table: str, keys: pl.Series) -> pl.DataFrame | None:
        """Remembered rows of `keys`, each key once; None where there is no such table."""
        if not self.path.exists():
            return None
        with _forgiving(self.path), duckdb.connect(str(self.path), read_only=True) as connection:
            if not connection.execute(
                "SELECT 1 FROM duckdb_tables() WHERE table_name = ?", [table]
            ).fetchall():
                return None
            connection.register("wanted", keys.to_frame().to_arrow())
            found = connection.sql(
                f'SELECT c.* FROM "{table}" c SEMI JOIN wanted USING ({_KEY})'
            ).to_arrow_table()
            frame = pl.from_arrow(found)
            assert isinstance(frame, pl.DataFrame)
            return frame.unique(_KEY, keep="any", maintain_order=True)
        return None

    def _write(self, table: str, rows: pl.DataFrame) -> None:
        if rows.height == 0:
            return
        with _forgiving(self.path), duckdb.connect(str(self.path)) as connection:
            columns = ", ".join(f'"{name}" {sql_type(dtype)}' for name, dtype in rows.schema.items())
            connection.execute(f'CREATE TABLE IF NOT EXISTS "{table}" ({columns})')
            connection.register("incoming", rows.to_arrow())
            connection.execute(f'INSERT INTO "{table}" BY NAME SELECT * FROM incoming')


def _key(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


@contextlib.contextmanager
def _forgiving(path: Path) -> Iterator[None]:
    """A cache must never fail a run: what is held is left alone, what is damaged is thrown away."""
    try:
        yield
    except duckdb.IOException as error:
        if "lock" not in str(error).lower():
            _discard(path)
    except duckdb.Error:
        _discard(path)


def _discard(path: Path) -> None:
    for file in (path, path.with_name(path.name + ".wal")):
        file.unlink(missing_ok=True)
