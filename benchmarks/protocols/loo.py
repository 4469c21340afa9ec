"""Leave-one-out: of every user the last item tests, the one before it validates, and all before these train."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.corpus import Corpus
from benchmarks.task import CaseSet, Part, Task
from models.episode import History
from models.evaluate import leave_one_out


def parts(corpus: Corpus) -> list[Part]:
    """One part. At the test the validation item is part of the history, for every contender."""
    before = [history.take(slice(0, -1)) for history in corpus.histories]
    train = [history.take(slice(0, -1)) for history in before]
    task = Task(corpus, train, [next_item(before)], np.arange(corpus.items))
    return [Part("all users", task, {"loo": next_item(corpus.histories)})]


def next_item(histories: Sequence[History]) -> CaseSet:
    """Each history's last event, where it is of a new item and something lies before it."""
    found = [(case, user) for user, history in enumerate(histories) for case in leave_one_out([history])]
    return CaseSet([case for case, _ in found], [user for _, user in found])
