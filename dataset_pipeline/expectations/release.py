"""What must hold for a release before `latest` points at it.

Lives here: the expectations. Keep out: loading files back (`storage.loading`), the rules of formats (`transforms.preflight`).
"""

from __future__ import annotations

from dataset_pipeline.expectations.gate import Expectation

RELEASE_SUITE: tuple[Expectation, ...] = (
    Expectation("records_conserved", "Released and withheld records do not add up to the kept ones.",
                "between", "gauges", ("records_lost",), minimum=0, maximum=0),
    Expectation("every_record_accounted", "A collected record is neither in provenance nor in dropped.",
                "between", "gauges", ("records_unaccounted",), minimum=0, maximum=0),
    Expectation("files_hold_all_rows", "A file of the release, read back, has other rows than were written.",
                "between", "gauges", ("file_row_differences",), maximum=0),
    Expectation("not_empty", "The release holds no record.", "between", "gauges", ("n",), minimum=1),
    Expectation("roles_complete", "A released record does not alternate or does not end with the assistant.",
                "between", "gauges", ("role_faults",), maximum=0),
    Expectation("splits_filled", "A split that the ratios ask for is empty.", "between", "gauges", ("empty_splits",), "warning", maximum=0),
    Expectation("ids_unique", "A record is released twice.", "unique", "rows", ("record_id",)),
)  # fmt: skip
