"""Seeds of the fuzzer, made by code: small files that use every part of a format, good ones and damaged ones.

Lives here: seeds and dictionaries of words by target. Keep out: real data, what must hold (`fuzz_readers`).
"""

from __future__ import annotations

import gzip
import io
import json
from typing import Any

from dataset_pipeline_tests.fuzzing import fuzz_layouts
from dataset_pipeline_tests.fuzzing.fuzz_readers import TARGETS, sheet_xml

_ROWS: list[dict[str, Any]] = [
    {"id": f"r{n}", "text": f"zebra {n} \u00e9\u65e5\U0001f600", "n": n, "ok": n % 2 == 0, "x": None}
    for n in range(16)
]
_JSONL = [
    "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in _ROWS),
    '{"a": "zebra", "b": 1}\r\n\r\n{"a": "zebra\\u0000", "b": 2}\n[1]\n{"a": NaN}\n{"a": "\\ud800"}\n{"a": 1e999}\n',
    '["zebra", 1]\n["b", [2, {"c": 3}]]\nnull\n"x"\n',
    '{"a": 123456789012345678901234567890, "a": {"b": [1.0, -0, 1E5]}}\n{"a": "zebra"',
    "\ufeff" + '{"a": "zebra"}\n \x0b\n\x85\n{"a": "\x7f"} x\n',
    "[" * 300 + "]" * 300 + "\n" + '{"a":' * 251 + "1" + "}" * 251 + "\n",
    '{\n  "a": 1\n}\n',
]
_JSON = [
    json.dumps(_ROWS, ensure_ascii=False), json.dumps(_ROWS, indent=2), '[{"a": "zebra"}, [1, 2], 3, , null, {"a": }]',
    '{"data": {"items": ' + json.dumps(_ROWS[:6]) + ', "n": 1}, "rest": []}', '{"a": "zebra", "b": [1]}', '{"a": [{"b": 1}], "c": []}',
    '[{"a": "zebra"}] {"b": 1}', '[{"a": "zebra", "b": {"c": [1}}, {"a": 2}]', '[{"a": "zebra"},\n{"a": "\\ud800"},\n{"a": "x"}\n',
    '{"a": "zebra"}\n{"a": 2}\n', "\ufeff[[1, 2], [3, 4], [5, 6], [7, 8]]", '{"data.items": [{"a": 1}], "data": {"items": [2]}}',
]  # fmt: skip
_CSV = [
    "id,text,n\n" + "".join(f"r{n},zebra {n} \u00e9,{n}\n" for n in range(30)),
    'id,text\r\n1,"zebra, ""one""\r\ntwo"\r\n\r\n2,zebra"x"\r\n3,"open\r\n4,b\r\n5,c"d"\r\n' + "".join(f'{n},"q"\r\n' for n in range(20)),
    "text\nzebra\n\n\"\"\n \nx\n", 'sep=;\na;b\n1;"zebra"\na;b\n2;x;y\n', 'a\tb\n1\tzebra\n"2\t3"\t4\n', "a,b\n1,\x00\n2,zebra\r3\n\"x\"y,z\n",
    ",,\n1,zebra,3\n,,\n", "a|b\n" + '"1"|"zebra"\n' * 15 + 'x"|"\n' + '"2"|"b"\n' * 15, "\ufeffa,b\n1,2", '"a","b\nc"\n1,zebra\n"a","b\nc"\n',
    'a,b\n"' + "zebra\n" * 20 + '"x,\n' + "1,2\n" * 14,
]  # fmt: skip
_TEXT = [
    "zebra one\nzebra two \u00e9\r\n\r\n \x0b\n\x85\n\u2028a\x00b\n\x1c\nx^zebra\rlast", "\ufeffzebra\n", "x\x01\n", "\n\n", "a\r\nb\r\r\nc",
    "".join(f"zebra line {n}\n" for n in range(40)),
]  # fmt: skip
_HTML = [
    "<html lang='en'><head><title>T</title><meta property='og:title' content='x'><script type='application/ld+json'>"
    '{"@graph": [{"author": {"name": "A"}, "datePublished": "2026-01-02T00:00"}]}</script></head><body><article><h1>H</h1>'
    + "<p>The zebra walks slowly over the wide field and looks at the old gate.</p>" * 4 + "<time datetime='2026-01-03'>x</time>"
    "<table><tr><td>1</td><td>2</td></tr></table></article></body></html>",
    "<p>zebra &#0; &#x1; <b><i><p></b>" * 5, "<!-- zebra", "<a b='", "<html><body>" + "<div>" * 210 + "zebra",
]  # fmt: skip

_ENCODINGS = {"utf16": "utf-16-le", "cp1252": "cp1252", "utf7": "utf-7", "jis": "shift_jis"}
_WORDS = [
    '"', '""', ",", ";", "\\t", "\\r\\n", "\\n", "\\r", "{", "}", "[", "]", ":", "null", "true", "NaN", "Infinity", "1e999", "-0", "1.0",
    "\\\\u0000", "\\\\ud800", "\\\\udc00", "\\xef\\xbb\\xbf", "\\xff\\xfe", "\\xfe\\xff", "\\x00", "\\xed\\xa0\\x80", "\\xc2\\x85",
    "\\xe2\\x80\\xa8", "\\x1c", "sep=;", "zebra", "\\x1f\\x8b", "+AGE-", "+2AA-", "+AAo-", "{}\\n", '{\\"a\\":', '\\",\\"', "<p>", "</p>", "<table>",
    "&#0;", "messages", "role", "content", "user", "assistant", "from", "value", "chosen", "rejected", "prompt", "replies",
]  # fmt: skip


def dictionary() -> str:
    """Words that the fuzzer inserts, in libFuzzer's form."""
    escaped = (word.replace('\\"', '"').replace('"', '\\"') for word in _WORDS)
    words = (word.replace("\\n", "\\x0a").replace("\\r", "\\x0d").replace("\\t", "\\x09") for word in escaped)
    return "".join(f'"{word}"\n' for word in words)


def seeds(name: str) -> list[bytes]:
    """The seeds of a target."""
    if name == "layouts":
        return fuzz_layouts.seeds()
    target = TARGETS[name]
    family, _, variant = name.partition("_")
    if family == "parquet":
        return _parquet()
    if name == "excel_xml":
        return [sheet_xml()]
    if family == "excel":
        return _excel()
    texts = {"jsonl": _JSONL, "json": _JSON + _JSONL[:2], "csv": _CSV, "tsv": [t.replace(",", "\t") for t in _CSV],
             "text": _TEXT, "files": _TEXT, "html": _HTML}[family]  # fmt: skip
    if variant == "declared":
        texts = [*texts, *(text.replace(",", ";") for text in texts)]
    encoding = next((e for word, e in _ENCODINGS.items() if variant.endswith(word)), "utf-8")
    mark = "\ufeff" if target.reading.encoding == "utf-16" else ""
    plain = [(mark + text).encode(encoding, "ignore") for text in texts]
    if variant == "gz":
        return [gzip.compress(data, mtime=0) for data in plain] + [
            gzip.compress(plain[0], mtime=0)[:-9] + b"zebra"
        ]
    if variant == "zst":
        import pyarrow

        return [pyarrow.compress(data, "zstd", asbytes=True) for data in plain]
    return plain


def _parquet() -> list[bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = [
        pa.table({"id": ["a", None, "zebra"], "n": [1, 2, 3], "f": [1.5, float("nan"), None]}),
        pa.table({"m": [[{"role": "user", "content": "zebra"}], None, []], "d": pa.array(["x", "y", "x"]).dictionary_encode()}),
        pa.table({"t": pa.array([0, 1], pa.timestamp("us")), "b": [b"zebra", b"\xff"], "m": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64()))}),
    ]  # fmt: skip
    found = []
    for table in tables:
        for compression in ("none", "zstd"):
            out = io.BytesIO()
            pq.write_table(table, out, compression=compression, row_group_size=2)
            found.append(out.getvalue())
    return found


def _excel() -> list[bytes]:
    import datetime as dt

    from openpyxl import Workbook

    book, out = Workbook(), io.BytesIO()
    for row in (
        ("id", "text", "n"),
        ("a", "zebra", 1.5),
        (None, "x_x0000_y", True),
        ("c", dt.date(2026, 1, 2), "=1+1"),
    ):
        book.active.append(row)
    book.active.merge_cells("A2:A3")
    book.create_sheet("two").append(["zebra"])
    book.save(out)
    return [out.getvalue()]
