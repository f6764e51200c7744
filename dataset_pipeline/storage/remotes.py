"""Fetching files from other storage: S3, HTTP and whatever else fsspec reaches, by the pattern of a source.

Lives here: comparing with the record, names that files can keep here, and copying. Keep out: what is there (`remote_listing`), secrets and the record
itself (`fetching`), what the files hold (`readers`).

A file that is gone over there stays here, with a note: it was training data, and its loss should be somebody's
decision. Delete the local file, or the folder, to let it go.
"""

from __future__ import annotations

import hashlib
import os
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dataset_pipeline.progress import REPORTER
from dataset_pipeline.spec.places import (
    FETCHED,
    Place,
    local_pattern,
    split_url,
    without_login,
    without_query,
)
from dataset_pipeline.storage.fetching import Fetched, Record, Secrets, folder_for, of_another, timestamp
from dataset_pipeline.storage.remote_listing import (
    ATTEMPTS,
    Passing,
    Remote,
    file_system,
    fingerprint_of,
    in_words,
    is_http,
    listed,
    matches,
)

BLOCK_BYTES = 4 * 2**20
MAX_NAME_BYTES = 240
MAX_NAMES_SHOWN = 5
RECORD_SECONDS = 10.0
"""How often the record is kept while files come in: what is in it is not fetched again after a crash."""


def fetch_files(root: Path, source: Place, secrets: Secrets, *, refetch: bool) -> Fetched:
    """What `fetching.fetch` does for a URL."""
    record = Record.read(root, source.name)
    place = without_login(split_url(source.path)[0])
    # Records of earlier versions hold logins: they are known again, and lose them.
    if record.files and without_login(record.made_by) != place:
        was = record.made_by if "://" in record.made_by else "a query"
        raise of_another(secrets, source.name, f"files of another place ({was})")
    REPORTER.get().phase(f"fetching {source.name}", "listing")
    with in_words(source.path, secrets):
        system = file_system(source, secrets)
        there = sorted(listed(system, source.path, secrets, bool(record.files)), key=lambda r: r.name)
    check_names([remote.name for remote in there], secrets)
    with folder_for(root, source.name, secrets) as (folder, part):
        todo = [r for r in there if refetch or not _is_here(record, folder, r)]
        record.made_by = place
        for facts in record.files.values():
            facts["url"] = without_login(facts.get("url", ""))
        try:
            written, total = _copy_all(system, source, todo, record, folder, part, secrets)
        finally:
            if record.files:
                record.write()
    return Fetched(tuple(_gone(record, source, there)), written, total)


def _gone(record: Record, source: Place, there: list[Remote]) -> Iterator[str]:
    """A note on files of the pattern that are only here any more."""
    names, pattern = {remote.name for remote in there}, local_pattern(source)
    wanted = pattern.removeprefix(f"{FETCHED}/{source.name}/").replace("{date}", "*").split("/")
    gone = sorted(n for n in record.files if n not in names and matches(n.split("/"), wanted))
    if gone:
        shown = ", ".join(gone[:MAX_NAMES_SHOWN]) + (", …" if len(gone) > MAX_NAMES_SHOWN else "")
        what = "1 file is" if len(gone) == 1 else f"{len(gone)} files are"
        yield f"{source.name}: {what} gone over there and kept here: {shown}. Delete what shall go."


def _is_here(record: Record, folder: Path, remote: Remote) -> bool:
    facts = record.files.get(remote.name)
    if facts is None or remote.fingerprint is None or not record.has(folder, remote.name):
        return False
    return bool(facts.get("fingerprint") == remote.fingerprint and remote.bytes in (None, facts["bytes"]))


# --- names --------------------------------------------------------------------------------


def check_names(names: list[str], secrets: Secrets) -> None:
    """Raises SpecError where a name cannot be one of a local file, or two would be one."""
    bad = [name for name in names if not _is_plain(name)]
    if bad:
        raise secrets.problem(
            f"{len(bad)} names cannot be kept as files here ({shown(bad)}): .., control characters, a backslash, "
            "an empty or an overlong part.",
            "Rename them, or narrow the pattern.",
        )
    owners: dict[str, str] = {}
    for name in names:
        key = _folded(name)
        if owners.setdefault(key, name) != name:
            raise secrets.problem(
                f"two names differ in case or spelling of accents only ({shown([owners[key], name])}).",
                "Rename one: not every disk tells them apart.",
            )
    folders = {"/".join(key.split("/")[:n]) for key in owners for n in range(1, key.count("/") + 1)}
    if both := sorted(owners[key] for key in folders & owners.keys()):
        raise secrets.problem(f"a file and a folder have one name ({shown(both)}).", "Rename one.")


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _is_plain(name: str) -> bool:
    if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c == "\\" for c in name):
        return False
    return all(p not in ("", ".", "..") and len(p.encode()) <= MAX_NAME_BYTES for p in name.split("/"))


def shown(names: list[str]) -> str:
    more = ", …" if len(names) > MAX_NAMES_SHOWN else ""
    return ", ".join(ascii(name)[:80] for name in names[:MAX_NAMES_SHOWN]) + more


# --- copying ------------------------------------------------------------------------------


def _copy_all(
    system: Any, source: Place, todo: list[Remote], record: Record, folder: Path, part: Path, secrets: Secrets
) -> tuple[int, int]:
    """Files and bytes written. What came whole stays when a later one fails."""
    written = total = 0
    kept_at = time.monotonic()
    for number, remote in enumerate(todo, 1):
        REPORTER.get().phase(f"fetching {source.name}", f"{number} of {len(todo)} files")
        sha256, size = _copied(system, source, remote, part / "file", secrets)
        facts = {
            "url": f"{record.made_by}/{remote.name}", "bytes": size, "fingerprint": remote.fingerprint, "sha256": sha256,
        }  # fmt: skip
        before = record.files.get(remote.name, {})
        is_same = record.has(folder, remote.name) and before.get("sha256") == sha256
        if not is_same:
            target = folder / remote.name
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.parent.resolve().is_relative_to(folder.resolve()):
                raise secrets.problem(
                    f"{FETCHED}/{source.name} holds a link that leads elsewhere.", "Remove it."
                )
            (part / "file").replace(target)
            written, total = written + 1, total + size
        record.files[remote.name] = facts | {"fetched_at": before["fetched_at"] if is_same else timestamp()}
        if time.monotonic() - kept_at > RECORD_SECONDS:
            record.write()
            kept_at = time.monotonic()
    return written, total


def _copied(system: Any, source: Place, remote: Remote, path: Path, secrets: Secrets) -> tuple[str, int]:
    """Copy one file to `path`, whole. Returns its hash and size. Tries again where the network fails."""
    for attempt in range(1, ATTEMPTS):
        try:
            return _copied_once(system, source, remote, path, secrets)
        except Passing:
            time.sleep(0.2 * attempt)
    return _copied_once(system, source, remote, path, secrets)


def _copied_once(system: Any, source: Place, remote: Remote, path: Path, secrets: Secrets) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    # A web server need not give ranges: 0 reads it as one stream.
    block_size = 0 if is_http(source.path) else BLOCK_BYTES
    with in_words(source.path, secrets, remote.name):
        with system.open(remote.address, "rb", block_size=block_size) as stream, path.open("wb") as file:
            while block := stream.read(BLOCK_BYTES):
                size += len(block)
                if remote.bytes is not None and size > remote.bytes:
                    break
                digest.update(block)
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        name = f"{without_query(source.path)} ({ascii(remote.name)[1:-1]})"
        if remote.bytes is not None and size != remote.bytes:
            found = f"more than {remote.bytes}" if size > remote.bytes else f"{size} of {remote.bytes}"
            raise Passing(
                str(secrets.failure(f"{name}: {found} bytes came.", "Run again; is it still being written?"))
            )
        if size > BLOCK_BYTES and remote.fingerprint is not None:
            system.invalidate_cache()
            if fingerprint_of(system.info(remote.address)) != remote.fingerprint:
                raise Passing(str(secrets.failure(f"{name}: changed while it was read.", "Run again.")))
    return digest.hexdigest(), size
