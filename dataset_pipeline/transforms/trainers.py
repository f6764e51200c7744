"""What a trainer is told about the files of a release: LLaMA-Factory's dataset_info.json.

Lives here: the words of a trainer's own index of data sets. Keep out: shapes of rows (`formats`), the card and
croissant.json, which are for everybody (`card`, `croissant`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from dataset_pipeline.spec.models import Task
from dataset_pipeline.transforms.formats import PREFERENCE

DATASET_INFO = "dataset_info.json"
"""The name that LLaMA-Factory looks for in its `dataset_dir`."""

_PLAIN_SUFFIXES = frozenset({".jsonl", ".parquet"})
"""What LLaMA-Factory (0.9.5, FILEEXT2TYPE) opens by its suffix; it knows none of packed files."""


def dataset_info(data_files: Mapping[str, Mapping[str, Sequence[str]]], task: Task) -> str | None:
    """dataset_info.json for `dataset_dir: releases/latest`: an entry a format and split, named `chat_train`; None without any.

    data_files: format to split to paths inside the release. What is said follows parser, converter and loader of
    LLaMA-Factory 0.9.5:

    - One plain file is its `file_name`. Shards are none: a folder there means all its files, of every split. They,
      and packed files, are named by their folder as `script_url` with `split`, which `datasets` resolves by the
      names of the files (with `cloud_file_name` and `hf_hub_url` it would ask the network).
    - chat and Parquet say formatting `sharegpt` with the tags of OpenAI's messages, not `openai`: that converter
      puts "detailed thinking off" at the end of every system prompt.
    - preference has no entry: its converters take a pair only where chosen and rejected are one message each, as a
      text or an object, and drop a record that has lists, which is TRL's form. So it is in Parquet.
    """
    entries: dict[str, dict[str, Any]] = {}
    for name, splits in data_files.items():
        told = _reading(name, task)
        for split, paths in splits.items():
            if told is not None and paths:
                entries[f"{name}_{split}"] = told | _place(split, paths)
    return json.dumps(entries, indent=2, sort_keys=True) + "\n" if entries else None


def _place(split: str, paths: Sequence[str]) -> dict[str, str]:
    path = PurePosixPath(paths[0])
    if len(paths) == 1 and path.suffix in _PLAIN_SUFFIXES:
        return {"file_name": str(path)}
    return {"script_url": str(path.parent), "split": str(split)}


def _reading(name: str, task: Task) -> dict[str, Any] | None:
    """formatting, columns and tags of a format; None where LLaMA-Factory cannot read it as it is written.

    Columns that are not named are not read: what an entry leaves out has no default beside `columns`.
    """
    if task.type == PREFERENCE:
        return None
    if name in ("chat", "parquet"):
        tags = {
            "role_tag": "role",
            "content_tag": "content",
            "user_tag": "user",
            "assistant_tag": "assistant",
            "system_tag": "system",
        }
        return {"formatting": "sharegpt", "columns": {"messages": "messages"}, "tags": tags}
    if name == "sharegpt":
        return {"formatting": "sharegpt", "columns": {"messages": "conversations"}}
    if name == "completion":
        return {"formatting": "alpaca", "columns": {"prompt": "prompt", "response": "completion"}}
    if name == "alpaca":
        columns = {"prompt": "instruction", "query": "input", "response": "output"}
        system = {} if task.answers_are_labels else {"system": "system"}
        return {"formatting": "alpaca", "columns": columns | system}
    return None
