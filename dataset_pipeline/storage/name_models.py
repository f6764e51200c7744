"""spaCy models that the spec names: opened from an installed package or a folder, and what is wrong with them.

Lives here: everything that opens such a model. Keep out: what is done with the names it finds (`transforms.persons`). Nothing is
fetched. Each text is read by itself: beside others the last bits of a network's sums would differ, and a day from a range.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from dataset_pipeline.errors import Problem, SpecError
from dataset_pipeline.spec import beside
from dataset_pipeline.spec.load import Project
from dataset_pipeline.spec.meaning import PATH_REMEDY, path_problem

PLACE = "normalize.pii.model"
PERSONS = ("PERSON", "PER")
"""What models call persons: those of spaCy for English and for most other languages."""
_UNUSED = ("parser", "tagger", "morphologizer", "lemmatizer", "attribute_ruler", "senter", "textcat")
_CHARS_AT_ONCE = 100_000
"""A longer text is read in pieces, cut at white space: memory grows with the length of a text."""


def model_problems(project: Project) -> list[Problem]:
    """What is wrong with the model of a spec: it is opened, and reads two words."""
    model = project.spec.normalize.pii.model
    if model is None:
        return []
    try:
        load(project.root, model).persons("two words")
    except SpecError as error:
        return error.problems
    return []


def load(root: Path, model: str) -> SpacyPersons:
    """The model that the spec names; root: the spec's folder. Raises SpecError with what is wrong and the remedy."""
    place = f"{PLACE}: {model}"
    if beside.is_folder(root, model):
        if reason := path_problem(model):
            raise SpecError([Problem(place, reason, PATH_REMEDY)])
        if not (root / model).is_dir():
            what = "there is no such folder."
            raise SpecError(
                [Problem(place, what, "Name the folder of a spaCy model: it holds config.cfg and meta.json.")]
            )
        return _opened(str(root / model), place, beside.identity_of_model(root, model))
    return _opened(model, place, beside.identity_of_model(root, model))


@lru_cache(maxsize=2)
def _opened(name: str, place: str, identity: str) -> SpacyPersons:
    import spacy

    try:
        nlp = spacy.load(name, exclude=list(_UNUSED))
    except Exception as error:
        said = (str(error).strip().splitlines() or [""])[0][:200]
        remedy = "Install the package of the model, for example en-core-web-sm, in the version of your spaCy; or name a folder beside the spec."
        raise SpecError(
            [Problem(place, f"cannot be opened: {type(error).__name__}: {said}", remedy)]
        ) from None
    labels = {label for pipe in nlp.pipe_names for label in nlp.pipe_labels.get(pipe, ())}
    if labels.isdisjoint(PERSONS):
        what = f"finds no persons: its components ({', '.join(nlp.pipe_names) or 'none'}) know no label {' or '.join(PERSONS)}."
        raise SpecError([Problem(place, what, "Name a model with named entities (ner or entity_ruler).")])
    return SpacyPersons(nlp, f"spacy {spacy.__version__} {identity}", place)


class SpacyPersons:
    """A `transforms.persons.PersonModel` on a spaCy pipeline."""

    def __init__(self, nlp: Any, identity: str, place: str):
        self._nlp, self.identity, self._place = nlp, identity, place
        nlp.max_length = 2 * _CHARS_AT_ONCE

    def persons(self, text: str) -> list[tuple[int, int]]:
        """Start and end of each name in `text`. Raises SpecError where the model fails; the text is not quoted."""
        found = []
        for start, end in _pieces(text):
            try:
                entities = self._nlp(text[start:end]).ents
            except Exception as error:
                what = f"fails with {type(error).__name__} on a text of {end - start} characters."
                raise SpecError(
                    [Problem(self._place, what, "The model may belong to another version of spaCy.")]
                ) from None
            found += [(start + e.start_char, start + e.end_char) for e in entities if e.label_ in PERSONS]
        return found


def _pieces(text: str) -> list[tuple[int, int]]:
    pieces, start = [], 0
    while start < len(text):
        end = min(len(text), start + _CHARS_AT_ONCE)
        if end < len(text):
            blank = max(text.rfind(" ", start + 1, end), text.rfind("\n", start + 1, end))
            end = blank if blank > start else end
        pieces.append((start, end))
        start = end
    return pieces
