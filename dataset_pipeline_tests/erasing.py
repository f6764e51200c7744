"""Records to erase: their text, their rows, and a project that holds them.

Lives here: what `test_erasure` and `test_erasure_files` share. Keep out: assertions.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import polars as pl

from dataset_pipeline.records import TABLES, Step
from dataset_pipeline_tests import scenario

DAY = dt.date(2026, 3, 1)
NEEDLE = "zyxsecretquorbel"
LONG = f"the {NEEDLE} gate at the harbour refuses to open for our van every single morning since the storm"


def row(record_id: str, text: str, source: str = "s", group: str | None = None) -> dict[str, Any]:
    """A row that ingest keeps."""
    return {
        "record_id": record_id, "day": DAY, "source": source, "source_rank": 1, "source_id": f"id-{record_id}",
        "uri": "f.jsonl", "line": 1, "byte_offset": 0, "messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "bug"}],
        "label": "bug", "group": group, "person_names": ["Somebody"], "may_evaluate": True, "content_sha": record_id, "kept": True,
    }  # fmt: skip


def collected(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=TABLES[Step.INGEST])


def project(root: Path) -> Path:
    """Three days: a record, its copy and a near copy on the others, generated text of its group."""

    def line(record: str, text: str, **more: Any) -> dict[str, Any]:
        return {"id": record, "text": text, "label": "bug"} | more

    files = {
        f"sources/{day}.jsonl": [dict(r, group=None) for r in scenario.rows(20 * n, 15)]
        for n, day in enumerate(scenario.DAYS)
    }
    files["sources/2026-03-01.jsonl"].append(line("near", LONG + " again"))
    files["sources/2026-03-02.jsonl"].append(line("named", LONG, group="c7"))
    files["sources/2026-03-03.jsonl"].append(line("copy", LONG.upper().replace(" ", ", ") + "!"))
    fields = {"id": "id", "input": "text", "output": "label", "group": "group"}
    generated = scenario.source(
        name="written", kind="synthetic", path="made.jsonl", collected_at="2026-03-03", fields=fields,
        generator={"model": "m", "provider": "p", "permits_training": True, "terms": "t", "terms_reviewed": "2026-01-02"},
    )  # fmt: skip
    made = [
        line(f"w{n}", f"A written text number {n} about kites and lanterns in spring", group=f"c{n}")
        for n in range(6, 9)
    ]
    made[1]["text"] += f" by {NEEDLE}"
    content = scenario.spec(sources=[scenario.source(fields=fields), generated], reviews=["reviews/*.csv"])
    data = {name: scenario.jsonl(rows) for name, rows in files.items()} | {"made.jsonl": scenario.jsonl(made)}
    (root / "reviews").mkdir(parents=True, exist_ok=True)
    (root / "reviews/a.csv").write_text(
        "record,source,id,step,verdict,value,reviewer,date\n", encoding="utf-8"
    )
    return scenario.make_project(root, content, data)
