"""The usual layouts of evaluation sets: from the columns of a file to what is asked, what is answered and the id.

Lives here: the table of known layouts, which of them fits, and reading one row as it says. Keep out: mapped
evaluation sets (`layouts.eval_items`), opening files (`assets.evalsets`), comparing with records (`decontaminate`).

What is protected of an item is what is asked. The options of a multiple choice and the passage that a question is
about are no part of it: copies spell options in many ways, passages stand in public texts, and a question without
either leaks as well. Whoever wants them maps them: `fields: {input: [passage, question]}`.
A change of the table changes what sets without a mapping protect: raise the version of `ProtectedParams` with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dataset_pipeline.spec.reading import Fields
from dataset_pipeline.transforms.conversations import spoken
from dataset_pipeline.transforms.layouts import Item
from dataset_pipeline.transforms.lookup import Payload, as_text, joined, kind_of, scalar_of
from dataset_pipeline.transforms.mapping import Misfit, Refusal
from dataset_pipeline.transforms.turns import chat_turns, sharegpt_turns

SAMPLED_ROWS = 100
"""Rows whose columns decide the layout: those that all of them have."""


@dataclass(frozen=True, slots=True)
class EvalLayout:
    """A known layout. Names are lower case: those of a file are compared without case.

    needs: columns that make it this layout. question: what is asked, joined by a blank line; a column of them that is
    not among `needs` may be absent. answer: the first that is there. options: a column of options, or several of one
    option each, to which the answer points. first: what the first option is called where it is called by a number.
    """

    needs: tuple[str, ...]
    question: tuple[str, ...]
    answer: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    first: int = 0


_KEYS = ("answer", "answerkey", "answer_key", "label", "gold", "correct", "target")
_ANSWERS = ("answer", "answers", "correct_answer", "best_answer", "target", "label", "output")
_PASSAGES = ("passage", "context", "article", "story", "document", "support", "text", "sentence")

EVAL_LAYOUTS: tuple[EvalLayout, ...] = (
    # multiple choice
    EvalLayout(("question", "choices"), ("question",), _KEYS, ("choices",)),
    EvalLayout(("question", "options"), ("question",), _KEYS, ("options",)),
    EvalLayout(("question", "a", "b"), ("question",), _KEYS, ("a", "b", "c", "d", "e")),
    EvalLayout(("ctx", "endings"), ("ctx",), ("label",), ("endings",)),
    EvalLayout(("sent1", "sent2", "ending0"), ("sent1", "sent2"), ("label",), ("ending0", "ending1", "ending2", "ending3")),
    EvalLayout(("sentence", "option1", "option2"), ("sentence",), _KEYS, ("option1", "option2"), 1),
    EvalLayout(("goal", "sol1", "sol2"), ("goal",), ("label",), ("sol1", "sol2")),
    EvalLayout(("premise", "choice1", "choice2"), ("premise",), ("label",), ("choice1", "choice2")),
    # two texts that are one question
    EvalLayout(("premise", "hypothesis"), ("premise", "hypothesis"), ("label",)),
    EvalLayout(("sentence1", "sentence2"), ("sentence1", "sentence2"), ("label",)),
    EvalLayout(("question1", "question2"), ("question1", "question2"), ("label",)),
    # word problems whose text is parted, and those that hold it once more in parts
    EvalLayout(("body", "question"), ("body", "question"), ("answer",)),
    EvalLayout(("question", "body", "ques"), ("question",), ("answer",)),
    EvalLayout(("problem", "solution"), ("problem",), ("solution",)),
    EvalLayout(("problem", "answer"), ("problem",), ("answer",)),
    EvalLayout(("problem",), ("problem",)),
    # code
    EvalLayout(("prompt", "canonical_solution"), ("prompt",), ("canonical_solution",)),
    EvalLayout(("text", "code"), ("text",), ("code",)),
    EvalLayout(("prompt", "code"), ("prompt",), ("code",)),
    # instructions
    EvalLayout(("instruction", "instances"), ("instruction", "input"), ("output",)),
    EvalLayout(("instruction", "output"), ("instruction", "input"), ("output",)),
    EvalLayout(("instruction", "response"), ("instruction", "context"), ("response",)),
    EvalLayout(("instruction",), ("instruction", "input")),
    # a question, with or without a passage
    *(EvalLayout((passage, "question"), ("question",), _ANSWERS) for passage in _PASSAGES),
    *(EvalLayout(("question", answer), ("question",), (answer,)) for answer in _ANSWERS),
    EvalLayout(("question",), ("question",)),
    EvalLayout(("query", "response"), ("query",), ("response",)),
    EvalLayout(("query", "answer"), ("query",), ("answer",)),
    EvalLayout(("query",), ("query",)),
    # turns
    EvalLayout(("turns",), ("turns",)),
    EvalLayout(("messages",), ("messages",)),
    EvalLayout(("conversations",), ("conversations",)),
    # what goes in and what comes out
    EvalLayout(("prompt", "completion"), ("prompt",), ("completion",)),
    EvalLayout(("prompt", "response"), ("prompt",), ("response",)),
    EvalLayout(("prompt", "answer"), ("prompt",), ("answer",)),
    EvalLayout(("prompt",), ("prompt",)),
    EvalLayout(("inputs", "targets"), ("inputs",), ("targets",)),
    EvalLayout(("inputs",), ("inputs",)),
    EvalLayout(("input", "target"), ("input",), ("target",)),
    EvalLayout(("input", "target_scores"), ("input",), ("target_scores",)),
    EvalLayout(("input", "output"), ("input",), ("output",)),
    EvalLayout(("input", "label"), ("input",), ("label",)),
    EvalLayout(("input",), ("input",)),
    # classification, and texts alone
    EvalLayout(("text", "label"), ("text",), ("label",)),
    EvalLayout(("text", "category"), ("text",), ("category",)),
    EvalLayout(("text", "intent"), ("text",), ("intent",)),
    EvalLayout(("text",), ("text",)),
    EvalLayout(("sentence", "label"), ("sentence",), ("label",)),
    EvalLayout(("sentence",), ("sentence",)),
)  # fmt: skip
"""Of those whose columns are all there, the one that needs most is taken; of equals, the first."""

_IDS = ("id", "task_id", "question_id", "problem_id", "item_id", "example_id", "sample_id", "unique_id", "uid", "qid", "guid")  # fmt: skip
"""Columns of an item's own id, the likeliest first. Not `idx` and `index`: they count anew in each file of a set."""


def known_layouts() -> str:
    """What is known as the question, for messages: of layouts that ask the same the one that needs least."""
    least: dict[tuple[str, ...], tuple[str, ...]] = {}
    for layout in EVAL_LAYOUTS:
        before = least.get(layout.question)
        if before is None or len(layout.needs) < len(before):
            least[layout.question] = layout.needs
    return "; ".join(" + ".join(needs) for needs in least.values())


def common_columns(rows: Iterable[Payload]) -> list[str]:
    """The columns that each of these rows has, in the order of the first one."""
    every: list[str] | None = None
    for row in rows:
        every = list(row) if every is None else [name for name in every if name in row]
    return every or []


def layout_of(columns: Iterable[str]) -> EvalLayout | None:
    """The layout that a file with these columns has; None for none."""
    there = {name.lower() for name in columns}
    fitting = [layout for layout in EVAL_LAYOUTS if there.issuperset(layout.needs)]
    return max(fitting, key=lambda layout: len(layout.needs), default=None)  # of equals the first


class EvalReader:
    """The items of the rows of one file in a known layout.

    fields: what the spec maps all the same: an id or an output goes before the layout's.
    """

    __slots__ = ("_answers", "_first", "_id", "_layout", "_names", "_options", "_output", "_questions")

    def __init__(self, layout: EvalLayout, columns: Iterable[str], fields: Fields):
        self._layout = layout
        self._names: dict[str, str] = {}
        for name in columns:
            if name.lower() not in self._names or name == name.lower():
                self._names[name.lower()] = name
        self._questions = self._named(layout.question)
        self._answers = self._named(layout.answer)
        self._options = self._named(layout.options)
        self._first = layout.first
        own = fields.id or next((self._names[name] for name in _IDS if name in self._names), None)
        self._id = None if own is None else (own, scalar_of(own))
        self._output = None if fields.output is None else joined(fields.output)

    def _named(self, columns: Sequence[str]) -> tuple[str, ...]:
        """As the file writes them; those that it may lack as the table does."""
        return tuple(self._names.get(name, name) for name in columns)

    def items(self, payload: Payload) -> list[Item | Refusal]:
        """(id, text, answer) of each item in a row, or why there is none. Never empty."""
        try:
            return list(self._items(payload))
        except Misfit as misfit:
            return [misfit.refusal()]

    def _items(self, payload: Payload) -> Iterator[Item]:
        name = self._own_id(payload)
        instances = payload.get(self._named(("instances",))[0]) if "instances" in self._layout.needs else None
        if not isinstance(instances, list) or not instances:
            yield name, self._text(payload), self._answer(payload)
            return
        for number, instance in enumerate(instances):
            if not isinstance(instance, dict):
                raise Misfit("wrong_type", f"instances[{number}] is {kind_of(instance)}, not an object")
            one = payload | instance
            numbered = name if name is None or len(instances) == 1 else f"{name}#{number}"
            yield numbered, self._text(one), self._answer(one)

    def _own_id(self, payload: Payload) -> str | None:
        if self._id is None:
            return None
        column, read = self._id
        value = payload.get(column)
        return None if isinstance(value, list | dict) else read(payload)

    def _text(self, payload: Payload) -> str:
        parts = []
        for column, lower in zip(self._questions, self._layout.question, strict=True):
            value = payload.get(column)
            if value is None:
                if lower in self._layout.needs:
                    raise Misfit("missing_value", f"{column} is missing or null")
                continue
            parts.append(_asked(value, column))
        return "\n\n".join(part for part in parts if part.strip())

    def _answer(self, payload: Payload) -> str | None:
        if self._output is not None:
            return self._output(payload)
        answer = next((payload[name] for name in self._answers if payload.get(name) is not None), None)
        if not self._options:
            return _told(answer)
        options, labels = _options(payload, self._options)
        return _pointed_at(answer, options, labels, self._first)


def _asked(value: Any, column: str) -> str:
    """What is asked, as one text: a text, texts in a row, turns, or an object that holds it as `stem` or `text`."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        inside = value.get("stem", value.get("text"))
        if isinstance(inside, str):
            return inside
    if isinstance(value, list) and value:
        if all(isinstance(part, str) for part in value):
            return "\n\n".join(part for part in value if part.strip())
        if all(isinstance(part, dict) for part in value):
            is_sharegpt = "from" in value[0]
            return spoken((sharegpt_turns if is_sharegpt else chat_turns)(value, column))
    raise Misfit("wrong_type", f"{column} is {kind_of(value)}, not text")


def _told(value: Any) -> str | None:
    """An answer as text; of several the first, of scored ones the best. None for what says none."""
    if isinstance(value, list):
        return next((told for part in value if (told := _told(part)) is not None), None)
    if isinstance(value, dict):
        scores = {k: v for k, v in value.items() if isinstance(v, int | float) and not isinstance(v, bool)}
        if scores and len(scores) == len(value):
            return str(max(scores, key=lambda key: scores[key]))
        return _told(next((value[name] for name in ("text", "value", "aliases") if name in value), None))
    try:
        return as_text(value, "answer")
    except Misfit:  # what is no text is no answer; the question is an item all the same
        return None


def _options(payload: Payload, columns: Sequence[str]) -> tuple[list[str | None], list[str]]:
    """The options of a row, and what each is called where the row says so."""
    value: Any = [payload.get(name) for name in columns] if len(columns) > 1 else payload.get(columns[0])
    if isinstance(value, Mapping):
        texts, labels = value.get("text"), value.get("label")
        if isinstance(texts, list):
            named = [str(label) for label in labels] if isinstance(labels, list) else []
            return [_told(text) for text in texts], named
        return [_told(text) for text in value.values()], [str(name) for name in value]
    if not isinstance(value, list):
        return [], []
    labelled = [part for part in value if isinstance(part, dict) and "label" in part]
    return [_told(part) for part in value], [str(part["label"]) for part in labelled]


def _pointed_at(answer: Any, options: list[str | None], labels: list[str], first: int) -> str | None:
    """The option that an answer names by its label, number or letter; else the answer itself."""
    told = _told(answer)
    if told is None or told in options:
        return told
    name = told.strip()
    if len(labels) == len(options) and name in labels:
        return options[labels.index(name)]
    if name.isascii() and name.isdigit() and len(name) < 4:
        place = int(name) - first
    elif len(name) == 1 and name.isascii() and name.isalpha():
        place = ord(name.upper()) - ord("A")
    else:
        return told
    return options[place] if 0 <= place < len(options) else told
