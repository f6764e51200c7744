"""Shell completion: the script for a shell, and the values that arguments can take.

Lives here: names of releases and steps as the shell asks for them. Keep out: anything that loads Polars, Pydantic or
DuckDB: a shell asks at every press of the key and waits.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class

from dataset_pipeline.storage import addenda, release_tags

PROGRAM = "dataset-pipeline"
_VARIABLE = "_DATASET_PIPELINE_COMPLETE"
"""The variable that click derives from the program's name."""

SHELLS = ("bash", "zsh", "fish")
STEPS = ("ingest", "dedup", "filter", "normalize", "decontaminate", "label", "split", "release")
"""The daily steps of `records.Step`, which loads Polars, and the release; a test holds them equal."""
PREVIEWED = ("dedup", "filter", "normalize", "decontaminate", "split")
"""The steps of `previewing.PREVIEWED`; a test holds them equal."""
_LATEST = "latest"

INSTALLING = {
    "bash": "# Install: dataset-pipeline completion bash > ~/.local/share/bash-completion/completions/dataset-pipeline",
    "zsh": "# Install: dataset-pipeline completion zsh > ~/.zfunc/_dataset-pipeline  (a folder of your fpath, before compinit)",
    "fish": "# Install: dataset-pipeline completion fish > ~/.config/fish/completions/dataset-pipeline.fish",
}


def script(program: click.Command, shell: str) -> str:
    """The completion script of a shell, with one line on how to install it.

    zsh wants its `#compdef` line first, so the line on installing stands last.
    """
    found = get_completion_class(shell)
    assert found is not None  # `shell` is one of SHELLS
    completion = found(program, {}, PROGRAM, _VARIABLE)
    # `source()` would ask the installed bash for its version; the script is wanted, whatever is installed here.
    text = (completion.source_template % completion.source_vars()).strip()
    return f"{text}\n\n{INSTALLING[shell]}"


def releases(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """`latest`, the tags and the versions in the releases folder beside the spec."""
    latest = [_LATEST] if _LATEST.startswith(incomplete) else []
    names = [*latest, *_tags(_folder(ctx), incomplete), *versions(_folder(ctx), incomplete)]
    return [CompletionItem(name) for name in names]


def tags(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The tags that can be moved or deleted."""
    return [CompletionItem(name) for name in _tags(_folder(ctx), incomplete)]


def _tags(folder: Path, beginning: str) -> list[str]:
    try:
        return [tag.name for tag in release_tags.tags_of(folder) if tag.name.startswith(beginning)]
    except OSError:
        return []


def versions(folder: Path, beginning: str = "") -> list[str]:
    """The releases in `folder` whose version begins so, sorted; none where there is no such folder."""
    try:
        return sorted(
            p.name
            for p in folder.iterdir()
            if p.name.startswith(beginning)
            and not p.name.startswith(".")
            and p.name not in (release_tags.TAGS, addenda.ADDENDA)
            and not p.is_symlink()
            and p.is_dir()
        )
    except OSError:
        return []


def steps(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The steps that `run --select` takes."""
    return [CompletionItem(step) for step in STEPS if step.startswith(incomplete)]


def previewed_steps(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The steps that `preview` takes."""
    return [CompletionItem(step) for step in PREVIEWED if step.startswith(incomplete)]


def _folder(ctx: click.Context) -> Path:
    given: Any = ctx.params.get("spec")
    spec = Path(given) if given is not None else _default_spec(ctx)
    return (spec if spec.is_dir() else spec.parent) / "releases"


def _default_spec(ctx: click.Context) -> Path:
    """The default of `--spec`: while completing, options that are not typed have no value."""
    default = next((p.default for p in ctx.command.params if p.name == "spec"), None)
    return Path(str(default)) if default is not None else Path()
