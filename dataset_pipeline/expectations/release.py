"""What must hold for a release before `latest` points at it.

Lives here: the expectations. Keep out: loading files back (`storage.loading`), the rules of formats
(`transforms.format_rules`), the gauges (`assets.preflighting`, `assets.releasing`).
"""

from __future__ import annotations

from dataset_pipeline.expectations.gate import Expectation

_NOTHING_LOST = "a release that loses a record, or tells of one twice, does not happen"
_WHAT_IT_SAYS = "a release that says other than its tables does not happen"

_CONTENT: tuple[Expectation, ...] = (
    Expectation("records_conserved", "Released and withheld records do not add up to the kept ones.",
                "between", "gauges", ("records_lost",), minimum=0, maximum=0, is_fixed=True, why_fixed=_NOTHING_LOST),
    Expectation("every_record_accounted", "A collected record is neither in provenance nor in dropped.",
                "between", "gauges", ("records_unaccounted",), minimum=0, maximum=0, is_fixed=True, why_fixed=_NOTHING_LOST),
    Expectation("files_hold_all_rows", "A file of the release, read back, has other rows than were written.",
                "between", "gauges", ("file_row_differences",), maximum=0),
    Expectation("not_empty", "The release holds no record.", "between", "gauges", ("n",), minimum=1),
    Expectation("roles_complete", "A released record does not alternate or does not end with the assistant.",
                "between", "gauges", ("role_faults",), maximum=0),
    Expectation("splits_filled", "A split that the ratios ask for is empty.", "between", "gauges", ("empty_splits",), "warning", maximum=0),
    Expectation("ids_unique", "A record is released twice.", "unique", "rows", ("record_id",),
                is_fixed=True, why_fixed=_NOTHING_LOST),
)  # fmt: skip

_LOADED: tuple[Expectation, ...] = (
    Expectation("formats_load", "`datasets` cannot load a format of the release, or not as text (a JSON column whose every text is a "
                "date comes back as timestamps). Leave the format out of release.formats: parquet keeps any text.",
                "between", "gauges", ("formats_not_loadable",), maximum=0),
    Expectation("rows_survive_loading", "A format, loaded back, has other rows than its split has records.",
                "between", "gauges", ("rows_not_loaded",), maximum=0),
    Expectation("text_survives_loading", "A row, loaded back, is not what the tables say of its record.",
                "between", "gauges", ("texts_changed",), maximum=0, is_fixed=True, why_fixed=_WHAT_IT_SAYS),
    Expectation("format_rules_hold", "What reads the format would refuse, drop or alter a row.",
                "between", "gauges", ("rule_faults",), maximum=0),
)  # fmt: skip

_TRAINED: tuple[Expectation, ...] = (
    Expectation("examples_enough_for_openai", "OpenAI refuses a fine-tuning file of fewer than ten examples.",
                "between", "gauges", ("openai_examples_missing",), "warning", maximum=0),
    Expectation("lengths_fit", "A record is longer than training.max_length: a trainer cuts its end.",
                "between", "gauges", ("over_length",), "warning", maximum=0),
    Expectation("answers_supervised", "Nothing of a record's answer is left to learn: raise training.max_length, or drop the record.",
                "between", "gauges", ("unsupervised",), maximum=0),
    Expectation("ends_present", "No end token follows an answer: a model trained on it does not learn to stop. Mend training.chat_template.",
                "between", "gauges", ("ends_missing",), maximum=0),
    Expectation("rights_allow_uses", "A record's rights do not allow a use of release.uses: leave its source or that use out.",
                "between", "gauges", ("uses_missing",), maximum=0,
                is_fixed=True, why_fixed="a release for a use some record does not allow does not happen"),
    Expectation("license_holds_all", "release.license is laxer than a record's own licence: remove it (the strictest of the records is then taken), "
                "name one that keeps this, or make the days of that source again.",
                "between", "gauges", ("license_laxer",), maximum=0,
                is_fixed=True, why_fixed="a release under a licence some record does not allow does not happen"),
)  # fmt: skip

RELEASE_SUITE: tuple[Expectation, ...] = (*_CONTENT, *_LOADED, *_TRAINED)
"""Of the files against the tables, of the files as their readers load them, of what they are for."""
