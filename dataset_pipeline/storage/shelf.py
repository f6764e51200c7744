"""One folder on storage that fsspec reaches: listing, reading, writing and removing its files, with errors in words.

Lives here: `Shelf` and the place it stands at. Keep out: the order of publishing (`shipping`), opening storage and what its
errors mean (`remote_listing`), secrets (`fetching`).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Any, TypeVar

from dataset_pipeline.errors import PipelineError
from dataset_pipeline.spec.places import Database, without_login
from dataset_pipeline.storage.fetching import Secrets
from dataset_pipeline.storage.remote_listing import (
    ATTEMPTS,
    Passing,
    file_system,
    in_words,
    is_http,
    is_network,
    status,
)

BLOCK_BYTES = 8 * 2**20
"""Read and sent at once; S3 wants parts of 5 MB or more, and takes 10,000 of them."""
MAX_MANIFEST_BYTES = 256 * 2**20
_BUCKETS = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci"})
"""Where folders are only parts of names, and the first part is a bucket that must be there."""

_T = TypeVar("_T")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Destination:
    """A URL and the options of its storage, as a source of the spec has them (`spec.places.Place`)."""

    path: str
    storage: dict[str, Any] = field(default_factory=dict)
    name: str = "target"
    database: Database | None = None
    collected_at: dt.date | None = None


class Changed(PipelineError):
    """A local file is not what the manifest says any more."""


class Shelf:
    """A folder on storage, by name below `target`; every method raises errors in words, without secrets."""

    def __init__(self, target: Destination, secrets: Secrets, name: str = "", system: Any = None):
        self.target, self.secrets, self.name = target, secrets, name
        with in_words(target.path, secrets):
            self.system = system or file_system(target, secrets)
            expanded = secrets.expand_url(target.path)
            self._root = expanded if is_http(target.path) else self.system._strip_protocol(expanded)
        self._root = self._root.rstrip("/") if self._root.strip("/") else ""
        self.has_folders = target.path.split("://", 1)[0].lower() not in _BUCKETS
        self.can_list = not is_http(target.path)

    def below(self, name: str) -> Shelf:
        return Shelf(self.target, self.secrets, name, self.system)

    @property
    def where(self) -> str:
        return without_login(self.target.path).rstrip("/") + (f"/{self.name}" if self.name else "")

    def address(self, path: str = "") -> str:
        return "/".join(part for part in (self._root or "", self.name, path) if part or part is self._root)

    def around(self, name: str) -> str | None:
        """The address of a file `name` in this folder or one above it; None where none is seen, or may be."""
        with in_words(self.target.path, self.secrets, self.name):
            self.system.invalidate_cache()
        lead = "/" * self.address().startswith("/")
        parts = self.address().strip("/").split("/")
        here = [lead + "/".join([*parts[:n], name]) for n in range(len(parts), 0, -1)]
        # Folders above may be closed to us: what cannot be looked at is none of ours to judge.
        return next((path for path in here if self.system.isfile(path)), None)

    def check(self) -> None:
        """Raises SpecError where the bucket is not there: storage would be made in silence, or looks empty."""
        if not self.has_folders:
            with in_words(self.target.path, self.secrets):
                self.system.invalidate_cache()
                self.system.info(self._root.lstrip("/").split("/")[0])

    def listed(self) -> dict[str, int]:
        """Path below the folder to size of every file in it; nothing where there is no folder."""
        with in_words(self.target.path, self.secrets, self.name):
            self.system.invalidate_cache()
            base = self.address()
            try:
                found = self.system.find(base, detail=True)
            except FileNotFoundError as error:
                if not _is_gone(error):
                    raise
                return {}
            names = {name.strip("/").removeprefix(base.strip("/")).strip("/"): i for name, i in found.items()}
            return {name: int(i.get("size") or 0) for name, i in names.items() if name}

    def blocks(self, path: str) -> Iterator[bytes]:
        """The bytes of a file, in blocks. Raises FileNotFoundError where there is none."""
        gone = False
        with in_words(self.target.path, self.secrets, self._shown(path)):
            try:
                self.system.invalidate_cache()
                # A web server need not give ranges: 0 reads it as one stream.
                size = BLOCK_BYTES if self.can_list else 0
                more = {"cache_type": "readahead"} if self.can_list else {}
                with self.system.open(self.address(path), "rb", block_size=size, **more) as stream:
                    while block := stream.read(BLOCK_BYTES):
                        yield block
            except FileNotFoundError as error:
                if not _is_gone(error):
                    raise
                gone = True
        if gone:
            raise FileNotFoundError(path)

    def read(self, path: str) -> bytes | None:
        """A small file whole; None where there is none, or it is no small one."""
        data = bytearray()
        with suppress(FileNotFoundError):
            for block in self.blocks(path):
                data += block
                if len(data) > MAX_MANIFEST_BYTES:
                    return None
            return bytes(data)
        return None

    def seal(self, path: str, note: Say = lambda _: None) -> tuple[str, int, int] | None:
        """sha256, bytes and line ends of a file, read anew; None where there is none."""
        return _trying(lambda: self._seal(path, note))

    def _seal(self, path: str, note: Say) -> tuple[str, int, int] | None:
        digest, size, lines = hashlib.sha256(), 0, 0
        try:
            for block in self.blocks(path):
                digest.update(block)
                size += len(block)
                lines += block.count(b"\n")
                note(megabytes(size))
        except FileNotFoundError:
            return None
        return digest.hexdigest(), size, lines

    def write(
        self,
        path: str,
        source: Callable[[], IO[bytes]],
        note: Say = lambda _: None,
        sha256: str | None = None,
    ) -> None:
        """Write a file in blocks and read it back. Tries again where the network fails, or other bytes came out.

        sha256: what the source has to be; a source of other bytes was changed, and is an error at once.
        """
        _trying(lambda: self._write(path, source, note, sha256))

    def _write(self, path: str, source: Callable[[], IO[bytes]], note: Say, sha256: str | None) -> None:
        digest, size = hashlib.sha256(), 0
        address = self.address(path)
        with in_words(self.target.path, self.secrets, self._shown(path)), source() as local:
            if self.has_folders:
                self.system.makedirs(address.rpartition("/")[0], exist_ok=True)
            stream = self.system.open(address, "wb", block_size=BLOCK_BYTES)
            try:
                while block := local.read(BLOCK_BYTES):
                    stream.write(block)
                    digest.update(block)
                    size += len(block)
                    note(megabytes(size))
                if sha256 is not None and digest.hexdigest() != sha256:
                    raise self._changed(path)
            except BaseException:
                # close() would keep the beginning as if it were the whole.
                with suppress(Exception):
                    stream.discard()
                    stream.closed = True
                raise
            stream.close()
        came_out = self._seal(path, note)
        if came_out is None or came_out[:2] != (digest.hexdigest(), size):
            name = f"{self.where}/{path}"
            raise Passing(
                str(self.secrets.failure(f"{name}: other bytes came out than went in.", "Run again."))
            )

    def _changed(self, path: str) -> Changed:
        what = f"{self._shown(path)}: was changed while it was published, after it had been verified."
        return Changed(
            str(self.secrets.failure(what, "Leave the release alone; `verify` it, then publish again."))
        )

    def remove(self, path: str) -> None:
        with (
            in_words(self.target.path, self.secrets, self._shown(path)),
            suppress(FileNotFoundError),
        ):
            self.system.rm_file(self.address(path))

    def _shown(self, path: str) -> str:
        return f"{self.name}/{path}" if self.name else path


def _is_gone(error: BaseException) -> bool:
    """Whether a file is not there: fsspec calls every failed request of HTTP a missing file."""
    return status(error) in (None, 404, 410) and not is_network(error)


def _trying(do: Callable[[], _T]) -> _T:
    for attempt in range(1, ATTEMPTS):
        try:
            return do()
        except Passing:
            time.sleep(0.2 * attempt)
    return do()


def megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"
