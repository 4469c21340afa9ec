"""Reptile on MeLU's network (Nichol et al. 2018, arXiv:1803.02999): every parameter takes gradient steps on a user's
ratings, and the initialisation moves towards where the users of a batch end, on average.

A user's ratings touch few of the embeddings; only those are copied for the user and moved.

Letters: B users, R ratings, S slots, L categories a user touches, E width of one embedding, Q queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import grad, vmap

from benchmarks.opponents.maml import MOST
from benchmarks.opponents.melu import MeLU, Padded, Parameters, beside, decide, looked_up, masked_error, predicted
from benchmarks.opponents.stopping import train_until_best
from benchmarks.rating import Episode, FittedRater, Rated, RatingTask, validated
from benchmarks.task import Limits, Say, Settings

BATCH = 16

Slots = dict[str, Tensor]


class Touched(NamedTuple):
    """The categories that B users touch, and their features counted in these."""

    categories: dict[str, Tensor]  # a block: (B, L), 0 first and for none
    user: Slots  # (B, S)
    item: Slots  # (B, R, S)

    @classmethod
    def of(cls, network: MeLU, users: Tensor, rows: Tensor) -> Touched:
        """Of (B,) users and (B, R) rows."""
        said = {name: block[users][:, None] for name, block in network.user.blocks.items()}
        said |= {name: block[rows] for name, block in network.item.blocks.items()}
        categories, slots = {}, {}
        for name, block in said.items():
            found = [torch.unique(torch.cat([one.new_zeros(1), one.flatten()]), return_inverse=True) for one in block]
            categories[name] = torch.nn.utils.rnn.pad_sequence([one for one, _ in found], batch_first=True)
            slots[name] = torch.stack([places[1:] for _, places in found]).view_as(block)
        user = {name: slots[name][:, 0] for name in network.user.blocks}
        return cls(categories, user, {name: slots[name] for name in network.item.blocks})


def copied(network: MeLU, touched: Touched) -> Parameters:
    """What each user may move, each with a leading B."""
    tables = {name: table for part in (network.user, network.item) for name, table in part.tables.items()}
    B = len(next(iter(touched.categories.values())))
    out = {name: tables[name].detach()[categories] for name, categories in touched.categories.items()}
    return out | {name: layer.detach().expand(B, *layer.shape) for name, layer in network.decision.items()}


def read(own: Parameters, user: Slots, item: Slots) -> Tensor:
    """One user's ratings by parameters of the user's own, (R,)."""
    return decide(own, beside(looked_up(own, user), looked_up(own, item)))


def adapted(start: Parameters, touched: Touched, values: Tensor, mask: Tensor, rate: float, steps: int) -> Parameters:
    """Each user's parameters after `steps` on these ratings, (B, R)."""

    def one(own: Parameters, user: Slots, item: Slots, values: Tensor, mask: Tensor) -> Parameters:
        def wrong(parameters: Parameters) -> Tensor:
            return masked_error(read(parameters, user, item), values, mask)

        for _ in range(steps):
            slope = grad(wrong)(own)
            own = {name: parameter - rate * slope[name] for name, parameter in own.items()}
        return own

    out: Parameters = vmap(one)(start, touched.user, touched.item, values, mask)
    return out


@dataclass(frozen=True, eq=False)
class ReptilePredictor:
    """Adapts everything to each support, then reads at the queries."""

    network: MeLU
    rate: float
    steps: int

    def read(self, support: Padded, query: Padded) -> Tensor:
        """(B, Q)."""
        count = support.rows.shape[1]
        touched = Touched.of(self.network, support.users, torch.cat([support.rows, query.rows], 1))
        known = touched._replace(item={name: slots[:, :count] for name, slots in touched.item.items()})
        own = adapted(copied(self.network, touched), known, support.values, support.mask, self.rate, self.steps)
        asked = {name: slots[:, count:] for name, slots in touched.item.items()}
        out: Tensor = vmap(read)(own, touched.user, asked)
        return out

    def predict(self, episodes: Sequence[Episode]) -> list[NDArray[np.float32]]:
        """(Q,) each."""
        return predicted(self.read, episodes)


@torch.no_grad()
def meta_step(network: MeLU, ratings: Padded, rate: float, steps: int, follow: float) -> float:
    """Move the initialisation towards where these users end, `follow` of the way; gives the squared way."""
    touched = Touched.of(network, ratings.users, ratings.rows)
    start = copied(network, touched)
    ends = adapted(start, touched, ratings.values, ratings.mask, rate, steps)
    moved = 0.0
    for part in (network.user, network.item):
        for name, table in part.tables.items():
            way = (ends[name] - start[name]).flatten(0, 1) / len(ratings.users)
            step = torch.zeros_like(table).index_add_(0, touched.categories[name].flatten(), way)
            table.add_(follow * step)
            moved += float(step.square().sum())
    for name, layer in network.decision.items():
        step = ends[name].mean(0) - layer
        layer.add_(follow * step)
        moved += float(step.square().sum())
    return moved


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
                moved += meta_step(network, Padded.of(some), settings["local_rate"], settings["steps"], follow)
            return moved

        best = train_until_best(
            network, run_epoch, lambda: validated(predictor, task), limits, say, most=40, patience=5, epochs=epochs
        )
        return FittedRater(predictor, best, {"epochs": float(best)})
