"""Tokenizers of the spec: opened from their files, counting as a trainer does, and what is wrong with them.

Lives here: everything that knows `transformers` (the extra `tokenizer`), which is imported when a tokenizer is opened.
Keep out: counting (`counting`), what the counts mean (`transforms.tokens`).

Nothing is fetched and no code of a tokenizer's folder is run: only its own files are read, and a chat template runs in
the sandbox that transformers gives it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from dataset_pipeline.errors import Problem, SpecError
from dataset_pipeline.spec.load import Project
from dataset_pipeline.spec.meaning import PATH_REMEDY, path_problem
from dataset_pipeline.spec.models import Training
from dataset_pipeline.storage.counting import PlainCounter, TemplateCounter

TOKENIZER = "tokenizer.json"
CONFIG = "tokenizer_config.json"

_DECIDING = (TOKENIZER, CONFIG, "special_tokens_map.json", "added_tokens.json", "config.json")
"""Files of a tokenizer's folder that decide what is counted; chat templates beside them."""

_FOLDER = "Name a folder with tokenizer.json and tokenizer_config.json (as save_pretrained writes them), or a tokenizer.json."


def fingerprint(root: Path, training: Training) -> str:
    """Hex SHA-256 over the files that decide how tokens are counted; "" where no tokenizer is named.

    It opens no tokenizer and never raises: a file that is missing or cannot be read counts as such.
    """
    if training.tokenizer is None:
        return ""
    digest = hashlib.sha256()
    for name, path in _deciding_files(root, training):
        digest.update(f"{name}\x1f".encode("utf-8", "surrogatepass"))
        try:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        except OSError as error:
            digest.update(type(error).__name__.encode())
    return digest.hexdigest()


def libraries(training: Training) -> dict[str, str]:
    """Versions of the libraries that count, as installed; empty where no tokenizer is named. None is imported."""
    if training.tokenizer is None:
        return {}
    versions = {}
    for name in ("jinja2", "tokenizers", "transformers"):
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def _deciding_files(root: Path, training: Training) -> Iterator[tuple[str, Path]]:
    """Name and path of each file, in a fixed order."""
    path = root / (training.tokenizer or "")
    if path.is_dir():
        yield from ((name, path / name) for name in _DECIDING)
        templates = [*path.glob("chat_template*"), *path.glob("additional_chat_templates/*")]
        yield from sorted((p.relative_to(path).as_posix(), p) for p in templates if p.is_file())
    else:
        yield TOKENIZER, path
    if training.chat_template is not None:
        yield "training.chat_template", root / training.chat_template


def tokenizer_problems(project: Project) -> list[Problem]:
    """What is wrong with the tokenizer and chat template of a spec: they are opened, and the handwritten examples rendered."""
    task = project.spec.task
    try:
        counter = load(project.root, project.spec.training)
        if counter is not None:
            system = [] if task.system_prompt is None else [{"role": "system", "content": task.system_prompt}]
            for n, example in enumerate(task.examples):
                prompt = [*system, {"role": "user", "content": example.input}]
                answer = [{"role": "assistant", "content": example.output}]
                counter.count([prompt], [answer], [f"task.examples[{n}]"])
    except SpecError as error:
        return error.problems
    return []


def load(root: Path, training: Training) -> TemplateCounter | PlainCounter | None:
    """The counter of the tokenizer that the spec names; None where it names none.

    root: the spec's folder. With a chat template (the one named, else the tokenizer's own) conversations are rendered
    as a trainer renders them; without one their texts are counted. Raises SpecError with the file, what is wrong with
    it and the remedy: it is missing, no tokenizer, needs code of its own, or is no template; transformers is missing.
    """
    if training.tokenizer is None:
        if training.chat_template is not None:
            raise _error(
                "training.chat_template",
                "means nothing without training.tokenizer.",
                "Name it, or remove the key.",
            )
        return None
    place, path = f"training.tokenizer: {training.tokenizer}", root / training.tokenizer
    _check_path(training.tokenizer, place)
    _check_files(path, place)
    named = None if training.chat_template is None else _named_template(root, training.chat_template)
    tokenizer = _opened(path, place)
    if named is not None:
        template: str | None = named
        where = f"training.chat_template: {training.chat_template}"
    else:
        template, where = _own_template(tokenizer, place), f"the chat template of {training.tokenizer}"
    if template is None:
        return PlainCounter(tokenizer)
    counter = TemplateCounter(tokenizer, template, where)
    counter.check_syntax()
    return counter


def _error(place: str, message: str, remedy: str) -> SpecError:
    return SpecError([Problem(place, message, remedy)])


def _check_path(given: str, place: str) -> None:
    if reason := path_problem(given):
        raise _error(place, reason, PATH_REMEDY)


def _check_files(path: Path, place: str) -> None:
    """Raises SpecError where there is no tokenizer.json of the kind that is read."""
    file = path / TOKENIZER if path.is_dir() else path
    if not file.is_file():
        what = f"the folder holds no {TOKENIZER}." if path.is_dir() else "there is no such file or folder."
        raise _error(place, what, _FOLDER)
    config = path / CONFIG
    for listed, key in ((file, "model"), *(((config, ""),) if config.is_file() else ())):
        try:
            text = listed.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise _error(place, f"{listed.name} cannot be read as UTF-8.", _FOLDER) from None
        if text.startswith("version https://git-lfs"):
            raise _error(
                place, f"{listed.name} is a pointer of Git LFS, not the file.", "Fetch it: git lfs pull."
            )
        try:
            parsed = json.loads(text)
        except (ValueError, RecursionError):
            parsed = None
        if not isinstance(parsed, dict) or (key and key not in parsed):
            raise _error(place, f"{listed.name} is no JSON of a tokenizer.", _FOLDER)


def _named_template(root: Path, given: str) -> str:
    place, path = f"training.chat_template: {given}", root / given
    _check_path(given, place)
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise _error(place, "is no text in UTF-8.", "Name a Jinja file.") from None
    except OSError:
        what = "is a folder." if path.is_dir() else "there is no such file, or it cannot be read."
        raise _error(place, what, "Name a Jinja file below the spec's folder.") from None


def _opened(path: Path, place: str) -> Any:
    """The tokenizer of a folder or file, set to cut and pad nothing."""
    transformers = _transformers(place)
    try:
        if path.is_dir():
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                str(path), local_files_only=True, trust_remote_code=False
            )
        else:
            tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(path))
        backend = tokenizer.backend_tokenizer
        backend.no_truncation()
        backend.no_padding()
        backend.encode_special_tokens = bool(getattr(tokenizer, "split_special_tokens", False))
        backend.encode("A", add_special_tokens=True)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of the Rust library is no Exception
        if "trust_remote_code" in str(error):
            what = "needs Python code of its own folder, which is never run."
            raise _error(
                place, what, "Save it as a fast tokenizer, or name its tokenizer.json alone."
            ) from None
        lines = str(error).strip().splitlines() or [""]
        what = f"cannot be opened: {type(error).__name__}: {lines[0][:200]}"
        raise _error(place, what.rstrip(": ."), _FOLDER) from None
    return tokenizer


def _transformers(place: str) -> Any:
    """The library, silenced and offline."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    # That there is no torch is said on import, and is of no interest: only tokenizers are used.
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        transformers = import_module("transformers")
    except ImportError:
        what = "needs the library transformers, which is not installed."
        raise _error(place, what, "pip install 'dataset-pipeline[tokenizer]', or remove the key.") from None
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


def _own_template(tokenizer: Any, place: str) -> str | None:
    template = tokenizer.chat_template
    if isinstance(template, dict):
        if "default" not in template:
            what = f"holds the chat templates {', '.join(sorted(template))}, and none called default."
            raise _error(place, what, "Name one of its files as training.chat_template.")
        template = template["default"]
    return template or None
