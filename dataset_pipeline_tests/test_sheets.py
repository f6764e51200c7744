"""Reading Excel: cells, headers, sheets, hostile workbooks. A few rows each, written by openpyxl to tmp_path."""

from __future__ import annotations

import datetime as dt
import io
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl.cell.rich_text import CellRichText, TextBlock
from openpyxl.cell.text import InlineFont
from openpyxl.utils.datetime import CALENDAR_MAC_1904

from dataset_pipeline.spec.reading import Reading
from dataset_pipeline.storage.readers import RawRow, Reject, UnreadableFile, columns_of, read_rows, workbooks

SECRET = "zebra"
"""Stands in rows that are rejected; must never show in what the reader says."""

SHEET = "xl/worksheets/sheet1.xml"


def written(folder: Path, rows: list[list[Any]], change: Callable[[Any], None] | None = None) -> Path:
    path = folder / "rows.xlsx"
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    if change is not None:
        change(book)
    book.save(path)
    return path


def repacked(path: Path, part: str, old: str, new: str) -> Path:
    """The workbook with `old` in one of its parts replaced."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    assert old.encode() in parts[part]
    parts[part] = parts[part].replace(old.encode(), new.encode())
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return path


def shared(path: Path, texts: str) -> Path:
    """The workbook with the text `x` of its first sheet in a table of shared texts, as Excel writes it."""
    path = repacked(path, SHEET, 't="inlineStr"><is><t>x</t></is>', 't="s"><v>0</v>')
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"
    part = f'<Override PartName="/xl/texts.xml" ContentType="{kind}"/></Types>'
    path = repacked(path, "[Content_Types].xml", "</Types>", part)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
        archive.writestr("xl/texts.xml", f'<?xml version="1.0"?><sst xmlns="{space}">{texts}</sst>')
    return path


def cells(path: Path) -> list[Any]:
    """Values of the first column, which has the header `a`."""
    found = list(read_rows(path))
    assert all(isinstance(item, RawRow) for item in found), found
    return [item.payload["a"] for item in found if isinstance(item, RawRow)]


def faults(path: Path, reading: Reading | None = None, **options: Any) -> list[tuple[int, str]]:
    found = list(read_rows(path, reading, **options))
    assert SECRET not in str([item for item in found if isinstance(item, Reject)])
    return [(item.line, item.reason) for item in found if isinstance(item, Reject)]


def refusal(path: Path, reading: Reading | None = None) -> str:
    with pytest.raises(UnreadableFile) as caught:
        list(read_rows(path, reading))
    with pytest.raises(UnreadableFile):
        columns_of(path, reading)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and message.endswith(".") and SECRET not in message
    return message


def test_sheets_rows_have_the_numbers_of_the_sheet(tmp_path: Path) -> None:
    path = written(tmp_path, [[], ["t", "n"], ["a", 1], [], [None, "  "], ["b", None]])
    assert list(read_rows(path)) == [
        RawRow(3, 0, {"t": "a", "n": 1}),
        RawRow(6, 0, {"t": "b", "n": None}),
    ]
    assert columns_of(path) == ["t", "n"]


def test_sheets_numbers_that_are_whole_are_integers(tmp_path: Path) -> None:
    found = cells(written(tmp_path, [["a"], [12.0], [12.5], [-3], [True]]))
    assert found == [12, 12.5, -3, True]
    assert [type(value) for value in found] == [int, float, int, bool]


def test_sheets_whole_floats_as_excel_stores_them_are_integers(tmp_path: Path) -> None:
    path = repacked(written(tmp_path, [["a"], [7]]), SHEET, "<v>7</v>", "<v>7.0</v>")
    assert cells(path) == [7] and isinstance(cells(path)[0], int)
    path = repacked(path, SHEET, "<v>7.0</v>", f"<v>{10**30}</v>")
    assert cells(path) == [1e30]


@pytest.mark.parametrize("epoch", [None, CALENDAR_MAC_1904])
def test_sheets_dates_are_iso_text_in_either_calendar(tmp_path: Path, epoch: Any) -> None:
    def change(book: Any) -> None:
        if epoch is not None:
            book.epoch = epoch
        for value in (
            dt.datetime(2026, 11, 1, 9, 30),
            dt.datetime(2026, 11, 1),
            dt.date(2026, 11, 2),
            dt.time(9, 30),
            dt.timedelta(hours=26, minutes=30),
        ):
            book.active.append([value])

    path = written(tmp_path, [["a"]], change)
    assert cells(path) == ["2026-11-01T09:30:00", "2026-11-01", "2026-11-02", "09:30:00", "26:30:00"]


def test_sheets_a_number_in_date_format_that_is_no_date_stays_a_number(tmp_path: Path) -> None:
    def change(book: Any) -> None:
        book.active.append([99999999])
        book.active["A2"].number_format = "yyyy-mm-dd"

    assert cells(written(tmp_path, [["a"]], change)) == [99999999]


def test_sheets_errors_keep_their_text_and_formulas_without_value_are_missing(tmp_path: Path) -> None:
    path = written(tmp_path, [["a", "b"], ["#N/A", 1], ["=1+1", 2]])
    assert cells(path) == ["#N/A", None]
    assert cells(repacked(path, SHEET, "<f>1+1</f><v></v>", "<f>1+1</f><v>2</v>")) == ["#N/A", 2]


def test_sheets_rich_text_escapes_and_long_text_are_text(tmp_path: Path) -> None:
    rich = CellRichText("plain ", TextBlock(InlineFont(b=True), "bold"))
    path = written(tmp_path, [["a"], [rich], ["x" * 32_767], ["one_x000D_\ntwo"], ["é 😀"]])
    assert cells(path) == ["plain bold", "x" * 32_767, "one\r\ntwo", "é 😀"]


def test_sheets_shared_texts_are_read_with_their_runs_and_escapes(tmp_path: Path) -> None:
    runs = "<si><r><t>one</t></r><r><t xml:space='preserve'> two_x000D_</t></r></si>"
    assert cells(shared(written(tmp_path, [["a"], ["x"]]), runs)) == ["one two\r"]
    assert faults(shared(written(tmp_path, [["a"], ["x"]]), "")) == [(2, "truncated_file")]


def test_sheets_merged_cells_hold_their_value_once(tmp_path: Path) -> None:
    path = written(tmp_path, [["a"], ["x"], [None], ["y"]], lambda book: book.active.merge_cells("A2:A3"))
    assert [(item.line, item.payload) for item in read_rows(path) if isinstance(item, RawRow)] == [
        (2, {"a": "x"}),
        (4, {"a": "y"}),
    ]


def test_sheets_header_cells_without_text_are_named_by_place(tmp_path: Path) -> None:
    path = written(tmp_path, [["a", None, 2026, None], ["x", "y", "z"]])
    assert [item.payload for item in read_rows(path) if isinstance(item, RawRow)] == [
        {"a": "x", "column_2": "y", "2026": "z"}
    ]
    assert "have the same name" in refusal(written(tmp_path, [["a", "a"], [1, 2]]))


def test_sheets_without_header_number_their_columns(tmp_path: Path) -> None:
    path = written(tmp_path, [["x", None], ["y", 1]])
    reading = Reading(header=False)
    assert columns_of(path, reading) == ["0", "1"]
    assert list(read_rows(path, reading)) == [
        RawRow(1, 0, {"0": "x", "1": None}),
        RawRow(2, 0, {"0": "y", "1": 1}),
    ]


def test_sheets_value_beyond_the_header_is_rejected_and_an_empty_cell_is_not(tmp_path: Path) -> None:
    path = written(tmp_path, [["a", "b"], [1, 2, None, ""], [1, 2, SECRET], [3]])
    assert faults(path) == [(3, "wrong_field_count")]
    assert [item.line for item in read_rows(path)] == [2, 3, 4]


def test_sheets_repeated_header_long_nul_and_infinite_are_rejected(tmp_path: Path) -> None:
    path = written(tmp_path, [["a", "b"], ["a", "b"], ["a", "c"], ["é" * 6, None], ["x_x0000_", 1], ["x", 5]])
    path = repacked(path, SHEET, "<v>5</v>", "<v>1e999</v>")
    assert faults(path, max_record_bytes=11) == [
        (2, "repeated_header"),
        (4, "too_long"),
        (5, "nul_byte"),
        (6, "non_finite_number"),
    ]


def test_sheets_sheet_is_the_first_visible_or_the_named_one(tmp_path: Path) -> None:
    def change(book: Any) -> None:
        book.active.title = "Notes"
        book.active.sheet_state = "hidden"
        book.create_sheet("Data").append(["d"])

    path = written(tmp_path, [["n"]], change)
    assert columns_of(path) == ["d"]
    assert columns_of(path, Reading(sheet="Notes")) == ["n"]
    message = refusal(path, Reading(sheet="Date"))
    assert "'Date'" in message and "'Notes', 'Data'" in message


def test_sheets_the_sheets_own_word_on_its_size_is_not_believed(tmp_path: Path) -> None:
    path = written(tmp_path, [["a"], ["x"], ["y"]])
    assert cells(repacked(path, SHEET, 'ref="A1:A3"', 'ref="A1:A2"')) == ["x", "y"]
    assert cells(repacked(path, SHEET, 'ref="A1:A2"', 'ref="A1:XFD1048576"')) == ["x", "y"]


@pytest.mark.parametrize("number", ["2000000000", "1"])
def test_sheets_row_number_that_cannot_be_ends_in_a_reject(tmp_path: Path, number: str) -> None:
    path = written(tmp_path, [["a"], ["x"], ["y"]])
    path = repacked(path, SHEET, '<row r="3"', f'<row r="{number}"')
    started = time.monotonic()
    assert faults(path) == [(3, "truncated_file")]
    assert [item.line for item in read_rows(path)] == [2, 3]
    assert time.monotonic() - started < 5


def test_sheets_damage_inside_the_sheet_gives_the_rows_before_it_and_one_reject(tmp_path: Path) -> None:
    path = repacked(written(tmp_path, [["a"], ["x"], ["y"]]), SHEET, '<row r="3"', "<row <")
    assert faults(path) == [(3, "truncated_file")]
    path = repacked(written(tmp_path, [["a"]]), SHEET, "<sheetData>", "<sheetData><")
    assert "damaged" in refusal(path)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "without a password"),
        (f"a,b\n{SECRET},2\n".encode(), "plain text?"),
        (b"PK\x03\x04" + b"\0" * 100, "damaged or encrypted"),
    ],
)
def test_sheets_file_that_is_no_workbook_is_refused_with_a_remedy(
    tmp_path: Path, data: bytes, said: str
) -> None:
    path = tmp_path / "rows.xlsx"
    path.write_bytes(data)
    assert said in refusal(path)


def test_sheets_empty_truncated_and_other_archives_are_refused(tmp_path: Path) -> None:
    assert "the sheet is empty" in refusal(written(tmp_path, []))
    path = written(tmp_path, [["a"], ["x"]])
    path.write_bytes(path.read_bytes()[:-300])
    assert "damaged" in refusal(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", SECRET)
    assert "no .xlsx workbook" in refusal(path)


def test_sheets_workbook_that_unpacks_too_large_is_refused_before_it_is_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shared(written(tmp_path, [["a"], ["x"]]), f"<si><t>{'y' * 30_000}</t></si>")
    assert cells(path) == ["y" * 30_000]
    monkeypatch.setattr(workbooks, "MAX_SHARED_BYTES", 10_000)
    assert "the texts of its cells" in refusal(path)
    monkeypatch.setattr(workbooks, "MAX_SHARED_BYTES", 100_000)
    assert cells(path) == ["y" * 30_000]
    monkeypatch.setattr(workbooks, "MAX_UNPACKED_BYTES", 20_000)
    assert "unpacks to more" in refusal(path)


def test_sheets_row_of_too_many_cells_is_refused_and_many_rows_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workbooks, "MAX_ROW_TAGS", 60_000)
    path = written(tmp_path, [["a"], *[["x"]] * 20_000])
    assert len(cells(path)) == 20_000
    wide = "<c/>" * 60_001
    assert "one row or table" in refusal(
        repacked(path, SHEET, "</sheetData>", f"<row>{wide}</row></sheetData>")
    )


@pytest.mark.parametrize(
    ("hidden", "said"),
    [
        ("<row/>", "rows inside rows"),
        ("<row></row>", "rows inside rows"),
        ("<!--</row>-->", "one row or table"),
        ("<c><![CDATA[</row>]]></c>", "one row or table"),
        ("<c><is><t>row></t></is></c>", "one row or table"),
    ],
)
def test_sheets_row_of_too_many_cells_is_refused_whatever_it_hides_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hidden: str, said: str
) -> None:
    monkeypatch.setattr(workbooks, "MAX_ROW_TAGS", 20_000)
    cells_of_row = (("<c/>" * 5_000) + hidden) * 6
    path = written(tmp_path, [["a"], ["x"]])
    path = repacked(path, SHEET, "</sheetData>", f"<row>{cells_of_row}</row></sheetData>")
    assert said in refusal(path)


def test_sheets_empty_rows_comments_and_cdata_are_read(tmp_path: Path) -> None:
    path = repacked(written(tmp_path, [["a"], ["x"]]), SHEET, "<t>x</t>", "<t><![CDATA[<row>&]]></t>")
    path = repacked(path, SHEET, "</sheetData>", '<row r="3" ht="9"/><!-- end --><row r="4"/></sheetData>')
    assert cells(path) == ["<row>&"]
    path = repacked(path, SHEET, "<worksheet", "<!-- begin --><worksheet")
    assert cells(path) == ["<row>&"]


def test_sheets_part_larger_than_it_says_is_refused(tmp_path: Path) -> None:
    """A size of 100 bytes declared, a megabyte packed."""
    path = written(tmp_path, [["a"], ["x"]])
    path = repacked(path, SHEET, "</sheetData>", "</sheetData>" + " " * 1_000_000)
    data = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        size = archive.getinfo(SHEET).file_size.to_bytes(4, "little")
    assert data.count(size) == 2
    path.write_bytes(data.replace(size, (100).to_bytes(4, "little")))
    assert "damaged" in refusal(path)


@pytest.mark.parametrize("part", [SHEET, "xl/styles.xml", "xl/workbook.xml", "[Content_Types].xml"])
@pytest.mark.parametrize("before", ["", "<!-- note --><?x y?>\n", "<!--" + " " * 70_000 + "-->"])
def test_sheets_xml_that_declares_entities_is_refused_at_once(tmp_path: Path, part: str, before: str) -> None:
    path = written(tmp_path, [["a"], ["x"]])
    with zipfile.ZipFile(path) as archive:
        root = archive.read(part).decode().removeprefix("<?xml version='1.0' encoding='utf-8'?>\n")[:12]
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    doctype = f'{before}<!DOCTYPE x [<!ENTITY l0 "ha">{laughs}]>'
    started = time.monotonic()
    assert "declares XML entities" in refusal(repacked(path, part, root, doctype + root))
    assert time.monotonic() - started < 5


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"]), min_size=1, max_size=20).filter(
    lambda text: text.strip() == text and "_x" not in text and text[0] != "="
)


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(st.tuples(TEXT, st.none() | st.integers(-(2**50), 2**50) | st.booleans()), max_size=8))
def test_sheets_and_jsonl_of_the_same_rows_give_the_same_payloads(rows: list[tuple[Any, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), [["text", "value"], *map(list, rows)])
        lines = Path(folder) / "rows.jsonl"
        lines.write_bytes(b"".join(orjson.dumps({"text": t, "value": v}) + b"\n" for t, v in rows))
        ours = [item.payload for item in read_rows(path) if isinstance(item, RawRow)]
        theirs = [item.payload for item in read_rows(lines) if isinstance(item, RawRow)]
    assert ours == theirs
