"""What is known to differ between two releases, asked by path, by file, by library.

Lives here: lookups over `comparing.Differences`, remembered, for every row asks. Keep out: which of them a row asks
for (`missing`, `both`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from dataset_pipeline.transforms.diff.comparing import Differences, Leaf
from dataset_pipeline.transforms.diff.leaves import Case, Prefixes, could_have, label_names
from dataset_pipeline.transforms.diff.words import FILE, SPEC, VERSION, Cause, leaves_words

PACKAGE = "dataset_pipeline"


class Known:
    """The differences of two manifests.

    libraries: step to the libraries that decide its result.
    """

    def __init__(self, differences: Differences, libraries: Mapping[str, Sequence[str]]):
        self.found = differences
        self.contents = {leaf.path for leaf in differences.contents}
        self._libraries = libraries
        self._versions = {leaf.path: leaf for leaf in differences.versions}
        self._files = {(i.source, i.day, i.uri): i.change for i in differences.inputs}
        self._of_day: dict[tuple[str, str], tuple[str, str]] = {}
        for one in differences.inputs:
            self._of_day.setdefault((one.source, one.day), (one.uri, one.change))
        self._telling = _telling(differences)
        self._below: dict[Prefixes, list[Leaf]] = {}
        self._words: dict[tuple[str, ...], Cause] = {}

    # --- the spec -------------------------------------------------------------------------------

    def changed(self, prefixes: Prefixes) -> list[Leaf]:
        """The leaves that differ at or below one of the paths."""
        if prefixes not in self._below:
            self._below[prefixes] = [
                leaf
                for leaf in self._telling
                if any(leaf.path == p or leaf.path.startswith((f"{p}.", f"{p}[")) for p in prefixes)
            ]
        return self._below[prefixes]

    def spec(self, groups: Sequence[Prefixes], case: Case) -> Cause | None:
        """The first group with leaves that differ and could have done it."""
        for prefixes in groups:
            leaves = [leaf for leaf in self.changed(prefixes) if could_have(leaf, case)]
            if leaves:
                return self.told(leaves)
        return None

    def told(self, leaves: Sequence[Leaf]) -> Cause:
        key = tuple(leaf.path for leaf in leaves)
        if key not in self._words:
            self._words[key] = SPEC, leaves_words(leaves)
        return self._words[key]

    def told_source(self, source: str, is_gone: bool) -> Cause:
        return SPEC, f"sources[{source}] is {'gone' if is_gone else 'new'}"

    def ranks(self) -> list[Leaf]:
        """The ranks that differ, of any source: of another record only its id is known."""
        return [
            leaf
            for leaf in self._telling
            if leaf.path.startswith("sources[") and leaf.path.endswith("].rank")
        ]

    # --- inputs and libraries ---------------------------------------------------------------------

    def file(self, source: str, day: str, uri: str) -> Cause | None:
        change = self._files.get((source, day, uri))
        return (FILE, f"{uri} was {change}") if change else None

    def file_of_day(self, source: str, day: str) -> Cause | None:
        """Any file of the batch: rows that are equal in all are counted over the files of a batch."""
        uri, change = self._of_day.get((source, day), ("", ""))
        return (FILE, f"{uri} was {change}") if change else None

    def may_differ(self, content: str) -> bool:
        """Whether an input without days is known to differ, or a manifest does not say what it held."""
        return content in self.contents or not self.found.has_contents

    def version(self, *steps: str, but: Collection[str] = (), first: Collection[str] = ()) -> Cause | None:
        """The libraries of these steps that differ, of them those of `first` where there are any; else, as a guess that
        is called one, this package. Only where nothing else could have done it."""
        names = dict.fromkeys(name for step in steps for name in self._libraries.get(step, ()))
        other = [name for name in names if name in self._versions and name not in but]
        chosen = [name for name in other if name in first] or other
        if chosen:
            return VERSION, " or ".join(self._version(name) for name in chosen)
        return (VERSION, f"perhaps {self._version(PACKAGE)}") if PACKAGE in self._versions else None

    def _version(self, name: str) -> str:
        leaf = self._versions[name]
        return f"{name} {leaf.before or 'none'} → {leaf.after or 'none'}"


def _telling(differences: Differences) -> list[Leaf]:
    """The leaves that can have done anything. A label that is only defined otherwise cannot; of sources that have no
    names it is not known which is which."""
    labels = [leaf for leaf in differences.spec if leaf.path.startswith("task.labels")]
    before, after = set[str](), set[str]()
    for leaf in labels:
        names = leaf.path.removeprefix("task.labels.")
        for side, value in ((before, leaf.before), (after, leaf.after)):
            if leaf.path == "task.labels" and isinstance(value, list | tuple):
                side |= {str(one).strip().casefold() for one in value}
            elif value is not None and leaf.path != "task.labels":
                side.add(names.strip().casefold())
    other = before ^ after
    return [
        leaf
        for leaf in differences.spec
        if (not leaf.path.startswith("task.labels") or label_names(leaf) & other)
        and (differences.has_names or not leaf.path.startswith("sources["))
    ]
