"""Content nearest neighbours: an item scores by its text's likeness to what the user took.

    score(u, i) = mean over the k most alike t of a_t cos(c_i, c_t)  +  prior * popularity(i)

a_t fades with age. popularity(i) is the log of how often the item was taken, standardised; of an item that nobody could
take it is what a ridge regression on the content vectors expects.

Letters: B users, N items, C content width, T events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.task import Fitted, Limits, Say, Settings, Task
from models.baselines import incidence
from models.episode import History


class ContentNeighbours:
    """The ranker."""

    name = "content-knn"

    def __init__(
        self,
        content: NDArray[np.float32],
        popularity: NDArray[np.float32],
        neighbours: int,
        decay: float,
        centred: bool,
        prior: float,
    ) -> None:
        """`neighbours`: k, 0 for all events; `popularity`: (N,)."""
        vectors = content - content.mean(0) if centred else content
        self.vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
        self.popularity, self.neighbours, self.decay, self.prior = popularity, neighbours, decay, prior

    def scores(self, histories: Sequence[History]) -> NDArray[np.float32]:
        """(B, N)."""
        return np.stack([self._score(history) for history in histories])

    def _score(self, history: History) -> NDArray[np.float32]:
        prior: NDArray[np.float32] = (self.prior * self.popularity).astype(np.float32)
        count = len(history.rows)
        if not count:
            return prior
        ages = np.arange(count)[::-1] if history.ordered else np.zeros(count)
        fading = (self.decay**ages).astype(np.float32)
        if not 0 < self.neighbours < count:
            return np.asarray(self.vectors @ (fading @ self.vectors[history.rows]) / fading.sum() + prior, np.float32)
        alike = (self.vectors @ self.vectors[history.rows].T) * fading  # (N, T)
        best = np.partition(alike, count - self.neighbours, axis=1)[:, count - self.neighbours :]
        return np.asarray(best.mean(1) + prior, np.float32)


def expected_popularity(
    content: NDArray[np.float32], counts: NDArray[np.float64], known: NDArray[np.int64], ridge: float
) -> NDArray[np.float32]:
    """The standardised log popularity of the known rows, and of the others what their content lets expect, (N,)."""
    logs = np.log1p(counts[known])
    target = (logs - logs.mean()) / max(float(logs.std()), 1e-9)
    centre = content[known].mean(0)
    centred = (content[known] - centre).astype(np.float64)
    weights = np.linalg.solve(centred.T @ centred + ridge * np.eye(centred.shape[1]), centred.T @ target)
    out = (content - centre) @ weights
    out[known] = target
    return np.asarray(out, np.float32)


class ContentKNN:
    """The contender."""

    name = "content-knn"
    seeded = False

    def space(self, task: Task) -> Mapping[str, Sequence[Any]]:  # noqa: ARG002
        """The neighbourhood, the fading, and how much popularity has to say."""
        return {
            "neighbours": (10, 1, 3, 5, 20, 50, 0),
            "decay": (1.0, 0.999, 0.99, 0.97, 0.95, 0.9),
            "centred": (True, False),
            "prior": (0.0, 0.01, 0.02, 0.05, 0.1, 0.2),
            "ridge": (10.0, 1.0, 100.0),
        }

    def fit(self, task: Task, settings: Settings, seed: int, limits: Limits, say: Say) -> Fitted:  # noqa: ARG002
        """Regress popularity on content; the rest needs no training."""
        chosen = dict(settings)
        counts = np.asarray(incidence(task.train, task.corpus.items).sum(0), np.float64).ravel()
        popularity = expected_popularity(task.corpus.content, counts, task.known, chosen.pop("ridge"))
        return Fitted(ContentNeighbours(task.corpus.content, popularity, **chosen))
