"""Reading a rating model at the median: the whole rating that a prediction stands for.

Ratings come in levels (1, 2, .. 5), and what is least wrong in absolute terms is not the mean but the median, a level.
The reading has a cut between each two levels, s(p) = level_0 + sum_k (level_(k+1) - level_k) [p > c_k], and since
|r - s| = sum_k (level_(k+1) - level_k) | [r > level_k] - [p > c_k] |, each cut can be found alone: where it mistakes
the fewest ratings. Every rating model is read so beside its own reading, with cuts from the same validation episodes.

Letters: R ratings, L levels, Q queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.rating import Episode, Predictor


def cuts(
    predictions: NDArray[np.float32], ratings: NDArray[np.float32], levels: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The cuts with the least absolute error, (L - 1,), ascending: (R,) predictions of (R,) ratings."""
    order = np.argsort(predictions, kind="stable")
    ordered, true = predictions[order].astype(np.float64), ratings[order]
    between = np.concatenate([[ordered[0] - 1], (ordered[1:] + ordered[:-1]) / 2, [ordered[-1] + 1]])
    possible = np.concatenate([[True], ordered[1:] > ordered[:-1], [True]])  # equal predictions stay together
    out = []
    for level in levels[:-1]:
        above = true > level
        mistaken = np.concatenate([[0], np.cumsum(above)]) + np.concatenate([np.cumsum(~above[::-1])[::-1], [0]])
        out.append(between[np.argmin(np.where(possible, mistaken, len(true) + 1))])
    return np.array(out)


@dataclass(frozen=True, eq=False)
class MedianPredictor:
    """Another predictor, read at the median."""

    predictor: Predictor
    levels: NDArray[np.float64]  # (L,)
    cuts: NDArray[np.float64]  # (L - 1,)

    @classmethod
    def fitted(cls, predictor: Predictor, episodes: Sequence[Episode], levels: NDArray[np.float64]) -> MedianPredictor:
        """With the cuts that suit these episodes."""
        truth = np.concatenate([one.query.values for one in episodes])
        return cls(predictor, levels, cuts(np.concatenate(predictor.predict(episodes)), truth, levels))

    def predict(self, episodes: Sequence[Episode]) -> list[NDArray[np.float32]]:
        """(Q,) each."""
        found = self.predictor.predict(episodes)
        return [self.levels[np.searchsorted(self.cuts, one)].astype(np.float32) for one in found]
