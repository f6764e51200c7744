"""Files that are no batch, as `run` meets them: a bad day each, and a wrong spec where a source has no other.

Lives here: which files a bad day names, and the refusal of a source that has lost them all. Keep out: reading
files (`assets.intake`), the loop over days (`running`).
"""

from __future__ import annotations

from dataset_pipeline.assets.context import Context
from dataset_pipeline.assets.engine import GateClosed
from dataset_pipeline.assets.intake import CHANGED
from dataset_pipeline.errors import BadDay, Problem, SpecError
from dataset_pipeline.records import Step

Lost = dict[tuple[str, str], str]
"""(source, uri) of a file that is no batch to what is wrong with it: `uri: what`. Two sources may read one file."""


def lost_files(context: Context, error: BadDay) -> Lost:
    """The files that `error` names, where it comes from ingest: its texts begin with `source: uri:`.

    A file that changed while it was read is none of them: it is there, and may be whole the next time.
    """
    if error.step != Step.INGEST:
        return {}
    named = {f"{file.source}: {file.uri}:": (file.source, file.uri) for file in context.found.files}
    lost: Lost = {}
    for text in (text for texts in error.days.values() for text in texts):
        # A uri may hold a colon: the longest beginning that names a file does.
        ends = [n + 1 for n, letter in enumerate(text) if letter == ":"]
        file = next((named[text[:end]] for end in reversed(ends) if text[:end] in named), None)
        if file is not None and not text.startswith(f"{file[0]}: {file[1]}: {CHANGED}"):
            lost[file] = text.removeprefix(f"{file[0]}: ")
    return lost | _truncated(context, list(error.days)) if isinstance(error, GateClosed) else lost


def refuse_lost_sources(context: Context, lost: Lost) -> None:
    """Raises SpecError for sources of which every file is lost: one such file is bad luck, all of them are the spec."""
    files: dict[str, list[str]] = {}
    for file in context.found.files:
        files.setdefault(file.source, []).append(file.uri)
    problems = [
        Problem(f"{context.project.path.name}: source {source.name}", lost[source.name, uri])
        for source in context.project.spec.sources
        if source.name in files and all((source.name, uri) in lost for uri in files[source.name])
        for uri in files[source.name][:5]
    ]
    if problems:
        raise SpecError(problems)


def _truncated(context: Context, days: list[str]) -> Lost:
    """Files of the refused days that break off, from the rows the gate left in staging for inspection."""
    found = context.warehouse.query(
        """SELECT DISTINCT source, uri, line, detail FROM staging.rejects
        WHERE reason = 'truncated_file' AND list_contains(?, day::VARCHAR) ORDER BY ALL""",
        [days],
    )
    return {
        (source, uri): f"{uri}: breaks off at line {line}: {detail}. Send the file again, whole."
        for source, uri, line, detail in found.iter_rows()
    }
