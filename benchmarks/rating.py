"""The rating task: from a few of a user's ratings, what will the others be?

Letters: N items, U users, R ratings of one user, F features, Q queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.task import Limits, Say, Settings


class Rated(NamedTuple):
    """Some of one user's ratings."""

    user: int
    rows: NDArray[np.int64]  # (R,)
    values: NDArray[np.float32]  # (R,)


class Episode(NamedTuple):
    """What is known of a user, and what is asked."""

    support: Rated
    query: Rated


class Features(NamedTuple):
    """Categorical features in blocks: for each, (N or U, slots) of category numbers from 1, 0 for an empty slot."""

    blocks: dict[str, NDArray[np.int64]]

    def sizes(self) -> dict[str, int]:
        """Categories of each block, the empty one included."""
        return {name: int(block.max()) + 1 for name, block in self.blocks.items()}


@dataclass(frozen=True, eq=False)
class RatingTask:
    """Ratings to learn from, and episodes to choose by, by state. Ratings lie between `low` and `high`."""

    train: list[Rated]
    validation: dict[str, list[Episode]]
    items: Features
    users: Features
    content: NDArray[np.float32]  # (N, C)
    low: float
    high: float

    @property
    def trained(self) -> NDArray[np.bool_]:
        """Which items have a rating to learn from, (N,)."""
        out = np.zeros(len(self.content), np.bool_)
        for rated in self.train:
            out[rated.rows] = True
        return out

    @property
    def levels(self) -> NDArray[np.float64]:
        """The different ratings that were given, ascending."""
        return np.unique(np.concatenate([rated.values for rated in self.train])).astype(np.float64)

    @property
    def mean(self) -> float:
        """The mean rating."""
        return float(np.concatenate([rated.values for rated in self.train]).mean())


class Predictor(Protocol):
    """A trained rating model."""

    def predict(self, episodes: Sequence[Episode]) -> list[NDArray[np.float32]]:
        """The queries' ratings, (Q,) an episode."""
        ...


@dataclass(frozen=True, eq=False)
class FittedRater:
    """A rating model after training. `epochs` is where validation was best, to train so long again on more data.

    `variants` are the same training read in another way, tested beside it; `plan` holds what was chosen and is no
    setting of the search.
    """

    predictor: Predictor
    epochs: int = 0
    notes: dict[str, float] = field(default_factory=dict)
    variants: dict[str, Predictor] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)

    @property
    def readings(self) -> dict[str, Predictor]:
        """All ways to read it, by what is appended to a test's name."""
        return {"": self.predictor} | {f" | {name}": variant for name, variant in self.variants.items()}


class Rater(Protocol):
    """A rating model with the settings it may be tuned by."""

    @property
    def name(self) -> str:
        """What the command line and tables call it."""
        ...

    @property
    def seeded(self) -> bool:
        """Whether another seed gives another outcome."""
        ...

    def space(self) -> Mapping[str, Sequence[Any]]:
        """The values of each setting, the default first."""
        ...

    def fit(
        self, task: RatingTask, settings: Settings, seed: int, limits: Limits, say: Say, epochs: int | None = None
    ) -> FittedRater:
        """Train: `epochs` of them where it is given, else until validation no longer gains."""
        ...


def errors(
    predictor: Predictor, episodes: Sequence[Episode], low: float, high: float
) -> dict[str, NDArray[np.float64]]:
    """A figure an episode: MAE, the mean squared error, and NDCG@5; predictions are cut to the scale."""
    found = predictor.predict(episodes)
    cut = [np.clip(np.nan_to_num(one, nan=low), low, high) for one in found]
    truth = [episode.query.values for episode in episodes]
    return {
        "MAE": np.array([np.abs(one - true).mean() for one, true in zip(cut, truth, strict=True)], np.float64),
        "MSE": np.array([np.square(one - true).mean() for one, true in zip(cut, truth, strict=True)], np.float64),
        "NDCG@5": np.array([ndcg(one, true, 5) for one, true in zip(cut, truth, strict=True)], np.float64),
    }


def ndcg(predicted: NDArray[np.float32], true: NDArray[np.float32], cutoff: int) -> float:
    """NDCG with gains 2^rating - 1 and the log2 discount; among equal predictions the lowest rating comes first."""
    gains = 2.0 ** true.astype(np.float64) - 1
    discounts = 1 / np.log2(np.arange(2, min(cutoff, len(true)) + 2))
    order = np.lexsort((true, -predicted))[:cutoff]
    return float(gains[order] @ discounts / (np.sort(gains)[::-1][:cutoff] @ discounts))


def validated(predictor: Predictor, task: RatingTask) -> float:
    """MAE, the mean over the states: what settings are chosen by and training is stopped by."""
    states = [errors(predictor, episodes, task.low, task.high)["MAE"] for episodes in task.validation.values()]
    return float(np.mean([state.mean() for state in states]))
