"""Telling a webhook: one POST of JSON, with a bounded wait, that never raises.

Lives here: the address with its secrets from the environment, the request, what is said of one that did not arrive. Keep out:
what is told (`alarm`).
"""

from __future__ import annotations

import base64
import http.client
import json
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from dataset_pipeline.errors import SpecError
from dataset_pipeline.spec.load import Project
from dataset_pipeline.storage.fetching import Secrets

TIMEOUT_SECONDS = 10.0
"""Of one try."""
WAITS_SECONDS = (1.0, 3.0)
"""Before the second and the third try."""
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_BUSY = frozenset({408, 425, 429})
"""Answers after which the same request may be taken a moment later; so may it after those from 500 on."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would go on as a GET without its message, and to whom nobody named."""

    def redirect_request(self, *args: Any) -> None:
        return None


def post(project: Project, payload: dict[str, Any]) -> str | None:
    """POST `payload` as JSON to spec.schedule.webhook. Returns None, or in words why it did not arrive.

    ${NAME} comes from the environment. The words name the host and never another part of the address.
    """
    place = f"{project.path.name}: schedule.webhook"
    secrets = Secrets(place)
    try:
        url = urlsplit(secrets.expand_url(project.spec.schedule.webhook or ""))
        if url.scheme not in ("http", "https") or not url.hostname:
            return f"{place}: is no address that begins with http:// or https://. The webhook was not told."
        request = _request(url, payload)
    except SpecError as error:
        return f"{error} The webhook was not told."
    except ValueError:
        return f"{place}: is no address. The webhook was not told."
    host = secrets.scrub(url.hostname)
    why = _tried(url, request)
    return f"{place}: {host} was not told: {secrets.scrub(why)}." if why else None


def _request(url: SplitResult, payload: dict[str, Any]) -> urllib.request.Request:
    """The request; a login in the address becomes a header, as urllib takes it for a part of the host."""
    where = url._replace(netloc=url.netloc.rpartition("@")[2], fragment="")
    headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "dataset-pipeline"}
    if url.username is not None:
        login = f"{unquote(url.username)}:{unquote(url.password or '')}"
        headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
    data = json.dumps(payload).encode()
    return urllib.request.Request(where.geturl(), data, headers, method="POST")


def _tried(url: SplitResult, request: urllib.request.Request) -> str:
    """Why no try arrived; empty where one did."""
    # A proxy of the environment is for other machines: it could not reach a webhook on this one.
    proxies = [urllib.request.ProxyHandler({})] if url.hostname in _LOCAL else []
    opener = urllib.request.build_opener(_NoRedirect, *proxies)
    why = ""
    for wait in (0.0, *WAITS_SECONDS):
        time.sleep(wait)
        try:
            with opener.open(request, timeout=TIMEOUT_SECONDS):
                return ""
        except urllib.error.HTTPError as error:
            why = f"it answered {error.code}"
            error.close()
            if error.code < 500 and error.code not in _BUSY:
                return f"{why}; it takes no message at this address"
        except (
            ValueError,
            http.client.InvalidURL,
        ):  # before anything was sent: the same again would not help
            return "its address cannot be used"
        except (OSError, http.client.HTTPException) as error:
            why = _words(error)
    return f"{why}, three times"


def _words(error: Exception) -> str:
    """What went wrong, without the error's own message, which may quote the address."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, TimeoutError):
        return f"it did not answer within {TIMEOUT_SECONDS:g} s"
    if isinstance(reason, OSError) and reason.strerror:
        return f"it cannot be reached ({reason.strerror})"
    return f"it cannot be reached ({type(reason).__name__})"
