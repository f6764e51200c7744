"""Fetching: sources that lie elsewhere become files in `fetched/<source>/`, and from there on are files like others.

Lives here: the one way in (`fetch`, `fetch_all`), secrets from the environment, and the record of what was fetched
when. Keep out: asking a database (`databases`), listing and copying remote files (`remotes`).

The record is `fetched/<source>.json`: beside the folder, so that no glob of a spec takes it for data.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from dataset_pipeline.clock import now
from dataset_pipeline.errors import PipelineError, Problem, SpecError
from dataset_pipeline.spec.places import FETCHED, PLACEHOLDER, Place, is_fetched, local_pattern, split_login
from dataset_pipeline.storage.locks import hold_run_lock, release_run_lock
from dataset_pipeline.storage.readers import UnreadableFile

__all__ = ["Fetched", "Record", "Secrets", "fetch", "fetch_all", "local_pattern"]

RECORD_VERSION = 1
_WHOLE_WORD = 4
"""Shorter secrets are only scrubbed where they stand as words: an `a` is in every message."""
_URL_LOGIN = re.compile(r"(://)[^/@\s]*@")
_URL_QUERY = re.compile(r"([a-z][a-z0-9+.-]*://[^\s?'\"]*)\?[^\s'\"]*", re.IGNORECASE)


@dataclass(frozen=True)
class Fetched:
    """What a fetch did: notes for a person, files written anew, and their bytes."""

    notes: tuple[str, ...] = ()
    files: int = 0
    bytes: int = 0


def fetch(
    root: Path, source: Place, *, refetch: bool = False, days: Collection[Any] = (), where: str = "spec"
) -> Fetched:
    """Bring what `source` names into `fetched/<name>/` below `root`, the spec's folder.

    A source that is local already is left alone. Only what is new or changed is written; where nothing is, no byte
    below `root` changes. refetch: take everything anew. days: days of a query to ask for again, besides those
    that are asked for each time. where: the spec's name, for messages.

    Raises SpecError for what the spec or the environment must mend, UnreadableFile for what failed on the way (a
    server that is down, a file cut short), WarehouseBusy where another process is fetching. No message holds a
    value of the environment or a row's text.
    """
    if not is_fetched(source):
        return Fetched()
    folder = root / FETCHED
    folder.mkdir(exist_ok=True)
    lock = folder / "fetching"
    hold_run_lock(lock)
    secrets = Secrets(f"{where}: source {source.name}")
    try:
        with scrubbed_logs(secrets):
            if source.database is not None:
                from dataset_pipeline.storage.databases import fetch_rows

                return fetch_rows(root, source, secrets, refetch=refetch, days=days)
            from dataset_pipeline.storage.remotes import fetch_files

            return fetch_files(root, source, secrets, refetch=refetch)
    finally:
        release_run_lock(lock)


def fetch_all(root: Path, sources: Iterable[Place], where: str = "spec", *, refetch: bool = False) -> Fetched:
    """`fetch` of every source. Tries them all, then raises every problem at once, as `fetch` would."""
    done: list[Fetched] = []
    errors: list[PipelineError] = []
    for source in sources:
        try:
            done.append(fetch(root, source, refetch=refetch, where=where))
        except (SpecError, UnreadableFile) as error:
            errors.append(error)
    if errors:
        stated = [p for e in errors if isinstance(e, SpecError) for p in e.problems]
        failed = [str(e) for e in errors if not isinstance(e, SpecError)]
        if stated:
            raise SpecError([*stated, *(Problem(*text.split(": ", 1)) for text in failed)])
        raise UnreadableFile("\n".join(failed))
    notes = tuple(note for one in done for note in one.notes)
    return Fetched(notes, sum(one.files for one in done), sum(one.bytes for one in done))


# --- secrets ------------------------------------------------------------------------------


@dataclass
class Secrets:
    """What placeholders stand for, known only while a fetch lasts, and kept out of every message.

    place: begins every message, such as `dataset.yaml: source tickets`.
    """

    place: str
    _values: set[str] = field(default_factory=set, repr=False)

    def expand(self, text: str, how: Callable[[str], str] = str) -> str:
        """`text` with each ${NAME} replaced by what `how` makes of its value.

        Raises SpecError naming every variable that is not set, or empty.
        """
        missing = sorted({name for name in PLACEHOLDER.findall(text) if not os.environ.get(name)})
        if missing:
            names = " and ".join(missing)
            are = "are" if len(missing) > 1 else "is"
            raise self.problem(f"{names} {are} not set in the environment.", "Set it where the command runs.")
        return PLACEHOLDER.sub(lambda found: how(self._known(os.environ[found[1]])), text)

    def expand_url(self, url: str, query: Callable[[str], str] = str) -> str:
        """`expand` of a URL. What stands for its login is quoted; `query` makes of values what stands after the ?."""
        self.expand(url)  # names everything that is missing at once
        scheme, login, rest = split_login(url)
        place, mark, asked = rest.partition("?")
        return scheme + self.expand(login, quoted) + self.expand(place) + mark + self.expand(asked, query)

    def expand_all(self, value: Any) -> Any:
        """A copy of nested options in which every text is expanded."""
        if isinstance(value, Mapping):
            return {key: self.expand_all(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.expand_all(inner) for inner in value]
        return self.expand(value) if isinstance(value, str) else value

    def add(self, value: str | None) -> None:
        """Keep `value` out of messages too: a password that came inside a longer value."""
        if value:
            self._known(value)

    def scrub(self, text: str) -> str:
        """`text` without any secret as it is, quoted for a URL or escaped, without logins and queries of URLs."""
        for value in sorted(self._values, key=lambda v: (-len(v), v)):
            for form in sorted(_forms(value), key=lambda f: (-len(f), f)):
                if len(form) >= _WHOLE_WORD:
                    text = text.replace(form, "***")
                else:
                    text = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", "***", text)
        return _URL_QUERY.sub(r"\1?***", _URL_LOGIN.sub(r"\1***@", text))

    def problem(self, message: str, remedy: str = "") -> SpecError:
        """An error for the spec or its environment to mend."""
        return SpecError([Problem(self.place, self.scrub(message), remedy)])

    def failure(self, message: str, remedy: str = "") -> UnreadableFile:
        """An error of what happened on the way."""
        return UnreadableFile(str(Problem(self.place, self.scrub(message), remedy)))

    def _known(self, value: str) -> str:
        self._values.add(value)
        return value


def quoted(text: str) -> str:
    """`text` as one part of a URL, / and @ quoted too."""
    return quote(text, safe="")


def _forms(value: str) -> set[str]:
    return {
        value,
        quoted(value),
        quote(value),
        quote_plus(value),
        json.dumps(value)[1:-1],
        repr(value)[1:-1],
    }


@contextmanager
def scrubbed_logs(secrets: Secrets) -> Iterator[None]:
    """Libraries log whole URLs on the level DEBUG (fsspec's HTTP does, measured): secrets go out of them too."""
    make = logging.getLogRecordFactory()

    def scrubbed(*args: Any, **more: Any) -> logging.LogRecord:
        record = make(*args, **more)
        record.msg, record.args = secrets.scrub(record.getMessage()), ()
        if record.exc_info:
            record.exc_text = secrets.scrub(logging.Formatter().formatException(record.exc_info))
            record.exc_info = None
        return record

    logging.setLogRecordFactory(scrubbed)
    try:
        yield
    finally:
        logging.setLogRecordFactory(make)


# --- the record ---------------------------------------------------------------------------


@dataclass
class Record:
    """What was fetched of one source: `made_by` (what was asked for) and, for each file, its facts.

    files: path below `fetched/<source>/` to facts, among them sha256, bytes and fetched_at (UTC). dayless: rows of a
    query that had no day when it was last asked for all of them.
    """

    path: Path
    made_by: str = ""
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    dayless: int = 0

    @classmethod
    def read(cls, root: Path, source: str) -> Record:
        """The record of `source`; empty where nothing was fetched. Raises UnreadableFile."""
        path = root / FETCHED / f"{source}.json"
        try:
            data = json.loads(path.read_bytes())
            if data["version"] != RECORD_VERSION:
                raise ValueError
            files = {str(name): dict(facts) for name, facts in data["files"].items()}
            for facts in files.values():
                if not isinstance(facts["sha256"], str) or not isinstance(facts["bytes"], int):
                    raise ValueError
                dt.date.fromisoformat(facts["fetched_at"][:10])
            return cls(path, str(data["made_by"]), files, int(data.get("dayless", 0)))
        except FileNotFoundError:
            return cls(path)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UnreadableFile(
                f"{FETCHED}/{path.name}: is not the record of what was fetched. "
                "Restore it from a copy, or delete it to fetch the source anew."
            ) from None

    def write(self) -> None:
        """Replace the record where it differs from what lies there, whole."""
        data = {
            "version": RECORD_VERSION,
            "made_by": self.made_by,
            "files": self.files,
            "dayless": self.dayless,
        }
        text = (json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
        if self.path.exists() and self.path.read_bytes() == text:
            return
        part = self.path.with_name(f".{self.path.name}.part")
        with part.open("wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.path)

    def has(self, folder: Path, name: str) -> bool:
        """Whether the file lies there with the size it was fetched with."""
        facts, path = self.files.get(name), folder / name
        return facts is not None and path.is_file() and path.stat().st_size == facts["bytes"]


def of_another(secrets: Secrets, source: str, what: str) -> SpecError:
    """The error of a folder whose files were fetched from elsewhere: they are not ours to mix or to delete."""
    return secrets.problem(
        f"{FETCHED}/{source} holds {what}.",
        f"Delete {FETCHED}/{source} and {FETCHED}/{source}.json to fetch anew, or rename the source.",
    )


def timestamp() -> str:
    return now().isoformat(timespec="seconds") + "Z"


@contextmanager
def folder_for(root: Path, source: str, secrets: Secrets) -> Iterator[tuple[Path, Path]]:
    """The source's folder, and a folder beside it for what is under way, gone afterwards.

    Beside, not inside: a file cut short must match no glob. Raises SpecError where a link leads elsewhere.
    """
    folder, part = root / FETCHED / source, root / FETCHED / f".{source}.part"
    for path in (root / FETCHED, folder):
        if path.is_symlink():
            raise secrets.problem(
                f"{path.relative_to(root).as_posix()} is a link.", "Remove it: files are written there."
            )
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield folder, part
    finally:
        shutil.rmtree(part, ignore_errors=True)
