"""Item-to-item models asked with a history that fades: EASE and ItemKNN with recency-weighted input.

    score(u, .) = sum_t a_t B[i_t, .]       a_t = floor + (1 - floor) * decay^age

age counts the events since; an event with no order fades not at all. The item-item matrix B is trained as usual, and
shared with the plain model, so that tuning both makes no matrix twice.

Letters: B users, N items.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from benchmarks.task import Fitted, Limits, Say, Settings, Task
from models.baselines import EASE, ItemKNN, incidence
from models.episode import History
from models.evaluate import Ranker


def faded(histories: Sequence[History], items: int, decay: float, floor: float) -> sparse.csr_matrix:
    """The histories as weights, (B, N); of an item taken twice the newest counts."""
    rows, columns, weights = [], [], []
    for user, history in enumerate(histories):
        newest, at = np.unique(history.rows[::-1], return_index=True)
        rows.append(np.full(len(newest), user))
        columns.append(newest)
        weights.append(floor + (1 - floor) * decay**at if history.ordered else np.ones(len(at)))
    where = (np.concatenate([*rows, []]).astype(np.int64), np.concatenate([*columns, []]).astype(np.int64))
    return sparse.csr_matrix((np.concatenate([*weights, []]).astype(np.float32), where), (len(histories), items))


class RecencyEASE:
    """EASE asked with fading histories."""

    name = "ease-recency"

    def __init__(self, model: EASE, decay: float, floor: float) -> None:
        self.model, self.decay, self.floor = model, decay, floor

    def scores(self, histories: Sequence[History]) -> NDArray[np.float32]:
        """(B, N); items nobody took in training score below all others."""
        asked = faded(histories, self.model.items, self.decay, self.floor)[:, self.model.known]
        found = asked @ self.model.weights
        out = np.full((len(histories), self.model.items), found.min(initial=0.0) - 1.0, np.float32)
        out[:, self.model.known] = found
        return out


class RecencyItemKNN:
    """ItemKNN asked with fading histories."""

    name = "itemknn-recency"

    def __init__(self, model: ItemKNN, decay: float, floor: float) -> None:
        self.model, self.decay, self.floor = model, decay, floor

    def scores(self, histories: Sequence[History]) -> NDArray[np.float32]:
        """(B, N)."""
        asked = faded(histories, self.model.items, self.decay, self.floor)
        return np.asarray((asked @ self.model.similarity).toarray(), np.float32)


class Spent(NamedTuple):
    """Seconds of the clock and of the processors."""

    seconds: float
    cpu_seconds: float


NOTHING = Spent(0.0, 0.0)


class Matrices:
    """Item-item matrices of one task, each made once, with what it took."""

    def __init__(self, build: Callable[[sparse.csr_matrix, float], Any]) -> None:
        self.build = build
        self.task: Task | None = None
        self.made: dict[float, tuple[Any, Spent]] = {}

    def of(self, task: Task, setting: float) -> tuple[Any, Spent]:
        """The model of this setting, and what was spent on it before this call."""
        if task is not self.task:
            self.task, self.made = task, {}
        if setting in self.made:
            return self.made[setting]
        began, began_cpu = time.perf_counter(), time.process_time()
        model = self.build(incidence(task.train, task.corpus.items), setting)
        self.made[setting] = model, Spent(time.perf_counter() - began, time.process_time() - began_cpu)
        return model, NOTHING


@dataclass(frozen=True)
class Plain:
    """The model as it is, with `setting` to tune."""

    name: str
    matrices: Matrices
    setting: str
    values: Sequence[float]
    seeded: bool = False

    def space(self, task: Task) -> Mapping[str, Sequence[Any]]:  # noqa: ARG002
        """The matrix's setting."""
        return {self.setting: self.values}

    def fit(self, task: Task, settings: Settings, seed: int, limits: Limits, say: Say) -> Fitted:  # noqa: ARG002
        """Make the matrix, or take it from an earlier trial."""
        model, before = self.matrices.of(task, settings[self.setting])
        return Fitted(model, seconds_before=before.seconds, cpu_seconds_before=before.cpu_seconds)


@dataclass(frozen=True)
class Recency(Plain):
    """The same, asked with fading histories; how they fade is tuned with the matrix."""

    asked: Callable[[Any, float, float], Ranker] = RecencyEASE

    def space(self, task: Task) -> Mapping[str, Sequence[Any]]:
        """The matrix's setting, and how histories fade."""
        return {
            **super().space(task),
            "decay": (0.8, 0.3, 0.5, 0.7, 0.9, 0.95, 0.98),
            "floor": (0.0, 0.02, 0.1, 0.3),
        }

    def fit(self, task: Task, settings: Settings, seed: int, limits: Limits, say: Say) -> Fitted:
        """Make the matrix, or take it from an earlier trial."""
        fitted = super().fit(task, settings, seed, limits, say)
        return replace(fitted, ranker=self.asked(fitted.ranker, settings["decay"], settings["floor"]))


_EASE, _KNN = Matrices(EASE), Matrices(lambda train, neighbours: ItemKNN(train, int(neighbours)))
REGULARIZATION = (200.0, 20.0, 50.0, 100.0, 500.0, 1000.0, 2000.0, 5000.0)
NEIGHBOURS = (100, 10, 20, 50, 200, 500, 1000)
EASE_PLAIN = Plain("ease", _EASE, "regularization", REGULARIZATION)
EASE_RECENCY = Recency("ease-recency", _EASE, "regularization", REGULARIZATION)
ITEM_KNN = Plain("itemknn", _KNN, "neighbours", NEIGHBOURS)
ITEM_KNN_RECENCY = Recency("itemknn-recency", _KNN, "neighbours", NEIGHBOURS, asked=RecencyItemKNN)
