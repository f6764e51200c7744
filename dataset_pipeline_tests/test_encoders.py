"""Encoders on disk: a small ONNX model made here is opened and run as a user's would be, and what is wrong with one is said."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import polars as pl
import pytest
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from dataset_pipeline.errors import SpecError
from dataset_pipeline.storage import encoders
from dataset_pipeline.transforms import semantic

# Words in a row are synonyms: they share a vector.
MEANINGS = (("[UNK]",), ("refund", "reimburse"), ("invoice", "bill"), ("crash", "freeze"), ("please",))
VOCABULARY = {word: n for n, word in enumerate(word for row in MEANINGS for word in row)}
WIDTH = 8


def table(broken: bool = False) -> np.ndarray:
    rows = [np.eye(WIDTH, dtype=np.float32)[n] for n, row in enumerate(MEANINGS) for _ in row]
    return np.array(rows, dtype=np.float32) * (np.float32("nan") if broken else np.float32(1))


def model(
    inputs=("input_ids", "attention_mask"),
    output="last_hidden_state",
    words: np.ndarray | None = None,
    rank=3,
):
    """A graph that looks up the vector of each token, and takes their mean where rank is 2."""
    given = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"]) for name in inputs]
    shape = ["batch", "tokens", WIDTH] if rank == 3 else ["batch", WIDTH]
    made = helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)
    nodes = [helper.make_node("Gather", ["words", "input_ids"], [output if rank == 3 else "tokens_of"])]
    initial = [numpy_helper.from_array(table() if words is None else words, "words")]
    if rank == 2:
        nodes.append(helper.make_node("ReduceMean", ["tokens_of", "axes"], [output], keepdims=0))
        initial.append(numpy_helper.from_array(np.array([1], dtype=np.int64), "axes"))
    graph = helper.make_graph(nodes, "small", given, [made], initial)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def folder(root: Path, at: str = "model.onnx", graph=None, **settings) -> str:
    """root/encoder as a user would lay it out; settings: file name (with __ for .) to its JSON."""
    path = root / "encoder"
    (path / at).parent.mkdir(parents=True, exist_ok=True)
    onnx.save(graph or model(), path / at)
    tokenizer = Tokenizer(WordLevel(VOCABULARY, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.save(str(path / "tokenizer.json"))
    for name, value in settings.items():
        file = path / name.replace("__", ".").replace("9", "/")
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(value))
    return "encoder"


def sentence_transformers(
    root: Path, pooling: dict, kinds=("Transformer", "Pooling", "Normalize"), **more
) -> str:
    modules = [{"idx": n, "name": str(n), "path": "" if n == 0 else f"{n}_{kind}", "type": f"sentence_transformers.models.{kind}"}
               for n, kind in enumerate(kinds)]  # fmt: skip
    return folder(
        root, "onnx/model.onnx", modules__json=modules, **{"1_Pooling9config__json": pooling}, **more
    )


def told(root: Path, encoder: str = "encoder") -> tuple[str, str]:
    with pytest.raises(SpecError) as caught:
        encoders.load(root, encoder).encode(pl.Series(["refund please"]))
    (problem,) = caught.value.problems
    assert problem.place == f"dedup.semantic.encoder: {encoder}"
    return problem.message, problem.remedy


def test_encoders_synonyms_have_equal_vectors(tmp_path):
    encoder = encoders.load(tmp_path, folder(tmp_path))
    made = encoder.encode(pl.Series(["refund invoice", "bill reimburse", "crash", ""]))
    assert made.dtype == np.float32
    assert made[0].tolist() == made[1].tolist() == [0, 0.5, 0.5, 0, 0, 0, 0, 0]
    assert made[2].tolist() == [0, 0, 0, 1, 0, 0, 0, 0]
    assert not made[3].any()
    assert encoder.encode(pl.Series([], dtype=pl.String)).shape[0] == 0
    held = semantic.vectors(pl.Series(["refund invoice", "crash", "bill reimburse"]), encoder)
    found = semantic.first_kept(held, pl.Series([1, 1, 1]), 0, 0.95)
    assert found.twin.tolist() == [-1, -1, 0]


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, [0, 0.5, 0, 0.5]),
        ({"pooling_mode_cls_token": True}, [0, 1, 0, 0]),
        ({"pooling_mode_lasttoken": True}, [0, 0, 0, 1]),
        ({"pooling_mode": "max"}, [0, 1, 0, 1]),
    ],
)
def test_encoders_sentence_transformers_folder_pools_as_it_says(tmp_path, pooling, expected):
    encoder = encoders.load(tmp_path, sentence_transformers(tmp_path, pooling))
    assert encoder.encode(pl.Series(["refund crash"]))[0].tolist()[:4] == expected


def test_encoders_limit_and_prompt_of_the_folder_are_used(tmp_path):
    prompts = {"prompts": {"query": "please "}, "default_prompt_name": "query"}
    name = sentence_transformers(
        tmp_path, {"pooling_mode_max_tokens": True}, sentence_bert_config__json={"max_seq_length": 2},
        config_sentence_transformers__json=prompts,
    )  # fmt: skip
    made = encoders.load(tmp_path, name).encode(pl.Series(["refund crash"]))
    assert made[0].tolist() == [0, 1, 0, 0, 1, 0, 0, 0]


def test_encoders_model_that_gives_whole_texts_is_read_as_it_is(tmp_path):
    graph = model(("input_ids", "attention_mask", "token_type_ids"), "sentence_embedding", rank=2)
    name = sentence_transformers(
        tmp_path, {"pooling_mode_cls_token": True}, ("Transformer", "Pooling", "Dense"), graph=graph
    )
    assert encoders.load(tmp_path, name).encode(pl.Series(["refund crash"]))[0].tolist()[:4] == [
        0,
        0.5,
        0,
        0.5,
    ]


def test_encoders_texts_beside_it_change_no_vector(tmp_path):
    draw = np.random.default_rng(5)
    graph = model(words=draw.normal(size=(len(VOCABULARY), WIDTH)).astype(np.float32))
    encoder = encoders.load(tmp_path, folder(tmp_path, graph=graph))
    texts = [" ".join(draw.choice(list(VOCABULARY), size)) for size in draw.integers(1, 30, 60)]
    together = encoder.encode(pl.Series(texts))
    alone = np.concatenate([encoder.encode(pl.Series([text])) for text in texts])
    assert together.tobytes() == alone.tobytes()


def test_encoders_identity_follows_the_files(tmp_path):
    name = folder(tmp_path)
    first, print_ = encoders.load(tmp_path, name).identity, encoders.fingerprint(tmp_path, name)
    (tmp_path / name / "README.md").write_text("words")
    assert encoders.load(tmp_path, name).identity == first
    onnx.save(model(words=table() * 2), tmp_path / name / "model.onnx")
    assert encoders.load(tmp_path, name).identity != first
    assert encoders.fingerprint(tmp_path, name) != print_
    assert encoders.fingerprint(tmp_path, None) == ""
    assert encoders.fingerprint(tmp_path, "nowhere") != encoders.fingerprint(tmp_path, "a\0b")


def test_encoders_folder_that_is_none_is_told(tmp_path):
    assert told(tmp_path, "nowhere")[0] == "there is no such folder."
    assert "outside the project" in told(tmp_path, "/models/small")[0]
    (tmp_path / "file").write_text("x")
    assert told(tmp_path, "file")[0] == "is a file, not a folder."


def test_encoders_folder_without_a_model_is_told(tmp_path):
    path = tmp_path / folder(tmp_path)
    (path / "model.onnx").rename(path / "model_O2.onnx")
    shutil.copy(path / "model_O2.onnx", path / "model_O3.onnx")
    assert (
        told(tmp_path)[0] == "holds several models (model_O2.onnx, model_O3.onnx), none of them model.onnx."
    )
    for file in path.glob("*.onnx"):
        file.unlink()
    assert told(tmp_path)[0] == "holds no ONNX model."
    (path / "model.safetensors").write_bytes(b"x")
    message, remedy = told(tmp_path)
    assert message == "holds model.safetensors and no ONNX model."
    assert "optimum-cli export onnx" in remedy


def test_encoders_damaged_files_are_told(tmp_path):
    path = tmp_path / folder(tmp_path)
    good = (path / "tokenizer.json").read_bytes()
    (path / "tokenizer.json").write_text("{}")
    assert told(tmp_path)[0].startswith("tokenizer.json cannot be opened")
    (path / "tokenizer.json").unlink()
    assert told(tmp_path)[0] == "holds no tokenizer.json."
    (path / "tokenizer.json").write_bytes(good)
    (path / "model.onnx").write_bytes(b"no model")
    assert told(tmp_path)[0].startswith("model.onnx cannot be opened")
    (path / "model.onnx").write_text("version https://git-lfs.github.com/spec/v1\n")
    assert told(tmp_path)[0] == "model.onnx is a pointer of Git LFS, not the file."
    (path / "modules.json").write_text("[")
    onnx.save(model(), path / "model.onnx")
    assert told(tmp_path)[0] == "modules.json is no JSON in UTF-8."


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (model(words=table(broken=True)), "gives vectors that hold no finite numbers."),
        (model(words=table()[:1]), "model.onnx fails with InvalidArgument on a text of 2 tokens."),
        (
            model(("input_ids", "pixel_values")),
            "model.onnx asks for pixel_values, which is no input of a text encoder.",
        ),
        (
            model(("input_ids",), output="logits", words=np.ones(9, np.float32)),
            "model.onnx gives logits: no vectors of texts",
        ),
    ],
)
def test_encoders_model_that_is_no_text_encoder_is_told(tmp_path, graph, message):
    folder(tmp_path, graph=graph)
    assert told(tmp_path)[0].startswith(message)


def test_encoders_unknown_steps_of_a_folder_are_told(tmp_path):
    sentence_transformers(tmp_path, {"pooling_mode_cls_token": True}, ("Transformer", "Pooling", "Dense"))
    assert told(tmp_path)[0] == "modules.json asks for Dense, which is not known here."
    sentence_transformers(tmp_path, {"pooling_mode_weightedmean_tokens": True})
    assert told(tmp_path)[0] == "pools by weightedmean_tokens, which is not known here."


@pytest.mark.parametrize("library", encoders.LIBRARIES)
def test_encoders_missing_library_names_the_extra(tmp_path, monkeypatch, library):
    folder(tmp_path)
    monkeypatch.setitem(sys.modules, library, None)
    message, remedy = told(tmp_path)
    assert message == f"needs the library {library}, which is not installed."
    assert "dataset-pipeline[encoder]" in remedy


def test_encoders_libraries_are_imported_when_a_text_is_encoded():
    code = "import sys; import dataset_pipeline.storage.encoders; print('onnxruntime' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"
