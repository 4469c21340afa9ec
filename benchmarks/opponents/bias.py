"""The bias model: mean + item bias + user bias, each shrunk. It beats most published meta-learners.

    b_i = p_i + sum_u (r_ui - mean - p_i) / (n_i + item_shrinkage)
    b_u = sum_i (r_ui - mean - b_i) / (n_u + user_shrinkage)

p_i is 0, or, with content, what a ridge regression of the ratings on the items' content vectors expects.

Letters: N items, C content width, Q queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.rating import Episode, FittedRater, RatingTask
from benchmarks.task import Limits, Say, Settings


@dataclass(frozen=True, eq=False)
class BiasPredictor:
    """Biases of the items, (N,), and how a user's is made of the support."""

    mean: float
    items: NDArray[np.float64]
    user_shrinkage: float

    def predict(self, episodes: Sequence[Episode]) -> list[NDArray[np.float32]]:
        """(Q,) each."""
        return [self._predict(episode) for episode in episodes]

    def _predict(self, episode: Episode) -> NDArray[np.float32]:
        left = episode.support.values - self.mean - self.items[episode.support.rows]
        user = left.sum() / (len(left) + self.user_shrinkage)
        return np.asarray(self.mean + self.items[episode.query.rows] + user, np.float32)


def item_biases(task: RatingTask, shrinkage: float, ridge: float | None) -> NDArray[np.float64]:
    """The shrunk biases, (N,); `ridge` is the strength of the regression on content, None to do without."""
    rows = np.concatenate([one.rows for one in task.train])
    left = np.concatenate([one.values for one in task.train]) - task.mean
    counts = np.bincount(rows, minlength=len(task.content))
    sums = np.bincount(rows, left, len(task.content))
    prior = np.zeros(len(task.content))
    if ridge is not None:
        weight = counts / (counts + shrinkage)  # a mean of many ratings is worth more, up to one item
        centred = task.content - task.content[counts > 0].mean(0)
        weighted = centred * weight[:, None]
        means = sums / np.maximum(counts, 1)
        gram = weighted.T @ centred + ridge * np.eye(centred.shape[1])
        prior = centred @ np.linalg.solve(gram, weighted.T @ means)
    return np.asarray(prior + (sums - counts * prior) / (counts + shrinkage), np.float64)


@dataclass(frozen=True)
class Bias:
    """The contender, plain or with content."""

    name: str
    content: bool
    seeded: bool = False

    def space(self) -> Mapping[str, Sequence[Any]]:
        """The shrinkages."""
        shared = {"item_shrinkage": (5.0, 1.0, 2.0, 10.0, 20.0), "user_shrinkage": (5.0, 1.0, 2.0, 3.0, 10.0)}
        return shared | ({"ridge": (10.0, 1.0, 3.0, 30.0, 100.0)} if self.content else {})

    def fit(
        self, task: RatingTask, settings: Settings, seed: int, limits: Limits, say: Say, epochs: int | None = None
    ) -> FittedRater:
        """In closed form."""
        del seed, limits, say, epochs
        items = item_biases(task, settings["item_shrinkage"], settings.get("ridge"))
        return FittedRater(BiasPredictor(task.mean, items, settings["user_shrinkage"]))
