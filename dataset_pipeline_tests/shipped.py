"""Releases that tests publish: the command, and a release that changes under it.

Lives here: what `test_shipping` and `test_shipping_storage` share. Keep out: making releases (`published_release`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dataset_pipeline.cli import publishing
from dataset_pipeline.cli.main import main


def call(*arguments: Any) -> Result:
    """Run the command in this process, as the shell would: no traceback, no exception that is no exit."""
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def changing_after(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of the release changes when it has been verified, before it is copied."""
    original = publishing.examined

    def examined(folder: Path) -> Any:
        found = original(folder)
        path = release / "chat/train.jsonl"
        path.write_bytes(path.read_bytes().replace(b"number 0", b"number 9"))
        return found

    monkeypatch.setattr(publishing, "examined", examined)
