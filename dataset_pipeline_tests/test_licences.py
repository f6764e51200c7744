"""The licence of every package that a user of the project installs, and the lock file that names them.

A licence is read from the package's own metadata. Where that is unclear, `BY_HAND` says what was
found in the package itself. A new dependency with another licence fails here, by name.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from dataset_pipeline.spec.licences import licensing

ROOT = Path(__file__).parent.parent
PROJECT = "dataset-pipeline"

PERMISSIVE = frozenset(
    {"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "CNRI-Python", "ISC", "MIT", "MIT-0",
     "PSF-2.0", "Unlicense", "Zlib"}
)  # fmt: skip

WEAK_COPYLEFT = {
    "certifi": ("MPL-2.0", "a list of certificates, used unchanged"),
    "orjson": ("MPL-2.0", "one part of the compiled library; used unchanged"),
    "tld": ("MPL-1.1", "one of three licences to choose from; used unchanged, by trafilatura"),
    "tqdm": ("MPL-2.0", "some of its files; used unchanged"),
}
"""Packages that may carry a licence which binds changes of their own files: licence, and why it is no matter.

An LGPL library would stand here too, by name, with how it is linked.
"""

BY_HAND = {
    "altair": ("BSD-3-Clause", "the metadata hold the whole licence text: three clauses"),
    "antlr4-python3-runtime": ("BSD-3-Clause", "the metadata say BSD; ANTLR 4 is under three clauses"),
    "boolean-py": ("BSD-2-Clause", "the metadata say so in a free field"),
    "pathlib-abc": ("PSF-2.0", "the metadata hold the whole licence text: the Python Software Foundation's"),
    "protobuf": ("BSD-3-Clause", "the metadata say 3-Clause BSD License"),
    "python-dateutil": ("Apache-2.0 OR BSD-3-Clause", "the metadata say Dual License and name both"),
    "scipy": ("BSD-3-Clause", "the metadata hold the whole licence text: three clauses"),
}
"""Packages whose metadata are no licence name: what they are under, and how one knows."""

CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
SPOKEN = {
    "Apache 2.0": "Apache-2.0",
    "Apache License Version 2.0": "Apache-2.0",
    "BSD": "BSD-3-Clause",
    "MIT License": "MIT",
    "MIT license": "MIT",
}
"""What packages write into the free licence field, where it is no SPDX expression."""


@cache
def installed() -> dict[str, Distribution]:
    """Every package the project needs at run time, extras and their dependencies included."""
    found: dict[str, Distribution] = {}
    todo: list[tuple[str, frozenset[str]]] = [(PROJECT, frozenset())]
    seen = set()
    while todo:
        name, extras = todo.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            raise AssertionError(f"{name} is required but not installed: renew the environment") from None
        for line in found[name].requires or []:
            required = Requirement(line)
            if required.marker is None or any(required.marker.evaluate({"extra": e}) for e in {"", *extras}):
                todo.append((canonicalize_name(required.name), frozenset(required.extras)))
    return found


def licence_of(name: str, package: Distribution) -> str | None:
    """The SPDX expression of a package, or None where nobody can tell."""
    metadata = package.metadata
    if expression := metadata.get("License-Expression"):
        return str(expression)
    if name in BY_HAND:
        return BY_HAND[name][0]
    spoken = str(metadata.get("License") or "").strip()
    if is_spdx(SPOKEN.get(spoken, spoken)):
        return SPOKEN.get(spoken, spoken)
    lines = [str(c) for c in metadata.get_all("Classifier") or [] if str(c).startswith("License ::")]
    named = [CLASSIFIERS.get(line.split(" :: ")[-1]) for line in lines if line != "License :: OSI Approved"]
    if not named or None in named:
        return None
    return " AND ".join(sorted({str(n) for n in named}))


def is_spdx(expression: str) -> bool:
    if not re.fullmatch(r"[A-Za-z0-9.()+ -]{2,80}", expression):
        return False
    spdx = licensing()
    try:
        return not spdx.unknown_license_keys(expression)
    except Exception:  # the parser raises several unrelated types for what is no expression
        return False


def is_allowed(expression: str, also: frozenset[str] = frozenset()) -> bool:
    """Whether the licences of an expression may be met: every side of AND, one side of OR."""
    parsed = licensing().parse(expression)

    def holds(part: object) -> bool:
        kind = type(part).__name__
        if kind == "AND":
            return all(map(holds, part.args))  # type: ignore[attr-defined]
        if kind == "OR":
            return any(map(holds, part.args))  # type: ignore[attr-defined]
        return str(part) in PERMISSIVE | also

    return parsed is not None and holds(parsed)


def test_licences_every_runtime_dependency_is_permissive_or_named() -> None:
    refused = {}
    for name, package in installed().items():
        licence = licence_of(name, package)
        also = frozenset({WEAK_COPYLEFT[name][0]} if name in WEAK_COPYLEFT else ())
        if licence is None or not is_allowed(licence, also):
            refused[name] = licence or "unknown"
    assert refused == {}, (
        "read the licence of each, then add it to BY_HAND or WEAK_COPYLEFT, or do without it"
    )


def test_licences_walk_reaches_dependencies_of_dependencies_and_extras() -> None:
    names = set(installed())
    assert {"polars", "duckdb", "dagster", "great-expectations"} <= names
    assert "spacy" in names, "needed by presidio-analyzer"
    assert "uvloop" in names, "needed by an extra that dagster-webserver asks for"
    assert "pytest" not in names, "tools of developers are not part of what users install"


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("MIT", True),
        ("Apache-2.0 OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-or-later", False),
        ("AGPL-3.0-only", False),
        ("LGPL-3.0-only", False),
        ("MPL-2.0", False),
    ],
)
def test_licences_expression_is_judged_side_by_side(expression: str, expected: bool) -> None:
    assert is_allowed(expression) is expected


def test_licences_weak_copyleft_is_allowed_by_name_only() -> None:
    assert is_allowed("MPL-2.0 AND MIT", frozenset({"MPL-2.0"}))


@pytest.mark.parametrize("entries", [BY_HAND, WEAK_COPYLEFT], ids=["by_hand", "weak_copyleft"])
def test_licences_notes_are_about_packages_that_are_installed(entries: dict[str, tuple[str, str]]) -> None:
    assert sorted(set(entries) - set(installed())) == []


def test_licences_metadata_nobody_can_read_are_unknown(tmp_path: Path) -> None:
    folder = tmp_path / "odd-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: odd\nVersion: 1\nLicense: see the website\n"
    )
    assert licence_of("odd", Distribution.at(folder)) is None


# --- the lock file --------------------------------------------------------------------------


def _locked() -> list[str]:
    """One string a requirement, with its hashes."""
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def test_requirements_each_is_pinned_and_hashed() -> None:
    loose = [line.split()[0] for line in _locked() if "==" not in line or "--hash=sha256:" not in line]
    assert loose == []


def test_requirements_name_no_address_and_no_index() -> None:
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    assert not re.search(r"://|--(extra-)?index-url|--find-links|--trusted-host|\s@\s", text)


def test_requirements_hold_every_runtime_dependency() -> None:
    locked = {canonicalize_name(line.split("==")[0].split("[")[0].strip()) for line in _locked()}
    assert sorted(set(installed()) - locked - {PROJECT}) == []
