"""`dataset-pipeline ui` as a process of the tests: started on 127.0.0.1, asked as the UI asks, stopped or killed whole.

Lives here: the process and its GraphQL. Keep out: what is tested with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

REPOSITORY = Path(__file__).parent.parent
Found = TypeVar("Found")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for(what: str, seconds: float, ask: Callable[[], Found | None], every: float = 0.5) -> Found:
    """What `ask` finds; fails in words where it finds nothing in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (found := ask()) is not None:
            return found
        time.sleep(every)
    raise AssertionError(f"no {what} within {seconds:g} s")


class Server:
    """Webserver, daemon and code server of one project, with every process that they start."""

    def __init__(self, root: Path):
        self.port = free_port()
        self.log = (root / "ui.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dataset_pipeline.cli.main", "ui", "--spec", str(root), "--port", str(self.port)],
            cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, start_new_session=True,
        )  # fmt: skip

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exc: object) -> None:
        """Stop it as Ctrl-C does; what does not end in time is killed."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(30)
        self.kill()

    def kill(self) -> None:
        """SIGKILL every process at once, as a machine that loses its power does."""
        for pid in self._family():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()

    def _family(self) -> list[int]:
        """The processes of its session: itself and all that it or its children started."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                if int(stat.read_text().rpartition(")")[2].split()[3]) == self.process.pid:
                    found.append(int(stat.parent.name))
        return found

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of a GraphQL query; fails with its errors."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            said = json.loads(answer.read())
        assert "errors" not in said, said
        return dict(said["data"])

    def location(self) -> tuple[str, str]:
        """The names of the repository and its location, once they are loaded."""
        query = "{repositoriesOrError {... on RepositoryConnection {nodes {name location {name}}}}}"

        def loaded() -> tuple[str, str] | None:
            with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
                nodes = self.ask(query)["repositoriesOrError"].get("nodes") or []
                return (nodes[0]["name"], nodes[0]["location"]["name"]) if nodes else None
            return None

        return wait_for("definitions in the webserver", 300, loaded)
