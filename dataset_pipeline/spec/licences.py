"""What licences ask for, and where the spec's rights contradict them.

Lives here: obligations of SPDX expressions, which licence holds the terms of another, and rights that the spec
claims against a licence. Keep out: single licences (`licence_terms`), rights of released records
(`transforms.rights`), whether an expression is SPDX at all (`meaning.licence_problem`).

A model of what the licences say, for the questions a dataset raises; no legal advice. Where it knows nothing
(LicenseRef-…, rare ids) it says so, and the source's `uses` decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from dataset_pipeline.spec.licence_terms import (
    CREATIVE_COMMONS,
    OBLIGATION_WORDS,
    Obligations,
    address,
    family,
    shares,
    terms_of,
)

if TYPE_CHECKING:
    from dataset_pipeline.spec.models import Spec


@lru_cache(maxsize=1)
def _licensing() -> Any:
    from license_expression import get_spdx_licensing

    return get_spdx_licensing()


@lru_cache(maxsize=4096)
def _parsed(expression: str) -> Any:
    """The tree of an expression; None where it is none (`licence_problem` has said so)."""
    from license_expression import ExpressionError

    try:
        return _licensing().parse(expression, validate=False, strict=False)
    except (ExpressionError, ValueError, TypeError, AttributeError):
        return None


def _operands(node: Any) -> tuple[str, tuple[Any, ...]]:
    """`AND` or `OR` with what stands beside it, or `` for a single licence (an exception belongs to it)."""
    operator = str(getattr(node, "operator", "")).strip()
    return (operator, tuple(node.args)) if operator in ("AND", "OR") else ("", ())


def _identifier(node: Any) -> str:
    """The identifier of a single licence; of `X WITH exception` X."""
    symbol = getattr(node, "license_symbol", node)
    return str(symbol.key)


@lru_cache(maxsize=4096)
def obligations(expression: str) -> Obligations:
    """What an SPDX expression asks for.

    AND: what either side asks for. OR: the receiver chooses, so only what every alternative asks for is sure;
    one that we do not know may ask for nothing. WITH: of its licence, since an exception only ever loosens it.
    An expression that cannot be parsed is not known.
    """
    node = _parsed(expression)
    return Obligations(known=False) if node is None else _of_node(node)


def _of_node(node: Any) -> Obligations:
    operator, parts = _operands(node)
    if not operator:
        return terms_of(_identifier(node))
    asked = [_of_node(part) for part in parts]
    whole = asked[0]
    for one in asked[1:]:
        whole = whole | one if operator == "AND" else whole & one
    return whole


def canonical(expression: str) -> str:
    """The expression as SPDX writes its identifiers; as it stands where it cannot be parsed."""
    node = _parsed(expression)
    return expression.strip() if node is None else str(node)


def links(expression: str) -> tuple[tuple[str, str | None], ...]:
    """(identifier, address of its text) of every licence in the expression; None for LicenseRef-… and no SPDX ids."""
    node = _parsed(expression)
    if node is None:
        return ((expression.strip(), None),)
    found = [str(key) for key in _licensing().license_keys(node, unique=True)]
    known = _licensing().known_symbols
    return tuple((one, address(one, one.removesuffix("+") in known)) for one in found)


# --- which licence holds the terms of another ----------------------------------------------------


def shares_alike(release: str, expression: str) -> bool:
    """Whether a release under `release` keeps every share-alike of `expression`."""
    own, node = _parsed(release), _parsed(expression)
    if own is None or node is None:
        return False
    offered = [str(key) for key in _licensing().license_keys(own, unique=True)]

    def kept(part: Any) -> bool:
        operator, parts = _operands(part)
        if operator:
            return (all if operator == "AND" else any)(kept(p) for p in parts)
        identifier = _identifier(part)
        return not terms_of(identifier).share_alike or any(shares(o, identifier) for o in offered)

    return kept(node)


def lacking(release: str, expression: str) -> tuple[str, ...]:
    """Obligations of `expression` that a release under `release` would not pass on, in the order of OBLIGATION_WORDS.

    Empty where `release` is not wholly known: the contract decides.
    """
    own, asked = obligations(release), obligations(expression)
    if not own.known:
        return ()
    missing = asked.asked - own.asked
    if asked.share_alike and not shares_alike(release, expression):
        missing |= {"share_alike"}
    return tuple(name for name in OBLIGATION_WORDS if name in missing)


def strictest(expressions: Iterable[str]) -> str | None:
    """The licence under which records of all `expressions` may stand together; None for no expressions.

    The only one, or the single one whose terms hold those of all others. Else all of them joined by AND,
    sorted: each part then binds its own records. Nothing is held by a licence that is not known.
    """
    distinct = sorted({canonical(expression) for expression in expressions})
    if len(distinct) < 2:
        return distinct[0] if distinct else None
    holding = [one for one in distinct if all(_holds(one, other) for other in distinct)]
    return holding[0] if len(holding) == 1 else joined(distinct)


def _holds(one: str, other: str) -> bool:
    """Whether material under `other` may be passed on under `one` alone, its attribution kept."""
    if one == other:
        return True
    asked, own = obligations(other), obligations(one)
    if not asked.known or not own.known or _operands(_parsed(one))[0] or lacking(one, other):
        return False
    if not asked.asked:
        return True
    if asked.asked == own.asked:  # MIT and Apache ask for the same and are not the same
        (own_family, version), (needed, since) = family(one), family(other)
        return asked.share_alike or (
            own_family == needed and version >= since and bool(CREATIVE_COMMONS.fullmatch(one))
        )
    return bool(CREATIVE_COMMONS.fullmatch(one)) or other in _ABSORBED


_ABSORBED = frozenset({"MIT", "ISC", "BSD-2-Clause", "BSD-3-Clause"})
"""Short notices that every licence lets stand beside its own terms."""


def joined(expressions: Iterable[str]) -> str:
    """All licences together: `A AND B`, sorted, alternatives in parentheses."""
    parts: set[str] = set()
    for expression in expressions:
        operator, operands = _operands(_parsed(expression))
        pieces = [str(o) for o in operands] if operator == "AND" else [canonical(expression)]
        parts |= {f"({p})" if _operands(_parsed(p))[0] == "OR" else p for p in pieces}
    return " AND ".join(sorted(parts))


# --- the spec against its licences ---------------------------------------------------------------

_PERMISSION = "or, where the holder allows more than the licence, name that permission: LicenseRef-…"


def rights_problems(spec: Spec) -> Iterator[tuple[str, str, str]]:
    """(place, message, remedy) of rights that contradict a licence or what the release is for.

    Nothing is said of licences that are not known: the contract decides, and `uses` says what it allows.
    """
    for index, source in enumerate(spec.sources):
        place = f"sources[{index}] ({source.name}).rights.uses"
        licence, uses = source.rights.license, source.rights.uses
        asked = obligations(licence)
        if "commercial" in uses and asked.non_commercial:
            yield (
                place,
                f"names commercial, and {licence} allows non-commercial use only.",
                f"Remove commercial, {_PERMISSION}.",
            )
        if "redistribute" in uses and asked.no_derivatives:
            yield (
                place,
                f"names redistribute, and {licence} does not let adapted material be passed on: what is released is "
                "cleaned and scrubbed.",
                f"Remove redistribute, {_PERMISSION}.",
            )
    for use in dict.fromkeys(spec.release.uses):
        without = sorted(s.name for s in spec.sources if use not in s.rights.uses)
        # Who may not evaluate is kept out of validation and test; who may not train is no source.
        if without and use in ("commercial", "redistribute"):
            yield (
                "release.uses",
                f"names {use}, which the rights of {_listed(without)} do not allow.",
                f"Remove {use} from release.uses, remove these sources, or get the right and add it to their rights.uses.",
            )
    if spec.release.license is not None:
        yield from _laxer(spec, spec.release.license)
    if "redistribute" in spec.release.uses:
        yield from _conflicting_share_alike(spec)


def _laxer(spec: Spec, licence: str) -> Iterator[tuple[str, str, str]]:
    """Sources whose licence asks for what release.license does not, one problem a licence."""
    by_licence: dict[str, list[str]] = {}
    for source in spec.sources:
        by_licence.setdefault(source.rights.license, []).append(source.name)
    for expression, names in sorted(by_licence.items()):
        if missing := lacking(licence, expression):
            words = " and ".join(OBLIGATION_WORDS[name] for name in missing)
            yield (
                "release.license",
                f"{licence} is laxer than {expression} of {_listed(sorted(names))}, which asks for {words}"
                + (" under the same licence." if "share_alike" in missing else "."),
                "Remove release.license (the strictest of the records is then taken), name one that keeps this, "
                "or remove the source.",
            )


def _conflicting_share_alike(spec: Spec) -> Iterator[tuple[str, str, str]]:
    alike: dict[str, list[str]] = {}
    for source in spec.sources:
        if obligations(source.rights.license).share_alike:
            alike.setdefault(canonical(source.rights.license), []).append(source.name)
    if len(alike) < 2 or any(all(shares_alike(one, other) for other in alike) for one in alike):
        return
    told = "; ".join(f"{licence} of {_listed(sorted(names))}" for licence, names in sorted(alike.items()))
    yield (
        "release.uses",
        f"names redistribute, and no licence keeps the share-alike of all sources: {told}.",
        "Make a dataset of each, remove redistribute, or remove the sources of all but one of these licences.",
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names)
