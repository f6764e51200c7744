"""Counting the tokens of conversations, as texts or through a chat template, as a trainer does.

Lives here: rendering, counting, and what is said of a template that fails. Keep out: opening a tokenizer
(`tokenizers`), what the counts mean (`transforms.tokens`).
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dataset_pipeline.errors import Problem, SpecError

Turns = list[dict[str, str]]
Counted = list[tuple[int, int, bool | None]]
"""prompt_tokens, answer_tokens and has_end of each record, as transforms.tokens.TOKENS has them."""

_TEMPLATE = "Mend the template, or name another one as training.chat_template."
_SYNTAX = ("TemplateSyntaxError", "TemplateAssertionError")


def _lengths(tokenizer: Any, texts: list[str], with_special: bool = False) -> list[int]:
    """Tokens of each text. The library's threads do not change what it counts."""
    encoded = tokenizer.backend_tokenizer.encode_batch_fast(texts, add_special_tokens=with_special)
    return [len(one) for one in encoded]


@dataclass(frozen=True)
class PlainCounter:
    """Prompt and answer as texts, for a tokenizer without a chat template.

    The messages of a side are joined by a blank line. The prompt has the tokens that the tokenizer itself begins a
    text with; the answer has one more, the end that a trainer appends. has_end is null: it is not the data's to say.
    """

    tokenizer: Any

    def count(self, prompts: Sequence[Turns], answers: Sequence[Turns], record_ids: Sequence[str]) -> Counted:
        before = _lengths(self.tokenizer, [_said(turns) for turns in prompts], with_special=True)
        said = _lengths(self.tokenizer, [_said(turns) for turns in answers])
        return [(prompt, answer + 1, None) for prompt, answer in zip(before, said, strict=True)]


def _said(turns: Turns) -> str:
    return "\n\n".join(turn["content"] for turn in turns)


_DATE = {"%d": "26", "%-d": "26", "%b": "Jul", "%B": "July", "%Y": "2024", "%m": "07", "%y": "24", "%A": "Friday",
         "%a": "Fri", "%H": "12", "%M": "00", "%S": "00", "%j": "208", "%p": "PM", "%I": "12"}  # fmt: skip
"""What a template that asks for today gets. The day itself does not matter: that it is always the same one does."""

_FIXED_DATE = (
    "{%- macro strftime_now(format) -%}{{ format"
    + "".join(f" | replace('{code}', '{value}')" for code, value in _DATE.items())
    + " }}{%- endmacro -%}"
)


class TemplateCounter:
    """Conversations as the chat template renders them.

    prompt_tokens: everything before the answer, rendered with the opening of the answer's turn. answer_tokens: what the
    whole conversation has more. That is how TRL's SFTTrainer parts prompt and completion.
    """

    def __init__(self, tokenizer: Any, template: str, where: str):
        """where: the template in words of an error."""
        self._tokenizer, self._source, self._where = tokenizer, template, where
        # On the first line, so that line numbers stay.
        self._template = (_FIXED_DATE if "strftime_now" in template else "") + template
        added = tokenizer.added_tokens_decoder.values()
        ends = {str(token) for token in added} | {str(tokenizer.eos_token or "")}
        listed = sorted(re.escape(token) for token in ends if token.strip())
        self._end = re.compile("|".join(listed) if listed else r"(?!)")

    def check_syntax(self) -> None:
        """Raises SpecError where the template is no Jinja."""
        turns = [{"role": "user", "content": "A"}, {"role": "assistant", "content": "B"}]
        try:
            self._rendered([turns], False)
        except ImportError as error:
            what = f"cannot be rendered: {_first_line(error)}."
            remedy = "pip install 'dataset-pipeline[tokenizer]'."
            raise SpecError([Problem(self._where, what, remedy)]) from None
        except Exception as error:
            if type(error).__name__ in _SYNTAX:
                line = getattr(error, "lineno", 1)
                what = f"is no Jinja: line {line}: {_first_line(error)}."
                raise SpecError([Problem(self._where, what, _TEMPLATE)]) from None

    def count(self, prompts: Sequence[Turns], answers: Sequence[Turns], record_ids: Sequence[str]) -> Counted:
        wholes = [[*prompt, *answer] for prompt, answer in zip(prompts, answers, strict=True)]
        whole = self._render(wholes, record_ids, False)
        # A record without a prompt has nothing that could be rendered before its answer.
        with_prompt = [n for n, prompt in enumerate(prompts) if prompt]
        opened = [""] * len(wholes)
        rendered = self._render([prompts[n] for n in with_prompt], [record_ids[n] for n in with_prompt], True)
        for n, text in zip(with_prompt, rendered, strict=True):
            opened[n] = text
        totals, before = _lengths(self._tokenizer, whole), _lengths(self._tokenizer, opened)
        counted: Counted = []
        for n, total in enumerate(totals):
            prompt = min(before[n], total)
            counted.append((prompt, total - prompt, self._has_end(whole[n], opened[n], answers[n])))
        return counted

    def _has_end(self, whole: str, opened: str, answer: Turns) -> bool:
        """Whether a special token stands behind the answer.

        Where the template changed the answer, or the answer has several turns, behind all that is no white space.
        """
        rest = whole[len(opened) :] if whole.startswith(opened) else None
        if rest is not None and len(answer) == 1:
            said = answer[0]["content"].strip()
            at = rest.find(said)
            if at >= 0:
                return self._end.search(rest, at + len(said)) is not None
        rest = whole if rest is None else rest
        last = list(self._end.finditer(rest))
        return bool(last) and not rest[last[-1].end() :].strip()

    def _rendered(self, conversations: list[Turns], opens: bool) -> list[str]:
        texts = self._tokenizer.apply_chat_template(
            conversations, chat_template=self._template, add_generation_prompt=opens, tokenize=False
        )
        return list(texts)

    def _render(self, conversations: list[Turns], record_ids: Sequence[str], opens: bool) -> list[str]:
        """The texts. Raises SpecError that names the first record which the template refuses."""
        if not conversations:
            return []
        try:
            return self._rendered(conversations, opens)
        except Exception:
            # All at once is faster; which one it was is seen one by one.
            for conversation, record_id in zip(conversations, record_ids, strict=True):
                try:
                    self._rendered([conversation], opens)
                except Exception as error:
                    raise self._refusal(conversation, record_id, opens, error) from None
            raise

    def _refusal(self, conversation: Turns, record_id: str, opens: bool, error: Exception) -> SpecError:
        roles = [turn["role"] for turn in conversation]
        shown = ", ".join(roles[:4]) + (f" and {len(roles) - 4} more turns" if len(roles) > 4 else "")
        what = f"cannot render {record_id} ({shown}): {self._words(error)}."
        remedy = _TEMPLATE
        if roles[0] == "system":
            try:
                self._rendered([conversation[1:]], opens)
                what += " It takes no system turn: without it the record is rendered."
                remedy = "Name a training.chat_template that takes one, or remove task.system_prompt and the sources' own."
            except Exception:
                remedy = _TEMPLATE
        return SpecError([Problem(self._where, what, remedy)])

    def _words(self, error: Exception) -> str:
        """The template's own words, where they stand in it; anything else might quote the record."""
        line = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith("<")]
        message = _first_line(error)
        if message and message in self._source:
            words = f'it says "{message}"'
        else:
            words = f"it fails with {type(error).__name__}"
        return words + (f" in line {line[-1]}" if line and line[-1] else "")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200].rstrip(".")
