"""croissant: croissant.json, the release described for machines, as JSON-LD of MLCommons Croissant 1.1.

Lives here: what is written into that file. Keep out: what columns mean (`columns`), rows (`formats`), writing.

What mlcroissant 1.1 reads, measured, and what follows from it:

- Local files only through a FileSet: shards of a split are one set, and records come with their split, taken from the path.
  The files of a set stand there one by one, so that nothing else of the folder is taken for data. Each file is a
  FileObject too, with its hash.
- A list of messages, of Parquet and of JSON Lines, as a field with sub-fields: `{"chat/messages/role": b"user", …}`.
- gzip is unpacked by the reader, zstd is not: such formats are files without a record set.
- A field `references` to a list of splits would switch off `filters={"chat/split": "train"}`; the field is a cr:Split by type.
- JSON Lines go through pandas, which takes a column of texts that all look like numbers for numbers: "007" comes out as 7.
  Only columns of plain text are concerned (alpaca, completion); said in the description of the record set.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from dataset_pipeline.records import MESSAGES, Split
from dataset_pipeline.spec.models import Task
from dataset_pipeline.transforms import columns
from dataset_pipeline.transforms.columns import DATA, Dtypes

CROISSANT = "croissant.json"
VERSION = "http://mlcommons.org/croissant/1.1"
"""The newest version that mlcroissant 1.1 takes."""

PARQUET, JSON_LINES = "application/x-parquet", "application/jsonlines"
"""As mlcroissant names them; it reads no other names of these types."""
_PACKED = {".gz": "application/gzip", ".zst": "application/zstd"}
_TEXTS = {".md": "text/markdown", ".json": "application/json", ".html": "text/html"}

TABLE_FILES: Mapping[str, str] = {
    columns.PROVENANCE: "One row a released record: origin, rights, split, row, and what each step measured.",
    columns.DROPPED: "One row a collected record that is not released: step, reason, detail. No text.",
    columns.REJECTS: "One row a row that is no record: file, line and reason. No text.",
}
"""Files beside the data that are record sets too, with what they hold."""

_TURNS = pl.List(pl.Struct({"from": pl.String, "value": pl.String}))

JSONL_COLUMNS: Mapping[str, Mapping[str, tuple[Any, str]]] = {
    "chat": {
        "messages": (MESSAGES, "Turns of role and content, the system prompt first; the last is the answer.")
    },
    "sharegpt": {
        "conversations": (_TURNS, "Turns: from (system, human or gpt) and value; the last is the answer.")
    },
    "alpaca": {
        "instruction": (pl.String, "What is asked; of labelled texts the task."),
        "input": (pl.String, "Of labelled texts the text; else empty."),
        "output": (pl.String, "The answer."),
        "system": (pl.String, "The system prompt; empty for none."),
    },
    "completion": {
        "prompt": (pl.String, "The beginning, the system prompt first."),
        "completion": (pl.String, "How it goes on."),
    },
    "preference": {
        "prompt": (MESSAGES, "Turns that both answers follow, the system prompt first."),
        "chosen": (MESSAGES, "Turns of the better answer."),
        "rejected": (MESSAGES, "Turns of the worse answer."),
    },
}
"""Format to its columns, their types and meanings: the rows of transforms.formats."""

_NUMBERS = " Mind that mlcroissant reads a text column as numbers where all its values look like numbers; Parquet does not."


@dataclass(frozen=True)
class Facts:
    """What croissant.json says of a release. Paths are inside the release's folder, with `/`."""

    name: str
    task: Task
    license: str | None
    """SPDX expression of the release."""
    license_links: Sequence[tuple[str, str | None]]
    """Every licence in it and the address of its text (spec.licences.links)."""
    holders: Sequence[str]
    days: tuple[str, str]
    """First and last collection day, ISO."""
    data_files: Mapping[str, Mapping[str, Sequence[str]]]
    """Format to split to paths."""
    files: Mapping[str, tuple[str, int]]
    """Path to SHA-256 and bytes of every file that is written by now."""
    schemas: Mapping[str, Dtypes]
    """Columns and types of `parquet` (the data), provenance, dropped and rejects: of each that is there."""
    languages: Sequence[str] = ()
    """ISO 639-1, the most frequent first."""


def croissant(facts: Facts) -> str:
    """The text of croissant.json: sorted keys, one value for one set of facts, no clock value.

    `datePublished` and `version` are those of the data: the last collection day, and that day with the hash of the files
    that are described. Raises ValueError for a column nobody has described.
    """
    sets = [*_data_sets(facts), *_table_sets(facts)]
    document = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": VERSION,
        "name": facts.name,
        "description": _description(facts),
        "datePublished": facts.days[1],
        "temporalCoverage": "/".join(facts.days),
        "version": _version(facts),
        "citeAs": _citation(facts),
        "creator": [{"@type": "sc:Organization", "name": holder} for holder in dict.fromkeys(facts.holders)],
        "license": _licenses(facts),
        "inLanguage": list(facts.languages),
        "keywords": [f"task: {facts.task.type}", *facts.data_files],
        "distribution": [
            *(_file_object(path, *facts.files[path]) for path in sorted(facts.files) if path != CROISSANT),
            *(file_set for file_set, _ in sets),
        ],
        "recordSet": [record_set for _, record_set in sets],
    }
    told = {key: value for key, value in document.items() if value not in ([], None)}
    return json.dumps(told, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


# --- the dataset --------------------------------------------------------------------------


def _description(facts: Facts) -> str:
    unread = [name for name in facts.data_files if not _is_readable(facts, name)]
    parts = [
        facts.task.behavior.strip(),
        f"Records collected from {facts.days[0]} to {facts.days[1]}. A release holds no clock value: "
        "datePublished is its last collection day, version that day and a hash of its files.",
        f"Licence: {facts.license}." if facts.license and len(facts.license_links) != 1 else "",
        f"Files without a record set, packed with zstd: {', '.join(unread)}." if unread else "",
    ]
    return "\n\n".join(part for part in parts if part)


def _version(facts: Facts) -> str:
    """Year.month.day of the last collection day, and 12 hex digits over path and hash of all files: a semantic version."""
    listed = "".join(
        f"{path}\x1f{facts.files[path][0]}\n" for path in sorted(facts.files) if path != CROISSANT
    )
    year, month, day = (int(part) for part in facts.days[1].split("-"))
    return f"{year}.{month}.{day}+{hashlib.sha256(listed.encode()).hexdigest()[:12]}"


def _citation(facts: Facts) -> str:
    holders = ", ".join(dict.fromkeys(facts.holders))
    return f"{facts.name}: records collected from {facts.days[0]} to {facts.days[1]}" + (
        f", of {holders}" if holders else ""
    )


def _licenses(facts: Facts) -> list[Any]:
    """Addresses, as Croissant recommends; names where there is no address."""
    return [
        address if address else {"@type": "sc:CreativeWork", "name": name}
        for name, address in facts.license_links
    ]


def _file_object(path: str, sha256: str, size: int) -> dict[str, Any]:
    kinds = _encodings(path)
    return {
        "@type": "cr:FileObject",
        "@id": path,
        "name": path,
        "contentUrl": path,
        "contentSize": f"{size} B",
        "encodingFormat": kinds[0] if len(kinds) == 1 else kinds,
        "sha256": sha256,
    }


def _encodings(path: str) -> list[str]:
    """What is in the file, then how it is packed."""
    stem, packed = path, []
    for suffix, kind in _PACKED.items():
        if path.endswith(suffix):
            stem, packed = path.removesuffix(suffix), [kind]
    if stem.endswith(".parquet"):
        return [PARQUET, *packed]
    if stem.endswith(".jsonl"):
        return [JSON_LINES, *packed]
    return [next((kind for suffix, kind in _TEXTS.items() if stem.endswith(suffix)), "text/plain"), *packed]


# --- record sets --------------------------------------------------------------------------

_Set = tuple[dict[str, Any], dict[str, Any]]
"""A FileSet and the RecordSet that is read from it."""


def _is_readable(facts: Facts, name: str) -> bool:
    return not any(path.endswith(".zst") for paths in facts.data_files[name].values() for path in paths)


def _data_sets(facts: Facts) -> list[_Set]:
    """One record set a format, Parquet first: it alone has ids, and types that no reader guesses."""
    found = []
    for name in sorted(facts.data_files, key=lambda n: (n != "parquet", n)):
        paths = [path for split in Split for path in facts.data_files[name].get(split, ())]
        if not paths or not _is_readable(facts, name):
            continue
        if name == "parquet":
            schema = facts.schemas[name]
            cells = {c.name: (schema[c.name], c.meaning) for c in columns.described(DATA, schema)}
            said = "The released records, with their ids."
        else:
            cells = dict(JSONL_COLUMNS[name])
            if name == "alpaca" and facts.task.answers_are_labels:
                del cells["system"]
            plain = any(dtype == pl.String for dtype, _ in cells.values())
            said = (
                f"The released records in the form of {name}, in the same order.{_NUMBERS if plain else ''}"
            )
        found.append(_set(name, said, paths, cells, splits=True))
    return found


def _table_sets(facts: Facts) -> list[_Set]:
    found = []
    for name, said in TABLE_FILES.items():
        path = f"{name}.parquet"
        if path not in facts.files:
            continue
        schema = facts.schemas[name]
        cells = {
            c.name: (schema[c.name], f"{c.meaning} ({c.unit})" if c.unit else c.meaning)
            for c in columns.described(name, schema)
        }
        found.append(_set(name, said, [path], cells))
    return found


def _set(
    name: str, said: str, paths: Sequence[str], cells: Mapping[str, tuple[Any, str]], splits: bool = False
) -> _Set:
    source = {"fileSet": {"@id": f"{name}-files"}}
    fields = [
        _field(f"{name}/{column}", dtype, meaning, source, column)
        for column, (dtype, meaning) in cells.items()
    ]
    if splits:
        fields.insert(0, _split_field(name, source))
    record_set: dict[str, Any] = {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": said,
        "field": fields,
    }
    if "record_id" in cells:
        record_set["key"] = {"@id": f"{name}/record_id"}
    file_set = {
        "@type": "cr:FileSet",
        "@id": f"{name}-files",
        "name": f"{name}-files",
        "description": f"Files of {name}.",
        "encodingFormat": _encodings(paths[0])[0],
        "includes": list(paths),
    }
    return file_set, record_set


def _split_field(name: str, source: dict[str, Any]) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"{name}/split",
        "name": "split",
        "description": f"Split: {', '.join(Split)}; the beginning of the file's name.",
        "dataType": ["sc:Text", "cr:Split"],
        "source": source
        | {
            "extract": {"fileProperty": "fullpath"},
            "transform": {"regex": f"{name}/({'|'.join(Split)})[.-].*"},
        },
    }


def _field(
    place: str, dtype: Any, meaning: str, source: dict[str, Any], column: str, path: str | None = None
) -> dict[str, Any]:
    """One column, or one value of the objects that it lists (`path`)."""
    field: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": place,
        "name": place.rpartition("/")[2],
        "description": meaning,
    }
    if isinstance(dtype, pl.List):
        inner = dtype.inner
        assert isinstance(inner, pl.Struct)
        field |= {"isArray": True, "arrayShape": "-1"}
        field["subField"] = [
            _field(
                f"{place}/{part.name}", part.dtype, f"{part.name} of each entry.", source, column, part.name
            )
            for part in inner.fields
        ]
        return field
    transform = {"transform": {"jsonPath": path}} if path else {}
    return field | {
        "dataType": _data_type(dtype),
        "source": source | {"extract": {"column": column}} | transform,
    }


def _data_type(dtype: pl.DataType | type[pl.DataType]) -> str:
    made = dtype() if isinstance(dtype, type) else dtype
    if made.is_integer():
        return "sc:Integer"
    if made.is_float():
        return "sc:Float"
    return {pl.Boolean(): "sc:Boolean", pl.Date(): "sc:Date"}.get(made, "sc:Text")


_CR = (
    "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract", "field", "fileObject", "fileProperty",
    "fileSet", "format", "includes", "isArray", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet",
    "references", "regex", "repeated", "replace", "samplingRate", "separator", "source", "subField", "transform",
)  # fmt: skip
_CONTEXT: Mapping[str, Any] = {
    **{name: f"cr:{name}" for name in _CR},
    "@language": "en",
    "@vocab": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
}
"""The standard's context: with another one a reader warns."""
