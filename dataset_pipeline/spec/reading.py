"""How files become rows, and rows records: the keys that sources and evaluation sets share.

Lives here: formats, columns, layouts. Keep out: what a source is beside its files (`models`), places that are no
files (`places`), reading itself (`storage.readers`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from dataset_pipeline.spec.section import Section

Column = Annotated[str, Field(min_length=1)]


class Fields(Section):
    """Which columns hold what. A list of columns is joined by a blank line.

    A column is a name; a path into nested objects and lists (`meta.lang`, `answers.0.text`) where no column
    has that very name; a number, counted from 0, where rows are arrays or a table has no header; or
    `file.name`, `file.stem`, `file.folder` of the file the row is from.
    """

    id: Column | None = None
    input: Column | tuple[Column, ...] | None = None
    output: Column | tuple[Column, ...] | None = None
    system: Column | None = None
    messages: Column | None = Field(
        None, description="A column of turns, as the layout says: {role, content}, or a transcript."
    )
    chosen: Column | None = Field(None, description="Layout preference: the better answer or conversation.")
    rejected: Column | None = Field(None, description="Layout preference: the worse answer or conversation.")
    created_at: Column | None = None
    group: Column | None = Field(None, description="Records of one group never cross splits.")
    person_names: tuple[Column, ...] = Field((), description="Columns that hold names of persons.")

    @field_validator("*", mode="before")
    @classmethod
    def _numbers_name_columns(cls, value: object) -> object:
        """A column told by its position is written as a number; inside, every column has a name."""
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return str(value)
        if isinstance(value, list | tuple):
            return tuple(str(v) if isinstance(v, int) and not isinstance(v, bool) else v for v in value)
        return value


Layout = Literal["chat", "alpaca", "completion", "preference", "sharegpt", "transcript", "tree"]
LAYOUTS: dict[str, Fields] = {
    "chat": Fields(messages="messages"),
    "alpaca": Fields(input=("instruction", "input"), output="output"),
    "completion": Fields(input="prompt", output="completion"),
    "preference": Fields(input="prompt", chosen="chosen", rejected="rejected"),
    "sharegpt": Fields(messages="conversations"),
    "transcript": Fields(messages="text"),
    "tree": Fields(),
}
OPTIONAL_COLUMNS: dict[str, frozenset[str]] = {
    "alpaca": frozenset({"input"}),
    "preference": frozenset({"prompt"}),
}
"""Columns a layout may lack: alpaca rows without an input are usual, and a pair of conversations holds its prompt."""

Format = Literal["jsonl", "json", "csv", "tsv", "text", "files", "html", "parquet", "excel"]
FORMAT_BY_SUFFIX: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".txt": "text",
    ".html": "html",
    ".htm": "html",
    ".parquet": "parquet",
    ".xlsx": "excel",
    ".xlsm": "excel",
}
PACKED_FORMATS = frozenset({"jsonl", "json", "csv", "tsv", "text", "files", "html"})
"""Formats that may be packed as `.gz` or `.zst`; Parquet and Excel pack themselves."""


def format_of(name: str) -> Format | None:
    """The format that a file's name tells, packed or not; None for a suffix of nothing that is read."""
    name = name.lower()
    bare = name.removesuffix(".gz").removesuffix(".zst")
    found = next((f for suffix, f in FORMAT_BY_SUFFIX.items() if bare.endswith(suffix)), None)
    return found if bare == name or found in PACKED_FORMATS else None


class Reading(Section):
    """How the bytes of a file become rows. Text is never decoded by guess."""

    format: Format | None = Field(
        None,
        description="Default: what the suffix says. `files` is a folder of texts, one record a file.",
    )
    encoding: str = Field("utf-8", description="Declared, never guessed; utf-8 drops a leading BOM.")
    records: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="JSON: the path to the list of records, such as train or data.items."
    )
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = Field(
        None,
        description="CSV: default is a comma (TSV: a tab); where the header lacks it, the only one of , ; tab | that it holds.",
    )
    quotes: Literal["standard", "none"] = Field(
        "standard", description="CSV and TSV: none takes every quote as a character like others."
    )
    header: bool = Field(True, description="CSV, TSV, Excel: without one, columns are numbers from 0.")
    sheet: str | None = Field(None, description="Excel: the sheet's name; default is the first.")

    @field_validator("encoding")
    @classmethod
    def _encoding_is_known(cls, value: str) -> str:
        import codecs

        try:
            found = codecs.lookup(value)
            if not found._is_text_encoding:
                raise LookupError
            return found.name
        except LookupError:
            raise ValueError(
                f"no encoding is called {value!r}: use a name Python knows, such as cp1252"
            ) from None

    def may_share_file(self, other: Reading) -> bool:
        """Whether the two read different parts of a file: other records of a JSON document, or other sheets."""
        if self.records and other.records:
            one, two = f"{self.records}.", f"{other.records}."
            return not one.startswith(two) and not two.startswith(one)
        return bool(self.sheet and other.sheet and self.sheet != other.sheet)


class Shape(Section):
    """What the columns of a row mean, and how many records it holds."""

    layout: Layout | None = None
    fields: Fields = Fields()
    explode: Column | None = Field(
        None, description="A column that holds a list: each of its items is a record, with the row's columns."
    )
    replies: Literal["best", "all"] = Field(
        "best", description="Layout tree: the paths of best-ranked answers, or every path."
    )

    def mapped(self) -> Fields:
        """The fields of the layout, overridden by those given."""
        if self.layout is None:
            return self.fields
        given = {k: getattr(self.fields, k) for k in self.fields.model_fields_set}
        return LAYOUTS[self.layout].model_copy(update=given)

    def optional_columns(self) -> frozenset[str]:
        return OPTIONAL_COLUMNS.get(self.layout or "", frozenset())


class Readable(Reading, Shape):
    """What a source and an evaluation set have in common: a file, how to read it, what its columns mean."""

    path: Annotated[str, Field(min_length=1)]

    def shape(self) -> Shape:
        """Its part that says what rows mean, the layout's columns filled in."""
        return Shape(layout=self.layout, fields=self.mapped(), explode=self.explode, replies=self.replies)

    def reading(self) -> Reading:
        """How its files are read, the format settled."""
        values = {name: getattr(self, name) for name in Reading.model_fields}
        return Reading(**values | {"format": self.format or format_of(self.local_path)})

    @property
    def local_path(self) -> str:
        """The path below the spec's folder."""
        return self.path
