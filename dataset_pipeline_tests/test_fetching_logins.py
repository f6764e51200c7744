"""Credentials of sources elsewhere: written out they are refused, from the environment they arrive, on disk is none.

Lives here: logins in URLs, headers, what a record keeps. Keep out: other rules of places (`test_fetching`).
"""

from __future__ import annotations

import base64
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dataset_pipeline.errors import PipelineError
from dataset_pipeline.spec.places import Database, place_problems, without_login
from dataset_pipeline.storage.connections import connected
from dataset_pipeline.storage.fetching import Fetched, Secrets, fetch
from dataset_pipeline.storage.remote_listing import file_system
from dataset_pipeline_tests.test_fetching import Elsewhere, files, said

TOKEN = "ghp_AbCdEf123"
ODD = "Zq9secret/w%x+y@:?#z"


def database(url: str) -> Elsewhere:
    return Elsewhere(database=Database(url=url, query="SELECT 1"))


@pytest.mark.parametrize(
    "login",
    [TOKEN, f"{TOKEN}:", f"u:{TOKEN}", f":{TOKEN}", f"{TOKEN}:${{P}}", f"u:{TOKEN}${{P}}", f"${{U}}:${{P}}{TOKEN}",
     f"${{U}}@{TOKEN}", f"${{U}}{TOKEN}", "%67hp_AbCdEf123"],
)  # fmt: skip
@pytest.mark.parametrize("scheme", ["http", "HTTPS", "s3", "webdav"])
def test_login_written_out_in_a_url_is_refused_and_not_repeated(scheme: str, login: str) -> None:
    source = Elsewhere(path=f"{scheme}://{login}@127.0.0.1:8000/x.jsonl")
    assert said(source) == ["path"]
    assert TOKEN not in str(list(place_problems(source)))


@pytest.mark.parametrize(
    ("path", "is_good"),
    [
        ("http://${A}@h/x.csv", True),
        ("http://${A}:${B}@h:8000/x.csv", True),
        ("http://${A}:@h/x.csv", True),
        ("http://h:8000/a@b/x.csv", True),
        ("http://h:${PORT}/a@b/x.csv", True),
        ("http://[::1]:80/a@b/x.csv", True),
        ("http://[::1]/a@b/x.csv", True),
        ("http://u:Zq9secret/w@h/x.csv", False),
        ("sftp://deploy@h/x.csv", True),
        ("ftp://${A}:${B}@h/x.csv", True),
        ("smb://office;ann@h/x.csv", True),
        ("sftp://deploy:secret@h/x.csv", False),
        ("sftp://deploy:${B}secret@h/x.csv", False),
        ("ssh://de${A}@h/x.csv", False),
        ("abfs://container@account.dfs.core.windows.net/x.csv", True),
        ("http://h/x.csv?sig=abc${A}", False),
        ("http://h/x.csv?sig=${A}", True),
    ],
)
def test_login_of_a_path_is_placeholders_or_a_plain_user(path: str, is_good: bool) -> None:
    assert said(Elsewhere(path=path)) == ([] if is_good else ["path"])


@pytest.mark.parametrize(
    ("url", "is_good"),
    [
        ("postgresql://reader@h/d", True),
        ("postgresql://reader:${P}@h/d", True),
        ("postgresql://h:5432/d", True),
        ("sqlite:////data/a@b.db", True),
        ("postgresql://reader:abc${P}@h/d", False),
        ("postgresql://reader:${P}abc@h/d", False),
        ("postgresql://reader:${P}@abc@h/d", False),
        ("postgresql://rea@der:abc@h/d", False),
        ("postgresql://reader:ab/c@h/d", False),
        ("postgresql://h/d?password=abc${P}", False),
    ],
)
def test_password_of_a_database_is_wholly_a_placeholder(url: str, is_good: bool) -> None:
    assert said(database(url)) == ([] if is_good else ["database.url"])


@pytest.mark.parametrize(
    ("storage", "culprits"),
    [
        ({"client_kwargs": {"headers": {"X-Access": "plainsecretvalue"}}}, ["client_kwargs.headers.X-Access"]),
        ({"Headers": {"X-Access": 12345}}, ["Headers.X-Access"]),
        ({"headers": [["X-Access", "plainsecretvalue"]]}, ["headers", "headers"]),
        ({"headers": {"X.Access": "abc ${A}b"}}, ["headers.X.Access"]),
        ({"client_kwargs": {"cookies": {"session": "abc"}}}, ["client_kwargs.cookies.session"]),
        ({"headers": {"Authorization": "Bearer ${A}", "X-Access": "${A}", "Cookie": "session=${A}"}}, []),
        ({"headers": {"Accept": "text/csv", "accept-language": "de", "User-Agent": "x/1", "Range": "bytes=0-"}}, []),
        ({"password": "abc${A}"}, ["password"]),
        ({"token": "${HOME}/login.json"}, []),
        ({"endpoint_url": f"http://{TOKEN}@h"}, ["endpoint_url"]),
        ({"endpoint_url": "http://h:9000"}, []),
    ],
)  # fmt: skip
def test_storage_headers_and_passwords_written_out_are_refused(
    storage: dict[str, Any], culprits: list[str]
) -> None:
    source = Elsewhere(path="https://h/x.csv", storage=storage)
    assert said(source) == [f"storage.{key}" for key in culprits]


def test_login_is_cut_from_a_url_and_an_azure_container_stays() -> None:
    assert without_login("http://${A}:${B}@h:80/x/a@b.csv") == "http://h:80/x/a@b.csv"
    assert without_login("s3://bucket/x") == "s3://bucket/x"
    assert without_login("a query") == "a query"
    assert without_login("abfs://container@account/x") == "abfs://container@account/x"


# --- a password of every awkward character arrives as it is -------------------------------


class Guarded(http.server.BaseHTTPRequestHandler):
    """A file, and a folder with a link to it, for who logs in."""

    protocol_version = "HTTP/1.0"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        login = base64.b64encode(f"ann:{ODD}".encode()).decode()
        is_known = self.headers.get("Authorization") == f"Basic {login}"
        body = b'<a href="2026-11-01.csv">x</a>' if self.path.endswith("/") else b"a,b\n"
        self.send_response(200 if is_known else 401)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"1"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        return None


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The host and port of a web server that asks for a login, which is in the environment."""
    monkeypatch.setenv("FETCH_USER", "ann")
    monkeypatch.setenv("FETCH_PASSWORD", ODD)
    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Guarded)
    thread = threading.Thread(target=served.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{served.server_address[1]}"
    finally:
        served.shutdown()
        served.server_close()
        thread.join()


@pytest.mark.servers
@pytest.mark.parametrize("name", ["2026-11-01.csv", "{date}.csv"])
def test_login_with_reserved_characters_opens_and_is_not_on_disk(tmp_path: Path, web: str, name: str) -> None:
    source = Elsewhere("pages", f"http://${{FETCH_USER}}:${{FETCH_PASSWORD}}@{web}/x/{name}")
    assert fetch(tmp_path, source).files == 1
    record = json.loads((tmp_path / "fetched/pages.json").read_text())
    assert record["made_by"] == f"http://{web}/x"
    assert record["files"]["2026-11-01.csv"]["url"] == f"http://{web}/x/2026-11-01.csv"
    before = files(tmp_path)
    assert fetch(tmp_path, source) == Fetched()
    assert files(tmp_path) == before


@pytest.mark.servers
def test_login_in_a_record_of_earlier_is_known_and_cut(tmp_path: Path, web: str) -> None:
    source = Elsewhere("pages", f"http://${{FETCH_USER}}:${{FETCH_PASSWORD}}@{web}/x/{{date}}.csv")
    fetch(tmp_path, source)
    path = tmp_path / "fetched/pages.json"
    now = path.read_text()
    path.write_text(now.replace("http://", f"http://{TOKEN}@"))
    assert fetch(tmp_path, source) == Fetched()
    assert path.read_text() == now


def test_login_with_reserved_characters_reaches_other_storage_unquoted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from fsspec.implementations.ftp import FTPFileSystem

    given: dict[str, Any] = {}
    monkeypatch.setattr(FTPFileSystem, "__init__", lambda self, **options: given.update(options))
    monkeypatch.setattr(FTPFileSystem, "__del__", lambda self: None)
    monkeypatch.setenv("FETCH_PASSWORD", ODD)
    secrets = Secrets("x")
    file_system(Elsewhere(path="ftp://${FETCH_PASSWORD}:${FETCH_PASSWORD}@h:2121/x.csv"), secrets)
    assert (given["username"], given["password"], given["host"], given["port"]) == (ODD, ODD, "h", 2121)
    assert ODD not in secrets.scrub(f"said {ODD}")


def test_login_of_a_database_is_quoted_also_where_a_query_has_an_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FETCH_PASSWORD", ODD)
    monkeypatch.setenv("FETCH_HOST", "127.0.0.1:9")
    url = "postgresql+pg8000://u:${FETCH_PASSWORD}@${FETCH_HOST}/d?application_name=a@b"
    source = database(url)
    assert source.database is not None
    with pytest.raises(PipelineError, match="cannot be reached"), connected(source.database, Secrets("x"), tmp_path):  # fmt: skip
        pass
