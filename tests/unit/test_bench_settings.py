"""The settings that a search of ours begins with, by what is asked and of whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.contenders import RANKERS
from benchmarks.corpus import Corpus
from benchmarks.protocols import loo
from benchmarks.task import CaseSet, Task
from models.episode import History
from models.evaluate import Case


def walkers(folder: Path, users: int, items: int, events: int) -> Corpus:
    """Users who take items in their order, an event after the other."""
    rows = [f"u{user},i{(user + at) % items},{at}" for user in range(users) for at in range(events)]
    (folder / "many.csv").write_text("user,item,timestamp\n" + "\n".join(rows) + "\n")
    return Corpus.read(folder / "many.csv", folder / "content.sqlite")


MANY_SHORT = {
    "signed": False, "recall": "never", "steps": 1, "rank": 128, "width": 128, "blocks": 2, "heads": 4, "length": 20,
    "dropout": 0.5, "support_dropout": 0.3, "smoothing": 0.2, "rate": 0.001, "weight_decay": 0.05, "shuffled": 0.0,
    "horizon": 0.0, "unit": False,
}  # fmt: skip
MANY_LONG = {
    "signed": False, "recall": "never", "steps": 1, "rank": 64, "width": 64, "blocks": 2, "heads": 2, "length": 100,
    "dropout": 0.2, "support_dropout": 0.0, "smoothing": 0.0, "rate": 0.002, "weight_decay": 0.05, "shuffled": 0.0,
    "horizon": 0.0,
}  # fmt: skip
FEW = MANY_LONG | {"recall": "always", "rank": 384, "width": 16, "dropout": 0.4, "rate": 0.003, "weight_decay": 0.3}
BOTH = {"shuffled": 0.5, "horizon": 0.8}


@pytest.mark.parametrize(
    ("users", "items", "events", "ordered", "unordered"),
    [
        (1001, 50, 4, MANY_SHORT, MANY_SHORT | BOTH),
        (1001, 150, 60, MANY_LONG, MANY_LONG | BOTH | {"recall": "unordered"}),
        (40, 150, 60, FEW, FEW | BOTH),
    ],
)
def test_our_first_settings_are_those_of_the_records(
    tmp_path: Path, users: int, items: int, events: int, ordered: dict[str, Any], unordered: dict[str, Any]
) -> None:
    """A run is found again by its settings: one that changes here is run again, for hours, and its record is lost."""
    corpus = walkers(tmp_path, users, items, events)
    (part,) = loo.parts(corpus)
    at_once = History(np.array([1, 2]), np.zeros(2, np.int64), np.ones(2, np.float32), ordered=False)
    imported = [Case(at_once, np.array([3]))]
    asked = Task(corpus, part.task.train, [*part.task.validation, CaseSet(imported, [0])], part.task.known)
    for task, expected in ((part.task, ordered), (asked, unordered)):
        space = RANKERS["innerloop"].space(task)
        assert {name: values[0] for name, values in space.items()} == expected
