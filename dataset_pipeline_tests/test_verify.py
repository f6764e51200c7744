"""`verify`: every hash, and every row is the record that provenance names; each way of being wrong is named.

Keep out: hashes alone (`test_releases`), verifying at a URL (`test_shipping_storage`, `test_publish_servers`).
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import zstandard
from click.testing import CliRunner, Result

from dataset_pipeline.assets.rebuilding import check_rows
from dataset_pipeline.cli.main import main
from dataset_pipeline.transforms import rebuilding
from dataset_pipeline_tests.published_release import exchange, files_of, sealed, some, written

TEXT_FORMATS = ("chat", "sharegpt", "alpaca", "completion")
IDS = [f"{n:032x}" for n in range(6)]


def verify(folder: Path, *more: str) -> Result:
    result = CliRunner().invoke(main, ["verify", str(folder), *more])
    assert "Traceback" not in result.output
    return result


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def swap(path: Path) -> None:
    first, second, *rest = lines_of(path)
    path.write_bytes(b"".join([second, first, *rest]))


# --- whole --------------------------------------------------------------------------------


def test_verify_whole_release_says_which_formats_it_compared(tmp_path: Path) -> None:
    result = verify(written(tmp_path))
    assert result.exit_code == 0
    assert "every row of parquet, chat, sharegpt, alpaca, completion is the record" in result.output
    assert "not checked" not in result.output


TASKS: dict[str, dict[str, Any]] = {
    "labels": {},
    "labels without a system prompt": {"system_prompt": None},
    "blank system prompt": {"system_prompt": "  "},
    "free text": {"type": "instruction", "labels": []},
    "free text without a system prompt": {"type": "instruction", "labels": [], "system_prompt": None},
}


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
@pytest.mark.parametrize("name", [*TEXT_FORMATS, "parquet"])
def test_verify_rows_of_one_format_alone_are_inverted(
    tmp_path: Path, name: str, task: dict[str, Any]
) -> None:
    records = [
        *some(2),
        (exchange("Own system.\n\nTwo paragraphs.", "bug", "Be\n\nkind."), "bug"),
        (exchange("The task's own prompt as the record's.", "wish", "Label it."), "wish"),
        (exchange("An empty system turn.", "wish", ""), "wish"),
        (exchange("x" * 1_000_000 + "\u202eabc", "bug"), "bug"),
    ]
    check = check_rows(written(tmp_path, records, [name], **task))
    assert (check.problems, check.not_checked, check.rows) == ([], [], 6)


@pytest.mark.parametrize("name", ["preference", "parquet"])
def test_verify_preference_pairs_are_inverted(tmp_path: Path, name: str) -> None:
    turns = [
        [*exchange("Q", "A"), *exchange("Q2", "A2")],
        exchange("Q", "A", "Own."),
        exchange("R", "A"),
    ]
    records = [(t, None) for t in turns]
    pairs = [(n, [{"role": "assistant", "content": "B"}]) for n in (1, 2, 1)]
    folder = written(tmp_path, records, [name], pairs, type="preference", labels=[])
    check = check_rows(folder)
    assert (check.problems, check.not_checked, check.rows) == ([], [], 3)
    if name == "preference":
        path = folder / "preference/train.jsonl"
        rows = [json.loads(line) for line in lines_of(path)]
        rows[0]["rejected"], rows[0]["chosen"] = rows[0]["chosen"], rows[0]["rejected"]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        assert f"preference/train.jsonl:1: is not record {IDS[0]}" in check_rows(folder).problems[0]


def test_verify_completion_with_more_paragraphs_than_can_be_tried_is_said_to_be_unchecked(
    tmp_path: Path,
) -> None:
    system = "\n\n".join(map(str, range(rebuilding.MAX_BOUNDARIES + 5)))
    records = [(exchange("Hello there.", "bug", system), "bug")]
    alone = check_rows(written(tmp_path / "alone", records, ["completion"]))
    assert (
        not alone.problems
        and IDS[0] in alone.not_checked[0]
        and "completion/train.jsonl:1" in alone.not_checked[0]
    )
    beside = check_rows(written(tmp_path / "beside", records, ["completion", "chat"]))
    assert (beside.problems, beside.not_checked) == ([], []), "made forwards from chat"


def test_verify_shards_and_packed_files_are_read_in_order(tmp_path: Path) -> None:
    folder = written(tmp_path, some(30), ["chat", "alpaca", "parquet"])
    lines = lines_of(folder / "chat/train.jsonl")
    (folder / "chat/train.jsonl").unlink()
    for n, part in enumerate((lines[:7], lines[7:])):
        path = folder / f"chat/train-0000{n}-of-00002.jsonl.gz"
        path.write_bytes(gzip.compress(b"".join(part), mtime=0))
    alpaca = folder / "alpaca/test.jsonl"
    (folder / "alpaca/test.jsonl.zst").write_bytes(zstandard.compress(alpaca.read_bytes()))
    alpaca.unlink()
    rows = pl.read_parquet(folder / "parquet/train.parquet")
    (folder / "parquet/train.parquet").unlink()
    rows.head(5).write_parquet(folder / "parquet/train-00000-of-00002.parquet")
    rows.tail(-5).write_parquet(folder / "parquet/train-00001-of-00002.parquet")
    folder = sealed(folder)
    check = check_rows(folder)
    assert (check.problems, check.not_checked, check.rows) == ([], [], 90)
    assert verify(folder).exit_code == 0
    lines[7], lines[8] = lines[8], lines[7]
    (folder / "chat/train-00001-of-00002.jsonl.gz").write_bytes(gzip.compress(b"".join(lines[7:]), mtime=0))
    found = check_rows(sealed(folder)).problems
    assert len(found) == 2 and found[0].startswith("chat/train-00001-of-00002.jsonl.gz:1: is not record")
    cut = folder.parent / sorted(p.name for p in tmp_path.iterdir())[0] / "chat/train-00001-of-00002.jsonl.gz"
    cut.write_bytes(cut.read_bytes()[:-9])
    assert any("cannot be read from here on" in line for line in check_rows(cut.parent.parent).problems)


# --- wrong --------------------------------------------------------------------------------


def wrong_label(folder: Path) -> None:
    rows = pl.read_parquet(folder / "provenance.parquet")
    label = pl.when(pl.col("record_id") == IDS[3]).then(pl.lit("bug")).otherwise("label")
    rows.with_columns(label=label.alias("label")).write_parquet(folder / "provenance.parquet")


def other_record(folder: Path) -> None:
    row = json.dumps({"messages": exchange("A stranger", "bug", "Label it.")}).encode() + b"\n"
    path = folder / "chat/train.jsonl"
    path.write_bytes(b"".join([row, *lines_of(path)[1:]]))


def one_byte(folder: Path) -> None:
    path = folder / "sharegpt/test.jsonl"
    path.write_bytes(path.read_bytes().replace(b"number 5", b"number 7"))


def shorter(folder: Path) -> None:
    path = folder / "alpaca/train.jsonl"
    path.write_bytes(b"".join(lines_of(path)[:-1]))


def broken_line(folder: Path) -> None:
    path = folder / "chat/test.jsonl"
    path.write_bytes(lines_of(path)[0] + b'{"messages": [')


def both_kept_and_dropped(folder: Path) -> None:
    rows = pl.DataFrame({"record_id": [IDS[0]], "step": ["filter"], "reason": ["too_short"]})
    rows.write_parquet(folder / "dropped.parquet")


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a byte": (one_byte, f"sharegpt/test.jsonl:2: is not record {IDS[5]} as provenance names it"),
    "swapped rows": (
        lambda folder: swap(folder / "completion/train.jsonl"),
        f"completion/train.jsonl:1: is not record {IDS[0]}, which provenance names here, but {IDS[1]}",
    ),
    "another record": (other_record, f"chat/train.jsonl:1: is not record {IDS[0]} as provenance names it"),
    "a wrong label": (wrong_label, f"chat/train.jsonl:3: holds record {IDS[3]} with another label"),
    "too few rows": (shorter, "alpaca train: 3 rows, provenance.parquet names 4 records"),
    "a broken line": (broken_line, "chat/test.jsonl:2: cannot be read from here on"),
    "kept and dropped": (both_kept_and_dropped, f"in provenance.parquet and in dropped.parquet: {IDS[0]}"),
}


@pytest.mark.parametrize(("damage", "words"), FAULTS.values(), ids=FAULTS)
def test_verify_release_that_was_sealed_anew_is_found_out_by_its_rows(
    tmp_path: Path, damage: Callable[[Path], None], words: str
) -> None:
    folder = written(tmp_path)
    damage(folder)
    if damage is not broken_line:  # of a line that is no JSON nobody can count rows
        folder = sealed(folder)
    result = verify(folder)
    assert result.exit_code == 1 and words in result.output, result.output
    assert "Message number" not in result.output and "stranger" not in result.output, "no text of a record"


@pytest.mark.parametrize(
    "damage", [one_byte, other_record, wrong_label, lambda f: swap(f / "chat/train.jsonl")]
)
def test_verify_changed_file_is_found_out_by_its_hash_and_its_rows_are_named(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    folder = written(tmp_path)
    damage(folder)
    output = verify(folder).output
    assert ": was changed (sha256" in output and "record 0000" in output


def test_verify_missing_and_extra_files_and_an_edited_manifest_are_named(tmp_path: Path) -> None:
    folder = written(tmp_path)
    (folder / "chat/test.jsonl").unlink()
    (folder / "notes.txt").write_text("x")
    result = verify(folder)
    assert result.exit_code == 1
    for words in (
        "chat/test.jsonl: is missing",
        "notes.txt: does not belong",
        "chat/test.jsonl: cannot be read",
    ):
        assert words in result.output, result.output
    other = written(tmp_path / "other")
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["counts"]["splits"]["train"] += 1
    manifest["counts"]["ingested"] += 1
    (other / "manifest.json").write_text(json.dumps(manifest))
    result = verify(other)
    assert (
        result.exit_code == 1
        and "manifest.json: counts.splits.train says 5, the records say 4" in result.output
    )
    assert "manifest.json: counts.ingested says 8, the records say 7" in result.output


def test_verify_lying_manifest_is_named_leaf_by_leaf(tmp_path: Path) -> None:
    folder = written(tmp_path)
    path = folder / "manifest.json"
    honest = json.loads(path.read_text())
    lies: list[tuple[str, str, Any, str]] = [
        ("rights", "uses", ["train", "commercial"], '["train", "commercial"], the records say ["train", "redistribute"]'),
        ("rights", "licenses", [], '[], the records say [{"license": "MIT", "records": 6}]'),
        ("rights", "license", "CC0-1.0", '"CC0-1.0", the records say "MIT"'),
        ("rights", "obligations", [], '[], the records say ["attribution"]'),
        ("rights", "terms_known", 1, "1, the records say true"),
        ("rights", "released_for", None, 'nothing, the records say ["train"]'),
        ("counts", "released", 7, "7, the records say 6"),
        ("counts", "released", "6", '"6", the records say 6'),
        ("counts", "ingested", None, "nothing, the records say 7"),
        ("counts", "splits", [], '[], the records say {"'),
        ("counts", "splits", {"train": 4, "test": 2, "more": 1}, ""),
    ]  # fmt: skip
    for part, key, lie, words in lies:
        path.write_text(json.dumps(honest | {part: honest[part] | {key: lie}}))
        result = verify(folder)
        assert result.exit_code == 1, (key, lie, result.output)
        named = f"manifest.json: {part}.{key}" + (
            f" says {words}" if words else ".more says 1, the records say 0"
        )
        assert named in result.output, (key, lie, result.output)
    for lie in ([], "x"):
        for part in ("rights", "counts"):
            path.write_text(json.dumps(honest | {part: lie}))
            result = verify(folder)
            assert result.exit_code == 1 and f"manifest.json: {part} says" in result.output
    path.write_text(json.dumps({key: said for key, said in honest.items() if key != "rights"}))
    result = verify(folder)
    assert "not checked: the rights: the manifest says nothing" in result.output
    assert result.exit_code == 1 and "than when the card was written" in result.output, (
        "the seal tells all the same"
    )


def test_verify_terms_of_licences_are_compared_with_the_same_version_only(tmp_path: Path) -> None:
    folder = written(tmp_path)
    path = folder / "manifest.json"
    honest = json.loads(path.read_text())
    lie = honest["rights"] | {"license": "CC0-1.0", "obligations": []}
    folder = sealed(folder, rights=lie, versions={"dataset_pipeline": "0.0.1"})
    path = folder / "manifest.json"
    result = verify(folder)
    assert result.exit_code == 0 and "not checked: what its licences ask for" in result.output
    path.write_text(json.dumps(honest | {"rights": lie | {"uses": []}, "versions": {}}))
    assert "rights.uses says [], the records say" in verify(folder).output


def test_verify_rights_of_one_record_bind_the_release(tmp_path: Path) -> None:
    folder = written(tmp_path)
    rows = pl.read_parquet(folder / "provenance.parquet")
    first = pl.col("row") == 0
    rows.with_columns(
        uses=pl.when(first & (pl.col("split") == "test")).then(None).otherwise("uses"),
        license=pl.when(first & (pl.col("split") == "train"))
        .then(pl.lit("CC-BY-SA-4.0"))
        .otherwise("license"),
    ).write_parquet(folder / "provenance.parquet")
    output = verify(sealed(folder)).output
    assert 'rights.uses says ["train", "redistribute"], the records say []' in output
    assert '"records": 5}, {"license": "CC-BY-SA-4.0", "records": 1}]' in output
    assert 'obligations says ["attribution"], the records say ["attribution", "share_alike"]' in output


def test_verify_release_without_tables_is_not_whole(tmp_path: Path) -> None:
    for name in ("provenance", "dropped"):
        folder = written(tmp_path / name)
        pl.DataFrame({"other": [1]}).write_parquet(folder / f"{name}.parquet")
        manifest = json.loads((folder / "manifest.json").read_text())
        file = manifest["files"][f"{name}.parquet"]
        data = (folder / f"{name}.parquet").read_bytes()
        file |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), "rows": 1}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        result = verify(folder)
        assert result.exit_code == 1 and f"{name}.parquet: is missing or is none" in result.output


@pytest.mark.parametrize("name", ["chat", "alpaca", "parquet"])
def test_verify_other_order_of_keys_is_named(tmp_path: Path, name: str) -> None:
    folder = written(tmp_path, some(6), [name])
    if name == "parquet":
        path = folder / "parquet/train.parquet"
        rows = pl.read_parquet(path)
        rows.select(reversed(rows.columns)).write_parquet(path)
    else:
        path = folder / name / "train.jsonl"
        rows_of = [json.loads(line) for line in lines_of(path)]
        turned = [
            {"messages": [dict(reversed(turn.items())) for turn in row["messages"]]}
            if name == "chat"
            else dict(reversed(row.items()))
            for row in rows_of
        ]
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in turned))
    result = verify(sealed(folder))
    assert result.exit_code == 1 and "order of keys or columns differ" in result.output, result.output


@pytest.mark.parametrize("command", ["verify", "publish"])
def test_verify_hostile_folders_are_words_and_end(tmp_path: Path, command: str) -> None:
    def climbs(folder: Path) -> None:
        (tmp_path / "secret.txt").write_text("x")
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["files"]["../../secret.txt"] = {"sha256": "0" * 64, "bytes": 1, "rows": None}
        (folder / "manifest.json").write_text(json.dumps(manifest))

    def pipe(folder: Path) -> None:
        for path in ("chat/train.jsonl", "provenance.parquet"):
            (folder / path).unlink()
            os.mkfifo(folder / path)

    def linked(folder: Path) -> None:
        (folder / "chat").rename(tmp_path / "chat")
        (folder / "chat").symlink_to(tmp_path / "chat")

    def deep(folder: Path) -> None:
        (folder / "manifest.json").write_text('{"files": ' + "[" * 100_000)

    for number, spoil in enumerate((climbs, pipe, linked, deep)):
        folder = written(tmp_path / str(number))
        spoil(folder)
        target = tmp_path / "target"
        result = CliRunner().invoke(main, [command, str(folder), *([str(target)] * (command == "publish"))])
        assert isinstance(result.exception, SystemExit) and result.exit_code == 1, (spoil, result.exception)
        assert not target.exists()


def test_verify_many_faults_name_twenty(tmp_path: Path) -> None:
    folder = written(tmp_path, some(90), ["chat"])
    path = folder / "chat/train.jsonl"
    path.write_bytes(b"".join(reversed(lines_of(path))))
    problems = check_rows(folder).problems
    assert len(problems) == 21 and problems[-1] == "and 40 more rows"


# --- what cannot be checked ---------------------------------------------------------------


def test_verify_release_of_an_earlier_version_says_what_it_did_not_check(tmp_path: Path) -> None:
    folder = written(tmp_path)
    rows = pl.read_parquet(folder / "provenance.parquet").drop("text_sha")
    rows.write_parquet(folder / "provenance.parquet")
    result = verify(sealed(folder))
    assert result.exit_code == 0
    assert "not checked: the rows: provenance holds no hashes of texts" in result.output
    assert "is the record that provenance names" not in result.output


def test_verify_spec_of_another_version_is_said_to_be_unchecked(tmp_path: Path) -> None:
    folder = written(tmp_path)
    result = verify(sealed(folder, spec={"name": "small", "task": {"type": "unheard of"}}))
    assert result.exit_code == 0 and "not checked: the rows: the manifest's spec" in result.output


def test_verify_format_that_the_spec_asks_for_and_nobody_wrote_is_named(tmp_path: Path) -> None:
    folder = written(tmp_path)
    for path in (folder / "chat").iterdir():
        path.unlink()
    result = verify(sealed(folder))
    assert result.exit_code == 1 and "asks for chat, of which there is no file" in result.output


def test_verify_storage_for_a_local_release_ends_with_2(tmp_path: Path) -> None:
    result = verify(written(tmp_path), "--storage", "key=x")
    assert result.exit_code == 2 and "belongs to a RELEASE that is a URL" in result.output


def test_verify_leaves_the_folder_as_it_is(tmp_path: Path) -> None:
    folder = written(tmp_path)
    before = files_of(folder)
    verify(folder)
    assert files_of(folder) == before
