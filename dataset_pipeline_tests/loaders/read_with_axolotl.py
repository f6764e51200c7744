"""A release as axolotl reads it: `python read_with_axolotl.py RELEASE OUT`.

Runs in axolotl's own environment. Every config of the card is loaded by `datasets`, as axolotl does with `path` and `name`, and tokenized by axolotl's own prompt strategy
for that layout, with a tokenizer of bytes. OUT/FORMAT_SPLIT.jsonl holds a line a row: the decoded `text` and what of it is
`learned`; of a pair {"prompt", "chosen", "rejected"} as the strategy renders them.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "AXOLOTL_DO_NOT_TRACK": "1",
    "DO_NOT_TRACK": "1",
}

STRATEGIES: dict[str, dict[str, Any]] = {
    "chat": {"type": "chat_template", "field_messages": "messages"},
    "sharegpt": {
        "type": "chat_template",
        "field_messages": "conversations",
        "message_property_mappings": {"role": "from", "content": "value"},
    },
    "alpaca": {"type": "alpaca"},
}
"""What the card tells a user of axolotl to write under `datasets`."""
LEARNED_TURNS = {"roles_to_train": ["assistant"], "train_on_eos": "turn"}


def tokenized(name: str, dataset: Any, tokenizer: Any) -> Iterator[dict[str, str]]:
    """The text of each row of a format, and what of it is learned."""
    from axolotl.utils.data.wrappers import get_dataset_wrapper
    from axolotl.utils.dict import DictDefault

    cfg = DictDefault({"sequence_len": 10**7, "train_on_inputs": False, "dataset_num_proc": 1})
    source = STRATEGIES[name] | (LEARNED_TURNS if name != "alpaca" else {}) | {"path": name}
    wrapped, _ = get_dataset_wrapper(DictDefault(source), tokenizer, cfg, source["type"], dataset)
    for row in wrapped:
        learned = [label for label in row["labels"] if label != -100]
        yield {"text": tokenizer.decode(row["input_ids"]), "learned": tokenizer.decode(learned)}


def paired(dataset: Any, tokenizer: Any) -> Iterator[dict[str, str]]:
    """Each row of `preference` as axolotl's DPO strategy renders it: of several answers a side, the last."""
    from axolotl.prompt_strategies.dpo.chat_template import default
    from axolotl.utils.dict import DictDefault

    source = {"type": "chat_template.default", "field_messages": "prompt"}
    cfg = DictDefault({"datasets": [source], "chat_template": "tokenizer_default"})
    transform, _ = default(cfg)
    for row in dataset:
        found = transform(row, tokenizer=tokenizer)
        yield {side: found[side] for side in ("prompt", "chosen", "rejected")}


def main(release: str, out: str) -> None:
    from datasets import get_dataset_config_names, load_dataset
    from small_tokenizer import small_tokenizer

    scratch, tokenizer = tempfile.mkdtemp(), small_tokenizer()
    for name in get_dataset_config_names(release):
        if name not in (*STRATEGIES, "preference"):
            continue
        for split, dataset in load_dataset(release, name, cache_dir=scratch).items():
            rows = paired(dataset, tokenizer) if name == "preference" else tokenized(name, dataset, tokenizer)
            with (Path(out) / f"{name}_{split}.jsonl").open("w", encoding="utf-8") as handle:
                handle.writelines(json.dumps(row) + "\n" for row in rows)


if __name__ == "__main__":
    main(*sys.argv[1:3])
