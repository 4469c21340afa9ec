"""The runs of a benchmark in one JSON file, written whole after each run, so that an interrupted benchmark goes on.

A run is known by (model, part, seed, trial). The file says what it is of: another protocol, other data or other options
do not go on from it. Commands for different models may fill one file side by side: each keeps what the other wrote.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
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
        """`about` is plain JSON: what the runs are of. Raises as `merge` does."""
        self.path, self.about = path, json.loads(json.dumps(about))
        self.records: dict[Key, Record] = {}
        self.own: set[Key] = set()  # put by this process; of the others the file knows best
        self.outcome: dict[str, Any] = {}
        self.merge()

    def merge(self) -> None:
        """Take in what the file holds and this does not.

        Raises:
            OtherRuns: the file there is of something else.
        """
        if not self.path.exists():
            return
        try:
            whole = json.loads(self.path.read_text())
            theirs, runs, known = dict(whole["about"]), whole["runs"], whole["outcome"]
        except (ValueError, KeyError, TypeError) as error:
            raise OtherRuns(f"{self.path} is no file of runs ({error!r}): name another, or remove it") from None
        if theirs != self.about:
            names = [name for name in self.about | theirs if theirs.get(name) != self.about.get(name)]
            differing = "; ".join(f"{name}: {theirs.get(name)} there, {self.about.get(name)} here" for name in names)
            raise OtherRuns(f"{self.path} holds other runs ({differing}): name another file")
        read = {key_of(record): record for record in runs}
        self.records |= {key: record for key, record in read.items() if key not in self.own}
        self.outcome = self.outcome or known

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records.values())

    def get(self, key: Key) -> Record | None:
        """The run, if it is finished."""
        return self.records.get(key)

    def put(self, record: Record) -> None:
        """Keep a finished run, on disk before this returns."""
        self.records[key_of(record)] = record
        self.own.add(key_of(record))
        self.save()

    def keep_tests(self, model: str, settings: dict[str, Any]) -> None:
        """Of a model keep the tests of these settings alone, once a part and seed: another search chose the others."""
        seen = set()
        for record in [one for one in self if one["model"] == model and "tests" in one]:
            place = record["part"], record["seed"]
            if record["settings"] == settings and place not in seen:
                seen.add(place)
            else:
                self.put({name: value for name, value in record.items() if name != "tests"})

    def save(self) -> None:
        """Write the file whole: beside its place, then into it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._alone():
            self.merge()
            aside = self.path.with_name(f".{self.path.name}.tmp")
            whole = {"about": self.about, "outcome": self.outcome, "runs": list(self.records.values())}
            with aside.open("w") as file:
                file.write(json.dumps(whole, indent=1) + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, self.path)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Within it no other process writes the file."""
        lock = self.path.with_name(f".{self.path.name}.lock")
        with lock.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield
        # The lock file stays: removed, a waiter would hold the lock of a file that nobody else can find.
