"""Licences of records: what expressions ask for, and rights in the spec that contradict them.

Lives here: `spec.licences` and `spec.licence_terms`. Keep out: licences of our dependencies (`test_licences`), rights
of released records (`test_rights`).
"""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from dataset_pipeline.spec import licences
from dataset_pipeline.spec.models import Spec


def asked(expression: str) -> str:
    """The obligations by their first letters (a, s, c, d for attribution, share-alike, non-commercial, no derivatives)."""
    found = licences.obligations(expression)
    flags = {
        "a": found.attribution,
        "s": found.share_alike,
        "c": found.non_commercial,
        "d": found.no_derivatives,
    }
    return "".join(letter for letter, holds in flags.items() if holds) + ("" if found.known else "?")


@pytest.mark.parametrize(
    ("expression", "obligations"),
    [
        ("CC0-1.0", ""), ("PDDL-1.0", ""), ("Unlicense", ""), ("CC-PDM-1.0", ""),
        ("CC-BY-1.0", "a"), ("CC-BY-2.5-AU", "a"), ("CC-BY-3.0-IGO", "a"), ("CC-BY-4.0", "a"), ("cc-by-4.0", "a"),
        ("CC-BY-SA-2.1-JP", "as"), ("CC-BY-SA-4.0", "as"), ("CC-SA-1.0", "s"),
        ("CC-BY-NC-3.0-DE", "ac"), ("CC-BY-NC-SA-4.0", "asc"), ("CC-BY-ND-4.0", "ad"), ("CC-BY-NC-ND-3.0-IGO", "acd"),
        ("ODbL-1.0", "as"), ("ODC-By-1.0", "a"), ("CDLA-Permissive-2.0", "a"), ("CDLA-Sharing-1.0", "as"),
        ("MIT", "a"), ("BSD-3-Clause", "a"), ("Apache-2.0", "a"), ("ISC", "a"),
        ("GPL-3.0-or-later", "as"), ("LGPL-2.1-only", "as"), ("AGPL-3.0-only", "as"), ("GPL-2.0+", "as"),
        ("GFDL-1.3-no-invariants-or-later", "as"), ("PolyForm-Noncommercial-1.0.0", "ac"),
        ("LicenseRef-first-party", "?"), ("BSD-Protection", "?"), ("no licence at all (", "?"),
        # AND: what either side asks for, and a part that is not known.
        ("CC-BY-4.0 AND CC-BY-NC-4.0", "ac"), ("CC-BY-NC-4.0 AND LicenseRef-x", "ac?"),
        # OR: the receiver chooses, so only what no choice escapes.
        ("MIT OR CC-BY-NC-4.0", "a"), ("CC-BY-SA-3.0 OR GFDL-1.3-or-later", "as"), ("CC-BY-NC-4.0 OR LicenseRef-bought", "?"),
        ("GPL-2.0-only WITH Classpath-exception-2.0", "as"),
        ("(MIT OR CC0-1.0) AND CC-BY-SA-4.0", "as"),
        # No alternative is the laxest: each frees of one thing and binds to another.
        ("CC-BY-NC-4.0 OR CC-BY-ND-4.0", "acd"), ("CC-BY-NC-4.0 OR CC-BY-SA-4.0", "asc"),
        ("CC-BY-NC-4.0 OR CC-BY-ND-4.0 OR CC-BY-4.0", "a"),
    ],
)  # fmt: skip
def test_obligations_of_an_expression(expression: str, obligations: str) -> None:
    assert asked(expression) == obligations


@pytest.mark.parametrize(
    ("identifier", "address"),
    [
        ("CC-BY-NC-SA-3.0-DE", "https://creativecommons.org/licenses/by-nc-sa/3.0/de/"),
        ("CC-BY-NC-ND-1.0", "https://creativecommons.org/licenses/by-nd-nc/1.0/"),
        ("CC0-1.0", "https://creativecommons.org/publicdomain/zero/1.0/"),
        ("Apache-2.0", "https://spdx.org/licenses/Apache-2.0.html"),
        ("GPL-3.0-or-later", "https://spdx.org/licenses/GPL-3.0-or-later.html"),
        ("LicenseRef-first-party", None),
    ],
)
def test_links_of_a_licence_lead_to_its_text(identifier: str, address: str | None) -> None:
    assert licences.links(identifier) == ((identifier, address),)


def test_links_of_an_expression_name_each_licence_once() -> None:
    assert [name for name, _ in licences.links("MIT AND (CC-BY-4.0 OR MIT)")] == ["MIT", "CC-BY-4.0"]


@pytest.mark.parametrize(
    ("expressions", "release"),
    [
        ([], None),
        (["cc-by-4.0", "CC-BY-4.0"], "CC-BY-4.0"),
        (["CC0-1.0", "CC-BY-4.0"], "CC-BY-4.0"),
        (["CC-BY-3.0", "CC-BY-4.0"], "CC-BY-4.0"),
        (["CC-BY-3.0", "CC-BY-SA-3.0", "CC0-1.0"], "CC-BY-SA-3.0"),
        (["CC-BY-4.0", "CC-BY-SA-3.0", "CC0-1.0"], "CC-BY-4.0 AND CC-BY-SA-3.0"),  # no earlier version for a later
        (["CC-BY-SA-3.0", "CC-BY-SA-4.0"], "CC-BY-SA-4.0"),
        (["CC-BY-4.0", "CC-BY-NC-4.0"], "CC-BY-NC-4.0"),
        (["CC-BY-SA-4.0", "GPL-3.0-only"], "GPL-3.0-only"),
        # Nobody may drop the one for the other.
        (["CC-BY-SA-4.0", "CC-BY-NC-4.0"], "CC-BY-NC-4.0 AND CC-BY-SA-4.0"),
        (["MIT", "Apache-2.0"], "Apache-2.0 AND MIT"),
        (["Apache-2.0", "GPL-2.0-only"], "Apache-2.0 AND GPL-2.0-only"),
        (["ODbL-1.0", "CC-BY-SA-4.0"], "CC-BY-SA-4.0 AND ODbL-1.0"),
        (["LicenseRef-b", "CC-BY-4.0", "LicenseRef-a"], "CC-BY-4.0 AND LicenseRef-a AND LicenseRef-b"),
        # A notice has its own text to keep; what asks for nothing is held by all that is known.
        (["CC-BY-SA-4.0", "MIT", "CC0-1.0"], "CC-BY-SA-4.0 AND MIT"),
        (["CC-BY-NC-4.0", "Apache-2.0"], "Apache-2.0 AND CC-BY-NC-4.0"),
        (["CC-BY-SA-4.0", "OGL-UK-3.0", "CC-BY-4.0"], "CC-BY-SA-4.0 AND OGL-UK-3.0"),
        (["Unlicense", "Apache-2.0"], "Apache-2.0"),
        (["CC0-1.0", "LicenseRef-a"], "CC0-1.0 AND LicenseRef-a"),
        (["CC-BY-4.0", "CC-BY-SA-4.0", "GPL-3.0-only"], "CC-BY-4.0 AND GPL-3.0-only"),
        # Alternatives: one of them, whole.
        (["CC-BY-SA-4.0", "MIT OR CC-BY-SA-4.0"], "CC-BY-SA-4.0"),
        (["CC-BY-SA-4.0", "CC-BY-NC-4.0 OR CC-BY-ND-4.0"], "(CC-BY-NC-4.0 OR CC-BY-ND-4.0) AND CC-BY-SA-4.0"),
        (["MIT OR Apache-2.0", "CC-BY-4.0 AND LicenseRef-a"], "(MIT OR Apache-2.0) AND CC-BY-4.0 AND LicenseRef-a"),
    ],
)  # fmt: skip
def test_strictest_is_one_licence_only_where_it_holds_all_others(
    expressions: list[str], release: str | None
) -> None:
    assert licences.strictest(expressions) == release
    assert licences.strictest(reversed(expressions)) == release


def test_strictest_lacks_nothing_of_what_it_stands_for() -> None:
    every = ["CC0-1.0", "MIT", "Apache-2.0", "CC-BY-4.0", "CC-BY-3.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0",
             "GPL-2.0-only", "GPL-3.0-only", "GPL-2.0-or-later", "ODbL-1.0", "MIT OR CC-BY-SA-4.0", "CC-BY-NC-4.0 OR CC-BY-ND-4.0",
             "MIT AND CC-BY-SA-4.0"]  # fmt: skip
    for trio in itertools.combinations(every, 3):
        release = licences.strictest(trio)
        assert release is not None
        assert [one for one in trio if licences.lacking(release, one)] == [], release


@pytest.mark.parametrize(
    ("release", "source", "lacking"),
    [
        ("MIT", "CC-BY-NC-4.0 OR CC-BY-SA-4.0", "sc"),
        ("CC-BY-4.0", "CC-BY-NC-4.0 OR CC-BY-ND-4.0", "cd"),
        ("CC-BY-SA-4.0", "CC-BY-NC-4.0 OR CC-BY-ND-4.0", "cd"),
        ("CC-BY-ND-4.0", "CC-BY-NC-4.0 OR CC-BY-ND-4.0", ""),
        ("CC-BY-NC-4.0 OR CC-BY-ND-4.0", "CC-BY-NC-4.0 OR CC-BY-ND-4.0", ""),
        ("CC-BY-4.0", "CC-BY-NC-4.0 OR MIT", ""),
        # Every alternative of the release, since its user chooses.
        ("MIT OR LicenseRef-anything", "CC-BY-NC-ND-4.0", "cd"),
        ("CC-BY-SA-4.0 OR GPL-2.0-only", "GPL-2.0-only", "s"),
        ("CC-BY-SA-4.0 OR GPL-3.0-only", "CC-BY-SA-4.0", ""),
        ("MIT OR CC0-1.0", "MIT", "a"),
        ("(MIT OR CC0-1.0) AND CC-BY-SA-4.0", "CC-BY-SA-4.0 AND MIT", ""),
        # A contract decides for itself, and for nothing beside it.
        ("LicenseRef-own", "CC-BY-NC-ND-4.0", ""),
        ("MIT", "CC-BY-NC-4.0 OR LicenseRef-bought", ""),
        ("MIT", "(CC-BY-NC-4.0 AND LicenseRef-x) OR CC-BY-ND-4.0", "cd"),
        # Who may not use a later version may not allow one; an exception allows more than its licence.
        ("GPL-2.0-or-later", "GPL-2.0-only", "s"),
        ("GPL-2.0-only", "GPL-2.0-or-later", ""),
        ("GPL-2.0-only WITH Classpath-exception-2.0", "GPL-2.0-only", "s"),
        ("GPL-2.0-only", "GPL-2.0-only WITH Classpath-exception-2.0", ""),
    ],
)  # fmt: skip
def test_lacking_asks_every_alternative_of_the_release_for_one_whole_alternative(
    release: str, source: str, lacking: str
) -> None:
    letters = {"attribution": "a", "share_alike": "s", "non_commercial": "c", "no_derivatives": "d"}
    assert "".join(letters[name] for name in licences.lacking(release, source)) == lacking


def test_lacking_chooses_only_alternatives_that_allow_what_the_release_is_for() -> None:
    source = "CC-BY-NC-4.0 OR CC-BY-ND-4.0"
    assert licences.lacking("CC-BY-ND-4.0", source, ["train", "redistribute"]) == ("non_commercial",)
    assert licences.lacking("CC-BY-NC-4.0", source, ["train", "redistribute"]) == ()


def test_expression_of_very_many_alternatives_is_read_at_its_strictest() -> None:
    many = " AND ".join(f"(LicenseRef-a{n} OR CC-BY-NC-4.0 OR LicenseRef-b{n})" for n in range(40))
    assert asked(many) == "ac?"
    assert licences.lacking("MIT", many) == ("non_commercial",)
    assert licences.lacking(f"({many}) AND MIT", "CC-BY-ND-4.0") == ("no_derivatives",)


# --- the spec ------------------------------------------------------------------------------------


def spec(*licences_and_uses: tuple[str, list[str]], **release: Any) -> Spec:
    """A spec with sources a, b, … of these rights."""
    sources = [
        {"name": "abcdef"[i], "kind": "licensed", "path": f"{i}.jsonl", "collected_at": "2026-01-01",
         "rights": {"license": licence, "holder": "We", "basis": "terms", "uses": uses}, "layout": "alpaca"}
        for i, (licence, uses) in enumerate(licences_and_uses)
    ]  # fmt: skip
    content = {
        "name": "x",
        "task": {"behavior": "x", "type": "instruction"},
        "sources": sources,
        "release": release,
    }
    return Spec.model_validate_json(json.dumps(content))


def problems(*rights: tuple[str, list[str]], **release: Any) -> list[str]:
    found = list(licences.rights_problems(spec(*rights, **release)))
    assert all(remedy for _, _, remedy in found)
    return [f"{place}: {message}" for place, message, _ in found]


def test_rights_that_fit_their_licences_make_no_problem() -> None:
    every = ["train", "evaluate", "commercial", "redistribute"]
    assert problems(("CC-BY-SA-4.0", every), ("CC0-1.0", every), uses=every, license="CC-BY-SA-4.0") == []
    assert problems(("CC-BY-NC-4.0", ["train"])) == []


def test_release_licence_that_passes_on_what_a_contract_keeps_is_refused() -> None:
    (found,) = problems(("LicenseRef-firm", ["train"]), ("MIT", ["train"]), license="MIT")
    assert found.startswith("release.license: MIT lets whoever has the release pass it on")
    assert problems(("LicenseRef-firm", ["train", "redistribute"]), license="MIT") == []
    assert problems(("LicenseRef-firm", ["train"]), license="LicenseRef-firm") == []
    assert problems(("LicenseRef-firm", ["train"]), license="LicenseRef-other") == []


def test_commercial_of_a_non_commercial_licence_is_refused() -> None:
    (found,) = problems(("CC-BY-NC-SA-4.0", ["train", "commercial"]))
    assert found.startswith("sources[0] (a).rights.uses: names commercial") and "CC-BY-NC-SA-4.0" in found


def test_redistribute_of_a_licence_without_derivatives_is_refused() -> None:
    (found,) = problems(("CC-BY-ND-4.0", ["train", "redistribute"]))
    assert "names redistribute" in found and "cleaned and scrubbed" in found


def test_two_uses_that_no_one_alternative_allows_together_are_refused() -> None:
    either = "CC-BY-NC-4.0 OR CC-BY-ND-4.0"
    (found,) = problems((either, ["train", "commercial", "redistribute"]))
    assert "names commercial and redistribute, and no one alternative of" in found and either in found
    assert problems((either, ["train", "commercial"])) == problems((either, ["train", "redistribute"])) == []
    assert problems((f"{either} OR CC-BY-4.0", ["train", "commercial", "redistribute"])) == []


def test_release_licence_that_only_one_part_of_a_choice_would_ask_is_refused_in_words() -> None:
    (found,) = problems(("CC-BY-NC-4.0 OR CC-BY-ND-4.0", ["train"]), license="CC-BY-4.0")
    assert "asks for non-commercial use only or no derivatives." in found


def test_two_share_alikes_with_an_alternative_in_common_are_taken() -> None:
    every = ["train", "redistribute"]
    one, two = "CC-BY-SA-4.0 OR ODbL-1.0", "CC-BY-SA-4.0 OR GFDL-1.3-only"
    assert problems((one, every), (two, every), uses=every) == []
    assert problems(("CC-BY-NC-4.0 OR CC-BY-SA-4.0", every), ("ODbL-1.0", every), uses=every) == []
    (found,) = problems(("CC-BY-SA-4.0 OR CC-BY-SA-3.0", every), ("ODbL-1.0", every), uses=every)
    assert "no licence keeps the share-alike" in found


def test_a_contract_decides_for_itself() -> None:
    every = ["train", "commercial", "redistribute"]
    assert problems(("LicenseRef-x", every), ("CC-BY-NC-4.0 OR LicenseRef-y", every), uses=every) == []
    assert problems(("CC-BY-SA-4.0", ["train"]), license="LicenseRef-own") == []


def test_release_for_a_use_that_sources_lack_names_them_all() -> None:
    found = problems(
        ("MIT", ["train"]), ("MIT", ["train", "commercial"]), ("MIT", ["train"]), uses=["train", "commercial", "redistribute"]
    )  # fmt: skip
    assert found == [
        "release.uses: names commercial, which the rights of a, c do not allow.",
        "release.uses: names redistribute, which the rights of a, b, c do not allow.",
    ]


def test_release_to_evaluate_asks_nothing_of_sources_that_only_train() -> None:
    assert problems(("MIT", ["train"]), uses=["train", "evaluate"]) == []


@pytest.mark.parametrize(
    ("release", "source", "why"),
    [
        ("MIT", "CC-BY-SA-4.0", "share-alike under the same licence"),
        ("CC-BY-SA-3.0", "CC-BY-SA-4.0", "share-alike"),  # an earlier version will not do
        ("ODbL-1.0", "CC-BY-SA-4.0", "share-alike"),
        ("CC-BY-4.0", "CC-BY-NC-SA-4.0", "share-alike and non-commercial"),
        ("CC-BY-4.0", "CC-BY-ND-4.0", "no derivatives"),
        ("CC0-1.0", "CC-BY-4.0", "attribution"),
        ("MIT", "CC-BY-NC-4.0 AND LicenseRef-x", "non-commercial"),
    ],
)
def test_release_licence_laxer_than_a_source_is_refused(release: str, source: str, why: str) -> None:
    (found,) = problems((source, ["train"]), license=release)
    assert found.startswith(f"release.license: {release} is laxer than {source} of a") and why in found


@pytest.mark.parametrize(
    ("release", "source"),
    [("CC-BY-SA-4.0", "CC-BY-SA-3.0-DE"), ("GPL-3.0-only", "GPL-2.0-or-later"), ("CC-BY-NC-4.0", "CC-BY-4.0"),
     ("MIT", "CC0-1.0"), ("GPL-3.0-only", "CC-BY-SA-4.0"), ("MIT", "CC-BY-SA-4.0 OR MIT"), ("CC-BY-SA-4.0 AND MIT", "CC-BY-SA-4.0")],
)  # fmt: skip
def test_release_licence_as_strict_as_its_source_is_taken(release: str, source: str) -> None:
    assert problems((source, ["train"]), license=release) == []


def test_two_share_alikes_are_refused_for_a_release_that_is_passed_on() -> None:
    every = ["train", "redistribute"]
    (found,) = problems(("CC-BY-SA-4.0", every), ("ODbL-1.0", every), ("MIT", every), uses=every)
    assert "CC-BY-SA-4.0 of a" in found and "ODbL-1.0 of b" in found and "MIT" not in found
    assert problems(("CC-BY-SA-4.0", every), ("ODbL-1.0", every)) == []
    assert problems(("CC-BY-SA-4.0", every), ("CC-BY-SA-3.0", every), uses=every) == []
