"""The only place that reads the clock. Nothing that decides about records may call it."""

from __future__ import annotations

import datetime as dt


def now() -> dt.datetime:
    """The present moment in UTC, without a time zone attached (as DuckDB's TIMESTAMP stores it)."""
    return dt.datetime.now(dt.UTC).replace(tzinfo=None)
