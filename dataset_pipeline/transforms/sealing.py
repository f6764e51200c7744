"""The seal of a manifest: what of it the version of a release covers, though the manifest itself is no part of it.

A release's version is a hash over every file but manifest.json, which holds clock values. The card carries the seal, so
a manifest whose spec, rights or counts were changed does not fit its release any more.

Lives here: which keys are sealed, and the hash. Keep out: making a manifest (`assets.release_facts`), the card's words.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

SEALED = (
    "name", "counts", "rights", "tokens", "data_files", "missing_days", "stale_days", "spec", "versions",
)  # fmt: skip
"""Keys of manifest.json that all builds of one release agree on. `versions` is sealed without Python's own. Not among them:
`inputs`, since the same records in files of another order are the same release but for its provenance, and `contents`."""

_LINE = re.compile(r"^Seal of `manifest\.json`: `([0-9a-f]{64})`", re.MULTILINE)


def seal_of(manifest: Mapping[str, Any]) -> str:
    """SHA-256 (hex) over the sealed keys, as JSON with sorted keys."""
    told = {key: manifest.get(key) for key in SEALED}
    told["versions"] = {name: v for name, v in (manifest.get("versions") or {}).items() if name != "python"}
    text = json.dumps(told, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def seal_line(seal: str) -> str:
    """How a card tells it."""
    return f"Seal of `manifest.json`: `{seal}`, a hash over what it says of spec, rights, counts, tokens and versions."


def seal_in(card: str) -> str | None:
    """The seal that a card tells; None in a card of a version that told none."""
    found = _LINE.findall(card)
    return found[-1] if found else None
