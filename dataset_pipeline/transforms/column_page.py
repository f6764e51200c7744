"""docs/provenance.md, made from what is said of every column: `python -m dataset_pipeline.transforms.column_page > docs/provenance.md`.

Lives here: the page, the keys of manifest.json in words, questions and how to ask them. Keep out: the columns (`columns`).
"""

from __future__ import annotations

from collections.abc import Sequence

from dataset_pipeline.transforms.columns import DATA, DROPPED, PROVENANCE, REJECTS, described, schemas

MANIFEST: dict[str, str] = {
    "name": "The dataset's name.",
    "version": "Of the release: 16 hex digits over path and hash of every file but this one. Its folder's name.",
    "created_at": "When it was written, UTC. The only clock value in a release.",
    "run_id": "The run that wrote it.",
    "recipe": "Hash of all that decides the release: params, libraries, every published day. The same recipe makes no new release.",
    "files": "Path to facts of every file but this one.",
    "files.*.sha256": "Hash of its bytes; `dataset-pipeline verify` compares.",
    "files.*.bytes": "Size.",
    "files.*.rows": "Records, or rows of a table; null for a text.",
    "counts": "Records by what became of them.",
    "counts.ingested": "Collected.",
    "counts.rejected": "Rows that are no record.",
    "counts.released": "In the data files.",
    "counts.withheld": "Kept by every step and not released: contradictions, and what waits to be erased.",
    "counts.not_made": "Not judged by some step yet: its gate is closed.",
    "counts.splits": "Released records by split.",
    "counts.funnel": "For every step in order: `step`, records `in` and `kept`, and `dropped` by reason.",
    "rights": "The strictest of the records' rights.",
    "rights.uses": "Uses that every released record allows.",
    "rights.released_for": "`release.uses`: what the release is for.",
    "rights.license": "SPDX expression of the release; null where none holds the terms of all.",
    "rights.obligations": "What some licence asks for: `attribution`, `share_alike`, `non_commercial`, `no_derivatives`.",
    "rights.terms_known": "Whether every licence is one whose terms are known; not so of `LicenseRef-…`.",
    "rights.licenses": "Records by licence: `license`, `records`.",
    "tokens": "Tokens of the release: how they were counted, by split, median, 95th percentile, longest, what "
    "`training.max_length` would cut, cost.",
    "data_files": "Format to split to the files that hold it.",
    "preflight": "What was loaded back before `latest` moved, by which version of `datasets`, and notes for readers.",
    "contents": "Hashes of what has no day: `eval_sets` by name, `reviews`, `annotations`, `split_lock`. `diff` compares them.",
    "inputs": "Every file that was read: `source`, `day`, `uri`, `sha256`, `bytes`, `rows_read`, `rows_ingested`, "
    "`rows_rejected`, `license`.",
    "missing_days": "Days of the calendar that are not in it.",
    "stale_days": "Days that are in it with older rows: their newest could not be published.",
    "spec": "The spec as it was, without what was left to its default.",
    "versions": "Of Python, of this package and of the libraries that decide results.",
}
"""Key of manifest.json to its meaning; `*` stands for any path."""

_HEAD = """# Where every record is from: the files of a release, column by column

Made by `python -m dataset_pipeline.transforms.column_page > docs/provenance.md`; do not edit. A row of `provenance.parquet` is
a released record, of `dropped.parquet` a collected record that is not released, of `rejects.parquet` a row that is no record:
together all that was ever read. Parquet files of records hold `record_id`; lines of JSONL files are found by `split` and `row`.
No text of a record stands in these three files. They are sorted by `record_id` (`rejects.parquet` by day, file and line).
"""

_QUESTIONS = """## Questions

Run them in the folder of the release (`cd releases/latest`), in DuckDB or from any language that has it. The values are those of
the sample project.

**Why is a record out?** By the source's own id, or by where it stands:

```sql
SELECT step, reason, detail FROM 'dropped.parquet' WHERE source = 'support_inbox' AND source_id = 'T-49635'
```

```sql
SELECT line, reason, detail FROM 'rejects.parquet' WHERE uri = 'sources/app_reviews/2026-10-20.csv'
```

`dataset-pipeline explain support_inbox:T-49635` says the same in words, also of records that are in.

**How many went where?**

```sql
SELECT step, reason, count(*) AS records FROM 'dropped.parquet' GROUP BY ALL ORDER BY records DESC, step, reason
```

**Which records have a licence, and how many is that of each split?**

```sql
SELECT record_id, split, "row", source, holder FROM 'provenance.parquet' WHERE license = 'CC-BY-4.0'
```

```sql
SELECT license, split, count(*) AS records FROM 'provenance.parquet' GROUP BY ALL ORDER BY ALL
```

**Which record is row 17 of `chat/train.jsonl`, and where was it collected?** Rows count from 0, lines of a text file from 1: row 17
is line 18 (`sed -n 18p chat/train.jsonl`). It is the same row in every format. Of a sharded split rows count on from file to
file, in the order of their names.

```sql
SELECT record_id, source, source_id, uri, line FROM 'provenance.parquet' WHERE split = 'train' AND "row" = 17
```

**And the other way: which line of the released file is line 42 of a collected one?**

```sql
SELECT split, "row" + 1 AS line_of_split FROM 'provenance.parquet'
WHERE uri = 'sources/support_inbox/2026-10-23.jsonl' AND line = 42
```

**Which records held personal data, and of what kind?**

```sql
SELECT [found.name FOR found IN normalize_pii_counts] AS kinds, count(*) AS records FROM 'provenance.parquet'
WHERE len(normalize_pii_counts) > 0 GROUP BY ALL ORDER BY ALL
```

**What is the text of all records of a source?** Joined by id, so in Parquet:

```sql
SELECT p.record_id, d.messages FROM 'provenance.parquet' p JOIN 'parquet/*.parquet' d USING (record_id)
WHERE p.source = 'partner_survey' ORDER BY p.record_id
```

The same in Polars:

```python
import polars as pl

provenance = pl.scan_parquet("provenance.parquet")
row_17 = provenance.filter(split="train", row=17).select("record_id", "source", "uri", "line").collect()
by_licence = provenance.group_by("license", "split").len().sort("license", "split").collect()
dropped = pl.scan_parquet("dropped.parquet").filter(source="support_inbox", source_id="T-49635").collect()
```
"""

_TITLES = {
    PROVENANCE: "`provenance.parquet`: one row a released record",
    DROPPED: "`dropped.parquet`: one row a collected record that is not released",
    REJECTS: "`rejects.parquet`: one row a row that is no record",
    DATA: "`parquet/*.parquet`: the records",
}


def page() -> str:
    """docs/provenance.md: every column, every key of the manifest, questions and how to ask them."""
    parts = [_HEAD, _QUESTIONS]
    for file, columns in schemas().items():
        parts.append(
            f"## {_TITLES[file]}\n\n"
            + _table(
                ("column", "type", "unit", "meaning"),
                [(f"`{c.name}`", *c[1:]) for c in described(file, columns)],
            )
        )
    keys = [(f"`{key}`", said) for key, said in MANIFEST.items()]
    parts.append("## `manifest.json`, key by key\n\n" + _table(("key", "meaning"), keys))
    return "\n".join(parts)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return (
        "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
        + "\n"
    )


if __name__ == "__main__":
    print(page(), end="")
