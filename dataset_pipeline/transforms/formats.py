"""The formats of a release: one record as a row of each, as JSON lines and as Parquet columns.

Lives here: shapes of rows. Keep out: which format holds which task (`spec.formats`), writing files
(`storage.releases`), what a trainer is told about them (`trainers`), provenance (`release`).

**Roles.** The turns of a release are system (at most one, the first), user and assistant, in turn: rows that call a
tool or answer a call are rejected when they are read (`turns`: tool_turn, unknown_role), and the gates of ingest and
of the release are shut for any other order (`role_fault`, `pair_fault`). So no format needs more: what LLaMA-Factory
writes as function_call and observation, and axolotl as tool, does not occur.

**Columns.** All rows of a format have the same keys: a key that only some rows have makes `datasets` fail where its
first rows lack it (measured: DatasetGenerationError). Every value is text, so there is no number and no NaN.
`datasets` takes a column whose texts are all ISO dates for moments (measured, 5.2: `2026-01-01` is read as a datetime);
no way of writing JSON prevents it: Parquet does, and in chat and sharegpt the questions stand in the same column.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
import polars as pl

from dataset_pipeline.records import MESSAGES, Split
from dataset_pipeline.spec.models import Task

Messages = list[dict[str, str]]
Row = dict[str, Any]

PREFERENCE = "preference"
"""The format of preference pairs, and the type of their task."""


DataFiles = Mapping[str, Mapping[str, Sequence[str]]]
"""Format to split to paths inside the release, shards in their order."""

_DATA_FILE = re.compile(
    r"(?P<format>[a-z]+)/(?P<split>train|validation|test)(?:-\d{5}-of-\d{5})?\.(?:jsonl(?:\.gz|\.zst)?|parquet)"
)


def data_files_of(paths: Iterable[str]) -> dict[str, dict[str, list[str]]]:
    """DataFiles among the paths of a release: what is called as `storage.releases` calls them."""
    found: dict[str, dict[str, list[str]]] = {}
    for path in sorted(paths):
        if match := _DATA_FILE.fullmatch(path):
            found.setdefault(match["format"], {}).setdefault(match["split"], []).append(path)
    return found


class Record(NamedTuple):
    """What a row is made of: the released turns; of a pair also how many both sides share, and the worse side."""

    messages: Messages
    prompt_turns: int | None = None
    rejected: Messages | None = None


def system_prompt_of(task: Task) -> str | None:
    """The task's system prompt; None where there is none or it holds no word."""
    prompt = task.system_prompt
    return prompt if prompt and not prompt.isspace() else None


def with_system_prompt(messages: Messages, system_prompt: str | None) -> Messages:
    """The turns with the task's system prompt in front, unless the record has its own or the prompt is blank."""
    if not system_prompt or system_prompt.isspace() or (messages and messages[0]["role"] == "system"):
        return messages
    return [{"role": "system", "content": system_prompt}, *messages]


def _sides(messages: Messages, task: Task) -> tuple[str | None, str, str]:
    """system (the record's own, else the task's), prompt, answer of a single exchange."""
    own = messages[0]["content"] if messages[0]["role"] == "system" else None
    spoken = [m for m in messages if m["role"] != "system"]
    return (
        own or system_prompt_of(task),
        "\n\n".join(m["content"] for m in spoken[:-1]),
        spoken[-1]["content"],
    )


def chat_row(record: Record, task: Task) -> Row:
    """OpenAI's fine-tuning form: {"messages": [{"role", "content"}, …]}."""
    return {"messages": with_system_prompt(record.messages, task.system_prompt)}


SHAREGPT_SPEAKERS: Mapping[str, str] = {"system": "system", "user": "human", "assistant": "gpt"}


def sharegpt_row(record: Record, task: Task) -> Row:
    """{"conversations": [{"from": "system" | "human" | "gpt", "value"}, …]}, the system prompt first.

    So LLaMA-Factory reads it with its defaults, and axolotl as `chat_template` with field_messages: conversations
    and message_property_mappings {role: from, content: value}.
    """
    turns = with_system_prompt(record.messages, task.system_prompt)
    return {
        "conversations": [{"from": SHAREGPT_SPEAKERS[t["role"]], "value": t["content"]} for t in turns],
    }


def alpaca_row(record: Record, task: Task) -> Row:
    """{"instruction", "input", "output"}, and "system" where answers are free text ("" for none).

    Where answers are labels the system prompt, else the behaviour, is the instruction, and the text the input.
    """
    system, prompt, answer = _sides(record.messages, task)
    if task.answers_are_labels:
        return {"instruction": system or task.behavior, "input": prompt, "output": answer}
    return {"instruction": prompt, "input": "", "output": answer, "system": system or ""}


def completion_row(record: Record, task: Task) -> Row:
    """TRL's prompt and completion: {"prompt", "completion"}; a system prompt stands before the prompt."""
    system, prompt, answer = _sides(record.messages, task)
    return {"prompt": f"{system}\n\n{prompt}" if system else prompt, "completion": answer}


def preference_row(record: Record, task: Task) -> Row:
    """TRL's conversational form with an explicit prompt: {"prompt", "chosen", "rejected"}, each a list of messages.

    The system prompt begins the prompt. Both answers are the turns after it, so they may be several.
    """
    prompt = with_system_prompt(record.messages[: record.prompt_turns], task.system_prompt)
    return {"prompt": prompt, "chosen": record.messages[record.prompt_turns :], "rejected": record.rejected}


JSONL_FORMATS: Mapping[str, Callable[[Record, Task], Row]] = {
    "chat": chat_row,
    "sharegpt": sharegpt_row,
    "alpaca": alpaca_row,
    "completion": completion_row,
    PREFERENCE: preference_row,
}
"""Format to the function that makes one row of it. To add a format, add a function here."""

_ROWS_AT_ONCE = 10_000
"""Records that are Python lists at one time: some ten megabytes for usual texts."""


def jsonl_lines(released: pl.DataFrame, split: Split | str, name: str, task: Task) -> Iterator[bytes]:
    """The lines of one split in one format, in the order of `row`, each with its newline; none for an empty split.

    released: split, row (`release.with_row_numbers`) and messages; for `preference` also prompt_turns and rejected.
    UTF-8. A line of the file is a record for every reader: see `_LINE_ENDS`.
    """
    shape = JSONL_FORMATS[name]
    columns = ["messages", "prompt_turns", "rejected"] if name == PREFERENCE else ["messages"]
    part = _part(released.select("split", "row", *columns), split).select(columns)
    for rows in part.iter_slices(_ROWS_AT_ONCE):
        for values in rows.iter_rows():
            yield _line(shape(Record(*values), task))


def _part(released: pl.DataFrame, split: Split | str) -> pl.DataFrame:
    part = released.filter(pl.col("split") == str(split))
    return part if part["row"].is_sorted() else part.sort("row")  # sorting would copy every text


_LINE_ENDS = ((b"\xe2\x80\xa8", rb"\u2028"), (b"\xe2\x80\xa9", rb"\u2029"), (b"\xc2\x85", rb"\u0085"))
"""Characters that end a line for Python's str.splitlines and for JavaScript before 2019, though not for JSON Lines.

They are written escaped, which is the same JSON text: `datasets`, pandas and pyarrow split bytes at newlines only, but
a script that reads the file as text and calls splitlines would find broken lines. The others that splitlines knows
are control characters, which JSON escapes anyway.
"""


def _line(row: Row) -> bytes:
    line = orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
    for raw, escaped in _LINE_ENDS:
        if raw in line:  # these bytes stand only for the character: UTF-8 cannot hold them by chance
            line = line.replace(raw, escaped)
    return line


def parquet_rows(released: pl.DataFrame, split: Split | str, task: Task) -> pl.DataFrame:
    """record_id, messages (with the system prompt), label, source, day (ISO text), in the order of `row`.

    Of preference pairs record_id, prompt (with the system prompt), chosen, rejected, source, day. The schema is the
    same for every split, also an empty one. released: as `jsonl_lines`, and record_id, label, source, day.
    """
    part = _part(released, split)
    if task.type == PREFERENCE:
        shared = pl.col("prompt_turns")
        sides = [
            _prompted(pl.col("messages").list.head(shared), task).alias("prompt"),
            pl.col("messages").list.slice(shared).alias("chosen"),
            pl.col("rejected"),
        ]
    else:
        sides = [_prompted(pl.col("messages"), task), pl.col("label")]
    return part.select("record_id", *sides, "source", pl.col("day").dt.to_string("%Y-%m-%d"))


def _prompted(turns: pl.Expr, task: Task) -> pl.Expr:
    """`with_system_prompt` as an expression: no list of a whole split becomes Python objects."""
    prompt = system_prompt_of(task)
    if prompt is None:
        return turns
    system = pl.lit(pl.Series([[{"role": "system", "content": prompt}]], dtype=MESSAGES)).first()
    own = turns.list.first().struct.field("role") == "system"
    return pl.when(own.fill_null(False)).then(turns).otherwise(pl.concat_list(system, turns))
