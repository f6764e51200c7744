"""Fetching from a web server that the tests start on 127.0.0.1 and stop.

Lives here: links, refusals, broken transfers. Keep out: logins (`test_fetching_logins`), other servers (`test_servers`).
"""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dataset_pipeline.errors import SpecError
from dataset_pipeline.storage.fetching import Fetched, fetch
from dataset_pipeline.storage.readers import UnreadableFile
from dataset_pipeline_tests.test_fetching import Elsewhere, files

pytestmark = pytest.mark.servers

PASSWORD = "s3cret/p@ss:word"


class Pages(http.server.BaseHTTPRequestHandler):
    """A folder of links, files with and without a length, refusals."""

    bodies: dict[str, bytes]
    tag = '"1"'

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        status = {"/forbidden.csv": 403, "/broken.csv": 500}.get(path, 200 if path in self.bodies else 404)
        body = self.bodies.get(path, b"")
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if path.endswith("/") else "text/csv")
        self.send_header("Content-Length", str(len(body) + (9 if path == "/cut.csv" else 0)))
        self.send_header("ETag", self.tag)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        return None


@pytest.fixture
def web() -> Iterator[str]:
    """The address of a web server with a few files."""
    Pages.bodies = {
        "/": b'<a href="2026-11-01.csv">x</a> <a href="/2026-11-02.csv">x</a> <a href="../../evil.csv">x</a> '
        b'<a href="http://example.invalid/2026-11-03.csv">x</a> <a href="2026-11-01.csv?C=M">x</a>',
        "/2026-11-01.csv": b"a,b\n",
        "/2026-11-02.csv": b"a,b\n1,2\n",
        "/cut.csv": b"a,b\n",
    }
    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    thread = threading.Thread(target=served.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{served.server_address[1]}"
    finally:
        served.shutdown()
        served.server_close()
        thread.join()


def test_http_linked_files_below_the_folder_come_once(
    tmp_path: Path, web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Elsewhere("pages", f"{web}/{{date}}.csv")
    assert fetch(tmp_path, source).files == 2
    before = files(tmp_path)
    assert set(before) == {"pages.json", "pages/2026-11-01.csv", "pages/2026-11-02.csv"}
    assert fetch(tmp_path, source) == Fetched()
    assert files(tmp_path) == before
    monkeypatch.setitem(Pages.bodies, "/2026-11-02.csv", b"a,b\n3,4\n")
    monkeypatch.setattr(Pages, "tag", '"2"')
    assert fetch(tmp_path, source).files == 1


def test_http_refusals_and_broken_transfers_are_one_clear_error(
    tmp_path: Path, web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGNATURE", PASSWORD)
    for name, kind, words in [
        ("absent.csv", SpecError, "no such bucket, folder or file"),
        ("forbidden.csv", SpecError, "access is refused"),
        ("broken.csv", UnreadableFile, "status 500"),
        ("cut.csv", UnreadableFile, "cannot be reached, or broke off|bytes came"),
    ]:
        with pytest.raises(kind, match=words) as caught:
            fetch(tmp_path, Elsewhere("pages", f"{web}/{name}?X-Amz-Signature=${{SIGNATURE}}"))
        assert PASSWORD not in str(caught.value) and "Signature" not in str(caught.value)
        assert files(tmp_path) == {}
