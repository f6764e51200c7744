"""A change of settings followed through the steps: only the records that it reaches are judged again.

Lives here: what each step decides otherwise, from what is stored where that tells, else by the step's own function.
Keep out: split (`previewing_split`), what the release withholds and totals (`previewing`), SQL (`previewing_reading`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import polars as pl

from dataset_pipeline.assets import previewing_reading as reading
from dataset_pipeline.assets import same_meaning
from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.recipes import Latest
from dataset_pipeline.assets.scrubbing import helpers_of
from dataset_pipeline.assets.undated import Undated
from dataset_pipeline.progress import REPORTER
from dataset_pipeline.records import MESSAGES, PROTECTED, TABLES, Step
from dataset_pipeline.spec.params import (
    DecontaminateParams,
    DedupParams,
    FilterParams,
    LabelParams,
    NormalizeParams,
)
from dataset_pipeline.transforms import dedup
from dataset_pipeline.transforms.decontaminate import decontaminate
from dataset_pipeline.transforms.filter import filter_records
from dataset_pipeline.transforms.label import label_records
from dataset_pipeline.transforms.normalize import normalize
from dataset_pipeline.transforms.previewing import doubtful, measured_anew, moves, redecided, same_but
from dataset_pipeline.transforms.reviews import apply_reviews


class TextsGone(Exception):
    """Retention has taken out a text that has to be judged: only the raw files have it."""


NOBODY = pl.Series("record_id", [], dtype=pl.String)


def union(*parts: pl.Series) -> pl.Series:
    """The ids of all parts, each once, sorted."""
    return pl.concat([part.alias("record_id") for part in parts]).unique().sort()


def without(ids: pl.Series, others: pl.Series) -> pl.Series:
    return ids.filter(~ids.is_in(others.implode()))


def among(frame: pl.DataFrame, ids: pl.Series) -> pl.DataFrame:
    return frame.filter(pl.col("record_id").is_in(ids.implode()))


@dataclass
class Flow:
    """What of a change has come to the next step.

    lost: records whose published verdict there is void. todo: records to judge there. A record in both reaches the
    step as before, with another text. unmeasured: left out for the limit; what was published of them stands.
    """

    before: Context
    after: Context
    latest: Latest
    limit: int
    lost: pl.Series = field(default_factory=lambda: NOBODY)
    todo: pl.Series = field(default_factory=lambda: NOBODY)
    arrived: pl.Series = field(default_factory=lambda: NOBODY)
    unmeasured: pl.Series = field(default_factory=lambda: NOBODY)
    edited: pl.Series = field(default_factory=lambda: NOBODY)
    moved: list[pl.DataFrame] = field(default_factory=list)
    deduplicated: pl.DataFrame | None = None
    """TABLES['dedup'] as it would be, where it changes."""
    clean: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=dict(reading.CLEANED)))
    """What normalize makes of records that are judged again, computed once."""

    def __post_init__(self) -> None:
        self.warehouse = self.before.warehouse
        self.undated = Undated(self.after, self.latest)
        self.days = tuple(sorted({day for _, day in self.latest if day is not None}))

    def changed(self, step: Step) -> list[str]:
        """The settings of a step that differ and can decide about a record."""
        return same_but(self.before.params[step], self.after.params[step])

    # --- from step to step ------------------------------------------------------------------

    def settle(self, step: Step, then: pl.DataFrame, edited: pl.Series) -> None:
        """Take the verdicts of a step and find what they mean for the next one.

        then: record_id, day, kept, reason of the records judged again. edited: those of them that are kept with
        another text than published.
        """
        now = self.compare(step, then)
        kept_now = now.filter("kept")["record_id"]
        kept_then = then.filter("kept")["record_id"]
        both = kept_now.filter(kept_now.is_in(kept_then.implode()))
        edited = both.filter(both.is_in(union(edited, self._reached_otherwise()).implode()))
        self.lost = union(without(kept_now, kept_then), edited)
        todo = union(without(kept_then, kept_now), edited)
        chosen, left = todo.head(self.limit), todo.slice(self.limit)
        self.arrived = union(self.arrived, todo)
        self.unmeasured = union(self.unmeasured, left)
        self.edited = without(union(self.edited, edited), left)
        # A text that is not looked at stays as it is; a record that only just came goes no further.
        self.todo, self.lost = chosen, without(self.lost, left)

    def compare(self, step: Step, then: pl.DataFrame) -> pl.DataFrame:
        """Note what differs from the published verdicts, and return these: of what is lost or judged again."""
        now = reading.verdicts(self.warehouse, step, union(self.lost, then["record_id"]))
        self.moved.append(moves(step, now, then))
        return now

    def _reached_otherwise(self) -> pl.Series:
        """The records that came to this step as before, with another text."""
        return self.todo.filter(self.todo.is_in(self.lost.implode()))

    # --- working frames ---------------------------------------------------------------------

    def collected(self, ids: pl.Series) -> pl.DataFrame:
        """RECORDS of `ids` as collected. Raises TextsGone."""
        return _whole(reading.collected(self.warehouse, ids))

    def texts(self, ids: pl.Series) -> pl.DataFrame:
        """RECORDS of `ids` as normalize would hand them on (clean whether kept or not), with collected_…"""
        clean = among(self.clean, ids)
        collected = self.collected(ids)
        if not self.changed(Step.NORMALIZE):
            stored = _whole(reading.cleaned(self.warehouse, without(ids, clean["record_id"])))
            clean = pl.concat([clean, stored])
        asked = without(ids, clean["record_id"])
        if len(asked):
            params = cast(NormalizeParams, self.after.params[Step.NORMALIZE])
            made = normalize(
                among(collected, asked),
                params,
                self.after.memo(Step.NORMALIZE),
                helpers_of(self.after.project, params.pii),
            )
            clean = pl.concat([clean, made.select(*reading.CLEANED)])
        as_collected = {"messages": "collected_messages", "rejected": "collected_rejected"}
        renamed = collected.rename(as_collected).drop("content_sha")
        return renamed.join(clean.rename({"clean_sha": "content_sha"}), on="record_id", maintain_order="left")

    def labels(self, ids: pl.Series) -> pl.DataFrame:
        """TABLES['label'] of `ids`; is_contradiction means nothing here: the release asks again."""
        params = cast(LabelParams, self.after.params[Step.LABEL])
        nothing = pl.DataFrame(schema={"prompt_key": pl.String, "answer_key": pl.String})
        named = self.undated.named(Step.LABEL, self.days)
        return label_records(self.texts(ids), nothing, params, None, self.undated.consensus(self.days), named)

    def labelled(self, ids: pl.Series) -> pl.DataFrame:
        """As `texts`, with the label that `label` gives; no step after it reads the answer of a labelled record."""
        labels = self.labels(ids).select("record_id", "label")
        return self.texts(ids).drop("label").join(labels, on="record_id", maintain_order="left")

    def reviewed(self, table: pl.DataFrame, step: Step) -> pl.DataFrame:
        named = self.undated.named(step, self.days)
        return table if named is None else apply_reviews(table, step, named)

    def standing(self, step: Step) -> pl.Series:
        """Ids of the records that reach a step as before."""
        ids = reading.verdicts(self.warehouse, step)["record_id"]
        return without(ids, union(self.lost, self.todo))


def _whole(records: pl.DataFrame) -> pl.DataFrame:
    if records["messages"].null_count():
        raise TextsGone
    return records


def _verdicts(tables: list[pl.DataFrame]) -> pl.DataFrame:
    nothing = pl.DataFrame(schema=dict(reading.VERDICT))
    return pl.concat([nothing, *(table.select(*reading.VERDICT) for table in tables)]).sort("record_id")


# --- the steps ----------------------------------------------------------------------------


def follow_dedup(flow: Flow) -> None:
    """Everything again where its settings differ: what is near whom depends on all that is kept."""
    if not flow.changed(Step.DEDUP):
        return
    params = cast(DedupParams, flow.after.params[Step.DEDUP])
    REPORTER.get().phase(Step.DEDUP, "fingerprints")
    prints = _dedup_prints(flow, params)
    # A bucket of one has nobody to compare: no other text is read.
    members = prints.select("record_id", bucket="bands").with_row_index("position").drop("record_id")
    members = members.filter(pl.col("bucket").is_not_null()).explode("bucket")
    several = members.group_by("bucket").len().filter(pl.col("len") > 1)
    met = members.join(several, on="bucket", how="semi")["position"].unique().sort()
    shared = prints["record_id"].gather(met)
    REPORTER.get().phase(Step.DEDUP, "verifying")
    if params.semantic is None:
        records = flow.collected(shared)
        nothing = pl.DataFrame(schema={"record_id": pl.String, "other_id": pl.String})
        table = dedup.dedup(records, prints, prints.clear(), nothing, records.clear(), params)
    else:
        every = flow.collected(prints["record_id"])
        table = same_meaning.table_of(flow.after, prints, prints.clear(), every, params)
    flow.deduplicated = table
    now = reading.verdicts(flow.warehouse, Step.DEDUP)
    differing = moves(Step.DEDUP, now, table)["record_id"]
    flow.settle(Step.DEDUP, among(table, differing).select(*reading.VERDICT), NOBODY)


def _dedup_prints(flow: Flow, params: DedupParams) -> pl.DataFrame:
    """dedup.FINGERPRINT of everything collected: stored ones where they are of the same making."""
    own = set(flow.changed(Step.DEDUP)) - {"near", "semantic"}
    was, near_ = cast(DedupParams, flow.before.params[Step.DEDUP]).near, params.near
    if not own and (was.bands, was.rows, was.seed) == (near_.bands, near_.rows, near_.seed):
        columns = ", ".join(f"d.{name}" for name in dedup.FINGERPRINT if name != "source_rank")
        sql = f"""SELECT {columns}, i.source_rank FROM main."dedup" d
            JOIN main."ingest" i ON i.record_id = d.record_id AND i.day = d.day ORDER BY d.record_id"""
        return reading.typed(flow.warehouse.query(sql), dedup.FINGERPRINT)
    made = [pl.DataFrame(schema=dedup.FINGERPRINT)]
    consensus = flow.undated.consensus(flow.days) if params.answers_are_labels else None
    for days in reading.stretches(flow.latest, Step.DEDUP, reading.TEXTS_AT_ONCE):
        for ids in reading.parts(reading.ids_on(flow.warehouse, Step.DEDUP, days)):
            records = flow.collected(pl.Series("record_id", ids))
            made.append(dedup.fingerprint(records, params, flow.after.memo(Step.DEDUP), consensus))
    return pl.concat(made)


def follow_filter(flow: Flow) -> None:
    params = cast(FilterParams, flow.after.params[Step.FILTER])
    was = cast(FilterParams, flow.before.params[Step.FILTER])
    tables = []
    arriving = flow.todo
    if flow.changed(Step.FILTER):
        if measured_anew(was, params) or was.answers_are_labels != params.answers_are_labels:
            # Measured anew are all; of those that stand only what differs is told on.
            tables += _measured(flow, params, flow.standing(Step.FILTER))
        else:
            REPORTER.get().phase(Step.FILTER, "deciding again")
            for days in reading.stretches(flow.latest, Step.FILTER, reading.ROWS_AT_ONCE):
                found = redecided(reading.measurements(flow.warehouse, days), params)
                tables.append(found.filter(~pl.col("record_id").is_in(union(flow.lost, flow.todo).implode())))
    if len(arriving):
        REPORTER.get().phase(Step.FILTER, f"measuring {len(arriving)} records")
        tables += _measured(flow, params, arriving)
    flow.settle(Step.FILTER, _verdicts(tables), NOBODY)


def _measured(flow: Flow, params: FilterParams, ids: pl.Series) -> list[pl.DataFrame]:
    found = []
    for part in reading.parts(ids):
        records = flow.collected(pl.Series("record_id", part))
        table = filter_records(records, params, flow.after.memo(Step.FILTER))
        found.append(flow.reviewed(table, Step.FILTER).select(*reading.VERDICT))
    return found


def follow_normalize(flow: Flow) -> None:
    params = cast(NormalizeParams, flow.after.params[Step.NORMALIZE])
    tables, edited = [], [NOBODY]
    if flow.changed(Step.NORMALIZE):
        ids = flow.standing(Step.NORMALIZE)
        done = 0
        for part in reading.parts(ids):
            REPORTER.get().phase(
                Step.NORMALIZE, f"cleaning {done} … {done + len(part)} of {len(ids)} records"
            )
            done += len(part)
            found, other = _cleaned(flow, params, pl.Series("record_id", part))
            tables.append(found)
            edited.append(other)
    if len(flow.todo):
        REPORTER.get().phase(Step.NORMALIZE, f"cleaning {len(flow.todo)} records")
        helpers = helpers_of(flow.after.project, params.pii)
        for part in reading.parts(flow.todo):
            table = normalize(
                flow.collected(pl.Series("record_id", part)), params, flow.after.memo(Step.NORMALIZE), helpers
            )
            flow.clean = pl.concat([flow.clean, table.select(*reading.CLEANED)])
            tables.append(table.select(*reading.VERDICT))
    flow.settle(Step.NORMALIZE, _verdicts(tables), union(*edited))


def _cleaned(flow: Flow, params: NormalizeParams, ids: pl.Series) -> tuple[pl.DataFrame, pl.Series]:
    """The verdicts of records that differ from what is published, or whose text does; and the ids of the latter."""
    helpers = helpers_of(flow.after.project, params.pii)
    table = normalize(flow.collected(ids), params, flow.after.memo(Step.NORMALIZE), helpers)
    was = reading.rows_of(
        flow.warehouse, Step.NORMALIZE, ids, {**reading.VERDICT, "messages": MESSAGES, "rejected": MESSAGES}
    )
    both = table.join(was, on="record_id", suffix="_was")
    text = pl.col("messages").ne_missing(pl.col("messages_was")) | pl.col("rejected").ne_missing(
        pl.col("rejected_was")
    )
    verdict = (pl.col("kept") != pl.col("kept_was")) | pl.col("reason").ne_missing(pl.col("reason_was"))
    found = both.filter(text | verdict)
    return found.select(*reading.VERDICT), found.filter(text & pl.col("kept"))["record_id"]  # fmt: skip


def follow_decontaminate(flow: Flow) -> None:
    params = cast(DecontaminateParams, flow.after.params[Step.DECONTAMINATE])
    ids = flow.todo
    if flow.changed(Step.DECONTAMINATE):
        was = cast(DecontaminateParams, flow.before.params[Step.DECONTAMINATE])
        measured = {"match": pl.String, "overlap_fraction": pl.Float64}
        sql = f'SELECT record_id, match, overlap_fraction FROM main."{Step.DECONTAMINATE}"'
        rows = reading.typed(flow.warehouse.query(sql), {"record_id": pl.String, **measured})
        asked = rows.filter(doubtful(was, params))["record_id"]
        ids = union(ids, without(asked, flow.lost))
    tables = []
    if len(ids):
        REPORTER.get().phase(Step.DECONTAMINATE, f"searching {len(ids)} records for protected items")
        protected = flow.warehouse.table(PROTECTED)
        for part in reading.parts(ids):
            table = decontaminate(flow.texts(pl.Series("record_id", part)), protected, params)
            tables.append(flow.reviewed(table, Step.DECONTAMINATE))
    flow.settle(Step.DECONTAMINATE, _verdicts(tables), NOBODY)


def follow_label(flow: Flow) -> pl.DataFrame:
    """Returns TABLES['label'] of the records judged again."""
    if not len(flow.todo):
        table = pl.DataFrame(schema=TABLES[Step.LABEL])
    else:
        REPORTER.get().phase(Step.LABEL, f"labelling {len(flow.todo)} records")
        table = flow.labels(flow.todo)
    flow.settle(Step.LABEL, _verdicts([table]), NOBODY)
    return table
