"""Popularity by place: after k events everyone gets what most users took as one of their next ones after k.

    score(i | k) = n_k(i) / sum n_k + floor n(i) / sum n        n_k(i) = how many of events k + 1 to k + reach are of i

It reads nothing of a history but its length, and knows what a service's first pages show: where all begin alike it is
hard to beat. Where the events have no order their places mean nothing, and it is plain popularity.

Letters: B users, N items.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.task import Fitted, Limits, Say, Settings, Task
from models.episode import History


class PlacePopularity:
    """Counts of what followed the k-th event, made for each k when it is first asked for."""

    name = "popularity-place"

    def __init__(self, train: Sequence[History], items: int, reach: int, floor: float) -> None:
        self.ordered = [history.rows for history in train if history.ordered]
        self.items, self.reach, self.floor = items, reach, floor
        self.overall = _shares([history.rows for history in train], items)
        self._after: dict[int, NDArray[np.float32]] = {}

    def scores(self, histories: Sequence[History]) -> NDArray[np.float32]:
        """(B, N)."""
        return np.stack([self._at(len(one.rows)) if one.ordered else self.overall for one in histories])

    def _at(self, place: int) -> NDArray[np.float32]:
        """(N,), for those who have so many events."""
        if place not in self._after:
            follow = _shares([rows[place : place + self.reach] for rows in self.ordered], self.items)
            self._after[place] = follow + np.float32(self.floor) * self.overall
        return self._after[place]


def _shares(taken: Sequence[NDArray[np.integer[Any]]], items: int) -> NDArray[np.float32]:
    """How much of what was taken is of each item, (N,)."""
    counts = np.bincount(np.concatenate([*taken, np.empty(0, np.int64)]), minlength=items)
    return np.asarray(counts / max(counts.sum(), 1), np.float32)


class PlaceContender:
    """The contender. What counts as next is searched, and how much the whole log says beside it."""

    name = PlacePopularity.name
    seeded = False

    def space(self, task: Task) -> Mapping[str, Sequence[Any]]:  # noqa: ARG002
        """The same for every task."""
        return {"reach": (10, 1, 3, 5, 20, 50), "floor": (0.1, 0.0, 0.01, 0.03, 0.3, 1.0)}

    def fit(self, task: Task, settings: Settings, seed: int, limits: Limits, say: Say) -> Fitted:  # noqa: ARG002
        """Count."""
        return Fitted(PlacePopularity(task.train, task.corpus.items, **settings))
