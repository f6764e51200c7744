"""Remote storage through fsspec: opening it, listing what matches a pattern, and errors in words.

Lives here: what is there. Keep out: what of it is fetched, and copying (`remotes`); secrets (`fetching`).
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import unquote

import fsspec

from dataset_pipeline.errors import PipelineError
from dataset_pipeline.spec.places import Place, split_url, without_query
from dataset_pipeline.storage.fetching import Secrets
from dataset_pipeline.storage.readers import UnreadableFile

CONNECT_SECONDS = 10
READ_SECONDS = 60
ATTEMPTS = 3

_FINGERPRINTS = (
    "ETag", "etag", "md5Hash", "content_md5", "Content-MD5", "content_hash", "crc32c", "sha256", "Digest",
)  # fmt: skip
_MOMENTS = ("LastModified", "last_modified", "Last-Modified", "mtime", "modified", "updated", "created")
_PACKAGES = {
    "s3": "dataset-pipeline[s3]", "s3a": "dataset-pipeline[s3]", "http": "aiohttp and requests",
    "https": "aiohttp and requests", "gs": "gcsfs", "gcs": "gcsfs", "sftp": "paramiko", "ssh": "paramiko",
    "abfs": "adlfs", "az": "adlfs", "hf": "huggingface_hub", "smb": "smbprotocol",
}  # fmt: skip


class Passing(UnreadableFile):
    """A failure that trying again may end: the network, or a file cut short."""


@dataclass(frozen=True)
class Remote:
    """One file over there. name: its path below the folder; address: what the file system calls it.

    bytes, fingerprint: None where the storage does not say; then only reading it tells whether it changed.
    """

    name: str
    address: str
    bytes: int | None
    fingerprint: str | None


def file_system(source: Place, secrets: Secrets) -> Any:
    """The file system of the source's URL, with its options, bounded waits, and no memory of earlier ones."""
    scheme = source.path.split("://", 1)[0].lower()
    given = secrets.expand_all(source.storage)
    try:
        cls = fsspec.get_filesystem_class(scheme)
    except ImportError:
        install = (
            f"Install {_PACKAGES[scheme]}."
            if scheme in _PACKAGES
            else "Install the package fsspec names for it."
        )
        raise secrets.problem(f"{scheme}:// needs a package that is not installed.", install) from None
    except ValueError:
        raise secrets.problem(
            f"no storage is called {scheme}://.", "Use one fsspec knows, such as s3://."
        ) from None
    in_url = cls._get_kwargs_from_urls(secrets.expand_url(source.path))
    for key in in_url.keys() & {"password", "username", "user"}:
        # fsspec gives them as they stand in the URL, quoted (measured).
        in_url[key] = unquote(in_url[key])
        secrets.add(in_url[key])
    options: dict[str, Any] = {"skip_instance_cache": True, **in_url, **given}
    if scheme in ("s3", "s3a"):
        # Retries of the inner library multiply with those of s3fs.
        waits = {
            "connect_timeout": CONNECT_SECONDS,
            "read_timeout": READ_SECONDS,
            "retries": {"max_attempts": 1},
        }
        options["config_kwargs"] = {**waits, **given.get("config_kwargs", {})}
    elif scheme in ("http", "https"):
        import aiohttp

        patience = {
            "timeout": aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS)
        }
        options["client_kwargs"] = {**patience, **given.get("client_kwargs", {})}
    elif scheme in ("sftp", "ssh", "ftp"):
        options.setdefault("timeout", CONNECT_SECONDS)
    try:
        system = cls(**options)
    except (TypeError, ValueError):
        raise secrets.problem(f"{scheme}:// does not take these options.", "Mend storage.") from None
    if scheme in ("s3", "s3a"):
        system.retries = ATTEMPTS
    return system


def listed(system: Any, url: str, secrets: Secrets, is_known: bool) -> Iterator[Remote]:
    """The files that match, level by level: only folders that can hold one are looked into.

    is_known: files of it were fetched before, so that a folder or file that is missing now is gone, not misspelled.
    fsspec's own glob leaves out, in silence, what it may not list, and takes a bucket that is missing as empty
    (measured with s3fs).
    """
    folder, rest = split_url(url)
    parts = rest.replace("{date}", "*").split("/")
    is_literal = not any(mark in rest for mark in ("*", "[", "{date}", *(() if is_http(url) else "?")))
    expanded = secrets.expand_url(url if is_literal else folder)
    start = expanded if is_http(url) else system._strip_protocol(expanded)
    try:
        if is_literal:
            yield _remote(rest, start, system.info(start))
            return
        entries = _children(system, start, url)
    except FileNotFoundError as error:
        if is_known and status(error) in (None, 404, 410) and not is_network(error):
            return
        raise
    found = {name: (address, info) for name, address, info in _walk(system, url, parts, entries, "")}
    for name, (address, info) in found.items():
        # Listings of HTTP tell names only.
        yield _remote(name, address, system.info(address) if fingerprint_of(info) is None else info)


def _walk(
    system: Any, url: str, parts: list[str], entries: list[tuple[str, dict[str, Any]]], above: str
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(name below the folder, address, facts) of the files among `entries`, and below, that match `parts`."""
    for name, info in entries:
        here, address = above + name, info["name"].rstrip("/")
        if info["type"] == "directory":
            deeper = _after(parts, name)
            if deeper:
                try:
                    below = _children(system, address, url)
                except FileNotFoundError:  # gone since its parent was listed
                    continue
                for wanted in deeper:
                    yield from _walk(system, url, wanted, below, f"{here}/")
        elif matches([name], parts):
            yield here, address, info


def _after(parts: list[str], folder: str) -> list[list[str]]:
    """What must match below `folder`, in each way it can be part of the pattern."""
    if parts[0] == "**":
        return [parts, *_after(parts[1:], folder)] if len(parts) > 1 else []
    return [parts[1:]] if len(parts) > 1 and fnmatchcase(folder, parts[0]) else []


def matches(names: list[str], parts: list[str]) -> bool:
    """Whether a path matches a pattern, both in parts; ** is any number of folders."""
    if not parts or not names:
        return not parts and not names
    if parts[0] == "**":
        return matches(names, parts[1:]) or (len(names) > 1 and matches(names[1:], parts))
    return fnmatchcase(names[0], parts[0]) and matches(names[1:], parts[1:])


def _children(system: Any, folder: str, url: str) -> list[tuple[str, dict[str, Any]]]:
    """Name and facts of what lies in `folder`. Of a web page, only links to what is below it."""
    of_web = is_http(url)
    address = f"{folder.rstrip('/')}/" if of_web else folder
    found = []
    for info in system.ls(address, detail=True):
        parent, _, name = info["name"].rstrip("/").rpartition("/")
        if of_web:
            name = without_query(f"{parent}/{name}").rpartition("/")[2].partition("#")[0]
            if parent != folder.rstrip("/") or "?" in info["name"] or "#" in info["name"]:
                continue
        if name and parent.strip("/") == folder.strip("/"):
            found.append((name, info))
    return found


def is_http(url: str) -> bool:
    return url.lower().startswith(("http://", "https://"))


def _remote(name: str, address: str, info: dict[str, Any]) -> Remote:
    size = info.get("size")
    return Remote(name, address, int(size) if size is not None else None, fingerprint_of(info))


def fingerprint_of(info: dict[str, Any]) -> str | None:
    """A hash that the storage tells, else size and time of change; None where it tells neither.

    `ukey` of fsspec will not do: for HTTP it says that nothing ever changes.
    """
    found = next((f"{key}:{info[key]}" for key in _FINGERPRINTS if info.get(key)), None)
    if found is None:
        found = next((f"{info.get('size')}:{key}:{info[key]}" for key in _MOMENTS if info.get(key)), None)
    return found


# --- errors in words ----------------------------------------------------------------------

_LOCAL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""What is wrong with our own disk, not with what is read."""
_OURS = (AssertionError, AttributeError, LookupError, NameError, TypeError, MemoryError)


@contextmanager
def in_words(url: str, secrets: Secrets, name: str = "") -> Iterator[None]:
    """Turns what file systems raise into an error that says what to do. name: the file under way."""
    try:
        yield
    except (PipelineError, *_OURS):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _LOCAL:
            raise
        place = f"{url} ({ascii(name)[1:-1]})" if name else url
        raise _explained(error, place, secrets) from None


def _explained(error: Exception, place: str, secrets: Secrets) -> PipelineError:
    code, kind = status(error), type(error).__name__
    place = without_query(place)
    if (
        isinstance(error, PermissionError)
        or code in (401, 403)
        or kind in ("NoCredentialsError", "PartialCredentialsError")
    ):
        return secrets.problem(
            f"{place}: access is refused.", "Check the credentials (storage) and their rights."
        )
    if isinstance(error, FileNotFoundError) and (code in (None, 404, 410)) and not is_network(error):
        return secrets.problem(f"{place}: there is no such bucket, folder or file.", "Mend path.")
    if is_network(error):
        return Passing(str(secrets.failure(f"{place}: cannot be reached, or broke off ({kind}).", "Check host and network, then run again.")))  # fmt: skip
    shown_status = f"status {code}" if code else kind
    words = secrets.scrub(" ".join(str(error).split()))[:200]
    return Passing(
        str(secrets.failure(f"{place}: cannot be read ({shown_status}: {words}).", "Run again later."))
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    here: BaseException | None = error
    while here is not None and id(here) not in seen:
        seen.add(id(here))
        yield here
        here = here.__cause__ or here.__context__


def status(error: BaseException) -> int | None:
    """The HTTP status somewhere below an error: fsspec calls every failed request a missing file (measured)."""
    found = (getattr(e, "status", None) for e in _chain(error))
    return next((code for code in found if isinstance(code, int)), None)


def is_network(error: BaseException) -> bool:
    kinds = ("Connect", "Timeout", "Payload", "Disconnected", "gaierror", "IncompleteRead", "SSL")
    return any(
        isinstance(e, ConnectionError | TimeoutError) or any(k in type(e).__name__ for k in kinds)
        for e in _chain(error)
    )
