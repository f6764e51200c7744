"""What a spec names that lies outside of it and decides what a step does: models on disk, a key in the environment.

Lives here: what tells them apart, so that a step is stale when one changes. Keep out: opening models, what is done with them. Nothing
here raises: what is missing counts as such, and who opens it says so.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterable
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

MIN_KEY_BYTES = 16
"""128 bits: a shorter key of pseudonyms could be found by trying."""
_KEY_ID = b"dataset_pipeline: id of a pseudonym key"


def secret_of(variable: str) -> bytes | None:
    """The key of pseudonyms in the environment; None where there is none, or it is too short."""
    secret = os.environ.get(variable, "").strip().encode("utf-8", "surrogateescape")
    return secret if len(secret) >= MIN_KEY_BYTES else None


def key_id(secret: bytes | None) -> str:
    """Eight hex digits that tell keys apart, and from which no key can be found."""
    return hmac.new(secret, _KEY_ID, hashlib.sha256).hexdigest()[:8] if secret else "none"


def is_folder(root: Path, model: str) -> bool:
    """Whether a model is named by its folder beside the spec, not by an installed package."""
    return "/" in model or (root / model).is_dir()


def identity_of_model(root: Path, model: str) -> str:
    """A folder: a hash over its files. A package: its name and version."""
    if is_folder(root, model):
        return identity_of_folder(root / model)
    try:
        return f"{model} {version(model)}"
    except PackageNotFoundError:
        return f"{model} none"


def identity_of_folder(folder: Path) -> str:
    """Hex SHA-256 over the names and contents of a folder's files, hidden ones apart. Files that stay as they are are read once."""
    try:
        files = sorted(
            path
            for path in folder.rglob("*")
            if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        )
        stats = [path.stat() for path in files]
    except OSError as error:
        return type(error).__name__
    return _hash(
        folder, tuple((path, s.st_size, s.st_mtime_ns) for path, s in zip(files, stats, strict=True))
    )


@lru_cache(maxsize=8)
def _hash(folder: Path, files: tuple[tuple[Path, int, int], ...]) -> str:
    digest = hashlib.sha256()
    add_files(digest, ((path.relative_to(folder).as_posix(), path) for path, _, _ in files))
    return digest.hexdigest()


def add_files(digest: Any, files: Iterable[tuple[str, Path]]) -> None:
    """Names and contents of files, in the order given, into a hash; one that cannot be read counts as what hinders it."""
    for name, path in files:
        digest.update(f"\x1f{name}\x1f".encode("utf-8", "surrogatepass"))
        try:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            digest.update(type(error).__name__.encode())
