"""MAML on MeLU's network: the decision layers take a few gradient steps on the support, and training differentiates
through them (Finn et al. 2017, arXiv:1703.03400). First-order MAML takes the inner gradients as constants.

Letters: B users, R ratings, Q queries, d features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import grad, vmap

from benchmarks.opponents.melu import MeLU, Padded, Parameters, decide, masked_error, predicted
from benchmarks.opponents.stopping import train_until_best
from benchmarks.rating import Episode, FittedRater, Rated, RatingTask, validated
from benchmarks.task import Limits, Say, Settings

BATCH, QUERIES, MOST = 32, 10, 100


def adapted(
    decision: Parameters, features: Tensor, values: Tensor, mask: Tensor, rate: float, steps: int, first_order: bool
) -> Parameters:
    """One user's decision layers after `steps` on the support: (R, d) features, (R,) values and mask."""

    def wrong(layers: Parameters) -> Tensor:
        return masked_error(decide(layers, features), values, mask)

    for _ in range(steps):
        slope = grad(wrong)(decision)
        decision = {
            name: layer - rate * (slope[name].detach() if first_order else slope[name])
            for name, layer in decision.items()
        }
    return decision


@dataclass(frozen=True, eq=False)
class MAMLPredictor:
    """Adapts to each support, then reads at the queries."""

    network: MeLU
    rate: float
    steps: int
    first_order: bool = False

    def read(self, support: Padded, query: Padded) -> Tensor:
        """(B, Q)."""
        known = self.network.features(support.users, support.rows)
        asked = self.network.features(query.users, query.rows)

        def one(features: Tensor, values: Tensor, mask: Tensor, queries: Tensor) -> Tensor:
            layers = dict(self.network.decision)
            return decide(adapted(layers, features, values, mask, self.rate, self.steps, self.first_order), queries)

        out: Tensor = vmap(one)(known, support.values, support.mask, asked)
        return out

    def predict(self, episodes: Sequence[Episode]) -> list[NDArray[np.float32]]:
        """(Q,) each."""
        return predicted(self.read, episodes)


@dataclass(frozen=True)
class MAML:
    """The contender."""

    name: str = "maml"
    first_order: bool = False
    seeded: bool = True

    def space(self) -> Mapping[str, Sequence[Any]]:
        """MeLU's sizes first, with a local rate that does something; its own, 5e-6, is the last."""
        return {
            "embedding": (32, 16),
            "width": (64, 32),
            "local_rate": (1e-2, 3e-2, 1e-1, 1e-3, 5e-6),
            "steps": (1, 3, 5),
            "rate": (1e-3, 3e-4, 3e-3),
            "weight_decay": (0.0, 1e-2, 1e-1),
        }

    def fit(
        self, task: RatingTask, settings: Settings, seed: int, limits: Limits, say: Say, epochs: int | None = None
    ) -> FittedRater:
        """An episode a user an epoch, its queries drawn anew."""
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        train = [one for one in task.train if len(one.rows) > QUERIES]
        network = MeLU(task.users, task.items, settings["embedding"], settings["width"], task.mean)
        optimiser = torch.optim.AdamW(network.parameters(), settings["rate"], weight_decay=settings["weight_decay"])
        predictor = MAMLPredictor(network, settings["local_rate"], settings["steps"], self.first_order)

        def run_epoch() -> float:
            total = 0.0
            order = rng.permutation(len(train))
            for start in range(0, len(order), BATCH):
                batch = [drawn(train[user], rng) for user in order[start : start + BATCH]]
                support, query = (Padded.of([episode[at] for episode in batch]) for at in (0, 1))
                loss = masked_error(predictor.read(support, query), query.values, query.mask)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
                optimiser.step()
                total += float(loss.detach()) * len(batch)
            return total / len(train)

        best = train_until_best(
            network, run_epoch, lambda: validated(predictor, task), limits, say, most=40, patience=5, epochs=epochs
        )
        return FittedRater(predictor, best, {"epochs": float(best)})


def drawn(one: Rated, rng: np.random.Generator) -> Episode:
    """Some of the ratings, as many as a test has, 10 of them queries."""
    order = rng.permutation(len(one.rows))[:MOST]
    query, support = order[:QUERIES], order[QUERIES:]
    return Episode(
        Rated(one.user, one.rows[support], one.values[support]), Rated(one.user, one.rows[query], one.values[query])
    )
