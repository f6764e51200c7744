"""Tokenizers and chat templates: a tiny one made here, counted by eye, and what is said of those that fail.

Nothing is downloaded: words are the tokens, so that `<|im_start|>user A B<|im_end|>` has five.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from dataset_pipeline.errors import SpecError
from dataset_pipeline.spec.load import Project
from dataset_pipeline.spec.models import Example, Task, Training
from dataset_pipeline.storage.tokenizers import fingerprint, libraries, load, tokenizer_problems
from dataset_pipeline.transforms.tokens import measure
from dataset_pipeline_tests.test_tokens import KIND, TASK, records, spec, turns

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""A turn is three tokens and its words; the opening of the answer is two."""
NO_END = CHATML.replace("<|im_end|>", "")
NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}\n{{ raise_exception('System turns are not supported') }}{% endif %}"
    + CHATML
)
WORDS = [
    "a",
    "b",
    "c",
    "d",
    "e",
    "f",
    "g",
    "h",
    "i",
    "j",
    "one",
    "two",
    "three",
    "user",
    "assistant",
    "system",
    "Be",
    "kind",
    ".",
    "👍",
    "26",
    "Jul",
    "2024",
]
USES = Training(tokenizer="model")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `model`: a tokenizer of words with the template CHATML, as save_pretrained writes it."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: n for n, word in enumerate(["<unk>", *WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=words,
        unk_token="<unk>",
        eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>"],
    )
    fast.chat_template = CHATML
    root = tmp_path_factory.mktemp("tokenizers")
    fast.save_pretrained(root / "model")
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    """A copy of `made` that a test may spoil."""
    shutil.copytree(made / "model", tmp_path / "model")
    return tmp_path


def told(root: Path, training: Training = USES) -> str:
    """The one problem that opening finds."""
    with pytest.raises(SpecError) as raised:
        load(root, training)
    [problem] = raised.value.problems
    assert problem.remedy
    return str(problem)


def with_template(root: Path, template: str) -> Training:
    (root / "own.jinja").write_text(template, encoding="utf-8")
    return Training(tokenizer="model", chat_template="own.jinja")


def counted(root: Path, frame: pl.DataFrame, training: Training = USES, task: Task = TASK) -> pl.DataFrame:
    return measure(frame, task, training, 4.0, load(root, training))


# --- counts --------------------------------------------------------------------------------


def test_tokenizer_with_template_counts_as_it_renders(made: Path) -> None:
    frame = counted(made, records(("x", turns("a b c", "one two"))))
    # <|im_start|> user a b c <|im_end|>  <|im_start|> assistant | one two <|im_end|>
    assert frame.row(0) == ("x", 11, 8, 3, None, None, 3, True)


def test_tokenizer_with_template_counts_system_prompt_and_earlier_turns_to_the_prompt(made: Path) -> None:
    frame = counted(made, records(("x", turns("a", "one", "b", "two"))), task=KIND)
    # system Be kind . (6), user a (4), assistant one (4), user b (4), opening (2) | two <|im_end|>
    assert frame.select("prompt_tokens", "answer_tokens").row(0) == (20, 2)


def test_tokenizer_of_a_pair_counts_both_sides(made: Path) -> None:
    frame = counted(
        made, records(("x", turns("a", "one"), 1, turns("one two three", "b", "c", first="assistant")))
    )
    # <|im_start|> user a <|im_end|> <|im_start|> assistant | one <|im_end|>; other side: 3 words and end, b 4, c 4
    row = frame.row(0, named=True)
    assert (row["prompt_tokens"], row["answer_tokens"], row["rejected_tokens"]) == (6, 2, 12)
    assert (row["tokens"], row["has_end"]) == (18, True)


def test_tokenizer_without_template_counts_texts_and_the_end_that_a_trainer_adds(root: Path) -> None:
    alone = Training(tokenizer="model/tokenizer.json")
    frame = counted(root, records(("x", turns("a b c", "one two"))), alone, KIND)
    assert frame.select("prompt_tokens", "answer_tokens", "has_end").row(0) == (3 + 3, 2 + 1, None)


def test_tokenizer_json_alone_with_a_template_counts_as_the_folder(made: Path, root: Path) -> None:
    with_template(root, CHATML)
    alone = Training(tokenizer="model/tokenizer.json", chat_template="own.jinja")
    frame = records(("x", turns("a b c", "one two")), ("y", turns("👍 a", "👍")))
    assert counted(root, frame, alone).equals(counted(made, frame))


def test_tokenizer_cut_names_the_record_and_what_is_left(made: Path) -> None:
    rows = records(
        ("fits", turns("a", "one")),
        ("lost", turns("a b c d e f g h", "one")),
        ("over", turns("a", "one two three")),
    )
    frame = counted(made, rows, Training(tokenizer="model", max_length=8))
    over = frame.filter(pl.col("cut_tokens") > 0).select(
        "record_id", "tokens", "cut_tokens", "supervised_tokens"
    )
    # lost: user turn of 11 and opening of 2 are beyond 8 before the answer begins
    assert over.rows() == [("lost", 15, 7, 0), ("over", 10, 2, 2)]
    assert frame.filter(pl.col("supervised_tokens") == 0)["record_id"].to_list() == ["lost"]


def test_tokenizer_that_cuts_and_pads_by_itself_counts_all_the_same(made: Path, root: Path) -> None:
    file = root / "model" / "tokenizer.json"
    stored = json.loads(file.read_text())
    stored["truncation"] = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    stored["padding"] = {"strategy": {"Fixed": 50}, "direction": "Right", "pad_to_multiple_of": None,
                         "pad_id": 0, "pad_type_id": 0, "pad_token": "<unk>"}  # fmt: skip
    file.write_text(json.dumps(stored))
    frame = records(("x", turns("a b c", "one two")))
    assert counted(root, frame).equals(counted(made, frame))


def test_tokenizer_same_counts_twice_and_in_any_order(made: Path) -> None:
    rows = records(*((f"{n:05d}", turns("a " * (n % 7), "one " * (n % 3 + 1))) for n in range(10_050)))
    frame = counted(made, rows, task=KIND)
    assert frame.equals(counted(made, rows.sample(fraction=1.0, shuffle=True, seed=1), task=KIND))
    assert frame["record_id"].to_list() == rows["record_id"].to_list()
    assert frame.row(10_049, named=True)["answer_tokens"] == 10_049 % 3 + 1 + 1


def test_tokenizer_takes_a_million_characters_and_emoji(made: Path) -> None:
    frame = counted(
        made, records(("x", turns("a b " * 250_000, "👍")), ("y", turns("‮abc‬ 👩‍👩‍👧", "b" * 1_000_000)))
    )
    assert frame["prompt_tokens"].to_list()[0] == 500_000 + 3 + 2
    assert frame["answer_tokens"].to_list() == [2, 2]
    assert frame["has_end"].to_list() == [True, True]


# --- the end -------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["one", "im_end", "<|im_end|>", "", "assistant", "  one \n"])
def test_end_is_seen_behind_the_answer_whatever_it_says(root: Path, answer: str) -> None:
    frame = records(("x", turns("one", answer)))
    assert counted(root, frame)["has_end"].to_list() == [True]
    assert counted(
        root, frame, with_template(root, CHATML.replace("{{ m.content }}", "{{ m.content | trim }}"))
    )["has_end"].to_list() == [True]


def test_end_missing_in_the_template_is_seen(root: Path) -> None:
    frame = counted(
        root,
        records(("x", turns("one", "one")), ("y", turns("a", "b", "c", "d"))),
        with_template(root, NO_END),
    )
    assert frame["has_end"].to_list() == [False, False]


def test_end_is_seen_where_the_template_rewrites_the_answer(root: Path) -> None:
    upper = CHATML.replace("{{ m.content }}", "{{ m.content | upper }}")
    frame = records(("x", turns("a", "one")))
    assert counted(root, frame, with_template(root, upper))["has_end"].to_list() == [True]
    assert counted(root, frame, with_template(root, upper.replace("<|im_end|>", "")))[
        "has_end"
    ].to_list() == [False]


def test_end_of_a_pair_needs_both(root: Path) -> None:
    once = CHATML.replace("<|im_end|>", "{% if 'two' not in m.content %}<|im_end|>{% endif %}")
    pair = records(("x", turns("a", "one"), 1, turns("two", first="assistant")))
    assert counted(root, pair, with_template(root, once))["has_end"].to_list() == [False]


# --- templates that fail -------------------------------------------------------------------


def test_template_that_refuses_system_turns_is_told_in_words(root: Path) -> None:
    training = with_template(root, NO_SYSTEM)
    assert counted(root, records(("x", turns("a", "one"))), training).height == 1
    with pytest.raises(SpecError) as raised:
        counted(root, records(("r1", turns("secret words", "one"))), training, KIND)
    [problem] = raised.value.problems
    assert str(problem) == (
        "training.chat_template: own.jinja: cannot render r1 (system, user, assistant): it says "
        '"System turns are not supported" in line 2. It takes no system turn: without it the record is rendered. Name a '
        "training.chat_template that takes one, or remove task.system_prompt and the sources' own."
    )


def test_template_that_fails_names_the_first_record_and_none_of_its_text(root: Path) -> None:
    fussy = (
        CHATML
        + "{% if 'secret' in messages[0].content %}\n{{ raise_exception('no ' + messages[0].content) }}{% endif %}"
    )
    rows = records(
        ("z", turns("my secret", "one")), ("b", turns("her secret", "one")), ("a", turns("c", "one"))
    )
    with pytest.raises(SpecError) as raised:
        counted(root, rows, with_template(root, fussy))
    text = str(raised.value)
    assert "cannot render b (user, assistant): it fails with TemplateError in line 5." in text
    assert "secret" not in text


def test_template_that_is_no_jinja_names_the_line(root: Path) -> None:
    text = told(root, with_template(root, "line one\n{% for m in messages %}\n{{ m.content }"))
    assert text.startswith("training.chat_template: own.jinja: is no Jinja: line 3")
    (root / "model" / "chat_template.jinja").write_text("{% if %}", encoding="utf-8")
    assert told(root).startswith("the chat template of model: is no Jinja: line 1")


def test_template_asking_for_today_gets_one_day_for_ever(root: Path) -> None:
    dated = CHATML + "{% if strftime_now is defined %}{{ strftime_now('%d %b %Y') }}{% endif %}"
    [count] = counted(root, records(("x", turns("a", "one"))), with_template(root, dated))["tokens"].to_list()
    assert count == 8 + 3
    if_new = (
        CHATML + "{% if strftime_now('%d %b %Y') != '26 Jul 2024' %}{{ raise_exception('today') }}{% endif %}"
    )
    assert counted(root, records(("x", turns("a", "one"))), with_template(root, if_new)).height == 1


def test_template_that_marks_what_is_generated_counts_the_last_answer(root: Path) -> None:
    marked = CHATML.replace(
        "{{ m.content }}<|im_end|>", "{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}"
    )
    frame = records(("x", turns("a", "one", "b", "two")))
    assert counted(root, frame, with_template(root, marked)).equals(counted(root, frame))


def test_template_of_several_is_the_default_or_is_to_be_named(root: Path) -> None:
    config, frame = root / "model" / "tokenizer_config.json", records(("x", turns("a", "one")))
    expected = counted(root, frame)
    (root / "model" / "chat_template.jinja").unlink()
    stored = json.loads(config.read_text())
    tools = {"name": "tool_use", "template": NO_END}
    config.write_text(
        json.dumps(stored | {"chat_template": [tools, {"name": "default", "template": CHATML}]})
    )
    assert counted(root, frame).equals(expected)
    config.write_text(json.dumps(stored | {"chat_template": [tools]}))
    assert "holds the chat templates tool_use, and none called default" in told(root)


def test_template_cannot_leave_its_sandbox(root: Path) -> None:
    escape = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
    with pytest.raises(SpecError, match="SecurityError"):
        counted(root, records(("x", turns("a", "one"))), with_template(root, escape))


@pytest.mark.parametrize(
    "name, words", [("none.jinja", "no such file"), ("model", "is a folder"), ("../t.jinja", "leads outside")]
)
def test_template_that_is_no_file_is_told(root: Path, name: str, words: str) -> None:
    assert words in told(root, Training(tokenizer="model", chat_template=name))


def test_template_without_a_tokenizer_means_nothing(root: Path) -> None:
    assert "means nothing without training.tokenizer" in told(root, Training(chat_template="t.jinja"))
    assert load(root, Training()) is None


# --- tokenizers that fail ------------------------------------------------------------------


def test_tokenizer_missing_is_told(root: Path) -> None:
    assert "there is no such file or folder" in told(root, Training(tokenizer="nowhere"))
    (root / "model" / "tokenizer.json").unlink()
    assert "the folder holds no tokenizer.json" in told(root)
    assert "outside the project" in told(root, Training(tokenizer="/model"))


@pytest.mark.parametrize(
    "content, words",
    [
        ("{", "tokenizer.json is no JSON of a tokenizer"),
        ("[" * 100_000, "tokenizer.json is no JSON of a tokenizer"),
        ('{"model": {"type": "Nothing"}}', "cannot be opened"),
        ('{"model": 1, "version": "1.0"}', "cannot be opened"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0", "pointer of Git LFS"),
    ],
)
@pytest.mark.parametrize("named", ["model", "model/tokenizer.json"])
def test_tokenizer_that_is_none_is_told(root: Path, content: str, words: str, named: str) -> None:
    (root / "model" / "tokenizer.json").write_text(content)
    text = told(root, Training(tokenizer=named))
    assert text.startswith(f"training.tokenizer: {named}: ")
    assert words in text


def test_tokenizer_of_other_bytes_is_told(root: Path) -> None:
    (root / "model" / "tokenizer_config.json").write_bytes(b"\xff\xfe\x00")
    assert "tokenizer_config.json cannot be read as UTF-8" in told(root)


def test_tokenizer_never_runs_code_of_its_folder(root: Path) -> None:
    config = root / "model" / "tokenizer_config.json"
    stored = json.loads(config.read_text())
    stored |= {"tokenizer_class": "MyTokenizer", "auto_map": {"AutoTokenizer": [None, "mine.MyTokenizer"]}}
    config.write_text(json.dumps(stored))
    (root / "model" / "mine.py").write_text(
        f"open({str(root / 'ran')!r}, 'w').close()\nclass MyTokenizer: pass\n"
    )
    assert "needs Python code of its own folder, which is never run" in told(root)
    assert not (root / "ran").exists()


def test_tokenizer_without_transformers_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    text = told(root)
    assert "training.tokenizer: model: needs the library transformers, which is not installed." in text
    assert "pip install 'dataset-pipeline[tokenizer]'" in text


def test_tokenizer_asks_nobody_and_says_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert load(root, USES) is not None
    code = f"from pathlib import Path; from dataset_pipeline.storage.tokenizers import load; from dataset_pipeline.spec.models import Training; load(Path({str(root)!r}), Training(tokenizer='model'))"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "TRANSFORMERS_"))}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")


# --- fingerprint and check -----------------------------------------------------------------


def test_fingerprint_follows_the_files_that_decide(root: Path) -> None:
    first = fingerprint(root, USES)
    assert len(first) == 64
    assert fingerprint(root, Training()) == ""
    (root / "model" / "README.md").write_text("nothing that counts")
    assert fingerprint(root, USES) == first
    seen = {first}
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json"):
        (root / "model" / name).write_text("changed")
        seen.add(fingerprint(root, USES))
    training = with_template(root, CHATML)
    seen.add(fingerprint(root, training))
    (root / "own.jinja").write_text("changed")
    seen.add(fingerprint(root, training))
    (root / "model" / "tokenizer.json").unlink()
    seen.add(fingerprint(root, training))
    assert len(seen) == 8
    assert len(fingerprint(root, Training(tokenizer="nowhere"))) == 64


def test_libraries_are_named_where_they_count() -> None:
    assert libraries(Training()) == {}
    assert sorted(libraries(USES)) == ["jinja2", "tokenizers", "transformers"]


def test_fingerprint_opens_no_tokenizer(root: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from dataset_pipeline.spec.models import Training
from dataset_pipeline.storage.tokenizers import fingerprint, libraries
fingerprint(Path({str(root)!r}), Training(tokenizer="model"))
libraries(Training(tokenizer="model"))
assert not {{"transformers", "tokenizers", "jinja2"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def project(root: Path, training: Training, system_prompt: str | None = None) -> Project:
    examples = (Example(input="a", output="one"), Example(input="b", output="two"))
    task = TASK.model_copy(update={"system_prompt": system_prompt, "examples": examples})
    return Project(spec(task, training), root / "dataset.yaml")


def test_problems_render_the_handwritten_examples(root: Path) -> None:
    assert tokenizer_problems(project(root, Training())) == []
    assert tokenizer_problems(project(root, USES, "Be kind.")) == []
    training = with_template(root, NO_SYSTEM)
    assert tokenizer_problems(project(root, training)) == []
    [problem] = tokenizer_problems(project(root, training, "Be kind."))
    assert "cannot render task.examples[0] (system, user, assistant)" in problem.message
    [missing] = tokenizer_problems(project(root, Training(tokenizer="nowhere")))
    assert missing.place == "training.tokenizer: nowhere"
