"""A release as TRL reads it: `python read_with_trl.py RELEASE OUT`.

Runs in TRL's own environment. Every config of the card, and the Parquet folder, is loaded by `datasets`; what TRL knows as
one of its dataset formats is put through its own functions, chat template included. OUT/FORMAT_SPLIT.jsonl holds a line a
row: its turns as [role, text], of a pair {"chosen", "rejected"}.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


ROLES = {"human": "user", "gpt": "assistant"}
"""TRL renames the keys of ShareGPT and leaves its words for the roles, which most chat templates do not know."""


def plain(turns: list[dict[str, str]]) -> list[list[str]]:
    return [[turn["role"], turn["content"]] for turn in turns]


def rendered(turns: list[list[str]]) -> str:
    return "".join(f"<|begin|>{role}\n{text}<|end|>\n" for role, text in turns)


def told(row: dict[str, Any], tokenizer: Any) -> Any:
    """The turns of a row after TRL's own functions. Raises AssertionError where the rendered text is another."""
    from trl.data_utils import apply_chat_template, is_conversational, maybe_convert_to_chatml

    if "conversations" in row:
        row = maybe_convert_to_chatml({"conversations": row["conversations"]})
    if "chosen" in row:
        assert is_conversational(row)
        sides = {side: plain(row["prompt"] + row[side]) for side in ("chosen", "rejected")}
        text = apply_chat_template({k: row[k] for k in ("prompt", "chosen", "rejected")}, tokenizer)
        assert all(text["prompt"] + text[side] == rendered(turns) for side, turns in sides.items())
        return sides
    if "messages" in row:
        row = {"messages": [m | {"role": ROLES.get(m["role"], m["role"])} for m in row["messages"]]}
        assert is_conversational({"messages": row["messages"]})
        turns = plain(row["messages"])
        assert apply_chat_template({"messages": row["messages"]}, tokenizer)["text"] == rendered(turns)
        return turns
    if "completion" in row:
        assert not is_conversational(row)
        return [["user", row["prompt"]], ["assistant", row["completion"]]]
    return [
        ["instruction", row["instruction"]],
        ["input", row["input"]],
        ["output", row["output"]],
        *([["system", row["system"]]] if row.get("system") else []),
    ]


def main(release: str, out: str) -> None:
    from datasets import get_dataset_config_names, load_dataset
    from small_tokenizer import small_tokenizer

    scratch, tokenizer = tempfile.mkdtemp(), small_tokenizer()
    loaded = {
        name: load_dataset(release, name, cache_dir=scratch) for name in get_dataset_config_names(release)
    }
    if (Path(release) / "parquet").is_dir():
        loaded["parquet"] = load_dataset(str(Path(release) / "parquet"), cache_dir=scratch)
    for name, splits in loaded.items():
        for split, dataset in splits.items():
            with (Path(out) / f"{name}_{split}.jsonl").open("w", encoding="utf-8") as handle:
                handle.writelines(json.dumps(told(row, tokenizer)) + "\n" for row in dataset)


if __name__ == "__main__":
    main(*sys.argv[1:3])
