"""The card's front matter, and how the release is loaded.

Lives here: what the Hub and `datasets` read, and snippets for loaders and trainers. Keep out: prose (`whole`).
"""

from __future__ import annotations

import json
import re
from typing import Any

from dataset_pipeline.records import Split
from dataset_pipeline.spec import licences
from dataset_pipeline.transforms.card import markdown
from dataset_pipeline.transforms.card.attribution import asks_for_attribution
from dataset_pipeline.transforms.card.facts import CardFacts
from dataset_pipeline.transforms.card.markdown import code, quoted
from dataset_pipeline.transforms.trainers import dataset_info

MIN_LANGUAGE_SHARE = 0.01
"""Languages of fewer prompts than this share are counted in the card, not announced in its front matter: a stray
prompt that a statistical model takes for Ligurian does not make the dataset so."""

FOLDER = "releases/latest"
"""The release in the snippets: where it stands beside the spec."""

_TASK_CATEGORIES = {
    "classification": "text-classification",
    "instruction": "text-generation",
    "chat": "text-generation",
    "completion": "text-generation",
    "preference": "text-generation",
}

_HUB_LICENCES = frozenset(
    {
        "apache-2.0", "mit", "afl-3.0", "artistic-2.0", "bsl-1.0", "bsd-2-clause", "bsd-3-clause",
        "bsd-3-clause-clear", "c-uda", "cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0",
        "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0",
        "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0",
        "cdla-sharing-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0", "wtfpl", "ecl-2.0", "epl-1.0",
        "epl-2.0", "etalab-2.0", "eupl-1.1", "agpl-3.0", "gfdl", "gpl-2.0", "gpl-3.0", "lgpl-2.1",
        "lgpl-3.0", "isc", "lppl-1.3c", "ms-pl", "mpl-2.0", "odc-by", "odbl", "osl-3.0", "postgresql",
        "ofl-1.1", "ncsa", "unlicense", "zlib", "pddl",
    }
)  # fmt: skip
"""Identifiers that the Hub takes for a licence (huggingface.co/docs/hub/repositories-licenses); all else is `other`."""
_HUB_NAMES = {"odc-by-1.0": "odc-by", "odbl-1.0": "odbl", "pddl-1.0": "pddl", "c-uda-1.0": "c-uda"}


def front_matter(facts: CardFacts) -> str:
    """The YAML block, from `---` to `---`."""
    spoken = announced_languages(facts)
    front: dict[str, Any] = {"pretty_name": facts.name, **_license(facts)}
    if spoken:
        front["language"] = spoken
    front["task_categories"] = [_TASK_CATEGORIES[facts.task.type]]
    front["size_categories"] = [_size(sum(facts.splits.values()))]
    front["tags"] = tags(facts)
    if configs := config_names(facts):
        front["configs"] = [
            {
                "config_name": name,
                **({"default": True} if number == 0 else {}),
                "data_files": [
                    {"split": split.value, "path": _one_or_many(facts.data_files[name][split.value])}
                    for split in Split
                    if facts.data_files[name].get(split.value)
                ],
            }
            for number, name in enumerate(configs)
        ]
    return "\n".join(["---", *markdown.yaml_lines(front), "---", ""])


def announced_languages(facts: CardFacts) -> list[str]:
    """Languages of at least MIN_LANGUAGE_SHARE of the prompts that could be told, by code."""
    told = sum(facts.languages.values())
    return sorted(code for code, n in facts.languages.items() if n >= MIN_LANGUAGE_SHARE * told)


def tags(facts: CardFacts) -> list[str]:
    """`dataset_pipeline`; `synthetic` where released records were generated; `dpo` for preference pairs."""
    generated = any(source.generator and source.released for source in facts.sources)
    more = ["synthetic"] if generated else []
    return ["dataset_pipeline", *more, *(["dpo"] if facts.task.type == "preference" else [])]


def config_names(facts: CardFacts) -> list[str]:
    """Formats that the card lists as configs: JSONL ones where there are any, else Parquet.

    `load_dataset` takes one file type for a whole folder: a card with both can load one of them only.
    """
    written = [name for name, splits in facts.data_files.items() if any(splits.values())]
    return [name for name in written if name != "parquet"] or written


def _one_or_many(paths: Any) -> Any:
    return paths[0] if len(paths) == 1 else list(paths)


def _license(facts: CardFacts) -> dict[str, str]:
    expression = facts.rights.license
    identifier = hub_license(expression)
    if identifier != "other":
        return {"license": identifier}
    texts = [link for _, link in licences.links(expression)] if expression else []
    # One text has an address; several, or a contract, are explained in the release itself.
    link = texts[0] if len(texts) == 1 and texts[0] else None
    own = "ATTRIBUTION.md" if asks_for_attribution(facts) else "README.md"
    return {"license": "other", "license_name": _slug(expression or "see-card"), "license_link": link or own}


def hub_license(expression: str | None) -> str:
    """The Hub's identifier of a licence, or `other`."""
    if expression is None:
        return "other"
    lowered = licences.canonical(expression).lower()
    bare = re.sub(r"(-only|-or-later|\+)$", "", lowered)
    name = _HUB_NAMES.get(bare, "gfdl" if bare.startswith("gfdl-") and " " not in bare else bare)
    return name if name in _HUB_LICENCES else "other"


def _slug(expression: str) -> str:
    """A name the Hub takes: small letters, digits, dots and dashes."""
    return re.sub(r"[^a-z0-9.]+", "-", expression.lower()).strip("-")[:96].strip("-") or "see-card"


def _size(total: int) -> str:
    limits = (
        (1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"),
        (10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"),
    )  # fmt: skip
    return next((name for limit, name in limits if total < limit), "100M<n<1B")


# --- how to load ---------------------------------------------------------------------------------


def loading(facts: CardFacts) -> str:
    """The section on loading: `datasets`, TRL, axolotl and LLaMA-Factory, for the formats that were written."""
    names = config_names(facts)
    if not names:
        return markdown.section("How to load", "This release holds no data file.")
    filled = [split.value for split in Split if facts.splits.get(split.value)]
    wanted = names[0]
    lines = ["from datasets import load_dataset", ""]
    for name in names:
        lines.append(f'{_variable(name)} = load_dataset("{FOLDER}", "{name}")  # splits: {", ".join(filled)}')
    if "parquet" in facts.data_files and wanted != "parquet":
        lines.append(
            f'table = load_dataset("{FOLDER}/parquet")  # the same records with record_id, source and day'
        )
    return markdown.section(
        "How to load",
        f"`{FOLDER}` stands for this folder.",
        code("python", "\n".join(lines)),
        *_trl(facts, names),
        *_axolotl(facts, names, filled),
        *_llama_factory(facts),
    )


def _variable(name: str) -> str:
    return re.sub(r"\W", "_", name)


_TRL = {"preference": "DPOTrainer", "chat": "SFTTrainer", "completion": "SFTTrainer"}


def _trl(facts: CardFacts, names: list[str]) -> list[str]:
    name = next((one for one in _TRL if one in names), None)
    if name is None or not facts.splits.get(Split.TRAIN.value):
        return []
    trainer = _TRL[name]
    data = _variable(name)
    held = f', eval_dataset={data}["validation"]' if facts.splits.get(Split.VALIDATION.value) else ""
    snippet = (
        f'from trl import {trainer}\n\ntrainer = {trainer}(model=MODEL, train_dataset={data}["train"]{held})'
    )
    return ["TRL reads the columns as they are:", code("python", snippet)]


_AXOLOTL: dict[str, list[str]] = {
    "chat": ["type: chat_template"],
    "sharegpt": ["type: chat_template", "field_messages: conversations", "message_property_mappings:",
                 "  role: from", "  content: value"],
    "alpaca": ["type: alpaca"],
    "completion": ["type:", "  field_instruction: prompt", "  field_output: completion", '  format: "{instruction}"',
                   '  no_input_format: "{instruction}"'],
}  # fmt: skip


def _axolotl(facts: CardFacts, names: list[str], filled: list[str]) -> list[str]:
    name = next((one for one in _AXOLOTL if one in names), None)
    if name is None or Split.TRAIN.value not in filled:
        return []
    lines = []
    for key, split in (("datasets", Split.TRAIN.value), ("test_datasets", Split.VALIDATION.value)):
        if split in filled:
            lines += [f"{key}:", f"  - path: {quoted(FOLDER)}", f"    name: {name}", f"    split: {split}"]
            lines += [f"    {line}" for line in _AXOLOTL[name]]
    return ["axolotl:", code("yaml", "\n".join(lines))]


def _llama_factory(facts: CardFacts) -> list[str]:
    named = list(json.loads(dataset_info(facts.data_files, facts.task) or "{}"))
    train = [name for name in named if name.endswith(f"_{Split.TRAIN}")]
    if not train:
        return []
    first = next(
        (f"{name}_{Split.TRAIN}" for name in facts.data_files if f"{name}_{Split.TRAIN}" in train), train[0]
    )
    lines = [f"dataset_dir: {quoted(FOLDER)}", f"dataset: {quoted(first)}"]
    held = first.removesuffix(str(Split.TRAIN)) + str(Split.VALIDATION)
    if held in named:
        lines.append(f"eval_dataset: {quoted(held)}")
    return ["LLaMA-Factory finds files and columns in `dataset_info.json`:", code("yaml", "\n".join(lines))]
