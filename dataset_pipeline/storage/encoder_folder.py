"""The folder of an encoder: which of its files is the model, and what its settings say is done with a text.

Lives here: reading the layout of sentence-transformers (modules.json, 1_Pooling, onnx/) and of a plain ONNX export. Keep out:
opening and running the model (`encoders`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dataset_pipeline.errors import Problem, SpecError

FOLDER = "Name a folder with tokenizer.json and model.onnx (or onnx/model.onnx), as sentence-transformers and optimum write it."
TOKENIZER, MODULES = "tokenizer.json", "modules.json"
_SETTINGS = (
    TOKENIZER, MODULES, "config.json", "tokenizer_config.json", "sentence_bert_config.json",
    "config_sentence_transformers.json",
)  # fmt: skip
_WEIGHTS = ("model.safetensors", "pytorch_model.bin", "tf_model.h5")
_DEFAULT_TOKENS = 512
"""What a BERT takes; a folder that says nothing is taken for one."""
_MOST_TOKENS = 8_192
_POOLING = {"cls_token": "cls", "mean_tokens": "mean", "max_tokens": "max", "lasttoken": "lasttoken"}
"""As in sentence-transformers: the end of a key `pooling_mode_…`, and the word of newer folders."""

Rows = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Layout:
    """What a folder says. prompt: put before every text. unknown_modules: steps after the model that are not known here."""

    model: Path
    pooling: str
    max_tokens: int | None
    prompt: str
    unknown_modules: tuple[str, ...]

    def limit(self, truncation: dict[str, Any] | None) -> int:
        """Tokens of a text that are read: the model's own limit, else the tokenizer's."""
        given = self.max_tokens or (truncation or {}).get("max_length") or _DEFAULT_TOKENS
        return max(1, min(int(given), _MOST_TOKENS))

    def pooled(self, tokens: Rows) -> Rows:
        """One vector of the vectors of a text's tokens."""
        if self.pooling in ("cls", "lasttoken"):
            made = tokens[0 if self.pooling == "cls" else -1]
        elif self.pooling == "max":
            made = tokens.max(axis=0)
        else:
            made = tokens.mean(axis=0, dtype=np.float64)
        return np.asarray(made, dtype=np.float32)


def _models(path: Path) -> list[Path]:
    """The model, or all there are where it cannot be told which one is meant."""
    for usual in (path / "model.onnx", path / "onnx" / "model.onnx"):
        if usual.is_file():
            return [usual]
    return sorted([*path.glob("*.onnx"), *path.glob("onnx/*.onnx")])


def deciding_files(path: Path) -> Iterator[tuple[str, Path]]:
    """Name and path of each file that decides what a text becomes, in a fixed order; usual names where there is none."""
    for model in _models(path) or [path / "model.onnx"]:
        beside = [p for p in model.parent.glob(f"{model.name}*") if p.is_file()]
        yield from ((p.relative_to(path).as_posix(), p) for p in sorted({model, *beside}))
    yield from ((name, path / name) for name in _SETTINGS)
    yield from ((p.relative_to(path).as_posix(), p) for p in sorted(path.glob("*/config.json")))


def layout_of(path: Path, place: str) -> Layout:
    """What the folder says. Raises SpecError where it is none, or says what is not known here.

    place: the folder in words of an error.
    """

    def error(what: str, remedy: str = FOLDER) -> SpecError:
        return SpecError([Problem(place, what, remedy)])

    if not path.is_dir():
        raise error("is a file, not a folder." if path.is_file() else "there is no such folder.")
    models = _models(path)
    if not models:
        weights = [name for name in _WEIGHTS if (path / name).is_file()]
        if weights:
            remedy = "Export it: optimum-cli export onnx --model FOLDER FOLDER/onnx (the package optimum), or fetch its onnx/model.onnx."
            raise error(f"holds {weights[0]} and no ONNX model.", remedy)
        raise error("holds no ONNX model.")
    if len(models) > 1:
        named = ", ".join(p.relative_to(path).as_posix() for p in models[:5])
        raise error(
            f"holds several models ({named}), none of them model.onnx.", "Keep one, or call it model.onnx."
        )
    if not (path / TOKENIZER).is_file():
        raise error(f"holds no {TOKENIZER}.")
    for file in (models[0], path / TOKENIZER):
        if _is_pointer(file):
            raise error(f"{file.name} is a pointer of Git LFS, not the file.", "Fetch it: git lfs pull.")

    def settings(name: str) -> Any:
        file = path / name
        if not file.is_file():
            return None
        try:
            return json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            raise error(f"{name} is no JSON in UTF-8.") from None

    modules = _modules(settings(MODULES))
    pooling, unknown = "mean", []
    for kind, folder in modules:
        if kind == "Pooling":
            pooling = _pooling_of(settings(f"{folder}/config.json"), error)
        elif kind not in ("Transformer", "Normalize"):
            unknown.append(kind)
    return Layout(
        models[0],
        pooling,
        _tokens_of(settings("sentence_bert_config.json"), settings("tokenizer_config.json")),
        _prompt_of(settings("config_sentence_transformers.json")),
        tuple(unknown),
    )


def _is_pointer(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return opened.read(23) == b"version https://git-lfs"
    except OSError:
        return False


def _modules(given: Any) -> list[tuple[str, str]]:
    """Kind and folder of each step; none where the folder is a plain export."""
    listed = given if isinstance(given, list) else []
    return [
        (str(one.get("type", "")).rsplit(".", 1)[-1], str(one.get("path", "")))
        for one in listed
        if isinstance(one, dict)
    ]


def _pooling_of(given: Any, error: Any) -> str:
    given = given if isinstance(given, dict) else {}
    word = given.get("pooling_mode")
    modes = [word] if isinstance(word, str) else []
    modes += [
        name.removeprefix("pooling_mode_")
        for name, on in given.items()
        if name.startswith("pooling_mode_") and on is True
    ]
    chosen = [_POOLING.get(mode, mode) for mode in modes] or ["mean"]
    if len(chosen) > 1 or chosen[0] not in _POOLING.values():
        raise error(
            f"pools by {', '.join(chosen)}, which is not known here.",
            f"Known: {', '.join(_POOLING.values())}, one of them.",
        )
    return str(chosen[0])


def _tokens_of(sentence: Any, tokenizer: Any) -> int | None:
    for given, key in ((sentence, "max_seq_length"), (tokenizer, "model_max_length")):
        value = given.get(key) if isinstance(given, dict) else None
        # A tokenizer without a limit says 1e30.
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MOST_TOKENS:
            return value
    return None


def _prompt_of(given: Any) -> str:
    if not isinstance(given, dict) or not isinstance(given.get("prompts"), dict):
        return ""
    return str(given["prompts"].get(given.get("default_prompt_name"), ""))
