"""What `run` does before it looks at files: bring what lies elsewhere beside the spec.

Lives here: the progress and the words of it. Keep out: how it is fetched (`storage.fetching`).
"""

from __future__ import annotations

from rich.console import Console

from dataset_pipeline.cli import show
from dataset_pipeline.progress import REPORTER
from dataset_pipeline.spec.load import Project
from dataset_pipeline.storage.fetching import fetch_all
from dataset_pipeline.storage.readers import UnreadableFile


def fetch(project: Project, out: Console) -> list[str]:
    """Fetch with a line of progress and print the notes. Returns a line for each place that did not answer.

    Such a place fails the run in the end; what was fetched before is used until then.
    """
    failures: list[str] = []
    notes: tuple[str, ...] = ()
    token = REPORTER.set(bars := show.Bars(out, 1))
    try:
        with bars:
            notes = fetch_all(project.root, project.spec.sources, project.path.name).notes
    except UnreadableFile as error:
        failures = str(error).splitlines()
    finally:
        REPORTER.reset(token)
    for note in notes:
        out.print(f"note: {note}")
    return failures
