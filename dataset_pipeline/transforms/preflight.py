"""preflight: loaded files against what the tables say of their records, row by row, and the rules of formats.

Lives here: what each format must hold, as Polars expressions over the released frame that share no code with the
functions that wrote it (`transforms.formats`), and comparing. Keep out: the rules themselves (`format_rules`), loading
(`storage.loading`), judging (`expectations.release`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import polars as pl

from dataset_pipeline.records import MESSAGES
from dataset_pipeline.spec.models import Task
from dataset_pipeline.transforms.format_rules import Rule

if TYPE_CHECKING:
    from polars._typing import PolarsDataType as _DType

Schema = dict[str, pl.DataType | type[pl.DataType]]

_TAGGED = pl.List(pl.Struct({"from": pl.String, "value": pl.String}))
_JSONL: dict[str, Schema] = {
    "chat": {"messages": MESSAGES},
    "alpaca": {"instruction": pl.String, "input": pl.String, "output": pl.String, "system": pl.String},
    "completion": {"prompt": pl.String, "completion": pl.String},
    "sharegpt": {"conversations": _TAGGED},
    "preference": {"prompt": MESSAGES, "chosen": MESSAGES, "rejected": MESSAGES},
}
_MAY_LACK = frozenset({"system"})
"""Columns that a file may leave out; no value and an empty one mean the same."""
_MAY_BE_VOID = frozenset({"system", "label"})
"""Columns that may hold nothing at all, so that their type says nothing."""

PLACES: Schema = {"format": pl.String, "split": pl.String, "row": pl.Int64, "record_id": pl.String}
"""Where a row stands that is not as the tables say. record_id: null for a row beyond the last record."""
FAULTS: Schema = {**PLACES, "rule": pl.String, "asked_by": pl.String}
"""Rows that break a rule: `format_rules.Rule`."""


def schema_of(name: str, task: Task) -> Schema:
    """Columns and types that a trainer expects of format `name`."""
    if name != "parquet":
        return _JSONL[name]
    if task.type == "preference":
        sides: Schema = {"prompt": MESSAGES, "chosen": MESSAGES, "rejected": MESSAGES}
        return {"record_id": pl.String, **sides, "source": pl.String, "day": pl.String}
    rest: Schema = {"label": pl.String, "source": pl.String, "day": pl.String}
    return {"record_id": pl.String, "messages": MESSAGES, **rest}


def wrong_columns(loaded: Mapping[str, pl.DataType], name: str, task: Task) -> tuple[str, ...]:
    """What of the loaded columns is not as a trainer expects, in words; none where all are.

    The trap it is for: `datasets` makes timestamps of JSON strings where every one is a date.
    """
    expected = schema_of(name, task)
    words = [f"the column {column} is missing" for column in expected if column not in {*loaded, *_MAY_LACK}]
    for column, dtype in loaded.items():
        if column not in expected:
            words.append(f"there is a column {column} that the format does not have")
        elif _sorted(dtype) != _sorted(expected[column]) and not (
            dtype == pl.Null and column in _MAY_BE_VOID
        ):
            words.append(f"{column} is {_kind(dtype)}, not {_kind(expected[column])}")
    return tuple(words)


def _sorted(dtype: _DType) -> object:
    """A type that is equal for structs whose fields stand in another order."""
    if isinstance(dtype, pl.List):
        return ("list", _sorted(dtype.inner))
    if isinstance(dtype, pl.Struct):
        return tuple(sorted((field.name, str(_sorted(field.dtype))) for field in dtype.fields))
    return str(dtype)


def _kind(dtype: _DType) -> str:
    """A type in words that a person knows from their files."""
    if isinstance(dtype, pl.List):
        return f"lists of {_kind(dtype.inner)}"
    if isinstance(dtype, pl.Struct):
        return "objects with " + ", ".join(f"{field.name} ({_kind(field.dtype)})" for field in dtype.fields)
    if dtype == pl.String:
        return "text"
    if dtype == pl.Null:
        return "without a value"
    if isinstance(dtype, pl.Datetime | pl.Date):
        return "timestamps"
    if "arrow.json" in str(dtype):
        return "values of several kinds"
    return "numbers" if isinstance(dtype, pl.DataType) and dtype.is_numeric() else str(dtype).lower()


def expected_rows(part: pl.DataFrame, name: str, task: Task) -> pl.DataFrame:
    """What format `name` must hold of `part`: the columns of `schema_of`, in the order of `part`.

    part: messages, prompt_turns, rejected, label, source, day, record_id of released records. An absent system prompt
    of alpaca is the empty text.
    """
    if name == "chat":
        return part.select(messages=_with_system(pl.col("messages"), task))
    if name == "sharegpt":
        return part.select(conversations=_with_system(pl.col("messages"), task).list.eval(_tagged()))
    if name == "alpaca":
        return part.select(**_alpaca(task))
    if name == "completion":
        system, (prompt, answer) = _system(task), _sides()
        headed = pl.when(system != "").then(pl.concat_str(system, pl.lit("\n\n"), prompt)).otherwise(prompt)
        return part.select(prompt=headed, completion=answer)
    if name == "preference":
        return part.select(**_pair(task))
    turns = _pair(task) if task.type == "preference" else {"messages": _with_system(pl.col("messages"), task)}
    columns: dict[str, pl.Expr] = {
        "record_id": pl.col("record_id"), **turns, "label": pl.col("label"), "source": pl.col("source"),
        "day": pl.col("day").dt.to_string("%Y-%m-%d"),
    }  # fmt: skip
    return part.select(**{column: columns[column] for column in schema_of(name, task)})


def _prompt(task: Task) -> str:
    """The task's system prompt; the empty text where it has none, or one of white space alone."""
    prompt = task.system_prompt or ""
    return prompt if prompt.strip() else ""


def _with_system(turns: pl.Expr, task: Task) -> pl.Expr:
    """The turns, the task's system prompt first unless they begin with their own."""
    if not _prompt(task):
        return turns
    first = pl.lit(pl.Series([[{"role": "system", "content": _prompt(task)}]], dtype=MESSAGES)).first()
    has_own = (turns.list.first().struct.field("role") == "system").fill_null(False)
    return pl.when(has_own).then(turns).otherwise(pl.concat_list(first, turns))


def _tagged() -> pl.Expr:
    """A turn as sharegpt tags it. An unknown role stays as it is."""
    role = pl.element().struct.field("role")
    return pl.struct(
        role.replace({"user": "human", "assistant": "gpt"}).alias("from"),
        pl.element().struct.field("content").alias("value"),
    )


def _system(task: Task) -> pl.Expr:
    """The system prompt of a record: its own, else the task's, else the empty text."""
    first = pl.col("messages").list.first()
    own = pl.when(first.struct.field("role") == "system").then(first.struct.field("content")).fill_null("")
    return pl.when(own == "").then(pl.lit(_prompt(task))).otherwise(own)


def _sides() -> tuple[pl.Expr, pl.Expr]:
    """What is said before the last turn, by a blank line apart, and the last turn; system turns apart."""
    turn = pl.element().struct
    said = pl.col("messages").list.eval(turn.field("content").filter(turn.field("role") != "system"))
    before = said.list.reverse().list.slice(1).list.reverse()
    return before.list.join("\n\n"), said.list.last()


def _alpaca(task: Task) -> dict[str, pl.Expr]:
    prompt, answer = _sides()
    if task.answers_are_labels:
        system = _system(task)
        instruction = pl.when(system == "").then(pl.lit(task.behavior)).otherwise(system)
        return {"instruction": instruction, "input": prompt, "output": answer, "system": pl.lit("")}
    return {"instruction": prompt, "input": pl.lit(""), "output": answer, "system": _system(task)}


def _pair(task: Task) -> dict[str, pl.Expr]:
    turns, shared = pl.col("messages"), pl.col("prompt_turns")
    prompt = _with_system(turns.list.head(shared), task)
    return {"prompt": prompt, "chosen": turns.list.slice(shared), "rejected": pl.col("rejected")}


def comparable(loaded: pl.DataFrame, name: str, task: Task) -> pl.DataFrame:
    """Loaded rows with exactly the columns and types of `schema_of`. Only for columns that are not wrong."""
    columns = []
    for column, dtype in schema_of(name, task).items():
        if column not in loaded.columns:
            columns.append(pl.lit(None, dtype=pl.String).alias(column))
        elif loaded.schema[column] == pl.Null:
            columns.append(pl.col(column).cast(pl.String))
        elif loaded.schema[column] != dtype and isinstance(dtype, pl.List):
            columns.append(pl.col(column).list.eval(_in_order(dtype)))
        else:
            columns.append(pl.col(column))
    frame = loaded.select(columns)
    return frame.with_columns(pl.col("system").fill_null("")) if "system" in frame.columns else frame


def _in_order(dtype: pl.List) -> pl.Expr:
    """A turn whose fields stand in the order of `dtype`: a file may name them in another."""
    assert isinstance(dtype.inner, pl.Struct)
    return pl.struct(pl.element().struct.field(field.name) for field in dtype.inner.fields)


def differing(part: pl.DataFrame, rows: pl.DataFrame, name: str, task: Task) -> pl.DataFrame:
    """row and record_id of records whose loaded row is not what `expected_rows` says, to the character.

    part: released records with `row`, in its order. rows: `comparable` rows that stand at the same places; where one
    of the two is shorter, only what both have is compared.
    """
    height = min(part.height, rows.height)
    both = part.head(height)
    said = expected_rows(both, name, task).rename(lambda column: f"said_{column}")
    joined = pl.concat([said, rows.head(height)], how="horizontal")
    differs = joined.select(
        pl.any_horizontal(pl.col(c).ne_missing(pl.col(f"said_{c}")) for c in rows.columns)
    )
    return both.filter(differs.to_series()).select("row", "record_id")


def places(part: pl.DataFrame, start: int, height: int) -> pl.DataFrame:
    """row and record_id of `height` loaded rows from row `start` on; record_id is null beyond the records of `part`."""
    ids = part["record_id"].extend_constant(None, max(0, height - part.height))
    return pl.DataFrame({"row": pl.int_range(start, start + height, eager=True), "record_id": ids})


def broken_rules(rows: pl.DataFrame, places: pl.DataFrame, rules: Sequence[Rule]) -> pl.DataFrame:
    """row, record_id, rule, asked_by of every loaded row that breaks a rule.

    rows: `comparable` rows; places: their row and record_id.
    """
    found = rows.select(rule.bad.alias(str(n)) for n, rule in enumerate(rules))
    broken = [
        places.filter(found[str(n)]).with_columns(rule=pl.lit(rule.name), asked_by=pl.lit(rule.asked_by))
        for n, rule in enumerate(rules)
    ]
    return pl.concat([part for part in broken if part.height] or [broken[0]])


def gathered(frames: Iterable[pl.DataFrame], schema: Schema) -> pl.DataFrame:
    """The frames as one of `schema`, by format, split and row, so that it does not depend on batches."""
    frame = pl.concat([pl.DataFrame(schema=schema), *(part.select(list(schema)) for part in frames)])
    return frame.sort(list(schema), nulls_last=True)
