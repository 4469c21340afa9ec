"""Popularity and iALS, as `innerloop evaluate` has them, with room to be tuned in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.task import Fitted, Limits, Say, Settings, Task
from models.baselines import ImplicitALS, Popularity, incidence
from models.evaluate import Ranker


@dataclass(frozen=True)
class Classic:
    """A model made in one go from the matrix of who took what."""

    name: str
    build: Callable[..., Ranker]
    settings: Mapping[str, Sequence[Any]]
    seeded: bool = False

    def space(self, task: Task) -> Mapping[str, Sequence[Any]]:  # noqa: ARG002
        """The same for every task."""
        return self.settings

    def fit(self, task: Task, settings: Settings, seed: int, limits: Limits, say: Say) -> Fitted:  # noqa: ARG002
        """Build it."""
        begun = {"seed": seed} if self.seeded else {}
        return Fitted(self.build(incidence(task.train, task.corpus.items), **settings, **begun))


POPULARITY = Classic("popularity", Popularity, {})
IALS = Classic(
    "ials",
    ImplicitALS,
    {
        "factors": (64, 32, 128, 256),
        "regularization": (0.1, 0.01, 1.0, 10.0, 50.0),
        "alpha": (1.0, 2.0, 5.0, 10.0, 40.0),
    },
    seeded=True,
)
