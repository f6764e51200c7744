"""The warehouse's tables and the version that names them."""

from __future__ import annotations

import hashlib

from dataset_pipeline.storage.schema import SCHEMA_VERSION, ddl

KNOWN = {1: "0b47b2d8fe02c81f", 2: "b518481afd154664", 3: "d4e70e87c596f881", 4: "b00459919ec93c17"}
"""Schema version to the hash of its statements: a changed table without a new version would be read wrongly."""


def test_schema_statements_change_only_with_the_version() -> None:
    statements = "\n".join(" ".join(statement.split()) for statement in ddl())
    assert hashlib.sha256(statements.encode()).hexdigest()[:16] == KNOWN[SCHEMA_VERSION]
