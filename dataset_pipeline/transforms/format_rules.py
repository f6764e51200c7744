"""format_rules: what the readers of released files ask of a row, each as a name and an expression.

Lives here: the rules of OpenAI's fine-tuning files, TRL, axolotl and LLaMA-Factory, by format. Keep out: comparing
with the tables (`preflight`), loading (`storage.loading`), judging (`expectations.release`).

The rules follow the code that decides, as of trl 1.16, axolotl 0.19 and llamafactory 0.9.5; OpenAI's follow its
published checks of fine-tuning files. A rule is stated where a reader fails, or drops or alters a row in silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import polars as pl

OPENAI, TRL, AXOLOTL, LLAMA_FACTORY = "OpenAI", "TRL", "axolotl", "LLaMA-Factory"

_CHAT_LETTERS = {"system": "s", "user": "u", "assistant": "a"}
_SHAREGPT_LETTERS = {"system": "s", "human": "u", "gpt": "a"}


@dataclass(frozen=True)
class Rule:
    """One thing that a reader asks of a row.

    bad: true for a row that breaks it, over the loaded frame; never null. asked_by: the readers, joined by a comma.
    follows: the files of these readers that decide, and what happens there.
    """

    name: str
    asked_by: str
    bad: pl.Expr
    follows: str


def shape(turns: str, role: str = "role") -> pl.Expr:
    """The roles of a list of turns as letters, one each: s for system, u for user, a for assistant, ? for any other.

    `[system, user, assistant]` is `sua`; a null list is the empty text.
    """
    letters = _CHAT_LETTERS if role == "role" else _SHAREGPT_LETTERS
    each = (
        pl.element()
        .struct.field(role)
        .replace_strict(letters, default="?", return_dtype=pl.String)
        .fill_null("?")
    )
    return pl.col(turns).list.eval(each).list.join("").fill_null("")


def _has_empty(turns: str, content: str = "content") -> pl.Expr:
    return (
        pl.col(turns)
        .list.eval(pl.element().struct.field(content).fill_null("") == "")
        .list.any()
        .fill_null(False)
    )


def _any(conditions: Iterable[pl.Expr]) -> pl.Expr:
    return pl.any_horizontal(*conditions)


def _is_blank(column: str) -> pl.Expr:
    return pl.col(column).fill_null("") == ""


def _by(*readers: str) -> str:
    return ", ".join(readers)


def _chat(column: str, readers: Sequence[str]) -> tuple[Rule, ...]:
    """Rules of conversations with `role` and `content`; those that none of `readers` asks are left out."""
    letters = shape(column)
    is_there = letters != ""
    asked: tuple[tuple[str, tuple[str, ...], pl.Expr, str], ...] = (
        ("turns_present", (OPENAI, TRL, AXOLOTL, LLAMA_FACTORY), ~is_there,
         "trl/data_utils.py is_conversational and axolotl/prompt_strategies/chat_template.py get_conversation_thread "
         "take the first turn; llamafactory/data/processor/supervised.py drops a row without one; OpenAI refuses it."),
        ("roles_known", (OPENAI, TRL, AXOLOTL, LLAMA_FACTORY), letters.str.contains("?", literal=True),
         "llamafactory/data/converter.py and axolotl/prompt_strategies/chat_template.py map roles by name; "
         "trl/data_utils.py prepare_multimodal_messages and OpenAI refuse others."),
        ("contents_filled", (OPENAI, AXOLOTL), _has_empty(column),
         "OpenAI refuses a turn without content; axolotl/prompt_strategies/chat_template.py find_turn finds no span "
         "of an empty turn, so nothing of it is learned."),
        ("assistant_present", (OPENAI,), is_there & ~letters.str.contains("a", literal=True),
         "OpenAI refuses an example without an answer."),
        ("ends_with_assistant", (OPENAI, AXOLOTL), is_there & ~letters.str.ends_with("a"),
         "OpenAI asks for an answer as the last turn; axolotl/prompt_strategies/chat_template.py "
         "_tokenize_single_prompt learns the last turn."),
        ("system_first", (OPENAI, LLAMA_FACTORY), letters.str.contains(".s"),
         "llamafactory/data/converter.py takes a system turn in first place only and drops the row otherwise."),
        ("turns_in_pairs", (TRL, LLAMA_FACTORY), is_there & ~letters.str.replace("^s", "").str.contains("^(ua)+$"),
         "llamafactory/data/converter.py drops a row whose turns do not alternate or are odd in number; TRL renders "
         "with the model's chat template, and templates raise where turns do not alternate."),
    )  # fmt: skip
    return tuple(
        Rule(name, _by(*(r for r in by if r in readers)), bad, follows)
        for name, by, bad, follows in asked
        if any(r in readers for r in by)
    )


def _sharegpt() -> tuple[Rule, ...]:
    letters = shape("conversations", "from")
    is_there = letters != ""
    return (
        Rule("turns_present", _by(AXOLOTL, LLAMA_FACTORY), ~is_there,
             "axolotl/prompt_strategies/chat_template.py get_conversation_thread takes the first turn; "
             "llamafactory/data/processor/supervised.py drops a row without one."),
        Rule("roles_known", _by(AXOLOTL, LLAMA_FACTORY), letters.str.contains("?", literal=True),
             "llamafactory/data/converter.py SharegptDatasetConverter drops a row with another tag than human, gpt "
             "and system; axolotl/prompt_strategies/chat_template.py maps these."),
        Rule("contents_filled", _by(AXOLOTL), _has_empty("conversations", "value"),
             "axolotl/prompt_strategies/chat_template.py find_turn finds no span of an empty turn."),
        Rule("ends_with_gpt", _by(AXOLOTL), is_there & ~letters.str.ends_with("a"),
             "axolotl/prompt_strategies/chat_template.py _tokenize_single_prompt learns the last turn."),
        Rule("system_first", _by(LLAMA_FACTORY), letters.str.contains(".s"),
             "llamafactory/data/converter.py takes a system turn in first place only and drops the row otherwise."),
        Rule("turns_in_pairs", _by(LLAMA_FACTORY), is_there & ~letters.str.replace("^s", "").str.contains("^(ua)+$"),
             "llamafactory/data/converter.py: odd turns are human, even ones gpt, and their number is even."),
    )  # fmt: skip


_ALPACA = (
    Rule("instruction_filled", _by(AXOLOTL, LLAMA_FACTORY), _is_blank("instruction"),
         "axolotl/prompters.py formats a null as the word None; llamafactory/data/converter.py "
         "AlpacaDatasetConverter makes an empty user turn."),
    Rule("output_filled", _by(AXOLOTL, LLAMA_FACTORY), _is_blank("output"),
         "llamafactory/data/converter.py takes a row without text in output for unsupervised, and "
         "llamafactory/data/processor/supervised.py drops it; axolotl has nothing to learn."),
)  # fmt: skip

_COMPLETION = (
    Rule("prompt_is_text", _by(TRL), pl.col("prompt").is_null(),
         "trl/trainer/sft_trainer.py tokenizes prompt + completion."),
    Rule("completion_filled", _by(TRL), _is_blank("completion"),
         "trl/trainer/sft_trainer.py asks whether completion ends with the end token, then learns it alone."),
)  # fmt: skip


def _preference(readers: Sequence[str]) -> tuple[Rule, ...]:
    """Rules of prompt, chosen and rejected, each a list of turns with `role` and `content`."""
    prompt, sides = shape("prompt"), (shape("chosen"), shape("rejected"))
    every = (prompt, *sides)
    has_sides = pl.all_horizontal(*(side != "" for side in sides))
    is_there = (prompt != "") & has_sides
    pairs = _any(~pl.concat_str(prompt, side).str.replace("^s", "").str.contains("^(ua)+$") for side in sides)
    return (
        Rule("prompt_present", _by(*readers), prompt == "",
             "trl/data_utils.py apply_chat_template takes the last turn of prompt; axolotl renders it."),
        Rule("prompt_answerable", _by(TRL), prompt.str.ends_with("s"),
             "trl/data_utils.py apply_chat_template raises for a prompt that ends with another turn than a user's or an assistant's."),
        Rule("sides_present", _by(*readers), ~has_sides,
             "trl/trainer/dpo_trainer.py learns what follows the prompt; axolotl/prompt_strategies/dpo/chat_template.py "
             "takes the last turn of each side."),
        Rule("roles_known", _by(*readers), _any(letters.str.contains("?", literal=True) for letters in every),
             "axolotl/prompt_strategies/dpo/chat_template.py maps roles by name; chat templates refuse others."),
        Rule("contents_filled", _by(TRL), _any(_has_empty(c) for c in ("prompt", "chosen", "rejected")),
             "trl/trainer/dpo_trainer.py compares the tokens of the sides: an empty one has none of its own."),
        Rule("sides_end_with_assistant", _by(*readers), has_sides & _any(~side.str.ends_with("a") for side in sides),
             "trl/trainer/dpo_trainer.py learns to prefer answers; axolotl takes the last turn for the answer."),
        Rule("sides_differ", _by(TRL), has_sides & pl.col("chosen").eq_missing(pl.col("rejected")),
             "trl/trainer/dpo_trainer.py learns nothing from equal sides: their log-probabilities cancel."),
        Rule("turns_in_pairs", _by(TRL), is_there & pairs,
             "TRL renders prompt and side with the model's chat template, and templates raise where turns do not alternate."),
    )  # fmt: skip


def rules_of(name: str, has_pairs: bool) -> tuple[Rule, ...]:
    """The rules of format `name`. has_pairs: the task is preference, which decides what a Parquet row is."""
    if name == "chat":
        return _chat("messages", (OPENAI, TRL, AXOLOTL, LLAMA_FACTORY))
    if name == "sharegpt":
        return _sharegpt()
    if name == "alpaca":
        return _ALPACA
    if name == "completion":
        return _COMPLETION
    if name == "preference":
        return _preference((TRL, AXOLOTL))
    if name == "parquet":
        return _preference((TRL, AXOLOTL)) if has_pairs else _chat("messages", (TRL, AXOLOTL))
    raise ValueError(f"no rules for the format {name}: add them here")
