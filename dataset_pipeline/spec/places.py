"""Sources that are not files of the project: a database query, or a path on other storage.

Lives here: what a spec may say about them, which local files they become, and what is wrong with them without
asking anybody. Keep out: the environment and the network (`storage.fetching`).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from typing import Annotated, Any, Protocol
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field

FETCHED = "fetched"
"""The folder beside the spec that holds what was fetched, one folder a source."""
WHOLE = "rows.jsonl.gz"
"""The one file of a query without a day column."""
SCHEMES = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")
PLACEHOLDER = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")

_CREDENTIAL = re.compile(
    r"key|secret|token|password|passwd|passphrase|pwd|credential|signature|^sig$|^sas|auth|connection_string|cookie",
    re.IGNORECASE,
)
_NO_CREDENTIAL = re.compile(
    r"(_file|_filename|_path|_url|_id_field|-algorithm|-signedheaders)$", re.IGNORECASE
)
_NAMED_LOGINS = frozenset({"anon", "browser", "cache", "cloud", "google_default"})
"""Values of gcsfs' `token` that name a way to log in and are no secret."""
_WHOLLY = re.compile(rf"(?:{PLACEHOLDER.pattern})+")
_WHOLE_LOGIN = re.compile(rf"(?:{_WHOLLY.pattern})?(?::(?:{_WHOLLY.pattern})?)?@?")
_PLAIN_USER = re.compile(r"[\w.;%+-]+@")
_USER_SCHEMES = frozenset({"sftp", "ssh", "ftp", "ftps", "smb", "hdfs", "webhdfs"})
"""Where a name alone logs nobody in; over HTTP and the like it may be a token."""
_CONTAINER_SCHEMES = frozenset({"abfs", "abfss", "az", "wasb", "wasbs"})
"""Azure's, in which a container stands before the @, and no login."""
_DATABASE_PASSWORD = re.compile(r"[^:/]+://[^:/]*:(?P<password>[^/?]*|[^@]*)@")
"""SQLAlchemy takes a slash in a password, and ends it at the first @: what follows up to the path is part of it too."""
_CUT_LOGIN = re.compile(rf":(?!\d*$|{PLACEHOLDER.pattern}$)[^\]]*$")
"""The end of a host that is no port: a login with a slash in it, if an @ follows."""
_SENT = re.compile(r"(?:^|[_-])(?:headers?|cookies?)$", re.IGNORECASE)
"""Keys of what goes along with each request; any of it may let somebody in."""
_WRITE = "Write ${NAME} in its place and set NAME in the environment."
_HARMLESS_HEADERS = frozenset({"accept", "accept-language", "user-agent", "range"})
_SENT_VALUE = re.compile(rf"(?:[A-Za-z][\w-]{{0,15}}[ =])?(?:{_WHOLLY.pattern})")
"""${NAME}, or a word before it: Bearer ${NAME}, session=${NAME}."""
_PASSWORD_KEY = re.compile(r"passw|passphrase|pwd|secret", re.IGNORECASE)
_WILDCARDS = ("*", "[", "{date}")


class Database(BaseModel):
    """Rows that a query gives. They are fetched into one file a day, and read from there."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    url: Annotated[str, Field(min_length=1)] = Field(
        description="SQLAlchemy URL; user and password as ${NAME} from the environment."
    )
    query: Annotated[str, Field(min_length=1)] = Field(
        description="One statement that begins with SELECT or WITH."
    )
    day: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="Column whose date in UTC is the collection day. Without one, the source needs collected_at.",
    )
    refresh_days: Annotated[int, Field(ge=0)] = Field(
        1, description="Days before the last fetched one that are asked for again each time: late rows."
    )


class Place(Protocol):
    """What is needed of a source to know where its rows come from."""

    @property
    def name(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def database(self) -> Database | None: ...
    @property
    def storage(self) -> dict[str, Any]: ...
    @property
    def collected_at(self) -> dt.date | None: ...


def is_remote(path: str) -> bool:
    """Whether `path` is a URL of some storage, not a file below the spec's folder."""
    return SCHEMES.match(path) is not None


def is_fetched(source: Place) -> bool:
    """Whether the source's files are fetched before they can be read."""
    return source.database is not None or is_remote(source.path)


def local_pattern(source: Place) -> str:
    """The path below the spec's folder under which the source's files lie, with `{date}` and globs.

    s3://bucket/crawl/{date}/*.gz of the source `crawl` is fetched/crawl/{date}/*.gz; a query with a day column
    is fetched/NAME/{date}.jsonl.gz. A path that is local already stays as it is.
    """
    if source.database is not None:
        name = "{date}.jsonl.gz" if source.database.day is not None else WHOLE
        return f"{FETCHED}/{source.name}/{name}"
    return f"{FETCHED}/{source.name}/{split_url(source.path)[1]}" if is_remote(source.path) else source.path


def split_url(url: str) -> tuple[str, str]:
    """The folder of a URL that holds no wildcard, and what follows it. A query (`?…`) of http belongs to neither."""
    scheme = url.split("://", 1)[0]
    parts = without_query(url).split("://", 1)[1].split("/")
    # The first part is a bucket or a host: it is never searched for, and [::1] is no glob.
    first = next((n for n, part in enumerate(parts) if n and _is_glob(scheme, part)), len(parts) - 1)
    return f"{scheme}://{'/'.join(parts[:first])}", "/".join(parts[first:])


def without_query(url: str) -> str:
    """`url` without `?…` where the scheme has queries; elsewhere a question mark is a wildcard."""
    return url.split("?", 1)[0] if url.lower().startswith(("http://", "https://")) else url


def split_login(url: str) -> tuple[str, str, str]:
    """`scheme://`, the login with its @ (empty where there is none), and the rest. No URL is all rest."""
    found = SCHEMES.match(url)
    if found is None:
        return "", "", url
    host, slash, path = url[found.end() :].partition("/")
    login, at, host = host.rpartition("@")
    return found[0], login + at, host + slash + path


def without_login(url: str) -> str:
    """`url` as it may be kept on disk: without user and password. A container of Azure's is none and stays."""
    scheme, _, rest = split_login(url)
    return url if _scheme(url) in _CONTAINER_SCHEMES else scheme + rest


def place_problems(source: Place) -> Iterator[tuple[str, str, str]]:
    """(key, message, remedy) of each thing wrong with where the source is said to be; no value is repeated."""
    if source.database is not None:
        if source.path:
            yield "path", "stands beside database.", "Keep one: a source is a query or files."
        yield from _database_problems(source.database)
    elif not source.path:
        yield "path", "is missing.", "Name the files (path), or a query (database)."
    elif is_remote(source.path):
        yield from _url_problems("path", source.path)
        yield from _path_problems(source.path)
    if source.storage and not is_remote(source.path):
        yield "storage", "belongs to a path that is a URL, such as s3://bucket/folder/*.jsonl.", "Remove it."
    for keys, value in _leaves(source.storage):
        key = ".".join(("storage", *keys))
        if _is_literal_sent(keys, value) or _is_literal_secret(keys[-1], value):
            yield key, "is a credential written out.", _WRITE
        if isinstance(value, str) and is_remote(value):
            yield from _url_problems(key, value)
        else:
            yield from _placeholder_problems(key, value)


def _database_problems(database: Database) -> Iterator[tuple[str, str, str]]:
    yield from _url_problems("database.url", database.url)
    if not is_remote(database.url) and not PLACEHOLDER.fullmatch(database.url):
        yield "database.url", "is no database URL.", "Write for example postgresql+pg8000://HOST/DATABASE."
    if reason := query_problem(database.query):
        yield "database.query", reason, "Give one statement that begins with SELECT or WITH."


def _url_problems(key: str, url: str) -> Iterator[tuple[str, str, str]]:
    if key == "database.url":
        found = _DATABASE_PASSWORD.match(url)
        if found and found["password"] and not _WHOLLY.fullmatch(found["password"]):
            yield key, "holds a password written out, in whole or in part.", _WRITE
    elif _has_literal_login(url):
        yield (
            key,
            "holds a user, token or password written out before the @, in whole or in part.",
            "Write ${NAME} or ${NAME}:${NAME} in its place and set them in the environment.",
        )
    for name, value in parse_qsl(url.partition("?")[2]):
        if _is_literal_secret(name, value, is_url=True):
            yield key, f"holds a credential written out ({name}).", _WRITE
    yield from _placeholder_problems(key, url)


def _path_problems(path: str) -> Iterator[tuple[str, str, str]]:
    scheme, rest = path.split("://", 1)
    parts = rest.split("/")
    if "::" in path.replace("[::", "["):
        yield "path", "chains several kinds of storage (::).", "Name one."
    if scheme.lower() in ("file", "local") and not rest.startswith("/"):
        yield (
            "path",
            "of file:// is not absolute.",
            "Write file:///folder/…, or a path relative to the spec without file://.",
        )
    if len(parts) < 2 or not without_query(path).split("://", 1)[1].partition("/")[2]:
        yield "path", "names no file.", "Write scheme://bucket/folder/file, globs allowed."
        return
    if any(mark in parts[0] for mark in ("*", "{date}")):
        yield (
            "path",
            "has a wildcard in the name of the bucket or host.",
            "Name it; give each its own source.",
        )
    followed = split_url(path)[1]
    if without_query(path) != path and any(mark in followed for mark in _WILDCARDS):
        yield "path", "has both a query (?…) and wildcards.", "Keep one."
    if PLACEHOLDER.search(followed):
        yield "path", "has a placeholder in the names of files.", "Keep them before the first wildcard."
    bad = [part for part in without_query(path).split("://", 1)[1].split("/")[1:] if part in ("", ".", "..")]
    if bad or "\\" in path or any(ord(c) < 32 for c in path):
        yield (
            "path",
            "holds an empty part, `.`, `..`, a backslash or a control character.",
            "Write the folder's plain path.",
        )
    if followed.endswith("**"):
        yield "path", "ends in **, which names folders.", "Write **/* for the files below."


def query_problem(query: str) -> str | None:
    """Why `query` is not one statement that reads, or None."""
    bare = _QUOTED.sub(" ", query).strip()
    if not re.match(r"(select|with)\b", bare.lstrip("( \n"), re.IGNORECASE):
        return "does not begin with SELECT or WITH."
    body = bare.removesuffix(";")
    # A backslash may or may not quote the quote that follows it: databases differ, so none is believed.
    if ";" in body or ("\\" in query and ";" in query.strip().removesuffix(";")):
        return "holds more than one statement (or a ; that could end one)."
    if body.count("(") != body.count(")"):
        return "has a parenthesis too many or too few."
    return None


_QUOTED = re.compile(
    r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|--[^\n]*|/\*.*?\*/|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$",
    re.DOTALL,
)
"""Text, names and comments of SQL, in which a semicolon ends nothing."""


def _is_glob(scheme: str, part: str) -> bool:
    marks = _WILDCARDS if scheme.lower() in ("http", "https") else (*_WILDCARDS, "?")
    return any(mark in part for mark in marks)


def _scheme(url: str) -> str:
    return url.partition("://")[0].lower()


def _leaves(value: Any, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value that holds no others, with the keys that lead to it; items of a list share its key."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, (*keys, str(key)))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _leaves(inner, keys)
    else:
        yield keys, value


def _has_literal_login(url: str) -> bool:
    _, login, rest = split_login(url)
    host, _, path = rest.partition("/")
    if not login:
        return "@" in path and _CUT_LOGIN.search(host) is not None
    if _scheme(url) in _USER_SCHEMES | _CONTAINER_SCHEMES and _PLAIN_USER.fullmatch(login):
        return False
    return _WHOLE_LOGIN.fullmatch(login) is None


def _is_literal_sent(keys: tuple[str, ...], value: Any) -> bool:
    """Whether a header or cookie is written out: a name such as X-Access does not tell whether it is a secret."""
    if value is None or isinstance(value, bool) or value == "":
        return False
    if not any(_SENT.search(key) for key in keys) or keys[-1].lower() in _HARMLESS_HEADERS:
        return False
    return _SENT_VALUE.fullmatch(str(value)) is None


def _is_literal_secret(key: str, value: Any, is_url: bool = False) -> bool:
    """Whether a credential is written out. Beside a placeholder, text is a path or a connection's; not in passwords."""
    if value is None or isinstance(value, bool) or value == "":
        return False
    if not _CREDENTIAL.search(key) or _NO_CREDENTIAL.search(key):
        return False
    is_whole = is_url or _PASSWORD_KEY.search(key) is not None
    given = (_WHOLLY.fullmatch if is_whole else PLACEHOLDER.search)(str(value))
    return given is None and value not in _NAMED_LOGINS


def _placeholder_problems(key: str, value: Any) -> Iterator[tuple[str, str, str]]:
    if isinstance(value, str) and "${" in PLACEHOLDER.sub("", value):
        yield key, "has a ${ that begins no placeholder.", "Write ${NAME}: letters, digits and _."
