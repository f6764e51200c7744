"""What licences ask for, and where the spec's rights contradict them.

Lives here: obligations of SPDX expressions, which licence holds the terms of another, and rights that the spec
claims against a licence. Keep out: single licences (`licence_terms`), rights of released records
(`transforms.rights`), whether an expression is SPDX at all (`meaning.licence_problem`).

A model of what the licences say, for the questions a dataset raises; no legal advice. Where it knows nothing
(LicenseRef-…, rare ids) it says so, and the source's `uses` decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache, reduce
from operator import or_
from typing import TYPE_CHECKING, Any

from dataset_pipeline.spec.licence_terms import (
    OBLIGATION_WORDS,
    Obligations,
    absorbs,
    address,
    shares,
    terms_of,
)

if TYPE_CHECKING:
    from dataset_pipeline.spec.models import Spec


@lru_cache(maxsize=1)
def licensing() -> Any:
    """The SPDX list, made once: it takes a tenth of a second (measured)."""
    from license_expression import get_spdx_licensing

    return get_spdx_licensing()


@lru_cache(maxsize=4096)
def _parsed(expression: str) -> Any:
    """The tree of an expression; None where it is none (`licence_problem` has said so)."""
    from license_expression import ExpressionError

    try:
        return licensing().parse(expression, validate=False, strict=False)
    except (ExpressionError, ValueError, TypeError, AttributeError):
        return None


def _operands(node: Any) -> tuple[str, tuple[Any, ...]]:
    """`AND` or `OR` with what stands beside it, or `` for a single licence (an exception belongs to it)."""
    operator = str(getattr(node, "operator", "")).strip()
    return (operator, tuple(node.args)) if operator in ("AND", "OR") else ("", ())


Alternative = frozenset[str]
"""Licences that hold together, one choice among the OR of an expression; `X WITH exception` is one of them."""

MAX_ALTERNATIVES = 64
"""Choices that are told apart. Of an expression with more the strictest reading counts: who receives it is bound by
every licence in it, who is offered it may hold to any single one."""


def _expanded(node: Any) -> frozenset[Alternative] | None:
    """The alternatives of a node, without those that only add to another; None for more than MAX_ALTERNATIVES."""
    operator, parts = _operands(node)
    if not operator:
        return frozenset({frozenset({str(node)})})
    whole: frozenset[Alternative] | None = None
    for part in parts:
        one = _expanded(part)
        if one is None:
            return None
        if whole is None:
            whole = one
        else:
            whole = whole | one if operator == "OR" else frozenset(a | b for a in whole for b in one)
        if len(whole) > MAX_ALTERNATIVES:
            return None
        whole = frozenset(a for a in whole if not any(b < a for b in whole))
    return whole


@lru_cache(maxsize=4096)
def alternatives(expression: str, is_offer: bool = False) -> tuple[Alternative, ...]:
    """What one may choose from, sorted: `A AND (B OR C)` is {A, B} or {A, C}. What cannot be parsed is one licence.

    is_offer: the expression is what is given, not what was received; this matters beyond MAX_ALTERNATIVES only.
    """
    node = _parsed(expression)
    if node is None:
        return (frozenset({expression.strip()}),)
    found = _expanded(node)
    if found is None:
        every = _leaves(node)
        found = frozenset(frozenset({one}) for one in every) if is_offer else frozenset({every})
    return tuple(sorted(found, key=sorted))


def _leaves(node: Any) -> frozenset[str]:
    operator, parts = _operands(node)
    return frozenset().union(*map(_leaves, parts)) if operator else frozenset({str(node)})


def _terms(alternative: Alternative) -> Obligations:
    """What either licence of an alternative asks for."""
    return reduce(or_, map(terms_of, alternative))


@lru_cache(maxsize=4096)
def obligations(expression: str) -> Obligations:
    """What an SPDX expression asks for.

    AND: what either side asks for. OR: the receiver chooses, so what the laxest alternative asks for; one that we do
    not know may ask for nothing. Where none is the laxest (NC or ND), what any asks for: each frees of one thing
    and binds to another. WITH: of its licence, since an exception only ever loosens it. What cannot be parsed is not
    known.
    """
    if _parsed(expression) is None:
        return Obligations(known=False)
    asked = [_terms(one) for one in alternatives(expression)]
    laxest = (o for o in asked if all(o.asked <= other.asked for other in asked))
    return replace(next(laxest, reduce(or_, asked)), known=all(o.known for o in asked))


def canonical(expression: str) -> str:
    """The expression as SPDX writes its identifiers; as it stands where it cannot be parsed."""
    node = _parsed(expression)
    return expression.strip() if node is None else str(node)


def links(expression: str) -> tuple[tuple[str, str | None], ...]:
    """(identifier, address of its text) of every licence in the expression; None for LicenseRef-… and no SPDX ids."""
    node = _parsed(expression)
    if node is None:
        return ((expression.strip(), None),)
    found = [str(key) for key in licensing().license_keys(node, unique=True)]
    known = licensing().known_symbols
    return tuple((one, address(one, one.removesuffix("+") in known)) for one in found)


# --- which licence holds the terms of another ----------------------------------------------------


def shares_alike(release: str, expression: str) -> bool:
    """Whether a release under `release`, whatever its user chooses, keeps the share-alike of one whole alternative of
    `expression`."""
    chosen = alternatives(expression)
    return all(any(_keeps(offer, one) for one in chosen) for offer in alternatives(release, is_offer=True))


def _keeps(offer: Alternative, asked: Alternative) -> bool:
    return all(any(shares(own, of) for own in offer) for of in asked if terms_of(of).share_alike)


def _missing(offer: Alternative, asked: Alternative) -> frozenset[str]:
    """Obligations of `asked` that `offer` does not pass on; none where the contract decides what it does."""
    own, needed = _terms(offer), _terms(asked)
    if not own.known:
        return frozenset()
    return (needed.asked - own.asked) | (frozenset() if _keeps(offer, asked) else {"share_alike"})


def _allows(alternative: Alternative, uses: Iterable[str]) -> bool:
    """Whether what we know of its licences allows all `uses` at once. What is released is adapted."""
    terms = _terms(alternative)
    denied = {"commercial"} if terms.non_commercial else set()
    denied |= {"redistribute"} if terms.no_derivatives else set()
    return denied.isdisjoint(uses)


def lacking(release: str, expression: str, uses: Iterable[str] = ()) -> tuple[str, ...]:
    """Obligations of `expression` that a release under `release` would not pass on, in the order of OBLIGATION_WORDS.

    Empty where every alternative of `release` holds one whole alternative of `expression`. An alternative of
    `release` that is not wholly known does: its contract decides. uses: what the release is for; an alternative that
    does not allow all of it is not chosen, unless none does. Of several choices what each would lack is told.
    """
    wanted = tuple(uses)
    every = alternatives(expression)
    chosen = [one for one in every if _allows(one, wanted)] or every
    missing: set[str] = set()
    for offer in alternatives(release, is_offer=True):
        short = [_missing(offer, one) for one in chosen]
        if all(short):
            missing.update(*(one for one in short if not any(other < one for other in short)))
    return tuple(name for name in OBLIGATION_WORDS if name in missing)


def strictest(expressions: Iterable[str]) -> str | None:
    """The licence under which records of all `expressions` may stand together; None for no expressions.

    Those that no other one surely holds: the only one, or all of them joined by AND, sorted; each part then binds
    its own records. Nothing is held by a licence that is not known, or by an expression of several.
    """
    distinct = sorted({canonical(expression) for expression in expressions})
    if not distinct:
        return None
    highest = [
        one
        for one in distinct
        if not any(_holds(other, one) and not _holds(one, other) for other in distinct if other != one)
    ]
    # What holds the holder of a third need not hold the third: CC-BY-4.0, CC-BY-SA-4.0, GPL-3.0-only.
    left = [one for one in distinct if one in highest or not any(_holds(other, one) for other in highest)]
    return left[0] if len(left) == 1 else joined(left)


def _holds(one: str, other: str) -> bool:
    """Whether material under `other` may surely be passed on under `one` alone, its attribution kept."""
    if len(alternatives(one)) > 1 or len(alternatives(one)[0]) > 1:
        return False
    return any(all(absorbs(one, part) for part in parts) for parts in alternatives(other))


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
        for message, remedy in _not_allowed(source.rights.license, source.rights.uses):
            yield place, message, remedy
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
        yield from _passed_on(spec, spec.release.license)
    if "redistribute" in spec.release.uses:
        yield from _conflicting_share_alike(spec)


def _not_allowed(licence: str, uses: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(message, remedy) of uses that no one alternative of the licence allows: each of them, or all at once."""
    claimed = [use for use in ("commercial", "redistribute") if use in uses]
    chosen = alternatives(licence)
    denied = [use for use in claimed if not any(_allows(one, [use]) for one in chosen)]
    if "commercial" in denied:
        yield (
            f"names commercial, and {licence} allows non-commercial use only.",
            f"Remove commercial, {_PERMISSION}.",
        )
    if "redistribute" in denied:
        yield (
            f"names redistribute, and {licence} does not let adapted material be passed on: what is released is "
            "cleaned and scrubbed.",
            f"Remove redistribute, {_PERMISSION}.",
        )
    if not denied and not any(_allows(one, claimed) for one in chosen):
        yield (
            f"names {' and '.join(claimed)}, and no one alternative of {licence} allows both.",
            f"Remove one of them, {_PERMISSION}.",
        )


def lacking_words(names: Iterable[str], expression: str) -> str:
    """What `lacking` found, for a message; of an expression with a choice, what each choice would ask."""
    return (" or " if len(alternatives(expression)) > 1 else " and ").join(
        OBLIGATION_WORDS[name] for name in names
    )


def _laxer(spec: Spec, licence: str) -> Iterator[tuple[str, str, str]]:
    """Sources whose licence asks for what release.license does not, one problem a licence."""
    by_licence: dict[str, list[str]] = {}
    for source in spec.sources:
        by_licence.setdefault(source.rights.license, []).append(source.name)
    for expression, names in sorted(by_licence.items()):
        if missing := lacking(licence, expression, spec.release.uses):
            yield (
                "release.license",
                f"{licence} is laxer than {expression} of {_listed(sorted(names))}, which asks for "
                + lacking_words(missing, expression)
                + (" under the same licence." if "share_alike" in missing else "."),
                "Remove release.license (the strictest of the records is then taken), name one that keeps this, "
                "or remove the source.",
            )


def _passed_on(spec: Spec, licence: str) -> Iterator[tuple[str, str, str]]:
    """Sources under terms that only their contract knows, and that do not let their records be passed on."""
    kept = sorted(
        s.name
        for s in spec.sources
        if "redistribute" not in s.rights.uses
        and canonical(s.rights.license) != canonical(licence)
        and not obligations(s.rights.license).known
        and not lacking(licence, s.rights.license, spec.release.uses)  # told by `_laxer`
    )
    if kept and obligations(licence).known:
        yield (
            "release.license",
            f"{licence} lets whoever has the release pass it on, which the rights of {_listed(kept)} do not allow.",
            "Remove release.license, name a LicenseRef-… of your own, or get the right and add redistribute to their rights.uses.",
        )


def _conflicting_share_alike(spec: Spec) -> Iterator[tuple[str, str, str]]:
    alike: dict[str, list[str]] = {}
    for source in spec.sources:
        chosen = alternatives(source.rights.license)
        if all(_terms(one).share_alike for one in chosen):
            alike.setdefault(canonical(source.rights.license), []).append(source.name)
    offers = {" AND ".join(sorted(one)) for expression in alike for one in alternatives(expression)}
    if len(alike) < 2 or any(all(shares_alike(one, other) for other in alike) for one in offers):
        return
    told = "; ".join(f"{licence} of {_listed(sorted(names))}" for licence, names in sorted(alike.items()))
    yield (
        "release.uses",
        f"names redistribute, and no licence keeps the share-alike of all sources: {told}.",
        "Make a dataset of each, remove redistribute, or remove the sources of all but one of these licences.",
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names)
