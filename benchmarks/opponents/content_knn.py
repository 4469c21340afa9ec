"""Content nearest neighbours: an item scores by its text's likeness to what the user took.

    score(u, i) = mean over the k most alike t of a_t k(i, t)  +  prior * popularity(i)

k is the cosine of content vectors; `content-knn-words` has beside it that of the very words our own item tower reads,
so that what the features are worth is told from what the learner is. a_t fades with age. popularity(i) is the log of
how often the item was taken, standardised; of an item that nobody could take it is what a ridge regression on the same
features expects.

Letters: B users, N items, C content width, T events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from benchmarks.task import Fitted, Limits, Say, Settings, Task
from models.baselines import incidence
from models.episode import History
from models.words import Words

Floats = NDArray[np.float32]


class ContentNeighbours:
    """The ranker."""

    name = "content-knn"

    def __init__(self, alike: Floats, popularity: Floats, neighbours: int, decay: float, prior: float) -> None:
        """`alike`: likenesses, (N, N); `neighbours`: k, 0 for all events; `popularity`: (N,)."""
        self.alike, self.popularity = alike, popularity
        self.neighbours, self.decay, self.prior = neighbours, decay, prior

    def scores(self, histories: Sequence[History]) -> Floats:
        """(B, N)."""
        return np.stack([self._score(history) for history in histories])

    def _score(self, history: History) -> Floats:
        prior: Floats = (self.prior * self.popularity).astype(np.float32)
        count = len(history.rows)
        if not count:
            return prior
        ages = np.arange(count)[::-1] if history.ordered else np.zeros(count)
        fading = (self.decay**ages).astype(np.float32)
        alike = self.alike[history.rows] * fading[:, None]  # (T, N)
        if not 0 < self.neighbours < count:
            return np.asarray(alike.sum(0) / fading.sum() + prior, np.float32)
        best = np.partition(alike, count - self.neighbours, axis=0)[count - self.neighbours :]
        return np.asarray(best.mean(0) + prior, np.float32)


def cosines(vectors: Floats) -> Floats:
    """(N, C) -> (N, N)."""
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return np.asarray(vectors @ vectors.T, np.float32)


def shared_words(task: Task) -> Floats:
    """The cosines of the items' words, (N, N), weighted as the known items' texts weigh them."""
    corpus, known = task.corpus, task.known
    content = torch.from_numpy(corpus.content)
    texts = [corpus.texts[row] for row in known]
    words, _ = Words.fit(texts, content[known], torch.zeros(len(known), 1), torch.ones(len(known)))
    _, (at, bounds, weights) = words.features(corpus.texts, content)
    ends = [*bounds.tolist(), len(at)]
    bags = sparse.csr_matrix((weights.numpy(), at.numpy(), ends), (corpus.items, len(words.names)))
    return np.asarray((bags @ bags.T).toarray(), np.float32)


def expected_popularity(
    kernel: NDArray[np.floating[Any]], counts: NDArray[np.float64], known: NDArray[np.int64], ridge: float
) -> Floats:
    """The standardised log popularity of the known rows, and of the others what their texts let expect, (N,).

    `kernel`: (N, N), the products of the items' features about their mean.
    """
    logs = np.log1p(counts[known])
    target = (logs - logs.mean()) / max(float(logs.std()), 1e-9)
    among = kernel[np.ix_(known, known)].astype(np.float64)
    out = kernel[:, known] @ np.linalg.solve(among + ridge * np.eye(len(known)), target)
    out[known] = target
    return np.asarray(out, np.float32)


@dataclass(frozen=True)
class ContentKNN:
    """The contender."""

    words: bool = False
    seeded: bool = False

    @property
    def name(self) -> str:
        """What the command line and tables call it."""
        return "content-knn-words" if self.words else "content-knn"

    def space(self, task: Task) -> Mapping[str, Sequence[Any]]:
        """The neighbourhood, the fading where order means something, and how much popularity has to say."""
        space: dict[str, Sequence[Any]] = {
            "neighbours": (50, 20, 10, 5, 1, 100, 0),
            "decay": (1.0,) if task.unordered else (1.0, 0.999, 0.99, 0.97, 0.95, 0.9),
            "centred": (True, False),
            "prior": (0.01, 0.02, 0.0, 0.005, 0.05, 0.1) if self.words else (0.02, 0.0, 0.01, 0.05, 0.1, 0.2),
            "ridge": (1.0, 0.3, 3.0) if self.words else (3.0, 1.0, 10.0),
        }
        return space | ({"encoder": (0.25, 0.5, 1.0)} if self.words else {})

    def fit(self, task: Task, settings: Settings, seed: int, limits: Limits, say: Say) -> Fitted:  # noqa: ARG002
        """Regress popularity on the features; the rest needs no training."""
        chosen = dict(settings)
        content = task.corpus.content
        kernel = cosines(content - content[task.known].mean(0))
        alike = kernel if chosen.pop("centred") else cosines(content)
        if self.words:
            words, share = shared_words(task), chosen.pop("encoder")
            alike, kernel = (share * alike + words) / (share + 1), share * kernel + words
        counts = np.asarray(incidence(task.train, task.corpus.items).sum(0), np.float64).ravel()
        popularity = expected_popularity(kernel, counts, task.known, chosen.pop("ridge"))
        return Fitted(ContentNeighbours(alike, popularity, **chosen))
