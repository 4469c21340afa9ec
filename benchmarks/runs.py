"""The runs of a benchmark in one JSON file, written whole after each run, so that an interrupted benchmark goes on.

A run is known by (model, part, seed, trial). The file says what it is of: another protocol, other data or other options
do not go on from it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Record = dict[str, Any]
Key = tuple[str, str, int, int]


class OtherRuns(ValueError):
    """The file holds the runs of another benchmark."""


def key_of(record: Record) -> Key:
    """What tells a run from the others."""
    return record["model"], record["part"], record["seed"], record["trial"]


class Runs:
    """Finished runs, kept in `path`."""

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        """`about` is plain JSON: what the runs are of.

        Raises:
            OtherRuns: the file there is of something else.
        """
        self.path, self.about = path, json.loads(json.dumps(about))
        self.records: dict[Key, Record] = {}
        self.outcome: dict[str, Any] = {}
        if path.exists():
            whole = json.loads(path.read_text())
            if whole["about"] != self.about:
                known = {**self.about, **whole["about"]}
                differing = [name for name in known if whole["about"].get(name) != self.about.get(name)]
                raise OtherRuns(f"{path} holds other runs (they differ in {', '.join(differing)}): name another file")
            self.records = {key_of(record): record for record in whole["runs"]}

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records.values())

    def get(self, key: Key) -> Record | None:
        """The run, if it is finished."""
        return self.records.get(key)

    def put(self, record: Record) -> None:
        """Keep a finished run, on disk before this returns."""
        self.records[key_of(record)] = record
        self.save()

    def save(self) -> None:
        """Write the file whole: beside its place, then into it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        aside = self.path.with_name(f".{self.path.name}.tmp")
        text = json.dumps({"about": self.about, "outcome": self.outcome, "runs": list(self.records.values())}, indent=1)
        with aside.open("w") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, self.path)
