"""Asking a database: drivers, connections that only read, rows in order of days, and errors in words.

Lives here: what SQLAlchemy and its drivers need. Keep out: which days are asked for, and files (`databases`).
"""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from dataset_pipeline.errors import PipelineError
from dataset_pipeline.spec.places import Database
from dataset_pipeline.storage.fetching import Secrets, quoted

CONNECT_SECONDS = 10
ANSWER_SECONDS = 600
"""A server that says nothing for longer is taken as gone. A query over millions of rows sorts for minutes."""
ROWS_AT_ONCE = 2_000

_TIMEOUTS: dict[str, dict[str, int]] = {
    "pg8000": {"timeout": CONNECT_SECONDS},
    "psycopg": {"connect_timeout": CONNECT_SECONDS},
    "psycopg2": {"connect_timeout": CONNECT_SECONDS},
    "pymysql": {"connect_timeout": CONNECT_SECONDS, "read_timeout": ANSWER_SECONDS},
    "mysqldb": {"connect_timeout": CONNECT_SECONDS, "read_timeout": ANSWER_SECONDS},
}
_READ_ONLY = {
    "postgresql": ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY", f"SET LOCAL statement_timeout = '{ANSWER_SECONDS}s'"),
    "mysql": ("SET SESSION TRANSACTION READ ONLY",),
    "mariadb": ("SET SESSION TRANSACTION READ ONLY",),
}  # fmt: skip
_SQLITE_WORDS = (
    "no such table", "no such column", "no such function", "near ", "incomplete input", "ambiguous column",
    "unrecognized token", "wrong number of arguments", "file is not a database", "database is locked",
    "unable to open database file", "attempt to write a readonly database", "misuse of",
)  # fmt: skip
"""Beginnings of SQLite's messages that speak of the query or the file, never of a value."""


@dataclass(frozen=True)
class Reader:
    """An open connection and the columns of its query."""

    connection: sa.Connection
    database: Database
    columns: list[str]
    secrets: Secrets

    def rows(self, first: dt.date | None, last: dt.date | None) -> Iterator[Any]:
        """The rows of the days first … last, in order of the day column where there is one; holds a few at a time.

        A day more on either side comes along: a server's time zone is not ours.
        """
        # exec_driver_sql: the query is the user's, so no `:word` or `%` in it may be taken for a parameter.
        statement = self._statement(first, last)
        with _in_words(self.secrets):
            result = self.connection.exec_driver_sql(statement)
            for block in result.partitions(ROWS_AT_ONCE):
                yield from block
            result.close()

    def _statement(self, first: dt.date | None, last: dt.date | None) -> str:
        wrapped = _wrapped(self.database)
        if self.database.day is None:
            return wrapped
        day = "q." + self.connection.dialect.identifier_preparer.quote(self.database.day)
        # A date in quotes takes the type of its column on every server, text included; a bound one does not.
        limits = []
        if first is not None and first > dt.date.min:
            limits.append(f"{day} >= '{first - dt.timedelta(days=1)}'")
        if last is not None and last.toordinal() + 2 <= dt.date.max.toordinal():
            limits.append(f"{day} < '{last + dt.timedelta(days=2)}'")
        # Rows without a day are asked for each time, so that somebody hears of them.
        empty = f" OR {day} IS NULL" if last is None else ""
        where = f" WHERE ({' AND '.join(limits)}{empty})" if limits else ""
        return f"{wrapped}{where} ORDER BY {day}"


@contextmanager
def connected(database: Database, secrets: Secrets, root: Path) -> Iterator[Reader]:
    """A connection on which nothing can be written where the server allows that, and the query's columns.

    root: what the path of an SQLite file is relative to. Raises SpecError and UnreadableFile in words.
    """
    engine = _engine(database, secrets, root)
    try:
        with _in_words(secrets):
            connection = engine.connect()
        with connection:
            with _in_words(secrets):
                for statement in _READ_ONLY.get(engine.dialect.name, ()):
                    connection.exec_driver_sql(statement)
                connection = connection.execution_options(
                    no_parameters=True, stream_results=True, max_row_buffer=ROWS_AT_ONCE
                )
                columns = _columns(connection, database)
            _check_columns(columns, database, secrets)
            yield Reader(connection, database, columns, secrets)
    finally:
        engine.dispose()


def _columns(connection: sa.Connection, database: Database) -> list[str]:
    quick = connection.execution_options(stream_results=False)
    with quick.exec_driver_sql(f"{_wrapped(database)} WHERE 1 = 0") as none:
        return [str(column[0]) for column in none.cursor.description or ()] if none.cursor else []


def _check_columns(columns: list[str], database: Database, secrets: Secrets) -> None:
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise secrets.problem(f"the query has two columns called {', '.join(twice)}.", "Rename one with AS.")
    if database.day is not None and database.day not in columns:
        raise secrets.problem(
            f"the query has no column {database.day!r} (database.day). It has: {', '.join(columns)}.",
            "Name one of them, or add it to the query.",
        )


def _wrapped(database: Database) -> str:
    # A newline, because the query may end in a comment.
    return f"SELECT * FROM (\n{database.query.strip().removesuffix(';')}\n) AS q"


def _engine(database: Database, secrets: Secrets, root: Path) -> sa.Engine:
    try:
        url = sa.make_url(secrets.expand_url(database.url, quoted))
        secrets.add(url.password)
        if url.get_backend_name() == "sqlite":
            return _sqlite(url, secrets, root)
        engine = sa.create_engine(
            url, connect_args=dict(_TIMEOUTS.get(url.get_driver_name(), {})), poolclass=sa.NullPool
        )
    except NoSuchModuleError:
        name = database.url.split(":", 1)[0]
        raise secrets.problem(f"SQLAlchemy knows no database {name!r}.", _driver_remedy(name)) from None
    except ModuleNotFoundError as error:
        scheme = "postgresql" if error.name in ("psycopg", "psycopg2", "pg8000") else ""
        raise secrets.problem(
            f"the driver {error.name!r} is not installed.", _driver_remedy(scheme, error.name)
        ) from None
    except (ArgumentError, ValueError):
        raise secrets.problem(
            "database.url is no URL.", "Write driver://USER:PASSWORD@HOST:PORT/DATABASE."
        ) from None
    sa.event.listen(engine, "connect", _patient)
    return engine


def _driver_remedy(scheme: str, module: str | None = None) -> str:
    if scheme.startswith("postgres"):
        return "Write postgresql+pg8000://… and install dataset-pipeline[postgresql]."
    return f"Install {module}." if module else "Install its driver, or mend the beginning of the URL."


def _patient(connection: Any, _: Any) -> None:
    """pg8000's one timeout is for connecting and for every answer: connecting is to be quick, an answer may take."""
    sock = getattr(connection, "_usock", None)
    if sock is not None:
        sock.settimeout(ANSWER_SECONDS)


def _sqlite(url: sa.URL, secrets: Secrets, root: Path) -> sa.Engine:
    path = root / (url.database or "")
    if not path.is_file():
        raise secrets.problem(
            f"there is no SQLite file {url.database!r}.", "Mend the path; it is relative to the spec."
        )

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"file:{quote(str(path.resolve()))}?mode=ro", uri=True, timeout=CONNECT_SECONDS
        )
        # Bytes that are no UTF-8 stay bytes: text is never guessed.
        connection.text_factory = _utf8
        return connection

    return sa.create_engine("sqlite://", creator=connect, poolclass=sa.NullPool)


def _utf8(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


# --- errors in words ----------------------------------------------------------------------


@contextmanager
def _in_words(secrets: Secrets) -> Iterator[None]:
    """Turns what drivers raise into an error that says what to do, and repeats no value of a row."""
    try:
        yield
    except PipelineError:
        raise
    except (SQLAlchemyError, OSError, sqlite3.Error, RecursionError, UnicodeError) as error:
        raise _explained(error, secrets) from None
    except Exception as error:
        if type(error).__module__.split(".")[0] not in _DRIVERS:
            raise
        raise _explained(error, secrets) from None


_DRIVERS = frozenset({"pg8000", "psycopg", "psycopg2", "pymysql", "MySQLdb", "scramp"})


def _explained(error: BaseException, secrets: Secrets) -> PipelineError:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    code, words = _code(cause), _words(cause)
    shown = f" ({words})" if words else ""
    if code.startswith("28") or code in ("1045", "1698"):
        return secrets.problem(f"the database refuses the login{shown}.", "Check user and password.")
    if code in ("3D000", "1049"):
        return secrets.problem(f"there is no such database{shown}.", "Mend the end of database.url.")
    if code in ("42501", "1142", "1044"):
        return secrets.problem(f"the user may not read this{shown}.", "Grant SELECT to it.")
    if code.startswith(("42", "25006", "0A000")) or code in ("1054", "1064", "1146"):
        return secrets.problem(
            f"the database refuses the query{shown}.", "Mend database.query or database.day."
        )
    if isinstance(cause, sqlite3.Error):
        if not words:
            return _unsaid(cause, code, secrets)
        return secrets.problem(
            f"SQLite refuses the query or the file{shown}.", "Mend database.query, or the file."
        )
    if code in ("57014", "1317", "3024") or (not code and isinstance(_root_cause(cause), TimeoutError)):
        return secrets.failure(
            "the database does not answer in time.",
            "Check host and port; ask for less, index the day column, or run again.",
        )
    if not code and (
        isinstance(_root_cause(cause), OSError)
        or type(cause).__name__ in ("InterfaceError", "OperationalError")
    ):
        return secrets.failure(f"the database cannot be reached, or went away ({type(_root_cause(cause)).__name__}).", "Check host, port and network, then run again.")  # fmt: skip
    return _unsaid(cause, code, secrets)


def _unsaid(cause: BaseException, code: str, secrets: Secrets) -> PipelineError:
    kind = f"{type(cause).__name__}{f', code {code}' if code else ''}"
    return secrets.failure(
        f"the database failed while it gave its rows ({kind}). Its words may hold a row's text and are not shown.",
        "Run the query by hand to see them.",
    )


def _root_cause(error: BaseException) -> BaseException:
    seen: set[int] = set()
    while (below := error.__cause__ or error.__context__) is not None and id(below) not in seen:
        seen.add(id(below))
        error = below
    return error


def _code(error: BaseException) -> str:
    """SQLSTATE, or MySQL's number; empty where there is none."""
    first = error.args[0] if error.args else None
    if isinstance(first, dict):
        return str(first.get("C", ""))
    if isinstance(first, int) and not isinstance(error, OSError):
        return str(first)
    return str(getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or "")


def _words(error: BaseException) -> str:
    """The driver's own message where it is known to speak of names only."""
    first = error.args[0] if error.args else ""
    if isinstance(first, dict) and str(first.get("C", ""))[:2] in ("28", "3D", "42", "0A"):
        return _clipped(str(first.get("M", "")))
    if isinstance(error, sqlite3.Error) and str(first).startswith(_SQLITE_WORDS):
        return _clipped(str(first))
    return ""


def _clipped(text: str) -> str:
    return " ".join(text.split())[:200]
