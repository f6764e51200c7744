"""A release as LLaMA-Factory reads it: `python read_with_llamafactory.py RELEASE OUT`.

Runs in LLaMA-Factory's own environment. Every dataset that the release's `dataset_info.json` names is loaded and aligned by
the library, as its trainer does; OUT/NAME.jsonl holds a line a row: its turns as [role, text], of a pair also the rejected.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "DISABLE_VERSION_CHECK": "1"}


def turns(row: dict[str, Any]) -> list[list[str]]:
    system = [["system", row["_system"]]] if row["_system"] else []
    return system + [[m["role"], m["content"]] for m in [*row["_prompt"], *row["_response"][:1]]]


def main(release: str, out: str) -> None:
    from llamafactory.data.loader import _load_single_dataset
    from llamafactory.data.parser import get_dataset_list
    from llamafactory.hparams import DataArguments, ModelArguments
    from transformers import Seq2SeqTrainingArguments

    scratch = tempfile.mkdtemp()
    data = DataArguments(dataset_dir=release, template="default", overwrite_cache=True)
    model = ModelArguments(model_name_or_path=scratch, cache_dir=scratch)
    training = Seq2SeqTrainingArguments(output_dir=scratch, use_cpu=True, report_to=[])
    names = sorted(json.loads((Path(release) / "dataset_info.json").read_text(encoding="utf-8")))
    for name in names:
        (attributes,) = get_dataset_list([name], release)
        dataset = _load_single_dataset(attributes, model, data, training)
        with (Path(out) / f"{name}.jsonl").open("w", encoding="utf-8") as handle:
            for row in dataset:
                told: Any = turns(row)
                if attributes.ranking:
                    told = {"chosen": told, "rejected": row["_response"][1]["content"]}
                handle.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:3])
