"""The card's front matter, which YAML and the Hub's library read alike, and its snippets for loading.

Lives here: `transforms.card_front` on facts made by hand. Keep out: the other sections (`test_card`).
"""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from dataset_pipeline.spec.models import Task
from dataset_pipeline.transforms.card.front import hub_license
from dataset_pipeline.transforms.card.markdown import quoted
from dataset_pipeline.transforms.card.whole import SourceFacts, card
from dataset_pipeline_tests.card_scenario import HOSTILE, facts, front, grant, release_rights, section

# --- front matter --------------------------------------------------------------------------------


def test_front_matter_is_read_alike_by_yaml_and_by_the_hubs_library(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "1")
    from huggingface_hub import DatasetCard

    text = card(facts())
    data: dict[str, Any] = DatasetCard(text).data.to_dict()  # type: ignore[no-untyped-call]
    assert data == front(text)
    assert data["pretty_name"] == "small" and data["language"] == ["de", "en"]
    assert data["task_categories"] == ["text-classification"] and data["size_categories"] == ["n<1K"]
    assert data["tags"] == ["dataset_pipeline"]
    assert data["license"] == "other" and data["license_name"] == "cc-by-4.0-and-licenseref-own"
    assert data["license_link"] == "ATTRIBUTION.md"


def test_configs_are_the_jsonl_formats_with_their_filled_splits() -> None:
    assert front(card(facts()))["configs"] == [
        {
            "config_name": "chat",
            "default": True,
            "data_files": [
                {"split": "train", "path": "chat/train.jsonl"},
                {"split": "test", "path": "chat/test.jsonl"},
            ],
        }
    ]


def test_configs_list_parquet_where_it_is_alone_and_shards_as_a_list() -> None:
    shards = ["parquet/train-00000-of-00002.parquet", "parquet/train-00001-of-00002.parquet"]
    text = card(facts(data_files={"parquet": {"train": shards}}))
    (config,) = front(text)["configs"]
    assert config["config_name"] == "parquet" and config["data_files"] == [{"split": "train", "path": shards}]
    assert "dataset_info.json" in section(text, "Files")  # LLaMA-Factory reads Parquet too
    assert f"{shards[0]} to {shards[1]}" in section(text, "Files")


@pytest.mark.parametrize(
    "name", ["no", "1e5", "a: b", "x\n---\ny", "'", HOSTILE, "\ud800", "~", "2026-01-01", " - a"]
)
def test_front_matter_holds_any_name(name: str) -> None:
    whole = name.replace("\ud800", "\ufffd")
    text = card(facts(name=name, data_files={"chat": {"train": [name]}}, languages={"no": 30}))
    found = front(text)
    assert found["pretty_name"] == whole
    assert found["configs"][0]["data_files"][0]["path"] == whole
    assert found["language"] == ["no"]


def test_quoted_leaves_nothing_to_guess_for_other_readers() -> None:
    assert quoted("1e5") == '"1e5"' and quoted("a\u2028\x85") == '"a\\u2028\\u0085"'


@pytest.mark.parametrize(
    ("expression", "identifier"),
    [("CC-BY-4.0", "cc-by-4.0"), ("ODbL-1.0", "odbl"), ("GPL-3.0-or-later", "gpl-3.0"), ("GFDL-1.3-only", "gfdl"),
     ("Unlicense", "unlicense"), ("CC-BY-SA-2.0-UK", "other"), ("MIT AND CC-BY-4.0", "other"), ("LicenseRef-x", "other"),
     (None, "other")],
)  # fmt: skip
def test_license_is_one_of_the_hub_or_other(expression: str | None, identifier: str) -> None:
    assert hub_license(expression) == identifier


def test_license_of_one_kind_needs_no_name_and_another_leads_to_its_text() -> None:
    own = front(card(facts(rights=release_rights(grant("a")))))
    assert own["license"] == "cc-by-4.0" and "license_name" not in own
    other = front(card(facts(rights=release_rights(grant("a", license="CC-BY-SA-2.0-UK")))))
    assert other["license_name"] == "cc-by-sa-2.0-uk"
    assert other["license_link"] == "https://creativecommons.org/licenses/by-sa/2.0/uk/"


def test_tags_say_synthetic_only_where_generated_records_are_released() -> None:
    written = SourceFacts("g", "synthetic", 5, 5, generator="m-1 of P Inc")
    assert "synthetic" in front(card(facts(sources=[written])))["tags"]
    unused = SourceFacts("g", "synthetic", 5, 0, generator="m-1 of P Inc")
    assert "synthetic" not in front(card(facts(sources=[unused])))["tags"]


# --- how to load ---------------------------------------------------------------------------------


def test_loading_shows_the_formats_that_are_there() -> None:
    text = section(card(facts()), "How to load")
    assert 'load_dataset("releases/latest", "chat")  # splits: train, test' in text
    assert 'load_dataset("releases/latest/parquet")' in text
    assert 'SFTTrainer(model=MODEL, train_dataset=chat["train"])' in text  # no validation, no eval_dataset
    python, trl, axolotl, llama = re.findall(r"```\w+\n(.*?)```", text, re.DOTALL)
    compile(python + trl, "card", "exec")
    assert yaml.safe_load(axolotl) == {
        "datasets": [{"path": "releases/latest", "name": "chat", "split": "train", "type": "chat_template"}]
    }
    assert yaml.safe_load(llama) == {"dataset_dir": "releases/latest", "dataset": "chat_train"}


@pytest.mark.parametrize("name", ["alpaca", "completion", "sharegpt"])
def test_loading_snippets_of_other_formats_are_code(name: str) -> None:
    files = {name: {"train": [f"{name}/train.jsonl"], "validation": [f"{name}/validation.jsonl"]}}
    text = section(card(facts(data_files=files, splits={"train": 3, "validation": 1})), "How to load")
    for language, code in re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL):
        if language == "python":
            compile(code, "card", "exec")
        else:
            assert yaml.safe_load(code)
    assert ("trl" in text) == (name == "completion")


def test_loading_of_pairs_names_the_trainer_of_pairs() -> None:
    files = {"preference": {"train": ["preference/train.jsonl"]}}
    text = card(facts(data_files=files, labels={}, task=Task(behavior="Prefer.", type="preference")))
    assert "DPOTrainer" in section(text, "How to load") and "axolotl" not in text
    assert front(text)["tags"] == ["dataset_pipeline", "dpo"]


def test_an_empty_release_has_a_card_all_the_same() -> None:
    text = card(
        facts(
            data_files={},
            splits={},
            labels={},
            sources=[],
            rights=release_rights(),
            languages={},
            tokens=None,
        )
    )
    assert "configs" not in front(text) and "This release holds no data file." in text
