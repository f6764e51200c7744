"""Encoders of the spec: a model on disk that turns texts into vectors, and what is wrong with it.

Lives here: everything that knows `onnxruntime` and `tokenizers` (the extra `encoder`), which are imported when the first text
is encoded. Keep out: what vectors are compared for (`transforms.semantic`), how its folder says what to do (`encoder_folder`).

Nothing is fetched and no code of a model's folder is run. Each text is encoded by itself, on one thread, without padding:
beside other texts its last bits would be others, and a day would differ from a range. Several texts run at a time.
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from dataset_pipeline.errors import Problem, SpecError
from dataset_pipeline.spec import beside
from dataset_pipeline.spec.load import Project
from dataset_pipeline.spec.meaning import PATH_REMEDY, path_problem
from dataset_pipeline.storage.encoder_folder import FOLDER, Layout, deciding_files, layout_of

VERSION = 1
"""Raised when equal files give other vectors."""
LIBRARIES = ("onnxruntime", "tokenizers")
_INPUTS = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
_AT_ONCE = 4_096
_PROBE = "a text"

Vector = npt.NDArray[np.float32]


def libraries() -> dict[str, str]:
    """Versions of the libraries that encode, as installed. None is imported."""
    versions = {}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def fingerprint(root: Path, encoder: str | None) -> str:
    """Hex SHA-256 over the files that decide what the encoder says; "" where the spec names none.

    It opens no model and never raises: a file that is missing or cannot be read counts as such.
    """
    if encoder is None:
        return ""
    digest = hashlib.sha256(f"{VERSION}".encode())
    if path_problem(encoder):
        return digest.hexdigest()
    beside.add_files(digest, deciding_files(root / encoder))
    return digest.hexdigest()


def encoder_problems(project: Project) -> list[Problem]:
    """What is wrong with the encoder of a spec: it is opened, and encodes two words."""
    settings = project.spec.dedup.semantic
    if settings is None or settings.encoder is None:
        return []
    try:
        load(project.root, settings.encoder).encode(pl.Series([_PROBE]))
    except SpecError as error:
        return error.problems
    return []


def load(root: Path, encoder: str) -> OnnxEncoder:
    """The encoder in the folder that the spec names; its model is opened when it encodes its first text.

    root: the spec's folder. Raises SpecError with the folder, what is wrong with it and the remedy: there is none, it
    holds no model that is read, no tokenizer, or asks for a step that is not known here.
    """
    place = f"dedup.semantic.encoder: {encoder}"
    if reason := path_problem(encoder):
        raise SpecError([Problem(place, reason, PATH_REMEDY)])
    return OnnxEncoder(root / encoder, place, fingerprint(root, encoder), layout_of(root / encoder, place))


class OnnxEncoder:
    """An encoder (`transforms.semantic.Encoder`) on an ONNX model and its tokenizer."""

    def __init__(self, path: Path, place: str, files: str, layout: Layout):
        """place: the folder in words of an error. files: their hash."""
        self.path, self.place, self.layout = path, place, layout
        installed = " ".join(f"{name}={number}" for name, number in libraries().items())
        self.identity = f"onnx {VERSION} {installed} files {files}"

    def encode(self, texts: pl.Series) -> Vector:
        """One vector a text, float32; zeros for a text of which the tokenizer makes nothing.

        A text longer than the model takes is cut at its limit. Raises SpecError where the model cannot be opened or run,
        or gives no vectors of finite numbers.
        """
        rows: list[Vector] = []
        _, tokenizer, _ = self._opened
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            for part in texts.to_frame("text").iter_slices(_AT_ONCE):
                said = [self.layout.prompt + text for text in part["text"]]
                tokens = tokenizer.encode_batch(said, add_special_tokens=True)
                rows += pool.map(self._vector, tokens)
        widths = {len(row) for row in rows if len(row)}
        if len(widths) > 1:
            raise self._error(f"gives vectors of different lengths: {sorted(widths)[:2]}.", FOLDER)
        width = max(widths, default=1)
        made = np.array([row if len(row) else np.zeros(width, np.float32) for row in rows], dtype=np.float32)
        if not np.isfinite(made).all():
            raise self._error("gives vectors that hold no finite numbers.", "Export it again in float32.")
        return made.reshape(len(rows), width)

    def _error(self, what: str, remedy: str) -> SpecError:
        return SpecError([Problem(self.place, what, remedy)])

    @cached_property
    def _opened(self) -> tuple[Any, Any, str]:
        """Session, tokenizer, and the name of the output that is read."""
        runtime, tokenizers = (self._library(name) for name in LIBRARIES)
        try:
            tokenizer = tokenizers.Tokenizer.from_file(str(self.path / "tokenizer.json"))
            tokenizer.no_padding()
            tokenizer.enable_truncation(self.layout.limit(tokenizer.truncation))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic of the Rust library is no Exception
            raise self._error(f"tokenizer.json cannot be opened: {_words(error)}", FOLDER) from None
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.use_deterministic_compute = True
        options.log_severity_level = 4
        try:
            session = runtime.InferenceSession(
                str(self.layout.model), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            remedy = "Export it again: optimum-cli export onnx."
            raise self._error(f"{self.layout.model.name} cannot be opened: {_words(error)}", remedy) from None
        unknown = [given.name for given in session.get_inputs() if given.name not in _INPUTS]
        if unknown:
            what = f"{self.layout.model.name} asks for {', '.join(unknown)}, which is no input of a text encoder."
            raise self._error(what, f"A model is read that takes {', '.join(_INPUTS[:2])}.")
        return session, tokenizer, self._output(session)

    def _library(self, name: str) -> Any:
        try:
            return import_module(name)
        except ImportError:
            what = f"needs the library {name}, which is not installed."
            remedy = (
                "pip install 'dataset-pipeline[encoder]', or remove the key: the default encoder needs none."
            )
            raise self._error(what, remedy) from None

    def _output(self, session: Any) -> str:
        """A whole text's vector where the model gives one, else the vectors of its tokens."""
        outputs = {output.name: len(output.shape) for output in session.get_outputs()}
        for name in (
            "sentence_embedding",
            *(n for n, rank in outputs.items() if rank == 2 and len(outputs) == 1),
        ):
            if outputs.get(name) == 2:
                return str(name)
        for name in ("last_hidden_state", "token_embeddings", *outputs):
            if outputs.get(name) == 3:
                if self.layout.unknown_modules:
                    what = f"modules.json asks for {', '.join(self.layout.unknown_modules)}, which is not known here."
                    remedy = "Export the whole of it: optimum-cli export onnx --library-name sentence_transformers."
                    raise self._error(what, remedy)
                return str(name)
        what = f"{self.layout.model.name} gives {', '.join(outputs) or 'nothing'}: no vectors of texts or tokens."
        raise self._error(what, "Export it as a text encoder (feature-extraction).")

    def _vector(self, tokens: Any) -> Vector:
        session, _, output = self._opened
        ids = np.array([tokens.ids], dtype=np.int64)
        if ids.size == 0:
            return np.zeros(0, dtype=np.float32)
        every = {
            "input_ids": ids,
            "attention_mask": np.array([tokens.attention_mask], dtype=np.int64),
            "token_type_ids": np.array([tokens.type_ids], dtype=np.int64),
            "position_ids": np.arange(ids.shape[1], dtype=np.int64)[None],
        }
        asked = {given.name: _as(every[given.name], given.type) for given in session.get_inputs()}
        try:
            (made,) = session.run([output], asked)
        except Exception as error:
            # Its message is about numbers of tokens; none of it is shown all the same.
            what = f"{self.layout.model.name} fails with {type(error).__name__} on a text of {ids.shape[1]} tokens."
            raise self._error(what, "The tokenizer may belong to another model. " + FOLDER) from None
        rows = np.asarray(made, dtype=np.float32)
        if rows.ndim == 2 and len(rows) == 1:
            return np.asarray(rows[0])
        if rows.ndim == 3 and rows.shape[:2] == ids.shape:
            return self.layout.pooled(rows[0])
        raise self._error(
            f"gives an array of shape {list(rows.shape)} for a text of {ids.shape[1]} tokens.", FOLDER
        )


def _as(values: npt.NDArray[np.int64], kind: str) -> npt.NDArray[Any]:
    return values.astype(np.int32) if kind == "tensor(int32)" else values


def _words(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}".rstrip(": .") + "."
