"""Reptile on MeLU's network (Nichol et al. 2018, arXiv:1803.02999): every parameter takes gradient steps on a user's
ratings, and the initialisation moves towards where the users of a batch end, on average.

Letters: B users, R ratings, Q queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call, grad, vmap

from benchmarks.opponents.maml import MOST
from benchmarks.opponents.melu import MeLU, Parameters, Ratings, masked_error, predicted
from benchmarks.opponents.stopping import train_until_best
from benchmarks.rating import Episode, FittedRater, Rated, RatingTask, validated
from benchmarks.task import Limits, Say, Settings

BATCH = 16


def adapted(network: MeLU, ratings: Ratings, rate: float, steps: int) -> Parameters:
    """Each user's parameters after `steps`, each with a leading B."""

    def one(user: Tensor, rows: Tensor, values: Tensor, mask: Tensor) -> Parameters:
        def wrong(parameters: Parameters) -> Tensor:
            return masked_error(functional_call(network, parameters, (user, rows)), values, mask)

        parameters = {name: parameter.detach() for name, parameter in network.named_parameters()}
        for _ in range(steps):
            slope = grad(wrong)(parameters)
            parameters = {name: parameter - rate * slope[name] for name, parameter in parameters.items()}
        return parameters

    out: Parameters = vmap(one)(*ratings)
    return out


@dataclass(frozen=True, eq=False)
class ReptilePredictor:
    """Adapts everything to each support, then reads at the queries."""

    network: MeLU
    rate: float
    steps: int

    def read(self, support: Ratings, query: Ratings) -> Tensor:
        """(B, Q)."""

        def one(own: Parameters, user: Tensor, rows: Tensor) -> Tensor:
            found: Tensor = functional_call(self.network, own, (user, rows))
            return found

        out: Tensor = vmap(one)(adapted(self.network, support, self.rate, self.steps), query.users, query.rows)
        return out

    def predict(self, episodes: Sequence[Episode]) -> list[NDArray[np.float32]]:
        """(Q,) each."""
        return predicted(self.read, episodes)


class Reptile:
    """The contender."""

    name = "reptile"
    seeded = True

    def space(self) -> Mapping[str, Sequence[Any]]:
        """The inner loop, and how far the initialisation follows; it follows less and less."""
        return {
            "embedding": (16, 32),
            "width": (64, 32),
            "local_rate": (3e-2, 1e-2, 1e-1),
            "steps": (5, 3, 10),
            "follow": (1.0, 0.5, 0.2),
        }

    def fit(
        self, task: RatingTask, settings: Settings, seed: int, limits: Limits, say: Say, epochs: int | None = None
    ) -> FittedRater:
        """All of a user's ratings are one task, without queries, as Reptile has it."""
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        train = [one for one in task.train if len(one.rows)]
        network = MeLU(task.users, task.items, settings["embedding"], settings["width"], task.mean)
        predictor = ReptilePredictor(network, settings["local_rate"], settings["steps"])
        passed = 0

        def run_epoch() -> float:
            nonlocal passed
            moved = 0.0
            follow = settings["follow"] * 0.95**passed
            passed += 1
            order = rng.permutation(len(train))
            for start in range(0, len(order), BATCH):
                batch = [train[user] for user in order[start : start + BATCH]]
                kept = [rng.permutation(len(one.rows))[:MOST] for one in batch]
                some = [
                    Rated(one.user, one.rows[which], one.values[which]) for one, which in zip(batch, kept, strict=True)
                ]
                with torch.no_grad():
                    ends = adapted(network, Ratings.of(some), settings["local_rate"], settings["steps"])
                    for name, parameter in network.named_parameters():
                        step = ends[name].mean(0) - parameter
                        parameter.add_(follow * step)
                        moved += float(step.square().sum())
            return moved

        best = train_until_best(
            network, run_epoch, lambda: validated(predictor, task), limits, say, most=40, patience=5, epochs=epochs
        )
        return FittedRater(predictor, best, {"epochs": float(best)})
