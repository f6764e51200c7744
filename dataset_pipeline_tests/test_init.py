"""`init --from`: what it guesses of files of every format and layout, what it shows, what it writes."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dataset_pipeline.storage.locks import release_run_lock
from dataset_pipeline_tests.conftest import run_whole
from dataset_pipeline_tests.scenario import LABELS, call, csv_bytes, jsonl, rows, text


@pytest.fixture(autouse=True)
def _no_lock_left(tmp_path: Path) -> Iterator[None]:
    yield
    release_run_lock(tmp_path / "project" / "warehouse.duckdb")


def written(tmp_path: Path, name: str, data: bytes) -> Path:
    path = tmp_path / "given" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def begun(tmp_path: Path, source: Path) -> tuple[dict[str, Any], str]:
    """The spec that init writes for a file or folder, which `check` finds good, and what it printed."""
    result = call("init", None, str(tmp_path / "project"), "--from", str(source))
    assert result.exit_code == 0, result.output
    path = tmp_path / "project" / "dataset.yaml"
    checked = call("check", path)
    assert checked.exit_code == 0, checked.output
    return yaml.safe_load(path.read_text("utf-8")), result.stdout


def guessed(tmp_path: Path, records: list[dict[str, Any]], name: str = "rows.jsonl") -> tuple[Any, Any, str]:
    """Task, source and output for rows as JSON Lines."""
    spec, shown = begun(tmp_path, written(tmp_path, name, jsonl(records)))
    return spec["task"], spec["sources"][0], shown


# --- layouts ------------------------------------------------------------------------------

PAIR = [{"role": "user", "content": "Is it open?"}, {"role": "assistant", "content": "Yes, until six."}]
SAID = [{"from": "human", "value": "Is it open?"}, {"from": "gpt", "value": "Yes, until six."}]
TALK = "Human: Is it open?\n\nAssistant: Yes, until six."
TREE = {
    "text": "Is it open?",
    "role": "prompter",
    "replies": [{"text": "Yes.", "role": "assistant", "replies": []}],
}
LAYOUTS: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "chat": ({"messages": PAIR}, "chat", {"layout": "chat"}),
    "chat in another column": ({"turns": PAIR}, "chat", {"layout": "chat", "fields": {"messages": "turns"}}),
    "chat inside an object": ({"data": {"turns": PAIR}}, "chat", {"layout": "chat", "fields": {"messages": "data.turns"}}),
    "sharegpt": ({"conversations": SAID}, "chat", {"layout": "sharegpt"}),
    "preference": ({"prompt": "Is it open?", "chosen": "Yes.", "rejected": "No."}, "preference", {"layout": "preference"}),
    "preference of transcripts": ({"chosen": TALK, "rejected": TALK + " Or not."}, "preference", {"layout": "preference"}),
    "preference of messages": ({"chosen": PAIR, "rejected": [PAIR[0], {"role": "assistant", "content": "No."}]}, "preference", {"layout": "preference"}),
    "preference by question": ({"question": "Open?", "chosen": "Yes.", "rejected": "No."}, "preference", {"layout": "preference", "fields": {"input": "question"}}),
    "alpaca": ({"instruction": "Add.", "input": "1 2", "output": "3"}, "instruction", {"layout": "alpaca"}),
    "alpaca without input": ({"instruction": "Say hello.", "output": "Hello."}, "instruction", {"layout": "alpaca"}),
    "alpaca with response": ({"instruction": "Add.", "input": "1 2", "response": "3"}, "instruction", {"fields": {"input": ["instruction", "input"], "output": "response"}}),
    "completion": ({"prompt": "Once upon", "completion": "a time."}, "completion", {"layout": "completion"}),
    "question and answer": ({"question": "How many?", "answer": "So many that one tires."}, "instruction", {"fields": {"input": "question", "output": "answer"}}),
    "question, context and answers": ({"context": "The shop opens at six.", "question": "When?", "answers": {"text": ["At six."], "start": [15]}}, "instruction", {"fields": {"input": ["context", "question"], "output": "answers.text.0"}}),
    "transcript": ({"text": TALK}, "chat", {"layout": "transcript"}),
    "transcript in another column": ({"dialogue": TALK}, "chat", {"layout": "transcript", "fields": {"messages": "dialogue"}}),
    "tree": ({"message_tree_id": "t1", "prompt": TREE}, "chat", {"layout": "tree"}),
    "tree that is its root": ({"message_id": "m1", **TREE}, "chat", {"layout": "tree"}),
    "explode": ({"instruction": "Add.", "instances": [{"input": "1 2", "output": "3"}]}, "instruction", {"explode": "instances", "fields": {"input": ["instruction", "instances.input"], "output": "instances.output"}}),
}  # fmt: skip


@pytest.mark.parametrize("case", LAYOUTS)
def test_init_layout_is_told_by_columns_and_values(tmp_path: Path, case: str) -> None:
    record, task, expected = LAYOUTS[case]
    found_task, source, shown = guessed(tmp_path, [record] * 3)
    assert found_task["type"] == task
    assert {k: source[k] for k in ("layout", "fields", "explode") if k in source} == expected
    assert (
        f"task {task}" in shown
        and "rejected of the first" not in shown
        and "no row becomes a record" not in shown
    )


def test_init_preference_shows_both_sides_and_says_how_to_use_one(tmp_path: Path) -> None:
    _, _, shown = guessed(tmp_path, [LAYOUTS["preference"][0]] * 3)
    assert "  assistant: Yes." in shown and "  rejected assistant: No." in shown
    assert "the chosen side alone is used" in shown
    assert "the chosen side alone is used" in (tmp_path / "project/dataset.yaml").read_text()


def test_init_text_alone_asks_for_labels(tmp_path: Path) -> None:
    task, source, shown = guessed(tmp_path, [{"body": text(n)} for n in range(30)])
    assert task["type"] == "classification" and source["fields"] == {"input": "body"}
    assert "No column was found that holds answers or labels" in shown


# --- labels and columns beside ------------------------------------------------------------


def test_init_labels_are_those_of_the_whole_file_not_of_its_beginning(tmp_path: Path) -> None:
    records = [{"text": f"message number {n}", "category": f"c{n // 100}"} for n in range(9000)]
    task, _, _ = guessed(tmp_path, records)
    assert sorted(task["labels"]) == sorted({f"c{n}" for n in range(90)})


def test_init_labels_that_are_numbers_stay_labels(tmp_path: Path) -> None:
    task, source, _ = guessed(
        tmp_path, [{"tweet": text(n), "class": n % 3, "votes": n % 4} for n in range(40)]
    )
    assert sorted(task["labels"]) == ["0", "1", "2"]
    assert source["fields"] == {"input": "tweet", "output": "class"}


def test_init_labels_that_differ_in_case_only_are_one(tmp_path: Path) -> None:
    labels = ["bug", "bug", "Bug", "wish", "wish"]
    task, _, _ = guessed(tmp_path, [{"text": text(n), "label": labels[n % 5]} for n in range(40)])
    assert sorted(task["labels"]) == ["bug", "wish"]


def test_init_label_column_without_a_known_name_is_told_by_its_values(tmp_path: Path) -> None:
    task, source, shown = guessed(tmp_path, [{"message": text(n), "team": LABELS[n % 3]} for n in range(40)])
    assert sorted(task["labels"]) == sorted(LABELS) and source["fields"]["output"] == "team"
    assert "guessed by its values" in shown


def test_init_column_of_addresses_is_never_labels(tmp_path: Path) -> None:
    records = [{"text": text(n), "label": f"jane{n % 3}@example.com"} for n in range(40)]
    result = call(
        "init", None, str(tmp_path / "project"), "--from", str(written(tmp_path, "a.jsonl", jsonl(records)))
    )
    assert result.exit_code == 0
    assert "jane" not in (tmp_path / "project/dataset.yaml").read_text() and "jane" not in result.output


def test_init_more_values_than_labels_can_be_are_answers(tmp_path: Path) -> None:
    task, source, _ = guessed(tmp_path, [{"text": text(n), "output": f"answer {n}"} for n in range(600)])
    assert task["type"] == "instruction" and source["fields"] == {"input": "text", "output": "output"}


def test_init_columns_beside_the_text_are_mapped_where_they_are_sure(tmp_path: Path) -> None:
    records = [
        {"ticketId": f"t{n}", "customer_id": f"k{n % 9}", "created_at": f"2026-03-0{n % 9 + 1}", "sender": "Jo Day",
         "text": text(n), "label": LABELS[n % 3], "source": "mail"}
        for n in range(40)
    ]  # fmt: skip
    _, source, shown = guessed(tmp_path, records)
    assert source["fields"] == {
        "id": "ticketId", "input": "text", "output": "label", "created_at": "created_at", "group": "customer_id",
        "person_names": ["sender"],
    }  # fmt: skip
    assert "columns not used: source" in shown


def test_init_id_that_repeats_and_group_of_one_value_are_not_mapped(tmp_path: Path) -> None:
    records = [
        {"id": n % 7, "user": "jo", "name": "make_tea", "text": text(n), "label": LABELS[n % 3]}
        for n in range(40)
    ]
    _, source, _ = guessed(tmp_path, records)
    assert source["fields"] == {"input": "text", "output": "label"}


# --- formats ------------------------------------------------------------------------------


def parquet(path: Path, records: list[dict[str, Any]]) -> Path:
    import polars as pl

    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(records).write_parquet(path)
    return path


def workbook(path: Path, sheets: dict[str, list[list[Any]]]) -> Path:
    import openpyxl

    path.parent.mkdir(parents=True, exist_ok=True)
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, lines in sheets.items():
        sheet = book.create_sheet(name)
        for line in lines:
            sheet.append(line)
    book.save(path)
    return path


def semicolons(records: list[dict[str, Any]]) -> bytes:
    lines = [";".join(records[0]), *(";".join(map(str, row.values())) for row in records)]
    return "\r\n".join(lines).encode("cp1252")


ACCENTED = [row | {"text": f"{row['text']} Très déçu, à 5 €"} for row in rows(0, 30)]
TABLE = [list(rows(0)[0]), *(list(row.values()) for row in rows(0, 30))]


def _file(kind: str, folder: Path) -> Path:
    match kind:
        case "jsonl":
            return written(folder, "a.jsonl", jsonl(rows(0, 30)))
        case "cp1252 with semicolons":
            return written(folder, "a.csv", semicolons(ACCENTED))
        case "json document":
            data = {"version": 1, "data": {"items": rows(0, 30)}, "other": [{"a": 1}]}
            return written(folder, "a.json", json.dumps(data, indent=1).encode())
        case "parquet":
            return parquet(folder / "given/a.parquet", rows(0, 30))
        case _:
            return workbook(folder / "given/a.xlsx", {"About": [], "Messages": TABLE})


RUNS = {
    "jsonl": {},
    "cp1252 with semicolons": {"encoding": "cp1252"},
    "json document": {"records": "data.items"},
    "parquet": {},
    "xlsx": {"sheet": "Messages"},
}


@pytest.mark.parametrize(
    "kind", [kind if kind == "xlsx" else pytest.param(kind, marks=pytest.mark.faults) for kind in RUNS]
)
def test_init_format_runs_to_its_release(tmp_path: Path, kind: str) -> None:
    spec, shown = begun(tmp_path, _file(kind, tmp_path))
    source = spec["sources"][0]
    keys = ("format", "encoding", "records", "delimiter", "header", "sheet")
    assert {k: source[k] for k in keys if k in source} == RUNS[kind]
    assert source["fields"] == {"id": "id", "input": "text", "output": "label"}
    assert sorted(spec["task"]["labels"]) == sorted(LABELS) and "rejected" not in shown
    run_whole(tmp_path / "project")
    manifest = json.loads((tmp_path / "project/releases/latest/manifest.json").read_text())
    assert sum(manifest["counts"]["splits"].values()) > 20


WRONG_NAMES: dict[str, tuple[str, bytes, dict[str, Any]]] = {
    "packed without a suffix": ("a.jsonl", gzip.compress(jsonl(rows(0, 30))), {"path": "sources/a.jsonl.gz"}),
    "not packed as it says": ("a.csv.gz", csv_bytes(rows(0, 30)), {"path": "sources/a.csv"}),
    "no suffix": ("export", jsonl(rows(0, 30)), {"path": "sources/export", "format": "jsonl"}),
    "lines called text": ("a.txt", jsonl(rows(0, 30)), {"path": "sources/a.txt", "format": "jsonl"}),
    "a document called lines": ("a.jsonl", json.dumps(rows(0, 30), indent=1).encode(), {"path": "sources/a.jsonl", "format": "json"}),
    "a document of one line": ("a.jsonl", json.dumps(rows(0, 30)).encode(), {"path": "sources/a.jsonl", "format": "json"}),
    "a document called csv": ("a.csv", json.dumps(rows(0, 30), indent=1).encode(), {"path": "sources/a.csv", "format": "json"}),
    "tabs without a suffix": ("a.dat", csv_bytes(rows(0, 30)).replace(b",", b"\t"), {"path": "sources/a.dat", "format": "tsv"}),
    "utf-16": ("a.csv", csv_bytes(ACCENTED).decode().encode("utf-16"), {"path": "sources/a.csv", "encoding": "utf-16"}),
    "odd characters": ("a b {date} [1].csv", csv_bytes(rows(0, 30)), {"path": "sources/a b ?date} ?1?.csv"}),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_NAMES)
def test_init_file_whose_name_says_little_or_lies_is_told_by_its_bytes(tmp_path: Path, case: str) -> None:
    name, data, expected = WRONG_NAMES[case]
    spec, _ = begun(tmp_path, written(tmp_path, name, data))
    source = spec["sources"][0]
    assert {k: source[k] for k in ("path", "format", "encoding") if k in source} == expected
    assert sorted(spec["task"]["labels"]) == sorted(LABELS)


def test_init_parquet_and_workbook_called_otherwise_are_told_by_their_bytes(tmp_path: Path) -> None:
    path = parquet(tmp_path / "given/table.csv", rows(0, 30))
    assert begun(tmp_path, path)[0]["sources"][0]["format"] == "parquet"
    book = workbook(tmp_path / "given/book.xlsx", {"One": TABLE}).rename(tmp_path / "given/book.dat")
    assert begun(tmp_path / "second", book)[0]["sources"][0]["format"] == "excel"


def test_init_encoding_that_is_guessed_is_said_to_be(tmp_path: Path) -> None:
    _, shown = begun(tmp_path, written(tmp_path, "a.csv", semicolons(ACCENTED)))
    assert "encoding cp1252: the file is not UTF-8; check the three rows below" in shown
    assert (
        "encoding: cp1252   # guessed: the file is not UTF-8"
        in (tmp_path / "project/dataset.yaml").read_text()
    )
    assert "Très déçu" in shown


def test_init_one_bad_line_does_not_change_the_encoding(tmp_path: Path) -> None:
    data = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in ACCENTED).encode()
    spec, shown = begun(
        tmp_path, written(tmp_path, "a.jsonl", data + b'{"text": "\xff\xfe", "label": "bug"}\n')
    )
    assert "encoding" not in spec["sources"][0]
    assert "rejected of the first 31 rows: 1 invalid_encoding (first: sources/a.jsonl:31" in shown


def test_init_delimiter_that_the_header_leaves_open_is_written(tmp_path: Path) -> None:
    lines = ["id;text, free;label", *(f"{n};Well, {text(n)};{LABELS[n % 3]}" for n in range(30))]
    spec, _ = begun(tmp_path, written(tmp_path, "a.csv", "\n".join(lines).encode()))
    assert spec["sources"][0]["delimiter"] == ";"
    assert spec["sources"][0]["fields"] == {"id": "id", "input": "text, free", "output": "label"}


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_init_table_without_a_header_has_columns_by_position(tmp_path: Path, delimiter: str) -> None:
    data = "\n".join(f"{text(n)}{delimiter}{LABELS[n % 3]}" for n in range(30)).encode()
    spec, shown = begun(tmp_path, written(tmp_path, "a.csv", data))
    source = spec["sources"][0]
    assert source["header"] is False and source["fields"] == {"input": 0, "output": 1}
    assert sorted(spec["task"]["labels"]) == sorted(LABELS)
    assert "header false: the first row looks like data" in shown and "sources/a.csv:1\n" in shown


def test_init_header_that_says_one_name_twice_is_refused_and_not_taken_for_data(tmp_path: Path) -> None:
    source = written(tmp_path, "a.csv", b"text,label,label\n" + b"hello there,a,b\n" * 9)
    result = call("init", None, str(tmp_path / "project"), "--from", str(source))
    assert result.exit_code == 2 and "columns 2 and 3 have the same name" in result.stderr


def test_init_rows_that_are_arrays_have_columns_by_position(tmp_path: Path) -> None:
    document = {"val": [[text(1), "bug"]], "train": [[text(n), LABELS[n % 3]] for n in range(30)]}
    spec, shown = begun(tmp_path, written(tmp_path, "a.json", json.dumps(document).encode()))
    source = spec["sources"][0]
    assert source["records"] == "train" and source["fields"] == {"input": 0, "output": 1}
    assert "Other lists of the document: val (1)." in shown


def test_init_document_that_is_one_conversation_is_one_record(tmp_path: Path) -> None:
    spec, _ = begun(
        tmp_path, written(tmp_path, "a.json", json.dumps({"id": "c1", "messages": PAIR}).encode())
    )
    assert "records" not in spec["sources"][0] and spec["sources"][0]["layout"] == "chat"


# --- folders and days ---------------------------------------------------------------------


def test_init_name_with_a_day_is_collected_that_day(tmp_path: Path) -> None:
    spec, _ = begun(tmp_path, written(tmp_path, "tickets_2026-11-01.csv", csv_bytes(rows(0, 30))))
    assert str(spec["sources"][0]["collected_at"]) == "2026-11-01"


def test_init_folder_of_dated_files_has_a_path_with_date(tmp_path: Path) -> None:
    for day in (1, 2, 3):
        written(tmp_path, f"in/tickets-2026-11-0{day}.csv", csv_bytes(rows(20 * day)))
    spec, shown = begun(tmp_path, tmp_path / "given/in")
    source = spec["sources"][0]
    assert source["path"] == "sources/in/tickets-{date}.csv" and "collected_at" not in source
    assert (tmp_path / "project/sources/in/tickets-2026-11-02.csv").is_file()
    assert "copied 3 files" in shown


def test_init_folder_of_folders_of_days_has_a_path_with_date(tmp_path: Path) -> None:
    for day in (1, 2):
        for part in (1, 2):
            written(tmp_path, f"in/2026-11-0{day}/part-{part}.jsonl", jsonl(rows(20 * day + 100 * part)))
    spec, _ = begun(tmp_path, tmp_path / "given/in")
    assert spec["sources"][0]["path"] == "sources/in/{date}/part-*.jsonl"


def test_init_folder_of_texts_has_one_record_a_file(tmp_path: Path) -> None:
    for n in range(6):
        written(tmp_path, f"notes/n{n}.txt", text(n).encode())
    spec, shown = begun(tmp_path, tmp_path / "given/notes")
    source = spec["sources"][0]
    assert (source["path"], source["format"]) == ("sources/notes/*.txt", "files")
    assert source["fields"] == {"id": "file.name", "input": "text"} and "sources/notes/n0.txt:1" in shown


def test_init_folders_of_texts_are_labels(tmp_path: Path) -> None:
    for n in range(6):
        written(tmp_path, f"notes/{LABELS[n % 3]}/n{n}.txt", text(n).encode())
    spec, _ = begun(tmp_path, tmp_path / "given/notes")
    assert spec["sources"][0]["fields"]["output"] == "file.folder"
    assert spec["sources"][0]["path"] == "sources/notes/*/*.txt"
    assert sorted(spec["task"]["labels"]) == sorted(LABELS)


def test_init_folder_of_pages_is_html(tmp_path: Path) -> None:
    page = "<html><head><title>T{n}</title></head><body><article><p>{text}</p><p>{text}</p></article></body></html>"
    for n in range(3):
        written(
            tmp_path,
            f"pages/p{n}.html",
            page.format(n=n, text=f"{text(n)} {text(n + 5)} {text(n + 9)}").encode(),
        )
    spec, _ = begun(tmp_path, tmp_path / "given/pages")
    source = spec["sources"][0]
    assert source["path"] == "sources/pages/*.html" and source["fields"]["input"] == "text"


def test_init_folder_leaves_links_and_other_files_out(tmp_path: Path) -> None:
    secret = written(tmp_path, "secret.jsonl", jsonl(rows(90)))
    written(tmp_path, "in/a.jsonl", jsonl(rows(0)))
    written(tmp_path, "in/b.jsonl", jsonl(rows(20)))
    written(tmp_path, "in/readme.md", b"# about")
    written(tmp_path, "in/more.csv", csv_bytes(rows(40)))
    (tmp_path / "given/in/linked.jsonl").symlink_to(secret)
    spec, shown = begun(tmp_path, tmp_path / "given/in")
    copied = sorted(p.name for p in (tmp_path / "project/sources/in").iterdir())
    assert copied == ["a.jsonl", "b.jsonl", "more.csv"] and spec["sources"][0]["path"] == "sources/in/*.jsonl"
    assert "1 symbolic links" in shown and "1 other files are copied" in shown and "1 files of no" in shown


def test_init_columns_that_not_every_file_has_are_not_mapped(tmp_path: Path) -> None:
    written(tmp_path, "in/a.jsonl", jsonl([row | {"sender": "Jo Day"} for row in rows(0)]))
    written(tmp_path, "in/b.jsonl", jsonl(rows(20)))
    spec, _ = begun(tmp_path, tmp_path / "given/in")
    assert "person_names" not in spec["sources"][0]["fields"]


# --- what is shown ------------------------------------------------------------------------


def test_init_shows_three_rows_with_personal_data_replaced(tmp_path: Path) -> None:
    said = "I am Jane Roe.\nMail me: jane.roe@example.com or call +1 212 555 0123."
    records = [
        {"id": f"r{n}", "sender": "Jane Roe", "text": f"{said} {text(n)}", "label": LABELS[n % 3]}
        for n in range(30)
    ]
    _, _, shown = guessed(tmp_path, records)
    assert "jane.roe" not in shown and "555 0123" not in shown and "Jane Roe" not in shown
    assert "  user: I am [PERSON].↵Mail me: [EMAIL_ADDRESS] or call [PHONE_NUMBER]." in shown
    assert [line for line in shown.splitlines() if line.startswith("sources/")] == [
        f"sources/rows.jsonl:{n}" for n in (1, 2, 3)
    ]
    assert shown.count("  label: ") == 3 and "  id: r0" in shown


def test_init_long_texts_are_cut_and_control_characters_gone(tmp_path: Path) -> None:
    _, _, shown = guessed(
        tmp_path, [{"question": "\x1b[31mword " * 900 + str(n), "answer": "Yes indeed."} for n in range(9)]
    )
    assert "\x1b" not in shown
    assert max(map(len, shown.splitlines())) < 260 or "next:" in max(shown.splitlines(), key=len)


def test_init_counts_rejected_rows_by_reason_with_the_first_place(tmp_path: Path) -> None:
    data = jsonl(rows(0, 30)) + b"{broken\n" + b'{"text": null, "label": "bug"}\n' + b"{again\n"
    _, shown = begun(tmp_path, written(tmp_path, "a.jsonl", data))
    assert "rejected of the first 33 rows: 2 invalid_json (first: sources/a.jsonl:31" in shown
    assert (
        "rejected of the first 33 rows: 1 missing_value (first: sources/a.jsonl:32, text is missing or null)"
        in shown
    )


def test_init_names_of_columns_that_are_data_are_scrubbed(tmp_path: Path) -> None:
    record = {"text": "Hello there, who is it?", "jane.roe@example.com": 1}
    _, _, shown = guessed(tmp_path, [record] * 3)
    assert "jane.roe" not in shown and "columns not used: [EMAIL_ADDRESS]" in shown


# --- errors -------------------------------------------------------------------------------

REFUSED: dict[str, tuple[str, bytes, str]] = {
    "empty": ("a.jsonl", b"", "holds no row that can be read"),
    "empty without a suffix": ("a", b"", "unknown suffix"),
    "an LFS pointer": ("a.csv.gz", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a Git LFS pointer"),
    "a zip archive": ("a.zip", b"PK\x03\x04" + b"\0" * 200, "is a zip archive"),
    "no known format": ("a.bin", bytes(range(256)) * 9, "unknown suffix"),
    "packed data that break off": ("a.jsonl.gz", gzip.compress(jsonl(rows(0)))[:12], "gzip"),
    "texts in a list": ("a.json", b'["one", "two"]', "holds no row that can be read"),
    "rows without columns": ("a.jsonl", b"{}\n{}\n", "has no column that holds anything"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_init_refuses_what_holds_no_rows_with_one_message(tmp_path: Path, case: str) -> None:
    name, data, expected = REFUSED[case]
    source = written(tmp_path, name, data)
    result = call("init", None, str(tmp_path / "project"), "--from", str(source))
    assert result.exit_code == 2 and expected in result.stderr
    assert result.stderr.startswith(f"{source}: ") and len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "project").exists()


def test_init_folder_without_a_readable_file_is_refused(tmp_path: Path) -> None:
    written(tmp_path, "in/readme.md", b"# about")
    result = call("init", None, str(tmp_path / "project"), "--from", str(tmp_path / "given/in"))
    assert result.exit_code == 2 and "holds no file that can be read" in result.stderr


def test_init_folder_that_is_the_project_s_own_is_not_copied(tmp_path: Path) -> None:
    own = tmp_path / "project/sources/day"
    own.mkdir(parents=True)
    (own / "a.jsonl").write_bytes(jsonl(rows(0, 30)))
    spec, shown = begun(tmp_path, own)
    assert spec["sources"][0]["path"] == "sources/day/*.jsonl" and "copied" not in shown
    assert sorted(p.name for p in (tmp_path / "project/sources").rglob("*")) == ["a.jsonl", "day"]


def test_init_no_error_repeats_text_of_a_row(tmp_path: Path) -> None:
    source = written(tmp_path, "a.json", b'["my secret word"]')
    result = call("init", None, str(tmp_path / "project"), "--from", str(source))
    assert result.exit_code == 2 and "secret" not in result.output
